//! The native engine: hot functions become machine code, over the same machine state that the interpreter works on.
//!
//! The interpreter reports now and then what it is running. What is reported often is compiled on a thread of its
//! own, the most often reported first, and hung on the function's code cells; from then on, both engines go on in
//! machine code whenever they come to such a cell. Nothing here knows of the interpreter but as functions that
//! execute an instruction or a part of one ([`Assists`]): what machine code does not do itself, it has done by those.

mod analysis;
mod anchors;
mod assisted;
mod bits;
mod bs_match;
mod built_ins;
mod cached;
mod compile;
mod convention;
mod facts;
mod frame;
mod functions;
mod glue;
mod inlining;
mod layout;
mod listing;
mod memory;
mod numbers;
mod resumption;
mod translate;
mod unwind;
mod tuples;

pub use anchors::build_id;
use compile::{Compiler, Part, Target};
use cranelift_codegen::settings::{self, Configurable};
use functions::{Functions, cell_at, hung_bytes};
use glue::{Glue, Stub};
pub use listing::Lister;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::{Assists, EnterFn, Native, cell_code, is_entry};
use swarmrt_term::Term;

/// When functions are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Once they were found running this often.
    Tiered { samples: u32 },
    /// All of a module when it is loaded, if its name begins so; for testing.
    Eager { prefix: &'static str },
}

impl Mode {
    /// Some eight thousand calls: most of what booting calls often is just below, and would be compiled while it ends.
    pub const DEFAULT: Mode = Mode::Tiered { samples: 20 };
}

/// What the engine has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Functions compiled, and the bytes of their code, from the start on.
    pub functions: u64,
    pub code_bytes: u64,
    pub compile_us: u64,
    /// Functions whose code was given back because there was too much.
    pub given_back: u64,
    /// Pieces of machine code that an earlier run made.
    pub from_before: u64,
    /// Memory that machine code takes now: whole pages, without what was unloaded.
    pub mapped_bytes: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { functions, code_bytes, compile_us, given_back, from_before, mapped_bytes } = self;
        write!(f, "{functions} functions compiled, {code_bytes} bytes of code, in {} ms; ", compile_us / 1000)?;
        write!(f, "{given_back} of them given back; {from_before} pieces from earlier runs; {mapped_bytes} bytes mapped")
    }
}

/// How the engine is to work.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Writes a map of machine code for `perf`.
    pub perf_map: bool,
    /// The most bytes of machine code at a time. More is compiled, but then what was not seen running for the longest
    /// time is given back.
    pub code_bytes_max: usize,
}

impl Options {
    /// All of some four hundred modules as large as `lists`.
    pub const CODE_BYTES_MAX_DEFAULT: usize = 256 << 20;
}

/// How often a function is found running before it is compiled, if machine code of others of its module was there from an earlier
/// run. Few are left then, and later runs have the use of it, too.
const SAMPLES_OF_KNOWN: u32 = 8;

/// What took less time to compile is not worth keeping.
const KEPT_US_MIN: u64 = 1_000;

/// How long the compiling thread has nothing to do before it sees to it that what it made is kept.
const QUIET: Duration = Duration::from_secs(5);

/// How much is left when code is given back, of what may be there.
const LEFT_QUARTERS: usize = 3;

struct Wanted {
    module: Arc<ModuleCode>,
    function: usize,
    part: Part,
    /// Sightings, which are counted while it waits.
    times: Arc<AtomicU32>,
}

struct Jit {
    vm: &'static Vm,
    target: Target,
    mode: Mode,
    code_bytes_max: usize,
    queue: Mutex<Vec<Wanted>>,
    arrived: Condvar,
    functions: AtomicU64,
    code_bytes: AtomicU64,
    compile_us: AtomicU64,
    /// Of that, what is kept for later runs.
    kept_us: AtomicU64,
    given_back: AtomicU64,
    from_before: AtomicU64,
    dump: Option<Mutex<std::fs::File>>,
}

static JIT: OnceLock<Jit> = OnceLock::new();

/// Why there is no native engine.
#[derive(Debug)]
pub struct Unavailable(pub String);

fn because(what: &str, error: &dyn std::fmt::Display) -> Unavailable {
    Unavailable(format!("{what}: {error}"))
}

