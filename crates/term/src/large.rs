//! Arithmetic on magnitudes of many thousand digits: multiplying, dividing, reading and writing.
//!
//! What `num-bigint` does cannot be ended, and with large numbers takes seconds. So they are cut
//! here until the parts are small enough for it, by the methods of Toom and Cook (in three parts)
//! and of Burnikel and Ziegler ("Fast Recursive Division", 1998); each part counts as steps
//! ([`crate::stop`]).

use crate::stop;
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::Zero;

const DIGIT_BITS: usize = 64;
/// Factors of as many digits are multiplied at once: 2 ms.
const PRODUCT_DIGITS: usize = if cfg!(test) { 100 } else { 4096 };
/// Divisors of as many digits divide at once.
const DIVISOR_DIGITS: usize = if cfg!(test) { 20 } else { 2048 };
/// Numbers of as many digits are written and read at once.
const TEXT_DIGITS: usize = if cfg!(test) { 10 } else { 1024 };

fn digits(number: &BigUint) -> usize {
    usize::try_from(number.bits()).unwrap_or(usize::MAX).div_ceil(DIGIT_BITS)
}

/// Counts `multiplications` of digits, a nanosecond each or less.
fn count(multiplications: usize) {
    stop::steps(u32::try_from(multiplications / 16).unwrap_or(u32::MAX));
}

/// The number below `at` digits, and that above.
fn split(number: &BigUint, at: usize) -> (BigUint, BigUint) {
    let all = number.to_u32_digits();
    let (low, high) = all.split_at(all.len().min(2 * at));
    (BigUint::from_slice(low), BigUint::from_slice(high))
}

fn shifted(number: BigUint, digits: usize) -> BigUint {
    number << (digits * DIGIT_BITS)
}

/// `a * b`.
pub fn product(a: &BigUint, b: &BigUint) -> BigUint {
    let (long, short) = if a >= b { (a, b) } else { (b, a) };
    let (long_digits, short_digits) = (digits(long), digits(short));
    if long_digits <= PRODUCT_DIGITS || short_digits == 0 {
        count(long_digits * short_digits);
        return long * short;
    }
    if short_digits * 2 < long_digits {
        let part = short_digits.max(PRODUCT_DIGITS);
        let all = long.to_u32_digits();
        return all.chunks(2 * part).enumerate().fold(
            BigUint::zero(),
            |sum, (index, part_of_long)| {
                sum + shifted(product(&BigUint::from_slice(part_of_long), short), index * part)
            },
        );
    }
    in_three_parts(long, short, long_digits.div_ceil(3))
}

/// The product by five of a third of the digits: the factors are taken for polynomials of two to
/// the power of the digits of a `part`, whose product is known from its values at 0, 1, -1, -2 and
/// infinity.
fn in_three_parts(a: &BigUint, b: &BigUint, part: usize) -> BigUint {
    let values = |number: &BigUint| {
        let (low, rest) = split(number, part);
        let (middle, high) = split(&rest, part);
        let [low, middle, high] = [low, middle, high].map(BigInt::from);
        let ends = &low + &high;
        let at_1 = &ends + &middle;
        let at_minus_1 = ends - middle;
        let at_minus_2 = ((&at_minus_1 + &high) << 1) - &low;
        [low, at_1, at_minus_1, at_minus_2, high]
    };
    let [a, b] = [values(a), values(b)];
    let signed = |x: &BigInt, y: &BigInt| {
        BigInt::from_biguint(x.sign() * y.sign(), product(x.magnitude(), y.magnitude()))
    };
    let [at_0, at_1, at_minus_1, at_minus_2, at_infinity] =
        std::array::from_fn(|index| signed(&a[index], &b[index]));
    // Bodrato's order of operations.
    let third = (at_minus_2 - &at_1) / 3;
    let first = (at_1 - &at_minus_1) >> 1;
    let second = at_minus_1 - &at_0;
    let third = ((&second - third) >> 1) + (&at_infinity << 1);
    let second = second + &first - &at_infinity;
    let first = first - &third;
    let coefficients = [at_0, first, second, third, at_infinity];
    let sum = coefficients
        .into_iter()
        .rev()
        .fold(BigInt::zero(), |sum, coefficient| (sum << (part * DIGIT_BITS)) + coefficient);
    debug_assert!(sum.sign() != Sign::Minus);
    sum.into_parts().1
}

