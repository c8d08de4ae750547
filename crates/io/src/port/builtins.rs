//! The built-ins on ports.

use super::driver::{DriverFactory, Request, Started, Written};
use super::options::{Options, Source, parse_name};
use super::{FragmentHeapTerm, Port, Ports, descriptors, io_parts, iodata, program, ram_file, tty};
use std::sync::Arc;
use swarmrt_machine::process::REDUCTIONS_PER_TURN;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::etf::{self, DecodeOptions, EncodeOptions};
use swarmrt_term::node::is_own_port;
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom};

const TRUE: Term = Term::atom(am::TRUE);
const BADARG: Term = Term::atom(am::BADARG);

/// A port given by itself or by its name.
fn find(p: &Process, port: Term) -> Option<Arc<Port>> {
    let port = match port.as_atom() {
        Some(name) => p.vm.names.whereis(name)?,
        None => port,
    };
    Ports::of(p.vm).get(port)
}

/// What `erlang:port_info(Port, name)` says of a port of this source.
fn title_of(source: &Source) -> String {
    match source {
        Source::Descriptors { input, output } => format!("{input}/{output}"),
        Source::Command(line) | Source::Driver(line) => line.clone(),
        Source::Executable(path) | Source::File(path) => path.to_string_lossy().into_owned(),
    }
}

/// The driver that a source means. One may stand for a program of OTP's, whose path comes first in
/// a command line.
fn driver_of(p: &Process, source: &Source) -> Option<DriverFactory> {
    let named =
        |program: &str| Ports::of(p.vm).driver(program.rsplit('/').next().unwrap_or_default());
    match source {
        Source::Command(line) | Source::Driver(line) => {
            named(line.trim_start_matches('"').split([' ', '"']).next().unwrap_or_default())
        }
        Source::Executable(path) => path.to_str().and_then(named),
        Source::Descriptors { .. } | Source::File(_) => None,
    }
}

#[bif("erts_internal:open_port/2")]
fn open_port(p: &mut Process, name: Term, settings: Term) -> BifResult {
    let Some(options) = Options::parse(settings) else { return Ok(Term::atom(atom!("badopt"))) };
    // Until OTP 26 a name alone is a file.
    let is_name = name.is_atom() || name.is_cons();
    if is_name && p.vm.release() >= Release::R27 {
        return Ok(BADARG);
    }
    let Some(source) = parse_name(name) else { return Ok(BADARG) };
    // A command line has its arguments within.
    if matches!(source, Source::Command(_))
        && options
            .program
            .as_ref()
            .is_some_and(|program| program.has_arguments || program.argument0.is_some())
    {
        return Ok(BADARG);
    }
    if Ports::of(p.vm).count() >= p.vm.config.ports_max {
        return Ok(Term::atom(am::SYSTEM_LIMIT));
    }
    if let Source::Command(line) | Source::Driver(line) = &source
        && let Some(linked_in) =
            Ports::of(p.vm).linked_in(line.split(' ').next().unwrap_or_default())
    {
        return Ok(match linked_in.start(p.vm, p.id(), line.clone(), options) {
            Started::Port(port) => {
                p.relations.link(port.term);
                port.term
            }
            Started::Later(port, reference) => {
                p.relations.link(port.term);
                reference.to_term(&mut p.heap)
            }
            Started::Refused(Some(problem)) => Term::atom(Atom::new(crate::posix::name(problem))),
            Started::Refused(None) => BADARG,
        });
    }
    let title = title_of(&source);
    let opened = match &source {
        _ if let Some(factory) = driver_of(p, &source) => {
            Ok(Ports::of(p.vm).open(p.vm, p.id(), title, options, None, factory(p.vm)))
        }
        Source::Command(line) | Source::Driver(line) if tty::is_meant(line) => {
            tty::open(p.vm, p.id(), title, options)
        }
        Source::Command(line) | Source::Driver(line) if ram_file::is_meant(line) => Ok(Ports::of(
            p.vm,
        )
        .open(p.vm, p.id(), title, options, None, Arc::new(ram_file::RamFileDriver::default()))),
        Source::Driver(_) => return Ok(BADARG),
        Source::Command(_) | Source::Executable(_) => {
            program::open(p.vm, p.id(), &source, title, options)
        }
        Source::Descriptors { .. } | Source::File(_) => {
            descriptors::open(p.vm, p.id(), &source, title, options)
        }
    };
    Ok(match opened {
        Ok(port) => {
            p.relations.link(port.term);
            port.term
        }
        // Drivers do not say what is wrong with a file or descriptor.
        Err(_) if matches!(source, Source::File(_) | Source::Descriptors { .. }) => {
            Term::atom(atom!("einval"))
        }
        Err(problem) => {
            Term::atom(Atom::new(problem.raw_os_error().map_or("einval", crate::posix::name)))
        }
    })
}

