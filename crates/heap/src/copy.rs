//! Copying a term to another heap: literals stay where they are, shared binaries gain a reference.

use crate::literal::{Leaving, leaving, literal_range};
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;
use swarmrt_term::alloc::{is_off_heap, off_heap_bytes};
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::binary::{
    Bits, HEAP_BIN_BYTES_MAX, SharedBytes, copy_bits, heap_bin, shared_bin,
};
use swarmrt_term::usage::HEAPS;
use swarmrt_term::{Alloc, Fun, Header, Subtag, Term, stop};

/// Which literals a copy shares with its source (none that is about to be freed), and how many of
/// its words keep no sharing within the term. [`Sharing::size`] and [`Sharing::copy`] of one term
/// have to be called on the same value, or they may disagree.
pub struct Sharing {
    literals: Range<usize>,
    /// The first so many words of a copy keep no sharing.
    flat_words: Cell<usize>,
    /// Whether a term that is larger than that has been looked at: see [`Sharing::look_at`].
    looked: Cell<bool>,
    leaving: Option<Arc<Leaving>>,
}

impl Sharing {
    /// What can be shared at this moment.
    #[inline]
    pub fn now() -> Sharing {
        Sharing { literals: literal_range(), leaving: leaving(), ..Sharing::nothing() }
    }
    /// No literal is shared.
    fn nothing() -> Sharing {
        Sharing {
            literals: 0..0,
            flat_words: Cell::new(FLAT_WORDS_MAX),
            looked: Cell::new(false),
            leaving: None,
        }
    }
    /// Whether word `at` of a copy of `term` keeps sharing.
    #[inline(always)]
    fn keeps_sharing(&self, at: usize, term: Term) -> bool {
        at >= self.flat_words.get() && (self.looked.get() || !self.look_at(term))
    }
    /// Whether a very large term may be copied as if it shared nothing. What is no larger in that
    /// form than all heaps together has a copy of bounded size either way, and to remember what was
    /// copied takes ten times as long as copying it.
    #[cold]
    fn look_at(&self, term: Term) -> bool {
        self.looked.set(true);
        let most = if cfg!(test) { 0 } else { HEAPS.sum() / 8 };
        let before = self.flat_words.replace(most);
        let is_bounded = size_up_to(term, self, most).is_some();
        self.flat_words.set(if is_bounded { usize::MAX } else { before });
        is_bounded
    }
    /// Whether a copy would point at the same memory: a literal that stays.
    #[inline(always)]
    pub fn shares(&self, term: Term) -> bool {
        let address = term.raw() as usize;
        self.literals.contains(&address)
            && self.leaving.as_ref().is_none_or(|leaving| !leaving.contains(address))
    }
    /// Whether nothing is shared: literals are copied, too.
    #[inline(always)]
    fn is_none(&self) -> bool {
        self.literals.is_empty()
    }
    /// The words that [`Sharing::copy`] will take.
    pub fn size(&self, term: Term) -> usize {
        size(term, self)
    }
    /// Copies `term` into `to`. Sharing within the term is not kept, as in OTP, unless it is very
    /// large.
    pub fn copy<A: Alloc + ?Sized>(&self, term: Term, to: &mut A) -> Term {
        copy(term, to, self)
    }
}

/// The words that [`copy_term`] will take, unless what can be shared changes meanwhile; see
/// [`Sharing`].
pub fn size_words(term: Term) -> usize {
    size(term, &Sharing::now())
}

/// The words that [`copy_whole`] will take.
pub fn size_whole(term: Term) -> usize {
    size(term, &Sharing::nothing())
}

/// The first so many words of a copy keep no sharing within the term, as in OTP: a term that shares
/// little has no cost for it. The words behind them keep sharing, so that a term that is large only
/// because it repeats shared parts has a copy of bounded size.
const FLAT_WORDS_MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 24 };

