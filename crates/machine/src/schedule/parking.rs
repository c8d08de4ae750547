//! Where idle schedulers sleep.
//!
//! Guarantees: a thread that puts work in place and then calls [`Parking::wake`] for a scheduler
//! can rely on that scheduler looking for work after that. [`Parking::wake_one`] promises nothing:
//! it is for work that its caller does itself unless another thread is quicker.
//!
//! The sleeper announces itself and then looks for work once more; the waker puts work in place and
//! then looks for an announcement. Fences between the two steps on either side keep both from
//! missing the other.
//!
//! An idle scheduler lends its thread to work that may block ([`Parking::lend`]). It is announced
//! the same way, but then the waker has to find another thread for the scheduler. The thread or
//! waker that first takes the announcement away has the scheduler. It may be lent again before the
//! first thread is back: each announcement has a number, by which a thread knows its own.
//!
//! One sleeping scheduler waits for descriptors meanwhile ([`Poll`]): an event wakes it without
//! another thread in between. One thread at a time polls, asleep or, between two turns, for a look
//! ([`Parking::look`]). When none has polled for a while, since all are in long turns, a separate
//! thread stands in ([`Parking::stand_in`]).

use super::absence::{Absences, Seen};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};
use crate::vm::Vm;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a scheduler sleeps before it does the work that it puts off while busy.
const A_WHILE: Duration = Duration::from_millis(100);

const NOT_LENT: usize = usize::MAX;

/// Values of [`Parking::poller`] that are no scheduler: no thread polls, or the one that stands in.
const NOBODY: usize = usize::MAX;
const STAND_IN: usize = usize::MAX - 1;
/// How long descriptors may be unwatched before a thread stands in.
const UNWATCHED_MAX: Duration = Duration::from_millis(5);
/// The thread that would stand in sleeps once the same scheduler has polled without events for this
/// many times [`UNWATCHED_MAX`].
const QUIET_MAX: u32 = 20;

/// Waits for events on descriptors, in one thread at a time.
pub trait Poll: Send + Sync {
    /// Waits for events, which are kept for the calling thread; `None`: without a time limit.
    /// Returns whether the time was over.
    fn wait(&self, at_most: Option<Duration>) -> bool;
    /// Looks for events again and again for a moment, if they have come so soon of late that a
    /// sleep would cost more. Returns whether there were any, or [`interrupt`](Self::interrupt) was
    /// called.
    fn spin(&self) -> bool {
        false
    }
    /// Ends the wait of the thread that waits, or else the next wait.
    fn interrupt(&self);
    /// Handles the events of the calling thread's last wait.
    fn act(&self, vm: &'static Vm);
}

/// A scheduler that was lent, and that another thread has to run now.
#[derive(Debug, PartialEq, Eq)]
pub struct Lent {
    pub scheduler: usize,
    /// The number that it was lent under.
    pub number: usize,
}

struct ParkingPlace {
    /// Its scheduler sleeps, or is about to, until there is work.
    sleeping: AtomicBool,
    /// Its scheduler is not online: it sleeps until it is.
    standing_by: AtomicBool,
    /// Its thread does work that may block, and another may take the scheduler over: the number it
    /// was lent under. Otherwise [`NOT_LENT`].
    lent: AtomicUsize,
    woken: Mutex<bool>,
    changed: Condvar,
}

/// Where idle schedulers sleep, and which thread polls descriptors: see the head of this file.
pub struct Parking {
    places: Box<[ParkingPlace]>,
    sleepers: AtomicU32,
    poll: OnceLock<&'static dyn Poll>,
    /// The thread that polls: a scheduler, [`STAND_IN`] or [`NOBODY`].
    poller: AtomicUsize,
    /// How often a thread has polled.
    polls: AtomicUsize,
    /// The thread that stands in sleeps until nobody polls.
    stand_in_sleeps: AtomicBool,
    stand_in: (Mutex<()>, Condvar),
    /// Schedulers that are away: see [`Parking::leave`].
    pub absences: Absences,
}

impl Parking {
    /// For `count` schedulers, all of them awake.
    pub fn new(count: usize) -> Parking {
        let place = |_| ParkingPlace {
            sleeping: AtomicBool::new(false),
            standing_by: AtomicBool::new(false),
            lent: AtomicUsize::new(NOT_LENT),
            woken: Mutex::new(false),
            changed: Condvar::new(),
        };
        Parking {
            places: (0..count).map(place).collect(),
            sleepers: AtomicU32::new(0),
            poll: OnceLock::new(),
            poller: AtomicUsize::new(NOBODY),
            polls: AtomicUsize::new(0),
            stand_in_sleeps: AtomicBool::new(false),
            stand_in: (Mutex::new(()), Condvar::new()),
            absences: Absences::new(count),
        }
    }

