//! `process_info`.

use crate::args::{list_of, pair_of};
use crate::process::ask_as;
use smallvec::{SmallVec, smallvec};
use std::mem::ManuallyDrop;
use std::sync::LazyLock;
use swarmrt_heap::copy_term;
use swarmrt_machine::process::Watcher;
use swarmrt_machine::process::links::{Tag, Watched};
use swarmrt_machine::process::run_state;
use swarmrt_machine::process::saved_calls::SavedCall;
use swarmrt_machine::{BifExit, BifResult, Process, bif, signal};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::binary::shared_bin;
use swarmrt_term::node::own_pid;
use swarmrt_term::{
    Alloc, Atom, FragmentHeap, Header, Mfa, Release, SharedBytes, Subtag, Term, am, atom, reference,
};

/// What `process_info/1` tells, in OTP's order.
const DEFAULT_ITEMS: [&str; 17] = [
    "registered_name",
    "current_function",
    "initial_call",
    "status",
    "message_queue_len",
    "links",
    "dictionary",
    "trap_exit",
    "error_handler",
    "priority",
    "group_leader",
    "total_heap_size",
    "heap_size",
    "stack_size",
    "reductions",
    "garbage_collection",
    "suspending",
];

fn location_entry(heap: &mut FragmentHeap, process: &Process, address: usize) -> Option<Term> {
    let module = process.vm.code.module_at(address)?;
    let location = module.locate(address)?;
    let place = match location.source {
        Some((file, line)) => {
            let file = if file.is_empty() {
                heap.string(&format!("{}.erl", location.mfa.module))
            } else {
                heap.string(file)
            };
            let file = heap.tuple(&[Term::atom(am::FILE), file]);
            let line = heap.tuple(&[Term::atom(am::LINE), Term::small(i64::from(line))]);
            heap.list(&[file, line])
        }
        None => Term::NIL,
    };
    Some(function_entry(heap, location.mfa, place))
}

fn function_entry(heap: &mut FragmentHeap, mfa: Mfa, place: Term) -> Term {
    heap.tuple(&[
        Term::atom(mfa.module),
        Term::atom(mfa.function),
        Term::small(i64::from(mfa.arity)),
        place,
    ])
}

/// Whether the process has asked, as `sensitive`, that its data not be shown.
pub(crate) fn hides(process: &Process) -> bool {
    process.extra.as_ref().is_some_and(|extra| extra.sensitive)
}

fn copy(heap: &mut FragmentHeap, term: Term) -> Term {
    swarmrt_heap::copy_term(term, heap)
}

