//! What test suites ask `erts_debug` for.

use crate::args::{atom_of, pair_of};
use crate::{atoms, census, persistent_term, process_info};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use swarmrt_heap::Fragment;
use swarmrt_machine::code::Export;
use swarmrt_machine::process::exception;
use swarmrt_machine::process::run_state;
use swarmrt_machine::schedule::blocking::Blocking;
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::signal::{self, Call};
use swarmrt_machine::vm::time::TimeWarpMode;
use swarmrt_machine::vm::unique::{self, UNIQUE_START};
use swarmrt_machine::vm::watched::WatchedDescriptors;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::atom::CACHE_PLACES;
use swarmrt_term::node::{pid_bits, port_number_bits};
use swarmrt_term::{
    Alloc, Atom, Bits, Mfa, Release, SharedBytes, Subtag, Term, am, atom, hash, map,
};

/// Whether the rest of `set_internal_state/2` may be used.
#[derive(Default)]
struct Available(AtomicBool);

/// The limits that say how far OTP's built-ins go before they take turns, as set last; 0 is the
/// default. What they limit runs to its end here, so they are only kept.
#[derive(Default)]
struct LoopLimits {
    binary: AtomicI64,
    unicode: AtomicI64,
    regex: AtomicI64,
}

fn check_available(p: &Process) -> Result<(), BifExit> {
    if p.vm.extension::<Available>().0.load(Ordering::Relaxed) {
        Ok(())
    } else {
        Err(BifExit::Error(Term::atom(am::UNDEF)))
    }
}

/// Sets a limit, and tells the one before.
fn set_loop_limit(
    p: &mut Process,
    limit: fn(&LoopLimits) -> &AtomicI64,
    value: Term,
    default: i64,
) -> BifResult {
    let value = if value == Term::atom(atom!("default")) {
        0
    } else {
        value.as_small().filter(|&value| value >= 0).ok_or(BifExit::BADARG)?
    };
    let before = limit(p.vm.extension::<LoopLimits>()).swap(value, Ordering::Relaxed);
    Ok(p.int(if before == 0 { default } else { before }))
}

/// The whole machine does nothing for so many milliseconds.
fn block(p: &mut Process, value: Term) -> BifResult {
    let ms = value.as_small().and_then(|ms| u64::try_from(ms).ok()).ok_or(BifExit::BADARG)?;
    let (schedulers, pid) = (&p.vm.schedulers, p.id());
    if p.bif_state.take().is_none() {
        schedulers.block(pid, Blocking::All);
    }
    if schedulers.wanted_online() > 1 && !schedulers.runs_alone() {
        p.bif_state = Some(Box::new(()));
        return Err(BifExit::Yield);
    }
    schedulers.freeze(Duration::from_millis(ms));
    schedulers.unblock(pid, Blocking::All);
    Ok(Term::bool(true))
}

fn collect_other(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    let collect: Call = Box::new(|_, process| {
        if let Some(process) = process {
            crate::process::collect_soon(process, true);
        }
    });
    if pid == p.id() {
        collect(p.vm, Some(p));
    } else {
        signal::send_call(p.vm, pid, collect);
    }
    Ok(Term::bool(true))
}

