//! The built-ins of `lists`, and `++` and `--`.

use crate::args::{badarg, size_of};
use crate::long::{self, Stop, check, list_length};
use std::collections::BTreeMap;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Mfa, Term, am, atom, compare_exact, equal, equal_exact};

/// Elements for which a built-in that walks a list counts one reduction.
const ELEMENTS_PER_REDUCTION: usize = 10;
/// Elements after which it gives way to other processes, and is called again with what is left.
const ELEMENTS_PER_TURN: usize = 40_000;

/// Goes on in `module:function` with what is left, after others had their turn.
fn go_on(p: &mut Process, module: Atom, function: Atom, args: &[Term]) -> BifResult {
    let export = p.vm.code.export(Mfa { module, function, arity: args.len() as u32 });
    p.bump_reductions(ELEMENTS_PER_TURN / ELEMENTS_PER_REDUCTION);
    p.trap(export, args)
}

#[bif("lists:member/2")]
fn member(p: &mut Process, item: Term, list: Term) -> BifResult {
    let mut rest = list;
    let mut seen = 0;
    let immediate = item.is_immediate();
    while let Some(cell) = rest.as_cons() {
        if seen == ELEMENTS_PER_TURN {
            return go_on(p, atom!("lists"), atom!("member"), &[item, rest]);
        }
        seen += 1;
        let head = cell.head();
        if head == item || !immediate && equal_exact(head, item) {
            p.bump_reductions(seen / ELEMENTS_PER_REDUCTION);
            return Ok(Term::bool(true));
        }
        rest = cell.tail();
    }
    p.bump_reductions(seen / ELEMENTS_PER_REDUCTION);
    if rest.is_nil() { Ok(Term::bool(false)) } else { badarg() }
}

/// Puts up to a turn's elements of `list` in front of `tail`, one by one: what is left, and the
/// result.
fn reverse_some(p: &mut Process, list: Term, tail: Term) -> (Term, Term) {
    let (mut rest, mut reversed, mut count) = (list, tail, 0);
    while let Some(cell) = rest.as_cons()
        && count < ELEMENTS_PER_TURN
    {
        reversed = p.cons(cell.head(), reversed);
        rest = cell.tail();
        count += 1;
    }
    p.bump_reductions(count / ELEMENTS_PER_REDUCTION);
    (rest, reversed)
}

#[bif("lists:reverse/2")]
fn reverse(p: &mut Process, list: Term, tail: Term) -> BifResult {
    let (rest, reversed) = reverse_some(p, list, tail);
    if rest.is_nil() {
        Ok(reversed)
    } else if rest.is_cons() {
        go_on(p, atom!("lists"), atom!("reverse"), &[rest, reversed])
    } else {
        badarg()
    }
}

/// The first tuple of `list` whose element at `position` equals `key`; the rest of the list where
/// the turn is over.
fn keyfind_in(
    p: &mut Process,
    key: Term,
    position: Term,
    list: Term,
) -> Result<Result<Option<Term>, Term>, BifExit> {
    let at = size_of(position)?.checked_sub(1).ok_or(BifExit::BADARG)?;
    if key.is_small() {
        // Of what is not the same word only floats can be equal.
        find_in(p, at, list, |element| element == key || !element.is_small() && equal(element, key))
    } else if key.is_immediate() && !key.is_number() {
        find_in(p, at, list, |element| element == key)
    } else {
        find_in(p, at, list, |element| equal(element, key))
    }
}

/// As [`keyfind_in`], for the element at an index.
#[inline(always)]
fn find_in(
    p: &mut Process,
    at: usize,
    list: Term,
    is_wanted: impl Fn(Term) -> bool,
) -> Result<Result<Option<Term>, Term>, BifExit> {
    let mut rest = list;
    let mut seen = 0;
    while let Some(cell) = rest.as_cons() {
        if seen == ELEMENTS_PER_TURN {
            return Ok(Err(rest));
        }
        seen += 1;
        if let Some(tuple) = cell.head().as_tuple()
            && at < tuple.arity()
            && is_wanted(tuple.get(at))
        {
            p.bump_reductions(seen / ELEMENTS_PER_REDUCTION);
            return Ok(Ok(Some(cell.head())));
        }
        rest = cell.tail();
    }
    p.bump_reductions(seen / ELEMENTS_PER_REDUCTION);
    if rest.is_nil() { Ok(Ok(None)) } else { Err(BifExit::BADARG) }
}

#[bif("lists:keyfind/3")]
fn keyfind(p: &mut Process, key: Term, position: Term, list: Term) -> BifResult {
    match keyfind_in(p, key, position, list)? {
        Ok(found) => Ok(found.unwrap_or(Term::bool(false))),
        Err(rest) => go_on(p, atom!("lists"), atom!("keyfind"), &[key, position, rest]),
    }
}

#[bif("lists:keymember/3")]
fn keymember(p: &mut Process, key: Term, position: Term, list: Term) -> BifResult {
    match keyfind_in(p, key, position, list)? {
        Ok(found) => Ok(Term::bool(found.is_some())),
        Err(rest) => go_on(p, atom!("lists"), atom!("keymember"), &[key, position, rest]),
    }
}

