//! Matching and building of bitstrings.

mod pieces;

use super::bit_syntax::{self, BitWriter};
use smallvec::SmallVec;
use swarmrt_beam::instr::{BinaryPlan, MatchPlan, MatchStep, Segment, SegmentKind, Src, Utf};
use swarmrt_heap::literal::is_literal;
use swarmrt_machine::{BifExit, Process};
use swarmrt_term::binary::{HEAP_BIN_BYTES_MAX, SharedBytes, shared_bin, sub_bin};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Atom, Bits, Header, MatchContext, Subtag, Term, am};

/// A match context for a bitstring or for a context (a copy of its state); `None` for anything
/// else.
pub fn start_match(p: &mut Process, source: Term) -> Option<Term> {
    if source.as_match_context().is_some() {
        return Some(source);
    }
    let bits = source.bitstring_bits()?;
    let (original, offset) = Bits::original_of(source);
    let ptr = p.alloc(MatchContext::WORDS);
    // SAFETY: the words of a context were given.
    unsafe {
        *ptr = Header::new(Subtag::MatchContext, MatchContext::WORDS - 1).0;
        *ptr.add(1) = offset as u64;
        *ptr.add(2) = (offset + bits) as u64;
        *ptr.add(3) = original.raw();
    }
    Some(Term::from_boxed_ptr(ptr))
}

/// The size in bits of `size` units, when it is a size and that much is left.
#[inline]
pub fn wanted_bits(context: MatchContext, size: Term, unit: usize) -> Option<usize> {
    let size = usize::try_from(size.as_small()?).ok()?;
    let bits = size.checked_mul(unit)?;
    (bits <= context.end() - context.offset()).then_some(bits)
}

/// The bits from the position on, which moves past them.
#[inline]
pub fn take_bits(context: MatchContext, size: usize) -> Bits {
    let bits = bit_syntax::remaining(context).slice(0, size);
    context.set_offset(context.offset() + size);
    bits
}

/// The integer of `size` bits from the position on, which moves past them; where it is larger than
/// the largest integer there is none, and the position stays.
#[inline]
pub fn take_integer(
    p: &mut Process,
    context: MatchContext,
    size: usize,
    flags: u8,
) -> Option<Term> {
    let before = context.offset();
    let integer = bit_syntax::read_integer(&mut p.heap, take_bits(context, size), flags);
    if integer.is_none() {
        context.set_offset(before);
    }
    integer
}

/// The part of the original from the position on, `size` bits long, as a term; the position moves
/// past it.
pub fn take_part(p: &mut Process, context: MatchContext, size: usize) -> Term {
    let offset = context.offset();
    context.set_offset(offset + size);
    p.heap.part(context.original(), offset, size)
}

/// Why a segment cannot be built: what `erl_erts_errors` explains.
pub struct BuildError {
    reason: Atom,
    segment: u32,
    kind: SegmentKind,
    problem: &'static str,
    value: Term,
}

impl BuildError {
    fn new(segment: &Segment, reason: Atom, problem: &'static str, value: Term) -> BuildError {
        BuildError { reason, segment: segment.number, kind: segment.kind, problem, value }
    }
    fn badarg(segment: &Segment, problem: &'static str, value: Term) -> BuildError {
        BuildError::new(segment, am::BADARG, problem, value)
    }
    fn limit(segment: &Segment, value: Term) -> BuildError {
        BuildError::new(segment, am::SYSTEM_LIMIT, "size", value)
    }

    /// The error with its `error_info`.
    pub fn raise(&self, p: &mut Process) -> BifExit {
        let kind = match self.kind {
            SegmentKind::Append | SegmentKind::PrivateAppend | SegmentKind::Binary => "binary",
            SegmentKind::Float => "float",
            SegmentKind::Integer => "integer",
            SegmentKind::String => "string",
            SegmentKind::Utf8 => "utf8",
            SegmentKind::Utf16 => "utf16",
            SegmentKind::Utf32 => "utf32",
        };
        let atom = |name| Term::atom(Atom::new(name));
        let cause = p.tuple(&[
            Term::small(i64::from(self.segment)),
            atom(kind),
            atom(self.problem),
            self.value,
        ]);
        let pairs = [
            (Term::atom(am::CAUSE), cause),
            (atom("function"), atom("format_bs_fail")),
            (Term::atom(am::MODULE), Term::atom(am::ERL_ERTS_ERRORS)),
        ];
        let info = swarmrt_term::map::from_pairs(&mut p.heap, &pairs);
        let info = p.tuple(&[Term::atom(am::ERROR_INFO), info]);
        BifExit::WithArgs { reason: Term::atom(self.reason), args: Term::NONE, option: Some(info) }
    }
}

