//! Schedulers: one thread a core, each with a queue for every priority; work is stolen when a queue is
//! empty, and threads with nothing to steal sleep.
//!
//! A process whose built-in may block is run by a dirty scheduler, unless its scheduler has nothing else to do: then it is run where
//! it is, and the scheduler is lent. If something else comes to do before the built-in is through, a thread of
//! the dirty schedulers becomes that scheduler, and the thread that it was is a dirty one from then on.

use crate::process::in_native;
use crate::schedule::blocking::Blockers;
use crate::schedule::dirty::{DirtyPool, DirtyThread, Work};
use crate::schedule::parking::{Lent, Parking, Poll};
use crate::code::ModuleCode;
use crate::process::{Priority, Process, REDUCTIONS_PER_TURN};
use crate::process::table::ProcessCell;
use crate::vm::Vm;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Instant;
use swarmrt_term::stop;

pub mod blocking;
pub mod deferred;
mod dirty;
mod errands;
pub mod parking;
pub mod timer;
mod turn;

pub use errands::Errand;

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
    DirtyCpu,
}

/// The kind of dirty scheduler that a process is for.
enum Dirty {
    Io,
    Cpu,
}

/// What a thread is; its number is that among its kind, from 0.
#[derive(Clone, Copy)]
enum Role {
    Scheduler(usize),
    DirtyIo(usize),
    DirtyCpu(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = match self {
            Role::Scheduler(number) => ("scheduler", number),
            Role::DirtyIo(number) => ("dirty io", number),
            Role::DirtyCpu(number) => ("dirty cpu", number),
        };
        write!(f, "{kind} {}", number + 1)
    }
}

/// What runs the code of processes.
pub trait Engine: Send + Sync {
    /// The state in which one thread runs code.
    fn worker(&self) -> Box<dyn Worker>;
    /// A module is about to be put in place.
    fn loaded(&self, module: &ModuleCode);
    /// Whether there may be machine code among a process's callers.
    fn has_machine_code(&self) -> bool;
}

/// One thread that runs code.
pub trait Worker {
    /// Runs the process from `ip` with its saved registers, until it gives up the scheduler. On return
    /// `ip` and the saved registers say where to go on.
    fn run(&mut self, process: &mut Process) -> Outcome;
    /// Runs the built-in that the process stands at, on a dirty scheduler, and leaves the result in
    /// `result_at_hand`.
    fn run_dirty(&mut self, process: &mut Process);
}

struct Queues {
    by_priority: [VecDeque<usize>; 4],
    /// Processes of normal priority that are new or were woken by a signal: they go before those whose turn was
    /// over, but for every fifth turn. Whoever waits for something is answered soon, however many
    /// others are busy; and those are still passed over for four short turns at most.
    woken: VecDeque<usize>,
    woken_turns: u32,
    length: usize,
    /// Processes bound to this scheduler: nobody steals them. They take turns with the others.
    bound: VecDeque<usize>,
    bound_turn: bool,
    /// Turns that low priority has been passed over.
    low_skipped: u32,
}

/// Low priority gets one turn in this many, as in OTP.
const LOW_TURNS: u32 = 8;

/// Turns of woken processes before one whose turn was over.
const WOKEN_TURNS: u32 = 4;

