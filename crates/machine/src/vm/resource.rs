//! Values that a program holds through a reference, and that are dropped with its last copy.
//!
//! Such a reference holds counted shared memory
//! ([`LocalRef::counted_words`](swarmrt_term::LocalRef::counted_words)): its first word is the mark
//! of a type, the second the value's number in a table. When the table alone holds the memory, no
//! heap has a reference any more: none that comes back from elsewhere finds the value then, and the
//! next sweep drops it: when there are many, or when the table's owner asks for one. A value that
//! belongs to a process is dropped with that process at the latest.

use crate::process::Process;
use crate::vm::Vm;
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_term::{Alloc, RefKind, SharedBytes, Term};

/// The values of one type.
pub struct Resources<T> {
    mark: u64,
    table: RwLock<ResourceTable<T>>,
}

struct ResourceTable<T> {
    entries: HashMap<u64, Entry<T>>,
    /// The numbers of the values that belong to a process.
    of_owners: HashMap<u64, HashSet<u64>>,
    next: u64,
    /// Number of entries from which on adding one sweeps first.
    sweep_at: usize,
}

struct Entry<T> {
    shared: SharedBytes,
    owner: Option<u64>,
    value: Arc<T>,
}

impl<T> ResourceTable<T> {
    /// Takes an entry out of its owner's list.
    fn disown(of_owners: &mut HashMap<u64, HashSet<u64>>, number: u64, owner: Option<u64>) {
        let Some(owner) = owner else { return };
        if let Some(numbers) = of_owners.get_mut(&owner) {
            numbers.remove(&number);
            if numbers.is_empty() {
                of_owners.remove(&owner);
            }
        }
    }
    /// Takes out the values that no reference stands for.
    fn sweep(&mut self) -> Vec<Entry<T>> {
        let swept: Vec<_> =
            self.entries.extract_if(|_, entry| entry.shared.references() == 1).collect();
        swept
            .into_iter()
            .map(|(number, entry)| {
                Self::disown(&mut self.of_owners, number, entry.owner);
                entry
            })
            .collect()
    }
}

const SWEEP_AT_MIN: usize = 64;
static NEXT_MARK: AtomicU64 = AtomicU64::new(1);

/// A mark that no other type has.
fn new_mark() -> u64 {
    NEXT_MARK.fetch_add(1, Ordering::Relaxed)
}

/// What tells the memory of counted references of one kind from that of others; `K` names the kind.
struct Mark<K>(u64, PhantomData<fn() -> K>);

impl<K> Default for Mark<K> {
    fn default() -> Self {
        Mark(new_mark(), PhantomData)
    }
}

/// The mark of the kind `K` in a machine, which begins the memory of such references.
pub fn mark<K: 'static>(vm: &Vm) -> u64 {
    vm.extension::<Mark<K>>().0
}

impl<T> Default for Resources<T> {
    fn default() -> Self {
        let table = ResourceTable {
            entries: HashMap::new(),
            of_owners: HashMap::new(),
            next: 0,
            sweep_at: SWEEP_AT_MIN,
        };
        Resources { mark: new_mark(), table: RwLock::new(table) }
    }
}

impl<T> Resources<T> {
    /// Keeps a value. Returns the reference that stands for it.
    pub fn add(&self, p: &mut Process, value: Arc<T>) -> Term {
        self.add_for(p, value, None)
    }

    /// Keeps a value that belongs to the process. Returns the reference that stands for it.
    pub fn add_owned(&self, p: &mut Process, value: Arc<T>) -> Term {
        let owner = p.id();
        self.add_for(p, value, Some(owner))
    }

    fn add_for(&self, p: &mut Process, value: Arc<T>, owner: Option<u64>) -> Term {
        let shared = SharedBytes::kept_words(2);
        let mut swept = Vec::new();
        {
            let mut table = self.table.write();
            if table.entries.len() >= table.sweep_at {
                swept = table.sweep();
                table.sweep_at = (table.entries.len() * 2).max(SWEEP_AT_MIN);
            }
            let number = table.next;
            table.next += 1;
            // SAFETY: the memory has two words, and nobody else has seen it.
            unsafe {
                shared.data().cast::<u64>().write(self.mark);
                shared.data().cast::<u64>().add(1).write(number);
            }
            table.entries.insert(number, Entry { shared: shared.clone(), owner, value });
            if let Some(owner) = owner {
                table.of_owners.entry(owner).or_default().insert(number);
            }
        }
        // Dropping may take time: not under the lock.
        drop(swept);
        p.counted_ref(shared)
    }

    /// Drops the values that no reference stands for.
    pub fn sweep(&self) {
        let swept = self.table.write().sweep();
        // Dropping may take time: not under the lock.
        drop(swept);
    }

    /// The number of the value that a reference stands for or stood for; `None` for other
    /// references.
    fn number(&self, reference: Term) -> Option<u64> {
        let reference = reference
            .as_local_ref()
            .filter(|reference| reference.ref_kind() == RefKind::Counted)?;
        let words = reference.counted_words()?;
        (words.len() == 2 && words[0].load(Ordering::Relaxed) == self.mark)
            .then(|| words[1].load(Ordering::Relaxed))
    }

    /// Whether a reference stands for a value of this table, or did before the value was removed.
    pub fn stood_for(&self, reference: Term) -> bool {
        self.number(reference).is_some()
    }

    /// The value that a reference stands for; `None` for other references and removed values.
    pub fn get(&self, reference: Term) -> Option<Arc<T>> {
        let number = self.number(reference)?;
        self.table.read().entries.get(&number).map(|entry| entry.value.clone())
    }

    /// Whether `wanted` holds for some value.
    pub fn any(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.table.read().entries.values().any(|entry| wanted(&entry.value))
    }

    /// The number of values for which `wanted` holds.
    pub fn count(&self, wanted: impl Fn(&T) -> bool) -> usize {
        self.table.read().entries.values().filter(|entry| wanted(&entry.value)).count()
    }

    /// Removes the value that a reference stands for; `None` when there is none.
    pub fn remove(&self, reference: Term) -> Option<Arc<T>> {
        let number = self.number(reference)?;
        let mut table = self.table.write();
        let entry = table.entries.remove(&number)?;
        ResourceTable::<T>::disown(&mut table.of_owners, number, entry.owner);
        Some(entry.value)
    }

    /// Drops the values that belong to a process.
    pub fn remove_owned_by(&self, pid: u64) {
        if !self.table.read().of_owners.contains_key(&pid) {
            return;
        }
        let mut table = self.table.write();
        let numbers = table.of_owners.remove(&pid).unwrap_or_default();
        let entries: Vec<_> =
            numbers.iter().filter_map(|number| table.entries.remove(number)).collect();
        drop(table);
        drop(entries);
    }
}
