//! One object of a table: a tuple in a block of memory of its own.

use std::alloc::{Layout, alloc, dealloc};
use swarmrt_heap::{copy_whole, size_whole};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::binary::shared_bin;
use swarmrt_term::refusal;
use swarmrt_term::{Alloc, FragmentHeap, Header, SharedBytes, Subtag, Term, Tuple};

/// A term with the memory that it lives in.
pub struct OwnedTerm {
    pub term: Term,
    _heap: FragmentHeap,
}

impl OwnedTerm {
    /// A copy of `term`, literals included.
    pub fn new(term: Term) -> OwnedTerm {
        let mut heap = if term.is_immediate() {
            FragmentHeap::new()
        } else {
            FragmentHeap::with_words(size_whole(term))
        };
        let term = copy_whole(term, &mut heap);
        OwnedTerm { term, _heap: heap }
    }
}

// SAFETY: the heap owns the term's words, which never change.
unsafe impl Sync for OwnedTerm {}

/// The head of an object's block; the words of the tuple follow.
#[repr(C)]
pub struct Head {
    /// The next object of the same bucket.
    pub next: *mut Head,
    /// First of the shared binaries in the block.
    off_heap_first: u64,
    pub hash: u32,
    /// Words that follow, and in the highest bit whether the object counts as deleted.
    words: u32,
}

const DELETED: u32 = 1 << 31;
const HEAD_WORDS: usize = size_of::<Head>() / 8;

/// Allocates within the block of an object.
struct Builder {
    at: *mut u64,
    left: usize,
    off_heap: OffHeap,
}

impl Alloc for Builder {
    fn alloc(&mut self, words: usize) -> *mut u64 {
        assert!(words <= self.left, "the words were counted");
        let at = self.at;
        self.left -= words;
        self.at = at.wrapping_add(words);
        at
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        &mut self.off_heap
    }
}

impl Head {
    fn layout(words: usize) -> Layout {
        Layout::from_size_align((HEAD_WORDS + words) * 8, 8)
            .expect("objects are bounded by the memory that their terms take")
    }

    /// A block with a copy of `tuple`, which [`free`](Self::free) gives back. `hash` is of no
    /// meaning in ordered tables.
    ///
    /// # Panics
    /// When the copy takes 2³¹ words or more.
    pub fn new(tuple: Term, hash: u32) -> *mut Head {
        let words = size_whole(tuple);
        assert!(words < DELETED as usize, "an object is smaller than 16 GiB");
        let layout = Self::layout(words);
        // SAFETY: the layout is not empty; the head is written before use.
        unsafe {
            let head = alloc(layout).cast::<Head>();
            if head.is_null() {
                refusal::end(layout.size());
            }
            let mut builder =
                Builder { at: head.add(1).cast(), left: words, off_heap: OffHeap::new() };
            let copy = copy_whole(tuple, &mut builder);
            debug_assert_eq!(copy.boxed_ptr(), head.add(1).cast());
            head.write(Head {
                next: std::ptr::null_mut(),
                off_heap_first: builder.off_heap.first,
                hash,
                words: words as u32,
            });
            head
        }
    }

    /// # Safety
    /// The block came from [`Head::new`], and nobody uses its terms any more.
    pub unsafe fn free(head: *mut Head) {
        // SAFETY: the caller's.
        unsafe {
            OffHeap { first: (*head).off_heap_first, bytes: 0 }.release();
            dealloc(head.cast(), Self::layout((*head).words()));
        }
    }

    /// Has the processor bring the object near, without waiting for it.
    #[inline]
    pub fn fetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: any address may be named.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(self).cast());
        }
    }

    /// Words of the tuple and all that it holds, without the head.
    pub fn words(&self) -> usize {
        (self.words & !DELETED) as usize
    }
    /// Whether the object is only marked as deleted, since the table is fixed.
    pub fn is_deleted(&self) -> bool {
        self.words & DELETED != 0
    }
    /// Marks the object as deleted, or takes the mark back.
    pub fn set_deleted(&mut self, deleted: bool) {
        self.words = self.words() as u32 | if deleted { DELETED } else { 0 };
    }

    /// The shared binaries in the object: address, size in bytes, references.
    pub fn binaries(&self) -> Vec<(u64, u64, usize)> {
        let mut found = Vec::new();
        let mut at = self.off_heap_first as *const u64;
        while !at.is_null() {
            // SAFETY: members of the object's off-heap list are live.
            unsafe {
                if Header(*at).has(Subtag::SharedBin) {
                    let raw = *at.add(shared_bin::SHARED);
                    let references = SharedBytes::clone_raw(raw).references() - 1;
                    found.push((raw, (*at.add(shared_bin::BIT_SIZE)).div_ceil(8), references));
                }
                at = *at.add(shared_bin::NEXT) as *const u64;
            }
        }
        found
    }

    /// The tuple as a term, which lives as long as the object.
    #[inline]
    pub fn term(&self) -> Term {
        self.tuple().term()
    }
    /// The tuple, which lives as long as the object.
    #[inline]
    pub fn tuple(&self) -> Tuple {
        // SAFETY: the tuple's header is the first word after the head.
        unsafe { Tuple::from_ptr(std::ptr::from_ref(self).add(1).cast_mut().cast()) }
    }
    /// The key; `keypos` counts from 0.
    #[inline]
    pub fn key(&self, keypos: usize) -> Term {
        self.tuple().get(keypos)
    }

    /// Puts an immediate in the place of another.
    pub fn set_immediate(&mut self, index: usize, value: Term) {
        let tuple = self.tuple();
        assert!(
            index < tuple.arity() && value.is_immediate() && tuple.get(index).is_immediate(),
            "only immediates are replaced in place"
        );
        // SAFETY: the element is within the tuple, and the object is ours to change.
        unsafe { *tuple.ptr().add(1 + index) = value.raw() };
    }
}
