//! Binaries, and terms in the external format.
//!
//! Bytes that a library has made are counted ones ([`SharedBytes`]) which its `ErlNifBinary` owns
//! until they become a term or are released. What it inspects is the term's: it owns nothing then,
//! and may read as long as the term lives.

use crate::abi::{Binary, CArray, Out};
use crate::env::{Env, Temporary, vm};
use std::borrow::Cow;
use std::ffi::{c_int, c_uint, c_void};
use swarmrt_io::port::iodata;
use swarmrt_term::binary::HEAP_BIN_BYTES_MAX;
use swarmrt_term::etf::{self, DecodeOptions, EncodeOptions};
use swarmrt_term::{Alloc, SharedBytes, Term};

/// `ERL_NIF_BIN2TERM_SAFE`.
const SAFE: c_uint = 0x2000_0000;

impl Binary {
    fn set(&mut self, data: *mut u8, size: usize, shared: Option<SharedBytes>) {
        self.data = data;
        self.size = size;
        self.shared =
            shared.map_or(std::ptr::null_mut(), |shared| shared.into_raw() as *mut c_void);
    }
    fn own(&mut self, shared: SharedBytes, size: usize) {
        self.set(shared.data(), size, Some(shared));
    }
    /// Takes what the library owned.
    pub fn take(&mut self) -> Option<SharedBytes> {
        let raw = std::mem::replace(&mut self.shared, std::ptr::null_mut());
        // SAFETY: what is there came from `into_raw`, and is handed over.
        (!raw.is_null()).then(|| unsafe { SharedBytes::from_raw(raw as u64) })
    }
    /// The bytes, owned or inspected.
    pub fn bytes(&self) -> &[u8] {
        if self.size == 0 {
            return &[];
        }
        // SAFETY: by the interface the binary is as we or the library set it, and its bytes are
        // there.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }
}

/// Shows the bytes of a binary; 0 for other terms. Bytes that do not begin at a byte are copied.
#[unsafe(no_mangle)]
pub extern "C" fn enif_inspect_binary(env: &mut Env, term: Term, to: &mut Binary) -> c_int {
    let Some(bits) = term.as_bits().filter(|bits| bits.is_binary()) else { return 0 };
    let size = bits.bit_size / 8;
    let data = match bits.to_bytes() {
        // Where there is nothing, the address is still not null.
        Cow::Borrowed(bytes) => bytes.as_ptr().cast_mut(),
        Cow::Owned(bytes) => env.keep_bytes(bytes),
    };
    to.set(data, size, None);
    1
}

/// Shows the bytes of a binary, or copies those of an iolist; 0 for other terms.
#[unsafe(no_mangle)]
pub extern "C" fn enif_inspect_iolist_as_binary(
    env: &mut Env,
    term: Term,
    to: &mut Binary,
) -> c_int {
    if term.is_binary() {
        return enif_inspect_binary(env, term, to);
    }
    if !term.is_list() {
        return 0;
    }
    let Some(bytes) = iodata(term) else { return 0 };
    let size = bytes.len();
    let data = env.keep_bytes(bytes);
    to.set(data, size, None);
    1
}

/// Bytes behind those that a library asks for. OTP has 7, and libraries in use write there:
/// Debian's `p1_sha` ends its text with a zero, one byte too far.
pub const PADDING_BYTES: usize = 7;

/// Bytes for a library to write; `None` when the system has no room for them.
fn padded(size: usize) -> Option<SharedBytes> {
    SharedBytes::try_with_capacity(size.checked_add(PADDING_BYTES)?, size)
}

/// A buffer of another size with the same first bytes; `None` when the system has no room for it.
///
/// # Safety
/// `raw` came from [`SharedBytes::into_raw`], and it is the only reference.
unsafe fn repadded(raw: u64, size: usize) -> Option<SharedBytes> {
    // SAFETY: the caller's.
    unsafe { SharedBytes::resized(raw, size.checked_add(PADDING_BYTES)?, size) }
}

/// New bytes that the library owns; 0 without memory.
#[unsafe(no_mangle)]
pub extern "C" fn enif_alloc_binary(size: usize, to: &mut Binary) -> c_int {
    let Some(shared) = padded(size) else { return 0 };
    to.own(shared, size);
    1
}

/// Resizes a binary that the library owns, or copies one that it inspects; 0 without memory.
#[unsafe(no_mangle)]
pub extern "C" fn enif_realloc_binary(binary: &mut Binary, size: usize) -> c_int {
    if binary.shared.is_null() {
        let Some(shared) = padded(size) else { return 0 };
        let kept = binary.bytes();
        let count = kept.len().min(size);
        // SAFETY: the new bytes have room for as many, and are nobody else's.
        unsafe { shared.data().copy_from_nonoverlapping(kept.as_ptr(), count) };
        binary.own(shared, size);
        return 1;
    }
    // SAFETY: the library's binary owns the only reference: those that became terms own none any
    // more.
    let Some(shared) = (unsafe { repadded(binary.shared as u64, size) }) else { return 0 };
    binary.own(shared, size);
    1
}

/// Gives up bytes that the library owns; nothing for inspected ones.
#[unsafe(no_mangle)]
pub extern "C" fn enif_release_binary(binary: &mut Binary) {
    drop(binary.take());
}

/// A term of the bytes, which takes them over where they are too many to be copied.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_binary(env: &mut Env, binary: &mut Binary) -> Term {
    let Some(shared) = binary.take() else { return env.binary(binary.bytes()) };
    if binary.size <= HEAP_BIN_BYTES_MAX {
        // The library may go on reading what it had until it returns.
        let term = env.binary(binary.bytes());
        env.keep(Temporary::Shared(shared));
        return term;
    }
    env.shared_bin(shared, 0, binary.size * 8)
}

