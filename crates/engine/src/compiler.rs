//! What makes machine code. [`Tier`](crate::tier::Tier) decides of which functions, and when.

use crate::code::{Glue, Installed};
use std::sync::Arc;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;

/// Which pieces of a function are to be compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What begins at its entry, and the rest if that is little.
    Entry,
    /// What begins behind this cell.
    Behind(u32),
    All,
}

/// What a compiler is asked for.
pub struct Request<'a> {
    pub vm: &'static Vm,
    pub installed: &'a Arc<Installed>,
    pub module: &'a ModuleCode,
    /// The function's number in the module. It is loaded.
    pub function: usize,
    pub part: Part,
    /// Whether floats were among the sampled arguments.
    pub floats: bool,
}

/// What a function was compiled to.
#[derive(Default)]
pub struct Compiled {
    pub code_bytes: usize,
    /// For each piece: its cell, its address, and its size.
    pub pieces: Vec<(u32, u64, usize)>,
}

/// Compiles functions on one thread. It keeps memory from one function to the next, and nothing
/// else.
pub trait Compiler {
    /// Compiles a function, or a part of it, and installs the machine code; nothing where the
    /// function is too large.
    ///
    /// # Errors
    /// What the code generator or the operating system says; the function stays as it was.
    fn compile(&mut self, request: &Request<'_>) -> Result<Option<Compiled>, String>;

    /// Pieces to be compiled along with the hot piece behind `cell`: their functions' numbers, and
    /// their cells.
    fn companions(&self, vm: &'static Vm, module: &ModuleCode, cell: u32) -> Vec<(usize, u32)>;
}

/// A compiler for this processor, which makes a [`Compiler`] for each thread.
pub trait Backend: Send + Sync {
    /// The trampoline, exits and questions of its pieces.
    fn glue(&self) -> &Glue;
    /// The processor and the extensions that the code makes use of: part of the cache's key.
    fn processor(&self) -> &str;
    /// A compiler for the calling thread.
    fn compiler(&self) -> Box<dyn Compiler>;
}

/// A compiler so fast that a scheduler waits for it: on one of the first calls of a function.
pub trait BaselineCompiler: Send + Sync {
    /// The machine code of all pieces of a function of a module, if it is to have some. The
    /// function is loaded.
    fn compile(
        &self,
        vm: &'static Vm,
        module: &ModuleCode,
        function: usize,
    ) -> Option<BaselineCode>;
}

/// A function's code by the baseline compiler. It is position-independent.
pub struct BaselineCode {
    pub bytes: Vec<u8>,
    /// The numbers of cells, and where in the code the pieces begin that are behind them.
    pub pieces: Vec<(u32, u32)>,
}

/// Why there is no machine code.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// "`what`: `error`".
    pub fn new(what: &str, error: &dyn std::fmt::Display) -> Unavailable {
        Unavailable(format!("{what}: {error}"))
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unavailable {}
