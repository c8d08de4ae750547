//! Maps that grow, shrink and merge: contents and order against OTP.

mod common;

use common::{Random, Shape, ask, parts};
use swarmrt_term::etf::{self, EncodeOptions};
use swarmrt_term::{Alloc, FragmentHeap, Term, equal_exact, hash, map};

fn encode(term: Term) -> Vec<u8> {
    etf::encode(term, &EncodeOptions::default())
}

/// Keys of every kind whose order OTP shares with us; few different ones, so that most operations
/// meet a key.
fn key(random: &mut Random, heap: &mut FragmentHeap, range: usize) -> Term {
    let number = random.below(range) as i64;
    match random.below(6) {
        0 => heap.float(number as f64),
        1 => {
            let elements = [Term::small(number), Term::NIL];
            heap.tuple(&elements)
        }
        2 => heap.string(&format!("key {number}")),
        3 => heap.binary(format!("{number}").as_bytes()),
        _ => Term::small(number),
    }
}

#[test]
fn maps_change_as_those_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let mut blobs = Vec::new();
    let mut ours = Vec::new();
    for round in 0..60 {
        let range = [6, 12, 60, 400][round % 4];
        let mut current = map::empty(&mut heap);
        let mut operations = Vec::new();
        let mut steps = Vec::new();
        for step in 0..300 {
            let key = key(&mut random, &mut heap, range);
            // First it mostly grows, later it mostly shrinks.
            let operation = if random.below(300) > step { Term::small(0) } else { Term::small(1) };
            let value = Term::small(random.below(3) as i64);
            current = match operation.small_value() {
                0 => {
                    let changed = map::put(&mut heap, current, key, value);
                    assert!(equal_exact(map::get(changed, key).unwrap(), value));
                    assert_eq!(
                        map::put(&mut heap, changed, key, value),
                        changed,
                        "the same map when nothing changes"
                    );
                    assert!(
                        map::update_exact(&mut heap, current, key, value)
                            .is_none_or(|updated| equal_exact(updated, changed))
                    );
                    changed
                }
                _ => {
                    let found = map::get(current, key);
                    let rest = map::remove(&mut heap, current, key);
                    assert!(map::get(rest, key).is_none());
                    assert_eq!(map::size(rest) + usize::from(found.is_some()), map::size(current));
                    assert_eq!(found.is_none(), rest == current);
                    rest
                }
            };
            let triple = [operation, key, value];
            operations.push(heap.tuple(&triple));
            if step % 10 == 0 {
                let again = map::from_pairs(&mut heap, &map::iter(current).collect::<Vec<_>>());
                assert!(equal_exact(again, current));
                assert_eq!(hash::internal_hash(again), hash::internal_hash(current));
                assert_eq!(
                    encode(again),
                    encode(current),
                    "a map's order depends on its keys alone"
                );
            }
            let (keys, values) = (map::keys(&mut heap, current), map::values(&mut heap, current));
            steps.push([encode(current), encode(keys), encode(values)]);
        }
        let list = heap.list(&operations);
        blobs.push(encode(list));
        ours.push(steps);
    }
    let script = r"
answer(Blobs) -> [steps(binary_to_term(B), #{}) || B <- Blobs].
steps([{Op, K, V} | Rest], M0) ->
    M = case Op of 0 -> M0#{K => V}; 1 -> maps:remove(K, M0) end,
    [[sized(term_to_binary(T)) || T <- [M, maps:keys(M), maps:values(M)]] | steps(Rest, M)];
steps([], _) -> [].
";
    let Some(answer) = ask("maps", script, &blobs) else { return };
    let theirs = parts(&answer.file);
    let ours: Vec<&Vec<u8>> = ours.iter().flatten().flatten().collect();
    assert_eq!(ours.len(), theirs.len());
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            *ours == theirs,
            "step {}, part {}\nours   {ours:?}\ntheirs {theirs:?}",
            index / 3,
            index % 3
        );
    }
}

#[test]
fn maps_merge_and_compare_as_those_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let sizes = [0, 1, 5, 20, 32, 33, 60, 200];
    let mut cases = Vec::new();
    for _ in 0..400 {
        let pair: Vec<Term> = (0..2)
            .map(|_| {
                let count = random.pick(&sizes);
                let range = random.pick(&[20, 80]);
                let shape = Shape { depth: 1, opaque_keys: false, identifiers: false };
                let pairs: Vec<(Term, Term)> = (0..count)
                    .map(|_| {
                        (
                            key(&mut random, &mut heap, range),
                            common::term(&mut random, &mut heap, shape),
                        )
                    })
                    .collect();
                map::from_pairs(&mut heap, &pairs)
            })
            .collect();
        cases.push((pair[0], pair[1]));
    }
    let blobs: Vec<Vec<u8>> = cases.iter().map(|&(a, b)| encode(heap.tuple(&[a, b]))).collect();
    let script = r"
answer(Blobs) -> [one(binary_to_term(B)) || B <- Blobs].
one({A, B}) -> sized(term_to_binary(maps:merge(A, B))).
";
    let Some(answer) = ask("merge", script, &blobs) else { return };
    for (&(a, b), theirs) in cases.iter().zip(parts(&answer.file)) {
        let ours = encode(map::merge(&mut heap, a, b));
        assert!(ours == theirs, "ours   {ours:?}\ntheirs {theirs:?}");
    }
}
