//! Writing the external term format, byte for byte as OTP 25 does.

use super::{NodeMessage, VERSION, tag};
use crate::atom::Atom;
use crate::binary::{Bits, HEAP_BIN_BYTES_MAX};
use crate::boxed::{Cons, Fun};
use crate::compare::compare_exact;
use crate::creator::Creator;
use crate::map;
use crate::node::{NodeInfo, pid_parts};
use crate::refusal::handled;
use crate::release::{self, Release};
use crate::stop;
use crate::word::{Kind, Term};
#[cfg(miri)]
use std::io::Write;
use std::ops::Range;

/// See `erlang:term_to_binary/2`.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// 0: floats as text. 1: floats as bits. 2: also all atoms in UTF-8.
    pub minor_version: u8,
    /// The zlib level, 1 to 9; `compressed` alone means 6. The result is compressed only where that
    /// makes it smaller.
    pub compressed: Option<u32>,
    /// Pairs of large maps in key order.
    pub deterministic: bool,
    /// Only this machine is to read it.
    pub local: bool,
    /// The node that local identifiers are written as identifiers of.
    pub node: NodeInfo,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        // Atoms are UTF-8 by default from OTP 26 on.
        let minor_version = if release::current() >= Release::R26 { 2 } else { 1 };
        EncodeOptions {
            minor_version,
            compressed: None,
            deterministic: false,
            local: false,
            node: NodeInfo::this(),
        }
    }
}

/// Ports up to this number fit the older tag.
const OLD_PORT_NUMBER_MAX: u64 = (1 << 28) - 1;
/// Bytes of a float as bits.
pub(super) const FLOAT_LEN: usize = 9;
/// Bytes of an integer of 32 bits.
pub(super) const INTEGER_LEN: usize = 5;
const STRING_LEN_MAX: usize = 0xffff;
/// Bytes of a float as text, filled up with zeroes.
pub(super) const FLOAT_TEXT_LEN: usize = 31;
/// Levels of a term that are written by nested calls, some 100 bytes of stack each.
const NESTED_MAX: u32 = 64;
/// Bytes of binaries that a message to another node may leave out.
const LEFT_OUT_MIN: usize = 64 << 10;
/// Bytes of tag and hash that precede what only this machine is to read.
pub const LOCAL_HEAD: usize = 5;
/// Bytes of tag and size that precede what is compressed.
const COMPRESSED_HEAD: usize = 5;

/// The bytes of `term`, version byte first.
pub fn encode(term: Term, options: &EncodeOptions) -> Vec<u8> {
    encode_within(term, options, usize::MAX).unwrap_or_default()
}

/// As [`encode`], but `None` if there are more than `limit` bytes before compression: encoding
/// stops there.
pub fn encode_within(term: Term, options: &EncodeOptions, limit: usize) -> Option<Vec<u8>> {
    encode_noting(term, options, limit, None)
}

/// As [`encode_within`], and where in the bytes those of binaries stand that have more than
/// [`HEAP_BIN_BYTES_MAX`]: nowhere when they are compressed.
pub fn encode_with_places(
    term: Term,
    options: &EncodeOptions,
    limit: usize,
) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
    let mut places = Vec::new();
    let bytes = encode_noting(term, options, limit, Some(&mut places))?;
    if bytes.get(1) == Some(&tag::COMPRESSED) {
        places.clear();
    }
    if options.local {
        places
            .iter_mut()
            .for_each(|place| *place = place.start + LOCAL_HEAD..place.end + LOCAL_HEAD);
    }
    Some((bytes, places))
}

