//! Who follows changes of the set of connected nodes: `net_kernel:monitor_nodes/1,2`.

use crate::flags;
use crate::nodes::connection_id;
use parking_lot::Mutex;
use swarmrt_machine::signal::remote::Following;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom, map};

/// What a subscription wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Subscription {
    /// Visible nodes, hidden ones: with either, the type is told.
    visible: bool,
    hidden: bool,
    down_reason: bool,
    connection_id: bool,
    /// As a map, not as a list.
    as_map: bool,
}

impl Subscription {
    const PLAIN: Subscription = Subscription {
        visible: false,
        hidden: false,
        down_reason: false,
        connection_id: false,
        as_map: false,
    };

    fn of(options: Term) -> Option<Subscription> {
        let mut wanted = Subscription::PLAIN;
        if options.is_nil() {
            return Some(wanted);
        }
        if !options.is_map() {
            return None;
        }
        wanted.as_map = true;
        for (key, value) in map::iter(options) {
            match (key.as_atom()?.name(), value.as_atom()?.name()) {
                ("list", "true") => wanted.as_map = false,
                ("connection_id", _) => wanted.connection_id = value.as_bool()?,
                ("nodedown_reason", _) => wanted.down_reason = value.as_bool()?,
                ("node_type", "visible") => wanted.visible = true,
                ("node_type", "hidden") => wanted.hidden = true,
                ("node_type", "all") => (wanted.visible, wanted.hidden) = (true, true),
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn tells(self, is_visible: bool) -> bool {
        if is_visible { self.visible || !self.hidden } else { self.hidden }
    }
}

struct Follower {
    pid: u64,
    wanted: Subscription,
    count: u32,
}

/// The subscriptions of `net_kernel:monitor_nodes/1,2`.
#[derive(Default)]
pub struct Followers(Mutex<Vec<Follower>>);

/// A node that is connected, or no longer is.
pub struct Change {
    node: Atom,
    connection: Option<u32>,
    is_visible: bool,
    /// Why the connection is over.
    down: Option<Term>,
}

impl Change {
    /// A connection has come up. `connection` is `None` for this node, when it gets its name;
    /// `peer` has its flags, of which [`flags::PUBLISHED`] counts.
    pub fn up(node: Atom, connection: Option<u32>, peer: u64) -> Change {
        Change { node, connection, is_visible: peer & flags::PUBLISHED != 0, down: None }
    }
    /// A connection is over, for this reason; otherwise as [`up`](Self::up). `reason` has to
    /// outlive the change.
    pub fn down(node: Atom, connection: Option<u32>, peer: u64, reason: Term) -> Change {
        Change { down: Some(reason), ..Change::up(node, connection, peer) }
    }

    /// `{nodeup, Node}`, `{nodedown, Node, Info}`.
    fn message(&self, wanted: Subscription, heap: &mut FragmentHeap) -> Term {
        let kind =
            Term::atom(if self.down.is_some() { atom!("nodedown") } else { atom!("nodeup") });
        let node = Term::atom(self.node);
        if wanted == Subscription::PLAIN {
            return heap.tuple(&[kind, node]);
        }
        let mut info = Vec::new();
        if wanted.connection_id {
            info.push((Term::atom(atom!("connection_id")), connection_id(self.connection)));
        }
        if let Some(reason) = self.down.filter(|_| wanted.down_reason) {
            info.push((Term::atom(atom!("nodedown_reason")), reason));
        }
        if wanted.visible || wanted.hidden {
            let kind = if self.is_visible { atom!("visible") } else { atom!("hidden") };
            info.push((Term::atom(atom!("node_type")), Term::atom(kind)));
        }
        let info = if wanted.as_map {
            map::from_pairs(heap, &info)
        } else {
            let pairs: Vec<Term> =
                info.iter().map(|&(key, value)| heap.tuple(&[key, value])).collect();
            heap.list(&pairs)
        };
        heap.tuple(&[kind, node, info])
    }
}

impl Followers {
    /// Subscribes a process, or ends its subscriptions of this kind; how many there were. `None`
    /// for wrong options.
    pub fn set(&self, p: &mut Process, on: bool, options: Term) -> Option<u32> {
        let wanted = Subscription::of(options)?;
        let mut followers = self.0.lock();
        let at = followers.iter().position(|other| other.pid == p.id() && other.wanted == wanted);
        let before = at.map_or(0, |at| followers[at].count);
        match at {
            Some(at) if on => followers[at].count += 1,
            Some(at) => drop(followers.remove(at)),
            None if on => {
                followers.push(Follower { pid: p.id(), wanted, count: 1 });
                p.relations.remote().follows_nodes = true;
            }
            None => {}
        }
        Some(before)
    }

    /// All subscriptions.
    pub fn all(&self) -> Vec<Following> {
        let followers = self.0.lock();
        let following = followers.iter().map(|&Follower { pid, wanted, count }| Following {
            pid,
            node_type: match (wanted.visible, wanted.hidden) {
                (true, true) => Some(atom!("all")),
                (true, false) => Some(atom!("visible")),
                (false, true) => Some(atom!("hidden")),
                (false, false) => None,
            },
            down_reason: wanted.down_reason,
            count,
        });
        following.collect()
    }

    /// Ends all subscriptions of a process.
    pub fn remove(&self, pid: u64) {
        self.0.lock().retain(|follower| follower.pid != pid);
    }

    /// Tells everybody who wants to know of nodes of this kind, as often as they have subscribed.
    pub fn tell(&self, vm: &'static Vm, change: &Change) {
        let followers: Vec<(u64, Subscription, u32)> = self
            .0
            .lock()
            .iter()
            .map(|follower| (follower.pid, follower.wanted, follower.count))
            .collect();
        let _guard = swarmrt_machine::pin();
        for (pid, wanted, count) in followers {
            if !wanted.tells(change.is_visible) {
                continue;
            }
            let mut heap = FragmentHeap::new();
            let message = change.message(wanted, &mut heap);
            for _ in 0..count {
                signal::send_message(vm, Term::NONE, pid, message);
            }
        }
    }
}
