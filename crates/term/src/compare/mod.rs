//! Equality and the term order.
//!
//! number < atom < reference < fun < port < pid < tuple < map < nil < list < bitstring. However
//! deep the terms are, the native stack does not grow with them: the first levels of lists and
//! tuples are compared by plain recursion, and what is left to compare below those waits on a list.

mod equal;
mod family;
mod identifiers;
mod maps;
mod numbers;
mod order;

pub use family::{Family, family};
pub use numbers::compare_numbers;

use crate::atom::Atom;
use crate::stop;
use crate::word::{Subtag, Term};
use equal::{same, same_zeros, tuple_elements};
use order::order;
use std::cmp::Ordering;

/// `=:=`.
#[inline]
pub fn equal_exact(a: Term, b: Term) -> bool {
    if a == b {
        return true;
    }
    if a.is_immediate() && b.is_immediate() {
        return same_zeros(a, b);
    }
    // A pointer never equals an immediate exactly: every term that can be an immediate is one.
    a.is_pointer() && b.is_pointer() && a.is_cons() == b.is_cons() && same(a, b, true, PLAIN_LEVELS)
}

/// `==`.
#[inline]
pub fn equal(a: Term, b: Term) -> bool {
    if a == b {
        return true;
    }
    if Term::both_small(a, b) || a.is_atom() || b.is_atom() {
        return false;
    }
    same(a, b, false, PLAIN_LEVELS)
}

/// The term order, where `1 == 1.0`.
#[inline]
pub fn compare(a: Term, b: Term) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    if Term::both_small(a, b) {
        return a.small_value().cmp(&b.small_value());
    }
    if let (Some(a), Some(b)) = (a.as_atom(), b.as_atom()) {
        return compare_atoms(a, b);
    }
    order_by_difference(a, b, false)
}

/// The order of map keys: integers come before floats, and nothing is equal that is not `=:=`.
#[inline]
pub fn compare_exact(a: Term, b: Term) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    if Term::both_small(a, b) {
        return a.small_value().cmp(&b.small_value());
    }
    if let (Some(a), Some(b)) = (a.as_atom(), b.as_atom()) {
        return compare_atoms(a, b);
    }
    order_by_difference(a, b, true)
}

/// The order of terms that are not the same word.
#[inline(never)]
fn order_by_difference(a: Term, b: Term, exact: bool) -> Ordering {
    order_of_plain_tuples(a, b).unwrap_or_else(|| order(a, b, exact, PLAIN_LEVELS))
}

/// The order of two tuples of one arity whose first difference is between small integers or atoms,
/// as it is between most tuples that are keys.
#[inline(always)]
fn order_of_plain_tuples(a: Term, b: Term) -> Option<Ordering> {
    let header = a.is_boxed().then(|| a.boxed_header()).filter(|header| header.has(Subtag::Tuple));
    if !b.is_boxed() || header != Some(b.boxed_header()) {
        return None;
    }
    let (of_a, of_b) = (tuple_elements(a), tuple_elements(b));
    if of_a.len() > UNCOUNTED_ELEMENTS {
        return None;
    }
    let Some((&x, &y)) = of_a.iter().zip(of_b).find(|(x, y)| x != y) else {
        return Some(Ordering::Equal);
    };
    if Term::both_small(x, y) {
        return Some(x.small_value().cmp(&y.small_value()));
    }
    Some(x.as_atom()?.ordinal().cmp(&y.as_atom()?.ordinal())).filter(|order| order.is_ne())
}

/// Atoms are ordered by the bytes of their names.
#[inline]
pub fn compare_atoms(a: Atom, b: Atom) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    a.ordinal().cmp(&b.ordinal()).then_with(|| a.name().as_bytes().cmp(b.name().as_bytes()))
}

/// Levels of lists and tuples within each other that are compared by recursion.
const PLAIN_LEVELS: u32 = 20;