fn encode_noting(
    term: Term,
    options: &EncodeOptions,
    limit: usize,
    places: Option<&mut Vec<Range<usize>>>,
) -> Option<Vec<u8>> {
    // Enough for most messages; more than that is copied as it grows.
    let mut out = Vec::with_capacity(128);
    out.push(VERSION);
    let mut encoder = Encoder::new(&mut out, options);
    encoder.limit = limit;
    encoder.places = places;
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

/// As [`encode_unversioned`], for another node: atoms that the message has an index for are written
/// as that. `false`: the term has a binary that the format has no place for, of 4 GB or more, or
/// there is not enough memory.
#[must_use]
pub fn encode_for_node(
    term: Term,
    options: &EncodeOptions,
    node: &mut dyn NodeMessage,
    out: &mut Vec<u8>,
) -> bool {
    let mut encoder = Encoder::new(out, options);
    encoder.node = Some(node);
    encoder.run(term);
    !encoder.is_over()
}

fn compress(plain: &[u8], level: u32) -> Option<Vec<u8>> {
    let mut out = vec![VERSION, tag::COMPRESSED];
    out.extend(u32::try_from(plain.len()).ok()?.to_be_bytes());
    deflate(plain, level, &mut out)?;
    (out.len() - 1 - COMPRESSED_HEAD <= plain.len().checked_sub(COMPRESSED_HEAD)?).then_some(out)
}

/// Appends the data in zlib's format, as zlib itself writes it: what OTP's compiler compresses is
/// to be the same byte for byte, and other implementations choose other matches.
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

pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    options: &'a EncodeOptions,
    todo: Vec<Todo>,
    /// Bytes that funs might have taken more.
    pub(super) fun_slack: usize,
    /// Bytes after which the rest is left out.
    pub(super) limit: usize,
    /// A binary was left out that would have gone beyond.
    left_out: bool,
    /// The message to another node that is being made.
    node: Option<&'a mut dyn NodeMessage>,
    /// Where the bytes of large binaries are written.
    places: Option<&'a mut Vec<Range<usize>>>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, options: &'a EncodeOptions) -> Encoder<'a> {
        Encoder {
            out,
            options,
            todo: Vec::new(),
            fun_slack: 0,
            limit: usize::MAX,
            left_out: false,
            node: None,
            places: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.out.len() > self.limit || self.left_out
    }

    pub(super) fn run(&mut self, term: Term) {
        self.nested(term, NESTED_MAX);
    }

    /// Writes a term, its parts by calls that nest at most `depth` deep: what is nested more deeply
    /// waits in `todo`.
    #[inline]
    fn nested(&mut self, term: Term, depth: u32) {
        if let Some(value) = term.as_small() {
            self.small(value);
        } else if let Some(atom) = term.as_atom() {
            self.atom(atom);
        } else if term.is_nil() {
            self.byte(tag::NIL);
        } else {
            self.parts(term, depth);
        }
    }
    fn parts(&mut self, term: Term, depth: u32) {
        if depth == 0 || self.is_over() {
            return self.deep(term);
        }
        stop::step();
        if let Some(first) = term.as_cons() {
            let Some(length_at) = self.list_head(term, first) else { return };
            let (mut cell, mut count) = (first, 1);
            loop {
                self.nested(cell.head(), depth - 1);
                if self.out.len() > self.limit {
                    return;
                }
                match cell.tail().as_cons() {
                    Some(next) => cell = next,
                    None => break,
                }
                count += 1;
                if count % stop::FLAT_PER_STEP as u32 == 0 {
                    stop::step();
                }
            }
            self.replace_u32(length_at, count);
            self.nested(cell.tail(), depth - 1);
        } else if let Some(value) = term.as_float() {
            self.float(value);
        } else if let Some(bits) = term.as_bits() {
            self.bitstring(term, bits);
        } else if let Some(tuple) = term.as_tuple() {
            self.tuple_head(tuple.arity());
            for &element in tuple.elements() {
                self.nested(element, depth - 1);
            }
        } else if let Some(map) = term.as_flat_map() {
            self.tagged_u32(tag::MAP, map.size() as u32);
            for (&key, &value) in map.keys().iter().zip(map.values()) {
                self.nested(key, depth - 1);
                self.nested(value, depth - 1);
            }
        } else {
            self.deep(term);
        }
    }

    /// Writes a term however deep it is.
    fn deep(&mut self, term: Term) {
        let before = self.todo.len();
        self.term(term);
        while self.todo.len() > before
            && let Some(next) = self.todo.pop()
        {
            if self.is_over() {
                return;
            }
            stop::step();
            match next {
                Todo::Term(term) => self.term(term),
                Todo::Elements(elements, count) => {
                    // SAFETY: the rest of an array in a live term, and nothing is collected
                    // meanwhile.
                    let elements =
                        self.simple(unsafe { std::slice::from_raw_parts(elements, count) });
                    if let [first, rest @ ..] = elements {
                        self.todo.push(Todo::Elements(rest.as_ptr(), rest.len()));
                        self.term(*first);
                    }
                }
                Todo::Pairs(keys, values, count) => {
                    // SAFETY: keys and values are the rest of arrays in a live term, and nothing is
                    // collected meanwhile.
                    let (keys, values) = unsafe {
                        (
                            std::slice::from_raw_parts(keys, count),
                            std::slice::from_raw_parts(values, count),
                        )
                    };
                    if let ([key, keys @ ..], [value, values @ ..]) = (keys, values) {
                        self.pairs(keys, values);
                        self.todo.push(Todo::Term(*value));
                        self.term(*key);
                    }
                }
                Todo::List { rest, count, length_at } => self.list(rest, count, length_at),
                Todo::FunSize(at) => {
                    let size = (self.out.len() - at) as u32;
                    self.replace_u32(at, size);
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
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }
    /// A tag, and a number of 16 bits behind it.
    #[inline]
    fn tagged_u16(&mut self, tag: u8, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.bytes(&[tag, high, low]);
    }
    /// A tag, and a number of 32 bits behind it.
    #[inline]
    fn tagged_u32(&mut self, tag: u8, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.bytes(&[tag, a, b, c, d]);
    }
    /// Puts a number in the place of one that was written before.
    fn replace_u32(&mut self, at: usize, value: u32) {
        self.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
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
                self.tuple_head(tuple.arity());
                self.elements(tuple.elements());
            }
            Kind::Record(record) => {
                self.tagged_u32(tag::RECORD, record.values().len() as u32);
                self.byte(u8::from(record.is_exported()));
                [record.module(), record.name()]
                    .iter()
                    .chain(record.fields())
                    .for_each(|&atom| self.term(atom));
                self.elements(record.values());
            }
            Kind::FlatMap(map) => {
                self.tagged_u32(tag::MAP, map.size() as u32);
                self.pairs(map.keys(), map.values());
            }
            Kind::HashMap(map) => {
                self.tagged_u32(tag::MAP, map.size() as u32);
                let mut pairs: Vec<(Term, Term)> = map::iter(term).collect();
                if self.options.deterministic {
                    // What is pushed first comes last.
                    pairs.sort_by(|a, b| compare_exact(b.0, a.0));
                }
                self.todo.extend(
                    pairs.iter().flat_map(|&(key, value)| [Todo::Term(value), Todo::Term(key)]),
                );
            }
            Kind::Bits(bits) => self.bitstring(term, bits),
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
                let numbers: Vec<u32> =
                    reference.numbers().iter().map(|&number| number as u32).collect();
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
            Kind::MatchContext(_) | Kind::Special(_) => {
                unreachable!("not a term that a program can hold: {:#x}", term.raw())
            }
        }
    }

    fn small(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.bytes(&[tag::SMALL_INTEGER, byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.tagged_u32(tag::INTEGER, value as u32);
        } else {
            self.integer(value < 0, &[value.unsigned_abs()]);
        }
    }

    fn integer(&mut self, negative: bool, digits: &[u64]) {
        let last = digits.last().copied().unwrap_or(0);
        let len = digits.len() * 8 - last.leading_zeros() as usize / 8;
        match u8::try_from(len) {
            Ok(len) => self.bytes(&[tag::SMALL_BIG, len]),
            Err(_) => {
                self.tagged_u32(tag::LARGE_BIG, len as u32);
            }
        }
        self.byte(u8::from(negative));
        self.out.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()).take(len));
    }

    fn float(&mut self, value: f64) {
        if self.options.minor_version == 0 {
            self.byte(tag::FLOAT);
            let end = self.out.len() + FLOAT_TEXT_LEN;
            self.out.extend(crate::float::scientific(value, 20).bytes());
            self.out.resize(end, 0);
        } else {
            let mut bytes = [tag::NEW_FLOAT; FLOAT_LEN];
            bytes[1..].copy_from_slice(&value.to_bits().to_be_bytes());
            self.bytes(&bytes);
        }
    }

    /// In Latin-1 where that is possible, unless the version asks for UTF-8.
    fn atom(&mut self, atom: Atom) {
        if let Some(node) = &mut self.node
            && let Some(index) = node.index_of(atom)
        {
            return self.bytes(&[tag::ATOM_CACHE_REF, index]);
        }
        let name = atom.name();
        if self.options.minor_version < 2
            && let Some(len) = atom.latin1_len()
        {
            self.tagged_u16(tag::ATOM, len as u16);
            if len == name.len() {
                return self.bytes(name.as_bytes());
            }
            return self.out.extend(name.chars().map(|c| c as u8));
        }
        match u8::try_from(name.len()) {
            Ok(len) => self.bytes(&[tag::SMALL_ATOM_UTF8, len]),
            Err(_) => {
                self.tagged_u16(tag::ATOM_UTF8, name.len() as u16);
            }
        }
        self.bytes(name.as_bytes());
    }

    fn tuple_head(&mut self, arity: usize) {
        match u8::try_from(arity) {
            Ok(arity) => self.bytes(&[tag::SMALL_TUPLE, arity]),
            Err(_) => {
                self.tagged_u32(tag::LARGE_TUPLE, arity as u32);
            }
        }
    }

    /// Writes what precedes a list's elements, and returns where their number goes; a list of bytes
    /// as a whole.
    fn list_head(&mut self, list: Term, first: Cons) -> Option<usize> {
        let Some(len) = string_len(first) else {
            self.tagged_u32(tag::LIST, 0);
            return Some(self.out.len() - 4);
        };
        self.tagged_u16(tag::STRING, len as u16);
        let mut rest = list;
        while let Some(cell) = rest.as_cons() {
            self.byte(cell.head().small_value() as u8);
            rest = cell.tail();
        }
        None
    }

    fn cons(&mut self, list: Term, first: Cons) {
        if let Some(length_at) = self.list_head(list, first) {
            self.list(list, 0, length_at);
        }
    }

    /// Writes elements for as long as nothing is left over of them.
    fn list(&mut self, mut rest: Term, mut count: u32, length_at: usize) {
        while let Some(cell) = rest.as_cons() {
            if self.out.len() > self.limit {
                return;
            }
            stop::step();
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
        self.replace_u32(length_at, count);
        self.term(rest);
    }

    /// Writes a bitstring, or leaves out the bytes of a large binary that goes to another node from
    /// where it is.
    fn bitstring(&mut self, term: Term, bits: Bits) {
        let head_len = 1 + size_of::<u32>();
        if u32::try_from(bits.byte_size_rounded_up()).is_err() {
            self.left_out = true;
            return;
        }
        if let Some(node) = &mut self.node
            && bits.bit_size >= LEFT_OUT_MIN * 8
            && node.leave_out(term, self.out.len() + head_len)
        {
            return self.tagged_u32(tag::BINARY, (bits.bit_size / 8) as u32);
        }
        self.bits(bits);
    }

    fn bits(&mut self, bits: Bits) {
        stop::flat(bits.bit_size / 64);
        let extra = bits.bit_size % 8;
        let len = bits.byte_size_rounded_up();
        self.tagged_u32(if extra == 0 { tag::BINARY } else { tag::BIT_BINARY }, len as u32);
        if extra > 0 {
            self.byte(extra as u8);
        }
        if len > self.limit - self.out.len().min(self.limit)
            || handled(|| self.out.try_reserve(len)).is_err()
        {
            self.left_out = true;
            return;
        }
        if let Some(places) = &mut self.places {
            // Until OTP 26 bits after the last byte do not count.
            let whole = bits.bit_size / 8;
            let counted = if release::current() >= Release::R27 { len } else { whole };
            if counted > HEAP_BIN_BYTES_MAX {
                places.push(self.out.len()..self.out.len() + whole);
            }
        }
        self.bytes(&bits.to_bytes());
    }

    fn pid(&mut self, node: NodeInfo, number: u32, serial: u32) {
        self.byte(tag::NEW_PID);
        self.atom(node.name);
        self.u32(number);
        self.u32(serial);
        self.u32(node.creation);
    }

    fn port(&mut self, node: NodeInfo, number: u64) {
        // From OTP 26 on all nodes read the new form.
        let old = number <= OLD_PORT_NUMBER_MAX && release::current() < Release::R26;
        self.byte(if old { tag::NEW_PORT } else { tag::V4_PORT });
        self.atom(node.name);
        if old {
            self.u32(number as u32);
        } else {
            self.bytes(&number.to_be_bytes());
        }
        self.u32(node.creation);
    }

    fn reference(&mut self, node: NodeInfo, numbers: &[u32]) {
        self.tagged_u16(tag::NEWER_REFERENCE, numbers.len() as u16);
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
        self.bytes(&identity.uniq);
        self.u32(identity.index);
        self.u32(fun.free().len() as u32);
        self.atom(identity.module);
        let before = self.out.len();
        self.small(i64::from(identity.old_index as i32));
        self.small(i64::from(identity.old_uniq as i32));
        self.fun_slack += 2 * INTEGER_LEN - (self.out.len() - before);
        match fun.creator() {
            Creator::Here(data) => {
                let (number, serial) = pid_parts(data);
                self.pid(self.options.node, number, serial);
            }
            Creator::Elsewhere { node, number, serial } => self.pid(node, number, serial),
        }
        self.elements(fun.free());
    }
}

/// The length of a list of bytes that the string tag can hold.
pub(super) fn string_len(first: Cons) -> Option<usize> {
    let mut len = 0;
    let mut cell = first;
    loop {
        len += 1;
        if len > STRING_LEN_MAX
            || !cell.head().as_small().is_some_and(|value| (0..256).contains(&value))
        {
            return None;
        }
        match cell.tail().as_cons() {
            Some(next) => cell = next,
            None => {
                stop::flat(len);
                return cell.tail().is_nil().then_some(len);
            }
        }
    }
}
