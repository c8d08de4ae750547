//! The table of an `ordered_set`: a search tree on term order, where 1 and 1.0 are the same key.

use super::hash::{Change, Verdict};
use super::matchspec::Pattern;
use super::object::{Head, OwnedTerm};
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::collections::btree_set::Range;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{self, AtomicU64};
use swarmrt_term::{Term, compare};

/// An object with its key, or what is looked for among such.
struct Slot {
    /// Nothing that could be a number, where a place is looked for.
    key: Term,
    /// The object; nothing, for a key that is looked for; or a pattern, marked by its lowest bits.
    what: *const (),
}

const MARK_BITS: usize = 0b11;
/// The place before (or after) all keys that the pattern could match.
const BEFORE: usize = 0b01;
const AFTER: usize = 0b10;
const _: () = assert!(align_of::<Head>() > MARK_BITS && align_of::<Pattern>() > MARK_BITS);

impl Slot {
    fn stored(key: Term, object: *mut Head) -> Slot {
        Slot { key, what: object.cast() }
    }
    fn probe(key: Term) -> Slot {
        Slot { key, what: std::ptr::null() }
    }
    fn place(pattern: &Pattern, mark: usize) -> Slot {
        Slot {
            key: Term::NIL,
            what: std::ptr::from_ref(pattern).cast::<()>().map_addr(|address| address | mark),
        }
    }
    fn head(&self) -> &Head {
        // SAFETY: the tree holds live objects only.
        unsafe { &*self.ptr() }
    }
    fn ptr(&self) -> *mut Head {
        debug_assert!(!self.what.is_null() && self.mark() == 0, "probes are not stored");
        self.what.cast_mut().cast()
    }
    #[inline]
    fn mark(&self) -> usize {
        self.what.addr() & MARK_BITS
    }
    /// How a place stands to a stored key.
    fn compare_place(&self, key: Term) -> Ordering {
        // SAFETY: a pattern outlives the search for its place.
        let pattern: &Pattern =
            unsafe { &*self.what.map_addr(|address| address & !MARK_BITS).cast() };
        pattern.compare_prefix(key).then(if self.mark() == BEFORE {
            Ordering::Less
        } else {
            Ordering::Greater
        })
    }
}

impl Ord for Slot {
    #[inline]
    fn cmp(&self, other: &Slot) -> Ordering {
        if Term::both_small(self.key, other.key) {
            return self.key.small_value().cmp(&other.key.small_value());
        }
        if self.mark() != 0 {
            return self.compare_place(other.key);
        }
        if other.mark() != 0 {
            return other.compare_place(self.key).reverse();
        }
        compare(self.key, other.key)
    }
}
impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Slot) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Slot {
    fn eq(&self, other: &Slot) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Slot {}

/// Words that an object takes, as OTP counts them.
fn footprint(object: &Head) -> isize {
    (object.words() + 5) as isize
}

/// Where a walk through the tree starts or goes on.
pub enum From<'a> {
    /// At the first key that the pattern could match (any, without one).
    Start(Option<&'a Pattern>),
    /// After this key, in the direction of the walk.
    After(Term),
}

/// Objects in their order. They lie anywhere, so that those which are next are fetched while others
/// are looked at.
pub struct Walk<'a> {
    slots: Range<'a, Slot>,
    reverse: bool,
    ahead: VecDeque<&'a Head>,
}

/// Objects that are being fetched at a time.
const AHEAD: usize = 8;

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Head;
    fn next(&mut self) -> Option<&'a Head> {
        while self.ahead.len() < AHEAD {
            let slot = if self.reverse { self.slots.next_back() } else { self.slots.next() };
            let Some(object) = slot.map(Slot::head) else { break };
            object.fetch();
            self.ahead.push_back(object);
        }
        self.ahead.pop_front()
    }
}

/// Objects that follow each other, for programs that walk from key to key and mostly also look up
/// each object or take it out.
#[derive(Default)]
struct Run {
    reverse: bool,
    /// With their keys.
    objects: Vec<(Term, *mut Head)>,
    /// Which of them was asked for last.
    at: usize,
}

impl Run {
    /// The object that was asked for last, if that is its key.
    fn last(&self, key: Term) -> Option<*mut Head> {
        let &(last, object) = self.objects.get(self.at)?;
        (last == key || compare(last, key).is_eq()).then_some(object)
    }
}

/// One in so many objects is many: then all that go are removed on one walk.
const MANY_PART: usize = 8;
/// Objects that a run has at most.
const RUN_OBJECTS_MAX: usize = 32;

