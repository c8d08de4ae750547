//! The receivers of signals: what a program may name as one, told apart in one place.

use crate::process::Process;
use crate::signal;
use crate::signal::remote::{How, RemotePid, RemoteRef, RemoteSignal, RemoteTo, Sent};
use crate::vm::Vm;
use swarmrt_term::{Atom, FragmentHeap, RefKind, RefValue, Term};

/// A receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recipient {
    /// A process of this node, by the number of its pid.
    Process(u64),
    /// A port of this node.
    Port(Term),
    /// The process that has this alias, on this node.
    Alias(RefValue),
    /// Something on another node.
    Remote { node: Atom, to: RemoteTo },
    /// Nothing that can receive: a reference that is no alias, an identifier of an earlier run of
    /// this node, a name without an owner where that is no error.
    Nobody,
}

impl Recipient {
    /// The receiver that a term names; `None` when it can name none, or is a name of this node
    /// without an owner.
    pub fn of(vm: &Vm, term: Term) -> Option<Recipient> {
        if let Some(pid) = term.as_pid() {
            return Some(Recipient::Process(pid));
        }
        if let Some(name) = term.as_atom() {
            return vm.names.whereis(name).and_then(Recipient::of_local);
        }
        if let Some(local) = Recipient::of_local(term) {
            return Some(local);
        }
        if let Some(pair) = term.as_tuple().filter(|pair| pair.arity() == 2) {
            let (name, node) = (pair.get(0).as_atom()?, pair.get(1).as_atom()?);
            if node == vm.node().name {
                let owner = vm.names.whereis(name).and_then(Recipient::of_local);
                return Some(owner.unwrap_or(Recipient::Nobody));
            }
            return Some(Recipient::Remote { node, to: RemoteTo::Name(name) });
        }
        let node = term.as_external()?.node();
        let is_here = node == vm.node().name;
        if let Some(pid) = RemotePid::of(term) {
            let remote = Recipient::Remote { node, to: RemoteTo::Pid(pid) };
            return Some(if is_here { Recipient::Nobody } else { remote });
        }
        if let Some(reference) = RemoteRef::of(term) {
            let remote = Recipient::Remote { node, to: RemoteTo::Alias(reference) };
            return Some(if is_here { Recipient::Nobody } else { remote });
        }
        // A port of another node takes nothing; one of an earlier run of this one is gone.
        is_here.then_some(Recipient::Nobody)
    }

    fn of_local(term: Term) -> Option<Recipient> {
        if let Some(pid) = term.as_pid() {
            return Some(Recipient::Process(pid));
        }
        if term.is_port() {
            return Some(Recipient::Port(term));
        }
        let reference = term.as_local_ref()?;
        let alias = Recipient::Alias(RefValue::of(reference));
        Some(if reference.ref_kind() == RefKind::Alias { alias } else { Recipient::Nobody })
    }
}

/// The outcome of sending a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// It is under way, or was lost where the sender is not told.
    Done,
    /// There is no such receiver on this node.
    Nobody,
    /// It was not sent: there is no connection, and none is made.
    NotConnected,
    WouldSuspend,
    /// It was not sent: no message to another node can hold it.
    TooLarge,
    /// It was not sent: the process has been suspended, and has to send it again when it goes on.
    Suspended,
}

impl Process {
    /// Sends a message with the process's token, if it has one. `given`: the receiver as the
    /// program named it.
    pub fn send(&mut self, given: Term, to: Recipient, message: Term, how: How) -> Delivery {
        let vm = self.vm;
        let delivered = match to {
            Recipient::Process(pid) => signal::send_message_of(self, pid, message),
            Recipient::Alias(alias) => {
                signal::send_alias_of(self, given, alias, message, how.priority)
            }
            Recipient::Port(port) => {
                let Some(ports) = vm.ports() else { return Delivery::Done };
                return ports.send_by(self, port, message, how.busy);
            }
            Recipient::Remote { node, to } => {
                let message = RemoteSignal::Message { to, message };
                return match self.signal_remote(given, node, &message, how) {
                    Sent::On(_) => Delivery::Done,
                    Sent::NotConnected => Delivery::NotConnected,
                    Sent::WouldSuspend => Delivery::WouldSuspend,
                    Sent::TooLarge => Delivery::TooLarge,
                };
            }
            Recipient::Nobody => false,
        };
        if delivered { Delivery::Done } else { Delivery::Nobody }
    }

    /// Sends a signal to another node, with the process's token if the signal takes one.
    pub fn signal_remote(
        &mut self,
        given: Term,
        node: Atom,
        signal: &RemoteSignal,
        how: How,
    ) -> Sent {
        let Some(remote) = self.vm.remote() else { return Sent::NotConnected };
        let mut heap = FragmentHeap::new();
        let token = match signal {
            _ if self.sequential.is_none() => None,
            RemoteSignal::Message { message, .. } => self.token_to_send(given, *message, &mut heap),
            RemoteSignal::Exit { reason, .. } | RemoteSignal::LinkExit { reason, .. } => {
                self.token_to_send(given, *reason, &mut heap)
            }
            _ => None,
        };
        remote.signal(self, node, signal, token, how)
    }
}
