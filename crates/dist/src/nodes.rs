//! The nodes that this one knows, and being alive: having a name, for as long as `net_kernel` runs.

use crate::follow::{Change, Followers};
use crate::node::{Controller, KEPT_NS, Node, Status};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use swarmrt_machine::process::links::Tag;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::{Alloc, Atom, AtomMap, FragmentHeap, NodeInfo, Term, am, atom};

/// The process that decides about connections.
pub fn net_kernel(vm: &Vm) -> Option<u64> {
    vm.names.whereis(atom!("net_kernel")).and_then(Term::as_pid)
}

/// Nodes from which on those that nothing is left of are forgotten.
const KNOWN_MAX: usize = 1000;

#[derive(Default)]
struct Alive {
    /// The process that gave this node its name.
    net_kernel: Option<u64>,
    /// Connections that are up.
    up: usize,
    /// Why the node gives up its name, once all connections are closed.
    stopping: Option<Tag>,
}

/// What a machine knows of distribution; an extension of [`Vm`].
#[derive(Default)]
pub struct Dist {
    nodes: RwLock<AtomMap<Arc<Node>>>,
    alive: Mutex<Alive>,
    last_connection: AtomicU32,
    pub followers: Followers,
    /// How long idle nodes are kept, where a test has said so.
    kept_ns: Mutex<Option<u64>>,
}

/// Whether this node has a name; `Vm::is_alive` is true of one that awaits its name, too.
pub fn has_name() -> bool {
    NodeInfo::this().name != am::NONODE
}

impl Dist {
    /// The machine's, made on the first call.
    pub fn of(vm: &'static Vm) -> &'static Dist {
        vm.extension::<Dist>()
    }
    /// How long idle nodes are kept: `+zdntgc` in seconds, or what a test has said.
    pub fn kept_ns(&self, vm: &Vm) -> u64 {
        let said = *self.kept_ns.lock();
        said.unwrap_or_else(|| {
            let seconds = vm.config.flag("+zdntgc").and_then(|seconds| seconds.parse::<u32>().ok());
            seconds.map_or(KEPT_NS, |seconds| u64::from(seconds) * 1_000_000_000)
        })
    }
    /// Has idle nodes kept so long; `None`: as long as without a test.
    pub fn set_kept_ns(&self, kept_ns: Option<u64>) {
        *self.kept_ns.lock() = kept_ns;
    }
    /// The node with this name, if it is known.
    pub fn find(&self, name: Atom) -> Option<Arc<Node>> {
        self.nodes.read().get(&name).cloned()
    }
    /// The node with this name, known from now on. Nodes that there has been no connection to for
    /// long are forgotten when there are many.
    pub fn node(&self, vm: &Vm, name: Atom) -> Arc<Node> {
        if let Some(node) = self.find(name) {
            return node;
        }
        let now_ns = vm.clock.since_start_ns();
        let made = || Arc::new(Node::new(name, vm.config.busy_connection_bytes(), now_ns));
        let mut nodes = self.nodes.write();
        if nodes.len() >= KNOWN_MAX && !nodes.contains_key(&name) {
            forget_idle(&mut nodes, now_ns, self.kept_ns(vm));
        }
        nodes.entry(name).or_insert_with(made).clone()
    }
    /// All other nodes that are known.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.nodes.read().values().cloned().collect()
    }

    /// Sets up a connection to an idle node. Returns its number, or that of the connection that
    /// there is.
    pub fn set_up(&self, node: &Node) -> u32 {
        self.try_set_up(node).unwrap_or_else(|there| there)
    }

    /// # Errors
    /// The number of the connection that there is already.
    fn try_set_up(&self, node: &Node) -> Result<u32, u32> {
        let mut state = node.state.lock();
        if state.status != Status::Idle {
            return Err(state.connection);
        }
        state.status = Status::Pending;
        state.connection = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(state.connection)
    }

