//! One machine: the parts that all processes share.

pub mod extensions;
pub mod halting;
pub mod inspect;
pub mod packet;
pub mod port_trace;
pub mod ports;
pub mod resource;
pub mod statistics;
pub mod system_monitor;
mod threads;
pub mod time;
pub mod unique;
pub mod watched;
pub mod world;

pub use threads::StillRunning;

use crate::bif::BifTable;
use crate::code::{CodeServer, HasOldVersion, LoadError, ModuleCode};
use crate::process::links::RefValue;
use crate::process::table::ProcessTable;
use crate::process::{MaxHeapSize, Process};
use crate::schedule::deferred;
use crate::schedule::timer::Timers;
use crate::schedule::{Engine, Schedulers};
use crate::signal;
use crate::signal::remote::Remote;
use crate::vm::extensions::Extensions;
use crate::vm::inspect::Inspect;
use crate::vm::ports::PortHost;
use crate::vm::statistics::{ProcessDefaults, Statistics};
use crate::vm::time::{Clock, TimeWarpMode};
use crate::vm::world::World;
use parking_lot::{Mutex, RwLock};
use std::any::Any;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use swarmrt_beam::specialise::CellKind;
use swarmrt_term::{Atom, AtomMap, NodeInfo, RefKind, Release, Term, am};

/// Registered names.
#[derive(Default)]
pub struct Names {
    table: RwLock<NameTable>,
}

/// Why a pid or port does not get a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameRefused {
    /// Another one has it.
    Taken,
    /// It has a name already.
    HasName,
    /// The port is closed.
    Closed,
}

#[derive(Default)]
struct NameTable {
    objects: AtomMap<Term>,
    /// The words of all pids and ports that have a name; each has one at most.
    named: HashSet<u64>,
}

impl NameTable {
    fn remove(&mut self, name: Atom) -> Option<Term> {
        let object = self.objects.remove(&name)?;
        self.named.remove(&object.raw());
        Some(object)
    }
}

impl Names {
    /// The pid or port registered under a name; `None` when there is none.
    pub fn whereis(&self, name: Atom) -> Option<Term> {
        self.table.read().objects.get(&name).copied()
    }
    /// Registers a local pid or port.
    ///
    /// # Errors
    /// The name is taken, or the object has another one.
    pub fn register(&self, name: Atom, object: Term) -> Result<(), NameRefused> {
        let mut table = self.table.write();
        if table.named.contains(&object.raw()) {
            return Err(NameRefused::HasName);
        }
        if table.objects.contains_key(&name) {
            return Err(NameRefused::Taken);
        }
        table.named.insert(object.raw());
        table.objects.insert(name, object);
        Ok(())
    }
    /// Frees a name. Returns the pid or port that had it.
    pub fn unregister(&self, name: Atom) -> Option<Term> {
        self.table.write().remove(name)
    }
    pub(crate) fn unregister_exiting(&self, name: Atom, object: Term) {
        let mut table = self.table.write();
        if table.objects.get(&name) == Some(&object) {
            table.remove(name);
        }
    }
    /// All names in use, in no order.
    pub fn all(&self) -> Vec<Atom> {
        self.table.read().objects.keys().copied().collect()
    }
}

/// How a machine is to be made.
pub struct Config {
    pub schedulers: usize,
    pub processes_max: usize,
    /// Ports that can be open at a time.
    pub ports_max: usize,
    pub dirty_cpu: usize,
    pub dirty_io: usize,
    /// Emulator flags that built-ins answer questions about, each with its value: `+pc`, `+W`.
    pub flags: Vec<(String, String)>,
    /// The OTP release whose libraries run.
    pub release: Release,
    /// Called by a scheduler's thread that has been idle for a while, for example to give memory
    /// back.
    pub when_idle: fn(),
    /// What code cells hold while they have no machine code, by their kind, in rising order.
    pub no_code: [u64; CellKind::ALL.len()],
    /// The seed of a world with virtual time and without threads; `None`: the real world.
    pub seed: Option<u64>,
}

