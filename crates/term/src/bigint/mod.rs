//! Integers of any size, and arithmetic on numbers as Erlang defines it.
//!
//! A small integer fits the word; above that the magnitude is a list of 64-bit digits, least
//! significant first. The simple work is done here digit by digit; multiplying, dividing and
//! printing large ones is left to `num-bigint`.

mod bitwise;
mod float;
mod segment;
mod text;

pub use bitwise::{band, bnot, bor, bsl, bsr, bxor};
pub use float::{ceil, floor, round, to_f64, trunc};
pub use segment::{from_bits, word_from_bits, write_bits};
pub use text::{ParseError, parse_integer, to_string_radix};

use crate::alloc::Alloc;
use crate::division;
use crate::large;
use crate::release::{self, Release};
use crate::word::Term;
use num_bigint::BigUint;
use smallvec::SmallVec;

/// Why a number has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArithError {
    /// An operand is no number (or no integer), the divisor is zero, or a float is out of range.
    BadArith,
    /// The result has more than [`bits_max`] bits.
    SystemLimit,
}

use ArithError::{BadArith, SystemLimit};

type Arith = Result<Term, ArithError>;

/// Bits of the largest integer: from OTP 27 on it has fewer.
pub fn bits_max() -> usize {
    if release::current() >= Release::R27 { 64 * ((1 << 16) - 1) } else { 64 * ((1 << 19) - 1) }
}
/// From here on `num-bigint` multiplies faster than the plain method.
const SCHOOL_DIGITS_MAX: usize = 24;

/// An integer's sign and magnitude.
struct Integer<'a> {
    negative: bool,
    digits: &'a [u64],
}

impl<'a> Integer<'a> {
    /// `None` when the term is no integer; `room` holds the digit of a small one.
    #[inline]
    fn of(term: Term, room: &'a mut [u64; 1]) -> Option<Integer<'a>> {
        if let Some(value) = term.as_small() {
            room[0] = value.unsigned_abs();
            let digits = if value == 0 { &room[..0] } else { &room[..] };
            return Some(Integer { negative: value < 0, digits });
        }
        term.as_big().map(|big| Integer { negative: big.is_negative(), digits: big.digits() })
    }

    /// The value, if its magnitude has fewer than 128 bits.
    #[inline]
    fn as_i128(&self) -> Option<i128> {
        let magnitude = match *self.digits {
            [] => 0,
            [digit] => i128::from(digit),
            [low, high] if high >> 63 == 0 => i128::from(high) << 64 | i128::from(low),
            _ => return None,
        };
        Some(if self.negative { -magnitude } else { magnitude })
    }

    fn bit_len(&self) -> usize {
        bit_len(self.digits)
    }

    /// The digit at `index` of the infinite two's complement.
    #[inline]
    fn complement_digits(&self) -> impl Iterator<Item = u64> + use<'a> {
        let negative = self.negative;
        let mut borrow = negative;
        self.digits.iter().copied().chain(std::iter::repeat(0)).map(move |digit| {
            if !negative {
                return digit;
            }
            let (digit, carry) = (!digit).overflowing_add(u64::from(borrow));
            borrow = carry;
            digit
        })
    }
}

fn bit_len(digits: &[u64]) -> usize {
    digits.last().map_or(0, |last| digits.len() * 64 - last.leading_zeros() as usize)
}

/// Room for `len` digits, all zero: on the stack when they are few.
#[inline]
fn with_digits<R>(len: usize, work: impl FnOnce(&mut [u64]) -> R) -> R {
    if len <= 8 { work(&mut [0; 8][..len]) } else { work(&mut vec![0; len]) }
}

/// The integer term, unless it is too large.
fn finish<A: Alloc + ?Sized>(alloc: &mut A, negative: bool, digits: &[u64]) -> Arith {
    let len = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
    if len * 64 > bits_max() && bit_len(&digits[..len]) > bits_max() {
        return Err(SystemLimit);
    }
    Ok(alloc.big(negative, &digits[..len]))
}

fn finish_i128<A: Alloc + ?Sized>(alloc: &mut A, value: i128) -> Term {
    match i64::try_from(value) {
        Ok(value) => alloc.int(value),
        Err(_) => {
            let magnitude = value.unsigned_abs();
            alloc.big(value < 0, &[magnitude as u64, (magnitude >> 64) as u64])
        }
    }
}

