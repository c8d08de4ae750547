//! What the code of a function needs beside its instructions to be safe.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is done at an instruction of a function in addition to its own effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Amendment {
    /// The destination of a guard's built-in has to hold a term before it runs: an immediate is
    /// moved there first.
    Clear,
    /// Before it, the message that was looked at becomes the process's own, and the mailbox gets a
    /// copy.
    OwnMessage,
    /// Behind it, a label or the end of a catch, the turn of the process can end. So many X
    /// registers are saved then; the holes among them hold no terms.
    EndTurn { live: u16, holes: Box<[u16]> },
    /// It is never reached, nor are those behind it up to `until`.
    Dead { until: u32 },
}

/// The amendments of a function, by the index of the instruction. Empty for nearly all functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendments(BTreeMap<u32, Amendment>);

impl Amendments {
    /// Whether the function's instructions suffice as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What is done at the instruction with this index; `None` for nearly all.
    pub fn at(&self, op: usize) -> Option<&Amendment> {
        self.0.get(&(op as u32))
    }
    /// The index of the next instruction behind this one that has an amendment.
    pub fn next_after(&self, op: usize) -> Option<usize> {
        self.0.range(op as u32 + 1..).next().map(|(&op, _)| op as usize)
    }
    /// Index of the instruction and what is done there, in the order of instructions.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Amendment)> {
        self.0.iter().map(|(&op, amendment)| (op, amendment))
    }
}

impl From<BTreeMap<u32, Amendment>> for Amendments {
    fn from(amendments: BTreeMap<u32, Amendment>) -> Amendments {
        Amendments(amendments)
    }
}
