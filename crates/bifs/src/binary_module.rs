//! The built-ins of `binary`: searching, splitting, copying, numbers.

use crate::args::{binary_of, list_of, pair_of, size_of};
use crate::guards::part_range;
use crate::long::{self, QUICK_BYTES, QUICK_COPY_BYTES, Stop, check, may_take_long};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::alloc::{ListBuilder, ListEnd};
use swarmrt_term::binary::{SharedBytes, shared_bin};
use swarmrt_term::{Alloc, Bits, Release, Subtag, Term, am, atom, bigint, stop};

/// Bytes that are searched or copied for one reduction.
const BYTES_PER_REDUCTION: usize = 200;

/// One or several byte strings to look for. Of several that begin at the same place the longest
/// counts.
#[expect(
    clippy::large_enum_variant,
    reason = "most are made for one search and stay where they are made"
)]
enum Patterns<'a> {
    Byte(u8),
    One(Finder<'a>),
    Few(Few<'a>),
    Many(Box<AhoCorasick>),
    /// Several short strings that are searched for any number of times.
    Growing(Box<Growing>),
}

/// Some short strings, tried one by one until they were searched for in so much text that an
/// automaton would have paid: many are compiled for a line or two.
struct Growing {
    few: Few<'static>,
    /// Bytes of text searched so far, about.
    searched: AtomicUsize,
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Growing {
    /// Bytes of text after which the automaton is built.
    const SEARCHED_BYTES_MAX: usize = 32 << 10;

    fn new(strings: &[Vec<u8>]) -> Growing {
        let few = Few::new(strings.iter().cloned().map(Cow::Owned).collect());
        Growing { few, searched: AtomicUsize::new(0), automaton: OnceLock::new() }
    }
    /// The automaton, once so much text is to be searched or was, and where one can be built at
    /// all.
    fn automaton(&self, text_bytes: usize) -> Option<&AhoCorasick> {
        if text_bytes.max(self.searched.load(Ordering::Relaxed)) < Growing::SEARCHED_BYTES_MAX {
            return None;
        }
        self.automaton
            .get_or_init(|| automaton(&self.few.strings, lasting_kind(&self.few.strings)).ok())
            .as_ref()
    }
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        if let Some(automaton) = self.automaton(text.len()) {
            return automaton.find(text).map(|found| (found.start(), found.len()));
        }
        let found = self.few.find(text);
        // An update that another thread's overwrites delays the automaton, nothing else.
        let bytes = found.map_or(text.len(), |(at, _)| at + 1);
        self.searched.store(self.searched.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        found
    }
}

fn automaton(strings: &[impl AsRef<[u8]>], kind: AhoCorasickKind) -> Result<AhoCorasick, BifExit> {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(kind))
        .build(strings)
        .map_err(|_| BifExit::SYSTEM_LIMIT)
}

/// The automaton for any number of searches.
fn lasting_kind(strings: &[impl AsRef<[u8]>]) -> AhoCorasickKind {
    if pattern_bytes(strings) <= TABLED_BYTES_MAX {
        AhoCorasickKind::DFA
    } else {
        AhoCorasickKind::ContiguousNFA
    }
}

/// Bytes of text for one of patterns where a table of a kilobyte for each of these is made for a
/// single search.
const TEXT_PER_PATTERN_BYTE: usize = 64;
/// Bytes of compiled patterns for which there are such tables.
const TABLED_BYTES_MAX: usize = 64;

fn pattern_bytes(strings: &[impl AsRef<[u8]>]) -> usize {
    strings.iter().map(|string| string.as_ref().len()).sum()
}

/// Some short strings, tried one by one wherever one of them could begin: for a single search that
/// is sooner done than an automaton built.
struct Few<'a> {
    /// The longest first.
    strings: Vec<Cow<'a, [u8]>>,
    /// The bytes that they begin with, as a set of bits.
    starts: [u64; 4],
}

