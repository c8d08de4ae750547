//! Arithmetic and the integers of the bit syntax, against OTP.

mod common;

use common::{Random, ask, parts};
use swarmrt_term::bigint::{self, ArithError};
use swarmrt_term::etf::{self, EncodeOptions};
use swarmrt_term::{Alloc, Bits, FragmentHeap, Term, am};

type Binary = fn(&mut FragmentHeap, Term, Term) -> Result<Term, ArithError>;
const BINARY: [(&str, Binary); 11] = [
    ("+", bigint::add),
    ("-", bigint::sub),
    ("*", bigint::mul),
    ("div", bigint::div),
    ("rem", bigint::rem),
    ("/", bigint::float_div),
    ("band", bigint::band),
    ("bor", bigint::bor),
    ("bxor", bigint::bxor),
    ("bsl", bigint::bsl),
    ("bsr", bigint::bsr),
];

fn encode(term: Term) -> Vec<u8> {
    etf::encode(term, &EncodeOptions::default())
}

fn number(random: &mut Random, heap: &mut FragmentHeap) -> Term {
    match random.below(8) {
        0 => common::float(random, heap),
        1 if random.chance(6) => Term::NIL,
        2 if random.chance(5) => {
            let digits: Vec<u64> = (0..random.below(80)).map(|_| random.next()).collect();
            heap.big(random.chance(2), &digits)
        }
        _ => common::integer(random, heap),
    }
}

fn result(result: Result<Term, ArithError>) -> Term {
    result.unwrap_or_else(|error| match error {
        ArithError::BadArith => am::BADARITH.into(),
        ArithError::SystemLimit => am::SYSTEM_LIMIT.into(),
    })
}

#[test]
fn arithmetic_is_that_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let mut cases = Vec::new();
    for _ in 0..20_000 {
        let a = number(&mut random, &mut heap);
        let operation = random.below(BINARY.len());
        let b = if operation >= 9 && random.chance(2) {
            Term::small(random.below(300) as i64 - 150)
        } else {
            number(&mut random, &mut heap)
        };
        cases.push((operation, a, b));
    }
    for operation in [9, 10] {
        for count in [33_554_366, 33_554_367, 33_554_368, 1 << 40] {
            for value in [1, -1, 0, 7] {
                for sign in [1, -1] {
                    cases.push((operation, Term::small(value), Term::small(count * sign)));
                }
            }
        }
    }
    let blobs: Vec<Vec<u8>> = cases
        .iter()
        .map(|&(operation, a, b)| {
            let case = [Term::small(operation as i64), a, b];
            encode(heap.tuple(&case))
        })
        .collect();
    let mut script = String::from(
        r"
answer(Blobs) -> [sized(digest(term_to_binary(one(binary_to_term(B))))) || B <- Blobs].
digest(B) when byte_size(B) > 10000 -> term_to_binary({byte_size(B), erlang:md5(B)});
digest(B) -> B.
one({Op, A, B}) -> try op(Op, A, B) catch error:R -> R end.
",
    );
    for (number, (name, _)) in BINARY.iter().enumerate() {
        script += &format!(
            "op({number}, A, B) -> A {name} B{}\n",
            if number + 1 == BINARY.len() { "." } else { ";" }
        );
    }
    let Some(answer) = ask("arith", &script, &blobs) else { return };
    let answers = parts(&answer.file);
    assert_eq!(answers.len(), cases.len());
    for (&(operation, a, b), theirs) in cases.iter().zip(answers) {
        let (name, work) = BINARY[operation];
        let ours = encode(result(work(&mut heap, a, b)));
        if ours.len() > 10000 {
            // Too long to come back whole: OTP sent the length and a checksum.
            let mut back = FragmentHeap::new();
            let (sum, _) =
                etf::decode(theirs, &mut back, &etf::Interning, etf::DecodeOptions::default())
                    .unwrap();
            assert_eq!(sum.as_tuple().unwrap().get(0).as_small(), Some(ours.len() as i64));
            continue;
        }
        assert!(
            ours == theirs,
            "{name} of {} and {}\nours   {ours:?}\ntheirs {theirs:?}",
            swarmrt_term::print::display(a),
            swarmrt_term::print::display(b)
        );
    }
}

#[test]
fn conversions_are_those_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let mut values: Vec<Term> = (0..3000).map(|_| number(&mut random, &mut heap)).collect();
    for value in [
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        0.49999999999999994,
        1e300,
        -1e300,
        9.2e18,
        1e19,
        4503599627370495.5,
        f64::MAX,
    ] {
        values.push(heap.float(value));
    }
    let large = heap.big(false, &[0, 1 << 63, u64::MAX]);
    values.push(large);
    let cases: Vec<(Term, u32)> =
        values.iter().map(|&value| (value, 2 + random.below(35) as u32)).collect();
    let blobs: Vec<Vec<u8>> = cases
        .iter()
        .map(|&(value, base)| {
            let case = [value, Term::small(i64::from(base))];
            encode(heap.tuple(&case))
        })
        .collect();
    let script = r"
