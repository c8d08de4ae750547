//! `ets`: tables of terms shared by all processes.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | a table, and the register of all |
//! | [`object`] | one stored tuple in memory of its own |
//! | [`hash`] | sets and bags |
//! | [`ordered`] | ordered sets |
//! | [`matchspec`] | match specifications |
//! | [`select`] | walking through a table with one |
//!
//! Invariants: terms are copied when they go in and when they come out, literals too. A reader or writer
//! holds the lock of what it looks at for the work on a bounded number of objects.

mod hash;
mod matchspec;
mod object;
mod ordered;
mod select;
mod table;

use crate::args::{atom_of, list_of, pair_of, size_of};
use crate::long::{self, Stop};
use crossbeam_epoch::pin;
use hash::{Verdict, hash_of};
use object::{Head, OwnedTerm};
use smallvec::SmallVec;
use swarmrt_heap::copy_whole;
use swarmrt_machine::{BifResult, Process, BifExit, Vm, bif, signal};
use swarmrt_term::bigint;
use swarmrt_term::{Alloc, FragmentHeap, NodeInfo, RefKind, Release, Term, Tuple, am, atom, compare, equal_exact, print};
pub(crate) use table::TABLES_MAX;
use table::{Access, Heir, Kind, Protection, Register, Storage, Table, Tuning, Wanted, WriteConcurrency};

/// What the end of a table counts, as in OTP.
const REDUCTIONS_PER_TABLE: usize = 30;
/// Words of objects that count as one reduction when they are copied.
const WORDS_PER_REDUCTION: usize = 50;

fn register_of(p: &Process) -> &'static Register {
    p.vm.extension::<Register>()
}

/// Has tables looked after when processes end.
pub fn register(vm: &'static Vm) {
    vm.add_exit_hook(process_ended);
}

/// Tables that there are.
pub(crate) fn count(p: &Process) -> usize {
    register_of(p).all(&pin()).len()
}

/// Bytes that all tables take.
pub(crate) fn memory_bytes(vm: &'static Vm) -> usize {
    let guard = &pin();
    vm.extension::<Register>().all(guard).iter().map(|table| table.words() * 8).sum()
}

/// A section for each table, in the form of OTP's crash dumps.
pub(crate) fn write_tables(
    vm: &'static Vm,
    objects: bool,
    out: &mut dyn std::io::Write,
) -> std::io::Result<()> {
    let guard = &pin();
    for (slot, table) in vm.extension::<Register>().all(guard).into_iter().enumerate() {
        let shown = |term: Term| print::display(term).to_string();
        let mut heap = FragmentHeap::new();
        let id = shown(table.id(&mut heap));
        writeln!(out, "=ets:{}\nSlot: {slot}\nTable: {id}", shown(Term::pid(table.owner())))?;
        writeln!(out, "Name: {}", shown(Term::atom(table.name())))?;
        writeln!(out, "Fixed: {}\nObjects: {}", table.is_fixed(), table.len())?;
        writeln!(out, "Words: {}\nType: {}", table.words(), table.kind.atom())?;
        writeln!(out, "Protection: {}", table.protection().atom())?;
        writeln!(out, "Compressed: {}", table.tuning.compressed)?;
        let concurrent = table.tuning.write_concurrency != WriteConcurrency::Off;
        writeln!(out, "Write Concurrency: {concurrent}")?;
        writeln!(out, "Read Concurrency: {}", table.tuning.read_concurrency)?;
        if objects {
            table.each_object(|object| writeln!(out, "{}", shown(object)))?;
        }
    }
    Ok(())
}

fn yes() -> BifResult {
    Ok(Term::bool(true))
}

/// The answer of a built-in that has worked on the table. Where somebody deleted the table meanwhile, it comes too late:
/// what it saw may have been taken away before.
fn done(table: &Table, answer: Term) -> BifResult {
    if table.is_dead() { Err(BifExit::Caused(atom!("id"))) } else { Ok(answer) }
}

/// A copy of a stored term on the heap of the process.
fn copy_out(p: &mut Process, term: Term) -> Term {
    if term.is_immediate() { term } else { copy_whole(term, p) }
}

