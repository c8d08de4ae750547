//! Maps: flat up to 32 pairs, above that a hash trie.
//!
//! A flat map is a tuple of keys in term order, shared between maps with the same keys, and the values. A hash map
//! is a trie with 16 branches a level, walked by four bits of the key's hash at a time, lowest first; after eight
//! levels the key is hashed anew with the depth as salt. The shape of a trie depends only on its keys, and
//! its order is OTP's wherever the hash is (see [`crate::hash`]).
//!
//! All functions take terms known to be maps, except where they say otherwise.

use crate::alloc::Alloc;
use crate::atom::Atom;
use crate::boxed::{FlatMap, HashMap, MapNode, Tuple};
use crate::compare::{compare_exact, equal_exact};
use crate::hash::trie_hash;
use crate::word::{Header, Subtag, Term};
use std::cmp::Ordering;

const LEVEL_BITS: u32 = 4;
/// Levels that one hash lasts for.
const LEVELS_PER_HASH: u32 = 32 / LEVEL_BITS;

/// Two pairs with the same key where none may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DuplicateKey;

/// Pairs in the map.
#[inline]
pub fn size(map: Term) -> usize {
    match map.as_flat_map() {
        Some(flat) => flat.size(),
        None => hash_map(map).size(),
    }
}

#[inline]
fn hash_map(map: Term) -> HashMap {
    map.as_hash_map().expect("the term is a map")
}

/// The value of `key`.
#[inline]
pub fn get(map: Term, key: Term) -> Option<Term> {
    match map.as_flat_map() {
        Some(flat) => flat_get(flat, key),
        None => trie_get(hash_map(map), key),
    }
}

/// As [`get`], for a flat map.
#[inline]
pub fn flat_get(map: FlatMap, key: Term) -> Option<Term> {
    flat_position(map, key).map(|position| map.values()[position])
}

/// Where `key` is among the keys of a flat map.
#[inline]
pub fn flat_position(map: FlatMap, key: Term) -> Option<usize> {
    let keys = map.keys();
    let same = word_position(keys, key);
    if same.is_some() || key.is_immediate() && !key.is_float_immediate() { same } else { equal_position(keys, key) }
}

/// Where a key is that is equal, but another word. Apart from the search for the word, which needs few registers.
#[inline(never)]
fn equal_position(keys: &[Term], key: Term) -> Option<usize> {
    let Some(tuple) = key.as_tuple() else { return keys.iter().position(|&candidate| equal_exact(candidate, key)) };
    let (arity, elements) = (tuple.arity(), tuple.elements());
    keys.iter().position(|&candidate| {
        if !candidate.is_tuple_of(arity) {
            return false;
        }
        // SAFETY: its header is that of a tuple.
        let others = unsafe { Tuple::from_ptr(candidate.boxed_ptr()) }.elements();
        // Most differ in an atom or a small integer, and at the end, where what comes first says what kind of key it is.
        let differing = elements.iter().zip(others).rev().find(|(a, b)| a != b);
        match differing {
            None => true,
            Some((a, b)) if a.is_atom() || a.is_small() || b.is_atom() || b.is_small() => false,
            Some(_) => equal_exact(candidate, key),
        }
    })
}

/// Where the very same word is.
#[inline(always)]
fn word_position(keys: &[Term], key: Term) -> Option<usize> {
    // One branch for four keys: where a key is found is hard to foretell.
    const STRIDE: usize = 4;
    let (strides, rest) = keys.as_chunks::<STRIDE>();
    for (index, stride) in strides.iter().enumerate() {
        let found = (0..STRIDE).fold(0u32, |found, at| found | u32::from(stride[at] == key) << at);
        if found != 0 {
            return Some(index * STRIDE + found.trailing_zeros() as usize);
        }
    }
    rest.iter().position(|&candidate| candidate == key).map(|at| strides.len() * STRIDE + at)
}

/// The part of a key's path through the trie that the current level and those below it use.
#[derive(Clone, Copy)]
struct Path {
    hash: u32,
    level: u32,
}

impl Path {
    fn new(key: Term) -> Path {
        Path { hash: trie_hash(key, 0), level: 0 }
    }
    fn at(key: Term, level: u32) -> Path {
        Path { hash: trie_hash(key, level / LEVELS_PER_HASH) >> (LEVEL_BITS * (level % LEVELS_PER_HASH)), level }
    }
    #[inline]
    fn bit(self) -> u64 {
        1 << (self.hash & 0xf)
    }
    fn down(self, key: Term) -> Path {
        let level = self.level + 1;
        let hash = if level.is_multiple_of(LEVELS_PER_HASH) { trie_hash(key, level / LEVELS_PER_HASH) } else { self.hash >> LEVEL_BITS };
        Path { hash, level }
    }
}

/// Which of two different keys a trie lists first.
pub(crate) fn path_order(a: Term, b: Term) -> Ordering {
    for depth in 0.. {
        let order = in_trie_order(trie_hash(a, depth)).cmp(&in_trie_order(trie_hash(b, depth)));
        if order.is_ne() {
            return order;
        }
        // Equal keys have equal hashes for ever; different ones part with the next salt.
        assert!(depth < 1000, "two keys cannot be told apart by any hash");
    }
    Ordering::Equal
}

/// The hash with its lowest four bits first, so that numbers sort as tries do.
fn in_trie_order(hash: u32) -> u32 {
    let nibbles = hash.swap_bytes();
    (nibbles & 0x0f0f_0f0f) << 4 | (nibbles >> 4) & 0x0f0f_0f0f
}

