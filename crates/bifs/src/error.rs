//! Built-ins that raise.

use swarmrt_machine::bif::BIFS;
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Term, am, atom};

#[bif("erlang:error/1")]
fn error_1(_p: &mut Process, reason: Term) -> BifResult {
    Err(Raise::WithoutTop { class: am::ERROR, reason })
}
#[bif("erlang:error/2")]
fn error_2(_p: &mut Process, reason: Term, args: Term) -> BifResult {
    Err(Raise::WithArgs { reason, args, option: None })
}
#[bif("erlang:error/3")]
fn error_3(_p: &mut Process, reason: Term, args: Term, options: Term) -> BifResult {
    let well_formed = |option: &Term| {
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2);
        pair.is_some_and(|pair| pair.get(0) == Term::atom(am::ERROR_INFO) && pair.get(1).is_map())
    };
    // Options that are not what they should be count for nothing; of several, the last one counts.
    let options = options.list_to_vec().filter(|options| options.iter().all(well_formed)).unwrap_or_default();
    Err(Raise::WithArgs { reason, args, option: options.last().copied() })
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
fn nif_error_1(p: &mut Process, reason: Term) -> BifResult {
    Err(nif_error(p, reason))
}
#[bif("erlang:nif_error/2")]
fn nif_error_2(p: &mut Process, reason: Term, _args: Term) -> BifResult {
    Err(nif_error(p, reason))
}

/// The bodies of OTP's own built-ins say `undefined`: where that is reached, it is the built-in that is not there.
fn nif_error(p: &Process, reason: Term) -> Raise {
    /// Modules of OTP that leave functions to the machine, beside those that have some here.
    const OTHERS: [&str; 3] = ["prim_socket", "prim_net", "erl_tracer"];
    let is_missing = reason == Term::atom(am::UNDEFINED)
        && p.vm.code.located(p.ip as usize, None).is_some_and(|located| {
            let module = located.mfa.module.name();
            located.mfa.function != atom!("nif_error") && (OTHERS.contains(&module) || BIFS.iter().any(|entry| entry.module == module))
        });
    if is_missing { Raise::WithoutTop { class: am::ERROR, reason: Term::atom(am::UNDEF) } } else { Raise::Error(reason) }
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
