//! The addresses in machine code, and of what they are: what has to be put right when the code is used in another run.
//!
//! While a piece is translated, every address that it is given is noted with its *anchor*. In the finished code, an
//! address is the operand of an instruction that loads eight bytes as they stand, so it is found by its value. A piece of
//! which that cannot be done for certain is not kept.

use crate::glue::Glue;
use crate::inlining::Inlined;
use crate::resumption::{LoopAnchor, Place, Resumption};
use crate::translate::address_in;
use cranelift_codegen::ir::{Function, InstructionData, Opcode};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use swarmrt_beam::instr::ExportPtr;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::Vm;
use swarmrt_machine::code::{Export, ModuleCode};
use swarmrt_machine::code_cache::Digest;
use swarmrt_term::{Atom, Mfa, Term};

/// What something in machine code is the address of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Anchor {
    /// An instruction of the module.
    Instr(u32),
    /// The same, as the mark of a handler on the stack.
    Handler(u32),
    /// A literal of the module: a term, by its place in the area.
    Literal { piece: u32, offset: u32 },
    /// An export: the numbers of the atoms of module and function, and the arity.
    Export { module: u32, function: u32, arity: u32 },
    /// A [`Stub`](crate::glue::Stub).
    Exit(u8),
    /// A [`Question`](crate::glue::Question).
    Question(u8),
    /// Something of the program that the machine is, by its distance from [`here`].
    Machine(i64),
    /// Machine code of the function of the module behind this cell.
    Piece(u32),
    /// An instruction of another module, which the number of its name's atom says.
    OtherInstr { module: u32, at: u32 },
    /// The same, as the mark of a handler on the stack.
    OtherHandler { module: u32, at: u32 },
    /// A literal of another module.
    OtherLiteral { module: u32, piece: u32, offset: u32 },
    /// An export's address and how often it has changed, added up, where it leads to the function behind a cell of its module.
    Unchanged { module: u32, function: u32, arity: u32, cell: u32 },
}

/// A place in the program that the machine is.
fn here() -> u64 {
    here as fn() -> u64 as usize as u64
}

/// What tells the program that the machine is from every other, as its linker made it from all that is in it. `None` where
/// the linker made none (`--build-id`).
pub fn build_id() -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    // SAFETY: the callback is called before this returns, with the pointer to `found`.
    unsafe { libc::dl_iterate_phdr(Some(note_build_id), (&raw mut found).cast()) };
    found
}

/// Notes the build's name when the object is the one that this is in.
unsafe extern "C" fn note_build_id(object: *mut libc::dl_phdr_info, _size: usize, found: *mut libc::c_void) -> libc::c_int {
    const GNU: &[u8] = b"GNU\0";
    const NT_GNU_BUILD_ID: u32 = 3;
    // SAFETY: the loader's description of an object, and what `build_id` handed in.
    let (object, found) = unsafe { (&*object, &mut *found.cast::<Option<Vec<u8>>>()) };
    // SAFETY: so many headers lie there.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let part = |header: &libc::Elf64_Phdr| object.dlpi_addr + header.p_vaddr..object.dlpi_addr + header.p_vaddr + header.p_memsz;
    if !headers.iter().any(|header| header.p_type == libc::PT_LOAD && part(header).contains(&here())) {
        return 0;
    }
    for header in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        let part = part(header);
        // SAFETY: a part of the program that is mapped.
        let mut notes = unsafe { std::slice::from_raw_parts(part.start as *const u8, (part.end - part.start) as usize) };
        // Sizes of name and description, kind; then both, each filled up to four bytes.
        while let Some((head, rest)) = notes.split_first_chunk::<12>() {
            let [name, description, kind] = [0, 4, 8].map(|at| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")));
            let name_end = (name as usize).next_multiple_of(4);
            let end = name_end + (description as usize).next_multiple_of(4);
            if rest.len() < end {
                break;
            }
            if kind == NT_GNU_BUILD_ID && rest[..name as usize] == *GNU {
                *found = Some(rest[name_end..name_end + description as usize].to_vec());
                return 1;
            }
            notes = &rest[end..];
        }
    }
    1
}

/// A module of which an anchor names something: not the one that the code is of, and it has to be the very same.
pub type Other = (u32, Digest);

