//! Signals: everything that one process does to another, in order from each sender.
//!
//! A signal is a fragment, and waits in the [incoming queue](crate::signal::incoming); what is not a message is
//! handled when the receiver takes that over.

pub mod address;
pub mod incoming;
pub mod remote;

use crate::signal::incoming::{Linked, Pushed};
use crate::process::in_native;
use crate::process::links::{AliasMode, Tag, Watched};
use crate::sync::atomic::{Ordering, fence};
use crate::process::Process;
use crate::process::sequential::{self, TOKEN_BIT};
use crate::process::table::ProcessCell;
use crate::vm::Vm;
use swarmrt_heap::{Fragment, Sharing, copy_term};
use swarmrt_term::{Alloc, FragmentHeap, RefValue, Term, am, atom};

impl Linked for Fragment {
    #[inline(always)]
    unsafe fn next(item: *mut Fragment) -> *mut Fragment {
        // SAFETY: the caller's.
        unsafe { (*item).next }
    }
    #[inline(always)]
    unsafe fn set_next(item: *mut Fragment, next: *mut Fragment) {
        // SAFETY: the caller's.
        unsafe { (*item).next = next }
    }
}

/// The kinds of signals, as [`Fragment::kind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Root: the message.
    Message = 0,
    /// `exit/2`. Root: the reason.
    Exit,
    /// A linked process or port is gone. Root: the reason.
    LinkExit,
    Link,
    Unlink,
    /// Root: a pair of the reference's number and nothing more.
    Monitor,
    Demonitor,
    /// A monitored process is gone. Root: {number of the reference, reason}.
    Down,
    /// A message to an alias. Root: {number of the reference, message}.
    Alias,
    /// Root: the address of a boxed [`Call`].
    Call,
    /// A reply to a built-in that waits. Root: {number, reply}.
    Reply,
    /// As `Alias`, with the option `priority`.
    PriorityAlias,
    /// `exit/2` to an alias. Root: {number of the reference, reason}.
    ExitAlias,
    /// As `ExitAlias`, with the option `priority`.
    PriorityExitAlias,
}

impl Kind {
    fn from_u32(number: u32) -> Kind {
        use Kind::{Message, Exit, LinkExit, Link, Unlink, Monitor, Demonitor, Down, Alias, Call, Reply, PriorityAlias, ExitAlias, PriorityExitAlias};
        const KINDS: [Kind; 14] = [
            Message,
            Exit,
            LinkExit,
            Link,
            Unlink,
            Monitor,
            Demonitor,
            Down,
            Alias,
            Call,
            Reply,
            PriorityAlias,
            ExitAlias,
            PriorityExitAlias,
        ];
        KINDS[number as usize]
    }
}

