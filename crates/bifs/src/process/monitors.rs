//! Monitors and aliases.

use super::returning::{given_when_sent, when_sent};
use super::{TRUE, bad_option, is_priority};
use crate::args::pair_of;
use swarmrt_machine::process::links::{AliasMode, Monitor, RefValue, Tag, Watched};
use swarmrt_machine::signal::remote::{How, RemotePid, RemoteSignal, RemoteTo, Sent};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, Subtag, Term, am, atom};

/// The options of `monitor`.
#[derive(Default)]
pub(crate) struct MonitorOptions {
    pub alias: Option<AliasMode>,
    pub tag: Option<Term>,
    pub priority: bool,
}

pub(super) fn monitor_options(vm: &Vm, list: Term) -> Option<MonitorOptions> {
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

pub(crate) fn monitor_ref(p: &mut Process, alias: Option<AliasMode>) -> RefValue {
    match alias {
        Some(mode) => {
            let value = p.vm.next_alias(p.id());
            p.relations.add_alias(value, mode);
            value
        }
        None => p.vm.next_ref(),
    }
}

fn start_monitor(p: &mut Process, kind: Term, item: Term, options: MonitorOptions) -> BifResult {
    let bad = || BifExit::BADARG;
    let kind = kind.as_atom().ok_or_else(|| BifExit::Caused(atom!("badtype")))?;
    let watched = match kind {
        am::PROCESS if was_here(p, item) => {
            return gone_at_once(p, kind, item, am::NOPROC, options);
        }
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

/// Monitors what is known not to be there, or what is on another node, to which there is no
/// connection: the message comes at once.
fn gone_at_once(
    p: &mut Process,
    kind: Atom,
    item: Term,
    reason: Atom,
    options: MonitorOptions,
) -> BifResult {
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
        p.relations.remove_alias(reference.id);
    }
    let reference = reference.to_term(&mut p.heap);
    let tag = tag.unwrap_or(Term::atom(am::CAP_DOWN));
    let message = p.tuple(&[tag, reference, Term::atom(kind), item, Term::atom(reason)]);
    signal::send_message(p.vm, p.pid(), p.id(), message);
    Ok(reference)
}

#[bif("erlang:monitor/2")]
fn monitor_2(p: &mut Process, kind: Term, item: Term) -> BifResult {
    when_sent(p, |p| start_monitor(p, kind, item, MonitorOptions::default()))
}

#[bif("erlang:monitor/3")]
fn monitor_3(p: &mut Process, kind: Term, item: Term, options: Term) -> BifResult {
    let options = monitor_options(p.vm, options).ok_or_else(bad_option)?;
    when_sent(p, |p| start_monitor(p, kind, item, options))
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
    given_when_sent(p, TRUE, |p| Ok(stop_monitor(p, reference.id())))
}

#[bif("erlang:demonitor/2")]
fn demonitor_2(p: &mut Process, reference: Term, options: Term) -> BifResult {
    when_sent(p, |p| demonitor_with(p, reference, options))
}

fn demonitor_with(p: &mut Process, reference: Term, options: Term) -> BifResult {
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
    let of_offset = p
        .relations
        .monitors
        .get(id)
        .is_some_and(|monitor| matches!(monitor.watched, Watched::TimeOffset));
    let found = stop_monitor(p, id);
    if flush && (!found || of_offset) {
        p.handle_signals();
        let taken = p.mailbox.take_first(|message| {
            message.as_tuple().is_some_and(|tuple| {
                tuple.arity() == 5
                    && tuple.get(1).as_local_ref().is_some_and(|other| other.id() == id)
            })
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
    p.relations.add_alias(value, mode);
    if priority {
        p.relations.set_priority_alias(value.id);
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
    let alias = RefValue::of(reference);
    // One that is not active yet does not become so.
    let asked = p.relations.remote.as_mut();
    if let Some(request) = asked.and_then(|remote| remote.spawn_requests.get_mut(alias.id)) {
        return Ok(Term::bool(request.alias.take().is_some()));
    }
    Ok(Term::bool(p.relations.alias(alias).is_some() && p.relations.remove_alias(alias.id)))
}
