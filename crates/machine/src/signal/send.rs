//! Sending signals: messages, exits, links, monitors, replies.
//!
//! `from` is the sender's pid or port, `to` the number of a local pid. `false`: there is no such
//! process, and nothing was sent.

use super::{SignalKind, deliver, drop_signal, label, new_signal, numbered_signal, wake};
use crate::process::sequential::TOKEN_BIT;
use crate::process::{Process, sequential};
use crate::signal::incoming::Pushed;
use crate::vm::Vm;
use swarmrt_heap::Fragment;
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::{Alloc, FragmentHeap, RefValue, Term, am};

/// Sends a signal whose root is the pair of a token and of the root that its kind asks for.
pub fn send_with_token(vm: &'static Vm, kind: SignalKind, from: Term, to: u64, pair: Term) -> bool {
    send_to(vm, to, || {
        let signal = new_signal(kind, from, pair);
        // SAFETY: just made.
        unsafe { (*signal).kind |= TOKEN_BIT };
        signal
    })
}

/// Sends a message with the token of the sending process, if it has one.
pub fn send_message_of(p: &mut Process, to: u64, message: Term) -> bool {
    let sent = sequential::send(p, SignalKind::Message, to, message, |_, _| message);
    sent.unwrap_or_else(|| send_message(p.vm, p.pid(), to, message))
}

/// Sends an exit signal (`exit/2`) from a process, with its token, if it has one.
pub fn send_exit_of(p: &mut Process, to: u64, reason: Term) -> bool {
    let sent = exit_with_token(p, SignalKind::Exit, to, reason);
    sent.unwrap_or_else(|| send_exit(p.vm, p.pid(), to, reason))
}

/// Sends the exit signal of a process that ends to a linked one, with its token, if it has one.
pub(crate) fn send_link_exit_of(p: &mut Process, to: u64, reason: Term) -> bool {
    let sent = exit_with_token(p, SignalKind::LinkExit, to, reason);
    sent.unwrap_or_else(|| send_link_exit(p.vm, p.pid(), to, reason))
}

fn exit_with_token(p: &mut Process, kind: SignalKind, to: u64, reason: Term) -> Option<bool> {
    let shown =
        |heap: &mut FragmentHeap, from| heap.tuple(&[Term::atom(am::CAP_EXIT), from, reason]);
    sequential::send(p, kind, to, reason, shown)
}

/// Sends to the process that has the alias, with the token of the sending process, if it has one.
/// `priority`: as a priority message, where the alias takes those.
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

/// Sends to the process that has the alias, with a token if one is given. `priority`: as a priority
/// message, where the alias takes those.
pub fn send_alias_with(
    vm: &'static Vm,
    from: Term,
    alias: RefValue,
    message: Term,
    token: Option<Term>,
    priority: bool,
) -> bool {
    let kind = if priority { SignalKind::PriorityAlias } else { SignalKind::Alias };
    let Some(token) = token else { return send_through(vm, kind, from, alias, message) };
    let mut heap = FragmentHeap::new();
    let pair = heap.tuple(&[token, message]);
    send_through_as(vm, kind, true, from, alias, pair)
}

fn send_to(vm: &'static Vm, to: u64, make: impl FnOnce() -> *mut Fragment) -> bool {
    match vm.processes.get(to) {
        Some(cell) if !cell.shared.incoming.is_closed() => deliver(vm, cell, make()),
        _ => false,
    }
}

/// Sends a copy of `message` to a local process.
pub fn send_message(vm: &'static Vm, from: Term, to: u64, message: Term) -> bool {
    send_to(vm, to, || new_signal(SignalKind::Message, from, message))
}

