//! Machine code from run to run: what was made of a module is saved, and installed when the same
//! file is loaded again by the same build on the same kind of processor. See
//! [`swarmrt_machine::code::cache`] for where, and why it is believed.

use super::installed::{Code, InstalledAt};
use super::memory::{CodeMemory, synchronise_cores};
use super::re_entry::{LoopSymbol, ReEntry};
use super::relocations::{Fixup, Other, Relocations, Resolver, Symbol, clear_addresses};
use crate::tier::Tier;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::code::cache::Keep;
use swarmrt_term::Atom;

/// A piece of a module's machine code, with its addresses taken out.
#[derive(Serialize, Deserialize)]
struct Piece<'a> {
    /// Where it is installed; of one that goes on in a loop, the entry of the function that has the
    /// loop inside.
    cell: u32,
    re_entry: Option<LoopSymbol>,
    entry: u32,
    #[serde(borrow, with = "serde_bytes")]
    code: Cow<'a, [u8]>,
    fixups: Vec<Fixup>,
    others: Vec<Other>,
}

impl Piece<'_> {
    /// The cell where it is installed.
    fn own_cell(&self) -> Option<u32> {
        self.re_entry.is_none().then_some(self.cell)
    }
}

#[derive(Serialize, Deserialize)]
struct Pieces<'a> {
    processor: &'a str,
    #[serde(borrow)]
    pieces: Vec<Piece<'a>>,
}

/// Drops pieces that jump to a piece which is not among these.
fn without_what_leads_nowhere(pieces: &mut Vec<Piece<'_>>) {
    loop {
        let cells: HashSet<u32> = pieces.iter().filter_map(Piece::own_cell).collect();
        let before = pieces.len();
        pieces.retain(|piece| {
            piece
                .fixups
                .iter()
                .all(|(_, symbol)| !matches!(symbol, Symbol::Piece(cell) if !cells.contains(cell)))
        });
        if pieces.len() == before {
            return;
        }
    }
}

impl Tier {
    /// Installs the cached code of a module that is not current yet.
    pub(crate) fn install_kept(&self, module: &ModuleCode) {
        let Some((cache, digest)) = self.vm.code.cache.get().zip(module.digest) else { return };
        let Some(bytes) = cache.read(&digest) else { return };
        let Ok(Pieces { processor, pieces }) = postcard::from_bytes(&bytes) else { return };
        // It calls built-ins as if none had a breakpoint.
        if !self.vm.bifs.any_breakpoint()
            && processor == self.backend.processor()
            && let Some(codes) = self.placed(module, pieces)
        {
            self.from_before.fetch_add(codes.len() as u64, Ordering::Relaxed);
            let functions = self.functions_of(module);
            for (number, code, re_entry) in codes {
                match (code.at, re_entry) {
                    (InstalledAt::Cell(cell), _) => {
                        self.note_in_map(
                            module,
                            cell,
                            code.address(),
                            code.memory.bytes() - code.entry,
                        );
                        functions.install(module, number, code, functions.generation());
                    }
                    (InstalledAt::ReEntry(place, _), Some(re_entry)) => {
                        functions.install_re_entry(
                            number,
                            code,
                            place,
                            re_entry,
                            functions.generation(),
                        );
                    }
                    (InstalledAt::ReEntry(..), None) => {}
                }
            }
            functions.came_from_before();
        }
    }

