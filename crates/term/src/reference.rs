//! References of this node: what their numbers say, and the shared memory that some of them hold.
//!
//! A reference may leave the machine as its numbers (in the external format, as text) and come
//! back. It must then mean what it meant before, so whatever a reference stands for is found by its
//! numbers alone:
//!
//! - the low word holds the [kind](RefKind) in its two highest bits;
//! - an alias's and a table's `id` holds the slot of the process or table (see
//!   [`RefValue::with_slot`]);
//! - the memory of a counted reference is in the register of this file under its `id`, until the
//!   last holder drops it.

use crate::alloc::Alloc;
use crate::binary::SharedBytes;
use crate::boxed::LocalRef;
use crate::word::Term;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What a reference of this node stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RefKind {
    Plain = 0,
    /// An alias of the process in the slot that its number holds.
    Alias = 1,
    /// The ETS table in the slot that its number holds.
    Table = 2,
    /// Holds a counted reference to shared memory, which lives as long as some copy of it does.
    Counted = 3,
}

/// Bits of the low word of a reference, as in OTP.
const LOW_BITS: u32 = 18;
/// The kind stands above these bits of the low word.
const KIND_SHIFT: u32 = 16;
/// Bits of a count that an `id` with a slot has room for; the slot stands above them.
const SLOT_SHIFT: u32 = 36;
/// Bits of a slot: as many as OTP's process numbers can have.
pub const SLOT_BITS: u32 = 27;
/// Set in an `id` with a slot, so that it differs from every other `id`.
const SLOT_MARK: u64 = 1 << 63;

const _: () = assert!(SLOT_SHIFT + SLOT_BITS == 63);
const _: () = assert!(KIND_SHIFT + 2 == LOW_BITS);

/// A reference outside any heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefValue {
    /// Unique in the run.
    pub id: u64,
    /// Kind, and 16 bits that differ between neighbours: `erlang:phash2/1` sees the low word only,
    /// as in OTP.
    pub low: u32,
}

impl RefValue {
    fn new(kind: RefKind, id: u64, extra: u64) -> RefValue {
        RefValue { id, low: (kind as u32) << KIND_SHIFT | u32::from((id ^ extra) as u16) }
    }
    /// A reference that stands for itself; `count` < 2^63.
    pub fn plain(count: u64) -> RefValue {
        RefValue::new(RefKind::Plain, count, 0)
    }
    /// A reference that stands for what is in a slot. The `id` holds 36 bits of `count`, the low
    /// word 16 more.
    pub fn with_slot(kind: RefKind, slot: usize, count: u64) -> RefValue {
        debug_assert!(slot < 1 << SLOT_BITS);
        let id = SLOT_MARK | (slot as u64) << SLOT_SHIFT | count & ((1 << SLOT_SHIFT) - 1);
        RefValue::new(kind, id, count >> SLOT_SHIFT)
    }
    /// The numbers of a reference of this node.
    pub fn of(reference: LocalRef) -> RefValue {
        RefValue { id: reference.id(), low: reference.numbers()[0] }
    }
    /// What the reference stands for: the two highest bits of `low`.
    pub fn kind(self) -> RefKind {
        match self.low >> KIND_SHIFT {
            1 => RefKind::Alias,
            2 => RefKind::Table,
            3 => RefKind::Counted,
            _ => RefKind::Plain,
        }
    }
    /// The slot of an alias's process, or of a table.
    pub fn slot(self) -> Option<usize> {
        let has_slot =
            matches!(self.kind(), RefKind::Alias | RefKind::Table) && self.id & SLOT_MARK != 0;
        has_slot.then_some((self.id >> SLOT_SHIFT) as usize & ((1 << SLOT_BITS) - 1))
    }
    /// The reference with these numbers. A counted one gets its shared memory back while some other
    /// holder keeps that alive; else it stands for nothing.
    pub fn to_term<A: Alloc + ?Sized>(self, to: &mut A) -> Term {
        if self.kind() == RefKind::Counted
            && let Some(shared) = find(self.id)
        {
            return to.counted_ref(shared);
        }
        to.local_ref(self.id, self.low)
    }
}

