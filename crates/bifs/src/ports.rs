//! What process built-ins do to ports, through the machine's
//! [`PortHost`](swarmrt_machine::vm::ports::PortHost).

use crate::process::{MonitorOptions, monitor_ref};
use swarmrt_machine::process::links::{Monitor, Tag, Watched};
use swarmrt_machine::vm::NameRefused;
use swarmrt_machine::{BifExit, BifResult, Process, signal};
use swarmrt_term::{Alloc, Atom, Term, am};

const TRUE: Term = Term::atom(am::TRUE);

/// `exit(Port, Reason)`.
pub fn exit_port(p: &mut Process, port: Term, reason: Term) -> BifResult {
    if let Some(ports) = p.vm.ports() {
        ports.exit(p.vm, p.pid(), port, reason, false);
    }
    Ok(TRUE)
}

/// `link(Port)`. Where there is no such port, the process gets the message `{'EXIT', Port, noproc}`
/// if it traps exits, or else the error `noproc`.
pub fn link_port(p: &mut Process, port: Term) -> BifResult {
    let linked = p.vm.ports().is_some_and(|ports| ports.link(p.vm, p.id(), port));
    if linked {
        p.relations.link(port);
        return Ok(TRUE);
    }
    if p.trap_exit {
        let message = p.tuple(&[Term::atom(am::CAP_EXIT), port, Term::atom(am::NOPROC)]);
        signal::send_message(p.vm, port, p.id(), message);
        return Ok(TRUE);
    }
    Err(BifExit::Error(Term::atom(am::NOPROC)))
}

/// `unlink(Port)`.
pub fn unlink_port(p: &mut Process, port: Term) -> BifResult {
    if p.relations.unlink(port)
        && let Some(ports) = p.vm.ports()
    {
        ports.unlink(p.vm, p.id(), port);
    }
    Ok(TRUE)
}

/// `monitor(port, Port)`; `name` is set where the port was given by it. Returns the reference.
pub fn monitor_port(
    p: &mut Process,
    port: Term,
    name: Option<Atom>,
    options: MonitorOptions,
) -> BifResult {
    let reference = monitor_ref(p, options.alias);
    let number = port.as_port().unwrap_or(u64::MAX);
    let (tag, priority) = (options.tag.map(Tag::new), options.priority);
    let monitor =
        Monitor { reference, watched: Watched::Port { port: number, name }, tag, priority };
    p.relations.monitors.insert(reference.id, monitor);
    let alive = p.vm.ports().is_some_and(|ports| ports.monitor(p.vm, p.id(), port, reference));
    if !alive {
        signal::send_down(p.vm, Term::NONE, p.id(), reference.id, Term::atom(am::NOPROC));
    }
    Ok(reference.to_term(&mut p.heap))
}

/// Tells a port that a monitor is gone; the process has forgotten it already. Both are numbers of
/// terms.
pub fn demonitor_port(p: &mut Process, port: u64, reference: u64) {
    if let Some(ports) = p.vm.ports() {
        ports.demonitor(p.vm, Term::port(port), reference);
    }
}

/// `register(Name, Port)`.
pub fn register_port(p: &mut Process, name: Atom, port: Term) -> Result<(), NameRefused> {
    let ports = p.vm.ports().ok_or(NameRefused::Closed)?;
    p.vm.names.register(name, port)?;
    if !ports.set_name(p.vm, port, Some(name)) {
        p.vm.names.unregister(name);
        return Err(NameRefused::Closed);
    }
    Ok(())
}

/// The port has lost its name; the register of names has forgotten it already.
pub fn unregister_port(p: &mut Process, port: Term) {
    if let Some(ports) = p.vm.ports() {
        ports.set_name(p.vm, port, None);
    }
}
