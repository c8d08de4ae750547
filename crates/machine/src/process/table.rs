//! The process table: from a pid's number to the process, without a lock for readers.
//!
//! Pid numbers are handed out in rising order; the slot is the number modulo the table's size, and
//! a number whose slot is taken is passed over. Readers check the number that stands in the
//! process.

use crate::process::{Process, Shared};
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use swarmrt_term::node::pid_bits;
use swarmrt_term::reference::SLOT_BITS;

/// A process with the part that others see, in one allocation.
pub struct ProcessCell {
    pub shared: Shared,
    /// Dropped when the process ends; the cell itself lives on while others may look at the shared
    /// part.
    pub process: UnsafeCell<ManuallyDrop<Process>>,
}

// The allocator's next size is 896.
const _: () = assert!(size_of::<ProcessCell>() <= 768);

const CHUNK: usize = 4096;

/// The processes of a machine by the number of their pid.
pub struct ProcessTable {
    chunks: Box<[AtomicPtr<[AtomicPtr<ProcessCell>; CHUNK]>]>,
    limit: usize,
    /// A multiple of [`CHUNK`].
    slots: usize,
    count: AtomicUsize,
    next: Mutex<u64>,
}

impl Drop for ProcessTable {
    fn drop(&mut self) {
        self.clear();
        for chunk in &mut self.chunks {
            let chunk = std::mem::replace(chunk.get_mut(), std::ptr::null_mut());
            if !chunk.is_null() {
                // SAFETY: made by a box; the table is the only one that has it.
                drop(unsafe { Box::from_raw(chunk) });
            }
        }
    }
}

impl ProcessTable {
    pub(crate) fn new(limit: usize) -> ProcessTable {
        // A power of two, as in OTP.
        let limit = limit.next_power_of_two().min(1 << SLOT_BITS);
        let slots = limit.next_multiple_of(CHUNK);
        let chunks = (0..slots / CHUNK).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect();
        ProcessTable { chunks, limit, slots, count: AtomicUsize::new(0), next: Mutex::new(0) }
    }
    /// Processes that there can be at a time: `+P` rounded up to a power of two.
    pub fn limit(&self) -> usize {
        self.limit
    }
    /// Processes that there are, those that are ending included.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    #[inline]
    fn slot(&self, id: u64) -> Option<&AtomicPtr<ProcessCell>> {
        let at = self.slot_of(id);
        let chunk = self.chunks[at / CHUNK].load(Ordering::Acquire);
        // SAFETY: chunks are freed with the table.
        if chunk.is_null() { None } else { Some(unsafe { &(*chunk)[at % CHUNK] }) }
    }

    /// The cell of a living process. Valid until the caller's epoch guard is dropped: every thread
    /// of the machine that calls this is pinned.
    #[inline]
    pub fn get(&self, id: u64) -> Option<&ProcessCell> {
        let cell = self.slot(id)?.load(Ordering::Acquire);
        // SAFETY: cells are freed only after all guards that could have seen them are gone.
        let cell = unsafe { cell.as_ref() }?;
        (cell.shared.id == id).then_some(cell)
    }

    /// The slot of the process with this number.
    pub fn slot_of(&self, id: u64) -> usize {
        id as usize % self.slots
    }
    /// The living process in a slot; valid as with [`get`](Self::get).
    pub fn in_slot(&self, slot: usize) -> Option<&ProcessCell> {
        if slot >= self.slots {
            return None;
        }
        // SAFETY: cells are freed only after all guards that could have seen them are gone.
        unsafe { self.slot(slot as u64)?.load(Ordering::Acquire).as_ref() }
    }

    /// Gives a number to a new process and publishes it; `make` builds the cell for the number.
    pub(crate) fn insert(
        &self,
        make: impl FnOnce(u64) -> Box<ProcessCell>,
    ) -> Option<&ProcessCell> {
        let mut next = self.next.lock();
        if self.count() >= self.limit {
            return None;
        }
        let bits = pid_bits();
        loop {
            let id = *next;
            *next = (id + 1) & ((1 << bits) - 1);
            let at = id as usize % self.slots;
            let mut chunk = self.chunks[at / CHUNK].load(Ordering::Acquire);
            if chunk.is_null() {
                let made = Box::new([const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNK]);
                chunk = Box::into_raw(made);
                self.chunks[at / CHUNK].store(chunk, Ordering::Release);
            }
            // SAFETY: chunks are freed with the table.
            let slot = unsafe { &(*chunk)[at % CHUNK] };
            if !slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let cell = Box::into_raw(make(id));
            slot.store(cell, Ordering::Release);
            self.count.fetch_add(1, Ordering::Relaxed);
            // SAFETY: just published; it lives at least until it is removed.
            return Some(unsafe { &*cell });
        }
    }

