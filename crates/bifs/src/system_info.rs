//! `erlang:system_info/1` and `erlang:system_flag/2`: what the machine says about itself, and what
//! can be set.
//!
//! Schedulers are not bound to processors, and `system_flag` says `notsup` to whoever wants that.

use crate::args::list_of;
use crate::memory::ALLOCATORS;
use crate::process::{default_max_heap_size, max_heap_size, max_heap_term};
use crate::processors::Processors;
use crate::sequential;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use swarmrt_heap::collect::block_words_for;
use swarmrt_machine::schedule::blocking::Blocking;
use swarmrt_machine::vm::watched::WatchedDescriptors;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom, bigint};

/// The version of OTP's runtime system: read from OTP's own files when the machine starts.
#[derive(Default)]
pub struct ErtsVersion(pub OnceLock<String>);

/// Settings that have no other place.
#[derive(Default)]
pub(crate) struct Settings {
    /// How many requests to other processes a system process sends before it waits; 0 stands for
    /// the default.
    outstanding_requests: AtomicU32,
    /// What match specifications of traces read and write.
    pub(crate) trace_control_word: AtomicI64,
}

/// What match specifications of traces call the control word.
pub(crate) fn trace_control_word(p: &mut Process) -> Term {
    let word = p.vm.extension::<Settings>().trace_control_word.load(Ordering::Relaxed);
    p.int(word)
}

pub(crate) fn set_trace_control_word(vm: &Vm, word: i64) {
    vm.extension::<Settings>().trace_control_word.store(word, Ordering::Relaxed);
}

fn outstanding_requests(vm: &Vm, limit: u32) -> Term {
    let default = vm.schedulers.count() as u32 * 2;
    Term::small(i64::from(if limit == 0 { default } else { limit }))
}

fn properties(p: &mut Process, pairs: &[(&str, Term)]) -> Term {
    let pairs: Vec<Term> =
        pairs.iter().map(|&(name, value)| p.tuple(&[Term::atom(Atom::new(name)), value])).collect();
    p.list(&pairs)
}

fn pair(p: &mut Process, name: Atom, value: Term) -> Term {
    p.tuple(&[Term::atom(name), value])
}

fn number(value: usize) -> Term {
    Term::small(value as i64)
}

fn count_or_unknown(count: Option<usize>) -> Term {
    count.map_or(Term::atom(am::UNKNOWN), number)
}

/// Where times of the operating system come from: the standard library reads these clocks.
fn clock_source(p: &mut Process, clock: libc::clockid_t, name: &str) -> Term {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let mut now = resolution;
    // SAFETY: the structures are there to be filled.
    unsafe {
        libc::clock_getres(clock, &raw mut resolution);
        libc::clock_gettime(clock, &raw mut now);
    }
    let per_second = 1_000_000_000 / resolution.tv_nsec.max(1);
    let time = p.int(now.tv_sec * 1_000_000_000 + now.tv_nsec);
    let mut known = vec![
        ("function", Term::atom(atom!("clock_gettime"))),
        ("clock_id", Term::atom(Atom::new(name))),
        ("resolution", Term::small(per_second)),
    ];
    if clock == libc::CLOCK_MONOTONIC {
        if p.vm.release() >= Release::R26 {
            known.push(("used_resolution", Term::small(per_second)));
        }
        known.push(("extended", Term::atom(am::NO)));
    }
    known.extend([("parallel", Term::atom(am::YES)), ("time", time)]);
    properties(p, &known)
}

