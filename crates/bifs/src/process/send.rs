//! Sending messages.

use super::returning::{given_when_sent, when_sent};
use super::{OK, bad_option, is_priority};
use swarmrt_machine::signal::address::{Delivery, Recipient};
use swarmrt_machine::signal::remote::{Busy, How};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Atom, Term, atom};

/// Sends to whatever stands for a receiver; ports are sent commands.
fn send_any(p: &mut Process, to: Term, message: Term, how: How) -> Result<Delivery, BifExit> {
    let Some(recipient) = Recipient::of(p.vm, to) else {
        // A tracer sees what the process tried to send.
        if p.trace.is_on() && to.is_atom() {
            p.trace_sent(to, message, true);
        }
        return Err(BifExit::BADARG);
    };
    if recipient == Recipient::Nobody
        && let Some(external) = to.as_external()
        && external.creation() != p.vm.node().creation
    {
        log_discarded(p, external.creation(), to, message);
    }
    // A process is told of before it can answer.
    let is_told = p.trace.is_on() && matches!(recipient, Recipient::Process(_));
    if let Recipient::Process(pid) = recipient
        && is_told
    {
        let is_there = p.vm.processes.get(pid).is_some();
        p.trace_sent(to, message, is_there);
    }
    let delivery = p.send(to, recipient, message, how);
    if delivery == Delivery::Suspended {
        return Err(BifExit::Yield);
    }
    if delivery == Delivery::TooLarge {
        return Err(BifExit::SYSTEM_LIMIT);
    }
    let is_shown = match recipient {
        // A name of this node, which the program may have given in full.
        Recipient::Nobody => to.is_tuple(),
        _ => !matches!(delivery, Delivery::NotConnected | Delivery::WouldSuspend),
    };
    if p.trace.is_on() && is_shown && !is_told {
        p.trace_sent(to, message, delivery == Delivery::Done || recipient == Recipient::Nobody);
    }
    Ok(delivery)
}

/// Reports a message to something of an earlier run of this node, as OTP does.
fn log_discarded(p: &mut Process, creation: u32, to: Term, message: Term) {
    let text =
        "Discarding message ~p from ~p to ~p in an old incarnation (~p) of this node (~p)~n~n";
    let numbers = [creation, p.vm.node().creation].map(|number| Term::small(i64::from(number)));
    let arguments = [message, p.pid(), to, numbers[0], numbers[1]];
    swarmrt_machine::process::exception::log(p.vm, p.pid(), p.group_leader, text, &arguments);
}

#[bif("erlang:!/2")]
fn send_operator(p: &mut Process, to: Term, message: Term) -> BifResult {
    given_when_sent(p, message, |p| send_any(p, to, message, How::ORDINARY))
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
    when_sent(p, |p| {
        Ok(match send_any(p, to, message, how)? {
            Delivery::NotConnected if !how.connect => Term::atom(atom!("noconnect")),
            Delivery::WouldSuspend | Delivery::Suspended => Term::atom(atom!("nosuspend")),
            Delivery::Done | Delivery::Nobody | Delivery::NotConnected | Delivery::TooLarge => OK,
        })
    })
}
