//! What the machine says about itself, and what can be set.

use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Alloc, Atom, Term, am, atom};

/// The release whose libraries we run, and the version of its runtime: read from OTP's own files when
/// the machine starts.
#[derive(Default)]
pub struct Release {
    pub otp: std::sync::OnceLock<String>,
    pub erts: std::sync::OnceLock<String>,
}

/// Limits that programs can set.
#[derive(Default)]
struct Limits {
    /// How many requests to other processes a system process sends before it waits; 0 stands for OTP's default.
    outstanding_requests: std::sync::atomic::AtomicU32,
}

impl Limits {
    const OUTSTANDING_REQUESTS: u32 = 100;
    fn or_default(limit: u32) -> u32 {
        if limit == 0 { Self::OUTSTANDING_REQUESTS } else { limit }
    }
    fn outstanding_requests(&self) -> u32 {
        Self::or_default(self.outstanding_requests.load(std::sync::atomic::Ordering::Relaxed))
    }
    fn set_outstanding_requests(&self, limit: u32) -> u32 {
        Self::or_default(self.outstanding_requests.swap(limit, std::sync::atomic::Ordering::Relaxed))
    }
}

fn proportion(p: &mut Process, pairs: &[(&str, i64)]) -> Term {
    let pairs: Vec<Term> = pairs.iter().map(|&(name, value)| p.tuple(&[Term::atom(Atom::new(name)), Term::small(value)])).collect();
    p.list(&pairs)
}

