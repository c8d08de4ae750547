//! Bitstrings: small ones in the heap, larger ones shared and counted off the heap, and parts of
//! both.

use crate::reference::{SharedAddress, register, unregister};
use crate::refusal::{self, handled};
use crate::usage::{BINARIES, has_room};
use crate::word::{Subtag, Term};
use smallvec::SmallVec;
use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Binaries up to this many bytes are copied with the terms that hold them.
pub const HEAP_BIN_BYTES_MAX: usize = 64;

/// The head of a shared byte buffer; the bytes follow it.
#[repr(C)]
struct SharedHead {
    references: AtomicUsize,
    /// Bytes that follow the head.
    capacity: usize,
    /// Bits handed out so far. The holder of a bitstring that ends exactly here may extend it in
    /// place, because no other bitstring reaches further. With [`NUMBERED`]: the memory's number
    /// (see [`SharedBytes::number`]). With [`FINISHED`], the first word of the bytes is a
    /// [`Finish`].
    used_bits: AtomicUsize,
}

/// Bytes between the address that is a buffer's raw word and the buffer's own bytes.
pub const SHARED_HEAD_BYTES: usize = size_of::<SharedHead>();

/// From the address that is a buffer's raw word to what machine code reads and writes, in bytes.
pub mod shared_head {
    use super::SharedHead;
    use std::mem::offset_of;
    /// Word that counts the references.
    pub const REFERENCES: usize = offset_of!(SharedHead, references);
    /// Word with the bytes that there is room for.
    pub const CAPACITY: usize = offset_of!(SharedHead, capacity);
    /// Word with the bits in use; something else than a count for memory that holds no binary.
    pub const USED_BITS: usize = offset_of!(SharedHead, used_bits);
}

/// Set in [`SharedHead::used_bits`] of memory that has a number, by which references name it.
const NUMBERED: usize = 1 << 63;
/// Set together with [`NUMBERED`] where a [`Finish`] is called in place of freeing the memory.
const FINISHED: usize = 1 << 62;
/// Set together with [`NUMBERED`] where somebody keeps a reference who has no use for the memory
/// when all others are gone.
const KEPT: usize = 1 << 61;

/// Called when the last reference to memory is dropped, in place of freeing it, with the memory's
/// raw word. It has to see to it that [`SharedBytes::free`] is called at some time. Any code that
/// drops terms may call it, so it must take no locks and run no code of programs.
pub type Finish = fn(u64);

/// A counted reference to a byte buffer shared between heaps.
pub struct SharedBytes(NonNull<SharedHead>);