/// Work to be done in the context of another process; gets `None` when that process is gone.
pub type Call = Box<dyn FnOnce(&'static Vm, Option<&mut Process>) + Send>;

fn new_signal(kind: Kind, from: Term, root: Term) -> *mut Fragment {
    if !from.is_immediate() {
        return new_remote_signal(kind, from, root);
    }
    let fragment = Fragment::copy_of(root);
    // SAFETY: just made.
    unsafe {
        (*fragment).kind = kind as u32;
        (*fragment).from = from;
    }
    fragment
}

/// A signal from another node: the fragment holds the sender's pid, too.
#[cold]
fn new_remote_signal(kind: Kind, from: Term, root: Term) -> *mut Fragment {
    let sharing = Sharing::now();
    let fragment = Fragment::new(sharing.size(root) + sharing.size(from));
    // SAFETY: just made, with room for both.
    unsafe {
        let to = &mut *fragment;
        to.root = sharing.copy(root, to);
        to.from = sharing.copy(from, to);
        to.kind = kind as u32;
    }
    fragment
}

/// A signal whose root is the pair of a number and a term.
fn numbered_signal(kind: Kind, from: Term, number: u64, term: Term) -> *mut Fragment {
    let sharing = Sharing::now();
    // The sender may be a process of another node.
    let from_words = if from.is_immediate() { 0 } else { sharing.size(from) };
    let fragment = Fragment::new(sharing.size(term) + from_words + 3 + 2);
    // SAFETY: just made, with room for the pair, the number, the term and the sender.
    unsafe {
        let to = &mut *fragment;
        let copied = sharing.copy(term, to);
        let number = to.uint(number);
        to.root = to.tuple(&[number, copied]);
        to.kind = kind as u32;
        to.from = if from_words == 0 { from } else { sharing.copy(from, to) };
    }
    fragment
}

/// The number and the term of such a signal.
fn split_numbered(root: Term) -> (u64, Term) {
    let pair = root.as_tuple().expect("built as a pair");
    (number_of(pair.get(0)), pair.get(1))
}

fn number_of(term: Term) -> u64 {
    match term.as_small() {
        Some(value) => value as u64,
        None => term.as_big().map_or(0, |big| big.digits()[0]),
    }
}

/// Puts a signal into the queue of a process and wakes it. `false` when it is gone; the signal is freed then.
fn deliver(vm: &'static Vm, to: &ProcessCell, signal: *mut Fragment) -> bool {
    // SAFETY: the signal is ours, and in no list.
    let (is_message, pushed) = unsafe { ((*signal).kind & !TOKEN_BIT == Kind::Message as u32, to.shared.incoming.push(signal)) };
    match pushed {
        Pushed::First => wake(vm, to),
        // Whoever pushed the first one wakes the receiver.
        Pushed::Behind => {}
        Pushed::Refused => {
            drop_signal(vm, signal);
            return false;
        }
    }
    if !is_message {
        // SeqCst: pairs with the fence of who has it wait. Either that one sees the signal, or we see that it waits.
        fence(Ordering::SeqCst);
        if to.shared.waits_dirty.load(Ordering::Relaxed) {
            vm.schedulers.recall(to);
        }
        if to.shared.in_native.is_entered() {
            in_native::attend_soon(vm, to.shared.id);
        }
    }
    true
}

/// Makes sure that the process looks at its signals.
pub fn wake(vm: &'static Vm, to: &ProcessCell) {
    if to.shared.state.wake() {
        vm.schedulers.enqueue(to, true);
    }
}

/// Has a process look at its signals with the priority of one that waits for it, where that is the higher priority: else a
/// process of middle priority that is busy would keep both waiting.
pub fn lend_priority(from: &Process, to: u64) {
    let priority = from.priority as u8;
    if let Some(cell) = from.vm.processes.get(to)
        && priority < cell.shared.priority.load(Ordering::Relaxed)
    {
        from.vm.schedulers.advance(cell, priority);
    }
}

/// Sends a signal whose root is the pair of a token and of what its kind says.
pub fn send_with_token(vm: &'static Vm, kind: Kind, from: Term, to: u64, pair: Term) -> bool {
    send_to(vm, to, || {
        let signal = new_signal(kind, from, pair);
        // SAFETY: just made.
        unsafe { (*signal).kind |= TOKEN_BIT };
        signal
    })
}

/// Sends a message with the token of the process that sends it, if it has one.
pub fn send_message_of(p: &mut Process, to: u64, message: Term) -> bool {
    let sent = sequential::send(p, Kind::Message, to, message, |_, _| message);
    sent.unwrap_or_else(|| send_message(p.vm, p.pid(), to, message))
}

/// An exit signal from a process, with its token, if it has one.
pub fn send_exit_of(p: &mut Process, to: u64, reason: Term) -> bool {
    let sent = exit_with_token(p, Kind::Exit, to, reason);
    sent.unwrap_or_else(|| send_exit(p.vm, p.pid(), to, reason))
}

/// A process that ends tells a linked one, with its token, if it has one.
pub(crate) fn send_link_exit_of(p: &mut Process, to: u64, reason: Term) -> bool {
    let sent = exit_with_token(p, Kind::LinkExit, to, reason);
    sent.unwrap_or_else(|| send_link_exit(p.vm, p.pid(), to, reason))
}

fn exit_with_token(p: &mut Process, kind: Kind, to: u64, reason: Term) -> Option<bool> {
    let shown = |heap: &mut FragmentHeap, from| heap.tuple(&[Term::atom(am::CAP_EXIT), from, reason]);
    sequential::send(p, kind, to, reason, shown)
}

/// Sends to whoever has the alias, with the token of the process that sends, if it has one. `priority`: a priority message
/// where the alias takes such.
pub fn send_alias_of(
    p: &mut Process,
    given: Term,
    alias: RefValue,
    message: Term,
    priority: bool,
) -> bool {
    let mut heap = FragmentHeap::new();
    let token = p.token_to_send(given, message, &mut heap);
    send_alias_with(p.vm, p.pid(), alias, message, token, priority)
}

/// Sends to whoever has the alias, with a token if one is given. `priority`: a priority message where the alias takes such.
pub fn send_alias_with(
    vm: &'static Vm,
    from: Term,
    alias: RefValue,
    message: Term,
    token: Option<Term>,
    priority: bool,
) -> bool {
    let kind = if priority { Kind::PriorityAlias } else { Kind::Alias };
    let Some(token) = token else { return send_through(vm, kind, from, alias, message) };
    let mut heap = FragmentHeap::new();
    let pair = heap.tuple(&[token, message]);
    send_through_as(vm, kind, true, from, alias, pair)
}

/// Frees a signal that nobody will receive.
fn drop_signal(vm: &'static Vm, signal: *mut Fragment) {
    // SAFETY: the signal is ours.
    unsafe {
        if (*signal).kind == Kind::Call as u32 {
            let call = take_call(signal);
            Fragment::free(signal);
            if let Some(call) = call {
                call(vm, None);
            }
        } else {
            Fragment::free(signal);
        }
    }
}

/// What a call signal is about, unless it was taken before.
unsafe fn take_call(signal: *mut Fragment) -> Option<Call> {
    // SAFETY: the root of a call signal is the address of a boxed `Call`, given to us, or null.
    unsafe {
        let raw = std::mem::replace(&mut (*signal).root, Term::from_raw(CALL_TAKEN)).raw();
        (raw != CALL_TAKEN).then(|| *Box::from_raw(raw as *mut Call))
    }
}

/// The root of a call signal that was answered early.
const CALL_TAKEN: u64 = 0;
/// The `sequence` of a call signal that may be answered early: see [`send_question`].
const QUESTION: u32 = 1;
/// The `sequence` of a call signal that may be answered while a library's function runs: see [`send_look`].
const LOOK: u32 = 3;
/// The `sequence` of a call signal that may be answered then if only messages and [`LATER`] ones are in front: see
/// [`send_inspection`].
const INSPECTION: u32 = 4;
/// The `sequence` of a call signal that nobody need see done before: see [`send_later`].
const LATER: u32 = 5;
/// The `sequence` of a call signal that changes what such a question may be about: see [`send_change`].
const CHANGE: u32 = 2;
/// As [`CHANGE`], and it may be done while a library's function runs: see [`send_small_change`].
const SMALL_CHANGE: u32 = 6;

fn send_to(vm: &'static Vm, to: u64, make: impl FnOnce() -> *mut Fragment) -> bool {
    match vm.processes.get(to) {
        Some(cell) if !cell.shared.incoming.is_closed() => deliver(vm, cell, make()),
        _ => false,
    }
}

/// Sends a copy of `message` to a local process.
pub fn send_message(vm: &'static Vm, from: Term, to: u64, message: Term) -> bool {
    send_to(vm, to, || new_signal(Kind::Message, from, message))
}

/// Sends messages that follow each other without anything between, so that whoever waits for the first finds the others, too.
pub fn send_together(vm: &'static Vm, from: Term, to: u64, messages: &[Term]) {
    let Some(cell) = vm.processes.get(to) else { return };
    let mut is_to_wake = false;
    for &message in messages {
        let signal = new_signal(Kind::Message, from, message);
        // SAFETY: the signal is ours, and in no list.
        match unsafe { cell.shared.incoming.push(signal) } {
            Pushed::First => is_to_wake = true,
            Pushed::Behind => {}
            Pushed::Refused => return drop_signal(vm, signal),
        }
    }
    if is_to_wake {
        wake(vm, cell);
    }
}

/// Sends a message that `build` makes directly in its fragment of `words` words.
pub fn send_built(vm: &'static Vm, to: u64, words: usize, build: impl FnOnce(&mut Fragment) -> Term) -> bool {
    send_to(vm, to, || {
        let fragment = Fragment::new(words);
        // SAFETY: just made.
        unsafe { (*fragment).root = build(&mut *fragment) };
        fragment
    })
}

/// Sends a message that was already copied.
pub fn send_fragment(vm: &'static Vm, to: u64, message: *mut Fragment) -> bool {
    match vm.processes.get(to) {
        Some(cell) => deliver(vm, cell, message),
        None => {
            drop_signal(vm, message);
            false
        }
    }
}

/// Sends to whoever has the alias, if the process in its slot still does.
pub fn send_alias(vm: &'static Vm, from: Term, alias: RefValue, message: Term) -> bool {
    send_through(vm, Kind::Alias, from, alias, message)
}
/// An exit signal to whoever has the alias.
pub fn send_exit_through(
    vm: &'static Vm,
    from: Term,
    alias: RefValue,
    reason: Term,
    priority: bool,
) -> bool {
    let kind = if priority { Kind::PriorityExitAlias } else { Kind::ExitAlias };
    send_through(vm, kind, from, alias, reason)
}
fn send_through(vm: &'static Vm, kind: Kind, from: Term, alias: RefValue, term: Term) -> bool {
    send_through_as(vm, kind, false, from, alias, term)
}
/// `has_token`: the term is the pair of a token and of what the kind says.
fn send_through_as(
    vm: &'static Vm,
    kind: Kind,
    has_token: bool,
    from: Term,
    alias: RefValue,
    term: Term,
) -> bool {
    let slot = alias.slot().and_then(|slot| vm.processes.in_slot(slot));
    let Some(owner) = slot.filter(|owner| !owner.shared.incoming.is_closed()) else { return false };
    let signal = numbered_signal(kind, from, alias.id, term);
    if has_token {
        // SAFETY: just made.
        unsafe { (*signal).kind |= TOKEN_BIT };
    }
    deliver(vm, owner, signal)
}
pub fn send_exit(vm: &'static Vm, from: Term, to: u64, reason: Term) -> bool {
    send_to(vm, to, || new_signal(Kind::Exit, from, reason))
}
pub fn send_link_exit(vm: &'static Vm, from: Term, to: u64, reason: Term) -> bool {
    send_to(vm, to, || new_signal(Kind::LinkExit, from, reason))
}
pub fn send_link(vm: &'static Vm, from: Term, to: u64) -> bool {
    send_to(vm, to, || new_signal(Kind::Link, from, Term::NIL))
}
pub fn send_unlink(vm: &'static Vm, from: Term, to: u64) -> bool {
    send_to(vm, to, || new_signal(Kind::Unlink, from, Term::NIL))
}
pub fn send_monitor(vm: &'static Vm, from: Term, to: u64, reference: u64) -> bool {
    send_to(vm, to, || numbered_signal(Kind::Monitor, from, reference, Term::NIL))
}
pub fn send_demonitor(vm: &'static Vm, from: Term, to: u64, reference: u64) -> bool {
    send_to(vm, to, || numbered_signal(Kind::Demonitor, from, reference, Term::NIL))
}
pub fn send_down(vm: &'static Vm, from: Term, to: u64, reference: u64, reason: Term) -> bool {
    send_to(vm, to, || numbered_signal(Kind::Down, from, reference, reason))
}
/// Sends the reply that a built-in of the process waits for.
pub fn send_reply(vm: &'static Vm, to: u64, number: u64, reply: Term) -> bool {
    send_to(vm, to, || numbered_signal(Kind::Reply, Term::NONE, number, reply))
}
/// Has `call` done in the context of a process, or with `None` when it is gone.
pub fn send_call(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, 0)
}
/// As [`send_call`], for what looks at nothing of the process but its group leader, or whether it is there.
/// A process whose turn takes long answers it in between.
pub fn send_question(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, QUESTION)
}
/// As [`send_call`], for what changes the attributes that [questions](send_question) are about.
pub fn send_change(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, CHANGE)
}
/// As [`send_change`], for one that needs no heap. It is done early while the process is in a library's function on a dirty
/// scheduler.
pub fn send_small_change(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, SMALL_CHANGE)
}
/// As [`send_call`], for what looks at nothing of the process but its stack. It is done early while the process is in
/// a library's function on a dirty scheduler.
pub fn send_look(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, LOOK)
}
/// As [`send_call`], for what looks at nothing of the process but what a library's function does not change. It is done
/// early while the process is in such a function on a dirty scheduler, unless a signal waits in front that may change it.
pub fn send_inspection(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, INSPECTION)
}
/// As [`send_call`], for what inspections behind it need not find done, such as suspending: while the process is in a library's
/// function on a dirty scheduler, they do not wait for it.
pub fn send_later(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, LATER)
}
fn send_call_as(vm: &'static Vm, to: u64, call: Call, sequence: u32) -> bool {
    let Some(cell) = vm.processes.get(to) else {
        call(vm, None);
        return false;
    };
    let fragment = Fragment::new(0);
    let raw = Box::into_raw(Box::new(call)) as u64;
    // SAFETY: just made; the root of a call is read back only by `take_call`.
    unsafe {
        (*fragment).kind = Kind::Call as u32;
        (*fragment).sequence = sequence;
        (*fragment).root = Term::from_raw(raw);
    }
    deliver(vm, cell, fragment)
}

