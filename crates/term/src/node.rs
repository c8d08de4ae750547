//! Which node this is: what tells its pids, ports and references from those of others.

use crate::atom::{Atom, atoms};
use crate::release::{self, Release};
use std::sync::atomic::{AtomicU64, Ordering};

/// A node's name, and which of its incarnations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeInfo {
    pub name: Atom,
    pub creation: u32,
}

/// Name in the low half, creation in the high half.
static THIS: AtomicU64 = AtomicU64::new(atoms::NONODE.index() as u64);

impl NodeInfo {
    /// The node that we are: `nonode@nohost` until distribution starts.
    pub fn this() -> NodeInfo {
        let word = THIS.load(Ordering::Relaxed);
        NodeInfo { name: Atom::from_index(word as u32), creation: (word >> 32) as u32 }
    }
    /// Changes what [`NodeInfo::this`] answers from now on.
    pub fn set_this(self) {
        THIS.store(
            u64::from(self.name.index()) | u64::from(self.creation) << 32,
            Ordering::Relaxed,
        );
    }
}

/// Bits of a local pid's data.
pub const PID_BITS: u32 = 43;

/// Bits of a local pid's data that are its "number", as many as in OTP; those above are its serial.
fn pid_number_bits() -> u32 {
    if release::current() >= Release::R26 { 28 } else { 15 }
}

/// The two parts of a local pid's data, as printed: `<0.Number.Serial>`.
pub fn pid_parts(data: u64) -> (u32, u32) {
    let bits = pid_number_bits();
    ((data & ((1 << bits) - 1)) as u32, (data >> bits) as u32)
}
/// A local pid's data from its parts; `None` when they are too large for one.
pub fn pid_data(number: u32, serial: u32) -> Option<u64> {
    let bits = pid_number_bits();
    let fits = number >> bits == 0 && u64::from(serial) >> (PID_BITS - bits) == 0;
    fits.then_some(u64::from(number) | u64::from(serial) << bits)
}
