//! Schedulers whose threads are away for a moment: in input or output that mostly takes
//! microseconds, while processes wait for the scheduler.
//!
//! Handing such work to another thread, and the process back, takes longer than most of it. So the
//! thread does it itself and only notes that it is away. The thread that stands in for pollers
//! ([`Parking::stand_in`](super::parking::Parking::stand_in)) looks every few milliseconds
//! whether one is away that was away at the last look: then a thread of the dirty schedulers
//! becomes that scheduler, and the thread that is away takes its place there once it is back.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The scheduler's thread is there.
const PRESENT: usize = 0;

/// One scheduler.
struct Place {
    /// The number of the absence, or [`PRESENT`].
    away: AtomicUsize,
    /// The last number that was given.
    last: AtomicUsize,
    /// Absences that a thread has ended by taking the scheduler over: their numbers, and the dirty
    /// scheduler that whoever is away is from then on.
    taken: Mutex<Vec<(usize, usize)>>,
}

/// Which schedulers are away: see the head of this file.
pub struct Absences(Box<[Place]>);

/// Absences that were there at a look, by scheduler.
pub type Seen = Vec<usize>;

impl Absences {
    /// For `count` schedulers, all of them there.
    pub fn new(count: usize) -> Absences {
        let place = |_| Place {
            away: AtomicUsize::new(PRESENT),
            last: AtomicUsize::new(PRESENT),
            taken: Mutex::new(Vec::new()),
        };
        Absences((0..count).map(place).collect())
    }

    /// Notes that a scheduler's thread, which is the caller's, is away. Returns the number of the
    /// absence.
    pub fn begin(&self, own: usize) -> usize {
        let place = &self.0[own];
        // Relaxed: one thread at a time is the scheduler.
        let number = place.last.load(Ordering::Relaxed).wrapping_add(1).max(PRESENT + 1);
        place.last.store(number, Ordering::Relaxed);
        place.away.store(number, Ordering::Release);
        number
    }

    /// Ends an absence.
    ///
    /// # Errors
    /// Another thread is the scheduler; the caller's is the dirty scheduler of that number.
    pub fn end(&self, own: usize, number: usize) -> Result<(), usize> {
        let place = &self.0[own];
        let back =
            place.away.compare_exchange(number, PRESENT, Ordering::AcqRel, Ordering::Relaxed);
        if back.is_ok() {
            return Ok(());
        }
        let mut taken = place.taken.lock();
        let at = taken.iter().position(|(which, _)| *which == number);
        Err(taken.swap_remove(at.expect("an absence ends once")).1)
    }

    /// Whether any scheduler is away.
    pub fn are_any(&self) -> bool {
        self.0.iter().any(|place| place.away.load(Ordering::Relaxed) != PRESENT)
    }

    /// Ends the absences that were there at the last look, too, which `seen` holds from look to
    /// look: `reserve` gives the dirty scheduler that takes the place of one, and `take_over` is
    /// called with it and the scheduler, or `release` where the thread is back after all.
    pub fn end_overdue(
        &self,
        seen: &mut Seen,
        reserve: impl Fn() -> Option<usize>,
        release: impl Fn(usize),
        take_over: impl Fn(usize, usize),
    ) {
        seen.resize(self.0.len(), PRESENT);
        for (scheduler, (place, seen)) in self.0.iter().zip(seen).enumerate() {
            let number = place.away.load(Ordering::Relaxed);
            if number == PRESENT || std::mem::replace(seen, number) != number {
                continue;
            }
            let Some(spare) = reserve() else { return };
            let mut taken = place.taken.lock();
            let ended =
                place.away.compare_exchange(number, PRESENT, Ordering::AcqRel, Ordering::Relaxed);
            if ended.is_ok() {
                taken.push((number, spare));
                drop(taken);
                take_over(spare, scheduler);
            } else {
                drop(taken);
                release(spare);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn who_is_away_for_two_looks_is_replaced_and_learns_it() {
        let absences = Absences::new(2);
        let (mut seen, taken) = (Seen::new(), Cell::new(None));
        let mut look = || {
            let take_over = |spare, scheduler| taken.set(Some((spare, scheduler)));
            absences.end_overdue(&mut seen, || Some(7), |_| unreachable!("it is away"), take_over);
            taken.take()
        };
        let first = absences.begin(1);
        assert_eq!(look(), None);
        assert_eq!(absences.end(1, first), Ok(()));
        let second = absences.begin(1);
        assert_eq!(look(), None, "it was there between the looks");
        assert_eq!(look(), Some((7, 1)));
        assert!(!absences.are_any());
        // The thread that has the scheduler now may be away before the first one is back.
        let third = absences.begin(1);
        assert_eq!(absences.end(1, second), Err(7));
        assert!(absences.are_any());
        assert_eq!(absences.end(1, third), Ok(()));
        assert_eq!(look(), None);
    }

    #[test]
    fn who_cannot_be_replaced_stays_away() {
        let absences = Absences::new(1);
        let mut seen = Seen::new();
        let number = absences.begin(0);
        for _ in 0..3 {
            let unused = |_| unreachable!("nobody is in reserve");
            absences.end_overdue(&mut seen, || None, unused, |_, _| unreachable!("as above"));
        }
        assert_eq!(absences.end(0, number), Ok(()));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_scheduler_has_one_thread_after_an_absence() {
        loom::model(|| {
            let (absences, owners) = (Arc::new(Absences::new(1)), Arc::new(AtomicUsize::new(0)));
            let number = absences.begin(0);
            let (other, owns) = (absences.clone(), owners.clone());
            let thread = thread::spawn(move || {
                let mut seen = vec![number];
                let take_over = |spare, scheduler| {
                    assert_eq!((spare, scheduler), (5, 0));
                    owns.fetch_add(1, Ordering::Relaxed);
                };
                other.end_overdue(&mut seen, || Some(5), |spare| assert_eq!(spare, 5), take_over);
            });
            match absences.end(0, number) {
                Ok(()) => drop(owners.fetch_add(1, Ordering::Relaxed)),
                Err(dirty) => assert_eq!(dirty, 5),
            }
            thread.join().expect("it does not panic");
            assert_eq!(owners.load(Ordering::Relaxed), 1);
        });
    }
}
