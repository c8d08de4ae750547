//! The module `re`: regular expressions.
//!
//! A compiled expression holds everything needed to compile it again, as bytes: in a binary, or from
//! OTP 28 on in the memory of a counted reference, which means something on this node only. What
//! PCRE has made of it is kept in a table under these bytes, and costs nothing when forgotten.

mod errors;
mod pcre;
mod subject;

use crate::args::{binary_of, iodata_all, iodata_bytes, list_of};
use crate::binary_module::part_of;
use crate::long::Stop;
use parking_lot::RwLock;
use pcre::{
    Code, CompileError, Group, Limits, Outcome, Spec, bsr, compile_options, match_options, newline,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use subject::Caller;
use swarmrt_machine::vm::resource::mark;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Bits, Mfa, Release, SharedBytes, Term, am, atom};

/// Expressions kept compiled; when there are more all are forgotten.
const KEPT_MAX: usize = 4096;
/// How often an expression is used before it is made native code: that takes longer than to compile
/// it.
const USES_UNTIL_NATIVE: u32 = 8;
/// How far a match may go on a scheduler before it is started afresh on a dirty one, as counted by
/// PCRE.
const QUICK_MATCH_LIMIT: u32 = 50_000;
/// Subjects that are searched on a dirty scheduler at once.
const QUICK_SUBJECT_BYTES: usize = 1 << 20;
/// Bytes searched for which one reduction is counted.
const BYTES_PER_REDUCTION: usize = 100;

struct Kept {
    code: Code,
    native: bool,
    uses: AtomicU32,
}

/// Compiled expressions by the bytes of their [`Spec`].
#[derive(Default)]
struct Expressions(RwLock<HashMap<Box<[u8]>, Arc<Kept>>>);

impl Expressions {
    fn get(&self, key: &[u8]) -> Result<Arc<Kept>, Failure> {
        let known = self.0.read().get(key).cloned();
        if let Some(kept) = known
            && (kept.native || kept.uses.fetch_add(1, Relaxed) < USES_UNTIL_NATIVE)
        {
            return Ok(kept);
        }
        let native = self.0.read().contains_key(key);
        let spec = Spec::decode(key).ok_or(Failure::NotAnExpression)?;
        let kept = Arc::new(Kept {
            code: Code::compile(&spec, native).map_err(Failure::Compile)?,
            native,
            uses: AtomicU32::new(1),
        });
        let mut table = self.0.write();
        if table.len() >= KEPT_MAX {
            table.clear();
        }
        table.insert(key.into(), kept.clone());
        Ok(kept)
    }
}

enum Failure {
    NotAnExpression,
    Compile(CompileError),
}

fn expressions(p: &Process) -> &'static Expressions {
    p.vm.extension::<Expressions>()
}

/// Options of `compile/2` and `run/3` together; which are allowed is the caller's business.
#[derive(Default)]
struct Options {
    compile: u32,
    matching: u32,
    newline: Option<u8>,
    bsr: Option<u8>,
    /// Some make sense only for compiling, some only for running.
    compile_only: bool,
    /// For `compile`: the result is to be used by other machines.
    export: bool,
    run_only: bool,
    global: bool,
    report_errors: bool,
    offset: usize,
    capture: Option<(Term, Term)>,
    limits: Limits,
}

/// A number that C's `int` holds, from 0.
fn int_of(term: Term) -> Option<u32> {
    term.as_small()
        .and_then(|value| i32::try_from(value).ok())
        .and_then(|value| u32::try_from(value).ok())
}

impl Options {
    fn parse(list: Term) -> Result<Options, BifExit> {
        let bad = || BifExit::Caused(atom!("badopt"));
        let mut options = Options::default();
        for item in list.list_to_vec().ok_or_else(bad)? {
            let known = match (item.as_atom(), item.as_tuple().map(|tuple| tuple.elements())) {
                (Some(name), _) => options.set_flag(name),
                (_, Some(&[key, value])) => options.set_value(key, value),
                (_, Some(&[key, values, kind])) if key == Term::atom(atom!("capture")) => {
                    options.run_only = true;
                    options.capture = Some((values, kind));
                    Some(())
                }
                _ => None,
            };
            known.ok_or_else(bad)?;
        }
        Ok(options)
    }

