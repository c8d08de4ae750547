//! Maps made of many pairs at once.

use super::DuplicateKey;
use super::flat::{empty, new_flat};
use super::trie::{
    Branches, LEVEL_BITS, in_trie_order, inner_node, levels_per_hash, needs_hash, root_node,
};
use crate::alloc::Alloc;
use crate::boxed::FlatMap;
use crate::compare::{compare_exact, equal_exact};
use crate::hash::trie_hash;
use crate::word::Term;
use std::cmp::Ordering;

/// The map of `pairs`; of two with the same key the later one counts.
pub fn from_pairs<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
    build(alloc, pairs, false).unwrap_or_else(|DuplicateKey| unreachable!("duplicates are allowed"))
}

/// The map of `pairs`, no two of which may have the same key.
///
/// # Errors
/// There are two with the same key.
pub fn from_unique_pairs<A: Alloc + ?Sized>(
    alloc: &mut A,
    pairs: &[(Term, Term)],
) -> Result<Term, DuplicateKey> {
    build(alloc, pairs, true)
}

fn build<A: Alloc + ?Sized>(
    alloc: &mut A,
    pairs: &[(Term, Term)],
    unique: bool,
) -> Result<Term, DuplicateKey> {
    if pairs.len() <= FlatMap::SIZE_MAX {
        return build_flat(alloc, pairs, unique);
    }
    let mut hashed: Vec<Hashed> = pairs
        .iter()
        .map(|&(key, value)| Hashed { order: in_trie_order(trie_hash(key, 0)), key, value })
        .collect();
    hashed.sort_by_key(|entry| entry.order);
    drop_duplicates(&mut hashed, unique)?;
    if hashed.len() <= FlatMap::SIZE_MAX {
        let mut sorted: Vec<(Term, Term)> =
            hashed.iter().map(|entry| (entry.key, entry.value)).collect();
        sorted.sort_by(|a, b| compare_exact(a.0, b.0));
        return Ok(flat_from_sorted(alloc, &sorted));
    }
    Ok(build_root(alloc, &hashed))
}

/// The flat map of no more pairs than it can have. Nothing is allocated but the map.
fn build_flat<A: Alloc + ?Sized>(
    alloc: &mut A,
    pairs: &[(Term, Term)],
    unique: bool,
) -> Result<Term, DuplicateKey> {
    let mut sorted = [(Term::NIL, Term::NIL); FlatMap::SIZE_MAX];
    let mut count = 0;
    for &pair in pairs {
        let before = &sorted[..count];
        // Most come in order.
        if before.last().is_none_or(|last| compare_exact(last.0, pair.0) == Ordering::Less) {
            sorted[count] = pair;
            count += 1;
            continue;
        }
        match before.binary_search_by(|other| compare_exact(other.0, pair.0)) {
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
fn drop_earlier<T: Copy>(
    items: &mut Vec<T>,
    unique: bool,
    same: impl Fn(&T, &T) -> bool,
) -> Result<(), DuplicateKey> {
    let before = items.len();
    let mut index = 0;
    let old = items.clone();
    items.retain(|_| {
        index += 1;
        index == old.len() || !same(&old[index - 1], &old[index])
    });
    if unique && items.len() < before { Err(DuplicateKey) } else { Ok(()) }
}

/// Equal keys have equal hashes but need not be neighbours among those that collide: each run is
/// searched.
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

pub(super) fn flat_from_sorted<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
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
    order: u64,
    key: Term,
    value: Term,
}

/// A trie of more than [`FlatMap::SIZE_MAX`] pairs with different keys.
pub(super) fn build_trie<A: Alloc + ?Sized>(alloc: &mut A, pairs: &[(Term, Term)]) -> Term {
    let mut hashed: Vec<Hashed> = pairs
        .iter()
        .map(|&(key, value)| Hashed { order: in_trie_order(trie_hash(key, 0)), key, value })
        .collect();
    hashed.sort_by_key(|entry| entry.order);
    build_root(alloc, &hashed)
}

fn build_root<A: Alloc + ?Sized>(alloc: &mut A, sorted: &[Hashed]) -> Term {
    let (bitmap, children) = build_children(alloc, sorted, 0);
    root_node(alloc, sorted.len(), bitmap, children.items())
}

fn build_children<A: Alloc + ?Sized>(
    alloc: &mut A,
    sorted: &[Hashed],
    level: u32,
) -> (u64, Branches) {
    let shift = u64::BITS - LEVEL_BITS * (level % levels_per_hash() + 1);
    let branch = |entry: &Hashed| (entry.order >> shift) & 0xf;
    let mut bitmap = 0;
    let mut branches = Branches::of(&[]);
    for group in sorted.chunk_by(|a, b| branch(a) == branch(b)) {
        bitmap |= 1 << branch(&group[0]);
        let child = if let [only] = group {
            alloc.cons(only.key, only.value)
        } else {
            build_inner(alloc, group, level + 1)
        };
        branches.insert(branches.len, child);
    }
    (bitmap, branches)
}

fn build_inner<A: Alloc + ?Sized>(alloc: &mut A, group: &[Hashed], level: u32) -> Term {
    assert!(level < 8000, "two keys cannot be told apart by any hash");
    let (bitmap, branches) = if needs_hash(level) {
        let mut again = group.to_vec();
        for entry in &mut again {
            entry.order = in_trie_order(trie_hash(entry.key, level / levels_per_hash()));
        }
        again.sort_by_key(|entry| entry.order);
        build_children(alloc, &again, level)
    } else {
        build_children(alloc, group, level)
    };
    inner_node(alloc, bitmap, branches.items())
}
