//! Ending work on terms whose result is not wanted any more.
//!
//! A small term that shares its parts can be arbitrarily large when it is walked: comparing,
//! hashing or writing it may take for ever. So each walk over terms counts its steps with [`step`],
//! and every [`STEPS`] steps of a thread its watcher ([`watched`]) is asked whether the work has to
//! end. If so, the stack is unwound up to [`watched`], as by a panic, but without a message: what
//! the work holds is dropped on the way.
//!
//! Therefore a step is taken where everything can be dropped: not between two changes that belong
//! together. Where frames are on the stack that cannot be unwound, such as those of C,
//! [`unwatched`] stands in between.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Steps from one question to the next. A step takes 2 to 20 ns, so the questions are about half a
/// millisecond apart.
pub const STEPS: u32 = 1 << 16;

/// Elements of a flat list or array, words of a binary and the like that count as one step
/// together.
pub const FLAT_PER_STEP: usize = 16;

/// The work was ended by [`Watcher::is_to_end`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

/// The function that decides whether the work of this thread has to end.
#[derive(Clone, Copy)]
pub struct Watcher {
    pub is_to_end: fn(*const ()) -> bool,
    /// The argument of `is_to_end`.
    pub subject: *const (),
}

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(STEPS) };
    /// Null when there is none. It lies in the frame of [`watched`].
    static WATCHER: Cell<*const Watcher> = const { Cell::new(std::ptr::null()) };
}

/// Counts one step of a walk.
#[inline(always)]
pub fn step() {
    steps(1);
}

/// Counts several steps at once.
#[inline(always)]
pub fn steps(count: u32) {
    let left = LEFT.get();
    if left > count {
        LEFT.set(left - count);
    } else {
        ask();
    }
}

/// Counts work on `words` words of a flat array.
#[inline]
pub fn flat(words: usize) {
    if words >= FLAT_PER_STEP {
        steps(u32::try_from(words / FLAT_PER_STEP).unwrap_or(u32::MAX));
    }
}

#[cold]
#[inline(never)]
fn ask() {
    LEFT.set(STEPS);
    // SAFETY: the frame of `watched` that it lies in puts the one before back before it goes.
    if let Some(watcher) = unsafe { WATCHER.get().as_ref() }
        && (watcher.is_to_end)(watcher.subject)
    {
        resume_unwind(Box::new(Stopped));
    }
}

/// Restores the watcher that was there before.
struct Before(*const Watcher);

impl Drop for Before {
    #[inline]
    fn drop(&mut self) {
        WATCHER.set(self.0);
    }
}

/// Runs work that ends early when `watcher` says so.
///
/// # Errors
/// When it did. Changes that the work has made are left as they were at that step.
pub fn watched<R>(watcher: Watcher, work: impl FnOnce() -> R) -> Result<R, Stopped> {
    let before = Before(WATCHER.replace(&raw const watcher));
    let result = catch_unwind(AssertUnwindSafe(work));
    drop(before);
    result.map_err(|payload| if payload.is::<Stopped>() { Stopped } else { resume_unwind(payload) })
}

