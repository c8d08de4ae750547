//! One step of a scheduler: errands, descriptors, then a process's turn. A thread takes steps until
//! there is nothing to do, and sleeps; something else, such as a test, may take them one by one.

use super::turn::Dirty;
use super::{CURRENT, Worker, deferred, watch};
use crate::process::REDUCTIONS_PER_TURN;
use crate::process::table::ProcessCell;
use crate::vm::Vm;
use std::sync::atomic::Ordering;

/// What a turn pays for input or output that is done within it.
const REDUCTIONS_PER_IO: i32 = 200;

/// Reductions after which a busy scheduler polls descriptors.
const REDUCTIONS_PER_LOOK: u64 = 2 * REDUCTIONS_PER_TURN as u64;

/// The outcome of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A process had its turn.
    Ran,
    /// There was none to run, or the scheduler is not online.
    Idle,
    /// Another thread is the scheduler from now on, and the caller is the dirty I/O scheduler of
    /// that number.
    Replaced { dirty_io: usize },
}

/// A scheduler, as seen by the thread that takes its steps.
pub struct Drive<'a> {
    vm: &'static Vm,
    number: usize,
    worker: &'a mut dyn Worker,
    /// Reductions of this scheduler when it looked at descriptors last.
    looked_at: u64,
}

/// How it goes on after input or output.
enum AfterIo {
    /// The process has so many reductions of its turn left, and is the scheduler's to run.
    GoesOn { turn: i32 },
    /// The step is over.
    Over(Step),
}

