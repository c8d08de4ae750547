//! From generic instructions to specialised ones: operands are resolved, common pairs fused, and
//! functions that the machine has as built-ins get a built-in for a body.

mod binaries;
mod control;
mod deferred;
mod generic;
mod operands;
mod records;
mod storage;

pub(crate) use binaries::interrupted_construction;
pub use deferred::{Layout, Placed};
pub use storage::{Function, Specialised};

use operands::narrow;
use storage::{Storage, Tables};

use crate::decode::{Op, functions};
use crate::error::BeamError;
use crate::file::BeamFile;
use crate::genop::Opcode;
use crate::instr::*;
use crate::verify::{Amendment, Amendments};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, RwLock};
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::{Atom, Mfa, Term};

/// How a code cell is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellKind {
    /// By calls: a function begins there.
    Entry,
    /// By calls of a function with a breakpoint.
    Breakpoint,
    /// By returns, or when a process that waited goes on.
    Return,
}

impl CellKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [CellKind; 3] = [CellKind::Entry, CellKind::Breakpoint, CellKind::Return];
    /// What cells hold in a machine that never has machine code, by their kind.
    pub const WITHOUT_MACHINE_CODE: [u64; 3] = [0, 1, 2];
}

/// What the specialiser asks of the machine.
pub trait Linker {
    /// What hangs on a cell that has no machine code.
    fn no_code(&self, cell: CellKind) -> u64;
    /// The machine's export entry of a function, which is made if there is none yet.
    fn export(&mut self, mfa: Mfa) -> ExportPtr;
    /// The number of the built-in of that name, if there is one.
    fn bif(&self, mfa: Mfa) -> Option<u16>;
    /// Whether a built-in may be an instruction: it does not trap or wait, and does nothing but
    /// answer.
    fn is_guard(&self, bif: u16) -> bool;
    /// The machine's entry of the module's fun with this number.
    fn fun(&mut self, lambda: u32) -> FunPtr;
    /// The slot for a native body of the function with this number, if it may have one. `is_marked`
    /// says whether the compiler has marked it so.
    fn native(&self, function: u32, is_marked: &dyn Fn() -> bool) -> Option<NativePtr>;
    /// A big integer in two's complement, big endian.
    fn big(&mut self, bytes: &[u8]) -> Term;
    /// A literal tuple of literals.
    fn tuple(&mut self, elements: &[Term]) -> Term;
}

/// Turns a verified file into instructions, function by function. Constants lie in a pool that
/// grows downwards from where the instructions begin.
pub struct Specialiser<'a, L: Linker> {
    file: &'a BeamFile,
    atoms: &'a [Atom],
    literals: &'a [Term],
    linker: &'a mut L,
    /// The constants from `first.constant` on; the literals lie before all of them.
    pool: Vec<Term>,
    /// Position of the function's constants in the pool.
    pool_index: HashMap<u64, usize, BuildHasherDefault<NumberHasher>>,
    /// The instructions from `first.instr` on.
    code: Vec<Instr>,
    /// For each instruction's jump fields: filled once all labels are known.
    fixups: Vec<u32>,
    labels: Vec<u32>,
    /// The functions from `first.function` on.
    functions: Vec<Function>,
    placed: Vec<Placed>,
    amendments: Vec<(u32, u32, Amendment)>,
    lines: Vec<(u32, u32)>,
    on_load: Option<u32>,
    tables: Tables,
    imports: Vec<(ExportPtr, Option<u16>)>,
    first: First,
    /// Whether the function has made literals that are not the file's.
    has_own_literals: bool,
}

/// Where what is specialised begins in its module: the whole of it with zeroes.
#[derive(Clone, Copy, Default)]
struct First {
    function: u32,
    instr: u32,
    constant: usize,
}

