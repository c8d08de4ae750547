//! Links and exit signals.

use super::returning::{given_when_sent, when_sent};
use super::{TRUE, bad_option, is_priority};
use swarmrt_machine::signal::address::Recipient;
use swarmrt_machine::signal::remote::{How, RemotePid, RemoteSignal, RemoteTo, Sent};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::node::is_own_port;
use swarmrt_term::{Alloc, Atom, Release, Term, am};

/// The options of `link/2`: whether the exit signal becomes a priority message.
pub(super) fn link_options(vm: &Vm, list: Term) -> Option<bool> {
    let options = list.list_to_vec()?;
    options.iter().all(|&option| is_priority(vm, option)).then_some(!options.is_empty())
}

#[bif("erlang:exit/2")]
#[bif("erlang:exit_signal/2")]
fn exit_2(p: &mut Process, to: Term, reason: Term) -> BifResult {
    when_sent(p, |p| send_exit(p, to, reason, false))
}

#[bif("erlang:exit/3", since = 28)]
#[bif("erlang:exit_signal/3", since = 29)]
fn exit_3(p: &mut Process, to: Term, reason: Term, options: Term) -> BifResult {
    let priority = link_options(p.vm, options).ok_or_else(bad_option)?;
    when_sent(p, |p| send_exit(p, to, reason, priority))
}

fn send_exit_remote(
    p: &mut Process,
    to: Term,
    node: Atom,
    exit: &RemoteSignal,
    priority: bool,
) -> BifResult {
    match p.signal_remote(to, node, exit, How { priority, ..How::ORDINARY }) {
        Sent::TooLarge => Err(BifExit::SYSTEM_LIMIT),
        _ => Ok(TRUE),
    }
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
                return send_exit_remote(p, to, node, &exit, priority);
            }
            _ => return Ok(TRUE),
        }
        // It may be one's own.
        p.id()
    } else if is_own_port(to) {
        return crate::ports::exit_port(p, to, reason);
    } else {
        let pid = RemotePid::of(to).ok_or(BifExit::BADARG)?;
        if pid.node != p.vm.node().name {
            let exit = RemoteSignal::Exit { to: RemoteTo::Pid(pid), reason };
            return send_exit_remote(p, to, pid.node, &exit, priority);
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
    when_sent(p, |p| link_as(p, to, false))
}

#[bif("erlang:link/2", since = 28)]
fn link_2(p: &mut Process, to: Term, options: Term) -> BifResult {
    let priority = link_options(p.vm, options).ok_or_else(bad_option)?;
    when_sent(p, |p| link_as(p, to, priority))
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
    if is_own_port(to) {
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
    if is_own_port(to) {
        return crate::ports::unlink_port(p, to);
    }
    let pid = RemotePid::of(to).ok_or(BifExit::BADARG)?;
    given_when_sent(p, TRUE, |p| Ok(p.unlink_remote(pid)))
}
