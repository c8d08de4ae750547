//! The machine state on which all engines work while a process runs.
//!
//! X registers lie in [`Registers`], Y registers and return addresses on the process's stack, the
//! rest in [`NativeState`]. All of it is in memory whenever one engine hands over to another.

use swarmrt_beam::instr::Instr;
use swarmrt_machine::Process;
use swarmrt_machine::process::X_REGISTERS;
use swarmrt_machine::schedule::Outcome;
use swarmrt_term::Term;

/// The registers of the running process; each scheduler has one set.
#[repr(C)]
pub struct Registers {
    /// X registers, with room behind them for the free variables of a fun that is called.
    pub x: [Term; X_REGISTERS + 256],
    pub f: [f64; X_REGISTERS],
    pub native: NativeState,
}

impl Registers {
    /// All X registers hold nil.
    pub fn new() -> Box<Registers> {
        Box::new(Registers {
            x: [Term::NIL; X_REGISTERS + 256],
            f: [0.0; X_REGISTERS],
            native: NativeState::new(),
        })
    }
}

/// Operands that an assist can be given in memory.
pub const SCRATCH_WORDS: usize = 64;
/// How many hints there are in [`NativeState::map_hints`].
pub const MAP_HINTS: usize = 1024;

/// The index in [`NativeState::map_hints`] for key number `index` of an instruction whose first
/// hint is `first`.
pub const fn map_hint(first: usize, index: usize) -> usize {
    (first + index) % MAP_HINTS
}

/// The machine state when one engine hands over to the other. Machine code knows its layout.
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
    /// The instruction that is next.
    pub ip: *const Instr,
    /// The cell that is being entered.
    pub cell: *const Instr,
    /// Live X registers at `ip`, for [`Exit::Enter`].
    pub arity: u64,
    /// Bit n: `X[n]` holds raw f64 bits, not a term; `make_words` boxes them.
    pub x_floats: u64,
    /// Bit n: `Y[n]` holds raw f64 bits, not a term.
    pub y_floats: u64,
    /// Bit n: the heap word at `top - 1 - n` (in words) holds raw f64 bits, not a term.
    pub heap_floats: u64,
    /// The machine code that is being entered from outside.
    pub code: u64,
    /// The answer to the last question about two terms.
    pub answer: u64,
    /// How the turn ended in an instruction that was stepped; `None` where it goes on at a handler.
    pub outcome: Option<Outcome>,
    /// Calls of built-ins and side exits since the last one that was reported as a sample.
    pub ticks: i32,
    /// Reductions from one sample to the next.
    pub sample_interval_reductions: i32,
    /// Where literals begin ([`swarmrt_heap::literal_range`]).
    pub literals: u64,
    /// Operands of the assist that is being called.
    pub scratch: [u64; SCRATCH_WORDS],
    /// Where keys were found last in flat maps. A place in the code has one for each of its keys,
    /// and may share it with others.
    pub map_hints: [u8; MAP_HINTS],
}

impl NativeState {
    fn new() -> NativeState {
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
            outcome: None,
            ticks: 0,
            sample_interval_reductions: NativeState::INTERVAL_MIN,
            literals: swarmrt_heap::literal_range().start as u64,
            scratch: [0; SCRATCH_WORDS],
            map_hints: [0; MAP_HINTS],
        }
    }
}

/// How machine code was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Exit {
    /// The interpreter goes on with the instruction at `ip`.
    Interpret = 0,
    /// The function at `ip` is next, with `arity` arguments; the reductions are used up.
    Enter = 1,
    /// The process yields the scheduler, with `outcome`; its state is saved.
    Leave = 2,
    /// Either engine goes on with the instruction at `ip`.
    Continue = 3,
}
