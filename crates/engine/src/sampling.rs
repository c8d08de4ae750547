//! How often the interpreter reports what it is running: an interval of reductions, which becomes
//! longer while nothing new is found.

use crate::state::NativeState;

/// The longest interval.
const INTERVAL_MAX: i32 = 3200;
/// Calls of built-ins, and side exits, of which one is a sample while the interval is at its
/// shortest.
const TICKS: i32 = 64;

impl NativeState {
    /// The shortest interval between two samples, in reductions.
    pub const INTERVAL_MIN: i32 = 400;

    /// Chooses the next interval: half the last one after a sample that `wanted` machine code, else
    /// a sixteenth more than the last.
    pub fn sampled(&mut self, wanted: bool) {
        let interval = self.sample_interval_reductions;
        self.sample_interval_reductions = if wanted {
            (interval / 2).max(NativeState::INTERVAL_MIN)
        } else {
            (interval + interval / 16).min(INTERVAL_MAX)
        };
    }
    /// How many samples of the shortest interval the next one stands for.
    pub fn sample_weight(&self) -> u32 {
        (self.sample_interval_reductions / NativeState::INTERVAL_MIN).max(1) as u32
    }
    /// Counts something that takes no reductions; whether a sample is due.
    #[inline]
    pub fn tick(&mut self) -> bool {
        self.ticks += 1;
        let due =
            self.ticks >= self.sample_interval_reductions / (NativeState::INTERVAL_MIN / TICKS);
        if due {
            self.ticks = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Registers;

    #[test]
    fn the_interval_grows_to_its_limit_and_shrinks_when_something_is_found() {
        let state = &mut Registers::new().native;
        let mut intervals = Vec::new();
        for _ in 0..40 {
            intervals.push(state.sample_interval_reductions);
            state.sampled(false);
        }
        assert_eq!(intervals[..3], [400, 425, 451]);
        assert!(intervals.is_sorted() && intervals.ends_with(&[INTERVAL_MAX]));
        state.sampled(true);
        assert_eq!(state.sample_interval_reductions, INTERVAL_MAX / 2);
        for _ in 0..10 {
            state.sampled(true);
        }
        assert_eq!(state.sample_interval_reductions, NativeState::INTERVAL_MIN);
    }
    #[test]
    fn ticks_are_fewer_samples_when_the_interval_is_long() {
        let state = &mut Registers::new().native;
        let samples = |state: &mut NativeState| (0..6400).filter(|_| state.tick()).count();
        let short = samples(state);
        state.sample_interval_reductions = INTERVAL_MAX;
        assert!(short > 7 * samples(state), "{short}");
    }
}