// SAFETY: the count is atomic; bytes below `used_bits` never change.
unsafe impl Send for SharedBytes {}
// SAFETY: the count is atomic; bytes below `used_bits` never change.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    fn layout(capacity: usize) -> Option<Layout> {
        Layout::from_size_align(size_of::<SharedHead>().checked_add(capacity)?, 16).ok()
    }

    /// A buffer of `capacity` bytes, not initialised, with `used_bytes` of them in use; `None` when
    /// the system has no room for it.
    pub fn try_with_capacity(capacity: usize, used_bytes: usize) -> Option<SharedBytes> {
        debug_assert!(used_bytes <= capacity);
        let layout = Self::layout(capacity).filter(|layout| has_room(layout.size()))?;
        // SAFETY: the layout is not empty; the head is written before use.
        unsafe {
            let head = NonNull::new(handled(|| alloc(layout)).cast::<SharedHead>())?;
            BINARIES.add(layout.size());
            head.write(SharedHead {
                references: AtomicUsize::new(1),
                capacity,
                used_bits: AtomicUsize::new(used_bytes * 8),
            });
            Some(SharedBytes(head))
        }
    }

    /// A buffer of `count` words, all zero; `None` when the system has no room for it.
    pub fn zeroed_words(count: usize) -> Option<SharedBytes> {
        let size = count.checked_mul(8)?;
        let shared = Self::try_with_capacity(size, size)?;
        // SAFETY: the buffer has that many bytes, and is not shared yet.
        unsafe { shared.data().write_bytes(0, size) };
        Some(shared)
    }

    /// A buffer of `count` words, all zero, for uses that cannot go on without it: where the system
    /// has no room, the program ends.
    pub fn few_zeroed_words(count: usize) -> SharedBytes {
        Self::zeroed_words(count).unwrap_or_else(|| refusal::end(count * 8))
    }

    /// As [`few_zeroed_words`](SharedBytes::few_zeroed_words), for memory of which the caller keeps a
    /// reference: when it is the only one left, the memory is not found by its number any more.
    pub fn kept_words(count: usize) -> SharedBytes {
        let shared = Self::few_zeroed_words(count);
        shared.number();
        // SAFETY: we hold a reference.
        unsafe { shared.0.as_ref() }.used_bits.fetch_or(KEPT, Ordering::Relaxed);
        shared
    }

    /// Memory of `words` words and `bytes` bytes for a thing that references stand for. The first
    /// word holds `finish`; the rest is not initialised. `finish` is called when the last reference
    /// is dropped. `None` when the system has no room for it.
    pub fn finished_by(finish: Finish, words: usize, bytes: usize) -> Option<SharedBytes> {
        debug_assert!(words > 0);
        let shared = Self::try_with_capacity(
            (words * 8).checked_add(bytes)?.checked_next_multiple_of(8)?,
            0,
        )?;
        // SAFETY: the buffer has that many words, and is not shared yet.
        unsafe { shared.data().cast::<usize>().write(finish as usize) };
        shared.number();
        // SAFETY: we hold a reference.
        unsafe { shared.0.as_ref() }.used_bits.fetch_or(FINISHED, Ordering::Relaxed);
        Some(shared)
    }
    /// Whether this was made by [`SharedBytes::finished_by`] with this function.
    pub fn is_finished_by(&self, finish: Finish) -> bool {
        // SAFETY: we hold a reference.
        let known = unsafe { self.0.as_ref() }.used_bits.load(Ordering::Relaxed);
        // SAFETY: such memory has a first word, which never changes.
        known & NUMBERED != 0
            && known & FINISHED != 0
            && unsafe { self.data().cast::<usize>().read() } == finish as usize
    }
    /// Frees memory that was given to a [`Finish`].
    ///
    /// # Safety
    /// `raw` is that memory, and nobody uses it any more.
    pub unsafe fn free(raw: u64) {
        // SAFETY: the caller's; the layout was valid when it was allocated.
        unsafe {
            let head = raw as *mut SharedHead;
            let layout =
                Self::layout((*head).capacity).expect("the layout was valid when it was allocated");
            BINARIES.subtract(layout.size());
            dealloc(head.cast(), layout);
        }
    }

    /// The same buffer with another capacity, of which `used_bytes` are in use. `None` when the
    /// system has no room for it: the buffer is unchanged then, and `raw` stays valid.
    ///
    /// # Safety
    /// `raw` came from [`SharedBytes::into_raw`], and it is the only reference.
    pub unsafe fn resized(raw: u64, capacity: usize, used_bytes: usize) -> Option<SharedBytes> {
        debug_assert!(used_bytes <= capacity);
        // SAFETY: the caller's; the new layout is checked, and the head is written again.
        unsafe {
            let head = raw as *mut SharedHead;
            let before =
                Self::layout((*head).capacity).expect("the layout was valid when it was allocated");
            let after = Self::layout(capacity).filter(|after| {
                after.size() <= before.size() || has_room(after.size() - before.size())
            })?;
            let resized = handled(|| realloc(head.cast(), before, after.size()));
            let head = NonNull::new(resized.cast::<SharedHead>())?;
            BINARIES.subtract(before.size());
            BINARIES.add(after.size());
            head.write(SharedHead {
                references: AtomicUsize::new(1),
                capacity,
                used_bits: AtomicUsize::new(used_bytes * 8),
            });
            Some(SharedBytes(head))
        }
    }

    /// A buffer holding a copy of `bytes`.
    pub fn copy_from(bytes: &[u8]) -> SharedBytes {
        let Some(shared) = Self::try_with_capacity(bytes.len(), bytes.len()) else {
            refusal::end(bytes.len())
        };
        // SAFETY: the buffer has room for them and is not shared yet.
        unsafe { shared.data().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        shared
    }

    /// Address of the first byte. The bytes are initialised up to what is in use.
    #[inline(always)]
    pub fn data(&self) -> *mut u8 {
        // SAFETY: the bytes follow the head.
        unsafe { self.0.as_ptr().add(1).cast::<u8>() }
    }
    /// Bytes that the buffer has room for.
    pub fn capacity(&self) -> usize {
        // SAFETY: we hold a reference.
        unsafe { self.0.as_ref().capacity }
    }
    /// How many references there are. Others may change it at any time, unless it is 1.
    pub fn references(&self) -> usize {
        // SAFETY: we hold a reference.
        unsafe { self.0.as_ref().references.load(Ordering::Relaxed) }
    }
    /// Claims the bits from `from` to `to` for the caller alone. `false` when somebody has extended
    /// the buffer past `from`, or when `to` is beyond the capacity.
    pub fn try_extend(&self, from: usize, to: usize) -> bool {
        // SAFETY: we hold a reference.
        let head = unsafe { self.0.as_ref() };
        to <= head.capacity * 8
            && head
                .used_bits
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
    /// The number by which [`reference`](crate::reference) finds this memory. Only for memory that
    /// holds no binary; the first call, which gives the number, comes before the memory is shared.
    pub fn number(&self) -> u64 {
        // SAFETY: we hold a reference.
        let head = unsafe { self.0.as_ref() };
        let known = head.used_bits.load(Ordering::Relaxed);
        if known & NUMBERED != 0 {
            return (known & !(NUMBERED | FINISHED | KEPT)) as u64;
        }
        let number = register(SharedAddress(self.0.as_ptr() as u64));
        head.used_bits.store(NUMBERED | number as usize, Ordering::Relaxed);
        number
    }
    /// Another reference to memory given as its raw word, unless the last one was dropped, or only
    /// its keeper's is left.
    /// # Safety
    /// The memory was not freed yet.
    pub(crate) unsafe fn if_alive(raw: u64) -> Option<SharedBytes> {
        let head = NonNull::new(raw as *mut SharedHead)?;
        // SAFETY: the caller's.
        let SharedHead { references, used_bits, .. } = unsafe { head.as_ref() };
        let kept = usize::from(used_bits.load(Ordering::Relaxed) & KEPT != 0);
        // Relaxed: as in `clone`; the memory itself was seen through the register's lock.
        let more = |count: usize| (count > kept).then_some(count + 1);
        references.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(SharedBytes(head))
    }

    /// Gives the reference away as a word, which [`SharedBytes::from_raw`] takes back.
    #[inline(always)]
    pub fn into_raw(self) -> u64 {
        let raw = self.0.as_ptr() as u64;
        std::mem::forget(self);
        raw
    }
    /// Takes back the reference that [`SharedBytes::into_raw`] gave away.
    ///
    /// # Safety
    /// `raw` came from [`SharedBytes::into_raw`], and its reference is handed over, or the result
    /// is forgotten.
    pub unsafe fn from_raw(raw: u64) -> SharedBytes {
        // SAFETY: it was not null when it was given out.
        SharedBytes(unsafe { NonNull::new_unchecked(raw as *mut SharedHead) })
    }
    /// Another reference to a buffer given as its raw word.
    /// # Safety
    /// The buffer is alive.
    pub unsafe fn clone_raw(raw: u64) -> SharedBytes {
        // SAFETY: the caller's; the borrowed value is forgotten.
        unsafe {
            let borrowed = std::mem::ManuallyDrop::new(Self::from_raw(raw));
            (*borrowed).clone()
        }
    }
}

impl Clone for SharedBytes {
    fn clone(&self) -> SharedBytes {
        // SAFETY: we hold a reference. Relaxed: a new reference is only made from an old one.
        unsafe { self.0.as_ref() }.references.fetch_add(1, Ordering::Relaxed);
        SharedBytes(self.0)
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        // SAFETY: we hold a reference. Release/acquire: the last holder sees everybody's reads
        // done.
        unsafe {
            if self.0.as_ref().references.fetch_sub(1, Ordering::Release) == 1 {
                std::sync::atomic::fence(Ordering::Acquire);
                let known = self.0.as_ref().used_bits.load(Ordering::Relaxed);
                if known & NUMBERED != 0 {
                    unregister((known & !(NUMBERED | FINISHED | KEPT)) as u64);
                    if known & FINISHED != 0 {
                        let finish = std::mem::transmute::<usize, Finish>(
                            self.data().cast::<usize>().read(),
                        );
                        return finish(self.0.as_ptr() as u64);
                    }
                }
                let layout = Self::layout(self.capacity())
                    .expect("the layout was valid when it was allocated");
                BINARIES.subtract(layout.size());
                dealloc(self.0.as_ptr().cast(), layout);
            }
        }
    }
}

/// The layout of a heap binary: header, bit size, data.
pub mod heap_bin {
    /// Word that holds the size in bits.
    pub const BIT_SIZE: usize = 1;
    /// First word of the bytes.
    pub const DATA: usize = 2;
}
/// The layout of a shared binary.
pub mod shared_bin {
    /// Word that holds the size in bits.
    pub const BIT_SIZE: usize = 1;
    /// Word that holds the address of the first byte.
    pub const DATA_PTR: usize = 2;
    /// Word that holds the reference to the buffer, as [`SharedBytes::into_raw`] gives it.
    pub const SHARED: usize = 3;
    /// The next off-heap term of the same heap, as the raw address of its header; 0 ends the list.
    pub const NEXT: usize = 4;
    /// Words, header included.
    pub const WORDS: usize = 5;
}
/// The layout of a part of another bitstring (whose original is never itself a part).
pub mod sub_bin {
    /// Word that holds the size in bits.
    pub const BIT_SIZE: usize = 1;
    /// Word that holds the first bit's offset from the start of the original's data, in bits.
    pub const BIT_OFFSET: usize = 2;
    /// Word that holds the heap binary or shared binary that this is a part of.
    pub const ORIGINAL: usize = 3;
    /// Words, header included.
    pub const WORDS: usize = 4;
}

/// The bytes of an iolist (or a binary); `None` when it is neither.
pub fn iodata(data: Term) -> Option<Vec<u8>> {
    const FIRST_BYTES: usize = 64;
    let mut bytes = if data.is_cons() { Vec::with_capacity(FIRST_BYTES) } else { Vec::new() };
    each_of_iodata(data, |item| match item {
        Item::Byte(byte) => bytes.push(byte),
        Item::Binary(_, bits) => bytes.extend_from_slice(&bits.to_bytes()),
    })?;
    Some(bytes)
}

/// A part of an iolist.
pub enum IoPart {
    Bytes(Vec<u8>),
    /// A large binary, which is not copied.
    Kept(KeptBytes),
}

impl IoPart {
    /// The part's bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            IoPart::Bytes(bytes) => bytes,
            IoPart::Kept(bytes) => bytes.as_ref(),
        }
    }
}

