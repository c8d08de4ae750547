//! The built-ins of `binary`: searching, splitting, copying, numbers.

use crate::args::{binary_of, list_of, pair_of, size_of};
use crate::guards::part_range;
use std::borrow::Cow;
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::binary::{SharedBytes, shared_bin};
use swarmrt_term::{Alloc, Bits, Subtag, Term, atom, bigint};

/// Bytes that are searched or copied for one reduction.
const BYTES_PER_REDUCTION: usize = 200;

/// One or several byte strings to look for.
enum Patterns<'a> {
    One(memchr::memmem::Finder<'a>, usize),
    /// By first byte; of those that begin alike, longer ones first.
    Several(Box<[Vec<Cow<'a, [u8]>>; 256]>),
}

impl Patterns<'_> {
    /// The first occurrence from `from` on; of several there the longest.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        match self {
            Patterns::One(finder, len) => finder.find(&text[from..]).map(|at| (from + at, *len)),
            Patterns::Several(by_first) => (from..text.len()).find_map(|at| {
                let candidates = &by_first[usize::from(text[at])];
                candidates.iter().find(|pattern| text[at..].starts_with(pattern)).map(|pattern| (at, pattern.len()))
            }),
        }
    }
}

/// A pattern is a binary, a list of binaries, or either as `compile_pattern/1` packs it.
fn patterns_of<'a>(term: Term) -> Result<Patterns<'a>, Raise> {
    let not_empty = |bytes: Cow<'a, [u8]>| if bytes.is_empty() { Err(Raise::BADARG) } else { Ok(bytes) };
    if let Some((kind, inner)) = pair_of(term) {
        let single = kind == Term::atom(atom!("bm")) && inner.is_binary();
        let several = kind == Term::atom(atom!("ac")) && inner.is_cons();
        return if single || several { patterns_of(inner) } else { Err(Raise::BADARG) };
    }
    let mut all = if term.is_binary() {
        vec![not_empty(binary_of(term)?)?]
    } else {
        list_of(term)?.into_iter().map(|pattern| binary_of(pattern).and_then(not_empty)).collect::<Result<Vec<_>, _>>()?
    };
    if all.is_empty() {
        return Err(Raise::BADARG);
    }
    if all.len() == 1 {
        let only = all.remove(0);
        let len = only.len();
        return Ok(Patterns::One(memchr::memmem::Finder::new(&only).into_owned(), len));
    }
    all.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    let mut by_first: Box<[Vec<Cow<'a, [u8]>>; 256]> = Box::new(std::array::from_fn(|_| Vec::new()));
    for pattern in all {
        by_first[usize::from(pattern[0])].push(pattern);
    }
    Ok(Patterns::Several(by_first))
}

#[bif("binary:compile_pattern/1")]
fn compile_pattern(p: &mut Process, pattern: Term) -> BifResult {
    if pair_of(pattern).is_some() {
        return Err(Raise::BADARG);
    }
    patterns_of(pattern)?;
    let single = pattern.as_cons().filter(|cell| cell.tail().is_nil()).map_or(pattern, |cell| cell.head());
    let kind = if single.is_binary() { atom!("bm") } else { atom!("ac") };
    Ok(p.tuple(&[Term::atom(kind), single]))
}

/// How to search: where, and for `split/3` what to do with the parts.
struct Options {
    /// Start and end.
    scope: (usize, usize),
    global: bool,
    trim: bool,
    trim_all: bool,
}

fn options_of(options: Term, size: usize, for_split: bool) -> Result<Options, Raise> {
    let mut result = Options { scope: (0, size), global: false, trim: false, trim_all: false };
    for option in list_of(options)? {
        if let Some((key, part)) = pair_of(option) {
            let (position, length) = pair_of(part).ok_or(Raise::BADARG)?;
            let (start, length) = part_range(size, position, length).ok_or(Raise::BADARG)?;
            if key != Term::atom(atom!("scope")) {
                return Err(Raise::BADARG);
            }
            result.scope = (start, start + length);
            continue;
        }
        match option.as_atom().filter(|_| for_split) {
            Some(name) if name == atom!("global") => result.global = true,
            Some(name) if name == atom!("trim") => result.trim = true,
            Some(name) if name == atom!("trim_all") => result.trim_all = true,
            _ => return Err(Raise::BADARG),
        }
    }
    Ok(result)
}

fn found(p: &mut Process, (at, len): (usize, usize)) -> Term {
    p.tuple(&[Term::small(at as i64), Term::small(len as i64)])
}

#[bif("binary:match/2")]
fn match_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    match_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:match/3")]
fn match_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    let bytes = binary_of(subject)?;
    let patterns = patterns_of(pattern)?;
    let (start, end) = options_of(options, bytes.len(), false)?.scope;
    match patterns.find(&bytes[..end], start) {
        Some(place) => {
            p.bump_reductions((place.0 - start) / BYTES_PER_REDUCTION);
            Ok(found(p, place))
        }
        None => {
            p.bump_reductions((end - start) / BYTES_PER_REDUCTION);
            Ok(Term::atom(atom!("nomatch")))
        }
    }
}

