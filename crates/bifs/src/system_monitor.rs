//! `erlang:system_monitor/0,1,2`.

use crate::args::{list_of, pair_of};
use swarmrt_machine::vm::system_monitor::Limits;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom};

/// The smallest limits, as in OTP.
const LONG_MS_MIN: u64 = 1;
const LARGE_HEAP_WORDS_MIN: u64 = 16 << 10;

type Settings = Option<(u64, Limits)>;

/// `{Pid, Options}`, or `undefined`.
fn settings_term(p: &mut Process, settings: Settings) -> Term {
    let Some((pid, limits)) = settings else { return Term::atom(am::UNDEFINED) };
    let mut options = Vec::new();
    if limits.busy_dist_port {
        options.push(Term::atom(atom!("busy_dist_port")));
    }
    if limits.busy_port {
        options.push(Term::atom(atom!("busy_port")));
    }
    let numbers = [
        (atom!("large_heap"), limits.large_heap_words),
        (atom!("long_schedule"), limits.long_schedule_ms),
        (atom!("long_gc"), limits.long_gc_ms),
    ];
    for (name, limit) in numbers {
        if let Some(limit) = limit {
            let limit = p.uint(limit);
            options.push(p.tuple(&[Term::atom(name), limit]));
        }
    }
    let options = p.list(&options);
    p.tuple(&[Term::pid(pid), options])
}

fn limits_of(options: Term) -> Result<Limits, BifExit> {
    let mut limits = Limits::default();
    for option in list_of(options)? {
        if option == Term::atom(atom!("busy_port")) {
            limits.busy_port = true;
            continue;
        }
        if option == Term::atom(atom!("busy_dist_port")) {
            limits.busy_dist_port = true;
            continue;
        }
        let (name, limit) = pair_of(option).ok_or(BifExit::BADARG)?;
        let limit =
            limit.as_small().and_then(|limit| u64::try_from(limit).ok()).ok_or(BifExit::BADARG)?;
        match name.as_atom() {
            Some(name) if name == atom!("long_gc") => {
                limits.long_gc_ms = Some(limit.max(LONG_MS_MIN));
            }
            Some(name) if name == atom!("long_schedule") => {
                limits.long_schedule_ms = Some(limit.max(LONG_MS_MIN));
            }
            Some(name) if name == atom!("large_heap") => {
                limits.large_heap_words = Some(limit.max(LARGE_HEAP_WORDS_MIN));
            }
            _ => return Err(BifExit::BADARG),
        }
    }
    Ok(limits)
}

fn set(p: &mut Process, monitor: Term, options: Term) -> BifResult {
    let new = if monitor == Term::atom(am::UNDEFINED) {
        None
    } else {
        let pid = monitor
            .as_pid()
            .filter(|&pid| pid == p.id() || p.vm.processes.get(pid).is_some())
            .ok_or(BifExit::BADARG)?;
        let limits = limits_of(options)?;
        (limits != Limits::default()).then_some((pid, limits))
    };
    let before = p.vm.system_monitor.set(new);
    Ok(settings_term(p, before))
}

#[bif("erlang:system_monitor/0", until = 27)]
fn get(p: &mut Process) -> BifResult {
    let settings = p.vm.system_monitor.settings();
    Ok(settings_term(p, settings))
}

#[bif("erlang:system_monitor/1", until = 27)]
fn set_both(p: &mut Process, settings: Term) -> BifResult {
    if settings == Term::atom(am::UNDEFINED) {
        return set(p, settings, Term::NIL);
    }
    let (monitor, options) = pair_of(settings).ok_or(BifExit::BADARG)?;
    set(p, monitor, options)
}

#[bif("erlang:system_monitor/2", until = 27)]
fn set_2(p: &mut Process, monitor: Term, options: Term) -> BifResult {
    set(p, monitor, options)
}

/// Only the settings that are not a session's.
fn check_session(session: Term) -> Result<(), BifExit> {
    if session == Term::atom(atom!("legacy")) { Ok(()) } else { Err(BifExit::BADARG) }
}

#[bif("erts_internal:system_monitor/1", since = 28)]
fn get_of_session(p: &mut Process, session: Term) -> BifResult {
    check_session(session)?;
    get(p)
}

#[bif("erts_internal:system_monitor/3", since = 28)]
fn set_of_session(p: &mut Process, session: Term, monitor: Term, options: Term) -> BifResult {
    check_session(session)?;
    set(p, monitor, options)
}
