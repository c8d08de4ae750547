//! Long division of magnitudes: Knuth's algorithm D (The Art of Computer Programming, volume 2,
//! 4.3.1) in base 2^64, with the reciprocal of the divisor's highest digit in place of a division a
//! digit (Möller and Granlund, "Improved division by invariant integers").

/// The largest double digit divided by the digit, without its highest bit, which is always set.
fn reciprocal(digit: u64) -> u64 {
    debug_assert!(digit >> 63 == 1);
    (u128::MAX / u128::from(digit)) as u64
}

/// Divides two digits by one with its highest bit set, where the quotient is a digit: quotient and
/// rest.
#[inline(always)]
fn two_by_one(high: u64, low: u64, divisor: u64, reciprocal: u64) -> (u64, u64) {
    debug_assert!(high < divisor);
    let estimate = u128::from(reciprocal) * u128::from(high);
    let estimate = estimate.wrapping_add(u128::from(high) << 64 | u128::from(low));
    let mut quotient = ((estimate >> 64) as u64).wrapping_add(1);
    let mut rest = low.wrapping_sub(quotient.wrapping_mul(divisor));
    if rest > estimate as u64 {
        quotient = quotient.wrapping_sub(1);
        rest = rest.wrapping_add(divisor);
    }
    if rest >= divisor {
        quotient = quotient.wrapping_add(1);
        rest -= divisor;
    }
    (quotient, rest)
}

/// `out = digits << shift`, where `shift` is less than a digit and what is shifted out fits `out`.
fn shift_left(digits: &[u64], shift: u32, out: &mut [u64]) {
    let mut carry = 0;
    for (out, &digit) in out.iter_mut().zip(digits) {
        *out = digit << shift | carry;
        carry = if shift == 0 { 0 } else { digit >> (64 - shift) };
    }
    if let Some(out) = out.get_mut(digits.len()) {
        *out = carry;
    }
}

/// Subtracts `factor` times the divisor; whether there was a borrow.
#[inline(always)]
fn subtract_multiple(part: &mut [u64], divisor: &[u64], factor: u64) -> bool {
    let mut borrow: u64 = 0;
    for (digit, &by) in part.iter_mut().zip(divisor) {
        let product = u128::from(factor) * u128::from(by) + u128::from(borrow);
        let (difference, under) = digit.overflowing_sub(product as u64);
        *digit = difference;
        borrow = (product >> 64) as u64 + u64::from(under);
    }
    let highest = &mut part[divisor.len()];
    let (difference, under) = highest.overflowing_sub(borrow);
    *highest = difference;
    under
}

fn add_back(part: &mut [u64], divisor: &[u64]) {
    let mut carry = false;
    for (digit, &by) in part.iter_mut().zip(divisor) {
        let (sum, over) = digit.overflowing_add(by);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        *digit = sum;
        carry = over || over_again;
    }
    let highest = &mut part[divisor.len()];
    *highest = highest.wrapping_add(u64::from(carry));
}

/// Divides `a` by `b`, digits from the lowest. `quotient` gets `a.len() - b.len() + 1` digits.
/// `work` has room for `a.len() + 1 + b.len()` and holds the rest afterwards, in its first
/// `b.len()` digits.
///
/// # Panics
/// When `b` has fewer than two digits or a zero as its highest, when `a` is shorter, or a slice has
/// another length.
pub(crate) fn divide(a: &[u64], b: &[u64], quotient: &mut [u64], work: &mut [u64]) {
    assert!(b.len() >= 2 && a.len() >= b.len());
    assert_eq!(quotient.len(), a.len() - b.len() + 1);
    let shift = b[b.len() - 1].leading_zeros();
    assert!(shift < 64);
    let (rest, divisor) = work.split_at_mut(a.len() + 1);
    assert_eq!(divisor.len(), b.len());
    shift_left(a, shift, rest);
    shift_left(b, shift, divisor);
    let (highest, second) = (divisor[b.len() - 1], divisor[b.len() - 2]);
    let reciprocal = reciprocal(highest);
    for (at, out) in quotient.iter_mut().enumerate().rev() {
        let part = &mut rest[at..=at + b.len()];
        let (first, next, third) = (part[b.len()], part[b.len() - 1], part[b.len() - 2]);
        let mut estimate = u64::MAX;
        if first < highest {
            let (digit, left) = two_by_one(first, next, highest, reciprocal);
            estimate = digit;
            // At most two too large, and nearly always right once the next digit is looked at.
            let mut left = Some(left);
            while let Some(over) = left
                && u128::from(estimate) * u128::from(second)
                    > u128::from(over) << 64 | u128::from(third)
            {
                estimate -= 1;
                left = over.checked_add(highest);
            }
        }
        if subtract_multiple(part, divisor, estimate) {
            estimate -= 1;
            add_back(part, divisor);
            // Where the highest digits are equal, the first estimate may be two too large.
            if part[b.len()] != 0 {
                estimate -= 1;
                add_back(part, divisor);
            }
        }
        *out = estimate;
    }
    if shift > 0 {
        for at in 0..b.len() {
            rest[at] = rest[at] >> shift | rest[at + 1] << (64 - shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;

    fn big(digits: &[u64]) -> BigUint {
        digits.iter().rev().fold(BigUint::ZERO, |sum, &digit| (sum << 64) + digit)
    }

    fn check(a: &[u64], b: &[u64]) {
        let mut quotient = vec![0; a.len() - b.len() + 1];
        let mut work = vec![0; a.len() + 1 + b.len()];
        divide(a, b, &mut quotient, &mut work);
        let (x, y) = (big(a), big(b));
        assert_eq!((big(&quotient), big(&work[..b.len()])), (&x / &y, &x % &y), "{a:x?} / {b:x?}");
    }

    #[test]
    fn quotient_and_rest_are_those_of_num_bigint() {
        // Digits at the edges show where an estimate is wrong; others come from a generator.
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut digit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 8 {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << 63,
                3 => (1 << 63) - 1,
                4 => 1,
                _ => state,
            }
        };
        for round in 0..40_000 {
            let mut b: Vec<u64> = (0..2 + round % 7).map(|_| digit()).collect();
            if b.last() == Some(&0) {
                b.pop();
                b.push(1);
            }
            let a: Vec<u64> = (0..b.len() + round % 5).map(|_| digit()).collect();
            check(&a, &b);
        }
    }
}
