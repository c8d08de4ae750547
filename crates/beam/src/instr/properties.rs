//! What else is true of an instruction, beside its operands.

/// A number of X registers that stands for all of them.
pub const ALL: u16 = u16::MAX;

/// What is true of an instruction beside its operands. The table gives each instruction those that
/// it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    /// Reads `R[0..reads]`, which no operand says.
    pub reads: u16,
    /// Writes `R[0..writes]`, which no operand says.
    pub writes: u16,
    /// Control does not go on with the next instruction.
    pub ends: bool,
    /// Control goes on behind the cell that comes next.
    pub over_cell: bool,
    /// A failure leads to the target of the [`Fail`](super::Instr::Fail) that comes next, if one
    /// does.
    pub guarded: bool,
    /// The process may have to wait here for a message.
    pub waits: bool,
    /// Calls the function of a fun.
    pub calls_fun: bool,
    /// Calls a function that may be another module's, whose code can change.
    pub calls_out: bool,
    /// In machine code: one path, but for side exits and for where it leads.
    pub straight: bool,
    /// In machine code: allocates only what the program has asked room for, and takes its operands
    /// before it leads anywhere. Tuples that are not on the heap may stay so.
    pub keeps_scalars: bool,
    /// In machine code: nothing but a side exit.
    pub exits: bool,
}

macro_rules! flags {
    ($($flag:ident)*) => {
        $(pub(super) const fn $flag(self) -> Properties {
            Properties { $flag: true, ..self }
        })*
    };
}

impl Properties {
    pub(super) const NONE: Properties = Properties {
        reads: 0,
        writes: 0,
        ends: false,
        over_cell: false,
        guarded: false,
        waits: false,
        calls_fun: false,
        calls_out: false,
        straight: false,
        keeps_scalars: false,
        exits: false,
    };
    pub(super) const fn reads(self, reads: u16) -> Properties {
        Properties { reads, ..self }
    }
    pub(super) const fn writes(self, writes: u16) -> Properties {
        Properties { writes, ..self }
    }
    flags! { ends over_cell guarded waits calls_fun calls_out straight keeps_scalars exits }
}
