//! The verifier against modules made by hand, one rule a test.

mod contexts;
mod corpus;

use super::*;
use crate::file::{AllocKind, Args, FunRef, Lambda, Op, Operand};
use Operand::{Atom, Int, Label, List, Nil, Unsigned, X, Y};

type Instruction = (Opcode, Vec<Operand>);

/// A module `m` with one function `m:f`, whose entry is label 2; label 1 is its `func_info`.
fn module(arity: u32, body: Vec<Instruction>) -> BeamFile {
    let mut file = BeamFile::default();
    let names =
        ["", "m", "f", "erlang", "error", "reverse", "setelement", "integer", "string", "no_fail"];
    file.atoms = names.map(str::to_owned).to_vec();
    file.imports = vec![
        Mfa { module: 3, function: 4, arity: 1 },
        Mfa { module: 3, function: 5, arity: 1 },
        Mfa { module: 3, function: 6, arity: 3 },
    ];
    file.exports = vec![FunRef { function: 2, arity, label: 2 }];
    file.lambdas =
        vec![Lambda { function: 2, arity, label: 2, index: 0, num_free: arity, old_uniq: 0 }];
    file.strings = b"text".to_vec();
    file.code.label_count = 10;
    file.code.function_count = 1;
    let head = vec![
        (Opcode::Label, vec![Unsigned(1)]),
        (Opcode::FuncInfo, vec![Atom(1), Atom(2), Unsigned(u64::from(arity))]),
        (Opcode::Label, vec![Unsigned(2)]),
    ];
    let ops = head.into_iter().chain(body).chain([(Opcode::IntCodeEnd, vec![])]);
    file.code.ops = (0..)
        .zip(ops)
        .map(|(offset, (opcode, args))| Op {
            opcode,
            args: args.into_iter().collect::<Args>(),
            offset,
        })
        .collect();
    file
}

fn check(arity: u32, body: Vec<Instruction>) -> Result<(), Fault> {
    verify(&module(arity, body)).map_err(|error| error.fault)
}

fn move_to(source: Operand, destination: Operand) -> Instruction {
    (Opcode::Move, vec![source, destination])
}

fn label(number: u64) -> Instruction {
    (Opcode::Label, vec![Unsigned(number)])
}

fn jump(to: u32) -> Instruction {
    (Opcode::Jump, vec![Label(to)])
}

fn is_nil(fail: u32, source: Operand) -> Instruction {
    (Opcode::IsNil, vec![Label(fail), source])
}

fn allocate(words: u64, live: u64) -> Instruction {
    (Opcode::Allocate, vec![Unsigned(words), Unsigned(live)])
}

fn deallocate(words: u64) -> Instruction {
    (Opcode::Deallocate, vec![Unsigned(words)])
}

fn call_ext(import: u64, arity: u64) -> Instruction {
    (Opcode::CallExt, vec![Unsigned(arity), Unsigned(import)])
}

fn test_heap(words: u64, live: u64) -> Instruction {
    (Opcode::TestHeap, vec![Unsigned(words), Unsigned(live)])
}

fn catch(opcode: Opcode, register: u16, handler: u32) -> Instruction {
    (opcode, vec![Y(register), Label(handler)])
}

fn end_catch(opcode: Opcode, register: u16) -> Instruction {
    (opcode, vec![Y(register)])
}

const RETURN: fn() -> Instruction = || (Opcode::Return, vec![]);

#[test]
fn errors_say_where_and_why() {
    let error = verify(&module(1, vec![move_to(X(1), X(0)), RETURN()])).unwrap_err();
    assert_eq!(error.to_string(), "m:f/1, byte 3, move: X1 is read but not written on every path");
    let mut file = module(1, vec![RETURN()]);
    file.exports[0].arity = 2;
    let error = verify(&file).unwrap_err();
    assert_eq!(error.to_string(), "m (export): the function at label 2 has arity 1, not 2");
}

