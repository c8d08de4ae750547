//! Giving back what was taken out of the tables while terms may still refer to its literals: the
//! code of purged modules, and erased persistent terms.
//!
//! The problem: a process's terms refer to literals without counting. So before literals are freed,
//! every process looks through its own terms between two turns and takes copies of what it still
//! needs. Terms under way between processes are covered thus: from the moment that something is
//! leaving, no copy of a term shares its literals ([`begin_leaving`]). What was sent before that
//! moment has arrived when its sender has done the first round, and is looked through in the
//! second. Terms kept elsewhere (ETS, timers, tags of monitors, port data) share no literals at
//! all.

use crate::process::{Process, Task, TaskWork};
use crate::signal;
use crate::vm::Vm;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_heap::{Leaving, begin_leaving, end_leaving};
use swarmrt_term::{Term, atom};

/// Something to be dropped once nobody refers to its literals.
struct Retired {
    ranges: Vec<Range<usize>>,
    _owner: Box<dyn Send>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Retired>,
    /// What the rounds under way are for, and where its literals lie.
    leaving: Vec<Retired>,
    ranges: Arc<Leaving>,
    /// A timer for the first round is set, or rounds are on their way.
    under_way: bool,
    /// The process that waits for the end of them.
    waiter: Option<u64>,
}

/// How long what is taken out of the tables is gathered before processes are asked.
const GATHER_NS: u64 = 30_000_000;

/// What waits for its literals to be freed, and the rounds that ask processes: one for each
/// machine.
#[derive(Default)]
pub struct Retirement {
    state: Mutex<State>,
    /// Processes that have ended while a library's function still looks at their terms.
    held: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

/// One for all processes of a round; when the last drops it, the next round or the end begins.
struct Ticket {
    vm: &'static Vm,
    round: Round,
    leaving: Arc<Leaving>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Nobody looks at terms any more where the machine is freed.
        if self.vm.is_shutting_down() {
            return;
        }
        match self.round {
            Round::First => self.vm.retirement.ask_all(self.vm, Round::Second, &self.leaving),
            Round::Second => self.vm.retirement.finish(self.vm),
        }
    }
}

/// A process's part of a round.
struct CopyOut(Arc<Ticket>);

impl TaskWork for CopyOut {
    fn run(self: Box<Self>, process: &mut Process) -> Option<Task> {
        if process.copy_out(&self.0.leaving) { None } else { Some(self) }
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        end_leaving(&self.state.get_mut().ranges);
    }
}

impl Retirement {
    /// Drops `owner` once no term refers to its literals, which lie in `ranges`.
    pub fn add(&self, vm: &'static Vm, ranges: Vec<Range<usize>>, owner: Box<dyn Send>) {
        if ranges.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.waiting.push(Retired { ranges, _owner: owner });
        if !state.under_way {
            state.under_way = true;
            // OTP's collector of literals only waits here, for processes that ask it whether all is
            // done.
            if let Some(&collector) = vm.literal_area_collector.get() {
                let news = Term::atom(atom!("copy_literals"));
                signal::send_message(vm, Term::NONE, collector, news);
            }
            // Soon, not now: modules that are purged together go through one round.
            vm.timers.start(
                vm.clock.since_start_ns() + GATHER_NS,
                Box::new(|vm| vm.retirement.begin(vm)),
            );
        }
    }

    fn begin(&self, vm: &'static Vm) {
        let mut state = self.state.lock();
        state.leaving = std::mem::take(&mut state.waiting);
        let leaving = Arc::new(Leaving::new(
            state.leaving.iter().flat_map(|retired| retired.ranges.iter().cloned()).collect(),
        ));
        state.ranges = leaving.clone();
        drop(state);
        begin_leaving(leaving.clone());
        self.ask_all(vm, Round::First, &leaving);
    }

    /// Asks every process to copy what it needs. Processes that start later have copied terms only.
    fn ask_all(&self, vm: &'static Vm, round: Round, leaving: &Arc<Leaving>) {
        let ticket = Arc::new(Ticket { vm, round, leaving: leaving.clone() });
        let _guard = crate::vm::pin();
        for pid in vm.processes.ids() {
            let ticket = ticket.clone();
            signal::send_later(
                vm,
                pid,
                Box::new(move |_, process| {
                    if let Some(process) = process {
                        process.add_task(Box::new(CopyOut(ticket)));
                    }
                }),
            );
        }
    }

    /// Puts off freeing until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
    }
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    fn finish(&self, vm: &'static Vm) {
        if self.held.load(Ordering::SeqCst) > 0 {
            let later = vm.clock.since_start_ns() + GATHER_NS;
            vm.timers.start(later, Box::new(|vm| vm.retirement.finish(vm)));
            return;
        }
        let (gone, more) = {
            let mut state = self.state.lock();
            end_leaving(&state.ranges);
            state.under_way = !state.waiting.is_empty();
            (std::mem::take(&mut state.leaving), state.under_way)
        };
        drop(gone);
        let waiter = if more { None } else { self.state.lock().waiter.take() };
        let _guard = crate::vm::pin();
        if let Some(cell) = waiter.and_then(|pid| vm.processes.get(pid)) {
            signal::wake(vm, cell);
        }
        if more {
            vm.timers.start(
                vm.clock.since_start_ns() + GATHER_NS,
                Box::new(|vm| vm.retirement.begin(vm)),
            );
        }
    }

    /// Whether nothing waits to be freed. Otherwise `waiter` is woken once all is freed.
    pub fn is_idle_or_wake(&self, waiter: u64) -> bool {
        let mut state = self.state.lock();
        if state.under_way {
            state.waiter = Some(waiter);
        }
        !state.under_way
    }
}
