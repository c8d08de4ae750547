//! A process's turn: on a scheduler, until its reductions are used up, it waits or it ends; on a
//! dirty scheduler, one built-in.

use super::dirty::DirtyThread;
use super::{Outcome, Scheduler, Worker, watch};
use crate::process::exit::Ending;
use crate::process::table::ProcessCell;
use crate::process::{Process, in_native};
use crate::vm::Vm;
use crate::vm::system_monitor;
use std::sync::atomic::Ordering;
use swarmrt_term::stop;

/// The kind of dirty scheduler that a process needs next.
pub(super) enum Dirty {
    Io {
        /// The work mostly takes microseconds.
        brief: bool,
    },
    Cpu,
}

impl Vm {
    /// Runs a process for a turn of so many reductions. Returns the kind of dirty scheduler that it
    /// needs next, if any.
    ///
    /// # Safety
    /// The caller took the process out of a run queue.
    pub(super) unsafe fn run_process(
        &'static self,
        cell: &ProcessCell,
        number: usize,
        mut turn: i32,
        worker: &mut dyn Worker,
    ) -> Option<Dirty> {
        let guard = crossbeam_epoch::pin();
        let scheduler = &self.schedulers.all[number];
        self.statistics.context_switches.add(1);
        cell.shared.scheduler.store(number as u32, Ordering::Relaxed);
        cell.shared.state.run();
        // SAFETY: the caller's.
        let process = unsafe { &mut **cell.process.get() };
        loop {
            process.reductions = turn;
            let traced_before = process.trace.flags();
            let is_ending = process.exiting;
            if is_ending {
                process.trace_ending(swarmrt_term::atom!("in_exiting"));
            } else if process.has_incoming() {
                process.handle_signals();
            }
            if is_ending || process.exit_pending {
                // SAFETY: it ran here.
                unsafe { self.end_process(cell, scheduler, &guard) };
                return None;
            }
            if process.tasks.is_some() {
                process.run_tasks();
            }
            // The turn in which tracing was changed is not reported.
            let goes_on_waiting = process.trace.flags() != traced_before && process.would_wait_on();
            let rests =
                goes_on_waiting || process.extra.as_ref().is_some_and(|extra| extra.suspended > 0);
            let outcome = if rests {
                Outcome::Wait
            } else if process.collects_apart() {
                Outcome::DirtyCpu
            } else {
                self.run_code(process, worker)
            };
            let used = (turn - process.reductions).max(1);
            process.total_reductions += used as u64;
            scheduler.reductions.fetch_add(used as u64, Ordering::Relaxed);
            if process.tasks.is_some() && matches!(outcome, Outcome::Yield | Outcome::Wait) {
                process.run_tasks();
            }
            match outcome {
                Outcome::Exit => {
                    // SAFETY: the process ran here, and nobody else runs it.
                    unsafe { self.end_process(cell, scheduler, &guard) };
                    return None;
                }
                Outcome::Yield => {
                    self.run_again(cell, process);
                    return None;
                }
                Outcome::Wait => {
                    if cell.shared.state.wait() {
                        return None;
                    }
                    // A signal came in meanwhile; the receive may have taken it already.
                    if !process.has_incoming()
                        && process.would_wait_on()
                        && cell.shared.state.wait()
                    {
                        return None;
                    }
                    turn = process.reductions.max(100);
                }
                Outcome::DirtyIo => return Some(Dirty::Io { brief: false }),
                Outcome::BriefIo => return Some(Dirty::Io { brief: true }),
                Outcome::DirtyCpu => return Some(Dirty::Cpu),
            }
        }
    }

    /// Has the worker run a process; tells who traces it, and the system monitor.
    fn run_code(&self, process: &mut Process, worker: &mut dyn Worker) -> Outcome {
        if process.trace.is_on() {
            process.trace_scheduled(swarmrt_term::atom!("in"));
            process.measure_again(false);
        }
        let started = self.system_monitor.before_turn(&self.clock);
        let started = started.map(|started_ns| (started_ns, process.current_function()));
        let outcome = watch::watched(process, |process| worker.run(process)).unwrap_or_else(
            |stop::Stopped| {
                process.break_off();
                Outcome::Exit
            },
        );
        if let Some((started, from)) = started {
            system_monitor::turn_ended(process, started, from);
        }
        if process.trace.is_on() && outcome != Outcome::Exit {
            process.measure_again(true);
            process.trace_scheduled(swarmrt_term::atom!("out"));
        }
        outcome
    }

