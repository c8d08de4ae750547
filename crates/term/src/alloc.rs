//! Where new terms live: [`Alloc`] hands out heap words, and its provided methods build terms in
//! them.

use crate::atom::Atom;
use crate::binary::{
    Bits, HEAP_BIN_BYTES_MAX, SharedBytes, copy_bits, heap_bin, shared_bin, sub_bin,
};
use crate::boxed::{COUNTED_REF_WORDS, FunIdentity, Mfa, Record};
use crate::hash::record_definition_hash;
use crate::node::{self, NodeInfo};
use crate::reference;
use crate::word::{Header, Subtag, Term};
use smallvec::SmallVec;

/// Copies words to where they do not overlap. Most objects are small: for them, calling the
/// library's function takes longer than copying.
///
/// # Safety
/// There are so many words, and room for them.
#[inline(always)]
pub unsafe fn copy_words<T: Copy>(from: *const T, to: *mut T, words: usize) {
    const CALLED_FROM: usize = 32;
    const { assert!(size_of::<T>() == 8) };
    // SAFETY: the caller's; what is copied as several words is as many.
    unsafe {
        if words >= CALLED_FROM {
            to.copy_from_nonoverlapping(from, words);
            return;
        }
        let mut at = 0;
        while at + 4 <= words {
            let four = from.add(at).cast::<[T; 4]>().read_unaligned();
            to.add(at).cast::<[T; 4]>().write_unaligned(four);
            at += 4;
        }
        if words & 2 != 0 {
            let two = from.add(at).cast::<[T; 2]>().read_unaligned();
            to.add(at).cast::<[T; 2]>().write_unaligned(two);
            at += 2;
        }
        if words & 1 != 0 {
            *to.add(at) = *from.add(at);
        }
    }
}

/// A source of heap words. Words stay where they are at least until the next safepoint of the
/// owner.
pub trait Alloc {
    /// `words` uninitialised words, 8-byte aligned; the caller fills every one before the next
    /// safepoint.
    fn alloc(&mut self, words: usize) -> *mut u64;

    /// The head of the list of off-heap terms that belong to this heap.
    fn off_heap(&mut self) -> &mut OffHeap;

    /// A list cell; `tail` is a list, or any term for an improper one.
    #[inline]
    fn cons(&mut self, head: Term, tail: Term) -> Term {
        let cell = self.alloc(2);
        // SAFETY: two words were given.
        unsafe {
            *cell = head.raw();
            *cell.add(1) = tail.raw();
        }
        Term::from_cons_ptr(cell)
    }

    /// A tuple of these elements.
    #[inline]
    fn tuple(&mut self, elements: &[Term]) -> Term {
        let ptr = self.alloc(elements.len() + 1);
        // SAFETY: header and elements were given room.
        unsafe {
            *ptr = Header::new(Subtag::Tuple, elements.len()).0;
            copy_words(elements.as_ptr(), ptr.add(1).cast::<Term>(), elements.len());
        }
        Term::from_boxed_ptr(ptr)
    }

    /// The definition of a native record: see [`Record`](crate::boxed::Record). `module`, `name`
    /// and `fields` are atoms, the fields all different.
    fn record_definition(
        &mut self,
        module: Term,
        name: Term,
        is_exported: bool,
        fields: &[Term],
    ) -> Term {
        let is_exported = Term::bool(is_exported);
        let hash = record_definition_hash(module, name, is_exported, fields);
        let mut elements = SmallVec::<[Term; 16]>::from_slice(&[
            module,
            name,
            is_exported,
            Term::small(i64::from(hash)),
        ]);
        elements.extend_from_slice(fields);
        self.tuple(&elements)
    }

    /// A native record with a value for each field of the definition.
    fn record(&mut self, definition: Term, values: &[Term]) -> Term {
        debug_assert!(definition.is_tuple_of(Record::FIELDS_AT + values.len()));
        let ptr = self.alloc(values.len() + 2);
        // SAFETY: header, definition and values were given room.
        unsafe {
            *ptr = Header::new(Subtag::Record, values.len() + 1).0;
            *ptr.add(1) = definition.raw();
            ptr.add(2).cast::<Term>().copy_from_nonoverlapping(values.as_ptr(), values.len());
        }
        Term::from_boxed_ptr(ptr)
    }