/// The time limit of a receive is over.
pub(crate) fn receive_timeout(vm: &'static Vm, pid: u64, sequence: u32) {
    let _guard = crossbeam_epoch::pin();
    send_call(
        vm,
        pid,
        Box::new(move |_, process| {
            if let Some(process) = process
                && process.receive_timer.sequence == sequence
            {
                process.receive_timer.fired = true;
                process.receive_timer.key = None;
            }
        }),
    );
}

impl Process {
    #[inline(always)]
    pub fn has_incoming(&self) -> bool {
        !self.shared().incoming.is_empty()
    }

    /// Takes over the incoming signals: messages go to the mailbox, the rest is handled. Afterwards
    /// `exit_pending` tells whether the process is to end.
    pub fn handle_signals(&mut self) {
        swarmrt_term::stop::unwatched(|| self.handle_all(false));
    }

    /// Answers [questions](send_question) that wait in front of every [change](send_change), in the midst of a turn. They
    /// stay in the queue, for the receiver to take. `in_native`: [looks](send_look) and [inspections](send_inspection) as well.
    pub(crate) fn answer_questions(&mut self, in_native: bool) {
        let mut signals = Vec::new();
        self.each_incoming(|signal| {
            if signal.kind & !TOKEN_BIT != Kind::Message as u32 {
                signals.push(std::ptr::from_ref(signal).cast_mut());
            }
        });
        let mut is_first = true;
        for signal in signals.into_iter().rev() {
            // SAFETY: signals that wait are freed by the process itself only, which does something else here; the senders
            // have done with them.
            unsafe {
                if (*signal).kind != Kind::Call as u32 {
                    is_first = false;
                    continue;
                }
                match (*signal).sequence {
                    CHANGE => return,
                    SMALL_CHANGE if !in_native => return,
                    sequence if sequence == QUESTION || in_native && (matches!(sequence, LOOK | SMALL_CHANGE) || sequence == INSPECTION && is_first) => {
                        if let Some(call) = take_call(signal) {
                            call(self.vm, Some(self));
                        }
                    }
                    LATER => {}
                    _ => is_first = false,
                }
            }
        }
    }

