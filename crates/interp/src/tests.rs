//! Single instructions, run on a process and registers made by hand.

use crate::run::step;
use swarmrt_beam::instr::{Dst, FLAG_LITTLE, FLAG_SIGNED, Instr, Src, Utf};
use swarmrt_engine::state::Registers;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn};
use swarmrt_machine::schedule::Outcome;
use swarmrt_machine::vm::Config;
use swarmrt_machine::{Process, Vm, pin};
use swarmrt_term::{Alloc, Release, Term, am, print};

/// How an instruction has left the loop.
#[derive(PartialEq, Eq, Debug)]
enum After {
    /// The instruction so many behind it is next.
    At(isize),
    /// A handler so many behind it is next.
    Caught(isize),
    /// The process ends with this reason, and how it began.
    Raised(String),
    Turn(Outcome),
}

const NEXT: After = After::At(1);
/// Where the instructions of these tests jump.
const FAIL: i32 = 3;
const JUMPED: After = After::At(FAIL as isize);

struct Bench {
    p: &'static mut Process,
    registers: Box<Registers>,
}

impl Bench {
    /// A new process with an empty stack.
    fn new() -> Bench {
        let vm = Vm::new(Config::without_threads(Release::OLDEST));
        // Nobody is told of processes that end.
        vm.set_system_logger(Term::atom(am::UNDEFINED));
        let start = Start::Apply { module: am::ERLANG, function: am::APPLY, args: Term::NIL };
        let pid = spawn(vm, None, start, SpawnOptions::default()).expect("there is room");
        let _guard = pin();
        let cell = vm.processes.get(pid).expect("it is alive");
        // SAFETY: no scheduler runs, and this is the only reference that is ever made to it.
        let p = unsafe { &mut **cell.process.get() };
        p.reductions = 1000;
        Bench { p, registers: Registers::new() }
    }

    /// With these terms in X registers from 0 on.
    fn with(terms: &[Term]) -> Bench {
        let mut bench = Bench::new();
        bench.set(terms);
        bench
    }

    fn set(&mut self, terms: &[Term]) {
        self.registers.x[..terms.len()].copy_from_slice(terms);
    }

    /// With a frame of these terms.
    fn frame(&mut self, terms: &[Term]) {
        for &term in terms.iter().rev() {
            // SAFETY: a new process has room for some words.
            unsafe {
                self.p.heap.stop = self.p.heap.stop.sub(1);
                *self.p.heap.stop = term.raw();
            }
        }
    }

    fn run(&mut self, instr: Instr) -> After {
        self.run_before(instr, Instr::Nop)
    }

    fn run_before(&mut self, instr: Instr, next: Instr) -> After {
        let mut code = [Instr::Nop; 8];
        (code[0], code[1]) = (instr, next);
        self.run_at(&code, 0)
    }

    /// Runs the instruction at `at`.
    fn run_at(&mut self, code: &[Instr], at: usize) -> After {
        let native = &mut self.registers.native;
        native.process = &raw mut *self.p;
        native.top = self.p.heap.top;
        native.stop = self.p.heap.stop;
        native.reductions = i64::from(self.p.reductions);
        native.outcome = None;
        let start = &raw const code[at];
        // SAFETY: the state is the process's, the registers and the frame have what the tests'
        // instructions name, and jumps lead into `code`.
        unsafe {
            let next = step(&raw mut *self.registers, start);
            if !next.is_null() {
                return After::At(next.offset_from(start));
            }
            match self.registers.native.outcome.take() {
                None => After::Caught(self.registers.native.ip.offset_from(start)),
                Some(Outcome::Exit) => {
                    let reason = self.p.exception.reason;
                    let first = reason.as_tuple().map_or(reason, |pair| pair.get(0));
                    After::Raised(text(first))
                }
                Some(outcome) => After::Turn(outcome),
            }
        }
    }

    fn x(&self, number: usize) -> String {
        text(self.registers.x[number])
    }

    fn y(&self, number: usize) -> String {
        // SAFETY: the tests ask for registers of the frame.
        text(unsafe { Term::from_raw(*self.p.heap.stop.add(number)) })
    }
}

fn text(term: Term) -> String {
    print::display(term).to_string()
}

fn raised(reason: &str) -> After {
    After::Raised(reason.to_owned())
}

