use super::*;
use crate::decode::Operand;
use crate::decode::{Args, Code};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use swarmrt_term::am;

/// Counts what this thread has allocated and not freed.
struct Counting;

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.with(|live| live.set(live.get() + layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE_BYTES.with(|live| live.set(live.get() - layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

struct NoLinks;

impl Linker for NoLinks {
    fn no_code(&self, _: CellKind) -> u64 {
        0
    }
    fn export(&mut self, _: Mfa) -> ExportPtr {
        ExportPtr(0)
    }
    fn bif(&self, mfa: Mfa) -> Option<u16> {
        (mfa.module == am::ERLANG).then_some(0)
    }
    fn is_guard(&self, _: u16) -> bool {
        true
    }
    fn fun(&mut self, _: u32) -> FunPtr {
        FunPtr(0)
    }
    fn native(&self, _: u32, _: &dyn Fn() -> bool) -> Option<NativePtr> {
        None
    }
    fn big(&mut self, _: &[u8]) -> Term {
        Term::NIL
    }
    fn tuple(&mut self, _: &[Term]) -> Term {
        Term::NIL
    }
}

fn op(opcode: Opcode, args: impl IntoIterator<Item = Operand>) -> Op {
    Op { opcode, args: Args::from_iter(args), offset: 0 }
}

/// A function `m:m/0` of these instructions.
fn module(body: impl IntoIterator<Item = Op>) -> BeamFile {
    let mut ops = vec![
        op(Opcode::Label, [Operand::Unsigned(1)]),
        op(Opcode::FuncInfo, [Operand::Atom(1), Operand::Atom(1), Operand::Unsigned(0)]),
        op(Opcode::Label, [Operand::Unsigned(2)]),
    ];
    ops.extend(body);
    ops.push(op(Opcode::IntCodeEnd, []));
    BeamFile {
        atoms: vec![String::new(), "m".to_owned()],
        code: Code { ops, label_count: 4, function_count: 1 },
        ..BeamFile::default()
    }
}

/// Translates a module with whatever for its constants.
pub(crate) fn translate(file: &BeamFile) -> Result<(), BeamError> {
    let atoms: Vec<Atom> = file.atoms.iter().map(|name| Atom::new(name)).collect();
    let literals = vec![Term::NIL; file.literals.len()];
    specialise(file, &atoms, &literals, &mut NoLinks).map(drop)
}

fn specialised(file: &BeamFile) -> Result<Specialised, BeamError> {
    specialise(file, &[am::EMPTY, am::OK], &[], &mut NoLinks)
}

/// Has operands in a table of its own.
fn with_table() -> Op {
    op(Opcode::InitYregs, [Operand::List([Operand::Y(0), Operand::Y(1)].into())])
}

#[test]
fn tables_go_with_the_module() {
    let file = module([with_table(), op(Opcode::Return, [])]);
    // What is made once for all.
    drop(specialised(&file));
    let before = LIVE_BYTES.get();
    let module = specialised(&file).expect("it can be translated");
    assert!(LIVE_BYTES.get() > before);
    drop(module);
    assert_eq!(LIVE_BYTES.get(), before);
}

#[test]
fn tables_of_a_module_that_is_refused_are_freed() {
    let move_of_no_float = op(Opcode::Fmove, [Operand::X(0), Operand::X(1)]);
    let file = module([with_table(), move_of_no_float]);
    assert!(specialised(&file).is_err());
    let before = LIVE_BYTES.get();
    assert!(specialised(&file).is_err());
    assert_eq!(LIVE_BYTES.get(), before);
}

/// What a function of these instructions becomes, a line each, without its head and its end.
fn listing(body: impl IntoIterator<Item = Op>) -> Vec<String> {
    let module = specialised(&module(body)).expect("it can be translated");
    let lines = module.code().iter().enumerate().map(|(at, instr)| {
        let line = instr.listed(at as u32).to_string();
        line.split_whitespace().next().expect("a name").to_owned()
    });
    lines.filter(|name| !matches!(name.as_str(), "FuncInfo" | "Cell")).collect()
}

/// Checks what pairs of instructions become when one follows the other at once, and that they stay
/// apart where a label lies between them, which something may jump to.
fn check_pairs(table: Vec<(Op, Op, &[&str])>) {
    for (first, second, expected) in table {
        let shown =
            format!("{:?} {:?}, {:?} {:?}", first.opcode, first.args, second.opcode, second.args);
        assert_eq!(listing([first.clone(), second.clone()]), expected, "{shown}");
        let between = op(Opcode::Label, [Operand::Unsigned(3)]);
        let apart = listing([first.clone(), between, second.clone()]);
        let alone = [listing([first]), listing([second])].concat();
        assert_eq!(apart, alone, "with a label between: {shown}");
    }
}

#[test]
fn moves_in_pairs_are_one_where_both_are_of_one_kind() {
    use Operand::{Int, X, Y};
    let to = |from: Operand, to: Operand| op(Opcode::Move, [from, to]);
    check_pairs(vec![
        (to(X(1), X(2)), to(X(3), X(4)), &["MoveXX2"]),
        // The second may read what the first has written.
        (to(X(1), X(2)), to(X(2), X(3)), &["MoveXX2"]),
        (to(X(1), Y(0)), to(X(2), Y(1)), &["MoveXY2"]),
        (to(Y(0), X(1)), to(Y(1), X(2)), &["MoveYX2"]),
        (to(X(1), X(2)), to(X(3), Y(0)), &["MoveXX", "MoveXY"]),
        (to(Y(0), X(1)), to(X(1), Y(0)), &["MoveYX", "MoveXY"]),
        (to(Y(0), Y(1)), to(Y(1), Y(2)), &["Move", "Move"]),
        (to(Int(5), X(1)), to(Int(6), X(2)), &["MoveKX", "MoveKX"]),
    ]);
}

#[test]
fn tests_and_what_they_allow_are_one_where_they_concern_one_term() {
    use Operand::{Label, Unsigned, X, Y};
    let cons = |term: Operand| op(Opcode::IsNonemptyList, [Label(1), term]);
    let parts = |list: Operand| op(Opcode::GetList, [list, X(1), X(2)]);
    let tuple = |fail: u32, term: Operand| op(Opcode::IsTuple, [Label(fail), term]);
    let arity = |fail: u32, term: Operand| op(Opcode::TestArity, [Label(fail), term, Unsigned(2)]);
    check_pairs(vec![
        (cons(X(0)), parts(X(0)), &["IsConsGetListX"]),
        (cons(X(0)), parts(X(3)), &["IsConsX", "GetList"]),
        (cons(Y(0)), parts(Y(0)), &["IsCons", "GetList"]),
        (tuple(1, X(0)), arity(1, X(0)), &["IsTupleOf"]),
        (tuple(1, Y(0)), arity(1, Y(0)), &["IsTupleOf"]),
        (tuple(1, X(0)), arity(1, X(1)), &["IsTuple", "TestArity"]),
        // They fail to different places.
        (tuple(1, X(0)), arity(2, X(0)), &["IsTuple", "TestArity"]),
    ]);
}

#[test]
fn neighbouring_elements_are_read_at_once_unless_the_first_overwrites_the_tuple() {
    use Operand::{Unsigned, X};
    let element = |tuple: Operand, index: u64, to: Operand| {
        op(Opcode::GetTupleElement, [tuple, Unsigned(index), to])
    };
    let apart: &[&str] = &["GetElement", "GetElement"];
    check_pairs(vec![
        (element(X(0), 0, X(1)), element(X(0), 1, X(2)), &["GetElement2"]),
        // The second may: nothing is read behind it.
        (element(X(0), 0, X(1)), element(X(0), 1, X(0)), &["GetElement2"]),
        (element(X(0), 0, X(0)), element(X(0), 1, X(2)), apart),
        (element(X(0), 0, X(1)), element(X(0), 2, X(2)), apart),
        (element(X(0), 1, X(1)), element(X(0), 0, X(2)), apart),
        (element(X(0), 0, X(1)), element(X(3), 1, X(2)), apart),
    ]);
}

#[test]
fn a_call_of_a_fun_before_a_return_is_a_tail_call() {
    use Operand::{Unsigned, X};
    let call = || op(Opcode::CallFun2, [Operand::Atom(0), Unsigned(1), X(1)]);
    let frame = || op(Opcode::Deallocate, [Unsigned(2)]);
    let back = || op(Opcode::Return, []);
    let label = || op(Opcode::Label, [Unsigned(3)]);
    for (body, expected) in [
        (vec![call(), frame(), back()], vec!["CallFunLast"]),
        (vec![call(), frame(), label(), back()], vec!["CallFun2", "Deallocate", "Return"]),
        (vec![call(), label(), frame(), back()], vec!["CallFun2", "Deallocate", "Return"]),
        (vec![call(), back()], vec!["CallFun2", "Return"]),
    ] {
        assert_eq!(listing(body), expected);
    }
}

#[test]
fn selections_are_tables_where_the_numbers_lie_close() {
    for (values, expected) in [
        (vec![1, 2, 3], true),
        (vec![-3, 0, 16], true),
        (vec![-3, 0, 17], false),
        (vec![1, 2], false),
        (vec![], false),
        (vec![i64::MIN, 0, i64::MAX], false),
        ((0..100).map(|number| number * 4).collect(), true),
        ((0..100).map(|number| number * 5).collect(), false),
    ] {
        assert_eq!(control::dense(&values), expected, "{values:?}");
    }
}

#[test]
fn sums_with_a_small_number_have_an_instruction_of_their_own() {
    let (x, y, to) = (Src::x(3), Src::y(2), Dst::x(1));
    let sum = |a: Src, b: i32, dst: Dst, sign: i32| {
        Specialiser::<'_, NoLinks>::add_small(a, Src::small(b), dst, sign)
            .map(|instr| format!("{instr:?}"))
    };
    let expected = |instr: Instr| Some(format!("{instr:?}"));
    assert_eq!(sum(x, 7, to, 1), expected(Instr::AddXI { x: 3, to: 1, value: 7 }));
    assert_eq!(sum(x, 7, to, -1), expected(Instr::AddXI { x: 3, to: 1, value: -7 }));
    assert_eq!(sum(y, 7, to, 1), expected(Instr::AddYI { y: 2, dst: to, value: 7 }));
    assert_eq!(sum(x, -7, to, 1), None, "a stack trace would show a subtraction");
    assert_eq!(sum(x, 7, Dst::y(0), 1), None, "an X register is added to into another only");
}
