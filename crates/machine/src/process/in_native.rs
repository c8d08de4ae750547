//! Signals to a process while it is in a library's function on a dirty scheduler.
//!
//! Such a function may take long, and uses nothing of the process but its heap. So signals are
//! handled for the process meanwhile: an exit signal ends it at once, for everybody but the
//! function, which goes on; the thread that runs it frees the process's memory when it returns. No
//! other thread touches the heap: the exit reason has memory of its own, and only questions whose
//! answers do not depend on the heap are answered.
//!
//! Guarantee: a signal that is put in place before or while the function runs is looked at without
//! waiting for its return. The sender puts it in place and then looks whether the process is in a
//! function; the thread that enters a function says so and then looks for signals. Fences between
//! the two steps keep both from missing the other.

use crate::bif::BifKind;
use crate::code::natives::NativeSlot;
use crate::process::exit::Ending;
use crate::process::table::ProcessCell;
use crate::process::{Process, REDUCTIONS_PER_TURN};
use crate::schedule::deferred;
use crate::vm::Vm;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering, fence};
use swarmrt_beam::instr::Instr;

/// Whether a process is in a function, and which thread may look at its signals then.
#[derive(Default)]
pub struct InNative {
    entered: AtomicBool,
    /// Held by the thread that takes signals while `entered` holds, and by the one that resets it.
    attending: Mutex<()>,
    /// Words of heap when the function began, which changes them.
    heap_words: AtomicUsize,
    /// Reductions when the function began, likewise.
    reductions: AtomicI64,
}

impl InNative {
    /// Whether a signal that was put in place before has to be attended to by the sender. Called
    /// after a fence.
    pub(crate) fn is_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }
    /// Keeps others from taking the process's signals.
    pub fn keep_signals(&self) -> MutexGuard<'_, ()> {
        self.attending.lock()
    }
}

/// Queues a request to look at the signals of a process that is in a function. The caller does not
/// look itself, since it may hold locks and is in the middle of its own work.
#[cold]
pub(crate) fn attend_soon(vm: &'static Vm, to: u64) {
    let request = Box::into_raw(Box::new((vm, to)));
    deferred::defer(attend, request as u64);
}

