//! Terms as text, as the machine itself prints them: `erlang:display/1`, crash reports, traces.
//!
//! The output is bytes: atoms are printed in UTF-8 and the characters of strings as they are, in
//! Latin-1.

use crate::bigint;
use crate::binary::Bits;
use crate::boxed::{Cons, ExportFun, MapNode};
use crate::float;
use crate::node::pid_parts;
use crate::release::{self, Release};
use crate::stop;
use crate::word::{Kind, Subtag, Term};
use std::fmt;
use std::io::Write;

/// A term that prints itself.
#[derive(Clone, Copy)]
pub struct Display(Term);

/// The term as text; Latin-1 characters of strings become Unicode ones.
pub fn display(term: Term) -> Display {
    Display(term)
}

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in print(self.0).utf8_chunks() {
            f.write_str(chunk.valid())?;
            for &byte in chunk.invalid() {
                write!(f, "{}", char::from(byte))?;
            }
        }
        Ok(())
    }
}

/// The bytes that `erlang:display/1` writes of a term, without the line's end.
pub fn print(term: Term) -> Vec<u8> {
    print_limited(term, i64::MAX)
}

/// As [`print`], but about `limit` terms, characters of atoms and strings and bytes of binaries at
/// most; where it is cut off stands `... `.
pub fn print_limited(term: Term, limit: i64) -> Vec<u8> {
    let mut printer = Printer { out: Vec::new(), left: limit, todo: vec![Todo::Term(term)] };
    let _ = printer.run();
    if printer.left <= 0 {
        printer.out.extend(b"... ");
    }
    printer.out
}

