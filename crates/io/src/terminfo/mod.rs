//! What terminals can do: the terminfo database (term(5)) and its parameterised strings
//! (terminfo(5)).

use std::path::PathBuf;
use std::sync::OnceLock;

/// Names of a capability: terminfo's, termcap's, and the long one.
pub type Names = [&'static str; 3];

/// The capabilities in the order in which compiled descriptions have them.
pub struct Capabilities {
    pub flags: Vec<Names>,
    pub numbers: Vec<Names>,
    pub strings: Vec<Names>,
}

/// The capabilities of X/Open Curses and those that ncurses adds. A line each; `bool`, `num` and
/// `str` begin a list.
pub fn capabilities() -> &'static Capabilities {
    static CAPABILITIES: OnceLock<Capabilities> = OnceLock::new();
    CAPABILITIES.get_or_init(|| {
        let mut lists: [Vec<Names>; 3] = Default::default();
        let mut list = 0;
        for line in include_str!("capabilities.txt").lines() {
            let mut words = line.split(' ');
            match [words.next(), words.next(), words.next()] {
                [Some(name), Some(code), Some(long)] => lists[list].push([name, code, long]),
                [Some("num"), ..] => list = 1,
                [Some("str"), ..] => list = 2,
                _ => {}
            }
        }
        let [flags, numbers, strings] = lists;
        Capabilities { flags, numbers, strings }
    })
}

/// A terminal's description.
#[derive(Default, PartialEq, Debug)]
pub struct Terminfo {
    flags: Vec<bool>,
    numbers: Vec<i32>,
    strings: Vec<Option<Vec<u8>>>,
}

/// The magic number of descriptions with numbers of two bytes, and of four.
const MAGIC_NARROW: u16 = 0o432;
const MAGIC_WIDE: u16 = 0o1036;
const HEADER_BYTES: usize = 12;
const FOLDERS: [&str; 4] =
    ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"];

/// Where descriptions may lie, the user's own first.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(std::env::var_os("TERMINFO").map(PathBuf::from));
    folders.extend(std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".terminfo")));
    if let Some(listed) = std::env::var_os("TERMINFO_DIRS") {
        folders.extend(std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()));
    }
    folders.extend(FOLDERS.map(PathBuf::from));
    folders
}

impl Terminfo {
    /// The description of a terminal by its name, such as `xterm`.
    pub fn load(name: &str) -> Option<Terminfo> {
        let first = *name.as_bytes().first()?;
        if name.contains('/') {
            return None;
        }
        // A folder per first character, by its letter or, on systems that ignore case, its code.
        let inner = [char::from(first).to_string(), format!("{first:x}")];
        folders()
            .iter()
            .flat_map(|folder| inner.iter().map(move |inner| folder.join(inner).join(name)))
            .find_map(|path| Terminfo::parse(&std::fs::read(path).ok()?))
    }

    fn parse(bytes: &[u8]) -> Option<Terminfo> {
        let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let number_bytes = match short(0)? {
            MAGIC_NARROW => 2,
            MAGIC_WIDE => 4,
            _ => return None,
        };
        let size = |index: usize| Some(usize::from(short(2 * index)?));
        let (names, flags, numbers) = (size(1)?, size(2)?, size(3)?);
        let (strings, table_bytes) = (size(4)?, size(5)?);
        let flags_at = HEADER_BYTES + names;
        // Numbers are aligned to two bytes.
        let numbers_at = (flags_at + flags).next_multiple_of(2);
        let offsets_at = numbers_at + numbers * number_bytes;
        let table_at = offsets_at + 2 * strings;
        let table = bytes.get(table_at..table_at + table_bytes)?;
        Some(Terminfo {
            flags: bytes.get(flags_at..flags_at + flags)?.iter().map(|&flag| flag == 1).collect(),
            numbers: bytes
                .get(numbers_at..offsets_at)?
                .chunks_exact(number_bytes)
                .map(|chunk| match *chunk {
                    [a, b] => i32::from(i16::from_le_bytes([a, b])),
                    [a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
                    _ => -1,
                })
                .collect(),
            strings: bytes
                .get(offsets_at..table_at)?
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&offset| {
                    // Absent (-1) and cancelled (-2) ones are beyond the table.
                    let text = table.get(usize::from(u16::from_le_bytes(offset))..)?;
                    Some(text.split(|&byte| byte == 0).next()?.to_vec())
                })
                .collect(),
        })
    }