impl Queues {
    fn push(&mut self, cell: usize, priority: u8, woken: bool) {
        if woken && priority == Priority::Normal as u8 {
            self.woken.push_back(cell);
        } else {
            self.by_priority[usize::from(priority)].push_back(cell);
        }
        self.length += 1;
    }
    /// Moves a process from a queue of lower priority to that of `priority`; whether it was in one.
    fn advance(&mut self, cell: usize, priority: u8) -> bool {
        let (higher, lower) = self.by_priority.split_at_mut(usize::from(priority) + 1);
        let found = lower.iter_mut().chain([&mut self.woken]).any(|queue| {
            let at = queue.iter().position(|&other| other == cell);
            at.is_some_and(|at| queue.remove(at).is_some())
        });
        if found {
            higher[usize::from(priority)].push_back(cell);
        }
        found
    }
    fn pop_normal(&mut self) -> Option<usize> {
        let normal = &mut self.by_priority[Priority::Normal as usize];
        if !self.woken.is_empty() && (normal.is_empty() || self.woken_turns < WOKEN_TURNS) {
            self.woken_turns += 1;
            return self.woken.pop_front();
        }
        self.woken_turns = 0;
        normal.pop_front()
    }
    /// The next for the scheduler itself.
    fn pop_own(&mut self) -> Option<usize> {
        self.bound_turn = !self.bound_turn && !self.bound.is_empty();
        if self.bound_turn || self.length == 0 { self.bound.pop_front().or_else(|| self.pop()) } else { self.pop() }
    }
    fn pop(&mut self) -> Option<usize> {
        if self.length == 0 {
            return None;
        }
        let [max, high, normal, low] = &mut self.by_priority;
        let no_normal = normal.is_empty() && self.woken.is_empty();
        let no_low = low.is_empty();
        let cell = if let Some(cell) = max.pop_front().or_else(|| high.pop_front()) {
            cell
        } else if no_low || (!no_normal && self.low_skipped < LOW_TURNS) {
            self.low_skipped += u32::from(!no_low);
            self.pop_normal()?
        } else {
            self.low_skipped = 0;
            low.pop_front()?
        };
        self.length -= 1;
        Some(cell)
    }
    /// The one that has waited longest goes to the thief.
    fn steal(&mut self) -> Option<usize> {
        self.pop()
    }
}

struct Scheduler {
    queues: Mutex<Queues>,
    errands: errands::Errands,
    /// Its length, to be read without the lock.
    length: AtomicUsize,
    /// How many processes bound to it wait.
    bound_length: AtomicUsize,
    /// It runs a process.
    running: AtomicBool,
    /// It has seen that it is not online.
    stands_by: AtomicBool,
    reductions: AtomicU64,
    /// Nanoseconds spent running processes.
    busy_ns: AtomicU64,
    /// When it woke another last.
    called_ns: AtomicU64,
}

/// After so many reductions a busy scheduler looks whether descriptors are ready.
const REDUCTIONS_PER_LOOK: u64 = 2 * REDUCTIONS_PER_TURN as u64;

/// How long after it woke another a scheduler wakes one again.
const CALLS_APART_NS: u64 = 250_000;