#[bif("lists:keysearch/3")]
fn keysearch(p: &mut Process, key: Term, position: Term, list: Term) -> BifResult {
    match keyfind_in(p, key, position, list)? {
        Ok(Some(tuple)) => Ok(p.tuple(&[Term::atom(am::VALUE), tuple])),
        Ok(None) => Ok(Term::bool(false)),
        Err(rest) => go_on(p, atom!("lists"), atom!("keysearch"), &[key, position, rest]),
    }
}

#[bif("erlang:++/2")]
#[bif("erlang:append/2")]
fn append(p: &mut Process, front: Term, back: Term) -> BifResult {
    if front.is_nil() {
        return Ok(back);
    }
    let length = front.list_len().ok_or(BifExit::BADARG)?;
    if back.is_nil() {
        return Ok(front);
    }
    if length > ELEMENTS_PER_TURN {
        return append_long(p, front, Term::NIL, back);
    }
    p.bump_reductions(length / ELEMENTS_PER_REDUCTION);
    let cells = p.alloc(length * 2);
    let mut rest = front;
    for index in 0..length {
        let cell = rest.as_cons().expect("as many cells as were counted");
        let tail = if index + 1 == length {
            back
        } else {
            Term::from_cons_ptr(cells.wrapping_add(2 * index + 2))
        };
        // SAFETY: two words a cell were given.
        unsafe {
            *cells.add(2 * index) = cell.head().raw();
            *cells.add(2 * index + 1) = tail.raw();
        }
        rest = cell.tail();
    }
    Ok(Term::from_cons_ptr(cells))
}

/// A long list is appended by reversing it twice, a turn's elements at a time.
#[bif("erts_internal:append_long/3", unlisted)]
fn append_long(p: &mut Process, front: Term, reversed: Term, back: Term) -> BifResult {
    let (rest, reversed) = reverse_some(p, front, reversed);
    if rest.is_nil() {
        go_on(p, atom!("lists"), atom!("reverse"), &[reversed, back])
    } else {
        go_on(p, am::ERTS_INTERNAL, atom!("append_long"), &[rest, reversed, back])
    }
}

/// A term ordered by exact term order, to count what is to be removed.
#[derive(Clone, Copy)]
struct Exact(Term);

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        equal_exact(self.0, other.0)
    }
}
impl Eq for Exact {}
impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> std::cmp::Ordering {
        compare_exact(self.0, other.0)
    }
}

/// Elements of both lists together that are compared at once.
const QUICK_SUBTRACTION: usize = 5_000;

#[bif("erlang:--/2")]
fn subtract_operator(p: &mut Process, from: Term, what: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("--"), &[from, what], |p| difference(p, from, what))
}

#[bif("erlang:subtract/2")]
fn subtract(p: &mut Process, from: Term, what: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("subtract"), &[from, what], |p| difference(p, from, what))
}

/// So few terms to remove are compared with each element in turn.
const FEW_REMOVALS: usize = 8;

/// [`difference`] with few terms to remove, of a list of `length` elements.
fn without_few(p: &mut Process, from: Term, mut removals: Vec<Term>, length: usize) -> Term {
    // Both zeros are equal until OTP 26.
    let is_one_word = |item: Term| item.is_immediate() && !item.is_float_immediate();
    let mut kept = Vec::with_capacity(length);
    let mut rest = from;
    while let Some(cell) = rest.as_cons() {
        if removals.is_empty() {
            return p.list_with_tail(&kept, rest);
        }
        let item = cell.head();
        match removals.iter().position(|&removal| {
            removal == item || !is_one_word(item) && equal_exact(removal, item)
        }) {
            // The order of those that are left does not matter: they differ, or are the same.
            Some(at) => drop(removals.swap_remove(at)),
            None => kept.push(item),
        }
        rest = cell.tail();
    }
    p.list(&kept)
}

fn difference(p: &mut Process, from: Term, what: Term) -> Result<Term, Stop> {
    let (items, removals) = (list_length(from)?, list_length(what)?);
    if items == 0 || removals == 0 {
        return Ok(from);
    }
    check(items + removals, QUICK_SUBTRACTION)?;
    let removals = what.list_to_vec().ok_or(BifExit::BADARG)?;
    p.bump_reductions((items + removals.len()) / ELEMENTS_PER_REDUCTION);
    if removals.len() <= FEW_REMOVALS {
        return Ok(without_few(p, from, removals, items));
    }
    let mut counts: BTreeMap<Exact, usize> = BTreeMap::new();
    for &item in &removals {
        *counts.entry(Exact(item)).or_default() += 1;
    }
    let mut left = removals.len();
    let mut kept = Vec::with_capacity(items);
    let mut rest = from;
    while let Some(cell) = rest.as_cons() {
        if left == 0 {
            // Nothing more to remove: the rest is shared.
            return Ok(p.list_with_tail(&kept, rest));
        }
        match counts.get_mut(&Exact(cell.head())) {
            Some(count) if *count > 0 => {
                *count -= 1;
                left -= 1;
            }
            _ => kept.push(cell.head()),
        }
        rest = cell.tail();
    }
    Ok(p.list(&kept))
}