/// A segment, and what its sources are.
#[derive(Clone, Copy)]
struct Operand<'a> {
    segment: &'a Segment,
    value: Term,
    size: Option<Term>,
}

/// The segments of a plan with the values of its sources.
#[inline]
fn operands(
    segments: &[Segment],
    mut values: impl Iterator<Item = Term>,
) -> impl Iterator<Item = Operand<'_>> {
    let mut next = move || values.next().expect("each source has a value");
    segments.iter().map(move |segment| Operand {
        segment,
        value: next(),
        size: segment.size.map(|_| next()),
    })
}

struct Sized<'a> {
    segment: &'a Segment,
    value: Term,
    bits: usize,
}

/// Bits of the largest bitstring that is tried.
const BITS_MAX: usize = 1 << 48;

/// The bits that the size of a segment says; `None` without one.
#[inline]
fn explicit_bits(segment: &Segment, size: Option<Term>) -> Result<Option<usize>, BuildError> {
    let Some(size) = size.filter(|_| !is_of_own_size(segment)) else { return Ok(None) };
    let Some(small) = size.as_small() else {
        let large = size.as_big().is_some_and(|big| !big.is_negative());
        return Err(if large {
            BuildError::limit(segment, size)
        } else {
            BuildError::badarg(segment, "size", size)
        });
    };
    let count = usize::try_from(small).map_err(|_| BuildError::badarg(segment, "size", size))?;
    let bits = count.checked_mul(segment.unit as usize).filter(|&bits| bits < BITS_MAX);
    bits.map(Some).ok_or_else(|| BuildError::limit(segment, size))
}

/// Whether the value alone says how many bits a segment takes.
#[inline]
fn is_of_own_size(segment: &Segment) -> bool {
    matches!(
        segment.kind,
        SegmentKind::String | SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32
    )
}

/// The bits of a character.
fn character_bits(segment: &Segment, value: Term) -> Result<usize, BuildError> {
    let code = value.as_small().and_then(|code| u32::try_from(code).ok());
    let length = code
        .and_then(|code| bit_syntax::utf_bytes(utf_of(segment.kind), code, segment.flags))
        .map(|(_, length)| length * 8);
    length.ok_or_else(|| BuildError::badarg(segment, "type", value))
}

/// The bits of a whole bitstring, or of a character in UTF-32.
#[inline]
fn implicit_bits(segment: &Segment, value: Term) -> Result<usize, BuildError> {
    match segment.kind {
        SegmentKind::String => Ok(segment.bytes.len() * 8),
        SegmentKind::Utf32 => character_bits(segment, value),
        // These are looked at in their turn.
        SegmentKind::Utf8 | SegmentKind::Utf16 => Ok(0),
        _ => {
            let bits =
                value.as_bits().ok_or_else(|| BuildError::badarg(segment, "type", value))?.bit_size;
            let fits = bits.is_multiple_of(segment.unit as usize);
            if fits { Ok(bits) } else { Err(BuildError::badarg(segment, "unit", value)) }
        }
    }
}

/// Looks at the value of a segment that takes `bits`; the bits that it takes.
#[inline]
fn checked_bits(
    segment: &Segment,
    value: Term,
    size: Option<Term>,
    bits: usize,
) -> Result<usize, BuildError> {
    let wrong_type = || BuildError::badarg(segment, "type", value);
    match segment.kind {
        SegmentKind::Utf8 | SegmentKind::Utf16 => character_bits(segment, value),
        SegmentKind::Integer if !value.is_integer() => Err(wrong_type()),
        SegmentKind::Float if !value.is_number() => Err(wrong_type()),
        SegmentKind::Float if !matches!(bits, 16 | 32 | 64) => {
            Err(BuildError::badarg(segment, "invalid", size.unwrap_or(Term::small(bits as i64))))
        }
        SegmentKind::Binary | SegmentKind::Append | SegmentKind::PrivateAppend => {
            match value.as_bits() {
                None => Err(wrong_type()),
                Some(source) if source.bit_size < bits => {
                    Err(BuildError::badarg(segment, "short", value))
                }
                Some(_) => Ok(bits),
            }
        }
        _ => Ok(bits),
    }
}

