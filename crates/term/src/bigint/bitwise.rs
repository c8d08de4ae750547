//! The operators on bits, which take integers as infinite two's complements.

use super::{Arith, ArithError, Integer, bits_max, finish, finish_i128, integers, with_digits};
use crate::alloc::Alloc;
use crate::word::Term;
use ArithError::{BadArith, SystemLimit};

/// `A band B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn band<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(Term::small(a.small_value() & b.small_value()));
    }
    bitwise(alloc, a, b, |x, y| x & y)
}

/// `A bor B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn bor<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(Term::small(a.small_value() | b.small_value()));
    }
    bitwise(alloc, a, b, |x, y| x | y)
}

/// `A bxor B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn bxor<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(Term::small(a.small_value() ^ b.small_value()));
    }
    bitwise(alloc, a, b, |x, y| x ^ y)
}

/// `bnot A`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
pub fn bnot<A: Alloc + ?Sized>(alloc: &mut A, a: Term) -> Arith {
    match a.as_small() {
        Some(value) => Ok(Term::small(!value)),
        None => bitwise(alloc, a, Term::small(-1), |x, y| x ^ y),
    }
}

/// Combines two's complements; one digit more than the longer operand has holds the sign.
fn bitwise<A: Alloc + ?Sized>(
    alloc: &mut A,
    a: Term,
    b: Term,
    combine: impl Fn(u64, u64) -> u64,
) -> Arith {
    integers!(a b);
    let len = a.digits.len().max(b.digits.len()) + 1;
    with_digits(len, |out| {
        for ((digit, x), y) in out.iter_mut().zip(a.complement_digits()).zip(b.complement_digits())
        {
            *digit = combine(x, y);
        }
        finish_complement(alloc, out)
    })
}

/// The integer of a two's complement whose last digit is all sign.
fn finish_complement<A: Alloc + ?Sized>(alloc: &mut A, digits: &mut [u64]) -> Arith {
    let negative = digits.last().is_some_and(|&last| last >> 63 == 1);
    if negative {
        negate_digits(digits);
    }
    finish(alloc, negative, digits)
}

pub(super) fn negate_digits(digits: &mut [u64]) {
    let mut carry = true;
    for digit in digits {
        (*digit, carry) = (!*digit).overflowing_add(u64::from(carry));
    }
}

/// `A bsl B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn bsl<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) && (0..62).contains(&b.small_value()) {
        return Ok(finish_i128(alloc, i128::from(a.small_value()) << b.small_value()));
    }
    shift(alloc, a, b, false)
}

/// `A bsr B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn bsr<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) && b.small_value() >= 0 {
        return Ok(Term::small(a.small_value() >> b.small_value().min(63)));
    }
    shift(alloc, a, b, true)
}

fn shift<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term, right: bool) -> Arith {
    let value = a;
    integers!(a b);
    if a.digits.is_empty() || b.digits.is_empty() {
        return Ok(value);
    }
    let count = if let &[count] = b.digits {
        usize::try_from(count).unwrap_or(usize::MAX)
    } else {
        usize::MAX
    };
    if b.negative != right {
        return shift_right(alloc, &a, count);
    }
    if count > bits_max() || a.bit_len() + count > bits_max() {
        return Err(SystemLimit);
    }
    let (whole, bits) = (count / 64, count % 64);
    with_digits(a.digits.len() + whole + 1, |out| {
        let mut carry = 0;
        for (index, &digit) in a.digits.iter().enumerate() {
            out[whole + index] = digit << bits | carry;
            carry = if bits == 0 { 0 } else { digit >> (64 - bits) };
        }
        out[whole + a.digits.len()] = carry;
        finish(alloc, a.negative, out)
    })
}

/// Towards minus infinity.
fn shift_right<A: Alloc + ?Sized>(alloc: &mut A, a: &Integer, count: usize) -> Arith {
    let (whole, bits) = (count / 64, count % 64);
    if whole >= a.digits.len() {
        return Ok(Term::small(if a.negative { -1 } else { 0 }));
    }
    let kept = &a.digits[whole..];
    let lost = a.digits[..whole].iter().any(|&digit| digit != 0)
        || bits > 0 && kept[0] << (64 - bits) != 0;
    with_digits(kept.len() + 1, |out| {
        for index in 0..kept.len() {
            let above = if bits == 0 {
                0
            } else {
                kept.get(index + 1).map_or(0, |next| next << (64 - bits))
            };
            out[index] = kept[index] >> bits | above;
        }
        if a.negative && lost {
            let mut carry = true;
            for digit in out.iter_mut() {
                (*digit, carry) = digit.overflowing_add(u64::from(carry));
            }
        }
        finish(alloc, a.negative, out)
    })
}
