//! Hashes of terms: `phash2`, the older `phash`, and the one that maps and tables use.
//!
//! The first two are part of Erlang: every node answers the same. The internal one only has to
//! agree with `=:=`, but ours is OTP's on terms without atoms and identifiers, so that large maps
//! list their pairs in the same order: here that of OTP 25 and 26, in [`crate::wide_hash`] that of
//! later releases. Nothing recurses on the native stack.

use crate::binary::Bits;
use crate::boxed::{HashMap, MapNode};
use crate::node::pid_parts;
use crate::release::{self, Release};
use crate::stop;
use crate::wide_hash::wide_hash;
use crate::word::{Kind, Subtag, Term};
use smallvec::SmallVec;

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
    let rest = blocks.remainder();
    let mut last = [0; 13];
    last[..rest.len().min(8)].copy_from_slice(&rest[..rest.len().min(8)]);
    if rest.len() > 8 {
        last[9..=rest.len()].copy_from_slice(&rest[8..]);
    }
    c = c.wrapping_add(bytes.len() as u32);
    mix(
        a.wrapping_add(word(&last)),
        b.wrapping_add(word(&last[4..])),
        c.wrapping_add(word(&last[8..])),
    )
    .2
}

fn mix_bits(bits: Bits, hash: u32) -> u32 {
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
pub(crate) fn byte_element(term: Term) -> Option<u32> {
    term.as_small().filter(|value| (0..256).contains(value)).map(|value| value as u32)
}

/// The bits of a hash that `erlang:phash2/1` answers with.
pub const PHASH2_MASK: u32 = (1 << 27) - 1;

/// `erlang:phash2(Term)`: 27 bits.
pub fn phash2(term: Term) -> u32 {
    phash2_whole(term) & PHASH2_MASK
}

/// `erlang:phash2(Term, Range)`, with `Range` from 1 to 2^32.
pub fn phash2_range(term: Term, range: u64) -> u32 {
    (u64::from(phash2_whole(term)) % range) as u32
}

/// All 32 bits of the hash behind `phash2`.
fn phash2_whole(term: Term) -> u32 {
    phash2_within(term, usize::MAX).expect("no term has so many parts")
}

/// What a hash underway carries along.
struct Work {
    /// The hashes of the pairs so far of the map that is being hashed.
    pairs: u32,
    /// Parts that may still be looked at.
    left: usize,
}

impl Work {
    #[inline]
    fn count(&mut self, parts: usize) {
        self.left = self.left.saturating_sub(parts);
    }
}

/// All 32 bits of the hash behind `phash2`, unless the term has more than some `steps` parts (of a
/// binary: words).
pub fn phash2_within(term: Term, steps: usize) -> Option<u32> {
    let mut work = Work { pairs: 0, left: steps };
    let hash = phash2_nested(term, 0, &mut work, NESTED_MAX);
    (work.left > 0).then_some(hash)
}

/// Levels of a term that are hashed by nested calls, some 150 bytes of stack each: that is faster
/// than a list of what is left.
const NESTED_MAX: u32 = 64;

/// Hashes a term with all its parts, by calls that nest at most `depth` deep.
fn phash2_nested(term: Term, hash: u32, work: &mut Work, depth: u32) -> u32 {
    if let Some(value) = term.as_small() {
        work.count(1);
        return phash2_integer(value, hash);
    }
    if let Some(atom) = term.as_atom() {
        work.count(1);
        return if hash == 0 { atom.hash_value() } else { mix_one(hash, atom.hash_value(), 3) };
    }
    if depth == 0 || work.left == 0 {
        return phash2_deep(term, hash, work);
    }
    if term.is_cons() {
        stop::step();
        let mut left = work.left;
        let (hash, rest) = hash_list(
            term,
            hash,
            false,
            &mut left,
            |_| false,
            |element, hash| phash2_nested(element, hash, work, depth - 1),
        );
        // Elements have counted their own parts.
        work.left = work.left.min(left);
        return if rest.tail.is_cons() {
            hash
        } else {
            phash2_nested(rest.tail, hash, work, depth - 1)
        };
    }
    if let Some(tuple) = term.as_tuple() {
        stop::steps(1 + (tuple.arity() / stop::FLAT_PER_STEP) as u32);
        let hash = mix_one(hash, tuple.arity() as u32, 9);
        return tuple
            .elements()
            .iter()
            .fold(hash, |hash, &element| phash2_nested(element, hash, work, depth - 1));
    }
    if let Some(map) = term.as_flat_map() {
        stop::step();
        let hash = mix_one(hash, map.size() as u32, 16);
        if map.size() == 0 {
            return hash;
        }
        let pairs = map.keys().iter().zip(map.values()).fold(0, |pairs, (&key, &value)| {
            let hash = phash2_nested(key, 0, work, depth - 1);
            pairs ^ phash2_nested(value, hash, work, depth - 1)
        });
        return mix_one(hash, pairs, 19);
    }
    phash2_deep(term, hash, work)
}

/// Hashes a term however deep it is.
fn phash2_deep(term: Term, hash: u32, work: &mut Work) -> u32 {
    let outer = std::mem::take(&mut work.pairs);
    let mut todo = Todos::new();
    let mut hash = phash2_step(term, hash, work, &mut todo);
    while let Some(next) = todo.pop() {
        if work.left == 0 {
            break;
        }
        stop::step();
        match next {
            Todo::Term(term) => hash = phash2_step(term, hash, work, &mut todo),
            Todo::Node(node) => push_children(node_children(node), true, &mut todo),
            Todo::PairEnd => {
                work.pairs ^= hash;
                hash = 0;
            }
            Todo::MapEnd { hash: before, pairs: outer } => {
                hash = mix_one(before, work.pairs, 19);
                work.pairs = outer;
            }
            Todo::LastTail => {}
        }
    }
    work.pairs = outer;
    hash
}

#[inline]
fn phash2_step(term: Term, hash: u32, work: &mut Work, todo: &mut Todos) -> u32 {
    work.count(1);
    match term.as_small() {
        Some(value) => phash2_integer(value, hash),
        None => phash2_other(term, hash, work, todo),
    }
}

/// The hash with what is no small integer; what its parts add is left to do.
fn phash2_other(term: Term, hash: u32, work: &mut Work, todo: &mut Todos) -> u32 {
    match term.kind() {
        Kind::Small(value) => phash2_integer(value, hash),
        Kind::Big(big) => mix_digits(hash, big.is_negative(), big.digits()),
        Kind::Float(value) => {
            let (low, high) = float_halves(value);
            mix_two(hash, high, low, 12)
        }
        Kind::Atom(atom) if hash == 0 => atom.hash_value(),
        Kind::Atom(atom) => mix_one(hash, atom.hash_value(), 3),
        Kind::Nil if hash == 0 => 3_468_870_702,
        Kind::Nil => mix_one(hash, 2, 2),
        Kind::Pid(data) => mix_one(hash, pid_parts(data).0, 5),
        Kind::ExternalPid(pid) => mix_one(hash, pid.numbers()[0] as u32, 5),
        Kind::Port(number) => mix_two(hash, number as u32, (number >> 32) as u32, 6),
        Kind::ExternalPort(port) => {
            mix_two(hash, port.numbers()[0] as u32, port.numbers()[1] as u32, 6)
        }
        Kind::Ref(reference) => mix_one(hash, reference.numbers()[0], 7),
        Kind::ExternalRef(reference) => {
            mix_one(hash, reference.numbers().first().map_or(0, |&number| number as u32), 7)
        }
        Kind::Bits(bits) => {
            work.count(bits.bit_size / 64);
            // What takes too long is not begun: nobody wants the hash any more.
            if work.left == 0 { hash } else { mix_bits(bits, hash) }
        }
        Kind::Cons(_) => {
            let mut left = work.left;
            let (hash, rest) =
                hash_list(term, hash, false, &mut left, has_parts, |element, hash| {
                    phash2_step(element, hash, work, todo)
                });
            // Elements have counted their own parts.
            work.left = work.left.min(left);
            rest.push(false, todo);
            hash
        }
        Kind::Tuple(tuple) => {
            let mut hash = mix_one(hash, tuple.arity() as u32, 9);
            let simple = push_compound(tuple.elements(), todo);
            for &element in simple {
                hash = phash2_step(element, hash, work, todo);
            }
            hash
        }
        Kind::Record(record) => {
            let mut hash =
                mix_two(hash, record.values().len() as u32, record.definition_hash(), 23);
            for &value in push_compound(record.values(), todo) {
                hash = phash2_step(value, hash, work, todo);
            }
            hash
        }
        Kind::FlatMap(map) => {
            let hash = mix_one(hash, map.size() as u32, 16);
            if map.size() == 0 {
                return hash;
            }
            todo.push(Todo::MapEnd { hash, pairs: std::mem::take(&mut work.pairs) });
            for (&key, &value) in map.keys().iter().zip(map.values()) {
                todo.extend([Todo::PairEnd, Todo::Term(value), Todo::Term(key)]);
            }
            0
        }
        Kind::HashMap(map) => {
            let hash = mix_one(hash, map.size() as u32, 16);
            todo.push(Todo::MapEnd { hash, pairs: std::mem::take(&mut work.pairs) });
            push_children(map.children(), true, todo);
            0
        }
        Kind::Fun(fun) => {
            let identity = fun.identity();
            todo.extend(fun.free().iter().rev().map(|&value| Todo::Term(value)));
            let hash = mix_two(hash, fun.free().len() as u32, identity.module.hash_value(), 1);
            mix_two(hash, identity.index, identity.old_uniq, 1)
        }
        Kind::ExportFun(fun) => {
            let mfa = fun.mfa();
            let hash = mix_two(hash, mfa.arity, mfa.module.hash_value(), 1);
            mix_one(hash, mfa.function.hash_value(), 14)
        }
        Kind::MatchContext(_) | Kind::Special(_) => hash,
    }
}

/// The hash of a native record's definition: `phash2` of the tuple of its module, name, export and
/// fields, all 32 bits.
pub(crate) fn record_definition_hash(
    module: Term,
    name: Term,
    is_exported: Term,
    fields: &[Term],
) -> u32 {
    let atoms = [module, name, is_exported].into_iter().chain(fields.iter().copied());
    let (mut work, mut todo) = (Work { pairs: 0, left: usize::MAX }, Todos::new());
    atoms.fold(mix_one(0, 3 + fields.len() as u32, 9), |hash, atom| {
        phash2_step(atom, hash, &mut work, &mut todo)
    })
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

fn phash2_integer(value: i64, hash: u32) -> u32 {
    if (-(1 << 27)..1 << 27).contains(&value) {
        let value = value as i32;
        let hash = if value < 0 { mix_one(hash, value.wrapping_neg() as u32, 1) } else { hash };
        mix_one(hash, value as u32, 1)
    } else {
        mix_digits(hash, value < 0, &[value.unsigned_abs()])
    }
}

pub(crate) fn node_children<'a>(node: Term) -> &'a [Term] {
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

/// What of a list waits: its first element with parts, if there is one, and the tail behind it.
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
    if is_wide() { wide_hash(term, salt) } else { narrow_hash(term, salt as u32).into() }
}

const INTERNAL_SALT: u32 = 3_432_918_353;

fn narrow_hash(term: Term, salt: u32) -> u32 {
    let hash = salt ^ INTERNAL_SALT;
    if let Some(word) = immediate_word(term) {
        return mix_two(hash, word as u32, (word >> 32) as u32, 1);
    }
    if let Some(hash) = term.as_tuple().and_then(|tuple| plain_tuple_hash(tuple.elements(), hash)) {
        return hash;
    }
    let mut todo = Todos::new();
    let mut hash = internal_step(term, hash, &mut todo);
    while let Some(next) = todo.pop() {
        stop::step();
        match next {
            Todo::Term(term) => hash = internal_step(term, hash, &mut todo),
            Todo::Node(node) => push_children(node_children(node), false, &mut todo),
            Todo::LastTail => hash = tag_hash(hash, 18),
            Todo::PairEnd | Todo::MapEnd { .. } => {}
        }
    }
    hash
}

/// The hash of a tuple of nothing but what OTP holds in a word: with numbers and atoms, the
/// commonest key of all.
#[inline]
fn plain_tuple_hash(elements: &[Term], hash: u32) -> Option<u32> {
    elements.iter().try_fold(mix_one(hash, elements.len() as u32, 9), |hash, &element| {
        let word = immediate_word(element)?;
        Some(mix_two(hash, word as u32, (word >> 32) as u32, 1))
    })
}

/// The word that OTP would hold the term in, for what it holds in one.
#[inline(always)]
pub(crate) fn immediate_word(term: Term) -> Option<u64> {
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

fn internal_step(term: Term, hash: u32, todo: &mut Todos) -> u32 {
    if let Some(word) = immediate_word(term) {
        return mix_two(hash, word as u32, (word >> 32) as u32, 1);
    }
    match term.kind() {
        Kind::Small(value) => mix_digits(hash, value < 0, &[value.unsigned_abs()]),
        Kind::Big(big) => mix_digits(hash, big.is_negative(), big.digits()),
        Kind::Float(value) => {
            let (low, high) = float_halves(value);
            mix_two(hash, low, high, 12)
        }
        Kind::Cons(_) => {
            let mut unlimited = usize::MAX;
            let (hash, rest) =
                hash_list(term, hash, true, &mut unlimited, has_parts, |element, hash| {
                    internal_step(element, hash, todo)
                });
            rest.push(true, todo);
            hash
        }
        Kind::Tuple(tuple) => {
            let mut hash = mix_one(hash, tuple.arity() as u32, 9);
            let simple = push_compound(tuple.elements(), todo);
            for &element in simple {
                hash = internal_step(element, hash, todo);
            }
            hash
        }
        Kind::Record(record) => {
            let mut hash =
                mix_two(hash, record.values().len() as u32, record.definition_hash(), 23);
            for &value in push_compound(record.values(), todo) {
                hash = internal_step(value, hash, todo);
            }
            hash
        }
        Kind::FlatMap(map) => {
            for (&key, &value) in map.keys().iter().zip(map.values()).rev() {
                todo.extend([Todo::Term(value), Todo::Term(key)]);
            }
            mix_one(hash, map.size() as u32, 16)
        }
        Kind::HashMap(map) => {
            push_children(map.children(), false, todo);
            mix_one(hash, map.size() as u32, 16)
        }
        Kind::Bits(bits) => mix_bits(bits, hash),
        Kind::Fun(fun) => {
            let identity = fun.identity();
            todo.extend(fun.free().iter().rev().map(|&value| Todo::Term(value)));
            let hash = mix_two(hash, fun.free().len() as u32, identity.module.index(), 20);
            mix_two(hash, identity.index, identity.old_uniq, 21)
        }
        Kind::ExportFun(fun) => {
            let mfa = fun.mfa();
            let hash = mix_two(hash, mfa.module.index(), mfa.function.index(), 14);
            mix_one(hash, mfa.arity, 14)
        }
        Kind::Ref(reference) => {
            let [first, second, third] = reference.numbers();
            mix_two(mix_one(hash, first, 7), second, third, 8)
        }
        Kind::ExternalRef(reference) => {
            // Missing numbers are zero: references of different lengths may be equal.
            let number =
                |index: usize| reference.numbers().get(index).map_or(0, |&number| number as u32);
            let hash = mix_two(hash, reference.node().index(), reference.creation(), 7);
            mix_two(mix_one(hash, number(0), 7), number(1), number(2), 8)
        }
        Kind::ExternalPid(pid) => {
            let hash = mix_two(hash, pid.node().index(), pid.creation(), 5);
            mix_two(hash, pid.numbers()[0] as u32, pid.numbers()[1] as u32, 5)
        }
        Kind::ExternalPort(port) => {
            let hash = mix_two(hash, port.node().index(), port.creation(), 6);
            mix_two(hash, port.numbers()[0] as u32, port.numbers()[1] as u32, 6)
        }
        Kind::Atom(_)
        | Kind::Nil
        | Kind::Pid(_)
        | Kind::Port(_)
        | Kind::MatchContext(_)
        | Kind::Special(_) => hash,
    }
}

/// Multipliers of `phash`: primes just above 2^28.
const PRIMES: [u32; 14] = [
    268_440_163,
    268_439_161,
    268_435_459,
    268_436_141,
    268_438_633,
    268_437_017,
    268_438_039,
    268_437_511,
    268_439_627,
    268_440_479,
    268_440_577,
    268_440_581,
    268_440_593,
    268_440_611,
];

/// The `number`-th of them, counted from 1.
const fn prime(number: usize) -> u32 {
    PRIMES[number - 1]
}

/// `erlang:phash(Term, Range)`: 1 to `range`.
pub fn phash(term: Term, range: u64) -> u64 {
    u64::from(phash_word(term)) % range + 1
}

enum Phash {
    Term(Term),
    TupleEnd(u32),
    /// The rest of a list after an element.
    Tail(Term),
    ListEnd,
}

fn phash_word(term: Term) -> u32 {
    let mut hash: u32 = 0;
    let mut todo = vec![Phash::Term(term)];
    while let Some(next) = todo.pop() {
        stop::step();
        match next {
            Phash::Term(term) => hash = phash_step(term, hash, &mut todo),
            Phash::TupleEnd(arity) => hash = times_plus(hash, 9, arity),
            Phash::Tail(rest) if rest.is_cons() => hash = phash_list(rest, hash, &mut todo),
            Phash::Tail(rest) => todo.extend([Phash::ListEnd, Phash::Term(rest)]),
            Phash::ListEnd => hash = hash.wrapping_mul(prime(8)),
        }
    }
    hash
}

fn times_plus(hash: u32, number: usize, value: u32) -> u32 {
    hash.wrapping_mul(prime(number)).wrapping_add(value)
}

fn phash_bytes(hash: u32, bytes: impl IntoIterator<Item = u8>, number: usize) -> u32 {
    bytes.into_iter().fold(hash, |hash, byte| times_plus(hash, number, u32::from(byte)))
}

fn phash_list(list: Term, mut hash: u32, todo: &mut Vec<Phash>) -> u32 {
    let mut rest = list;
    while let Some(cell) = rest.as_cons() {
        let Some(byte) = byte_element(cell.head()) else {
            todo.extend([Phash::Tail(cell.tail()), Phash::Term(cell.head())]);
            return hash;
        };
        hash = times_plus(hash, 2, byte);
        rest = cell.tail();
    }
    todo.extend([Phash::ListEnd, Phash::Term(rest)]);
    hash
}

fn phash_digits(hash: u32, negative: bool, digits: &[u64]) -> u32 {
    let bytes = digits.iter().flat_map(|digit| digit.to_le_bytes());
    let last = digits.last().copied().unwrap_or(0);
    let count = if last >> 32 == 0 { digits.len() * 8 - 4 } else { digits.len() * 8 };
    phash_bytes(hash, bytes.take(count), 2).wrapping_mul(prime(if negative { 4 } else { 3 }))
}

fn phash_step(term: Term, hash: u32, todo: &mut Vec<Phash>) -> u32 {
    match term.kind() {
        Kind::Nil => times_plus(hash, 3, 1),
        Kind::Atom(atom) => times_plus(hash, 1, atom.hash_value()),
        Kind::Small(value) => phash_digits(hash, value < 0, &[value.unsigned_abs()]),
        Kind::Big(big) => phash_digits(hash, big.is_negative(), big.digits()),
        Kind::Float(value) => {
            let (low, high) = float_halves(value);
            times_plus(hash, 6, low ^ high)
        }
        Kind::Bits(bits) => {
            let bytes = bits.to_bytes();
            let (whole, extra) = (bits.bit_size / 8, bits.bit_size % 8);
            let mut hash = phash_bytes(hash, bytes[..whole].iter().copied(), 1);
            if extra > 0 {
                hash = times_plus(hash, 1, u32::from(bytes[whole] >> (8 - extra)));
                hash = times_plus(hash, 12, extra as u32);
            }
            times_plus(hash, 4, whole as u32)
        }
        Kind::Pid(data) => {
            phash_bytes(hash, pid_parts(data).0.to_le_bytes(), 5).wrapping_mul(prime(6))
        }
        Kind::ExternalPid(pid) => {
            phash_bytes(hash, (pid.numbers()[0] as u32).to_le_bytes(), 5).wrapping_mul(prime(6))
        }
        Kind::Port(number) => phash_port(hash, number as u32, (number >> 32) as u32),
        Kind::ExternalPort(port) => {
            phash_port(hash, port.numbers()[0] as u32, port.numbers()[1] as u32)
        }
        Kind::Ref(reference) => {
            phash_bytes(hash, reference.numbers()[0].to_le_bytes(), 9).wrapping_mul(prime(10))
        }
        Kind::ExternalRef(reference) => {
            let first = reference.numbers().first().map_or(0, |&number| number as u32);
            phash_bytes(hash, first.to_le_bytes(), 9).wrapping_mul(prime(10))
        }
        Kind::Cons(_) => phash_list(term, hash, todo),
        Kind::Tuple(tuple) => {
            todo.push(Phash::TupleEnd(tuple.arity() as u32));
            todo.extend(tuple.elements().iter().rev().map(|&element| Phash::Term(element)));
            hash
        }
        // OTP hashes words of its own form of the definition; nothing can depend on them.
        Kind::Record(record) => {
            todo.extend(record.values().iter().rev().map(|&value| Phash::Term(value)));
            times_plus(hash, 9, record.definition_hash())
        }
        Kind::FlatMap(_) | Kind::HashMap(_) => {
            times_plus(hash, 13, prime(14)).wrapping_add(phash2_whole(term))
        }
        Kind::Fun(fun) => {
            let identity = fun.identity();
            todo.extend(fun.free().iter().rev().map(|&value| Phash::Term(value)));
            let hash = times_plus(hash, 10, fun.free().len() as u32);
            let hash = times_plus(hash, 1, identity.module.hash_value());
            times_plus(times_plus(hash, 2, identity.index), 2, identity.old_uniq)
        }
        Kind::ExportFun(fun) => {
            let mfa = fun.mfa();
            let hash = times_plus(times_plus(hash, 11, mfa.arity), 1, mfa.module.hash_value());
            times_plus(hash, 1, mfa.function.hash_value())
        }
        Kind::MatchContext(_) | Kind::Special(_) => hash,
    }
}

fn phash_port(hash: u32, low: u32, high: u32) -> u32 {
    let hash = if high == 0 { hash } else { phash_bytes(hash, high.to_le_bytes(), 11) };
    phash_bytes(hash, low.to_le_bytes(), 9).wrapping_mul(prime(10))
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