/// Runs work that is not asked to end.
#[inline]
pub fn unwatched<R>(work: impl FnOnce() -> R) -> R {
    let _before = Before(WATCHER.replace(std::ptr::null()));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alloc, FragmentHeap, Term, compare, equal, equal_exact, etf, hash, print};
    use std::time::{Duration, Instant};

    /// `2^levels` pairs when it is walked.
    fn shared(heap: &mut FragmentHeap, levels: usize, last: i64) -> Term {
        (0..levels).fold(Term::small(last), |term, _| heap.tuple(&[term, term]))
    }

    fn lists(heap: &mut FragmentHeap, levels: usize, last: i64) -> Term {
        (0..levels).fold(Term::small(last), |term, _| {
            let tail = heap.cons(term, Term::NIL);
            heap.cons(term, tail)
        })
    }

    /// As maps, small and large.
    fn maps(heap: &mut FragmentHeap, levels: usize, size: i64) -> Term {
        (0..levels).fold(Term::NIL, |term, _| {
            let pairs: Vec<_> = (0..size).map(|key| (Term::small(key), term)).collect();
            let none = crate::map::empty(heap);
            crate::map::put_all(heap, none, &pairs)
        })
    }

    fn stops(what: &str, work: impl FnOnce()) {
        let deadline = Instant::now() + Duration::from_millis(20);
        let is_over = |deadline: *const ()| {
            // SAFETY: it is the variable above, which outlives the work.
            Instant::now() > unsafe { *deadline.cast::<Instant>() }
        };
        let started = Instant::now();
        let result =
            watched(Watcher { is_to_end: is_over, subject: (&raw const deadline).cast() }, work);
        assert_eq!(result, Err(Stopped), "{what} has ended by itself");
        assert!(started.elapsed() < Duration::from_secs(5), "{what} took {:?}", started.elapsed());
        assert!(WATCHER.get().is_null());
    }

    #[test]
    fn bitstrings_of_different_sizes_differ_without_a_step() {
        let heap = &mut FragmentHeap::new();
        let large = heap.binary(&vec![0; (STEPS as usize * FLAT_PER_STEP + 1) * 8]);
        let (same, small) =
            (heap.binary(&large.as_bits().expect("bits").to_bytes()), heap.binary(b""));
        let at_once = Watcher { is_to_end: |_| true, subject: std::ptr::null() };
        LEFT.set(STEPS);
        assert_eq!(watched(at_once, || equal_exact(large, small)), Ok(false));
        assert_eq!(watched(at_once, || equal(small, large)), Ok(false));
        assert_eq!(LEFT.get(), STEPS);
        assert_eq!(watched(at_once, || equal_exact(large, same)), Err(Stopped));
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    fn walks_that_would_take_for_ever_can_be_ended() {
        let mut heap = FragmentHeap::new();
        let shapes: [(&str, fn(&mut FragmentHeap) -> Term); 4] = [
            ("tuples", |heap| shared(heap, 60, 1)),
            ("lists", |heap| lists(heap, 60, 1)),
            ("flat maps", |heap| maps(heap, 60, 3)),
            ("hash maps", |heap| maps(heap, 30, 100)),
        ];
        for (shape, make) in shapes {
            let (a, b) = (make(&mut heap), make(&mut heap));
            stops(&format!("=:= of {shape}"), || {
                std::hint::black_box(equal_exact(a, b));
            });
            stops(&format!("== of {shape}"), || {
                std::hint::black_box(equal(a, b));
            });
            stops(&format!("compare {shape}"), || {
                std::hint::black_box(compare(a, b));
            });
            stops(&format!("phash2 of {shape}"), || {
                std::hint::black_box(hash::phash2_within(a, usize::MAX));
            });
            stops(&format!("phash of {shape}"), || {
                std::hint::black_box(hash::phash(a, 10));
            });
            stops(&format!("hash of {shape}"), || {
                std::hint::black_box(hash::internal_hash(a));
            });
            stops(&format!("size of {shape}"), || {
                std::hint::black_box(etf::external_size(
                    a,
                    &etf::EncodeOptions::default(),
                    usize::MAX,
                ));
            });
            stops(&format!("print {shape}"), || {
                std::hint::black_box(print::display(a).to_string());
            });
        }
    }

    #[test]
    fn what_is_unwatched_goes_on() {
        let mut heap = FragmentHeap::new();
        let (a, b) = (shared(&mut heap, 20, 1), shared(&mut heap, 20, 1));
        let always = Watcher { is_to_end: |_| true, subject: std::ptr::null() };
        assert_eq!(watched(always, || unwatched(|| equal(a, b))), Ok(true));
        assert_eq!(watched(always, || equal(a, b)), Err(Stopped));
        assert_eq!(watched(always, || 1), Ok(1));
    }
}