fn finish_float<A: Alloc + ?Sized>(alloc: &mut A, value: f64) -> Arith {
    if value.is_finite() { Ok(alloc.float(value)) } else { Err(BadArith) }
}

/// The operands as floats, when at least one of them is one and the other is a number.
fn float_operands(a: Term, b: Term) -> Result<Option<(f64, f64)>, ArithError> {
    if !a.is_float() && !b.is_float() {
        return Ok(None);
    }
    match (to_f64(a), to_f64(b)) {
        (Some(x), Some(y)) => Ok(Some((x, y))),
        _ => Err(BadArith),
    }
}

/// Both operands as integers.
macro_rules! integers {
    ($a:ident $b:ident) => {
        let (mut room_a, mut room_b) = ([0], [0]);
        let (Some($a), Some($b)) = (Integer::of($a, &mut room_a), Integer::of($b, &mut room_b))
        else {
            return Err(BadArith);
        };
    };
}
use integers;

/// `A + B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn add<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(alloc.int(a.small_value() + b.small_value()));
    }
    add_slow(alloc, a, b, false)
}

/// `A - B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn sub<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(alloc.int(a.small_value() - b.small_value()));
    }
    add_slow(alloc, a, b, true)
}

fn add_slow<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term, subtract: bool) -> Arith {
    if let Some((x, y)) = float_operands(a, b)? {
        return finish_float(alloc, if subtract { x - y } else { x + y });
    }
    integers!(a b);
    if let (Some(x), Some(y)) = (a.as_i128(), b.as_i128())
        && let Some(sum) = if subtract { x.checked_sub(y) } else { x.checked_add(y) }
    {
        return Ok(finish_i128(alloc, sum));
    }
    let b_negative = b.negative != subtract;
    let (long, short) =
        if a.digits.len() >= b.digits.len() { (a.digits, b.digits) } else { (b.digits, a.digits) };
    with_digits(long.len() + 1, |out| {
        if a.negative == b_negative {
            add_magnitudes(long, short, out);
            return finish(alloc, b_negative, out);
        }
        match compare_magnitudes(a.digits, b.digits) {
            std::cmp::Ordering::Less => {
                sub_magnitudes(b.digits, a.digits, out);
                finish(alloc, b_negative, out)
            }
            _ => {
                sub_magnitudes(a.digits, b.digits, out);
                finish(alloc, a.negative, out)
            }
        }
    })
}

fn compare_magnitudes(a: &[u64], b: &[u64]) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

/// Digits that are added at a time: within them the carry stays in the processor's flag.
const STEP: usize = 8;

/// Goes through the digits of `long` and `short` by `step`, which is given the carry and returns
/// the digit and the next carry. `short` has no digits but those of `long`'s low end.
#[inline(always)]
fn carry_through(
    long: &[u64],
    short: &[u64],
    out: &mut [u64],
    step: impl Fn(u64, u64, bool) -> (u64, bool),
) -> bool {
    let (low, high) = long.split_at(short.len());
    let (out_low, out_high) = out.split_at_mut(short.len());
    let ((longs, long_rest), (shorts, short_rest)) = (low.as_chunks(), short.as_chunks());
    let (outs, out_rest) = out_low.as_chunks_mut();
    let mut carry = false;
    for ((a, b), out) in longs.iter().zip(shorts).zip(outs) {
        let (a, b, out): (&[u64; STEP], &[u64; STEP], &mut [u64; STEP]) = (a, b, out);
        for at in 0..STEP {
            (out[at], carry) = step(a[at], b[at], carry);
        }
    }
    for ((&a, &b), out) in long_rest.iter().zip(short_rest).zip(out_rest) {
        (*out, carry) = step(a, b, carry);
    }
    for (&a, out) in high.iter().zip(out_high) {
        (*out, carry) = step(a, 0, carry);
    }
    carry
}

fn add_magnitudes(long: &[u64], short: &[u64], out: &mut [u64]) {
    let carry = carry_through(long, short, out, u64::carrying_add);
    out[long.len()] = u64::from(carry);
}

/// `large` is not less than `small`.
fn sub_magnitudes(large: &[u64], small: &[u64], out: &mut [u64]) {
    let borrow = carry_through(large, small, out, u64::borrowing_sub);
    debug_assert!(!borrow);
}