/// The slot of `bit` among the children of a node.
#[inline]
fn slot(bitmap: u64, bit: u64) -> usize {
    (bitmap & (bit - 1)).count_ones() as usize
}

/// The bitmap and the children of a trie's root or inner node.
#[inline]
fn node_parts<'a>(node: Term) -> (u64, &'a [Term]) {
    // SAFETY: what is not a pair in a trie is a node, and the header says which kind.
    unsafe {
        if node.boxed_header().has(Subtag::HashMap) {
            let root = HashMap::from_ptr(node.boxed_ptr());
            (root.bitmap(), root.children())
        } else {
            let inner = MapNode::from_ptr(node.boxed_ptr());
            (inner.bitmap(), inner.children())
        }
    }
}

fn trie_get(map: HashMap, key: Term) -> Option<Term> {
    trie_get_at(map, Path::new(key), key)
}

/// As [`trie_get`], by the key's path from the root.
fn trie_get_at(map: HashMap, mut path: Path, key: Term) -> Option<Term> {
    let (mut bitmap, mut children) = (map.bitmap(), map.children().as_ptr());
    loop {
        let bit = path.bit();
        if bitmap & bit == 0 {
            return None;
        }
        // SAFETY: a node has a child for every bit of its bitmap; what is below the root and no pair is an inner node.
        unsafe {
            let child = *children.add(slot(bitmap, bit));
            if let Some(pair) = child.as_cons() {
                let found = pair.head();
                return (found == key || equal_exact(found, key)).then(|| pair.tail());
            }
            let node = MapNode::from_ptr(child.boxed_ptr());
            (bitmap, children) = (node.bitmap(), node.children().as_ptr());
        }
        path = path.down(key);
    }
}

/// The map with `key` bound to `value`. The map itself when it was so bound already.
pub fn put<A: Alloc + ?Sized>(alloc: &mut A, map: Term, key: Term, value: Term) -> Term {
    let Some(flat) = map.as_flat_map() else { return trie_put(alloc, hash_map(map), key, value) };
    if let Some(position) = flat_position(flat, key) {
        return flat_replace(alloc, flat, position, value);
    }
    let (keys, values) = (flat.keys(), flat.values());
    if keys.len() >= FlatMap::SIZE_MAX {
        let mut pairs: Vec<(Term, Term)> = keys.iter().copied().zip(values.iter().copied()).collect();
        pairs.push((key, value));
        return build_trie(alloc, &pairs);
    }
    let at = insertion_point(keys, key);
    let (map, new_keys, new_values) = new_flat(alloc, keys.len() + 1);
    // SAFETY: there is room for what there was and one more.
    unsafe {
        insert(new_keys, keys, at, key);
        insert(new_values, values, at, value);
    }
    map
}

/// A flat map of `count` pairs behind the tuple of its keys, and where these and the values are to be written.
fn new_flat<A: Alloc + ?Sized>(alloc: &mut A, count: usize) -> (Term, *mut Term, *mut Term) {
    let tuple = alloc.alloc(2 * count + 3);
    // SAFETY: there is room for the tuple (header, keys) and for the map behind it (header, tuple, values).
    unsafe {
        *tuple = Header::new(Subtag::Tuple, count).0;
        let map = tuple.add(count + 1);
        *map = Header::new(Subtag::FlatMap, count + 1).0;
        *map.add(1) = Term::from_boxed_ptr(tuple).raw();
        (Term::from_boxed_ptr(map), tuple.add(1).cast(), map.add(2).cast())
    }
}

/// Where a key goes among others that are in order and not equal to it.
fn insertion_point(keys: &[Term], key: Term) -> usize {
    let Some(ordinal) = key.as_atom().map(Atom::ordinal) else { return keys.partition_point(|&other| compare_exact(other, key).is_lt()) };
    keys.partition_point(|&other| match other.as_atom().map(Atom::ordinal) {
        Some(other) if other != ordinal => other < ordinal,
        _ => compare_exact(other, key).is_lt(),
    })
}

/// Writes the items to `to`, with `item` before the one at `at`.
///
/// # Safety
/// There is room for all of them.
unsafe fn insert(to: *mut Term, items: &[Term], at: usize, item: Term) {
    // SAFETY: the caller's.
    unsafe {
        to.copy_from_nonoverlapping(items.as_ptr(), at);
        *to.add(at) = item;
        to.add(at + 1).copy_from_nonoverlapping(items.as_ptr().add(at), items.len() - at);
    }
}

/// Writes the items to `to`, without the one at `at`.
///
/// # Safety
/// There is room for all the others.
unsafe fn leave_out(to: *mut Term, items: &[Term], at: usize) {
    // SAFETY: the caller's.
    unsafe {
        to.copy_from_nonoverlapping(items.as_ptr(), at);
        to.add(at).copy_from_nonoverlapping(items.as_ptr().add(at + 1), items.len() - at - 1);
    }
}

/// The map with `key`, which it has, bound to `value`; `None` when it has not.
pub fn update_exact<A: Alloc + ?Sized>(alloc: &mut A, map: Term, key: Term, value: Term) -> Option<Term> {
    match map.as_flat_map() {
        Some(flat) => flat_position(flat, key).map(|position| flat_replace(alloc, flat, position, value)),
        None => {
            trie_get(hash_map(map), key)?;
            Some(trie_put(alloc, hash_map(map), key, value))
        }
    }
}

