//! The collector: Cheney copying in two generations.
//!
//! The young generation is the heap part of the block and the fragments. What lies below the
//! high-water mark has survived one collection; a minor collection moves it to the old generation
//! and the rest of what is live to a new block. A major collection moves everything that is live
//! into a new old generation and leaves the young one empty. Terms are immutable, so nothing old
//! points at anything young. A word that has been moved is overwritten by its new address: a header
//! by a boxed pointer, a list cell by a zero head and the new address in its tail.

use crate::literal::literal_range;
use crate::process_heap::{Block, Heap, OutOfMemory, SLACK_WORDS};
use std::ops::Range;
use swarmrt_term::alloc::{OffHeap, copy_words};
use swarmrt_term::binary::{SharedBytes, shared_bin};
use swarmrt_term::refusal;
use swarmrt_term::usage::HEAPS;
use swarmrt_term::{Header, Term};

/// Marks the head of a list cell that has been moved; no term and no header is zero.
const MOVED_CELL: u64 = 0;

/// The sizes that blocks have, in words: OTP's series, Fibonacci-like, then growing by a fifth.
pub fn block_words_for(words: usize) -> usize {
    let (mut a, mut b) = (12usize, 38usize);
    while a < words {
        if b > 1_000_000 {
            (a, b) = (b, b + b / 5);
        } else {
            (a, b) = (b, a + b + 1);
        }
    }
    a
}

/// Words of the largest young generation that a process gets because it collects often, rather than
/// because it keeps much. Under stress, where every safepoint collects and all free words are
/// overwritten, it stays small.
const BUSY_WORDS_MAX: usize = if cfg!(feature = "stress") { 610 } else { 17_731 };
/// Words of the largest young generation that a process gets because its old one is large. Two of
/// this size take turns, and are kept for that; larger ones would come from the system each time.
const YOUNG_OF_OLD_WORDS_MAX: usize = 512 << 10;
/// A busy process's young generation grows by one step in this many collections, up to
/// [`BUSY_WORDS_MAX`].
const BUSY_COLLECTIONS: u32 = 4;
/// It does not grow while all heaps together take more than this.
const BUSY_TOTAL_BYTES: usize = 64 << 20;
/// A block below this many words is not given room to grow into in advance.
const LARGE_WORDS: usize = 8 << 10;
/// A block may have this many times the words that it shows.
const HIDDEN_MAX: usize = 3;

/// A heap that is packed for hibernation may leave room for one word in this many live ones.
const LIVE_WORDS_PER_SPARE: usize = 16;

struct Space {
    top: *mut u64,
    scanned: *mut u64,
}

impl Space {
    /// A space that grows from `at` on.
    fn at(at: *mut u64) -> Space {
        Space { top: at, scanned: at }
    }
}

/// `bytes` addresses from `start` on.
struct Area {
    start: usize,
    bytes: usize,
}

impl Area {
    #[inline(always)]
    fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.bytes
    }
}

impl From<Range<usize>> for Area {
    fn from(range: Range<usize>) -> Area {
        Area { start: range.start, bytes: range.end.saturating_sub(range.start) }
    }
}

/// Where the objects lie that a collection may move. A pointer that leads anywhere else is a fault
/// of an engine or a built-in; builds for tests panic then, others do not check.
struct Sources {
    #[cfg(any(feature = "stress", debug_assertions))]
    areas: Vec<Range<usize>>,
}

impl Sources {
    fn of(heap: &Heap) -> Sources {
        #[cfg(any(feature = "stress", debug_assertions))]
        return Sources { areas: heap.areas() };
        #[cfg(not(any(feature = "stress", debug_assertions)))]
        {
            let _ = heap;
            Sources {}
        }
    }
    /// Checks that an object lies in one of the areas.
    ///
    /// # Panics
    /// In builds for tests, when it does not.
    #[inline(always)]
    fn check(&self, address: usize, words: usize) {
        #[cfg(any(feature = "stress", debug_assertions))]
        {
            let before = self.areas.partition_point(|area| area.start <= address);
            let area = before.checked_sub(1).map(|at| &self.areas[at]);
            assert!(
                area.is_some_and(|area| address + words * 8 <= area.end),
                "{address:#x} with {words} words lies in no memory of the process: {:x?}",
                self.areas
            );
        }
        #[cfg(not(any(feature = "stress", debug_assertions)))]
        let _ = (address, words);
    }
}