fn x(number: u16) -> Src {
    Src::x(number)
}

#[test]
fn moves_read_before_they_write() {
    let y = Src::y;
    for (instr, expected) in [
        (Instr::MoveXX { from: 1, to: 0 }, "1 1 2 | 10 11"),
        (Instr::MoveXY { from: 1, to: 0 }, "0 1 2 | 1 11"),
        (Instr::MoveYX { from: 1, to: 0 }, "11 1 2 | 10 11"),
        (Instr::MoveKX { to: 2, value: Term::atom(am::OK) }, "0 1 ok | 10 11"),
        (Instr::Move { src: y(0), dst: Dst::y(1) }, "0 1 2 | 10 10"),
        (Instr::Move { src: Src::small(-7), dst: Dst::x(0) }, "-7 1 2 | 10 11"),
        (Instr::MoveXX2 { from1: 0, to1: 1, from2: 1, to2: 2 }, "0 0 0 | 10 11"),
        (Instr::MoveXY2 { from1: 0, to1: 0, from2: 2, to2: 1 }, "0 1 2 | 0 2"),
        (Instr::MoveYX2 { from1: 0, to1: 2, from2: 1, to2: 0 }, "11 1 10 | 10 11"),
        (Instr::Swap { a: Dst::x(0), b: Dst::y(1) }, "11 1 2 | 10 0"),
        (Instr::Swap { a: Dst::x(1), b: Dst::x(1) }, "0 1 2 | 10 11"),
    ] {
        let mut bench = Bench::with(&[0, 1, 2].map(Term::small));
        bench.frame(&[10, 11].map(Term::small));
        assert_eq!(bench.run(instr), NEXT, "{instr:?}");
        let registers =
            format!("{} {} {} | {} {}", bench.x(0), bench.x(1), bench.x(2), bench.y(0), bench.y(1));
        assert_eq!(registers, expected, "{instr:?}");
    }
}

#[test]
fn frames_are_made_of_nil_trimmed_and_popped() {
    let mut bench = Bench::new();
    let before = bench.p.heap.stop;
    assert_eq!(bench.run(Instr::Allocate { live: 0, frame: 3, heap: 5 }), NEXT);
    assert_eq!([0, 1, 2].map(|number| bench.y(number)), ["[]", "[]", "[]"]);
    bench.set(&[Term::small(5)]);
    assert_eq!(bench.run(Instr::MoveXY { from: 0, to: 2 }), NEXT);
    assert_eq!(bench.run(Instr::Trim { words: 2 }), NEXT);
    assert_eq!(bench.y(0), "5");
    // SAFETY: one word is left of the frame, which lies within the block.
    assert_eq!(bench.p.heap.stop, unsafe { before.sub(1) });
    assert_eq!(bench.run(Instr::Deallocate { frame: 1 }), NEXT);
    assert_eq!(bench.p.heap.stop, before);
}

#[test]
fn a_frame_that_does_not_fit_has_the_heap_collected_with_what_is_alive() {
    let mut bench = Bench::new();
    let kept = bench.p.tuple(&[Term::small(1), Term::small(2)]);
    bench.set(&[kept]);
    let before = bench.p.heap.block_words();
    assert_eq!(bench.run(Instr::Allocate { live: 1, frame: 1, heap: 10_000 }), NEXT);
    assert!(bench.p.heap.block_words() > before + 10_000 - 1);
    assert_eq!((bench.x(0).as_str(), bench.y(0).as_str()), ("{1,2}", "[]"));
}

#[test]
fn calls_leave_a_return_address_and_returns_go_behind_the_cell() {
    let cell = Instr::Cell { native: 0 };
    let mut code = [Instr::Nop; 8];
    (code[0], code[1], code[5]) = (Instr::Call { arity: 0, target: 5 }, cell, Instr::Return);
    let mut bench = Bench::new();
    let (stack, reductions) = (bench.p.heap.stop, bench.p.reductions);
    assert_eq!(bench.run_at(&code, 0), After::At(5));
    assert_eq!(bench.p.reductions, reductions - 1, "a call is a reduction");
    assert_eq!(bench.run_at(&code, 5), After::At(-3), "behind the cell behind the call");
    assert_eq!((bench.p.heap.stop, bench.p.reductions), (stack, reductions - 1));
    // Tail calls leave none, and pop the frame.
    bench.frame(&[Term::NIL, Term::NIL]);
    assert_eq!(bench.run(Instr::CallLast { arity: 0, frame: 2, target: 4 }), After::At(4));
    assert_eq!(bench.run(Instr::CallOnly { arity: 0, target: 2 }), After::At(2));
    assert_eq!(bench.p.heap.stop, stack);
}

