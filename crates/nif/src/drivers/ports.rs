//! What a driver does with its own port: ends it, says that it is busy, monitors processes.

use super::entry::{Data, Handle, NO_PORT};
use super::loaded::start_failure;
use super::port::{Ending, LoadedPort, open_port};
use super::registry;
use crate::abi::{CText, Monitor, Out, c_bool};
use crate::env::vm;
use crate::library::File;
use parking_lot::lock_api::RawMutex as _;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use swarmrt_io::port::{Options, Ports};
use swarmrt_io::posix;
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::{Process, Vm, pin, signal};
use swarmrt_term::{Atom, Term, am};

fn end(handle: Handle, ending: Ending) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    port.end(vm(), ending);
    0
}

/// Ends the port as at the end of a file. As with all `driver_failure…`: 0, or -1 where there is no
/// such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_eof(handle: Handle) -> c_int {
    end(handle, Ending::Eof)
}
/// Ends the port with an atom as the reason.
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_atom(handle: Handle, name: CText) -> c_int {
    let name = super::messages::atom_of(name).unwrap_or(am::BADARG);
    end(handle, Ending::Reason(Term::atom(name)))
}
fn posix(error: c_int) -> Term {
    Term::atom(Atom::new(swarmrt_io::posix::name(error)))
}

/// Ends the port with the name of an error number as the reason.
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure_posix(handle: Handle, error: c_int) -> c_int {
    end(handle, Ending::Reason(posix(error)))
}
/// Ends the port with the number as the reason; 0 stands for the end of a file.
#[unsafe(no_mangle)]
pub extern "C" fn driver_failure(handle: Handle, error: c_int) -> c_int {
    match error {
        0 => end(handle, Ending::Eof),
        error => end(handle, Ending::Reason(Term::small(error.into()))),
    }
}
/// Ends the port with the name of an error number, or `normal` for 0, and removes the owner's link
/// without a signal.
#[unsafe(no_mangle)]
pub extern "C" fn driver_exit(handle: Handle, error: c_int) -> c_int {
    let reason = if error == 0 { Term::atom(am::NORMAL) } else { posix(error) };
    end(handle, Ending::Exit(reason))
}

/// A new port of the same driver, owned by and linked to a process. It has no `start`.
#[unsafe(no_mangle)]
pub extern "C" fn driver_create_port(
    creator: Handle,
    owner: Term,
    name: CText,
    data: Data,
) -> Handle {
    let (vm, _guard) = (vm(), pin());
    let Some(creator) = open_port(creator) else { return NO_PORT };
    let is_there =
        |pid: u64| vm.processes.get(pid).is_some_and(|cell| !cell.shared.incoming.is_closed());
    let Some(owner) = owner.as_pid().filter(|&pid| is_there(pid)) else { return NO_PORT };
    let Some(reference) = registry::reference(&creator.loaded) else { return NO_PORT };
    let Some(parent) = creator.shell() else { return NO_PORT };
    let options = Options { parallelism: parent.options.parallelism, ..Options::default() };
    let driver = LoadedPort::new(reference, 0, options.binary);
    let shell = Ports::of(vm).open(vm, owner, name.lossy(), options, None, driver.clone());
    driver.set_data(data);
    driver.opened(&shell);
    let term = shell.term;
    let link = move |vm: &'static Vm, process: Option<&mut Process>| match process {
        Some(process) => {
            process.relations.link(term);
        }
        None => {
            if let Some(shell) = Ports::of(vm).get(term) {
                shell.close(vm, Term::atom(Atom::new("noproc")));
            }
        }
    };
    signal::send_call(vm, owner, Box::new(link));
    driver.handle()
}