impl<'a> Few<'a> {
    const STRINGS_MAX: usize = 16;
    const BYTES_MAX: usize = 32;
    /// Bytes of text for which an automaton does not pay, and for which trying stays quick even
    /// where every byte begins something.
    const TEXT_BYTES_MAX: usize = 16 << 10;

    fn suits(strings: &[impl AsRef<[u8]>], text_bytes: usize) -> bool {
        text_bytes <= Few::TEXT_BYTES_MAX
            && (1..=Few::STRINGS_MAX).contains(&strings.len())
            && strings.iter().all(|string| string.as_ref().len() <= Few::BYTES_MAX)
    }
    fn new(mut strings: Vec<Cow<'a, [u8]>>) -> Few<'a> {
        let mut starts = [0; 4];
        for string in &strings {
            starts[usize::from(string[0] / 64)] |= 1 << (string[0] % 64);
        }
        strings.sort_by_key(|string| Reverse(string.len()));
        Few { strings, starts }
    }
    /// Where the first occurrence is, and how long it is.
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let may_start = |byte: u8| self.starts[usize::from(byte / 64)] >> (byte % 64) & 1 == 1;
        let mut at = 0;
        loop {
            at += text[at..].iter().position(|&byte| may_start(byte))?;
            let found = self.strings.iter().find(|string| text[at..].starts_with(string));
            if let Some(string) = found {
                return Some((at, string.len()));
            }
            at += 1;
        }
    }
}

impl<'a> Patterns<'a> {
    /// For one search in a text of that size.
    fn new(mut strings: Vec<Cow<'a, [u8]>>, text_bytes: usize) -> Result<Patterns<'a>, BifExit> {
        if strings.len() == 1
            && let Some(string) = strings.pop()
        {
            return Ok(match string {
                one if one.len() == 1 => Patterns::Byte(one[0]),
                Cow::Borrowed(string) => Patterns::One(Finder::new(string)),
                Cow::Owned(string) => Patterns::One(Finder::new(&string).into_owned()),
            });
        }
        if Few::suits(&strings, text_bytes) {
            return Ok(Patterns::Few(Few::new(strings)));
        }
        // A table of what each byte leads to pays in a long text.
        let pays = text_bytes / TEXT_PER_PATTERN_BYTE > pattern_bytes(&strings);
        Patterns::automaton(
            &strings,
            if pays { AhoCorasickKind::DFA } else { AhoCorasickKind::NoncontiguousNFA },
        )
    }

    /// For any number of searches.
    fn lasting(strings: &[Vec<u8>]) -> Result<Patterns<'static>, BifExit> {
        match strings {
            [only] if only.len() == 1 => Ok(Patterns::Byte(only[0])),
            [only] => Ok(Patterns::One(Finder::new(only).into_owned())),
            _ if Few::suits(strings, 0) => Ok(Patterns::Growing(Box::new(Growing::new(strings)))),
            _ => Patterns::automaton(strings, lasting_kind(strings)),
        }
    }

