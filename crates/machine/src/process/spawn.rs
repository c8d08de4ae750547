//! Making processes.

use crate::process::exception::Exception;
use crate::process::links::{Monitor, RefValue, Relations, Tag, Watched};
use crate::process::mailbox::Mailbox;
use crate::process::run_state::RunState;
use crate::process::table::ProcessCell;
use crate::process::trace::Trace;
use crate::process::{
    Dictionary, Extra, MaxHeapSize, OnEnd, Priority, Process, ReceiveTimer, SavedRegisters, Shared,
    TrapArgs,
};
use crate::signal::incoming::Incoming;
use crate::signal::remote::RemoteRelations;
use crate::vm::Vm;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU8, AtomicU32};
use swarmrt_beam::instr::Instr;
use swarmrt_heap::{Heap, Sharing, copy_term};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Term, am, atom};

/// The words of a new process's block.
const INITIAL_WORDS: usize = 48;

/// The options of `spawn_opt/4`, of other nodes' requests and of the embedding API.
pub struct SpawnOptions {
    pub link: bool,
    /// The parent gets the link's exit signal as a priority message.
    pub priority_link: bool,
    /// The monitor's reference, with the `tag` option.
    pub monitor: Option<(RefValue, Option<Tag>)>,
    /// The parent gets the monitor's message as a priority message.
    pub priority_monitor: bool,
    pub priority: Priority,
    pub min_heap_words: Option<u32>,
    pub min_bin_vheap_words: Option<u32>,
    pub fullsweep_after: Option<u32>,
    /// The scheduler that it is bound to, from 1; 0 for any.
    pub scheduler: u32,
    pub max_heap_size: Option<MaxHeapSize>,
    pub message_queue_data: Option<Atom>,
    pub async_dist: Option<bool>,
    /// For a process that another node has asked for: its group leader, and what it has to do with
    /// its parent.
    pub remote: Option<RemoteSpawn>,
    /// Called with what came of the process, which then is not reported to the logger.
    pub on_end: Option<OnEnd>,
}

/// What another node says of a process that it asks for.
pub struct RemoteSpawn {
    pub group_leader: Term,
    /// The function that it is to run.
    pub initial: Mfa,
    pub relations: Box<RemoteRelations>,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        SpawnOptions {
            link: false,
            priority_link: false,
            monitor: None,
            priority_monitor: false,
            priority: Priority::Normal,
            min_heap_words: None,
            min_bin_vheap_words: None,
            fullsweep_after: None,
            scheduler: 0,
            max_heap_size: None,
            message_queue_data: None,
            async_dist: None,
            remote: None,
            on_end: None,
        }
    }
}

/// What a new process calls: a function by name with a list of arguments, or a fun with one.
#[derive(Clone, Copy)]
pub enum Start {
    Apply { module: Atom, function: Atom, args: Term },
    Fun(Term),
}

/// Makes a process that is runnable at once. `parent` is absent for the first one.
///
/// # Errors
/// `None` when there are too many processes.
pub fn spawn(
    vm: &'static Vm,
    parent: Option<&mut Process>,
    start: Start,
    options: SpawnOptions,
) -> Option<u64> {
    spawn_announced(vm, parent, start, options, |_, _| {})
}

/// Hands the sequential trace token on to the child, with the options that the trace message names.
#[cold]
fn hand_token_on(
    parent: &mut Process,
    child: &mut Process,
    start: Start,
    is_linked: bool,
    is_monitored: bool,
) {
    let options = [(is_linked, atom!("link")), (is_monitored, atom!("monitor"))];
    let names: Vec<Term> =
        options.iter().filter(|(is, _)| *is).map(|(_, name)| Term::atom(*name)).collect();
    parent.hand_token_on(child, start, &names);
}

