//! A hash table that grows by one bucket at a time (linear hashing), for sets and bags.
//!
//! Buckets, their order and that of the objects in one are those of OTP, so that programs see
//! tables in the order that they are used to. While a table is fixed nothing moves: objects are
//! marked as deleted and stay where they are.

use super::object::Head;
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Term, equal_exact, hash};

/// Buckets of a new table, those of all its parts.
pub const BUCKETS_MIN: usize = 256;
/// Buckets by which OTP's bucket array grows; the table shrinks only when there are that many to
/// spare.
const SEGMENT: usize = 2048;
/// Buckets whose first objects are fetched while a program walks through the table.
const AHEAD_BUCKETS: usize = 4;
/// Empty buckets that cost as much as the freeing of an object.
const BUCKETS_PER_REDUCTION: u32 = 32;
/// Buckets added or taken away in one go.
const STEPS_MAX: usize = 5;

/// How objects with the same key live together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duplicates {
    /// One object a key.
    None,
    /// Different objects with the same key.
    Different,
    Any,
}

/// What a change did to the number of objects and of words.
#[derive(Default, Clone, Copy)]
pub struct Change {
    pub objects: isize,
    pub words: isize,
}

impl Change {
    fn added(object: &Head) -> Change {
        Change { objects: 1, words: footprint(object) }
    }
    fn removed(object: &Head) -> Change {
        Change { objects: -1, words: -footprint(object) }
    }
    /// Sums up two changes.
    pub fn add(&mut self, other: Change) {
        self.objects += other.objects;
        self.words += other.words;
    }
}

/// Words that an object takes, as OTP counts them.
fn footprint(object: &Head) -> isize {
    (object.words() + 4) as isize
}

/// What is to become of an object that was visited.
pub enum Verdict {
    Keep,
    Delete,
    /// Another object with the same key takes its place.
    Replace(*mut Head),
}

/// The one of `parts` (a power of two) where keys of this hash are: OTP's, which has a lock for each
/// class of buckets and walks through one class after the other.
pub fn part_of(hash: u32, parts: usize) -> usize {
    hash as usize & (parts - 1)
}

/// The hash of a key in a table, whose lowest bits choose the bucket: OTP's, so that tables list
/// their objects in the same order. OTP 29 leaves the lowest bit out.
pub fn hash_of(key: Term) -> u32 {
    let hash = match key.as_atom() {
        Some(atom) => atom.hash_value().into(),
        None => hash::internal_hash(key),
    };
    (if release::current() >= Release::R29 { hash >> 1 } else { hash }) as u32
}

/// A hash table with linear hashing, or one of the parts of one for concurrent writers.
pub struct HashTable {
    buckets: Vec<*mut Head>,
    /// One less than a power of two, at least as many as there are buckets.
    mask: usize,
    /// How many of a hash's lowest bits chose the part.
    part_bits: u32,
    /// Objects that a part takes beyond one a bucket before it grows: some parts have more than
    /// others, and the table as a whole is not to grow earlier than one of a single part.
    spare: usize,
    /// Living objects.
    len: usize,
    keypos: usize,
    duplicates: Duplicates,
    /// Buckets in which objects were only marked as deleted.
    marked: Vec<u32>,
}

// SAFETY: the table owns its objects.
unsafe impl Send for HashTable {}
// SAFETY: the table owns its objects, and readers only read.
unsafe impl Sync for HashTable {}