/// `A * B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn mul<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return Ok(finish_i128(alloc, i128::from(a.small_value()) * i128::from(b.small_value())));
    }
    mul_slow(alloc, a, b)
}

fn mul_slow<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if let Some((x, y)) = float_operands(a, b)? {
        return finish_float(alloc, x * y);
    }
    integers!(a b);
    let negative = a.negative != b.negative;
    if a.digits.is_empty() || b.digits.is_empty() {
        return Ok(Term::small(0));
    }
    // The product has the sum of the bits, or one less.
    if a.bit_len() + b.bit_len() > bits_max() + 1 {
        return Err(SystemLimit);
    }
    if a.digits.len().min(b.digits.len()) > SCHOOL_DIGITS_MAX {
        return finish(
            alloc,
            negative,
            &large::product(&to_biguint(a.digits), &to_biguint(b.digits)).to_u64_digits(),
        );
    }
    with_digits(a.digits.len() + b.digits.len(), |out| {
        for (at, &x) in a.digits.iter().enumerate() {
            let mut carry: u64 = 0;
            for (offset, &y) in b.digits.iter().enumerate() {
                let sum = u128::from(x) * u128::from(y)
                    + u128::from(out[at + offset])
                    + u128::from(carry);
                out[at + offset] = sum as u64;
                carry = (sum >> 64) as u64;
            }
            out[at + b.digits.len()] = carry;
        }
        finish(alloc, negative, out)
    })
}

fn to_biguint(digits: &[u64]) -> BigUint {
    BigUint::from_slice(
        &digits
            .iter()
            .flat_map(|&digit| [digit as u32, (digit >> 32) as u32])
            .collect::<Vec<u32>>(),
    )
}

/// `A div B`: towards zero.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn div<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return if b.small_value() == 0 {
            Err(BadArith)
        } else {
            Ok(alloc.int(a.small_value() / b.small_value()))
        };
    }
    div_rem_slow(alloc, a, b, false)
}

/// `A rem B`: the sign of `A`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
#[inline]
pub fn rem<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    if Term::both_small(a, b) {
        return if b.small_value() == 0 {
            Err(BadArith)
        } else {
            Ok(Term::small(a.small_value() % b.small_value()))
        };
    }
    div_rem_slow(alloc, a, b, true)
}

fn div_rem_slow<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term, remainder: bool) -> Arith {
    let dividend = a;
    integers!(a b);
    let negative = if remainder { a.negative } else { a.negative != b.negative };
    if b.digits.is_empty() {
        return Err(BadArith);
    }
    if compare_magnitudes(a.digits, b.digits).is_lt() {
        return Ok(if remainder { dividend } else { Term::small(0) });
    }
    if let &[divisor] = b.digits {
        return with_digits(a.digits.len(), |quotient| {
            let rest = div_digit(a.digits, divisor, quotient);
            if remainder {
                finish(alloc, negative, &[rest])
            } else {
                finish(alloc, negative, quotient)
            }
        });
    }
    if a.digits.len() <= LONG_DIVISION_DIGITS_MAX {
        let (long, short) = (a.digits.len(), b.digits.len());
        let mut space =
            SmallVec::<[u64; 64]>::from_elem(0, (long - short + 1) + (long + 1 + short));
        let (quotient, work) = space.split_at_mut(long - short + 1);
        division::divide(a.digits, b.digits, quotient, work);
        return finish(alloc, negative, if remainder { &work[..short] } else { quotient });
    }
    let (x, y) = (to_biguint(a.digits), to_biguint(b.digits));
    let (quotient, rest) = large::quotient(&x, &y);
    finish(alloc, negative, &if remainder { rest } else { quotient }.to_u64_digits())
}

/// Dividends of as many digits are divided at once; longer ones by halves, and with a look at
/// whether the process is to end (`large.rs`).
const LONG_DIVISION_DIGITS_MAX: usize = 256;

/// Divides by one digit; the rest is returned.
fn div_digit(digits: &[u64], divisor: u64, quotient: &mut [u64]) -> u64 {
    let mut rest: u64 = 0;
    for (out, &digit) in quotient.iter_mut().zip(digits).rev() {
        let part = u128::from(rest) << 64 | u128::from(digit);
        *out = (part / u128::from(divisor)) as u64;
        rest = (part % u128::from(divisor)) as u64;
    }
    rest
}