/// Called for a process that ends, by the thread that ran it, while its terms are still there.
pub type ExitHook = fn(&mut Process);

/// Called for a process that ends, before the [hooks](ExitHook): does work for about so many
/// reductions, and takes them off. It is called again, in another turn, until it returns `true`:
/// nothing is left to do.
pub type ExitWork = fn(&mut Process, reductions: &mut i32) -> bool;

/// Called when a process is suspended (`true`) and when it is resumed.
pub type SuspendHook = fn(&mut Process, bool);

/// Reads the list of options of `spawn_opt`. Returns them, and whether a monitor is asked for;
/// `None` for wrong options.
pub type SpawnOptionsReader = fn(&Vm, Term) -> Option<(crate::process::spawn::SpawnOptions, bool)>;

/// A few processes that every process compares itself with when it ends.
#[derive(Default)]
pub struct SystemProcesses([AtomicU64; 16]);

impl SystemProcesses {
    /// Pids are kept by their number plus one: 0 is a free place.
    fn mark(pid: u64) -> u64 {
        pid + 1
    }
    /// Adds a process. Where there is no place left it is as any other.
    pub fn add(&self, pid: u64) {
        let add = |place: &AtomicU64| {
            place.compare_exchange(0, Self::mark(pid), Ordering::Release, Ordering::Relaxed).is_ok()
        };
        let _ = self.0.iter().any(add);
    }
    fn contains(&self, pid: u64) -> bool {
        let taken = self.0.iter().map(|place| place.load(Ordering::Acquire));
        taken.take_while(|&mark| mark != 0).any(|mark| mark == Self::mark(pid))
    }
}

/// Names the nodes whose pids, ports and references are anywhere in the machine. A built-in that asks
/// waits for it, and is called again.
pub type ReferredNodes = fn(&mut crate::Process) -> Result<Vec<Atom>, crate::BifExit>;

/// A machine: all its state, but for what `docs/architecture.md` lists under "Global state".
pub struct Vm {
    threads: threads::Threads,
    pub config: Config,
    /// Time, choices and threads.
    pub world: Arc<World>,
    /// The clocks of programs, over the world's time.
    pub clock: Arc<Clock>,
    pub timers: Timers,
    pub processes: ProcessTable,
    pub names: Names,
    pub code: CodeServer,
    pub retirement: crate::code::retire::Retirement,
    pub bifs: &'static BifTable,
    pub schedulers: Schedulers,
    pub statistics: Statistics,
    pub process_defaults: ProcessDefaults,
    pub system_monitor: crate::vm::system_monitor::SystemMonitor,
    /// How new processes are traced.
    pub trace_new: crate::process::trace::TraceNew,
    /// Who traces ports.
    pub port_traces: port_trace::PortTraces,
    /// The functions whose calls are traced or counted.
    pub breakpoints: crate::code::breakpoints::Breakpoints,
    pub sequential_tracer: crate::process::sequential::SystemTracer,
    engine: OnceLock<Box<dyn Engine>>,
    /// The processes without which the machine cannot go on.
    pub system_processes: SystemProcesses,
    /// The one of them that waits for literals that are freed.
    pub literal_area_collector: OnceLock<u64>,
    next_ref: AtomicU64,
    pub unique_integers: unique::UniqueIntegers,
    extensions: Extensions,
    exit_work: OnceLock<ExitWork>,
    exit_hooks: RwLock<Vec<ExitHook>>,
    suspend_hooks: RwLock<Vec<SuspendHook>>,
    ports: OnceLock<Box<dyn PortHost>>,
    remote: OnceLock<Box<dyn Remote>>,
    /// The node is to get its name from the first node that it connects to.
    pub awaits_name: AtomicBool,
    /// Reads the options of a process that another node asks for.
    pub spawn_options: OnceLock<SpawnOptionsReader>,
    /// Names the nodes of the identifiers that there are.
    pub referred_nodes: OnceLock<ReferredNodes>,
    inspector: OnceLock<&'static dyn Inspect>,
    default_max_heap: Mutex<Option<MaxHeapSize>>,
    /// Entries in a stack trace, at most.
    backtrace_depth: std::sync::atomic::AtomicUsize,
    /// Receiver of the machine's own log events: a pid, the name `logger`, or `undefined` for none.
    system_logger: Mutex<Term>,
    /// The exit code, once `erlang:halt` was called; the thread that runs the machine waits for it.
    halt: (Mutex<Option<i32>>, parking_lot::Condvar),
    /// Called when the machine is halted.
    halt_hooks: Mutex<Vec<HaltHook>>,
}

