//! Matching and building of bitstrings: positions, whole bytes and small fields in place, the rest
//! by the machine's functions.

use crate::emitter::{Emitter, R10, R11, R12, R13, R14, RAX, RBX};
use crate::facts::Fact;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{
    BinaryPlan, Dst, Instr, MatchPlan, MatchStep, SegmentKind, Src, stored_unit,
};
use swarmrt_engine::layout::{
    CONTEXT_END, CONTEXT_OFFSET, CONTEXT_ORIGINAL, HEADER, LITERALS, boxed,
};
use swarmrt_engine::state::SCRATCH_WORDS;
use swarmrt_heap::LITERAL_BYTES_MAX;
use swarmrt_term::binary::{SHARED_HEAD_BYTES, heap_bin, shared_bin, shared_head};
use swarmrt_term::{Header, MatchContext, Subtag};

/// Positions that an instruction moves to at once are within an offset of an address.
const BITS_MAX: u32 = 1 << 30;

/// What is appended to a binary.
#[derive(Clone, Copy)]
enum Appended {
    Integer(Src),
    /// Bytes as a number, the first the highest.
    Text(u64),
}

impl Emitter<'_> {
    // ---- Match contexts ----

    fn require_context(&mut self, register: u8, other: DynamicLabel) {
        self.require_boxed(register, other);
        let header = Header::new(Subtag::MatchContext, MatchContext::WORDS - 1).0 as i32;
        dynasm!(self.ops ; .arch x64 ; cmp QWORD [BYTE Rq(register) + HEADER], header ; jne =>other);
    }
    /// The match context in `r14`, which no assist changes; anything else is the interpreter's.
    fn context(&mut self, at: u32, src: Src) {
        self.read_into(at, src, R14);
        if !self.facts.is(src, Fact::Context) {
            let other = self.exit(at);
            self.require_context(R14, other);
            self.facts.learn(src, Fact::Context);
        }
    }
    /// `rax` becomes the number of bits that are left.
    fn bits_left(&mut self) {
        dynasm!(self.ops ; .arch x64 ; mov rax, [r14 + CONTEXT_END] ; sub rax, [r14 + CONTEXT_OFFSET]);
    }
    /// `r10` becomes the position, and `r11` the one so many bits on; to `fail` when there are
    /// fewer.
    fn require_bits_left(&mut self, bits: u32, fail: DynamicLabel) {
        dynasm!(self.ops
            ; .arch x64
            ; mov r10, [r14 + CONTEXT_OFFSET]
            ; lea r11, [r10 + bits as i32]
            ; cmp r11, [r14 + CONTEXT_END]
            ; ja =>fail
        );
    }
    /// To `fail` unless the bits in `rax` are whole units.
    fn require_units(&mut self, unit: u32, fail: DynamicLabel) {
        if unit.is_power_of_two() {
            dynasm!(self.ops ; .arch x64 ; test eax, unit as i32 - 1 ; jnz =>fail);
            return;
        }
        dynasm!(self.ops
            ; .arch x64
            ; mov rbx, rdx
            ; xor edx, edx
            ; mov r10d, unit as i32
            ; div r10
            ; mov r10, rdx
            ; mov rdx, rbx
            ; test r10, r10
            ; jnz =>fail
        );
    }
    /// A part of the bitstring: `r12` is its position, `r13` its bits.
    fn part(&mut self, dst: Dst) {
        self.load(RBX, R14, CONTEXT_ORIGINAL);
        self.assist(self.assists.part as usize);
        self.write(dst, RAX);
    }
    /// `bs_start_match`: `dst` becomes a match context; one in `src` is used again. A `fail` of 0
    /// has the interpreter raise.
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
    /// `bs_get_position`: the context's position in bits, as a small integer.
    pub fn get_position(&mut self, at: u32, context: Dst, dst: Dst) {
        self.context(at, context.as_src());
        dynasm!(self.ops ; .arch x64 ; mov rax, [r14 + CONTEXT_OFFSET] ; lea rax, [rax * 4 + 3]);
        self.write(dst, RAX);
    }
    /// `bs_set_position`: back to a position that [`get_position`](Self::get_position) gave.
    pub fn set_position(&mut self, at: u32, context: Dst, position: Src) {
        let other = self.exit(at);
        self.context(at, context.as_src());
        self.read_into(at, position, R10);
        self.require_small(R10, other);
        dynasm!(self.ops ; .arch x64 ; sar r10, 2 ; cmp r10, [r14 + CONTEXT_END] ; ja =>other ; mov [r14 + CONTEXT_OFFSET], r10);
    }
    /// `bs_test_tail2`: to `fail` unless exactly `bits` bits are left.
    pub fn test_tail(&mut self, at: u32, context: Dst, bits: u64, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        self.bits_left();
        self.compare_word(RAX, bits);
        dynasm!(self.ops ; .arch x64 ; jne =>fail);
    }
    /// `bs_test_unit`: to `fail` unless the bits left are a multiple of `unit`.
    pub fn test_unit(&mut self, at: u32, context: Dst, unit: u16, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        self.bits_left();
        self.require_units(unit.into(), fail);
    }

    // ---- Segments ----

    /// How many bits a segment takes, where that is known.
    pub fn known_bits(&self, at: u32, size: Src, unit: u8) -> Option<u32> {
        let size = u32::try_from(self.small_constant(at, size)?).ok()?;
        size.checked_mul(stored_unit(unit) as u32).filter(|&bits| bits < BITS_MAX)
    }
    /// `bs_skip_bits2`: skips `size` units; `unit` as in [`stored_unit`].
    pub fn skip(&mut self, at: u32, context: Dst, size: Src, unit: u8, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        match self.known_bits(at, size, unit) {
            Some(bits) => self.require_bits_left(bits, fail),
            None => self.require_size(at, size, unit, fail),
        }
        self.store(R11, R14, CONTEXT_OFFSET);
    }
    /// `r10` becomes the position, `r13` the bits of a segment, and `r11` the position behind it;
    /// to `fail` when there are fewer. What is no simple size is the interpreter's.
    fn require_size(&mut self, at: u32, size: Src, unit: u8, fail: DynamicLabel) {
        let other = self.exit(at);
        self.read_into(at, size, R13);
        self.require_small(R13, other);
        // Times the unit, it does not overflow.
        self.word(RAX, 1 << 40);
        dynasm!(self.ops
            ; .arch x64
            ; sar r13, 2
            ; cmp r13, rax
            ; jae =>other
            ; imul r13, r13, stored_unit(unit) as i32
            ; mov r10, [r14 + CONTEXT_OFFSET]
            ; lea r11, [r10 + r13]
            ; cmp r11, [r14 + CONTEXT_END]
            ; ja =>fail
        );
    }
    /// `bs_get_binary2` with a size: the next `size` units as a bitstring; `unit` as in
    /// [`stored_unit`].
    pub fn get_binary(&mut self, at: u32, context: Dst, size: Src, unit: u8, dst: Dst, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        self.require_size(at, size, unit, fail);
        self.store(R11, R14, CONTEXT_OFFSET);
        dynasm!(self.ops ; .arch x64 ; mov r12, r10);
        self.part(dst);
    }
    /// `bs_get_binary2` with the size `all`: all bits left, to `fail` unless they are a multiple of
    /// `unit`.
    pub fn get_rest(&mut self, at: u32, context: Dst, unit: u16, dst: Dst, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        self.bits_left();
        dynasm!(self.ops ; .arch x64 ; mov r13, rax);
        self.require_units(unit.into(), fail);
        dynasm!(self.ops ; .arch x64 ; mov r12, [r14 + CONTEXT_OFFSET] ; mov rax, [r14 + CONTEXT_END] ; mov [r14 + CONTEXT_OFFSET], rax);
        self.part(dst);
    }
    /// `bs_skip_bits2` with the size `all`: to the end, or to `fail` unless the bits left are a
    /// multiple of `unit`.
    pub fn skip_rest(&mut self, at: u32, context: Dst, unit: u16, fail: i32) {
        let fail = self.target(at, fail);
        self.context(at, context.as_src());
        self.bits_left();
        self.require_units(unit.into(), fail);
        dynasm!(self.ops ; .arch x64 ; mov rax, [r14 + CONTEXT_END] ; mov [r14 + CONTEXT_OFFSET], rax);
    }
    /// `bs_get_tail`: all bits left as a bitstring; the position stays.
    pub fn get_tail(&mut self, at: u32, context: Dst, dst: Dst) {
        self.context(at, context.as_src());
        self.tail(dst);
    }
    fn tail(&mut self, dst: Dst) {
        self.bits_left();
        dynasm!(self.ops ; .arch x64 ; mov r13, rax ; mov r12, [r14 + CONTEXT_OFFSET]);
        self.part(dst);
    }
    /// `bs_get_integer2`: the next `bits` bits as an integer. It is stepped where `bits` is `None`,
    /// which means that the size is not a known constant.
    pub fn get_integer(
        &mut self,
        at: u32,
        flags: u8,
        context: Dst,
        bits: Option<u32>,
        dst: Dst,
        fail: i32,
    ) {
        let Some(bits) = bits else { return self.step_here(at) };
        let (fail, other) = (self.target(at, fail), self.exit(at));
        self.context(at, context.as_src());
        self.integer(bits, flags, fail, other);
        self.write(dst, RAX);
    }
    /// `rax` becomes the integer of the next bits; to `fail` when there are fewer, to `other` where
    /// there is none.
    fn integer(&mut self, bits: u32, flags: u8, fail: DynamicLabel, other: DynamicLabel) {
        self.require_bits_left(bits, fail);
        if flags != 0 || !matches!(bits, 1..=8 | 16 | 32) {
            return self.assisted_integer(bits, flags, other);
        }
        let done = self.label();
        let slow = self.later(move |emitter| {
            emitter.assisted_integer(bits, flags, other);
            dynasm!(emitter.ops ; .arch x64 ; jmp =>done);
        });
        match bits {
            8 | 16 | 32 => {
                dynasm!(self.ops ; .arch x64 ; test r10b, 7 ; jnz =>slow);
                self.data(slow);
            }
            _ => {
                dynasm!(self.ops ; .arch x64 ; mov ebx, r10d ; and ebx, 7);
                self.data(slow);
            }
        }
        match bits {
            8 => dynasm!(self.ops ; .arch x64 ; movzx eax, BYTE [rax + r10]),
            16 => dynasm!(self.ops ; .arch x64 ; movzx eax, WORD [rax + r10] ; rol ax, 8),
            32 => dynasm!(self.ops ; .arch x64 ; mov eax, [rax + r10] ; bswap eax),
            _ => self.bits_of_bytes(bits),
        }
        self.store(R11, R14, CONTEXT_OFFSET);
        dynasm!(self.ops ; .arch x64 ; lea rax, [rax * 4 + 3] ; =>done);
    }
    /// `eax` becomes a field of less than a byte: it begins `ebx` bits behind the byte at `rax +
    /// r10`, and may end in the next.
    fn bits_of_bytes(&mut self, bits: u32) {
        let one = self.label();
        dynasm!(self.ops
            ; .arch x64
            ; movzx r12d, BYTE [rax + r10]
            ; shl r12d, 8
            ; cmp ebx, 8 - bits as i32
            ; jbe =>one
            ; movzx r13d, BYTE [rax + r10 + 1]
            ; or r12d, r13d
            ; =>one
            ; mov r13, rcx
            ; mov ecx, 16 - bits as i32
            ; sub ecx, ebx
            ; shr r12d, cl
            ; mov rcx, r13
            ; mov eax, r12d
            ; and eax, (1 << bits) - 1
        );
    }
    /// `rax` becomes the address of the context's bytes, and `r10`, a position in bits, one in
    /// bytes.
    fn data(&mut self, slow: DynamicLabel) {
        let (heap, done) = (self.label(), self.label());
        dynasm!(self.ops
            ; .arch x64
            ; mov r12, [r14 + CONTEXT_ORIGINAL]
            ; shr r10, 3
            ; movzx eax, BYTE [BYTE r12 + HEADER]
            ; cmp eax, (Subtag::HeapBin as i32) << 3
            ; je =>heap
            ; cmp eax, (Subtag::SharedBin as i32) << 3
            ; jne =>slow
            ; mov rax, [r12 + boxed(shared_bin::DATA_PTR)]
            ; jmp =>done
            ; =>heap
            ; lea rax, [r12 + boxed(heap_bin::DATA)]
            ; =>done
        );
    }
    fn assisted_integer(&mut self, bits: u32, flags: u8, other: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; mov rbx, r14);
        self.word(R12, bits.into());
        self.word(R13, flags.into());
        self.assist_or(self.assists.get_integer as usize, other);
    }

    // ---- Plans ----

    /// Whether each step of a plan is done in place or by an assist.
    fn is_simple(&self, at: u32, plan: &MatchPlan) -> bool {
        let fits = |bits: usize| bits < BITS_MAX as usize;
        plan.steps.iter().all(|step| match *step {
            MatchStep::EnsureAtLeast { bits, unit } => fits(bits) && fits(unit) && unit > 0,
            MatchStep::EnsureExactly { bits }
            | MatchStep::Skip { bits }
            | MatchStep::Binary { bits, .. }
            | MatchStep::Integer { bits, .. } => fits(bits),
            MatchStep::Equals { bits, value } => {
                bits <= 56 && self.small_constant(at, value).is_some()
            }
            MatchStep::GetTail { .. } => true,
        })
    }
    /// `bs_match`: the steps of a plan one after another, or one step of the interpreter where the
    /// plan has a step that is not done in place.
    pub fn bs_match(&mut self, at: u32, plan: &MatchPlan) {
        if !self.is_simple(at, plan) {
            return self.step_here(at);
        }
        let fail = self.target(at, plan.fail);
        self.context(at, plan.context);
        for step in &plan.steps {
            match *step {
                MatchStep::EnsureAtLeast { bits, unit } => {
                    self.bits_left();
                    dynasm!(self.ops ; .arch x64 ; sub rax, bits as i32 ; jl =>fail);
                    if unit > 1 {
                        self.require_units(unit as u32, fail);
                    }
                }
                MatchStep::EnsureExactly { bits } => {
                    self.bits_left();
                    dynasm!(self.ops ; .arch x64 ; cmp rax, bits as i32 ; jne =>fail);
                }
                MatchStep::Skip { bits } => {
                    self.require_bits_left(bits as u32, fail);
                    self.store(R11, R14, CONTEXT_OFFSET);
                }
                MatchStep::Integer { bits, flags, dst } => {
                    self.integer(bits as u32, flags, fail, fail);
                    self.write(dst, RAX);
                }
                MatchStep::Equals { bits, value } => {
                    self.integer(bits as u32, 0, fail, fail);
                    let wanted = self.constant(at, value).expect("seen to be one");
                    self.compare_word(RAX, wanted);
                    dynasm!(self.ops ; .arch x64 ; jne =>fail);
                }
                MatchStep::Binary { bits, dst } => {
                    self.require_bits_left(bits as u32, fail);
                    self.store(R11, R14, CONTEXT_OFFSET);
                    dynasm!(self.ops ; .arch x64 ; mov r12, r10 ; mov r13d, bits as i32);
                    self.part(dst);
                }
                MatchStep::GetTail { dst } => self.tail(dst),
            }
        }
    }

    // ---- Building ----

    /// `bs_create_bin`. A few small fields behind a binary, together at most 64 bits, are appended
    /// as one word; everything else is an assist's.
    pub fn create_binary(&mut self, at: u32, plan: &BinaryPlan) {
        if plan.sources().count() > SCRATCH_WORDS {
            return self.step_here(at);
        }
        if let Some(fields) = self.appended(at, plan) {
            let done = self.label();
            let other = self.later(move |emitter| {
                let Instr::BsCreateBin { plan } = emitter.span.code[at as usize] else {
                    unreachable!("asked for by one")
                };
                emitter.create_any_binary(at, &plan);
                dynasm!(emitter.ops ; .arch x64 ; jmp =>done);
            });
            self.append(at, plan, &fields, other);
            dynasm!(self.ops ; .arch x64 ; =>done);
        } else {
            self.create_any_binary(at, plan);
        }
        self.write(plan.dst, RAX);
    }
    /// `rax` becomes the binary.
    fn create_any_binary(&mut self, at: u32, plan: &BinaryPlan) {
        let slow = self.step_later(at);
        self.spread(at, plan.sources(), R12);
        self.word(RBX, self.span.address(at));
        self.assist_or(self.assists.create_binary as usize, slow);
    }
    /// Integers and text of known sizes, a word in all, that are appended: their bits, and
    /// constants where they are some.
    fn appended(&self, at: u32, plan: &BinaryPlan) -> Option<Vec<(u32, Appended)>> {
        let (first, rest) = plan.segments.split_first()?;
        if !matches!(first.kind, SegmentKind::Append | SegmentKind::PrivateAppend)
            || rest.is_empty()
        {
            return None;
        }
        let mut fields = Vec::new();
        for segment in rest {
            fields.push(match segment.kind {
                SegmentKind::Integer if segment.flags == 0 => {
                    let size = u32::try_from(self.small_constant(at, segment.size?)?).ok()?;
                    (size.checked_mul(segment.unit)?, Appended::Integer(segment.value))
                }
                SegmentKind::String if segment.bytes.len() < 8 => {
                    let text =
                        segment.bytes.iter().fold(0, |text, &byte| text << 8 | u64::from(byte));
                    (segment.bytes.len() as u32 * 8, Appended::Text(text))
                }
                _ => return None,
            });
        }
        let all = fields.iter().try_fold(0u32, |sum, &(bits, _)| sum.checked_add(bits))?;
        (all <= 64 && fields.iter().all(|&(bits, _)| (1..64).contains(&bits))).then_some(fields)
    }
    /// `rax` becomes what is appended to, with the fields behind it; to `other` where they are no
    /// small integers.
    fn append(
        &mut self,
        at: u32,
        plan: &BinaryPlan,
        fields: &[(u32, Appended)],
        other: DynamicLabel,
    ) {
        dynasm!(self.ops ; .arch x64 ; xor r12d, r12d);
        for &(bits, field) in fields {
            match field {
                Appended::Integer(value) => {
                    self.read_into(at, value, R10);
                    self.require_small(R10, other);
                    // What is above the field's bits goes.
                    let above = 64 - bits as i8;
                    dynasm!(self.ops ; .arch x64 ; sar r10, 2 ; shl r10, above ; shr r10, above);
                }
                Appended::Text(text) => self.word(R10, text),
            }
            dynasm!(self.ops ; .arch x64 ; shl r12, bits as i8 ; or r12, r10);
        }
        self.read_into(at, plan.segments[0].value, RBX);
        let bits = fields.iter().map(|&(bits, _)| bits).sum();
        if plan.segments[0].kind == SegmentKind::PrivateAppend {
            let done = self.label();
            let slow = self.later(move |emitter| {
                emitter.word(R13, u64::from(bits));
                emitter.assist_or(emitter.assists.append_own_word as usize, other);
                dynasm!(emitter.ops ; .arch x64 ; jmp =>done);
            });
            self.lengthen(bits, slow);
            dynasm!(self.ops ; .arch x64 ; =>done);
        } else {
            self.word(R13, u64::from(bits));
            self.assist_or(self.assists.append_word as usize, other);
        }
    }
    /// `rax` becomes the binary in `rbx`, whose buffer nothing else refers to, with the lowest
    /// `bits` of `r12` behind it; to `slow` where it is no binary of whole bytes or its buffer has
    /// no room for a word. `rbx` and `r12` are left as they are.
    fn lengthen(&mut self, bits: u32, slow: DynamicLabel) {
        let header = Header::new(Subtag::SharedBin, shared_bin::WORDS - 1).0 as i32;
        self.require_boxed(RBX, slow);
        dynasm!(self.ops ; .arch x64
            ; cmp QWORD [BYTE rbx + HEADER], header
            ; jne =>slow
            ; mov r10, rbx
            ; sub r10, [r15 + LITERALS]
        );
        self.word(R11, LITERAL_BYTES_MAX as u64);
        dynasm!(self.ops ; .arch x64
            ; cmp r10, r11
            ; jb =>slow
            ; mov rax, [rbx + boxed(shared_bin::BIT_SIZE)]
            ; mov r10, [rbx + boxed(shared_bin::SHARED)]
            ; mov r11, [rbx + boxed(shared_bin::DATA_PTR)]
            ; test al, 7
            ; jnz =>slow
            // All of the buffer that is in use, from its first byte on, by this binary alone.
            ; cmp rax, [r10 + shared_head::USED_BITS as i32]
            ; jne =>slow
            ; cmp QWORD [r10 + shared_head::REFERENCES as i32], 1
            ; jne =>slow
            ; lea r13, [r10 + SHARED_HEAD_BYTES as i32]
            ; cmp r11, r13
            ; jne =>slow
            ; mov r13, rax
            ; shr r13, 3
            ; add r11, r13
            ; add r13, 8
            ; cmp r13, [r10 + shared_head::CAPACITY as i32]
            ; ja =>slow
            ; mov r13, r12
            ; shl r13, 64 - bits as i8
            ; bswap r13
            ; mov [r11], r13
            ; add rax, bits as i32
            ; mov [r10 + shared_head::USED_BITS as i32], rax
            ; mov [rbx + boxed(shared_bin::BIT_SIZE)], rax
            ; mov rax, rbx
        );
    }
}
