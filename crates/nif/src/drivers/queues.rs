//! Binaries of drivers, and the queue of a port.

use super::entry::{DriverVector, Handle};
use super::port::open_port;
use crate::abi::{CArray, IoSlice};
use crate::binaries::PADDING_BYTES;
use std::collections::VecDeque;
use std::ffi::{c_int, c_long, c_void};
use swarmrt_term::SharedBytes;
use swarmrt_term::binary::SHARED_HEAD_BYTES;

/// `ErlDrvBinary`: counted bytes of which the first word is how many follow.
#[repr(C)]
pub struct DriverBinary {
    pub(super) size: isize,
}

impl DriverBinary {
    /// The bytes to allocate for `size` of a driver's, and how many of them are in use.
    fn sizes(size: usize) -> Option<(usize, usize)> {
        let used = size.checked_add(size_of::<DriverBinary>())?;
        Some((used.checked_add(PADDING_BYTES)?, used))
    }
    /// A binary with room for `size` bytes, held by the caller; null without memory.
    pub fn new(size: usize) -> *mut DriverBinary {
        let sizes = Self::sizes(size);
        let Some(shared) =
            sizes.and_then(|(capacity, used)| SharedBytes::try_with_capacity(capacity, used))
        else {
            return std::ptr::null_mut();
        };
        let binary = shared.data().cast::<DriverBinary>();
        // SAFETY: the memory begins with a word, and is not shared yet.
        unsafe { binary.write(DriverBinary { size: size as isize }) };
        let _ = shared.into_raw();
        binary
    }
    /// A binary with these bytes, held by the caller; null without memory.
    pub fn copied(bytes: &[u8]) -> *mut DriverBinary {
        let binary = Self::new(bytes.len());
        if !binary.is_null() {
            // SAFETY: there is room for as many.
            unsafe { Self::bytes(binary).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        binary
    }
    /// The address of the bytes, behind the size.
    pub fn bytes(binary: *mut DriverBinary) -> *mut u8 {
        binary.wrapping_add(1).cast()
    }
    fn raw(binary: *mut DriverBinary) -> u64 {
        binary as u64 - SHARED_HEAD_BYTES as u64
    }
    /// Another holder.
    ///
    /// # Safety
    /// The binary is there.
    pub unsafe fn hold(binary: *mut DriverBinary) -> SharedBytes {
        // SAFETY: the caller's.
        unsafe { SharedBytes::clone_raw(Self::raw(binary)) }
    }
    /// The bytes of a binary that is handed over; none of null.
    ///
    /// # Safety
    /// The binary is there, or null.
    pub unsafe fn taken(binary: *mut DriverBinary) -> Vec<u8> {
        if binary.is_null() {
            return Vec::new();
        }
        // SAFETY: the caller's.
        unsafe {
            let bytes =
                std::slice::from_raw_parts(Self::bytes(binary), (*binary).size as usize).to_vec();
            driver_free_binary(binary);
            bytes
        }
    }
}

/// A binary with room for `size` bytes; null without memory.
#[unsafe(no_mangle)]
pub extern "C" fn driver_alloc_binary(size: usize) -> *mut DriverBinary {
    DriverBinary::new(size)
}

/// Resizes a binary, or makes one of null; null without memory.
///
/// # Safety
/// `binary` was made here, and the caller is its only holder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_realloc_binary(
    binary: *mut DriverBinary,
    size: usize,
) -> *mut DriverBinary {
    if binary.is_null() {
        return DriverBinary::new(size);
    }
    // SAFETY: the caller's.
    unsafe {
        let resized = DriverBinary::sizes(size).and_then(|(capacity, used)| {
            SharedBytes::resized(DriverBinary::raw(binary), capacity, used)
        });
        let Some(shared) = resized else { return std::ptr::null_mut() };
        let binary = shared.data().cast::<DriverBinary>();
        (*binary).size = size as isize;
        let _ = shared.into_raw();
        binary
    }
}

/// One holder less.
///
/// # Safety
/// `binary` was made here, and the caller is a holder; or it is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_free_binary(binary: *mut DriverBinary) {
    if !binary.is_null() {
        // SAFETY: the caller's.
        drop(unsafe { SharedBytes::from_raw(DriverBinary::raw(binary)) });
    }
}

fn references(binary: *mut DriverBinary) -> c_long {
    // SAFETY: callers of the interface have the binary.
    std::mem::ManuallyDrop::new(unsafe { SharedBytes::from_raw(DriverBinary::raw(binary)) })
        .references() as c_long
}

