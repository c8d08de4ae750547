//! Built-ins that make, end, relate and address processes.

use crate::args::pair_of;
use crate::system_info::heap_words;
use std::sync::atomic::Ordering;
use swarmrt_heap::copy_term;
use swarmrt_machine::signal::address::{Delivery, Recipient};
use swarmrt_machine::process::links::{AliasMode, Monitor, RefValue, Tag, Watched};
use swarmrt_machine::process::{MaxHeapSize, Priority, Task, TaskWork};
use swarmrt_machine::signal::remote::{Busy, How, RemotePid, RemoteSignal, RemoteTo, Sent, SpawnRequest};
use swarmrt_machine::process::run_state;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn, spawn_announced};
use swarmrt_machine::{BifResult, Process, BifExit, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Subtag, Term, Tuple, am, atom, map};

const OK: Term = Term::atom(am::OK);
const TRUE: Term = Term::atom(am::TRUE);

fn as_name(term: Term) -> Option<Atom> {
    term.as_atom().filter(|&name| name != am::UNDEFINED)
}

fn start_of(module: Term, function: Term, args: Term) -> Result<Start, BifExit> {
    let (Some(module), Some(function), Some(_)) = (module.as_atom(), function.as_atom(), args.list_len()) else {
        return Err(BifExit::BADARG);
    };
    Ok(Start::Apply { module, function, args })
}

/// A list of options that is none, or has a wrong one.
pub(crate) fn bad_option() -> BifExit {
    BifExit::Caused(atom!("badopt"))
}

fn spawned(id: Option<u64>) -> BifResult {
    id.map(Term::pid).ok_or(BifExit::SYSTEM_LIMIT)
}

#[bif("erlang:spawn/3")]
fn spawn_3(p: &mut Process, module: Term, function: Term, args: Term) -> BifResult {
    let start = start_of(module, function, args)?;
    spawned(spawn(p.vm, Some(p), start, SpawnOptions::default()))
}

#[bif("erlang:spawn_link/3")]
fn spawn_link_3(p: &mut Process, module: Term, function: Term, args: Term) -> BifResult {
    let start = start_of(module, function, args)?;
    spawned(spawn(p.vm, Some(p), start, SpawnOptions { link: true, ..SpawnOptions::default() }))
}

/// The options of `monitor`.
#[derive(Default)]
pub(crate) struct MonitorOptions {
    pub alias: Option<AliasMode>,
    pub tag: Option<Term>,
    pub priority: bool,
}

/// Whether an option asks for priority messages, which OTP 28 brought.
fn is_priority(vm: &Vm, option: Term) -> bool {
    option == Term::atom(atom!("priority")) && vm.release() >= Release::R28
}

