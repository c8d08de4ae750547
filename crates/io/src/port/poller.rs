//! The poller: tells each port's driver, and other watchers, which of their descriptors are ready.
//! Schedulers wait for that when they have nothing else to do
//! ([`swarmrt_machine::schedule::parking`]).
//!
//! A port's driver asks once for each kind of news, and is told of every change from then on: when
//! something comes in, not for as long as there is something (edge-triggered). A driver that leaves
//! some of it asks again, and is told at once. So a connection on which messages come and go costs
//! no calls of the system but those that read and write.
//!
//! Watchers are told once ([`Watcher::ready`]), until they ask again.

use super::Ports;
use super::driver::Ready;
use parking_lot::Mutex;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};
use std::time::{Duration, Instant};
use swarmrt_machine::Vm;
use swarmrt_machine::schedule::parking::Poll;
use swarmrt_term::Term;
use swarmrt_term::atom::NumberHasher;

/// Something other than a port that waits for a descriptor of its own.
pub trait Watcher: Send + Sync {
    /// What was asked for has come; nothing more is reported until it is asked for again.
    fn ready(&self, vm: &'static Vm, ready: Ready);
}

/// The poller of a machine.
#[derive(Default)]
pub struct Poller {
    system: OnceLock<System>,
    watchers: Mutex<HashMap<u64, Weak<dyn Watcher>, BuildHasherDefault<NumberHasher>>>,
    next_key: AtomicU64,
    /// Whether the events of the last wait came within [`SOON`].
    came_soon: AtomicBool,
}

struct System {
    epoll: OwnedFd,
    /// Ends a wait when it is written to. It reports each write once, so that nobody has to read
    /// it.
    interrupt: OwnedFd,
}

/// In a key: that of a watcher, not the number of a port.
const IS_WATCHER: u64 = 1 << 62;
/// The key of what interrupts: no port has this number.
const INTERRUPT: u64 = u64::MAX;
/// Descriptors that are told of at a time: others may do something before the next.
const NEWS_MAX: usize = 64;

/// How long a scheduler looks for events before it sleeps, where the last ones came as soon. Waking
/// a sleeping core takes some 40 µs: a peer that answers at once is answered in half the time.
const SOON: Duration = Duration::from_micros(100);

/// What a wait has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brought {
    Nothing,
    Interruption,
    Events,
}

thread_local! {
    /// What the thread's last wait has brought: keys, and what of their descriptors is ready.
    static NEWS: RefCell<Vec<(u64, Ready)>> = const { RefCell::new(Vec::new()) };
}

impl System {
    fn new() -> io::Result<System> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let interrupt = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &interrupt,
            EventData::new_u64(INTERRUPT),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(System { epoll, interrupt })
    }

    /// What `interest` is to the system; a hang-up and errors are reported always.
    fn flags(key: u64, interest: Ready) -> EventFlags {
        let mut flags = if key & IS_WATCHER == 0 { EventFlags::ET } else { EventFlags::ONESHOT };
        flags.set(EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI, interest.readable);
        flags.set(EventFlags::OUT, interest.writable);
        flags
    }

    fn add(&self, fd: BorrowedFd<'_>, key: u64, interest: Ready) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(key), System::flags(key, interest))?)
    }

    fn want(&self, fd: BorrowedFd<'_>, key: u64, interest: Ready) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(key), System::flags(key, interest))?)
    }
}

impl Poller {
    /// The poller, which schedulers wait for from the first call on.
    ///
    /// # Errors
    /// What the system says of a poller or a thread more.
    pub fn of(vm: &'static Vm) -> io::Result<&'static Poller> {
        let poller = vm.extension::<Poller>();
        if poller.system.get().is_none() && poller.system.set(System::new()?).is_ok() {
            vm.set_poll(poller)?;
        }
        Ok(poller)
    }

    fn system(&self) -> &System {
        self.system.get().expect("`of` has made it")
    }

    /// Registers a descriptor of a port and asks for news of it: of what there is, and of each
    /// change from then on. [`Poller::remove`] is to be called before it is closed, or news of it
    /// may come as long as somebody else has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, fd: BorrowedFd<'_>, port: Term, interest: Ready) -> io::Result<()> {
        self.system().add(fd, key_of(port), interest)
    }