    /// `{Module, Function, Arity}`.
    fn mfa(&mut self, mfa: Mfa) -> Term {
        self.tuple(&[
            Term::atom(mfa.module),
            Term::atom(mfa.function),
            Term::small(i64::from(mfa.arity)),
        ])
    }

    /// A proper list of these elements.
    fn list(&mut self, items: &[Term]) -> Term {
        self.list_with_tail(items, Term::NIL)
    }

    /// A list of these elements with `tail` behind them.
    fn list_with_tail(&mut self, items: &[Term], tail: Term) -> Term {
        cells(self, items.iter().copied(), tail)
    }

    /// A list of character codes.
    fn string(&mut self, text: &str) -> Term {
        if text.is_ascii() {
            return self.byte_list(text.as_bytes(), Term::NIL);
        }
        let chars: Vec<Term> = text.chars().map(|c| Term::small(c as i64)).collect();
        self.list(&chars)
    }

    /// A list of byte values.
    fn byte_list(&mut self, bytes: &[u8], tail: Term) -> Term {
        cells(self, bytes.iter().map(|&byte| Term::small(i64::from(byte))), tail)
    }

    /// An integer, small or big.
    fn int(&mut self, value: i64) -> Term {
        if Term::fits_small(value) {
            Term::small(value)
        } else {
            self.big(value < 0, &[value.unsigned_abs()])
        }
    }

    /// A non-negative integer, small or big.
    fn uint(&mut self, value: u64) -> Term {
        if value <= Term::SMALL_MAX as u64 {
            Term::small(value as i64)
        } else {
            self.big(false, &[value])
        }
    }

    /// An integer from its magnitude (least significant digit first; leading zeros are dropped, and
    /// what fits a small integer becomes one).
    fn big(&mut self, negative: bool, digits: &[u64]) -> Term {
        let count = digits.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
        if count == 0 {
            return Term::small(0);
        }
        if count == 1 {
            let value = if negative { -i128::from(digits[0]) } else { i128::from(digits[0]) };
            if let Ok(value) = i64::try_from(value)
                && Term::fits_small(value)
            {
                return Term::small(value);
            }
        }
        let ptr = self.alloc(count + 1);
        // SAFETY: header and digits were given room.
        unsafe {
            *ptr = Header::new(if negative { Subtag::BigNeg } else { Subtag::BigPos }, count).0;
            ptr.add(1).copy_from_nonoverlapping(digits.as_ptr(), count);
        }
        Term::from_boxed_ptr(ptr)
    }

    /// A float, held in the word if its exponent allows, else boxed. `value` is finite.
    #[inline]
    fn float(&mut self, value: f64) -> Term {
        if let Some(term) = Term::float_immediate(value) {
            return term;
        }
        let ptr = self.alloc(2);
        // SAFETY: two words were given.
        unsafe {
            *ptr = Header::new(Subtag::Float, 1).0;
            *ptr.add(1) = value.to_bits();
        }
        Term::from_boxed_ptr(ptr)
    }

