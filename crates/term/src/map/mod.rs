//! Maps: flat up to 32 pairs, above that a hash trie.
//!
//! A flat map is a tuple of keys in term order, shared between maps with the same keys, and the
//! values. A hash map is a trie with 16 branches a level, walked by four bits of the key's hash at
//! a time, lowest first; when its bits are used up, the key is hashed anew with the depth as salt.
//! The shape of a trie depends only on its keys, and its order is OTP's wherever the hash is (see
//! [`crate::hash`]).
//!
//! All functions take terms known to be maps, except where they say otherwise.

mod build;
mod flat;
mod merge;
mod trie;
mod walk;

pub use build::{from_pairs, from_unique_pairs};
pub use flat::{empty, flat_get, flat_map, flat_position};
pub use merge::merge;
pub(crate) use trie::path_order;
pub use walk::{
    MapIter, Shape, TrieIter, batch, batch_for_list, iter, keys, pair_list, shape, trie_list,
    values,
};

use crate::alloc::Alloc;
use crate::boxed::FlatMap;
use crate::word::{Header, Subtag, Term};
use build::build_trie;
use flat::{flat_replace, insert, insertion_point, leave_out, new_flat};
use trie::{Path, hash_map, trie_get, trie_get_at, trie_put, trie_put_at, trie_remove};

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

/// The value of `key`.
#[inline]
pub fn get(map: Term, key: Term) -> Option<Term> {
    match map.as_flat_map() {
        Some(flat) => flat_get(flat, key),
        None => trie_get(hash_map(map), key),
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
        let mut pairs: Vec<(Term, Term)> =
            keys.iter().copied().zip(values.iter().copied()).collect();
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

/// The map with `key`, which it has, bound to `value`; `None` when it has not.
pub fn update_exact<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: Term,
    key: Term,
    value: Term,
) -> Option<Term> {
    match map.as_flat_map() {
        Some(flat) => {
            flat_position(flat, key).map(|position| flat_replace(alloc, flat, position, value))
        }
        None => {
            let (trie, path) = (hash_map(map), Path::new(key));
            trie_get_at(trie, path, key)?;
            Some(trie_put_at(alloc, trie, path, key, value))
        }
    }
}

/// The map with all the pairs put, one after the other.
pub fn put_all<A: Alloc + ?Sized>(alloc: &mut A, map: Term, pairs: &[(Term, Term)]) -> Term {
    if let [(key, value)] = *pairs {
        return put(alloc, map, key, value);
    }
    replace_all(alloc, map, pairs)
        .unwrap_or_else(|| pairs.iter().fold(map, |map, &(key, value)| put(alloc, map, key, value)))
}

/// As [`put_all`], but `None` when the map lacks one of the keys.
pub fn update_all<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: Term,
    pairs: &[(Term, Term)],
) -> Option<Term> {
    if let [(key, value)] = *pairs {
        return update_exact(alloc, map, key, value);
    }
    if map.as_flat_map().is_some() {
        return replace_all(alloc, map, pairs);
    }
    pairs.iter().try_fold(map, |map, &(key, value)| update_exact(alloc, map, key, value))
}

/// A flat map that has all the keys, with their values replaced in one copy.
fn replace_all<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: Term,
    pairs: &[(Term, Term)],
) -> Option<Term> {
    let flat = map.as_flat_map()?;
    let mut values = [Term::NIL; FlatMap::SIZE_MAX];
    let old = flat.values();
    values[..old.len()].copy_from_slice(old);
    for &(key, value) in pairs {
        values[flat_position(flat, key)?] = value;
    }
    Some(flat_map(alloc, flat.keys_tuple(), &values[..old.len()]))
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
    // SAFETY: a tuple of the keys, and behind it a map: header, tuple, values. Each is what it was
    // without the one at `at`.
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

#[cfg(test)]
mod tests {
    use super::trie::in_trie_order;
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
        let map = from_pairs(
            &mut heap,
            &[
                (Term::small(2), Term::NIL),
                (Term::small(1), Term::NIL),
                (Term::small(2), Term::small(7)),
            ],
        );
        assert_eq!(
            iter(map).collect::<Vec<_>>(),
            [(Term::small(1), Term::NIL), (Term::small(2), Term::small(7))]
        );
        let changed = put(&mut heap, map, Term::small(1), Term::small(8));
        assert_eq!(
            changed.as_flat_map().unwrap().keys_tuple(),
            map.as_flat_map().unwrap().keys_tuple()
        );
        assert_eq!(put(&mut heap, map, Term::small(2), Term::small(7)), map);
        assert_eq!(
            from_unique_pairs(&mut heap, &[(Term::NIL, Term::NIL), (Term::NIL, Term::NIL)]),
            Err(DuplicateKey)
        );
    }

    #[test]
    fn hashes_sort_as_tries_do() {
        assert_eq!(in_trie_order(0xfedc_ba98_7654_3210), 0x0123_4567_89ab_cdef);
    }
}
