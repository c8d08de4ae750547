//! Equality and the term order.
//!
//! number < atom < reference < fun < port < pid < tuple < map < nil < list < bitstring. However deep the
//! terms are, the native stack does not grow with them: the first levels of lists and tuples are compared by plain
//! recursion, and what is left to compare below those waits on a list.

use crate::atom::Atom;
use crate::binary::Bits;
use crate::boxed::{External, HashMap, LocalRef, MapNode, Record};
use crate::map::{TrieIter, path_order};
use crate::node::{NodeInfo, pid_parts};
use crate::release;
use crate::stop;
use crate::word::{Kind, Subtag, Term};
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
    order(a, b, false, PLAIN_LEVELS)
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
    order(a, b, true, PLAIN_LEVELS)
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

/// Equality of parts of terms.
#[inline]
fn same_parts(a: Term, b: Term, exact: bool, levels: u32) -> bool {
    stop::step();
    same(a, b, exact, levels)
}

/// Equality of two terms, without a list of what is left to do as far as `levels` go.
fn same(mut a: Term, mut b: Term, exact: bool, levels: u32) -> bool {
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
                let (Some((&last_a, first_a)), Some((&last_b, first_b))) = (tuple_elements(a).split_last(), tuple_elements(b).split_last()) else {
                    return true;
                };
                if first_a.len() > UNCOUNTED_ELEMENTS {
                    stop::flat(first_a.len());
                }
                if !first_a.iter().zip(first_b).all(|(&x, &y)| x == y || same_parts(x, y, exact, levels - 1)) {
                    return false;
                }
                (a, b) = (last_a, last_b);
            }
            (Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin, Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin) => return same_bits(a, b),
            _ => break,
        }
    }
    same_terms(a, b, exact)
}

/// Equality of two terms; stops at the first difference and never asks which is less.
#[inline(never)]
fn same_terms(a: Term, b: Term, exact: bool) -> bool {
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
        (Subtag::Tuple, Subtag::Tuple) => header_a == header_b && same_arrays(tuple_elements(a), tuple_elements(b), exact, todo),
        (Subtag::Record, Subtag::Record) => {
            let (Some(left), Some(right)) = (a.as_record(), b.as_record()) else { return false };
            header_a == header_b
                && (left.definition().term() == right.definition().term() || left.definition().elements() == right.definition().elements())
                && same_arrays(left.values(), right.values(), exact, todo)
        }
        (Subtag::FlatMap, Subtag::FlatMap) => {
            let (Some(left), Some(right)) = (a.as_flat_map(), b.as_flat_map()) else { return false };
            left.size() == right.size()
                && (left.keys_tuple() == right.keys_tuple() || same_arrays(left.keys(), right.keys(), true, todo))
                && same_arrays(left.values(), right.values(), exact, todo)
        }
        (Subtag::HashMap, Subtag::HashMap) => {
            // SAFETY: the headers say that they are hash maps.
            let (left, right) = unsafe { (HashMap::from_ptr(a.boxed_ptr()), HashMap::from_ptr(b.boxed_ptr())) };
            // The shape of a trie depends on its keys alone.
            left.size() == right.size() && left.bitmap() == right.bitmap() && same_nodes(left.children(), right.children(), exact, todo)
        }
        (Subtag::BigPos | Subtag::BigNeg, Subtag::BigPos | Subtag::BigNeg) => {
            let (Some(left), Some(right)) = (a.as_big(), b.as_big()) else { return false };
            stop::flat(left.digits().len());
            header_a == header_b && left.digits() == right.digits()
        }
        (Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin, Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin) => same_bits(a, b),
        (Subtag::Fun, Subtag::Fun) => {
            let (Some(left), Some(right)) = (a.as_local_fun(), b.as_local_fun()) else { return false };
            let same_entry = std::ptr::eq(left.entry_ptr(), right.entry_ptr()) || {
                let (x, y) = (left.identity(), right.identity());
                x.module == y.module && x.index == y.index && x.old_uniq == y.old_uniq
            };
            same_entry && left.free().len() == right.free().len() && same_arrays(left.free(), right.free(), exact, todo)
        }
        _ => {
            let mut comparison = Comparison::new(exact);
            comparison.step(a, b).is_eq()
        }
    }
}

