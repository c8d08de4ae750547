//! Memory for machine code: written once, then executable and read-only.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes mapped for machine code at the moment.
pub static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A stretch of executable memory.
pub struct CodeMemory {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: nobody writes to it once it is made.
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Executable memory that holds `code`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new(code: &[u8]) -> std::io::Result<CodeMemory> {
        let page_bytes = 4096;
        let bytes = code.len().max(1).next_multiple_of(page_bytes);
        // SAFETY: a new anonymous mapping, filled before it is made executable.
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error());
            }
            let memory = CodeMemory { start: start.cast(), bytes };
            MAPPED_BYTES.fetch_add(bytes, Ordering::Relaxed);
            memory.start.copy_from_nonoverlapping(code.as_ptr(), code.len());
            if libc::mprotect(start, bytes, libc::PROT_READ | libc::PROT_EXEC) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(memory)
        }
    }
    pub fn address(&self) -> u64 {
        self.start as u64
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        MAPPED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        // SAFETY: the mapping is ours; whoever drops it has made sure that nobody runs it.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}
