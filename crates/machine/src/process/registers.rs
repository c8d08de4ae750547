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
    #[inline]
    pub fn restore(&self, registers: &mut [Term]) {
        let saved = self.terms();
        registers[..saved.len()].copy_from_slice(saved);
    }
    pub fn len(&self) -> usize {
        self.count as usize
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    pub fn terms(&self) -> &[Term] {
        match &self.more {
            Some(more) => more,
            // SAFETY: a term is a word, and these were terms when they were saved.
            None => unsafe {
                std::slice::from_raw_parts(self.inline.as_ptr().cast(), self.count as usize)
            },
        }
    }
    pub fn terms_mut(&mut self) -> &mut [Term] {
        match &mut self.more {
            Some(more) => more,
            // SAFETY: as above.
            None => unsafe {
                std::slice::from_raw_parts_mut(self.inline.as_mut_ptr().cast(), self.count as usize)
            },
        }
    }
}