/// Bytes of a binary that is kept where it is rather than copied, at least.
const KEPT_MIN: usize = 2048;

/// The parts of an iolist, in order: small ones are gathered, binaries of at least 2048 bytes that
/// lie in a shared buffer stand alone. `None` when it is no iolist.
pub fn io_parts(data: Term) -> Option<SmallVec<[IoPart; 2]>> {
    let (mut parts, mut bytes) = (SmallVec::new(), Vec::new());
    each_of_iodata(data, |item| match item {
        Item::Byte(byte) => bytes.push(byte),
        Item::Binary(term, bits) => {
            match KeptBytes::of(term).filter(|_| bits.byte_size_rounded_up() >= KEPT_MIN) {
                Some(kept) => {
                    if !bytes.is_empty() {
                        parts.push(IoPart::Bytes(std::mem::take(&mut bytes)));
                    }
                    parts.push(IoPart::Kept(kept));
                }
                None => bytes.extend_from_slice(&bits.to_bytes()),
            }
        }
    })?;
    if !bytes.is_empty() {
        parts.push(IoPart::Bytes(bytes));
    }
    Some(parts)
}

enum Item {
    Byte(u8),
    Binary(Term, Bits),
}

/// Calls `take` for each byte and binary of an iolist; `None` where it is none.
fn each_of_iodata(data: Term, mut take: impl FnMut(Item)) -> Option<()> {
    let mut leaf = |item: Term| {
        if let Some(bits) = item.as_bits() {
            take(Item::Binary(item, Some(bits).filter(|bits| bits.is_binary())?));
        } else if let Some(byte) = item.as_small() {
            take(Item::Byte(u8::try_from(byte).ok()?));
        } else if !item.is_nil() {
            return None;
        }
        Some(())
    };
    // What follows a list within a list.
    let mut pending = SmallVec::<[Term; 8]>::new();
    let mut rest = data;
    loop {
        crate::stop::step();
        if let Some(cell) = rest.as_cons() {
            rest = cell.tail();
            if cell.head().is_cons() {
                pending.push(std::mem::replace(&mut rest, cell.head()));
            } else {
                leaf(cell.head())?;
            }
            continue;
        }
        // A list may end in a binary, and a binary alone is as good; but not a byte.
        leaf(Some(rest).filter(|rest| !rest.is_small())?)?;
        let Some(next) = pending.pop() else { return Some(()) };
        rest = next;
    }
}