    /// Makes a scheduler look for work that was there before the call. If it was lent, the caller
    /// has to let another thread run it.
    #[must_use]
    pub fn wake(&self, at: usize) -> Option<Lent> {
        // SeqCst: pairs with the fence of the sleeper. Either it sees the work, or we see it
        // sleeping.
        fence(Ordering::SeqCst);
        let place = &self.places[at];
        if place.sleeping.load(Ordering::Relaxed) || place.standing_by.load(Ordering::Relaxed) {
            let mut woken = place.woken.lock();
            *woken = true;
            place.changed.notify_one();
            // Relaxed: it was set before `woken` was looked at under the lock.
            if self.poller.load(Ordering::Relaxed) == at
                && let Some(poll) = self.poll.get()
            {
                poll.interrupt();
            }
        }
        if place.lent.load(Ordering::Relaxed) == NOT_LENT {
            return None;
        }
        let number = place.lent.swap(NOT_LENT, Ordering::AcqRel);
        (number != NOT_LENT).then(|| {
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            Lent { scheduler: at, number }
        })
    }

    /// Whether a scheduler sleeps or is lent, as far as the caller sees.
    #[inline]
    pub fn has_sleepers(&self) -> bool {
        // Relaxed: as for `wake_one`.
        self.sleepers.load(Ordering::Relaxed) > 0
    }

    /// Wakes a sleeping scheduler, if one is seen, to take some of the work. If it was lent, the
    /// caller has to let another thread run it.
    #[inline]
    #[must_use]
    pub fn wake_one(&self) -> Option<Lent> {
        // Relaxed: a sleeper that is missed finds the work itself, or its owner does it.
        if !self.has_sleepers() {
            return None;
        }
        let is_asleep = |at: &usize| self.places[*at].sleeping.load(Ordering::Relaxed);
        // The thread that polls had better go on with it.
        let poller = self.poller.load(Ordering::Relaxed);
        let others = (0..self.places.len()).filter(|at| *at != poller);
        let lent =
            || self.places.iter().position(|place| place.lent.load(Ordering::Relaxed) != NOT_LENT);
        let poller = || Some(poller).filter(|at| *at < self.places.len() && is_asleep(at));
        self.wake(others.clone().find(is_asleep).or_else(poller).or_else(lent)?)
    }

    /// Announces that a scheduler's thread does work that may block, until [`Parking::take_back`].
    /// No other scheduler is lent under `number` meanwhile. `false`: it is not lent, as there is
    /// work for the scheduler; `idle` looks whether there is none.
    pub fn lend(&self, own: usize, number: usize, idle: impl FnOnce() -> bool) -> bool {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        self.places[own].lent.store(number, Ordering::Relaxed);
        // SeqCst: pairs with the fence of the waker.
        fence(Ordering::SeqCst);
        idle() || !self.take_back(own, number)
    }