    /// The turn of a process is over, and it has more to do.
    fn run_again(&self, cell: &ProcessCell, process: &Process) {
        cell.shared.priority.store(process.priority as u8, Ordering::Relaxed);
        cell.shared.state.requeue();
        self.schedulers.enqueue(cell, false);
    }

    /// Ends a process, or goes on with that, and frees it, unless it waits for a connection.
    ///
    /// # Safety
    /// The caller runs the process, and does not touch it afterwards.
    unsafe fn end_process(
        &'static self,
        cell: &ProcessCell,
        scheduler: &Scheduler,
        guard: &crossbeam_epoch::Guard,
    ) {
        // SAFETY: the caller's.
        let process = unsafe { &mut *cell.process.get() };
        let mut left = process.reductions;
        match process.end(&mut left) {
            Ending::Unfinished => {
                let used = (process.reductions - left).max(1);
                process.total_reductions += used as u64;
                scheduler.reductions.fetch_add(used as u64, Ordering::Relaxed);
                process.trace_ending(swarmrt_term::atom!("out_exiting"));
                self.run_again(cell, process);
            }
            Ending::Held => {}
            // SAFETY: the caller's.
            Ending::Over => unsafe { self.remove_ended(cell, guard) },
        }
    }

    /// Frees a process that has ended.
    ///
    /// # Safety
    /// Nobody else touches the process, and the caller does not do so afterwards.
    pub(crate) unsafe fn remove_ended(
        &'static self,
        cell: &ProcessCell,
        guard: &crossbeam_epoch::Guard,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let process = &mut *cell.process.get();
            if process.trace.is_on() {
                process.trace_exited();
            }
            self.processes.remove(cell.shared.id, guard);
        }
    }

    /// Queues a process that comes from a dirty scheduler, or frees it where it has ended.
    ///
    /// # Safety
    /// The caller alone ran the process, and does not touch it afterwards.
    pub(super) unsafe fn after_dirty(&'static self, cell: &ProcessCell, has_ended: bool) {
        if has_ended {
            // SAFETY: the caller's.
            unsafe { in_native::free_ended(self, cell) };
        } else {
            cell.shared.state.requeue();
            self.schedulers.enqueue(cell, true);
        }
    }

    /// Collects a process's heap if that is due, else runs the built-in that it stands at; on that
    /// dirty scheduler, or on a scheduler that is away (`None`). Returns whether the process was
    /// ended meanwhile.
    ///
    /// # Safety
    /// The caller alone runs the process.
    pub(super) unsafe fn run_dirty(
        &'static self,
        cell: &ProcessCell,
        thread: Option<&DirtyThread>,
        worker: &mut dyn Worker,
    ) -> bool {
        let _guard = crossbeam_epoch::pin();
        cell.shared.waits_dirty.store(false, Ordering::Relaxed);
        if let Some(thread) = thread {
            thread.running.store(true, Ordering::Relaxed);
        }
        let started = self.clock.since_start_ns();
        // SAFETY: the caller's.
        let process: &mut Process = unsafe { &mut *cell.process.get() };
        // A process whose work was broken off ends in its next turn, by the signal that waits.
        if process.trace.is_on() {
            process.trace_scheduled(swarmrt_term::atom!("in"));
        }
        let _ = watch::watched(process, |process| {
            if process.collects_apart() {
                // SAFETY: between turns, heap and stack pointers are current.
                unsafe { process.collect(0, &mut [], false) };
            } else {
                worker.run_dirty(process);
            }
        });
        if process.trace.is_on() && !process.exiting {
            process.trace_scheduled(swarmrt_term::atom!("out"));
        }
        if let Some(thread) = thread {
            if self.schedulers.measuring.load(Ordering::Relaxed) {
                thread.busy_ns.fetch_add(self.clock.since_start_ns() - started, Ordering::Relaxed);
            }
            thread.running.store(false, Ordering::Relaxed);
        }
        process.exiting
    }
}
