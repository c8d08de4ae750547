//! `ets:info/1,2`.

use super::object::Head;
use super::register_of;
use super::table::{Storage, Table, WriteConcurrency};
use crate::args::atom_of;
use crossbeam_epoch::pin;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, NodeInfo, RefKind, Term, am, atom};

/// The items of `ets:info/1`, in OTP's order.
const INFO_ITEMS: [&str; 15] = [
    "id",
    "decentralized_counters",
    "read_concurrency",
    "write_concurrency",
    "compressed",
    "memory",
    "owner",
    "heir",
    "name",
    "size",
    "node",
    "named_table",
    "type",
    "keypos",
    "protection",
];

fn info_item(p: &mut Process, table: &Table, item: &str) -> Option<Term> {
    Some(match item {
        "id" => table.reference.to_term(p),
        "decentralized_counters" => Term::bool(table.tuning.decentralized_counters == Some(true)),
        "read_concurrency" => Term::bool(table.tuning.read_concurrency),
        "write_concurrency" => match table.tuning.write_concurrency {
            WriteConcurrency::Off => Term::bool(false),
            WriteConcurrency::On => Term::bool(true),
            WriteConcurrency::Auto => Term::atom(atom!("auto")),
            WriteConcurrency::Locks(locks) => p.tuple(&[
                Term::atom(atom!("debug_hash_fixed_number_of_locks")),
                Term::small(i64::from(locks)),
            ]),
        },
        "compressed" => Term::bool(table.tuning.compressed),
        "memory" => Term::small(table.words() as i64),
        "owner" => Term::pid(table.owner()),
        "heir" => {
            let heir = table.heir.lock().as_ref().map(|heir| heir.pid);
            heir.map_or(Term::atom(am::NONE), Term::pid)
        }
        "name" => Term::atom(table.name()),
        "size" => Term::small(table.len() as i64),
        "node" => Term::atom(NodeInfo::this().name),
        "named_table" => Term::bool(table.named),
        "type" => Term::atom(table.kind.atom()),
        "keypos" => Term::small(table.keypos as i64 + 1),
        "protection" => Term::atom(table.protection().atom()),
        "fixed" => Term::bool(table.is_fixed()),
        "safe_fixed" => fixations(p, table, false),
        "safe_fixed_monotonic_time" => fixations(p, table, true),
        "binary" => binaries(p, table),
        "stats" => statistics(p, table),
        _ => return None,
    })
}

fn fixations(p: &mut Process, table: &Table, monotonic: bool) -> Term {
    let fixes = table.fixes.lock();
    if fixes.by.is_empty() {
        return Term::bool(false);
    }
    let since = if monotonic {
        p.int(fixes.since_monotonic_ns)
    } else {
        let micros = (fixes.since_monotonic_ns + p.vm.clock.offset_ns()) / 1000;
        p.tuple(&[
            Term::small(micros / 1_000_000_000_000),
            Term::small(micros / 1_000_000 % 1_000_000),
            Term::small(micros % 1_000_000),
        ])
    };
    let pairs: Vec<Term> = fixes
        .by
        .iter()
        .map(|(&pid, &count)| p.tuple(&[Term::pid(pid), Term::small(count as i64)]))
        .collect();
    let pairs = p.list(&pairs);
    p.tuple(&[since, pairs])
}

/// The shared binaries in a table: a list of `{Address, Size, References}`.
fn binaries(p: &mut Process, table: &Table) -> Term {
    let mut list = Term::NIL;
    let mut add = |object: &Head| {
        for (address, size, references) in object.binaries() {
            let address = p.uint(address);
            let item =
                p.tuple(&[address, Term::small(size as i64), Term::small(references as i64)]);
            list = p.cons(item, list);
        }
    };
    match &table.storage {
        Storage::Hash(shards) => {
            shards.iter().for_each(|shard| shard.read().objects().for_each(&mut add));
        }
        Storage::Ordered(tree) => tree.read().objects().for_each(&mut add),
    }
    list
}

/// `{Buckets, AverageLength, Deviation, ExpectedDeviation, Shortest, Longest, KeptObjects, Locks}`.
fn statistics(p: &mut Process, table: &Table) -> Term {
    let Storage::Hash(shards) = &table.storage else { return Term::bool(false) };
    let mut lengths = Vec::new();
    let mut kept = 0;
    for shard in shards {
        let shard = shard.read();
        kept += shard.marked();
        lengths.extend((0..shard.buckets()).map(|bucket| shard.bucket(bucket).count()));
    }
    let count = lengths.len() as f64;
    let average = lengths.iter().sum::<usize>() as f64 / count;
    let variance =
        lengths.iter().map(|&length| (length as f64 - average).powi(2)).sum::<f64>() / count;
    let expected = (average * (1.0 - 1.0 / count)).sqrt();
    let (shortest, longest) =
        (lengths.iter().min().copied().unwrap_or(0), lengths.iter().max().copied().unwrap_or(0));
    let single = |value: f64| f64::from(value as f32);
    let values =
        [p.float(single(average)), p.float(single(variance.sqrt())), p.float(single(expected))];
    p.tuple(&[
        Term::small(lengths.len() as i64),
        values[0],
        values[1],
        values[2],
        Term::small(shortest as i64),
        Term::small(longest as i64),
        Term::small(kept as i64),
        Term::small(shards.len() as i64),
    ])
}

/// The table to tell about; `None` when there is none.
fn info_table<'g>(
    p: &Process,
    id: Term,
    guard: &'g crossbeam_epoch::Guard,
) -> Result<Option<&'g Table>, BifExit> {
    let found = register_of(p).find(id, guard).filter(|table| !table.is_dead());
    // Only references of tables can be those of tables that are gone.
    let known = id.is_atom()
        || id.as_local_ref().is_some_and(|reference| reference.ref_kind() == RefKind::Table);
    if found.is_none() && !known { Err(BifExit::Caused(atom!("type"))) } else { Ok(found) }
}

#[bif("ets:info/1")]
fn info_1(p: &mut Process, id: Term) -> BifResult {
    let guard = &pin();
    let Some(table) = info_table(p, id, guard)? else { return Ok(Term::atom(am::UNDEFINED)) };
    let mut list = Term::NIL;
    for item in INFO_ITEMS.iter().rev() {
        let value = info_item(p, table, item).expect("the items are known");
        let pair = p.tuple(&[Term::atom(swarmrt_term::Atom::new(item)), value]);
        list = p.cons(pair, list);
    }
    Ok(list)
}

#[bif("ets:info/2")]
fn info_2(p: &mut Process, id: Term, item: Term) -> BifResult {
    let guard = &pin();
    let Some(table) = info_table(p, id, guard)? else { return Ok(Term::atom(am::UNDEFINED)) };
    let item = atom_of(item)?;
    info_item(p, table, item.name()).ok_or(BifExit::BADARG)
}
