//! Writing the external term format, byte for byte as OTP 25 does.

use super::{VERSION, tag};
use crate::atom::Atom;
use crate::binary::Bits;
use crate::boxed::{Cons, Fun};
use crate::compare::compare_exact;
use crate::map;
use crate::node::{NodeInfo, pid_parts};
use crate::release::{self, Release};
use crate::word::{Kind, Term};
#[cfg(miri)]
use std::io::Write;

/// See `erlang:term_to_binary/2`.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// 0: floats as text. 1: floats as bits. 2: also all atoms in UTF-8.
    pub minor_version: u8,
    /// The zlib level, 1 to 9; `compressed` alone means 6. The result is compressed only where that makes it smaller.
    pub compressed: Option<u32>,
    /// Pairs of large maps in key order.
    pub deterministic: bool,
    /// Only this machine is to read it.
    pub local: bool,
    /// Whose identifiers the local ones are.
    pub node: NodeInfo,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        // Atoms are UTF-8 by default from OTP 26 on.
        let minor_version = if release::current() >= Release::R26 { 2 } else { 1 };
        EncodeOptions { minor_version, compressed: None, deterministic: false, local: false, node: NodeInfo::this() }
    }
}

/// Ports up to this number fit the older tag.
const OLD_PORT_NUMBER_MAX: u64 = (1 << 28) - 1;
/// Bytes of an integer of 32 bits.
const INTEGER_LEN: usize = 5;
const STRING_LEN_MAX: usize = 0xffff;
/// Bytes of tag and size that precede what is compressed.
const COMPRESSED_HEAD: usize = 5;

/// The bytes of `term`, version byte first.
pub fn encode(term: Term, options: &EncodeOptions) -> Vec<u8> {
    encode_within(term, options, usize::MAX).unwrap_or_default()
}

/// The same, unless they were (before they are compressed) more than `limit`: then as much work is done and no more.
pub fn encode_within(term: Term, options: &EncodeOptions, limit: usize) -> Option<Vec<u8>> {
    // Enough for most messages; more than that is copied as it grows.
    let mut out = Vec::with_capacity(128);
    out.push(VERSION);
    let mut encoder = Encoder::new(&mut out, options);
    encoder.limit = limit;
    encoder.run(term);
    if encoder.is_over() {
        return None;
    }
    if options.local {
        let hash = super::local_hash(&out[1..]);
        out.splice(1..1, [tag::LOCAL].into_iter().chain(hash));
        return Some(out);
    }
    Some(match options.compressed {
        Some(level) if level > 0 => compress(&out[1..], level).unwrap_or(out),
        _ => out,
    })
}

/// As [`encode`], without version byte and never compressed.
pub fn encode_unversioned(term: Term, options: &EncodeOptions, out: &mut Vec<u8>) {
    Encoder::new(out, options).run(term);
}

/// `erlang:external_size/2`: room enough for [`encode`]'s answer, unless that is more than `limit`. As OTP's it counts
/// some numbers in funs at their largest.
pub fn external_size(term: Term, options: &EncodeOptions, limit: usize) -> Option<usize> {
    let mut out = vec![VERSION];
    let mut encoder = Encoder::new(&mut out, options);
    encoder.limit = limit;
    encoder.run(term);
    if encoder.is_over() {
        return None;
    }
    let fun_slack = encoder.fun_slack;
    Some(out.len() + fun_slack)
}

fn compress(plain: &[u8], level: u32) -> Option<Vec<u8>> {
    let mut out = vec![VERSION, tag::COMPRESSED];
    out.extend(u32::try_from(plain.len()).ok()?.to_be_bytes());
    deflate(plain, level, &mut out)?;
    (out.len() - 1 - COMPRESSED_HEAD <= plain.len().checked_sub(COMPRESSED_HEAD)?).then_some(out)
}

/// Appends the data in zlib's format, as zlib itself writes it: what OTP's compiler compresses is to be
/// the same byte for byte, and other implementations choose other matches.
#[cfg(not(miri))]
fn deflate(plain: &[u8], level: u32, out: &mut Vec<u8>) -> Option<()> {
    let length = libz_sys::uLong::try_from(plain.len()).ok()?;
    // SAFETY: the function only computes.
    let mut written = unsafe { libz_sys::compressBound(length) };
    let start = out.len();
    out.resize(start + usize::try_from(written).ok()?, 0);
    let level = i32::try_from(level.min(9)).ok()?;
    // SAFETY: the output has as many bytes as `written` says, and the input as `length` says.
    let result = unsafe {
        let to = out.as_mut_ptr().add(start);
        libz_sys::compress2(to, &raw mut written, plain.as_ptr(), length, level)
    };
    out.truncate(start + usize::try_from(written).ok()?);
    (result == libz_sys::Z_OK).then_some(())
}

