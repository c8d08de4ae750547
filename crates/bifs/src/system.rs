//! Ending the machine, the environment, and what stands for other nodes and for tracing of the
//! system.

use crate::args::pair_of;
use crate::process::bad_option;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::vm::halting::Halting;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom};

/// The longest that a halt may wait for output, in milliseconds.
const FLUSH_LIMIT_MS_MAX: u64 = i32::MAX as u64;

/// How long a halt waits for output that nobody takes, where it has no limit.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a halt waits for output at most, in milliseconds, where there is a limit: the flag
/// `+zhft`.
pub(crate) fn flush_limit_ms(vm: &Vm) -> Option<u64> {
    vm.config
        .flag("+zhft")
        .and_then(|limit| limit.parse().ok())
        .filter(|&ms| ms <= FLUSH_LIMIT_MS_MAX)
}

/// Whether somebody halts the machine with a crash dump already.
#[derive(Default)]
struct Crashing(AtomicBool);

/// Halts once a crash dump is written, for the first who asks. Processes tell of themselves for it,
/// so that schedulers run meanwhile, and a thread of its own waits.
pub(crate) fn halt_with_dump(vm: &'static Vm, slogan: String) {
    const EXIT_CRASHED: i32 = 1;
    if vm.extension::<Crashing>().0.swap(true, Ordering::Relaxed) {
        return;
    }
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{slogan}");
    let write = move || {
        if let Some(inspector) = vm.inspector() {
            inspector.crash_dump(vm, &slogan);
        }
        vm.halt(EXIT_CRASHED);
    };
    if vm.start_thread("crash dump", write).is_err() {
        vm.halt(EXIT_CRASHED);
    }
}

#[bif("erlang:halt/2")]
fn halt(p: &mut Process, status: Term, options: Term) -> BifResult {
    let (mut flush, mut limit_ms) = (true, flush_limit_ms(p.vm));
    for option in options.list_to_vec().ok_or_else(bad_option)? {
        let (name, value) = pair_of(option).ok_or_else(bad_option)?;
        match name.as_atom().map(Atom::name) {
            Some("flush") => flush = value.as_bool().ok_or_else(bad_option)?,
            Some("flush_timeout") if p.vm.release() >= Release::R27 => {
                let given = value.as_small().and_then(|ms| u64::try_from(ms).ok());
                let given = given.filter(|&ms| ms <= FLUSH_LIMIT_MS_MAX).ok_or_else(bad_option)?;
                // The shorter one counts.
                limit_ms = Some(limit_ms.map_or(given, |ms| ms.min(given)));
            }
            _ => return Err(bad_option()),
        }
    }
    let code = if let Some(code) = status.as_small() {
        if code < 0 {
            return Err(BifExit::BADARG);
        }
        i32::try_from(code & 0xff).map_err(|_| BifExit::BADARG)?
    } else if status == Term::atom(atom!("abort")) {
        134
    } else {
        let bytes: Option<Vec<u8>> = status
            .list_to_vec()
            .and_then(|list| list.iter().map(|c| c.as_small().map(|c| c as u8)).collect());
        let text = bytes.ok_or(BifExit::BADARG)?;
        let slogan = String::from_utf8_lossy(&text).into_owned();
        halt_with_dump(p.vm, slogan);
        // Nothing of this process runs on.
        return Err(BifExit::Wait);
    };
    if flush && let Some(limit_ms) = limit_ms {
        const FLUSH_TIMED_OUT: i32 = 255;
        let at = p.vm.clock.since_start_ns() + limit_ms * 1_000_000;
        p.vm.timers.start(at, Box::new(|vm| vm.halt(FLUSH_TIMED_OUT)));
    }
    p.vm.schedulers.stop_running();
    if flush {
        p.vm.extension::<Halting>().prepare(p.vm);
        // Messages of this turn to other nodes.
        deferred::run();
        if let Some(ports) = p.vm.ports() {
            ports.flush(p.vm, limit_ms.is_none().then_some(FLUSH_PATIENCE));
        }
    }
    p.vm.halt(code);
    // Nothing of this process runs on.
    Err(BifExit::Wait)
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

fn variable_name(term: Term) -> Result<Vec<u8>, BifExit> {
    os_string(term).filter(|name| !name.contains(&b'=')).ok_or(BifExit::BADARG)
}

/// Serialises access to the environment, which the C library does not. Inside is the value of the
/// variable without a name, which OTP has and the C library has not.
static ENVIRONMENT: parking_lot::RwLock<Option<Vec<u8>>> = parking_lot::RwLock::new(None);

#[bif("os:getenv/1")]
fn getenv(p: &mut Process, name: Term) -> BifResult {
    let name = variable_name(name)?;
    let nameless = ENVIRONMENT.read();
    let value = match &*nameless {
        nameless if name.is_empty() => nameless.clone(),
        _ => std::env::var_os(os_str(&name)).map(OsStringExt::into_vec),
    };
    Ok(match value {
        Some(value) => p.string(&String::from_utf8_lossy(&value)),
        None => Term::bool(false),
    })
}
#[bif("os:putenv/2")]
fn putenv(_p: &mut Process, name: Term, value: Term) -> BifResult {
    let (name, value) = (variable_name(name)?, os_string(value).ok_or(BifExit::BADARG)?);
    let mut nameless = ENVIRONMENT.write();
    if name.is_empty() {
        *nameless = Some(value);
        return Ok(Term::bool(true));
    }
    // SAFETY: all access by the machine goes through the lock.
    unsafe { std::env::set_var(os_str(&name), os_str(&value)) };
    Ok(Term::bool(true))
}
#[bif("os:unsetenv/1")]
fn unsetenv(_p: &mut Process, name: Term) -> BifResult {
    let name = variable_name(name)?;
    let mut nameless = ENVIRONMENT.write();
    if name.is_empty() {
        *nameless = None;
        return Ok(Term::bool(true));
    }
    // SAFETY: all access by the machine goes through the lock.
    unsafe { std::env::remove_var(os_str(&name)) };
    Ok(Term::bool(true))
}
#[bif("os:env/0")]
fn env(p: &mut Process) -> BifResult {
    let nameless = ENVIRONMENT.read();
    let mut pairs = Vec::new();
    let nameless = nameless.clone().map(|value| (OsString::new(), OsString::from_vec(value)));
    for (name, value) in std::env::vars_os().chain(nameless) {
        let name = p.string(&name.to_string_lossy());
        let value = p.string(&value.to_string_lossy());
        pairs.push(p.tuple(&[name, value]));
    }
    Ok(p.list(&pairs))
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
fn warning_map(p: &mut Process) -> BifResult {
    Ok(Term::atom(swarmrt_machine::process::exception::warning_level(p.vm)))
}
#[bif("io:printable_range/0")]
fn printable_range(p: &mut Process) -> BifResult {
    let unicode = p.vm.config.flag("+pc") == Some("unicode");
    Ok(Term::atom(if unicode { atom!("unicode") } else { atom!("latin1") }))
}
#[bif("erlang:system_profile/0")]
fn system_profile_0(_p: &mut Process) -> BifResult {
    Ok(Term::atom(am::UNDEFINED))
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