fn monitor_options(vm: &Vm, list: Term) -> Option<MonitorOptions> {
    let mut options = MonitorOptions::default();
    for option in list.list_to_vec()? {
        if is_priority(vm, option) {
            options.priority = true;
            continue;
        }
        let pair = option.as_tuple().filter(|pair| pair.arity() == 2)?;
        let value = pair.get(1);
        match pair.get(0).as_atom()? {
            am::ALIAS => {
                options.alias = Some(match value.as_atom()? {
                    am::EXPLICIT_UNALIAS => AliasMode::ExplicitUnalias,
                    am::DEMONITOR => AliasMode::Demonitor,
                    am::REPLY_DEMONITOR => AliasMode::ReplyDemonitor,
                    _ => return None,
                });
            }
            am::TAG => options.tag = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

/// The options of `link/2`: whether the exit signal becomes a priority message.
fn link_options(vm: &Vm, list: Term) -> Option<bool> {
    let options = list.list_to_vec()?;
    options.iter().all(|&option| is_priority(vm, option)).then_some(!options.is_empty())
}

pub(crate) fn monitor_ref(p: &mut Process, alias: Option<AliasMode>) -> RefValue {
    match alias {
        Some(mode) => {
            let value = p.vm.next_alias(p.id());
            p.relations.aliases.insert(value.id, mode);
            value
        }
        None => p.vm.next_ref(),
    }
}

/// A limit as given; what it does not say is as for the whole machine.
pub fn max_heap_size(vm: &Vm, term: Term) -> Option<MaxHeapSize> {
    let mut limit = default_max_heap_size(vm);
    if let Some(words) = term.as_small() {
        limit.words = usize::try_from(words).ok()?;
        return Some(limit);
    }
    if !term.is_map() {
        return None;
    }
    limit.words = usize::try_from(map::get(term, Term::atom(am::SIZE))?.as_small()?).ok()?;
    if let Some(kill) = map::get(term, Term::atom(am::KILL)) {
        limit.kill = kill.as_bool()?;
    }
    if let Some(log) = map::get(term, Term::atom(am::ERROR_LOGGER)) {
        limit.error_logger = log.as_bool()?;
    }
    let shared = map::get(term, Term::atom(atom!("include_shared_binaries")));
    if let Some(shared) = shared.filter(|_| vm.release() >= Release::R26) {
        limit.shared_binaries = shared.as_bool()?;
    }
    Some(limit)
}

/// The scheduler that a process is to be bound to; 0 for none.
fn scheduler_number(vm: &Vm, term: Term) -> Option<u32> {
    u32::try_from(term.as_small()?).ok().filter(|&number| number as usize <= vm.schedulers.count())
}

/// Takes an option that says nothing of links and monitors. `None` for a wrong one.
fn plain_spawn_option(vm: &Vm, options: &mut SpawnOptions, name: Atom, value: Term) -> Option<()> {
    match name.name() {
        "priority" => options.priority = Priority::of(value.as_atom()?)?,
        "min_heap_size" => options.min_heap_words = Some(heap_words(value).ok()?),
        "fullsweep_after" => options.fullsweep_after = Some(u32::try_from(value.as_small()?).ok()?),
        "min_bin_vheap_size" => options.min_bin_vheap_words = Some(heap_words(value).ok()?),
        "max_heap_size" => options.max_heap_size = Some(max_heap_size(vm, value)?),
        "message_queue_data" => {
            let place = value.as_atom()?;
            if !matches!(place.name(), "on_heap" | "off_heap") {
                return None;
            }
            options.message_queue_data = Some(place);
        }
        "async_dist" => options.async_dist = value.as_bool()?,
        "scheduler" => options.scheduler = scheduler_number(vm, value)?,
        _ => return None,
    }
    Some(())
}

/// Whether a new process is given room enough.
fn has_room(vm: &Vm, options: &SpawnOptions) -> bool {
    let least = options.min_heap_words.unwrap_or_else(|| vm.process_defaults.min_heap_words()) as usize;
    options.max_heap_size.is_none_or(|limit| limit.words == 0 || limit.words >= least)
}

fn spawn_options(p: &mut Process, list: Term) -> Option<(SpawnOptions, Option<RefValue>)> {
    let mut options = SpawnOptions::default();
    let mut reference = None;
    for option in list.list_to_vec()? {
        if let Some(name) = option.as_atom() {
            match name {
                am::LINK => options.link = true,
                am::MONITOR => {
                    let value = monitor_ref(p, None);
                    options.monitor = Some((value, None));
                    reference = Some(value);
                }
                _ => return None,
            }
            continue;
        }
        let (name, value) = pair_of(option)?;
        match name.as_atom()? {
            am::MONITOR => {
                let given = monitor_options(p.vm, value)?;
                let made = monitor_ref(p, given.alias);
                options.monitor = Some((made, given.tag.map(Tag::new)));
                options.priority_monitor = given.priority;
                reference = Some(made);
            }
            am::LINK if p.vm.release() >= Release::R28 => {
                options.link = true;
                options.priority_link = link_options(p.vm, value)?;
            }
            name => plain_spawn_option(p.vm, &mut options, name, value)?,
        }
    }
    has_room(p.vm, &options).then_some((options, reference))
}

/// The options of a process that another node asks for, and whether it is to be monitored.
pub fn remote_spawn_options(vm: &Vm, list: Term) -> Option<(SpawnOptions, bool)> {
    let (mut options, mut is_monitored) = (SpawnOptions::default(), false);
    for option in list.list_to_vec()? {
        if let Some(name) = option.as_atom() {
            match name {
                am::LINK => options.link = true,
                am::MONITOR => is_monitored = true,
                _ => return None,
            }
            continue;
        }
        let (name, value) = pair_of(option)?;
        match name.as_atom()? {
            am::LINK => options.link = true,
            name => plain_spawn_option(vm, &mut options, name, value)?,
        }
    }
    has_room(vm, &options).then_some((options, is_monitored))
}

#[bif("erlang:spawn_opt/4")]
fn spawn_opt_4(p: &mut Process, module: Term, function: Term, args: Term, list: Term) -> BifResult {
    let (options, reference) = spawn_options(p, list).ok_or_else(bad_option)?;
    let start = start_of(module, function, args)?;
    let pid = spawned(spawn(p.vm, Some(p), start, options))?;
    match reference {
        Some(reference) => {
            let reference = reference.to_term(&mut p.heap);
            Ok(p.tuple(&[pid, reference]))
        }
        None => Ok(pid),
    }
}

/// The options of a request that are not the new process's.
struct RequestOptions {
    reply_tag: Term,
    on_success: bool,
    on_error: bool,
    /// Whether all of these options are known.
    valid: bool,
    /// The other options.
    rest: Vec<Term>,
}

impl RequestOptions {
    /// `None` when the options are no list.
    fn parse(list: Term) -> Option<RequestOptions> {
        let reply_tag = Term::atom(am::SPAWN_REPLY);
        let mut options = RequestOptions { reply_tag, on_success: true, on_error: true, valid: true, rest: Vec::new() };
        for option in list.list_to_vec()? {
            let pair = option.as_tuple().filter(|pair| pair.arity() == 2);
            match pair.map(|pair| (pair.get(0).as_atom().map(Atom::name), pair.get(1))) {
                Some((Some("reply_tag"), tag)) => options.reply_tag = tag,
                Some((Some("reply"), when)) => match when.as_atom().map(Atom::name) {
                    Some("yes") => (options.on_success, options.on_error) = (true, true),
                    Some("no") => (options.on_success, options.on_error) = (false, false),
                    Some("error_only") => (options.on_success, options.on_error) = (false, true),
                    Some("success_only") => (options.on_success, options.on_error) = (true, false),
                    _ => options.valid = false,
                },
                _ => options.rest.push(option),
            }
        }
        Some(options)
    }
}

/// `{link, Options}`, which OTP 28 brought.
fn link_option(vm: &Vm, option: Term) -> Option<(Term, Term)> {
    let is_link = |pair: &(Term, Term)| pair.0 == Term::atom(am::LINK) && vm.release() >= Release::R28;
    pair_of(option).filter(is_link)
}

/// Asks another node to spawn. The reference, for `spawn_opt` with whether there is to be a monitor.
#[bif("erts_internal:dist_spawn_request/4")]
fn dist_spawn_request(p: &mut Process, node: Term, mfa: Term, list: Term, kind: Term) -> BifResult {
    let bad = Ok(Term::atom(am::BADARG));
    let is_spawn_opt = kind == Term::atom(atom!("spawn_opt"));
    let mfa = mfa.as_tuple().filter(|mfa| mfa.arity() == 3);
    let start = mfa.and_then(|mfa| start_of(mfa.get(0), mfa.get(1), mfa.get(2)).ok());
    let Some(Start::Apply { module, function, args }) = start else { return bad };
    let Some(node) = node.as_atom().filter(|&node| node != p.vm.node().name) else { return bad };
    let Some(request) = RequestOptions::parse(list) else { return bad };
    let vm = p.vm;
    let (mut link, mut priority_link, mut monitor, mut valid) = (false, false, None, request.valid);
    let mut forwarded = Vec::new();
    for &option in &request.rest {
        if option == Term::atom(am::LINK) {
            (link, priority_link) = (true, false);
        } else if let Some((_, value)) = link_option(vm, option) {
            // The other node need not know what becomes of the exit signal here.
            let priority = link_options(vm, value);
            valid &= priority.is_some();
            (link, priority_link) = (true, priority == Some(true));
            forwarded.push(Term::atom(am::LINK));
            continue;
        }
        if option == Term::atom(am::MONITOR) {
            monitor = Some(MonitorOptions::default());
        } else if let Some((_, value)) = pair_of(option).filter(|pair| pair.0 == Term::atom(am::MONITOR)) {
            // Only that there is to be one matters to the other node.
            match monitor_options(vm, value) {
                Some(options) => monitor = Some(options),
                None => valid = false,
            }
            forwarded.push(Term::atom(am::MONITOR));
            continue;
        }
        forwarded.push(option);
    }
    let says_how_to_reply = list
        .list_to_vec()
        .is_some_and(|all| all.len() != request.rest.len());
    if is_spawn_opt && (!valid || says_how_to_reply) {
        return bad;
    }
    let reference = monitor_ref(p, monitor.as_ref().and_then(|options| options.alias));
    let term = reference.to_term(&mut p.heap);
    let options = p.list(&forwarded);
    let result = if is_spawn_opt { p.tuple(&[term, Term::bool(monitor.is_some())]) } else { term };
    let signal = RemoteSignal::SpawnRequest { reference, mfa: (module, function), arguments: args, options };
    let sent = if valid { p.signal_remote(Term::NIL, node, &signal, How::ORDINARY) } else { Sent::NotConnected };
    let Sent::On(connection) = sent else {
        p.relations.remove_alias(reference.id);
        if request.on_error {
            let why = if valid { am::NOCONNECTION } else { atom!("badopt") };
            let message = p.tuple(&[request.reply_tag, term, Term::atom(am::ERROR), Term::atom(why)]);
            signal::send_message(p.vm, p.pid(), p.id(), message);
        }
        return Ok(result);
    };
    let kept = SpawnRequest {
        node,
        connection,
        reply_tag: Tag::new(request.reply_tag),
        on_success: request.on_success,
        on_error: request.on_error,
        link,
        priority_link,
        priority_monitor: monitor.as_ref().is_some_and(|options| options.priority),
        monitor: monitor.map(|options| options.tag.map(Tag::new)),
        reference,
    };
    let remote = p.relations.remote();
    remote.connected(node, connection);
    remote.spawn_requests.insert(reference.id, kept);
    Ok(result)
}

/// Spawns on this node, and sends the `spawn_reply` message.
#[bif("erts_internal:spawn_request/4")]
fn spawn_request(p: &mut Process, module: Term, function: Term, args: Term, list: Term) -> BifResult {
    let Ok(start) = start_of(module, function, args) else { return Ok(Term::atom(am::BADARG)) };
    let Some(request) = RequestOptions::parse(list) else { return Ok(Term::atom(atom!("badopt"))) };
    let RequestOptions { reply_tag, on_success, on_error, .. } = request;
    let list = p.list(&request.rest);
    let parsed = spawn_options(p, list).filter(|_| request.valid);
    let badopt = parsed.is_none();
    let (options, reference) = parsed.unwrap_or_default();
    let reference = reference.unwrap_or_else(|| p.vm.next_ref());
    let reference = reference.to_term(&mut p.heap);
    let reply = |p: &mut Process, wanted: bool, result: Term, value: Term| {
        if wanted {
            let message = p.tuple(&[reply_tag, reference, result, value]);
            signal::send_message(p.vm, p.pid(), p.id(), message);
        }
    };
    if badopt {
        reply(p, on_error, Term::atom(am::ERROR), Term::atom(atom!("badopt")));
        return Ok(reference);
    }
    let announce = |parent: Option<&mut Process>, child: u64| {
        if let Some(parent) = parent {
            reply(parent, on_success, OK, Term::pid(child));
        }
    };
    if spawn_announced(p.vm, Some(p), start, options, announce).is_none() {
        reply(p, on_error, Term::atom(am::ERROR), Term::atom(am::SYSTEM_LIMIT));
    }
    Ok(reference)
}

#[bif("erlang:spawn_request_abandon/1")]
fn spawn_request_abandon(p: &mut Process, reference: Term) -> BifResult {
    let Some(id) = reference.as_local_ref().map(|reference| reference.id()) else {
        return if reference.is_reference() { Ok(Term::bool(false)) } else { Err(BifExit::BADARG) };
    };
    // One of this node is answered before anybody could abandon it.
    let request = p.relations.remote.as_mut().and_then(|remote| remote.spawn_requests.remove(id));
    let Some(request) = request else { return Ok(Term::bool(false)) };
    p.relations.remove_alias_of_monitor(id);
    if request.link
        && let Some(remote) = p.vm.remote()
    {
        let reason = Term::atom(atom!("abandoned"));
        remote.orphan(request.node, request.connection, request.reference, reason);
    }
    Ok(TRUE)
}

#[bif("erts_internal:spawn_system_process/3")]
fn spawn_system_process(p: &mut Process, module: Term, function: Term, args: Term) -> BifResult {
    spawn_3(p, module, function, args)
}

#[bif("erlang:exit/2")]
#[bif("erlang:exit_signal/2")]
fn exit_2(p: &mut Process, to: Term, reason: Term) -> BifResult {
    send_exit(p, to, reason, false)
}

#[bif("erlang:exit/3", since = 28)]
#[bif("erlang:exit_signal/3", since = 29)]
fn exit_3(p: &mut Process, to: Term, reason: Term, options: Term) -> BifResult {
    let priority = link_options(p.vm, options).ok_or_else(bad_option)?;
    send_exit(p, to, reason, priority)
}

/// Only through an alias that takes them does an exit signal become a priority message.
fn send_exit(p: &mut Process, to: Term, reason: Term, priority: bool) -> BifResult {
    let receiver = if let Some(pid) = to.as_pid() {
        signal::send_exit_of(p, pid, reason);
        pid
    } else if to.is_reference() && p.vm.release() >= Release::R28 {
        match Recipient::of(p.vm, to) {
            Some(Recipient::Alias(alias)) => {
                signal::send_exit_through(p.vm, p.pid(), alias, reason, priority);
            }
            Some(Recipient::Remote { node, to: to_alias }) => {
                let exit = RemoteSignal::Exit { to: to_alias, reason };
                p.signal_remote(to, node, &exit, How { priority, ..How::ORDINARY });
                return Ok(TRUE);
            }
            _ => return Ok(TRUE),
        }
        // It may be one's own.
        p.id()
    } else if to.is_port() {
        return crate::ports::exit_port(p, to, reason);
    } else {
        let pid = RemotePid::of(to).ok_or(BifExit::BADARG)?;
        if pid.node != p.vm.node().name {
            let exit = RemoteSignal::Exit { to: RemoteTo::Pid(pid), reason };
            p.signal_remote(to, pid.node, &exit, How { priority, ..How::ORDINARY });
        }
        return Ok(TRUE);
    };
    if receiver == p.id() {
        // An exit signal to oneself is handled before the call returns.
        p.handle_signals();
        if p.exit_pending {
            let reason = p.exception.reason;
            return Err(BifExit::ExitNow(reason));
        }
    }
    Ok(TRUE)
}

#[bif("erlang:link/1")]
fn link(p: &mut Process, to: Term) -> BifResult {
    link_as(p, to, false)
}

#[bif("erlang:link/2", since = 28)]
fn link_2(p: &mut Process, to: Term, options: Term) -> BifResult {
    let priority = link_options(p.vm, options).ok_or_else(bad_option)?;
    link_as(p, to, priority)
}

/// The last call says whether the exit signal becomes a priority message.
fn link_as(p: &mut Process, to: Term, priority: bool) -> BifResult {
    let result = link_to(p, to)?;
    p.relations.set_priority_link(to, priority);
    Ok(result)
}

fn link_to(p: &mut Process, to: Term) -> BifResult {
    if let Some(pid) = to.as_pid() {
        if pid == p.id() || !p.relations.link(to) {
            return Ok(TRUE);
        }
        if !signal::send_link(p.vm, p.pid(), pid) {
            p.relations.unlink(to);
            return linked_to_none(p, to);
        }
        p.trace_procs("link", to);
        return Ok(TRUE);
    }
    if to.is_port() {
        return crate::ports::link_port(p, to);
    }
    let pid = RemotePid::of(to).ok_or(BifExit::BADARG)?;
    if pid.node == p.vm.node().name {
        return linked_to_none(p, to);
    }
    if p.link_remote(pid) {
        return Ok(TRUE);
    }
    // The exit signal that says so is handled before the call returns.
    if !p.trap_exit {
        return Err(BifExit::ExitNow(Term::atom(am::NOCONNECTION)));
    }
    let message = p.tuple(&[Term::atom(am::CAP_EXIT), to, Term::atom(am::NOCONNECTION)]);
    signal::send_message(p.vm, p.pid(), p.id(), message);
    Ok(TRUE)
}

/// A link to a process of this node that is not there.
fn linked_to_none(p: &mut Process, to: Term) -> BifResult {
    if !p.trap_exit {
        return Err(BifExit::Error(Term::atom(am::NOPROC)));
    }
    let message = p.tuple(&[Term::atom(am::CAP_EXIT), to, Term::atom(am::NOPROC)]);
    signal::send_message(p.vm, Term::NONE, p.id(), message);
    Ok(TRUE)
}

#[bif("erlang:unlink/1")]
fn unlink(p: &mut Process, to: Term) -> BifResult {
    if let Some(pid) = to.as_pid() {
        if p.relations.unlink(to) {
            signal::send_unlink(p.vm, p.pid(), pid);
            p.trace_procs("unlink", to);
        }
        return Ok(TRUE);
    }
    if to.is_port() {
        return crate::ports::unlink_port(p, to);
    }
    let pid = RemotePid::of(to).ok_or(BifExit::BADARG)?;
    p.unlink_remote(pid);
    Ok(TRUE)
}

fn start_monitor(p: &mut Process, kind: Term, item: Term, options: MonitorOptions) -> BifResult {
    let bad = || BifExit::BADARG;
    let kind = kind.as_atom().ok_or_else(|| BifExit::Caused(atom!("badtype")))?;
    let watched = match kind {
        am::PROCESS if was_here(p, item) => return gone_at_once(p, kind, item, am::NOPROC, options),
        am::PROCESS if let Some((node, to)) = elsewhere(p, item) => {
            return monitor_remote(p, node, to, item, options);
        }
        am::PROCESS => {
            if let Some(pid) = item.as_pid() {
                Watched::Pid(pid)
            } else {
                let name = name_here(p, item).ok_or_else(bad)?;
                let pid = p.vm.names.whereis(name).and_then(Term::as_pid);
                Watched::Name { name, pid: pid.unwrap_or(u64::MAX) }
            }
        }
        am::PORT if item.is_port() => return crate::ports::monitor_port(p, item, None, options),
        am::PORT if item.boxed_subtag() == Some(Subtag::ExternalPort) && was_here(p, item) => {
            return gone_at_once(p, kind, item, am::NOPROC, options);
        }
        am::PORT if let Some(name) = name_here(p, item) => {
            if let Some(port) = p.vm.names.whereis(name).filter(|port| port.is_port()) {
                return crate::ports::monitor_port(p, port, Some(name), options);
            }
            let full = p.tuple(&[Term::atom(name), Term::atom(p.vm.node().name)]);
            return gone_at_once(p, kind, full, am::NOPROC, options);
        }
        am::TIME_OFFSET if item == Term::atom(am::CLOCK_SERVICE) => Watched::TimeOffset,
        am::PORT | am::TIME_OFFSET => return Err(bad()),
        _ => return Err(BifExit::Caused(atom!("badtype"))),
    };
    let reference = monitor_ref(p, options.alias);
    let term = reference.to_term(&mut p.heap);
    let pid = match watched {
        Watched::Pid(pid) | Watched::Name { pid, .. } => Some(pid),
        _ => None,
    };
    // A process does not monitor itself; the reference stands for nothing then.
    if pid == Some(p.id()) {
        return Ok(term);
    }
    let (tag, priority) = (options.tag.map(Tag::new), options.priority);
    p.relations.monitors.insert(reference.id, Monitor { reference, watched, tag, priority });
    let Some(pid) = pid else {
        p.vm.clock.watch_offset(p.id());
        return Ok(term);
    };
    if !signal::send_monitor(p.vm, p.pid(), pid, reference.id) {
        signal::send_down(p.vm, Term::NONE, p.id(), reference.id, Term::atom(am::NOPROC));
    }
    Ok(term)
}

/// Whether a pid or port of another node is one of this node's name, but of an earlier time.
fn was_here(p: &Process, item: Term) -> bool {
    item.as_external().is_some_and(|external| external.node() == p.vm.node().name)
}

/// What a term names on another node. Without distribution there are no names of others.
fn elsewhere(p: &Process, item: Term) -> Option<(Atom, RemoteTo)> {
    if let Some(pid) = RemotePid::of(item) {
        return Some((pid.node, RemoteTo::Pid(pid)));
    }
    let (name, node) = pair_of(item)?;
    let (name, node) = (name.as_atom()?, node.as_atom()?);
    (node != p.vm.node().name && p.vm.is_alive()).then_some((node, RemoteTo::Name(name)))
}

fn monitor_remote(
    p: &mut Process,
    node: Atom,
    to: RemoteTo,
    item: Term,
    options: MonitorOptions,
) -> BifResult {
    let reference = monitor_ref(p, options.alias);
    let monitor = RemoteSignal::Monitor { to, reference };
    let Sent::On(connection) = p.signal_remote(item, node, &monitor, How::ORDINARY) else {
        return gone_with(p, reference, am::PROCESS, item, am::NOCONNECTION, options);
    };
    let watched = match to {
        RemoteTo::Pid(pid) => Watched::Remote { pid, connection },
        RemoteTo::Name(name) => Watched::RemoteName { name, node, connection },
        RemoteTo::Alias(_) => return Err(BifExit::BADARG),
    };
    let (tag, priority) = (options.tag.map(Tag::new), options.priority);
    p.relations.remote().connected(node, connection);
    p.relations.monitors.insert(reference.id, Monitor { reference, watched, tag, priority });
    Ok(reference.to_term(&mut p.heap))
}

/// The name in `Name` or `{Name, Node}`, of this node.
fn name_here(p: &Process, item: Term) -> Option<Atom> {
    match pair_of(item) {
        Some((name, node)) if node == Term::atom(p.vm.node().name) => name.as_atom(),
        Some(_) => None,
        None => item.as_atom(),
    }
}

/// Monitors what is known not to be there, or what is on another node, to which there is no connection: the message comes at once.
fn gone_at_once(p: &mut Process, kind: Atom, item: Term, reason: Atom, options: MonitorOptions) -> BifResult {
    let reference = monitor_ref(p, options.alias);
    gone_with(p, reference, kind, item, reason, options)
}

fn gone_with(
    p: &mut Process,
    reference: RefValue,
    kind: Atom,
    item: Term,
    reason: Atom,
    options: MonitorOptions,
) -> BifResult {
    let MonitorOptions { alias, tag, .. } = options;
    if matches!(alias, Some(AliasMode::Demonitor | AliasMode::ReplyDemonitor)) {
        p.relations.aliases.remove(reference.id);
    }
    let reference = reference.to_term(&mut p.heap);
    let tag = tag.unwrap_or(Term::atom(am::CAP_DOWN));
    let message = p.tuple(&[tag, reference, Term::atom(kind), item, Term::atom(reason)]);
    signal::send_message(p.vm, p.pid(), p.id(), message);
    Ok(reference)
}

#[bif("erlang:monitor/2")]
fn monitor_2(p: &mut Process, kind: Term, item: Term) -> BifResult {
    start_monitor(p, kind, item, MonitorOptions::default())
}

#[bif("erlang:monitor/3")]
fn monitor_3(p: &mut Process, kind: Term, item: Term, options: Term) -> BifResult {
    let options = monitor_options(p.vm, options).ok_or_else(bad_option)?;
    start_monitor(p, kind, item, options)
}

fn stop_monitor(p: &mut Process, id: u64) -> bool {
    let Some(monitor) = p.relations.remove_monitor(id) else { return false };
    match monitor.watched {
        Watched::Pid(pid) | Watched::Name { pid, .. } => {
            signal::send_demonitor(p.vm, p.pid(), pid, id);
        }
        Watched::Port { port, .. } => crate::ports::demonitor_port(p, port, id),
        Watched::Remote { .. } | Watched::RemoteName { .. } => {
            p.demonitor_remote(&monitor.watched, monitor.reference);
        }
        Watched::TimeOffset => {}
    }
    true
}

#[bif("erlang:demonitor/1")]
fn demonitor_1(p: &mut Process, reference: Term) -> BifResult {
    let reference = reference.as_local_ref().ok_or(BifExit::BADARG)?;
    stop_monitor(p, reference.id());
    Ok(TRUE)
}

#[bif("erlang:demonitor/2")]
fn demonitor_2(p: &mut Process, reference: Term, options: Term) -> BifResult {
    let id = reference.as_local_ref().ok_or(BifExit::BADARG)?.id();
    let (mut flush, mut info) = (false, false);
    for option in options.list_to_vec().ok_or(BifExit::BADARG)? {
        match option.as_atom() {
            Some(am::FLUSH) => flush = true,
            Some(am::INFO) => info = true,
            _ => return Err(BifExit::BADARG),
        }
    }
    // The only kind of monitor that stays when it has told something.
    let of_offset = p.relations.monitors.get(id).is_some_and(|monitor| matches!(monitor.watched, Watched::TimeOffset));
    let found = stop_monitor(p, id);
    if flush && (!found || of_offset) {
        p.handle_signals();
        let taken = p.mailbox.take_first(|message| {
            message.as_tuple().is_some_and(|tuple| tuple.arity() == 5 && tuple.get(1).as_local_ref().is_some_and(|other| other.id() == id))
        });
        if let Some(message) = taken {
            // SAFETY: the mailbox has given it up.
            unsafe { p.heap.adopt(message) };
        }
    }
    Ok(if info { Term::bool(found) } else { TRUE })
}

#[bif("erlang:alias/0", unlisted)]
fn alias_0(p: &mut Process) -> BifResult {
    alias_1(p, Term::NIL)
}
#[bif("erlang:alias/1")]
fn alias_1(p: &mut Process, options: Term) -> BifResult {
    let mut mode = AliasMode::ExplicitUnalias;
    let mut priority = false;
    for option in options.list_to_vec().ok_or(BifExit::BADARG)? {
        if is_priority(p.vm, option) {
            priority = true;
            continue;
        }
        mode = match option.as_atom() {
            Some(am::REPLY) => AliasMode::Reply,
            Some(am::EXPLICIT_UNALIAS) => AliasMode::ExplicitUnalias,
            _ => return Err(BifExit::BADARG),
        };
    }
    let value = p.vm.next_alias(p.id());
    p.relations.aliases.insert(value.id, mode);
    if priority {
        p.relations.priority_aliases.insert(value.id, ());
    }
    Ok(value.to_term(&mut p.heap))
}

#[bif("erlang:unalias/1")]
fn unalias(p: &mut Process, reference: Term) -> BifResult {
    let reference = match reference.as_local_ref() {
        Some(reference) => reference,
        None if reference.is_reference() => return Ok(Term::bool(false)),
        None => return Err(BifExit::BADARG),
    };
    Ok(Term::bool(p.relations.remove_alias(reference.id())))
}

/// Sends to whatever stands for a receiver; ports are sent commands.
fn send_any(p: &mut Process, to: Term, message: Term, how: How) -> Result<Delivery, BifExit> {
    let Some(recipient) = Recipient::of(p.vm, to) else {
        // Who traces it sees what it tried to send.
        if p.trace.flags != 0 && to.is_atom() {
            p.trace_sent(to, message, true);
        }
        return Err(BifExit::BADARG);
    };
    if recipient == Recipient::Nobody
        && let Some(external) = to.as_external()
    {
        log_discarded(p, external.creation(), to, message);
    }
    let delivery = p.send(to, recipient, message, how);
    if delivery == Delivery::Suspended {
        return Err(BifExit::Yield);
    }
    let is_shown = match recipient {
        // A name of this node, which the program may have given in full.
        Recipient::Nobody => to.is_tuple(),
        _ => !matches!(delivery, Delivery::NotConnected | Delivery::WouldSuspend),
    };
    if p.trace.flags != 0 && is_shown {
        p.trace_sent(to, message, delivery == Delivery::Done || recipient == Recipient::Nobody);
    }
    Ok(delivery)
}

/// Reports a message to something of an earlier run of this node, as OTP does.
fn log_discarded(p: &mut Process, creation: u32, to: Term, message: Term) {
    let text = "Discarding message ~p from ~p to ~p in an old incarnation (~p) of this node (~p)~n~n";
    let numbers = [creation, p.vm.node().creation].map(|number| Term::small(i64::from(number)));
    let arguments = [message, p.pid(), to, numbers[0], numbers[1]];
    swarmrt_machine::process::exception::log(p.vm, p.pid(), p.group_leader, text, &arguments);
}

#[bif("erlang:!/2")]
fn send_operator(p: &mut Process, to: Term, message: Term) -> BifResult {
    send_any(p, to, message, How::ORDINARY)?;
    Ok(message)
}
#[bif("erlang:send/2")]
fn send_2(p: &mut Process, to: Term, message: Term) -> BifResult {
    send_operator(p, to, message)
}
#[bif("erlang:send/3")]
fn send_3(p: &mut Process, to: Term, message: Term, options: Term) -> BifResult {
    let mut how = How::ORDINARY;
    for option in options.list_to_vec().ok_or_else(bad_option)? {
        if is_priority(p.vm, option) {
            how.priority = true;
            continue;
        }
        match option.as_atom().map(Atom::name) {
            Some("nosuspend") => how.busy = Busy::Refuse,
            Some("noconnect") => how.connect = false,
            _ => return Err(bad_option()),
        }
    }
    Ok(match send_any(p, to, message, how)? {
        Delivery::Done | Delivery::Nobody => OK,
        Delivery::NotConnected if how.connect => OK,
        Delivery::NotConnected => Term::atom(atom!("noconnect")),
        Delivery::WouldSuspend | Delivery::Suspended => Term::atom(atom!("nosuspend")),
    })
}

#[bif("erlang:register/2")]
fn register(p: &mut Process, name: Term, object: Term) -> BifResult {
    let name = as_name(name).ok_or(BifExit::BADARG)?;
    if object.is_port() {
        return if crate::ports::register_port(p, name, object) { Ok(TRUE) } else { Err(BifExit::BADARG) };
    }
    let pid = object.as_pid().ok_or(BifExit::BADARG)?;
    let vm = p.vm;
    if pid == p.id() {
        if p.registered.is_some() || !vm.names.register(name, object) {
            return Err(BifExit::BADARG);
        }
        p.registered = Some(name);
        p.trace_procs("register", Term::atom(name));
        return Ok(TRUE);
    }
    if vm.processes.get(pid).is_none() || !vm.names.register(name, object) {
        return Err(BifExit::BADARG);
    }
    signal::send_call(
        vm,
        pid,
        Box::new(move |vm, process| match process {
            Some(process) if process.registered.is_none() => {
                process.registered = Some(name);
                process.trace_procs("register", Term::atom(name));
            }
            _ => {
                vm.names.unregister(name);
            }
        }),
    );
    Ok(TRUE)
}

#[bif("erlang:unregister/1")]
fn unregister(p: &mut Process, name: Term) -> BifResult {
    let name = as_name(name).ok_or(BifExit::BADARG)?;
    let object = p.vm.names.unregister(name).ok_or(BifExit::BADARG)?;
    if object == p.pid() {
        p.registered = None;
        p.trace_procs("unregister", Term::atom(name));
    } else if let Some(pid) = object.as_pid() {
        signal::send_call(
            p.vm,
            pid,
            Box::new(move |_, process| {
                if let Some(process) = process
                    && process.registered == Some(name)
                {
                    process.registered = None;
                    process.trace_procs("unregister", Term::atom(name));
                }
            }),
        );
    } else if object.is_port() {
        crate::ports::unregister_port(p, object);
    }
    Ok(TRUE)
}

#[bif("erlang:whereis/1")]
fn whereis(p: &mut Process, name: Term) -> BifResult {
    let name = name.as_atom().ok_or(BifExit::BADARG)?;
    Ok(p.vm.names.whereis(name).unwrap_or(Term::atom(am::UNDEFINED)))
}

#[bif("erlang:registered/0")]
fn registered(p: &mut Process) -> BifResult {
    let names: Vec<Term> = p.vm.names.all().into_iter().map(Term::atom).collect();
    Ok(p.list(&names))
}

/// Pids in the next slots of the table of processes from `at` on, and where to go on.
#[bif("erts_internal:processes_next/1", since = 28)]
fn processes_next(p: &mut Process, at: Term) -> BifResult {
    const SLOTS: usize = 256;
    let from = at.as_small().and_then(|at| usize::try_from(at).ok()).ok_or(BifExit::BADARG)?;
    let limit = p.vm.processes.limit();
    if from > limit {
        return Err(BifExit::BADARG);
    }
    if from == limit {
        return Ok(Term::atom(am::NONE));
    }
    let to = limit.min(from + SLOTS);
    let pids: Vec<Term> = (from..to)
        .filter_map(|slot| p.vm.processes.in_slot(slot))
        .filter(|cell| cell.shared.state.load() != run_state::EXITED)
        .map(|cell| Term::pid(cell.shared.id))
        .collect();
    p.bump_reductions(SLOTS / 4);
    let pids = p.list(&pids);
    Ok(p.tuple(&[Term::small(to as i64), pids]))
}

#[bif("erlang:processes/0")]
pub(crate) fn processes(p: &mut Process) -> BifResult {
    let pids: Vec<Term> = p.vm.processes.ids().into_iter().map(Term::pid).collect();
    p.bump_reductions(pids.len() / 4);
    Ok(p.list(&pids))
}

fn is_alive(vm: &Vm, pid: u64) -> bool {
    vm.processes.get(pid).is_some_and(|cell| cell.shared.state.load() != run_state::EXITED)
}

#[bif("erlang:is_process_alive/1")]
fn is_process_alive(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    if pid == p.id() {
        return Ok(TRUE);
    }
    // Asked as a signal: what we sent before has then been taken into account.
    ask_as(p, pid, signal::send_question, |_, _| Term::bool(true), Term::bool(false))
}

/// Has `question` answered in the context of another process, and waits for the answer. `gone` is the
/// answer when there is no such process.
pub fn ask(p: &mut Process, pid: u64, question: impl FnOnce(&mut Process) -> Term + Send + 'static, gone: Term) -> BifResult {
    ask_as(p, pid, signal::send_call, move |process, _| question(process), gone)
}

/// As [`ask`], by a signal of a kind, for answers that are built: on a heap that is there until the answer was copied.
pub fn ask_as(
    p: &mut Process,
    pid: u64,
    send: fn(&'static Vm, u64, signal::Call) -> bool,
    question: impl FnOnce(&mut Process, &mut FragmentHeap) -> Term + Send + 'static,
    gone: Term,
) -> BifResult {
    if let Some(state) = p.bif_state.take() {
        let number = *state.downcast::<u64>().expect("a built-in finds its own state");
        return match p.take_reply(number) {
            Some(reply) => Ok(reply),
            None => {
                p.bif_state = Some(Box::new(number));
                Err(BifExit::Wait)
            }
        };
    }
    if !is_alive(p.vm, pid) {
        return Ok(gone);
    }
    let number = p.expect_reply();
    let asker = p.id();
    send(
        p.vm,
        pid,
        Box::new(move |vm, process| {
            let mut heap = FragmentHeap::new();
            let answer = match process {
                Some(process) if !process.exit_pending => question(process, &mut heap),
                _ => gone,
            };
            signal::send_reply(vm, asker, number, answer);
        }),
    );
    signal::lend_priority(p, pid);
    p.bif_state = Some(Box::new(number));
    Err(BifExit::Wait)
}

#[bif("erlang:group_leader/0")]
fn group_leader(p: &mut Process) -> BifResult {
    Ok(p.group_leader)
}

#[bif("erts_internal:group_leader/2")]
fn set_group_leader_2(p: &mut Process, leader: Term, pid: Term) -> BifResult {
    set_group_leader(p, leader, pid)
}
#[bif("erts_internal:group_leader/3")]
fn set_group_leader_3(p: &mut Process, leader: Term, pid: Term, _reference: Term) -> BifResult {
    set_group_leader(p, leader, pid)
}
fn set_group_leader(p: &mut Process, leader: Term, pid: Term) -> BifResult {
    if !leader.is_any_pid() || !pid.is_any_pid() {
        return Ok(Term::atom(am::BADARG));
    }
    let Some(to) = pid.as_pid() else {
        if let Some(to) = RemotePid::of(pid).filter(|to| to.node != p.vm.node().name) {
            let signal = RemoteSignal::GroupLeader { to, leader };
            p.signal_remote(pid, to.node, &signal, How::ORDINARY);
        }
        return Ok(TRUE);
    };
    if to == p.id() {
        p.group_leader = leader;
        return Ok(TRUE);
    }
    let send = if leader.as_pid().is_some() { signal::send_small_change } else { signal::send_change };
    let leader = Tag::new(leader);
    let set = move |process: &mut Process| {
        process.group_leader = copy_term(leader.term(), &mut process.heap);
        TRUE
    };
    ask_as(p, to, send, move |process, _| set(process), Term::atom(am::BADARG))
}

/// Sets a flag; the value before.
/// What `process_flag/2` knows.
const FLAGS: [&str; 13] = [
    "trap_exit",
    "priority",
    "error_handler",
    "min_heap_size",
    "min_bin_vheap_size",
    "fullsweep_after",
    "max_heap_size",
    "message_queue_data",
    "sensitive",
    "save_calls",
    "async_dist",
    "monitor_nodes",
    "scheduler",
];

fn set_flag(p: &mut Process, flag: Atom, value: Term) -> Option<Term> {
    let size = |value: Term| value.as_small().and_then(|size| u32::try_from(size).ok());
    Some(match flag.name() {
        "trap_exit" => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.trap_exit, on))
        }
        "priority" => {
            let priority = Priority::of(value.as_atom()?)?;
            Term::atom(p.set_priority(priority).atom())
        }
        "error_handler" => {
            let module = value.as_atom()?;
            Term::atom(std::mem::replace(&mut p.extra().error_handler, module))
        }
        "min_heap_size" => {
            let words = heap_words(value).ok()?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.min_heap_words, words)))
        }
        "min_bin_vheap_size" => {
            let words = heap_words(value).ok()?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.min_bin_vheap_words, words)))
        }
        "fullsweep_after" => {
            let count = size(value)?;
            Term::small(i64::from(std::mem::replace(&mut p.heap.fullsweep_after, count)))
        }
        "max_heap_size" => {
            let limit = max_heap_size(p.vm, value).filter(|limit| limit.words == 0 || limit.words >= p.heap.min_heap_words as usize)?;
            let before = std::mem::replace(&mut p.extra().max_heap_size, limit);
            max_heap_term(p, before)
        }
        "message_queue_data" => {
            let place = value.as_atom().filter(|place| matches!(place.name(), "on_heap" | "off_heap"))?;
            Term::atom(std::mem::replace(&mut p.extra().message_queue_data, place))
        }
        "sensitive" => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.extra().sensitive, on))
        }
        "save_calls" => {
            // Calls are not recorded here.
            size(value).filter(|&count| count == 0)?;
            Term::small(0)
        }
        "async_dist" if p.vm.release() >= Release::R26 => {
            let on = value.as_bool()?;
            Term::bool(std::mem::replace(&mut p.extra().async_dist, on))
        }
        "monitor_nodes" => monitor_nodes(p, value, Term::NIL)?,
        _ => return None,
    })
}

