//! A table, and the register of all tables.
//!
//! Tables are found by name or by the reference that `ets:new/2` returned, without a lock that
//! writers of other tables hold. A table that is deleted is freed when nobody can be looking at it
//! any more. Its objects are [`Garbage`]: who deletes them frees them in its turns, because there may
//! be many.

use super::garbage::Garbage;
use super::hash::{Change, Duplicates, HashTable, part_of};
use super::object::{Head, OwnedTerm};
use super::ordered::OrderedTable;
use crossbeam_epoch::Guard;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::{BifExit, Process, Vm};
use swarmrt_term::reference::SLOT_BITS;
use swarmrt_term::usage::TABLES;
use swarmrt_term::{Alloc, Atom, AtomMap, RefKind, Release, Term, am, atom};

/// The type of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    Set,
    OrderedSet,
    Bag,
    DuplicateBag,
}

impl TableKind {
    /// The type's name, as `ets:new/2` takes it.
    pub fn atom(self) -> Atom {
        match self {
            TableKind::Set => am::SET,
            TableKind::OrderedSet => am::ORDERED_SET,
            TableKind::Bag => am::BAG,
            TableKind::DuplicateBag => am::DUPLICATE_BAG,
        }
    }
}

/// Who but the owner may read and write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Protection {
    Private = 0,
    Protected = 1,
    Public = 2,
}

impl Protection {
    /// The name, as `ets:new/2` takes it.
    pub fn atom(self) -> Atom {
        [am::PRIVATE, am::PROTECTED, am::PUBLIC][self as usize]
    }
    /// The protection with this name.
    pub fn of(atom: Atom) -> Option<Protection> {
        [Protection::Private, Protection::Protected, Protection::Public]
            .into_iter()
            .find(|protection| protection.atom() == atom)
    }
}

/// What a caller wants to do with a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
}

/// Who gets the table when its owner ends, and with which word.
pub struct Heir {
    pub pid: u64,
    /// What it is told when it gets the table; without, it is not told.
    pub data: Option<OwnedTerm>,
    /// The process has ended: `ets:info/2` goes on naming it, as in OTP.
    pub ended: bool,
}

impl Heir {
    /// Of `{heir, Pid, Data}`, and of `{heir, Pid}` from OTP 28 on.
    pub fn new(vm: &Vm, pid: Term, data: Option<Term>) -> Result<Heir, BifExit> {
        if data.is_none() && vm.release() < Release::R28 {
            return Err(BifExit::BADARG);
        }
        let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
        Ok(Heir { pid, data: data.map(OwnedTerm::new), ended: false })
    }
}

/// The objects of a table: hashed in one part or in [`SHARDS`], or ordered. Each part has a lock.
pub enum Storage {
    Hash(Box<[RwLock<HashTable>]>),
    Ordered(RwLock<OrderedTable>),
}

/// Parts of a hash table that is made for concurrent writers: OTP's number of locks, which shows in
/// the order of objects.
const SHARDS: usize = 64;
// Sets of parts are words.
const _: () = assert!(SHARDS <= u64::BITS as usize);

/// How many may write at a time, as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WriteConcurrency {
    #[default]
    Off,
    On,
    Auto,
    /// OTP's test suite asks for a certain number of locks.
    Locks(u32),
}

/// Options of `ets:new/2` that do not change what a table does, as `ets:info/2` shows them.
#[derive(Clone, Copy, Default)]
pub struct Tuning {
    pub read_concurrency: bool,
    pub write_concurrency: WriteConcurrency,
    /// `None`: as the rest suggests.
    pub decentralized_counters: Option<bool>,
    pub compressed: bool,
}

impl Tuning {
    /// The settings that have an effect on such a table: a private one has a single writer.
    fn of(self, kind: TableKind, protection: Protection) -> Tuning {
        let write_concurrency = if protection == Protection::Private {
            WriteConcurrency::Off
        } else {
            self.write_concurrency
        };
        let usual = match write_concurrency {
            WriteConcurrency::Off => false,
            WriteConcurrency::On => kind == TableKind::OrderedSet,
            WriteConcurrency::Auto | WriteConcurrency::Locks(_) => true,
        };
        let decentralized = write_concurrency != WriteConcurrency::Off
            && self.decentralized_counters.unwrap_or(usual);
        Tuning { write_concurrency, decentralized_counters: Some(decentralized), ..self }
    }
}

