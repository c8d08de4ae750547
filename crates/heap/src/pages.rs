//! Pages of the operating system below memory that is free.

use std::ops::Range;

const PAGE_BYTES: usize = 4096;

/// Gives the whole pages between two addresses back to the system. They read as zero when they are
/// used again; where the system refuses, as it may where pages are larger, they stay as they are.
///
/// # Safety
/// The addresses are those of memory that is ours and that nobody reads before it is written.
pub(crate) unsafe fn give_back_pages(addresses: Range<usize>) {
    let first = addresses.start.next_multiple_of(PAGE_BYTES);
    let end = addresses.end / PAGE_BYTES * PAGE_BYTES;
    if first < end {
        // SAFETY: the caller's.
        unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_DONTNEED) };
    }
}
