//! Code cells ([`Instr::Cell`]): the entries of functions, and the places to which calls return.
//!
//! Each has a word for the address of machine code. Calls and returns look at the cell in front of
//! the place that they lead to, and go on in machine code if there is some, else in the
//! interpreter.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use swarmrt_beam::instr::Instr;

/// Whether a cell is a function's entry. Machine code counts the call there, the interpreter before
/// it goes there.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`] of a module.
#[inline]
pub unsafe fn is_entry(cell: *const Instr) -> bool {
    // SAFETY: the first instruction of a module is no cell.
    unsafe { matches!(*cell.sub(1), Instr::FuncInfo { .. }) }
}

/// The machine code in a cell; where there is none, the way back to the interpreter
/// ([`Glue::no_code`](crate::code::Glue::no_code)).
///
/// # Safety
/// `cell` points at an [`Instr::Cell`].
#[inline(always)]
pub unsafe fn cell_code(cell: *const Instr) -> u64 {
    // SAFETY: the caller's; the word is only ever read and written whole.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: the word of a cell is only ever read and written whole.
    unsafe { (*std::ptr::from_ref(native).cast::<AtomicU64>()).load(Ordering::Acquire) }
}

#[cold]
fn unreachable_cell() -> ! {
    unreachable!("a function or return point has a cell in front of it")
}

/// The machine code in the cell in front of `ip`, if one stands there.
///
/// # Safety
/// `ip` points at an instruction that is not the first of its block.
#[inline(always)]
pub unsafe fn code_before(ip: *const Instr) -> Option<u64> {
    // SAFETY: the caller's.
    unsafe {
        if matches!(*ip.sub(1), Instr::Cell { .. }) { Some(cell_code(ip.sub(1))) } else { None }
    }
}

/// Counts a call, by the interpreter, of the function behind an entry cell. Returns the number of
/// calls so far; 0 for a cell that no `FuncInfo` precedes. Calls on several schedulers at once may
/// be counted as one.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`].
#[inline]
pub unsafe fn count_call(cell: *const Instr) -> u32 {
    // SAFETY: in front of every cell stands an instruction.
    let Instr::FuncInfo { calls, .. } = (unsafe { &*cell.sub(1) }) else { return 0 };
    // SAFETY: the word is only ever read and written whole.
    let calls = unsafe { &*std::ptr::from_ref(calls).cast::<AtomicU32>() };
    let count = calls.load(Ordering::Relaxed).saturating_add(1);
    calls.store(count, Ordering::Relaxed);
    count
}

/// Puts machine code into a cell that holds `expected`; whether it did.
///
/// # Safety
/// As for [`set_cell_code`].
pub unsafe fn replace_cell_code(cell: *const Instr, expected: u64, code: u64) -> bool {
    // SAFETY: the caller's.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: the word is only ever read and written whole.
    let native = unsafe { &*std::ptr::from_ref(native).cast::<AtomicU64>() };
    native.compare_exchange(expected, code, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Puts machine code into a cell.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`], and `code` is machine code for that place.
pub unsafe fn set_cell_code(cell: *const Instr, code: u64) {
    // SAFETY: the caller's.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: the word is only ever read and written whole. Release: the code is seen whole.
    unsafe { (*std::ptr::from_ref(native).cast::<AtomicU64>()).store(code, Ordering::Release) };
}