impl HashTable {
    /// A table that is one of `parts`, a power of two.
    pub fn new(keypos: usize, duplicates: Duplicates, parts: usize) -> HashTable {
        Self::with_buckets(BUCKETS_MIN / parts, parts, keypos, duplicates)
    }
    fn with_buckets(
        buckets: usize,
        parts: usize,
        keypos: usize,
        duplicates: Duplicates,
    ) -> HashTable {
        debug_assert!(buckets.is_power_of_two() && parts.is_power_of_two());
        HashTable {
            buckets: vec![std::ptr::null_mut(); buckets],
            mask: buckets - 1,
            part_bits: parts.trailing_zeros(),
            spare: if parts > 1 { BUCKETS_MIN / parts } else { 0 },
            len: 0,
            keypos,
            duplicates,
            marked: Vec::new(),
        }
    }
    /// How many buckets there are now; the table grows and shrinks by one at a time.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }
    /// Objects that are only marked as deleted.
    pub fn marked(&self) -> usize {
        self.marked.len()
    }
    /// Objects that are not marked as deleted.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no objects, not even some that are only marked as deleted.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.marked.is_empty()
    }

    /// The hash without the bits that chose the part.
    #[inline]
    fn within_part(&self, hash: u32) -> usize {
        (hash >> self.part_bits) as usize
    }
    fn bucket_of(&self, hash: u32) -> usize {
        let at = self.within_part(hash) & self.mask;
        if at >= self.buckets.len() { at & (self.mask >> 1) } else { at }
    }

    fn chain(&self, bucket: usize) -> Chain<'_> {
        Chain { next: self.buckets[bucket], table: std::marker::PhantomData }
    }

    #[inline]
    fn has_key(&self, object: &Head, key: Term, hash: u32) -> bool {
        object.hash == hash && {
            let stored = object.key(self.keypos);
            stored == key || equal_exact(stored, key)
        }
    }

    /// Living objects of the bucket, in its order.
    pub fn bucket(&self, bucket: usize) -> impl Iterator<Item = &Head> {
        self.chain(bucket).filter(|object| !object.is_deleted())
    }

    /// The living object with this key, in a table that has one a key.
    pub fn get(&self, key: Term, hash: u32) -> Option<&Head> {
        let mut at = self.buckets[self.bucket_of(hash)];
        // SAFETY: buckets are chains of live objects, which stay while the table is borrowed.
        while let Some(object) = unsafe { at.as_ref() } {
            if self.has_key(object, key, hash) {
                return (!object.is_deleted()).then_some(object);
            }
            at = object.next;
        }
        None
    }

    /// Living objects with this key, the newest first.
    pub fn with_key(&self, key: Term, hash: u32) -> impl Iterator<Item = &Head> {
        self.chain(self.bucket_of(hash))
            .skip_while(move |object| !self.has_key(object, key, hash))
            .take_while(move |object| self.has_key(object, key, hash))
            .filter(|object| !object.is_deleted())
    }

    /// Has the processor bring the first object of a bucket near, if there is one.
    fn fetch(&self, bucket: usize) {
        // SAFETY: buckets are chains of live objects.
        if let Some(object) = self.buckets.get(bucket).and_then(|first| unsafe { first.as_ref() }) {
            object.fetch();
        }
    }

    /// As [`bucket`](HashTable::bucket), for a walk that goes on to the buckets behind this one.
    pub fn bucket_of_walk(&self, bucket: usize) -> impl Iterator<Item = &Head> {
        self.fetch(bucket + AHEAD_BUCKETS);
        self.bucket(bucket)
    }

    /// An object and the living ones behind it that have its key.
    pub fn with_key_of<'a>(&'a self, first: &'a Head) -> impl Iterator<Item = &'a Head> {
        let key = first.key(self.keypos);
        Chain { next: std::ptr::from_ref(first).cast_mut(), table: std::marker::PhantomData }
            .take_while(move |object| self.has_key(object, key, first.hash))
            .filter(|object| !object.is_deleted())
    }

    /// The first object of the first bucket from `bucket` that has any.
    pub fn first_from(&self, bucket: usize) -> Option<&Head> {
        (bucket..self.buckets.len()).find_map(|bucket| self.bucket(bucket).next())
    }

    /// The first object of the key after this one in the order of the table. `Err` when the key is
    /// not there.
    pub fn next(&self, key: Term, hash: u32) -> Result<Option<&Head>, ()> {
        let bucket = self.bucket_of(hash);
        // A program that asks for the next key mostly asks for those after it: their objects lie
        // anywhere in memory.
        for ahead in 1..=AHEAD_BUCKETS {
            self.fetch(bucket + ahead);
        }
        let mut found = false;
        for object in self.chain(bucket) {
            if self.has_key(object, key, hash) {
                found = true;
            } else if found && !object.is_deleted() {
                return Ok(Some(object));
            }
        }
        if found { Ok(self.first_from(bucket + 1)) } else { Err(()) }
    }

    /// The place of the pointer to the first object with this key, or of the end of the bucket.
    fn place_of(&mut self, key: Term, hash: u32) -> *mut *mut Head {
        let bucket = self.bucket_of(hash);
        let mut place: *mut *mut Head = &raw mut self.buckets[bucket];
        // SAFETY: buckets are chains of live objects.
        unsafe {
            while !(*place).is_null() && !self.has_key(&**place, key, hash) {
                place = &raw mut (**place).next;
            }
        }
        place
    }

    /// Takes in an object.
    pub fn insert(&mut self, object: *mut Head, fixed: bool) -> Change {
        // SAFETY: the object is ours now; buckets are chains of live objects.
        unsafe {
            let (key, hash) = ((*object).key(self.keypos), (*object).hash);
            let place = self.place_of(key, hash);
            let present = !(*place).is_null();
            let mut change = Change::added(&*object);
            if !present {
                // A new key goes to the end of its bucket.
                (*object).next = std::ptr::null_mut();
                *place = object;
            } else if self.duplicates == Duplicates::None {
                let old = *place;
                (*object).next = (*old).next;
                *place = object;
                if !(*old).is_deleted() {
                    change.add(Change::removed(&*old));
                }
                Head::free(old);
            } else {
                if self.duplicates == Duplicates::Different {
                    let mut at_place = place;
                    while !(*at_place).is_null() && self.has_key(&**at_place, key, hash) {
                        let at = *at_place;
                        if equal_exact((*at).term(), (*object).term()) {
                            Head::free(object);
                            if !(*at).is_deleted() {
                                return Change::default();
                            }
                            // It comes back as the newest of its key.
                            (*at).set_deleted(false);
                            *at_place = (*at).next;
                            (*at).next = *place;
                            *place = at;
                            self.len += 1;
                            return Change::added(&*at);
                        }
                        at_place = &raw mut (*at).next;
                    }
                }
                (*object).next = *place;
                *place = object;
            }
            self.len = self.len.wrapping_add_signed(change.objects);
            if !fixed && change.objects > 0 {
                self.grow();
            }
            change
        }
    }

    /// Removes the living objects with this key for which `which` says so.
    pub fn remove(
        &mut self,
        key: Term,
        hash: u32,
        fixed: bool,
        mut which: impl FnMut(&Head) -> bool,
    ) -> Change {
        let bucket = self.bucket_of(hash);
        let mut place = self.place_of(key, hash);
        let mut change = Change::default();
        // SAFETY: buckets are chains of live objects.
        unsafe {
            while !(*place).is_null() && self.has_key(&**place, key, hash) {
                let object = *place;
                if (*object).is_deleted() || !which(&*object) {
                    place = &raw mut (*object).next;
                    continue;
                }
                change.add(Change::removed(&*object));
                if fixed {
                    (*object).set_deleted(true);
                    self.marked.push(bucket as u32);
                    place = &raw mut (*object).next;
                } else {
                    *place = (*object).next;
                    Head::free(object);
                }
            }
        }
        self.len = self.len.wrapping_add_signed(change.objects);
        if !fixed {
            self.shrink();
        }
        change
    }

    /// As [`visit_bucket`](HashTable::visit_bucket), for the objects with this key.
    pub fn visit_key(
        &mut self,
        key: Term,
        hash: u32,
        fixed: bool,
        mut visit: impl FnMut(&Head) -> Verdict,
    ) -> Change {
        let keypos = self.keypos;
        let has_key = |object: &Head| object.hash == hash && equal_exact(object.key(keypos), key);
        self.visit_bucket(self.bucket_of(hash), fixed, |object| {
            if has_key(object) { visit(object) } else { Verdict::Keep }
        })
    }

    /// Visits the living objects of a bucket, and does with each what `visit` says.
    pub fn visit_bucket(
        &mut self,
        bucket: usize,
        fixed: bool,
        mut visit: impl FnMut(&Head) -> Verdict,
    ) -> Change {
        let mut place: *mut *mut Head = &raw mut self.buckets[bucket];
        let mut change = Change::default();
        // SAFETY: buckets are chains of live objects.
        unsafe {
            while !(*place).is_null() {
                let object = *place;
                let verdict = if (*object).is_deleted() { Verdict::Keep } else { visit(&*object) };
                match verdict {
                    Verdict::Keep => {}
                    Verdict::Delete => {
                        change.add(Change::removed(&*object));
                        if !fixed {
                            *place = (*object).next;
                            Head::free(object);
                            continue;
                        }
                        (*object).set_deleted(true);
                        self.marked.push(bucket as u32);
                    }
                    Verdict::Replace(new) => {
                        change.add(Change::removed(&*object));
                        change.add(Change::added(&*new));
                        (*new).next = (*object).next;
                        *place = new;
                        Head::free(object);
                    }
                }
                place = &raw mut (**place).next;
            }
        }
        self.len = self.len.wrapping_add_signed(change.objects);
        change
    }

    /// Changes the single living object with this key in place. `None` when there is none.
    pub fn update<R>(
        &mut self,
        key: Term,
        hash: u32,
        change: impl FnOnce(&mut Head) -> (R, Verdict),
    ) -> Option<(R, Change)> {
        let place = self.place_of(key, hash);
        // SAFETY: buckets are chains of live objects.
        unsafe {
            let object = *place;
            if object.is_null() || (*object).is_deleted() {
                return None;
            }
            let (result, verdict) = change(&mut *object);
            let mut change = Change::default();
            if let Verdict::Replace(new) = verdict {
                change.add(Change::removed(&*object));
                change.add(Change::added(&*new));
                (*new).next = (*object).next;
                *place = new;
                Head::free(object);
            }
            Some((result, change))
        }
    }

    /// Nobody fixes the table any more: what was marked goes.
    pub fn unfix(&mut self) {
        for bucket in std::mem::take(&mut self.marked) {
            let mut place: *mut *mut Head = &raw mut self.buckets[bucket as usize];
            // SAFETY: buckets are chains of live objects.
            unsafe {
                while !(*place).is_null() {
                    let object = *place;
                    if (*object).is_deleted() {
                        *place = (*object).next;
                        Head::free(object);
                    } else {
                        place = &raw mut (*object).next;
                    }
                }
            }
        }
        for _ in 0..self.len.saturating_sub(self.buckets.len()).div_ceil(STEPS_MAX) {
            self.grow();
        }
    }

    /// Buckets stay as they are while there are marked objects in them. They still are when the
    /// last fixation has been taken back and the one who did is on the way to this table.
    fn grow(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.marked.is_empty() || self.len <= self.buckets.len() + self.spare {
                return;
            }
            let to = self.buckets.len();
            if to > self.mask {
                self.mask = self.mask << 1 | 1;
            }
            let from = to & (self.mask >> 1);
            self.buckets.push(std::ptr::null_mut());
            let (mut stay, mut go): (*mut *mut Head, *mut *mut Head) =
                (&raw mut self.buckets[from], &raw mut self.buckets[to]);
            // SAFETY: buckets are chains of live objects.
            unsafe {
                while !(*stay).is_null() {
                    let object = *stay;
                    if self.within_part((*object).hash) & self.mask == to {
                        *stay = (*object).next;
                        (*object).next = std::ptr::null_mut();
                        *go = object;
                        go = &raw mut (*object).next;
                    } else {
                        stay = &raw mut (*object).next;
                    }
                }
            }
            // The next step's.
            self.fetch(from + 1);
        }
    }

    fn shrink(&mut self) {
        for _ in 0..STEPS_MAX {
            let buckets = self.buckets.len();
            if !self.marked.is_empty()
                || buckets < BUCKETS_MIN + 2 * SEGMENT
                || self.len * 2 + SEGMENT >= buckets
            {
                return;
            }
            let from = buckets - 1;
            let to = from & (self.mask >> 1);
            let moved = self.buckets.pop().unwrap_or(std::ptr::null_mut());
            let stayed = std::mem::replace(&mut self.buckets[to], moved);
            let mut end: *mut *mut Head = &raw mut self.buckets[to];
            // SAFETY: buckets are chains of live objects.
            unsafe {
                while !(*end).is_null() {
                    end = &raw mut (**end).next;
                }
                *end = stayed;
            }
            if self.buckets.len() == self.mask.div_ceil(2) {
                self.mask >>= 1;
            }
        }
    }

    /// Every object, also those that are only marked as deleted.
    pub fn objects(&self) -> impl Iterator<Item = &Head> {
        (0..self.buckets.len()).flat_map(|bucket| self.chain(bucket))
    }

    /// Removes everything: the objects are in the table that is returned.
    pub fn take_all(&mut self) -> HashTable {
        self.replaced(BUCKETS_MIN >> self.part_bits)
    }
    /// Removes everything from a table that gets no more objects.
    pub fn take_last(&mut self) -> HashTable {
        self.replaced(1)
    }
    /// Leaves an empty table of so many buckets in its place.
    fn replaced(&mut self, buckets: usize) -> HashTable {
        let empty = Self::with_buckets(buckets, 1 << self.part_bits, self.keypos, self.duplicates);
        std::mem::replace(self, empty)
    }
    /// Frees objects of a table that nobody uses any more; takes one off for each. Whether none is
    /// left.
    pub fn free_some(&mut self, reductions: &mut i32) -> bool {
        let mut emptied = 0;
        while *reductions > 0 {
            let Some(first) = self.buckets.last_mut() else { return true };
            let object = *first;
            if object.is_null() {
                self.buckets.pop();
                emptied += 1;
                *reductions -= i32::from(emptied % BUCKETS_PER_REDUCTION == 0);
                continue;
            }
            // SAFETY: the objects are ours, and this one is out of its bucket.
            unsafe {
                *first = (*object).next;
                Head::free(object);
            }
            *reductions -= 1;
        }
        self.buckets.is_empty()
    }
}

