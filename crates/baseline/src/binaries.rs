//! Matching and building of bitstrings: positions and whole bytes in place, the rest by the machine's functions.

use crate::emitter::{Emitter, R10, R11, R12, R13, RAX, RBX};
use crate::facts::Fact;
use crate::terms::word;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{BinaryPlan, Dst, Src, stored_unit};
use swarmrt_engine::state::SCRATCH_WORDS;
use swarmrt_term::{Header, MatchContext, Subtag};

/// Of the words of a match context, from the tagged pointer.
const OFFSET: i32 = word(1);
const END: i32 = word(2);
const ORIGINAL: i32 = word(3);

impl Emitter<'_> {
    fn require_context(&mut self, register: u8, other: DynamicLabel) {
        self.require_boxed(register, other);
        let header = Header::new(Subtag::MatchContext, MatchContext::WORDS - 1).0 as i32;
        dynasm!(self.ops ; .arch x64 ; cmp QWORD [Rq(register) - 5], header ; jne =>other);
    }
    /// The register that a match context is in, `rbx` or its own; anything else is the interpreter's.
    fn context(&mut self, at: u32, register: Dst) -> u8 {
        let src = register.as_src();
        let context = self.read(at, src, RBX);
        if !self.facts.is(src, Fact::Context) {
            let other = self.exit(at);
            self.require_context(context, other);
            self.facts.learn(src, Fact::Context);
        }
        context
    }
    pub fn start_match(&mut self, at: u32, src: Src, dst: Dst, fail: i32) {
        let other = self.failing(at, (fail != 0).then_some(fail));
        let (fresh, done) = (self.label(), self.label());
        self.read_into(at, src, RBX);
        self.require_context(RBX, fresh);
        dynasm!(self.ops ; .arch x64 ; mov rax, rbx ; jmp =>done ; =>fresh);
        self.require_bits(RBX, other);
        self.assist_or(self.assists.start_match as usize, other);
        dynasm!(self.ops ; .arch x64 ; =>done);
        self.write(dst, RAX);
        self.facts.learn(dst.as_src(), Fact::Context);
    }
    pub fn get_position(&mut self, at: u32, context: Dst, dst: Dst) {
        let context = self.context(at, context);
        dynasm!(self.ops ; .arch x64 ; mov rax, [Rq(context) + OFFSET] ; lea rax, [rax * 4 + 3]);
        self.write(dst, RAX);
    }
    pub fn set_position(&mut self, at: u32, context: Dst, position: Src) {
        let other = self.exit(at);
        let context = self.context(at, context);
        self.read_into(at, position, R10);
        self.require_small(R10, other);
        dynasm!(self.ops ; .arch x64 ; sar r10, 2 ; cmp r10, [Rq(context) + END] ; ja =>other ; mov [Rq(context) + OFFSET], r10);
    }
    pub fn test_tail(&mut self, at: u32, context: Dst, bits: u64, fail: i32) {
        let fail = self.target(at, fail);
        let context = self.context(at, context);
        dynasm!(self.ops ; .arch x64 ; mov rax, [Rq(context) + END] ; sub rax, [Rq(context) + OFFSET]);
        self.compare_word(RAX, bits);
        dynasm!(self.ops ; .arch x64 ; jne =>fail);
    }
    pub fn test_unit(&mut self, at: u32, context: Dst, unit: u16, fail: i32) {
        let fail = self.target(at, fail);
        let context = self.context(at, context);
        dynasm!(self.ops
            ; .arch x64
            ; mov rax, [Rq(context) + END]
            ; sub rax, [Rq(context) + OFFSET]
            ; test eax, i32::from(unit) - 1
            ; jnz =>fail
        );
    }
    /// How many bits a segment takes, where that is known.
    pub fn known_bits(&self, at: u32, size: Src, unit: u8) -> Option<u32> {
        let size = u32::try_from(self.small_constant(at, size)?).ok()?;
        size.checked_mul(stored_unit(unit) as u32).filter(|&bits| bits < 1 << 30)
    }
    /// `r11` becomes the position so many bits on; to `fail` when there are fewer.
    fn require_bits_left(&mut self, context: u8, bits: u32, fail: DynamicLabel) {
        dynasm!(self.ops
            ; .arch x64
            ; mov r10, [Rq(context) + OFFSET]
            ; lea r11, [r10 + bits as i32]
            ; cmp r11, [Rq(context) + END]
            ; ja =>fail
        );
    }
    pub fn skip(&mut self, at: u32, context: Dst, size: Src, unit: u8, fail: i32) {
        let Some(bits) = self.known_bits(at, size, unit) else { return self.step_here(at) };
        let fail = self.target(at, fail);
        let context = self.context(at, context);
        self.require_bits_left(context, bits, fail);
        self.store(R11, context, OFFSET);
    }
    /// An integer of a few whole bytes that begins with a byte, in place.
    pub fn get_integer(&mut self, at: u32, flags: u8, context: Dst, bits: Option<u32>, dst: Dst, fail: i32) {
        let bits = match bits {
            Some(bits @ (8 | 16 | 32)) if flags == 0 => bits,
            bits => return self.get_any_integer(at, flags, context, bits, dst, fail),
        };
        let fail = self.target(at, fail);
        let context = self.context(at, context);
        self.require_bits_left(context, bits, fail);
        let slow = self.step_later(at);
        dynasm!(self.ops ; .arch x64 ; test r10b, 7 ; jnz =>slow);
        self.data(context, slow);
        match bits {
            8 => dynasm!(self.ops ; .arch x64 ; movzx eax, BYTE [rax + r10]),
            16 => dynasm!(self.ops ; .arch x64 ; movzx eax, WORD [rax + r10] ; rol ax, 8),
            _ => dynasm!(self.ops ; .arch x64 ; mov eax, [rax + r10] ; bswap eax),
        }
        self.store(R11, context, OFFSET);
        dynasm!(self.ops ; .arch x64 ; lea rax, [rax * 4 + 3]);
        self.write(dst, RAX);
    }
    /// `rax` becomes the address of a context's bytes, and `r10`, a position in bits, one in bytes.
    fn data(&mut self, context: u8, slow: DynamicLabel) {
        use swarmrt_term::binary::{heap_bin, shared_bin};
        let (heap, done) = (self.label(), self.label());
        self.load(R12, context, ORIGINAL);
        dynasm!(self.ops
            ; .arch x64
            ; shr r10, 3
            ; movzx eax, BYTE [r12 - 5]
            ; cmp eax, (Subtag::HeapBin as i32) << 3
            ; je =>heap
            ; cmp eax, (Subtag::SharedBin as i32) << 3
            ; jne =>slow
            ; mov rax, [r12 + word(shared_bin::DATA_PTR)]
            ; jmp =>done
            ; =>heap
            ; lea rax, [r12 + word(heap_bin::DATA)]
            ; =>done
        );
    }
    fn get_any_integer(&mut self, at: u32, flags: u8, context: Dst, bits: Option<u32>, dst: Dst, fail: i32) {
        let Some(bits) = bits else { return self.step_here(at) };
        let fail = self.target(at, fail);
        let context = self.context(at, context);
        self.require_bits_left(context, bits, fail);
        let other = self.exit(at);
        if context != RBX {
            dynasm!(self.ops ; .arch x64 ; mov rbx, Rq(context));
        }
        self.word(R12, bits.into());
        self.word(R13, flags.into());
        self.assist_or(self.assists.get_integer as usize, other);
        self.write(dst, RAX);
    }
    pub fn create_binary(&mut self, at: u32, plan: &BinaryPlan) {
        let sources = || plan.segments.iter().flat_map(|segment| [Some(segment.value), segment.size]).flatten();
        if sources().count() > SCRATCH_WORDS {
            return self.step_here(at);
        }
        let slow = self.step_later(at);
        self.spread(at, sources(), R12);
        self.word(RBX, self.span.address(at));
        self.assist_or(self.assists.create_binary as usize, slow);
        self.write(plan.dst, RAX);
    }
}
