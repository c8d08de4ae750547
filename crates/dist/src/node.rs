//! Another node, and the connection to it.
//!
//! A connection is being set up (`Pending`: what is sent meanwhile waits) or up. It has a number,
//! so that what belongs to an earlier one is told apart. The lock of the state is held for short
//! steps only, and never while a signal is delivered or something is written.

use crate::atoms;
use crate::control::{self, Control, Origin};
use crate::flags;
use crate::nodes::{self, Dist};
use crate::output::Output;
use crate::packet::{Encoded, Incoming};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use swarmrt_heap::copy_whole;
use swarmrt_machine::process::connection_ready;
use swarmrt_machine::process::links::{RefValue, Tag};
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::signal::remote::{Channel, Packet, RemoteSignal, SharedChannel};
use swarmrt_machine::{Vm, signal};
use swarmrt_term::{Atom, FragmentHeap, Term, am, atom};

/// Whether there is a connection: none, one that is being set up, or one that is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Idle,
    Pending,
    Up,
}

/// What feeds a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Controller {
    Port(Term),
    Process(u64),
}

impl Controller {
    /// The port or pid.
    pub fn term(self) -> Term {
        match self {
            Controller::Port(port) => port,
            Controller::Process(pid) => Term::pid(pid),
        }
    }
}

/// What a signal becomes before the peer's capabilities are known.
pub struct Forms {
    /// The control message that every peer reads, if there is one.
    pub plain: Option<Control>,
    /// The one for peers with [`flags::ALTACT_SIG`], where it differs.
    pub altact: Option<Control>,
}

impl Forms {
    fn copied(&self, heap: &mut FragmentHeap) -> Forms {
        let mut copied = |form: &Option<Control>| {
            form.as_ref().map(|form| Control {
                control: copy_whole(form.control, heap),
                payload: form.payload.map(|payload| copy_whole(payload, heap)),
            })
        };
        Forms { plain: copied(&self.plain), altact: copied(&self.altact) }
    }

    /// Whether a payload has a binary that no message can hold.
    pub fn is_too_large(&self) -> bool {
        let payload = self.plain.as_ref().or(self.altact.as_ref()).and_then(|form| form.payload);
        // Fragments leave large binaries where they are.
        payload.is_some() && Encoded::of(Term::NIL, payload, flags::FRAGMENTS).is_none()
    }

    fn chosen(self, peer: u64) -> Option<Control> {
        let altact = self.altact.filter(|_| peer & flags::ALTACT_SIG != 0);
        altact.or(self.plain)
    }
}

/// A signal that waits for the connection.
struct Waiting {
    _heap: FragmentHeap,
    /// A pid of this node.
    sender: Term,
    forms: Forms,
}

/// The connection to a node, and what waits for it.
pub struct State {
    pub status: Status,
    /// When it was idle first, in nanoseconds since the start.
    idle_since_ns: u64,
    /// The number of the connection that is there, is set up, or was there last.
    pub connection: u32,
    /// The capabilities that both sides have.
    pub flags: u64,
    /// The node's creation when it connected last.
    pub creation: u32,
    pub controller: Option<Controller>,
    pub output: Output,
    waiting: Vec<Waiting>,
    sent_atoms: atoms::Sent,
    /// Processes that have something to do with the node.
    related: HashSet<u64>,
    orphans: Vec<(RefValue, Tag)>,
    /// The process that hands over what comes in, where a process feeds the connection.
    pub input_handler: Option<u64>,
    /// The controlling process wants to be told when there is something to be written.
    pub wants_notice: bool,
    /// It gets the size of what is to be written, too.
    pub gets_size: bool,
    /// The scheduler that has written for its process in this turn, and writes again after it.
    writes_after_turn: Option<ThreadId>,
}

/// How long an idle node is kept, as in OTP.
pub const KEPT_NS: u64 = 60_000_000_000;

/// Small messages that wait for the end of a turn.
const BATCH_MESSAGES: usize = 64;
/// Bytes of those.
const BATCH_BYTES: usize = 16 << 10;

