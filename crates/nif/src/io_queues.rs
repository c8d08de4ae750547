//! Vectors of binaries, and queues of bytes that wait to be written.

use crate::abi::{Binary, IO_VECTOR_INLINE, IoSlice, IoVector, Out, c_bool};
use crate::env::{Env, Temporary};
use std::collections::VecDeque;
use std::ffi::c_int;
use swarmrt_term::binary::HEAP_BIN_BYTES_MAX;
use swarmrt_term::{Alloc, Bits, SharedBytes, Term};

/// [`IoVector::flags`]: the library's own, whose arrays may be ours.
const LIBRARY_OWNED: c_int = 1;

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
                Some(Piece { shared, slice: IoSlice { base: bytes.as_ptr().cast_mut(), length: bytes.len() } })
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

/// The pieces of a vector go, and the vector where it is ours.
pub fn free_vector(vector: *mut IoVector) {
    // SAFETY: a vector that `enif_inspect_iovec` has filled.
    unsafe {
        for at in 0..usize::try_from((*vector).count).unwrap_or(0) {
            let raw = *(*vector).shared.add(at);
            if raw != 0 {
                drop(SharedBytes::from_raw(raw));
            }
        }
        free_arrays(vector);
        (*vector).count = 0;
        if (*vector).flags & LIBRARY_OWNED == 0 {
            drop(Box::from_raw(vector));
        }
    }
}

/// # Safety
/// As for [`free_vector`].
unsafe fn free_arrays(vector: *mut IoVector) {
    // SAFETY: the caller's; longer arrays were boxed.
    unsafe {
        if !std::ptr::eq((*vector).slices, (&raw const (*vector).inline_slices).cast()) {
            let count = usize::try_from((*vector).count).unwrap_or(0);
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut((*vector).slices, count)));
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut((*vector).shared, count)));
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_free_iovec(vector: *mut IoVector) {
    free_vector(vector);
}

/// Fills a vector with at most so many binaries of a list. With an environment, it is freed at the end of the call.
///
/// # Safety
/// `vector` is the address of null or of that of room for a vector; `env` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_inspect_iovec(env: *mut Env, count_max: usize, list: Term, tail: Out<Term>, vector: *mut *mut IoVector) -> c_int {
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
    // SAFETY: the caller's; what is put into the arrays is as long as they are.
    unsafe {
        let is_new = (*vector).is_null();
        if is_new {
            *vector = Box::into_raw(Box::<IoVector>::new_zeroed().assume_init());
        }
        let to = *vector;
        (*to).flags = if is_new { 0 } else { LIBRARY_OWNED };
        (*to).count = count as c_int;
        (*to).size = pieces.iter().map(|piece| piece.slice.length).sum();
        if count <= IO_VECTOR_INLINE {
            (*to).slices = (&raw mut (*to).inline_slices).cast();
            (*to).shared = (&raw mut (*to).inline_shared).cast();
        } else {
            (*to).slices = Box::into_raw(vec![IoSlice { base: std::ptr::null_mut(), length: 0 }; count].into_boxed_slice()).cast();
            (*to).shared = Box::into_raw(vec![0u64; count].into_boxed_slice()).cast();
        }
        for (at, Piece { shared, slice }) in pieces.into_iter().enumerate() {
            *(*to).slices.add(at) = slice;
            *(*to).shared.add(at) = shared.into_raw();
        }
        if let Some(env) = env.as_mut() {
            env.keep(Temporary::Vector(to));
        }
    }
    1
}

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

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_create(options: c_int) -> *mut Queue {
    if options == 1 { Box::into_raw(Box::default()) } else { std::ptr::null_mut() }
}

/// # Safety
/// `queue` came from `enif_ioq_create`, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_ioq_destroy(queue: *mut Queue) {
    // SAFETY: the caller's.
    drop(unsafe { Box::from_raw(queue) });
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_size(queue: &Queue) -> usize {
    queue.size
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_enq_binary(queue: &mut Queue, binary: &mut Binary, mut skip: usize) -> c_int {
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

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_enqv(queue: &mut Queue, vector: &IoVector, mut skip: usize) -> c_int {
    if skip > vector.size {
        return 0;
    }
    for at in 0..usize::try_from(vector.count).unwrap_or(0) {
        // SAFETY: a vector has as many slices and words as it says.
        let (slice, raw) = unsafe { (*vector.slices.add(at), *vector.shared.add(at)) };
        let piece = if raw == 0 {
            // SAFETY: by the interface a slice that nothing keeps alive is there during the call.
            Piece::copied(unsafe { std::slice::from_raw_parts(slice.base, slice.length) })
        } else {
            // SAFETY: the vector holds it.
            Piece { shared: unsafe { SharedBytes::clone_raw(raw) }, slice }
        };
        queue.push(piece, &mut skip);
    }
    1
}

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

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_peek(queue: &mut Queue, count: Out<c_int>) -> *mut IoSlice {
    queue.shown = queue.pieces.iter().map(|piece| piece.slice).collect();
    count.put_unless_null(queue.shown.len() as c_int);
    queue.shown.as_mut_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_ioq_peek_head(env: &mut Env, queue: &Queue, size: Out<usize>, to: Out<Term>) -> c_int {
    if let Some(first) = queue.pieces.front() {
        let IoSlice { base, length } = first.slice;
        size.put_unless_null(length);
        // SAFETY: the piece's bytes are there as long as what it shares, and do not change any more.
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
