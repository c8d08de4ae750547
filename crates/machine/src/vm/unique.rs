//! The numbers of `erlang:unique_integer/1`.
//!
//! Each scheduler has a counter of its own, so that they do not wait for each other; its number stands in
//! the low bits of what it gives out. Other threads share the counter of number 0. Monotonic integers come from
//! one counter, since their order is that of the whole machine.

use crate::schedule::current_scheduler;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_term::{Alloc, Term};

/// As in OTP, integers that need not be positive start far below zero.
pub const UNIQUE_START: i64 = -(1 << 59);

/// A counter in cache lines of its own (two: processors fetch them in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicU64);

pub struct UniqueIntegers {
    counters: Box<[Counter]>,
    /// Of the number of the counter, in an integer.
    thread_bits: u32,
    /// How many monotonic integers were given out.
    monotonic: AtomicU64,
}

impl UniqueIntegers {
    /// For that many schedulers. `threads` are all that have a number in OTP, dirty schedulers too: it
    /// says how many low bits are theirs.
    pub(super) fn new(schedulers: usize, threads: usize) -> UniqueIntegers {
        UniqueIntegers {
            counters: (0..=schedulers).map(|_| Counter::default()).collect(),
            thread_bits: usize::BITS - threads.max(schedulers).leading_zeros(),
            monotonic: AtomicU64::new(0),
        }
    }

    /// An integer that differs from all others that this gives out, from 1.
    pub fn next(&self) -> u128 {
        let thread = current_scheduler().map_or(0, |scheduler| scheduler + 1);
        // A scheduler of another machine in this program counts as any other thread.
        let thread = if thread < self.counters.len() { thread } else { 0 };
        self.compose(thread as u64, self.counters[thread].0.fetch_add(1, Ordering::Relaxed)) + 1
    }

    /// The integer of a counter's number and its count, from 0.
    pub fn compose(&self, thread: u64, count: u64) -> u128 {
        u128::from(count) << self.thread_bits | u128::from(thread)
    }

    /// An integer greater than all others that this gives out, from 0.
    pub fn next_monotonic(&self) -> u64 {
        self.monotonic.fetch_add(1, Ordering::SeqCst)
    }

    /// The monotonic integer that was given out last; 2^64-1 before the first.
    pub fn last_monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst).wrapping_sub(1)
    }

    /// Goes on behind a monotonic integer, for tests.
    pub fn set_last_monotonic(&self, last: u64) {
        self.monotonic.store(last.wrapping_add(1), Ordering::SeqCst);
    }

    /// What `erlang:unique_integer/1` and its like in the C interface give.
    pub fn make(&self, heap: &mut impl Alloc, positive: bool, monotonic: bool) -> Term {
        match (positive, monotonic) {
            (true, true) => unsigned(heap, u128::from(self.next_monotonic()) + 1),
            (true, false) => unsigned(heap, self.next()),
            (false, true) => from_start(heap, self.next_monotonic().into()),
            (false, false) => from_start(heap, self.next() - 1),
        }
    }
}

fn unsigned(heap: &mut impl Alloc, value: u128) -> Term {
    heap.big(false, &[value as u64, (value >> 64) as u64])
}

/// An integer so far above the first that need not be positive.
pub fn from_start(heap: &mut impl Alloc, distance: u128) -> Term {
    if let Ok(near) = i64::try_from(distance)
        && let Some(value) = UNIQUE_START.checked_add(near)
    {
        return heap.int(value);
    }
    let below = u128::from(UNIQUE_START.unsigned_abs());
    let magnitude = distance.abs_diff(below);
    heap.big(distance < below, &[magnitude as u64, (magnitude >> 64) as u64])
}
