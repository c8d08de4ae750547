//! Vectors of binaries, and queues of bytes that wait to be written.

use crate::abi::{Binary, IO_VECTOR_INLINE, IoSlice, IoVector, Out, c_bool};
use crate::env::{Env, Temporary};
use std::collections::VecDeque;
use std::ffi::c_int;
use swarmrt_term::binary::HEAP_BIN_BYTES_MAX;
use swarmrt_term::{Alloc, Bits, SharedBytes, Term};

/// [`IoVector::flags`]: what it needs beside itself belongs to the environment of the call.
const ENVIRONMENT_OWNED: c_int = 1;
/// [`IoVector::flags`]: the vector itself is the library's.
const LIBRARY_OWNED: c_int = 2;

/// Bytes that something shared keeps alive.
struct Piece {
    shared: SharedBytes,
    slice: IoSlice,
}

impl Piece {
    fn copied(bytes: &[u8]) -> Piece {
        let shared = SharedBytes::copy_from(bytes);
        let slice = IoSlice { base: shared.data(), length: bytes.len() };
        Piece { shared, slice }
    }
    /// The bytes of a binary; those of one that is not shared are copied.
    fn of(binary: Term) -> Option<Piece> {
        let bits = binary.as_bits().filter(|bits| bits.is_binary())?;
        match (bits.aligned(), Bits::shared_of(binary)) {
            (Some(bytes), Some(raw)) if !bytes.is_empty() => {
                // SAFETY: the term holds it.
                let shared = unsafe { SharedBytes::clone_raw(raw) };
                Some(Piece {
                    shared,
                    slice: IoSlice { base: bytes.as_ptr().cast_mut(), length: bytes.len() },
                })
            }
            _ => Some(Piece::copied(&bits.to_bytes())),
        }
    }
    fn skip(&mut self, count: usize) {
        // SAFETY: callers stay within the bytes.
        self.slice.base = unsafe { self.slice.base.add(count) };
        self.slice.length -= count;
    }
}

/// The arrays of a vector with many slices.
struct Arrays {
    slices: Box<[IoSlice]>,
    shared: Box<[u64]>,
}

/// Frees what `enif_inspect_iovec` without an environment has given.
///
/// # Safety
/// `vector` was filled by that, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_free_iovec(vector: *mut IoVector) {
    // SAFETY: the caller's.
    unsafe {
        let (flags, count) = ((*vector).flags, usize::try_from((*vector).count).unwrap_or(0));
        if flags & ENVIRONMENT_OWNED != 0 {
            return;
        }
        for at in 0..count {
            drop(SharedBytes::from_raw(*(*vector).shared.add(at)));
        }
        if count > IO_VECTOR_INLINE {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut((*vector).slices, count)));
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut((*vector).shared, count)));
        }
        (*vector).count = 0;
        if flags & LIBRARY_OWNED == 0 {
            drop(Box::from_raw(vector));
        }
    }
}

/// Fills a vector with at most so many binaries of a list. With an environment, all that it refers
/// to is there for the rest of the call, and nothing is to be freed.
///
/// # Safety
/// `vector` is the address of null or of that of room for a vector; `env` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_inspect_iovec(
    env: *mut Env,
    count_max: usize,
    list: Term,
    tail: Out<Term>,
    vector: *mut *mut IoVector,
) -> c_int {
    let (mut pieces, mut rest) = (Vec::new(), list);
    while pieces.len() < count_max
        && let Some(cell) = rest.as_cons()
    {
        let Some(piece) = Piece::of(cell.head()) else { return 0 };
        rest = cell.tail();
        if piece.slice.length > 0 {
            pieces.push(piece);
        }
    }
    if !rest.is_list() {
        return 0;
    }
    tail.put(rest);
    let count = pieces.len();
    let slices: Box<[IoSlice]> = pieces.iter().map(|piece| piece.slice).collect();
    let size = slices.iter().map(|slice| slice.length).sum();
    let shared: Box<[u64]> = pieces.into_iter().map(|piece| piece.shared.into_raw()).collect();
    // SAFETY: the caller's; the arrays are as long as the vector says.
    unsafe {
        let is_new = (*vector).is_null();
        if is_new {
            *vector = Box::into_raw(Box::<IoVector>::new_zeroed().assume_init());
        }
        let to = *vector;
        let env = env.as_mut();
        (*to).flags = if is_new { 0 } else { LIBRARY_OWNED }
            | if env.is_some() { ENVIRONMENT_OWNED } else { 0 };
        (*to).count = count as c_int;
        (*to).size = size;
        let mut arrays = Arrays { slices, shared };
        if count <= IO_VECTOR_INLINE {
            (&mut (*to).inline_slices)[..count].copy_from_slice(&arrays.slices);
            (&mut (*to).inline_shared)[..count].copy_from_slice(&arrays.shared);
            (*to).slices = (&raw mut (*to).inline_slices).cast();
            (*to).shared = (&raw mut (*to).inline_shared).cast();
        } else {
            (*to).slices = arrays.slices.as_mut_ptr();
            (*to).shared = arrays.shared.as_mut_ptr();
        }
        match env {
            Some(env) => {
                for &raw in &arrays.shared {
                    env.keep(Temporary::Shared(SharedBytes::from_raw(raw)));
                }
                if count > IO_VECTOR_INLINE {
                    env.keep(Temporary::Other(Box::new(arrays)));
                }
                if is_new {
                    env.keep(Temporary::Other(Box::new(Vector(Box::from_raw(to)))));
                }
            }
            // The vector has their addresses, for `enif_free_iovec`.
            None if count > IO_VECTOR_INLINE => std::mem::forget(arrays),
            None => {}
        }
    }
    1
}

