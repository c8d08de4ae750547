//! From generic instructions to specialised ones: operands are resolved, common pairs fused, and
//! functions that the machine has as built-ins get a built-in for a body.

mod deferred;

pub use deferred::{Layout, Placed};

use crate::decode::{AllocKind, Op, Operand, functions};
use crate::error::BeamError;
use crate::file::BeamFile;
use crate::genop::Opcode;
use crate::instr::*;
use crate::verify::{Amendment, Amendments, NEVER_RETURN};
use deferred::Deferred;
use std::any::Any;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError, RwLock};
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::boxed::FlatMap;
use swarmrt_term::{Atom, Mfa, Term, am, compare_exact};

/// How a code cell is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellKind {
    /// By calls: a function begins there.
    Entry,
    /// By returns, or when a process that waited goes on.
    Return,
}

/// What the specialiser asks of the machine.
pub trait Linker {
    /// What hangs on a cell that has no machine code.
    fn no_code(&self, cell: CellKind) -> u64;
    fn export(&mut self, mfa: Mfa) -> ExportPtr;
    /// The number of the built-in of that name, if there is one.
    fn bif(&self, mfa: Mfa) -> Option<u16>;
    /// Whether a built-in may be an instruction: it does not trap or wait, and does nothing but answer.
    fn is_guard(&self, bif: u16) -> bool;
    fn fun(&mut self, lambda: u32) -> FunPtr;
    /// The slot for a native body of the function with this number, if it may have one. `is_marked` says whether the compiler
    /// has marked it so.
    fn native(&self, function: u32, is_marked: &dyn Fn() -> bool) -> Option<NativePtr>;
    /// A big integer in two's complement, big endian.
    fn big(&mut self, bytes: &[u8]) -> Term;
    /// A literal tuple of literals.
    fn tuple(&mut self, elements: &[Term]) -> Term;
}

/// A function of a specialised module; positions are instruction numbers.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub name: Atom,
    pub arity: u32,
    /// Its `FuncInfo`.
    pub start: u32,
    /// Its entry cell.
    pub entry: u32,
}

/// A module ready to run.
pub struct Specialised {
    /// The constants, then the instructions, two words each: neither moves while the module lives.
    storage: Storage,
    /// Where the instructions begin in `storage`.
    first: usize,
    pub functions: Vec<Function>,
    /// The instruction at each label; `u32::MAX` where there is none.
    pub labels: Vec<u32>,
    /// Instruction number and index of the line table, in order.
    lines: RwLock<Vec<(u32, u32)>>,
    pub on_load: Option<u32>,
    /// Only kept: the instructions point into them.
    tables: Mutex<Tables>,
    /// Functions that are not specialised yet.
    deferred: Option<Deferred>,
}

/// Memory for a module, all zeroes at first.
struct Storage(NonNull<[[u64; 2]]>);

