//! One process's memory: a block with the heap growing up and the stack growing down, an older
//! generation, and fragments not yet folded in.

use crate::fragment::Fragment;
use crate::literal::is_literal;
use crate::pages::give_back_pages;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::refusal::{self, handled};
use swarmrt_term::usage::{HEAPS, has_room};
use swarmrt_term::{Alloc, FlatMap};

/// Words always left free between heap and stack, for return addresses that calls push.
pub const SLACK_WORDS: usize = 4;

/// What freed words are filled with under stress: no term has this pattern.
pub(crate) const POISON: u8 = 0xf8;

/// There is no memory for a block of this many words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    pub words: usize,
}

/// A stretch of words, of which the first [`Block::words`] are shown. It may have more: a
/// collection needs room for all that could be live, which mostly is far more than is, and pages
/// that are never touched cost nothing.
pub(crate) struct Block {
    pub start: *mut u64,
    pub end: *mut u64,
    capacity: usize,
}

impl Block {
    /// No memory: null pointers, zero words.
    pub const EMPTY: Block =
        Block { start: std::ptr::null_mut(), end: std::ptr::null_mut(), capacity: 0 };

    /// A block that shows `words` words, not initialised. Where there is no memory for it, the
    /// program ends.
    pub fn new(words: usize) -> Block {
        Self::try_new(words).unwrap_or_else(|_| refusal::end(words.saturating_mul(8)))
    }
    /// A block that shows `words` words, not initialised; [`Block::EMPTY`] for none.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn try_new(words: usize) -> Result<Block, OutOfMemory> {
        if words == 0 {
            return Ok(Block::EMPTY);
        }
        if SPARE_WORDS.contains(&words)
            && let Some(mut spare) = Spare::take(words)
        {
            spare.show(words);
            return Ok(spare);
        }
        let refused = OutOfMemory { words };
        let bytes = words.checked_mul(8).filter(|&bytes| has_room(bytes)).ok_or(refused)?;
        // SAFETY: the layout is not empty.
        let start = unsafe { handled(|| alloc(Self::layout(words))) }.cast::<u64>();
        if start.is_null() {
            return Err(refused);
        }
        HEAPS.add(bytes);
        // SAFETY: one past the allocation.
        Ok(Block { start, end: unsafe { start.add(words) }, capacity: words })
    }
    fn layout(words: usize) -> Layout {
        Layout::from_size_align(
            words.checked_mul(8).expect("a heap is smaller than the address space"),
            8,
        )
        .expect("aligned to words")
    }
    /// Words shown: those that are used and counted.
    pub fn words(&self) -> usize {
        (self.end as usize - self.start as usize) / 8
    }
    /// Words allocated, shown or not.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// The addresses of all its words, shown or not.
    pub fn addresses(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.capacity * 8
    }
    /// Shows this many of its words; only those are counted.
    pub fn show(&mut self, words: usize) {
        assert!(words <= self.capacity, "a block shows what it has");
        HEAPS.subtract(self.words() * 8);
        HEAPS.add(words * 8);
        self.end = self.start.wrapping_add(words);
    }
    /// Gives the memory back, or to the thread's [`Spare`], and leaves [`Block::EMPTY`].
    pub fn free(&mut self) {
        if self.start.is_null() {
            return;
        }
        if cfg!(feature = "stress") {
            // SAFETY: the block is ours, and nobody reads it any more.
            unsafe { self.start.write_bytes(POISON, self.capacity) };
        }
        self.show(0);
        let block = std::mem::replace(self, Block::EMPTY);
        if SPARE_WORDS.contains(&block.capacity) {
            Spare::put(block);
        } else {
            block.give_back();
        }
    }
    fn give_back(self) {
        if self.start.is_null() {
            return;
        }
        // SAFETY: allocated by `new` with this size, and nobody reads it any more.
        unsafe {
            if RETURNED_WORDS.contains(&self.capacity) {
                give_back_pages(self.addresses());
            }
            dealloc(self.start.cast(), Self::layout(self.capacity));
        }
    }
}

