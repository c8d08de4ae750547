//! The native engine: hot functions become machine code, over the same machine state that the interpreter works on.
//!
//! The interpreter reports now and then what it is running. What is reported often is compiled on a thread of its
//! own, the most often reported first, and hung on the function's code cells; from then on, both engines go on in
//! machine code whenever they come to such a cell. Nothing here knows of the interpreter but as functions that
//! execute an instruction or a part of one ([`Assists`]): what machine code does not do itself, it has done by those.

mod analysis;
mod assisted;
mod convention;
mod facts;
mod glue;
mod layout;
mod memory;
mod numbers;
mod translate;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use glue::{Glue, Stub};
use memory::CodeMemory;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use swarmrt_beam::instr::Instr;
use swarmrt_machine::Vm;
use swarmrt_machine::bif::BifTable;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::{Assists, EnterFn, Native, cell_code, set_cell_code};
use swarmrt_term::Term;
use translate::{Source, Start};

/// When functions are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Once they were found running this often.
    Tiered { samples: u32 },
    /// All of a module when it is loaded, if its name begins so; for testing.
    Eager { prefix: &'static str },
}

impl Mode {
    /// Some ten microseconds of running.
    pub const DEFAULT: Mode = Mode::Tiered { samples: 6 };
}

/// Functions with more instructions stay with the interpreter but for their first part.
const PIECE_INSTRUCTIONS_MAX: usize = 20_000;

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
    floats: bool,
}

/// What was seen of a function while it ran.
#[derive(Clone, Copy, Default)]
struct Seen {
    times: u32,
    /// Whether there were floats among its arguments, or in what they are made of.
    floats: bool,
}

#[derive(Default)]
struct Hot {
    /// What was seen of a function, by the address of its entry cell.
    samples: HashMap<usize, Seen>,
    queue: Vec<(u32, Wanted)>,
}

struct Jit {
    isa: OwnedTargetIsa,
    assists: &'static Assists,
    bifs: &'static BifTable,
    mode: Mode,
    hot: Mutex<Hot>,
    arrived: Condvar,
    glue: Glue,
    functions: AtomicU64,
    code_bytes: AtomicU64,
    compile_us: AtomicU64,
    dump: Option<Mutex<std::fs::File>>,
}

static JIT: OnceLock<Jit> = OnceLock::new();

/// Why there is no native engine.
#[derive(Debug)]
pub struct Unavailable(pub String);

