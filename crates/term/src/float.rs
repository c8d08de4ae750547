//! Floats as text, and text as floats.

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
/// Up to this many decimals, and up to 2^53, OTP computes the digits itself, which does not always round as printing
/// the exact value would.
const QUICK_DECIMALS_MAX: usize = 18;
const POWERS_OF_TEN: [f64; QUICK_DECIMALS_MAX + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];
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
        Format::Decimals { digits, compact } => decimals(value, usize::try_from(digits as i32).ok()?, compact)?,
    };
    (text.len() < BUFFER_LEN).then_some(text)
}

/// `d.ddd…e±dd` with `digits` digits after the point.
pub fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

fn decimals(value: f64, digits: usize, compact: bool) -> Option<String> {
    if digits >= BUFFER_LEN {
        return None;
    }
    let magnitude = value.abs();
    if magnitude > EXACT_INTEGER_MAX || digits > QUICK_DECIMALS_MAX {
        let text = format!("{value:.digits$}");
        // Zeros go even where there is no point.
        return (text.len() < BUFFER_LEN).then(|| if compact { without_trailing_zeros(text) } else { text });
    }
    // Both are below 2^63, so that cutting off is exact; half a digit goes up, as C's `round` has it.
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
    let (whole, fraction) = if fraction as f64 >= power { (whole + 1, 0) } else { (whole, fraction) };
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

/// The shortest text that reads back as `value`, plain or with an exponent, whichever is shorter; integers that
/// not every float near them can tell apart have an exponent.
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

/// The decimal number with the fewest digits that reads back as `value`, which is positive: its digits, without zeros at either
/// end, as text and as a number, and the power of ten that they are multiplied with. Ryu's, because of two as near as
/// each other it takes the same one as OTP.
fn shortest_decimal(value: f64, digits: &mut [u8; DIGITS_MAX]) -> (&str, u64, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or("", |(_, fraction)| fraction);
    let mut exponent = exponent.parse::<i32>().unwrap_or(0) - fraction.len() as i32;
    let mut len = 0;
    for digit in mantissa.bytes().filter(|&byte| byte != b'.') {
        if len > 0 || digit != b'0' {
            digits[len] = digit;
            len += 1;
        }
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
        exponent += 1;
    }
    let number = digits[..len].iter().fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (std::str::from_utf8(&digits[..len]).expect("digits are ASCII"), number, exponent)
}

/// The value of a float written as Erlang writes them: digits, a point (or a comma), digits, and perhaps an exponent.
/// `None` when it is not written so, or too large.
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
    let value: f64 = if text.as_bytes()[point] == b',' { text.replacen(',', ".", 1).parse().ok()? } else { text.parse().ok()? };
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

    #[test]
    fn texts_that_are_no_floats() {
        for text in ["", "1", "1.", ".5", "1.5e", "1.5e+", " 1.5", "1.5 ", "1.0e400", "nan", "1e5"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"-1.5E+3"), Some(-1500.0));
        assert_eq!(parse(b"1,5"), Some(1.5));
    }
}
