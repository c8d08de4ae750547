//! How a machine is to be, and how it comes to be.

use crate::host::HostModule;
use crate::memory;
use crate::{CallError, Machine, Otp, OtpError, Processors};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use swarmrt_baseline::Baseline;
use swarmrt_beam::specialise::CellKind;
use swarmrt_engine::{Backend, BaselineCompiler, Mode, Tier, When};
use swarmrt_interp::Interpreter;
use swarmrt_io::Interrupt;
use swarmrt_jit::Cranelift;
use swarmrt_machine::Vm;
use swarmrt_machine::code::cache::CodeCache;
use swarmrt_machine::process::Priority;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn, spawn_announced};
use swarmrt_machine::vm::Config;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Term, am, atom};

/// The modules of OTP's system processes and their priorities, in the order in which they get their
/// pids. The purger is the first, the collector the second.
const SYSTEM_PROCESSES: [(&str, Priority); 5] = [
    (PURGER, Priority::High),
    ("erts_literal_area_collector", Priority::High),
    ("erts_dirty_process_signal_handler", Priority::Normal),
    ("erts_dirty_process_signal_handler", Priority::High),
    ("erts_dirty_process_signal_handler", Priority::Max),
];
/// The process that looks for users of old code, by its registered name.
const PURGER: &str = "erts_code_purger";
/// How long the boot sleeps between two looks for that name.
const REGISTRATION_POLL: Duration = Duration::from_micros(50);

/// Why a machine cannot be booted.
#[derive(Debug)]
pub enum BootError {
    Otp(OtpError),
    /// A preloaded module: its name, and what is wrong.
    Preloaded(String, String),
    /// What is wrong with a module of the program's own.
    Module(String),
    /// OTP has not started.
    Start(CallError),
    Threads(std::io::Error),
    /// The native engine.
    Native(swarmrt_engine::Unavailable),
}

impl std::fmt::Display for BootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BootError::Otp(error) => error.fmt(f),
            BootError::Preloaded(module, why) => {
                write!(f, "cannot load OTP's preloaded module {module}: {why}")
            }
            BootError::Start(why) => write!(f, "OTP does not boot: {why}"),
            BootError::Module(why) => write!(f, "a module cannot be loaded: {why}"),
            BootError::Native(why) => {
                write!(f, "no machine code can be made: {} (--engine=interp does without)", why.0)
            }
            BootError::Threads(error) => write!(f, "cannot start the machine's threads: {error}"),
        }
    }
}
impl std::error::Error for BootError {}

/// What runs the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engines {
    /// The interpreter alone.
    Interpreter,
    /// The interpreter, and machine code as the mode says.
    Native(Mode),
}

impl Engines {
    /// `interp`, `baseline`, `baseline:CALLS`, `jit`, `jit:PREFIX`, `tiered`, or `tiered:SAMPLES`.
    pub fn parse(text: &str) -> Option<Engines> {
        Some(match text {
            "interp" => Engines::Interpreter,
            "jit" => Engines::Native(Mode::Eager { prefix: "" }),
            "baseline" => Engines::Native(Mode::BASELINE),
            "tiered" => Engines::Native(Mode::DEFAULT),
            _ => match text.split_once(':')? {
                // Told once, by who starts the machine, and needed for as long as it runs.
                ("jit", prefix) => {
                    Engines::Native(Mode::Eager { prefix: prefix.to_owned().leak() })
                }
                ("tiered", samples) => Engines::Native(Mode::Tiered {
                    calls: Mode::CALLS,
                    optimised: When::Samples(samples.parse().ok().filter(|&samples| samples > 0)?),
                }),
                ("baseline", calls) => Engines::Native(Mode::Tiered {
                    calls: calls.parse().ok().filter(|&calls| calls > 0)?,
                    optimised: When::Never,
                }),
                _ => return None,
            },
        })
    }
}

