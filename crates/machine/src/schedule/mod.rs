//! Schedulers: one thread a core, each with a queue for every priority; work is stolen when a queue
//! is empty, and threads with nothing to steal sleep.
//!
//! A process whose built-in may block is run by a dirty scheduler, unless its scheduler has nothing
//! else to do: then it is run where it is, and the scheduler is lent. If something else comes to do
//! before the built-in is through, a thread of the dirty schedulers becomes that scheduler, and the
//! thread that it was is a dirty one from then on. One that mostly takes microseconds is always run
//! where it is ([`absence`]); the two threads change places where it takes milliseconds.

use crate::bif::BifKind;
use crate::code::ModuleCode;
use crate::process::table::ProcessCell;
use crate::process::{Priority, Process};
use crate::vm::Config;
use crate::vm::Vm;
use crate::vm::time::Clock;
use crate::vm::world::World;
use blocking::Blockers;
use dirty::DirtyPool;
use parking::{Lent, Parking};
use parking_lot::Mutex;
pub(crate) use queues::LOW_TURNS;
use queues::Queues;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

mod absence;
pub mod blocking;
pub mod deferred;
mod dirty;
mod errands;
pub mod parking;
mod queues;
mod stealing;
mod step;
mod threads;
pub mod timer;
mod turn;
pub(crate) mod watch;

pub use errands::Errand;
pub use step::{Drive, Step};

/// Why an engine gave a process back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its turn is over.
    Yield,
    /// It waits for a signal.
    Wait,
    /// It ended, with the reason in its exception.
    Exit,
    /// It stands at a built-in that is to run on a dirty scheduler.
    DirtyIo,
    /// As `DirtyIo`, but the built-in mostly takes microseconds.
    BriefIo,
    /// As `DirtyIo`; or its heap is to be collected by a dirty scheduler.
    DirtyCpu,
}

impl Outcome {
    /// Why an engine does not call a built-in of that kind itself; `None` where it does.
    #[inline(always)]
    pub fn for_kind(kind: BifKind) -> Option<Outcome> {
        match kind {
            BifKind::Normal | BifKind::Guard => None,
            BifKind::DirtyIo => Some(Outcome::DirtyIo),
            BifKind::BriefIo => Some(Outcome::BriefIo),
            BifKind::DirtyCpu => Some(Outcome::DirtyCpu),
        }
    }
}

/// What runs the code of processes.
pub trait Engine: Send + Sync {
    /// The state in which one thread runs code.
    fn worker(&self) -> Box<dyn Worker>;
    /// A module is about to be put in place.
    fn loaded(&self, module: &ModuleCode);
    /// Has calls of a function go to its breakpoint, or no longer.
    fn set_breakpoint(&self, vm: &Vm, module: &ModuleCode, function: usize, on: bool);
    /// No machine code of a module, or of any, is entered any more until it is made anew.
    fn forget_machine_code(&self, vm: &Vm, module: Option<&ModuleCode>);
    /// Whether there may be machine code among a process's callers.
    fn has_machine_code(&self) -> bool;
}

/// One thread that runs code.
pub trait Worker {
    /// Runs the process from `ip` with its saved registers, until it gives up the scheduler. On
    /// return `ip` and the saved registers say where to go on.
    fn run(&mut self, process: &mut Process) -> Outcome;
    /// Runs the built-in that the process stands at, on a dirty scheduler, and leaves the result in
    /// `result_at_hand`.
    fn run_dirty(&mut self, process: &mut Process);
}

/// The part of a scheduler that other threads see.
struct Scheduler {
    queues: Mutex<Queues>,
    errands: errands::Errands,
    /// [`Queues::lengths`], to be read without the lock.
    length: AtomicUsize,
    bound_length: AtomicUsize,
    /// It runs a process.
    running: AtomicBool,
    /// It has seen that it is not online.
    stands_by: AtomicBool,
    reductions: AtomicU64,
    /// Nanoseconds spent running processes.
    busy_ns: AtomicU64,
    /// Nanoseconds from the start to when it last woke another.
    called_ns: AtomicU64,
}

impl Scheduler {
    /// Changes the queues, and what others read of them without the lock.
    #[inline]
    fn with_queues<R>(&self, change: impl FnOnce(&mut Queues) -> R) -> R {
        let mut queues = self.queues.lock();
        let result = change(&mut queues);
        let (length, bound_length) = queues.lengths();
        self.length.store(length, Ordering::Relaxed);
        self.bound_length.store(bound_length, Ordering::Relaxed);
        result
    }
    /// Processes that wait and that other schedulers may run. The number may change at any time.
    fn stealable(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }
    /// Processes that wait, bound or not.
    fn waiting(&self) -> usize {
        self.stealable() + self.bound_length.load(Ordering::Relaxed)
    }
}