#[bif("erlang:system_info/1")]
fn system_info(p: &mut Process, item: Term) -> BifResult {
    if let Some(tuple) = item.as_tuple() {
        return system_info_tuple(p, tuple.elements());
    }
    let item = item.as_atom().ok_or(Raise::BADARG)?;
    let vm = p.vm;
    let schedulers = vm.schedulers.count() as i64;
    let release = vm.extension::<Release>();
    let otp = release.otp.get().map_or("25", String::as_str);
    let erts = release.erts.get().map_or("13.1.5", String::as_str);
    Ok(match item.name() {
        "schedulers" | "schedulers_online" | "schedulers_active" | "logical_processors" | "logical_processors_online" | "logical_processors_available" => {
            Term::small(schedulers)
        }
        "scheduler_id" => Term::small(swarmrt_machine::scheduler::current_scheduler().map_or(0, |number| number as i64 + 1)),
        "dirty_cpu_schedulers" | "dirty_cpu_schedulers_online" => Term::small(vm.config.dirty_cpu as i64),
        "dirty_io_schedulers" => Term::small(vm.config.dirty_io as i64),
        "process_count" => Term::small(vm.processes.count() as i64),
        "process_limit" => Term::small(vm.processes.limit() as i64),
        "port_count" => Term::small(0),
        "port_limit" => Term::small(65_536),
        "atom_count" => Term::small(Atom::count() as i64),
        "atom_limit" => Term::small(swarmrt_term::atom::ATOMS_MAX as i64),
        "ets_limit" => Term::small(8192),
        "ets_count" => Term::small(0),
        "wordsize" => Term::small(8),
        "smp_support" | "threads" => Term::bool(true),
        "thread_pool_size" => Term::small(1),
        "multi_scheduling" => Term::atom(atom!("enabled")),
        "multi_scheduling_blockers" | "normal_multi_scheduling_blockers" => Term::NIL,
        "scheduler_bind_type" => Term::atom(atom!("unbound")),
        "scheduler_bindings" => {
            let unbound = vec![Term::atom(atom!("unbound")); schedulers as usize];
            p.tuple(&unbound)
        }
        "otp_release" => p.string(otp),
        "version" => p.string(erts),
        "nif_version" => p.string("2.16"),
        "driver_version" => p.string("3.3"),
        "system_version" => {
            let text = format!("SwarmRT {} on Erlang/OTP {otp} [64-bit] [smp:{schedulers}:{schedulers}]\n", env!("CARGO_PKG_VERSION"));
            p.string(&text)
        }
        "system_architecture" => p.string("x86_64-pc-linux-gnu"),
        "machine" => p.string("BEAM"),
        "emu_type" => Term::atom(atom!("opt")),
        "emu_flavor" => Term::atom(atom!("emu")),
        "build_type" => Term::atom(atom!("opt")),
        "heap_type" => Term::atom(am::PRIVATE),
        "heap_sizes" => {
            let mut sizes = Vec::new();
            let mut size = 12;
            while size < 1 << 30 {
                sizes.push(Term::small(size as i64));
                size = swarmrt_heap::collect::block_words_for(size + 1);
            }
            p.list(&sizes)
        }
        "min_heap_size" => p.tuple(&[Term::atom(atom!("min_heap_size")), Term::small(233)]),
        "min_bin_vheap_size" => p.tuple(&[Term::atom(atom!("min_bin_vheap_size")), Term::small(46_422)]),
        "fullsweep_after" => p.tuple(&[Term::atom(atom!("fullsweep_after")), Term::small(65_535)]),
        "max_heap_size" => {
            let limit = vm.default_max_heap_size();
            let limit = limit.unwrap_or(swarmrt_machine::process::MaxHeapSize { words: 0, kill: true, error_logger: true });
            let value = crate::process::max_heap_term(p, limit);
            p.tuple(&[Term::atom(am::MAX_HEAP_SIZE), value])
        }
        "garbage_collection" => {
            let limit = vm.default_max_heap_size().unwrap_or(swarmrt_machine::process::MaxHeapSize { words: 0, kill: true, error_logger: true });
            let value = crate::process::max_heap_term(p, limit);
            let first = p.tuple(&[Term::atom(am::MAX_HEAP_SIZE), value]);
            let rest = proportion(p, &[("min_bin_vheap_size", 46_422), ("min_heap_size", 233), ("fullsweep_after", 65_535)]);
            p.cons(first, rest)
        }
        "kernel_poll" => Term::bool(true),
        "tolerant_timeofday" => Term::atom(atom!("enabled")),
        "dist_buf_busy_limit" => Term::small(1 << 20),
        "time_correction" => Term::bool(true),
        "time_offset" => Term::atom(atom!("final")),
        "time_warp_mode" => Term::atom(atom!("no_time_warp")),
        "start_time" => {
            let start = vm.clock.start_ns();
            p.int(start)
        }
        "end_time" => {
            let end = i64::MAX;
            p.int(end)
        }
        "creation" => Term::small(i64::from(vm.node().creation)),
        "dist" | "info" | "procs" | "loaded" => p.binary(b""),
        "dist_ctrl" => Term::NIL,
        "delayed_node_table_gc" => Term::small(60),
        "modified_timing_level" => Term::atom(am::UNDEFINED),
        "trace_control_word" => Term::small(0),
        "c_compiler_used" => {
            let version = p.string("none");
            p.tuple(&[Term::atom(atom!("rustc")), version])
        }
        "compat_rel" => Term::small(otp.parse().unwrap_or(25)),
        "debug_compiled" | "lock_checking" | "lock_counting" | "dynamic_trace_probes" | "eager_check_io" => Term::bool(false),
        "dynamic_trace" => Term::atom(am::NONE),
        "async_dist" => Term::bool(false),
        "logical_processors_max" => Term::small(schedulers),
        "cpu_topology" => Term::atom(am::UNDEFINED),
        "cpu_quota" => Term::atom(am::UNKNOWN),
        "update_cpu_info" => Term::atom(atom!("unchanged")),
        "port_parallelism" => Term::bool(false),
        "print_ethread_info" => Term::bool(false),
        "os_type" => p.tuple(&[Term::atom(atom!("unix")), Term::atom(atom!("linux"))]),
        "os_version" => os_version(p),
        "os_monotonic_time_source" | "os_system_time_source" => proportion(p, &[("resolution", 1_000_000_000)]),
        "check_io" => Term::NIL,
        "allocated_areas" => crate::memory::allocated_areas(p),
        "alloc_util_allocators" | "snifs" | "taints" => Term::NIL,
        "allocator" => {
            let allocator = Term::atom(atom!("mimalloc"));
            p.tuple(&[allocator, Term::NIL, Term::NIL, Term::NIL])
        }
        "system_logger" => vm.system_logger(),
        "outstanding_system_requests_limit" => Term::small(i64::from(p.vm.extension::<Limits>().outstanding_requests())),
        "break_ignored" => Term::bool(false),
        "backtrace_depth" => Term::small(vm.backtrace_depth() as i64),
        _ => return Err(Raise::BADARG),
    })
}

