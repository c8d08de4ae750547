//! The bit syntax: reading integers, floats and characters out of bitstrings, and building
//! bitstrings of them. Both engines and the built-ins call this.

use swarmrt_beam::instr::{FLAG_LITTLE, FLAG_SIGNED, Utf};
use swarmrt_term::bigint::bits_max;
use swarmrt_term::{Alloc, Bits, MatchContext, Term};

/// The bits that a match context has left, from its position.
#[inline]
pub fn remaining(context: MatchContext) -> Bits {
    let data = Bits::of(context.original());
    let offset = context.offset();
    // SAFETY: the position is within the original.
    Bits {
        base: unsafe { data.base.add(offset / 8) },
        bit_offset: offset & 7,
        bit_size: context.end() - offset,
    }
}

/// Up to 64 bits as an unsigned number, first bit most significant.
#[inline]
pub fn read_bits(bits: Bits) -> u64 {
    debug_assert!(bits.bit_size <= 64);
    let size = bits.bit_size;
    if size == 0 {
        return 0;
    }
    let last = bits.bit_offset + size;
    let bytes = last.div_ceil(8);
    // SAFETY: all bytes read hold some of the bits.
    unsafe {
        if bytes <= 8 {
            let mut value = 0u64;
            for index in 0..bytes {
                value = value << 8 | u64::from(*bits.base.add(index));
            }
            value >>= bytes * 8 - last;
            if size == 64 { value } else { value & ((1 << size) - 1) }
        } else {
            let mut value = 0u128;
            for index in 0..bytes {
                value = value << 8 | u128::from(*bits.base.add(index));
            }
            value >>= bytes * 8 - last;
            (value & ((1u128 << size) - 1)) as u64
        }
    }
}

/// The integer that the bits encode; `None` when it is larger than the largest integer, which then
/// is no match.
pub fn read_integer<A: Alloc + ?Sized>(heap: &mut A, bits: Bits, flags: u8) -> Option<Term> {
    let size = bits.bit_size;
    if size == 0 {
        return Some(Term::small(0));
    }
    let little = flags & FLAG_LITTLE != 0;
    let signed = flags & FLAG_SIGNED != 0;
    if size <= 64 {
        let mut value = read_bits(bits);
        if little && size > 8 {
            value = little_endian(value, size);
        }
        if signed && value >> (size - 1) & 1 == 1 {
            let value = (value | if size == 64 { 0 } else { u64::MAX << size }) as i64;
            return Some(heap.int(value));
        }
        return Some(heap.uint(value));
    }
    // Least significant byte first.
    let whole = size / 8;
    let rest = size % 8;
    let mut bytes: Vec<u8> = Vec::with_capacity(size.div_ceil(8));
    if little {
        bytes.extend((0..whole).map(|index| bits.byte(index)));
        if rest > 0 {
            bytes.push(read_bits(bits.slice(whole * 8, rest)) as u8);
        }
    } else {
        // The first byte read may be incomplete, so that the others are whole.
        let mut at = size;
        while at >= 8 {
            at -= 8;
            bytes.push(read_bits(bits.slice(at, 8)) as u8);
        }
        if at > 0 {
            bytes.push(read_bits(bits.slice(0, at)) as u8);
        }
    }
    let mut digits = vec![0u64; bytes.len().div_ceil(8)];
    for (index, &byte) in bytes.iter().enumerate() {
        digits[index / 8] |= u64::from(byte) << (index % 8 * 8);
    }
    let top = size - 1;
    let negative = signed && digits[top / 64] >> (top % 64) & 1 == 1;
    if negative {
        if !size.is_multiple_of(64) {
            let last = digits.len() - 1;
            digits[last] |= u64::MAX << (size % 64);
        }
        negate(&mut digits);
    }
    let used = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
    let bits_used =
        used * 64 - digits[..used].last().map_or(0, |digit| digit.leading_zeros() as usize);
    (bits_used <= bits_max()).then(|| heap.big(negative, &digits))
}

/// The value of `size` bits read big-endian, when they were written little-endian.
fn little_endian(value: u64, size: usize) -> u64 {
    let whole = size / 8;
    let rest = size % 8;
    let mut result = 0u64;
    for index in 0..whole {
        let byte = value >> (size - 8 * (index + 1)) & 0xff;
        result |= byte << (8 * index);
    }
    if rest > 0 {
        result |= (value & ((1 << rest) - 1)) << (8 * whole);
    }
    result
}

fn negate(digits: &mut [u64]) {
    let mut carry = true;
    for digit in digits {
        let (value, overflow) = (!*digit).overflowing_add(u64::from(carry));
        *digit = value;
        carry = overflow;
    }
}

/// The float of 16, 32 or 64 bits, or zero for no bits; `None` when it is no number, or the size is
/// another.
pub fn read_float(bits: Bits, flags: u8) -> Option<f64> {
    let size = bits.bit_size;
    if size == 0 {
        return Some(0.0);
    }
    if !matches!(size, 16 | 32 | 64) {
        return None;
    }
    let mut value = read_bits(bits);
    if flags & FLAG_LITTLE != 0 {
        value = little_endian(value, size);
    }
    let value = match size {
        16 => half_to_f64(value as u16),
        32 => f64::from(f32::from_bits(value as u32)),
        _ => f64::from_bits(value),
    };
    value.is_finite().then_some(value)
}

