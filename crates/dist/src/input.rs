//! What a peer's messages do: each becomes a signal to a process of this node.
//!
//! The messages are not trusted: what is not as the protocol has it, or speaks for others than the
//! peer, closes the connection, and is logged as OTP does.

use crate::control::{altact, op};
use crate::node::Node;
use crate::nodes::u64_of;
use crate::packet::{Message, Problem};
use std::sync::Arc;
use swarmrt_machine::process::exception;
use swarmrt_machine::process::links::{RefValue, Relations, Tag};
use swarmrt_machine::process::mailbox::OnLook;
use swarmrt_machine::process::spawn::{RemoteSpawn, SpawnOptions, Start, spawn_announced};
use swarmrt_machine::signal::address::Recipient;
use swarmrt_machine::signal::remote::{
    RemoteLink, RemotePid, RemoteRef, RemoteRelations, RemoteSignal, RemoteTo, RemoteWatcher,
    SPAWNED_LINKED, SPAWNED_MONITORED,
};
use swarmrt_machine::signal::{self, SignalKind};
use swarmrt_machine::{Process, Vm};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Release, Term, Tuple, am, atom};

/// A message that is not as the protocol has it.
enum Refused {
    Invalid,
    /// Its payload is no term, or missing.
    Payload,
}
use Refused::Invalid;
type Done = Result<(), Refused>;

/// A message under way.
struct Delivery<'a> {
    vm: &'static Vm,
    node: &'a Arc<Node>,
    connection: u32,
    control: Tuple,
    payload: Option<Term>,
    /// The last packet of the message.
    packet: &'a [u8],
}

/// Who a message of the peer is for.
enum To {
    Process(u64),
    /// One of an earlier run of this node.
    Gone,
}

/// Does what a message says, whose last packet is given. `false` when it is not valid.
pub fn dispatch(
    vm: &'static Vm,
    node: &Arc<Node>,
    connection: u32,
    message: &Message,
    packet: &[u8],
) -> bool {
    let _guard = swarmrt_machine::pin();
    let done =
        message.control.as_tuple().filter(|control| control.arity() > 0).ok_or(Invalid).and_then(
            |control| {
                let payload = message.payload;
                Delivery { vm, node, connection, control, payload, packet }.done()
            },
        );
    match done {
        Ok(()) => return true,
        Err(Refused::Payload) => log_corrupt(vm, node, packet, Problem::Term),
        Err(Refused::Invalid) => {
            let arguments = [message.control, Term::small(200)];
            let text = "Invalid distribution message: ~P";
            exception::log(vm, Term::NONE, Term::NONE, text, &arguments);
        }
    }
    false
}

/// Bytes of a packet that the log has at most.
const BYTES_SHOWN: usize = 200;

/// Logs bytes that are no message.
pub fn log_corrupt(vm: &'static Vm, node: &Node, packet: &[u8], problem: Problem) {
    let mut heap = FragmentHeap::new();
    let shown = &packet[..packet.len().min(BYTES_SHOWN)];
    let bytes: Vec<String> = shown.iter().map(u8::to_string).collect();
    let bytes = heap.string(&bytes.join(","));
    let channel = Term::small(i64::from(node.name.index()));
    let what = heap.string(match problem {
        Problem::Head => "distribution header",
        Problem::Term => "external term",
        Problem::Fragment => "sequence of fragments",
        Problem::TooMuch => "number of unfinished fragments",
    });
    let text = "~p got a corrupted ~s from ~p on distribution channel ~p~n<<~s>>~n";
    let arguments = [Term::atom(vm.node().name), what, Term::atom(node.name), channel, bytes];
    let warning = atom!("warning");
    exception::log_as(vm, warning, Term::NONE, Term::NONE, text, &arguments);
}

