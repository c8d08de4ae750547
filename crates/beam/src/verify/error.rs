//! What can be wrong with a module's code.

use std::fmt;

use super::{Call, ContextCall};
use crate::file::{BeamFile, Op, Operand};
use crate::genop::Opcode;

/// Why a module was refused: function, instruction, byte and reason, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{module}{place}: {fault}")]
pub struct VerifyError {
    pub module: String,
    pub place: FaultPlace,
    pub fault: Fault,
}

/// Where in the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultPlace {
    /// An entry of a table: an export, a local function, a fun.
    Table(&'static str),
    /// An instruction: its function (`name/arity`, empty when it is in none), its name, and its
    /// byte offset from the first instruction.
    Instruction { function: String, name: &'static str, offset: u32 },
}

impl fmt::Display for FaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultPlace::Table(what) => write!(f, " ({what})"),
            FaultPlace::Instruction { function, name, offset } if function.is_empty() => {
                write!(f, ", byte {offset}, {name}")
            }
            FaultPlace::Instruction { function, name, offset } => {
                write!(f, ":{function}, byte {offset}, {name}")
            }
        }
    }
}

impl VerifyError {
    pub(super) fn table(file: &BeamFile, what: &'static str, fault: Fault) -> VerifyError {
        VerifyError { module: file.module().to_owned(), place: FaultPlace::Table(what), fault }
    }

    /// `op` is the index of an instruction of a function.
    #[cold]
    pub(super) fn new(file: &BeamFile, ops: &[Op], op: usize, fault: Fault) -> VerifyError {
        let func_info = ops.iter().take(op + 1).find(|op| op.opcode == Opcode::FuncInfo);
        let function = match func_info.map(|op| &op.args[..]) {
            Some([_, Operand::Atom(name), Operand::Unsigned(arity)]) => {
                name_of(file, *name, *arity)
            }
            _ => String::new(),
        };
        let (name, offset) =
            ops.get(op).map_or(("end of code", 0), |op| (op.opcode.name(), op.offset));
        let place = FaultPlace::Instruction { function, name, offset };
        VerifyError { module: file.module().to_owned(), place, fault }
    }

    #[cold]
    pub(super) fn call(file: &BeamFile, call: &Call, fault: Fault) -> VerifyError {
        VerifyError::at_call(file, call.caller, call.opcode, call.offset, fault)
    }

    #[cold]
    pub(super) fn context_call(file: &BeamFile, call: &ContextCall, fault: Fault) -> VerifyError {
        VerifyError::at_call(file, call.caller, call.opcode, call.offset, fault)
    }

    fn at_call(
        file: &BeamFile,
        caller: (u32, u32),
        opcode: Opcode,
        offset: u32,
        fault: Fault,
    ) -> VerifyError {
        let place = FaultPlace::Instruction {
            function: name_of(file, caller.0, caller.1.into()),
            name: opcode.name(),
            offset,
        };
        VerifyError { module: file.module().to_owned(), place, fault }
    }
}

fn name_of(file: &BeamFile, name: u32, arity: u64) -> String {
    format!("{}/{arity}", file.atoms.get(name as usize).map_or("?", String::as_str))
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("too many instructions")]
    TooManyInstructions,
    #[error("label {0} is defined twice")]
    DuplicateLabel(u32),
    #[error("label {0} does not exist in this function")]
    NoSuchLabel(u64),
    #[error("label {0} is in another function")]
    ForeignLabel(u32),
    #[error("an instruction that belongs to no function")]
    OutsideFunction,
    #[error("the function does not begin with a label")]
    NoFunctionLabel,
    #[error("func_info is not followed by the label of the function's entry")]
    NoEntryLabel,
    #[error("execution runs past the end of the function")]
    FallsOff,
    #[error("label {0} is not the entry of a function")]
    NotAnEntry(u32),
    #[error("the function at label {label} has arity {arity}, not {wanted}")]
    WrongArity { label: u32, arity: u32, wanted: u32 },
    #[error("an import of arity {arity} where {wanted} is needed")]
    WrongImportArity { arity: u32, wanted: u64 },
    #[error("{given} free variables given where the fun has {wanted}")]
    FreeVariables { given: u32, wanted: u32 },
    #[error("it has {given} operands, not {wanted}")]
    OperandCount { given: usize, wanted: usize },
    #[error("operand {position} is not {expected}")]
    OperandKind { position: usize, expected: &'static str },
    #[error("operand {position} is out of range: {expected}")]
    OperandRange { position: usize, expected: &'static str },
    #[error("operand {position} refers to {table} {index}, there are {count}")]
    OperandIndex { position: usize, table: &'static str, index: u64, count: usize },
    #[error("X{0} is read but not written on every path")]
    UninitialisedX(u16),
    #[error("Y{0} is read but not written on every path")]
    UninitialisedY(u16),
    #[error("float register {0} is read but not written on every path")]
    UninitialisedFloat(u16),
    #[error("Y{register} does not exist in {frame}")]
    OutsideFrame { register: u16, frame: String },
    #[error("a stack frame exists already, of {0}")]
    FrameExists(String),
    #[error("it needs a stack frame, there is {0}")]
    FrameNeeded(String),
    #[error("it needs a frame of {wanted} words, there is {frame}")]
    WrongFrame { frame: String, wanted: u64 },
    #[error("not every Y register is initialised where the stack may be scanned")]
    StackNotInitialised,
    #[error("{needed} heap words are needed, {granted} are left of what was granted")]
    HeapWords { needed: u64, granted: u32 },
    #[error("more floats are built than were granted")]
    HeapFloats,
    #[error("Y{0} holds a catch tag")]
    CatchTag(u16),
    #[error("Y{0} does not hold the tag of such a catch")]
    NoCatchTag(u16),
    #[error("a catch is still active")]
    ActiveCatch,
    #[error("different catches are active on the paths that meet here")]
    MixedCatches,
    #[error("too many catches are active")]
    TooManyCatches,
    #[error("its loops are too complex to be verified")]
    TooComplex,
    #[error("the handler at label {0} does not begin with the end of that catch")]
    BadHandler(u32),
    #[error("no binary is under construction")]
    NoBinary,
    #[error("the tuple may be shared: it is not the result of setelement/3 just before")]
    SharedTuple,
    #[error("the value may be the tuple itself")]
    CyclicTuple,
    #[error("X{0} may hold a match context where a term is needed")]
    ContextX(u16),
    #[error("Y{0} may hold a match context where a term is needed")]
    ContextY(u16),
    #[error("no message has been looked at on every path")]
    NoMessage,
    #[error("{0} is no guard built-in")]
    NoGuard(String),
    #[error("the instruction is obsolete")]
    Obsolete,
}
