//! The drivers `tcp_inet` and `udp_inet`: the native side of OTP's `prim_inet`.
//!
//! A request comes by `port_control/3`: an operation, answered at once by a list of bytes that
//! begins with 1 (done) or 0 (the name of an error follows). What takes time answers with a number,
//! and `{inet_async, Port, Number, Result}` follows later. What is written to the port is sent, and
//! `{inet_reply, Port, Status}` follows.
//!
//! A socket never blocks: its state says what it waits for, and after each step [`Inet::arm`] asks
//! the poller for just that.

mod address;
mod ancillary;
mod channel;
mod closing;
mod establish;
mod framing;
mod input;
pub mod interfaces;
mod options;
mod output;
mod questions;
mod queue;
mod replies;
mod sendfile;
mod state;

use address::family;
use parking_lot::Mutex;
use replies::{After, Failure, Reply, cancel, done, error, failed, finish, reply};
use socket2::Socket;
use state::{Active, Options, Piece, State};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::{Answer, Driver, Ready, Request, Written};
use swarmrt_io::posix;
use swarmrt_machine::Vm;
use swarmrt_machine::signal::remote::SharedChannel;
use swarmrt_term::binary::IoPart;
use swarmrt_term::{Term, am, atom};

/// Keeps these operations apart from other drivers'.
const MAGIC: u64 = 0x03f1_a300;

/// Operations of `port_control/3`, by the numbers `INET_REQ_…`, `TCP_REQ_…` and `PACKET_REQ_…` of
/// OTP's `inet_int.hrl`.
mod operation {
    /// Makes the socket.
    pub const OPEN: u64 = 1;
    /// Connects to an address, within a time limit.
    pub const CONNECT: u64 = 3;
    /// The address of the peer.
    pub const PEER: u64 = 4;
    /// The socket's own address.
    pub const NAME: u64 = 5;
    /// Binds the socket to an address.
    pub const BIND: u64 = 6;
    /// Sets options, by the numbers of [`code`](super::options::code).
    pub const SET_OPTIONS: u64 = 7;
    /// Reads options.
    pub const GET_OPTIONS: u64 = 8;
    /// Counts of bytes and packets.
    pub const STATISTICS: u64 = 11;
    /// The name of this machine.
    pub const HOST_NAME: u64 = 12;
    /// Takes over a descriptor that is a socket.
    pub const FD_OPEN: u64 = 13;
    /// The number of the descriptor.
    pub const DESCRIPTOR: u64 = 14;
    /// Family and type.
    pub const TYPE: u64 = 15;
    /// Answers bits of [`status`](super::status).
    pub const STATUS: u64 = 16;
    /// The port of a service.
    pub const SERVICE_BY_NAME: u64 = 17;
    /// The name of a service.
    pub const SERVICE_BY_PORT: u64 = 18;
    /// Sets what [`NAME`] answers.
    pub const SET_NAME: u64 = 19;
    /// Sets what [`PEER`] answers.
    pub const SET_PEER: u64 = 20;
    /// The names of the interfaces.
    pub const INTERFACE_NAMES: u64 = 21;
    /// Items of one interface.
    pub const GET_INTERFACE: u64 = 22;
    /// Changes items of one interface.
    pub const SET_INTERFACE: u64 = 23;
    /// Asks for a message when the output queue is empty.
    pub const SUBSCRIBE: u64 = 24;
    /// All interfaces with their addresses, as `getifaddrs(3)` has them.
    pub const INTERFACES: u64 = 25;
    /// Accepts a connection, within a time limit.
    pub const ACCEPT: u64 = 26;
    /// Listens, with a backlog.
    pub const LISTEN: u64 = 27;
    /// Accepted, and without effect.
    pub const IGNORE_FD: u64 = 28;
    /// All own addresses.
    pub const NAMES: u64 = 29;
    /// All addresses of the peer.
    pub const PEERS: u64 = 30;
    /// Receives from a stream, within a time limit.
    pub const RECEIVE: u64 = 42;
    /// Puts bytes back in front of what is received next.
    pub const UNRECEIVE: u64 = 43;
    /// Shuts down one direction or both.
    pub const SHUTDOWN: u64 = 44;
    /// Sends a part of a file.
    pub const SEND_FILE: u64 = 45;
    /// Receives a datagram, within a time limit.
    pub const RECEIVE_FROM: u64 = 60;
}

