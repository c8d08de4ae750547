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
use swarmrt_term::Term;

/// Operands that an assist can be given in memory.
pub const SCRATCH_WORDS: usize = 64;

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
    /// The cell that is being entered.
    pub cell: *const Instr,
    /// Live X registers there, for [`Exit::Enter`].
    pub arity: u64,
    /// The X registers, of the first 64, that hold the bits of floats instead of words.
    pub x_floats: u64,
    /// The same of the frame.
    pub y_floats: u64,
    /// The same of the heap: counted down from its top.
    pub heap_floats: u64,
    /// The machine code that is being entered from outside.
    pub code: u64,
    /// What a question about two terms was answered.
    pub answer: u64,
    pub outcome: Outcome,
    /// Calls of built-ins and departures since the last one that was reported as a sample.
    pub ticks: i32,
    /// Reductions from one sample to the next.
    pub between: i32,
    /// Operands of the assist that is being called.
    pub scratch: [u64; SCRATCH_WORDS],
}

impl NativeState {
    /// The fewest reductions from one sample to the next.
    pub const BETWEEN_MIN: i32 = 400;

    pub(crate) fn new() -> NativeState {
        NativeState {
            process: std::ptr::null_mut(),
            stop: std::ptr::null_mut(),
            top: std::ptr::null_mut(),
            reductions: 0,
            deferred: 0,
            ip: std::ptr::null(),
            cell: std::ptr::null(),
            arity: 0,
            x_floats: 0,
            y_floats: 0,
            heap_floats: 0,
            code: 0,
            answer: 0,
            outcome: Outcome::Yield,
            ticks: 0,
            between: NativeState::BETWEEN_MIN,
            scratch: [0; SCRATCH_WORDS],
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
pub type EnterFn = unsafe extern "C-unwind" fn(*mut Registers, u64) -> Exit;

/// The engine of machine code, as the interpreter sees it.
pub struct Native {
    pub enter: EnterFn,
    /// What hangs on cells without machine code at the entries of functions: it counts the call and goes back to the
    /// interpreter, for the place behind [`NativeState::cell`].
    pub no_code_entry: u64,
    /// What hangs on the others: the interpreter goes on behind the cell that was taken off the stack last. Between
    /// the two addresses there is no other code.
    pub no_code_return: u64,
    /// Told now and then which function is running: the address past its entry cell with its arguments, or within it.
    /// Whether machine code is wanted there, and not there yet.
    pub sample: fn(&'static Vm, *const Instr, &[Term]) -> bool,
    /// The machine code with which the function that begins at an address goes on with these arguments, where that is other
    /// than what hangs on its cell; else 0.
    pub resume: fn(*const Instr, &[Term]) -> u64,
    /// Told of every module before its code can be called.
    pub loaded: fn(&'static Vm, &crate::code::ModuleCode),
}

/// Executes the one instruction at an address, with the state in `Registers`, and returns the next; null when the
/// process gives up the scheduler.
pub type StepFn = unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> *const Instr;

/// The word of no term: what an assist returns for "not here, not so".
pub const NO_TERM: u64 = 0;
/// The bits of no float that a term can be.
pub const NO_FLOAT: u64 = u64::MAX;

/// What machine code has done for it. All but `step` do one part of an instruction, with the operands given as words,
/// while the rest of the state lies in the registers and is read again afterwards. One that returns [`NO_TERM`] has left
/// everything so that the instruction can be stepped instead.
pub struct Assists {
    pub step: StepFn,
    /// The built-in called by the instruction, with its arguments in X registers. What is not a plain result is left to
    /// the step, which finds the result there and does not call again.
    pub call_bif: unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> u64,
    /// The native body at the instruction, whose slot is filled, with its arguments in X registers; as `call_bif`.
    pub call_native: unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> u64,
    /// A built-in that yields a value: its number, and its arguments (address, count).
    pub bif: unsafe extern "C-unwind" fn(*mut Registers, u64, *const u64, u64) -> u64,
    /// The value of a key of a map.
    pub map_get: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// The values of several keys of a map: map, keys (address, count), whose places they take.
    pub map_get_all: unsafe extern "C-unwind" fn(*mut Registers, u64, *mut u64, u64) -> u64,
    /// The map that `PutMap` makes, from the values of its sources (map, then keys and values in turn).
    pub map_put: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// The binary that `BsCreateBin` makes, from the values of its sources in order.
    pub create_binary: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// A binary with the lowest bits of a word behind it: binary, word, bits.
    pub append_word: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// The same for what a comprehension builds: the term itself becomes longer.
    pub append_own_word: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// A match context for a bitstring.
    pub start_match: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// A part of a bitstring that is no part itself: bitstring, position, bits.
    pub part: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// The next character of a match context, by the `BsGetUtf` at an address.
    pub get_utf: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, u64) -> u64,
    /// The next bits of a match context as an integer, with these flags.
    pub get_integer: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// Sends: receiver, message. Returns the message.
    pub send: unsafe extern "C-unwind" fn(*mut Registers, u64, u64) -> u64,
    /// The message that the receive loop looks at.
    pub peek: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// The message after that one.
    pub peek_next: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// Reserves a receive marker; nothing where signals have to be handled first.
    pub reserve_marker: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// Binds a marker to a reference; forgets that of a reference; begins to receive at it.
    pub bind_marker: unsafe extern "C-unwind" fn(*mut Registers, u64, u64) -> u64,
    pub clear_marker: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    pub use_marker: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// Takes the message that was looked at out of the mailbox.
    pub take_message: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// The fun that `MakeFun` makes, from its free variables.
    pub make_fun: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// The word of a float, given its bits.
    pub float: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// Makes words of the floats that [`NativeState::x_floats`] and its like name.
    pub make_words: unsafe extern "C-unwind" fn(*mut Registers),
    /// Whether two terms are equal, `=:=` and `==`, and whether one is less than the other.
    pub equal_exact: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    pub equal: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    pub less: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// The bits of the float that a boxed term is, or [`NO_FLOAT`]. The second word says nothing.
    pub boxed_float: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// Where a call of a function by name leads: module, function, arity.
    pub apply_target: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> *const Instr,
}

/// Whether a cell is a function's entry. Machine code counts the call there, the interpreter before it goes there.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`] of a module.
#[inline]
pub unsafe fn is_entry(cell: *const Instr) -> bool {
    // SAFETY: the first instruction of a module is no cell.
    unsafe { matches!(*cell.sub(1), Instr::FuncInfo { .. }) }
}

/// The machine code in a cell; where there is none, the way back to the interpreter ([`Native::no_code_entry`]).
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

/// What hangs on the cell in front of `ip`, if one stands there.
///
/// # Safety
/// `ip` points at an instruction that is not the first of its block.
#[inline(always)]
pub unsafe fn code_before(ip: *const Instr) -> Option<u64> {
    // SAFETY: the caller's.
    unsafe { if matches!(*ip.sub(1), Instr::Cell { .. }) { Some(cell_code(ip.sub(1))) } else { None } }
}

/// Hangs machine code on a cell.
///
/// # Safety
/// `cell` points at an [`Instr::Cell`], and `code` is machine code for that place.
pub unsafe fn set_cell_code(cell: *const Instr, code: u64) {
    // SAFETY: the caller's.
    let Instr::Cell { native } = (unsafe { &*cell }) else { unreachable_cell() };
    // SAFETY: the word is only ever read and written whole. Release: the code is seen whole.
    unsafe { (*std::ptr::from_ref(native).cast::<AtomicU64>()).store(code, Ordering::Release) };
}
