//! What the engines have in common at run time: the slow paths of instructions, and the parts of
//! instructions that machine code has done for it.

pub mod assists;
pub mod binaries;
pub mod bit_syntax;
pub mod operations;
pub mod records;
