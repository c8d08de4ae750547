//! Suspending processes.

use super::Process;
use crate::signal::send_later;
use crate::vm::Vm;
use swarmrt_beam::instr::Instr;
use swarmrt_term::Release;

impl Process {
    /// Whether a process between two turns waits in a receive, without a message that it has not
    /// seen.
    pub(crate) fn would_wait_on(&self) -> bool {
        // SAFETY: a process between two turns stands at an instruction, and waiting leads to
        // another of the function.
        let waiting = unsafe {
            let Instr::LoopRec { wait } = *self.ip else { return false };
            *self.ip.offset(wait as isize)
        };
        let timer = &self.receive_timer;
        let stays = match waiting {
            Instr::Wait { .. } => true,
            Instr::WaitTimeout { .. } => !timer.fired && (timer.key.is_some() || timer.endless),
            _ => false,
        };
        stays && self.mailbox.peek().is_none()
    }
    /// Suspends the process once more; it must not be running. Meanwhile the timeout of its receive
    /// waits from OTP 28 on, and its other timers from OTP 29 on.
    pub fn suspend_once(&mut self) {
        let release = self.vm.release();
        let extra = self.extra();
        extra.suspended += 1;
        if extra.suspended > 1 || release < Release::R28 {
            return;
        }
        let now_ns = self.vm.clock.since_start_ns();
        // A timer that is due already wakes the process later.
        if let Some(key) = self.receive_timer.key.filter(|&key| self.vm.timers.cancel(key)) {
            self.receive_timer.key = None;
            self.extra().receive_left_ns = Some(key.at_ns.saturating_sub(now_ns));
        }
        if release < Release::R29 {
            return;
        }
        for hook in self.vm.suspend_hooks() {
            hook(self, true);
        }
    }
    /// Takes one suspension back.
    pub fn resume_once(&mut self) {
        let extra = self.extra();
        if extra.suspended == 0 {
            return;
        }
        extra.suspended -= 1;
        if extra.suspended > 0 {
            return;
        }
        if let Some(left_ns) = extra.receive_left_ns.take() {
            let at_ns = self.vm.clock.since_start_ns() + left_ns;
            self.receive_timer.key =
                Some(self.vm.start_receive_timer(at_ns, self.id(), self.receive_timer.sequence));
        }
        if self.vm.release() < Release::R29 {
            return;
        }
        for hook in self.vm.suspend_hooks() {
            hook(self, false);
        }
    }
}

/// Sends a process the request to suspend itself once more.
pub fn suspend(vm: &'static Vm, pid: u64) {
    send_later(
        vm,
        pid,
        Box::new(|_, process| {
            if let Some(process) = process {
                process.suspend_once();
            }
        }),
    );
}

/// Sends a process the request to take one suspension back.
pub fn resume(vm: &'static Vm, pid: u64) {
    send_later(
        vm,
        pid,
        Box::new(|_, process| {
            if let Some(process) = process {
                process.resume_once();
            }
        }),
    );
}