#[bif("ets:new/2")]
fn new(p: &mut Process, name: Term, options: Term) -> BifResult {
    let name = atom_of(name)?;
    let mut wanted = Wanted { name, named: false, kind: Kind::Set, protection: Protection::Protected, keypos: 0, heir: None, tuning: Tuning::default() };
    for option in list_of(options)? {
        new_option(&mut wanted, option)?;
    }
    if wanted.kind == Kind::OrderedSet && matches!(wanted.tuning.write_concurrency, WriteConcurrency::Locks(_)) {
        return Err(BifExit::BADARG);
    }
    let guard = &pin();
    let table = register_of(p).create(p, wanted, guard)?;
    Ok(table.id(p))
}

fn new_option(wanted: &mut Wanted, option: Term) -> Result<(), BifExit> {
    if let Some(name) = option.as_atom() {
        if let Some(kind) = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag].into_iter().find(|kind| kind.atom() == name) {
            wanted.kind = kind;
        } else if let Some(protection) = Protection::of(name) {
            wanted.protection = protection;
        } else if name == atom!("named_table") {
            wanted.named = true;
        } else if name == atom!("compressed") {
            wanted.tuning.compressed = true;
        } else {
            return Err(BifExit::BADARG);
        }
        return Ok(());
    }
    if let Some(tuple) = option.as_tuple().filter(|tuple| tuple.arity() == 3) {
        if tuple.get(0) != Term::atom(atom!("heir")) {
            return Err(BifExit::BADARG);
        }
        wanted.heir = Some(Heir { pid: tuple.get(1).as_pid().ok_or(BifExit::BADARG)?, data: OwnedTerm::new(tuple.get(2)) });
        return Ok(());
    }
    let (key, value) = pair_of(option).ok_or(BifExit::BADARG)?;
    let flag = value.as_bool().ok_or(BifExit::BADARG);
    match atom_of(key)?.name() {
        "keypos" => wanted.keypos = size_of(value)?.checked_sub(1).ok_or(BifExit::BADARG)?,
        "heir" if value == Term::atom(am::NONE) => wanted.heir = None,
        "read_concurrency" => wanted.tuning.read_concurrency = flag?,
        "write_concurrency" => wanted.tuning.write_concurrency = write_concurrency_of(value)?,
        "decentralized_counters" => wanted.tuning.decentralized_counters = Some(flag?),
        _ => return Err(BifExit::BADARG),
    }
    Ok(())
}

/// The most and fewest locks that can be asked for; other numbers mean the power of two below them.
const LOCKS: std::ops::RangeInclusive<u32> = 64..=32_768;

fn write_concurrency_of(value: Term) -> Result<WriteConcurrency, BifExit> {
    if let Some((key, locks)) = pair_of(value) {
        let locks = u32::try_from(size_of(locks)?).ok().filter(|locks| (1..=*LOCKS.end()).contains(locks)).ok_or(BifExit::BADARG)?;
        let known = key == Term::atom(atom!("debug_hash_fixed_number_of_locks"));
        return if known { Ok(WriteConcurrency::Locks(1 << locks.max(*LOCKS.start()).ilog2())) } else { Err(BifExit::BADARG) };
    }
    match value.as_bool() {
        Some(true) => Ok(WriteConcurrency::On),
        Some(false) => Ok(WriteConcurrency::Off),
        None if value == Term::atom(atom!("auto")) => Ok(WriteConcurrency::Auto),
        None => Err(BifExit::BADARG),
    }
}

/// An object that may go into the table.
fn object_of(table: &Table, term: Term) -> Result<Tuple, BifExit> {
    term.as_tuple().filter(|tuple| table.keypos < tuple.arity()).ok_or(BifExit::BADARG)
}

