//! `persistent_term`: terms that all processes read without copying.
//!
//! Each value lives in a literal area of its own. A replaced or erased value may still be in use by
//! any process: it is freed as literals are, see `swarmrt_machine::code::retire`.

use crate::args::badarg;
use crossbeam_epoch::{Atomic, Guard, pin};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_heap::LiteralArea;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Term, am, atom, equal_exact, hash, map};

/// A key and its value, both literals. A place never holds two different keys in turn, so a value
/// that is read after the key belongs to that key.
#[derive(Default)]
struct Place {
    /// The key's word, [`FREE`] or [`ERASED`].
    key: AtomicU64,
    value: AtomicU64,
}

const FREE: u64 = Term::NONE.raw();
/// Tombstone: a search goes on behind it. No term is this word.
const ERASED: u64 = 0;
const _: () = assert!(FREE != ERASED);

/// Open addressing with linear probing; the number of places is a power of two.
struct Places(Box<[Place]>);

impl Places {
    fn new(count: usize) -> Places {
        assert!(count.is_power_of_two(), "the hash is cut by a mask");
        let free = || Place { key: AtomicU64::new(FREE), value: AtomicU64::new(FREE) };
        Places((0..count).map(|_| free()).collect())
    }
    /// The place with this key, or else the free one that ends its search. Keys that are erased
    /// meanwhile can be read still: their literals are freed after the caller has left the
    /// built-in.
    fn find(&self, key: Term) -> Result<usize, usize> {
        let mask = self.0.len() - 1;
        let mut at = hash::internal_hash(key) as usize & mask;
        loop {
            match self.0[at].key.load(Ordering::Acquire) {
                FREE => return Err(at),
                ERASED => {}
                word => {
                    // SAFETY: the word of a key.
                    let other = unsafe { Term::from_raw(word) };
                    if other == key || equal_exact(other, key) {
                        return Ok(at);
                    }
                }
            }
            at = (at + 1) & mask;
        }
    }
    fn value(&self, at: usize) -> Term {
        // SAFETY: the word of a value: there is one before there is a key.
        unsafe { Term::from_raw(self.0[at].value.load(Ordering::Acquire)) }
    }
    /// Puts key and value into a place that is free or has this key.
    fn set(&self, at: usize, key: Term, value: Term) {
        self.0[at].value.store(value.raw(), Ordering::Release);
        self.0[at].key.store(key.raw(), Ordering::Release);
    }
    fn pairs(&self) -> impl Iterator<Item = (Term, Term)> {
        let is_key = |word: u64| !matches!(word, FREE | ERASED);
        self.0.iter().enumerate().filter_map(move |(at, place)| {
            let key = Some(place.key.load(Ordering::Acquire)).filter(|&word| is_key(word))?;
            // SAFETY: the word of a key.
            Some((unsafe { Term::from_raw(key) }, self.value(at)))
        })
    }
}

/// What only those that change the table need.
#[derive(Default)]
struct Owned {
    /// Where key and value of each place lie.
    areas: Vec<Option<LiteralArea>>,
    count: usize,
    /// Places whose key was erased.
    erased: usize,
    words: usize,
}

/// The table of a machine. Reading takes no lock: schedulers hold an epoch guard anyway.
struct PersistentTerms {
    places: Atomic<Places>,
    owned: Mutex<Owned>,
}

impl Default for PersistentTerms {
    fn default() -> PersistentTerms {
        PersistentTerms {
            places: Atomic::new(Places::new(PersistentTerms::PLACES_MIN)),
            owned: Mutex::new(Owned::new(PersistentTerms::PLACES_MIN)),
        }
    }
}

impl Drop for PersistentTerms {
    fn drop(&mut self) {
        let places = std::mem::replace(&mut self.places, Atomic::null());
        // SAFETY: made by a box, and nobody reads any more.
        drop(unsafe { places.into_owned() });
    }
}

impl Owned {
    fn new(places: usize) -> Owned {
        Owned { areas: (0..places).map(|_| None).collect(), ..Owned::default() }
    }
    /// Makes an area that of a place; the one that was before.
    fn replace(&mut self, at: usize, area: Option<LiteralArea>) -> Option<LiteralArea> {
        let words = |area: &Option<LiteralArea>| area.as_ref().map_or(0, LiteralArea::words);
        let before = std::mem::replace(&mut self.areas[at], area);
        self.words = self.words + words(&self.areas[at]) - words(&before);
        self.count =
            self.count + usize::from(self.areas[at].is_some()) - usize::from(before.is_some());
        before
    }
}

