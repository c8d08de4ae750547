//! The built-ins that OTP's `net_kernel`, `dist_util` and carriers stand on, and those about nodes.

use crate::flags;
use crate::node::{Controller, Node, Status, port_channel};
use crate::nodes::{self, Dist, connection_id, handle, net_kernel, of_handle, u64_of};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::signal::remote::{How, Packet, RemotePid, RemoteSignal, Sent};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::binary::iodata;
use swarmrt_term::node::free_incarnation;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, NodeInfo, Release, Term, am, atom, map};

const TRUE: Term = Term::atom(am::TRUE);
const FALSE: Term = Term::atom(am::FALSE);
const OK: Term = Term::atom(am::OK);
const BADARG: Term = Term::atom(am::BADARG);

/// `Name@Host`, neither of them empty.
fn node_name(term: Term) -> Option<Atom> {
    let atom = term.as_atom()?;
    let (name, host) = atom.name().split_once('@')?;
    (!name.is_empty() && !host.is_empty() && !host.contains('@')).then_some(atom)
}

fn u32_of(term: Term) -> Option<u32> {
    term.as_small().and_then(|number| u32::try_from(number).ok())
}

#[bif("erlang:setnode/2")]
fn setnode(p: &mut Process, name: Term, creation: Term) -> BifResult {
    let (Some(name), Some(creation)) = (node_name(name), u32_of(creation)) else {
        return Err(BifExit::BADARG);
    };
    let net_kernel = net_kernel(p.vm).filter(|_| name != am::NONODE).ok_or(BifExit::BADARG)?;
    let vm = p.vm;
    let mut this = NodeInfo { name, creation };
    if vm.release() >= Release::R27 {
        this = free_incarnation(this);
    }
    if !Dist::of(vm).start(vm, p, this, net_kernel) {
        return Err(BifExit::BADARG);
    }
    Ok(TRUE)
}

/// A connection that a process or a port feeds is up: `{ok, Handle}`, or `{message, Ref}` when the
/// process has yet to agree.
#[bif("erts_internal:create_dist_channel/3")]
fn create_dist_channel(p: &mut Process, name: Term, controller: Term, options: Term) -> BifResult {
    let vm = p.vm;
    let pair = options.as_tuple().filter(|pair| pair.arity() == 2);
    let parsed = pair.and_then(|pair| Some((u64_of(pair.get(0))?, u32_of(pair.get(1))?)));
    let known = net_kernel(vm).filter(|&pid| Dist::of(vm).is_net_kernel(pid));
    let (Some(name), Some((peer, creation)), Some(_)) = (node_name(name), parsed, known) else {
        return Ok(BADARG);
    };
    if name == vm.node().name {
        return Ok(BADARG);
    }
    if !peer & flags::mandatory(vm.release()) != 0 {
        let text = "~p attempted to enable connection to node ~p which does not support all mandatory capabilities.~n";
        let arguments = [p.pid(), Term::atom(name)];
        swarmrt_machine::process::exception::log(vm, p.pid(), p.group_leader, text, &arguments);
        return Ok(BADARG);
    }
    let node = Dist::of(vm).node(vm, name);
    node.state.lock().creation = creation;
    let setup = p.id();
    if let Some(pid) = controller.as_pid().filter(|&pid| pid != setup) {
        return agree(p, &node, pid, peer);
    }
    let up = if controller.is_port() {
        connect_port(vm, &node, controller, peer, setup)
    } else if controller.as_pid().is_some() {
        connect_process(p, &node, peer, setup)
    } else {
        None
    };
    let Some(connection) = up else { return Ok(BADARG) };
    let handle = handle(name, connection, p);
    Ok(p.tuple(&[OK, handle]))
}

fn connect_port(
    vm: &'static Vm,
    node: &Arc<Node>,
    port: Term,
    peer: u64,
    setup: u64,
) -> Option<u32> {
    let connection = node.up(Controller::Port(port), peer)?;
    let attached =
        vm.ports().is_some_and(|ports| ports.attach(vm, port, port_channel(node, connection)));
    if !attached {
        node.over(vm, connection);
        return None;
    }
    announce(vm, node, connection, port, peer, setup);
    node.notify(vm);
    Some(connection)
}