fn half_to_f64(half: u16) -> f64 {
    let sign = if half & 0x8000 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from(half >> 10 & 0x1f);
    let fraction = f64::from(half & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 => f64::NAN,
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

fn f64_to_half(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000u16 } else { 0 };
    let magnitude = value.abs();
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 2f64.powi(-14) {
        return sign | (magnitude * 2f64.powi(24)).round_ties_even() as u16;
    }
    let exponent = (magnitude.to_bits() >> 52) as i32 - 1023;
    let scaled = (magnitude * 2f64.powi(10 - exponent)).round_ties_even() as u32;
    sign | ((((exponent + 15) as u32) << 10) + (scaled - 1024)) as u16
}

/// A character at the start of the bits, and how many bits it takes.
pub fn read_utf(utf: Utf, bits: Bits, flags: u8) -> Option<(u32, usize)> {
    let unit = |at: usize, size: usize| -> Option<u64> {
        if bits.bit_size < at + size {
            return None;
        }
        let value = read_bits(bits.slice(at, size));
        Some(if flags & FLAG_LITTLE != 0 && size > 8 { little_endian(value, size) } else { value })
    };
    let (value, used) = match utf {
        Utf::Utf8 => {
            let first = unit(0, 8)? as u32;
            let (length, minimum, mut value) = match first {
                0..=0x7f => return Some((first, 8)),
                0xc2..=0xdf => (2, 0x80, first & 0x1f),
                0xe0..=0xef => (3, 0x800, first & 0x0f),
                0xf0..=0xf4 => (4, 0x1_0000, first & 0x07),
                _ => return None,
            };
            for index in 1..length {
                let next = unit(index * 8, 8)? as u32;
                if next & 0xc0 != 0x80 {
                    return None;
                }
                value = value << 6 | (next & 0x3f);
            }
            if value < minimum {
                return None;
            }
            (value, length * 8)
        }
        Utf::Utf16 => {
            let first = unit(0, 16)? as u32;
            match first {
                0xd800..=0xdbff => {
                    let second = unit(16, 16)? as u32;
                    if !(0xdc00..=0xdfff).contains(&second) {
                        return None;
                    }
                    (0x1_0000 + ((first & 0x3ff) << 10 | (second & 0x3ff)), 32)
                }
                0xdc00..=0xdfff => return None,
                _ => (first, 16),
            }
        }
        Utf::Utf32 => (unit(0, 32)? as u32, 32),
    };
    char::from_u32(value).map(|_| (value, used))
}

/// A character in an encoding: its bytes.
#[inline]
pub fn utf_bytes(utf: Utf, code: u32, flags: u8) -> Option<([u8; 4], usize)> {
    let character = char::from_u32(code)?;
    let mut bytes = [0; 4];
    let little = flags & FLAG_LITTLE != 0;
    let length = match utf {
        Utf::Utf8 => character.encode_utf8(&mut bytes).len(),
        Utf::Utf16 => {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            for (index, unit) in units.iter().enumerate() {
                let pair = if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
                bytes[index * 2..index * 2 + 2].copy_from_slice(&pair);
            }
            units.len() * 2
        }
        Utf::Utf32 => {
            bytes = if little { code.to_le_bytes() } else { code.to_be_bytes() };
            4
        }
    };
    Some((bytes, length))
}

/// Writes bits one piece after another into memory that has room for them.
pub struct BitWriter {
    pub base: *mut u8,
    pub bit_position: usize,
}

impl BitWriter {
    /// The low `size` bits of `value`, most significant first.
    pub fn bits(&mut self, value: u64, size: usize) {
        debug_assert!(size <= 64);
        let mut left = size;
        while left > 0 {
            let within = self.bit_position & 7;
            let take = left.min(8 - within);
            let piece = (value >> (left - take)) as u8 & (0xffu16 >> (8 - take)) as u8;
            // SAFETY: whoever made the writer gave it room.
            unsafe {
                let at = self.base.add(self.bit_position / 8);
                let shift = 8 - within - take;
                let mask = ((0xffu16 >> (8 - take)) << shift) as u8;
                *at = (*at & !mask) | piece << shift;
            }
            self.bit_position += take;
            left -= take;
        }
    }

    /// The low `size` bits of `value`, most significant first; whole bytes at once where they begin
    /// at one.
    pub fn word(&mut self, value: u64, size: usize) {
        if self.bit_position & 7 != 0 || !size.is_multiple_of(8) {
            return self.bits(value, size);
        }
        // SAFETY: whoever made the writer gave it room for all its bits.
        unsafe {
            let at = self.base.add(self.bit_position / 8);
            match size {
                0 => {}
                8 => *at = value as u8,
                16 => at.cast::<[u8; 2]>().write((value as u16).to_be_bytes()),
                32 => at.cast::<[u8; 4]>().write((value as u32).to_be_bytes()),
                64 => at.cast::<[u8; 8]>().write(value.to_be_bytes()),
                _ => {
                    let bytes = (value << (64 - size)).to_be_bytes();
                    at.copy_from_nonoverlapping(bytes.as_ptr(), size / 8);
                }
            }
        }
        self.bit_position += size;
    }

    /// Whole bytes, at any bit position.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.bit_position & 7 == 0 {
            // SAFETY: whoever made the writer gave it room for all its bits.
            unsafe {
                self.base
                    .add(self.bit_position / 8)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            };
            self.bit_position += bytes.len() * 8;
        } else {
            for &byte in bytes {
                self.bits(u64::from(byte), 8);
            }
        }
    }

    /// All bits of `source`, which may begin at any bit of a byte.
    pub fn bitstring(&mut self, source: Bits) {
        if source.bit_offset == 0 {
            // SAFETY: the whole bytes of the source are live.
            self.bytes(unsafe { std::slice::from_raw_parts(source.base, source.bit_size / 8) });
            let rest = source.bit_size % 8;
            if rest > 0 {
                self.bits(read_bits(source.slice(source.bit_size - rest, rest)), rest);
            }
            return;
        }
        let mut at = 0;
        while at < source.bit_size {
            let take = (source.bit_size - at).min(56);
            self.bits(read_bits(source.slice(at, take)), take);
            at += take;
        }
    }

    /// An integer in `size` bits, cut to them. `false` when `value` is no integer.
    pub fn integer(&mut self, value: Term, size: usize, flags: u8) -> bool {
        let little = flags & FLAG_LITTLE != 0;
        let mut small = [0u64; 1];
        let (negative, magnitude): (bool, &[u64]) = if let Some(value) = value.as_small() {
            if size <= 64 {
                let value = value as u64;
                let value = if little && size > 8 { to_little(value, size) } else { value };
                self.word(value, size);
                return true;
            }
            small[0] = value.unsigned_abs();
            (value < 0, &small)
        } else if let Some(big) = value.as_big() {
            (big.is_negative(), big.digits())
        } else {
            return false;
        };
        // Two's complement, least significant digit first, as long as the field.
        let mut digits = vec![0u64; size.div_ceil(64).max(1)];
        for (digit, &from) in digits.iter_mut().zip(magnitude) {
            *digit = from;
        }
        if negative {
            negate(&mut digits);
        }
        let byte = |index: usize| (digits[index / 8] >> (index % 8 * 8)) as u8;
        let (whole, rest) = (size / 8, size % 8);
        if little {
            for index in 0..whole {
                self.bits(u64::from(byte(index)), 8);
            }
            if rest > 0 {
                self.bits(u64::from(byte(whole)), rest);
            }
        } else {
            if rest > 0 {
                self.bits(u64::from(byte(whole)), rest);
            }
            for index in (0..whole).rev() {
                self.bits(u64::from(byte(index)), 8);
            }
        }
        true
    }
}

