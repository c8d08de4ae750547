//! `persistent_term`: terms that all processes read without copying.
//!
//! Each value lives in a literal area of its own. A replaced or erased value may still be in use by
//! any process: it is freed as literals are, see `swarmrt_machine::code::retire`.

use crate::args::badarg;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::Ordering;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::{Alloc, Term, am, atom, equal_exact, hash, map};

/// Key and value as literals.
struct Entry {
    key: Term,
    value: Term,
    area: LiteralArea,
}

struct PersistentTable {
    /// By the hash of the key.
    entries: HashMap<u64, Vec<Entry>, BuildHasherDefault<NumberHasher>>,
    /// Slots of `entries`: a power of two, of which no more than half are in use.
    slots: usize,
    count: usize,
    words: usize,
}

impl Default for PersistentTable {
    fn default() -> PersistentTable {
        PersistentTable {
            entries: HashMap::default(),
            slots: PersistentTable::SLOTS_MIN,
            count: 0,
            words: 0,
        }
    }
}

impl PersistentTable {
    fn find(&self, key: Term) -> Option<&Entry> {
        self.entries
            .get(&hash::internal_hash(key))?
            .iter()
            .find(|entry| equal_exact(entry.key, key))
    }
    fn remove(&mut self, key: Term) -> Option<Entry> {
        let hash = hash::internal_hash(key);
        let bucket = self.entries.get_mut(&hash)?;
        let at = bucket.iter().position(|entry| equal_exact(entry.key, key))?;
        let entry = bucket.swap_remove(at);
        self.count -= 1;
        self.words -= entry.area.words();
        if bucket.is_empty() {
            self.entries.remove(&hash);
        }
        if self.count < self.slots / PersistentTable::SPARSE
            && self.slots > PersistentTable::SLOTS_MIN
        {
            self.slots = (self.count * 2).next_power_of_two().max(PersistentTable::SLOTS_MIN);
            self.entries.shrink_to(PersistentTable::capacity(self.slots));
        }
        Some(entry)
    }
    fn add(&mut self, key: Term, entry: Entry) {
        self.count += 1;
        self.words += entry.area.words();
        if self.count * 2 > self.slots {
            self.slots *= 2;
            self.entries.reserve(PersistentTable::capacity(self.slots) - self.entries.len());
        }
        self.entries.entry(hash::internal_hash(key)).or_default().push(entry);
    }
    /// Slots of a table with little in it.
    const SLOTS_MIN: usize = 8;
    /// What one of so many slots in use is few enough to give memory back.
    const SPARSE: usize = 4;
    /// What a table with so many slots has room for: the library's tables leave an eighth free.
    const fn capacity(slots: usize) -> usize {
        slots - slots / 8
    }
    /// Words of values, keys and slots.
    fn total_words(&self) -> usize {
        self.words + self.slots
    }
}

/// Slots of the table.
pub(crate) fn slots(p: &Process) -> usize {
    terms(p).table.read().slots
}

/// Visits all keys and values.
pub(crate) fn each(vm: &Vm, mut visit: impl FnMut(Term)) {
    let table = vm.extension::<PersistentTerms>().table.read();
    for entry in table.entries.values().flatten() {
        visit(entry.key);
        visit(entry.value);
    }
}

#[derive(Default)]
struct PersistentTerms {
    table: RwLock<PersistentTable>,
}

fn terms(p: &Process) -> &'static PersistentTerms {
    p.vm.extension::<PersistentTerms>()
}

#[bif("persistent_term:get/1")]
fn get_1(p: &mut Process, key: Term) -> BifResult {
    terms(p).table.read().find(key).map(|entry| entry.value).ok_or(BifExit::BADARG)
}

#[bif("persistent_term:get/2")]
fn get_2(p: &mut Process, key: Term, default: Term) -> BifResult {
    Ok(terms(p).table.read().find(key).map_or(default, |entry| entry.value))
}

#[bif("persistent_term:get/0")]
fn get_0(p: &mut Process) -> BifResult {
    let table = terms(p).table.read();
    let mut list = Term::NIL;
    for entry in table.entries.values().flatten() {
        let pair = p.tuple(&[entry.key, entry.value]);
        list = p.cons(pair, list);
    }
    Ok(list)
}

#[bif("persistent_term:put/2")]
fn put(p: &mut Process, key: Term, value: Term) -> BifResult {
    // So `net_kernel` says that the node is to get a name from another.
    let parts = key.as_tuple().filter(|key| key.arity() == 2);
    let parts = parts.map(|key| (key.get(0), key.get(1)));
    if parts == Some((Term::atom(atom!("erts_internal")), Term::atom(atom!("dynamic_node_name")))) {
        p.vm.awaits_name.store(value == Term::bool(true), Ordering::Relaxed);
    }
    put_unless(p, key, value, false)
}

/// A key that has another value is an error.
#[bif("persistent_term:put_new/2", since = 28)]
fn put_new(p: &mut Process, key: Term, value: Term) -> BifResult {
    put_unless(p, key, value, true)
}

fn put_unless(p: &mut Process, key: Term, value: Term, taken_is_error: bool) -> BifResult {
    let mut table = terms(p).table.write();
    match table.find(key) {
        Some(entry) if equal_exact(entry.value, value) => return Ok(Term::atom(am::OK)),
        Some(_) if taken_is_error => return Err(BifExit::BADARG),
        _ => {}
    }
    let mut area = LiteralArea::new();
    let entry = Entry { key: area.copy_in(key), value: area.copy_in(value), area };
    let before = table.remove(key);
    table.add(key, entry);
    drop(table);
    retire(p, before);
    Ok(Term::atom(am::OK))
}

/// Frees what is not in the table any more, once no process uses it.
fn retire(p: &Process, entries: impl IntoIterator<Item = Entry>) {
    for entry in entries {
        p.vm.retirement.add(p.vm, entry.area.ranges().collect(), Box::new(entry.area));
    }
}

#[bif("persistent_term:erase/1")]
fn erase(p: &mut Process, key: Term) -> BifResult {
    let erased = terms(p).table.write().remove(key);
    let found = erased.is_some();
    retire(p, erased);
    Ok(Term::bool(found))
}

#[bif("persistent_term:info/0")]
fn info(p: &mut Process) -> BifResult {
    let (count, words) = {
        let table = terms(p).table.read();
        (table.count, table.total_words())
    };
    let pairs = [
        (Term::atom(atom!("count")), Term::small(count as i64)),
        (Term::atom(atom!("memory")), Term::small(words as i64 * 8)),
    ];
    Ok(map::from_pairs(p, &pairs))
}

#[bif("erts_internal:erase_persistent_terms/0")]
fn erase_all(p: &mut Process) -> BifResult {
    let all = std::mem::take(&mut *terms(p).table.write());
    retire(p, all.entries.into_values().flatten());
    if p.exiting { badarg() } else { Ok(Term::atom(am::OK)) }
}
