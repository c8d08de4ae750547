//! Numbers: arithmetic as functions, conversions between integers, floats and text.

use crate::args::{atom_of, binary_of, byte_list_of, pair_of};
use crate::long::{self, Stop, check, list_length};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::bigint::{self, ArithError, ParseError};
use swarmrt_term::float::{self, Format};
use swarmrt_term::{Alloc, Term, am, atom};

/// The bases in which integers are written.
const BASES: std::ops::RangeInclusive<i64> = 2..=36;
/// Digits after the point when nothing is asked for.
const SCIENTIFIC_DEFAULT: i64 = 20;

fn arith_error(error: ArithError) -> BifExit {
    match error {
        ArithError::BadArith => BifExit::BADARITH,
        ArithError::SystemLimit => BifExit::SYSTEM_LIMIT,
    }
}

/// A number as a float, if it is in range.
pub(crate) fn to_float(term: Term) -> Option<f64> {
    bigint::to_f64(term)
}

macro_rules! arithmetic {
    ($($name:literal $function:ident $of:path, $is_product:literal;)*) => {$(
        #[bif($name, guard)]
        fn $function(p: &mut Process, a: Term, b: Term) -> BifResult {
            let result = $of(p, a, b).map_err(arith_error)?;
            p.count_digits(a, b, result, $is_product);
            Ok(result)
        }
    )*};
}

arithmetic! {
    "erlang:+/2" plus bigint::add, false;
    "erlang:-/2" minus bigint::sub, false;
    "erlang:*/2" times bigint::mul, true;
    "erlang://2" divide bigint::float_div, false;
    "erlang:div/2" div bigint::div, true;
    "erlang:rem/2" rem bigint::rem, true;
    "erlang:band/2" band bigint::band, false;
    "erlang:bor/2" bor bigint::bor, false;
    "erlang:bxor/2" bxor bigint::bxor, false;
    "erlang:bsl/2" bsl bigint::bsl, false;
    "erlang:bsr/2" bsr bigint::bsr, false;
}

#[bif("erlang:bnot/1", guard)]
fn bnot(p: &mut Process, a: Term) -> BifResult {
    let result = bigint::bnot(p, a).map_err(arith_error)?;
    p.count_digits(a, a, result, false);
    Ok(result)
}

#[bif("erlang:-/1", guard)]
fn negate(p: &mut Process, a: Term) -> BifResult {
    let result = bigint::negate(p, a).map_err(arith_error)?;
    p.count_digits(a, a, result, false);
    Ok(result)
}

#[bif("erlang:abs/1", guard)]
fn abs(p: &mut Process, number: Term) -> BifResult {
    bigint::abs(p, number).map_err(|_| BifExit::BADARG)
}

#[bif("erlang:float/1", guard)]
fn float_1(p: &mut Process, number: Term) -> BifResult {
    let value = to_float(number).ok_or(BifExit::BADARG)?;
    Ok(p.float(value))
}

#[bif("erlang:trunc/1", guard)]
fn trunc(p: &mut Process, number: Term) -> BifResult {
    bigint::trunc(p, number).ok_or(BifExit::BADARG)
}

#[bif("erlang:round/1", guard)]
fn round(p: &mut Process, number: Term) -> BifResult {
    bigint::round(p, number).ok_or(BifExit::BADARG)
}

#[bif("erlang:floor/1", guard)]
fn floor(p: &mut Process, number: Term) -> BifResult {
    bigint::floor(p, number).ok_or(BifExit::BADARG)
}

#[bif("erlang:ceil/1", guard)]
fn ceil(p: &mut Process, number: Term) -> BifResult {
    bigint::ceil(p, number).ok_or(BifExit::BADARG)
}

fn base_of(base: Term) -> Result<u32, BifExit> {
    base.as_small()
        .filter(|base| BASES.contains(base))
        .map(|base| base as u32)
        .ok_or(BifExit::BADARG)
}

/// Digits of a number that are converted at once: the time grows with their square.
const QUICK_DIGITS: usize = 4_000;

fn integer_text(p: &mut Process, number: Term, base: u32) -> Result<String, Stop> {
    if !number.is_integer() {
        return Err(BifExit::BADARG.into());
    }
    check(number.as_big().map_or(0, |big| big.digits().len() * 19), QUICK_DIGITS)?;
    let text = bigint::to_string_radix(number, base);
    p.bump_reductions(text.len() / 20);
    Ok(text)
}

#[bif("erlang:integer_to_list/1")]
fn integer_to_list(p: &mut Process, number: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("integer_to_list"), &[number], |p| {
        let text = integer_text(p, number, 10)?;
        Ok(p.string(&text))
    })
}

#[bif("erlang:integer_to_list/2")]
fn integer_to_list_2(p: &mut Process, number: Term, base: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("integer_to_list"), &[number, base], |p| {
        let text = integer_text(p, number, base_of(base)?)?;
        Ok(p.string(&text))
    })
}