/// One item of a process, built in `heap`; `None` when there is no such item. `own` says that the
/// process asks about itself.
fn item(heap: &mut FragmentHeap, process: &mut Process, name: Atom, own: bool) -> Option<Term> {
    let words = |count: usize| Term::small(count as i64);
    Some(match name.name() {
        "registered_name" => process.registered.map_or(Term::NIL, Term::atom),
        "current_function" | "current_location" => current_place(heap, process, name, own),
        "current_stacktrace" => stack_trace(heap, process),
        "initial_call" => {
            let initial = process.initial;
            heap.mfa(initial)
        }
        "parent" => {
            let remote = process.relations.remote.as_ref();
            if let Some(parent) = remote.and_then(|remote| remote.parent) {
                parent.to_term(heap)
            } else if process.parent.is_none() {
                Term::atom(am::UNDEFINED)
            } else {
                process.parent
            }
        }
        "status" => Term::atom(status(process, own)),
        "message_queue_len" => words(process.message_count()),
        "priority_messages" => Term::bool(process.relations.takes_priority_messages()),
        "async_dist" => Term::bool(process.extra.as_ref().is_some_and(|extra| extra.async_dist)),
        // As `proc_lib:set_label/1` keeps it.
        "label" => {
            let label = process.dictionary.get(Term::atom(atom!("$process_label")));
            label.map_or(Term::atom(am::UNDEFINED), |label| copy(heap, label))
        }
        "messages" | "dictionary" if hides(process) => Term::NIL,
        "messages" => {
            let messages: Vec<Term> = process.mailbox.iter().collect();
            let messages: Vec<Term> =
                messages.into_iter().map(|message| copy(heap, message)).collect();
            heap.list(&messages)
        }
        "links" => links(heap, process),
        "monitors" => monitors(heap, process),
        "monitored_by" => monitored_by(heap, process),
        "dictionary" => {
            let pairs: Vec<(Term, Term)> = process.dictionary.iter().collect();
            let pairs: Vec<Term> = pairs
                .into_iter()
                .map(|(key, value)| {
                    let (key, value) = (copy(heap, key), copy(heap, value));
                    heap.tuple(&[key, value])
                })
                .collect();
            heap.list(&pairs)
        }
        "trap_exit" => Term::bool(process.trap_exit),
        "error_handler" => Term::atom(
            process.extra.as_ref().map_or(am::ERROR_HANDLER, |extra| extra.error_handler),
        ),
        "priority" => Term::atom(process.priority.atom()),
        "group_leader" => process.group_leader,
        "total_heap_size" => words(process.total_heap_words()),
        "heap_size" => words(process.heap.block_words()),
        "stack_size" => words(process.heap.stack_words()),
        "memory" => words(
            size_of::<swarmrt_machine::process::table::ProcessCell>()
                + process.heap_words() * 8
                + process.mailbox.words() * 8,
        ),
        "reductions" => heap.int(process.reductions_used()),
        "min_heap_size" => words(process.heap.min_heap_words as usize),
        "min_bin_vheap_size" => words(process.heap.min_bin_vheap_words as usize),
        "fullsweep_after" => words(process.heap.fullsweep_after as usize),
        "max_heap_size" => {
            let none = swarmrt_machine::process::MaxHeapSize::NONE;
            let limit = process.extra.as_ref().map_or(none, |extra| extra.max_heap_size);
            crate::process::max_heap_map(heap, limit, process.vm.release())
        }
        "garbage_collection" => {
            let max = item(heap, process, am::MAX_HEAP_SIZE, own)?;
            let mut pairs = vec![heap.tuple(&[Term::atom(am::MAX_HEAP_SIZE), max])];
            for (name, value) in [
                ("min_bin_vheap_size", process.heap.min_bin_vheap_words as usize),
                ("min_heap_size", process.heap.min_heap_words as usize),
                ("fullsweep_after", process.heap.fullsweep_after as usize),
                ("minor_gcs", process.heap.minor_collections() as usize),
            ] {
                pairs.push(heap.tuple(&[Term::atom(Atom::new(name)), words(value)]));
            }
            heap.list(&pairs)
        }
        "garbage_collection_info" => process.collector_figures(heap),
        "message_queue_data" => Term::atom(
            process.extra.as_ref().map_or(atom!("on_heap"), |extra| extra.message_queue_data),
        ),
        "suspending" => {
            let suspending =
                process.extra.as_ref().map_or(Vec::new(), |extra| extra.suspending.clone());
            let items: Vec<Term> = suspending
                .into_iter()
                .map(|(pid, count)| {
                    heap.tuple(&[Term::pid(pid), Term::small(i64::from(count)), Term::small(0)])
                })
                .collect();
            heap.list(&items)
        }
        "sequential_trace_token" => crate::sequential::token_term(process, heap),
        "catchlevel" => {
            let mut catches = 0;
            crate::backtrace::each_slot(process, |slot| {
                catches += i64::from(matches!(slot, crate::backtrace::Slot::Catch(_)));
            });
            Term::small(catches)
        }
        "last_calls" => last_calls(heap, process),
        "magic_ref" => counted_references(heap, process),
        "trace" => Term::small(i64::from(process.trace.flags())),
        "backtrace" => heap.binary(&crate::backtrace::text(process)),
        "binary" => shared_binaries(heap, process),
        _ => return None,
    })
}

