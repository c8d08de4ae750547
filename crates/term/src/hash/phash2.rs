//! `phash2`: OTP's hash that is the same on every node and release.

use super::{
    Todo, Todos, float_halves, has_parts, hash_list, mix_bits, mix_digits, mix_one, mix_two,
    node_children, push_children, push_compound,
};
use crate::atom::Atom;
use crate::binary::Bits;
use crate::node::pid_parts;
use crate::stop;
use crate::word::{Kind, Subtag, Term};

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
pub(super) fn phash2_whole(term: Term) -> u32 {
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

/// Hashes a part of a term: small integers in place, others by a call.
#[inline(always)]
fn phash2_part(term: Term, hash: u32, work: &mut Work, depth: u32) -> u32 {
    match term.as_small() {
        Some(value) => {
            work.count(1);
            phash2_integer(value, hash)
        }
        None => phash2_nested(term, hash, work, depth),
    }
}

/// Hashes a term with all its parts, by calls that nest at most `depth` deep.
fn phash2_nested(term: Term, hash: u32, work: &mut Work, depth: u32) -> u32 {
    if let Some(value) = term.as_small() {
        work.count(1);
        return phash2_integer(value, hash);
    }
    if let Some(atom) = term.as_atom() {
        work.count(1);
        return phash2_atom(atom, hash);
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
            // The list itself counts its elements.
            |element, hash| match element.as_small() {
                Some(value) => phash2_integer(value, hash),
                None => phash2_nested(element, hash, work, depth - 1),
            },
        );
        // Elements have counted their own parts.
        work.left = work.left.min(left);
        return if rest.tail.is_nil() {
            phash2_nil(hash)
        } else if rest.tail.is_cons() {
            hash
        } else {
            phash2_nested(rest.tail, hash, work, depth - 1)
        };
    }
    match term.boxed_subtag() {
        Some(Subtag::Tuple) => {
            let elements = term.as_tuple().expect("a tuple").elements();
            stop::steps(1 + (elements.len() / stop::FLAT_PER_STEP) as u32);
            let hash = mix_one(hash, elements.len() as u32, 9);
            elements.iter().fold(hash, |hash, &element| phash2_part(element, hash, work, depth - 1))
        }
        Some(Subtag::FlatMap) => {
            stop::step();
            let map = term.as_flat_map().expect("a small map");
            let hash = mix_one(hash, map.size() as u32, 16);
            if map.size() == 0 {
                return hash;
            }
            let pairs = map.keys().iter().zip(map.values()).fold(0, |pairs, (&key, &value)| {
                let hash = phash2_part(key, 0, work, depth - 1);
                pairs ^ phash2_part(value, hash, work, depth - 1)
            });
            mix_one(hash, pairs, 19)
        }
        Some(Subtag::Record | Subtag::HashMap | Subtag::Fun) => phash2_deep(term, hash, work),
        Some(Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin) => {
            phash2_bits(Bits::of(term), hash, work)
        }
        _ => {
            work.count(1);
            match term.as_float() {
                Some(value) => phash2_float(value, hash),
                None => phash2_leaf(term, hash),
            }
        }
    }
}

#[inline]
fn phash2_atom(atom: Atom, hash: u32) -> u32 {
    if hash == 0 { atom.hash_value() } else { mix_one(hash, atom.hash_value(), 3) }
}

#[inline(always)]
fn phash2_nil(hash: u32) -> u32 {
    if hash == 0 { 3_468_870_702 } else { mix_one(hash, 2, 2) }
}

#[inline(always)]
fn phash2_float(value: f64, hash: u32) -> u32 {
    let (low, high) = float_halves(value);
    mix_two(hash, high, low, 12)
}

/// The hash with a bitstring.
#[inline]
fn phash2_bits(bits: Bits, hash: u32, work: &mut Work) -> u32 {
    work.count(1 + bits.bit_size / 64);
    // What takes too long is not begun: nobody wants the hash any more.
    if work.left == 0 { hash } else { mix_bits(bits, hash) }
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

/// The hash with a term that has no parts and is no bitstring.
fn phash2_leaf(term: Term, hash: u32) -> u32 {
    match term.kind() {
        Kind::Small(value) => phash2_integer(value, hash),
        Kind::Big(big) => mix_digits(hash, big.is_negative(), big.digits()),
        Kind::Float(value) => phash2_float(value, hash),
        Kind::Atom(atom) => phash2_atom(atom, hash),
        Kind::Nil => phash2_nil(hash),
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
        Kind::ExportFun(fun) => {
            let mfa = fun.mfa();
            let hash = mix_two(hash, mfa.arity, mfa.module.hash_value(), 1);
            mix_one(hash, mfa.function.hash_value(), 14)
        }
        Kind::MatchContext(_) | Kind::Special(_) => hash,
        Kind::Bits(_)
        | Kind::Cons(_)
        | Kind::Tuple(_)
        | Kind::Record(_)
        | Kind::FlatMap(_)
        | Kind::HashMap(_)
        | Kind::Fun(_) => unreachable!("a bitstring, or a term with parts"),
    }
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
            for &value in push_compound(&record.values_as_hashed(), todo) {
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
        Kind::Bits(bits) => phash2_bits(bits, hash, work),
        _ => phash2_leaf(term, hash),
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

#[inline(always)]
fn phash2_integer(value: i64, hash: u32) -> u32 {
    if (0..1 << 27).contains(&value) {
        mix_one(hash, value as u32, 1)
    } else {
        rarer_integer(value, hash)
    }
}

/// The hash with a negative integer, or with one of more than 27 bits.
fn rarer_integer(value: i64, hash: u32) -> u32 {
    if (-(1 << 27)..1 << 27).contains(&value) {
        let value = value as i32;
        let hash = if value < 0 { mix_one(hash, value.wrapping_neg() as u32, 1) } else { hash };
        mix_one(hash, value as u32, 1)
    } else {
        mix_digits(hash, value < 0, &[value.unsigned_abs()])
    }
}
