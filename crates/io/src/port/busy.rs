//! Processes that wait while a port's driver is busy.
//!
//! One that calls `port_command` waits in the built-in, which is called again. One that sends
//! `{Owner, {command, Data}}` is suspended before anything is sent, and sends again when it is
//! resumed.

use super::Port;
use swarmrt_machine::process::resume;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::{Term, am};

impl Port {
    /// Has a process wait until the driver is not busy any more; `false` when it is not busy now.
    pub(super) fn wait_for_driver(&self, pid: u64) -> bool {
        let mut state = self.state.lock();
        if !state.writers.contains(&pid) {
            state.writers.push(pid);
        }
        drop(state);
        // Asked afterwards: whoever ends the wait sees the process.
        self.driver.is_busy()
    }

    /// Whether a process that sends this to the port is to wait.
    pub(super) fn holds_back(&self, message: Term) -> bool {
        let is_command = |message: Term| {
            let pair = message.as_tuple().filter(|pair| pair.arity() == 2)?;
            let command = pair.get(1).as_tuple().filter(|command| command.arity() == 2)?;
            let is_owner = pair.get(0).as_pid() == Some(self.owner());
            Some(is_owner && command.get(0) == Term::atom(am::COMMAND))
        };
        self.driver.suspends_writers() && self.driver.is_busy() && is_command(message) == Some(true)
    }

    /// Suspends a process until the driver is not busy any more.
    pub(super) fn suspend(&self, p: &mut Process) {
        p.extra().suspended += 1;
        self.state.lock().suspended.push(p.id());
        // Asked afterwards: whoever ends the wait sees the process.
        if !self.driver.is_busy() {
            self.wake_writers(p.vm);
        }
    }

    /// Has the processes go on that wait for the driver.
    pub fn wake_writers(&self, vm: &'static Vm) {
        let _guard = swarmrt_machine::pin();
        let (writers, suspended) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.writers), std::mem::take(&mut state.suspended))
        };
        for pid in writers {
            // Any signal has the built-in called again.
            signal::send_call(vm, pid, Box::new(|_, _| {}));
        }
        for pid in suspended {
            resume(vm, pid);
        }
    }
}
