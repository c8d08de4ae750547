//! The addresses in machine code, and of what they are: what has to be put right when the code is used in another run.
//!
//! While a piece is translated, every address that it is given is noted with its *anchor*. In the finished code, an
//! address is the operand of an instruction that loads eight bytes as they stand, so it is found by its value. A piece of
//! which that cannot be done for certain is not kept.

use crate::glue::Glue;
use crate::translate::address_in;
use cranelift_codegen::ir::{Function, InstructionData, Opcode};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use swarmrt_beam::instr::ExportPtr;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::Vm;
use swarmrt_machine::code::{Export, ModuleCode};
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

impl Anchor {
    pub fn machine(address: u64) -> Anchor {
        Anchor::Machine(address.wrapping_sub(here()) as i64)
    }
    pub fn export(export: ExportPtr) -> Anchor {
        let mfa = Export::of(export).mfa;
        Anchor::Export { module: mfa.module.index(), function: mfa.function.index(), arity: mfa.arity }
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
    /// Entries of its machine code, by the number of the cell.
    pub pieces: &'a HashMap<u32, u64>,
}

impl Anchorage<'_> {
    /// The address; `None` for an anchor that is none of this machine's.
    pub fn resolve(&self, anchor: Anchor) -> Option<u64> {
        let instr = |at: u32| {
            let code = self.module.code.code();
            ((at as usize) < code.len()).then(|| address_in(code, at))
        };
        match anchor {
            Anchor::Instr(at) => instr(at),
            Anchor::Handler(at) => instr(at).map(|address| Term::catch_mark(address).raw()),
            Anchor::Literal { piece, offset } => self.module.literals.at_place(piece, offset),
            Anchor::Export { module, function, arity } => {
                let [module, function] = [module, function].map(Atom::checked);
                Some(std::ptr::from_ref(self.vm.code.export(Mfa { module: module?, function: function?, arity })) as u64)
            }
            Anchor::Exit(stub) => self.glue.exits.get(usize::from(stub)).copied(),
            Anchor::Question(question) => self.glue.questions.get(usize::from(question)).copied(),
            Anchor::Machine(distance) => Some(here().wrapping_add(distance as u64)),
            Anchor::Piece(cell) => self.pieces.get(&cell).copied(),
        }
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