#[bif("erts_debug:set_internal_state/2")]
fn set_internal_state(p: &mut Process, what: Term, value: Term) -> BifResult {
    let what = atom_of(what)?.name();
    if what == "available_internal_state" {
        let on = value.as_bool().ok_or(BifExit::BADARG)?;
        let was_on = p.vm.extension::<Available>().0.swap(on, Ordering::Relaxed);
        if on && !was_on {
            let text = "Process ~w enabled access to the emulator internal state.~nNOTE: This is \
                        an erts internal test feature and should *only* be used by OTP \
                        test-suites.~n";
            let level = exception::warning_level(p.vm);
            exception::log_as(p.vm, level, p.pid(), p.group_leader, text, &[p.pid()]);
        }
        return Ok(Term::bool(was_on));
    }
    check_available(p)?;
    match what {
        "next_pid" | "next_port" => {
            let from = value.as_small().and_then(|from| u64::try_from(from).ok());
            let from = from.ok_or(BifExit::BADARG)?;
            let is_pid = what == "next_pid";
            // OTP's have more bits from OTP 26 on.
            let bits = if is_pid { pid_bits() } else { port_number_bits() };
            if from >> bits != 0 {
                return Err(BifExit::BADARG);
            }
            Ok(p.uint(next_number(p, is_pid, Some(from))))
        }
        "reds_left" => {
            p.reductions = value
                .as_small()
                .and_then(|left| i32::try_from(left).ok())
                .ok_or(BifExit::BADARG)?;
            Ok(Term::bool(true))
        }
        // For destructors of resources. Anything else is done at once, by processes that every
        // scheduler was to run next.
        "wait" => {
            deferred::settle();
            crate::process::wait_for_schedulers(p, Term::atom(am::OK))
        }
        // There is nothing to force.
        "ets_force_split" | "ets_debug_random_split_join" | "ets_force_trap" => {
            Ok(Term::atom(am::OK))
        }
        "binary_loop_limit" => set_loop_limit(p, |limits| &limits.binary, value, 0),
        "unicode_loop_limit" => set_loop_limit(p, |limits| &limits.unicode, value, 40_000),
        "re_loop_limit" => {
            let default = if p.vm.release() < Release::R28 { 40_000 } else { 64_000 };
            set_loop_limit(p, |limits| &limits.regex, value, default)
        }
        "code_mod_permission" | "code_write_permission" => {
            if value.as_bool().ok_or(BifExit::BADARG)? {
                p.keep_code_permission()?;
            } else {
                p.vm.give_back_code_permission();
            }
            Ok(Term::bool(true))
        }
        // The scheduler does nothing else meanwhile.
        "sleep" => {
            let ms =
                value.as_small().and_then(|ms| u64::try_from(ms).ok()).ok_or(BifExit::BADARG)?;
            std::thread::sleep(std::time::Duration::from_millis(ms));
            Ok(Term::bool(true))
        }
        "block" => block(p, value),
        // A halt with a crash dump, by a scheduler that does not come back from it.
        "broken_halt" => {
            crate::system::halt_with_dump(p.vm, swarmrt_term::print::display(value).to_string());
            loop {
                std::thread::park();
            }
        }
        // The term in a fragment of its own.
        "mbuf" => {
            let fragment = Fragment::copy_of(value);
            // SAFETY: the fragment was just made, and is given to the process.
            unsafe {
                let copy = (*fragment).root;
                p.heap.adopt(fragment);
                Ok(copy)
            }
        }
        "remove_dflags" => {
            let flags = value.as_small().and_then(|flags| u64::try_from(flags).ok());
            let remote = p.vm.remote().ok_or(BifExit::BADARG)?;
            if !remote.remove_flags(flags.ok_or(BifExit::BADARG)?) {
                return Err(BifExit::BADARG);
            }
            Ok(Term::atom(am::OK))
        }
        // Milliseconds; below 0: as without a test.
        "node_tab_delayed_delete" => {
            let ms = value.as_small().ok_or(BifExit::BADARG)?;
            if let Some(remote) = p.vm.remote() {
                let ms = u64::try_from(ms).ok();
                remote.keep_idle_nodes(ms.map(|ms| ms.saturating_mul(1_000_000)));
            }
            Ok(Term::bool(true))
        }
        "force_gc" => collect_other(p, value),
        // Whether collections that others ask for are done; what it was is told.
        "gc_state" => {
            let on = value.as_bool().ok_or(BifExit::BADARG)?;
            let was_off = std::mem::replace(&mut p.extra().defers_collections, !on);
            Ok(Term::bool(!was_off))
        }
        // No collection that others ask for from `start` until the tuple comes back. Here it is
        // whole: a heap always is between two instructions.
        "inconsistent_heap" => {
            let starts = value == Term::atom(atom!("start"));
            let deferred = std::mem::replace(&mut p.extra().defers_collections, starts);
            match (starts, deferred, value.as_tuple()) {
                (true, ..) => Ok(p.tuple(&[value])),
                (false, true, Some(_)) => Ok(Term::atom(am::OK)),
                _ => Err(BifExit::BADARG),
            }
        }
        "process_uniq_counter" => {
            p.mailbox.set_next_marker(low_bits(value).ok_or(BifExit::BADARG)? as u16);
            Ok(Term::atom(am::OK))
        }
        // The monotonic integer that was given out last, counted from the first.
        "unique_monotonic_integer_state" => {
            let last = low_bits(value);
            if let Some(last) = last {
                p.vm.unique_integers.set_last_monotonic(last);
            }
            Ok(Term::bool(last.is_some()))
        }
        "multizero_timeout_in_timeout" => {
            let ms = value.as_small().ok_or(BifExit::BADARG)?.max(0).cast_unsigned();
            let at_ns = ms.saturating_mul(1_000_000).saturating_add(now_ns(p.vm));
            let pid = p.id();
            p.vm.timers.start(at_ns, Box::new(move |vm| timers_in_timers(vm, pid, 2)));
            Ok(Term::atom(am::OK))
        }
        // Whoever handles the signals of the process does nothing else for so many milliseconds.
        "proc_sig_block" => {
            let (pid, ms) = pair_of(value).ok_or(BifExit::BADARG)?;
            let (pid, time) = (pid.as_pid().ok_or(BifExit::BADARG)?, milliseconds(ms)?);
            let sent = signal::send_call(
                p.vm,
                pid,
                Box::new(move |_, process| {
                    if process.is_some() {
                        std::thread::sleep(time);
                    }
                }),
            );
            Ok(Term::bool(sent))
        }
        // Senders never wait for each other: every process has what OTP calls buffers.
        "proc_sig_buffers" if value.as_bool() == Some(true) => Ok(Term::bool(true)),
        "binary" => {
            let size = value
                .as_small()
                .and_then(|size| usize::try_from(size).ok())
                .ok_or(BifExit::BADARG)?;
            const BYTES_MAX: usize = 1 << 30;
            if size > BYTES_MAX {
                return Err(BifExit::SYSTEM_LIMIT);
            }
            Ok(p.binary(&vec![0; size]))
        }
        "make" if value == Term::atom(atom!("magic_ref")) => {
            let shared = SharedBytes::zeroed_words(1).ok_or(BifExit::SYSTEM_LIMIT)?;
            let address = shared.data() as u64;
            let (reference, address) = (p.counted_ref(shared), p.uint(address));
            Ok(p.tuple(&[reference, address]))
        }
        _ => Err(BifExit::BADARG),
    }
}

