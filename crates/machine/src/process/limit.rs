//! The flag `max_heap_size`.

use super::Process;
use super::exception::log_max_heap_size;
use crate::vm::Config;
use swarmrt_term::atom;

/// `max_heap_size` as set, in words; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxHeapSize {
    pub words: usize,
    pub kill: bool,
    pub error_logger: bool,
    /// Bytes of shared binaries count, too (OTP 26 and later).
    pub shared_binaries: bool,
}

impl MaxHeapSize {
    /// What processes have that nobody gave a limit.
    pub const NONE: MaxHeapSize =
        MaxHeapSize { words: 0, kill: true, error_logger: true, shared_binaries: false };

    /// What the flags `+hmax`, `+hmaxk`, `+hmaxel` and `+hmaxib` say, if there are any.
    pub(crate) fn of(config: &Config) -> Option<MaxHeapSize> {
        let switch = |flag, default| config.flag(flag).map_or(default, |value| value == "true");
        let limit = MaxHeapSize {
            words: config
                .flag("+hmax")
                .and_then(|words| words.parse().ok())
                .unwrap_or(Self::NONE.words),
            kill: switch("+hmaxk", Self::NONE.kill),
            error_logger: switch("+hmaxel", Self::NONE.error_logger),
            shared_binaries: switch("+hmaxib", Self::NONE.shared_binaries),
        };
        (limit != Self::NONE).then_some(limit)
    }

    /// Words of the heap above which a process asks for a collection, and so for a check.
    pub(super) fn heap_words(self) -> usize {
        if self.words == 0 { usize::MAX } else { self.words }
    }
}

impl Process {
    /// Words of the heap as its user sees it: with the messages that the process would have on its
    /// heap.
    pub fn total_heap_words(&self) -> usize {
        let on_heap = atom!("on_heap");
        let place = self.extra.as_ref().map_or(on_heap, |extra| extra.message_queue_data);
        self.heap_words() + if place == on_heap { self.mailbox.words() } else { 0 }
    }
    /// Sets the flag; returns what it was.
    pub fn set_max_heap_size(&mut self, limit: MaxHeapSize) -> MaxHeapSize {
        self.heap.limit_words = limit.heap_words();
        std::mem::replace(&mut self.extra().max_heap_size, limit)
    }
    /// Ends the process if it is above the limit that would end it at its next collection: it has
    /// raised an exception, and may end before that. Garbage counts, as it does for OTP when a
    /// collection begins.
    pub fn check_max_heap_size_when_raising(&mut self) {
        if self.heap.wants_collection
            && self.extra.as_ref().is_some_and(|extra| extra.max_heap_size.kill)
        {
            self.check_max_heap_size();
        }
    }
    pub(super) fn check_max_heap_size(&mut self) {
        let Some(extra) = &self.extra else { return };
        let limit = extra.max_heap_size;
        let shared = if limit.shared_binaries { self.heap.off_heap_bytes() / 8 } else { 0 };
        if limit.words == 0 {
            return;
        }
        if self.total_heap_words() + shared <= limit.words {
            return;
        }
        if limit.error_logger {
            log_max_heap_size(self, limit);
        }
        if limit.kill {
            self.end_as_killed();
        }
    }
}
