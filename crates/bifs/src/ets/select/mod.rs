//! Walking through tables with match specifications: `select`, `match` and their kin.
//!
//! A walk goes over a bounded number of objects, then the process takes a turn: the built-in goes
//! on in [`scan_on`] with what it has found so far. Where the head of every clause says which keys
//! it wants, only those are looked up; in an ordered set also where it says how they begin.

#[cfg(test)]
mod tests;
mod walk;

use super::matchspec::{self, CompileError, Dialect, Expr, Program};
use super::object::OwnedTerm;
use super::table::{Access, Table, TableKind};
use super::{copy_out, register_of};
use crate::args::list_of;
use crossbeam_epoch::pin;
use std::sync::Arc;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Mfa, Term, am, atom};
use walk::{Job, Results, Scan, WalkPosition, step};

/// A specification that a program holds: compiled by itself, or within a continuation for one
/// table.
struct Compiled {
    program: Arc<Program>,
    table: Option<u64>,
}

fn handle_of(p: &mut Process, program: &Arc<Program>, table: Option<u64>) -> Term {
    let resources = p.vm.extension::<Resources<Compiled>>();
    resources.add(p, Arc::new(Compiled { program: program.clone(), table }))
}

/// The address of the compiled specification that a reference stands for, and what it was compiled
/// from.
pub(crate) fn specification_of(vm: &Vm, handle: Term, visit: impl FnOnce(usize, Term)) {
    if let Some(compiled) = vm.extension::<Resources<Compiled>>().get(handle) {
        visit(Arc::as_ptr(&compiled.program).addr(), compiled.program.source());
    }
}

fn compiled_of(p: &Process, handle: Term) -> Option<Arc<Compiled>> {
    p.vm.extension::<Resources<Compiled>>().get(handle)
}

fn compiled(program: Result<Program, CompileError>) -> Result<Arc<Program>, BifExit> {
    program.map(Arc::new).map_err(|error| match error {
        CompileError::Invalid(_) => BifExit::BADARG,
        CompileError::TooDeep => BifExit::SYSTEM_LIMIT,
    })
}

fn compile(p: &Process, specification: Term) -> Result<Arc<Program>, BifExit> {
    compiled(matchspec::compile(p.vm, specification, Dialect::Table))
}

fn compile_pattern(p: &Process, pattern: Term, result: Expr) -> Result<Arc<Program>, BifExit> {
    compiled(matchspec::compile_pattern(p.vm, pattern, result))
}

/// Goes on with a walk until it is done, has enough, or the turn is over.
fn go_on(
    p: &mut Process,
    mut scan: Scan,
    mut results: Results,
) -> Result<(Scan, Results), BifExit> {
    loop {
        {
            let guard = &pin();
            let table = register_of(p)
                .at(scan.slot, guard)
                .filter(|table| table.reference.id == scan.table && !table.is_dead());
            let Some(table) = table else { return Err(BifExit::Caused(atom!("id"))) };
            step(p, table, &mut scan, &mut results)?;
            if table.is_dead() {
                return Err(BifExit::Caused(atom!("id")));
            }
        }
        if matches!(scan.place, WalkPosition::End) || scan.has_enough() {
            return Ok((scan, results));
        }
        if p.reductions <= 0 {
            p.bif_state = Some(Box::new(scan));
            let export = p.vm.code.export(Mfa {
                module: am::ERTS_INTERNAL,
                function: atom!("ets_scan_on"),
                arity: 1,
            });
            let trap = p.trap(export, &[results.list]);
            return Err(trap.err().unwrap_or(BifExit::BADARG));
        }
    }
}

/// Goes on after the process has given way to others.
#[bif("erts_internal:ets_scan_on/1", unlisted)]
fn scan_on(p: &mut Process, list: Term) -> BifResult {
    let scan = p
        .bif_state
        .take()
        .and_then(|state| state.downcast::<Scan>().ok())
        .ok_or(BifExit::BADARG)?;
    let (scan, results) = go_on(p, *scan, Results { list })?;
    finish(p, scan, results)
}

fn reversed(p: &mut Process, list: Term) -> Term {
    let mut rest = list;
    let mut result = Term::NIL;
    while let Some(cell) = rest.as_cons() {
        result = p.cons(cell.head(), result);
        rest = cell.tail();
    }
    result
}