/// The schedulers of a machine, normal and dirty, and where idle ones sleep.
pub struct Schedulers {
    all: Box<[Scheduler]>,
    parking: Parking,
    world: Arc<World>,
    clock: Arc<Clock>,
    next_injected: AtomicUsize,
    dirty_io: DirtyPool,
    dirty_cpu: DirtyPool,
    /// This many schedulers, the first ones, run processes.
    online: AtomicUsize,
    /// The value of `online` while nobody blocks other schedulers.
    wanted_online: AtomicUsize,
    pub(crate) blockers: Blockers,
    /// Whether the time that schedulers are busy is measured, and since when (nanoseconds from the
    /// start).
    pub measuring: AtomicBool,
    pub measured_since_ns: AtomicU64,
    /// No thread polls: see [`Schedulers::freeze`].
    frozen: AtomicBool,
    /// The machine is halted: no process gets another turn.
    stopped: AtomicBool,
}

thread_local! {
    /// The number of this thread's scheduler, if it is one.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of the calling thread's scheduler, from 0.
pub fn current_scheduler() -> Option<usize> {
    CURRENT.get()
}

impl Schedulers {
    pub(crate) fn new(config: &Config, world: Arc<World>, clock: Arc<Clock>) -> Schedulers {
        let count = config.schedulers;
        let scheduler = || Scheduler {
            queues: Mutex::default(),
            errands: Default::default(),
            length: AtomicUsize::new(0),
            bound_length: AtomicUsize::new(0),
            stands_by: AtomicBool::new(false),
            running: AtomicBool::new(false),
            reductions: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            called_ns: AtomicU64::new(0),
        };
        Schedulers {
            all: (0..count.max(1)).map(|_| scheduler()).collect(),
            parking: Parking::new(count.max(1)),
            world,
            clock,
            next_injected: AtomicUsize::new(0),
            dirty_io: DirtyPool::new(config.dirty_io),
            dirty_cpu: DirtyPool::new(config.dirty_cpu),
            online: AtomicUsize::new(count.max(1)),
            wanted_online: AtomicUsize::new(count.max(1)),
            blockers: Blockers::default(),
            measuring: AtomicBool::new(false),
            measured_since_ns: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }
    /// Normal schedulers, online or not (`erlang:system_info(schedulers)`).
    pub fn count(&self) -> usize {
        self.all.len()
    }
    /// Processes that wait in each scheduler's queues, bound ones included.
    pub fn queue_lengths(&self) -> Vec<usize> {
        self.all.iter().map(|scheduler| scheduler.waiting()).collect()
    }
    /// A number that changes when a turn ends, as long as every scheduler that is online runs a
    /// process; `None` where one does not.
    pub fn turns_while_busy(&self) -> Option<u64> {
        let online = self.all.iter().take(self.online());
        online
            .clone()
            .all(|scheduler| scheduler.running.load(Ordering::Relaxed))
            .then(|| self.reductions())
    }
    /// Reductions of all turns that have ended, since the machine started.
    pub fn reductions(&self) -> u64 {
        self.all.iter().map(|scheduler| scheduler.reductions.load(Ordering::Relaxed)).sum()
    }
    /// Nanoseconds that each has run processes since measuring began: schedulers, dirty ones for
    /// computing, dirty ones for input and output.
    pub fn busy_ns(&self) -> [Vec<u64>; 3] {
        let dirty = |pool: &DirtyPool| {
            pool.threads().iter().map(|thread| thread.busy_ns.load(Ordering::Relaxed)).collect()
        };
        let normal =
            self.all.iter().map(|scheduler| scheduler.busy_ns.load(Ordering::Relaxed)).collect();
        [normal, dirty(&self.dirty_cpu), dirty(&self.dirty_io)]
    }
    /// Processes that run: on each scheduler, on the dirty ones for computing, on those for input
    /// and output.
    pub fn running(&self) -> (Vec<usize>, [usize; 2]) {
        let normal = self
            .all
            .iter()
            .map(|scheduler| usize::from(scheduler.running.load(Ordering::Relaxed)))
            .collect();
        (normal, [self.dirty_cpu.running(), self.dirty_io.running()])
    }
    /// Whether there are dirty schedulers for computing.
    pub fn has_dirty_cpu(&self) -> bool {
        !self.dirty_cpu.threads().is_empty()
    }
    /// Whether processes wait for a scheduler.
    fn has_waiting(&self, number: usize) -> bool {
        self.all[number].waiting() > 0
    }
    /// Dirty schedulers for computing that take processes.
    pub fn dirty_cpu_online(&self) -> usize {
        self.dirty_cpu.online()
    }
    /// Has only so many of them take processes from now on; how many did before.
    pub fn set_dirty_cpu_online(&self, count: usize) -> usize {
        self.dirty_cpu.set_online(count)
    }
    /// Processes that wait for a dirty scheduler: for computing, for input and output.
    pub fn dirty_queue_lengths(&self) -> [usize; 2] {
        [self.dirty_cpu.len(), self.dirty_io.len()]
    }
    /// Schedulers that run processes at this moment, the first ones.
    pub fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }
    /// Lets the first `count` schedulers run processes, and no others. Returns how many it was
    /// before.
    ///
    /// # Panics
    /// When there are not so many, or it is none.
    pub fn set_online(&self, count: usize) -> usize {
        assert!(
            (1..=self.count()).contains(&count),
            "between one and all of the schedulers are online"
        );
        let before = self.wanted_online.swap(count, Ordering::SeqCst);
        self.apply_wanted_online();
        before
    }
    /// Schedulers that run processes while nobody blocks the others (`schedulers_online`).
    pub fn wanted_online(&self) -> usize {
        self.wanted_online.load(Ordering::Relaxed)
    }
    /// Lets `count` schedulers run processes; `None`: as many as are wanted.
    pub(crate) fn limit_online(&self, count: Option<usize>) {
        self.online.store(count.unwrap_or_else(|| self.wanted_online()), Ordering::SeqCst);
        // Those that come online look for work; those that go hand theirs over.
        for at in 0..self.count() {
            self.wake(at);
        }
    }
    /// Whether all schedulers but the first have noticed that they are not to run processes.
    pub(crate) fn others_stand_by(&self) -> bool {
        self.all.iter().skip(1).all(|other| other.stands_by.load(Ordering::SeqCst))
    }

    /// Makes a scheduler look for work.
    fn wake(&self, at: usize) {
        self.take_over(self.parking.wake(at));
    }

    /// Lets another thread run a scheduler that was lent.
    fn take_over(&self, lent: Option<Lent>) {
        if let Some(Lent { scheduler, number }) = lent {
            self.dirty_io.take_over(number, scheduler);
        }
    }

    /// Puts a runnable process into a queue: that of the calling scheduler, or of the one that ran
    /// it last. `woken` says that it is new, or waited for a signal that has come.
    pub fn enqueue(&self, cell: &ProcessCell, woken: bool) {
        let bound = cell.shared.bound.load(Ordering::Relaxed) as usize;
        if (1..=self.online()).contains(&bound) {
            return self.enqueue_bound(cell, bound - 1);
        }
        let here = current_scheduler();
        let at = here.unwrap_or_else(|| {
            let last = cell.shared.scheduler.load(Ordering::Relaxed) as usize;
            if last < self.online() {
                last
            } else {
                self.next_injected.fetch_add(1, Ordering::Relaxed) % self.online()
            }
        });
        let scheduler = &self.all[at];
        let priority = cell.shared.priority.load(Ordering::Relaxed);
        scheduler
            .with_queues(|queues| queues.push(std::ptr::from_ref(cell) as usize, priority, woken));
        if here.is_none() {
            self.wake(at);
        } else if scheduler.stealable() > 1 {
            self.call_for_help(scheduler);
        }
    }

    /// Gives a waiting process the next turn with this priority, which is higher than its own.
    pub(crate) fn advance(&self, cell: &ProcessCell, priority: u8) {
        let cell = std::ptr::from_ref(cell) as usize;
        // One that is in no queue has its turn now.
        let _ = self.all.iter().any(|scheduler| scheduler.queues.lock().advance(cell, priority));
    }

    fn enqueue_bound(&self, cell: &ProcessCell, at: usize) {
        let priority = cell.shared.priority.load(Ordering::Relaxed);
        self.all[at]
            .with_queues(|queues| queues.push_bound(std::ptr::from_ref(cell) as usize, priority));
        if current_scheduler() != Some(at) {
            self.wake(at);
        }
    }

    /// Starts or stops measuring the time that schedulers are busy. Returns whether it was on.
    pub fn measure(&self, on: bool, now_ns: u64) -> bool {
        let before = self.measuring.swap(on, Ordering::SeqCst);
        if on && !before {
            self.measured_since_ns.store(now_ns, Ordering::SeqCst);
            for scheduler in &self.all {
                scheduler.busy_ns.store(0, Ordering::SeqCst);
            }
            for thread in self.dirty_cpu.threads().iter().chain(self.dirty_io.threads()) {
                thread.busy_ns.store(0, Ordering::SeqCst);
            }
        }
        before
    }

    /// A scheduler that is not online hands its processes to the first one, and sleeps.
    fn stand_by(&self, own: usize) {
        self.all[own].stands_by.store(true, Ordering::SeqCst);
        self.parking.stand_by(own, || {
            !self.hand_over(own)
                && self.all[own].errands.is_empty()
                && own >= self.online.load(Ordering::SeqCst)
        });
        self.all[own].stands_by.store(false, Ordering::SeqCst);
    }
}

impl Process {
    /// Changes the priority, from the next turn on. Returns the priority before.
    pub fn set_priority(&mut self, priority: Priority) -> Priority {
        self.shared().priority.store(priority as u8, Ordering::Relaxed);
        std::mem::replace(&mut self.priority, priority)
    }
}
