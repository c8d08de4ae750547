//! The families of terms, which the term order keeps apart.

use crate::word::{Subtag, Term};

/// Families in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    Number,
    Atom,
    Reference,
    Fun,
    Port,
    Pid,
    Tuple,
    Record,
    Map,
    Nil,
    List,
    Bitstring,
    /// No term that a program can see.
    Internal,
}

/// Which family a term belongs to.
pub fn family(term: Term) -> Family {
    if term.is_small() || term.is_float_immediate() {
        return Family::Number;
    }
    if term.is_cons() {
        return Family::List;
    }
    let Some(subtag) = term.boxed_subtag() else {
        return match term {
            _ if term.is_atom() => Family::Atom,
            _ if term.is_port() => Family::Port,
            _ if term.is_pid() => Family::Pid,
            _ if term.is_nil() => Family::Nil,
            _ => Family::Internal,
        };
    };
    match subtag {
        Subtag::BigPos | Subtag::BigNeg | Subtag::Float => Family::Number,
        Subtag::Ref | Subtag::ExternalRef => Family::Reference,
        Subtag::Fun | Subtag::ExportFun => Family::Fun,
        Subtag::ExternalPort => Family::Port,
        Subtag::ExternalPid => Family::Pid,
        Subtag::Tuple => Family::Tuple,
        Subtag::Record => Family::Record,
        Subtag::FlatMap | Subtag::HashMap => Family::Map,
        Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin => Family::Bitstring,
        Subtag::MatchContext | Subtag::MapNode => Family::Internal,
    }
}