/// `current_function`, or `current_location` if that is the `name`.
/// Where a process is: in the caller, where it asks by a built-in with a breakpoint, which is a
/// function of its own.
fn own_place(process: &Process, own: bool) -> usize {
    let at = process.ip as usize;
    let is_called_by_name = || {
        let function = process.vm.code.locate(at, |location| location.mfa)?;
        let number = process.vm.bifs.number(function)?;
        Some(process.vm.bifs.has_breakpoint(number))
    };
    if own && is_called_by_name() == Some(true) {
        process.traced_caller().saturating_sub(size_of::<swarmrt_beam::instr::Instr>())
    } else {
        at
    }
}

fn current_place(heap: &mut FragmentHeap, process: &Process, name: Atom, own: bool) -> Term {
    let built_in = if own { None } else { process.current_built_in() };
    if let Some(mfa) = built_in {
        return if name.name() == "current_location" {
            function_entry(heap, mfa, Term::NIL)
        } else {
            heap.mfa(mfa)
        };
    }
    let at = own_place(process, own);
    let module = process.vm.code.module_at(at);
    let found = module.as_ref().and_then(|module| module.locate(at)).map(|location| location.mfa);
    if name.name() == "current_location" {
        location_entry(heap, process, at).unwrap_or(Term::atom(am::UNDEFINED))
    } else if let Some(mfa) = found {
        heap.mfa(mfa)
    } else {
        let mfa = Mfa { module: am::ERLANG, function: atom!("hibernate"), arity: 3 };
        if std::ptr::eq(process.ip, process.vm.code.hibernated_entry()) {
            heap.mfa(mfa)
        } else {
            heap.mfa(process.initial)
        }
    }
}

fn stack_trace(heap: &mut FragmentHeap, process: &Process) -> Term {
    let depth = process.vm.backtrace_depth();
    let mut addresses = vec![process.ip as usize];
    process.return_addresses(|address| {
        addresses.push(address);
        addresses.len() < depth
    });
    let entries: Vec<Term> = addresses
        .into_iter()
        .filter_map(|address| location_entry(heap, process, address))
        .collect();
    heap.list(&entries)
}

fn status(process: &Process, own: bool) -> Atom {
    let state = process.shared().state.load();
    let suspended = process.extra.as_ref().is_some_and(|extra| extra.suspended > 0);
    let waits = process_waits(process) && !own;
    if suspended {
        am::SUSPENDED
    } else if waits {
        am::WAITING
    } else if !own && process.awaits_dirty() {
        am::RUNNABLE
    } else if own || state == run_state::RUNNING || process.is_in_native() {
        am::RUNNING
    } else {
        am::RUNNABLE
    }
}

fn links(heap: &mut FragmentHeap, process: &Process) -> Term {
    // SAFETY: links are kept as the words of pids and ports.
    let mut links: Vec<Term> =
        process.relations.links.keys().map(|raw| unsafe { Term::from_raw(raw) }).collect();
    if let Some(remote) = &process.relations.remote {
        let active = remote.links.iter().filter(|(_, link)| link.unlinking.is_none());
        links.extend(active.map(|(pid, _)| pid.to_term(heap)));
    }
    heap.list(&links)
}

fn monitors(heap: &mut FragmentHeap, process: &Process) -> Term {
    let watched: Vec<Watched> =
        process.relations.monitors.values().map(|monitor| monitor.watched).collect();
    let node = Term::atom(process.vm.node().name);
    let items: Vec<Term> = watched
        .into_iter()
        .map(|watched| match watched {
            Watched::Pid(pid) => heap.tuple(&[Term::atom(am::PROCESS), Term::pid(pid)]),
            Watched::Port { port, name: None } => {
                heap.tuple(&[Term::atom(am::PORT), Term::port(port)])
            }
            Watched::Name { name, .. } => {
                let full = heap.tuple(&[Term::atom(name), node]);
                heap.tuple(&[Term::atom(am::PROCESS), full])
            }
            Watched::Port { name: Some(name), .. } => {
                let full = heap.tuple(&[Term::atom(name), node]);
                heap.tuple(&[Term::atom(am::PORT), full])
            }
            Watched::Remote { pid, .. } => {
                let pid = pid.to_term(heap);
                heap.tuple(&[Term::atom(am::PROCESS), pid])
            }
            Watched::RemoteName { name, node, .. } => {
                let full = heap.tuple(&[Term::atom(name), Term::atom(node)]);
                heap.tuple(&[Term::atom(am::PROCESS), full])
            }
            Watched::TimeOffset => {
                heap.tuple(&[Term::atom(am::TIME_OFFSET), Term::atom(am::CLOCK_SERVICE)])
            }
        })
        .collect();
    heap.list(&items)
}