impl Delivery<'_> {
    /// An element behind the number of the operation, from 0.
    fn get(&self, index: usize) -> Term {
        self.control.get(index + 1)
    }
    /// Checks how many elements there are behind the number of the operation.
    fn arity(&self, count: usize) -> Done {
        if self.control.arity() == count + 1 { Ok(()) } else { Err(Invalid) }
    }
    fn payload(&self) -> Result<Term, Refused> {
        self.payload.ok_or(Refused::Payload)
    }
    /// The reason for a process; `None` when there is none to be had, nor anybody to miss it.
    fn payload_for(&self, pid: u64) -> Result<Option<Term>, Refused> {
        match self.payload {
            None if self.vm.processes.get(pid).is_some() => Err(Refused::Payload),
            payload => Ok(payload),
        }
    }

    /// A process of the peer's.
    fn peer(&self, term: Term) -> Result<RemotePid, Refused> {
        RemotePid::of(term).filter(|pid| pid.node == self.node.name).ok_or(Invalid)
    }
    /// A process of ours.
    fn to(&self, term: Term) -> Result<To, Refused> {
        if let Some(pid) = term.as_pid() {
            return Ok(To::Process(pid));
        }
        let gone = RemotePid::of(term).filter(|pid| pid.node == self.vm.node().name);
        gone.map(|_| To::Gone).ok_or(Invalid)
    }

    fn answer(&self, from: Term, signal: &RemoteSignal) {
        self.node.answer(self.vm, self.connection, from, signal);
    }

    /// Has a process of ours execute `call`; nothing happens when it is gone.
    fn call(&self, to: u64, call: impl FnOnce(&mut Process) + Send + 'static) {
        let call: signal::Call = Box::new(move |_, process| {
            if let Some(process) = process {
                call(process);
            }
        });
        signal::send_call(self.vm, to, call);
    }

    fn done(&self) -> Done {
        let operation = self.control.get(0).as_small().ok_or(Invalid)?;
        match operation {
            op::SEND | op::SEND_SENDER => {
                self.arity(2).and_then(|()| self.message(self.get(1), None))
            }
            op::SEND_TT | op::SEND_SENDER_TT => {
                self.arity(3).and_then(|()| self.message(self.get(1), Some(self.get(2))))
            }
            op::REG_SEND => self.arity(3).and_then(|()| self.reg_send(None)),
            op::REG_SEND_TT => self.arity(4).and_then(|()| self.reg_send(Some(self.get(3)))),
            op::ALIAS_SEND => self.arity(2).and_then(|()| self.aliased(self.get(1), None, false)),
            op::ALIAS_SEND_TT => {
                self.arity(3).and_then(|()| self.aliased(self.get(1), Some(self.get(2)), false))
            }
            op::ALTACT_SIG_SEND if self.vm.release() >= Release::R28 => self.altact(),
            op::LINK => self.arity(2).and_then(|()| self.link()),
            // Of nodes before OTP 26.
            op::UNLINK if self.vm.release() < Release::R26 => {
                self.arity(2).and_then(|()| self.unlink(0, self.get(0), self.get(1)))
            }
            op::UNLINK_ID => {
                self.arity(3)?;
                let id = u64_of(self.get(0)).filter(|&id| id > 0).ok_or(Invalid)?;
                self.unlink(id, self.get(1), self.get(2))
            }
            op::UNLINK_ID_ACK => self.arity(3).and_then(|()| self.unlink_ack()),
            op::MONITOR => self.arity(3).and_then(|()| self.monitor()),
            op::DEMONITOR => self.arity(3).and_then(|()| self.demonitor()),
            op::MONITOR_EXIT => self.arity(4).and_then(|()| self.down(Some(self.get(3)))),
            op::PAYLOAD_MONITOR_EXIT => self.arity(3).and_then(|()| self.down(None)),
            op::EXIT => self.exit(SignalKind::LinkExit, false, false),
            op::EXIT_TT => self.exit(SignalKind::LinkExit, true, false),
            op::PAYLOAD_EXIT => self.exit(SignalKind::LinkExit, false, true),
            op::PAYLOAD_EXIT_TT => self.exit(SignalKind::LinkExit, true, true),
            op::EXIT2 => self.exit(SignalKind::Exit, false, false),
            op::EXIT2_TT => self.exit(SignalKind::Exit, true, false),
            op::PAYLOAD_EXIT2 => self.exit(SignalKind::Exit, false, true),
            op::PAYLOAD_EXIT2_TT => self.exit(SignalKind::Exit, true, true),
            op::GROUP_LEADER => self.arity(2).and_then(|()| self.group_leader()),
            op::SPAWN_REQUEST => self.arity(5).and_then(|()| self.spawn()),
            op::SPAWN_REQUEST_TT => self.arity(6).and_then(|()| self.spawn()),
            op::SPAWN_REPLY => self.arity(4).and_then(|()| self.spawn_reply()),
            op::SPAWN_REPLY_TT => self.arity(5).and_then(|()| self.spawn_reply()),
            _ => Err(Invalid),
        }
    }

    fn deliver(&self, to: u64, token: Option<Term>) -> Done {
        let Some(message) = self.payload else {
            // The process finds out when it comes to the message.
            let on_look = self.on_look();
            self.call(to, move |process| process.mailbox.push_unreadable(on_look));
            return Ok(());
        };
        match token {
            Some(token) => {
                let mut heap = FragmentHeap::new();
                let pair = heap.tuple(&[token, message]);
                signal::send_with_token(self.vm, SignalKind::Message, Term::NONE, to, pair);
            }
            None => {
                signal::send_message(self.vm, Term::NONE, to, message);
            }
        }
        Ok(())
    }

    fn message(&self, to: Term, token: Option<Term>) -> Done {
        match to.as_pid() {
            Some(pid) => self.deliver(pid, token),
            // A process of an earlier run of this node, or of a third: nobody is there.
            None if to.is_any_pid() => Ok(()),
            None => Err(Invalid),
        }
    }

    fn reg_send(&self, token: Option<Term>) -> Done {
        if self.get(0).is_any_pid() { self.named(self.get(2), token) } else { Err(Invalid) }
    }

    fn named(&self, name: Term, token: Option<Term>) -> Done {
        let name = name.as_atom().ok_or(Invalid)?;
        match self.vm.names.whereis(name).and_then(Term::as_pid) {
            Some(pid) => self.deliver(pid, token),
            None => Ok(()),
        }
    }

    fn aliased(&self, alias: Term, token: Option<Term>, priority: bool) -> Done {
        if !alias.is_reference() {
            return Err(Invalid);
        }
        if let Some(Recipient::Alias(alias)) = Recipient::of(self.vm, alias) {
            let Some(message) = self.payload else {
                let on_look = self.on_look();
                return self.call_owner(alias, move |process| {
                    process.receive_unreadable_through(alias, on_look);
                });
            };
            signal::send_alias_with(self.vm, Term::NONE, alias, message, token, priority);
        }
        Ok(())
    }

    /// A message or an exit signal to a process, a name or an alias, as a number of flags says.
    /// Flags that are not known and elements behind the known ones are for later releases.
    fn altact(&self) -> Done {
        if self.control.arity() < 4 {
            return Err(Invalid);
        }
        let (flags, from, to) =
            (lowest_byte(self.get(0)).ok_or(Invalid)?, self.get(1), self.get(2));
        let has = |flag: u8| flags & flag != 0;
        if !from.is_any_pid() || has(altact::ALIAS) && has(altact::NAME) {
            return Err(Invalid);
        }
        let token = match self.control.arity() {
            _ if !has(altact::TOKEN) => None,
            4 => return Err(Invalid),
            _ => Some(self.get(3)),
        };
        let priority = has(altact::PRIORITY);
        match (has(altact::EXIT), has(altact::ALIAS), has(altact::NAME)) {
            (false, true, _) => self.aliased(to, token, priority),
            (false, _, true) => self.named(to, token),
            (false, ..) => self.message(to, token),
            (true, true, _) => self.exit_alias(from, to, priority),
            (true, _, true) => {
                let name = to.as_atom().ok_or(Invalid)?;
                let pid = self.vm.names.whereis(name).and_then(Term::as_pid);
                self.exit_process(SignalKind::Exit, from, pid, token)
            }
            (true, ..) if to.is_any_pid() => {
                self.exit_process(SignalKind::Exit, from, to.as_pid(), token)
            }
            (true, ..) => Err(Invalid),
        }
    }

    /// Has the process that may have the alias execute `call`.
    fn call_owner(
        &self,
        alias: RefValue,
        call: impl FnOnce(&mut Process) + Send + 'static,
    ) -> Done {
        let owner = alias.slot().and_then(|slot| self.vm.processes.in_slot(slot));
        if let Some(owner) = owner {
            self.call(owner.shared.id, call);
        }
        Ok(())
    }

    /// Closes the connection, if it is still there, because of a payload that is no term.
    fn on_look(&self) -> OnLook {
        let (vm, node, connection) = (self.vm, self.node.clone(), self.connection);
        let packet = self.packet[..self.packet.len().min(BYTES_SHOWN)].to_vec();
        Box::new(move || {
            if node.is_up(connection) {
                log_corrupt(vm, &node, &packet, Problem::Term);
                node.close(vm, connection);
            }
        })
    }

    /// The payload is no term, or missing: that closes the connection if the process that it is for
    /// has what the message is about.
    fn missed_where(
        &self,
        pid: u64,
        is_there: impl FnOnce(&Relations) -> bool + Send + 'static,
    ) -> Done {
        let on_look = self.on_look();
        self.call(pid, move |process| {
            if is_there(&process.relations) {
                on_look();
            }
        });
        Ok(())
    }

    fn exit_alias(&self, from: Term, alias: Term, priority: bool) -> Done {
        if !alias.is_reference() {
            return Err(Invalid);
        }
        if let Some(Recipient::Alias(alias)) = Recipient::of(self.vm, alias) {
            let Some(reason) = self.payload else {
                let on_look = self.on_look();
                return self.call_owner(alias, move |process| {
                    if process.relations.alias(alias).is_some() {
                        on_look();
                    }
                });
            };
            signal::send_exit_through(self.vm, from, alias, reason, priority);
        }
        Ok(())
    }

    fn link(&self) -> Done {
        let (from, ours) = (self.peer(self.get(0))?, self.get(1));
        // What is no pid at all is not there, as in OTP.
        let to = if ours.is_any_pid() { self.to(ours)? } else { To::Gone };
        let (node, connection) = (self.node.clone(), self.connection);
        let gone = move |vm: &'static Vm, node: &Node, ours: Term| {
            let reason = Term::atom(am::NOPROC);
            node.answer(vm, connection, ours, &RemoteSignal::LinkExit { to: from, reason });
        };
        let To::Process(pid) = to else {
            gone(self.vm, &node, ours);
            return Ok(());
        };
        let call: signal::Call = Box::new(move |vm, process| match process {
            Some(process) => process.linked_by_remote(from, connection),
            None => gone(vm, &node, Term::pid(pid)),
        });
        signal::send_call(self.vm, pid, call);
        Ok(())
    }

    fn unlink(&self, id: u64, from: Term, to: Term) -> Done {
        let (from, pid) = (self.peer(from)?, to.as_pid().ok_or(Invalid)?);
        self.call(pid, move |process| process.unlinked_by_remote(from, id));
        Ok(())
    }

    fn unlink_ack(&self) -> Done {
        let id = u64_of(self.get(0)).ok_or(Invalid)?;
        let (from, pid) = (self.peer(self.get(1))?, self.get(2).as_pid().ok_or(Invalid)?);
        self.call(pid, move |process| process.unlink_acknowledged(from, id));
        Ok(())
    }

    fn monitor(&self) -> Done {
        let watcher = self.peer(self.get(0))?;
        let (watched, reference) = (self.get(1), RemoteRef::of_any(self.get(2)).ok_or(Invalid)?);
        let name = watched.as_atom();
        let to = match name {
            Some(name) => {
                self.vm.names.whereis(name).and_then(Term::as_pid).map_or(To::Gone, To::Process)
            }
            None => self.to(watched)?,
        };
        let (node, connection) = (self.node.clone(), self.connection);
        let down = move |reason| RemoteSignal::Down { to: watcher, reference, name, reason };
        let To::Process(pid) = to else {
            self.answer(watched, &down(Term::atom(am::NOPROC)));
            return Ok(());
        };
        let call: signal::Call = Box::new(move |vm, process| match process {
            Some(process) => {
                let watcher = RemoteWatcher { pid: watcher, name, connection };
                process.monitored_by_remote(reference, watcher);
            }
            None => node.answer(vm, connection, Term::pid(pid), &down(Term::atom(am::NOPROC))),
        });
        signal::send_call(self.vm, pid, call);
        Ok(())
    }

    fn demonitor(&self) -> Done {
        self.peer(self.get(0))?;
        let (watched, reference) = (self.get(1), RemoteRef::of_any(self.get(2)).ok_or(Invalid)?);
        let to = match watched.as_atom() {
            // The name may be another's by now; the process that had it is found by the
            // connection's list.
            Some(_) => return self.demonitor_named(reference),
            None => self.to(watched)?,
        };
        if let To::Process(pid) = to {
            self.call(pid, move |process| forget_watcher(process, reference));
        }
        Ok(())
    }

    fn demonitor_named(&self, reference: RemoteRef) -> Done {
        let pids = self.node.related();
        for pid in pids {
            self.call(pid, move |process| forget_watcher(process, reference));
        }
        Ok(())
    }

    /// The reason is the payload where none is given.
    fn down(&self, reason: Option<Term>) -> Done {
        let watched = self.get(0);
        // The reference says what was monitored.
        if !watched.is_atom() && RemotePid::of(watched).is_none() {
            return Err(Invalid);
        }
        if !self.get(2).is_reference() {
            return Err(Invalid);
        }
        if let To::Process(pid) = self.to(self.get(1))?
            && let Some(reference) = self.get(2).as_local_ref()
        {
            let id = reference.id();
            let Some(reason) = reason.or(self.payload) else {
                return self
                    .missed_where(pid, move |relations| relations.monitors.contains_key(id));
            };
            signal::send_down(self.vm, Term::NONE, pid, id, reason);
        }
        Ok(())
    }

    /// A token is behind the receiver, and the reason behind that, or in the payload.
    fn exit(&self, kind: SignalKind, has_token: bool, has_payload: bool) -> Done {
        self.arity(2 + usize::from(has_token) + usize::from(!has_payload))?;
        let from = self.get(0);
        let peer = self.peer(from)?;
        let pid = match self.to(self.get(1))? {
            To::Process(pid) => pid,
            To::Gone if kind == SignalKind::LinkExit => return Err(Invalid),
            To::Gone => return Ok(()),
        };
        let token = has_token.then(|| self.get(2));
        if has_payload && kind == SignalKind::LinkExit && self.payload.is_none() {
            return self.missed_where(pid, move |relations| relations.is_linked_to(peer));
        }
        if has_payload {
            return self.exit_process(kind, from, Some(pid), token);
        }
        self.send_exit(kind, from, pid, self.get(2 + usize::from(has_token)), token)
    }

    /// The reason is the payload.
    fn exit_process(
        &self,
        kind: SignalKind,
        from: Term,
        to: Option<u64>,
        token: Option<Term>,
    ) -> Done {
        let Some(pid) = to else { return Ok(()) };
        match self.payload_for(pid)? {
            Some(reason) => self.send_exit(kind, from, pid, reason, token),
            None => Ok(()),
        }
    }

    fn send_exit(
        &self,
        kind: SignalKind,
        from: Term,
        pid: u64,
        reason: Term,
        token: Option<Term>,
    ) -> Done {
        match token {
            Some(token) => {
                let mut heap = FragmentHeap::new();
                let pair = heap.tuple(&[token, reason]);
                signal::send_with_token(self.vm, kind, from, pid, pair);
            }
            None if kind == SignalKind::LinkExit => {
                signal::send_link_exit(self.vm, from, pid, reason);
            }
            None => {
                signal::send_exit(self.vm, from, pid, reason);
            }
        }
        Ok(())
    }

    fn group_leader(&self) -> Done {
        let (leader, to) = (self.get(0), self.get(1));
        if !leader.is_any_pid() || !to.is_any_pid() {
            return Err(Invalid);
        }
        if let Some(pid) = to.as_pid() {
            let leader = Tag::new(leader);
            let call: signal::Call = Box::new(move |_, process| {
                if let Some(process) = process {
                    process.group_leader =
                        swarmrt_heap::copy_term(leader.term(), &mut process.heap);
                }
            });
            signal::send_change(self.vm, pid, call);
        }
        Ok(())
    }

    fn spawn(&self) -> Done {
        let reference = RemoteRef::of_any(self.get(0)).ok_or(Invalid)?;
        let parent = RemotePid::of(self.get(1)).ok_or(Invalid)?;
        let (leader, mfa, options) = (self.get(2), self.get(3), self.get(4));
        let arguments = self.payload()?;
        let parts = mfa.as_tuple().filter(|mfa| mfa.arity() == 3).ok_or(Invalid)?;
        let (module, function) = (parts.get(0).as_atom(), parts.get(1).as_atom());
        let (Some(module), Some(function)) = (module, function) else { return Err(Invalid) };
        let arity =
            parts.get(2).as_small().and_then(|arity| u32::try_from(arity).ok()).ok_or(Invalid)?;
        if !leader.is_any_pid() || arguments.list_len().is_none() {
            return Err(Invalid);
        }
        let refuse = |why: Atom| {
            let result = Term::atom(why);
            self.answer(
                Term::NIL,
                &RemoteSignal::SpawnReply { to: parent, reference, flags: 0, result },
            );
        };
        let parse = self.vm.spawn_options.get().copied();
        let Some((mut given, is_monitored)) = parse.and_then(|parse| parse(self.vm, options))
        else {
            refuse(atom!("badopt"));
            return Ok(());
        };
        let connection = self.connection;
        let mut relations = Box::new(RemoteRelations::default());
        relations.parent = Some(parent);
        let mut flags = 0;
        if std::mem::take(&mut given.link) {
            flags |= SPAWNED_LINKED;
            relations.links.insert(parent, RemoteLink::new(connection));
        }
        if is_monitored {
            flags |= SPAWNED_MONITORED;
            relations
                .monitored_by
                .insert(reference, RemoteWatcher { pid: parent, name: None, connection });
        }
        if flags != 0 {
            relations.connected(parent.node, connection);
        }
        let initial = Mfa { module, function, arity };
        let remote = Some(RemoteSpawn { group_leader: leader, initial, relations });
        self.start(mfa, arguments, SpawnOptions { remote, ..given }, parent, reference, flags);
        Ok(())
    }

    /// Starts a process that another node has asked for. It takes the arguments out of its first
    /// message. From OTP 27 on a second one, `dist_spawn_init`, tells it that there are arguments
    /// that could be decoded.
    fn start(
        &self,
        mfa: Term,
        arguments: Term,
        options: SpawnOptions,
        parent: RemotePid,
        reference: RemoteRef,
        flags: u32,
    ) {
        let mut heap = FragmentHeap::new();
        let args = heap.list(&[mfa]);
        let (module, function) = (atom!("erts_internal"), atom!("dist_spawn_init"));
        let (vm, connection) = (self.vm, self.connection);
        let announce = |_: Option<&mut Process>, child: u64| {
            signal::send_message(vm, Term::NONE, child, arguments);
            if vm.release() >= Release::R27 {
                signal::send_message(vm, Term::NONE, child, Term::atom(function));
            }
            let result = Term::pid(child);
            self.answer(result, &RemoteSignal::SpawnReply { to: parent, reference, flags, result });
            if flags != 0 && !self.node.relate(child, connection) {
                let node = self.node.name;
                self.call(child, move |process| process.connection_lost(node, connection));
            }
        };
        let start = Start::Apply { module, function, args };
        if spawn_announced(vm, None, start, options, announce).is_none() {
            let result = Term::atom(am::SYSTEM_LIMIT);
            self.answer(
                Term::NIL,
                &RemoteSignal::SpawnReply { to: parent, reference, flags: 0, result },
            );
        }
    }

    fn spawn_reply(&self) -> Done {
        let (reference, to, result) = (self.get(0), self.get(1), self.get(3));
        let To::Process(pid) = self.to(to)? else { return Ok(()) };
        if !reference.is_reference() {
            return Err(Invalid);
        }
        let Some(reference) = reference.as_local_ref().map(RefValue::of) else {
            // Of an earlier run of this node, or of none that is concerned.
            let is_ours =
                reference.as_external().is_some_and(|own| own.node() == self.vm.node().name);
            return if is_ours { Ok(()) } else { Err(Invalid) };
        };
        let flags = self.get(2).as_small().filter(|flags| (0..1 << 27).contains(flags));
        let flags = flags.ok_or(Invalid)? as u32;
        let child = RemotePid::of(result);
        if child.is_none() && !result.is_atom() {
            return Err(Invalid);
        }
        // A process of a third node does not answer over this connection.
        if child.is_some_and(|child| child.node != self.node.name) {
            return Ok(());
        }
        let (node, connection, result) = (self.node.clone(), self.connection, Tag::new(result));
        let call: signal::Call = Box::new(move |vm, process| {
            let is_taken = process
                .is_some_and(|process| process.spawn_replied(reference.id, result.term(), flags));
            if !is_taken {
                unwanted(vm, &node, connection, pid, reference, result.term(), flags);
            }
        });
        signal::send_call(self.vm, pid, call);
        Ok(())
    }
}

