//! Pids, ports and references: making them, and as text.

use crate::args::{byte_list_of, list_of};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::node::{PidData, pid_data, pid_parts, port_of_number};
use swarmrt_term::{Alloc, Atom, RefValue, Subtag, Term, atom};

/// `<0.85.0>`.
pub(crate) fn pid_text(term: Term) -> Option<String> {
    if let Some(data) = term.as_pid() {
        let (number, serial) = pid_parts(data);
        return Some(format!("<0.{number}.{serial}>"));
    }
    let external = term.as_external().filter(|_| term.is_any_pid())?;
    let numbers = external.numbers();
    Some(format!("<{}.{}.{}>", external.channel(), numbers[0], numbers[1]))
}

/// `#Port<0.3>`.
pub(crate) fn port_text(term: Term) -> Option<String> {
    if let Some(number) = term.as_port() {
        return Some(format!("#Port<0.{number}>"));
    }
    let external = term.as_external().filter(|_| term.is_any_port())?;
    let number = external.numbers().iter().rev().fold(0u64, |number, &part| number << 32 | part);
    Some(format!("#Port<{}.{number}>", external.channel()))
}

/// `#Ref<0.3.2.1>`.
pub(crate) fn ref_text(term: Term) -> Option<String> {
    if let Some(reference) = term.as_local_ref() {
        let [low, middle, high] = reference.numbers();
        return Some(format!("#Ref<0.{high}.{middle}.{low}>"));
    }
    let external = term.as_external().filter(|_| term.is_reference())?;
    let numbers: String =
        external.numbers().iter().rev().map(|number| format!(".{number}")).collect();
    Some(format!("#Ref<{}{numbers}>", external.channel()))
}

fn as_string(p: &mut Process, text: Option<String>) -> BifResult {
    text.map(|text| p.string(&text)).ok_or(BifExit::BADARG)
}

#[bif("erlang:pid_to_list/1")]
fn pid_to_list(p: &mut Process, pid: Term) -> BifResult {
    as_string(p, pid_text(pid))
}

#[bif("erlang:port_to_list/1")]
fn port_to_list(p: &mut Process, port: Term) -> BifResult {
    as_string(p, port_text(port))
}

#[bif("erlang:ref_to_list/1")]
fn ref_to_list(p: &mut Process, reference: Term) -> BifResult {
    as_string(p, ref_text(reference))
}

/// The numbers between `open` and `>`, separated by points.
fn numbers_of(list: Term, open: &str) -> Option<Vec<u64>> {
    let text = String::from_utf8(byte_list_of(list)?.into_vec()).ok()?;
    let inner = text.strip_prefix(open)?.strip_suffix('>')?;
    inner
        .split('.')
        .map(
            |part| {
                if part.bytes().all(|byte| byte.is_ascii_digit()) {
                    part.parse().ok()
                } else {
                    None
                }
            },
        )
        .collect()
}

#[bif("erlang:list_to_pid/1")]
fn list_to_pid(p: &mut Process, list: Term) -> BifResult {
    let numbers = numbers_of(list, "<").ok_or(BifExit::BADARG)?;
    match numbers[..] {
        [0, number, serial] => {
            let parts = u32::try_from(number).ok().zip(u32::try_from(serial).ok());
            let data = parts.and_then(|(number, serial)| pid_data(number, serial));
            let this = p.vm.node();
            Ok(match data.ok_or(BifExit::BADARG)? {
                PidData::Local(data) => Term::pid(data),
                PidData::Beyond => {
                    let numbers = [number, serial];
                    p.external(Subtag::ExternalPid, this.name, this.creation, &numbers)
                }
            })
        }
        [node, number, serial]
            if u32::try_from(number).is_ok() && u32::try_from(serial).is_ok() =>
        {
            let node = node_of(node)?;
            Ok(p.external(Subtag::ExternalPid, node, creation_of(p, node), &[number, serial]))
        }
        _ => Err(BifExit::BADARG),
    }
}

/// The node whose identifiers have this channel number.
fn node_of(channel: u64) -> Result<Atom, BifExit> {
    let atom = u32::try_from(channel).ok().and_then(Atom::checked).ok_or(BifExit::BADARG)?;
    if atom.name().contains('@') { Ok(atom) } else { Err(BifExit::BADARG) }
}

/// Text says nothing of a creation: it is the node's that is or was connected.
fn creation_of(p: &Process, node: Atom) -> u32 {
    p.vm.remote().map_or(0, |remote| remote.creation_of(node))
}

#[bif("erlang:list_to_port/1")]
fn list_to_port(p: &mut Process, list: Term) -> BifResult {
    let numbers = numbers_of(list, "#Port<").ok_or(BifExit::BADARG)?;
    match numbers[..] {
        [0, number] => {
            let this = p.vm.node();
            port_of_number(p, this, number).ok_or(BifExit::BADARG)
        }
        [node, number] => {
            let node = node_of(node)?;
            Ok(p.external(
                Subtag::ExternalPort,
                node,
                creation_of(p, node),
                &[number & 0xffff_ffff, number >> 32],
            ))
        }
        _ => Err(BifExit::BADARG),
    }
}

#[bif("erlang:list_to_ref/1")]
fn list_to_ref(p: &mut Process, list: Term) -> BifResult {
    let mut numbers = numbers_of(list, "#Ref<").ok_or(BifExit::BADARG)?;
    if numbers.len() < 2 || numbers[1..].iter().any(|&number| number > u64::from(u32::MAX)) {
        return Err(BifExit::BADARG);
    }
    let node = numbers.remove(0);
    numbers.reverse();
    if node == 0 {
        let [low, middle, high] = numbers[..] else { return Err(BifExit::BADARG) };
        if low >= 1 << 18 {
            return Err(BifExit::BADARG);
        }
        return Ok(RefValue { id: high << 32 | middle, low: low as u32 }.to_term(&mut p.heap));
    }
    let node = node_of(node)?;
    Ok(p.external(Subtag::ExternalRef, node, creation_of(p, node), &numbers))
}

#[bif("erlang:make_ref/0")]
fn make_ref(p: &mut Process) -> BifResult {
    Ok(p.make_ref())
}

#[bif("erlang:unique_integer/0")]
fn unique_integer_0(p: &mut Process) -> BifResult {
    Ok(p.vm.unique_integers.make(&mut p.heap, false, false))
}

#[bif("erlang:unique_integer/1")]
fn unique_integer_1(p: &mut Process, modifiers: Term) -> BifResult {
    let (mut positive, mut monotonic) = (false, false);
    for modifier in list_of(modifiers)? {
        match modifier.as_atom() {
            Some(name) if name == atom!("positive") => positive = true,
            Some(name) if name == atom!("monotonic") => monotonic = true,
            _ => return Err(BifExit::BADARG),
        }
    }
    Ok(p.vm.unique_integers.make(&mut p.heap, positive, monotonic))
}