/// The low 64 bits of an integer of no more digits.
fn low_bits(value: Term) -> Option<u64> {
    if let Some(small) = value.as_small() {
        return Some(small.cast_unsigned());
    }
    let big = value.as_big()?;
    let &[digit] = big.digits() else { return None };
    Some(if big.is_negative() { digit.wrapping_neg() } else { digit })
}

fn now_ns(vm: &Vm) -> u64 {
    vm.clock.since_start_ns()
}

/// What a timer does that is due: starts another that is due at once, `left` times; then the process
/// hears of it.
fn timers_in_timers(vm: &'static Vm, pid: u64, left: u32) {
    if left > 0 {
        let next = Box::new(move |vm| timers_in_timers(vm, pid, left - 1));
        vm.timers.start(now_ns(vm), next);
    } else {
        let _guard = swarmrt_machine::pin();
        let done = Term::atom(atom!("multizero_timeout_in_timeout_done"));
        signal::send_message(vm, Term::NONE, pid, done);
    }
}

/// The number that the next process or port gets, after `from` where that is given.
fn next_number(p: &Process, is_pid: bool, from: Option<u64>) -> u64 {
    if is_pid {
        p.vm.processes.next_number(from)
    } else {
        p.vm.ports().map_or(0, |ports| ports.next_number(p.vm, from))
    }
}

