//! Other nodes, as processes of this one see them: identifiers of things there, the signals that go
//! there, what a process keeps of its relations to them, and what the crate that keeps the
//! connections has to provide.
//!
//! Whatever a process has to do with another node belongs to one connection to it, told apart by a
//! number. Both ends of a relation are in the processes that have it; the connection knows only
//! which processes have any, and tells them when it is lost. A process is entered in the
//! connection's list ([`Remote::relate`]) before it keeps the relation, so that it is told for
//! certain.

use crate::process::Process;
use crate::process::few::Few;
use crate::process::links::{AliasMode, RefValue, Relations, Tag, Watched};
use crate::vm::Vm;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use swarmrt_term::node::NodeInfo;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Subtag, Term, am, atom};

/// A process of another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RemotePid {
    pub node: Atom,
    pub creation: u32,
    pub number: u32,
    pub serial: u32,
}

impl RemotePid {
    /// The process that a pid of another node stands for; `None` for every other term.
    pub fn of(term: Term) -> Option<RemotePid> {
        let external =
            term.as_external().filter(|_| term.boxed_subtag() == Some(Subtag::ExternalPid))?;
        let numbers = external.numbers();
        let (number, serial) = (numbers[0] as u32, numbers[1] as u32);
        Some(RemotePid { node: external.node(), creation: external.creation(), number, serial })
    }
    /// The pid, in a new external term.
    pub fn to_term<A: Alloc + ?Sized>(self, heap: &mut A) -> Term {
        let numbers = [u64::from(self.number), u64::from(self.serial)];
        heap.external(Subtag::ExternalPid, self.node, self.creation, &numbers)
    }
}

/// Words of a reference of any node, at most.
pub const REF_NUMBERS_MAX: usize = 5;

/// A reference of another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RemoteRef {
    pub node: Atom,
    pub creation: u32,
    count: u8,
    numbers: [u32; REF_NUMBERS_MAX],
}

impl RemoteRef {
    /// The reference that a term of another node is; `None` for every other term.
    pub fn of(term: Term) -> Option<RemoteRef> {
        let external =
            term.as_external().filter(|_| term.boxed_subtag() == Some(Subtag::ExternalRef))?;
        let mut numbers = [0; REF_NUMBERS_MAX];
        let given = external.numbers();
        for (to, &from) in numbers.iter_mut().zip(given) {
            *to = from as u32;
        }
        let count = given.len().min(REF_NUMBERS_MAX) as u8;
        Some(RemoteRef { node: external.node(), creation: external.creation(), count, numbers })
    }
    /// The reference that a peer gave something: one of its own, or any other. `None` for what is no
    /// reference.
    pub fn of_any(term: Term) -> Option<RemoteRef> {
        let Some(own) = term.as_local_ref() else { return RemoteRef::of(term) };
        let (NodeInfo { name, creation }, [low, middle, high]) = (NodeInfo::this(), own.numbers());
        let numbers = [low, middle, high, 0, 0];
        Some(RemoteRef { node: name, creation, count: 3, numbers })
    }
    /// The reference, in a new external term.
    pub fn to_term<A: Alloc + ?Sized>(self, heap: &mut A) -> Term {
        let numbers = self.numbers.map(u64::from);
        heap.external(Subtag::ExternalRef, self.node, self.creation, &numbers[..self.count.into()])
    }
}

/// The receiver of a signal to another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RemoteTo {
    Pid(RemotePid),
    /// The process registered under this name.
    Name(Atom),
    Alias(RemoteRef),
}

