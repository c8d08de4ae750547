//! Integers as text, in bases 2 to 36.

use super::{Integer, bits_max, finish, to_biguint};
use crate::alloc::Alloc;
use crate::large;
use crate::word::Term;
use num_bigint::BigUint;

/// Why text is no integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    NotAnInteger,
    SystemLimit,
}

/// The integer that `text` is in base 2 to 36: an optional sign, and digits.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_integer<A: Alloc + ?Sized>(
    alloc: &mut A,
    text: &[u8],
    base: u32,
) -> Result<Term, ParseError> {
    let negative = text.first() == Some(&b'-');
    let digits = if negative || text.first() == Some(&b'+') { &text[1..] } else { text };
    let value = |byte: u8| char::from(byte).to_digit(base);
    if (1..=12).contains(&digits.len()) {
        let magnitude = digits
            .iter()
            .try_fold(0i64, |sum, &byte| Some(sum * i64::from(base) + i64::from(value(byte)?)))
            .ok_or(ParseError::NotAnInteger)?;
        return Ok(alloc.int(if negative { -magnitude } else { magnitude }));
    }
    if digits.is_empty() || digits.iter().any(|&byte| value(byte).is_none()) {
        return Err(ParseError::NotAnInteger);
    }
    let leading = digits.iter().take_while(|&&byte| byte == b'0').count();
    let digits = &digits[leading..];
    // A digit is worth at least this many bits.
    if digits.len().saturating_sub(1).saturating_mul(base.ilog2() as usize) > bits_max() {
        return Err(ParseError::SystemLimit);
    }
    let magnitude = if digits.is_empty() {
        BigUint::default()
    } else {
        large::parse(digits, base).ok_or(ParseError::NotAnInteger)?
    };
    finish(alloc, negative, &magnitude.to_u64_digits()).map_err(|_| ParseError::SystemLimit)
}

/// The integer in base 2 to 36, with capital letters; empty when the term is no integer.
pub fn to_string_radix(term: Term, base: u32) -> String {
    if let (Some(value), 10) = (term.as_small(), base) {
        return value.to_string();
    }
    let mut room = [0];
    let Some(integer) = Integer::of(term, &mut room) else { return String::new() };
    let mut text = large::text(&to_biguint(integer.digits), base);
    text.make_ascii_uppercase();
    if integer.negative {
        text.insert(0, '-');
    }
    text
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::FragmentHeap;

    #[test]
    fn text_that_is_no_integer() {
        let mut heap = FragmentHeap::new();
        for text in ["", "-", "+", "1a", "1_0", " 1", "--1"] {
            assert_eq!(
                parse_integer(&mut heap, text.as_bytes(), 10),
                Err(ParseError::NotAnInteger),
                "{text}"
            );
        }
        assert_eq!(parse_integer(&mut heap, b"-zZ", 36), Ok(Term::small(-1295)));
        assert_eq!(parse_integer(&mut heap, b"+00000000000000000000000", 10), Ok(Term::small(0)));
    }
}
