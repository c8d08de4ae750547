//! Counting without contention, and how much memory is used for what, as `erlang:memory/0` tells
//! it.
//!
//! Threads count in different places, so that they do not get in each other's way; the sum is right
//! when nothing moves.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const PARTS: usize = 16;

/// A part looks at the sum when it has moved by so much since it last did.
const STEP: i64 = 1 << 16;

/// A count on a cache line of its own.
#[repr(align(128))]
struct Part {
    count: AtomicI64,
    /// The count at which it last looked at the sum.
    looked: AtomicI64,
}

/// A count that many threads change and few read, and the largest that it was: to within [`STEP`]
/// for each part.
pub struct Tally {
    parts: [Part; PARTS],
    largest: AtomicUsize,
    largest_lately: AtomicUsize,
}

/// How large something is and was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub now: usize,
    /// The largest since somebody last asked.
    pub largest_lately: usize,
    pub largest: usize,
}

/// Bytes of shared binaries.
pub static BINARIES: Tally = Tally::new();
/// Bytes of heaps of processes, and messages.
pub static HEAPS: Tally = Tally::new();
/// Bytes of literals of modules and of persistent terms.
pub static LITERALS: Tally = Tally::new();
/// Bytes of objects in tables, in steps: for the largest sum, not for how many there are now.
pub static TABLES: Tally = Tally::new();

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
        Tally {
            parts: [const { Part { count: AtomicI64::new(0), looked: AtomicI64::new(0) } }; PARTS],
            largest: AtomicUsize::new(0),
            largest_lately: AtomicUsize::new(0),
        }
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
    /// Counts up or down.
    #[inline]
    pub fn change(&self, count: i64) {
        // A thread that is ending counts in the first place.
        let part = PART
            .try_with(|part| {
                if part.get() == usize::MAX {
                    part.set(NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS);
                }
                part.get()
            })
            .unwrap_or(0);
        let part = &self.parts[part];
        let now = part.count.fetch_add(count, Ordering::Relaxed) + count;
        let looked = part.looked.load(Ordering::Relaxed);
        if now.abs_diff(looked) >= STEP as u64 {
            part.looked.store(now, Ordering::Relaxed);
            self.look();
        }
    }
    #[cold]
    fn look(&self) {
        let sum = self.sum();
        // Mostly it is no news, and the line stays where it is read.
        for largest in [&self.largest, &self.largest_lately] {
            if sum > largest.load(Ordering::Relaxed) {
                largest.fetch_max(sum, Ordering::Relaxed);
            }
        }
    }
    /// The count. Changes under way on other threads may be missing; never below zero.
    pub fn sum(&self) -> usize {
        let sum: i64 = self.parts.iter().map(|part| part.count.load(Ordering::Relaxed)).sum();
        sum.max(0) as usize
    }
    /// The extent of what is `now` so large, by the tally or by a better count.
    pub fn extent(&self, now: usize) -> Extent {
        let lately = self.largest_lately.swap(now, Ordering::Relaxed);
        let largest = self.largest.fetch_max(now, Ordering::Relaxed);
        Extent { now, largest_lately: lately.max(now), largest: largest.max(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sum_is_kept() {
        let tally = Tally::new();
        tally.add(10 << 20);
        tally.subtract(9 << 20);
        let extent = tally.extent(tally.sum());
        let (one, ten) = (1 << 20, 10 << 20);
        assert_eq!(extent, Extent { now: one, largest_lately: ten, largest: ten });
        // In small pieces, and with more than there is now forgotten.
        (0..2048).for_each(|_| tally.add(1024));
        tally.subtract(2 << 20);
        let extent = tally.extent(tally.sum());
        assert_eq!((extent.now, extent.largest), (one, ten));
        assert!(extent.largest_lately.abs_diff(3 << 20) <= STEP as usize, "{extent:?}");
        assert_eq!(tally.extent(5).largest_lately, one);
    }

    #[test]
    fn what_several_threads_count_adds_up() {
        let tally = Tally::new();
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..64).for_each(|_| tally.add(1 << 16)));
                }
            });
            assert_eq!(tally.sum(), 16 << 20);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..128).for_each(|_| tally.subtract(1 << 16)));
                }
            });
            let extent = tally.extent(tally.sum());
            assert_eq!(extent.now, 0);
            assert!(extent.largest.abs_diff(16 << 20) <= PARTS << 16, "{extent:?}");
        }
    }
}