    fn set_value(&mut self, key: Term, value: Term) -> Option<()> {
        let key = key.as_atom()?.name();
        if key == "newline" {
            self.newline = Some(match value.as_atom()?.name() {
                "cr" => newline::CR,
                "lf" => newline::LF,
                "crlf" => newline::CRLF,
                "any" => newline::ANY,
                "anycrlf" => newline::ANYCRLF,
                "nul" if !pcre::follows_pcre8() => newline::NUL,
                _ => return None,
            });
            return Some(());
        }
        self.run_only = true;
        match key {
            "capture" => self.capture = Some((value, Term::atom(atom!("index")))),
            "offset" => self.offset = int_of(value)? as usize,
            "match_limit" => self.limits.matches = Some(int_of(value)?),
            "match_limit_recursion" => self.limits.depth = Some(int_of(value)?),
            _ => return None,
        }
        self.limits.exact = self.limits.matches.is_some() || self.limits.depth.is_some();
        Some(())
    }

    fn set_flag(&mut self, name: Atom) -> Option<()> {
        use compile_options as c;
        let for_compile = match name.name() {
            "anchored" => {
                self.compile |= c::ANCHORED;
                self.matching |= match_options::ANCHORED;
                return Some(());
            }
            "bsr_anycrlf" => {
                self.bsr = Some(bsr::ANYCRLF);
                return Some(());
            }
            "bsr_unicode" => {
                self.bsr = Some(bsr::UNICODE);
                return Some(());
            }
            "no_start_optimize" => c::NO_START_OPTIMIZE,
            "caseless" => c::CASELESS,
            "dollar_endonly" => c::DOLLAR_ENDONLY,
            "dotall" => c::DOTALL,
            "extended" => c::EXTENDED,
            "firstline" => c::FIRSTLINE,
            "multiline" => c::MULTILINE,
            "no_auto_capture" => c::NO_AUTO_CAPTURE,
            "dupnames" => c::DUPNAMES,
            "ungreedy" => c::UNGREEDY,
            "ucp" => c::UCP,
            "never_utf" => c::NEVER_UTF,
            "unicode" => c::UTF,
            "export" => {
                self.export = true;
                self.compile_only = true;
                return Some(());
            }
            _ => return self.set_run_flag(name),
        };
        self.compile |= for_compile;
        self.compile_only = true;
        Some(())
    }

    fn set_run_flag(&mut self, name: Atom) -> Option<()> {
        match name.name() {
            "notempty" => self.matching |= match_options::NOTEMPTY,
            "notempty_atstart" => self.matching |= match_options::NOTEMPTY_ATSTART,
            "notbol" => self.matching |= match_options::NOTBOL,
            "noteol" => self.matching |= match_options::NOTEOL,
            "report_errors" => self.report_errors = true,
            "global" => self.global = true,
            _ => return None,
        }
        self.run_only = true;
        Some(())
    }

    fn has_line_ends(&self) -> bool {
        self.newline.is_some() || self.bsr.is_some()
    }

    /// Whether the line ends that are given, if any, are those that the code was compiled with.
    fn agrees_with(&self, code: &Code) -> bool {
        self.newline.is_none_or(|newline| newline == code.newline)
            && self.bsr.is_none_or(|bsr| bsr == code.bsr)
    }

    fn unicode(&self) -> bool {
        self.compile & compile_options::UTF != 0
    }

    /// The expression given as text; to PCRE 8 it ends at the first zero byte.
    fn spec(&self, text: Term) -> Result<Spec, BifExit> {
        let mut pattern = iodata_all(text)?;
        if pcre::follows_pcre8()
            && let Some(end) = memchr::memchr(0, &pattern)
        {
            pattern.truncate(end);
        }
        Ok(Spec {
            options: self.compile,
            newline: self.newline.unwrap_or(newline::LF),
            bsr: self.bsr.unwrap_or(bsr::UNICODE),
            pattern,
        })
    }
}

