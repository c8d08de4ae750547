//! The process: what an engine needs first, the rest behind it; and the part that others may touch.

pub mod exception;
pub mod exit;
pub mod few;
pub mod in_native;
pub mod links;
pub mod mailbox;
pub mod run_state;
pub mod sequential;
pub mod spawn;
pub mod table;
pub mod trace;

use crate::code::Export;
use crate::process::exception::Exception;
use crate::process::in_native::InNative;
use crate::signal::incoming::Incoming;
use crate::process::links::{Relations, Tag};
use crate::process::mailbox::Mailbox;
use crate::process::run_state::RunState;
use crate::process::sequential::Sequential;
use crate::schedule::timer::TimerKey;
use crate::vm::{Config, Vm};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use swarmrt_beam::instr::Instr;
use swarmrt_heap::{Fragment, Heap, Leaving};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Release, Term, am};

/// Reductions of one turn.
pub const REDUCTIONS_PER_TURN: i32 = 4000;
/// X registers of a scheduler.
pub const X_REGISTERS: usize = 1024;
const SAVED_INLINE: usize = 6;

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
    /// Signals on their way in; closed once the process is gone.
    pub incoming: Incoming<Fragment>,
    /// The number of its pid.
    pub id: u64,
}

/// X registers of a process that is not running.
#[derive(Default)]
pub struct SavedRegisters {
    count: u16,
    inline: [u64; SAVED_INLINE],
    more: Option<Box<[Term]>>,
}

