use super::walk::start_of;
use super::*;
use crate::testing::{call, process, term, text};

/// Enough that no walk takes a second turn.
const LONG_TURN: i32 = 1 << 30;

fn new(p: &mut Process, kind: &str) -> Term {
    p.reductions = LONG_TURN;
    let (name, options) = (term(p, "t"), term(p, &format!("[{kind}, public]")));
    call(p, "ets:new", &[name, options]).expect("there is a table")
}

/// A table of `{{Group, N}, N}` for groups `a`, `b`, `c` and N in 1 to `count`.
fn groups(p: &mut Process, kind: &str, count: usize) -> Term {
    let table = new(p, kind);
    for number in 1..=count {
        for group in ["a", "b", "c"] {
            let object = term(p, &format!("{{{{{group}, {number}}}, {number}}}"));
            call(p, "ets:insert", &[table, object]).expect("it is inserted");
        }
    }
    table
}

fn select(p: &mut Process, table: Term, specification: &str) -> String {
    let specification = term(p, specification);
    call(p, "ets:select", &[table, specification]).map(text).expect("a list")
}

/// All parts that a walk with a limit gives, with what is done between two of them.
fn parts(
    p: &mut Process,
    name: &str,
    table: Term,
    specification: &str,
    limit: i64,
    mut between: impl FnMut(&mut Process),
) -> Vec<Vec<String>> {
    let specification = term(p, specification);
    let mut result = call(p, name, &[table, specification, Term::small(limit)]).expect("a part");
    let mut parts = Vec::new();
    while let Some(part) = result.as_tuple() {
        let items = part.get(0).list_to_vec().expect("a list");
        parts.push(items.into_iter().map(text).collect());
        between(p);
        result = call(p, name, &[part.get(1)]).expect("a part");
    }
    assert_eq!(text(result), "'$end_of_table'");
    parts
}

#[test]
fn a_walk_begins_with_the_keys_that_all_heads_name() {
    let p = process();
    let named = |p: &mut Process, table: Term, specification: &str| {
        let specification = term(p, specification);
        let program = compile(p, specification).map_err(|_| ()).expect("it is right");
        let guard = &pin();
        let table = register_of(p).table(p, table, Access::Read, guard).map_err(|_| ());
        match start_of(table.expect("it is there"), &program) {
            WalkPosition::Keys(keys) => keys.into_iter().map(text).collect::<Vec<_>>().join(" "),
            WalkPosition::Bucket { shard: 0, bucket: 0 } => "all".to_owned(),
            WalkPosition::OrderedStart => "all in order".to_owned(),
            _ => "elsewhere".to_owned(),
        }
    };
    let (set, ordered) = (new(p, "set"), new(p, "ordered_set"));
    for (specification, in_set, in_order) in [
        ("[{{k,'_'},[],['$_']}]", "k", "k"),
        ("[{{2,'_'},[],['$_']},{{1,x},[],['$_']}]", "2 1", "1 2"),
        ("[{{k,1},[],['$_']},{{k,2},[],['$_']}]", "k", "k"),
        // Equal numbers are one key of an ordered set only.
        ("[{{1,'_'},[],['$_']},{{1.0,'_'},[],['$_']}]", "1 1.000000e+00", "1"),
        ("[{{k,'_'},[],['$_']},{{'$1','_'},[],['$_']}]", "all", "all in order"),
        ("[{{{k,'_'},'_'},[],['$_']}]", "all", "all in order"),
        ("[{'_',[],['$_']}]", "all", "all in order"),
    ] {
        assert_eq!(named(p, set, specification), in_set, "set: {specification}");
        assert_eq!(named(p, ordered, specification), in_order, "ordered_set: {specification}");
    }
}

#[test]
fn a_bound_prefix_narrows_a_walk_of_an_ordered_set_only() {
    const COUNT: usize = 1000;
    let p = process();
    let (set, ordered) = (groups(p, "set", COUNT), groups(p, "ordered_set", COUNT));
    let mut looked_at = |table: Term, specification: &str, found: i64| {
        let specification = term(p, specification);
        p.reductions = LONG_TURN;
        let count = call(p, "ets:select_count", &[table, specification]).expect("a number");
        assert_eq!(count, Term::small(found));
        // A reduction for four objects.
        (LONG_TURN - p.reductions) as usize * 4
    };
    let of_b = "[{{{b,'_'},'_'},[{'<',{element,2,'$_'},11}],[true]}]";
    let of_some = "[{{{'$1','_'},'_'},[{'=:=','$1',b},{'<',{element,2,'$_'},11}],[true]}]";
    for (table, specification, expected) in [
        (ordered, of_b, COUNT..2 * COUNT),
        (ordered, of_some, 3 * COUNT..4 * COUNT),
        (set, of_b, 3 * COUNT..6 * COUNT),
    ] {
        let seen = looked_at(table, specification, 10);
        assert!(expected.contains(&seen), "{specification}: {seen} objects, not {expected:?}");
    }
    assert_eq!(
        select(p, ordered, "[{{{b,'$1'},'_'},[{'<','$1',4}],['$1']}]"),
        text(term(p, "[1,2,3]"))
    );
}

