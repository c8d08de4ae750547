//! Hashes and checksums: `phash2`, MD5, CRC-32, Adler-32.

use crate::args::{binary_of, iodata_bytes, size_of};
use crate::long::{self, QUICK_BYTES, Stop, check_term};
use md5::{Digest, Md5};
use std::sync::LazyLock;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom, hash};

#[bif("erlang:phash2/1")]
fn phash2_1(p: &mut Process, term: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("phash2"), &[term], |_| {
        let hash = hash::phash2_within(term, long::steps_here()).ok_or(Stop::Long)?;
        Ok(Term::small(i64::from(hash & hash::PHASH2_MASK)))
    })
}

#[bif("erlang:phash2/2")]
fn phash2_2(p: &mut Process, term: Term, range: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("phash2"), &[term, range], |_| {
        let size = range_of(range)?;
        let hash = hash::phash2_within(term, long::steps_here()).ok_or(Stop::Long)?;
        Ok(Term::small((u64::from(hash) % size) as i64))
    })
}

#[bif("erlang:phash/2")]
fn phash(p: &mut Process, term: Term, range: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("phash"), &[term, range], |_| {
        let size = range_of(range)?;
        check_term(term)?;
        Ok(Term::small(hash::phash(term, size) as i64))
    })
}

fn range_of(range: Term) -> Result<u64, BifExit> {
    range
        .as_small()
        .filter(|range| (1..=1 << 32).contains(range))
        .map(|range| range as u64)
        .ok_or(BifExit::BADARG)
}

#[bif("erlang:md5/1")]
fn md5(p: &mut Process, data: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("md5"), &[data], |p| {
        let bytes = iodata_bytes(data, QUICK_BYTES)?;
        p.bump_reductions(bytes.len() / 100);
        Ok(p.binary(&Md5::digest(&bytes)))
    })
}

/// The state of an MD5 under way, as programs keep it: what was hashed so far is 64-byte blocks in
/// the four words, then the length, then what waits for a whole block.
struct Md5State {
    words: [u32; 4],
    length_bits: u64,
    waiting: Vec<u8>,
}

/// Bytes of the state in its binary form.
const MD5_STATE_BYTES: usize = 16 + 8 + 64;
const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

impl Md5State {
    fn of(term: Term) -> Result<Md5State, BifExit> {
        let bytes = binary_of(term)?;
        if bytes.len() != MD5_STATE_BYTES {
            return Err(BifExit::BADARG);
        }
        let word =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let length_bits = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
        let waiting = (length_bits / 8 % 64) as usize;
        Ok(Md5State {
            words: [word(0), word(4), word(8), word(12)],
            length_bits,
            waiting: bytes[24..24 + waiting].to_vec(),
        })
    }
    fn to_term(&self, p: &mut Process) -> Term {
        let mut bytes = Vec::with_capacity(MD5_STATE_BYTES);
        self.words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(self.length_bits.to_le_bytes());
        bytes.extend(&self.waiting);
        bytes.resize(MD5_STATE_BYTES, 0);
        p.binary(&bytes)
    }
    fn update(&mut self, data: &[u8]) {
        self.length_bits = self.length_bits.wrapping_add(data.len() as u64 * 8);
        self.waiting.extend_from_slice(data);
        let whole = self.waiting.len() / 64 * 64;
        for block in self.waiting[..whole].chunks_exact(64) {
            md5_block(&mut self.words, block.try_into().expect("whole blocks"));
        }
        self.waiting.drain(..whole);
    }
}

/// The constants of RFC 1321: the sines of whole numbers of radians.
static SINES: LazyLock<[u32; 64]> = LazyLock::new(|| {
    std::array::from_fn(|step| (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32)
});

/// One block of RFC 1321.
fn md5_block(state: &mut [u32; 4], block: &[u8; 64]) {
    const SHIFTS: [[u32; 4]; 4] =
        [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let word = |index: usize| {
        u32::from_le_bytes(block[index * 4..index * 4 + 4].try_into().expect("four bytes"))
    };
    let sines = &*SINES;
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64usize {
        let (mixed, index) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), 7 * step % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(sines[step]).wrapping_add(word(index));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
    }
    for (word, change) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(change);
    }
}

#[bif("erlang:md5_init/0")]
fn md5_init(p: &mut Process) -> BifResult {
    Ok(Md5State { words: MD5_START, length_bits: 0, waiting: Vec::new() }.to_term(p))
}

#[bif("erlang:md5_update/2")]
fn md5_update(p: &mut Process, state: Term, data: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("md5_update"), &[state, data], |p| {
        let mut state = Md5State::of(state)?;
        let bytes = iodata_bytes(data, QUICK_BYTES)?;
        p.bump_reductions(bytes.len() / 100);
        state.update(&bytes);
        Ok(state.to_term(p))
    })
}