/// The loaded modules with their sizes in bytes, as text.
fn loaded_text(vm: &Vm) -> String {
    use std::fmt::Write;
    let modules: Vec<_> =
        vm.code.loaded().into_iter().filter_map(|name| Some((name, vm.code.slot(name)?))).collect();
    let size = |code: &Option<std::sync::Arc<swarmrt_machine::code::ModuleCode>>| {
        code.as_ref().map_or(0, |code| code.range().len())
    };
    let current: usize = modules.iter().map(|(_, slot)| size(&slot.current)).sum();
    let old: usize = modules.iter().map(|(_, slot)| size(&slot.old)).sum();
    let mut text = format!("Current code: {current}\nOld code: {old}\n");
    for (name, slot) in &modules {
        let _ = write!(text, "{name} {}", size(&slot.current));
        let _ = if slot.old.is_some() {
            writeln!(text, " ({} old)", size(&slot.old))
        } else {
            writeln!(text)
        };
    }
    text
}

#[bif("erlang:system_info/1")]
fn system_info(p: &mut Process, item: Term) -> BifResult {
    if let Some(tuple) = item.as_tuple() {
        return system_info_tuple(p, tuple.elements());
    }
    let name = item.as_atom().ok_or(BifExit::BADARG)?.name();
    if name == "procs" {
        return crate::system_text::procs(p);
    }
    let found = limits(p, name)
        .or_else(|| schedulers(p, name))
        .or_else(|| memory(p, name))
        .or_else(|| times(p, name))
        .or_else(|| identity(p, name));
    found.ok_or(BifExit::BADARG)
}

/// How many there are and how many there may be.
fn limits(p: &mut Process, name: &str) -> Option<Term> {
    let vm = p.vm;
    Some(match name {
        "process_count" => number(vm.processes.count()),
        "process_limit" => number(vm.processes.limit()),
        "port_count" => number(vm.ports().map_or(0, |ports| ports.count(vm))),
        "port_limit" => number(vm.config.ports_max),
        "atom_count" => number(Atom::count()),
        "atom_limit" => number(Atom::limit()),
        "ets_count" => number(crate::ets::count(p)),
        "ets_limit" => number(crate::ets::TABLES_MAX),
        "outstanding_system_requests_limit" => outstanding_requests(
            vm,
            vm.extension::<Settings>().outstanding_requests.load(Ordering::Relaxed),
        ),
        "halt_flush_timeout" if vm.release() >= Release::R27 => crate::system::flush_limit_ms(vm)
            .map_or(Term::atom(am::INFINITY), |ms| number(ms as usize)),
        "dist_buf_busy_limit" => number(vm.config.busy_connection_bytes()),
        "backtrace_depth" => number(vm.backtrace_depth()),
        _ => return None,
    })
}

/// The nodes that are connected, visible ones first, and what feeds each connection.
fn controllers(p: &mut Process) -> Term {
    let mut known = p.vm.remote().map_or_else(Vec::new, |remote| remote.known());
    known.sort_by_key(|node| !node.is_visible);
    let connected = known.iter().filter_map(|node| Some((node.name, node.controller?)));
    let pairs: Vec<Term> =
        connected.map(|(name, controller)| p.tuple(&[Term::atom(name), controller])).collect();
    p.list(&pairs)
}