/// Says whether writers are to wait for the port.
#[unsafe(no_mangle)]
pub extern "C" fn set_busy_port(handle: Handle, on: c_int) {
    if let Some(port) = open_port(handle) {
        port.set_busy(vm(), on != 0);
    }
}
/// `PORT_CONTROL_FLAG_BINARY` (1) has `control` answer with binaries; other flags are ignored.
#[unsafe(no_mangle)]
pub extern "C" fn set_port_control_flags(handle: Handle, flags: c_int) {
    if let Some(port) = open_port(handle) {
        port.control_binary.store(flags & 1 != 0, Ordering::Release);
    }
}
/// `PORT_FLAG_BINARY` (1) where the owner gets binaries, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn get_port_flags(handle: Handle) -> c_int {
    open_port(handle).map_or(0, |port| c_int::from(port.is_binary))
}
/// Sets the limits, in bytes, that are not 0, and answers those that hold then. Commands do not
/// queue up before a port here, so no process is ever suspended for these limits.
///
/// # Safety
/// Both addresses are null or those of a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn erl_drv_busy_msgq_limits(
    handle: Handle,
    low: *mut usize,
    high: *mut usize,
) {
    let Some(port) = open_port(handle) else { return };
    // SAFETY: the caller's.
    let (low, high) = unsafe { (low.as_mut(), high.as_mut()) };
    let mut limits = port.queue_limits.lock();
    let given = |limit: &Option<&mut usize>| limit.as_deref().copied().filter(|&limit| limit != 0);
    *limits = limits.with(given(&low), given(&high));
    if let Some(low) = low {
        *low = limits.low;
    }
    if let Some(high) = high {
        *high = limits.high;
    }
}
/// Whether the time is used up that a callback has; the process that has called it yields then.
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_consume_timeslice(_handle: Handle, percent: c_int) -> c_int {
    let percent = u32::try_from(percent).unwrap_or(1).clamp(1, 100);
    c_bool(swarmrt_io::port::driver::consume(percent))
}
/// The port is open now, or is not because of what would be wrong with `start`'s result. Nothing
/// where nobody waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_init_ack(handle: Handle, data: *mut c_void) {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let Some(port) = open_port(handle) else { return };
    let failure = start_failure(data, errno);
    let problem =
        failure.map(|number| number.map_or(am::BADARG, |number| Atom::new(posix::name(number))));
    if !port.acknowledge(vm(), problem) {
        return;
    }
    port.set_data(data);
    if problem.is_some() {
        port.end(vm(), Ending::Exit(Term::atom(am::NORMAL)));
    }
}
/// Sets what `erlang:port_info(Port, os_pid)` answers.
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_set_os_pid(handle: Handle, pid: c_long) {
    if let Some(port) = open_port(handle) {
        port.os_pid.store(pid as u32, Ordering::Release);
    }
}
/// The port's driver is never unloaded; 0, or -1 where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_lock_driver(handle: Handle) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    registry::make_permanent(&port.loaded);
    0
}

// ---- Locks that a port shares with other threads ----

/// `ErlDrvPDL`. The port has a reference, work that is under way, and whoever holds the lock.
pub struct DataLock {
    lock: parking_lot::RawMutex,
    references: AtomicI64,
}

impl DataLock {
    fn hold(&self) -> c_long {
        self.references.fetch_add(1, Ordering::AcqRel) + 1
    }
    /// # Safety
    /// The caller gives up a reference.
    unsafe fn release(lock: *const DataLock) -> c_long {
        // SAFETY: the caller's; after the last reference nobody has the lock.
        unsafe {
            let left = (*lock).references.fetch_sub(1, Ordering::AcqRel) - 1;
            if left == 0 {
                drop(Box::from_raw(lock.cast_mut()));
            }
            left
        }
    }
}

/// A reference to a lock of a library.
pub struct HeldLock(*const DataLock);

// SAFETY: the lock is counted, and made for several threads.
unsafe impl Send for HeldLock {}

impl HeldLock {
    /// One more reference.
    pub fn another(&self) -> HeldLock {
        // SAFETY: we have a reference.
        unsafe { (*self.0).hold() };
        HeldLock(self.0)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { DataLock::release(self.0) };
    }
}

