//! Starting processes, here and on other nodes.

use super::flags::max_heap_size;
use super::links::link_options;
use super::monitors::{MonitorOptions, monitor_options, monitor_ref};
use super::returning::when_sent;
use super::{OK, TRUE, bad_option};
use crate::args::pair_of;
use crate::system_info::heap_words;
use swarmrt_machine::process::Priority;
use swarmrt_machine::process::links::{RefValue, Tag};
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn, spawn_announced};
use swarmrt_machine::signal::remote::{How, RemoteSignal, Sent, SpawnRequest};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom};

pub(super) fn start_of(module: Term, function: Term, args: Term) -> Result<Start, BifExit> {
    let (Some(module), Some(function), Some(_)) =
        (module.as_atom(), function.as_atom(), args.list_len())
    else {
        return Err(BifExit::BADARG);
    };
    Ok(Start::Apply { module, function, args })
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

/// The scheduler that a process is to be bound to; 0 for none.
pub(super) fn scheduler_number(vm: &Vm, term: Term) -> Option<u32> {
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
        "async_dist" => options.async_dist = Some(value.as_bool()?),
        "scheduler" => options.scheduler = scheduler_number(vm, value)?,
        _ => return None,
    }
    Some(())
}

/// Whether a new process is given room enough.
fn has_room(vm: &Vm, options: &SpawnOptions) -> bool {
    let least =
        options.min_heap_words.unwrap_or_else(|| vm.process_defaults.min_heap_words()) as usize;
    options.max_heap_size.is_none_or(|limit| limit.words == 0 || limit.words >= least)
}

/// The options of a process on this node, and those of the monitor that is to be made ([`monitored`])
/// when nothing else is wrong with the call: an alias would outlive a failing one.
fn spawn_options(vm: &Vm, list: Term) -> Option<(SpawnOptions, Option<MonitorOptions>)> {
    let (mut options, mut monitor) = (SpawnOptions::default(), None);
    for option in list.list_to_vec()? {
        if let Some(name) = option.as_atom() {
            match name {
                am::LINK => options.link = true,
                am::MONITOR => monitor = Some(MonitorOptions::default()),
                _ => return None,
            }
            continue;
        }
        let (name, value) = pair_of(option)?;
        match name.as_atom()? {
            am::MONITOR => monitor = Some(monitor_options(vm, value)?),
            am::LINK if vm.release() >= Release::R28 => {
                options.link = true;
                options.priority_link = link_options(vm, value)?;
            }
            name => plain_spawn_option(vm, &mut options, name, value)?,
        }
    }
    has_room(vm, &options).then_some((options, monitor))
}

/// Has the new process monitored; the monitor's reference.
fn monitored(
    p: &mut Process,
    options: &mut SpawnOptions,
    monitor: Option<MonitorOptions>,
) -> Option<RefValue> {
    let monitor = monitor?;
    let reference = monitor_ref(p, monitor.alias);
    options.monitor = Some((reference, monitor.tag.map(Tag::new)));
    options.priority_monitor = monitor.priority;
    Some(reference)
}

/// There is no new process: what [`monitored`] made is no alias any more.
fn forget_alias(p: &mut Process, reference: Option<RefValue>) {
    if let Some(reference) = reference {
        p.relations.remove_alias(reference.id);
    }
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
    let (mut options, monitor) = spawn_options(p.vm, list).ok_or_else(bad_option)?;
    let start = start_of(module, function, args)?;
    let reference = monitored(p, &mut options, monitor);
    let Some(pid) = spawn(p.vm, Some(p), start, options) else {
        forget_alias(p, reference);
        return Err(BifExit::SYSTEM_LIMIT);
    };
    let pid = Term::pid(pid);
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
        let mut options = RequestOptions {
            reply_tag,
            on_success: true,
            on_error: true,
            valid: true,
            rest: Vec::new(),
        };
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
    let is_link =
        |pair: &(Term, Term)| pair.0 == Term::atom(am::LINK) && vm.release() >= Release::R28;
    pair_of(option).filter(is_link)
}

/// Asks another node to spawn. The reference, for `spawn_opt` with whether there is to be a
/// monitor.
#[bif("erts_internal:dist_spawn_request/4")]
fn dist_spawn_request(p: &mut Process, node: Term, mfa: Term, list: Term, kind: Term) -> BifResult {
    when_sent(p, |p| request_spawn(p, node, mfa, list, kind))
}

fn request_spawn(p: &mut Process, node: Term, mfa: Term, list: Term, kind: Term) -> BifResult {
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
        } else if let Some((_, value)) =
            pair_of(option).filter(|pair| pair.0 == Term::atom(am::MONITOR))
        {
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
    let says_how_to_reply = list.list_to_vec().is_some_and(|all| all.len() != request.rest.len());
    if is_spawn_opt && (!valid || says_how_to_reply) {
        return bad;
    }
    // Not active before the other node has answered.
    let alias = monitor.as_ref().and_then(|options| options.alias);
    let reference = alias.map_or_else(|| vm.next_ref(), |_| vm.next_alias(p.id()));
    let term = reference.to_term(&mut p.heap);
    let options = p.list(&forwarded);
    let result = if is_spawn_opt { p.tuple(&[term, Term::bool(monitor.is_some())]) } else { term };
    let signal =
        RemoteSignal::SpawnRequest { reference, mfa: (module, function), arguments: args, options };
    let sent = if valid {
        p.signal_remote(Term::NIL, node, &signal, How::ORDINARY)
    } else {
        Sent::NotConnected
    };
    let Sent::On(connection) = sent else {
        if request.on_error {
            let why = match sent {
                _ if !valid => atom!("badopt"),
                Sent::TooLarge => am::SYSTEM_LIMIT,
                _ => am::NOCONNECTION,
            };
            let message =
                p.tuple(&[request.reply_tag, term, Term::atom(am::ERROR), Term::atom(why)]);
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
        alias,
        reference,
    };
    let remote = p.relations.remote();
    remote.connected(node, connection);
    remote.spawn_requests.insert(reference.id, kept);
    Ok(result)
}

/// Spawns on this node, and sends the `spawn_reply` message.
#[bif("erts_internal:spawn_request/4")]
fn spawn_request(
    p: &mut Process,
    module: Term,
    function: Term,
    args: Term,
    list: Term,
) -> BifResult {
    let Ok(start) = start_of(module, function, args) else { return Ok(Term::atom(am::BADARG)) };
    let Some(request) = RequestOptions::parse(list) else { return Ok(Term::atom(atom!("badopt"))) };
    let RequestOptions { reply_tag, on_success, on_error, .. } = request;
    let list = p.list(&request.rest);
    let parsed = spawn_options(p.vm, list).filter(|_| request.valid);
    let badopt = parsed.is_none();
    let (mut options, monitor) = parsed.unwrap_or_default();
    let monitor = monitored(p, &mut options, monitor);
    let reference = monitor.unwrap_or_else(|| p.vm.next_ref()).to_term(&mut p.heap);
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
        forget_alias(p, monitor);
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
    let start = start_of(module, function, args)?;
    let vm = p.vm;
    let options = SpawnOptions::default();
    spawned(spawn_announced(vm, Some(p), start, options, |_, pid| vm.system_processes.add(pid)))
}
