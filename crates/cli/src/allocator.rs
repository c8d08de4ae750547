//! The allocator: mimalloc. Where no memory is left, and nobody can do without, the machine ends as OTP's does: with a message
//! and exit code 1.

use libmimalloc_sys::{mi_free, mi_malloc, mi_malloc_aligned, mi_option_set_default, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

pub struct Mimalloc;

/// `mi_option_purge_delay` in `mimalloc.h`, which the bindings do not name.
const OPTION_PURGE_DELAY: i32 = 15;
/// What is freed goes back to the system when nobody has wanted it for so long. Loading modules leaves behind a good deal
/// that nothing asks for again; what programs free and allocate anew comes back much sooner.
const PURGE_DELAY_MS: i64 = 100;

/// The exit code when there is no memory, which is OTP's.
const EXIT_NO_MEMORY: i32 = 1;

thread_local! {
    /// The bytes that this thread asked for last and did not get.
    static REFUSED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Sets the allocator up, before there are threads; the environment (`MIMALLOC_PURGE_DELAY`) goes before.
pub fn configure() {
    // SAFETY: the option exists, and no other thread runs yet.
    unsafe { mi_option_set_default(OPTION_PURGE_DELAY, PURGE_DELAY_MS) };
    // SAFETY: the structure is filled as `sigaction` wants it; the handler does what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_abort as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESETHAND;
        libc::sigaction(libc::SIGABRT, &raw const action, std::ptr::null_mut());
    }
}

/// Rust aborts where memory is refused that must be had. Who aborts for other reasons does so when this returns.
extern "C" fn on_abort(_signal: i32) {
    let bytes = REFUSED_BYTES.get();
    if bytes == 0 {
        return;
    }
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    let mut rest = bytes;
    while rest > 0 {
        first -= 1;
        digits[first] += (rest % 10) as u8;
        rest /= 10;
    }
    for part in [b"swarmrt: Cannot allocate ".as_slice(), &digits[first..], b" bytes of memory\n"] {
        // SAFETY: `write` may be called here, and the slice has so many bytes.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: as above. Nothing is left that could be done at exit.
    unsafe { libc::_exit(EXIT_NO_MEMORY) };
}

/// Notes it when there is no memory.
#[inline]
fn noted(at: *mut u8, bytes: usize) -> *mut u8 {
    if at.is_null() {
        REFUSED_BYTES.set(bytes);
    }
    at
}

/// Whatever mimalloc returns is aligned to this; nearly nothing asks for more, and what does takes a longer way.
const WORD_ALIGN: usize = 8;

// SAFETY: mimalloc keeps what is asked of an allocator: pieces of the size and with the alignment that were asked for, or
// null.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do; the alignment of a layout is a power of two.
        let at = unsafe { if layout.align() <= WORD_ALIGN { mi_malloc(layout.size()) } else { mi_malloc_aligned(layout.size(), layout.align()) } };
        noted(at.cast(), layout.size())
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let at = unsafe { if layout.align() <= WORD_ALIGN { mi_zalloc(layout.size()) } else { mi_zalloc_aligned(layout.size(), layout.align()) } };
        noted(at.cast(), layout.size())
    }
    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, _layout: Layout) {
        // SAFETY: it comes from here.
        unsafe { mi_free(at.cast()) }
    }
    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: it comes from here.
        let at = unsafe { if layout.align() <= WORD_ALIGN { mi_realloc(at.cast(), size) } else { mi_realloc_aligned(at.cast(), size, layout.align()) } };
        noted(at.cast(), size)
    }
}
