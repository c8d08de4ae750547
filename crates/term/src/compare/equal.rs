//! Equality of terms.

use super::numbers::compare_numbers;
use super::order::{Comparison, compare_bits};
use super::{CELLS_STEPS, UNCOUNTED_CELLS, UNCOUNTED_ELEMENTS};
use crate::binary::Bits;
use crate::boxed::{HashMap, MapNode};
use crate::word::{Subtag, Term};
use crate::{release, stop};

/// Equality of parts of terms.
#[inline]
pub(super) fn same_parts(a: Term, b: Term, exact: bool, levels: u32) -> bool {
    stop::step();
    same(a, b, exact, levels)
}

/// Equality of two terms, without a list of what is left to do as far as `levels` go.
pub(super) fn same(mut a: Term, mut b: Term, exact: bool, levels: u32) -> bool {
    let mut uncounted = UNCOUNTED_CELLS;
    loop {
        if a == b {
            return true;
        }
        if let (Some(left), Some(right)) = (a.as_cons(), b.as_cons()) {
            let (x, y) = (left.head(), right.head());
            if x != y {
                if !x.is_pointer() || !y.is_pointer() {
                    if !same_immediates(x, y, exact) {
                        return false;
                    }
                } else if levels == 0 {
                    break;
                } else if !same_parts(x, y, exact, levels - 1) {
                    return false;
                }
            }
            (a, b) = (left.tail(), right.tail());
            uncounted -= 1;
            if uncounted == 0 {
                uncounted = UNCOUNTED_CELLS;
                stop::steps(CELLS_STEPS);
            }
            continue;
        }
        if !a.is_boxed() || !b.is_boxed() {
            return same_immediates(a, b, exact);
        }
        match (a.boxed_header().subtag(), b.boxed_header().subtag()) {
            (Subtag::Tuple, Subtag::Tuple) if levels > 0 => {
                if a.boxed_header() != b.boxed_header() {
                    return false;
                }
                let (Some((&last_a, first_a)), Some((&last_b, first_b))) =
                    (tuple_elements(a).split_last(), tuple_elements(b).split_last())
                else {
                    return true;
                };
                if first_a.len() > UNCOUNTED_ELEMENTS {
                    stop::flat(first_a.len());
                }
                if !first_a
                    .iter()
                    .zip(first_b)
                    .all(|(&x, &y)| x == y || same_parts(x, y, exact, levels - 1))
                {
                    return false;
                }
                (a, b) = (last_a, last_b);
            }
            (
                Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin,
                Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin,
            ) => return same_bits(a, b),
            _ => break,
        }
    }
    same_terms(a, b, exact)
}

/// Equality of two terms; stops at the first difference and never asks which is less.
#[inline(never)]
pub(super) fn same_terms(a: Term, b: Term, exact: bool) -> bool {
    let mut todo: Vec<(Term, Term, bool)> = Vec::new();
    let (mut a, mut b, mut exact) = (a, b, exact);
    loop {
        stop::step();
        if !same_here(a, b, exact, &mut todo) {
            return false;
        }
        match todo.pop() {
            Some(next) => (a, b, exact) = next,
            None => return true,
        }
    }
}

