//! Guard built-ins of `erlang`: type tests, comparison, booleans, and reading parts of terms.

use crate::args::{OTP_SMALL_MAX, badarg, index_of};
use std::cmp::Ordering;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{
    Alloc, Atom, NodeInfo, Record, Term, Tuple, am, compare, equal, equal_exact, map,
};

macro_rules! type_tests {
    ($($name:literal $function:ident $test:expr;)*) => {$(
        #[bif($name, guard)]
        fn $function(_p: &mut Process, term: Term) -> BifResult {
            let test: fn(Term) -> bool = $test;
            Ok(Term::bool(test(term)))
        }
    )*};
}

type_tests! {
    "erlang:is_atom/1" is_atom |term| term.is_atom();
    "erlang:is_boolean/1" is_boolean |term| term.as_bool().is_some();
    "erlang:is_list/1" is_list |term| term.is_list();
    "erlang:is_tuple/1" is_tuple |term| term.is_tuple();
    "erlang:is_float/1" is_float |term| term.is_float();
    "erlang:is_integer/1" is_integer |term| term.is_integer();
    "erlang:is_number/1" is_number |term| term.is_number();
    "erlang:is_pid/1" is_pid |term| term.is_any_pid();
    "erlang:is_port/1" is_port |term| term.is_any_port();
    "erlang:is_reference/1" is_reference |term| term.is_reference();
    "erlang:is_binary/1" is_binary |term| term.is_binary();
    "erlang:is_bitstring/1" is_bitstring |term| term.is_bitstring();
    "erlang:is_function/1" is_function |term| term.is_fun();
    "erlang:is_map/1" is_map |term| term.is_map();
}

#[bif("erlang:is_function/2", guard)]
fn is_function_2(_p: &mut Process, term: Term, arity: Term) -> BifResult {
    let wanted = match arity.as_small() {
        Some(arity) if arity >= 0 => arity as u64,
        None if arity.as_big().is_some_and(|big| !big.is_negative()) => u64::MAX,
        _ => return Err(BifExit::BADARG),
    };
    let actual = match (term.as_local_fun(), term.as_export_fun()) {
        (Some(fun), _) => fun.arity(),
        (_, Some(export)) => export.mfa().arity,
        _ => return Ok(Term::bool(false)),
    };
    Ok(Term::bool(u64::from(actual) == wanted))
}

/// `is_integer(Term, Low, High)`
#[bif("erlang:is_integer/3", guard, since = 29)]
fn is_integer_within(_p: &mut Process, term: Term, low: Term, high: Term) -> BifResult {
    if !low.is_integer() || !high.is_integer() {
        return Err(BifExit::BADARG);
    }
    Ok(Term::bool(term.is_integer() && compare(low, term).is_le() && compare(term, high).is_le()))
}

/// What the instruction `bs_add` computes, which compilers before OTP 25 write: the sum of two sizes of
/// parts of a binary, the second in units of so many bits or bytes.
#[bif("erts_internal:bs_add/3", guard, unlisted)]
fn bs_add(_p: &mut Process, a: Term, b: Term, unit: Term) -> BifResult {
    let failure = |reason: Atom| BifExit::WithoutTop(Term::atom(reason));
    let size = |term: Term| match (term.as_small(), term.as_big()) {
        (Some(size), _) if size >= 0 => Ok(size),
        (None, Some(big)) if !big.is_negative() => Err(failure(am::SYSTEM_LIMIT)),
        _ => Err(failure(am::BADARG)),
    };
    let (a, b, unit) = (size(a)?, size(b)?, size(unit)?);
    let sum = b.checked_mul(unit).and_then(|size| size.checked_add(a));
    sum.filter(|&sum| sum <= OTP_SMALL_MAX).map(Term::small).ok_or(failure(am::SYSTEM_LIMIT))
}

