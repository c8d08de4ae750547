pub mod decode;
pub mod error;
pub mod file;
pub mod genop;
pub mod verify;
pub mod instr;
pub mod specialise;
