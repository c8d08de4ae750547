//! `erlang:statistics/1`.

use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_machine::process::REDUCTIONS_PER_TURN;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Term, am, atom};

/// What was told last, for those that tell what has come since.
#[derive(Default)]
struct LastTold {
    reductions: AtomicU64,
    exact_reductions: AtomicU64,
    runtime: AtomicU64,
    wall_clock: AtomicU64,
}

/// {Total, `SinceLast`}.
fn with_difference(p: &mut Process, last: &AtomicU64, now: u64) -> Term {
    let fresh = now.saturating_sub(last.swap(now, Ordering::Relaxed));
    let pair = [p.uint(now), p.uint(fresh)];
    p.tuple(&pair)
}

/// Milliseconds of processor time that all threads have used.
fn runtime_ms() -> u64 {
    // SAFETY: `getrusage` fills the structure that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (us(usage.ru_utime) + us(usage.ru_stime)) / 1000
}

/// Which run queues are meant: those of the schedulers and of dirty work that computes; with `all`,
/// also that of dirty input and output.
fn queues(vm: &Vm, active: bool, all: bool) -> Vec<usize> {
    let mut lengths = vm.schedulers.queue_lengths();
    let mut dirty = vm.schedulers.dirty_queue_lengths();
    if active {
        let (running, dirty_running) = vm.schedulers.running();
        lengths.iter_mut().zip(running).for_each(|(length, running)| *length += running);
        dirty.iter_mut().zip(dirty_running).for_each(|(length, running)| *length += running);
    }
    lengths.extend(&dirty[..if all { 2 } else { 1 }]);
    lengths
}

fn list_of_numbers(p: &mut Process, numbers: &[usize]) -> Term {
    let numbers: Vec<Term> = numbers.iter().map(|&number| Term::small(number as i64)).collect();
    p.list(&numbers)
}

/// {Scheduler, `ActiveTime`, `TotalTime`} for each, dirty ones after the others.
fn wall_times(p: &mut Process, all: bool) -> Term {
    let vm = p.vm;
    if !vm.schedulers.measuring.load(Ordering::Relaxed) {
        return Term::atom(am::UNDEFINED);
    }
    let total = vm.clock.since_start_ns() - vm.schedulers.measured_since_ns.load(Ordering::Relaxed);
    let [mut busy, computing, waiting] = vm.schedulers.busy_ns();
    busy.extend(computing);
    if all {
        busy.extend(waiting);
    }
    let mut entries = Vec::new();
    for (number, busy) in busy.into_iter().enumerate() {
        let (busy, total) = (p.uint(busy.min(total)), p.uint(total));
        entries.push(p.tuple(&[Term::small(number as i64 + 1), busy, total]));
    }
    p.list(&entries)
}

#[bif("erlang:statistics/1")]
fn statistics(p: &mut Process, item: Term) -> BifResult {
    let item = item.as_atom().ok_or(BifExit::BADARG)?;
    let vm = p.vm;
    let counted = &vm.statistics;
    let last = vm.extension::<LastTold>();
    Ok(match item.name() {
        "context_switches" => {
            let switches = p.uint(counted.context_switches.sum() as u64);
            p.tuple(&[switches, Term::small(0)])
        }
        // Turns that are not over are not counted but in the exact figure, and there our own.
        "reductions" => with_difference(p, &last.reductions, vm.schedulers.reductions()),
        "exact_reductions" => {
            let own = (REDUCTIONS_PER_TURN - p.reductions).max(0) as u64;
            with_difference(p, &last.exact_reductions, vm.schedulers.reductions() + own)
        }
        "runtime" => with_difference(p, &last.runtime, runtime_ms()),
        "wall_clock" => with_difference(p, &last.wall_clock, vm.clock.since_start_ns() / 1_000_000),
        "garbage_collection" => {
            let figures = [
                p.uint(counted.collections.sum() as u64),
                p.uint(counted.words_reclaimed.sum() as u64),
                Term::small(0),
            ];
            p.tuple(&figures)
        }
        "io" => {
            let (received, sent) =
                (p.uint(counted.bytes_in.sum() as u64), p.uint(counted.bytes_out.sum() as u64));
            let input = p.tuple(&[Term::atom(atom!("input")), received]);
            let output = p.tuple(&[Term::atom(atom!("output")), sent]);
            p.tuple(&[input, output])
        }
        "run_queue" => Term::small(vm.schedulers.queue_lengths().iter().sum::<usize>() as i64),
        "run_queues" => {
            let lengths: Vec<Term> = queues(vm, false, true)
                .into_iter()
                .map(|length| Term::small(length as i64))
                .collect();
            p.tuple(&lengths)
        }
        "run_queue_lengths" => list_of_numbers(p, &queues(vm, false, false)),
        "run_queue_lengths_all" => list_of_numbers(p, &queues(vm, false, true)),
        "active_tasks" => list_of_numbers(p, &queues(vm, true, false)),
        "active_tasks_all" => list_of_numbers(p, &queues(vm, true, true)),
        "total_run_queue_lengths" => {
            Term::small(queues(vm, false, false).iter().sum::<usize>() as i64)
        }
        "total_run_queue_lengths_all" => {
            Term::small(queues(vm, false, true).iter().sum::<usize>() as i64)
        }
        "total_active_tasks" => Term::small(queues(vm, true, false).iter().sum::<usize>() as i64),
        "total_active_tasks_all" => {
            Term::small(queues(vm, true, true).iter().sum::<usize>() as i64)
        }
        "scheduler_wall_time" => wall_times(p, false),
        "scheduler_wall_time_all" => wall_times(p, true),
        // Not kept here, and documented to be `undefined` then.
        "microstate_accounting" => Term::atom(am::UNDEFINED),
        _ => return Err(BifExit::BADARG),
    })
}

#[bif("erts_internal:scheduler_wall_time/1")]
fn scheduler_wall_time(p: &mut Process, on: Term) -> BifResult {
    let on = on.as_bool().ok_or(BifExit::BADARG)?;
    Ok(Term::bool(p.vm.schedulers.measure(on, p.vm.clock.since_start_ns())))
}
