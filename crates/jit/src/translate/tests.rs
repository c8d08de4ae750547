//! What single instructions become: parts of the generator's text below an instruction, which have
//! to be there, and which must not be.

use crate::testing::Bench;

/// The text below an instruction of this name in a listing; of several versions one behind the
/// other.
fn below(listing: &str, instruction: &str) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    let mut inside = false;
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        // An instruction has its number in front; blocks and what is between have none.
        let number = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        if number.is_some() {
            inside = words.next() == Some(instruction);
            if inside {
                sections.push(String::new());
            }
        } else if inside && let Some(section) = sections.last_mut() {
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

struct Case {
    function: &'static str,
    instruction: &'static str,
    has: &'static [&'static str],
    has_not: &'static [&'static str],
}

const fn case(
    function: &'static str,
    instruction: &'static str,
    has: &'static [&'static str],
    has_not: &'static [&'static str],
) -> Case {
    Case { function, instruction, has, has_not }
}

const SOURCE: &str = "
    add(A, B) -> A + B.
    add_ints(A, B) when is_integer(A), is_integer(B) -> A + B.
    add_bytes(A, B) -> (A band 255) + (B band 255).
    mul(A, B) -> A * B.
    conj(A, B) -> A band B.
    first({A, _}) -> A.
    head(L) -> hd(L).
    head_of_cons([_ | _] = L) -> hd(L).
    cons(A, B) -> [A | B].
    pair(A, B) -> {A, B}.
    atom(A) when is_atom(A) -> yes; atom(_) -> no.
    ok(ok) -> yes; ok(_) -> no.
    tagged({ok, V}) -> V.
    less(A, B) when A < B -> yes; less(_, _) -> no.
    order(A, B) -> if A < B -> less; A > B -> greater; true -> equal end.
    floats(A, B) when is_float(A), is_float(B) -> A + B.
    select(1) -> a; select(2) -> b; select(3) -> c; select(4) -> d; select(_) -> e.
    byte(<<A:8, _/binary>>) -> A.
    key(#{k := V}) -> V.
    again([H | T], S) -> again(T, S + H); again([], S) -> S.
";

/// A jump on overflow, and tests for small integers, boxed words, list cells.
const OVERFLOW: &str = "seto";
const IS_SMALL: &str = "testq $0x3,";
const IS_POINTER: &str = "testq $0x7,";

const CASES: [Case; 22] = [
    case("add/2", "Add", &[IS_SMALL, "addq", OVERFLOW], &["call "]),
    case("add_ints/2", "Add", &["addq", OVERFLOW], &[IS_SMALL]),
    // Two bytes have no sum that overflows.
    case("add_bytes/2", "Add", &[], &[OVERFLOW]),
    case("mul/2", "Mul", &[IS_SMALL, "sarq $0x2", "imulq", OVERFLOW], &["call "]),
    case("conj/2", "Band", &[IS_SMALL, "andq"], &[OVERFLOW, "call "]),
    // 0x208 is the header of a tuple of two.
    case("first/1", "IsTupleOf", &[IS_POINTER, "cmpq $0x208,"], &["call "]),
    case("first/1", "GetElement", &["movq 3(%"], &["test", "cmp", "call "]),
    case("head/1", "Hd", &[IS_POINTER, "movq -4(%"], &[]),
    case("head_of_cons/1", "GetHead", &["movq -4(%"], &["test", "cmp", "call "]),
    // Two words; the tail is the second.
    case("cons/2", "PutList", &["leaq 0x10(%", "leaq 4(%"], &["test", "call "]),
    case("pair/2", "PutTuple", &["movq $0x208,", "leaq 0x18(%", "leaq 5(%"], &["test", "call "]),
    // The low six bits of an atom are 1.
    case("atom/1", "IsAtom", &["leaq -1(%", "testq $0x3f,"], &["call "]),
    case("ok/1", "IsEqImmX", &["cmpq $0x101,"], &["test", "call "]),
    case("tagged/1", "IsTaggedTuple", &[IS_POINTER, "cmpq $0x208,", "cmpq $0x101,"], &["call "]),
    // Other terms than small integers are compared elsewhere.
    case("less/2", "IsLt", &[IS_SMALL, "cmpq", "jl", "call "], &[]),
    // One answer decides both comparisons.
    case("order/2", "IsLt", &["call ", "jl", "jnle"], &[]),
    case("floats/2", "FloatAdd", &["addsd", "ucomisd"], &["call "]),
    case("select/1", "SelectVal", &[IS_SMALL, "br_table"], &["call "]),
    case("byte/1", "BsGetInteger", &["cmpq $0x8,"], &[]),
    case("key/1", "IsMap", &[IS_POINTER, "cmpq $0x58,", "cmpq $0x60,"], &["call "]),
    case("again/2", "Add", &["addq", OVERFLOW], &[]),
    case("add/2", "Return", &["movq (%rdi)", "leaq 8(%rdi)"], &["call ", "test"]),
];

fn parts(function: &str) -> (&str, u32) {
    let (name, arity) = function.split_once('/').expect("name and arity");
    (name, arity.parse().expect("a number"))
}

#[test]
fn instructions_become_what_they_need_and_no_more() {
    let bench = Bench::new(SOURCE);
    for Case { function, instruction, has, has_not } in &CASES {
        let (name, arity) = parts(function);
        let listing = bench.listing(name, arity);
        let sections = below(&listing, instruction);
        assert!(!sections.is_empty(), "{function} has no {instruction}:\n{listing}");
        let text = sections.concat();
        for part in *has {
            assert!(text.contains(part), "{instruction} of {function} has no {part}:\n{text}");
        }
        for part in *has_not {
            assert!(!text.contains(part), "{instruction} of {function} has {part}:\n{text}");
        }
    }
}

#[test]
fn a_call_counts_a_reduction_at_the_entry() {
    let bench = Bench::new(SOURCE);
    let listing = bench.listing("add", 2);
    let entry = listing.split("  Add ").next().expect("the entry comes first");
    assert!(entry.contains("leaq -1(%rdx)") && entry.contains("testq %rdx, %rdx"), "{entry}");
}

#[test]
fn blocks_have_a_version_for_what_is_known_of_their_registers() {
    let bench = Bench::new(
        "known(A, B) when is_integer(A), is_integer(B) -> A + B.
         join(A) -> B = case A of 1 -> 2; 2 -> 3; _ -> A end, B + 1.
         plain(A) -> A + 1.",
    );
    let sections =
        |name: &str, arity: u32, instruction: &str| below(&bench.listing(name, arity), instruction);
    let count = |sections: &[String], part: &str| {
        sections.iter().filter(|text| text.contains(part)).count()
    };
    // Any integers come here, and small ones are added; nobody asks again which they are.
    let known = sections("known", 2, "Add");
    assert_eq!((count(&known, OVERFLOW), count(&known, IS_SMALL)), (1, 0), "{known:#?}");
    assert_eq!(count(&sections("plain", 1, "AddXI"), IS_SMALL), 1);
    // Where 2 and 3 come from, the sum is one instruction; where something else does, it is asked.
    let join = sections("join", 1, "AddXI");
    assert_eq!(count(&join, IS_SMALL), 1, "{join:#?}");
    let is_sum_alone = |text: &&String| text.contains("leaq 4(%") && !text.contains("cmpq");
    assert_eq!(join.iter().filter(is_sum_alone).count(), 1, "{join:#?}");
}
