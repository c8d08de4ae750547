//! Work that every scheduler's thread is to do once, between two turns.

use super::{Schedulers, current_scheduler};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Work that each scheduler's thread does once; it may run on several threads at a time.
pub type Errand = Arc<dyn Fn() + Send + Sync>;

/// What one scheduler has to do.
#[derive(Default)]
pub(super) struct Errands {
    /// Whether there is any; quicker to look at.
    pending: AtomicBool,
    list: Mutex<Vec<Errand>>,
}

impl Errands {
    /// Whether the scheduler has no errand.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a thread that adds an errand wakes the scheduler afterwards.
        !self.pending.load(Ordering::Relaxed)
    }
    fn add(&self, errand: Errand) {
        let mut list = self.list.lock();
        list.push(errand);
        self.pending.store(true, Ordering::Relaxed);
    }
    fn run(&self) {
        let list = {
            let mut list = self.list.lock();
            self.pending.store(false, Ordering::Relaxed);
            std::mem::take(&mut *list)
        };
        list.into_iter().for_each(|errand| errand());
    }
}

impl Schedulers {
    /// Makes every scheduler, online or not, run `errand` once, at the end of its turn. The last
    /// one to run it drops it.
    pub fn on_each(&self, errand: &Errand) {
        for at in 0..self.count() {
            self.all[at].errands.add(errand.clone());
            self.wake(at);
        }
    }

    /// Runs the errands of the calling thread's scheduler.
    #[inline]
    pub(super) fn run_errands(&self, own: usize) {
        let errands = &self.all[own].errands;
        if !errands.is_empty() {
            errands.run();
        }
    }

    /// Runs the errands of the calling thread's scheduler, if it is one: for threads that wait for
    /// other schedulers in the middle of a turn.
    pub fn run_own_errands(&self) {
        if let Some(own) = current_scheduler() {
            self.run_errands(own);
        }
    }
}
