//! Loops that are come back to.
//!
//! A turn may end in the middle of a loop of another module's function that a caller has inside with the fun that it calls
//! ([`inlining`](crate::inlining)). The process then stands where that function begins, as any process does, and nothing is
//! left of how it came there. So that it need not go on by the function's own code, which does not know the fun, there is a
//! piece that begins in the loop; it is found by where the process stands and by the fun that it holds.
//!
//! Whoever finds such a piece is pinned, as all who run machine code. So when one is taken out here first, it can be given
//! back once all have unpinned that are pinned now.

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_beam::instr::{ExportPtr, FunPtr, Instr};
use swarmrt_machine::code::{Export, FunEntry};
use swarmrt_term::Term;

/// Where a process stands, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The address of the entry cell of the function that is a loop.
    cell: usize,
    /// The fun, and the argument that it is.
    fun: usize,
    argument: usize,
}

impl Place {
    pub fn new(cell: u64, fun: FunPtr, argument: usize) -> Place {
        Place { cell: cell as usize, fun: fun.0 as usize, argument }
    }
}

/// The same for another run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoopAnchor {
    /// The module of the function that is a loop, by the number of its name, and the function's entry cell.
    pub module: u32,
    pub cell: u32,
    /// The number of the fun among those of the module that makes it, and the argument that it is.
    pub fun: u32,
    pub argument: u32,
    /// What the loop belongs to, a function of the same module as the loop: its name, arity and entry cell.
    pub function: u32,
    pub arity: u32,
    pub export_cell: u32,
    /// Where the fun's code begins, and its free variables.
    pub lambda: u32,
    pub free: u32,
}

/// A piece that goes on there.
#[derive(Clone, Copy, Debug)]
pub struct Resumption {
    pub code: u64,
    /// What the loop belongs to, and how often that had changed when the piece was made.
    pub export: ExportPtr,
    pub changes: u64,
    /// Where the fun's code began, and its free variables.
    pub lambda: u64,
    pub free: usize,
}

impl Resumption {
    /// Whether the versions of both modules are those that the piece was made of.
    fn is_current(&self, fun: usize) -> bool {
        let lambda = FunEntry::of(fun as *const _).entry() as u64;
        Export::of(self.export).changes() == self.changes && lambda == self.lambda
    }
}

static RESUMPTIONS: LazyLock<RwLock<HashMap<Place, Resumption>>> = LazyLock::new(RwLock::default);
/// How many there are: whoever looks for one asks here first.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Arguments among which the fun is looked for.
pub const ARGUMENTS_MAX: usize = 4;

pub fn is_known(place: Place) -> bool {
    RESUMPTIONS.read().get(&place).is_some_and(|known| known.is_current(place.fun))
}
pub fn put(place: Place, resumption: Resumption) {
    let mut known = RESUMPTIONS.write();
    known.insert(place, resumption);
    COUNT.store(known.len(), Ordering::Relaxed);
}
/// Forgets a piece, if it is still the one for its place.
pub fn remove(place: Place, code: u64) {
    let mut known = RESUMPTIONS.write();
    if known.get(&place).is_some_and(|resumption| resumption.code == code) {
        known.remove(&place);
    }
    COUNT.store(known.len(), Ordering::Relaxed);
}
/// The piece with which the function at `ip` goes on with these arguments; 0 where there is none.
pub fn find(ip: *const Instr, arguments: &[Term]) -> u64 {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    let cell = ip.wrapping_sub(1) as usize;
    let found = (0..arguments.len().min(ARGUMENTS_MAX)).find_map(|argument| {
        let fun = arguments[argument].as_local_fun()?;
        let place = Place { cell, fun: fun.entry_ptr() as usize, argument };
        let known = *RESUMPTIONS.read().get(&place)?;
        // One that was read from a file may have any number of free variables.
        (known.is_current(place.fun) && fun.free().len() == known.free).then_some(known.code)
    });
    found.unwrap_or(0)
}
