//! What the engines keep of the functions of a module version: how often they were seen running,
//! and their machine code. It belongs to the module, and goes when the module goes.

use super::memory::CodeMemory;
use super::re_entry::{LoopSymbol, ReEntries, ReEntry, ReEntryKey};
use super::relocations::Relocations;
use crate::cell::{cell_code, replace_cell_code, set_cell_code};
use crate::compiler::BaselineCode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_machine::code::ModuleCode;

/// What the installed machine code of all modules has in common.
#[derive(Default)]
pub struct Installed {
    pub re_entries: ReEntries,
    bytes: AtomicUsize,
}

impl Installed {
    /// Bytes of machine code that are installed.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Machine code of a piece.
pub struct Code {
    pub memory: CodeMemory,
    /// Where it is entered, in bytes from its beginning.
    pub entry: usize,
    pub at: InstalledAt,
    /// `None` when it is of no use to another run.
    pub relocations: Option<Relocations>,
}

/// Where machine code is found.
#[derive(Clone, Copy)]
pub enum InstalledAt {
    /// On a cell of the module.
    Cell(u32),
    /// Among the re-entries.
    ReEntry(ReEntryKey, LoopSymbol),
}

impl Code {
    /// The address at which it is entered.
    pub fn address(&self) -> u64 {
        self.memory.address() + self.entry as u64
    }
    /// Takes it off its cell, so that no thread enters it any more. In a module that stays, the
    /// cell holds what `no_code` says then.
    fn uninstall(
        &self,
        re_entries: &ReEntries,
        module: Option<(&ModuleCode, &dyn Fn(*const Instr) -> u64)>,
    ) {
        match (self.at, module) {
            (InstalledAt::Cell(cell), Some((module, no_code))) => {
                let cell = cell_at(module, cell);
                // SAFETY: a cell of the module, and what stands for such places.
                unsafe { replace_cell_code(cell, self.address(), no_code(cell)) };
            }
            (InstalledAt::Cell(_), None) => {}
            (InstalledAt::ReEntry(place, _), _) => re_entries.remove(place, self.address()),
        }
    }
}

/// The state of one function: its samples, and its machine code.
#[derive(Default)]
pub struct FunctionState {
    /// Samples of pieces without code, by the number of the cell before them.
    times: Vec<(u32, Arc<AtomicU32>)>,
    /// Whether floats were sampled among its arguments, or in terms that are.
    pub floats: bool,
    /// When it was sampled last: the count of functions compiled until then.
    pub last_seen: u64,
    codes: Vec<Code>,
    baseline: Option<Baseline>,
}

/// A function's code by the baseline compiler.
struct Baseline {
    memory: CodeMemory,
    /// The cells on which it was installed.
    cells: Box<[u32]>,
}

impl Baseline {
    fn holds(&self, address: u64) -> bool {
        (self.memory.address()..self.memory.address() + self.memory.bytes() as u64)
            .contains(&address)
    }
    /// Takes it off its cells, so that no thread enters it any more.
    fn uninstall(&self, module: &ModuleCode, no_code: impl Fn(*const Instr) -> u64) {
        for &cell in &self.cells {
            let cell = cell_at(module, cell);
            // SAFETY: a cell of the module, and what stands for such places.
            unsafe {
                let code = cell_code(cell);
                if self.holds(code) {
                    replace_cell_code(cell, code, no_code(cell));
                }
            }
        }
    }
}

impl FunctionState {
    /// The counter of samples of the piece behind a cell.
    pub fn times(&mut self, cell: u32) -> &Arc<AtomicU32> {
        let known = self.times.iter().position(|&(other, _)| other == cell);
        let at = known.unwrap_or_else(|| {
            self.times.push((cell, Arc::default()));
            self.times.len() - 1
        });
        &self.times[at].1
    }
    fn bytes(&self) -> usize {
        self.codes
            .iter()
            .map(|code| &code.memory)
            .chain(self.baseline.as_ref().map(|baseline| &baseline.memory))
            .map(CodeMemory::bytes)
            .sum()
    }
    fn has_code(&self) -> bool {
        !self.codes.is_empty() || self.baseline.is_some()
    }
    /// Whether this address lies in the code by the baseline compiler.
    pub fn is_baseline(&self, code: u64) -> bool {
        self.baseline.as_ref().is_some_and(|baseline| baseline.holds(code))
    }
}

/// The functions of a module version that were sampled or have machine code, by number.
pub struct Functions {
    installed: Arc<Installed>,
    functions: Mutex<HashMap<usize, FunctionState>>,
    /// Whether there is code that has not been kept yet.
    has_news: AtomicBool,
    /// Whether there was code from an earlier run.
    was_kept: AtomicBool,
    /// Changes when all code is uninstalled: code whose making began before is not installed.
    generation: AtomicU64,
}

impl Functions {
    /// The functions of a module version; made on the first call and kept in
    /// [`ModuleCode::native`].
    ///
    /// # Panics
    /// When something other than an engine has put its state there.
    pub fn of<'a>(module: &'a ModuleCode, installed: &Arc<Installed>) -> &'a Functions {
        let state = module.native.get_or_init(|| {
            let installed = installed.clone();
            Box::new(Functions {
                installed,
                functions: Mutex::default(),
                has_news: AtomicBool::new(false),
                was_kept: AtomicBool::new(false),
                generation: AtomicU64::new(0),
            })
        });
        state.downcast_ref().expect("only engines keep something there, and they keep this")
    }

    /// Calls `with` with the state of a function, under the lock of all.
    pub fn with<R>(&self, number: usize, with: impl FnOnce(&mut FunctionState) -> R) -> R {
        with(self.functions.lock().entry(number).or_default())
    }

    /// What code is given to [`install`](Self::install) with, as it was when its making began.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Installs code on its cell, unless all code was uninstalled since its making began.
    ///
    /// # Panics
    /// For code that is to be found among the re-entries.
    pub fn install(&self, module: &ModuleCode, number: usize, code: Code, generation: u64) {
        let InstalledAt::Cell(cell) = code.at else {
            unreachable!("re-entries are installed by `install_re_entry`")
        };
        self.has_news.fetch_or(code.relocations.is_some(), Ordering::Relaxed);
        let address = code.address();
        self.keep(number, code, generation, || {
            // SAFETY: a cell of the module, which keeps the code for as long as its cell leads
            // there.
            unsafe { set_cell_code(cell_at(module, cell), address) };
        });
    }
    /// Installs code that resumes in an inlined loop.
    pub fn install_re_entry(
        &self,
        number: usize,
        code: Code,
        place: ReEntryKey,
        re_entry: ReEntry,
        generation: u64,
    ) {
        self.has_news.fetch_or(code.relocations.is_some(), Ordering::Relaxed);
        self.keep(number, code, generation, || self.installed.re_entries.put(place, re_entry));
    }
    /// Installs a function's code by the baseline compiler on those of its cells that have none.
    /// Returns its address, or that of the baseline code that is installed already; `None` for a
    /// function with a breakpoint, whose entry cell holds `breakpoint`.
    ///
    /// # Errors
    /// When the operating system refuses memory for code.
    pub fn install_baseline(
        &self,
        module: &ModuleCode,
        number: usize,
        code: &BaselineCode,
        no_code: impl Fn(*const Instr) -> u64,
        breakpoint: u64,
    ) -> std::io::Result<Option<u64>> {
        self.with(number, |function| {
            if let Some(baseline) = &function.baseline {
                return Ok(Some(baseline.memory.address()));
            }
            // Its calls of itself do not look at the cell.
            let entry = cell_at(module, module.code.functions[number].entry);
            // SAFETY: a cell of the module.
            if unsafe { cell_code(entry) } == breakpoint {
                return Ok(None);
            }
            let memory = CodeMemory::new(&code.bytes)?;
            self.installed.bytes.fetch_add(memory.bytes(), Ordering::Relaxed);
            for &(cell, offset) in &code.pieces {
                let cell = cell_at(module, cell);
                // SAFETY: a cell of the module, which keeps the code for as long as its cell leads
                // there.
                unsafe {
                    replace_cell_code(cell, no_code(cell), memory.address() + u64::from(offset))
                };
            }
            let address = memory.address();
            function.baseline = Some(Baseline {
                memory,
                cells: code.pieces.iter().map(|&(cell, _)| cell).collect(),
            });
            Ok(Some(address))
        })
    }
    /// Whether the machine code in a function's cell is that of the baseline compiler.
    pub fn is_baseline(&self, number: usize, code: u64) -> bool {
        self.functions.lock().get(&number).is_some_and(|function| function.is_baseline(code))
    }
    fn keep(&self, number: usize, code: Code, generation: u64, install: impl FnOnce()) {
        self.with(number, |function| {
            if self.generation() != generation {
                return;
            }
            self.installed.bytes.fetch_add(code.memory.bytes(), Ordering::Relaxed);
            install();
            function.codes.push(code);
        });
    }

    /// Whether code that another run could use was installed since the last call.
    pub fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::Relaxed)
    }
    /// Marks the installed code as loaded from an earlier run's cache: it need not be saved again.
    pub fn came_from_before(&self) {
        self.has_news.store(false, Ordering::Relaxed);
        self.was_kept.store(true, Ordering::Relaxed);
    }
    /// Whether there was code from an earlier run.
    pub fn was_kept(&self) -> bool {
        self.was_kept.load(Ordering::Relaxed)
    }
    /// Calls `with` for each piece of code by the optimising compiler, with its function's number.
    pub fn for_codes(&self, mut with: impl FnMut(usize, &Code)) {
        for (&number, function) in self.functions.lock().iter() {
            function.codes.iter().for_each(|code| with(number, code));
        }
    }

    /// When a function with machine code was last seen ([`FunctionState::last_seen`]), and the
    /// bytes of all machine code of the module. `None` when no function has any.
    pub fn compiled(&self) -> Option<(u64, usize)> {
        let functions = self.functions.lock();
        let compiled = || functions.values().filter(|function| function.has_code());
        let last_seen = compiled().map(|function| function.last_seen).max()?;
        Some((last_seen, compiled().map(FunctionState::bytes).sum()))
    }

    /// Has no code be found any more, and forgets what was seen.
    pub fn uninstall(
        &self,
        module: &ModuleCode,
        no_code: impl Fn(*const Instr) -> u64,
    ) -> Uninstalled {
        let mut locked = self.functions.lock();
        self.generation.fetch_add(1, Ordering::Release);
        let functions = std::mem::take(&mut *locked);
        drop(locked);
        let count = functions.values().filter(|function| function.has_code()).count();
        let (mut codes, mut baselines) = (Vec::new(), Vec::new());
        for function in functions.into_values() {
            self.installed.bytes.fetch_sub(function.bytes(), Ordering::Relaxed);
            codes.extend(function.codes);
            baselines.extend(function.baseline);
        }
        for code in &codes {
            code.uninstall(&self.installed.re_entries, Some((module, &no_code)));
        }
        for baseline in &baselines {
            baseline.uninstall(module, &no_code);
        }
        Uninstalled { functions: count, _codes: codes, _baselines: baselines }
    }
}

/// Machine code that cannot be entered any more. It is to be dropped when no thread can be running
/// it.
pub struct Uninstalled {
    /// How many functions the code is of.
    pub functions: usize,
    _codes: Vec<Code>,
    _baselines: Vec<Baseline>,
}

impl Drop for Functions {
    fn drop(&mut self) {
        let functions = std::mem::take(self.functions.get_mut());
        let bytes = functions.values().map(FunctionState::bytes).sum();
        self.installed.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let codes = functions.into_values().flat_map(|function| function.codes);
        let (re_entries, _): (Vec<Code>, Vec<Code>) =
            codes.partition(|code| matches!(code.at, InstalledAt::ReEntry { .. }));
        for code in &re_entries {
            code.uninstall(&self.installed.re_entries, None);
        }
        if !re_entries.is_empty() {
            // A thread may have read an address and not have entered yet.
            swarmrt_machine::pin().defer(move || drop(re_entries));
        }
    }
}

/// The address of the cell with this number.
pub fn cell_at(module: &ModuleCode, cell: u32) -> *const Instr {
    &raw const module.code.code()[cell as usize]
}
