//! Built-ins that raise.

use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Term, am};

#[bif("erlang:error/1")]
fn error_1(_p: &mut Process, reason: Term) -> BifResult {
    Err(Raise::WithoutTop { class: am::ERROR, reason })
}
#[bif("erlang:error/2")]
fn error_2(_p: &mut Process, reason: Term, args: Term) -> BifResult {
    Err(Raise::WithArgs { reason, args, options: Term::NIL })
}
#[bif("erlang:error/3")]
fn error_3(_p: &mut Process, reason: Term, args: Term, options: Term) -> BifResult {
    if options.list_len().is_none() {
        return Err(Raise::BADARG);
    }
    Err(Raise::WithArgs { reason, args, options })
}
#[bif("erlang:exit/1")]
fn exit_1(_p: &mut Process, reason: Term) -> BifResult {
    Err(Raise::Exit(reason))
}
#[bif("erlang:throw/1")]
fn throw_1(_p: &mut Process, value: Term) -> BifResult {
    Err(Raise::Throw(value))
}
#[bif("erlang:nif_error/1")]
fn nif_error_1(_p: &mut Process, reason: Term) -> BifResult {
    // OTP's stubs for built-ins say `undefined`: it is the function that is undefined here.
    let reason = if reason == Term::atom(am::UNDEFINED) { Term::atom(am::UNDEF) } else { reason };
    Err(Raise::WithoutTop { class: am::ERROR, reason })
}
#[bif("erlang:nif_error/2")]
fn nif_error_2(_p: &mut Process, reason: Term, args: Term) -> BifResult {
    Err(Raise::WithArgs { reason, args, options: Term::NIL })
}

/// A readable stack trace: entries {M, F, ArityOrArgs, Location} or {Fun, Args, Location}.
fn is_trace(trace: Term) -> bool {
    let Some(entries) = trace.list_to_vec() else { return false };
    entries.iter().all(|entry| {
        entry.as_tuple().is_some_and(|entry| match *entry.elements() {
            [module, function, args, location] => module.is_atom() && function.is_atom() && (args.is_small() || args.is_list()) && location.is_list(),
            [first, second, third] => {
                (first.is_fun() && second.is_list() && third.is_list()) || (first.is_atom() && second.is_atom() && (third.is_small() || third.is_list()))
            }
            [fun, args] => fun.is_fun() && args.is_list(),
            _ => false,
        })
    })
}

#[bif("erlang:raise/3")]
fn raise(_p: &mut Process, class: Term, reason: Term, trace: Term) -> BifResult {
    match class.as_atom() {
        Some(class @ (am::ERROR | am::EXIT | am::THROW)) if is_trace(trace) => Err(Raise::WithTrace { class, reason, trace }),
        _ => Ok(Term::atom(am::BADARG)),
    }
}
