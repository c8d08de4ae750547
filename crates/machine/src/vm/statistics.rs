//! What the machine counts about its own work, as `erlang:statistics/1` tells it; and what new
//! processes get when nobody says otherwise.

use crate::vm::Config;
use std::sync::atomic::{AtomicU32, Ordering};
use swarmrt_heap::collect::block_words_for;
use swarmrt_term::usage::Tally;

/// What the machine has counted since its start.
#[derive(Default)]
pub struct Statistics {
    /// Times that a scheduler took up a process.
    pub context_switches: Tally,
    pub collections: Tally,
    pub words_reclaimed: Tally,
    /// Bytes that came in through ports, and went out.
    pub bytes_in: Tally,
    pub bytes_out: Tally,
}

/// The process flags that new processes start with.
pub struct ProcessDefaults {
    min_heap_words: AtomicU32,
    min_bin_vheap_words: AtomicU32,
    fullsweep_after: AtomicU32,
    /// Messages wait outside the heap either way; this is what `process_info` says.
    off_heap_messages: std::sync::atomic::AtomicBool,
    async_dist: std::sync::atomic::AtomicBool,
}

impl Default for ProcessDefaults {
    fn default() -> Self {
        ProcessDefaults {
            min_heap_words: AtomicU32::new(swarmrt_heap::process_heap::MIN_HEAP_WORDS),
            min_bin_vheap_words: AtomicU32::new(swarmrt_heap::process_heap::MIN_BIN_VHEAP_WORDS),
            fullsweep_after: AtomicU32::new(swarmrt_heap::process_heap::FULLSWEEP_AFTER),
            off_heap_messages: false.into(),
            async_dist: false.into(),
        }
    }
}

macro_rules! default_flag {
    ($flag:ident, $set:ident) => {
        /// The value that new processes start with.
        pub fn $flag(&self) -> u32 {
            self.$flag.load(Ordering::Relaxed)
        }
        /// Sets the value. Returns the one before.
        pub fn $set(&self, value: u32) -> u32 {
            self.$flag.swap(value, Ordering::Relaxed)
        }
    };
}

impl ProcessDefaults {
    /// As the emulator's flags say, in words; sizes are those that heaps have.
    pub(crate) fn of(config: &Config) -> ProcessDefaults {
        let defaults = ProcessDefaults::default();
        let words = |flag| config.flag(flag).and_then(|words| words.parse::<u32>().ok());
        let rounded = |words: u32| u32::try_from(block_words_for(words as usize)).ok();
        if let Some(words) = words("+hms").and_then(rounded) {
            defaults.set_min_heap_words(words);
        }
        if let Some(words) = words("+hmbs").and_then(rounded) {
            defaults.set_min_bin_vheap_words(words);
        }
        defaults
            .off_heap_messages
            .store(config.flag("+hmqd") == Some("off_heap"), Ordering::Relaxed);
        defaults.async_dist.store(config.flag("+pad") == Some("true"), Ordering::Relaxed);
        defaults
    }
    default_flag!(min_heap_words, set_min_heap_words);
    default_flag!(min_bin_vheap_words, set_min_bin_vheap_words);
    default_flag!(fullsweep_after, set_fullsweep_after);

    /// Whether new processes go on where a connection to another node is busy (`+pad`).
    pub fn async_dist(&self) -> bool {
        self.async_dist.load(Ordering::Relaxed)
    }
    /// Whether new processes have `{message_queue_data, off_heap}` (`+hmqd`).
    pub fn off_heap_messages(&self) -> bool {
        self.off_heap_messages.load(Ordering::Relaxed)
    }
}