/// Compares what can be compared at once and leaves the rest in `todo`; iterates along lists.
fn same_here(mut a: Term, mut b: Term, exact: bool, todo: &mut Vec<(Term, Term, bool)>) -> bool {
    while let (Some(left), Some(right)) = (a.as_cons(), b.as_cons()) {
        if a == b {
            return true;
        }
        let (head_a, head_b) = (left.head(), right.head());
        if head_a != head_b {
            if head_a.is_pointer() && head_b.is_pointer() {
                todo.push((head_a, head_b, exact));
            } else if !same_immediates(head_a, head_b, exact) {
                return false;
            }
        }
        (a, b) = (left.tail(), right.tail());
        stop::step();
    }
    if a == b {
        return true;
    }
    if !a.is_boxed() || !b.is_boxed() {
        return same_immediates(a, b, exact);
    }
    let (header_a, header_b) = (a.boxed_header(), b.boxed_header());
    match (header_a.subtag(), header_b.subtag()) {
        (Subtag::Tuple, Subtag::Tuple) => {
            header_a == header_b && same_arrays(tuple_elements(a), tuple_elements(b), exact, todo)
        }
        (Subtag::Record, Subtag::Record) => {
            let (Some(left), Some(right)) = (a.as_record(), b.as_record()) else { return false };
            header_a == header_b
                && (left.definition().term() == right.definition().term()
                    || left.definition().elements() == right.definition().elements())
                && same_arrays(left.values(), right.values(), exact, todo)
        }
        (Subtag::FlatMap, Subtag::FlatMap) => {
            let (Some(left), Some(right)) = (a.as_flat_map(), b.as_flat_map()) else {
                return false;
            };
            left.size() == right.size()
                && (left.keys_tuple() == right.keys_tuple()
                    || same_arrays(left.keys(), right.keys(), true, todo))
                && same_arrays(left.values(), right.values(), exact, todo)
        }
        (Subtag::HashMap, Subtag::HashMap) => {
            // SAFETY: the headers say that they are hash maps.
            let (left, right) =
                unsafe { (HashMap::from_ptr(a.boxed_ptr()), HashMap::from_ptr(b.boxed_ptr())) };
            // The shape of a trie depends on its keys alone.
            left.size() == right.size()
                && left.bitmap() == right.bitmap()
                && same_nodes(left.children(), right.children(), exact, todo)
        }
        (Subtag::BigPos | Subtag::BigNeg, Subtag::BigPos | Subtag::BigNeg) => {
            let (Some(left), Some(right)) = (a.as_big(), b.as_big()) else { return false };
            stop::flat(left.digits().len());
            header_a == header_b && left.digits() == right.digits()
        }
        (
            Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin,
            Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin,
        ) => same_bits(a, b),
        (Subtag::Fun, Subtag::Fun) => {
            let (Some(left), Some(right)) = (a.as_local_fun(), b.as_local_fun()) else {
                return false;
            };
            let same_entry = std::ptr::eq(left.entry_ptr(), right.entry_ptr()) || {
                let (x, y) = (left.identity(), right.identity());
                x.module == y.module && x.index == y.index && x.old_uniq == y.old_uniq
            };
            same_entry
                && left.free().len() == right.free().len()
                && same_arrays(left.free(), right.free(), exact, todo)
        }
        _ => {
            let mut comparison = Comparison::new(exact);
            comparison.step(a, b).is_eq()
        }
    }
}

fn same_bits(a: Term, b: Term) -> bool {
    let (left, right) = (Bits::of(a), Bits::of(b));
    if left.bit_size != right.bit_size {
        return false;
    }
    stop::flat(left.bit_size / 64);
    match (left.aligned(), right.aligned()) {
        (Some(x), Some(y)) => x == y,
        _ => compare_bits(left, right).is_eq(),
    }
}

#[inline]
pub(super) fn tuple_elements<'a>(term: Term) -> &'a [Term] {
    term.as_tuple().map_or(&[], |tuple| tuple.elements())
}

/// At least one of them is not a pointer.
#[inline]
fn same_immediates(a: Term, b: Term, exact: bool) -> bool {
    if a == b {
        return true;
    }
    if exact {
        return same_zeros(a, b);
    }
    a.is_number() && b.is_number() && compare_numbers(a, b).is_eq()
}

/// Whether two different words, one of them an immediate, are exactly equal: so are only `+0.0` and
/// `-0.0`, and only until OTP 27.
#[inline]
pub(super) fn same_zeros(a: Term, b: Term) -> bool {
    a.is_float_immediate()
        && b.is_float_immediate()
        && a.float_immediate_value() == b.float_immediate_value()
        && !release::current().distinguishes_zeros()
}

fn same_arrays(a: &[Term], b: &[Term], exact: bool, todo: &mut Vec<(Term, Term, bool)>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    stop::flat(a.len());
    for (&x, &y) in a.iter().zip(b) {
        if x == y {
            continue;
        }
        if x.is_pointer() && y.is_pointer() {
            todo.push((x, y, exact));
        } else if !same_immediates(x, y, exact) {
            return false;
        }
    }
    true
}

/// Tries of equal size: keys are compared exactly, values as asked for.
fn same_nodes(a: &[Term], b: &[Term], exact: bool, todo: &mut Vec<(Term, Term, bool)>) -> bool {
    let mut nodes = vec![(a, b)];
    while let Some((a, b)) = nodes.pop() {
        stop::step();
        for (&x, &y) in a.iter().zip(b) {
            if x == y {
                continue;
            }
            match (x.as_cons(), y.as_cons()) {
                (Some(left), Some(right)) => {
                    if !same_arrays(&[left.head()], &[right.head()], true, todo)
                        || !same_arrays(&[left.tail()], &[right.tail()], exact, todo)
                    {
                        return false;
                    }
                }
                (None, None) => {
                    // SAFETY: what is not a pair in a trie is a node.
                    let (left, right) = unsafe {
                        (MapNode::from_ptr(x.boxed_ptr()), MapNode::from_ptr(y.boxed_ptr()))
                    };
                    if left.bitmap() != right.bitmap() {
                        return false;
                    }
                    nodes.push((left.children(), right.children()));
                }
                _ => return false,
            }
        }
    }
    true
}