/// The bytes of a large binary, which stay where they are as long as this is kept.
pub struct KeptBytes {
    _shared: SharedBytes,
    base: *const u8,
    len: usize,
}

// SAFETY: the buffer is counted atomically, and the bytes of a binary never change.
unsafe impl Send for KeptBytes {}
// SAFETY: the buffer is counted atomically, and the bytes of a binary never change.
unsafe impl Sync for KeptBytes {}

impl KeptBytes {
    /// The bytes of a binary that begins at a byte of a shared buffer; `None` for others.
    pub fn of(term: Term) -> Option<KeptBytes> {
        let bytes = term.as_bits()?.aligned()?;
        let raw = Bits::shared_of(term)?;
        // SAFETY: the term holds a reference to the buffer.
        let shared = unsafe { SharedBytes::clone_raw(raw) };
        Some(KeptBytes { _shared: shared, base: bytes.as_ptr(), len: bytes.len() })
    }
}

impl AsRef<[u8]> for KeptBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the buffer holds them, and is kept.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }
}

/// A shared buffer that is being filled; nobody else has it yet.
#[derive(Default)]
pub struct GrowingBytes {
    shared: Option<SharedBytes>,
    len: usize,
}

impl GrowingBytes {
    /// Room in proportion to what has come, however many bytes are announced. What nothing has been
    /// written to takes no memory yet, only addresses.
    const ROOM_FACTOR: usize = 16;