impl PersistentTerms {
    /// Places of a table with little in it.
    const PLACES_MIN: usize = 8;
    /// The table shrinks when fewer than one in this many places is in use.
    const SPARSE: usize = 4;

    fn places<'g>(&self, guard: &'g Guard) -> &'g Places {
        // SAFETY: there always are some, and they are freed when all guards that may have seen them
        // are gone.
        unsafe { self.places.load(Ordering::Acquire, guard).deref() }
    }
    fn get(&self, key: Term) -> Option<Term> {
        let guard = &pin();
        let places = self.places(guard);
        places.find(key).ok().map(|at| places.value(at))
    }
    /// Sets the value of a key that has none, or another; what was there before is to be retired.
    fn put(&self, owned: &mut Owned, key: Term, value: Term) -> Option<LiteralArea> {
        let guard = &pin();
        let mut area = LiteralArea::new();
        let (key, value) = (area.copy_in(key), area.copy_in(value));
        let mut places = self.places(guard);
        if places.find(key).is_err() {
            let wanted = if (owned.count + 1) * 2 > places.0.len() {
                places.0.len() * 2
            } else {
                places.0.len()
            };
            // At least a quarter stays free: a free place ends each search.
            if wanted > places.0.len() || (owned.count + owned.erased + 1) * 4 > wanted * 3 {
                places = self.rebuild(owned, wanted, guard);
            }
        }
        let (Ok(at) | Err(at)) = places.find(key);
        places.set(at, key, value);
        owned.replace(at, Some(area))
    }
    fn erase(&self, owned: &mut Owned, key: Term) -> Option<LiteralArea> {
        let guard = &pin();
        let places = self.places(guard);
        let at = places.find(key).ok()?;
        places.0[at].key.store(ERASED, Ordering::Release);
        owned.erased += 1;
        let area = owned.replace(at, None);
        if owned.count < places.0.len() / PersistentTerms::SPARSE {
            let wanted = (owned.count * 2).next_power_of_two().max(PersistentTerms::PLACES_MIN);
            if wanted < places.0.len() {
                self.rebuild(owned, wanted, guard);
            }
        }
        area
    }
    /// Moves all that is there to so many new places.
    fn rebuild<'g>(&self, owned: &mut Owned, count: usize, guard: &'g Guard) -> &'g Places {
        let (from, to) = (self.places(guard), Places::new(count));
        let mut areas = Owned::new(count).areas;
        for (key, value) in from.pairs() {
            let (Ok(old), Err(new)) = (from.find(key), to.find(key)) else {
                unreachable!("a key is there once")
            };
            to.set(new, key, value);
            areas[new] = owned.areas[old].take();
        }
        owned.areas = areas;
        owned.erased = 0;
        let before = self.places.swap(crossbeam_epoch::Owned::new(to), Ordering::AcqRel, guard);
        // SAFETY: nobody finds them any more.
        unsafe { guard.defer_destroy(before) };
        self.places(guard)
    }
    /// Takes all out; what is to be retired.
    fn erase_all(&self) -> Vec<LiteralArea> {
        let owned = &mut *self.owned.lock();
        let areas = owned.areas.iter_mut().filter_map(Option::take).collect();
        *owned = Owned::new(PersistentTerms::PLACES_MIN);
        let guard = &pin();
        let empty = crossbeam_epoch::Owned::new(Places::new(PersistentTerms::PLACES_MIN));
        let before = self.places.swap(empty, Ordering::AcqRel, guard);
        // SAFETY: nobody finds them any more.
        unsafe { guard.defer_destroy(before) };
        areas
    }
}

/// Places of the table.
pub(crate) fn slots(p: &Process) -> usize {
    terms(p).places(&pin()).0.len()
}

/// Visits all keys and values.
pub(crate) fn each(vm: &Vm, mut visit: impl FnMut(Term)) {
    let terms = vm.extension::<PersistentTerms>();
    // Nothing is retired meanwhile.
    let _owned = terms.owned.lock();
    for (key, value) in terms.places(&pin()).pairs() {
        visit(key);
        visit(value);
    }
}

fn terms(p: &Process) -> &'static PersistentTerms {
    p.vm.extension::<PersistentTerms>()
}

#[bif("persistent_term:get/1")]
fn get_1(p: &mut Process, key: Term) -> BifResult {
    terms(p).get(key).ok_or(BifExit::BADARG)
}

#[bif("persistent_term:get/2")]
fn get_2(p: &mut Process, key: Term, default: Term) -> BifResult {
    Ok(terms(p).get(key).unwrap_or(default))
}