/// Who keeps the table from moving its objects, how often, and since when.
#[derive(Default)]
pub struct Fixes {
    pub since_monotonic_ns: i64,
    pub by: HashMap<u64, usize>,
}

/// A table. A deleted one stays until no process can be looking at it any more.
pub struct Table {
    pub reference: RefValue,
    slot: u32,
    name: AtomicU32,
    pub named: bool,
    pub kind: TableKind,
    protection: AtomicU8,
    /// Counted from 0.
    pub keypos: usize,
    owner: AtomicU64,
    pub heir: Mutex<Option<Heir>>,
    pub storage: Storage,
    pub tuning: Tuning,
    objects: AtomicIsize,
    words: AtomicIsize,
    pub fixes: Mutex<Fixes>,
    fixed: AtomicUsize,
    /// Deleted, but still in somebody's hands.
    dead: AtomicBool,
}

/// Words that a table takes without objects, as OTP has it.
const BASE_WORDS_HASH: isize = 305;
const BASE_WORDS_ORDERED: isize = 133;
/// Words in whose steps a table is counted among all (64 KiB).
const STEP_WORDS: isize = 1 << 13;

impl Table {
    /// The name that it was made with or renamed to, whether it is a [`named`](Self::named) table
    /// or not.
    pub fn name(&self) -> Atom {
        Atom::from_index(self.name.load(Ordering::Relaxed))
    }
    /// The pid of the owner, as a number.
    pub fn owner(&self) -> u64 {
        self.owner.load(Ordering::Relaxed)
    }
    /// Who may read and write.
    pub fn protection(&self) -> Protection {
        [Protection::Private, Protection::Protected, Protection::Public]
            [usize::from(self.protection.load(Ordering::Relaxed))]
    }
    /// Changes who may read and write.
    pub fn set_protection(&self, protection: Protection) {
        self.protection.store(protection as u8, Ordering::Relaxed);
    }
    /// Objects in the table. Concurrent writers may have changed more than they have counted.
    pub fn len(&self) -> usize {
        self.objects.load(Ordering::Relaxed).max(0) as usize
    }
    /// Words of memory, as OTP counts them for `ets:info(Table, memory)`.
    pub fn words(&self) -> usize {
        let base =
            if self.kind == TableKind::OrderedSet { BASE_WORDS_ORDERED } else { BASE_WORDS_HASH };
        (base + self.words.load(Ordering::Relaxed)).max(0) as usize
    }
    /// Whether objects have to stay where they are. Writers ask when they have the lock of the part
    /// that they change: who takes the last fixation back clears the parts under these locks.
    pub fn is_fixed(&self) -> bool {
        self.fixed.load(Ordering::Acquire) > 0
    }
    /// Whether the table is deleted, though a process may still hold it.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
    /// Adds a change to the counts of objects and words.
    pub fn count(&self, change: Change) {
        if change.objects != 0 {
            self.objects.fetch_add(change.objects, Ordering::Relaxed);
        }
        if change.words != 0 {
            let before = self.words.fetch_add(change.words, Ordering::Relaxed);
            Self::tally(before, before + change.words);
        }
    }
    /// Tells the tally of all tables when a table's words have come into another step.
    fn tally(before: isize, now: isize) {
        let steps = now / STEP_WORDS - before / STEP_WORDS;
        if steps != 0 {
            TABLES.change((steps * STEP_WORDS) as i64 * 8);
        }
    }

    /// A process has ended, and inherits nothing any more.
    pub fn heir_ended(&self, pid: u64) {
        if let Some(heir) = self.heir.lock().as_mut().filter(|heir| heir.pid == pid) {
            heir.ended = true;
        }
    }

