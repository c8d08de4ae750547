//! The literal area: constants of loaded modules and persistent terms, in one reserved range of
//! addresses, so that the collector knows them by one comparison.

use crate::pages::give_back_pages;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::refusal;
use swarmrt_term::usage::LITERALS;
use swarmrt_term::{Alloc, Term};

/// The bytes that are reserved, where there is room for them; else it is fewer.
pub const LITERAL_BYTES_MAX: usize = 8 << 30;
const RESERVED_BYTES_MIN: usize = 32 << 20;
/// Memory is made accessible in steps of this size.
const STEP_BYTES: usize = 1 << 20;
/// Free stretches from this size on give their memory back to the operating system.
const GIVEN_BACK_BYTES_MIN: usize = 256 << 10;

struct Region {
    base: usize,
    reserved_bytes: usize,
    state: Mutex<RegionState>,
}
struct RegionState {
    top: usize,
    accessible: usize,
    /// Freed stretches: address and size in bytes. No two of them touch.
    free: BTreeMap<usize, usize>,
}

static REGION: OnceLock<Region> = OnceLock::new();

fn region() -> &'static Region {
    REGION.get_or_init(|| {
        let mut reserved_bytes = wanted_bytes();
        let base = loop {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: an anonymous mapping that nobody else knows of.
            let base = unsafe {
                libc::mmap(std::ptr::null_mut(), reserved_bytes, libc::PROT_NONE, flags, -1, 0)
            };
            if base != libc::MAP_FAILED {
                break base;
            }
            assert!(
                reserved_bytes > RESERVED_BYTES_MIN,
                "cannot reserve address space for literals"
            );
            reserved_bytes /= 2;
        };
        Region {
            base: base as usize,
            reserved_bytes,
            state: Mutex::new(RegionState { top: 0, accessible: 0, free: BTreeMap::new() }),
        }
    })
}

/// The addresses at which literals live.
#[inline]
pub fn literal_range() -> Range<usize> {
    let region = region();
    region.base..region.base + region.reserved_bytes
}

/// A quarter of the address space that the process may have.
fn wanted_bytes() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it fills in the structure that it is given.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0
        && limit.rlim_cur != libc::RLIM_INFINITY;
    if !known {
        return LITERAL_BYTES_MAX;
    }
    let bytes = usize::try_from(limit.rlim_cur / 4)
        .unwrap_or(LITERAL_BYTES_MAX)
        .next_multiple_of(STEP_BYTES);
    bytes.clamp(RESERVED_BYTES_MIN, LITERAL_BYTES_MAX)
}

/// Whether the term points into the region of literals, of whatever machine.
#[inline]
pub fn is_literal(term: Term) -> bool {
    term.is_pointer() && literal_range().contains(&(term.raw() as usize))
}

impl Region {
    fn take(&self, bytes: usize) -> usize {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, size)) =
            state.free.iter().find(|&(_, &size)| size >= bytes).map(|(&at, &size)| (at, size))
        {
            state.free.remove(&at);
            if size > bytes {
                state.free.insert(at + bytes, size - bytes);
            }
            return at;
        }
        let at = self.base + state.top;
        state.top += bytes;
        if state.top > self.reserved_bytes {
            refusal::end(bytes);
        }
        if state.top > state.accessible {
            let more = (state.top - state.accessible).next_multiple_of(STEP_BYTES);
            // SAFETY: within the reserved range.
            let result = unsafe {
                libc::mprotect(
                    (self.base + state.accessible) as *mut _,
                    more,
                    libc::PROT_READ | libc::PROT_WRITE,
                )
            };
            if result != 0 {
                refusal::end(bytes);
            }
            state.accessible += more;
        }
        at
    }
    fn give_back(&self, at: usize, bytes: usize) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut start, mut end) = (at, at + bytes);
        if let Some((&before, &size)) = state.free.range(..at).next_back()
            && before + size == at
        {
            state.free.remove(&before);
            start = before;
        }
        if let Some(size) = state.free.remove(&end) {
            end += size;
        }
        state.free.insert(start, end - start);
        if end - start >= GIVEN_BACK_BYTES_MIN {
            // SAFETY: the stretch is free.
            unsafe { give_back_pages(start..end) };
        }
    }
}

/// Literals that are about to be freed: each process that still refers to them takes copies.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Sorted by address; no two overlap.
    ranges: Vec<Range<usize>>,
    /// From the first to the last of them.
    span: Range<usize>,
}

impl Leaving {
    /// The literals at these addresses; the ranges must not overlap.
    pub fn new(mut ranges: Vec<Range<usize>>) -> Leaving {
        ranges.sort_by_key(|range| range.start);
        let span =
            ranges.first().map_or(0, |first| first.start)..ranges.last().map_or(0, |last| last.end);
        Leaving { ranges, span }
    }
    /// Whether no literal is leaving.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
    /// Whether a literal that is leaving has this address.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.span.contains(&address) && self.is_within(address)
    }
    fn is_within(&self, address: usize) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= address);
        after > 0 && address < self.ranges[after - 1].end
    }
    /// Whether one of the words lies between the first and the last of the ranges.
    #[inline]
    pub(crate) fn spans_any(&self, words: &[u64]) -> bool {
        let (start, length) = (self.span.start as u64, self.span.len() as u64);
        words.iter().fold(false, |any, &word| any | (word.wrapping_sub(start) < length))
    }
    /// Whether a word looks like a pointer at one of the literals. A raw word, which is no term,
    /// may look like one too.
    #[inline]
    pub fn may_hold(&self, word: u64) -> bool {
        // SAFETY: only the tag is looked at.
        self.span.contains(&(word as usize))
            && unsafe { Term::from_raw(word) }.is_pointer()
            && self.is_within(word as usize)
    }
}