/// A number to count references from: later than all that an earlier run of the machine can have
/// counted, since references are kept in files and none of an earlier run may name anything of this
/// one. `os_time_ns` is nanoseconds since the Unix epoch. Below 2^60.
pub fn first_count(os_time_ns: i64) -> u64 {
    // Microseconds since 2025, and room for 4096 references in each.
    const START_US: u64 = 482_136 * 3_600_000_000;
    let microseconds = (os_time_ns.max(0) as u64 / 1000).saturating_sub(START_US);
    (microseconds & ((1 << 48) - 1)) << 12
}

const SHARDS: usize = 16;
type Shard = HashMap<u64, SharedAddress>;

/// The address of shared memory, which the register does not hold.
pub(crate) struct SharedAddress(pub(crate) u64);

/// Numbered shared memory by its number. An entry is removed under the lock before the memory is
/// freed.
static REGISTER: LazyLock<[Mutex<Shard>; SHARDS]> =
    LazyLock::new(|| std::array::from_fn(|_| Mutex::default()));
static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    AtomicU64::new(first_count(since_epoch.map_or(0, |passed| passed.as_nanos() as i64)))
});

fn shard(number: u64) -> MutexGuard<'static, Shard> {
    REGISTER[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives shared memory a number, by which it is found from now on.
pub(crate) fn register(address: SharedAddress) -> u64 {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    shard(number).insert(number, address);
    number
}

/// Removes memory that no reference holds any more from the register.
pub(crate) fn unregister(number: u64) {
    shard(number).remove(&number);
}

/// The memory with this number; `None` when its last reference was dropped.
pub fn find(number: u64) -> Option<SharedBytes> {
    let shard = shard(number);
    let address = shard.get(&number)?;
    // SAFETY: memory in the register is not freed while we hold the lock.
    unsafe { SharedBytes::if_alive(address.0) }
}

/// The reference that holds this memory.
pub(crate) fn counted(number: u64) -> RefValue {
    RefValue::new(RefKind::Counted, number, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FragmentHeap;

    #[test]
    fn numbers_say_what_a_reference_stands_for() {
        let count = (1 << 52) - 3;
        for (value, kind, slot) in [
            (RefValue::plain(count), RefKind::Plain, None),
            (RefValue::with_slot(RefKind::Alias, 0, count), RefKind::Alias, Some(0)),
            (
                RefValue::with_slot(RefKind::Table, (1 << SLOT_BITS) - 1, count),
                RefKind::Table,
                Some((1 << SLOT_BITS) - 1),
            ),
        ] {
            let mut heap = FragmentHeap::new();
            let reference = value.to_term(&mut heap).as_local_ref().expect("a reference");
            assert_eq!(
                (RefValue::of(reference), reference.ref_kind(), value.slot()),
                (value, kind, slot)
            );
        }
        let (one, other) = (
            RefValue::with_slot(RefKind::Alias, 7, 1),
            RefValue::with_slot(RefKind::Alias, 7, 1 | 1 << SLOT_SHIFT),
        );
        assert_ne!(one, other, "the low word has the rest of the count");
    }

    #[test]
    fn memory_is_found_by_its_number_until_it_is_dropped() {
        let mut heap = FragmentHeap::new();
        let reference =
            heap.counted_ref(SharedBytes::few_zeroed_words(1)).as_local_ref().expect("a reference");
        let value = RefValue::of(reference);
        let cell = &reference.counted_words().expect("memory")[0];
        {
            let mut other = FragmentHeap::new();
            let back = value.to_term(&mut other).as_local_ref().expect("a reference");
            back.counted_words().expect("the same memory")[0].store(17, Ordering::Relaxed);
            assert_eq!(RefValue::of(back), value);
        }
        assert_eq!(cell.load(Ordering::Relaxed), 17);
        drop(heap);
        let mut other = FragmentHeap::new();
        let late = value.to_term(&mut other).as_local_ref().expect("a reference");
        assert!(late.counted_words().is_none() && find(value.id).is_none());
        assert_eq!((RefValue::of(late), late.ref_kind()), (value, RefKind::Counted));
    }
}