    /// A binary holding a copy of `bytes`.
    fn binary(&mut self, bytes: &[u8]) -> Term {
        if bytes.len() <= HEAP_BIN_BYTES_MAX {
            let (term, data) = self.heap_bin(bytes.len() * 8);
            // SAFETY: the data area holds that many bytes.
            unsafe { data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            term
        } else {
            self.shared_bin(SharedBytes::copy_from(bytes), 0, bytes.len() * 8)
        }
    }

    /// A heap binary of `bit_size` bits whose data the caller fills (padding is zero).
    fn heap_bin(&mut self, bit_size: usize) -> (Term, *mut u8) {
        let data_words = bit_size.div_ceil(64);
        let ptr = self.alloc(heap_bin::DATA + data_words);
        // SAFETY: header, size and data were given room; the last word is zeroed so that padding
        // is.
        unsafe {
            *ptr = Header::new(Subtag::HeapBin, heap_bin::DATA - 1 + data_words).0;
            *ptr.add(heap_bin::BIT_SIZE) = bit_size as u64;
            if data_words > 0 {
                *ptr.add(heap_bin::DATA + data_words - 1) = 0;
            }
            (Term::from_boxed_ptr(ptr), ptr.add(heap_bin::DATA).cast())
        }
    }

    /// A binary over `shared`, from byte `byte_offset`.
    fn shared_bin(&mut self, shared: SharedBytes, byte_offset: usize, bit_size: usize) -> Term {
        debug_assert!(byte_offset * 8 + bit_size <= shared.capacity() * 8);
        // SAFETY: within the buffer.
        unsafe {
            let data = shared.data().add(byte_offset);
            self.shared_bin_of(shared, data, bit_size)
        }
    }

    /// A binary over the bits at `data`, which `shared` keeps alive.
    ///
    /// # Safety
    /// They are there, and do not change, as long as `shared` has references.
    unsafe fn shared_bin_of(
        &mut self,
        shared: SharedBytes,
        data: *const u8,
        bit_size: usize,
    ) -> Term {
        let ptr = self.alloc(shared_bin::WORDS);
        let capacity = shared.capacity();
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(Subtag::SharedBin, shared_bin::WORDS - 1).0;
            *ptr.add(shared_bin::BIT_SIZE) = bit_size as u64;
            *ptr.add(shared_bin::DATA_PTR) = data as u64;
            *ptr.add(shared_bin::SHARED) = shared.into_raw();
        }
        // SAFETY: the term is complete but for the link, and in no list.
        unsafe { self.off_heap().push(ptr, capacity) };
        Term::from_boxed_ptr(ptr)
    }

    /// The part of a bitstring from `bit_offset`, `bit_size` bits long, as programs take parts. A small
    /// one of a shared binary is a copy, which does not keep that alive.
    fn part(&mut self, of: Term, bit_offset: usize, bit_size: usize) -> Term {
        let (original, base_offset) = Bits::original_of(of);
        if bit_size > HEAP_BIN_BYTES_MAX * 8 || !original.boxed_header().has(Subtag::SharedBin) {
            return self.sub_binary(of, bit_offset, bit_size);
        }
        let (copy, data) = self.heap_bin(bit_size);
        let bits = Bits::of(original).slice(base_offset + bit_offset, bit_size);
        // SAFETY: the data area holds that many bits.
        unsafe { copy_bits(bits, data, 0) };
        copy
    }