    /// Whether the terminal has a flag, by its place among [`Capabilities::flags`].
    pub fn flag(&self, index: usize) -> bool {
        self.flags.get(index).is_some_and(|&flag| flag)
    }
    /// A number; -1 where the terminal has none.
    pub fn number(&self, index: usize) -> i32 {
        self.numbers.get(index).map_or(-1, |&number| number.max(-1))
    }
    /// A string, by its place among [`Capabilities::strings`]; `None` where the terminal has none.
    pub fn string(&self, index: usize) -> Option<&[u8]> {
        self.strings.get(index)?.as_deref()
    }
}

/// The place of a capability by its termcap code: the first two characters of `code` count.
pub fn by_code(list: &[Names], code: &[u8]) -> Option<usize> {
    let wanted = &code[..code.len().min(2)];
    list.iter().position(|names| names[1].as_bytes() == wanted)
}

/// The place of a capability by its terminfo name.
pub fn by_name(list: &[Names], name: &[u8]) -> Option<usize> {
    list.iter().position(|names| names[0].as_bytes() == name)
}

/// A value on the stack of a parameterised string.
fn pop(stack: &mut Vec<i64>) -> i64 {
    stack.pop().unwrap_or(0)
}

/// Skips from behind `%t` or `%e` to behind the `%e` (where asked for) or `%;` that belongs to it.
fn skip_branch(text: &[u8], mut at: usize, stop_at_else: bool) -> usize {
    let mut depth = 0;
    while at < text.len() {
        if text[at] == b'%' {
            at += 1;
            match text.get(at) {
                Some(b'?') => depth += 1,
                Some(b';') if depth == 0 => return at + 1,
                Some(b';') => depth -= 1,
                Some(b'e') if depth == 0 && stop_at_else => return at + 1,
                _ => {}
            }
        }
        at += 1;
    }
    at
}

/// Writes a number as `%[[:]flags][width[.precision]][doxX]` says.
fn write_number(out: &mut Vec<u8>, format: &[u8], conversion: u8, value: i64) {
    let format = format.strip_prefix(b":").unwrap_or(format);
    let flags_len = format.iter().take_while(|byte| b"-+# 0".contains(byte)).count();
    let (flags, sizes) = format.split_at(flags_len);
    let sizes = std::str::from_utf8(sizes).unwrap_or("");
    let (width, precision) = sizes.split_once('.').unwrap_or((sizes, ""));
    let has = |flag: u8| flags.contains(&flag);
    // What a description asks for is bounded, as it comes from a file.
    let width = width.parse::<usize>().unwrap_or(0).min(256);
    let precision = precision.parse::<usize>().unwrap_or(0).min(256);
    let magnitude = value.unsigned_abs();
    let (prefix, digits) = match conversion {
        b'o' => (if has(b'#') { "0" } else { "" }, format!("{value:o}")),
        b'x' => (if has(b'#') { "0x" } else { "" }, format!("{value:x}")),
        b'X' => (if has(b'#') { "0X" } else { "" }, format!("{value:X}")),
        _ if value < 0 => ("-", magnitude.to_string()),
        _ if has(b'+') => ("+", magnitude.to_string()),
        _ if has(b' ') => (" ", magnitude.to_string()),
        _ => ("", magnitude.to_string()),
    };
    let zeros = precision.saturating_sub(digits.len());
    let padding = width.saturating_sub(prefix.len() + zeros + digits.len());
    let (left, inner) = match () {
        () if has(b'-') => (0, 0),
        () if has(b'0') => (0, padding),
        () => (padding, 0),
    };
    out.extend(std::iter::repeat_n(b' ', left));
    out.extend(prefix.bytes());
    out.extend(std::iter::repeat_n(b'0', inner + zeros));
    out.extend(digits.bytes());
    out.extend(std::iter::repeat_n(b' ', padding - left - inner));
}