#[test]
fn tests_go_on_or_to_their_target() {
    let mut bench = Bench::new();
    let big = bench.p.int(i64::MAX);
    let float = bench.p.float(1.0);
    let (atom, one) = (Term::atom(am::OK), Term::small(1));
    let pair = bench.p.tuple(&[atom, one]);
    let list = bench.p.list(&[one]);
    let pid = bench.p.pid();
    let fail = FAIL;
    let a = x(0);
    let hold: [(Instr, &[Term], &[Term]); 16] = [
        (Instr::IsInteger { src: a, fail }, &[one, big], &[float, atom, Term::NIL]),
        (Instr::IsFloat { src: a, fail }, &[float], &[one, big, atom]),
        (Instr::IsNumber { src: a, fail }, &[one, big, float], &[atom, pair]),
        (Instr::IsAtom { src: a, fail }, &[atom], &[one, Term::NIL, list]),
        (Instr::IsPid { src: a, fail }, &[pid], &[atom, pair]),
        (Instr::IsNilX { x: 0, fail }, &[Term::NIL], &[list, atom]),
        (Instr::IsList { src: a, fail }, &[Term::NIL, list], &[pair, atom]),
        (Instr::IsConsX { x: 0, fail }, &[list], &[Term::NIL, pair]),
        (Instr::IsTuple { src: a, fail }, &[pair], &[list, atom, big]),
        (Instr::IsTupleOf { src: a, arity: 2, fail }, &[pair], &[list, one]),
        (Instr::IsTupleOf { src: a, arity: 3, fail }, &[], &[pair]),
        (Instr::IsBoolean { src: a, fail }, &[Term::bool(false)], &[atom, Term::NIL]),
        (Instr::IsLtXI { x: 0, value: 2, fail }, &[one, float], &[Term::small(2), big, atom]),
        (Instr::IsGeXI { x: 0, value: 2, fail }, &[Term::small(2), big, list], &[one, float]),
        (Instr::IsEqImmX { x: 0, fail, value: one }, &[one], &[float, atom]),
        (Instr::IsNeImmX { x: 0, fail, value: one }, &[float, atom], &[one]),
    ];
    for (instr, yes, no) in hold {
        for (terms, expected) in [(yes, NEXT), (no, JUMPED)] {
            for &term in terms {
                bench.set(&[term]);
                assert_eq!(bench.run(instr), expected, "{instr:?} of {}", text(term));
            }
        }
    }
}

#[test]
fn comparisons_tell_equal_from_identical() {
    let mut bench = Bench::new();
    let one = Term::small(1);
    let float = bench.p.float(1.0);
    let [first, second] = [(); 2].map(|()| bench.p.tuple(&[one]));
    let (a, b, fail) = (x(0), x(1), FAIL);
    for (left, right, equal, identical, less) in [
        (one, one, true, true, false),
        (one, float, true, false, false),
        (first, second, true, true, false),
        (one, Term::small(2), false, false, true),
        (float, Term::small(2), false, false, true),
        // Numbers come before atoms, these before tuples.
        (Term::atom(am::OK), one, false, false, false),
        (Term::atom(am::OK), first, false, false, true),
    ] {
        bench.set(&[left, right]);
        for (instr, holds) in [
            (Instr::IsEq { a, b, fail }, equal),
            (Instr::IsNe { a, b, fail }, !equal),
            (Instr::IsEqExact { a, b, fail }, identical),
            (Instr::IsNeExact { a, b, fail }, !identical),
            (Instr::IsLt { a, b, fail }, less),
            (Instr::IsGe { a, b, fail }, !less),
        ] {
            let expected = if holds { NEXT } else { JUMPED };
            assert_eq!(bench.run(instr), expected, "{instr:?}: {} {}", text(left), text(right));
        }
    }
}