fn all_matches(p: &mut Process, patterns: &Patterns<'_>, text: &[u8], start: usize) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut from = start;
    while let Some((at, len)) = patterns.find(text, from) {
        places.push((at, len));
        from = at + len;
    }
    p.bump_reductions((text.len() - start) / BYTES_PER_REDUCTION + places.len() / 10);
    places
}

#[bif("binary:matches/2")]
fn matches_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    matches_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:matches/3")]
fn matches_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    let bytes = binary_of(subject)?;
    let patterns = patterns_of(pattern)?;
    let (start, end) = options_of(options, bytes.len(), false)?.scope;
    let places = all_matches(p, &patterns, &bytes[..end], start);
    Ok(places.iter().rev().fold(Term::NIL, |list, &place| {
        let pair = found(p, place);
        p.cons(pair, list)
    }))
}

#[bif("binary:split/2")]
fn split_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    split_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:split/3")]
fn split_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    let bytes = binary_of(subject)?;
    let patterns = patterns_of(pattern)?;
    let options = options_of(options, bytes.len(), true)?;
    let (start, end) = options.scope;
    let places = if options.global {
        all_matches(p, &patterns, &bytes[..end], start)
    } else {
        p.bump_reductions((end - start) / BYTES_PER_REDUCTION);
        patterns.find(&bytes[..end], start).into_iter().collect()
    };
    if places.is_empty() {
        let nothing = bytes.is_empty() && (options.trim || options.trim_all);
        return Ok(if nothing { Term::NIL } else { p.cons(subject, Term::NIL) });
    }
    let mut parts = Vec::with_capacity(places.len() + 1);
    let mut from = 0;
    for (at, len) in places {
        parts.push((from, at - from));
        from = at + len;
    }
    parts.push((from, bytes.len() - from));
    if options.trim_all {
        parts.retain(|&(_, len)| len > 0);
    } else if options.trim {
        let kept = parts.iter().rposition(|&(_, len)| len > 0).map_or(0, |last| last + 1);
        parts.truncate(kept);
    }
    Ok(parts.iter().rev().fold(Term::NIL, |list, &(at, len)| {
        let part = p.sub_binary(subject, at * 8, len * 8);
        p.cons(part, list)
    }))
}

#[bif("binary:at/2")]
fn at(_p: &mut Process, binary: Term, position: Term) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(Raise::BADARG)?;
    let position = size_of(position)?;
    if position < bits.bit_size / 8 { Ok(Term::small(i64::from(bits.byte(position)))) } else { Err(Raise::BADARG) }
}

#[bif("binary:first/1")]
fn first(p: &mut Process, binary: Term) -> BifResult {
    at(p, binary, Term::small(0))
}

#[bif("binary:last/1")]
fn last(p: &mut Process, binary: Term) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary() && bits.bit_size > 0).ok_or(Raise::BADARG)?;
    at(p, binary, Term::small((bits.bit_size / 8 - 1) as i64))
}

#[bif("binary:copy/1")]
fn copy_1(p: &mut Process, binary: Term) -> BifResult {
    let bytes = binary_of(binary)?;
    p.bump_reductions(bytes.len() / BYTES_PER_REDUCTION);
    Ok(p.binary(&bytes))
}

