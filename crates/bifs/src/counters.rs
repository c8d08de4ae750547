//! `counters` with `write_concurrency`: signed 64-bit counters of which each scheduler has its own
//! part.
//!
//! A counter's value is the sum of its parts. Schedulers that add to one counter then write to
//! different cache lines; a read looks at all of them, and need not see them as they were at one
//! moment.
//!
//! The shared memory of a counted reference holds a head of two words (the mark of these arrays,
//! how many counters it has), words without use up to the next cache line, and then the lines.
//! Eight counters make a group, which has a line for threads that are not schedulers and one for
//! each scheduler.

use crate::args::size_of;
use crate::atomics::{array_size, increment, ok, wide};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use swarmrt_machine::schedule::current_scheduler;
use swarmrt_machine::vm::resource::mark;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, SharedBytes, Term, am, atom, map};

const WORD_BYTES: usize = 8;
const LINE_BYTES: usize = 64;
const LINE_WORDS: usize = LINE_BYTES / WORD_BYTES;
const HEAD_WORDS: usize = 2;
/// Words before the first line, at most: the head, and what is left of the line in which it ends.
const BEFORE_LINES_MAX: usize = HEAD_WORDS + LINE_WORDS - 1;

/// Lines of a group: one for each scheduler, and the first for all other threads.
fn group_lines(vm: &Vm) -> usize {
    vm.schedulers.count() + 1
}

/// Counters, as a built-in works on them while the program holds their reference.
struct Counters {
    /// All of the reference's memory.
    words: &'static [AtomicU64],
    size: usize,
}

/// One counter: the same word of each line of its group.
struct Counter {
    /// From its word in the first line of the group to its word in the last.
    parts: &'static [AtomicU64],
}

impl Counters {
    /// The counters, which live as long as the reference does: at least until the built-in returns.
    fn of(p: &Process, reference: Term) -> Result<Counters, BifExit> {
        let words = reference
            .as_local_ref()
            .and_then(|reference| reference.counted_words())
            .ok_or(BifExit::BADARG)?;
        match words {
            [head, size, ..] if head.load(Relaxed) == mark::<Counters>(p.vm) => {
                Ok(Counters { words, size: size.load(Relaxed) as usize })
            }
            _ => Err(BifExit::BADARG),
        }
    }

    fn counter(&self, vm: &Vm, index: Term) -> Result<Counter, BifExit> {
        let index = size_of(index)?
            .checked_sub(1)
            .filter(|&index| index < self.size)
            .ok_or(BifExit::BADARG)?;
        let head_end = self.words.as_ptr() as usize + HEAD_WORDS * WORD_BYTES;
        let lines = HEAD_WORDS + (head_end.next_multiple_of(LINE_BYTES) - head_end) / WORD_BYTES;
        let group_words = group_lines(vm) * LINE_WORDS;
        let first = lines + index / LINE_WORDS * group_words + index % LINE_WORDS;
        Ok(Counter { parts: &self.words[first..=first + group_words - LINE_WORDS] })
    }
}

impl Counter {
    fn parts(&self) -> impl Iterator<Item = &'static AtomicU64> {
        self.parts.iter().step_by(LINE_WORDS)
    }

    /// The part that this thread adds to. Relaxed: who has heard of an addition by a message sees
    /// it, and nobody else may rely on it.
    fn own(&self) -> &'static AtomicU64 {
        &self.parts[current_scheduler().map_or(0, |number| number + 1) * LINE_WORDS]
    }

    fn value(&self) -> i64 {
        self.parts().fold(0_u64, |sum, part| sum.wrapping_add(part.load(Relaxed))) as i64
    }

    fn set(&self, value: i64) {
        for (line, part) in self.parts().enumerate() {
            part.store(if line == 0 { value as u64 } else { 0 }, Relaxed);
        }
    }
}

#[bif("erts_internal:counters_new/1")]
fn counters_new(p: &mut Process, size: Term) -> BifResult {
    let size = array_size(size)?;
    let words = size
        .div_ceil(LINE_WORDS)
        .checked_mul(group_lines(p.vm) * LINE_WORDS)
        .and_then(|words| words.checked_add(BEFORE_LINES_MAX));
    let shared = words.and_then(SharedBytes::zeroed_words).ok_or(BifExit::SYSTEM_LIMIT)?;
    // SAFETY: the memory has a head, and nobody else has seen it.
    unsafe {
        shared.data().cast::<u64>().write(mark::<Counters>(p.vm));
        shared.data().cast::<u64>().add(1).write(size as u64);
    }
    Ok(p.counted_ref(shared))
}

#[bif("erts_internal:counters_get/2")]
fn counters_get(p: &mut Process, counters: Term, index: Term) -> BifResult {
    let value = Counters::of(p, counters)?.counter(p.vm, index)?.value();
    Ok(p.int(value))
}

#[bif("erts_internal:counters_add/3")]
fn counters_add(p: &mut Process, counters: Term, index: Term, value: Term) -> BifResult {
    let counter = Counters::of(p, counters)?.counter(p.vm, index)?;
    counter.own().fetch_add(increment(value)?, Relaxed);
    ok()
}

#[bif("erts_internal:counters_put/3")]
fn counters_put(p: &mut Process, counters: Term, index: Term, value: Term) -> BifResult {
    let counter = Counters::of(p, counters)?.counter(p.vm, index)?;
    counter.set(wide(value).and_then(|value| i64::try_from(value).ok()).ok_or(BifExit::BADARG)?);
    ok()
}

#[bif("erts_internal:counters_info/1")]
fn counters_info(p: &mut Process, counters: Term) -> BifResult {
    let counters = Counters::of(p, counters)?;
    let memory = counters.words.len() * WORD_BYTES;
    let pairs = [
        (Term::atom(am::SIZE), Term::small(counters.size as i64)),
        (Term::atom(atom!("memory")), Term::small(memory as i64)),
    ];
    Ok(map::from_pairs(p, &pairs))
}
