//! The internal hash of 32 bits, of OTP 25 and 26.

use super::{
    Todo, Todos, float_halves, has_parts, hash_list, immediate_word, mix_bits, mix_digits, mix_one,
    mix_two, node_children, push_children, push_compound, tag_hash,
};
use crate::stop;
use crate::word::{Kind, Term};

const INTERNAL_SALT: u32 = 3_432_918_353;

pub(super) fn narrow_hash(term: Term, salt: u32) -> u32 {
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