fn connect_process(p: &mut Process, node: &Node, peer: u64, setup: u64) -> Option<u32> {
    if p.extra.as_ref().is_some_and(|extra| extra.controls_connections) {
        return None;
    }
    let connection = node.up(Controller::Process(p.id()), peer)?;
    p.extra().controls_connections = true;
    announce(p.vm, node, connection, p.pid(), peer, setup);
    Some(connection)
}

/// Tells `net_kernel` who feeds the connection, and everybody who wants to know that it is up.
fn announce(
    vm: &'static Vm,
    node: &Node,
    connection: u32,
    controller: Term,
    peer: u64,
    setup: u64,
) {
    if let Some(net_kernel) = net_kernel(vm) {
        let mut heap = FragmentHeap::new();
        let tag = Term::atom(atom!("dist_ctrlr"));
        let message = heap.tuple(&[tag, controller, Term::atom(node.name), Term::pid(setup)]);
        signal::send_message(vm, Term::NONE, net_kernel, message);
    }
    Dist::of(vm).connection_up(vm, node, connection, peer);
}

/// Asks another process to feed the connection; the caller gets `{Ref, Handle}`.
fn agree(p: &mut Process, node: &Arc<Node>, pid: u64, peer: u64) -> BifResult {
    let reference = p.vm.next_ref();
    let (setup, node) = (p.id(), node.clone());
    let call: signal::Call = Box::new(move |vm, process| {
        let connection = process.and_then(|process| connect_process(process, &node, peer, setup));
        let mut heap = FragmentHeap::new();
        let result =
            connection.map_or(BADARG, |connection| handle(node.name, connection, &mut heap));
        let reference = reference.to_term(&mut heap);
        let message = heap.tuple(&[reference, result]);
        signal::send_message(vm, Term::NONE, setup, message);
    });
    if p.vm.processes.get(pid).is_none() {
        return Ok(BADARG);
    }
    signal::send_call(p.vm, pid, call);
    let reference = reference.to_term(&mut p.heap);
    Ok(p.tuple(&[Term::atom(atom!("message")), reference]))
}

#[bif("erts_internal:new_connection/1")]
fn new_connection(p: &mut Process, name: Term) -> BifResult {
    let name = node_name(name).filter(|&name| name != p.vm.node().name).ok_or(BifExit::BADARG)?;
    let dist = Dist::of(p.vm);
    let connection = dist.set_up(&dist.node(p.vm, name));
    Ok(handle(name, connection, p))
}

#[bif("erts_internal:abort_pending_connection/2")]
fn abort_pending_connection(p: &mut Process, name: Term, handle: Term) -> BifResult {
    let (node, connection) = of_handle(p.vm, handle).ok_or(BifExit::BADARG)?;
    if name.as_atom() != Some(node.name) {
        return Err(BifExit::BADARG);
    }
    let status = {
        let state = node.state.lock();
        (state.connection == connection).then_some(state.status)
    };
    match status {
        Some(Status::Up) => return Ok(FALSE),
        Some(Status::Pending) => drop(node.over(p.vm, connection)),
        Some(Status::Idle) | None => {}
    }
    Ok(TRUE)
}

#[bif("erts_internal:get_dflags/0")]
fn get_dflags(p: &mut Process) -> BifResult {
    let all = flags::capabilities(p.vm.release());
    let numbers = [all.default, all.mandatory, all.addable, all.rejectable, all.strict_order];
    let mut elements = vec![Term::atom(atom!("erts_dflags"))];
    elements.extend(numbers.map(|number| p.uint(number)));
    Ok(p.tuple(&elements))
}

#[bif("erts_internal:get_creation/0")]
fn get_creation(p: &mut Process) -> BifResult {
    Ok(match p.vm.node().creation {
        0 => Term::atom(am::UNDEFINED),
        creation => Term::small(i64::from(creation)),
    })
}

