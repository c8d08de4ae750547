//! Control messages: tuples whose first element says what is to be done. Those that the peer knows,
//! and how a signal becomes one. See "Protocol between Connected Nodes" in the ERTS User's Guide.

use crate::flags;
use swarmrt_machine::signal::remote::{RemoteSignal, RemoteTo};
use swarmrt_term::{Alloc, FragmentHeap, Term, atom};

/// Operations: the first elements of control messages. With `_TT`, a sequential trace token is
/// among the elements; with `PAYLOAD_`, the reason follows the control message.
pub mod op {
    /// `{1, From, To}`.
    pub const LINK: i64 = 1;
    /// `{2, '', To}`, then the message.
    pub const SEND: i64 = 2;
    /// `{3, From, To, Reason}`: a linked process has ended.
    pub const EXIT: i64 = 3;
    /// `{4, From, To}`, to peers without [`UNLINK_ID`](crate::flags::UNLINK_ID).
    pub const UNLINK: i64 = 4;
    /// `{6, From, '', ToName}`, then the message.
    pub const REG_SEND: i64 = 6;
    /// `{7, Leader, To}`.
    pub const GROUP_LEADER: i64 = 7;
    /// `{8, From, To, Reason}`: a call of `exit/2`.
    pub const EXIT2: i64 = 8;
    /// `{12, '', To, Token}`, then the message.
    pub const SEND_TT: i64 = 12;
    /// `{13, From, To, Token, Reason}`.
    pub const EXIT_TT: i64 = 13;
    /// `{16, From, '', ToName, Token}`, then the message.
    pub const REG_SEND_TT: i64 = 16;
    /// `{18, From, To, Token, Reason}`.
    pub const EXIT2_TT: i64 = 18;
    /// `{19, From, To, Reference}`, where `To` is a pid or a name.
    pub const MONITOR: i64 = 19;
    /// `{20, From, To, Reference}`.
    pub const DEMONITOR: i64 = 20;
    /// `{21, From, To, Reference, Reason}`, where `From` is the pid or name that was monitored.
    pub const MONITOR_EXIT: i64 = 21;
    /// `{22, From, To}`, then the message.
    pub const SEND_SENDER: i64 = 22;
    /// `{23, From, To, Token}`, then the message.
    pub const SEND_SENDER_TT: i64 = 23;
    /// `{24, From, To}`, then the reason.
    pub const PAYLOAD_EXIT: i64 = 24;
    /// `{25, From, To, Token}`, then the reason.
    pub const PAYLOAD_EXIT_TT: i64 = 25;
    /// `{26, From, To}`, then the reason.
    pub const PAYLOAD_EXIT2: i64 = 26;
    /// `{27, From, To, Token}`, then the reason.
    pub const PAYLOAD_EXIT2_TT: i64 = 27;
    /// `{28, From, To, Reference}`, then the reason.
    pub const PAYLOAD_MONITOR_EXIT: i64 = 28;
    /// `{29, Reference, From, Leader, {Module, Function, Arity}, Options}`, then the arguments.
    pub const SPAWN_REQUEST: i64 = 29;
    /// `{30, Reference, From, Leader, {Module, Function, Arity}, Options, Token}`, then the
    /// arguments.
    pub const SPAWN_REQUEST_TT: i64 = 30;
    /// `{31, Reference, To, Flags, Result}`, where `Result` is a pid or the atom of an error.
    pub const SPAWN_REPLY: i64 = 31;
    /// `{32, Reference, To, Flags, Result, Token}`.
    pub const SPAWN_REPLY_TT: i64 = 32;
    /// `{33, From, Alias}`, then the message.
    pub const ALIAS_SEND: i64 = 33;
    /// `{34, From, Alias, Token}`, then the message.
    pub const ALIAS_SEND_TT: i64 = 34;
    /// `{35, Id, From, To}`, answered by [`UNLINK_ID_ACK`].
    pub const UNLINK_ID: i64 = 35;
    /// `{36, Id, From, To}`.
    pub const UNLINK_ID_ACK: i64 = 36;
    /// `{37, Flags, From, To}` or `{37, Flags, From, To, Token}`, then the message or the reason;
    /// the flags are those of [`altact`](super::altact).
    pub const ALTACT_SIG_SEND: i64 = 37;
}