#[bif("erlang:is_record/2", guard)]
fn is_record_2(_p: &mut Process, term: Term, name: Term) -> BifResult {
    if !name.is_atom() {
        return Err(BifExit::BADARG);
    }
    let is_native = term.as_record().is_some_and(|record| record.name() == name);
    Ok(Term::bool(
        is_native || term.as_tuple().is_some_and(|tuple| tuple.arity() > 0 && tuple.get(0) == name),
    ))
}

#[bif("erlang:is_record/3", guard)]
fn is_record_3(_p: &mut Process, term: Term, name: Term, size: Term) -> BifResult {
    // Since OTP 29: a native record of a module and a name.
    if size.is_atom() && name.is_atom() && release::current() >= Release::R29 {
        let is_native = |record: Record| record.module() == name && record.name() == size;
        return Ok(Term::bool(term.as_record().is_some_and(is_native)));
    }
    // No tuple has a negative size, but it may be asked for.
    let size = size.as_small().filter(|_| name.is_atom()).ok_or(BifExit::BADARG)?;
    let is_such =
        |tuple: Tuple| tuple.arity() > 0 && tuple.arity() as i64 == size && tuple.get(0) == name;
    Ok(Term::bool(term.as_tuple().is_some_and(is_such)))
}

macro_rules! comparisons {
    ($($name:literal $function:ident $test:expr;)*) => {$(
        #[bif($name, guard)]
        fn $function(_p: &mut Process, a: Term, b: Term) -> BifResult {
            let test: fn(Term, Term) -> bool = $test;
            Ok(Term::bool(test(a, b)))
        }
    )*};
}

comparisons! {
    "erlang:=:=/2" exactly_equal equal_exact;
    "erlang:=/=/2" not_exactly_equal |a, b| !equal_exact(a, b);
    "erlang:==/2" is_equal equal;
    "erlang:/=/2" not_equal |a, b| !equal(a, b);
    "erlang:</2" less |a, b| compare(a, b) == Ordering::Less;
    "erlang:=</2" less_or_equal |a, b| compare(a, b) != Ordering::Greater;
    "erlang:>/2" greater |a, b| compare(a, b) == Ordering::Greater;
    "erlang:>=/2" greater_or_equal |a, b| compare(a, b) != Ordering::Less;
}

#[bif("erlang:max/2", guard, unlisted, until = 25)]
#[bif("erlang:max/2", guard, since = 26)]
fn max(_p: &mut Process, a: Term, b: Term) -> BifResult {
    Ok(if compare(a, b) == Ordering::Less { b } else { a })
}

#[bif("erlang:min/2", guard, unlisted, until = 25)]
#[bif("erlang:min/2", guard, since = 26)]
fn min(_p: &mut Process, a: Term, b: Term) -> BifResult {
    Ok(if compare(a, b) == Ordering::Greater { b } else { a })
}

#[bif("erlang:not/1", guard)]
fn not(_p: &mut Process, a: Term) -> BifResult {
    a.as_bool().map(|a| Term::bool(!a)).ok_or(BifExit::BADARG)
}

fn booleans(a: Term, b: Term, of: fn(bool, bool) -> bool) -> BifResult {
    Ok(Term::bool(of(a.as_bool().ok_or(BifExit::BADARG)?, b.as_bool().ok_or(BifExit::BADARG)?)))
}

#[bif("erlang:and/2", guard)]
fn and(_p: &mut Process, a: Term, b: Term) -> BifResult {
    booleans(a, b, |a, b| a & b)
}

#[bif("erlang:or/2", guard)]
fn or(_p: &mut Process, a: Term, b: Term) -> BifResult {
    booleans(a, b, |a, b| a | b)
}

#[bif("erlang:xor/2", guard)]
fn xor(_p: &mut Process, a: Term, b: Term) -> BifResult {
    booleans(a, b, |a, b| a ^ b)
}

#[bif("erlang:element/2", guard)]
fn element(_p: &mut Process, index: Term, tuple: Term) -> BifResult {
    let tuple = tuple.as_tuple().ok_or(BifExit::BADARG)?;
    Ok(tuple.get(index_of(index, tuple.arity())?))
}