/// The node whose connection the process feeds, if the handle is that of the connection.
fn own(p: &Process, handle: Term) -> Result<(Arc<Node>, u32), BifExit> {
    if !p.extra.as_ref().is_some_and(|extra| extra.controls_connections) {
        return Err(BifExit::NOTSUP);
    }
    let (node, connection) = of_handle(p.vm, handle).ok_or(BifExit::BADARG)?;
    let is_own = {
        let state = node.state.lock();
        state.connection == connection && state.controller == Some(Controller::Process(p.id()))
    };
    if is_own { Ok((node, connection)) } else { Err(BifExit::BADARG) }
}

#[bif("erlang:dist_get_stat/1")]
fn dist_get_stat(p: &mut Process, handle: Term) -> BifResult {
    let (node, connection) = of_handle(p.vm, handle).ok_or(BifExit::BADARG)?;
    let waiting = {
        let state = node.state.lock();
        if state.connection != connection {
            return Err(BifExit::BADARG);
        }
        state.output.bytes() as u64
    };
    let packets_in = p.uint(node.packets_in.load(Ordering::Relaxed));
    let packets_out = p.uint(node.packets_out.load(Ordering::Relaxed));
    let waiting = p.uint(waiting);
    Ok(p.tuple(&[OK, packets_in, packets_out, waiting]))
}

#[bif("erlang:dist_ctrl_input_handler/2")]
fn dist_ctrl_input_handler(p: &mut Process, handle: Term, pid: Term) -> BifResult {
    let (node, _) = own(p, handle)?;
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    node.state.lock().input_handler = Some(pid);
    Ok(OK)
}

#[bif("erlang:dist_ctrl_put_data/2")]
fn dist_ctrl_put_data(p: &mut Process, handle: Term, data: Term) -> BifResult {
    let (node, connection) = of_handle(p.vm, handle).ok_or(BifExit::BADARG)?;
    let handler = node.state.lock().input_handler;
    if handler != Some(p.id()) {
        return Err(BifExit::NOTSUP);
    }
    let vm = p.vm;
    let taken = match data.as_bits().filter(|bits| bits.is_binary()) {
        Some(bits) => node.take(vm, connection, &bits.to_bytes()),
        None => node.take(vm, connection, &iodata(data).ok_or(BifExit::BADARG)?),
    };
    if !taken {
        let controller = node.state.lock().controller;
        if let Some(controller) = controller {
            nodes::close(vm, controller, Term::atom(am::KILLED));
        }
    }
    p.bump_reductions(5);
    Ok(OK)
}

#[bif("erlang:dist_ctrl_get_data/1")]
fn dist_ctrl_get_data(p: &mut Process, handle: Term) -> BifResult {
    let (node, connection) = own(p, handle)?;
    let Some(packet) = node.next_packet(p.vm, connection) else { return Ok(Term::atom(am::NONE)) };
    let gets_size = node.state.lock().gets_size;
    let size = packet.bytes() - Packet::LENGTH;
    p.bump_reductions(size / 256);
    let mut parts = vec![p.binary(&packet.head[Packet::LENGTH..])];
    if let Some((body, range)) = packet.part {
        parts.push(p.binary(&(*body).as_ref()[range]));
    }
    let data = p.list(&parts);
    Ok(if gets_size { p.tuple(&[Term::small(size as i64), data]) } else { data })
}

#[bif("erlang:dist_ctrl_get_data_notification/1")]
fn dist_ctrl_get_data_notification(p: &mut Process, handle: Term) -> BifResult {
    let (node, _) = own(p, handle)?;
    node.state.lock().wants_notice = true;
    node.notify(p.vm);
    Ok(OK)
}

#[bif("erlang:dist_ctrl_set_opt/3")]
fn dist_ctrl_set_opt(p: &mut Process, handle: Term, option: Term, value: Term) -> BifResult {
    let (node, _) = own(p, handle)?;
    let value = value
        .as_bool()
        .filter(|_| option == Term::atom(atom!("get_size")))
        .ok_or(BifExit::BADARG)?;
    let before = std::mem::replace(&mut node.state.lock().gets_size, value);
    Ok(Term::bool(before))
}

