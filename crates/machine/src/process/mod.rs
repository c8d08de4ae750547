//! The process: what an engine needs first, the rest behind it; and the part that others may touch.

pub mod call_trace;
mod collect;
mod connection_wait;
mod dictionary;
pub mod exception;
pub mod exit;
mod extra;
pub mod few;
pub mod in_native;
mod limit;
pub mod links;
pub mod mailbox;
mod registers;
pub mod run_state;
pub mod saved_calls;
pub mod sequential;
pub mod spawn;
mod suspend;
pub mod table;
pub mod trace;

pub use connection_wait::{Waiter, connection_ready};
pub use dictionary::Dictionary;
pub use extra::{Ended, Extra, OnEnd, OnExit, Watcher};
pub use limit::MaxHeapSize;
pub use registers::SavedRegisters;
pub use suspend::{resume, suspend};

use crate::code::Export;
use crate::schedule::{self, timer::TimerKey};
use crate::signal::incoming::Incoming;
use crate::vm::Vm;
use exception::Exception;
use in_native::InNative;
use links::Relations;
use mailbox::Mailbox;
use run_state::RunState;
use sequential::Sequential;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_heap::{Fragment, Heap};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::{Alloc, Atom, Mfa, Term, am};

/// Reductions of one turn.
pub const REDUCTIONS_PER_TURN: i32 = 4000;
/// X registers of a scheduler.
pub const X_REGISTERS: usize = 1024;

/// The part of a process that any thread may touch.
pub struct Shared {
    pub state: RunState,
    pub priority: AtomicU8,
    /// It waits for a dirty scheduler, or is about to.
    pub waits_dirty: AtomicBool,
    pub in_native: InNative,
    /// The scheduler that ran it last.
    pub scheduler: AtomicU32,
    /// The number of the scheduler that it is bound to, from 1; 0 for any.
    pub bound: AtomicU32,
    /// While it ends: 1 for that, and one for each time that it waits for a connection.
    pub exit_holds: AtomicU32,
    /// Signals on their way in; closed once the process is gone.
    pub incoming: Incoming<Fragment>,
    /// The number of its pid.
    pub id: u64,
}

impl Shared {
    /// Whether the process ends or has ended, though it may be in the table still. Who gives it
    /// something under a lock asks this afterwards; it looks for what it has under the same lock.
    pub fn is_ending(&self) -> bool {
        // In this order: the process is `exited` before its holds are given back.
        self.exit_holds.load(Ordering::Acquire) > 0 || self.state.load() == run_state::EXITED
    }
}

/// The priority of a process (`process_flag(priority, Level)`); a lower number runs first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Priority {
    Max = 0,
    High = 1,
    Normal = 2,
    Low = 3,
}

impl Priority {
    /// The priority with this number; numbers above 3 are `Low`.
    pub fn from_u8(number: u8) -> Priority {
        [Priority::Max, Priority::High, Priority::Normal, Priority::Low][usize::from(number.min(3))]
    }
    /// The level's name: `max`, `high`, `normal` or `low`.
    pub fn atom(self) -> Atom {
        [am::MAX, am::HIGH, am::NORMAL, am::LOW][self as usize]
    }
    /// The priority with this name; `None` for other atoms.
    pub fn of(atom: Atom) -> Option<Priority> {
        [Priority::Max, Priority::High, Priority::Normal, Priority::Low]
            .into_iter()
            .find(|priority| priority.atom() == atom)
    }
}

/// What `receive … after` and the receive loop remember between turns.
#[derive(Default)]
pub struct ReceiveTimer {
    pub key: Option<TimerKey>,
    /// Told apart from timers of earlier receives.
    pub sequence: u32,
    /// The time limit is over.
    pub fired: bool,
    /// There is none: the register that said so may have changed by the time the process looks
    /// again.
    pub endless: bool,
}

/// Terms that a built-in leaves for what comes after it: up to four, `[]` in place of those that are
/// missing.
#[derive(Default)]
pub struct TrapArgs(Option<Box<[Term; 4]>>);

impl TrapArgs {
    /// Leaves up to four terms.
    pub fn put(&mut self, args: &[Term]) {
        let mut all = [Term::NIL; 4];
        all[..args.len()].copy_from_slice(args);
        self.0 = Some(Box::new(all));
    }
    /// Takes them: they are the collector's to find no longer.
    pub fn take(&mut self) -> [Term; 4] {
        self.0.take().map_or([Term::NIL; 4], |all| *all)
    }
    fn terms_mut(&mut self) -> &mut [Term] {
        self.0.as_deref_mut().map_or(&mut [], |all| all)
    }
}