struct Collector {
    sources: Sources,
    literals: Area,
    /// The block that is being emptied, where most of what moves is.
    from: Area,
    /// The block that it is emptied into.
    to: Area,
    /// Addresses that stay where they are (the old generation, in a minor collection).
    kept: Area,
    /// Addresses that are promoted.
    aged: Area,
    young: Space,
    old: Space,
}

/// Has the processor fetch what a word a little behind `at` points at, if it is a pointer: the scan
/// is about to ask for the header there.
///
/// # Safety
/// The words from `at` to `end` are initialised.
#[inline(always)]
unsafe fn prefetch_target(at: *const u64, end: *const u64) {
    /// Words between the two: enough for a line to come from a further cache.
    const AHEAD: usize = 8;
    let ahead = at.wrapping_add(AHEAD);
    if ahead < end {
        // SAFETY: the caller's. Any address may be prefetched.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(*ahead as *const i8);
        }
    }
}

/// Copies an object with its header; the small ones, which are most, inline.
#[inline(always)]
unsafe fn copy_object(from: *const u64, to: *mut u64, words: usize) {
    // SAFETY: the caller's.
    unsafe {
        match words {
            2 => to.copy_from_nonoverlapping(from, 2),
            3 => to.copy_from_nonoverlapping(from, 3),
            4 => to.copy_from_nonoverlapping(from, 4),
            5 => to.copy_from_nonoverlapping(from, 5),
            6 => to.copy_from_nonoverlapping(from, 6),
            7 => to.copy_from_nonoverlapping(from, 7),
            8 => to.copy_from_nonoverlapping(from, 8),
            _ => copy_words(from, to, words),
        }
    }
}

impl Collector {
    /// A collector that empties `from` into `to`, and keeps and promotes nothing.
    fn new(sources: Sources, from: Range<usize>, to: &Block, young: Space, old: Space) -> Self {
        Collector {
            sources,
            literals: literal_range().into(),
            from: from.into(),
            to: to.addresses().into(),
            kept: (0..0).into(),
            aged: (0..0).into(),
            young,
            old,
        }
    }
    /// Moves the object that `slot` points at, unless it stays where it is, and updates the slot.
    #[inline]
    unsafe fn forward(&mut self, slot: *mut u64) {
        // SAFETY: `slot` holds a term; every pointer in it points at a live object or at where one
        // was.
        unsafe {
            let word = *slot;
            let term = Term::from_raw(word);
            if !term.is_pointer() {
                return;
            }
            let address = (word & !0b111) as usize;
            if !self.from.contains(address) && self.stays(address) {
                return;
            }
            let from = address as *mut u64;
            self.sources.check(address, 1);
            if term.is_cons() {
                self.forward_list(slot, from);
            } else {
                let header = *from;
                if header & 0b111 != 0 {
                    *slot = header;
                    return;
                }
                let words = Header(header).words() + 1;
                self.sources.check(address, words);
                let space =
                    if self.aged.contains(address) { &mut self.old } else { &mut self.young };
                let to = space.top;
                space.top = to.add(words);
                copy_object(from, to, words);
                let moved = Term::from_boxed_ptr(to).raw();
                *from = moved;
                *slot = moved;
            }
        }
    }

    /// Whether what lies outside the block that is being emptied is not to be moved.
    #[inline(always)]
    fn stays(&self, address: usize) -> bool {
        self.to.contains(address) || self.literals.contains(address) || self.kept.contains(address)
    }

