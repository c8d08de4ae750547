//! Capabilities of a node, as the handshake exchanges them: "Distribution Flags" in the ERTS User's
//! Guide.

use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_term::Release;

/// To be seen by other nodes.
pub const PUBLISHED: u64 = 0x01;
const EXTENDED_REFERENCES: u64 = 0x04;
const DIST_MONITOR: u64 = 0x08;
const FUN_TAGS: u64 = 0x10;
const DIST_MONITOR_NAME: u64 = 0x20;
const HIDDEN_ATOM_CACHE: u64 = 0x40;
const ATOM_CACHE: u64 = 0x02;
const NEW_FUN_TAGS: u64 = 0x80;
const EXTENDED_PIDS_PORTS: u64 = 0x100;
const EXPORT_PTR_TAG: u64 = 0x200;
const BIT_BINARIES: u64 = 0x400;
const NEW_FLOATS: u64 = 0x800;
/// The I/O server takes Unicode.
pub const UNICODE_IO: u64 = 0x1000;
/// Atoms are numbered in the head of a message.
pub const HEAD_ATOM_CACHE: u64 = 0x2000;
const SMALL_ATOM_TAGS: u64 = 0x4000;
const UTF8_ATOMS: u64 = 0x1_0000;
const MAP_TAG: u64 = 0x2_0000;
const BIG_CREATION: u64 = 0x4_0000;
/// Messages say who sends them.
pub const SEND_SENDER: u64 = 0x8_0000;
/// Labels of sequential traces may be any term.
pub const BIG_SEQTRACE_LABELS: u64 = 0x10_0000;
/// Reasons of exits follow the control message.
pub const EXIT_PAYLOAD: u64 = 0x40_0000;
/// Large messages come in parts.
pub const FRAGMENTS: u64 = 0x80_0000;
const HANDSHAKE_23: u64 = 0x100_0000;
/// Unlinking is acknowledged.
pub const UNLINK_ID: u64 = 0x200_0000;
const MANDATORY_25_DIGEST: u64 = 0x400_0000;
/// Spawn requests are control messages.
pub const SPAWN: u64 = 1 << 32;
const V4_NC: u64 = 1 << 34;
/// Process aliases.
pub const ALIAS: u64 = 1 << 35;
/// Messages and exit signals to aliases, and with priority: one control message with flags in it
/// (OTP 28).
pub const ALTACT_SIG: u64 = 1 << 37;

const MANDATORY_25: u64 = EXTENDED_REFERENCES
    | FUN_TAGS
    | EXTENDED_PIDS_PORTS
    | UTF8_ATOMS
    | NEW_FUN_TAGS
    | BIG_CREATION
    | NEW_FLOATS
    | MAP_TAG
    | EXPORT_PTR_TAG
    | BIT_BINARIES
    | HANDSHAKE_23;
const MANDATORY_26: u64 = V4_NC | UNLINK_ID;

/// The flags that `erts_internal:get_dflags/0` returns, in the order of its tuple.
pub struct Capabilities {
    pub default: u64,
    pub mandatory: u64,
    pub addable: u64,
    pub rejectable: u64,
    pub strict_order: u64,
}

/// Capabilities that are left out, for tests of what older nodes do.
static REMOVED: AtomicU64 = AtomicU64::new(0);

/// Leaves these flags out of [`capabilities`] from now on, in all machines of the program. For
/// tests of what older nodes do.
pub fn remove(flags: u64) {
    REMOVED.store(flags, Ordering::Relaxed);
}

/// The flags without which a connection is refused.
pub fn mandatory(release: Release) -> u64 {
    match release {
        Release::R25 => MANDATORY_25,
        _ => MANDATORY_25 | MANDATORY_26,
    }
}

/// What this node offers in its handshakes, as a release does.
pub fn capabilities(release: Release) -> Capabilities {
    let altact = if release >= Release::R28 { ALTACT_SIG } else { 0 };
    let default = MANDATORY_25
        | altact
        | MANDATORY_26
        | DIST_MONITOR
        | DIST_MONITOR_NAME
        | SPAWN
        | ALIAS
        | UNICODE_IO
        | HEAD_ATOM_CACHE
        | SMALL_ATOM_TAGS
        | SEND_SENDER
        | BIG_SEQTRACE_LABELS
        | EXIT_PAYLOAD
        | FRAGMENTS
        | MANDATORY_25_DIGEST;
    let default = default & !REMOVED.load(Ordering::Relaxed);
    let rejectable = HEAD_ATOM_CACHE | HIDDEN_ATOM_CACHE | FRAGMENTS | ATOM_CACHE;
    Capabilities {
        default,
        mandatory: mandatory(release),
        addable: default,
        rejectable: rejectable & !REMOVED.load(Ordering::Relaxed),
        strict_order: HEAD_ATOM_CACHE & !REMOVED.load(Ordering::Relaxed),
    }
}