/// The objects of an `ordered_set`, in a tree by their keys. Keys that compare as equal (`1` and
/// `1.0`) are one key.
pub struct OrderedTable {
    tree: BTreeSet<Slot>,
    keypos: usize,
    /// How often an object came or went.
    changes: u64,
    run: Mutex<Run>,
    /// [`changes`](Self::changes) when the run was read: of another time, it says nothing. Written
    /// by who holds the run.
    walked: AtomicU64,
}

// SAFETY: the table owns its objects.
unsafe impl Send for OrderedTable {}
// SAFETY: the table owns its objects, and readers only read.
unsafe impl Sync for OrderedTable {}

impl OrderedTable {
    /// An empty table; `keypos` counts from 0.
    pub fn new(keypos: usize) -> OrderedTable {
        OrderedTable {
            tree: BTreeSet::new(),
            keypos,
            changes: 1,
            run: Mutex::default(),
            walked: AtomicU64::new(0),
        }
    }
    /// Objects in the table.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether the run is of the table as it is.
    fn is_walked(&self) -> bool {
        self.walked.load(atomic::Ordering::Relaxed) == self.changes
    }

    /// The object with this key. A key that a walk has just come to is found without a search.
    pub fn get(&self, key: Term) -> Option<&Head> {
        let run = if self.is_walked() { self.run.try_lock() } else { None };
        let last = run.and_then(|run| run.last(key)).filter(|object| !object.is_null());
        // SAFETY: nothing has changed since the object was found in the tree.
        last.map(|object| unsafe { &*object })
            .or_else(|| self.tree.get(&Slot::probe(key)).map(Slot::head))
    }

    /// Takes over an object, and frees one with an equal key.
    pub fn insert(&mut self, object: *mut Head) -> Change {
        self.changes += 1;
        // SAFETY: the object is ours now.
        let (key, words) = unsafe { ((*object).key(self.keypos), footprint(&*object)) };
        let mut change = Change { objects: 1, words };
        if let Some(old) = self.tree.replace(Slot::stored(key, object)) {
            change.objects = 0;
            change.words -= footprint(old.head());
            // SAFETY: the old object is out of the tree.
            unsafe { Head::free(old.ptr()) };
        }
        change
    }

    /// Takes out and frees the object with this key, if there is one.
    pub fn remove(&mut self, key: Term) -> Change {
        let Some(old) = self.tree.take(&Slot::probe(key)) else { return Change::default() };
        let is_walked = self.is_walked();
        let run = self.run.get_mut();
        // A program that takes out the object it has walked to asks for the next key. A key that is
        // an immediate can stay without its object.
        if is_walked && old.key.is_immediate() && run.last(old.key).is_some() {
            run.objects[run.at].1 = std::ptr::null_mut();
            *self.walked.get_mut() += 1;
        }
        self.changes += 1;
        let change = Change { objects: -1, words: -footprint(old.head()) };
        // SAFETY: the object is out of the tree.
        unsafe { Head::free(old.ptr()) };
        change
    }

    /// Changes the object with this key. `None` when there is none.
    pub fn update<R>(
        &mut self,
        key: Term,
        change: impl FnOnce(&mut Head) -> (R, Verdict),
    ) -> Option<(R, Change)> {
        let object = self.tree.get(&Slot::probe(key))?.ptr();
        // SAFETY: the tree holds live objects, and it is ours to change.
        let (result, verdict) = change(unsafe { &mut *object });
        Some((result, self.apply(object, verdict)))
    }

    fn apply(&mut self, object: *mut Head, verdict: Verdict) -> Change {
        match verdict {
            Verdict::Keep => Change::default(),
            // SAFETY: the object is in the tree.
            Verdict::Delete => self.remove(unsafe { (*object).key(self.keypos) }),
            Verdict::Replace(new) => self.insert(new),
        }
    }

