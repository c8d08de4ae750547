//! Built-in functions: one file a family, named after the Erlang module or what it is about.
//!
//! Invariants: a built-in never collects, so that terms never move under it; it holds a scheduler
//! for no longer than a turn. State of a family lives in an extension of the machine.

mod args;
mod atomics;
mod atoms;
mod backtrace;
mod binaries;
mod binary_module;
mod census;
mod checksums;
mod code;
mod counters;
mod crash_dump;
mod debug;
mod dictionary;
mod error;
mod ets;
mod flat_size;
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
pub mod processors;
mod records;
mod regex;
mod sequential;
mod statistics;
mod system;
mod system_info;
mod system_monitor;
mod system_text;
mod terms;
#[cfg(test)]
mod testing;
mod time;
mod timers;
mod topology;
mod trace;
mod trace_session;
mod tuples;
mod unicode;

pub use code::pre_loaded;

/// Readies the machine-wide state of the built-ins. `erts` is the version of OTP's runtime system,
/// as the libraries that run have it.
pub fn register(vm: &'static swarmrt_machine::Vm, erts: &str) {
    let _ = vm.extension::<system_info::ErtsVersion>().0.set(erts.to_owned());
    let _ = vm.spawn_options.set(process::remote_spawn_options);
    let _ = vm.referred_nodes.set(census::nodes);
    vm.set_inspector(&crash_dump::Inspector);
    ets::register(vm);
    timers::register(vm);
}
