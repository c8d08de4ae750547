//! Time and unique integers.

use crate::env::{Env, vm};
use std::ffi::c_int;
use swarmrt_term::{Alloc, Term};

/// `ERL_NIF_TIME_ERROR`.
const ERROR: i64 = i64::MIN;

/// `ErlNifTimeUnit`: parts of a second.
fn per_second(unit: c_int) -> Option<i128> {
    [1, 1_000, 1_000_000, 1_000_000_000].get(usize::try_from(unit).ok()?).copied()
}

fn in_unit(nanoseconds: i64, unit: c_int) -> i64 {
    enif_convert_time_unit(nanoseconds, 3, unit)
}

/// `erlang:monotonic_time/1`; `ERL_NIF_TIME_ERROR` for an unknown unit.
#[unsafe(no_mangle)]
pub extern "C" fn enif_monotonic_time(unit: c_int) -> i64 {
    in_unit(vm().clock.monotonic_ns(), unit)
}

/// `erlang:time_offset/1`; `ERL_NIF_TIME_ERROR` for an unknown unit.
#[unsafe(no_mangle)]
pub extern "C" fn enif_time_offset(unit: c_int) -> i64 {
    in_unit(vm().clock.offset_ns(), unit)
}

/// Converts a time, rounding down; `ERL_NIF_TIME_ERROR` for an unknown unit or where the result is
/// too large.
#[unsafe(no_mangle)]
pub extern "C" fn enif_convert_time_unit(value: i64, from: c_int, to: c_int) -> i64 {
    let (Some(from), Some(to)) = (per_second(from), per_second(to)) else { return ERROR };
    i64::try_from((i128::from(value) * to).div_euclid(from)).unwrap_or(ERROR)
}

/// As `erlang:now/0`: later than any before.
#[unsafe(no_mangle)]
pub extern "C" fn enif_now_time(env: &mut Env) -> Term {
    in_parts(env, vm().clock.unique_us())
}

fn in_parts(env: &mut Env, microseconds: i64) -> Term {
    let (seconds, micro) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    env.tuple(&[
        Term::small(seconds.div_euclid(1_000_000)),
        Term::small(seconds.rem_euclid(1_000_000)),
        Term::small(micro),
    ])
}

/// The processor's time that this program has used, in the form of `erlang:now/0`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_cpu_time(env: &mut Env) -> Term {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the address is that of a place for the answer.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return env.badarg();
    }
    in_parts(env, time.tv_sec * 1_000_000 + time.tv_nsec / 1_000)
}

/// `ErlNifUniqueInteger`: 1 positive, 2 monotonic.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_unique_integer(env: &mut Env, properties: c_int) -> Term {
    vm().unique_integers.make(env, properties & 1 != 0, properties & 2 != 0)
}
