//! Clocks: monotonic, system and OS time, in nanoseconds (the native unit here as in OTP on Linux).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where Erlang monotonic time stands when the machine starts: OTP starts far below zero, so that
/// small positive values are not taken for granted.
const MONOTONIC_START_NS: i64 = -576_460_752_000_000_000;
/// How long after the start times can be told, as in OTP.
const REACH_NS: i64 = 9_223_372_035_000_000_000;

/// The machine's clocks.
pub struct Clock {
    started: Instant,
    /// What added to monotonic time gives system time.
    offset_ns: AtomicI64,
    /// When to look next whether the operating system's time has been changed; [`u64::MAX`] is never.
    next_check_ns: AtomicU64,
    last_unique_us: AtomicI64,
}

/// How often the operating system's time is looked at.
const CHECK_EVERY_NS: u64 = 1_000_000_000;
/// A difference that is taken for a change of the operating system's time.
const WARP_NS: i64 = 10_000_000;

/// Nanoseconds since the Unix epoch as the operating system has it.
pub fn os_system_time_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i64)
}

impl Clock {
    /// `warps`: system time follows the operating system's when that is changed (OTP's
    /// `multi_time_warp` mode, the default from OTP 26 on); otherwise the offset is fixed at the start
    /// (`no_time_warp`).
    pub(crate) fn start(warps: bool) -> Clock {
        Clock {
            started: Instant::now(),
            offset_ns: AtomicI64::new(os_system_time_ns() - MONOTONIC_START_NS),
            next_check_ns: AtomicU64::new(if warps { CHECK_EVERY_NS } else { u64::MAX }),
            last_unique_us: AtomicI64::new(0),
        }
    }
    /// Whether system time follows the operating system's.
    pub fn warps(&self) -> bool {
        self.next_check_ns.load(Ordering::Relaxed) != u64::MAX
    }
    /// Nanoseconds since the machine started.
    #[inline]
    pub fn since_start_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
    pub fn monotonic_ns(&self) -> i64 {
        MONOTONIC_START_NS + self.since_start_ns() as i64
    }
    pub fn start_ns(&self) -> i64 {
        MONOTONIC_START_NS
    }
    /// The last Erlang monotonic time that timers can be set to.
    pub fn end_ns(&self) -> i64 {
        MONOTONIC_START_NS + REACH_NS
    }
    /// What added to monotonic time gives system time.
    pub fn offset_ns(&self) -> i64 {
        let now = self.since_start_ns();
        if now >= self.next_check_ns.load(Ordering::Relaxed) {
            self.next_check_ns.store(now + CHECK_EVERY_NS, Ordering::Relaxed);
            let wanted = os_system_time_ns() - (MONOTONIC_START_NS + now as i64);
            if (wanted - self.offset_ns.load(Ordering::Relaxed)).abs() > WARP_NS {
                self.offset_ns.store(wanted, Ordering::Relaxed);
            }
        }
        self.offset_ns.load(Ordering::Relaxed)
    }
    pub fn system_ns(&self) -> i64 {
        self.monotonic_ns() + self.offset_ns()
    }
    /// Microseconds of system time that never repeat and only grow, as `erlang:now/0` has them.
    pub fn unique_us(&self) -> i64 {
        let now_us = self.system_ns() / 1000;
        let later = |last_us: i64| Some(now_us.max(last_us + 1));
        // SeqCst: later than any that another thread has seen.
        let last_us = self.last_unique_us.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later).unwrap_or(now_us);
        now_us.max(last_us + 1)
    }
    pub fn instant_at(&self, since_start_ns: u64) -> Instant {
        self.started + std::time::Duration::from_nanos(since_start_ns)
    }
}