/// Called once, by the thread that halts the machine; see [`Vm::on_halt`].
pub type HaltHook = Box<dyn FnOnce() + Send>;

/// The largest `+zdbbl` that OTP takes.
const BUSY_KILOBYTES_MAX: usize = 2_097_151;

impl Config {
    /// For a machine whose schedulers are not started: to list code, and for tests.
    pub fn without_threads(release: Release) -> Config {
        Config {
            schedulers: 1,
            processes_max: 4096,
            ports_max: 1024,
            dirty_cpu: 0,
            dirty_io: 0,
            flags: Vec::new(),
            release,
            when_idle: || (),
            no_code: CellKind::WITHOUT_MACHINE_CODE,
            seed: None,
        }
    }

    /// Whether `debug_line` instructions count (OTP 28): `+D`, and not without line breakpoints.
    fn debugs_lines(&self) -> bool {
        self.release >= Release::R28
            && self.flag("+D").is_some()
            && self.flag("+Dibpl").is_none_or(|value| value == "true")
    }

    /// The value of an emulator flag; the last one counts.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Bytes that wait to be written to another node from which on its connection is busy: `+zdbbl`
    /// in kilobytes, 1 MB where nothing is said.
    pub fn busy_connection_bytes(&self) -> usize {
        let kilobytes = self.flag("+zdbbl").and_then(|limit| limit.parse::<usize>().ok());
        kilobytes.map_or(1 << 20, |limit| limit.clamp(1, BUSY_KILOBYTES_MAX) << 10)
    }

    fn time_warp_mode(&self) -> TimeWarpMode {
        let default =
            if self.release >= Release::R26 { TimeWarpMode::Multi } else { TimeWarpMode::No };
        self.flag("+C").and_then(TimeWarpMode::named).unwrap_or(default)
    }
}

