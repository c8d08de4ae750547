//! Hashes of terms: `phash2`, the older `phash`, and the internal one of maps and tables.
//!
//! The first two are part of Erlang: they are the same on every node. The internal one only has to
//! agree with `=:=`, but ours is OTP's on terms without atoms and identifiers, so that large maps
//! list their pairs in the same order: [`narrow`] is that of OTP 25 and 26, [`wide`] that of later
//! releases. Nothing recurses on the native stack.

mod narrow;
mod phash;
mod phash2;
mod wide;

pub use phash::phash;
pub(crate) use phash2::record_definition_hash;
pub use phash2::{PHASH2_MASK, phash2, phash2_range, phash2_within};

use crate::binary::Bits;
use crate::boxed::{HashMap, MapNode};
use crate::release::{self, Release};
use crate::stop;
use crate::word::{Subtag, Term};
use narrow::narrow_hash;
use smallvec::SmallVec;
use wide::wide_hash;

/// Bob Jenkins' mixing of three words.
#[inline(always)]
fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    macro_rules! step {
        ($x:ident $y:ident $z:ident $op:tt $shift:literal) => {
            $x = $x.wrapping_sub($y).wrapping_sub($z) ^ ($z $op $shift);
        };
    }
    step!(a b c >> 13);
    step!(b c a << 8);
    step!(c a b >> 13);
    step!(a b c >> 12);
    step!(b c a << 16);
    step!(c a b >> 5);
    step!(a b c >> 3);
    step!(b c a << 10);
    step!(c a b >> 15);
    (a, b, c)
}

/// The golden ratio; its multiples tell kinds of terms apart.
const GOLDEN: u32 = 0x9e37_79b9;

#[inline(always)]
const fn golden(times: u32) -> u32 {
    GOLDEN.wrapping_mul(times)
}

/// Mixes two words into `hash`; `times` says what they are.
#[inline(always)]
fn mix_two(hash: u32, x: u32, y: u32, times: u32) -> u32 {
    let constant = golden(times);
    mix(constant.wrapping_add(x), constant.wrapping_add(y), hash).2
}
#[inline(always)]
fn mix_one(hash: u32, x: u32, times: u32) -> u32 {
    mix_two(hash, x, 0, times)
}

/// The bytes, twelve at a time.
fn mix_bytes(bytes: &[u8], initial: u32) -> u32 {
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let (mut a, mut b, mut c) = (GOLDEN, GOLDEN, initial);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        (a, b, c) = mix(
            a.wrapping_add(word(block)),
            b.wrapping_add(word(&block[4..])),
            c.wrapping_add(word(&block[8..])),
        );
    }
    // The last block's lowest byte of the third word holds the length.
    let (low, high) = blocks.remainder().split_at(blocks.remainder().len().min(8));
    let low = little_endian(low);
    let third = (little_endian(high) << 8) as u32;
    c = c.wrapping_add(bytes.len() as u32);
    mix(a.wrapping_add(low as u32), b.wrapping_add((low >> 32) as u32), c.wrapping_add(third)).2
}

/// Up to eight bytes as a word, the first one lowest: read as two halves that may overlap.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
    match *bytes {
        [] => 0,
        [_, ..] if bytes.len() < 4 => byte(0) | byte(bytes.len() / 2) | byte(bytes.len() - 1),
        _ => {
            let half = |at: usize| {
                let half: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
                u64::from(u32::from_le_bytes(half)) << (8 * at)
            };
            half(0) | half(bytes.len() - 4)
        }
    }
}

#[inline]
fn mix_bits(bits: Bits, hash: u32) -> u32 {
    match bits.aligned() {
        Some(bytes) if (1..=u32::MAX as usize).contains(&bytes.len()) => {
            stop::flat(bytes.len() / 8);
            mix_bytes(bytes, golden(13).wrapping_add(hash))
        }
        _ => mix_other_bits(bits, hash),
    }
}

/// The hash with bits that are no whole bytes, are too many, or none.
fn mix_other_bits(bits: Bits, hash: u32) -> u32 {
    let initial = golden(13).wrapping_add(hash);
    // As in OTP, the size in bytes is cut to 32 bits: of larger ones the first so many count.
    let (whole, extra) = ((bits.bit_size / 8) & u32::MAX as usize, bits.bit_size % 8);
    let bits = Bits { bit_size: whole * 8 + extra, ..bits };
    if bits.bit_size == 0 {
        return initial;
    }
    stop::flat(bits.bit_size / 64);
    let bytes = bits.to_bytes();
    let hash = mix_bytes(&bytes[..whole], initial);
    if extra == 0 {
        hash
    } else {
        mix_two(hash, extra as u32, u32::from(bytes[whole] >> (8 - extra)), 15)
    }
}

