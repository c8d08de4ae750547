//! Arithmetic of small integers. What is not small, or becomes too large, is stepped.

use crate::emitter::{Emitter, R10, R11, RAX};
use crate::routines::FloatOperation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{Dst, Instr, Src};
use swarmrt_engine::layout;
use swarmrt_term::Term;

impl Emitter<'_> {
    /// Both values, in `r10` and `r11`, when they are small.
    fn small_pair(&mut self, at: u32, a: Src, b: Src, slow: DynamicLabel) {
        self.read_into(at, a, R10);
        self.read_into(at, b, R11);
        let known = [a, b].map(|src| self.small_constant(at, src).is_some());
        match known {
            [true, true] => {}
            [true, false] => self.require_small(R11, slow),
            [false, true] => self.require_small(R10, slow),
            [false, false] => {
                dynasm!(self.ops ; .arch x64 ; mov eax, r10d ; and eax, r11d ; not eax ; test al, 0b11 ; jnz =>slow);
            }
        }
    }
    /// `+` with a constant; `value` is the integer, without its tag.
    pub fn add_constant(&mut self, at: u32, src: Src, value: i32, dst: Dst) {
        let slow = self.step_later(at);
        let register = self.read(at, src, R10);
        self.require_small(register, slow);
        dynasm!(self.ops ; .arch x64 ; mov rax, Rq(register));
        self.add_word(i64::from(value) << 2, slow);
        self.write(dst, RAX);
    }
    fn add_word(&mut self, word: i64, slow: DynamicLabel) {
        match i32::try_from(word) {
            Ok(word) => dynasm!(self.ops ; .arch x64 ; add rax, word),
            Err(_) => {
                self.word(R11, word as u64);
                dynasm!(self.ops ; .arch x64 ; add rax, r11);
            }
        }
        dynasm!(self.ops ; .arch x64 ; jo =>slow);
    }
    /// The arithmetic instruction at `at`, whose operator is taken from there. `+`, `-` and `*`
    /// also do floats, by a routine behind the function's code.
    pub fn arithmetic(&mut self, at: u32, a: Src, b: Src, dst: Dst) {
        let slow = self.step_later(at);
        match self.span.code[at as usize] {
            Instr::Bsl { .. } | Instr::Bsr { .. } => return self.shift(at, a, b, dst, slow),
            Instr::IntDiv { .. } | Instr::Rem { .. } => return self.divide(at, a, b, dst, slow),
            _ => {}
        }
        let operation = match self.span.code[at as usize] {
            Instr::Add { .. } => Some(FloatOperation::Add),
            Instr::Sub { .. } => Some(FloatOperation::Sub),
            Instr::Mul { .. } => Some(FloatOperation::Mul),
            _ => None,
        };
        let done = self.label();
        // Other operands than small integers are floats, perhaps.
        let other = match operation {
            Some(operation) => self.later(move |emitter| {
                emitter.float_words(operation, slow);
                dynasm!(emitter.ops ; .arch x64 ; jmp =>done);
            }),
            None => slow,
        };
        self.small_pair(at, a, b, other);
        match self.span.code[at as usize] {
            // Both words have the tag 3; the sum has it once.
            Instr::Add { .. } => {
                dynasm!(self.ops ; .arch x64 ; lea rax, [r10 - 3] ; add rax, r11 ; jo =>slow);
            }
            Instr::Sub { .. } => {
                dynasm!(self.ops ; .arch x64 ; mov rax, r10 ; sub rax, r11 ; jo =>slow ; add rax, 3);
            }
            Instr::Mul { .. } => {
                dynasm!(self.ops ; .arch x64 ; mov rax, r10 ; sar rax, 2 ; sub r11, 3 ; imul rax, r11 ; jo =>slow ; add rax, 3);
            }
            Instr::Band { .. } => dynasm!(self.ops ; .arch x64 ; mov rax, r10 ; and rax, r11),
            Instr::Bor { .. } => dynasm!(self.ops ; .arch x64 ; mov rax, r10 ; or rax, r11),
            Instr::Bxor { .. } => {
                dynasm!(self.ops ; .arch x64 ; mov rax, r10 ; xor rax, r11 ; or rax, 3);
            }
            ref other => unreachable!("no arithmetic: {other:?}"),
        }
        dynasm!(self.ops ; .arch x64 ; =>done);
        self.write(dst, RAX);
    }
    /// `bsl` and `bsr` by 0 to 61 bits; to `slow` for all other counts.
    fn shift(&mut self, at: u32, a: Src, b: Src, dst: Dst, slow: DynamicLabel) {
        let by = self
            .small_constant(at, b)
            .filter(|count| (0..62).contains(count))
            .map(|count| count as i8);
        if by.is_some() {
            self.read_into(at, a, R10);
            self.require_small(R10, slow);
        } else {
            self.small_pair(at, a, b, slow);
            dynasm!(self.ops ; .arch x64 ; sar r11, 2 ; cmp r11, 62 ; jae =>slow ; mov rbx, rcx ; mov rcx, r11);
        }
        let is_left = matches!(self.span.code[at as usize], Instr::Bsl { .. });
        if is_left {
            dynasm!(self.ops ; .arch x64 ; and r10, !3);
        }
        dynasm!(self.ops ; .arch x64 ; mov rax, r10);
        match by {
            Some(count) if is_left => {
                dynasm!(self.ops ; .arch x64 ; shl rax, count ; mov r11, rax ; sar r11, count);
            }
            Some(count) => dynasm!(self.ops ; .arch x64 ; sar rax, count),
            None if is_left => {
                dynasm!(self.ops ; .arch x64 ; shl rax, cl ; mov r11, rax ; sar r11, cl ; mov rcx, rbx);
            }
            None => dynasm!(self.ops ; .arch x64 ; sar rax, cl ; mov rcx, rbx),
        }
        if is_left {
            // What was shifted out does not come back.
            dynasm!(self.ops ; .arch x64 ; cmp r11, r10 ; jne =>slow);
        }
        dynasm!(self.ops ; .arch x64 ; or rax, 3);
        self.write(dst, RAX);
    }
    fn divide(&mut self, at: u32, a: Src, b: Src, dst: Dst, slow: DynamicLabel) {
        self.small_pair(at, a, b, slow);
        let rem = matches!(self.span.code[at as usize], Instr::Rem { .. });
        dynasm!(self.ops ; .arch x64 ; sar r11, 2);
        if self.small_constant(at, b).is_none_or(|divisor| (-1..=0).contains(&divisor)) {
            // Neither zero nor minus one, which may overflow.
            dynasm!(self.ops ; .arch x64 ; lea rax, [r11 + 1] ; cmp rax, 1 ; jbe =>slow);
        }
        dynasm!(self.ops ; .arch x64 ; mov rbx, rdx ; mov rax, r10 ; sar rax, 2 ; cqo ; idiv r11);
        if rem {
            dynasm!(self.ops ; .arch x64 ; mov rax, rdx);
        }
        dynasm!(self.ops ; .arch x64 ; mov rdx, rbx ; lea rax, [rax * 4 + 3]);
        self.write(dst, RAX);
    }

    // ---- Floats ----

    /// `fconv`: F\[`to`\] becomes the value of a small integer or a float held in its word; a boxed
    /// float or big integer is stepped.
    pub fn load_float(&mut self, at: u32, src: Src, to: u16) {
        let slow = self.step_later(at);
        let (small, zero, done) = (self.label(), self.label(), self.label());
        self.read_into(at, src, R10);
        dynasm!(self.ops ; .arch x64 ; mov eax, r10d ; and eax, 0b11 ; cmp eax, 0b11 ; je =>small ; cmp eax, 0b10 ; jne =>slow);
        dynasm!(self.ops ; .arch x64 ; cmp r10, Term::FLOAT_ZEROES_END as i32 ; jb =>zero);
        self.word(R11, Term::FLOAT_BIAS);
        dynasm!(self.ops
            ; .arch x64
            ; ror r10, 3
            ; sub r10, r11
            ; mov [r15 + layout::f(to.into())], r10
            ; jmp =>done
            ; =>zero
            // Bit 2 of a zero is its sign.
            ; and r10d, 0b100
            ; shl r10, 61
            ; mov [r15 + layout::f(to.into())], r10
            ; jmp =>done
            ; =>small
            ; sar r10, 2
            ; cvtsi2sd xmm0, r10
            ; movsd [r15 + layout::f(to.into())], xmm0
            ; =>done
        );
    }
    /// A float in a word; one that does not fit is boxed by a step.
    pub fn store_float(&mut self, at: u32, from: u16, dst: Dst) {
        let slow = self.step_later(at);
        self.load(R10, 15, layout::f(from.into()));
        self.word(R11, Term::FLOATS_FROM);
        dynasm!(self.ops ; .arch x64 ; lea rax, [r10 + r10] ; sub rax, r11);
        self.word(R11, Term::FLOATS_RANGE);
        dynasm!(self.ops ; .arch x64 ; cmp rax, r11 ; jae =>slow);
        self.word(RAX, Term::FLOAT_BIAS);
        dynasm!(self.ops ; .arch x64 ; add rax, r10 ; rol rax, 3);
        self.write(dst, RAX);
    }
    /// `/`.
    pub fn float_division(&mut self, at: u32, a: Src, b: Src, dst: Dst) {
        let slow = self.step_later(at);
        self.read_into(at, a, R10);
        self.read_into(at, b, R11);
        self.float_words(FloatOperation::Div, slow);
        self.write(dst, RAX);
    }
    /// F\[`to`\] becomes F\[`from`\].
    pub fn move_float(&mut self, from: u16, to: u16) {
        self.load(RAX, 15, layout::f(from.into()));
        self.store(RAX, 15, layout::f(to.into()));
    }
    /// The operation on F registers at `at`. A result that is infinite or not a number is left to
    /// the interpreter, which raises `badarith`.
    pub fn float_operation(&mut self, at: u32, a: u16, b: u16, to: u16) {
        let slow = self.exit(at);
        let (a, b, to) = (layout::f(a.into()), layout::f(b.into()), layout::f(to.into()));
        dynasm!(self.ops ; .arch x64 ; movsd xmm0, [r15 + a]);
        match self.span.code[at as usize] {
            Instr::FloatAdd { .. } => dynasm!(self.ops ; .arch x64 ; addsd xmm0, [r15 + b]),
            Instr::FloatSub { .. } => dynasm!(self.ops ; .arch x64 ; subsd xmm0, [r15 + b]),
            Instr::FloatMul { .. } => dynasm!(self.ops ; .arch x64 ; mulsd xmm0, [r15 + b]),
            _ => dynasm!(self.ops ; .arch x64 ; divsd xmm0, [r15 + b]),
        }
        // What is infinite, or no number, has no difference to itself.
        dynasm!(self.ops
            ; .arch x64
            ; movsd xmm1, xmm0
            ; subsd xmm1, xmm0
            ; ucomisd xmm1, xmm1
            ; jp =>slow
            ; movsd [r15 + to], xmm0
        );
    }
}