fn monitored_by(heap: &mut FragmentHeap, process: &Process) -> Term {
    let mut items: Vec<Term> =
        process.relations.monitored_by.values().map(|&pid| Term::pid(pid)).collect();
    if let Some(remote) = &process.relations.remote {
        items.extend(remote.monitored_by.values().map(|watcher| watcher.pid.to_term(heap)));
    }
    let others = process.extra.iter().flat_map(|extra| extra.on_exit.values());
    items.extend(others.filter_map(|on_exit| match on_exit.watcher {
        Watcher::Hidden => None,
        Watcher::Memory(number) => reference::find(number).map(|memory| heap.counted_ref(memory)),
        Watcher::Port(port) => Some(Term::port(port)),
    }));
    heap.list(&items)
}

/// `magic_ref`: `{Id, Bytes, References}` of each memory that references of the process hold.
fn counted_references(heap: &mut FragmentHeap, process: &Process) -> Term {
    let mut items = Vec::new();
    for list in process.heap.off_heap_lists() {
        each_counted(list, |shared| {
            let id = heap.uint(shared.data() as u64);
            let (bytes, references) = (shared.capacity() as i64, shared.references() as i64);
            items.push(heap.tuple(&[id, Term::small(bytes), Term::small(references)]));
        });
    }
    heap.list(&items)
}

/// `binary`: `{Id, Bytes, References}` of each shared binary.
fn shared_binaries(heap: &mut FragmentHeap, process: &Process) -> Term {
    let mut items = Vec::new();
    for list in process.heap.off_heap_lists() {
        // SAFETY: members of the list are live terms of the process; it does not run meanwhile.
        unsafe {
            for at in list.members().filter(|at| Header(**at).has(Subtag::SharedBin)) {
                let raw = *at.add(shared_bin::SHARED);
                let size = (*at.add(shared_bin::BIT_SIZE)).div_ceil(8) as i64;
                let references = (SharedBytes::clone_raw(raw).references() - 1) as i64;
                let id = heap.uint(raw);
                items.push(heap.tuple(&[id, Term::small(size), Term::small(references)]));
            }
        }
    }
    // The newest stands first in a process's lists, and last here.
    items.reverse();
    heap.list(&items)
}

/// Shows the memory that references of the list hold.
fn each_counted(list: &OffHeap, mut visit: impl FnMut(&SharedBytes)) {
    // SAFETY: members of the list are live terms of the process, which does not run meanwhile;
    // those that are no binaries are counted references.
    unsafe {
        for at in list.members().filter(|at| !Header(**at).has(Subtag::SharedBin)) {
            let shared = ManuallyDrop::new(SharedBytes::from_raw(*at.add(shared_bin::SHARED)));
            visit(&shared);
        }
    }
}

/// What another process is doing, in the words of crash dumps.
pub(crate) fn state(process: &Process) -> &'static str {
    if process_waits(process) { "Waiting" } else { "Scheduled" }
}

/// Whether the process stands at a receive, or in `hibernate/0`.
fn process_waits(process: &Process) -> bool {
    use swarmrt_beam::instr::Instr;
    if process.ip.is_null() {
        return false;
    }
    // SAFETY: a process's instruction pointer points at an instruction.
    matches!(
        unsafe { *process.ip },
        Instr::LoopRec { .. } | Instr::Wait { .. } | Instr::WaitTimeout { .. } | Instr::Hibernated
    ) || process.hibernates_in_place()
}

/// What a process is asked for.
enum Item {
    Named(Atom),
    /// `{dictionary, Key}`: what the key is bound to.
    Bound(Tag),
}