    /// The object with the lowest key.
    pub fn first(&self) -> Option<&Head> {
        self.tree.first().map(Slot::head)
    }
    /// The object with the highest key.
    pub fn last(&self) -> Option<&Head> {
        self.tree.last().map(Slot::head)
    }
    /// The object with the next higher key; `key` need not be in the table.
    pub fn next(&self, key: Term) -> Option<&Head> {
        self.neighbour(key, false)
    }
    /// The object with the next lower key; `key` need not be in the table.
    pub fn previous(&self, key: Term) -> Option<&Head> {
        self.neighbour(key, true)
    }
    /// The object behind `key`, or the one before it. A program that then asks for the answer's
    /// neighbour walks through the table: from there on several are read at once.
    fn neighbour(&self, key: Term, reverse: bool) -> Option<&Head> {
        // SAFETY: the tree holds live objects only, and nothing has changed since they were found.
        let live = |object: *mut Head| unsafe { &*object };
        let Some(mut run) = self.run.try_lock() else {
            return self.neighbours(key, reverse).next().map(|(_, object)| live(object));
        };
        let walks = run.reverse == reverse && self.is_walked() && run.last(key).is_some();
        if walks && run.at + 1 < run.objects.len() {
            run.at += 1;
            return Some(live(run.objects[run.at].1));
        }
        (run.reverse, run.at) = (reverse, 0);
        self.walked.store(self.changes, atomic::Ordering::Relaxed);
        run.objects.clear();
        run.objects.extend(self.neighbours(key, reverse).take(if walks {
            RUN_OBJECTS_MAX
        } else {
            1
        }));
        for &(_, object) in &run.objects {
            live(object).fetch();
        }
        run.objects.first().map(|&(_, object)| live(object))
    }
    fn neighbours(&self, key: Term, reverse: bool) -> impl Iterator<Item = (Term, *mut Head)> {
        let bounds = if reverse {
            (Bound::Unbounded, Bound::Excluded(Slot::probe(key)))
        } else {
            (Bound::Excluded(Slot::probe(key)), Bound::Unbounded)
        };
        let mut range = self.tree.range(bounds);
        std::iter::from_fn(move || if reverse { range.next_back() } else { range.next() })
            .map(|slot| (slot.key, slot.ptr()))
    }
    /// The object at a place in the order, counted from 0. It takes as many steps.
    pub fn nth(&self, index: usize) -> Option<&Head> {
        self.tree.iter().nth(index).map(Slot::head)
    }

    /// The objects from a place on, upwards or downwards.
    pub fn walk(&self, from: From<'_>, reverse: bool) -> Walk<'_> {
        let mark = if reverse { AFTER } else { BEFORE };
        let bound = match from {
            From::Start(None) => Bound::Unbounded,
            From::Start(Some(pattern)) => Bound::Excluded(Slot::place(pattern, mark)),
            From::After(key) => Bound::Excluded(Slot::probe(key)),
        };
        let bounds = if reverse { (Bound::Unbounded, bound) } else { (bound, Bound::Unbounded) };
        Walk { slots: self.tree.range(bounds), reverse, ahead: VecDeque::with_capacity(AHEAD) }
    }

    /// Visits up to `limit` objects until `visit` has enough, and does with each what it says. The
    /// last key that was visited, where there are more.
    pub fn visit(
        &mut self,
        from: From<'_>,
        limit: usize,
        mut visit: impl FnMut(&Head) -> Option<Verdict>,
    ) -> (Change, Option<OwnedTerm>) {
        let mut verdicts: Vec<(*mut Head, Verdict)> = Vec::new();
        let mut previous = None;
        let mut last = None;
        for (seen, object) in self.walk(from, false).enumerate() {
            if seen == limit {
                last = previous.map(OwnedTerm::new);
                break;
            }
            previous = Some(object.key(self.keypos));
            match visit(object) {
                None => break,
                Some(Verdict::Keep) => {}
                Some(verdict) => verdicts.push((std::ptr::from_ref(object).cast_mut(), verdict)),
            }
        }
        let mut change = Change::default();
        if verdicts.len() >= self.len() / MANY_PART
            && verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Delete))
        {
            change = self.remove_all(verdicts.into_iter().map(|(object, _)| object));
        } else {
            for (object, verdict) in verdicts {
                change.add(self.apply(object, verdict));
            }
        }
        (change, last)
    }
    /// Removes these objects, which are given in their order, on one walk through the table.
    fn remove_all(&mut self, objects: impl Iterator<Item = *mut Head>) -> Change {
        self.changes += 1;
        let mut change = Change::default();
        let mut objects = objects.peekable();
        self.tree.retain(|slot| {
            if objects.next_if(|&object| object == slot.ptr()).is_none() {
                return true;
            }
            change.add(Change { objects: -1, words: -footprint(slot.head()) });
            // SAFETY: the object leaves the tree.
            unsafe { Head::free(slot.ptr()) };
            false
        });
        change
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = &Head> {
        self.tree.iter().map(Slot::head)
    }

    /// Removes everything.
    pub fn take_all(&mut self) -> OrderedTable {
        std::mem::replace(self, OrderedTable::new(self.keypos))
    }
    /// Frees objects of a table that nobody uses any more; takes one off for each. Whether none is
    /// left.
    pub fn free_some(&mut self, reductions: &mut i32) -> bool {
        while *reductions > 0 {
            let Some(slot) = self.tree.pop_first() else { return true };
            // SAFETY: the objects are ours, and this one is out of the tree.
            unsafe { Head::free(slot.ptr()) };
            *reductions -= 1;
        }
        self.tree.is_empty()
    }
}