/// A signal to another node. What it says of its sender is the pid of the sending process.
#[derive(Clone, Copy)]
pub enum RemoteSignal {
    Message {
        to: RemoteTo,
        message: Term,
    },
    /// `exit/2`, to a process or an alias.
    Exit {
        to: RemoteTo,
        reason: Term,
    },
    /// The sender, which is linked to the receiver, has ended.
    LinkExit {
        to: RemotePid,
        reason: Term,
    },
    Link {
        to: RemotePid,
    },
    /// The number comes back with the acknowledgement.
    Unlink {
        to: RemotePid,
        id: u64,
    },
    UnlinkAck {
        to: RemotePid,
        id: u64,
    },
    Monitor {
        to: RemoteTo,
        reference: RefValue,
    },
    Demonitor {
        to: RemoteTo,
        reference: RefValue,
    },
    /// The sender, which is monitored by the receiver (under a name, if one is given), has ended.
    Down {
        to: RemotePid,
        reference: RemoteRef,
        name: Option<Atom>,
        reason: Term,
    },
    GroupLeader {
        to: RemotePid,
        leader: Term,
    },
    SpawnRequest {
        reference: RefValue,
        mfa: (Atom, Atom),
        arguments: Term,
        options: Term,
    },
    /// The answer to the request of the receiver: the new process (the sender), or why there is
    /// none.
    SpawnReply {
        to: RemotePid,
        reference: RemoteRef,
        flags: u32,
        result: Term,
    },
    /// Nothing is sent: the sender only wants to be told when the connection is lost.
    MonitorNode,
}

impl RemoteSignal {
    /// Whether the sender is related to the other node from then on, so that it is told of a lost
    /// connection.
    pub fn relates(&self) -> bool {
        use RemoteSignal::{Link, Monitor, MonitorNode, SpawnRequest};
        matches!(self, Link { .. } | Monitor { .. } | MonitorNode | SpawnRequest { .. })
    }
}

/// How a signal is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Connect to the node where there is no connection.
    pub connect: bool,
    pub busy: Busy,
    pub priority: bool,
}

/// What to do with a signal while so much waits to be written on the connection that senders have
/// to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// Send, and suspend the sender.
    Suspend,
    /// Do not send.
    Refuse,
    /// Send all the same.
    Ignore,
}

impl How {
    /// As `erlang:send/2`: connects if need be, and suspends the sender on a busy connection.
    pub const ORDINARY: How = How { connect: true, busy: Busy::Suspend, priority: false };
    /// For a process that ends or that answers: neither connects nor waits.
    pub const PASSIVE: How = How { connect: false, busy: Busy::Ignore, priority: false };
}

/// The outcome of sending a signal to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, on the connection with this number.
    On(u32),
    /// There is no connection, and none is made.
    NotConnected,
    /// The connection is busy, and the sender does not want to wait.
    WouldSuspend,
    /// It was not sent: it has a binary of 4 GB or more, which messages have no place for.
    TooLarge,
}

/// A subscription to changes of the set of connected nodes.
pub struct Following {
    pub pid: u64,
    /// Which nodes, where the subscription says so.
    pub node_type: Option<Atom>,
    pub down_reason: bool,
    pub count: u32,
}

/// Another node.
#[derive(Clone, Copy, Debug)]
pub struct KnownNode {
    pub name: Atom,
    /// That of the last connection to it; 0 when there was none.
    pub creation: u32,
    /// The port or process that controls the connection, if there is one.
    pub controller: Option<Term>,
    /// Whether other nodes see it, while it is connected.
    pub is_visible: bool,
}

