//! Bytes from anybody, and terms of any depth: nothing panics, overflows the stack or takes memory
//! that the input does not pay for.

mod common;

use common::{Random, Shape};
use swarmrt_term::etf::{self, DecodeError, DecodeOptions, EncodeOptions, Interning};
use swarmrt_term::{Alloc, FragmentHeap, Term, compare, equal, equal_exact, hash, map, print};

fn decode(bytes: &[u8], heap: &mut FragmentHeap) -> Result<(Term, usize), DecodeError> {
    etf::decode(bytes, heap, &Interning, DecodeOptions { safe: true, used: true })
}

#[test]
fn damaged_terms_are_refused_or_read() {
    let mut random = Random::new();
    for _ in 0..3000 {
        let mut heap = FragmentHeap::new();
        let shape = Shape { depth: 3, opaque_keys: true, identifiers: true };
        let term = common::term(&mut random, &mut heap, shape);
        let compressed = random.chance(4).then_some(6);
        let bytes = etf::encode(term, &EncodeOptions { compressed, ..EncodeOptions::default() });
        for _ in 0..20 {
            let mut bytes = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes.truncate(at + 1),
                    1 => bytes[at] = random.next() as u8,
                    2 => bytes[at] ^= 1 << random.below(8),
                    _ => {
                        bytes[at] = random.pick(&[
                            70, 77, 80, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106,
                            107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 118, 119, 120,
                        ]);
                    }
                }
            }
            let mut heap = FragmentHeap::new();
            if let Ok((term, used)) = decode(&bytes, &mut heap) {
                assert!(used <= bytes.len());
                assert!(heap.words() < 64 + bytes.len() * 64 || compressed.is_some());
                let again = etf::encode(term, &EncodeOptions::default());
                let (back, _) =
                    etf::decode(&again, &mut heap, &Interning, DecodeOptions::default())
                        .expect("we wrote it");
                assert!(equal_exact(term, back) && hash::phash2(term) == hash::phash2(back));
                assert!(!print::print(term).is_empty());
            }
        }
    }
}

#[test]
fn noise_is_refused_or_read() {
    let mut random = Random::new();
    for _ in 0..100_000 {
        let len = random.below(40);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        bytes.insert(0, etf::VERSION);
        let _ = decode(&bytes, &mut FragmentHeap::new());
    }
}

#[test]
fn claims_without_bytes_take_no_memory() {
    for claim in [
        &[131, 105, 255, 255, 255, 255][..],
        &[131, 108, 255, 255, 255, 255, 106],
        &[131, 116, 255, 255, 255, 255],
        &[131, 109, 255, 255, 255, 255, 0],
        &[131, 111, 255, 255, 255, 255, 0],
        &[131, 111, 0, 1, 0, 0, 0],
        &[131, 80, 255, 255, 255, 255, 120, 156, 3, 0, 0, 0, 0, 1],
        &[131, 112],
        &[131],
        &[],
    ] {
        let mut heap = FragmentHeap::new();
        assert_eq!(decode(claim, &mut heap).err(), Some(DecodeError::Malformed));
        assert_eq!(heap.words(), 0);
    }
    // Each of the nested tuples claims nearly all the bytes that are left.
    let mut bytes = vec![131];
    for level in 0..100_000u32 {
        bytes.push(105);
        bytes.extend(((99_999 - level) * 5).to_be_bytes());
    }
    let mut heap = FragmentHeap::new();
    assert!(decode(&bytes, &mut heap).is_err());
    assert_eq!(heap.words(), 0);
}

#[test]
fn zip_bombs_cost_no_more_than_their_claim() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        encoder.write_all(&[106; 1 << 16]).unwrap();
    }
    let packed = encoder.finish().unwrap();
    let mut bytes = vec![131, 80, 0, 0, 0, 1];
    bytes.extend(&packed);
    assert!(decode(&bytes, &mut FragmentHeap::new()).is_err(), "more comes out than was claimed");
}

#[test]
fn depth_is_no_danger() {
    const DEPTH: usize = 500_000;
    let wrap: [(&str, &[u8], &[u8]); 5] = [
        ("tuples", &[104, 1], &[]),
        ("lists in heads", &[108, 0, 0, 0, 1], &[106]),
        ("lists in tails", &[108, 0, 0, 0, 1, 97, 1], &[]),
        ("map values", &[116, 0, 0, 0, 1, 97, 1], &[]),
        ("map keys", &[116, 0, 0, 0, 1], &[97, 1]),
    ];
    // A small stack, as schedulers may have.
    let work = move || {
        for (name, before, after) in wrap {
            let bytes = |leaf: u8| {
                [&[131], &before.repeat(DEPTH)[..], &[97, leaf], &after.repeat(DEPTH)].concat()
            };
            let mut heap = FragmentHeap::new();
            let (a, used) =
                decode(&bytes(1), &mut heap).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(used, bytes(1).len());
            let (b, _) = decode(&bytes(1), &mut heap).unwrap();
            let (c, _) = decode(&bytes(2), &mut heap).unwrap();
            assert!(equal_exact(a, b) && equal(a, b) && compare(a, b).is_eq(), "{name}");
            assert!(!equal_exact(a, c) && !equal(a, c) && compare(a, c).is_lt(), "{name}");
            assert_eq!(hash::phash2(a), hash::phash2(b));
            assert_eq!(hash::phash(a, 1 << 32), hash::phash(b, 1 << 32));
            assert_eq!(hash::internal_hash(a), hash::internal_hash(b));
            assert!(
                equal_exact(
                    decode(&etf::encode(a, &EncodeOptions::default()), &mut heap).unwrap().0,
                    a
                ),
                "{name}"
            );
            assert!(print::print(a).len() > DEPTH);
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn hash_maps_as_keys_of_hash_maps_compare_at_any_depth() {
    // Little stack: a call for every level would not fit.
    let work = || {
        let mut heap = FragmentHeap::new();
        let nest = |heap: &mut FragmentHeap, leaf: i64| {
            let mut key = Term::small(leaf);
            for _ in 0..100 {
                let mut pairs: Vec<(Term, Term)> =
                    (0..33).map(|number| (Term::small(number), Term::NIL)).collect();
                pairs.push((key, Term::NIL));
                key = map::from_pairs(heap, &pairs);
            }
            key
        };
        let (a, b, c) = (nest(&mut heap, 100), nest(&mut heap, 100), nest(&mut heap, 101));
        assert!(equal_exact(a, b) && compare(a, b).is_eq());
        assert!(!equal_exact(a, c) && compare(a, c).is_lt() && compare(c, a).is_gt());
    };
    std::thread::Builder::new().stack_size(40 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn duplicate_keys_and_wrong_floats_are_refused() {
    let mut heap = FragmentHeap::new();
    assert!(decode(&[131, 116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2], &mut heap).is_err());
    assert!(decode(&[131, 116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 2, 97, 2], &mut heap).is_ok());
    assert!(decode(&[131, 70, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], &mut heap).is_err());
    let pairs: Vec<u8> = (0..40u8).flat_map(|key| [97, key % 39, 97, 0]).collect();
    assert!(decode(&[&[131, 116, 0, 0, 0, 40], &pairs[..]].concat(), &mut heap).is_err());
    let known = etf::encode(heap.tuple(&[]), &EncodeOptions::default());
    assert_eq!(known, [131, 104, 0]);
}