    fn automaton(
        strings: &[impl AsRef<[u8]>],
        kind: AhoCorasickKind,
    ) -> Result<Patterns<'static>, BifExit> {
        if strings.is_empty() {
            return Err(BifExit::BADARG);
        }
        automaton(strings, kind).map(|automaton| Patterns::Many(Box::new(automaton)))
    }

    /// The first occurrence from `from` on: position and length.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let rest = &text[from..];
        match self {
            Patterns::Byte(byte) => memchr::memchr(*byte, rest).map(|at| (from + at, 1)),
            Patterns::One(finder) => finder.find(rest).map(|at| (from + at, finder.needle().len())),
            Patterns::Few(few) => few.find(rest).map(|(at, len)| (from + at, len)),
            Patterns::Many(automaton) => {
                automaton.find(rest).map(|found| (from + found.start(), found.len()))
            }
            Patterns::Growing(growing) => growing.find(rest).map(|(at, len)| (from + at, len)),
        }
    }

    /// Calls `found` with the position and length of each occurrence from `from` on, each behind
    /// the one before; how many there are.
    fn for_each(&self, text: &[u8], from: usize, mut found: impl FnMut(usize, usize)) -> usize {
        let mut count = 0;
        let mut next = |at: usize, len: usize| {
            count += 1;
            found(at, len);
        };
        match self {
            Patterns::Byte(byte) => {
                memchr::memchr_iter(*byte, &text[from..]).for_each(|at| next(from + at, 1));
            }
            Patterns::One(finder) => {
                let len = finder.needle().len();
                finder.find_iter(&text[from..]).for_each(|at| next(from + at, len));
            }
            _ => {
                let mut from = from;
                while let Some((at, len)) = self.find(text, from) {
                    next(at, len);
                    from = at + len;
                }
            }
        }
        count
    }

    /// As [`find`](Self::find), where that cannot take long.
    ///
    /// # Errors
    /// [`Stop::Long`] where the rest of the text has more than [`QUICK_BYTES`] without a match, on
    /// a scheduler that must not be held.
    fn find_quickly(&self, text: &[u8], from: usize) -> Result<Option<(usize, usize)>, Stop> {
        if text.len() - from <= QUICK_BYTES || may_take_long() {
            return Ok(self.find(text, from));
        }
        let longest = match self {
            Patterns::Byte(_) => 1,
            Patterns::One(finder) => finder.needle().len(),
            Patterns::Few(_) | Patterns::Growing(_) => Few::BYTES_MAX,
            Patterns::Many(automaton) => automaton.max_pattern_len(),
        };
        // What is found near the end of the part might be longer in the whole.
        let part = from + QUICK_BYTES;
        match self.find(&text[..part], from) {
            Some((at, len)) if at + longest <= part => Ok(Some((at, len))),
            _ => Err(Stop::Long),
        }
    }
}

/// Patterns made for one search, or compiled before.
#[expect(clippy::large_enum_variant, reason = "as of the patterns")]
enum Usable<'a> {
    Fresh(Patterns<'a>),
    Compiled(Arc<Patterns<'static>>),
}

impl<'a> Deref for Usable<'a> {
    type Target = Patterns<'a>;
    fn deref(&self) -> &Patterns<'a> {
        match self {
            Usable::Fresh(patterns) => patterns,
            Usable::Compiled(patterns) => patterns,
        }
    }
}

/// What `compile_pattern/1` has made.
type CompiledPatterns = Resources<Patterns<'static>>;

/// The strings of a pattern given as a binary or as a list of binaries, none of them empty.
fn strings_of<'a>(term: Term) -> Result<Vec<Cow<'a, [u8]>>, BifExit> {
    let strings = if term.is_list() {
        list_of(term)?.into_iter().map(binary_of).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![binary_of(term)?]
    };
    if strings.iter().any(|string| string.is_empty()) { Err(BifExit::BADARG) } else { Ok(strings) }
}

fn patterns_of<'a>(p: &Process, term: Term, text_bytes: usize) -> Result<Usable<'a>, BifExit> {
    if let Some((tag, reference)) = pair_of(term) {
        return compiled(p, tag, reference).map(Usable::Compiled).ok_or(BifExit::BADARG);
    }
    Patterns::new(strings_of(term)?, text_bytes).map(Usable::Fresh)
}

fn compiled(p: &Process, tag: Term, reference: Term) -> Option<Arc<Patterns<'static>>> {
    let patterns = p.vm.extension::<CompiledPatterns>().get(reference)?;
    let wanted = if matches!(*patterns, Patterns::Many(_) | Patterns::Growing(_)) {
        atom!("ac")
    } else {
        atom!("bm")
    };
    (tag == Term::atom(wanted)).then_some(patterns)
}

#[bif("binary:compile_pattern/1")]
fn compile_pattern(p: &mut Process, pattern: Term) -> BifResult {
    let strings: Vec<Vec<u8>> = strings_of(pattern)?.into_iter().map(Cow::into_owned).collect();
    let tag = if strings.len() > 1 { atom!("ac") } else { atom!("bm") };
    let patterns = Arc::new(Patterns::lasting(&strings)?);
    let compiled = p.vm.extension::<CompiledPatterns>();
    let reference = compiled.add(p, patterns);
    Ok(p.tuple(&[Term::atom(tag), reference]))
}

