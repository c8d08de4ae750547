//! Finding the addresses in what was compiled.
//!
//! While a piece is translated, every address that it is given is noted with its symbol. In the
//! finished code, an address is the operand of an instruction that loads eight bytes as they stand,
//! or one of the constants behind the code, with which instructions compare. So it is found by its
//! value. A piece of which that cannot be done for certain is not kept.

use cranelift_codegen::ir::{Function, InstructionData, Opcode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use swarmrt_engine::code::{Fixup, Symbol};

/// The addresses that a piece was given while it was translated.
#[derive(Default)]
pub struct SymbolNotes {
    notes: RefCell<HashMap<u64, Noted>>,
    /// Whether the piece holds a value of this run that is no address with a symbol.
    is_tied: Cell<bool>,
}

struct Noted {
    /// `None` when the same address was given for several things.
    symbol: Option<Symbol>,
    times: usize,
}

impl SymbolNotes {
    /// Forgets the notes of the piece before.
    pub fn clear(&self) {
        self.notes.borrow_mut().clear();
        self.is_tied.set(false);
    }
    /// Marks the piece as of no use in another run.
    pub fn tie_to_run(&self) {
        self.is_tied.set(true);
    }
    /// The piece was given the address `value`, which `symbol` names.
    pub fn note(&self, symbol: Symbol, value: u64) {
        let mut notes = self.notes.borrow_mut();
        let noted = notes.entry(value).or_insert(Noted { symbol: Some(symbol), times: 0 });
        noted.times += 1;
        noted.symbol = noted.symbol.filter(|&known| known == symbol);
    }

    /// Where the addresses lie in the code that was made from the function. `None` when that is not
    /// certain: when a constant of the program happens to be the same, or an address is so small
    /// that it could be written in fewer bytes.
    pub fn fixups(&self, function: &Function, code: &[u8]) -> Option<Vec<Fixup>> {
        if !cfg!(target_arch = "x86_64") || self.is_tied.get() {
            return None;
        }
        let notes = self.notes.borrow();
        let mut constants: HashMap<u64, usize> = HashMap::new();
        for inst in function.layout.blocks().flat_map(|block| function.layout.block_insts(block)) {
            if let InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } =
                function.dfg.insts[inst]
            {
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
        // Behind `movabs`, into any register.
        let is_loaded = |at: usize| {
            at >= 2 && matches!(code[at - 2], 0x48 | 0x49) && code[at - 1] & 0xf8 == 0xb8
        };
        let found = (0..code.len().saturating_sub(ADDRESS_BYTES - 1))
            .filter_map(|at| Some((at, *known.get(&read(code, at))?)));
        found
            .map(|(at, symbol)| {
                (is_loaded(at) || at.is_multiple_of(ADDRESS_BYTES)).then_some((at as u32, symbol))
            })
            .collect()
    }
}

const ADDRESS_BYTES: usize = 8;

fn read(code: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(code[at..at + ADDRESS_BYTES].try_into().expect("eight bytes"))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0x7f12_3456_7890;

    fn fixups(code: &[u8]) -> Option<Vec<Fixup>> {
        let notes = SymbolNotes::default();
        notes.note(Symbol::Instr(3), ADDRESS);
        notes.fixups(&Function::new(), code)
    }

    #[test]
    fn addresses_are_found_where_they_are_loaded_and_among_the_constants() {
        // movabs rax, ADDRESS; cmp rax, [rip + 7]; five bytes; ADDRESS
        let load = [[0x48, 0xb8].as_slice(), &ADDRESS.to_le_bytes()].concat();
        let code =
            [load.as_slice(), &[0x48, 0x3b, 0x05, 7, 0, 0, 0], &[0xcc; 7], &ADDRESS.to_le_bytes()]
                .concat();
        assert_eq!(fixups(&code), Some(vec![(2, Symbol::Instr(3)), (24, Symbol::Instr(3))]));
    }
    #[test]
    fn code_with_an_address_elsewhere_is_not_kept() {
        let code = [[0xcc; 3].as_slice(), &ADDRESS.to_le_bytes()].concat();
        assert_eq!(fixups(&code), None);
    }
}