    /// The current versions of the other modules that the pieces name, where their digests are
    /// those at the time when the pieces were made.
    fn same_others(&self, pieces: &[Piece<'_>]) -> HashMap<u32, Arc<ModuleCode>> {
        let named: HashSet<Other> =
            pieces.iter().flat_map(|piece| piece.others.iter().copied()).collect();
        let same = |(number, digest): Other| {
            let module = self.vm.code.current(Atom::checked(number)?)?;
            (module.digest == Some(digest)).then_some((number, module))
        };
        named.into_iter().filter_map(same).collect()
    }

    /// Loads the functions whose instructions the pieces name: their own, and those that are
    /// inlined in them. Functions that are only called are named by their entries, and not loaded.
    fn load_named(&self, module: &ModuleCode, pieces: &[Piece<'_>]) -> Option<()> {
        for piece in pieces {
            let named = piece.fixups.iter().filter_map(|&(_, symbol)| {
                if let Symbol::Instr(at) = symbol { Some(at) } else { None }
            });
            for at in named.chain([piece.cell]) {
                let number = module.number_at(at)?;
                if at == piece.cell || at != module.code.functions[number].entry {
                    module.load_function(&self.vm.code, number);
                }
            }
        }
        Some(())
    }

    /// Loads the functions of other modules whose instructions the pieces name.
    fn load_others(
        &self,
        others: &HashMap<u32, Arc<ModuleCode>>,
        pieces: &[Piece<'_>],
    ) -> Option<()> {
        for &(_, symbol) in pieces.iter().flat_map(|piece| &piece.fixups) {
            if let Symbol::OtherInstr { module, at } | Symbol::OtherHandler { module, at } = symbol
            {
                let module = others.get(&module)?;
                module.load_function(&self.vm.code, module.number_at(at)?);
            }
        }
        Some(())
    }

    /// The pieces in memory, with the addresses of this run, the functions that they belong to, and
    /// how pieces that are entered in loops are found. `None` if something does not fit; pieces
    /// with code of other modules are left out if those modules are missing or have changed.
    fn placed(
        &self,
        module: &ModuleCode,
        mut pieces: Vec<Piece<'_>>,
    ) -> Option<Vec<(usize, Code, Option<ReEntry>)>> {
        let others = self.same_others(&pieces);
        self.load_named(module, &pieces)?;
        let nothing = HashMap::new();
        let resolver = Resolver {
            vm: self.vm,
            glue: self.backend.glue(),
            module,
            others: &others,
            pieces: &nothing,
        };
        pieces.retain(|piece| {
            let is_there = |&(number, digest): &Other| {
                others.get(&number).is_some_and(|module| module.digest == Some(digest))
            };
            let resolves = |&(_, symbol): &Fixup| {
                symbol.other().is_none() || resolver.resolve(symbol).is_some()
            };
            let is_found =
                piece.re_entry.is_none_or(|symbol| resolver.re_entry(symbol, 0).is_some());
            piece.others.iter().all(is_there) && piece.fixups.iter().all(resolves) && is_found
        });
        without_what_leads_nowhere(&mut pieces);
        self.load_others(&others, &pieces)?;
        let is_cell = |cell: u32| {
            matches!(
                module.code.code().get(cell as usize),
                Some(swarmrt_beam::instr::Instr::Cell { .. })
            )
        };
        let mut codes = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            if !is_cell(piece.cell) || piece.entry as usize >= piece.code.len() {
                return None;
            }
            let memory = CodeMemory::reserve(piece.code.len()).ok()?;
            let (at, re_entry) = match piece.re_entry {
                None => (InstalledAt::Cell(piece.cell), None),
                Some(symbol) => {
                    let (place, re_entry) =
                        resolver.re_entry(symbol, memory.address() + u64::from(piece.entry))?;
                    (InstalledAt::ReEntry(place, symbol), Some(re_entry))
                }
            };
            let code = Code { memory, at, entry: piece.entry as usize, relocations: None };
            codes.push((module.number_at(piece.cell)?, code, re_entry));
        }
        let own = pieces
            .iter()
            .zip(&codes)
            .filter_map(|(piece, (_, code, _))| Some((piece.own_cell()?, code.address())));
        let addresses: HashMap<u32, u64> = own.collect();
        let resolver = Resolver { pieces: &addresses, ..resolver };
        for ((_, code, _), piece) in codes.iter_mut().zip(pieces) {
            let mut bytes = piece.code.into_owned();
            resolver.apply(&mut bytes, &piece.fixups)?;
            code.memory.fill(&bytes);
            code.relocations = Some(Relocations { fixups: piece.fixups, others: piece.others });
        }
        synchronise_cores();
        Some(codes)
    }

    /// What is to be saved of a module; `None` when nothing is new.
    pub(crate) fn to_keep(&self, module: &ModuleCode) -> Option<Keep> {
        let digest = module.digest?;
        let functions = self.functions_of(module);
        if !functions.take_news() {
            return None;
        }
        let mut pieces = Vec::new();
        let mut atoms_end = module.atoms_end;
        functions.for_codes(|number, code| {
            let Some(Relocations { fixups, others }) = &code.relocations else { return };
            let ends = others.iter().map(|&(number, digest)| {
                let other = self.vm.code.current(Atom::checked(number)?)?;
                (other.digest == Some(digest)).then_some(other.atoms_end)
            });
            let Some(ends) = ends.collect::<Option<Vec<u32>>>() else { return };
            atoms_end = ends.into_iter().fold(atoms_end, u32::max);
            let (cell, re_entry) = match code.at {
                InstalledAt::Cell(cell) => (cell, None),
                InstalledAt::ReEntry(_, symbol) => {
                    (module.code.functions[number].entry, Some(symbol))
                }
            };
            let mut bytes = code.memory.code().to_vec();
            clear_addresses(&mut bytes, fixups);
            pieces.push(Piece {
                cell,
                re_entry,
                entry: code.entry as u32,
                code: bytes.into(),
                fixups: fixups.clone(),
                others: others.clone(),
            });
        });
        without_what_leads_nowhere(&mut pieces);
        // In the order of the cells, so that what belongs together lies together.
        pieces.sort_unstable_by_key(|piece| piece.cell);
        let pieces = Pieces { processor: self.backend.processor(), pieces };
        let bytes = postcard::to_stdvec(&pieces).expect("plain values in memory");
        Some(Keep { digest, atoms_end, bytes })
    }
}
