//! What compiling a regular expression says when it fails: PCRE2's error numbers in the words of
//! the PCRE 8 that OTP 25 contains, because programs (and the test suites) compare them.

/// The number that PCRE2 counts its compile errors from.
const COMPILE_ERROR_BASE: i32 = 100;
/// OTP's text when groups nest too deep.
const TOO_DEEP: &str = "regular expression is too complicated";

/// The text for an error of `pcre2_compile`, where PCRE 8's differs from PCRE2's.
pub fn message(code: i32) -> Option<&'static str> {
    if code < 0 {
        return Some("invalid UTF-8 string");
    }
    Some(match code - COMPILE_ERROR_BASE {
        7 => "invalid escape sequence in character class",
        9 => "nothing to repeat",
        14 => "missing )",
        18 => "missing ) after comment",
        19 => TOO_DEEP,
        22 => "unmatched parentheses",
        24 => "malformed number or name after (?(",
        25 | 100 => "lookbehind assertion is not fixed length",
        26 => "a numbered reference must not be zero",
        27 => "conditional group contains more than two branches",
        28 => "assertion expected after (?( or (?(?C)",
        29 => "digit expected after (?+",
        33 => "parentheses are too deeply nested (stack check)",
        34 => "character value in \\x{} or \\o{} is too large",
        36 => "\\C not allowed in lookbehind assertion",
        37 => "PCRE does not support \\L, \\l, \\N{name}, \\U, or \\u",
        38 => "number after (?C is > 255",
        39 => "closing ) for (?C expected",
        42 => "syntax error in subpattern name (missing terminator)",
        43 => "two named subpatterns have the same name",
        44 => "group name must start with a non-digit",
        47 => "unknown property name after \\P or \\p",
        48 => "subpattern name is too long (maximum 32 characters)",
        54 => "DEFINE group contains more than one branch",
        58 => "(?R or (?[+-]digits must be followed by )",
        61 => "number is too big",
        68 => "\\c must be followed by an ASCII character",
        74 => "setting UTF is disabled by the application",
        77 => "character value in \\u.... sequence is too large",
        78 => "digits missing in \\x{} or \\o{}",
        _ => return None,
    })
}

/// The text of OTP 28 and later, where it differs from PCRE2's; without a place in the expression.
pub fn later_message(code: i32) -> Option<&'static str> {
    (code - COMPILE_ERROR_BASE == 19).then_some(TOO_DEEP)
}

/// Where in the expression PCRE 8 puts an error that PCRE2 finds at `offset`.
pub fn offset(code: i32, pattern: &[u8], offset: usize) -> usize {
    let before = &pattern[..offset.min(pattern.len())];
    match code - COMPILE_ERROR_BASE {
        13 => before.windows(2).rposition(|pair| pair == b"[." || pair == b"[=").unwrap_or(offset),
        30 => before.windows(2).rposition(|pair| pair == b"[:").map_or(offset, |at| at + 2),
        15 if before.ends_with(b"\\") => pattern.len(),
        15 if is_reference(before, pattern, b"k") => offset + 1,
        15 if is_reference(before, pattern, b"g") => {
            let start = before.windows(2).rposition(|pair| pair == b"\\g").unwrap_or(0);
            let number = pattern[start + 2..].strip_prefix(b"{").unwrap_or(&pattern[start + 2..]);
            let end = pattern[start..]
                .iter()
                .position(|&byte| byte == b'}')
                .map_or(offset, |end| start + end);
            if number.starts_with(b"-") { end } else { pattern.len() }
        }
        15 => match pattern[before.len()..].iter().position(|&byte| byte == b')') {
            Some(end) if is_condition(before) => offset + end + 1,
            Some(end) => offset + end,
            None => offset,
        },
        25 | 100 => closing_parenthesis(pattern, offset),
        27 | 54 => before
            .windows(3)
            .rposition(|start| start == b"(?(")
            .map_or(offset, |start| closing_parenthesis(pattern, start)),
        37 | 43 | 47 | 50 | 51 | 57 | 69 => offset.saturating_sub(1),
        _ => offset,
    }
}

/// Where OTP 28 and later put it, whose PCRE2 is younger: a reference by number ends a byte later.
pub fn later_offset(code: i32, pattern: &[u8], offset: usize) -> usize {
    let before = &pattern[..offset.min(pattern.len())];
    let escape = before.iter().rposition(|&byte| byte == b'\\').map(|at| &pattern[at + 1..]);
    let by_number = escape.is_some_and(|escape| {
        let number = escape.strip_prefix(b"g").unwrap_or(escape);
        number.strip_prefix(b"{").unwrap_or(number).first().is_some_and(u8::is_ascii_digit)
    });
    if code - COMPILE_ERROR_BASE == 15 && by_number { offset + 1 } else { offset }
}

/// Whether the last escape of `before` is a reference by `\\g` or `\\k`.
fn is_reference(before: &[u8], pattern: &[u8], letter: &[u8; 1]) -> bool {
    let is_last = |at: usize| pattern[at + 1..].first() == letter.first();
    before.iter().rposition(|&byte| byte == b'\\').is_some_and(is_last)
}

/// Whether the expression ends in the condition of a conditional group.
fn is_condition(before: &[u8]) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_<'+-".contains(byte);
    let end = before.iter().rposition(|byte| !name(byte)).map_or(0, |last| last + 1);
    before[..end].ends_with(b"(?(") || before.ends_with(b"(?")
}

/// The position of the parenthesis that closes the one at `start`.
fn closing_parenthesis(pattern: &[u8], start: usize) -> usize {
    let (mut depth, mut at, mut in_class) = (0, start, false);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    start
}