#[test]
fn registers_have_to_be_written_on_every_path() {
    // if x0 == [] -> x1 := 1 end, x0 := x1
    let body = |other: Vec<Instruction>| {
        let mut body = vec![is_nil(3, X(0)), move_to(Int(1), X(1)), jump(4), label(3)];
        body.extend(other);
        body.extend([label(4), move_to(X(1), X(0)), RETURN()]);
        body
    };
    assert_eq!(check(1, body(vec![])), Err(Fault::UninitialisedX(1)));
    assert_eq!(check(1, body(vec![move_to(Int(2), X(1))])), Ok(()));
}

#[test]
fn what_a_later_path_takes_away_is_noticed_in_a_loop() {
    // The second time round, X1 is gone.
    let body = vec![
        move_to(Int(1), X(1)),
        allocate(0, 2),
        label(3),
        is_nil(4, X(1)),
        call_ext(1, 1),
        jump(3),
        label(4),
        deallocate(0),
        RETURN(),
    ];
    assert_eq!(check(1, body), Err(Fault::UninitialisedX(1)));
}

#[test]
fn calls_and_collections_kill_x_registers() {
    let body = vec![allocate(0, 2), call_ext(1, 1), move_to(X(1), X(0)), deallocate(0), RETURN()];
    assert_eq!(check(2, body), Err(Fault::UninitialisedX(1)));
    let body = vec![test_heap(2, 1), move_to(X(1), X(0)), RETURN()];
    assert_eq!(check(2, body), Err(Fault::UninitialisedX(1)));
    assert_eq!(check(0, vec![test_heap(2, 1), RETURN()]), Err(Fault::UninitialisedX(0)));
}

#[test]
fn frames_have_one_size() {
    assert_eq!(
        check(1, vec![allocate(0, 1), RETURN()]),
        Err(Fault::FrameExists("a frame of 0 words".into()))
    );
    assert_eq!(
        check(1, vec![allocate(1, 1), deallocate(2), RETURN()]),
        Err(Fault::WrongFrame { frame: "a frame of 1 words".into(), wanted: 2 })
    );
    assert_eq!(
        check(1, vec![call_ext(1, 1), RETURN()]),
        Err(Fault::FrameNeeded("no frame".into()))
    );
    let body = vec![is_nil(3, X(0)), allocate(1, 1), label(3), deallocate(1), RETURN()];
    assert!(matches!(check(1, body), Err(Fault::WrongFrame { .. })));
    let body = vec![
        allocate(2, 1),
        move_to(X(0), Y(1)),
        (Opcode::Trim, vec![Unsigned(1), Unsigned(1)]),
        move_to(Y(0), X(0)),
        deallocate(1),
        RETURN(),
    ];
    assert_eq!(check(1, body), Ok(()));
}

#[test]
fn y_registers_exist_and_are_initialised() {
    assert_eq!(
        check(1, vec![allocate(1, 1), move_to(X(0), Y(1)), deallocate(1), RETURN()]),
        Err(Fault::OutsideFrame { register: 1, frame: "a frame of 1 words".into() })
    );
    assert_eq!(check(1, vec![allocate(1, 1), move_to(Y(0), X(0))]), Err(Fault::UninitialisedY(0)));
    assert_eq!(check(1, vec![allocate(1, 1), call_ext(1, 1)]), Err(Fault::StackNotInitialised));
    let body = vec![
        allocate(1, 1),
        (Opcode::InitYregs, vec![List(Box::new([Y(0)]))]),
        call_ext(1, 1),
        deallocate(1),
        RETURN(),
    ];
    assert_eq!(check(1, body), Ok(()));
}

