//! The sizes of terms in the external format, mostly without encoding them.

use super::encode::{EncodeOptions, Encoder, FLOAT_LEN, FLOAT_TEXT_LEN, INTEGER_LEN, string_len};
use crate::atom::Atom;
use crate::boxed::Cons;
use crate::map;
use crate::stop;
use crate::word::{Subtag, Term};
use smallvec::SmallVec;

/// Bytes of a tag and a number of 8, 16 and 32 bits.
const SHORT_HEAD_LEN: usize = 2;
const ATOM_HEAD_LEN: usize = 3;
const STRING_HEAD_LEN: usize = 3;
const LONG_HEAD_LEN: usize = 5;

/// `erlang:external_size/2`: room enough for [`encode`](super::encode)'s answer, unless that is
/// more than `limit`. As OTP's it counts some numbers in funs at their largest.
pub fn external_size(term: Term, options: &EncodeOptions, limit: usize) -> Option<usize> {
    let mut sizer = Sizer { options, limit, size: 1, deep: SmallVec::new() };
    let mut next = Some(term);
    while let Some(term) = next {
        sizer.count(term, 0)?;
        next = sizer.deep.pop();
    }
    (sizer.size <= limit).then_some(sizer.size)
}

struct Sizer<'a> {
    options: &'a EncodeOptions,
    limit: usize,
    size: usize,
    /// What is nested too deeply for calls, and still to be counted.
    deep: SmallVec<[Term; 8]>,
}

impl Sizer<'_> {
    /// Levels of terms that are counted by calls.
    const LEVELS_MAX: u32 = 64;

    /// Adds the bytes of terms that lie one behind the other.
    #[inline]
    fn items(&mut self, items: &[Term], level: u32) -> Option<()> {
        for &item in items {
            self.count(item, level)?;
        }
        Some(())
    }

    /// Adds a term's bytes; `None` when it is over the limit.
    #[inline(always)]
    fn count(&mut self, term: Term, level: u32) -> Option<()> {
        if let Some(value) = term.as_small() {
            self.size += small_size(value);
            return Some(());
        }
        if let Some(atom) = term.as_atom() {
            self.size += atom_size(atom, self.options);
            return Some(());
        }
        if term.is_pointer() { self.count_pointer(term, level) } else { self.count_immediate(term) }
    }

    fn count_immediate(&mut self, term: Term) -> Option<()> {
        if term.is_nil() {
            self.size += 1;
        } else if term.as_float().is_some() {
            self.size += self.float_size();
        } else {
            return self.encoded(term);
        }
        Some(())
    }

    fn count_pointer(&mut self, term: Term, level: u32) -> Option<()> {
        if level > Sizer::LEVELS_MAX {
            self.deep.push(term);
            return Some(());
        }
        stop::step();
        if let Some(first) = term.as_cons() {
            return self.list(first, level + 1);
        }
        match term.boxed_header().subtag() {
            Subtag::Tuple => {
                let elements = term.as_tuple()?.elements();
                self.size += if u8::try_from(elements.len()).is_ok() {
                    SHORT_HEAD_LEN
                } else {
                    LONG_HEAD_LEN
                };
                self.items(elements, level + 1)?;
            }
            Subtag::FlatMap => {
                let map = term.as_flat_map()?;
                self.size += LONG_HEAD_LEN;
                self.items(map.keys(), level + 1)?;
                self.items(map.values(), level + 1)?;
            }
            Subtag::HashMap => {
                self.size += LONG_HEAD_LEN;
                for (key, value) in map::iter(term) {
                    self.count(key, level + 1)?;
                    self.count(value, level + 1)?;
                }
            }
            Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin => {
                let bits = term.as_bits()?;
                self.size += LONG_HEAD_LEN
                    + usize::from(bits.bit_size % 8 > 0)
                    + bits.byte_size_rounded_up();
            }
            Subtag::Float => self.size += self.float_size(),
            _ => return self.encoded(term),
        }
        (self.size <= self.limit).then_some(())
    }

    fn list(&mut self, first: Cons, level: u32) -> Option<()> {
        if let Some(len) = string_len(first) {
            self.size += STRING_HEAD_LEN + len;
            return Some(());
        }
        self.size += LONG_HEAD_LEN;
        let mut cell = first;
        loop {
            self.count(cell.head(), level)?;
            match cell.tail().as_cons() {
                Some(_) if self.size > self.limit => return None,
                Some(next) => {
                    stop::step();
                    cell = next;
                }
                None => return self.count(cell.tail(), level),
            }
        }
    }

    fn float_size(&self) -> usize {
        if self.options.minor_version == 0 { 1 + FLOAT_TEXT_LEN } else { FLOAT_LEN }
    }

    /// The others are short, but for what funs hold: they are encoded.
    #[cold]
    fn encoded(&mut self, term: Term) -> Option<()> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, self.options);
        encoder.limit = self.limit.saturating_sub(self.size);
        encoder.run(term);
        if encoder.is_over() {
            return None;
        }
        self.size += encoder.fun_slack + out.len();
        (self.size <= self.limit).then_some(())
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
