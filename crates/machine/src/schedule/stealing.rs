//! Where work goes when one scheduler has too little or too much: stealing, calling for help,
//! handing over.

use super::queues::Queues;
use super::{Scheduler, Schedulers};
use crate::process::table::ProcessCell;
use std::sync::atomic::Ordering;

/// How long after it woke another a scheduler wakes one again.
const CALLS_APART_NS: u64 = 250_000;

impl Schedulers {
    /// Wakes a sleeping scheduler to take some of this one's work, but not at once after the last:
    /// it may find that the work is done, and go back to sleep, and to be woken takes it as long as
    /// many a turn. What is left waits for the next call or the end of this turn.
    #[inline]
    pub(super) fn call_for_help(&self, scheduler: &Scheduler) {
        if !self.parking.has_sleepers() {
            return;
        }
        let now = self.clock.since_start_ns();
        if now.saturating_sub(scheduler.called_ns.load(Ordering::Relaxed)) >= CALLS_APART_NS {
            scheduler.called_ns.store(now, Ordering::Relaxed);
            self.take_over(self.parking.wake_one());
        }
    }

    /// The next process for a scheduler: one of its own, or stolen.
    pub(super) fn next(&self, own: usize) -> Option<usize> {
        let scheduler = &self.all[own];
        if scheduler.waiting() > 0
            && let Some(cell) =
                scheduler.with_queues(|queues| queues.pop_own(|count| self.world.choice(count)))
        {
            return Some(cell);
        }
        let count = self.all.len();
        let victims = (1..count).map(|distance| &self.all[(own + distance) % count]);
        for victim in victims.filter(|victim| victim.stealable() > 0) {
            if let Some(cell) = victim.with_queues(Queues::pop) {
                if victim.stealable() > 1 {
                    // There is enough for one more.
                    self.call_for_help(scheduler);
                }
                return Some(cell);
            }
        }
        None
    }

    /// Gives the first scheduler all that waits here; whether there was anything.
    pub(super) fn hand_over(&self, own: usize) -> bool {
        let left: Vec<usize> = self.all[own]
            .with_queues(|queues| std::iter::from_fn(|| queues.pop_own(|_| None)).collect());
        if left.is_empty() {
            return false;
        }
        self.all[0].with_queues(|queues| {
            for cell in left {
                // SAFETY: a cell in a run queue is alive.
                let shared = unsafe { &(*(cell as *const ProcessCell)).shared };
                queues.push(cell, shared.priority.load(Ordering::Relaxed), false);
            }
        });
        self.wake(0);
        true
    }
}
