//! Looking up objects by their key.

use super::hash::hash_of;
use super::object::Head;
use super::table::{Access, Storage, Table, TableKind};
use super::{WORDS_PER_REDUCTION, copy_out, done, register_of};
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am};

/// Calls `visit` with the objects of this key, the newest first.
pub(super) fn each_with_key(table: &Table, key: Term, mut visit: impl FnMut(&Head)) {
    match &table.storage {
        Storage::Ordered(tree) => {
            if let Some(object) = tree.read().get(key) {
                visit(object);
            }
        }
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            let shard = Table::shard(shards, hash).read();
            if table.kind == TableKind::Set {
                if let Some(object) = shard.get(key, hash) {
                    visit(object);
                }
            } else {
                shard.with_key(key, hash).for_each(visit);
            }
        }
    }
}

pub(super) fn lookup_in(
    p: &mut Process,
    table: &Table,
    key: Term,
    part: impl Fn(&Head) -> Option<Term>,
) -> Result<Term, BifExit> {
    let mut list = Term::NIL;
    let mut words = 0;
    let mut whole = true;
    each_with_key(table, key, |object| match part(object) {
        Some(term) => {
            words += object.words();
            let copy = copy_out(p, term);
            list = p.cons(copy, list);
        }
        None => whole = false,
    });
    p.bump_reductions(words / WORDS_PER_REDUCTION);
    if whole { done(table, list) } else { Err(BifExit::BADARG) }
}

#[bif("ets:lookup/2")]
pub(super) fn lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    lookup_in(p, table, key, |object| Some(object.term()))
}

#[bif("ets:lookup_element/3")]
fn lookup_element(p: &mut Process, id: Term, key: Term, position: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let at =
        position.as_small().filter(|&position| position >= 1).ok_or(BifExit::BADARG)? as usize - 1;
    let list = lookup_in(p, table, key, |object| object.tuple().elements().get(at).copied())?;
    let Some(cell) = list.as_cons() else { return Err(BifExit::Caused(am::BADKEY)) };
    Ok(if matches!(table.kind, TableKind::Set | TableKind::OrderedSet) {
        cell.head()
    } else {
        list
    })
}

/// A key that is not there has the value `default`.
#[bif("ets:lookup_element/4", since = 26)]
fn lookup_element_4(
    p: &mut Process,
    id: Term,
    key: Term,
    position: Term,
    default: Term,
) -> BifResult {
    match lookup_element(p, id, key, position) {
        Err(BifExit::Caused(am::BADKEY)) => Ok(default),
        result => result,
    }
}

#[bif("ets:member/2")]
fn member(p: &mut Process, id: Term, key: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let found = has_key(table, key);
    done(table, Term::bool(found))
}

pub(super) fn has_key(table: &Table, key: Term) -> bool {
    let mut found = false;
    each_with_key(table, key, |_| found = true);
    found
}
