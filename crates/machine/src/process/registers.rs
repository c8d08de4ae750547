//! X registers of a process that is not running.

use swarmrt_term::Term;

/// Registers that are saved in the process itself.
const SAVED_INLINE: usize = 6;

/// X registers of a process that is not running.
#[derive(Default)]
pub struct SavedRegisters {
    count: u16,
    inline: [u64; SAVED_INLINE],
    more: Option<Box<[Term]>>,
}

impl SavedRegisters {
    /// Saves R\[0..`registers.len()`\], at most 65,535.
    #[inline]
    pub fn save(&mut self, registers: &[Term]) {
        self.count = registers.len() as u16;
        if registers.len() <= SAVED_INLINE {
            for (slot, term) in self.inline.iter_mut().zip(registers) {
                *slot = term.raw();
            }
            self.more = None;
        } else {
            self.more = Some(registers.into());
        }
    }
    /// Copies the saved registers to the first places; `registers` must have room for
    /// [`SavedRegisters::len`].
    #[inline]
    pub fn restore(&self, registers: &mut [Term]) {
        let saved = self.terms();
        registers[..saved.len()].copy_from_slice(saved);
    }
    /// Registers that are saved.
    pub fn len(&self) -> usize {
        self.count as usize
    }
    /// Whether no register is saved.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// The saved registers, from R\[0\] on.
    pub fn terms(&self) -> &[Term] {
        match &self.more {
            Some(more) => more,
            // SAFETY: a term is a word, and these were terms when they were saved.
            None => unsafe {
                std::slice::from_raw_parts(self.inline.as_ptr().cast(), self.count as usize)
            },
        }
    }
    /// The saved registers, from R\[0\] on, for the collector to update.
    pub fn terms_mut(&mut self) -> &mut [Term] {
        match &mut self.more {
            Some(more) => more,
            // SAFETY: a term is a word, and these were terms when they were saved.
            None => unsafe {
                std::slice::from_raw_parts_mut(self.inline.as_mut_ptr().cast(), self.count as usize)
            },
        }
    }
}
