//! Files, ports and terminals: what Erlang code reaches outside the machine.
//!
//! Invariants: knows nothing of other built-ins or of engines. Calls that can block are dirty.

mod break_menu;
mod c_memory;
pub mod file;
mod filename;
mod os_signal;
pub mod port;
pub mod posix;
mod prim_buffer;
mod prim_tty;
mod terminfo;
mod zlib;
mod zstd;

use swarmrt_term::Release;

pub use filename::name_bytes;
pub use os_signal::{Interrupt, handle as handle_os_signals};

/// Readies the machine-wide state of files and ports.
pub fn register(vm: &'static swarmrt_machine::Vm) {
    vm.add_exit_hook(file::close_files_of);
    if vm.release() >= Release::R26 {
        vm.add_exit_hook(prim_tty::forget_owner);
    }
    vm.set_ports(Box::new(port::Host));
}
