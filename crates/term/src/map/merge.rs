//! Merging two maps.

use super::build::{build_trie, flat_from_sorted};
use super::flat::flat_map;
use super::trie::{
    Branches, Path, hash_map, holds, inner_node, node_parts, part_ways, put_below, root_node, slot,
};
use super::walk::iter;
use super::{get, put, size};
use crate::alloc::Alloc;
use crate::boxed::{FlatMap, HashMap};
use crate::compare::{compare_exact, equal_exact};
use crate::word::Term;
use std::cmp::Ordering;

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
        (None, Some(_)) => {
            iter(second).fold(first, |map, (key, value)| put(alloc, map, key, value))
        }
        // The keys of both keep the second's values, so only those are put that it has not.
        (Some(_), None) => iter(first).fold(second, |map, (key, value)| {
            if get(second, key).is_some() { map } else { put(alloc, map, key, value) }
        }),
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

/// The children of two nodes of that level taken together; adds to `common` how many keys both
/// have.
fn merge_children<A: Alloc + ?Sized>(
    alloc: &mut A,
    first: Term,
    second: Term,
    level: u32,
    common: &mut usize,
) -> (u64, Branches) {
    let ((bitmap_a, children_a), (bitmap_b, children_b)) = (node_parts(first), node_parts(second));
    let mut branches = Branches::of(&[]);
    let mut left = bitmap_a | bitmap_b;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left &= left - 1;
        let child = match (bitmap_a & bit != 0, bitmap_b & bit != 0) {
            (true, true) => merge_nodes(
                alloc,
                children_a[slot(bitmap_a, bit)],
                children_b[slot(bitmap_b, bit)],
                level + 1,
                common,
            ),
            (true, false) => children_a[slot(bitmap_a, bit)],
            _ => children_b[slot(bitmap_b, bit)],
        };
        branches.insert(branches.len, child);
    }
    (bitmap_a | bitmap_b, branches)
}

/// Merges two children at the same place of two tries, each a pair or an inner node.
fn merge_nodes<A: Alloc + ?Sized>(
    alloc: &mut A,
    first: Term,
    second: Term,
    level: u32,
    common: &mut usize,
) -> Term {
    match (first.as_cons(), second.as_cons()) {
        (Some(a), Some(b)) if a.head() == b.head() || equal_exact(a.head(), b.head()) => {
            *common += 1;
            second
        }
        (Some(a), Some(b)) => {
            part_ways(alloc, first, Path::at(a.head(), level), second, Path::at(b.head(), level))
        }
        (Some(a), None) if holds(second, Path::at(a.head(), level), a.head()) => {
            *common += 1;
            second
        }
        (Some(a), None) => put_below(alloc, second, Path::at(a.head(), level), a.head(), a.tail())
            .map_or(second, |(node, _)| node),
        (None, Some(b)) => {
            let put = put_below(alloc, first, Path::at(b.head(), level), b.head(), b.tail());
            *common += usize::from(!put.is_some_and(|(_, grown)| grown));
            put.map_or(first, |(node, _)| node)
        }
        (None, None) => {
            let (bitmap, branches) = merge_children(alloc, first, second, level, common);
            if branches.items() == node_parts(second).1 {
                second
            } else {
                inner_node(alloc, bitmap, branches.items())
            }
        }
    }
}

fn merge_flat<A: Alloc + ?Sized>(alloc: &mut A, first: FlatMap, second: FlatMap) -> Term {
    let (keys_a, values_a, keys_b, values_b) =
        (first.keys(), first.values(), second.keys(), second.values());
    let mut room = [(Term::NIL, Term::NIL); 2 * FlatMap::SIZE_MAX];
    let (mut a, mut b, mut count) = (0, 0, 0);
    while a < keys_a.len() || b < keys_b.len() {
        let order = match (keys_a.get(a), keys_b.get(b)) {
            (Some(&first), Some(&second)) if first == second => Ordering::Equal,
            (Some(&first), Some(&second)) => compare_exact(first, second),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        room[count] =
            if order.is_lt() { (keys_a[a], values_a[a]) } else { (keys_b[b], values_b[b]) };
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
