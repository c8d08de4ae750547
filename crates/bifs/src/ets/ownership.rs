//! Who a table belongs to: names, owners, heirs, fixing.

use super::garbage::{Deletion, Garbage};
use super::table::{Access, Heir, Protection, Register, Table, is_alive};
use super::{REDUCTIONS_PER_TABLE, register_of, yes};
use crate::args::{atom_of, list_of};
use crossbeam_epoch::{Guard, pin};
use swarmrt_heap::copy_whole;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, FragmentHeap, RefKind, Term, am, atom};

#[bif("ets:whereis/1")]
fn whereis(p: &mut Process, id: Term) -> BifResult {
    let guard = &pin();
    let known = id.is_atom()
        || id.as_local_ref().is_some_and(|reference| reference.ref_kind() == RefKind::Table);
    if !known {
        return Err(BifExit::BADARG);
    }
    let table = register_of(p).find(id, guard).filter(|table| !table.is_dead());
    Ok(table.map_or(Term::atom(am::UNDEFINED), |table| table.reference.to_term(p)))
}

#[bif("ets:rename/2")]
fn rename(p: &mut Process, id: Term, name: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    let name = atom_of(name)?;
    register.rename(table, name).map_err(|()| BifExit::BADARG)?;
    Ok(table.id(p))
}

#[bif("ets:setopts/2")]
fn setopts(p: &mut Process, id: Term, options: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    let options = if options.is_list() { list_of(options)? } else { vec![options] };
    let mut heir: Option<Option<Heir>> = None;
    let mut protection = None;
    for option in options {
        let tuple = option.as_tuple().ok_or(BifExit::BADARG)?;
        match *tuple.elements() {
            [key, value]
                if key == Term::atom(atom!("heir"))
                    && value == Term::atom(am::NONE)
                    && heir.is_none() =>
            {
                heir = Some(None);
            }
            [key, pid, ref data @ ..]
                if key == Term::atom(atom!("heir")) && data.len() <= 1 && heir.is_none() =>
            {
                heir = Some(Some(Heir::new(p.vm, pid, data.first().copied())?));
            }
            [key, value] if key == Term::atom(atom!("protection")) && protection.is_none() => {
                protection = Some(value.as_atom().and_then(Protection::of).ok_or(BifExit::BADARG)?);
            }
            _ => return Err(BifExit::BADARG),
        }
    }
    if table.owner() != p.id() {
        return Err(BifExit::Caused(atom!("not_owner")));
    }
    if let Some(heir) = heir {
        register.set_heir(p.vm, table, heir);
    }
    if let Some(protection) = protection {
        table.set_protection(protection);
    }
    yes()
}

/// Sends `{'ETS-TRANSFER', Table, From, Data}`.
fn announce(vm: &'static Vm, table: &Table, from: u64, to: u64, data: Term) {
    let mut heap = FragmentHeap::new();
    let id = table.id(&mut heap);
    let message = heap.tuple(&[Term::atom(atom!("ETS-TRANSFER")), id, Term::pid(from), data]);
    signal::send_message(vm, Term::pid(from), to, message);
}

#[bif("ets:give_away/3")]
fn give_away(p: &mut Process, id: Term, to: Term, data: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Write, guard)?;
    let to = to.as_pid().ok_or(BifExit::BADARG)?;
    if table.owner() != p.id() {
        return Err(BifExit::Caused(atom!("not_owner")));
    }
    if to == p.id() {
        return Err(BifExit::Caused(atom!("owner")));
    }
    if !is_alive(p.vm, to) {
        return Err(BifExit::BADARG);
    }
    register.give(table, to);
    announce(p.vm, table, p.id(), to, data);
    if !is_alive(p.vm, to) {
        // It ended meanwhile. The objects are freed here and at once, which is rare.
        drop(orphaned(p.vm, register, to, guard));
    }
    yes()
}

/// Deletes the tables that a process has left, or gives them to their heirs.
fn orphaned(vm: &'static Vm, register: &Register, pid: u64, guard: &Guard) -> Vec<Garbage> {
    let left = register.held_by(pid).into_iter();
    left.flat_map(|slot| left_behind(vm, register, pid, slot, guard)).collect()
}