#[bif("erlang:md5_final/1")]
fn md5_final(p: &mut Process, state: Term) -> BifResult {
    let mut state = Md5State::of(state)?;
    let length_bits = state.length_bits;
    let padding = 64 - (state.waiting.len() + 8) % 64;
    let mut end = vec![0x80];
    end.resize(padding, 0);
    end.extend(length_bits.to_le_bytes());
    state.update(&end);
    let digest: Vec<u8> = state.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Ok(p.binary(&digest))
}

/// IEEE 802.3, reflected.
fn crc_of(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

/// A 32-bit checksum given by the program.
fn word_of(term: Term) -> Result<u32, BifExit> {
    term.as_small().and_then(|value| u32::try_from(value).ok()).ok_or(BifExit::BADARG)
}

fn checksum(
    p: &mut Process,
    data: Term,
    of: impl FnOnce(&[u8]) -> u32,
) -> Result<Term, long::Stop> {
    let bytes = iodata_bytes(data, QUICK_BYTES)?;
    p.bump_reductions(bytes.len() / 100);
    Ok(Term::small(i64::from(of(&bytes))))
}

#[bif("erlang:crc32/1")]
fn crc32_1(p: &mut Process, data: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("crc32"), &[data], |p| {
        checksum(p, data, |bytes| crc_of(0, bytes))
    })
}

#[bif("erlang:crc32/2")]
fn crc32_2(p: &mut Process, before: Term, data: Term) -> BifResult {
    let before = word_of(before)?;
    long::run(p, am::ERLANG, atom!("crc32"), &[Term::small(i64::from(before)), data], |p| {
        checksum(p, data, |bytes| crc_of(before, bytes))
    })
}

/// The product of two polynomials modulo the CRC's, both reflected.
fn crc_multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ 0xedb8_8320 } else { b >> 1 };
    }
    product
}

#[bif("erlang:crc32_combine/3")]
fn crc32_combine(_p: &mut Process, first: Term, second: Term, second_size: Term) -> BifResult {
    let (first, second, size) = (word_of(first)?, word_of(second)?, size_of(second_size)?);
    // The first one, moved on by as many zero bytes: multiplied by x^(8·size).
    let (mut power, mut square, mut left) = (1u32 << 31, 1u32 << 30, size as u128 * 8);
    while left > 0 {
        if left & 1 == 1 {
            power = crc_multiply(power, square);
        }
        square = crc_multiply(square, square);
        left >>= 1;
    }
    Ok(Term::small(i64::from(crc_multiply(first, power) ^ second)))
}

const ADLER_MODULUS: u32 = 65521;

fn adler_of(before: u32, bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (before & 0xffff, before >> 16);
    // As many bytes as can be summed without overflow.
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= ADLER_MODULUS;
        b %= ADLER_MODULUS;
    }
    b << 16 | a
}

#[bif("erlang:adler32/1")]
fn adler32_1(p: &mut Process, data: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("adler32"), &[data], |p| {
        checksum(p, data, |bytes| adler_of(1, bytes))
    })
}

#[bif("erlang:adler32/2")]
fn adler32_2(p: &mut Process, before: Term, data: Term) -> BifResult {
    let before = word_of(before)?;
    long::run(p, am::ERLANG, atom!("adler32"), &[Term::small(i64::from(before)), data], |p| {
        checksum(p, data, |bytes| adler_of(before, bytes))
    })
}

#[bif("erlang:adler32_combine/3")]
fn adler32_combine(_p: &mut Process, first: Term, second: Term, second_size: Term) -> BifResult {
    let (first, second, size) =
        (u64::from(word_of(first)?), u64::from(word_of(second)?), size_of(second_size)? as u64);
    if size == 0 {
        return Ok(Term::small(first as i64));
    }
    let modulus = u64::from(ADLER_MODULUS);
    let (a1, b1, a2, b2) = (first & 0xffff, first >> 16, second & 0xffff, second >> 16);
    // Both sums of a start with one.
    let a = (a1 + a2 + modulus - 1) % modulus;
    let b = (b1 + b2 + size % modulus * (a1 + modulus - 1)) % modulus;
    Ok(Term::small((b << 16 | a) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_known_texts() {
        assert_eq!(crc_of(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(adler_of(1, b"Wikipedia"), 0x11e6_0398);
        let mut words = MD5_START;
        let mut block = [0; 64];
        block[0] = 0x80;
        md5_block(&mut words, &block);
        assert_eq!(words[0].to_le_bytes(), [0xd4, 0x1d, 0x8c, 0xd9]);
    }
}
