//! The permission to change code: loading, deleting and purging modules, and loading native
//! libraries.
//!
//! One process at a time has it. Built-ins take it with [`Process::change_code`] and give it back
//! when they return; a process that finds it taken is suspended, as in OTP, and calls its built-in
//! again. OTP's test suites keep it across turns (`erts_debug:set_internal_state/2`).

use crate::bif::BifExit;
use crate::process::{OnExit, Process, Watcher, resume};
use crate::vm::Vm;
use parking_lot::Mutex;

#[derive(Default)]
struct State {
    /// The process that has the permission, by the number of its pid.
    holder: Option<u64>,
    /// Suspended processes that ask again once it is given back.
    waiting: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Permission(Mutex<State>);

/// The permission of a built-in that is running: given back when this is dropped.
#[must_use]
pub struct ChangingCode {
    vm: &'static Vm,
    /// Whether the process had the permission before.
    nested: bool,
}

impl Drop for ChangingCode {
    fn drop(&mut self) {
        if !self.nested {
            self.vm.give_back_code_permission();
        }
    }
}

impl Process {
    /// Takes the permission until the result is dropped. An error suspends the process: the
    /// built-in returns it at once, and is called again later.
    ///
    /// # Errors
    /// [`BifExit::Wait`], to be handed on, where another process changes code.
    pub fn change_code(&mut self) -> Result<ChangingCode, BifExit> {
        let nested = self.vm.code.permission.0.lock().holder == Some(self.id());
        if !nested {
            self.take_code_permission()?;
        }
        Ok(ChangingCode { vm: self.vm, nested })
    }

    /// Takes the permission until [`Vm::give_back_code_permission`], or until the process ends;
    /// otherwise as [`Process::change_code`].
    ///
    /// # Errors
    /// [`BifExit::Wait`], to be handed on, where another process changes code.
    pub fn keep_code_permission(&mut self) -> Result<(), BifExit> {
        self.take_code_permission()?;
        let (number, pid) = (self.vm.next_ref().id, self.id());
        let call = Box::new(move |vm: &'static Vm| {
            if vm.code.permission.0.lock().holder == Some(pid) {
                vm.give_back_code_permission();
            }
        });
        self.extra().on_exit.insert(number, OnExit { watcher: Watcher::Hidden, call });
        Ok(())
    }

    fn take_code_permission(&mut self) -> Result<(), BifExit> {
        let mut state = self.vm.code.permission.0.lock();
        if state.holder.is_some_and(|holder| holder != self.id()) {
            state.waiting.push(self.id());
            self.suspend_once();
            return Err(BifExit::Yield);
        }
        state.holder = Some(self.id());
        Ok(())
    }
}

impl Vm {
    /// Gives back the permission to change code, if a process has it. All that wait for it ask
    /// again.
    pub fn give_back_code_permission(&'static self) {
        let waiting = {
            let mut state = self.code.permission.0.lock();
            state.holder = None;
            std::mem::take(&mut state.waiting)
        };
        if waiting.is_empty() {
            return;
        }
        let _guard = crate::vm::pin();
        waiting.into_iter().for_each(|pid| resume(self, pid));
    }
}
