//! What we print against what OTP prints.

mod common;

use common::{Random, Shape, ask, parts};
use swarmrt_term::etf::{self, EncodeOptions, Interning, Resolver};
use swarmrt_term::float::{self, Format};
use swarmrt_term::{Alloc, Atom, FragmentHeap, FunIdentity, Term, print};

#[test]
fn display_is_that_of_otp() {
    let mut random = Random::new();
    let mut heap = FragmentHeap::new();
    // Atoms and the identifiers of other nodes print numbers that no two machines share.
    let shape = Shape { depth: 4, opaque_keys: false, identifiers: false };
    let mut terms: Vec<Term> =
        (0..3000).map(|_| common::term(&mut random, &mut heap, shape)).collect();
    let names = [
        "a",
        "",
        "A",
        "a b",
        "aB_9",
        "don't",
        "å",
        "Å",
        "aå÷",
        "÷",
        "日本",
        "ā",
        "aā",
        "x\u{7f}",
        "a\n\u{85}",
        "a@b",
        "_a",
        "back\\",
        "\u{1}\u{b}",
    ];
    terms.extend(names.iter().map(|name| Term::atom(Atom::new(name))));
    terms.extend([
        Term::pid(5),
        common::pid(5, 3),
        Term::port(17),
        heap.local_ref(7 | 9 << 32, 11),
    ]);
    terms.push(heap.export_fun(Interning.export(Atom::new("lists"), Atom::new("a b"), 3)));
    let identity = FunIdentity {
        module: Atom::new("a b"),
        index: 4,
        old_index: 5,
        old_uniq: 6,
        uniq: [0; 16],
        arity: 1,
    };
    terms.push(heap.fun(Interning.fun(identity, 0), 1, 0, &[]));
    for text in ["abc", "a\tb\r\n", "å\"q\"\\", "x\u{7f}", "x\u{85}", "\u{1b}"] {
        let string = heap.string(text);
        terms.push(string);
    }
    let blobs: Vec<Vec<u8>> =
        terms.iter().map(|&term| etf::encode(term, &EncodeOptions::default())).collect();
    let script = "answer(Blobs) -> [erlang:display(binary_to_term(B)) || B <- Blobs], sized([]).";
    let Some(answer) = ask("display", script, &blobs) else { return };
    let lines: Vec<&[u8]> = answer
        .stdout
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let lines_count = lines.len();
    for (&term, theirs) in terms.iter().zip(lines) {
        let ours = print::print(term);
        assert!(
            ours == theirs,
            "ours   {}\ntheirs {}",
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(theirs)
        );
    }
    assert_eq!(lines_count, terms.len() + 1);
}

#[test]
fn floats_are_written_and_read_as_by_otp() {
    let mut random = Random::new();
    let mut values: Vec<f64> = (0..5000).map(|_| common::float_value(&mut random)).collect();
    values.extend([
        0.0,
        -0.0,
        0.1,
        1e22,
        1e21,
        1e23,
        123456.0,
        1e-5,
        9007199254740991.0,
        9007199254740992.0,
        9007199254740994.0,
        5e-324,
        0.5,
        1.5,
        2.5,
        0.125,
    ]);
    values.extend((0..40).flat_map(|exponent| {
        [1.0, 1.2, 12.34, 123.456].map(|value| value * 10f64.powi(exponent - 20))
    }));
    values.extend((0..2000).map(|_| (random.next() >> random.below(64)) as f64));
    values.extend((0..2000).map(|_| random.below(1_000_000) as f64 / 1000.0));
    let formats: Vec<Format> = (0..6)
        .flat_map(|_| {
            let digits = random.below(24) as i64;
            [
                Format::Scientific(digits),
                Format::Decimals { digits, compact: false },
                Format::Decimals { digits, compact: true },
            ]
        })
        .chain([-1, 0, 60, 248, 249, 250, 255, 300].into_iter().flat_map(|digits| {
            [
                Format::Scientific(digits),
                Format::Decimals { digits, compact: false },
                Format::Decimals { digits, compact: true },
            ]
        }))
        .chain([Format::Short])
        .collect();
    let cases: Vec<(f64, Format)> = values
        .iter()
        .flat_map(|&value| {
            [
                (value, Format::Short),
                (value, random.pick(&formats)),
                (value, random.pick(&formats)),
                (value, Format::Scientific(20)),
            ]
        })
        .collect();
    let blobs: Vec<Vec<u8>> = cases
        .iter()
        .map(|&(value, format)| {
            let (kind, digits) = match format {
                Format::Short => (0u8, 0),
                Format::Scientific(digits) => (1, digits),
                Format::Decimals { digits, compact: false } => (2, digits),
                Format::Decimals { digits, compact: true } => (3, digits),
            };
            [&value.to_bits().to_be_bytes()[..], &[kind], &digits.to_be_bytes()[..]].concat()
        })
        .collect();
    let script = r#"
answer(Blobs) -> [one(B) || B <- Blobs].
one(<<F/float, Kind, Digits:64/signed>>) ->
    Text = try float_to_list(F, options(Kind, Digits)) catch error:badarg -> "badarg" end,
    Back = try list_to_float(Text) catch error:badarg -> 0.0 end,
    [sized(Text), sized(<<Back/float>>)].
options(0, _) -> [short];
options(1, D) -> [{scientific, D}];
options(2, D) -> [{decimals, D}];
options(3, D) -> [{decimals, D}, compact].
"#;
    let Some(answer) = ask("floats", script, &blobs) else { return };
    let answers = parts(&answer.file);
    assert_eq!(answers.len(), cases.len() * 2);
    for (&(value, format), theirs) in cases.iter().zip(answers.chunks_exact(2)) {
        let ours = float::format(value, format).unwrap_or("badarg".into());
        assert!(
            ours.as_bytes() == theirs[0],
            "{value:e} as {format:?}: ours {ours} theirs {}",
            String::from_utf8_lossy(theirs[0])
        );
        let back = float::parse(ours.as_bytes()).unwrap_or(0.0);
        assert_eq!(back.to_bits().to_be_bytes(), theirs[1], "{ours} read back");
    }
}