/// The address of the new binary's bytes, to be filled; null when there is no room.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_new_binary(env: &mut Env, size: usize, to: Out<Term>) -> *mut u8 {
    if size <= HEAP_BIN_BYTES_MAX {
        let (term, data) = env.heap_bin(size * 8);
        to.put(term);
        return data;
    }
    let Some(shared) = padded(size) else { return std::ptr::null_mut() };
    let data = shared.data();
    to.put(env.shared_bin(shared, 0, size * 8));
    data
}

/// A part of a binary, in bytes; `badarg` where it has no such part.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_sub_binary(env: &mut Env, of: Term, from: usize, size: usize) -> Term {
    let within = |bytes: usize| from.checked_add(size).is_some_and(|end| end <= bytes);
    match of.as_bits() {
        Some(bits) if within(bits.bit_size / 8) => env.part(of, from * 8, size * 8),
        _ => env.badarg(),
    }
}

/// `term_to_binary/1` into new bytes that the library owns; 0 without memory.
#[unsafe(no_mangle)]
pub extern "C" fn enif_term_to_binary(_env: *mut Env, term: Term, to: &mut Binary) -> c_int {
    let bytes = etf::encode(term, &EncodeOptions::default());
    let Some(shared) = padded(bytes.len()) else { return 0 };
    // SAFETY: the new bytes have room for as many, and are nobody else's.
    unsafe { shared.data().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    to.own(shared, bytes.len());
    1
}

/// How many bytes the term took, or 0 when they are none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_binary_to_term(
    env: &mut Env,
    bytes: CArray<u8>,
    count: usize,
    to: Out<Term>,
    options: c_uint,
) -> usize {
    let safe = match options {
        0 => false,
        SAFE => true,
        _ => return 0,
    };
    let resolver = vm().code.term_resolver();
    match etf::decode(bytes.of(count), env, &resolver, DecodeOptions { safe, used: true }) {
        Ok((term, used)) => {
            to.put(term);
            used
        }
        Err(_) => 0,
    }
}