#[test]
fn terms_are_built_in_granted_words() {
    let put_list = || (Opcode::PutList, vec![X(0), Nil, X(0)]);
    assert_eq!(check(1, vec![test_heap(4, 1), put_list(), put_list(), RETURN()]), Ok(()));
    assert_eq!(
        check(1, vec![test_heap(3, 1), put_list(), put_list(), RETURN()]),
        Err(Fault::HeapWords { needed: 2, granted: 1 })
    );
    let tuple = (Opcode::PutTuple2, vec![X(0), List(Box::new([X(0), Int(1)]))]);
    assert_eq!(check(1, vec![tuple, RETURN()]), Err(Fault::HeapWords { needed: 3, granted: 0 }));
    // A loop that builds without asking.
    let body = vec![test_heap(1 << 20, 1), label(3), put_list(), is_nil(3, X(0)), RETURN()];
    assert_eq!(check(1, body), Err(Fault::HeapWords { needed: 2, granted: 0 }));
}

#[test]
fn elements_may_be_taken_from_what_can_be_no_tuple() {
    let body = |source| vec![(Opcode::GetTupleElement, vec![source, Unsigned(0), X(0)]), RETURN()];
    assert_eq!(check(0, body(Nil)), Ok(()));
    assert!(matches!(check(0, body(Label(1))), Err(Fault::OperandKind { position: 1, .. })));
}

#[test]
fn floats() {
    let fmove = |from: Operand, to: Operand| (Opcode::Fmove, vec![from, to]);
    let heap = |floats| {
        (Opcode::TestHeap, vec![Operand::AllocList(vec![(AllocKind::Floats, floats)]), Unsigned(1)])
    };
    let float = Operand::Float;
    assert_eq!(
        check(1, vec![heap(1), fmove(X(0), float(0)), fmove(float(0), X(0)), RETURN()]),
        Ok(())
    );
    assert_eq!(
        check(1, vec![heap(0), fmove(X(0), float(0)), fmove(float(0), X(0))]),
        Err(Fault::HeapFloats)
    );
    assert_eq!(check(1, vec![heap(1), fmove(float(0), X(0))]), Err(Fault::UninitialisedFloat(0)));
}

#[test]
fn control_stays_in_the_function() {
    assert_eq!(check(1, vec![move_to(Int(1), X(0))]), Err(Fault::FallsOff));
    assert_eq!(check(1, vec![jump(7)]), Err(Fault::NoSuchLabel(7)));
    assert_eq!(
        check(1, vec![(Opcode::Call, vec![Unsigned(2), Label(2)])]),
        Err(Fault::WrongArity { label: 2, arity: 1, wanted: 2 })
    );
    assert_eq!(
        check(1, vec![(Opcode::CallOnly, vec![Unsigned(1), Label(1)])]),
        Err(Fault::NotAnEntry(1))
    );
    // error/1 does not return, whatever frame the compiler thinks of.
    assert_eq!(check(1, vec![call_ext(0, 1)]), Ok(()));
    let body =
        vec![allocate(0, 1), (Opcode::CallExtLast, vec![Unsigned(1), Unsigned(0), Unsigned(7)])];
    assert_eq!(check(1, body), Ok(()));
    // A clause that does not match jumps to func_info with the arguments in place.
    assert_eq!(check(1, vec![is_nil(1, X(0)), RETURN()]), Ok(()));
    assert!(matches!(check(1, vec![allocate(0, 1), jump(1)]), Err(Fault::FrameExists(_))));
}

#[test]
fn handlers_keep_only_what_was_there_all_along() {
    let body = |before: Vec<Instruction>, read: u16| {
        let mut body = vec![allocate(2, 1)];
        body.extend(before);
        body.extend([
            catch(Opcode::Try, 1, 3),
            call_ext(1, 1),
            move_to(X(0), Y(0)),
            call_ext(1, 1),
            end_catch(Opcode::TryEnd, 1),
            jump(4),
            label(3),
            end_catch(Opcode::TryCase, 1),
            label(4),
            move_to(Y(read), X(0)),
            deallocate(2),
            RETURN(),
        ]);
        body
    };
    assert_eq!(check(1, body(vec![], 0)), Err(Fault::StackNotInitialised));
    assert_eq!(check(1, body(vec![move_to(Nil, Y(0))], 0)), Ok(()));
    assert_eq!(check(1, body(vec![move_to(Nil, Y(0))], 1)), Ok(()));

    // Without calls nothing demands that Y0 is written, but the handler may still not read it.
    let body = vec![
        allocate(2, 1),
        catch(Opcode::Try, 1, 3),
        (Opcode::GetHd, vec![X(0), Y(0)]),
        end_catch(Opcode::TryEnd, 1),
        deallocate(2),
        RETURN(),
        label(3),
        end_catch(Opcode::TryCase, 1),
        move_to(Y(0), X(0)),
        deallocate(2),
        RETURN(),
    ];
    assert_eq!(check(1, body), Err(Fault::UninitialisedY(0)));
}

