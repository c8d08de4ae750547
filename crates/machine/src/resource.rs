//! Things that a program holds through a reference, and that go when the last copy of the reference does.
//!
//! Such a reference holds counted shared memory ([`LocalRef::counted_words`](swarmrt_term::LocalRef::counted_words)):
//! its first word is the mark of a type, the second the thing's number in a table. When only the table is left to
//! hold the memory, no reference is left in any heap, and the thing is dropped with the next sweep.

use crate::process::Process;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_term::{Alloc, RefKind, SharedBytes, Term};

/// Things of one type.
pub struct Resources<T> {
    mark: u64,
    table: RwLock<Table<T>>,
}

struct Table<T> {
    entries: HashMap<u64, (SharedBytes, Arc<T>)>,
    next: u64,
    /// When there are so many, those that nobody holds are dropped.
    sweep_at: usize,
}

const SWEEP_AT_MIN: usize = 64;
static NEXT_MARK: AtomicU64 = AtomicU64::new(1);

/// A mark that no other type has.
pub fn new_mark() -> u64 {
    NEXT_MARK.fetch_add(1, Ordering::Relaxed)
}

impl<T> Default for Resources<T> {
    fn default() -> Self {
        Resources { mark: new_mark(), table: RwLock::new(Table { entries: HashMap::new(), next: 0, sweep_at: SWEEP_AT_MIN }) }
    }
}

impl<T> Resources<T> {
    /// Keeps a thing; the reference that stands for it.
    pub fn add(&self, p: &mut Process, value: Arc<T>) -> Term {
        let shared = SharedBytes::zeroed_words(2).expect("two words");
        {
            let mut table = self.table.write();
            if table.entries.len() >= table.sweep_at {
                table.entries.retain(|_, (shared, _)| shared.references() > 1);
                table.sweep_at = (table.entries.len() * 2).max(SWEEP_AT_MIN);
            }
            let number = table.next;
            table.next += 1;
            // SAFETY: the memory has two words, and nobody else has seen it.
            unsafe {
                shared.data().cast::<u64>().write(self.mark);
                shared.data().cast::<u64>().add(1).write(number);
            }
            table.entries.insert(number, (shared.clone(), value));
        }
        let reference = p.vm.next_ref();
        p.counted_ref(reference.id, reference.low, shared)
    }

    /// What the reference stands for, if it is one of these.
    pub fn get(&self, reference: Term) -> Option<Arc<T>> {
        let reference = reference.as_local_ref().filter(|reference| reference.ref_kind() == RefKind::Counted)?;
        let words = reference.counted_words()?;
        if words.len() != 2 || words[0].load(Ordering::Relaxed) != self.mark {
            return None;
        }
        self.table.read().entries.get(&words[1].load(Ordering::Relaxed)).map(|(_, value)| value.clone())
    }
}
