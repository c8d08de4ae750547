//! The machine, in five rooms:
//!
//! - [`process`]: a process's state, mailbox, relations, exceptions; how it begins and ends.
//! - [`signal`]: everything that one process does to another, here or on another node.
//! - [`schedule`]: which process runs where and when; timers.
//! - [`code`]: loaded modules, exports, native functions, the code cache's index.
//! - [`vm`]: what all processes share: names, clock, ports, limits, state of the crates above.
//!
//! [`bif`] is the table of built-ins.
//!
//! Invariants: nothing here knows any one engine or built-in. Engines implement
//! [`Engine`](scheduler::Engine); built-ins register in [`bif::BIFS`]; crates above keep their own
//! state in [`vm::Vm::extension`].

pub mod bif;
pub mod code;
pub mod process;
pub mod schedule;
pub mod signal;
mod sync;
pub mod vm;

#[cfg(all(test, not(loom)))]
mod tests;

pub use bif::{BifExit, BifResult};
pub use process::Process;
pub use swarmrt_macros::bif;
pub use vm::{Vm, pin};
