//! Hash maps: tries over the hashes of the keys, four bits a level.

use super::build::flat_from_sorted;
use super::walk::iter;
use crate::alloc::{Alloc, copy_words};
use crate::boxed::{FlatMap, HashMap, MapNode};
use crate::compare::{compare_exact, equal_exact};
use crate::hash::{internal_hash_bits, trie_hash};
use crate::word::{Header, Subtag, Term};
use std::cmp::Ordering;

pub(super) const LEVEL_BITS: u32 = 4;

/// Levels that one hash lasts for.
#[inline]
pub(super) fn levels_per_hash() -> u32 {
    internal_hash_bits() / LEVEL_BITS
}

/// Whether the bits of the hashes before are used up at a level. It is asked at every level.
#[inline]
pub(super) fn needs_hash(level: u32) -> bool {
    debug_assert!(levels_per_hash().is_power_of_two());
    level & (levels_per_hash() - 1) == 0
}

#[inline]
pub(super) fn hash_map(map: Term) -> HashMap {
    map.as_hash_map().expect("the term is a map")
}

/// The part of a key's path through the trie that the current level and those below it use.
#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) hash: u64,
    pub(super) level: u32,
}

impl Path {
    pub(super) fn new(key: Term) -> Path {
        Path { hash: trie_hash(key, 0), level: 0 }
    }
    pub(super) fn at(key: Term, level: u32) -> Path {
        let levels = levels_per_hash();
        Path { hash: trie_hash(key, level / levels) >> (LEVEL_BITS * (level % levels)), level }
    }
    #[inline]
    pub(super) fn bit(self) -> u64 {
        1 << (self.hash & 0xf)
    }
    pub(super) fn down(self, key: Term) -> Path {
        let level = self.level + 1;
        let hash = if needs_hash(level) {
            trie_hash(key, level / levels_per_hash())
        } else {
            self.hash >> LEVEL_BITS
        };
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
pub(super) fn in_trie_order(hash: u64) -> u64 {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    let nibbles = hash.swap_bytes();
    (nibbles & LOW) << 4 | (nibbles >> 4) & LOW
}

/// The slot of `bit` among the children of a node.
#[inline]
pub(super) fn slot(bitmap: u64, bit: u64) -> usize {
    // Bits of so few are counted in fewer steps, where the processor has no instruction for it.
    ((bitmap & (bit - 1)) as u16).count_ones() as usize
}

/// The bitmap and the children of a trie's root or inner node.
#[inline]
pub(super) fn node_parts<'a>(node: Term) -> (u64, &'a [Term]) {
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

/// Not inlined where flat maps are looked into: they need few registers.
#[inline(never)]
pub(super) fn trie_get(map: HashMap, key: Term) -> Option<Term> {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has the instruction.
        return unsafe { trie_get_counting(map, key) };
    }
    trie_get_at(map, Path::new(key), key)
}

/// As [`trie_get`], with an instruction that counts bits: a level waits for the one before, and
/// counting without it is half of that.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn trie_get_counting(map: HashMap, key: Term) -> Option<Term> {
    trie_get_at(map, Path::new(key), key)
}

/// As [`trie_get`], by the key's path from the root. It counts the levels that are left of the hash
/// itself: [`Path::down`] asks at each for the bits of a hash, 15 instructions more for a lookup.
#[inline(always)]
pub(super) fn trie_get_at(map: HashMap, mut path: Path, key: Term) -> Option<Term> {
    let (mut bitmap, mut children) = (map.bitmap(), map.children().as_ptr());
    let per_hash = levels_per_hash();
    let mut left = per_hash - path.level % per_hash;
    loop {
        let bit = path.bit();
        if bitmap & bit == 0 {
            return None;
        }
        // SAFETY: a node has a child for every bit of its bitmap; what is below the root and no
        // pair is an inner node.
        unsafe {
            let child = *children.add(slot(bitmap, bit));
            if let Some(pair) = child.as_cons() {
                let found = pair.head();
                return (found == key || equal_exact(found, key)).then(|| pair.tail());
            }
            let node = MapNode::from_ptr(child.boxed_ptr());
            (bitmap, children) = (node.bitmap(), node.children().as_ptr());
        }
        path.level += 1;
        left -= 1;
        if left == 0 {
            (left, path) = (per_hash, Path::at(key, path.level));
        } else {
            path.hash >>= LEVEL_BITS;
        }
    }
}

/// The root of a trie of `size` pairs.
pub(super) fn root_node<A: Alloc + ?Sized>(
    alloc: &mut A,
    size: usize,
    bitmap: u64,
    children: &[Term],
) -> Term {
    debug_assert_eq!(bitmap.count_ones() as usize, children.len());
    let ptr = alloc.alloc(children.len() + 3);
    // SAFETY: header, size, bitmap and children were given room.
    unsafe {
        *ptr = Header::new(Subtag::HashMap, children.len() + 2).0;
        *ptr.add(1) = size as u64;
        *ptr.add(2) = bitmap;
        copy_words(children.as_ptr(), ptr.add(3).cast::<Term>(), children.len());
    }
    Term::from_boxed_ptr(ptr)
}