/// Goes on in a function of `re.erl`.
fn trap(p: &mut Process, function: Atom, args: &[Term]) -> BifResult {
    let export = p.vm.code.export(Mfa { module: atom!("re"), function, arity: args.len() as u32 });
    p.trap(export, args)
}

/// The version of the library that is used, not of the one whose syntax is followed: programs that
/// keep compiled expressions in files (Elixir's `~r` does) compile them again when the version
/// differs from the one stored.
#[bif("re:version/0")]
fn version(p: &mut Process) -> BifResult {
    Ok(p.binary(&pcre::version()))
}

#[bif("re:compile/1")]
fn compile_1(p: &mut Process, text: Term) -> BifResult {
    compile(p, text, Term::NIL)
}

#[bif("re:compile/2")]
fn compile(p: &mut Process, text: Term, options: Term) -> BifResult {
    let parsed = Options::parse(options)?;
    if parsed.run_only || parsed.export && p.vm.release() < Release::R28 {
        return Err(BifExit::Caused(atom!("badopt")));
    }
    if parsed.unicode() && !text.is_bitstring() {
        return trap(p, atom!("ucompile"), &[text, options]);
    }
    let key = parsed.spec(text)?.encode();
    match expressions(p).get(&key) {
        Ok(kept) => {
            let pattern = if parsed.export {
                exported_term(p, text, options, parsed.unicode(), &key)?
            } else {
                pattern_term(p, &kept.code, parsed.unicode(), &key)?
            };
            Ok(p.tuple(&[Term::atom(am::OK), pattern]))
        }
        Err(failure) => {
            let explained = explain(p, failure)?;
            Ok(p.tuple(&[Term::atom(am::ERROR), explained]))
        }
    }
}

/// What the header of an exported expression begins with; a checksum of four bytes, the version of
/// the encoding and whether it is unicode follow.
const EXPORT_TITLE: &[u8] = b"re-PCRE2";
const EXPORT_HEADER_BYTES: usize = EXPORT_TITLE.len() + 6;
const EXPORT_VERSION: u8 = 1;
/// What an encoded expression of SwarmRT begins with, ahead of what an `re_pattern` holds. It has
/// the shape of PCRE2's `pcre2_serialized_data` (magic, version, configuration, number of codes), as
/// OTP reads that of any exported expression: the number has to be above zero in either byte order,
/// and for a magic that is not its own OTP compiles the text again.
const EXPORT_PREFIX: &[u8; 16] = b"SRre\0\0\0\x01\0\0\0\0\0\x01\x01\0";

/// `{re_exported_pattern, Header, Text, Options, Encoded}` (OTP 28 and later).
fn exported_term(
    p: &mut Process,
    text: Term,
    options: Term,
    unicode: bool,
    key: &[u8],
) -> BifResult {
    let text = iodata_all(text)?;
    let encoded = [EXPORT_PREFIX, key].concat();
    let sum = crc32fast::hash(&encoded).to_be_bytes();
    let header = [EXPORT_TITLE, &sum, &[EXPORT_VERSION, u8::from(unicode)]].concat();
    let [header, text, encoded] = [&header, &text[..], &encoded].map(|bytes| p.binary(bytes));
    let tag = Term::atom(atom!("re_exported_pattern"));
    Ok(p.tuple(&[tag, header, text, options, encoded]))
}

/// Compiles an exported expression again: SwarmRT's from what is encoded, others from their text.
/// Code that another machine has made is not run.
#[bif("re:import/1", since = 28)]
fn import(p: &mut Process, exported: Term) -> BifResult {
    let tuple = exported.as_tuple().filter(|tuple| tuple.arity() == 5).ok_or(BifExit::BADARG)?;
    let &[tag, header, text, options, encoded] = tuple.elements() else {
        return Err(BifExit::BADARG);
    };
    let header = binary_of(header)?;
    let is_whole = tag == Term::atom(atom!("re_exported_pattern"))
        && header.len() >= EXPORT_HEADER_BYTES
        && header.starts_with(EXPORT_TITLE);
    if !is_whole {
        return Err(BifExit::BADARG);
    }
    let [sum @ .., version, unicode] = &header[EXPORT_TITLE.len()..EXPORT_HEADER_BYTES] else {
        return Err(BifExit::BADARG);
    };
    let (key, unicode) = match encoded_spec(*version, sum, encoded)? {
        Some(spec) => (spec.encode(), *unicode != 0),
        None if !text.is_bitstring() => return Err(BifExit::BADARG),
        None => {
            let parsed = Options::parse(options)?;
            if parsed.run_only {
                return Err(BifExit::BADARG);
            }
            (parsed.spec(text)?.encode(), parsed.unicode())
        }
    };
    let kept = expressions(p).get(&key).map_err(|_| BifExit::BADARG)?;
    pattern_term(p, &kept.code, unicode, &key)
}