    /// Asks for other news of a registered descriptor of a port.
    ///
    /// # Errors
    /// What the system says.
    pub fn want(&self, fd: BorrowedFd<'_>, port: Term, interest: Ready) -> io::Result<()> {
        self.system().want(fd, key_of(port), interest)
    }

    /// Takes a port's descriptor back. One that is not registered is ignored.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // It fails only where it was not registered.
        let _ = epoll::delete(&self.system().epoll, fd);
    }

    /// Registers a watcher's descriptor, with no interest in it yet; its key. [`Poller::forget`] is
    /// to be called before the descriptor is closed.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(&self, fd: BorrowedFd<'_>, watcher: Weak<dyn Watcher>) -> io::Result<u64> {
        let key = IS_WATCHER | self.next_key.fetch_add(1, Ordering::Relaxed);
        self.watchers.lock().insert(key, watcher);
        self.system().add(fd, key, Ready::NOTHING).inspect_err(|_| {
            self.watchers.lock().remove(&key);
        })?;
        Ok(key)
    }

    /// Asks once for news of a watcher's descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub fn want_watched(&self, fd: BorrowedFd<'_>, key: u64, interest: Ready) -> io::Result<()> {
        self.system().want(fd, key, interest)
    }

    /// Takes a watcher's descriptor back; `key` is what [`Poller::watch`] returned.
    pub fn forget(&self, fd: BorrowedFd<'_>, key: u64) {
        self.remove(fd);
        self.watchers.lock().remove(&key);
    }
}

impl Poller {
    /// Waits for events and keeps them for the calling thread.
    fn take(&self, at_most: Option<Duration>) -> Brought {
        let mut events = [const { MaybeUninit::uninit() }; NEWS_MAX];
        let at_most = at_most.and_then(|time| Timespec::try_from(time).ok());
        // It fails where it is interrupted by a signal, which is a wait that has ended.
        let Ok((events, _)) = epoll::wait(&self.system().epoll, &mut events, at_most.as_ref())
        else {
            return Brought::Interruption;
        };
        if events.is_empty() {
            return Brought::Nothing;
        }
        NEWS.with_borrow_mut(|news| {
            news.extend(
                events
                    .iter()
                    .map(|event| (event.data.u64(), ready(event.flags)))
                    .filter(|(key, _)| *key != INTERRUPT),
            );
            if news.is_empty() { Brought::Interruption } else { Brought::Events }
        })
    }
}

impl Poll for Poller {
    fn wait(&self, at_most: Option<Duration>) -> bool {
        if at_most == Some(Duration::ZERO) {
            return self.take(at_most) == Brought::Nothing;
        }
        let start = Instant::now();
        let brought = self.take(at_most);
        let came_soon = brought == Brought::Events && start.elapsed() < SOON;
        self.came_soon.store(came_soon, Ordering::Relaxed);
        brought == Brought::Nothing
    }

    fn spin(&self) -> bool {
        if !self.came_soon.load(Ordering::Relaxed) {
            return false;
        }
        let start = Instant::now();
        while start.elapsed() < SOON {
            if self.take(Some(Duration::ZERO)) != Brought::Nothing {
                return true;
            }
            // Whoever sends may need this processor.
            std::thread::yield_now();
        }
        false
    }

    fn interrupt(&self) {
        // It fails only where nobody has woken for the last 2^64 times.
        let _ = rustix::io::write(&self.system().interrupt, &1u64.to_ne_bytes());
    }

    fn act(&self, vm: &'static Vm) {
        let mut all = NEWS.take();
        for (key, ready) in all.drain(..) {
            if key & IS_WATCHER != 0 {
                let watcher = self.watchers.lock().get(&key).and_then(Weak::upgrade);
                if let Some(watcher) = watcher {
                    watcher.ready(vm, ready);
                }
            } else if let Some(port) = Ports::of(vm).get(Term::port(key)) {
                // One that is gone meanwhile wants no news.
                port.ready(vm, ready);
            }
        }
        NEWS.set(all);
    }
}

fn ready(flags: EventFlags) -> Ready {
    let ended = EventFlags::HUP | EventFlags::ERR;
    let special = ended | EventFlags::RDHUP | EventFlags::PRI;
    Ready {
        readable: flags.intersects(special | EventFlags::IN),
        writable: flags.intersects(ended | EventFlags::OUT),
        is_special: flags.intersects(special),
    }
}

fn key_of(port: Term) -> u64 {
    port.as_port().unwrap_or(0)
}