impl Drop for HashTable {
    fn drop(&mut self) {
        while !self.free_some(&mut { i32::MAX }) {}
    }
}

/// The objects of a bucket.
struct Chain<'a> {
    next: *mut Head,
    table: std::marker::PhantomData<&'a Head>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a Head;
    fn next(&mut self) -> Option<&'a Head> {
        // SAFETY: buckets are chains of live objects, which stay while the table is borrowed.
        let object = unsafe { self.next.as_ref() }?;
        self.next = object.next;
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::{Alloc, FragmentHeap};

    fn object(key: i64, value: i64) -> *mut Head {
        let mut heap = FragmentHeap::new();
        let tuple = heap.tuple(&[Term::small(key), Term::small(value)]);
        Head::new(tuple, hash_of(Term::small(key)))
    }

    fn values(table: &HashTable, key: i64) -> Vec<i64> {
        let key = Term::small(key);
        table
            .with_key(key, hash_of(key))
            .filter_map(|object| object.tuple().get(1).as_small())
            .collect()
    }

    fn key_of(object: &Head) -> Term {
        object.key(0)
    }

    #[test]
    fn a_set_grows_and_keeps_one_object_a_key() {
        let mut table = HashTable::new(0, Duplicates::None, 1);
        for round in 0..2 {
            for key in 0..5000 {
                table.insert(object(key, key + round), false);
            }
        }
        assert_eq!(table.len(), 5000);
        assert!(table.buckets() >= 4000, "{}", table.buckets());
        assert!((0..5000).all(|key| values(&table, key) == [key + 1]));
        let mut seen = 0;
        let mut at = table.first_from(0).map(key_of);
        while let Some(key) = at {
            seen += 1;
            at = table.next(key, hash_of(key)).expect("the key is there").map(key_of);
        }
        assert_eq!(seen, 5000);
        for key in 0..5000 {
            table.remove(Term::small(key), hash_of(Term::small(key)), false, |_| true);
        }
        assert_eq!((table.len(), table.first_from(0).map(key_of)), (0, None));
    }

    #[test]
    fn a_part_that_was_emptied_finds_what_comes_then() {
        for objects in 0..200 {
            let mut table = HashTable::new(0, Duplicates::Any, 64);
            for key in 0..objects {
                table.insert(object(key, 0), false);
            }
            drop(table.take_all());
            for key in 0..400 {
                table.insert(object(key, 1), false);
            }
            assert!((0..400).all(|key| values(&table, key) == [1]), "after {objects}");
        }
    }

    #[test]
    fn objects_are_freed_for_a_reduction_each() {
        let mut table = HashTable::new(0, Duplicates::Any, 1);
        for key in 0..1000 {
            table.insert(object(key / 2, 0), false);
        }
        let (mut table, mut turns) = (table.take_last(), 0);
        loop {
            let mut reductions = 100;
            let is_over = table.free_some(&mut reductions);
            turns += 1;
            if is_over {
                break;
            }
            assert!(reductions <= 0, "a turn was left with {reductions}");
        }
        // The buckets cost a few.
        assert!((10..=11).contains(&turns), "{turns} turns");
    }

    #[test]
    fn bags_keep_what_differs() {
        for (duplicates, expected) in
            [(Duplicates::Different, vec![2, 1]), (Duplicates::Any, vec![1, 2, 1])]
        {
            let mut table = HashTable::new(0, duplicates, 1);
            for value in [1, 2, 1] {
                table.insert(object(7, value), false);
            }
            assert_eq!(values(&table, 7), expected);
        }
    }

    #[test]
    fn a_fixed_table_keeps_the_place_of_what_is_deleted() {
        let mut table = HashTable::new(0, Duplicates::None, 1);
        for key in 0..100 {
            table.insert(object(key, 0), false);
        }
        let (first, mut seen) = (table.first_from(0).map(key_of).expect("it is not empty"), 0);
        let mut at = Some(first);
        while let Some(key) = at {
            table.remove(key, hash_of(key), true, |_| true);
            seen += 1;
            at = table.next(key, hash_of(key)).expect("its place is kept").map(key_of);
        }
        assert_eq!((seen, table.len()), (100, 0));
        assert!(table.next(first, hash_of(first)).is_ok());
        table.unfix();
        assert!(table.next(first, hash_of(first)).is_err());
    }

    #[test]
    fn what_was_marked_is_found_whatever_happens_before_it_goes() {
        let mut table = HashTable::new(0, Duplicates::None, 1);
        let remove = |table: &mut HashTable, key: i64, fixed| {
            table.remove(Term::small(key), hash_of(Term::small(key)), fixed, |_| true)
        };
        for key in 0..20_000 {
            table.insert(object(key, 0), false);
        }
        for key in 0..1000 {
            remove(&mut table, key, true);
        }
        // Nobody fixes it any more, but what was marked is still there.
        for key in 20_000..40_000 {
            table.insert(object(key, 0), false);
        }
        for key in 2000..38_000 {
            remove(&mut table, key, false);
        }
        table.unfix();
        assert_eq!((table.len(), table.objects().count(), table.marked()), (3000, 3000, 0));
    }
}
