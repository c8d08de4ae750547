//! The external term format: terms as bytes, as `term_to_binary` writes and `binary_to_term` reads
//! them.
//!
//! See "External Term Format" in the ERTS User's Guide. The decoder takes bytes from anybody: it
//! neither panics nor recurses nor allocates more than a small multiple of the bytes that are
//! really there.

mod decode;
mod encode;
mod size;

pub use decode::{
    DecodeError, DecodeOptions, NodeContext, decode, decode_from_node, decode_unversioned,
    plain_size,
};
pub use encode::{
    EncodeOptions, LOCAL_HEAD, encode, encode_for_node, encode_unversioned, encode_with_places,
    encode_within,
};
pub use size::external_size;

use crate::atom::Atom;
use crate::boxed::{FunIdentity, Mfa};
use crate::node::NodeInfo;
use crate::word::Term;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// The first byte of a term on its own.
pub const VERSION: u8 = 131;

/// The byte that says what follows: the tags of "External Term Format" in the ERTS User's Guide,
/// with the layout behind each. Numbers are big-endian; `u8`, `u16` and so on give their sizes.
mod tag {
    /// Native record (OTP 29): fields u32, exported u8, module, name, field names, values.
    pub const RECORD: u8 = 67;
    /// f64 as IEEE 754 bits.
    pub const NEW_FLOAT: u8 = 70;
    /// Bitstring: bytes u32, bits of the last byte u8, data.
    pub const BIT_BINARY: u8 = 77;
    /// zlib data of a term without its version byte; the size unpacked (u32) comes first.
    pub const COMPRESSED: u8 = 80;
    /// Place u8 in the list of atoms of a distribution message's head.
    pub const ATOM_CACHE_REF: u8 = 82;
    /// Pid: node, number u32, serial u32, creation u32.
    pub const NEW_PID: u8 = 88;
    /// Port: node, number u32, creation u32.
    pub const NEW_PORT: u8 = 89;
    /// Reference: words u16, node, creation u32, each word u32.
    pub const NEWER_REFERENCE: u8 = 90;
    /// Integer of one byte, without sign.
    pub const SMALL_INTEGER: u8 = 97;
    /// Integer i32.
    pub const INTEGER: u8 = 98;
    /// Float as text, 31 bytes: `%.20e`, filled up with zeroes. Written only for minor version 0.
    pub const FLOAT: u8 = 99;
    /// Atom in Latin-1: bytes u16, name. Deprecated.
    pub const ATOM: u8 = 100;
    /// Reference of one word: node, u32, creation u8. Read only.
    pub const REFERENCE: u8 = 101;
    /// Port: node, number u32, creation u8. Read only.
    pub const PORT: u8 = 102;
    /// Pid: node, number u32, serial u32, creation u8. Read only.
    pub const PID: u8 = 103;
    /// Tuple: arity u8, elements.
    pub const SMALL_TUPLE: u8 = 104;
    /// Tuple: arity u32, elements.
    pub const LARGE_TUPLE: u8 = 105;
    /// The empty list.
    pub const NIL: u8 = 106;
    /// List of bytes: length u16, bytes.
    pub const STRING: u8 = 107;
    /// List: length u32, elements, tail.
    pub const LIST: u8 = 108;
    /// Binary: bytes u32, data.
    pub const BINARY: u8 = 109;
    /// Big integer: bytes u8, sign u8, magnitude, least significant byte first.
    pub const SMALL_BIG: u8 = 110;
    /// Big integer: bytes u32, sign u8, magnitude, least significant byte first.
    pub const LARGE_BIG: u8 = 111;
    /// Fun: size u32, arity u8, unique 16 bytes, index u32, free variables u32, module, old index,
    /// old unique, pid, free variables.
    pub const NEW_FUN: u8 = 112;
    /// `fun M:F/A`: module, function, arity.
    pub const EXPORT: u8 = 113;
    /// Reference: words u16, node, creation u8, each word u32. Read only.
    pub const NEW_REFERENCE: u8 = 114;
    /// Atom in Latin-1: bytes u8, name. Deprecated.
    pub const SMALL_ATOM: u8 = 115;
    /// Map: pairs u32, each key before its value.
    pub const MAP: u8 = 116;
    /// Atom in UTF-8: bytes u16, name.
    pub const ATOM_UTF8: u8 = 118;
    /// Atom in UTF-8: bytes u8, name.
    pub const SMALL_ATOM_UTF8: u8 = 119;
    /// Port: node, number u64, creation u32.
    pub const V4_PORT: u8 = 120;
    /// A term that only this machine reads (OTP 26): a hash of 8 bytes that no other can make, and
    /// the term.
    pub const LOCAL: u8 = 121;
}

/// A message to another node while it is encoded.
pub trait NodeMessage {
    /// The place of an atom in the list of atoms of the message's head; the atom is added if need
    /// be. `None`: the atom is to be written out.
    fn index_of(&mut self, atom: Atom) -> Option<u8>;
    /// Whether the encoder leaves out the bytes of a large binary, which would stand at `at` in the
    /// message: the sender of the message then puts them there.
    fn leave_out(&mut self, binary: Term, at: usize) -> bool {
        let _ = (binary, at);
        false
    }
}

/// What decoding has to ask the machine for.
pub trait Resolver {
    /// The entry of an exported function; a stub when there is none yet.
    fn export(&self, module: Atom, function: Atom, arity: u32) -> *const Mfa;
    /// Whether that function exists; asked by `safe` decoding, which makes no stubs.
    fn has_export(&self, module: Atom, function: Atom, arity: u32) -> bool {
        let _ = (module, function, arity);
        true
    }
    /// The entry of a fun with `free` free variables; a stub when no loaded module has such a fun.
    fn fun(&self, identity: FunIdentity, free: u32) -> *const FunIdentity;
    /// Which node's identifiers are local.
    fn node(&self) -> NodeInfo {
        NodeInfo::this()
    }
}

/// The hash that tells the terms of the local form from those that others wrote: it is keyed by a
/// secret of this run.
fn local_hash(bytes: &[u8]) -> [u8; 8] {
    use std::hash::{BuildHasher, RandomState};
    static SECRET: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    SECRET.hash_one(bytes).to_be_bytes()
}

/// A resolver without a machine: entries that are made once and never freed.
#[derive(Clone, Copy, Default)]
pub struct Interning;

type FunKey = (Atom, u32, u32, u32, [u8; 16], u8, u32);

static EXPORTS: LazyLock<Mutex<HashMap<Mfa, &'static Mfa>>> = LazyLock::new(Mutex::default);
static FUNS: LazyLock<Mutex<HashMap<FunKey, &'static FunIdentity>>> = LazyLock::new(Mutex::default);

impl Resolver for Interning {
    fn export(&self, module: Atom, function: Atom, arity: u32) -> *const Mfa {
        let mfa = Mfa { module, function, arity };
        let mut exports = EXPORTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *exports.entry(mfa).or_insert_with(|| Box::leak(Box::new(mfa)))
    }
    fn fun(&self, identity: FunIdentity, free: u32) -> *const FunIdentity {
        let key = (
            identity.module,
            identity.index,
            identity.old_index,
            identity.old_uniq,
            identity.uniq,
            identity.arity,
            free,
        );
        let mut funs = FUNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *funs.entry(key).or_insert_with(|| Box::leak(Box::new(identity)))
    }
}
