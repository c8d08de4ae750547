//! The network: the `inet` drivers and the resolver, on which OTP's `gen_tcp`, `gen_udp` and `inet`
//! stand, and the native side of `socket` and `net`.
//!
//! Invariants: knows `io`'s drivers and poller, and nothing of files, of other built-ins or of
//! engines. Nothing here blocks: what cannot be done at once is done when the poller says so.

mod gethost;
mod inet;
mod netns;
mod socket;

use swarmrt_io::port::Ports;

/// Makes the drivers known.
pub fn register(vm: &'static swarmrt_machine::Vm) {
    Ports::of(vm).add_driver("tcp_inet", inet::tcp);
    Ports::of(vm).add_driver("udp_inet", inet::udp);
    Ports::of(vm).add_driver("inet_gethost", gethost::driver);
}
