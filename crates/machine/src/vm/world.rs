//! What makes two runs of a machine differ: time, random numbers, which of several ready processes
//! is next, and threads. All else follows from the program and its input.
//!
//! The real world is the operating system's. In a seeded one time is virtual and moves only by
//! [`World::advance_to`], numbers and choices follow from the seed, and no thread starts. A caller
//! that takes the steps of a scheduler by itself ([`Drive`](crate::schedule::Drive)) sees one
//! schedule for each seed, and the same one whenever it comes back to that seed.
//!
//! Files, programs and the network are the drivers' and do not go through here yet.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the operating system's time stands when a seeded world begins: 1 January 2025.
const SEEDED_START_NS: i64 = 1_735_689_600_000_000_000;

/// The world of one machine.
pub struct World {
    started: Instant,
    started_os_ns: i64,
    seeded: Option<Seeded>,
}

struct Seeded {
    now_ns: AtomicU64,
    /// The state of the generator: it counts up by an odd constant.
    state: AtomicU64,
}

fn real_os_time_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

impl World {
    /// The operating system's time and threads; processes are next as the run queues have it.
    pub fn real() -> World {
        World { started: Instant::now(), started_os_ns: real_os_time_ns(), seeded: None }
    }

    /// Virtual time, and choices that follow from the seed.
    pub fn seeded(seed: u64) -> World {
        let seeded = Seeded { now_ns: AtomicU64::new(0), state: AtomicU64::new(seed) };
        World { started_os_ns: SEEDED_START_NS, seeded: Some(seeded), ..World::real() }
    }

    /// Nanoseconds since the machine started.
    #[inline]
    pub fn since_start_ns(&self) -> u64 {
        match &self.seeded {
            None => self.started.elapsed().as_nanos() as u64,
            Some(seeded) => seeded.now_ns.load(Ordering::Relaxed),
        }
    }

    /// Nanoseconds since the Unix epoch as the operating system has it.
    pub fn os_time_ns(&self) -> i64 {
        match &self.seeded {
            None => real_os_time_ns(),
            Some(seeded) => self.started_os_ns + seeded.now_ns.load(Ordering::Relaxed) as i64,
        }
    }

    /// [`World::os_time_ns`] when the machine started.
    pub fn started_os_ns(&self) -> i64 {
        self.started_os_ns
    }

    /// The real instant that many nanoseconds after the machine's start, for threads that sleep.
    pub(crate) fn instant_at(&self, since_start_ns: u64) -> Instant {
        self.started + Duration::from_nanos(since_start_ns)
    }

    /// Moves virtual time forward; real time moves by itself.
    pub(crate) fn advance_to(&self, since_start_ns: u64) {
        if let Some(seeded) = &self.seeded {
            seeded.now_ns.fetch_max(since_start_ns, Ordering::Relaxed);
        }
    }

    /// Which of `count` ready processes is next, from 0; `None`: the run queues decide.
    #[inline]
    pub(crate) fn choice(&self, count: usize) -> Option<usize> {
        self.seeded.as_ref().map(|seeded| (seeded.random() % count.max(1) as u64) as usize)
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the operating system refuses it, or the world is a seeded one, which has no threads.
    pub(super) fn start_thread(
        &self,
        builder: Builder,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        match self.seeded {
            None => builder.spawn(work),
            Some(_) => Err(io::Error::other("a machine with a seed starts no threads")),
        }
    }
}

impl Seeded {
    /// The next number of `SplitMix64` (Steele, Lea and Flood, 2014).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}