/// Where modules come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder of `.beam` files.
    Folder(PathBuf),
    /// An archive with such a folder in it, as OTP knows them: `NAME.ez` has `NAME/ebin`.
    Archive(PathBuf),
    /// What `.beam` files hold: loaded in this order when the machine boots.
    Memory(Vec<Vec<u8>>),
}

/// A machine to be.
pub struct Builder {
    pub otp: Otp,
    pub schedulers: usize,
    /// How many of them run processes at first.
    pub schedulers_online: usize,
    pub processes_max: usize,
    pub ports_max: usize,
    /// What SIGINT does.
    pub interrupt: Interrupt,
    pub dirty_io: usize,
    /// Atoms that programs can make.
    pub atoms_max: usize,
    /// What `init` is given: OTP's flags and arguments.
    pub boot_args: Vec<Vec<u8>>,
    /// Emulator flags that built-ins answer questions about, each with its value.
    pub flags: Vec<(String, String)>,
    /// Whether signals of the operating system become events of OTP. One machine of a process can
    /// do so.
    pub handles_os_signals: bool,
    /// Leaves out the first process: whoever embeds the machine starts what is to run.
    pub without_init: bool,
    pub engines: Engines,
    /// Whether the machine may start with the interpreter alone where no machine code can be made,
    /// as in a container that forbids executable memory.
    pub native_may_fail: bool,
    pub native: swarmrt_engine::Options,
    /// What a scheduler's thread does that has had nothing to do for a while: the allocator may
    /// give memory back.
    pub when_idle: fn(),
    /// Where modules come from besides OTP.
    pub sources: Vec<Source>,
    /// Modules of functions in Rust.
    pub host_modules: Vec<HostModule>,
    /// Whether [`Builder::boot`] waits until OTP has booted, so that what is called then finds all
    /// of it; for at most so long.
    pub wait_for_boot: Option<Duration>,
    /// Where what one run finds out is kept for the next, if anywhere: a folder that is the user's
    /// alone. One that cannot be used is as none.
    pub code_cache: Option<PathBuf>,
}

impl Builder {
    /// Schedulers that a machine can have.
    pub const SCHEDULERS_MAX: usize = 64;

    /// A machine on this OTP that boots as `erl` does without flags.
    pub fn new(otp: Otp) -> Builder {
        let processors = Processors::of_system();
        Builder {
            schedulers: processors.schedulers().min(Builder::SCHEDULERS_MAX),
            schedulers_online: processors.schedulers_online().min(Builder::SCHEDULERS_MAX),
            processes_max: if otp.release >= Release::R27 { 1 << 20 } else { 1 << 18 },
            ports_max: swarmrt_machine::vm::ports::PORTS_MAX,
            interrupt: Interrupt::default(),
            otp,
            dirty_io: 10,
            atoms_max: swarmrt_term::atom::LIMIT_DEFAULT,
            boot_args: Vec::new(),
            flags: Vec::new(),
            without_init: false,
            handles_os_signals: true,
            engines: Engines::Native(Mode::DEFAULT),
            native_may_fail: true,
            native: swarmrt_engine::Options {
                perf_map: false,
                code_bytes_max: swarmrt_engine::Options::CODE_BYTES_MAX_DEFAULT,
            },
            code_cache: None,
            when_idle: || (),
            sources: Vec::new(),
            host_modules: Vec::new(),
            wait_for_boot: None,
        }
    }

    /// A machine within another program: OTP boots without a shell, reads nothing from standard
    /// input, and leaves the program's signals alone. `boot` returns when it is there.
    pub fn embedded(otp: Otp) -> Builder {
        const BOOT_TIME_MAX: Duration = Duration::from_mins(1);
        let boot_args = otp
            .init_arguments("swarmrt")
            .into_iter()
            .chain(["-noshell", "-noinput", "-boot", "start_clean"].map(str::to_owned));
        let mut builder = Builder::new(otp);
        builder.boot_args = boot_args.map(String::into_bytes).collect();
        builder.handles_os_signals = false;
        builder.wait_for_boot = Some(BOOT_TIME_MAX);
        builder
    }