/// What an operator makes of two numbers; division by zero gives zero.
fn binary_operation(operation: u8, first: i64, second: i64) -> i64 {
    match operation {
        b'+' => first.wrapping_add(second),
        b'-' => first.wrapping_sub(second),
        b'*' => first.wrapping_mul(second),
        b'/' => first.checked_div(second).unwrap_or(0),
        b'm' => first.checked_rem(second).unwrap_or(0),
        b'&' => first & second,
        b'|' => first | second,
        b'^' => first ^ second,
        b'=' => i64::from(first == second),
        b'<' => i64::from(first < second),
        b'>' => i64::from(first > second),
        b'A' => i64::from(first != 0 && second != 0),
        _ => i64::from(first != 0 || second != 0),
    }
}

/// A string with its parameters put in. What cannot be understood is left out.
pub fn expand(text: &[u8], parameters: &[i64]) -> Vec<u8> {
    let mut given = [0i64; 9];
    for (place, &parameter) in given.iter_mut().zip(parameters) {
        *place = parameter;
    }
    let mut variables = [0i64; 52];
    let variable = |name: Option<&u8>| match name {
        Some(name @ b'a'..=b'z') => Some(usize::from(name - b'a')),
        Some(name @ b'A'..=b'Z') => Some(26 + usize::from(name - b'A')),
        _ => None,
    };
    let mut stack: Vec<i64> = Vec::new();
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some(&operation) = text.get(at) else { break };
        at += 1;
        match operation {
            b'%' => out.push(b'%'),
            b'c' => out.push(pop(&mut stack) as u8),
            // No string can be a parameter here.
            b's' => {
                let value = pop(&mut stack);
                out.extend(value.to_string().bytes());
            }
            b'p' => {
                let number = text.get(at).and_then(|&digit| usize::from(digit).checked_sub(0x31));
                stack.push(number.and_then(|number| given.get(number)).copied().unwrap_or(0));
                at += 1;
            }
            b'P' => {
                if let Some(index) = variable(text.get(at)) {
                    variables[index] = pop(&mut stack);
                }
                at += 1;
            }
            b'g' => {
                stack.push(variable(text.get(at)).map_or(0, |index| variables[index]));
                at += 1;
            }
            b'\'' => {
                stack.push(text.get(at).map_or(0, |&byte| i64::from(byte)));
                at += 2;
            }
            b'{' => {
                let digits = text[at..].iter().take_while(|&&byte| byte != b'}').count();
                let number = std::str::from_utf8(&text[at..at + digits]).unwrap_or("");
                stack.push(number.parse().unwrap_or(0));
                at += digits + 1;
            }
            b'l' => {
                let value = pop(&mut stack);
                stack.push(value.to_string().len() as i64);
            }
            b'!' | b'~' => {
                let value = pop(&mut stack);
                stack.push(if operation == b'!' { i64::from(value == 0) } else { !value });
            }
            b'+' | b'-' | b'*' | b'/' | b'm' | b'&' | b'|' | b'^' | b'=' | b'<' | b'>' | b'A'
            | b'O' => {
                let second = pop(&mut stack);
                let first = pop(&mut stack);
                stack.push(binary_operation(operation, first, second));
            }
            b'i' => {
                given[0] = given[0].wrapping_add(1);
                given[1] = given[1].wrapping_add(1);
            }
            b't' => {
                if pop(&mut stack) == 0 {
                    at = skip_branch(text, at, true);
                }
            }
            b'e' => at = skip_branch(text, at, false),
            b'?' | b';' => {}
            _ => {
                let start = at - 1;
                let is_format = |byte: &u8| b":-+# 0123456789.".contains(byte);
                let length = text[start..].iter().take_while(|byte| is_format(byte)).count();
                let conversion = text.get(start + length).copied().unwrap_or(b'd');
                at = (start + length + 1).min(text.len());
                let value = pop(&mut stack);
                write_number(&mut out, &text[start..start + length], conversion, value);
            }
        }
    }
    out
}