/// The answer of a walk.
fn finish(p: &mut Process, scan: Scan, results: Results) -> BifResult {
    if scan.job != Job::Select {
        return Ok(Term::small(scan.found as i64));
    }
    let guard = &pin();
    let table =
        register_of(p).at(scan.slot, guard).filter(|table| table.reference.id == scan.table);
    let Some(table) = table else { return Err(BifExit::Caused(atom!("id"))) };
    let ordered = table.kind == TableKind::OrderedSet;
    let Some(limit) = scan.limit else {
        return Ok(if ordered { reversed(p, results.list) } else { results.list });
    };
    let (mut given, mut left) = (results.list, Term::NIL);
    if ordered {
        given = reversed(p, given);
    } else if scan.found > limit {
        // The last bucket had more than was wanted: what was found last waits.
        let mut items = list_of(given)?;
        let waiting = items.drain(..scan.found - limit).collect::<Vec<_>>();
        given = p.list(&items);
        left = p.list(&waiting);
    }
    if given.is_nil() {
        return Ok(Term::atom(am::END_OF_TABLE));
    }
    let next = continuation(p, table, &scan, left, scan.found.saturating_sub(limit));
    Ok(p.tuple(&[given, next]))
}

/// What `select/1` goes on with; it holds on to the table whatever its name is by then. Of an
/// ordered set: table, last key, end, limit, program, nothing, whether downwards, 0; of others:
/// table, bucket, limit, program, what waits, how much that is.
fn continuation(
    p: &mut Process,
    table: &Table,
    scan: &Scan,
    left: Term,
    left_count: usize,
) -> Term {
    let limit = Term::small(scan.limit.unwrap_or(0) as i64);
    match &scan.place {
        WalkPosition::OrderedAfter(key) => {
            let key = copy_out(p, key.term);
            let handle = handle_of(p, &scan.program, Some(scan.table));
            let id = table.reference.to_term(p);
            p.tuple(&[
                id,
                key,
                Term::NIL,
                limit,
                handle,
                Term::NIL,
                Term::small(i64::from(scan.reverse)),
                Term::small(0),
            ])
        }
        WalkPosition::Bucket { shard, bucket } => {
            let at = Term::small((*shard << 40 | *bucket) as i64);
            let handle = handle_of(p, &scan.program, Some(scan.table));
            let id = table.reference.to_term(p);
            p.tuple(&[id, at, limit, handle, left, Term::small(left_count as i64)])
        }
        _ if left_count > 0 => {
            let handle = handle_of(p, &scan.program, Some(scan.table));
            let id = table.reference.to_term(p);
            p.tuple(&[id, Term::small(-1), limit, handle, left, Term::small(left_count as i64)])
        }
        _ => Term::atom(am::END_OF_TABLE),
    }
}

fn start(
    p: &mut Process,
    id: Term,
    program: Arc<Program>,
    job: Job,
    reverse: bool,
    limit: Option<usize>,
) -> BifResult {
    let access =
        if matches!(job, Job::Delete | Job::Replace) { Access::Write } else { Access::Read };
    let scan = {
        let guard = &pin();
        let table = register_of(p).table(p, id, access, guard)?;
        if job == Job::Replace && (table.kind == TableKind::Bag || !program.keeps_key(table.keypos))
        {
            return Err(if table.kind == TableKind::Bag {
                BifExit::Caused(atom!("table_type"))
            } else {
                BifExit::BADARG
            });
        }
        Scan::new(table, program, job, reverse, limit)
    };
    let (scan, results) = go_on(p, scan, Results { list: Term::NIL })?;
    finish(p, scan, results)
}

/// The table is looked at before the specification is.
fn check_table(p: &Process, id: Term, access: Access) -> Result<(), BifExit> {
    register_of(p).table(p, id, access, &pin()).map(|_| ())
}

fn limit_of(limit: Term) -> Result<Option<usize>, BifExit> {
    limit
        .as_small()
        .filter(|&limit| limit > 0)
        .map(|limit| Some(limit as usize))
        .ok_or(BifExit::BADARG)
}

fn resume(p: &mut Process, continuation: Term) -> BifResult {
    if continuation == Term::atom(am::END_OF_TABLE) {
        return Ok(continuation);
    }
    let parts = continuation.as_tuple().ok_or(BifExit::BADARG)?;
    let (handle, limit) = match parts.arity() {
        8 => (parts.get(4), parts.get(3)),
        6 => (parts.get(3), parts.get(2)),
        0 => return Err(BifExit::BADARG),
        // What is wrong with the table comes first.
        _ => return check_table(p, parts.get(0), Access::Read).and(Err(BifExit::BADARG)),
    };
    let compiled = compiled_of(p, handle).ok_or(BifExit::BADARG)?;
    let limit = limit_of(limit)?;
    let (mut list, mut found) = (Term::NIL, 0);
    let mut scan = {
        let guard = &pin();
        let table = register_of(p).table(p, parts.get(0), Access::Read, guard)?;
        if compiled.table.is_some_and(|id| id != table.reference.id) {
            return Err(BifExit::BADARG);
        }
        let mut scan = Scan::new(table, compiled.program.clone(), Job::Select, false, limit);
        if parts.arity() == 8 {
            if table.kind != TableKind::OrderedSet {
                return Err(BifExit::BADARG);
            }
            scan.place = WalkPosition::OrderedAfter(OwnedTerm::new(parts.get(1)));
            scan.reverse = parts.get(6) == Term::small(1);
        } else {
            let at = parts.get(1).as_small().ok_or(BifExit::BADARG)?;
            if table.kind == TableKind::OrderedSet {
                return Err(BifExit::BADARG);
            }
            scan.place = if at < 0 {
                WalkPosition::End
            } else {
                WalkPosition::Bucket {
                    shard: (at >> 40) as usize,
                    bucket: (at & ((1 << 40) - 1)) as usize,
                }
            };
            list = parts.get(4);
            found = list_of(list)?.len();
        }
        scan
    };
    scan.found = found;
    let results = Results { list };
    if scan.has_enough() {
        return finish(p, scan, results);
    }
    let (scan, results) = go_on(p, scan, results)?;
    finish(p, scan, results)
}

