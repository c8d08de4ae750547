//! `erts_debug:flat_size/1` and `size_shared/1`: words of terms as OTP lays them out, since
//! programs reckon with them.

use std::collections::HashSet;
use swarmrt_heap::Sharing;
use swarmrt_machine::{BifResult, Process, bif};
use swarmrt_term::binary::{HEAP_BIN_BYTES_MAX, original_of_part};
use swarmrt_term::{Bits, Kind, MapNode, RefKind, Subtag, Term, stop};

const FLOAT_WORDS: usize = 2;
const BIG_SMALL_WORDS: usize = 2;
const FUN_WORDS: usize = 5;
/// Words before the identifier's own, in a pid, port or reference of another node.
const EXTERNAL_HEAD_WORDS: usize = 3;
/// Words of a reference that is an alias or holds something.
const SPECIAL_REF_WORDS: usize = 4;
const SUB_BIN_WORDS: usize = 5;
const SHARED_BIN_WORDS: usize = 6;
/// Bits of OTP's small integers.
const SMALL_BITS: u32 = 60;

/// The words of one term, without what it points at; that goes to `pending`. Large maps are trees
/// with more branches here than in OTP: of those the pairs are right, and the nodes are ours.
fn own_words(term: Term, pending: &mut Vec<Term>) -> usize {
    match term.kind() {
        Kind::Small(value) => {
            let limit = 1i64 << (SMALL_BITS - 1);
            if (-limit..limit).contains(&value) { 0 } else { BIG_SMALL_WORDS }
        }
        Kind::Float(_) => FLOAT_WORDS,
        Kind::Cons(cell) => {
            pending.extend([cell.tail(), cell.head()]);
            2
        }
        Kind::Tuple(tuple) => {
            pending.extend_from_slice(tuple.elements());
            // The empty tuple is one for all.
            if tuple.arity() == 0 { 0 } else { tuple.arity() + 1 }
        }
        Kind::FlatMap(map) => {
            pending.extend_from_slice(map.keys());
            pending.extend_from_slice(map.values());
            let keys = if map.size() == 0 { 0 } else { map.size() + 1 };
            3 + map.size() + keys
        }
        Kind::HashMap(map) => {
            let mut words = 2 + map.children().len();
            let mut nodes: Vec<Term> = map.children().to_vec();
            while let Some(node) = nodes.pop() {
                if node.is_cons() {
                    pending.push(node);
                    continue;
                }
                // SAFETY: what is no pair in a hash map is an inner node.
                let node = unsafe { MapNode::from_ptr(node.boxed_ptr()) };
                words += 1 + node.children().len();
                nodes.extend_from_slice(node.children());
            }
            words
        }
        Kind::Bits(bits) => binary_words(term, bits),
        Kind::Fun(fun) => {
            pending.extend_from_slice(fun.free());
            FUN_WORDS + fun.free().len()
        }
        Kind::ExportFun(_) => FUN_WORDS,
        Kind::Ref(reference) if reference.ref_kind() != RefKind::Plain => SPECIAL_REF_WORDS,
        // Node and creation are one word in OTP.
        Kind::ExternalPid(_) | Kind::ExternalPort(_) => term.boxed_header().words(),
        // Two numbers are one word, and so is how many there are with the first.
        Kind::ExternalRef(reference) => EXTERNAL_HEAD_WORDS + reference.numbers().len() / 2 + 1,
        _ if term.is_boxed() => term.boxed_header().words() + 1,
        _ => 0,
    }
}

fn binary_words(term: Term, bits: Bits) -> usize {
    let bytes = bits.bit_size.div_ceil(8);
    let is_shared = match term.boxed_subtag() {
        Some(Subtag::SubBin) => original_of_part(term).boxed_subtag() == Some(Subtag::SharedBin),
        subtag => subtag == Some(Subtag::SharedBin),
    };
    let whole_bytes = bits.bit_size.is_multiple_of(8);
    // Small parts of a large binary are copied when they are made.
    let is_shared = is_shared && bytes > HEAP_BIN_BYTES_MAX;
    let data = if is_shared { SHARED_BIN_WORDS } else { 2 + bytes.div_ceil(8) };
    data + if whole_bytes { 0 } else { SUB_BIN_WORDS }
}

/// The words of a term and all it is made of, not those that `skip` says.
fn words(term: Term, mut skip: impl FnMut(Term) -> bool) -> usize {
    let mut pending = vec![term];
    let mut total = 0;
    while let Some(term) = pending.pop() {
        stop::step();
        if !skip(term) {
            total += own_words(term, &mut pending);
        }
    }
    total
}

#[bif("erts_debug:flat_size/1")]
fn flat_size(_p: &mut Process, term: Term) -> BifResult {
    Ok(Term::small(words(term, |_| false) as i64))
}

/// Literals are not counted, and what is pointed at several times once.
#[bif("erts_debug:size_shared/1")]
fn size_shared(_p: &mut Process, term: Term) -> BifResult {
    let sharing = Sharing::now();
    let mut seen = HashSet::new();
    let skip = |term: Term| term.is_pointer() && (sharing.shares(term) || !seen.insert(term.raw()));
    Ok(Term::small(words(term, skip) as i64))
}