#[test]
fn integers_grow_beyond_a_word_and_others_fail() {
    const MAX: i64 = Term::SMALL_MAX;
    const MIN: i64 = -MAX - 1;
    let (a, b, dst) = (x(0), x(1), Dst::x(2));
    let fail = Err("badarith");
    type Make = fn(Src, Src, Dst) -> Instr;
    let table: [(Make, i64, i64, Result<&str, &str>); 26] = [
        (|a, b, dst| Instr::Add { a, b, dst }, 2, 3, Ok("5")),
        (|a, b, dst| Instr::Add { a, b, dst }, MAX, 1, Ok("2305843009213693952")),
        (|a, b, dst| Instr::Sub { a, b, dst }, 2, 3, Ok("-1")),
        (|a, b, dst| Instr::Sub { a, b, dst }, MIN, 1, Ok("-2305843009213693953")),
        (|a, b, dst| Instr::Mul { a, b, dst }, -4, 3, Ok("-12")),
        (|a, b, dst| Instr::Mul { a, b, dst }, MAX, 2, Ok("4611686018427387902")),
        (
            |a, b, dst| Instr::Mul { a, b, dst },
            MIN,
            MIN,
            Ok("5316911983139663491615228241121378304"),
        ),
        (|a, b, dst| Instr::IntDiv { a, b, dst }, -7, 2, Ok("-3")),
        (|a, b, dst| Instr::IntDiv { a, b, dst }, MIN, -1, Ok("2305843009213693952")),
        (|a, b, dst| Instr::IntDiv { a, b, dst }, 7, 0, fail),
        (|a, b, dst| Instr::Rem { a, b, dst }, -7, 2, Ok("-1")),
        (|a, b, dst| Instr::Rem { a, b, dst }, MIN, -1, Ok("0")),
        (|a, b, dst| Instr::Rem { a, b, dst }, 7, 0, fail),
        (|a, b, dst| Instr::Band { a, b, dst }, -1, 12, Ok("12")),
        (|a, b, dst| Instr::Bor { a, b, dst }, -8, 3, Ok("-5")),
        (|a, b, dst| Instr::Bxor { a, b, dst }, -1, 5, Ok("-6")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, 3, 4, Ok("48")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, 48, -4, Ok("3")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, 1, 61, Ok("2305843009213693952")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, -1, 61, Ok("-2305843009213693952")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, 0, 1 << 40, Ok("0")),
        (|a, b, dst| Instr::Bsl { a, b, dst }, 1, 1 << 40, Err("system_limit")),
        (|a, b, dst| Instr::Bsr { a, b, dst }, -1, 100, Ok("-1")),
        (|a, b, dst| Instr::Bsr { a, b, dst }, 48, 4, Ok("3")),
        (|a, b, dst| Instr::Bsr { a, b, dst }, 3, -4, Ok("48")),
        (|a, b, dst| Instr::Bsr { a, b, dst }, MAX, MAX, Ok("0")),
    ];
    for (make, left, right, expected) in table {
        let instr = make(a, b, dst);
        let mut bench = Bench::with(&[left, right].map(Term::small));
        let shown = format!("{instr:?} of {left} and {right}");
        match expected {
            Ok(value) => {
                assert_eq!(bench.run(instr), NEXT, "{shown}");
                assert_eq!(bench.x(2), value, "{shown}");
            }
            Err(reason) => {
                // In a guard, then in a body.
                let guarded = bench.run_before(instr, Instr::Fail { target: FAIL });
                assert_eq!(guarded, After::At(1 + FAIL as isize), "{shown}");
                assert_eq!(bench.run(instr), raised(reason), "{shown}");
            }
        }
        let mut bench = Bench::with(&[Term::atom(am::OK), Term::small(right)]);
        assert_eq!(bench.run(instr), raised("badarith"), "{instr:?} of an atom");
    }
}

