//! The flag `save_calls`: which functions of other modules a process has called last, and when it
//! has sent and received.
//!
//! Only the interpreter notes calls, in a form of its own that never enters machine code
//! (`interp::run`), so that other processes do not pay for it.

use super::Process;
use std::collections::VecDeque;
use swarmrt_term::Mfa;

/// What is noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavedCall {
    /// A call by module and name, of a built-in as well.
    Call(Mfa),
    Send,
    Receive,
    Timeout,
}

/// Calls that can be kept.
pub const SAVED_CALLS_MAX: usize = 10_000;

/// The last calls, the oldest first.
pub struct SavedCalls {
    count_max: usize,
    calls: VecDeque<SavedCall>,
}

impl SavedCalls {
    fn push(&mut self, call: SavedCall) {
        if self.calls.len() == self.count_max {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
    /// The last calls, the oldest first.
    pub fn calls(&self) -> impl Iterator<Item = SavedCall> {
        self.calls.iter().copied()
    }
}

impl Process {
    /// Sets the flag: so many calls are kept from now on, none of them from before; with 0, calls
    /// are not noted. Returns what it was. The process heeds it from its next turn on.
    pub fn set_save_calls(&mut self, count_max: usize) -> usize {
        assert!(count_max <= SAVED_CALLS_MAX, "{count_max} calls to be saved");
        let calls =
            (count_max > 0).then(|| Box::new(SavedCalls { count_max, calls: VecDeque::new() }));
        let before = std::mem::replace(&mut self.extra().saved_calls, calls);
        before.map_or(0, |before| before.count_max)
    }
    /// The calls noted, unless the flag is 0.
    pub fn saved_calls(&self) -> Option<&SavedCalls> {
        self.extra.as_ref().and_then(|extra| extra.saved_calls.as_deref())
    }
    /// Whether the calls of the process are to be noted: a sensitive one's are not.
    pub fn saves_calls(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.saved_calls.is_some() && !extra.sensitive)
    }
    /// Notes a call.
    pub fn save_call(&mut self, call: SavedCall) {
        if let Some(calls) = self.extra.as_mut().and_then(|extra| extra.saved_calls.as_mut()) {
            calls.push(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_calls_go_first() {
        let mut saved = SavedCalls { count_max: 2, calls: VecDeque::new() };
        for call in [SavedCall::Send, SavedCall::Receive, SavedCall::Timeout] {
            saved.push(call);
        }
        assert!(saved.calls().eq([SavedCall::Receive, SavedCall::Timeout]));
    }
}
