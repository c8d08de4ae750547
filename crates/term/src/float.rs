//! Floats as text, and text as floats.

use std::cmp::Ordering;

/// How `float_to_list/2` and `float_to_binary/2` write a float.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `{scientific, Digits}`; the default of `float_to_list/1` is 20.
    Scientific(i64),
    /// `{decimals, Digits}`, with `compact` without zeros at the end.
    Decimals { digits: i64, compact: bool },
    /// `short`: the fewest digits that read back as the same float.
    Short,
}

/// OTP formats into a buffer of this size, and refuses what does not fit with its terminator.
const BUFFER_LEN: usize = 256;
/// Up to this many decimals, and up to 2^53, OTP computes the digits itself, which does not always
/// round as printing the exact value would.
const QUICK_DECIMALS_MAX: usize = 18;
const POWERS_OF_TEN: [f64; QUICK_DECIMALS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// The text of a float; `None` when the number of digits is out of range.
pub fn format(value: f64, format: Format) -> Option<String> {
    let text = match format {
        Format::Short => short(value),
        // The C library takes a negative precision for its default.
        Format::Scientific(digits) => match usize::try_from(digits as i32) {
            Ok(digits) if digits < BUFFER_LEN => scientific(value, digits),
            Ok(_) => return None,
            Err(_) => scientific(value, 6),
        },
        Format::Decimals { digits, compact } => {
            decimals(value, usize::try_from(digits as i32).ok()?, compact)?
        }
    };
    (text.len() < BUFFER_LEN).then_some(text)
}

/// `d.ddd…e±dd` with `digits` digits after the point.
pub fn scientific(value: f64, digits: usize) -> String {
    if let Some((number, exponent)) = exact_decimal(value.abs(), digits) {
        const HALF_DIGITS: usize = 11;
        let half = 10u128.pow(HALF_DIGITS as u32);
        let mut all = String::with_capacity(digits + 1);
        let (high, low) = ((number / half) as u64, (number % half) as u64);
        if high > 0 {
            push_number(&mut all, high, 1);
        }
        push_number(&mut all, low, if high > 0 { HALF_DIGITS } else { 1 });
        let mut text = String::with_capacity(digits + 8);
        if value.is_sign_negative() {
            text.push('-');
        }
        text.push_str(&all[..1]);
        text.push('.');
        text.push_str(&all[1..]);
        text.push_str(if exponent < 0 { "e-" } else { "e+" });
        push_number(&mut text, u64::from(exponent.unsigned_abs()), 2);
        return text;
    }
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) =
        exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// The decimal number of one digit and `digits` more that is nearest to `value` (of two as near,
/// the even one), as an integer, and the power of ten of its first digit. `None` for what is not of
/// a middling size, where 192 bits hold all there is to know.
fn exact_decimal(value: f64, digits: usize) -> Option<(u128, i32)> {
    const DIGITS_MAX: usize = 20;
    if !(1e-17..1e37).contains(&value) || !(1..=DIGITS_MAX).contains(&digits) {
        return None;
    }
    let bits = value.to_bits();
    // A value of this size is no subnormal number.
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let binary_exponent = (bits >> 52) as i32 - 1075;
    let least = 10u128.pow(digits as u32);
    // Never too large, so that a number which is rounded up to a digit more is told from one that
    // has it.
    const LOGARITHM_ERROR: f64 = 1e-9;
    let exponent = (value.log10() - LOGARITHM_ERROR).floor() as i32;
    let at = |exponent: i32| {
        Some((scaled(mantissa, binary_exponent, digits as i32 - exponent), exponent))
    };
    at(exponent).filter(|&(number, _)| number < least * 10).or_else(|| at(exponent + 1))
}

/// `mantissa * 2^binary * 10^decimal`, rounded to the nearest integer, to the even one of two. The
/// value is below 2^127; with a negative power of two, `decimal` is at most 38, and the result
/// below 2^127.
fn scaled(mantissa: u64, binary: i32, decimal: i32) -> u128 {
    let (mantissa, power) = (u128::from(mantissa), 10u128.pow(decimal.unsigned_abs()));
    // How what is cut off stands to a half.
    let rounded = |whole: u128, rest: Ordering| {
        whole + u128::from(rest.is_gt() || rest.is_eq() && whole & 1 == 1)
    };
    if decimal < 0 {
        let (value, fraction) = if binary >= 0 {
            (mantissa << binary, 0)
        } else {
            cut(mantissa, binary.unsigned_abs())
        };
        return rounded(value / power, (value % power, fraction).cmp(&(power / 2, 0)));
    }
    if binary >= 0 {
        return (mantissa << binary) * power;
    }
    // 192 bits: the lowest 64, and those above.
    let low = mantissa * u128::from(power as u64);
    let high = mantissa * (power >> 64) + (low >> 64);
    let (low, shift) = (low as u64, binary.unsigned_abs());
    if shift < 64 {
        let whole = high << (64 - shift) | u128::from(low >> shift);
        return rounded(whole, (low & ((1 << shift) - 1)).cmp(&(1 << (shift - 1))));
    }
    let (whole, rest) = cut(high, shift - 64);
    let half = if shift == 64 { (0, 1 << 63) } else { (1 << (shift - 65), 0) };
    rounded(whole, (rest, low).cmp(&half))
}

/// A number without its lowest bits, and those bits.
fn cut(number: u128, bits: u32) -> (u128, u128) {
    (number >> bits, number & ((1 << bits) - 1))
}

fn decimals(value: f64, digits: usize, compact: bool) -> Option<String> {
    if digits >= BUFFER_LEN {
        return None;
    }
    let magnitude = value.abs();
    if magnitude > EXACT_INTEGER_MAX || digits > QUICK_DECIMALS_MAX {
        let text = format!("{value:.digits$}");
        // Zeros go even where there is no point.
        return (text.len() < BUFFER_LEN)
            .then(|| if compact { without_trailing_zeros(text) } else { text });
    }
    // Both are below 2^63, so that cutting off is exact; half a digit goes up, as C's `round` has
    // it.
    let round = |positive: f64| {
        let whole = positive as i64;
        whole + i64::from(positive - whole as f64 >= 0.5)
    };
    let mut text = String::with_capacity(48);
    if value.is_sign_negative() {
        text.push('-');
    }
    if digits == 0 {
        push_number(&mut text, round(magnitude) as u64, 0);
        return Some(text);
    }
    let whole = magnitude as i64;
    let power = POWERS_OF_TEN[digits];
    let fraction = round((magnitude - whole as f64) * power);
    let (whole, fraction) =
        if fraction as f64 >= power { (whole + 1, 0) } else { (whole, fraction) };
    push_number(&mut text, whole as u64, 0);
    text.push('.');
    push_number(&mut text, fraction as u64, digits);
    Some(if compact { without_trailing_zeros(text) } else { text })
}

/// Appends a number with at least so many digits.
fn push_number(text: &mut String, mut number: u64, digits_min: usize) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while number > 0 {
        at -= 1;
        digits[at] += (number % 10) as u8;
        number /= 10;
    }
    at = at.min(DIGITS_MAX - digits_min.clamp(1, DIGITS_MAX));
    text.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

/// One zero after a point stays.
fn without_trailing_zeros(mut text: String) -> String {
    text.truncate(text.trim_end_matches('0').len());
    if text.ends_with('.') {
        text.push('0');
    }
    text
}

/// The shortest text that reads back as `value`, plain or with an exponent, whichever is shorter;
/// integers that not every float near them can tell apart have an exponent.
pub fn short(value: f64) -> String {
    let mut text = String::with_capacity(32);
    if value.is_sign_negative() {
        text.push('-');
    }
    if value == 0.0 {
        text.push_str("0.0");
        return text;
    }
    let mut buffer = [0; DIGITS_MAX];
    let (digits, number, exponent) = shortest_decimal(value.abs(), &mut buffer);
    let len = digits.len() as i32;
    let scientific_exponent = exponent + len - 1;
    let (lowest, highest) = match (len, scientific_exponent) {
        (1, _) => (-4, 2),
        (_, 10..) => (-(len + 2), 2),
        _ => (-(len + 2), 1),
    };
    let beyond_exact = match exponent {
        0 => number >= 1 << 53,
        1 => number > (1 << 52) / 5,
        2 => number > (1 << 51) / 25,
        _ => false,
    };
    let push_zeros = |text: &mut String, count: i32| (0..count).for_each(|_| text.push('0'));
    let whole = len + exponent;
    if !(lowest..=highest).contains(&exponent) || beyond_exact {
        let (first, rest) = digits.split_at(1);
        text.push_str(first);
        text.push('.');
        text.push_str(if rest.is_empty() { "0" } else { rest });
        text.push('e');
        if scientific_exponent < 0 {
            text.push('-');
        }
        push_number(&mut text, u64::from(scientific_exponent.unsigned_abs()), 1);
    } else if exponent >= 0 {
        text.push_str(digits);
        push_zeros(&mut text, exponent);
        text.push_str(".0");
    } else if whole > 0 {
        let (before, after) = digits.split_at(whole as usize);
        text.push_str(before);
        text.push('.');
        text.push_str(after);
    } else {
        text.push_str("0.");
        push_zeros(&mut text, -whole);
        text.push_str(digits);
    }
    text
}

/// Digits of the longest of the shortest texts, which have 17, with room for zeros around them.
const DIGITS_MAX: usize = 32;

/// The decimal number with the fewest digits that reads back as `value`, which is positive: its
/// digits, without zeros at either end, as text and as a number, and the power of ten that they are
/// multiplied with. Ryu's, because of two as near as each other it takes the same one as OTP.
fn shortest_decimal(value: f64, digits: &mut [u8; DIGITS_MAX]) -> (&str, u64, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (mut len, mut number, mut exponent) = (0, 0u64, 0);
    let mut is_fraction = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'.' => is_fraction = true,
            b'e' => {
                let (is_negative, power) = text[at + 1..]
                    .strip_prefix(b"-")
                    .map_or((false, &text[at + 1..]), |power| (true, power));
                let power =
                    power.iter().fold(0, |power, digit| power * 10 + i32::from(digit - b'0'));
                exponent += if is_negative { -power } else { power };
                break;
            }
            digit => {
                exponent -= i32::from(is_fraction);
                if len > 0 || digit != b'0' {
                    digits[len] = digit;
                    len += 1;
                    number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                }
            }
        }
    }
    while len > 1 && digits[len - 1] == b'0' {
        (len, number, exponent) = (len - 1, number / 10, exponent + 1);
    }
    (std::str::from_utf8(&digits[..len]).expect("digits are ASCII"), number, exponent)
}