impl Vm {
    /// Makes a machine; it lives until the program ends, or until it is [freed](Vm::free).
    pub fn new(config: Config) -> &'static Vm {
        swarmrt_term::release::set_current(config.release);
        let bifs: &'static BifTable = Box::leak(Box::new(BifTable::collect(config.release)));
        let has_correction = config.flag("+c").is_none_or(|value| value == "true");
        let world = Arc::new(config.seed.map_or_else(World::real, World::seeded));
        let clock = Arc::new(Clock::start(world.clone(), config.time_warp_mode(), has_correction));
        Box::leak(Box::new(Vm {
            threads: Default::default(),
            schedulers: Schedulers::new(&config, world.clone(), clock.clone()),
            clock,
            timers: Timers::new(),
            processes: ProcessTable::new(config.processes_max),
            names: Names::default(),
            code: CodeServer::new(bifs, config.no_code, config.debugs_lines()),
            retirement: Default::default(),
            bifs,
            statistics: Statistics::default(),
            process_defaults: ProcessDefaults::of(&config),
            system_monitor: Default::default(),
            trace_new: crate::process::trace::TraceNew::default(),
            port_traces: Default::default(),
            breakpoints: Default::default(),
            sequential_tracer: crate::process::sequential::SystemTracer::default(),
            engine: OnceLock::new(),
            system_processes: SystemProcesses::default(),
            literal_area_collector: OnceLock::new(),
            next_ref: AtomicU64::new(swarmrt_term::reference::first_count(world.started_os_ns())),
            world,
            unique_integers: unique::UniqueIntegers::new(
                config.schedulers,
                config.schedulers + config.dirty_cpu + config.dirty_io,
            ),
            extensions: Extensions::default(),
            exit_work: OnceLock::new(),
            exit_hooks: RwLock::default(),
            suspend_hooks: RwLock::default(),
            ports: OnceLock::new(),
            remote: OnceLock::new(),
            awaits_name: AtomicBool::new(false),
            spawn_options: OnceLock::new(),
            referred_nodes: OnceLock::new(),
            inspector: OnceLock::new(),
            default_max_heap: Mutex::new(MaxHeapSize::of(&config)),
            backtrace_depth: std::sync::atomic::AtomicUsize::new(
                crate::process::exception::BACKTRACE_DEPTH,
            ),
            system_logger: Mutex::new(Term::atom(am::LOGGER)),
            halt: (Mutex::new(None), parking_lot::Condvar::new()),
            halt_hooks: Mutex::default(),
            config,
        }))
    }

    /// Frees a machine and all its memory.
    ///
    /// # Safety
    /// Its threads [have ended](Vm::shut_down_threads), and nobody has a reference to it, to what is part
    /// of it, or to terms that refer to its code.
    pub unsafe fn free(vm: &'static Vm) {
        deferred::settle();
        // SAFETY: both were made by boxes, and are the caller's alone.
        let (mut vm, bifs) = unsafe {
            let vm = Box::from_raw(std::ptr::from_ref(vm).cast_mut());
            let bifs = Box::from_raw(std::ptr::from_ref(vm.bifs).cast_mut());
            (vm, bifs)
        };
        // What refers to others goes before them: terms before code, and what runs when they are
        // freed before all.
        vm.timers.clear();
        vm.processes.clear();
        deferred::settle();
        vm.ports.take();
        vm.remote.take();
        vm.extensions.clear();
        vm.engine.take();
        /// Garbage is freed when the epoch has advanced twice; each flush tries to advance it.
        const FLUSHES: usize = 16;
        (0..FLUSHES).for_each(|_| pin().flush());
        drop(vm);
        drop(bifs);
    }

    /// The OTP release whose libraries run. Asked when code is loaded or something is set up, not
    /// on hot paths.
    pub fn release(&self) -> Release {
        self.config.release
    }

    /// The name and creation of this node, which all machines of the program share.
    pub fn node(&self) -> NodeInfo {
        NodeInfo::this()
    }

    /// A number for a new reference, unique in the run.
    #[inline]
    pub fn next_ref(&self) -> RefValue {
        RefValue::plain(self.count_ref())
    }
    /// A reference that is an alias of a process.
    pub fn next_alias(&self, pid: u64) -> RefValue {
        RefValue::with_slot(RefKind::Alias, self.processes.slot_of(pid), self.count_ref())
    }
    /// A reference that stands for the table in a slot.
    pub fn next_table_ref(&self, slot: usize) -> RefValue {
        RefValue::with_slot(RefKind::Table, slot, self.count_ref())
    }
    fn count_ref(&self) -> u64 {
        self.next_ref.fetch_add(1, Ordering::Relaxed)
    }
    /// State of a crate above: made when it is first asked for.
    #[inline]
    pub fn extension<T: Any + Send + Sync + Default>(&self) -> &'static T {
        self.extensions.get()
    }

    /// Sets the work that may take an ending process several turns; once.
    pub fn set_exit_work(&self, work: ExitWork) {
        let is_first = self.exit_work.set(work).is_ok();
        assert!(is_first, "one crate alone has such work");
    }
    pub(crate) fn exit_work(&self) -> Option<ExitWork> {
        self.exit_work.get().copied()
    }
    /// Adds a function to be called for every process that ends.
    pub fn add_exit_hook(&self, hook: ExitHook) {
        self.exit_hooks.write().push(hook);
    }
    /// Adds a function to be called when a process is suspended and when it is resumed.
    pub fn add_suspend_hook(&self, hook: SuspendHook) {
        self.suspend_hooks.write().push(hook);
    }
    pub(crate) fn suspend_hooks(&self) -> Vec<SuspendHook> {
        self.suspend_hooks.read().clone()
    }
    pub(crate) fn exit_hooks(&self) -> Vec<ExitHook> {
        self.exit_hooks.read().clone()
    }
    /// Sets the engine; once, before any code is loaded.
    pub fn set_engine(&self, engine: Box<dyn Engine>) {
        let fresh = self.engine.set(engine).is_ok();
        assert!(fresh, "a machine has one engine");
    }
    /// The engine that runs code.
    ///
    /// # Panics
    /// When there is none yet.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.get().expect("an engine is set when the machine is assembled").as_ref()
    }
    /// Sets the crate's object that keeps the ports; once, before the machine starts.
    pub fn set_ports(&self, host: Box<dyn PortHost>) {
        let fresh = self.ports.set(host).is_ok();
        assert!(fresh, "ports are kept by one crate");
    }
    /// What keeps the ports; `None` in a machine without them.
    pub fn ports(&self) -> Option<&dyn PortHost> {
        self.ports.get().map(Box::as_ref)
    }
    /// Sets the crate's object that keeps the connections to other nodes; once, before the machine
    /// starts.
    pub fn set_remote(&self, remote: Box<dyn Remote>) {
        let fresh = self.remote.set(remote).is_ok();
        assert!(fresh, "connections are kept by one crate");
    }
    /// What keeps the connections to other nodes; `None` in a machine without them.
    pub fn remote(&self) -> Option<&dyn Remote> {
        self.remote.get().map(Box::as_ref)
    }
    /// Sets what describes the machine in break menus and crash dumps; the first one counts.
    pub fn set_inspector(&self, inspector: &'static dyn Inspect) {
        self.inspector.get_or_init(|| inspector);
    }
    /// What describes the machine in break menus and crash dumps; `None` until it is set.
    pub fn inspector(&self) -> Option<&'static dyn Inspect> {
        self.inspector.get().copied()
    }
    /// `erlang:is_alive/0`: the node has a name, or is to get one.
    pub fn is_alive(&self) -> bool {
        self.node().name != am::NONODE || self.awaits_name.load(Ordering::Relaxed)
    }
    /// Entries in a stack trace, at most (`system_flag(backtrace_depth)`).
    pub fn backtrace_depth(&self) -> usize {
        self.backtrace_depth.load(Ordering::Relaxed)
    }
    /// Sets the depth. Returns the one before.
    pub fn set_backtrace_depth(&self, depth: usize) -> usize {
        self.backtrace_depth.swap(depth, Ordering::Relaxed)
    }
    /// The receiver of the machine's own log events: a pid, `logger`, or `undefined` for none.
    pub fn system_logger(&self) -> Term {
        *self.system_logger.lock()
    }
    /// Sets the receiver. Returns the one before.
    pub fn set_system_logger(&self, receiver: Term) -> Term {
        std::mem::replace(&mut *self.system_logger.lock(), receiver)
    }
    /// The limit of the heap that new processes get (`+hmax`); `None` for no limit.
    pub fn default_max_heap_size(&self) -> Option<MaxHeapSize> {
        *self.default_max_heap.lock()
    }
    /// Sets the limit that new processes get, in place of `+hmax`.
    pub fn set_default_max_heap_size(&self, limit: Option<MaxHeapSize>) {
        *self.default_max_heap.lock() = limit;
    }

    /// Ends the run with this exit code.
    pub fn halt(&self, code: i32) {
        self.schedulers.stop_running();
        let mut halt = self.halt.0.lock();
        halt.get_or_insert(code);
        self.halt.1.notify_all();
        drop(halt);
        std::mem::take(&mut *self.halt_hooks.lock()).into_iter().for_each(|hook| hook());
    }
    /// Calls `hook` when the machine is halted; at once where it is halted already.
    pub fn on_halt(&self, hook: HaltHook) {
        self.halt_hooks.lock().push(hook);
        if self.is_halting() {
            std::mem::take(&mut *self.halt_hooks.lock()).into_iter().for_each(|hook| hook());
        }
    }
    /// Whether the pid with this number is one of [`Vm::system_processes`].
    pub fn is_system_process(&self, pid: u64) -> bool {
        self.system_processes.contains(pid)
    }
    /// Whether [`Vm::halt`] was called.
    pub fn is_halting(&self) -> bool {
        self.halt.0.lock().is_some()
    }
    /// Waits until the machine is halted. Returns the exit code.
    pub fn wait_for_halt(&self) -> i32 {
        let mut halt = self.halt.0.lock();
        loop {
            if let Some(code) = *halt {
                return code;
            }
            self.halt.1.wait(&mut halt);
        }
    }

    /// Puts a module in place: see [`CodeServer::finish`].
    ///
    /// # Errors
    /// The module, when there is an old version still.
    pub fn finish_loading(&'static self, module: &Arc<ModuleCode>) -> Result<(), Atom> {
        if let Some(engine) = self.engine.get() {
            engine.loaded(module);
        }
        let waits = module.on_load.is_some();
        if !waits && !self.code.must_be_purged(module) {
            self.before_replacement(module.name);
        }
        self.code.finish(module)?;
        if !waits {
            self.set_default_breakpoints(module.name);
        }
        Ok(())
    }
    /// Makes a version whose `on_load` function has run current (`keep`), or else lets it go.
    /// `false` when there is none.
    pub fn finish_on_load(&'static self, name: Atom, keep: bool) -> bool {
        if self.code.slot(name).is_none_or(|slot| slot.on_load.is_none()) {
            return false;
        }
        if keep {
            self.before_replacement(name);
        }
        let finished = self.code.finish_on_load(name, keep);
        if keep {
            self.set_default_breakpoints(name);
        }
        finished
    }
    /// Makes the current version of a module old. `Ok(false)` when the module was never loaded.
    ///
    /// # Errors
    /// When the module has an old version.
    pub fn delete_module(&'static self, name: Atom) -> Result<bool, HasOldVersion> {
        if !self.code.has_old(name) {
            self.before_replacement(name);
        }
        self.code.delete(name)
    }
    /// Loads one of OTP's preloaded modules.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn load_preloaded(&'static self, bytes: &[u8]) -> Result<(), LoadError> {
        let module = self.code.prepare_preloaded(bytes)?.0;
        self.finish_loading(&module)
            .map_err(|name| LoadError(format!("{name} is loaded twice")))?;
        if module.on_load.is_some() {
            // All that it does is to load the library.
            module.link_library(self.bifs);
            self.code.finish_on_load(module.name, true);
        }
        Ok(())
    }

    /// Sends to a pid, to the process registered under a name, or to an alias of this node. `false`
    /// when there is no such process.
    pub fn send(&'static self, from: Term, to: Term, message: Term) -> bool {
        if let Some(pid) = to.as_pid() {
            return signal::send_message(self, from, pid, message);
        }
        if let Some(reference) = to.as_local_ref()
            && reference.ref_kind() == RefKind::Alias
        {
            return signal::send_alias(self, from, RefValue::of(reference), message);
        }
        if let Some(name) = to.as_atom() {
            return self.names.whereis(name).is_some_and(|object| self.send(from, object, message));
        }
        debug_assert!(to != Term::atom(am::UNDEFINED));
        false
    }
}

impl Vm {
    /// Wakes a process at `at_ns` (nanoseconds since the start), when its receive times out; see
    /// [`ReceiveTimer`](crate::process::ReceiveTimer).
    pub fn start_receive_timer(
        &self,
        at_ns: u64,
        pid: u64,
        sequence: u32,
    ) -> crate::schedule::timer::TimerKey {
        self.timers.start_receive(at_ns, pid, sequence)
    }
}

/// Keeps processes that are looked at from being freed; for threads that are not schedulers.
pub fn pin() -> crossbeam_epoch::Guard {
    crossbeam_epoch::pin()
}
