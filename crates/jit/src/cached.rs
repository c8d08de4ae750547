//! Machine code from run to run: what was made of a module is saved, and hung on its cells when the same file is loaded
//! again by the same build on the same kind of processor. See [`swarmrt_machine::code_cache`] for where, and why it is believed.

use crate::Jit;
use crate::anchors::{Anchor, Anchorage, Fixup, take_out};
use crate::functions::{Code, Functions, Hangs};
use crate::memory::{CodeMemory, synchronise_cores};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::code_cache::Keep;

/// A piece of a module's machine code, with its addresses taken out.
#[derive(Serialize, Deserialize)]
struct Piece<'a> {
    cell: u32,
    entry: u32,
    #[serde(borrow, with = "serde_bytes")]
    code: Cow<'a, [u8]>,
    fixups: Vec<Fixup>,
}

#[derive(Serialize, Deserialize)]
struct Pieces<'a> {
    processor: &'a str,
    #[serde(borrow)]
    pieces: Vec<Piece<'a>>,
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
            for code in codes {
                if let Hangs::Cell(cell) = code.hangs
                    && let Some(number) = module.number_at(cell)
                {
                    self.note_in_map(module, cell, code.address(), code.memory.len() - code.entry);
                    functions.hang(module, number, code);
                }
            }
            functions.came_from_before();
        }
    }

    /// The pieces in memory, with the addresses of this run. None of them where something does not fit.
    fn placed(&self, module: &ModuleCode, pieces: Vec<Piece<'_>>) -> Option<Vec<Code>> {
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
        let is_cell = |cell: u32| matches!(module.code.code().get(cell as usize), Some(swarmrt_beam::instr::Instr::Cell { .. }));
        let mut codes = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            if !is_cell(piece.cell) || piece.entry as usize >= piece.code.len() {
                return None;
            }
            let memory = CodeMemory::reserve(piece.code.len()).ok()?;
            codes.push(Code { memory, hangs: Hangs::Cell(piece.cell), entry: piece.entry as usize, fixups: None });
        }
        let addresses: HashMap<u32, u64> = pieces.iter().zip(&codes).map(|(piece, code)| (piece.cell, code.address())).collect();
        let anchorage = Anchorage { vm: self.vm, glue: &self.target.glue, module, pieces: &addresses };
        for (code, piece) in codes.iter_mut().zip(pieces) {
            let mut bytes = piece.code.into_owned();
            anchorage.put_right(&mut bytes, &piece.fixups)?;
            code.memory.fill(&bytes);
            code.fixups = Some(piece.fixups);
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
        functions.for_codes(|code| {
            if let (Hangs::Cell(cell), Some(fixups)) = (code.hangs, &code.fixups) {
                let mut bytes = code.memory.code().to_vec();
                take_out(&mut bytes, fixups);
                pieces.push(Piece { cell, entry: code.entry as u32, code: bytes.into(), fixups: fixups.clone() });
            }
        });
        // One that jumps to another is of no use without it.
        loop {
            let cells: HashSet<u32> = pieces.iter().map(|piece| piece.cell).collect();
            let before = pieces.len();
            pieces.retain(|piece| piece.fixups.iter().all(|(_, anchor)| !matches!(anchor, Anchor::Piece(cell) if !cells.contains(cell))));
            if pieces.len() == before {
                break;
            }
        }
        // In the order of the cells, so that what belongs together lies together.
        pieces.sort_unstable_by_key(|piece| piece.cell);
        let pieces = Pieces { processor: &self.target.processor, pieces };
        let bytes = postcard::to_stdvec(&pieces).expect("plain values in memory");
        Some(Keep { digest, atoms_end: module.atoms_end, bytes })
    }
}