/// A part of a binary, in bytes.
pub(crate) fn part_of(p: &mut Process, binary: Term, at: usize, len: usize) -> Term {
    p.part(binary, at * 8, len * 8)
}

/// How to search: where, and for `split/3` what to do with the parts.
struct Options {
    /// Start and end.
    scope: (usize, usize),
    global: bool,
    trim: bool,
    trim_all: bool,
}

fn options_of(options: Term, size: usize, for_split: bool) -> Result<Options, BifExit> {
    let mut result = Options { scope: (0, size), global: false, trim: false, trim_all: false };
    if !options.is_list() {
        return Err(BifExit::BADARG);
    }
    // What an improper list ends in is not looked at, as in OTP.
    let mut rest = options;
    while let Some(cell) = rest.as_cons() {
        let option = cell.head();
        rest = cell.tail();
        if let Some((key, part)) = pair_of(option) {
            let (position, length) = pair_of(part).ok_or(BifExit::BADARG)?;
            let (start, length) = part_range(size, position, length).ok_or(BifExit::BADARG)?;
            if key != Term::atom(atom!("scope")) {
                return Err(BifExit::BADARG);
            }
            result.scope = (start, start + length);
            continue;
        }
        match option.as_atom().filter(|_| for_split) {
            Some(name) if name == atom!("global") => result.global = true,
            Some(name) if name == atom!("trim") => result.trim = true,
            Some(name) if name == atom!("trim_all") => result.trim_all = true,
            _ => return Err(BifExit::BADARG),
        }
    }
    Ok(result)
}

fn found(p: &mut Process, (at, len): (usize, usize)) -> Term {
    p.tuple(&[Term::small(at as i64), Term::small(len as i64)])
}

/// Where nothing is to be searched, patterns are not looked at until OTP 27.
fn ignores_patterns(p: &Process) -> bool {
    p.vm.release() < Release::R27
}

#[bif("binary:match/2")]
fn match_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    match_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:match/3")]
fn match_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    let bytes = binary_of(subject)?;
    let (start, end) = options_of(options, bytes.len(), false)?.scope;
    if end == 0 && ignores_patterns(p) {
        return Ok(Term::atom(atom!("nomatch")));
    }
    let patterns = patterns_of(p, pattern, end - start)?;
    long::run(p, am::BINARY, atom!("match"), &[subject, pattern, options], |p| {
        Ok(match patterns.find_quickly(&bytes[..end], start)? {
            Some(place) => {
                p.bump_reductions((place.0 - start) / BYTES_PER_REDUCTION);
                found(p, place)
            }
            None => {
                p.bump_reductions((end - start) / BYTES_PER_REDUCTION);
                Term::atom(atom!("nomatch"))
            }
        })
    })
}

/// Reductions for a search in so many bytes that has found something so often.
fn bump_for_all(p: &mut Process, bytes: usize, count: usize) {
    p.bump_reductions(bytes / BYTES_PER_REDUCTION + count / 10);
}

#[bif("binary:matches/2")]
fn matches_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    matches_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:matches/3")]
fn matches_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    let bytes = binary_of(subject)?;
    let (start, end) = options_of(options, bytes.len(), false)?.scope;
    if end == 0 && ignores_patterns(p) {
        return Ok(Term::NIL);
    }
    let patterns = patterns_of(p, pattern, end - start)?;
    long::run(p, am::BINARY, atom!("matches"), &[subject, pattern, options], |p| {
        check(end - start, QUICK_BYTES)?;
        let mut places = ListBuilder::default();
        let count = patterns.for_each(&bytes[..end], start, |at, len| {
            let place = found(p, (at, len));
            places.push(p, place);
        });
        bump_for_all(p, end - start, count);
        Ok(places.finish())
    })
}