impl Drive<'_> {
    /// Makes the calling thread the scheduler of that number, from 0. No other may be it at the
    /// same time.
    pub fn new<'a>(vm: &'static Vm, number: usize, worker: &'a mut dyn Worker) -> Drive<'a> {
        CURRENT.set(Some(number));
        Drive { vm, number, worker, looked_at: 0 }
    }

    /// Does the work between two turns, then runs a process for a turn, if one waits.
    pub fn step(&mut self) -> Step {
        let schedulers = &self.vm.schedulers;
        schedulers.run_errands(self.number);
        self.look_at_descriptors();
        if self.number >= schedulers.online() {
            return Step::Idle;
        }
        let Some(cell) = schedulers.next(self.number) else { return Step::Idle };
        // SAFETY: a cell in a run queue is alive, and the thread that takes it out runs it alone.
        let cell = unsafe { &*(cell as *const ProcessCell) };
        let mut turn = REDUCTIONS_PER_TURN;
        loop {
            let (dirty, given_up) = self.run(cell, turn);
            match dirty {
                Some(Dirty::Cpu) => schedulers.queue_dirty(cell, &schedulers.dirty_cpu),
                Some(Dirty::Io { .. }) if given_up.is_some() => {
                    schedulers.queue_dirty(cell, &schedulers.dirty_io);
                }
                Some(Dirty::Io { brief }) => match self.run_io(cell, brief) {
                    AfterIo::GoesOn { turn: left } => {
                        turn = left;
                        continue;
                    }
                    AfterIo::Over(step) => return step,
                },
                None => {}
            }
            return match given_up {
                Some(dirty_io) => {
                    schedulers.dirty_io.threads()[dirty_io].running.store(false, Ordering::Relaxed);
                    Step::Replaced { dirty_io }
                }
                None => Step::Ran,
            };
        }
    }

    /// Polls descriptors from time to time while the scheduler is busy.
    fn look_at_descriptors(&mut self) {
        let schedulers = &self.vm.schedulers;
        if schedulers.parking.has_poll() {
            let reductions = schedulers.all[self.number].reductions.load(Ordering::Relaxed);
            if reductions.wrapping_sub(self.looked_at) >= REDUCTIONS_PER_LOOK {
                self.looked_at = reductions;
                self.vm.act_on_news(schedulers.parking.look(self.number));
            }
        }
    }

    /// Runs a process for a turn of so many reductions. Returns the kind of dirty scheduler that it
    /// needs next, if any, and the number of the dirty scheduler that the thread has become because
    /// the turn took too long.
    fn run(&mut self, cell: &ProcessCell, turn: i32) -> (Option<Dirty>, Option<usize>) {
        let scheduler = &self.vm.schedulers.all[self.number];
        scheduler.running.store(true, Ordering::Relaxed);
        let measuring = self.vm.schedulers.measuring.load(Ordering::Relaxed);
        let started = measuring.then(|| self.vm.clock.since_start_ns());
        // SAFETY: the process was taken out of a run queue.
        let dirty = unsafe { self.vm.run_process(cell, self.number, turn, self.worker) };
        let given_up = watch::given_up();
        if let Some(started) = started {
            let busy_ns = self.vm.clock.since_start_ns() - started;
            scheduler.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        }
        if given_up.is_none() {
            scheduler.running.store(false, Ordering::Relaxed);
        }
        deferred::run();
        (dirty, given_up)
    }

    /// Runs work that may block on this thread, which lends its scheduler meanwhile. Where there is
    /// other work for the scheduler, the thread is away for what is `brief`, and for the rest the
    /// process is queued for a dirty scheduler.
    fn run_io(&mut self, cell: &ProcessCell, brief: bool) -> AfterIo {
        let schedulers = &self.vm.schedulers;
        let dirty_io = schedulers.lend(self.number);
        if dirty_io.is_none() && !brief {
            schedulers.queue_dirty(cell, &schedulers.dirty_io);
            return AfterIo::Over(Step::Ran);
        }
        CURRENT.set(None);
        let (has_ended, back) = match dirty_io {
            Some(dirty_io) => {
                let thread = &schedulers.dirty_io.threads()[dirty_io];
                // SAFETY: the process stands at a built-in, and nobody else runs it.
                let has_ended = unsafe { self.vm.run_dirty(cell, Some(thread), self.worker) };
                let is_back = schedulers.take_back(self.number, dirty_io);
                (has_ended, if is_back { Ok(()) } else { Err(dirty_io) })
            }
            None => {
                // Somebody idle may take what waits here.
                schedulers.call_for_help(&schedulers.all[self.number]);
                let absence = schedulers.parking.leave(self.number);
                let started_ns = self.vm.clock.since_start_ns();
                // SAFETY: as above.
                let has_ended = unsafe { self.vm.run_dirty(cell, None, self.worker) };
                let back = schedulers.parking.absences.end(self.number, absence);
                if schedulers.measuring.load(Ordering::Relaxed) {
                    // Whose thread it has been is the one that was busy.
                    let busy_ns = match back {
                        Ok(()) => &schedulers.all[self.number].busy_ns,
                        Err(dirty_io) => &schedulers.dirty_io.threads()[dirty_io].busy_ns,
                    };
                    let now_ns = self.vm.clock.since_start_ns();
                    busy_ns.fetch_add(now_ns - started_ns, Ordering::Relaxed);
                }
                (has_ended, back)
            }
        };
        if back.is_ok() {
            CURRENT.set(Some(self.number));
            // SAFETY: as above.
            let process = unsafe { &**cell.process.get() };
            let left = process.reductions - REDUCTIONS_PER_IO;
            if !has_ended && left > 0 {
                cell.shared.state.requeue();
                return AfterIo::GoesOn { turn: left };
            }
        }
        // SAFETY: as above.
        unsafe { self.vm.after_dirty(cell, has_ended) };
        AfterIo::Over(back.map_or_else(|dirty_io| Step::Replaced { dirty_io }, |()| Step::Ran))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::code::ModuleCode;
    use crate::process::Process;
    use crate::schedule::{Engine, Outcome};
    use crate::signal::send_message;
    use crate::tests::{machine, new_process};
    use crate::vm::{Config, pin};
    use std::collections::HashSet;
    use std::time::Duration;
    use swarmrt_term::Term;

    /// Runs no code: notes whose turn it is, and has it come to what the script says next.
    struct Script {
        outcomes: Vec<(u64, Outcome)>,
        ran: Vec<u64>,
    }

    impl Worker for Script {
        fn run(&mut self, process: &mut Process) -> Outcome {
            let id = process.id();
            self.ran.push(id);
            let at = self.outcomes.iter().position(|(whose, _)| *whose == id);
            at.map_or(Outcome::Exit, |at| self.outcomes.remove(at).1)
        }
        fn run_dirty(&mut self, _: &mut Process) {
            std::thread::sleep(BLOCKED);
        }
    }

    /// How long a built-in for a dirty scheduler blocks.
    const BLOCKED: Duration = Duration::from_millis(2);

    struct NoCode;

    impl Engine for NoCode {
        fn worker(&self) -> Box<dyn Worker> {
            Box::new(Script { outcomes: Vec::new(), ran: Vec::new() })
        }
        fn loaded(&self, _: &ModuleCode) {}
        fn set_breakpoint(&self, _: &Vm, _: &ModuleCode, _: usize, _: bool) {}
        fn forget_machine_code(&self, _: &Vm, _: Option<&ModuleCode>) {}
        fn has_machine_code(&self) -> bool {
            false
        }
    }

    #[test]
    fn steps_by_hand_run_who_waits_in_turn_and_then_there_is_nothing_to_do() {
        let vm = machine();
        vm.set_engine(Box::new(NoCode));
        let [a, b] = [(); 2].map(|()| new_process(vm));
        let outcomes = vec![(a, Outcome::Yield), (b, Outcome::Wait)];
        let mut script = Script { outcomes, ran: Vec::new() };
        let mut drive = Drive::new(vm, 0, &mut script);
        assert_eq!([(); 3].map(|()| drive.step()), [Step::Ran; 3]);
        assert_eq!(drive.step(), Step::Idle);
        assert!(vm.processes.get(a).is_none(), "it has ended");
        // A message makes the other runnable again.
        assert!(send_message(vm, Term::pid(a), b, Term::NIL));
        assert_eq!(drive.step(), Step::Ran);
        assert_eq!(drive.step(), Step::Idle);
        let _guard = pin();
        assert!(vm.processes.get(b).is_none());
        assert_eq!(script.ran, [a, b, a, b]);
    }

    /// Four processes that yield twice, wait for a timer's message, and end: the order of their
    /// turns, and the time at the end.
    fn schedule_of(seed: u64) -> (Vec<usize>, u64) {
        const SECOND_NS: u64 = 1_000_000_000;
        let config = Config::without_threads(swarmrt_term::Release::OLDEST);
        let vm = Vm::new(Config { seed: Some(seed), ..config });
        vm.set_engine(Box::new(NoCode));
        let pids = [(); 4].map(|()| new_process(vm));
        for (seconds, pid) in (1..).zip(pids) {
            let wake = move |vm| assert!(send_message(vm, Term::pid(pid), pid, Term::NIL));
            vm.timers.start(seconds * SECOND_NS, Box::new(wake));
        }
        let turns = [Outcome::Yield, Outcome::Yield, Outcome::Wait, Outcome::Exit];
        let outcomes = pids.into_iter().flat_map(|pid| turns.map(|turn| (pid, turn))).collect();
        let mut script = Script { outcomes, ran: Vec::new() };
        let mut drive = Drive::new(vm, 0, &mut script);
        // Time moves when there is nothing else to do, by two timers, so that both are ready then.
        while drive.step() == Step::Ran || [(); 2].map(|()| vm.timers.advance(vm)) != [false; 2] {}
        assert!(vm.start_thread("none", || ()).is_err(), "time is not virtual to a thread");
        let index = |pid: &u64| pids.iter().position(|other| other == pid).expect("one of them");
        (script.ran.iter().map(index).collect(), vm.clock.since_start_ns())
    }

    #[test]
    fn a_seed_gives_one_schedule_and_another_seed_another() {
        let schedules: Vec<_> = (0..20).map(schedule_of).collect();
        assert_eq!(schedules, (0..20).map(schedule_of).collect::<Vec<_>>());
        for (order, end_ns) in &schedules {
            assert_eq!(*end_ns, 4_000_000_000);
            for process in 0..4 {
                assert_eq!(order.iter().filter(|ran| **ran == process).count(), 4, "{order:?}");
            }
        }
        let different: HashSet<_> = schedules.into_iter().collect();
        assert!(different.len() > 15, "{} of 20", different.len());
    }

    #[test]
    fn a_scheduler_is_busy_while_its_thread_is_away() {
        let vm = machine();
        vm.set_engine(Box::new(NoCode));
        let [a, b] = [(); 2].map(|()| new_process(vm));
        let outcomes = vec![(a, Outcome::BriefIo)];
        let mut script = Script { outcomes, ran: Vec::new() };
        let mut drive = Drive::new(vm, 0, &mut script);
        vm.schedulers.measure(true, vm.clock.since_start_ns());
        // The other waits for the scheduler, which is not lent therefore.
        assert_eq!(drive.step(), Step::Ran);
        let busy_ns = u128::from(vm.schedulers.busy_ns()[0][0]);
        assert!(busy_ns >= BLOCKED.as_nanos(), "{busy_ns}");
        assert_eq!(drive.step(), Step::Ran);
        assert_eq!(script.ran, [a, a, b]);
    }

    #[test]
    fn a_scheduler_that_is_not_online_runs_nothing() {
        let vm = machine();
        vm.set_engine(Box::new(NoCode));
        new_process(vm);
        let mut script = Script { outcomes: Vec::new(), ran: Vec::new() };
        let mut drive = Drive::new(vm, 0, &mut script);
        vm.schedulers.limit_online(Some(0));
        assert_eq!(drive.step(), Step::Idle);
        vm.schedulers.limit_online(None);
        assert_eq!(drive.step(), Step::Ran);
        assert_eq!(script.ran.len(), 1);
    }
}
