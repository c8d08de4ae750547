//! The sizes of terms in the external format, mostly without encoding them.

use super::encode::{EncodeOptions, Encoder, FLOAT_LEN, FLOAT_TEXT_LEN, INTEGER_LEN, string_len};
use crate::atom::Atom;
use crate::map;
use crate::word::Term;
use smallvec::SmallVec;

/// Bytes of a tag and a number of 8, 16 and 32 bits.
const SHORT_HEAD_LEN: usize = 2;
const ATOM_HEAD_LEN: usize = 3;
const STRING_HEAD_LEN: usize = 3;
const LONG_HEAD_LEN: usize = 5;

/// `erlang:external_size/2`: room enough for [`encode`](super::encode)'s answer, unless that is more than `limit`. As OTP's it counts
/// some numbers in funs at their largest.
pub fn external_size(term: Term, options: &EncodeOptions, limit: usize) -> Option<usize> {
    // Numbers of a word, atoms and `[]` are counted on the spot.
    let simple_size = |term: Term| {
        if let Some(value) = term.as_small() {
            return Some(small_size(value));
        }
        if let Some(atom) = term.as_atom() {
            return Some(atom_size(atom, options));
        }
        if term.is_nil() {
            return Some(1);
        }
        term.as_float().map(|_| if options.minor_version == 0 { 1 + FLOAT_TEXT_LEN } else { FLOAT_LEN })
    };
    let mut pending: SmallVec<[Term; 32]> = SmallVec::new();
    let mut size = 1;
    let mut current = term;
    loop {
        let mut part = |size: &mut usize, part: Term| match simple_size(part) {
            Some(len) => *size += len,
            None => pending.push(part),
        };
        if let Some(first) = current.as_cons() {
            match string_len(first) {
                Some(len) => size += STRING_HEAD_LEN + len,
                None => {
                    size += LONG_HEAD_LEN;
                    let mut cell = first;
                    loop {
                        part(&mut size, cell.head());
                        match cell.tail().as_cons() {
                            Some(next) if size <= limit => cell = next,
                            _ => break,
                        }
                    }
                    part(&mut size, cell.tail());
                }
            }
        } else if let Some(tuple) = current.as_tuple() {
            size += if u8::try_from(tuple.arity()).is_ok() { SHORT_HEAD_LEN } else { LONG_HEAD_LEN };
            tuple.elements().iter().for_each(|&element| part(&mut size, element));
        } else if let Some(map) = current.as_flat_map() {
            size += LONG_HEAD_LEN;
            map.keys().iter().chain(map.values()).for_each(|&item| part(&mut size, item));
        } else if let Some(bits) = current.as_bits() {
            size += LONG_HEAD_LEN + usize::from(bits.bit_size % 8 > 0) + bits.byte_size_rounded_up();
        } else if current.as_hash_map().is_some() {
            size += LONG_HEAD_LEN;
            for (key, value) in map::iter(current) {
                part(&mut size, key);
                part(&mut size, value);
            }
        } else {
            // The others are short, but for what funs hold.
            let mut out = Vec::new();
            let mut encoder = Encoder::new(&mut out, options);
            encoder.limit = limit.saturating_sub(size);
            encoder.run(current);
            if encoder.is_over() {
                return None;
            }
            size += encoder.fun_slack;
            size += out.len();
        }
        if size > limit {
            return None;
        }
        match pending.pop() {
            Some(next) => current = next,
            None => return Some(size),
        }
    }
}

/// Bytes of a small integer.
#[inline]
fn small_size(value: i64) -> usize {
    if u8::try_from(value).is_ok() {
        SHORT_HEAD_LEN
    } else if i32::try_from(value).is_ok() {
        INTEGER_LEN
    } else {
        SHORT_HEAD_LEN + 1 + (8 - value.unsigned_abs().leading_zeros() as usize / 8)
    }
}

/// Bytes of an atom.
#[inline]
fn atom_size(atom: Atom, options: &EncodeOptions) -> usize {
    match atom.latin1_len().filter(|_| options.minor_version < 2) {
        Some(len) => ATOM_HEAD_LEN + len,
        None => {
            let len = atom.name().len();
            len + if u8::try_from(len).is_ok() { SHORT_HEAD_LEN } else { ATOM_HEAD_LEN }
        }
    }
}
