//! Timers: what happens at a time, in order of time. One thread waits for the earliest.

use crate::vm::Vm;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;

/// What happens when a timer is due. Runs on the timer thread; must not block.
pub type TimerAction = Box<dyn FnOnce(&'static Vm) + Send>;

/// Identifies a pending timer: its time (nanoseconds since the start) and a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerKey {
    pub at_ns: u64,
    number: u64,
}

enum Due {
    /// Wake a process whose `receive … after` is over.
    Receive {
        pid: u64,
        sequence: u32,
    },
    Run(TimerAction),
}

impl Due {
    fn happen(self, vm: &'static Vm) {
        match self {
            Due::Receive { pid, sequence } => crate::signal::receive_timeout(vm, pid, sequence),
            Due::Run(action) => action(vm),
        }
    }
}

struct State {
    pending: BTreeMap<TimerKey, Due>,
    next_number: u64,
    /// Until when the timer thread sleeps; 0 while it is awake. It is woken only for what is due
    /// earlier: a timer that was cancelled meanwhile costs one look, a thousand timers set and
    /// cancelled cost no wake-up.
    sleeps_until_ns: u64,
}

/// The pending timers of a machine, for timers of programs, receives and the machine itself.
pub struct Timers {
    state: Mutex<State>,
    changed: Condvar,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            state: Mutex::new(State {
                pending: BTreeMap::new(),
                next_number: 0,
                sleeps_until_ns: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn insert(&self, at_ns: u64, due: Due) -> TimerKey {
        let mut state = self.state.lock();
        state.next_number += 1;
        let key = TimerKey { at_ns, number: state.next_number };
        let wake = at_ns < state.sleeps_until_ns;
        state.pending.insert(key, due);
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        key
    }

    /// Runs `action` on the timer thread at `at_ns`, in nanoseconds since the machine started.
    pub fn start(&self, at_ns: u64, action: TimerAction) -> TimerKey {
        self.insert(at_ns, Due::Run(action))
    }
    pub(crate) fn start_receive(&self, at_ns: u64, pid: u64, sequence: u32) -> TimerKey {
        self.insert(at_ns, Due::Receive { pid, sequence })
    }
    /// Ends a timer. `false` when it was not pending any more.
    pub fn cancel(&self, key: TimerKey) -> bool {
        self.state.lock().pending.remove(&key).is_some()
    }

    /// Ends a pending timer and returns its action; `None` when it is not pending any more, or when
    /// it is one of a receive.
    pub fn take(&self, key: TimerKey) -> Option<TimerAction> {
        match self.state.lock().pending.remove(&key)? {
            Due::Run(action) => Some(action),
            Due::Receive { .. } => None,
        }
    }

    /// Forgets all timers.
    pub(crate) fn clear(&mut self) {
        self.state.get_mut().pending.clear();
    }

    /// Makes the timer thread look whether it has to end.
    pub(crate) fn wake(&self) {
        let _state = self.state.lock();
        self.changed.notify_one();
    }

    /// Without a timer thread, in a world with virtual time: moves time to the earliest timer, which
    /// happens. `false` when none is pending.
    pub fn advance(&self, vm: &'static Vm) -> bool {
        let Some((key, due)) = self.state.lock().pending.pop_first() else { return false };
        vm.world.advance_to(key.at_ns);
        due.happen(vm);
        true
    }

    /// The timer thread.
    pub(crate) fn run(&self, vm: &'static Vm) {
        let mut state = self.state.lock();
        while !vm.is_shutting_down() {
            let now = vm.clock.since_start_ns();
            match state.pending.first_key_value().map(|(key, _)| *key) {
                None => {
                    state.sleeps_until_ns = u64::MAX;
                    self.changed.wait(&mut state);
                    state.sleeps_until_ns = 0;
                }
                Some(key) if key.at_ns <= now => {
                    let due = state.pending.remove(&key).expect("it was there under this lock");
                    drop(state);
                    due.happen(vm);
                    state = self.state.lock();
                }
                Some(key) => {
                    state.sleeps_until_ns = key.at_ns;
                    self.changed.wait_until(&mut state, vm.world.instant_at(key.at_ns));
                    state.sleeps_until_ns = 0;
                }
            }
        }
    }
}
