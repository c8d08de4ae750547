//! Copying a term to another heap: literals stay where they are, shared binaries gain a reference.

use crate::literal::literal_range;
use std::ops::Range;
use swarmrt_term::binary::{SharedBytes, shared_bin};
use swarmrt_term::alloc::{is_off_heap, off_heap_bytes};
use swarmrt_term::{Alloc, Header, Term};

/// The words that [`copy_term`] will take.
pub fn size_words(term: Term) -> usize {
    size(term, literal_range())
}

/// The words that [`copy_whole`] will take.
pub fn size_whole(term: Term) -> usize {
    size(term, 0..0)
}

fn size(term: Term, literals: Range<usize>) -> usize {
    let mut total = 0;
    let mut pending: Vec<Term> = Vec::new();
    let mut current = term;
    loop {
        if current.is_pointer() && !literals.contains(&(current.raw() as usize)) {
            if let Some(cell) = current.as_cons() {
                total += 2;
                if cell.head().is_pointer() {
                    pending.push(cell.head());
                }
                current = cell.tail();
                continue;
            }
            let header = current.boxed_header();
            let words = header.words();
            total += words + 1;
            let raw = header.raw_words();
            let ptr = current.boxed_ptr();
            for index in raw + 1..=words {
                // SAFETY: the words after the raw ones are terms.
                let child = unsafe { Term::from_raw(*ptr.add(index)) };
                if child.is_pointer() {
                    pending.push(child);
                }
            }
        }
        match pending.pop() {
            Some(next) => current = next,
            None => return total,
        }
    }
}

/// Copies `term` into `to`. Sharing within the term is not kept, as in OTP.
pub fn copy_term<A: Alloc + ?Sized>(term: Term, to: &mut A) -> Term {
    copy(term, to, literal_range())
}

/// As [`copy_term`], but literals are copied too: for what must outlive the modules that they belong to.
/// The root comes first in what is allocated.
pub fn copy_whole<A: Alloc + ?Sized>(term: Term, to: &mut A) -> Term {
    copy(term, to, 0..0)
}

fn copy<A: Alloc + ?Sized>(term: Term, to: &mut A, literals: Range<usize>) -> Term {
    let mut copied = term;
    let mut pending: Vec<*mut u64> = Vec::new();
    let mut slot: *mut u64 = (&raw mut copied).cast();
    loop {
        // SAFETY: `slot` is a word of the copy (or the root), holding a term of the source.
        unsafe {
            loop {
                let source = Term::from_raw(*slot);
                if !source.is_pointer() || literals.contains(&(source.raw() as usize)) {
                    break;
                }
                if source.is_cons() {
                    let from = source.cons_ptr();
                    let cell = to.alloc(2);
                    *cell = *from;
                    *cell.add(1) = *from.add(1);
                    *slot = Term::from_cons_ptr(cell).raw();
                    if Term::from_raw(*cell).is_pointer() {
                        pending.push(cell);
                    }
                    slot = cell.add(1);
                    continue;
                }
                let from = source.boxed_ptr();
                let header = Header(*from);
                let words = header.words();
                let copy = to.alloc(words + 1);
                copy.copy_from_nonoverlapping(from, words + 1);
                *slot = Term::from_boxed_ptr(copy).raw();
                if is_off_heap(header) {
                    std::mem::forget(SharedBytes::clone_raw(*copy.add(shared_bin::SHARED)));
                    let list = to.off_heap();
                    *copy.add(shared_bin::NEXT) = list.first;
                    list.first = copy as u64;
                    list.bytes += off_heap_bytes(copy);
                    break;
                }
                for index in header.raw_words() + 1..=words {
                    if Term::from_raw(*copy.add(index)).is_pointer() {
                        pending.push(copy.add(index));
                    }
                }
                break;
            }
        }
        match pending.pop() {
            Some(next) => slot = next,
            None => return copied,
        }
    }
}