/// What has come in, of which connection.
#[derive(Default)]
struct Input {
    connection: u32,
    incoming: Incoming,
}

/// Another node. It is kept when the connection is lost, and used again for the next.
pub struct Node {
    pub name: Atom,
    pub state: Mutex<State>,
    input: Mutex<Input>,
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
}

impl Node {
    /// A node without a connection, which is busy from so many bytes on.
    pub fn new(name: Atom, busy_bytes: usize, now_ns: u64) -> Node {
        let state = State {
            status: Status::Idle,
            idle_since_ns: now_ns,
            connection: 0,
            flags: 0,
            creation: 0,
            controller: None,
            output: Output::new(busy_bytes),
            waiting: Vec::new(),
            sent_atoms: atoms::Sent::default(),
            related: HashSet::new(),
            orphans: Vec::new(),
            input_handler: None,
            wants_notice: false,
            gets_size: false,
            writes_after_turn: None,
        };
        let (packets_in, packets_out) = (AtomicU64::new(0), AtomicU64::new(0));
        Node { name, state: Mutex::new(state), input: Mutex::default(), packets_in, packets_out }
    }

    /// Adds a process to those that are told when the connection is lost. `false` when there is no
    /// such connection any more.
    pub fn relate(&self, pid: u64, connection: u32) -> bool {
        let mut state = self.state.lock();
        let is_there = state.connection == connection && state.status != Status::Idle;
        if is_there {
            state.related.insert(pid);
        }
        is_there
    }

    /// The processes that are told when the connection is lost.
    pub fn related(&self) -> Vec<u64> {
        self.state.lock().related.iter().copied().collect()
    }

    /// The process need not be told any more when this connection is lost.
    pub fn unrelate(&self, pid: u64, connection: u32) {
        let mut state = self.state.lock();
        if state.connection == connection {
            state.related.remove(&pid);
        }
    }

    /// Keeps the reason with which a process ended before its spawn request was answered, for
    /// [`take_orphan`](Self::take_orphan). Nothing is kept when the connection is another.
    pub fn orphan(&self, connection: u32, reference: RefValue, reason: Term) {
        let mut state = self.state.lock();
        if state.connection == connection && state.status != Status::Idle {
            state.orphans.push((reference, Tag::new(reason)));
        }
    }

    /// Takes the reason that [`orphan`](Self::orphan) kept for the spawn request with this
    /// reference.
    pub fn take_orphan(&self, reference: RefValue) -> Option<Tag> {
        let mut state = self.state.lock();
        let at = state.orphans.iter().position(|(other, _)| *other == reference)?;
        Some(state.orphans.swap_remove(at).1)
    }

    /// Puts a message into the connection's queue, which has this number. `false` when it is no
    /// longer what it was when the message was encoded.
    pub fn enqueue(
        &self,
        sender: Term,
        encoded: Encoded,
        relates: Option<u64>,
        connection: u32,
    ) -> bool {
        let mut state = self.state.lock();
        if state.connection != connection || state.status != Status::Up {
            return false;
        }
        state.related.extend(relates);
        let peer = state.flags;
        state.output.push(sender, encoded, peer);
        true
    }

    /// Keeps a message until the connection is up. `false` when it is no longer being set up.
    pub fn wait(&self, sender: Term, forms: &Forms, relates: Option<u64>, connection: u32) -> bool {
        let mut heap = FragmentHeap::new();
        let forms = forms.copied(&mut heap);
        let mut state = self.state.lock();
        if state.connection != connection || state.status != Status::Pending {
            return false;
        }
        state.related.extend(relates);
        state.waiting.push(Waiting { _heap: heap, sender, forms });
        true
    }

