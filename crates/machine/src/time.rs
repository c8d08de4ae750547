//! Clocks: monotonic, system and OS time, in nanoseconds (the native unit here as in OTP on Linux).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where Erlang monotonic time stands when the machine starts: OTP starts far below zero, so that
/// small positive values are not taken for granted.
const MONOTONIC_START_NS: i64 = -576_460_752_000_000_000;
/// How long after the start times can be told, as in OTP.
const REACH_NS: i64 = 9_223_372_035_000_000_000;

/// The machine's clocks.
pub struct Clock {
    started: Instant,
    /// System time when the machine started.
    started_system_ns: i64,
}

/// Nanoseconds since the Unix epoch as the operating system has it.
pub fn os_system_time_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i64)
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { started: Instant::now(), started_system_ns: os_system_time_ns() }
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
    /// What added to monotonic time gives system time. Fixed at the start: OTP's `no_time_warp` mode.
    pub fn offset_ns(&self) -> i64 {
        self.started_system_ns - MONOTONIC_START_NS
    }
    pub fn system_ns(&self) -> i64 {
        self.monotonic_ns() + self.offset_ns()
    }
    pub fn instant_at(&self, since_start_ns: u64) -> Instant {
        self.started + std::time::Duration::from_nanos(since_start_ns)
    }
}