fn mix_digits(mut hash: u32, negative: bool, digits: &[u64]) -> u32 {
    for &digit in digits {
        hash = mix_two(hash, digit as u32, (digit >> 32) as u32, if negative { 10 } else { 11 });
    }
    hash
}

/// The two halves of a float's bits, with one zero only.
fn float_halves(value: f64) -> (u32, u32) {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    (bits as u32, (bits >> 32) as u32)
}

/// What is left to hash; of most terms there is little at a time.
type Todos = SmallVec<[Todo; 8]>;

/// What one element of the list of things to hash is.
enum Todo {
    Term(Term),
    /// A node of a trie: not a term of its own.
    Node(Term),
    /// A pair of a map is complete: its hash joins the others'.
    PairEnd,
    /// A map is complete: the hash before it, and the pairs' of the map around it.
    MapEnd {
        hash: u32,
        pairs: u32,
    },
    /// The tail that follows is the last one of its list.
    LastTail,
}

/// The small list elements that hash together, four at a time.
#[inline(always)]
fn byte_element(term: Term) -> Option<u32> {
    term.as_small().filter(|value| (0..256).contains(value)).map(|value| value as u32)
}

/// Whether a term has parts that are terms.
#[inline]
fn has_parts(term: Term) -> bool {
    term.is_cons()
        || matches!(
            term.boxed_subtag(),
            Some(Subtag::Tuple | Subtag::Record | Subtag::FlatMap | Subtag::HashMap | Subtag::Fun)
        )
}

/// The elements that have no parts, up to the first that has; it and those after it wait.
fn push_compound<'a>(elements: &'a [Term], todo: &mut Todos) -> &'a [Term] {
    stop::flat(elements.len());
    let (simple, rest) = elements.split_at(
        elements.iter().position(|&element| has_parts(element)).unwrap_or(elements.len()),
    );
    todo.extend(rest.iter().rev().map(|&element| Todo::Term(element)));
    simple
}

fn node_children<'a>(node: Term) -> &'a [Term] {
    // SAFETY: only nodes of tries come here.
    unsafe {
        match node.boxed_header().subtag() {
            Subtag::HashMap => HashMap::from_ptr(node.boxed_ptr()).children(),
            _ => MapNode::from_ptr(node.boxed_ptr()).children(),
        }
    }
}

fn push_children(children: &[Term], pair_ends: bool, todo: &mut Todos) {
    for &child in children {
        match child.as_cons() {
            Some(pair) => {
                if pair_ends {
                    todo.push(Todo::PairEnd);
                }
                todo.extend([Todo::Term(pair.tail()), Todo::Term(pair.head())]);
            }
            None => todo.push(Todo::Node(child)),
        }
    }
}

/// The unhashed rest of a list: its first element with parts, if there is one, and the tail behind
/// it.
struct ListRest {
    head: Option<Term>,
    tail: Term,
}

impl ListRest {
    fn push(self, internal: bool, todo: &mut Todos) {
        todo.push(Todo::Term(self.tail));
        if let Some(head) = self.head {
            if internal && !self.tail.is_cons() {
                todo.push(Todo::LastTail);
            }
            todo.push(Todo::Term(head));
        }
    }
}

/// Hashes a list up to its first element that has to `wait`, or up to where some `steps` were
/// taken: runs of bytes four at a time, others by `element`.
#[inline]
fn hash_list(
    list: Term,
    mut hash: u32,
    internal: bool,
    steps: &mut usize,
    wait: impl Fn(Term) -> bool,
    mut element: impl FnMut(Term, u32) -> u32,
) -> (u32, ListRest) {
    let mut rest = list;
    loop {
        let (mut word, mut count) = (0u32, 0u32);
        while let Some(cell) = rest.as_cons() {
            let Some(byte) = byte_element(cell.head()) else { break };
            word = (word << 8).wrapping_add(byte);
            count += 1;
            rest = cell.tail();
            if count == 4 {
                stop::step();
                hash = mix_one(hash, word, 4);
                (word, count) = (0, 0);
                *steps = steps.saturating_sub(4);
                if *steps == 0 {
                    break;
                }
            }
        }
        if count > 0 {
            hash = if internal { mix_two(hash, word, count, 22) } else { mix_one(hash, word, 4) };
        }
        let Some(cell) = rest.as_cons().filter(|_| *steps > 0) else {
            return (hash, ListRest { head: None, tail: rest });
        };
        *steps -= 1;
        let (head, tail) = (cell.head(), cell.tail());
        if internal {
            hash = tag_hash(hash, 17);
        }
        if wait(head) {
            return (hash, ListRest { head: Some(head), tail });
        }
        hash = element(head, hash);
        if internal && !tail.is_cons() {
            hash = tag_hash(hash, 18);
        }
        rest = tail;
    }
}