fn same_bits(a: Term, b: Term) -> bool {
    let (left, right) = (Bits::of(a), Bits::of(b));
    stop::flat(left.bit_size / 64);
    left.bit_size == right.bit_size
        && match (left.aligned(), right.aligned()) {
            (Some(x), Some(y)) => x == y,
            _ => compare_bits(left, right).is_eq(),
        }
}

#[inline]
fn tuple_elements<'a>(term: Term) -> &'a [Term] {
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
fn same_zeros(a: Term, b: Term) -> bool {
    a.is_float_immediate() && b.is_float_immediate() && a.float_immediate_value() == b.float_immediate_value() && !release::current().distinguishes_zeros()
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
                    if !same_arrays(&[left.head()], &[right.head()], true, todo) || !same_arrays(&[left.tail()], &[right.tail()], exact, todo) {
                        return false;
                    }
                }
                (None, None) => {
                    // SAFETY: what is not a pair in a trie is a node.
                    let (left, right) = unsafe { (MapNode::from_ptr(x.boxed_ptr()), MapNode::from_ptr(y.boxed_ptr())) };
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

/// The bits one after the other; where one ends the shorter is less.
fn compare_bits(a: Bits, b: Bits) -> Ordering {
    stop::flat(a.bit_size.min(b.bit_size) / 64);
    if let (Some(x), Some(y)) = (a.aligned(), b.aligned()) {
        return x.cmp(y);
    }
    let common = a.bit_size.min(b.bit_size);
    let (x, y) = (a.slice(0, common), b.slice(0, common));
    for index in 0..common.div_ceil(8) {
        match x.byte(index).cmp(&y.byte(index)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a.bit_size.cmp(&b.bit_size)
}

/// Numbers of any kind, by value; integers and floats compare exactly, without rounding either.
pub fn compare_numbers(a: Term, b: Term) -> Ordering {
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => compare_floats(x, y),
        (Some(x), None) => compare_integer_float(b, x).reverse(),
        (None, Some(y)) => compare_integer_float(a, y),
        (None, None) => compare_integers(a, b),
    }
}

/// No float term is NaN.
fn compare_floats(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y).unwrap_or(Ordering::Equal)
}

/// As keys of maps: from OTP 27 on, `-0.0` is less than `+0.0`.
fn compare_floats_exact(x: f64, y: f64) -> Ordering {
    match compare_floats(x, y) {
        Ordering::Equal if release::current().distinguishes_zeros() => x.total_cmp(&y),
        order => order,
    }
}

/// Two integers or two floats, exactly.
fn compare_numbers_exact(a: Term, b: Term) -> Ordering {
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => compare_floats_exact(x, y),
        _ => compare_numbers(a, b),
    }
}

fn compare_integers(a: Term, b: Term) -> Ordering {
    match (a.as_big(), b.as_big()) {
        (None, None) => a.small_value().cmp(&b.small_value()),
        (Some(x), None) => {
            if x.is_negative() {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (None, Some(y)) => {
            if y.is_negative() {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (Some(x), Some(y)) => match (x.is_negative(), y.is_negative()) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (negative, _) => {
                let magnitudes = compare_magnitudes(x.digits(), y.digits());
                if negative { magnitudes.reverse() } else { magnitudes }
            }
        },
    }
}

/// Digits least significant first, no leading zeros.
fn compare_magnitudes(x: &[u64], y: &[u64]) -> Ordering {
    stop::flat(x.len().min(y.len()));
    x.len().cmp(&y.len()).then_with(|| x.iter().rev().cmp(y.iter().rev()))
}

fn compare_integer_float(integer: Term, float: f64) -> Ordering {
    let small;
    let (negative, digits) = match integer.as_big() {
        Some(big) => (big.is_negative(), big.digits()),
        None => {
            let value = integer.small_value();
            small = [value.unsigned_abs()];
            (value < 0, if value == 0 { &[][..] } else { &small[..] })
        }
    };
    let sign = |negative: bool, zero: bool| {
        if zero {
            0
        } else if negative {
            -1
        } else {
            1
        }
    };
    let signs = sign(negative, digits.is_empty()).cmp(&sign(float < 0.0, float == 0.0));
    if signs.is_ne() || digits.is_empty() {
        return signs;
    }
    let magnitudes = compare_magnitude_float(digits, float.abs());
    if negative { magnitudes.reverse() } else { magnitudes }
}

/// A magnitude that is not zero against a positive float: the whole parts first, then whether the float has a fraction.
fn compare_magnitude_float(digits: &[u64], float: f64) -> Ordering {
    let bits = float.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    let bit_len = digits.len() as u64 * 64 - u64::from(digits[digits.len() - 1].leading_zeros());
    // A subnormal float is below one, and so is one whose whole part has no bits.
    let float_bit_len = i64::from(53 + exponent);
    if (bits >> 52) & 0x7ff == 0 || float_bit_len <= 0 {
        return Ordering::Greater;
    }
    let lengths = bit_len.cmp(&(float_bit_len as u64));
    if lengths.is_ne() {
        return lengths;
    }
    // Same number of bits: line up the first 64 of each.
    let top = digits[digits.len() - 1];
    let shift = top.leading_zeros();
    let below = if digits.len() > 1 { digits[digits.len() - 2] } else { 0 };
    let head = if shift == 0 { top } else { top << shift | below >> (64 - shift) };
    let heads = head.cmp(&(mantissa << 11));
    if heads.is_ne() {
        // The float's bits below the point can only matter when the integer is shorter than the mantissa;
        // its head is then padded with zeros, as it should be.
        return heads;
    }
    let rest = digits.len() > 1 && (below << shift != 0 || digits[..digits.len() - 2].iter().any(|&digit| digit != 0));
    if rest { Ordering::Greater } else { Ordering::Equal }
}

pub const FAMILY_NUMBER: u8 = 0;
pub const FAMILY_TUPLE: u8 = 6;
pub const FAMILY_LIST: u8 = 10;
pub const FAMILY_BITSTRING: u8 = 11;

/// Which family a term belongs to, in ascending order.
pub fn family(term: Term) -> u8 {
    if term.is_small() || term.is_float_immediate() {
        return FAMILY_NUMBER;
    }
    if term.is_cons() {
        return FAMILY_LIST;
    }
    let Some(subtag) = term.boxed_subtag() else {
        return match term {
            _ if term.is_atom() => 1,
            _ if term.is_port() => 4,
            _ if term.is_pid() => 5,
            _ if term.is_nil() => 9,
            _ => 12,
        };
    };
    match subtag {
        Subtag::BigPos | Subtag::BigNeg | Subtag::Float => FAMILY_NUMBER,
        Subtag::Ref | Subtag::ExternalRef => 2,
        Subtag::Fun | Subtag::ExportFun => 3,
        Subtag::ExternalPort => 4,
        Subtag::ExternalPid => 5,
        Subtag::Tuple => FAMILY_TUPLE,
        Subtag::Record => 7,
        Subtag::FlatMap | Subtag::HashMap => 8,
        Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin => FAMILY_BITSTRING,
        Subtag::MatchContext | Subtag::MapNode => 12,
    }
}

/// The order of parts of terms.
#[inline]
fn order_parts(a: Term, b: Term, exact: bool, levels: u32) -> Ordering {
    stop::step();
    order(a, b, exact, levels)
}

/// The last elements of two tuples of one arity if all before them are equal, else their order.
#[inline]
fn order_of_first_elements(a: Term, b: Term, exact: bool, levels: u32) -> Result<(Term, Term), Ordering> {
    let (Some((&last_a, first_a)), Some((&last_b, first_b))) = (tuple_elements(a).split_last(), tuple_elements(b).split_last()) else {
        return Err(Ordering::Equal);
    };
    if first_a.len() > UNCOUNTED_ELEMENTS {
        stop::flat(first_a.len());
    }
    for (&x, &y) in first_a.iter().zip(first_b) {
        if x == y {
            continue;
        }
        if Term::both_small(x, y) {
            return Err(x.small_value().cmp(&y.small_value()));
        }
        let elements = order_parts(x, y, exact, levels);
        if elements.is_ne() {
            return Err(elements);
        }
    }
    Ok((last_a, last_b))
}

/// The order of two terms, without a list of what is left to do as far as `levels` go.
fn order(mut a: Term, mut b: Term, exact: bool, levels: u32) -> Ordering {
    let mut uncounted = UNCOUNTED_CELLS;
    loop {
        if a == b {
            return Ordering::Equal;
        }
        if Term::both_small(a, b) {
            return a.small_value().cmp(&b.small_value());
        }
        if let (Some(left), Some(right)) = (a.as_cons(), b.as_cons()) {
            let (x, y) = (left.head(), right.head());
            if x != y {
                if Term::both_small(x, y) {
                    return x.small_value().cmp(&y.small_value());
                }
                if levels == 0 {
                    break;
                }
                let heads = order_parts(x, y, exact, levels - 1);
                if heads.is_ne() {
                    return heads;
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
        if let (Some(x), Some(y)) = (a.as_atom(), b.as_atom()) {
            return compare_atoms(x, y);
        }
        if levels > 0 && a.is_boxed() && b.is_boxed() && a.boxed_header() == b.boxed_header() && a.boxed_header().has(Subtag::Tuple) {
            match order_of_first_elements(a, b, exact, levels - 1) {
                Ok(last) => (a, b) = last,
                Err(order) => return order,
            }
            continue;
        }
        let (of_a, of_b) = (family(a), family(b));
        if of_a != of_b {
            return of_a.cmp(&of_b);
        }
        match of_a {
            FAMILY_NUMBER if !exact => return compare_numbers(a, b),
            FAMILY_NUMBER if a.is_float() == b.is_float() => return compare_numbers_exact(a, b),
            FAMILY_NUMBER => return if a.is_float() { Ordering::Greater } else { Ordering::Less },
            FAMILY_BITSTRING => return compare_bits(Bits::of(a), Bits::of(b)),
            FAMILY_TUPLE if a.boxed_header() != b.boxed_header() => return a.boxed_header().words().cmp(&b.boxed_header().words()),
            _ => break,
        }
    }
    Comparison::new(exact).run(a, b)
}

/// Module, name, export, number of fields, fields.
fn compare_definitions(a: Record, b: Record) -> Ordering {
    if a.definition().term() == b.definition().term() {
        return Ordering::Equal;
    }
    let atoms = |x: Term, y: Term| x.as_atom().zip(y.as_atom()).map_or(Ordering::Equal, |(x, y)| compare_atoms(x, y));
    let fields = || a.fields().iter().zip(b.fields()).map(|(&x, &y)| atoms(x, y)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
    atoms(a.module(), b.module())
        .then_with(|| atoms(a.name(), b.name()))
        .then_with(|| a.is_exported().cmp(&b.is_exported()))
        .then_with(|| a.fields().len().cmp(&b.fields().len()))
        .then_with(fields)
}

/// What remains to be compared once everything before it turned out equal.
enum Todo {
    Terms(Term, Term),
    Arrays(*const Term, *const Term, usize),
    /// Back to the comparison of values after that of map keys.
    SetExact(bool),
    /// Two hash maps under comparison: it also takes the result when something before it is *not* equal.
    HashMaps(Box<HashMaps>),
}

struct Comparison {
    exact: bool,
    todo: Vec<Todo>,
    /// Hash maps among `todo`.
    hash_maps: usize,
}

impl Comparison {
    fn new(exact: bool) -> Comparison {
        Comparison { exact, todo: Vec::new(), hash_maps: 0 }
    }

    #[inline(never)]
    fn run(&mut self, a: Term, b: Term) -> Ordering {
        let mut result = self.step(a, b);
        loop {
            stop::step();
            if result.is_ne() {
                if self.hash_maps == 0 {
                    return result;
                }
                while !matches!(self.todo.last(), Some(Todo::HashMaps(_))) {
                    self.todo.pop();
                }
            }
            result = match self.todo.pop() {
                None => return Ordering::Equal,
                Some(Todo::Terms(a, b)) => self.step(a, b),
                Some(Todo::Arrays(a, b, count)) => {
                    // SAFETY: the arrays are parts of live terms, and nothing is collected meanwhile.
                    let (a, b) = unsafe { (std::slice::from_raw_parts(a, count), std::slice::from_raw_parts(b, count)) };
                    self.arrays(a, b)
                }
                Some(Todo::SetExact(exact)) => {
                    self.exact = exact;
                    Ordering::Equal
                }
                Some(Todo::HashMaps(maps)) => {
                    self.hash_maps -= 1;
                    self.continue_maps(maps, result)
                }
            };
        }
    }

    /// Elements in order up to the first that needs a closer look; the rest waits.
    fn arrays(&mut self, a: &[Term], b: &[Term]) -> Ordering {
        stop::flat(a.len().min(UNCOUNTED_ELEMENTS));
        for index in 0..a.len() {
            let (x, y) = (a[index], b[index]);
            if x == y {
                continue;
            }
            if Term::both_small(x, y) {
                return x.small_value().cmp(&y.small_value());
            }
            if x.is_immediate() || y.is_immediate() {
                match self.step_unlisted(x, y) {
                    Ordering::Equal => continue,
                    unequal => return unequal,
                }
            }
            let rest = index + 1;
            if rest < a.len() {
                self.todo.push(Todo::Arrays(a[rest..].as_ptr(), b[rest..].as_ptr(), a.len() - rest));
            }
            // Not at once: elements within elements must not nest calls.
            self.todo.push(Todo::Terms(x, y));
            return Ordering::Equal;
        }
        Ordering::Equal
    }

    /// The order of two terms as far as it shows at once; what is left goes to `todo`.
    fn step(&mut self, mut a: Term, mut b: Term) -> Ordering {
        while let (Some(left), Some(right)) = (a.as_cons(), b.as_cons()) {
            stop::step();
            if a == b {
                return Ordering::Equal;
            }
            let (x, y) = (left.head(), right.head());
            if x != y {
                if Term::both_small(x, y) {
                    return x.small_value().cmp(&y.small_value());
                }
                self.todo.push(Todo::Terms(left.tail(), right.tail()));
                if x.is_cons() && y.is_cons() {
                    (a, b) = (x, y);
                    continue;
                }
                return self.step_unlisted(x, y);
            }
            (a, b) = (left.tail(), right.tail());
        }
        self.step_unlisted(a, b)
    }

    /// At most one of them is a list cell.
    fn step_unlisted(&mut self, a: Term, b: Term) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        match (a.kind(), b.kind()) {
            (Kind::Atom(x), Kind::Atom(y)) => compare_atoms(x, y),
            (Kind::Float(x), Kind::Float(y)) if self.exact => compare_floats_exact(x, y),
            (Kind::Float(x), Kind::Float(y)) => compare_floats(x, y),
            (Kind::Tuple(x), Kind::Tuple(y)) => x.arity().cmp(&y.arity()).then_with(|| self.arrays(x.elements(), y.elements())),
            (Kind::Record(x), Kind::Record(y)) => compare_definitions(x, y).then_with(|| self.arrays(x.values(), y.values())),
            (Kind::Bits(x), Kind::Bits(y)) => compare_bits(x, y),
            (Kind::FlatMap(x), Kind::FlatMap(y)) => {
                if x.size() != y.size() || x.size() == 0 {
                    return x.size().cmp(&y.size());
                }
                self.todo.push(Todo::Arrays(x.values().as_ptr(), y.values().as_ptr(), x.size()));
                if x.keys_tuple() == y.keys_tuple() {
                    return Ordering::Equal;
                }
                if !self.exact {
                    self.todo.push(Todo::SetExact(false));
                    self.exact = true;
                }
                self.arrays(x.keys(), y.keys())
            }
            (Kind::HashMap(x), Kind::HashMap(y)) => x.size().cmp(&y.size()).then_with(|| self.start_maps(x, y)),
            (Kind::FlatMap(x), Kind::HashMap(y)) => x.size().cmp(&y.size()),
            (Kind::HashMap(x), Kind::FlatMap(y)) => x.size().cmp(&y.size()),
            (Kind::Fun(x), Kind::Fun(y)) => {
                let (left, right) = (x.identity(), y.identity());
                compare_atoms(left.module, right.module)
                    .then(left.index.cmp(&right.index))
                    .then((left.old_uniq as i32).cmp(&(right.old_uniq as i32)))
                    .then(x.free().len().cmp(&y.free().len()))
                    .then_with(|| self.arrays(x.free(), y.free()))
            }
            (Kind::ExportFun(x), Kind::ExportFun(y)) => {
                let (left, right) = (x.mfa(), y.mfa());
                compare_atoms(left.module, right.module).then_with(|| compare_atoms(left.function, right.function)).then(left.arity.cmp(&right.arity))
            }
            (Kind::Fun(_), Kind::ExportFun(_)) => Ordering::Less,
            (Kind::ExportFun(_), Kind::Fun(_)) => Ordering::Greater,
            (Kind::Pid(x), Kind::Pid(y)) | (Kind::Port(x), Kind::Port(y)) => x.cmp(&y),
            (Kind::Ref(x), Kind::Ref(y)) => compare_ref_numbers(&x.numbers(), &y.numbers()),
            _ => {
                let (of_a, of_b) = (family(a), family(b));
                match (of_a, of_b) {
                    (0, 0) if self.exact && a.is_float() != b.is_float() => {
                        if a.is_float() {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    (0, 0) => compare_numbers(a, b),
                    (2, 2) => compare_refs(a, b),
                    (4, 4) => compare_ports(a, b),
                    (5, 5) => compare_pids(a, b),
                    _ => of_a.cmp(&of_b),
                }
            }
        }
    }

    fn start_maps(&mut self, a: HashMap, b: HashMap) -> Ordering {
        let maps = HashMaps {
            a: TrieIter::new(a),
            b: TrieIter::new(b),
            pair_a: None,
            pair_b: None,
            key: None,
            result: Ordering::Equal,
            exact: self.exact,
            asked: Asked::Nothing,
        };
        self.continue_maps(Box::new(maps), Ordering::Equal)
    }

    /// Takes the answer to what the maps asked last, and asks the next question or has the result.
    fn continue_maps(&mut self, mut maps: Box<HashMaps>, answer: Ordering) -> Ordering {
        match maps.answered(answer) {
            Next::Done(result) => {
                self.exact = maps.exact;
                result
            }
            Next::Ask(a, b, exact) => {
                self.exact = exact;
                self.todo.push(Todo::HashMaps(maps));
                self.hash_maps += 1;
                self.todo.push(Todo::Terms(a, b));
                Ordering::Equal
            }
        }
    }
}

/// Two hash maps of equal size, walked side by side in the order of their tries.
///
/// The maps are ordered by their keys in key order and, when those are the same, by their values in key
/// order. Sorting is not needed: what decides is the least key that only one of them has, or else
/// the least key whose values differ. While keys are the same in both, values are compared of keys less than
/// the best candidate; from the first difference of keys on, only keys count.
struct HashMaps {
    a: TrieIter<'static>,
    b: TrieIter<'static>,
    pair_a: Option<(Term, Term)>,
    pair_b: Option<(Term, Term)>,
    /// The least key so far that decides, and what it decides.
    key: Option<Term>,
    result: Ordering,
    /// How the values are to be compared.
    exact: bool,
    asked: Asked,
}

/// What the maps wait to hear of.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Nothing,
    /// The two current keys, all before having been the same.
    Keys,
    /// The current key against the deciding one.
    LessThanKey,
    Values,
    /// The two current keys, after a difference.
    KeysAfterDifference,
    /// The current key of one map, which the other has not, against the deciding one.
    LessThanKeyA,
    LessThanKeyB,
}

enum Next {
    Ask(Term, Term, bool),
    Done(Ordering),
}

impl HashMaps {
    fn answered(&mut self, answer: Ordering) -> Next {
        match self.asked {
            Asked::Nothing => return self.next_pairs(),
            Asked::Keys if answer.is_ne() => {
                // From here on a key that both maps have decides nothing.
                self.key = None;
                return self.walk_apart();
            }
            Asked::Keys => {
                let (Some((key, value_a)), Some((_, value_b))) = (self.pair_a, self.pair_b) else { unreachable!("pairs were compared") };
                if let Some(least) = self.key {
                    self.asked = Asked::LessThanKey;
                    return Next::Ask(key, least, true);
                }
                self.asked = Asked::Values;
                return Next::Ask(value_a, value_b, self.exact);
            }
            Asked::LessThanKey if answer.is_lt() => {
                let (Some((_, value_a)), Some((_, value_b))) = (self.pair_a, self.pair_b) else { unreachable!("pairs were compared") };
                self.asked = Asked::Values;
                return Next::Ask(value_a, value_b, self.exact);
            }
            Asked::LessThanKey => return self.next_pairs(),
            Asked::Values => {
                if answer.is_ne() {
                    self.result = answer;
                    self.key = self.pair_a.map(|(key, _)| key);
                }
                return self.next_pairs();
            }
            Asked::KeysAfterDifference if answer.is_eq() => {
                self.pair_a = self.a.next();
                self.pair_b = self.b.next();
            }
            Asked::KeysAfterDifference => return self.walk_apart(),
            Asked::LessThanKeyA => {
                if answer.is_lt() {
                    self.decide(self.pair_a, Ordering::Less);
                }
                self.pair_a = self.a.next();
            }
            Asked::LessThanKeyB => {
                if answer.is_lt() {
                    self.decide(self.pair_b, Ordering::Greater);
                }
                self.pair_b = self.b.next();
            }
        }
        self.compare_current_keys()
    }

    fn decide(&mut self, pair: Option<(Term, Term)>, result: Ordering) {
        self.key = pair.map(|(key, _)| key);
        self.result = result;
    }

    fn next_pairs(&mut self) -> Next {
        self.pair_a = self.a.next();
        self.pair_b = self.b.next();
        match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => {
                self.asked = Asked::Keys;
                Next::Ask(key_a, key_b, true)
            }
            _ => Next::Done(self.result),
        }
    }

    fn compare_current_keys(&mut self) -> Next {
        match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => {
                self.asked = Asked::KeysAfterDifference;
                Next::Ask(key_a, key_b, true)
            }
            (None, None) => Next::Done(self.result),
            _ => self.walk_apart(),
        }
    }

    /// The current keys differ (or one map is at its end): the one that comes first in trie order is not
    /// in the other map.
    fn walk_apart(&mut self) -> Next {
        let a_first = match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => path_order(key_a, key_b).is_lt(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let (pair, result) = if a_first { (self.pair_a, Ordering::Less) } else { (self.pair_b, Ordering::Greater) };
        let Some((key, _)) = pair else { return Next::Done(self.result) };
        match self.key {
            Some(least) => {
                self.asked = if a_first { Asked::LessThanKeyA } else { Asked::LessThanKeyB };
                Next::Ask(key, least, true)
            }
            None => {
                self.decide(pair, result);
                if a_first {
                    self.pair_a = self.a.next()
                } else {
                    self.pair_b = self.b.next()
                }
                self.compare_current_keys()
            }
        }
    }
}

fn compare_nodes(a: NodeInfo, b: NodeInfo) -> Ordering {
    compare_atoms(a.name, b.name).then(a.creation.cmp(&b.creation))
}

fn node_of(external: External) -> NodeInfo {
    NodeInfo { name: external.node(), creation: external.creation() }
}

/// Serial, number, node.
fn compare_pids(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_pid(), term.as_external()) {
        (Some(data), _) => (pid_parts(data).1, pid_parts(data).0, NodeInfo::this()),
        (None, Some(external)) => (external.numbers()[1] as u32, external.numbers()[0] as u32, node_of(external)),
        (None, None) => unreachable!("neither kind of pid"),
    };
    let (x, y) = (parts(a), parts(b));
    x.0.cmp(&y.0).then(x.1.cmp(&y.1)).then_with(|| compare_nodes(x.2, y.2))
}

/// Node, number.
fn compare_ports(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_port(), term.as_external()) {
        (Some(number), _) => (NodeInfo::this(), number),
        (None, Some(external)) => (node_of(external), external.numbers()[0] | external.numbers()[1] << 32),
        (None, None) => unreachable!("neither kind of port"),
    };
    let (x, y) = (parts(a), parts(b));
    compare_nodes(x.0, y.0).then(x.1.cmp(&y.1))
}

/// Node, then the numbers from the last to the first; missing ones are zero.
fn compare_refs(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_local_ref(), term.as_external()) {
        (Some(reference), _) => (NodeInfo::this(), reference_numbers(reference)),
        (None, Some(external)) => (node_of(external), external.numbers().iter().map(|&number| number as u32).collect()),
        (None, None) => unreachable!("neither kind of reference"),
    };
    let (mut x, mut y) = (parts(a), parts(b));
    let count = x.1.len().max(y.1.len());
    x.1.resize(count, 0);
    y.1.resize(count, 0);
    compare_nodes(x.0, y.0).then_with(|| compare_ref_numbers(&x.1, &y.1))
}

fn reference_numbers(reference: LocalRef) -> Vec<u32> {
    reference.numbers().to_vec()
}

fn compare_ref_numbers(x: &[u32], y: &[u32]) -> Ordering {
    x.iter().rev().cmp(y.iter().rev())
}

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
        let ascending = [Term::small(1), Term::atom(Atom::new("a")), reference, Term::port(1), Term::pid(1), tuple, map, Term::NIL, list, binary];
        for pair in ascending.windows(2) {
            assert!(compare(pair[0], pair[1]).is_lt() && compare(pair[1], pair[0]).is_gt());
        }
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
        let mut nested = |innermost| (0..PLAIN_LEVELS * 3).fold(Term::small(innermost), |inner, _| heap.tuple(&[inner, Term::NIL]));
        let (one, again, two) = (nested(1), nested(1), nested(2));
        assert!(compare(one, again).is_eq() && compare(one, two).is_lt() && compare(two, one).is_gt());
    }

    #[test]
    fn integers_and_floats_compare_by_value_unless_exactly() {
        let mut heap = FragmentHeap::new();
        let float = heap.float(9_007_199_254_740_992.0);
        let above = Term::small(9_007_199_254_740_993);
        assert!(compare(above, float).is_gt(), "no rounding on the way");
        assert!(equal(Term::small(9_007_199_254_740_992), float));
        assert!(!equal_exact(Term::small(9_007_199_254_740_992), float));
        assert!(compare_exact(Term::small(5), float).is_lt() && compare_exact(above, float).is_lt(), "integers come first");
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
            assert!(equal_exact(one, same_one) && equal(one, same_one) && compare_exact(one, same_one).is_eq());
            assert!(!equal_exact(one, float) && equal(one, float) && compare(one, float).is_eq() && compare_exact(one, float).is_lt());
            assert!(!equal(one, two) && compare(one, two).is_lt() && compare(two, one).is_gt() && compare_exact(two, float).is_lt());
        }
    }
}