/// The map with all the pairs put, one after the other.
pub fn put_all<A: Alloc + ?Sized>(alloc: &mut A, map: Term, pairs: &[(Term, Term)]) -> Term {
    if let [(key, value)] = *pairs {
        return put(alloc, map, key, value);
    }
    replace_all(alloc, map, pairs).unwrap_or_else(|| pairs.iter().fold(map, |map, &(key, value)| put(alloc, map, key, value)))
}

/// The same when the map has all the keys; `None` when it lacks one.
pub fn update_all<A: Alloc + ?Sized>(alloc: &mut A, map: Term, pairs: &[(Term, Term)]) -> Option<Term> {
    if let [(key, value)] = *pairs {
        return update_exact(alloc, map, key, value);
    }
    if map.as_flat_map().is_some() {
        return replace_all(alloc, map, pairs);
    }
    pairs.iter().try_fold(map, |map, &(key, value)| update_exact(alloc, map, key, value))
}

/// A flat map that has all the keys, with their values replaced in one copy.
fn replace_all<A: Alloc + ?Sized>(alloc: &mut A, map: Term, pairs: &[(Term, Term)]) -> Option<Term> {
    let flat = map.as_flat_map()?;
    let mut values = [Term::NIL; FlatMap::SIZE_MAX];
    let old = flat.values();
    values[..old.len()].copy_from_slice(old);
    for &(key, value) in pairs {
        values[flat_position(flat, key)?] = value;
    }
    Some(flat_map(alloc, flat.keys_tuple(), &values[..old.len()]))
}

fn flat_replace<A: Alloc + ?Sized>(alloc: &mut A, map: FlatMap, position: usize, value: Term) -> Term {
    if map.values()[position] == value {
        return map.term();
    }
    let result = flat_map(alloc, map.keys_tuple(), map.values());
    // SAFETY: the copy is new, and the value has its place after header and keys.
    unsafe { *result.boxed_ptr().add(2 + position) = value.raw() };
    result
}

/// A flat map of keys that are in order in their tuple already.
pub fn flat_map<A: Alloc + ?Sized>(alloc: &mut A, keys_tuple: Term, values: &[Term]) -> Term {
    debug_assert!(values.len() <= FlatMap::SIZE_MAX && keys_tuple.is_tuple_of(values.len()));
    let ptr = alloc.alloc(values.len() + 2);
    // SAFETY: header, keys and values were given room.
    unsafe {
        *ptr = Header::new(Subtag::FlatMap, values.len() + 1).0;
        *ptr.add(1) = keys_tuple.raw();
        ptr.add(2).cast::<Term>().copy_from_nonoverlapping(values.as_ptr(), values.len());
    }
    Term::from_boxed_ptr(ptr)
}

/// `#{}`.
pub fn empty<A: Alloc + ?Sized>(alloc: &mut A) -> Term {
    let keys = alloc.tuple(&[]);
    flat_map(alloc, keys, &[])
}

/// The root of a trie of `size` pairs.
fn root_node<A: Alloc + ?Sized>(alloc: &mut A, size: usize, bitmap: u64, children: &[Term]) -> Term {
    debug_assert_eq!(bitmap.count_ones() as usize, children.len());
    let ptr = alloc.alloc(children.len() + 3);
    // SAFETY: header, size, bitmap and children were given room.
    unsafe {
        *ptr = Header::new(Subtag::HashMap, children.len() + 2).0;
        *ptr.add(1) = size as u64;
        *ptr.add(2) = bitmap;
        ptr.add(3).cast::<Term>().copy_from_nonoverlapping(children.as_ptr(), children.len());
    }
    Term::from_boxed_ptr(ptr)
}

fn inner_node<A: Alloc + ?Sized>(alloc: &mut A, bitmap: u64, children: &[Term]) -> Term {
    debug_assert_eq!(bitmap.count_ones() as usize, children.len());
    let ptr = alloc.alloc(children.len() + 2);
    // SAFETY: header, bitmap and children were given room.
    unsafe {
        *ptr = Header::new(Subtag::MapNode, children.len() + 1).0;
        *ptr.add(1) = bitmap;
        ptr.add(2).cast::<Term>().copy_from_nonoverlapping(children.as_ptr(), children.len());
    }
    Term::from_boxed_ptr(ptr)
}

/// The children of one node while it is being changed.
struct Branches {
    items: [Term; 16],
    len: usize,
}

impl Branches {
    fn of(children: &[Term]) -> Branches {
        let mut items = [Term::NIL; 16];
        items[..children.len()].copy_from_slice(children);
        Branches { items, len: children.len() }
    }
    fn insert(&mut self, at: usize, item: Term) {
        self.items.copy_within(at..self.len, at + 1);
        self.items[at] = item;
        self.len += 1;
    }
    fn items(&self) -> &[Term] {
        &self.items[..self.len]
    }
}

/// A copy of a node with another child at a slot.
fn with_child<A: Alloc + ?Sized>(alloc: &mut A, node: Term, slot: usize, child: Term) -> *mut u64 {
    let header = node.boxed_header();
    let ptr = alloc.alloc(header.words() + 1);
    // SAFETY: the copy has room for as many words as the node has, of which the slot is one.
    unsafe {
        ptr.copy_from_nonoverlapping(node.boxed_ptr(), header.words() + 1);
        *ptr.add(1 + header.raw_words() + slot) = child.raw();
    }
    ptr
}