/// As [`spawn`], but calls `announce` with the number of the process before it can run: what that
/// sends to the parent comes before every signal of the child.
///
/// # Errors
/// `None` when there are too many processes.
pub fn spawn_announced(
    vm: &'static Vm,
    mut parent: Option<&mut Process>,
    start: Start,
    mut options: SpawnOptions,
    announce: impl FnOnce(Option<&mut Process>, u64),
) -> Option<u64> {
    let (args, mut initial) = start.argument_and_function(vm);
    // A start with a fun that somebody wants to know of is made a call by name.
    let mut list = FragmentHeap::new();
    let (first, args) = match start {
        Start::Fun(fun) if vm.breakpoints.at_fun_starts() => {
            let args = list.list(&[fun, Term::NIL]);
            (Start::Apply { module: am::ERLANG, function: am::APPLY, args }, args)
        }
        _ => (start, args),
    };
    let parent_pid = parent.as_deref().map_or(Term::NONE, Process::pid);
    let mut leader = parent.as_deref().map_or(Term::NONE, |parent| parent.group_leader);
    let mut remote_relations = None;
    if let Some(remote) = options.remote.take() {
        leader = remote.group_leader;
        initial = remote.initial;
        remote_relations = Some(remote.relations);
    }
    let spawner = &mut parent;
    let cell = vm.processes.insert(|id| {
        let sharing = Sharing::now();
        let mut heap = new_heap(vm, &options, sharing.size(args));
        let args = sharing.copy(args, &mut heap);
        let group_leader =
            if leader.is_none() { Term::pid(id) } else { copy_term(leader, &mut heap) };
        let (ip, saved) = first.first_state(vm, args);
        let mut relations = Relations::default();
        relations.remote = remote_relations.take();
        let is_monitored = spawner.is_some() && options.monitor.is_some();
        if let Some(parent) = spawner {
            relate(parent, id, &mut options, &mut relations);
        }
        let trace = first_trace(vm, spawner.as_deref_mut(), options.link);
        let mut cell = Box::new(ProcessCell {
            shared: Shared {
                exit_holds: AtomicU32::new(0),
                state: RunState::queued(),
                priority: AtomicU8::new(options.priority as u8),
                waits_dirty: std::sync::atomic::AtomicBool::new(false),
                in_native: Default::default(),
                scheduler: AtomicU32::new(u32::MAX),
                bound: AtomicU32::new(options.scheduler),
                incoming: Incoming::new(),
                id,
            },
            process: UnsafeCell::new(ManuallyDrop::new(Process {
                heap,
                ip,
                reductions: 0,
                trap_exit: false,
                priority: options.priority,
                exiting: false,
                exit_pending: false,
                is_past_breakpoint: false,
                has_traced_frames: false,
                shared: std::ptr::null(),
                vm,
                saved,
                mailbox: Mailbox::new(),
                receive_timer: ReceiveTimer::default(),
                dictionary: Dictionary::default(),
                group_leader,
                exception: Exception::default(),
                relations,
                registered: None,
                initial,
                parent: parent_pid,
                trap_args: TrapArgs::default(),
                bif_state: None,
                result_at_hand: None,
                scheduled: None,
                total_reductions: 0,
                trace,
                tasks: None,
                sequential: None,
                extra: first_extra(vm, &mut options),
            })),
        });
        cell.process.get_mut().shared = &raw const cell.shared;
        let child = cell.process.get_mut();
        if let Some(parent) = spawner
            && parent.sequential.is_some()
        {
            hand_token_on(parent, child, start, options.link, is_monitored);
        }
        if child.trace.is_on() {
            child.trace_spawn("spawned", parent_pid, start);
            if options.link {
                child.trace_procs("getting_linked", parent_pid);
            }
        }
        cell
    })?;
    let id = cell.shared.id;
    if let Some(parent) = parent.as_deref_mut()
        && parent.trace.is_on()
    {
        parent.trace_spawn("spawn", Term::pid(id), start);
        if options.link {
            parent.trace_procs("link", Term::pid(id));
        }
    }
    announce(parent, id);
    vm.schedulers.enqueue(cell, true);
    Some(id)
}