/// Subscribes to changes of the set of connected nodes, or ends subscriptions; how many there were.
fn monitor_nodes(p: &mut Process, on: Term, options: Term) -> Option<Term> {
    let on = on.as_bool()?;
    let before = p.vm.remote()?.monitor_nodes(p, on, options)?;
    Some(Term::small(i64::from(before)))
}

/// The limit for processes for which nobody has set one.
pub fn default_max_heap_size(vm: &Vm) -> MaxHeapSize {
    vm.default_max_heap_size().unwrap_or(MaxHeapSize::NONE)
}

pub fn max_heap_term(p: &mut Process, limit: MaxHeapSize) -> Term {
    let release = p.vm.release();
    max_heap_map(&mut p.heap, limit, release)
}

/// A limit as a map, as that release shows it.
pub fn max_heap_map<A: Alloc + ?Sized>(heap: &mut A, limit: MaxHeapSize, release: Release) -> Term {
    let pairs = [
        (Term::atom(am::ERROR_LOGGER), Term::bool(limit.error_logger)),
        (Term::atom(am::KILL), Term::bool(limit.kill)),
        (Term::atom(am::SIZE), Term::small(limit.words as i64)),
        (Term::atom(atom!("include_shared_binaries")), Term::bool(limit.shared_binaries)),
    ];
    let known = if release >= Release::R26 { 4 } else { 3 };
    map::from_pairs(heap, &pairs[..known])
}

