//! Clocks and calendar.

use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Release, Term, am, atom, bigint};

/// Ticks of `os:perf_counter/0` a second.
const PERF_COUNTER_UNIT: i64 = 1_000_000_000;

/// Nanoseconds converted to a unit: one of OTP's atoms, or parts a second. Rounds towards minus
/// infinity.
pub fn convert(p: &mut Process, nanoseconds: i64, unit: Term) -> BifResult {
    let per_second: i128 = match unit.as_atom() {
        Some(am::SECOND | am::SECONDS) => 1,
        Some(am::MILLISECOND | am::MILLI_SECONDS) => 1_000,
        Some(am::MICROSECOND | am::MICRO_SECONDS) => 1_000_000,
        Some(am::NANOSECOND | am::NANO_SECONDS | am::NATIVE) => 1_000_000_000,
        Some(unit) if unit == atom!("perf_counter") => i128::from(PERF_COUNTER_UNIT),
        Some(_) => return Err(BifExit::BADARG),
        None if unit.as_big().is_some_and(|big| !big.is_negative()) => {
            return convert_to_large(p, nanoseconds, unit);
        }
        None => i128::from(unit.as_small().filter(|&unit| unit > 0).ok_or(BifExit::BADARG)?),
    };
    let value = (i128::from(nanoseconds) * per_second).div_euclid(1_000_000_000);
    let negative = value < 0;
    let magnitude = value.unsigned_abs();
    Ok(p.big(negative, &[magnitude as u64, (magnitude >> 64) as u64]))
}

/// [`convert`] for a unit of more parts a second than a small integer can say.
fn convert_to_large(p: &mut Process, nanoseconds: i64, unit: Term) -> BifResult {
    let limit = |_| BifExit::SYSTEM_LIMIT;
    let second = Term::small(1_000_000_000);
    let time = p.int(nanoseconds);
    let product = bigint::mul(p, time, unit).map_err(limit)?;
    if nanoseconds >= 0 {
        return bigint::div(p, product, second).map_err(limit);
    }
    // Rounds down, where division rounds towards zero.
    let product = bigint::sub(p, product, Term::small(999_999_999)).map_err(limit)?;
    bigint::div(p, product, second).map_err(limit)
}

#[bif("erlang:monotonic_time/0")]
fn monotonic_time_0(p: &mut Process) -> BifResult {
    let now = p.vm.clock.monotonic_ns();
    Ok(p.int(now))
}
#[bif("erlang:monotonic_time/1")]
fn monotonic_time_1(p: &mut Process, unit: Term) -> BifResult {
    let now = p.vm.clock.monotonic_ns();
    convert(p, now, unit)
}
#[bif("erlang:system_time/0")]
fn system_time_0(p: &mut Process) -> BifResult {
    let now = p.vm.clock.system_ns();
    p.vm.clock.tell_change(p.vm);
    Ok(p.int(now))
}
#[bif("erlang:system_time/1")]
fn system_time_1(p: &mut Process, unit: Term) -> BifResult {
    let now = p.vm.clock.system_ns();
    p.vm.clock.tell_change(p.vm);
    convert(p, now, unit)
}
#[bif("erlang:time_offset/0")]
fn time_offset_0(p: &mut Process) -> BifResult {
    let offset = p.vm.clock.offset_ns();
    p.vm.clock.tell_change(p.vm);
    Ok(p.int(offset))
}
#[bif("erlang:time_offset/1")]
fn time_offset_1(p: &mut Process, unit: Term) -> BifResult {
    let offset = p.vm.clock.offset_ns();
    p.vm.clock.tell_change(p.vm);
    convert(p, offset, unit)
}
#[bif("os:system_time/0")]
fn os_system_time_0(p: &mut Process) -> BifResult {
    Ok(p.int(p.vm.world.os_time_ns()))
}
#[bif("os:system_time/1")]
fn os_system_time_1(p: &mut Process, unit: Term) -> BifResult {
    convert(p, p.vm.world.os_time_ns(), unit)
}
#[bif("os:perf_counter/0")]
fn perf_counter(p: &mut Process) -> BifResult {
    let now = p.vm.clock.since_start_ns();
    Ok(p.int(now as i64))
}
#[bif("erts_internal:perf_counter_unit/0")]
fn perf_counter_unit(_p: &mut Process) -> BifResult {
    Ok(Term::small(PERF_COUNTER_UNIT))
}
#[bif("erts_internal:time_unit/0")]
fn time_unit(_p: &mut Process) -> BifResult {
    Ok(Term::small(1_000_000_000))
}

