//! The order of pids, ports and references.

use super::compare_atoms;
use crate::boxed::{External, LocalRef};
use crate::node::{NodeInfo, pid_parts};
use crate::word::Term;
use std::cmp::Ordering;

pub(super) fn compare_nodes(a: NodeInfo, b: NodeInfo) -> Ordering {
    compare_atoms(a.name, b.name).then(a.creation.cmp(&b.creation))
}

fn node_of(external: External) -> NodeInfo {
    NodeInfo { name: external.node(), creation: external.creation() }
}

/// Serial, number, node.
pub(super) fn compare_pids(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_pid(), term.as_external()) {
        (Some(data), _) => (pid_parts(data).1, pid_parts(data).0, NodeInfo::this()),
        (None, Some(external)) => {
            (external.numbers()[1] as u32, external.numbers()[0] as u32, node_of(external))
        }
        (None, None) => unreachable!("neither kind of pid"),
    };
    let (x, y) = (parts(a), parts(b));
    x.0.cmp(&y.0).then(x.1.cmp(&y.1)).then_with(|| compare_nodes(x.2, y.2))
}

/// Node, number.
pub(super) fn compare_ports(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_port(), term.as_external()) {
        (Some(number), _) => (NodeInfo::this(), number),
        (None, Some(external)) => {
            (node_of(external), external.numbers()[0] | external.numbers()[1] << 32)
        }
        (None, None) => unreachable!("neither kind of port"),
    };
    let (x, y) = (parts(a), parts(b));
    compare_nodes(x.0, y.0).then(x.1.cmp(&y.1))
}

/// Node, then the numbers from the last to the first; missing ones are zero.
pub(super) fn compare_refs(a: Term, b: Term) -> Ordering {
    let parts = |term: Term| match (term.as_local_ref(), term.as_external()) {
        (Some(reference), _) => (NodeInfo::this(), reference_numbers(reference)),
        (None, Some(external)) => {
            (node_of(external), external.numbers().iter().map(|&number| number as u32).collect())
        }
        (None, None) => unreachable!("neither kind of reference"),
    };
    let (mut x, mut y) = (parts(a), parts(b));
    let count = x.1.len().max(y.1.len());
    x.1.resize(count, 0);
    y.1.resize(count, 0);
    compare_nodes(x.0, y.0).then_with(|| compare_ref_numbers(&x.1, &y.1))
}

fn reference_numbers(reference: LocalRef) -> Vec<u32> {
    reference.numbers().to_vec()
}

pub(super) fn compare_ref_numbers(x: &[u32], y: &[u32]) -> Ordering {
    x.iter().rev().cmp(y.iter().rev())
}