/// Who follows changes of the set of connected nodes: `{Pid, Options}`, as often as it has
/// subscribed.
fn monitoring_nodes(p: &mut Process) -> Term {
    let following = p.vm.remote().map(|remote| remote.following()).unwrap_or_default();
    let mut entries = Vec::new();
    for subscription in following {
        let mut options = Vec::new();
        if subscription.down_reason {
            options.push(Term::atom(atom!("nodedown_reason")));
        }
        if let Some(kind) = subscription.node_type {
            options.push(p.tuple(&[Term::atom(atom!("node_type")), Term::atom(kind)]));
        }
        let options = p.list(&options);
        let entry = p.tuple(&[Term::pid(subscription.pid), options]);
        entries.extend((0..subscription.count).map(|_| entry));
    }
    p.list(&entries)
}

#[bif("erts_debug:get_internal_state/1")]
fn get_internal_state(p: &mut Process, what: Term) -> BifResult {
    check_available(p)?;
    if what == Term::atom(atom!("reds_left")) {
        return Ok(Term::small(i64::from(p.reductions.max(0))));
    }
    // Counters of tables that are spread over the schedulers do not exist here.
    // Descriptors in error, in use, of drivers, of other libraries.
    if what == Term::atom(atom!("check_io_debug")) {
        let (drivers, libraries) = p.vm.extension::<WatchedDescriptors>().count();
        let count = |count: usize| Term::small(count as i64);
        return Ok(p.tuple(&[count(0), count(drivers), count(drivers), count(libraries)]));
    }
    if what == Term::atom(atom!("flxctr_memory_usage")) {
        return Ok(Term::atom(atom!("notsup")));
    }
    if let Some(item) = what.as_atom() {
        return match item.name() {
            "available_internal_state" => Ok(Term::bool(true)),
            "monitoring_nodes" => Ok(monitoring_nodes(p)),
            name @ ("next_pid" | "next_port") => {
                let next = next_number(p, name == "next_pid", None);
                Ok(p.uint(next))
            }
            "persistent_term" => {
                let slots = Term::small(persistent_term::slots(p) as i64);
                Ok(map::from_pairs(p, &[(Term::atom(atom!("table")), slots)]))
            }
            "process_info_args" => {
                let names = process_info::item_names(p.vm.release());
                let names: Vec<Term> = names.map(Term::atom).collect();
                Ok(p.list(&names))
            }
            "processes" => {
                let pids: Vec<Term> =
                    crate::process::living(p.vm).into_iter().map(Term::pid).collect();
                Ok(p.list(&pids))
            }
            "processes_bif_info" => Ok(crate::process::listing_costs(p)),
            "node_and_dist_references" => census::node_references(p),
            "min_unique_monotonic_integer" => Ok(p.int(UNIQUE_START)),
            "unique_monotonic_integer_state" => Ok(p.uint(p.vm.unique_integers.last_monotonic())),
            "max_atom_out_cache_index" => Ok(Term::small(CACHE_PLACES as i64 - 1)),
            // As of an OTP without the checker of locks.
            "lc_graph" => Ok(Term::atom(am::NOTSUP)),
            // OTP's debug builds put every term into a fragment of its own.
            "force_heap_frags" => Ok(Term::bool(false)),
            // Such a build may also have most keys of large maps collide.
            "hashmap_collision_bonanza" if p.vm.release() >= Release::R27 => Ok(Term::bool(false)),
            _ => Err(BifExit::BADARG),
        };
    }
    // Whether clocks can be so: with correction or without, in that time warp mode.
    if let Some(tuple) = what.as_tuple().filter(|tuple| {
        tuple.arity() == 3 && tuple.get(0) == Term::atom(atom!("check_time_config"))
    }) {
        let mode = tuple.get(2).as_atom().and_then(|mode| TimeWarpMode::named(mode.name()));
        return if tuple.get(1).as_bool().is_some() && mode.is_some() {
            Ok(Term::bool(true))
        } else {
            Err(BifExit::BADARG)
        };
    }
    if let Some(tuple) = what.as_tuple().filter(|tuple| {
        tuple.arity() == 3 && tuple.get(0) == Term::atom(atom!("make_unique_integer"))
    }) {
        return made_unique_integer(p, tuple.get(1), tuple.get(2));
    }
    let (key, term) = pair_of(what).ok_or(BifExit::BADARG)?;
    match key.as_atom().ok_or(BifExit::BADARG)?.name() {
        "internal_hash" => Ok(p.uint(hash::internal_hash(term))),
        "atom_out_cache_index" => {
            term.as_atom().map(|atom| Term::small(atom.cache_place() as i64)).ok_or(BifExit::BADARG)
        }
        "atom" => numbered_atom(term),
        "binary_info" => binary_info(p, term),
        "process_status" => process_status(p, term),
        "dist_ctrl" => controller_of(p, term),
        "magic_ref" => counted_reference(p, term),
        _ => Err(BifExit::BADARG),
    }
}

