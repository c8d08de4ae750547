//! A running machine, as the program sees it that has it.

use crate::call::{Call, CallError};
use crate::convert::{Atom, ConversionError, encode, encode_arguments};
use crate::host::HostModule;
use serde::Serialize;
use serde::de::IgnoredAny;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use swarmrt_engine::Tier;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn};
use swarmrt_machine::vm::StillRunning;
use swarmrt_machine::{Vm, pin};
use swarmrt_term::{FragmentHeap, Term};

/// That a machine is there: for all who have it, or something of it.
pub(crate) struct Life {
    vm: &'static Vm,
}

impl Life {
    pub(crate) fn vm(&self) -> &'static Vm {
        self.vm
    }
}

/// A machine that runs. Several may be in one process; what they share is listed under "Global
/// state" in `docs/architecture.md`. It runs on when nobody has it any more.
#[derive(Clone)]
pub struct Machine {
    life: Arc<Life>,
}

/// Why a machine is not freed.
#[derive(Debug)]
pub enum Kept {
    /// It has not halted.
    Running,
    /// There are more handles of it, calls, or terms.
    InUse,
    /// Something refers to it for good.
    ForGood(&'static str),
    /// Threads, by name, that have not ended: they wait for something that does not come.
    Threads(Vec<String>),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Running => write!(f, "the machine has not halted"),
            Kept::InUse => write!(f, "there are handles, calls or terms of the machine"),
            Kept::ForGood(why) => write!(f, "the machine is kept: {why}"),
            Kept::Threads(names) => write!(f, "threads have not ended: {}", names.join(", ")),
        }
    }
}
impl std::error::Error for Kept {}

impl Machine {
    pub(crate) fn of(vm: &'static Vm) -> Machine {
        Machine { life: Arc::new(Life { vm }) }
    }

    fn machine(&self) -> &'static Vm {
        self.life.vm
    }

    /// The machine itself, for those who know its internals. It is never freed then.
    pub fn vm(&self) -> &'static Vm {
        self.machine().keep_because("its internals were handed out");
        self.machine()
    }

    /// Calls a function in a process of its own. The arguments are a tuple, or `()` for none.
    ///
    /// # Errors
    /// When the arguments are no terms, or there are too many processes.
    pub fn call(
        &self,
        module: &str,
        function: &str,
        arguments: impl Serialize,
    ) -> Result<Call, CallError> {
        let mut heap = FragmentHeap::new();
        let args = encode_arguments(&arguments, &mut heap)?;
        let start = Start::Apply {
            module: swarmrt_term::Atom::new(module),
            function: swarmrt_term::Atom::new(function),
            args,
        };
        let (call, on_end) = Call::new(&self.life);
        let options = SpawnOptions { on_end: Some(on_end), ..SpawnOptions::default() };
        let _guard = pin();
        spawn(self.machine(), None, start, options).map(|_| call).ok_or(CallError::TooManyProcesses)
    }

    /// Sends a message to a registered process; whether there is one of that name.
    ///
    /// # Errors
    /// When the message is no term.
    pub fn send(&self, name: &str, message: impl Serialize) -> Result<bool, ConversionError> {
        let mut heap = FragmentHeap::new();
        let message = encode(&message, &mut heap)?;
        let _guard = pin();
        let Some(receiver) = self.machine().names.whereis(swarmrt_term::Atom::new(name)) else {
            return Ok(false);
        };
        Ok(self.machine().send(Term::NONE, receiver, message))
    }

    /// Loads a module from what a `.beam` file holds; its name. It is the current version then, as
    /// after `code:load_binary/3`; an `on_load` function is not run.
    ///
    /// # Errors
    /// What is wrong with the file, or that an old version of the module has not been purged.
    pub fn load(&self, bytes: &[u8]) -> Result<String, String> {
        let module = self.machine().code.prepare(bytes).map_err(|error| error.0)?.0;
        self.machine()
            .finish_loading(&module)
            .map_err(|name| format!("{name} has an old version still"))?;
        Ok(module.name.name().to_owned())
    }

    /// Gives programs a module of functions in Rust.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn add(&self, module: HostModule) -> Result<(), String> {
        module.install(self.machine())
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
        self.machine().wait_for_halt()
    }

    /// Stops OTP's applications, as `init:stop/0` does, and halts; the exit code. Calls that are
    /// still going on end with [`CallError::Halted`].
    ///
    /// The machine's threads and memory stay, until it is [freed](Machine::free).
    pub fn stop(&self) -> i32 {
        if self.call("init", "stop", ()).is_err() {
            self.machine().halt(1);
        }
        self.wait()
    }

    /// Frees a machine that has halted: ends its threads, closes its ports, and gives back all its
    /// memory. It takes as long as the turns that processes are in.
    ///
    /// # Errors
    /// The machine, and why it is kept. Its threads may have ended all the same.
    pub fn free(self) -> Result<(), (Machine, Kept)> {
        /// For threads that are in the midst of something.
        const PATIENCE: Duration = Duration::from_secs(10);
        let vm = self.machine();
        if !vm.is_halting() {
            return Err((self, Kept::Running));
        }
        if let Some(why) = vm.kept_because() {
            return Err((self, Kept::ForGood(why)));
        }
        // First, since a thread may still have the outcome of a call that nobody waits for.
        if let Err(StillRunning(names)) = vm.shut_down_threads(PATIENCE) {
            return Err((self, Kept::Threads(names)));
        }
        match Arc::try_unwrap(self.life) {
            // SAFETY: its threads have ended; whoever has a part of it, or a term that refers to
            // one, has a share in its life, or has had it kept.
            Ok(life) => unsafe { Vm::free(life.vm) },
            Err(life) => return Err((Machine { life }, Kept::InUse)),
        }
        Ok(())
    }

    /// What machine code was made, if any is.
    pub fn machine_code(&self) -> Option<swarmrt_engine::Counts> {
        Tier::of(self.machine()).map(|tier| tier.counts())
    }
    /// Keeps in the code cache what this run has found out, where there is a cache.
    ///
    /// # Errors
    /// What the system says; then nothing that was kept before is lost.
    pub fn keep(&self) -> std::io::Result<usize> {
        Tier::keep(self.machine())
    }
}
