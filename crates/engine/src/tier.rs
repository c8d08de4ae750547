//! Tiering: what is compiled, and when.
//!
//! The interpreter reports now and then what it is running. What is reported often is compiled on a
//! thread of its own, the most often reported first, and installed; from then on, both engines go
//! on in machine code whenever they come to it.

use crate::cell::{cell_code, count_call, is_entry};
use crate::code::{EnterFn, Functions, Installed, cell_at, mapped_bytes};
use crate::compiler::{Backend, BaselineCompiler, Compiler, Part, Request, Unavailable};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use swarmrt_beam::instr::Instr;
use swarmrt_beam::specialise::CellKind;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;
use swarmrt_term::Term;

/// When functions are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By the baseline compiler, where there is one, once the interpreter has called them this
    /// often; by the optimising one when that is wanted.
    Tiered { calls: u32, optimised: When },
    /// All of a module when it is loaded, if its name begins so; for testing.
    Eager { prefix: &'static str },
}

/// When the optimising compiler has its turn with a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    Never,
    /// Once it was found running this often.
    Samples(u32),
    /// Once it has run for so long that better code would have saved what it takes to compile it.
    Worthwhile,
}

impl When {
    /// Samples that are due before a function of so many instructions is compiled; `None` when it
    /// never is. `from_before`: an earlier run has left code of its module in the cache.
    fn samples(self, instructions: u32, from_before: bool) -> Option<u32> {
        /// Compiling takes some 30 µs an instruction, a sample stands for some 8 µs in the
        /// function, of which better code saves a third.
        const SAMPLES_PER_INSTRUCTION: u32 = 12;
        /// Of the smallest functions: they are called by others, and are inlined there.
        const SAMPLES_MIN: u32 = 200;
        let samples = match self {
            When::Never => return None,
            When::Samples(samples) => samples,
            When::Worthwhile => {
                instructions.saturating_mul(SAMPLES_PER_INSTRUCTION).max(SAMPLES_MIN)
            }
        };
        Some(if from_before { (samples / RUNS_TO_COME).max(1) } else { samples })
    }
}

impl Mode {
    /// Calls by the interpreter before the baseline compiler has its turn.
    pub const CALLS: u32 = 32;
    /// The interpreter, the baseline compiler, and the optimising one for hot functions.
    pub const DEFAULT: Mode = Mode::Tiered { calls: Mode::CALLS, optimised: When::Worthwhile };
    /// The baseline compiler alone, on a function's first call; for testing.
    pub const BASELINE: Mode = Mode::Tiered { calls: 1, optimised: When::Never };
}

/// What the engine has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Functions compiled, and the bytes of their code, from the start on.
    pub functions: u64,
    pub code_bytes: u64,
    pub compile_us: u64,
    /// Functions compiled by the baseline compiler, and the bytes of their code.
    pub baseline_functions: u64,
    pub baseline_bytes: u64,
    pub baseline_us: u64,
    /// Functions whose code was evicted because there was more than the limit.
    pub evicted: u64,
    /// Pieces of machine code that were loaded from an earlier run's cache.
    pub from_before: u64,
    /// Memory that machine code takes now: whole pages, without what was unloaded.
    pub mapped_bytes: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts {
            functions,
            code_bytes,
            compile_us,
            baseline_functions,
            baseline_bytes,
            baseline_us,
            evicted,
            from_before,
            mapped_bytes,
        } = self;
        write!(
            f,
            "{functions} functions compiled, {code_bytes} bytes of code, in {} ms; ",
            compile_us / 1000
        )?;
        write!(
            f,
            "{baseline_functions} by the baseline compiler, {baseline_bytes} bytes, in {} ms; ",
            baseline_us / 1000
        )?;
        write!(
            f,
            "{evicted} of them evicted; {from_before} pieces from earlier runs; {mapped_bytes} bytes mapped"
        )
    }
}

/// How the engine is to work.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Writes a map of machine code for `perf`.
    pub perf_map: bool,
    /// Limit of machine code, in bytes. When there is more, the code of modules that were not
    /// sampled for the longest time is evicted.
    pub code_bytes_max: usize,
}