    /// Asks `net_kernel` for a connection to an idle node. `false` when there is nobody to ask.
    pub fn auto_connect(&self, vm: &'static Vm, node: &Node) -> bool {
        let Some(net_kernel) = net_kernel(vm) else {
            return false;
        };
        if let Ok(connection) = self.try_set_up(node) {
            let mut heap = FragmentHeap::new();
            let handle = handle(node.name, connection, &mut heap);
            let message = [Term::atom(atom!("auto_connect")), Term::atom(node.name), handle];
            let message = heap.tuple(&message);
            if !signal::send_message(vm, Term::NONE, net_kernel, message) {
                node.over(vm, connection);
                return false;
            }
        }
        true
    }

    /// A connection is up.
    pub fn connection_up(&self, vm: &'static Vm, node: &Node, connection: u32, flags: u64) {
        self.alive.lock().up += 1;
        self.followers.tell(vm, &Change::up(node.name, Some(connection), flags));
    }

    /// A connection is over.
    pub fn connection_over(&self, vm: &'static Vm, node: &Node, connection: u32, reason: Term) {
        let Some(over) = node.over(vm, connection).filter(|over| over.was_up) else { return };
        self.followers.tell(vm, &Change::down(node.name, Some(connection), over.flags, reason));
        let mut alive = self.alive.lock();
        alive.up -= 1;
        self.stop_if_last(vm, &mut alive);
    }

    /// Gives the node its name. `false` when it has one.
    pub fn start(&self, vm: &'static Vm, p: &mut Process, this: NodeInfo, net_kernel: u64) -> bool {
        let mut alive = self.alive.lock();
        if has_name() || alive.net_kernel.is_some() {
            return false;
        }
        alive.net_kernel = Some(net_kernel);
        alive.stopping = None;
        this.set_this();
        drop(alive);
        if p.id() == net_kernel {
            p.extra().controls_connections = true;
        } else {
            let mark: signal::Call = Box::new(move |vm, process| match process {
                Some(process) => process.extra().controls_connections = true,
                None => Dist::of(vm).stop(vm, Term::atom(am::NOPROC)),
            });
            signal::send_call(vm, net_kernel, mark);
        }
        self.followers.tell(vm, &Change::up(this.name, None, crate::flags::PUBLISHED));
        true
    }

    /// Whether this process gave the node its name.
    pub fn is_net_kernel(&self, pid: u64) -> bool {
        self.alive.lock().net_kernel == Some(pid)
    }

    /// `net_kernel` has ended: closes all connections. With the last one the node loses its name.
    fn stop(&self, vm: &'static Vm, reason: Term) {
        let no_network = Term::atom(atom!("no_network"));
        let terminated = Term::atom(atom!("net_kernel_terminated"));
        let reason = if reason == no_network { no_network } else { terminated };
        {
            let mut alive = self.alive.lock();
            alive.net_kernel = None;
            alive.stopping = Some(Tag::new(reason));
            self.stop_if_last(vm, &mut alive);
        }
        for node in self.all() {
            let (status, connection, controller) = {
                let state = node.state.lock();
                (state.status, state.connection, state.controller)
            };
            match controller {
                Some(controller) => close(vm, controller, reason),
                None if status == Status::Pending => drop(node.over(vm, connection)),
                None => {}
            }
        }
    }

    fn stop_if_last(&self, vm: &'static Vm, alive: &mut Alive) {
        if alive.up > 0 {
            return;
        }
        let Some(reason) = alive.stopping.take() else { return };
        let this = NodeInfo::this();
        NodeInfo { name: am::NONODE, creation: 0 }.set_this();
        let change = Change::down(this.name, None, crate::flags::PUBLISHED, reason.term());
        self.followers.tell(vm, &change);
    }