#[bif("erlang:process_flag/2")]
fn process_flag_2(p: &mut Process, flag: Term, value: Term) -> BifResult {
    // `{monitor_nodes, Options}` is net_kernel's way to follow nodes.
    if let Some(pair) = flag.as_tuple()
        && pair.arity() == 2
        && pair.get(0) == Term::atom(atom!("monitor_nodes"))
    {
        return monitor_nodes(p, value, pair.get(1)).ok_or(BifExit::BADARG);
    }
    let flag = flag.as_atom().filter(|flag| FLAGS.contains(&flag.name())).ok_or_else(bad_option)?;
    if flag == atom!("scheduler") {
        return bind(p, value);
    }
    set_flag(p, flag, value).ok_or(BifExit::BADARG)
}

/// Binds the process to a scheduler (0: to none), and has it go on there.
fn bind(p: &mut Process, value: Term) -> BifResult {
    if let Some(before) = p.bif_state.take() {
        let before = *before.downcast::<u32>().expect("a built-in finds its own state");
        return Ok(Term::small(i64::from(before)));
    }
    let number = scheduler_number(p.vm, value).ok_or(BifExit::BADARG)?;
    let before = p.shared().bound.swap(number, Ordering::Relaxed);
    p.bif_state = Some(Box::new(before));
    Err(BifExit::Yield)
}