    /// Ends that a scheduler is lent. `false` when another thread has the scheduler.
    pub fn take_back(&self, own: usize, number: usize) -> bool {
        let is_back = self.places[own]
            .lent
            .compare_exchange(number, NOT_LENT, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if is_back {
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
        is_back
    }

    /// Notes that a scheduler's thread, which is the caller's, is away for work that mostly takes
    /// microseconds, until it ends the absence. Returns the absence's number.
    pub fn leave(&self, own: usize) -> usize {
        let number = self.absences.begin(own);
        // SeqCst: pairs with the fence of the thread that stands in, which is about to sleep.
        fence(Ordering::SeqCst);
        if self.stand_in_sleeps.load(Ordering::Relaxed) {
            self.wake_stand_in();
        }
        number
    }

    /// Sleeps until it is woken, unless there is work: `idle` looks whether there is none. After
    /// [`A_WHILE`] it calls `when_idle` and sleeps on. Returns the poller if this thread has
    /// polled: its events are to be handled.
    pub fn sleep(
        &self,
        own: usize,
        idle: impl FnOnce() -> bool,
        when_idle: impl FnOnce(),
    ) -> Option<&'static dyn Poll> {
        let place = &self.places[own];
        let poll = self.begin_polling(own);
        let mut woken = place.woken.lock();
        place.sleeping.store(true, Ordering::Relaxed);
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: pairs with the fence of the waker.
        fence(Ordering::SeqCst);
        if idle() && !*woken {
            if let Some(poll) = poll {
                // A waker interrupts the wait from here on.
                drop(woken);
                if !poll.spin() && poll.wait(Some(A_WHILE)) {
                    when_idle();
                    poll.wait(None);
                }
                woken = place.woken.lock();
            } else if place.changed.wait_for(&mut woken, A_WHILE).timed_out() {
                drop(woken);
                when_idle();
                woken = place.woken.lock();
                if !*woken {
                    place.changed.wait(&mut woken);
                }
            }
        }
        *woken = false;
        place.sleeping.store(false, Ordering::Relaxed);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        drop(woken);
        self.end_polling(poll);
        poll
    }

    /// Sets the poller, which idle schedulers wait in from now on. The first one counts.
    pub fn set_poll(&self, poll: &'static dyn Poll) {
        let _ = self.poll.set(poll);
    }

    /// Polls without waiting, unless another thread polls. Returns the poller, whose events are to
    /// be handled.
    pub fn look(&self, own: usize) -> Option<&'static dyn Poll> {
        let poll = self.begin_polling(own)?;
        poll.wait(Some(Duration::ZERO));
        self.end_polling(Some(poll));
        Some(poll)
    }

    /// Whether there are descriptors to wait for.
    #[inline]
    pub fn has_poll(&self) -> bool {
        self.poll.get().is_some()
    }

    fn begin_polling(&self, as_who: usize) -> Option<&'static dyn Poll> {
        let poll = *self.poll.get()?;
        let is_free = self.poller.load(Ordering::Relaxed) == NOBODY;
        (is_free
            && self
                .poller
                .compare_exchange(NOBODY, as_who, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok())
        .then_some(poll)
    }

