//! Trace sessions (OTP 27 and later): making and ending them, and tracing processes in one.
//!
//! A process has one tracer here: while one session traces it, another gets `badarg`. Calls are not
//! traced in sessions either.

use crate::trace::trace_in_session;
use parking_lot::Mutex;
use std::sync::Arc;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, Term, atom};

/// A session that has not been destroyed.
struct Session {
    name: Atom,
    number: i64,
    tracer: u64,
}

/// The names and numbers of the sessions, the oldest first.
#[derive(Default)]
struct Sessions {
    active: Mutex<(i64, Vec<(Atom, i64)>)>,
}

fn sessions(vm: &Vm) -> &'static Sessions {
    vm.extension::<Sessions>()
}

fn handles(vm: &Vm) -> &'static Resources<Session> {
    vm.extension::<Resources<Session>>()
}

/// The reference in `{Ref, {Name, Number}}`.
fn reference_of(session: Term) -> Option<Term> {
    session.as_tuple().filter(|pair| pair.arity() == 2).map(|pair| pair.get(0))
}

#[bif("erts_internal:trace_session_create/3", since = 27)]
fn trace_session_create(p: &mut Process, name: Term, tracer: Term, options: Term) -> BifResult {
    let name = name.as_atom().ok_or(BifExit::BADARG)?;
    // Ports and modules as tracers need the tracing of calls.
    let tracer = tracer.as_pid().filter(|&tracer| p.vm.processes.get(tracer).is_some());
    let tracer = tracer.filter(|_| options.is_nil()).ok_or(BifExit::BADARG)?;
    let number = {
        let mut active = sessions(p.vm).active.lock();
        let number = active.0;
        active.0 += 1;
        active.1.push((name, number));
        number
    };
    let session = Arc::new(Session { name, number, tracer });
    let reference = handles(p.vm).add(p, session);
    let weak = p.tuple(&[Term::atom(name), Term::small(number)]);
    Ok(p.tuple(&[reference, weak]))
}

/// Whether it was active. Afterwards its tracer traces nothing.
#[bif("erts_internal:trace_session_destroy/1", since = 27)]
fn trace_session_destroy(p: &mut Process, session: Term) -> BifResult {
    let bad = || BifExit::Caused(atom!("badopt"));
    let reference = reference_of(session).ok_or_else(bad)?;
    let Some(removed) = handles(p.vm).remove(reference) else {
        let was_one = handles(p.vm).stood_for(reference);
        return if was_one { Ok(Term::bool(false)) } else { Err(bad()) };
    };
    let key = (removed.name, removed.number);
    sessions(p.vm).active.lock().1.retain(|&other| other != key);
    let tracer = removed.tracer;
    let stop = move |process: &mut Process| {
        if process.trace.tracer == tracer {
            process.trace = Default::default();
        }
    };
    for pid in p.vm.processes.ids() {
        if pid == p.id() {
            stop(p);
            continue;
        }
        let call = move |_: &'static Vm, process: Option<&mut Process>| {
            if let Some(process) = process {
                stop(process);
            }
        };
        signal::send_call(p.vm, pid, Box::new(call));
    }
    Ok(Term::bool(true))
}

#[bif("erts_internal:trace/4", since = 27)]
fn trace(p: &mut Process, session: Term, whom: Term, how: Term, list: Term) -> BifResult {
    let session = reference_of(session).and_then(|reference| handles(p.vm).get(reference));
    let session = session.ok_or_else(|| BifExit::Caused(atom!("session")))?;
    trace_in_session(p, whom, how, list, session.tracer)
}

/// Which sessions there are, for `any`.
#[bif("erts_internal:trace_info/3", since = 27)]
fn trace_info(p: &mut Process, session: Term, whom: Term, item: Term) -> BifResult {
    let any = Term::atom(atom!("any"));
    if session != any {
        return crate::trace::trace_info(p, whom, item);
    }
    if item != Term::atom(atom!("session")) {
        return Err(BifExit::BADARG);
    }
    let legacy = p.tuple(&[Term::atom(atom!("legacy")), Term::atom(atom!("default"))]);
    let active = sessions(p.vm).active.lock().1.clone();
    let tracer = match whom.as_pid() {
        _ if whom == any => None,
        Some(_) => {
            let name = Term::atom(atom!("tracer"));
            let info = crate::trace::trace_info(p, whom, name)?;
            let Some(pair) = info.as_tuple() else { return Ok(info) };
            let Some(tracer) = pair.get(1).as_pid() else {
                return Ok(p.tuple(&[item, Term::NIL]));
            };
            Some(tracer)
        }
        None => return Err(BifExit::BADARG),
    };
    let mut list = if whom == any { p.list(&[legacy]) } else { Term::NIL };
    for (name, number) in active {
        // A session traces with its own tracer only.
        if tracer.is_none()
            || handles(p.vm).any(|session| {
                (session.name, session.number, Some(session.tracer)) == (name, number, tracer)
            })
        {
            let weak = p.tuple(&[Term::atom(name), Term::small(number)]);
            list = p.cons(weak, list);
        }
    }
    if list.is_nil() {
        list = p.list(&[legacy]);
    }
    Ok(p.tuple(&[item, list]))
}

/// No session waits to be cleaned up after: `trace_session_destroy/1` does it at once.
#[bif("erts_trace_cleaner:check/0", since = 27)]
fn check(_p: &mut Process) -> BifResult {
    Ok(Term::bool(false))
}
