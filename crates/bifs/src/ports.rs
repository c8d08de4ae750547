//! What process built-ins do to ports, through whoever keeps them.

use swarmrt_machine::links::{AliasMode, Monitor, Tag, Watched};
use swarmrt_machine::{BifResult, Process, Raise, signal};
use swarmrt_term::{Atom, Term, am};

const TRUE: Term = Term::atom(am::TRUE);

pub fn send_to_port(p: &mut Process, port: Term, message: Term) {
    if let Some(ports) = p.vm.ports() {
        ports.send(p.vm, p.pid(), port, message);
    }
}

pub fn exit_port(p: &mut Process, port: Term, reason: Term) -> BifResult {
    if let Some(ports) = p.vm.ports() {
        ports.exit(p.vm, p.pid(), port, reason, false);
    }
    Ok(TRUE)
}

pub fn link_port(p: &mut Process, port: Term) -> BifResult {
    let linked = p.vm.ports().is_some_and(|ports| ports.link(p.vm, p.id(), port));
    if linked {
        p.relations.link(port);
        return Ok(TRUE);
    }
    Err(Raise::Error(Term::atom(am::NOPROC)))
}

pub fn unlink_port(p: &mut Process, port: Term) -> BifResult {
    if p.relations.unlink(port)
        && let Some(ports) = p.vm.ports()
    {
        ports.unlink(p.vm, p.id(), port);
    }
    Ok(TRUE)
}

pub fn monitor_port(p: &mut Process, port: Term, alias: Option<AliasMode>, tag: Option<Term>) -> BifResult {
    let reference = match alias {
        Some(mode) => {
            let value = p.vm.next_alias(p.id());
            p.relations.aliases.insert(value.id, mode);
            value
        }
        None => p.vm.next_ref(),
    };
    let number = port.as_port().unwrap_or(u64::MAX);
    p.relations.monitors.insert(reference.id, Monitor { reference, watched: Watched::Port(number), tag: tag.map(Tag::new) });
    let alive = p.vm.ports().is_some_and(|ports| ports.monitor(p.vm, p.id(), port, reference));
    if !alive {
        signal::send_down(p.vm, Term::NONE, p.id(), reference.id, Term::atom(am::NOPROC));
    }
    Ok(reference.to_term(&mut p.heap))
}

pub fn demonitor_port(p: &mut Process, port: u64, reference: u64) {
    if let Some(ports) = p.vm.ports() {
        ports.demonitor(p.vm, Term::port(port), reference);
    }
}

pub fn register_port(p: &mut Process, name: Atom, port: Term) -> bool {
    let Some(ports) = p.vm.ports() else { return false };
    if !p.vm.names.register(name, port) {
        return false;
    }
    if !ports.set_name(p.vm, port, Some(name)) {
        p.vm.names.unregister(name);
        return false;
    }
    true
}

pub fn unregister_port(p: &mut Process, port: Term) {
    if let Some(ports) = p.vm.ports() {
        ports.set_name(p.vm, port, None);
    }
}