    /// Visits the objects, until `visit` fails. Writers wait meanwhile.
    pub fn each_object<E>(&self, mut visit: impl FnMut(Term) -> Result<(), E>) -> Result<(), E> {
        let mut visit = |head: &Head| if head.is_deleted() { Ok(()) } else { visit(head.term()) };
        match &self.storage {
            Storage::Hash(shards) => {
                shards.iter().try_for_each(|shard| shard.read().objects().try_for_each(&mut visit))
            }
            Storage::Ordered(tree) => tree.read().objects().try_for_each(&mut visit),
        }
    }

    /// What programs call the table: its name or its reference.
    pub fn id(&self, heap: &mut impl Alloc) -> Term {
        if self.named { Term::atom(self.name()) } else { self.reference.to_term(heap) }
    }

    /// The part of a hash table where keys of this hash are.
    pub fn shard(shards: &[RwLock<HashTable>], hash: u32) -> &RwLock<HashTable> {
        &shards[part_of(hash, shards.len())]
    }

    /// Empties the table, at once as far as others can see; how many objects it had.
    pub fn clear(&self) -> (usize, Garbage) {
        let mut garbage = Garbage::default();
        let objects = match &self.storage {
            Storage::Hash(shards) => {
                let mut locked: Vec<_> = shards.iter().map(RwLock::write).collect();
                Self::tally(self.words.swap(0, Ordering::Relaxed), 0);
                let objects = locked.iter().map(|shard| shard.len()).sum::<usize>();
                for shard in &mut locked {
                    if self.is_fixed() {
                        garbage.marked(shard.len());
                        mark_all(shard);
                    } else {
                        garbage.push_hash(shard.take_all());
                    }
                }
                objects
            }
            Storage::Ordered(tree) => {
                let mut tree = tree.write();
                Self::tally(self.words.swap(0, Ordering::Relaxed), 0);
                let objects = tree.len();
                garbage.push_ordered(tree.take_all());
                objects
            }
        };
        self.count(Change { objects: -(objects as isize), words: 0 });
        (objects, garbage)
    }

    /// Keeps objects where they are for the process. Whether it did not before.
    pub fn fix(&self, pid: u64, now_ns: i64) -> bool {
        let mut fixes = self.fixes.lock();
        if fixes.by.is_empty() {
            fixes.since_monotonic_ns = now_ns;
        }
        let count = fixes.by.entry(pid).or_default();
        *count += 1;
        self.fixed.fetch_add(1, Ordering::AcqRel);
        *count == 1
    }

    /// Takes one fixation of the process back, or all. Whether that was its last.
    pub fn unfix(&self, pid: u64, all: bool) -> bool {
        let (last, gone) = {
            let mut fixes = self.fixes.lock();
            let Some(count) = fixes.by.get_mut(&pid) else { return false };
            let taken = if all { *count } else { 1 };
            *count -= taken;
            let last = *count == 0;
            if last {
                fixes.by.remove(&pid);
            }
            (last, self.fixed.fetch_sub(taken, Ordering::AcqRel) == taken)
        };
        if gone && let Storage::Hash(shards) = &self.storage {
            for shard in shards {
                let mut shard = shard.write();
                // A process that fixes the table meanwhile may be walking over objects that are
                // marked as deleted: they stay.
                if self.is_fixed() {
                    break;
                }
                shard.unfix();
            }
        }
        last
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        Self::tally(*self.words.get_mut(), 0);
    }
}

/// Marks all objects of a fixed table as deleted, so that those who walk through it keep their
/// place.
fn mark_all(shard: &mut HashTable) {
    for bucket in 0..shard.buckets() {
        shard.visit_bucket(bucket, true, |_| super::hash::Verdict::Delete);
    }
}

/// What is asked for when a table is made.
pub struct NewTable {
    pub name: Atom,
    pub named: bool,
    pub kind: TableKind,
    pub protection: Protection,
    pub keypos: usize,
    pub heir: Option<Heir>,
    pub tuning: Tuning,
}