/// The value of a float written as Erlang writes them: digits, a point (or a comma), digits, and
/// perhaps an exponent. `None` when it is not written so, or too large.
pub fn parse(text: &[u8]) -> Option<f64> {
    // As in C, the text ends at a zero byte.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = |text: &'_ [u8]| usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let whole = unsigned(text);
    let point = whole + digits(&text[whole..]);
    if point == whole || !matches!(text.get(point), Some(b'.' | b',')) {
        return None;
    }
    let fraction = point + 1;
    let end = fraction + digits(&text[fraction..]);
    if end == fraction {
        return None;
    }
    match &text[end..] {
        [] => {}
        [b'e' | b'E', exponent @ ..] => {
            let exponent = &exponent[unsigned(exponent)..];
            if exponent.is_empty() || digits(exponent) != exponent.len() {
                return None;
            }
        }
        _ => return None,
    }
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = if text.as_bytes()[point] == b',' {
        text.replacen(',', ".", 1).parse().ok()?
    } else {
        text.parse().ok()?
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_floats() {
        let cases = [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e21, "1.0e21"),
            (123_456.0, "123456.0"),
            (1e-5, "1.0e-5"),
            (9_007_199_254_740_991.0, "9007199254740991.0"),
            (9_007_199_254_740_992.0, "9.007199254740992e15"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }

    /// What the digits come to by way of integers is what the standard library says.
    #[test]
    fn scientific_digits() {
        let plain = |value: f64, digits: usize| {
            let text = format!("{value:.digits$e}");
            let (mantissa, exponent) = text.split_once('e').expect("an exponent");
            let (sign, exponent) =
                exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{exponent:0>2}")
        };
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let ties = [
            0.5,
            1.5,
            2.5,
            1.25,
            1.75,
            12.5,
            0.125,
            9.5,
            99.5,
            999.5,
            0.001_953_125,
            1e15 + 0.5,
            4_503_599_627_370_497.5,
        ];
        let edges =
            [1e-17, 1e-18, 1e37, 1.0, 10.0, 1e22, 1e23, 9.999_999_999_999_999_5, 0.1, 1e-5, -3.25];
        let more = (0..if cfg!(miri) { 20 } else { 20_000 }).map(|_| {
            let exponent = 1023 - 60 + random() % 190;
            f64::from_bits(
                exponent << 52
                    | random()
                        & ((1 << 52) - 1)
                        & if random().is_multiple_of(3) { !0 << 40 } else { !0 },
            )
        });
        for value in ties.into_iter().chain(edges).chain(more) {
            for digits in 1..=21 {
                assert_eq!(
                    scientific(value, digits),
                    plain(value, digits),
                    "{value:e} with {digits} digits"
                );
            }
        }
    }

    #[test]
    fn texts_that_are_no_floats() {
        for text in ["", "1", "1.", ".5", "1.5e", "1.5e+", " 1.5", "1.5 ", "1.0e400", "nan", "1e5"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"-1.5E+3"), Some(-1500.0));
        assert_eq!(parse(b"1,5"), Some(1.5));
    }
}