fn system_info_tuple(p: &mut Process, elements: &[Term]) -> BifResult {
    let name = elements.first().and_then(|name| name.as_atom()).ok_or(Raise::BADARG)?;
    match name.name() {
        "allocator" | "allocator_sizes" => Ok(Term::NIL),
        "memory_internal" => crate::memory::memory_internal(p, elements),
        "wordsize" => Ok(Term::small(8)),
        "cpu_topology" => Ok(Term::atom(am::UNDEFINED)),
        "purge" => Ok(Term::NIL),
        _ => {
            let _ = p;
            Err(Raise::BADARG)
        }
    }
}

fn os_version(p: &mut Process) -> Term {
    // SAFETY: `uname` fills the structure that it is given.
    let release = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        std::ffi::CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<i64>().unwrap_or(0));
    let mut number = || Term::small(numbers.next().unwrap_or(0));
    let version = [number(), number(), number()];
    p.tuple(&version)
}

#[bif("erlang:system_flag/2")]
fn system_flag(p: &mut Process, flag: Term, value: Term) -> BifResult {
    let flag = flag.as_atom().ok_or(Raise::BADARG)?;
    let number = || value.as_small().ok_or(Raise::BADARG);
    Ok(match flag.name() {
        "backtrace_depth" => {
            let depth = usize::try_from(number()?).ok().filter(|&depth| depth <= 1024).ok_or(Raise::BADARG)?;
            Term::small(p.vm.set_backtrace_depth(depth) as i64)
        }
        "schedulers_online" => {
            number()?;
            Term::small(p.vm.schedulers.count() as i64)
        }
        "fullsweep_after" => {
            number()?;
            Term::small(65_535)
        }
        "min_heap_size" => {
            number()?;
            Term::small(233)
        }
        "min_bin_vheap_size" => {
            number()?;
            Term::small(46_422)
        }
        "scheduler_wall_time" | "microstate_accounting" => {
            value.as_bool().ok_or(Raise::BADARG)?;
            Term::bool(false)
        }
        "trace_control_word" => {
            number()?;
            Term::small(0)
        }
        "time_offset" => Term::atom(atom!("final")),
        "multi_scheduling" => Term::atom(atom!("enabled")),
        "max_heap_size" => {
            let limit = value.as_small().and_then(|words| usize::try_from(words).ok()).ok_or(Raise::BADARG)?;
            let before = p.vm.default_max_heap_size();
            let made = swarmrt_machine::process::MaxHeapSize { words: limit, kill: true, error_logger: true };
            p.vm.set_default_max_heap_size(Some(made));
            let before = before.unwrap_or(swarmrt_machine::process::MaxHeapSize { words: 0, ..made });
            crate::process::max_heap_term(p, before)
        }
        "outstanding_system_requests_limit" => {
            let limit = number()?;
            let limit = u32::try_from(limit).ok().filter(|&limit| limit > 0).ok_or(Raise::BADARG)?;
            Term::small(i64::from(p.vm.extension::<Limits>().set_outstanding_requests(limit)))
        }
        "system_logger" => {
            let known = value == Term::atom(am::LOGGER) || value == Term::atom(am::UNDEFINED) || value.is_pid();
            if !known {
                return Err(Raise::BADARG);
            }
            p.vm.set_system_logger(value)
        }
        _ => return Err(Raise::BADARG),
    })
}

