//! Match contexts: where they may be, and what functions and handlers know of them.

use super::*;

#[test]
fn match_contexts_are_no_terms() {
    let start = |to: Operand| (Opcode::BsStartMatch3, vec![Label(1), X(0), Unsigned(1), to]);
    let byte = |context: Operand| {
        let args = vec![Label(1), context, Unsigned(1), Int(8), Unsigned(1), Unsigned(0), X(0)];
        (Opcode::BsGetInteger2, args)
    };
    assert_eq!(check(1, vec![start(X(0)), RETURN()]), Err(Fault::ContextX(0)));
    assert_eq!(check(1, vec![start(X(1)), RETURN()]), Ok(()));
    assert_eq!(
        check(1, vec![start(X(1)), (Opcode::Swap, vec![X(0), X(1)]), RETURN()]),
        Err(Fault::ContextX(0))
    );
    assert_eq!(
        check(1, vec![start(X(0)), (Opcode::BsGetTail, vec![X(0), X(0), Unsigned(1)]), RETURN()]),
        Ok(())
    );
    assert_eq!(check(1, vec![start(X(0)), is_nil(1, X(0)), RETURN()]), Err(Fault::ContextX(0)));
    // The arguments of `function_clause` are terms; that of a match that cannot begin is one.
    assert_eq!(check(1, vec![start(X(0)), byte(X(0)), RETURN()]), Err(Fault::ContextX(0)));
    let init = (Opcode::InitYregs, vec![List(Box::new([Y(0)]))]);
    let kept = vec![
        allocate(1, 1),
        init,
        (Opcode::BsStartMatch4, vec![Atom(9), Unsigned(1), X(0), Y(0)]),
        move_to(Int(1), X(0)),
        call_ext(1, 1),
        move_to(Y(0), X(0)),
    ];
    let with = |mut body: Vec<Instruction>, more: Vec<Instruction>| {
        body.extend(more);
        body
    };
    assert_eq!(
        check(1, with(kept.clone(), vec![deallocate(1), RETURN()])),
        Err(Fault::ContextX(0))
    );
    assert_eq!(
        check(
            1,
            with(
                kept,
                vec![(Opcode::BsGetTail, vec![X(0), X(0), Unsigned(1)]), deallocate(1), RETURN()]
            )
        ),
        Ok(())
    );
}

/// Whatever can raise may lead to the handler: also with what was put into the frame since it was
/// first looked at.
#[test]
fn handlers_know_of_match_contexts_that_come_later() {
    let start = |to: Operand| (Opcode::BsStartMatch4, vec![Atom(9), Unsigned(1), X(0), to]);
    let body = |into_frame: Vec<Instruction>, result: Operand| {
        let head = vec![
            allocate(3, 1),
            (Opcode::InitYregs, vec![List(Box::new([Y(0), Y(1), Y(2)]))]),
            move_to(X(0), Y(2)),
            catch(Opcode::Try, 0, 3),
            call_ext(1, 1),
            move_to(Y(2), X(0)),
        ];
        let tail = vec![
            move_to(Int(1), X(0)),
            call_ext(1, 1),
            end_catch(Opcode::TryEnd, 0),
            deallocate(3),
            RETURN(),
            label(3),
            end_catch(Opcode::TryCase, 0),
            move_to(result, X(0)),
            deallocate(3),
            RETURN(),
        ];
        [head, into_frame, tail].concat()
    };
    let moved = || vec![start(X(1)), move_to(X(1), Y(1))];
    let swapped = || vec![start(X(1)), (Opcode::Swap, vec![X(1), Y(1)])];
    let made_there = || vec![start(Y(1))];
    for into_frame in [moved(), swapped(), made_there()] {
        assert_eq!(check(1, body(into_frame.clone(), Y(1))), Err(Fault::ContextX(0)));
        assert_eq!(check(1, body(into_frame, Y(2))), Ok(()));
    }
    assert_eq!(check(1, body(vec![start(X(1))], Y(1))), Ok(()));
}

#[test]
fn functions_take_match_contexts_that_they_match() {
    let start = || (Opcode::BsStartMatch3, vec![Label(1), X(0), Unsigned(1), X(0)]);
    let calls = |argument: Operand| {
        vec![start(), move_to(X(0), argument), (Opcode::CallOnly, vec![Unsigned(1), Label(2)])]
    };
    assert_eq!(check(1, calls(X(0))), Ok(()));
    assert_eq!(
        check(
            1,
            vec![
                is_nil(3, X(0)),
                start(),
                (Opcode::CallOnly, vec![Unsigned(1), Label(2)]),
                label(3),
                RETURN()
            ]
        ),
        Err(Fault::ContextX(0))
    );
    // Not to a function that is called by name, or to a fun.
    assert_eq!(
        check(1, vec![start(), (Opcode::CallExtOnly, vec![Unsigned(1), Unsigned(1)])]),
        Err(Fault::ContextX(0))
    );
    assert_eq!(
        check(
            1,
            vec![start(), allocate(0, 1), move_to(Nil, X(1)), (Opcode::CallFun, vec![Unsigned(1)])]
        ),
        Err(Fault::ContextX(0))
    );
}
