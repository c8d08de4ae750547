//! What is done for drivers on other threads: timers that are due, and work that may take long.

use super::{Handle, Milliseconds, open_port};
use crate::abi::Out;
use crate::env::vm;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// Work with the same key is done by the same thread, in order.
const THREADS: usize = 4;

static WORKERS: LazyLock<[Mutex<Sender<Job>>; THREADS]> = LazyLock::new(|| {
    std::array::from_fn(|number| {
        let (sender, jobs) = channel::<Job>();
        let builder = std::thread::Builder::new().name(format!("driver {number}"));
        builder.spawn(move || jobs.into_iter().for_each(|job| job())).expect("there is room for a thread");
        Mutex::new(sender)
    })
});

pub fn run(key: usize, job: Job) {
    // The threads never end.
    let _ = WORKERS[key % THREADS].lock().unwrap_or_else(PoisonError::into_inner).send(job);
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

#[unsafe(no_mangle)]
pub extern "C" fn driver_async_port_key(handle: Handle) -> c_uint {
    handle as usize as c_uint
}

/// Has `invoke` called on another thread, and the driver's `ready_async` afterwards. The number of the work.
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
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: by the interface it is the address of a key, or null.
    let key = unsafe { key.as_ref() }.map_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed), |&key| key as usize);
    let (data, number) = (Address(data), handle as u64);
    run(
        key,
        Box::new(move || {
            // SAFETY: the caller's.
            unsafe { invoke(data.get()) };
            let taken = open_port(number as Handle).and_then(|port| {
                port.with_entry(vm(), |entry, own| {
                    let ready = entry.ready_async?;
                    // SAFETY: the library's own function.
                    unsafe { ready(own, data.get()) };
                    Some(())
                })
            });
            if let (None | Some(None), Some(free)) = (taken, free) {
                // SAFETY: as above.
                unsafe { free(data.get()) };
            }
        }),
    );
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

#[unsafe(no_mangle)]
pub extern "C" fn driver_set_timer(handle: Handle, milliseconds: Milliseconds) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    let (number, vm) = (port.number(), vm());
    let at_ns = vm.clock.since_start_ns() + milliseconds * 1_000_000;
    let mut timer = port.timer.lock();
    if let Some(before) = timer.take() {
        vm.timers.cancel(before);
    }
    *timer = Some(vm.timers.start(
        at_ns,
        Box::new(move |_| {
            // The timers' own thread must not wait for a driver.
            run(
                number as usize,
                Box::new(move || {
                    let Some(port) = open_port(number as Handle) else { return };
                    let is_due = port.timer.lock().take_if(|key| key.at_ns == at_ns).is_some();
                    if is_due {
                        port.with_entry(crate::env::vm(), |entry, data| {
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

#[unsafe(no_mangle)]
pub extern "C" fn driver_cancel_timer(handle: Handle) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    if let Some(key) = port.timer.lock().take() {
        vm().timers.cancel(key);
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn driver_read_timer(handle: Handle, left: Out<Milliseconds>) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    let at_ns = port.timer.lock().map_or(0, |key| key.at_ns);
    left.put(at_ns.saturating_sub(vm().clock.since_start_ns()).div_ceil(1_000_000));
    0
}