impl SavedRegisters {
    #[inline]
    pub fn save(&mut self, registers: &[Term]) {
        self.count = registers.len() as u16;
        if registers.len() <= SAVED_INLINE {
            for (slot, term) in self.inline.iter_mut().zip(registers) {
                *slot = term.raw();
            }
            self.more = None;
        } else {
            self.more = Some(registers.into());
        }
    }
    #[inline]
    pub fn restore(&self, registers: &mut [Term]) {
        let saved = self.terms();
        registers[..saved.len()].copy_from_slice(saved);
    }
    pub fn len(&self) -> usize {
        self.count as usize
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    pub fn terms(&self) -> &[Term] {
        match &self.more {
            Some(more) => more,
            // SAFETY: a term is a word, and these were terms when they were saved.
            None => unsafe { std::slice::from_raw_parts(self.inline.as_ptr().cast(), self.count as usize) },
        }
    }
    pub fn terms_mut(&mut self) -> &mut [Term] {
        match &mut self.more {
            Some(more) => more,
            // SAFETY: as above.
            None => unsafe { std::slice::from_raw_parts_mut(self.inline.as_mut_ptr().cast(), self.count as usize) },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Priority {
    Max = 0,
    High = 1,
    Normal = 2,
    Low = 3,
}

impl Priority {
    pub fn from_u8(number: u8) -> Priority {
        [Priority::Max, Priority::High, Priority::Normal, Priority::Low][usize::from(number.min(3))]
    }
    pub fn atom(self) -> Atom {
        [am::MAX, am::HIGH, am::NORMAL, am::LOW][self as usize]
    }
    pub fn of(atom: Atom) -> Option<Priority> {
        [Priority::Max, Priority::High, Priority::Normal, Priority::Low].into_iter().find(|priority| priority.atom() == atom)
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
    /// There is none: the register that said so may have changed by the time the process looks again.
    pub endless: bool,
}

/// `max_heap_size` as set, in words; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxHeapSize {
    pub words: usize,
    pub kill: bool,
    pub error_logger: bool,
    /// Bytes of shared binaries count, too (OTP 26 and later).
    pub shared_binaries: bool,
}

impl MaxHeapSize {
    /// What processes have that nobody gave a limit.
    pub const NONE: MaxHeapSize = MaxHeapSize { words: 0, kill: true, error_logger: true, shared_binaries: false };

    /// What the flags `+hmax`, `+hmaxk`, `+hmaxel` and `+hmaxib` say, if there are any.
    pub(crate) fn of(config: &Config) -> Option<MaxHeapSize> {
        let switch = |flag, default| config.flag(flag).map_or(default, |value| value == "true");
        let limit = MaxHeapSize {
            words: config.flag("+hmax").and_then(|words| words.parse().ok()).unwrap_or(Self::NONE.words),
            kill: switch("+hmaxk", Self::NONE.kill),
            error_logger: switch("+hmaxel", Self::NONE.error_logger),
            shared_binaries: switch("+hmaxib", Self::NONE.shared_binaries),
        };
        (limit != Self::NONE).then_some(limit)
    }
}

/// See [`Extra::on_exit`].
pub struct OnExit {
    pub watcher: Watcher,
    pub call: Box<dyn FnOnce(&'static Vm) + Send>,
}

/// Who monitors a process without being one: what `process_info(Pid, monitored_by)` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watcher {
    /// Nobody that is shown.
    Hidden,
    /// The counted memory with this number: a resource.
    Memory(u64),
    Port(u64),
}

/// What few processes have.
pub struct Extra {
    pub suspended: u32,
    /// What was left of the time limit of its receive when it was suspended.
    pub receive_left_ns: Option<u64>,
    /// Whom we have suspended, and how often.
    pub suspending: Vec<(u64, u32)>,
    pub max_heap_size: MaxHeapSize,
    pub error_handler: Atom,
    pub message_queue_data: Atom,
    pub sensitive: bool,
    pub async_dist: bool,
    /// Collections that others ask for wait (`erts_debug`).
    pub defers_collections: bool,
    /// A signal reply that a built-in waits for: its number, and the reply when it is there.
    pub replies: Vec<(u64, *mut Fragment)>,
    /// Its end is the end of a connection to another node, or of all of them: see [`crate::signal::remote::Remote::process_ended`].
    pub controls_connections: bool,
    /// What is to be done when the process ends, by a number to take it back by.
    pub on_exit: BTreeMap<u64, OnExit>,
    pub label: Option<FragmentHeap>,
    /// Told what came of the process.
    pub on_end: Option<OnEnd>,
    /// That, from when its function is through.
    pub(crate) ended: Option<Ended>,
    /// The exit reason of a process that was ended while a library's function had its heap.
    pub(crate) exit_reason: Option<Tag>,
}

/// What came of a process.
pub enum Ended {
    /// Its function returned this.
    Returned(Term),
    /// It raised an exception that nobody caught; with the readable stack trace.
    Raised { class: Atom, reason: Term, trace: Term },
    /// It was ended, or ended itself, with this reason.
    Exited(Term),
}

/// Told what came of a process, by the thread that ran it, while its terms are there, and after all others who are related to
/// it. It must be quick.
pub type OnEnd = Box<dyn FnOnce(Ended) + Send>;

// SAFETY: reply fragments belong to the process.
unsafe impl Send for Extra {}

impl Default for Extra {
    fn default() -> Self {
        Extra {
            suspended: 0,
            receive_left_ns: None,
            suspending: Vec::new(),
            max_heap_size: MaxHeapSize::NONE,
            error_handler: am::ERROR_HANDLER,
            message_queue_data: Atom::new("on_heap"),
            sensitive: false,
            async_dist: false,
            defers_collections: false,
            replies: Vec::new(),
            controls_connections: false,
            on_exit: BTreeMap::new(),
            label: None,
            on_end: None,
            ended: None,
            exit_reason: None,
        }
    }
}

/// A process, as whoever runs it sees it.
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
    pub trap_args: [Term; 4],
    /// What a built-in that waits or yields keeps for when it is called again.
    pub bif_state: Option<Box<dyn Any + Send>>,
    /// The result of the built-in that stands at `ip`, when it has been called already: on a dirty scheduler, or by
    /// machine code that leaves what follows to the interpreter. Between a built-in's return and its caller: why there is none.
    pub result_at_hand: Option<crate::BifResult>,
    /// What the native function at `ip` wants called in its place.
    pub scheduled: Option<Box<crate::code::natives::Scheduled>>,
    pub total_reductions: u64,
    pub trace: crate::process::trace::Trace,
    pub extra: Option<Box<Extra>>,
    /// What others want done when all its terms are in their places: between turns.
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
    #[inline(always)]
    pub fn shared(&self) -> &Shared {
        // SAFETY: the shared part is freed only together with the process.
        unsafe { &*self.shared }
    }
    #[inline(always)]
    pub fn id(&self) -> u64 {
        self.shared().id
    }
    #[inline(always)]
    pub fn pid(&self) -> Term {
        Term::pid(self.id())
    }
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Has `task` done between this turn and the next.
    pub fn add_task(&mut self, task: Task) {
        self.tasks.get_or_insert_default().push(task);
    }

    /// Does what others want done. The process is not running: its registers are saved.
    #[cold]
    pub(crate) fn run_tasks(&mut self) {
        if self.result_at_hand.is_some() {
            return;
        }
        let Some(tasks) = self.tasks.take() else { return };
        let later: Vec<Task> = tasks.into_iter().filter_map(|task| task.run(self)).collect();
        if !later.is_empty() {
            self.tasks = Some(Box::new(later));
        }
    }

    /// Takes copies of the literals that leave and to which it still refers. `false` when a built-in under
    /// way may hold terms of its own: to be tried again after the next turn.
    pub(crate) fn copy_out(&mut self, leaving: &Leaving) -> bool {
        if self.bif_state.is_some() || self.result_at_hand.is_some() || self.extra.as_ref().is_some_and(|extra| !extra.replies.is_empty()) {
            return false;
        }
        self.own_message();
        self.mailbox.copy_out(leaving);
        if self.with_roots(|heap, roots| heap.may_refer(leaving, roots)) {
            // SAFETY: between turns, heap and stack pointers are current.
            unsafe {
                self.with_roots(|heap, roots| heap.collect(0, roots, true));
                self.with_roots(|heap, roots| heap.copy_out(leaving, roots));
                // It hibernates on, with no room in its heap.
                if self.ip == self.vm.code.hibernated_entry() {
                    self.collect_to_fit(&mut []);
                }
            }
        }
        true
    }

    /// Takes the message that a receive has chosen out of the mailbox; its terms go to the heap. `false` where there is none,
    /// because what was called meanwhile has taken it.
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

    /// Makes the message that code is looking at the process's own; the mailbox gets a copy in its place.
    pub fn own_message(&mut self) {
        if let Some(message) = self.mailbox.detach_peeked() {
            // SAFETY: the mailbox has given it up.
            unsafe { self.heap.adopt(message) };
        }
    }

    /// Calls `with` with the heap and all the places outside it that hold the process's terms, but for live
    /// X registers of a process that is running.
    fn with_roots<R>(&mut self, with: impl FnOnce(&mut Heap, &mut [&mut [Term]]) -> R) -> R {
        let mut single = [self.group_leader, self.exception.reason, self.exception.trace];
        let (keys, values) = (&mut self.dictionary.keys, &mut self.dictionary.values);
        let result = with(&mut self.heap, &mut [self.saved.terms_mut(), keys, values, &mut self.trap_args, &mut single]);
        [self.group_leader, self.exception.reason, self.exception.trace] = single;
        result
    }

    /// Puts the arguments of a trap in place.
    pub fn trap(&mut self, export: &'static Export, args: &[Term]) -> crate::BifResult {
        self.trap_args[..args.len()].copy_from_slice(args);
        Err(crate::BifExit::Trap(export))
    }

    /// Has a collection come first if the block has no room for a large result of `words` words. What is built in a
    /// fragment instead is copied by the next collection, even if nobody needs it any more by then. Only for built-ins
    /// that have done nothing yet: they are called again from the start.
    ///
    /// # Errors
    /// [`BifExit::Room`](crate::BifExit::Room), to be handed on.
    pub fn reserve(&self, words: usize) -> Result<(), crate::BifExit> {
        /// What a fragment is good enough for.
        const SMALL_WORDS: usize = 512;
        if words <= SMALL_WORDS || self.heap.room_words() >= words { Ok(()) } else { Err(crate::BifExit::Room(words)) }
    }

    /// Collects at a safepoint; `registers` are the live X registers.
    ///
    /// # Safety
    /// As for [`Heap::collect`]: heap and stack pointers are current, and the stack holds no garbage.
    pub unsafe fn collect(&mut self, need: usize, registers: &mut [Term], major: bool) {
        // What a dirty scheduler has brought is no root; it is taken at the next instruction, and then is the time.
        if self.result_at_hand.is_some() {
            assert!(need == 0, "nothing is allocated before a dirty result is taken");
            return;
        }
        self.own_message();
        let collecting_major = self.trace.flags != 0 && self.heap.is_major_next(major);
        if self.trace.flags != 0 {
            self.trace_collection(if collecting_major { "gc_major_start" } else { "gc_minor_start" });
        }
        let started = self.vm.system_monitor.before_collection();
        let before = self.heap.total_words();
        let occupied = self.heap.occupied_words();
        let mut single = [self.group_leader, self.exception.reason, self.exception.trace];
        let mut young_pairs = if self.heap.is_major_next(major) { None } else { self.dictionary.young_pairs() };
        let (keys, values): (&mut [Term], &mut [Term]) = match &mut young_pairs {
            Some(pairs) => (pairs, &mut []),
            None => (&mut self.dictionary.keys, &mut self.dictionary.values),
        };
        // SAFETY: the caller's; these are all the places that hold terms of the process, but for pairs of the dictionary
        // that a minor collection does not move.
        let collected = unsafe {
            let roots: &mut [&mut [Term]] = &mut [registers, self.saved.terms_mut(), keys, values, &mut self.trap_args, &mut single];
            self.heap.try_collect(need, roots, major)
        };
        self.dictionary.collected(young_pairs);
        [self.group_leader, self.exception.reason, self.exception.trace] = single;
        if let Err(refused) = collected {
            crate::process::exception::log_out_of_memory(self, refused);
            self.end_as_killed();
            return;
        }
        if self.trace.flags != 0 {
            self.trace_collection(if collecting_major { "gc_major_end" } else { "gc_minor_end" });
        }
        if let Some(started) = started {
            crate::vm::system_monitor::collected(self, started);
        }
        self.vm.statistics.collections.add(1);
        self.vm.statistics.words_reclaimed.add(occupied.saturating_sub(self.heap.occupied_words()));
        // Time spent collecting counts towards the turn.
        self.reductions -= (before.min(self.heap.total_words()) / 100) as i32;
        self.check_max_heap_size();
    }

    /// Packs the heap for hibernation.
    /// # Safety
    /// As for [`Process::collect`].
    pub unsafe fn collect_to_fit(&mut self, registers: &mut [Term]) {
        let mut leader = [self.group_leader, self.exception.reason, self.exception.trace];
        let (keys, values) = (&mut self.dictionary.keys, &mut self.dictionary.values);
        // SAFETY: the caller's.
        unsafe {
            let roots: &mut [&mut [Term]] = &mut [registers, self.saved.terms_mut(), keys, values, &mut self.trap_args, &mut leader];
            self.heap.collect_to_fit(roots);
        }
        [self.group_leader, self.exception.reason, self.exception.trace] = leader;
    }

    /// Words of the heap as its user sees it: with the messages that the process would have on its heap.
    pub fn total_heap_words(&self) -> usize {
        let on_heap = swarmrt_term::atom!("on_heap");
        let place = self.extra.as_ref().map_or(on_heap, |extra| extra.message_queue_data);
        self.heap_words() + if place == on_heap { self.mailbox.words() } else { 0 }
    }

    fn check_max_heap_size(&mut self) {
        let Some(extra) = &self.extra else { return };
        let limit = extra.max_heap_size;
        let shared = if limit.shared_binaries { self.heap.off_heap_bytes() / 8 } else { 0 };
        if limit.words == 0 {
            return;
        }
        if self.total_heap_words() + shared <= limit.words {
            return;
        }
        if limit.error_logger {
            crate::process::exception::log_max_heap_size(self, limit);
        }
        if limit.kill {
            self.end_as_killed();
        }
    }

    /// Has the process end at the next safepoint, as if it had been killed.
    fn end_as_killed(&mut self) {
        self.exit_pending = true;
        self.exception.reason = Term::atom(am::KILLED);
        self.heap.wants_collection = false;
        self.reductions = 0;
    }

    /// A new plain reference.
    pub fn make_ref(&mut self) -> Term {
        let value = self.vm.next_ref();
        value.to_term(&mut self.heap)
    }

    /// Counts work done in a built-in towards the turn.
    pub fn bump_reductions(&mut self, count: usize) {
        self.reductions = self.reductions.saturating_sub(i32::try_from(count).unwrap_or(i32::MAX)).max(-REDUCTIONS_PER_TURN);
    }

    /// Counts the digits (of 64 bits) that integer arithmetic goes through: those of the longest operand or result, or where each
    /// digit of one operand meets each of the other, their product. Nothing is counted without a large integer.
    pub fn count_digits(&mut self, a: Term, b: Term, result: Term, is_product: bool) {
        const DIGITS_PER_REDUCTION: usize = 16;
        let [a, b, result] = [a, b, result].map(|number| number.as_big().map_or(1, |big| big.digits().len()));
        let longest = a.max(b).max(result);
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

/// The process dictionary: pairs in the order of insertion, with an index once there are many.
#[derive(Default)]
pub struct Dictionary {
    keys: Vec<Term>,
    values: Vec<Term>,
    /// Once there are many.
    written: Option<Box<Written>>,
    /// Hash and position of every key, at the hash's place or after it; empty while pairs are few.
    index: Vec<Option<(u32, u32)>>,
}

/// Which pairs of a dictionary can refer to the young generation: what is written is promoted by the second collection after
/// that.
#[derive(Default)]
struct Written {
    /// Positions written since the last collection.
    now: Vec<u32>,
    /// Positions written between that and the one before.
    before: Vec<u32>,
}

/// Keys that are searched one by one.
const DICTIONARY_SCAN_MAX: usize = 12;

impl Dictionary {
    fn position(&self, key: Term) -> Option<usize> {
        if !self.index.is_empty() {
            return self.index_slot(key).and_then(|slot| self.index[slot]).map(|(_, at)| at as usize);
        }
        if key.is_immediate() {
            return self.keys.iter().position(|&other| other == key);
        }
        self.keys.iter().position(|&other| swarmrt_term::compare::equal_exact(other, key))
    }
    /// Where the index has the key.
    fn index_slot(&self, key: Term) -> Option<usize> {
        let mask = self.index.len() - 1;
        let hash = swarmrt_term::hash::internal_hash(key);
        let mut slot = hash as usize & mask;
        while let Some((other, at)) = self.index[slot] {
            if other == hash && swarmrt_term::compare::equal_exact(self.keys[at as usize], key) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }
    fn index_insert(&mut self, hash: u32, at: u32) {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot].is_some() {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = Some((hash, at));
    }
    /// Takes an entry out, and moves those after it that would not be found any more.
    fn index_remove(&mut self, mut slot: usize) {
        let mask = self.index.len() - 1;
        self.index[slot] = None;
        let mut next = slot;
        loop {
            next = (next + 1) & mask;
            let Some((hash, _)) = self.index[next] else { return };
            let home = hash as usize & mask;
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(slot) & mask) {
                self.index[slot] = self.index[next].take();
                slot = next;
            }
        }
    }
    /// Makes the index anew, with room for as many keys again.
    fn rebuild_index(&mut self) {
        let before = std::mem::replace(&mut self.index, vec![None; (self.keys.len() * 4).next_power_of_two()]);
        // The last key is new.
        let known = before.iter().flatten().count();
        for (hash, at) in before.into_iter().flatten() {
            self.index_insert(hash, at);
        }
        for at in known..self.keys.len() {
            self.index_insert(swarmrt_term::hash::internal_hash(self.keys[at]), at as u32);
        }
    }
    /// Notes that a pair changes.
    fn write(&mut self, at: usize) {
        let count = self.keys.len();
        if self.written.is_none() && count <= DICTIONARY_SCAN_MAX {
            return;
        }
        let all = || Box::new(Written { now: (0..count as u32).collect(), before: Vec::new() });
        let now = &mut self.written.get_or_insert_with(all).now;
        if now.last() != Some(&(at as u32)) {
            now.push(at as u32);
            // Pairs that are written again and again do not fill the memory.
            if now.len() > 2 * count + DICTIONARY_SCAN_MAX {
                now.sort_unstable();
                now.dedup();
            }
        }
    }
    /// Positions of pairs that can refer to the young generation, some twice; `None`: all.
    fn young_positions(&self) -> Option<impl Iterator<Item = usize> + use<'_>> {
        let written = self.written.as_ref().filter(|written| 2 * (written.now.len() + written.before.len()) < self.keys.len())?;
        // The last pair may have been taken out since.
        Some(written.now.iter().chain(&written.before).map(|&at| at as usize).filter(|&at| at < self.keys.len()))
    }
    /// The pairs that a minor collection has to look at, each key in front of its value; `None`: all.
    fn young_pairs(&self) -> Option<Vec<Term>> {
        Some(self.young_positions()?.flat_map(|at| [self.keys[at], self.values[at]]).collect())
    }
    /// After a collection: where [those pairs](Dictionary::young_pairs) are now.
    fn collected(&mut self, young: Option<Vec<Term>>) {
        if let Some(young) = young {
            let positions: Vec<usize> = self.young_positions().into_iter().flatten().collect();
            for (at, pair) in positions.into_iter().zip(young.chunks_exact(2)) {
                (self.keys[at], self.values[at]) = (pair[0], pair[1]);
            }
        }
        if let Some(written) = &mut self.written {
            std::mem::swap(&mut written.before, &mut written.now);
            written.now.clear();
        }
    }
    pub fn get(&self, key: Term) -> Option<Term> {
        self.position(key).map(|at| self.values[at])
    }
    /// The value before.
    pub fn put(&mut self, key: Term, value: Term) -> Option<Term> {
        if let Some(at) = self.position(key) {
            self.write(at);
            return Some(std::mem::replace(&mut self.values[at], value));
        }
        self.write(self.keys.len());
        self.keys.push(key);
        self.values.push(value);
        if !self.index.is_empty() || self.keys.len() > DICTIONARY_SCAN_MAX {
            if self.keys.len() * 2 > self.index.len() {
                self.rebuild_index();
            } else {
                self.index_insert(swarmrt_term::hash::internal_hash(key), self.keys.len() as u32 - 1);
            }
        }
        None
    }
    pub fn erase(&mut self, key: Term) -> Option<Term> {
        let at = self.position(key)?;
        if !self.index.is_empty() {
            let last = self.keys[self.keys.len() - 1];
            let slot = self.index_slot(key).expect("every key is in the index");
            let last_slot = self.index_slot(last).expect("every key is in the index");
            // The last pair takes the place of the one that goes.
            self.index[last_slot].as_mut().expect("just found").1 = at as u32;
            self.index_remove(slot);
        }
        self.keys.swap_remove(at);
        let value = self.values.swap_remove(at);
        self.write(at);
        if self.keys.len() <= DICTIONARY_SCAN_MAX / 2 {
            self.index = Vec::new();
        }
        Some(value)
    }
    pub fn clear(&mut self) {
        *self = Dictionary::default();
    }
    pub fn iter(&self) -> impl Iterator<Item = (Term, Term)> + '_ {
        self.keys.iter().copied().zip(self.values.iter().copied())
    }
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Process {
    /// Whether a process between two turns waits in a receive, and nothing has come that it would look at.
    pub(crate) fn would_wait_on(&self) -> bool {
        // SAFETY: a process between two turns stands at an instruction, and waiting leads to another of the function.
        let waiting = unsafe {
            let Instr::LoopRec { wait } = *self.ip else { return false };
            *self.ip.offset(wait as isize)
        };
        let timer = &self.receive_timer;
        let stays = match waiting {
            Instr::Wait { .. } => true,
            Instr::WaitTimeout { .. } => !timer.fired && (timer.key.is_some() || timer.endless),
            _ => false,
        };
        stays && self.mailbox.peek().is_none()
    }

    /// Suspends the process once more; it must not be running. From OTP 29 on, its timers wait meanwhile.
    pub fn suspend_once(&mut self) {
        let pauses = self.vm.release() >= Release::R29;
        let extra = self.extra();
        extra.suspended += 1;
        if extra.suspended > 1 || !pauses {
            return;
        }
        let now_ns = self.vm.clock.since_start_ns();
        // One that is due already wakes the process later.
        if let Some(key) = self.receive_timer.key.filter(|&key| self.vm.timers.cancel(key)) {
            self.receive_timer.key = None;
            self.extra().receive_left_ns = Some(key.at_ns.saturating_sub(now_ns));
        }
        for hook in self.vm.suspend_hooks() {
            hook(self, true);
        }
    }

    /// Takes one suspension back.
    pub fn resume_once(&mut self) {
        let pauses = self.vm.release() >= Release::R29;
        let extra = self.extra();
        if extra.suspended == 0 {
            return;
        }
        extra.suspended -= 1;
        if extra.suspended > 0 || !pauses {
            return;
        }
        if let Some(left_ns) = extra.receive_left_ns.take() {
            let at_ns = self.vm.clock.since_start_ns() + left_ns;
            self.receive_timer.key = Some(self.vm.start_receive_timer(at_ns, self.id(), self.receive_timer.sequence));
        }
        for hook in self.vm.suspend_hooks() {
            hook(self, false);
        }
    }
}

/// Has a process suspended once more.
pub fn suspend(vm: &'static Vm, pid: u64) {
    crate::signal::send_later(
        vm,
        pid,
        Box::new(|_, process| {
            if let Some(process) = process {
                process.suspend_once();
            }
        }),
    );
}

/// Takes one suspension back.
pub fn resume(vm: &'static Vm, pid: u64) {
    crate::signal::send_later(
        vm,
        pid,
        Box::new(|_, process| {
            if let Some(process) = process {
                process.resume_once();
            }
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_a_map_whatever_its_size() {
        // The index comes and goes with a few keys more or less.
        for keys in [60, 20] {
            dictionary_is_a_map(keys);
        }
    }

    fn dictionary_is_a_map(keys: i64) {
        let mut dictionary = Dictionary::default();
        let mut expected = std::collections::HashMap::new();
        let mut state = 12345u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, value) = ((state >> 33) as i64 % keys, (state >> 40) as i64);
            let term = Term::small(key);
            if state >> 60 < 7 {
                assert_eq!(dictionary.erase(term), expected.remove(&key));
            } else {
                assert_eq!(dictionary.put(term, Term::small(value)), expected.insert(key, Term::small(value)));
            }
            assert_eq!(dictionary.len(), expected.len());
            assert_eq!(dictionary.get(term), expected.get(&key).copied());
        }
    }
}
