//! `erlang:start_timer`, `send_after`, `cancel_timer`, `read_timer`.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_machine::process::few::Few;
use swarmrt_machine::process::links::{RefValue, Tag};
use swarmrt_machine::schedule::timer::{TimerAction, TimerKey};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::node::own_pid;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// A timer that a built-in has started.
#[derive(Clone, Copy)]
struct Entry {
    key: TimerKey,
    /// The process that it is for, if that is not found by name when the timer is due.
    pid: Option<u64>,
    to: Receiver,
    /// The action has it, which is dropped only when this entry has been taken out.
    message: Term,
}

/// What is left of a timer that waits, and what it does then.
struct Paused {
    left_ns: u64,
    action: TimerAction,
}

const PARTS: usize = 64;

/// A part of the processes that timers are for: how many there are, and the timers of each.
type Part = (AtomicUsize, Mutex<HashMap<u64, Few<()>>>);

/// Timers that built-ins have started, by the number of their reference.
struct Started {
    entries: Mutex<HashMap<u64, Entry>>,
    /// The timers for suspended processes, which wait (OTP 29 and later), and how many such
    /// processes there are.
    paused: (AtomicUsize, Mutex<HashMap<u64, Vec<Paused>>>),
    /// The timers for each process, with how many processes a part knows: most processes end
    /// without one.
    of_pids: [Part; PARTS],
}

impl Default for Started {
    fn default() -> Self {
        Started {
            entries: Mutex::default(),
            paused: Default::default(),
            of_pids: std::array::from_fn(|_| Default::default()),
        }
    }
}

impl Started {
    /// Changes the list of a process's timers; an empty one is dropped.
    fn change(&self, pid: u64, change: impl FnOnce(&mut Few<()>)) {
        let (count, part) = &self.of_pids[pid as usize % PARTS];
        let mut part = part.lock();
        let timers = part.entry(pid).or_default();
        change(timers);
        if timers.is_empty() {
            part.remove(&pid);
        }
        count.store(part.len(), Ordering::Release);
    }
    fn remove(&self, id: u64) -> Option<Entry> {
        let entry = self.entries.lock().remove(&id)?;
        if let Some(pid) = entry.pid {
            self.change(pid, |timers| {
                timers.remove(id);
            });
        }
        Some(entry)
    }
    /// Takes out all timers for a process.
    fn take_all(&self, pid: u64) -> Vec<Entry> {
        let (count, part) = &self.of_pids[pid as usize % PARTS];
        if count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let timers = {
            let mut part = part.lock();
            let timers = part.remove(&pid);
            count.store(part.len(), Ordering::Release);
            timers.unwrap_or_default()
        };
        let mut entries = self.entries.lock();
        timers.keys().filter_map(|id| entries.remove(&id)).collect()
    }
    /// The timers that have waited for a process, which is suspended no more.
    fn end_pause(&self, pid: u64) -> Vec<Paused> {
        let (count, paused) = &self.paused;
        if count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut paused = paused.lock();
        let waiting = paused.remove(&pid).unwrap_or_default();
        count.store(paused.len(), Ordering::Release);
        waiting
    }
    /// Keeps the action for a process that is suspended, or gives it back.
    fn pause(&self, pid: u64, left_ns: u64, action: TimerAction) -> Option<TimerAction> {
        let (count, paused) = &self.paused;
        if count.load(Ordering::Acquire) == 0 {
            return Some(action);
        }
        match paused.lock().get_mut(&pid) {
            None => Some(action),
            Some(waiting) => {
                waiting.push(Paused { left_ns, action });
                None
            }
        }
    }
    /// The timer, unless it is for a process that has ended.
    fn get(&self, vm: &'static Vm, id: u64) -> Option<Entry> {
        let entry = *self.entries.lock().get(&id)?;
        entry.pid.is_none_or(|pid| is_alive(vm, pid)).then_some(entry)
    }
}

/// Bytes of the timers that built-ins have started, without their messages.
pub(crate) fn memory_bytes(p: &Process) -> usize {
    p.vm.extension::<Started>().entries.lock().len() * (size_of::<u64>() + size_of::<Entry>())
}

/// Visits the messages of all timers that wait, with whom they are for.
pub(crate) fn each_message(vm: &'static Vm, mut visit: impl FnMut(Receiver, Term)) {
    let entries = vm.extension::<Started>().entries.lock();
    for entry in entries.values().filter(|entry| entry.pid.is_none_or(|pid| is_alive(vm, pid))) {
        visit(entry.to, entry.message);
    }
}

fn is_alive(vm: &'static Vm, pid: u64) -> bool {
    vm.processes.get(pid).is_some_and(|cell| !cell.shared.incoming.is_closed())
}

/// Cancels the timers for a process that ends.
fn process_exits(p: &mut Process) {
    let started = p.vm.extension::<Started>();
    started.end_pause(p.id());
    for entry in started.take_all(p.id()) {
        p.vm.timers.cancel(entry.key);
    }
}

/// Has the timers for a process wait while it is suspended. As in OTP, nobody can read or cancel
/// them any more.
fn process_is_suspended(p: &mut Process, suspended: bool) {
    let started = p.vm.extension::<Started>();
    let now_ns = p.vm.clock.since_start_ns();
    if !suspended {
        for Paused { left_ns, action } in started.end_pause(p.id()) {
            p.vm.timers.start(now_ns + left_ns, action);
        }
        return;
    }
    let (count, paused) = &started.paused;
    let mut paused = paused.lock();
    let waiting = paused.entry(p.id()).or_default();
    for entry in started.take_all(p.id()) {
        if let Some(action) = p.vm.timers.take(entry.key) {
            waiting.push(Paused { left_ns: entry.key.at_ns.saturating_sub(now_ns), action });
        }
    }
    count.store(paused.len(), Ordering::Release);
}