/// Bits of the answer to [`operation::STATUS`], by the numbers `INET_F_…` of OTP's `inet_int.hrl`.
mod status {
    /// There is a socket.
    pub const OPEN: u32 = 1;
    /// It is connected.
    pub const ACTIVE: u32 = 4;
    /// It listens.
    pub const LISTEN: u32 = 8;
    /// It is being connected.
    pub const CONNECTING: u32 = 0x10;
    /// A caller waits for a connection.
    pub const ACCEPTING: u32 = 0x20;
    /// The output queue is over the high watermark.
    pub const BUSY: u32 = 0x80;
}

/// The driver of one socket.
pub struct Inet {
    stream: bool,
    me: Weak<Inet>,
    state: Mutex<State>,
}

// With its two counts. The allocator's next size is 448.
const _: () = assert!(size_of::<Inet>() + 16 <= 384);

/// A driver `tcp_inet` for a new port, without a socket yet.
pub fn tcp(_vm: &'static Vm) -> Arc<dyn Driver> {
    Inet::new(true, State::new(true))
}

/// A driver `udp_inet` for a new port, without a socket yet.
pub fn udp(_vm: &'static Vm) -> Arc<dyn Driver> {
    Inet::new(false, State::new(false))
}

impl Inet {
    fn new(stream: bool, state: State) -> Arc<Inet> {
        Arc::new_cyclic(|me| Inet { stream, me: me.clone(), state: Mutex::new(state) })
    }

    /// The first element of messages that come without being asked for.
    fn tag(&self) -> Term {
        Term::atom(if self.stream { atom!("tcp") } else { atom!("udp") })
    }

    /// What new options lead to: input is read or delivered, and a port that has become active is
    /// told of the end of its connection.
    fn options_changed(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) -> After {
        if state.channel.is_some() {
            self.arm(vm, port, state);
            let reads = state.is_active() && channel::takes(state.options.packet);
            return if reads { After::ReadChannel } else { After::Nothing };
        }
        let mut after = if state.is_active() {
            self.take_in(vm, port, state)
        } else {
            self.deliver(vm, port, state)
        };
        if after == After::Nothing
            && state.is_active()
            && let Some(name) = state.owed.take()
        {
            self.tell_closed(vm, port, name);
            after = if state.options.exit_on_close { After::ClosePort } else { after };
        }
        self.arm(vm, port, state);
        after
    }