/// A copy of a node with one child more at a slot.
fn with_another_child<A: Alloc + ?Sized>(alloc: &mut A, node: Term, slot: usize, child: Term) -> *mut u64 {
    let (header, from) = (node.boxed_header(), node.boxed_ptr());
    let before = 1 + header.raw_words() + slot;
    let ptr = alloc.alloc(header.words() + 2);
    // SAFETY: the copy has room for one word more than the node has, which is the one at the slot.
    unsafe {
        ptr.copy_from_nonoverlapping(from, before);
        *ptr = Header::new(header.subtag(), header.words() + 1).0;
        *ptr.add(before) = child.raw();
        ptr.add(before + 1).copy_from_nonoverlapping(from.add(before), header.words() + 1 - before);
    }
    ptr
}

/// A copy of a node without the child at a slot.
fn without_child<A: Alloc + ?Sized>(alloc: &mut A, node: Term, slot: usize) -> *mut u64 {
    let (header, from) = (node.boxed_header(), node.boxed_ptr());
    let before = 1 + header.raw_words() + slot;
    let ptr = alloc.alloc(header.words());
    // SAFETY: the copy has room for all words of the node but the one at the slot.
    unsafe {
        ptr.copy_from_nonoverlapping(from, before);
        *ptr = Header::new(header.subtag(), header.words() - 1).0;
        ptr.add(before).copy_from_nonoverlapping(from.add(before + 1), header.words() - before);
    }
    ptr
}

fn trie_put<A: Alloc + ?Sized>(alloc: &mut A, map: HashMap, key: Term, value: Term) -> Term {
    let path = Path::new(key);
    let bit = path.bit();
    let at = slot(map.bitmap(), bit);
    // SAFETY: size and bitmap are the first words of a root.
    unsafe {
        if map.bitmap() & bit == 0 {
            let pair = alloc.cons(key, value);
            let root = with_another_child(alloc, map.term(), at, pair);
            *root.add(1) += 1;
            *root.add(2) |= bit;
            return Term::from_boxed_ptr(root);
        }
        let Some((child, grown)) = put_below(alloc, map.children()[at], path.down(key), key, value) else { return map.term() };
        let root = with_child(alloc, map.term(), at, child);
        *root.add(1) += u64::from(grown);
        Term::from_boxed_ptr(root)
    }
}

/// What takes the place of `node` (a pair or an inner node) and whether there is a pair more; `None` when nothing changes.
fn put_below<A: Alloc + ?Sized>(alloc: &mut A, node: Term, path: Path, key: Term, value: Term) -> Option<(Term, bool)> {
    if let Some(pair) = node.as_cons() {
        if pair.head() == key || equal_exact(pair.head(), key) {
            // The key that was there first stays.
            return (pair.tail() != value).then(|| (alloc.cons(pair.head(), value), false));
        }
        let fresh = alloc.cons(key, value);
        let other = Path::at(pair.head(), path.level);
        return Some((part_ways(alloc, node, other, fresh, path), true));
    }
    let (bitmap, children) = node_parts(node);
    let bit = path.bit();
    let at = slot(bitmap, bit);
    if bitmap & bit == 0 {
        let pair = alloc.cons(key, value);
        let copy = with_another_child(alloc, node, at, pair);
        // SAFETY: the bitmap is the first word of an inner node.
        unsafe { *copy.add(1) |= bit };
        return Some((Term::from_boxed_ptr(copy), true));
    }
    let (child, grown) = put_below(alloc, children[at], path.down(key), key, value)?;
    Some((Term::from_boxed_ptr(with_child(alloc, node, at, child)), grown))
}

/// Nodes down to where the paths of two pairs part.
fn part_ways<A: Alloc + ?Sized>(alloc: &mut A, one: Term, one_path: Path, other: Term, other_path: Path) -> Term {
    let key_of = |pair: Term| pair.as_cons().expect("leaves are pairs").head();
    let (bit, other_bit) = (one_path.bit(), other_path.bit());
    if bit == other_bit {
        assert!(one_path.level < 8000, "two keys cannot be told apart by any hash");
        let child = part_ways(alloc, one, one_path.down(key_of(one)), other, other_path.down(key_of(other)));
        return inner_node(alloc, bit, &[child]);
    }
    let pairs = if bit < other_bit { [one, other] } else { [other, one] };
    inner_node(alloc, bit | other_bit, &pairs)
}

/// The map without `key`. The map itself when it has no such key.
pub fn remove<A: Alloc + ?Sized>(alloc: &mut A, map: Term, key: Term) -> Term {
    take(alloc, map, key).map_or(map, |(_, rest)| rest)
}

/// The value of `key` and the map without it.
pub fn take<A: Alloc + ?Sized>(alloc: &mut A, map: Term, key: Term) -> Option<(Term, Term)> {
    let Some(flat) = map.as_flat_map() else {
        let (trie, path) = (hash_map(map), Path::new(key));
        let value = trie_get_at(trie, path, key)?;
        return Some((value, trie_remove(alloc, trie, path, key)));
    };
    let at = flat_position(flat, key)?;
    let count = flat.size() - 1;
    let tuple = alloc.alloc(2 * count + 3);
    // SAFETY: a tuple of the keys, and behind it a map: header, tuple, values. Each is what it was without the one at `at`.
    let rest = unsafe {
        *tuple = Header::new(Subtag::Tuple, count).0;
        leave_out(tuple.add(1).cast(), flat.keys(), at);
        let map = tuple.add(count + 1);
        *map = Header::new(Subtag::FlatMap, count + 1).0;
        *map.add(1) = Term::from_boxed_ptr(tuple).raw();
        leave_out(map.add(2).cast(), flat.values(), at);
        Term::from_boxed_ptr(map)
    };
    Some((flat.values()[at], rest))
}