    /// Shows the signals that wait to be taken over, the newest first.
    fn each_incoming(&self, mut visit: impl FnMut(&Fragment)) {
        let mut at = self.shared().incoming.peek();
        while !at.is_null() {
            // SAFETY: signals that wait are freed by the process itself only, and nobody runs it but the caller.
            let signal = unsafe { &*at };
            visit(signal);
            at = signal.next;
        }
    }

    /// How many messages the process has: while it is in a library's function, those as well that it takes over afterwards.
    pub fn message_count(&self) -> usize {
        let mut count = self.mailbox.len();
        if self.is_in_native() {
            self.each_incoming(|signal| count += usize::from(signal.kind & !TOKEN_BIT == Kind::Message as u32));
        }
        count
    }

    /// Whether a signal waits that is no message.
    pub(crate) fn has_signals(&self) -> bool {
        let mut found = false;
        self.each_incoming(|signal| found |= signal.kind & !TOKEN_BIT != Kind::Message as u32);
        found
    }

    /// Takes the last signals of a process whose state is not to be looked at any more: for those who want to, it is gone.
    pub(crate) fn handle_last_signals(&mut self) {
        self.handle_all(true);
    }

    fn handle_all(&mut self, is_last: bool) {
        let mut oldest = self.shared().incoming.take_all();
        while !oldest.is_null() {
            // SAFETY: the signals are ours now.
            unsafe {
                let next = (*oldest).next;
                let kind = (*oldest).kind;
                let takes_back = kind == Kind::Unlink as u32 || kind == Kind::Demonitor as u32;
                if self.exit_pending && !takes_back {
                    // What comes behind a signal that ends the process finds it gone: once it is, with its timers and names.
                    if matches!(self.shared().incoming.push(oldest), Pushed::Refused) {
                        self.refuse(oldest);
                    }
                } else if kind == Kind::Message as u32 {
                    self.receive(oldest);
                } else if is_last && kind == Kind::Call as u32 {
                    drop_signal(self.vm, oldest);
                } else {
                    self.handle(oldest);
                }
                oldest = next;
            }
        }
    }

