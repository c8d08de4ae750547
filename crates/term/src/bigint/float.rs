//! From integers to floats and back.

use super::{bit_len, with_digits};
use crate::alloc::Alloc;
use crate::release::{self, Release};
use crate::word::Term;

const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// The float nearest to a magnitude of two digits or more, the even one of two; infinite for what
/// is too large.
fn nearest(digits: &[u64]) -> f64 {
    let bits = bit_len(digits);
    if bits <= 64 || bits > f64::MAX_EXP as usize {
        return if bits <= 64 {
            digits.first().map_or(0.0, |&digit| digit as f64)
        } else {
            f64::INFINITY
        };
    }
    // The highest 64 bits, the lowest of which also stands for all that follow: they only tell what
    // is above a half.
    let shift = bits - 64;
    let (whole, part) = (shift / 64, shift % 64);
    let above =
        digits.get(whole + 1).map_or(0, |&digit| if part == 0 { 0 } else { digit << (64 - part) });
    let highest = digits[whole] >> part | above;
    let rest_is_zero =
        digits[..whole].iter().all(|&digit| digit == 0) && digits[whole] & ((1 << part) - 1) == 0;
    (highest | u64::from(!rest_is_zero)) as f64 * 2.0f64.powi(shift as i32)
}

/// The float next to a number; `None` when it is no number or too large.
#[inline]
pub fn to_f64(term: Term) -> Option<f64> {
    if let Some(value) = term.as_small() {
        return Some(value as f64);
    }
    if let Some(value) = term.as_float() {
        return Some(value);
    }
    let big = term.as_big()?;
    // OTP rounds once a digit, and so do we.
    let value = if release::current() >= Release::R29 {
        nearest(big.digits())
    } else {
        // Rounded with every digit, as OTP did before.
        big.digits().iter().rev().fold(0.0, |value, &digit| value * TWO_TO_64 + digit as f64)
    };
    value.is_finite().then_some(if big.is_negative() { -value } else { value })
}

/// The integer of a float that is one.
fn integral<A: Alloc + ?Sized>(alloc: &mut A, value: f64) -> Term {
    if value.abs() < 9.0e18 {
        return alloc.int(value as i64);
    }
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as usize - 1075;
    let mantissa = u128::from((bits & ((1 << 52) - 1)) | 1 << 52) << (exponent % 64);
    with_digits(exponent / 64 + 2, |out| {
        out[exponent / 64] = mantissa as u64;
        out[exponent / 64 + 1] = (mantissa >> 64) as u64;
        alloc.big(value < 0.0, out)
    })
}

macro_rules! float_to_integer {
    ($($(#[$doc:meta])* $name:ident $method:ident)*) => {$(
        $(#[$doc])*
        /// An integer is its own; `None` when the term is no number.
        pub fn $name<A: Alloc + ?Sized>(alloc: &mut A, term: Term) -> Option<Term> {
            match term.as_float() {
                Some(value) => Some(integral(alloc, value.$method())),
                None => term.is_integer().then_some(term),
            }
        }
    )*};
}

float_to_integer! {
    /// `trunc/1`: towards zero.
    trunc trunc
    /// `round/1`: halves away from zero.
    round round
    /// `floor/1`.
    floor floor
    /// `ceil/1`.
    ceil ceil
}
#[cfg(test)]
mod tests {
    use super::*;

    /// 64 bits and more round once, to the nearest.
    #[test]
    fn nearest_floats() {
        let cases = [
            (428_654_966_685_883_400_000u128, 428_654_966_685_883_400_000.0),
            (38_409_289_721_754_710_000, 38_409_289_721_754_710_000.0),
        ];
        for (value, float) in cases {
            assert_eq!(nearest(&[value as u64, (value >> 64) as u64]), float);
        }
        for shift in 0..64 {
            // Half of the last bit, less and more.
            for low in [0u128, 1, 1 << 11, (1 << 11) + 1, (1 << 11) - 1, 3 << 11] {
                let value = ((1 << 63 | low) << shift) + u128::from(low == 1);
                assert_eq!(nearest(&[value as u64, (value >> 64) as u64]), value as f64, "{value}");
            }
        }
        assert_eq!(nearest(&[0; 16].map(|_: u64| u64::MAX)), f64::INFINITY);
    }
}
