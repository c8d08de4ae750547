//! Processes that wait while a port's driver is busy.
//!
//! One that calls `port_command` or sends `{Owner, {command, Data}}` is suspended before anything is
//! written, and the built-in is called again when it is resumed.

use super::Port;
use swarmrt_machine::process::resume;
use swarmrt_machine::{Process, Vm};
use swarmrt_term::{Term, am};

impl Port {
    /// Whether those who write are to wait.
    pub(super) fn suspends_now(&self) -> bool {
        self.driver.suspends_writers() && self.driver.is_busy()
    }

    /// Whether a process that sends this to the port is to wait.
    pub(super) fn holds_back(&self, message: Term) -> bool {
        let is_command = |message: Term| {
            let pair = message.as_tuple().filter(|pair| pair.arity() == 2)?;
            let command = pair.get(1).as_tuple().filter(|command| command.arity() == 2)?;
            let is_owner = pair.get(0).as_pid() == Some(self.owner());
            Some(is_owner && command.get(0) == Term::atom(am::COMMAND))
        };
        self.suspends_now() && is_command(message) == Some(true)
    }

    /// Suspends a process until the driver is not busy any more.
    pub(super) fn suspend(&self, p: &mut Process) {
        p.extra().suspended += 1;
        let is_open = {
            let mut state = self.state.lock();
            state.suspended.push(p.id());
            state.open
        };
        swarmrt_machine::vm::system_monitor::busy_port(p, self.term);
        // Asked afterwards: whoever ends the wait sees the process.
        if !is_open || !self.suspends_now() {
            self.wake_writers(p.vm);
        }
    }

    /// Has the processes go on that wait for the driver.
    pub fn wake_writers(&self, vm: &'static Vm) {
        let _guard = swarmrt_machine::pin();
        let suspended = std::mem::take(&mut self.state.lock().suspended);
        for pid in suspended {
            resume(vm, pid);
        }
    }
}
