//! The order of numbers: integers and floats among each other.

use crate::word::Term;
use crate::{release, stop};
use std::cmp::Ordering;

/// Numbers of any kind, by value; integers and floats compare exactly, without rounding either.
pub fn compare_numbers(a: Term, b: Term) -> Ordering {
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => compare_floats(x, y),
        (Some(x), None) => compare_integer_float(b, x).reverse(),
        (None, Some(y)) => compare_integer_float(a, y),
        (None, None) => compare_integers(a, b),
    }
}

/// No float term is NaN.
pub(super) fn compare_floats(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y).unwrap_or(Ordering::Equal)
}

/// As keys of maps: from OTP 27 on, `-0.0` is less than `+0.0`.
pub(super) fn compare_floats_exact(x: f64, y: f64) -> Ordering {
    match compare_floats(x, y) {
        Ordering::Equal if release::current().distinguishes_zeros() => x.total_cmp(&y),
        order => order,
    }
}

/// Two integers or two floats, exactly.
pub(super) fn compare_numbers_exact(a: Term, b: Term) -> Ordering {
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => compare_floats_exact(x, y),
        _ => compare_numbers(a, b),
    }
}

pub(super) fn compare_integers(a: Term, b: Term) -> Ordering {
    match (a.as_big(), b.as_big()) {
        (None, None) => a.small_value().cmp(&b.small_value()),
        (Some(x), None) => {
            if x.is_negative() {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (None, Some(y)) => {
            if y.is_negative() {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (Some(x), Some(y)) => match (x.is_negative(), y.is_negative()) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (negative, _) => {
                let magnitudes = compare_magnitudes(x.digits(), y.digits());
                if negative { magnitudes.reverse() } else { magnitudes }
            }
        },
    }
}

/// Digits least significant first, no leading zeros.
pub(super) fn compare_magnitudes(x: &[u64], y: &[u64]) -> Ordering {
    stop::flat(x.len().min(y.len()));
    x.len().cmp(&y.len()).then_with(|| x.iter().rev().cmp(y.iter().rev()))
}

fn compare_integer_float(integer: Term, float: f64) -> Ordering {
    let small;
    let (negative, digits) = match integer.as_big() {
        Some(big) => (big.is_negative(), big.digits()),
        None => {
            let value = integer.small_value();
            small = [value.unsigned_abs()];
            (value < 0, if value == 0 { &[][..] } else { &small[..] })
        }
    };
    let sign = |negative: bool, zero: bool| {
        if zero {
            0
        } else if negative {
            -1
        } else {
            1
        }
    };
    let signs = sign(negative, digits.is_empty()).cmp(&sign(float < 0.0, float == 0.0));
    if signs.is_ne() || digits.is_empty() {
        return signs;
    }
    let magnitudes = compare_magnitude_float(digits, float.abs());
    if negative { magnitudes.reverse() } else { magnitudes }
}

/// A magnitude that is not zero against a positive float: the whole parts first, then whether the
/// float has a fraction.
fn compare_magnitude_float(digits: &[u64], float: f64) -> Ordering {
    let bits = float.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    let bit_len = digits.len() as u64 * 64 - u64::from(digits[digits.len() - 1].leading_zeros());
    // A subnormal float is below one, and so is one whose whole part has no bits.
    let float_bit_len = i64::from(53 + exponent);
    if (bits >> 52) & 0x7ff == 0 || float_bit_len <= 0 {
        return Ordering::Greater;
    }
    let lengths = bit_len.cmp(&(float_bit_len as u64));
    if lengths.is_ne() {
        return lengths;
    }
    // Same number of bits: line up the first 64 of each.
    let top = digits[digits.len() - 1];
    let shift = top.leading_zeros();
    let below = if digits.len() > 1 { digits[digits.len() - 2] } else { 0 };
    let head = if shift == 0 { top } else { top << shift | below >> (64 - shift) };
    let heads = head.cmp(&(mantissa << 11));
    if heads.is_ne() {
        // The float's bits below the point can only matter when the integer is shorter than the
        // mantissa; its head is then padded with zeros, as it should be.
        return heads;
    }
    let rest = digits.len() > 1
        && (below << shift != 0 || digits[..digits.len() - 2].iter().any(|&digit| digit != 0));
    if rest { Ordering::Greater } else { Ordering::Equal }
}
