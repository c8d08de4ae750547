//! Comparison: of words in place, of all else by the machine's functions.

use crate::emitter::{Emitter, R10, RAX};
use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::Src;
use swarmrt_term::Term;

/// Whether only the same word is equal to this one, exactly or not.
fn is_plain(raw: u64) -> bool {
    // Pointers have the higher two of the lowest three bits 10, and a float may equal another word.
    raw & 0b110 != 0b100 && raw & 0b11 != 0b10
}

impl Emitter<'_> {
    /// To `fail` unless `a < b`, or with `less` false, if it is.
    pub fn compare(&mut self, at: u32, a: Src, b: Src, fail: i32, less: bool) {
        let assist = self.assists.order as usize;
        let fail = self.target(at, fail);
        let next = self.label();
        let slow = self.later(move |emitter| {
            emitter.ask(assist);
            dynasm!(emitter.ops ; .arch x64 ; test rax, rax);
            if less {
                dynasm!(emitter.ops ; .arch x64 ; jns =>fail ; jmp =>next);
            } else {
                dynasm!(emitter.ops ; .arch x64 ; js =>fail ; jmp =>next);
            }
        });
        // What is asked about is in `rax` and `r10`.
        self.read_into(at, b, R10);
        self.read_into(at, a, RAX);
        match [a, b].map(|src| self.small_constant(at, src).is_some()) {
            [true, true] => {}
            [true, false] => {
                dynasm!(self.ops ; .arch x64 ; mov r11d, r10d ; not r11d ; test r11b, 0b11 ; jnz =>slow);
            }
            [false, true] => {
                dynasm!(self.ops ; .arch x64 ; mov r11d, eax ; not r11d ; test r11b, 0b11 ; jnz =>slow);
            }
            [false, false] => {
                dynasm!(self.ops ; .arch x64 ; mov r11d, eax ; and r11d, r10d ; not r11d ; test r11b, 0b11 ; jnz =>slow);
            }
        }
        dynasm!(self.ops ; .arch x64 ; cmp rax, r10);
        if less {
            dynasm!(self.ops ; .arch x64 ; jge =>fail);
        } else {
            dynasm!(self.ops ; .arch x64 ; jl =>fail);
        }
        dynasm!(self.ops ; .arch x64 ; =>next);
    }

    /// Equality, exact or not, or its opposite.
    pub fn equality(&mut self, at: u32, a: Src, b: Src, fail: i32, exact: bool, wanted: bool) {
        let plain = [(a, b), (b, a)].into_iter().find_map(|(src, constant)| {
            Some((src, self.constant(at, constant).filter(|&word| is_plain(word))?))
        });
        if let Some((src, word)) = plain
            && (exact || word & 0b11 != 0b11)
        {
            return self.test_word(at, src, word, fail, wanted);
        }
        let assist = if exact { self.assists.equal_exact } else { self.assists.equal } as usize;
        let fail = self.target(at, fail);
        let next = self.label();
        let (equal, differ) = if wanted { (next, fail) } else { (fail, next) };
        self.read_into(at, b, R10);
        self.read_into(at, a, RAX);
        dynasm!(self.ops ; .arch x64 ; cmp rax, r10 ; je =>equal);
        if exact {
            // Different words are equal only where both lead to the heap.
            let slow = self.later(move |emitter| {
                emitter.ask(assist);
                dynasm!(emitter.ops ; .arch x64 ; test rax, rax ; jnz =>equal ; jmp =>differ);
            });
            self.test_pointers(slow, differ);
        } else {
            let slow = self.label();
            // Small integers that differ are not equal.
            dynasm!(self.ops ; .arch x64 ; mov r11d, eax ; and r11d, r10d ; not r11d ; test r11b, 0b11 ; jnz =>slow ; jmp =>differ);
            dynasm!(self.ops ; .arch x64 ; =>slow);
            self.ask(assist);
            dynasm!(self.ops ; .arch x64 ; test rax, rax ; jnz =>equal ; jmp =>differ);
        }
        dynasm!(self.ops ; .arch x64 ; =>next);
    }
    /// To `both` when `rax` and `r10` lead to the heap, else to `other`. Zeroes of either sign may
    /// be equal, too.
    fn test_pointers(&mut self, both: dynasmrt::DynamicLabel, other: dynasmrt::DynamicLabel) {
        const { assert!(Term::TAG_CONS & 0b110 == 0b100 && Term::TAG_BOXED & 0b110 == 0b100) };
        dynasm!(self.ops
            ; .arch x64
            ; mov r11d, eax
            ; and r11d, 0b110
            ; cmp r11d, 0b100
            ; jne >float
            ; mov r11d, r10d
            ; and r11d, 0b110
            ; cmp r11d, 0b100
            ; je =>both
            ; jmp =>other
            ; float:
            ; cmp rax, Term::FLOAT_ZEROES_END as i32
            ; jae =>other
            ; cmp r10, Term::FLOAT_ZEROES_END as i32
            ; jb =>both
            ; jmp =>other
        );
    }
}
