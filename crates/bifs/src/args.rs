//! Reading the arguments of built-ins.

use crate::long::{Steps, Stop, check};
use smallvec::SmallVec;
use std::borrow::Cow;
use swarmrt_machine::{BifExit, BifResult};
use swarmrt_term::refusal::handled;
use swarmrt_term::{Atom, Bits, Term, usage};

pub(crate) fn badarg() -> BifResult {
    Err(BifExit::BADARG)
}

/// A position from 1 to `count`, as one from 0.
pub(crate) fn index_of(index: Term, count: usize) -> Result<usize, BifExit> {
    match index.as_small() {
        Some(index) if index >= 1 && index as u64 <= count as u64 => Ok(index as usize - 1),
        _ => Err(BifExit::BADARG),
    }
}

/// The largest integer that OTP holds in a word; ours has two bits more.
pub(crate) const OTP_SMALL_MAX: i64 = (1 << 59) - 1;

/// A number from 0 that fits the machine's sizes.
pub(crate) fn size_of(term: Term) -> Result<usize, BifExit> {
    term.as_small()
        .filter(|value| (0..=OTP_SMALL_MAX).contains(value))
        .map(|value| value as usize)
        .ok_or(BifExit::BADARG)
}

pub(crate) fn atom_of(term: Term) -> Result<Atom, BifExit> {
    term.as_atom().ok_or(BifExit::BADARG)
}

/// The elements of a proper list.
pub(crate) fn list_of(term: Term) -> Result<Vec<Term>, BifExit> {
    term.list_to_vec().ok_or(BifExit::BADARG)
}

/// The two elements of a pair.
pub(crate) fn pair_of(term: Term) -> Option<(Term, Term)> {
    let tuple = term.as_tuple().filter(|tuple| tuple.arity() == 2)?;
    Some((tuple.get(0), tuple.get(1)))
}

/// The bytes of a binary.
pub(crate) fn binary_of<'a>(term: Term) -> Result<Cow<'a, [u8]>, BifExit> {
    term.as_bits().filter(|bits| bits.is_binary()).map(Bits::to_bytes).ok_or(BifExit::BADARG)
}

/// The bytes of a list of bytes.
pub(crate) fn byte_list_of(term: Term) -> Option<SmallVec<[u8; 32]>> {
    let mut bytes = SmallVec::new();
    let mut rest = term;
    while let Some(cell) = rest.as_cons() {
        bytes.push(u8::try_from(cell.head().as_small()?).ok()?);
        rest = cell.tail();
    }
    rest.is_nil().then_some(bytes)
}

/// The text of a list of characters.
pub(crate) fn text_of(term: Term) -> Option<String> {
    let mut text = String::new();
    let mut rest = term;
    while let Some(cell) = rest.as_cons() {
        text.push(char::from_u32(u32::try_from(cell.head().as_small()?).ok()?)?);
        rest = cell.tail();
    }
    rest.is_nil().then_some(text)
}

/// Why something is not what an `iolist` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotIodata;

/// One piece of iodata.
pub(crate) enum Piece {
    Byte(u8),
    Bits(Term),
}

/// The bytes of iodata that a program has written down, such as an expression: never very many.
pub(crate) fn iodata_all(iodata: Term) -> Result<Vec<u8>, BifExit> {
    match iodata_bytes(iodata, usize::MAX) {
        Ok(bytes) => Ok(bytes.into_owned()),
        Err(Stop::BifExit(raise)) => Err(raise),
        Err(Stop::Long) => Err(BifExit::SYSTEM_LIMIT),
    }
}

/// Visits the bytes and bitstrings of iodata in order, as far as there is time. A lone bitstring
/// counts as iodata here; callers that want lists only look first.
pub(crate) fn each_piece(
    iodata: Term,
    mut visit: impl FnMut(Piece) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if iodata.is_bitstring() {
        return visit(Piece::Bits(iodata));
    }
    let mut steps = Steps::new();
    let mut pending: Vec<Term> = Vec::new();
    let mut current = iodata;
    loop {
        while let Some(cell) = current.as_cons() {
            steps.step()?;
            let head = cell.head();
            if let Some(value) = head.as_small() {
                visit(Piece::Byte(u8::try_from(value).map_err(|_| NotIodata)?))?;
            } else if head.is_cons() {
                if !cell.tail().is_nil() {
                    pending.push(cell.tail());
                }
                current = head;
                continue;
            } else if head.is_bitstring() {
                visit(Piece::Bits(head))?;
            } else if !head.is_nil() {
                return Err(NotIodata.into());
            }
            current = cell.tail();
        }
        if current.is_bitstring() {
            visit(Piece::Bits(current))?;
        } else if !current.is_nil() {
            return Err(NotIodata.into());
        }
        match pending.pop() {
            Some(next) => current = next,
            None => return Ok(()),
        }
    }
}

/// Bits in iodata, and whether it is whole bytes throughout.
pub(crate) fn iodata_size(iodata: Term) -> Result<(usize, bool), Stop> {
    let (mut bits, mut whole) = (0usize, true);
    each_piece(iodata, |piece| {
        let more = match piece {
            Piece::Byte(_) => 8,
            Piece::Bits(term) => Bits::size_of(term),
        };
        whole &= more % 8 == 0;
        bits = bits.checked_add(more).ok_or(BifExit::SYSTEM_LIMIT)?;
        Ok(())
    })?;
    Ok((bits, whole))
}

/// Bytes in iodata, of which there may be more than there is memory: parts may be shared.
pub(crate) fn iodata_len(iodata: Term) -> Result<usize, Stop> {
    let mut bytes = 0usize;
    each_piece(iodata, |piece| {
        let more = match piece {
            Piece::Byte(_) => 1,
            Piece::Bits(term) => {
                let bits = Bits::size_of(term);
                if !bits.is_multiple_of(8) {
                    return Err(NotIodata.into());
                }
                bits / 8
            }
        };
        bytes = bytes.checked_add(more).ok_or(BifExit::SYSTEM_LIMIT)?;
        Ok(())
    })?;
    Ok(bytes)
}

/// Room for as many bytes; `system_limit` where there is no memory for them.
pub(crate) fn bytes_with_room(size: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    let fits = usage::has_room(size) && handled(|| bytes.try_reserve_exact(size)).is_ok();
    if fits { Ok(bytes) } else { Err(BifExit::SYSTEM_LIMIT.into()) }
}

/// The bytes of iodata; `quick` are as many as can be worked on here.
pub(crate) fn iodata_bytes<'a>(iodata: Term, quick: usize) -> Result<Cow<'a, [u8]>, Stop> {
    if iodata.is_bitstring() {
        check(Bits::of(iodata).bit_size / 8, quick)?;
        return Ok(binary_of(iodata)?);
    }
    let size = iodata_len(iodata)?;
    check(size, quick)?;
    let mut bytes = bytes_with_room(size)?;
    each_piece(iodata, |piece| {
        match piece {
            Piece::Byte(byte) => bytes.push(byte),
            Piece::Bits(term) => bytes.extend_from_slice(&Bits::of(term).to_bytes()),
        }
        Ok(())
    })?;
    Ok(Cow::Owned(bytes))
}

impl From<NotIodata> for BifExit {
    fn from(_: NotIodata) -> BifExit {
        BifExit::BADARG
    }
}