fn schedulers(p: &mut Process, name: &str) -> Option<Term> {
    let vm = p.vm;
    let count = vm.schedulers.count();
    let unbound = Term::atom(atom!("unbound"));
    Some(match name {
        "schedulers" => number(count),
        "schedulers_state" => {
            let (wanted, active) = (vm.schedulers.wanted_online(), vm.schedulers.online());
            p.tuple(&[number(count), number(wanted), number(active)])
        }
        "all_schedulers_state" => {
            let (online, active) = (vm.schedulers.wanted_online(), vm.schedulers.online());
            let (dirty_cpu, dirty_io) = (vm.config.dirty_cpu, vm.config.dirty_io);
            let dirty_online = vm.schedulers.dirty_cpu_online();
            let kinds = [
                ("normal", count, online, active),
                ("dirty_cpu", dirty_cpu, dirty_online, dirty_online),
                ("dirty_io", dirty_io, dirty_io, dirty_io),
            ];
            let kinds = kinds.map(|(kind, all, online, active)| {
                p.tuple(&[Term::atom(Atom::new(kind)), number(all), number(online), number(active)])
            });
            p.list(&kinds)
        }
        "context_reductions" => {
            Term::small(i64::from(swarmrt_machine::process::REDUCTIONS_PER_TURN))
        }
        "schedulers_online" => number(vm.schedulers.wanted_online()),
        "schedulers_active" => number(vm.schedulers.online()),
        "sequential_tracer" => {
            let tracer = sequential::system_tracer(p);
            p.tuple(&[Term::atom(Atom::new(name)), tracer])
        }
        "scheduler_id" => {
            number(swarmrt_machine::schedule::current_scheduler().map_or(0, |number| number + 1))
        }
        "dirty_cpu_schedulers" => number(vm.config.dirty_cpu),
        "dirty_cpu_schedulers_online" => number(vm.schedulers.dirty_cpu_online()),
        "dirty_io_schedulers" => number(vm.config.dirty_io),
        "scheduler_bind_type" => unbound,
        "scheduler_bindings" => p.tuple(&vec![unbound; count]),
        "multi_scheduling" => Term::atom(vm.schedulers.multi_scheduling()),
        "multi_scheduling_blockers" => pids(p, &vm.schedulers.blocking(Blocking::All)),
        "normal_multi_scheduling_blockers" => pids(p, &vm.schedulers.blocking(Blocking::Normal)),
        "logical_processors" => count_or_unknown(Processors::counted().configured),
        "logical_processors_online" => count_or_unknown(Processors::counted().online),
        "logical_processors_available" => count_or_unknown(Processors::counted().available),
        "cpu_topology" => crate::topology::detected(p),
        "cpu_quota" => count_or_unknown(Processors::of_system().quota),
        "update_cpu_info" => Term::atom(atom!("unchanged")),
        "smp_support" | "threads" => Term::bool(true),
        // As OTP has it without a flag; work of driver_async has threads of its own here.
        "thread_pool_size" => Term::small(1),
        "port_parallelism" | "kernel_poll" | "eager_check_io" => Term::bool(false),
        "check_io" => check_io(p),
        _ => return None,
    })
}

fn memory(p: &mut Process, name: &str) -> Option<Term> {
    let vm = p.vm;
    let defaults = &vm.process_defaults;
    let small = |value: u32| Term::small(i64::from(value));
    Some(match name {
        "heap_type" => Term::atom(am::PRIVATE),
        "heap_sizes" => {
            let sizes = std::iter::successors(Some(12), |&size| {
                Some(block_words_for(size + 1)).filter(|&next| next < 1 << 30)
            });
            let sizes: Vec<Term> = sizes.map(number).collect();
            p.list(&sizes)
        }
        "min_heap_size" => pair(p, atom!("min_heap_size"), small(defaults.min_heap_words())),
        "min_bin_vheap_size" => {
            pair(p, atom!("min_bin_vheap_size"), small(defaults.min_bin_vheap_words()))
        }
        "fullsweep_after" => pair(p, atom!("fullsweep_after"), small(defaults.fullsweep_after())),
        "max_heap_size" => max_heap_term(p, default_max_heap_size(vm)),
        "message_queue_data" => Term::atom(if defaults.off_heap_messages() {
            atom!("off_heap")
        } else {
            atom!("on_heap")
        }),
        "garbage_collection" => {
            let figures = [
                ("max_heap_size", number(default_max_heap_size(vm).words)),
                ("min_bin_vheap_size", small(defaults.min_bin_vheap_words())),
                ("min_heap_size", small(defaults.min_heap_words())),
                ("fullsweep_after", small(defaults.fullsweep_after())),
            ];
            properties(p, &figures)
        }
        "allocated_areas" => crate::memory::allocated_areas(p),
        "alloc_util_allocators" => {
            let names = ALLOCATORS.map(|name| Term::atom(Atom::new(name)));
            p.list(&names)
        }
        "allocator" => p.tuple(&[Term::atom(am::UNDEFINED), Term::NIL, Term::NIL, Term::NIL]),
        _ => return None,
    })
}