    /// The part of a bitstring from `bit_offset`, `bit_size` bits long. Shares the data.
    fn sub_binary(&mut self, of: Term, bit_offset: usize, bit_size: usize) -> Term {
        debug_assert!(bit_offset + bit_size <= Bits::of(of).bit_size);
        let (original, base_offset) = Bits::original_of(of);
        if bit_size == 0 {
            return self.heap_bin(0).0;
        }
        let ptr = self.alloc(sub_bin::WORDS);
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(Subtag::SubBin, sub_bin::WORDS - 1).0;
            *ptr.add(sub_bin::BIT_SIZE) = bit_size as u64;
            *ptr.add(sub_bin::BIT_OFFSET) = (base_offset + bit_offset) as u64;
            *ptr.add(sub_bin::ORIGINAL) = original.raw();
        }
        Term::from_boxed_ptr(ptr)
    }

    /// A local fun; `entry` is the code server's, which begins with a [`FunIdentity`].
    fn fun(&mut self, entry: *const FunIdentity, arity: u32, creator: u64, free: &[Term]) -> Term {
        let ptr = self.alloc(3 + free.len());
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(Subtag::Fun, 2 + free.len()).0;
            *ptr.add(1) = entry as u64;
            *ptr.add(2) = u64::from(arity) | creator << 8;
            copy_words(free.as_ptr(), ptr.add(3).cast::<Term>(), free.len());
        }
        Term::from_boxed_ptr(ptr)
    }

    /// `fun M:F/A`; `entry` is the first field of the machine's export entry.
    fn export_fun(&mut self, entry: *const Mfa) -> Term {
        let ptr = self.alloc(2);
        // SAFETY: two words were given.
        unsafe {
            *ptr = Header::new(Subtag::ExportFun, 1).0;
            *ptr.add(1) = entry as u64;
        }
        Term::from_boxed_ptr(ptr)
    }

    /// A local reference; see [`RefValue`](crate::RefValue), which is how to make one from its
    /// numbers.
    fn local_ref(&mut self, id: u64, low: u32) -> Term {
        let ptr = self.alloc(3);
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(Subtag::Ref, 2).0;
            *ptr.add(1) = id;
            *ptr.add(2) = u64::from(low);
        }
        Term::from_boxed_ptr(ptr)
    }

    /// The local reference that keeps this shared memory (of whole words) alive.
    fn counted_ref(&mut self, shared: SharedBytes) -> Term {
        let capacity = shared.capacity();
        debug_assert!(capacity.is_multiple_of(8));
        let value = reference::counted(shared.number());
        let ptr = self.alloc(COUNTED_REF_WORDS + 1);
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(Subtag::Ref, COUNTED_REF_WORDS).0;
            *ptr.add(1) = value.id;
            *ptr.add(2) = u64::from(value.low);
            *ptr.add(shared_bin::SHARED) = shared.into_raw();
        }
        // SAFETY: the term is complete but for the link, and in no list.
        unsafe { self.off_heap().push(ptr, capacity) };
        Term::from_boxed_ptr(ptr)
    }

    /// An identifier of another node: `subtag` is one of the three external ones.
    fn external(&mut self, subtag: Subtag, node: Atom, creation: u32, numbers: &[u64]) -> Term {
        debug_assert!(matches!(
            subtag,
            Subtag::ExternalPid | Subtag::ExternalPort | Subtag::ExternalRef
        ));
        node::note_incarnation(NodeInfo { name: node, creation });
        let ptr = self.alloc(3 + numbers.len());
        // SAFETY: the words of the layout were given.
        unsafe {
            *ptr = Header::new(subtag, 2 + numbers.len()).0;
            *ptr.add(1) = u64::from(node.index());
            *ptr.add(2) = u64::from(creation);
            ptr.add(3).copy_from_nonoverlapping(numbers.as_ptr(), numbers.len());
        }
        Term::from_boxed_ptr(ptr)
    }
}

/// A proper list that is built front to back, without knowing beforehand how long it becomes. It is
/// finished before the next safepoint of the heap that its cells are in.
pub struct ListBuilder {
    first: Term,
    /// The last cell; null while there is none.
    last: *mut u64,
}

impl Default for ListBuilder {
    fn default() -> Self {
        ListBuilder { first: Term::NIL, last: std::ptr::null_mut() }
    }
}

impl ListBuilder {
    /// Adds an element at the end.
    #[inline]
    pub fn push<A: Alloc + ?Sized>(&mut self, alloc: &mut A, element: Term) {
        let cell = alloc.alloc(2);
        // SAFETY: `cell` has room for both words, and `last` is a cell of ours that has not moved.
        unsafe {
            *cell = element.raw();
            *cell.add(1) = Term::NIL.raw();
            if self.last.is_null() {
                self.first = Term::from_cons_ptr(cell);
            } else {
                *self.last.add(1) = Term::from_cons_ptr(cell).raw();
            }
        }
        self.last = cell;
    }

    /// Where the list ends now.
    #[inline]
    pub fn end(&self) -> ListEnd {
        ListEnd(self.last)
    }

    /// Leaves out what was pushed after the list ended there.
    pub fn cut(&mut self, end: ListEnd) {
        if end.0.is_null() {
            *self = ListBuilder::default();
        } else {
            // SAFETY: it is one of our cells, which have not moved.
            unsafe { *end.0.add(1) = Term::NIL.raw() };
            self.last = end.0;
        }
    }