/// Words of the blocks whose pages go back to the system as soon as they are freed, rather than when
/// the allocator comes to it. A process with a larger block mostly asks for another like it before.
const RETURNED_WORDS: std::ops::RangeInclusive<usize> = 1 << 15..=1 << 22;

/// Sizes of blocks that a thread keeps when they are freed, for its next requests. A collecting
/// process needs blocks of much the same sizes again and again; where the allocator has given their
/// memory back meanwhile, the system's zeroing of new pages takes longer than the collection.
const SPARE_WORDS: std::ops::RangeInclusive<usize> = 1 << 11..=SPARE_WORDS_MAX;
/// Words that a thread keeps at most.
const SPARE_WORDS_MAX: usize = 1 << 21;
/// Words that a thread keeps at most while all threads together keep more than
/// [`KEPT_WORDS_MAX`].
const CROWDED_WORDS_MAX: usize = 1 << 19;
const KEPT_WORDS_MAX: usize = 1 << 23;
/// Words that all threads keep.
static KEPT_WORDS: AtomicUsize = AtomicUsize::new(0);
/// Blocks that a thread keeps at most.
const SPARES_MAX: usize = 8;

/// The blocks that a thread keeps, showing nothing; the oldest first.
struct Spare {
    blocks: [Block; SPARES_MAX],
    count: usize,
    /// Their words.
    words: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = const {
        RefCell::new(Spare { blocks: [Block::EMPTY; SPARES_MAX], count: 0, words: 0 })
    };
}