#[bif("binary:copy/2")]
fn copy_2(p: &mut Process, binary: Term, count: Term) -> BifResult {
    let bytes = binary_of(binary)?;
    let count = size_of(count)?;
    let size = bytes.len().checked_mul(count).ok_or(Raise::SYSTEM_LIMIT)?;
    if size <= 64 {
        return Ok(p.binary(&bytes.repeat(count)));
    }
    let shared = SharedBytes::try_with_capacity(size, size).ok_or(Raise::SYSTEM_LIMIT)?;
    for index in 0..count {
        // SAFETY: the buffer has room for all copies and is not shared yet.
        unsafe { shared.data().add(index * bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    p.bump_reductions(size / BYTES_PER_REDUCTION);
    Ok(p.shared_bin(shared, 0, size * 8))
}

#[bif("binary:referenced_byte_size/1")]
fn referenced_byte_size(_p: &mut Process, binary: Term) -> BifResult {
    binary.as_bits().ok_or(Raise::BADARG)?;
    let (original, _) = Bits::original_of(binary);
    if original.boxed_subtag() == Some(Subtag::SharedBin) {
        // SAFETY: the header says that it is a shared binary.
        let shared = unsafe { SharedBytes::clone_raw(*original.boxed_ptr().add(shared_bin::SHARED)) };
        return Ok(Term::small(shared.capacity() as i64));
    }
    Ok(Term::small(Bits::of(original).byte_size_rounded_up() as i64))
}

fn common_length(binaries: Term, of: impl Fn(&[u8], &[u8]) -> usize) -> BifResult {
    let binaries = list_of(binaries)?.into_iter().map(binary_of).collect::<Result<Vec<_>, _>>()?;
    let (first, rest) = binaries.split_first().ok_or(Raise::BADARG)?;
    let length = rest.iter().map(|other| of(first, other)).min().unwrap_or(first.len());
    Ok(Term::small(length as i64))
}

#[bif("binary:longest_common_prefix/1")]
fn longest_common_prefix(_p: &mut Process, binaries: Term) -> BifResult {
    common_length(binaries, |a, b| a.iter().zip(b).take_while(|(a, b)| a == b).count())
}

#[bif("binary:longest_common_suffix/1")]
fn longest_common_suffix(_p: &mut Process, binaries: Term) -> BifResult {
    common_length(binaries, |a, b| a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count())
}

fn is_little(endianness: Term) -> Result<bool, Raise> {
    match endianness.as_atom() {
        Some(name) if name == atom!("big") => Ok(false),
        Some(name) if name == atom!("little") => Ok(true),
        _ => Err(Raise::BADARG),
    }
}

#[bif("binary:decode_unsigned/1")]
fn decode_unsigned_1(p: &mut Process, binary: Term) -> BifResult {
    decode(p, binary, false)
}

#[bif("binary:decode_unsigned/2")]
fn decode_unsigned_2(p: &mut Process, binary: Term, endianness: Term) -> BifResult {
    decode(p, binary, is_little(endianness)?)
}

fn decode(p: &mut Process, binary: Term, little: bool) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(Raise::BADARG)?;
    if bits.bit_size == 0 {
        return Ok(Term::small(0));
    }
    Ok(bigint::from_bits(p, bits, false, little))
}

#[bif("binary:encode_unsigned/1")]
fn encode_unsigned_1(p: &mut Process, number: Term) -> BifResult {
    encode(p, number, false)
}

#[bif("binary:encode_unsigned/2")]
fn encode_unsigned_2(p: &mut Process, number: Term, endianness: Term) -> BifResult {
    encode(p, number, is_little(endianness)?)
}

fn encode(p: &mut Process, number: Term, little: bool) -> BifResult {
    let mut bytes: Vec<u8> = match (number.as_small(), number.as_big()) {
        (Some(small), _) if small >= 0 => small.to_le_bytes().to_vec(),
        (_, Some(big)) if !big.is_negative() => big.digits().iter().flat_map(|digit| digit.to_le_bytes()).collect(),
        _ => return Err(Raise::BADARG),
    };
    let length = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    bytes.truncate(length);
    if !little {
        bytes.reverse();
    }
    Ok(p.binary(&bytes))
}
