//! Integers as segments of bitstrings.

use super::bitwise::negate_digits;
use super::{Integer, with_digits};
use crate::alloc::Alloc;
use crate::binary::{Bits, copy_bits};
use crate::word::Term;

/// The integer that the bits of a segment are.
pub fn from_bits<A: Alloc + ?Sized>(alloc: &mut A, bits: Bits, signed: bool, little: bool) -> Term {
    let size = bits.bit_size;
    if size <= 64 {
        let value = word_from_bits(bits, little);
        if signed && size > 0 {
            let unused = 64 - size as u32;
            return alloc.int((value << unused) as i64 >> unused);
        }
        return alloc.uint(value);
    }
    let extra = size % 8;
    with_digits(size.div_ceil(64) + 1, |digits| {
        let count = bits.byte_size_rounded_up();
        // Bytes from the least significant on, as if whole; the last of them is the incomplete one.
        for index in 0..count {
            let byte = if little { bits.byte(index) } else { bits.byte(count - 1 - index) };
            let byte =
                if little && extra > 0 && index == count - 1 { byte >> (8 - extra) } else { byte };
            digits[index / 8] |= u64::from(byte) << (index % 8 * 8);
        }
        if !little && extra > 0 {
            let down = 8 - extra;
            for index in 0..digits.len() {
                let above = digits.get(index + 1).map_or(0, |next| next << (64 - down));
                digits[index] = digits[index] >> down | above;
            }
        }
        let negative = signed && digits[(size - 1) / 64] >> ((size - 1) % 64) & 1 == 1;
        if negative {
            if !size.is_multiple_of(64) {
                digits[size / 64] |= u64::MAX << (size % 64);
            }
            for digit in &mut digits[size.div_ceil(64)..] {
                *digit = u64::MAX;
            }
            negate_digits(digits);
        }
        alloc.big(negative, digits)
    })
}

/// As [`from_bits`], for at most 64 bits without sign.
#[inline]
pub fn word_from_bits(bits: Bits, little: bool) -> u64 {
    let size = bits.bit_size;
    debug_assert!(size <= 64);
    let count = bits.byte_size_rounded_up();
    let extra = size % 8;
    if little {
        let mut value = 0;
        for index in 0..count {
            let byte = u64::from(bits.byte(index));
            let byte = if extra > 0 && index == count - 1 { byte >> (8 - extra) } else { byte };
            value |= byte << (index * 8);
        }
        return value;
    }
    if bits.bit_offset == 0 && extra == 0 {
        // SAFETY: that many whole bytes are there.
        let bytes = unsafe { std::slice::from_raw_parts(bits.base, count) };
        return bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    }
    let value = (0..count).fold(0u128, |value, index| value << 8 | u128::from(bits.byte(index)));
    (value >> (count * 8 - size)) as u64
}

/// Writes the lowest `bit_size` bits of an integer, in two's complement, as a segment at bit
/// `dst_bit_offset` of `dst`. `false`, and nothing is written, when the term is no integer.
/// # Safety
/// As [`copy_bits`].
pub unsafe fn write_bits(
    term: Term,
    bit_size: usize,
    little: bool,
    dst: *mut u8,
    dst_bit_offset: usize,
) -> bool {
    let mut room = [0];
    let Some(integer) = Integer::of(term, &mut room) else { return false };
    if bit_size == 0 {
        return true;
    }
    let extra = bit_size % 8;
    let count = bit_size.div_ceil(8);
    with_digits(bit_size.div_ceil(64) + 1, |digits| {
        for (digit, value) in digits.iter_mut().zip(integer.complement_digits()) {
            *digit = value;
        }
        if extra > 0 {
            let up = 8 - extra;
            if little {
                // Only the last byte moves up.
                let (index, at) = ((count - 1) / 8, (count - 1) % 8 * 8);
                let byte = (digits[index] >> at) as u8;
                digits[index] = digits[index] & !(0xff << at) | u64::from(byte << up) << at;
            } else {
                for index in (0..digits.len()).rev() {
                    let below = if index == 0 { 0 } else { digits[index - 1] >> (64 - up) };
                    digits[index] = digits[index] << up | below;
                }
            }
        }
        for digit in digits.iter_mut() {
            *digit = digit.to_le();
        }
        // SAFETY: the digits' bytes are initialised, and there are at least `count`.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(digits.as_mut_ptr().cast::<u8>(), count) };
        if !little {
            bytes.reverse();
        }
        // SAFETY: the caller's.
        unsafe {
            copy_bits(Bits { base: bytes.as_ptr(), bit_offset: 0, bit_size }, dst, dst_bit_offset);
        };
    });
    true
}
