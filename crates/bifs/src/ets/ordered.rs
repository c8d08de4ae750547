//! The table of an `ordered_set`: a search tree on term order, where 1 and 1.0 are the same key.

use super::hash::{Change, Verdict};
use super::matchspec::Pattern;
use super::object::{Head, OwnedTerm};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use swarmrt_term::{Term, compare};

/// An object with its key, or what is looked for among such.
struct Slot {
    key: Term,
    object: Object,
}

#[derive(Clone, Copy)]
enum Object {
    Stored(*mut Head),
    /// A key that is looked for.
    Probe,
    /// The place before (or after) all keys that the pattern could match.
    Before(*const Pattern),
    After(*const Pattern),
}

impl Slot {
    fn probe(key: Term) -> Slot {
        Slot { key, object: Object::Probe }
    }
    fn head(&self) -> &Head {
        match self.object {
            // SAFETY: the tree holds live objects only.
            Object::Stored(object) => unsafe { &*object },
            _ => unreachable!("probes are not stored"),
        }
    }
    fn ptr(&self) -> *mut Head {
        match self.object {
            Object::Stored(object) => object,
            _ => unreachable!("probes are not stored"),
        }
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Slot) -> Ordering {
        // SAFETY: a pattern outlives the search for its place.
        unsafe {
            match (self.object, other.object) {
                (Object::Before(pattern), _) => (*pattern).compare_prefix(other.key).then(Ordering::Less),
                (_, Object::Before(pattern)) => (*pattern).compare_prefix(self.key).reverse().then(Ordering::Greater),
                (Object::After(pattern), _) => (*pattern).compare_prefix(other.key).then(Ordering::Greater),
                (_, Object::After(pattern)) => (*pattern).compare_prefix(self.key).reverse().then(Ordering::Less),
                _ => compare(self.key, other.key),
            }
        }
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

pub struct OrderedTable {
    tree: BTreeSet<Slot>,
    keypos: usize,
}

// SAFETY: the table owns its objects.
unsafe impl Send for OrderedTable {}
// SAFETY: as above; readers only read.
unsafe impl Sync for OrderedTable {}

impl OrderedTable {
    pub fn new(keypos: usize) -> OrderedTable {
        OrderedTable { tree: BTreeSet::new(), keypos }
    }
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn get(&self, key: Term) -> Option<&Head> {
        self.tree.get(&Slot::probe(key)).map(Slot::head)
    }

    pub fn insert(&mut self, object: *mut Head) -> Change {
        // SAFETY: the object is ours now.
        let (key, words) = unsafe { ((*object).key(self.keypos), footprint(&*object)) };
        let mut change = Change { objects: 1, words };
        if let Some(old) = self.tree.replace(Slot { key, object: Object::Stored(object) }) {
            change.objects = 0;
            change.words -= footprint(old.head());
            // SAFETY: the old object is out of the tree.
            unsafe { Head::free(old.ptr()) };
        }
        change
    }

    pub fn remove(&mut self, key: Term) -> Change {
        let Some(old) = self.tree.take(&Slot::probe(key)) else { return Change::default() };
        let change = Change { objects: -1, words: -footprint(old.head()) };
        // SAFETY: the object is out of the tree.
        unsafe { Head::free(old.ptr()) };
        change
    }

    /// Changes the object with this key. `None` when there is none.
    pub fn update<R>(&mut self, key: Term, change: impl FnOnce(&mut Head) -> (R, Verdict)) -> Option<(R, Change)> {
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

    pub fn first(&self) -> Option<Term> {
        self.tree.first().map(|slot| slot.key)
    }
    pub fn last(&self) -> Option<Term> {
        self.tree.last().map(|slot| slot.key)
    }
    pub fn next(&self, key: Term) -> Option<Term> {
        self.walk(From::After(key), false).next().map(|object| object.key(self.keypos))
    }
    pub fn previous(&self, key: Term) -> Option<Term> {
        self.walk(From::After(key), true).next().map(|object| object.key(self.keypos))
    }
    pub fn nth(&self, index: usize) -> Option<&Head> {
        self.tree.iter().nth(index).map(Slot::head)
    }

    /// The objects from a place on, upwards or downwards.
    pub fn walk(&self, from: From<'_>, reverse: bool) -> Box<dyn Iterator<Item = &Head> + '_> {
        let pattern_slot = |object| Slot { key: Term::NIL, object };
        if reverse {
            let end = match from {
                From::Start(None) => Bound::Unbounded,
                From::Start(Some(pattern)) => Bound::Excluded(pattern_slot(Object::After(pattern))),
                From::After(key) => Bound::Excluded(Slot::probe(key)),
            };
            return Box::new(self.tree.range((Bound::Unbounded, end)).rev().map(Slot::head));
        }
        let start = match from {
            From::Start(None) => Bound::Unbounded,
            From::Start(Some(pattern)) => Bound::Excluded(pattern_slot(Object::Before(pattern))),
            From::After(key) => Bound::Excluded(Slot::probe(key)),
        };
        Box::new(self.tree.range((start, Bound::Unbounded)).map(Slot::head))
    }

    /// Visits up to `limit` objects until `visit` has enough, and does with each what it says. The last key that was
    /// visited, where there are more.
    pub fn visit(&mut self, from: From<'_>, limit: usize, mut visit: impl FnMut(&Head) -> Option<Verdict>) -> (Change, Option<OwnedTerm>) {
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
        for (object, verdict) in verdicts {
            change.add(self.apply(object, verdict));
        }
        (change, last)
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = &Head> {
        self.tree.iter().map(Slot::head)
    }

    /// Removes everything.
    pub fn take_all(&mut self) -> OrderedTable {
        std::mem::replace(self, OrderedTable::new(self.keypos))
    }
}

impl Drop for OrderedTable {
    fn drop(&mut self) {
        while let Some(slot) = self.tree.pop_first() {
            // SAFETY: the objects are ours and go with us.
            unsafe { Head::free(slot.ptr()) };
        }
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

    #[test]
    fn numbers_that_are_equal_are_one_key() {
        let float = Term::float_immediate(1.0).expect("1.0 fits a word");
        let table = table_of(&[Term::small(1), float, Term::small(2)]);
        assert_eq!(table.len(), 2);
        assert!(table.get(Term::small(1)).is_some_and(|object| object.key(0) == float));
        assert_eq!(table.next(float), Some(Term::small(2)));
        assert_eq!(table.previous(float), None);
    }

    #[test]
    fn a_prefix_limits_the_walk() {
        let mut heap = FragmentHeap::new();
        let keys: Vec<Term> = (0..10).flat_map(|a| (0..10).map(move |b| (a, b))).map(|(a, b)| heap.tuple(&[Term::small(a), Term::small(b)])).collect();
        let table = table_of(&keys);
        let prefix = Pattern::Tuple(vec![Pattern::Constant(Term::small(4)), Pattern::Any]);
        for reverse in [false, true] {
            let found: Vec<i64> = table
                .walk(From::Start(Some(&prefix)), reverse)
                .take_while(|object| prefix.compare_prefix(object.key(0)).is_eq())
                .filter_map(|object| object.key(0).as_tuple()?.get(1).as_small())
                .collect();
            let expected: Vec<i64> = if reverse { (0..10).rev().collect() } else { (0..10).collect() };
            assert_eq!(found, expected);
        }
    }
}
