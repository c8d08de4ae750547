//! Rust values and Erlang terms, by `serde`.
//!
//! | Rust | Erlang |
//! |---|---|
//! | integers, `char` | integers |
//! | `f32`, `f64` | floats; only finite ones |
//! | `bool`, `Option::None`, `()`, [`Atom`], variants without fields | atoms: `true`, `undefined`, `undefined`, its name, the variant's name |
//! | `str`, bytes (`serde_bytes`) | binaries |
//! | `Vec`, slices | lists |
//! | tuples, tuple structs, arrays with a length in their type | tuples |
//! | structs | maps with atoms for keys |
//! | maps | maps |
//! | variants with fields | tuples that begin with the variant's name; fields with names are a map |
//!
//! The other way, a string is read from a binary, an atom, or a list of characters; `()` from `ok`,
//! too; `None` from `nil`, too.

mod decode;
mod encode;

pub use decode::{decode, decode_arguments};
pub use encode::{encode, encode_arguments};

use crate::embedded::Life;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use swarmrt_heap::copy_whole;
use swarmrt_term::{FragmentHeap, Term, print};

/// The name under which serde hands [`Atom`] on.
const ATOM: &str = "$swarmrt::Atom";

/// An atom, by its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Atom(pub String);

impl From<&str> for Atom {
    fn from(name: &str) -> Atom {
        Atom(name.to_owned())
    }
}

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ATOM, &self.0)
    }
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Atom, D::Error> {
        String::deserialize(deserializer).map(Atom)
    }
}

/// Why a value could not be converted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConversionError(pub String);

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl std::error::Error for ConversionError {}
impl serde::ser::Error for ConversionError {
    fn custom<T: fmt::Display>(message: T) -> ConversionError {
        ConversionError(message.to_string())
    }
}
impl serde::de::Error for ConversionError {
    fn custom<T: fmt::Display>(message: T) -> ConversionError {
        ConversionError(message.to_string())
    }
}

/// A term outside every process, which belongs to whoever holds it.
pub struct OwnedTerm {
    root: Term,
    _heap: Box<FragmentHeap>,
    /// Functions and resources among its terms are the machine's.
    _of: Arc<Life>,
}

// SAFETY: its terms are its own, and are only read.
unsafe impl Sync for OwnedTerm {}
// SAFETY: its terms are its own; what hangs off its heap may be freed by any thread.
unsafe impl Send for OwnedTerm {}

impl OwnedTerm {
    pub(crate) fn copy_of(term: Term, of: Arc<Life>) -> OwnedTerm {
        let mut heap = FragmentHeap::new();
        // Literals too: their module may be purged.
        OwnedTerm { root: copy_whole(term, &mut heap), _heap: Box::new(heap), _of: of }
    }

    /// As a Rust value.
    ///
    /// # Errors
    /// When it is of another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ConversionError> {
        decode(self.root)
    }
}

/// As `erlang:display/1` shows it.
impl fmt::Display for OwnedTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", print::display(self.root))
    }
}
impl fmt::Debug for OwnedTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