/// Miri runs no C.
#[cfg(miri)]
fn deflate(plain: &[u8], level: u32, out: &mut Vec<u8>) -> Option<()> {
    let level = flate2::Compression::new(level.min(9));
    let mut encoder = flate2::write::ZlibEncoder::new(&mut *out, level);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(|_| ())
}

enum Todo {
    Term(Term),
    Elements(*const Term, usize),
    /// Keys, values, how many.
    Pairs(*const Term, *const Term, usize),
    /// The rest of a list whose length goes to this place.
    List {
        rest: Term,
        count: u32,
        length_at: usize,
    },
    /// The size of what was written since this place goes there.
    FunSize(usize),
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    options: &'a EncodeOptions,
    todo: Vec<Todo>,
    /// Bytes that funs might have taken more.
    fun_slack: usize,
    /// Bytes after which the rest is left out.
    limit: usize,
    /// A binary was left out that would have gone beyond.
    left_out: bool,
}

impl<'a> Encoder<'a> {
    fn new(out: &'a mut Vec<u8>, options: &'a EncodeOptions) -> Encoder<'a> {
        Encoder { out, options, todo: Vec::new(), fun_slack: 0, limit: usize::MAX, left_out: false }
    }

    fn is_over(&self) -> bool {
        self.out.len() > self.limit || self.left_out
    }

    fn run(&mut self, term: Term) {
        self.term(term);
        while let Some(next) = self.todo.pop() {
            if self.is_over() {
                return;
            }
            match next {
                Todo::Term(term) => self.term(term),
                Todo::Elements(elements, count) => {
                    // SAFETY: the rest of an array in a live term, and nothing is collected meanwhile.
                    let elements = self.simple(unsafe { std::slice::from_raw_parts(elements, count) });
                    if let [first, rest @ ..] = elements {
                        self.todo.push(Todo::Elements(rest.as_ptr(), rest.len()));
                        self.term(*first);
                    }
                }
                Todo::Pairs(keys, values, count) => {
                    // SAFETY: as above.
                    let (keys, values) = unsafe { (std::slice::from_raw_parts(keys, count), std::slice::from_raw_parts(values, count)) };
                    if let ([key, keys @ ..], [value, values @ ..]) = (keys, values) {
                        self.pairs(keys, values);
                        self.todo.push(Todo::Term(*value));
                        self.term(*key);
                    }
                }
                Todo::List { rest, count, length_at } => self.list(rest, count, length_at),
                Todo::FunSize(at) => {
                    let size = (self.out.len() - at) as u32;
                    self.out[at..at + 4].copy_from_slice(&size.to_be_bytes());
                }
            }
        }
    }

    /// Writes elements up to the first that has parts; it and what follows is given back.
    fn simple<'e>(&mut self, elements: &'e [Term]) -> &'e [Term] {
        for (at, &element) in elements.iter().enumerate() {
            if !element.is_immediate() || self.out.len() > self.limit {
                return &elements[at..];
            }
            self.term(element);
        }
        &[]
    }
    fn elements(&mut self, elements: &[Term]) {
        let rest = self.simple(elements);
        if !rest.is_empty() {
            self.todo.push(Todo::Elements(rest.as_ptr(), rest.len()));
        }
    }
    fn pairs(&mut self, keys: &[Term], values: &[Term]) {
        if !keys.is_empty() {
            self.todo.push(Todo::Pairs(keys.as_ptr(), values.as_ptr(), keys.len()));
        }
    }
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }
    fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn term(&mut self, term: Term) {
        match term.kind() {
            Kind::Small(value) => self.small(value),
            Kind::Big(big) => self.integer(big.is_negative(), big.digits()),
            Kind::Float(value) => self.float(value),
            Kind::Atom(atom) => self.atom(atom),
            Kind::Nil => self.byte(tag::NIL),
            Kind::Cons(cell) => self.cons(term, cell),
            Kind::Tuple(tuple) => {
                match u8::try_from(tuple.arity()) {
                    Ok(arity) => self.out.extend_from_slice(&[tag::SMALL_TUPLE, arity]),
                    Err(_) => {
                        self.byte(tag::LARGE_TUPLE);
                        self.u32(tuple.arity() as u32);
                    }
                }
                self.elements(tuple.elements());
            }
            Kind::Record(record) => {
                self.byte(tag::RECORD);
                self.u32(record.values().len() as u32);
                self.byte(u8::from(record.is_exported()));
                [record.module(), record.name()].iter().chain(record.fields()).for_each(|&atom| self.term(atom));
                self.elements(record.values());
            }
            Kind::FlatMap(map) => {
                self.byte(tag::MAP);
                self.u32(map.size() as u32);
                self.pairs(map.keys(), map.values());
            }
            Kind::HashMap(map) => {
                self.byte(tag::MAP);
                self.u32(map.size() as u32);
                let mut pairs: Vec<(Term, Term)> = map::iter(term).collect();
                if self.options.deterministic {
                    // What is pushed first comes last.
                    pairs.sort_by(|a, b| compare_exact(b.0, a.0));
                }
                self.todo.extend(pairs.iter().flat_map(|&(key, value)| [Todo::Term(value), Todo::Term(key)]));
            }
            Kind::Bits(bits) => self.bits(bits),
            Kind::Pid(data) => {
                let (number, serial) = pid_parts(data);
                self.pid(self.options.node, number, serial);
            }
            Kind::ExternalPid(pid) => {
                let node = NodeInfo { name: pid.node(), creation: pid.creation() };
                self.pid(node, pid.numbers()[0] as u32, pid.numbers()[1] as u32);
            }
            Kind::Port(number) => self.port(self.options.node, number),
            Kind::ExternalPort(port) => {
                let node = NodeInfo { name: port.node(), creation: port.creation() };
                self.port(node, port.numbers()[0] | port.numbers()[1] << 32);
            }
            Kind::Ref(reference) => self.reference(self.options.node, &reference.numbers()),
            Kind::ExternalRef(reference) => {
                let node = NodeInfo { name: reference.node(), creation: reference.creation() };
                let numbers: Vec<u32> = reference.numbers().iter().map(|&number| number as u32).collect();
                self.reference(node, &numbers);
            }
            Kind::Fun(fun) => self.fun(fun),
            Kind::ExportFun(fun) => {
                let mfa = fun.mfa();
                self.byte(tag::EXPORT);
                self.atom(mfa.module);
                self.atom(mfa.function);
                self.small(i64::from(mfa.arity));
            }
            Kind::MatchContext(_) | Kind::Special(_) => unreachable!("not a term that a program can hold: {:#x}", term.raw()),
        }
    }

    fn small(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.out.extend_from_slice(&[tag::SMALL_INTEGER, byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.byte(tag::INTEGER);
            self.u32(value as u32);
        } else {
            self.integer(value < 0, &[value.unsigned_abs()]);
        }
    }

    fn integer(&mut self, negative: bool, digits: &[u64]) {
        let last = digits.last().copied().unwrap_or(0);
        let len = digits.len() * 8 - last.leading_zeros() as usize / 8;
        match u8::try_from(len) {
            Ok(len) => self.out.extend_from_slice(&[tag::SMALL_BIG, len]),
            Err(_) => {
                self.byte(tag::LARGE_BIG);
                self.u32(len as u32);
            }
        }
        self.byte(u8::from(negative));
        self.out.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()).take(len));
    }

    fn float(&mut self, value: f64) {
        if self.options.minor_version == 0 {
            self.byte(tag::FLOAT);
            let end = self.out.len() + 31;
            self.out.extend(crate::float::scientific(value, 20).bytes());
            self.out.resize(end, 0);
        } else {
            self.byte(tag::NEW_FLOAT);
            self.out.extend_from_slice(&value.to_bits().to_be_bytes());
        }
    }

    /// In Latin-1 where that is possible, unless the version asks for UTF-8.
    fn atom(&mut self, atom: Atom) {
        let name = atom.name();
        if self.options.minor_version < 2 {
            if name.is_ascii() {
                self.byte(tag::ATOM);
                self.u16(name.len() as u16);
                return self.out.extend_from_slice(name.as_bytes());
            }
            if name.chars().all(|c| u32::from(c) < 256) {
                self.byte(tag::ATOM);
                self.u16(name.chars().count() as u16);
                return self.out.extend(name.chars().map(|c| c as u8));
            }
        }
        match u8::try_from(name.len()) {
            Ok(len) => self.out.extend_from_slice(&[tag::SMALL_ATOM_UTF8, len]),
            Err(_) => {
                self.byte(tag::ATOM_UTF8);
                self.u16(name.len() as u16);
            }
        }
        self.out.extend_from_slice(name.as_bytes());
    }

    fn cons(&mut self, list: Term, first: Cons) {
        let Some(len) = string_len(first) else {
            self.byte(tag::LIST);
            let length_at = self.out.len();
            self.u32(0);
            return self.list(list, 0, length_at);
        };
        self.byte(tag::STRING);
        self.u16(len as u16);
        let mut rest = list;
        while let Some(cell) = rest.as_cons() {
            self.byte(cell.head().small_value() as u8);
            rest = cell.tail();
        }
    }

    /// Writes elements for as long as nothing is left over of them.
    fn list(&mut self, mut rest: Term, mut count: u32, length_at: usize) {
        while let Some(cell) = rest.as_cons() {
            if self.out.len() > self.limit {
                return;
            }
            count += 1;
            rest = cell.tail();
            let head = cell.head();
            if head.is_immediate() {
                self.term(head);
                continue;
            }
            let waiting = self.todo.len();
            self.todo.push(Todo::List { rest, count, length_at });
            if head.is_cons() {
                // Not at once: lists within lists must not nest calls.
                self.todo.push(Todo::Term(head));
                return;
            }
            self.term(head);
            if self.todo.len() > waiting + 1 {
                return;
            }
            self.todo.pop();
        }
        self.out[length_at..length_at + 4].copy_from_slice(&count.to_be_bytes());
        self.term(rest);
    }

    fn bits(&mut self, bits: Bits) {
        let extra = bits.bit_size % 8;
        let len = bits.byte_size_rounded_up();
        self.byte(if extra == 0 { tag::BINARY } else { tag::BIT_BINARY });
        self.u32(len as u32);
        if extra > 0 {
            self.byte(extra as u8);
        }
        if len > self.limit - self.out.len().min(self.limit) || self.out.try_reserve(len).is_err() {
            self.left_out = true;
            return;
        }
        self.out.extend_from_slice(&bits.to_bytes());
    }

    fn pid(&mut self, node: NodeInfo, number: u32, serial: u32) {
        self.byte(tag::NEW_PID);
        self.atom(node.name);
        self.u32(number);
        self.u32(serial);
        self.u32(node.creation);
    }

    fn port(&mut self, node: NodeInfo, number: u64) {
        let old = number <= OLD_PORT_NUMBER_MAX;
        self.byte(if old { tag::NEW_PORT } else { tag::V4_PORT });
        self.atom(node.name);
        if old {
            self.u32(number as u32);
        } else {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        self.u32(node.creation);
    }

    fn reference(&mut self, node: NodeInfo, numbers: &[u32]) {
        self.byte(tag::NEWER_REFERENCE);
        self.u16(numbers.len() as u16);
        self.atom(node.name);
        self.u32(node.creation);
        for &number in numbers {
            self.u32(number);
        }
    }

    fn fun(&mut self, fun: Fun) {
        let identity = fun.identity();
        self.byte(tag::NEW_FUN);
        self.todo.push(Todo::FunSize(self.out.len()));
        self.u32(0);
        self.byte(fun.arity() as u8);
        self.out.extend_from_slice(&identity.uniq);
        self.u32(identity.index);
        self.u32(fun.free().len() as u32);
        self.atom(identity.module);
        let before = self.out.len();
        self.small(i64::from(identity.old_index as i32));
        self.small(i64::from(identity.old_uniq as i32));
        self.fun_slack += 2 * INTEGER_LEN - (self.out.len() - before);
        self.term(fun.creator());
        self.elements(fun.free());
    }
}

/// The length of a list of bytes that the string tag can hold.
fn string_len(first: Cons) -> Option<usize> {
    let mut len = 0;
    let mut cell = first;
    loop {
        len += 1;
        if len > STRING_LEN_MAX || !cell.head().as_small().is_some_and(|value| (0..256).contains(&value)) {
            return None;
        }
        match cell.tail().as_cons() {
            Some(next) => cell = next,
            None => return cell.tail().is_nil().then_some(len),
        }
    }
}