#[bif("erlang:statistics/1")]
fn statistics(p: &mut Process, item: Term) -> BifResult {
    use std::sync::atomic::Ordering::Relaxed;
    let item = item.as_atom().ok_or(Raise::BADARG)?;
    let vm = p.vm;
    let since_last = |slot: &std::sync::atomic::AtomicU64, now: u64| now.saturating_sub(slot.swap(now, Relaxed));
    let last = vm.extension::<LastStatistics>();
    Ok(match item.name() {
        "context_switches" => {
            let switches = p.int(vm.schedulers.context_switches.load(Relaxed) as i64);
            p.tuple(&[switches, Term::small(0)])
        }
        "reductions" | "exact_reductions" => {
            let total = vm.schedulers.reductions();
            let fresh = since_last(&last.reductions, total);
            let (total, fresh) = (p.int(total as i64), p.int(fresh as i64));
            p.tuple(&[total, fresh])
        }
        "runtime" => {
            // SAFETY: `getrusage` fills the structure that it is given.
            let used = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
                let ms = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
                ms(usage.ru_utime) + ms(usage.ru_stime)
            };
            let fresh = since_last(&last.runtime, used);
            p.tuple(&[Term::small(used as i64), Term::small(fresh as i64)])
        }
        "wall_clock" => {
            let now = vm.clock.since_start_ns() / 1_000_000;
            let fresh = since_last(&last.wall_clock, now);
            p.tuple(&[Term::small(now as i64), Term::small(fresh as i64)])
        }
        "run_queue" | "total_run_queue_lengths" | "total_active_tasks" => Term::small(vm.schedulers.queue_lengths().iter().sum::<usize>() as i64),
        "run_queue_lengths" | "active_tasks" | "run_queue_lengths_all" | "active_tasks_all" | "run_queues" => {
            let lengths: Vec<Term> = vm.schedulers.queue_lengths().into_iter().map(|length| Term::small(length as i64)).collect();
            p.list(&lengths)
        }
        "total_run_queue_lengths_all" | "total_active_tasks_all" => Term::small(vm.schedulers.queue_lengths().iter().sum::<usize>() as i64),
        "garbage_collection" => p.tuple(&[Term::small(0), Term::small(0), Term::small(0)]),
        "io" => {
            let input = p.tuple(&[Term::atom(atom!("input")), Term::small(0)]);
            let output = p.tuple(&[Term::atom(atom!("output")), Term::small(0)]);
            p.tuple(&[input, output])
        }
        "scheduler_wall_time" | "scheduler_wall_time_all" if vm.schedulers.measuring.load(Relaxed) => {
            let total = vm.clock.since_start_ns() - vm.schedulers.measured_since_ns.load(Relaxed);
            let busy = vm.schedulers.busy_ns();
            let mut entries = Vec::new();
            for (number, busy) in busy.into_iter().enumerate() {
                let (busy, total) = (p.uint(busy.min(total)), p.uint(total));
                entries.push(p.tuple(&[Term::small(number as i64 + 1), busy, total]));
            }
            p.list(&entries)
        }
        "scheduler_wall_time" | "scheduler_wall_time_all" | "microstate_accounting" => Term::atom(am::UNDEFINED),
        _ => return Err(Raise::BADARG),
    })
}

#[derive(Default)]
struct LastStatistics {
    reductions: std::sync::atomic::AtomicU64,
    runtime: std::sync::atomic::AtomicU64,
    wall_clock: std::sync::atomic::AtomicU64,
}

#[bif("erts_internal:scheduler_wall_time/1")]
fn scheduler_wall_time(p: &mut Process, on: Term) -> BifResult {
    let on = on.as_bool().ok_or(Raise::BADARG)?;
    Ok(Term::bool(p.vm.schedulers.measure(on, p.vm.clock.since_start_ns())))
}

#[bif("erlang:halt/2")]
fn halt(p: &mut Process, status: Term, options: Term) -> BifResult {
    let mut flush = true;
    for option in options.list_to_vec().ok_or(Raise::BADARG)? {
        match option.as_tuple() {
            Some(pair) if pair.arity() == 2 && pair.get(0) == Term::atom(am::FLUSH) => flush = pair.get(1).as_bool().ok_or(Raise::BADARG)?,
            _ => return Err(Raise::BADARG),
        }
    }
    let code = if let Some(code) = status.as_small() {
        i32::try_from(code & 0xff).map_err(|_| Raise::BADARG)?
    } else if status == Term::atom(atom!("abort")) {
        134
    } else {
        let bytes: Option<Vec<u8>> = status.list_to_vec().and_then(|list| list.iter().map(|c| c.as_small().map(|c| c as u8)).collect());
        let text = bytes.ok_or(Raise::BADARG)?;
        eprintln!("{}", String::from_utf8_lossy(&text));
        1
    };
    if flush && let Some(ports) = p.vm.ports() {
        ports.flush(p.vm);
    }
    p.vm.halt(code);
    // Nothing of this process runs on.
    Err(Raise::Wait)
}