/// A light mark of what comes next.
fn tag_hash(hash: u32, times: u32) -> u32 {
    (hash ^ golden(times)).rotate_left(17)
}
/// The hash of maps and tables: equal for terms that are `=:=`. It has [`internal_hash_bits`] bits.
#[inline]
pub fn internal_hash(term: Term) -> u64 {
    internal_hash_salted(term, 0)
}

/// How many bits the hash of maps and tables has.
#[inline]
pub fn internal_hash_bits() -> u32 {
    if is_wide() { 64 } else { 32 }
}

#[inline]
fn is_wide() -> bool {
    release::current() >= Release::R27
}

/// The `depth`-th hash of a key that a trie needs, where the bits of those before have been used.
#[inline]
pub fn trie_hash(key: Term, depth: u32) -> u64 {
    internal_hash_salted(key, if depth == 0 { 0 } else { mix_two(0, depth, 1, 22).into() })
}

/// The hash with a start of its own: keys that collide with one salt need not with another.
#[inline]
pub fn internal_hash_salted(term: Term, salt: u64) -> u64 {
    let own = own_hash(term, salt);
    if is_wide() {
        own.unwrap_or_else(|| wide_hash(term, salt))
    } else {
        u64::from(own.map_or_else(|| narrow_hash(term, salt as u32), |hash| hash as u32))
    }
}

/// The hash of an atom, or of a tuple of words that begins with one: the commonest keys. OTP's
/// depends on the numbers of atoms, so that no program can know the order that follows from it, and
/// a multiplication for each word is enough.
#[inline]
fn own_hash(term: Term, salt: u64) -> Option<u64> {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // The upper half of a product depends on all bits of both factors.
    let mix = |hash: u64, word: u64| (hash.rotate_left(32) ^ word).wrapping_mul(FACTOR);
    let hash = match term.as_atom() {
        Some(atom) => mix(salt, atom.index().into()),
        None => {
            let elements = term.as_tuple()?.elements();
            let arity = elements.first().filter(|first| first.is_atom()).map(|_| elements.len())?;
            elements.iter().try_fold(mix(salt, arity as u64), |hash, &element| {
                Some(mix(hash, immediate_word(element)?))
            })?
        }
    };
    Some(hash.rotate_left(32))
}

/// The word that OTP would hold the term in, for what it holds in one.
#[inline(always)]
fn immediate_word(term: Term) -> Option<u64> {
    if let Some(value) = term.as_small() {
        return (-(1 << 59)..1 << 59).contains(&value).then_some((value as u64) << 4 | 0xf);
    }
    if let Some(atom) = term.as_atom() {
        return Some(u64::from(atom.index()) << 6 | 0x0b);
    }
    if term.is_pointer() {
        return None;
    }
    if term.is_nil() {
        Some(0x3b)
    } else {
        term.as_pid()
            .map(|data| data << 4 | 0x3)
            .or_else(|| term.as_port().map(|number| number << 4 | 0x7))
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::{Alloc, FragmentHeap};

    /// The answers of OTP 25.
    #[test]
    fn known_hashes() {
        let mut heap = FragmentHeap::new();
        let string = heap.string("hello");
        let binary = heap.binary(b"hello world, hello world");
        let tuple = heap.tuple(&[Term::small(1), Term::NIL, string]);
        let hashes =
            [Term::NIL, Term::small(0), Term::small(-1), string, binary, tuple].map(phash2);
        assert_eq!(hashes, KNOWN);
    }

    const KNOWN: [u32; 6] = [113427502, 88723725, 44071773, 81920127, 56481968, 115380062];

    #[test]
    fn both_zeros_hash_the_same() {
        let mut heap = FragmentHeap::new();
        let (zero, negative_zero) = (heap.float(0.0), heap.float(-0.0));
        assert_eq!(internal_hash(zero), internal_hash(negative_zero));
        assert_eq!(phash2(zero), phash2(negative_zero));
    }
}
