//! Random terms through us and through OTP: external format, hashes, order.

mod common;

use common::{Random, Shape, ask, parts};
use swarmrt_term::etf::{self, DecodeOptions, EncodeOptions, Interning};
use swarmrt_term::{Alloc, FragmentHeap, Term, compare, equal, equal_exact, hash};

const ANY: Shape = Shape { depth: 4, opaque_keys: true, identifiers: true };

fn encode(term: Term) -> Vec<u8> {
    etf::encode(term, &EncodeOptions::default())
}

#[test]
fn external_format_and_hashes_are_those_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let terms: Vec<Term> = (0..3000).map(|_| common::term(&mut random, &mut heap, ANY)).collect();
    let blobs: Vec<Vec<u8>> = terms.iter().map(|&term| encode(term)).collect();
    let script = r"
answer(Blobs) -> [one(binary_to_term(B)) || B <- Blobs].
one(T) ->
    [sized(term_to_binary(T)), sized(term_to_binary(T, [{minor_version, 2}])), sized(term_to_binary(T, [{minor_version, 0}])),
     sized(term_to_binary(T, [deterministic])), sized(term_to_binary(T, [compressed])),
     sized(integer_to_list(erlang:external_size(T))),
     sized(<<(erlang:phash2(T)):32, (erlang:phash2(T, 1 bsl 32)):32, (erlang:phash2(T, 1000)):32, (erlang:phash(T, 1 bsl 32) - 1):32>>)].
";
    let Some(answer) = ask("format", script, &blobs) else { return };
    let answers = parts(&answer.file);
    assert_eq!(answers.len(), terms.len() * 7);
    for (index, (&term, theirs)) in terms.iter().zip(answers.chunks_exact(7)).enumerate() {
        let show =
            || format!("term {index}: {}", String::from_utf8_lossy(&blobs[index]).escape_debug());
        assert!(
            blobs[index] == theirs[0],
            "term_to_binary/1 of {}\nours   {:?}\ntheirs {:?}",
            show(),
            blobs[index],
            theirs[0]
        );
        for (minor_version, expected) in [(2, theirs[1]), (0, theirs[2])] {
            let ours =
                etf::encode(term, &EncodeOptions { minor_version, ..EncodeOptions::default() });
            assert!(
                ours == expected,
                "minor version {minor_version} of {}\nours   {ours:?}\ntheirs {expected:?}",
                show()
            );
        }
        let ours =
            etf::encode(term, &EncodeOptions { deterministic: true, ..EncodeOptions::default() });
        assert!(ours == theirs[3], "deterministic encoding of {}", show());
        for bytes in [theirs[0], theirs[4]] {
            let mut heap = FragmentHeap::new();
            let (back, used) = etf::decode(bytes, &mut heap, &Interning, DecodeOptions::default())
                .expect("OTP wrote it");
            assert_eq!(used, bytes.len());
            assert!(equal_exact(back, term), "decoded {}", show());
            assert_eq!(hash::internal_hash(back), hash::internal_hash(term));
            assert!(encode(back) == blobs[index]);
        }
        let size = etf::external_size(term, &EncodeOptions::default(), usize::MAX)
            .expect("there is no limit")
            .to_string();
        assert!(
            size.as_bytes() == theirs[5],
            "external size of {}: ours {size}, theirs {}",
            show(),
            String::from_utf8_lossy(theirs[5])
        );
        let word =
            |at: usize| u32::from_be_bytes(theirs[6][at * 4..at * 4 + 4].try_into().unwrap());
        assert_eq!(hash::phash2(term), word(0), "phash2/1 of {}", show());
        assert_eq!(hash::phash2_range(term, 1 << 32), word(1), "phash2/2 of {}", show());
        assert_eq!(hash::phash2_range(term, 1000), word(2), "phash2/2 of {}", show());
        assert_eq!(hash::phash(term, 1 << 32) - 1, u64::from(word(3)), "phash/2 of {}", show());
    }
}

#[test]
fn order_is_that_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let mut terms = Vec::new();
    for depth in [0, 1, 1, 2, 3] {
        terms.extend(
            (0..1500).map(|_| common::term(&mut random, &mut heap, Shape { depth, ..ANY })),
        );
    }
    let sorted = {
        let mut sorted = terms.clone();
        sorted.sort_by(|&a, &b| compare(a, b));
        sorted
    };
    // Pairs at random, and neighbours in order, which are alike.
    let mut pairs: Vec<(Term, Term)> = sorted
        .windows(2)
        .map(|pair| if random.chance(2) { (pair[0], pair[1]) } else { (pair[1], pair[0]) })
        .collect();
    pairs.extend((0..5000).map(|_| (random.pick(&terms), random.pick(&terms))));
    let blobs: Vec<Vec<u8>> = pairs.iter().map(|&(a, b)| encode(heap.tuple(&[a, b]))).collect();
    let script = r"
answer(Blobs) -> [one(binary_to_term(B)) || B <- Blobs].
one({A, B}) -> [bit(A < B), bit(A == B), bit(A =:= B)].
bit(true) -> 1;
bit(false) -> 0.
";
    let Some(answer) = ask("order", script, &blobs) else { return };
    assert_eq!(answer.file.len(), pairs.len() * 3);
    for (index, (&(a, b), theirs)) in pairs.iter().zip(answer.file.chunks_exact(3)).enumerate() {
        let ours =
            [u8::from(compare(a, b).is_lt()), u8::from(equal(a, b)), u8::from(equal_exact(a, b))];
        assert!(
            ours == theirs,
            "{}\nours {ours:?} theirs {theirs:?}",
            String::from_utf8_lossy(&blobs[index]).escape_debug()
        );
        assert_eq!(compare(a, b), compare(b, a).reverse());
        assert_eq!(compare(a, b).is_eq(), equal(a, b));
        assert_eq!(swarmrt_term::compare_exact(a, b).is_eq(), equal_exact(a, b));
        if equal_exact(a, b) {
            assert_eq!(hash::internal_hash(a), hash::internal_hash(b));
        }
    }
}