pub struct Schedulers {
    all: Box<[Scheduler]>,
    parking: Parking,
    started: Instant,
    next_injected: AtomicUsize,
    dirty_io: DirtyPool,
    dirty_cpu: DirtyPool,
    /// The first so many run processes.
    online: AtomicUsize,
    /// How many are to, when nobody blocks the others.
    wanted_online: AtomicUsize,
    pub(crate) blockers: Blockers,
    /// Whether the time that schedulers are busy is measured, and since when (nanoseconds from the start).
    pub measuring: AtomicBool,
    pub measured_since_ns: AtomicU64,
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
    pub(crate) fn new(config: &crate::vm::Config) -> Schedulers {
        let count = config.schedulers;
        let scheduler = || Scheduler {
            queues: Mutex::new(Queues {
                by_priority: Default::default(),
                woken: VecDeque::new(),
                woken_turns: 0,
                length: 0,
                low_skipped: 0,
                bound: VecDeque::new(),
                bound_turn: false,
            }),
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
            started: Instant::now(),
            next_injected: AtomicUsize::new(0),
            dirty_io: DirtyPool::new(config.dirty_io),
            dirty_cpu: DirtyPool::new(config.dirty_cpu),
            online: AtomicUsize::new(count.max(1)),
            wanted_online: AtomicUsize::new(count.max(1)),
            blockers: Blockers::default(),
            measuring: AtomicBool::new(false),
            measured_since_ns: AtomicU64::new(0),
        }
    }
    pub fn count(&self) -> usize {
        self.all.len()
    }
    pub fn queue_lengths(&self) -> Vec<usize> {
        self.all.iter().map(|scheduler| scheduler.length.load(Ordering::Relaxed) + scheduler.bound_length.load(Ordering::Relaxed)).collect()
    }
    /// A number that changes when a turn ends, as long as every scheduler is in one; `None` where one is idle.
    pub fn turns_while_busy(&self) -> Option<u64> {
        let online = self.all.iter().take(self.online());
        online.clone().all(|scheduler| scheduler.running.load(Ordering::Relaxed)).then(|| self.reductions())
    }
    pub fn reductions(&self) -> u64 {
        self.all.iter().map(|scheduler| scheduler.reductions.load(Ordering::Relaxed)).sum()
    }
    /// Nanoseconds that each has run processes since measuring began: schedulers, dirty ones for computing, dirty ones
    /// for input and output.
    pub fn busy_ns(&self) -> [Vec<u64>; 3] {
        let dirty = |pool: &DirtyPool| pool.threads().iter().map(|thread| thread.busy_ns.load(Ordering::Relaxed)).collect();
        let normal = self.all.iter().map(|scheduler| scheduler.busy_ns.load(Ordering::Relaxed)).collect();
        [normal, dirty(&self.dirty_cpu), dirty(&self.dirty_io)]
    }
    /// Processes that run: on each scheduler, on the dirty ones for computing, on those for input and output.
    pub fn running(&self) -> (Vec<usize>, [usize; 2]) {
        let normal = self.all.iter().map(|scheduler| usize::from(scheduler.running.load(Ordering::Relaxed))).collect();
        (normal, [self.dirty_cpu.running(), self.dirty_io.running()])
    }
    /// Processes that wait for a dirty scheduler: for computing, for input and output.
    pub fn dirty_queue_lengths(&self) -> [usize; 2] {
        [self.dirty_cpu.len(), self.dirty_io.len()]
    }
    pub fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }
    /// Lets the first `count` schedulers run processes, and no others; how many it were before.
    ///
    /// # Panics
    /// When there are not so many, or it is none.
    pub fn set_online(&self, count: usize) -> usize {
        assert!((1..=self.count()).contains(&count), "between one and all of the schedulers are online");
        let before = self.wanted_online.swap(count, Ordering::SeqCst);
        self.apply_wanted_online();
        before
    }
    /// How many schedulers are to run processes when nobody blocks the others.
    pub fn wanted_online(&self) -> usize {
        self.wanted_online.load(Ordering::Relaxed)
    }
    /// Has so many schedulers run processes, or as many as are wanted.
    pub(crate) fn limit_online(&self, count: Option<usize>) {
        self.online.store(count.unwrap_or_else(|| self.wanted_online()), Ordering::SeqCst);
        // Those that come online look for work; those that go hand theirs over.
        for at in 0..self.count() {
            self.wake(at);
        }
    }
    /// Whether all schedulers but the first have seen that they are not to run processes.
    pub(crate) fn others_stand_by(&self) -> bool {
        self.all.iter().skip(1).all(|other| other.stands_by.load(Ordering::SeqCst))
    }

    /// Has a scheduler look for work.
    fn wake(&self, at: usize) {
        self.take_over(self.parking.wake(at));
    }

    /// Has another thread run a scheduler that was lent.
    fn take_over(&self, lent: Option<Lent>) {
        if let Some(Lent { scheduler, number }) = lent {
            self.dirty_io.take_over(number, scheduler);
        }
    }

    /// Lends a scheduler to work that may block, if it has nothing else to do; the number of the dirty scheduler whose place its
    /// thread has until [`Schedulers::take_back`].
    fn lend(&self, own: usize) -> Option<usize> {
        let scheduler = &self.all[own];
        let idle = || scheduler.length.load(Ordering::Relaxed) + scheduler.bound_length.load(Ordering::Relaxed) == 0;
        if !idle() {
            return None;
        }
        let spare = self.dirty_io.reserve()?;
        if self.parking.lend(own, spare, idle) {
            return Some(spare);
        }
        self.dirty_io.release(spare);
        None
    }

    /// Has a process wait for a dirty scheduler, but looked at here first where it has a signal.
    fn queue_dirty(&self, cell: &ProcessCell, pool: &DirtyPool) {
        cell.shared.waits_dirty.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence of a sender.
        fence(Ordering::SeqCst);
        // SAFETY: the caller has just run the process, and nobody else does before it is in a queue.
        if unsafe { (**cell.process.get()).has_signals() } {
            self.leave_dirty(cell);
        } else {
            pool.push(std::ptr::from_ref(cell) as usize);
        }
    }
    /// Has a process that waits for a dirty scheduler look at its signals before, if it still waits.
    pub(crate) fn recall(&self, cell: &ProcessCell) {
        let address = std::ptr::from_ref(cell) as usize;
        if self.dirty_cpu.remove(address) || self.dirty_io.remove(address) {
            self.leave_dirty(cell);
        }
    }
    fn leave_dirty(&self, cell: &ProcessCell) {
        cell.shared.waits_dirty.store(false, Ordering::Relaxed);
        cell.shared.state.requeue();
        self.enqueue(cell, false);
    }

    /// Has another thread go on as the scheduler that the calling thread is, in the midst of a turn that takes too long. The
    /// number of the dirty scheduler that the caller is from now on; `None` where too few threads are left that could.
    fn give_up(&self, own: usize) -> Option<usize> {
        let spare = self.dirty_io.reserve_of_many()?;
        CURRENT.set(None);
        self.dirty_io.threads()[spare].running.store(true, Ordering::Relaxed);
        self.dirty_io.take_over(spare, own);
        Some(spare)
    }

    /// Ends that a scheduler is lent; `false` when another thread runs it now, and the caller's is that dirty scheduler.
    fn take_back(&self, own: usize, spare: usize) -> bool {
        let is_back = self.parking.take_back(own, spare);
        if is_back {
            self.dirty_io.release(spare);
        }
        is_back
    }

    /// Puts a runnable process into a queue: that of the calling scheduler, or of the one that ran it
    /// last. `woken` says that it is new, or waited for a signal that has come.
    pub fn enqueue(&self, cell: &ProcessCell, woken: bool) {
        let bound = cell.shared.bound.load(Ordering::Relaxed) as usize;
        if (1..=self.online()).contains(&bound) {
            return self.enqueue_bound(cell, bound - 1);
        }
        let here = current_scheduler();
        let at = here.unwrap_or_else(|| {
            let last = cell.shared.scheduler.load(Ordering::Relaxed) as usize;
            if last < self.online() { last } else { self.next_injected.fetch_add(1, Ordering::Relaxed) % self.online() }
        });
        let scheduler = &self.all[at];
        let priority = cell.shared.priority.load(Ordering::Relaxed);
        let length = {
            let mut queues = scheduler.queues.lock();
            queues.push(std::ptr::from_ref(cell) as usize, priority, woken);
            scheduler.length.store(queues.length, Ordering::Relaxed);
            queues.length
        };
        if here.is_none() {
            self.wake(at);
        } else if length > 1 {
            self.call_for_help(scheduler);
        }
    }

    /// Has a process that waits for its turn take the next one with this priority, which is higher than its own.
    pub(crate) fn advance(&self, cell: &ProcessCell, priority: u8) {
        let cell = std::ptr::from_ref(cell) as usize;
        // One that is in no queue has its turn now, or is bound to a scheduler.
        let _ = self.all.iter().any(|scheduler| scheduler.queues.lock().advance(cell, priority));
    }

    /// Wakes a sleeping scheduler to take some of this one's work, but not at once after the last: it may find that the work is
    /// done, and go back to sleep, and to be woken takes it as long as many a turn. What is left waits for the next call or
    /// the end of this turn.
    #[inline]
    fn call_for_help(&self, scheduler: &Scheduler) {
        if !self.parking.has_sleepers() {
            return;
        }
        let now = self.started.elapsed().as_nanos() as u64;
        if now.saturating_sub(scheduler.called_ns.load(Ordering::Relaxed)) >= CALLS_APART_NS {
            scheduler.called_ns.store(now, Ordering::Relaxed);
            self.take_over(self.parking.wake_one());
        }
    }

    fn enqueue_bound(&self, cell: &ProcessCell, at: usize) {
        let scheduler = &self.all[at];
        {
            let mut queues = scheduler.queues.lock();
            queues.bound.push_back(std::ptr::from_ref(cell) as usize);
            scheduler.bound_length.store(queues.bound.len(), Ordering::Relaxed);
        }
        if current_scheduler() != Some(at) {
            self.wake(at);
        }
    }

    /// Starts or stops measuring; whether it was on.
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

    fn next(&self, own: usize) -> Option<usize> {
        let scheduler = &self.all[own];
        if scheduler.length.load(Ordering::Relaxed) + scheduler.bound_length.load(Ordering::Relaxed) > 0 {
            let mut queues = scheduler.queues.lock();
            if let Some(cell) = queues.pop_own() {
                scheduler.length.store(queues.length, Ordering::Relaxed);
                scheduler.bound_length.store(queues.bound.len(), Ordering::Relaxed);
                return Some(cell);
            }
        }
        let count = self.all.len();
        for distance in 1..count {
            let victim = &self.all[(own + distance) % count];
            if victim.length.load(Ordering::Relaxed) > 0 {
                let mut queues = victim.queues.lock();
                if let Some(cell) = queues.steal() {
                    victim.length.store(queues.length, Ordering::Relaxed);
                    if queues.length > 1 {
                        drop(queues);
                        // There is enough for one more.
                        self.call_for_help(scheduler);
                    }
                    return Some(cell);
                }
            }
        }
        None
    }

    /// Sleeps until there may be work; what is to act on news of descriptors, where there is some.
    fn sleep(&self, own: usize, when_idle: fn()) -> Option<&'static dyn Poll> {
        // Work that came in before we announced that we sleep would not wake us.
        let idle = || self.all.iter().all(|other| other.length.load(Ordering::Relaxed) == 0) && self.all[own].bound_length.load(Ordering::Relaxed) == 0 && self.all[own].errands.is_empty();
        self.parking.sleep(own, idle, when_idle)
    }

    /// What a scheduler does that is not online: it hands its processes to the first, and sleeps.
    fn stand_by(&self, own: usize) {
        self.all[own].stands_by.store(true, Ordering::SeqCst);
        self.parking.stand_by(own, || {
            !self.hand_over(own) && self.all[own].errands.is_empty() && own >= self.online.load(Ordering::SeqCst)
        });
        self.all[own].stands_by.store(false, Ordering::SeqCst);
    }

    /// Gives the first scheduler all that waits here; whether there was anything.
    fn hand_over(&self, own: usize) -> bool {
        let scheduler = &self.all[own];
        let mut left = Vec::new();
        {
            let mut queues = scheduler.queues.lock();
            while let Some(cell) = queues.pop_own() {
                left.push(cell);
            }
            scheduler.length.store(0, Ordering::Relaxed);
            scheduler.bound_length.store(0, Ordering::Relaxed);
        }
        if left.is_empty() {
            return false;
        }
        let first = &self.all[0];
        {
            let mut queues = first.queues.lock();
            for cell in left {
                // SAFETY: a cell in a run queue is alive.
                let priority = unsafe { (*(cell as *const ProcessCell)).shared.priority.load(Ordering::Relaxed) };
                queues.push(cell, priority, false);
            }
            first.length.store(queues.length, Ordering::Relaxed);
        }
        self.wake(0);
        true
    }
}