#[test]
fn sums_with_a_constant_are_those_of_a_sum() {
    for (value, constant, expected) in [
        (Term::small(5), 7, Ok("12")),
        (Term::small(5), -7, Ok("-2")),
        (Term::small(Term::SMALL_MAX), 1, Ok("2305843009213693952")),
        (Term::small(-Term::SMALL_MAX - 1), -1, Ok("-2305843009213693953")),
        (Term::atom(am::OK), 1, Err(raised("badarith"))),
    ] {
        for in_y in [false, true] {
            let mut bench = Bench::with(&[value]);
            bench.frame(&[value]);
            let instr = if in_y {
                Instr::AddYI { y: 0, dst: Dst::x(1), value: constant }
            } else {
                Instr::AddXI { x: 0, to: 1, value: constant }
            };
            let after = bench.run(instr);
            match &expected {
                Ok(sum) => assert_eq!((after, bench.x(1).as_str()), (NEXT, *sum), "{instr:?}"),
                Err(raised) => assert_eq!(after, *raised, "{instr:?}"),
            }
        }
    }
}

#[test]
fn floats_are_finite_or_fail() {
    for (instr, a, b, expected) in [
        (Instr::FloatAdd { a: 0, b: 1, to: 2 }, 1.5, 2.0, Some(3.5)),
        (Instr::FloatSub { a: 0, b: 1, to: 2 }, 1.5, 2.0, Some(-0.5)),
        (Instr::FloatMul { a: 0, b: 1, to: 2 }, 1.5, 2.0, Some(3.0)),
        (Instr::FloatDiv { a: 0, b: 1, to: 2 }, 1.5, 2.0, Some(0.75)),
        (Instr::FloatAdd { a: 0, b: 1, to: 2 }, f64::MAX, f64::MAX, None),
        (Instr::FloatMul { a: 0, b: 1, to: 2 }, f64::MAX, -2.0, None),
        (Instr::FloatDiv { a: 0, b: 1, to: 2 }, 1.0, 0.0, None),
        (Instr::FloatDiv { a: 0, b: 1, to: 2 }, 0.0, 0.0, None),
    ] {
        let mut bench = Bench::new();
        (bench.registers.f[0], bench.registers.f[1]) = (a, b);
        match expected {
            Some(value) => {
                assert_eq!(bench.run(instr), NEXT, "{instr:?}");
                assert_eq!(bench.registers.f[2], value, "{instr:?}");
            }
            None => assert_eq!(bench.run(instr), raised("badarith"), "{instr:?} of {a}, {b}"),
        }
    }
    let mut bench = Bench::with(&[Term::small(3), Term::atom(am::OK)]);
    assert_eq!(bench.run(Instr::LoadFloat { src: x(0), to: 0 }), NEXT);
    assert_eq!(bench.run(Instr::StoreFloat { from: 0, dst: Dst::x(0) }), NEXT);
    assert_eq!(bench.x(0), "3.000000e+00");
    assert_eq!(bench.run(Instr::LoadFloat { src: x(1), to: 0 }), raised("badarith"));
}

#[test]
fn terms_are_built_and_taken_apart() {
    let mut bench = Bench::with(&[Term::small(1), Term::NIL]);
    assert_eq!(bench.run(Instr::PutList { head: x(0), tail: x(1), dst: Dst::x(2) }), NEXT);
    assert_eq!(bench.run(Instr::PutList { head: x(2), tail: x(2), dst: Dst::x(2) }), NEXT);
    assert_eq!(bench.x(2), "[[1],1]");
    // The list itself is overwritten.
    assert_eq!(bench.run(Instr::GetList { src: x(2), head: Dst::x(2), tail: Dst::x(3) }), NEXT);
    assert_eq!((bench.x(2).as_str(), bench.x(3).as_str()), ("[1]", "[1]"));
    let cons = Instr::IsConsGetListX { x: 2, head: Dst::x(4), tail: Dst::x(2), fail: FAIL };
    assert_eq!(bench.run(cons), NEXT);
    assert_eq!((bench.x(4).as_str(), bench.x(2).as_str()), ("1", "[]"));
    assert_eq!(bench.run(cons), JUMPED);
    let triple = bench.p.tuple(&[1, 2, 3].map(Term::small));
    bench.set(&[triple]);
    let both = Instr::GetElement2 { src: x(0), index: 1, dst1: Dst::x(1), dst2: Dst::x(0) };
    assert_eq!(bench.run(both), NEXT);
    assert_eq!((bench.x(1).as_str(), bench.x(0).as_str()), ("2", "3"));
    for (index, tuple, expected) in [
        (1, triple, Ok("1")),
        (3, triple, Ok("3")),
        (0, triple, Err(raised("badarg"))),
        (4, triple, Err(raised("badarg"))),
        (1, Term::NIL, Err(raised("badarg"))),
    ] {
        bench.set(&[Term::small(index), tuple]);
        let after = bench.run(Instr::Element { a: x(0), b: x(1), dst: Dst::x(2) });
        match expected {
            Ok(element) => assert_eq!((after, bench.x(2).as_str()), (NEXT, element)),
            Err(raised) => assert_eq!(after, raised, "element {index} of {}", text(tuple)),
        }
    }
}