/// Keeps the connections to other nodes.
pub trait Remote: Send + Sync {
    /// Sends a signal of a process to another node. One that [relates](RemoteSignal::relates) the
    /// process to that node enters it in the connection's list.
    fn signal(
        &self,
        p: &mut Process,
        node: Atom,
        signal: &RemoteSignal,
        token: Option<Term>,
        how: How,
    ) -> Sent;
    /// Enters a process in the list of those who are told when this connection is lost. `false`
    /// when it is lost.
    fn relate(&self, pid: u64, node: Atom, connection: u32) -> bool;
    /// Takes a process out of that list.
    fn unrelate(&self, pid: u64, node: Atom, connection: u32);
    /// Forgets the subscriptions of a process that ends.
    fn unfollow(&self, pid: u64);
    /// The reason of a process's end, which has asked another node for a linked process and got no
    /// answer yet.
    fn orphan(&self, node: Atom, connection: u32, reference: RefValue, reason: Term);
    /// Keeps a process that ends until the large messages that it has sent are out, as in OTP.
    fn finish_sending(&self, p: &mut Process);
    /// A process has ended that [controls
    /// connections](crate::process::Extra::controls_connections).
    fn process_ended(&self, p: &Process, reason: Term);
    /// Subscribes a process to changes of the set of connected nodes, or ends its subscriptions
    /// with these options; how many there were. `None` for wrong options.
    fn monitor_nodes(&self, p: &mut Process, on: bool, options: Term) -> Option<u32>;
    /// All such subscriptions.
    fn following(&self) -> Vec<Following>;
    /// The creation of a node: that of the last connection to it; 0 when there was none.
    fn creation_of(&self, node: Atom) -> u32;
    /// Leaves these capabilities out of all handshakes from now on, for tests of what older nodes
    /// do. `false` for those that every node has to have.
    fn remove_flags(&self, flags: u64) -> bool;
    /// Has nodes without a connection forgotten so long after it, for tests; `None`: as long as without
    /// a test.
    fn keep_idle_nodes(&self, ns: Option<u64>);
    /// All other nodes that are known.
    fn known(&self) -> Vec<KnownNode>;
}

/// Bytes that several packets have parts of.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A packet on its way out.
pub struct Packet {
    /// Its length in four bytes, its head, and all of it where it is small.
    pub head: Vec<u8>,
    /// What follows: a part of a large message.
    pub part: Option<(Bytes, Range<usize>)>,
}

impl Packet {
    /// Bytes for the length.
    pub const LENGTH: usize = 4;

    /// Its size, with that of its length.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.part.as_ref().map_or(0, |(_, range)| range.len())
    }
}

