//! Binaries from and to lists, iodata, and taking binaries apart.

use crate::args::{
    NotIodata, Piece, binary_of, bytes_with_room, each_piece, iodata_len, iodata_size, size_of,
};
use crate::long::{self, QUICK_BYTES, QUICK_COPY_BYTES, Stop, check};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::binary::HEAP_BIN_BYTES_MAX;
use swarmrt_term::{Alloc, Bits, SharedBytes, Term, am, atom};

/// Bytes for which one reduction is counted.
const BYTES_PER_REDUCTION: usize = 100;

/// A bitstring of the first `bit_size` bits of `bytes`.
pub(crate) fn bitstring<A: Alloc + ?Sized>(heap: &mut A, bytes: &[u8], bit_size: usize) -> Term {
    if bit_size.is_multiple_of(8) {
        return heap.binary(&bytes[..bit_size / 8]);
    }
    let size = bit_size.div_ceil(8);
    if size <= HEAP_BIN_BYTES_MAX {
        let (term, data) = heap.heap_bin(bit_size);
        // SAFETY: the data area holds that many bytes.
        unsafe { data.copy_from_nonoverlapping(bytes.as_ptr(), size) };
        return term;
    }
    heap.shared_bin(SharedBytes::copy_from(&bytes[..size]), 0, bit_size)
}

/// The binary of iodata that is a list.
fn flattened(p: &mut Process, iodata: Term) -> Result<Term, Stop> {
    let size = iodata_len(iodata)?;
    check(size, QUICK_COPY_BYTES)?;
    p.bump_reductions(size / BYTES_PER_REDUCTION);
    let (term, mut to) = if size <= HEAP_BIN_BYTES_MAX {
        p.heap_bin(size * 8)
    } else {
        let shared = SharedBytes::try_with_capacity(size, size).ok_or(BifExit::SYSTEM_LIMIT)?;
        let data = shared.data();
        (p.shared_bin(shared, 0, size * 8), data)
    };
    each_piece(iodata, |piece| {
        // SAFETY: all pieces together have as many bytes as were counted, and nobody has seen the
        // binary yet.
        unsafe {
            match piece {
                Piece::Byte(byte) => {
                    to.write(byte);
                    to = to.add(1);
                }
                Piece::Bits(term) => {
                    let bytes = Bits::of(term).to_bytes();
                    to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    to = to.add(bytes.len());
                }
            }
        }
        Ok(())
    })?;
    Ok(term)
}

#[bif("erlang:list_to_binary/1")]
fn list_to_binary(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return Err(BifExit::BADARG);
    }
    long::run(p, am::ERLANG, atom!("list_to_binary"), &[list], |p| flattened(p, list))
}

#[bif("binary:list_to_bin/1")]
fn list_to_bin(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return Err(BifExit::BADARG);
    }
    long::run(p, am::BINARY, atom!("list_to_bin"), &[list], |p| flattened(p, list))
}

#[bif("erlang:iolist_to_binary/1")]
fn iolist_to_binary(p: &mut Process, iodata: Term) -> BifResult {
    if iodata.is_bitstring() {
        return if iodata.is_binary() { Ok(iodata) } else { Err(BifExit::BADARG) };
    }
    long::run(p, am::ERLANG, atom!("iolist_to_binary"), &[iodata], |p| flattened(p, iodata))
}

#[bif("erlang:iolist_size/1")]
fn iolist_size(p: &mut Process, iodata: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("iolist_size"), &[iodata], |p| {
        let size = iodata_len(iodata)?;
        Ok(p.uint(size as u64))
    })
}

#[bif("erlang:iolist_to_iovec/1")]
fn iolist_to_iovec(p: &mut Process, iodata: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("iolist_to_iovec"), &[iodata], |p| iovec(p, iodata))
}

fn iovec(p: &mut Process, iodata: Term) -> Result<Term, Stop> {
    /// Neighbouring bytes and small binaries are copied together; larger binaries stay as they are.
    enum Part {
        Copied(Vec<u8>),
        Whole(Term),
    }
    fn append(parts: &mut Vec<Part>, bytes: &[u8]) {
        match parts.last_mut() {
            Some(Part::Copied(last)) => last.extend_from_slice(bytes),
            _ => parts.push(Part::Copied(bytes.to_vec())),
        }
    }
    let mut parts: Vec<Part> = Vec::new();
    each_piece(iodata, |piece| {
        match piece {
            Piece::Byte(byte) => append(&mut parts, &[byte]),
            Piece::Bits(term) => {
                let bits = Bits::of(term);
                if !bits.is_binary() {
                    return Err(NotIodata.into());
                }
                if bits.bit_size / 8 > HEAP_BIN_BYTES_MAX {
                    parts.push(Part::Whole(term));
                } else if bits.bit_size > 0 {
                    append(&mut parts, &bits.to_bytes());
                }
            }
        }
        Ok(())
    })?;
    let mut list = Term::NIL;
    for part in parts.into_iter().rev() {
        let term = match part {
            Part::Copied(bytes) => p.binary(&bytes),
            Part::Whole(term) => term,
        };
        list = p.cons(term, list);
    }
    Ok(list)
}