/// Mostly one.
type Items = SmallVec<[Item; 1]>;

impl Item {
    fn of(p: &Process, item: Term) -> Result<Item, BifExit> {
        let release = p.vm.release();
        if let Some((kind, key)) = pair_of(item) {
            let is_known = kind == Term::atom(atom!("dictionary")) && release >= Release::R26;
            return if is_known { Ok(Item::Bound(Tag::new(key))) } else { Err(BifExit::BADARG) };
        }
        let name = item.as_atom().filter(|&name| is_item(name)).ok_or(BifExit::BADARG)?;
        let since = match name.name() {
            "async_dist" => Release::R26,
            "label" => Release::R27,
            "priority_messages" => Release::R28,
            _ => Release::R25,
        };
        if release < since { Err(BifExit::BADARG) } else { Ok(Item::Named(name)) }
    }
}

/// `{dictionary, Key}` and the value.
fn bound(heap: &mut FragmentHeap, process: &Process, key: Term) -> (Term, Term) {
    let value = process.dictionary.get(key).filter(|_| !hides(process));
    let value = value.map_or(Term::atom(am::UNDEFINED), |value| copy(heap, value));
    let key = copy(heap, key);
    (heap.tuple(&[Term::atom(atom!("dictionary")), key]), value)
}

/// Whether an item depends on what is in messages, so that those that are no terms are found out.
fn looks_at_messages(process: &Process, items: &[Item]) -> bool {
    let on_heap = atom!("on_heap");
    let is_on_heap = process.extra.as_ref().is_none_or(|extra| extra.message_queue_data == on_heap);
    let looks = |item: &Item| match item {
        Item::Named(name) if *name == atom!("messages") => true,
        Item::Named(name) => is_on_heap && *name == atom!("total_heap_size"),
        Item::Bound(_) => false,
    };
    !process.is_in_native() && items.iter().any(looks)
}

/// What the process has called last, the oldest first; `false` where it does not note that.
fn last_calls(heap: &mut impl Alloc, process: &Process) -> Term {
    let Some(saved) = process.saved_calls() else { return Term::bool(false) };
    let calls: Vec<Term> = saved
        .calls()
        .map(|call| match call {
            SavedCall::Call(Mfa { module, function, arity }) => {
                heap.tuple(&[Term::atom(module), Term::atom(function), Term::small(arity.into())])
            }
            SavedCall::Send => Term::atom(atom!("send")),
            SavedCall::Receive => Term::atom(atom!("receive")),
            SavedCall::Timeout => Term::atom(am::TIMEOUT),
        })
        .collect();
    heap.list(&calls)
}

/// An item, or how it is called in the answer, and its value.
type Answers = SmallVec<[(Term, Term); 1]>;

/// What is answered for a list of items. A process without a name has none to tell unless it is
/// asked for in a list.
fn answers(
    heap: &mut FragmentHeap,
    process: &mut Process,
    items: &[Item],
    form: Form,
    own: bool,
) -> Answers {
    if looks_at_messages(process, items) {
        process.mailbox.drop_unreadable();
    }
    let mut answers = Answers::new();
    for wanted in items {
        let name = match wanted {
            Item::Named(name) => *name,
            Item::Bound(key) => {
                answers.push(bound(heap, process, key.term()));
                continue;
            }
        };
        let Some(value) = item(heap, process, name, own) else { continue };
        if name == am::REGISTERED_NAME && value.is_nil() && form != Form::List {
            continue;
        }
        answers.push((Term::atom(name), value));
    }
    answers
}

/// The pair of what was answered, `[]` for nothing; or a list of pairs.
fn in_form<A: Alloc>(heap: &mut A, answers: &[(Term, Term)], form: Form) -> Term {
    if form == Form::One {
        return answers.first().map_or(Term::NIL, |&(item, value)| heap.tuple(&[item, value]));
    }
    let pairs: Vec<Term> =
        answers.iter().map(|&(item, value)| heap.tuple(&[item, value])).collect();
    heap.list(&pairs)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    All,
    One,
    List,
}

