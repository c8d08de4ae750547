//! The machine's threads: what each is, how they start, and how one takes another's place.

use super::absence::Seen;
use super::dirty::{DirtyPool, Work};
use super::parking::Poll;
use super::step::{Drive, Step};
use super::{CURRENT, Schedulers, Worker, deferred};
use crate::process::table::ProcessCell;
use crate::vm::Vm;
use std::ffi::CString;
use std::fmt;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;
use swarmrt_heap::free_spare;

/// How often a scheduler of a halted machine looks whether it has to end.
const STOPPED_PAUSE: Duration = Duration::from_millis(1);

/// The role of a thread; each kind is numbered from 0.
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

impl Schedulers {
    /// Lends an idle scheduler to work that may block. Returns the number of the dirty scheduler
    /// whose place its thread takes until [`Schedulers::take_back`]; `None` where the scheduler has
    /// work or no dirty scheduler is idle.
    pub(super) fn lend(&self, own: usize) -> Option<usize> {
        let scheduler = &self.all[own];
        let idle = || scheduler.waiting() == 0;
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

    /// Makes another thread the scheduler that the calling thread is, in the middle of a turn that
    /// takes too long. Returns the number of the dirty scheduler that the caller is from now on;
    /// `None` where too few idle threads are left.
    pub(super) fn give_up(&self, own: usize) -> Option<usize> {
        let spare = self.dirty_io.reserve_of_many()?;
        CURRENT.set(None);
        self.dirty_io.threads()[spare].running.store(true, Ordering::Relaxed);
        self.dirty_io.take_over(spare, own);
        Some(spare)
    }

    /// Ends that a scheduler is lent. `false` when another thread runs it now; the caller's thread
    /// is then the dirty scheduler `spare`.
    pub(super) fn take_back(&self, own: usize, spare: usize) -> bool {
        let is_back = self.parking.take_back(own, spare);
        if is_back {
            self.dirty_io.release(spare);
        }
        is_back
    }

    /// Sleeps until there may be work. Returns the poller, if its events are to be handled.
    fn sleep(&self, own: usize, when_idle: fn()) -> Option<&'static dyn Poll> {
        // Work that came in before we announced that we sleep would not wake us.
        let idle = || {
            self.all.iter().all(|other| other.length.load(Ordering::Relaxed) == 0)
                && self.all[own].bound_length.load(Ordering::Relaxed) == 0
                && self.all[own].errands.is_empty()
        };
        self.parking.sleep(own, idle, || {
            free_spare();
            when_idle();
        })
    }

    /// Lets no process have another turn: other nodes and programs are to get no answer from a
    /// machine that is halted, however long it takes to end.
    pub fn stop_running(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Makes all schedulers' threads look whether they have to end.
    fn end(&self) {
        (0..self.count()).for_each(|at| self.wake(at));
        self.dirty_io.end();
        self.dirty_cpu.end();
        self.parking.wake_stand_in();
    }
}

impl Vm {
    /// Starts all threads: schedulers, dirty schedulers, timers.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(&'static self) -> std::io::Result<()> {
        const STACK_BYTES: usize = 8 << 20;
        let builder = |role: Role| Builder::new().name(role.to_string()).stack_size(STACK_BYTES);
        let schedulers = (0..self.schedulers.count()).map(Role::Scheduler);
        let dirty_io = (0..self.config.dirty_io).map(Role::DirtyIo);
        let dirty_cpu = (0..self.config.dirty_cpu).map(Role::DirtyCpu);
        for role in schedulers.chain(dirty_io).chain(dirty_cpu) {
            self.start_thread_with(builder(role), move || self.run_thread(role))?;
        }
        self.start_thread("timers", move || self.timers.run(self))?;
        self.on_shutdown(move || {
            self.timers.wake();
            self.schedulers.end();
        });
        Ok(())
    }

