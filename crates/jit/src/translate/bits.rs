//! Matching of bitstrings in machine code: whole bytes and small fields in place, the rest by the
//! machine's functions.

use crate::plan::facts::{Fact, kind};
use crate::translate::{F64, I64, Next, Translator};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData as MemFlags, Value, types};
use swarmrt_beam::instr::{Dst, FLAG_LITTLE, Src, Utf};
use swarmrt_engine::layout::{self, CONTEXT_END, CONTEXT_OFFSET, CONTEXT_ORIGINAL, boxed};
use swarmrt_term::binary::{HEAP_BIN_BYTES_MAX, heap_bin, shared_bin, sub_bin};
use swarmrt_term::{Header, MatchContext, Subtag};

/// The largest field that lies within a word, wherever in its first byte it begins.
pub(crate) const FIELD_BITS_MAX: u32 = 56;
const MAX_CHARACTER: i128 = 0x10_ffff;

impl Translator<'_, '_> {
    // ---- Matching of binaries ----

    /// Goes on here when the word is a match context, else to `other`.
    pub(crate) fn require_context(&mut self, value: Value, other: Block) {
        let boxed = self.is_boxed(value);
        self.require(boxed, other);
        let header = self.header_of(value);
        let is = self.b.ins().icmp_imm_s(
            IntCC::Equal,
            header,
            Header::new(Subtag::MatchContext, MatchContext::WORDS - 1).0 as i64,
        );
        self.require(is, other);
    }
    /// The match context in a register, and the slow way for all else.
    pub(crate) fn context(&mut self, at: u32, register: Dst) -> (Value, Block) {
        let context = self.src(at, register.as_src());
        let slow = self.exit_block(at);
        if !self.facts.of(register).is(kind::CONTEXT) {
            self.require_context(context, slow);
            self.facts.set(register, Fact::of(kind::CONTEXT));
        }
        (context, slow)
    }
    pub(crate) fn offset_and_left(&mut self, context: Value) -> (Value, Value) {
        let (offset, end) = (self.load(context, CONTEXT_OFFSET), self.load(context, CONTEXT_END));
        let left = self.b.ins().isub(end, offset);
        (offset, left)
    }
    fn move_on(&mut self, context: Value, bits: u32) {
        let bits = self.word(bits.into());
        self.move_by(context, bits);
    }
    pub(crate) fn move_by(&mut self, context: Value, bits: Value) {
        let offset = self.load(context, CONTEXT_OFFSET);
        let after = self.b.ins().iadd(offset, bits);
        self.store(after, context, CONTEXT_OFFSET);
    }
    /// Moves to so many bits behind a position.
    pub(crate) fn move_to(&mut self, context: Value, from: Value, bits: u32) {
        let after = if bits == 0 { from } else { self.b.ins().iadd_imm_s(from, i64::from(bits)) };
        self.store(after, context, CONTEXT_OFFSET);
    }
    // ---- Binaries ----

