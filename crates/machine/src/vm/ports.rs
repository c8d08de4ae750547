//! Ports, as processes see them: what the crate that keeps them has to provide.

use crate::process::Process;
use crate::process::links::RefValue;
use crate::signal::address::Delivery;
use crate::signal::remote::{Busy, SharedChannel};
use crate::vm::Vm;
use std::time::Duration;
use swarmrt_term::{Atom, Term};

/// Ports that can be open at a time where nothing else is said (`+Q`), as in OTP.
pub const PORTS_MAX: usize = 65_536;

/// Keeps the ports of a machine. All ports are named by their terms; unknown ones are gone.
pub trait PortHost: Send + Sync {
    /// `Port ! Message`: {Owner, {command, Data}}, {Owner, close}, {Owner, {connect, Pid}}.
    fn send(&self, vm: &'static Vm, from: Term, port: Term, message: Term);
    /// As [`send`](Self::send), by a process, which may have to wait where the port is busy.
    fn send_by(&self, p: &mut Process, port: Term, message: Term, busy: Busy) -> Delivery;
    /// All open ports.
    fn all(&self, vm: &'static Vm) -> Vec<Term>;
    /// Whether there is an open port of that name.
    fn is_open(&self, vm: &'static Vm, port: Term) -> bool;
    /// Writes bytes to a port as its owner. `false` when it is gone.
    fn command(&self, vm: &'static Vm, port: Term, bytes: &[u8]) -> bool;
    /// Links a process with a port. `false` when the port is gone.
    fn link(&self, vm: &'static Vm, pid: u64, port: Term) -> bool;
    /// Removes the link between a process and a port, if there is one.
    fn unlink(&self, vm: &'static Vm, pid: u64, port: Term);
    /// An exit signal to a port, from `exit/2` or from a linked process.
    fn exit(&self, vm: &'static Vm, from: Term, port: Term, reason: Term, linked: bool);
    /// Monitors a port; the owner gets a `Down` signal with the reference's number when it is gone.
    /// `false` when it is gone already.
    fn monitor(&self, vm: &'static Vm, pid: u64, port: Term, reference: RefValue) -> bool;
    /// Removes the port's monitor with the reference's number, if there is one.
    fn demonitor(&self, vm: &'static Vm, port: Term, reference: u64);
    /// Ends all ports, of a machine that is freed.
    fn close_all(&self, vm: &'static Vm);
    /// The number that the next port gets, or the next after `from`, which it is to follow: for
    /// tests of what happens when numbers begin anew.
    fn next_number(&self, vm: &'static Vm, from: Option<u64>) -> u64;
    /// Ports that are open.
    fn count(&self, vm: &'static Vm) -> usize;
    /// Waits until what processes have written is out; called before the machine halts. Gives up
    /// when nothing of it has gone out for as long as `patience`, if there is such a limit.
    fn flush(&self, vm: &'static Vm, patience: Option<Duration>);
    /// A section for each open port, in the form of OTP's crash dumps.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn describe(&self, vm: &'static Vm, out: &mut dyn std::io::Write) -> std::io::Result<()>;
    /// Notes the name that the port was registered under (or none any more). `false` when it is
    /// gone.
    fn set_name(&self, vm: &'static Vm, port: Term, name: Option<Atom>) -> bool;
    /// Has a port feed a connection to another node from now on, and be fed by it. `false` when it
    /// cannot.
    fn attach(&self, vm: &'static Vm, port: Term, channel: SharedChannel) -> bool;
    /// There is something to be written on a port's connection.
    fn channel_filled(&self, vm: &'static Vm, port: Term);
    /// Ends a port with a reason.
    fn close(&self, vm: &'static Vm, port: Term, reason: Term);
}
