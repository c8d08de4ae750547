pub mod assemble;
pub mod decode;
pub mod error;
pub mod file;
pub mod genop;
pub mod instr;
pub mod specialise;
pub mod verify;