impl Vm {
    /// Starts all threads: schedulers, dirty schedulers, timers.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(&'static self) -> std::io::Result<()> {
        let builder = |name: String| std::thread::Builder::new().name(name).stack_size(8 << 20);
        let schedulers = (0..self.schedulers.count()).map(Role::Scheduler);
        let dirty_io = (0..self.config.dirty_io).map(Role::DirtyIo);
        let dirty_cpu = (0..self.config.dirty_cpu).map(Role::DirtyCpu);
        for role in schedulers.chain(dirty_io).chain(dirty_cpu) {
            builder(role.to_string()).spawn(move || self.run_thread(role))?;
        }
        builder("timers".to_owned()).spawn(move || self.timers.run(self))?;
        Ok(())
    }

    /// Has schedulers wait for descriptors when they have nothing else to do. Only what is given first counts.
    ///
    /// # Errors
    /// When the operating system refuses the thread that polls while all schedulers are in long turns.
    pub fn set_poll(&'static self, poll: &'static dyn Poll) -> std::io::Result<()> {
        let schedulers = &self.schedulers;
        let stand_in = move || -> () { schedulers.parking.stand_in(|poll| poll.act(self), || schedulers.take_over(schedulers.parking.wake_one())) };
        std::thread::Builder::new().name("poller".to_owned()).spawn(stand_in)?;
        schedulers.parking.set_poll(poll);
        Ok(())
    }

    /// What a scheduler's thread does, dirty or not.
    fn run_thread(&'static self, mut role: Role) {
        let mut worker = self.engine().worker();
        deferred::begin();
        loop {
            role = match role {
                Role::Scheduler(number) => self.run_scheduler(number, worker.as_mut()),
                Role::DirtyIo(number) => self.run_dirty_scheduler(&self.schedulers.dirty_io, number, worker.as_mut()),
                Role::DirtyCpu(number) => self.run_dirty_scheduler(&self.schedulers.dirty_cpu, number, worker.as_mut()),
            };
            // A name is for those who look from outside: nothing depends on it.
            let _ = CString::new(role.to_string()).map(|name| rustix::thread::set_name(&name));
        }
    }

    /// Runs processes until another thread is this scheduler; what the thread is to be then.
    fn run_scheduler(&'static self, number: usize, worker: &mut dyn Worker) -> Role {
        CURRENT.set(Some(number));
        // Reductions of this scheduler when it looked at descriptors last.
        let mut looked_at = 0;
        loop {
            self.schedulers.run_errands(number);
            if self.schedulers.parking.has_poll() {
                let reductions = self.schedulers.all[number].reductions.load(Ordering::Relaxed);
                if reductions.wrapping_sub(looked_at) >= REDUCTIONS_PER_LOOK {
                    looked_at = reductions;
                    self.act_on_news(self.schedulers.parking.look(number));
                }
            }
            if number >= self.schedulers.online() {
                self.schedulers.stand_by(number);
                continue;
            }
            let Some(cell) = self.schedulers.next(number) else {
                self.act_on_news(self.schedulers.sleep(number, self.config.when_idle));
                continue;
            };
            // SAFETY: a cell in a run queue is alive, and whoever takes it out runs it alone.
            let cell = unsafe { &*(cell as *const ProcessCell) };
            let scheduler = &self.schedulers.all[number];
            scheduler.running.store(true, Ordering::Relaxed);
            let measured = self.schedulers.measuring.load(Ordering::Relaxed).then(|| self.clock.since_start_ns());
            // SAFETY: as above.
            let left = unsafe { self.run_process(cell, number, worker) };
            let given_up = turn::given_up();
            if let Some(started) = measured {
                scheduler.busy_ns.fetch_add(self.clock.since_start_ns() - started, Ordering::Relaxed);
            }
            if given_up.is_none() {
                scheduler.running.store(false, Ordering::Relaxed);
            }
            deferred::run();
            match left {
                None => {}
                Some(Dirty::Io) if given_up.is_some() => self.schedulers.queue_dirty(cell, &self.schedulers.dirty_io),
                Some(Dirty::Cpu) => self.schedulers.queue_dirty(cell, &self.schedulers.dirty_cpu),
                Some(Dirty::Io) => match self.schedulers.lend(number) {
                    None => self.schedulers.queue_dirty(cell, &self.schedulers.dirty_io),
                    Some(spare) => {
                        CURRENT.set(None);
                        // SAFETY: the process stands at a built-in, and nobody else runs it.
                        let has_ended = unsafe { self.run_dirty(cell, &self.schedulers.dirty_io.threads()[spare], worker) };
                        let is_back = self.schedulers.take_back(number, spare);
                        if is_back {
                            CURRENT.set(Some(number));
                        }
                        // SAFETY: as above.
                        unsafe { self.after_dirty(cell, has_ended) };
                        if !is_back {
                            return Role::DirtyIo(spare);
                        }
                    }
                },
            }
            if let Some(spare) = given_up {
                self.schedulers.dirty_io.threads()[spare].running.store(false, Ordering::Relaxed);
                return Role::DirtyIo(spare);
            }
        }
    }

    /// What a scheduler does that has polled.
    fn act_on_news(&'static self, poll: Option<&'static dyn Poll>) {
        if let Some(poll) = poll {
            poll.act(self);
            deferred::run();
        }
    }

    /// Runs a process for a turn; what kind of dirty scheduler it is for afterwards, if it is.
    ///
    /// # Safety
    /// The caller took the process out of a run queue.
    unsafe fn run_process(&'static self, cell: &ProcessCell, number: usize, worker: &mut dyn Worker) -> Option<Dirty> {
        let guard = crossbeam_epoch::pin();
        let scheduler = &self.schedulers.all[number];
        self.statistics.context_switches.add(1);
        cell.shared.scheduler.store(number as u32, Ordering::Relaxed);
        cell.shared.state.run();
        // SAFETY: the caller's.
        let process = unsafe { &mut **cell.process.get() };
        let mut turn = REDUCTIONS_PER_TURN;
        loop {
            process.reductions = turn;
            let was_traced = process.trace.flags != 0;
            if process.has_incoming() {
                process.handle_signals();
            }
            if process.exit_pending {
                // SAFETY: it ran here.
                unsafe { self.end_process(cell, &guard) };
                return None;
            }
            if process.tasks.is_some() {
                process.run_tasks();
            }
            // The turn for the request to trace it is none to be told of.
            let goes_on_waiting = !was_traced && process.trace.flags != 0 && process.would_wait_on();
            let rests = goes_on_waiting || process.extra.as_ref().is_some_and(|extra| extra.suspended > 0);
            if process.trace.flags != 0 && !rests {
                process.trace_scheduled(swarmrt_term::atom!("in"));
            }
            let started = self.system_monitor.before_turn().map(|started| (started, process.current_function()));
            let outcome = if rests {
                Outcome::Wait
            } else {
                turn::watched(process, |process| worker.run(process)).unwrap_or_else(|stop::Stopped| {
                    process.break_off();
                    Outcome::Exit
                })
            };
            if let Some((started, from)) = started {
                crate::vm::system_monitor::turn_ended(process, started, from);
            }
            if process.trace.flags != 0 && !rests && outcome != Outcome::Exit {
                process.trace_scheduled(swarmrt_term::atom!("out"));
            }
            let used = (turn - process.reductions).max(1);
            process.total_reductions += used as u64;
            scheduler.reductions.fetch_add(used as u64, Ordering::Relaxed);
            if process.tasks.is_some() && matches!(outcome, Outcome::Yield | Outcome::Wait) {
                process.run_tasks();
            }
            match outcome {
                Outcome::Exit => {
                    // SAFETY: as above.
                    unsafe { self.end_process(cell, &guard) };
                    return None;
                }
                Outcome::Yield => {
                    cell.shared.priority.store(process.priority as u8, Ordering::Relaxed);
                    cell.shared.state.requeue();
                    self.schedulers.enqueue(cell, false);
                    return None;
                }
                Outcome::Wait => {
                    if cell.shared.state.wait() {
                        return None;
                    }
                    // A signal came in meanwhile.
                    turn = process.reductions.max(100);
                }
                Outcome::DirtyIo => return Some(Dirty::Io),
                Outcome::DirtyCpu => return Some(Dirty::Cpu),
            }
        }
    }

    /// # Safety
    /// The caller is who runs the process, and does not touch it afterwards.
    unsafe fn end_process(&'static self, cell: &ProcessCell, guard: &crossbeam_epoch::Guard) {
        // SAFETY: the caller's.
        unsafe {
            (*cell.process.get()).end();
            self.processes.remove(cell.shared.id, guard);
        }
    }

    /// Runs processes that may block or compute for long until this thread is to be a scheduler.
    fn run_dirty_scheduler(&'static self, pool: &DirtyPool, number: usize, worker: &mut dyn Worker) -> Role {
        CURRENT.set(None);
        loop {
            match pool.take(number) {
                Work::Scheduler(scheduler) => return Role::Scheduler(scheduler),
                Work::Process(cell) => {
                    // SAFETY: a process is alive while it runs, and it runs here now.
                    let cell = unsafe { &*(cell as *const ProcessCell) };
                    // SAFETY: as above; we alone run it.
                    let has_ended = unsafe { self.run_dirty(cell, &pool.threads()[number], worker) };
                    deferred::run();
                    // SAFETY: as above.
                    unsafe { self.after_dirty(cell, has_ended) };
                }
            }
        }
    }

    /// Has a process go on on a scheduler, or frees it where it has ended.
    ///
    /// # Safety
    /// The caller alone ran the process, and does not touch it afterwards.
    unsafe fn after_dirty(&'static self, cell: &ProcessCell, has_ended: bool) {
        if has_ended {
            // SAFETY: the caller's.
            unsafe { in_native::free_ended(self, cell) };
        } else {
            cell.shared.state.requeue();
            self.schedulers.enqueue(cell, false);
        }
    }

    /// Runs the built-in that a process stands at, as that dirty scheduler; whether the process was ended meanwhile.
    ///
    /// # Safety
    /// The caller alone runs the process.
    unsafe fn run_dirty(&'static self, cell: &ProcessCell, thread: &DirtyThread, worker: &mut dyn Worker) -> bool {
        let _guard = crossbeam_epoch::pin();
        cell.shared.waits_dirty.store(false, Ordering::Relaxed);
        thread.running.store(true, Ordering::Relaxed);
        let started = self.clock.since_start_ns();
        // SAFETY: the caller's.
        let process: &mut Process = unsafe { &mut *cell.process.get() };
        // One whose work was ended ends when it is next run: it has a signal that says so.
        if process.trace.flags != 0 {
            process.trace_scheduled(swarmrt_term::atom!("in"));
        }
        let _ = turn::watched(process, |process| worker.run_dirty(process));
        if process.trace.flags != 0 && !process.exiting {
            process.trace_scheduled(swarmrt_term::atom!("out"));
        }
        if self.schedulers.measuring.load(Ordering::Relaxed) {
            thread.busy_ns.fetch_add(self.clock.since_start_ns() - started, Ordering::Relaxed);
        }
        thread.running.store(false, Ordering::Relaxed);
        process.exiting
    }
}

impl Process {
    /// Changes the priority; from the next turn on.
    pub fn set_priority(&mut self, priority: Priority) -> Priority {
        self.shared().priority.store(priority as u8, Ordering::Relaxed);
        std::mem::replace(&mut self.priority, priority)
    }
}
