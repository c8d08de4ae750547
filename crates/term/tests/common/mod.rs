//! Random terms, and OTP's `erl` to ask about them.

#![allow(dead_code, reason = "not every test file uses everything")]

use std::process::Command;
use swarmrt_term::alloc::Alloc;
use swarmrt_term::etf::{Interning, Resolver};
use swarmrt_term::{Atom, FragmentHeap, FunIdentity, Subtag, Term, map, node};

/// A small generator of random numbers (splitmix64): the same terms in every run of the same seed.
pub struct Random(pub u64);

impl Random {
    /// Seeded by `SWARMRT_TEST_SEED`, or a constant.
    pub fn new() -> Random {
        let seed = std::env::var("SWARMRT_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(20_240_601);
        Random(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// What kinds of terms to make.
#[derive(Clone, Copy)]
pub struct Shape {
    pub depth: usize,
    /// Atoms and identifiers within maps of more than 32 keys: OTP orders those as no other machine
    /// can.
    pub opaque_keys: bool,
    pub identifiers: bool,
}

pub fn term(random: &mut Random, heap: &mut FragmentHeap, shape: Shape) -> Term {
    let inner = Shape { depth: shape.depth.saturating_sub(1), ..shape };
    let kinds = if shape.depth == 0 { 6 } else { 11 };
    match random.below(kinds) {
        0 | 1 => integer(random, heap),
        2 => float(random, heap),
        3 if shape.opaque_keys => atom(random),
        4 if shape.identifiers => identifier(random, heap),
        3..=5 => bitstring(random, heap),
        6 => {
            let items = terms(random, heap, inner, 5);
            let tail = if random.chance(8) { term(random, heap, inner) } else { Term::NIL };
            heap.list_with_tail(&items, tail)
        }
        7 => {
            let items = terms(random, heap, inner, 5);
            heap.tuple(&items)
        }
        8 => {
            let len = random.below(12);
            let bytes: Vec<u8> =
                (0..len).map(|_| random.pick(&[0, 1, 97, 98, 255, 200, 34, 10])).collect();
            heap.byte_list(&bytes, Term::NIL)
        }
        9 => flat_map(random, heap, inner),
        _ if random.chance(3) => hash_map(random, heap, inner),
        _ => flat_map(random, heap, inner),
    }
}

fn terms(random: &mut Random, heap: &mut FragmentHeap, shape: Shape, max: usize) -> Vec<Term> {
    (0..random.below(max + 1)).map(|_| term(random, heap, shape)).collect()
}

fn flat_map(random: &mut Random, heap: &mut FragmentHeap, shape: Shape) -> Term {
    let count = random.below(6);
    let pairs: Vec<(Term, Term)> =
        (0..count).map(|_| (term(random, heap, shape), term(random, heap, shape))).collect();
    map::from_pairs(heap, &pairs)
}

/// Mostly small keys, so that two such maps have many in common.
fn hash_map(random: &mut Random, heap: &mut FragmentHeap, shape: Shape) -> Term {
    let keys = Shape { depth: 1, opaque_keys: false, identifiers: false };
    let count = 33 + random.below(10);
    let mut pairs: Vec<(Term, Term)> = (0..count as i64)
        .map(|key| (Term::small(key), Term::small(random.below(2) as i64)))
        .collect();
    for _ in 0..random.below(5) {
        pairs.push((
            term(random, heap, keys),
            term(random, heap, Shape { depth: shape.depth.min(1), ..shape }),
        ));
    }
    map::from_pairs(heap, &pairs)
}

pub fn integer(random: &mut Random, heap: &mut FragmentHeap) -> Term {
    match random.below(8) {
        0..=2 => Term::small(random.below(5) as i64 - 2),
        3 => Term::small(random.below(600) as i64 - 300),
        4 => {
            let edge = 1i128 << random.pick(&[7, 8, 27, 28, 31, 32, 53, 59, 60, 61, 62, 63, 64]);
            let value =
                (edge + random.below(3) as i128 - 1) * if random.chance(2) { 1 } else { -1 };
            heap.big(value < 0, &[value.unsigned_abs() as u64, (value.unsigned_abs() >> 64) as u64])
        }
        5 => heap.int(random.next() as i64),
        6 => heap.int((random.next() >> random.below(64)) as i64),
        _ => {
            let most = if random.chance(10) { 40 } else { 4 };
            let count = 1 + random.below(most);
            let digits: Vec<u64> =
                (0..count).map(|_| if random.chance(3) { 0 } else { random.next() }).collect();
            heap.big(random.chance(2), &digits)
        }
    }
}

pub fn float_value(random: &mut Random) -> f64 {
    let value = match random.below(9) {
        0 | 1 => random.below(5) as f64 - 2.0,
        2 => random.below(1000) as f64 / 8.0,
        3 => 2f64.powi(
            random.pick(&[31, 52, 53, 54, 59, 60, 61, 62, 63, 64, 65, 100, 1023, -1, -1022, -1074]),
        ),
        4 => random.next() as f64,
        5 => (random.next() as i64) as f64 * 1.5,
        6 => 10f64.powi(random.below(60) as i32 - 30),
        _ => f64::from_bits(random.next()),
    };
    let value = if random.chance(3) { -value } else { value };
    if value.is_finite() { value } else { 1.5 }
}

pub fn float(random: &mut Random, heap: &mut FragmentHeap) -> Term {
    let value = float_value(random);
    heap.float(value)
}

pub fn atom(random: &mut Random) -> Term {
    let names = [
        "a",
        "b",
        "ab",
        "true",
        "ok",
        "",
        "A b",
        "don't",
        "back\\slash",
        "åäö",
        "smörgås",
        "日本",
        "a_very_long_atom_name",
        "a_very_long_atom_namf",
        "a_very",
    ];
    Term::atom(Atom::new(random.pick(&names)))
}

pub fn bitstring(random: &mut Random, heap: &mut FragmentHeap) -> Term {
    let len = match random.below(4) {
        0 => random.below(4),
        1 => random.below(20),
        2 => 60 + random.below(10),
        _ => random.below(100),
    };
    let ascii = random.chance(3);
    let bytes: Vec<u8> = (0..len)
        .map(|_| if ascii { 97 + random.below(4) as u8 } else { random.next() as u8 })
        .collect();
    let whole = heap.binary(&bytes);
    if random.chance(2) || len == 0 {
        return whole;
    }
    let bits = len * 8;
    let from = random.below(bits.min(20));
    let size = random.below(bits - from + 1);
    let size = if random.chance(2) { size / 8 * 8 } else { size };
    heap.sub_binary(whole, from, size)
}

/// A pid of this node, with small numbers.
pub fn pid(number: u32, serial: u32) -> Term {
    match node::pid_data(number, serial) {
        Some(node::PidData::Local(data)) => Term::pid(data),
        other => panic!("a pid with small numbers is {other:?}"),
    }
}

fn identifier(random: &mut Random, heap: &mut FragmentHeap) -> Term {
    let node = Atom::new(random.pick(&["n@h", "other@host", "nonode@nohost"]));
    let creation = 1 + random.below(3) as u32;
    let n = random.below(3) as u64;
    match random.below(8) {
        0 => pid(random.below(4) as u32 + 100, random.below(3) as u32),
        1 => Term::port(random.below(5) as u64),
        2 => heap.local_ref(random.next() >> random.below(40), random.below(1 << 18) as u32),
        3 => heap.external(Subtag::ExternalPid, node, creation, &[n, 1]),
        4 => heap.external(Subtag::ExternalPort, node, creation, &[n, u64::from(random.chance(2))]),
        5 => heap.external(Subtag::ExternalRef, node, creation, &[n, 2, 3]),
        6 => heap.export_fun(Interning.export(
            Atom::new(random.pick(&["m", "lists"])),
            Atom::new("map"),
            n as u32,
        )),
        _ => {
            let identity = FunIdentity {
                module: Atom::new("m"),
                index: n as u32,
                old_index: 7,
                old_uniq: 123_456 + n as u32,
                uniq: [3; 16],
                arity: 2,
            };
            let free: Vec<Term> = (0..random.below(3)).map(|_| integer(random, heap)).collect();
            heap.fun(Interning.fun(identity, free.len() as u32), 2, 5, &free)
        }
    }
}

/// Runs an escript's `main/1` on a file of length-prefixed blobs; `None` when OTP is not installed.
/// `work` takes the list of blobs and returns an iolist for standard output... see [`ask`].
pub struct Answer {
    pub file: Vec<u8>,
    pub stdout: Vec<u8>,
}

/// Lets OTP evaluate `functions`, which must define `answer(Blobs) -> iodata()`, on `blobs`. `None`
/// when `escript` is not installed.
pub fn ask(name: &str, functions: &str, blobs: &[Vec<u8>]) -> Option<Answer> {
    let folder = std::env::temp_dir().join(format!("swarmrt-term-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let (script, input, output) =
        (folder.join("ask.escript"), folder.join("input"), folder.join("output"));
    let mut bytes = Vec::new();
    for blob in blobs {
        bytes.extend((blob.len() as u32).to_be_bytes());
        bytes.extend(blob);
    }
    std::fs::write(&input, bytes).expect("write the input");
    let source = format!(
        "#!/usr/bin/env escript\n%% -*- coding: utf-8 -*-\n-mode(compile).\n\
         main([In, Out]) ->\n    {{ok, Bytes}} = file:read_file(In),\n    ok = file:write_file(Out, answer(blobs(Bytes))).\n\
         blobs(<<N:32, B:N/binary, Rest/binary>>) -> [B | blobs(Rest)];\nblobs(<<>>) -> [].\n\
         sized(Iodata) -> B = iolist_to_binary(Iodata), [<<(byte_size(B)):32>>, B].\n{functions}\n"
    );
    std::fs::write(&script, source).expect("write the script");
    let result = Command::new("escript").arg(&script).arg(&input).arg(&output).output();
    let Ok(result) = result else {
        eprintln!("skipped: no escript");
        return None;
    };
    assert!(
        result.status.success(),
        "escript failed: {}{}",
        String::from_utf8_lossy(&result.stdout),
        String::from_utf8_lossy(&result.stderr)
    );
    let file = std::fs::read(&output).expect("read the output");
    std::fs::remove_dir_all(&folder).expect("remove the temporary folder");
    Some(Answer { file, stdout: result.stdout })
}

/// The parts that `sized/1` wrote.
pub fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (part, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        parts.push(part);
        bytes = rest;
    }
    parts
}