/// Sets the native engine up and starts its compiling thread. Before the machine starts.
///
/// # Errors
/// When the processor or the operating system does not allow it.
pub fn start(vm: &'static Vm, assists: &'static Assists, mode: Mode, perf_map: bool) -> Result<(), Unavailable> {
    let because = |what: &str, error: &dyn std::fmt::Display| Unavailable(format!("{what}: {error}"));
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", if std::env::var_os("JNONE").is_some() { "none" } else { "speed" }),
        ("regalloc_algorithm", if std::env::var_os("JSINGLE").is_some() { "single_pass" } else { "backtracking" }),
        ("preserve_frame_pointers", "true"),
        ("enable_pinned_reg", "true"),
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
    let glue = Glue::compile(&isa).map_err(|error| because("code at the border", &error))?;
    // SAFETY: the trampoline was compiled with this signature.
    let enter: EnterFn = unsafe { std::mem::transmute::<*const u8, EnterFn>(glue.trampoline as *const u8) };
    let no_code = glue.exits[Stub::NoCode as usize];
    vm.set_native(Native { enter, no_code, sample, loaded });
    let dump = if perf_map {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        Some(Mutex::new(std::fs::File::create(&path).map_err(|error| because(&path, &error))?))
    } else {
        None
    };
    let jit = Jit {
        isa,
        assists,
        bifs: vm.bifs,
        mode,
        hot: Mutex::default(),
        arrived: Condvar::new(),
        glue,
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

/// Counts one sighting of the function that `ip` is in.
fn sample(vm: &'static Vm, ip: *const Instr, arguments: &[Term]) {
    let Some(jit) = JIT.get() else { return };
    let Mode::Tiered { samples: enough } = jit.mode else { return };
    let Some(module) = vm.code.module_at(ip as usize) else { return };
    let number = ((ip as usize - module.range().start) / size_of::<Instr>()) as u32;
    let after = module.code.functions.partition_point(|function| function.start <= number);
    let Some(function) = after.checked_sub(1) else { return };
    let cell = &raw const module.code.code()[module.code.functions[function].entry as usize];
    // SAFETY: an entry is a cell.
    if unsafe { cell_code(cell) } != jit.glue.exits[Stub::NoCode as usize] {
        return;
    }
    let mut hot = jit.hot.lock();
    let seen = hot.samples.entry(cell as usize).or_default();
    seen.times += 1;
    seen.floats |= arguments.iter().any(|&argument| has_float(argument));
    if seen.times == enough {
        let Seen { times, floats } = *seen;
        hot.queue.push((times, Wanted { module, function, floats }));
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
        for function in 0..module.code.functions.len() {
            jit.install(module, function, true);
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

/// The compiling thread.
fn compile_hot() {
    let jit = JIT.get().expect("set before the thread starts");
    loop {
        let wanted = {
            let mut hot = jit.hot.lock();
            loop {
                // The hottest first: counts go on while a function waits.
                let hottest = (0..hot.queue.len()).max_by_key(|&at| hot.queue[at].0);
                match hottest {
                    Some(at) => break hot.queue.swap_remove(at).1,
                    None => jit.arrived.wait(&mut hot),
                }
            }
        };
        jit.install(&wanted.module, wanted.function, wanted.floats);
    }
}

impl Jit {
    /// Compiles a function and hangs the code on its cells. A function that cannot be compiled stays as it is.
    fn install(&self, module: &ModuleCode, function: usize, floats: bool) {
        let started = thread_time();
        if std::env::var_os("JLOG").is_some() { eprintln!("JLOG start {} {} {}", module.name, module.code.functions[function].name, module.code.functions.get(function+1).map_or(0, |n| n.start - module.code.functions[function].start)); }
        match self.compile(module, function, floats) {
            Ok(Some((memory, cells))) => {
                for &(cell, offset) in &cells {
                    let cell = &raw const module.code.code()[cell as usize];
                    // SAFETY: a cell of the module, which keeps the code for as long as it lives.
                    unsafe { set_cell_code(cell, memory.address() + offset) };
                }
                module.native.lock().push(Box::new(memory));
                self.functions.fetch_add(1, Ordering::Relaxed);
            }
            Ok(None) => {}
            Err(error) => debug_assert!(false, "{}: {error}", module.code.functions[function].name),
        }
        if std::env::var_os("JLOG").is_some() { eprintln!("JLOG {} {} {} us {} instrs", module.name, module.code.functions[function].name, (thread_time() - started).as_micros(), module.code.functions.get(function+1).map_or(0, |n| n.start - module.code.functions[function].start)); }
        self.compile_us.fetch_add((thread_time() - started).as_micros() as u64, Ordering::Relaxed);
    }

    /// The machine code of a function: for each of its cells, where its piece begins.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn compile(&self, module: &ModuleCode, number: usize, floats: bool) -> Result<Option<(CodeMemory, Vec<(u32, u64)>)>, String> {
        let code = module.code.code();
        let functions = &module.code.functions;
        let function = functions[number];
        let end = functions.get(number + 1).map_or(code.len() as u32, |next| next.start);
        if (end - function.start) as usize > PIECE_INSTRUCTIONS_MAX {
            return Ok(None);
        }
        let flow = analysis::Flow::of(code, function.start, end, function.entry, function.arity as usize);
        let source = Source { code, flow: &flow, entry: function.entry, assists: self.assists, bifs: self.bifs, stress: cfg!(feature = "stress"), floats, exits: &self.glue.exits };
        let mut bytes: Vec<u8> = Vec::new();
        let mut cells = Vec::new();
        for at in function.start..end {
            if !matches!(code[at as usize], Instr::Cell { .. }) || at + 1 >= end {
                continue;
            }
            let live = if at == function.entry { function.arity as usize } else { 1 };
            let piece = self.compile_piece(&source, Start { at: at + 1, live })?;
            bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
            cells.push((at, bytes.len() as u64));
            bytes.extend_from_slice(&piece);
        }
        let memory = CodeMemory::new(&bytes).map_err(|error| error.to_string())?;
        self.code_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(dump) = &self.dump {
            use std::io::Write;
            let mut dump = dump.lock();
            for (index, &(cell, offset)) in cells.iter().enumerate() {
                let until = cells.get(index + 1).map_or(bytes.len() as u64, |next| next.1);
                // A map that cannot be written is a map that lacks a line.
                let _ = writeln!(
                    dump,
                    "{:x} {:x} {}:{}/{}+{}",
                    memory.address() + offset,
                    until - offset,
                    module.name,
                    function.name,
                    function.arity,
                    cell - function.entry
                );
            }
        }
        Ok(Some((memory, cells)))
    }

    fn compile_piece(&self, source: &Source<'_>, start: Start) -> Result<Vec<u8>, String> {
        let mut context = Context::for_function(Function::with_name_signature(UserFuncName::default(), translate::piece_signature(start.live)));
        let mut function_context = FunctionBuilderContext::new();
        let builder = FunctionBuilder::new(&mut context.func, &mut function_context);
        translate::translate(builder, source, start, self.isa.frontend_config());
        if cfg!(debug_assertions) {
            cranelift_codegen::verify_function(&context.func, self.isa.as_ref()).map_err(|errors| format!("{errors}"))?;
        }
        convention::apply(&mut context.func);
        let (nb, ni) = (context.func.dfg.num_blocks(), context.func.dfg.num_insts());
        let t0 = Instant::now();
        if let Ok(p) = std::env::var("JDIS") { if p == "1" { context.set_disasm(true); } }
        let compiled = context.compile(self.isa.as_ref(), &mut ControlPlane::default()).map_err(|error| format!("{:?}", error.inner))?;
        if !compiled.buffer.relocs().is_empty() {
            return Err(format!("relocations: {:?}", compiled.buffer.relocs()));
        }
        if std::env::var_os("JLOG").is_some() { eprintln!("JLOG   piece {} blocks {nb} insts {ni} bytes {} us {}", start.at - source.entry, compiled.code_buffer().len(), t0.elapsed().as_micros()); }
        if let Some(t) = &compiled.vcode { eprintln!("{t}"); }
        if std::env::var_os("JLOG").is_some() { eprintln!("JLOG   piece {} blocks {nb} insts {ni} bytes {} us {}", start.at - source.entry, compiled.code_buffer().len(), t0.elapsed().as_micros()); }
        Ok(compiled.code_buffer().to_vec())
    }
}