#[bif("os:getpid/0")]
fn getpid(p: &mut Process) -> BifResult {
    let pid = std::process::id().to_string();
    Ok(p.string(&pid))
}

fn os_string(term: Term) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for c in term.list_to_vec()? {
        let c = char::from_u32(u32::try_from(c.as_small()?).ok()?).filter(|&c| c != '\0')?;
        let mut buffer = [0; 4];
        text.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
    Some(text)
}

fn os_str(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn variable_name(term: Term) -> Result<Vec<u8>, Raise> {
    os_string(term).filter(|name| !name.is_empty() && !name.contains(&b'=')).ok_or(Raise::BADARG)
}

/// Serialises access to the environment, which the C library does not.
static ENVIRONMENT: parking_lot::RwLock<()> = parking_lot::RwLock::new(());

#[bif("os:getenv/1")]
fn getenv(p: &mut Process, name: Term) -> BifResult {
    let name = os_string(name).ok_or(Raise::BADARG)?;
    if name.is_empty() || name.contains(&b'=') {
        return Ok(Term::bool(false));
    }
    let _reading = ENVIRONMENT.read();
    Ok(match std::env::var_os(os_str(&name)) {
        Some(value) => p.string(&value.to_string_lossy()),
        None => Term::bool(false),
    })
}
#[bif("os:putenv/2")]
fn putenv(_p: &mut Process, name: Term, value: Term) -> BifResult {
    let (name, value) = (variable_name(name)?, os_string(value).ok_or(Raise::BADARG)?);
    let _writing = ENVIRONMENT.write();
    // SAFETY: all access by the machine goes through the lock.
    unsafe { std::env::set_var(os_str(&name), os_str(&value)) };
    Ok(Term::bool(true))
}
#[bif("os:unsetenv/1")]
fn unsetenv(_p: &mut Process, name: Term) -> BifResult {
    let name = variable_name(name)?;
    let _writing = ENVIRONMENT.write();
    // SAFETY: as above.
    unsafe { std::env::remove_var(os_str(&name)) };
    Ok(Term::bool(true))
}
#[bif("os:env/0")]
fn env(p: &mut Process) -> BifResult {
    let _reading = ENVIRONMENT.read();
    let mut pairs = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = p.string(&name.to_string_lossy());
        let value = p.string(&value.to_string_lossy());
        pairs.push(p.tuple(&[name, value]));
    }
    Ok(p.list(&pairs))
}
#[bif("os:set_signal/2")]
fn set_signal(_p: &mut Process, signal: Term, option: Term) -> BifResult {
    if !signal.is_atom() || !option.is_atom() {
        return Err(Raise::BADARG);
    }
    Ok(Term::atom(am::OK))
}