    pub fn finish(self) -> Term {
        self.first
    }
}

/// A place in a list that a [`ListBuilder`] builds.
#[derive(Clone, Copy)]
pub struct ListEnd(*mut u64);

/// Whether terms with this header are in the off-heap list of their heap: shared binaries and
/// counted references.
#[inline]
pub fn is_off_heap(header: Header) -> bool {
    header.has(Subtag::SharedBin) || header == Header::new(Subtag::Ref, COUNTED_REF_WORDS)
}

/// The bytes that a member of an off-heap list counts for.
/// # Safety
/// `ptr` points at such a term.
#[inline]
pub unsafe fn off_heap_bytes(ptr: *const u64) -> usize {
    // SAFETY: the caller's.
    unsafe {
        if Header(*ptr).has(Subtag::SharedBin) {
            (*ptr.add(shared_bin::BIT_SIZE)).div_ceil(8) as usize
        } else {
            64
        }
    }
}

/// The list of a heap's off-heap terms, shared binaries and counted references, linked through the
/// terms themselves.
#[derive(Default)]
pub struct OffHeap {
    /// Address of the first term's header, 0 when there is none.
    pub first: u64,
    /// Bytes that the members hold. A new member counts with its buffer's capacity, one seen by a
    /// collection or a copy with [`off_heap_bytes`].
    pub bytes: usize,
}

impl OffHeap {
    /// An empty list.
    pub const fn new() -> OffHeap {
        OffHeap { first: 0, bytes: 0 }
    }

    /// Puts a term in front, which holds `bytes` bytes.
    ///
    /// # Safety
    /// `ptr` is the header of a live shared binary or counted reference, which is in no list.
    #[inline]
    pub unsafe fn push(&mut self, ptr: *mut u64, bytes: usize) {
        // SAFETY: both kinds of terms have a word for the link.
        unsafe { *ptr.add(shared_bin::NEXT) = self.first };
        self.first = ptr as u64;
        self.bytes += bytes;
    }

    /// The headers of the members, the newest first. Each is followed before it is given out, so
    /// that it may be freed.
    ///
    /// # Safety
    /// The terms that are still to come are live while the iterator is in use.
    pub unsafe fn members(&self) -> impl Iterator<Item = *mut u64> + use<> {
        let member = |address: u64| (address != 0).then_some(address as *mut u64);
        // SAFETY: a member has a word for the link to the next.
        std::iter::successors(member(self.first), move |ptr| {
            member(unsafe { *ptr.add(shared_bin::NEXT) })
        })
    }

    /// Drops the reference that each member holds, and empties the list.
    /// # Safety
    /// The terms are live, and nobody uses them after this.
    pub unsafe fn release(&mut self) {
        // SAFETY: the members are live shared binaries and counted references.
        unsafe {
            for ptr in self.members() {
                drop(SharedBytes::from_raw(*ptr.add(shared_bin::SHARED)));
            }
        }
        *self = OffHeap::new();
    }

    /// Puts all members of `other` in front.
    /// # Safety
    /// The terms of both lists are live.
    pub unsafe fn take_over(&mut self, other: &mut OffHeap) {
        if other.first == 0 {
            return;
        }
        let mut last = other.first as *mut u64;
        // SAFETY: members of the list are live shared binaries.
        unsafe {
            while *last.add(shared_bin::NEXT) != 0 {
                last = *last.add(shared_bin::NEXT) as *mut u64;
            }
            *last.add(shared_bin::NEXT) = self.first;
        }
        self.first = other.first;
        self.bytes += other.bytes;
        *other = OffHeap::new();
    }
}

/// Words outside any process: a growing set of chunks that live and die together. Messages in
/// transit, literals that are being decoded, table entries and tests build their terms in one.
pub struct FragmentHeap {
    chunks: Vec<Box<[std::mem::MaybeUninit<u64>]>>,
    top: usize,
    off_heap: OffHeap,
    words: usize,
}

// SAFETY: a fragment owns its words.
unsafe impl Send for FragmentHeap {}