    /// Adds modules from somewhere.
    #[must_use]
    pub fn source(mut self, source: Source) -> Builder {
        self.sources.push(source);
        self
    }

    /// Adds a module of functions in Rust.
    #[must_use]
    pub fn host_module(mut self, module: HostModule) -> Builder {
        self.host_modules.push(module);
        self
    }

    /// What `init` is told of the sources that are folders.
    fn code_path(&self) -> Vec<Vec<u8>> {
        let folders = self.sources.iter().filter_map(|source| match source {
            Source::Folder(folder) => Some(folder.clone()),
            Source::Archive(archive) => Some(archive.join(archive.file_stem()?).join("ebin")),
            Source::Memory(_) => None,
        });
        folders
            .flat_map(|folder| [b"-pa".to_vec(), folder.into_os_string().into_encoded_bytes()])
            .collect()
    }

    /// Loads OTP's preloaded modules and starts the first process.
    ///
    /// # Errors
    /// When a module cannot be loaded, a thread not started, or OTP does not boot.
    pub fn boot(mut self) -> Result<Machine, BootError> {
        let code_path = self.code_path();
        self.boot_args.extend(code_path);
        let backend = match self.engines {
            Engines::Interpreter => None,
            Engines::Native(_) => match Cranelift::new(&swarmrt_interp::ASSISTS) {
                Err(why) if !self.native_may_fail => return Err(BootError::Native(why)),
                backend => backend.ok(),
            },
        };
        let vm = self.machine(backend.as_ref());
        vm.set_engine(Box::new(Interpreter { tier: self.tier(vm, backend)? }));
        swarmrt_bifs::register(vm, &self.otp.erts_version);
        swarmrt_io::register(vm);
        swarmrt_net::register(vm);
        swarmrt_dist::register(vm);
        swarmrt_nif::register(vm, &self.otp.erts_version);
        self.load_preloaded(vm)?;
        let machine = Machine::of(vm);
        let in_memory = self.sources.iter().filter_map(|source| match source {
            Source::Memory(modules) => Some(modules),
            Source::Folder(_) | Source::Archive(_) => None,
        });
        for bytes in in_memory.flatten() {
            machine.load(bytes).map_err(BootError::Module)?;
        }
        for module in std::mem::take(&mut self.host_modules) {
            machine.add(module).map_err(BootError::Module)?;
        }
        self.start_first_process(vm).map_err(BootError::Threads)?;
        if let Some(at_most) = self.wait_for_boot {
            machine.wait_until_started(at_most).map_err(BootError::Start)?;
        }
        Ok(machine)
    }

