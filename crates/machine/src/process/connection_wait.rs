//! Processes that wait because much is to be written on a connection to another node.
//!
//! One that has sent a signal is suspended, and its built-in returns when it is resumed. One that
//! ends has told everybody by then; it stays in the table until the wait is over.

use super::{Process, Shared};
use crate::schedule::deferred;
use crate::signal::send_later;
use crate::vm::Vm;
use std::sync::atomic::Ordering;

/// A process that waits, in the list of the connection that it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// The number of its pid.
    pub pid: u64,
    /// It is ending.
    pub is_ending: bool,
}

impl Process {
    /// Has the process wait until [`connection_ready`] is called for it; `None` when it is ended in
    /// the midst of a library's function, and cannot wait.
    pub fn wait_for_connection(&mut self) -> Option<Waiter> {
        let is_ending = self.exiting;
        if !is_ending {
            let extra = self.extra();
            extra.suspended += 1;
            extra.connection_waits += 1;
        } else if self.is_in_native() {
            return None;
        } else {
            self.shared().exit_holds.fetch_add(1, Ordering::Relaxed);
        }
        Some(Waiter { pid: self.id(), is_ending })
    }

    /// Whether the process, which is not ending, waits for a connection.
    pub fn waits_for_connection(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.connection_waits > 0)
    }

    /// Whether the process, which is ending, waits for a connection.
    pub fn end_waits_for_connection(&self) -> bool {
        self.exiting && self.shared().exit_holds.load(Ordering::Relaxed) > 1
    }
}

impl Shared {
    /// Gives up a hold on a process that ends; `true` for the last.
    pub(crate) fn release_exit(&self) -> bool {
        // AcqRel: whoever gives up the last hold frees what the others have written.
        self.exit_holds.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Takes one wait of a process back. May be called with locks held.
pub fn connection_ready(vm: &'static Vm, waiter: Waiter) {
    if waiter.is_ending {
        let request = Box::into_raw(Box::new((vm, waiter.pid)));
        return deferred::defer(end_wait_is_over, request as u64);
    }
    let _guard = crate::vm::pin();
    send_later(
        vm,
        waiter.pid,
        Box::new(|_, process| {
            if let Some(process) = process {
                let extra = process.extra();
                extra.connection_waits = extra.connection_waits.saturating_sub(1);
                process.resume_once();
            }
        }),
    );
}

fn end_wait_is_over(request: u64) {
    // SAFETY: the address is that of the box that `connection_ready` has given up; it is used once.
    let (vm, pid) = *unsafe { Box::from_raw(request as *mut (&'static Vm, u64)) };
    let guard = crate::vm::pin();
    let Some(cell) = vm.processes.get(pid) else { return };
    if cell.shared.release_exit() {
        // SAFETY: the last hold was ours, so that nobody runs the process any more.
        unsafe { vm.remove_ended(cell, &guard) };
    }
}
