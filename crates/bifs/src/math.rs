//! The functions of `math`.

use crate::numbers::to_float;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term};

/// The result as a float; one that is not finite is an error.
fn finite(p: &mut Process, value: f64) -> BifResult {
    if value.is_finite() { Ok(p.float(value)) } else { Err(BifExit::BADARITH) }
}

fn argument(term: Term) -> Result<f64, BifExit> {
    let out_of_range = if term.is_number() { BifExit::BADARITH } else { BifExit::BADARG };
    to_float(term).ok_or(out_of_range)
}

macro_rules! functions {
    ($($name:literal $function:ident $of:expr;)*) => {$(
        #[bif($name)]
        fn $function(p: &mut Process, x: Term) -> BifResult {
            let of: unsafe extern "C" fn(f64) -> f64 = $of;
            let x = argument(x)?;
            // SAFETY: a function of the C library on a plain number.
            let value = unsafe { of(x) };
            finite(p, value)
        }
    )*};
}

unsafe extern "C" {
    fn sin(x: f64) -> f64;
    fn cos(x: f64) -> f64;
    fn tan(x: f64) -> f64;
    fn sinh(x: f64) -> f64;
    fn cosh(x: f64) -> f64;
    fn tanh(x: f64) -> f64;
    fn asin(x: f64) -> f64;
    fn acos(x: f64) -> f64;
    fn atan(x: f64) -> f64;
    fn asinh(x: f64) -> f64;
    fn acosh(x: f64) -> f64;
    fn atanh(x: f64) -> f64;
    fn erf(x: f64) -> f64;
    fn erfc(x: f64) -> f64;
    fn exp(x: f64) -> f64;
    fn log(x: f64) -> f64;
    fn log10(x: f64) -> f64;
    fn log2(x: f64) -> f64;
    fn sqrt(x: f64) -> f64;
    fn floor(x: f64) -> f64;
    fn ceil(x: f64) -> f64;
    fn atan2(y: f64, x: f64) -> f64;
    fn pow(x: f64, y: f64) -> f64;
    fn fmod(x: f64, y: f64) -> f64;
}

functions! {
    "math:sin/1" math_sin sin;
    "math:cos/1" math_cos cos;
    "math:tan/1" math_tan tan;
    "math:sinh/1" math_sinh sinh;
    "math:cosh/1" math_cosh cosh;
    "math:tanh/1" math_tanh tanh;
    "math:asin/1" math_asin asin;
    "math:acos/1" math_acos acos;
    "math:atan/1" math_atan atan;
    "math:asinh/1" math_asinh asinh;
    "math:acosh/1" math_acosh acosh;
    "math:atanh/1" math_atanh atanh;
    "math:erf/1" math_erf erf;
    "math:erfc/1" math_erfc erfc;
    "math:exp/1" math_exp exp;
    "math:log/1" math_log log;
    "math:log10/1" math_log10 log10;
    "math:log2/1" math_log2 log2;
    "math:sqrt/1" math_sqrt sqrt;
    "math:floor/1" math_floor floor;
    "math:ceil/1" math_ceil ceil;
}

fn of_two(
    p: &mut Process,
    a: Term,
    b: Term,
    of: unsafe extern "C" fn(f64, f64) -> f64,
) -> BifResult {
    let (a, b) = (argument(a)?, argument(b)?);
    // SAFETY: a function of the C library on plain numbers.
    let value = unsafe { of(a, b) };
    finite(p, value)
}

#[bif("math:atan2/2")]
fn math_atan2(p: &mut Process, y: Term, x: Term) -> BifResult {
    of_two(p, y, x, atan2)
}

#[bif("math:pow/2")]
fn math_pow(p: &mut Process, base: Term, exponent: Term) -> BifResult {
    of_two(p, base, exponent, pow)
}

#[bif("math:fmod/2")]
fn math_fmod(p: &mut Process, a: Term, b: Term) -> BifResult {
    of_two(p, a, b, fmod)
}