    /// Appends bytes. `announced`: how many more are said to follow, which may be wrong. `false`
    /// when the system has no room for them.
    #[must_use]
    pub fn extend(&mut self, bytes: &[u8], announced: usize) -> bool {
        let wanted = self.len + bytes.len();
        let capacity = self.shared.as_ref().map_or(0, SharedBytes::capacity);
        if wanted > capacity {
            // Growing copies all that has come to pages that the system has to clear first: as
            // rarely as can be.
            let room = wanted.saturating_add(announced).min(wanted * Self::ROOM_FACTOR);
            if !self.grow(room.max(capacity + capacity / 4)) && !self.grow(wanted) {
                return false;
            }
        }
        let Some(shared) = &self.shared else { return true };
        // SAFETY: there is room for them behind what is there, and nobody else has the buffer.
        unsafe {
            shared.data().add(self.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        };
        self.len = wanted;
        true
    }
    /// `false` when the system has no room for so many bytes: nothing is changed then.
    fn grow(&mut self, capacity: usize) -> bool {
        let Some(shared) = self.shared.take() else {
            self.shared = SharedBytes::try_with_capacity(capacity, 0);
            return self.shared.is_some();
        };
        let raw = shared.into_raw();
        // SAFETY: it is the only reference.
        let resized = unsafe { SharedBytes::resized(raw, capacity, capacity) };
        let has_grown = resized.is_some();
        // SAFETY: the buffer is as it was.
        self.shared = resized.or_else(|| Some(unsafe { SharedBytes::from_raw(raw) }));
        has_grown
    }
    /// The bytes written so far.
    pub fn bytes(&self) -> &[u8] {
        match &self.shared {
            // SAFETY: so many bytes were written.
            Some(shared) => unsafe { std::slice::from_raw_parts(shared.data(), self.len) },
            None => &[],
        }
    }
    /// The buffer, whose capacity may exceed the bytes written; `None` before the first.
    pub fn shared(&self) -> Option<&SharedBytes> {
        self.shared.as_ref()
    }
}

/// The heap binary or shared binary that a sub-binary is a part of. `part` must be a sub-binary.
pub fn original_of_part(part: Term) -> Term {
    debug_assert!(part.boxed_subtag() == Some(Subtag::SubBin));
    // SAFETY: the layout says that a term stands there.
    unsafe { Term::from_raw(*part.boxed_ptr().add(sub_bin::ORIGINAL)) }
}

/// Where the bits of a bitstring are: `bit_size` bits from `bit_offset` (0–7) of the byte at
/// `base`.
#[derive(Clone, Copy)]
pub struct Bits {
    pub base: *const u8,
    pub bit_offset: usize,
    pub bit_size: usize,
}

impl Bits {
    /// The bits of a term known to be a bitstring.
    #[inline]
    pub fn of(term: Term) -> Bits {
        let (whole, offset) = Bits::original_of(term);
        let ptr = whole.boxed_ptr();
        // SAFETY: the header says which layout it is; what a part refers to is no part itself.
        unsafe {
            let base = match whole.boxed_header().subtag() {
                Subtag::HeapBin => ptr.add(heap_bin::DATA).cast::<u8>(),
                Subtag::SharedBin => *ptr.add(shared_bin::DATA_PTR) as *const u8,
                other => unreachable!("not a bitstring: {other:?}"),
            };
            Bits {
                base: base.add(offset / 8),
                bit_offset: offset & 7,
                bit_size: Bits::size_of(term),
            }
        }
    }

