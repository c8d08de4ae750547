//! Building bitstrings: those of few bits in machine registers, others by the machine.

use crate::plan::facts::{Fact, kind};
use crate::translate::{Next, Translator};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData as MemFlags, Value, types};
use swarmrt_beam::instr::{BinaryPlan, FLAG_LITTLE, Instr, Segment, SegmentKind, Src};
use swarmrt_engine::layout::{self};
use swarmrt_engine::state::SCRATCH_WORDS;
use swarmrt_heap::LITERAL_BYTES_MAX;
use swarmrt_term::binary::{
    HEAP_BIN_BYTES_MAX, SHARED_HEAD_BYTES, heap_bin, shared_bin, shared_head,
};
use swarmrt_term::{Header, Subtag, Term};

/// Bits that are put together, known now or when the code runs.
#[derive(Clone, Copy)]
enum Word {
    Constant(u64),
    Value(Value),
}

impl Word {
    fn value(self, translator: &mut Translator<'_, '_>) -> Value {
        match self {
            Word::Constant(word) => translator.word(word),
            Word::Value(value) => value,
        }
    }
    fn shifted_left(self, translator: &mut Translator<'_, '_>, bits: u32) -> Word {
        match self {
            _ if bits == 0 => self,
            Word::Constant(word) => Word::Constant(word << bits),
            Word::Value(value) => {
                Word::Value(translator.b.ins().ishl_imm_s(value, i64::from(bits)))
            }
        }
    }
    fn shifted_right(self, translator: &mut Translator<'_, '_>, bits: u32) -> Word {
        match self {
            Word::Constant(word) => Word::Constant(word >> bits),
            Word::Value(value) => {
                Word::Value(translator.b.ins().ushr_imm_s(value, i64::from(bits)))
            }
        }
    }
    fn lowest(self, translator: &mut Translator<'_, '_>, bits: u32) -> Word {
        let mask = (1 << bits) - 1;
        match self {
            Word::Constant(word) => Word::Constant(word & mask),
            Word::Value(value) => Word::Value(translator.b.ins().band_imm_s(value, mask as i64)),
        }
    }
    fn or(self, translator: &mut Translator<'_, '_>, other: Word) -> Word {
        match (self, other) {
            (Word::Constant(a), Word::Constant(b)) => Word::Constant(a | b),
            _ => {
                let (a, b) = (self.value(translator), other.value(translator));
                Word::Value(translator.b.ins().bor(a, b))
            }
        }
    }
}

/// Fields one behind the other, the highest bits first.
#[derive(Default)]
struct Packed {
    full: Vec<Word>,
    /// What fills no word yet: its lowest bits, and how many.
    last: Option<(Word, u32)>,
}

impl Packed {
    fn bits(&self) -> u32 {
        self.full.len() as u32 * 64 + self.last.map_or(0, |(_, bits)| bits)
    }
    /// Adds a field, which has no bits but these.
    fn add(&mut self, translator: &mut Translator<'_, '_>, field: Word, bits: u32) {
        let (word, filled) = match self.last.take() {
            None => (field, bits),
            Some((word, before)) if before + bits <= 64 => {
                (word.shifted_left(translator, bits).or(translator, field), before + bits)
            }
            Some((word, before)) => {
                let (here, rest) = (64 - before, bits - (64 - before));
                let high = field.shifted_right(translator, rest);
                self.full.push(word.shifted_left(translator, here).or(translator, high));
                (field.lowest(translator, rest), rest)
            }
        };
        if filled == 64 {
            self.full.push(word);
        } else {
            self.last = Some((word, filled));
        }
    }
}