fn info(p: &mut Process, pid: Term, items: Items, form: Form) -> BifResult {
    let pid = own_pid(pid).ok_or(BifExit::BADARG)?;
    if pid == p.id() {
        p.handle_signals();
        let mut heap = FragmentHeap::new();
        let mut answers = answers(&mut heap, p, &items, form, true);
        for (item, value) in &mut answers {
            *item = copy_term(*item, &mut p.heap);
            *value = copy_term(*value, &mut p.heap);
        }
        return Ok(in_form(&mut p.heap, &answers, form));
    }
    if p.bif_state.is_none() && p.vm.processes.get(pid).is_none() {
        return Ok(Term::atom(am::UNDEFINED));
    }
    ask_info(p, pid, items, form)
}

fn ask_info(p: &mut Process, pid: u64, items: Items, form: Form) -> BifResult {
    // Most of all the shutdown of applications asks every process for its group leader.
    let is_leader =
        |item: &Item| matches!(item, Item::Named(name) if *name == atom!("group_leader"));
    let is_fixed = |item: &Item| !matches!(item, Item::Named(name) if CHANGED_IN_NATIVE.contains(&name.name()));
    let send = if items.iter().all(is_leader) {
        signal::send_question
    } else if items.iter().all(is_fixed) {
        signal::send_inspection
    } else {
        signal::send_call
    };
    let question = move |process: &mut Process, heap: &mut FragmentHeap| {
        let answers = answers(heap, process, &items, form, false);
        in_form(heap, &answers, form)
    };
    ask_as(p, pid, send, question, Term::atom(am::UNDEFINED))
}

/// What depends on the heap's contents, which a library's function may add to, or on messages that
/// wait to be taken over.
const CHANGED_IN_NATIVE: [&str; 5] =
    ["messages", "garbage_collection_info", "magic_ref", "backtrace", "binary"];

/// What may be asked for.
const ITEMS: [&str; 40] = [
    "async_dist",
    "label",
    "priority_messages",
    "magic_ref",
    "registered_name",
    "current_function",
    "current_location",
    "current_stacktrace",
    "initial_call",
    "parent",
    "status",
    "message_queue_len",
    "messages",
    "links",
    "monitors",
    "monitored_by",
    "dictionary",
    "trap_exit",
    "error_handler",
    "priority",
    "group_leader",
    "total_heap_size",
    "heap_size",
    "stack_size",
    "memory",
    "reductions",
    "min_heap_size",
    "min_bin_vheap_size",
    "fullsweep_after",
    "max_heap_size",
    "garbage_collection",
    "garbage_collection_info",
    "message_queue_data",
    "suspending",
    "sequential_trace_token",
    "catchlevel",
    "last_calls",
    "trace",
    "backtrace",
    "binary",
];

fn is_item(name: Atom) -> bool {
    static ATOMS: LazyLock<[Atom; ITEMS.len()]> = LazyLock::new(|| ITEMS.map(Atom::new));
    ATOMS.contains(&name)
}

/// The names of the items that this release has.
pub(crate) fn item_names(release: Release) -> impl Iterator<Item = Atom> {
    let added = |name: &str| match name {
        "async_dist" => Release::R26,
        "label" => Release::R27,
        "priority_messages" => Release::R28,
        _ => Release::R25,
    };
    ITEMS.iter().filter(move |name| added(name) <= release).map(|name| Atom::new(name))
}

#[bif("erlang:process_info/1")]
fn process_info_1(p: &mut Process, pid: Term) -> BifResult {
    let items = DEFAULT_ITEMS.iter().map(|name| Item::Named(Atom::new(name))).collect();
    info(p, pid, items, Form::All)
}

#[bif("erlang:process_info/2")]
fn process_info_2(p: &mut Process, pid: Term, items: Term) -> BifResult {
    if !items.is_list() {
        let item = Item::of(p, items)?;
        return info(p, pid, smallvec![item], Form::One);
    }
    let items =
        list_of(items)?.into_iter().map(|item| Item::of(p, item)).collect::<Result<_, _>>()?;
    info(p, pid, items, Form::List)
}