impl Target {
    /// This computer, with the code at the border of the engines.
    fn new(vm: &'static Vm, assists: &'static Assists) -> Result<Target, Unavailable> {
        let mut flags = settings::builder();
        for (name, value) in [
            // Its optimisations cost a quarter of the time, and gain nothing that can be measured on what comes from here.
            ("opt_level", "none"),
            ("preserve_frame_pointers", "true"),
            ("enable_pinned_reg", "true"),
            // The little that a piece keeps on the machine's stack never reaches over a page.
            ("enable_probestack", "false"),
            // Pieces are verified before their convention is changed.
            ("enable_verifier", "false"),
            ("unwind_info", "false"),
        ] {
            flags.set(name, value).map_err(|error| because(name, &error))?;
        }
        let isa = cranelift_native::builder()
            .map_err(|error| because("this processor", &error))?
            .finish(settings::Flags::new(flags))
            .map_err(|error| because("code generator", &error))?;
        let glue = Glue::compile(&isa, assists).map_err(|error| because("code at the border", &error))?;
        let features: Vec<String> = isa.isa_flags().iter().map(ToString::to_string).collect();
        let processor = format!("{} {}", isa.triple(), features.join(" "));
        Ok(Target { isa, assists, bifs: vm.bifs, server: &vm.code, glue, processor })
    }
}

/// Sets the native engine up and starts its compiling thread. Before the machine starts.
///
/// # Errors
/// When the processor or the operating system does not allow it.
pub fn start(vm: &'static Vm, assists: &'static Assists, mode: Mode, options: Options) -> Result<(), Unavailable> {
    let target = Target::new(vm, assists)?;
    let dump = if options.perf_map {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        Some(Mutex::new(std::fs::File::create(&path).map_err(|error| because(&path, &error))?))
    } else {
        None
    };
    // SAFETY: the trampoline was compiled with this signature.
    let enter: EnterFn = unsafe { std::mem::transmute::<*const u8, EnterFn>(target.glue.trampoline as *const u8) };
    let [no_code_entry, no_code_return] = [Stub::NoCodeEntry, Stub::NoCodeReturn].map(|stub| target.glue.exits[stub as usize]);
    vm.set_native(Native { enter, no_code_entry, no_code_return, sample, resume: resumption::find, loaded });
    let jit = Jit {
        vm,
        target,
        mode,
        code_bytes_max: options.code_bytes_max,
        queue: Mutex::default(),
        arrived: Condvar::new(),
        functions: AtomicU64::new(0),
        code_bytes: AtomicU64::new(0),
        compile_us: AtomicU64::new(0),
        kept_us: AtomicU64::new(0),
        given_back: AtomicU64::new(0),
        from_before: AtomicU64::new(0),
        dump,
    };
    assert!(JIT.set(jit).is_ok(), "the native engine is started once");
    std::thread::Builder::new().name("compiler".to_owned()).spawn(compile_hot).map_err(|error| because("compiling thread", &error))?;
    Ok(())
}

/// What the engine has done so far, if there is one.
pub fn counts() -> Option<Counts> {
    JIT.get().map(|jit| Counts {
        functions: jit.functions.load(Ordering::Relaxed),
        code_bytes: jit.code_bytes.load(Ordering::Relaxed),
        compile_us: jit.compile_us.load(Ordering::Relaxed),
        given_back: jit.given_back.load(Ordering::Relaxed),
        from_before: jit.from_before.load(Ordering::Relaxed),
        mapped_bytes: memory::MAPPED_BYTES.load(Ordering::Relaxed) as u64,
    })
}