    fn end_polling(&self, poll: Option<&'static dyn Poll>) {
        if poll.is_none() {
            return;
        }
        // Only the thread that polls writes the count.
        self.polls.store(self.polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.poller.store(NOBODY, Ordering::Release);
        // SeqCst: pairs with the fence of the thread that stands in, which is about to sleep.
        fence(Ordering::SeqCst);
        if self.stand_in_sleeps.load(Ordering::Relaxed) {
            self.wake_stand_in();
        }
    }

    /// Polls as long as no scheduler does, and handles events by `act`; `wake` then wakes a
    /// scheduler that may poll. Calls `look_after` every few milliseconds, for schedulers that are
    /// away. Sleeps while the same scheduler polls for long and none is away, and does nothing
    /// while `is_frozen` says so. Returns when `is_to_end` says so.
    pub fn stand_in(
        &self,
        act: impl Fn(&'static dyn Poll),
        wake: impl Fn(),
        look_after: impl Fn(&mut Seen),
        is_frozen: impl Fn() -> bool,
        is_to_end: impl Fn() -> bool,
    ) {
        let (mut seen, mut quiet, mut away) = (0, 0, Seen::new());
        while !is_to_end() {
            std::thread::sleep(UNWATCHED_MAX);
            if is_frozen() {
                continue;
            }
            look_after(&mut away);
            let polls = self.polls.load(Ordering::Relaxed);
            let has_changed = std::mem::replace(&mut seen, polls) != polls;
            quiet = if has_changed { 0 } else { quiet + 1 };
            if self.poller.load(Ordering::Relaxed) != NOBODY {
                if quiet >= QUIET_MAX {
                    self.sleep_while_polled();
                    quiet = 0;
                }
            } else if !has_changed && let Some(poll) = self.begin_polling(STAND_IN) {
                poll.wait(Some(UNWATCHED_MAX));
                self.end_polling(Some(poll));
                act(poll);
                wake();
            }
        }
    }

    /// Makes the thread that stands in look whether it has to end, or somebody is away.
    pub fn wake_stand_in(&self) {
        let _guard = self.stand_in.0.lock();
        self.stand_in_sleeps.store(false, Ordering::Relaxed);
        self.stand_in.1.notify_one();
    }

    fn sleep_while_polled(&self) {
        let mut guard = self.stand_in.0.lock();
        self.stand_in_sleeps.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fences of the thread that has polled and of one that leaves.
        fence(Ordering::SeqCst);
        while self.poller.load(Ordering::Relaxed) != NOBODY
            && self.stand_in_sleeps.load(Ordering::Relaxed)
            && !self.absences.are_any()
        {
            self.stand_in.1.wait(&mut guard);
        }
        self.stand_in_sleeps.store(false, Ordering::Relaxed);
    }

    /// Sleeps until it is woken, unless `offline` finds that the scheduler is to go on. Work alone
    /// does not end the sleep: it is for other schedulers.
    pub fn stand_by(&self, own: usize, offline: impl FnOnce() -> bool) {
        let place = &self.places[own];
        let mut woken = place.woken.lock();
        place.standing_by.store(true, Ordering::Relaxed);
        // SeqCst: as above.
        fence(Ordering::SeqCst);
        if offline() && !*woken {
            place.changed.wait(&mut woken);
        }
        *woken = false;
        place.standing_by.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    struct Model {
        parking: Parking,
        /// Pieces of work that lie there, as the lengths of the run queues.
        work: AtomicUsize,
    }

    impl Model {
        fn new(schedulers: usize) -> Arc<Model> {
            Arc::new(Model { parking: Parking::new(schedulers), work: AtomicUsize::new(0) })
        }
        fn take(&self) -> bool {
            let work = self.work.load(Ordering::Relaxed);
            work > 0
                && self
                    .work
                    .compare_exchange(work, work - 1, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
        }
        /// A scheduler that goes to sleep until it gets `count` pieces of work.
        fn scheduler(model: &Arc<Model>, own: usize, count: usize) -> thread::JoinHandle<()> {
            let model = model.clone();
            thread::spawn(move || {
                let mut done = 0;
                while done < count {
                    if model.take() {
                        done += 1;
                    } else {
                        let _ = model.parking.sleep(
                            own,
                            || model.work.load(Ordering::Relaxed) == 0,
                            || (),
                        );
                    }
                }
            })
        }
    }

    // A wake-up that is lost shows as a thread that sleeps for ever, which loom reports.

    #[test]
    fn loom_who_is_given_work_does_not_sleep() {
        loom::model(|| {
            let model = Model::new(1);
            let scheduler = Model::scheduler(&model, 0, 1);
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(0), None);
            scheduler.join().expect("no thread panics");
        });
    }

    /// A poll without descriptors: its wait ends when it is interrupted.
    struct Interruptible {
        interrupted: Mutex<bool>,
        changed: Condvar,
    }

    impl Poll for Interruptible {
        fn wait(&self, at_most: Option<Duration>) -> bool {
            let mut interrupted = self.interrupted.lock();
            while !*interrupted && at_most != Some(Duration::ZERO) {
                self.changed.wait(&mut interrupted);
            }
            !std::mem::replace(&mut *interrupted, false)
        }
        fn interrupt(&self) {
            *self.interrupted.lock() = true;
            self.changed.notify_one();
        }
        fn act(&self, _: &'static Vm) {}
    }

    fn with_poll(model: &Arc<Model>) {
        model.parking.set_poll(Box::leak(Box::new(Interruptible {
            interrupted: Mutex::new(false),
            changed: Condvar::new(),
        })));
    }

    #[test]
    fn loom_who_polls_is_given_work_and_does_not_sleep() {
        loom::model(|| {
            let model = Model::new(1);
            with_poll(&model);
            let scheduler = Model::scheduler(&model, 0, 1);
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(0), None);
            scheduler.join().expect("no thread panics");
        });
    }

    #[test]
    fn loom_who_looks_between_leaves_it_to_poll_again() {
        loom::model(|| {
            let model = Model::new(2);
            with_poll(&model);
            let scheduler = Model::scheduler(&model, 0, 1);
            let _ = model.parking.look(1);
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(0), None);
            scheduler.join().expect("no thread panics");
            assert!(model.parking.begin_polling(1).is_some(), "nobody polls any more");
        });
    }

    #[test]
    fn loom_two_pieces_of_work_from_two_sides() {
        loom::model(|| {
            let model = Model::new(1);
            let scheduler = Model::scheduler(&model, 0, 2);
            let other = model.clone();
            let giver = thread::spawn(move || {
                other.work.fetch_add(1, Ordering::Relaxed);
                assert_eq!(other.parking.wake(0), None);
            });
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(0), None);
            giver.join().expect("no thread panics");
            scheduler.join().expect("no thread panics");
        });
    }

    #[test]
    fn loom_work_for_one_of_two_is_done_by_its_owner_or_a_thief() {
        loom::model(|| {
            let model = Model::new(2);
            // Scheduler 1 takes what it finds once; scheduler 0 has the work, and does what is
            // left.
            let other = model.clone();
            let thief = thread::spawn(move || {
                if !other.take() {
                    let _ =
                        other.parking.sleep(1, || other.work.load(Ordering::Relaxed) == 0, || ());
                    other.take();
                }
            });
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake_one(), None);
            while model.take() {}
            assert_eq!(model.work.load(Ordering::Relaxed), 0);
            // The thief may have missed it; it is woken for good, so that the model ends.
            model.work.fetch_add(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(1), None);
            thief.join().expect("no thread panics");
        });
    }

