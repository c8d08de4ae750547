//! Terms as bytes and as text: the external format, funs, and printing for debugging.

use crate::args::{atom_of, binary_of, list_of, pair_of, size_of, text_of};
use crate::binary_module::part_of;
use crate::census;
use crate::long::{self, Stop, check, may_take_long};
use std::io::Write;
use swarmrt_machine::code::FunEntry;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::etf::{self, DecodeError, DecodeOptions, EncodeOptions};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Mfa, Term, am, atom, print, usage};

/// The zlib level of `compressed` without one.
const COMPRESSION_DEFAULT: u32 = 6;

fn encode_options(options: Term) -> Result<EncodeOptions, BifExit> {
    let mut result = EncodeOptions::default();
    for option in list_of(options)? {
        if let Some((key, value)) = pair_of(option) {
            let (key, value) = (atom_of(key)?, value.as_small().ok_or(BifExit::BADARG)?);
            if key == atom!("compressed") && (0..=9).contains(&value) {
                result.compressed = if value == 0 { None } else { Some(value as u32) };
            } else if key == atom!("minor_version") && (0..=2).contains(&value) {
                result.minor_version = value as u8;
            } else {
                return Err(BifExit::BADARG);
            }
        } else if option == Term::atom(atom!("compressed")) {
            result.compressed = Some(COMPRESSION_DEFAULT);
        } else if option == Term::atom(atom!("deterministic")) {
            result.deterministic = true;
        } else if option == Term::atom(atom!("local")) && release::current() >= Release::R26 {
            result.local = true;
        } else {
            return Err(BifExit::BADARG);
        }
    }
    Ok(result)
}

/// Bytes that are written or read of the external format at once.
const QUICK_ETF_BYTES: usize = 128 << 10;

/// The part of the memory that is left which the bytes may take: they are gathered in a buffer that
/// grows by doubling, and then copied.
const ROOM_SHARE: usize = 4;

/// How many bytes there is time and memory for, and what stops a term with more.
fn bytes_max() -> (usize, Stop) {
    if may_take_long() {
        (usage::room() / ROOM_SHARE, Stop::BifExit(BifExit::SYSTEM_LIMIT))
    } else {
        (QUICK_ETF_BYTES, Stop::Long)
    }
}

/// The bytes of a term.
fn encoded(p: &mut Process, term: Term, options: &EncodeOptions) -> Result<Vec<u8>, Stop> {
    let (limit, stop) = bytes_max();
    let bytes = etf::encode_within(term, options, limit).ok_or(stop)?;
    p.bump_reductions(bytes.len() / 100);
    Ok(bytes)
}

/// The bytes of a term as a list: each large binary, and what stands between them. All are parts of
/// one.
fn encoded_in_parts(p: &mut Process, term: Term, options: &EncodeOptions) -> Result<Term, Stop> {
    let (limit, stop) = bytes_max();
    let (bytes, places) = etf::encode_with_places(term, options, limit).ok_or(stop)?;
    p.bump_reductions(bytes.len() / 100);
    let whole = p.binary(&bytes);
    if places.is_empty() {
        return Ok(p.cons(whole, Term::NIL));
    }
    let (mut parts, mut end) = (Term::NIL, bytes.len());
    for place in places.iter().rev() {
        for part in [place.end..end, place.clone()] {
            if !part.is_empty() {
                let part = part_of(p, whole, part.start, part.len());
                parts = p.cons(part, parts);
            }
        }
        end = place.start;
    }
    let head = part_of(p, whole, 0, end);
    Ok(p.cons(head, parts))
}

#[bif("erlang:term_to_binary/1")]
fn term_to_binary(p: &mut Process, term: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("term_to_binary"), &[term], |p| {
        let bytes = encoded(p, term, &EncodeOptions::default())?;
        Ok(p.binary(&bytes))
    })
}

#[bif("erlang:term_to_binary/2")]
fn term_to_binary_2(p: &mut Process, term: Term, options: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("term_to_binary"), &[term, options], |p| {
        let bytes = encoded(p, term, &encode_options(options)?)?;
        Ok(p.binary(&bytes))
    })
}

#[bif("erlang:term_to_iovec/1")]
fn term_to_iovec(p: &mut Process, term: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("term_to_iovec"), &[term], |p| {
        encoded_in_parts(p, term, &EncodeOptions::default())
    })
}

#[bif("erlang:term_to_iovec/2")]
fn term_to_iovec_2(p: &mut Process, term: Term, options: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("term_to_iovec"), &[term, options], |p| {
        encoded_in_parts(p, term, &encode_options(options)?)
    })
}