    /// Puts a priority message, or an ordinary one, into the mailbox.
    unsafe fn receive_as(&mut self, message: *mut Fragment, priority: bool) {
        // SAFETY: the message is ours, and in no list.
        unsafe {
            if !priority {
                return self.receive(message);
            }
            if self.trace.flags != 0 {
                self.trace_received((*message).root);
            }
            self.mailbox.push_priority(message);
        }
    }

    /// A signal came through an alias: whether that is active, and takes priority messages. One that is
    /// for a single signal is not active afterwards.
    fn use_alias(&mut self, reference: u64) -> Option<bool> {
        let mode = self.relations.aliases.get(reference).copied()?;
        let priority = self.relations.priority_aliases.contains_key(reference);
        match mode {
            AliasMode::Reply => {
                self.relations.remove_alias(reference);
            }
            AliasMode::ReplyDemonitor => {
                if let Some(monitor) = self.relations.remove_monitor(reference) {
                    if let Watched::Pid(pid) | Watched::Name { pid, .. } = monitor.watched {
                        send_demonitor(self.vm, self.pid(), pid, reference);
                    }
                    self.demonitor_remote(&monitor.watched, monitor.reference);
                }
            }
            AliasMode::ExplicitUnalias | AliasMode::Demonitor => {}
        }
        Some(priority)
    }