impl Spare {
    /// The smallest kept block that is large enough, unless it is so wastefully.
    fn take(words: usize) -> Option<Block> {
        // A thread that is ending keeps nothing.
        let taken = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let fits = |at: &usize| {
                (words..=words.saturating_mul(2)).contains(&spare.blocks[*at].capacity)
            };
            let best =
                (0..spare.count).rev().filter(fits).min_by_key(|&at| spare.blocks[at].capacity)?;
            Some(spare.remove(best))
        });
        taken.ok().flatten()
    }
    /// Keeps a block, and gives back what becomes too much.
    fn put(block: Block) {
        let mut block = Some(block);
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let Some(block) = block.take() else { return };
            while spare.count == SPARES_MAX {
                spare.remove(0).give_back();
            }
            let at = spare.count;
            spare.words += block.capacity;
            let kept = KEPT_WORDS.fetch_add(block.capacity, Ordering::Relaxed) + block.capacity;
            spare.blocks[at] = block;
            spare.count += 1;
            spare.shrink(if kept > KEPT_WORDS_MAX { CROWDED_WORDS_MAX } else { SPARE_WORDS_MAX });
        });
        if let Some(block) = block {
            block.give_back();
        }
    }
    fn remove(&mut self, at: usize) -> Block {
        self.blocks[at..self.count].rotate_left(1);
        self.count -= 1;
        let block = std::mem::replace(&mut self.blocks[self.count], Block::EMPTY);
        self.words -= block.capacity;
        KEPT_WORDS.fetch_sub(block.capacity, Ordering::Relaxed);
        block
    }
    /// Gives back the oldest until no more than `words` are left.
    fn shrink(&mut self, words: usize) {
        while self.words > words {
            self.remove(0).give_back();
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Gives back what the thread keeps for its next collections: it has nothing to do.
pub fn free_spare() {
    let _ = SPARE.try_with(|spare| spare.borrow_mut().shrink(0));
}

/// The heap, stack and off-heap terms of one process. An engine holds `top` and `stop` in registers
/// and writes them back before any other code looks at the heap.
pub struct Heap {
    /// The next free heap word.
    pub top: *mut u64,
    /// The stack pointer: the lowest stack word in use.
    pub stop: *mut u64,
    pub(crate) block: Block,
    /// Below it: what has survived a collection already.
    pub(crate) high_water: *mut u64,
    pub(crate) old: Block,
    pub(crate) old_top: *mut u64,
    pub(crate) fragments: *mut Fragment,
    pub(crate) fragment_words: usize,
    pub(crate) off_heap: OffHeap,
    pub(crate) old_off_heap: OffHeap,
    /// Off-heap bytes that ask for a collection.
    pub(crate) off_heap_bytes_limit: usize,
    /// Off-heap bytes of the old generation that ask for a major collection.
    pub(crate) old_off_heap_bytes_limit: usize,
    pub(crate) minor_since_major: u32,
    /// As the process flag `fullsweep_after`.
    pub fullsweep_after: u32,
    /// As the process flag `min_heap_size`, in words.
    pub min_heap_words: u32,
    /// As the process flag `min_bin_vheap_size`: words of off-heap data that a young process may
    /// hold before a collection.
    pub min_bin_vheap_words: u32,
    /// Words of all parts above which what is allocated outside the block asks for a collection,
    /// after which the process flag `max_heap_size` is looked at.
    pub limit_words: usize,
    pub(crate) collections: u32,
    /// Set when the next safepoint should collect although the block has room.
    pub wants_collection: bool,
    /// The next collection should be a major one.
    pub wants_major: bool,
    pub(crate) grow_next: bool,
}

// SAFETY: a heap belongs to one process, which one thread at a time runs.
unsafe impl Send for Heap {}

/// OTP's default of the process flag `min_heap_size`, in words.
pub const MIN_HEAP_WORDS: u32 = 233;
/// OTP's default of the process flag `min_bin_vheap_size`, in words.
pub const MIN_BIN_VHEAP_WORDS: u32 = 46_422;
/// OTP's default of the process flag `fullsweep_after`: minor collections before a major one.
pub const FULLSWEEP_AFTER: u32 = 65_535;

impl Heap {
    /// A block of `words`, empty.
    pub fn new(words: usize) -> Heap {
        Heap::with_room(words, words)
    }

    /// A block of `wanted` words if there is memory for it, else of `words`, which it needs.
    pub fn with_room(words: usize, wanted: usize) -> Heap {
        let words = words.max(SLACK_WORDS * 4);
        let block = Block::try_new(wanted.max(words)).unwrap_or_else(|_| Block::new(words));
        Heap {
            top: block.start,
            stop: block.end,
            high_water: block.start,
            block,
            old: Block::EMPTY,
            old_top: std::ptr::null_mut(),
            fragments: std::ptr::null_mut(),
            fragment_words: 0,
            off_heap: OffHeap::new(),
            old_off_heap: OffHeap::new(),
            off_heap_bytes_limit: MIN_BIN_VHEAP_WORDS as usize * 8,
            old_off_heap_bytes_limit: MIN_BIN_VHEAP_WORDS as usize * 8,
            minor_since_major: 0,
            fullsweep_after: FULLSWEEP_AFTER,
            min_heap_words: MIN_HEAP_WORDS,
            min_bin_vheap_words: MIN_BIN_VHEAP_WORDS,
            limit_words: usize::MAX,
            collections: 0,
            wants_collection: false,
            wants_major: false,
            grow_next: false,
        }
    }

    /// Where the stack begins (its highest address).
    pub fn stack_base(&self) -> *mut u64 {
        self.block.end
    }
    /// The words between the stack pointer and the stack's base.
    pub fn stack_words(&self) -> usize {
        (self.block.end as usize - self.stop as usize) / 8
    }
    /// Words of the young heap in use, stack and fragments not counted.
    pub fn used_words(&self) -> usize {
        (self.top as usize - self.block.start as usize) / 8
    }
    /// Words of the block: young heap, stack and the free words between them.
    pub fn block_words(&self) -> usize {
        self.block.words()
    }
    /// Words of the old generation's block, in use or not.
    pub fn old_words(&self) -> usize {
        self.old.words()
    }
    /// Words of the old generation in use.
    pub fn old_used_words(&self) -> usize {
        (self.old_top as usize - self.old.start as usize) / 8
    }
    /// Words of terms in fragments: messages received, and what was allocated while the block was
    /// full.
    pub fn fragment_words(&self) -> usize {
        self.fragment_words
    }
    /// Minor collections since the last major one.
    pub fn minor_collections(&self) -> u32 {
        self.minor_since_major
    }
    /// Bytes that the off-heap terms of both generations hold; see [`OffHeap::bytes`].
    pub fn off_heap_bytes(&self) -> usize {
        self.off_heap.bytes + self.old_off_heap.bytes
    }
    /// Words of all parts, in use or not.
    pub fn total_words(&self) -> usize {
        self.block.words() + self.old.words() + self.fragment_words
    }
    /// Words of off-heap data of the young generation above which a collection is asked for.
    pub fn off_heap_limit_words(&self) -> usize {
        self.off_heap_bytes_limit / 8
    }
    /// Words of heap in use, whatever the generation.
    pub fn occupied_words(&self) -> usize {
        self.used_words() + self.old_used_words() + self.fragment_words
    }
    /// Words that have not been through a collection yet.
    pub fn recent_words(&self) -> usize {
        (self.top as usize - self.high_water as usize) / 8
    }
    /// The off-heap terms of the young and of the old generation.
    pub fn off_heap_lists(&self) -> [&OffHeap; 2] {
        [&self.off_heap, &self.old_off_heap]
    }

    /// Gives a map of this heap the keys of another map that has the same, where the latter are a
    /// literal and the former are not: they need no room then.
    pub fn share_literal_keys(&mut self, map: FlatMap, other: FlatMap) {
        let (keys, at) = (other.keys_tuple(), map.term().raw() as usize);
        let is_here = [&self.block, &self.old].iter().any(|block| block.addresses().contains(&at));
        if is_here && is_literal(keys) && !is_literal(map.keys_tuple()) {
            assert_eq!(map.size(), other.size(), "maps with the same keys");
            // SAFETY: the map lies in a block of this heap, and a literal belongs to no generation.
            unsafe { map.set_keys_tuple(keys) };
        }
    }

    /// Words that can be bumped without touching the slack.
    #[inline(always)]
    pub fn room_words(&self) -> usize {
        ((self.stop as usize - self.top as usize) / 8).saturating_sub(SLACK_WORDS)
    }

    /// Allocates outside the block, where an engine may be about to write into the room it
    /// reserved.
    pub fn aside(&mut self) -> Aside<'_> {
        Aside(self)
    }

    /// Takes over a fragment whose terms the process may use from now on.
    /// # Safety
    /// `fragment` is in no list, and its terms are live.
    pub unsafe fn adopt(&mut self, fragment: *mut Fragment) {
        // SAFETY: the caller's.
        unsafe {
            self.off_heap.take_over(&mut (*fragment).off_heap);
            if (*fragment).words() == 0 {
                Fragment::free(fragment);
                return;
            }
            self.fragment_words += (*fragment).words();
            // The newest fragment is where `alloc` looks for room; a full one goes behind it.
            if self.fragments.is_null() || (*self.fragments).room() == 0 {
                (*fragment).next = self.fragments;
                self.fragments = fragment;
            } else {
                (*fragment).next = (*self.fragments).next;
                (*self.fragments).next = fragment;
            }
        }
        self.note_pressure();
    }

    /// Asks for a collection when what lies outside the block has grown out of proportion.
    fn note_pressure(&mut self) {
        if self.fragment_words > (self.block.words() + self.old.words() / 2).max(512)
            || self.off_heap.bytes > self.off_heap_bytes_limit
            || self.total_words() > self.limit_words
        {
            self.wants_collection = true;
        }
    }

    #[cold]
    fn alloc_in_fragment(&mut self, words: usize) -> *mut u64 {
        // SAFETY: our own fragments are live.
        unsafe {
            if self.fragments.is_null() || (*self.fragments).room() < words {
                let size = words.max(self.fragment_words.clamp(64, 1 << 15));
                let fragment = Fragment::new(size);
                (*fragment).next = self.fragments;
                self.fragments = fragment;
            }
            self.fragment_words += words;
            self.note_pressure();
            (*self.fragments).alloc(words)
        }
    }

    pub(crate) fn free_fragments(&mut self) {
        let mut at = std::mem::replace(&mut self.fragments, std::ptr::null_mut());
        while !at.is_null() {
            // SAFETY: fragments of our list; their off-heap terms were taken over.
            unsafe {
                let next = (*at).next;
                Fragment::free(at);
                at = next;
            }
        }
        self.fragment_words = 0;
    }
}

impl Alloc for Heap {
    #[inline]
    fn alloc(&mut self, words: usize) -> *mut u64 {
        if self.room_words() >= words {
            let ptr = self.top;
            // SAFETY: there is room.
            self.top = unsafe { ptr.add(words) };
            ptr
        } else {
            // When there is no room even for a little, the block is full.
            if words <= self.block.words() / 8 {
                self.wants_collection = true;
            }
            self.alloc_in_fragment(words)
        }
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        if self.off_heap.bytes > self.off_heap_bytes_limit {
            self.wants_collection = true;
        }
        &mut self.off_heap
    }
}

/// A heap's fragments, for terms that are made while the room in its block is reserved by an
/// engine.
pub struct Aside<'a>(&'a mut Heap);