/// Deletes the table in a slot, or gives it to its heir, where the process that ends owns it; takes
/// back what it has otherwise to do with it.
fn left_behind(
    vm: &'static Vm,
    register: &Register,
    pid: u64,
    slot: u32,
    guard: &Guard,
) -> Vec<Garbage> {
    let Some(table) = register.at(slot, guard) else { return Vec::new() };
    table.heir_ended(pid);
    if table.owner() != pid {
        table.unfix(pid, true);
        return Vec::new();
    }
    // The heir stays the heir: `info` tells so.
    let heir = {
        let heir = table.heir.lock();
        let heir = heir.as_ref().filter(|heir| !heir.ended && is_alive(vm, heir.pid));
        heir.map(|heir| {
            table.unfix(pid, true);
            register.give(table, heir.pid);
            if let Some(data) = &heir.data {
                announce(vm, table, pid, heir.pid, data.term);
            }
            heir.pid
        })
    };
    match heir {
        Some(heir) if !is_alive(vm, heir) => orphaned(vm, register, heir, guard),
        Some(_) => Vec::new(),
        // What is marked as deleted goes with the rest.
        None => vec![register.delete(table, guard)],
    }
}

/// What a process that ends has left to do with tables.
#[derive(Default)]
struct Leaving {
    /// The slots of tables, the oldest last.
    slots: Vec<u32>,
    garbage: Vec<Garbage>,
}

/// The exit work of tables: see [`Vm::set_exit_work`].
pub(super) fn process_ends(p: &mut Process, reductions: &mut i32) -> bool {
    let register = register_of(p);
    let mut leaving = match p.bif_state.take().map(|state| state.downcast::<Leaving>()) {
        Some(Ok(leaving)) => leaving,
        other => {
            let mut slots = register.held_by(p.id());
            slots.reverse();
            // It may have been ended while it deleted a table.
            let deletion = other.and_then(|state| state.err()?.downcast::<Deletion>().ok());
            if slots.is_empty() && deletion.is_none() {
                return true;
            }
            let garbage = deletion.map(|deletion| deletion.garbage).into_iter().collect();
            Box::new(Leaving { slots, garbage })
        }
    };
    let is_done = leave(p, register, &mut leaving, reductions);
    if !is_done {
        p.bif_state = Some(leaving);
    }
    is_done
}

fn leave(p: &Process, register: &Register, leaving: &mut Leaving, reductions: &mut i32) -> bool {
    let guard = &pin();
    loop {
        while let Some(garbage) = leaving.garbage.last_mut() {
            if !garbage.free(reductions) {
                return false;
            }
            leaving.garbage.pop();
        }
        if *reductions <= 0 && !leaving.slots.is_empty() {
            return false;
        }
        let Some(slot) = leaving.slots.pop() else { return true };
        leaving.garbage = left_behind(p.vm, register, p.id(), slot, guard);
        *reductions -= REDUCTIONS_PER_TABLE as i32;
    }
}

#[bif("ets:safe_fixtable/2")]
fn safe_fixtable(p: &mut Process, id: Term, fix: Term) -> BifResult {
    let guard = &pin();
    let register = register_of(p);
    let table = register.table(p, id, Access::Read, guard)?;
    let slot = Register::slot_of(table);
    if fix.as_bool().ok_or(BifExit::BADARG)? {
        if table.fix(p.id(), p.vm.clock.monotonic_ns()) {
            register.hold(p.id(), slot);
        }
    } else if table.unfix(p.id(), false) {
        register.let_go(p.id(), slot);
    }
    yes()
}

#[bif("ets:internal_request_all/0")]
fn internal_request_all(p: &mut Process) -> BifResult {
    let guard = &pin();
    let reference = p.make_ref();
    let mut heap = FragmentHeap::new();
    let ids: Vec<Term> =
        register_of(p).all(guard).iter().map(|table| table.id(&mut heap)).collect();
    let ids = heap.list(&ids);
    let copied = copy_whole(reference, &mut heap);
    // One answer for each scheduler is expected: the first has it all.
    for scheduler in 0..p.vm.config.schedulers.max(1) {
        let message = heap.tuple(&[copied, if scheduler == 0 { ids } else { Term::NIL }]);
        signal::send_message(p.vm, p.pid(), p.id(), message);
    }
    Ok(reference)
}