/// `(a / b, a % b)`; `b` is not zero.
pub fn quotient(a: &BigUint, b: &BigUint) -> (BigUint, BigUint) {
    let (digits_a, digits_b) = (digits(a), digits(b));
    if digits_b <= DIVISOR_DIGITS || digits_a < digits_b + DIVISOR_DIGITS {
        return at_once(a, b);
    }
    // The divisor gets a length that can be halved until it is short, and a one as its highest bit.
    let halvings = (digits_b.div_ceil(DIVISOR_DIGITS) as u32).next_power_of_two().ilog2();
    let length = digits_b.div_ceil(1 << halvings) << halvings;
    let shift = length * DIGIT_BITS - b.bits() as usize;
    let (a, b) = (a << shift, b << shift);
    let blocks: Vec<BigUint> =
        a.to_u32_digits().chunks(2 * length).map(BigUint::from_slice).collect();
    let (mut quotient, mut rest) = (BigUint::zero(), BigUint::zero());
    for block in blocks.into_iter().rev() {
        let (part, left) = two_by_one(shifted(rest, length) + block, &b, length);
        quotient = shifted(quotient, length) + part;
        rest = left;
    }
    (quotient, rest >> shift)
}

/// By `num-bigint`, in parts of the dividend where it is long.
fn at_once(a: &BigUint, b: &BigUint) -> (BigUint, BigUint) {
    const PART_DIGITS: usize = 2 * DIVISOR_DIGITS;
    let (digits_a, digits_b) = (digits(a), digits(b));
    if digits_a <= digits_b + PART_DIGITS {
        count(digits_a.saturating_sub(digits_b).min(PART_DIGITS) * digits_b + digits_a);
        return a.div_rem(b);
    }
    let mut parts: Vec<u32> = Vec::new();
    let mut rest = BigUint::zero();
    for part in a.to_u32_digits().chunks(2 * PART_DIGITS).rev() {
        let dividend = (rest << (part.len() * 32)) + BigUint::from_slice(part);
        count(part.len() * digits_b);
        let (quotient, left) = dividend.div_rem(b);
        let mut quotient = quotient.to_u32_digits();
        quotient.resize(part.len(), 0);
        parts.splice(0..0, quotient);
        rest = left;
    }
    (BigUint::new(parts), rest)
}

/// Divides a number of less than twice the divisor's `length`, where the quotient has no more
/// digits than the divisor.
fn two_by_one(a: BigUint, b: &BigUint, length: usize) -> (BigUint, BigUint) {
    if length <= DIVISOR_DIGITS || !length.is_multiple_of(2) {
        return at_once(&a, b);
    }
    let half = length / 2;
    let (lowest, upper) = split(&a, half);
    let (high, rest) = three_by_two(upper, b, half);
    let (low, rest) = three_by_two(shifted(rest, half) + lowest, b, half);
    (shifted(high, half) + low, rest)
}

/// Divides three halves by two.
fn three_by_two(a: BigUint, b: &BigUint, half: usize) -> (BigUint, BigUint) {
    let (b_low, b_high) = split(b, half);
    let (a_low, a_upper) = split(&a, half);
    let (_, a_highest) = split(&a_upper, half);
    let (mut quotient, rest) = if a_highest < b_high {
        two_by_one(a_upper, &b_high, half)
    } else {
        let largest = shifted(BigUint::from(1u32), half) - 1u32;
        let rest = a_upper + &b_high - shifted(b_high, half);
        (largest, rest)
    };
    let mut rest =
        BigInt::from(shifted(rest, half) + a_low) - BigInt::from(product(&quotient, &b_low));
    // At most twice.
    while rest.sign() == Sign::Minus {
        rest += BigInt::from(b.clone());
        quotient -= 1u32;
    }
    (quotient, rest.into_parts().1)
}

/// The characters of a base whose number is written at once.
fn text_length(base: u32) -> usize {
    TEXT_DIGITS * DIGIT_BITS / (base.ilog2() as usize + 1)
}

/// `base` to the power of `characters`, twice as many, and so on, up to the last that has no more
/// digits than `number`'s half.
fn powers(base: u32, characters: usize, limit_bits: usize) -> Vec<BigUint> {
    let mut powers = vec![BigUint::from(base).pow(characters as u32)];
    while powers.last().is_some_and(|last| last.bits() as usize * 2 <= limit_bits + DIGIT_BITS) {
        let last = &powers[powers.len() - 1];
        powers.push(product(last, last));
    }
    powers
}

/// The number in base 2 to 36, with small letters.
pub fn text(number: &BigUint, base: u32) -> String {
    if digits(number) <= TEXT_DIGITS || base.is_power_of_two() {
        return number.to_str_radix(base);
    }
    let characters = text_length(base);
    let powers = powers(base, characters, number.bits() as usize);
    let mut out = String::new();
    write(number, base, characters, &powers, false, &mut out);
    out
}

