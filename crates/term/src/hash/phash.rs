//! `phash`: the hash of old programs, the same on every node and release.

use super::{byte_element, float_halves, phash2};
use crate::node::pid_parts;
use crate::stop;
use crate::word::{Kind, Term};

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
            todo.extend(record.values_as_hashed().iter().rev().map(|&value| Phash::Term(value)));
            times_plus(hash, 9, record.definition_hash())
        }
        Kind::FlatMap(_) | Kind::HashMap(_) => {
            times_plus(hash, 13, prime(14)).wrapping_add(phash2::phash2_whole(term))
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