/// A process, as seen by the thread that runs it.
pub struct Process {
    pub heap: Heap,
    pub ip: *const Instr,
    pub reductions: i32,
    pub trap_exit: bool,
    pub priority: Priority,
    /// Set while the process is being ended: no code of its own runs any more.
    pub exiting: bool,
    /// The process is to end, with the reason in `exception.reason`, before it runs on.
    pub exit_pending: bool,
    /// It stands behind a breakpoint, which has been told of the call.
    pub is_past_breakpoint: bool,
    /// Traced calls have pushed frames: an exception looks for them.
    pub has_traced_frames: bool,
    pub shared: *const Shared,
    pub vm: &'static Vm,
    pub saved: SavedRegisters,
    pub mailbox: Mailbox,
    pub receive_timer: ReceiveTimer,
    pub dictionary: Dictionary,
    pub group_leader: Term,
    pub exception: Exception,
    pub relations: Relations,
    pub registered: Option<Atom>,
    /// The function that it was spawned with.
    pub initial: Mfa,
    pub parent: Term,
    /// Where a built-in that traps puts the arguments.
    pub trap_args: TrapArgs,
    /// What a built-in that waits or yields keeps for when it is called again.
    pub bif_state: Option<Box<dyn Any + Send>>,
    /// The result of the built-in that stands at `ip`, when it has been called already: on a dirty
    /// scheduler, or by machine code that leaves what follows to the interpreter. Between a
    /// built-in's return and its caller: why there is none.
    pub result_at_hand: Option<crate::BifResult>,
    /// What the native function at `ip` wants called in its place.
    pub scheduled: Option<Box<crate::code::natives::Scheduled>>,
    pub total_reductions: u64,
    pub trace: crate::process::trace::Trace,
    pub extra: Option<Box<Extra>>,
    /// Tasks that run between turns, when all terms of the process are in their places.
    #[allow(clippy::box_collection, reason = "an idle process pays one word for it")]
    pub tasks: Option<Box<Vec<Task>>>,
    /// The token of sequential tracing, where it has or had one.
    pub sequential: Option<Box<Sequential>>,
}

/// Work on a process between two of its turns; returned when it has to wait for a later one.
pub type Task = Box<dyn TaskWork>;

/// See [`Task`].
pub trait TaskWork: Send {
    /// Does the work, or gives it back when the process is not in the state for it.
    fn run(self: Box<Self>, process: &mut Process) -> Option<Task>;
    /// Which of the tasks of a process come first.
    fn priority(&self) -> Priority {
        Priority::Normal
    }
}

/// The tasks in the order in which they are run: by priority, those of one in the order in which
/// they came, and one of low priority after eight of normal, as processes have their turns.
fn in_turn(tasks: Vec<Task>) -> impl Iterator<Item = Task> {
    const LOW_TURNS: usize = schedule::LOW_TURNS as usize;
    let [mut max, mut high, mut normal, mut low] = [(); 4].map(|()| VecDeque::new());
    for task in tasks {
        match task.priority() {
            Priority::Max => max.push_back(task),
            Priority::High => high.push_back(task),
            Priority::Normal => normal.push_back(task),
            Priority::Low => low.push_back(task),
        }
    }
    let mut skipped = 0;
    let usual = std::iter::from_fn(move || {
        let is_low = !low.is_empty() && (normal.is_empty() || skipped >= LOW_TURNS);
        skipped = if is_low { 0 } else { skipped + 1 };
        if is_low { low.pop_front() } else { normal.pop_front() }
    });
    max.into_iter().chain(high).chain(usual)
}

impl<F: FnOnce(&mut Process) + Send> TaskWork for F {
    fn run(self: Box<Self>, process: &mut Process) -> Option<Task> {
        self(process);
        None
    }
}

// SAFETY: a process is run by one thread at a time; schedulers hand it over with its run state.
unsafe impl Send for Process {}

