//! Fragments: one allocation that holds a term built outside a process's block, with room for what
//! a signal needs besides. Messages under way are fragments; so is what built-ins allocate when the
//! block is full.

use crate::copy::Sharing;
use std::alloc::{Layout, alloc, dealloc};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::refusal;
use swarmrt_term::usage::HEAPS;
use swarmrt_term::{Alloc, Term};

/// The head of a fragment; `capacity` words follow it.
#[repr(C)]
pub struct Fragment {
    /// The next fragment of whatever list this one is in.
    pub next: *mut Fragment,
    /// The term that the fragment was built for.
    pub root: Term,
    /// For signals: the sender (a pid or port, or none).
    pub from: Term,
    /// For signals: which one.
    pub kind: u32,
    used: u32,
    capacity: u32,
    /// For messages in a mailbox: where in the order of arrival.
    pub sequence: u32,
    pub off_heap: OffHeap,
}

impl Fragment {
    fn layout(capacity: usize) -> Layout {
        let bytes = size_of::<Fragment>() + capacity * 8;
        Layout::from_size_align(bytes, 8)
            .expect("fragments are bounded by the memory that their terms take")
    }

    /// A fragment with room for `capacity` words, to be released by [`Fragment::free`].
    pub fn new(capacity: usize) -> *mut Fragment {
        let layout = Self::layout(capacity);
        // SAFETY: the layout is not empty; the head is written before use.
        unsafe {
            let fragment = alloc(layout).cast::<Fragment>();
            if fragment.is_null() {
                refusal::end(layout.size());
            }
            HEAPS.add(layout.size());
            fragment.write(Fragment {
                next: std::ptr::null_mut(),
                root: Term::NONE,
                from: Term::NONE,
                kind: 0,
                used: 0,
                capacity: u32::try_from(capacity).expect("a fragment holds less than 32 GiB"),
                sequence: 0,
                off_heap: OffHeap::new(),
            });
            fragment
        }
    }

    /// A fragment holding a copy of `term` as its root.
    pub fn copy_of(term: Term) -> *mut Fragment {
        if term.is_immediate() {
            let fragment = Self::new(0);
            // SAFETY: just made.
            unsafe { (*fragment).root = term };
            return fragment;
        }
        let sharing = Sharing::now();
        let fragment = Self::new(sharing.size(term));
        // SAFETY: just made, and the words were counted.
        unsafe { (*fragment).root = sharing.copy(term, &mut *fragment) };
        fragment
    }

    /// Drops the references of its off-heap terms and frees the memory.
    ///
    /// # Safety
    /// `fragment` came from [`Fragment::new`], is in no list, and no live term points into it.
    pub unsafe fn free(fragment: *mut Fragment) {
        // SAFETY: the caller's.
        unsafe {
            (*fragment).off_heap.release();
            if cfg!(feature = "stress") {
                (*fragment)
                    .data()
                    .write_bytes(crate::process_heap::POISON, (*fragment).capacity as usize);
            }
            let layout = Self::layout((*fragment).capacity as usize);
            HEAPS.subtract(layout.size());
            dealloc(fragment.cast(), layout);
        }
    }

    /// Words handed out so far.
    pub fn words(&self) -> usize {
        self.used as usize
    }
    /// Words that can still be handed out.
    pub fn room(&self) -> usize {
        (self.capacity - self.used) as usize
    }
    /// The addresses of its words.
    #[cfg(any(feature = "stress", debug_assertions))]
    pub(crate) fn words_at(&self) -> std::ops::Range<usize> {
        let start = self.data() as usize;
        start..start + self.used as usize * 8
    }
    /// Address of the first word, behind the head.
    pub fn data(&self) -> *mut u64 {
        // SAFETY: the words follow the head.
        unsafe { std::ptr::from_ref::<Fragment>(self).add(1) as *mut u64 }
    }
}

impl Alloc for Fragment {
    #[inline]
    fn alloc(&mut self, words: usize) -> *mut u64 {
        assert!(words <= self.room(), "a fragment is made as large as what goes into it");
        // SAFETY: within the capacity.
        let ptr = unsafe { self.data().add(self.used as usize) };
        self.used += words as u32;
        ptr
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        &mut self.off_heap
    }
}