    /// Moves the cell `from` that `slot` points at, and the cells of its tail that lie in the same
    /// generation of the block that is being emptied: each tail is known to point at the next cell,
    /// so that nothing waits for a word to come back from memory, and the list is in one piece
    /// afterwards.
    ///
    /// # Safety
    /// As for [`Collector::forward`]; `from` is live or has been moved.
    #[inline(always)]
    unsafe fn forward_list(&mut self, mut slot: *mut u64, mut from: *mut u64) {
        // SAFETY: the caller's; the space has room for all that is live.
        unsafe {
            self.sources.check(from as usize, 2);
            if *from == MOVED_CELL {
                *slot = *from.add(1);
                return;
            }
            let is_aged = self.aged.contains(from as usize);
            let mut to = if is_aged { self.old.top } else { self.young.top };
            loop {
                let tail = *from.add(1);
                *to = *from;
                let moved = Term::from_cons_ptr(to).raw();
                *from = MOVED_CELL;
                *from.add(1) = moved;
                *slot = moved;
                slot = to.add(1);
                to = to.add(2);
                let next = (tail & !0b111) as usize;
                if !Term::from_raw(tail).is_cons()
                    || !self.from.contains(next) && self.stays(next)
                    || self.aged.contains(next) != is_aged
                    || *(next as *const u64) == MOVED_CELL
                {
                    *slot = tail;
                    break;
                }
                from = next as *mut u64;
                self.sources.check(next, 2);
            }
            if is_aged { &mut self.old } else { &mut self.young }.top = to;
        }
    }

    unsafe fn forward_all(&mut self, slots: &mut [Term]) {
        for slot in slots {
            // SAFETY: the caller's: all are terms.
            unsafe { self.forward(std::ptr::from_mut::<Term>(slot).cast()) };
        }
    }

    /// Forwards everything that the moved objects point at, until nothing new has moved.
    unsafe fn scan(&mut self) {
        // SAFETY: between `scanned` and `top` lie whole objects.
        unsafe {
            loop {
                let mut at = self.young.scanned;
                while at < self.young.top {
                    prefetch_target(at, self.young.top);
                    at = self.scan_word(at);
                }
                self.young.scanned = at;
                at = self.old.scanned;
                if at >= self.old.top {
                    return;
                }
                while at < self.old.top {
                    prefetch_target(at, self.old.top);
                    at = self.scan_word(at);
                }
                self.old.scanned = at;
            }
        }
    }

    #[inline(always)]
    unsafe fn scan_word(&mut self, at: *mut u64) -> *mut u64 {
        // SAFETY: `at` is a header, or a term within an object.
        unsafe {
            let word = *at;
            if word & 0b111 == 0 {
                return at.add(1 + Header(word).raw_words());
            }
            if Term::from_raw(word).is_pointer() {
                self.forward(at);
            }
            at.add(1)
        }
    }
}

/// Members of an off-heap list on their way into another list, in their order.
struct Chain {
    first: u64,
    last: *mut u64,
    bytes: usize,
}

impl Chain {
    const EMPTY: Chain = Chain { first: 0, last: std::ptr::null_mut(), bytes: 0 };

    /// Adds a member at the end.
    ///
    /// # Safety
    /// `member` is in no list.
    unsafe fn append(&mut self, member: *mut u64) {
        // SAFETY: the caller's; the last member is live.
        unsafe {
            if self.last.is_null() {
                self.first = member as u64;
            } else {
                *self.last.add(shared_bin::NEXT) = member as u64;
            }
            self.bytes += swarmrt_term::alloc::off_heap_bytes(member);
        }
        self.last = member;
    }
    /// Puts the members in front of a list.
    ///
    /// # Safety
    /// The members are live.
    unsafe fn put_before(self, list: &mut OffHeap) {
        if self.last.is_null() {
            return;
        }
        // SAFETY: the last member is live.
        unsafe { *self.last.add(shared_bin::NEXT) = list.first };
        list.first = self.first;
        list.bytes += self.bytes;
    }
}