/// The unique integer of a thread's number and its count.
fn made_unique_integer(p: &mut Process, thread: Term, count: Term) -> BifResult {
    let config = &p.vm.config;
    let threads = config.schedulers + config.dirty_cpu + config.dirty_io;
    let thread = thread.as_small().and_then(|thread| u64::try_from(thread).ok());
    let thread = thread.filter(|&thread| thread <= threads as u64).ok_or(BifExit::BADARG)?;
    let count = unsigned(count).ok_or(BifExit::BADARG)?;
    let distance = p.vm.unique_integers.compose(thread, count);
    Ok(unique::from_start(&mut p.heap, distance))
}

/// A non-negative integer of up to 64 bits.
fn unsigned(value: Term) -> Option<u64> {
    let is_negative = match value.as_small() {
        Some(small) => small < 0,
        None => value.as_big()?.is_negative(),
    };
    low_bits(value).filter(|_| !is_negative)
}

/// The atom with a number in this run. Where there are fewer, new ones are made up to it.
fn numbered_atom(number: Term) -> BifResult {
    let number = number.as_small().and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or(BifExit::BADARG)?;
    if number as usize >= Atom::limit() {
        return Err(BifExit::SYSTEM_LIMIT);
    }
    for next in Atom::count().. {
        if let Some(name) = Atom::numbered_name(number) {
            // A reserved name has its number before anybody made the atom.
            return atoms::intern(name, false);
        }
        atoms::intern(&format!("am{next:x}"), false)?;
    }
    Err(BifExit::SYSTEM_LIMIT)
}

/// The port or process that controls the connection to a node; `undefined` where there is none.
fn controller_of(p: &mut Process, node: Term) -> BifResult {
    let name = node.as_atom().ok_or(BifExit::BADARG)?;
    let known = p.vm.remote().map(|remote| remote.known()).unwrap_or_default();
    let known = known.into_iter().find(|known| known.name == name);
    Ok(known.and_then(|known| known.controller).unwrap_or(Term::atom(am::UNDEFINED)))
}

/// `undefined` for a process of which nothing is left.
fn process_status(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    Ok(match p.vm.processes.get(pid) {
        Some(cell) if cell.shared.state.load() == run_state::RUNNING => Term::atom(am::RUNNING),
        Some(_) => Term::atom(am::WAITING),
        None => Term::atom(am::UNDEFINED),
    })
}

/// `{Address, References, true}` of a reference with counted memory, `true` of any other of this
/// node: which of them had such memory once does not show.
fn counted_reference(p: &mut Process, reference: Term) -> BifResult {
    let reference = reference.as_local_ref().ok_or(BifExit::BADARG)?;
    let Some(raw) = reference.counted_raw() else { return Ok(Term::bool(true)) };
    // SAFETY: the memory is alive as long as the term, and the borrowed reference is forgotten.
    let shared = unsafe { std::mem::ManuallyDrop::new(SharedBytes::from_raw(raw)) };
    let address = p.uint(shared.data() as u64);
    Ok(p.tuple(&[address, Term::small(shared.references() as i64), Term::bool(true)]))
}

