//! A running machine, as the program sees it that has it.

use crate::call::{Call, CallError};
use crate::convert::{Atom, ConversionError, encode, encode_arguments};
use crate::host::HostModule;
use serde::Serialize;
use serde::de::IgnoredAny;
use std::time::{Duration, Instant};
use swarmrt_engine::Tier;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn};
use swarmrt_machine::{Vm, pin};
use swarmrt_term::{FragmentHeap, Term};

/// A machine that runs. Several may be in one process; what they share is listed under "Global state" in
/// `docs/architecture.md`.
#[derive(Clone, Copy)]
pub struct Machine {
    vm: &'static Vm,
}

impl Machine {
    pub(crate) fn of(vm: &'static Vm) -> Machine {
        Machine { vm }
    }

    /// The machine itself, for those who know its internals.
    pub fn vm(&self) -> &'static Vm {
        self.vm
    }

    /// Calls a function in a process of its own. The arguments are a tuple, or `()` for none.
    ///
    /// # Errors
    /// When the arguments are no terms, or there are too many processes.
    pub fn call(&self, module: &str, function: &str, arguments: impl Serialize) -> Result<Call, CallError> {
        let mut heap = FragmentHeap::new();
        let args = encode_arguments(&arguments, &mut heap)?;
        let start = Start::Apply { module: swarmrt_term::Atom::new(module), function: swarmrt_term::Atom::new(function), args };
        let (call, on_end) = Call::new(self.vm);
        let options = SpawnOptions { on_end: Some(on_end), ..SpawnOptions::default() };
        let _guard = pin();
        spawn(self.vm, None, start, options).map(|_| call).ok_or(CallError::TooManyProcesses)
    }

    /// Sends a message to a registered process; whether there is one of that name.
    ///
    /// # Errors
    /// When the message is no term.
    pub fn send(&self, name: &str, message: impl Serialize) -> Result<bool, ConversionError> {
        let mut heap = FragmentHeap::new();
        let message = encode(&message, &mut heap)?;
        let _guard = pin();
        let Some(receiver) = self.vm.names.whereis(swarmrt_term::Atom::new(name)) else { return Ok(false) };
        Ok(self.vm.send(Term::NONE, receiver, message))
    }

    /// Loads a module from what a `.beam` file holds; its name. It is the current version then, as after
    /// `code:load_binary/3`; an `on_load` function is not run.
    ///
    /// # Errors
    /// What is wrong with the file, or that an old version of the module has not been purged.
    pub fn load(&self, bytes: &[u8]) -> Result<String, String> {
        let module = self.vm.code.prepare(bytes).map_err(|error| error.0)?.0;
        self.vm.finish_loading(&module).map_err(|name| format!("{name} has an old version still"))?;
        Ok(module.name.name().to_owned())
    }

    /// Gives programs a module of functions in Rust.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn add(&self, module: HostModule) -> Result<(), String> {
        module.install(self.vm)
    }

    /// Waits until OTP has booted.
    ///
    /// # Errors
    /// When it halts, or has not booted by then.
    pub(crate) fn wait_until_started(&self, at_most: Duration) -> Result<(), CallError> {
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        let until = Instant::now() + at_most;
        loop {
            let status = self.call("init", "get_status", ())?.wait();
            let status = match status {
                // The process `init` is registered a little later.
                Err(CallError::Raised { .. }) => None,
                status => Some(status?.decode::<(Atom, IgnoredAny)>()?.0),
            };
            match status {
                Some(status) if status == Atom::from("started") => return Ok(()),
                _ if Instant::now() >= until => return Err(CallError::TimedOut),
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Waits until a program halts the machine; its exit code.
    pub fn wait(&self) -> i32 {
        self.vm.wait_for_halt()
    }

    /// Stops OTP's applications, as `init:stop/0` does, and halts; the exit code. Calls that are still going on end with
    /// [`CallError::Halted`].
    ///
    /// The machine's threads stay, asleep, and so does its memory, until the program ends.
    pub fn stop(&self) -> i32 {
        if self.call("init", "stop", ()).is_err() {
            self.vm.halt(1);
        }
        self.wait()
    }

    /// What machine code was made, if any is.
    pub fn machine_code(&self) -> Option<swarmrt_engine::Counts> {
        Tier::of(self.vm).map(|tier| tier.counts())
    }
    /// Keeps in the code cache what this run has found out, where there is a cache.
    ///
    /// # Errors
    /// What the system says; then nothing that was kept before is lost.
    pub fn keep(&self) -> std::io::Result<usize> {
        Tier::keep(self.vm)
    }
}
