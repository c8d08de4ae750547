//! What every engine shares: the machine state and code cells, slow paths of instructions, tiering,
//! machine code in memory and from run to run.
//!
//! Invariants: nothing here knows which engines exist. What makes machine code implements
//! [`Backend`] and [`Compiler`]; what executes single instructions is handed to it as one of the
//! [`Assists`](runtime::assists::Assists).

pub mod cell;
pub mod code;
mod compiler;
pub mod layout;
pub mod runtime;
mod sampling;
pub mod state;
mod tier;

pub use compiler::{
    Backend, BaselineCode, BaselineCompiler, Compiled, Compiler, Part, Request, Unavailable,
};
pub use tier::{Counts, Mode, Options, Tier, When};