/// Copies of the parts behind the first words, by the source's word.
type Copied<T> = HashMap<u64, T, BuildHasherDefault<NumberHasher>>;

/// What is still to be visited: most terms are messages and table objects of a few parts, which
/// need no memory for it.
type Pending<T> = SmallVec<[T; 16]>;

/// Visits in the order of [`copy`]: which words are the first has to be the same for both.
fn size(term: Term, sharing: &Sharing) -> usize {
    size_up_to(term, sharing, usize::MAX).expect("nothing is larger")
}

/// As [`size`]; `None` for more than `most` words.
fn size_up_to(term: Term, sharing: &Sharing, most: usize) -> Option<usize> {
    let mut total = 0;
    #[allow(clippy::zero_sized_map_values, reason = "walked as in `copy`, where there are values")]
    let mut seen: Copied<()> = Copied::default();
    let mut pending: Pending<Term> = Pending::new();
    let mut current = term;
    loop {
        let is_copied = current.is_pointer() && !sharing.shares(current);
        if total > most {
            return None;
        }
        if is_copied
            && (!sharing.keeps_sharing(total, term) || seen.insert(current.raw(), ()).is_none())
        {
            if let Some(cell) = current.as_cons() {
                stop::step();
                total += 2;
                if cell.head().is_pointer() {
                    pending.push(cell.head());
                }
                current = cell.tail();
                continue;
            }
            if let Some(bits) = small_part(current) {
                total += heap_bin::DATA + bits.bit_size.div_ceil(64);
            } else {
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
        }
        stop::step();
        match pending.pop() {
            Some(next) => current = next,
            None => return (total <= most).then_some(total),
        }
    }
}

/// The bits of a sub-binary that fits a heap binary: its copy does not keep the original alive.
#[inline]
fn small_part(term: Term) -> Option<Bits> {
    let is_small =
        term.boxed_header().has(Subtag::SubBin) && Bits::size_of(term) <= HEAP_BIN_BYTES_MAX * 8;
    is_small.then(|| Bits::of(term))
}

/// Copies `term` into `to`, which has room or grows. Sharing within the term is not kept, as in
/// OTP, unless it is very large.
#[inline]
pub fn copy_term<A: Alloc + ?Sized>(term: Term, to: &mut A) -> Term {
    if term.is_immediate() {
        return term;
    }
    copy(term, to, &Sharing::now())
}

/// As [`copy_term`], but literals are copied too: for what must outlive the modules that they
/// belong to. The root comes first in what is allocated.
pub fn copy_whole<A: Alloc + ?Sized>(term: Term, to: &mut A) -> Term {
    copy(term, to, &Sharing::nothing())
}

/// As [`copy_whole`], and what is shared within the term is shared within the copy.
pub(crate) fn copy_with_sharing<A: Alloc + ?Sized>(term: Term, to: &mut A) -> Term {
    let all = Sharing { flat_words: Cell::new(0), looked: Cell::new(true), ..Sharing::nothing() };
    copy(term, to, &all)
}

fn copy<A: Alloc + ?Sized>(term: Term, to: &mut A, sharing: &Sharing) -> Term {
    let mut copied = term;
    let mut total = 0;
    let mut seen: Copied<u64> = Copied::default();
    let mut pending: Pending<*mut u64> = Pending::new();
    let mut slot: *mut u64 = (&raw mut copied).cast();
    loop {
        // SAFETY: `slot` is a word of the copy (or the root), holding a term of the source.
        unsafe {
            loop {
                let source = Term::from_raw(*slot);
                if !source.is_pointer() || sharing.shares(source) {
                    break;
                }
                let keeps_sharing = sharing.keeps_sharing(total, term);
                if keeps_sharing && let Some(&copy) = seen.get(&source.raw()) {
                    *slot = copy;
                    break;
                }
                if source.is_cons() {
                    let from = source.cons_ptr();
                    let cell = to.alloc(2);
                    *cell = *from;
                    *cell.add(1) = *from.add(1);
                    *slot = Term::from_cons_ptr(cell).raw();
                    total += 2;
                    if keeps_sharing {
                        seen.insert(source.raw(), *slot);
                    }
                    if Term::from_raw(*cell).is_pointer() {
                        pending.push(cell);
                    }
                    slot = cell.add(1);
                    continue;
                }
                if let Some(bits) = small_part(source) {
                    let (copy, data) = to.heap_bin(bits.bit_size);
                    copy_bits(bits, data, 0);
                    *slot = copy.raw();
                    total += heap_bin::DATA + bits.bit_size.div_ceil(64);
                    if keeps_sharing {
                        seen.insert(source.raw(), *slot);
                    }
                    break;
                }
                let from = source.boxed_ptr();
                let header = Header(*from);
                let words = header.words();
                let copy = to.alloc(words + 1);
                copy.copy_from_nonoverlapping(from, words + 1);
                *slot = Term::from_boxed_ptr(copy).raw();
                total += words + 1;
                if keeps_sharing {
                    seen.insert(source.raw(), *slot);
                }
                if is_off_heap(header) {
                    gain_reference(copy, to);
                    break;
                }
                if header.has(Subtag::Fun) && sharing.is_none() {
                    *copy.add(Fun::MAKER_WORD) |= Fun::OWN_HOLDER;
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

/// Copies out of literals that are leaving, keeping what they share among each other.
pub(crate) struct CopyOut<'a> {
    leaving: &'a Leaving,
    /// Copies by the address of the original.
    copied: HashMap<u64, u64>,
}

impl CopyOut<'_> {
    pub(crate) fn new(leaving: &Leaving) -> CopyOut<'_> {
        CopyOut { leaving, copied: HashMap::new() }
    }

    /// Makes `slot` point at a copy, if it points at a literal that leaves.
    ///
    /// # Safety
    /// `slot` holds a term.
    pub(crate) unsafe fn forward<A: Alloc + ?Sized>(&mut self, slot: *mut u64, to: &mut A) {
        let mut pending = vec![slot];
        while let Some(slot) = pending.pop() {
            // SAFETY: the caller's for the first; the others are words of copies made here.
            unsafe {
                let source = Term::from_raw(*slot);
                if !source.is_pointer() || !self.leaving.contains(source.raw() as usize) {
                    continue;
                }
                if let Some(&copy) = self.copied.get(&source.raw()) {
                    *slot = copy;
                    continue;
                }
                if source.is_cons() {
                    let cell = to.alloc(2);
                    cell.copy_from_nonoverlapping(source.cons_ptr(), 2);
                    *slot = Term::from_cons_ptr(cell).raw();
                    pending.extend([cell, cell.add(1)]);
                } else {
                    let from = source.boxed_ptr();
                    let header = Header(*from);
                    let words = header.words();
                    let copy = to.alloc(words + 1);
                    copy.copy_from_nonoverlapping(from, words + 1);
                    *slot = Term::from_boxed_ptr(copy).raw();
                    if is_off_heap(header) {
                        gain_reference(copy, to);
                    } else {
                        pending
                            .extend((header.raw_words() + 1..=words).map(|index| copy.add(index)));
                    }
                }
                self.copied.insert(source.raw(), *slot);
            }
        }
    }
}

/// Registers the copy of an off-heap term: it counts as a reference to the shared bytes, and joins
/// the list of its heap.
///
/// # Safety
/// `copy` is a copy, just made in `to`, of such a handle.
unsafe fn gain_reference<A: Alloc + ?Sized>(copy: *mut u64, to: &mut A) {
    // SAFETY: the caller's.
    unsafe {
        std::mem::forget(SharedBytes::clone_raw(*copy.add(shared_bin::SHARED)));
        to.off_heap().push(copy, off_heap_bytes(copy));
    }
}
