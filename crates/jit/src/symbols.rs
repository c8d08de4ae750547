//! Finding the addresses in what was compiled.
//!
//! While a piece is translated, every address that it is given is noted with its symbol. In the finished code, an address is
//! the operand of an instruction that loads eight bytes as they stand, so it is found by its value. A piece of which that
//! cannot be done for certain is not kept.

use cranelift_codegen::ir::{Function, InstructionData, Opcode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use swarmrt_engine::code::{Fixup, Symbol};

/// The addresses that a piece was given while it was translated.
#[derive(Default)]
pub struct SymbolNotes {
    notes: RefCell<HashMap<u64, Noted>>,
    /// Whether there is something else in it that is of this run only.
    is_tied: Cell<bool>,
}

struct Noted {
    /// `None` when the same address was given for several things.
    symbol: Option<Symbol>,
    times: usize,
}

impl SymbolNotes {
    /// Forgets what the piece before was given.
    pub fn clear(&self) {
        self.notes.borrow_mut().clear();
        self.is_tied.set(false);
    }
    /// The piece will be of no use in another run.
    pub fn tie_to_run(&self) {
        self.is_tied.set(true);
    }
    pub fn note(&self, symbol: Symbol, value: u64) {
        let mut notes = self.notes.borrow_mut();
        let noted = notes.entry(value).or_insert(Noted { symbol: Some(symbol), times: 0 });
        noted.times += 1;
        noted.symbol = noted.symbol.filter(|&known| known == symbol);
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
            known.insert(value, noted.symbol?);
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
