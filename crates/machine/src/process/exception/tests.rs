use super::*;
use crate::tests::{machine, new_process, process, text};
use swarmrt_beam::assemble::{NativeFunction, native_module};

const MFA: Mfa = Mfa { module: am::ERLANG, function: am::APPLY, arity: 2 };

fn fresh() -> &'static mut Process {
    let vm = machine();
    process(vm, new_process(vm))
}

/// Addresses of instructions in `m:f/1` and `m:g/2`.
fn code(p: &Process) -> [usize; 2] {
    let functions =
        [NativeFunction { name: "f", arity: 1 }, NativeFunction { name: "g", arity: 2 }];
    let prepared = p.vm.code.prepare(&native_module("m", &functions));
    let module = prepared.map_err(|error| error.0).expect("it can be loaded").0;
    p.vm.code.finish(&module).expect("it is the first version");
    let start = module.range().start;
    [0, 1].map(|number| start + 16 * (module.code.functions[number].start as usize + 1))
}

/// Puts words on the stack, the last one on top.
fn push(p: &mut Process, words: &[u64]) {
    for &word in words {
        // SAFETY: a new process has an empty stack and room for some words.
        unsafe {
            p.heap.stop = p.heap.stop.sub(1);
            *p.heap.stop = word;
        }
    }
}

/// The return address behind a call at `address`.
fn behind(address: usize) -> u64 {
    address as u64 + 16
}

fn raised(p: &mut Process, exit: BifExit, top: Top<'_>) -> (&'static str, String, String) {
    p.set_exception(exit, top, 0);
    let trace = p.readable_trace(p.exception.trace);
    (p.exception.class.name(), text(p.exception.reason), text(trace))
}

#[test]
fn what_a_built_in_raises_has_a_class_a_reason_and_an_entry_if_it_is_an_error() {
    let p = fresh();
    let entry = "[{erlang,apply,[1,2],[{error_info,#{module=>erl_erts_errors}}]}]";
    let caused = "[{erlang,apply,[1,2],[{error_info,#{cause=>id,module=>erl_erts_errors}}]}]";
    let reason = Term::atom(am::OK);
    for (exit, class, expected, trace) in [
        (BifExit::Error(reason), "error", "ok", entry),
        (BifExit::BADARG, "error", "badarg", entry),
        (BifExit::Caused(atom!("id")), "error", "badarg", caused),
        (BifExit::WithoutTop(reason), "error", "ok", "[]"),
        (BifExit::Exit(reason), "exit", "ok", "[]"),
        (BifExit::Throw(reason), "throw", "ok", "[]"),
    ] {
        let args = [Term::small(1), Term::small(2)];
        let shown = format!("{exit:?}");
        let outcome = raised(p, exit, Top::Bif { mfa: MFA, args: &args, is_running: true });
        assert_eq!(outcome, (class, expected.to_owned(), trace.to_owned()), "{shown}");
    }
}

#[test]
fn modules_of_otp_explain_their_errors_and_others_have_no_info() {
    let p = fresh();
    for (module, info) in [
        ("erlang", "[{error_info,#{module=>erl_erts_errors}}]"),
        ("os", "[{error_info,#{module=>erl_kernel_errors}}]"),
        ("ets", "[{error_info,#{module=>erl_stdlib_errors}}]"),
        ("mine", "[]"),
    ] {
        let mfa = Mfa { module: Atom::new(module), function: am::OK, arity: 0 };
        let (.., trace) = raised(p, BifExit::BADARG, Top::Bif { mfa, args: &[], is_running: true });
        assert_eq!(trace, format!("[{{{module},ok,[],{info}}}]"));
    }
}

#[test]
fn a_function_without_a_clause_shows_its_arguments_and_once() {
    let p = fresh();
    let [f, _] = code(p);
    let mfa = Mfa { module: Atom::new("m"), function: Atom::new("f"), arity: 1 };
    p.set_exception(
        BifExit::Error(Term::atom(am::FUNCTION_CLAUSE)),
        Top::Function { mfa, args: &[Term::NIL] },
        f,
    );
    assert_eq!(text(p.readable_trace(p.exception.trace)), "[{m,f,[[]],[]}]");
    // An instruction of it: the function itself is the first entry.
    p.set_exception(BifExit::BADARITH, Top::Nothing, f);
    assert_eq!(text(p.readable_trace(p.exception.trace)), "[{m,f,1,[]}]");
}

#[test]
fn callers_are_read_off_the_stack_innermost_first() {
    let p = fresh();
    let [f, g] = code(p);
    // Terms and zeros between, as frames have them; `f` has called itself before.
    let number = Term::small(5).raw();
    push(p, &[behind(g), number, behind(f), behind(f), 0, Term::NIL.raw(), behind(f), behind(g)]);
    let mut seen = Vec::new();
    p.return_addresses(|address| {
        seen.push(address);
        true
    });
    let end = p.vm.code.process_end() as usize;
    assert_eq!(seen.pop().map(|address| address + 16), Some(end), "the bottom of the stack");
    assert_eq!(seen, [g, f, g], "calls in a row from one place are one");
    let mut first = Vec::new();
    p.return_addresses(|address| {
        first.push(address);
        first.len() < 2
    });
    assert_eq!(first, [g, f]);
    p.set_exception(BifExit::BADARG, Top::Nothing, f);
    assert_eq!(
        text(p.readable_trace(p.exception.trace)),
        "[{m,f,1,[]},{m,g,2,[]},{m,f,1,[]},{m,g,2,[]}]"
    );
}

