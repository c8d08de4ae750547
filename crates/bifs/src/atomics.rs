//! `atomics`: arrays of 64-bit integers shared by all processes; also `counters` without
//! `write_concurrency`.
//!
//! The cells are the shared memory of a counted reference, after a head of two words: the mark of
//! these arrays, and whether the integers are signed.

use crate::args::size_of;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use swarmrt_machine::vm::resource::mark;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, SharedBytes, Term, am, atom, map};

/// An array, as a built-in works on it while the program holds its reference.
#[derive(Clone, Copy)]
struct Array {
    cells: &'static [AtomicU64],
    signed: bool,
}

const HEAD_WORDS: usize = 2;
/// The bit of the second word of the head, and of the options that `atomics:new/2` passes on.
const SIGNED: u64 = 1;

/// How many integers a new array has.
pub(crate) fn array_size(size: Term) -> Result<usize, BifExit> {
    match (size.as_small(), size.as_big()) {
        (Some(size), _) if size > 0 => Ok(size as usize),
        (_, Some(big)) if !big.is_negative() => Err(BifExit::SYSTEM_LIMIT),
        _ => Err(BifExit::BADARG),
    }
}

fn new_array(p: &mut Process, size: Term, flags: u64) -> BifResult {
    let size = array_size(size)?;
    let shared = size
        .checked_add(HEAD_WORDS)
        .and_then(SharedBytes::zeroed_words)
        .ok_or(BifExit::SYSTEM_LIMIT)?;
    // SAFETY: the memory has a head, and nobody else has seen it.
    unsafe {
        shared.data().cast::<u64>().write(mark::<Array>(p.vm));
        shared.data().cast::<u64>().add(1).write(flags);
    }
    Ok(p.counted_ref(shared))
}

/// The array, which lives as long as the reference does: at least until the built-in returns.
fn array_of(p: &Process, reference: Term) -> Result<Array, BifExit> {
    let words = reference
        .as_local_ref()
        .and_then(|reference| reference.counted_words())
        .ok_or(BifExit::BADARG)?;
    let [head, flags, cells @ ..] = words else { return Err(BifExit::BADARG) };
    let flags = flags.load(SeqCst);
    if head.load(SeqCst) != mark::<Array>(p.vm) {
        return Err(BifExit::BADARG);
    }
    Ok(Array { cells, signed: flags & SIGNED != 0 })
}

impl Array {
    fn cell(&self, index: Term) -> Result<&'static AtomicU64, BifExit> {
        let index = size_of(index)?;
        index.checked_sub(1).and_then(|index| self.cells.get(index)).ok_or(BifExit::BADARG)
    }
    fn read(&self, p: &mut Process, value: u64) -> Term {
        if self.signed { p.int(value as i64) } else { p.uint(value) }
    }
    /// A value to store, as its bits.
    fn write(&self, term: Term) -> Result<u64, BifExit> {
        let value = wide(term).ok_or(BifExit::BADARG)?;
        let bits = if self.signed {
            i64::try_from(value).map(|value| value as u64)
        } else {
            u64::try_from(value)
        };
        bits.map_err(|_| BifExit::BADARG)
    }
}

/// A value to add: anything that fits 64 bits either way.
pub(crate) fn increment(term: Term) -> Result<u64, BifExit> {
    let value = wide(term).ok_or(BifExit::BADARG)?;
    u64::try_from(value)
        .or_else(|_| i64::try_from(value).map(|value| value as u64))
        .map_err(|_| BifExit::BADARG)
}

pub(crate) fn wide(term: Term) -> Option<i128> {
    if let Some(value) = term.as_small() {
        return Some(i128::from(value));
    }
    let big = term.as_big()?;
    let [digit] = *big.digits() else { return None };
    Some(if big.is_negative() { -i128::from(digit) } else { i128::from(digit) })
}

pub(crate) fn ok() -> BifResult {
    Ok(Term::atom(am::OK))
}

#[bif("erts_internal:atomics_new/2")]
fn atomics_new(p: &mut Process, size: Term, options: Term) -> BifResult {
    // The caller has made flags of the options: bit 0 is `signed`.
    let flags = size_of(options)?;
    new_array(p, size, if flags & 1 == 1 { SIGNED } else { 0 })
}

#[bif("atomics:get/2")]
fn atomics_get(p: &mut Process, array: Term, index: Term) -> BifResult {
    let array = array_of(p, array)?;
    let value = array.cell(index)?.load(SeqCst);
    Ok(array.read(p, value))
}

#[bif("atomics:put/3")]
fn atomics_put(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array)?;
    array.cell(index)?.store(array.write(value)?, SeqCst);
    ok()
}

#[bif("atomics:add/3")]
fn atomics_add(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array)?;
    array.cell(index)?.fetch_add(increment(value)?, SeqCst);
    ok()
}

#[bif("atomics:add_get/3")]
fn atomics_add_get(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array)?;
    let added = increment(value)?;
    let value = array.cell(index)?.fetch_add(added, SeqCst).wrapping_add(added);
    Ok(array.read(p, value))
}

#[bif("atomics:exchange/3")]
fn atomics_exchange(p: &mut Process, array: Term, index: Term, value: Term) -> BifResult {
    let array = array_of(p, array)?;
    let before = array.cell(index)?.swap(array.write(value)?, SeqCst);
    Ok(array.read(p, before))
}

#[bif("atomics:compare_exchange/4")]
fn atomics_compare_exchange(
    p: &mut Process,
    array: Term,
    index: Term,
    expected: Term,
    value: Term,
) -> BifResult {
    let array = array_of(p, array)?;
    let (expected, value) = (array.write(expected)?, array.write(value)?);
    match array.cell(index)?.compare_exchange(expected, value, SeqCst, SeqCst) {
        Ok(_) => ok(),
        Err(actual) => Ok(array.read(p, actual)),
    }
}

#[bif("atomics:info/1")]
fn atomics_info(p: &mut Process, array: Term) -> BifResult {
    let array = array_of(p, array)?;
    let (min, max) = if array.signed {
        (p.int(i64::MIN), p.int(i64::MAX))
    } else {
        (Term::small(0), p.uint(u64::MAX))
    };
    let size = array.cells.len() as i64;
    let pairs = [
        (Term::atom(am::SIZE), Term::small(size)),
        (Term::atom(am::MAX), max),
        (Term::atom(am::MIN), min),
        (Term::atom(atom!("memory")), Term::small(size * 8 + 40)),
    ];
    Ok(map::from_pairs(p, &pairs))
}
