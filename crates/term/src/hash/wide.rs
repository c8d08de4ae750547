//! The hash of 64 bits that maps and tables use from OTP 27 on: equal for terms that are `=:=`. It
//! is OTP's on terms without atoms and identifiers, so that large maps list their pairs in the same
//! order.
//!
//! It is `MurmurHash3` (Austin Appleby, public domain) with 128 bits of state, fed word by word.
//! Parts of a term that OTP holds in a word are mixed where they stand; others wait, the last one
//! in front. Nothing recurses on the native stack.

use super::{byte_element, immediate_word, little_endian, node_children};
use crate::binary::Bits;
use crate::release::{self, Release};
use crate::stop;
use crate::word::{Kind, Term};
use smallvec::SmallVec;

/// What is mixed in front of the parts of a term, as OTP 27 numbers it.
#[derive(Clone, Copy)]
enum Mark {
    Immediate = 1,
    Waiting,
    Head,
    Tail,
    String,
    Tuple,
    FlatMap,
    FullRoot,
    SparseRoot,
    Node,
    Bits,
    Fun,
    ExportFun,
    Negative,
    Positive,
    Ref,
    ExternalRef,
    ExternalPid,
    ExternalPort,
    Float,
}

/// OTP 29 has a mark for native records behind that of tuples.
const RECORD: u64 = Mark::Tuple as u64 + 1;

const FIRST: u64 = 0x87c3_7b91_1142_53d5;
const SECOND: u64 = 0x4cf5_ad43_2745_937f;

/// What waits to be hashed.
enum Later {
    Term(Term),
    /// The tail of a list, which is no list itself.
    LastTail(Term),
    /// A node of a trie: not a term of its own.
    Node(Term),
}

struct Hasher {
    h1: u64,
    h2: u64,
    words: u64,
    later: SmallVec<[Later; 8]>,
    /// Whether native records have their mark.
    has_records: bool,
}

/// The hash, with a start of its own: keys that collide with one salt need not with another.
#[inline]
pub(super) fn wide_hash(term: Term, salt: u64) -> u64 {
    match immediate_word(term) {
        Some(word) => finish(word.wrapping_add(salt)),
        None => compound_hash(term, salt),
    }
}