impl FragmentHeap {
    const CHUNK_WORDS_MIN: usize = 16;

    /// A heap without any chunk; the first allocation makes one.
    pub const fn new() -> FragmentHeap {
        FragmentHeap { chunks: Vec::new(), top: 0, off_heap: OffHeap::new(), words: 0 }
    }
    /// A heap with one chunk of exactly `words` words.
    pub fn with_words(words: usize) -> FragmentHeap {
        let mut heap = Self::new();
        if words > 0 {
            heap.chunks.push(Box::new_uninit_slice(words));
        }
        heap
    }
    /// Words handed out so far.
    pub fn words(&self) -> usize {
        self.words
    }
    /// The chunks, the oldest first. Only the words handed out are initialised.
    pub fn chunks(&self) -> &[Box<[std::mem::MaybeUninit<u64>]>] {
        &self.chunks
    }
}

impl Default for FragmentHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl Alloc for FragmentHeap {
    fn alloc(&mut self, words: usize) -> *mut u64 {
        let room = self.chunks.last().map_or(0, |chunk| chunk.len() - self.top);
        if room < words {
            let size = words.max(self.words.min(1 << 16)).max(Self::CHUNK_WORDS_MIN);
            self.chunks.push(Box::new_uninit_slice(size));
            self.top = 0;
        }
        let Some(chunk) = self.chunks.last_mut() else {
            // No words of no chunk.
            return std::ptr::NonNull::dangling().as_ptr();
        };
        let ptr = chunk[self.top..].as_mut_ptr().cast::<u64>();
        self.top += words;
        self.words += words;
        ptr
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        &mut self.off_heap
    }
}

impl Drop for FragmentHeap {
    fn drop(&mut self) {
        // SAFETY: the terms live in our chunks and go with them.
        unsafe { self.off_heap.release() }
    }
}

/// A list of `heads` in consecutive cells, with `tail` behind the last.
fn cells<A: Alloc + ?Sized>(
    alloc: &mut A,
    heads: impl ExactSizeIterator<Item = Term>,
    tail: Term,
) -> Term {
    let count = heads.len();
    if count == 0 {
        return tail;
    }
    let start = alloc.alloc(2 * count);
    let mut cell = start;
    // No iterator of ours gives more or fewer than its `len` says; `take` makes certain that none
    // writes beyond its cells.
    for head in heads.take(count) {
        // SAFETY: a cell was given for each head; the last one's tail is written below.
        unsafe {
            *cell = head.raw();
            *cell.add(1) = Term::from_cons_ptr(cell.add(2)).raw();
            cell = cell.add(2);
        }
    }
    // SAFETY: there is one cell at least.
    unsafe { *cell.sub(1) = tail.raw() };
    Term::from_cons_ptr(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_are_to_be_had_anywhere() {
        let mut heap = FragmentHeap::new();
        assert!(heap.alloc(0).is_aligned());
        assert_eq!((heap.words(), heap.chunks().len()), (0, 0));
        heap.alloc(1);
        assert!(heap.alloc(0).is_aligned());
        assert_eq!((heap.words(), heap.chunks().len()), (1, 1));
    }

    #[test]
    fn lists_are_built_front_to_back_and_cut() {
        let mut heap = FragmentHeap::new();
        let numbers = |list: Term| -> Vec<i64> {
            list.list_to_vec().expect("a proper list").iter().filter_map(|n| n.as_small()).collect()
        };
        let mut list = ListBuilder::default();
        let before = list.end();
        (1..=1000).for_each(|n| list.push(&mut heap, Term::small(n)));
        let behind = list.end();
        list.push(&mut heap, Term::small(0));
        list.cut(behind);
        list.push(&mut heap, Term::small(1001));
        assert_eq!(numbers(list.finish()), (1..=1001).collect::<Vec<_>>());

        let mut list = ListBuilder::default();
        list.push(&mut heap, Term::small(1));
        list.cut(before);
        assert!(list.finish().is_nil(), "cut to where it began");
    }
}