    /// The number that the next process gets, which is the first that is free from `from` on, if
    /// that is given: for tests of what happens when numbers begin anew.
    pub fn next_number(&self, from: Option<u64>) -> u64 {
        let mut next = self.next.lock();
        let mask = (1 << pid_bits()) - 1;
        let mut free = from.unwrap_or(*next) & mask;
        while self.slot(free).is_some_and(|slot| !slot.load(Ordering::Relaxed).is_null()) {
            free = (free + 1) & mask;
        }
        if from.is_some() {
            *next = free;
        }
        free
    }

    /// Takes a process out that has ended. Its memory is freed at once: garbage of other threads
    /// waits until there is enough of it, and a dead process may have held much. The cell is freed
    /// when no thread can be looking at it any more.
    ///
    /// # Safety
    /// The caller runs the process, and does not touch it afterwards.
    pub(crate) unsafe fn remove(&self, id: u64, guard: &crossbeam_epoch::Guard) {
        let cell = self.withdraw(id);
        // SAFETY: the caller's; the cell of a process is in the table until it is withdrawn, once.
        unsafe { self.free(&*cell, guard) };
    }

    /// Takes a process out of the table that has ended; [`free`](Self::free) is left to do.
    pub(crate) fn withdraw(&self, id: u64) -> *mut ProcessCell {
        let slot = self.slot(id).expect("a process has a slot");
        self.count.fetch_sub(1, Ordering::Relaxed);
        slot.swap(std::ptr::null_mut(), Ordering::AcqRel)
    }

    /// Frees a process that was withdrawn.
    ///
    /// # Safety
    /// The caller ran the process, and touches neither it nor its cell afterwards.
    pub(crate) unsafe fn free(&self, cell: &ProcessCell, guard: &crossbeam_epoch::Guard) {
        // SAFETY: only the thread that runs a process looks at this part, and that was the caller.
        unsafe { ManuallyDrop::drop(&mut *cell.process.get()) };
        let address = std::ptr::from_ref(cell) as usize;
        // SAFETY: the cell is out of the table; guards that saw it delay this.
        unsafe { guard.defer_unchecked(move || drop(Box::from_raw(address as *mut ProcessCell))) };
    }

    /// Frees all processes, which nobody runs any more and nobody looks at.
    pub(crate) fn clear(&mut self) {
        for id in self.ids() {
            let cell = self.withdraw(id);
            // SAFETY: it was made by a box, and is in the table once; the caller's for the rest.
            unsafe {
                ManuallyDrop::drop((*cell).process.get_mut());
                drop(Box::from_raw(cell));
            }
        }
    }

    /// All processes' numbers, lowest first, those that are ending included.
    pub fn ids(&self) -> Vec<u64> {
        self.ids_of(|_| true)
    }

    /// The numbers of the processes that `wanted` says, lowest first.
    pub fn ids_of(&self, wanted: impl Fn(&Shared) -> bool) -> Vec<u64> {
        let mut ids = Vec::with_capacity(self.count());
        for chunk in &self.chunks {
            let chunk = chunk.load(Ordering::Acquire);
            if chunk.is_null() {
                continue;
            }
            // SAFETY: chunks are freed with the table, cells not while we are pinned.
            for slot in unsafe { &*chunk } {
                if let Some(cell) = unsafe { slot.load(Ordering::Acquire).as_ref() }
                    && wanted(&cell.shared)
                {
                    ids.push(cell.shared.id);
                }
            }
        }
        ids.sort_unstable();
        ids
    }

    /// Chunks of the table, and how many of them have been used: [`ids`](Self::ids) looks at their
    /// slots only.
    pub fn chunks(&self) -> Chunks {
        let used = self.chunks.iter().filter(|chunk| !chunk.load(Ordering::Relaxed).is_null());
        let used = used.count();
        Chunks { all: self.chunks.len(), used, slots: CHUNK }
    }
}

/// How the table is divided.
pub struct Chunks {
    pub all: usize,
    pub used: usize,
    /// In each.
    pub slots: usize,
}