#[bif("erlang:integer_to_binary/1")]
fn integer_to_binary(p: &mut Process, number: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("integer_to_binary"), &[number], |p| {
        let text = integer_text(p, number, 10)?;
        Ok(p.binary(text.as_bytes()))
    })
}

#[bif("erlang:integer_to_binary/2")]
fn integer_to_binary_2(p: &mut Process, number: Term, base: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("integer_to_binary"), &[number, base], |p| {
        let text = integer_text(p, number, base_of(base)?)?;
        Ok(p.binary(text.as_bytes()))
    })
}

fn parse_integer(p: &mut Process, text: &[u8], base: u32) -> BifResult {
    p.bump_reductions(text.len() / 20);
    bigint::parse_integer(p, text, base).map_err(|error| match error {
        ParseError::NotAnInteger => BifExit::BADARG,
        ParseError::SystemLimit => BifExit::SYSTEM_LIMIT,
    })
}

#[bif("erlang:list_to_integer/1", until = 26)]
fn list_to_integer(p: &mut Process, list: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("list_to_integer"), &[list], |p| integer_of_list(p, list, 10))
}

fn integer_of_list(p: &mut Process, list: Term, base: u32) -> Result<Term, Stop> {
    list_length(list)?;
    let text = byte_list_of(list).ok_or(BifExit::BADARG)?;
    check(text.len(), QUICK_DIGITS)?;
    Ok(parse_integer(p, &text, base)?)
}

#[bif("erlang:list_to_integer/2", until = 26)]
fn list_to_integer_2(p: &mut Process, list: Term, base: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("list_to_integer"), &[list, base], |p| {
        integer_of_list(p, list, base_of(base)?)
    })
}

#[bif("erlang:binary_to_integer/1", until = 26)]
fn binary_to_integer(p: &mut Process, binary: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("binary_to_integer"), &[binary], |p| {
        integer_of_binary(p, binary, 10)
    })
}

fn integer_of_binary(p: &mut Process, binary: Term, base: u32) -> Result<Term, Stop> {
    let text = binary_of(binary)?;
    check(text.len(), QUICK_DIGITS)?;
    Ok(parse_integer(p, &text, base)?)
}

#[bif("erlang:binary_to_integer/2", until = 26)]
fn binary_to_integer_2(p: &mut Process, binary: Term, base: Term) -> BifResult {
    long::run(p, am::ERLANG, atom!("binary_to_integer"), &[binary, base], |p| {
        integer_of_binary(p, binary, base_of(base)?)
    })
}

/// An integer, or an atom that says why there is none.
#[bif("erts_internal:binary_to_integer/2", since = 26)]
fn internal_binary_to_integer(p: &mut Process, binary: Term, base: Term) -> BifResult {
    let number =
        long::run(p, atom!("erts_internal"), atom!("binary_to_integer"), &[binary, base], |p| {
            integer_of_binary(p, binary, base_of(base)?)
        });
    reason_instead(number)
}

/// The integer at the front of a list and what follows it, or an atom that says why there is none.
#[bif("erts_internal:list_to_integer/2", since = 26)]
fn internal_list_to_integer(p: &mut Process, list: Term, base: Term) -> BifResult {
    let Ok(base) = base_of(base) else { return Ok(Term::atom(am::BADARG)) };
    if !list.is_list() {
        return Ok(Term::atom(atom!("not_a_list")));
    }
    let is_digit = |byte: u8| char::from(byte).is_digit(base);
    let (text, rests) = leading(list, |byte| is_digit(byte) || matches!(byte, b'+' | b'-'));
    let sign = sign_len(&text);
    let digits = text[sign..].iter().take_while(|&&byte| is_digit(byte)).count();
    if digits == 0 {
        return Ok(Term::atom(atom!("no_integer")));
    }
    let end = sign + digits;
    match parse_integer(p, &text[..end], base) {
        Ok(number) => Ok(p.tuple(&[number, rests[end]])),
        failed => reason_instead(failed),
    }
}

fn reason_instead(number: BifResult) -> BifResult {
    match number {
        // What `erlang` then finds to be too large itself.
        Err(BifExit::Error(reason)) if reason == Term::atom(am::SYSTEM_LIMIT) => {
            Ok(Term::atom(atom!("big")))
        }
        Err(BifExit::Error(reason)) => Ok(reason),
        number => number,
    }
}

/// What `string:list_to_integer/1` and `string:list_to_float/1` answer when there is no number.
fn no_number(p: &mut Process, why: swarmrt_term::Atom) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(why)]))
}

