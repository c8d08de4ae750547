//! The poller: one thread waits for all descriptors that drivers have registered, and tells each port's driver what is ready.
//!
//! Interest is one-shot: after [`Driver::ready`](super::driver::Driver::ready) nothing more is reported of a descriptor until
//! the driver asks again, so that a driver that has enough costs nothing.

use super::Ports;
use super::driver::Ready;
use polling::{Event, Events, Poller as System};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, Weak};
use swarmrt_machine::Vm;
use swarmrt_term::Term;

/// Something other than a port that waits for a descriptor of its own.
pub trait Watcher: Send + Sync {
    /// What was asked for has come; nothing more is reported until it is asked for again.
    fn ready(&self, vm: &'static Vm, ready: Ready);
}

/// The poller of a machine.
#[derive(Default)]
pub struct Poller {
    system: OnceLock<System>,
    watchers: Mutex<HashMap<usize, Weak<dyn Watcher>>>,
    next_key: AtomicUsize,
}

/// In a key: that of a watcher, not the number of a port.
const IS_WATCHER: usize = 1 << 62;

impl Poller {
    /// The poller, whose thread is started when it is first needed.
    ///
    /// # Errors
    /// What the system says of a poller or a thread more.
    pub fn of(vm: &'static Vm) -> io::Result<&'static Poller> {
        let poller = vm.extension::<Poller>();
        if poller.system.get().is_none() {
            let system = System::new()?;
            if poller.system.set(system).is_ok() {
                std::thread::Builder::new().name("poller".to_owned()).spawn(move || poller.run(vm))?;
            }
        }
        Ok(poller)
    }

    fn system(&self) -> &System {
        self.system.get().expect("`of` has made it")
    }

    /// Registers a descriptor of a port, with no interest in it yet.
    ///
    /// # Safety
    /// [`Poller::remove`] is called before the descriptor is closed.
    ///
    /// # Errors
    /// What the system says.
    pub unsafe fn add(&self, fd: BorrowedFd<'_>, port: Term) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.system().add(&fd, Event::none(key_of(port))) }
    }

    /// Asks once for news of a registered descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub fn want(&self, fd: BorrowedFd<'_>, port: Term, interest: Ready) -> io::Result<()> {
        self.system().modify(fd, Event::new(key_of(port), interest.readable, interest.writable))
    }

    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // It fails only where it was not registered.
        let _ = self.system().delete(fd);
    }

    /// Registers a watcher's descriptor, with no interest in it yet; its key.
    ///
    /// # Safety
    /// [`Poller::forget`] is called before the descriptor is closed.
    ///
    /// # Errors
    /// What the system says.
    pub unsafe fn watch(&self, fd: BorrowedFd<'_>, watcher: Weak<dyn Watcher>) -> io::Result<usize> {
        let key = IS_WATCHER | self.next_key.fetch_add(1, Ordering::Relaxed);
        self.watchers.lock().insert(key, watcher);
        // SAFETY: as the caller promises.
        unsafe { self.system().add(&fd, Event::none(key)) }.inspect_err(|_| {
            self.watchers.lock().remove(&key);
        })?;
        Ok(key)
    }

    /// Asks once for news of a watcher's descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub fn want_watched(&self, fd: BorrowedFd<'_>, key: usize, interest: Ready) -> io::Result<()> {
        self.system().modify(fd, Event::new(key, interest.readable, interest.writable))
    }

    pub fn forget(&self, fd: BorrowedFd<'_>, key: usize) {
        self.remove(fd);
        self.watchers.lock().remove(&key);
    }

    fn run(&self, vm: &'static Vm) {
        let mut events = Events::new();
        loop {
            events.clear();
            if self.system().wait(&mut events, None).is_err() {
                // Interrupted, or out of memory for a moment.
                std::thread::yield_now();
                continue;
            }
            for event in events.iter() {
                let ready = Ready { readable: event.readable, writable: event.writable };
                if event.key & IS_WATCHER != 0 {
                    let watcher = self.watchers.lock().get(&event.key).and_then(Weak::upgrade);
                    if let Some(watcher) = watcher {
                        watcher.ready(vm, ready);
                    }
                    continue;
                }
                // A port that is gone meanwhile wants no news.
                if let Some(port) = Ports::of(vm).get(Term::port(event.key as u64)) {
                    port.ready(vm, ready);
                }
            }
        }
    }
}

fn key_of(port: Term) -> usize {
    port.as_port().map_or(0, |number| number as usize)
}
