//! Where a process is in its life, in one word that schedulers and senders change.
//!
//! Guarantees: a process is in at most one run queue or runs in one place; and a sender that first
//! puts a signal in place and then calls [`RunState::wake`] can rely on the process looking at its
//! signals after that.
//!
//! Every change is a read-modify-write, never a plain store, and a sender never decides by a plain
//! load: so all changes stand in one order, each sees all that came before it, and neither side
//! needs a fence.

use crate::sync::atomic::{AtomicU8, Ordering};

/// Waiting for a signal.
pub const WAITING: u8 = 0;
/// In a run queue.
pub const QUEUED: u8 = WAITING | SIGNALLED;
/// Running on a scheduler, or waiting for a dirty one or running there.
pub const RUNNING: u8 = 2;
/// Running, and a signal has arrived since it last looked.
pub const NOTIFIED: u8 = RUNNING | SIGNALLED;
/// Gone; nobody wakes it any more.
pub const EXITED: u8 = 4;

/// Set by a sender in any state: a process that waited is then to be queued, one that runs must not
/// begin to wait.
const SIGNALLED: u8 = 1;

/// The state of one process: see the head of this file.
pub struct RunState(AtomicU8);

impl RunState {
    /// A new process stands in a queue.
    pub fn queued() -> RunState {
        RunState(AtomicU8::new(QUEUED))
    }

    /// One of the constants above, as it was a moment ago.
    pub fn load(&self) -> u8 {
        match self.0.load(Ordering::Acquire) {
            gone if gone >= EXITED => EXITED,
            state => state,
        }
    }

    /// Notes that there is a signal. `true`: the process waited, and the caller has to put it into
    /// a run queue.
    #[inline]
    #[must_use]
    pub fn wake(&self) -> bool {
        // Release: the signal that was put in place before is seen by whoever runs the process
        // after. Acquire: the process as it was left when it began to wait goes along into the
        // queue.
        self.0.fetch_or(SIGNALLED, Ordering::AcqRel) == WAITING
    }

    /// The process was taken out of a run queue, and its turn begins: it looks at its signals next.
    #[inline]
    pub fn run(&self) {
        // Acquire: all signals whose senders found it in the queue are seen. A swap, so that a
        // sender that comes after finds it running.
        let before = self.0.swap(RUNNING, Ordering::AcqRel);
        debug_assert_eq!(before, QUEUED, "a process runs once it is taken out of a queue");
    }

    /// Its turn is over; the caller puts it into a run queue next.
    #[inline]
    pub fn requeue(&self) {
        // A notice that came meanwhile is overwritten, and passed on: the next turn looks at the
        // signals anyway.
        self.0.swap(QUEUED, Ordering::AcqRel);
    }

    /// Begins to wait. `false`: a signal has come since the process last looked, and it goes on
    /// running.
    #[inline]
    #[must_use]
    pub fn wait(&self) -> bool {
        // Release: the thread that wakes it gets it as it is left here.
        if self.0.compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.0.swap(RUNNING, Ordering::AcqRel);
        false
    }

    /// It is gone.
    pub fn exit(&self) {
        self.0.swap(EXITED, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_queued_once_however_many_wake_it() {
        let state = RunState::queued();
        assert!(!state.wake(), "it is in a queue already");
        state.run();
        assert!(state.wait());
        assert_eq!(state.load(), WAITING);
        assert!(state.wake());
        assert!(!state.wake());
        assert_eq!(state.load(), QUEUED);
    }

    #[test]
    fn who_was_notified_does_not_wait() {
        let state = RunState::queued();
        state.run();
        assert!(!state.wake(), "it runs");
        assert_eq!(state.load(), NOTIFIED);
        assert!(!state.wait());
        assert_eq!(state.load(), RUNNING);
        assert!(state.wait());
    }

    #[test]
    fn nobody_wakes_the_dead() {
        let state = RunState::queued();
        state.run();
        state.exit();
        assert!(!state.wake());
        assert_eq!(state.load(), EXITED);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::signal::incoming::tests::{Node, values};
    use crate::signal::incoming::{Incoming, Pushed};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// A process with its signals, the run queues (how often it stands in them), and what only its
    /// turn may touch.
    struct Model {
        state: RunState,
        incoming: Incoming<Node>,
        in_queues: AtomicUsize,
        own: UnsafeCell<usize>,
    }

    // SAFETY: what is not atomic is touched by who runs the process; that this is one at a time is
    // what is checked.
    unsafe impl Sync for Model {}
    // SAFETY: what is not atomic is touched by one thread at a time: that is what the model checks.
    unsafe impl Send for Model {}

    impl Model {
        fn new() -> Arc<Model> {
            Arc::new(Model {
                state: RunState::queued(),
                incoming: Incoming::new(),
                in_queues: AtomicUsize::new(1),
                own: UnsafeCell::new(0),
            })
        }
        /// As `signal::deliver`.
        fn send(&self, value: usize) {
            // SAFETY: a new node is in no list.
            if let Pushed::First = unsafe { self.incoming.push(Node::new(value)) }
                && self.state.wake()
            {
                self.in_queues.fetch_add(1, Ordering::AcqRel);
            }
        }
        /// One turn, if it stands in a queue, as `run_process`: received are counted in `own`.
        fn turn(&self, yields: bool) -> bool {
            if self.in_queues.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_err() {
                return false;
            }
            self.state.run();
            loop {
                if !self.incoming.is_empty() {
                    let received = values(self.incoming.take_all()).len();
                    // Loom reports it when two are in here at once, or one does not see what the
                    // last one did.
                    self.own.with_mut(|own| unsafe { *own += received });
                }
                if yields {
                    self.state.requeue();
                    self.in_queues.fetch_add(1, Ordering::AcqRel);
                    return true;
                }
                if self.state.wait() {
                    return true;
                }
            }
        }
        fn received(&self) -> usize {
            self.own.with(|own| unsafe { *own })
        }
    }

    /// Two senders and a scheduler; afterwards whoever still stands in a queue gets its turn, and
    /// no signal may be left.
    fn no_signal_sleeps(yields: bool) {
        loom::model(move || {
            let model = Model::new();
            let threads: Vec<_> = (0..2)
                .map(|value| {
                    let model = model.clone();
                    thread::spawn(move || model.send(value))
                })
                .collect();
            model.turn(yields);
            model.turn(false);
            threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
            assert!(model.in_queues.load(Ordering::Acquire) <= 1, "it stands in one queue at most");
            while model.turn(false) {}
            assert_eq!(model.received(), 2, "the process waits, and a signal lies there");
        });
    }

    #[test]
    fn loom_no_signal_sleeps_when_the_receiver_waits() {
        no_signal_sleeps(false);
    }

    #[test]
    fn loom_no_signal_sleeps_when_the_receiver_yields() {
        no_signal_sleeps(true);
    }

    #[test]
    fn loom_two_schedulers_do_not_run_it_at_once() {
        loom::model(|| {
            let model = Model::new();
            let other = model.clone();
            let thread = thread::spawn(move || {
                other.send(0);
                other.turn(false);
            });
            model.turn(false);
            model.send(1);
            model.turn(false);
            thread.join().expect("no thread panics");
            while model.turn(false) {}
            assert_eq!(model.received(), 2);
        });
    }
}