impl Drop for OrderedTable {
    fn drop(&mut self) {
        while !self.free_some(&mut { i32::MAX }) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::{Alloc, FragmentHeap};

    fn table_of(keys: &[Term]) -> OrderedTable {
        let mut table = OrderedTable::new(0);
        let mut heap = FragmentHeap::new();
        for &key in keys {
            let tuple = heap.tuple(&[key]);
            table.insert(Head::new(tuple, 0));
        }
        table
    }

    fn key_of(object: &Head) -> Term {
        object.key(0)
    }

    #[test]
    fn numbers_that_are_equal_are_one_key() {
        let float = Term::float_immediate(1.0).expect("1.0 fits a word");
        let table = table_of(&[Term::small(1), float, Term::small(2)]);
        assert_eq!(table.len(), 2);
        assert!(table.get(Term::small(1)).is_some_and(|object| object.key(0) == float));
        assert_eq!(table.next(float).map(key_of), Some(Term::small(2)));
        assert_eq!(table.previous(float).map(key_of), None);
    }

    #[test]
    fn neighbours_are_those_of_the_table_as_it_is() {
        let mut table = table_of(&(0..200).map(|key| Term::small(key * 2)).collect::<Vec<_>>());
        let key = |value: i64| Term::small(value);
        let mut at = key(0);
        let mut seen = vec![at];
        while let Some(next) = table.next(at).map(key_of) {
            // While the walk is under way, some go and some come just behind the place.
            if next == key(100) {
                table.remove(key(102));
                let mut heap = FragmentHeap::new();
                let tuple = heap.tuple(&[key(101)]);
                table.insert(Head::new(tuple, 0));
            }
            seen.push(next);
            at = next;
        }
        let expected: Vec<Term> = (0..200)
            .map(|value| value * 2)
            .map(|value| if value == 102 { 101 } else { value })
            .map(key)
            .collect();
        assert_eq!(seen, expected);
        for pair in expected.windows(2).rev() {
            assert_eq!(table.previous(pair[1]).map(key_of), Some(pair[0]));
            assert_eq!(
                table.next(pair[0]).map(key_of),
                Some(pair[1]),
                "the other way between two steps"
            );
        }
        assert_eq!(
            (table.previous(key(0)).map(key_of), table.next(key(398)).map(key_of)),
            (None, None)
        );
    }

    #[test]
    fn a_walk_goes_on_from_what_it_takes_out() {
        let float = |value: f64| Term::float_immediate(value).expect("it fits a word");
        let mut table = table_of(&(0..100).map(Term::small).collect::<Vec<_>>());
        let mut at = table.first().map(key_of);
        let mut taken = 0;
        while let Some(key) = at {
            assert!(table.get(key).is_some_and(|object| object.key(0) == key));
            // Equal, but not the same word.
            let equal = float(key.as_small().expect("all are") as f64);
            assert_eq!(table.remove(equal).objects, -1);
            assert!(table.get(key).is_none() && table.get(equal).is_none());
            assert_eq!(table.remove(key).objects, 0);
            taken += 1;
            at = table.next(key).map(key_of);
            assert_eq!(table.previous(key).map(key_of), None);
        }
        assert_eq!((taken, table.len()), (100, 0));
    }

    #[test]
    fn many_are_removed_on_one_walk() {
        let mut table = table_of(&(0..100).map(Term::small).collect::<Vec<_>>());
        let even = |object: &Head| object.key(0).as_small().is_some_and(|value| value % 2 == 0);
        let (change, last) = table.visit(From::Start(None), 1000, |object| {
            Some(if even(object) { Verdict::Delete } else { Verdict::Keep })
        });
        assert_eq!((change.objects, last.is_some(), table.len()), (-50, false, 50));
        assert!(table.objects().all(|object| !even(object)));
        assert_eq!(table.next(Term::small(1)).map(key_of), Some(Term::small(3)));
    }

    #[test]
    fn a_prefix_limits_the_walk() {
        let mut heap = FragmentHeap::new();
        let keys: Vec<Term> = (0..10)
            .flat_map(|a| (0..10).map(move |b| (a, b)))
            .map(|(a, b)| heap.tuple(&[Term::small(a), Term::small(b)]))
            .collect();
        let table = table_of(&keys);
        let prefix = Pattern::Tuple(vec![Pattern::Constant(Term::small(4)), Pattern::Any]);
        for reverse in [false, true] {
            let found: Vec<i64> = table
                .walk(From::Start(Some(&prefix)), reverse)
                .take_while(|object| prefix.compare_prefix(object.key(0)).is_eq())
                .filter_map(|object| object.key(0).as_tuple()?.get(1).as_small())
                .collect();
            let expected: Vec<i64> =
                if reverse { (0..10).rev().collect() } else { (0..10).collect() };
            assert_eq!(found, expected);
        }
    }
}