#[bif("erlang:tuple_size/1", guard)]
fn tuple_size(_p: &mut Process, tuple: Term) -> BifResult {
    tuple.as_tuple().map(|tuple| Term::small(tuple.arity() as i64)).ok_or(BifExit::BADARG)
}

#[bif("erlang:hd/1", guard)]
fn hd(_p: &mut Process, list: Term) -> BifResult {
    list.as_cons().map(|cell| cell.head()).ok_or(BifExit::BADARG)
}

#[bif("erlang:tl/1", guard)]
fn tl(_p: &mut Process, list: Term) -> BifResult {
    list.as_cons().map(|cell| cell.tail()).ok_or(BifExit::BADARG)
}

#[bif("erlang:length/1", guard)]
fn length(p: &mut Process, list: Term) -> BifResult {
    let length = list.list_len().ok_or(BifExit::BADARG)?;
    p.bump_reductions(length / 100);
    Ok(Term::small(length as i64))
}

/// The bits of a bitstring, or of what is left of one that is being matched: from OTP 26 on, the
/// compiler asks for the size of a rest without making it a term.
fn bits_in(bits: Term) -> Result<usize, BifExit> {
    match bits.bitstring_bits() {
        Some(bits) => Ok(bits),
        None => {
            let context = bits.as_match_context().ok_or(BifExit::BADARG)?;
            Ok(context.end() - context.offset())
        }
    }
}

#[bif("erlang:bit_size/1", guard)]
fn bit_size(_p: &mut Process, bits: Term) -> BifResult {
    Ok(Term::small(bits_in(bits)? as i64))
}

#[bif("erlang:byte_size/1", guard)]
fn byte_size(_p: &mut Process, bits: Term) -> BifResult {
    Ok(Term::small(bits_in(bits)?.div_ceil(8) as i64))
}

#[bif("erlang:size/1", guard)]
fn size(_p: &mut Process, term: Term) -> BifResult {
    if let Some(tuple) = term.as_tuple() {
        return Ok(Term::small(tuple.arity() as i64));
    }
    // Whole bytes only, here.
    term.bitstring_bits().map(|bits| Term::small((bits / 8) as i64)).ok_or(BifExit::BADARG)
}

#[bif("erlang:map_size/1", guard)]
fn map_size(p: &mut Process, map: Term) -> BifResult {
    if map.is_map() { Ok(Term::small(map::size(map) as i64)) } else { Err(badmap(p, map)) }
}

#[bif("erlang:is_map_key/2", guard)]
fn is_map_key(p: &mut Process, key: Term, map: Term) -> BifResult {
    if map.is_map() { Ok(Term::bool(map::get(map, key).is_some())) } else { Err(badmap(p, map)) }
}

#[bif("erlang:map_get/2", guard)]
fn map_get(p: &mut Process, key: Term, map: Term) -> BifResult {
    if !map.is_map() {
        return Err(badmap(p, map));
    }
    map::get(map, key).ok_or_else(|| badkey(p, key))
}

/// `{badmap, Term}`.
pub(crate) fn badmap(p: &mut Process, term: Term) -> BifExit {
    BifExit::Error(p.tuple(&[Term::atom(am::BADMAP), term]))
}

/// `{badkey, Key}`.
pub(crate) fn badkey(p: &mut Process, key: Term) -> BifExit {
    BifExit::Error(p.tuple(&[Term::atom(am::BADKEY), key]))
}

#[bif("erlang:binary_part/3", guard)]
#[bif("binary:part/3")]
fn binary_part_3(p: &mut Process, binary: Term, position: Term, length: Term) -> BifResult {
    // Before OTP 27, bits after the last byte were looked past.
    let allows_odd = p.vm.release() < Release::R27;
    let bits = binary
        .bitstring_bits()
        .filter(|bits| allows_odd || bits.is_multiple_of(8))
        .ok_or(BifExit::BADARG)?;
    let (from, len) = part_range(bits / 8, position, length).ok_or(BifExit::BADARG)?;
    Ok(p.part(binary, from * 8, len * 8))
}