/// Keeps the members of `list` that have moved, in front of the list of the generation that they
/// moved to.
unsafe fn sweep_off_heap(
    list: &mut OffHeap,
    young: &mut OffHeap,
    old: &mut OffHeap,
    old_space: &Range<usize>,
) {
    let (mut to_young, mut to_old) = (Chain::EMPTY, Chain::EMPTY);
    let mut at = list.first;
    while at != 0 {
        let ptr = at as *mut u64;
        // SAFETY: a member of the list; its words after the header are still there when it has
        // moved.
        unsafe {
            at = *ptr.add(shared_bin::NEXT);
            if *ptr & 0b111 == 0 {
                drop(SharedBytes::from_raw(*ptr.add(shared_bin::SHARED)));
                continue;
            }
            let moved = Term::from_raw(*ptr).boxed_ptr();
            if old_space.contains(&(moved as usize)) { &mut to_old } else { &mut to_young }
                .append(moved);
        }
    }
    // SAFETY: they have moved, and are in no list.
    unsafe {
        to_young.put_before(young);
        to_old.put_before(old);
    }
    *list = OffHeap::new();
}

impl Heap {
    /// Whether the next collection is a major one; `forced`: the caller asks for one.
    pub fn is_major_next(&self, forced: bool) -> bool {
        let aged_words = (self.high_water as usize - self.block.start as usize) / 8;
        let old_room = (self.old.end as usize - self.old_top as usize) / 8;
        let has_old_binaries = self.old_off_heap.bytes > self.old_off_heap_bytes_limit;
        forced
            || self.wants_major
            || self.minor_since_major >= self.fullsweep_after
            || aged_words > old_room
            || has_old_binaries
    }

    /// Words that the next collection looks at, and may copy.
    pub fn words_to_collect(&self, forced: bool) -> usize {
        let old_words = if self.is_major_next(forced) { self.old_used_words() } else { 0 };
        self.used_words() + self.fragment_words + old_words
    }

    /// Collects, so that afterwards at least `need` words can be allocated. `roots` are all the
    /// places outside block and stack that hold the process's terms.
    ///
    /// # Safety
    /// `top` and `stop` are current, every stack word is a term, a catch mark or a return address,
    /// and nobody holds a view of a term of this heap.
    ///
    /// Where there is no memory left, the machine ends.
    pub unsafe fn collect(&mut self, need: usize, roots: &mut [&mut [Term]], force_major: bool) {
        // SAFETY: the caller's.
        if let Err(refused) = unsafe { self.try_collect(need, roots, force_major) } {
            refusal::end(refused.words * 8);
        }
    }

    /// As [`Heap::collect`], for callers that can end the process when there is no memory. The heap
    /// is unchanged then.
    ///
    /// # Safety
    /// As for [`Heap::collect`].
    /// # Errors
    /// When there is no memory for the block that is needed.
    pub unsafe fn try_collect(
        &mut self,
        need: usize,
        roots: &mut [&mut [Term]],
        force_major: bool,
    ) -> Result<(), OutOfMemory> {
        self.collections += 1;
        let major = self.is_major_next(force_major);
        // SAFETY: the caller's.
        unsafe {
            if major {
                self.collect_major(need, roots, force_major)?;
            } else {
                self.collect_minor(need, roots)?;
            }
        }
        self.is_collected(major);
        Ok(())
    }

    /// Notes that a collection is over.
    fn is_collected(&mut self, major: bool) {
        self.wants_collection = false;
        self.wants_major = false;
        let limit_min = self.min_bin_vheap_words as usize * 8;
        self.off_heap_bytes_limit = (self.off_heap.bytes * 2).max(limit_min);
        if major {
            self.old_off_heap_bytes_limit = (self.old_off_heap.bytes * 2).max(limit_min);
        }
    }

    /// The block with its hidden part, the old generation, and the fragments, in the order of
    /// addresses.
    #[cfg(any(feature = "stress", debug_assertions))]
    fn areas(&self) -> Vec<Range<usize>> {
        let mut areas = vec![self.block.addresses(), self.old.addresses()];
        let mut at = self.fragments;
        while !at.is_null() {
            // SAFETY: fragments of our list are live.
            let fragment = unsafe { &*at };
            areas.push(fragment.words_at());
            at = fragment.next;
        }
        areas.sort_unstable_by_key(|area| area.start);
        areas
    }