/// Flags of [`op::ALTACT_SIG_SEND`].
pub mod altact {
    /// The signal has priority.
    pub const PRIORITY: u8 = 1;
    /// A token is behind the receiver.
    pub const TOKEN: u8 = 1 << 1;
    /// The receiver is an alias. Without this and [`NAME`] it is a pid.
    pub const ALIAS: u8 = 1 << 2;
    /// The receiver is a registered name.
    pub const NAME: u8 = 1 << 3;
    /// An exit signal; else a message.
    pub const EXIT: u8 = 1 << 4;
}

/// A signal as a control message, with its payload where it has one.
pub struct Control {
    pub control: Term,
    pub payload: Option<Term>,
}

impl Control {
    /// Whether it is one that only peers with [`flags::ALTACT_SIG`] read.
    pub fn is_altact(&self) -> bool {
        let operation = self.control.as_tuple().map(|control| control.get(0));
        operation == Some(Term::small(op::ALTACT_SIG_SEND))
    }
}

fn receiver(to: RemoteTo, heap: &mut FragmentHeap) -> Term {
    match to {
        RemoteTo::Pid(pid) => pid.to_term(heap),
        RemoteTo::Name(name) => Term::atom(name),
        RemoteTo::Alias(reference) => reference.to_term(heap),
    }
}

/// The control message that carries a priority, or an exit signal to an alias; `None` for other
/// signals.
fn altact(
    signal: &RemoteSignal,
    from: Term,
    token: Option<Term>,
    priority: bool,
    heap: &mut FragmentHeap,
) -> Option<Control> {
    let (to, payload, kind) = match *signal {
        RemoteSignal::Message { to, message } => (to, message, 0),
        RemoteSignal::Exit { to, reason } => (to, reason, altact::EXIT),
        _ => return None,
    };
    // An exit signal that goes so has no token, as in OTP.
    let token = token.filter(|_| kind == 0);
    let addressing = match to {
        RemoteTo::Alias(_) => altact::ALIAS,
        _ if !priority => return None,
        RemoteTo::Name(_) => altact::NAME,
        RemoteTo::Pid(_) => 0,
    };
    let flags = kind
        | addressing
        | if priority { altact::PRIORITY } else { 0 }
        | if token.is_some() { altact::TOKEN } else { 0 };
    let flags = Term::small(i64::from(flags));
    let mut elements = vec![Term::small(op::ALTACT_SIG_SEND), flags, from, receiver(to, heap)];
    elements.extend(token);
    Some(Control { control: heap.tuple(&elements), payload: Some(payload) })
}

/// Who a signal is from, and what goes along with it.
#[derive(Clone, Copy)]
pub struct Origin {
    pub from: Term,
    /// The sender's group leader.
    pub leader: Term,
    pub token: Option<Term>,
    pub priority: bool,
}

impl Origin {
    /// The origin of a signal that answers a peer's: no token, no priority, and no group leader.
    pub fn answering(from: Term) -> Origin {
        Origin { from, leader: Term::NIL, token: None, priority: false }
    }
}

