//! `ets:update_counter`, `update_element`: changing parts of objects in place.

use super::hash::{Verdict, hash_of};
use super::insert::object_of;
use super::lookup::has_key;
use super::object::Head;
use super::table::{Access, Storage, Table, TableKind};
use super::{One, done, register_of};
use crate::args::{list_of, pair_of};
use crossbeam_epoch::pin;
use smallvec::{SmallVec, smallvec};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, FragmentHeap, Release, Term, Tuple, am, atom, bigint, compare};

/// One change to an element that `update_counter` was asked for.
struct CounterChange {
    at: usize,
    increment: Term,
    /// Threshold, and what is set instead beyond it.
    limit: Option<(Term, Term)>,
}

fn counter_change(table: &Table, operation: Term) -> Result<CounterChange, BifExit> {
    if operation.is_integer() {
        return Ok(CounterChange { at: table.keypos + 1, increment: operation, limit: None });
    }
    let tuple = operation.as_tuple().ok_or(BifExit::BADARG)?;
    let elements = tuple.elements();
    let (position, increment, limit) = match *elements {
        [position, increment] => (position, increment, None),
        [position, increment, threshold, value] => (position, increment, Some((threshold, value))),
        _ => return Err(BifExit::BADARG),
    };
    let integers = increment.is_integer()
        && limit.is_none_or(|(threshold, value)| threshold.is_integer() && value.is_integer());
    let position = position.as_small().ok_or(BifExit::BADARG)?;
    if !integers {
        return Err(BifExit::BADARG);
    }
    if position < 1 {
        return Err(BifExit::Caused(atom!("position")));
    }
    Ok(CounterChange { at: position as usize - 1, increment, limit })
}

/// The new value of a counter.
fn counted<A: Alloc + ?Sized>(
    heap: &mut A,
    before: Term,
    change: &CounterChange,
) -> Result<Term, BifExit> {
    let sum = bigint::add(heap, before, change.increment).map_err(|_| BifExit::BADARG)?;
    let Some((threshold, value)) = change.limit else { return Ok(sum) };
    let downwards = compare(change.increment, Term::small(0)).is_lt();
    let beyond =
        if downwards { compare(sum, threshold).is_lt() } else { compare(sum, threshold).is_gt() };
    Ok(if beyond { value } else { sum })
}

/// Puts values into elements of a stored object, in place where that goes.
fn with_elements(object: &mut Head, values: &[(usize, Term)]) -> Verdict {
    let tuple = object.tuple();
    if values.iter().all(|&(at, value)| value.is_immediate() && tuple.get(at).is_immediate()) {
        for &(at, value) in values {
            object.set_immediate(at, value);
        }
        return Verdict::Keep;
    }
    let mut elements = tuple.elements().to_vec();
    for &(at, value) in values {
        elements[at] = value;
    }
    let mut heap = FragmentHeap::new();
    let changed = heap.tuple(&elements);
    Verdict::Replace(Head::new(changed, object.hash))
}

/// Changes the one object with this key. `None` when there is none.
fn update_object<R>(
    table: &Table,
    key: Term,
    change: impl FnOnce(&mut Head) -> (R, Verdict),
) -> Option<R> {
    let updated = match &table.storage {
        Storage::Ordered(tree) => tree.write().update(key, change),
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            Table::shard(shards, hash).write().update(key, hash, change)
        }
    };
    updated.map(|(result, change)| {
        table.count(change);
        result
    })
}

fn is_set(table: &Table) -> Result<(), BifExit> {
    if matches!(table.kind, TableKind::Set | TableKind::OrderedSet) {
        Ok(())
    } else {
        Err(BifExit::Caused(atom!("table_type")))
    }
}

/// From OTP 29 on a default that cannot be an object is refused first, whether it is used or not.
fn check_default(p: &Process, table: &Table, default: Option<Term>) -> Result<(), BifExit> {
    match default.filter(|_| p.vm.release() >= Release::R29) {
        Some(default) if object_of(table, default).is_err() => {
            Err(BifExit::Caused(atom!("default")))
        }
        _ => Ok(()),
    }
}

