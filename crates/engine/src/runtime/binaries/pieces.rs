//! The commonest bitstrings: of whole bytes, from texts, binaries, characters, floats and small
//! integers.

use super::{Behind, Operand, OwnBinary, count_copied, extend, float_bits, fresh, grown, utf_of};
use crate::runtime::bit_syntax::{to_little, utf_bytes};
use smallvec::SmallVec;
use swarmrt_beam::instr::{FLAG_LITTLE, SegmentKind};
use swarmrt_machine::Process;
use swarmrt_term::Term;
use swarmrt_term::binary::Bits;

/// The bytes of a segment.
enum Piece {
    /// From this address on.
    Bytes(*const u8, usize),
    /// The lowest ones of a word, the highest first.
    Word(u64, usize),
}

impl Piece {
    /// What a segment stands for, if it is simple.
    #[inline]
    fn of(Operand { segment, value, size }: Operand<'_>) -> Option<Piece> {
        let sized = |size: Option<Term>| {
            let bits =
                usize::try_from(size?.as_small()?).ok()?.checked_mul(segment.unit as usize)?;
            bits.is_multiple_of(8).then_some(bits)
        };
        match segment.kind {
            SegmentKind::String => Some(Piece::Bytes(segment.bytes.as_ptr(), segment.bytes.len())),
            SegmentKind::Binary => {
                let bits = value.as_bits()?;
                // SAFETY: within the bitstring.
                let start = unsafe { bits.base.add(bits.bit_offset / 8) };
                let taken = match size {
                    Some(_) => sized(size).filter(|&taken| taken <= bits.bit_size)?,
                    None => bits.bit_size,
                };
                let is_whole = (bits.bit_offset | taken).is_multiple_of(8)
                    && (matches!(segment.unit, 1 | 8)
                        || size.is_some()
                        || taken.is_multiple_of(segment.unit as usize));
                is_whole.then_some(Piece::Bytes(start, taken / 8))
            }
            SegmentKind::Integer => {
                let bits = sized(size).filter(|bits| matches!(bits, 8..=64))?;
                let value = value.as_small()? as u64;
                let little = segment.flags & FLAG_LITTLE != 0;
                Some(Piece::Word(if little { to_little(value, bits) } else { value }, bits / 8))
            }
            SegmentKind::Float => {
                let bits = sized(size)?;
                Some(Piece::Word(float_bits(value, bits, segment.flags)?, bits / 8))
            }
            SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32 => {
                let code = u32::try_from(value.as_small()?).ok()?;
                let (bytes, len) = utf_bytes(utf_of(segment.kind), code, segment.flags)?;
                Some(Piece::Word(u64::from(u32::from_be_bytes(bytes)) >> (32 - 8 * len), len))
            }
            SegmentKind::Append | SegmentKind::PrivateAppend => None,
        }
    }
    fn len(&self) -> usize {
        match *self {
            Piece::Bytes(_, len) | Piece::Word(_, len) => len,
        }
    }
    /// Writes it; the address behind it.
    ///
    /// # Safety
    /// There is room for it, and what it is made of is alive.
    #[inline]
    unsafe fn write(&self, to: *mut u8) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match *self {
                Piece::Bytes(from, len) => {
                    copy(from, to, len);
                    to.add(len)
                }
                Piece::Word(word, len) => {
                    let bytes = (word << (64 - 8 * len)).to_be_bytes();
                    copy(bytes.as_ptr(), to, len);
                    to.add(len)
                }
            }
        }
    }
}

/// Copies bytes that are mostly few.
///
/// # Safety
/// As of `ptr::copy_nonoverlapping`.
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's.
    unsafe {
        match len {
            0 => {}
            1 => *to = *from,
            2..4 => copy_ends::<u16>(from, to, len),
            4..8 => copy_ends::<u32>(from, to, len),
            8..=16 => copy_ends::<u64>(from, to, len),
            _ => to.copy_from_nonoverlapping(from, len),
        }
    }
}

/// Copies bytes as the integers at their two ends, which overlap where there are fewer than two.
///
/// # Safety
/// As of `ptr::copy_nonoverlapping`; there are enough bytes for one `T`, and no more than for two.
#[inline]
unsafe fn copy_ends<T>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's; both are read before either is written.
    unsafe {
        let last = len - size_of::<T>();
        let ends = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(ends.0);
        to.add(last).cast::<T>().write_unaligned(ends.1);
    }
}

/// Builds a bitstring whose segments are all simple; `None` where one is not, or there is no
/// memory.
#[inline]
pub(super) fn create<'a>(
    p: &mut Process,
    mut operands: impl Iterator<Item = Operand<'a>>,
) -> Option<Term> {
    let first = operands.next()?;
    let appends = matches!(first.segment.kind, SegmentKind::Append | SegmentKind::PrivateAppend);
    if appends && (first.size.is_some() || !matches!(first.segment.unit, 1 | 8)) {
        return None;
    }
    let mut pieces: SmallVec<[Piece; 8]> = SmallVec::new();
    let mut bits = 0;
    for operand in (!appends).then_some(first).into_iter().chain(operands) {
        let piece = Piece::of(operand)?;
        bits += piece.len() * 8;
        pieces.push(piece);
    }
    if bits == 0 {
        return None;
    }
    join(p, appends.then_some(first), &pieces, bits)
}

/// Builds a bitstring of pieces, `bits` in all, behind what is appended to.
fn join(
    p: &mut Process,
    behind: Option<Operand<'_>>,
    pieces: &[Piece],
    bits: usize,
) -> Option<Term> {
    let write = |mut to: *mut u8| {
        for piece in pieces {
            // SAFETY: there is room for all of them, and nothing was collected.
            to = unsafe { piece.write(to) };
        }
    };
    let Some(Operand { segment, value: source, .. }) = behind else {
        count_copied(p, bits);
        let (term, base) = fresh(p, bits)?;
        write(base);
        return Some(term);
    };
    if segment.kind == SegmentKind::PrivateAppend
        && let Some(own) = OwnBinary::of_any(source).filter(|own| own.bits.is_multiple_of(8))
    {
        let before = own.bits;
        let longer = own.extend(before + bits)?;
        count_copied(p, if longer.larger.is_some() { before + bits } else { bits });
        // SAFETY: the buffer has room.
        write(unsafe { longer.base.add(before / 8) });
        longer.finish(p);
        return Some(source);
    }
    let before = source.bitstring_bits().filter(|bits| bits.is_multiple_of(8))?;
    // What is short is mostly a binary on the heap, of which a new one is made.
    Bits::shared_of(source)?;
    let (_, offset) = Bits::original_of(source);
    if !offset.is_multiple_of(8) {
        return None;
    }
    let place: Behind = match extend(p, source, before, before + bits) {
        Some(place) => place,
        None => {
            count_copied(p, before);
            grown(p, source, before, before + bits)?
        }
    };
    count_copied(p, bits);
    // SAFETY: the buffer has room.
    write(unsafe { place.base.add((place.offset + before) / 8) });
    Some(place.term(p))
}
