//! `erlang:system_monitor/2`: a process that is told of processes that hold others up.

use crate::process::Process;
use crate::signal;
use crate::vm::Vm;
use crate::vm::time::Clock;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Term, am, atom};

/// Limits beyond which something is reported; `None` and `false`: never.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    /// Milliseconds that a collection takes.
    pub long_gc_ms: Option<u64>,
    /// Milliseconds that a process runs without giving the scheduler up.
    pub long_schedule_ms: Option<u64>,
    /// Words of a process's heap after a collection.
    pub large_heap_words: Option<u64>,
    pub busy_port: bool,
    pub busy_dist_port: bool,
}

/// The settings of `erlang:system_monitor/2`, one for each machine.
#[derive(Default)]
pub struct SystemMonitor {
    /// The process that is told, and of what.
    settings: Mutex<Option<(u64, Limits)>>,
    /// Whether collections are measured, to be read where time counts.
    measures_collections: AtomicBool,
    measures_turns: AtomicBool,
}

impl SystemMonitor {
    /// The number of the monitor's pid and the limits; `None` when nobody monitors.
    pub fn settings(&self) -> Option<(u64, Limits)> {
        *self.settings.lock()
    }

    /// Replaces the settings. Returns those before.
    pub fn set(&self, new: Option<(u64, Limits)>) -> Option<(u64, Limits)> {
        let mut settings = self.settings.lock();
        self.note(new);
        std::mem::replace(&mut settings, new)
    }

    fn note(&self, new: Option<(u64, Limits)>) {
        let limits = new.map(|(_, limits)| limits).unwrap_or_default();
        self.measures_collections.store(
            limits.long_gc_ms.is_some() || limits.large_heap_words.is_some(),
            Ordering::Relaxed,
        );
        self.measures_turns.store(limits.long_schedule_ms.is_some(), Ordering::Relaxed);
    }

    /// A process has ended: if it was the monitor, there is none any more.
    pub fn process_ended(&self, pid: u64) {
        let mut settings = self.settings.lock();
        if settings.is_some_and(|(monitor, _)| monitor == pid) {
            self.note(None);
            *settings = None;
        }
    }

    /// The time now, in nanoseconds since the start, if collections are measured.
    #[inline]
    pub(crate) fn before_collection(&self, clock: &Clock) -> Option<u64> {
        self.measures_collections.load(Ordering::Relaxed).then(|| clock.since_start_ns())
    }

    /// The time now, in nanoseconds since the start, if turns are measured.
    #[inline]
    pub(crate) fn before_turn(&self, clock: &Clock) -> Option<u64> {
        self.measures_turns.load(Ordering::Relaxed).then(|| clock.since_start_ns())
    }

    /// The monitor that is told about `process`, unless it is the monitor itself.
    fn for_process(&self, process: &Process) -> Option<(u64, Limits)> {
        self.settings().filter(|&(monitor, _)| monitor != process.id())
    }
}

/// Whole milliseconds, if they are more than the limit.
fn beyond(elapsed_ns: u64, limit_ms: Option<u64>) -> Option<u64> {
    let elapsed_ms = elapsed_ns / 1_000_000;
    limit_ms.filter(|&limit_ms| elapsed_ms > limit_ms).map(|_| elapsed_ms)
}

/// Sends `{monitor, Process, Event, Info}`.
fn tell(
    vm: &'static Vm,
    monitor: u64,
    process: &Process,
    event: Atom,
    info: impl FnOnce(&mut FragmentHeap) -> Term,
) {
    let mut heap = FragmentHeap::new();
    let info = info(&mut heap);
    let message = heap.tuple(&[Term::atom(am::MONITOR), process.pid(), Term::atom(event), info]);
    signal::send_message(vm, Term::NONE, monitor, message);
}

/// A list of pairs of names and numbers.
fn numbers(heap: &mut FragmentHeap, pairs: &[(Atom, u64)]) -> Term {
    let pairs: Vec<Term> = pairs
        .iter()
        .map(|&(name, value)| {
            let value = heap.uint(value);
            heap.tuple(&[Term::atom(name), value])
        })
        .collect();
    heap.list(&pairs)
}

