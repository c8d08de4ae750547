//! The process that made a fun, as the fun keeps it: in 55 bits that the collector does not look at.
//!
//! Bit 54 tells processes of this node from others. The former have their number in the lower bits.
//! The latter have, from the highest: which node it is, by its place in a table of this file; the
//! serial; the number. From OTP 27 on a fun names `init` for its maker, so the table stays empty.

use crate::alloc::Alloc;
use crate::node::NodeInfo;
use crate::release::{self, Release};
use crate::word::{Subtag, Term};
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

const REMOTE: u64 = 1 << 54;
const NODE_BITS: u32 = 13;
const SERIAL_BITS: u32 = 13;
const NUMBER_BITS: u32 = 28;

const _: () = assert!(NODE_BITS + SERIAL_BITS + NUMBER_BITS == 54);

/// The maker of a fun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Creator {
    /// A process of this node, by the data of its pid.
    Here(u64),
    /// A process of another node, or of an earlier incarnation of this one.
    Elsewhere { node: NodeInfo, number: u32, serial: u32 },
}

/// The first process of this node, `init`.
const INIT: Creator = Creator::Here(0);

/// Nodes that have made funs, by their places and the other way round.
#[derive(Default)]
struct Nodes {
    places: HashMap<(u32, u32), u16>,
    nodes: Vec<NodeInfo>,
}

static NODES: LazyLock<RwLock<Nodes>> = LazyLock::new(RwLock::default);

/// The node's place in the table; `None` when it is full.
fn place_of(node: NodeInfo) -> Option<u16> {
    let key = (node.name.index(), node.creation);
    if let Some(&place) = NODES.read().unwrap_or_else(PoisonError::into_inner).places.get(&key) {
        return Some(place);
    }
    let mut table = NODES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(&place) = table.places.get(&key) {
        return Some(place);
    }
    let place = u16::try_from(table.nodes.len()).ok().filter(|place| place >> NODE_BITS == 0)?;
    table.nodes.push(node);
    table.places.insert(key, place);
    Some(place)
}

impl Creator {
    /// The maker that a decoded fun names with this term: `init` where that is no pid, or one with
    /// more bits than there is room for.
    pub fn of(term: Term) -> Creator {
        if let Some(data) = term.as_pid() {
            return Creator::Here(data);
        }
        let Some(pid) = term.as_external().filter(|_| term.is_any_pid()) else { return INIT };
        let node = NodeInfo { name: pid.node(), creation: pid.creation() };
        Creator::Elsewhere {
            node,
            number: pid.numbers()[0] as u32,
            serial: pid.numbers()[1] as u32,
        }
    }

    /// The bits that a fun keeps.
    pub fn pack(self) -> u64 {
        match self {
            Creator::Here(data) => data,
            _ if release::current() >= Release::R27 => 0,
            Creator::Elsewhere { node, number, serial } => {
                if number >> NUMBER_BITS != 0 || serial >> SERIAL_BITS != 0 {
                    return 0;
                }
                place_of(node).map_or(0, |place| {
                    let parts = u64::from(serial) << NUMBER_BITS | u64::from(number);
                    REMOTE | u64::from(place) << (NUMBER_BITS + SERIAL_BITS) | parts
                })
            }
        }
    }

    /// The maker that a fun keeps in these bits.
    pub(crate) fn unpack(bits: u64) -> Creator {
        if release::current() >= Release::R27 {
            return INIT;
        }
        if bits & REMOTE == 0 {
            return Creator::Here(bits);
        }
        let place = (bits & !REMOTE) >> (NUMBER_BITS + SERIAL_BITS);
        let table = NODES.read().unwrap_or_else(PoisonError::into_inner);
        table.nodes.get(place as usize).map_or(INIT, |&node| Creator::Elsewhere {
            node,
            number: (bits & ((1 << NUMBER_BITS) - 1)) as u32,
            serial: (bits >> NUMBER_BITS & ((1 << SERIAL_BITS) - 1)) as u32,
        })
    }

    /// The pid.
    pub fn to_term<A: Alloc + ?Sized>(self, to: &mut A) -> Term {
        match self {
            Creator::Here(data) => Term::pid(data),
            Creator::Elsewhere { node, number, serial } => {
                let numbers = [u64::from(number), u64::from(serial)];
                to.external(Subtag::ExternalPid, node.name, node.creation, &numbers)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atom::Atom;

    #[test]
    fn makers_come_out_of_their_bits_as_they_went_in() {
        let node = |name, creation| NodeInfo { name: Atom::new(name), creation };
        for maker in [
            Creator::Here(0),
            Creator::Here((1 << 28) - 1),
            Creator::Elsewhere { node: node("a@b", 7), number: 88, serial: 0 },
            Creator::Elsewhere { node: node("a@b", 8), number: (1 << 28) - 1, serial: 8191 },
            Creator::Elsewhere { node: node("c@b", 7), number: 1, serial: 1 },
        ] {
            assert_eq!(Creator::unpack(maker.pack()), maker);
            assert_eq!(maker.pack() >> 55, 0, "the fun's own bit stays clear");
        }
        for (number, serial) in [(1 << 28, 0), (0, 1 << 13)] {
            let maker = Creator::Elsewhere { node: node("a@b", 7), number, serial };
            assert_eq!(Creator::unpack(maker.pack()), INIT, "more bits than there is room for");
        }
    }
}
