//! What a driver does with its own port: ends it, says that it is busy, monitors processes.

use super::{Ending, Handle, open_port};
use crate::abi::{CText, Monitor, Out};
use crate::env::vm;
use parking_lot::lock_api::RawMutex as _;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::{pin, signal};
use swarmrt_term::{Atom, Term, am};

fn end(handle: Handle, ending: Ending) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    port.end(vm(), ending);
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_eof(handle: Handle) -> c_int {
    end(handle, Ending::Eof)
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_atom(handle: Handle, name: CText) -> c_int {
    end(handle, Ending::Reason(Atom::new(&name.lossy())))
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_posix(handle: Handle, error: c_int) -> c_int {
    end(handle, Ending::Reason(Atom::new(swarmrt_io::posix::name(error))))
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure(handle: Handle, error: c_int) -> c_int {
    match error {
        -3 => end(handle, Ending::Reason(am::BADARG)),
        -2 => driver_failure_posix(handle, std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        -1 => end(handle, Ending::Reason(Atom::new("einval"))),
        error => driver_failure_posix(handle, error),
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_exit(handle: Handle, error: c_int) -> c_int {
    if error == 0 { end(handle, Ending::Reason(am::NORMAL)) } else { driver_failure_posix(handle, error) }
}

#[unsafe(no_mangle)]
pub extern "C" fn set_busy_port(handle: Handle, on: c_int) {
    if let Some(port) = open_port(handle) {
        port.is_busy.store(on != 0, Ordering::Release);
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn set_port_control_flags(handle: Handle, flags: c_int) {
    if let Some(port) = open_port(handle) {
        port.control_binary.store(flags & 1 != 0, Ordering::Release);
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn get_port_flags(handle: Handle) -> c_int {
    open_port(handle).map_or(0, |port| c_int::from(port.is_binary))
}
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_busy_msgq_limits(_handle: Handle, _low: Out<usize>, _high: Out<usize>) {}
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_consume_timeslice(_handle: Handle, _percent: c_int) -> c_int {
    0
}
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_init_ack(_handle: Handle, _data: *mut c_void) {}
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_set_os_pid(handle: Handle, pid: c_long) {
    if let Some(port) = open_port(handle) {
        port.os_pid.store(pid as u32, Ordering::Release);
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_lock_driver(handle: Handle) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    port.loaded.permanent.store(true, Ordering::Release);
    0
}

// ---- Locks that a port shares with other threads ----

/// `ErlDrvPDL`.
pub struct DataLock {
    lock: parking_lot::RawMutex,
    references: AtomicI64,
}

#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_create(_handle: Handle) -> *mut DataLock {
    Box::into_raw(Box::new(DataLock { lock: parking_lot::RawMutex::INIT, references: AtomicI64::new(1) }))
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_lock(lock: &DataLock) {
    lock.lock.lock();
}
/// # Safety
/// The calling thread has the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_pdl_unlock(lock: &DataLock) {
    // SAFETY: the caller's.
    unsafe { lock.lock.unlock() };
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_get_refc(lock: &DataLock) -> c_long {
    lock.references.load(Ordering::Acquire)
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_inc_refc(lock: &DataLock) -> c_long {
    lock.references.fetch_add(1, Ordering::AcqRel) + 1
}
/// A lock without references stays: who has it may be about to give it back.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_dec_refc(lock: &DataLock) -> c_long {
    lock.references.fetch_sub(1, Ordering::AcqRel) - 1
}

// ---- Monitors ----

/// 0 when the process is monitored; less when the driver has no function for that, more when the process is gone.
#[unsafe(no_mangle)]
pub extern "C" fn driver_monitor_process(handle: Handle, process: Term, to: Out<Monitor>) -> c_int {
    let Some(port) = open_port(handle).filter(|port| port.loaded.entry().process_exit.is_some()) else { return -1 };
    let (vm, _guard) = (vm(), pin());
    let Some(pid) = process.as_pid() else { return 1 };
    if vm.processes.get(pid).is_none_or(|cell| cell.shared.incoming.is_closed()) {
        return 1;
    }
    let value = vm.next_ref();
    let monitor = Monitor::new(value.id, value.low);
    port.monitors.lock().insert(value.id, (monitor, pid));
    to.put(monitor);
    let (number, id) = (port.number(), value.id);
    let exited = move || {
        super::work::run(
            number as usize,
            Box::new(move || {
                let Some(port) = open_port(number as Handle) else { return };
                let Some((monitor, _)) = port.monitors.lock().remove(&id) else { return };
                port.with_entry(crate::env::vm(), |entry, data| {
                    if let Some(process_exit) = entry.process_exit {
                        // SAFETY: the library's own function.
                        unsafe { process_exit(data, &raw const monitor) };
                    }
                });
            }),
        );
    };
    signal::send_call(
        vm,
        pid,
        Box::new(move |_, process| match process {
            Some(process) => {
                let call = Box::new(move |_: &'static _| exited());
                process.extra().on_exit.insert(id, OnExit { watcher: Watcher::Port(number), call });
            }
            None => exited(),
        }),
    );
    0
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_demonitor_process(handle: Handle, monitor: &Monitor) -> c_int {
    let gone = open_port(handle).and_then(|port| port.monitors.lock().remove(&monitor.id));
    match gone {
        Some((monitor, pid)) => {
            crate::resources::take_off(monitor.id, pid);
            0
        }
        None => 1,
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_get_monitored_process(handle: Handle, monitor: &Monitor) -> Term {
    open_port(handle).and_then(|port| port.monitors.lock().get(&monitor.id).map(|&(_, pid)| Term::pid(pid))).unwrap_or(Term::NIL)
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_compare_monitors(a: &Monitor, b: &Monitor) -> c_int {
    a.cmp(b) as c_int
}

// ---- Files and variables ----

#[unsafe(no_mangle)]
pub extern "C" fn driver_dl_open(path: CText) -> *mut c_void {
    crate::library::enif_dlopen(path, None, std::ptr::null_mut())
}
/// # Safety
/// `handle` came from `driver_dl_open`, and `name` is ended by a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_dl_sym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's.
    crate::library::symbol(handle, unsafe { CStr::from_ptr(name) }).unwrap_or(std::ptr::null_mut())
}
/// # Safety
/// `handle` came from `driver_dl_open`, and nothing of the file is used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_dl_close(handle: *mut c_void) -> c_int {
    // SAFETY: the caller's.
    unsafe { libc::dlclose(handle) }
}
#[unsafe(no_mangle)]
pub extern "C" fn driver_dl_error() -> *mut c_char {
    // SAFETY: a call without conditions.
    unsafe { libc::dlerror() }
}
/// # Safety
/// Both are ended by a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn erl_drv_putenv(name: *const c_char, value: *const c_char) -> c_int {
    // SAFETY: the caller's.
    unsafe { libc::setenv(name, value, 1) }
}
