//! Calls: work that one process has done in the context of another, and when it may be done early.

use super::{SignalKind, deliver};
use crate::process::Process;
use crate::process::sequential::TOKEN_BIT;
use crate::vm::Vm;
use swarmrt_heap::Fragment;
use swarmrt_term::Term;

/// Work to be done in the context of another process; gets `None` when that process is gone.
pub type Call = Box<dyn FnOnce(&'static Vm, Option<&mut Process>) + Send>;

/// The call of a call signal; `None` when it was taken before.
pub(super) unsafe fn take_call(signal: *mut Fragment) -> Option<Call> {
    // SAFETY: the root of a call signal is the address of a boxed `Call`, given to us, or null.
    unsafe {
        let raw = std::mem::replace(&mut (*signal).root, Term::from_raw(CALL_TAKEN)).raw();
        (raw != CALL_TAKEN).then(|| *Box::from_raw(raw as *mut Call))
    }
}

/// The root of a call signal that was answered early.
const CALL_TAKEN: u64 = 0;

/// The `sequence` of a call signal that may be answered early: see [`send_question`].
pub(super) const QUESTION: u32 = 1;

/// The `sequence` of a call signal that may be answered while a library's function runs: see
/// [`send_look`].
pub(super) const LOOK: u32 = 3;

/// The `sequence` of a call signal that may be answered while a library's function runs if only
/// messages and [`LATER`] ones are in front: see [`send_inspection`].
pub(super) const INSPECTION: u32 = 4;

/// The `sequence` of a call signal for which inspections do not wait: see [`send_later`].
pub(super) const LATER: u32 = 5;

/// The `sequence` of a call signal that changes attributes that a [`QUESTION`] may ask for: see
/// [`send_change`].
pub(super) const CHANGE: u32 = 2;

/// As [`CHANGE`], and it may be done while a library's function runs: see [`send_small_change`].
pub(super) const SMALL_CHANGE: u32 = 6;

/// Runs `call` in the context of a process, or with `None` when it is gone; returns `false` then.
pub fn send_call(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, 0)
}

/// As [`send_call`], for a call that reads nothing of the process but its group leader, or whether
/// it exists. A process in a long turn answers it in between.
pub fn send_question(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, QUESTION)
}

/// As [`send_call`], for a call that changes attributes that [questions](send_question) ask for.
pub fn send_change(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, CHANGE)
}

/// As [`send_change`], for a call that needs no heap. It runs early while the process is in a
/// library's function on a dirty scheduler.
pub fn send_small_change(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, SMALL_CHANGE)
}

/// As [`send_call`], for a call that uses nothing of the process but its stack and how it is traced.
/// It runs early while the process is in a library's function on a dirty scheduler.
pub fn send_look(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, LOOK)
}

/// As [`send_call`], for a call that reads only state that a library's function does not change. It
/// runs early while the process is in such a function on a dirty scheduler, unless a signal in
/// front may change that state.
pub fn send_inspection(vm: &'static Vm, to: u64, call: Call) -> bool {
    send_call_as(vm, to, call, INSPECTION)
}

/// As [`send_call`], for a call that inspections behind it may overtake, such as suspending: while
/// the process is in a library's function on a dirty scheduler, they do not wait for it.
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
        (*fragment).kind = SignalKind::Call as u32;
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
    /// Answers [questions](send_question) that wait in front of every [change](send_change), in the
    /// midst of a turn. They stay in the queue, for the receiver to take. `in_native`:
    /// [looks](send_look) and [inspections](send_inspection) as well.
    pub(crate) fn answer_questions(&mut self, in_native: bool) {
        let mut signals = Vec::new();
        self.each_incoming(|signal| {
            if signal.kind & !TOKEN_BIT != SignalKind::Message as u32 {
                signals.push(std::ptr::from_ref(signal).cast_mut());
            }
        });
        let mut is_first = true;
        for signal in signals.into_iter().rev() {
            // SAFETY: signals that wait are freed by the process itself only, which does something
            // else here; the senders have done with them.
            unsafe {
                if (*signal).kind != SignalKind::Call as u32 {
                    is_first = false;
                    continue;
                }
                match (*signal).sequence {
                    CHANGE => return,
                    SMALL_CHANGE if !in_native => return,
                    sequence
                        if sequence == QUESTION
                            || in_native
                                && (matches!(sequence, LOOK | SMALL_CHANGE)
                                    || sequence == INSPECTION && is_first) =>
                    {
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
}