answer(Blobs) -> [one(binary_to_term(B)) || B <- Blobs].
one({N, Base}) ->
    [sized(term_to_binary(try F() catch error:R -> R end)) ||
     F <- [fun() -> trunc(N) end, fun() -> round(N) end, fun() -> floor(N) end, fun() -> ceil(N) end, fun() -> float(N) end,
           fun() -> abs(N) end, fun() -> -N end, fun() -> bnot N end,
           fun() -> integer_to_list(N, Base) end, fun() -> list_to_integer(integer_to_list(N, Base), Base) end]].
";
    let Some(answer) = ask("conversions", script, &blobs) else { return };
    let answers = parts(&answer.file);
    assert_eq!(answers.len(), cases.len() * 10);
    for (&(value, base), theirs) in cases.iter().zip(answers.chunks_exact(10)) {
        let badarg = Term::atom(am::BADARG);
        let as_float = bigint::to_f64(value).map(|value| heap.float(value));
        let text = bigint::to_string_radix(value, base);
        let parsed = if text.is_empty() {
            badarg
        } else {
            bigint::parse_integer(&mut heap, text.as_bytes(), base).unwrap()
        };
        let list = if text.is_empty() { badarg } else { heap.string(&text) };
        let ours = [
            bigint::trunc(&mut heap, value).unwrap_or(badarg),
            bigint::round(&mut heap, value).unwrap_or(badarg),
            bigint::floor(&mut heap, value).unwrap_or(badarg),
            bigint::ceil(&mut heap, value).unwrap_or(badarg),
            as_float.unwrap_or(badarg),
            bigint::abs(&mut heap, value).unwrap_or(badarg),
            result(bigint::negate(&mut heap, value)),
            result(bigint::bnot(&mut heap, value)),
            list,
            parsed,
        ];
        for (index, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            assert!(
                encode(ours) == theirs,
                "conversion {index} (base {base}) of {}\nours {:?}\ntheirs {theirs:?}",
                swarmrt_term::print::display(value),
                encode(ours)
            );
        }
    }
}

#[test]
fn integers_in_bits_are_those_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    let mut cases = Vec::new();
    for _ in 0..6000 {
        let most = if random.chance(5) { 300 } else { 70 };
        let size = random.below(most);
        let lead = random.below(9);
        let value = common::integer(&mut random, &mut heap);
        let flags = random.below(4);
        cases.push((lead, size, value, flags));
    }
    let blobs: Vec<Vec<u8>> = cases
        .iter()
        .map(|&(lead, size, value, flags)| {
            let case = [
                Term::small(lead as i64),
                Term::small(size as i64),
                value,
                Term::small(flags as i64),
            ];
            encode(heap.tuple(&case))
        })
        .collect();
    let script = r"
answer(Blobs) -> [one(binary_to_term(B)) || B <- Blobs].
one({Lead, Size, Value, Flags}) ->
    Bits = case Flags band 1 of
        0 -> <<-1:Lead, Value:Size/big, 5:3>>;
        1 -> <<-1:Lead, Value:Size/little, 5:3>>
    end,
    Back = case Flags of
        0 -> <<_:Lead, V:Size/big, _:3>> = Bits, V;
        1 -> <<_:Lead, V:Size/little, _:3>> = Bits, V;
        2 -> <<_:Lead, V:Size/signed-big, _:3>> = Bits, V;
        3 -> <<_:Lead, V:Size/signed-little, _:3>> = Bits, V
    end,
    [sized(term_to_binary(Bits)), sized(term_to_binary(Back))].
";
    let Some(answer) = ask("bits", script, &blobs) else { return };
    let answers = parts(&answer.file);
    assert_eq!(answers.len(), cases.len() * 2);
    for (&(lead, size, value, flags), theirs) in cases.iter().zip(answers.chunks_exact(2)) {
        let (little, signed) = (flags & 1 == 1, flags & 2 == 2);
        let (term, data) = heap.heap_bin(lead + size + 3);
        // SAFETY: the binary has room for the three segments, which are written in order.
        unsafe {
            for (term, size, little, at) in [
                (Term::small(-1), lead, false, 0),
                (value, size, little, lead),
                (Term::small(5), 3, false, lead + size),
            ] {
                assert!(bigint::write_bits(term, size, little, data, at));
            }
        }
        let show = || {
            format!(
                "{}:{size} after {lead} bits, little {little}, signed {signed}",
                swarmrt_term::print::display(value)
            )
        };
        assert!(
            encode(term) == theirs[0],
            "wrote {}\nours   {:?}\ntheirs {:?}",
            show(),
            encode(term),
            theirs[0]
        );
        let back = bigint::from_bits(&mut heap, Bits::of(term).slice(lead, size), signed, little);
        assert!(
            encode(back) == theirs[1],
            "read {}\nours   {:?}\ntheirs {:?}",
            show(),
            encode(back),
            theirs[1]
        );
    }
}