#[bif("erlang:dist_ctrl_get_opt/2")]
fn dist_ctrl_get_opt(p: &mut Process, handle: Term, option: Term) -> BifResult {
    let (node, _) = own(p, handle)?;
    if option != Term::atom(atom!("get_size")) {
        return Err(BifExit::BADARG);
    }
    let gets_size = node.state.lock().gets_size;
    Ok(Term::bool(gets_size))
}

// Nodes.

/// A node, of which kind, and the number of its connection.
type Listed = (Atom, Atom, Option<u32>);

fn listed(vm: &'static Vm, kinds: Term) -> Option<Vec<Listed>> {
    let kinds = kinds.list_to_vec().filter(|_| !kinds.is_atom()).unwrap_or_else(|| vec![kinds]);
    let (mut visible, mut hidden, mut known, mut this) = (false, false, false, false);
    for kind in kinds {
        match kind.as_atom()?.name() {
            "visible" => visible = true,
            "hidden" => hidden = true,
            "known" => (visible, hidden, known, this) = (true, true, true, true),
            "this" => this = true,
            "connected" => (visible, hidden) = (true, true),
            _ => return None,
        }
    }
    let (now_ns, kept_ns) = (vm.clock.since_start_ns(), Dist::of(vm).kept_ns(vm));
    let mut all = Vec::new();
    if this {
        all.push((vm.node().name, atom!("this"), None));
    }
    for node in Dist::of(vm).all() {
        let (status, peer, connection) = {
            let state = node.state.lock();
            (state.status, state.flags, state.connection)
        };
        let is_visible = peer & flags::PUBLISHED != 0;
        let (wanted, kind, connection) = match status {
            Status::Up if is_visible => (visible, atom!("visible"), Some(connection)),
            Status::Up => (hidden, atom!("hidden"), Some(connection)),
            Status::Pending | Status::Idle => {
                let is_remembered = known && !node.is_forgettable(now_ns, kept_ns);
                (is_remembered && node.name != vm.node().name, atom!("known"), None)
            }
        };
        if wanted {
            all.push((node.name, kind, connection));
        }
    }
    Some(all)
}

/// The nodes of these kinds. Those that are known are also the nodes of all pids, ports and
/// references that there are, which takes a question to every process.
fn all_listed(p: &mut Process, kinds: Term) -> Result<Vec<Listed>, BifExit> {
    let asked = if p.bif_state.is_none() {
        listed(p.vm, kinds).ok_or(BifExit::BADARG)?
    } else {
        Vec::new()
    };
    let wants_known = kinds == Term::atom(atom!("known"))
        || kinds.list_to_vec().is_some_and(|kinds| kinds.contains(&Term::atom(atom!("known"))));
    let Some(&referred) = p.vm.referred_nodes.get().filter(|_| wants_known) else {
        return Ok(asked);
    };
    let referred = referred(p)?;
    let mut all = listed(p.vm, kinds).ok_or(BifExit::BADARG)?;
    let unlisted =
        referred.into_iter().filter(|&name| all.iter().all(|(listed, ..)| *listed != name));
    let unlisted: Vec<Listed> = unlisted.map(|name| (name, atom!("known"), None)).collect();
    all.extend(unlisted);
    Ok(all)
}

fn list_nodes(p: &mut Process, kinds: Term) -> BifResult {
    let all = all_listed(p, kinds)?;
    let names: Vec<Term> = all.iter().map(|(name, ..)| Term::atom(*name)).collect();
    Ok(p.list(&names))
}

#[bif("erlang:nodes/0")]
fn nodes_0(p: &mut Process) -> BifResult {
    list_nodes(p, Term::atom(atom!("visible")))
}

#[bif("erlang:nodes/1")]
fn nodes_1(p: &mut Process, kinds: Term) -> BifResult {
    list_nodes(p, kinds)
}