/// Takes from the process's turn what the driver's callbacks say that they have used of it.
fn pay(p: &mut Process) {
    let percent = super::driver::take_consumed();
    if percent > 0 {
        p.bump_reductions(REDUCTIONS_PER_TURN as usize * percent / 100);
    }
}

#[bif("erts_internal:port_command/3")]
fn port_command(p: &mut Process, port: Term, data: Term, flags: Term) -> BifResult {
    let known = |flag: &Term| {
        flag.as_atom().is_some_and(|flag| matches!(flag.name(), "force" | "nosuspend"))
    };
    if !flags.list_to_vec().is_some_and(|flags| flags.iter().all(known)) {
        return Ok(Term::atom(atom!("badopt")));
    }
    let Some(port) = find(p, port) else { return Ok(BADARG) };
    let given = |name: &str| {
        flags
            .list_to_vec()
            .unwrap_or_default()
            .iter()
            .any(|flag| flag.as_atom().is_some_and(|flag| flag.name() == name))
    };
    // Few drivers take more than they want to.
    if given("force") && !port.driver.takes_force() {
        return Ok(Term::atom(atom!("notsup")));
    }
    if port.driver.is_busy() {
        if given("nosuspend") {
            return Ok(Term::atom(am::FALSE));
        }
        if !given("force") && port.suspends_now() {
            port.suspend(p);
            return Err(BifExit::Yield);
        }
    }
    let Some(mut parts) = io_parts(data) else {
        let name = p.string(&port.name);
        swarmrt_machine::process::exception::log(
            p.vm,
            p.pid(),
            p.group_leader,
            "Bad value on output port '~ts'~n~n",
            &[name],
        );
        return Ok(BADARG);
    };
    p.bump_reductions(parts.iter().map(|part| part.bytes().len()).sum::<usize>() / 100);
    let written = Vm::in_port(p, port.term, "command", |p| {
        p.vm.trace_port_receives(port.term, p.id(), |heap| {
            let command = heap.tuple(&[Term::atom(am::COMMAND), data]);
            super::shown_command(heap, command)
        });
        port.write(p.vm, p.id(), &mut parts)
    });
    pay(p);
    Ok(if written == Written::Done { TRUE } else { BADARG })
}

#[bif("erts_internal:port_close/1")]
fn port_close(p: &mut Process, port: Term) -> BifResult {
    let Some(port) = find(p, port) else { return Ok(BADARG) };
    Vm::in_port(p, port.term, "close", |p| {
        p.vm.trace_port_receives(port.term, p.id(), |_| Term::atom(am::CLOSE));
        port.close(p.vm, Term::atom(am::NORMAL));
    });
    Ok(TRUE)
}

#[bif("erts_internal:port_connect/2")]
fn port_connect(p: &mut Process, port: Term, owner: Term) -> BifResult {
    let (Some(port), Some(owner)) = (find(p, port), owner.as_pid()) else { return Ok(BADARG) };
    let term = port.term;
    Vm::in_port(p, term, "connect", |p| {
        port.state.lock().owner = owner;
        let is_new = port.state.lock().links.insert(owner, ()).is_none();
        if is_new {
            p.vm.trace_port_event(term, "getting_linked", &[Term::pid(owner)]);
        }
        p.vm.trace_port_receives(term, p.id(), |heap| {
            heap.tuple(&[Term::atom(am::CONNECT), Term::pid(owner)])
        });
    });
    swarmrt_machine::signal::send_call(
        p.vm,
        owner,
        Box::new(move |_, process| {
            if let Some(process) = process {
                process.relations.link(term);
            }
        }),
    );
    Ok(TRUE)
}

#[bif("erts_internal:port_control/3")]
fn port_control(p: &mut Process, port: Term, operation: Term, data: Term) -> BifResult {
    let answer = find(p, port).and_then(|port| {
        Vm::in_port(p, port.term, "control", |p| {
            p.vm.trace_port_receives(port.term, p.id(), |heap| {
                let what = heap.tuple(&[operation, data]);
                heap.tuple(&[Term::atom(atom!("control")), what])
            });
            let operation = u64::try_from(operation.as_small()?).ok()?;
            port.driver.control(
                &Request { vm: p.vm, port: &port, from: p.id() },
                operation,
                &iodata(data)?,
            )
        })
    });
    pay(p);
    Ok(answer.map_or(BADARG, |answer| answer.to_term(p)))
}