#[bif("erts_internal:process_flag/3")]
fn process_flag_3(p: &mut Process, pid: Term, flag: Term, value: Term) -> BifResult {
    let Some(pid) = pid.as_pid() else { return Ok(Term::atom(atom!("badtype"))) };
    if flag != Term::atom(atom!("save_calls")) {
        return Ok(Term::atom(if is_alive(p.vm, pid) { am::BADARG } else { atom!("badtype") }));
    }
    let flag = atom!("save_calls");
    if pid == p.id() {
        return Ok(set_flag(p, flag, value).unwrap_or(Term::atom(am::BADARG)));
    }
    if value != Term::small(0) {
        return Ok(Term::atom(am::BADARG));
    }
    ask(p, pid, |_| Term::small(0), Term::atom(am::BADARG))
}

#[bif("erlang:hibernate/3")]
fn hibernate(p: &mut Process, module: Term, function: Term, args: Term) -> BifResult {
    start_of(module, function, args)?;
    // As many as an engine has registers for; what OTP allows differs from release to release.
    const ARGUMENTS_MAX: usize = 1022;
    if args.list_len().is_some_and(|count| count > ARGUMENTS_MAX) {
        return Err(BifExit::SYSTEM_LIMIT);
    }
    p.trap_args[..3].copy_from_slice(&[module, function, args]);
    Err(BifExit::Hibernate)
}

