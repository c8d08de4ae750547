//! Specifications, what they are run on, and the answer, which is that of OTP 25's
//! `erlang:match_spec_test/3`.

use crate::testing::{call, process, term, text};
use swarmrt_machine::Process;
use swarmrt_term::{Atom, Term};

/// What the specification makes of the subject, or what is wrong with it.
fn answer(p: &mut Process, specification: &str, subject: &str) -> String {
    let arguments = [term(p, subject), term(p, specification), Term::atom(Atom::new("table"))];
    let tested = call(p, "erlang:match_spec_test", &arguments).expect("it has an answer");
    let second = tested.as_tuple().expect("a tuple").get(1);
    let error = second.as_cons().and_then(|errors| errors.head().as_tuple());
    match error.filter(|error| error.get(0) == Term::atom(Atom::new("error"))) {
        Some(error) => text(error.get(1)).trim_matches('"').to_owned(),
        None => text(second),
    }
}

fn check(table: &[(&str, &str, &str)]) {
    let p = process();
    for (specification, subject, expected) in table {
        let answer = answer(p, specification, subject);
        assert_eq!(answer, *expected, "{specification} on {subject}");
    }
}

#[test]
fn heads_bind_compare_and_look_into_terms() {
    check(&[
        ("[{'$1',[],['$1']}]", "a", "a"),
        ("[{'_',[],[yes]}]", "{a,1}", "yes"),
        ("[{{'$1','$1'},[],['$1']}]", "{a,a}", "a"),
        ("[{{'$1','$1'},[],['$1']}]", "{1,1.0}", "false"),
        ("[{{'$1',['$2'|'$3']},[],[{{'$2','$3'}}]}]", "{a,[1,2,3]}", "{1,[2,3]}"),
        ("[{#{a => '$1'},[],['$1']}]", "#{a => 1, b => 2}", "1"),
        ("[{#{a => '$1'},[],['$1']}]", "#{b => 2}", "false"),
        ("[{{1,'$1'},[],['$1']}]", "{1.0,x}", "false"),
        ("[{{'$1','_'},[],['$$']},{'_',[],[other]}]", "{a,b}", "[a]"),
        ("[{{'$1','_'},[],['$$']},{'_',[],[other]}]", "{a,b,c}", "other"),
        ("[{{'$9','$2'},[],['$$']}]", "{nine,two}", "[two,nine]"),
        ("[{{'$1','$2'},[],['$_']}]", "{a,b}", "{a,b}"),
    ]);
}

#[test]
fn a_guard_that_fails_is_false_and_short_forms_stop_early() {
    check(&[
        ("[{{'$1'},[{'>','$1',3}],[true]}]", "{4}", "true"),
        ("[{{'$1'},[{'>','$1',3}],[true]}]", "{3}", "false"),
        ("[{{'$1'},[{is_atom,'$1'},{'=/=','$1',a}],[true]}]", "{b}", "true"),
        ("[{{'$1'},[{is_atom,'$1'},{'=/=','$1',a}],[true]}]", "{a}", "false"),
        ("[{{'$1'},[{'==',{hd,'$1'},1}],[true]},{'_',[],[failed]}]", "{[]}", "failed"),
        ("[{{'$1'},['$1'],[true]}]", "{true}", "true"),
        ("[{{'$1'},['$1'],[true]}]", "{yes}", "false"),
        ("[{{'$1'},[{'or',true,{'>',{hd,'$1'},1}}],[strict]},{'_',[],[failed]}]", "{[]}", "failed"),
        ("[{{'$1'},[{'orelse',true,{'>',{hd,'$1'},1}}],[lazy]},{'_',[],[failed]}]", "{[]}", "lazy"),
        ("[{{'$1'},[{'andalso',false,{hd,'$1'}}],[lazy]},{'_',[],[failed]}]", "{[]}", "failed"),
        ("[{{'$1'},[{'not',{is_list,'$1'}}],[true]}]", "{a}", "true"),
        ("[{{'$1'},[{is_record,'$1',r,2}],[true]}]", "{{r,1}}", "true"),
    ]);
}

#[test]
fn bodies_make_terms_and_fail_as_an_atom() {
    check(&[
        ("[{{'$1','$2'},[],[{{'$2','$1'}}]}]", "{a,b}", "{b,a}"),
        ("[{{'$1','$2'},[],[['$2'|'$1']]}]", "{a,b}", "[b|a]"),
        ("[{{'$1'},[],[#{'$1' => {const,'$1'}}]}]", "{k}", "#{k=>'$1'}"),
        ("[{{'$1'},[],[{const,{a,'$1'}}]}]", "{x}", "{a,'$1'}"),
        ("[{{'$1','$2'},[],[{'+','$1','$2'}]}]", "{1,2}", "3"),
        ("[{{'$1','$2'},[],[{'div','$1','$2'}]}]", "{1,0}", "'EXIT'"),
        ("[{{'$1'},[],[first,{element,1,'$_'}]}]", "{last}", "last"),
        ("[{{'$1'},[],[{size,'$1'}]}]", "{{a,b,c}}", "3"),
    ]);
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_otp() {
    check(&[
        ("[{{'$1'},[{nosuch,'$1'}],[true]}]", "{a}", "Function nosuch/1 does_not_exist."),
        ("[{{'$1'},[],['$2']}]", "{a}", "Variable $2 is unbound."),
        ("[{{'$1'},[],[{a,b}]}]", "{a}", "Function a/1 does_not_exist."),
        ("[{{'$1'},[],[]}]", "{a}", "Body clause does not return anything."),
        ("[{{'$1'},x,[true]}]", "{a}", "Match expression is not a list."),
        ("[]", "{a}", "Match programs are not in a list."),
        ("x", "{a}", "Match programs are not in a list."),
        ("[{{'$1'},[],[{message,'$1'}]}]", "{a}", "Special form 'message' used in wrong dialect."),
        ("[{{'$1'},[{is_atom}],[true]}]", "{a}", "Function is_atom/0 does_not_exist."),
    ]);
}

#[test]
fn nesting_has_a_limit() {
    let p = process();
    let nested =
        |depth: usize| format!("[{{{}a{},[],[true]}}]", "{".repeat(depth), "}".repeat(depth));
    assert_eq!(answer(p, &nested(100), "a"), "false");
    let deep = nested(super::compile::NESTING_MAX + 1);
    assert_eq!(answer(p, &deep, "a"), "Match specification is nested too deeply.");
}
