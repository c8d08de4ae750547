//! Binaries from and to lists, iodata, and taking binaries apart.

use crate::args::{NotIodata, Piece, binary_of, each_piece, iodata_bytes, size_of};
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::binary::HEAP_BIN_BYTES_MAX;
use swarmrt_term::{Alloc, Bits, SharedBytes, Term};

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

#[bif("erlang:list_to_binary/1")]
#[bif("binary:list_to_bin/1")]
fn list_to_binary(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return Err(Raise::BADARG);
    }
    iolist_to_binary(p, list)
}

#[bif("erlang:iolist_to_binary/1")]
fn iolist_to_binary(p: &mut Process, iodata: Term) -> BifResult {
    if iodata.is_bitstring() {
        return if iodata.is_binary() { Ok(iodata) } else { Err(Raise::BADARG) };
    }
    let bytes = iodata_bytes(iodata)?;
    p.bump_reductions(bytes.len() / BYTES_PER_REDUCTION);
    Ok(p.binary(&bytes))
}

#[bif("erlang:iolist_size/1")]
fn iolist_size(p: &mut Process, iodata: Term) -> BifResult {
    let mut size = 0;
    let mut pieces = 0;
    each_piece(iodata, |piece| {
        pieces += 1;
        size += match piece {
            Piece::Byte(_) => 1,
            Piece::Bits(term) if Bits::of(term).is_binary() => Bits::of(term).bit_size / 8,
            Piece::Bits(_) => return Err(NotIodata),
        };
        Ok(())
    })?;
    p.bump_reductions(pieces / BYTES_PER_REDUCTION);
    Ok(Term::small(size as i64))
}

#[bif("erlang:iolist_to_iovec/1")]
fn iolist_to_iovec(p: &mut Process, iodata: Term) -> BifResult {
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
                    return Err(NotIodata);
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
        return Err(Raise::BADARG);
    }
    let mut bytes: Vec<u8> = Vec::new();
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
    let bytes = binary_of(binary)?;
    p.bump_reductions(bytes.len() / BYTES_PER_REDUCTION);
    Ok(p.byte_list(&bytes, Term::NIL))
}

#[bif("erlang:binary_to_list/3")]
fn binary_to_list_3(p: &mut Process, binary: Term, start: Term, stop: Term) -> BifResult {
    let bytes = binary_of(binary)?;
    let (start, stop) = (size_of(start)?, size_of(stop)?);
    if start < 1 || stop > bytes.len() || start > stop {
        return Err(Raise::BADARG);
    }
    Ok(p.byte_list(&bytes[start - 1..stop], Term::NIL))
}

#[bif("erlang:bitstring_to_list/1")]
fn bitstring_to_list(p: &mut Process, bits: Term) -> BifResult {
    let view = bits.as_bits().ok_or(Raise::BADARG)?;
    let whole = view.bit_size / 8;
    let rest = view.bit_size % 8;
    let tail = if rest == 0 {
        Term::NIL
    } else {
        let last = p.sub_binary(bits, whole * 8, rest);
        p.cons(last, Term::NIL)
    };
    p.bump_reductions(whole / BYTES_PER_REDUCTION);
    Ok((0..whole).rev().fold(tail, |list, index| p.cons(Term::small(i64::from(view.byte(index))), list)))
}

#[bif("erlang:split_binary/2")]
fn split_binary(p: &mut Process, binary: Term, position: Term) -> BifResult {
    let bits = binary.as_bits().ok_or(Raise::BADARG)?;
    let position = size_of(position)?;
    if position > bits.bit_size / 8 {
        return Err(Raise::BADARG);
    }
    let first = p.sub_binary(binary, 0, position * 8);
    let second = p.sub_binary(binary, position * 8, bits.bit_size - position * 8);
    Ok(p.tuple(&[first, second]))
}