    /// The size in bits of a term that is known to be a bitstring.
    #[inline]
    pub fn size_of(term: Term) -> usize {
        const {
            assert!(
                heap_bin::BIT_SIZE == sub_bin::BIT_SIZE
                    && shared_bin::BIT_SIZE == sub_bin::BIT_SIZE
            );
        };
        // SAFETY: every layout has the size there.
        unsafe { *term.boxed_ptr().add(sub_bin::BIT_SIZE) as usize }
    }

    /// What a part of `term` has to refer to: the heap or shared binary below it, and the bit
    /// offset of `term` in that.
    #[inline]
    pub fn original_of(term: Term) -> (Term, usize) {
        if term.boxed_header().has(Subtag::SubBin) {
            let ptr = term.boxed_ptr();
            // SAFETY: the header says that it is a sub-binary.
            unsafe {
                (
                    Term::from_raw(*ptr.add(sub_bin::ORIGINAL)),
                    *ptr.add(sub_bin::BIT_OFFSET) as usize,
                )
            }
        } else {
            (term, 0)
        }
    }

    /// The buffer of a bitstring that lies in one, as its raw word, without a new reference; `None`
    /// where the bits lie in the heap.
    pub fn shared_of(term: Term) -> Option<u64> {
        let (original, _) = Self::original_of(term);
        // SAFETY: the header says that it is a shared binary.
        original
            .boxed_header()
            .has(Subtag::SharedBin)
            .then(|| unsafe { *original.boxed_ptr().add(shared_bin::SHARED) })
    }

    /// Whether it has whole bytes, as `is_binary/1`.
    pub const fn is_binary(self) -> bool {
        self.bit_size & 7 == 0
    }
    /// Bytes that hold the bits, the last one perhaps not full.
    pub const fn byte_size_rounded_up(self) -> usize {
        self.bit_size.div_ceil(8)
    }

    /// The bytes themselves, when they are whole and start at a byte.
    #[inline]
    pub fn aligned<'a>(self) -> Option<&'a [u8]> {
        if self.bit_offset == 0 && self.is_binary() {
            // SAFETY: the bits are live and whole bytes.
            Some(unsafe { std::slice::from_raw_parts(self.base, self.bit_size / 8) })
        } else {
            None
        }
    }