    /// A thread that has the only scheduler: it lends it, under that number, and does the work
    /// there is if it gets it back.
    fn lender(model: &Model, number: usize) {
        let idle = || model.work.load(Ordering::Relaxed) == 0;
        if !model.parking.lend(0, number, idle) || model.parking.take_back(0, number) {
            while !model.take() {
                let _ = model.parking.sleep(0, idle, || ());
            }
        }
    }

    #[test]
    fn loom_who_is_lent_is_taken_over_for_work_or_goes_on() {
        loom::model(|| {
            let model = Model::new(1);
            let other = model.clone();
            let thread = thread::spawn(move || lender(&other, 1));
            model.work.fetch_add(1, Ordering::Relaxed);
            // The thread that takes it over is the scheduler, and does the work.
            if let Some(lent) = model.parking.wake(0) {
                assert_eq!(lent, Lent { scheduler: 0, number: 1 });
                assert!(model.take());
            }
            thread.join().expect("no thread panics");
            assert_eq!(model.work.load(Ordering::Relaxed), 0);
            assert!(!model.parking.has_sleepers());
        });
    }

    #[test]
    fn loom_who_is_back_late_does_not_take_what_was_lent_since() {
        loom::model(|| {
            let model = Model::new(1);
            let (other, has) = (model.clone(), Arc::new(AtomicUsize::new(0)));
            let had = has.clone();
            let thread = thread::spawn(move || {
                if other.parking.lend(0, 1, || true) && other.parking.take_back(0, 1) {
                    had.fetch_add(1, Ordering::Relaxed);
                }
            });
            let taken = model.parking.wake(0).is_some();
            if taken && model.parking.lend(0, 2, || true) {
                thread.join().expect("no thread panics");
                assert!(model.parking.take_back(0, 2), "nobody else took it over");
            } else {
                thread.join().expect("no thread panics");
            }
            assert_eq!(has.load(Ordering::Relaxed) == 1, !taken, "one has it");
        });
    }

