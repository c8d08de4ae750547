//! The allocator: mimalloc.

use libmimalloc_sys::{mi_free, mi_malloc, mi_malloc_aligned, mi_option_set_default, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned};
use std::alloc::{GlobalAlloc, Layout};

pub struct Mimalloc;

/// `mi_option_purge_delay` in `mimalloc.h`, which the bindings do not name.
const OPTION_PURGE_DELAY: i32 = 15;
/// What is freed goes back to the system when nobody has wanted it for so long. Loading modules leaves behind a good deal
/// that nothing asks for again; what programs free and allocate anew comes back much sooner.
const PURGE_DELAY_MS: i64 = 100;

/// Sets the allocator up, before there are threads; the environment (`MIMALLOC_PURGE_DELAY`) goes before.
pub fn configure() {
    // SAFETY: the option exists, and no other thread runs yet.
    unsafe { mi_option_set_default(OPTION_PURGE_DELAY, PURGE_DELAY_MS) };
}

/// Whatever mimalloc returns is aligned to this; nearly nothing asks for more, and what does takes a longer way.
const WORD_ALIGN: usize = 8;

// SAFETY: mimalloc keeps what is asked of an allocator: pieces of the size and with the alignment that were asked for, or
// null.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do; the alignment of a layout is a power of two.
        unsafe { if layout.align() <= WORD_ALIGN { mi_malloc(layout.size()) } else { mi_malloc_aligned(layout.size(), layout.align()) }.cast() }
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { if layout.align() <= WORD_ALIGN { mi_zalloc(layout.size()) } else { mi_zalloc_aligned(layout.size(), layout.align()) }.cast() }
    }
    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, _layout: Layout) {
        // SAFETY: it comes from here.
        unsafe { mi_free(at.cast()) }
    }
    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: it comes from here.
        unsafe { if layout.align() <= WORD_ALIGN { mi_realloc(at.cast(), size) } else { mi_realloc_aligned(at.cast(), size, layout.align()) }.cast() }
    }
}
