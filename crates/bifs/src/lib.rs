//! Built-in functions: one file a family, named after the Erlang module or what it is about.
//!
//! Invariants: a built-in never collects, so that terms never move under it; it holds a scheduler for no
//! longer than a turn. State of a family lives in an extension of the machine.

mod args;
mod atomics;
mod atoms;
mod backtrace;
mod binaries;
mod binary_module;
mod checksums;
mod code;
mod debug;
mod dictionary;
mod error;
mod ets;
mod guards;
mod identifiers;
mod lists;
mod long;
mod maps;
mod math;
mod memory;
mod numbers;
mod packet;
mod persistent_term;
mod ports;
mod process;
mod process_info;
mod regex;
mod statistics;
mod system;
mod system_info;
mod terms;
mod time;
mod timers;
mod trace;
mod tuples;
mod unicode;

pub use code::PRE_LOADED;

/// Readies the machine-wide state of the built-ins. `release` and `erts` are the versions of the OTP
/// whose libraries run.
pub fn register(vm: &'static swarmrt_machine::Vm, release: &str, erts: &str) {
    let versions = vm.extension::<system_info::Release>();
    let _ = versions.otp.set(release.to_owned());
    let _ = versions.erts.set(erts.to_owned());
    ets::register(vm);
}
