//! Process flags and group leaders.

use super::returning::when_sent;
use super::spawn::scheduler_number;
use super::{TRUE, ask, ask_as, bad_option, is_alive};
use crate::system_info::heap_words;
use std::sync::atomic::Ordering;
use swarmrt_heap::copy_term;
use swarmrt_machine::process::links::Tag;
use swarmrt_machine::process::saved_calls::SAVED_CALLS_MAX;
use swarmrt_machine::process::{MaxHeapSize, Priority};
use swarmrt_machine::signal::remote::{How, RemotePid, RemoteSignal};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::node::own_pid;
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom, map};

/// A limit as given; what it does not say is as for the whole machine.
pub fn max_heap_size(vm: &Vm, term: Term) -> Option<MaxHeapSize> {
    let mut limit = default_max_heap_size(vm);
    if let Some(words) = term.as_small() {
        limit.words = usize::try_from(words).ok()?;
        return Some(limit);
    }
    if !term.is_map() {
        return None;
    }
    limit.words = usize::try_from(map::get(term, Term::atom(am::SIZE))?.as_small()?).ok()?;
    if let Some(kill) = map::get(term, Term::atom(am::KILL)) {
        limit.kill = kill.as_bool()?;
    }
    if let Some(log) = map::get(term, Term::atom(am::ERROR_LOGGER)) {
        limit.error_logger = log.as_bool()?;
    }
    let shared = map::get(term, Term::atom(atom!("include_shared_binaries")));
    if let Some(shared) = shared.filter(|_| vm.release() >= Release::R26) {
        limit.shared_binaries = shared.as_bool()?;
    }
    Some(limit)
}

#[bif("erlang:group_leader/0")]
fn group_leader(p: &mut Process) -> BifResult {
    Ok(p.group_leader)
}

#[bif("erts_internal:group_leader/2")]
fn set_group_leader_2(p: &mut Process, leader: Term, pid: Term) -> BifResult {
    when_sent(p, |p| set_group_leader(p, leader, pid))
}

#[bif("erts_internal:group_leader/3")]
fn set_group_leader_3(p: &mut Process, leader: Term, pid: Term, _reference: Term) -> BifResult {
    when_sent(p, |p| set_group_leader(p, leader, pid))
}

fn set_group_leader(p: &mut Process, leader: Term, pid: Term) -> BifResult {
    if !leader.is_any_pid() || !pid.is_any_pid() {
        return Ok(Term::atom(am::BADARG));
    }
    let Some(to) = own_pid(pid) else {
        if let Some(to) = RemotePid::of(pid).filter(|to| to.node != p.vm.node().name) {
            let signal = RemoteSignal::GroupLeader { to, leader };
            p.signal_remote(pid, to.node, &signal, How::ORDINARY);
        }
        return Ok(TRUE);
    };
    if to == p.id() {
        p.group_leader = leader;
        return Ok(TRUE);
    }
    let send =
        if leader.as_pid().is_some() { signal::send_small_change } else { signal::send_change };
    let leader = Tag::new(leader);
    let set = move |process: &mut Process| {
        process.group_leader = copy_term(leader.term(), &mut process.heap);
        TRUE
    };
    ask_as(p, to, send, move |process, _| set(process), Term::atom(am::BADARG))
}

/// Sets a flag; the value before.
/// What `process_flag/2` knows.
const FLAGS: [&str; 13] = [
    "trap_exit",
    "priority",
    "error_handler",
    "min_heap_size",
    "min_bin_vheap_size",
    "fullsweep_after",
    "max_heap_size",
    "message_queue_data",
    "sensitive",
    "save_calls",
    "async_dist",
    "monitor_nodes",
    "scheduler",
];

fn set_flag(p: &mut Process, flag: Atom, value: Term) -> Option<Term> {
    let size = |value: Term| value.as_small().and_then(|size| u32::try_from(size).ok());
    Some(match flag.name() {
        "trap_exit" => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.trap_exit, on))
        }
        "priority" => {
            let priority = Priority::of(value.as_atom()?)?;
            Term::atom(p.set_priority(priority).atom())
        }
        "error_handler" => {
            let module = value.as_atom()?;
            Term::atom(std::mem::replace(&mut p.extra().error_handler, module))
        }
        "min_heap_size" => {
            let words = heap_words(value).ok()?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.min_heap_words, words)))
        }
        "min_bin_vheap_size" => {
            let words = heap_words(value).ok()?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.min_bin_vheap_words, words)))
        }
        "fullsweep_after" => {
            let count = size(value)?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.fullsweep_after, count)))
        }
        "max_heap_size" => {
            let limit = max_heap_size(p.vm, value).filter(|limit| {
                limit.words == 0 || limit.words >= p.heap.min_heap_words as usize
            })?;
            let before = p.set_max_heap_size(limit);
            max_heap_term(p, before)
        }
        "message_queue_data" => {
            let place =
                value.as_atom().filter(|place| matches!(place.name(), "on_heap" | "off_heap"))?;
            Term::atom(std::mem::replace(&mut p.extra().message_queue_data, place))
        }
        "sensitive" => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.extra().sensitive, on))
        }
        "save_calls" => Term::small(p.set_save_calls(calls_to_save(value)?) as i64),
        "async_dist" if p.vm.release() >= Release::R26 => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.extra().async_dist, on))
        }
        "monitor_nodes" => monitor_nodes(p, value, Term::NIL)?,
        _ => return None,
    })
}

