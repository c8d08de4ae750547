//! `atomics` and `counters`: arrays of 64-bit integers shared by all processes.
//!
//! A program holds an array through a reference whose payload is the array's number here. Arrays live as long as
//! the machine: nothing tells when the last reference to one is gone.

use crate::args::size_of;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use swarmrt_machine::links::RefValue;
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Alloc, RefKind, Term, am, atom, map};

struct Array {
    cells: Box<[AtomicI64]>,
    signed: bool,
    /// Made by `counters:new/2`.
    counters: bool,
}

#[derive(Default)]
struct Arrays {
    arrays: RwLock<Vec<&'static Array>>,
}

/// Elements of the largest array.
const CELLS_MAX: usize = 1 << 32;
/// Set in the payloads of these references, to tell them from others.
const PAYLOAD_MARK: u64 = 0xa70_0000_0000_0000;

fn new_array(p: &mut Process, size: usize, signed: bool, counters: bool) -> BifResult {
    if size == 0 {
        return Err(Raise::BADARG);
    }
    if size > CELLS_MAX {
        return Err(Raise::SYSTEM_LIMIT);
    }
    let cells = (0..size).map(|_| AtomicI64::new(0)).collect();
    let array: &'static Array = Box::leak(Box::new(Array { cells, signed, counters }));
    let number = {
        let mut arrays = p.vm.extension::<Arrays>().arrays.write();
        arrays.push(array);
        arrays.len() as u64 - 1
    };
    let reference = RefValue { kind: RefKind::Magic, payload: PAYLOAD_MARK | number, ..p.vm.next_ref() };
    Ok(reference.to_term(p))
}

fn array_of(p: &Process, reference: Term, counters: bool) -> Result<&'static Array, Raise> {
    let reference = reference.as_local_ref().filter(|reference| reference.ref_kind() == RefKind::Magic).ok_or(Raise::BADARG)?;
    let payload = reference.payload().filter(|payload| payload & PAYLOAD_MARK == PAYLOAD_MARK).ok_or(Raise::BADARG)?;
    let arrays = p.vm.extension::<Arrays>().arrays.read();
    arrays.get((payload & !PAYLOAD_MARK) as usize).copied().filter(|array| array.counters == counters).ok_or(Raise::BADARG)
}

impl Array {
    fn cell(&self, index: Term) -> Result<&AtomicI64, Raise> {
        let index = size_of(index)?;
        index.checked_sub(1).and_then(|index| self.cells.get(index)).ok_or(Raise::BADARG)
    }
    fn read(&self, p: &mut Process, value: i64) -> Term {
        if self.signed { p.int(value) } else { p.uint(value as u64) }
    }
    /// A value to store, as its bits.
    fn write(&self, term: Term) -> Result<i64, Raise> {
        if let Some(value) = term.as_small() {
            return if value >= 0 || self.signed { Ok(value) } else { Err(Raise::BADARG) };
        }
        let value = wide(term).ok_or(Raise::BADARG)?;
        if self.signed { i64::try_from(value).map_err(|_| Raise::BADARG) } else { u64::try_from(value).map(|value| value as i64).map_err(|_| Raise::BADARG) }
    }
    /// A value to add: anything that fits 64 bits either way.
    fn increment(term: Term) -> Result<i64, Raise> {
        let value = wide(term).ok_or(Raise::BADARG)?;
        i64::try_from(value).or_else(|_| u64::try_from(value).map(|value| value as i64)).map_err(|_| Raise::BADARG)
    }
}

fn wide(term: Term) -> Option<i128> {
    if let Some(value) = term.as_small() {
        return Some(i128::from(value));
    }
    let big = term.as_big()?;
    let [digit] = *big.digits() else { return None };
    Some(if big.is_negative() { -i128::from(digit) } else { i128::from(digit) })
}

fn ok() -> BifResult {
    Ok(Term::atom(am::OK))
}

#[bif("erts_internal:atomics_new/2")]
fn atomics_new(p: &mut Process, size: Term, options: Term) -> BifResult {
    // The caller has made flags of the options: bit 0 is `signed`.
    let flags = size_of(options)?;
    new_array(p, size_of(size)?, flags & 1 == 1, false)
}

#[bif("atomics:get/2")]
fn atomics_get(p: &mut Process, array: Term, index: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    let value = array.cell(index)?.load(SeqCst);
    Ok(array.read(p, value))
}

#[bif("atomics:put/3")]
fn atomics_put(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    array.cell(index)?.store(array.write(value)?, SeqCst);
    ok()
}

#[bif("atomics:add/3")]
fn atomics_add(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    array.cell(index)?.fetch_add(Array::increment(value)?, SeqCst);
    ok()
}

#[bif("atomics:add_get/3")]
fn atomics_add_get(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    let increment = Array::increment(value)?;
    let value = array.cell(index)?.fetch_add(increment, SeqCst).wrapping_add(increment);
    Ok(array.read(p, value))
}

#[bif("atomics:exchange/3")]
fn atomics_exchange(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    let before = array.cell(index)?.swap(array.write(value)?, SeqCst);
    Ok(array.read(p, before))
}

#[bif("atomics:compare_exchange/4")]
fn atomics_compare_exchange(p: &mut Process, array: Term, index: Term, expected: Term, value: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    let (expected, value) = (array.write(expected)?, array.write(value)?);
    match array.cell(index)?.compare_exchange(expected, value, SeqCst, SeqCst) {
        Ok(_) => ok(),
        Err(actual) => Ok(array.read(p, actual)),
    }
}

#[bif("atomics:info/1")]
fn atomics_info(p: &mut Process, array: Term) -> BifResult {
    let array = array_of(p, array, false)?;
    let (min, max) = if array.signed { (p.int(i64::MIN), p.int(i64::MAX)) } else { (Term::small(0), p.uint(u64::MAX)) };
    let size = array.cells.len() as i64;
    let pairs = [
        (Term::atom(am::SIZE), Term::small(size)),
        (Term::atom(am::MAX), max),
        (Term::atom(am::MIN), min),
        (Term::atom(atom!("memory")), Term::small(size * 8 + 40)),
    ];
    Ok(map::from_pairs(p, &pairs))
}

#[bif("erts_internal:counters_new/1")]
fn counters_new(p: &mut Process, size: Term) -> BifResult {
    new_array(p, size_of(size)?, true, true)
}

#[bif("erts_internal:counters_get/2")]
fn counters_get(p: &mut Process, array: Term, index: Term) -> BifResult {
    let array = array_of(p, array, true)?;
    let value = array.cell(index)?.load(SeqCst);
    Ok(array.read(p, value))
}

#[bif("erts_internal:counters_add/3")]
fn counters_add(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, true)?;
    array.cell(index)?.fetch_add(Array::increment(value)?, SeqCst);
    ok()
}

#[bif("erts_internal:counters_put/3")]
fn counters_put(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array, true)?;
    array.cell(index)?.store(array.write(value)?, SeqCst);
    ok()
}

#[bif("erts_internal:counters_info/1")]
fn counters_info(p: &mut Process, array: Term) -> BifResult {
    let array = array_of(p, array, true)?;
    let size = array.cells.len() as i64;
    let pairs = [(Term::atom(am::SIZE), Term::small(size)), (Term::atom(atom!("memory")), Term::small(size * 8 + 40))];
    Ok(map::from_pairs(p, &pairs))
}
