//! Flat maps: up to 32 keys in order, in a tuple that maps with the same keys share.

use crate::alloc::{Alloc, copy_words};
use crate::atom::Atom;
use crate::boxed::{FlatMap, Tuple};
use crate::compare::{compare_exact, equal_exact};
use crate::word::{Header, Subtag, Term};

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
    if same.is_some() || key.is_immediate() && !key.is_float_immediate() {
        same
    } else {
        equal_position(keys, key)
    }
}

/// Where a key is that is equal, but another word. Apart from the search for the word, which needs
/// few registers.
#[inline(never)]
fn equal_position(keys: &[Term], key: Term) -> Option<usize> {
    let Some(tuple) = key.as_tuple() else {
        return keys.iter().position(|&candidate| equal_exact(candidate, key));
    };
    let (arity, elements) = (tuple.arity(), tuple.elements());
    keys.iter().position(|&candidate| {
        if !candidate.is_tuple_of(arity) {
            return false;
        }
        // SAFETY: its header is that of a tuple.
        let others = unsafe { Tuple::from_ptr(candidate.boxed_ptr()) }.elements();
        // Most differ in an atom or a small integer, and at the end, where what comes first says
        // what kind of key it is.
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

/// A flat map of `count` pairs behind the tuple of its keys, and where these and the values are to
/// be written.
pub(super) fn new_flat<A: Alloc + ?Sized>(
    alloc: &mut A,
    count: usize,
) -> (Term, *mut Term, *mut Term) {
    let tuple = alloc.alloc(2 * count + 3);
    // SAFETY: there is room for the tuple (header, keys) and for the map behind it (header, tuple,
    // values).
    unsafe {
        *tuple = Header::new(Subtag::Tuple, count).0;
        let map = tuple.add(count + 1);
        *map = Header::new(Subtag::FlatMap, count + 1).0;
        *map.add(1) = Term::from_boxed_ptr(tuple).raw();
        (Term::from_boxed_ptr(map), tuple.add(1).cast(), map.add(2).cast())
    }
}

/// Where a key goes among others that are in order and not equal to it.
pub(super) fn insertion_point(keys: &[Term], key: Term) -> usize {
    let Some(ordinal) = key.as_atom().map(Atom::ordinal) else {
        return keys.partition_point(|&other| compare_exact(other, key).is_lt());
    };
    keys.partition_point(|&other| match other.as_atom().map(Atom::ordinal) {
        Some(other) if other != ordinal => other < ordinal,
        _ => compare_exact(other, key).is_lt(),
    })
}

/// Writes the items to `to`, with `item` before the one at `at`.
///
/// # Safety
/// There is room for all of them.
pub(super) unsafe fn insert(to: *mut Term, items: &[Term], at: usize, item: Term) {
    // SAFETY: the caller's.
    unsafe {
        copy_words(items.as_ptr(), to, at);
        *to.add(at) = item;
        copy_words(items.as_ptr().add(at), to.add(at + 1), items.len() - at);
    }
}

/// Writes the items to `to`, without the one at `at`.
///
/// # Safety
/// There is room for all the others.
pub(super) unsafe fn leave_out(to: *mut Term, items: &[Term], at: usize) {
    // SAFETY: the caller's.
    unsafe {
        copy_words(items.as_ptr(), to, at);
        copy_words(items.as_ptr().add(at + 1), to.add(at), items.len() - at - 1);
    }
}

pub(super) fn flat_replace<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: FlatMap,
    position: usize,
    value: Term,
) -> Term {
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
        copy_words(values.as_ptr(), ptr.add(2).cast::<Term>(), values.len());
    }
    Term::from_boxed_ptr(ptr)
}

/// `#{}`.
pub fn empty<A: Alloc + ?Sized>(alloc: &mut A) -> Term {
    let keys = alloc.tuple(&[]);
    flat_map(alloc, keys, &[])
}