impl Options {
    /// Enough for all code of some four hundred modules as large as `lists`.
    pub const CODE_BYTES_MAX_DEFAULT: usize = 256 << 20;
}

/// Functions of modules with cached code need so many times fewer samples: their code is cached,
/// too, and serves further runs.
const RUNS_TO_COME: u32 = 8;

/// Code that took less time to compile, in all, is not worth saving.
const KEPT_US_MIN: u64 = 1_000;

/// How long the compiling thread has to be idle before it saves new code.
const QUIET: Duration = Duration::from_secs(5);

/// Eviction stops when the code is down to so many quarters of the limit.
const LEFT_QUARTERS: usize = 3;

/// A piece that is to be compiled.
struct Job {
    module: Arc<ModuleCode>,
    function: usize,
    part: Part,
    /// Samples, which are counted while the job waits: the hottest goes first.
    times: Arc<AtomicU32>,
}

/// The machine code of one machine.
pub struct Tier {
    pub(crate) vm: &'static Vm,
    pub(crate) backend: Box<dyn Backend>,
    baseline: Option<Box<dyn BaselineCompiler>>,
    /// The trampoline into machine code.
    pub enter: EnterFn,
    /// What entry cells of functions with breakpoints hold.
    breakpoint: u64,
    mode: Mode,
    code_bytes_max: usize,
    pub(crate) installed: Arc<Installed>,
    queue: Mutex<Vec<Job>>,
    arrived: Condvar,
    functions: AtomicU64,
    code_bytes: AtomicU64,
    compile_us: AtomicU64,
    baseline_functions: AtomicU64,
    baseline_bytes: AtomicU64,
    baseline_ns: AtomicU64,
    /// The value of `compile_us` when code was saved last.
    kept_us: AtomicU64,
    evicted: AtomicU64,
    pub(crate) from_before: AtomicU64,
    perf_map: Option<Mutex<std::fs::File>>,
}

/// The tier of a machine, if it has one.
#[derive(Default)]
struct OfMachine(OnceLock<Arc<Tier>>);

impl Tier {
    /// Sets machine code up for a machine and starts its compiling thread, before there is any
    /// code. The machine's cells hold what `backend`'s glue has for them
    /// ([`Glue::no_code`](crate::code::Glue::no_code)).
    ///
    /// # Errors
    /// When the operating system refuses a thread or the map for `perf`.
    pub fn start(
        vm: &'static Vm,
        backend: Box<dyn Backend>,
        baseline: Option<Box<dyn BaselineCompiler>>,
        mode: Mode,
        options: Options,
    ) -> Result<Arc<Tier>, Unavailable> {
        let perf_map = if options.perf_map {
            let path = format!("/tmp/perf-{}.map", std::process::id());
            Some(Mutex::new(
                std::fs::File::create(&path).map_err(|error| Unavailable::new(&path, &error))?,
            ))
        } else {
            None
        };
        let tier = Arc::new(Tier {
            vm,
            enter: backend.glue().enter,
            breakpoint: backend.glue().no_code(CellKind::Breakpoint),
            backend,
            baseline,
            mode,
            code_bytes_max: options.code_bytes_max,
            installed: Arc::default(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            functions: AtomicU64::new(0),
            code_bytes: AtomicU64::new(0),
            compile_us: AtomicU64::new(0),
            baseline_functions: AtomicU64::new(0),
            baseline_bytes: AtomicU64::new(0),
            baseline_ns: AtomicU64::new(0),
            kept_us: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            from_before: AtomicU64::new(0),
            perf_map,
        });
        let (compiling, waiting) = (tier.clone(), Arc::downgrade(&tier));
        let started = vm.start_thread("compiler", move || compiling.compile_hot());
        started.map_err(|error| Unavailable::new("compiling thread", &error))?;
        vm.on_shutdown(move || {
            if let Some(tier) = waiting.upgrade() {
                let _queue = tier.queue.lock();
                tier.arrived.notify_one();
            }
        });
        vm.extension::<OfMachine>().0.get_or_init(|| tier.clone());
        Ok(tier)
    }

    /// The machine's tier; `None` where it has no machine code.
    pub fn of(vm: &Vm) -> Option<&'static Arc<Tier>> {
        vm.extension::<OfMachine>().0.get()
    }