    /// As [`Node::notify`], for a message of a process: the first in its turn is written at once,
    /// more of them together.
    pub fn notify_in_turn(self: &Arc<Node>, vm: &'static Vm) {
        let thread = std::thread::current().id();
        let is_first = {
            let mut state = self.state.lock();
            if !matches!(state.controller, Some(Controller::Port(_))) {
                drop(state);
                return self.notify(vm);
            }
            let is_own = state.writes_after_turn == Some(thread);
            if is_own && state.output.is_small_batch(BATCH_MESSAGES, BATCH_BYTES) {
                return;
            }
            let is_first = state.writes_after_turn.is_none();
            if is_first {
                state.writes_after_turn = Some(thread);
            }
            is_first
        };
        self.notify(vm);
        if is_first {
            let node = self.clone();
            if !deferred::defer_to_end_of_turn(Box::new(move || node.turn_is_over(vm))) {
                self.state.lock().writes_after_turn = None;
            }
        }
    }

    /// The turn is over in which messages were kept back.
    fn turn_is_over(&self, vm: &'static Vm) {
        let is_filled = {
            let mut state = self.state.lock();
            state.writes_after_turn = None;
            !state.output.is_empty()
        };
        if is_filled {
            self.notify(vm);
        }
    }

    /// Has whoever feeds the connection write what waits.
    pub fn notify(&self, vm: &'static Vm) {
        let controller = {
            let mut state = self.state.lock();
            match state.controller {
                Some(Controller::Process(_)) if !state.wants_notice || state.output.is_empty() => {
                    None
                }
                Some(controller) => {
                    state.wants_notice = false;
                    Some(controller)
                }
                None => None,
            }
        };
        match controller {
            Some(Controller::Port(port)) => {
                if let Some(ports) = vm.ports() {
                    ports.channel_filled(vm, port);
                }
            }
            Some(Controller::Process(pid)) => {
                signal::send_message(vm, Term::NONE, pid, Term::atom(atom!("dist_data")));
            }
            None => {}
        }
    }

    /// The next packet to be written.
    pub fn next_packet(&self, vm: &'static Vm, connection: u32) -> Option<Packet> {
        let (packet, resumed) = {
            let mut state = self.state.lock();
            if state.connection != connection || state.status != Status::Up {
                return None;
            }
            let state = &mut *state;
            let packet = state.output.pop(&mut state.sent_atoms, state.flags)?;
            (packet, state.output.take_resumed())
        };
        self.packets_out.fetch_add(1, Ordering::Relaxed);
        resumed.into_iter().for_each(|waiter| connection_ready(vm, waiter));
        Some(packet)
    }