#[bif("binary:split/2")]
fn split_2(p: &mut Process, subject: Term, pattern: Term) -> BifResult {
    split_3(p, subject, pattern, Term::NIL)
}

#[bif("binary:split/3")]
fn split_3(p: &mut Process, subject: Term, pattern: Term, options: Term) -> BifResult {
    long::run(p, am::BINARY, atom!("split"), &[subject, pattern, options], |p| {
        split(p, subject, pattern, options)
    })
}

fn split(p: &mut Process, subject: Term, pattern: Term, options: Term) -> Result<Term, Stop> {
    let bytes = binary_of(subject)?;
    let options = options_of(options, bytes.len(), true)?;
    let (start, end) = options.scope;
    let list = ListBuilder::default();
    let mut parts = Parts { kept: list.end(), list, from: 0, trim_all: options.trim_all };
    let count = if end == 0 && ignores_patterns(p) {
        0
    } else if options.global {
        let patterns = patterns_of(p, pattern, end - start)?;
        check(end - start, QUICK_BYTES)?;
        let count =
            patterns.for_each(&bytes[..end], start, |at, len| parts.add(p, subject, at, len));
        bump_for_all(p, end - start, count);
        count
    } else {
        let place = patterns_of(p, pattern, end - start)?.find_quickly(&bytes[..end], start)?;
        p.bump_reductions((place.map_or(end, |(at, _)| at) - start) / BYTES_PER_REDUCTION);
        place.into_iter().map(|(at, len)| parts.add(p, subject, at, len)).count()
    };
    if count == 0 {
        let nothing = bytes.is_empty() && (options.trim || options.trim_all);
        return Ok(if nothing { Term::NIL } else { p.cons(subject, Term::NIL) });
    }
    parts.add(p, subject, bytes.len(), 0);
    Ok(if options.trim { parts.trimmed() } else { parts.list.finish() })
}

/// The parts of a binary between what it is split at.
struct Parts {
    list: ListBuilder,
    /// Where the list ends without the empty parts at its end.
    kept: ListEnd,
    /// Where the next part begins.
    from: usize,
    /// Whether empty parts are left out.
    trim_all: bool,
}

impl Parts {
    /// Adds the part that ends at `at`; the next one begins `len` bytes behind it.
    fn add(&mut self, p: &mut Process, subject: Term, at: usize, len: usize) {
        let part_len = at - self.from;
        if part_len > 0 || !self.trim_all {
            let part = part_of(p, subject, self.from, part_len);
            self.list.push(p, part);
        }
        if part_len > 0 {
            self.kept = self.list.end();
        }
        self.from = at + len;
    }

    /// The parts without empty ones at the end.
    fn trimmed(mut self) -> Term {
        self.list.cut(self.kept);
        self.list.finish()
    }
}

#[bif("binary:at/2")]
fn at(_p: &mut Process, binary: Term, position: Term) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let position = size_of(position)?;
    if position < bits.bit_size / 8 {
        Ok(Term::small(i64::from(bits.byte(position))))
    } else {
        Err(BifExit::BADARG)
    }
}

#[bif("binary:first/1")]
fn first(p: &mut Process, binary: Term) -> BifResult {
    at(p, binary, Term::small(0))
}

#[bif("binary:last/1")]
fn last(p: &mut Process, binary: Term) -> BifResult {
    let bits = binary
        .as_bits()
        .filter(|bits| bits.is_binary() && bits.bit_size > 0)
        .ok_or(BifExit::BADARG)?;
    at(p, binary, Term::small((bits.bit_size / 8 - 1) as i64))
}

#[bif("binary:copy/1")]
fn copy_1(p: &mut Process, binary: Term) -> BifResult {
    long::run(p, am::BINARY, atom!("copy"), &[binary], |p| copied(p, binary, 1))
}