/// Has every bit of the result depend on every bit of the word; different words stay different.
fn finish(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

fn compound_hash(term: Term, salt: u64) -> u64 {
    let has_records = release::current() >= Release::R29;
    let mut hasher = Hasher { h1: salt, h2: salt, words: 0, later: SmallVec::new(), has_records };
    let mut next = Some(term);
    loop {
        stop::step();
        next = match next {
            Some(term) => hasher.term(term),
            None => match hasher.later.pop() {
                Some(Later::Term(term)) => Some(term),
                Some(Later::LastTail(term)) => {
                    hasher.mix_second(Mark::Tail as u64);
                    Some(term)
                }
                Some(Later::Node(node)) => {
                    hasher.mark(Mark::Node);
                    hasher.children(node_children(node))
                }
                None => return hasher.result(),
            },
        };
    }
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Hasher {
    fn mix_first(&mut self, word: u64) {
        self.h1 ^= first_word(word);
        self.h1 = self.h1.rotate_left(27).wrapping_add(self.h2);
        self.h1 = self.h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        self.words += 1;
    }
    fn mix_second(&mut self, word: u64) {
        self.h2 ^= second_word(word);
        self.h2 = self.h2.rotate_left(31).wrapping_add(self.h1);
        self.h2 = self.h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
        self.words += 1;
    }
    fn mark(&mut self, mark: Mark) {
        self.mix_first(self.number(mark));
    }
    /// A mark, and a number in the high half.
    fn mark_with(&mut self, mark: Mark, number: u32) {
        self.mix_first(self.number(mark) | u64::from(number) << 32);
    }
    fn number(&self, mark: Mark) -> u64 {
        let number = mark as u64;
        if self.has_records && number >= RECORD { number + 1 } else { number }
    }
    fn result(self) -> u64 {
        let (mut h1, mut h2) = (self.h1 ^ self.words, self.h2 ^ self.words);
        h1 = h1.wrapping_add(h2);
        h2 = h2.wrapping_add(h1);
        (h1, h2) = (finish(h1), finish(h2));
        h1 = h1.wrapping_add(h2);
        h2 = h2.wrapping_add(h1);
        h1 ^ h2
    }

    /// A part of a term: mixed now, or when its turn comes.
    fn part(&mut self, term: Term) {
        match immediate_word(term) {
            Some(word) => self.immediate(word),
            None => {
                self.mark(Mark::Waiting);
                self.later.push(Later::Term(term));
            }
        }
    }
    fn immediate(&mut self, word: u64) {
        self.mark(Mark::Immediate);
        self.mix_second(word);
    }
    /// All parts but the last, which is next.
    fn parts(&mut self, parts: &[Term]) -> Option<Term> {
        stop::flat(parts.len());
        let (&last, others) = parts.split_last()?;
        others.iter().for_each(|&part| self.part(part));
        Some(last)
    }

    /// Mixes a term, or begins to; what is to be mixed next.
    fn term(&mut self, term: Term) -> Option<Term> {
        if let Some(word) = immediate_word(term) {
            self.immediate(word);
            return None;
        }
        match term.kind() {
            Kind::Cons(_) => return self.list(term),
            Kind::Tuple(tuple) => {
                self.mark(Mark::Tuple);
                self.mix_second(tuple.arity() as u64);
                return self.parts(tuple.elements());
            }
            Kind::Record(record) => {
                self.mix_first(RECORD);
                self.mix_second(record.values().len() as u64 + 1);
                self.part(Term::small(record.definition_hash().into()));
                return self.parts(record.values());
            }
            Kind::FlatMap(map) => {
                self.mark(Mark::FlatMap);
                self.mix_second(map.size() as u64);
                let (&last_key, keys) = map.keys().split_last()?;
                let (&last_value, values) = map.values().split_last()?;
                for (&key, &value) in keys.iter().zip(values) {
                    self.part(value);
                    self.part(key);
                }
                self.part(last_value);
                return Some(last_key);
            }
            Kind::HashMap(map) => {
                const BRANCHES: usize = 16;
                let is_full = map.children().len() == BRANCHES;
                self.mark(if is_full { Mark::FullRoot } else { Mark::SparseRoot });
                self.mix_second(map.size() as u64);
                return self.children(map.children());
            }
            Kind::Fun(fun) => {
                let identity = fun.identity();
                self.mark_with(Mark::Fun, fun.free().len() as u32);
                self.mix_second(halves(identity.index, identity.old_uniq));
                self.immediate(immediate_word(Term::atom(identity.module)).unwrap_or(0));
                return self.parts(fun.free());
            }
            Kind::ExportFun(fun) => {
                let mfa = fun.mfa();
                self.mark_with(Mark::ExportFun, mfa.arity);
                self.mix_second(halves(mfa.module.index(), mfa.function.index()));
            }
            Kind::Bits(bits) => self.bits(bits),
            Kind::Small(value) => self.digits(value < 0, &[value.unsigned_abs()]),
            Kind::Big(big) => self.digits(big.is_negative(), big.digits()),
            Kind::Float(value) => {
                self.mark(Mark::Float);
                self.mix_second(value.to_bits());
            }
            Kind::Ref(reference) => {
                let [first, second, third] = reference.numbers();
                self.mark_with(Mark::Ref, first);
                self.mix_second(halves(second, third));
            }
            Kind::ExternalRef(reference) => {
                // Missing numbers are zero: references of different lengths may be equal.
                let number =
                    |at: usize| reference.numbers().get(at).map_or(0, |&number| number as u32);
                self.mark_with(Mark::ExternalRef, number(0));
                self.mix_second(halves(number(1), number(2)));
                self.mix_first(halves(reference.node().index(), reference.creation()));
            }
            Kind::ExternalPid(pid) => {
                self.mark(Mark::ExternalPid);
                self.mix_second(halves(pid.node().index(), pid.creation()));
                self.mix_first(halves(pid.numbers()[0] as u32, pid.numbers()[1] as u32));
            }
            Kind::ExternalPort(port) => {
                self.mark(Mark::ExternalPort);
                self.mix_second(halves(port.node().index(), port.creation()));
                self.mix_first(halves(port.numbers()[0] as u32, port.numbers()[1] as u32));
            }
            Kind::Atom(_)
            | Kind::Nil
            | Kind::Pid(_)
            | Kind::Port(_)
            | Kind::MatchContext(_)
            | Kind::Special(_) => {}
        }
        None
    }

    /// A list: a run of bytes four at a time, and one element behind it, or what stands behind the
    /// list.
    fn list(&mut self, list: Term) -> Option<Term> {
        let (mut rest, mut word, mut count) = (list, 0u32, 0u64);
        while let Some(cell) = rest.as_cons() {
            let Some(byte) = byte_element(cell.head()) else { break };
            (word, count) = (word << 8 | byte, count + 1);
            rest = cell.tail();
            if count == 4 {
                stop::step();
                self.string(count, word);
                (word, count) = (0, 0);
            }
        }
        if count > 0 {
            self.string(count, word);
        }
        let Some(cell) = rest.as_cons() else { return Some(rest) };
        let (head, tail) = (cell.head(), cell.tail());
        if let Some(word) = immediate_word(head) {
            self.mark_with(Mark::Immediate, Mark::Head as u32);
            self.mix_second(word);
            if !tail.is_cons() {
                self.mark(Mark::Tail);
            }
            return Some(tail);
        }
        self.later.push(if tail.is_cons() { Later::Term(tail) } else { Later::LastTail(tail) });
        self.mark(Mark::Head);
        Some(head)
    }
    fn string(&mut self, count: u64, word: u32) {
        self.mix_first(Mark::String as u64 | count << 8 | u64::from(word) << 32);
    }

    fn children(&mut self, children: &[Term]) -> Option<Term> {
        for &child in children {
            match child.as_cons() {
                Some(pair) => {
                    self.part(pair.tail());
                    self.part(pair.head());
                }
                None => self.later.push(Later::Node(child)),
            }
        }
        None
    }

    fn digits(&mut self, negative: bool, digits: &[u64]) {
        stop::flat(digits.len());
        self.mark_with(if negative { Mark::Negative } else { Mark::Positive }, digits.len() as u32);
        let mut pairs = digits.chunks_exact(2);
        for pair in &mut pairs {
            self.mix_first(pair[0]);
            self.mix_second(pair[1]);
        }
        if let [last] = pairs.remainder() {
            self.mix_second(*last);
        }
    }

    fn bits(&mut self, bits: Bits) {
        self.mark(Mark::Bits);
        self.mix_second(bits.bit_size as u64);
        if bits.bit_size == 0 {
            return;
        }
        stop::flat(bits.bit_size / 64);
        let bytes = bits.to_bytes();
        let (whole, extra) = (bits.bit_size / 8, bits.bit_size % 8);
        let mut blocks = bytes[..whole].chunks_exact(16);
        for block in &mut blocks {
            self.mix_first(little_endian(&block[..8]));
            self.mix_second(little_endian(&block[8..]));
        }
        let rest = blocks.remainder();
        let (low, high) = rest.split_at(rest.len().min(8));
        if !high.is_empty() {
            self.h2 ^= second_word(little_endian(high));
        }
        if !low.is_empty() {
            self.h1 ^= first_word(little_endian(low));
        }
        if extra > 0 {
            self.mix_first(u64::from(bytes[whole] >> (8 - extra)));
        }
    }
}

fn first_word(word: u64) -> u64 {
    word.wrapping_mul(FIRST).rotate_left(31).wrapping_mul(SECOND)
}
fn second_word(word: u64) -> u64 {
    word.wrapping_mul(SECOND).rotate_left(33).wrapping_mul(FIRST)
}
