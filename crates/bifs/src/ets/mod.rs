//! `ets`: tables of terms shared by all processes.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | a table, and the register of all |
//! | [`object`] | one stored tuple in memory of its own |
//! | [`hash`] | sets and bags |
//! | [`ordered`] | ordered sets |
//! | [`matchspec`] | match specifications |
//! | [`select`] | walking through a table with one |
//!
//! Invariants: terms are copied when they go in and when they come out, literals too. A reader or
//! writer holds the lock of what it looks at for the work on a bounded number of objects.

mod delete;
mod garbage;
mod hash;
mod info;
mod insert;
mod lookup;
pub(crate) mod matchspec;
mod new;
mod object;
mod ordered;
mod ownership;
mod select;
mod table;
mod update;
mod walk;

use crossbeam_epoch::pin;
use ownership::process_ends;
pub(crate) use select::specification_of;
use smallvec::SmallVec;
use swarmrt_heap::copy_whole;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Atom, FragmentHeap, RefValue, Term, atom, print};
pub(crate) use table::TABLES_MAX;
use table::{Register, Table, WriteConcurrency};

/// What the end of a table counts, as in OTP.
const REDUCTIONS_PER_TABLE: usize = 30;
/// Words of objects that count as one reduction when they are copied.
const WORDS_PER_REDUCTION: usize = 50;

fn register_of(p: &Process) -> &'static Register {
    p.vm.extension::<Register>()
}

/// Has tables looked after when processes end.
pub fn register(vm: &'static Vm) {
    vm.set_exit_work(process_ends);
}

/// Tables that there are.
pub(crate) fn count(p: &Process) -> usize {
    register_of(p).all(&pin()).len()
}

/// Bytes that all tables take.
pub(crate) fn memory_bytes(vm: &'static Vm) -> usize {
    let guard = &pin();
    vm.extension::<Register>().all(guard).iter().map(|table| table.words() * 8).sum()
}

/// Visits the objects of all tables, with what programs call their table.
pub(crate) fn each_object(vm: &'static Vm, mut visit: impl FnMut(Name, Term)) {
    for table in vm.extension::<Register>().all(&pin()) {
        let name =
            if table.named { Name::Atom(table.name()) } else { Name::Reference(table.reference) };
        let _ = table.each_object(|object| {
            visit(name, object);
            Ok::<(), ()>(())
        });
    }
}

/// What programs call a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Atom(Atom),
    Reference(RefValue),
}

/// A section for each table, in the form of OTP's crash dumps.
pub(crate) fn write_tables(
    vm: &'static Vm,
    objects: bool,
    out: &mut dyn std::io::Write,
) -> std::io::Result<()> {
    let guard = &pin();
    for (slot, table) in vm.extension::<Register>().all(guard).into_iter().enumerate() {
        let shown = |term: Term| print::display(term).to_string();
        let mut heap = FragmentHeap::new();
        let id = shown(table.id(&mut heap));
        writeln!(out, "=ets:{}\nSlot: {slot}\nTable: {id}", shown(Term::pid(table.owner())))?;
        writeln!(out, "Name: {}", shown(Term::atom(table.name())))?;
        writeln!(out, "Fixed: {}\nObjects: {}", table.is_fixed(), table.len())?;
        writeln!(out, "Words: {}\nType: {}", table.words(), table.kind.atom())?;
        writeln!(out, "Protection: {}", table.protection().atom())?;
        writeln!(out, "Compressed: {}", table.tuning.compressed)?;
        let concurrent = table.tuning.write_concurrency != WriteConcurrency::Off;
        writeln!(out, "Write Concurrency: {concurrent}")?;
        writeln!(out, "Read Concurrency: {}", table.tuning.read_concurrency)?;
        if objects {
            table.each_object(|object| writeln!(out, "{}", shown(object)))?;
        }
    }
    Ok(())
}

/// Several of what is one mostly.
type One<T> = SmallVec<[T; 1]>;

fn yes() -> BifResult {
    Ok(Term::bool(true))
}

/// The answer of a built-in that has worked on the table. Where somebody deleted the table
/// meanwhile, it comes too late: what it saw may have been taken away before.
fn done(table: &Table, answer: Term) -> BifResult {
    if table.is_dead() { Err(BifExit::Caused(atom!("id"))) } else { Ok(answer) }
}

/// A copy of a stored term on the heap of the process.
fn copy_out(p: &mut Process, term: Term) -> Term {
    if term.is_immediate() { term } else { copy_whole(term, p) }
}

#[bif("erts_internal:ets_super_user/1")]
fn ets_super_user(_p: &mut Process, _on: Term) -> BifResult {
    yes()
}