#[bif("erts_internal:port_call/3")]
fn port_call(p: &mut Process, port: Term, operation: Term, data: Term) -> BifResult {
    let Some(port) = find(p, port) else { return Ok(BADARG) };
    let Some(operation) = operation.as_small().and_then(|operation| u64::try_from(operation).ok())
    else {
        return Ok(BADARG);
    };
    let data = etf::encode(data, &EncodeOptions::default());
    let answer = Vm::in_port(p, port.term, "call", |p| {
        port.driver.call(&Request { vm: p.vm, port: &port, from: p.id() }, operation, &data)
    });
    let Some(answer) = answer else { return Ok(BADARG) };
    let resolver = p.vm.code.term_resolver();
    match etf::decode(&answer, &mut p.heap, &resolver, DecodeOptions::default()) {
        Ok((term, _)) => {
            let ok = Term::atom(am::OK);
            Ok(p.tuple(&[ok, term]))
        }
        Err(_) => Ok(BADARG),
    }
}

#[bif("erlang:ports/0")]
fn ports(p: &mut Process) -> BifResult {
    let ports = Ports::of(p.vm).all();
    Ok(p.list(&ports))
}

/// What the driver knows. It has locks of its own and takes the port's within them, so the port is
/// not locked here.
fn driver_info(p: &mut Process, port: &Port, item: &str) -> Option<Term> {
    Some(match item {
        "monitors" => {
            let monitored: Vec<Term> = port.driver.monitored().into_iter().map(Term::pid).collect();
            let kind = Term::atom(atom!("process"));
            let pairs: Vec<Term> = monitored.into_iter().map(|pid| p.tuple(&[kind, pid])).collect();
            p.list(&pairs)
        }
        "os_pid" => port
            .driver
            .os_pid()
            .or(port.os_pid)
            .map_or(Term::atom(am::UNDEFINED), |pid| Term::small(i64::from(pid))),
        "queue_size" => p.uint(port.driver.queued_bytes() as u64),
        _ => return None,
    })
}

fn info(p: &mut Process, port: &Port, item: &str) -> Option<Term> {
    let value = if let Some(value) = driver_info(p, port, item) {
        value
    } else {
        let state = port.state.lock();
        match item {
            "registered_name" => {
                return Some(state.registered.map_or(Term::NIL, |name| {
                    p.tuple(&[Term::atom(am::REGISTERED_NAME), Term::atom(name)])
                }));
            }
            "connected" => Term::pid(state.owner),
            "links" => {
                let links: Vec<Term> = state.links.keys().map(Term::pid).collect();
                p.list(&links)
            }
            "monitored_by" => {
                let pids: Vec<Term> = state.monitors.values().map(|&pid| Term::pid(pid)).collect();
                p.list(&pids)
            }
            "id" => Term::small(port.term.as_port()? as i64),
            "name" => p.string(&port.name),
            "input" => p.uint(state.input_bytes),
            "output" => p.uint(state.output_bytes),
            "parallelism" => Term::bool(port.options.parallelism),
            "locking" => Term::atom(atom!("port_level")),
            "memory" => Term::small(0),
            _ => return None,
        }
    };
    Some(p.tuple(&[Term::atom(Atom::new(item)), value]))
}

#[bif("erts_internal:port_info/1")]
fn port_info_1(p: &mut Process, port: Term) -> BifResult {
    if !is_own_port(port) && !port.is_atom() {
        return Ok(BADARG);
    }
    let Some(port) = find(p, port) else { return Ok(Term::atom(am::UNDEFINED)) };
    let mut items = Vec::new();
    Vm::in_port(p, port.term, "info", |p| {
        for item in
            ["registered_name", "name", "links", "id", "connected", "input", "output", "os_pid"]
        {
            items.extend(info(p, &port, item).filter(|value| !value.is_nil()));
        }
    });
    Ok(p.list(&items))
}

#[bif("erts_internal:port_info/2")]
fn port_info_2(p: &mut Process, port: Term, item: Term) -> BifResult {
    if !is_own_port(port) && !port.is_atom() {
        return Ok(Term::atom(atom!("badtype")));
    }
    let Some(port) = find(p, port) else { return Ok(Term::atom(am::UNDEFINED)) };
    let Some(item) = item.as_atom() else { return Ok(BADARG) };
    let found = Vm::in_port(p, port.term, "info", |p| info(p, &port, item.name()));
    Ok(found.unwrap_or(BADARG))
}

#[bif("erlang:port_set_data/2")]
fn port_set_data(p: &mut Process, port: Term, data: Term) -> BifResult {
    let port = find(p, port).ok_or(BifExit::BADARG)?;
    port.state.lock().data = Some(FragmentHeapTerm::of(data));
    Ok(TRUE)
}
#[bif("erlang:port_get_data/1")]
fn port_get_data(p: &mut Process, port: Term) -> BifResult {
    let port = find(p, port).ok_or(BifExit::BADARG)?;
    let state = port.state.lock();
    match &state.data {
        Some(data) => Ok(swarmrt_heap::copy_term(data.term, &mut p.heap)),
        None => Err(BifExit::BADARG),
    }
}
