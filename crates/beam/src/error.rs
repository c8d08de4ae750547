//! What can be wrong with a `.beam` file.

use std::fmt;

use crate::genop::Opcode;

/// Why a file could not be read: one clear line, with the chunk and the byte.
///
/// It is one word, since every byte that is read might have been one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, byte {}: {}", .0.place, .0.offset, .0.problem)]
pub struct BeamError(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    /// Where: a chunk, or the file around them.
    place: FilePart,
    /// Byte offset in that place.
    offset: usize,
    problem: Problem,
}

impl BeamError {
    #[cold]
    pub(crate) fn new(place: FilePart, offset: usize, problem: Problem) -> BeamError {
        BeamError(Box::new(Details { place, offset, problem }))
    }

    /// An instruction that is read but not translated.
    pub fn unsupported(opcode: Opcode, offset: u32) -> BeamError {
        BeamError::instruction(offset, Problem::Unsupported(opcode.name()))
    }

    /// A guard instruction that calls a function which is not a guard built-in.
    pub fn missing_guard_bif(module: &str, function: &str, arity: u32, offset: u32) -> BeamError {
        BeamError::instruction(offset, Problem::NoGuardBif(format!("{module}:{function}/{arity}")))
    }

    /// The functions are not where they were said to be.
    #[cold]
    pub(crate) fn other_layout() -> BeamError {
        BeamError::instruction(0, Problem::OtherLayout)
    }

    fn instruction(offset: u32, problem: Problem) -> BeamError {
        BeamError::new(FilePart::Instructions, offset as usize, problem)
    }
}

/// The part of a file that an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePart {
    /// The whole file, after decompression if it was compressed.
    File,
    /// The contents of a chunk.
    Chunk([u8; 4]),
    /// The contents of the literal chunk, decompressed.
    Literals,
    /// The instructions of the Code chunk, after its header.
    Instructions,
}

impl fmt::Display for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilePart::File => f.write_str("beam file"),
            FilePart::Chunk(id) => write!(f, "{} chunk", id.escape_ascii()),
            FilePart::Literals => f.write_str("LitT chunk (decompressed)"),
            FilePart::Instructions => f.write_str("Code chunk (instructions)"),
        }
    }
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("not a beam file: {0}")]
    NotBeam(&'static str),
    #[error("the compressed data is corrupt")]
    CorruptCompression,
    #[error("the decompressed data would exceed {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the mandatory chunk is missing")]
    MissingChunk,
    #[error("the chunk occurs twice")]
    DuplicateChunk,
    #[error("{wanted} bytes needed, {left} left")]
    Truncated { wanted: usize, left: usize },
    #[error("{count} {what} cannot fit into the {left} bytes left")]
    ImpossibleCount { what: &'static str, count: u64, left: usize },
    #[error("{left} bytes left over at the end")]
    Trailing { left: usize },
    #[error("{what} {value} is out of range, the limit is {limit}")]
    OutOfRange { what: &'static str, value: u64, limit: u64 },
    #[error("{what} {value} does not exist, there are {count}")]
    NoSuchIndex { what: &'static str, value: u64, count: usize },
    #[error("{0} is not valid UTF-8")]
    InvalidUtf8(&'static str),
    #[error("the text of an atom has more than 255 characters")]
    AtomTooLong,
    #[error("a literal does not begin with the version byte of the external term format")]
    LiteralVersion,
    #[error("the decompressed size is {actual} bytes where {claimed} are announced")]
    LiteralSize { claimed: usize, actual: usize },
    #[error("expected {expected}, found an operand with tag {tag}")]
    UnexpectedTag { expected: &'static str, tag: u8 },
    #[error("unknown extended operand tag {0}")]
    UnknownExtendedTag(u64),
    #[error("a value that does not fit into 64 bits")]
    ValueTooLarge,
    #[error("a type entry that allows no type at all")]
    EmptyType,
    #[error("the definition of a native record is malformed")]
    MalformedRecord,
    #[error("an entry of the debug information is malformed")]
    MalformedDebugInfo,
    #[error("code of format {0}, only format 0 is known")]
    CodeFormat(u32),
    #[error(
        "the code uses instructions up to {wanted}, this runtime knows {known}: it was compiled for a newer OTP"
    )]
    TooNew { wanted: u32, known: u8 },
    #[error("unknown instruction {0}")]
    UnknownOpcode(u8),
    #[error(
        "instruction {name} was last emitted by the compiler of {release}; compile the module again"
    )]
    Obsolete { name: &'static str, release: &'static str },
    #[error("the code does not end with int_code_end")]
    NoCodeEnd,
    #[error("instruction {0} is not supported")]
    Unsupported(&'static str),
    #[error("{0} is not a guard built-in")]
    NoGuardBif(String),
    #[error("the functions are not where they were said to be")]
    OtherLayout,
}