/// A lock for the port, which has one reference to it; null when the port has a lock already.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_create(handle: Handle) -> *const DataLock {
    let Some(port) = open_port(handle) else { return std::ptr::null() };
    let mut held = port.data_lock.lock();
    if held.is_some() {
        return std::ptr::null();
    }
    let lock = DataLock { lock: parking_lot::RawMutex::INIT, references: AtomicI64::new(1) };
    let lock: *const DataLock = Box::into_raw(Box::new(lock));
    *held = Some(HeldLock(lock));
    lock
}
/// Locks, and holds a reference meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_lock(lock: &DataLock) {
    lock.hold();
    lock.lock.lock();
}
/// Unlocks, and gives up the reference of [`driver_pdl_lock`].
///
/// # Safety
/// The calling thread has the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_pdl_unlock(lock: *const DataLock) {
    // SAFETY: the caller's; the reference is that of `driver_pdl_lock`.
    unsafe {
        (*lock).lock.unlock();
        DataLock::release(lock);
    }
}
/// References to the lock.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_get_refc(lock: &DataLock) -> c_long {
    lock.references.load(Ordering::Acquire)
}
/// One more reference; how many there are then.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pdl_inc_refc(lock: &DataLock) -> c_long {
    lock.hold()
}
/// One reference less; how many are left. The lock goes with the last.
///
/// # Safety
/// The caller gives up a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_pdl_dec_refc(lock: *const DataLock) -> c_long {
    // SAFETY: the caller's.
    unsafe { DataLock::release(lock) }
}

// ---- Monitors ----

/// Whether the process has ended, or is doing so.
pub fn has_ended(pid: u64) -> bool {
    let (vm, _guard) = (vm(), pin());
    vm.processes.get(pid).is_none_or(|cell| cell.shared.incoming.is_closed())
}

/// Has the driver's `process_exit` called when the process ends. 0 when the process is monitored;
/// -1 when the driver has no such function, or there is no such port; 1 when the process is gone.
#[unsafe(no_mangle)]
pub extern "C" fn driver_monitor_process(handle: Handle, process: Term, to: Out<Monitor>) -> c_int {
    let Some(port) = open_port(handle).filter(|port| port.loaded.entry().process_exit.is_some())
    else {
        return -1;
    };
    let Some(pid) = process.as_pid() else { return 1 };
    if has_ended(pid) {
        return 1;
    }
    let (vm, _guard) = (vm(), pin());
    let value = vm.next_ref();
    let monitor = Monitor::new(value.id, value.low);
    port.monitors.lock().insert(value.id, (monitor, pid));
    to.put(monitor);
    let (number, id) = (port.number(), value.id);
    let exited = move || {
        super::work::call_back(
            number,
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
/// Takes a monitor back: 0, or 1 where there is none.
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
/// The pid that is monitored; nil where there is no such monitor.
#[unsafe(no_mangle)]
pub extern "C" fn driver_get_monitored_process(handle: Handle, monitor: &Monitor) -> Term {
    open_port(handle)
        .and_then(|port| port.monitors.lock().get(&monitor.id).map(|&(_, pid)| Term::pid(pid)))
        .unwrap_or(Term::NIL)
}
/// -1, 0 or 1, in an order without a meaning.
#[unsafe(no_mangle)]
pub extern "C" fn driver_compare_monitors(a: &Monitor, b: &Monitor) -> c_int {
    a.cmp(b) as c_int
}

// ---- Files and variables ----

/// Opens `path`, with `.so` at its end, and calls nothing of it; null when that fails.
#[unsafe(no_mangle)]
pub extern "C" fn driver_dl_open(path: CText) -> *mut c_void {
    File::open(path.bytes()).map_or(std::ptr::null_mut(), File::into_raw)
}
/// The address of a symbol; null when there is none.
///
/// # Safety
/// `handle` came from `driver_dl_open`, and `name` is ended by a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_dl_sym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's.
    crate::library::symbol(handle, unsafe { CStr::from_ptr(name) }).unwrap_or(std::ptr::null_mut())
}
/// Closes a file: 0 when the system does it.
///
/// # Safety
/// `handle` came from `driver_dl_open`, and nothing of the file is used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_dl_close(handle: *mut c_void) -> c_int {
    // SAFETY: the caller's.
    unsafe { libc::dlclose(handle) }
}
/// What the dynamic linker has said last; null when nothing was wrong since it was asked before.
#[unsafe(no_mangle)]
pub extern "C" fn driver_dl_error() -> *mut c_char {
    // SAFETY: a call without conditions.
    unsafe { libc::dlerror() }
}
/// `setenv(3)`, for the whole program: 0, or -1 for a wrong name.
///
/// # Safety
/// Both are ended by a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn erl_drv_putenv(name: *const c_char, value: *const c_char) -> c_int {
    // SAFETY: the caller's.
    unsafe { libc::setenv(name, value, 1) }
}