    fn answer(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> (Reply, After) {
        let (vm, port) = (request.vm, request.port);
        let mut state = self.state.lock();
        let state = &mut *state;
        let open = |state: &State| {
            state
                .socket
                .as_ref()
                .map(|socket| (socket.local_addr(), socket.peer_addr()))
                .ok_or(Failure::INVALID)
        };
        let reply = match operation {
            operation::OPEN => self.open(vm, port, state, data),
            operation::FD_OPEN => self.fd_open(vm, port, state, data),
            operation::BIND => Inet::bind(state, data),
            operation::CONNECT => self.connect(request, state, data),
            operation::LISTEN if self.stream => Inet::listen(state, data),
            operation::ACCEPT if self.stream => self.accept(request, state, data),
            operation::SET_NAME => Inet::pretended(state.domain, data)
                .map(|name| state.uncommon().pretended_name = name)
                .map(|()| Vec::new()),
            operation::SET_PEER => Inet::pretended(state.domain, data)
                .map(|peer| state.uncommon().pretended_peer = peer)
                .map(|()| Vec::new()),
            operation::NAME => match state.pretended_name() {
                Some(name) => Inet::addressed(Ok(name.clone())),
                None => open(state).and_then(|(local, _)| Inet::addressed(local)),
            },
            operation::PEER => match state.pretended_peer() {
                Some(peer) if state.connected => Inet::addressed(Ok(peer.clone())),
                _ => open(state)
                    .map_err(|_| Failure::System(libc::ENOTCONN))
                    .and_then(|(_, peer)| Inet::addressed(peer)),
            },
            operation::NAMES | operation::PEERS if data.len() != size_of::<u32>() => {
                Err(Failure::INVALID)
            }
            operation::NAMES => open(state)
                .map_err(|_| Failure::UNKNOWN_REQUEST)
                .and_then(|(local, _)| Inet::addressed(local)),
            operation::PEERS => open(state)
                .map_err(|_| Failure::UNKNOWN_REQUEST)
                .and_then(|(_, peer)| Inet::addressed(peer)),
            operation::INTERFACE_NAMES | operation::GET_INTERFACE | operation::SET_INTERFACE => {
                match &state.socket {
                    Some(socket) => Inet::interface(socket, operation, data),
                    None => Err(Failure::UNKNOWN_REQUEST),
                }
            }
            operation::SET_OPTIONS => {
                let result = Inet::set_options(state, data);
                let after = self.options_changed(vm, port, state);
                return (result.map(|()| Vec::new()).map_err(Failure::from), after);
            }
            operation::GET_OPTIONS => Inet::get_options(state, data).ok_or(Failure::INVALID),
            operation::STATISTICS => Inet::statistics(state, data),
            operation::STATUS => Inet::status(state),
            operation::DESCRIPTOR => match &state.socket {
                Some(socket) => Ok(socket.as_raw_fd().to_be_bytes().to_vec()),
                None => Err(Failure::INVALID),
            },
            operation::TYPE => {
                let kind: u32 = if self.stream { 1 } else { 2 };
                Ok([u32::from(address::family_of(state.domain)).to_be_bytes(), kind.to_be_bytes()]
                    .concat())
            }
            operation::HOST_NAME => interfaces::host_name().map_err(Failure::from),
            operation::SERVICE_BY_NAME => interfaces::service_by_name(data).ok_or(Failure::INVALID),
            operation::SERVICE_BY_PORT => interfaces::service_by_port(data).ok_or(Failure::INVALID),
            operation::INTERFACES => interfaces::addresses().map_err(Failure::from),
            operation::SUBSCRIBE => Inet::subscribe(state, request.from, data),
            operation::IGNORE_FD => Ok(Vec::new()),
            operation::SHUTDOWN if self.stream => Inet::shut_down(state, data),
            operation::SEND_FILE if self.stream => {
                let reply = Inet::send_file(state, request.from, data);
                let after = self.go_on_sending(vm, port, state);
                self.arm(vm, port, state);
                return (reply, after);
            }
            operation::UNRECEIVE if self.stream => {
                let at = state.input_at;
                state.input.splice(at..at, data.iter().copied());
                Ok(Vec::new())
            }
            operation::RECEIVE if self.stream => {
                let answer = self.receive(request, state, data);
                self.arm(vm, port, state);
                return answer;
            }
            operation::RECEIVE_FROM if !self.stream => {
                let answer = self.receive(request, state, data);
                self.arm(vm, port, state);
                return answer;
            }
            _ => Err(Failure::UNKNOWN_REQUEST),
        };
        self.arm(vm, port, state);
        (reply, After::Nothing)
    }
}

impl Driver for Inet {
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        self.output_parts(request, &mut [IoPart::Bytes(bytes)])
    }

    fn output_parts(&self, request: &Request<'_>, parts: &mut [IoPart]) -> Written {
        let after = self.send(request, parts);
        finish(request.vm, request.port, after);
        Written::Done
    }

    fn is_busy(&self) -> bool {
        self.state.lock().is_busy()
    }

