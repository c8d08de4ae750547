//! Machine code from run to run: what was made of a module is saved, and hung on its cells when the same file is loaded
//! again by the same build on the same kind of processor. See [`swarmrt_machine::code_cache`] for where, and why it is believed.

use crate::Jit;
use crate::anchors::{Anchor, Anchorage, Fixup, Other, Relocations, take_out};
use crate::functions::{Code, Functions, Hangs};
use crate::memory::{CodeMemory, synchronise_cores};
use crate::resumption::{LoopAnchor, Resumption};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::code_cache::Keep;
use swarmrt_term::Atom;

/// A piece of a module's machine code, with its addresses taken out.
#[derive(Serialize, Deserialize)]
struct Piece<'a> {
    /// Where it hangs; of one that goes on in a loop, the entry of the function that has the loop inside.
    cell: u32,
    goes_on: Option<LoopAnchor>,
    entry: u32,
    #[serde(borrow, with = "serde_bytes")]
    code: Cow<'a, [u8]>,
    fixups: Vec<Fixup>,
    others: Vec<Other>,
}

impl Piece<'_> {
    /// The cell on which it hangs.
    fn hangs_on(&self) -> Option<u32> {
        self.goes_on.is_none().then_some(self.cell)
    }
}

#[derive(Serialize, Deserialize)]
struct Pieces<'a> {
    processor: &'a str,
    #[serde(borrow)]
    pieces: Vec<Piece<'a>>,
}

/// One that jumps to another is of no use without it.
fn without_what_leads_nowhere(pieces: &mut Vec<Piece<'_>>) {
    loop {
        let cells: HashSet<u32> = pieces.iter().filter_map(Piece::hangs_on).collect();
        let before = pieces.len();
        pieces.retain(|piece| piece.fixups.iter().all(|(_, anchor)| !matches!(anchor, Anchor::Piece(cell) if !cells.contains(cell))));
        if pieces.len() == before {
            return;
        }
    }
}

impl Jit {
    /// Hangs on a module that is not in place yet what was made of it before.
    pub fn take_up(&self, module: &ModuleCode) {
        let Some((cache, digest)) = self.vm.code.cache.get().zip(module.digest) else { return };
        let Some(bytes) = cache.read(&digest) else { return };
        let Ok(Pieces { processor, pieces }) = postcard::from_bytes(&bytes) else { return };
        if processor == self.target.processor
            && let Some(codes) = self.placed(module, pieces)
        {
            self.from_before.fetch_add(codes.len() as u64, Ordering::Relaxed);
            let functions = Functions::of(module);
            for (number, code, resumption) in codes {
                match (code.hangs, resumption) {
                    (Hangs::Cell(cell), _) => {
                        self.note_in_map(module, cell, code.address(), code.memory.len() - code.entry);
                        functions.hang(module, number, code);
                    }
                    (Hangs::Resumption(place, _), Some(resumption)) => functions.hang_resumption(number, code, place, resumption),
                    (Hangs::Resumption(..), None) => {}
                }
            }
            functions.came_from_before();
        }
    }