/// `key` is in the map, at the end of `path` from the root.
fn trie_remove<A: Alloc + ?Sized>(alloc: &mut A, map: HashMap, path: Path, key: Term) -> Term {
    if map.size() - 1 <= FlatMap::SIZE_MAX {
        let mut pairs: Vec<(Term, Term)> = iter(map.term()).filter(|&(other, _)| !equal_exact(other, key)).collect();
        pairs.sort_by(|a, b| compare_exact(a.0, b.0));
        return flat_from_sorted(alloc, &pairs);
    }
    let bit = path.bit();
    let at = slot(map.bitmap(), bit);
    // SAFETY: size and bitmap are the first words of a root.
    unsafe {
        let root = match remove_below(alloc, map.children()[at], path.down(key), key) {
            Some(child) => with_child(alloc, map.term(), at, child),
            None => {
                let root = without_child(alloc, map.term(), at);
                *root.add(2) &= !bit;
                root
            }
        };
        *root.add(1) -= 1;
        Term::from_boxed_ptr(root)
    }
}

/// What takes the place of `node`, which holds `key`. A node left with a single pair gives way to it.
fn remove_below<A: Alloc + ?Sized>(alloc: &mut A, node: Term, path: Path, key: Term) -> Option<Term> {
    if node.is_cons() {
        return None;
    }
    let (bitmap, children) = node_parts(node);
    let bit = path.bit();
    let at = slot(bitmap, bit);
    match (remove_below(alloc, children[at], path.down(key), key), children) {
        (Some(child), [_]) if child.is_cons() => Some(child),
        (Some(child), _) => Some(Term::from_boxed_ptr(with_child(alloc, node, at, child))),
        (None, [_]) => None,
        (None, [_, _]) if children[1 - at].is_cons() => Some(children[1 - at]),
        (None, _) => {
            let copy = without_child(alloc, node, at);
            // SAFETY: the bitmap is the first word of an inner node.
            unsafe { *copy.add(1) &= !bit };
            Some(Term::from_boxed_ptr(copy))
        }
    }
}

/// The map of `pairs`; of two with the same key the later one counts.
pub fn from_pairs<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
    build(alloc, pairs, false).unwrap_or_else(|DuplicateKey| unreachable!("duplicates are allowed"))
}

/// The map of `pairs`, no two of which may have the same key.
pub fn from_unique_pairs<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Result<Term, DuplicateKey> {
    build(alloc, pairs, true)
}

fn build<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)], unique: bool) -> Result<Term, DuplicateKey> {
    if pairs.len() <= FlatMap::SIZE_MAX {
        return build_flat(alloc, pairs, unique);
    }
    let mut hashed: Vec<Hashed> = pairs.iter().map(|&(key, value)| Hashed { order: in_trie_order(trie_hash(key, 0)), key, value }).collect();
    hashed.sort_by_key(|entry| entry.order);
    drop_duplicates(&mut hashed, unique)?;
    if hashed.len() <= FlatMap::SIZE_MAX {
        let mut sorted: Vec<(Term, Term)> = hashed.iter().map(|entry| (entry.key, entry.value)).collect();
        sorted.sort_by(|a, b| compare_exact(a.0, b.0));
        return Ok(flat_from_sorted(alloc, &sorted));
    }
    Ok(build_root(alloc, &hashed))
}

/// The flat map of no more pairs than it can have. Nothing is allocated but the map.
fn build_flat<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)], unique: bool) -> Result<Term, DuplicateKey> {
    let mut sorted = [(Term::NIL, Term::NIL); FlatMap::SIZE_MAX];
    let mut count = 0;
    for &pair in pairs {
        let before = &sorted[..count];
        // Most come in order.
        let place = match before.last().map(|last| compare_exact(last.0, pair.0)) {
            None | Some(Ordering::Less) => Err(count),
            Some(_) => before.binary_search_by(|other| compare_exact(other.0, pair.0)),
        };
        match place {
            Ok(_) if unique => return Err(DuplicateKey),
            Ok(at) => sorted[at] = pair,
            Err(at) => {
                sorted.copy_within(at..count, at + 1);
                sorted[at] = pair;
                count += 1;
            }
        }
    }
    Ok(flat_from_sorted(alloc, &sorted[..count]))
}

/// Removes of neighbours that are the same all but the last.
fn drop_earlier<T: Copy>(items: &mut Vec<T>, unique: bool, same: impl Fn(&T, &T) -> bool) -> Result<(), DuplicateKey> {
    let before = items.len();
    let mut index = 0;
    let old = items.clone();
    items.retain(|_| {
        index += 1;
        index == old.len() || !same(&old[index - 1], &old[index])
    });
    if unique && items.len() < before { Err(DuplicateKey) } else { Ok(()) }
}

/// Equal keys have equal hashes but need not be neighbours among those that collide: each run is searched.
fn drop_duplicates(hashed: &mut Vec<Hashed>, unique: bool) -> Result<(), DuplicateKey> {
    if hashed.windows(2).all(|pair| pair[0].order != pair[1].order) {
        return Ok(());
    }
    for run in hashed.chunk_by_mut(|a, b| a.order == b.order) {
        if run.len() > 1 {
            run.sort_by(|a, b| compare_exact(a.key, b.key));
        }
    }
    drop_earlier(hashed, unique, |a, b| a.order == b.order && equal_exact(a.key, b.key))
}