/// Writes a number less than the square of the last of `powers`; as wide as that may be where
/// something stands in front of it.
fn write(
    number: &BigUint,
    base: u32,
    characters: usize,
    powers: &[BigUint],
    is_behind: bool,
    out: &mut String,
) {
    let Some((power, smaller)) = powers.split_last() else {
        count(TEXT_DIGITS * TEXT_DIGITS / 2);
        let text =
            if is_behind || !number.is_zero() { number.to_str_radix(base) } else { String::new() };
        if is_behind {
            out.extend(std::iter::repeat_n('0', characters - text.len()));
        }
        out.push_str(&text);
        return;
    };
    let (high, low) = quotient(number, power);
    let before = out.len();
    write(&high, base, characters, smaller, is_behind, out);
    write(&low, base, characters, smaller, is_behind || out.len() > before, out);
}

/// The number that characters of a base mean, which all are digits of that base.
pub fn parse(text: &[u8], base: u32) -> Option<BigUint> {
    let characters = text_length(base);
    if text.len() <= characters || base.is_power_of_two() {
        return BigUint::parse_bytes(text, base);
    }
    // So many parts of `characters`, the first of which may be shorter.
    let parts = text.len().div_ceil(characters);
    let levels = parts.next_power_of_two().ilog2() as usize;
    let mut powers = vec![BigUint::from(base).pow(characters as u32)];
    while powers.len() < levels {
        let last = &powers[powers.len() - 1];
        powers.push(product(last, last));
    }
    read(text, base, characters, &powers)
}

fn read(text: &[u8], base: u32, characters: usize, powers: &[BigUint]) -> Option<BigUint> {
    if text.len() <= characters {
        count(TEXT_DIGITS * TEXT_DIGITS / 2);
        return BigUint::parse_bytes(text, base);
    }
    let (power, smaller) = powers.split_last()?;
    let width = characters << smaller.len();
    if text.len() <= width {
        return read(text, base, characters, smaller);
    }
    let (high, low) = text.split_at(text.len() - width);
    Some(
        product(&read(high, base, characters, smaller)?, power)
            + read(low, base, characters, smaller)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of that many digits, some of which are all zeros or all ones.
    fn number(state: &mut u64, digits: usize) -> BigUint {
        let mut next = || {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *state >> 32
        };
        let kind = next() % 4;
        let halves: Vec<u32> = (0..2 * digits)
            .map(|_| match (kind, next()) {
                (0, _) => u32::MAX,
                (1, random) if random % 8 > 0 => 0,
                (2, random) if random % 8 > 0 => u32::MAX,
                (_, random) => random as u32,
            })
            .collect();
        BigUint::new(halves)
    }

    #[test]
    fn results_are_those_of_the_plain_methods() {
        let mut state = 7;
        for (digits_a, digits_b) in [
            (1, 1),
            (5, 3),
            (300, 150),
            (1500, 1200),
            (3300, 1100),
            (9000, 40),
            (7000, 6999),
            (5000, 1700),
            (20_000, 500),
        ] {
            for _ in 0..4 {
                let (a, b) = (number(&mut state, digits_a), number(&mut state, digits_b) + 1u32);
                assert!(product(&a, &b) == &a * &b, "{digits_a} * {digits_b}");
                assert!(quotient(&a, &b) == (&a / &b, &a % &b), "{digits_a} / {digits_b}");
                let ours = &a * &b;
                assert!(
                    quotient(&ours, &b) == (a, BigUint::zero()),
                    "{digits_a} * {digits_b} / {digits_b}"
                );
            }
        }
    }

    #[test]
    fn text_is_read_as_it_was_written() {
        let mut state = 11;
        for digits in [0, 1, 10, 63, 64, 65, 129, 200, 1000, 1025] {
            for base in [2, 3, 10, 16, 36] {
                let number = number(&mut state, digits);
                let text = text(&number, base);
                assert!(text == number.to_str_radix(base), "{digits} digits in base {base}");
                assert!(
                    parse(text.as_bytes(), base) == Some(number),
                    "{digits} digits in base {base}"
                );
            }
        }
        let power = BigUint::from(10u32).pow(100_000);
        assert_eq!(text(&power, 10), format!("1{}", "0".repeat(100_000)));
        assert_eq!(text(&(power - 1u32), 10), "9".repeat(100_000));
    }
}