/// A string without its delays (`$<5/>`), which no terminal needs any more.
pub fn without_delays(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(b"$<")
            && let Some(length) = text[at..].iter().position(|&byte| byte == b'>')
            && text[at + 2..at + length].iter().all(|byte| b"0123456789.*/".contains(byte))
        {
            at += length + 1;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(string: &str, parameters: &[i64]) -> String {
        String::from_utf8(expand(string.as_bytes(), parameters)).expect("text")
    }

    #[test]
    fn the_list_of_capabilities_is_whole() {
        let all = capabilities();
        assert_eq!((all.flags.len(), all.numbers.len(), all.strings.len()), (44, 39, 414));
        assert_eq!(by_code(&all.strings, b"clear"), by_name(&all.strings, b"clear"));
        assert_eq!(by_name(&all.flags, b"xenl"), by_code(&all.flags, b"xn"));
    }

    #[test]
    fn parameters_are_put_in() {
        assert_eq!(text("\x1b[%i%p1%d;%p2%dH", &[4, 9]), "\x1b[5;10H");
        assert_eq!(text("\x1b[%p1%dC", &[7]), "\x1b[7C");
        let colour = "\x1b[%?%p1%{8}%<%t3%p1%d%e%p1%{16}%<%t9%p1%{8}%-%d%e38;5;%p1%d%;m";
        assert_eq!(text(colour, &[1]), "\x1b[31m");
        assert_eq!(text(colour, &[9]), "\x1b[91m");
        assert_eq!(text(colour, &[200]), "\x1b[38;5;200m");
        assert_eq!(text("%p1%03d|%p1%:-4d|%p1%x|%'a'%c%%", &[10]), "010|10  |a|a%");
        assert_eq!(text("%p1%Pa%ga%ga%*%d", &[6]), "36");
    }

    #[test]
    fn broken_strings_do_no_harm() {
        for string in
            ["%", "%p", "%{12", "%'", "%?%t", "%?%p1%t%?", "%5", "%{0}%{0}%/%d%m", "%p9%999d"]
        {
            expand(string.as_bytes(), &[0]);
        }
        assert_eq!(without_delays(b"a$<5/>b$<x>$<"), b"ab$<x>$<");
    }

    #[test]
    fn descriptions_are_read() {
        let mut file: Vec<u8> = Vec::new();
        for short in [MAGIC_NARROW, 4, 2, 2, 3, 9] {
            file.extend(short.to_le_bytes());
        }
        file.extend(b"ab|\0\x01\x00");
        for short in [80i16, -1, 0, -1, 4] {
            file.extend(short.to_le_bytes());
        }
        file.extend(b"one\0two\0\0");
        let terminal = Terminfo::parse(&file).expect("well-formed");
        assert!(terminal.flag(0) && !terminal.flag(1) && !terminal.flag(2));
        assert_eq!((terminal.number(0), terminal.number(1), terminal.number(9)), (80, -1, -1));
        assert_eq!(terminal.string(0), Some(&b"one"[..]));
        assert_eq!((terminal.string(1), terminal.string(2)), (None, Some(&b"two"[..])));
        for length in 0..file.len() {
            assert_eq!(Terminfo::parse(&file[..length]), None);
        }
    }
}
