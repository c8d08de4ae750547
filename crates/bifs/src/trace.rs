//! `erlang:trace/3`, `trace_info/2`, `trace_delivered/1`: the tracing of processes.
//!
//! Calls and ports are not traced: the flags for them are refused with `badarg`, and
//! `trace_pattern` does not exist.

use crate::args::{list_of, pair_of};
use crate::process::ask;
use swarmrt_machine::process::trace::{Trace, flags};
use swarmrt_machine::{BifExit, BifResult, Process, bif, signal};
use swarmrt_term::{Alloc, Atom, Mfa, Term, am, atom};

const FLAGS: [(&str, u32); 13] = [
    ("send", flags::SEND),
    ("receive", flags::RECEIVE),
    ("procs", flags::PROCS),
    ("running", flags::RUNNING),
    ("exiting", flags::EXITING),
    ("garbage_collection", flags::GARBAGE_COLLECTION),
    ("set_on_spawn", flags::SET_ON_SPAWN),
    ("set_on_first_spawn", flags::SET_ON_FIRST_SPAWN),
    ("set_on_link", flags::SET_ON_LINK),
    ("set_on_first_link", flags::SET_ON_FIRST_LINK),
    ("timestamp", flags::TIMESTAMP),
    ("monotonic_timestamp", flags::MONOTONIC_TIMESTAMP),
    ("strict_monotonic_timestamp", flags::STRICT_MONOTONIC_TIMESTAMP),
];

/// The flags of a list, and the tracer if one is named.
fn parse(list: Term) -> Result<(u32, Option<u64>), BifExit> {
    let (mut wanted, mut tracer) = (0, None);
    for option in list_of(list)? {
        if let Some((key, value)) = pair_of(option) {
            if key != Term::atom(atom!("tracer")) {
                return Err(BifExit::BADARG);
            }
            tracer = Some(value.as_pid().ok_or(BifExit::BADARG)?);
            continue;
        }
        let name = option.as_atom().ok_or(BifExit::BADARG)?;
        wanted |= match FLAGS.into_iter().find(|&(known, _)| known == name.name()) {
            Some((_, flag)) => flag,
            None if name == am::ALL => {
                FLAGS.into_iter().fold(0, |all, (_, flag)| all | flag) & flags::EVENTS
            }
            None if name == atom!("running_procs") => flags::RUNNING,
            None => return Err(BifExit::BADARG),
        };
    }
    Ok((wanted, tracer))
}

/// Sets or clears flags of a process. `false` when somebody else traces it.
fn change(process: &mut Process, on: bool, wanted: u32, tracer: u64) -> bool {
    let now = process.trace;
    if !on {
        let left = now.flags & !wanted;
        process.trace =
            if left & flags::EVENTS == 0 { Trace::default() } else { Trace { flags: left, ..now } };
        return true;
    }
    let other =
        now.flags != 0 && now.tracer != tracer && process.vm.processes.get(now.tracer).is_some();
    if other {
        return false;
    }
    process.trace = Trace { flags: now.flags | wanted, tracer };
    true
}

#[bif("erts_internal:trace/3")]
fn trace(p: &mut Process, whom: Term, how: Term, list: Term) -> BifResult {
    let on = how.as_bool().ok_or(BifExit::BADARG)?;
    let (wanted, named) = parse(list)?;
    let tracer = named.unwrap_or(p.id());
    trace_for(p, whom, on, wanted, tracer)
}

/// As `trace/3`, for the tracer of a session.
pub(crate) fn trace_in_session(
    p: &mut Process,
    whom: Term,
    how: Term,
    list: Term,
    tracer: u64,
) -> BifResult {
    let on = how.as_bool().ok_or(BifExit::BADARG)?;
    match parse(list)? {
        (wanted, None) => trace_for(p, whom, on, wanted, tracer),
        _ => Err(BifExit::BADARG),
    }
}

fn trace_for(p: &mut Process, whom: Term, on: bool, wanted: u32, tracer: u64) -> BifResult {
    if on && p.vm.processes.get(tracer).is_none() {
        return Err(BifExit::BADARG);
    }
    if let Some(pid) = whom.as_pid() {
        return trace_one(p, pid, on, wanted, tracer);
    }
    let whom = whom.as_atom().ok_or(BifExit::BADARG)?;
    let (existing, new) = match whom.name() {
        "all" | "processes" => (true, true),
        "existing" | "existing_processes" => (true, false),
        "new" | "new_processes" => (false, true),
        _ => return Err(BifExit::BADARG),
    };
    if new {
        let now = p.vm.trace_new.get();
        let flags = if on { now.flags | wanted } else { now.flags & !wanted };
        p.vm.trace_new.set(Trace { flags, tracer });
    }
    let mut count = 0;
    if existing {
        for pid in p.vm.processes.ids() {
            if pid == p.id() {
                count += i64::from(change(p, on, wanted, tracer));
            } else if pid != tracer || !on {
                let changing = move |process: Option<&mut Process>| {
                    if let Some(process) = process {
                        change(process, on, wanted, tracer);
                    }
                };
                count += i64::from(signal::send_call(
                    p.vm,
                    pid,
                    Box::new(move |_, process| changing(process)),
                ));
            }
        }
    }
    Ok(Term::small(count))
}

