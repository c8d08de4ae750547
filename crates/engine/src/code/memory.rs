//! Memory for machine code. It is mapped twice, once to write and once to execute: no page is ever
//! both, and code that runs is not disturbed while more is written beside it. What is dropped
//! leaves room for other code.

use super::unwind::{Description, IS_KNOWN};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes mapped for machine code at the moment.
pub fn mapped_bytes() -> usize {
    MAPPED_BYTES.load(Ordering::Relaxed)
}

const CHUNK_BYTES: usize = 256 * 1024;
const CODE_ALIGN: usize = 16;

/// A mapping that the codes of many pieces share.
struct Chunk {
    writable: *mut u8,
    executable: *const u8,
    bytes: usize,
    /// What is free, in the order of offsets; no two touch.
    free: Vec<Range<usize>>,
    /// The writable mapping has pages: they count as memory of the process a second time.
    is_written: bool,
    /// Dropped before the memory is given back.
    unwinding: Option<Description>,
}

// SAFETY: what is executable is not written once it is handed out, and is written by one thread
// before that.
unsafe impl Send for Chunk {}

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
            let map = |protection| {
                libc::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    protection,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            };
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
            let unwinding = IS_KNOWN.then(|| Description::new(executable.cast(), bytes));
            Ok(Chunk {
                writable: writable.cast(),
                executable: executable.cast(),
                bytes,
                free: std::iter::once(0..bytes).collect(),
                is_written: false,
                unwinding,
            })
        }
    }
}

impl Chunk {
    /// Takes `bytes` that are free; their offset. `None` when there is no such gap.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let at = self.free.iter().position(|free| free.len() >= bytes)?;
        let start = self.free[at].start;
        self.free[at].start += bytes;
        if self.free[at].is_empty() {
            self.free.remove(at);
        }
        Some(start)
    }
    fn give_back(&mut self, part: Range<usize>) {
        let at = self.free.partition_point(|free| free.start < part.start);
        debug_assert!(self.free.get(at).is_none_or(|next| part.end <= next.start));
        self.free.insert(at, part);
        // It and its neighbours become one where they touch.
        for first in [at, at.wrapping_sub(1)] {
            if let Some([left, right]) = self.free.get(first..first.wrapping_add(2))
                && left.end == right.start
            {
                let end = right.end;
                self.free[first].end = end;
                self.free.remove(first + 1);
            }
        }
    }
    /// Takes the pages out of the writable mapping, which finds them again when it is written to.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_written) {
            // SAFETY: the mapping is ours. It is one of a file, which keeps what was written; where
            // the system refuses, the pages stay.
            unsafe { libc::madvise(self.writable.cast(), self.bytes, libc::MADV_DONTNEED) };
        }
    }
    fn is_unused(&self) -> bool {
        self.free.first().is_some_and(|free| free.len() == self.bytes)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        MAPPED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        self.unwinding = None;
        // SAFETY: the mappings are ours; whoever dropped the last code in it has made sure that
        // nobody runs it.
        unsafe {
            libc::munmap(self.writable.cast(), self.bytes);
            libc::munmap(self.executable.cast_mut().cast(), self.bytes);
        }
    }
}

/// All chunks, by their executable address.
static CHUNKS: Mutex<BTreeMap<u64, Chunk>> = Mutex::new(BTreeMap::new());

/// Machine code in memory.
pub struct CodeMemory {
    address: u64,
    bytes: usize,
}

impl CodeMemory {
    /// Executable memory that holds `code`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new(code: &[u8]) -> std::io::Result<CodeMemory> {
        let memory = CodeMemory::reserve(code.len())?;
        memory.fill(code);
        synchronise_cores();
        Ok(memory)
    }
    /// Executable memory for so many bytes. They are [filled](CodeMemory::fill) once, and
    /// [`synchronise_cores`] is called, before anybody executes them.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn reserve(bytes: usize) -> std::io::Result<CodeMemory> {
        let bytes = bytes.next_multiple_of(CODE_ALIGN);
        let mut chunks = CHUNKS.lock();
        let found =
            chunks.iter_mut().find_map(|(&address, chunk)| Some((address, chunk.take(bytes)?)));
        let (address, offset) = match found {
            Some(found) => found,
            None => {
                // The others are full, mostly.
                chunks.values_mut().for_each(Chunk::settle);
                let mut chunk = Chunk::new(bytes.next_multiple_of(CHUNK_BYTES))?;
                let offset = chunk.take(bytes).expect("it is large enough");
                let address = chunk.executable as u64;
                chunks.insert(address, chunk);
                (address, offset)
            }
        };
        Ok(CodeMemory { address: address + offset as u64, bytes })
    }
    /// Writes `code` to the start of the memory, through its writable mapping.
    ///
    /// # Panics
    /// When `code` is longer than the memory.
    pub fn fill(&self, code: &[u8]) {
        assert!(code.len() <= self.bytes, "as much as was asked for");
        let mut chunks = CHUNKS.lock();
        let (&address, chunk) =
            chunks.range_mut(..=self.address).next_back().expect("it lies in a chunk");
        chunk.is_written = true;
        // SAFETY: the chunk has room there, which is this memory's alone.
        unsafe {
            chunk
                .writable
                .add((self.address - address) as usize)
                .copy_from_nonoverlapping(code.as_ptr(), code.len());
        };
    }
    /// All bytes of the memory, with the padding behind the code.
    pub fn code(&self) -> &[u8] {
        // SAFETY: executable memory can be read, and is not written any more.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }
    }
    /// The address of the first byte, in the executable mapping.
    pub fn address(&self) -> u64 {
        self.address
    }
    /// Bytes reserved: the code's length rounded up to `CODE_ALIGN`.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        let mut chunks = CHUNKS.lock();
        let (&address, chunk) =
            chunks.range_mut(..=self.address).next_back().expect("it lies in a chunk");
        let offset = (self.address - address) as usize;
        chunk.give_back(offset..offset + self.bytes);
        if chunk.is_unused() {
            chunks.remove(&address);
        }
    }
}

/// Has every core discard instructions that it has fetched from addresses where other code has been
/// written since (`membarrier(2)`).
pub fn synchronise_cores() {
    const REGISTER: libc::c_int = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
    const SYNCHRONISE: libc::c_int = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE;
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    // SAFETY: the call touches no memory. A system that does not know it has cores that need none
    // of it.
    let call =
        |command: libc::c_int| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } == 0;
    if *REGISTERED.get_or_init(|| call(REGISTER)) {
        call(SYNCHRONISE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again_and_grows_together() {
        let mut chunk = Chunk::new(CHUNK_BYTES).expect("there is memory");
        let parts: Vec<usize> = (0..4).map(|_| chunk.take(64).expect("there is room")).collect();
        assert_eq!(parts, [0, 64, 128, 192]);
        for part in [0, 128, 64] {
            chunk.give_back(part..part + 64);
        }
        assert_eq!(chunk.free, [0..192, 256..CHUNK_BYTES]);
        assert_eq!(chunk.take(192), Some(0));
        chunk.give_back(0..192);
        chunk.give_back(192..256);
        assert!(chunk.is_unused());
        assert_eq!(chunk.take(CHUNK_BYTES + 16), None);
    }
}
