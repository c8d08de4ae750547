//! Tuples: making, changing, converting.

use crate::args::{index_of, pair_of, size_of};
use crate::long::{self, QUICK_COPY_BYTES, QUICK_STEPS, Stop, check, list_length};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Header, Subtag, Term, Tuple, am, atom};

/// Elements that a tuple may have.
pub(crate) const ARITY_MAX: usize = (1 << 24) - 1;

fn tuple_of(term: Term) -> Result<Tuple, BifExit> {
    term.as_tuple().ok_or(BifExit::BADARG)
}

/// A tuple of `arity` elements, given one by one.
fn build(p: &mut Process, arity: usize, elements: impl Iterator<Item = Term>) -> Term {
    let ptr = p.alloc(arity + 1);
    let mut filled = 0;
    // SAFETY: header and elements were given room, and every element is written.
    unsafe {
        *ptr = Header::new(Subtag::Tuple, arity).0;
        for element in elements.take(arity) {
            *ptr.add(1 + filled) = element.raw();
            filled += 1;
        }
    }
    assert_eq!(filled, arity, "as many elements as the arity says");
    Term::from_boxed_ptr(ptr)
}

#[bif("erlang:setelement/3")]
fn setelement(p: &mut Process, index: Term, tuple: Term, value: Term) -> BifResult {
    let tuple = tuple_of(tuple)?;
    let at = index_of(index, tuple.arity())?;
    let copy = p.tuple(tuple.elements());
    // SAFETY: the copy is new, and the index is within it.
    unsafe { *copy.boxed_ptr().add(1 + at) = value.raw() };
    Ok(copy)
}

#[bif("erlang:make_tuple/2")]
fn make_tuple_2(p: &mut Process, arity: Term, value: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("make_tuple"), &[arity, value], |p| {
        made_tuple(p, arity, value, Term::NIL)
    })
}

#[bif("erlang:make_tuple/3")]
fn make_tuple_3(p: &mut Process, arity: Term, value: Term, values: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("make_tuple"), &[arity, value, values], |p| {
        made_tuple(p, arity, value, values)
    })
}

fn made_tuple(p: &mut Process, arity: Term, value: Term, values: Term) -> Result<Term, Stop> {
    let arity = size_of(arity)?;
    if arity > ARITY_MAX {
        return Err(BifExit::BADARG.into());
    }
    check(arity, QUICK_COPY_BYTES / 8)?;
    let tuple = build(p, arity, std::iter::repeat_n(value, arity));
    let mut rest = values;
    while let Some(cell) = rest.as_cons() {
        let (index, value) = pair_of(cell.head()).ok_or(BifExit::BADARG)?;
        let at = index_of(index, arity)?;
        // SAFETY: the tuple is new, and the index is within it.
        unsafe { *tuple.boxed_ptr().add(1 + at) = value.raw() };
        rest = cell.tail();
    }
    if rest.is_nil() { Ok(tuple) } else { Err(BifExit::BADARG.into()) }
}

#[bif("erlang:append_element/2")]
fn append_element(p: &mut Process, tuple: Term, value: Term) -> BifResult {
    let tuple = tuple_of(tuple)?;
    if tuple.arity() >= ARITY_MAX {
        return Err(BifExit::BADARG);
    }
    Ok(build(p, tuple.arity() + 1, tuple.elements().iter().copied().chain([value])))
}

#[bif("erlang:insert_element/3")]
fn insert_element(p: &mut Process, index: Term, tuple: Term, value: Term) -> BifResult {
    let tuple = tuple_of(tuple)?;
    let at = index_of(index, tuple.arity() + 1)?;
    if tuple.arity() >= ARITY_MAX {
        return Err(BifExit::BADARG);
    }
    let (before, after) = tuple.elements().split_at(at);
    Ok(build(
        p,
        tuple.arity() + 1,
        before.iter().copied().chain([value]).chain(after.iter().copied()),
    ))
}

#[bif("erlang:delete_element/2")]
fn delete_element(p: &mut Process, index: Term, tuple: Term) -> BifResult {
    let tuple = tuple_of(tuple)?;
    let at = index_of(index, tuple.arity())?;
    let (before, after) = tuple.elements().split_at(at);
    Ok(build(p, tuple.arity() - 1, before.iter().chain(&after[1..]).copied()))
}

#[bif("erlang:tuple_to_list/1")]
fn tuple_to_list(p: &mut Process, tuple: Term) -> BifResult {
    let elements = tuple_of(tuple)?.elements();
    long::run(p, am::ERLANG, atom!("tuple_to_list"), &[tuple], |p| {
        check(elements.len(), QUICK_STEPS)?;
        p.bump_reductions(elements.len() / 20);
        Ok(p.list(elements))
    })
}

#[bif("erlang:list_to_tuple/1")]
fn list_to_tuple(p: &mut Process, list: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("list_to_tuple"), &[list], |p| {
        let arity = list_length(list)?;
        if arity > ARITY_MAX {
            return Err(BifExit::BADARG.into());
        }
        let mut rest = list;
        let elements = std::iter::from_fn(|| {
            let cell = rest.as_cons()?;
            rest = cell.tail();
            Some(cell.head())
        });
        p.bump_reductions(arity / 20);
        Ok(build(p, arity, elements))
    })
}
