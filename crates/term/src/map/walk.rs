//! Walking through a map: iterators, lists of pairs, keys and values, batches for iterators of Erlang code.

use crate::alloc::Alloc;
use crate::boxed::HashMap;
use crate::word::{Header, Subtag, Term};
use super::trie::{LEVEL_BITS, hash_map, node_parts, slot};

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