/// Waits for a message, with nothing on the heap that is not used; the stack stays.
#[bif("erlang:hibernate/0", unlisted, since = 28)]
fn hibernate_0(p: &mut Process) -> BifResult {
    p.handle_signals();
    if p.exit_pending || !p.mailbox.is_empty() {
        return Ok(OK);
    }
    // SAFETY: where a built-in is called the heap pointers are current, and nothing but its arguments, none here, is in registers.
    unsafe { p.collect_to_fit(&mut []) };
    Err(BifExit::Wait)
}

#[bif("erlang:yield/0", unlisted)]
fn yield_0(p: &mut Process) -> BifResult {
    // The second call, in the next turn, goes on.
    if p.bif_state.take().is_some() {
        return Ok(TRUE);
    }
    p.bif_state = Some(Box::new(()));
    Err(BifExit::Yield)
}

#[bif("erlang:bump_reductions/1")]
fn bump_reductions(p: &mut Process, count: Term) -> BifResult {
    let count = count.as_small().filter(|&count| count >= 0).ok_or(BifExit::BADARG)?;
    p.bump_reductions(count as usize);
    Ok(TRUE)
}

/// Collects at the next safepoint, which follows at once: all, or the young generation alone.
pub fn collect_soon(p: &mut Process, major: bool) {
    p.heap.wants_major |= major;
    p.heap.wants_collection = true;
}