    /// Goes on here with the header's byte of a bitstring, to `other` for all else.
    fn require_bits(&mut self, value: Value, other: Block) {
        let boxed = self.is_boxed(value);
        self.require(boxed, other);
        let byte = self.header_byte(value);
        const {
            assert!(
                Subtag::HeapBin as u64 + 1 == Subtag::SharedBin as u64
                    && Subtag::HeapBin as u64 + 2 == Subtag::SubBin as u64
            );
        };
        let from_first = self.b.ins().iadd_imm_s(byte, -layout::header_kind(Subtag::HeapBin));
        let is = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, from_first, 2 << 3);
        self.require(is, other);
    }
    /// The size of a bitstring in bits.
    pub(crate) fn bits_of(&mut self, value: Value, other: Block) -> Value {
        self.require_bits(value, other);
        // The same word in all three kinds.
        self.load(value, boxed(heap_bin::BIT_SIZE))
    }
    pub(crate) fn is_binary(&mut self, at: u32, src: Src, fail: i32) -> Next {
        let value = self.src(at, src);
        let fail = self.target(self.relative(at, fail));
        let bits = self.bits_of(value, fail);
        let rest = self.b.ins().band_imm_s(bits, 7);
        let whole = self.b.ins().icmp_imm_s(IntCC::Equal, rest, 0);
        self.require(whole, fail);
        Next::At(at + 1)
    }
    pub(crate) fn start_match(&mut self, at: u32, src: Src, dst: Dst, fail: i32) -> Next {
        let value = self.src(at, src);
        let fail = (fail != 0).then_some(fail);
        let failing = self.failing(at, fail);
        let fresh = self.b.create_block();
        self.require_context(value, fresh);
        self.set_known(dst, value, Fact::of(kind::CONTEXT));
        let next = self.target(at + 1);
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(fresh);
        self.require_bits(value, failing);
        let context = self.assist_or(at, self.source.assists.start_match as usize, &[value], fail);
        self.set_known(dst, context, Fact::of(kind::CONTEXT));
        self.b.ins().jump(next, &[]);
        Next::End
    }
    /// The bits that a segment takes: to `fail` when there are too few, to `slow` when the size is
    /// not simple.
    pub(crate) fn segment_bits(
        &mut self,
        at: u32,
        context: Value,
        size: Src,
        unit: u8,
        fail: i32,
        slow: Block,
    ) -> Value {
        let word = self.src(at, size);
        let size = if self
            .constant(at, size)
            .is_some_and(|word| word as i64 & layout::NUMBER_MASK == layout::SMALL_TAG)
        {
            self.small_value(word)
        } else {
            let small = self.is_small(word);
            self.require(small, slow);
            let size = self.small_value(word);
            // Times the unit, it must not overflow.
            let fits = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, size, 1 << 40);
            self.require(fits, slow);
            size
        };
        let bits = self.b.ins().imul_imm_s(size, swarmrt_beam::instr::stored_unit(unit) as i64);
        let (_, left) = self.offset_and_left(context);
        let enough = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, bits, left);
        let fail = self.target(self.relative(at, fail));
        self.require(enough, fail);
        bits
    }
    pub(crate) fn get_binary(
        &mut self,
        at: u32,
        register: Dst,
        size: Src,
        unit: u8,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, slow) = self.context(at, register);
        let bits = self.segment_bits(at, context, size, unit, fail, slow);
        let offset = self.load(context, CONTEXT_OFFSET);
        let part = self.part(context, offset, bits);
        self.move_by(context, bits);
        self.set_known(dst, part, Fact::of(kind::BITS));
        Next::At(at + 1)
    }
    /// What a size has more than whole units.
    pub(crate) fn rest_of(&mut self, bits: Value, unit: i64) -> Value {
        if unit & (unit - 1) == 0 {
            self.b.ins().band_imm_s(bits, unit - 1)
        } else {
            self.b.ins().urem_imm_s(bits, unit)
        }
    }
    /// What is left, when it is whole units.
    fn whole_rest(&mut self, at: u32, register: Dst, unit: u16, fail: i32) -> (Value, Value) {
        let (context, _) = self.context(at, register);
        let (_, left) = self.offset_and_left(context);
        if unit > 1 {
            let rest = self.rest_of(left, unit.into());
            let whole = self.b.ins().icmp_imm_s(IntCC::Equal, rest, 0);
            let fail = self.target(self.relative(at, fail));
            self.require(whole, fail);
        }
        (context, left)
    }
    pub(crate) fn get_rest(
        &mut self,
        at: u32,
        register: Dst,
        unit: u16,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, left) = self.whole_rest(at, register, unit, fail);
        let offset = self.load(context, CONTEXT_OFFSET);
        let part = self.part(context, offset, left);
        self.move_by(context, left);
        self.set_known(dst, part, Fact::of(kind::BITS));
        Next::At(at + 1)
    }
    pub(crate) fn skip_rest(&mut self, at: u32, register: Dst, unit: u16, fail: i32) -> Next {
        let (context, left) = self.whole_rest(at, register, unit, fail);
        self.move_by(context, left);
        Next::At(at + 1)
    }
    pub(crate) fn get_tail(&mut self, at: u32, register: Dst, dst: Dst) -> Next {
        let (context, _) = self.context(at, register);
        let (offset, left) = self.offset_and_left(context);
        let tail = self.part(context, offset, left);
        self.set_known(dst, tail, Fact::of(kind::BITS));
        Next::At(at + 1)
    }
    /// So many bits of what a context is about, from a position on, as a bitstring. The machine
    /// makes it where it may be a copy ([`Alloc::part`]), or where there is no room.
    pub(crate) fn part(&mut self, context: Value, offset: Value, bits: Value) -> Value {
        let original = self.load(context, CONTEXT_ORIGINAL);
        let (other, done) = (self.cold_block(), self.b.create_block());
        let part = self.b.append_block_param(done, I64);
        let is_large = self.b.ins().icmp_imm_s(
            IntCC::UnsignedGreaterThan,
            bits,
            (HEAP_BIN_BYTES_MAX * 8) as i64,
        );
        self.require(is_large, other);
        self.require_room(sub_bin::WORDS, other);
        let binary = self.bump(sub_bin::WORDS);
        let header = self.word(Header::new(Subtag::SubBin, sub_bin::WORDS - 1).0);
        for (number, value) in [
            (0, header),
            (sub_bin::BIT_SIZE, bits),
            (sub_bin::BIT_OFFSET, offset),
            (sub_bin::ORIGINAL, original),
        ] {
            self.store(value, binary, number as i32 * 8);
        }
        let boxed = self.b.ins().iadd_imm_s(binary, layout::BOXED_TAG);
        self.b.ins().jump(done, &[BlockArg::Value(boxed)]);
        self.b.switch_to_block(other);
        let made = self.assisted(self.source.assists.part as usize, &[original, offset, bits]);
        self.b.ins().jump(done, &[BlockArg::Value(made)]);
        self.b.switch_to_block(done);
        part
    }
    pub(crate) fn get_utf(
        &mut self,
        at: u32,
        utf: Utf,
        register: Dst,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, _) = self.context(at, register);
        let ip = self.instr(at);
        if utf != Utf::Utf8 {
            let character = self.assist_or(
                at,
                self.source.assists.get_utf as usize,
                &[ip, context],
                Some(fail),
            );
            self.set_known(dst, character, Fact::integer(0, MAX_CHARACTER));
            return Next::At(at + 1);
        }
        let other = self.later(move |translator| {
            let ip = translator.instr(at);
            let character = translator.assist_or(
                at,
                translator.source.assists.get_utf as usize,
                &[ip, context],
                Some(fail),
            );
            translator.set_known(dst, character, Fact::integer(0, MAX_CHARACTER));
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        let (offset, left) = self.offset_and_left(context);
        let enough = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, 8);
        let fail = self.target(self.relative(at, fail));
        self.require(enough, fail);
        self.require_aligned(offset, other);
        let address = self.address_in(context, offset);
        let byte = self.b.ins().uload8(I64, MemFlags::trusted(), address, 0);
        let one_byte = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, byte, 128);
        self.require(one_byte, other);
        self.move_on(context, 8);
        let word = self.tag_small(byte);
        self.set_known(dst, word, Fact::integer(0, MAX_CHARACTER));
        self.join(at + 1)
    }
    #[allow(clippy::too_many_arguments, reason = "the instruction's operands")]
    pub(crate) fn get_integer(
        &mut self,
        at: u32,
        register: Dst,
        size: Src,
        unit: u8,
        flags: u8,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, slow) = self.context(at, register);
        let bits = self.segment_bits(at, context, size, unit, fail, slow);
        let flags = self.word(flags.into());
        let number =
            self.assist(at, self.source.assists.get_integer as usize, &[context, bits, flags]);
        self.set(dst, number);
        Next::At(at + 1)
    }

    // ---- Fields ----

    /// The bits of a constant size, where they make a small integer.
    pub(crate) fn field_bits(&self, at: u32, size: Src, unit: u8) -> Option<u32> {
        self.size_bits(at, size, unit).filter(|bits| (1..=FIELD_BITS_MAX).contains(bits))
    }
    /// The bits of a constant size.
    pub(crate) fn size_bits(&self, at: u32, size: Src, unit: u8) -> Option<u32> {
        let bits = self
            .small_constant(at, size)?
            .checked_mul(swarmrt_beam::instr::stored_unit(unit) as i64)?;
        u32::try_from(bits).ok()
    }
    /// Goes on here when a position is that of a byte.
    pub(crate) fn require_aligned(&mut self, offset: Value, other: Block) {
        let within = self.b.ins().band_imm_s(offset, 7);
        let aligned = self.b.ins().icmp_imm_s(IntCC::Equal, within, 0);
        self.require(aligned, other);
    }
    /// Where the bytes are that a context is about.
    pub(crate) fn data_of(&mut self, context: Value) -> Value {
        // Either the bytes are in the heap binary, or a shared one says where they are.
        let original = self.load(context, CONTEXT_ORIGINAL);
        let byte = self.header_byte(original);
        let is_shared =
            self.b.ins().icmp_imm_s(IntCC::Equal, byte, layout::header_kind(Subtag::SharedBin));
        const { assert!(heap_bin::DATA == shared_bin::DATA_PTR) };
        let (there, here) = (
            self.load(original, boxed(heap_bin::DATA)),
            self.b.ins().iadd_imm_s(original, i64::from(boxed(heap_bin::DATA))),
        );
        self.b.ins().select(is_shared, there, here)
    }
    /// Where the byte is that the position lies in.
    pub(crate) fn address_in(&mut self, context: Value, offset: Value) -> Value {
        let base = self.data_of(context);
        let bytes = self.b.ins().ushr_imm_s(offset, 3);
        self.b.ins().iadd(base, bytes)
    }
    /// Loads 1, 2, 4 or 8 bytes as an unsigned big-endian number.
    fn load_bytes(&mut self, address: Value, at: i32, bytes: i32) -> Value {
        let mut flags = MemFlags::new();
        // Not aligned in memory.
        flags.set_notrap();
        match bytes {
            1 => self.b.ins().uload8(I64, flags, address, at),
            _ => {
                let width = match bytes {
                    2 => types::I16,
                    4 => types::I32,
                    _ => I64,
                };
                let loaded = self.b.ins().load(width, flags, address, at);
                let swapped = self.b.ins().bswap(loaded);
                if bytes == 8 { swapped } else { self.b.ins().uextend(I64, swapped) }
            }
        }
    }
    /// Up to eight bytes from an address on as a number, the first the highest.
    pub(crate) fn load_number(&mut self, address: Value, at: i32, bytes: i32) -> Value {
        let mut number = None;
        let mut done = 0;
        while done < bytes {
            let next = [8, 4, 2, 1]
                .into_iter()
                .find(|&width| width <= bytes - done)
                .expect("one byte at least");
            let part = self.load_bytes(address, at + done, next);
            number = Some(match number {
                None => part,
                Some(before) => {
                    let shifted = self.b.ins().ishl_imm_s(before, i64::from(next) * 8);
                    self.b.ins().bor(shifted, part)
                }
            });
            done += next;
        }
        number.expect("one byte at least")
    }
    /// Up to 64 bits as a number, which begin at a position, in the byte at the address. No byte is
    /// read that has none of the `there` bits from the position on.
    pub(crate) fn bits_within(
        &mut self,
        address: Value,
        offset: Value,
        bits: u32,
        there: u32,
    ) -> Value {
        let within = self.b.ins().band_imm_s(offset, 7);
        let bytes = bits.div_ceil(8);
        if there >= 64 && bytes > 1 && bits <= FIELD_BITS_MAX {
            let word = self.load_number(address, 0, 8);
            return self.bits_of_word(word, 64, within, bits);
        }
        // They lie in so many bytes, or in one more: the last byte comes once more or for the first
        // time. The bits behind them are not looked at.
        let before_end = self.b.ins().iadd_imm_s(within, i64::from(bits) - 1);
        let end = self.b.ins().ushr_imm_s(before_end, 3);
        let end = self.b.ins().iadd(address, end);
        let (first, last) =
            (self.load_number(address, 0, bytes as i32), self.load_number(end, 0, 1));
        if bytes == 8 {
            let eight = self.word(8);
            let unused = self.b.ins().isub(eight, within);
            let (first, last) = (self.b.ins().ishl(first, within), self.b.ins().ushr(last, unused));
            let word = self.b.ins().bor(first, last);
            return if bits == 64 {
                word
            } else {
                self.b.ins().ushr_imm_s(word, i64::from(64 - bits))
            };
        }
        let first = self.b.ins().ishl_imm_s(first, 8);
        let wide = self.b.ins().bor(first, last);
        self.bits_of_word(wide, (bytes + 1) * 8, within, bits)
    }
    /// The bits behind the first few of a number of so many bits.
    fn bits_of_word(&mut self, number: Value, width: u32, before: Value, bits: u32) -> Value {
        let most = self.word(u64::from(width - bits));
        let shift = self.b.ins().isub(most, before);
        let moved = self.b.ins().ushr(number, shift);
        self.b.ins().band_imm_s(moved, (1i64 << bits) - 1)
    }
    /// An unsigned integer of so many bits, the first the highest.
    pub(crate) fn get_field(
        &mut self,
        at: u32,
        register: Dst,
        bits: u32,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, _) = self.context(at, register);
        let fact = Fact::integer(0, (1 << bits) - 1);
        let other = self.later(move |translator| {
            let (bits, flags) = (translator.word(bits.into()), translator.word(0));
            let number = translator.assist(
                at,
                translator.source.assists.get_integer as usize,
                &[context, bits, flags],
            );
            translator.set_known(dst, number, fact);
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        let (offset, left, _) = self.require_left(at, context, bits, fail);
        let number = self.field(context, offset, left, bits, other);
        self.move_on(context, bits);
        let word = self.tag_small(number);
        self.set_known(dst, word, fact);
        self.join(at + 1)
    }
    /// Goes on here with the position and what is left from there when that is so many bits at
    /// least; else to `fail`, whose block comes third.
    fn require_left(
        &mut self,
        at: u32,
        context: Value,
        bits: u32,
        fail: i32,
    ) -> (Value, Value, Block) {
        let (offset, left) = self.offset_and_left(context);
        let enough =
            self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, i64::from(bits));
        let fail = self.target(self.relative(at, fail));
        self.require(enough, fail);
        (offset, left, fail)
    }
    /// The next bits as a number, of which there are enough; to `other` where they do not lie as
    /// they usually do.
    fn field(
        &mut self,
        context: Value,
        offset: Value,
        left: Value,
        bits: u32,
        other: Block,
    ) -> Value {
        let address = self.address_in(context, offset);
        if bits.is_multiple_of(8) {
            self.require_aligned(offset, other);
            return self.load_number(address, 0, bits as i32 / 8);
        }
        if bits > 8 {
            let whole = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, 64);
            self.require(whole, other);
        }
        self.bits_within(address, offset, bits, if bits > 8 { 64 } else { bits })
    }
    /// Bits that are known, as many as a field has.
    pub(crate) fn match_bits(
        &mut self,
        at: u32,
        register: Dst,
        bits: u32,
        wanted: u64,
        fail: i32,
    ) -> Next {
        let (context, _) = self.context(at, register);
        let other = self.later(move |translator| translator.step(at));
        let (offset, left, fail) = self.require_left(at, context, bits, fail);
        let number = self.field(context, offset, left, bits, other);
        let is = self.b.ins().icmp_imm_s(IntCC::Equal, number, wanted as i64);
        self.require(is, fail);
        self.move_on(context, bits);
        self.join(at + 1)
    }
    /// A float of 32 or 64 bits, on whole bytes.
    pub(crate) fn get_float(
        &mut self,
        at: u32,
        register: Dst,
        bits: u32,
        flags: u8,
        dst: Dst,
        fail: i32,
    ) -> Next {
        let (context, _) = self.context(at, register);
        let other = self.later(move |translator| translator.step(at));
        let (offset, _, fail) = self.require_left(at, context, bits, fail);
        self.require_aligned(offset, other);
        let address = self.address_in(context, offset);
        let mut number = self.load_bytes(address, 0, bits as i32 / 8);
        if flags & FLAG_LITTLE != 0 {
            let swapped = self.b.ins().bswap(number);
            number = if bits == 64 { swapped } else { self.b.ins().ushr_imm_s(swapped, 32) };
        }
        // Infinities and what is no number do not match.
        let (lowest, mask) = if bits == 64 { (52, 0x7ff) } else { (23, 0xff) };
        let exponent = self.b.ins().ushr_imm_s(number, lowest);
        let exponent = self.b.ins().band_imm_s(exponent, mask);
        let finite = self.b.ins().icmp_imm_s(IntCC::NotEqual, exponent, mask);
        self.require(finite, fail);
        let float = if bits == 64 {
            self.b.ins().bitcast(F64, MemFlags::new(), number)
        } else {
            let half = self.b.ins().ireduce(types::I32, number);
            let single = self.b.ins().bitcast(types::F32, MemFlags::new(), half);
            self.b.ins().fpromote(F64, single)
        };
        self.move_on(context, bits);
        self.set_float(dst, float);
        self.join(at + 1)
    }
    /// Bytes that are known.
    pub(crate) fn match_string(
        &mut self,
        at: u32,
        register: Dst,
        wanted: &[u8],
        fail: i32,
    ) -> Next {
        let (context, _) = self.context(at, register);
        let other = self.later(move |translator| {
            translator.slow(at);
        });
        let (offset, left) = self.offset_and_left(context);
        let bits = wanted.len() as u32 * 8;
        let enough =
            self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, i64::from(bits));
        let fail = self.target(self.relative(at, fail));
        self.require(enough, fail);
        self.require_aligned(offset, other);
        let address = self.address_in(context, offset);
        let mut done = 0;
        while done < wanted.len() {
            let width = [8, 4, 2, 1]
                .into_iter()
                .find(|&width| width <= wanted.len() - done)
                .expect("one byte at least");
            let number = wanted[done..done + width]
                .iter()
                .fold(0u64, |number, &byte| number << 8 | u64::from(byte));
            let (found, number) =
                (self.load_bytes(address, done as i32, width as i32), self.word(number));
            let same = self.b.ins().icmp(IntCC::Equal, found, number);
            self.require(same, fail);
            done += width;
        }
        self.move_on(context, bits);
        self.join(at + 1)
    }
}