#[test]
fn parts_of_an_ordered_set_are_in_order_whatever_is_deleted_between() {
    let p = process();
    let whole = "[{{{b,'$1'},'_'},[],['$1']}]";
    for (name, expected) in [
        ("ets:select", vec![vec!["1", "2"], vec!["3", "4"], vec!["5"]]),
        ("ets:select_reverse", vec![vec!["5", "4"], vec!["3", "2"], vec!["1"]]),
    ] {
        let table = groups(p, "ordered_set", 5);
        assert_eq!(parts(p, name, table, whole, 2, |_| ()), expected, "{name}");
        // The last one that was given is deleted; the walk goes on behind where it was.
        let deleting = |p: &mut Process| {
            let key = term(p, "{b,3}");
            call(p, "ets:delete", &[table, key]).expect("it can be deleted");
        };
        let mut seen: Vec<i64> = parts(p, name, table, whole, 3, deleting)
            .concat()
            .iter()
            .map(|item| item.parse().expect("a number"))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4, 5], "{name}: the first part ended with 3");
    }
}

#[test]
fn parts_of_a_hash_table_have_each_object_once() {
    let p = process();
    for kind in ["set", "bag", "duplicate_bag"] {
        let table = groups(p, kind, 100);
        for limit in [1, 7, 299, 300, 1000] {
            let parts = parts(p, "ets:select", table, "[{{'$1','_'},[],['$1']}]", limit, |_| ());
            let (last, full) = parts.split_last().expect("there is something");
            assert!(full.iter().all(|part| part.len() == limit as usize), "{kind}, {limit}");
            assert!((1..=limit as usize).contains(&last.len()), "{kind}, {limit}");
            let mut keys = parts.concat();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!((keys.len(), parts.concat().len()), (300, 300), "{kind}, {limit}");
        }
    }
}

#[test]
fn a_continuation_is_of_one_table_and_of_its_kind() {
    let p = process();
    let everything = term(p, "[{'_',[],['$_']}]");
    for (kind, other) in [("ordered_set", "set"), ("set", "ordered_set")] {
        let (table, same) = (groups(p, kind, 100), groups(p, kind, 100));
        let other = groups(p, other, 100);
        let part = call(p, "ets:select", &[table, everything, Term::small(1)]).expect("a part");
        let next = part.as_tuple().expect("a pair").get(1).as_tuple().expect("a continuation");
        for wrong in [same, other] {
            let mut moved = next.elements().to_vec();
            moved[0] = wrong;
            let moved = p.tuple(&moved);
            let refused = call(p, "ets:select", &[moved]);
            assert!(matches!(refused, Err(BifExit::Error(_))), "{kind}: {refused:?}");
        }
        call(p, "ets:delete", &[table]).expect("it can be deleted");
        let gone = call(p, "ets:select", &[next.term()]);
        assert!(matches!(gone, Err(BifExit::Caused(_))), "{kind}: {gone:?}");
    }
    assert_eq!(
        call(p, "ets:select", &[Term::atom(am::END_OF_TABLE)]).ok(),
        Some(Term::atom(am::END_OF_TABLE))
    );
}

#[test]
fn a_walk_gives_way_when_its_turn_is_over_and_finds_the_same() {
    let p = process();
    for kind in ["set", "ordered_set"] {
        let table = groups(p, kind, 1500);
        let specification = "[{{{'$1','$2'},'_'},[{'>','$2',1490}],[{{'$1','$2'}}]}]";
        let expected = select(p, table, specification);
        let specification = term(p, specification);
        let mut turns = 1;
        p.reductions = 1;
        let mut result = call(p, "ets:select", &[table, specification]);
        while let Err(BifExit::Trap(export)) = result {
            assert_eq!(export.mfa.function, atom!("ets_scan_on"));
            turns += 1;
            p.reductions = 1;
            let [list, ..] = p.trap_args.take();
            result = call(p, "erts_internal:ets_scan_on", &[list]);
        }
        assert_eq!(result.map(text).ok(), Some(expected), "{kind}");
        assert!(turns >= 4, "{kind}: 4500 objects in {turns} turns");
    }
}

#[test]
fn what_replaces_an_object_keeps_its_key() {
    let p = process();
    for (kind, specification, replaced) in [
        ("set", "[{{'$1','$2'},[],[{{'$1',{'+','$2',1}}}]}]", Some(6)),
        ("ordered_set", "[{{{b,'$1'},'_'},[],[{{{{b,'$1'}},new}}]}]", Some(2)),
        ("set", "[{{'$1','$2'},[],[{{'$2','$1'}}]}]", None),
        ("set", "[{{'$1','$2'},[],['$2']}]", None),
        ("bag", "[{{'$1','$2'},[],['$_']}]", None),
    ] {
        let table = groups(p, kind, 2);
        let wanted = term(p, specification);
        let result = call(p, "ets:select_replace", &[table, wanted]).ok();
        assert_eq!(result, replaced.map(Term::small), "{kind}: {specification}");
    }
}