/// Elements of a list that are compared before they count as steps.
const UNCOUNTED_CELLS: u32 = 1024;
/// Steps that they count as then.
const CELLS_STEPS: u32 = UNCOUNTED_CELLS / stop::FLAT_PER_STEP as u32;
/// Elements of a tuple that may be compared without being counted.
const UNCOUNTED_ELEMENTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::{Alloc, FragmentHeap};
    use crate::atom::Atom;
    use crate::map;

    #[test]
    fn families_are_in_order() {
        let mut heap = FragmentHeap::new();
        let reference = heap.local_ref(1, 1);
        let tuple = heap.tuple(&[]);
        let map = map::empty(&mut heap);
        let list = heap.cons(Term::NIL, Term::NIL);
        let binary = heap.binary(b"");
        let ascending = [
            Term::small(1),
            Term::atom(Atom::new("a")),
            reference,
            Term::port(1),
            Term::pid(1),
            tuple,
            map,
            Term::NIL,
            list,
            binary,
        ];
        for pair in ascending.windows(2) {
            assert!(compare(pair[0], pair[1]).is_lt() && compare(pair[1], pair[0]).is_gt());
        }
    }

    #[test]
    fn bits_compare_from_any_place_in_a_byte() {
        let mut heap = FragmentHeap::new();
        let bytes: Vec<u8> = (0..30).collect();
        let whole = heap.binary(&bytes);
        // The same bits from bit 3 of a byte on, and with one bit changed.
        let shifted = |heap: &mut FragmentHeap, changed: Option<usize>| {
            let mut copy = vec![0u8; 31];
            for at in 0..240 {
                let bit = bytes[at / 8] >> (7 - at % 8) & 1 ^ u8::from(changed == Some(at));
                copy[(at + 3) / 8] |= bit << (7 - (at + 3) % 8);
            }
            let copy = heap.binary(&copy);
            heap.sub_binary(copy, 3, 240)
        };
        let same = shifted(&mut heap, None);
        assert!(compare(whole, same).is_eq() && compare(same, whole).is_eq());
        for changed in [0, 7, 63, 64, 100, 127, 128, 191, 192, 239] {
            let other = shifted(&mut heap, Some(changed));
            let was_set = bytes[changed / 8] >> (7 - changed % 8) & 1 == 1;
            assert_eq!(compare(whole, other).is_gt(), was_set, "bit {changed}");
            assert_eq!(compare(other, whole).is_lt(), was_set, "bit {changed}");
        }
        let shorter = heap.sub_binary(same, 0, 200);
        assert!(compare(shorter, whole).is_lt() && compare(whole, shorter).is_gt());
    }

    #[test]
    fn tuples_compare_by_arity_then_by_element() {
        let mut heap = FragmentHeap::new();
        let (one, two) = (Term::small(1), Term::small(2));
        let float = heap.float(1.0);
        let nested = heap.tuple(&[one]);
        let binary = heap.binary(b"x");
        let atom = Term::atom(Atom::new("a"));
        // Elements of each kind first, in the middle and last; the arity counts before them.
        let ascending: [&[Term]; 11] = [
            &[],
            &[two],
            &[binary],
            &[one, one, two],
            &[one, two, one],
            &[one, atom, one],
            &[one, nested, one],
            &[one, nested, two],
            &[one, nested, binary],
            &[two, one, one],
            &[binary, one, one],
        ];
        let tuples: Vec<Term> = ascending.iter().map(|elements| heap.tuple(elements)).collect();
        for (at, &a) in tuples.iter().enumerate() {
            for (other, &b) in tuples.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{at} {other}");
                assert_eq!(compare_exact(a, b), at.cmp(&other), "{at} {other}");
            }
            let copy = heap.tuple(ascending[at]);
            assert!(compare(a, copy).is_eq() && compare_exact(a, copy).is_eq());
        }
        let (small, same) = (heap.tuple(&[one, two]), heap.tuple(&[float, two]));
        assert!(compare(small, same).is_eq(), "1 == 1.0");
        assert!(compare_exact(small, same).is_lt(), "an integer key comes before a float");
    }

    #[test]
    fn tuples_compare_below_the_levels_that_recurse() {
        let mut heap = FragmentHeap::new();
        let mut nested = |innermost| {
            (0..PLAIN_LEVELS * 3)
                .fold(Term::small(innermost), |inner, _| heap.tuple(&[inner, Term::NIL]))
        };
        let (one, again, two) = (nested(1), nested(1), nested(2));
        assert!(
            compare(one, again).is_eq() && compare(one, two).is_lt() && compare(two, one).is_gt()
        );
    }

    #[test]
    fn integers_and_floats_compare_by_value_unless_exactly() {
        let mut heap = FragmentHeap::new();
        let float = heap.float(9_007_199_254_740_992.0);
        let above = Term::small(9_007_199_254_740_993);
        assert!(compare(above, float).is_gt(), "no rounding on the way");
        assert!(equal(Term::small(9_007_199_254_740_992), float));
        assert!(!equal_exact(Term::small(9_007_199_254_740_992), float));
        assert!(
            compare_exact(Term::small(5), float).is_lt() && compare_exact(above, float).is_lt(),
            "integers come first"
        );
        let (zero, negative_zero) = (heap.float(0.0), heap.float(-0.0));
        assert!(equal_exact(zero, negative_zero));
    }

    /// `inner` within that many tuples and lists, each with something behind it.
    fn nested(heap: &mut FragmentHeap, inner: Term, levels: usize) -> Term {
        (0..levels).fold(inner, |term, level| {
            let behind = Term::small(level as i64);
            if level % 2 == 0 { heap.tuple(&[term, behind]) } else { heap.list(&[term, behind]) }
        })
    }

    #[test]
    fn what_is_nested_compares_the_same_at_every_depth() {
        let mut heap = FragmentHeap::new();
        for levels in (0..3 * PLAIN_LEVELS as usize).chain([100_000]) {
            let values = [Term::small(1), Term::small(1), heap.float(1.0), Term::small(2)];
            let [one, same_one, float, two] = values.map(|value| {
                let text = heap.binary(b"text");
                let inner = heap.tuple(&[text, value]);
                nested(&mut heap, inner, levels)
            });
            assert!(
                equal_exact(one, same_one)
                    && equal(one, same_one)
                    && compare_exact(one, same_one).is_eq()
            );
            assert!(
                !equal_exact(one, float)
                    && equal(one, float)
                    && compare(one, float).is_eq()
                    && compare_exact(one, float).is_lt()
            );
            assert!(
                !equal(one, two)
                    && compare(one, two).is_lt()
                    && compare(two, one).is_gt()
                    && compare_exact(two, float).is_lt()
            );
        }
    }
}