fn trace_one(p: &mut Process, pid: u64, on: bool, wanted: u32, tracer: u64) -> BifResult {
    let changed = if pid == p.id() {
        Term::bool(change(p, on, wanted, tracer))
    } else {
        ask(
            p,
            pid,
            move |process| Term::bool(change(process, on, wanted, tracer)),
            Term::bool(false),
        )?
    };
    if changed == Term::bool(true) { Ok(Term::small(1)) } else { Err(BifExit::BADARG) }
}

/// Trace messages are sent when things happen, so those of what has happened are on their way
/// already.
#[bif("erlang:trace_delivered/1")]
fn trace_delivered(p: &mut Process, tracee: Term) -> BifResult {
    if tracee.as_pid().is_none() && tracee != Term::atom(am::ALL) {
        return Err(BifExit::BADARG);
    }
    let reference = p.make_ref();
    let message = p.tuple(&[Term::atom(atom!("trace_delivered")), tracee, reference]);
    signal::send_message(p.vm, Term::NONE, p.id(), message);
    Ok(reference)
}

/// `trace_info` of a process: its flags, or its tracer.
fn info_of(p: &mut Process, item: Term, trace: Trace) -> BifResult {
    let value = match item.as_atom().map(Atom::name) {
        Some("flags") => {
            let set: Vec<Term> = FLAGS
                .iter()
                .filter(|(_, flag)| trace.flags & flag != 0)
                .map(|(name, _)| Term::atom(Atom::new(name)))
                .collect();
            p.list(&set)
        }
        Some("tracer") if trace.flags == 0 => Term::NIL,
        Some("tracer") => Term::pid(trace.tracer),
        _ => return Err(BifExit::BADARG),
    };
    Ok(p.tuple(&[item, value]))
}

#[bif("erlang:trace_info/2")]
pub(crate) fn trace_info(p: &mut Process, whom: Term, item: Term) -> BifResult {
    if let Some(pid) = whom.as_pid() {
        if !matches!(item.as_atom().map(Atom::name), Some("flags" | "tracer")) {
            return Err(BifExit::BADARG);
        }
        if pid == p.id() {
            return info_of(p, item, p.trace);
        }
        // {Flags, Tracer} as one number, so that the answer needs no room.
        let packed = ask(
            p,
            pid,
            |process| {
                Term::small((process.trace.tracer << 16 | u64::from(process.trace.flags)) as i64)
            },
            Term::atom(am::UNDEFINED),
        )?;
        return match packed.as_small() {
            Some(packed) => info_of(
                p,
                item,
                Trace { flags: packed as u32 & 0xffff, tracer: packed as u64 >> 16 },
            ),
            None => Ok(packed),
        };
    }
    if whom == Term::atom(am::NEW) || whom == Term::atom(atom!("new_processes")) {
        return info_of(p, item, p.vm.trace_new.get());
    }
    function_info(p, whom, item)
}

/// What is traced of a function: nothing, as functions are not traced.
fn function_info(p: &mut Process, whom: Term, item: Term) -> BifResult {
    let parts = whom.as_tuple().filter(|tuple| tuple.arity() == 3).ok_or(BifExit::BADARG)?;
    let (Some(module), Some(function), Some(arity)) =
        (parts.get(0).as_atom(), parts.get(1).as_atom(), parts.get(2).as_small())
    else {
        return Err(BifExit::BADARG);
    };
    let known = matches!(
        item.as_atom().map(Atom::name),
        Some(
            "traced"
                | "match_spec"
                | "meta"
                | "meta_match_spec"
                | "call_count"
                | "call_time"
                | "all"
        )
    );
    let arity = u32::try_from(arity).ok().filter(|_| known).ok_or(BifExit::BADARG)?;
    let mfa = Mfa { module, function, arity };
    let exists = p.vm.bifs.number(mfa).is_some()
        || p.vm
            .code
            .current(module)
            .is_some_and(|code| code.exports_of().any(|(export, _)| export == mfa));
    let value = if exists { Term::bool(false) } else { Term::atom(am::UNDEFINED) };
    Ok(p.tuple(&[item, value]))
}