#[bif("erlang:binary_part/2", guard)]
#[bif("binary:part/2")]
fn binary_part_2(p: &mut Process, binary: Term, part: Term) -> BifResult {
    let pair = part.as_tuple().filter(|pair| pair.arity() == 2).ok_or(BifExit::BADARG)?;
    binary_part_3(p, binary, pair.get(0), pair.get(1))
}

/// A part given as position and length, where the length may be negative: start and size in bytes.
pub(crate) fn part_range(size: usize, position: Term, length: Term) -> Option<(usize, usize)> {
    let (position, length) = (position.as_small()?, length.as_small()?);
    let end = position.checked_add(length)?;
    let (from, to) = (position.min(end), position.max(end));
    (from >= 0 && to <= size as i64 && position <= size as i64)
        .then_some((from as usize, (to - from) as usize))
}

#[bif("erlang:node/0", guard)]
fn node_0(_p: &mut Process) -> BifResult {
    Ok(Term::atom(NodeInfo::this().name))
}

#[bif("erlang:node/1", guard)]
fn node_1(_p: &mut Process, term: Term) -> BifResult {
    if term.is_pid() || term.is_port() || term.as_local_ref().is_some() {
        return Ok(Term::atom(NodeInfo::this().name));
    }
    term.as_external().map(|external| Term::atom(external.node())).ok_or(BifExit::BADARG)
}

#[bif("erlang:self/0", guard)]
fn self_0(p: &mut Process) -> BifResult {
    Ok(p.pid())
}

#[bif("erlang:+/1", guard)]
fn plus_1(_p: &mut Process, a: Term) -> BifResult {
    if a.is_number() { Ok(a) } else { Err(BifExit::BADARITH) }
}

#[bif("erts_internal:cmp_term/2")]
fn cmp_term(_p: &mut Process, a: Term, b: Term) -> BifResult {
    Ok(Term::small(swarmrt_term::compare_exact(a, b) as i64))
}

#[bif("erts_internal:term_type/1")]
fn term_type(_p: &mut Process, term: Term) -> BifResult {
    use swarmrt_term::{Kind, Subtag, atom};
    let name = match term.kind() {
        // As OTP has it, whose small integers have two bits less.
        Kind::Small(value) if !(-(1 << 59)..1 << 59).contains(&value) => atom!("bignum"),
        Kind::Small(_) => atom!("fixnum"),
        Kind::Big(_) => atom!("bignum"),
        Kind::Float(_) => atom!("hfloat"),
        Kind::Atom(_) => atom!("atom"),
        Kind::Nil => am::NIL_ATOM,
        Kind::Cons(_) => am::LIST,
        Kind::Tuple(_) => atom!("tuple"),
        Kind::Record(_) => atom!("record"),
        Kind::FlatMap(_) => atom!("flatmap"),
        Kind::HashMap(_) => atom!("hashmap"),
        Kind::Bits(_) => match term.boxed_subtag() {
            Some(Subtag::SharedBin) => atom!("refc_binary"),
            Some(Subtag::SubBin) => atom!("sub_binary"),
            _ => atom!("heap_binary"),
        },
        Kind::Fun(_) => am::FUN,
        Kind::ExportFun(_) => atom!("export"),
        Kind::Ref(_) => atom!("reference"),
        Kind::ExternalRef(_) => atom!("external_reference"),
        Kind::Pid(_) => atom!("pid"),
        Kind::ExternalPid(_) => atom!("external_pid"),
        Kind::Port(_) => am::PORT,
        Kind::ExternalPort(_) => atom!("external_port"),
        Kind::MatchContext(_) | Kind::Special(_) => return badarg(),
    };
    Ok(Term::atom(name))
}