/// Has timers cancelled when the processes end that they are for, and wait while those are
/// suspended.
pub fn register(vm: &'static Vm) {
    vm.add_exit_hook(process_exits);
    vm.add_suspend_hook(process_is_suspended);
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

/// The process that a timer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// By its number, which may be one that no process gets.
    Pid(u64),
    Name(Atom),
}

fn start(
    p: &mut Process,
    time: Term,
    to: Term,
    message: Term,
    options: Term,
    wrap: bool,
) -> BifResult {
    let absolute = is_absolute(options).ok_or_else(|| BifExit::Caused(atom!("badopt")))?;
    let wrong_time = || BifExit::Caused(atom!("time"));
    let time = time.as_small().ok_or_else(wrong_time)?;
    let clock = &p.vm.clock;
    let (start, end) = (i128::from(clock.start_ns()), i128::from(clock.end_ns()));
    let from = if absolute { 0 } else { i128::from(clock.monotonic_ns()) };
    let at = from + i128::from(time) * 1_000_000;
    if (!absolute && time < 0) || at < start || at > end {
        return Err(wrong_time());
    }
    let to = match (own_pid(to), to.as_atom()) {
        (Some(pid), _) => Receiver::Pid(pid),
        (None, Some(name)) => Receiver::Name(name),
        (None, None) => return Err(BifExit::BADARG),
    };
    let at = (at - start) as u64;
    let reference = p.vm.next_ref();
    let kept = Tag::new(message);
    let message = kept.term();
    let id = reference.id;
    let action = move |vm: &'static Vm| {
        vm.extension::<Started>().remove(id);
        let _guard = swarmrt_machine::pin();
        let mut heap = FragmentHeap::new();
        let message = if wrap {
            let reference = reference.to_term(&mut heap);
            heap.tuple(&[Term::atom(am::TIMEOUT), reference, kept.term()])
        } else {
            kept.term()
        };
        let pid = match to {
            Receiver::Pid(pid) => Some(pid),
            Receiver::Name(name) => vm.names.whereis(name).and_then(Term::as_pid),
        };
        if let Some(pid) = pid {
            signal::send_message(vm, Term::NONE, pid, message);
        }
    };
    let started = p.vm.extension::<Started>();
    let pid = match to {
        Receiver::Pid(pid) => Some(pid),
        Receiver::Name(_) => None,
    };
    let mut action: TimerAction = Box::new(action);
    if let Some(pid) = pid {
        let left_ns = at.saturating_sub(p.vm.clock.since_start_ns());
        match started.pause(pid, left_ns, action) {
            Some(back) => action = back,
            None => return Ok(reference.to_term(&mut p.heap)),
        }
        started.change(pid, |timers| {
            timers.insert(id, ());
        });
        // After it is in the list: a process that ends meanwhile finds it there.
        if !is_alive(p.vm, pid) {
            started.change(pid, |timers| {
                timers.remove(id);
            });
            return Ok(reference.to_term(&mut p.heap));
        }
    }
    // Held over the start: the timer may be due at once, and takes its entry out again.
    let mut entries = started.entries.lock();
    let key = p.vm.timers.start(at, action);
    entries.insert(id, Entry { key, pid, to, message });
    drop(entries);
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
fn left(p: &Process, entry: Option<Entry>) -> Term {
    match entry {
        Some(entry) => Term::small(
            entry.key.at_ns.saturating_sub(p.vm.clock.since_start_ns()).div_ceil(1_000_000) as i64,
        ),
        None => Term::bool(false),
    }
}

/// The number of a reference; one of another node has a number that no timer has.
fn number_of(reference: Term) -> Result<u64, BifExit> {
    match reference.as_local_ref() {
        Some(reference) => Ok(RefValue::of(reference).id),
        None if reference.is_reference() => Ok(u64::MAX),
        None => Err(BifExit::BADARG),
    }
}

struct TimerOptions {
    info: bool,
    asynchronous: bool,
}

fn timer_options(list: Term) -> Result<TimerOptions, BifExit> {
    let mut options = TimerOptions { info: true, asynchronous: false };
    for option in list.list_to_vec().ok_or(BifExit::BADARG)? {
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2).ok_or(BifExit::BADARG)?;
        let on = pair.get(1).as_bool().ok_or(BifExit::BADARG)?;
        match pair.get(0).as_atom() {
            Some(am::INFO) => options.info = on,
            Some(am::ASYNC) => options.asynchronous = on,
            _ => return Err(BifExit::BADARG),
        }
    }
    Ok(options)
}

fn answer(
    p: &mut Process,
    reference: Term,
    result: Term,
    options: &TimerOptions,
    tag: &str,
) -> BifResult {
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
    let id = number_of(reference)?;
    let started = p.vm.extension::<Started>();
    let running = started.get(p.vm, id);
    let removed = started.remove(id);
    let result = left(p, running);
    let result = match removed {
        Some(entry) if p.vm.timers.cancel(entry.key) => result,
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
    let id = number_of(reference)?;
    let running = p.vm.extension::<Started>().get(p.vm, id);
    let result = left(p, running);
    answer(p, reference, result, &options, "read_timer")
}
