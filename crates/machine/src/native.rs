//! Where machine code and the interpreter meet: the state that goes from one to the other, and what the one
//! asks of the other.
//!
//! Machine code hangs on code cells ([`Instr::Cell`]). Whoever enters a function or returns to its caller looks
//! at the cell in front of the place: where there is machine code, it goes on there, else in the interpreter.
//! Everything that the two share lies in memory whenever one hands over to the other: X registers in
//! [`Registers`], Y registers and return addresses on the process's stack, the rest in [`NativeState`].

use crate::process::Process;
use crate::scheduler::{Outcome, Registers};
use crate::vm::Vm;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_beam::instr::Instr;

/// The machine state while it goes from one engine to the other. Its layout is known to machine code.
#[repr(C)]
pub struct NativeState {
    pub process: *mut Process,
    /// The stack pointer.
    pub stop: *mut u64,
    /// The next free heap word.
    pub top: *mut u64,
    pub reductions: i64,
    /// Reductions put aside to reach a safepoint soon.
    pub deferred: i64,
    /// Where to go on.
    pub ip: *const Instr,
    /// Live X registers there, for [`Exit::Enter`].
    pub arity: u64,
    pub outcome: Outcome,
    /// Calls of built-ins and departures since the last one that was reported as a sample.
    pub ticks: u32,
}

impl NativeState {
    pub(crate) fn new() -> NativeState {
        NativeState {
            process: std::ptr::null_mut(),
            stop: std::ptr::null_mut(),
            top: std::ptr::null_mut(),
            reductions: 0,
            deferred: 0,
            ip: std::ptr::null(),
            arity: 0,
            outcome: Outcome::Yield,
            ticks: 0,
        }
    }
}

/// How machine code was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Exit {
    /// The instruction at `ip` is next, and the interpreter's.
    Interpret = 0,
    /// The function at `ip` is next, with `arity` arguments; the reductions are used up.
    Enter = 1,
    /// The process gives up the scheduler, with `outcome`; its state is saved.
    Leave = 2,
    /// The instruction at `ip` is next, by whichever engine.
    Continue = 3,
}

/// Runs machine code at this address until it is left.
pub type EnterFn = unsafe extern "C" fn(*mut Registers, u64) -> Exit;

/// The engine of machine code, as the interpreter sees it.
pub struct Native {
    pub enter: EnterFn,
    /// Told now and then which function is running: the address past its entry cell, or within it.
    pub sample: fn(&'static Vm, *const Instr),
    /// Told of every module before its code can be called.
    pub loaded: fn(&'static Vm, &crate::code::ModuleCode),
}

/// Executes the one instruction at an address, with the state in `Registers`, and returns the next; null when the
/// process gives up the scheduler.
pub type StepFn = unsafe extern "C" fn(*mut Registers, *const Instr) -> *const Instr;

/// The machine code in a cell; 0 when there is none.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`].
#[inline(always)]
pub unsafe fn cell_code(cell: *const Instr) -> u64 {
    // SAFETY: the caller's; the word is only ever read and written whole.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: as above.
    unsafe { (*std::ptr::from_ref(native).cast::<AtomicU64>()).load(Ordering::Acquire) }
}

#[cold]
fn unreachable_cell() -> ! {
    unreachable!("a function or return point has a cell in front of it")
}

/// The machine code for the place at `ip`, when a cell stands in front of it.
///
/// # Safety
/// `ip` points at an instruction that is not the first of its block.
#[inline(always)]
pub unsafe fn code_before(ip: *const Instr) -> u64 {
    // SAFETY: the caller's.
    unsafe { if matches!(*ip.sub(1), Instr::Cell { .. }) { cell_code(ip.sub(1)) } else { 0 } }
}

/// Hangs machine code on a cell, or takes it off with 0.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`], and `code` is machine code for that place.
pub unsafe fn set_cell_code(cell: *const Instr, code: u64) {
    // SAFETY: the caller's.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: the word is only ever read and written whole. Release: the code is seen whole.
    unsafe { (*std::ptr::from_ref(native).cast::<AtomicU64>()).store(code, Ordering::Release) };
}