fn attend(request: u64) {
    // SAFETY: the address is that of the box that `attend_soon` has given up; it is used once.
    let (vm, to) = *unsafe { Box::from_raw(request as *mut (&'static Vm, u64)) };
    let _guard = crate::vm::pin();
    look_at_signals(vm, to);
}

/// Looks at the signals of a process that is in a function. `None`: there is no such process;
/// `Some(false)`: it is not in one. The caller is pinned, and is not that process.
pub fn look_at_signals(vm: &'static Vm, of: u64) -> Option<bool> {
    let cell = vm.processes.get(of)?;
    let _attending = cell.shared.in_native.keep_signals();
    let is_in_function = cell.shared.in_native.is_entered();
    if is_in_function {
        // SAFETY: the process is in a function, which uses its heap only; what else there is of it
        // is ours while we hold the lock, without which it does not leave the function.
        unsafe { attend_to(&mut *cell.process.get()) };
    }
    Some(is_in_function)
}

/// Ends the process if a signal says so; answers questions otherwise. The caller is pinned.
fn attend_to(process: &mut Process) {
    if process.exiting {
        return;
    }
    if !process.has_exit_signal() {
        return process.answer_questions(true);
    }
    let vm = process.vm;
    // The function may look at literals that its arguments refer to.
    vm.retirement.hold();
    process.break_off();
    // At once: it is not the process's turn. Its own reductions are the function's meanwhile.
    let ending = loop {
        match process.end(&mut { REDUCTIONS_PER_TURN }) {
            Ending::Unfinished => {}
            ending => break ending,
        }
    };
    assert_eq!(ending, Ending::Over, "it does not wait for connections");
    if process.trace.is_on() {
        process.trace_exited();
    }
    vm.processes.withdraw(process.id());
}

impl Process {
    /// Does the work of a function on a dirty scheduler, while other threads attend to the
    /// process's signals. `None`: the process has been ended, and the work is not done.
    pub fn in_native<T>(&mut self, work: impl FnOnce(&mut Process) -> T) -> Option<T> {
        let result = self.enter_native().then(|| work(self));
        self.leave_native();
        result
    }

    /// Notes that a function begins. `false`: the process has been ended, and the function must not
    /// begin.
    fn enter_native(&mut self) -> bool {
        // SAFETY: the shared part is there as long as the process is, whatever is borrowed of that.
        let shared = unsafe { &*std::ptr::from_ref(self.shared()) };
        let attending = shared.in_native.keep_signals();
        shared.in_native.heap_words.store(self.heap_words(), Ordering::Relaxed);
        shared.in_native.reductions.store(self.reductions_used(), Ordering::Relaxed);
        shared.in_native.entered.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence of a sender.
        fence(Ordering::SeqCst);
        if self.has_signals() {
            let _guard = crate::vm::pin();
            attend_to(self);
        }
        drop(attending);
        !self.exiting
    }

    /// Notes that the function has returned.
    fn leave_native(&mut self) {
        // SAFETY: the shared part is there as long as the process is, whatever is borrowed of that.
        let shared = unsafe { &*std::ptr::from_ref(self.shared()) };
        let _attending = shared.in_native.keep_signals();
        shared.in_native.entered.store(false, Ordering::Relaxed);
    }

    /// Does something with what others may change while the process is in a function: how it is
    /// traced. May be called by the function that is running.
    pub fn unattended<T>(&mut self, work: impl FnOnce(&mut Process) -> T) -> T {
        // SAFETY: the shared part is there as long as the process is, whatever is borrowed of that.
        let shared = unsafe { &*std::ptr::from_ref(self.shared()) };
        let _kept = shared.in_native.is_entered().then(|| shared.in_native.keep_signals());
        work(self)
    }

    /// Words of heap; while a library's function has the heap, the number when it began.
    pub fn heap_words(&self) -> usize {
        let in_native = &self.shared().in_native;
        if in_native.is_entered() {
            in_native.heap_words.load(Ordering::Relaxed)
        } else {
            self.heap.total_words()
        }
    }

    /// Reductions that the process has used; while a library's function uses some, the number when
    /// it began.
    pub fn reductions_used(&self) -> i64 {
        let in_native = &self.shared().in_native;
        if in_native.is_entered() {
            return in_native.reductions.load(Ordering::Relaxed);
        }
        self.total_reductions as i64 + i64::from((REDUCTIONS_PER_TURN - self.reductions).max(0))
    }

    /// Whether the process was told to end; may be asked by the function that is running.
    pub fn is_ending(&self) -> bool {
        let _kept = self.is_in_native().then(|| self.shared().in_native.keep_signals());
        self.exiting || self.exit_pending || self.has_exit_signal()
    }
    /// Whether it stands at a function for dirty schedulers that has not begun.
    pub fn awaits_dirty(&self) -> bool {
        if self.ip.is_null() || self.result_at_hand.is_some() || self.is_in_native() {
            return false;
        }
        // SAFETY: a process's instruction pointer points at an instruction.
        let instr = unsafe { *self.ip };
        let kind = if let Instr::NativeBody { slot, .. } = instr {
            // SAFETY: the module's version is there, as the process stands in its code.
            unsafe { NativeSlot::at(slot) }
                .get()
                .map_or(BifKind::Normal, |native| native.kind(self))
        } else {
            instr.called_bif().map_or(BifKind::Normal, |(bif, _)| self.vm.bifs.get(bif).kind)
        };
        kind.is_dirty()
    }
    /// Whether it is in a library's function on a dirty scheduler.
    pub fn is_in_native(&self) -> bool {
        self.shared().in_native.is_entered()
    }
}

/// Frees a process that was ended in a function, which has returned.
///
/// # Safety
/// The caller ran the process, and does not touch it or its cell afterwards.
pub(crate) unsafe fn free_ended(vm: &'static Vm, cell: &ProcessCell) {
    let guard = crossbeam_epoch::pin();
    // SAFETY: the caller's; it was taken out of the table when it was ended.
    unsafe { vm.processes.free(cell, &guard) };
    vm.retirement.release();
}
