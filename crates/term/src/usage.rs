//! Counting without contention, and how much memory is used for what, as `erlang:memory/0` tells
//! it.
//!
//! Threads count in different places, so that they do not get in each other's way; the sum is right
//! when nothing moves.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const PARTS: usize = 16;

/// A count on a cache line of its own.
#[repr(align(128))]
struct Part(AtomicI64);

/// A count that many threads change and few read.
pub struct Tally([Part; PARTS]);

/// Bytes of shared binaries.
pub static BINARIES: Tally = Tally::new();
/// Bytes of heaps of processes, and messages.
pub static HEAPS: Tally = Tally::new();

/// Bytes that shared binaries and heaps may take together.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Smaller pieces of memory are not asked about.
const LARGE_BYTES: usize = 16 << 20;

/// Sets how much memory there is: a single large piece that would not fit is then refused, rather
/// than promised by a system that cannot keep its promise.
pub fn set_memory_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Bytes that are left.
pub fn room() -> usize {
    LIMIT.load(Ordering::Relaxed).saturating_sub(BINARIES.sum() + HEAPS.sum())
}

/// Whether there is room for a piece of memory.
#[inline]
pub fn has_room(bytes: usize) -> bool {
    bytes < LARGE_BYTES
        || bytes.saturating_add(BINARIES.sum()).saturating_add(HEAPS.sum())
            <= LIMIT.load(Ordering::Relaxed)
}

static NEXT_PART: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static PART: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Tally {
    /// A count of zero.
    pub const fn new() -> Tally {
        Tally([const { Part(AtomicI64::new(0)) }; PARTS])
    }
    /// Counts up, in the calling thread's part.
    #[inline]
    pub fn add(&self, count: usize) {
        self.change(count as i64);
    }
    /// Counts down, in the calling thread's part; another thread may have counted up.
    #[inline]
    pub fn subtract(&self, count: usize) {
        self.change(-(count as i64));
    }
    #[inline]
    fn change(&self, count: i64) {
        // A thread that is ending counts in the first place.
        let part = PART
            .try_with(|part| {
                if part.get() == usize::MAX {
                    part.set(NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS);
                }
                part.get()
            })
            .unwrap_or(0);
        self.0[part].0.fetch_add(count, Ordering::Relaxed);
    }
    /// The count. Changes under way on other threads may be missing; never below zero.
    pub fn sum(&self) -> usize {
        let sum: i64 = self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum();
        sum.max(0) as usize
    }
}