fn times(p: &mut Process, name: &str) -> Option<Term> {
    let clock = &p.vm.clock;
    Some(match name {
        "start_time" => {
            let start = clock.start_ns();
            p.int(start)
        }
        "end_time" => {
            let end = clock.end_ns();
            p.int(end)
        }
        "os_monotonic_time_source" => clock_source(p, libc::CLOCK_MONOTONIC, "CLOCK_MONOTONIC"),
        "os_system_time_source" => clock_source(p, libc::CLOCK_REALTIME, "CLOCK_REALTIME"),
        "time_correction" => Term::bool(clock.correction()),
        "time_offset" => Term::atom(Atom::new(clock.offset_state())),
        "time_warp_mode" => Term::atom(Atom::new(clock.mode().name())),
        // Whether time of day stays near Erlang's by small steps.
        "tolerant_timeofday" => {
            let is_tolerant = clock.correction() && clock.offset_state() == "final";
            Term::atom(if is_tolerant { atom!("enabled") } else { atom!("disabled") })
        }
        _ => return None,
    })
}

/// A line that says which machine runs which release.
pub(crate) fn system_version(vm: &Vm) -> String {
    let (otp, schedulers) = (vm.release(), vm.schedulers.count());
    let online = vm.schedulers.online();
    let version = env!("CARGO_PKG_VERSION");
    format!("SwarmRT {version} on Erlang/OTP {otp} [64-bit] [smp:{schedulers}:{online}]\n")
}

/// The waiting for descriptors of native libraries, as a poll set of OTP's. One thread waits, with
/// one system call for each change.
fn check_io(p: &mut Process) -> Term {
    let (drivers, libraries) = p.vm.extension::<WatchedDescriptors>().count();
    let (no, yes) = (Term::bool(false), Term::bool(true));
    let epoll = Term::atom(atom!("epoll"));
    let items = [
        ("name", Term::atom(atom!("erts_poll"))),
        ("primary", epoll),
        ("kernel_poll", epoll),
        ("total_poll_set_size", Term::small((drivers + libraries) as i64)),
        ("lazy_updates", no),
        ("pending_updates", Term::small(0)),
        ("batch_updates", no),
        ("concurrent_updates", yes),
        ("fallback", no),
        ("active_fds", Term::small(0)),
        ("poll_threads", Term::small(1)),
    ];
    let items: Vec<Term> =
        items.iter().map(|&(name, value)| p.tuple(&[Term::atom(Atom::new(name)), value])).collect();
    let set = p.list(&items);
    p.list(&[set])
}

