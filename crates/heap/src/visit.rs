//! Looking at the terms on a heap, and within a term.

use crate::fragment::Fragment;
use crate::process_heap::Heap;
use swarmrt_term::{Header, Term};

/// Visits the boxed terms in an area, whatever they are for.
///
/// # Safety
/// The words from `start` to `end` are initialised: objects, one after the other.
unsafe fn each_in_area(start: *mut u64, end: *const u64, visit: &mut impl FnMut(Term)) {
    let mut at = start;
    while at.cast_const() < end {
        // SAFETY: the caller's; a header is followed by its words.
        unsafe {
            if let Some(header) = Header::checked(*at) {
                let words = (end as usize - at as usize) / 8 - 1;
                if header.words() > words {
                    return;
                }
                visit(Term::from_boxed_ptr(at));
                at = at.add(header.raw_words());
            }
            at = at.add(1);
        }
    }
}

impl Heap {
    /// Visits every boxed term of the heap, also those that the next collection will not find live.
    /// Messages that wait are not part of it.
    pub fn each_boxed(&self, mut visit: impl FnMut(Term)) {
        // SAFETY: these are the parts in use, all of them written.
        unsafe {
            each_in_area(self.block.start, self.top, &mut visit);
            each_in_area(self.old.start, self.old_top, &mut visit);
            let mut fragment: *const Fragment = self.fragments;
            while !fragment.is_null() {
                let start = (*fragment).data();
                each_in_area(start, start.add((*fragment).words()), &mut visit);
                fragment = (*fragment).next;
            }
        }
    }
}

/// Visits the boxed terms that a term consists of, once for each time that they occur in it.
pub fn each_within(term: Term, mut visit: impl FnMut(Term)) {
    let mut pending = vec![term];
    while let Some(term) = pending.pop() {
        if let Some(cell) = term.as_cons() {
            pending.extend([cell.tail(), cell.head()]);
        } else if term.is_boxed() {
            visit(term);
            let header = term.boxed_header();
            for at in header.raw_words() + 1..=header.words() {
                // SAFETY: what follows the raw words of a boxed term are terms.
                let part = unsafe { *term.boxed_ptr().add(at).cast::<Term>() };
                if !part.is_immediate() {
                    pending.push(part);
                }
            }
        }
    }
}