/// A float in 16, 32 or 64 bits, the first one the highest; `None` when the size is another.
#[inline]
pub fn float_bits(value: f64, size: usize, flags: u8) -> Option<u64> {
    let bits = match size {
        // What is too large becomes infinity, as in OTP.
        16 => u64::from(f64_to_half(value)),
        32 => u64::from((value as f32).to_bits()),
        64 => value.to_bits(),
        _ => return None,
    };
    Some(if flags & FLAG_LITTLE != 0 { to_little(bits, size) } else { bits })
}

/// The bits to write most significant first so that the value stands there little-endian.
#[inline]
pub fn to_little(value: u64, size: usize) -> u64 {
    let (whole, rest) = (size / 8, size % 8);
    if rest == 0 && size > 0 {
        return value.swap_bytes() >> (64 - size);
    }
    let mut result = 0u64;
    for index in 0..whole {
        result = result << 8 | (value >> (8 * index) & 0xff);
    }
    if rest > 0 {
        result = result << rest | (value >> (8 * whole) & ((1 << rest) - 1));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::FragmentHeap;

    #[test]
    fn integers_survive_any_size_and_byte_order() {
        let mut heap = FragmentHeap::new();
        for size in 1..130usize {
            for flags in [0, FLAG_LITTLE, FLAG_SIGNED, FLAG_LITTLE | FLAG_SIGNED] {
                for offset in [0, 3] {
                    let mut buffer = [0u8; 32];
                    let mut writer = BitWriter { base: buffer.as_mut_ptr(), bit_position: offset };
                    let value = if flags & FLAG_SIGNED != 0 { -1i64 } else { 1 };
                    assert!(writer.integer(Term::small(value), size, flags));
                    let bits = Bits { base: buffer.as_ptr(), bit_offset: offset, bit_size: size };
                    let read = read_integer(&mut heap, bits, flags)
                        .expect("it is no larger than the largest");
                    assert_eq!(
                        read.as_small(),
                        Some(value),
                        "{size} bits, flags {flags}, offset {offset}"
                    );
                }
            }
        }
    }
}
