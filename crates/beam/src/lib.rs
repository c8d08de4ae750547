//! The `.beam` file: its chunks and instructions, the verifier, and the specialised instructions
//! that the machine executes.
//!
//! Invariants: knows neither processes nor how instructions are executed. Bytes of a file never
//! cause a panic; code that the verifier accepts keeps to the registers, frames and heap words that
//! it has asked for.

pub mod assemble;
pub mod decode;
pub mod error;
pub mod file;
pub mod genop;
pub mod instr;
pub mod specialise;
pub mod verify;