/// Nodes with what is asked of each: `connection_id`, `node_type`.
#[bif("erlang:nodes/2")]
fn nodes_2(p: &mut Process, kinds: Term, options: Term) -> BifResult {
    if !options.is_map() {
        return Err(BifExit::BADARG);
    }
    let all = all_listed(p, kinds)?;
    let (mut wants_id, mut wants_kind) = (false, false);
    for (key, value) in map::iter(options) {
        let value = value.as_bool().ok_or(BifExit::BADARG)?;
        match key.as_atom().map(Atom::name) {
            Some("connection_id") => wants_id = value,
            Some("node_type") => wants_kind = value,
            _ => return Err(BifExit::BADARG),
        }
    }
    let mut entries = Vec::with_capacity(all.len());
    for (name, kind, connection) in all {
        let mut pairs = Vec::new();
        if wants_id {
            pairs.push((Term::atom(atom!("connection_id")), connection_id(connection)));
        }
        if wants_kind {
            pairs.push((Term::atom(atom!("node_type")), Term::atom(kind)));
        }
        let info = map::from_pairs(&mut p.heap, &pairs);
        entries.push(p.tuple(&[Term::atom(name), info]));
    }
    Ok(p.list(&entries))
}

#[bif("erlang:monitor_node/2")]
fn monitor_node_2(p: &mut Process, node: Term, on: Term) -> BifResult {
    monitor_node(p, node, on, Term::NIL)
}

#[bif("erlang:monitor_node/3")]
fn monitor_node_3(p: &mut Process, node: Term, on: Term, options: Term) -> BifResult {
    monitor_node(p, node, on, options)
}

fn monitor_node(p: &mut Process, name: Term, on: Term, options: Term) -> BifResult {
    let passive = Term::atom(atom!("allow_passive_connect"));
    let given = options.list_to_vec().filter(|given| given.iter().all(|&option| option == passive));
    let given = given.ok_or_else(|| BifExit::Caused(atom!("badopt")))?;
    let (Some(node), Some(on)) = (name.as_atom(), on.as_bool()) else {
        return Err(BifExit::BADARG);
    };
    if node != am::NONODE && !p.vm.is_alive() {
        return Err(BifExit::Error(Term::atom(atom!("notalive"))));
    }
    if !on {
        if let Some(remote) = &mut p.relations.remote
            && let Some(at) = remote.nodes.iter().rposition(|(name, ..)| *name == node)
        {
            remote.nodes[at].2 -= 1;
            if remote.nodes[at].2 == 0 {
                remote.nodes.remove(at);
            }
        }
        return Ok(TRUE);
    }
    if node == p.vm.node().name {
        return Ok(TRUE);
    }
    let how = How { connect: given.is_empty(), ..How::ORDINARY };
    match p.signal_remote(Term::NIL, node, &RemoteSignal::MonitorNode, how) {
        Sent::On(connection) => {
            let remote = p.relations.remote();
            remote.connected(node, connection);
            match remote.nodes.iter_mut().find(|(name, at, _)| (*name, *at) == (node, connection)) {
                Some((_, _, count)) => *count += 1,
                None => remote.nodes.push((node, connection, 1)),
            }
            Ok(TRUE)
        }
        Sent::NotConnected | Sent::WouldSuspend | Sent::TooLarge => {
            let function = Mfa { module: am::ERLANG, function: atom!("dmonitor_node"), arity: 3 };
            let export = p.vm.code.export(function);
            p.trap(export, &[name, TRUE, options])
        }
    }
}

/// Whether text beyond Latin-1 can be sent to the node of a pid.
#[bif("net_kernel:dflag_unicode_io/1")]
fn dflag_unicode_io(p: &mut Process, pid: Term) -> BifResult {
    if pid.is_pid() {
        return Ok(TRUE);
    }
    let pid = RemotePid::of(pid).ok_or(BifExit::BADARG)?;
    let peer = Dist::of(p.vm).find(pid.node).map_or(0, |node| node.state.lock().flags);
    Ok(Term::bool(peer & flags::UNICODE_IO != 0 || pid.node == p.vm.node().name))
}