    /// The `index`-th byte (its last bits zero when the bitstring ends within it).
    #[inline]
    pub fn byte(self, index: usize) -> u8 {
        let first_bit = index * 8;
        debug_assert!(first_bit < self.bit_size);
        let available = self.bit_size - first_bit;
        // SAFETY: the byte that holds the first wanted bit is within the data; the second one is
        // read only when wanted bits reach into it.
        unsafe {
            let at = self.base.add(index);
            let mut byte = *at << self.bit_offset;
            if self.bit_offset > 0 && available > 8 - self.bit_offset {
                byte |= *at.add(1) >> (8 - self.bit_offset);
            }
            if available < 8 { byte & (0xffu8 << (8 - available)) } else { byte }
        }
    }

    /// The bytes, copied only when they do not start at a byte. Bits of a last incomplete byte come
    /// first in it.
    pub fn to_bytes<'a>(self) -> std::borrow::Cow<'a, [u8]> {
        match self.aligned() {
            Some(bytes) => bytes.into(),
            None => {
                let len = self.byte_size_rounded_up();
                let mut bytes = Vec::with_capacity(len);
                // SAFETY: the copy fills the room that was made for it.
                unsafe {
                    copy_bits_to_byte(self, bytes.as_mut_ptr());
                    bytes.set_len(len);
                }
                bytes.into()
            }
        }
    }

    /// The 64 bits from byte `index` on, the first one highest; there are as many.
    #[inline]
    pub fn word(self, index: usize) -> u64 {
        debug_assert!(index * 8 + 64 <= self.bit_size);
        // SAFETY: the bits are there. Where they do not start at a byte they reach into a ninth.
        unsafe {
            let at = self.base.add(index);
            let word = u64::from_be(at.cast::<u64>().read_unaligned());
            if self.bit_offset == 0 {
                word
            } else {
                word << self.bit_offset | u64::from(*at.add(8)) >> (8 - self.bit_offset)
            }
        }
    }