/// Subscribes to changes of the set of connected nodes, or ends subscriptions; how many there were.
fn monitor_nodes(p: &mut Process, on: Term, options: Term) -> Option<Term> {
    let on = on.as_bool()?;
    let before = p.vm.remote()?.monitor_nodes(p, on, options)?;
    Some(Term::small(i64::from(before)))
}

/// The limit for processes for which nobody has set one.
pub fn default_max_heap_size(vm: &Vm) -> MaxHeapSize {
    vm.default_max_heap_size().unwrap_or(MaxHeapSize::NONE)
}

/// A limit as a map on the process's heap, as the machine's release shows it.
pub fn max_heap_term(p: &mut Process, limit: MaxHeapSize) -> Term {
    let release = p.vm.release();
    max_heap_map(&mut p.heap, limit, release)
}

/// A limit as a map, as that release shows it.
pub fn max_heap_map<A: Alloc + ?Sized>(heap: &mut A, limit: MaxHeapSize, release: Release) -> Term {
    let pairs = [
        (Term::atom(am::ERROR_LOGGER), Term::bool(limit.error_logger)),
        (Term::atom(am::KILL), Term::bool(limit.kill)),
        (Term::atom(am::SIZE), Term::small(limit.words as i64)),
        (Term::atom(atom!("include_shared_binaries")), Term::bool(limit.shared_binaries)),
    ];
    let known = if release >= Release::R26 { 4 } else { 3 };
    map::from_pairs(heap, &pairs[..known])
}

#[bif("erlang:process_flag/2")]
fn process_flag_2(p: &mut Process, flag: Term, value: Term) -> BifResult {
    // `{monitor_nodes, Options}` is net_kernel's way to follow nodes.
    if let Some(pair) = flag.as_tuple()
        && pair.arity() == 2
        && pair.get(0) == Term::atom(atom!("monitor_nodes"))
    {
        return monitor_nodes(p, value, pair.get(1)).ok_or(BifExit::BADARG);
    }
    let flag = flag.as_atom().filter(|flag| FLAGS.contains(&flag.name())).ok_or_else(bad_option)?;
    if flag == atom!("scheduler") {
        return bind(p, value);
    }
    if flag == atom!("save_calls") {
        return save_calls(p, value);
    }
    set_flag(p, flag, value).ok_or(BifExit::BADARG)
}

/// How many calls are to be saved, if that is good.
fn calls_to_save(value: Term) -> Option<usize> {
    value.as_small()?.try_into().ok().filter(|&count: &usize| count <= SAVED_CALLS_MAX)
}

/// Sets the calling process's flag `save_calls`. It goes on in another turn, which heeds it.
fn save_calls(p: &mut Process, value: Term) -> BifResult {
    if let Some(before) = p.bif_state.take() {
        return Ok(*before.downcast::<Term>().expect("a built-in finds its own state"));
    }
    let before = set_flag(p, atom!("save_calls"), value).ok_or(BifExit::BADARG)?;
    p.bif_state = Some(Box::new(before));
    Err(BifExit::Yield)
}

/// Binds the process to a scheduler (0: to none), and has it go on there.
fn bind(p: &mut Process, value: Term) -> BifResult {
    if let Some(before) = p.bif_state.take() {
        let before = *before.downcast::<u32>().expect("a built-in finds its own state");
        return Ok(Term::small(i64::from(before)));
    }
    let number = scheduler_number(p.vm, value).ok_or(BifExit::BADARG)?;
    let before = p.shared().bound.swap(number, Ordering::Relaxed);
    p.bif_state = Some(Box::new(before));
    Err(BifExit::Yield)
}

#[bif("erts_internal:process_flag/3")]
fn process_flag_3(p: &mut Process, pid: Term, flag: Term, value: Term) -> BifResult {
    let Some(pid) = own_pid(pid) else { return Ok(Term::atom(atom!("badtype"))) };
    if flag != Term::atom(atom!("save_calls")) {
        return Ok(Term::atom(if is_alive(p.vm, pid) { am::BADARG } else { atom!("badtype") }));
    }
    let Some(count) = calls_to_save(value) else { return Ok(Term::atom(am::BADARG)) };
    if pid == p.id() {
        return save_calls(p, value);
    }
    let set = move |process: &mut Process| Term::small(process.set_save_calls(count) as i64);
    ask(p, pid, set, Term::atom(am::BADARG))
}
