//! Linked-in drivers: the C interface of old (`erl_driver.h`), on the driver interface of ports.
//!
//! A port of such a driver is known to the library by its number. Its callbacks are called one at a time, as OTP's default has
//! it for all ports of a driver. What a callback asks for that would end the port is done when it has returned.

mod built_ins;
mod messages;
mod ports;
mod queues;
mod select;
mod work;

pub use select::watched;

use crate::abi::CText;
use crate::library::File;
use parking_lot::{Mutex, ReentrantMutex};
use queues::Queue;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use swarmrt_io::port::driver::{Answer, Driver, LinkedIn, Request, Started, Written};
use swarmrt_io::port::{Options, Port, Ports};
use swarmrt_machine::Vm;
use swarmrt_term::{Term, stop};

/// `ErlDrvPort`: the number of a port as an address. `ErlDrvData`: the library's own.
pub type Handle = *mut c_void;
type Data = *mut c_void;

/// `SysIOVec` and `ErlIOVec`.
pub use crate::abi::IoSlice;
#[repr(C)]
pub struct DriverVector {
    pub count: c_int,
    pub size: usize,
    pub slices: *mut IoSlice,
    pub binaries: *mut *mut queues::DriverBinary,
}

/// `ErlDrvEntry`.
#[repr(C)]
pub struct DriverEntry {
    init: Option<unsafe extern "C" fn() -> c_int>,
    start: Option<unsafe extern "C" fn(Handle, *mut c_char) -> Data>,
    stop: Option<unsafe extern "C" fn(Data)>,
    output: Option<unsafe extern "C" fn(Data, *mut u8, usize)>,
    ready_input: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    ready_output: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    name: CText,
    finish: Option<unsafe extern "C" fn()>,
    handle: *mut c_void,
    control: Option<unsafe extern "C" fn(Data, c_uint, *mut u8, usize, *mut *mut u8, usize) -> isize>,
    timeout: Option<unsafe extern "C" fn(Data)>,
    outputv: Option<unsafe extern "C" fn(Data, *mut DriverVector)>,
    ready_async: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    flush: Option<unsafe extern "C" fn(Data)>,
    call: Option<unsafe extern "C" fn(Data, c_uint, *mut u8, usize, *mut *mut u8, usize, *mut c_uint) -> isize>,
    unused: *const c_void,
    marker: c_uint,
    major: c_int,
    minor: c_int,
    flags: c_int,
    handle2: *mut c_void,
    process_exit: Option<unsafe extern "C" fn(Data, *const crate::abi::Monitor)>,
    stop_select: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    emergency_close: Option<unsafe extern "C" fn(Data)>,
}

const MARKER: c_uint = 0xfeee_eeed;
const MAJOR: c_int = 3;
const MINOR: c_int = 3;

/// A driver that was loaded from a file.
pub struct Loaded {
    pub name: String,
    entry: *const DriverEntry,
    /// Its callbacks are called one at a time.
    lock: ReentrantMutex<()>,
    file: Mutex<Option<File>>,
    /// Processes that have loaded it, and how often.
    users: Mutex<HashMap<u64, usize>>,
    ports: AtomicUsize,
    permanent: AtomicBool,
}

// SAFETY: the entry is the library's, which does not change it.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Loaded {
    fn entry(&self) -> &DriverEntry {
        // SAFETY: the library is open as long as the driver is known.
        unsafe { &*self.entry }
    }
}

impl LinkedIn for Loaded {
    fn start(self: Arc<Self>, vm: &'static Vm, owner: u64, command: String, options: Options) -> Started {
        let Some(start) = self.entry().start else { return Started::Refused(None) };
        let driver = Arc::new(LoadedPort {
            loaded: self.clone(),
            data: AtomicUsize::new(0),
            port: AtomicU64::new(0),
            caller: AtomicU64::new(owner),
            control_binary: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            is_binary: options.binary,
            ending: Mutex::new(None),
            closed: AtomicBool::new(false),
            queue: Mutex::default(),
            timer: Mutex::new(None),
            monitors: Mutex::default(),
            os_pid: AtomicU32::new(0),
        });
        let port = Ports::of(vm).open(owner, command.clone(), options, None, driver.clone());
        driver.port.store(port.term.as_port().unwrap_or(0), Ordering::Release);
        OPEN.lock().insert(driver.number(), driver.clone());
        self.ports.fetch_add(1, Ordering::AcqRel);
        let text = CString::new(command).unwrap_or_default();
        let _one_at_a_time = self.lock.lock();
        // SAFETY: the library's own function. The text is there during the call.
        let (data, problem) = stop::unwatched(|| unsafe {
            *libc::__errno_location() = 0;
            let data = start(driver.handle(), text.as_ptr().cast_mut());
            (data, *libc::__errno_location())
        });
        driver.data.store(data as usize, Ordering::Release);
        let failure = match data as isize {
            -1 | -3 => Some(None),
            -2 => Some(Some(problem)),
            _ => None,
        };
        if let Some(failure) = failure {
            driver.closed.store(true, Ordering::Release);
            driver.forget();
            port.retire(vm);
            return Started::Refused(failure);
        }
        driver.after(vm);
        Started::Port(port)
    }
}

