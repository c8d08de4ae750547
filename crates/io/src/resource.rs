//! Things outside the heap that a magic reference stands for.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use swarmrt_machine::Process;
use swarmrt_term::{Alloc, RefKind, Term};

/// Resources of one type, by the number of their reference.
pub struct Resources<T> {
    table: Mutex<HashMap<u64, Owned<T>>>,
}

struct Owned<T> {
    owner: u64,
    value: Arc<T>,
}

impl<T> Default for Resources<T> {
    fn default() -> Self {
        Resources { table: Mutex::default() }
    }
}

impl<T> Resources<T> {
    /// Keeps a value for the process; the reference that stands for it.
    pub fn add(&self, p: &mut Process, value: T) -> Term {
        let reference = p.vm.next_ref();
        self.table.lock().insert(reference.id, Owned { owner: p.id(), value: Arc::new(value) });
        p.local_ref(reference.id, reference.low, RefKind::Magic, reference.id)
    }
    pub fn get(&self, reference: Term) -> Option<Arc<T>> {
        let id = reference.as_local_ref()?.id();
        self.table.lock().get(&id).map(|owned| owned.value.clone())
    }
    pub fn remove(&self, reference: Term) -> Option<Arc<T>> {
        let id = reference.as_local_ref()?.id();
        self.table.lock().remove(&id).map(|owned| owned.value)
    }
    pub fn set_owner(&self, reference: Term, pid: u64) {
        if let Some(reference) = reference.as_local_ref()
            && let Some(owned) = self.table.lock().get_mut(&reference.id())
        {
            owned.owner = pid;
        }
    }
    /// Drops what the process owns.
    pub fn remove_owned_by(&self, pid: u64) {
        let mut table = self.table.lock();
        if !table.is_empty() {
            table.retain(|_, owned| owned.owner != pid);
        }
    }
}