#[bif("erts_internal:garbage_collect/1")]
fn garbage_collect(p: &mut Process, kind: Term) -> BifResult {
    if !is_collection(kind) {
        return Err(BifExit::BADARG);
    }
    collect_soon(p, kind == Term::atom(atom!("major")));
    Ok(TRUE)
}

#[bif("erlang:garbage_collect/0", unlisted)]
fn garbage_collect_0(p: &mut Process) -> BifResult {
    garbage_collect(p, Term::atom(atom!("major")))
}

/// Whether this is a kind of collection.
fn is_collection(kind: Term) -> bool {
    kind.as_atom().is_some_and(|kind| matches!(kind.name(), "major" | "minor"))
}

#[bif("erts_internal:suspend_process/2")]
fn suspend_process(p: &mut Process, pid: Term, options: Term) -> BifResult {
    let Some(pid) = pid.as_pid().filter(|&pid| pid != p.id()) else { return Ok(Term::atom(am::BADARG)) };
    let mut unless = false;
    let mut waits = true;
    let mut tag = None;
    let Some(options) = options.list_to_vec() else { return Ok(Term::atom(atom!("badopt"))) };
    for option in options {
        let asynchronous = |pair: &Tuple| pair.arity() == 2 && pair.get(0) == Term::atom(atom!("asynchronous"));
        match option.as_atom().map(Atom::name) {
            Some("unless_suspending") => unless = true,
            Some("asynchronous") => waits = false,
            _ if let Some(pair) = option.as_tuple().filter(asynchronous) => (waits, tag) = (false, Some(pair.get(1))),
            _ => return Ok(Term::atom(atom!("badopt"))),
        }
    }
    let is_there = is_alive(p.vm, pid);
    if !is_there && waits && p.bif_state.is_none() {
        return Ok(Term::atom(am::BADARG));
    }
    let suspends = p.bif_state.is_some() || is_there && note_suspension(p, pid, unless);
    if !waits {
        if is_there {
            signal::send_later(p.vm, pid, Box::new(later_suspension(p.id(), suspends, tag)));
        } else {
            later_suspension(p.id(), suspends, tag)(p.vm, None);
        }
        return Ok(Term::bool(suspends || !is_there));
    }
    if !suspends {
        return Ok(Term::bool(false));
    }
    let suspend = |process: &mut Process| {
        process.suspend_once();
        Term::bool(true)
    };
    ask_as(p, pid, signal::send_later, move |process, _| suspend(process), Term::atom(am::BADARG))
}