impl Translator<'_, '_> {
    pub(crate) fn create_binary(&mut self, at: u32, plan: &BinaryPlan) -> Next {
        if plan.sources().count() > SCRATCH_WORDS {
            return self.slow(at);
        }
        let Some(fields) = self.fields(at, plan) else { return self.create_any_binary(at) };
        let other = self.later(move |translator| {
            translator.create_any_binary(at);
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        let mut packed = Packed::default();
        for (segment, bits) in fields {
            let value = match segment.kind {
                SegmentKind::String => {
                    for bytes in segment.bytes.chunks(8) {
                        let text = bytes.iter().fold(0, |text, &byte| text << 8 | u64::from(byte));
                        packed.add(self, Word::Constant(text), bytes.len() as u32 * 8);
                    }
                    continue;
                }
                SegmentKind::Utf8 => {
                    // Only those of one byte.
                    let character = self.src(at, segment.value);
                    let small = self.is_small(character);
                    self.require(small, other);
                    let one_byte = self.b.ins().icmp_imm_s(
                        IntCC::UnsignedLessThan,
                        character,
                        Term::small(128).raw() as i64,
                    );
                    self.require(one_byte, other);
                    Word::Value(self.small_value(character))
                }
                SegmentKind::Float => self.float_field(at, segment, bits, other),
                _ => self.integer_field(at, segment, bits, other),
            };
            packed.add(self, value, bits);
        }
        let binary = match plan.segments[0].kind {
            SegmentKind::Append | SegmentKind::PrivateAppend => {
                let (word, bits) = packed
                    .last
                    .or(packed.full.first().map(|&word| (word, 64)))
                    .expect("there are fields");
                let word = word.value(self);
                let source = self.src(at, plan.segments[0].value);
                if plan.segments[0].kind == SegmentKind::PrivateAppend {
                    self.lengthen(at, source, word, bits, other)
                } else {
                    self.append(self.source.assists.append_word as usize, source, word, bits, other)
                }
            }
            _ => self.heap_binary(packed, other),
        };
        self.set_known(plan.dst, binary, Fact::of(kind::BITS));
        Next::At(at + 1)
    }
    /// A bitstring and so many bits of a word behind it, by an assist; to `other` where it makes
    /// none.
    fn append(
        &mut self,
        assist: usize,
        source: Value,
        word: Value,
        bits: u32,
        other: Block,
    ) -> Value {
        let bits = self.word(bits.into());
        let made = self.assisted(assist, &[source, word, bits]);
        self.require_term(made, other);
        made
    }
    /// A binary of whole bytes that nothing else refers to the buffer of, with so many bits of a
    /// word behind it, where its buffer has room for a word: what `append_own_word` does otherwise.
    fn lengthen(&mut self, at: u32, source: Value, word: Value, bits: u32, other: Block) -> Value {
        let assist = self.source.assists.append_own_word as usize;
        let slow = self.later(move |translator| {
            let made = translator.append(assist, source, word, bits, other);
            let Instr::BsCreateBin { plan } = translator.code()[at as usize] else {
                unreachable!("asked for by one")
            };
            translator.set_known(plan.dst, made, Fact::of(kind::BITS));
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        let boxed = self.is_boxed(source);
        self.require(boxed, slow);
        let header = self.header_of(source);
        let wanted = Header::new(Subtag::SharedBin, shared_bin::WORDS - 1).0 as i64;
        let is_shared = self.b.ins().icmp_imm_s(IntCC::Equal, header, wanted);
        self.require(is_shared, slow);
        let registers = self.registers();
        let literals = self.load(registers, layout::LITERALS);
        let distance = self.b.ins().isub(source, literals);
        let reserved = self.word(LITERAL_BYTES_MAX as u64);
        let is_no_literal =
            self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, distance, reserved);
        self.require(is_no_literal, slow);
        let size = self.load(source, layout::boxed(shared_bin::BIT_SIZE));
        let data = self.load(source, layout::boxed(shared_bin::DATA_PTR));
        let shared = self.load(source, layout::boxed(shared_bin::SHARED));
        let used = self.load(shared, shared_head::USED_BITS as i32);
        let references = self.load(shared, shared_head::REFERENCES as i32);
        let capacity = self.load(shared, shared_head::CAPACITY as i32);
        // Nothing is left of what must be equal, and of a byte that is not whole.
        let bytes = self.b.ins().iadd_imm_s(shared, SHARED_HEAD_BYTES as i64);
        let elsewhere = self.b.ins().bxor(data, bytes);
        let others = self.b.ins().bxor_imm_s(references, 1);
        let extended = self.b.ins().bxor(used, size);
        let part = self.b.ins().band_imm_s(size, 7);
        let not_alone = self.b.ins().bor(elsewhere, others);
        let not_at_end = self.b.ins().bor(extended, part);
        let differs = self.b.ins().bor(not_alone, not_at_end);
        self.require_not(differs, slow);
        let whole = self.b.ins().ushr_imm_s(size, 3);
        let word_end = self.b.ins().iadd_imm_s(whole, 8);
        let has_room = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, word_end, capacity);
        self.require(has_room, slow);
        let to = self.b.ins().iadd(data, whole);
        let highest_first = self.b.ins().ishl_imm_s(word, i64::from(64 - bits));
        let in_memory = self.b.ins().bswap(highest_first);
        self.store(in_memory, to, 0);
        let longer = self.b.ins().iadd_imm_s(size, i64::from(bits));
        self.store(longer, shared, shared_head::USED_BITS as i32);
        self.store(longer, source, layout::boxed(shared_bin::BIT_SIZE));
        source
    }
    /// The bits of a field that is a small integer, the highest first; anything else is left to
    /// `other`.
    fn integer_field(&mut self, at: u32, segment: &Segment, bits: u32, other: Block) -> Word {
        let little = bits > 8 && segment.flags & FLAG_LITTLE != 0;
        let masked = |value: u64| if bits == 64 { value } else { value & ((1 << bits) - 1) };
        if let Some(number) = self.small_constant(at, segment.value) {
            let value = masked(number as u64);
            return Word::Constant(if little { value.swap_bytes() >> (64 - bits) } else { value });
        }
        let number = self.src(at, segment.value);
        let known = self.fact(at, segment.value);
        if !known.is(kind::SMALL) {
            let small = self.is_small(number);
            self.require(small, other);
            self.facts.learn(segment.value, Fact::of(kind::SMALL));
        }
        let value = self.small_value(number);
        if little {
            return self.bytes_reversed(value, bits);
        }
        let fits = known.is(kind::SMALL) && known.min >= 0 && bits < 62 && known.max < 1 << bits;
        Word::Value(if fits || bits == 64 {
            value
        } else {
            self.b.ins().band_imm_s(value, masked(u64::MAX) as i64)
        })
    }
    /// The bits of a field of 32 or 64 that is a float or a small integer, the highest first;
    /// anything else is left to `other`.
    fn float_field(&mut self, at: u32, segment: &Segment, bits: u32, other: Block) -> Word {
        let float = self.number_as_float(at, segment.value, other);
        let value = if bits == 64 {
            self.b.ins().bitcast(types::I64, MemFlags::new(), float)
        } else {
            let single = self.b.ins().fdemote(types::F32, float);
            let half = self.b.ins().bitcast(types::I32, MemFlags::new(), single);
            self.b.ins().uextend(types::I64, half)
        };
        if segment.flags & FLAG_LITTLE == 0 {
            Word::Value(value)
        } else {
            self.bytes_reversed(value, bits)
        }
    }
    /// The lowest `bits` bits, whole bytes, in the opposite order of bytes.
    fn bytes_reversed(&mut self, value: Value, bits: u32) -> Word {
        let swapped = self.b.ins().bswap(value);
        Word::Value(if bits == 64 {
            swapped
        } else {
            self.b.ins().ushr_imm_s(swapped, i64::from(64 - bits))
        })
    }
    /// A new binary of these bits; to `other` when there is no room for it.
    fn heap_binary(&mut self, packed: Packed, other: Block) -> Value {
        let bits = packed.bits();
        let words = bits.div_ceil(64) as usize;
        self.require_room(heap_bin::DATA + words, other);
        let binary = self.bump(heap_bin::DATA + words);
        let (header, size) = (
            self.word(Header::new(Subtag::HeapBin, heap_bin::DATA - 1 + words).0),
            self.word(bits.into()),
        );
        self.store(header, binary, 0);
        self.store(size, binary, heap_bin::BIT_SIZE as i32 * 8);
        let last = packed.last.map(|(word, bits)| word.shifted_left(self, 64 - bits));
        for (number, word) in packed.full.into_iter().chain(last).enumerate() {
            let in_memory = match word {
                Word::Constant(word) => self.word(word.swap_bytes()),
                Word::Value(word) => self.b.ins().bswap(word),
            };
            self.store(in_memory, binary, (heap_bin::DATA + number) as i32 * 8);
        }
        self.b.ins().iadd_imm_s(binary, layout::BOXED_TAG)
    }
    /// The segments with their bits, behind what is appended to, where all of them are made in
    /// place: all in a word, or in a new binary on the heap.
    fn fields<'p>(&self, at: u32, plan: &'p BinaryPlan) -> Option<Vec<(&'p Segment, u32)>> {
        let mut fields = Vec::new();
        let mut total = 0;
        for (number, segment) in plan.segments.iter().enumerate() {
            let bits = match segment.kind {
                SegmentKind::Append | SegmentKind::PrivateAppend
                    if number == 0 && segment.size.is_none() && matches!(segment.unit, 1 | 8) =>
                {
                    continue;
                }
                SegmentKind::String => segment.bytes.len() as u32 * 8,
                SegmentKind::Utf8 => 8,
                SegmentKind::Integer | SegmentKind::Float => {
                    let size = self.small_constant(at, segment.size?)?;
                    let bits = u32::try_from(size.checked_mul(segment.unit.into())?).ok()?;
                    if segment.kind == SegmentKind::Float && !matches!(bits, 32 | 64) {
                        return None;
                    }
                    let in_place = (1..=64).contains(&bits)
                        && (bits <= 8
                            || bits.is_multiple_of(8)
                            || segment.flags & FLAG_LITTLE == 0);
                    in_place.then_some(bits)?
                }
                _ => return None,
            };
            total += bits;
            let appended =
                matches!(plan.segments[0].kind, SegmentKind::Append | SegmentKind::PrivateAppend);
            if total > if appended { 64 } else { HEAP_BIN_BYTES_MAX as u32 * 8 } {
                return None;
            }
            fields.push((segment, bits));
        }
        (total > 0).then_some(fields)
    }
    fn create_any_binary(&mut self, at: u32) -> Next {
        let Instr::BsCreateBin { plan } = self.code()[at as usize] else {
            unreachable!("asked for by one")
        };
        let sources: Vec<Src> = plan.sources().collect();
        let values = self.values(at, &sources);
        let (ip, values) = (self.instr(at), self.spread(&values));
        let binary = self.assist_or(
            at,
            self.source.assists.create_binary as usize,
            &[ip, values],
            (plan.fail != 0).then_some(plan.fail),
        );
        self.set_known(plan.dst, binary, Fact::of(kind::BITS));
        Next::At(at + 1)
    }
}
