//! Relocations: which addresses stand in machine code, and of what they are. They are applied when
//! the code is used in another run.

use super::build::here;
use super::glue::Glue;
use super::re_entry::{LoopSymbol, ReEntry, ReEntryKey};
use crate::layout::address_in;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use swarmrt_beam::instr::ExportPtr;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::Vm;
use swarmrt_machine::code::cache::Digest;
use swarmrt_machine::code::{Export, ModuleCode};
use swarmrt_term::{Atom, Mfa, Term};

/// What something in machine code is the address of.
#[allow(
    clippy::unsafe_derive_deserialize,
    reason = "what a number names is looked up, and checked"
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Symbol {
    /// An instruction of the module.
    Instr(u32),
    /// An instruction of the module, as the mark of a handler on the stack.
    Handler(u32),
    /// A literal of the module: a term, by its place in the area.
    Literal { piece: u32, offset: u32 },
    /// An export: the numbers of the atoms of module and function, and the arity.
    Export { module: u32, function: u32, arity: u32 },
    /// A [`Stub`](super::Stub).
    Exit(u8),
    /// A [`Question`](super::Question).
    Question(u8),
    /// Something in the program's own image, by its distance from [`here`].
    Machine(i64),
    /// Machine code of the function of the module behind this cell.
    Piece(u32),
    /// An instruction of another module, which the number of its name's atom says.
    OtherInstr { module: u32, at: u32 },
    /// An instruction of another module, as the mark of a handler on the stack.
    OtherHandler { module: u32, at: u32 },
    /// A literal of another module.
    OtherLiteral { module: u32, piece: u32, offset: u32 },
    /// The sum of an export's address and the count of its changes, as long as the export leads to
    /// the function behind this cell of its module.
    Unchanged { module: u32, function: u32, arity: u32, cell: u32 },
}

/// Another module that a symbol names, by the number of its name's atom; its digest has to be the
/// same in the later run.
pub type Other = (u32, Digest);

impl Symbol {
    /// The atom number of the other module whose instruction, literal or export the symbol names;
    /// `None` where it names nothing of another module.
    pub fn other(self) -> Option<u32> {
        match self {
            Symbol::OtherInstr { module, .. }
            | Symbol::OtherHandler { module, .. }
            | Symbol::OtherLiteral { module, .. }
            | Symbol::Unchanged { module, .. } => Some(module),
            _ => None,
        }
    }
    /// Something in the program's own image, at this address.
    pub fn machine(address: u64) -> Symbol {
        Symbol::Machine(address.wrapping_sub(here()) as i64)
    }
    /// The export itself, by its module, function and arity.
    pub fn export(export: ExportPtr) -> Symbol {
        let mfa = Export::of(export).mfa;
        Symbol::Export {
            module: mfa.module.index(),
            function: mfa.function.index(),
            arity: mfa.arity,
        }
    }
    /// The symbol by which code checks that an export still leads to the function behind `cell`,
    /// and the word that it compares with in this run.
    pub fn unchanged(export: ExportPtr, cell: u32, changes: u64) -> (Symbol, u64) {
        let mfa = Export::of(export).mfa;
        let symbol = Symbol::Unchanged {
            module: mfa.module.index(),
            function: mfa.function.index(),
            arity: mfa.arity,
            cell,
        };
        (symbol, export.0.wrapping_add(changes))
    }
    /// The symbol of a word that is a term among the literals; `None` for other words.
    pub fn literal(literals: &LiteralArea, word: u64) -> Option<Symbol> {
        // SAFETY: only the tag is looked at.
        let term = unsafe { Term::from_raw(word) };
        let (piece, offset) = term.is_pointer().then(|| literals.place_of(word))??;
        Some(Symbol::Literal { piece, offset })
    }
}

/// Offset in the machine code of a word that is an address, and the symbol for the address.
pub type Fixup = (u32, Symbol);

/// The relocations of a piece, and the modules that have to be the same in another run.
pub struct Relocations {
    pub fixups: Vec<Fixup>,
    pub others: Vec<Other>,
}

impl Relocations {
    /// Relocations of a piece into which code of these other modules is inlined. `None` when one of
    /// them has no digest, by which its versions are told apart.
    pub fn new<'a>(
        fixups: Vec<Fixup>,
        others: impl IntoIterator<Item = &'a ModuleCode>,
    ) -> Option<Relocations> {
        let others: Vec<&ModuleCode> = others.into_iter().collect();
        let mut relocations = Relocations { fixups, others: Vec::new() };
        let named: BTreeSet<u32> =
            relocations.fixups.iter().filter_map(|&(_, symbol)| symbol.other()).collect();
        for number in named {
            let module = *others.iter().find(|module| module.name.index() == number)?;
            relocations.add(module)?;
        }
        Some(relocations)
    }
    /// Requires another module to be the same version in a later run. `None` when it has no digest,
    /// by which versions are told apart.
    pub fn add(&mut self, module: &ModuleCode) -> Option<()> {
        let other = (module.name.index(), module.digest?);
        if !self.others.contains(&other) {
            self.others.push(other);
        }
        Some(())
    }
}