/// Counts a suspension of `pid` by the calling process; `false` when there is one already and `unless` says that it is enough.
fn note_suspension(p: &mut Process, pid: u64, unless: bool) -> bool {
    let suspending = &mut p.extra().suspending;
    match suspending.iter_mut().find(|(other, _)| *other == pid) {
        Some(_) if unless => return false,
        Some((_, count)) => *count += 1,
        None => suspending.push((pid, 1)),
    }
    true
}

/// What suspends a process when it comes to it, if it is to be suspended at all, and tells `caller` under the tag.
fn later_suspension(caller: u64, suspends: bool, tag: Option<Term>) -> impl FnOnce(&'static Vm, Option<&mut Process>) + Send {
    let tag = tag.map(Tag::new);
    move |vm, process| {
        let state = if process.is_some() { atom!("suspended") } else { am::BADARG };
        if let Some(process) = process.filter(|_| suspends) {
            process.suspend_once();
        }
        if let Some(tag) = tag {
            let mut heap = swarmrt_term::FragmentHeap::new();
            let message = heap.tuple(&[tag.term(), Term::atom(state)]);
            signal::send_message(vm, Term::NONE, caller, message);
        }
    }
}

#[bif("erlang:resume_process/1")]
fn resume_process(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    let suspending = &mut p.extra().suspending;
    let at = suspending.iter().position(|(other, _)| *other == pid).ok_or(BifExit::BADARG)?;
    suspending[at].1 -= 1;
    if suspending[at].1 == 0 {
        suspending.swap_remove(at);
    }
    if !is_alive(p.vm, pid) {
        return Err(BifExit::BADARG);
    }
    swarmrt_machine::process::resume(p.vm, pid);
    Ok(TRUE)
}

#[bif("erts_internal:request_system_task/3")]
fn request_system_task_3(p: &mut Process, pid: Term, priority: Term, request: Term) -> BifResult {
    request_system_task_4(p, p.pid(), pid, priority, request)
}

/// Requests are {Type, Id, …}; the requester gets {Type, Id, Result}.
#[bif("erts_internal:request_system_task/4")]
fn request_system_task_4(p: &mut Process, requester: Term, pid: Term, _priority: Term, request: Term) -> BifResult {
    let (Some(requester), Some(pid)) = (requester.as_pid(), pid.as_pid()) else { return Err(BifExit::BADARG) };
    let request = request.as_tuple().filter(|request| request.arity() >= 2).ok_or(BifExit::BADARG)?;
    let kind = request.get(0).as_atom().ok_or(BifExit::BADARG)?;
    // The kind of collection, or the module.
    let argument = request.elements().get(2).and_then(|argument| argument.as_atom());
    let id = Tag::new(request.get(1));
    // Done between two turns of the process, when nothing of its state is in an engine's registers.
    let work: fn(&mut Process, Option<Atom>) -> Option<Term> = match kind.name() {
        "garbage_collect" if request.elements().get(2).is_some_and(|&kind| !is_collection(kind)) => return Err(BifExit::BADARG),
        "garbage_collect" => |process, kind| {
            if process.extra.as_ref().is_some_and(|extra| extra.defers_collections) {
                return None;
            }
            collect_soon(process, kind != Some(atom!("minor")));
            Some(Term::bool(true))
        },
        "check_process_code" => |process, module| {
            let uses = module.is_some_and(|module| crate::code::uses_old_code(process, module));
            Some(Term::bool(uses))
        },
        // Nothing but the answer.
        "system_task_test" => |_, _| Some(Term::bool(true)),
        _ => return Err(BifExit::BADARG),
    };
    let is_check = kind.name() == "check_process_code";
    let answer = move |vm: &'static Vm, result: Term| {
        let mut heap = swarmrt_term::FragmentHeap::new();
        let message = heap.tuple(&[Term::atom(kind), id.term(), result]);
        signal::send_message(vm, Term::NONE, requester, message);
    };
    let send = if is_check { signal::send_look } else { signal::send_call };
    send(
        p.vm,
        pid,
        Box::new(move |vm, process| match process {
            // Nobody waits for the end of the function.
            Some(process) if is_check && process.is_in_native() => {
                let result = work(process, argument).unwrap_or(Term::bool(false));
                answer(vm, result);
            }
            Some(process) => process.add_task(Box::new(SystemTask { vm, work, argument, answer: Some(answer), again: is_check })),
            None => answer(vm, Term::bool(false)),
        }),
    );
    Ok(OK)
}

/// A request that waits for the end of a turn. It is answered even if the process ends before that.
struct SystemTask<A: FnOnce(&'static Vm, Term)> {
    vm: &'static Vm,
    /// `None` when it is to be tried again after the next turn.
    work: fn(&mut Process, Option<Atom>) -> Option<Term>,
    argument: Option<Atom>,
    answer: Option<A>,
    /// Who uses old code has one more turn to leave it: calls of a module that is loaded anew end in it when a turn does, and
    /// purging it must not kill everybody who calls it often.
    again: bool,
}

impl<A: FnOnce(&'static Vm, Term) + Send + 'static> TaskWork for SystemTask<A> {
    fn run(mut self: Box<Self>, process: &mut Process) -> Option<Task> {
        let Some(result) = (self.work)(process, self.argument) else { return Some(self) };
        if result == Term::bool(true) && std::mem::take(&mut self.again) {
            return Some(self);
        }
        if let Some(answer) = self.answer.take() {
            answer(self.vm, result);
        }
        None
    }
}

impl<A: FnOnce(&'static Vm, Term)> Drop for SystemTask<A> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(self.vm, Term::bool(false));
        }
    }
}

#[bif("erts_internal:is_process_alive/2")]
fn is_process_alive_2(p: &mut Process, pid: Term, reference: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    let alive = Term::bool(is_alive(p.vm, pid));
    let message = p.tuple(&[reference, alive]);
    signal::send_message(p.vm, p.pid(), p.id(), message);
    Ok(OK)
}

#[bif("erts_internal:is_system_process/1")]
fn is_system_process(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    Ok(Term::bool(p.vm.is_system_process(pid)))
}

#[bif("erts_internal:is_process_executing_dirty/1")]
fn is_process_executing_dirty(_p: &mut Process, _pid: Term) -> BifResult {
    Ok(Term::bool(false))
}