/// `A / B`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
pub fn float_div<A: Alloc + ?Sized>(alloc: &mut A, a: Term, b: Term) -> Arith {
    match (to_f64(a), to_f64(b)) {
        (Some(x), Some(y)) => finish_float(alloc, x / y),
        _ => Err(BadArith),
    }
}

/// `-A`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
pub fn negate<A: Alloc + ?Sized>(alloc: &mut A, a: Term) -> Arith {
    if let Some(value) = a.as_small() {
        return Ok(alloc.int(-value));
    }
    if let Some(value) = a.as_float() {
        return Ok(alloc.float(-value));
    }
    let big = a.as_big().ok_or(BadArith)?;
    Ok(alloc.big(!big.is_negative(), big.digits()))
}

/// `abs(A)`.
///
/// # Errors
/// Operands that are no numbers of the kind wanted, division by zero, or a result beyond the limit.
pub fn abs<A: Alloc + ?Sized>(alloc: &mut A, a: Term) -> Arith {
    let negative = match (a.as_small(), a.as_float()) {
        (Some(value), _) => value < 0,
        // Where both zeros are one, it keeps its sign.
        (_, Some(0.0)) if !release::current().distinguishes_zeros() => false,
        (_, Some(value)) => value.is_sign_negative(),
        _ => a.as_big().ok_or(BadArith)?.is_negative(),
    };
    if negative { negate(alloc, a) } else { Ok(a) }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::FragmentHeap;

    fn parse(heap: &mut FragmentHeap, text: &str) -> Term {
        parse_integer(heap, text.as_bytes(), 10).expect("an integer")
    }

    #[test]
    fn arithmetic_crosses_from_small_to_large_and_back() {
        let mut heap = FragmentHeap::new();
        let max = Term::small(Term::SMALL_MAX);
        let above = add(&mut heap, max, Term::small(1)).unwrap();
        assert!(above.is_big());
        assert_eq!(sub(&mut heap, above, Term::small(1)), Ok(max));
        let square = mul(&mut heap, above, above).unwrap();
        assert_eq!(to_string_radix(square, 10), (1u128 << 122).to_string());
        let quotient = div(&mut heap, square, above).unwrap();
        assert_eq!(to_string_radix(quotient, 16), "2000000000000000");
        assert_eq!(bsr(&mut heap, square, Term::small(122)), Ok(Term::small(1)));
        assert_eq!(rem(&mut heap, max, Term::small(0)), Err(BadArith));
        assert_eq!(
            bsl(&mut heap, Term::small(1), Term::small(bits_max() as i64)),
            Err(SystemLimit)
        );
    }

    #[test]
    fn carries_go_through_digits_of_every_number() {
        let number = |digits: &[u64]| {
            BigUint::from_slice(
                &digits.iter().flat_map(|&d| [d as u32, (d >> 32) as u32]).collect::<Vec<_>>(),
            )
        };
        let mut state = 1u64;
        for (long_len, short_len) in
            (1..40).flat_map(|long| (0..=long).map(move |short| (long, short)))
        {
            let mut digit = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                [u64::MAX, 0, state, u64::MAX - 1][(state >> 62) as usize]
            };
            let mut long: Vec<u64> = (0..long_len).map(|_| digit()).collect();
            let short: Vec<u64> = (0..short_len).map(|_| digit()).collect();
            let mut out = vec![0; long_len + 1];
            add_magnitudes(&long, &short, &mut out);
            assert_eq!(number(&out), number(&long) + number(&short));
            if short_len == long_len {
                long[long_len - 1] = u64::MAX;
            }
            if number(&long) >= number(&short) {
                out.fill(0);
                sub_magnitudes(&long, &short, &mut out);
                assert_eq!(number(&out), number(&long) - number(&short));
            }
        }
    }
    #[test]
    fn division_is_towards_zero() {
        let mut heap = FragmentHeap::new();
        let a = parse(&mut heap, "-100000000000000000000000000000000000000007");
        let b = parse(&mut heap, "100000000000000000000");
        let (quotient, rest) = (div(&mut heap, a, b).unwrap(), rem(&mut heap, a, b).unwrap());
        assert_eq!(to_string_radix(quotient, 10), "-1000000000000000000000");
        assert_eq!(rest, Term::small(-7));
    }
}
