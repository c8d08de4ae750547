//! The end of a process.

use crate::process::links::{RefValue, Watched};
use crate::process::sequential::TOKEN_BIT;
use crate::process::{Ended, Process};
use crate::signal::{self, SignalKind};
use std::io::Write;
use std::sync::atomic::Ordering;
use swarmrt_term::print::display;
use swarmrt_term::{Term, am};

/// How far the end of a process has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Its reductions are used up, and [`Process::end`] is to be called again.
    Unfinished,
    /// Whoever ends the last [wait](super::connection_ready) for a connection takes it out of the
    /// table; the caller does not touch it any more.
    Held,
    /// The caller takes it out of the table.
    Over,
}

impl Process {
    /// Whether an exit signal waits that will end the process: asked by long work that can be
    /// broken off.
    pub fn has_exit_signal(&self) -> bool {
        let mut at = self.shared().incoming.peek();
        while !at.is_null() {
            // SAFETY: signals that wait are freed by the process itself only, which does something
            // else here.
            let signal = unsafe { &*at };
            let kind = signal.kind & !TOKEN_BIT;
            let pair = signal.root.as_tuple().filter(|_| kind != signal.kind);
            let reason = pair.map_or(signal.root, |pair| pair.get(1));
            let ends = |reason: Term, linked: bool| {
                reason == Term::atom(am::KILL) && !linked
                    || !self.trap_exit && reason != Term::atom(am::NORMAL)
            };
            let ends = match SignalKind::from_u32(kind) {
                SignalKind::Exit => ends(reason, false),
                SignalKind::LinkExit => ends(reason, true) && self.relations.is_linked(signal.from),
                SignalKind::ExitAlias | SignalKind::PriorityExitAlias => {
                    let (id, reason) = signal::split_numbered(signal.root);
                    let alias = RefValue { id, low: signal.sequence };
                    ends(reason, false) && self.relations.alias(alias).is_some()
                }
                _ => false,
            };
            if ends {
                return true;
            }
            at = signal.next;
        }
        false
    }

    /// Notes that the process's function has returned: it is to end normally.
    pub fn returned(&mut self, value: Term) {
        self.note_end(Ended::Returned(value));
        self.exception.class = am::EXIT;
        self.exception.reason = Term::atom(am::NORMAL);
    }

    /// Keeps the outcome of a process that runs no more code, for [`OnEnd`](crate::process::OnEnd).
    /// `false` when there is no such function.
    pub(crate) fn note_end(&mut self, ended: Ended) -> bool {
        let extra = self.extra.as_mut().filter(|extra| extra.on_end.is_some());
        extra.map(|extra| extra.ended = Some(ended)).is_some()
    }

    /// Ends the process whose work was broken off because
    /// [`has_exit_signal`](Process::has_exit_signal) held: handles the signals up to the exit. Its
    /// heap and stack pointers are not current, so that only the parts that do not depend on them
    /// are used.
    pub(crate) fn break_off(&mut self) {
        self.handle_last_signals();
        if !self.exit_pending {
            self.exit_pending = true;
            self.exception.reason = Term::atom(am::KILLED);
        }
    }

    /// Ends the process with `exception.reason`, or goes on with that: tells everybody related to it.
    /// Takes off the reductions that it uses. The caller holds an epoch guard.
    #[must_use]
    pub(crate) fn end(&mut self, reductions: &mut i32) -> Ending {
        if !self.exiting {
            self.begin_to_end();
        }
        if self.vm.exit_work().is_some_and(|work| !work(self, reductions)) {
            return Ending::Unfinished;
        }
        self.finish_ending();
        if self.shared().release_exit() { Ending::Over } else { Ending::Held }
    }

    fn begin_to_end(&mut self) {
        self.exiting = true;
        self.shared().exit_holds.store(1, Ordering::Relaxed);
        if self.trace.is_on() {
            self.trace_exit();
        }
        let vm = self.vm;
        let pid = self.pid();
        if vm.is_system_process(self.id()) && !vm.is_halting() {
            self.halt_for_system_process();
        }
        if let Some(key) = self.receive_timer.key.take() {
            vm.timers.cancel(key);
        }
        if let Some(name) = self.registered.take() {
            vm.names.unregister_exiting(name, pid);
        }
        vm.system_monitor.process_ended(self.id());
    }

    fn finish_ending(&mut self) {
        let vm = self.vm;
        let reason = self.exception.reason;
        for hook in vm.exit_hooks() {
            hook(self);
        }
        self.orphan_spawn_requests(reason);
        self.close_incoming();
        if let Some(extra) = &mut self.extra {
            std::mem::take(&mut extra.on_exit).into_values().for_each(|on_exit| (on_exit.call)(vm));
        }
        self.tell_related(reason);
        if let Some(extra) = &self.extra {
            for &(other, count) in &extra.suspending {
                for _ in 0..count {
                    crate::process::resume(vm, other);
                }
            }
        }
        if self.extra.as_ref().is_some_and(|extra| extra.controls_connections)
            && let Some(remote) = vm.remote()
        {
            remote.process_ended(self, reason);
        }
        if let Some(extra) = &mut self.extra
            && let Some(on_end) = extra.on_end.take()
        {
            on_end(extra.ended.take().unwrap_or(Ended::Exited(reason)));
        }
        self.shared().state.exit();
    }

    /// Tells those that are linked, that monitor it, and that it monitors.
    fn tell_related(&mut self, reason: Term) {
        let (vm, pid) = (self.vm, self.pid());
        let mut relations = std::mem::take(&mut self.relations);
        if relations.remote.is_some() {
            self.end_remote(&mut relations, reason);
        }
        if self.waits_for_connection()
            && let Some(remote) = vm.remote()
        {
            remote.finish_sending(self);
        }
        for (raw, ()) in relations.links.iter() {
            // SAFETY: links are kept as the words of pids and ports.
            let other = unsafe { Term::from_raw(raw) };
            if let Some(other) = other.as_pid() {
                signal::send_link_exit_of(self, other, reason);
            } else if other.is_port()
                && let Some(ports) = vm.ports()
            {
                ports.exit(vm, pid, other, reason, true);
            }
        }
        for (reference, &owner) in relations.monitored_by.iter() {
            signal::send_down(vm, pid, owner, reference, reason);
        }
        for (reference, monitor) in relations.monitors.iter() {
            match monitor.watched {
                Watched::Pid(other) | Watched::Name { pid: other, .. } => {
                    signal::send_demonitor(vm, pid, other, reference);
                }
                Watched::Port { port, .. } => {
                    if let Some(ports) = vm.ports() {
                        ports.demonitor(vm, Term::port(port), reference);
                    }
                }
                Watched::Remote { .. } | Watched::RemoteName { .. } | Watched::TimeOffset => {}
            }
        }
    }

    /// The machine does not go on without its system processes.
    fn halt_for_system_process(&self) {
        // Standard error may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "System process {} terminated: {}",
            display(self.pid()),
            display(self.exception.reason)
        );
        self.vm.halt(1);
    }
}