    fn control(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Answer> {
        const OPERATIONS_MAX: u64 = 100;
        let operation = operation
            .checked_sub(MAGIC)
            .filter(|&operation| operation < OPERATIONS_MAX)
            .unwrap_or(OPERATIONS_MAX);
        let (reply, mut after) = self.answer(request, operation, data);
        if after == After::ReadChannel {
            after = self.read_channel(request.vm, request.port);
        }
        finish(request.vm, request.port, after);
        Some(Answer::Bytes(match reply {
            Ok(mut bytes) => {
                bytes.insert(0, 1);
                bytes
            }
            Err(failure) => [&[0], failure.name().as_bytes()].concat(),
        }))
    }

    fn attach(&self, _vm: &'static Vm, _port: &Arc<Port>, channel: SharedChannel) -> bool {
        self.attach_channel(channel)
    }

    fn channel_filled(&self, vm: &'static Vm, port: &Arc<Port>) {
        self.write_channel(vm, port);
    }

    fn takes_force(&self) -> bool {
        true
    }

    /// On other sockets, a writer waits for the reply.
    fn suspends_writers(&self) -> bool {
        let state = self.state.lock();
        state.channel.is_some() && !state.senders.is_empty()
    }

    fn ready(&self, vm: &'static Vm, port: &Arc<Port>, ready: Ready) {
        let mut state = self.state.lock();
        if state.channel.is_some() && state.connecting.is_none() {
            drop(state);
            return self.ready_channel(vm, port, ready);
        }
        state.note(ready);
        if state.socket.is_none() {
            // The port was closed while this news was on its way: its owner is told nothing more.
            return;
        }
        if state.connecting.is_some() && state.still_connects() {
            // The news is of the time before.
            return;
        }
        if let Some(waiter) = state.connecting.take() {
            let error = state.socket.as_ref().map(Socket::take_error);
            cancel(vm, waiter.timer);
            match error {
                Some(Ok(None)) => {
                    state.connected = true;
                    state.bound = true;
                    done(vm, port, waiter.caller, waiter.number, |_| Term::atom(am::OK));
                }
                Some(Ok(Some(error)) | Err(error)) => {
                    failed(
                        vm,
                        port,
                        &waiter,
                        posix::name(error.raw_os_error().unwrap_or(libc::EIO)),
                    );
                    self.release(vm, &mut state);
                }
                None => failed(vm, port, &waiter, "closed"),
            }
            self.arm(vm, port, &mut state);
            return;
        }
        let mut after = After::Nothing;
        let is_held = state.sending.as_ref().is_some_and(|sending| sending.has_begun);
        if ready.writable && state.queued > 0 && !is_held {
            match Inet::flush(&mut state) {
                Ok(()) => self.after_flush(vm, port, &mut state),
                Err(problem) => after = self.lost(vm, port, &mut state, Some(problem)),
            }
        }
        if after == After::Nothing && ready.writable && state.sending.is_some() {
            after = self.go_on_sending(vm, port, &mut state);
        }
        if after == After::Nothing && ready.readable {
            if state.listening {
                self.accept_waiting(vm, port, &mut state);
            } else {
                after = self.take_in(vm, port, &mut state);
            }
        }
        self.arm(vm, port, &mut state);
        drop(state);
        finish(vm, port, after);
    }

    fn close(&self, vm: &'static Vm, port: &Port) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let waiting = state.connecting.take().map(|waiter| *waiter).into_iter();
        for waiter in waiting
            .chain(std::mem::take(&mut state.receivers))
            .chain(std::mem::take(&mut state.accepters))
        {
            waiter.stop(vm);
            failed(vm, port, &waiter, "closed");
        }
        for sender in std::mem::take(&mut state.senders) {
            cancel(vm, sender.timer);
            reply(vm, port, &sender, |heap| error(heap, "closed"));
        }
        sendfile::end_sending(vm, port, state, Err(atom!("closed")));
        state.channel = None;
        self.release(vm, state);
    }

    fn queued_bytes(&self) -> usize {
        self.state.lock().queued
    }

    fn monitored(&self) -> Vec<u64> {
        self.state.lock().accepters.iter().map(|waiter| waiter.caller).collect()
    }
}
