//! Signals of this node's processes on their way to other nodes.

use crate::control::{self, Origin};
use crate::flags;
use crate::node::{Controller, Forms, Node, Status};
use crate::nodes::{Dist, has_name};
use crate::packet::Encoded;
use std::sync::Arc;
use swarmrt_machine::process::REDUCTIONS_PER_TURN;
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::signal::remote::{
    Busy, Following, How, KnownNode, Remote, RemoteSignal, Sent,
};
use swarmrt_machine::{Process, Vm};
use swarmrt_term::{Atom, FragmentHeap, Term};

/// What `machine` calls to reach other nodes: its implementation of [`Remote`].
pub struct Host {
    pub vm: &'static Vm,
}

/// The connection that a signal is to go over.
struct Route {
    status: Status,
    connection: u32,
    flags: u64,
}

impl Host {
    fn dist(&self) -> &'static Dist {
        Dist::of(self.vm)
    }

    /// The connection to a node, which is set up if need be and wanted.
    fn route(&self, node: &Node, sender: Term, how: How) -> Result<Route, Sent> {
        loop {
            {
                let state = node.state.lock();
                if state.status != Status::Idle {
                    if how.busy == Busy::Refuse && state.output.is_busy(sender) {
                        return Err(Sent::WouldSuspend);
                    }
                    let (status, connection, flags) = (state.status, state.connection, state.flags);
                    return Ok(Route { status, connection, flags });
                }
            }
            if !how.connect || !self.dist().auto_connect(self.vm, node) {
                return Err(Sent::NotConnected);
            }
        }
    }

    fn send(
        &self,
        p: &mut Process,
        node: &Arc<Node>,
        signal: &RemoteSignal,
        token: Option<Term>,
        how: How,
    ) -> Sent {
        let relates = signal.relates().then(|| p.id());
        loop {
            let route = match self.route(node, p.pid(), how) {
                Ok(route) => route,
                Err(refused) => return refused,
            };
            let mut heap = FragmentHeap::new();
            let origin =
                Origin { from: p.pid(), leader: p.group_leader, token, priority: how.priority };
            let message = control::of(signal, origin, route.flags, &mut heap);
            let is_taken = match message {
                _ if route.status == Status::Pending
                    && !matches!(signal, RemoteSignal::MonitorNode) =>
                {
                    let altact = control::of(signal, origin, flags::ALTACT_SIG, &mut heap);
                    let altact = altact.filter(control::Control::is_altact);
                    let forms = Forms { plain: message, altact };
                    if forms.is_too_large() {
                        return Sent::TooLarge;
                    }
                    node.wait(p.pid(), &forms, relates, route.connection)
                }
                None if relates.is_none() => return Sent::On(route.connection),
                None => {
                    if node.relate(p.id(), route.connection) {
                        return Sent::On(route.connection);
                    }
                    continue;
                }
                Some(message) => {
                    let encoded = Encoded::of(message.control, message.payload, route.flags);
                    let Some(encoded) = encoded else {
                        return self.too_large(node, signal, route.connection);
                    };
                    p.bump_reductions(encoded.bytes() / 64);
                    node.enqueue(p.pid(), encoded, relates, route.connection)
                }
            };
            // What has changed meanwhile is looked at again.
            if !is_taken {
                continue;
            }
            if route.status == Status::Up {
                node.notify_in_turn(self.vm);
                self.suspend_if_busy(p, node, how);
            }
            return Sent::On(route.connection);
        }
    }

    /// A signal that no message can hold is not sent; an exit signal or a `'DOWN'` that the peer
    /// has to get ends the connection, as in OTP.
    fn too_large(&self, node: &Node, signal: &RemoteSignal, connection: u32) -> Sent {
        if matches!(signal, RemoteSignal::LinkExit { .. } | RemoteSignal::Down { .. }) {
            node.close(self.vm, connection);
        }
        Sent::TooLarge
    }

    /// Has the sender wait until there is less to be written.
    fn suspend_if_busy(&self, p: &mut Process, node: &Node, how: How) {
        let is_asynchronous = p.extra.as_ref().is_some_and(|extra| extra.async_dist);
        if how.busy != Busy::Suspend || is_asynchronous || p.end_waits_for_connection() {
            return;
        }
        let controller = {
            let mut state = node.state.lock();
            if !state.output.is_busy(p.pid()) {
                return;
            }
            let Some(waiter) = p.wait_for_connection() else { return };
            state.output.suspend(waiter);
            state.controller
        };
        p.bump_reductions(REDUCTIONS_PER_TURN as usize);
        swarmrt_machine::vm::system_monitor::busy_connection(
            p,
            controller.map(crate::node::Controller::term),
        );
    }
}

impl Remote for Host {
    fn signal(
        &self,
        p: &mut Process,
        node: Atom,
        signal: &RemoteSignal,
        token: Option<Term>,
        how: How,
    ) -> Sent {
        if !has_name() || node == self.vm.node().name {
            return Sent::NotConnected;
        }
        let node = self.dist().node(self.vm, node);
        self.send(p, &node, signal, token, how)
    }

    fn relate(&self, pid: u64, node: Atom, connection: u32) -> bool {
        self.dist().find(node).is_some_and(|node| node.relate(pid, connection))
    }
    fn unrelate(&self, pid: u64, node: Atom, connection: u32) {
        if let Some(node) = self.dist().find(node) {
            node.unrelate(pid, connection);
        }
    }
    fn unfollow(&self, pid: u64) {
        self.dist().followers.remove(pid);
    }
    fn orphan(&self, node: Atom, connection: u32, reference: RefValue, reason: Term) {
        if let Some(node) = self.dist().find(node) {
            node.orphan(connection, reference, reason);
        }
    }
    fn finish_sending(&self, p: &mut Process) {
        for node in self.dist().all() {
            node.state.lock().output.wait_for_own(p);
        }
    }
    fn process_ended(&self, p: &Process, reason: Term) {
        self.dist().process_ended(self.vm, p.id(), reason);
    }
    fn monitor_nodes(&self, p: &mut Process, on: bool, options: Term) -> Option<u32> {
        self.dist().followers.set(p, on, options)
    }
    fn following(&self) -> Vec<Following> {
        self.dist().followers.all()
    }
    fn creation_of(&self, node: Atom) -> u32 {
        let known = self.dist().all().into_iter().find(|known| known.name == node);
        known.map_or(0, |node| node.state.lock().creation)
    }
    fn remove_flags(&self, removed: u64) -> bool {
        let is_allowed = removed & flags::mandatory(self.vm.release()) == 0;
        if is_allowed {
            flags::remove(removed);
        }
        is_allowed
    }
    fn keep_idle_nodes(&self, ns: Option<u64>) {
        self.dist().set_kept_ns(ns);
    }
    fn known(&self) -> Vec<KnownNode> {
        let this = self.vm.node().name;
        let nodes = self.dist().all();
        let known = nodes.iter().filter(|node| node.name != this).map(|node| {
            let state = node.state.lock();
            KnownNode {
                name: node.name,
                creation: state.creation,
                controller: state.controller.map(Controller::term),
                is_visible: state.flags & flags::PUBLISHED != 0,
            }
        });
        known.collect()
    }
}