/// What stands behind a port of such a driver.
pub struct LoadedPort {
    loaded: Arc<Loaded>,
    data: AtomicUsize,
    port: AtomicU64,
    /// The process for which a callback is called.
    caller: AtomicU64,
    control_binary: AtomicBool,
    is_busy: AtomicBool,
    is_binary: bool,
    /// The reason with which the port is to end when the callback has returned.
    ending: Mutex<Option<Ending>>,
    closed: AtomicBool,
    queue: Mutex<Queue>,
    timer: Mutex<Option<swarmrt_machine::timer::TimerKey>>,
    monitors: Mutex<HashMap<u64, (crate::abi::Monitor, u64)>>,
    os_pid: AtomicU32,
}

/// How a driver ends its port.
pub enum Ending {
    /// As at the end of a file.
    Eof,
    Reason(swarmrt_term::Atom),
}

/// The ports of drivers, by their numbers.
static OPEN: LazyLock<Mutex<HashMap<u64, Arc<LoadedPort>>>> = LazyLock::new(Mutex::default);

/// The port that a library names.
pub fn open_port(handle: Handle) -> Option<Arc<LoadedPort>> {
    OPEN.lock().get(&(handle as u64)).cloned()
}

impl LoadedPort {
    pub fn number(&self) -> u64 {
        self.port.load(Ordering::Acquire)
    }
    pub fn handle(&self) -> Handle {
        self.number() as Handle
    }
    pub fn term(&self) -> Term {
        Term::port(self.number())
    }
    pub fn port(&self, vm: &'static Vm) -> Option<Arc<Port>> {
        Ports::of(vm).get(self.term())
    }
    fn data(&self) -> Data {
        self.data.load(Ordering::Acquire) as Data
    }
    fn forget(&self) {
        OPEN.lock().remove(&self.number());
        self.loaded.ports.fetch_sub(1, Ordering::AcqRel);
    }
    /// Calls back, and does afterwards what the library has asked for.
    fn with_entry<R>(&self, vm: &'static Vm, call: impl FnOnce(&DriverEntry, Data) -> R) -> Option<R> {
        let result = {
            let _one_at_a_time = self.loaded.lock.lock();
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            stop::unwatched(|| call(self.loaded.entry(), self.data()))
        };
        self.after(vm);
        Some(result)
    }
    fn after(&self, vm: &'static Vm) {
        let Some(ending) = self.ending.lock().take() else { return };
        let Some(port) = self.port(vm) else { return };
        match ending {
            Ending::Eof if port.options.eof => messages::tell_owner(vm, &port, |_| Term::atom(swarmrt_term::atom!("eof"))),
            Ending::Eof => port.close(vm, Term::atom(swarmrt_term::am::NORMAL)),
            Ending::Reason(reason) => port.close(vm, Term::atom(reason)),
        }
    }
    fn end(&self, vm: &'static Vm, ending: Ending) {
        *self.ending.lock() = Some(ending);
        // Outside a callback it is done at once.
        if self.loaded.lock.try_lock().is_some_and(|lock| {
            drop(lock);
            !self.loaded.lock.is_owned_by_current_thread()
        }) {
            self.after(vm);
        }
    }
    /// What a control or call function has answered: in the buffer that it was given, or in one of its own.
    fn answer(length: isize, given: *mut u8, buffer: *mut u8, frees: bool) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok()?;
        if buffer.is_null() || length == 0 {
            return Some(Vec::new());
        }
        // SAFETY: by the interface so many bytes are in the buffer, which is ours or of `driver_alloc`.
        unsafe {
            let bytes = std::slice::from_raw_parts(buffer, length).to_vec();
            if frees && !std::ptr::eq(given, buffer) {
                libc::free(buffer.cast());
            }
            Some(bytes)
        }
    }
}

