//! Distribution: connections to other nodes, as OTP's `net_kernel` and its carriers
//! (`inet_tcp_dist`, `inet_tls_dist`) set them up, and the signals that go over them.
//!
//! Invariants: knows nothing of sockets (a port or a process feeds a connection), of other
//! built-ins or of engines. What a peer sends is untrusted: it is refused, and the connection
//! closed, rather than believed.
//!
//! - [`node`]: another node and the connection to it, [`output`]: what waits to be written;
//! - [`atoms`]: the atom cache, [`packet`]: heads and fragments, [`control`]: control messages;
//! - [`input`]: what the peer's messages do here;
//! - [`nodes`]: the table of nodes, being alive, who follows changes;
//! - [`built_ins`].

mod atoms;
mod built_ins;
mod control;
mod flags;
mod follow;
mod host;
mod input;
mod node;
mod nodes;
mod output;
mod packet;

use swarmrt_machine::Vm;

/// Makes distribution known to the machine.
pub fn register(vm: &'static Vm) {
    vm.set_remote(Box::new(host::Host { vm }));
}