/// The characters that a number could be made of at the front of a list, and what follows each.
fn leading(list: Term, accept: impl Fn(u8) -> bool) -> (Vec<u8>, Vec<Term>) {
    let (mut text, mut rests) = (Vec::new(), vec![list]);
    let mut rest = list;
    while let Some(cell) = rest.as_cons()
        && let Some(byte) = cell.head().as_small().and_then(|code| u8::try_from(code).ok())
        && accept(byte)
    {
        text.push(byte);
        rest = cell.tail();
        rests.push(rest);
    }
    (text, rests)
}

fn sign_len(text: &[u8]) -> usize {
    usize::from(matches!(text.first(), Some(b'+' | b'-')))
}

fn digits_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[bif("string:list_to_integer/1", until = 26)]
fn string_list_to_integer(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return no_number(p, atom!("not_a_list"));
    }
    let (text, rests) = leading(list, |byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
    let sign = sign_len(&text);
    let digits = digits_len(&text[sign..]);
    if digits == 0 {
        return no_number(p, atom!("no_integer"));
    }
    let number = parse_integer(p, &text[..sign + digits], 10)?;
    Ok(p.tuple(&[number, rests[sign + digits]]))
}

#[bif("string:list_to_float/1")]
fn string_list_to_float(p: &mut Process, list: Term) -> BifResult {
    if !list.is_list() {
        return no_number(p, atom!("not_a_list"));
    }
    let (text, rests) = leading(list, |byte| {
        byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b',' | b'e' | b'E')
    });
    let sign = sign_len(&text);
    let whole = digits_len(&text[sign..]);
    let mut end = sign + whole;
    // A decimal comma is as good as a point.
    let fraction = text
        .get(end)
        .filter(|&&byte| matches!(byte, b'.' | b','))
        .map_or(0, |_| digits_len(&text[end + 1..]));
    if whole == 0 || fraction == 0 {
        return no_number(p, atom!("no_float"));
    }
    end += 1 + fraction;
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let exponent_sign = sign_len(&text[end + 1..]);
        let exponent = digits_len(&text[end + 1 + exponent_sign..]);
        if exponent > 0 {
            end += 1 + exponent_sign + exponent;
        }
    }
    match float::parse(&text[..end]) {
        Some(value) => {
            let value = p.float(value);
            Ok(p.tuple(&[value, rests[end]]))
        }
        None => no_number(p, atom!("no_float")),
    }
}

#[bif("erlang:list_to_float/1")]
fn list_to_float(p: &mut Process, list: Term) -> BifResult {
    let text = byte_list_of(list).ok_or(BifExit::BADARG)?;
    let value = float::parse(&text).ok_or(BifExit::BADARG)?;
    Ok(p.float(value))
}

#[bif("erlang:binary_to_float/1")]
fn binary_to_float(p: &mut Process, binary: Term) -> BifResult {
    let value = float::parse(&binary_of(binary)?).ok_or(BifExit::BADARG)?;
    Ok(p.float(value))
}

fn float_text(number: Term, options: Term) -> Result<String, BifExit> {
    let value = number.as_float().ok_or(BifExit::BADARG)?;
    let mut format = Format::Scientific(SCIENTIFIC_DEFAULT);
    let mut trimmed = false;
    let mut left = options;
    while let Some(cell) = left.as_cons() {
        let option = cell.head();
        left = cell.tail();
        if let Some((key, digits)) = pair_of(option) {
            let (key, digits) = (atom_of(key)?, digits.as_small().ok_or(BifExit::BADARG)?);
            format = if key == atom!("decimals") {
                Format::Decimals { digits, compact: false }
            } else if key == atom!("scientific") {
                Format::Scientific(digits)
            } else {
                return Err(BifExit::BADARG);
            };
        } else if option == Term::atom(atom!("compact")) {
            trimmed = true;
        } else if option == Term::atom(atom!("short")) {
            format = Format::Short;
        } else {
            return Err(BifExit::BADARG);
        }
    }
    if !left.is_nil() {
        return Err(BifExit::BADARG);
    }
    if let Format::Decimals { compact, .. } = &mut format {
        *compact = trimmed;
    }
    float::format(value, format).ok_or(BifExit::BADARG)
}

#[bif("erlang:float_to_list/1")]
fn float_to_list(p: &mut Process, number: Term) -> BifResult {
    float_to_list_2(p, number, Term::NIL)
}

#[bif("erlang:float_to_list/2")]
fn float_to_list_2(p: &mut Process, number: Term, options: Term) -> BifResult {
    let text = float_text(number, options)?;
    Ok(p.string(&text))
}

#[bif("erlang:float_to_binary/1")]
fn float_to_binary(p: &mut Process, number: Term) -> BifResult {
    float_to_binary_2(p, number, Term::NIL)
}

#[bif("erlang:float_to_binary/2")]
fn float_to_binary_2(p: &mut Process, number: Term, options: Term) -> BifResult {
    let text = float_text(number, options)?;
    Ok(p.binary(text.as_bytes()))
}