    /// The machine without anything in it.
    fn machine(&self, backend: Option<&Cranelift>) -> &'static Vm {
        let config = Config {
            schedulers: self.schedulers,
            processes_max: self.processes_max,
            // A power of two, as in OTP.
            ports_max: self.ports_max.next_power_of_two(),
            dirty_cpu: self.schedulers.min(Processors::counted().schedulers()),
            dirty_io: self.dirty_io,
            flags: self.flags.clone(),
            release: self.otp.release,
            when_idle: self.when_idle,
            no_code: backend.map_or(CellKind::WITHOUT_MACHINE_CODE, |backend| {
                CellKind::ALL.map(|kind| backend.glue().no_code(kind))
            }),
            seed: None,
        };
        if let Some(bytes) = memory::available_bytes() {
            swarmrt_term::usage::set_memory_limit(bytes);
        }
        // Before there are any atoms but the listed ones.
        Atom::set_limit(self.atoms_max);
        // Code refers to built-ins by number, and each release has others.
        let build = swarmrt_engine::code::build::build_id().map(|mut build| {
            build.push(self.otp.release.number());
            build
        });
        let kept = self
            .code_cache
            .as_deref()
            .zip(build)
            .and_then(|(folder, build)| CodeCache::open(folder, &build).ok());
        let vm = Vm::new(config);
        vm.schedulers.set_online(self.schedulers_online.clamp(1, vm.schedulers.count()));
        if let Some(kept) = kept {
            vm.code.cache.get_or_init(|| kept);
        }
        vm
    }

    /// What has machine code made, where there is to be some.
    fn tier(
        &self,
        vm: &'static Vm,
        backend: Option<Cranelift>,
    ) -> Result<Option<Arc<Tier>>, BootError> {
        let (Engines::Native(mode), Some(backend)) = (self.engines, backend) else {
            return Ok(None);
        };
        let baseline = Baseline::new(&swarmrt_interp::ASSISTS, backend.glue())
            .map_err(BootError::Native)?
            .map(|baseline| Box::new(baseline) as Box<dyn BaselineCompiler>);
        Tier::start(vm, Box::new(backend), baseline, mode, self.native)
            .map(Some)
            .map_err(BootError::Native)
    }

    fn load_preloaded(&self, vm: &'static Vm) -> Result<(), BootError> {
        for name in swarmrt_bifs::pre_loaded(self.otp.release) {
            let failed = |why: String| BootError::Preloaded(name.to_owned(), why);
            let path = self.otp.preloaded.join(format!("{name}.beam"));
            let bytes = std::fs::read(&path)
                .map_err(|error| failed(format!("{}: {error}", path.display())))?;
            vm.load_preloaded(&bytes).map_err(|error| failed(error.0))?;
        }
        Ok(())
    }

    /// Starts the first process, which is OTP's `init`, if that is wanted, and those of the system.
    fn start_first_process(&self, vm: &'static Vm) -> std::io::Result<()> {
        let _guard = swarmrt_machine::pin();
        if self.without_init {
            return self.start_system_processes(vm, None);
        }
        let mut heap = FragmentHeap::new();
        let args: Vec<Term> = self.boot_args.iter().map(|arg| heap.binary(arg)).collect();
        let args = heap.list(&args);
        let args = heap.list(&[Term::atom(am::INIT), args]);
        let first = Start::Apply { module: Atom::new("erl_init"), function: am::START, args };
        let mut threads = Ok(());
        // The first process has the first number, and runs when the others are there.
        spawn_announced(vm, None, first, SpawnOptions::default(), |_, id| {
            threads = self.start_system_processes(vm, Some(id));
        });
        threads
    }

    /// Makes the processes that the code server needs, starts the schedulers, and waits until the
    /// purger has its name.
    fn start_system_processes(&self, vm: &'static Vm, first: Option<u64>) -> std::io::Result<()> {
        let start = |(name, priority): (&str, Priority)| {
            let start =
                Start::Apply { module: Atom::new(name), function: am::START, args: Term::NIL };
            let off_heap = Some(atom!("off_heap"));
            let options =
                SpawnOptions { priority, message_queue_data: off_heap, ..SpawnOptions::default() };
            spawn(vm, None, start, options)
        };
        let others: Vec<u64> = SYSTEM_PROCESSES.into_iter().filter_map(start).collect();
        let purger = others.first().copied();
        if let Some(&collector) = others.get(1) {
            vm.literal_area_collector.get_or_init(|| collector);
        }
        for pid in first.into_iter().chain(others) {
            vm.system_processes.add(pid);
        }
        if !self.without_init && self.handles_os_signals {
            swarmrt_io::handle_os_signals(vm, self.interrupt)?;
        }
        vm.start()?;
        while vm.names.whereis(Atom::new(PURGER)).is_none()
            && purger.is_some_and(|purger| vm.processes.get(purger).is_some())
        {
            std::thread::sleep(REGISTRATION_POLL);
        }
        Ok(())
    }
}