#[test]
fn bits_are_taken_in_turn_and_stay_where_a_segment_does_not_fit() {
    let (context, fail, dst) = (Dst::x(0), FAIL, Dst::x(1));
    let integer = |flags: u8, bits: i32| Instr::BsGetInteger {
        flags,
        unit: 0,
        context,
        size: Src::small(bits),
        dst,
        fail,
    };
    let float = |bits: i32| Instr::BsGetFloat {
        flags: 0,
        unit: 0,
        context,
        size: Src::small(bits),
        dst,
        fail,
    };
    let binary =
        |bytes: i32| Instr::BsGetBinary { unit: 7, context, size: Src::small(bytes), dst, fail };
    let skip = |bits: i32| Instr::BsSkip { unit: 0, context, size: Src::small(bits), fail };
    let utf8 = Instr::BsGetUtf { utf: Utf::Utf8, flags: 0, context, dst, fail };
    let rest = |unit: u16| Instr::BsGetRest { unit, context, dst, fail };
    let tail = |bits: u64| Instr::BsTestTail { bits, context, fail };
    /// A binary, and what is done with it in turn: `None` where it fails.
    type Case<'a> = (&'a [u8], &'a [(Instr, Option<&'a str>)]);
    let cases: [Case<'_>; 6] = [
        (
            &[1, 2, 255, 254],
            &[
                (integer(0, 8), Some("1")),
                (integer(0, 4), Some("0")),
                (integer(0, 4), Some("2")),
                (integer(0, 17), None),
                (integer(FLAG_LITTLE | FLAG_SIGNED, 16), Some("-257")),
                (integer(0, 1), None),
                (tail(0), Some("-257")),
            ],
        ),
        (&[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], &[(float(64), Some("1.500000e+00"))]),
        // Not a number; 63 bits are no float at all.
        (&[0x7f, 0xf8, 0, 0, 0, 0, 0, 0], &[(float(64), None), (float(63), None)]),
        (
            &[7, 8, 9],
            &[(binary(2), Some("<<7,8>>")), (binary(2), None), (tail(8), Some("<<7,8>>"))],
        ),
        (
            &[0xe2, 0x82, 0xac, 0xff],
            &[(utf8, Some("8364")), (utf8, None), (skip(9), None), (skip(4), Some("8364"))],
        ),
        (
            &[1, 2, 3],
            &[
                (skip(4), Some("[]")),
                (rest(8), None),
                (rest(4), Some("<<16,32,3:4>>")),
                (tail(0), Some("<<16,32,3:4>>")),
            ],
        ),
    ];
    for (bytes, steps) in cases {
        let mut bench = Bench::new();
        let source = bench.p.heap.binary(bytes);
        bench.set(&[source]);
        let start = Instr::BsStartMatch { src: x(0), dst: context, fail };
        assert_eq!(bench.run(start), NEXT);
        for &(instr, expected) in steps {
            let after = bench.run(instr);
            match expected {
                Some(value) => {
                    assert_eq!((after, bench.x(1).as_str()), (NEXT, value), "{instr:?}");
                }
                None => assert_eq!(after, JUMPED, "{instr:?}"),
            }
        }
    }
    let mut bench = Bench::with(&[Term::NIL]);
    let start = |fail: i32| Instr::BsStartMatch { src: x(0), dst: context, fail };
    assert_eq!(bench.run(start(fail)), JUMPED);
    assert_eq!(bench.run(start(0)), raised("badarg"), "0 is no place to go to");
}

