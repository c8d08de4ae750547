//! The allocator: mimalloc. Where there is no memory, and nobody handles that, the machine ends as
//! OTP's does: with a message, a crash dump that says why, and exit code 1.

#[cfg(feature = "refusals")]
mod refuse;

use crate::limits::limit;
use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_option_set_default, mi_realloc, mi_realloc_aligned,
    mi_zalloc, mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use swarmrt::machine::vm::inspect::{DUMP_HEAD, DUMP_MODE, dump_file};
use swarmrt::refusal;

#[cfg_attr(feature = "system-allocator", expect(dead_code, reason = "another one is used"))]
pub struct Mimalloc;

/// `mi_option_purge_delay` in `mimalloc.h`, which the bindings do not name.
const OPTION_PURGE_DELAY: i32 = 15;
/// What is freed goes back to the system when nobody has wanted it for ten times as long
/// (`mi_option_arena_purge_mult`). Loading modules leaves behind a good deal that nothing asks for
/// again; what programs free and allocate anew comes back much sooner. With 100, the compiler over
/// 60 modules takes 15 % more memory and no less time; with 2, programs that make large binaries
/// take up to a tenth more time.
const PURGE_DELAY_MS: i64 = 10;

/// The exit code when there is no memory, which is OTP's.
const EXIT_NO_MEMORY: i32 = 1;

/// Where the crash dump goes, known before there is no memory to find out.
static DUMP_FILE: OnceLock<Option<CString>> = OnceLock::new();

/// Sets the allocator up, before there are threads; the environment (`MIMALLOC_PURGE_DELAY`) goes
/// before.
pub fn configure() {
    // SAFETY: the option exists, and no other thread runs yet.
    unsafe { mi_option_set_default(OPTION_PURGE_DELAY, PURGE_DELAY_MS) };
    // The C library's own allocator, which few use here, reserves 64 MB and more for each thread
    // that calls it. Where addresses are limited, nothing is left for the stacks of threads then.
    #[cfg(target_env = "gnu")]
    if limit(libc::RLIMIT_AS).is_some() {
        // SAFETY: no other thread runs yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
    DUMP_FILE.get_or_init(|| CString::new(dump_file()?.into_os_string().into_vec()).ok());
    refusal::set_end(end);
    #[cfg(feature = "refusals")]
    refuse::configure();
}

/// Text of bounded length that needs no memory.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Text {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        let room = &mut self.bytes[self.length..];
        let count = more.len().min(room.len());
        room[..count].copy_from_slice(&more[..count]);
        self.length += count;
        Ok(more.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write(fd: libc::c_int, bytes: &[u8]) -> bool {
    // SAFETY: the slice has so many bytes; a closed descriptor is an error and nothing else.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written) == Ok(bytes.len())
}

/// Ends the machine without asking for more memory. The dump holds the reason alone: processes
/// cannot tell of themselves.
fn end(bytes: usize) -> ! {
    let mut slogan = Text { bytes: [0; 256], length: 0 };
    // Writing to memory cannot fail.
    let _ = write!(slogan, "swarmrt_alloc: Cannot allocate {bytes} bytes of memory.");
    let slogan = &slogan.bytes[..slogan.length];
    write(libc::STDERR_FILENO, slogan);
    write(libc::STDERR_FILENO, b"\n");
    if let Some(file) = DUMP_FILE.get().and_then(Option::as_ref) {
        for part in [b"\nCrash dump is being written to: ".as_slice(), file.as_bytes(), b"..."] {
            write(libc::STDERR_FILENO, part);
        }
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe {
            libc::open(
                file.as_ptr(),
                libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC,
                DUMP_MODE,
            )
        };
        let mut now: libc::time_t = 0;
        let mut date = [0; 26];
        // SAFETY: both write to what they are given; `date` has the room that `ctime_r` is
        // documented to want.
        unsafe {
            libc::time(&raw mut now);
            libc::ctime_r(&raw const now, date.as_mut_ptr());
        }
        let date = date.map(|byte| byte as u8);
        let date = date.split(|&byte| byte == 0).next().unwrap_or_default();
        let parts = [DUMP_HEAD.as_bytes(), date, b"Slogan: ", slogan, b"\n=end\n"];
        let done = fd >= 0 && parts.iter().all(|part| write(fd, part));
        write(libc::STDERR_FILENO, if done { b"done\n" } else { b"not possible\n" });
    }
    // SAFETY: what would be done at exit needs memory, too.
    unsafe { libc::_exit(EXIT_NO_MEMORY) }
}

/// What mimalloc says, unless the tests refuse it; a refusal that nobody handles is the end.
#[inline]
#[cfg_attr(feature = "system-allocator", expect(dead_code, reason = "another allocator is used"))]
fn checked(bytes: usize, allocate: impl FnOnce() -> *mut libc::c_void) -> *mut u8 {
    #[cfg(feature = "refusals")]
    let at = if refuse::refuses() { std::ptr::null_mut() } else { allocate() };
    #[cfg(not(feature = "refusals"))]
    let at = allocate();
    if at.is_null() && !refusal::is_handled() {
        refusal::end(bytes);
    }
    at.cast()
}

/// Whatever mimalloc returns is aligned to this; nearly nothing asks for more, and what does takes
/// a longer way.
const WORD_ALIGN: usize = 8;

// SAFETY: mimalloc keeps what is asked of an allocator: pieces of the size and with the alignment
// that were asked for, or null.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do; the alignment of a layout is a power of two.
        checked(layout.size(), || unsafe {
            if layout.align() <= WORD_ALIGN {
                mi_malloc(layout.size())
            } else {
                mi_malloc_aligned(layout.size(), layout.align())
            }
        })
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do; the alignment of a layout is a power of two.
        checked(layout.size(), || unsafe {
            if layout.align() <= WORD_ALIGN {
                mi_zalloc(layout.size())
            } else {
                mi_zalloc_aligned(layout.size(), layout.align())
            }
        })
    }
    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, _layout: Layout) {
        // SAFETY: it comes from here.
        unsafe { mi_free(at.cast()) }
    }
    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: it comes from here.
        checked(size, || unsafe {
            if layout.align() <= WORD_ALIGN {
                mi_realloc(at.cast(), size)
            } else {
                mi_realloc_aligned(at.cast(), size, layout.align())
            }
        })
    }
}
