//! Reading the external term format.
//!
//! Decoded terms wait on a stack of values; what contains them waits on a stack of frames until the
//! last of its parts is there. Every term takes a byte at least, so that a claim of more parts than
//! there are bytes left is refused before anything is allocated for it.

use super::{Resolver, VERSION, tag};
use crate::alloc::Alloc;
use crate::atom::{Atom, AtomError};
use crate::bigint::bits_max;
use crate::binary::SharedBytes;
use crate::boxed::{Fun, FunIdentity};
use crate::creator::Creator;
use crate::map;
use crate::node::{NodeInfo, PidData, pid_data, port_of_number};
use crate::reference::RefValue;
use crate::release::{self, Release};
use crate::word::{Subtag, Term};

/// The largest small integer of OTP.
const EXPORT_ARITY_MAX: u64 = (1 << 59) - 1;

/// See `erlang:binary_to_term/2`.
#[derive(Clone, Copy, Default, Debug)]
pub struct DecodeOptions {
    /// Make no new atoms or exports.
    pub safe: bool,
    /// The caller wants to know how many bytes the term took ([`decode`] always answers that).
    pub used: bool,
}

/// Why bytes are not a term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// They do not follow the format, or ask for what `safe` forbids.
    Malformed,
    /// The atom table is full.
    SystemLimit,
}

type Decoded<T> = Result<T, DecodeError>;

/// Bytes of a binary that becomes a part of the buffer that it came in.
const PART_MIN: usize = 16 << 10;
/// Bits of a reference's first number.
const REFERENCE_LIMIT: u32 = 1 << 18;
/// Numbers in a reference of any node, and in one of ours.
const REFERENCE_NUMBERS_MAX: usize = 5;
const LOCAL_REFERENCE_NUMBERS: usize = 3;
const FREE_VARIABLES_MAX: usize = 255;

/// How many bytes there are to read, once they are no longer compressed: as far as they tell the
/// truth.
pub fn plain_size(bytes: &[u8]) -> usize {
    match bytes {
        [VERSION, tag::COMPRESSED, a, b, c, d, ..] => {
            bytes.len().max(u32::from_be_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => bytes.len(),
    }
}

/// The term that `bytes` start with (after the version byte), and how many bytes it took.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode<A: Alloc + ?Sized>(
    bytes: &[u8],
    alloc: &mut A,
    resolver: &dyn Resolver,
    options: DecodeOptions,
) -> Decoded<(Term, usize)> {
    match bytes {
        // As OTP, which takes a shorter one for a plain term.
        [VERSION, tag::COMPRESSED, rest @ ..] if rest.len() >= 4 => {
            let (size, packed) = rest.split_at(4);
            let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize;
            let (plain, used) = inflate(packed, size)?;
            let (term, _) = decode_unversioned(&plain, alloc, resolver, options)?;
            Ok((term, used + 6))
        }
        [VERSION, tag::LOCAL, rest @ ..] => {
            let (hash, rest) = rest.split_first_chunk::<8>().ok_or(DecodeError::Malformed)?;
            let (term, used) = decode_unversioned(rest, alloc, resolver, options)?;
            if super::local_hash(&rest[..used]) != *hash {
                return Err(DecodeError::Malformed);
            }
            Ok((term, used + 10))
        }
        [VERSION, rest @ ..] => {
            let (term, used) = decode_unversioned(rest, alloc, resolver, options)?;
            Ok((term, used + 1))
        }
        _ => Err(DecodeError::Malformed),
    }
}

/// As [`decode`], for a term without version byte.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_unversioned<A: Alloc + ?Sized>(
    bytes: &[u8],
    alloc: &mut A,
    resolver: &dyn Resolver,
    options: DecodeOptions,
) -> Decoded<(Term, usize)> {
    decode_from_node(bytes, &NodeContext::default(), alloc, resolver, options)
}

/// What is known of the message of another node that a term is in.
#[derive(Clone, Copy, Default)]
pub struct NodeContext<'a> {
    /// The atoms that the message's head lists.
    pub atoms: &'a [Atom],
    /// The buffer that the term's bytes are in, and where: large binaries become parts of it.
    pub buffer: Option<(&'a SharedBytes, usize)>,
}