/// How many hold the binary.
#[unsafe(no_mangle)]
pub extern "C" fn driver_binary_get_refc(binary: *mut DriverBinary) -> c_long {
    references(binary)
}
/// One more holder; how many there are then.
///
/// # Safety
/// `binary` was made here and is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_binary_inc_refc(binary: *mut DriverBinary) -> c_long {
    // SAFETY: the caller's.
    let _ = unsafe { DriverBinary::hold(binary) }.into_raw();
    references(binary)
}
/// One holder less; how many are left.
///
/// # Safety
/// `binary` was made here, and the caller is a holder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_binary_dec_refc(binary: *mut DriverBinary) -> c_long {
    let left = references(binary) - 1;
    // SAFETY: the caller's.
    unsafe { driver_free_binary(binary) };
    left
}

/// As [`enif_alloc`](crate::system::enif_alloc).
#[unsafe(no_mangle)]
pub extern "C" fn driver_alloc(size: usize) -> *mut c_void {
    crate::system::enif_alloc(size)
}
/// As [`enif_realloc`](crate::system::enif_realloc).
///
/// # Safety
/// `memory` came from here, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { crate::system::enif_realloc(memory, size) }
}
/// As [`enif_free`](crate::system::enif_free).
///
/// # Safety
/// `memory` came from here, or is null, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_free(memory: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { crate::system::enif_free(memory) };
}

// ---- The queue ----

struct Piece {
    _shared: SharedBytes,
    slice: IoSlice,
}

// SAFETY: what a slice points at is kept by the piece, and does not change any more.
unsafe impl Send for Piece {}

impl Piece {
    fn copied(bytes: &[u8]) -> Piece {
        let shared = SharedBytes::copy_from(bytes);
        let slice = IoSlice { base: shared.data(), length: bytes.len() };
        Piece { _shared: shared, slice }
    }
    /// A part of a binary, which is held and not copied.
    ///
    /// # Safety
    /// `binary` is there and has the bytes.
    unsafe fn held(binary: *mut DriverBinary, offset: usize, count: usize) -> Piece {
        let base = DriverBinary::bytes(binary).wrapping_add(offset);
        // SAFETY: the caller's.
        let shared = unsafe { DriverBinary::hold(binary) };
        Piece { _shared: shared, slice: IoSlice { base, length: count } }
    }
}

/// What a port's driver has still to write.
#[derive(Default)]
pub struct Queue {
    pieces: VecDeque<Piece>,
    size: usize,
    /// What was shown last.
    shown: Vec<IoSlice>,
    shown_binaries: Vec<*mut DriverBinary>,
}

// SAFETY: what is shown is looked at by the library under its own lock.
unsafe impl Send for Queue {}

impl Queue {
    /// Bytes in the queue.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Drops all bytes, those that were shown last among them.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.size = 0;
    }
    fn add(&mut self, pieces: Vec<Piece>, in_front: bool) {
        self.size += pieces.iter().map(|piece| piece.slice.length).sum::<usize>();
        if in_front {
            pieces.into_iter().rev().for_each(|piece| self.pieces.push_front(piece));
        } else {
            self.pieces.extend(pieces);
        }
    }
    fn take(&mut self, mut count: usize) -> bool {
        if count > self.size {
            return false;
        }
        self.size -= count;
        while count > 0
            && let Some(first) = self.pieces.front_mut()
        {
            let taken = count.min(first.slice.length);
            first.slice.base = first.slice.base.wrapping_add(taken);
            first.slice.length -= taken;
            count -= taken;
            if first.slice.length == 0 {
                self.pieces.pop_front();
            }
        }
        true
    }
    fn show(&mut self) -> *mut IoSlice {
        self.shown = self.pieces.iter().map(|piece| piece.slice).collect();
        self.shown_binaries = vec![std::ptr::null_mut(); self.shown.len()];
        self.shown.as_mut_ptr()
    }
}

/// Puts pieces into a port's queue; -1 where there is no such port.
fn enqueue(handle: Handle, pieces: Vec<Piece>, in_front: bool) -> c_int {
    let Some(port) = open_port(handle) else { return -1 };
    port.queue
        .lock()
        .add(pieces.into_iter().filter(|piece| piece.slice.length > 0).collect(), in_front);
    0
}

/// The pieces of a vector without its first bytes.
///
/// # Safety
/// The vector is as it says.
unsafe fn pieces_of(vector: *const DriverVector, mut skip: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // SAFETY: the caller's.
    unsafe {
        for at in 0..usize::try_from((*vector).count).unwrap_or(0) {
            let (mut slice, binary) = (*(*vector).slices.add(at), *(*vector).binaries.add(at));
            let skipped = skip.min(slice.length);
            skip -= skipped;
            slice.base = slice.base.wrapping_add(skipped);
            slice.length -= skipped;
            if slice.length == 0 {
                continue;
            }
            pieces.push(if binary.is_null() {
                Piece::copied(std::slice::from_raw_parts(slice.base, slice.length))
            } else {
                Piece { _shared: DriverBinary::hold(binary), slice }
            });
        }
    }
    pieces
}

