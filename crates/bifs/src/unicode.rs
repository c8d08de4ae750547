//! The built-ins of `unicode`: character data to binaries and lists.

use crate::args::{binary_of, bytes_with_room};
use crate::long::{self, QUICK_STEPS, Steps, Stop, check_bytes, may_take_long};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Bits, Mfa, Term, am, atom};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Latin1,
    Utf8,
}

fn encoding_of(term: Term) -> Result<Encoding, BifExit> {
    match term.as_atom() {
        Some(name) if name == atom!("latin1") => Ok(Encoding::Latin1),
        Some(name) if name == atom!("unicode") || name == atom!("utf8") => Ok(Encoding::Utf8),
        _ => Err(BifExit::BADARG),
    }
}

/// What decoding came to.
enum Decoded {
    Whole,
    /// What could not be decoded starts with these bytes, or is this term.
    Error {
        rest: Term,
    },
    /// The data ends within a character.
    Incomplete {
        rest: Vec<u8>,
    },
}

/// Decodes character data piece by piece.
struct Decoder<'a> {
    p: &'a mut Process,
    encoding: Encoding,
    /// The characters so far, in UTF-8.
    text: Vec<u8>,
    /// The first bytes of a character that goes on in the next binary.
    begun: Vec<u8>,
}

/// Bytes of a character that begins with this one; `None` when none does.
fn character_bytes(first: u8) -> Option<usize> {
    match first {
        0..=0x7f => Some(1),
        0xc0..=0xdf => Some(2),
        0xe0..=0xef => Some(3),
        0xf0..=0xf7 => Some(4),
        _ => None,
    }
}

/// How far a byte string is UTF-8, and whether what follows are fewer bytes than the character has
/// that it begins. As in OTP, what character it would be is looked at only when there are as many.
fn utf8_prefix(bytes: &[u8]) -> (usize, bool) {
    let Err(error) = std::str::from_utf8(bytes) else { return (bytes.len(), true) };
    let rest = &bytes[error.valid_up_to()..];
    (error.valid_up_to(), character_bytes(rest[0]).is_some_and(|wanted| rest.len() < wanted))
}

impl Decoder<'_> {
    /// `false` when the character is none, or comes within another.
    fn character(&mut self, code: Term) -> bool {
        let limit = if self.encoding == Encoding::Latin1 { 255 } else { u32::from(char::MAX) };
        let character = code
            .as_small()
            .and_then(|code| u32::try_from(code).ok())
            .filter(|&code| code <= limit)
            .and_then(char::from_u32);
        match character {
            Some(character) if self.begun.is_empty() => {
                self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                true
            }
            _ => false,
        }
    }

    /// `Err` with how many bytes were decoded, when those that follow are wrong.
    fn binary(&mut self, bytes: &[u8]) -> Result<(), usize> {
        if self.encoding == Encoding::Latin1 {
            for &byte in bytes {
                self.text.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 4]).as_bytes());
            }
            return Ok(());
        }
        let mut at = 0;
        if let Some(&first) = self.begun.first() {
            let missing = character_bytes(first).unwrap_or(1) - self.begun.len();
            let Some(end) = bytes.get(..missing) else {
                self.begun.extend_from_slice(bytes);
                return Ok(());
            };
            let whole = [&self.begun, end].concat();
            if std::str::from_utf8(&whole).is_err() {
                return Err(0);
            }
            self.text.extend_from_slice(&whole);
            self.begun.clear();
            at = missing;
        }
        let rest = &bytes[at..];
        let (valid, could_go_on) = utf8_prefix(rest);
        self.text.extend_from_slice(&rest[..valid]);
        if valid < rest.len() {
            if !could_go_on {
                return Err(at + valid);
            }
            self.begun = rest[valid..].to_vec();
        }
        Ok(())
    }

    /// Decodes a binary; what is wrong with it as the term that the rest starts with.
    fn binary_term(&mut self, term: Term) -> Result<(), Term> {
        let bytes = Bits::of(term).to_bytes();
        let split = !self.begun.is_empty();
        self.binary(&bytes).map_err(|at| {
            if split && !self.begun.is_empty() {
                return term;
            }
            self.p.sub_binary(term, at * 8, (bytes.len() - at) * 8)
        })
    }

    /// The answer for an error with `rest` following: what was begun comes first.
    fn error(&mut self, rest: Term) -> Decoded {
        if self.begun.is_empty() {
            return Decoded::Error { rest };
        }
        let begun = std::mem::take(&mut self.begun);
        let begun = self.p.binary(&begun);
        Decoded::Error { rest: self.p.list(&[begun, rest]) }
    }

    fn run(&mut self, data: Term) -> Decoded {
        // Tails of the lists that we are within.
        let mut outer: Vec<Term> = Vec::new();
        let mut current = data;
        let failed = 'walk: loop {
            while let Some(cell) = current.as_cons() {
                let head = cell.head();
                if head.is_integer() {
                    if !self.character(head) {
                        break 'walk Some(current);
                    }
                } else if head.is_bitstring() {
                    if let Err(wrong) = self.binary_term(head) {
                        break 'walk Some(self.p.cons(wrong, cell.tail()));
                    }
                } else {
                    outer.push(cell.tail());
                    current = head;
                    continue;
                }
                current = cell.tail();
            }
            if current.is_bitstring()
                && let Err(wrong) = self.binary_term(current)
            {
                break Some(wrong);
            }
            match outer.pop() {
                Some(next) => current = next,
                None => break None,
            }
        };
        if let Some(at) = failed {
            let rest = outer.iter().rev().fold(at, |rest, &tail| self.p.cons(rest, tail));
            return self.error(rest);
        }
        if self.begun.is_empty() {
            return Decoded::Whole;
        }
        let rest = std::mem::take(&mut self.begun);
        if rest[1..].iter().all(|byte| byte & 0xc0 == 0x80) {
            return Decoded::Incomplete { rest };
        }
        Decoded::Error { rest: self.p.binary(&rest) }
    }
}