/// What a SwarmRT has encoded; `None` for the code of an OTP and for later encodings.
fn encoded_spec(version: u8, sum: &[u8], encoded: Term) -> Result<Option<Spec>, BifExit> {
    if version != EXPORT_VERSION {
        return Ok(None);
    }
    let encoded = binary_of(encoded)?;
    if sum != crc32fast::hash(&encoded).to_be_bytes() {
        return Err(BifExit::BADARG);
    }
    Ok(encoded.strip_prefix(EXPORT_PREFIX).and_then(Spec::decode))
}

/// A compiled expression as programs get it.
fn pattern_term(p: &mut Process, code: &Code, unicode: bool, key: &[u8]) -> BifResult {
    let held =
        if p.vm.release() >= Release::R28 { HeldKey::reference(p, key)? } else { p.binary(key) };
    Ok(pattern_tuple(p, code, unicode, held))
}

/// `{re_pattern, Captures, Unicode, UseCrLf, Held}`.
fn pattern_tuple(p: &mut Process, code: &Code, unicode: bool, held: Term) -> Term {
    let use_crlf = matches!(code.newline, newline::ANY | newline::CRLF | newline::ANYCRLF);
    p.tuple(&[
        Term::atom(atom!("re_pattern")),
        Term::small(i64::from(code.captures)),
        Term::small(i64::from(unicode)),
        Term::small(i64::from(use_crlf)),
        held,
    ])
}

/// The bytes of an expression in the memory of a counted reference: after the mark of this kind and
/// the number of bytes, in words.
struct HeldKey;

impl HeldKey {
    fn reference(p: &mut Process, key: &[u8]) -> BifResult {
        let shared = SharedBytes::zeroed_words(2 + key.len().div_ceil(8));
        let reference = p.counted_ref(shared.ok_or(BifExit::SYSTEM_LIMIT)?);
        let words = reference.as_local_ref().and_then(|reference| reference.counted_words());
        let words = words.expect("its memory was just made");
        words[0].store(mark::<HeldKey>(p.vm), Relaxed);
        words[1].store(key.len() as u64, Relaxed);
        for (word, bytes) in words[2..].iter().zip(key.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        Ok(reference)
    }

    fn bytes(p: &Process, reference: Term) -> Option<Vec<u8>> {
        let [head, length, words @ ..] = reference.as_local_ref()?.counted_words()? else {
            return None;
        };
        if head.load(Relaxed) != mark::<HeldKey>(p.vm) {
            return None;
        }
        let mut bytes: Vec<u8> =
            words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length.load(Relaxed) as usize);
        Some(bytes)
    }
}

/// `{Text, Offset}`.
fn explain(p: &mut Process, failure: Failure) -> BifResult {
    let Failure::Compile(error) = failure else { return Err(BifExit::BADARG) };
    let text = p.string(&error.message);
    Ok(p.tuple(&[text, Term::small(error.offset as i64)]))
}

/// An `re_pattern`: whether it is unicode, and the bytes that tell how to compile it.
fn parse_pattern<'a>(p: &Process, pattern: Term) -> Option<(bool, Cow<'a, [u8]>)> {
    let &[tag, captures, unicode, crlf, held] = pattern.as_tuple()?.elements() else {
        return None;
    };
    let valid = tag == Term::atom(atom!("re_pattern")) && captures.is_small() && crlf.is_small();
    let key = match held.as_bits().filter(|_| valid) {
        Some(bits) => bits.to_bytes(),
        None => HeldKey::bytes(p, held).filter(|_| valid)?.into(),
    };
    Some((unicode.as_small()? != 0, key))
}