    /// Puts a copy of a message of the machine's own into the mailbox, in front of what is still to be taken over.
    pub(crate) fn receive_own(&mut self, message: Term) {
        let fragment = Fragment::copy_of(message);
        // SAFETY: just made, and in no list.
        unsafe { self.receive(fragment) };
    }

    /// Puts a message into the mailbox.
    #[inline]
    unsafe fn receive(&mut self, message: *mut Fragment) {
        // SAFETY: the message is ours, and in no list.
        unsafe {
            if self.trace.flags != 0 {
                self.trace_received((*message).root);
            }
            self.mailbox.push(message);
        }
    }

    unsafe fn handle(&mut self, signal: *mut Fragment) {
        // SAFETY: the signal is ours, and its root is what its kind says.
        unsafe {
            let from = (*signal).from;
            let mut root = (*signal).root;
            let mut token = None;
            let has_token = (*signal).kind & TOKEN_BIT != 0;
            let kind = Kind::from_u32((*signal).kind & !TOKEN_BIT);
            if has_token && !matches!(kind, Kind::Alias | Kind::PriorityAlias) {
                let pair = root.as_tuple().expect("built as a pair");
                token = Some(pair.get(0));
                root = pair.get(1);
            }
            match kind {
                Kind::Message => {
                    (*signal).root = root;
                    (*signal).from = token.unwrap_or(Term::NONE);
                    return self.receive(signal);
                }
                Kind::Exit => {
                    self.exit_signal(from, root, false, false, token);
                }
                kind @ (Kind::ExitAlias | Kind::PriorityExitAlias) => {
                    let (reference, reason) = split_numbered(root);
                    // Unlike a message, it leaves an alias active that is for one reply.
                    if self.relations.aliases.contains_key(reference) {
                        let priority = kind == Kind::PriorityExitAlias
                            && self.relations.priority_aliases.contains_key(reference);
                        self.exit_signal(from, reason, false, priority, None);
                    }
                }
                Kind::LinkExit => {
                    let priority = self.relations.is_priority_link(from);
                    if self.relations.unlink(from) {
                        self.trace_procs("getting_unlinked", from);
                        self.exit_signal(from, root, true, priority, token);
                    }
                }
                Kind::Link => {
                    self.relations.link(from);
                    self.trace_procs("getting_linked", from);
                }
                Kind::Unlink => {
                    self.relations.unlink(from);
                    self.trace_procs("getting_unlinked", from);
                }
                Kind::Monitor => {
                    self.relations.monitored_by.insert(split_numbered(root).0, from.as_pid().unwrap_or(0));
                }
                Kind::Demonitor => {
                    self.relations.monitored_by.remove(split_numbered(root).0);
                }
                Kind::Down => {
                    let (reference, reason) = split_numbered(root);
                    self.down(reference, reason);
                }
                kind @ (Kind::Alias | Kind::PriorityAlias) => {
                    let (reference, message) = split_numbered(root);
                    if let Some(priority) = self.use_alias(reference) {
                        (*signal).root = message;
                        (*signal).kind = Kind::Message as u32;
                        if has_token {
                            let pair = message.as_tuple().expect("built as a pair");
                            (*signal).kind |= TOKEN_BIT;
                            (*signal).from = pair.get(0);
                            (*signal).root = pair.get(1);
                        }
                        self.receive_as(signal, priority && kind == Kind::PriorityAlias);
                        return;
                    }
                }
                Kind::Call => {
                    if let Some(call) = take_call(signal) {
                        call(self.vm, Some(self));
                    }
                }
                Kind::Reply => {
                    let (number, reply) = split_numbered(root);
                    (*signal).root = reply;
                    if let Some(slot) = self.extra().replies.iter_mut().find(|(waiting, _)| *waiting == number) {
                        slot.1 = signal;
                        return;
                    }
                }
            }
            Fragment::free(signal);
        }
    }

