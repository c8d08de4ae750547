//! Walking through a table from key to key, and by slots.

use super::hash::{BUCKETS_MIN, HashTable, hash_of};
use super::object::Head;
use super::table::{Access, Storage, Table};
use super::{WORDS_PER_REDUCTION, copy_out, done, register_of};
use crate::args::size_of;
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am};

/// What is told of the object that a step leads to.
#[derive(Clone, Copy)]
enum Answer {
    Key,
    /// `{Key, Objects}`, with all objects of the key.
    KeyAndObjects,
}

impl Answer {
    /// `objects`: those of one key, the newest first; none is the end of the table.
    fn of<'a>(
        self,
        p: &mut Process,
        table: &Table,
        mut objects: impl Iterator<Item = &'a Head>,
    ) -> Term {
        let Some(first) = objects.next() else { return Term::atom(am::END_OF_TABLE) };
        match self {
            Answer::Key => copy_out(p, first.key(table.keypos)),
            Answer::KeyAndObjects => {
                let (mut key, mut list) = (Term::NIL, Term::NIL);
                for object in std::iter::once(first).chain(objects) {
                    p.bump_reductions(object.words() / WORDS_PER_REDUCTION);
                    let copy = copy_out(p, object.term());
                    key = copy.as_tuple().map_or(Term::NIL, |tuple| tuple.get(table.keypos));
                    list = p.cons(copy, list);
                }
                p.tuple(&[key, list])
            }
        }
    }

    /// Of the first object in these parts of a hash table.
    fn of_first(
        self,
        p: &mut Process,
        table: &Table,
        shards: &[parking_lot::RwLock<HashTable>],
    ) -> Term {
        for shard in shards {
            let shard = shard.read();
            if let Some(first) = shard.first_from(0) {
                return self.of(p, table, shard.with_key_of(first));
            }
        }
        self.of(p, table, std::iter::empty())
    }
}

fn edge(p: &mut Process, id: Term, last: bool, answer: Answer) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let told = match &table.storage {
        Storage::Ordered(tree) => {
            let tree = tree.read();
            answer.of(p, table, if last { tree.last() } else { tree.first() }.into_iter())
        }
        Storage::Hash(shards) => answer.of_first(p, table, shards),
    };
    done(table, told)
}

#[bif("ets:first/1")]
#[bif("erts_internal:ets_raw_first/1")]
fn first(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, false, Answer::Key)
}

#[bif("ets:last/1")]
fn last(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, true, Answer::Key)
}

fn neighbour(p: &mut Process, id: Term, key: Term, previous: bool, answer: Answer) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let told = match &table.storage {
        // As in OTP, the end is nobody's neighbour.
        Storage::Ordered(_) if key == Term::atom(am::END_OF_TABLE) => return Err(BifExit::BADARG),
        Storage::Ordered(tree) => {
            let tree = tree.read();
            let found = if previous { tree.previous(key) } else { tree.next(key) };
            answer.of(p, table, found.into_iter())
        }
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            let part = Table::shard(shards, hash);
            let shard = part.read();
            if let Some(next) = shard.next(key, hash).map_err(|()| BifExit::BADARG)? {
                answer.of(p, table, shard.with_key_of(next))
            } else {
                drop(shard);
                let at = shards.iter().position(|shard| std::ptr::eq(shard, part)).unwrap_or(0);
                answer.of_first(p, table, &shards[at + 1..])
            }
        }
    };
    done(table, told)
}

#[bif("ets:next/2")]
#[bif("erts_internal:ets_raw_next/2")]
fn next(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, false, Answer::Key)
}

#[bif("ets:prev/2")]
fn prev(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, true, Answer::Key)
}

#[bif("ets:first_lookup/1", since = 27)]
fn first_lookup(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, false, Answer::KeyAndObjects)
}

#[bif("ets:last_lookup/1", since = 27)]
fn last_lookup(p: &mut Process, id: Term) -> BifResult {
    edge(p, id, true, Answer::KeyAndObjects)
}

#[bif("ets:next_lookup/2", since = 27)]
fn next_lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, false, Answer::KeyAndObjects)
}

#[bif("ets:prev_lookup/2", since = 27)]
fn prev_lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    neighbour(p, id, key, true, Answer::KeyAndObjects)
}

fn list_of_bucket(p: &mut Process, shard: &HashTable, bucket: usize) -> Term {
    let mut list = Term::NIL;
    for object in shard.bucket(bucket) {
        let copy = copy_out(p, object.term());
        list = p.cons(copy, list);
    }
    list
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
            // The buckets of a new table in the order of their hashes, then those that were added.
            if index < BUCKETS_MIN {
                let shard = shards[index % shards.len()].read();
                return Ok(list_of_bucket(p, &shard, index / shards.len()));
            }
            index -= BUCKETS_MIN;
            for shard in shards {
                let shard = shard.read();
                let first = BUCKETS_MIN / shards.len();
                let added = shard.buckets() - first;
                if index < added {
                    return Ok(list_of_bucket(p, &shard, first + index));
                }
                index -= added;
            }
            if index == 0 { Ok(Term::atom(am::END_OF_TABLE)) } else { Err(BifExit::BADARG) }
        }
    }
}