/// One connection, as the port that feeds it sees it.
pub trait Channel: Send + Sync {
    /// A packet without its length. `false` when the connection has to be closed.
    fn input(&self, vm: &'static Vm, packet: &[u8]) -> bool;
    /// The next packet to be written.
    fn output(&self, vm: &'static Vm) -> Option<Packet>;
    /// The port is gone.
    fn closed(&self, vm: &'static Vm, reason: Term);
}

/// A port's connection.
pub type SharedChannel = Arc<dyn Channel>;

/// A link to a process of another node.
#[derive(Clone, Copy, Debug)]
pub struct RemoteLink {
    pub connection: u32,
    /// The number of an unlink operation that is not acknowledged yet: the link is not active then.
    pub unlinking: Option<u64>,
    /// The exit signal becomes a priority message.
    pub priority: bool,
}

impl RemoteLink {
    /// An active link over a connection, with an ordinary exit signal.
    pub fn new(connection: u32) -> RemoteLink {
        RemoteLink { connection, unlinking: None, priority: false }
    }
}

/// A process of another node that monitors one of this.
#[derive(Clone, Copy, Debug)]
pub struct RemoteWatcher {
    pub pid: RemotePid,
    /// The name that it monitors.
    pub name: Option<Atom>,
    pub connection: u32,
}

/// A request to another node to start a process, which is not answered yet.
pub struct SpawnRequest {
    pub node: Atom,
    pub connection: u32,
    pub reply_tag: Tag,
    pub on_success: bool,
    pub on_error: bool,
    pub link: bool,
    /// The exit signal of the link becomes a priority message.
    pub priority_link: bool,
    /// With the `tag` option.
    pub monitor: Option<Option<Tag>>,
    /// The message of the monitor becomes a priority message.
    pub priority_monitor: bool,
    /// What the reference becomes when there is a new process; nothing comes through it before.
    pub alias: Option<AliasMode>,
    pub reference: RefValue,
}

/// What a process has to do with other nodes. In order, so that what it does at its end is the same
/// each time.
#[derive(Default)]
pub struct RemoteRelations {
    pub links: BTreeMap<RemotePid, RemoteLink>,
    pub monitored_by: BTreeMap<RemoteRef, RemoteWatcher>,
    /// By the number of their reference.
    pub spawn_requests: Few<SpawnRequest>,
    /// `monitor_node/2`: node, connection, how often.
    pub nodes: Vec<(Atom, u32, u32)>,
    /// Whether the process follows changes of the set of connected nodes.
    pub follows_nodes: bool,
    /// The connections that have the process in their lists.
    pub connections: Vec<(Atom, u32)>,
    /// The process of another node that asked for this one.
    pub parent: Option<RemotePid>,
    next_unlink: u64,
}

impl RemoteRelations {
    /// Notes that a connection has the process in its list.
    pub fn connected(&mut self, node: Atom, connection: u32) {
        if !self.connections.contains(&(node, connection)) {
            self.connections.push((node, connection));
        }
    }
    fn is_linked(&self, pid: RemotePid) -> bool {
        self.links.get(&pid).is_some_and(|link| link.unlinking.is_none())
    }
    /// Whether the exit signal of any link, or the message of a monitor that is asked for, becomes
    /// a priority message.
    pub fn takes_priority_messages(&self) -> bool {
        self.links.values().any(|link| link.priority && link.unlinking.is_none())
            || self.spawn_requests.values().any(|asked| asked.priority_monitor)
    }
}

impl Relations {
    /// The relations to other nodes, made when they are first asked for.
    pub fn remote(&mut self) -> &mut RemoteRelations {
        self.remote.get_or_insert_default()
    }
    /// Whether there is an active link to a process of another node.
    pub fn is_linked_to(&self, pid: RemotePid) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.is_linked(pid))
    }
    /// Whether the exit signal of an active link to a process of another node becomes a priority
    /// message.
    pub(crate) fn is_priority_link_to(&self, pid: RemotePid) -> bool {
        let link = self.remote.as_ref().and_then(|remote| remote.links.get(&pid));
        link.is_some_and(|link| link.priority && link.unlinking.is_none())
    }
    /// Sets whether it does.
    pub(crate) fn set_priority_link_to(&mut self, pid: RemotePid, priority: bool) {
        if let Some(link) = self.remote.as_mut().and_then(|remote| remote.links.get_mut(&pid)) {
            link.priority = priority;
        }
    }
    /// Takes a link to a process of another node out; whether it was active.
    pub fn drop_link_to(&mut self, pid: RemotePid) -> bool {
        let link = self.remote.as_mut().and_then(|remote| remote.links.remove(&pid));
        link.is_some_and(|link| link.unlinking.is_none())
    }
}

impl Process {
    /// Links to a process of another node. `false` when there is no connection, nor will be.
    pub fn link_remote(&mut self, pid: RemotePid) -> bool {
        if self.relations.is_linked_to(pid) {
            return true;
        }
        let link = RemoteSignal::Link { to: pid };
        let Sent::On(connection) = self.signal_remote(Term::NIL, pid.node, &link, How::ORDINARY)
        else {
            return false;
        };
        let remote = self.relations.remote();
        remote.connected(pid.node, connection);
        remote.links.insert(pid, RemoteLink::new(connection));
        true
    }

    /// Takes a link to a process of another node back; whether there was one.
    pub fn unlink_remote(&mut self, pid: RemotePid) -> bool {
        if !self.relations.is_linked_to(pid) {
            return false;
        }
        let remote = self.relations.remote();
        remote.next_unlink += 1;
        let id = remote.next_unlink;
        let Some(link) = remote.links.get_mut(&pid) else { return false };
        link.unlinking = Some(id);
        let connection = link.connection;
        let how = How { connect: false, ..How::ORDINARY };
        let unlink = RemoteSignal::Unlink { to: pid, id };
        if self.signal_remote(Term::NIL, pid.node, &unlink, how) != Sent::On(connection) {
            // The other side has been told, or is gone.
            self.relations.drop_link_to(pid);
        }
        true
    }