impl Anchor {
    /// The number of the other module of which something is meant.
    pub fn other(self) -> Option<u32> {
        match self {
            Anchor::OtherInstr { module, .. }
            | Anchor::OtherHandler { module, .. }
            | Anchor::OtherLiteral { module, .. }
            | Anchor::Unchanged { module, .. } => Some(module),
            _ => None,
        }
    }
    pub fn machine(address: u64) -> Anchor {
        Anchor::Machine(address.wrapping_sub(here()) as i64)
    }
    pub fn export(export: ExportPtr) -> Anchor {
        let mfa = Export::of(export).mfa;
        Anchor::Export { module: mfa.module.index(), function: mfa.function.index(), arity: mfa.arity }
    }
    /// That an export leads where it does, given the cell of the function and how often it has changed; and the value that says so.
    pub fn unchanged(export: ExportPtr, cell: u32, changes: u64) -> (Anchor, u64) {
        let mfa = Export::of(export).mfa;
        let anchor = Anchor::Unchanged { module: mfa.module.index(), function: mfa.function.index(), arity: mfa.arity, cell };
        (anchor, export.0.wrapping_add(changes))
    }
    /// If the word is a term that lies among the literals.
    pub fn literal(literals: &LiteralArea, word: u64) -> Option<Anchor> {
        // SAFETY: only the tag is looked at.
        let term = unsafe { Term::from_raw(word) };
        let (piece, offset) = term.is_pointer().then(|| literals.place_of(word))??;
        Some(Anchor::Literal { piece, offset })
    }
}

/// The addresses that a piece was given while it was translated.
#[derive(Default)]
pub struct Anchored {
    notes: RefCell<HashMap<u64, Noted>>,
    /// Whether there is something else in it that is of this run only.
    is_tied: Cell<bool>,
}

struct Noted {
    /// `None` when the same address was given for several things.
    anchor: Option<Anchor>,
    times: usize,
}

/// Where in machine code an address lies, and of what it is.
pub type Fixup = (u32, Anchor);

/// What has to be put right where machine code is used in another run, and the modules that have to be the same there.
pub struct Relocations {
    pub fixups: Vec<Fixup>,
    pub others: Vec<Other>,
}

impl Relocations {
    /// `None` when one of the other modules could not be told from another version.
    pub fn new(fixups: Vec<Fixup>, inlined: &Inlined) -> Option<Relocations> {
        let mut relocations = Relocations { fixups, others: Vec::new() };
        let named: BTreeSet<u32> = relocations.fixups.iter().filter_map(|&(_, anchor)| anchor.other()).collect();
        for number in named {
            let module = inlined.others().find(|module| module.name.index() == number)?;
            relocations.add(module)?;
        }
        Some(relocations)
    }
    /// Another module that has to be the same.
    pub fn add(&mut self, module: &ModuleCode) -> Option<()> {
        let other = (module.name.index(), module.digest?);
        if !self.others.contains(&other) {
            self.others.push(other);
        }
        Some(())
    }
}

impl Anchored {
    /// Forgets what the piece before was given.
    pub fn clear(&self) {
        self.notes.borrow_mut().clear();
        self.is_tied.set(false);
    }
    /// The piece will be of no use in another run.
    pub fn tie_to_run(&self) {
        self.is_tied.set(true);
    }
    pub fn note(&self, anchor: Anchor, value: u64) {
        let mut notes = self.notes.borrow_mut();
        let noted = notes.entry(value).or_insert(Noted { anchor: Some(anchor), times: 0 });
        noted.times += 1;
        noted.anchor = noted.anchor.filter(|&known| known == anchor);
    }

    /// Where the addresses lie in the code that was made from the function. `None` when that is not certain: when a
    /// constant of the program happens to be the same, or an address is so small that it could be written in fewer bytes.
    pub fn fixups(&self, function: &Function, code: &[u8]) -> Option<Vec<Fixup>> {
        if !cfg!(target_arch = "x86_64") || self.is_tied.get() {
            return None;
        }
        let notes = self.notes.borrow();
        let mut constants: HashMap<u64, usize> = HashMap::new();
        for inst in function.layout.blocks().flat_map(|block| function.layout.block_insts(block)) {
            if let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } = function.dfg.insts[inst] {
                *constants.entry(imm.bits() as u64).or_default() += 1;
            }
        }
        let mut known = HashMap::with_capacity(notes.len());
        for (&value, noted) in notes.iter() {
            // Constants in code that is never reached are not in the layout.
            let is_plain = constants.get(&value).is_some_and(|&times| times > noted.times);
            if is_plain || u32::try_from(value).is_ok() {
                return None;
            }
            known.insert(value, noted.anchor?);
        }
        // `movabs`, into any register.
        let loads = |at: usize| matches!(code[at], 0x48 | 0x49) && code[at + 1] & 0xf8 == 0xb8;
        let at = (0..code.len().saturating_sub(LOAD_BYTES - 1)).filter(|&at| loads(at)).map(|at| at + 2);
        Some(at.filter_map(|at| Some((at as u32, *known.get(&read(code, at))?))).collect())
    }
}

