//! The machine: processes, signals, mailboxes, schedulers, timers, names, loaded code, exceptions, and
//! the table of built-ins.
//!
//! Invariants: nothing here knows any one engine or built-in. Engines implement [`Engine`](scheduler::Engine);
//! built-ins register in [`bif::BIFS`]; crates above keep their own state in [`vm::Vm::extension`].

pub mod address;
pub mod bif;
pub mod blocking;
pub mod code;
pub mod code_cache;
pub mod deferred;
mod dirty;
pub mod exception;
pub mod exit;
pub mod extensions;
pub mod few;
pub mod halting;
pub mod in_native;
pub mod incoming;
pub mod inspect;
pub mod links;
pub mod mailbox;
pub mod packet;
pub mod parking;
pub mod ports;
pub mod process;
pub mod remote;
pub mod resource;
pub mod run_state;
pub mod scheduler;
pub mod sequential;
pub mod signal;
pub mod spawn;
pub mod statistics;
mod sync;
pub mod system_monitor;
pub mod table;
pub mod time;
pub mod timer;
pub mod trace;
pub mod vm;
pub mod watched;

#[cfg(all(test, not(loom)))]
mod tests;

pub use bif::{BifResult, BifExit};
pub use process::Process;
pub use swarmrt_macros::bif;
pub use vm::{Vm, pin};