#[bif("persistent_term:get/0")]
fn get_0(p: &mut Process) -> BifResult {
    let terms = terms(p);
    let _owned = terms.owned.lock();
    let mut list = Term::NIL;
    for (key, value) in terms.places(&pin()).pairs() {
        let pair = p.tuple(&[key, value]);
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
    let terms = terms(p);
    let mut owned = terms.owned.lock();
    match terms.get(key) {
        Some(before) if equal_exact(before, value) => return Ok(Term::atom(am::OK)),
        Some(_) if taken_is_error => return Err(BifExit::BADARG),
        _ => {}
    }
    let before = terms.put(&mut owned, key, value);
    drop(owned);
    retire(p, before);
    Ok(Term::atom(am::OK))
}

/// Frees what is not in the table any more, once no process uses it.
fn retire(p: &Process, areas: impl IntoIterator<Item = LiteralArea>) {
    for area in areas {
        p.vm.retirement.add(p.vm, area.ranges().collect(), Box::new(area));
    }
}

#[bif("persistent_term:erase/1")]
fn erase(p: &mut Process, key: Term) -> BifResult {
    let terms = terms(p);
    let erased = terms.erase(&mut terms.owned.lock(), key);
    let found = erased.is_some();
    retire(p, erased);
    Ok(Term::bool(found))
}

#[bif("persistent_term:info/0")]
fn info(p: &mut Process) -> BifResult {
    let terms = terms(p);
    let (count, words) = {
        let owned = terms.owned.lock();
        (owned.count, owned.words + slots(p))
    };
    let pairs = [
        (Term::atom(atom!("count")), Term::small(count as i64)),
        (Term::atom(atom!("memory")), Term::small(words as i64 * 8)),
    ];
    Ok(map::from_pairs(p, &pairs))
}

#[bif("erts_internal:erase_persistent_terms/0")]
fn erase_all(p: &mut Process) -> BifResult {
    retire(p, terms(p).erase_all());
    if p.exiting { badarg() } else { Ok(Term::atom(am::OK)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn put(terms: &PersistentTerms, key: i64, value: i64) {
        terms.put(&mut terms.owned.lock(), Term::small(key), Term::small(value));
    }
    fn erase(terms: &PersistentTerms, key: i64) -> bool {
        terms.erase(&mut terms.owned.lock(), Term::small(key)).is_some()
    }
    fn get(terms: &PersistentTerms, key: i64) -> Option<i64> {
        terms.get(Term::small(key)).and_then(Term::as_small)
    }
    fn places(terms: &PersistentTerms) -> usize {
        terms.places(&pin()).0.len()
    }

    #[test]
    fn keys_are_found_while_the_table_grows_and_shrinks() {
        let terms = PersistentTerms::default();
        (0..1000).for_each(|key| put(&terms, key, key + 1));
        assert_eq!(places(&terms), 2048);
        assert!((0..1000).all(|key| get(&terms, key) == Some(key + 1)));
        assert!((0..1000).step_by(2).all(|key| erase(&terms, key)));
        assert!(!erase(&terms, 0));
        assert!((0..1000).all(|key| get(&terms, key) == (key % 2 == 1).then_some(key + 1)));
        (0..1000).for_each(|key| put(&terms, key, -key));
        assert!((0..1000).all(|key| get(&terms, key) == Some(-key)));
        assert_eq!(terms.owned.lock().count, 1000);
        assert!((0..1000).all(|key| erase(&terms, key)));
        assert_eq!((places(&terms), terms.owned.lock().count), (8, 0));
    }

    #[test]
    fn erased_places_are_cleared_before_a_search_has_no_end() {
        let terms = PersistentTerms::default();
        for key in 0..1000 {
            put(&terms, key, key);
            assert!(erase(&terms, key));
            assert_eq!(get(&terms, key), None);
        }
        assert_eq!(places(&terms), 8);
    }

    #[test]
    fn readers_never_see_the_value_of_another_key() {
        const KEYS: i64 = 40;
        let (terms, ends) = (PersistentTerms::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let read = || {
                while !ends.load(Ordering::Relaxed) {
                    for key in 0..KEYS {
                        let value = get(&terms, key);
                        assert!(value.is_none_or(|value| value % KEYS == key), "{key}: {value:?}");
                    }
                }
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            for turn in 0..20_000 {
                let key = turn * 7 % KEYS;
                if turn / KEYS % 2 == 0 {
                    put(&terms, key, turn * KEYS + key);
                } else {
                    erase(&terms, key);
                }
            }
            ends.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().expect("no reader panics");
            }
        });
    }
}