/// What machine this is, and how it was built.
fn identity(p: &mut Process, name: &str) -> Option<Term> {
    let vm = p.vm;
    let otp = vm.release();
    Some(match name {
        "otp_release" => p.string(&otp.to_string()),
        "version" => p.string(vm.extension::<ErtsVersion>().0.get().map_or("", String::as_str)),
        "compat_rel" => Term::small(i64::from(otp.number())),
        "nif_version" => {
            let version = match otp {
                Release::R25 => "2.16",
                Release::R26 | Release::R27 | Release::R28 => "2.17",
                Release::R29 => "2.18",
            };
            p.string(version)
        }
        "driver_version" => p.string("3.3"),
        "system_version" => {
            let text = system_version(vm);
            p.string(&text)
        }
        "system_architecture" => p.string(&format!("{}-pc-linux-gnu", std::env::consts::ARCH)),
        "machine" => p.string("BEAM"),
        "endian" => {
            Term::atom(if cfg!(target_endian = "little") { atom!("little") } else { atom!("big") })
        }
        "emu_type" | "build_type" => {
            Term::atom(if cfg!(debug_assertions) { atom!("debug") } else { atom!("opt") })
        }
        "emu_flavor" => {
            Term::atom(if p.vm.engine().has_machine_code() { atom!("jit") } else { atom!("emu") })
        }
        "info" => crate::system_text::info(p),
        "emu_args" => {
            let arguments: Vec<Term> =
                std::env::args_os().map(|argument| p.string(&argument.to_string_lossy())).collect();
            p.list(&arguments)
        }
        // Jump tables are made where values lie close together.
        "beam_jump_table" => Term::bool(true),
        "constant_pool_support" => Term::bool(true),
        "hipe_architecture" => Term::atom(am::UNDEFINED),
        // OTP's library of threads is not used.
        "ethread_info" => Term::NIL,
        "ethread_used_tse" => Term::small(0),
        "debug_compiled" => Term::bool(cfg!(debug_assertions)),
        "lock_checking"
        | "lock_counting"
        | "dynamic_trace_probes"
        | "break_ignored"
        | "ets_always_compress" => Term::bool(false),
        "async_dist" => Term::bool(vm.process_defaults.async_dist()),
        "dynamic_trace" => Term::atom(am::NONE),
        // Rust is not C.
        "c_compiler_used" => p.tuple(&[Term::atom(am::UNDEFINED), Term::atom(am::UNDEFINED)]),
        "wordsize" => number(size_of::<Term>()),
        "creation" => Term::small(i64::from(vm.node().creation)),
        "dist" => {
            let mut text = Vec::new();
            // Writing to memory cannot fail.
            let _ = crate::crash_dump::write_nodes(vm, &[], &mut text);
            p.binary(&text)
        }
        "dist_ctrl" => controllers(p),
        "delayed_node_table_gc" => Term::small(60),
        "loaded" => {
            let text = loaded_text(vm);
            p.binary(text.as_bytes())
        }
        "modified_timing_level" => Term::atom(am::UNDEFINED),
        "trace_control_word" => {
            p.int(vm.extension::<Settings>().trace_control_word.load(Ordering::Relaxed))
        }
        "system_logger" => vm.system_logger(),
        "os_type" => p.tuple(&[Term::atom(atom!("unix")), Term::atom(atom!("linux"))]),
        "os_version" => os_version(p),
        "snifs" => {
            let all: Vec<Term> = vm
                .bifs
                .iter()
                .filter(|(entry, _)| entry.listed)
                .map(|(_, mfa)| p.mfa(mfa))
                .collect();
            p.list(&all)
        }
        "max_integer" if vm.release() >= Release::R27 => {
            let digits = vec![u64::MAX; bigint::bits_max() / 64];
            p.big(false, &digits)
        }
        "taints" => {
            let modules: Vec<Term> =
                p.vm.code.taints.lock().iter().copied().map(Term::atom).collect();
            p.list(&modules)
        }
        _ => return None,
    })
}

/// Whether `system_info` can be asked about this in OTP as about an allocator.
fn is_allocator(name: Term) -> bool {
    const OTHERS: [&str; 5] = ["sys_alloc", "test_alloc", "mseg_alloc", "alloc_util", "erts_mmap"];
    name.as_atom()
        .is_some_and(|name| ALLOCATORS.contains(&name.name()) || OTHERS.contains(&name.name()))
}

/// What is told of an allocator: its sizes; and nothing else, as of one that is turned off.
fn allocator_info(p: &mut Process, what: &str, name: Term) -> Term {
    match name.as_atom() {
        Some(name) if what == "allocator_sizes" && ALLOCATORS.contains(&name.name()) => {
            crate::memory::allocator_sizes(p, name)
        }
        _ => Term::bool(false),
    }
}

