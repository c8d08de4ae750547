//! `driver_select`: calls of `ready_input` and `ready_output` as long as a descriptor can be read
//! or written.

use super::entry::Handle;
use super::port::{LoadedPort, open_port};
use crate::env::vm;
use crate::epoll::Epoll;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::{Arc, LazyLock};

const READ: c_int = 1;
const WRITE: c_int = 2;
/// The driver uses the descriptor: it hears when it may be closed.
const USE: c_int = 4;
const NO_CALLBACK: c_int = 8;

/// Who waits for a descriptor, and for what.
struct Watched {
    port: u64,
    modes: c_int,
}

static WATCHED: LazyLock<Mutex<HashMap<c_int, Watched>>> = LazyLock::new(Mutex::default);
static EPOLL: Epoll = Epoll::new("driver select", ready);

/// How many descriptors are watched.
pub fn watched() -> usize {
    WATCHED.lock().len()
}

/// What the system calls each mode.
const EVENTS: [(c_int, c_int); 2] = [(READ, libc::EPOLLIN), (WRITE, libc::EPOLLOUT)];

/// Has the poller wait once for these modes.
fn arm(descriptor: c_int, modes: c_int) -> io::Result<()> {
    let events = EVENTS
        .iter()
        .filter(|(mode, _)| modes & mode != 0)
        .fold(0, |events, (_, event)| events | event);
    EPOLL.arm(descriptor, events)
}

fn wanted(descriptor: c_int, port: u64, mode: c_int) -> bool {
    WATCHED
        .lock()
        .get(&descriptor)
        .is_some_and(|watched| watched.port == port && watched.modes & mode != 0)
}

fn ready(descriptor: c_int, events: c_int) {
    let Some(number) = WATCHED.lock().get(&descriptor).map(|watched| watched.port) else { return };
    let Some(port) = open_port(number as Handle) else { return };
    let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
    for (mode, event) in EVENTS {
        if events & event != 0 || broken {
            call(&port, descriptor, mode);
        }
    }
    let modes = WATCHED
        .lock()
        .get(&descriptor)
        .filter(|watched| watched.port == number)
        .map_or(0, |watched| watched.modes);
    if modes & (READ | WRITE) != 0 {
        // It may be closed by now.
        let _ = arm(descriptor, modes);
    }
}

fn call(port: &Arc<LoadedPort>, descriptor: c_int, mode: c_int) {
    port.in_turn(vm(), |entry, data| {
        // Asked while no other callback runs: one may have ended it in the meantime.
        if !wanted(descriptor, port.number(), mode) {
            return;
        }
        let callback = if mode == READ { entry.ready_input } else { entry.ready_output };
        if let Some(callback) = callback {
            // SAFETY: the library's own function.
            unsafe { callback(data, descriptor as usize as *mut c_void) };
        }
    });
}

/// The port is gone: what it has left is not watched any more.
pub fn forget(port: u64) {
    let left: Vec<c_int> = WATCHED
        .lock()
        .extract_if(|_, watched| watched.port == port)
        .map(|(descriptor, _)| descriptor)
        .collect();
    left.into_iter().for_each(|descriptor| EPOLL.disarm(descriptor));
}

/// Has a descriptor watched (`on`), or no longer, for `ERL_DRV_READ` and `ERL_DRV_WRITE`; 0, or -1
/// where it cannot be watched or there is no such port. `ERL_DRV_USE` alone ends all of it and
/// calls `stop_select` at once.
#[unsafe(no_mangle)]
pub extern "C" fn driver_select(
    handle: Handle,
    descriptor: *mut c_void,
    mode: c_int,
    on: c_int,
) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    let Ok(descriptor) = c_int::try_from(descriptor as usize) else { return -1 };
    if on != 0 {
        return select_on(&port, descriptor, mode);
    }
    // `ERL_DRV_USE` alone is the end of everything; `ERL_DRV_USE_NO_CALLBACK` is of what it names.
    let is_end = mode & (USE | NO_CALLBACK) == USE;
    select_off(&port, descriptor, if is_end { mode | READ | WRITE } else { mode });
    if is_end && let Some(stop) = port.loaded.entry().stop_select {
        // SAFETY: the library's own function: it may close the descriptor now.
        unsafe { stop(descriptor as usize as *mut c_void, std::ptr::null_mut()) };
    }
    0
}

fn select_on(port: &LoadedPort, descriptor: c_int, mode: c_int) -> c_int {
    let mut watched = WATCHED.lock();
    let state = watched.entry(descriptor).or_insert(Watched { port: port.number(), modes: 0 });
    // The driver that asks last has the descriptor.
    if state.port != port.number() {
        *state = Watched { port: port.number(), modes: 0 };
    }
    let before = state.modes;
    state.modes |= mode & (READ | WRITE | USE);
    let modes = state.modes;
    if modes & (READ | WRITE) == 0 || arm(descriptor, modes).is_ok() {
        return 0;
    }
    if before == 0 {
        watched.remove(&descriptor);
    } else if let Some(state) = watched.get_mut(&descriptor) {
        state.modes = before;
    }
    -1
}

fn select_off(port: &LoadedPort, descriptor: c_int, mode: c_int) {
    let mut watched = WATCHED.lock();
    let own = |watched: &&mut Watched| watched.port == port.number();
    let Some(state) = watched.get_mut(&descriptor).filter(own) else { return };
    state.modes &= !mode;
    let left = state.modes;
    if left == 0 {
        watched.remove(&descriptor);
    }
    if left & (READ | WRITE) == 0 {
        EPOLL.disarm(descriptor);
    }
}