    /// Sets the poller that idle schedulers wait in. The first one counts.
    ///
    /// # Errors
    /// When the operating system refuses the thread that polls while all schedulers are in long
    /// turns.
    pub fn set_poll(&'static self, poll: &'static dyn Poll) -> std::io::Result<()> {
        let schedulers = &self.schedulers;
        let wake = || schedulers.take_over(schedulers.parking.wake_one());
        let look_after = |seen: &mut Seen| {
            let pool = &schedulers.dirty_io;
            let take_over = |spare, scheduler| pool.take_over(spare, scheduler);
            let release = |spare| pool.release(spare);
            schedulers.parking.absences.end_overdue(seen, || pool.reserve(), release, take_over);
        };
        let is_to_end = move || self.is_shutting_down();
        let act = move |poll: &dyn Poll| poll.act(self);
        let is_frozen = || schedulers.frozen.load(Ordering::Relaxed);
        self.start_thread("poller", move || {
            schedulers.parking.stand_in(act, wake, look_after, is_frozen, is_to_end);
        })?;
        schedulers.parking.set_poll(poll);
        Ok(())
    }

    /// The loop of a scheduler's thread, dirty or not.
    fn run_thread(&'static self, mut role: Role) {
        let mut worker = self.engine().worker();
        deferred::begin();
        let (io, cpu) = (&self.schedulers.dirty_io, &self.schedulers.dirty_cpu);
        loop {
            let next = match role {
                Role::Scheduler(number) => self.run_scheduler(number, worker.as_mut()),
                Role::DirtyIo(number) => self.run_dirty_scheduler(io, number, worker.as_mut()),
                Role::DirtyCpu(number) => self.run_dirty_scheduler(cpu, number, worker.as_mut()),
            };
            let Some(next) = next else { return deferred::run() };
            role = next;
            // The name is for tools that list threads: nothing depends on it.
            let _ = CString::new(role.to_string()).map(|name| rustix::thread::set_name(&name));
        }
    }

    /// Runs processes until another thread is this scheduler. Returns the thread's next role;
    /// `None` when it is to end.
    fn run_scheduler(&'static self, number: usize, worker: &mut dyn Worker) -> Option<Role> {
        let mut drive = Drive::new(self, number, worker);
        while !self.is_shutting_down() {
            if self.schedulers.stopped.load(Ordering::Relaxed) {
                std::thread::sleep(STOPPED_PAUSE);
                continue;
            }
            match drive.step() {
                Step::Ran => {}
                Step::Idle if number >= self.schedulers.online() => {
                    self.schedulers.stand_by(number);
                }
                Step::Idle => {
                    self.act_on_news(self.schedulers.sleep(number, self.config.when_idle));
                }
                Step::Replaced { dirty_io } => return Some(Role::DirtyIo(dirty_io)),
            }
        }
        None
    }

    /// What a scheduler does that has polled.
    pub(super) fn act_on_news(&'static self, poll: Option<&'static dyn Poll>) {
        if let Some(poll) = poll {
            poll.act(self);
            deferred::run();
        }
    }

    /// Runs processes that may block or compute for long until this thread is to be a scheduler, or
    /// to end.
    fn run_dirty_scheduler(
        &'static self,
        pool: &DirtyPool,
        number: usize,
        worker: &mut dyn Worker,
    ) -> Option<Role> {
        CURRENT.set(None);
        loop {
            match pool.take(number) {
                Work::End => return None,
                Work::Scheduler(scheduler) => return Some(Role::Scheduler(scheduler)),
                Work::Process(cell) => {
                    // SAFETY: a process is alive while it runs, and it runs here now.
                    let cell = unsafe { &*(cell as *const ProcessCell) };
                    // SAFETY: the process stands at a built-in, and this thread alone runs it.
                    let has_ended =
                        unsafe { self.run_dirty(cell, Some(&pool.threads()[number]), worker) };
                    deferred::run();
                    // SAFETY: the process stands behind its built-in, and this thread alone ran it.
                    unsafe { self.after_dirty(cell, has_ended) };
                }
            }
        }
    }
}