    /// What an exit signal does: nothing, a message, or the end of the process.
    pub(crate) fn exit_signal(
        &mut self,
        from: Term,
        reason: Term,
        linked: bool,
        priority: bool,
        token: Option<Term>,
    ) {
        let kill = reason == Term::atom(am::KILL) && !linked;
        if self.trap_exit && !kill {
            let sharing = Sharing::now();
            let token_words = token.map_or(0, |token| sharing.size(token));
            let from_words = sharing.size(from);
            let fragment = Fragment::new(sharing.size(reason) + 4 + token_words + from_words);
            // SAFETY: just made, with room for the reason and the tuple.
            unsafe {
                let to = &mut *fragment;
                let reason = sharing.copy(reason, to);
                let from = sharing.copy(from, to);
                to.root = to.tuple(&[Term::atom(am::CAP_EXIT), from, reason]);
                if let Some(token) = token {
                    to.from = sharing.copy(token, to);
                    to.kind |= TOKEN_BIT;
                }
                self.receive_as(fragment, priority);
            }
            return;
        }
        // `exit(self(), normal)` ends the process; `normal` from anybody else is ignored.
        if reason == Term::atom(am::NORMAL) && (linked || from != self.pid()) {
            return;
        }
        if self.exit_pending {
            return;
        }
        self.exit_pending = true;
        self.exception.reason = if kill {
            Term::atom(am::KILLED)
        } else if self.is_in_native() {
            self.extra().exit_reason.insert(Tag::new(reason)).term()
        } else {
            copy_term(reason, &mut self.heap)
        };
    }