#[test]
fn catch_tags_are_not_terms() {
    let start = || vec![allocate(1, 1), catch(Opcode::Catch, 0, 3)];
    let end = || vec![label(3), end_catch(Opcode::CatchEnd, 0), deallocate(1), RETURN()];
    let body = |middle: Vec<Instruction>| {
        start().into_iter().chain(middle).chain(end()).collect::<Vec<_>>()
    };
    assert_eq!(check(1, body(vec![call_ext(1, 1)])), Ok(()));
    assert_eq!(check(1, body(vec![move_to(Y(0), X(0))])), Err(Fault::CatchTag(0)));
    assert_eq!(check(1, body(vec![move_to(X(0), Y(0))])), Err(Fault::CatchTag(0)));
    assert_eq!(check(1, body(vec![deallocate(1), RETURN()])), Err(Fault::ActiveCatch));
    assert_eq!(check(1, body(vec![end_catch(Opcode::TryEnd, 0)])), Err(Fault::NoCatchTag(0)));
    let body =
        vec![allocate(1, 1), catch(Opcode::Try, 0, 3), label(3), end_catch(Opcode::CatchEnd, 0)];
    assert_eq!(check(1, body), Err(Fault::BadHandler(3)));
}

#[test]
fn the_innermost_catch_is_that_in_the_lowest_register() {
    let body = |inner: u16, outer: u16| {
        vec![
            allocate(2, 1),
            catch(Opcode::Try, outer, 3),
            catch(Opcode::Try, inner, 4),
            call_ext(1, 1),
            end_catch(Opcode::TryEnd, inner),
            end_catch(Opcode::TryEnd, outer),
            deallocate(2),
            RETURN(),
            label(3),
            end_catch(Opcode::TryCase, outer),
            deallocate(2),
            RETURN(),
            label(4),
            end_catch(Opcode::TryCase, inner),
            end_catch(Opcode::TryEnd, outer),
            deallocate(2),
            RETURN(),
        ]
    };
    assert_eq!(check(1, body(0, 1)), Ok(()));
    // The exception would arrive at label 3 with the tag of label 4 still there.
    assert_eq!(check(1, body(1, 0)), Err(Fault::ActiveCatch));
}

#[test]
fn setelement_results_are_changed_only_while_fresh() {
    let set = || (Opcode::SetTupleElement, vec![Int(1), X(0), Unsigned(0)]);
    let body = |middle: Vec<Instruction>| {
        let mut body = vec![allocate(0, 3), call_ext(2, 3)];
        body.extend(middle);
        body.extend([set(), deallocate(0), RETURN()]);
        body
    };
    assert_eq!(check(3, body(vec![])), Ok(()));
    assert_eq!(check(3, body(vec![set()])), Ok(()));
    assert_eq!(check(3, body(vec![test_heap(1, 1)])), Err(Fault::SharedTuple));
    assert_eq!(check(3, body(vec![move_to(Nil, X(0))])), Err(Fault::SharedTuple));
    assert_eq!(check(3, vec![set(), RETURN()]), Err(Fault::SharedTuple));
}