/// How many bytes and characters there are in data that is made of integers, binaries and lists of
/// these only.
fn character_data_size(data: Term) -> Result<usize, Stop> {
    let quick = if may_take_long() { usize::MAX } else { QUICK_STEPS };
    let mut pending = vec![data];
    let (mut size, mut steps, mut first) = (0usize, Steps::new(), true);
    while let Some(mut current) = pending.pop() {
        while let Some(cell) = current.as_cons() {
            let head = cell.head();
            if head.is_cons() {
                pending.push(head);
            } else if let Some(bits) = head.as_bits().filter(|bits| bits.is_binary()) {
                size += bits.bit_size / 8;
            } else if head.is_integer() {
                size += 1;
            } else if !head.is_nil() {
                return Err(BifExit::BADARG.into());
            }
            steps.step()?;
            if size > quick {
                return Err(Stop::Long);
            }
            current = cell.tail();
        }
        if let Some(bits) = current.as_bits().filter(|bits| bits.is_binary()) {
            size += bits.bit_size / 8;
        } else if !current.is_nil() {
            return Err(BifExit::BADARG.into());
        }
        first = false;
    }
    debug_assert!(!first, "data was looked at");
    if size > quick { Err(Stop::Long) } else { Ok(size) }
}

/// Other encodings are the business of Erlang code.
fn go_on_in_erlang(p: &mut Process, function: Atom, data: Term, encoding: Term) -> BifResult {
    let export = p.vm.code.export(Mfa { module: atom!("unicode"), function, arity: 2 });
    p.trap(export, &[data, encoding])
}

fn convert(
    p: &mut Process,
    data: Term,
    encoding: Encoding,
    finish: fn(&mut Process, &[u8]) -> Term,
) -> Result<Term, Stop> {
    let size = character_data_size(data)?;
    let mut decoder = Decoder { p, encoding, text: bytes_with_room(size)?, begun: Vec::new() };
    let decoded = decoder.run(data);
    let text = decoder.text;
    p.bump_reductions(text.len() / 20);
    let result = finish(p, &text);
    let tuple =
        |p: &mut Process, tag: Atom, rest: Term| Ok(p.tuple(&[Term::atom(tag), result, rest]));
    match decoded {
        Decoded::Whole => Ok(result),
        Decoded::Error { rest } => tuple(p, am::ERROR, rest),
        Decoded::Incomplete { rest } => {
            let rest = p.binary(&rest);
            tuple(p, am::INCOMPLETE, rest)
        }
    }
}

#[bif("unicode:characters_to_binary/2")]
fn characters_to_binary(p: &mut Process, data: Term, encoding: Term) -> BifResult {
    if encoding_of(encoding).is_err() {
        return go_on_in_erlang(p, atom!("characters_to_binary_int"), data, encoding);
    }
    long::run(p, atom!("unicode"), atom!("characters_to_binary"), &[data, encoding], |p| {
        text_to_binary(p, data, encoding)
    })
}

fn text_to_binary(p: &mut Process, data: Term, encoding: Term) -> Result<Term, Stop> {
    let encoding = encoding_of(encoding)?;
    // A binary alone in a list is taken as the binary, and one that is good already as it is.
    let data = data
        .as_cons()
        .filter(|cell| cell.tail().is_nil() && cell.head().is_binary())
        .map_or(data, |cell| cell.head());
    if encoding == Encoding::Utf8 && data.is_binary() {
        check_bytes(data)?;
        let bytes = binary_of(data)?;
        if std::str::from_utf8(&bytes).is_ok() {
            p.bump_reductions(bytes.len() / 100);
            return Ok(data);
        }
    }
    convert(p, data, encoding, |p, text| p.binary(text))
}

#[bif("unicode:characters_to_list/2")]
fn characters_to_list(p: &mut Process, data: Term, encoding: Term) -> BifResult {
    if encoding_of(encoding).is_err() {
        return go_on_in_erlang(p, atom!("characters_to_list_int"), data, encoding);
    }
    long::run(p, atom!("unicode"), atom!("characters_to_list"), &[data, encoding], |p| {
        convert(p, data, encoding_of(encoding)?, |p, text| {
            let text = std::str::from_utf8(text).expect("decoding makes UTF-8");
            p.string(text)
        })
    })
}

#[bif("unicode:bin_is_7bit/1")]
fn bin_is_7bit(p: &mut Process, binary: Term) -> BifResult {
    long::run(p, atom!("unicode"), atom!("bin_is_7bit"), &[binary], |_| {
        check_bytes(binary)?;
        Ok(Term::bool(binary.is_binary() && binary_of(binary)?.is_ascii()))
    })
}
