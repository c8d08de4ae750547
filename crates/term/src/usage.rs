//! How much memory is used for what, as `erlang:memory/0` tells it.
//!
//! Threads count in different places, so that they do not get in each other's way; the sum is right when
//! nothing moves.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const PARTS: usize = 16;

/// A count on a cache line of its own.
#[repr(align(128))]
struct Part(AtomicI64);

/// Bytes in use for one purpose.
pub struct Usage([Part; PARTS]);

/// Shared binaries.
pub static BINARIES: Usage = Usage([const { Part(AtomicI64::new(0)) }; PARTS]);
/// Heaps of processes, and messages.
pub static HEAPS: Usage = Usage([const { Part(AtomicI64::new(0)) }; PARTS]);

static NEXT_PART: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static PART: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Usage {
    #[inline]
    pub fn add(&self, bytes: usize) {
        self.change(bytes as i64);
    }
    #[inline]
    pub fn subtract(&self, bytes: usize) {
        self.change(-(bytes as i64));
    }
    #[inline]
    fn change(&self, bytes: i64) {
        // A thread that is ending counts in the first place.
        let part = PART
            .try_with(|part| {
                if part.get() == usize::MAX {
                    part.set(NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS);
                }
                part.get()
            })
            .unwrap_or(0);
        self.0[part].0.fetch_add(bytes, Ordering::Relaxed);
    }
    pub fn bytes(&self) -> usize {
        let sum: i64 = self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum();
        sum.max(0) as usize
    }
}