/// A stored copy of the object.
fn stored(table: &Table, object: Tuple) -> *mut Head {
    let hash = if table.kind == Kind::OrderedSet { 0 } else { hash_of(object.get(table.keypos)) };
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
            if only_new && objects.iter().any(|object| tree.get(object.get(table.keypos)).is_some()) {
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
            let mut locked: Vec<_> = shards.iter().map(parking_lot::RwLock::write).collect();
            let fixed = table.is_fixed();
            let part = |hash: u32| (hash >> 24) as usize & (shards.len() - 1);
            let present = |object: &Tuple| {
                let key = object.get(table.keypos);
                let hash = hash_of(key);
                locked[part(hash)].with_key(key, hash).next().is_some()
            };
            if only_new && objects.iter().any(present) {
                return false;
            }
            for &object in objects {
                let object = stored(table, object);
                // SAFETY: just made, and still ours.
                let hash = unsafe { (*object).hash };
                table.count(locked[part(hash)].insert(object, fixed));
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

fn is_many(objects: Term) -> bool {
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

/// Calls `visit` with the objects of this key, the newest first.
fn each_with_key(table: &Table, key: Term, mut visit: impl FnMut(&Head)) {
    match &table.storage {
        Storage::Ordered(tree) => {
            if let Some(object) = tree.read().get(key) {
                visit(object);
            }
        }
        Storage::Hash(shards) => {
            let hash = hash_of(key);
            let shard = Table::shard(shards, hash).read();
            if table.kind == Kind::Set {
                if let Some(object) = shard.get(key, hash) {
                    visit(object);
                }
            } else {
                shard.with_key(key, hash).for_each(visit);
            }
        }
    }
}

fn lookup_in(p: &mut Process, table: &Table, key: Term, part: impl Fn(&Head) -> Option<Term>) -> Result<Term, BifExit> {
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
fn lookup(p: &mut Process, id: Term, key: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    lookup_in(p, table, key, |object| Some(object.term()))
}

#[bif("ets:lookup_element/3")]
fn lookup_element(p: &mut Process, id: Term, key: Term, position: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Read, guard)?;
    let at = position.as_small().filter(|&position| position >= 1).ok_or(BifExit::BADARG)? as usize - 1;
    let list = lookup_in(p, table, key, |object| object.tuple().elements().get(at).copied())?;
    let Some(cell) = list.as_cons() else { return Err(BifExit::Caused(am::BADKEY)) };
    Ok(if matches!(table.kind, Kind::Set | Kind::OrderedSet) { cell.head() } else { list })
}

/// A key that is not there has the value `default`.
#[bif("ets:lookup_element/4", since = 26)]
fn lookup_element_4(p: &mut Process, id: Term, key: Term, position: Term, default: Term) -> BifResult {
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

fn has_key(table: &Table, key: Term) -> bool {
    let mut found = false;
    each_with_key(table, key, |_| found = true);
    found
}

/// Removes the objects with this key for which `which` says so.
fn remove(table: &Table, key: Term, mut which: impl FnMut(&Head) -> bool) {
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
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    register.delete(table, guard);
    p.bump_reductions(REDUCTIONS_PER_TABLE);
    yes()
}

#[bif("ets:internal_delete_all/2")]
fn internal_delete_all(p: &mut Process, id: Term, _state: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    Ok(Term::small(table.clear(register) as i64))
}

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
    let integers = increment.is_integer() && limit.is_none_or(|(threshold, value)| threshold.is_integer() && value.is_integer());
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
fn counted<A: Alloc + ?Sized>(heap: &mut A, before: Term, change: &CounterChange) -> Result<Term, BifExit> {
    let sum = bigint::add(heap, before, change.increment).map_err(|_| BifExit::BADARG)?;
    let Some((threshold, value)) = change.limit else { return Ok(sum) };
    let downwards = compare(change.increment, Term::small(0)).is_lt();
    let beyond = if downwards { compare(sum, threshold).is_lt() } else { compare(sum, threshold).is_gt() };
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
fn update_object<R>(table: &Table, key: Term, change: impl FnOnce(&mut Head) -> (R, Verdict)) -> Option<R> {
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
    if matches!(table.kind, Kind::Set | Kind::OrderedSet) { Ok(()) } else { Err(BifExit::Caused(atom!("table_type"))) }
}

/// The commonest change of a counter: a small integer added to one. `None` when it is another, or there is no such counter.
fn add_in_place(table: &Table, key: Term, operation: Term) -> Option<Term> {
    let change = if operation.is_list() { None } else { counter_change(table, operation).ok() };
    let change = change.filter(|change| change.limit.is_none() && change.at != table.keypos)?;
    let increment = change.increment.as_small()?;
    let add = |object: &mut Head| {
        let before = object.tuple().elements().get(change.at).and_then(|value| value.as_small());
        let sum = before.map(|before| before + increment).filter(|sum| (Term::SMALL_MIN..=Term::SMALL_MAX).contains(sum)).map(Term::small);
        if let Some(sum) = sum {
            object.set_immediate(change.at, sum);
        }
        (sum, Verdict::Keep)
    };
    update_object(table, key, add)?
}

/// Several of what is one mostly.
type One<T> = SmallVec<[T; 1]>;

fn update_counter_in(p: &mut Process, id: Term, key: Term, operation: Term, default: Option<Term>) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    is_set(table)?;
    if let Some(value) = add_in_place(table, key, operation) {
        return done(table, value);
    }
    let operations = if operation.is_list() { list_of(operation)?.into() } else { One::from_elem(operation, 1) };
    let changes = operations.into_iter().map(|operation| counter_change(table, operation)).collect::<Result<One<_>, _>>();
    if changes.is_err() && default.is_none() {
        // That there is no such key comes first.
        if !has_key(table, key) {
            return Err(BifExit::Caused(am::BADKEY));
        }
    }
    let changes = changes?;
    let default = match default {
        // Only the position that the key has can be missing in a tuple.
        Some(default) if default.is_tuple() => Some(object_of(table, default).map_err(|_| BifExit::Caused(atom!("position")))?),
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
            let before = values.iter().rev().find(|(at, _)| *at == change.at).map_or(elements.get(change.at), |&(_, value)| value);
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

/// Changes the object with this key; where there is none, a changed copy of `default`, with this key,
/// becomes one.
fn update_or_insert<R>(table: &Table, key: Term, default: Tuple, mut change: impl FnMut(&mut Head) -> (Result<R, BifExit>, Verdict)) -> Result<R, BifExit> {
    if let Some(result) = update_object(table, key, &mut change) {
        return result;
    }
    let mut elements = default.elements().to_vec();
    elements[table.keypos] = key;
    let mut heap = FragmentHeap::new();
    let fresh = heap.tuple(&elements);
    let hash = if table.kind == Kind::OrderedSet { 0 } else { hash_of(key) };
    let mut object = Head::new(fresh, hash);
    // SAFETY: just made, and still ours.
    let (result, verdict) = change(unsafe { &mut *object });
    if result.is_err() {
        // SAFETY: nobody has seen it.
        unsafe { Head::free(object) };
        return result;
    }
    if let Verdict::Replace(new) = verdict {
        // SAFETY: as above.
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
fn update_counter_4(p: &mut Process, id: Term, key: Term, operation: Term, default: Term) -> BifResult {
    update_counter_in(p, id, key, operation, Some(default))
}

#[bif("ets:update_element/3")]
fn update_element(p: &mut Process, id: Term, key: Term, specification: Term) -> BifResult {
    update_element_in(p, id, key, specification, None)
}

/// Where there is no object with this key, a changed copy of `default` becomes one.
#[bif("ets:update_element/4", since = 26)]
fn update_element_4(p: &mut Process, id: Term, key: Term, specification: Term, default: Term) -> BifResult {
    update_element_in(p, id, key, specification, Some(default))
}

fn update_element_in(p: &mut Process, id: Term, key: Term, specification: Term, default: Option<Term>) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    if is_set(table).is_err() {
        return Err(BifExit::BADARG);
    }
    // That there is no such key comes first.
    if default.is_none() && !has_key(table, key) {
        return done(table, Term::bool(false));
    }
    let pairs = if specification.is_list() { list_of(specification)? } else { vec![specification] };
    let mut values = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (position, value) = pair_of(pair).ok_or(BifExit::BADARG)?;
        let at = position.as_small().filter(|&position| position >= 1).ok_or(BifExit::BADARG)? as usize - 1;
        values.push((at, value));
    }
    let default = match default {
        Some(default) => match object_of(table, default) {
            Ok(default) => Some(default),
            Err(_) if p.vm.release() >= Release::R29 => {
                return Err(BifExit::Caused(atom!("default")));
            }
            Err(_) if default.is_tuple() => return Err(BifExit::Caused(atom!("position"))),
            Err(raise) => return Err(raise),
        },
        None => None,
    };
    // OTP names the position only where there is a default object.
    let no_such_position = || match default {
        Some(_) => BifExit::Caused(atom!("position")),
        None => BifExit::BADARG,
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

fn key_or_end(p: &mut Process, key: Option<Term>) -> Term {
    key.map_or(Term::atom(am::END_OF_TABLE), |key| copy_out(p, key))
}

/// The first key of the parts of a hash table from `shard` on.
fn first_in(p: &mut Process, shards: &[parking_lot::RwLock<hash::HashTable>], shard: usize) -> Term {
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

/// `{Key, Objects}` for a key that `find` finds. One whose objects are deleted between the two steps was
/// not there.
fn with_objects(p: &mut Process, id: Term, mut find: impl FnMut(&mut Process) -> BifResult) -> BifResult {
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
            if index == tree.len() && index > 0 { Ok(Term::atom(am::END_OF_TABLE)) } else { Err(BifExit::BADARG) }
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

#[bif("ets:whereis/1")]
fn whereis(p: &mut Process, id: Term) -> BifResult {
    let guard = &pin();
    let known = id.is_atom() || id.as_local_ref().is_some_and(|reference| reference.ref_kind() == RefKind::Table);
    if !known {
        return Err(BifExit::BADARG);
    }
    let table = register_of(p).find(id, guard).filter(|table| !table.is_dead());
    Ok(table.map_or(Term::atom(am::UNDEFINED), |table| table.reference.to_term(p)))
}

#[bif("ets:rename/2")]
fn rename(p: &mut Process, id: Term, name: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    let name = atom_of(name)?;
    register.rename(table, name).map_err(|()| BifExit::BADARG)?;
    Ok(table.id(p))
}

#[bif("ets:setopts/2")]
fn setopts(p: &mut Process, id: Term, options: Term) -> BifResult {
    let guard = &pin();
    let table = register_of(p).table(p, id, Access::Write, guard)?;
    let options = if options.is_list() { list_of(options)? } else { vec![options] };
    let mut heir: Option<Option<Heir>> = None;
    let mut protection = None;
    for option in options {
        let tuple = option.as_tuple().ok_or(BifExit::BADARG)?;
        match *tuple.elements() {
            [key, pid, data] if key == Term::atom(atom!("heir")) && heir.is_none() => {
                heir = Some(Some(Heir { pid: pid.as_pid().ok_or(BifExit::BADARG)?, data: OwnedTerm::new(data) }));
            }
            [key, value] if key == Term::atom(atom!("heir")) && value == Term::atom(am::NONE) && heir.is_none() => heir = Some(None),
            [key, value] if key == Term::atom(atom!("protection")) && protection.is_none() => {
                protection = Some(value.as_atom().and_then(Protection::of).ok_or(BifExit::BADARG)?);
            }
            _ => return Err(BifExit::BADARG),
        }
    }
    if table.owner() != p.id() {
        return Err(BifExit::Caused(atom!("not_owner")));
    }
    if let Some(heir) = heir {
        *table.heir.lock() = heir;
    }
    if let Some(protection) = protection {
        table.set_protection(protection);
    }
    yes()
}

/// Sends `{'ETS-TRANSFER', Table, From, Data}`.
fn announce(vm: &'static Vm, table: &Table, from: u64, to: u64, data: Term) {
    let mut heap = FragmentHeap::new();
    let id = table.id(&mut heap);
    let message = heap.tuple(&[Term::atom(atom!("ETS-TRANSFER")), id, Term::pid(from), data]);
    signal::send_message(vm, Term::pid(from), to, message);
}

#[bif("ets:give_away/3")]
fn give_away(p: &mut Process, id: Term, to: Term, data: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    let to = to.as_pid().ok_or(BifExit::BADARG)?;
    if table.owner() != p.id() {
        return Err(BifExit::Caused(atom!("not_owner")));
    }
    if to == p.id() {
        return Err(BifExit::Caused(atom!("owner")));
    }
    if p.vm.processes.get(to).is_none() {
        return Err(BifExit::BADARG);
    }
    register.give(table, to);
    announce(p.vm, table, p.id(), to, data);
    if p.vm.processes.get(to).is_none() {
        // It ended meanwhile, and may have looked for its tables before.
        orphaned(p.vm, register, to, guard);
    }
    yes()
}

/// Deletes the tables of a process that is gone, or gives them to their heirs.
fn orphaned(vm: &'static Vm, register: &Register, pid: u64, guard: &crossbeam_epoch::Guard) {
    for slot in register.held_by(pid) {
        let Some(table) = register.at(slot, guard) else { continue };
        table.unfix(pid, true);
        if table.owner() != pid {
            continue;
        }
        // The heir stays the heir: `info` tells so.
        let heir = {
            let heir = table.heir.lock();
            let heir = heir.as_ref().filter(|heir| heir.pid != pid && vm.processes.get(heir.pid).is_some());
            heir.map(|heir| {
                register.give(table, heir.pid);
                announce(vm, table, pid, heir.pid, heir.data.term);
                heir.pid
            })
        };
        match heir {
            Some(heir) if vm.processes.get(heir).is_none() => orphaned(vm, register, heir, guard),
            Some(_) => {}
            None => {
                register.delete(table, guard);
            }
        }
    }
}

fn process_ended(p: &mut Process) {
    let guard = &pin();
    orphaned(p.vm, register_of(p), p.id(), guard);
}

#[bif("ets:safe_fixtable/2")]
fn safe_fixtable(p: &mut Process, id: Term, fix: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Read, guard)?;
    let slot = Register::slot_of(table);
    if fix.as_bool().ok_or(BifExit::BADARG)? {
        if table.fix(p.id(), p.vm.clock.monotonic_ns()) {
            register.hold(p.id(), slot);
        }
    } else if table.unfix(p.id(), false) {
        register.let_go(p.id(), slot);
    }
    yes()
}

#[bif("ets:internal_request_all/0")]
fn internal_request_all(p: &mut Process) -> BifResult {
    let guard = &pin();
    let reference = p.make_ref();
    let mut heap = FragmentHeap::new();
    let ids: Vec<Term> = register_of(p).all(guard).iter().map(|table| table.id(&mut heap)).collect();
    let ids = heap.list(&ids);
    let copied = copy_whole(reference, &mut heap);
    // One answer for each scheduler is expected: the first has it all.
    for scheduler in 0..p.vm.config.schedulers.max(1) {
        let message = heap.tuple(&[copied, if scheduler == 0 { ids } else { Term::NIL }]);
        signal::send_message(p.vm, p.pid(), p.id(), message);
    }
    Ok(reference)
}

/// The items of `ets:info/1`, in OTP's order.
const INFO_ITEMS: [&str; 15] = [
    "id",
    "decentralized_counters",
    "read_concurrency",
    "write_concurrency",
    "compressed",
    "memory",
    "owner",
    "heir",
    "name",
    "size",
    "node",
    "named_table",
    "type",
    "keypos",
    "protection",
];

fn info_item(p: &mut Process, table: &Table, item: &str) -> Option<Term> {
    Some(match item {
        "id" => table.reference.to_term(p),
        "decentralized_counters" => Term::bool(table.tuning.decentralized_counters == Some(true)),
        "read_concurrency" => Term::bool(table.tuning.read_concurrency),
        "write_concurrency" => match table.tuning.write_concurrency {
            WriteConcurrency::Off => Term::bool(false),
            WriteConcurrency::On => Term::bool(true),
            WriteConcurrency::Auto => Term::atom(atom!("auto")),
            WriteConcurrency::Locks(locks) => p.tuple(&[Term::atom(atom!("debug_hash_fixed_number_of_locks")), Term::small(i64::from(locks))]),
        },
        "compressed" => Term::bool(table.tuning.compressed),
        "memory" => Term::small(table.words() as i64),
        "owner" => Term::pid(table.owner()),
        "heir" => {
            // A process that is gone is nobody's heir.
            let heir = table.heir.lock().as_ref().map(|heir| heir.pid).filter(|&heir| p.vm.processes.get(heir).is_some());
            heir.map_or(Term::atom(am::NONE), Term::pid)
        }
        "name" => Term::atom(table.name()),
        "size" => Term::small(table.len() as i64),
        "node" => Term::atom(NodeInfo::this().name),
        "named_table" => Term::bool(table.named),
        "type" => Term::atom(table.kind.atom()),
        "keypos" => Term::small(table.keypos as i64 + 1),
        "protection" => Term::atom(table.protection().atom()),
        "fixed" => Term::bool(table.is_fixed()),
        "safe_fixed" => fixations(p, table, false),
        "safe_fixed_monotonic_time" => fixations(p, table, true),
        "binary" => binaries(p, table),
        "stats" => statistics(p, table),
        _ => return None,
    })
}

fn fixations(p: &mut Process, table: &Table, monotonic: bool) -> Term {
    let fixes = table.fixes.lock();
    if fixes.by.is_empty() {
        return Term::bool(false);
    }
    let since = if monotonic {
        p.int(fixes.since_monotonic_ns)
    } else {
        let micros = (fixes.since_monotonic_ns + p.vm.clock.offset_ns()) / 1000;
        p.tuple(&[Term::small(micros / 1_000_000_000_000), Term::small(micros / 1_000_000 % 1_000_000), Term::small(micros % 1_000_000)])
    };
    let pairs: Vec<Term> = fixes.by.iter().map(|(&pid, &count)| p.tuple(&[Term::pid(pid), Term::small(count as i64)])).collect();
    let pairs = p.list(&pairs);
    p.tuple(&[since, pairs])
}

/// The shared binaries in a table: a list of `{Address, Size, References}`.
fn binaries(p: &mut Process, table: &Table) -> Term {
    let mut list = Term::NIL;
    let mut add = |object: &Head| {
        for (address, size, references) in object.binaries() {
            let address = p.uint(address);
            let item = p.tuple(&[address, Term::small(size as i64), Term::small(references as i64)]);
            list = p.cons(item, list);
        }
    };
    match &table.storage {
        Storage::Hash(shards) => shards.iter().for_each(|shard| shard.read().objects().for_each(&mut add)),
        Storage::Ordered(tree) => tree.read().objects().for_each(&mut add),
    }
    list
}

/// `{Buckets, AverageLength, Deviation, ExpectedDeviation, Shortest, Longest, KeptObjects, Locks}`.
fn statistics(p: &mut Process, table: &Table) -> Term {
    let Storage::Hash(shards) = &table.storage else { return Term::bool(false) };
    let mut lengths = Vec::new();
    let mut kept = 0;
    for shard in shards {
        let shard = shard.read();
        kept += shard.marked();
        lengths.extend((0..shard.buckets()).map(|bucket| shard.bucket(bucket).count()));
    }
    let count = lengths.len() as f64;
    let average = lengths.iter().sum::<usize>() as f64 / count;
    let variance = lengths.iter().map(|&length| (length as f64 - average).powi(2)).sum::<f64>() / count;
    let expected = (average * (1.0 - 1.0 / count)).sqrt();
    let (shortest, longest) = (lengths.iter().min().copied().unwrap_or(0), lengths.iter().max().copied().unwrap_or(0));
    let single = |value: f64| f64::from(value as f32);
    let values = [p.float(single(average)), p.float(single(variance.sqrt())), p.float(single(expected))];
    p.tuple(&[
        Term::small(lengths.len() as i64),
        values[0],
        values[1],
        values[2],
        Term::small(shortest as i64),
        Term::small(longest as i64),
        Term::small(kept as i64),
        Term::small(shards.len() as i64),
    ])
}

/// The table to tell about; `None` when there is none.
fn info_table<'g>(p: &Process, id: Term, guard: &'g crossbeam_epoch::Guard) -> Result<Option<&'g Table>, BifExit> {
    let found = register_of(p).find(id, guard).filter(|table| !table.is_dead());
    // Only references of tables can be those of tables that are gone.
    let known = id.is_atom() || id.as_local_ref().is_some_and(|reference| reference.ref_kind() == RefKind::Table);
    if found.is_none() && !known { Err(BifExit::Caused(atom!("type"))) } else { Ok(found) }
}

#[bif("ets:info/1")]
fn info_1(p: &mut Process, id: Term) -> BifResult {
    let guard = &pin();
    let Some(table) = info_table(p, id, guard)? else { return Ok(Term::atom(am::UNDEFINED)) };
    let mut list = Term::NIL;
    for item in INFO_ITEMS.iter().rev() {
        let value = info_item(p, table, item).expect("the items are known");
        let pair = p.tuple(&[Term::atom(swarmrt_term::Atom::new(item)), value]);
        list = p.cons(pair, list);
    }
    Ok(list)
}

#[bif("ets:info/2")]
fn info_2(p: &mut Process, id: Term, item: Term) -> BifResult {
    let guard = &pin();
    let Some(table) = info_table(p, id, guard)? else { return Ok(Term::atom(am::UNDEFINED)) };
    let item = atom_of(item)?;
    info_item(p, table, item.name()).ok_or(BifExit::BADARG)
}

#[bif("erts_internal:ets_super_user/1")]
fn ets_super_user(_p: &mut Process, _on: Term) -> BifResult {
    yes()
}
