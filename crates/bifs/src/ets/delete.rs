//! Taking out objects and whole tables.

use super::garbage::{Deletion, underway};
use super::hash::hash_of;
use super::object::Head;
use super::table::{Access, Storage, Table};
use super::{REDUCTIONS_PER_TABLE, copy_out, done, register_of, yes};
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, equal_exact};

/// Removes the objects with this key for which `which` says so.
pub(super) fn remove(table: &Table, key: Term, mut which: impl FnMut(&Head) -> bool) {
    let change = match &table.storage {
        Storage::Ordered(tree) => {
            let mut tree = tree.write();
            if tree.get(key).is_some_and(which) { tree.remove(key) } else { return }
        }
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            let mut shard = Table::shard(shards, hash).write();
            shard.remove(key, hash, table.is_fixed(), &mut which)
        }
    };
    table.count(change);
}

#[bif("ets:delete/2")]
fn delete_key(p: &mut Process, id: Term, key: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    remove(table, key, |_| true);
    done(table, Term::bool(true))
}

#[bif("ets:delete_object/2")]
fn delete_object(p: &mut Process, id: Term, object: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    let object = object.as_tuple().ok_or(BifExit::BADARG)?;
    if let Some(&key) = object.elements().get(table.keypos) {
        remove(table, key, |stored| equal_exact(stored.term(), object.term()));
    } else {
        return Err(BifExit::BADARG);
    }
    done(table, Term::bool(true))
}

#[bif("ets:take/2")]
fn take(p: &mut Process, id: Term, key: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    let mut list = Term::NIL;
    remove(table, key, |object| {
        let copy = copy_out(p, object.term());
        list = p.cons(copy, list);
        true
    });
    done(table, list)
}

#[bif("ets:delete/1")]
fn delete_table(p: &mut Process, id: Term) -> BifResult {
    let deletion = match underway(p) {
        Some(deletion) => deletion,
        None => {
            let guard = &pin();
            let register = register_of(p);
            let table = register.table(p, id, Access::Write, guard)?;
            p.bump_reductions(REDUCTIONS_PER_TABLE);
            Deletion::new(table.len(), register.delete(table, guard))
        }
    };
    deletion.go_on(p)?;
    yes()
}

#[bif("ets:internal_delete_all/2")]
fn internal_delete_all(p: &mut Process, id: Term, _state: Term) -> BifResult {
    let deletion = match underway(p) {
        Some(deletion) => deletion,
        None => {
            let guard = &pin();
            let table = register_of(p).table(p, id, Access::Write, guard)?;
            let (objects, garbage) = table.clear();
            Deletion::new(objects, garbage)
        }
    };
    Ok(Term::small(deletion.go_on(p)? as i64))
}
