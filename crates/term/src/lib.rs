//! Terms: the tagged word, atoms, views of boxed terms, ordering, hashing, printing and the
//! external term format.
//!
//! Invariants: this crate knows nothing of processes, code or schedulers. Whoever builds a term
//! says where it is to live through [`Alloc`]; nothing here collects or frees.
//!
//! A [`Term`] is a plain word. The views ([`Cons`], [`Tuple`], …) trust that the word was built by
//! this crate and that the memory behind it is still live; creating a term from a raw word is the
//! `unsafe` step.

pub mod alloc;
pub mod atom;
pub mod bigint;
pub mod binary;
pub mod boxed;
pub mod compare;
pub mod creator;
mod division;
pub mod etf;
pub mod float;
pub mod hash;
mod large;
pub mod map;
pub mod node;
pub mod print;
pub mod reference;
pub mod refusal;
pub mod release;
pub mod stop;
pub mod usage;
pub mod word;

pub use alloc::{Alloc, FragmentHeap};
pub use atom::{Atom, AtomMap, atoms as am};
pub use binary::{Bits, SharedBytes};
pub use boxed::*;
pub use compare::{compare, compare_exact, equal, equal_exact};
pub use node::NodeInfo;
pub use reference::{RefKind, RefValue};
pub use release::Release;
pub use word::{Header, Kind, Subtag, Term};