impl Alloc for Aside<'_> {
    fn alloc(&mut self, words: usize) -> *mut u64 {
        self.0.alloc_in_fragment(words)
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        self.0.off_heap()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: the process is gone, and its terms with it.
        unsafe {
            self.off_heap.release();
            self.old_off_heap.release();
        }
        self.free_fragments();
        self.block.free();
        self.old.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of the blocks that the thread keeps, the oldest first.
    fn kept() -> Vec<usize> {
        SPARE.with_borrow(|spare| {
            spare.blocks[..spare.count].iter().map(|block| block.capacity).collect()
        })
    }

    #[test]
    fn a_thread_keeps_freed_blocks_and_takes_the_smallest_that_fits() {
        free_spare();
        let small = *SPARE_WORDS.start();
        let sizes = [small - 1, 8 * small, 3 * small, 2 * small, SPARE_WORDS_MAX + 1];
        sizes.map(Block::new).iter_mut().for_each(Block::free);
        assert_eq!(kept(), [8 * small, 3 * small, 2 * small]);
        let mut block = Block::new(2 * small - 7);
        assert_eq!((block.capacity(), block.words()), (2 * small, 2 * small - 7));
        // A block of twice the size and more would be wasted.
        let mut fresh = Block::new(small);
        assert_eq!(fresh.capacity(), small);
        assert_eq!(kept(), [8 * small, 3 * small]);
        block.free();
        fresh.free();
        assert_eq!(kept(), [8 * small, 3 * small, 2 * small, small]);
        free_spare();
        assert!(kept().is_empty());
    }

    #[test]
    fn the_oldest_blocks_go_when_there_are_too_many_or_too_large_ones() {
        free_spare();
        let small = *SPARE_WORDS.start();
        let mut blocks: Vec<Block> = (0..=SPARES_MAX).map(|at| Block::new(small + at)).collect();
        blocks.iter_mut().for_each(Block::free);
        assert_eq!(kept(), (small + 1..=small + SPARES_MAX).collect::<Vec<_>>());
        Block::new(SPARE_WORDS_MAX).free();
        assert_eq!(kept(), [SPARE_WORDS_MAX]);
        free_spare();
    }
}
