//! Re-entry into loops.
//!
//! A turn may end in the middle of a loop of another module's function that is inlined into a
//! caller, together with the fun that the caller passes. The process then stands where that
//! function begins, as any process does, and nothing is left of how it came there. The function's
//! own machine code does not know the fun. So there is a piece that begins in the inlined loop; it
//! is found by where the process stands and by the fun that it holds.
//!
//! A thread that finds such a piece is pinned, as every thread that runs machine code. A piece is
//! removed here first; its memory can be freed once the threads that are pinned then have unpinned.

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_beam::instr::{ExportPtr, FunPtr, Instr};
use swarmrt_machine::code::{Export, FunEntry};
use swarmrt_term::Term;

/// The key of a re-entry: the function at which a process stands, and the fun that it passes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReEntryKey {
    /// The address of the entry cell of the function that is a loop.
    cell: usize,
    /// The entry of the fun, and the number of the argument that it is.
    fun: usize,
    argument: usize,
}

impl ReEntryKey {
    /// `cell` is the address of the function's entry cell; `argument` counts from 0.
    pub fn new(cell: u64, fun: FunPtr, argument: usize) -> ReEntryKey {
        ReEntryKey { cell: cell as usize, fun: fun.0 as usize, argument }
    }
}

/// A [`ReEntryKey`] and its [`ReEntry`] without addresses, as the code cache keeps them for another
/// run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoopSymbol {
    /// The module of the function that is a loop, by the number of its name, and the function's
    /// entry cell.
    pub module: u32,
    pub cell: u32,
    /// The number of the fun among those of the module that makes it, and the argument that it is.
    pub fun: u32,
    pub argument: u32,
    /// What the loop belongs to, a function of the same module as the loop: its name, arity and
    /// entry cell.
    pub function: u32,
    pub arity: u32,
    pub export_cell: u32,
    /// Where the fun's code begins, and its free variables.
    pub lambda: u32,
    pub free: u32,
}

/// A piece that starts in an inlined loop, and the versions of the code that it was compiled from.
#[derive(Clone, Copy, Debug)]
pub struct ReEntry {
    pub code: u64,
    /// The export whose function was inlined, and [`Export::changes`] at that time.
    pub export: ExportPtr,
    pub changes: u64,
    /// Where the fun's code began, and its free variables.
    pub lambda: u64,
    pub free: usize,
}

impl ReEntry {
    /// Whether the versions of both modules are those that the piece was made of.
    fn is_current(&self, fun: usize) -> bool {
        let lambda = FunEntry::of(fun as *const _).entry() as u64;
        Export::of(self.export).changes() == self.changes && lambda == self.lambda
    }
}

/// The first arguments, among which the fun is searched.
pub const ARGUMENTS_MAX: usize = 4;

/// The pieces that begin in inlined loops, by the place of the process that may enter them.
#[derive(Default)]
pub struct ReEntries {
    known: RwLock<HashMap<ReEntryKey, ReEntry>>,
    /// How many pieces there are: a search looks here first, without the lock.
    count: AtomicUsize,
}

impl ReEntries {
    /// Whether there is a piece for a place, of the current versions of its modules.
    pub fn is_known(&self, place: ReEntryKey) -> bool {
        self.known.read().get(&place).is_some_and(|known| known.is_current(place.fun))
    }
    /// Adds the piece for a place, instead of the one that was there.
    pub fn put(&self, place: ReEntryKey, re_entry: ReEntry) {
        let mut known = self.known.write();
        known.insert(place, re_entry);
        self.count.store(known.len(), Ordering::Relaxed);
    }
    /// Forgets a piece, if it is still the one for its place.
    pub fn remove(&self, place: ReEntryKey, code: u64) {
        let mut known = self.known.write();
        if known.get(&place).is_some_and(|re_entry| re_entry.code == code) {
            known.remove(&place);
        }
        self.count.store(known.len(), Ordering::Relaxed);
    }
    /// The piece with which the function at `ip` goes on with these arguments; 0 where there is
    /// none.
    #[inline]
    pub fn find(&self, ip: *const Instr, arguments: &[Term]) -> u64 {
        if self.count.load(Ordering::Relaxed) == 0 { 0 } else { self.find_among(ip, arguments) }
    }
    fn find_among(&self, ip: *const Instr, arguments: &[Term]) -> u64 {
        let cell = ip.wrapping_sub(1) as usize;
        let found = (0..arguments.len().min(ARGUMENTS_MAX)).find_map(|argument| {
            let fun = arguments[argument].as_local_fun()?;
            let place = ReEntryKey { cell, fun: fun.entry_ptr() as usize, argument };
            let known = *self.known.read().get(&place)?;
            // One that was read from a file may have any number of free variables.
            (known.is_current(place.fun) && fun.free().len() == known.free).then_some(known.code)
        });
        found.unwrap_or(0)
    }
}