/// The commonest change of a counter: a small integer added to one. `None` when it is another, or
/// there is no such counter.
fn add_in_place(table: &Table, key: Term, operation: Term) -> Option<Term> {
    let change = if operation.is_list() { None } else { counter_change(table, operation).ok() };
    let change = change.filter(|change| change.limit.is_none() && change.at != table.keypos)?;
    let increment = change.increment.as_small()?;
    let add = |object: &mut Head| {
        let before = object.tuple().elements().get(change.at).and_then(|value| value.as_small());
        let sum = before
            .map(|before| before + increment)
            .filter(|sum| (Term::SMALL_MIN..=Term::SMALL_MAX).contains(sum))
            .map(Term::small);
        if let Some(sum) = sum {
            object.set_immediate(change.at, sum);
        }
        (sum, Verdict::Keep)
    };
    update_object(table, key, add)?
}

fn update_counter_in(
    p: &mut Process,
    id: Term,
    key: Term,
    operation: Term,
    default: Option<Term>,
) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    check_default(p, table, default)?;
    is_set(table)?;
    if let Some(value) = add_in_place(table, key, operation) {
        return done(table, value);
    }
    let operations =
        if operation.is_list() { list_of(operation)?.into() } else { One::from_elem(operation, 1) };
    let changes = operations
        .into_iter()
        .map(|operation| counter_change(table, operation))
        .collect::<Result<One<_>, _>>();
    if changes.is_err() && default.is_none() {
        // That there is no such key comes first.
        if !has_key(table, key) {
            return Err(BifExit::Caused(am::BADKEY));
        }
    }
    let changes = changes?;
    let default = match default {
        // Only the position that the key has can be missing in a tuple.
        Some(default) if default.is_tuple() => {
            Some(object_of(table, default).map_err(|_| BifExit::Caused(atom!("position")))?)
        }
        Some(default) => Some(object_of(table, default)?),
        None => None,
    };
    let apply = |object: &mut Head| -> (Result<One<Term>, BifExit>, Verdict) {
        let elements = object.tuple();
        let mut values: One<(usize, Term)> = One::with_capacity(changes.len());
        let mut results = One::with_capacity(changes.len());
        for change in &changes {
            if change.at == table.keypos {
                return (Err(BifExit::Caused(atom!("keypos"))), Verdict::Keep);
            }
            if change.at >= elements.arity() {
                return (Err(BifExit::Caused(atom!("position"))), Verdict::Keep);
            }
            let before = values
                .iter()
                .rev()
                .find(|(at, _)| *at == change.at)
                .map_or(elements.get(change.at), |&(_, value)| value);
            if !before.is_integer() {
                return (Err(BifExit::BADARG), Verdict::Keep);
            }
            match counted(p, before, change) {
                Ok(value) => {
                    values.push((change.at, value));
                    results.push(value);
                }
                Err(raise) => return (Err(raise), Verdict::Keep),
            }
        }
        let verdict = with_elements(object, &values);
        (Ok(results), verdict)
    };
    let results = match default {
        Some(default) => update_or_insert(table, key, default, apply)?,
        None => match update_object(table, key, apply) {
            Some(results) => results?,
            None => return Err(BifExit::Caused(am::BADKEY)),
        },
    };
    let answer = if operation.is_list() { p.list(&results) } else { results[0] };
    done(table, answer)
}

/// Changes the object with this key; where there is none, a changed copy of `default`, with this
/// key, becomes one.
fn update_or_insert<R>(
    table: &Table,
    key: Term,
    default: Tuple,
    mut change: impl FnMut(&mut Head) -> (Result<R, BifExit>, Verdict),
) -> Result<R, BifExit> {
    if let Some(result) = update_object(table, key, &mut change) {
        return result;
    }
    let mut elements = default.elements().to_vec();
    elements[table.keypos] = key;
    let mut heap = FragmentHeap::new();
    let fresh = heap.tuple(&elements);
    let hash = if table.kind == TableKind::OrderedSet { 0 } else { hash_of(key) };
    let mut object = Head::new(fresh, hash);
    // SAFETY: just made, and still ours.
    let (result, verdict) = change(unsafe { &mut *object });
    if result.is_err() {
        // SAFETY: nobody has seen it.
        unsafe { Head::free(object) };
        return result;
    }
    if let Verdict::Replace(new) = verdict {
        // SAFETY: no other process has seen the replaced object.
        unsafe { Head::free(std::mem::replace(&mut object, new)) };
    }
    // Another process may have inserted one meanwhile: then that is changed.
    let (overtaken, count) = match &table.storage {
        Storage::Ordered(tree) => {
            let mut tree = tree.write();
            match tree.update(key, &mut change) {
                Some((updated, count)) => (Some(updated), count),
                None => (None, tree.insert(object)),
            }
        }
        Storage::Hash(shards) => {
            let mut shard = Table::shard(shards, hash).write();
            match shard.update(key, hash, &mut change) {
                Some((updated, count)) => (Some(updated), count),
                None => (None, shard.insert(object, table.is_fixed())),
            }
        }
    };
    table.count(count);
    match overtaken {
        Some(updated) => {
            // SAFETY: it is in no table.
            unsafe { Head::free(object) };
            updated
        }
        None => result,
    }
}