    #[test]
    fn loom_who_comes_online_does_not_stand_by() {
        loom::model(|| {
            let model = Model::new(1);
            let other = model.clone();
            // The "work" is being online.
            let scheduler = thread::spawn(move || {
                while other.work.load(Ordering::Relaxed) == 0 {
                    other.parking.stand_by(0, || other.work.load(Ordering::Relaxed) == 0);
                }
            });
            model.work.store(1, Ordering::Relaxed);
            assert_eq!(model.parking.wake(0), None);
            scheduler.join().expect("no thread panics");
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    /// Its waits end when their time is over, or when it is interrupted.
    #[derive(Default)]
    struct Counting {
        waits: AtomicUsize,
        interrupted: parking_lot::Mutex<bool>,
        changed: parking_lot::Condvar,
    }

    impl Poll for Counting {
        fn wait(&self, at_most: Option<Duration>) -> bool {
            self.waits.fetch_add(1, Ordering::SeqCst);
            let mut interrupted = self.interrupted.lock();
            if !*interrupted {
                match at_most {
                    Some(time) => drop(self.changed.wait_for(&mut interrupted, time)),
                    None => self.changed.wait(&mut interrupted),
                }
            }
            !std::mem::replace(&mut *interrupted, false)
        }
        fn interrupt(&self) {
            *self.interrupted.lock() = true;
            self.changed.notify_one();
        }
        fn act(&self, _: &'static Vm) {}
    }

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_thread_stands_in_while_nobody_polls_and_sleeps_while_somebody_does() {
        let poll: &'static Counting = Box::leak(Box::default());
        let parking = Arc::new(Parking::new(1));
        parking.set_poll(poll);
        let acted = Arc::new(AtomicUsize::new(0));
        let (place, counter) = (parking.clone(), acted.clone());
        std::thread::spawn(move || {
            let count = |_| {
                counter.fetch_add(1, Ordering::SeqCst);
            };
            place.stand_in(count, || drop(place.wake_one()), |_| (), || false, || false);
        });
        wait_until("the thread polls", || acted.load(Ordering::SeqCst) >= 2);
        // A scheduler that sleeps polls instead.
        let place = parking.clone();
        let scheduler =
            std::thread::spawn(move || while place.sleep(0, || true, || ()).is_none() {});
        wait_until("the thread sleeps", || parking.stand_in_sleeps.load(Ordering::SeqCst));
        let before = (acted.load(Ordering::SeqCst), poll.waits.load(Ordering::SeqCst));
        std::thread::sleep(UNWATCHED_MAX * 4);
        assert_eq!(
            (acted.load(Ordering::SeqCst), poll.waits.load(Ordering::SeqCst)),
            before,
            "all is quiet"
        );
        assert_eq!(parking.wake(0), None);
        scheduler.join().expect("it does not panic");
        wait_until("the thread stands in again", || acted.load(Ordering::SeqCst) > before.0);
    }
}