/// A collection of the process, which began at `started_ns`, is over.
pub(crate) fn collected(process: &Process, started_ns: u64) {
    let vm = process.vm;
    let Some((monitor, limits)) = vm.system_monitor.for_process(process) else { return };
    let heap = &process.heap;
    let sizes = [
        (atom!("old_heap_block_size"), heap.old_words()),
        (atom!("heap_block_size"), heap.block_words()),
        (atom!("mbuf_size"), heap.fragment_words()),
        (atom!("stack_size"), heap.stack_words()),
        (atom!("old_heap_size"), heap.old_used_words()),
        (atom!("heap_size"), heap.used_words()),
    ];
    let sizes = sizes.map(|(name, words)| (name, words as u64));
    if let Some(elapsed_ms) =
        beyond(process.vm.clock.since_start_ns() - started_ns, limits.long_gc_ms)
    {
        let all = [&[(atom!("timeout"), elapsed_ms)], &sizes[..]].concat();
        tell(vm, monitor, process, atom!("long_gc"), |heap| numbers(heap, &all));
    }
    let words = (heap.block_words() + heap.old_words()) as u64;
    if limits.large_heap_words.is_some_and(|limit| words > limit) {
        tell(vm, monitor, process, atom!("large_heap"), |heap| numbers(heap, &sizes));
    }
}

/// A turn of the process, which began at `started_ns` in the function `from`, is over.
pub(crate) fn turn_ended(process: &Process, started_ns: u64, from: Option<Mfa>) {
    let vm = process.vm;
    let Some((monitor, limits)) = vm.system_monitor.for_process(process) else { return };
    let Some(elapsed_ms) =
        beyond(process.vm.clock.since_start_ns() - started_ns, limits.long_schedule_ms)
    else {
        return;
    };
    let to = process.current_function();
    tell(vm, monitor, process, atom!("long_schedule"), |heap| {
        let mut place = |name: Atom, mfa: Option<Mfa>| {
            let place = mfa.map_or(Term::atom(am::UNDEFINED), |mfa| heap.mfa(mfa));
            heap.tuple(&[Term::atom(name), place])
        };
        let (from, to) = (place(atom!("in"), from), place(atom!("out"), to));
        let timeout = heap.uint(elapsed_ms);
        let timeout = heap.tuple(&[Term::atom(atom!("timeout")), timeout]);
        heap.list(&[timeout, from, to])
    });
}

/// A process is suspended until less waits to be written on a connection to another node.
pub fn busy_connection(process: &Process, controller: Option<Term>) {
    let vm = process.vm;
    let (Some(controller), Some((monitor, limits))) =
        (controller, vm.system_monitor.for_process(process))
    else {
        return;
    };
    if limits.busy_dist_port {
        tell(vm, monitor, process, atom!("busy_dist_port"), |_| controller);
    }
}

/// A process is suspended until a port takes more.
pub fn busy_port(process: &Process, port: Term) {
    let vm = process.vm;
    let Some((monitor, limits)) = vm.system_monitor.for_process(process) else { return };
    if limits.busy_port {
        tell(vm, monitor, process, atom!("busy_port"), |_| port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::time::TimeWarpMode;

    #[test]
    fn settings_end_with_their_process() {
        let clock = Clock::start(
            std::sync::Arc::new(crate::vm::world::World::real()),
            TimeWarpMode::No,
            true,
        );
        let monitor = SystemMonitor::default();
        let limits = Limits { long_gc_ms: Some(1), ..Limits::default() };
        assert_eq!(monitor.set(Some((7, limits))), None);
        assert!(
            monitor.before_collection(&clock).is_some() && monitor.before_turn(&clock).is_none()
        );
        monitor.process_ended(8);
        assert_eq!(monitor.settings(), Some((7, limits)));
        monitor.process_ended(7);
        assert_eq!(monitor.settings(), None);
        assert!(monitor.before_collection(&clock).is_none());
    }

    #[test]
    fn only_what_takes_longer_is_reported() {
        assert_eq!(beyond(5_999_000, Some(5)), None);
        assert_eq!(beyond(6_000_000, Some(5)), Some(6));
        assert_eq!(beyond(6_000_000, None), None);
    }
}
