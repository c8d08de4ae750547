//! Sending signals: messages, exits, links, monitors, replies.

use super::{Kind, deliver, drop_signal, new_signal, numbered_signal, wake};
use crate::process::sequential::TOKEN_BIT;
use crate::process::{Process, sequential};
use crate::signal::incoming::Pushed;
use crate::vm::Vm;
use swarmrt_heap::Fragment;
use swarmrt_term::{Alloc, FragmentHeap, RefValue, Term, am};

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
    let shown =
        |heap: &mut FragmentHeap, from| heap.tuple(&[Term::atom(am::CAP_EXIT), from, reason]);
    sequential::send(p, kind, to, reason, shown)
}

/// Sends to whoever has the alias, with the token of the process that sends, if it has one.
/// `priority`: a priority message where the alias takes such.
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

/// Sends to whoever has the alias, with a token if one is given. `priority`: a priority message
/// where the alias takes such.
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

/// Sends messages that follow each other without anything between, so that whoever waits for the
/// first finds the others, too.
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
