//! A walk through a table with a compiled specification, a bounded number of objects at a time.

use super::super::hash::{HashTable, Verdict, hash_of};
use super::super::matchspec::{Pattern, Program};
use super::super::object::{Head, OwnedTerm};
use super::super::ordered::{From, OrderedTable};
use super::super::table::{Storage, Table, TableKind};
use parking_lot::RwLock;
use std::sync::Arc;
use swarmrt_machine::{BifExit, Process};
use swarmrt_term::{Alloc, Term, equal_exact};

/// Objects that are looked at in one go.
const OBJECTS_PER_STEP: usize = 1000;
/// Buckets that are looked at in one go.
const BUCKETS_PER_STEP: usize = 4000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Job {
    Select,
    Count,
    Delete,
    Replace,
}

/// Where a walk is.
pub(super) enum WalkPosition {
    /// These keys only.
    Keys(Vec<Term>),
    Bucket {
        shard: usize,
        bucket: usize,
    },
    OrderedStart,
    OrderedAfter(OwnedTerm),
    End,
}

/// A walk that takes more than one step.
pub(super) struct Scan {
    pub(super) table: u64,
    pub(super) slot: u32,
    pub(super) program: Arc<Program>,
    pub(super) job: Job,
    pub(super) reverse: bool,
    pub(super) place: WalkPosition,
    /// Results wanted, and how many there are.
    pub(super) limit: Option<usize>,
    pub(super) found: usize,
}

// SAFETY: the keys in `place` belong to the program that is kept along.
unsafe impl Send for Scan {}

impl Scan {
    pub(super) fn new(
        table: &Table,
        program: Arc<Program>,
        job: Job,
        reverse: bool,
        limit: Option<usize>,
    ) -> Scan {
        let place = start_of(table, &program);
        Scan {
            table: table.reference.id,
            slot: super::super::Register::slot_of(table),
            program,
            job,
            reverse,
            place,
            limit,
            found: 0,
        }
    }
    pub(super) fn has_enough(&self) -> bool {
        self.limit.is_some_and(|limit| self.found >= limit)
    }
}

pub(super) fn start_of(table: &Table, program: &Program) -> WalkPosition {
    let mut keys: Vec<Term> = Vec::new();
    for clause in &program.clauses {
        let Some(key) = clause.head.constant_key(table.keypos) else {
            // A head that is no tuple at all matches nothing.
            return if table.kind == TableKind::OrderedSet {
                WalkPosition::OrderedStart
            } else {
                WalkPosition::Bucket { shard: 0, bucket: 0 }
            };
        };
        if !keys.iter().any(|&other| {
            if table.kind == TableKind::OrderedSet {
                swarmrt_term::equal(other, key)
            } else {
                equal_exact(other, key)
            }
        }) {
            keys.push(key);
        }
    }
    if table.kind == TableKind::OrderedSet {
        keys.sort_by(|&a, &b| swarmrt_term::compare(a, b));
    }
    WalkPosition::Keys(keys)
}

/// How the keys that a program of a single clause wants begin.
fn common_prefix(program: &Program, keypos: usize) -> Option<&Pattern> {
    match &program.clauses[..] {
        [clause] => clause.head.key_pattern(keypos).filter(|pattern| pattern.is_partly_bound()),
        _ => None,
    }
}

/// Puts a result in front of the list.
pub(super) struct Results {
    pub(super) list: Term,
}

fn visit(
    p: &mut Process,
    program: &Program,
    scan: &mut Scan,
    results: &mut Results,
    table: &Table,
    object: &Head,
) -> Result<Verdict, BifExit> {
    match scan.job {
        Job::Select => {
            if let Some(value) = program.run(p, object.term()) {
                results.list = p.cons(value, results.list);
                scan.found += 1;
            }
            Ok(Verdict::Keep)
        }
        Job::Count => {
            scan.found += usize::from(program.says_true(p, object.term()));
            Ok(Verdict::Keep)
        }
        Job::Delete => {
            if !program.says_true(p, object.term()) {
                return Ok(Verdict::Keep);
            }
            scan.found += 1;
            Ok(Verdict::Delete)
        }
        Job::Replace => {
            let Some(value) = program.run(p, object.term()) else { return Ok(Verdict::Keep) };
            let same_key = value
                .as_tuple()
                .and_then(|tuple| tuple.elements().get(table.keypos).copied())
                .is_some_and(|key| {
                    let old = object.key(table.keypos);
                    if table.kind == TableKind::OrderedSet {
                        swarmrt_term::equal(key, old)
                    } else {
                        equal_exact(key, old)
                    }
                });
            if !same_key {
                return Err(BifExit::BADARG);
            }
            scan.found += 1;
            Ok(Verdict::Replace(Head::new(value, object.hash)))
        }
    }
}

/// One step of a walk over some objects of a table.
struct Step<'a> {
    p: &'a mut Process,
    table: &'a Table,
    program: &'a Program,
    scan: &'a mut Scan,
    results: &'a mut Results,
    /// Objects looked at so far.
    seen: usize,
    /// What went wrong where it could not be returned at once.
    failed: Option<BifExit>,
}