/// How a bitstring is kept: `heap_binary` within the heap, `{refc_binary, Size, {binary, Size},
/// Flags}` beside it.
fn binary_info(p: &mut Process, term: Term) -> BifResult {
    let bits = term.as_bits().ok_or(BifExit::BADARG)?;
    let size = Term::small(bits.byte_size_rounded_up() as i64);
    if term.boxed_header().has(Subtag::HeapBin) {
        return Ok(Term::atom(atom!("heap_binary")));
    }
    let allocated = Bits::shared_of(term).map_or(0, |raw| {
        // SAFETY: the buffer is alive as long as the term, and the borrowed reference is forgotten.
        unsafe { std::mem::ManuallyDrop::new(SharedBytes::from_raw(raw)).capacity() }
    });
    let whole = p.tuple(&[Term::atom(atom!("binary")), Term::small(allocated as i64)]);
    Ok(p.tuple(&[Term::atom(atom!("refc_binary")), size, whole, Term::small(0)]))
}

/// `false`, which ends a listing: as in an OTP that compiles to machine code, no address leads to
/// instructions that could be shown.
#[bif("erts_debug:disassemble/1")]
fn disassemble(_p: &mut Process, _place: Term) -> BifResult {
    Ok(Term::bool(false))
}

/// The same bits, as part of another bitstring in which they begin at an offset within a byte.
#[bif("erts_debug:unaligned_bitstring/2", since = 29)]
fn unaligned_bitstring(p: &mut Process, bitstring: Term, offset: Term) -> BifResult {
    let bits = bitstring.as_bits().ok_or(BifExit::BADARG)?;
    let offset =
        offset.as_small().filter(|offset| (1..=7).contains(offset)).ok_or(BifExit::BADARG)?;
    let offset = offset as usize;
    let size = bits.bit_size;
    let mut bytes = vec![0u8; (offset + size).div_ceil(8)];
    for index in 0..size.div_ceil(8) {
        let byte = bits.byte(index);
        bytes[index] |= byte >> offset;
        if let Some(next) = bytes.get_mut(index + 1) {
            *next = byte << (8 - offset);
        }
    }
    let whole = p.binary(&bytes);
    Ok(p.sub_binary(whole, offset, size))
}

// ---- Work for each kind of scheduler, as suites ask for it ----

fn milliseconds(term: Term) -> Result<Duration, BifExit> {
    let ms = term.as_small().and_then(|ms| u64::try_from(ms).ok()).ok_or(BifExit::BADARG)?;
    Ok(Duration::from_millis(ms))
}

/// A call of `reschedule` under way: how it began, where a failure is raised.
struct Rescheduling {
    began: &'static Export,
    args: [Term; 3],
    fails: bool,
}

/// Goes to the other two kinds in turn, every fourth step, until the count is 0. `args` are those
/// of the call, which is of `dirty/3` where there are three.
fn reschedule(p: &mut Process, here: Atom, args: &[Term]) -> BifResult {
    let left = args.last().and_then(|count| count.as_small()).ok_or(BifExit::BADARG)?;
    let mut call = match p.bif_state.take().and_then(|state| state.downcast::<Rescheduling>().ok())
    {
        Some(call) if call.fails => return Err(BifExit::BADARG),
        Some(call) => call,
        None => {
            // Atoms and a small number: no collection moves them.
            let mut kept = [Term::NIL; 3];
            kept[..args.len()].copy_from_slice(args);
            let began = if args.len() == 3 { atom!("dirty") } else { here };
            Box::new(Rescheduling {
                began: exported(p, began, args.len()),
                args: kept,
                fails: false,
            })
        }
    };
    if left == 0 {
        return Ok(Term::atom(am::OK));
    }
    if left < 0 {
        call.fails = true;
        let (began, args) = (call.began, call.args);
        p.bif_state = Some(call);
        return p.trap(began, &args[..began.mfa.arity as usize]);
    }
    p.bif_state = Some(call);
    let next = match here.name() {
        _ if left % 4 != 0 => here,
        "dirty_cpu" => atom!("dirty_io"),
        "dirty_io" => am::NORMAL,
        _ => atom!("dirty_cpu"),
    };
    let step = Term::atom(atom!("reschedule"));
    let count = Term::small(left - 2);
    if next == am::NORMAL {
        let export = exported(p, atom!("dirty"), 3);
        return p.trap(export, &[Term::atom(am::NORMAL), step, count]);
    }
    let export = exported(p, next, 2);
    p.trap(export, &[step, count])
}

