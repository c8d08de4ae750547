//! Links, monitors and aliases, as each side keeps them.

use crate::process::few::Few;
use crate::signal::remote::{RemotePid, RemoteRelations};
use swarmrt_term::Term;

pub use swarmrt_term::RefValue;

/// What becomes of an alias when something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AliasMode {
    /// Until `unalias/1`.
    ExplicitUnalias,
    /// Also gone with the monitor.
    Demonitor,
    /// Also gone with the first reply.
    ReplyDemonitor,
    /// `alias([reply])`: gone with the first message.
    Reply,
}

/// What a monitor watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    Pid(u64),
    /// A port, and the name that was used, if any.
    Port {
        port: u64,
        name: Option<swarmrt_term::Atom>,
    },
    /// A registered process, by the name that was used.
    Name {
        name: swarmrt_term::Atom,
        pid: u64,
    },
    /// A process of another node, over the connection with this number.
    Remote {
        pid: RemotePid,
        connection: u32,
    },
    /// The process registered under a name on another node.
    RemoteName {
        name: swarmrt_term::Atom,
        node: swarmrt_term::Atom,
        connection: u32,
    },
    TimeOffset,
}

/// A monitor as its owner keeps it.
pub struct Monitor {
    pub reference: RefValue,
    pub watched: Watched,
    /// The `tag` option, copied: the first element of the message instead of `'DOWN'`.
    pub tag: Option<Tag>,
    /// The message is a priority message.
    pub priority: bool,
}

/// A term kept outside any process's heap, for as long as need be: it shares nothing, no literal
/// either.
pub struct Tag {
    _heap: swarmrt_term::FragmentHeap,
    term: Term,
}
impl Tag {
    /// A copy of `term`, literals included.
    pub fn new(term: Term) -> Tag {
        let mut heap = swarmrt_term::FragmentHeap::new();
        let term = swarmrt_heap::copy_whole(term, &mut heap);
        Tag { _heap: heap, term }
    }
    /// The term; valid as long as the tag. (A method, so that closures capture the whole tag with
    /// it.)
    pub fn term(&self) -> Term {
        self.term
    }
}

/// An active alias.
#[derive(Clone, Copy, Debug)]
struct Alias {
    mode: AliasMode,
    /// The low word of its reference, which tells it from an earlier one with the same number: that
    /// has 36 bits of a count.
    low: u32,
}

/// Through what priority messages come (OTP 28), but for monitors.
#[derive(Default)]
struct PriorityRelations {
    aliases: Few<()>,
    /// The links whose exit signals become priority messages.
    links: Few<()>,
}

/// What a process has to do with others: links, monitors both ways, aliases. The process itself
/// keeps them.
#[derive(Default)]
pub struct Relations {
    /// Linked pids and ports, as their words.
    pub links: Few<()>,
    /// Monitors that we made, by the number of their reference.
    pub monitors: Few<Monitor>,
    /// Monitors of this process: number of the reference → number of the owner's pid.
    pub monitored_by: Few<u64>,
    /// By the number of the reference.
    aliases: Few<Alias>,
    /// What brings priority messages; `None` while nothing has.
    priority: Option<Box<PriorityRelations>>,
    /// Relations to processes of other nodes; `None` while there have been none.
    pub remote: Option<Box<RemoteRelations>>,
}

impl Relations {
    /// Whether there is an active link to this pid or port, of this node or another.
    pub fn is_linked(&self, other: Term) -> bool {
        if let Some(pid) = RemotePid::of(other) {
            return self.is_linked_to(pid);
        }
        self.links.contains_key(other.raw())
    }
    /// Whether the exit signal of a link becomes a priority message.
    pub fn is_priority_link(&self, other: Term) -> bool {
        match RemotePid::of(other) {
            Some(pid) => self.is_priority_link_to(pid),
            None => self
                .priority
                .as_ref()
                .is_some_and(|priority| priority.links.contains_key(other.raw())),
        }
    }
    /// Sets whether the exit signal of a link becomes a priority message. Nothing happens without a
    /// link.
    pub fn set_priority_link(&mut self, other: Term, priority: bool) {
        if let Some(pid) = RemotePid::of(other) {
            self.set_priority_link_to(pid, priority);
        } else if priority && self.is_linked(other) {
            self.priority.get_or_insert_default().links.insert(other.raw(), ());
        } else if let Some(priority) = &mut self.priority {
            priority.links.remove(other.raw());
        }
    }
    /// Adds a link to a local process or port. `false` when there was one already.
    pub fn link(&mut self, other: Term) -> bool {
        self.links.insert(other.raw(), ()).is_none()
    }
    /// Drops a link to a pid or port, of this node or another. `false` when there was none.
    pub fn unlink(&mut self, other: Term) -> bool {
        if let Some(pid) = RemotePid::of(other) {
            return self.drop_link_to(pid);
        }
        if let Some(priority) = &mut self.priority {
            priority.links.remove(other.raw());
        }
        self.links.remove(other.raw()).is_some()
    }
    /// Makes a reference an alias.
    pub fn add_alias(&mut self, reference: RefValue, mode: AliasMode) {
        self.aliases.insert(reference.id, Alias { mode, low: reference.low });
    }
    /// Has priority messages come through an alias.
    pub fn set_priority_alias(&mut self, id: u64) {
        self.priority.get_or_insert_default().aliases.insert(id, ());
    }
    /// Whether priority messages come through an alias.
    pub fn is_priority_alias(&self, id: u64) -> bool {
        self.priority.as_ref().is_some_and(|priority| priority.aliases.contains_key(id))
    }
    /// When the alias ends; `None` where the reference is no active one.
    pub fn alias(&self, reference: RefValue) -> Option<AliasMode> {
        let alias = self.aliases.get(reference.id).filter(|alias| alias.low == reference.low)?;
        Some(alias.mode)
    }
    /// Drops an alias. `false` when it was not active.
    pub fn remove_alias(&mut self, id: u64) -> bool {
        if let Some(priority) = &mut self.priority {
            priority.aliases.remove(id);
        }
        self.aliases.remove(id).is_some()
    }
    /// Whether there is anything through which a priority message may come.
    pub fn takes_priority_messages(&self) -> bool {
        self.priority
            .as_ref()
            .is_some_and(|priority| !priority.aliases.is_empty() || !priority.links.is_empty())
            || self.remote.as_ref().is_some_and(|remote| remote.takes_priority_messages())
            || self.monitors.iter().any(|(_, monitor)| monitor.priority)
    }
    /// Drops a monitor, and its alias where that ends with the monitor.
    pub fn remove_monitor(&mut self, id: u64) -> Option<Monitor> {
        let mode = self.aliases.get(id).map(|alias| alias.mode);
        if matches!(mode, Some(AliasMode::Demonitor | AliasMode::ReplyDemonitor)) {
            self.remove_alias(id);
        }
        self.monitors.remove(id)
    }
}
