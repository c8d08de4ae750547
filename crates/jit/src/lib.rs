//! The native engine: hot functions become machine code, over the same machine state that the interpreter works on.
//!
//! The interpreter reports now and then what it is running. What is reported often is compiled on a thread of its
//! own, the most often reported first, and hung on the function's code cells; from then on, both engines go on in
//! machine code whenever they come to such a cell. Nothing here knows of the interpreter but as functions that
//! execute an instruction or a part of one ([`Assists`]): what machine code does not do itself, it has done by those.

mod analysis;
mod assisted;
mod bits;
mod compile;
mod convention;
mod facts;
mod frame;
mod glue;
mod layout;
mod listing;
mod memory;
mod numbers;
mod translate;

use compile::{Compiler, Part, Target};
use cranelift_codegen::settings::{self, Configurable};
use glue::{Glue, Stub};
pub use listing::Lister;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::{Assists, EnterFn, Native, cell_code};
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
    /// Some five thousand calls.
    pub const DEFAULT: Mode = Mode::Tiered { samples: 12 };
}

/// What the engine has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Functions compiled, and the bytes of their code, from the start on.
    pub functions: u64,
    pub code_bytes: u64,
    pub compile_us: u64,
    /// Memory that machine code takes now: whole pages, without what was unloaded.
    pub mapped_bytes: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { functions, code_bytes, compile_us, mapped_bytes } = self;
        write!(f, "{functions} functions compiled, {code_bytes} bytes of code, in {} ms; {mapped_bytes} bytes mapped", compile_us / 1000)
    }
}

struct Wanted {
    module: Arc<ModuleCode>,
    function: usize,
    part: Part,
    /// The address of the cell where the samples are counted.
    cell: usize,
}

/// What was seen of a piece while it ran.
#[derive(Clone, Copy, Default)]
struct Seen {
    times: u32,
    /// Whether there were floats among the arguments of the function, or in what they are made of.
    floats: bool,
}

#[derive(Default)]
struct Hot {
    /// What was seen, by the address of the cell that it runs behind.
    samples: HashMap<usize, Seen>,
    queue: Vec<Wanted>,
}

struct Jit {
    target: Target,
    mode: Mode,
    hot: Mutex<Hot>,
    arrived: Condvar,
    functions: AtomicU64,
    code_bytes: AtomicU64,
    compile_us: AtomicU64,
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
    fn new(vm: &Vm, assists: &'static Assists) -> Result<Target, Unavailable> {
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
        Ok(Target { isa, assists, bifs: vm.bifs, glue })
    }
}

/// Sets the native engine up and starts its compiling thread. Before the machine starts.
///
/// # Errors
/// When the processor or the operating system does not allow it.
pub fn start(vm: &'static Vm, assists: &'static Assists, mode: Mode, perf_map: bool) -> Result<(), Unavailable> {
    let target = Target::new(vm, assists)?;
    // SAFETY: the trampoline was compiled with this signature.
    let enter: EnterFn = unsafe { std::mem::transmute::<*const u8, EnterFn>(target.glue.trampoline as *const u8) };
    let [no_code_entry, no_code_return] = [Stub::NoCodeEntry, Stub::NoCodeReturn].map(|stub| target.glue.exits[stub as usize]);
    vm.set_native(Native { enter, no_code_entry, no_code_return, sample, loaded });
    let dump = if perf_map {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        Some(Mutex::new(std::fs::File::create(&path).map_err(|error| because(&path, &error))?))
    } else {
        None
    };
    let jit = Jit {
        target,
        mode,
        hot: Mutex::default(),
        arrived: Condvar::new(),
        functions: AtomicU64::new(0),
        code_bytes: AtomicU64::new(0),
        compile_us: AtomicU64::new(0),
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
        mapped_bytes: memory::MAPPED_BYTES.load(Ordering::Relaxed) as u64,
    })
}