#[bif("erlang:list_to_bitstring/1")]
fn list_to_bitstring(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return Err(BifExit::BADARG);
    }
    long::run(p, am::ERLANG, atom!("list_to_bitstring"), &[list], |p| joined_bits(p, list))
}

fn joined_bits(p: &mut Process, list: Term) -> Result<Term, Stop> {
    let (size, whole) = iodata_size(list)?;
    if whole {
        return flattened(p, list);
    }
    check(size / 8, QUICK_BYTES)?;
    let mut bytes = bytes_with_room(size.div_ceil(8) + 1)?;
    let mut bit_size = 0;
    each_piece(list, |piece| {
        let (more, size) = match piece {
            Piece::Byte(byte) => (std::borrow::Cow::Owned(vec![byte]), 8),
            Piece::Bits(term) => (Bits::of(term).to_bytes(), Bits::of(term).bit_size),
        };
        let shift = bit_size % 8;
        if shift == 0 {
            bytes.extend_from_slice(&more);
        } else {
            for &byte in more.iter() {
                if let Some(last) = bytes.last_mut() {
                    *last |= byte >> shift;
                }
                bytes.push(byte << (8 - shift));
            }
        }
        bit_size += size;
        bytes.truncate(bit_size.div_ceil(8));
        Ok(())
    })?;
    p.bump_reductions(bytes.len() / BYTES_PER_REDUCTION);
    Ok(bitstring(p, &bytes, bit_size))
}

#[bif("erlang:binary_to_list/1")]
fn binary_to_list(p: &mut Process, binary: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("binary_to_list"), &[binary], |p| {
        let bytes = binary_of(binary)?;
        check(bytes.len(), QUICK_BYTES)?;
        p.reserve(2 * bytes.len())?;
        p.bump_reductions(bytes.len() / BYTES_PER_REDUCTION);
        Ok(p.byte_list(&bytes, Term::NIL))
    })
}

#[bif("erlang:binary_to_list/3")]
fn binary_to_list_3(p: &mut Process, binary: Term, start: Term, stop: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("binary_to_list"), &[binary, start, stop], |p| {
        let bytes = binary_of(binary)?;
        let (start, stop) = (size_of(start)?, size_of(stop)?);
        if start < 1 || stop > bytes.len() || start > stop {
            return Err(BifExit::BADARG.into());
        }
        check(stop - start, QUICK_BYTES)?;
        p.reserve(2 * (stop - start + 1))?;
        Ok(p.byte_list(&bytes[start - 1..stop], Term::NIL))
    })
}

#[bif("erlang:bitstring_to_list/1")]
fn bitstring_to_list(p: &mut Process, bits: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("bitstring_to_list"), &[bits], |p| bits_to_list(p, bits))
}

fn bits_to_list(p: &mut Process, bits: Term) -> Result<Term, Stop> {
    let view = bits.as_bits().ok_or(BifExit::BADARG)?;
    let whole = view.bit_size / 8;
    check(whole, QUICK_BYTES)?;
    p.reserve(2 * (whole + 4))?;
    let rest = view.bit_size % 8;
    let tail = if rest == 0 {
        Term::NIL
    } else {
        let last = p.sub_binary(bits, whole * 8, rest);
        p.cons(last, Term::NIL)
    };
    p.bump_reductions(whole / BYTES_PER_REDUCTION);
    Ok(p.byte_list(&view.to_bytes()[..whole], tail))
}

#[bif("erlang:split_binary/2")]
fn split_binary(p: &mut Process, binary: Term, position: Term) -> BifResult {
    let bits = binary.as_bits().ok_or(BifExit::BADARG)?;
    let position = size_of(position)?;
    if position > bits.bit_size / 8 {
        return Err(BifExit::BADARG);
    }
    let first = p.part(binary, 0, position * 8);
    let second = p.part(binary, position * 8, bits.bit_size - position * 8);
    Ok(p.tuple(&[first, second]))
}
