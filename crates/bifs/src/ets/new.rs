//! `ets:new/2`: making tables, and their options.

use super::register_of;
use super::table::{Heir, NewTable, Protection, TableKind, Tuning, WriteConcurrency};
use crate::args::{atom_of, list_of, pair_of, size_of};
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Term, am, atom};

#[bif("ets:new/2")]
fn new(p: &mut Process, name: Term, options: Term) -> BifResult {
    let name = atom_of(name)?;
    let mut wanted = NewTable {
        name,
        named: false,
        kind: TableKind::Set,
        protection: Protection::Protected,
        keypos: 0,
        heir: None,
        tuning: Tuning::default(),
    };
    for option in list_of(options)? {
        new_option(p.vm, &mut wanted, option)?;
    }
    if wanted.kind == TableKind::OrderedSet
        && matches!(wanted.tuning.write_concurrency, WriteConcurrency::Locks(_))
    {
        return Err(BifExit::BADARG);
    }
    let guard = &pin();
    let table = register_of(p).create(p, wanted, guard)?;
    Ok(table.id(p))
}

fn new_option(vm: &Vm, wanted: &mut NewTable, option: Term) -> Result<(), BifExit> {
    if let Some(name) = option.as_atom() {
        if let Some(kind) =
            [TableKind::Set, TableKind::OrderedSet, TableKind::Bag, TableKind::DuplicateBag]
                .into_iter()
                .find(|kind| kind.atom() == name)
        {
            wanted.kind = kind;
        } else if let Some(protection) = Protection::of(name) {
            wanted.protection = protection;
        } else if name == atom!("named_table") {
            wanted.named = true;
        } else if name == atom!("compressed") {
            wanted.tuning.compressed = true;
        } else {
            return Err(BifExit::BADARG);
        }
        return Ok(());
    }
    if let Some(tuple) = option.as_tuple().filter(|tuple| tuple.arity() == 3) {
        if tuple.get(0) != Term::atom(atom!("heir")) {
            return Err(BifExit::BADARG);
        }
        wanted.heir = Some(Heir::new(vm, tuple.get(1), Some(tuple.get(2)))?);
        return Ok(());
    }
    let (key, value) = pair_of(option).ok_or(BifExit::BADARG)?;
    let flag = value.as_bool().ok_or(BifExit::BADARG);
    match atom_of(key)?.name() {
        "keypos" => wanted.keypos = size_of(value)?.checked_sub(1).ok_or(BifExit::BADARG)?,
        "heir" if value == Term::atom(am::NONE) => wanted.heir = None,
        "heir" => wanted.heir = Some(Heir::new(vm, value, None)?),
        "read_concurrency" => wanted.tuning.read_concurrency = flag?,
        "write_concurrency" => wanted.tuning.write_concurrency = write_concurrency_of(value)?,
        "decentralized_counters" => wanted.tuning.decentralized_counters = Some(flag?),
        _ => return Err(BifExit::BADARG),
    }
    Ok(())
}

/// The most and fewest locks that can be asked for; other numbers mean the power of two below them.
const LOCKS: std::ops::RangeInclusive<u32> = 64..=32_768;

fn write_concurrency_of(value: Term) -> Result<WriteConcurrency, BifExit> {
    if let Some((key, locks)) = pair_of(value) {
        let locks = u32::try_from(size_of(locks)?)
            .ok()
            .filter(|locks| (1..=*LOCKS.end()).contains(locks))
            .ok_or(BifExit::BADARG)?;
        let known = key == Term::atom(atom!("debug_hash_fixed_number_of_locks"));
        return if known {
            Ok(WriteConcurrency::Locks(1 << locks.max(*LOCKS.start()).ilog2()))
        } else {
            Err(BifExit::BADARG)
        };
    }
    match value.as_bool() {
        Some(true) => Ok(WriteConcurrency::On),
        Some(false) => Ok(WriteConcurrency::Off),
        None if value == Term::atom(atom!("auto")) => Ok(WriteConcurrency::Auto),
        None => Err(BifExit::BADARG),
    }
}