/// Turns a verified file into instructions. `atoms` and `literals` are the file's, interned and
/// decoded.
///
/// # Errors
/// For instructions that the machine does not run.
pub fn specialise<L: Linker>(
    file: &BeamFile,
    atoms: &[Atom],
    literals: &[Term],
    linker: &mut L,
) -> Result<Specialised, BeamError> {
    let mut specialiser = Specialiser::new(file, atoms, literals, linker, Vec::new());
    for function in functions(&file.code.ops) {
        specialiser.function(function, &Amendments::default())?;
    }
    Ok(specialiser.finish().0)
}

impl<'a, L: Linker> Specialiser<'a, L> {
    /// `atoms` and `literals` are the file's, interned and decoded; behind the literals come two
    /// more for each native record of the file: its definition, and the tuple of its default
    /// values. Of `code` only the memory is used.
    pub fn new(
        file: &'a BeamFile,
        atoms: &'a [Atom],
        literals: &'a [Term],
        linker: &'a mut L,
        code: Vec<Instr>,
    ) -> Specialiser<'a, L> {
        let imports = linked_imports(file, atoms, linker);
        let labels = vec![u32::MAX; file.code.label_count as usize + 1];
        let first = First { constant: literals.len(), ..First::default() };
        Specialiser::from(first, file, atoms, literals, linker, code, imports, labels)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields that are not empty")]
    fn from(
        first: First,
        file: &'a BeamFile,
        atoms: &'a [Atom],
        literals: &'a [Term],
        linker: &'a mut L,
        mut code: Vec<Instr>,
        imports: Vec<(ExportPtr, Option<u16>)>,
        labels: Vec<u32>,
    ) -> Specialiser<'a, L> {
        code.clear();
        Specialiser {
            file,
            atoms,
            literals,
            linker,
            pool: Vec::new(),
            pool_index: HashMap::default(),
            code,
            fixups: Vec::new(),
            labels,
            functions: Vec::new(),
            placed: Vec::new(),
            amendments: Vec::new(),
            lines: Vec::new(),
            on_load: None,
            tables: Tables::default(),
            imports,
            first,
            has_own_literals: false,
        }
    }

    /// The next function, which has been verified, with what the verifier wants amended.
    ///
    /// # Errors
    /// For instructions that the machine does not run.
    pub fn function(&mut self, ops: &[Op], amendments: &Amendments) -> Result<(), BeamError> {
        // The constants of a function lie together, so that it can be specialised without the
        // others.
        self.pool_index.clear();
        self.has_own_literals = false;
        let (start, constant) = (self.here(), self.first.constant + self.pool.len());
        let mut at = 0;
        while at < ops.len() && amendments.is_empty() {
            at += self.one(ops, at)?;
        }
        while at < ops.len() {
            let amendment = amendments.at(at);
            match amendment {
                Some(Amendment::Dead { until }) => {
                    at = self.dead(ops, at, *until as usize);
                    continue;
                }
                Some(Amendment::Clear) => {
                    let destination = ops[at].args.last().expect("a built-in has one");
                    match Self::x_of(destination) {
                        Some(to) => self.emit(Instr::MoveKX { to, value: Term::NIL }),
                        None => self
                            .emit(Instr::Move { src: Src::small(0), dst: Self::dst(destination) }),
                    }
                }
                Some(Amendment::OwnMessage) => self.emit(Instr::OwnMessage),
                _ => {}
            }
            // Instructions become one with the next only where that has no amendment of its own.
            let end = amendments.next_after(at).map_or(ops.len(), |next| next.min(ops.len()));
            at += self.one(&ops[..end], at)?;
            if let Some(Amendment::EndTurn { live, holes }) = amendment {
                for &hole in holes {
                    self.emit(Instr::MoveKX { to: hole, value: Term::NIL });
                }
                self.emit(Instr::EndTurn { live: *live });
            }
        }
        self.note_place(ops, amendments, start, constant);
        Ok(())
    }

    /// Leaves out what is never reached. Its labels may be named by handlers of catches in which
    /// nothing can fail.
    fn dead(&mut self, ops: &[Op], at: usize, until: usize) -> usize {
        let until = until.clamp(at + 1, ops.len());
        for op in ops[at..until].iter().filter(|op| op.opcode == Opcode::Label) {
            self.labels[narrow::<u32>(&op.args[0]) as usize] = self.here();
        }
        self.emit(Instr::IfEnd);
        until
    }

    /// The number of the instruction that will be emitted next.
    fn here(&self) -> u32 {
        self.first.instr + self.code.len() as u32
    }
}

