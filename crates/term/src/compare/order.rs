//! The order of terms of one family: recursion for the first levels, a list of what is left to do
//! below.

use super::equal::tuple_elements;
use super::family::{Family, family};
use super::identifiers::{compare_pids, compare_ports, compare_ref_numbers, compare_refs};
use super::maps::{HashMaps, Next};
use super::numbers::{
    compare_floats, compare_floats_exact, compare_numbers, compare_numbers_exact,
};
use super::{CELLS_STEPS, UNCOUNTED_CELLS, UNCOUNTED_ELEMENTS, compare_atoms};
use crate::binary::Bits;
use crate::boxed::{HashMap, Record};
use crate::stop;
use crate::word::{Kind, Subtag, Term};
use std::cmp::Ordering;

/// The order of parts of terms.
#[inline]
pub(super) fn order_parts(a: Term, b: Term, exact: bool, levels: u32) -> Ordering {
    stop::step();
    order(a, b, exact, levels)
}

/// The last ones of as many terms here as there if all before them are equal, else their order.
#[inline]
fn order_of_first_elements(
    a: &[Term],
    b: &[Term],
    exact: bool,
    levels: u32,
) -> Result<(Term, Term), Ordering> {
    let (Some((&last_a, first_a)), Some((&last_b, first_b))) = (a.split_last(), b.split_last())
    else {
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
pub(super) fn order(mut a: Term, mut b: Term, exact: bool, levels: u32) -> Ordering {
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
        if levels > 0
            && a.is_boxed()
            && b.is_boxed()
            && a.boxed_header() == b.boxed_header()
            && a.boxed_header().has(Subtag::Tuple)
        {
            let (of_a, of_b) = (tuple_elements(a), tuple_elements(b));
            match order_of_first_elements(of_a, of_b, exact, levels - 1) {
                Ok(last) => (a, b) = last,
                Err(order) => return order,
            }
            continue;
        }
        if levels > 0
            && let (Some(of_a), Some(of_b)) = (a.as_flat_map(), b.as_flat_map())
            && of_a.keys() == of_b.keys()
        {
            match order_of_first_elements(of_a.values(), of_b.values(), exact, levels - 1) {
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
            Family::Number if !exact => return compare_numbers(a, b),
            Family::Number if a.is_float() == b.is_float() => return compare_numbers_exact(a, b),
            Family::Number => return if a.is_float() { Ordering::Greater } else { Ordering::Less },
            Family::Bitstring => return compare_bits(Bits::of(a), Bits::of(b)),
            Family::Tuple if a.boxed_header() != b.boxed_header() => {
                return a.boxed_header().words().cmp(&b.boxed_header().words());
            }
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
    let atoms = |x: Term, y: Term| {
        x.as_atom().zip(y.as_atom()).map_or(Ordering::Equal, |(x, y)| compare_atoms(x, y))
    };
    let fields = || {
        a.fields()
            .iter()
            .zip(b.fields())
            .map(|(&x, &y)| atoms(x, y))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    atoms(a.module(), b.module())
        .then_with(|| atoms(a.name(), b.name()))
        .then_with(|| a.is_exported().cmp(&b.is_exported()))
        .then_with(|| a.fields().len().cmp(&b.fields().len()))
        .then_with(fields)
}

/// The bits one after the other; where one ends the shorter is less.
pub(super) fn compare_bits(a: Bits, b: Bits) -> Ordering {
    stop::flat(a.bit_size.min(b.bit_size) / 64);
    if let (Some(x), Some(y)) = (a.aligned(), b.aligned()) {
        return x.cmp(y);
    }
    let common = a.bit_size.min(b.bit_size);
    let (x, y) = (a.slice(0, common), b.slice(0, common));
    let words = common / 64;
    for index in 0..words {
        match x.word(index * 8).cmp(&y.word(index * 8)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    for index in words * 8..common.div_ceil(8) {
        match x.byte(index).cmp(&y.byte(index)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a.bit_size.cmp(&b.bit_size)
}

/// What remains to be compared once everything before it turned out equal.
enum Todo {
    Terms(Term, Term),
    Arrays(*const Term, *const Term, usize),
    /// Back to the comparison of values after that of map keys.
    SetExact(bool),
    /// Two hash maps under comparison: it also takes the result when something before it is *not*
    /// equal.
    HashMaps(Box<HashMaps>),
}

pub(super) struct Comparison {
    exact: bool,
    todo: Vec<Todo>,
    /// Hash maps among `todo`.
    hash_maps: usize,
}

impl Comparison {
    pub(super) fn new(exact: bool) -> Comparison {
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
                    // SAFETY: the arrays are parts of live terms, and nothing is collected
                    // meanwhile.
                    let (a, b) = unsafe {
                        (std::slice::from_raw_parts(a, count), std::slice::from_raw_parts(b, count))
                    };
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
                self.todo.push(Todo::Arrays(
                    a[rest..].as_ptr(),
                    b[rest..].as_ptr(),
                    a.len() - rest,
                ));
            }
            // Not at once: elements within elements must not nest calls.
            self.todo.push(Todo::Terms(x, y));
            return Ordering::Equal;
        }
        Ordering::Equal
    }

    /// The order of two terms as far as it shows at once; what is left goes to `todo`.
    pub(super) fn step(&mut self, mut a: Term, mut b: Term) -> Ordering {
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
            (Kind::Tuple(x), Kind::Tuple(y)) => {
                x.arity().cmp(&y.arity()).then_with(|| self.arrays(x.elements(), y.elements()))
            }
            (Kind::Record(x), Kind::Record(y)) => {
                compare_definitions(x, y).then_with(|| self.arrays(x.values(), y.values()))
            }
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
            (Kind::HashMap(x), Kind::HashMap(y)) => {
                x.size().cmp(&y.size()).then_with(|| self.start_maps(x, y))
            }
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
                compare_atoms(left.module, right.module)
                    .then_with(|| compare_atoms(left.function, right.function))
                    .then(left.arity.cmp(&right.arity))
            }
            (Kind::Fun(_), Kind::ExportFun(_)) => Ordering::Less,
            (Kind::ExportFun(_), Kind::Fun(_)) => Ordering::Greater,
            (Kind::Pid(x), Kind::Pid(y)) | (Kind::Port(x), Kind::Port(y)) => x.cmp(&y),
            (Kind::Ref(x), Kind::Ref(y)) => compare_ref_numbers(&x.numbers(), &y.numbers()),
            _ => {
                let (of_a, of_b) = (family(a), family(b));
                match (of_a, of_b) {
                    (Family::Number, Family::Number)
                        if self.exact && a.is_float() != b.is_float() =>
                    {
                        if a.is_float() {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    (Family::Number, Family::Number) => compare_numbers(a, b),
                    (Family::Reference, Family::Reference) => compare_refs(a, b),
                    (Family::Port, Family::Port) => compare_ports(a, b),
                    (Family::Pid, Family::Pid) => compare_pids(a, b),
                    _ => of_a.cmp(&of_b),
                }
            }
        }
    }

    fn start_maps(&mut self, a: HashMap, b: HashMap) -> Ordering {
        let maps = HashMaps::new(a, b, self.exact);
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