    /// Makes `block`, of which it shows `words`, the block of the process, with the stack copied
    /// into it; the old block is returned.
    ///
    /// # Safety
    /// There is room for the stack above what is in the block already.
    unsafe fn replace_block(&mut self, mut block: Block, words: usize) -> Block {
        let stack_words = self.stack_words();
        block.show(words);
        // SAFETY: the caller's.
        unsafe {
            let stop = block.end.sub(stack_words);
            stop.copy_from_nonoverlapping(self.stop, stack_words);
            self.stop = stop;
        }
        std::mem::replace(&mut self.block, block)
    }

    /// A young generation without anything in it but the stack.
    ///
    /// # Safety
    /// The heap part is empty.
    unsafe fn renew_young(&mut self, words: usize) -> Result<(), OutOfMemory> {
        let block = Block::try_new(words)?;
        // SAFETY: the caller's, and there is room for the stack in the words that are asked for.
        unsafe { self.replace_block(block, words) }.free();
        self.empty_young();
        Ok(())
    }

    unsafe fn forward_roots(&mut self, collector: &mut Collector, roots: &mut [&mut [Term]]) {
        // SAFETY: stack words that are pointers are terms.
        unsafe {
            let mut at = self.stop;
            while at < self.block.end {
                collector.forward(at);
                at = at.add(1);
            }
            for slots in roots.iter_mut() {
                collector.forward_all(slots);
            }
            collector.scan();
        }
    }

    /// Words of the young generation where `occupied` of them are in use after a collection.
    fn young_words(&self, occupied: usize) -> usize {
        let current = self.block.words().max(self.min_heap_words as usize);
        if occupied * 4 > current * 3 {
            return block_words_for(current.max(occupied) + 1);
        }
        if current < BUSY_WORDS_MAX {
            let grows = self.collections.is_multiple_of(BUSY_COLLECTIONS)
                && HEAPS.sum() <= BUSY_TOTAL_BYTES;
            return if grows { block_words_for(current + 1) } else { current };
        }
        // The larger the old generation, the more must die young.
        let of_old = (self.old.words() / 3).min(YOUNG_OF_OLD_WORDS_MAX);
        let least = BUSY_WORDS_MAX.max(self.min_heap_words as usize).max(of_old);
        if occupied * 4 < current && current > least {
            block_words_for((occupied * 3).max(least)).min(current)
        } else {
            current
        }
    }

    unsafe fn collect_minor(
        &mut self,
        need: usize,
        roots: &mut [&mut [Term]],
    ) -> Result<(), OutOfMemory> {
        let aged = self.block.start as usize..self.high_water as usize;
        let fresh_words = (self.top as usize - self.high_water as usize) / 8;
        let stack_and_need = self.stack_words() + need + 2 * SLACK_WORDS;
        let bound = fresh_words + self.fragment_words + stack_and_need;
        let capacity =
            if self.grow_next || bound > LARGE_WORDS { block_words_for(bound) } else { bound };
        let target = Block::try_new(capacity.max(self.young_words(0)))?;
        // SAFETY: the size above bounds what is moved.
        unsafe {
            let (young, old) = (Space::at(target.start), Space::at(self.old_top));
            let mut collector = Collector {
                kept: self.old.addresses().into(),
                aged: aged.into(),
                ..Collector::new(Sources::of(self), self.heap_part(), &target, young, old)
            };
            self.forward_roots(&mut collector, roots);
            let mut list = std::mem::take(&mut self.off_heap);
            let old_space = self.old.start as usize..self.old.end as usize;
            sweep_off_heap(&mut list, &mut self.off_heap, &mut self.old_off_heap, &old_space);
            let occupied = collector.young.top.offset_from_unsigned(target.start) + stack_and_need;
            let words = self.young_words(occupied);
            self.grow_next = words > target.capacity();
            let words = words.min(target.capacity());
            self.replace_block(target, words).free();
            self.top = collector.young.top;
            self.high_water = self.top;
            self.old_top = collector.old.top;
            self.free_fragments();
            if self.block.capacity() > HIDDEN_MAX * words {
                self.fit_young(words, roots);
            }
        }
        self.minor_since_major += 1;
        assert!(self.room_words() >= need, "a collection makes the room that was asked for");
        Ok(())
    }

