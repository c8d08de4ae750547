//! Which node this is: what tells its pids, ports and references from those of others.

use crate::alloc::Alloc;
use crate::atom::{Atom, atoms};
use crate::release::{self, Release};
use crate::word::{IMMEDIATE_BITS, Subtag, Term};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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

/// Incarnations that identifiers made here were of, while their node had no name or this one's: this
/// node must not become one of them.
static NOTED: Mutex<BTreeSet<(Atom, u32)>> = Mutex::new(BTreeSet::new());
/// How many of them are kept.
const NOTED_MAX: usize = 1 << 16;

thread_local! {
    static LAST_NOTED: Cell<Option<NodeInfo>> = const { Cell::new(None) };
}

/// Remembers the node of an identifier of another node, if this node could become it.
#[inline]
pub(crate) fn note_incarnation(of: NodeInfo) {
    let this = NodeInfo::this();
    if (this.name == atoms::NONODE || this.name == of.name) && LAST_NOTED.get() != Some(of) {
        note(of);
    }
}

#[cold]
fn note(of: NodeInfo) {
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    if noted.len() < NOTED_MAX {
        noted.insert((of.name, of.creation));
    }
    LAST_NOTED.set(Some(of));
}

/// The incarnation that a node becomes whose next one this would be: a later one, if there were
/// identifiers of it here already.
pub fn free_incarnation(mut wanted: NodeInfo) -> NodeInfo {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.creation = wanted.creation.max(FIRST_CREATION);
    while noted.contains(&(wanted.name, wanted.creation)) {
        wanted.creation = wanted.creation.checked_add(1).unwrap_or(FIRST_CREATION);
    }
    wanted
}

/// Creations below are not used any more.
const FIRST_CREATION: u32 = 4;

/// Bits of a local pid's data from OTP 26 on.
const PID_BITS: u32 = 43;
/// Bits of an OTP 25 pid: a number of 15, and a serial of 13.
const PID_BITS_25: u32 = 28;

/// Bits of the numbers that processes of this node get, one after the other.
pub fn pid_bits() -> u32 {
    if release::current() >= Release::R26 { PID_BITS } else { PID_BITS_25 }
}

/// Bits of a local pid's data that are its "number", as many as in OTP; those above are its serial.
fn pid_number_bits() -> u32 {
    if release::current() >= Release::R26 { 28 } else { 15 }
}

/// The two parts of a local pid's data, as printed: `<0.Number.Serial>`.
pub fn pid_parts(data: u64) -> (u32, u32) {
    let bits = pid_number_bits();
    ((data & ((1 << bits) - 1)) as u32, (data >> bits) as u32)
}

/// What two numbers are as a pid of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PidData {
    /// That of [`Term::pid`](crate::Term::pid), with this data.
    Local(u64),
    /// Beyond what processes of this node get. OTP's pids have a serial of 32 bits, so these are
    /// pids, of no process: terms have the form of other nodes' pids for them.
    Beyond,
}

/// What a pid of this node with these parts is; `None` when OTP has no such pid.
pub fn pid_data(number: u32, serial: u32) -> Option<PidData> {
    let bits = pid_number_bits();
    if number >> bits != 0 {
        return None;
    }
    let data = u64::from(number) | u64::from(serial) << bits;
    if data >> pid_bits() == 0 {
        return Some(PidData::Local(data));
    }
    (release::current() >= Release::R26).then_some(PidData::Beyond)
}

/// Bits of the number of a port of this node in OTP.
fn port_bits() -> u32 {
    if release::current() >= Release::R26 { 60 } else { 28 }
}

/// Bits of a port's number that fit in a [`Term::port`].
const PORT_TERM_BITS: u32 = u64::BITS - IMMEDIATE_BITS;

/// Bits of the numbers that ports of this node get, one after the other.
pub fn port_number_bits() -> u32 {
    port_bits().min(PORT_TERM_BITS)
}

/// The port of this node with this number; `None` when OTP has no such port. One whose number is
/// beyond [`Term::port`]'s, which no port gets, has the form of other nodes' ports.
pub fn port_of_number<A: Alloc + ?Sized>(
    alloc: &mut A,
    this: NodeInfo,
    number: u64,
) -> Option<Term> {
    if number >> port_bits() != 0 {
        return None;
    }
    if number >> PORT_TERM_BITS == 0 {
        return Some(Term::port(number));
    }
    let halves = [number & 0xffff_ffff, number >> 32];
    Some(alloc.external(Subtag::ExternalPort, this.name, this.creation, &halves))
}

/// The number of the process that a pid of this node, incarnation included, stands for. One that is
/// [`PidData::Beyond`] has a number that no process gets.
pub fn own_pid(term: Term) -> Option<u64> {
    if let Some(data) = term.as_pid() {
        return Some(data);
    }
    let external = term.as_external().filter(|_| term.is_any_pid())?;
    let of = NodeInfo { name: external.node(), creation: external.creation() };
    let numbers = external.numbers();
    (of == NodeInfo::this()).then(|| numbers[0] | numbers[1] << pid_number_bits())
}

/// Whether the term is a port of this node, incarnation included.
pub fn is_own_port(term: Term) -> bool {
    term.is_port()
        || term.is_any_port()
            && term.as_external().is_some_and(|external| {
                let of = NodeInfo { name: external.node(), creation: external.creation() };
                of == NodeInfo::this()
            })
}