    /// The counts since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            functions: self.functions.load(Ordering::Relaxed),
            code_bytes: self.code_bytes.load(Ordering::Relaxed),
            compile_us: self.compile_us.load(Ordering::Relaxed),
            baseline_functions: self.baseline_functions.load(Ordering::Relaxed),
            baseline_bytes: self.baseline_bytes.load(Ordering::Relaxed),
            baseline_us: self.baseline_ns.load(Ordering::Relaxed) / 1000,
            evicted: self.evicted.load(Ordering::Relaxed),
            from_before: self.from_before.load(Ordering::Relaxed),
            mapped_bytes: mapped_bytes() as u64,
        }
    }

    /// Counts `weight` samples of the piece that `ip` is in: the address past an entry cell with
    /// the function's arguments, or one within it. Returns whether that piece is still interpreted
    /// and machine code is wanted for it.
    pub fn sample(&self, ip: *const Instr, arguments: &[Term], weight: u32) -> bool {
        let Mode::Tiered { optimised, .. } = self.mode else { return false };
        if optimised == When::Never {
            return false;
        }
        let Some(module) = self.vm.code.module_at(ip as usize) else { return false };
        let code = module.code.code();
        let at = ((ip as usize - module.range().start) / size_of::<Instr>()) as u32;
        let Some(function) = module.number_at(at) else { return false };
        let entry = module.code.functions[function].entry;
        let functions = self.functions_of(&module);
        let Some(enough) = optimised.samples(module.code.size(function), functions.was_kept())
        else {
            return false;
        };
        let (has_entry, cell, is_interpreted, times) = functions.with(function, |function| {
            // The entry first; when that is compiled, where in the function it is.
            let has_entry = self.is_optimised(&module, entry, |code| function.is_baseline(code));
            let cell = if has_entry {
                (entry..at)
                    .rev()
                    .find(|&cell| matches!(code[cell as usize], Instr::Cell { .. }))
                    .unwrap_or(entry)
            } else {
                entry
            };
            function.last_seen = self.functions.load(Ordering::Relaxed);
            if has_entry && self.is_optimised(&module, cell, |code| function.is_baseline(code)) {
                return (has_entry, cell, false, None);
            }
            let place = cell_at(&module, cell);
            // SAFETY: a cell.
            let is_interpreted = unsafe { cell_code(place) } == self.no_code(place);
            function.floats |= arguments.iter().any(|&argument| has_float(argument));
            let times = function.times(cell);
            let before = times.fetch_add(weight, Ordering::Relaxed);
            let is_due = before < enough && before.saturating_add(weight) >= enough;
            (has_entry, cell, is_interpreted, is_due.then(|| times.clone()))
        });
        if let Some(times) = times {
            let part = if has_entry { Part::Behind(cell) } else { Part::Entry };
            self.queue.lock().push(Job { module, function, part, times });
            self.arrived.notify_one();
        }
        // Calls are counted at an entry without code. Where that of an earlier run stands, this is
        // what finds the rest of the function interpreted.
        if has_entry && is_interpreted {
            self.compile_baseline(ip);
        }
        is_interpreted
    }

    /// Counts `weight` samples of the function that begins at `ip`, as [`sample`](Self::sample)
    /// does, and of the place to which it returns: the caller's return points are sampled nowhere
    /// else, as baseline code is behind them.
    pub fn sample_call(
        &self,
        ip: *const Instr,
        arguments: &[Term],
        weight: u32,
        returns_to: *const Instr,
    ) -> bool {
        let wanted = self.sample(ip, arguments, weight);
        self.sample(returns_to.wrapping_add(1), &[], weight) || wanted
    }
    /// The interpreter enters the function at `ip`, past an entry cell without code. Returns
    /// whether the function has baseline code now.
    ///
    /// # Safety
    /// An [`Instr::Cell`] stands before `ip`.
    #[inline]
    pub unsafe fn called(&self, ip: *const Instr) -> bool {
        let Mode::Tiered { calls: enough, .. } = self.mode else { return false };
        // SAFETY: the caller's.
        self.baseline.is_some()
            && unsafe { count_call(ip.sub(1)) } == enough
            && self.compile_baseline(ip)
    }
    #[cold]
    fn compile_baseline(&self, ip: *const Instr) -> bool {
        let (Some(baseline), Some(module)) = (&self.baseline, self.vm.code.module_at(ip as usize))
        else {
            return false;
        };
        let begun = Instant::now();
        let at = ((ip as usize - module.range().start) / size_of::<Instr>()) as u32;
        let room = self.installed.bytes() < self.code_bytes_max;
        let Some(function) = module.number_at(at).filter(|_| room) else { return false };
        // With a layout from an earlier run, the first call comes before it is specialised.
        module.load_function(&self.vm.code, function);
        let Some(code) = baseline.compile(self.vm, &module, function) else { return false };
        // Without memory for it, the interpreter goes on.
        let installed = self.functions_of(&module).install_baseline(
            &module,
            function,
            &code,
            |cell| self.no_code(cell),
            self.breakpoint,
        );
        self.baseline_functions.fetch_add(1, Ordering::Relaxed);
        self.baseline_bytes.fetch_add(code.bytes.len() as u64, Ordering::Relaxed);
        self.baseline_ns.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let Ok(Some(address)) = installed else { return false };
        if self.perf_map.is_some() {
            let ends = code
                .pieces
                .iter()
                .skip(1)
                .map(|&(_, offset)| offset)
                .chain([code.bytes.len() as u32]);
            for (&(cell, offset), end) in code.pieces.iter().zip(ends) {
                self.note_in_map(
                    &module,
                    cell,
                    address + u64::from(offset),
                    (end - offset) as usize,
                );
            }
        }
        true
    }

    /// The address of the piece that resumes in an inlined loop of the function at `ip` with these
    /// arguments; 0 where there is none.
    #[inline]
    pub fn re_entry(&self, ip: *const Instr, arguments: &[Term]) -> u64 {
        self.installed.re_entries.find(ip, arguments)
    }

    /// Installs cached code of a module before it becomes current, or compiles all of it where the
    /// mode is [`Mode::Eager`].
    pub fn loaded(&self, module: &ModuleCode) {
        match self.mode {
            Mode::Eager { prefix } if module.name.name().starts_with(prefix) => {
                let mut compiler = self.backend.compiler();
                for function in 0..module.code.functions.len() {
                    // None of it would be compiled a second time.
                    if self.installed.bytes() < self.code_bytes_max {
                        self.compile(compiler.as_mut(), module, function, Part::All, true);
                    }
                }
            }
            Mode::Tiered { .. } if self.installed.bytes() < self.code_bytes_max => {
                self.install_kept(module);
            }
            _ => {}
        }
    }

    /// Saves new code, and what else is new, in the code cache, if it is enough to be worth that.
    /// Returns how many modules' machine code was saved.
    ///
    /// # Errors
    /// The system's; what was saved before is not lost then.
    pub fn keep(vm: &Vm) -> std::io::Result<usize> {
        let Some(cache) = vm.code.cache.get() else { return Ok(0) };
        let mut modules = Vec::new();
        if let Some(tier) = Tier::of(vm).filter(|tier| tier.has_much_to_keep()) {
            tier.kept_us.store(tier.compile_us.load(Ordering::Relaxed), Ordering::Relaxed);
            modules = vm.code.versions().iter().filter_map(|module| tier.to_keep(module)).collect();
        }
        if modules.is_empty() && !cache.has_news() { Ok(0) } else { cache.save(&modules) }
    }

    /// The compiling thread: takes the hottest job, compiles it, and saves code when it is idle.
    fn compile_hot(&self) {
        let mut compiler = self.backend.compiler();
        loop {
            let job = {
                let mut queue = self.queue.lock();
                loop {
                    if self.vm.is_shutting_down() {
                        return;
                    }
                    // The hottest first: counts go on while a function waits.
                    let hottest =
                        (0..queue.len()).max_by_key(|&at| queue[at].times.load(Ordering::Relaxed));
                    let Some(hottest) = hottest else {
                        if !self.has_much_to_keep() {
                            self.arrived.wait(&mut queue);
                        } else if self.arrived.wait_for(&mut queue, QUIET).timed_out() {
                            // What cannot be kept is made again.
                            let _ = MutexGuard::unlocked(&mut queue, || Tier::keep(self.vm));
                        }
                        continue;
                    };
                    break queue.swap_remove(hottest);
                }
            };
            let Job { module, function, part, .. } = job;
            let cell = if let Part::Behind(cell) = part {
                cell
            } else {
                module.code.functions[function].entry
            };
            let functions = self.functions_of(&module);
            let is_optimised = |function, cell| {
                self.is_optimised(&module, cell, |code| functions.is_baseline(function, code))
            };
            // It may have been asked for twice, when its code was evicted in between.
            if !is_optimised(function, cell) {
                self.compile_seen(compiler.as_mut(), &module, function, part);
                for (companion, cell) in compiler.companions(self.vm, &module, cell) {
                    let part = if cell == module.code.functions[companion].entry {
                        Part::Entry
                    } else {
                        Part::Behind(cell)
                    };
                    if !is_optimised(companion, cell) {
                        self.compile_seen(compiler.as_mut(), &module, companion, part);
                    }
                }
                drop(module);
                self.keep_to_limit();
            }
        }
    }

    /// Whether at least [`KEPT_US_MIN`] was spent on compiling since code was saved last.
    fn has_much_to_keep(&self) -> bool {
        let (compiled, kept) =
            (self.compile_us.load(Ordering::Relaxed), self.kept_us.load(Ordering::Relaxed));
        self.vm.code.cache.get().is_some() && compiled.saturating_sub(kept) >= KEPT_US_MIN
    }
    /// Whether there is machine code of the optimising compiler in a cell. `is_baseline` tells
    /// whether an address lies in the other compiler's code of the cell's function.
    fn is_optimised(
        &self,
        module: &ModuleCode,
        cell: u32,
        is_baseline: impl FnOnce(u64) -> bool,
    ) -> bool {
        let cell = cell_at(module, cell);
        // SAFETY: a cell.
        let code = unsafe { cell_code(cell) };
        code != self.no_code(cell) && !is_baseline(code)
    }
    /// What a cell of a module holds when there is no code.
    fn no_code(&self, cell: *const Instr) -> u64 {
        // SAFETY: the callers' cells are.
        self.backend.glue().no_code(if unsafe { is_entry(cell) } {
            CellKind::Entry
        } else {
            CellKind::Return
        })
    }
    pub(crate) fn functions_of<'a>(&self, module: &'a ModuleCode) -> &'a Functions {
        Functions::of(module, &self.installed)
    }

    /// Evicts the code of the modules that were not seen running for the longest time, when there
    /// is too much. All of a module, whose functions call each other directly.
    fn keep_to_limit(&self) {
        let installed = self.installed.bytes();
        if installed <= self.code_bytes_max {
            return;
        }
        let mut enough = installed - self.code_bytes_max / 4 * LEFT_QUARTERS;
        let versions = self.vm.code.versions();
        let mut modules: Vec<_> = versions
            .iter()
            .filter_map(|module| {
                self.functions_of(module).compiled().map(|(seen, bytes)| (seen, bytes, module))
            })
            .collect();
        modules.sort_by_key(|&(seen, ..)| seen);
        for (_, bytes, module) in modules {
            self.uninstall(module);
            enough = enough.saturating_sub(bytes);
            if enough == 0 {
                break;
            }
        }
    }

    /// Has the machine code of a module be entered no more, and frees it when nobody runs it.
    ///
    /// A thread is pinned while it runs machine code, and has read the code's address from a cell.
    /// So code that has been taken off its cells is freed when all threads that were pinned then
    /// have unpinned.
    pub fn uninstall(&self, module: &ModuleCode) {
        let guard = swarmrt_machine::pin();
        let uninstalled = self.functions_of(module).uninstall(module, |cell| self.no_code(cell));
        self.evicted.fetch_add(uninstalled.functions as u64, Ordering::Relaxed);
        guard.defer(move || drop(uninstalled));
        guard.flush();
    }

    /// Writes a piece into the map for `perf`, if one is wanted.
    pub(crate) fn note_in_map(&self, module: &ModuleCode, cell: u32, address: u64, bytes: usize) {
        use std::io::Write;
        if let Some(dump) = &self.perf_map
            && let Some(function) = module.function_at(cell)
        {
            // A map that cannot be written is a map that lacks a line.
            let _ = writeln!(
                dump.lock(),
                "{address:x} {bytes:x} {}:{}/{}+{}",
                module.name,
                function.name,
                function.arity,
                cell - function.entry
            );
        }
    }

    /// Compiles a function or a part of it for what has been seen of its arguments.
    fn compile_seen(
        &self,
        compiler: &mut dyn Compiler,
        module: &ModuleCode,
        number: usize,
        part: Part,
    ) {
        let floats = self.functions_of(module).with(number, |function| function.floats);
        self.compile(compiler, module, number, part, floats);
    }

    /// Compiles a function or a part of it. What cannot be compiled stays as it is.
    fn compile(
        &self,
        compiler: &mut dyn Compiler,
        module: &ModuleCode,
        number: usize,
        part: Part,
        floats: bool,
    ) {
        let started = thread_time();
        let function = module.code.functions[number];
        // It may have been called only now, and be about to be loaded by who called it.
        module.load_function(&self.vm.code, number);
        match compiler.compile(&Request {
            vm: self.vm,
            installed: &self.installed,
            module,
            function: number,
            part,
            floats,
        }) {
            Ok(Some(compiled)) => {
                self.functions
                    .fetch_add(u64::from(!matches!(part, Part::Behind(_))), Ordering::Relaxed);
                self.code_bytes.fetch_add(compiled.code_bytes as u64, Ordering::Relaxed);
                for (cell, address, bytes) in compiled.pieces {
                    self.note_in_map(module, cell, address, bytes);
                }
            }
            Ok(None) => {}
            Err(error) => debug_assert!(false, "{}: {error}", function.name),
        }
        self.compile_us
            .fetch_add(thread_time().saturating_sub(started).as_micros() as u64, Ordering::Relaxed);
    }
}

/// Whether a term is a float, or has one close at hand.
fn has_float(term: Term) -> bool {
    const LOOKED_AT: usize = 8;
    term.is_float()
        || term.as_cons().is_some_and(|cons| cons.head().is_float())
        || term.as_tuple().is_some_and(|tuple| {
            (0..tuple.arity().min(LOOKED_AT)).any(|index| tuple.get(index).is_float())
        })
}

/// How long this thread has been running.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_functions_are_compiled_later_and_those_of_known_modules_sooner() {
        let samples =
            |when: When, instructions, from_before| when.samples(instructions, from_before);
        let worthwhile = [1, 16, 17, 1000].map(|size| samples(When::Worthwhile, size, false));
        assert_eq!(worthwhile, [Some(200), Some(200), Some(204), Some(12_000)]);
        assert_eq!(samples(When::Worthwhile, u32::MAX, false), Some(u32::MAX));
        assert_eq!(samples(When::Worthwhile, 1000, true), Some(1_500));
        assert_eq!(samples(When::Samples(1), 1000, false), Some(1));
        assert_eq!(samples(When::Samples(1), 1000, true), Some(1));
        assert_eq!(samples(When::Never, 1, true), None);
    }
}