fn timestamp_term(p: &mut Process, nanoseconds: i64) -> Term {
    let microseconds = nanoseconds / 1000;
    let seconds = microseconds / 1_000_000;
    p.tuple(&[
        Term::small(seconds / 1_000_000),
        Term::small(seconds % 1_000_000),
        Term::small(microseconds % 1_000_000),
    ])
}

#[bif("erlang:timestamp/0")]
fn timestamp(p: &mut Process) -> BifResult {
    let now = p.vm.clock.system_ns();
    p.vm.clock.tell_change(p.vm);
    Ok(timestamp_term(p, now))
}
#[bif("os:timestamp/0")]
fn os_timestamp(p: &mut Process) -> BifResult {
    Ok(timestamp_term(p, p.vm.world.os_time_ns()))
}

#[bif("erlang:now/0")]
fn now(p: &mut Process) -> BifResult {
    let now_us = p.vm.clock.unique_us();
    p.vm.clock.tell_change(p.vm);
    Ok(timestamp_term(p, now_us * 1000))
}

fn date_time(p: &mut Process, tm: &libc::tm) -> (Term, Term) {
    let small = |value: i32| Term::small(i64::from(value));
    let date = p.tuple(&[small(tm.tm_year + 1900), small(tm.tm_mon + 1), small(tm.tm_mday)]);
    let time = p.tuple(&[small(tm.tm_hour), small(tm.tm_min), small(tm.tm_sec)]);
    (date, time)
}

fn broken_down(seconds: i64, local: bool) -> libc::tm {
    // SAFETY: a `tm` of zeros is valid, and both functions only write to it.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if local {
            libc::localtime_r(&raw const seconds, &raw mut tm);
        } else {
            libc::gmtime_r(&raw const seconds, &raw mut tm);
        }
        tm
    }
}

fn now_seconds(p: &Process) -> i64 {
    p.vm.world.os_time_ns() / 1_000_000_000
}

#[bif("erlang:localtime/0")]
fn localtime(p: &mut Process) -> BifResult {
    let (date, time) = date_time(p, &broken_down(now_seconds(p), true));
    Ok(p.tuple(&[date, time]))
}
#[bif("erlang:universaltime/0")]
fn universaltime(p: &mut Process) -> BifResult {
    let (date, time) = date_time(p, &broken_down(now_seconds(p), false));
    Ok(p.tuple(&[date, time]))
}
#[bif("erlang:date/0")]
fn date(p: &mut Process) -> BifResult {
    Ok(date_time(p, &broken_down(now_seconds(p), true)).0)
}
#[bif("erlang:time/0")]
fn time(p: &mut Process) -> BifResult {
    Ok(date_time(p, &broken_down(now_seconds(p), true)).1)
}

/// {{Year, Month, Day}, {Hour, Minute, Second}} when they are a date and a time.
fn parse_date_time(term: Term) -> Option<libc::tm> {
    let triple = |term: Term| -> Option<[i32; 3]> {
        let tuple = term.as_tuple().filter(|tuple| tuple.arity() == 3)?;
        let number =
            |index: usize| tuple.get(index).as_small().and_then(|value| i32::try_from(value).ok());
        Some([number(0)?, number(1)?, number(2)?])
    };
    let pair = term.as_tuple().filter(|pair| pair.arity() == 2)?;
    let [year, month, day] = triple(pair.get(0))?;
    let [hour, minute, second] = triple(pair.get(1))?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=12).contains(&month) || !(1..=days[month as usize - 1]).contains(&day) {
        return None;
    }
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        return None;
    }
    // SAFETY: a `tm` of zeros is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    (tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec) =
        (year - 1900, month - 1, day, hour, minute, second);
    Some(tm)
}