/// Room for short answers, as OTP has it.
const ANSWER_BYTES: usize = 64;

impl Driver for LoadedPort {
    fn output(&self, request: &Request<'_>, mut bytes: Vec<u8>) -> Written {
        self.caller.store(request.from, Ordering::Release);
        request.port.note_output(request.vm, bytes.len());
        self.with_entry(request.vm, |entry, data| {
            if let Some(outputv) = entry.outputv {
                let binary = queues::DriverBinary::copied(&bytes);
                let mut slice = IoSlice { base: queues::DriverBinary::bytes(binary), length: bytes.len() };
                let mut shown = binary;
                let mut vector = DriverVector { count: 1, size: bytes.len(), slices: &raw mut slice, binaries: &raw mut shown };
                // SAFETY: the library's own function. The vector is there during the call.
                unsafe {
                    outputv(data, &raw mut vector);
                    queues::driver_free_binary(binary);
                }
            } else if let Some(output) = entry.output {
                // SAFETY: as above.
                unsafe { output(data, bytes.as_mut_ptr(), bytes.len()) };
            }
        });
        Written::Done
    }

    fn control(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Answer> {
        let operation = c_uint::try_from(operation).ok()?;
        self.caller.store(request.from, Ordering::Release);
        let mut input = data.to_vec();
        let mut room = [0u8; ANSWER_BYTES];
        let answer = self.with_entry(request.vm, |entry, data| {
            let mut buffer = room.as_mut_ptr();
            // SAFETY: the library's own function. Both buffers are there during the call.
            let length = unsafe { entry.control?(data, operation, input.as_mut_ptr(), input.len(), &raw mut buffer, ANSWER_BYTES) };
            if self.control_binary.load(Ordering::Acquire) && !std::ptr::eq(buffer, room.as_mut_ptr()) && length >= 0 {
                // SAFETY: it is a binary of the driver's then, which is handed over, or null.
                return Some(unsafe { queues::DriverBinary::taken(buffer.cast()) });
            }
            Self::answer(length, room.as_mut_ptr(), buffer, true)
        })??;
        Some(if self.control_binary.load(Ordering::Acquire) { Answer::Binary(answer) } else { Answer::Bytes(answer) })
    }

    fn call(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Vec<u8>> {
        const KEEP_BUFFER: c_uint = 1;
        let operation = c_uint::try_from(operation).ok()?;
        self.caller.store(request.from, Ordering::Release);
        let mut input = data.to_vec();
        let mut room = [0u8; 512];
        self.with_entry(request.vm, |entry, data| {
            let (mut buffer, mut flags) = (room.as_mut_ptr(), 0);
            // SAFETY: as above.
            let length = unsafe { entry.call?(data, operation, input.as_mut_ptr(), input.len(), &raw mut buffer, room.len(), &raw mut flags) };
            Self::answer(length, room.as_mut_ptr(), buffer, flags & KEEP_BUFFER == 0)
        })?
    }

    fn close(&self, vm: &'static Vm, _port: &Port) {
        if let Some(key) = self.timer.lock().take() {
            vm.timers.cancel(key);
        }
        {
            let _one_at_a_time = self.loaded.lock.lock();
            if self.closed.swap(true, Ordering::AcqRel) {
                return;
            }
            if let Some(flush) = self.loaded.entry().flush.filter(|_| self.queued_bytes() > 0) {
                // SAFETY: the library's own function.
                stop::unwatched(|| unsafe { flush(self.data()) });
            }
            if let Some(stop) = self.loaded.entry().stop {
                // SAFETY: as above.
                stop::unwatched(|| unsafe { stop(self.data()) });
            }
        }
        for (monitor, pid) in std::mem::take(&mut *self.monitors.lock()).into_values() {
            crate::resources::take_off(monitor.id, pid);
        }
        select::forget(self.number());
        self.forget();
    }

    fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }
    fn queued_bytes(&self) -> usize {
        self.queue.lock().size()
    }
}

/// Milliseconds as the interface has them.
type Milliseconds = c_ulong;
