//! Trace sessions (OTP 27 and later): making and ending them, and tracing processes in one.
//!
//! Each session has its own settings of every process and of every breakpoint.

use crate::process::ask_as;
use crate::trace::{is_tracer, set_trace_pattern, trace_in_session, trace_info_in, traced_mfa};
use parking_lot::Mutex;
use std::sync::Arc;
use swarmrt_machine::process::trace::LEGACY;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// A session that has not been destroyed.
struct Session {
    name: Atom,
    number: i64,
    /// `None`: as with `erlang:trace/3`, each call names one, or means its caller. OTP's suites make
    /// such sessions, with `undefined`.
    tracer: Option<Term>,
}

// SAFETY: tracers are pids and ports, which are no addresses.
unsafe impl Send for Session {}
// SAFETY: tracers are pids and ports, which are no addresses.
unsafe impl Sync for Session {}

impl Session {
    /// Its number among those of [`Tracing`](swarmrt_machine::process::trace::Tracing).
    fn of_machine(&self) -> u32 {
        // That of `erlang:trace/3` is 0.
        self.number as u32 + 1
    }
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
    let tracer = Some(tracer).filter(|&tracer| tracer != Term::atom(am::UNDEFINED));
    let is_one = |tracer: Term| {
        (tracer.as_pid().is_some() || tracer.as_port().is_some()) && is_tracer(p.vm, tracer)
    };
    if !tracer.is_none_or(is_one) || !options.is_nil() {
        return Err(BifExit::BADARG);
    }
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
    let session = removed.of_machine();
    let stop = move |process: &mut Process| process.trace.end(session);
    p.vm.trace_new.change(|trace| trace.end(session));
    p.vm.port_traces.end_session(session);
    p.vm.end_breakpoints_of(session);
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
        signal::send_look(p.vm, pid, Box::new(call));
    }
    Ok(Term::bool(true))
}

/// The session that a term is the handle of.
fn active(p: &Process, session: Term) -> Result<Arc<Session>, BifExit> {
    let session = reference_of(session).and_then(|reference| handles(p.vm).get(reference));
    session.ok_or_else(|| BifExit::Caused(atom!("session")))
}

#[bif("erts_internal:trace/4", since = 27)]
fn trace(p: &mut Process, session: Term, whom: Term, how: Term, list: Term) -> BifResult {
    let session = active(p, session)?;
    trace_in_session(p, whom, how, list, session.of_machine(), session.tracer)
}

#[bif("erts_internal:trace_pattern/4", since = 27)]
fn trace_pattern(
    p: &mut Process,
    session: Term,
    functions: Term,
    pattern: Term,
    options: Term,
) -> BifResult {
    let session = active(p, session)?;
    let (number, tracer) = (session.of_machine(), session.tracer);
    set_trace_pattern(p, number, tracer, functions, pattern, options)
}

/// As `trace_info/2`, in a session; of `any`, in which sessions something is traced.
#[bif("erts_internal:trace_info/3", since = 27)]
fn trace_info(p: &mut Process, session: Term, whom: Term, item: Term) -> BifResult {
    let any = Term::atom(atom!("any"));
    if session != any {
        let session = active(p, session)?.of_machine();
        return trace_info_in(p, session, whom, item);
    }
    if item != Term::atom(atom!("session")) {
        return Err(BifExit::BADARG);
    }
    let numbers: Option<Vec<u32>> = if whom == any {
        None
    } else if let Some(pid) = whom.as_pid() {
        let numbers = sessions_of(p, pid)?;
        if numbers == Term::atom(am::UNDEFINED) {
            return Ok(p.tuple(&[item, numbers]));
        }
        let numbers = numbers.list_to_vec().unwrap_or_default();
        Some(numbers.iter().filter_map(|number| number.as_small()).map(|n| n as u32).collect())
    } else {
        let mfa = traced_mfa(whom).ok_or(BifExit::BADARG)?;
        let found = p.vm.export_breakpoint_of(mfa).into_iter().chain(p.vm.breakpoint_of(mfa));
        Some(found.flat_map(|known| known.points().to_vec()).map(|point| point.session).collect())
    };
    let is_meant = |number: u32| numbers.as_ref().is_none_or(|numbers| numbers.contains(&number));
    let active = sessions(p.vm).active.lock().1.clone();
    let mut list = Term::NIL;
    if is_meant(LEGACY) {
        let legacy = p.tuple(&[Term::atom(atom!("legacy")), Term::atom(atom!("default"))]);
        list = p.list(&[legacy]);
    }
    for (name, number) in active {
        if is_meant(number as u32 + 1) {
            let weak = p.tuple(&[Term::atom(name), Term::small(number)]);
            list = p.cons(weak, list);
        }
    }
    Ok(p.tuple(&[item, list]))
}

/// The numbers of the sessions that trace a process.
fn sessions_of(p: &mut Process, pid: u64) -> BifResult {
    let numbers = |process: &Process| -> Vec<Term> {
        let sessions = process.trace.sessions().iter();
        sessions.map(|tracing| Term::small(i64::from(tracing.session))).collect()
    };
    if pid == p.id() {
        let numbers = numbers(p);
        return Ok(p.list(&numbers));
    }
    let question = move |process: &mut Process, heap: &mut FragmentHeap| {
        let numbers = numbers(process);
        heap.list(&numbers)
    };
    ask_as(p, pid, signal::send_look, question, Term::atom(am::UNDEFINED))
}

/// No session waits to be cleaned up after: `trace_session_destroy/1` does it at once.
#[bif("erts_trace_cleaner:check/0", since = 27)]
fn check(_p: &mut Process) -> BifResult {
    Ok(Term::bool(false))
}