#[test]
fn exceptions_end_the_process_where_nothing_catches_them() {
    let value = Term::small(5);
    for (instr, reason) in [
        (Instr::Badmatch { src: x(0) }, "{badmatch,5}"),
        (Instr::CaseEnd { src: x(0) }, "{case_clause,5}"),
        (Instr::TryCaseEnd { src: x(0) }, "{try_clause,5}"),
        (Instr::Badrecord { src: x(0) }, "{badrecord,5}"),
        (Instr::IfEnd, "if_clause"),
        (Instr::FuncInfo { function: 0, calls: 0 }, "function_clause"),
        (Instr::Hd { a: x(0), dst: Dst::x(0) }, "badarg"),
        (Instr::TupleSize { a: x(0), dst: Dst::x(0) }, "badarg"),
    ] {
        assert_eq!(Bench::with(&[value]).run(instr), raised(reason), "{instr:?}");
    }
}

#[test]
fn the_innermost_handler_gets_the_exception_and_its_frame() {
    let mut bench = Bench::with(&[Term::small(5)]);
    bench.frame(&[Term::NIL, Term::NIL]);
    let frame = bench.p.heap.stop;
    let mut code = [Instr::Nop; 8];
    code[0] = Instr::Catch { y: 1, handler: 6 };
    code[1] = Instr::Catch { y: 0, handler: 4 };
    code[2] = Instr::Badmatch { src: x(0) };
    code[5] = Instr::TryCase { y: 0 };
    code[6] = Instr::CatchEnd { y: 1 };
    code[7] = Instr::Cell { native: 0 };
    assert_eq!(bench.run_at(&code, 0), NEXT);
    assert_eq!(bench.run_at(&code, 1), NEXT);
    // A function was called since, and has a frame.
    // SAFETY: return addresses lie among the words of a stack.
    let back = unsafe { Term::from_raw(&raw const code[7] as u64) };
    bench.frame(&[Term::small(1), back]);
    assert_eq!(bench.run_at(&code, 2), After::Caught(3));
    assert_eq!(bench.p.heap.stop, frame, "the frame of the handler");
    assert_eq!(bench.run_at(&code, 5), NEXT);
    assert_eq!(
        (bench.x(0), bench.x(1), bench.y(0)),
        ("error".into(), "{badmatch,5}".into(), "[]".into())
    );
    // The other one is still there, and is a `catch`.
    bench.set(&[Term::small(6)]);
    assert_eq!(bench.run_at(&code, 2), After::Caught(4));
    assert_eq!(bench.run_at(&code, 6), NEXT);
    assert_eq!((bench.x(0), bench.y(1)), ("{'EXIT',{{badmatch,6},[]}}".into(), "[]".into()));
    // None is left.
    bench.set(&[Term::small(7)]);
    assert_eq!(bench.run_at(&code, 2), raised("{badmatch,7}"));
}

#[test]
fn what_was_caught_is_raised_again_with_its_class() {
    let class = |class: swarmrt_term::Atom| {
        let mut bench = Bench::new();
        let trace = bench.p.tuple(&[Term::atom(class), Term::NIL, Term::NIL]);
        bench.set(&[trace, Term::atom(am::OK)]);
        bench.run(Instr::BifExit { trace: x(0), reason: x(1) })
    };
    assert_eq!(class(am::ERROR), raised("ok"));
    assert_eq!(class(am::THROW), raised("{nocatch,ok}"));
    assert_eq!(class(am::EXIT), raised("ok"));
    let mut bench = Bench::with(&[Term::NIL, Term::atom(am::OK), Term::NIL]);
    assert_eq!(bench.run(Instr::RawRaise), NEXT, "no class: a value");
    assert_eq!(bench.x(0), "badarg");
}

#[test]
fn a_receive_waits_where_there_is_no_message() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(Instr::LoopRec { wait: FAIL }), JUMPED);
    assert_eq!(bench.run(Instr::Wait { target: -1 }), After::Turn(Outcome::Wait));
    for (time, after) in [
        (Term::small(0), NEXT),
        (Term::atom(am::INFINITY), After::Turn(Outcome::Wait)),
        (Term::small(-1), raised("timeout_value")),
        (Term::atom(am::OK), raised("timeout_value")),
    ] {
        let mut bench = Bench::with(&[time]);
        let code = [Instr::Nop, Instr::WaitTimeout { target: -1, time: x(0) }, Instr::Nop];
        assert_eq!(bench.run_at(&code, 1), after, "{}", text(time));
    }
}