#[bif("re:inspect/2")]
fn inspect(p: &mut Process, pattern: Term, item: Term) -> BifResult {
    let (_, key) = parse_pattern(p, pattern).ok_or(BifExit::BADARG)?;
    if item != Term::atom(atom!("namelist")) {
        return Err(BifExit::BADARG);
    }
    let kept = expressions(p).get(&key).map_err(|_| BifExit::BADARG)?;
    let mut names: Vec<&[u8]> = kept.code.names.iter().map(|(name, _)| name.as_slice()).collect();
    names.dedup();
    let names: Vec<Term> = names.into_iter().map(|name| p.binary(name)).collect();
    let names = p.list(&names);
    Ok(p.tuple(&[item, names]))
}

/// How a search begins.
#[derive(Clone, Copy)]
enum Start {
    /// It has not been checked yet that the subject is UTF-8, if it has to be: that takes turns.
    Unchecked(Caller),
    /// It has been checked.
    Checked,
    /// On a dirty scheduler, where it may take its time.
    Long { checked: bool },
}

#[bif("re:run/2")]
fn run_2(p: &mut Process, subject: Term, expression: Term) -> BifResult {
    run(p, subject, expression, Term::NIL, Start::Unchecked(Caller::Run2))
}

#[bif("re:run/3")]
fn run_3(p: &mut Process, subject: Term, expression: Term, options: Term) -> BifResult {
    run(p, subject, expression, options, Start::Unchecked(Caller::Run3))
}

#[bif("re:internal_run/4")]
fn internal_run(
    p: &mut Process,
    subject: Term,
    expression: Term,
    options: Term,
    first: Term,
) -> BifResult {
    let first = first.as_bool().ok_or(BifExit::BADARG)?;
    let start = if first { Start::Unchecked(Caller::InternalRun4) } else { Start::Checked };
    run(p, subject, expression, options, start)
}

/// A match that takes long, begun once more where that disturbs nobody.
#[bif("re:internal_long_run/4", dirty_cpu, unlisted)]
fn internal_long_run(
    p: &mut Process,
    subject: Term,
    expression: Term,
    options: Term,
    first: Term,
) -> BifResult {
    let first = first.as_bool().ok_or(BifExit::BADARG)?;
    run(p, subject, expression, options, Start::Long { checked: !first })
}

fn run(p: &mut Process, subject: Term, expression: Term, list: Term, start: Start) -> BifResult {
    let mut options = Options::parse(list)?;
    if options.export {
        return Err(BifExit::Caused(atom!("badopt")));
    }
    if matches!(start, Start::Checked | Start::Long { checked: true }) {
        options.matching |= match_options::NO_UTF_CHECK;
    }
    let as_lists = options.capture.is_some_and(|(_, kind)| kind == Term::atom(atom!("list")));
    let text = expression.as_tuple().is_none_or(|tuple| tuple.arity() != 5);
    let (unicode, key) = if text {
        if !expression.is_bitstring() && !expression.is_list() {
            return Err(BifExit::BADARG);
        }
        (options.unicode(), None)
    } else {
        if options.compile_only {
            return Err(BifExit::BADARG);
        }
        let (unicode, key) = parse_pattern(p, expression).ok_or(BifExit::BADARG)?;
        (unicode, Some(key))
    };
    // Characters are not bytes there: `re.erl` translates.
    if unicode
        && (text && !expression.is_bitstring()
            || !subject.is_bitstring()
            || as_lists && !options.global)
    {
        return trap(p, atom!("urun"), &[subject, expression, list]);
    }
    let key: Cow<'_, [u8]> = match key {
        // PCRE 8 takes others than the expression was compiled with.
        Some(key) if pcre::follows_pcre8() && options.has_line_ends() => {
            let mut spec = Spec::decode(&key).ok_or(BifExit::BADARG)?;
            spec.newline = options.newline.unwrap_or(spec.newline);
            spec.bsr = options.bsr.unwrap_or(spec.bsr);
            spec.encode().into()
        }
        Some(key) => key,
        None => options.spec(expression)?.encode().into(),
    };
    let kept = match expressions(p).get(&key) {
        Ok(kept) => kept,
        Err(failure) if options.report_errors && text => {
            let explained = explain(p, failure)?;
            let reason = p.tuple(&[Term::atom(atom!("compile")), explained]);
            return Ok(p.tuple(&[Term::atom(am::ERROR), reason]));
        }
        Err(_) => return Err(BifExit::BADARG),
    };
    if !text && !pcre::follows_pcre8() && !options.agrees_with(&kept.code) {
        return Err(BifExit::BADARG);
    }
    if options.global {
        return run_globally(
            p,
            subject,
            expression,
            list,
            &kept.code,
            text.then_some((&options, &*key)),
        );
    }
    run_once(p, &kept.code, options, start, [subject, expression, list])
}

