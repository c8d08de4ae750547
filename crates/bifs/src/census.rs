//! Who refers to other nodes, and how many funs there are of a kind. Terms do not count that: the whole
//! machine is looked through when somebody asks. Every process looks through its own memory.

use crate::ets::{self, Name};
use crate::persistent_term;
use crate::timers::{self, Receiver};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use swarmrt_heap::visit::each_within;
use swarmrt_machine::process::links::Watched;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, signal};
use swarmrt_term::{Alloc, Atom, Fun, FunIdentity, Term, am, atom};

// ---- Asking every process ----

/// Sends the answer when the last process is done with its part.
struct Reply {
    vm: &'static Vm,
    asker: u64,
    number: u64,
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Of a machine that ends, nothing is left to answer.
        if !self.vm.is_shutting_down() {
            let _guard = swarmrt_machine::pin();
            signal::send_reply(self.vm, self.asker, self.number, Term::atom(am::OK));
        }
    }
}

type Found<T> = Arc<Mutex<Vec<(u64, T)>>>;

/// What a built-in keeps while it waits.
struct Waiting<T> {
    number: u64,
    found: Found<T>,
}

/// What each process finds in its own memory. The built-in waits for it, and is called again.
fn gather<T: Send + 'static>(
    p: &mut Process,
    look: impl Fn(&mut Process) -> T + Send + Sync + 'static,
) -> Result<Vec<(u64, T)>, BifExit> {
    if let Some(state) = p.bif_state.take() {
        let waiting = state.downcast::<Waiting<T>>().expect("a built-in finds its own state");
        if p.take_reply(waiting.number).is_none() {
            p.bif_state = Some(waiting);
            return Err(BifExit::Wait);
        }
        let mut found = std::mem::take(&mut *waiting.found.lock());
        found.push((p.id(), look(p)));
        return Ok(found);
    }
    let number = p.expect_reply();
    let found: Found<T> = Arc::default();
    let reply = Arc::new(Reply { vm: p.vm, asker: p.id(), number });
    let look = Arc::new(look);
    for pid in p.vm.processes.ids().into_iter().filter(|&pid| pid != p.id()) {
        let (reply, look, found) = (reply.clone(), look.clone(), found.clone());
        signal::send_call(
            p.vm,
            pid,
            Box::new(move |_, process| {
                if let Some(process) = process.filter(|process| !process.exit_pending) {
                    let answer = look(process);
                    found.lock().push((pid, answer));
                }
                drop(reply);
            }),
        );
    }
    p.bif_state = Some(Box::new(Waiting { number, found }));
    Err(BifExit::Wait)
}

/// Visits what a process has in its memory: its heap and its messages.
fn each_of_process(process: &Process, mut visit: impl FnMut(Term)) {
    process.heap.each_boxed(&mut visit);
    process.mailbox.iter().for_each(|message| each_within(message, &mut visit));
}

/// Visits what belongs to no process: objects of tables, messages of timers, persistent terms.
fn each_shared(vm: &'static Vm, mut visit: impl FnMut(Referrer, &'static str, Term)) {
    ets::each_object(vm, |table, object| {
        each_within(object, |term| visit(Referrer::Table(table), "ets", term));
    });
    timers::each_message(vm, |receiver, message| {
        let referrer = match receiver {
            Receiver::Pid(pid) => Referrer::Process(pid),
            Receiver::Name(name) => Referrer::Named(name),
        };
        each_within(message, |term| visit(referrer, "timer", term));
    });
    persistent_term::each(vm, |term| {
        each_within(term, |term| visit(Referrer::PersistentTerms, "system", term));
    });
}

// ---- Funs ----

/// How many funs have this entry, wherever they are.
pub(crate) fn funs(p: &mut Process, entry: *const FunIdentity) -> Result<usize, BifExit> {
    count_funs(p, entry, |_| true)
}

/// How many of them have a holder of the entry of their own.
pub(crate) fn own_holders(p: &mut Process, entry: *const FunIdentity) -> Result<usize, BifExit> {
    count_funs(p, entry, Fun::has_own_holder)
}

fn count_funs(
    p: &mut Process,
    entry: *const FunIdentity,
    counts: fn(Fun) -> bool,
) -> Result<usize, BifExit> {
    let entry = entry.addr();
    let is_one = move |term: Term| {
        term.as_local_fun().is_some_and(|fun| fun.entry_ptr().addr() == entry && counts(fun))
    };
    let found = gather(p, move |process| {
        let mut count = 0;
        each_of_process(process, |term| count += usize::from(is_one(term)));
        count
    })?;
    let mut count = found.into_iter().map(|(_, count)| count).sum();
    each_shared(p.vm, |_, _, term| count += usize::from(is_one(term)));
    Ok(count)
}