    /// The part of `bit_size` bits from `from`; the caller stays within.
    #[inline]
    pub fn slice(self, from: usize, bit_size: usize) -> Bits {
        debug_assert!(from + bit_size <= self.bit_size);
        let offset = self.bit_offset + from;
        // SAFETY: within the data.
        Bits { base: unsafe { self.base.add(offset / 8) }, bit_offset: offset & 7, bit_size }
    }
}

/// Copies bits to bit `dst_bit_offset` of what `dst` points at. Bits before that are kept; those
/// that follow the last one within its byte become zero.
/// # Safety
/// The destination has room, is initialised up to `dst_bit_offset`, and does not overlap the
/// source.
pub unsafe fn copy_bits(src: Bits, dst: *mut u8, dst_bit_offset: usize) {
    if src.bit_size == 0 {
        return;
    }
    // SAFETY: the caller's: every byte up to the last bit is within the destination.
    unsafe {
        let dst = dst.add(dst_bit_offset / 8);
        let offset = dst_bit_offset % 8;
        if offset == 0 {
            return copy_bits_to_byte(src, dst);
        }
        let first = src.bit_size.min(8 - offset);
        *dst = *dst & !(0xff >> offset) | src.slice(0, first).byte(0) >> offset;
        copy_bits_to_byte(src.slice(first, src.bit_size - first), dst.add(1));
    }
}

/// As [`copy_bits`], where the destination starts at a byte.
unsafe fn copy_bits_to_byte(src: Bits, dst: *mut u8) {
    let (bytes, extra) = (src.bit_size / 8, src.bit_size % 8);
    // SAFETY: reads stay within the source's bits, writes within as many bytes.
    unsafe {
        if src.bit_offset == 0 {
            dst.copy_from_nonoverlapping(src.base, bytes);
        } else {
            let mut index = 0;
            while index + 8 <= bytes {
                dst.add(index).cast::<u64>().write_unaligned(src.word(index).to_be());
                index += 8;
            }
            for index in index..bytes {
                *dst.add(index) = src.byte(index);
            }
        }
        if extra > 0 {
            *dst.add(bytes) = src.byte(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::{Alloc, FragmentHeap};

    #[test]
    fn a_part_lies_in_what_it_refers_to() {
        let mut heap = FragmentHeap::new();
        for bytes in [20, HEAP_BIN_BYTES_MAX + 1] {
            let data: Vec<u8> = (0..bytes as u8).collect();
            let whole = heap.binary(&data);
            assert_eq!((Bits::size_of(whole), Bits::of(whole).bit_size), (bytes * 8, bytes * 8));
            let part = heap.sub_binary(whole, 19, 80);
            let within = heap.sub_binary(part, 5, 16);
            let (whole, part, within) = (Bits::of(whole), Bits::of(part), Bits::of(within));
            assert_eq!((part.bit_offset, part.bit_size), (3, 80));
            assert_eq!(part.base, whole.base.wrapping_add(2));
            assert_eq!((within.bit_offset, within.bit_size), (0, 16));
            assert_eq!(within.aligned(), Some(&data[3..5]));
        }
    }

    #[test]
    fn what_grows_has_room_for_what_is_announced_and_for_little_that_is_not_there() {
        let part: Vec<u8> = (0..1000u32).map(|byte| byte as u8).collect();
        let mut growing = GrowingBytes::default();
        let mut capacities = Vec::new();
        for left in (0..1000).rev() {
            assert!(growing.extend(&part, left * part.len()));
            let capacity = growing.shared().map_or(0, SharedBytes::capacity);
            assert!(capacity <= growing.bytes().len() * GrowingBytes::ROOM_FACTOR);
            if capacities.last() != Some(&capacity) {
                capacities.push(capacity);
            }
        }
        assert_eq!(capacities, [16_000, 272_000, 1_000_000]);
        assert_eq!(growing.bytes(), part.repeat(1000));
        // What is announced may be wrong.
        for announced in [0, usize::MAX] {
            let mut growing = GrowingBytes::default();
            assert!((0..100).all(|_| growing.extend(&part, announced)));
            assert_eq!(growing.bytes(), part.repeat(100));
        }
    }

    #[test]
    fn bits_from_any_place_are_the_same_as_bytes_and_words() {
        let source: Vec<u8> = (0..40u8).map(|byte| byte.wrapping_mul(91) ^ 0xa5).collect();
        let all = Bits { base: source.as_ptr(), bit_offset: 0, bit_size: 320 };
        for from in 0..17 {
            for size in [0, 1, 7, 8, 9, 63, 64, 65, 128, 200, 300] {
                let bits = all.slice(from, size);
                let bytes: Vec<u8> = (0..size.div_ceil(8)).map(|index| bits.byte(index)).collect();
                assert_eq!(bits.to_bytes(), bytes, "{size} bits from {from}");
                for index in 0..size / 64 {
                    let word = bytes[index * 8..][..8].try_into().expect("eight bytes");
                    assert_eq!(bits.word(index * 8), u64::from_be_bytes(word));
                }
            }
        }
    }

    #[test]
    fn bits_are_copied_from_and_to_any_place() {
        let source: Vec<u8> = (0..32u8).map(|byte| byte.wrapping_mul(37) ^ 0x5a).collect();
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        for from in 0..9 {
            for to in 0..9 {
                for size in [0, 1, 3, 7, 8, 9, 63, 64, 65, 130, 200] {
                    let mut target = vec![0xff; 40];
                    let bits = Bits { base: source.as_ptr(), bit_offset: 0, bit_size: 256 }
                        .slice(from, size);
                    // SAFETY: the target has room and is initialised.
                    unsafe { copy_bits(bits, target.as_mut_ptr(), to) };
                    assert!((0..to).all(|at| bit(&target, at) == 1), "what came before stays");
                    assert!(
                        (0..size).all(|at| bit(&target, to + at) == bit(&source, from + at)),
                        "{size} bits from {from} to {to}"
                    );
                    let end = (to + size).next_multiple_of(8);
                    assert!(
                        size == 0 || (to + size..end).all(|at| bit(&target, at) == 0),
                        "padding is zero"
                    );
                    assert!(
                        target[end / 8..].iter().all(|&byte| byte == 0xff),
                        "what comes after is not touched"
                    );
                }
            }
        }
    }
}
