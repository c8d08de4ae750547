//! `ets:insert/2`, `insert_new/2`.

use super::hash::{hash_of, part_of};
use super::object::Head;
use super::table::{Access, Storage, Table, TableKind};
use super::{One, done, register_of};
use crate::args::list_of;
use crate::long;
use crate::long::Stop;
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Term, Tuple, atom};

/// An object that may go into the table.
pub(super) fn object_of(table: &Table, term: Term) -> Result<Tuple, BifExit> {
    term.as_tuple().filter(|tuple| table.keypos < tuple.arity()).ok_or(BifExit::BADARG)
}

/// A stored copy of the object.
pub(super) fn stored(table: &Table, object: Tuple) -> *mut Head {
    let hash =
        if table.kind == TableKind::OrderedSet { 0 } else { hash_of(object.get(table.keypos)) };
    Head::new(object.term(), hash)
}

fn objects_of(table: &Table, objects: Term) -> Result<One<Tuple>, BifExit> {
    if !objects.is_list() {
        return Ok(One::from_elem(object_of(table, objects)?, 1));
    }
    list_of(objects)?.into_iter().map(|object| object_of(table, object)).collect()
}

/// Takes in objects, all at once as far as others can see.
fn put_all(table: &Table, objects: &[Tuple], only_new: bool) -> bool {
    match &table.storage {
        Storage::Ordered(tree) => {
            let mut tree = tree.write();
            if only_new && objects.iter().any(|object| tree.get(object.get(table.keypos)).is_some())
            {
                return false;
            }
            for &object in objects {
                table.count(tree.insert(stored(table, object)));
            }
        }
        Storage::Hash(shards) => {
            if let &[object] = objects {
                let key = object.get(table.keypos);
                let hash = hash_of(key);
                let copy = || Head::new(object.term(), hash);
                // It is copied before the lock is taken, unless it may not be put in.
                let at_once = (!only_new).then(copy);
                let mut shard = Table::shard(shards, hash).write();
                if only_new && shard.with_key(key, hash).next().is_some() {
                    return false;
                }
                table.count(shard.insert(at_once.unwrap_or_else(copy), table.is_fixed()));
                return true;
            }
            let part = |hash: u32| part_of(hash, shards.len());
            let hash = |object: &Tuple| hash_of(object.get(table.keypos));
            let wanted = match shards.len() {
                1 => 1_u64,
                _ => objects.iter().fold(0, |parts, object| parts | 1 << part(hash(object))),
            };
            // In the order of the parts, as everybody does who takes more than one.
            let mut locked: Vec<_> = (0..)
                .zip(shards)
                .map(|(part, shard)| (wanted >> part & 1 == 1).then(|| shard.write()))
                .collect();
            let fixed = table.is_fixed();
            if only_new {
                let present = |object: &Tuple| {
                    let (key, hash) = (object.get(table.keypos), hash(object));
                    let shard = locked[part(hash)].as_ref().expect("its part is locked");
                    shard.with_key(key, hash).next().is_some()
                };
                if objects.iter().any(present) {
                    return false;
                }
            }
            for &object in objects {
                let object = stored(table, object);
                // SAFETY: just made, and still ours.
                let hash = unsafe { (*object).hash };
                let shard = locked[part(hash)].as_mut().expect("its part is locked");
                table.count(shard.insert(object, fixed));
            }
        }
    }
    true
}

#[bif("ets:insert/2")]
fn insert(p: &mut Process, id: Term, objects: Term) -> BifResult {
    if objects.is_tuple() {
        return insert_now(p, id, objects);
    }
    long::run(p, atom!("ets"), atom!("insert"), &[id, objects], |p| {
        if is_many(objects) {
            return Err(Stop::Long);
        }
        Ok(insert_now(p, id, objects)?)
    })
}

/// Objects that are put in at once; more are put in where that disturbs nobody.
const QUICK_OBJECTS: usize = 1_000;

pub(super) fn is_many(objects: Term) -> bool {
    let mut rest = objects;
    let more = (0..=QUICK_OBJECTS).all(|_| rest.as_cons().map(|cell| rest = cell.tail()).is_some());
    more && !long::may_take_long()
}

fn insert_now(p: &mut Process, id: Term, objects: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    if let Some(object) = objects.as_tuple() {
        if table.keypos >= object.arity() {
            return Err(BifExit::BADARG);
        }
        put_all(table, &[object], false);
        return done(table, Term::bool(true));
    }
    let objects = objects_of(table, objects)?;
    p.bump_reductions(objects.len());
    put_all(table, &objects, false);
    done(table, Term::bool(true))
}

#[bif("ets:insert_new/2")]
fn insert_new(p: &mut Process, id: Term, objects: Term) -> BifResult {
    long::run(p, atom!("ets"), atom!("insert_new"), &[id, objects], |p| {
        if is_many(objects) {
            return Err(Stop::Long);
        }
        Ok(insert_new_now(p, id, objects)?)
    })
}

fn insert_new_now(p: &mut Process, id: Term, objects: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    let objects = objects_of(table, objects)?;
    p.bump_reductions(objects.len());
    let inserted = put_all(table, &objects, true);
    done(table, Term::bool(inserted))
}