/// Sends messages with no other message between them: a process that waits for the first finds all
/// of them.
pub fn send_together(vm: &'static Vm, from: Term, to: u64, messages: &[Term]) {
    let Some(cell) = vm.processes.get(to) else { return };
    let mut is_to_wake = false;
    for &message in messages {
        let signal = new_signal(SignalKind::Message, from, message);
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
pub fn send_built(
    vm: &'static Vm,
    to: u64,
    words: usize,
    build: impl FnOnce(&mut Fragment) -> Term,
) -> bool {
    send_to(vm, to, || {
        let fragment = Fragment::new(words);
        // SAFETY: just made.
        unsafe { (*fragment).root = build(&mut *fragment) };
        fragment
    })
}

/// A message in the making: in the fragment in which it will go to its receiver, as long as there is
/// room.
pub struct Draft {
    fragment: *mut Fragment,
    /// What had no room. Where there is any, the whole is copied in the end.
    rest: Option<FragmentHeap>,
}

impl Draft {
    /// Most messages of ports are smaller.
    const WORDS: usize = 32;
}

impl Alloc for Draft {
    fn alloc(&mut self, words: usize) -> *mut u64 {
        // SAFETY: the fragment is ours until it is sent.
        let fragment = unsafe { &mut *self.fragment };
        if self.rest.is_none() && fragment.room() >= words {
            return fragment.alloc(words);
        }
        self.rest.get_or_insert_default().alloc(words)
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        match &mut self.rest {
            Some(rest) => rest.off_heap(),
            // SAFETY: the fragment is ours until it is sent.
            None => unsafe { (*self.fragment).off_heap() },
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.fragment.is_null() {
            // SAFETY: it was not sent.
            unsafe { Fragment::free(self.fragment) };
        }
    }
}

/// Sends a message that `build` makes.
pub fn send_drafted(
    vm: &'static Vm,
    from: Term,
    to: u64,
    build: impl FnOnce(&mut Draft) -> Term,
) -> bool {
    send_to(vm, to, || {
        let mut draft = Draft { fragment: Fragment::new(Draft::WORDS), rest: None };
        let message = build(&mut draft);
        if from.as_port().is_some() {
            vm.trace_port_sends(from, to, message);
        }
        if draft.rest.is_some() || !from.is_immediate() {
            return new_signal(SignalKind::Message, from, message);
        }
        let fragment = std::mem::replace(&mut draft.fragment, std::ptr::null_mut());
        // SAFETY: just made, and in no list; the message lies in it.
        unsafe {
            (*fragment).root = message;
            label(&mut *fragment, SignalKind::Message, from);
        }
        fragment
    })
}

/// Sends a message that was already copied. Without a receiver it is freed.
pub fn send_fragment(vm: &'static Vm, to: u64, message: *mut Fragment) -> bool {
    match vm.processes.get(to) {
        Some(cell) => deliver(vm, cell, message),
        None => {
            drop_signal(vm, message);
            false
        }
    }
}

/// Sends a message to the process that has the alias. `false` when the process in the alias's slot
/// is gone; whether it still has the alias is seen by the receiver.
pub fn send_alias(vm: &'static Vm, from: Term, alias: RefValue, message: Term) -> bool {
    send_through(vm, SignalKind::Alias, from, alias, message)
}

/// Sends an exit signal (`exit/2`) to the process that has the alias.
pub fn send_exit_through(
    vm: &'static Vm,
    from: Term,
    alias: RefValue,
    reason: Term,
    priority: bool,
) -> bool {
    let kind = if priority { SignalKind::PriorityExitAlias } else { SignalKind::ExitAlias };
    send_through(vm, kind, from, alias, reason)
}

fn send_through(
    vm: &'static Vm,
    kind: SignalKind,
    from: Term,
    alias: RefValue,
    term: Term,
) -> bool {
    send_through_as(vm, kind, false, from, alias, term)
}

/// `has_token`: the term is the pair of a token and of the root that the kind asks for.
fn send_through_as(
    vm: &'static Vm,
    kind: SignalKind,
    has_token: bool,
    from: Term,
    alias: RefValue,
    term: Term,
) -> bool {
    let slot = alias.slot().and_then(|slot| vm.processes.in_slot(slot));
    let Some(owner) = slot.filter(|owner| !owner.shared.incoming.is_closed()) else { return false };
    let signal = numbered_signal(kind, from, alias.id, term);
    // SAFETY: just made.
    unsafe {
        (*signal).sequence = alias.low;
        if has_token {
            (*signal).kind |= TOKEN_BIT;
        }
    }
    deliver(vm, owner, signal)
}

/// Sends the signal of `exit/2`, which the receiver may trap or ignore.
pub fn send_exit(vm: &'static Vm, from: Term, to: u64, reason: Term) -> bool {
    send_to(vm, to, || new_signal(SignalKind::Exit, from, reason))
}

/// Tells a linked process that `from`, a process or port, has ended. Ignored where the link is
/// gone.
pub fn send_link_exit(vm: &'static Vm, from: Term, to: u64, reason: Term) -> bool {
    send_to(vm, to, || new_signal(SignalKind::LinkExit, from, reason))
}

/// Makes the receiver add `from` to its links.
pub fn send_link(vm: &'static Vm, from: Term, to: u64) -> bool {
    send_to(vm, to, || new_signal(SignalKind::Link, from, Term::NIL))
}

/// Makes the receiver drop `from` from its links.
pub fn send_unlink(vm: &'static Vm, from: Term, to: u64) -> bool {
    send_to(vm, to, || new_signal(SignalKind::Unlink, from, Term::NIL))
}

/// Makes the receiver enter a monitor of `from`; `reference` is the number of the monitor's
/// reference.
pub fn send_monitor(vm: &'static Vm, from: Term, to: u64, reference: u64) -> bool {
    send_to(vm, to, || numbered_signal(SignalKind::Monitor, from, reference, Term::NIL))
}

/// Makes the receiver drop the monitor that `from` has entered with this number.
pub fn send_demonitor(vm: &'static Vm, from: Term, to: u64, reference: u64) -> bool {
    send_to(vm, to, || numbered_signal(SignalKind::Demonitor, from, reference, Term::NIL))
}

/// Tells the owner of a monitor that `from`, which it watches, has ended.
pub fn send_down(vm: &'static Vm, from: Term, to: u64, reference: u64, reason: Term) -> bool {
    send_to(vm, to, || numbered_signal(SignalKind::Down, from, reference, reason))
}

/// Sends a reply to the built-in of the process that waits for the one with this number.
pub fn send_reply(vm: &'static Vm, to: u64, number: u64, reply: Term) -> bool {
    send_to(vm, to, || numbered_signal(SignalKind::Reply, Term::NONE, number, reply))
}