fn flat_from_sorted<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
    if pairs.is_empty() {
        return empty(alloc);
    }
    let (map, keys, values) = new_flat(alloc, pairs.len());
    for (index, &(key, value)) in pairs.iter().enumerate() {
        // SAFETY: there is room for as many.
        unsafe {
            *keys.add(index) = key;
            *values.add(index) = value;
        }
    }
    map
}

/// A pair with its key's hash in trie order.
#[derive(Clone, Copy)]
struct Hashed {
    order: u32,
    key: Term,
    value: Term,
}

/// A trie of more than [`FlatMap::SIZE_MAX`] pairs with different keys.
fn build_trie<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
    let mut hashed: Vec<Hashed> = pairs.iter().map(|&(key, value)| Hashed { order: in_trie_order(trie_hash(key, 0)), key, value }).collect();
    hashed.sort_by_key(|entry| entry.order);
    build_root(alloc, &hashed)
}

fn build_root<A: Alloc + ?Sized>(alloc: &mut A, sorted: &[Hashed]) -> Term {
    let (bitmap, children) = build_children(alloc, sorted, 0);
    root_node(alloc, sorted.len(), bitmap, children.items())
}

fn build_children<A: Alloc + ?Sized>(alloc: &mut A, sorted: &[Hashed], level: u32) -> (u64, Branches) {
    let shift = 32 - LEVEL_BITS * (level % LEVELS_PER_HASH + 1);
    let branch = |entry: &Hashed| (entry.order >> shift) & 0xf;
    let mut bitmap = 0;
    let mut branches = Branches::of(&[]);
    for group in sorted.chunk_by(|a, b| branch(a) == branch(b)) {
        bitmap |= 1 << branch(&group[0]);
        let child = if let [only] = group { alloc.cons(only.key, only.value) } else { build_inner(alloc, group, level + 1) };
        branches.insert(branches.len, child);
    }
    (bitmap, branches)
}

fn build_inner<A: Alloc + ?Sized>(alloc: &mut A, group: &[Hashed], level: u32) -> Term {
    assert!(level < 8000, "two keys cannot be told apart by any hash");
    let (bitmap, branches) = if level.is_multiple_of(LEVELS_PER_HASH) {
        let mut again = group.to_vec();
        for entry in &mut again {
            entry.order = in_trie_order(trie_hash(entry.key, level / LEVELS_PER_HASH));
        }
        again.sort_by_key(|entry| entry.order);
        build_children(alloc, &again, level)
    } else {
        build_children(alloc, group, level)
    };
    inner_node(alloc, bitmap, branches.items())
}

/// Where a list of tuples of pairs is written.
struct PairList {
    start: *mut u64,
    /// Where the next cell goes.
    cell: *mut u64,
}

impl PairList {
    const PAIR_WORDS: usize = 3;

    /// For `count` pairs, at least one.
    fn new<A: Alloc + ?Sized>(alloc: &mut A, count: usize) -> PairList {
        let start = alloc.alloc((2 + PairList::PAIR_WORDS) * count);
        PairList { start, cell: start }
    }
    /// # Safety
    /// No more pairs are written than the list is for.
    #[inline]
    unsafe fn push(&mut self, key: Term, value: Term) {
        // SAFETY: there is room for a cell and a pair, by the caller's word; the last cell's tail is written at the end.
        unsafe {
            let pair = self.cell.add(2);
            *pair = Header::new(Subtag::Tuple, 2).0;
            *pair.add(1) = key.raw();
            *pair.add(2) = value.raw();
            *self.cell = Term::from_boxed_ptr(pair).raw();
            self.cell = pair.add(PairList::PAIR_WORDS);
            *pair.sub(1) = Term::from_cons_ptr(self.cell).raw();
        }
    }
    /// All pairs below a node of a trie, the last child first.
    ///
    /// # Safety
    /// As for [`PairList::push`].
    unsafe fn push_below(&mut self, node: Term) {
        for &child in node_parts(node).1.iter().rev() {
            // SAFETY: the caller's.
            unsafe {
                match child.as_cons() {
                    Some(pair) => self.push(pair.head(), pair.tail()),
                    None => self.push_below(child),
                }
            }
        }
    }
    /// # Safety
    /// As many pairs were written as the list is for.
    unsafe fn finish(self, tail: Term) -> Term {
        // SAFETY: there is one cell at least.
        unsafe { *self.cell.sub(PairList::PAIR_WORDS + 1) = tail.raw() };
        Term::from_cons_ptr(self.start)
    }
}

/// A list of tuples of the pairs, in their order, with `tail` behind them.
pub fn pair_list<A: Alloc + ?Sized>(alloc: &mut A, pairs: impl ExactSizeIterator<Item = (Term, Term)>, tail: Term) -> Term {
    let count = pairs.len();
    if count == 0 {
        return tail;
    }
    let mut list = PairList::new(alloc, count);
    // SAFETY: it is for so many.
    unsafe {
        pairs.take(count).for_each(|(key, value)| list.push(key, value));
        list.finish(tail)
    }
}

/// A list of tuples of all pairs of a hash map, opposite to the order of [`iter`], with `tail` behind them.
pub fn trie_list<A: Alloc + ?Sized>(alloc: &mut A, map: HashMap, tail: Term) -> Term {
    let mut list = PairList::new(alloc, map.size());
    // SAFETY: a trie holds as many pairs as its root says, more than a flat map can.
    unsafe {
        list.push_below(map.term());
        list.finish(tail)
    }
}

/// The pairs: of a flat map in the order of keys, of a hash map in that of its trie.
#[inline]
pub fn iter(map: Term) -> MapIter<'static> {
    match map.as_flat_map() {
        Some(flat) => MapIter::Flat(flat.keys().iter(), flat.values().iter()),
        None => MapIter::Trie(TrieIter::new(hash_map(map))),
    }
}