// ---- Nodes ----

/// A node's name and which of its incarnations.
type Incarnation = (Atom, u32);

/// Who refers to a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Referrer {
    Process(u64),
    /// A process by its name.
    Named(Atom),
    Table(Name),
    /// A compiled match specification, by its address.
    Specification(usize),
    PersistentTerms,
}

impl Referrer {
    fn to_term(self, p: &mut Process) -> Term {
        let (kind, id) = match self {
            Referrer::Process(pid) => (am::PROCESS, Term::pid(pid)),
            Referrer::Named(name) => (am::PROCESS, Term::atom(name)),
            Referrer::Table(Name::Atom(name)) => (atom!("ets"), Term::atom(name)),
            Referrer::Table(Name::Reference(reference)) => {
                (atom!("ets"), reference.to_term(&mut p.heap))
            }
            Referrer::Specification(address) => (atom!("match_spec"), p.uint(address as u64)),
            Referrer::PersistentTerms => (atom!("system"), Term::atom(atom!("persistent_term"))),
        };
        p.tuple(&[Term::atom(kind), id])
    }
}

/// How often somebody refers to nodes, by node and by in what way.
type References = BTreeMap<(Incarnation, &'static str), usize>;

fn add(references: &mut References, of: Incarnation, how: &'static str, count: usize) {
    *references.entry((of, how)).or_default() += count;
}

/// The node that a term is an identifier of, if that is not this one.
fn node_of(term: Term) -> Option<Incarnation> {
    let external = term.as_external()?;
    Some((external.node(), external.creation()))
}

/// What a process finds in its memory: its references, those of the compiled specifications that it
/// holds, and the nodes that it monitors.
struct OfProcess {
    references: References,
    specifications: BTreeMap<usize, References>,
    monitored: Vec<(Atom, usize)>,
}

fn look(process: &mut Process) -> OfProcess {
    let mut references = References::new();
    let mut specifications = BTreeMap::new();
    let vm = process.vm;
    each_of_process(process, |term| {
        if let Some(node) = node_of(term) {
            add(&mut references, node, "heap", 1);
        } else if term.as_local_ref().is_some() {
            ets::specification_of(vm, term, |address, source| {
                let of_it = specifications.entry(address).or_insert_with(References::new);
                if of_it.is_empty() {
                    each_within(source, |term| {
                        if let Some(node) = node_of(term) {
                            add(of_it, node, "binary", 1);
                        }
                    });
                }
            });
        }
    });
    for (_, monitor) in process.relations.monitors.iter() {
        if let Watched::Remote { pid, .. } = monitor.watched {
            add(&mut references, (pid.node, pid.creation), "monitor", 1);
        }
    }
    let mut monitored = Vec::new();
    if let Some(remote) = &process.relations.remote {
        for pid in remote.links.keys() {
            add(&mut references, (pid.node, pid.creation), "link", 1);
        }
        for (reference, watcher) in &remote.monitored_by {
            add(&mut references, (reference.node, reference.creation), "monitor", 1);
            add(&mut references, (watcher.pid.node, watcher.pid.creation), "monitor", 1);
        }
        monitored.extend(remote.nodes.iter().map(|&(node, _, times)| (node, times as usize)));
    }
    OfProcess { references, specifications, monitored }
}

/// How often somebody refers to a node in which ways.
type Ways = BTreeMap<&'static str, usize>;

/// All that refers to other nodes.
#[derive(Default)]
struct Census {
    nodes: BTreeMap<Incarnation, Vec<(Referrer, Ways)>>,
    /// Which processes monitor which nodes, and how often.
    monitored: Vec<(Atom, u64, usize)>,
}

impl Census {
    fn add(&mut self, referrer: Referrer, of: Incarnation, how: &'static str, count: usize) {
        let referrers = self.nodes.entry(of).or_default();
        let at = referrers.iter().position(|(known, _)| *known == referrer).unwrap_or_else(|| {
            referrers.push((referrer, BTreeMap::new()));
            referrers.len() - 1
        });
        *referrers[at].1.entry(how).or_default() += count;
    }
}

fn census(p: &mut Process) -> Result<Census, BifExit> {
    let found = gather(p, look)?;
    let mut census = Census::default();
    let mut specifications = BTreeMap::new();
    for (pid, of_process) in found {
        for ((node, how), count) in of_process.references {
            census.add(Referrer::Process(pid), node, how, count);
        }
        specifications.extend(of_process.specifications);
        census
            .monitored
            .extend(of_process.monitored.into_iter().map(|(node, times)| (node, pid, times)));
    }
    for (address, references) in specifications {
        for ((node, how), count) in references {
            census.add(Referrer::Specification(address), node, how, count);
        }
    }
    each_shared(p.vm, |referrer, how, term| {
        if let Some(node) = node_of(term) {
            census.add(referrer, node, how, 1);
        }
    });
    let this = p.vm.node();
    census.nodes.remove(&(this.name, this.creation));
    Ok(census)
}

/// The other nodes whose pids, ports and references are anywhere in the machine.
pub(crate) fn nodes(p: &mut Process) -> Result<Vec<Atom>, BifExit> {
    let names: BTreeSet<Atom> = census(p)?.nodes.into_keys().map(|(name, _)| name).collect();
    let this = p.vm.node().name;
    Ok(names.into_iter().filter(|&name| name != this).collect())
}

/// `{Kind, Id}` with how often it refers to something in which ways.
fn referrer(p: &mut Process, who: Term, ways: &[(&str, usize)]) -> Term {
    let ways: Vec<Term> = ways
        .iter()
        .map(|&(way, count)| p.tuple(&[Term::atom(Atom::new(way)), Term::small(count as i64)]))
        .collect();
    let ways = p.list(&ways);
    p.tuple(&[who, ways])
}

/// `{What, Count, Referrers}`.
fn entry(p: &mut Process, what: Term, count: usize, referrers: &[Term]) -> Term {
    let referrers = p.list(referrers);
    p.tuple(&[what, Term::small(count as i64), referrers])
}

fn incarnation(p: &mut Process, (name, creation): Incarnation) -> Term {
    let creation = p.uint(creation.into());
    p.tuple(&[Term::atom(name), creation])
}

/// `{{node_references, Nodes}, {dist_references, Connections}}`, as `erts_debug:get_internal_state/1` has
/// it. What refers to this node is not counted.
pub(crate) fn node_references(p: &mut Process) -> BifResult {
    let census = census(p)?;
    let this = p.vm.node();
    let this_node = incarnation(p, (this.name, this.creation));
    let mut nodes = vec![entry(p, this_node, 0, &[])];
    // Who refers to the connections, or what could be one.
    let mut names: BTreeMap<Atom, (usize, Vec<Term>)> = BTreeMap::new();
    for (node, referrers) in census.nodes {
        let mut total = 0;
        let mut listed = Vec::new();
        for (who, ways) in referrers {
            total += ways.values().sum::<usize>();
            let who = who.to_term(p);
            let ways: Vec<(&str, usize)> = ways.into_iter().collect();
            listed.push(referrer(p, who, &ways));
        }
        let what = incarnation(p, node);
        nodes.push(entry(p, what, total, &listed));
        let who = p.tuple(&[Term::atom(atom!("node")), what]);
        let of_name = names.entry(node.0).or_default();
        of_name.0 += 1;
        of_name.1.push(referrer(p, who, &[("node", 1)]));
    }
    for (node, pid, times) in census.monitored {
        let who = Referrer::Process(pid).to_term(p);
        let of_name = names.entry(node).or_default();
        of_name.0 += times;
        of_name.1.push(referrer(p, who, &[("monitor", times)]));
    }
    let known = p.vm.remote().map(|remote| remote.known()).unwrap_or_default();
    for (node, controller) in
        known.into_iter().filter_map(|known| Some((known.name, known.controller?)))
    {
        let kind = if controller.is_any_pid() { am::PROCESS } else { am::PORT };
        let who = p.tuple(&[Term::atom(kind), controller]);
        let of_name = names.entry(node).or_default();
        of_name.0 += 1;
        of_name.1.push(referrer(p, who, &[("control", 1)]));
    }
    let (of_this, of_this_listed) = names.remove(&this.name).unwrap_or_default();
    let mut connections = vec![entry(p, Term::atom(this.name), of_this, &of_this_listed)];
    for (name, (count, referrers)) in names {
        connections.push(entry(p, Term::atom(name), count, &referrers));
    }
    let nodes = p.list(&nodes);
    let nodes = p.tuple(&[Term::atom(atom!("node_references")), nodes]);
    let connections = p.list(&connections);
    let connections = p.tuple(&[Term::atom(atom!("dist_references")), connections]);
    Ok(p.tuple(&[nodes, connections]))
}