#[test]
fn a_trace_is_no_deeper_than_was_asked_for() {
    let p = fresh();
    let [f, g] = code(p);
    (0..20).for_each(|_| push(p, &[behind(f), behind(g)]));
    let mut depth_with = |depth: usize, top: Top<'_>| {
        p.vm.set_backtrace_depth(depth);
        p.set_exception(BifExit::BADARG, top, f);
        p.readable_trace(p.exception.trace).list_to_vec().expect("a list").len()
    };
    for (depth, expected) in [(BACKTRACE_DEPTH, 8), (1, 1), (0, 1), (30, 30), (100, 41)] {
        assert_eq!(depth_with(depth, Top::Nothing), expected, "depth {depth}");
    }
    let called = Top::Bif { mfa: MFA, args: &[], is_running: false };
    assert_eq!(depth_with(3, called), 3, "the entry of the built-in counts");
}

#[test]
fn addresses_without_code_are_left_out_and_other_terms_are_no_raw_trace() {
    let p = fresh();
    let [_, g] = code(p);
    push(p, &[behind(g), behind(16), behind(4096)]);
    p.set_exception(BifExit::BADARG, Top::Nothing, 8);
    assert_eq!(text(p.readable_trace(p.exception.trace)), "[{m,g,2,[]}]");
    let pair = p.tuple(&[Term::NIL, Term::NIL]);
    for other in [Term::NIL, Term::atom(am::OK), pair] {
        assert_eq!(p.readable_trace(other), other);
        assert_eq!(Process::trace_class(other), None);
    }
}

#[test]
fn a_trace_that_is_raised_again_carries_the_class_it_is_raised_with() {
    let p = fresh();
    let again = |p: &mut Process, class: Atom, trace: Term| {
        let exit = BifExit::WithTrace { class, reason: Term::atom(am::OK), trace };
        p.set_exception(exit, Top::Nothing, 0);
        assert_eq!((p.exception.class, text(p.exception.reason)), (class, "ok".to_owned()));
        assert_eq!(Process::trace_class(p.exception.trace), Some(class));
        p.exception.trace
    };
    let entry = p.tuple(&[Term::atom(am::OK), Term::atom(am::OK), Term::small(0), Term::NIL]);
    let list = p.list(&[entry]);
    let raw = again(p, am::THROW, list);
    assert_eq!(text(raw), "{throw,[{ok,ok,0,[]}],[]}");
    assert_eq!(again(p, am::THROW, raw), raw, "of the same class: nothing is made");
    let other = again(p, am::EXIT, raw);
    assert_eq!(text(other), "{exit,[{ok,ok,0,[]}],[]}");
    assert_eq!(text(p.readable_trace(other)), "[{ok,ok,0,[]}]");
}

#[test]
fn errors_with_arguments_show_them_in_the_entry_of_the_caller() {
    let p = fresh();
    let [f, g] = code(p);
    push(p, &[behind(g)]);
    let args = p.list(&[Term::small(1)]);
    let option = p.tuple(&[Term::atom(am::ERROR_INFO), Term::NIL]);
    for (args, option, first) in [
        (args, None, "{m,f,[1],[]}"),
        (args, Some(option), "{m,f,[1],[{error_info,[]}]}"),
        (Term::atom(am::NONE), None, "{m,f,1,[]}"),
    ] {
        let exit = BifExit::WithArgs { reason: Term::atom(am::OK), args, option };
        p.set_exception(exit, Top::Nothing, f);
        let trace = text(p.readable_trace(p.exception.trace));
        assert_eq!(trace, format!("[{first},{{m,g,2,[]}}]"));
    }
}

#[test]
fn a_process_ends_with_what_nobody_caught() {
    let p = fresh();
    // Nobody is told: the logger is switched off.
    p.vm.set_system_logger(Term::atom(am::UNDEFINED));
    let reason = Term::atom(am::OK);
    for (exit, expected) in [
        (BifExit::Error(reason), "{ok,[]}"),
        (BifExit::Throw(reason), "{{nocatch,ok},[]}"),
        (BifExit::Exit(reason), "ok"),
    ] {
        p.set_exception(exit, Top::Nothing, 0);
        p.uncaught();
        assert_eq!(text(p.exception.reason), expected);
    }
}

#[test]
fn reports_are_readable_without_otp() {
    let mut heap = FragmentHeap::new();
    let arguments = heap.list(&[Term::small(1), Term::NIL]);
    for (format, expected) in [
        ("~p and ~tp~n", "1 and []\n"),
        ("~n~n", "\n\n"),
        ("~p ~p ~p", "1 [] "),
        ("ends in ~", "ends in "),
        ("nothing", "nothing"),
    ] {
        assert_eq!(plain_text(format, arguments), expected, "{format}");
    }
}
