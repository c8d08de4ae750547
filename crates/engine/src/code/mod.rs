//! Machine code: its memory, where it is installed, what has to be changed in it from run to run,
//! and the border of the engines.

pub mod build;
mod glue;
mod installed;
mod kept;
mod memory;
mod re_entry;
mod relocations;
pub mod unwind;

pub use glue::{EnterFn, Glue, Question, Stub};
pub use installed::{Code, Functions, Installed, InstalledAt, Uninstalled, cell_at};
pub use memory::{CodeMemory, mapped_bytes};
pub use re_entry::{ARGUMENTS_MAX, LoopSymbol, ReEntries, ReEntry, ReEntryKey};
pub use relocations::{Fixup, Relocations, Symbol};