/// Whether a process is there and does not end. Who has given it a table asks this afterwards: it
/// may have looked for its tables before.
pub fn is_alive(vm: &Vm, pid: u64) -> bool {
    vm.processes.get(pid).is_some_and(|cell| !cell.shared.is_ending())
}

const CHUNK: usize = 1024;
const CHUNKS: usize = 4096;
/// Tables that there can be at a time.
pub const TABLES_MAX: usize = CHUNK * CHUNKS;

type Slots = [AtomicPtr<Table>; CHUNK];

/// The slots of each process's tables.
type TablesOf = HashMap<u64, Vec<u32>>;

/// All tables of the machine.
pub struct Register {
    chunks: Box<[AtomicPtr<Slots>]>,
    /// Slots that are free, and the first that was never used.
    free: Mutex<(Vec<u32>, u32)>,
    names: RwLock<AtomMap<u32>>,
    /// The slots in which tables were last found by names, by the names' indexes modulo the length:
    /// most lookups need no lock then.
    hints: Box<[AtomicU32]>,
    /// Tables that each process owns or fixes.
    held: Box<[Mutex<TablesOf>]>,
}

const HELD_PARTS: usize = 64;
const HINTS: usize = 256;

impl Default for Register {
    fn default() -> Self {
        Register {
            chunks: (0..CHUNKS).map(|_| AtomicPtr::default()).collect(),
            free: Mutex::default(),
            names: RwLock::default(),
            hints: (0..HINTS).map(|_| AtomicU32::default()).collect(),
            held: (0..HELD_PARTS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        for chunk in &mut self.chunks {
            let chunk = std::mem::replace(chunk.get_mut(), std::ptr::null_mut());
            if chunk.is_null() {
                continue;
            }
            // SAFETY: made by a box, as the tables in it; the register alone has them.
            let tables = unsafe { Box::from_raw(chunk) };
            for mut table in *tables {
                let table = std::mem::replace(table.get_mut(), std::ptr::null_mut());
                if !table.is_null() {
                    // SAFETY: made by a box, and the register alone has it.
                    drop(unsafe { Box::from_raw(table) });
                }
            }
        }
    }
}

const _: () = assert!(TABLES_MAX <= 1 << SLOT_BITS);

impl Register {
    fn slot(&self, slot: u32) -> Option<&AtomicPtr<Table>> {
        let chunk = self.chunks.get(slot as usize / CHUNK)?.load(Ordering::Acquire);
        // SAFETY: chunks are freed with the register.
        if chunk.is_null() { None } else { Some(unsafe { &(*chunk)[slot as usize % CHUNK] }) }
    }

    /// The table in a slot, deleted or not.
    pub fn at<'g>(&self, slot: u32, _guard: &'g Guard) -> Option<&'g Table> {
        // SAFETY: tables are freed only after all guards that could have seen them are gone.
        unsafe { self.slot(slot)?.load(Ordering::Acquire).as_ref() }
    }