#[bif("binary:copy/2")]
fn copy_2(p: &mut Process, binary: Term, count: Term) -> BifResult {
    let count = size_of(count)?;
    // Until OTP 27, of no copies it does not matter of what.
    if count == 0 && binary.is_bitstring() && p.vm.release() < Release::R27 {
        return Ok(p.binary(&[]));
    }
    long::run(p, am::BINARY, atom!("copy"), &[binary, Term::small(count as i64)], |p| {
        copied(p, binary, count)
    })
}

fn copied(p: &mut Process, binary: Term, count: usize) -> Result<Term, Stop> {
    let bytes = binary_of(binary)?;
    let size = bytes.len().checked_mul(count).ok_or(BifExit::SYSTEM_LIMIT)?;
    // Short ones are not copied at the speed of memory.
    check(size / bytes.len().clamp(1, 64), QUICK_COPY_BYTES / 64)?;
    if size <= 64 {
        return Ok(p.binary(&bytes.repeat(count)));
    }
    let shared = SharedBytes::try_with_capacity(size, size).ok_or(BifExit::SYSTEM_LIMIT)?;
    /// Bytes that are copied in one piece, unless a single copy has more.
    const PIECE_BYTES: usize = 1 << 20;
    let piece = bytes.len() * (PIECE_BYTES / bytes.len()).max(1);
    // SAFETY: the buffer has room for all copies and is not shared yet.
    unsafe { shared.data().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    let mut done = bytes.len();
    while done < size {
        let more = done.min(piece).min(size - done);
        // SAFETY: the buffer has room for all copies; those written so far are repeated, and lie in
        // front of the new ones.
        unsafe { shared.data().add(done).copy_from_nonoverlapping(shared.data(), more) };
        done += more;
        stop::flat(more / 8);
    }
    p.bump_reductions(size / BYTES_PER_REDUCTION);
    Ok(p.shared_bin(shared, 0, size * 8))
}

#[bif("binary:referenced_byte_size/1")]
fn referenced_byte_size(_p: &mut Process, binary: Term) -> BifResult {
    binary.as_bits().ok_or(BifExit::BADARG)?;
    let (original, _) = Bits::original_of(binary);
    if original.boxed_subtag() == Some(Subtag::SharedBin) {
        // SAFETY: the header says that it is a shared binary.
        let shared =
            unsafe { SharedBytes::clone_raw(*original.boxed_ptr().add(shared_bin::SHARED)) };
        return Ok(Term::small(shared.capacity() as i64));
    }
    Ok(Term::small(Bits::of(original).byte_size_rounded_up() as i64))
}

fn common_length(binaries: Term, of: impl Fn(&[u8], &[u8]) -> usize) -> BifResult {
    let binaries = list_of(binaries)?.into_iter().map(binary_of).collect::<Result<Vec<_>, _>>()?;
    let (first, rest) = binaries.split_first().ok_or(BifExit::BADARG)?;
    let length = rest.iter().map(|other| of(first, other)).min().unwrap_or(first.len());
    Ok(Term::small(length as i64))
}

#[bif("binary:longest_common_prefix/1")]
fn longest_common_prefix(_p: &mut Process, binaries: Term) -> BifResult {
    common_length(binaries, |a, b| a.iter().zip(b).take_while(|(a, b)| a == b).count())
}

#[bif("binary:longest_common_suffix/1")]
fn longest_common_suffix(_p: &mut Process, binaries: Term) -> BifResult {
    common_length(binaries, |a, b| {
        a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
    })
}

fn is_little(endianness: Term) -> Result<bool, BifExit> {
    match endianness.as_atom() {
        Some(name) if name == atom!("big") => Ok(false),
        Some(name) if name == atom!("little") => Ok(true),
        _ => Err(BifExit::BADARG),
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
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
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
        (_, Some(big)) if !big.is_negative() => {
            big.digits().iter().flat_map(|digit| digit.to_le_bytes()).collect()
        }
        _ => return Err(BifExit::BADARG),
    };
    let length = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    bytes.truncate(length);
    if !little {
        bytes.reverse();
    }
    Ok(p.binary(&bytes))
}
