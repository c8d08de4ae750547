//! The end of a process.

use crate::links::Watched;
use crate::process::{Process, run_state};
use crate::signal;
use std::sync::atomic::Ordering;
use swarmrt_term::Term;

impl Process {
    /// Ends the process with `exception.reason`: tells everybody related to it, and takes it out of
    /// the table. The caller holds the epoch guard, and does not touch the process afterwards.
    pub fn end(&mut self, guard: &crossbeam_epoch::Guard) {
        self.exiting = true;
        let vm = self.vm;
        let reason = self.exception.reason;
        let pid = self.pid();
        if let Some(key) = self.receive_timer.key.take() {
            vm.timers.cancel(key);
        }
        if let Some(name) = self.registered.take() {
            vm.names.unregister_exiting(name, pid);
        }
        for hook in vm.exit_hooks() {
            hook(self);
        }
        self.close_incoming();
        let relations = std::mem::take(&mut self.relations);
        for (&raw, ()) in &relations.links {
            // SAFETY: links are kept as the words of pids and ports.
            let other = unsafe { Term::from_raw(raw) };
            if let Some(other) = other.as_pid() {
                signal::send_link_exit(vm, pid, other, reason);
            } else if other.is_port() {
                if let Some(ports) = vm.ports() {
                    ports.exit(vm, pid, other, reason, true);
                }
            }
        }
        for (&reference, &owner) in &relations.monitored_by {
            signal::send_down(vm, pid, owner, reference, reason);
        }
        for (&reference, monitor) in &relations.monitors {
            match monitor.watched {
                Watched::Pid(other) | Watched::Name { pid: other, .. } => {
                    signal::send_demonitor(vm, pid, other, reference);
                }
                Watched::Port(port) => {
                    if let Some(ports) = vm.ports() {
                        ports.demonitor(vm, Term::port(port), reference);
                    }
                }
                Watched::TimeOffset => {}
            }
        }
        if let Some(extra) = &self.extra {
            for &(other, count) in &extra.suspending {
                for _ in 0..count {
                    crate::process::resume(vm, other);
                }
            }
        }
        self.shared().state.store(run_state::EXITED, Ordering::SeqCst);
        vm.processes.remove(self.id(), guard);
    }
}