fn system_info_tuple(p: &mut Process, elements: &[Term]) -> BifResult {
    let name = elements.first().and_then(|name| name.as_atom()).ok_or(BifExit::BADARG)?;
    match (name.name(), &elements[1..]) {
        (what @ ("allocator" | "allocator_sizes"), &[name]) if is_allocator(name) => {
            Ok(allocator_info(p, what, name))
        }
        (what @ ("allocator" | "allocator_sizes"), &[names]) if names.is_list() => {
            let names = list_of(names)?;
            if !names.iter().copied().all(is_allocator) {
                return Err(BifExit::BADARG);
            }
            let mut answers = Vec::new();
            for name in names {
                let answer = allocator_info(p, what, name);
                answers.push(p.tuple(&[name, answer]));
            }
            Ok(p.list(&answers))
        }
        ("memory_internal", _) => crate::memory::memory_internal(p, elements),
        ("wordsize", &[_])
            if elements[1] == Term::atom(atom!("internal"))
                || elements[1] == Term::atom(atom!("external")) =>
        {
            Ok(number(size_of::<Term>()))
        }
        ("cpu_topology", &[which])
            if matches!(which.as_atom().map(Atom::name), Some("detected" | "used")) =>
        {
            Ok(crate::topology::detected(p))
        }
        ("cpu_topology", &[which]) if which == Term::atom(atom!("defined")) => {
            Ok(Term::atom(am::UNDEFINED))
        }
        _ => Err(BifExit::BADARG),
    }
}

fn os_version(p: &mut Process) -> Term {
    // SAFETY: `uname` fills the structure that it is given.
    let release = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        std::ffi::CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    };
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<i64>().unwrap_or(0));
    let mut number = || Term::small(numbers.next().unwrap_or(0));
    let version = [number(), number(), number()];
    p.tuple(&version)
}

/// Words for a heap, as the next of the sizes that heaps have.
pub(crate) fn heap_words(value: Term) -> Result<u32, BifExit> {
    let words =
        value.as_small().and_then(|words| usize::try_from(words).ok()).ok_or(BifExit::BADARG)?;
    if words >= 1 << 31 {
        return Err(BifExit::BADARG);
    }
    u32::try_from(block_words_for(words)).map_err(|_| BifExit::BADARG)
}

/// How schedulers could be bound to processors.
const BIND_TYPES: [&str; 8] = [
    "default_bind",
    "no_node_processor_spread",
    "no_node_thread_spread",
    "no_spread",
    "processor_spread",
    "spread",
    "thread_no_node_processor_spread",
    "thread_spread",
];

fn pids(p: &mut Process, numbers: &[u64]) -> Term {
    let pids: Vec<Term> = numbers.iter().map(|&number| Term::pid(number)).collect();
    p.list(&pids)
}

fn multi_scheduling(p: &mut Process, value: Term) -> BifResult {
    let (schedulers, pid) = (&p.vm.schedulers, p.id());
    let (what, blocks) = match value.as_atom().ok_or(BifExit::BADARG)?.name() {
        "block" => (Blocking::All, true),
        "block_normal" => (Blocking::Normal, true),
        "unblock" => (Blocking::All, false),
        "unblock_normal" => (Blocking::Normal, false),
        _ => return Err(BifExit::BADARG),
    };
    if blocks && schedulers.wanted_online() > 1 {
        if !p.blocks_others(what) {
            return Err(BifExit::Yield);
        }
    } else if !blocks {
        schedulers.unblock(pid, what);
    }
    Ok(Term::atom(schedulers.multi_scheduling()))
}