/// All matches are collected by `re.erl`. `text`: what the expression was compiled from text with.
fn run_globally(
    p: &mut Process,
    subject: Term,
    expression: Term,
    list: Term,
    code: &Code,
    text: Option<(&Options, &[u8])>,
) -> BifResult {
    let Some((options, key)) = text else {
        let info = p.tuple(&[list, Term::bool(false)]);
        return trap(p, atom!("grun"), &[subject, expression, info]);
    };
    // Nobody sees it but `re.erl`.
    let held = p.binary(key);
    let pattern = pattern_tuple(p, code, options.unicode(), held);
    let info = p.tuple(&[list, Term::bool(options.compile_only), expression]);
    trap(p, atom!("grun"), &[subject, pattern, info])
}

fn run_once(
    p: &mut Process,
    code: &Code,
    mut options: Options,
    start: Start,
    args: [Term; 3],
) -> BifResult {
    let [subject, expression, list] = args;
    let wanted = options.capture.map_or(Ok(WantedCaptures::DEFAULT), |(values, kind)| {
        WantedCaptures::parse(values, kind, code)
    })?;
    if let Start::Unchecked(caller) = start
        && code.is_utf
        && subject.as_bits().is_some_and(Bits::is_binary)
    {
        subject::check(p, args, options.offset, code, caller)?;
        options.matching |= match_options::NO_UTF_CHECK;
    }
    let first = options.matching & match_options::NO_UTF_CHECK == 0;
    let args = &[subject, expression, list, Term::bool(first)];
    let bytes = match subject.as_bits() {
        Some(bits) if bits.is_binary() => bits.to_bytes(),
        _ => match iodata_bytes(subject, QUICK_SUBJECT_BYTES) {
            Ok(bytes) => bytes,
            Err(Stop::Long) => return trap(p, atom!("internal_long_run"), args),
            Err(Stop::BifExit(raise)) => return Err(raise),
        },
    };
    let mut limits = options.limits;
    let quick = !matches!(start, Start::Long { .. }) && !limits.exact;
    if quick {
        if bytes.len() > QUICK_SUBJECT_BYTES {
            return trap(p, atom!("internal_long_run"), args);
        }
        limits.matches = Some(QUICK_MATCH_LIMIT);
    }
    let limit = |p: &mut Process, name: &str| {
        if !options.report_errors {
            return Ok(Term::atom(atom!("nomatch")));
        }
        Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(name))]))
    };
    let outcome = code.run(&bytes, options.offset, options.matching, limits);
    let end = if let Outcome::Match(groups) = &outcome {
        groups[0].map_or(0, |(_, end)| end)
    } else {
        bytes.len()
    };
    p.bump_reductions(end.saturating_sub(options.offset) / BYTES_PER_REDUCTION + 1);
    match outcome {
        Outcome::Match(groups) => Ok(wanted.build(p, subject, &bytes, &groups)),
        Outcome::NoMatch => Ok(Term::atom(atom!("nomatch"))),
        Outcome::MatchLimit if quick => trap(p, atom!("internal_long_run"), args),
        Outcome::MatchLimit => limit(p, "match_limit"),
        Outcome::DepthLimit => limit(p, "match_limit_recursion"),
        Outcome::BadSubject => Err(BifExit::BADARG),
    }
}