impl Start {
    /// The term that goes to the new process, and the function that it is said to have begun with.
    fn argument_and_function(self, vm: &Vm) -> (Term, Mfa) {
        let fun = match self {
            Start::Apply { module, function, args } => {
                let arity = args.list_len().unwrap_or(0) as u32;
                return (args, Mfa { module, function, arity });
            }
            Start::Fun(fun) => fun,
        };
        let function = match fun.as_local_fun() {
            Some(fun) => {
                let identity = fun.identity();
                let name = vm.code.fun_name(identity).unwrap_or(identity.module);
                Mfa {
                    module: identity.module,
                    function: name,
                    arity: u32::from(identity.arity) + fun.free().len() as u32,
                }
            }
            None => fun
                .as_export_fun()
                .map_or(Mfa { module: am::ERLANG, function: am::APPLY, arity: 2 }, |fun| {
                    *fun.mfa()
                }),
        };
        (fun, function)
    }

    /// Where the process begins, and its registers there; `args` lies on its heap.
    fn first_state(self, vm: &Vm, args: Term) -> (*const Instr, SavedRegisters) {
        let mut saved = SavedRegisters::default();
        let ip = match self {
            Start::Apply { module, function, .. } => {
                saved.save(&[Term::atom(module), Term::atom(function), args]);
                vm.code.apply_entry()
            }
            Start::Fun(_) => {
                saved.save(&[args]);
                vm.code.apply_fun_entry()
            }
        };
        (ip, saved)
    }
}

/// A heap with room for so many words, and a stack with where the first function returns to.
fn new_heap(vm: &Vm, options: &SpawnOptions, words: usize) -> Heap {
    let defaults = &vm.process_defaults;
    let min_words = options.min_heap_words.unwrap_or(0) as usize;
    let mut heap = Heap::with_room(words + INITIAL_WORDS, min_words);
    heap.min_heap_words = options.min_heap_words.unwrap_or_else(|| defaults.min_heap_words());
    heap.fullsweep_after = options.fullsweep_after.unwrap_or_else(|| defaults.fullsweep_after());
    heap.min_bin_vheap_words =
        options.min_bin_vheap_words.unwrap_or_else(|| defaults.min_bin_vheap_words());
    if let Some(limit) = options.max_heap_size.or_else(|| vm.default_max_heap_size()) {
        heap.limit_words = limit.heap_words();
    }
    // SAFETY: a new block has room for a return address.
    unsafe {
        heap.stop = heap.stop.sub(1);
        *heap.stop = vm.code.process_end() as u64;
    }
    heap
}

/// Links the parent and the new process, and has the parent monitor it, as asked.
fn relate(parent: &mut Process, id: u64, options: &mut SpawnOptions, child: &mut Relations) {
    if options.link {
        child.link(parent.pid());
        parent.relations.link(Term::pid(id));
        if options.priority_link {
            parent.relations.set_priority_link(Term::pid(id), true);
        }
    }
    if let Some((reference, tag)) = options.monitor.take() {
        child.monitored_by.insert(reference.id, parent.id());
        let monitor = Monitor {
            reference,
            watched: Watched::Pid(id),
            tag,
            priority: options.priority_monitor,
        };
        parent.relations.monitors.insert(reference.id, monitor);
    }
}

/// The tracing of a new process: what its parent hands on, else that of all new ones.
fn first_trace(vm: &Vm, parent: Option<&mut Process>, is_linked: bool) -> Trace {
    if let Some(parent) = parent.filter(|parent| parent.trace.is_on()) {
        let handed_on = parent.trace.hand_on(is_linked);
        if handed_on.is_on() {
            return handed_on;
        }
    }
    vm.trace_new.get()
}

/// What few processes have, as far as it is known when they start.
fn first_extra(vm: &Vm, options: &mut SpawnOptions) -> Option<Box<Extra>> {
    let mut extra: Option<Box<Extra>> = None;
    if let Some(limit) = options.max_heap_size.or_else(|| vm.default_max_heap_size()) {
        extra.get_or_insert_default().max_heap_size = limit;
    }
    let off_heap = vm.process_defaults.off_heap_messages().then(|| Atom::new("off_heap"));
    if let Some(place) = options.message_queue_data.or(off_heap) {
        extra.get_or_insert_default().message_queue_data = place;
    }
    if let Some(on_end) = options.on_end.take() {
        extra.get_or_insert_default().on_end = Some(on_end);
    }
    if options.async_dist.unwrap_or_else(|| vm.process_defaults.async_dist()) {
        extra.get_or_insert_default().async_dist = true;
    }
    extra
}
