//! Signals: everything that one process does to another, in order from each sender.
//!
//! A signal is a fragment, and waits in the [incoming queue](crate::signal::incoming); what is not
//! a message is handled when the receiver takes that over.

pub mod address;
mod call;
pub mod incoming;
mod receive;
pub mod remote;
mod send;

pub(crate) use call::receive_timeout;
use call::take_call;
pub use call::{
    Call, send_call, send_change, send_inspection, send_later, send_look, send_question,
    send_small_change,
};
pub(crate) use send::send_link_exit_of;
pub use send::{
    Draft, send_alias, send_alias_of, send_alias_with, send_built, send_demonitor, send_down,
    send_drafted, send_exit, send_exit_of, send_exit_through, send_fragment, send_link,
    send_link_exit, send_message, send_message_of, send_monitor, send_reply, send_together,
    send_unlink, send_with_token,
};

use crate::process::in_native;
use crate::process::sequential::TOKEN_BIT;
use crate::process::table::ProcessCell;
use crate::process::{Priority, Process};
use crate::signal::incoming::{Linked, Pushed};
use crate::sync::atomic::{Ordering, fence};
use crate::vm::Vm;
use swarmrt_heap::{Fragment, Sharing};
use swarmrt_term::{Alloc, Term};

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
pub enum SignalKind {
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

impl SignalKind {
    /// All kinds, each at the place of its number.
    const ALL: [SignalKind; 14] = [
        SignalKind::Message,
        SignalKind::Exit,
        SignalKind::LinkExit,
        SignalKind::Link,
        SignalKind::Unlink,
        SignalKind::Monitor,
        SignalKind::Demonitor,
        SignalKind::Down,
        SignalKind::Alias,
        SignalKind::Call,
        SignalKind::Reply,
        SignalKind::PriorityAlias,
        SignalKind::ExitAlias,
        SignalKind::PriorityExitAlias,
    ];

    pub(crate) fn from_u32(number: u32) -> SignalKind {
        SignalKind::ALL[number as usize]
    }
}

const _: () = {
    let mut number = 0;
    while number < SignalKind::ALL.len() {
        assert!(SignalKind::ALL[number] as usize == number);
        number += 1;
    }
};

fn new_signal(kind: SignalKind, from: Term, root: Term) -> *mut Fragment {
    if !from.is_immediate() {
        return new_remote_signal(kind, from, root);
    }
    let fragment = Fragment::copy_of(root);
    // SAFETY: just made.
    unsafe { label(&mut *fragment, kind, from) };
    fragment
}

/// Makes a fragment with a root a signal of an immediate sender.
#[inline(always)]
fn label(fragment: &mut Fragment, kind: SignalKind, from: Term) {
    debug_assert!(from.is_immediate());
    fragment.kind = kind as u32;
    fragment.from = from;
}

/// A signal from another node: the fragment holds the sender's pid, too.
#[cold]
fn new_remote_signal(kind: SignalKind, from: Term, root: Term) -> *mut Fragment {
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
fn numbered_signal(kind: SignalKind, from: Term, number: u64, term: Term) -> *mut Fragment {
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
pub(crate) fn split_numbered(root: Term) -> (u64, Term) {
    let pair = root.as_tuple().expect("built as a pair");
    (number_of(pair.get(0)), pair.get(1))
}

fn number_of(term: Term) -> u64 {
    match term.as_small() {
        Some(value) => value as u64,
        None => term.as_big().map_or(0, |big| big.digits()[0]),
    }
}

/// Puts a signal into the queue of a process and wakes it. `false` when it is gone; the signal is
/// freed then.
fn deliver(vm: &'static Vm, to: &ProcessCell, signal: *mut Fragment) -> bool {
    // SAFETY: the signal is ours, and in no list.
    let (is_message, pushed) = unsafe {
        ((*signal).kind & !TOKEN_BIT == SignalKind::Message as u32, to.shared.incoming.push(signal))
    };
    match pushed {
        Pushed::First => wake(vm, to),
        // The sender of the first one wakes the receiver.
        Pushed::Behind => {}
        Pushed::Refused => {
            drop_signal(vm, signal);
            return false;
        }
    }
    if !is_message {
        // SeqCst: pairs with the fence of the thread that queues the process for a dirty scheduler.
        // Either that thread sees the signal, or we see that the process waits.
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

/// Puts a waiting process into a run queue, so that it looks at its signals.
pub fn wake(vm: &'static Vm, to: &ProcessCell) {
    if to.shared.state.wake() {
        vm.schedulers.enqueue(to, true);
    }
}

/// Gives the receiver of a question the priority of the process that waits for the answer, if that
/// is higher: else a busy process of middle priority would keep both waiting.
pub fn lend_priority(from: &Process, to: u64) {
    lend(from.vm, to, from.priority);
}

/// Gives a process that waits for its turn this priority for it, if that is higher than its own.
pub fn lend(vm: &'static Vm, to: u64, priority: Priority) {
    let priority = priority as u8;
    if let Some(cell) = vm.processes.get(to)
        && priority < cell.shared.priority.load(Ordering::Relaxed)
    {
        vm.schedulers.advance(cell, priority);
    }
}

/// Frees a signal that no process receives; a call learns that its receiver is gone.
fn drop_signal(vm: &'static Vm, signal: *mut Fragment) {
    // SAFETY: the signal is ours.
    unsafe {
        if (*signal).kind == SignalKind::Call as u32 {
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