impl Storage {
    fn new(pairs: usize) -> Storage {
        let words = Box::<[[u64; 2]]>::new_zeroed_slice(pairs);
        // SAFETY: any bits are words.
        Storage(NonNull::from(Box::leak(unsafe { words.assume_init() })))
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn words(&self) -> *mut u64 {
        self.0.as_ptr().cast()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nobody else has it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Operands that do not fit an instruction, owned by whoever has the instructions.
#[derive(Default)]
struct Tables(Vec<*mut (dyn Any + Send + Sync)>);

impl Drop for Tables {
    fn drop(&mut self) {
        for &table in &self.0 {
            // SAFETY: each came from a leaked box, and the instructions that named it go with us.
            drop(unsafe { Box::from_raw(table) });
        }
    }
}

// SAFETY: the tables are owned, immutable, and themselves `Send + Sync`.
unsafe impl Send for Specialised {}
// SAFETY: as above.
unsafe impl Sync for Specialised {}

impl Specialised {
    pub fn code(&self) -> &[Instr] {
        // SAFETY: the storage from `first` on is filled with instructions; zeroes are [`Instr::NotLoaded`].
        unsafe { std::slice::from_raw_parts(self.instr(0), self.storage.len() - self.first) }
    }
    fn instr(&self, at: u32) -> *mut Instr {
        // SAFETY: `first` is within the storage.
        unsafe { self.storage.words().add(self.first * 2).cast::<Instr>().add(at as usize) }
    }
    pub fn size_bytes(&self) -> usize {
        self.storage.len() * 16
    }
    /// The item of the line table for an instruction of the function that begins at `start`.
    pub fn line_of(&self, at: u32, start: u32) -> Option<u32> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        let before = lines.partition_point(|&(line_at, _)| line_at <= at);
        lines[..before].last().filter(|&&(line_at, _)| line_at >= start).map(|&(_, line)| line)
    }
    /// Writes constants from a place in the pool on.
    fn write_constants(&self, at: usize, constants: &[Term]) {
        assert!(at + constants.len() <= self.first * 2, "the pool has room for all constants");
        for (term, at) in constants.iter().zip(at..) {
            // SAFETY: the pool has room for them before `first`, and nothing refers to them yet.
            unsafe { self.storage.words().add(self.first * 2 - 1 - at).write(term.raw()) };
        }
    }
}

/// The register with the binary that the instruction at `at` puts a segment into, where others than such stand between it and
/// the one before: the compiler of OTP 22 takes the rest of another binary there.
pub(crate) fn interrupted_construction(ops: &[Op], at: usize) -> Option<&Operand> {
    let before = ops[..at].iter().rev();
    let is_interruption = |op: &&Op| matches!(op.opcode, Opcode::BsSetPosition | Opcode::BsGetTail | Opcode::Line);
    let interruptions = before.clone().take_while(is_interruption).filter(|op| op.opcode != Opcode::Line).count();
    let is_inside = |op: &&Op| is_interruption(op) || op.opcode.traits().fills_binary;
    let start = before.clone().find(|op| !is_inside(op)).filter(|_| interruptions > 0)?;
    match start.opcode {
        Opcode::BsAppend => Some(&start.args[7]),
        Opcode::BsInit2 | Opcode::BsInitBits | Opcode::BsPrivateAppend => Some(&start.args[5]),
        _ => None,
    }
}

/// Turns a verified file into instructions, function by function. Constants lie in a pool that grows downwards from
/// where the instructions begin.
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

/// Turns a verified file into instructions. `atoms` and `literals` are the file's, interned and decoded.
///
/// # Errors
/// For instructions that the machine does not run.
pub fn specialise<L: Linker>(file: &BeamFile, atoms: &[Atom], literals: &[Term], linker: &mut L) -> Result<Specialised, BeamError> {
    let mut specialiser = Specialiser::new(file, atoms, literals, linker, Vec::new());
    for function in functions(&file.code.ops) {
        specialiser.function(function, &Amendments::default())?;
    }
    Ok(specialiser.finish().0)
}

impl<'a, L: Linker> Specialiser<'a, L> {
    /// `atoms` and `literals` are the file's, interned and decoded; behind the literals come two more for each native record of
    /// the file: its definition, and the tuple of its default values. Of `code` only the memory is used.
    pub fn new(file: &'a BeamFile, atoms: &'a [Atom], literals: &'a [Term], linker: &'a mut L, code: Vec<Instr>) -> Specialiser<'a, L> {
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
        // The constants of a function lie together, so that it can be specialised without the others.
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
                        None => self.emit(Instr::Move { src: Src::small(0), dst: Self::dst(destination) }),
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

    /// Leaves out what is never reached. Its labels may be named by handlers of catches in which nothing can fail.
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
fn linked_imports<L: Linker>(file: &BeamFile, atoms: &[Atom], linker: &mut L) -> Vec<(ExportPtr, Option<u16>)> {
    let imports = file.imports.iter();
    imports
        .map(|import| {
            let mfa = Mfa { module: atoms[import.module as usize], function: atoms[import.function as usize], arity: import.arity };
            (linker.export(mfa), linker.bif(mfa))
        })
        .collect()
}

type Build = Result<(), BeamError>;

/// Generic jump operands are label numbers until `resolve_jumps`.
fn label(operand: &Operand) -> i32 {
    match operand {
        Operand::Label(number) => *number as i32,
        _ => 0,
    }
}

fn unsigned(operand: &Operand) -> u64 {
    match operand {
        Operand::Unsigned(value) | Operand::Char(value) => *value,
        Operand::Int(value) => *value as u64,
        _ => 0,
    }
}

/// The size of a tuple, or one that no tuple has: a comparison with it never holds.
fn tuple_size(operand: &Operand) -> u32 {
    u32::try_from(unsigned(operand)).unwrap_or(u32::MAX)
}

/// A number of bits that a bitstring is compared with; clamped to one that no bitstring has, so that sums stay in range.
fn extent_bits(size: u64, unit: u64) -> u64 {
    const BITS_MAX: u64 = 1 << 60;
    size.saturating_mul(unit).min(BITS_MAX)
}

/// A number that the verifier keeps within the field that it goes to.
fn narrow<T: TryFrom<u64>>(operand: &Operand) -> T {
    T::try_from(unsigned(operand)).unwrap_or_else(|_| panic!("the verifier lets {operand:?} pass"))
}

impl<L: Linker> Specialiser<'_, L> {
    fn intern_constant(&mut self, term: Term) -> usize {
        *self.pool_index.entry(term.raw()).or_insert_with(|| {
            self.pool.push(term);
            self.first.constant + self.pool.len() - 1
        })
    }

    fn pool_term(&mut self, operand: &Operand) -> Option<Term> {
        Some(match operand {
            Operand::Int(value) if Term::fits_small(*value) => Term::small(*value),
            Operand::Int(value) => self.big(&value.to_be_bytes()),
            Operand::BigInt(bytes) => self.big(bytes),
            Operand::Atom(index) => Term::atom(self.atoms[*index as usize]),
            Operand::Nil => Term::NIL,
            Operand::Literal(index) => self.literals[*index as usize],
            Operand::Unsigned(value) | Operand::Char(value) if *value <= Term::SMALL_MAX as u64 => Term::small(*value as i64),
            // What `bs_match` compares with has up to 64 bits, and no sign.
            Operand::Unsigned(value) => self.big(&i128::from(*value).to_be_bytes()),
            _ => return None,
        })
    }

    fn big(&mut self, bytes: &[u8]) -> Term {
        self.has_own_literals = true;
        self.linker.big(bytes)
    }

    /// The keys, as a tuple, of a map that is made of these pairs, which are in order, and nothing else: all maps from there share
    /// it. `None` where the keys are not known, or the map is not flat.
    fn keys_of_new_map(&mut self, source: &Operand, pairs: &[&[Operand]]) -> Option<Term> {
        let is_empty = self.pool_term(source)?.as_flat_map()?.size() == 0;
        let keys = pairs.iter().map(|pair| self.pool_term(&pair[0])).collect::<Option<Vec<Term>>>()?;
        let are_different = keys.is_sorted_by(|&a, &b| compare_exact(a, b).is_lt());
        if !is_empty || !are_different || keys.is_empty() || keys.len() > FlatMap::SIZE_MAX {
            return None;
        }
        self.has_own_literals = true;
        Some(self.linker.tuple(&keys))
    }

    /// A source operand of the instruction that will be emitted next (or `ahead` instructions later).
    fn src_at(&mut self, operand: &Operand, ahead: usize) -> Src {
        let at = match operand {
            Operand::X(number) | Operand::TypedX(number, _) => return Src::x(*number),
            Operand::Y(number) | Operand::TypedY(number, _) => return Src::y(*number),
            Operand::Int(value) if Src::fits_small(*value) => return Src::small(*value as i32),
            Operand::Unsigned(value) | Operand::Char(value) if *value < 1 << 29 => return Src::small(*value as i32),
            Operand::Literal(index) => *index as usize,
            other => {
                let term = self.pool_term(other).unwrap_or(Term::NIL);
                self.intern_constant(term)
            }
        };
        self.constant(at, ahead)
    }
    /// The operand for a place among the constants.
    fn constant(&self, at: usize, ahead: usize) -> Src {
        let here = (self.here() as usize + ahead) * 2;
        Src::constant(-(at as i32) - 1 - here as i32)
    }
    fn src(&mut self, operand: &Operand) -> Src {
        self.src_at(operand, 0)
    }
    fn dst(operand: &Operand) -> Dst {
        match operand {
            Operand::Y(number) | Operand::TypedY(number, _) => Dst::y(*number),
            Operand::X(number) | Operand::TypedX(number, _) => Dst::x(*number),
            _ => Dst::x(0),
        }
    }
    fn x_of(operand: &Operand) -> Option<u16> {
        match operand {
            Operand::X(number) | Operand::TypedX(number, _) => Some(*number),
            _ => None,
        }
    }
    fn y_of(operand: &Operand) -> Option<u16> {
        match operand {
            Operand::Y(number) | Operand::TypedY(number, _) => Some(*number),
            _ => None,
        }
    }

    fn table<T: Any + Send + Sync>(&mut self, value: T) -> Table<T> {
        let raw = std::ptr::NonNull::from(Box::leak(Box::new(value)));
        self.tables.0.push(raw.as_ptr());
        // SAFETY: the table lives as long as the module whose instructions name it.
        unsafe { Table::new(raw) }
    }

    fn emit(&mut self, instr: Instr) {
        self.code.push(instr);
    }
    fn emit_cell(&mut self, kind: CellKind) {
        let native = self.linker.no_code(kind);
        self.emit(Instr::Cell { native });
    }

    fn list(operand: &Operand) -> &[Operand] {
        match operand {
            Operand::List(items) => items,
            _ => &[],
        }
    }

    fn unsupported(&self, op: &Op) -> BeamError {
        BeamError::unsupported(op.opcode, op.offset)
    }

    /// Begins the function of these instructions with a look for a native body, if it may have one. The compiler's mark may
    /// stand behind the making of a frame.
    fn native_body(&mut self, ops: &[Op]) {
        let function = self.first.function + self.functions.len() as u32 - 1;
        let is_marked = || ops.iter().any(|op| op.opcode == Opcode::NifStart);
        if let Some(slot) = self.linker.native(function, &is_marked) {
            let arity = self.functions.last().expect("func_info comes before the function's code").arity as u16;
            self.emit(Instr::NativeBody { arity, slot });
        }
    }

    fn heap_words(operand: &Operand) -> u32 {
        match operand {
            Operand::AllocList(items) => items
                .iter()
                .map(|&(kind, count)| match kind {
                    AllocKind::Words => count as u32,
                    AllocKind::Floats => count as u32 * 2,
                    AllocKind::Funs => count as u32 * 3,
                })
                .sum(),
            other => unsigned(other) as u32,
        }
    }

    /// Whether the label at `ops[at]` is a jump target that forbids fusing over it; labels always do.
    fn next_is(ops: &[Op], at: usize, opcode: Opcode) -> Option<&Op> {
        ops.get(at + 1).filter(|op| op.opcode == opcode)
    }

    /// The frame that is popped before the return, if the function returns right after `ops[at]`.
    fn returns_after(ops: &[Op], at: usize) -> Option<u16> {
        let frame = Self::next_is(ops, at, Opcode::Deallocate)?;
        Self::next_is(ops, at + 1, Opcode::Return).map(|_| narrow(&frame.args[0]))
    }

    /// Emits the instruction at `ops[at]`, and returns how many generic ones it stands for.
    fn one(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        let op = &ops[at];
        let args = &op.args;
        use Opcode as G;
        match op.opcode {
            G::Label => {
                let number: u32 = narrow(&args[0]);
                self.labels[number as usize] = self.here();
                // Calls go to the label behind `func_info`.
                if at.checked_sub(1).is_some_and(|before| ops[before].opcode == G::FuncInfo) {
                    let entry = self.here();
                    let info = self.functions.last_mut().expect("func_info comes before the entry label");
                    info.entry = entry;
                    let mfa = Mfa { module: self.atoms[1], function: info.name, arity: info.arity };
                    let function = self.first.function + self.functions.len() as u32 - 1;
                    self.emit_cell(CellKind::Entry);
                    // The Erlang bodies of these call themselves.
                    if mfa.module == am::ERLANG && mfa.function == am::APPLY && mfa.arity == 3 {
                        self.emit(Instr::ApplyArgs);
                    } else if mfa.module == am::ERLANG && mfa.function == am::APPLY && mfa.arity == 2 {
                        self.emit(Instr::ApplyFunArgs);
                    }
                    if let Some(bif) = self.linker.bif(mfa) {
                        self.emit(Instr::BifBody { arity: mfa.arity as u16, bif, function });
                        // The Erlang body is never reached; its labels must still exist.
                    }
                    self.native_body(ops);
                }
            }
            G::FuncInfo => {
                let (Operand::Atom(name), arity) = (&args[1], unsigned(&args[2])) else { return Err(self.unsupported(op)) };
                let function = self.first.function + self.functions.len() as u32;
                let start = self.here();
                self.functions.push(Function { name: self.atoms[*name as usize], arity: arity as u32, start, entry: start + 1 });
                self.emit(Instr::FuncInfo { function, calls: 0 });
            }
            G::IntCodeEnd => {}
            G::Line => {
                let line = unsigned(&args[0]) as u32;
                self.lines.push((self.here(), line));
            }
            G::ExecutableLine | G::DebugLine | G::NifStart | G::Fclearerror | G::Fcheckerror => {}
            G::OnLoad => self.on_load = Some(self.first.function + self.functions.len() as u32 - 1),

            G::Move => return Ok(self.movement(ops, at)),
            G::Swap => self.emit(Instr::Swap { a: Self::dst(&args[0]), b: Self::dst(&args[1]) }),
            G::InitYregs => {
                let registers = self.table(YRegisters(Self::list(&args[0]).iter().filter_map(Self::y_of).collect()));
                self.emit(Instr::InitY { registers });
            }
            G::Init => {
                if let Some(y) = Self::y_of(&args[0]) {
                    let registers = self.table(YRegisters([y].into()));
                    self.emit(Instr::InitY { registers });
                }
            }
            G::Allocate => self.emit(Instr::Allocate { frame: narrow(&args[0]), live: narrow(&args[1]), heap: 0 }),
            G::AllocateHeap => {
                self.emit(Instr::Allocate { frame: narrow(&args[0]), live: narrow(&args[2]), heap: Self::heap_words(&args[1]) });
            }
            G::AllocateZero | G::AllocateHeapZero => {
                let frame = narrow(&args[0]);
                let (heap, live) = if op.opcode == G::AllocateZero { (0, unsigned(&args[1])) } else { (Self::heap_words(&args[1]), unsigned(&args[2])) };
                self.emit(Instr::Allocate { frame, live: live as u16, heap });
                let registers = self.table(YRegisters((0..frame).collect()));
                self.emit(Instr::InitY { registers });
            }
            G::TestHeap => self.emit(Instr::TestHeap { words: Self::heap_words(&args[0]), live: narrow(&args[1]) }),
            G::Deallocate => {
                self.emit(Instr::Deallocate { frame: narrow(&args[0]) });
            }
            G::Trim => self.emit(Instr::Trim { words: narrow(&args[0]) }),

            G::Call => {
                self.jump(Instr::Call { arity: narrow(&args[0]), target: label(&args[1]) });
                self.emit_cell(CellKind::Return);
            }
            G::CallLast => {
                self.jump(Instr::CallLast { arity: narrow(&args[0]), target: label(&args[1]), frame: narrow(&args[2]) });
            }
            G::CallOnly => self.jump(Instr::CallOnly { arity: narrow(&args[0]), target: label(&args[1]) }),
            G::CallExt | G::CallExtLast | G::CallExtOnly => self.external_call(op),
            G::Apply => {
                self.emit(Instr::Apply { arity: narrow(&args[0]) });
                self.emit_cell(CellKind::Return);
            }
            G::ApplyLast => self.emit(Instr::ApplyLast { arity: narrow(&args[0]), frame: narrow(&args[1]) }),
            G::CallFun | G::CallFun2 => {
                let (arity, fun) = match op.opcode {
                    G::CallFun => (narrow(&args[0]), Src::x(narrow(&args[0]))),
                    _ => (narrow(&args[1]), self.src(&args[2])),
                };
                // The compiler has no tail call of a fun.
                if let Some(frame) = Self::returns_after(ops, at) {
                    self.emit(Instr::CallFunLast { arity, frame, fun });
                    return Ok(3);
                }
                self.emit(if op.opcode == G::CallFun { Instr::CallFun { arity } } else { Instr::CallFun2 { arity, fun } });
                self.emit_cell(CellKind::Return);
            }
            G::Return => self.emit(Instr::Return),

            G::Jump => self.jump(Instr::Jump { target: label(&args[0]) }),
            G::SelectVal => self.select_val(args),
            G::SelectTupleArity => {
                let src = self.src(&args[0]);
                let fail = label(&args[1]);
                let mut pairs: Vec<(u64, i32)> =
                    Self::list(&args[2]).chunks_exact(2).map(|pair| (Term::small(i64::from(tuple_size(&pair[0]))).raw(), label(&pair[1]))).collect();
                pairs.sort_unstable();
                let select = Select::Search { keys: pairs.iter().map(|p| p.0).collect(), targets: pairs.iter().map(|p| p.1).collect(), fail };
                let select = self.table(select);
                self.jump(Instr::SelectArity { src, select });
            }

            G::IsInteger => self.test(args, |src, fail| Instr::IsInteger { src, fail }),
            G::IsFloat => self.test(args, |src, fail| Instr::IsFloat { src, fail }),
            G::IsNumber => self.test(args, |src, fail| Instr::IsNumber { src, fail }),
            G::IsAtom => self.test(args, |src, fail| Instr::IsAtom { src, fail }),
            G::IsPid => self.test(args, |src, fail| Instr::IsPid { src, fail }),
            G::IsReference => self.test(args, |src, fail| Instr::IsReference { src, fail }),
            G::IsPort => self.test(args, |src, fail| Instr::IsPort { src, fail }),
            G::IsNil => match Self::x_of(&args[1]) {
                Some(x) => self.jump(Instr::IsNilX { x, fail: label(&args[0]) }),
                None => self.test(args, |src, fail| Instr::IsNil { src, fail }),
            },
            G::IsBinary => self.test(args, |src, fail| Instr::IsBinary { src, fail }),
            G::IsBitstr => self.test(args, |src, fail| Instr::IsBitstring { src, fail }),
            G::IsList => self.test(args, |src, fail| Instr::IsList { src, fail }),
            G::IsNonemptyList => {
                if let Some(x) = Self::x_of(&args[1]) {
                    if let Some(next) = Self::next_is(ops, at, G::GetList)
                        && Self::x_of(&next.args[0]) == Some(x)
                    {
                        let (head, tail) = (Self::dst(&next.args[1]), Self::dst(&next.args[2]));
                        self.jump(Instr::IsConsGetListX { x, head, tail, fail: label(&args[0]) });
                        return Ok(2);
                    }
                    self.jump(Instr::IsConsX { x, fail: label(&args[0]) });
                } else {
                    self.test(args, |src, fail| Instr::IsCons { src, fail });
                }
            }
            G::IsTuple => {
                if let Some(next) = Self::next_is(ops, at, G::TestArity)
                    && next.args[0] == args[0]
                    && Self::same_register(&next.args[1], &args[1])
                {
                    let src = self.src(&args[1]);
                    self.jump(Instr::IsTupleOf { src, arity: tuple_size(&next.args[2]), fail: label(&args[0]) });
                    return Ok(2);
                }
                self.test(args, |src, fail| Instr::IsTuple { src, fail });
            }
            G::TestArity => {
                let src = self.src(&args[1]);
                self.jump(Instr::TestArity { src, arity: tuple_size(&args[2]), fail: label(&args[0]) });
            }
            G::IsTaggedTuple => {
                let src = self.src(&args[1]);
                let fail = label(&args[0]);
                if let Ok(arity) = u16::try_from(unsigned(&args[2])) {
                    let tag = self.src(&args[3]);
                    self.jump(Instr::IsTaggedTuple { src, arity, tag, fail });
                } else {
                    self.jump(Instr::IsTupleOf { src, arity: tuple_size(&args[2]), fail });
                    // A constant is found by its distance from the instruction.
                    let tag = self.src(&args[3]);
                    self.jump(Instr::IsTagged { src, tag, fail });
                }
            }
            G::IsMap => self.test(args, |src, fail| Instr::IsMap { src, fail }),
            G::IsBoolean => self.test(args, |src, fail| Instr::IsBoolean { src, fail }),
            G::IsFunction => self.test(args, |src, fail| Instr::IsFunction { src, fail }),
            G::IsFunction2 => self.compare(args, |a, b, fail| Instr::IsFunctionOf { src: a, arity: b, fail }),
            G::IsLt => self.compare(args, |a, b, fail| match (a.as_x(), b.kind()) {
                (Some(x), Src::KIND_SMALL) => Instr::IsLtXI { x, value: b.offset() as i32, fail },
                _ => Instr::IsLt { a, b, fail },
            }),
            G::IsGe => self.compare(args, |a, b, fail| match (a.as_x(), b.kind()) {
                (Some(x), Src::KIND_SMALL) => Instr::IsGeXI { x, value: b.offset() as i32, fail },
                _ => Instr::IsGe { a, b, fail },
            }),
            G::IsEq => self.compare(args, |a, b, fail| Instr::IsEq { a, b, fail }),
            G::IsNe => self.compare(args, |a, b, fail| Instr::IsNe { a, b, fail }),
            G::IsEqExact | G::IsNeExact => {
                let equal = op.opcode == G::IsEqExact;
                if let (Some(x), Some(value)) = (Self::x_of(&args[1]), self.pool_term(&args[2]))
                    && value.is_immediate()
                    && !value.is_float_immediate()
                {
                    let fail = label(&args[0]);
                    self.jump(if equal { Instr::IsEqImmX { x, fail, value } } else { Instr::IsNeImmX { x, fail, value } });
                } else if equal {
                    self.compare(args, |a, b, fail| Instr::IsEqExact { a, b, fail });
                } else {
                    self.compare(args, |a, b, fail| Instr::IsNeExact { a, b, fail });
                }
            }

            G::GetList => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetList { src, head: Self::dst(&args[1]), tail: Self::dst(&args[2]) });
            }
            G::GetHd => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetHead { src, dst: Self::dst(&args[1]) });
            }
            G::GetTl => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetTail { src, dst: Self::dst(&args[1]) });
            }
            G::GetTupleElement => {
                let src = self.src(&args[0]);
                let index = narrow(&args[1]);
                let dst1 = Self::dst(&args[2]);
                if let Some(next) = Self::next_is(ops, at, G::GetTupleElement)
                    && Self::same_register(&next.args[0], &args[0])
                    && unsigned(&next.args[1]) == u64::from(index) + 1
                    && dst1.as_src() != src
                {
                    self.emit(Instr::GetElement2 { src, index, dst1, dst2: Self::dst(&next.args[2]) });
                    return Ok(2);
                }
                self.emit(Instr::GetElement { src, index, dst: dst1 });
            }
            G::SetTupleElement => {
                let value = self.src(&args[0]);
                let tuple = self.src(&args[1]);
                self.emit(Instr::SetElement { value, tuple, index: narrow(&args[2]) });
            }
            G::PutList => {
                let head = self.src(&args[0]);
                let tail = self.src(&args[1]);
                self.emit(Instr::PutList { head, tail, dst: Self::dst(&args[2]) });
            }
            G::PutTuple2 => {
                let elements: Box<[Src]> = Self::list(&args[1]).iter().map(|item| self.src(item)).collect();
                let elements = self.table(elements);
                self.emit(Instr::PutTuple { dst: Self::dst(&args[0]), elements });
            }
            G::UpdateRecord => {
                let source = self.src(&args[2]);
                let reuse = matches!(&args[0], Operand::Atom(index) if self.atoms[*index as usize].name() == "reuse");
                let items = Self::list(&args[4]);
                let updates = items.chunks_exact(2).map(|pair| (unsigned(&pair[0]) as u32 - 1, self.src(&pair[1]))).collect();
                let update = self.table(RecordUpdate { size: narrow(&args[1]), source, updates, reuse });
                self.emit(Instr::UpdateRecord { dst: Self::dst(&args[3]), update });
            }
            G::MakeFun2 | G::MakeFun3 => {
                let lambda = narrow(&args[0]);
                let fun = self.linker.fun(lambda);
                let info = self.file.lambdas[lambda as usize];
                let (dst, free): (Dst, Box<[Src]>) = if op.opcode == G::MakeFun3 {
                    (Self::dst(&args[1]), Self::list(&args[2]).iter().map(|item| self.src(item)).collect())
                } else {
                    (Dst::x(0), (0..info.num_free as u16).map(Src::x).collect())
                };
                let free = self.table((fun, free));
                self.emit(Instr::MakeFun { dst, arity: (info.arity - info.num_free) as u16, free });
            }

            G::Bif0 => {
                let bif = self.import_bif(op, &args[0])?;
                let dst = Self::dst(&args[1]);
                if self.is_erlang(&args[0], "self", 0) {
                    self.emit(Instr::SelfPid { dst });
                } else {
                    self.emit(Instr::Bif0 { bif, dst });
                }
            }
            G::Bif1 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..3], &args[3])?,
            G::Bif2 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..4], &args[4])?,
            G::Bif3 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..5], &args[5])?,
            G::GcBif1 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..4], &args[4])?,
            G::GcBif2 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..5], &args[5])?,
            G::GcBif3 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..6], &args[6])?,

            G::Fmove => match (&args[0], &args[1]) {
                (Operand::Float(from), Operand::Float(to)) => self.emit(Instr::MoveFloat { from: *from, to: *to }),
                (Operand::Float(from), to) => self.emit(Instr::StoreFloat { from: *from, dst: Self::dst(to) }),
                (from, Operand::Float(to)) => {
                    let src = self.src(from);
                    self.emit(Instr::LoadFloat { src, to: *to });
                }
                _ => return Err(self.unsupported(op)),
            },
            G::Fconv => {
                let Operand::Float(to) = args[1] else { return Err(self.unsupported(op)) };
                if let Operand::Float(from) = args[0] {
                    self.emit(Instr::MoveFloat { from, to });
                } else {
                    let src = self.src(&args[0]);
                    self.emit(Instr::LoadFloat { src, to });
                }
            }
            G::Fadd | G::Fsub | G::Fmul | G::Fdiv => {
                let (Operand::Float(a), Operand::Float(b), Operand::Float(to)) = (&args[1], &args[2], &args[3]) else {
                    return Err(self.unsupported(op));
                };
                let (a, b, to) = (*a, *b, *to);
                self.emit(match op.opcode {
                    G::Fadd => Instr::FloatAdd { a, b, to },
                    G::Fsub => Instr::FloatSub { a, b, to },
                    G::Fmul => Instr::FloatMul { a, b, to },
                    _ => Instr::FloatDiv { a, b, to },
                });
            }
            G::Fnegate => {
                let (Operand::Float(a), Operand::Float(to)) = (&args[1], &args[2]) else { return Err(self.unsupported(op)) };
                self.emit(Instr::FloatNeg { a: *a, to: *to });
            }

            G::Badmatch => self.raise_with(args, |src| Instr::Badmatch { src }),
            G::CaseEnd => self.raise_with(args, |src| Instr::CaseEnd { src }),
            G::TryCaseEnd => self.raise_with(args, |src| Instr::TryCaseEnd { src }),
            G::Badrecord => self.raise_with(args, |src| Instr::Badrecord { src }),
            G::IfEnd => self.emit(Instr::IfEnd),
            G::Catch | G::Try => self.jump(Instr::Catch { y: Self::y_of(&args[0]).unwrap_or(0), handler: label(&args[1]) }),
            G::CatchEnd => self.emit(Instr::CatchEnd { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::TryEnd => self.emit(Instr::TryEnd { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::TryCase => self.emit(Instr::TryCase { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::BifExit => {
                let trace = self.src(&args[0]);
                let reason = self.src(&args[1]);
                self.emit(Instr::BifExit { trace, reason });
            }
            G::BuildStacktrace => self.emit(Instr::BuildStacktrace),
            G::RawRaise => self.emit(Instr::RawRaise),

            G::Send => self.emit(Instr::Send),
            G::LoopRec => {
                // Where a process goes on that has waited.
                self.emit_cell(CellKind::Return);
                self.jump(Instr::LoopRec { wait: label(&args[0]) });
            }
            G::RemoveMessage => self.emit(Instr::RemoveMessage),
            G::LoopRecEnd => self.jump(Instr::LoopRecEnd { target: label(&args[0]) }),
            G::Wait => self.jump(Instr::Wait { target: label(&args[0]) }),
            G::WaitTimeout => {
                let time = self.src(&args[1]);
                self.jump(Instr::WaitTimeout { target: label(&args[0]), time });
            }
            G::Timeout => self.emit(Instr::Timeout),
            // Hints of older compilers: without them the receive scans the whole mailbox, which is correct.
            G::RecvMark | G::RecvSet => {}
            G::RecvMarkerReserve => self.emit(Instr::RecvMarkerReserve { dst: Self::dst(&args[0]) }),
            G::RecvMarkerBind => {
                let marker = self.src(&args[0]);
                let reference = self.src(&args[1]);
                self.emit(Instr::RecvMarkerBind { marker, reference });
            }
            G::RecvMarkerClear => {
                let reference = self.src(&args[0]);
                self.emit(Instr::RecvMarkerClear { reference });
            }
            G::RecvMarkerUse => {
                let reference = self.src(&args[0]);
                self.emit(Instr::RecvMarkerUse { reference });
            }

            G::PutMapAssoc | G::PutMapExact => {
                let map = self.src(&args[1]);
                let mut pairs: Vec<&[Operand]> = Self::list(&args[4]).chunks_exact(2).collect();
                // Of several keys that are missing, the error names the first in the order of maps, as in OTP.
                let keys: Option<Vec<Term>> = pairs.iter().map(|pair| self.pool_term(&pair[0])).collect();
                if let Some(keys) = keys.filter(|keys| keys.len() > 1) {
                    let mut order: Vec<usize> = (0..pairs.len()).collect();
                    order.sort_by(|&a, &b| compare_exact(keys[a], keys[b]));
                    pairs = order.into_iter().map(|at| pairs[at]).collect();
                }
                if op.opcode == G::PutMapAssoc
                    && let Some(keys) = self.keys_of_new_map(&args[1], &pairs)
                {
                    let keys = self.intern_constant(keys);
                    let keys = self.constant(keys, 0);
                    let values: Box<[Src]> = pairs.iter().map(|pair| self.src(&pair[1])).collect();
                    let values = self.table(values);
                    self.emit(Instr::NewMap { keys, values, dst: Self::dst(&args[2]) });
                    return Ok(1);
                }
                let pairs = pairs.into_iter().map(|pair| (self.src(&pair[0]), self.src(&pair[1]))).collect();
                let put = self.table(MapPut { map, exact: op.opcode == G::PutMapExact, fail: label(&args[0]), pairs });
                self.jump(Instr::PutMap { dst: Self::dst(&args[2]), put });
            }
            G::HasMapFields => {
                let map = self.src(&args[1]);
                let pairs = Self::list(&args[2]).iter().map(|key| (self.src(key), None)).collect();
                let get = self.table(MapGet { map, fail: label(&args[0]), pairs });
                self.jump(Instr::GetMap { get });
            }
            G::GetMapElements => {
                let map = self.src(&args[1]);
                let pairs = Self::list(&args[2]).chunks_exact(2).map(|pair| (self.src(&pair[0]), Some(Self::dst(&pair[1])))).collect();
                let get = self.table(MapGet { map, fail: label(&args[0]), pairs });
                self.jump(Instr::GetMap { get });
            }
            G::IsAnyNativeRecord => self.test(args, |src, fail| Instr::IsRecord { src, fail }),
            G::IsNativeRecord | G::GetRecordElements | G::IsRecordAccessible | G::GetRecordField | G::PutRecord => self.record_op(op)?,
            G::BsInit2 | G::BsInitBits | G::BsAppend | G::BsPrivateAppend => return self.construction(ops, at),
            _ if op.opcode.traits().fills_binary => return self.continuation(ops, at),
            // Sizes are added up again when the binary is built; here the register only has to hold a term.
            G::BsAdd => self.no_size(&args[4]),
            G::BsUtf8Size | G::BsUtf16Size => self.no_size(&args[2]),
            _ => self.binary_op(op)?,
        }
        Ok(1)
    }

    /// The native record that an operand names: `{Module, Name}`.
    fn record_id(&self, op: &Op, operand: &Operand) -> Result<RecordId, BeamError> {
        let named = self.pool_atoms(operand).ok_or_else(|| self.unsupported(op))?;
        Ok(RecordId { module: named.0, name: named.1 })
    }
    fn pool_atoms(&self, operand: &Operand) -> Option<(Atom, Atom)> {
        let Operand::Literal(index) = operand else { return None };
        let pair = self.literals[*index as usize].as_tuple().filter(|pair| pair.arity() == 2)?;
        Some((pair.get(0).as_atom()?, pair.get(1).as_atom()?))
    }
    fn atom_of(&self, operand: &Operand) -> Option<Atom> {
        if let Operand::Atom(index) = operand { Some(self.atoms[*index as usize]) } else { None }
    }
    /// Field names, which the verifier has seen to be atoms, and what goes with them.
    fn fields<T>(&mut self, pairs: &[Operand], of: impl Fn(&mut Self, &Operand) -> T) -> Box<[(Term, T)]> {
        let name = |specialiser: &Self, field| specialiser.atom_of(field).map_or(Term::NIL, Term::atom);
        pairs.chunks_exact(2).map(|pair| (name(self, &pair[0]), of(self, &pair[1]))).collect()
    }

    fn record_op(&mut self, op: &Op) -> Build {
        use Opcode as G;
        let args = &op.args;
        match op.opcode {
            G::IsNativeRecord => {
                let (Some(module), Some(name)) = (self.atom_of(&args[2]), self.atom_of(&args[3])) else { return Err(self.unsupported(op)) };
                let record = self.src(&args[1]);
                let test = self.table(RecordTest { record, id: RecordId { module, name }, fail: label(&args[0]) });
                self.jump(Instr::IsRecordOf { test });
            }
            G::IsRecordAccessible => {
                let src = self.src(&args[1]);
                let own = if self.is_atom(&args[2], "external") { NO_MODULE } else { self.atoms[1].index() };
                self.jump(Instr::IsRecordAccessible { src, fail: label(&args[0]), own });
            }
            G::GetRecordElements => {
                let record = self.src(&args[1]);
                let fields = self.fields(Self::list(&args[2]), |_, dst| Self::dst(dst));
                let get = self.table(RecordGet { record, fail: label(&args[0]), fields });
                self.jump(Instr::GetRecordFields { get });
            }
            G::GetRecordField => {
                let access = match self.atom_of(&args[2]) {
                    Some(am::UNDERSCORE) => RecordAccess::Any,
                    Some(name) => RecordAccess::Local(name),
                    None => RecordAccess::External(self.record_id(op, &args[2])?),
                };
                let record = self.src(&args[1]);
                let field = self.atom_of(&args[3]).map_or(Term::NIL, Term::atom);
                let get = self.table(RecordField { record, access, field, fail: label(&args[0]) });
                self.jump(Instr::GetRecordField { get, dst: Self::dst(&args[4]) });
            }
            _ => {
                let source = match (&args[2], &args[1]) {
                    (Operand::Nil, Operand::Atom(name)) => {
                        let record = self.file.records.iter().position(|record| record.name == *name).ok_or_else(|| self.unsupported(op))?;
                        // The two literals of each record come last.
                        let at = self.literals.len() - 2 * (self.file.records.len() - record);
                        let (definition, defaults) = (Operand::Literal(at as u32), Operand::Literal(at as u32 + 1));
                        RecordSource::Local { definition: self.src(&definition), defaults: self.src(&defaults) }
                    }
                    (Operand::Nil, id) => RecordSource::External(self.record_id(op, id)?),
                    (record, _) => RecordSource::Update(self.src(record)),
                };
                let fields = self.fields(Self::list(&args[5]), |specialiser, value| specialiser.src(value));
                let put = self.table(RecordPut { source, fields });
                self.emit(Instr::PutRecord { put, dst: Self::dst(&args[3]) });
            }
        }
        Ok(())
    }

    fn no_size(&mut self, dst: &Operand) {
        let value = self.src(&Operand::Int(0));
        self.emit(Instr::Move { src: value, dst: Self::dst(dst) });
    }

    /// The construction of a binary as compilers before OTP 25 wrote it, one instruction a segment, becomes
    /// one plan; the size given up front is not needed for it.
    fn construction(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        use Opcode as G;
        let op = &ops[at];
        let args = &op.args;
        let (heap, live, dst) = match op.opcode {
            G::BsAppend => (Self::heap_words(&args[2]), unsigned(&args[3]), &args[7]),
            G::BsPrivateAppend => (0, 0, &args[5]),
            _ => (Self::heap_words(&args[2]), unsigned(&args[3]), &args[5]),
        };
        if heap > 0 {
            self.emit(Instr::TestHeap { words: heap + RESULT_WORDS, live: live as u16 });
        }
        let mut segments = Vec::new();
        let source = match op.opcode {
            G::BsAppend => Some((SegmentKind::Append, &args[4], &args[5])),
            G::BsPrivateAppend => Some((SegmentKind::PrivateAppend, &args[2], &args[3])),
            _ => None,
        };
        if let Some((kind, unit, value)) = source {
            let value = self.src(value);
            segments.push(Segment { kind, unit: (unsigned(unit) as u32).max(1), flags: 0, value, size: None, bytes: Box::default(), number: 1 });
        }
        let used = 1 + self.segments(ops, at + 1, &mut segments)?;
        let plan = self.table(BinaryPlan { fail: label(&args[0]), dst: Self::dst(dst), segments: segments.into() });
        self.jump(Instr::BsCreateBin { plan });
        Ok(used)
    }

    /// What follows on an interruption of a construction (see [`interrupted_construction`]): the binary so far gets longer.
    fn continuation(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        let op = &ops[at];
        let binary = interrupted_construction(ops, at).ok_or_else(|| self.unsupported(op))?;
        let value = self.src(binary);
        let mut segments = vec![Segment { kind: SegmentKind::Append, unit: 1, flags: 0, value, size: None, bytes: Box::default(), number: 1 }];
        let used = self.segments(ops, at, &mut segments)?;
        let fail = if op.opcode == Opcode::BsPutString { 0 } else { label(&op.args[0]) };
        let plan = self.table(BinaryPlan { fail, dst: Self::dst(binary), segments: segments.into() });
        self.jump(Instr::BsCreateBin { plan });
        Ok(used)
    }

    /// The segments that are put by the instructions from one on; how many instructions these are.
    fn segments(&mut self, ops: &[Op], at: usize, segments: &mut Vec<Segment>) -> Result<usize, BeamError> {
        use Opcode as G;
        let mut used = 0;
        while let Some(put) = ops.get(at + used) {
            let number = segments.len() as u32 + 1;
            let kind = match put.opcode {
                G::BsPutInteger => SegmentKind::Integer,
                G::BsPutBinary => SegmentKind::Binary,
                G::BsPutFloat => SegmentKind::Float,
                G::BsPutString => SegmentKind::String,
                G::BsPutUtf8 => SegmentKind::Utf8,
                G::BsPutUtf16 => SegmentKind::Utf16,
                G::BsPutUtf32 => SegmentKind::Utf32,
                G::Line => {
                    used += 1;
                    continue;
                }
                _ => break,
            };
            let args = &put.args;
            let segment = match kind {
                SegmentKind::String => {
                    let (size, offset) = (unsigned(&args[0]) as usize, unsigned(&args[1]) as usize);
                    let bytes = self.file.strings.get(offset..offset.saturating_add(size)).ok_or_else(|| self.unsupported(put))?.into();
                    Segment { kind, unit: 8, flags: 0, value: Src::small(0), size: None, bytes, number }
                }
                SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32 => {
                    Segment { kind, unit: 1, flags: self.flags(&args[1]), value: self.src(&args[2]), size: None, bytes: Box::default(), number }
                }
                _ => {
                    let size = if self.is_atom(&args[1], "all") { None } else { Some(self.src(&args[1])) };
                    let unit = narrow::<u32>(&args[2]).max(1);
                    Segment { kind, unit, flags: self.flags(&args[3]), value: self.src(&args[4]), size, bytes: Box::default(), number }
                }
            };
            segments.push(segment);
            used += 1;
        }
        Ok(used)
    }

    fn same_register(a: &Operand, b: &Operand) -> bool {
        match (Self::x_of(a), Self::x_of(b)) {
            (Some(x), Some(y)) => x == y,
            (None, None) => Self::y_of(a).is_some() && Self::y_of(a) == Self::y_of(b),
            _ => false,
        }
    }

    fn jump(&mut self, instr: Instr) {
        self.fixups.push(self.here());
        self.emit(instr);
    }

    fn test(&mut self, args: &[Operand], make: impl Fn(Src, i32) -> Instr) {
        let src = self.src(&args[1]);
        self.jump(make(src, label(&args[0])));
    }

    fn compare(&mut self, args: &[Operand], make: impl Fn(Src, Src, i32) -> Instr) {
        let a = self.src(&args[1]);
        let b = self.src(&args[2]);
        self.jump(make(a, b, label(&args[0])));
    }

    fn raise_with(&mut self, args: &[Operand], make: impl Fn(Src) -> Instr) {
        let src = self.src(&args[0]);
        self.emit(make(src));
    }

    fn movement(&mut self, ops: &[Op], at: usize) -> usize {
        let args = &ops[at].args;
        let next = Self::next_is(ops, at, Opcode::Move).map(|op| &op.args);
        let form = |args: &[Operand]| (Self::x_of(&args[0]), Self::y_of(&args[0]), Self::x_of(&args[1]), Self::y_of(&args[1]));
        match (form(args), next.map(|next| form(next))) {
            ((Some(from1), _, Some(to1), _), Some((Some(from2), _, Some(to2), _))) => {
                self.emit(Instr::MoveXX2 { from1, to1, from2, to2 });
                return 2;
            }
            ((Some(from1), _, _, Some(to1)), Some((Some(from2), _, _, Some(to2)))) => {
                self.emit(Instr::MoveXY2 { from1, to1, from2, to2 });
                return 2;
            }
            ((_, Some(from1), Some(to1), _), Some((_, Some(from2), Some(to2), _))) => {
                self.emit(Instr::MoveYX2 { from1, to1, from2, to2 });
                return 2;
            }
            ((Some(from), _, Some(to), _), _) => self.emit(Instr::MoveXX { from, to }),
            ((Some(from), _, _, Some(to)), _) => self.emit(Instr::MoveXY { from, to }),
            ((_, Some(from), Some(to), _), _) => self.emit(Instr::MoveYX { from, to }),
            ((None, None, Some(to), _), _) => {
                let value = self.pool_term(&args[0]).unwrap_or(Term::NIL);
                self.emit(Instr::MoveKX { to, value });
            }
            _ => {
                let src = self.src(&args[0]);
                self.emit(Instr::Move { src, dst: Self::dst(&args[1]) });
            }
        }
        1
    }

    fn external_call(&mut self, op: &Op) {
        let args = &op.args;
        let arity = narrow(&args[0]);
        let (export, bif) = self.imports[unsigned(&args[1]) as usize];
        let import = self.file.imports[unsigned(&args[1]) as usize];
        let is_apply = self.atoms[import.module as usize] == am::ERLANG && self.atoms[import.function as usize] == am::APPLY;
        let (applies, applies_fun) = (is_apply && arity == 3, is_apply && arity == 2);
        match (op.opcode, bif) {
            (Opcode::CallExtLast, _) if applies => self.emit(Instr::ApplyArgsLast { frame: narrow(&args[2]) }),
            (Opcode::CallExtOnly, _) if applies => self.emit(Instr::ApplyArgsLast { frame: 0 }),
            (Opcode::CallExt, _) if applies_fun => self.emit(Instr::ApplyFunArgsCall),
            (Opcode::CallExtLast, _) if applies_fun => {
                self.emit(Instr::ApplyFunArgsLast { frame: narrow(&args[2]) });
            }
            (Opcode::CallExtOnly, _) if applies_fun => self.emit(Instr::ApplyFunArgsLast { frame: 0 }),
            (Opcode::CallExt, Some(bif)) => self.emit(Instr::CallBif { arity, bif }),
            (Opcode::CallExtLast, Some(bif)) => self.emit(Instr::CallBifLast { arity, bif, frame: narrow(&args[2]) }),
            (_, Some(bif)) => self.emit(Instr::CallBifOnly { arity, bif }),
            (Opcode::CallExt, None) => self.emit(Instr::CallExt { arity, export }),
            (Opcode::CallExtLast, None) => self.emit(Instr::CallExtLast { arity, export, frame: narrow(&args[2]) }),
            (_, None) => self.emit(Instr::CallExtOnly { arity, export }),
        }
        if op.opcode == Opcode::CallExt {
            self.emit_cell(CellKind::Return);
            let (module, function) = (self.atoms[import.module as usize], self.atoms[import.function as usize]);
            if module == am::ERLANG && NEVER_RETURN.contains(&(function.name(), import.arity)) {
                // Whatever comes next does not follow it.
                self.emit(Instr::IfEnd);
            }
        }
    }

    fn select_val(&mut self, args: &[Operand]) {
        let src = self.src(&args[0]);
        let fail = label(&args[1]);
        let items = Self::list(&args[2]);
        let values: Vec<Option<Term>> = items.chunks_exact(2).map(|pair| self.pool_term(&pair[0])).collect();
        let targets: Vec<i32> = items.chunks_exact(2).map(|pair| label(&pair[1])).collect();
        let smalls: Option<Vec<i64>> = values.iter().map(|value| value.and_then(Term::as_small)).collect();
        let select = if let Some(smalls) = smalls.filter(|smalls| dense(smalls)) {
            let min = *smalls.iter().min().expect("dense lists are not empty");
            let max = *smalls.iter().max().expect("dense lists are not empty");
            let mut jumps = vec![fail; (max - min + 1) as usize];
            for (value, target) in smalls.iter().zip(&targets).rev() {
                jumps[(value - min) as usize] = *target;
            }
            Select::Jump { min, targets: jumps.into(), fail }
        } else if values.iter().all(|value| value.is_some_and(|value| value.is_immediate() && !value.is_float_immediate())) {
            let mut pairs: Vec<(u64, i32)> = values.iter().flatten().map(|term| term.raw()).zip(targets).collect();
            pairs.sort_by_key(|pair| pair.0);
            pairs.dedup_by_key(|pair| pair.0);
            Select::Search { keys: pairs.iter().map(|p| p.0).collect(), targets: pairs.iter().map(|p| p.1).collect(), fail }
        } else {
            let keys = items.chunks_exact(2).map(|pair| self.src(&pair[0])).collect();
            Select::Each { keys, targets: targets.into(), fail }
        };
        let select = self.table(select);
        self.jump(Instr::SelectVal { src, select });
    }

    fn import_bif(&self, op: &Op, import: &Operand) -> Result<u16, BeamError> {
        let number = unsigned(import) as usize;
        self.imports[number].1.filter(|&bif| self.linker.is_guard(bif)).ok_or_else(|| {
            let mfa = self.file.imports[number];
            let name = |atom: u32| self.atoms[atom as usize].name();
            BeamError::missing_guard_bif(name(mfa.module), name(mfa.function), mfa.arity, op.offset)
        })
    }

    fn is_erlang(&self, import: &Operand, name: &str, arity: u32) -> bool {
        let mfa = self.file.imports[unsigned(import) as usize];
        mfa.arity == arity && self.atoms[mfa.function as usize].name() == name && self.atoms[mfa.module as usize] == am::ERLANG
    }

    /// A built-in in a guard (`fail` is a label) or in a body (0).
    fn guard_bif(&mut self, op: &Op, fail: i32, import: &Operand, operands: &[Operand], dst: &Operand) -> Build {
        let mfa = self.file.imports[unsigned(import) as usize];
        let name = if self.atoms[mfa.module as usize] == am::ERLANG { self.atoms[mfa.function as usize].name() } else { "" };
        let dst = Self::dst(dst);
        let sources: Vec<Src> = operands.iter().map(|operand| self.src(operand)).collect();
        let instr = match (name, sources.as_slice()) {
            ("+", &[a, b]) => self.add(a, b, dst),
            ("+", &[a]) => self.add(a, Src::small(0), dst),
            ("-", &[a, b]) => self.subtract(a, b, dst),
            ("*", &[a, b]) => Instr::Mul { a, b, dst },
            ("div", &[a, b]) => Instr::IntDiv { a, b, dst },
            ("rem", &[a, b]) => Instr::Rem { a, b, dst },
            ("band", &[a, b]) => Instr::Band { a, b, dst },
            ("bor", &[a, b]) => Instr::Bor { a, b, dst },
            ("bxor", &[a, b]) => Instr::Bxor { a, b, dst },
            ("bsl", &[a, b]) => Instr::Bsl { a, b, dst },
            ("bsr", &[a, b]) => Instr::Bsr { a, b, dst },
            ("element", &[a, b]) => Instr::Element { a, b, dst },
            ("hd", &[a]) => Instr::Hd { a, dst },
            ("tl", &[a]) => Instr::Tl { a, dst },
            ("tuple_size", &[a]) => Instr::TupleSize { a, dst },
            (_, &[a]) => Instr::Bif1 { bif: self.import_bif(op, import)?, a, dst },
            (_, &[a, b]) => Instr::Bif2 { bif: self.import_bif(op, import)?, a, b, dst },
            (_, &[a, b, c]) => {
                let args = self.table([a, b, c]);
                Instr::Bif3 { bif: self.import_bif(op, import)?, dst, args }
            }
            _ => return Err(self.unsupported(op)),
        };
        self.emit(instr);
        if fail != 0 {
            self.jump(Instr::Fail { target: fail });
        }
        Ok(())
    }

    fn add(&self, a: Src, b: Src, dst: Dst) -> Instr {
        Self::add_small(a, b, dst, 1).unwrap_or(Instr::Add { a, b, dst })
    }
    fn subtract(&self, a: Src, b: Src, dst: Dst) -> Instr {
        Self::add_small(a, b, dst, -1).unwrap_or(Instr::Sub { a, b, dst })
    }
    /// A register plus a small integer, or minus one where `sign` is -1.
    fn add_small(a: Src, b: Src, dst: Dst, sign: i32) -> Option<Instr> {
        if b.kind() != Src::KIND_SMALL {
            return None;
        }
        let value = b.offset() as i32 * sign;
        // Stack traces show what was written: a negative value stands for a subtraction.
        if b.offset() < 0 {
            return None;
        }
        match (a.as_x(), a.as_y(), dst.is_y()) {
            (Some(x), _, false) => Some(Instr::AddXI { x, to: dst.index() as u16, value }),
            (_, Some(y), _) => Some(Instr::AddYI { y, dst, value }),
            _ => None,
        }
    }

    /// Flags are written as a list literal or as a number.
    fn flags(&self, operand: &Operand) -> u8 {
        let mut flags = 0;
        match operand {
            Operand::Unsigned(value) => flags = *value as u8,
            Operand::Literal(index) => {
                for item in self.literals[*index as usize].list_to_vec().unwrap_or_default() {
                    flags |= match item.as_atom().map(Atom::name) {
                        Some("little") => FLAG_LITTLE,
                        Some("signed") => FLAG_SIGNED,
                        Some("native") => FLAG_NATIVE,
                        _ => 0,
                    };
                }
            }
            _ => {}
        }
        if flags & FLAG_NATIVE != 0 && cfg!(target_endian = "little") {
            flags |= FLAG_LITTLE;
        }
        flags
    }

    fn is_atom(&self, operand: &Operand, name: &str) -> bool {
        matches!(operand, Operand::Atom(index) if self.atoms[*index as usize].name() == name)
    }

    fn binary_op(&mut self, op: &Op) -> Build {
        let args = &op.args;
        use Opcode as G;
        match op.opcode {
            G::BsStartMatch3 => {
                let src = self.src(&args[1]);
                self.jump(Instr::BsStartMatch { src, dst: Self::dst(&args[3]), fail: label(&args[0]) });
            }
            G::BsStartMatch4 => {
                let src = self.src(&args[2]);
                self.jump(Instr::BsStartMatch { src, dst: Self::dst(&args[3]), fail: label(&args[0]) });
            }
            G::BsGetInteger2 | G::BsGetFloat2 => {
                let size = self.src(&args[3]);
                let (context, dst, fail) = (Self::dst(&args[1]), Self::dst(&args[6]), label(&args[0]));
                let unit = (unsigned(&args[4]).max(1) - 1) as u8;
                let flags = self.flags(&args[5]);
                self.jump(if op.opcode == G::BsGetInteger2 {
                    Instr::BsGetInteger { flags, unit, context, size, dst, fail }
                } else {
                    Instr::BsGetFloat { flags, unit, context, size, dst, fail }
                });
            }
            G::BsGetBinary2 => {
                let (context, dst, fail) = (Self::dst(&args[1]), Self::dst(&args[6]), label(&args[0]));
                let unit = unsigned(&args[4]).max(1);
                if self.is_atom(&args[3], "all") {
                    self.jump(Instr::BsGetRest { unit: unit as u16, context, dst, fail });
                } else {
                    let size = self.src(&args[3]);
                    self.jump(Instr::BsGetBinary { unit: (unit - 1) as u8, context, size, dst, fail });
                }
            }
            G::BsSkipBits2 => {
                let (context, fail) = (Self::dst(&args[1]), label(&args[0]));
                let unit = unsigned(&args[3]).max(1);
                if self.is_atom(&args[2], "all") {
                    self.jump(Instr::BsSkipRest { unit: unit as u16, context, fail });
                } else {
                    let size = self.src(&args[2]);
                    self.jump(Instr::BsSkip { unit: (unit - 1) as u8, context, size, fail });
                }
            }
            G::BsTestTail2 => {
                self.jump(Instr::BsTestTail { context: Self::dst(&args[1]), bits: extent_bits(unsigned(&args[2]), 1), fail: label(&args[0]) });
            }
            G::BsTestUnit => {
                self.jump(Instr::BsTestUnit { context: Self::dst(&args[1]), unit: unsigned(&args[2]).max(1) as u16, fail: label(&args[0]) });
            }
            G::BsMatchString => {
                let bits = unsigned(&args[2]) as usize;
                let offset = unsigned(&args[3]) as usize;
                let bytes = self.file.strings.get(offset..offset + bits.div_ceil(8)).ok_or_else(|| self.unsupported(op))?;
                let bits = self.table((bits as u32, bytes.into()));
                self.jump(Instr::BsMatchString { context: Self::dst(&args[1]), bits, fail: label(&args[0]) });
            }
            G::BsGetUtf8 | G::BsGetUtf16 | G::BsGetUtf32 => {
                let utf = match op.opcode {
                    G::BsGetUtf8 => Utf::Utf8,
                    G::BsGetUtf16 => Utf::Utf16,
                    _ => Utf::Utf32,
                };
                let flags = self.flags(&args[3]);
                self.jump(Instr::BsGetUtf { utf, flags, context: Self::dst(&args[1]), dst: Self::dst(&args[4]), fail: label(&args[0]) });
            }
            G::BsSkipUtf8 | G::BsSkipUtf16 | G::BsSkipUtf32 => {
                let utf = match op.opcode {
                    G::BsSkipUtf8 => Utf::Utf8,
                    G::BsSkipUtf16 => Utf::Utf16,
                    _ => Utf::Utf32,
                };
                let flags = self.flags(&args[3]);
                self.jump(Instr::BsSkipUtf { utf, flags, context: Self::dst(&args[1]), fail: label(&args[0]) });
            }
            G::BsGetTail => self.emit(Instr::BsGetTail { context: Self::dst(&args[0]), dst: Self::dst(&args[1]) }),
            G::BsGetPosition => self.emit(Instr::BsGetPosition { context: Self::dst(&args[0]), dst: Self::dst(&args[1]) }),
            G::BsSetPosition => {
                let position = self.src(&args[1]);
                self.emit(Instr::BsSetPosition { context: Self::dst(&args[0]), position });
            }
            G::BsMatch => self.bs_match(op)?,
            G::BsCreateBin => self.bs_create_bin(op)?,
            G::BsInitWritable => self.emit(Instr::BsInitWritable),
            _ => return Err(self.unsupported(op)),
        }
        Ok(())
    }

    fn bs_match(&mut self, op: &Op) -> Build {
        let items = Self::list(&op.args[2]);
        let mut steps = Vec::new();
        let mut at = 0;
        while at < items.len() {
            let Operand::Atom(name) = items[at] else { return Err(self.unsupported(op)) };
            let rest = &items[at + 1..];
            let number = |index: usize| rest.get(index).map_or(0, unsigned);
            let bits = |size: usize| extent_bits(number(size), 1) as usize;
            let units = |size: usize| extent_bits(number(size), number(size + 1)) as usize;
            let (step, used) = match self.atoms[name as usize].name() {
                "ensure_at_least" => (MatchStep::EnsureAtLeast { bits: bits(0), unit: number(1).max(1) as usize }, 2),
                "ensure_exactly" => (MatchStep::EnsureExactly { bits: bits(0) }, 1),
                "binary" if rest.len() >= 5 => (MatchStep::Binary { bits: units(2), dst: Self::dst(&rest[4]) }, 5),
                "integer" if rest.len() >= 5 => (MatchStep::Integer { bits: units(2), flags: self.flags(&rest[1]), dst: Self::dst(&rest[4]) }, 5),
                "skip" => (MatchStep::Skip { bits: bits(0) }, 1),
                "get_tail" if rest.len() >= 3 => (MatchStep::GetTail { dst: Self::dst(&rest[2]) }, 3),
                "=:=" if rest.len() >= 3 => (MatchStep::Equals { bits: bits(1), value: self.src(&rest[2]) }, 3),
                _ => return Err(self.unsupported(op)),
            };
            steps.push(step);
            at += 1 + used;
        }
        let context = self.src(&op.args[1]);
        let plan = self.table(MatchPlan { fail: label(&op.args[0]), context, steps: steps.into() });
        self.jump(Instr::BsMatch { plan });
        Ok(())
    }

    fn bs_create_bin(&mut self, op: &Op) -> Build {
        let args = &op.args;
        let heap = Self::heap_words(&args[1]);
        if heap > 0 {
            self.emit(Instr::TestHeap { words: heap + RESULT_WORDS, live: narrow(&args[2]) });
        }
        let mut segments = Vec::new();
        for item in Self::list(&args[5]).chunks_exact(6) {
            let Operand::Atom(name) = item[0] else { return Err(self.unsupported(op)) };
            let kind = match self.atoms[name as usize].name() {
                "append" => SegmentKind::Append,
                "private_append" => SegmentKind::PrivateAppend,
                "binary" => SegmentKind::Binary,
                "float" => SegmentKind::Float,
                "integer" => SegmentKind::Integer,
                "string" => SegmentKind::String,
                "utf8" => SegmentKind::Utf8,
                "utf16" => SegmentKind::Utf16,
                "utf32" => SegmentKind::Utf32,
                _ => return Err(self.unsupported(op)),
            };
            let mut bytes: Box<[u8]> = Box::default();
            if kind == SegmentKind::String {
                let (offset, size) = (unsigned(&item[4]) as usize, unsigned(&item[5]) as usize);
                bytes = self.file.strings.get(offset..offset.saturating_add(size)).ok_or_else(|| self.unsupported(op))?.into();
            }
            let absent = matches!(kind, SegmentKind::String | SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32)
                || self.is_atom(&item[5], "all")
                || self.is_atom(&item[5], "undefined");
            let size = if absent { None } else { Some(self.src(&item[5])) };
            let value = if kind == SegmentKind::String { Src::small(0) } else { self.src(&item[4]) };
            segments.push(Segment {
                kind,
                unit: (unsigned(&item[2]) as u32).max(1),
                flags: self.flags(&item[3]),
                value,
                size,
                bytes,
                number: unsigned(&item[1]) as u32,
            });
        }
        let plan = BinaryPlan { fail: label(&args[0]), dst: Self::dst(&args[4]), segments: segments.into() };
        let plan = self.table(plan);
        self.jump(Instr::BsCreateBin { plan });
        Ok(())
    }

    /// Label numbers become distances. The module has `end` instructions.
    fn resolve_jumps(&mut self, end: u32) {
        let labels = &self.labels;
        for &at in &self.fixups {
            let distance = |number: i32| -> i32 {
                if number == 0 {
                    return 0;
                }
                let to = labels[number as usize];
                assert!(to < end, "the verifier lets a jump to label {number} pass");
                to as i32 - at as i32
            };
            // SAFETY: the tables are ours alone until the module is finished.
            unsafe {
                self.code[(at - self.first.instr) as usize].labels(&mut |label| match label {
                    Label::Place(number) => *number = distance(*number),
                    Label::PastCell(number) => *number = distance(*number) + 1,
                });
            }
        }
    }

    /// The module, and what the instructions were gathered in, to be used again.
    pub fn finish(mut self) -> (Specialised, Vec<Instr>) {
        self.resolve_jumps(self.here());
        let Specialiser { literals, pool, functions, labels, mut lines, on_load, tables, code, .. } = self;
        lines.shrink_to_fit();
        let first = (literals.len() + pool.len()).div_ceil(2);
        let storage = Storage::new(first + code.len());
        let (lines, tables) = (RwLock::new(lines), Mutex::new(tables));
        let module = Specialised { storage, first, functions, labels, lines, on_load, tables, deferred: None };
        module.write_constants(0, literals);
        module.write_constants(literals.len(), &pool);
        // SAFETY: the storage has a slot of the same size and alignment for each instruction.
        unsafe { module.instr(0).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
        (module, code)
    }
}

/// Heap words that a binary that was built can take: a heap binary, or a shared one and a part of it.
const RESULT_WORDS: u32 = 12;

/// Whether a jump table for these is small enough.
fn dense(values: &[i64]) -> bool {
    let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) else { return false };
    values.len() >= 3 && max.abs_diff(*min) < values.len() as u64 * 4 + 8
}

#[cfg(test)]
pub(crate) mod tests;
