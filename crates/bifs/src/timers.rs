//! `erlang:start_timer`, `send_after`, `cancel_timer`, `read_timer`.

use parking_lot::Mutex;
use std::collections::HashMap;
use swarmrt_machine::links::{RefValue, Tag};
use swarmrt_machine::timer::TimerKey;
use swarmrt_machine::{BifResult, Process, Raise, Vm, bif, signal};
use swarmrt_term::{Alloc, FragmentHeap, Term, am, atom};

/// Timers that built-ins have started, by the number of their reference.
#[derive(Default)]
struct Started {
    keys: Mutex<HashMap<u64, TimerKey>>,
}

/// Whether `{abs, true}` is among the options.
fn is_absolute(options: Term) -> Option<bool> {
    let mut absolute = false;
    for option in options.list_to_vec()? {
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2)?;
        if pair.get(0) != Term::atom(atom!("abs")) {
            return None;
        }
        absolute = pair.get(1).as_bool()?;
    }
    Some(absolute)
}

fn start(p: &mut Process, time: Term, to: Term, message: Term, options: Term, wrap: bool) -> BifResult {
    let absolute = is_absolute(options).ok_or(Raise::BADARG)?;
    let time = time.as_small().ok_or(Raise::BADARG)?;
    if !(to.is_pid() || to.is_atom()) {
        return Err(Raise::BADARG);
    }
    let clock = &p.vm.clock;
    let nanoseconds = time.checked_mul(1_000_000).ok_or(Raise::BADARG)?;
    let at = if absolute {
        nanoseconds.saturating_sub(clock.start_ns()).max(0) as u64
    } else {
        if time < 0 {
            return Err(Raise::BADARG);
        }
        clock.since_start_ns() + nanoseconds as u64
    };
    let reference = p.vm.next_ref();
    let kept = Tag::new(message);
    let id = reference.id;
    let action = move |vm: &'static Vm| {
        vm.extension::<Started>().keys.lock().remove(&id);
        let _guard = swarmrt_machine::pin();
        let mut heap = FragmentHeap::new();
        let message = if wrap {
            let reference = reference.to_term(&mut heap);
            heap.tuple(&[Term::atom(am::TIMEOUT), reference, kept.term()])
        } else {
            kept.term()
        };
        let to = match to.as_atom() {
            Some(name) => vm.names.whereis(name),
            None => Some(to),
        };
        if let Some(pid) = to.and_then(Term::as_pid) {
            signal::send_message(vm, Term::NONE, pid, message);
        }
    };
    // Held over the start: the timer may be due at once, and takes its key out again.
    let mut keys = p.vm.extension::<Started>().keys.lock();
    let key = p.vm.timers.start(at, Box::new(action));
    keys.insert(id, key);
    drop(keys);
    Ok(reference.to_term(&mut p.heap))
}

#[bif("erlang:send_after/3")]
fn send_after_3(p: &mut Process, time: Term, to: Term, message: Term) -> BifResult {
    start(p, time, to, message, Term::NIL, false)
}
#[bif("erlang:send_after/4")]
fn send_after_4(p: &mut Process, time: Term, to: Term, message: Term, options: Term) -> BifResult {
    start(p, time, to, message, options, false)
}
#[bif("erlang:start_timer/3")]
fn start_timer_3(p: &mut Process, time: Term, to: Term, message: Term) -> BifResult {
    start(p, time, to, message, Term::NIL, true)
}
#[bif("erlang:start_timer/4")]
fn start_timer_4(p: &mut Process, time: Term, to: Term, message: Term, options: Term) -> BifResult {
    start(p, time, to, message, options, true)
}

/// Milliseconds left of a timer, rounded up; `false` when it is not running.
fn left(p: &Process, key: Option<TimerKey>) -> Term {
    match key {
        Some(key) => Term::small(key.at_ns.saturating_sub(p.vm.clock.since_start_ns()).div_ceil(1_000_000) as i64),
        None => Term::bool(false),
    }
}

struct TimerOptions {
    info: bool,
    asynchronous: bool,
}

fn timer_options(list: Term) -> Result<TimerOptions, Raise> {
    let mut options = TimerOptions { info: true, asynchronous: false };
    for option in list.list_to_vec().ok_or(Raise::BADARG)? {
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2).ok_or(Raise::BADARG)?;
        let on = pair.get(1).as_bool().ok_or(Raise::BADARG)?;
        match pair.get(0).as_atom() {
            Some(am::INFO) => options.info = on,
            Some(am::ASYNC) => options.asynchronous = on,
            _ => return Err(Raise::BADARG),
        }
    }
    Ok(options)
}

fn answer(p: &mut Process, reference: Term, result: Term, options: &TimerOptions, tag: &str) -> BifResult {
    if options.asynchronous {
        if options.info {
            let message = p.tuple(&[Term::atom(swarmrt_term::Atom::new(tag)), reference, result]);
            signal::send_message(p.vm, p.pid(), p.id(), message);
        }
        return Ok(Term::atom(am::OK));
    }
    Ok(if options.info { result } else { Term::atom(am::OK) })
}

fn cancel(p: &mut Process, reference: Term, options: &TimerOptions) -> BifResult {
    let id = RefValue::of(reference.as_local_ref().ok_or(Raise::BADARG)?).id;
    let key = p.vm.extension::<Started>().keys.lock().remove(&id);
    let result = left(p, key);
    let result = match key {
        Some(key) if p.vm.timers.cancel(key) => result,
        _ => Term::bool(false),
    };
    answer(p, reference, result, options, "cancel_timer")
}

#[bif("erlang:cancel_timer/1")]
fn cancel_timer_1(p: &mut Process, reference: Term) -> BifResult {
    cancel(p, reference, &TimerOptions { info: true, asynchronous: false })
}
#[bif("erlang:cancel_timer/2")]
fn cancel_timer_2(p: &mut Process, reference: Term, options: Term) -> BifResult {
    let options = timer_options(options)?;
    cancel(p, reference, &options)
}
#[bif("erlang:read_timer/1")]
fn read_timer_1(p: &mut Process, reference: Term) -> BifResult {
    read_timer_2(p, reference, Term::NIL)
}
#[bif("erlang:read_timer/2")]
fn read_timer_2(p: &mut Process, reference: Term, options: Term) -> BifResult {
    let options = timer_options(options)?;
    let id = RefValue::of(reference.as_local_ref().ok_or(Raise::BADARG)?).id;
    let key = p.vm.extension::<Started>().keys.lock().get(&id).copied();
    let result = left(p, key);
    answer(p, reference, result, &options, "read_timer")
}