/// An atom's name, in quotes when it needs them.
pub fn print_atom(name: &str, out: &mut Vec<u8>) {
    if name.is_empty() {
        out.extend(b"''");
        return;
    }
    let quoted = needs_quotes(name);
    if quoted {
        out.push(b'\'');
    }
    for c in name.chars() {
        match c {
            '\'' => out.extend(b"\\'"),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\x0c' => out.extend(b"\\f"),
            '\t' => out.extend(b"\\t"),
            '\r' => out.extend(b"\\r"),
            '\x08' => out.extend(b"\\b"),
            '\x0b' => out.extend(b"\\v"),
            '\0'..' ' | '\u{80}'..'\u{a0}' => out.extend(format!("\\{:03o}", u32::from(c)).bytes()),
            _ => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    if quoted {
        out.push(b'\'');
    }
}

fn is_lower(c: char) -> bool {
    matches!(c, 'a'..='z' | '\u{df}'..='\u{ff}') && c != '\u{f7}'
}

fn is_upper(c: char) -> bool {
    matches!(c, 'A'..='Z' | '\u{c0}'..='\u{de}') && c != '\u{d7}'
}

/// Letters are those of Latin-1.
fn needs_quotes(name: &str) -> bool {
    !name.starts_with(is_lower)
        || !name.chars().all(|c| is_lower(c) || is_upper(c) || c.is_ascii_digit() || c == '_')
}

enum Todo {
    Term(Term),
    Text(&'static str),
    /// The rest of a list, from a cell on.
    Cells(Cons),
    /// The rest of a tuple or of a trie's node.
    Elements(*const Term, usize),
}

/// The limit is reached.
struct CutOff;

struct Printer {
    out: Vec<u8>,
    left: i64,
    todo: Vec<Todo>,
}

impl Printer {
    fn run(&mut self) -> Result<(), CutOff> {
        while let Some(next) = self.todo.pop() {
            stop::step();
            match next {
                Todo::Text(text) => self.out.extend(text.bytes()),
                Todo::Term(term) => self.term(term)?,
                Todo::Cells(cell) => {
                    let tail = cell.tail();
                    if let Some(next) = tail.as_cons() {
                        self.todo.extend([Todo::Cells(next), Todo::Text(",")]);
                    } else if !tail.is_nil() {
                        self.todo.extend([Todo::Term(tail), Todo::Text("|")]);
                    }
                    self.term(cell.head())?;
                }
                Todo::Elements(elements, count) => {
                    // SAFETY: the rest of an array in a live term, and nothing is collected
                    // meanwhile.
                    let elements = unsafe { std::slice::from_raw_parts(elements, count) };
                    if let [first, rest @ ..] = elements {
                        if !rest.is_empty() {
                            self.todo.extend([
                                Todo::Elements(rest.as_ptr(), rest.len()),
                                Todo::Text(","),
                            ]);
                        }
                        self.term(*first)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// One more; `Err` when there were enough.
    fn count(&mut self) -> Result<(), CutOff> {
        self.left -= 1;
        if self.left < 0 { Err(CutOff) } else { Ok(()) }
    }

    fn text(&mut self, text: fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.out.write_fmt(text);
    }

    fn term(&mut self, term: Term) -> Result<(), CutOff> {
        self.count()?;
        match term.kind() {
            Kind::Nil => self.text(format_args!("[]")),
            Kind::Small(value) => self.text(format_args!("{value}")),
            Kind::Big(_) => self.out.extend(bigint::to_string_radix(term, 10).bytes()),
            Kind::Float(value) => self.out.extend(float::scientific(value, 6).bytes()),
            Kind::Atom(atom) => {
                let name = atom.name();
                self.left -= name.len() as i64;
                print_atom(name, &mut self.out);
                if self.left <= 0 {
                    return Err(CutOff);
                }
            }
            Kind::Pid(data) => {
                let (number, serial) = pid_parts(data);
                self.text(format_args!("<0.{number}.{serial}>"));
            }
            Kind::ExternalPid(pid) => self.text(format_args!(
                "<{}.{}.{}>",
                pid.channel(),
                pid.numbers()[0],
                pid.numbers()[1]
            )),
            Kind::Port(number) => self.text(format_args!("#Port<0.{number}>")),
            Kind::ExternalPort(port) => {
                let number = port.numbers()[0] | port.numbers()[1] << 32;
                self.text(format_args!("#Port<{}.{number}>", port.channel()));
            }
            Kind::Ref(reference) => {
                let [first, second, third] = reference.numbers();
                self.text(format_args!("#Ref<0.{third}.{second}.{first}>"));
            }
            Kind::ExternalRef(reference) => {
                self.text(format_args!("#Ref<{}", reference.channel()));
                for number in reference.numbers().iter().rev() {
                    self.text(format_args!(".{number}"));
                }
                self.out.push(b'>');
            }
            Kind::Cons(cell) if is_printable(cell) => self.string(term)?,
            Kind::Cons(cell) => {
                self.out.push(b'[');
                self.todo.extend([Todo::Text("]"), Todo::Cells(cell)]);
            }
            Kind::Tuple(tuple) => self.elements(tuple.elements()),
            Kind::Record(record) => {
                self.pairs(
                    "=",
                    record.fields().iter().copied().zip(record.values().iter().copied()),
                );
                self.todo.extend([
                    Todo::Text("{"),
                    Todo::Term(record.name()),
                    Todo::Text(":"),
                    Todo::Term(record.module()),
                    Todo::Text("#"),
                ]);
            }
            Kind::FlatMap(map) => {
                self.out.extend(b"#{");
                let pairs = map.keys().iter().copied().zip(map.values().iter().copied());
                self.pairs("=>", pairs);
            }
            Kind::HashMap(_) if release::current() >= Release::R27 => {
                self.out.extend(b"#{");
                let pairs: Vec<(Term, Term)> = crate::map::iter(term).collect();
                self.pairs("=>", pairs.into_iter());
            }
            Kind::HashMap(map) => {
                // Until OTP 26 the trie is shown.
                self.text(format_args!("#<{:x}>", map.bitmap()));
                self.elements(map.children());
            }
            Kind::Bits(bits) => self.bits(bits)?,
            Kind::Fun(fun) => {
                let identity = fun.identity();
                let (index, uniq) = (identity.old_index as i32, identity.old_uniq as i32);
                self.text(format_args!("#Fun<{}.{index}.{uniq}>", identity.module.name()));
            }
            Kind::ExportFun(fun) => self.export(fun),
            Kind::MatchContext(_) => self.text(format_args!("#MatchState")),
            Kind::Special(_) if term.boxed_subtag() == Some(Subtag::MapNode) => {
                // SAFETY: the header says that it is an inner node of a trie.
                let node = unsafe { MapNode::from_ptr(term.boxed_ptr()) };
                self.text(format_args!("<{:x}>", node.bitmap()));
                self.elements(node.children());
            }
            Kind::Special(word) => self.text(format_args!("<unknown:{word:#x}>")),
        }
        Ok(())
    }

    /// Keys and values, and the brace that ends them.
    fn pairs(
        &mut self,
        between: &'static str,
        pairs: impl DoubleEndedIterator<Item = (Term, Term)> + ExactSizeIterator,
    ) {
        self.todo.push(Todo::Text("}"));
        for (index, (key, value)) in pairs.enumerate().rev() {
            self.todo.extend([Todo::Term(value), Todo::Text(between), Todo::Term(key)]);
            if index > 0 {
                self.todo.push(Todo::Text(","));
            }
        }
    }

    fn elements(&mut self, elements: &[Term]) {
        self.out.push(b'{');
        self.todo.push(Todo::Text("}"));
        self.todo.push(Todo::Elements(elements.as_ptr(), elements.len()));
    }

    fn string(&mut self, list: Term) -> Result<(), CutOff> {
        self.out.push(b'"');
        let mut rest = list;
        while let Some(cell) = rest.as_cons() {
            self.count()?;
            match cell.head().small_value() as u8 {
                b'\n' => self.out.extend(b"\\n"),
                b'"' => self.out.extend(b"\\\""),
                byte => self.out.push(byte),
            }
            rest = cell.tail();
        }
        self.out.push(b'"');
        Ok(())
    }

    fn bits(&mut self, bits: Bits) -> Result<(), CutOff> {
        let bytes = bits.to_bytes();
        let (whole, extra) = (bits.bit_size / 8, bits.bit_size % 8);
        if extra == 0 && whole > 0 && bytes.iter().all(|byte| (b' '..127).contains(byte)) {
            self.out.extend(b"<<\"");
            for &byte in bytes.iter() {
                if byte == b'"' {
                    self.out.push(b'\\');
                }
                self.out.push(byte);
                self.count()?;
            }
            self.out.extend(b"\">>");
            return Ok(());
        }
        self.out.extend(b"<<");
        for (index, byte) in bytes[..whole].iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            self.text(format_args!("{comma}{byte}"));
            self.count()?;
        }
        if extra > 0 {
            let comma = if whole > 0 { "," } else { "" };
            self.text(format_args!("{comma}{}:{extra}", bytes[whole] >> (8 - extra)));
        }
        self.out.extend(b">>");
        Ok(())
    }

    fn export(&mut self, fun: ExportFun) {
        let mfa = fun.mfa();
        self.out.extend(b"fun ");
        print_atom(mfa.module.name(), &mut self.out);
        self.out.push(b':');
        print_atom(mfa.function.name(), &mut self.out);
        self.text(format_args!("/{}", mfa.arity));
        self.left -= (mfa.module.name().len() + mfa.function.name().len()) as i64;
    }
}

/// A list of printable Latin-1 characters and white space.
fn is_printable(first: Cons) -> bool {
    let mut cell = first;
    loop {
        match cell.head().as_small() {
            Some(0x20..=0x7e | 0xa0..=0xff | 0x09 | 0x0a | 0x0d) => {}
            _ => return false,
        }
        match cell.tail().as_cons() {
            Some(next) => cell = next,
            None => return cell.tail().is_nil(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::{Alloc, FragmentHeap};
    use crate::atom::Atom;

    #[test]
    fn terms_print_as_erlang_writes_them() {
        let mut heap = FragmentHeap::new();
        let string = heap.string("a\n\"å\"");
        let binary = heap.binary(&[1, 2]);
        let improper = heap.cons(Term::small(-1), Term::atom(Atom::new("don't")));
        let tuple = heap.tuple(&[string, binary, improper, Term::pid(5), Term::NIL]);
        assert_eq!(display(tuple).to_string(), r#"{"a\n\"å\"",<<1,2>>,[-1|'don\'t'],<0.5.0>,[]}"#);
    }

    #[test]
    fn long_terms_are_cut_off() {
        let mut heap = FragmentHeap::new();
        let list = heap.list(&[Term::small(1000); 50]);
        assert_eq!(print_limited(list, 3), b"[1000,1000,... ");
    }
}