    /// A process has ended that fed a connection, or is `net_kernel`.
    pub fn process_ended(&self, vm: &'static Vm, pid: u64, reason: Term) {
        if self.is_net_kernel(pid) {
            self.stop(vm, reason);
        }
        for node in self.all() {
            let connection = {
                let state = node.state.lock();
                let is_its = state.controller == Some(Controller::Process(pid));
                is_its.then_some(state.connection)
            };
            if let Some(connection) = connection {
                self.connection_over(vm, &node, connection, controller_reason(reason));
            }
        }
    }
}

/// Takes out the nodes that nothing is left of. The table is locked, so that nobody finds them now.
fn forget_idle(nodes: &mut AtomMap<Arc<Node>>, now_ns: u64, kept_ns: u64) {
    // Whoever uses a node holds it.
    nodes.retain(|_, node| Arc::strong_count(node) > 1 || !node.is_forgettable(now_ns, kept_ns));
}

/// Why a connection is over whose controlling process has ended: supervised ones end with
/// `{shutdown, Reason}`.
fn controller_reason(reason: Term) -> Term {
    if reason == Term::atom(am::NORMAL) {
        return Term::atom(atom!("connection_closed"));
    }
    match reason.as_tuple() {
        Some(pair) if pair.arity() == 2 && pair.get(0) == Term::atom(atom!("shutdown")) => {
            pair.get(1)
        }
        _ => reason,
    }
}

/// Ends whoever feeds a connection.
pub fn close(vm: &'static Vm, controller: Controller, reason: Term) {
    match controller {
        Controller::Port(port) => {
            if let Some(ports) = vm.ports() {
                ports.close(vm, port, reason);
            }
        }
        Controller::Process(pid) => {
            signal::send_exit(vm, Term::NONE, pid, Term::atom(am::KILL));
        }
    }
}

/// The number of a connection as programs see it.
pub fn connection_id(connection: Option<u32>) -> Term {
    connection.map_or(Term::atom(am::UNDEFINED), |id| Term::small(i64::from(id)))
}

/// An unsigned integer of up to 64 bits.
pub fn u64_of(term: Term) -> Option<u64> {
    match term.as_small() {
        Some(number) => u64::try_from(number).ok(),
        None => term
            .as_big()
            .filter(|big| !big.is_negative() && big.digits().len() == 1)
            .map(|big| big.digits()[0]),
    }
}

/// What stands for a connection in OTP's code: `{Number, Node}`.
pub fn handle<A: Alloc>(node: Atom, connection: u32, heap: &mut A) -> Term {
    heap.tuple(&[Term::small(i64::from(connection)), Term::atom(node)])
}

/// The node and the number of the connection that a handle stands for.
pub fn of_handle(vm: &'static Vm, handle: Term) -> Option<(Arc<Node>, u32)> {
    let pair = handle.as_tuple().filter(|pair| pair.arity() == 2)?;
    let connection = u32::try_from(pair.get(0).as_small()?).ok()?;
    Some((Dist::of(vm).find(pair.get(1).as_atom()?)?, connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_forgotten_when_they_are_idle_for_a_minute_and_nobody_uses_them() {
        const SECOND_NS: u64 = 1_000_000_000;
        let names = [atom!("idle@a"), atom!("recent@a"), atom!("used@a"), atom!("pending@a")];
        let node = |name, since| Arc::new(Node::new(name, 1 << 20, since * SECOND_NS));
        let made = [0, 10, 0, 0].into_iter().zip(names).map(|(since, name)| node(name, since));
        let mut nodes: AtomMap<Arc<Node>> = names.into_iter().zip(made).collect();
        let used = nodes[&names[2]].clone();
        nodes[&names[3]].state.lock().status = Status::Pending;
        forget_idle(&mut nodes, 61 * SECOND_NS, KEPT_NS);
        let kept = names.map(|name| nodes.contains_key(&name));
        assert_eq!(kept, [false, true, true, true]);
        drop(used);
        forget_idle(&mut nodes, 71 * SECOND_NS, KEPT_NS);
        assert_eq!(names.map(|name| nodes.contains_key(&name)), [false, false, false, true]);
    }
}