const LOAD_BYTES: usize = 10;

fn read(code: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(code[at..at + 8].try_into().expect("eight bytes"))
}

/// What the anchors of one module's machine code are in this run.
pub struct Anchorage<'a> {
    pub vm: &'a Vm,
    pub glue: &'a Glue,
    pub module: &'a ModuleCode,
    /// The other modules of which it names something, by the numbers of their names.
    pub others: &'a HashMap<u32, Arc<ModuleCode>>,
    /// Entries of its machine code, by the number of the cell.
    pub pieces: &'a HashMap<u32, u64>,
}

impl Anchorage<'_> {
    /// The address; `None` for an anchor that is none of this machine's.
    pub fn resolve(&self, anchor: Anchor) -> Option<u64> {
        let instr = |module: &ModuleCode, at: u32| {
            let code = module.code.code();
            ((at as usize) < code.len()).then(|| address_in(code, at))
        };
        let mark = |address: u64| Term::catch_mark(address).raw();
        match anchor {
            Anchor::Instr(at) => instr(self.module, at),
            Anchor::Handler(at) => instr(self.module, at).map(mark),
            Anchor::Literal { piece, offset } => self.module.literals.at_place(piece, offset),
            Anchor::OtherInstr { module, at } => instr(self.others.get(&module)?, at),
            Anchor::OtherHandler { module, at } => instr(self.others.get(&module)?, at).map(mark),
            Anchor::OtherLiteral { module, piece, offset } => self.others.get(&module)?.literals.at_place(piece, offset),
            Anchor::Unchanged { module, function, arity, cell } => {
                let export = self.export(module, function, arity)?;
                let changes = self.changes_when_at(export, module, cell)?;
                Some(Anchor::unchanged(ExportPtr(std::ptr::from_ref(export) as u64), cell, changes).1)
            }
            Anchor::Export { module, function, arity } => Some(std::ptr::from_ref(self.export(module, function, arity)?) as u64),
            Anchor::Exit(stub) => self.glue.exits.get(usize::from(stub)).copied(),
            Anchor::Question(question) => self.glue.questions.get(usize::from(question)).copied(),
            Anchor::Machine(distance) => Some(here().wrapping_add(distance as u64)),
            Anchor::Piece(cell) => self.pieces.get(&cell).copied(),
        }
    }

    fn export(&self, module: u32, function: u32, arity: u32) -> Option<&Export> {
        let [module, function] = [module, function].map(Atom::checked);
        Some(self.vm.code.export(Mfa { module: module?, function: function?, arity }))
    }
    /// How often an export has changed, if it leads to the function behind a cell of its module, one of the others.
    pub fn changes_when_at(&self, export: &Export, module: u32, cell: u32) -> Option<u64> {
        let changes = export.changes();
        let code = self.others.get(&module)?.code.code();
        let wanted = ((cell as usize) + 1 < code.len()).then(|| address_in(code, cell + 1))?;
        (export.entry() as u64 == wanted && export.changes() == changes).then_some(changes)
    }
    /// How code that goes on in a loop is found, and when it may be.
    pub fn goes_on(&self, anchor: LoopAnchor, code: u64) -> Option<(Place, Resumption)> {
        let LoopAnchor { module, cell, fun, argument, function, arity, export_cell, lambda, free } = anchor;
        let export = self.export(module, function, arity)?;
        let changes = self.changes_when_at(export, module, export_cell)?;
        let own = |at: u32| self.resolve(Anchor::Instr(at));
        let place = Place::new(self.resolve(Anchor::OtherInstr { module, at: cell })?, self.module.funs.get(fun as usize)?.ptr(), argument as usize);
        let export = ExportPtr(std::ptr::from_ref(export) as u64);
        Some((place, Resumption { code, export, changes, lambda: own(lambda)?, free: free as usize }))
    }
    /// Puts the addresses in. `None` when one is not to be found.
    pub fn put_right(&self, code: &mut [u8], fixups: &[Fixup]) -> Option<()> {
        for &(at, anchor) in fixups {
            let address = self.resolve(anchor)?;
            code.get_mut(at as usize..)?.get_mut(..8)?.copy_from_slice(&address.to_le_bytes());
        }
        Some(())
    }
}

/// Takes the addresses out.
pub fn take_out(code: &mut [u8], fixups: &[Fixup]) {
    for &(at, _) in fixups {
        code[at as usize..at as usize + 8].fill(0);
    }
}