impl Process {
    /// The part of the process that other threads see.
    #[inline(always)]
    pub fn shared(&self) -> &Shared {
        // SAFETY: the shared part is freed only together with the process.
        unsafe { &*self.shared }
    }
    /// The number of its pid, as [`Term::pid`] takes it.
    #[inline(always)]
    pub fn id(&self) -> u64 {
        self.shared().id
    }
    /// Its pid.
    #[inline(always)]
    pub fn pid(&self) -> Term {
        Term::pid(self.id())
    }
    /// The rarely used part, made when it is first asked for.
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The function, with arity 3, of the process's error handler that is called where code is missing.
    pub fn error_handler(&self, function: Atom) -> &'static Export {
        let module = self.extra.as_ref().map_or(am::ERROR_HANDLER, |extra| extra.error_handler);
        self.vm.code.export(Mfa { module, function, arity: 3 })
    }

    /// Adds a task that runs between this turn and the next.
    pub fn add_task(&mut self, task: Task) {
        self.tasks.get_or_insert_default().push(task);
    }

    /// Runs the tasks. The process is not running: its registers are saved.
    #[cold]
    pub(crate) fn run_tasks(&mut self) {
        if self.result_at_hand.is_some() {
            return;
        }
        let Some(tasks) = self.tasks.take() else { return };
        let tasks = if let [_] = tasks[..] { tasks } else { Box::new(in_turn(*tasks).collect()) };
        let later: Vec<Task> = tasks.into_iter().filter_map(|task| task.run(self)).collect();
        if !later.is_empty() {
            self.tasks = Some(Box::new(later));
        }
    }

    /// Takes the message that a receive has chosen out of the mailbox; its terms go to the heap.
    /// `false` where there is none, because what was called meanwhile has taken it.
    ///
    /// # Safety
    /// The heap pointers are current.
    #[inline]
    pub unsafe fn take_message(&mut self) -> bool {
        let Some(message) = self.mailbox.take() else { return false };
        // SAFETY: the mailbox has given it up.
        unsafe {
            if (*message).kind != 0 || self.sequential.is_some() {
                self.take_token(&*message);
            }
            self.heap.adopt(message);
        }
        if let Some(key) = self.receive_timer.key.take() {
            self.vm.timers.cancel(key);
        }
        self.receive_timer.sequence = self.receive_timer.sequence.wrapping_add(1);
        self.receive_timer.fired = false;
        self.receive_timer.endless = false;
        true
    }

    /// Makes the message that code is looking at the process's own; the mailbox gets a copy in its
    /// place.
    pub fn own_message(&mut self) {
        if let Some(message) = self.mailbox.detach_peeked() {
            // SAFETY: the mailbox has given it up.
            unsafe { self.heap.adopt(message) };
        }
    }

    /// Puts the arguments of a trap in place.
    ///
    /// # Errors
    /// [`BifExit::Trap`](crate::BifExit::Trap), always: it is to be handed on.
    pub fn trap(&mut self, export: &'static Export, args: &[Term]) -> crate::BifResult {
        self.trap_args.put(args);
        Err(crate::BifExit::Trap(export))
    }

    /// Has a collection come first if the block has no room for a large result of `words` words.
    /// What is built in a fragment instead is copied by the next collection, even if nobody needs
    /// it any more by then. Only for built-ins that have done nothing yet: they are called again
    /// from the start.
    ///
    /// # Errors
    /// [`BifExit::Room`](crate::BifExit::Room), to be handed on.
    pub fn reserve(&self, words: usize) -> Result<(), crate::BifExit> {
        /// What a fragment is good enough for.
        const SMALL_WORDS: usize = 512;
        if words <= SMALL_WORDS || self.heap.room_words() >= words {
            Ok(())
        } else {
            Err(crate::BifExit::Room(words))
        }
    }

    /// A new plain reference.
    pub fn make_ref(&mut self) -> Term {
        let value = self.vm.next_ref();
        value.to_term(&mut self.heap)
    }

    /// Counts work done in a built-in towards the turn.
    pub fn bump_reductions(&mut self, count: usize) {
        self.reductions = self
            .reductions
            .saturating_sub(i32::try_from(count).unwrap_or(i32::MAX))
            .max(-REDUCTIONS_PER_TURN);
    }

    /// Counts the digits (of 64 bits) that integer arithmetic goes through: those of the longest
    /// operand or result, or where each digit of one operand meets each of the other, their
    /// product. Nothing is counted without a large integer.
    pub fn count_digits(&mut self, a: Term, b: Term, result: Term, is_product: bool) {
        const DIGITS_PER_REDUCTION: usize = 16;
        let digits = |number: Term| number.as_big().map_or(1, |big| big.digits().len());
        let (a, b) = (digits(a), digits(b));
        let longest = a.max(b).max(digits(result));
        if longest > 1 {
            let digits = if is_product { longest.max(a.saturating_mul(b)) } else { longest };
            self.bump_reductions(digits.div_ceil(DIGITS_PER_REDUCTION));
        }
    }
}

impl Alloc for Process {
    #[inline(always)]
    fn alloc(&mut self, words: usize) -> *mut u64 {
        self.heap.alloc(words)
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        self.heap.off_heap()
    }
}