/// What is leaving at the moment, for copies made meanwhile.
struct AllLeaving {
    of_machines: Vec<Arc<Leaving>>,
    together: Option<Arc<Leaving>>,
}

static LEAVING: Mutex<AllLeaving> =
    Mutex::new(AllLeaving { of_machines: Vec::new(), together: None });
static ANY_LEAVING: AtomicBool = AtomicBool::new(false);

/// From now on, copies of terms share no literal of these.
pub fn begin_leaving(leaving: Arc<Leaving>) {
    change_leaving(|all| all.push(leaving));
}

/// Undoes [`begin_leaving`], given the same value.
pub fn end_leaving(leaving: &Arc<Leaving>) {
    change_leaving(|all| all.retain(|other| !Arc::ptr_eq(other, leaving)));
}

fn change_leaving(change: impl FnOnce(&mut Vec<Arc<Leaving>>)) {
    let mut slot = LEAVING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    change(&mut slot.of_machines);
    let together = match slot.of_machines.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(Arc::new(Leaving::new(
            several.iter().flat_map(|of| of.ranges.iter().cloned()).collect(),
        ))),
    };
    ANY_LEAVING.store(together.is_some(), Ordering::SeqCst);
    slot.together = together;
}

#[inline]
pub(crate) fn leaving() -> Option<Arc<Leaving>> {
    if !ANY_LEAVING.load(Ordering::Acquire) {
        return None;
    }
    LEAVING.lock().unwrap_or_else(std::sync::PoisonError::into_inner).together.clone()
}

/// Literals that are made and freed together: those of one module, or one persistent term.
pub struct LiteralArea {
    pieces: Vec<(usize, usize)>,
    top: usize,
    end: usize,
    off_heap: OffHeap,
    /// Words handed out.
    words: usize,
}

// SAFETY: an area owns its words; literals are immutable.
unsafe impl Send for LiteralArea {}
// SAFETY: an area owns its words; literals are immutable.
unsafe impl Sync for LiteralArea {}

impl LiteralArea {
    /// An area without memory; the first allocation takes some from the region.
    pub const fn new() -> LiteralArea {
        LiteralArea { pieces: Vec::new(), top: 0, end: 0, off_heap: OffHeap::new(), words: 0 }
    }
    /// Words handed out.
    pub fn words(&self) -> usize {
        self.words
    }
    /// Whether the term's first word is in this area.
    pub fn contains(&self, term: Term) -> bool {
        let address = term.raw() as usize;
        term.is_pointer()
            && self.pieces.iter().any(|&(at, bytes)| (at..at + bytes).contains(&address))
    }
    /// Piece and byte offset of a pointer into the area, both from 0; `None` when it points
    /// elsewhere. The place is the same in every area that was filled by the same allocations.
    pub fn place_of(&self, pointer: u64) -> Option<(u32, u32)> {
        let address = pointer as usize;
        let piece =
            self.pieces.iter().position(|&(at, bytes)| (at..at + bytes).contains(&address))?;
        Some((piece as u32, (address - self.pieces[piece].0) as u32))
    }
    /// The address at a place that [`LiteralArea::place_of`] gave; `None` when the area has no such
    /// place.
    pub fn at_place(&self, piece: u32, offset: u32) -> Option<u64> {
        let &(at, bytes) = self.pieces.get(piece as usize)?;
        ((offset as usize) < bytes).then_some((at + offset as usize) as u64)
    }
    /// The addresses of the area's pieces, in the order of allocation.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.pieces.iter().map(|&(at, bytes)| at..at + bytes)
    }
    /// A copy of `term` in this area (all of it: literals of other areas too), which shares within
    /// itself what `term` shares.
    pub fn copy_in(&mut self, term: Term) -> Term {
        crate::copy::copy_with_sharing(term, self)
    }
}

impl Default for LiteralArea {
    fn default() -> Self {
        Self::new()
    }
}

impl Alloc for LiteralArea {
    fn alloc(&mut self, words: usize) -> *mut u64 {
        let bytes = words * 8;
        if self.end - self.top < bytes {
            let piece = bytes.max((self.words * 8).clamp(256, 1 << 16)).next_multiple_of(64);
            self.top = region().take(piece);
            self.end = self.top + piece;
            self.pieces.push((self.top, piece));
            LITERALS.add(piece);
        }
        let at = self.top;
        self.top += bytes;
        self.words += words;
        at as *mut u64
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        &mut self.off_heap
    }
}

impl Drop for LiteralArea {
    fn drop(&mut self) {
        // SAFETY: whoever drops the area has made sure that nothing points into it.
        unsafe { self.off_heap.release() }
        for &(at, bytes) in &self.pieces {
            if cfg!(feature = "stress") {
                // SAFETY: the piece is ours, and nobody reads it any more.
                unsafe { (at as *mut u8).write_bytes(crate::process_heap::POISON, bytes) };
            }
            region().give_back(at, bytes);
            LITERALS.subtract(bytes);
        }
    }
}