pub(super) fn inner_node<A: Alloc + ?Sized>(alloc: &mut A, bitmap: u64, children: &[Term]) -> Term {
    debug_assert_eq!(bitmap.count_ones() as usize, children.len());
    let ptr = alloc.alloc(children.len() + 2);
    // SAFETY: header, bitmap and children were given room.
    unsafe {
        *ptr = Header::new(Subtag::MapNode, children.len() + 1).0;
        *ptr.add(1) = bitmap;
        copy_words(children.as_ptr(), ptr.add(2).cast::<Term>(), children.len());
    }
    Term::from_boxed_ptr(ptr)
}

/// The children of one node while it is being changed.
pub(super) struct Branches {
    pub(super) items: [Term; 16],
    pub(super) len: usize,
}

impl Branches {
    pub(super) fn of(children: &[Term]) -> Branches {
        let mut items = [Term::NIL; 16];
        items[..children.len()].copy_from_slice(children);
        Branches { items, len: children.len() }
    }
    pub(super) fn insert(&mut self, at: usize, item: Term) {
        self.items.copy_within(at..self.len, at + 1);
        self.items[at] = item;
        self.len += 1;
    }
    pub(super) fn items(&self) -> &[Term] {
        &self.items[..self.len]
    }
}

/// A copy of a node with another child at a slot.
fn with_child<A: Alloc + ?Sized>(alloc: &mut A, node: Term, slot: usize, child: Term) -> *mut u64 {
    let header = node.boxed_header();
    let ptr = alloc.alloc(header.words() + 1);
    // SAFETY: the copy has room for as many words as the node has, of which the slot is one.
    unsafe {
        copy_words(node.boxed_ptr(), ptr, header.words() + 1);
        *ptr.add(1 + header.raw_words() + slot) = child.raw();
    }
    ptr
}

/// A copy of a node with one child more at a slot.
fn with_another_child<A: Alloc + ?Sized>(
    alloc: &mut A,
    node: Term,
    slot: usize,
    child: Term,
) -> *mut u64 {
    let (header, from) = (node.boxed_header(), node.boxed_ptr());
    let before = 1 + header.raw_words() + slot;
    let ptr = alloc.alloc(header.words() + 2);
    // SAFETY: the copy has room for one word more than the node has, which is the one at the slot.
    unsafe {
        copy_words(from, ptr, before);
        *ptr = Header::new(header.subtag(), header.words() + 1).0;
        *ptr.add(before) = child.raw();
        copy_words(from.add(before), ptr.add(before + 1), header.words() + 1 - before);
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
        copy_words(from, ptr, before);
        *ptr = Header::new(header.subtag(), header.words() - 1).0;
        copy_words(from.add(before + 1), ptr.add(before), header.words() - before);
    }
    ptr
}

pub(super) fn trie_put<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: HashMap,
    key: Term,
    value: Term,
) -> Term {
    trie_put_at(alloc, map, Path::new(key), key, value)
}

/// As [`trie_put`], by the key's path from the root.
pub(super) fn trie_put_at<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: HashMap,
    path: Path,
    key: Term,
    value: Term,
) -> Term {
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
        let Some((child, grown)) = put_below(alloc, map.children()[at], path.down(key), key, value)
        else {
            return map.term();
        };
        let root = with_child(alloc, map.term(), at, child);
        *root.add(1) += u64::from(grown);
        Term::from_boxed_ptr(root)
    }
}

/// What takes the place of `node` (a pair or an inner node) and whether there is a pair more;
/// `None` when nothing changes.
pub(super) fn put_below<A: Alloc + ?Sized>(
    alloc: &mut A,
    node: Term,
    path: Path,
    key: Term,
    value: Term,
) -> Option<(Term, bool)> {
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
pub(super) fn part_ways<A: Alloc + ?Sized>(
    alloc: &mut A,
    one: Term,
    one_path: Path,
    other: Term,
    other_path: Path,
) -> Term {
    let key_of = |pair: Term| pair.as_cons().expect("leaves are pairs").head();
    let (bit, other_bit) = (one_path.bit(), other_path.bit());
    if bit == other_bit {
        assert!(one_path.level < 8000, "two keys cannot be told apart by any hash");
        let child = part_ways(
            alloc,
            one,
            one_path.down(key_of(one)),
            other,
            other_path.down(key_of(other)),
        );
        return inner_node(alloc, bit, &[child]);
    }
    let pairs = if bit < other_bit { [one, other] } else { [other, one] };
    inner_node(alloc, bit | other_bit, &pairs)
}

/// `key` is in the map, at the end of `path` from the root.
pub(super) fn trie_remove<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: HashMap,
    path: Path,
    key: Term,
) -> Term {
    if map.size() - 1 <= FlatMap::SIZE_MAX {
        let mut pairs: Vec<(Term, Term)> =
            iter(map.term()).filter(|&(other, _)| !equal_exact(other, key)).collect();
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

/// What takes the place of `node`, which holds `key`. A node left with a single pair gives way to
/// it.
fn remove_below<A: Alloc + ?Sized>(
    alloc: &mut A,
    node: Term,
    path: Path,
    key: Term,
) -> Option<Term> {
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

/// Whether a node below a root holds the key.
pub(super) fn holds(node: Term, path: Path, key: Term) -> bool {
    if let Some(pair) = node.as_cons() {
        return pair.head() == key || equal_exact(pair.head(), key);
    }
    let (bitmap, children) = node_parts(node);
    bitmap & path.bit() != 0 && holds(children[slot(bitmap, path.bit())], path.down(key), key)
}
