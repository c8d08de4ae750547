//! The poller: one thread waits for all descriptors that drivers have registered, and tells each port's driver what is ready.
//!
//! Interest is one-shot: after [`Driver::ready`](super::driver::Driver::ready) nothing more is reported of a descriptor until
//! the driver asks again, so that a driver that has enough costs nothing.

use super::Ports;
use super::driver::Ready;
use polling::{Event, Events, Poller as System};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use swarmrt_machine::Vm;
use swarmrt_term::Term;

/// The poller of a machine.
#[derive(Default)]
pub struct Poller(OnceLock<System>);

impl Poller {
    /// The poller, whose thread is started when it is first needed.
    ///
    /// # Errors
    /// What the system says of a poller or a thread more.
    pub fn of(vm: &'static Vm) -> io::Result<&'static Poller> {
        let poller = vm.extension::<Poller>();
        if poller.0.get().is_none() {
            let system = System::new()?;
            if poller.0.set(system).is_ok() {
                std::thread::Builder::new().name("poller".to_owned()).spawn(move || poller.run(vm))?;
            }
        }
        Ok(poller)
    }

    fn system(&self) -> &System {
        self.0.get().expect("`of` has made it")
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
                // A port that is gone meanwhile wants no news.
                if let Some(port) = Ports::of(vm).get(Term::port(event.key as u64)) {
                    port.ready(vm, Ready { readable: event.readable, writable: event.writable });
                }
            }
        }
    }
}

fn key_of(port: Term) -> usize {
    port.as_port().map_or(0, |number| number as usize)
}