fn exported(p: &Process, function: Atom, arity: usize) -> &'static Export {
    p.vm.code.export(Mfa { module: atom!("erts_debug"), function, arity: arity as u32 })
}

/// `here` is the kind of scheduler that this runs on.
fn test(p: &mut Process, here: Atom, what: Term, value: Term) -> BifResult {
    let tell = |p: &Process, news: Atom| {
        if let Some(to) = value.as_pid() {
            let mut heap = swarmrt_term::FragmentHeap::new();
            let message = heap.tuple(&[Term::atom(news), p.pid()]);
            signal::send_message(p.vm, p.pid(), to, message);
        }
    };
    // As in a library's function: signals to the process are attended to meanwhile.
    let rest = |p: &mut Process, work: &dyn Fn(&Process)| {
        if here == am::NORMAL {
            work(p);
            return Ok(Term::atom(am::OK));
        }
        p.in_native(|p| work(p)).map(|()| Term::atom(am::OK)).ok_or(BifExit::Wait)
    };
    match atom_of(what)?.name() {
        "scheduler" => Ok(Term::atom(here)),
        "error" => Err(match value.as_atom().map(Atom::name) {
            Some("badarg") => BifExit::BADARG,
            Some("system_limit") => BifExit::SYSTEM_LIMIT,
            Some(name @ ("badarith" | "undef" | "noproc" | "noconnection" | "notsup")) => {
                BifExit::Error(Term::atom(Atom::new(name)))
            }
            _ => BifExit::BADARG,
        }),
        "copy" => {
            const COPIES: usize = 1000;
            let copies: Vec<Term> =
                (0..COPIES).map(|_| swarmrt_heap::copy_term(value, &mut p.heap)).collect();
            Ok(p.list(&copies))
        }
        "send" => {
            tell(p, am::OK);
            Ok(Term::atom(am::OK))
        }
        "wait" => {
            let time = milliseconds(value)?;
            rest(p, &|_| std::thread::sleep(time))
        }
        "reschedule" => reschedule(p, here, &[what, value]),
        "ready_wait6_done" => rest(p, &|p| {
            tell(p, atom!("ready"));
            std::thread::sleep(Duration::from_secs(6));
            tell(p, atom!("done"));
        }),
        "alive_waitexiting" | "alive_waitexitingonly" => rest(p, &|p| {
            tell(p, atom!("alive"));
            while !p.is_ending() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }),
        _ => Err(BifExit::BADARG),
    }
}

#[bif("erts_debug:dirty_cpu/2", dirty_cpu)]
fn dirty_cpu(p: &mut Process, what: Term, value: Term) -> BifResult {
    test(p, atom!("dirty_cpu"), what, value)
}

#[bif("erts_debug:dirty_io/2", dirty_io)]
fn dirty_io(p: &mut Process, what: Term, value: Term) -> BifResult {
    test(p, atom!("dirty_io"), what, value)
}

/// The test of `dirty_cpu/2` and `dirty_io/2`, on a scheduler of the kind that `kind` names.
#[bif("erts_debug:dirty/3")]
fn dirty(p: &mut Process, kind: Term, what: Term, value: Term) -> BifResult {
    match atom_of(kind)?.name() {
        here @ ("normal" | "dirty_cpu" | "dirty_io") if what == Term::atom(atom!("reschedule")) => {
            reschedule(p, Atom::new(here), &[kind, what, value])
        }
        "normal" => test(p, am::NORMAL, what, value),
        // A failure is raised here, so that it names this function.
        "dirty_cpu" | "dirty_io" if what == Term::atom(am::ERROR) => {
            test(p, am::NORMAL, what, value)
        }
        kind @ ("dirty_cpu" | "dirty_io") => {
            let export = exported(p, Atom::new(kind), 2);
            p.trap(export, &[what, value])
        }
        _ => Err(BifExit::BADARG),
    }
}