/// The control message for a peer with these capabilities; `None` where nothing is to be sent.
pub fn of(
    signal: &RemoteSignal,
    origin: Origin,
    peer: u64,
    heap: &mut FragmentHeap,
) -> Option<Control> {
    let Origin { from, leader, token, priority } = origin;
    if peer & flags::ALTACT_SIG != 0
        && let Some(control) = altact(signal, from, token, priority, heap)
    {
        return Some(control);
    }
    let mut elements: Vec<Term> = Vec::with_capacity(8);
    let mut payload = None;
    let small = Term::small;
    // The number of an operation, where a token makes it another.
    let pick =
        |plain: i64, with_token: i64| small(if token.is_some() { with_token } else { plain });
    match *signal {
        RemoteSignal::Message { to, message } => {
            payload = Some(message);
            let receiver = receiver(to, heap);
            let empty = Term::atom(atom!(""));
            match to {
                RemoteTo::Name(_) => {
                    elements.extend([pick(op::REG_SEND, op::REG_SEND_TT), from, empty, receiver]);
                }
                RemoteTo::Alias(_) => {
                    elements.extend([pick(op::ALIAS_SEND, op::ALIAS_SEND_TT), from, receiver]);
                }
                RemoteTo::Pid(_) if peer & flags::SEND_SENDER != 0 => {
                    elements.extend([pick(op::SEND_SENDER, op::SEND_SENDER_TT), from, receiver]);
                }
                RemoteTo::Pid(_) => {
                    elements.extend([pick(op::SEND, op::SEND_TT), empty, receiver]);
                }
            }
            elements.extend(token);
        }
        RemoteSignal::Exit { to: RemoteTo::Alias(_) | RemoteTo::Name(_), .. } => return None,
        RemoteSignal::Exit { to: RemoteTo::Pid(to), reason }
        | RemoteSignal::LinkExit { to, reason } => {
            let has_payload = peer & flags::EXIT_PAYLOAD != 0;
            let operation = match (signal, has_payload) {
                (RemoteSignal::Exit { .. }, true) => pick(op::PAYLOAD_EXIT2, op::PAYLOAD_EXIT2_TT),
                (RemoteSignal::Exit { .. }, false) => pick(op::EXIT2, op::EXIT2_TT),
                (_, true) => pick(op::PAYLOAD_EXIT, op::PAYLOAD_EXIT_TT),
                (_, false) => pick(op::EXIT, op::EXIT_TT),
            };
            elements.extend([operation, from, to.to_term(heap)]);
            elements.extend(token);
            if has_payload {
                payload = Some(reason);
            } else {
                elements.push(reason);
            }
        }
        RemoteSignal::Link { to } => elements.extend([small(op::LINK), from, to.to_term(heap)]),
        RemoteSignal::Unlink { to, id } if peer & flags::UNLINK_ID != 0 || peer == 0 => {
            elements.extend([small(op::UNLINK_ID), heap.uint(id), from, to.to_term(heap)]);
        }
        RemoteSignal::Unlink { to, .. } => {
            elements.extend([small(op::UNLINK), from, to.to_term(heap)]);
        }
        RemoteSignal::UnlinkAck { to, id } => {
            elements.extend([small(op::UNLINK_ID_ACK), heap.uint(id), from, to.to_term(heap)]);
        }
        RemoteSignal::Monitor { to, reference } => {
            let (to, reference) = (receiver(to, heap), reference.to_term(heap));
            elements.extend([small(op::MONITOR), from, to, reference]);
        }
        RemoteSignal::Demonitor { to, reference } => {
            let (to, reference) = (receiver(to, heap), reference.to_term(heap));
            elements.extend([small(op::DEMONITOR), from, to, reference]);
        }
        RemoteSignal::Down { to, reference, name, reason } => {
            let (to, reference) = (to.to_term(heap), reference.to_term(heap));
            let watched = name.map_or(from, Term::atom);
            if peer & flags::EXIT_PAYLOAD != 0 {
                elements.extend([small(op::PAYLOAD_MONITOR_EXIT), watched, to, reference]);
                payload = Some(reason);
            } else {
                elements.extend([small(op::MONITOR_EXIT), watched, to, reference, reason]);
            }
        }
        RemoteSignal::GroupLeader { to, leader } => {
            elements.extend([small(op::GROUP_LEADER), leader, to.to_term(heap)]);
        }
        RemoteSignal::SpawnRequest { reference, mfa: (module, function), arguments, options } => {
            let arity = arguments.list_len().unwrap_or(0) as i64;
            let mfa = heap.tuple(&[Term::atom(module), Term::atom(function), small(arity)]);
            let reference = reference.to_term(heap);
            let operation = pick(op::SPAWN_REQUEST, op::SPAWN_REQUEST_TT);
            elements.extend([operation, reference, from, leader, mfa, options]);
            elements.extend(token);
            payload = Some(arguments);
        }
        RemoteSignal::SpawnReply { to, reference, flags, result } => {
            let (to, reference) = (to.to_term(heap), reference.to_term(heap));
            let flags = small(i64::from(flags));
            elements.extend([small(op::SPAWN_REPLY), reference, to, flags, result]);
        }
        RemoteSignal::MonitorNode => return None,
    }
    Some(Control { control: heap.tuple(&elements), payload })
}
