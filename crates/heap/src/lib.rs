//! A process's heap and stack block, the collector, fragments, and the literal area.
//!
//! Invariants: nothing here knows of processes or schedulers. Collection happens only when an
//! engine asks for it at a safepoint ([`Heap::collect`]); allocation through
//! [`Alloc`](swarmrt_term::Alloc) never moves anything.

pub mod collect;
pub mod copy;
pub mod depart;
pub mod fragment;
pub mod literal;
mod pages;
pub mod process_heap;
pub mod visit;

pub use copy::{Sharing, copy_term, copy_whole, size_whole, size_words};
pub use fragment::Fragment;
pub use literal::{
    LITERAL_BYTES_MAX, Leaving, LiteralArea, begin_leaving, end_leaving, is_literal, literal_range,
};
pub use process_heap::{Heap, OutOfMemory, free_spare};

#[cfg(test)]
mod tests;
