//! Machine code at the border of the engines: the way in, and the ways out that all pieces share.

use super::memory::CodeMemory;
use crate::state::{Exit, Registers};
use swarmrt_beam::specialise::CellKind;

/// The trampoline: runs the machine code at this address until it is left.
pub type EnterFn = unsafe extern "C-unwind" fn(*mut Registers, u64) -> Exit;

/// The exits of machine code: shared pieces that write their arguments back to the machine state
/// and return an [`Exit`] to the trampoline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stub {
    /// The interpreter goes on with the function behind the cell in the state. Entry cells without
    /// machine code hold this address.
    NoCodeEntry,
    /// As `NoCodeEntry`, for a function with a breakpoint, whose entry cell holds this address.
    Breakpoint,
    /// The interpreter goes on behind the cell that was taken off the stack. Return cells without
    /// machine code hold this address.
    NoCodeReturn,
    /// The reductions are used up. The function behind the cell in the state is next, with as many
    /// arguments as the state says.
    TurnOver,
    /// The interpreter goes on with the instruction in the state.
    Interpret,
    /// The interpreter goes on with the instruction in the state; all is written back. Takes no
    /// arguments.
    SavedInterpret,
    /// Either engine goes on with the instruction in the state; all is written back. Takes no
    /// arguments.
    SavedContinue,
    /// The process yields the scheduler; all is written back. Takes no arguments.
    SavedLeave,
    /// As `TurnOver`, with floats among the X registers.
    TurnOverFloats,
    /// As `Interpret`, with floats among the X registers.
    InterpretFloats,
}

/// Rare questions about two terms. A question preserves all machine registers, so a piece that does
/// not ask one spills nothing for it. The answer is in
/// [`NativeState::answer`](crate::state::NativeState).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    EqualExact,
    Equal,
    /// Which comes first in the order of terms: less than 0 for the first of the two, 0 where they
    /// are equal, more than 0 for the second.
    Order,
    /// Which float a boxed term is: its bits, or [`NO_FLOAT`](crate::runtime::assists::NO_FLOAT).
    BoxedFloat,
}

impl Stub {
    /// All stubs, in the order of their discriminants, which index [`Glue::exits`].
    pub const ALL: [Stub; 10] = [
        Stub::NoCodeEntry,
        Stub::Breakpoint,
        Stub::NoCodeReturn,
        Stub::TurnOver,
        Stub::Interpret,
        Stub::SavedInterpret,
        Stub::SavedContinue,
        Stub::SavedLeave,
        Stub::TurnOverFloats,
        Stub::InterpretFloats,
    ];
}

impl Question {
    /// All questions, in the order of their discriminants, which index [`Glue::questions`].
    pub const ALL: [Question; 4] =
        [Question::EqualExact, Question::Equal, Question::Order, Question::BoxedFloat];
}

/// The trampoline, the exits and the questions that a compiler has made. Kept for as long as the
/// machine.
pub struct Glue {
    /// The memory of everything here.
    pub memory: Vec<CodeMemory>,
    pub enter: EnterFn,
    /// The address of each [`Stub`].
    pub exits: [u64; Stub::ALL.len()],
    /// The address of each [`Question`].
    pub questions: [u64; Question::ALL.len()],
}

impl Glue {
    /// What the cells of a kind hold where there is no machine code. From the first of these
    /// addresses to the last there is no other code.
    pub fn no_code(&self, kind: CellKind) -> u64 {
        match kind {
            CellKind::Entry => self.exits[Stub::NoCodeEntry as usize],
            CellKind::Breakpoint => self.exits[Stub::Breakpoint as usize],
            CellKind::Return => self.exits[Stub::NoCodeReturn as usize],
        }
    }
}