/// The first years that OTP converts: of universal time to seconds, and between universal and local
/// time.
const UNIVERSAL_YEAR_MIN: i32 = 1600;
const LOCAL_YEAR_MIN: i32 = 1902;

/// Year, month and day of a day counted from 1970-01-01. Divisions round towards zero: as in OTP,
/// what comes before March of the year 0 is a day off.
fn gregorian(days: i64) -> (i64, i64, i64) {
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH: i64 = 719_468;
    let days = days + EPOCH;
    // Years begin in March here.
    let before = |year: i64| 365 * year + year / 4 - year / 100 + year / 400;
    let mut year = (10_000 * days + 14_780) / 3_652_425;
    if days < before(year) {
        year -= 1;
    }
    let of_year = days - before(year);
    let month = (100 * of_year + 52) / 3_060;
    (year + (month + 2) / 12, (month + 2) % 12 + 1, of_year - (month * 306 + 5) / 10 + 1)
}

/// Seconds since 1970 as a date and a time.
fn universal(p: &mut Process, seconds: i64) -> Term {
    let (year, month, day) = gregorian(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let date = p.tuple(&[Term::small(year), Term::small(month), Term::small(day)]);
    let time = p.tuple(&[second / 3600, second / 60 % 60, second % 60].map(Term::small));
    p.tuple(&[date, time])
}

/// Whether daylight saving time has ever been used where this machine is.
fn has_daylight_saving() -> bool {
    // `tzset` and what it sets, by POSIX.
    unsafe extern "C" {
        fn tzset();
        static daylight: libc::c_int;
    }
    // SAFETY: `tzset` has set the variable, and sets it to the same each time.
    unsafe {
        tzset();
        (&raw const daylight).read() != 0
    }
}

#[bif("erlang:localtime_to_universaltime/2")]
fn localtime_to_universaltime(p: &mut Process, local: Term, dst: Term) -> BifResult {
    let mut tm = parse_date_time(local)
        .filter(|tm| tm.tm_year >= LOCAL_YEAR_MIN - 1900)
        .ok_or(BifExit::BADARG)?;
    tm.tm_isdst = match dst.as_atom() {
        Some(am::TRUE) => 1,
        Some(am::FALSE) => 0,
        Some(am::UNDEFINED) => -1,
        _ => return Err(BifExit::BADARG),
    };
    // Before OTP 29 an hour was taken off, as the C library does.
    if p.vm.release() >= Release::R29 && tm.tm_isdst > 0 && !has_daylight_saving() {
        tm.tm_isdst = 0;
    }
    // SAFETY: `mktime` normalises the fields of a valid `tm`.
    let seconds = unsafe { libc::mktime(&raw mut tm) };
    Ok(universal(p, seconds))
}

#[bif("erlang:universaltime_to_localtime/1")]
fn universaltime_to_localtime(p: &mut Process, universal: Term) -> BifResult {
    let mut tm = parse_date_time(universal)
        .filter(|tm| tm.tm_year >= LOCAL_YEAR_MIN - 1900)
        .ok_or(BifExit::BADARG)?;
    // SAFETY: `timegm` normalises the fields of a valid `tm`.
    let seconds = unsafe { libc::timegm(&raw mut tm) };
    let (date, time) = date_time(p, &broken_down(seconds, true));
    Ok(p.tuple(&[date, time]))
}

#[bif("erlang:universaltime_to_posixtime/1")]
fn universaltime_to_posixtime(_p: &mut Process, universal: Term) -> BifResult {
    let mut tm = parse_date_time(universal)
        .filter(|tm| tm.tm_year >= UNIVERSAL_YEAR_MIN - 1900)
        .ok_or(BifExit::BADARG)?;
    // SAFETY: `timegm` normalises the fields of a valid `tm`.
    Ok(Term::small(unsafe { libc::timegm(&raw mut tm) }))
}

#[bif("erlang:posixtime_to_universaltime/1")]
fn posixtime_to_universaltime(p: &mut Process, seconds: Term) -> BifResult {
    let seconds = seconds.as_small().ok_or(BifExit::BADARG)?;
    Ok(universal(p, seconds))
}
