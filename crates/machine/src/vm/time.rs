//! Clocks: monotonic, system and OS time, in nanoseconds (the native unit here as in OTP on Linux).

use crate::signal::send_call;
use crate::vm::world::World;
use crate::{Process, Vm};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Where Erlang monotonic time stands when the machine starts: OTP starts far below zero, so that
/// small positive values are not taken for granted.
const MONOTONIC_START_NS: i64 = -576_460_752_000_000_000;
/// How long after the start times can be told, as in OTP.
const REACH_NS: i64 = 9_223_372_035_000_000_000;

/// Whether system time follows the operating system's when that is changed: the flag `+C`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeWarpMode {
    /// The offset is fixed at the start.
    No,
    /// It is fixed when `erlang:system_flag(time_offset, finalize)` is called.
    Single,
    /// It follows.
    Multi,
}

impl TimeWarpMode {
    /// The mode of that name in OTP.
    pub fn named(name: &str) -> Option<TimeWarpMode> {
        [TimeWarpMode::No, TimeWarpMode::Single, TimeWarpMode::Multi]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
    /// The name, as `erlang:system_info(time_warp_mode)` returns it.
    pub fn name(self) -> &'static str {
        match self {
            TimeWarpMode::No => "no_time_warp",
            TimeWarpMode::Single => "single_time_warp",
            TimeWarpMode::Multi => "multi_time_warp",
        }
    }
}

/// The machine's clocks.
pub struct Clock {
    world: Arc<World>,
    mode: TimeWarpMode,
    /// Whether monotonic time goes steadily. Otherwise it goes as the operating system's time does,
    /// but not backwards, unless system time may follow that by itself.
    correction: bool,
    /// The last monotonic time without correction.
    last_monotonic_ns: AtomicI64,
    finalized: AtomicBool,
    /// What added to monotonic time gives system time.
    offset_ns: AtomicI64,
    /// The offset has changed, and those who monitor it have not been told yet.
    changed: AtomicBool,
    /// Processes that have monitored the offset.
    watchers: Mutex<HashSet<u64>>,
    /// When to look next whether the operating system's time has been changed; [`u64::MAX`] is
    /// never.
    next_check_ns: AtomicU64,
    last_unique_us: AtomicI64,
}

/// How often the operating system's time is looked at.
const CHECK_EVERY_NS: u64 = 1_000_000_000;
/// A difference that is taken for a change of the operating system's time.
const WARP_NS: i64 = 10_000_000;

impl Clock {
    pub(crate) fn start(world: Arc<World>, mode: TimeWarpMode, correction: bool) -> Clock {
        let started_os_ns = world.started_os_ns();
        Clock {
            world,
            mode,
            correction,
            last_monotonic_ns: AtomicI64::new(MONOTONIC_START_NS),
            finalized: AtomicBool::new(mode == TimeWarpMode::No),
            offset_ns: AtomicI64::new(started_os_ns - MONOTONIC_START_NS),
            changed: AtomicBool::new(false),
            watchers: Mutex::default(),
            next_check_ns: AtomicU64::new(if mode == TimeWarpMode::Multi {
                CHECK_EVERY_NS
            } else {
                u64::MAX
            }),
            last_unique_us: AtomicI64::new(0),
        }
    }
    /// Whether and how system time follows the operating system's: the flag `+C`.
    pub fn mode(&self) -> TimeWarpMode {
        self.mode
    }
    /// Whether monotonic time goes steadily: the flag `+c`.
    pub fn correction(&self) -> bool {
        self.correction
    }
    /// `final`, `preliminary` or `volatile`, as `erlang:system_info(time_offset)` says.
    pub fn offset_state(&self) -> &'static str {
        match self.mode {
            TimeWarpMode::Multi => "volatile",
            _ if self.finalized.load(Ordering::Relaxed) => "final",
            _ => "preliminary",
        }
    }
    /// Fixes the offset where it was preliminary.
    pub fn finalize_offset(&self) {
        // AcqRel: one caller sets the offset.
        if self.mode == TimeWarpMode::Single && !self.finalized.swap(true, Ordering::AcqRel) {
            self.offset_ns.store(self.world.os_time_ns() - self.monotonic_ns(), Ordering::Relaxed);
            self.changed.store(true, Ordering::Release);
        }
    }
    /// Notes that a process monitors the offset.
    pub fn watch_offset(&self, pid: u64) {
        self.watchers.lock().insert(pid);
    }
    /// Tells the processes that monitor the offset, if it has changed.
    #[inline]
    pub fn tell_change(&self, vm: &'static Vm) {
        if self.changed.load(Ordering::Relaxed) && self.changed.swap(false, Ordering::Acquire) {
            self.tell_watchers(vm);
        }
    }
    #[cold]
    fn tell_watchers(&self, vm: &'static Vm) {
        let watchers: Vec<u64> = self.watchers.lock().iter().copied().collect();
        for pid in watchers {
            let call = move |vm: &'static Vm, process: Option<&mut Process>| {
                if !process.is_some_and(Process::time_offset_changed) {
                    vm.clock.watchers.lock().remove(&pid);
                }
            };
            if !send_call(vm, pid, Box::new(call)) {
                self.watchers.lock().remove(&pid);
            }
        }
    }
    /// Nanoseconds since the machine started.
    #[inline]
    pub fn since_start_ns(&self) -> u64 {
        self.world.since_start_ns()
    }
    /// Erlang monotonic time in nanoseconds; it starts far below zero.
    #[inline]
    pub fn monotonic_ns(&self) -> i64 {
        if self.correction || self.mode == TimeWarpMode::Multi {
            return MONOTONIC_START_NS + self.since_start_ns() as i64;
        }
        let now_ns = MONOTONIC_START_NS + (self.world.os_time_ns() - self.world.started_os_ns());
        now_ns.max(self.last_monotonic_ns.fetch_max(now_ns, Ordering::Relaxed))
    }
    /// Erlang monotonic time at the machine's start, in nanoseconds.
    pub fn start_ns(&self) -> i64 {
        MONOTONIC_START_NS
    }
    /// The last Erlang monotonic time that timers can be set to.
    pub fn end_ns(&self) -> i64 {
        MONOTONIC_START_NS + REACH_NS
    }
    /// Nanoseconds to add to Erlang monotonic time for Erlang system time.
    pub fn offset_ns(&self) -> i64 {
        let now = self.since_start_ns();
        if now >= self.next_check_ns.load(Ordering::Relaxed) {
            self.next_check_ns.store(now + CHECK_EVERY_NS, Ordering::Relaxed);
            let wanted = self.world.os_time_ns() - (MONOTONIC_START_NS + now as i64);
            if (wanted - self.offset_ns.load(Ordering::Relaxed)).abs() > WARP_NS {
                self.offset_ns.store(wanted, Ordering::Relaxed);
                self.changed.store(true, Ordering::Release);
            }
        }
        self.offset_ns.load(Ordering::Relaxed)
    }
    /// Erlang system time: nanoseconds since the Unix epoch.
    pub fn system_ns(&self) -> i64 {
        self.monotonic_ns() + self.offset_ns()
    }
    /// Microseconds of system time that never repeat and only grow, as `erlang:now/0` has them.
    pub fn unique_us(&self) -> i64 {
        let now_us = self.system_ns() / 1000;
        let later = |last_us: i64| Some(now_us.max(last_us + 1));
        // SeqCst: later than any that another thread has seen.
        let last_us = self
            .last_unique_us
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, later)
            .unwrap_or(now_us);
        now_us.max(last_us + 1)
    }
}