/// Counts one sighting of what `ip` is in.
fn sample(vm: &'static Vm, ip: *const Instr, arguments: &[Term]) -> bool {
    let Some(jit) = JIT.get() else { return false };
    let Mode::Tiered { samples: enough } = jit.mode else { return false };
    let Some(module) = vm.code.module_at(ip as usize) else { return false };
    let code = module.code.code();
    let at = ((ip as usize - module.range().start) / size_of::<Instr>()) as u32;
    let Some(function) = module.number_at(at) else { return false };
    let entry = module.code.functions[function].entry;
    // The entry first; when that is compiled, where in the function it is.
    let has_entry = jit.has_code(&module, entry);
    let cell = if has_entry { (entry..at).rev().find(|&cell| matches!(code[cell as usize], Instr::Cell { .. })).unwrap_or(entry) } else { entry };
    let wants_code = !has_entry || !jit.has_code(&module, cell);
    let functions = Functions::of(&module);
    let enough = if functions.was_kept() { enough.min(SAMPLES_OF_KNOWN) } else { enough };
    let times = functions.with(function, |function| {
        function.last_seen = jit.functions.load(Ordering::Relaxed);
        if !wants_code {
            return None;
        }
        function.floats |= arguments.iter().any(|&argument| has_float(argument));
        let times = function.times(cell);
        // What is met behind code has been run often already.
        let reached = times.fetch_add(1, Ordering::Relaxed) + 1 == if has_entry { 1 } else { enough };
        reached.then(|| times.clone())
    });
    if let Some(times) = times {
        let part = if has_entry { Part::Behind(cell) } else { Part::Entry };
        jit.queue.lock().push(Wanted { module, function, part, times });
        jit.arrived.notify_one();
    }
    wants_code
}

/// Whether a term is a float, or has one close at hand.
fn has_float(term: Term) -> bool {
    const LOOKED_AT: usize = 8;
    term.is_float()
        || term.as_cons().is_some_and(|cons| cons.head().is_float())
        || term.as_tuple().is_some_and(|tuple| (0..tuple.arity().min(LOOKED_AT)).any(|index| tuple.get(index).is_float()))
}

/// A module is about to be put in place.
fn loaded(_vm: &'static Vm, module: &ModuleCode) {
    let Some(jit) = JIT.get() else { return };
    match jit.mode {
        Mode::Eager { prefix } if module.name.name().starts_with(prefix) => {
            let mut compiler = Compiler::new();
            for function in 0..module.code.functions.len() {
                // None of it would be compiled a second time.
                if hung_bytes() < jit.code_bytes_max {
                    jit.install(&mut compiler, module, function, Part::All, true);
                }
            }
        }
        Mode::Tiered { .. } if hung_bytes() < jit.code_bytes_max => jit.take_up(module),
        _ => {}
    }
}

/// Has what was compiled, and what else is new, kept for later runs, if it is enough to be worth that. Says of how many modules
/// machine code was kept.
///
/// # Errors
/// What the system says; then nothing that was kept before is lost.
pub fn keep(vm: &Vm) -> std::io::Result<usize> {
    let Some(cache) = vm.code.cache.get() else { return Ok(0) };
    let mut modules = Vec::new();
    if let Some(jit) = JIT.get().filter(|jit| jit.has_much_to_keep()) {
        jit.kept_us.store(jit.compile_us.load(Ordering::Relaxed), Ordering::Relaxed);
        modules = vm.code.versions().iter().filter_map(|module| jit.to_keep(module)).collect();
    }
    if modules.is_empty() && !cache.has_news() { Ok(0) } else { cache.save(&modules) }
}

/// The compiling thread.
fn compile_hot() {
    let jit = JIT.get().expect("set before the thread starts");
    let mut compiler = Compiler::new();
    loop {
        let wanted = {
            let mut queue = jit.queue.lock();
            loop {
                // The hottest first: counts go on while a function waits.
                let hottest = (0..queue.len()).max_by_key(|&at| queue[at].times.load(Ordering::Relaxed));
                let Some(hottest) = hottest else {
                    if !jit.has_much_to_keep() {
                        jit.arrived.wait(&mut queue);
                    } else if jit.arrived.wait_for(&mut queue, QUIET).timed_out() {
                        // What cannot be kept is made again.
                        let _ = MutexGuard::unlocked(&mut queue, || keep(jit.vm));
                    }
                    continue;
                };
                break queue.swap_remove(hottest);
            }
        };
        let Wanted { module, function, part, .. } = wanted;
        let cell = if let Part::Behind(cell) = part { cell } else { module.code.functions[function].entry };
        // It may have been asked for twice, when its code was given back in between.
        if !jit.has_code(&module, cell) {
            jit.install_seen(&mut compiler, &module, function, part);
            for (maker, cell) in inlining::makers(jit.target.server, &module, cell) {
                let part = if cell == module.code.functions[maker].entry { Part::Entry } else { Part::Behind(cell) };
                if !jit.has_code(&module, cell) {
                    jit.install_seen(&mut compiler, &module, maker, part);
                }
            }
            drop(module);
            jit.keep_to_limit();
        }
    }
}

