//! Walking through a map: iterators, lists of pairs, keys and values, batches for iterators of
//! Erlang code.

use super::trie::{LEVEL_BITS, hash_map, node_parts, slot};
use crate::alloc::Alloc;
use crate::boxed::HashMap;
use crate::release::{self, Release};
use crate::stop;
use crate::word::{Header, Subtag, Term};

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
    /// Adds a pair at the end of the list.
    ///
    /// # Safety
    /// No more pairs are written than the list is for.
    #[inline]
    unsafe fn push(&mut self, key: Term, value: Term) {
        // SAFETY: there is room for a cell and a pair, by the caller's word; the last cell's tail
        // is written at the end.
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
    /// Adds all pairs below a node of a trie, in its order or the opposite one.
    ///
    /// # Safety
    /// As for [`PairList::push`].
    unsafe fn push_below(&mut self, node: Term, opposite: bool) {
        let children = node_parts(node).1;
        for at in 0..children.len() {
            let child = children[if opposite { children.len() - 1 - at } else { at }];
            // SAFETY: the caller's.
            unsafe {
                match child.as_cons() {
                    Some(pair) => self.push(pair.head(), pair.tail()),
                    None => self.push_below(child, opposite),
                }
            }
        }
    }
    /// Ends the list with `tail`.
    ///
    /// # Safety
    /// As many pairs were written as the list is for.
    unsafe fn finish(self, tail: Term) -> Term {
        // SAFETY: there is one cell at least.
        unsafe { *self.cell.sub(PairList::PAIR_WORDS + 1) = tail.raw() };
        Term::from_cons_ptr(self.start)
    }
}

/// A list of tuples of the pairs, in their order, with `tail` behind them.
pub fn pair_list<A: Alloc + ?Sized>(
    alloc: &mut A,
    pairs: impl ExactSizeIterator<Item = (Term, Term)>,
    tail: Term,
) -> Term {
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

/// Whether lists of a hash map's pairs have the order opposite to that of [`iter`]: so it was
/// before OTP 29.
fn lists_are_opposite() -> bool {
    release::current() < Release::R29
}

/// A list of tuples of all pairs of a hash map, with `tail` behind them.
pub fn trie_list<A: Alloc + ?Sized>(alloc: &mut A, map: HashMap, tail: Term) -> Term {
    let mut list = PairList::new(alloc, map.size());
    // SAFETY: a trie holds as many pairs as its root says, more than a flat map can.
    unsafe {
        list.push_below(map.term(), lists_are_opposite());
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
    /// Starts at the first pair in the trie's order.
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

/// Pairs of a hash map from `path` on (0 is the start), at least `count` of them if there are as
/// many, and the path of what comes next. A path is the branch at each level, four bits each, the
/// root's lowest.
pub fn batch(map: HashMap, path: u64, count: usize) -> (Vec<(Term, Term)>, Option<u64>) {
    batch_in(map, path, count, false)
}

/// As [`batch`], for a list that each pair is put in front of. In the paths of the opposite order a
/// branch is counted from the last.
pub fn batch_for_list(map: HashMap, path: u64, count: usize) -> (Vec<(Term, Term)>, Option<u64>) {
    batch_in(map, path, count, !lists_are_opposite())
}

fn batch_in(
    map: HashMap,
    path: u64,
    count: usize,
    opposite: bool,
) -> (Vec<(Term, Term)>, Option<u64>) {
    let mut batch = Batch { pairs: Vec::with_capacity(count.min(map.size())), count, opposite };
    let next = batch.below(map.term(), Some(path), 0, 0);
    (batch.pairs, next)
}

struct Batch {
    pairs: Vec<(Term, Term)>,
    count: usize,
    opposite: bool,
}

impl Batch {
    /// `from`: where to start below `node`, when not at its first child. `above`: the path to
    /// `node`.
    fn below(&mut self, node: Term, from: Option<u64>, above: u64, level: u32) -> Option<u64> {
        const LAST_BRANCH: u64 = 15;
        let (bitmap, children) = node_parts(node);
        let first = from.map_or(0, |path| path & 0xf);
        let in_order =
            if self.opposite { u64::from((bitmap as u16).reverse_bits()) } else { bitmap };
        let mut left = in_order & (!0 << first);
        while left != 0 {
            let step = u64::from(left.trailing_zeros());
            left &= left - 1;
            let branch = if self.opposite { LAST_BRANCH - step } else { step };
            let child = children[slot(bitmap, 1 << branch)];
            let here = above | if level < PATH_LEVELS { step << (LEVEL_BITS * level) } else { 0 };
            if level < PATH_LEVELS && self.pairs.len() >= self.count {
                return Some(here);
            }
            match child.as_cons() {
                Some(pair) => self.pairs.push((pair.head(), pair.tail())),
                None => {
                    let from = from.filter(|_| step == first).map(|path| path >> LEVEL_BITS);
                    if let Some(next) = self.below(child, from, here, level + 1) {
                        return Some(next);
                    }
                }
            }
        }
        None
    }
}

/// What a trie is made of.
#[derive(Default)]
pub struct Shape {
    /// Levels below the root.
    pub depth: usize,
    /// Roots with a child for every branch.
    pub full_roots: usize,
    /// The other nodes, by how many children they have: those with one first.
    pub nodes: [usize; 16],
    /// Pairs by their level; the root's children are on level 1.
    pub pairs: Vec<usize>,
}

/// Takes stock of a trie.
pub fn shape(map: HashMap) -> Shape {
    let mut shape = Shape::default();
    let mut nodes = vec![(map.term(), 0)];
    while let Some((node, level)) = nodes.pop() {
        stop::step();
        let (_, children) = node_parts(node);
        if level == 0 && children.len() == shape.nodes.len() {
            shape.full_roots += 1;
        } else {
            shape.nodes[children.len() - 1] += 1;
        }
        let below = level + 1;
        shape.depth = shape.depth.max(below);
        shape.pairs.resize(shape.pairs.len().max(below + 1), 0);
        for &child in children {
            match child.as_cons() {
                Some(_) => shape.pairs[below] += 1,
                None => nodes.push((child, below)),
            }
        }
    }
    shape
}

/// `maps:keys/1`: of a flat map in key order, of a hash map in that of lists of its pairs.
pub fn keys<A: Alloc + ?Sized>(alloc: &mut A, map: Term) -> Term {
    match map.as_flat_map() {
        Some(flat) => alloc.list(flat.keys()),
        None => one_side(alloc, map, |(key, _)| key),
    }
}

/// `maps:values/1`, in the order of [`keys`].
pub fn values<A: Alloc + ?Sized>(alloc: &mut A, map: Term) -> Term {
    match map.as_flat_map() {
        Some(flat) => alloc.list(flat.values()),
        None => one_side(alloc, map, |(_, value)| value),
    }
}

fn one_side<A: Alloc + ?Sized>(
    alloc: &mut A,
    map: Term,
    part: impl Fn((Term, Term)) -> Term,
) -> Term {
    if lists_are_opposite() {
        return iter(map).fold(Term::NIL, |list, pair| alloc.cons(part(pair), list));
    }
    let parts: Vec<Term> = iter(map).map(part).collect();
    alloc.list(&parts)
}
