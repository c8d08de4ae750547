//! Before literals are freed: a process takes copies of those that it still refers to.

use crate::copy::CopyOut;
use crate::fragment::Fragment;
use crate::literal::Leaving;
use crate::process_heap::Heap;
use swarmrt_term::{Header, Term};

/// Whether one of the words may be a pointer at a literal that leaves.
///
/// # Safety
/// The words from `start` to `end` are initialised.
unsafe fn words_may_refer(leaving: &Leaving, start: *const u64, end: *const u64) -> bool {
    // SAFETY: the caller's.
    let words = unsafe { std::slice::from_raw_parts(start, (end as usize - start as usize) / 8) };
    // Whole chunks against the span, without a jump for each word: heaps are large, and this finds
    // hardly ever anything.
    words
        .chunks(32)
        .any(|chunk| leaving.spans_any(chunk) && chunk.iter().any(|&word| leaving.may_hold(word)))
}

impl Fragment {
    /// Whether the terms in it may refer to a literal that leaves; never a false no.
    pub fn may_refer(&self, leaving: &Leaving) -> bool {
        // SAFETY: what was handed out of a fragment is initialised by then.
        leaving.may_hold(self.root.raw())
            || unsafe { words_may_refer(leaving, self.data(), self.data().add(self.words())) }
    }
}

impl Heap {
    /// Whether heap, stack or `roots` may refer to a literal that leaves; never a false no.
    pub fn may_refer(&self, leaving: &Leaving, roots: &[&mut [Term]]) -> bool {
        if roots.iter().any(|slots| slots.iter().any(|term| leaving.may_hold(term.raw()))) {
            return true;
        }
        // SAFETY: these are the parts in use, all of them written.
        unsafe {
            let mut fragment = self.fragments;
            while !fragment.is_null() {
                if (*fragment).may_refer(leaving) {
                    return true;
                }
                fragment = (*fragment).next;
            }
            (!self.block.start.is_null()
                && (words_may_refer(leaving, self.block.start, self.top)
                    || words_may_refer(leaving, self.stop, self.block.end)))
                || (!self.old.start.is_null()
                    && words_may_refer(leaving, self.old.start, self.old_top))
        }
    }

    /// Has every reference to a literal that leaves point at a copy in this heap.
    ///
    /// # Safety
    /// As for [`Heap::collect`], with the same roots; the state is that right after a major
    /// collection.
    pub unsafe fn copy_out(&mut self, leaving: &Leaving, roots: &mut [&mut [Term]]) {
        assert!(
            self.used_words() == 0 && self.fragments.is_null(),
            "all that is live is in the old generation"
        );
        // The old generation will point at the copies, which are young: the next collection moves
        // both.
        self.wants_major = true;
        self.wants_collection = true;
        let mut copies = CopyOut::new(leaving);
        // SAFETY: the caller's; after a major collection the old generation holds whole objects,
        // one after the other.
        unsafe {
            let mut at = self.old.start;
            while at < self.old_top {
                let word = *at;
                if word & 0b111 == 0 {
                    at = at.add(1 + Header(word).raw_words());
                } else {
                    copies.forward(at, self);
                    at = at.add(1);
                }
            }
            let mut at = self.stop;
            while at < self.block.end {
                copies.forward(at, self);
                at = at.add(1);
            }
            for slots in roots.iter_mut() {
                for slot in slots.iter_mut() {
                    copies.forward(std::ptr::from_mut::<Term>(slot).cast(), self);
                }
            }
        }
    }
}