    pub(crate) fn down(&mut self, reference: u64, reason: Term) {
        let Some(monitor) = self.relations.remove_monitor(reference) else { return };
        let tag = monitor.tag.as_ref().map_or(Term::atom(am::CAP_DOWN), |tag| tag.term());
        let sharing = Sharing::now();
        let fragment = Fragment::new(sharing.size(reason) + sharing.size(tag) + 6 + 4 + 5);
        // SAFETY: just made, with room for the message.
        unsafe {
            let to = &mut *fragment;
            let reason = sharing.copy(reason, to);
            let tag = sharing.copy(tag, to);
            let reference = monitor.reference.to_term(to);
            let (kind, object) = match monitor.watched {
                Watched::Pid(pid) => (am::PROCESS, Term::pid(pid)),
                Watched::Port { port, name: None } => (am::PORT, Term::port(port)),
                Watched::Port { name: Some(name), .. } => {
                    let node = Term::atom(self.vm.node().name);
                    (am::PORT, to.tuple(&[Term::atom(name), node]))
                }
                Watched::Name { name, .. } => {
                    let node = Term::atom(self.vm.node().name);
                    (am::PROCESS, to.tuple(&[Term::atom(name), node]))
                }
                Watched::Remote { pid, .. } => (am::PROCESS, pid.to_term(to)),
                Watched::RemoteName { name, node, .. } => {
                    (am::PROCESS, to.tuple(&[Term::atom(name), Term::atom(node)]))
                }
                Watched::TimeOffset => (am::TIME_OFFSET, Term::atom(am::CLOCK_SERVICE)),
            };
            to.root = to.tuple(&[tag, reference, Term::atom(kind), object, reason]);
            self.receive_as(fragment, monitor.priority);
        }
    }

    /// The offset of system time has changed: a message for each monitor of it, which all stay. `false` when there is none.
    pub(crate) fn time_offset_changed(&mut self) -> bool {
        let offset_ns = self.vm.clock.offset_ns();
        let monitors: Vec<_> = self.relations.monitors.iter().filter(|(_, monitor)| matches!(monitor.watched, Watched::TimeOffset)).collect();
        let mut messages = Vec::with_capacity(monitors.len());
        for (_, monitor) in monitors {
            let tag = monitor.tag.as_ref().map_or(Term::atom(atom!("CHANGE")), |tag| tag.term());
            let sharing = Sharing::now();
            let fragment = Fragment::new(sharing.size(tag) + 6 + 4 + 2);
            // SAFETY: just made, with room for the message.
            unsafe {
                let to = &mut *fragment;
                let tag = sharing.copy(tag, to);
                let reference = monitor.reference.to_term(to);
                let offset = to.int(offset_ns);
                to.root = to.tuple(&[tag, reference, Term::atom(am::TIME_OFFSET), Term::atom(am::CLOCK_SERVICE), offset]);
            }
            messages.push((fragment, monitor.priority));
        }
        let any = !messages.is_empty();
        for (fragment, priority) in messages {
            // SAFETY: it is ours, and in no list.
            unsafe { self.receive_as(fragment, priority) };
        }
        any
    }

    /// Ends the queue: senders find the process gone from now on. What is still there is dropped.
    pub(crate) fn close_incoming(&mut self) {
        let mut at = self.shared().incoming.close();
        while !at.is_null() {
            // SAFETY: the signals are ours now.
            unsafe {
                let next = (*at).next;
                self.refuse(at);
                at = next;
            }
        }
    }

    /// A signal that came too late: whoever asked for an answer gets one.
    unsafe fn refuse(&mut self, signal: *mut Fragment) {
        // SAFETY: the signal is ours.
        unsafe {
            let from = (*signal).from;
            match Kind::from_u32((*signal).kind & !TOKEN_BIT) {
                Kind::Link => {
                    if let Some(pid) = from.as_pid() {
                        send_link_exit(self.vm, self.pid(), pid, Term::atom(am::NOPROC));
                    }
                }
                Kind::Monitor => {
                    if let Some(pid) = from.as_pid() {
                        let reference = split_numbered((*signal).root).0;
                        send_down(self.vm, self.pid(), pid, reference, Term::atom(am::NOPROC));
                    }
                }
                _ => {}
            }
        }
        drop_signal(self.vm, signal);
    }

    /// Takes the reply with this number, if it is there; its terms belong to the process's heap then.
    pub fn take_reply(&mut self, number: u64) -> Option<Term> {
        let extra = self.extra.as_mut()?;
        let at = extra.replies.iter().position(|(waiting, reply)| *waiting == number && !reply.is_null())?;
        let (_, fragment) = extra.replies.swap_remove(at);
        // SAFETY: the reply is ours and in no list.
        unsafe {
            let root = (*fragment).root;
            self.heap.adopt(fragment);
            Some(root)
        }
    }

    /// A number for a reply to come.
    pub fn expect_reply(&mut self) -> u64 {
        let number = self.vm.next_ref().id;
        self.extra().replies.push((number, std::ptr::null_mut()));
        number
    }
}
