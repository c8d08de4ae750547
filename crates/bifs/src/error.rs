//! Built-ins that raise.

use swarmrt_machine::bif::BIFS;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom};

#[bif("erlang:error/1")]
fn error_1(_p: &mut Process, reason: Term) -> BifResult {
    Err(BifExit::WithoutTop(reason))
}
#[bif("erlang:error/2")]
fn error_2(_p: &mut Process, reason: Term, args: Term) -> BifResult {
    Err(BifExit::WithArgs { reason, args, option: None })
}
#[bif("erlang:error/3")]
fn error_3(_p: &mut Process, reason: Term, args: Term, options: Term) -> BifResult {
    let well_formed = |option: &Term| {
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2);
        pair.is_some_and(|pair| pair.get(0) == Term::atom(am::ERROR_INFO) && pair.get(1).is_map())
    };
    // Options that are not what they should be count for nothing; of several, the last one counts.
    let options =
        options.list_to_vec().filter(|options| options.iter().all(well_formed)).unwrap_or_default();
    Err(BifExit::WithArgs { reason, args, option: options.last().copied() })
}
#[bif("erlang:exit/1")]
fn exit_1(_p: &mut Process, reason: Term) -> BifResult {
    Err(BifExit::Exit(reason))
}
#[bif("erlang:throw/1")]
fn throw_1(_p: &mut Process, value: Term) -> BifResult {
    Err(BifExit::Throw(value))
}
#[bif("erlang:nif_error/1")]
fn nif_error_1(p: &mut Process, reason: Term) -> BifResult {
    Err(nif_error(p, reason))
}
#[bif("erlang:nif_error/2")]
fn nif_error_2(p: &mut Process, reason: Term, _args: Term) -> BifResult {
    Err(nif_error(p, reason))
}

/// The bodies of OTP's own built-ins say `undefined`: where that is reached, it is the built-in
/// that is not there.
fn nif_error(p: &Process, reason: Term) -> BifExit {
    /// Modules of OTP that leave functions to the machine, beside those that have some here.
    const OTHERS: [&str; 3] = ["prim_socket", "prim_net", "erl_tracer"];
    let is_stub = reason == Term::atom(am::UNDEFINED) || reason == Term::atom(am::UNDEF);
    let is_missing = is_stub
        && p.vm.code.locate(p.ip as usize, |location| location.mfa).is_some_and(|mfa| {
            let module = mfa.module.name();
            mfa.function != atom!("nif_error")
                && (OTHERS.contains(&module) || BIFS.iter().any(|entry| entry.module == module))
        });
    if is_missing { BifExit::WithoutTop(Term::atom(am::UNDEF)) } else { BifExit::Error(reason) }
}

/// A stack trace as given to `erlang:raise/3`, with its entries as {M, F, `ArityOrArgs`, Location}
/// or {Fun, `ArityOrArgs`, Location}. What stands for the arity is not looked at, as in OTP. `None`
/// when it is none.
fn full_trace(p: &mut Process, trace: Term) -> Option<Term> {
    let entries = trace.list_to_vec()?;
    let mut full = Vec::with_capacity(entries.len());
    for &entry in &entries {
        full.push(match *entry.as_tuple()?.elements() {
            [module, function, _, location]
                if module.is_atom() && function.is_atom() && location.is_list() =>
            {
                entry
            }
            [fun, _, location] if fun.is_fun() && location.is_list() => entry,
            [module, function, args] if module.is_atom() && function.is_atom() => {
                p.tuple(&[module, function, args, Term::NIL])
            }
            [fun, args] if fun.is_fun() => p.tuple(&[fun, args, Term::NIL]),
            _ => return None,
        });
    }
    Some(if full == entries { trace } else { p.list(&full) })
}

#[bif("erlang:raise/3")]
fn raise(p: &mut Process, class: Term, reason: Term, trace: Term) -> BifResult {
    let Some(class @ (am::ERROR | am::EXIT | am::THROW)) = class.as_atom() else {
        return Ok(Term::atom(am::BADARG));
    };
    match full_trace(p, trace) {
        Some(trace) => Err(BifExit::WithTrace { class, reason, trace }),
        None => Ok(Term::atom(am::BADARG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{call, process, term, text};

    #[test]
    fn traces_to_be_raised_get_a_place_in_each_entry_or_are_none() {
        let p = process();
        let refused = "badarg";
        for (trace, expected) in [
            ("[]", "[]"),
            ("[{m,f,1,[]}]", "[{m,f,1,[]}]"),
            ("[{m,f,1}]", "[{m,f,1,[]}]"),
            ("[{m,f,[a,b],[{line,3}]},{m,g,0}]", "[{m,f,[a,b],[{line,3}]},{m,g,0,[]}]"),
            // What stands for the arity is not looked at.
            ("[{m,f,x}]", "[{m,f,x,[]}]"),
            ("[{m,f}]", refused),
            ("[{1,f,1}]", refused),
            ("[{m,f,1,place}]", refused),
            ("[{m,f,1,[],more}]", refused),
            ("[{m,f,1}|tail]", refused),
            ("[m]", refused),
            ("none", refused),
        ] {
            for class in [am::ERROR, am::EXIT, am::THROW] {
                let arguments = [Term::atom(class), Term::small(5), term(p, trace)];
                let raised = match call(p, "erlang:raise", &arguments) {
                    Err(BifExit::WithTrace { class: raised, reason, trace }) => {
                        assert_eq!((raised, text(reason)), (class, "5".to_owned()), "{trace:?}");
                        text(trace)
                    }
                    other => text(other.expect("a value, or an exception with a trace")),
                };
                assert_eq!(raised, expected, "{trace}");
            }
        }
        let arguments = [Term::atom(am::OK), Term::small(5), Term::NIL];
        assert_eq!(call(p, "erlang:raise", &arguments).map(text).ok().as_deref(), Some("badarg"));
    }

    #[test]
    fn a_trace_that_is_complete_is_not_copied() {
        let p = process();
        let whole = term(p, "[{m,f,1,[]},{m,g,[],[]}]");
        assert_eq!(full_trace(p, whole), Some(whole));
        let short = term(p, "[{m,f,1}]");
        assert_ne!(full_trace(p, short), Some(short));
    }

    #[test]
    fn options_of_an_error_count_where_they_are_what_they_should_be() {
        let p = process();
        for (options, expected) in [
            ("[]", None),
            ("[{error_info,#{cause => x}}]", Some("{error_info,#{cause=>x}}")),
            ("[{error_info,#{a => 1}},{error_info,#{b => 2}}]", Some("{error_info,#{b=>2}}")),
            ("[{error_info,x}]", None),
            ("[{error_info,#{}},{other,#{}}]", None),
            ("none", None),
        ] {
            let arguments = [Term::atom(am::OK), Term::NIL, term(p, options)];
            let Err(BifExit::WithArgs { option, .. }) = call(p, "erlang:error", &arguments) else {
                panic!("it is an error with arguments");
            };
            assert_eq!(option.map(text).as_deref(), expected, "{options}");
        }
    }
}