/// The bits of a segment, once its size and the type of its value are found right.
#[inline]
fn segment_bits(segment: &Segment, value: Term, size: Option<Term>) -> Result<usize, BuildError> {
    let bits = match explicit_bits(segment, size)? {
        Some(bits) => bits,
        None => implicit_bits(segment, value)?,
    };
    checked_bits(segment, value, size, bits)
}

/// Whether OTP looks at this character when it looks at the sizes. (That UTF-8 is among them was
/// seen in OTP 27 and 29.)
fn is_sized_by_character(segment: &Segment) -> bool {
    match segment.kind {
        SegmentKind::Utf32 => true,
        SegmentKind::Utf8 => release::current() >= Release::R27,
        _ => false,
    }
}

/// The error that OTP finds first: what is wrong with a size comes before what is wrong with any
/// other value.
#[cold]
fn first_error(operands: &[Operand<'_>]) -> Option<BuildError> {
    let mut sizes = Vec::with_capacity(operands.len());
    for &Operand { segment, value, size } in operands {
        let bits = if is_sized_by_character(segment) {
            character_bits(segment, value).map(Some)
        } else {
            explicit_bits(segment, size)
        };
        match bits {
            Ok(bits) => sizes.push(bits),
            Err(error) => return Some(error),
        }
    }
    for (&Operand { segment, value, .. }, bits) in operands.iter().zip(&mut sizes) {
        if bits.is_none() {
            match implicit_bits(segment, value) {
                Ok(found) => *bits = Some(found),
                Err(error) => return Some(error),
            }
        }
    }
    operands.iter().zip(sizes).find_map(|(&Operand { segment, value, size }, bits)| {
        checked_bits(segment, value, size, bits?).err()
    })
}

/// Counts the reductions that copying so many bits takes.
#[inline]
fn count_copied(p: &mut Process, bits: usize) {
    const BYTES_PER_REDUCTION: usize = 1024;
    let reductions = bits / 8 / BYTES_PER_REDUCTION;
    if reductions > 0 {
        p.bump_reductions(reductions);
    }
}

/// Builds a bitstring from the values of the plan's sources.
///
/// # Errors
/// The segment that cannot be built, and why.
#[inline]
pub fn create(
    p: &mut Process,
    plan: &BinaryPlan,
    values: impl Iterator<Item = Term> + Clone,
) -> Result<Term, BuildError> {
    match pieces::create(p, operands(&plan.segments, values.clone())) {
        Some(made) => Ok(made),
        None => create_any(p, &operands(&plan.segments, values).collect::<SmallVec<[_; 8]>>()),
    }
}

/// [`create`] for segments of any kind.
fn create_any(p: &mut Process, operands: &[Operand<'_>]) -> Result<Term, BuildError> {
    let mut sized: SmallVec<[Sized<'_>; 8]> = SmallVec::new();
    let mut total = 0usize;
    for (at, &Operand { segment, value, size }) in operands.iter().enumerate() {
        let bits = match segment_bits(segment, value, size) {
            Ok(bits) => bits,
            Err(error) => {
                // Nothing is wrong with those before.
                return Err(first_error(&operands[at..]).unwrap_or(error));
            }
        };
        total += bits;
        if total >= BITS_MAX {
            return Err(BuildError::limit(segment, size.unwrap_or(value)));
        }
        sized.push(Sized { segment, value, bits });
    }
    let Some(first) = sized.first() else { return Ok(p.heap.heap_bin(0).0) };
    if matches!(first.segment.kind, SegmentKind::Append | SegmentKind::PrivateAppend) {
        // What is appended to stays where it is, or is counted when it is copied.
        count_copied(p, total - first.bits);
        return append(p, first, &sized[1..], total);
    }
    count_copied(p, total);
    let (term, base) =
        fresh(p, total).ok_or_else(|| BuildError::limit(first.segment, first.value))?;
    write_all(&sized, BitWriter { base, bit_position: 0 })?;
    Ok(term)
}

/// The bits of a number as a float of `bits` bits, the first one the highest.
#[inline]
fn float_bits(value: Term, bits: usize, flags: u8) -> Option<u64> {
    let float = value.as_float().or_else(|| swarmrt_term::bigint::to_f64(value))?;
    bit_syntax::float_bits(float, bits, flags)
}

fn utf_of(kind: SegmentKind) -> Utf {
    match kind {
        SegmentKind::Utf16 => Utf::Utf16,
        SegmentKind::Utf32 => Utf::Utf32,
        _ => Utf::Utf8,
    }
}

/// A new bitstring of `bits` bits, to be filled.
fn fresh(p: &mut Process, bits: usize) -> Option<(Term, *mut u8)> {
    let bytes = bits.div_ceil(8);
    if bytes <= HEAP_BIN_BYTES_MAX {
        return Some(p.heap.heap_bin(bits));
    }
    let shared = SharedBytes::try_with_capacity(bytes, bytes)?;
    let base = shared.data();
    if !bits.is_multiple_of(8) {
        // SAFETY: the last byte is within the buffer; its padding is to be zero.
        unsafe { *base.add(bytes - 1) = 0 };
    }
    Some((p.heap.shared_bin(shared, 0, bits), base))
}

fn write_all(segments: &[Sized<'_>], mut writer: BitWriter) -> Result<(), BuildError> {
    for Sized { segment, value, bits } in segments {
        let written = match segment.kind {
            SegmentKind::String => {
                writer.bytes(&segment.bytes);
                true
            }
            SegmentKind::Integer => writer.integer(*value, *bits, segment.flags),
            SegmentKind::Float => match float_bits(*value, *bits, segment.flags) {
                Some(word) => {
                    writer.word(word, *bits);
                    true
                }
                None => false,
            },
            SegmentKind::Binary | SegmentKind::Append | SegmentKind::PrivateAppend => {
                writer.bitstring(Bits::of(*value).slice(0, *bits));
                true
            }
            SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32 => {
                let code = value.as_small().unwrap_or(0) as u32;
                match bit_syntax::utf_bytes(utf_of(segment.kind), code, segment.flags) {
                    Some((bytes, length)) => {
                        writer.bytes(&bytes[..length]);
                        true
                    }
                    None => false,
                }
            }
        };
        if !written {
            let problem = if segment.kind == SegmentKind::Float { "no_float" } else { "type" };
            return Err(BuildError::badarg(segment, problem, *value));
        }
    }
    Ok(())
}

/// Builds `source` followed by the segments: in place behind `source` where nobody has done so
/// before and there is room, else in a new buffer that leaves room for more.
fn append(
    p: &mut Process,
    first: &Sized<'_>,
    rest: &[Sized<'_>],
    total: usize,
) -> Result<Term, BuildError> {
    let (source, source_bits) = (first.value, first.bits);
    let limit = || BuildError::limit(first.segment, source);
    if first.segment.kind == SegmentKind::PrivateAppend
        && let Some(own) = OwnBinary::of(source, source_bits)
    {
        let behind = own.extend(total).ok_or_else(limit)?;
        if behind.larger.is_some() {
            count_copied(p, source_bits);
        }
        write_all(rest, behind.writer(source_bits))?;
        behind.finish(p);
        return Ok(source);
    }
    if total == source_bits && Bits::of(source).bit_size == total {
        return Ok(source);
    }
    if total.div_ceil(8) <= HEAP_BIN_BYTES_MAX
        && Bits::shared_of(source).is_none()
        && source_bits == 0
    {
        let (term, base) = fresh(p, total).ok_or_else(limit)?;
        write_all(rest, BitWriter { base, bit_position: 0 })?;
        return Ok(term);
    }
    let place = match extend(p, source, source_bits, total) {
        Some(place) => place,
        None => {
            count_copied(p, source_bits);
            grown(p, source, source_bits, total).ok_or_else(limit)?
        }
    };
    write_all(rest, place.writer())?;
    Ok(place.term(p))
}

/// Room behind a bitstring, and what the longer one will be: a part of a whole that takes up all of
/// its buffer.
struct Behind {
    base: *mut u8,
    source_bits: usize,
    whole: Term,
    offset: usize,
    total: usize,
}

impl Behind {
    fn writer(&self) -> BitWriter {
        BitWriter { base: self.base, bit_position: self.offset + self.source_bits }
    }
    fn term(&self, p: &mut Process) -> Term {
        p.heap.sub_binary(self.whole, self.offset, self.total)
    }
}

/// A shared binary that nothing else refers to the buffer of, and that ends where its buffer is
/// used up to: what a comprehension builds. It is lengthened in place, so that every register that
/// holds it has the longer one: code of OTP 29 goes on with the term it appended to.
struct OwnBinary {
    at: *mut u64,
    /// The reference that the term holds, borrowed.
    shared: std::mem::ManuallyDrop<SharedBytes>,
    bits: usize,
}

impl OwnBinary {
    /// The first `source_bits` of a bitstring, where it has no more.
    #[inline]
    fn of(source: Term, source_bits: usize) -> Option<OwnBinary> {
        OwnBinary::of_any(source).filter(|own| own.bits == source_bits)
    }
    #[inline]
    fn of_any(source: Term) -> Option<OwnBinary> {
        if !source.is_boxed() || !source.boxed_header().has(Subtag::SharedBin) || is_literal(source)
        {
            return None;
        }
        let at = source.boxed_ptr();
        // SAFETY: the words of a shared binary, whose buffer is alive as long as the term.
        let (bits, data, shared) = unsafe {
            let shared =
                std::mem::ManuallyDrop::new(SharedBytes::from_raw(*at.add(shared_bin::SHARED)));
            (*at.add(shared_bin::BIT_SIZE) as usize, *at.add(shared_bin::DATA_PTR) as usize, shared)
        };
        let is_own = data == shared.data() as usize && shared.references() == 1;
        is_own.then_some(OwnBinary { at, shared, bits })
    }
    /// Puts the lowest `bits` bits of a word behind whole bytes, where the buffer has room for a
    /// word there.
    #[inline]
    fn add_word(&self, word: u64, bits: usize) -> bool {
        let whole = self.bits / 8;
        let has_room = bits > 0
            && self.bits.is_multiple_of(8)
            && whole + 8 <= self.shared.capacity()
            && self.shared.try_extend(self.bits, self.bits + bits);
        if has_room {
            // SAFETY: the buffer has these bytes, and nobody else refers to it; the words of a
            // shared binary.
            unsafe {
                let to = self.shared.data().add(whole).cast::<u64>();
                to.write_unaligned((word << (64 - bits)).to_be());
                *self.at.add(shared_bin::BIT_SIZE) = (self.bits + bits) as u64;
            }
        }
        has_room
    }
    /// Room for `total` bits in all, in the buffer or in a new one; `None` where there is no
    /// memory.
    #[inline]
    fn extend(self, total: usize) -> Option<Lengthened> {
        if self.shared.try_extend(self.bits, total) {
            return Some(Lengthened { at: self.at, base: self.shared.data(), total, larger: None });
        }
        let larger = larger_buffer(total)?;
        // SAFETY: both have that many bytes.
        unsafe {
            larger.data().copy_from_nonoverlapping(self.shared.data(), self.bits.div_ceil(8));
        };
        Some(Lengthened { at: self.at, base: larger.data(), total, larger: Some(larger) })
    }
}

/// A binary that is being lengthened in place.
struct Lengthened {
    at: *mut u64,
    base: *mut u8,
    total: usize,
    /// The buffer that it will have, where the old one is too small.
    larger: Option<SharedBytes>,
}

impl Lengthened {
    fn writer(&self, source_bits: usize) -> BitWriter {
        BitWriter { base: self.base, bit_position: source_bits }
    }
    /// All of it is written.
    #[inline]
    fn finish(self, p: &mut Process) {
        // SAFETY: a shared binary of the process's; the old buffer's reference was its alone.
        unsafe {
            *self.at.add(shared_bin::BIT_SIZE) = self.total as u64;
            if let Some(larger) = self.larger {
                p.heap.off_heap().bytes += larger.capacity();
                *self.at.add(shared_bin::DATA_PTR) = self.base as u64;
                let old =
                    std::mem::replace(&mut *self.at.add(shared_bin::SHARED), larger.into_raw());
                drop(SharedBytes::from_raw(old));
            }
        }
    }
}

/// As [`append_word`], for what a comprehension builds.
pub fn append_own_word(p: &mut Process, source: Term, word: u64, bits: usize) -> Option<Term> {
    let Some(own) = OwnBinary::of_any(source).filter(|own| own.bits.is_multiple_of(8)) else {
        return append_word(p, source, word, bits);
    };
    if own.add_word(word, bits) {
        return Some(source);
    }
    let source_bits = own.bits;
    let longer = own.extend(source_bits + bits)?;
    longer.writer(source_bits).word(word, bits);
    longer.finish(p);
    Some(source)
}

/// Room behind the first `source_bits` of a bitstring for `total` in all, where nobody has put
/// anything yet.
fn extend(p: &mut Process, source: Term, source_bits: usize, total: usize) -> Option<Behind> {
    let (original, offset) = Bits::original_of(source);
    let raw = Bits::shared_of(source)?;
    // SAFETY: the shared buffer is alive as long as the term, and the borrowed reference is
    // forgotten.
    let shared = unsafe { std::mem::ManuallyDrop::new(SharedBytes::from_raw(raw)) };
    // SAFETY: the original is a shared binary; its data lies in the buffer.
    let (data, bits) = unsafe {
        (
            *original.boxed_ptr().add(shared_bin::DATA_PTR) as usize,
            *original.boxed_ptr().add(shared_bin::BIT_SIZE) as usize,
        )
    };
    let end = offset + total;
    if data != shared.data() as usize || !shared.try_extend(offset + source_bits, end) {
        return None;
    }
    // A part of what takes up the buffer needs nothing more.
    let whole = if bits >= end {
        original
    } else {
        p.heap.shared_bin((*shared).clone(), 0, shared.capacity() * 8)
    };
    Some(Behind { base: shared.data(), source_bits, whole, offset, total })
}

/// A new buffer for `total` bits, which are claimed, and as much again.
fn larger_buffer(total: usize) -> Option<SharedBytes> {
    const BYTES_MIN: usize = 256;
    let shared = SharedBytes::try_with_capacity((total.div_ceil(8) * 2).max(BYTES_MIN), 0)?;
    let claimed = shared.try_extend(0, total);
    debug_assert!(claimed, "a new buffer is all ours");
    Some(shared)
}

/// A copy of the first `source_bits` of a bitstring, with room for `total` and as much again.
fn grown(p: &mut Process, source: Term, source_bits: usize, total: usize) -> Option<Behind> {
    let shared = larger_buffer(total)?;
    let (base, capacity) = (shared.data(), shared.capacity());
    BitWriter { base, bit_position: 0 }.bitstring(Bits::of(source).slice(0, source_bits));
    let whole = p.heap.shared_bin(shared, 0, capacity * 8);
    Some(Behind { base, source_bits, whole, offset: 0, total })
}

/// The commonest case of [`append_word`], in one go: whole bytes go behind a part of a whole that
/// takes up all of its buffer.
fn append_bytes(p: &mut Process, source: Term, word: u64, bits: usize) -> Option<Term> {
    if !source.is_boxed() || !source.boxed_header().has(Subtag::SubBin) || bits == 0 {
        return None;
    }
    let (original, offset) = Bits::original_of(source);
    // SAFETY: the header says that it is a sub-binary, and that its original is a shared one, whose
    // buffer is alive as long as the term; the borrowed reference is forgotten.
    let (size, data, whole, shared) = unsafe {
        let size = *source.boxed_ptr().add(sub_bin::BIT_SIZE) as usize;
        if !original.boxed_header().has(Subtag::SharedBin) {
            return None;
        }
        let of = original.boxed_ptr();
        let shared =
            std::mem::ManuallyDrop::new(SharedBytes::from_raw(*of.add(shared_bin::SHARED)));
        (
            size,
            *of.add(shared_bin::DATA_PTR) as usize,
            *of.add(shared_bin::BIT_SIZE) as usize,
            shared,
        )
    };
    let (from, end) = (offset + size, offset + size + bits);
    if !(from | size | bits).is_multiple_of(8)
        || end > whole
        || data != shared.data() as usize
        || !shared.try_extend(from, end)
    {
        return None;
    }
    // SAFETY: the bytes were claimed just now, and are within the buffer.
    unsafe {
        let to = shared.data().add(from / 8);
        match bits {
            8 => *to = word as u8,
            32 => to.cast::<u32>().write_unaligned((word as u32).to_be()),
            _ => {
                to.copy_from_nonoverlapping((word << (64 - bits)).to_be_bytes().as_ptr(), bits / 8);
            }
        }
    }
    Some(p.heap.sub_binary(original, offset, size + bits))
}

/// A bitstring with the lowest `bits` bits of a word behind it; `None` when it is none, or is not
/// whole bytes.
pub fn append_word(p: &mut Process, source: Term, word: u64, bits: usize) -> Option<Term> {
    if let Some(longer) = append_bytes(p, source, word, bits) {
        return Some(longer);
    }
    let source_bits = source.as_bits().filter(|bits| bits.is_binary())?.bit_size;
    let total = source_bits + bits;
    if total.div_ceil(8) <= HEAP_BIN_BYTES_MAX
        && source_bits == 0
        && Bits::shared_of(source).is_none()
    {
        return Some(word_binary(p, word, bits));
    }
    let place = match extend(p, source, source_bits, total) {
        Some(place) => place,
        None => grown(p, source, source_bits, total)?,
    };
    place.writer().word(word, bits);
    Some(place.term(p))
}

/// A new bitstring of the lowest `bits` bits of a word.
fn word_binary(p: &mut Process, word: u64, bits: usize) -> Term {
    let (term, base) = p.heap.heap_bin(bits);
    BitWriter { base, bit_position: 0 }.word(word, bits);
    term
}

/// An empty binary with room to grow to `bytes`.
pub fn init_writable(p: &mut Process, bytes: Term) -> Term {
    // The compiler says how much it will be, or 256 where it does not know.
    let capacity = bytes.as_small().map_or(256, |bytes| bytes.clamp(0, 1 << 30) as usize);
    match SharedBytes::try_with_capacity(capacity, 0) {
        Some(shared) => p.heap.shared_bin(shared, 0, 0),
        None => p.heap.heap_bin(0).0,
    }
}

/// Runs the steps of `bs_match`; whether all match. Destinations are given to `set`.
pub fn run_plan(
    p: &mut Process,
    plan: &MatchPlan,
    context: MatchContext,
    resolve: impl Fn(Src) -> Term,
    mut set: impl FnMut(swarmrt_beam::instr::Dst, Term),
) -> bool {
    for step in &plan.steps {
        let left = context.end() - context.offset();
        match *step {
            MatchStep::EnsureAtLeast { bits, unit } => {
                if left < bits || !(left - bits).is_multiple_of(unit) {
                    return false;
                }
            }
            MatchStep::EnsureExactly { bits } => {
                if left != bits {
                    return false;
                }
            }
            MatchStep::Binary { bits, dst } => {
                if left < bits {
                    return false;
                }
                let part = take_part(p, context, bits);
                set(dst, part);
            }
            MatchStep::Integer { bits, flags, dst } => {
                if left < bits {
                    return false;
                }
                let Some(integer) = take_integer(p, context, bits, flags) else { return false };
                set(dst, integer);
            }
            MatchStep::Skip { bits } => {
                if left < bits {
                    return false;
                }
                context.set_offset(context.offset() + bits);
            }
            MatchStep::GetTail { dst } => {
                let offset = context.offset();
                let tail = p.heap.part(context.original(), offset, left);
                set(dst, tail);
            }
            MatchStep::Equals { bits, value } => {
                if left < bits || bits > 64 {
                    return false;
                }
                let read = take_integer(p, context, bits, 0);
                if !read.is_some_and(|read| swarmrt_term::equal_exact(read, resolve(value))) {
                    return false;
                }
            }
        }
    }
    true
}