/// Counts one sighting of what `ip` is in.
fn sample(vm: &'static Vm, ip: *const Instr, arguments: &[Term]) {
    let Some(jit) = JIT.get() else { return };
    let Mode::Tiered { samples: enough } = jit.mode else { return };
    let Some(module) = vm.code.module_at(ip as usize) else { return };
    let code = module.code.code();
    let at = ((ip as usize - module.range().start) / size_of::<Instr>()) as u32;
    let after = module.code.functions.partition_point(|function| function.start <= at);
    let Some(function) = after.checked_sub(1) else { return };
    let entry = module.code.functions[function].entry;
    let has_code = |cell: u32| {
        // SAFETY: a cell.
        let code = unsafe { cell_code(&raw const code[cell as usize]) };
        ![Stub::NoCodeEntry, Stub::NoCodeReturn].iter().any(|&stub| code == jit.target.glue.exits[stub as usize])
    };
    // The entry first; when that is compiled, where in the function it is.
    let has_entry = has_code(entry);
    let cell = if has_entry { (entry..at).rev().find(|&cell| matches!(code[cell as usize], Instr::Cell { .. })).unwrap_or(entry) } else { entry };
    if has_entry && has_code(cell) {
        return;
    }
    let key = &raw const code[cell as usize] as usize;
    let mut hot = jit.hot.lock();
    let seen = hot.samples.entry(key).or_default();
    seen.times += 1;
    seen.floats |= arguments.iter().any(|&argument| has_float(argument));
    // What is met behind code has been run often already.
    if seen.times == if has_entry { 1 } else { enough } {
        let part = if has_entry { Part::Behind(cell) } else { Part::Entry };
        hot.queue.push(Wanted { module, function, part, cell: key });
        drop(hot);
        jit.arrived.notify_one();
    }
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
    if let Mode::Eager { prefix } = jit.mode
        && module.name.name().starts_with(prefix)
    {
        let mut compiler = Compiler::new();
        for function in 0..module.code.functions.len() {
            jit.install(&mut compiler, module, function, Part::All, true);
        }
    }
}

/// The compiling thread.
fn compile_hot() {
    let jit = JIT.get().expect("set before the thread starts");
    let mut compiler = Compiler::new();
    loop {
        let (wanted, floats) = {
            let mut hot = jit.hot.lock();
            loop {
                // The hottest first: counts go on while a function waits.
                let hottest = (0..hot.queue.len()).max_by_key(|&at| hot.samples[&hot.queue[at].cell].times);
                let Some(hottest) = hottest else {
                    jit.arrived.wait(&mut hot);
                    continue;
                };
                let wanted = hot.queue.swap_remove(hottest);
                let entry = &raw const wanted.module.code.code()[wanted.module.code.functions[wanted.function].entry as usize];
                let floats = hot.samples.get(&(entry as usize)).is_some_and(|seen| seen.floats);
                break (wanted, floats);
            }
        };
        jit.install(&mut compiler, &wanted.module, wanted.function, wanted.part, floats);
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
    /// Compiles a function or a part of it. What cannot be compiled stays as it is.
    fn install(&self, compiler: &mut Compiler, module: &ModuleCode, number: usize, part: Part, floats: bool) {
        let started = thread_time();
        let function = module.code.functions[number];
        match compiler.install(&self.target, module, number, part, floats) {
            Ok(Some(compiled)) => {
                self.functions.fetch_add(u64::from(!matches!(part, Part::Behind(_))), Ordering::Relaxed);
                self.code_bytes.fetch_add(compiled.code_bytes as u64, Ordering::Relaxed);
                if let Some(dump) = &self.dump {
                    use std::io::Write;
                    let mut dump = dump.lock();
                    for (cell, address, bytes) in compiled.pieces {
                        // A map that cannot be written is a map that lacks a line.
                        let _ = writeln!(dump, "{address:x} {bytes:x} {}:{}/{}+{}", module.name, function.name, function.arity, cell - function.entry);
                    }
                }
            }
            Ok(None) => {}
            Err(error) => debug_assert!(false, "{}: {error}", function.name),
        }
        self.compile_us.fetch_add((thread_time() - started).as_micros() as u64, Ordering::Relaxed);
    }
}