/// The exports that a file's imports are, and the built-ins of those names.
fn linked_imports<L: Linker>(
    file: &BeamFile,
    atoms: &[Atom],
    linker: &mut L,
) -> Vec<(ExportPtr, Option<u16>)> {
    let imports = file.imports.iter();
    imports
        .map(|import| {
            let mfa = Mfa {
                module: atoms[import.module as usize],
                function: atoms[import.function as usize],
                arity: import.arity,
            };
            (linker.export(mfa), linker.bif(mfa))
        })
        .collect()
}

type Build = Result<(), BeamError>;

impl<L: Linker> Specialiser<'_, L> {
    fn big(&mut self, bytes: &[u8]) -> Term {
        self.has_own_literals = true;
        self.linker.big(bytes)
    }

    fn emit(&mut self, instr: Instr) {
        self.code.push(instr);
    }
    fn emit_cell(&mut self, kind: CellKind) {
        let native = self.linker.no_code(kind);
        self.emit(Instr::Cell { native });
    }

    fn unsupported(&self, op: &Op) -> BeamError {
        BeamError::unsupported(op.opcode, op.offset)
    }

    /// Begins the function of these instructions with a look for a native body, if it may have one.
    /// The compiler's mark may stand behind the making of a frame.
    fn native_body(&mut self, ops: &[Op]) {
        let function = self.first.function + self.functions.len() as u32 - 1;
        let is_marked = || ops.iter().any(|op| op.opcode == Opcode::NifStart);
        if let Some(slot) = self.linker.native(function, &is_marked) {
            let arity =
                self.functions.last().expect("func_info comes before the function's code").arity
                    as u16;
            self.emit(Instr::NativeBody { arity, slot });
        }
    }

    /// Whether the label at `ops[at]` is a jump target that forbids fusing over it; labels always
    /// do.
    fn next_is(ops: &[Op], at: usize, opcode: Opcode) -> Option<&Op> {
        ops.get(at + 1).filter(|op| op.opcode == opcode)
    }

    /// The frame that is popped before the return, if the function returns right after `ops[at]`.
    fn returns_after(ops: &[Op], at: usize) -> Option<u16> {
        let frame = Self::next_is(ops, at, Opcode::Deallocate)?;
        Self::next_is(ops, at + 1, Opcode::Return).map(|_| narrow(&frame.args[0]))
    }

    /// The module, and what the instructions were gathered in, to be used again.
    pub fn finish(mut self) -> (Specialised, Vec<Instr>) {
        self.resolve_jumps(self.here());
        let Specialiser {
            literals, pool, functions, labels, mut lines, on_load, tables, code, ..
        } = self;
        lines.shrink_to_fit();
        let first = (literals.len() + pool.len()).div_ceil(2);
        let storage = Storage::new(first + code.len());
        let (lines, tables) = (RwLock::new(lines), Mutex::new(tables));
        let module = Specialised {
            storage,
            first,
            functions,
            labels,
            lines,
            on_load,
            tables,
            deferred: None,
        };
        module.write_constants(0, literals);
        module.write_constants(literals.len(), &pool);
        // SAFETY: the storage has a slot of the same size and alignment for each instruction.
        unsafe { module.instr(0).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
        (module, code)
    }
}

/// Heap words that a binary that was built can take: a heap binary, or a shared one and a part of
/// it.
const RESULT_WORDS: u32 = 12;

#[cfg(test)]
pub(crate) mod tests;