/// See [`iter`].
pub enum MapIter<'a> {
    Flat(std::slice::Iter<'a, Term>, std::slice::Iter<'a, Term>),
    Trie(TrieIter<'a>),
}

impl Iterator for MapIter<'_> {
    type Item = (Term, Term);
    #[inline]
    fn next(&mut self) -> Option<(Term, Term)> {
        match self {
            MapIter::Flat(keys, values) => Some((*keys.next()?, *values.next()?)),
            MapIter::Trie(trie) => trie.next(),
        }
    }
}

/// The pairs of a trie, in its order.
pub struct TrieIter<'a> {
    /// What is left to visit at each level, the innermost last.
    levels: Vec<std::slice::Iter<'a, Term>>,
}

impl TrieIter<'_> {
    pub fn new(map: HashMap) -> TrieIter<'static> {
        TrieIter { levels: vec![map.children().iter()] }
    }
}

impl Iterator for TrieIter<'_> {
    type Item = (Term, Term);
    fn next(&mut self) -> Option<(Term, Term)> {
        loop {
            let Some(&child) = self.levels.last_mut()?.next() else {
                self.levels.pop();
                continue;
            };
            match child.as_cons() {
                Some(pair) => return Some((pair.head(), pair.tail())),
                None => self.levels.push(node_parts(child).1.iter()),
            }
        }
    }
}

/// Levels of a trie that a path of [`batch`] tells apart; what lies deeper is visited together.
const PATH_LEVELS: u32 = 13;

/// Pairs of a hash map from `path` on (0 is the start), at least `count` of them if there are as many, and
/// the path of what comes next. A path is the branch at each level, four bits each, the root's lowest.
pub fn batch(map: HashMap, path: u64, count: usize) -> (Vec<(Term, Term)>, Option<u64>) {
    let mut pairs = Vec::with_capacity(count.min(map.size()));
    let next = batch_below(map.term(), Some(path), 0, 0, count, &mut pairs);
    (pairs, next)
}

/// `from`: where to start below `node`, when not at its first child. `above`: the path to `node`.
fn batch_below(node: Term, from: Option<u64>, above: u64, level: u32, count: usize, pairs: &mut Vec<(Term, Term)>) -> Option<u64> {
    let (bitmap, children) = node_parts(node);
    let first = from.map_or(0, |path| path & 0xf);
    let mut left = bitmap & (!0 << first);
    while left != 0 {
        let branch = u64::from(left.trailing_zeros());
        left &= left - 1;
        let child = children[slot(bitmap, 1 << branch)];
        let here = above | if level < PATH_LEVELS { branch << (LEVEL_BITS * level) } else { 0 };
        if level < PATH_LEVELS && pairs.len() >= count {
            return Some(here);
        }
        match child.as_cons() {
            Some(pair) => pairs.push((pair.head(), pair.tail())),
            None => {
                let from = from.filter(|_| branch == first).map(|path| path >> LEVEL_BITS);
                if let Some(next) = batch_below(child, from, here, level + 1, count, pairs) {
                    return Some(next);
                }
            }
        }
    }
    None
}

/// `maps:merge/2`: the pairs of both; `second` wins.
pub fn merge<A: Alloc + ?Sized>(alloc: &mut A, first: Term, second: Term) -> Term {
    if size(second) == 0 || first == second {
        return first;
    }
    if size(first) == 0 {
        return second;
    }
    match (first.as_flat_map(), second.as_flat_map()) {
        (Some(a), Some(b)) => merge_flat(alloc, a, b),
        (None, None) => merge_tries(alloc, hash_map(first), hash_map(second)),
        (None, Some(_)) => iter(second).fold(first, |map, (key, value)| put(alloc, map, key, value)),
        // The keys of both keep the second's values, so only those are put that it has not.
        (Some(_), None) => iter(first).fold(second, |map, (key, value)| if get(second, key).is_some() { map } else { put(alloc, map, key, value) }),
    }
}

fn merge_tries<A: Alloc + ?Sized>(alloc: &mut A, first: HashMap, second: HashMap) -> Term {
    let mut common = 0;
    let (bitmap, branches) = merge_children(alloc, first.term(), second.term(), 0, &mut common);
    if branches.items() == second.children() {
        return second.term();
    }
    root_node(alloc, first.size() + second.size() - common, bitmap, branches.items())
}

/// The children of two nodes of that level taken together; adds to `common` how many keys both have.
fn merge_children<A: Alloc + ?Sized>(alloc: &mut A, first: Term, second: Term, level: u32, common: &mut usize) -> (u64, Branches) {
    let ((bitmap_a, children_a), (bitmap_b, children_b)) = (node_parts(first), node_parts(second));
    let mut branches = Branches::of(&[]);
    let mut left = bitmap_a | bitmap_b;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left &= left - 1;
        let child = match (bitmap_a & bit != 0, bitmap_b & bit != 0) {
            (true, true) => merge_nodes(alloc, children_a[slot(bitmap_a, bit)], children_b[slot(bitmap_b, bit)], level + 1, common),
            (true, false) => children_a[slot(bitmap_a, bit)],
            _ => children_b[slot(bitmap_b, bit)],
        };
        branches.insert(branches.len, child);
    }
    (bitmap_a | bitmap_b, branches)
}