#[test]
fn setelement_results_do_not_contain_themselves() {
    let set = |value| (Opcode::SetTupleElement, vec![value, X(0), Unsigned(0)]);
    let body = |middle: Vec<Instruction>, value| {
        let mut body =
            vec![allocate(1, 3), (Opcode::InitYregs, vec![List(Box::new([Y(0)]))]), call_ext(2, 3)];
        body.extend(middle);
        body.extend([set(value), deallocate(1), RETURN()]);
        body
    };
    assert_eq!(check(3, body(vec![], X(0))), Err(Fault::CyclicTuple));
    assert_eq!(check(3, body(vec![move_to(X(0), X(1))], X(1))), Err(Fault::CyclicTuple));
    assert_eq!(
        check(3, body(vec![move_to(X(0), Y(0)), move_to(Y(0), X(3))], X(3))),
        Err(Fault::CyclicTuple)
    );
    assert_eq!(
        check(3, body(vec![move_to(X(0), X(1)), (Opcode::Swap, vec![X(1), Y(0)])], Y(0))),
        Err(Fault::CyclicTuple)
    );
    assert_eq!(check(3, body(vec![move_to(X(0), X(1)), move_to(Nil, X(1))], X(1))), Ok(()));
}

/// What the verifier wants amended in `m:f`.
fn amendments(arity: u32, body: Vec<Instruction>) -> Vec<(u32, Amendment)> {
    let file = module(arity, body);
    let mut verifier = Verifier::new(&file).expect("the tables are right");
    let function =
        functions(&file.code.ops[..file.code.ops.len() - 1]).next().expect("there is a function");
    let amendments = verifier.function(function).expect("it is accepted");
    amendments.iter().map(|(op, amendment)| (op, amendment.clone())).collect()
}

#[test]
fn loops_without_calls_can_end_the_turn() {
    let holes = |holes: &[u16]| holes.into();
    // X1 holds no term where the loop comes round.
    let body = vec![label(3), is_nil(4, X(0)), RETURN(), label(4), move_to(Nil, X(2)), jump(3)];
    assert_eq!(amendments(1, body), [(3, Amendment::EndTurn { live: 1, holes: holes(&[]) })]);
    let body = vec![move_to(Nil, X(2)), label(3), is_nil(3, X(0)), RETURN()];
    assert_eq!(amendments(1, body), [(4, Amendment::EndTurn { live: 3, holes: holes(&[1]) })]);
    // Forward branches make no loop, and messages that are passed over are counted anyway.
    assert_eq!(amendments(1, vec![is_nil(3, X(0)), RETURN(), label(3), RETURN()]), []);
    let body = vec![
        label(3),
        (Opcode::LoopRec, vec![Label(4), X(0)]),
        (Opcode::LoopRecEnd, vec![Label(3)]),
        label(4),
        (Opcode::Wait, vec![Label(3)]),
    ];
    assert_eq!(amendments(0, body), []);
    // An exception that leads back.
    let body = vec![
        allocate(1, 0),
        jump(4),
        label(3),
        end_catch(Opcode::TryCase, 0),
        label(4),
        catch(Opcode::Try, 0, 3),
        (Opcode::IfEnd, vec![]),
    ];
    assert_eq!(amendments(0, body), [(6, Amendment::EndTurn { live: 3, holes: holes(&[]) })]);
    // An exception may be under way at the end of a catch, which code runs into also.
    let body = vec![
        allocate(1, 0),
        catch(Opcode::Catch, 0, 3),
        move_to(Nil, X(0)),
        label(3),
        end_catch(Opcode::CatchEnd, 0),
        catch(Opcode::Catch, 0, 3),
        jump(3),
    ];
    assert_eq!(amendments(0, body), [(7, Amendment::EndTurn { live: 1, holes: holes(&[]) })]);
    // Floats and granted words are not kept.
    let fmove = |from: Operand, to: Operand| (Opcode::Fmove, vec![from, to]);
    let body = vec![
        fmove(X(0), Operand::Float(0)),
        label(3),
        (Opcode::Fnegate, vec![Label(0), Operand::Float(0), Operand::Float(0)]),
        jump(3),
    ];
    assert_eq!(check(1, body), Err(Fault::UninitialisedFloat(0)));
    let body = vec![
        test_heap(2, 1),
        label(3),
        is_nil(3, X(0)),
        (Opcode::PutList, vec![X(0), X(0), X(0)]),
        RETURN(),
    ];
    assert_eq!(check(1, body), Err(Fault::HeapWords { needed: 2, granted: 0 }));
}

