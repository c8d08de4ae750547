//! Native records: what OTP 29 says of the same terms.

use std::cmp::Ordering;
use swarmrt_term::etf::{DecodeOptions, EncodeOptions, Interning, decode, encode};
use swarmrt_term::hash::{PHASH2_MASK, internal_hash, phash2};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, compare, equal_exact, map, print};

fn atom(name: &str) -> Term {
    Term::atom(Atom::new(name))
}

/// `records:create(Module, n, Fields, #{is_exported => IsExported})`
fn record(
    heap: &mut FragmentHeap,
    module: &str,
    is_exported: bool,
    fields: &[(&str, Term)],
) -> Term {
    let names: Vec<Term> = fields.iter().map(|(name, _)| atom(name)).collect();
    let values: Vec<Term> = fields.iter().map(|&(_, value)| value).collect();
    let definition = heap.record_definition(atom(module), atom("n"), is_exported, &names);
    heap.record(definition, &values)
}

fn samples(heap: &mut FragmentHeap) -> (Term, Term) {
    let text = heap.string("x");
    let full = record(heap, "m", true, &[("a", Term::small(1)), ("b", text)]);
    (full, record(heap, "m", false, &[]))
}

#[test]
fn hashes_are_those_of_otp() {
    let mut heap = FragmentHeap::new();
    let (full, empty) = samples(&mut heap);
    let tuple = heap.tuple(&[empty]);
    let list = heap.list(&[full, tuple]);
    assert_eq!([full, empty, list].map(phash2), [64_165_272, 98_187_672, 34_790_092]);
}

/// The hashes are those in OTP's `hash_SUITE`, whose file lists its atoms in this order.
#[test]
fn values_are_hashed_in_the_order_of_the_fields_atoms() {
    let mut heap = FragmentHeap::new();
    let mut hash = |values: [i64; 4]| {
        for name in ["aaaa", "zzzz", "wwww"] {
            atom(name);
        }
        let fields = ["zzzz", "true", "aaaa", "wwww"].map(atom);
        let definition = heap.record_definition(atom("hash_SUITE"), atom("order"), false, &fields);
        phash2(heap.record(definition, &values.map(Term::small)))
    };
    let hashes = [[0, 1, 2, 3], [100, 1, 2, 3], [0, 1, 2, 999]].map(&mut hash);
    assert_eq!(
        hashes,
        [3_170_326_674_u32, 2_535_759_712, 438_972_933].map(|hash| hash & PHASH2_MASK)
    );
}

#[test]
fn the_external_format_is_that_of_otp() {
    release::set_current(Release::R29);
    let mut heap = FragmentHeap::new();
    let (full, empty) = samples(&mut heap);
    let options = EncodeOptions { minor_version: 2, ..EncodeOptions::default() };
    let expected = b"\x83C\0\0\0\x02\x01w\x01mw\x01nw\x01aw\x01ba\x01k\0\x01x";
    assert_eq!(encode(full, &options), expected);
    assert_eq!(encode(empty, &options), b"\x83C\0\0\0\0\0w\x01mw\x01n");
    let read = |bytes: &[u8], heap: &mut FragmentHeap| {
        decode(bytes, heap, &Interning, DecodeOptions::default()).map(|(term, _)| term)
    };
    for term in [full, empty] {
        let again = read(&encode(term, &options), &mut heap).expect("what was written is read");
        assert!(equal_exact(term, again) && compare(term, again) == Ordering::Equal);
        assert_eq!(internal_hash(term), internal_hash(again));
        assert_eq!(print::print(term), print::print(again));
    }
    // A field twice; flags that are reserved; more fields than bytes.
    let twice = b"\x83C\0\0\0\x02\x01w\x01mw\x01nw\x01aw\x01aa\x01a\x02";
    assert!(read(twice, &mut heap).is_err());
    assert!(read(b"\x83C\0\0\0\0\x02w\x01mw\x01n", &mut heap).is_err());
    assert!(read(b"\x83C\xff\xff\xff\xff\x01w\x01mw\x01n", &mut heap).is_err());
}

#[test]
fn records_come_between_tuples_and_maps() {
    let mut heap = FragmentHeap::new();
    let (full, empty) = samples(&mut heap);
    let other = record(&mut heap, "a", true, &[("z", Term::small(1)), ("b", Term::NIL)]);
    let larger = record(&mut heap, "m", true, &[("a", Term::small(2)), ("b", Term::NIL)]);
    let tuple = heap.tuple(&[Term::small(1); 3]);
    let map = map::from_pairs(&mut heap, &[]);
    let ordered = [tuple, other, empty, full, larger, map, Term::NIL];
    for (at, &x) in ordered.iter().enumerate() {
        for (other_at, &y) in ordered.iter().enumerate() {
            assert_eq!(compare(x, y), at.cmp(&other_at), "{at} and {other_at}");
            assert_eq!(equal_exact(x, y), at == other_at);
        }
    }
}

#[test]
fn records_are_printed_with_their_fields() {
    let mut heap = FragmentHeap::new();
    let (full, empty) = samples(&mut heap);
    let list = heap.list(&[full, empty]);
    assert_eq!(String::from_utf8_lossy(&print::print(list)), r#"[#m:n{a=1,b="x"},#m:n{}]"#);
}

#[test]
fn fields_are_found_by_name() {
    let mut heap = FragmentHeap::new();
    let (full, _) = samples(&mut heap);
    let view = full.as_record().expect("a record");
    assert_eq!(view.get(atom("a")), Some(Term::small(1)));
    assert_eq!(view.get(atom("c")), None);
    assert!(view.is_exported() && view.module() == atom("m") && view.name() == atom("n"));
    assert!(!full.is_tuple() && full.as_tuple().is_none() && !full.is_map());
}