/// Looks at the next objects.
pub(super) fn step(
    p: &mut Process,
    table: &Table,
    scan: &mut Scan,
    results: &mut Results,
) -> Result<(), BifExit> {
    let place = std::mem::replace(&mut scan.place, WalkPosition::End);
    let program = &*scan.program.clone();
    let mut step = Step { p, table, program, scan, results, seen: 0, failed: None };
    match (&table.storage, place) {
        (_, WalkPosition::End) => {}
        (Storage::Hash(shards), WalkPosition::Keys(keys)) => step.hashed_keys(shards, keys)?,
        (Storage::Ordered(tree), WalkPosition::Keys(keys)) => step.ordered_keys(tree, keys)?,
        (Storage::Hash(shards), WalkPosition::Bucket { shard, bucket }) => {
            step.buckets(shards, shard, bucket)?;
        }
        (Storage::Ordered(tree), WalkPosition::OrderedAfter(key)) => {
            step.in_order(tree, From::After(key.term))?;
        }
        (Storage::Ordered(tree), _) => {
            step.in_order(tree, From::Start(common_prefix(program, table.keypos)))?;
        }
        (Storage::Hash(_), _) => unreachable!("places of a hash table are buckets"),
    }
    step.p.bump_reductions(1 + step.seen / 4);
    step.failed.map_or(Ok(()), Err)
}

impl Step<'_> {
    fn visit(&mut self, object: &Head) -> Result<Verdict, BifExit> {
        self.seen += 1;
        visit(self.p, self.program, self.scan, self.results, self.table, object)
    }

    /// As [`visit`](Step::visit), where the walk cannot end at once: an error waits.
    fn visit_to_change(&mut self, object: &Head) -> Verdict {
        self.visit(object).unwrap_or_else(|raise| {
            self.failed = Some(raise);
            Verdict::Keep
        })
    }

    fn writes(&self) -> bool {
        matches!(self.scan.job, Job::Delete | Job::Replace)
    }

    fn hashed_keys(
        &mut self,
        shards: &[RwLock<HashTable>],
        keys: Vec<Term>,
    ) -> Result<(), BifExit> {
        for key in keys {
            let hash = hash_of(key);
            let shard = Table::shard(shards, hash);
            if self.writes() {
                let mut shard = shard.write();
                let fixed = self.table.is_fixed();
                let change =
                    shard.visit_key(key, hash, fixed, |object| self.visit_to_change(object));
                self.table.count(change);
            } else {
                for object in shard.read().with_key(key, hash) {
                    self.visit(object)?;
                }
            }
        }
        Ok(())
    }

    fn ordered_keys(
        &mut self,
        tree: &RwLock<OrderedTable>,
        mut keys: Vec<Term>,
    ) -> Result<(), BifExit> {
        if self.scan.reverse {
            keys.reverse();
        }
        for key in keys {
            if self.writes() {
                let mut tree = tree.write();
                let updated = tree.update(key, |object| match self.visit(object) {
                    Ok(verdict) => (Ok(()), verdict),
                    Err(raise) => (Err(raise), Verdict::Keep),
                });
                if let Some((result, change)) = updated {
                    self.table.count(change);
                    result?;
                }
            } else if let Some(object) = tree.read().get(key) {
                self.visit(object)?;
            }
        }
        Ok(())
    }

    fn buckets(
        &mut self,
        shards: &[RwLock<HashTable>],
        mut shard: usize,
        mut bucket: usize,
    ) -> Result<(), BifExit> {
        let mut buckets = 0;
        while shard < shards.len() {
            let start = bucket;
            let count = if self.writes() {
                let mut part = shards[shard].write();
                let fixed = self.table.is_fixed();
                while bucket < part.buckets() && !self.is_long(buckets + bucket - start) {
                    let change =
                        part.visit_bucket(bucket, fixed, |object| self.visit_to_change(object));
                    self.table.count(change);
                    bucket += 1;
                }
                part.buckets()
            } else {
                let part = shards[shard].read();
                while bucket < part.buckets()
                    && !self.is_long(buckets + bucket - start)
                    && !self.scan.has_enough()
                {
                    for object in part.bucket_of_walk(bucket) {
                        self.visit(object)?;
                    }
                    bucket += 1;
                }
                part.buckets()
            };
            buckets += bucket - start;
            if bucket >= count {
                shard += 1;
                bucket = 0;
            }
            if self.is_long(buckets) || self.scan.has_enough() {
                break;
            }
        }
        if shard < shards.len() {
            self.scan.place = WalkPosition::Bucket { shard, bucket };
        }
        self.p.bump_reductions(buckets / 16);
        Ok(())
    }

    /// Whether it has gone over so much that the process is to be asked about its turn.
    fn is_long(&self, buckets: usize) -> bool {
        self.seen >= OBJECTS_PER_STEP || buckets >= BUCKETS_PER_STEP
    }

    fn in_order(&mut self, tree: &RwLock<OrderedTable>, from: From<'_>) -> Result<(), BifExit> {
        let (table, prefix) = (self.table, common_prefix(self.program, self.table.keypos));
        let within = |object: &Head| {
            prefix.is_none_or(|prefix| prefix.compare_prefix(object.key(table.keypos)).is_eq())
        };
        if self.writes() {
            let mut tree = tree.write();
            let (change, last) = tree.visit(from, OBJECTS_PER_STEP, |object| {
                (self.failed.is_none() && within(object)).then(|| self.visit_to_change(object))
            });
            table.count(change);
            if let Some(key) = last {
                self.scan.place = WalkPosition::OrderedAfter(key);
            }
            return Ok(());
        }
        let tree = tree.read();
        for object in tree.walk(from, self.scan.reverse).take_while(|object| within(object)) {
            self.visit(object)?;
            if self.seen >= OBJECTS_PER_STEP || self.scan.has_enough() {
                let key = OwnedTerm::new(object.key(table.keypos));
                self.scan.place = WalkPosition::OrderedAfter(key);
                break;
            }
        }
        Ok(())
    }
}