#[test]
fn what_is_never_reached_is_left_out() {
    let body = vec![RETURN(), move_to(Y(99), X(7)), label(3), jump(3)];
    assert_eq!(amendments(1, body), [(4, Amendment::Dead { until: 7 })]);
    let body = vec![jump(4), label(3), jump(3), label(4), RETURN()];
    assert_eq!(amendments(1, body), [(4, Amendment::Dead { until: 6 })]);
}

#[test]
fn messages_that_are_not_received_are_not_kept() {
    let body = |middle: Vec<Instruction>| {
        let mut body = vec![
            allocate(1, 0),
            (Opcode::InitYregs, vec![List(Box::new([Y(0)]))]),
            label(3),
            (Opcode::LoopRec, vec![Label(4), X(0)]),
        ];
        body.extend(middle);
        body.extend([
            (Opcode::RemoveMessage, vec![]),
            deallocate(1),
            RETURN(),
            label(4),
            (Opcode::Wait, vec![Label(3)]),
        ]);
        body
    };
    let own = |at| vec![(at, Amendment::OwnMessage)];
    assert_eq!(amendments(0, body(vec![])), []);
    assert_eq!(amendments(0, body(vec![is_nil(4, X(0))])), []);
    // What is received keeps its parts, wherever they are. Whoever looks at the next message has
    // them beyond that.
    assert_eq!(amendments(0, body(vec![move_to(X(0), Y(0))])), []);
    let skips = |middle: Vec<Instruction>| {
        let next = (Opcode::LoopRecEnd, vec![Label(3)]);
        body([middle, vec![is_nil(5, X(0)), next, label(5)]].concat())
    };
    assert_eq!(amendments(0, skips(vec![])), []);
    assert_eq!(amendments(0, skips(vec![move_to(X(0), Y(0))])), own(9));
    let part = |last| vec![(Opcode::GetHd, vec![X(0), X(1)]), move_to(X(1), X(2)), last];
    assert_eq!(amendments(0, skips(part(move_to(X(2), Y(0))))), own(11));
    assert_eq!(amendments(0, skips(part((Opcode::Swap, vec![X(2), Y(0)])))), own(11));
    assert_eq!(amendments(0, skips(part(move_to(Nil, Y(0))))), []);
    assert_eq!(amendments(0, skips(vec![move_to(X(0), Y(0)), move_to(Nil, Y(0))])), []);
    assert_eq!(amendments(0, body(vec![move_to(Int(1), Y(0))])), []);
    // A comparison with what is in the frame keeps nothing.
    assert_eq!(amendments(0, body(vec![(Opcode::IsEqExact, vec![Label(4), X(0), Y(0)])])), []);
    let element = |to| (Opcode::GetTupleElement, vec![X(0), Unsigned(0), to]);
    assert_eq!(amendments(0, body(vec![element(X(1))])), []);
    assert_eq!(amendments(0, skips(vec![element(Y(0))])), own(9));
    assert_eq!(amendments(0, body(vec![call_ext(1, 1)])), own(7));
    assert_eq!(
        amendments(
            0,
            body(vec![
                (Opcode::RecvMarkerUse, vec![X(0)]),
                (Opcode::LoopRec, vec![Label(4), X(0)])
            ])
        ),
        own(7)
    );
    assert_eq!(check(0, body(vec![(Opcode::RemoveMessage, vec![])])), Err(Fault::NoMessage));
    assert_eq!(check(0, body(vec![(Opcode::Timeout, vec![])])), Err(Fault::NoMessage));
}