    /// The table of this name that is not deleted.
    fn named<'g>(&self, name: Atom, guard: &'g Guard) -> Option<&'g Table> {
        // A slot may have been taken again since it was found.
        let has_name = |table: &&Table| table.named && table.name() == name && !table.is_dead();
        let hint = &self.hints[name.index() as usize % HINTS];
        self.at(hint.load(Ordering::Relaxed), guard).filter(has_name).or_else(|| {
            let slot = *self.names.read().get(&name)?;
            hint.store(slot, Ordering::Relaxed);
            self.at(slot, guard).filter(has_name)
        })
    }

    /// The table that a program means.
    pub fn find<'g>(&self, id: Term, guard: &'g Guard) -> Option<&'g Table> {
        if let Some(name) = id.as_atom() {
            return self.named(name, guard);
        }
        let reference = id.as_local_ref()?;
        let reference = RefValue::of(reference);
        if reference.kind() != RefKind::Table {
            return None;
        }
        let slot = reference.slot().filter(|&slot| slot < TABLES_MAX)?;
        self.at(slot as u32, guard).filter(|table| table.reference == reference)
    }

    /// The table that a program names, if the process may access it so.
    ///
    /// # Errors
    /// `badarg` with the cause `id`, `type` or `access`: there is no such table, `id` is no
    /// identifier, or the process may not.
    pub fn table<'g>(
        &self,
        p: &Process,
        id: Term,
        access: Access,
        guard: &'g Guard,
    ) -> Result<&'g Table, BifExit> {
        let Some(table) = self.find(id, guard).filter(|table| !table.is_dead()) else {
            let known = id.is_atom()
                || id
                    .as_local_ref()
                    .is_some_and(|reference| reference.ref_kind() == RefKind::Table);
            return Err(BifExit::Caused(if known { atom!("id") } else { atom!("type") }));
        };
        let allowed = match access {
            Access::Read => table.protection() != Protection::Private,
            Access::Write => table.protection() == Protection::Public,
        };
        if allowed || table.owner() == p.id() {
            Ok(table)
        } else {
            Err(BifExit::Caused(atom!("access")))
        }
    }

    /// All tables that are not deleted.
    pub fn all<'g>(&self, guard: &'g Guard) -> Vec<&'g Table> {
        let end = self.free.lock().1;
        (0..end).filter_map(|slot| self.at(slot, guard)).filter(|table| !table.is_dead()).collect()
    }

    /// Makes a table; `Err` when the name is taken or there are too many.
    pub fn create<'g>(
        &self,
        p: &Process,
        wanted: NewTable,
        guard: &'g Guard,
    ) -> Result<&'g Table, BifExit> {
        let mut names = wanted.named.then(|| self.names.write());
        if names.as_ref().is_some_and(|names| names.contains_key(&wanted.name)) {
            return Err(BifExit::Caused(atom!("already_exists")));
        }
        let slot = {
            let mut free = self.free.lock();
            match free.0.pop() {
                Some(slot) => slot,
                None if free.1 as usize == TABLES_MAX => return Err(BifExit::SYSTEM_LIMIT),
                None => {
                    free.1 += 1;
                    free.1 - 1
                }
            }
        };
        let chunk = &self.chunks[slot as usize / CHUNK];
        if chunk.load(Ordering::Acquire).is_null() {
            let fresh: *mut Slots =
                Box::into_raw(Box::new([const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNK]));
            if chunk
                .compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
        let duplicates = match wanted.kind {
            TableKind::Set | TableKind::OrderedSet => Duplicates::None,
            TableKind::Bag => Duplicates::Different,
            TableKind::DuplicateBag => Duplicates::Any,
        };
        let tuning = wanted.tuning.of(wanted.kind, wanted.protection);
        let shards = if tuning.write_concurrency == WriteConcurrency::Off { 1 } else { SHARDS };
        let storage = match wanted.kind {
            TableKind::OrderedSet => {
                Storage::Ordered(RwLock::new(OrderedTable::new(wanted.keypos)))
            }
            _ => Storage::Hash(
                (0..shards)
                    .map(|_| RwLock::new(HashTable::new(wanted.keypos, duplicates, shards)))
                    .collect(),
            ),
        };
        let reference = p.vm.next_table_ref(slot as usize);
        let table = Box::new(Table {
            reference,
            slot,
            name: AtomicU32::new(wanted.name.index()),
            named: wanted.named,
            kind: wanted.kind,
            protection: AtomicU8::new(wanted.protection as u8),
            keypos: wanted.keypos,
            owner: AtomicU64::new(p.id()),
            heir: Mutex::new(None),
            storage,
            tuning,
            objects: AtomicIsize::new(0),
            words: AtomicIsize::new(0),
            fixes: Mutex::default(),
            fixed: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
        });
        self.slot(slot)
            .expect("its chunk was just made")
            .store(Box::into_raw(table), Ordering::Release);
        if let Some(names) = &mut names {
            names.insert(wanted.name, slot);
        }
        self.hold(p.id(), slot);
        let table = self.at(slot, guard).expect("just made");
        if wanted.heir.is_some() {
            self.set_heir(p.vm, table, wanted.heir);
        }
        Ok(table)
    }

    /// Sets who gets the table when its owner ends. One that ends before is no heir any more, even
    /// when another process has its number by then.
    pub fn set_heir(&self, vm: &Vm, table: &Table, heir: Option<Heir>) {
        let pid = heir.as_ref().map(|heir| heir.pid);
        if let Some(pid) = pid {
            self.hold(pid, table.slot);
        }
        let before = std::mem::replace(&mut *table.heir.lock(), heir);
        if let Some(before) = before {
            self.let_go(before.pid, table.slot);
        }
        // It ends, and may have looked for its tables before.
        if let Some(pid) = pid.filter(|&pid| !is_alive(vm, pid)) {
            self.let_go(pid, table.slot);
            table.heir.lock().take_if(|heir| heir.pid == pid);
        }
    }

    /// Gives a named table another name; `Err` when that is taken.
    pub fn rename(&self, table: &Table, name: Atom) -> Result<(), ()> {
        let mut names = table.named.then(|| self.names.write());
        if let Some(names) = &mut names {
            if names.contains_key(&name) {
                return Err(());
            }
            names.remove(&table.name());
            names.insert(name, table.slot);
        }
        // Under the lock, before another table can take the name that is free now.
        table.name.store(name.index(), Ordering::Relaxed);
        Ok(())
    }

    /// Takes a table away; its objects. None when somebody else just did.
    pub fn delete(&self, table: &Table, guard: &Guard) -> Garbage {
        let mut garbage = Garbage::default();
        if table.dead.swap(true, Ordering::AcqRel) {
            return garbage;
        }
        if table.named {
            let mut names = self.names.write();
            if names.get(&table.name()) == Some(&table.slot) {
                names.remove(&table.name());
            }
        }
        self.let_go(table.owner(), table.slot);
        if let Some(heir) = table.heir.lock().take() {
            self.let_go(heir.pid, table.slot);
        }
        match &table.storage {
            Storage::Hash(shards) => {
                for shard in shards {
                    let mut shard = shard.write();
                    // Empty ones go with the table.
                    if !shard.is_empty() {
                        garbage.push_hash(shard.take_last());
                    }
                }
            }
            Storage::Ordered(tree) => garbage.push_ordered(tree.write().take_all()),
        }
        let slot = table.slot;
        let address = std::ptr::from_ref(table) as usize;
        self.slot(slot)
            .expect("the table was there")
            .store(std::ptr::null_mut(), Ordering::Release);
        self.free.lock().0.push(slot);
        // SAFETY: the table is out of the register; guards that saw it delay this.
        unsafe { guard.defer_unchecked(move || drop(Box::from_raw(address as *mut Table))) };
        garbage
    }

    fn holders(&self, pid: u64) -> &Mutex<HashMap<u64, Vec<u32>>> {
        &self.held[pid as usize % HELD_PARTS]
    }
    /// Enters a table among those that are looked at when the process ends.
    pub fn hold(&self, pid: u64, slot: u32) {
        self.holders(pid).lock().entry(pid).or_default().push(slot);
    }
    /// Takes back one [`hold`](Self::hold).
    pub fn let_go(&self, pid: u64, slot: u32) {
        let mut held = self.holders(pid).lock();
        if let Some(slots) = held.get_mut(&pid) {
            if let Some(at) = slots.iter().position(|&other| other == slot) {
                slots.swap_remove(at);
            }
            if slots.is_empty() {
                held.remove(&pid);
            }
        }
    }
    /// The number of the slot that the register keeps the table in.
    pub fn slot_of(table: &Table) -> u32 {
        table.slot
    }

    /// Makes another process the owner.
    pub fn give(&self, table: &Table, to: u64) {
        let from = table.owner.swap(to, Ordering::AcqRel);
        self.hold(to, table.slot);
        self.let_go(from, table.slot);
    }

    /// The tables that the process owns or fixes; nobody is asked about it again.
    pub fn held_by(&self, pid: u64) -> Vec<u32> {
        self.holders(pid).lock().remove(&pid).unwrap_or_default()
    }
}