    /// Moves the young generation, after a collection, to a block of `words` words.
    unsafe fn fit_young(&mut self, words: usize, roots: &mut [&mut [Term]]) {
        // Without memory for another block it stays where it is.
        let Ok(target) = Block::try_new(words) else { return };
        // SAFETY: the block is the only source, and the new one has room for what is live in it.
        unsafe {
            let (young, old) = (Space::at(target.start), Space::at(self.old_top));
            let mut collector = Collector {
                kept: self.old.addresses().into(),
                ..Collector::new(Sources::of(self), self.heap_part(), &target, young, old)
            };
            self.forward_roots(&mut collector, roots);
            let mut list = std::mem::take(&mut self.off_heap);
            sweep_off_heap(&mut list, &mut self.off_heap, &mut self.old_off_heap, &(0..0));
            self.replace_block(target, words).free();
            self.top = collector.young.top;
            self.high_water = self.top;
        }
    }

    unsafe fn collect_major(
        &mut self,
        need: usize,
        roots: &mut [&mut [Term]],
        forced: bool,
    ) -> Result<(), OutOfMemory> {
        let live_bound = self.used_words() + self.old_used_words() + self.fragment_words;
        let young_need = self.stack_words() + need + 2 * SLACK_WORDS;
        let sources = Sources::of(self);
        // SAFETY: the old generation has room for all that can be live; where a block is replaced,
        // the stack fits.
        unsafe {
            // With room for what will be promoted, if there is memory for that.
            let mut target = Block::try_new(live_bound + live_bound / 2 + self.block.words())
                .or_else(|_| Block::try_new(live_bound))?;
            // Everything leaves the block of the young generation, so that it can stay, unless it
            // is too small.
            let heap_part = self.heap_part();
            let old_part = self.old.start as usize..self.old_top as usize;
            let mut from = Block::EMPTY;
            if young_need > self.block.words() {
                let words = block_words_for(young_need * 3 / 2);
                let block = Block::try_new(words).inspect_err(|_| target.free())?;
                from = self.replace_block(block, words);
            }
            let most = if old_part.len() > heap_part.len() { old_part } else { heap_part };
            let (young, old) = (Space::at(self.block.start), Space::at(target.start));
            let mut collector = Collector {
                aged: (0..usize::MAX).into(),
                ..Collector::new(sources, most, &target, young, old)
            };
            self.forward_roots(&mut collector, roots);
            let old_space = target.start as usize..target.end as usize + 1;
            let mut young_list = std::mem::take(&mut self.off_heap);
            let mut old_list = std::mem::take(&mut self.old_off_heap);
            sweep_off_heap(&mut old_list, &mut self.off_heap, &mut self.old_off_heap, &old_space);
            sweep_off_heap(&mut young_list, &mut self.off_heap, &mut self.old_off_heap, &old_space);
            from.free();
            self.old.free();
            self.old = target;
            self.old_top = collector.old.top;
            self.empty_young();
        }
        self.free_fragments();
        self.minor_since_major = 0;
        self.grow_next = false;
        // A process that keeps much needs a young generation in proportion, or it would come back
        // at once.
        let live = self.old_used_words();
        let current = self.block.words();
        let wanted = block_words_for((live / 2 + young_need).max(self.min_heap_words as usize));
        let is_too_large = wanted * 4 < current && (forced || current > BUSY_WORDS_MAX);
        if wanted > current || is_too_large || self.block.capacity() > HIDDEN_MAX * current {
            // SAFETY: the heap part is empty; only the stack moves. Without memory for another
            // block it stays where it is.
            let _ = unsafe {
                self.renew_young(if is_too_large { wanted } else { wanted.max(current) })
            };
        }
        // SAFETY: only the old generation is moved.
        unsafe { self.fit_old(live, roots) };
        assert!(self.room_words() >= need, "a collection makes the room that was asked for");
        Ok(())
    }