#[bif("erlang:system_flag/2")]
fn system_flag(p: &mut Process, flag: Term, value: Term) -> BifResult {
    let flag = flag.as_atom().ok_or(BifExit::BADARG)?;
    let integer = || value.as_small().ok_or(BifExit::BADARG);
    let vm = p.vm;
    let defaults = &vm.process_defaults;
    let small = |value: u32| Term::small(i64::from(value));
    Ok(match flag.name() {
        "sequential_tracer" => return sequential::set_system_tracer(p, value),
        "reset_seq_trace" => {
            value.as_bool().ok_or(BifExit::BADARG)?;
            sequential::reset(p);
            Term::bool(true)
        }
        "backtrace_depth" => {
            let depth = usize::try_from(integer()?).map_err(|_| BifExit::BADARG)?.min(1024);
            number(vm.set_backtrace_depth(depth))
        }
        "schedulers_online" => {
            let count = usize::try_from(integer()?)
                .ok()
                .filter(|count| (1..=vm.schedulers.count()).contains(count))
                .ok_or(BifExit::BADARG)?;
            number(vm.schedulers.set_online(count))
        }
        "dirty_cpu_schedulers_online" => {
            let count = usize::try_from(integer()?)
                .ok()
                .filter(|&count| 0 < count && count <= vm.config.dirty_cpu)
                .filter(|&count| count <= vm.schedulers.wanted_online())
                .ok_or(BifExit::BADARG)?;
            number(vm.schedulers.set_dirty_cpu_online(count))
        }
        "fullsweep_after" => {
            let count = u32::try_from(integer()?).map_err(|_| BifExit::BADARG)?;
            small(defaults.set_fullsweep_after(count))
        }
        "min_heap_size" => small(defaults.set_min_heap_words(heap_words(value)?)),
        "min_bin_vheap_size" => small(defaults.set_min_bin_vheap_words(heap_words(value)?)),
        "max_heap_size" => {
            let before = default_max_heap_size(vm);
            let limit = max_heap_size(vm, value).filter(|limit| {
                limit.words == 0 || limit.words >= defaults.min_heap_words() as usize
            });
            vm.set_default_max_heap_size(Some(limit.ok_or(BifExit::BADARG)?));
            max_heap_term(p, before)
        }
        "microstate_accounting" => {
            let known = value.as_bool().is_some() || value == Term::atom(atom!("reset"));
            if !known {
                return Err(BifExit::BADARG);
            }
            // Never on: `statistics(microstate_accounting)` is `undefined`.
            Term::bool(false)
        }
        "scheduler_wall_time" => {
            let on = value.as_bool().ok_or(BifExit::BADARG)?;
            Term::bool(vm.schedulers.measure(on, vm.clock.since_start_ns()))
        }
        "trace_control_word" => {
            let word =
                integer().ok().filter(|word| (0..1 << 32).contains(word)).ok_or(BifExit::BADARG)?;
            let before =
                vm.extension::<Settings>().trace_control_word.swap(word, Ordering::Relaxed);
            Term::small(before)
        }
        "time_offset" if value == Term::atom(atom!("finalize")) => {
            let before = Term::atom(Atom::new(vm.clock.offset_state()));
            vm.clock.finalize_offset();
            vm.clock.tell_change(vm);
            before
        }
        "multi_scheduling" => return multi_scheduling(p, value),
        "scheduler_bind_type" if value == Term::atom(atom!("unbound")) => value,
        "scheduler_bind_type"
            if value.as_atom().is_some_and(|kind| BIND_TYPES.contains(&kind.name())) =>
        {
            return Err(BifExit::NOTSUP);
        }
        "cpu_topology" if value == Term::atom(am::UNDEFINED) => crate::topology::detected(p),
        "outstanding_system_requests_limit" => {
            let limit =
                u32::try_from(integer()?).ok().filter(|&limit| limit > 0).ok_or(BifExit::BADARG)?;
            outstanding_requests(
                vm,
                vm.extension::<Settings>().outstanding_requests.swap(limit, Ordering::Relaxed),
            )
        }
        "system_logger" => {
            let known = value == Term::atom(am::LOGGER)
                || value == Term::atom(am::UNDEFINED)
                || value.is_pid();
            if !known {
                return Err(BifExit::BADARG);
            }
            vm.set_system_logger(value)
        }
        _ => return Err(BifExit::BADARG),
    })
}