/// What the symbols of one module's machine code are in this run.
pub struct Resolver<'a> {
    pub vm: &'a Vm,
    pub glue: &'a Glue,
    pub module: &'a ModuleCode,
    /// The other modules of which it names something, by the numbers of their names.
    pub others: &'a HashMap<u32, Arc<ModuleCode>>,
    /// Entries of its machine code, by the number of the cell.
    pub pieces: &'a HashMap<u32, u64>,
}

impl Resolver<'_> {
    /// The address; `None` for a symbol that is none of this machine's.
    pub fn resolve(&self, symbol: Symbol) -> Option<u64> {
        let instr = |module: &ModuleCode, at: u32| {
            let code = module.code.code();
            ((at as usize) < code.len()).then(|| address_in(code, at))
        };
        let mark = |address: u64| Term::catch_mark(address).raw();
        match symbol {
            Symbol::Instr(at) => instr(self.module, at),
            Symbol::Handler(at) => instr(self.module, at).map(mark),
            Symbol::Literal { piece, offset } => self.module.literals.at_place(piece, offset),
            Symbol::OtherInstr { module, at } => instr(self.others.get(&module)?, at),
            Symbol::OtherHandler { module, at } => instr(self.others.get(&module)?, at).map(mark),
            Symbol::OtherLiteral { module, piece, offset } => {
                self.others.get(&module)?.literals.at_place(piece, offset)
            }
            Symbol::Unchanged { module, function, arity, cell } => {
                let export = self.export(module, function, arity)?;
                let changes = self.changes_when_at(export, module, cell)?;
                Some(
                    Symbol::unchanged(ExportPtr(std::ptr::from_ref(export) as u64), cell, changes)
                        .1,
                )
            }
            Symbol::Export { module, function, arity } => {
                Some(std::ptr::from_ref(self.export(module, function, arity)?) as u64)
            }
            Symbol::Exit(stub) => self.glue.exits.get(usize::from(stub)).copied(),
            Symbol::Question(question) => self.glue.questions.get(usize::from(question)).copied(),
            Symbol::Machine(distance) => Some(here().wrapping_add(distance as u64)),
            Symbol::Piece(cell) => self.pieces.get(&cell).copied(),
        }
    }

    fn export(&self, module: u32, function: u32, arity: u32) -> Option<&Export> {
        let [module, function] = [module, function].map(Atom::checked);
        Some(self.vm.code.export(Mfa { module: module?, function: function?, arity }))
    }
    /// How often an export has changed, if it leads to the function behind a cell of its module,
    /// one of the others.
    pub fn changes_when_at(&self, export: &Export, module: u32, cell: u32) -> Option<u64> {
        let changes = export.changes();
        let code = self.others.get(&module)?.code.code();
        let wanted = ((cell as usize) + 1 < code.len()).then(|| address_in(code, cell + 1))?;
        (export.entry() as u64 == wanted && export.changes() == changes).then_some(changes)
    }
    /// How code that goes on in a loop is found, and when it may be.
    pub fn re_entry(&self, symbol: LoopSymbol, code: u64) -> Option<(ReEntryKey, ReEntry)> {
        let LoopSymbol { module, cell, fun, argument, function, arity, export_cell, lambda, free } =
            symbol;
        let export = self.export(module, function, arity)?;
        let changes = self.changes_when_at(export, module, export_cell)?;
        let own = |at: u32| self.resolve(Symbol::Instr(at));
        let place = ReEntryKey::new(
            self.resolve(Symbol::OtherInstr { module, at: cell })?,
            self.module.funs.get(fun as usize)?.ptr(),
            argument as usize,
        );
        let export = ExportPtr(std::ptr::from_ref(export) as u64);
        Some((place, ReEntry { code, export, changes, lambda: own(lambda)?, free: free as usize }))
    }
    /// Writes the addresses of this run. `None` when one is not to be found.
    pub fn apply(&self, code: &mut [u8], fixups: &[Fixup]) -> Option<()> {
        for &(at, symbol) in fixups {
            let address = self.resolve(symbol)?;
            code.get_mut(at as usize..)?.get_mut(..8)?.copy_from_slice(&address.to_le_bytes());
        }
        Some(())
    }
}

/// Writes zeros in place of the addresses.
pub fn clear_addresses(code: &mut [u8], fixups: &[Fixup]) {
    for &(at, _) in fixups {
        code[at as usize..at as usize + 8].fill(0);
    }
}