    /// The other modules, as they are in this run, of those that are the same as when the pieces were made.
    fn same_others(&self, pieces: &[Piece<'_>]) -> HashMap<u32, Arc<ModuleCode>> {
        let named: HashSet<Other> = pieces.iter().flat_map(|piece| piece.others.iter().copied()).collect();
        let same = |(number, digest): Other| {
            let module = self.vm.code.current(Atom::checked(number)?)?;
            (module.digest == Some(digest)).then_some((number, module))
        };
        named.into_iter().filter_map(same).collect()
    }
    /// The pieces in memory, with the addresses of this run, the functions that they belong to, and how those are found that go on in
    /// loops. None of them where something does not fit; those which have something of other modules inside are left out when
    /// those modules are not there, or not the same.
    fn placed(&self, module: &ModuleCode, mut pieces: Vec<Piece<'_>>) -> Option<Vec<(usize, Code, Option<Resumption>)>> {
        let others = self.same_others(&pieces);
        for piece in &pieces {
            // It names instructions of its function, and of those that it has inside; of others only their entries.
            let named = piece.fixups.iter().filter_map(|&(_, anchor)| if let Anchor::Instr(at) = anchor { Some(at) } else { None });
            for at in named.chain([piece.cell]) {
                let number = module.number_at(at)?;
                if at == piece.cell || at != module.code.functions[number].entry {
                    module.load_function(&self.vm.code, number);
                }
            }
        }
        let nothing = HashMap::new();
        let anchorage = Anchorage { vm: self.vm, glue: &self.target.glue, module, others: &others, pieces: &nothing };
        pieces.retain(|piece| {
            let is_there = |&(number, digest): &Other| others.get(&number).is_some_and(|module| module.digest == Some(digest));
            let resolves = |&(_, anchor): &Fixup| anchor.other().is_none() || anchorage.resolve(anchor).is_some();
            let is_found = piece.goes_on.is_none_or(|anchor| anchorage.goes_on(anchor, 0).is_some());
            piece.others.iter().all(is_there) && piece.fixups.iter().all(resolves) && is_found
        });
        without_what_leads_nowhere(&mut pieces);
        for &(_, anchor) in pieces.iter().flat_map(|piece| &piece.fixups) {
            if let Anchor::OtherInstr { module, at } | Anchor::OtherHandler { module, at } = anchor {
                let module = others.get(&module)?;
                module.load_function(&self.vm.code, module.number_at(at)?);
            }
        }
        let is_cell = |cell: u32| matches!(module.code.code().get(cell as usize), Some(swarmrt_beam::instr::Instr::Cell { .. }));
        let mut codes = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            if !is_cell(piece.cell) || piece.entry as usize >= piece.code.len() {
                return None;
            }
            let memory = CodeMemory::reserve(piece.code.len()).ok()?;
            let (hangs, resumption) = match piece.goes_on {
                None => (Hangs::Cell(piece.cell), None),
                Some(anchor) => {
                    let (place, resumption) = anchorage.goes_on(anchor, memory.address() + u64::from(piece.entry))?;
                    (Hangs::Resumption(place, anchor), Some(resumption))
                }
            };
            let code = Code { memory, hangs, entry: piece.entry as usize, relocations: None };
            codes.push((module.number_at(piece.cell)?, code, resumption));
        }
        let hung = pieces.iter().zip(&codes).filter_map(|(piece, (_, code, _))| Some((piece.hangs_on()?, code.address())));
        let addresses: HashMap<u32, u64> = hung.collect();
        let anchorage = Anchorage { pieces: &addresses, ..anchorage };
        for ((_, code, _), piece) in codes.iter_mut().zip(pieces) {
            let mut bytes = piece.code.into_owned();
            anchorage.put_right(&mut bytes, &piece.fixups)?;
            code.memory.fill(&bytes);
            code.relocations = Some(Relocations { fixups: piece.fixups, others: piece.others });
        }
        synchronise_cores();
        Some(codes)
    }

    /// What there is to keep of a module, if there is more than was kept before.
    pub fn to_keep(&self, module: &ModuleCode) -> Option<Keep> {
        let digest = module.digest?;
        let functions = Functions::of(module);
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
            let (cell, goes_on) = match code.hangs {
                Hangs::Cell(cell) => (cell, None),
                Hangs::Resumption(_, anchor) => (module.code.functions[number].entry, Some(anchor)),
            };
            let mut bytes = code.memory.code().to_vec();
            take_out(&mut bytes, fixups);
            pieces.push(Piece { cell, goes_on, entry: code.entry as u32, code: bytes.into(), fixups: fixups.clone(), others: others.clone() });
        });
        without_what_leads_nowhere(&mut pieces);
        // In the order of the cells, so that what belongs together lies together.
        pieces.sort_unstable_by_key(|piece| piece.cell);
        let pieces = Pieces { processor: &self.target.processor, pieces };
        let bytes = postcard::to_stdvec(&pieces).expect("plain values in memory");
        Some(Keep { digest, atoms_end, bytes })
    }
}