#[bif("ets:update_counter/3")]
fn update_counter(p: &mut Process, id: Term, key: Term, operation: Term) -> BifResult {
    update_counter_in(p, id, key, operation, None)
}

#[bif("ets:update_counter/4")]
fn update_counter_4(
    p: &mut Process,
    id: Term,
    key: Term,
    operation: Term,
    default: Term,
) -> BifResult {
    update_counter_in(p, id, key, operation, Some(default))
}

#[bif("ets:update_element/3")]
fn update_element(p: &mut Process, id: Term, key: Term, specification: Term) -> BifResult {
    update_element_in(p, id, key, specification, None)
}

/// Where there is no object with this key, a changed copy of `default` becomes one.
#[bif("ets:update_element/4", since = 26)]
fn update_element_4(
    p: &mut Process,
    id: Term,
    key: Term,
    specification: Term,
    default: Term,
) -> BifResult {
    update_element_in(p, id, key, specification, Some(default))
}

/// The indexes and new values of elements, one or a list of them.
fn elements_of(
    specification: Term,
    no_such_position: impl Fn() -> BifExit,
) -> Result<SmallVec<[(usize, Term); 4]>, BifExit> {
    let element = |pair: Term| {
        let (position, value) = pair_of(pair).ok_or(BifExit::BADARG)?;
        let position = position.as_small().ok_or(BifExit::BADARG)?;
        if position < 1 { Err(no_such_position()) } else { Ok((position as usize - 1, value)) }
    };
    if specification.is_list() {
        list_of(specification)?.into_iter().map(element).collect()
    } else {
        Ok(smallvec![element(specification)?])
    }
}

fn update_element_in(
    p: &mut Process,
    id: Term,
    key: Term,
    specification: Term,
    default: Option<Term>,
) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    check_default(p, table, default)?;
    if is_set(table).is_err() {
        return Err(BifExit::BADARG);
    }
    let default = match default {
        Some(default) => match object_of(table, default) {
            Ok(default) => Some(default),
            Err(_) if default.is_tuple() => return Err(BifExit::Caused(atom!("position"))),
            Err(raise) => return Err(raise),
        },
        None => None,
    };
    // From OTP 27 on the cause names the position.
    let no_such_position = || match p.vm.release() {
        Release::R25 | Release::R26 => BifExit::BADARG,
        _ => BifExit::Caused(atom!("position")),
    };
    let values = match elements_of(specification, no_such_position) {
        Ok(values) => values,
        // That there is no such key comes first.
        Err(_) if default.is_none() && !has_key(table, key) => {
            return done(table, Term::bool(false));
        }
        Err(raise) => return Err(raise),
    };
    let change = |object: &mut Head| {
        let arity = object.tuple().arity();
        if values.iter().any(|&(at, _)| at == table.keypos) {
            return (Err(BifExit::Caused(atom!("keypos"))), Verdict::Keep);
        }
        if values.iter().any(|&(at, _)| at >= arity) {
            return (Err(no_such_position()), Verdict::Keep);
        }
        let verdict = with_elements(object, &values);
        (Ok(()), verdict)
    };
    let updated = match default {
        Some(default) => update_or_insert(table, key, default, change).map(|()| true)?,
        None => match update_object(table, key, change) {
            Some(result) => result.map(|()| true)?,
            None => false,
        },
    };
    done(table, Term::bool(updated))
}