#[bif("erlang:external_size/1")]
fn external_size(p: &mut Process, term: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("external_size"), &[term], |p| size_in_bytes(p, term, Term::NIL))
}

#[bif("erlang:external_size/2")]
fn external_size_2(p: &mut Process, term: Term, options: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("external_size"), &[term, options], |p| {
        size_in_bytes(p, term, options)
    })
}

fn size_in_bytes(p: &mut Process, term: Term, options: Term) -> Result<Term, Stop> {
    // Until OTP 26 it takes the version alone; later the options of term_to_binary/2, but
    // compresses nothing.
    let takes_all = release::current() >= Release::R27;
    let is_version = |option: Term| {
        let pair = pair_of(option).filter(|(key, _)| *key == Term::atom(atom!("minor_version")));
        pair.is_some_and(|(_, value)| {
            value.as_small().is_some_and(|value| (0..=1).contains(&value))
        })
    };
    if !takes_all && !list_of(options)?.into_iter().all(is_version) {
        return Err(BifExit::BADARG.into());
    }
    let result = encode_options(options)?;
    let head_len = if result.local { etf::LOCAL_HEAD } else { 0 };
    let (limit, stop) = bytes_max();
    let size = etf::external_size(term, &result, limit).ok_or(stop)?;
    p.bump_reductions(size / 100);
    Ok(Term::small((size + head_len) as i64))
}

#[bif("erlang:binary_to_term/1")]
fn binary_to_term(p: &mut Process, binary: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("binary_to_term"), &[binary], |p| {
        decoded(p, binary, DecodeOptions::default())
    })
}

#[bif("erlang:binary_to_term/2")]
fn binary_to_term_2(p: &mut Process, binary: Term, options: Term) -> BifResult {
    let mut wanted = DecodeOptions::default();
    let bad_option = || BifExit::Caused(atom!("badopt"));
    for option in options.list_to_vec().ok_or_else(bad_option)? {
        match option.as_atom() {
            Some(name) if name == atom!("safe") => wanted.safe = true,
            Some(name) if name == atom!("used") => wanted.used = true,
            _ => return Err(bad_option()),
        }
    }
    long::run(p, am::ERLANG, atom!("binary_to_term"), &[binary, options], |p| {
        decoded(p, binary, wanted)
    })
}

fn decoded(p: &mut Process, binary: Term, wanted: DecodeOptions) -> Result<Term, Stop> {
    let bytes = binary_of(binary)?;
    check(etf::plain_size(&bytes), QUICK_ETF_BYTES)?;
    p.bump_reductions(bytes.len() / 100);
    let vm = p.vm;
    let resolver = vm.code.term_resolver();
    let (term, used) = etf::decode(&bytes, p, &resolver, wanted).map_err(|error| match error {
        DecodeError::Malformed => BifExit::BADARG,
        DecodeError::SystemLimit => BifExit::SYSTEM_LIMIT,
    })?;
    Ok(if wanted.used { p.tuple(&[term, Term::small(used as i64)]) } else { term })
}

#[bif("erlang:fun_info/2")]
fn fun_info(p: &mut Process, fun: Term, item: Term) -> BifResult {
    let name = atom_of(item)?.name();
    let undefined = Term::atom(am::UNDEFINED);
    let value = if let Some(export) = fun.as_export_fun() {
        let mfa = *export.mfa();
        match name {
            "type" => Term::atom(atom!("external")),
            "module" => Term::atom(mfa.module),
            "name" => Term::atom(mfa.function),
            "arity" => Term::small(i64::from(mfa.arity)),
            "env" => Term::NIL,
            "pid" | "index" | "uniq" | "new_index" | "new_uniq" | "refc" => undefined,
            _ => return Err(BifExit::BADARG),
        }
    } else {
        let fun = fun.as_local_fun().ok_or(BifExit::BADARG)?;
        let identity = fun.identity();
        match name {
            "type" => Term::atom(atom!("local")),
            "module" => Term::atom(identity.module),
            "name" => p.vm.code.fun_name(identity).map_or(Term::NIL, Term::atom),
            "arity" => Term::small(i64::from(fun.arity())),
            "env" => p.list(fun.free()),
            "pid" => fun.creator().to_term(p),
            "index" => Term::small(i64::from(identity.old_index)),
            "uniq" => Term::small(i64::from(identity.old_uniq)),
            "new_index" => Term::small(i64::from(identity.index)),
            "new_uniq" => p.binary(&identity.uniq),
            "refc" if release::current() < Release::R26 => {
                let funs = census::funs(p, fun.entry_ptr())?;
                let own = usize::from(!FunEntry::of(fun.entry_ptr()).entry().is_null());
                Term::small((funs + own) as i64)
            }
            "refc" if release::current() >= Release::R29 => Term::small(1),
            // The list of entries has it, what all funs of the module's code share holds it, and
            // so does each fun that came into a table or out of the external format.
            "refc" => {
                let own = census::own_holders(p, fun.entry_ptr())?;
                let is_loaded = !FunEntry::of(fun.entry_ptr()).entry().is_null();
                Term::small((1 + usize::from(is_loaded) + own) as i64)
            }
            _ => return Err(BifExit::BADARG),
        }
    };
    Ok(p.tuple(&[item, value]))
}