#[test]
fn binaries() {
    let create = |segment: Vec<Operand>| {
        let args =
            vec![Label(0), Unsigned(0), Unsigned(1), Unsigned(8), X(0), List(segment.into())];
        vec![(Opcode::BsCreateBin, args), RETURN()]
    };
    assert_eq!(
        check(1, create(vec![Atom(7), Unsigned(1), Unsigned(8), Nil, X(0), Int(1)])),
        Ok(())
    );
    assert_eq!(
        check(1, create(vec![Atom(8), Unsigned(1), Unsigned(8), Nil, Unsigned(0), Int(4)])),
        Ok(())
    );
    assert_eq!(
        check(1, create(vec![Atom(8), Unsigned(1), Unsigned(8), Nil, Unsigned(1), Int(4)])),
        Err(Fault::OperandIndex { position: 6, table: "string byte", index: 1, count: 4 })
    );
    assert_eq!(
        check(1, create(vec![Atom(7), Unsigned(1), Unsigned(8), Nil, X(0)])),
        Err(Fault::OperandKind {
            position: 6,
            expected: "a list of six operands for each segment"
        })
    );
    let put = vec![(Opcode::BsPutString, vec![Unsigned(4), Unsigned(0)]), RETURN()];
    assert_eq!(check(1, put), Err(Fault::NoBinary));
}

#[test]
fn a_receive_loop() {
    let body = |destination: Operand, after: Vec<Instruction>| {
        let mut body = vec![
            allocate(0, 0),
            label(3),
            (Opcode::LoopRec, vec![Label(5), destination]),
            is_nil(4, X(0)),
            (Opcode::RemoveMessage, vec![]),
            deallocate(0),
            RETURN(),
            label(4),
            (Opcode::LoopRecEnd, vec![Label(3)]),
            label(5),
        ];
        body.extend(after);
        body
    };
    let wait = || vec![(Opcode::Wait, vec![Label(3)])];
    assert_eq!(check(0, body(X(0), wait())), Ok(()));
    assert!(matches!(check(0, body(X(1), wait())), Err(Fault::OperandKind { position: 2, .. })));
    let timeout = (Opcode::WaitTimeout, vec![Label(3), Int(5)]);
    let after = vec![timeout, (Opcode::Timeout, vec![]), deallocate(0), RETURN()];
    assert_eq!(check(0, body(X(0), after)), Err(Fault::UninitialisedX(0)));
}

/// Two functions: `m:f/1` at label 2 with this body, and `m:g/0` at label 6 behind it, where label
/// 7 is in the middle.
fn two_functions(body: Vec<Instruction>) -> BeamFile {
    let mut file = module(1, body);
    let mut ops = std::mem::take(&mut file.code.ops);
    let end = ops.pop().unwrap();
    let second = vec![
        label(5),
        (Opcode::FuncInfo, vec![Atom(1), Atom(7), Unsigned(0)]),
        label(6),
        move_to(Int(1), X(0)),
        label(7),
        RETURN(),
    ];
    ops.extend((100..).zip(second).map(|(offset, (opcode, args))| Op {
        opcode,
        args: args.into_iter().collect::<Args>(),
        offset,
    }));
    ops.push(end);
    file.code.ops = ops;
    file
}

#[test]
fn calls_of_what_comes_later_are_checked() {
    let call = |arity, to| (Opcode::CallOnly, vec![Unsigned(arity), Label(to)]);
    assert_eq!(verify(&two_functions(vec![call(0, 6)])), Ok(()));
    let refused = |body| verify(&two_functions(body)).unwrap_err().to_string();
    assert_eq!(
        refused(vec![call(1, 6)]),
        "m:f/1, byte 3, call_only: the function at label 6 has arity 0, not 1"
    );
    assert_eq!(
        refused(vec![call(0, 7)]),
        format!("m:f/1, byte 3, call_only: {}", Fault::NotAnEntry(7))
    );
    assert_eq!(
        refused(vec![call(0, 9)]),
        format!("m:f/1, byte 3, call_only: {}", Fault::NotAnEntry(9))
    );
    assert_eq!(refused(vec![jump(7)]), format!("m:f/1, byte 3, jump: {}", Fault::NoSuchLabel(7)));
}