/// A vector that is freed at the end of a call.
struct Vector(#[allow(dead_code, reason = "kept, not read")] Box<IoVector>);

/// `ErlNifIOQueue`.
#[derive(Default)]
pub struct Queue {
    pieces: VecDeque<Piece>,
    size: usize,
    /// What was shown last.
    shown: Vec<IoSlice>,
}

impl Queue {
    fn push(&mut self, mut piece: Piece, skip: &mut usize) {
        let skipped = (*skip).min(piece.slice.length);
        *skip -= skipped;
        piece.skip(skipped);
        if piece.slice.length > 0 {
            self.size += piece.slice.length;
            self.pieces.push_back(piece);
        }
    }
}

/// A queue; null for other options than `ERL_NIF_IOQ_NORMAL` (1).
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_create(options: c_int) -> *mut Queue {
    if options == 1 { Box::into_raw(Box::default()) } else { std::ptr::null_mut() }
}

/// Frees a queue with all that is in it.
///
/// # Safety
/// `queue` came from `enif_ioq_create`, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_ioq_destroy(queue: *mut Queue) {
    // SAFETY: the caller's.
    drop(unsafe { Box::from_raw(queue) });
}

/// Bytes in the queue.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_size(queue: &Queue) -> usize {
    queue.size
}

/// Puts a binary without its first `skip` bytes at the end; 0 when there are fewer. The library
/// does not own the binary any more, in either case.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_enq_binary(
    queue: &mut Queue,
    binary: &mut Binary,
    mut skip: usize,
) -> c_int {
    if skip > binary.size {
        drop(binary.take());
        return 0;
    }
    let slice = IoSlice { base: binary.data, length: binary.size };
    let piece = match binary.take() {
        Some(shared) => Piece { shared, slice },
        None => Piece::copied(binary.bytes()),
    };
    queue.push(piece, &mut skip);
    1
}

/// Puts a vector without its first `skip` bytes at the end; 0 when there are fewer.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_enqv(queue: &mut Queue, vector: &IoVector, mut skip: usize) -> c_int {
    if skip > vector.size {
        return 0;
    }
    for at in 0..usize::try_from(vector.count).unwrap_or(0) {
        // SAFETY: a vector has as many slices and words as it says.
        let (slice, raw) = unsafe { (*vector.slices.add(at), *vector.shared.add(at)) };
        let piece = if raw == 0 {
            // An empty slice may have no address.
            let bytes: &[u8] = match slice.length {
                0 => &[],
                // SAFETY: by the interface a slice that nothing keeps alive is there during the call.
                length => unsafe { std::slice::from_raw_parts(slice.base, length) },
            };
            Piece::copied(bytes)
        } else {
            // SAFETY: the vector holds it.
            Piece { shared: unsafe { SharedBytes::clone_raw(raw) }, slice }
        };
        queue.push(piece, &mut skip);
    }
    1
}

/// Takes `count` bytes off the front, and answers how many are left; 0 when there are fewer.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_deq(queue: &mut Queue, mut count: usize, size: Out<usize>) -> c_int {
    if count > queue.size {
        return 0;
    }
    queue.size -= count;
    while count > 0
        && let Some(first) = queue.pieces.front_mut()
    {
        let taken = count.min(first.slice.length);
        first.skip(taken);
        count -= taken;
        if first.slice.length == 0 {
            queue.pieces.pop_front();
        }
    }
    size.put_unless_null(queue.size);
    1
}

/// All slices of the queue, which are good until it is changed or shown again.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_peek(queue: &mut Queue, count: Out<c_int>) -> *mut IoSlice {
    queue.shown = queue.pieces.iter().map(|piece| piece.slice).collect();
    count.put_unless_null(queue.shown.len() as c_int);
    queue.shown.as_mut_ptr()
}

/// The first slice as a binary, with its size; 0 when the queue is empty.
#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_peek_head(
    env: &mut Env,
    queue: &Queue,
    size: Out<usize>,
    to: Out<Term>,
) -> c_int {
    if let Some(first) = queue.pieces.front() {
        let IoSlice { base, length } = first.slice;
        size.put_unless_null(length);
        // SAFETY: the piece's bytes are there as long as what it shares, and do not change any
        // more.
        to.put(unsafe {
            if length <= HEAP_BIN_BYTES_MAX {
                env.binary(std::slice::from_raw_parts(base, length))
            } else {
                env.shared_bin_of(first.shared.clone(), base, length * 8)
            }
        });
    }
    c_bool(!queue.pieces.is_empty())
}
