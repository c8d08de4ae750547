//! Waiting for descriptors of libraries, which close them without telling us: each is asked for
//! once at a time, by its number.
//!
//! The poller of ports (`swarmrt_io`) is not for these: who uses it promises to deregister a
//! descriptor before it is closed.

use parking_lot::Mutex;
use std::ffi::c_int;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

/// An epoll descriptor with a thread of its own, both made when they are first needed.
pub struct Epoll {
    /// The thread's.
    name: &'static str,
    /// Called with a descriptor and its events. Nothing more is reported of it before it is armed
    /// again.
    ready: fn(c_int, c_int),
    poller: OnceLock<c_int>,
    /// To the thread that reports descriptors which the system cannot wait for (files,
    /// `/dev/zero`): they are always ready.
    always_ready: OnceLock<Mutex<Sender<(c_int, c_int)>>>,
}

impl Epoll {
    /// `name` is the thread's; `ready` is called on it with a descriptor and its events. Nothing is
    /// made before the first [`arm`](Self::arm).
    pub const fn new(name: &'static str, ready: fn(c_int, c_int)) -> Epoll {
        Epoll { name, ready, poller: OnceLock::new(), always_ready: OnceLock::new() }
    }

    fn poller(&'static self) -> io::Result<c_int> {
        if let Some(&poller) = self.poller.get() {
            return Ok(poller);
        }
        // SAFETY: a call without conditions.
        let poller = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if poller < 0 {
            return Err(io::Error::last_os_error());
        }
        if self.poller.set(poller).is_ok() {
            std::thread::Builder::new()
                .name(self.name.to_owned())
                .spawn(move || self.run(poller))?;
            return Ok(poller);
        }
        // SAFETY: another thread was first; this one is ours, and unused.
        unsafe { libc::close(poller) };
        self.poller()
    }

    /// Waits once for these events of a descriptor.
    ///
    /// # Errors
    /// What the system says of the descriptor, the poller or its thread.
    pub fn arm(&'static self, descriptor: c_int, events: c_int) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (events | libc::EPOLLONESHOT) as u32,
            u64: descriptor as u64,
        };
        let poller = self.poller()?;
        // A descriptor that was closed is not registered any more, nor is the one that has its
        // number now.
        for operation in [libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD] {
            // SAFETY: the event is there; the system looks at the descriptor itself.
            if unsafe { libc::epoll_ctl(poller, operation, descriptor, &raw mut event) } == 0 {
                return Ok(());
            }
        }
        let problem = io::Error::last_os_error();
        if problem.raw_os_error() != Some(libc::EPERM) {
            return Err(problem);
        }
        self.report_soon(descriptor, events)
    }

    /// Reports the descriptor as ready for these events.
    fn report_soon(&'static self, descriptor: c_int, events: c_int) -> io::Result<()> {
        if self.always_ready.get().is_none() {
            let (sender, reports) = channel();
            let builder = std::thread::Builder::new().name(format!("{} files", self.name));
            let report = |(descriptor, events)| (self.ready)(descriptor, events);
            builder.spawn(move || reports.into_iter().for_each(report))?;
            // Another thread may be first: this one's thread ends then, with its channel.
            let _ = self.always_ready.set(Mutex::new(sender));
        }
        if let Some(sender) = self.always_ready.get() {
            // The thread never ends.
            let _ = sender.lock().send((descriptor, events));
        }
        Ok(())
    }

    /// Waits for the descriptor no longer, if it did.
    pub fn disarm(&'static self, descriptor: c_int) {
        if let Some(&poller) = self.poller.get() {
            // SAFETY: it fails where the descriptor is not registered.
            unsafe {
                libc::epoll_ctl(poller, libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut())
            };
        }
    }

    fn run(&self, poller: c_int) {
        const EVENTS: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        loop {
            // SAFETY: there is room for as many.
            let count =
                unsafe { libc::epoll_wait(poller, events.as_mut_ptr(), EVENTS as c_int, -1) };
            for event in &events[..usize::try_from(count).unwrap_or(0)] {
                (self.ready)(event.u64 as c_int, event.events as c_int);
            }
        }
    }
}