/// How long this thread has been running.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Jit {
    /// Whether enough was compiled since something was kept last.
    fn has_much_to_keep(&self) -> bool {
        let (compiled, kept) = (self.compile_us.load(Ordering::Relaxed), self.kept_us.load(Ordering::Relaxed));
        self.vm.code.cache.get().is_some() && compiled.saturating_sub(kept) >= KEPT_US_MIN
    }
    fn has_code(&self, module: &ModuleCode, cell: u32) -> bool {
        let cell = cell_at(module, cell);
        // SAFETY: a cell.
        unsafe { cell_code(cell) != self.no_code(cell) }
    }
    /// What hangs on a cell of a module when there is no code.
    fn no_code(&self, cell: *const Instr) -> u64 {
        // SAFETY: the callers' cells are.
        let stub = if unsafe { is_entry(cell) } { Stub::NoCodeEntry } else { Stub::NoCodeReturn };
        self.target.glue.exits[stub as usize]
    }

    /// Gives back the code of the modules that were not seen running for the longest time, when there is too much. All of
    /// a module, whose functions call each other directly.
    ///
    /// Machine code runs only while its thread is pinned, and whoever came to it has read its address from a cell: so once
    /// the code is off its cells, it is free when all have unpinned that were pinned then.
    fn keep_to_limit(&self) {
        let hung = hung_bytes();
        if hung <= self.code_bytes_max {
            return;
        }
        let mut enough = hung - self.code_bytes_max / 4 * LEFT_QUARTERS;
        let versions = self.vm.code.versions();
        let mut modules: Vec<_> = versions.iter().filter_map(|module| Functions::of(module).compiled().map(|(seen, bytes)| (seen, bytes, module))).collect();
        modules.sort_by_key(|&(seen, ..)| seen);
        let guard = swarmrt_machine::pin();
        for (_, bytes, module) in modules {
            let (codes, functions) = Functions::of(module).take_off(module, |cell| self.no_code(cell));
            self.given_back.fetch_add(functions as u64, Ordering::Relaxed);
            guard.defer(move || drop(codes));
            enough = enough.saturating_sub(bytes);
            if enough == 0 {
                break;
            }
        }
        guard.flush();
    }

    /// Writes a piece into the map for `perf`, if one is wanted.
    fn note_in_map(&self, module: &ModuleCode, cell: u32, address: u64, bytes: usize) {
        use std::io::Write;
        if let Some(dump) = &self.dump
            && let Some(function) = module.function_at(cell)
        {
            // A map that cannot be written is a map that lacks a line.
            let _ = writeln!(dump.lock(), "{address:x} {bytes:x} {}:{}/{}+{}", module.name, function.name, function.arity, cell - function.entry);
        }
    }

    /// Compiles a function or a part of it for what has been seen of its arguments.
    fn install_seen(&self, compiler: &mut Compiler, module: &ModuleCode, number: usize, part: Part) {
        let floats = Functions::of(module).with(number, |function| function.floats);
        self.install(compiler, module, number, part, floats);
    }

    /// Compiles a function or a part of it. What cannot be compiled stays as it is.
    fn install(&self, compiler: &mut Compiler, module: &ModuleCode, number: usize, part: Part, floats: bool) {
        let started = thread_time();
        let function = module.code.functions[number];
        // It may have been called only now, and be about to be loaded by who called it.
        module.load_function(&self.vm.code, number);
        match compiler.install(&self.target, module, number, part, floats) {
            Ok(Some(compiled)) => {
                self.functions.fetch_add(u64::from(!matches!(part, Part::Behind(_))), Ordering::Relaxed);
                self.code_bytes.fetch_add(compiled.code_bytes as u64, Ordering::Relaxed);
                for (cell, address, bytes) in compiled.pieces {
                    self.note_in_map(module, cell, address, bytes);
                }
            }
            Ok(None) => {}
            Err(error) => debug_assert!(false, "{}: {error}", function.name),
        }
        self.compile_us.fetch_add((thread_time() - started).as_micros() as u64, Ordering::Relaxed);
    }
}
