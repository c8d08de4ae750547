//! Work that a thread puts off until it holds no locks and no terms: destructors of resources run a
//! library's own code, and the last reference to a resource may be dropped anywhere.
//!
//! A scheduler, dirty or not, does it after the turn of a process. Work that other threads put off
//! is done by a thread that exists for it.

use parking_lot::{Condvar, Mutex};
use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

enum Work {
    /// A function and its argument.
    Call(fn(u64), u64),
    Closure(Box<dyn FnOnce() + Send>),
}

impl Work {
    fn run(self) {
        match self {
            Work::Call(work, argument) => work(argument),
            Work::Closure(work) => work(),
        }
    }
}

thread_local! {
    /// Work that this scheduler's thread has put off.
    static MINE: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
    static IS_SCHEDULER: Cell<bool> = const { Cell::new(false) };
    /// Whether `MINE` has any; cheaper to read.
    static PENDING: Cell<bool> = const { Cell::new(false) };
}

/// What other threads have put off.
static OTHERS: (Mutex<Vec<Work>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());
/// Number of pieces of work in [`OTHERS`] that are not done yet.
static OUTSTANDING: AtomicUsize = AtomicUsize::new(0);
static START: Once = Once::new();

/// Marks the calling thread as a scheduler.
pub(crate) fn begin() {
    IS_SCHEDULER.set(true);
}

/// Queues `work(argument)`, to be run soon and without locks held; it may do anything.
pub fn defer(work: fn(u64), argument: u64) {
    let Err(work) = put_off_here(Work::Call(work, argument)) else { return };
    START.call_once(|| {
        std::thread::Builder::new()
            .name("deferred".to_owned())
            .spawn(run_others)
            .expect("there is room for a thread");
    });
    OUTSTANDING.fetch_add(1, Ordering::AcqRel);
    OTHERS.0.lock().push(work);
    OTHERS.1.notify_one();
}

/// Queues `work` for the calling scheduler, after the turn of its process. `false`, and it is
/// dropped, on a thread that is no scheduler.
pub fn defer_to_end_of_turn(work: Box<dyn FnOnce() + Send>) -> bool {
    put_off_here(Work::Closure(work)).is_ok()
}

/// Queues `work` for the calling scheduler; gives it back on a thread that is none.
fn put_off_here(work: Work) -> Result<(), Work> {
    // A thread that is ending has no place of its own any more.
    if !IS_SCHEDULER.try_with(Cell::get).unwrap_or(false) {
        return Err(work);
    }
    let mut work = Some(work);
    let _ = MINE.try_with(|mine| mine.borrow_mut().extend(work.take()));
    match work {
        Some(work) => Err(work),
        None => {
            PENDING.set(true);
            Ok(())
        }
    }
}

/// Does the work that the calling scheduler has put off.
#[inline(always)]
pub fn run() {
    if PENDING.get() {
        run_mine();
    }
}

#[cold]
fn run_mine() {
    // The work may put off more.
    loop {
        let works = MINE.with(RefCell::take);
        if works.is_empty() {
            PENDING.set(false);
            return;
        }
        works.into_iter().for_each(Work::run);
    }
}

fn run_others() {
    loop {
        let works = {
            let mut others = OTHERS.0.lock();
            while others.is_empty() {
                OTHERS.1.wait(&mut others);
            }
            std::mem::take(&mut *others)
        };
        for work in works {
            work.run();
            OUTSTANDING.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Waits until what the calling thread and those of no scheduler have put off so far is done.
pub fn settle() {
    run();
    while OUTSTANDING.load(Ordering::Acquire) > 0 {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    static SUM: AtomicU64 = AtomicU64::new(0);

    fn add(number: u64) {
        SUM.fetch_add(number, Ordering::SeqCst);
    }

    fn add_later(number: u64) {
        defer(add, number);
    }

    #[test]
    fn a_scheduler_does_its_own_and_a_thread_does_that_of_others() {
        begin();
        defer(add_later, 1);
        assert_eq!(SUM.load(Ordering::SeqCst), 0);
        run();
        assert_eq!(SUM.load(Ordering::SeqCst), 1);
        std::thread::spawn(|| defer(add, 10)).join().expect("it does not panic");
        while SUM.load(Ordering::SeqCst) != 11 {
            std::thread::yield_now();
        }
    }
}