/// The same of two that stand in the same place below a root, and are pairs or inner nodes.
fn merge_nodes<A: Alloc + ?Sized>(alloc: &mut A, first: Term, second: Term, level: u32, common: &mut usize) -> Term {
    match (first.as_cons(), second.as_cons()) {
        (Some(a), Some(b)) if a.head() == b.head() || equal_exact(a.head(), b.head()) => {
            *common += 1;
            second
        }
        (Some(a), Some(b)) => part_ways(alloc, first, Path::at(a.head(), level), second, Path::at(b.head(), level)),
        (Some(a), None) if holds(second, Path::at(a.head(), level), a.head()) => {
            *common += 1;
            second
        }
        (Some(a), None) => put_below(alloc, second, Path::at(a.head(), level), a.head(), a.tail()).map_or(second, |(node, _)| node),
        (None, Some(b)) => {
            let put = put_below(alloc, first, Path::at(b.head(), level), b.head(), b.tail());
            *common += usize::from(!put.is_some_and(|(_, grown)| grown));
            put.map_or(first, |(node, _)| node)
        }
        (None, None) => {
            let (bitmap, branches) = merge_children(alloc, first, second, level, common);
            if branches.items() == node_parts(second).1 { second } else { inner_node(alloc, bitmap, branches.items()) }
        }
    }
}

/// Whether a node below a root holds the key.
fn holds(node: Term, path: Path, key: Term) -> bool {
    if let Some(pair) = node.as_cons() {
        return pair.head() == key || equal_exact(pair.head(), key);
    }
    let (bitmap, children) = node_parts(node);
    bitmap & path.bit() != 0 && holds(children[slot(bitmap, path.bit())], path.down(key), key)
}

fn merge_flat<A: Alloc + ?Sized>(alloc: &mut A, first: FlatMap, second: FlatMap) -> Term {
    let (keys_a, values_a, keys_b, values_b) = (first.keys(), first.values(), second.keys(), second.values());
    let mut room = [(Term::NIL, Term::NIL); 2 * FlatMap::SIZE_MAX];
    let (mut a, mut b, mut count) = (0, 0, 0);
    while a < keys_a.len() || b < keys_b.len() {
        let order = match (keys_a.get(a), keys_b.get(b)) {
            (Some(&first), Some(&second)) if first == second => Ordering::Equal,
            (Some(&first), Some(&second)) => compare_exact(first, second),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        room[count] = if order.is_lt() { (keys_a[a], values_a[a]) } else { (keys_b[b], values_b[b]) };
        a += usize::from(order.is_le());
        b += usize::from(order.is_ge());
        count += 1;
    }
    let pairs = &room[..count];
    if pairs.len() > FlatMap::SIZE_MAX {
        return build_trie(alloc, pairs);
    }
    if pairs.len() == keys_b.len() {
        // Nothing in the first that the second has not.
        return second.term();
    }
    if pairs.len() == keys_a.len() {
        let values: Vec<Term> = pairs.iter().map(|pair| pair.1).collect();
        return flat_map(alloc, first.keys_tuple(), &values);
    }
    flat_from_sorted(alloc, pairs)
}

/// `maps:keys/1`: of a flat map in key order, of a hash map in the reverse of its trie's.
pub fn keys<A: Alloc + ?Sized>(alloc: &mut A, map: Term) -> Term {
    match map.as_flat_map() {
        Some(flat) => alloc.list(flat.keys()),
        None => iter(map).fold(Term::NIL, |list, (key, _)| alloc.cons(key, list)),
    }
}

/// `maps:values/1`, in the order of [`keys`].
pub fn values<A: Alloc + ?Sized>(alloc: &mut A, map: Term) -> Term {
    match map.as_flat_map() {
        Some(flat) => alloc.list(flat.values()),
        None => iter(map).fold(Term::NIL, |list, (_, value)| alloc.cons(value, list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::FragmentHeap;

    #[test]
    fn a_map_turns_into_a_trie_and_back() {
        let mut heap = FragmentHeap::new();
        let mut map = empty(&mut heap);
        for key in 0..100 {
            assert_eq!(map.as_flat_map().is_some(), key <= 32);
            map = put(&mut heap, map, Term::small(key), Term::small(key * 2));
        }
        for key in 0..100 {
            assert_eq!(get(map, Term::small(key)), Some(Term::small(key * 2)));
            map = remove(&mut heap, map, Term::small(key));
            assert_eq!(get(map, Term::small(key)), None);
            assert_eq!(map.as_flat_map().is_some(), size(map) <= 32);
        }
        assert_eq!(size(map), 0);
    }

    #[test]
    fn new_values_share_the_keys() {
        let mut heap = FragmentHeap::new();
        let map = from_pairs(&mut heap, &[(Term::small(2), Term::NIL), (Term::small(1), Term::NIL), (Term::small(2), Term::small(7))]);
        assert_eq!(iter(map).collect::<Vec<_>>(), [(Term::small(1), Term::NIL), (Term::small(2), Term::small(7))]);
        let changed = put(&mut heap, map, Term::small(1), Term::small(8));
        assert_eq!(changed.as_flat_map().unwrap().keys_tuple(), map.as_flat_map().unwrap().keys_tuple());
        assert_eq!(put(&mut heap, map, Term::small(2), Term::small(7)), map);
        assert_eq!(from_unique_pairs(&mut heap, &[(Term::NIL, Term::NIL), (Term::NIL, Term::NIL)]), Err(DuplicateKey));
    }

    #[test]
    fn hashes_sort_as_tries_do() {
        assert_eq!(in_trie_order(0x8765_4321), 0x1234_5678);
    }
}
