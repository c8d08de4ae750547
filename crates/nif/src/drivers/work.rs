//! What is done for drivers on other threads: timers that are due, and work that may take long.

use super::entry::{Handle, Milliseconds};
use super::port::open_port;
use crate::abi::Out;
use crate::env::vm;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Work for a thread of a pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Work with the same key is done by the same thread, in order.
const THREADS: usize = 4;

/// Threads that work for drivers.
struct Pool {
    name: &'static str,
    senders: OnceLock<[Mutex<Sender<Job>>; THREADS]>,
}

/// Work of `driver_async`, which may take long.
static ASYNC: Pool = Pool::new("async");
/// Callbacks: timers that are due, processes that have ended.
static CALLBACKS: Pool = Pool::new("driver");

impl Pool {
    const fn new(name: &'static str) -> Pool {
        Pool { name, senders: OnceLock::new() }
    }
    fn run(&self, key: usize, job: Job) {
        let senders = self.senders.get_or_init(|| {
            std::array::from_fn(|number| {
                let (sender, jobs) = channel::<Job>();
                let name = format!("{} {number}", self.name);
                let builder = std::thread::Builder::new().name(name);
                let work = move || jobs.into_iter().for_each(|job| job());
                builder.spawn(work).expect("there is room for a thread");
                Mutex::new(sender)
            })
        });
        // The threads never end.
        let _ = senders[key % THREADS].lock().unwrap_or_else(PoisonError::into_inner).send(job);
    }
}

/// Has a callback of a port called soon. Those of one port are called in order.
pub fn call_back(port: u64, job: Job) {
    CALLBACKS.run(port as usize, job);
}

/// An address that goes to another thread.
struct Address(*mut c_void);
// SAFETY: what the library does with it is its own business.
unsafe impl Send for Address {}

impl Address {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// A key by which the work of one port is done by one thread.
#[unsafe(no_mangle)]
pub extern "C" fn driver_async_port_key(handle: Handle) -> c_uint {
    handle as usize as c_uint
}

/// Has `invoke` called on another thread, and the driver's `ready_async` afterwards; `free` where
/// the port is gone by then or has no such function. Returns the number of the work, or -1 where
/// there is no such port.
///
/// # Safety
/// `invoke` may be called with `data` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_async(
    handle: Handle,
    key: *mut c_uint,
    invoke: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_long {
    static NUMBERS: AtomicI64 = AtomicI64::new(1);
    let Some(port) = open_port(handle) else { return -1 };
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: by the interface it is the address of a key, or null.
    let key = match unsafe { key.as_mut() } {
        Some(key) => {
            *key %= THREADS as c_uint;
            *key as usize
        }
        None => number as usize,
    };
    // Both stay until the work is done, whatever becomes of the port.
    let (driver, lock) = (port.hold(), port.hold_data_lock());
    let (data, port) = (Address(data), handle as u64);
    ASYNC.run(
        key,
        Box::new(move || {
            // SAFETY: the caller's.
            unsafe { invoke(data.get()) };
            let taken = open_port(port as Handle).and_then(|port| {
                port.in_turn(vm(), |entry, own| {
                    let ready = entry.ready_async?;
                    // SAFETY: the library's own function.
                    unsafe { ready(own, data.get()) };
                    Some(())
                })
            });
            if let (None | Some(None), Some(free)) = (taken, free) {
                // SAFETY: the library's own function.
                unsafe { free(data.get()) };
            }
            drop((driver, lock));
        }),
    );
    number
}

/// Has `timeout` called after so many milliseconds, in place of the timer before; 0, or -1 where
/// there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_set_timer(handle: Handle, milliseconds: Milliseconds) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    let (number, vm) = (port.number(), vm());
    let at_ns = vm.clock.since_start_ns().saturating_add(milliseconds.saturating_mul(1_000_000));
    let mut timer = port.timer.lock();
    if let Some(before) = timer.take() {
        vm.timers.cancel(before);
    }
    *timer = Some(vm.timers.start(
        at_ns,
        Box::new(move |_| {
            // The timers' own thread must not wait for a driver.
            call_back(
                number,
                Box::new(move || {
                    let Some(port) = open_port(number as Handle) else { return };
                    let is_due = port.timer.lock().take_if(|key| key.at_ns == at_ns).is_some();
                    if is_due {
                        port.in_turn(crate::env::vm(), |entry, data| {
                            if let Some(timeout) = entry.timeout {
                                // SAFETY: the library's own function.
                                unsafe { timeout(data) };
                            }
                        });
                    }
                }),
            );
        }),
    ));
    0
}

/// Stops the timer, if there is one; 0, or -1 where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_cancel_timer(handle: Handle) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    if let Some(key) = port.timer.lock().take() {
        vm().timers.cancel(key);
    }
    0
}

/// Answers the milliseconds that are left, rounded up; 0 without a timer. The result is 0, or -1
/// where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_read_timer(handle: Handle, left: Out<Milliseconds>) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    let at_ns = port.timer.lock().map_or(0, |key| key.at_ns);
    left.put(at_ns.saturating_sub(vm().clock.since_start_ns()).div_ceil(1_000_000));
    0
}
