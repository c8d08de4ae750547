use super::*;
use crate::decode::{Args, Code};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

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
        code: Code { ops, label_count: 3, function_count: 1 },
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