    /// The connection that is being set up is up from now on. `None` when none is set up, or it has
    /// a controller.
    pub fn up(&self, controller: Controller, flags: u64) -> Option<u32> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.status != Status::Pending || state.controller.is_some() {
            return None;
        }
        state.status = Status::Up;
        state.flags = flags;
        state.controller = Some(controller);
        state.sent_atoms = atoms::Sent::default();
        state.input_handler =
            if let Controller::Process(pid) = controller { Some(pid) } else { None };
        (state.wants_notice, state.gets_size) = (false, false);
        for waiting in std::mem::take(&mut state.waiting) {
            let Some(message) = waiting.forms.chosen(flags) else { continue };
            // It could be encoded when it was sent.
            if let Some(encoded) = Encoded::of(message.control, message.payload, flags) {
                state.output.push(waiting.sender, encoded, flags);
            }
        }
        self.packets_in.store(0, Ordering::Relaxed);
        self.packets_out.store(0, Ordering::Relaxed);
        Some(state.connection)
    }

    /// The connection with this number is over: everybody who has to do with it is told. What it
    /// was like; `None` when it was over already.
    pub fn over(&self, vm: &'static Vm, connection: u32) -> Option<Over> {
        let (over, related, suspended) = {
            let mut state = self.state.lock();
            if state.connection != connection || state.status == Status::Idle {
                return None;
            }
            let over = Over { was_up: state.status == Status::Up, flags: state.flags };
            state.status = Status::Idle;
            state.idle_since_ns = vm.clock.since_start_ns();
            state.controller = None;
            state.flags = 0;
            state.waiting.clear();
            state.orphans.clear();
            state.input_handler = None;
            (over, std::mem::take(&mut state.related), state.output.clear())
        };
        let node = self.name;
        let _guard = swarmrt_machine::pin();
        for pid in related {
            let lost: signal::Call = Box::new(move |_, process| {
                if let Some(process) = process {
                    process.connection_lost(node, connection);
                }
            });
            signal::send_call(vm, pid, lost);
        }
        suspended.into_iter().for_each(|waiter| connection_ready(vm, waiter));
        Some(over)
    }

    /// Sends a signal that answers one of the peer's, over the connection with this number if it is
    /// there still.
    pub fn answer(&self, vm: &'static Vm, connection: u32, from: Term, signal: &RemoteSignal) {
        let flags = {
            let state = self.state.lock();
            if state.connection != connection || state.status != Status::Up {
                return;
            }
            state.flags
        };
        let mut heap = FragmentHeap::new();
        let origin = Origin::answering(from);
        let Some(message) = control::of(signal, origin, flags, &mut heap) else { return };
        let Some(encoded) = Encoded::of(message.control, message.payload, flags) else { return };
        let sender = if from.is_pid() { from } else { Term::NONE };
        if self.enqueue(sender, encoded, None, connection) {
            self.notify(vm);
        }
    }

    /// Whether there is no connection, and was none for so long.
    pub fn is_forgettable(&self, now_ns: u64, kept_ns: u64) -> bool {
        let state = self.state.lock();
        state.status == Status::Idle && now_ns.saturating_sub(state.idle_since_ns) >= kept_ns
    }

    /// Whether the connection with this number is up.
    pub fn is_up(&self, connection: u32) -> bool {
        let state = self.state.lock();
        state.connection == connection && state.status == Status::Up
    }

    /// Ends whoever feeds the connection with this number.
    pub fn close(&self, vm: &'static Vm, connection: u32) {
        let controller = {
            let state = self.state.lock();
            if state.connection == connection { state.controller } else { None }
        };
        if let Some(controller) = controller {
            nodes::close(vm, controller, Term::atom(am::KILLED));
        }
    }

    /// Takes a packet from the peer. `false` when the connection is to be closed.
    pub fn take(self: &Arc<Self>, vm: &'static Vm, connection: u32, packet: &[u8]) -> bool {
        self.packets_in.fetch_add(1, Ordering::Relaxed);
        if packet.is_empty() {
            // Only to show that the peer is there.
            return true;
        }
        let mut input = self.input.lock();
        if input.connection != connection {
            let peer = self.state.lock().flags;
            *input = Input { connection, incoming: Incoming::new(peer) };
        }
        let taken = input.incoming.take(packet, &vm.code.term_resolver());
        match taken {
            Ok(Some(message)) => crate::input::dispatch(vm, self, connection, &message, packet),
            Ok(None) => true,
            Err(problem) => {
                crate::input::log_corrupt(vm, self, packet, problem);
                false
            }
        }
    }
}

/// What a connection was like.
pub struct Over {
    pub was_up: bool,
    pub flags: u64,
}

/// A connection that a port feeds.
struct PortChannel {
    node: Arc<Node>,
    connection: u32,
}

impl Channel for PortChannel {
    fn input(&self, vm: &'static Vm, packet: &[u8]) -> bool {
        self.node.take(vm, self.connection, packet)
    }
    fn output(&self, vm: &'static Vm) -> Option<Packet> {
        self.node.next_packet(vm, self.connection)
    }
    fn closed(&self, vm: &'static Vm, reason: Term) {
        let is_normal = reason == Term::atom(am::NORMAL);
        let reason = if is_normal { Term::atom(atom!("connection_closed")) } else { reason };
        Dist::of(vm).connection_over(vm, &self.node, self.connection, reason);
    }
}

/// The channel of a node's connection for a port.
pub fn port_channel(node: &Arc<Node>, connection: u32) -> SharedChannel {
    Arc::new(PortChannel { node: node.clone(), connection })
}
