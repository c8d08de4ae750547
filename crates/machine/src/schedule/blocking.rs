//! `erlang:system_flag(multi_scheduling, block)`: a process that blocks the other schedulers.
//!
//! While there is one, the first scheduler alone is online, whatever number was asked for. The
//! blocking process runs on when the other schedulers stand by. Dirty schedulers go on.

use crate::process::{OnExit, Process, Watcher};
use crate::schedule::{Schedulers, current_scheduler};
use crate::vm::Vm;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;
use swarmrt_term::{Atom, atom};

/// Which argument of `system_flag(multi_scheduling, …)` blocks. Both block the same schedulers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// `block`
    All,
    /// `block_normal`
    Normal,
}

/// The blocking processes (numbers of pids), and how often each blocks.
#[derive(Default)]
struct Counts {
    all: Vec<(u64, usize)>,
    normal: Vec<(u64, usize)>,
}

impl Counts {
    fn of(&mut self, what: Blocking) -> &mut Vec<(u64, usize)> {
        match what {
            Blocking::All => &mut self.all,
            Blocking::Normal => &mut self.normal,
        }
    }
    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.normal.is_empty()
    }
}

#[derive(Default)]
pub(crate) struct Blockers(Mutex<Counts>);

impl Process {
    /// Blocks the other schedulers for the built-in that is running, until the process unblocks
    /// them or ends. `false`: some do not stand by yet; the built-in has to yield and call this
    /// again.
    pub fn blocks_others(&mut self, what: Blocking) -> bool {
        let (schedulers, pid) = (&self.vm.schedulers, self.id());
        // The second call, in a later turn, has blocked already.
        if self.bif_state.take().is_none() {
            let kinds = [Blocking::All, Blocking::Normal];
            if !kinds.iter().any(|&kind| schedulers.blocking(kind).contains(&pid)) {
                let number = self.vm.next_ref().id;
                let call = Box::new(move |vm: &Vm| vm.schedulers.forget_blocker(pid));
                let on_exit = OnExit { watcher: Watcher::Hidden, call };
                self.extra().on_exit.insert(number, on_exit);
            }
            schedulers.block(pid, what);
        }
        let alone = schedulers.runs_alone();
        if !alone {
            self.bif_state = Some(Box::new(()));
        }
        alone
    }
}

impl Schedulers {
    /// Counts a blocking of a process. It may go on when [`Schedulers::runs_alone`] holds.
    pub fn block(&self, pid: u64, what: Blocking) {
        let mut counts = self.blockers.0.lock();
        let blockers = counts.of(what);
        match blockers.iter_mut().find(|(blocker, _)| *blocker == pid) {
            Some((_, count)) => *count += 1,
            None => blockers.push((pid, 1)),
        }
        self.limit_online(Some(1));
    }

    /// Takes back one blocking of a process, if there is one.
    pub fn unblock(&self, pid: u64, what: Blocking) {
        let mut counts = self.blockers.0.lock();
        let blockers = counts.of(what);
        if let Some(at) = blockers.iter().position(|(blocker, _)| *blocker == pid) {
            blockers[at].1 -= 1;
            if blockers[at].1 == 0 {
                blockers.remove(at);
            }
        }
        self.apply_unless_blocked(&counts);
    }

    /// Lets as many schedulers run processes as are wanted, now or once nobody blocks.
    pub(crate) fn apply_wanted_online(&self) {
        self.apply_unless_blocked(&self.blockers.0.lock());
    }

    /// Takes back all blockings of a process that has ended.
    pub fn forget_blocker(&self, pid: u64) {
        let mut counts = self.blockers.0.lock();
        for what in [Blocking::All, Blocking::Normal] {
            counts.of(what).retain(|(blocker, _)| *blocker != pid);
        }
        self.apply_unless_blocked(&counts);
    }

    fn apply_unless_blocked(&self, counts: &Counts) {
        if counts.is_empty() {
            self.limit_online(None);
        }
    }

    /// Keeps the caller's thread for that long, while no other polls: where it runs alone, the
    /// machine does nothing at all. For tests of what other nodes do then.
    pub fn freeze(&self, time: Duration) {
        self.frozen.store(true, Ordering::Relaxed);
        std::thread::sleep(time);
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Whether the caller runs on the first scheduler and all others stand by.
    pub fn runs_alone(&self) -> bool {
        current_scheduler() == Some(0) && self.others_stand_by()
    }

    /// The answer to `system_info(multi_scheduling)`: `enabled`, `disabled`, `blocked` or
    /// `blocked_normal`.
    pub fn multi_scheduling(&self) -> Atom {
        let counts = self.blockers.0.lock();
        if self.wanted_online() == 1 {
            atom!("disabled")
        } else if !counts.all.is_empty() {
            atom!("blocked")
        } else if !counts.normal.is_empty() {
            atom!("blocked_normal")
        } else {
            atom!("enabled")
        }
    }

    /// The numbers of the pids that block.
    pub fn blocking(&self, what: Blocking) -> Vec<u64> {
        self.blockers.0.lock().of(what).iter().map(|(pid, _)| *pid).collect()
    }
}