/// Copies bytes to the queue's end. As with all of this family: 0, or -1 where there is no such
/// port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_enq(handle: Handle, bytes: CArray<u8>, count: usize) -> c_int {
    enqueue(handle, vec![Piece::copied(bytes.of(count))], false)
}
/// Copies bytes to the queue's front.
#[unsafe(no_mangle)]
pub extern "C" fn driver_pushq(handle: Handle, bytes: CArray<u8>, count: usize) -> c_int {
    enqueue(handle, vec![Piece::copied(bytes.of(count))], true)
}
/// Puts a part of a binary, which is held and not copied, at the queue's end.
///
/// # Safety
/// `binary` is there and has the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_enq_bin(
    handle: Handle,
    binary: *mut DriverBinary,
    offset: usize,
    count: usize,
) -> c_int {
    // SAFETY: the caller's.
    enqueue(handle, vec![unsafe { Piece::held(binary, offset, count) }], false)
}
/// Puts a part of a binary, which is held and not copied, at the queue's front.
///
/// # Safety
/// `binary` is there and has the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_pushq_bin(
    handle: Handle,
    binary: *mut DriverBinary,
    offset: usize,
    count: usize,
) -> c_int {
    // SAFETY: the caller's.
    enqueue(handle, vec![unsafe { Piece::held(binary, offset, count) }], true)
}
/// Puts a vector without its first `skip` bytes at the queue's end; only slices without a binary
/// are copied.
///
/// # Safety
/// The vector is as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_enqv(
    handle: Handle,
    vector: *const DriverVector,
    skip: usize,
) -> c_int {
    // SAFETY: the caller's.
    enqueue(handle, unsafe { pieces_of(vector, skip) }, false)
}
/// Puts a vector without its first `skip` bytes at the queue's front; only slices without a binary
/// are copied.
///
/// # Safety
/// The vector is as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_pushqv(
    handle: Handle,
    vector: *const DriverVector,
    skip: usize,
) -> c_int {
    // SAFETY: the caller's.
    enqueue(handle, unsafe { pieces_of(vector, skip) }, true)
}
/// Takes `count` bytes off the queue's front; how many are left. -1 as an unsigned number where
/// there are fewer, or no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_deq(handle: Handle, count: usize) -> usize {
    let Some(port) = open_port(handle) else { return usize::MAX };
    let mut queue = port.queue.lock();
    if queue.take(count) { queue.size } else { usize::MAX }
}
/// Bytes in the queue; -1 as an unsigned number where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_sizeq(handle: Handle) -> usize {
    open_port(handle).map_or(usize::MAX, |port| port.queue.lock().size)
}
/// All slices of the queue, without binaries; null and a count of -1 where there is no such port.
/// They are good until the queue is changed or shown again.
#[unsafe(no_mangle)]
pub extern "C" fn driver_peekq(handle: Handle, count: crate::abi::Out<c_int>) -> *mut IoSlice {
    let Some(port) = open_port(handle) else {
        count.put(-1);
        return std::ptr::null_mut();
    };
    let mut queue = port.queue.lock();
    count.put(queue.pieces.len() as c_int);
    queue.show()
}
/// The queue as a vector, whose binaries are null; its size in bytes, or -1 as an unsigned number
/// where there is no such port. It is good until the queue is changed or shown again.
///
/// # Safety
/// `vector` is room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_peekqv(handle: Handle, vector: *mut DriverVector) -> usize {
    let Some(port) = open_port(handle) else { return usize::MAX };
    let mut queue = port.queue.lock();
    let slices = queue.show();
    let shown = DriverVector {
        count: queue.shown.len() as c_int,
        size: queue.size,
        slices,
        binaries: queue.shown_binaries.as_mut_ptr(),
    };
    // SAFETY: the caller's.
    unsafe { vector.write(shown) };
    queue.size
}

/// Copies at most `count` bytes of a vector; how much of the room is left.
///
/// # Safety
/// The vector is as it says, and there is room for `count` bytes at `to`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_vec_to_buf(
    vector: *const DriverVector,
    mut to: *mut u8,
    mut count: usize,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        for at in 0..usize::try_from((*vector).count).unwrap_or(0) {
            let slice = *(*vector).slices.add(at);
            let copied = count.min(slice.length);
            to.copy_from_nonoverlapping(slice.base, copied);
            to = to.add(copied);
            count -= copied;
        }
    }
    count
}
