//! Registered names.

use super::{TRUE, as_name};
use swarmrt_machine::vm::NameRefused;
use swarmrt_machine::{BifExit, BifResult, Process, bif, signal};
use swarmrt_term::{Alloc, Term, am, atom};

/// Why a name is not given, as the explanation of the error has it.
fn refused(why: NameRefused) -> BifExit {
    BifExit::Caused(match why {
        NameRefused::Taken | NameRefused::Closed => am::NONE,
        NameRefused::HasName => atom!("registered_name"),
    })
}

#[bif("erlang:register/2")]
fn register(p: &mut Process, name: Term, object: Term) -> BifResult {
    const NOT_EXPLAINED: BifExit = BifExit::Caused(am::NONE);
    let name = as_name(name).ok_or(NOT_EXPLAINED)?;
    if object.is_port() {
        crate::ports::register_port(p, name, object).map_err(refused)?;
        return Ok(TRUE);
    }
    let pid = object.as_pid().ok_or(NOT_EXPLAINED)?;
    let vm = p.vm;
    if pid == p.id() {
        vm.names.register(name, object).map_err(refused)?;
        p.registered = Some(name);
        p.trace_procs("register", Term::atom(name));
        return Ok(TRUE);
    }
    if vm.processes.get(pid).is_none() {
        return Err(BifExit::Caused(atom!("notalive")));
    }
    vm.names.register(name, object).map_err(refused)?;
    signal::send_call(
        vm,
        pid,
        Box::new(move |vm, process| match process {
            Some(process) if process.registered.is_none() => {
                process.registered = Some(name);
                process.trace_procs("register", Term::atom(name));
            }
            _ => {
                vm.names.unregister(name);
            }
        }),
    );
    Ok(TRUE)
}

#[bif("erlang:unregister/1")]
fn unregister(p: &mut Process, name: Term) -> BifResult {
    let name = as_name(name).ok_or(BifExit::BADARG)?;
    let object = p.vm.names.unregister(name).ok_or(BifExit::BADARG)?;
    if object == p.pid() {
        p.registered = None;
        p.trace_procs("unregister", Term::atom(name));
    } else if let Some(pid) = object.as_pid() {
        signal::send_call(
            p.vm,
            pid,
            Box::new(move |_, process| {
                if let Some(process) = process
                    && process.registered == Some(name)
                {
                    process.registered = None;
                    process.trace_procs("unregister", Term::atom(name));
                }
            }),
        );
    } else if object.is_port() {
        crate::ports::unregister_port(p, object);
    }
    Ok(TRUE)
}

#[bif("erlang:whereis/1")]
fn whereis(p: &mut Process, name: Term) -> BifResult {
    let name = name.as_atom().ok_or(BifExit::BADARG)?;
    Ok(p.vm.names.whereis(name).unwrap_or(Term::atom(am::UNDEFINED)))
}

#[bif("erlang:registered/0")]
fn registered(p: &mut Process) -> BifResult {
    let names: Vec<Term> = p.vm.names.all().into_iter().map(Term::atom).collect();
    Ok(p.list(&names))
}
