//! The machine's threads: every thread that may touch the machine is started here, so that it is
//! known when none is left.

use super::Vm;
use parking_lot::Mutex;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Wakes a thread that waits for something, so that it sees that it is to end.
type Waker = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(super) struct Threads {
    running: Mutex<Vec<JoinHandle<()>>>,
    wakers: Mutex<Vec<Waker>>,
    shutting_down: AtomicBool,
    /// Why the machine is never freed, if it is not.
    kept_because: OnceLock<&'static str>,
}

/// Names of threads that have not ended.
#[derive(Debug)]
pub struct StillRunning(pub Vec<String>);

impl Vm {
    /// Starts a thread, which is to end soon after [`Vm::is_shutting_down`] if the machine is
    /// ever to be freed.
    ///
    /// # Errors
    /// When the operating system refuses it.
    pub fn start_thread(
        &'static self,
        name: impl Into<String>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.start_thread_with(Builder::new().name(name.into()), work)
    }

    /// As [`Vm::start_thread`], with a name and a stack as `builder` says.
    ///
    /// # Errors
    /// When the operating system refuses it.
    pub fn start_thread_with(
        &'static self,
        builder: Builder,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut running = self.threads.running.lock();
        running.retain(|thread| !thread.is_finished());
        running.push(self.world.start_thread(builder, work)?);
        Ok(())
    }

    /// Registers `wake`, which is called when the machine's threads have to end.
    pub fn on_shutdown(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.threads.wakers.lock().push(Box::new(wake));
    }

    /// Whether the machine's threads have to end: none may wait any more.
    #[inline]
    pub fn is_shutting_down(&self) -> bool {
        self.threads.shutting_down.load(Ordering::Acquire)
    }

    /// Prevents the machine from being freed, for code that refers to it for good; the first reason
    /// counts.
    pub fn keep_because(&self, why: &'static str) {
        self.threads.kept_because.get_or_init(|| why);
    }

    /// The reason why the machine is never freed; `None` when it may be.
    pub fn kept_because(&self) -> Option<&'static str> {
        self.threads.kept_because.get().copied()
    }

    /// Closes all ports and ends the machine's threads, between two turns of processes. The caller
    /// is none of them.
    ///
    /// # Errors
    /// The threads that have not ended by then; they may still do so.
    pub fn shut_down_threads(&'static self, patience: Duration) -> Result<(), StillRunning> {
        /// How often threads are woken: one may have looked just before it was to end.
        const WAKE_EVERY: Duration = Duration::from_millis(1);
        // Their threads end with them.
        if let Some(ports) = self.ports() {
            ports.close_all(self);
        }
        self.threads.shutting_down.store(true, Ordering::Release);
        let until = Instant::now() + patience;
        loop {
            self.threads.wakers.lock().iter().for_each(|wake| wake());
            let mut running = self.threads.running.lock();
            running.retain(|thread| !thread.is_finished());
            if running.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                let names =
                    running.iter().map(|thread| thread.thread().name().unwrap_or("?").to_owned());
                return Err(StillRunning(names.collect()));
            }
            drop(running);
            std::thread::sleep(WAKE_EVERY);
        }
    }
}
