//! Memory for machine code. It is mapped twice, once to write and once to execute: no page is ever both, and code that
//! runs is not disturbed while more is written beside it.

use parking_lot::Mutex;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes mapped for machine code at the moment.
pub static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

const CHUNK_BYTES: usize = 256 * 1024;
const CODE_ALIGN: usize = 16;

/// A stretch of memory that many codes share; it goes when the last of them does.
struct Chunk {
    writable: *mut u8,
    executable: *const u8,
    bytes: usize,
}

// SAFETY: what is executable is not written once it is handed out, and is written by one thread before that.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> std::io::Result<Chunk> {
        let failed = || Err(std::io::Error::last_os_error());
        // SAFETY: a new file without a name, mapped twice; the mappings are this chunk's own.
        unsafe {
            let fd = libc::memfd_create(c"swarmrt-code".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return failed();
            }
            let file = OwnedFd::from_raw_fd(fd);
            if libc::ftruncate(file.as_raw_fd(), bytes as libc::off_t) != 0 {
                return failed();
            }
            let map = |protection| libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
            let writable = map(libc::PROT_READ | libc::PROT_WRITE);
            if writable == libc::MAP_FAILED {
                return failed();
            }
            let executable = map(libc::PROT_READ | libc::PROT_EXEC);
            if executable == libc::MAP_FAILED {
                let error = failed();
                libc::munmap(writable, bytes);
                return error;
            }
            MAPPED_BYTES.fetch_add(bytes, Ordering::Relaxed);
            Ok(Chunk { writable: writable.cast(), executable: executable.cast(), bytes })
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        MAPPED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        // SAFETY: the mappings are ours; whoever dropped the last code in it has made sure that nobody runs it.
        unsafe {
            libc::munmap(self.writable.cast(), self.bytes);
            libc::munmap(self.executable.cast_mut().cast(), self.bytes);
        }
    }
}

/// The chunk that is being filled, and how far.
static CURRENT: Mutex<Option<(Arc<Chunk>, usize)>> = Mutex::new(None);

/// Machine code in memory.
pub struct CodeMemory {
    /// Keeps the memory.
    _chunk: Arc<Chunk>,
    address: u64,
}

impl CodeMemory {
    /// Executable memory that holds `code`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new(code: &[u8]) -> std::io::Result<CodeMemory> {
        let mut current = CURRENT.lock();
        let (chunk, used) = match current.take() {
            Some((chunk, used)) if chunk.bytes - used >= code.len() => (chunk, used),
            _ => (Arc::new(Chunk::new(code.len().max(CHUNK_BYTES).next_multiple_of(CHUNK_BYTES))?), 0),
        };
        // SAFETY: the chunk has room from `used` on, which nobody else has been given.
        let address = unsafe {
            chunk.writable.add(used).copy_from_nonoverlapping(code.as_ptr(), code.len());
            chunk.executable.add(used) as u64
        };
        let used = (used + code.len()).next_multiple_of(CODE_ALIGN).min(chunk.bytes);
        *current = Some((Arc::clone(&chunk), used));
        Ok(CodeMemory { _chunk: chunk, address })
    }
    pub fn address(&self) -> u64 {
        self.address
    }
}