    /// A process of another node has linked to this one.
    pub fn linked_by_remote(&mut self, pid: RemotePid, connection: u32) {
        let Some(remote) = self.vm.remote() else { return };
        if !remote.relate(self.id(), pid.node, connection) {
            let mut heap = FragmentHeap::new();
            let from = pid.to_term(&mut heap);
            return self.exit_signal(from, Term::atom(am::NOCONNECTION), true, false, None);
        }
        let relations = self.relations.remote();
        relations.connected(pid.node, connection);
        relations.links.entry(pid).or_insert(RemoteLink::new(connection));
    }

    /// A process of another node takes its link back.
    pub fn unlinked_by_remote(&mut self, pid: RemotePid, id: u64) {
        if self.relations.is_linked_to(pid) {
            self.relations.drop_link_to(pid);
        }
        if id != 0 {
            let ack = RemoteSignal::UnlinkAck { to: pid, id };
            self.signal_remote(Term::NIL, pid.node, &ack, How::PASSIVE);
        }
    }

    /// The other side has seen that a link was taken back.
    pub fn unlink_acknowledged(&mut self, pid: RemotePid, id: u64) {
        if let Some(remote) = &mut self.relations.remote
            && remote.links.get(&pid).is_some_and(|link| link.unlinking == Some(id))
        {
            remote.links.remove(&pid);
        }
    }

    /// A process of another node monitors this one.
    pub fn monitored_by_remote(&mut self, reference: RemoteRef, watcher: RemoteWatcher) {
        let Some(remote) = self.vm.remote() else { return };
        if remote.relate(self.id(), watcher.pid.node, watcher.connection) {
            let relations = self.relations.remote();
            relations.connected(watcher.pid.node, watcher.connection);
            relations.monitored_by.insert(reference, watcher);
        }
    }

    /// The answer to a request to start a process; `result` is its pid or an atom. `false` when
    /// nobody waits for it.
    pub fn spawn_replied(&mut self, reference: u64, result: Term, flags: u32) -> bool {
        let request = self.relations.remote.as_mut();
        let Some(request) = request.and_then(|remote| remote.spawn_requests.remove(reference))
        else {
            return false;
        };
        let pid = RemotePid::of(result);
        if let Some(pid) = pid {
            if let Some(mode) = request.alias {
                self.relations.add_alias(request.reference, mode);
            }
            if flags & SPAWNED_LINKED != 0 {
                let priority = request.priority_link;
                let link = RemoteLink { priority, ..RemoteLink::new(request.connection) };
                self.relations.remote().links.insert(pid, link);
            }
            if let Some(tag) = request.monitor
                && flags & SPAWNED_MONITORED != 0
            {
                let watched = Watched::Remote { pid, connection: request.connection };
                let monitor = crate::process::links::Monitor {
                    reference: request.reference,
                    watched,
                    tag,
                    priority: request.priority_monitor,
                };
                self.relations.monitors.insert(reference, monitor);
            }
        }
        let (wanted, kind) = match pid {
            Some(_) => (request.on_success, am::OK),
            None => (request.on_error, am::ERROR),
        };
        if wanted {
            let mut heap = FragmentHeap::new();
            let reference = request.reference.to_term(&mut heap);
            let parts = [request.reply_tag.term(), reference, Term::atom(kind), result];
            let message = heap.tuple(&parts);
            // In front of everything that the new process sends.
            self.receive_own(message);
        }
        true
    }