/// As [`decode_unversioned`], for a term from another node.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_from_node<A: Alloc + ?Sized>(
    bytes: &[u8],
    context: &NodeContext<'_>,
    alloc: &mut A,
    resolver: &dyn Resolver,
    options: DecodeOptions,
) -> Decoded<(Term, usize)> {
    let (values, frames, node) = (Vec::new(), Vec::new(), resolver.node());
    let mut decoder = Decoder {
        bytes,
        at: 0,
        awaited: 1,
        values,
        frames,
        alloc,
        resolver,
        options,
        node,
        context,
    };
    let term = decoder.run()?;
    Ok((term, decoder.at))
}

/// Exactly `size` bytes out of a zlib stream, and how many bytes the stream had.
fn inflate(packed: &[u8], size: usize) -> Decoded<(Vec<u8>, usize)> {
    // One byte more shows whether there is more than was claimed. The buffer grows with what comes
    // out.
    let mut plain = Vec::with_capacity(size.min(packed.len().saturating_mul(4)).saturating_add(1));
    let mut inflater = flate2::Decompress::new(true);
    loop {
        let consumed = inflater.total_in() as usize;
        let before = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress_vec(&packed[consumed..], &mut plain, flate2::FlushDecompress::None)
            .map_err(|_| DecodeError::Malformed)?;
        if plain.len() > size {
            return Err(DecodeError::Malformed);
        }
        if status == flate2::Status::StreamEnd {
            break;
        }
        if plain.len() == plain.capacity() {
            plain.reserve(plain.len().max(64).min(size + 1 - plain.len()));
        } else if before == (inflater.total_in(), inflater.total_out()) {
            return Err(DecodeError::Malformed);
        }
    }
    if plain.len() == size {
        Ok((plain, inflater.total_in() as usize))
    } else {
        Err(DecodeError::Malformed)
    }
}

/// What waits for its parts, which lie on the stack of values.
enum Container {
    /// Elements and tail.
    List,
    Tuple,
    /// A native record of this definition: the values of its fields.
    Record(Term),
    /// Key, value, key, value …
    Map,
    /// Creator and free variables.
    Fun {
        identity: *const FunIdentity,
        arity: u8,
    },
}

struct Frame {
    container: Container,
    parts: usize,
    /// The stack of values is this high when the last part is there.
    complete_at: usize,
}

/// What one tag leads to.
enum Step {
    Term(Term),
    Container(Container, usize),
}

struct Decoder<'a, A: Alloc + ?Sized> {
    bytes: &'a [u8],
    at: usize,
    /// Terms that have been announced and not been begun.
    awaited: usize,
    values: Vec<Term>,
    frames: Vec<Frame>,
    alloc: &'a mut A,
    resolver: &'a dyn Resolver,
    options: DecodeOptions,
    node: NodeInfo,
    context: &'a NodeContext<'a>,
}

impl<'a, A: Alloc + ?Sized> Decoder<'a, A> {
    fn run(&mut self) -> Decoded<Term> {
        loop {
            let mut term = match self.step()? {
                Step::Container(container, parts) if parts > 0 => {
                    self.open(container, parts)?;
                    continue;
                }
                Step::Container(container, _) => self.close(container, 0)?,
                Step::Term(term) => term,
            };
            loop {
                let Some(frame) = self.frames.last() else { return Ok(term) };
                self.values.push(term);
                if self.values.len() < frame.complete_at {
                    break;
                }
                let Some(Frame { container, parts, .. }) = self.frames.pop() else {
                    return Ok(term);
                };
                term = self.close(container, parts)?;
            }
        }
    }

    fn open(&mut self, container: Container, parts: usize) -> Decoded<()> {
        self.awaited += parts;
        if self.awaited > self.bytes.len() - self.at {
            return Err(DecodeError::Malformed);
        }
        self.frames.push(Frame { container, parts, complete_at: self.values.len() + parts });
        Ok(())
    }

    /// Builds a container from the topmost values.
    fn close(&mut self, container: Container, parts: usize) -> Decoded<Term> {
        let start = self.values.len() - parts;
        let parts = &self.values[start..];
        let term = match container {
            Container::Tuple => self.alloc.tuple(parts),
            Container::Record(definition) => self.alloc.record(definition, parts),
            Container::List => build_list(self.alloc, parts),
            Container::Map => {
                let pairs: Vec<(Term, Term)> =
                    parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                map::from_unique_pairs(self.alloc, &pairs)
                    .map_err(|map::DuplicateKey| DecodeError::Malformed)?
            }
            Container::Fun { identity, arity } => {
                let creator = Creator::of(parts[0]).pack();
                let fun = self.alloc.fun(identity, u32::from(arity), creator, &parts[1..]);
                // SAFETY: the word has just been written.
                unsafe { *fun.boxed_ptr().add(Fun::MAKER_WORD) |= Fun::OWN_HOLDER };
                fun
            }
        };
        self.values.truncate(start);
        Ok(term)
    }

    fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let bytes = self.bytes[self.at..].get(..count).ok_or(DecodeError::Malformed)?;
        self.at += count;
        Ok(bytes)
    }
    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Malformed)
    }
    fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn step(&mut self) -> Decoded<Step> {
        self.awaited -= 1;
        let tag = self.u8()?;
        let term = match tag {
            tag::SMALL_INTEGER => Term::small(i64::from(self.u8()?)),
            tag::INTEGER => Term::small(i64::from(self.u32()? as i32)),
            tag::SMALL_BIG | tag::LARGE_BIG => self.big(tag)?,
            tag::ATOM
            | tag::SMALL_ATOM
            | tag::ATOM_UTF8
            | tag::SMALL_ATOM_UTF8
            | tag::ATOM_CACHE_REF => Term::atom(self.atom_tagged(tag)?),
            tag::NEW_FLOAT => self.float(f64::from_bits)?,
            tag::FLOAT => self.old_float()?,
            tag::NIL => Term::NIL,
            tag::STRING => {
                let len = self.u16()?;
                let bytes = self.take(usize::from(len))?;
                self.alloc.byte_list(bytes, Term::NIL)
            }
            tag::BINARY => {
                let len = self.u32()? as usize;
                let at = self.at;
                let bytes = self.take(len)?;
                match self.context.buffer {
                    // It keeps the whole buffer, so it must be a good part of it.
                    Some((shared, start)) if len >= PART_MIN && len >= self.bytes.len() / 4 => {
                        self.alloc.shared_bin(shared.clone(), start + at, len * 8)
                    }
                    _ => self.alloc.binary(bytes),
                }
            }
            tag::BIT_BINARY => self.bitstring()?,
            tag::PID | tag::NEW_PID => self.pid(tag)?,
            tag::PORT | tag::NEW_PORT | tag::V4_PORT => self.port(tag)?,
            tag::REFERENCE | tag::NEW_REFERENCE | tag::NEWER_REFERENCE => self.reference(tag)?,
            tag::EXPORT => self.export()?,
            tag::SMALL_TUPLE => {
                return Ok(Step::Container(Container::Tuple, usize::from(self.u8()?)));
            }
            tag::LARGE_TUPLE => return Ok(Step::Container(Container::Tuple, self.u32()? as usize)),
            tag::LIST => return Ok(Step::Container(Container::List, self.u32()? as usize + 1)),
            tag::MAP => return Ok(Step::Container(Container::Map, self.u32()? as usize * 2)),
            tag::NEW_FUN => return self.fun(),
            tag::RECORD if release::current() >= Release::R29 => return self.record(),
            _ => return Err(DecodeError::Malformed),
        };
        Ok(Step::Term(term))
    }

    fn big(&mut self, tag: u8) -> Decoded<Term> {
        let len =
            if tag == tag::SMALL_BIG { usize::from(self.u8()?) } else { self.u32()? as usize };
        if len > bits_max() / 8 {
            return Err(DecodeError::Malformed);
        }
        let negative = self.u8()? != 0;
        let bytes = self.take(len)?;
        let digit = |chunk: &[u8]| {
            let mut digit = [0; 8];
            digit[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(digit)
        };
        if len <= 8 {
            return Ok(self.alloc.big(negative, &[digit(bytes)]));
        }
        let digits: Vec<u64> = bytes.chunks(8).map(digit).collect();
        Ok(self.alloc.big(negative, &digits))
    }

    fn float(&mut self, from: impl Fn(u64) -> f64) -> Decoded<Term> {
        let value = from(self.u64()?);
        if value.is_finite() { Ok(self.alloc.float(value)) } else { Err(DecodeError::Malformed) }
    }

    /// The text of a float, padded with zero bytes.
    fn old_float(&mut self) -> Decoded<Term> {
        let value = crate::float::parse(self.take(31)?).ok_or(DecodeError::Malformed)?;
        Ok(self.alloc.float(value))
    }

    fn atom(&mut self) -> Decoded<Atom> {
        let tag = self.u8()?;
        self.atom_tagged(tag)
    }

    fn atom_tagged(&mut self, tag: u8) -> Decoded<Atom> {
        let len = match tag {
            tag::ATOM_CACHE_REF => {
                let index = usize::from(self.u8()?);
                return self.context.atoms.get(index).copied().ok_or(DecodeError::Malformed);
            }
            tag::ATOM | tag::ATOM_UTF8 => usize::from(self.u16()?),
            tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => usize::from(self.u8()?),
            _ => return Err(DecodeError::Malformed),
        };
        let bytes = self.take(len)?;
        let latin1: String;
        let name = if bytes.is_ascii() || matches!(tag, tag::ATOM_UTF8 | tag::SMALL_ATOM_UTF8) {
            std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)?
        } else {
            latin1 = bytes.iter().map(|&byte| char::from(byte)).collect();
            &latin1
        };
        if self.options.safe {
            return Atom::existing(name).ok_or(DecodeError::Malformed);
        }
        Atom::try_new(name).map_err(|error| match error {
            AtomError::TooLong => DecodeError::Malformed,
            AtomError::TableFull => DecodeError::SystemLimit,
        })
    }

    fn bitstring(&mut self) -> Decoded<Term> {
        let len = self.u32()? as usize;
        let last_bits = usize::from(self.u8()?);
        let bytes = self.take(len)?;
        let is_empty = len == 0 && last_bits == 0;
        if last_bits > 8 || (last_bits == 0) != (len == 0) {
            return Err(DecodeError::Malformed);
        }
        // From OTP 27 on nothing is a binary, or an error.
        if is_empty && release::current() >= Release::R27 {
            return Err(DecodeError::Malformed);
        }
        if last_bits == 0 || last_bits == 8 {
            return Ok(self.alloc.binary(bytes));
        }
        let bit_size = (len - 1) * 8 + last_bits;
        if len > crate::binary::HEAP_BIN_BYTES_MAX {
            return Ok(self.alloc.shared_bin(SharedBytes::copy_from(bytes), 0, bit_size));
        }
        let (term, data) = self.alloc.heap_bin(bit_size);
        // SAFETY: the data area has that many bytes.
        unsafe {
            data.copy_from_nonoverlapping(bytes.as_ptr(), len);
            *data.add(len - 1) &= 0xffu8 << (8 - last_bits);
        }
        Ok(term)
    }

    /// The one byte that old tags have for a creation.
    fn tiny_creation(&mut self) -> Decoded<u32> {
        let creation = self.u8()?;
        if creation > 3 { Err(DecodeError::Malformed) } else { Ok(u32::from(creation)) }
    }

    fn is_local(&self, node: Atom, creation: u32) -> bool {
        node == self.node.name && creation == self.node.creation
    }

    fn pid(&mut self, tag: u8) -> Decoded<Term> {
        let node = self.atom()?;
        let (number, serial) = (self.u32()?, self.u32()?);
        let creation = if tag == tag::PID { self.tiny_creation()? } else { self.u32()? };
        if self.is_local(node, creation) {
            match pid_data(number, serial).ok_or(DecodeError::Malformed)? {
                PidData::Local(data) => return Ok(Term::pid(data)),
                PidData::Beyond => {}
            }
        }
        let numbers = [u64::from(number), u64::from(serial)];
        Ok(self.alloc.external(Subtag::ExternalPid, node, creation, &numbers))
    }

    fn port(&mut self, tag: u8) -> Decoded<Term> {
        let node = self.atom()?;
        let number = if tag == tag::V4_PORT { self.u64()? } else { u64::from(self.u32()?) };
        let creation = if tag == tag::PORT { self.tiny_creation()? } else { self.u32()? };
        if !self.is_local(node, creation) {
            let halves = [number & 0xffff_ffff, number >> 32];
            return Ok(self.alloc.external(Subtag::ExternalPort, node, creation, &halves));
        }
        port_of_number(self.alloc, self.node, number).ok_or(DecodeError::Malformed)
    }

    fn reference(&mut self, tag: u8) -> Decoded<Term> {
        let count = if tag == tag::REFERENCE { 1 } else { usize::from(self.u16()?) };
        if count == 0 || count > REFERENCE_NUMBERS_MAX {
            return Err(DecodeError::Malformed);
        }
        let node = self.atom()?;
        let mut numbers = [0u64; REFERENCE_NUMBERS_MAX];
        // The oldest form has its number before the creation.
        let creation = match tag {
            tag::REFERENCE => {
                numbers[0] = u64::from(self.u32()?);
                self.tiny_creation()?
            }
            tag::NEW_REFERENCE => self.tiny_creation()?,
            _ => self.u32()?,
        };
        if tag != tag::REFERENCE {
            for number in &mut numbers[..count] {
                *number = u64::from(self.u32()?);
            }
        }
        let local = self.is_local(node, creation);
        if (local || tag != tag::NEWER_REFERENCE) && numbers[0] >= u64::from(REFERENCE_LIMIT) {
            return Err(DecodeError::Malformed);
        }
        if !local {
            return Ok(self.alloc.external(Subtag::ExternalRef, node, creation, &numbers[..count]));
        }
        if count > LOCAL_REFERENCE_NUMBERS {
            return Err(DecodeError::Malformed);
        }
        let (id, low) = (numbers[1] | numbers[2] << 32, numbers[0] as u32);
        Ok(RefValue { id, low }.to_term(self.alloc))
    }

    /// An integer that must be a small one.
    fn small(&mut self) -> Decoded<i64> {
        let term = match self.u8()? {
            tag::SMALL_INTEGER => Term::small(i64::from(self.u8()?)),
            tag::INTEGER => Term::small(i64::from(self.u32()? as i32)),
            tag @ (tag::SMALL_BIG | tag::LARGE_BIG) => self.big(tag)?,
            _ => return Err(DecodeError::Malformed),
        };
        term.as_small().ok_or(DecodeError::Malformed)
    }

    fn export(&mut self) -> Decoded<Term> {
        let (module, function) = (self.atom()?, self.atom()?);
        // No function has more than 255 arguments, but OTP lets funs say so; of what is larger yet
        // it takes the low bits.
        let arity = u64::try_from(self.small()?).map_err(|_| DecodeError::Malformed)?;
        if arity > EXPORT_ARITY_MAX {
            return Err(DecodeError::Malformed);
        }
        let arity = arity as u32;
        if self.options.safe && !self.resolver.has_export(module, function, arity) {
            return Err(DecodeError::Malformed);
        }
        Ok(self.alloc.export_fun(self.resolver.export(module, function, arity)))
    }

    fn record(&mut self) -> Decoded<Step> {
        let count = self.u32()? as usize;
        let is_exported = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Malformed),
        };
        // Each field takes some bytes for its name and its value.
        if count > (self.bytes.len() - self.at) / 2 {
            return Err(DecodeError::Malformed);
        }
        let (module, name) = (Term::atom(self.atom()?), Term::atom(self.atom()?));
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(Term::atom(self.atom()?));
        }
        let mut sorted: Vec<u64> = fields.iter().map(|field| field.raw()).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Malformed);
        }
        let definition = self.alloc.record_definition(module, name, is_exported, &fields);
        Ok(Step::Container(Container::Record(definition), count))
    }

    fn fun(&mut self) -> Decoded<Step> {
        let _size = self.u32()?;
        let arity = self.u8()?;
        let uniq = self.array::<16>()?;
        let index = self.u32()?;
        let free_count = self.u32()? as usize;
        if free_count > FREE_VARIABLES_MAX {
            return Err(DecodeError::Malformed);
        }
        let module = self.atom()?;
        let (old_index, old_uniq) = (self.small()? as u32, self.small()? as u32);
        let identity = self.resolver.fun(
            FunIdentity { module, index, old_index, old_uniq, uniq, arity },
            free_count as u32,
        );
        Ok(Step::Container(Container::Fun { identity, arity }, free_count + 1))
    }
}

/// A list of all but the last of `parts`, which is its tail; the cells lie one after the other.
fn build_list<A: Alloc + ?Sized>(alloc: &mut A, parts: &[Term]) -> Term {
    let (tail, heads) = parts.split_last().expect("a list has a tail at least");
    if heads.is_empty() {
        return *tail;
    }
    let cells = alloc.alloc(heads.len() * 2);
    for (index, head) in heads.iter().enumerate() {
        // SAFETY: every element was given two words.
        unsafe {
            let cell = cells.add(index * 2);
            *cell = head.raw();
            *cell.add(1) = if index + 1 == heads.len() {
                tail.raw()
            } else {
                Term::from_cons_ptr(cell.add(2)).raw()
            };
        }
    }
    Term::from_cons_ptr(cells)
}
