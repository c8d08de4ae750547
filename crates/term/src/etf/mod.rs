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

/// The byte that says what follows.
mod tag {
    pub const RECORD: u8 = 67;
    pub const NEW_FLOAT: u8 = 70;
    pub const BIT_BINARY: u8 = 77;
    pub const COMPRESSED: u8 = 80;
    pub const ATOM_CACHE_REF: u8 = 82;
    pub const NEW_PID: u8 = 88;
    pub const NEW_PORT: u8 = 89;
    pub const NEWER_REFERENCE: u8 = 90;
    pub const SMALL_INTEGER: u8 = 97;
    pub const INTEGER: u8 = 98;
    pub const FLOAT: u8 = 99;
    pub const ATOM: u8 = 100;
    pub const REFERENCE: u8 = 101;
    pub const PORT: u8 = 102;
    pub const PID: u8 = 103;
    pub const SMALL_TUPLE: u8 = 104;
    pub const LARGE_TUPLE: u8 = 105;
    pub const NIL: u8 = 106;
    pub const STRING: u8 = 107;
    pub const LIST: u8 = 108;
    pub const BINARY: u8 = 109;
    pub const SMALL_BIG: u8 = 110;
    pub const LARGE_BIG: u8 = 111;
    pub const NEW_FUN: u8 = 112;
    pub const EXPORT: u8 = 113;
    pub const NEW_REFERENCE: u8 = 114;
    pub const SMALL_ATOM: u8 = 115;
    pub const MAP: u8 = 116;
    pub const ATOM_UTF8: u8 = 118;
    pub const SMALL_ATOM_UTF8: u8 = 119;
    pub const V4_PORT: u8 = 120;
    /// A term that only this machine reads (OTP 26): a hash of 8 bytes that no other can make, and
    /// the term.
    pub const LOCAL: u8 = 121;
}

/// A message to another node that is being made.
pub trait NodeMessage {
    /// The place of an atom in the list of the message's head, put there if need be; `None` where
    /// it is to be written out.
    fn index_of(&mut self, atom: Atom) -> Option<u8>;
    /// Whether the bytes of a large binary, which would stand at `at`, are not to be written:
    /// whoever sends the message puts them there.
    fn leave_out(&mut self, binary: Term, at: usize) -> bool {
        let _ = (binary, at);
        false
    }
}

/// What decoding has to ask the machine for.
pub trait Resolver {
    /// The entry of an exported function; a stub when there is none yet.
    fn export(&self, module: Atom, function: Atom, arity: u32) -> *const Mfa;
    /// Whether that function exists: `safe` decoding makes no stubs.
    fn has_export(&self, module: Atom, function: Atom, arity: u32) -> bool {
        let _ = (module, function, arity);
        true
    }
    /// The entry of a fun with so many free variables; a stub when no module that is loaded has
    /// such a fun.
    fn fun(&self, identity: FunIdentity, free: u32) -> *const FunIdentity;
    /// Which node's identifiers are local.
    fn node(&self) -> NodeInfo {
        NodeInfo::this()
    }
}

/// The hash that tells terms in the local form from what others wrote: keyed by a secret of this
/// machine.
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
