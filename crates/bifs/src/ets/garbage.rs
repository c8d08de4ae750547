//! Objects that are out of their table.
//!
//! Nobody else sees them any more. They are freed by the process that has deleted them, or whose end
//! has: a reduction each, and in as many turns as it takes, so that neither the others wait nor a
//! program makes garbage faster than it is freed.

use super::hash::HashTable;
use super::ordered::OrderedTable;
use swarmrt_machine::{BifExit, Process};

/// Objects to be freed.
#[derive(Default)]
pub struct Garbage {
    hashed: Vec<HashTable>,
    ordered: Vec<OrderedTable>,
    /// Reductions that are owed for work that could not be left for later.
    owed: usize,
}

impl Garbage {
    pub fn push_hash(&mut self, table: HashTable) {
        self.hashed.push(table);
    }
    pub fn push_ordered(&mut self, table: OrderedTable) {
        self.ordered.push(table);
    }
    /// So many objects of a fixed table were marked as deleted, all at once, so that nobody sees some
    /// of them only.
    pub fn marked(&mut self, objects: usize) {
        self.owed += objects;
    }

    /// Frees objects, and takes off a reduction for each. Whether nothing is left.
    pub fn free(&mut self, reductions: &mut i32) -> bool {
        let now = self.owed.min((*reductions).max(0) as usize);
        self.owed -= now;
        *reductions -= now as i32;
        while let Some(table) = self.hashed.last_mut() {
            if !table.free_some(reductions) {
                return false;
            }
            self.hashed.pop();
        }
        while let Some(table) = self.ordered.last_mut() {
            if !table.free_some(reductions) {
                return false;
            }
            self.ordered.pop();
        }
        self.owed == 0
    }
}

/// A deletion whose process has given way to others.
pub struct Deletion {
    pub garbage: Garbage,
    /// Objects that there were.
    objects: usize,
}

/// The deletion that the calling built-in goes on with.
pub fn underway(p: &mut Process) -> Option<Deletion> {
    let deletion = p.bif_state.take()?.downcast().expect("a built-in finds its own state");
    Some(*deletion)
}

impl Deletion {
    pub fn new(objects: usize, garbage: Garbage) -> Deletion {
        Deletion { garbage, objects }
    }

    /// Frees what the turn has time for. `Err`: the built-in is called again, and finds the deletion
    /// [`underway`].
    pub fn go_on(mut self, p: &mut Process) -> Result<usize, BifExit> {
        if self.garbage.free(&mut p.reductions) {
            return Ok(self.objects);
        }
        p.bif_state = Some(Box::new(self));
        Err(BifExit::Yield)
    }
}
