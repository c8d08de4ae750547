//! The built-ins of `seq_trace`.

use crate::args::{atom_of, pair_of};
use swarmrt_machine::process::links::Tag;
use swarmrt_machine::process::sequential::{Token, flags};
use swarmrt_machine::signal;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Term};

const FLAGS: [(&str, u32); 6] = [
    ("send", flags::SEND),
    ("receive", flags::RECEIVE),
    ("print", flags::PRINT),
    ("timestamp", flags::TIMESTAMP),
    ("monotonic_timestamp", flags::MONOTONIC_TIMESTAMP),
    ("strict_monotonic_timestamp", flags::STRICT_MONOTONIC_TIMESTAMP),
];

fn flag_of(name: Atom) -> Option<u32> {
    FLAGS.iter().find(|(flag, _)| *flag == name.name()).map(|(_, bits)| *bits)
}

fn token(p: &Process) -> Option<&Token> {
    p.sequential.as_ref()?.token.as_ref()
}

/// The token as `process_info(P, sequential_trace_token)` shows it.
pub(crate) fn token_term(p: &Process, heap: &mut dyn Alloc) -> Term {
    token(p).map_or(Term::NIL, |token| token.to_term(heap))
}

/// The token on the process's heap, `[]` without one.
pub(crate) fn current(p: &mut Process) -> Term {
    let Some(sequential) = p.sequential.take() else { return Term::NIL };
    let term = sequential.token.as_ref().map_or(Term::NIL, |token| token.to_term(&mut p.heap));
    p.sequential = Some(sequential);
    term
}

fn serial_term(p: &mut Process, serial: i64, previous: i64) -> Term {
    let (previous, serial) = (p.int(previous), p.int(serial));
    p.tuple(&[previous, serial])
}

/// Sets a part of the token, which is made if need be; what that part was.
#[bif("erlang:seq_trace/2")]
pub(crate) fn seq_trace(p: &mut Process, what: Term, value: Term) -> BifResult {
    let what = atom_of(what)?;
    if what.name() == "sequential_trace_token" {
        if !value.is_nil() {
            return Err(BifExit::BADARG);
        }
        let before = p.sequential.as_mut().and_then(|sequential| sequential.token.take());
        return Ok(before.map_or(Term::NIL, |token| token.to_term(p)));
    }
    let change = match (what.name(), flag_of(what)) {
        ("label", _) => Change::Label,
        ("serial", _) => {
            let (previous, serial) = pair_of(value).ok_or(BifExit::BADARG)?;
            let number = |term: Term| term.as_small().ok_or(BifExit::BADARG);
            Change::Serial { serial: number(serial)?, previous: number(previous)? }
        }
        (_, Some(flag)) => Change::Flag { flag, on: value.as_bool().ok_or(BifExit::BADARG)? },
        _ => return Err(BifExit::BADARG),
    };
    let pid = p.pid();
    let sequential = p.sequential.get_or_insert_default();
    let last = sequential.last;
    let new = || Token {
        flags: 0,
        label: Tag::new(Term::small(0)),
        serial: 0,
        previous: last,
        from: pid,
    };
    let token = sequential.token.get_or_insert_with(new);
    Ok(match change {
        Change::Label => {
            let before = std::mem::replace(&mut token.label, Tag::new(value));
            swarmrt_heap::copy_whole(before.term(), p)
        }
        Change::Serial { serial, previous } => {
            let before = (token.serial, token.previous);
            (token.serial, token.previous) = (serial, previous);
            (sequential.clock, sequential.last) = (serial, previous);
            serial_term(p, before.0, before.1)
        }
        Change::Flag { flag, on } => {
            let before = token.flags & flag != 0;
            // Of the time stamps there is one at a time.
            let others = if on && flag & flags::TIMESTAMPS != 0 { flags::TIMESTAMPS } else { flag };
            token.flags &= !others;
            if on {
                token.flags |= flag;
            }
            Term::bool(before)
        }
    })
}

enum Change {
    Label,
    Serial { serial: i64, previous: i64 },
    Flag { flag: u32, on: bool },
}

/// `{Part, Value}` of the token; without a token `[]` for what has no value then.
#[bif("erlang:seq_trace_info/1")]
pub(crate) fn seq_trace_info(p: &mut Process, part: Term) -> BifResult {
    let name = part.as_atom().ok_or(BifExit::BADARG)?;
    if let Some(flag) = flag_of(name) {
        let on = token(p).is_some_and(|token| token.flags & flag != 0);
        return Ok(p.tuple(&[part, Term::bool(on)]));
    }
    let value = match name.name() {
        "label" => token(p)
            .map(|token| token.label.term())
            .map(|label| swarmrt_heap::copy_whole(label, &mut p.heap)),
        "serial" => {
            let numbers = token(p).map(|token| (token.serial, token.previous));
            numbers.map(|(serial, previous)| serial_term(p, serial, previous))
        }
        _ => return Err(BifExit::BADARG),
    };
    Ok(value.map_or(Term::NIL, |value| p.tuple(&[part, value])))
}

#[bif("erlang:seq_trace_print/1")]
fn seq_trace_print_1(p: &mut Process, info: Term) -> BifResult {
    Ok(Term::bool(p.print_sequential(None, info)))
}

#[bif("erlang:seq_trace_print/2")]
fn seq_trace_print_2(p: &mut Process, label: Term, info: Term) -> BifResult {
    Ok(Term::bool(p.print_sequential(Some(label), info)))
}

/// The process that is told, or `false`.
pub(crate) fn system_tracer(p: &Process) -> Term {
    p.vm.sequential_tracer.get(p.vm).map_or(Term::bool(false), Term::pid)
}

/// Has that process told from now on, or nobody with `false`; who was before.
pub(crate) fn set_system_tracer(p: &Process, tracer: Term) -> BifResult {
    let before = system_tracer(p);
    let tracer = match tracer.as_pid() {
        Some(pid) => Some(pid).filter(|&pid| p.vm.processes.get(pid).is_some()),
        None if tracer == Term::bool(false) => None,
        None => return Err(BifExit::BADARG),
    };
    p.vm.sequential_tracer.set(tracer);
    Ok(before)
}

/// Takes all tokens away, of processes and of messages that wait.
pub(crate) fn reset(p: &mut Process) {
    for pid in p.vm.processes.ids() {
        if pid == p.id() {
            p.forget_tokens();
            continue;
        }
        let forget: signal::Call = Box::new(|_, process| {
            if let Some(process) = process {
                process.forget_tokens();
            }
        });
        signal::send_call(p.vm, pid, forget);
    }
}
