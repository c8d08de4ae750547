//! What the engine keeps of the functions of a module version: how often they were seen running, and their machine code.
//! It hangs on the module, and goes when the module goes.

use crate::anchors::Relocations;
use crate::memory::CodeMemory;
use crate::resumption::{self, LoopAnchor, Place, Resumption};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::set_cell_code;

/// Bytes of machine code that hang on cells.
static HUNG_BYTES: AtomicUsize = AtomicUsize::new(0);

pub fn hung_bytes() -> usize {
    HUNG_BYTES.load(Ordering::Relaxed)
}

/// Machine code of a piece.
pub struct Code {
    pub memory: CodeMemory,
    /// Where it is entered, in bytes from its beginning.
    pub entry: usize,
    pub hangs: Hangs,
    /// `None` when it is of no use to another run.
    pub relocations: Option<Relocations>,
}

/// Where machine code is found.
#[derive(Clone, Copy)]
pub enum Hangs {
    /// On a cell of the module.
    Cell(u32),
    /// By those who come back to a loop.
    Resumption(Place, LoopAnchor),
}

impl Code {
    /// The address at which it is entered.
    pub fn address(&self) -> u64 {
        self.memory.address() + self.entry as u64
    }
    /// Has nobody find it any more who has not found it yet; of a module that is there for longer, `no_code` says what hangs
    /// on a cell then.
    fn take_off(&self, module: Option<(&ModuleCode, &dyn Fn(*const Instr) -> u64)>) {
        match (self.hangs, module) {
            (Hangs::Cell(cell), Some((module, no_code))) => {
                let cell = cell_at(module, cell);
                // SAFETY: a cell of the module, and what stands for such places.
                unsafe { set_cell_code(cell, no_code(cell)) };
            }
            (Hangs::Cell(_), None) => {}
            (Hangs::Resumption(place, _), _) => resumption::remove(place, self.address()),
        }
    }
}

/// Of one function.
#[derive(Default)]
pub struct Function {
    /// Sightings of its pieces that had no code, by the number of the cell before them.
    times: Vec<(u32, Arc<AtomicU32>)>,
    /// Whether there were floats among its arguments, or in what they are made of.
    pub floats: bool,
    /// When it was seen last, in functions compiled until then.
    pub last_seen: u64,
    codes: Vec<Code>,
}

impl Function {
    /// Sightings of the piece behind a cell.
    pub fn times(&mut self, cell: u32) -> &Arc<AtomicU32> {
        let known = self.times.iter().position(|&(other, _)| other == cell);
        let at = known.unwrap_or_else(|| {
            self.times.push((cell, Arc::default()));
            self.times.len() - 1
        });
        &self.times[at].1
    }
    fn bytes(&self) -> usize {
        self.codes.iter().map(|code| code.memory.len()).sum()
    }
}

/// Of the functions of a module version, by number: those that were seen, or have code.
#[derive(Default)]
pub struct Functions {
    functions: Mutex<HashMap<usize, Function>>,
    /// Whether there is code that has not been kept yet.
    has_news: AtomicBool,
    /// Whether there was code from an earlier run.
    was_kept: AtomicBool,
}

impl Functions {
    pub fn of(module: &ModuleCode) -> &Functions {
        let state = module.native.get_or_init(|| Box::<Functions>::default());
        state.downcast_ref().expect("only this engine keeps something there")
    }

    /// Calls `with` with what is kept of a function.
    pub fn with<R>(&self, number: usize, with: impl FnOnce(&mut Function) -> R) -> R {
        with(self.functions.lock().entry(number).or_default())
    }

    /// Has code be found: on its cell, or by those who come back to a loop.
    pub fn hang(&self, module: &ModuleCode, number: usize, code: Code) {
        let Hangs::Cell(cell) = code.hangs else { unreachable!("resumptions have a way of their own") };
        self.has_news.fetch_or(code.relocations.is_some(), Ordering::Relaxed);
        let address = code.address();
        self.keep(number, code, || {
            // SAFETY: a cell of the module, which keeps the code for as long as it hangs there.
            unsafe { set_cell_code(cell_at(module, cell), address) };
        });
    }
    /// Has those find it who come back to a loop.
    pub fn hang_resumption(&self, number: usize, code: Code, place: Place, resumption: Resumption) {
        self.has_news.fetch_or(code.relocations.is_some(), Ordering::Relaxed);
        self.keep(number, code, || resumption::put(place, resumption));
    }
    fn keep(&self, number: usize, code: Code, hang: impl FnOnce()) {
        self.with(number, |function| {
            HUNG_BYTES.fetch_add(code.memory.len(), Ordering::Relaxed);
            hang();
            function.codes.push(code);
        });
    }

    /// Whether there is code that was not there when it was asked last.
    pub fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::Relaxed)
    }
    /// The code that is there is from an earlier run, so it need not be kept again.
    pub fn came_from_before(&self) {
        self.has_news.store(false, Ordering::Relaxed);
        self.was_kept.store(true, Ordering::Relaxed);
    }
    /// Whether there was code from an earlier run.
    pub fn was_kept(&self) -> bool {
        self.was_kept.load(Ordering::Relaxed)
    }
    /// Calls `with` with all code, and the number of the function that it is of.
    pub fn for_codes(&self, mut with: impl FnMut(usize, &Code)) {
        for (&number, function) in self.functions.lock().iter() {
            function.codes.iter().for_each(|code| with(number, code));
        }
    }

    /// When one of those with code was seen last, and how many bytes they have, if there are any.
    pub fn compiled(&self) -> Option<(u64, usize)> {
        let functions = self.functions.lock();
        let compiled = || functions.values().filter(|function| !function.codes.is_empty());
        let last_seen = compiled().map(|function| function.last_seen).max()?;
        Some((last_seen, compiled().map(Function::bytes).sum()))
    }

    /// Takes all code off its cells, and forgets what was seen. Somebody may still be running the code. Returns it, and
    /// of how many functions it is.
    pub fn take_off(&self, module: &ModuleCode, no_code: impl Fn(*const Instr) -> u64) -> (Vec<Code>, usize) {
        let functions = std::mem::take(&mut *self.functions.lock());
        let count = functions.values().filter(|function| !function.codes.is_empty()).count();
        let codes: Vec<Code> = functions.into_values().flat_map(|function| function.codes).collect();
        for code in &codes {
            HUNG_BYTES.fetch_sub(code.memory.len(), Ordering::Relaxed);
            code.take_off(Some((module, &no_code)));
        }
        (codes, count)
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        let functions = std::mem::take(self.functions.get_mut());
        let bytes = functions.values().map(Function::bytes).sum();
        HUNG_BYTES.fetch_sub(bytes, Ordering::Relaxed);
        let codes = functions.into_values().flat_map(|function| function.codes);
        let (resumptions, _): (Vec<Code>, Vec<Code>) = codes.partition(|code| matches!(code.hangs, Hangs::Resumption { .. }));
        for code in &resumptions {
            code.take_off(None);
        }
        if !resumptions.is_empty() {
            // Somebody may have found them who is not there yet.
            swarmrt_machine::pin().defer(move || drop(resumptions));
        }
    }
}

/// The cell with a number.
pub fn cell_at(module: &ModuleCode, cell: u32) -> *const Instr {
    &raw const module.code.code()[cell as usize]
}