    /// The addresses of what is in use of the block, without the stack.
    fn heap_part(&self) -> Range<usize> {
        self.block.start as usize..self.top as usize
    }

    /// Everything has left the heap part of the block: makes it empty.
    fn empty_young(&mut self) {
        self.top = self.block.start;
        self.high_water = self.top;
        if cfg!(feature = "stress") {
            // SAFETY: between the heap and the stack nothing lives.
            unsafe {
                self.top.write_bytes(
                    crate::process_heap::POISON,
                    self.block.words() - self.stack_words(),
                );
            };
        }
    }

    /// Gives the old generation room in proportion to what is live; moves it when its block is far
    /// larger than that or much too small.
    unsafe fn fit_old(&mut self, live: usize, roots: &mut [&mut [Term]]) {
        let wanted = live + live / 2 + self.block.words();
        let capacity = self.old.capacity();
        if capacity >= live + (wanted - live) / 2 && capacity <= HIDDEN_MAX * wanted {
            self.old.show(capacity.min(wanted));
            return;
        }
        // Without memory for another block it stays where it is.
        let Ok(target) = Block::try_new(wanted) else { return };
        // SAFETY: the old generation is the only source, and the new block has room for what is
        // live in it.
        unsafe {
            let old_part = self.old.start as usize..self.old_top as usize;
            let (young, old) = (Space::at(self.block.start), Space::at(target.start));
            let mut collector = Collector {
                kept: self.block.addresses().into(),
                aged: (0..usize::MAX).into(),
                ..Collector::new(Sources::of(self), old_part, &target, young, old)
            };
            self.forward_roots(&mut collector, roots);
            let space = target.start as usize..target.end as usize;
            let mut list = std::mem::take(&mut self.old_off_heap);
            sweep_off_heap(&mut list, &mut self.off_heap, &mut self.old_off_heap, &space);
            self.old.free();
            self.old_top = collector.old.top;
            self.old = target;
        }
    }

    /// Packs all live terms into one block that fits them, with an empty stack above; for
    /// hibernation.
    /// # Safety
    /// As for [`Heap::collect`]; the stack is empty.
    pub unsafe fn collect_to_fit(&mut self, roots: &mut [&mut [Term]]) {
        let bound = self.used_words() + self.old_used_words() + self.fragment_words;
        let room = self.stack_words() + SLACK_WORDS;
        let sources = Sources::of(self);
        // SAFETY: the block has room for all that can be live; everything leaves the others.
        unsafe {
            let heap_part = self.heap_part();
            let mut from = self.replace_block(Block::new(bound + room), bound + room);
            let (young, old) = (Space::at(self.block.start), Space::at(std::ptr::null_mut()));
            let mut collector = Collector::new(sources, heap_part, &self.block, young, old);
            self.forward_roots(&mut collector, roots);
            self.top = collector.young.top;
            self.high_water = self.top;
            for mut list in
                [std::mem::take(&mut self.off_heap), std::mem::take(&mut self.old_off_heap)]
            {
                sweep_off_heap(&mut list, &mut self.off_heap, &mut self.old_off_heap, &(0..0));
            }
            from.free();
            self.old.free();
            self.old_top = std::ptr::null_mut();
            self.free_fragments();
            let live = self.used_words();
            if self.block.capacity() > live + room + live / LIVE_WORDS_PER_SPARE {
                self.fit_young(live + room, roots);
            }
        }
        self.collections += 1;
        self.minor_since_major = 0;
        self.grow_next = false;
        self.is_collected(true);
    }
}
