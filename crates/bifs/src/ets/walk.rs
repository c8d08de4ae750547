//! Walking through a table from key to key, and by slots.

use super::hash::{HashTable, hash_of};
use super::lookup::lookup;
use super::table::{Access, Storage, Table};
use super::{copy_out, done, register_of};
use crate::args::size_of;
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am};

fn key_or_end(p: &mut Process, key: Option<Term>) -> Term {
    key.map_or(Term::atom(am::END_OF_TABLE), |key| copy_out(p, key))
}

/// The first key of the parts of a hash table from `shard` on.
fn first_in(p: &mut Process, shards: &[parking_lot::RwLock<HashTable>], shard: usize) -> Term {
    for shard in &shards[shard..] {
        let shard = shard.read();
        if let Some(key) = shard.first_from(0) {
            return copy_out(p, key);
        }
    }
    Term::atom(am::END_OF_TABLE)
}

fn edge(p: &mut Process, id: Term, last: bool) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let key = match &table.storage {
        Storage::Ordered(tree) => {
            let tree = tree.read();
            key_or_end(p, if last { tree.last() } else { tree.first() })
        }
        Storage::Hash(shards) => first_in(p, shards, 0),
    };
    done(table, key)
}

#[bif("ets:first/1")]
#[bif("erts_internal:ets_raw_first/1")]
fn first(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, false)
}

#[bif("ets:last/1")]
fn last(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, true)
}

fn neighbour(p: &mut Process, id: Term, key: Term, previous: bool) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    match &table.storage {
        // As in OTP, the end is nobody's neighbour.
        Storage::Ordered(_) if key == Term::atom(am::END_OF_TABLE) => Err(BifExit::BADARG),
        Storage::Ordered(tree) => {
            let tree = tree.read();
            Ok(key_or_end(p, if previous { tree.previous(key) } else { tree.next(key) }))
        }
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            let part = Table::shard(shards, hash);
            {
                let shard = part.read();
                let next = shard.next(key, hash).map_err(|()| BifExit::BADARG)?;
                if let Some(key) = next {
                    return Ok(copy_out(p, key));
                }
            }
            let at = shards.iter().position(|shard| std::ptr::eq(shard, part)).unwrap_or(0);
            Ok(first_in(p, shards, at + 1))
        }
    }
}

#[bif("ets:next/2")]
#[bif("erts_internal:ets_raw_next/2")]
fn next(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, false)
}

#[bif("ets:prev/2")]
fn prev(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, true)
}

/// `{Key, Objects}` for a key that `find` finds. One whose objects are deleted between the two
/// steps was not there.
fn with_objects(
    p: &mut Process,
    id: Term,
    mut find: impl FnMut(&mut Process) -> BifResult,
) -> BifResult {
    loop {
        let key = find(p)?;
        if key == Term::atom(am::END_OF_TABLE) {
            return Ok(key);
        }
        let objects = lookup(p, id, key)?;
        if !objects.is_nil() {
            return Ok(p.tuple(&[key, objects]));
        }
    }
}

#[bif("ets:first_lookup/1", since = 27)]
fn first_lookup(p: &mut Process, id: Term) -> BifResult {
    with_objects(p, id, |p| edge(p, id, false))
}

#[bif("ets:last_lookup/1", since = 27)]
fn last_lookup(p: &mut Process, id: Term) -> BifResult {
    with_objects(p, id, |p| edge(p, id, true))
}

#[bif("ets:next_lookup/2", since = 27)]
fn next_lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    with_objects(p, id, |p| neighbour(p, id, key, false))
}

#[bif("ets:prev_lookup/2", since = 27)]
fn prev_lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    with_objects(p, id, |p| neighbour(p, id, key, true))
}

#[bif("ets:slot/2")]
fn slot(p: &mut Process, id: Term, index: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let mut index = size_of(index)?;
    match &table.storage {
        Storage::Ordered(tree) => {
            let tree = tree.read();
            if let Some(object) = tree.nth(index) {
                let copy = copy_out(p, object.term());
                return Ok(p.cons(copy, Term::NIL));
            }
            if index == tree.len() && index > 0 {
                Ok(Term::atom(am::END_OF_TABLE))
            } else {
                Err(BifExit::BADARG)
            }
        }
        Storage::Hash(shards) => {
            for shard in shards {
                let shard = shard.read();
                if index < shard.buckets() {
                    let mut list = Term::NIL;
                    for object in shard.bucket(index) {
                        let copy = copy_out(p, object.term());
                        list = p.cons(copy, list);
                    }
                    return Ok(list);
                }
                index -= shard.buckets();
            }
            if index == 0 { Ok(Term::atom(am::END_OF_TABLE)) } else { Err(BifExit::BADARG) }
        }
    }
}