#[bif("erlang:fun_to_list/1")]
fn fun_to_list(p: &mut Process, fun: Term) -> BifResult {
    if !fun.is_fun() {
        return Err(BifExit::BADARG);
    }
    let text = print::print(fun);
    Ok(p.byte_list(&text, Term::NIL))
}

#[bif("erlang:is_builtin/3")]
fn is_builtin(p: &mut Process, module: Term, function: Term, arity: Term) -> BifResult {
    let (module, function) = (atom_of(module)?, atom_of(function)?);
    if !arity.is_small() {
        return Err(BifExit::BADARG);
    }
    let Ok(arity) = size_of(arity) else { return Ok(Term::bool(false)) };
    // Those that are instructions in OTP are in no list.
    let is_instruction = module == am::ERLANG
        && (function == am::APPLY && matches!(arity, 2 | 3)
            || function == atom!("yield") && arity == 0);
    let is_listed = |arity| {
        p.vm.bifs
            .number(Mfa { module, function, arity })
            .is_some_and(|number| p.vm.bifs.get(number).listed)
    };
    Ok(Term::bool(is_instruction || u32::try_from(arity).is_ok_and(is_listed)))
}

/// What cannot be written is lost, as in OTP.
fn write_to(mut out: impl Write, text: &[u8]) {
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Writes a term as `erlang:display/1` does.
pub(crate) fn write_line(term: Term) {
    let mut line = print::print(term);
    line.extend_from_slice(LINE_END);
    write_to(std::io::stdout().lock(), &line);
}

/// What ends the lines that built-ins write, wherever they go, as in OTP.
const LINE_END: &[u8] = b"\r\n";

#[bif("erlang:display/1")]
fn display(_p: &mut Process, term: Term) -> BifResult {
    write_line(term);
    Ok(Term::bool(true))
}

#[bif("erlang:display_string/1", until = 26)]
fn display_string(_p: &mut Process, text: Term) -> BifResult {
    write_to(std::io::stderr().lock(), text_of(text).ok_or(BifExit::BADARG)?.as_bytes());
    Ok(Term::bool(true))
}

#[bif("erlang:display_nl/0", until = 26)]
fn display_nl(_p: &mut Process) -> BifResult {
    write_to(std::io::stderr().lock(), LINE_END);
    Ok(Term::bool(true))
}

#[bif("erlang:display_string/2", since = 26)]
fn display_string_2(_p: &mut Process, device: Term, text: Term) -> BifResult {
    let device = device.as_atom().ok_or(BifExit::BADARG)?;
    let bytes = match binary_of(text) {
        Ok(bytes) => bytes.to_vec(),
        Err(_) => text_of(text).ok_or(BifExit::BADARG)?.into_bytes(),
    };
    match device.name() {
        "stdout" => write_to(std::io::stdout().lock(), &bytes),
        "stderr" => write_to(std::io::stderr().lock(), &bytes),
        _ => return Err(BifExit::BADARG),
    }
    Ok(Term::bool(true))
}

/// `Limit` counts as in [`print::print_limited`]; `undefined` is none.
#[bif("erts_internal:term_to_string/2", since = 26)]
fn term_to_string(p: &mut Process, term: Term, limit: Term) -> BifResult {
    let limit = match limit.as_small() {
        Some(limit) if limit >= 0 => limit,
        None if limit == Term::atom(am::UNDEFINED) => i64::MAX,
        _ => return Err(BifExit::BADARG),
    };
    Ok(p.byte_list(&print::print_limited(term, limit), Term::NIL))
}

#[bif("erts_debug:same/2")]
fn same(_p: &mut Process, a: Term, b: Term) -> BifResult {
    Ok(Term::bool(a == b))
}

#[bif("erts_debug:copy_shared/2")]
fn copy_shared(p: &mut Process, term: Term, _options: Term) -> BifResult {
    Ok(swarmrt_heap::copy_term(term, p))
}