#[derive(Clone, Copy)]
enum CaptureKind {
    Index,
    List,
    Binary,
}

/// What is to be told of a match.
struct WantedCaptures {
    kind: CaptureKind,
    groups: WantedGroups,
}

enum WantedGroups {
    None,
    /// All from this one on.
    From(usize),
    /// For each value the groups it may come from: of several with one name the first that took
    /// part counts.
    Listed(Vec<Vec<usize>>),
}

impl WantedCaptures {
    const DEFAULT: WantedCaptures =
        WantedCaptures { kind: CaptureKind::Index, groups: WantedGroups::From(0) };

    fn parse(values: Term, kind: Term, code: &Code) -> Result<WantedCaptures, BifExit> {
        let kind = match kind.as_atom().map(Atom::name) {
            Some("index") => CaptureKind::Index,
            Some("list") => CaptureKind::List,
            Some("binary") => CaptureKind::Binary,
            _ => return Err(BifExit::BADARG),
        };
        let groups = match values.as_atom().map(Atom::name) {
            Some("all") => WantedGroups::From(0),
            Some("all_but_first") => WantedGroups::From(1),
            Some("first") => WantedGroups::Listed(vec![vec![0]]),
            Some("none") => WantedGroups::None,
            Some("all_names") if code.names.is_empty() => WantedGroups::None,
            Some("all_names") => {
                let same_name = |a: &(Vec<u8>, u32), b: &(Vec<u8>, u32)| a.0 == b.0;
                WantedGroups::Listed(
                    code.names
                        .chunk_by(same_name)
                        .map(|same| same.iter().map(|name| name.1 as usize).collect())
                        .collect(),
                )
            }
            Some(_) => return Err(BifExit::BADARG),
            None if values.is_nil() => WantedGroups::None,
            None => WantedGroups::Listed(
                list_of(values)?
                    .into_iter()
                    .map(|value| groups_of(value, code))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(WantedCaptures { kind, groups })
    }

    fn build(&self, p: &mut Process, subject: Term, bytes: &[u8], groups: &[Group]) -> Term {
        let picked: Vec<Group> = match &self.groups {
            WantedGroups::None => return Term::atom(atom!("match")),
            WantedGroups::From(first) => groups.get(*first..).unwrap_or_default().to_vec(),
            WantedGroups::Listed(listed) => listed
                .iter()
                .map(|from| from.iter().find_map(|&group| *groups.get(group)?))
                .collect(),
        };
        let list = picked.into_iter().rev().fold(Term::NIL, |list, group| {
            let value = self.value(p, subject, bytes, group);
            p.cons(value, list)
        });
        p.tuple(&[Term::atom(atom!("match")), list])
    }

    fn value(&self, p: &mut Process, subject: Term, bytes: &[u8], group: Group) -> Term {
        // `\K` in a lookahead can put the end before the start.
        let (start, end) = group.unwrap_or_default();
        let part = bytes.get(start..end).unwrap_or_default();
        match self.kind {
            CaptureKind::Index if group.is_none() => p.tuple(&[Term::small(-1), Term::small(0)]),
            CaptureKind::Index => {
                p.tuple(&[Term::small(start as i64), Term::small(end as i64 - start as i64)])
            }
            CaptureKind::List => p.byte_list(part, Term::NIL),
            CaptureKind::Binary if subject.is_bitstring() => part_of(p, subject, start, part.len()),
            CaptureKind::Binary => p.binary(part),
        }
    }
}

/// The groups that a number or a name stands for.
fn groups_of(value: Term, code: &Code) -> Result<Vec<usize>, BifExit> {
    if let Some(number) = int_of(value) {
        return Ok(vec![number as usize]);
    }
    let name: Cow<'_, [u8]> = match value.as_atom() {
        Some(name) => name.name().as_bytes().into(),
        None if value.is_bitstring() || value.is_list() => iodata_all(value)?.into(),
        None => return Err(BifExit::BADARG),
    };
    Ok(code.names.iter().filter(|entry| entry.0 == *name).map(|entry| entry.1 as usize).collect())
}