    /// A connection is lost: ends all relations over it.
    pub fn connection_lost(&mut self, node: Atom, connection: u32) {
        let reason = Term::atom(am::NOCONNECTION);
        let Some(remote) = &mut self.relations.remote else { return };
        remote.connections.retain(|&known| known != (node, connection));
        remote
            .monitored_by
            .retain(|_, other| (other.pid.node, other.connection) != (node, connection));
        let lost =
            |pid: &RemotePid, link: &RemoteLink| (pid.node, link.connection) == (node, connection);
        let links: Vec<(RemotePid, RemoteLink)> = remote
            .links
            .iter()
            .filter(|(pid, link)| lost(pid, link))
            .map(|(pid, link)| (*pid, *link))
            .collect();
        remote.links.retain(|pid, link| !lost(pid, link));
        let requests: Vec<u64> = remote
            .spawn_requests
            .iter()
            .filter(|(_, request)| (request.node, request.connection) == (node, connection))
            .map(|(reference, _)| reference)
            .collect();
        let (gone, kept) =
            remote.nodes.iter().partition(|(name, at, _)| (*name, *at) == (node, connection));
        remote.nodes = kept;
        let gone: Vec<(Atom, u32, u32)> = gone;
        for reference in requests {
            self.spawn_replied(reference, reason, 0);
        }
        let over = |watched: &Watched| match watched {
            Watched::Remote { pid, connection: at } => (pid.node, *at) == (node, connection),
            Watched::RemoteName { node: other, connection: at, .. } => {
                (*other, *at) == (node, connection)
            }
            _ => false,
        };
        let monitors: Vec<u64> = self
            .relations
            .monitors
            .iter()
            .filter(|(_, monitor)| over(&monitor.watched))
            .map(|(id, _)| id)
            .collect();
        for reference in monitors {
            self.down(reference, reason);
        }
        for (pid, link) in links {
            if link.unlinking.is_none() {
                let mut heap = FragmentHeap::new();
                let from = pid.to_term(&mut heap);
                self.exit_signal(from, reason, true, link.priority, None);
            }
        }
        let count: u32 = gone.iter().map(|(_, _, count)| count).sum();
        for _ in 0..count {
            self.tell_node_down(node);
        }
    }

    /// The process gets `{nodedown, Node}`.
    fn tell_node_down(&mut self, node: Atom) {
        let mut heap = FragmentHeap::new();
        let message = heap.tuple(&[Term::atom(atom!("nodedown")), Term::atom(node)]);
        self.receive_own(message);
    }

    /// The process ends, and takes signals still: keeps the reason for those that it has other nodes
    /// start, and is to be linked to. Where an answer is refused, the reason is there.
    pub(crate) fn orphan_spawn_requests(&self, reason: Term) {
        let (Some(remote), Some(host)) = (&self.relations.remote, self.vm.remote()) else { return };
        for request in remote.spawn_requests.values().filter(|request| request.link) {
            host.orphan(request.node, request.connection, request.reference, reason);
        }
    }

    /// The process ends: tells other nodes.
    pub(crate) fn end_remote(&mut self, relations: &mut Relations, reason: Term) {
        let Some(remote) = relations.remote.take() else { return };
        let Some(host) = self.vm.remote() else { return };
        let how = How { connect: false, ..How::ORDINARY };
        for (&pid, link) in &remote.links {
            if link.unlinking.is_none() {
                let exit = RemoteSignal::LinkExit { to: pid, reason };
                self.signal_remote(Term::NIL, pid.node, &exit, how);
            }
        }
        for (&reference, watcher) in &remote.monitored_by {
            let down =
                RemoteSignal::Down { to: watcher.pid, reference, name: watcher.name, reason };
            self.signal_remote(Term::NIL, watcher.pid.node, &down, how);
        }
        for monitor in relations.monitors.values() {
            self.demonitor_remote(&monitor.watched, monitor.reference);
        }
        if remote.follows_nodes {
            host.unfollow(self.id());
        }
        for (node, connection) in remote.connections {
            host.unrelate(self.id(), node, connection);
        }
    }

    /// Takes a monitor back, where it is of something on another node.
    pub fn demonitor_remote(&mut self, watched: &Watched, reference: RefValue) {
        let (node, to) = match *watched {
            Watched::Remote { pid, .. } => (pid.node, RemoteTo::Pid(pid)),
            Watched::RemoteName { name, node, .. } => (node, RemoteTo::Name(name)),
            _ => return,
        };
        let how = if self.exiting { How::PASSIVE } else { How { connect: false, ..How::ORDINARY } };
        self.signal_remote(Term::NIL, node, &RemoteSignal::Demonitor { to, reference }, how);
    }
}

/// In the flags of an answer to a spawn request: the new process is linked to its parent.
pub const SPAWNED_LINKED: u32 = 1;
/// The parent monitors it.
pub const SPAWNED_MONITORED: u32 = 2;
