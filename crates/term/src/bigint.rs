//! Integers of any size, and arithmetic on numbers as Erlang defines it.
//!
//! A small integer fits the word; above that the magnitude is a list of 64-bit digits, least
//! significant first. The simple work is done here digit by digit; multiplying, dividing and
//! printing large ones is left to `num-bigint`.

use crate::alloc::Alloc;
use crate::binary::{Bits, copy_bits};
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

fn add_magnitudes(long: &[u64], short: &[u64], out: &mut [u64]) {
    let mut carry = false;
    for (index, &digit) in long.iter().enumerate() {
        let other = short.get(index).copied().unwrap_or(0);
        let (sum, first) = digit.overflowing_add(other);
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        carry = first | second;
        out[index] = sum;
    }
    out[long.len()] = u64::from(carry);
}

/// `large` is not less than `small`.
fn sub_magnitudes(large: &[u64], small: &[u64], out: &mut [u64]) {
    let mut borrow = false;
    for (index, &digit) in large.iter().enumerate() {
        let other = small.get(index).copied().unwrap_or(0);
        let (difference, first) = digit.overflowing_sub(other);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        borrow = first | second;
        out[index] = difference;
    }
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

fn negate_digits(digits: &mut [u64]) {
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
    if digits.is_empty() || digits.iter().any(|&byte| value(byte).is_none()) {
        return Err(ParseError::NotAnInteger);
    }
    if digits.len() <= 12 {
        let magnitude = digits
            .iter()
            .filter_map(|&byte| value(byte))
            .fold(0i64, |sum, digit| sum * i64::from(base) + i64::from(digit));
        return Ok(alloc.int(if negative { -magnitude } else { magnitude }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::FragmentHeap;

    fn parse(heap: &mut FragmentHeap, text: &str) -> Term {
        parse_integer(heap, text.as_bytes(), 10).expect("an integer")
    }

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
    fn division_is_towards_zero() {
        let mut heap = FragmentHeap::new();
        let a = parse(&mut heap, "-100000000000000000000000000000000000000007");
        let b = parse(&mut heap, "100000000000000000000");
        let (quotient, rest) = (div(&mut heap, a, b).unwrap(), rem(&mut heap, a, b).unwrap());
        assert_eq!(to_string_radix(quotient, 10), "-1000000000000000000000");
        assert_eq!(rest, Term::small(-7));
    }

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