#[bif("erlang:nodes/0")]
fn nodes_0(_p: &mut Process) -> BifResult {
    Ok(Term::NIL)
}
#[bif("erlang:nodes/1")]
fn nodes_1(p: &mut Process, kind: Term) -> BifResult {
    let this = Term::atom(p.vm.node().name);
    let kinds = kind.list_to_vec().unwrap_or_else(|| vec![kind]);
    let wants_this = kinds.iter().any(|&kind| kind == Term::atom(atom!("this")) || kind == Term::atom(atom!("known")));
    Ok(if wants_this { p.list(&[this]) } else { Term::NIL })
}
/// Nodes with what is asked of each: `connection_id`, `node_type`.
#[bif("erlang:nodes/2")]
fn nodes_2(p: &mut Process, kind: Term, options: Term) -> BifResult {
    if !options.is_map() {
        return Err(Raise::BADARG);
    }
    let nodes = nodes_1(p, kind)?;
    let Some(cell) = nodes.as_cons() else { return Ok(Term::NIL) };
    let mut pairs = Vec::new();
    for (key, wanted) in swarmrt_term::map::iter(options) {
        if wanted != Term::bool(true) {
            continue;
        }
        let value = match key.as_atom().map(Atom::name) {
            Some("connection_id") => am::UNDEFINED,
            Some("node_type") => atom!("this"),
            _ => return Err(Raise::BADARG),
        };
        pairs.push((key, Term::atom(value)));
    }
    let info = swarmrt_term::map::from_pairs(&mut p.heap, &pairs);
    let entry = p.tuple(&[cell.head(), info]);
    Ok(p.list(&[entry]))
}
#[bif("erlang:monitor_node/2")]
fn monitor_node_2(_p: &mut Process, _node: Term, _on: Term) -> BifResult {
    Ok(Term::bool(true))
}
#[bif("erts_internal:get_creation/0")]
fn get_creation(p: &mut Process) -> BifResult {
    Ok(Term::small(i64::from(p.vm.node().creation)))
}
#[bif("net_kernel:dflag_unicode_io/1")]
fn dflag_unicode_io(_p: &mut Process, _pid: Term) -> BifResult {
    Ok(Term::bool(true))
}
#[bif("erts_internal:system_check/1")]
fn system_check(_p: &mut Process, _what: Term) -> BifResult {
    Ok(Term::atom(am::OK))
}
#[bif("erts_internal:no_aux_work_threads/0")]
fn no_aux_work_threads(p: &mut Process) -> BifResult {
    Ok(Term::small(crate::memory::threads(p)))
}
#[bif("error_logger:warning_map/0")]
fn warning_map(_p: &mut Process) -> BifResult {
    Ok(Term::atom(atom!("warning")))
}
#[bif("io:printable_range/0")]
fn printable_range(p: &mut Process) -> BifResult {
    let unicode = p.vm.config.boot_args.windows(2).any(|pair| pair[0] == b"+pc" && pair[1] == b"unicode");
    Ok(Term::atom(if unicode { atom!("unicode") } else { atom!("latin1") }))
}
#[bif("erlang:system_monitor/0")]
fn system_monitor_0(_p: &mut Process) -> BifResult {
    Ok(Term::atom(am::UNDEFINED))
}
#[bif("erlang:system_profile/0")]
fn system_profile_0(_p: &mut Process) -> BifResult {
    Ok(Term::atom(am::UNDEFINED))
}
#[bif("erlang:seq_trace/2")]
fn seq_trace(_p: &mut Process, _kind: Term, _value: Term) -> BifResult {
    Ok(Term::NIL)
}
#[bif("erlang:seq_trace_info/1")]
fn seq_trace_info(p: &mut Process, item: Term) -> BifResult {
    Ok(p.tuple(&[item, Term::bool(false)]))
}
#[bif("erlang:seq_trace_print/1")]
fn seq_trace_print_1(_p: &mut Process, _value: Term) -> BifResult {
    Ok(Term::bool(false))
}
#[bif("erlang:dt_get_tag/0")]
fn dt_get_tag(_p: &mut Process) -> BifResult {
    Ok(Term::atom(am::UNDEFINED))
}
#[bif("erlang:dt_put_tag/1")]
fn dt_put_tag(_p: &mut Process, _tag: Term) -> BifResult {
    Ok(Term::atom(am::UNDEFINED))
}
#[bif("erlang:dt_spread_tag/1")]
fn dt_spread_tag(_p: &mut Process, _on: Term) -> BifResult {
    Ok(Term::bool(true))
}
#[bif("erlang:dt_restore_tag/1")]
fn dt_restore_tag(_p: &mut Process, _tag: Term) -> BifResult {
    Ok(Term::bool(true))
}
#[bif("erlang:dt_prepend_vm_tag_data/1")]
fn dt_prepend_vm_tag_data(_p: &mut Process, data: Term) -> BifResult {
    Ok(data)
}
#[bif("erlang:dt_append_vm_tag_data/1")]
fn dt_append_vm_tag_data(_p: &mut Process, data: Term) -> BifResult {
    Ok(data)
}