#[bif("ets:select/1")]
#[bif("ets:select_reverse/1")]
#[bif("ets:match/1")]
#[bif("ets:match_object/1")]
fn select_1(p: &mut Process, continuation: Term) -> BifResult {
    resume(p, continuation)
}

#[bif("ets:select/2")]
fn select_2(p: &mut Process, id: Term, specification: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Select, false, None)
}

#[bif("ets:select/3")]
fn select_3(p: &mut Process, id: Term, specification: Term, limit: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let limit = limit_of(limit)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Select, false, limit)
}

#[bif("ets:select_reverse/2")]
fn select_reverse_2(p: &mut Process, id: Term, specification: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Select, true, None)
}

#[bif("ets:select_reverse/3")]
fn select_reverse_3(p: &mut Process, id: Term, specification: Term, limit: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let limit = limit_of(limit)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Select, true, limit)
}

#[bif("ets:match/2")]
fn match_2(p: &mut Process, id: Term, pattern: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let program = compile_pattern(p, pattern, Expr::Variables)?;
    start(p, id, program, Job::Select, false, None)
}

#[bif("ets:match/3")]
fn match_3(p: &mut Process, id: Term, pattern: Term, limit: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let limit = limit_of(limit)?;
    let program = compile_pattern(p, pattern, Expr::Variables)?;
    start(p, id, program, Job::Select, false, limit)
}

#[bif("ets:match_object/2")]
fn match_object_2(p: &mut Process, id: Term, pattern: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let program = compile_pattern(p, pattern, Expr::Whole)?;
    start(p, id, program, Job::Select, false, None)
}

#[bif("ets:match_object/3")]
fn match_object_3(p: &mut Process, id: Term, pattern: Term, limit: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let limit = limit_of(limit)?;
    let program = compile_pattern(p, pattern, Expr::Whole)?;
    start(p, id, program, Job::Select, false, limit)
}

#[bif("ets:select_count/2")]
fn select_count(p: &mut Process, id: Term, specification: Term) -> BifResult {
    check_table(p, id, Access::Read)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Count, false, None)
}

#[bif("ets:internal_select_delete/2")]
fn internal_select_delete(p: &mut Process, id: Term, specification: Term) -> BifResult {
    check_table(p, id, Access::Write)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Delete, false, None)
}

#[bif("ets:select_replace/2")]
fn select_replace(p: &mut Process, id: Term, specification: Term) -> BifResult {
    check_table(p, id, Access::Write)?;
    let program = compile(p, specification)?;
    start(p, id, program, Job::Replace, false, None)
}

#[bif("ets:match_spec_compile/1")]
fn match_spec_compile(p: &mut Process, specification: Term) -> BifResult {
    let program = compile(p, specification)?;
    Ok(handle_of(p, &program, None))
}

#[bif("ets:is_compiled_ms/1")]
fn is_compiled_ms(p: &mut Process, handle: Term) -> BifResult {
    Ok(Term::bool(compiled_of(p, handle).is_some()))
}

#[bif("ets:match_spec_run_r/3")]
fn match_spec_run_r(p: &mut Process, list: Term, handle: Term, accumulator: Term) -> BifResult {
    let program = compiled_of(p, handle).ok_or(BifExit::BADARG)?.program.clone();
    let (mut rest, mut result) = (list, accumulator);
    while let Some(cell) = rest.as_cons() {
        if let Some(value) = program.run(p, cell.head()) {
            result = p.cons(value, result);
        }
        rest = cell.tail();
        p.bump_reductions(1);
    }
    if rest.is_nil() { Ok(result) } else { Err(BifExit::BADARG) }
}

#[bif("erlang:match_spec_test/3")]
fn match_spec_test(
    p: &mut Process,
    subject: Term,
    specification: Term,
    dialect: Term,
) -> BifResult {
    let dialect = match dialect.as_atom() {
        Some(name) if name == atom!("table") => Dialect::Table,
        Some(name) if name == atom!("trace") && subject.is_list() => Dialect::Trace,
        _ => return Err(BifExit::BADARG),
    };
    matchspec::test(p, subject, specification, dialect)
}