/// A process was started for one that is gone meanwhile, or wants it no more: ends what was set up
/// between them.
fn unwanted(
    vm: &'static Vm,
    node: &Node,
    connection: u32,
    parent: u64,
    reference: RefValue,
    child: Term,
    flags: u32,
) {
    let Some(to) = RemotePid::of(child) else { return };
    let parent = Term::pid(parent);
    let kept = node.take_orphan(reference);
    if flags & SPAWNED_MONITORED != 0 {
        let to = RemoteTo::Pid(to);
        node.answer(vm, connection, parent, &RemoteSignal::Demonitor { to, reference });
    }
    if flags & SPAWNED_LINKED != 0 {
        let reason = kept.as_ref().map_or(Term::atom(am::NOPROC), Tag::term);
        node.answer(vm, connection, parent, &RemoteSignal::LinkExit { to, reason });
    }
}

/// The lowest eight bits of an integer that is not negative.
fn lowest_byte(term: Term) -> Option<u8> {
    match term.as_small() {
        Some(number) => (number >= 0).then_some(number as u8),
        None => term.as_big().filter(|big| !big.is_negative()).map(|big| big.digits()[0] as u8),
    }
}

fn forget_watcher(process: &mut Process, reference: RemoteRef) {
    if let Some(remote) = &mut process.relations.remote {
        remote.monitored_by.remove(&reference);
    }
}
