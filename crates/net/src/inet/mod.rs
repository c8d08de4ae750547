//! The drivers `tcp_inet` and `udp_inet`: the native side of OTP's `prim_inet`.
//!
//! A request comes by `port_control/3`: an operation, answered at once by a list of bytes that begins with 1 (done) or 0 (the
//! name of an error follows). What takes time answers with a number, and `{inet_async, Port, Number, Result}` follows later.
//! What is written to the port is sent, and `{inet_reply, Port, Status}` follows.
//!
//! A socket never blocks: its state says what it waits for, and after each step [`Inet::arm`] asks the poller for just that.

mod address;
mod ancillary;
mod channel;
mod framing;
pub mod interfaces;
mod options;
mod sendfile;

use address::family;
use options::Reader;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::collections::VecDeque;
use smallvec::SmallVec;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;
use swarmrt_io::port::driver::{Answer, Driver, Ready, Request, Written, tell};
use swarmrt_io::port::input::READS_MAX;
use swarmrt_io::port::poller::Poller;
use swarmrt_io::port::{Options as PortOptions, Port, Ports};
use swarmrt_io::posix;
use swarmrt_machine::vm::packet::Kind;
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::signal::remote::{Bytes, SharedChannel};
use swarmrt_machine::schedule::timer::TimerKey;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::binary::{IoPart, KeptBytes};
use swarmrt_term::etf::{self, DecodeOptions};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Term, am, atom, release};

/// Keeps these operations apart from other drivers'.
const MAGIC: u64 = 0x03f1_a300;

/// Operations of `port_control/3`, by OTP's numbers.
mod operation {
    pub const OPEN: u64 = 1;
    pub const CONNECT: u64 = 3;
    pub const PEER: u64 = 4;
    pub const NAME: u64 = 5;
    pub const BIND: u64 = 6;
    pub const SET_OPTIONS: u64 = 7;
    pub const GET_OPTIONS: u64 = 8;
    pub const STATISTICS: u64 = 11;
    pub const HOST_NAME: u64 = 12;
    pub const FD_OPEN: u64 = 13;
    pub const DESCRIPTOR: u64 = 14;
    pub const TYPE: u64 = 15;
    pub const STATUS: u64 = 16;
    pub const SERVICE_BY_NAME: u64 = 17;
    pub const SERVICE_BY_PORT: u64 = 18;
    pub const SET_NAME: u64 = 19;
    pub const SET_PEER: u64 = 20;
    pub const INTERFACE_NAMES: u64 = 21;
    pub const GET_INTERFACE: u64 = 22;
    pub const SET_INTERFACE: u64 = 23;
    pub const SUBSCRIBE: u64 = 24;
    pub const INTERFACES: u64 = 25;
    pub const ACCEPT: u64 = 26;
    pub const LISTEN: u64 = 27;
    pub const IGNORE_FD: u64 = 28;
    pub const NAMES: u64 = 29;
    pub const PEERS: u64 = 30;
    pub const RECEIVE: u64 = 42;
    pub const UNRECEIVE: u64 = 43;
    pub const SHUTDOWN: u64 = 44;
    pub const SEND_FILE: u64 = 45;
    pub const RECEIVE_FROM: u64 = 60;
}

/// Bits of the answer to [`operation::STATUS`].
mod status {
    pub const OPEN: u32 = 1;
    pub const ACTIVE: u32 = 4;
    pub const LISTEN: u32 = 8;
    pub const CONNECTING: u32 = 0x10;
    pub const ACCEPTING: u32 = 0x20;
    pub const BUSY: u32 = 0x80;
}

/// Bytes of the largest driver buffer.
const BUFFER_MAX: usize = 64 << 20;
/// Bytes that are read at a time, at least.
const READ_BYTES_MIN: usize = 1460;
/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Bytes that may be asked for at a time.
const RECEIVE_BYTES_MAX: usize = 0x400_0000;

/// When data become messages without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Active {
    Passive,
    Always,
    Once,
    /// So many times more.
    Times(i16),
}

/// The driver's own options, with OTP's defaults.
#[derive(Clone)]
struct Options {
    active: Active,
    packet: Kind,
    binary: bool,
    deliver_term: bool,
    header: usize,
    buffer: usize,
    packet_size: usize,
    delimiter: u8,
    exit_on_close: bool,
    high_watermark: usize,
    low_watermark: usize,
    msgq_high: usize,
    msgq_low: usize,
    /// Milliseconds.
    send_timeout: Option<u32>,
    send_timeout_close: bool,
    delay_send: bool,
    read_packets: usize,
    show_econnreset: bool,
    read_ahead: bool,
    non_block_send: bool,
}

impl Options {
    fn new(stream: bool) -> Options {
        Options {
            active: Active::Passive,
            packet: Kind::Raw,
            binary: false,
            deliver_term: true,
            header: 0,
            buffer: if release::current() >= Release::R29 {
                9216
            } else if stream {
                READ_BYTES_MIN
            } else {
                8192
            },
            packet_size: 0,
            delimiter: b'\n',
            exit_on_close: true,
            high_watermark: 8192,
            low_watermark: 4096,
            msgq_high: 8192,
            msgq_low: 4096,
            send_timeout: None,
            send_timeout_close: false,
            delay_send: false,
            read_packets: 5,
            show_econnreset: false,
            read_ahead: true,
            non_block_send: false,
        }
    }
}

/// A process that waits for the result of an operation.
struct Waiter {
    caller: u64,
    /// The number in `{inet_async, Port, Number, _}`.
    number: u16,
    /// Bytes that are asked for; 0 is as many as there are, or a packet.
    length: usize,
    timer: Option<TimerKey>,
    /// What takes it out of the line when the process ends: a key of [`swarmrt_machine::process::Extra::on_exit`].
    hook: Option<u64>,
}

impl Waiter {
    /// It waits no more: neither its timer nor its end matters.
    fn stop(&self, vm: &'static Vm) {
        cancel(vm, self.timer);
        if let Some(hook) = self.hook {
            let unhook = move |_: &'static Vm, process: Option<&mut Process>| {
                if let Some(process) = process {
                    process.extra().on_exit.remove(&hook);
                }
            };
            let _guard = swarmrt_machine::pin();
            signal::send_call(vm, self.caller, Box::new(unhook));
        }
    }
}

/// A process that waits for the answer to what it wrote.
struct Sender {
    caller: u64,
    /// The reference that the answer carries since OTP 27, in the external format.
    reference: Vec<u8>,
    /// Tells this sender's timer from others'.
    number: u16,
    timer: Option<TimerKey>,
}

/// Counts and sizes of packets in one direction.
#[derive(Default)]
struct Traffic {
    packets: u32,
    bytes: u64,
    largest: u32,
    average: f64,
    deviation: f64,
}

impl Traffic {
    fn note(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes += bytes as u64;
        self.largest = self.largest.max(bytes.min(u32::MAX as usize) as u32);
        let off = bytes as f64 - self.average;
        self.average += off / f64::from(self.packets.max(1));
        self.deviation += (off.abs() - self.deviation) / f64::from(self.packets.max(1));
    }
}

/// Pieces that are written at a time.
const PIECES_MAX: usize = 32;

/// Bytes that wait to be written.
enum Piece {
    /// From that one on.
    Own(Vec<u8>, usize),
    /// A binary of the process that sends.
    Kept(KeptBytes),
    /// A part of a large message to another node.
    Shared(Bytes, Range<usize>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Own(bytes, start) => &bytes[*start..],
            Piece::Kept(bytes) => bytes.as_ref(),
            Piece::Shared(bytes, range) => &(**bytes).as_ref()[range.clone()],
        }
    }
}

struct State {
    stream: bool,
    socket: Option<Socket>,
    /// The descriptor was given to [`Inet::fd_open`]: whoever gave it closes it.
    is_lent: bool,
    domain: Domain,
    options: Options,
    bound: bool,
    listening: bool,
    connected: bool,
    /// The peer will send nothing more.
    closed_by_peer: bool,
    /// Why the connection ended, where nobody has been told yet: the next to ask is.
    owed: Option<&'static str>,
    connecting: Option<Waiter>,
    receivers: VecDeque<Waiter>,
    accepters: VecDeque<Waiter>,
    /// What has been read and not been delivered, from `input_at` on.
    input: Vec<u8>,
    input_at: usize,
    /// Headers of HTTP follow, in the packet types that begin with a request.
    http_headers: bool,
    /// Input that was no whole packet before may be one now.
    retry_input: bool,
    /// `{tcp_passive, Port}` is owed.
    says_passive: bool,
    output: VecDeque<Piece>,
    /// Bytes of the first piece that are out.
    output_at: usize,
    queued: usize,
    senders: VecDeque<Sender>,
    /// A file that is sent behind what is in the queue. What is written meanwhile waits.
    sending: Option<sendfile::Sending>,
    /// Which ancillary data are wanted: bits of `ancillary`.
    ancillary: u8,
    /// What `setsockname` and `setpeername` have the socket answer.
    pretended_name: Option<Box<SockAddr>>,
    pretended_peer: Option<Box<SockAddr>>,
    /// The path of the namespace in which the socket is to be made.
    netns: Option<Vec<u8>>,
    /// Who wants to know when the queue is empty.
    subscribers: Vec<u64>,
    /// Sending ends when the queue is empty.
    shuts_down: bool,
    next_number: u16,
    received: Traffic,
    sent: Traffic,
    /// What the poller was asked for; it tells of each change once.
    armed: Ready,
    /// All has been read that the poller has told of.
    drained: bool,
    /// The socket took no more when it was last written to, and the poller has not told of room since.
    full: bool,
    /// The poller has told of the end of the connection, an error or urgent data: a read that gives less than there is room for may
    /// not have been the last.
    is_special: bool,
    /// The connection to another node that the socket feeds.
    channel: Option<SharedChannel>,
    /// A thread hands packets to the channel.
    feeding: bool,
}

impl State {
    fn new(stream: bool) -> State {
        State {
            stream,
            socket: None,
            is_lent: false,
            domain: Domain::IPV4,
            options: Options::new(stream),
            bound: false,
            listening: false,
            connected: false,
            closed_by_peer: false,
            owed: None,
            connecting: None,
            receivers: VecDeque::new(),
            accepters: VecDeque::new(),
            input: Vec::new(),
            input_at: 0,
            http_headers: false,
            retry_input: false,
            says_passive: false,
            output: VecDeque::new(),
            output_at: 0,
            queued: 0,
            senders: VecDeque::new(),
            sending: None,
            ancillary: 0,
            pretended_name: None,
            pretended_peer: None,
            netns: None,
            subscribers: Vec::new(),
            shuts_down: false,
            next_number: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
            armed: Ready::NOTHING,
            drained: false,
            full: false,
            is_special: false,
            channel: None,
            feeding: false,
        }
    }

    fn number(&mut self) -> u16 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    fn is_active(&self) -> bool {
        self.options.active != Active::Passive
    }

    /// `None` where the count leaves its range.
    fn set_active(&mut self, mode: i32, change: i16) -> Option<()> {
        self.options.active = match mode {
            0 => Active::Passive,
            1 => Active::Always,
            2 => Active::Once,
            3 => {
                let before = if let Active::Times(count) = self.options.active { count } else { 0 };
                let count = before.checked_add(change)?;
                if count <= 0 {
                    self.says_passive = true;
                    Active::Passive
                } else {
                    Active::Times(count)
                }
            }
            _ => return None,
        };
        Some(())
    }

    /// One message without being asked has been sent.
    fn count_message(&mut self) {
        match self.options.active {
            Active::Once => self.options.active = Active::Passive,
            Active::Times(1) => {
                self.options.active = Active::Passive;
                self.says_passive = true;
            }
            Active::Times(count) => self.options.active = Active::Times(count - 1),
            Active::Passive | Active::Always => {}
        }
    }

    fn is_busy(&self) -> bool {
        self.queued >= self.options.high_watermark.max(1)
    }

    /// So many bytes of the queue are out.
    fn wrote(&mut self, count: usize) {
        self.queued -= count;
        self.output_at += count;
        while let Some(piece) = self.output.front()
            && self.output_at >= piece.bytes().len()
        {
            self.output_at -= piece.bytes().len();
            self.output.pop_front();
        }
    }
}

/// The driver of one socket.
pub struct Inet {
    stream: bool,
    me: Weak<Inet>,
    state: Mutex<State>,
}

pub fn tcp(_vm: &'static Vm) -> Arc<dyn Driver> {
    Inet::new(true, State::new(true))
}

pub fn udp(_vm: &'static Vm) -> Arc<dyn Driver> {
    Inet::new(false, State::new(false))
}

/// What is to be done once the state is no longer locked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    ClosePort,
    /// Input may wait for the channel.
    ReadChannel,
}

/// An error of a request: a number of the system's, or a name that is none.
enum Failure {
    System(i32),
    Named(&'static str),
}

impl From<i32> for Failure {
    fn from(number: i32) -> Failure {
        Failure::System(number)
    }
}
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl Failure {
    const INVALID: Failure = Failure::System(libc::EINVAL);
    /// What OTP calls an operation that it does not know.
    const UNKNOWN_REQUEST: Failure = Failure::Named("exbadport");
    fn name(&self) -> &'static str {
        match self {
            Failure::System(number) => posix::name(*number),
            Failure::Named(name) => name,
        }
    }
}

type Reply = Result<Vec<u8>, Failure>;

impl Inet {
    fn new(stream: bool, state: State) -> Arc<Inet> {
        Arc::new_cyclic(|me| Inet { stream, me: me.clone(), state: Mutex::new(state) })
    }

    /// The first element of messages that come without being asked for.
    fn tag(&self) -> Term {
        Term::atom(if self.stream { atom!("tcp") } else { atom!("udp") })
    }

    // Opening, binding, connecting.

    fn open(&self, vm: &'static Vm, port: &Port, state: &mut State, data: &[u8]) -> Reply {
        let [of, kind, ..] = *data else { return Err(Failure::INVALID) };
        if state.socket.is_some() {
            return Err(Failure::INVALID);
        }
        let domain = address::domain(of).ok_or(Failure::INVALID)?;
        let kind = match kind {
            1 => Type::STREAM,
            2 => Type::DGRAM,
            _ => return Err(Failure::INVALID),
        };
        const MPTCP: u8 = 4;
        let protocol = (data.get(2) == Some(&MPTCP)).then_some(Protocol::MPTCP);
        let make = || Socket::new(domain, kind, protocol);
        let socket = match &state.netns {
            Some(path) => crate::netns::inside(path, make)?,
            None => make()?,
        };
        self.adopt(vm, port, state, domain, socket)
    }

    fn adopt(&self, vm: &'static Vm, port: &Port, state: &mut State, domain: Domain, mut socket: Socket) -> Reply {
        if let Err(problem) = Inet::register(vm, port, &mut socket, &mut state.is_lent) {
            if std::mem::take(&mut state.is_lent) {
                let _ = socket.into_raw_fd();
            }
            return Err(problem.into());
        }
        state.domain = domain;
        state.socket = Some(socket);
        Ok(Vec::new())
    }

    fn register(vm: &'static Vm, port: &Port, socket: &mut Socket, is_lent: &mut bool) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let poller = Poller::of(vm)?;
        let mut added = poller.add(socket.as_fd(), port.term);
        if added.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST)) {
            // It was given to another port as well: each has one of its own.
            let copy = socket.try_clone()?;
            let given = std::mem::replace(socket, copy);
            if std::mem::take(is_lent) {
                let _ = given.into_raw_fd();
            }
            added = poller.add(socket.as_fd(), port.term);
        }
        added
    }

    fn fd_open(&self, vm: &'static Vm, port: &Port, state: &mut State, data: &[u8]) -> Reply {
        let mut reader = Reader(data);
        let (Some(of), Some(_), Some(fd)) = (reader.byte(), reader.byte(), reader.int()) else { return Err(Failure::INVALID) };
        let is_bound = reader.int().is_none_or(|bound| bound != 0);
        let domain = address::domain(of).ok_or(Failure::INVALID)?;
        if state.socket.is_some() || fd < 0 {
            return Err(Failure::INVALID);
        }
        // SAFETY: asks for the state of a number that may be no descriptor.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(Failure::System(libc::EBADF));
        }
        // SAFETY: the descriptor is open; it is borrowed for this look only.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        if is_bound && SockRef::from(&borrowed).local_addr()?.domain() != domain {
            return Err(Failure::INVALID);
        }
        // SAFETY: the descriptor is open; `release` does not close it.
        let socket = unsafe { Socket::from_raw_fd(fd) };
        state.is_lent = true;
        state.connected = socket.peer_addr().is_ok();
        state.bound = true;
        self.adopt(vm, port, state, domain, socket)
    }

    fn bind(state: &mut State, data: &[u8]) -> Reply {
        let (address, _) = address::read(state.domain, data).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::INVALID)?;
        socket.bind(&address)?;
        state.bound = true;
        let port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        Ok(port.to_be_bytes().to_vec())
    }

    fn connect(&self, request: &Request<'_>, state: &mut State, data: &[u8]) -> Reply {
        let mut reader = Reader(data);
        let timeout = reader.int().ok_or(Failure::INVALID)?;
        let (address, _) = address::read(state.domain, reader.0).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::INVALID)?;
        if state.connecting.is_some() || state.listening || state.connected && self.stream {
            return Err(Failure::System(if state.connected { libc::EISCONN } else { libc::EINVAL }));
        }
        if !self.stream && state.connected {
            // Linux keeps the local address of the peer before, which may not reach the next one.
            forget_peer(socket);
        }
        let result = socket.connect(&address);
        let number = state.number();
        match result {
            Ok(()) => {
                state.connected = true;
                state.bound = true;
                done(request.vm, request.port, request.from, number, |_| Term::atom(am::OK));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                let timer = self.start_timer(request.vm, request.port, timeout, number, Inet::connecting_took_too_long);
                state.connecting = Some(Waiter { caller: request.from, number, length: 0, timer, hook: None });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(number.to_be_bytes().to_vec())
    }

    fn listen(state: &mut State, data: &[u8]) -> Reply {
        let backlog = Reader(data).short().ok_or(Failure::INVALID)?;
        state.socket.as_ref().ok_or(Failure::INVALID)?.listen(i32::from(backlog))?;
        state.listening = true;
        Ok(Vec::new())
    }

    fn accept(&self, request: &Request<'_>, state: &mut State, data: &[u8]) -> Reply {
        let timeout = Reader(data).int().ok_or(Failure::INVALID)?;
        if !state.listening {
            return Err(Failure::INVALID);
        }
        let number = state.number();
        let timer = self.start_timer(request.vm, request.port, timeout, number, Inet::accepting_took_too_long);
        state.accepters.push_back(Waiter { caller: request.from, number, length: 0, timer, hook: None });
        self.accept_waiting(request.vm, request.port, state);
        if let Some(waiter) = state.accepters.iter_mut().find(|waiter| waiter.number == number) {
            waiter.hook = Some(self.watch(request));
        }
        Ok(number.to_be_bytes().to_vec())
    }

    /// Has the calling process take itself out of the line of those who accept when it ends; the key of that.
    fn watch(&self, request: &Request<'_>) -> u64 {
        let hook = request.vm.next_ref().id;
        let (me, port) = (self.me.clone(), Arc::downgrade(request.port));
        let exited = move |vm| {
            let Some((inet, port)) = me.upgrade().zip(port.upgrade()) else { return };
            let mut state = inet.state.lock();
            if let Some(at) = state.accepters.iter().position(|waiter| waiter.hook == Some(hook)) {
                let waiter = state.accepters.remove(at).expect("it was just found");
                cancel(vm, waiter.timer);
                inet.arm(vm, &port, &mut state);
            }
        };
        let watcher = request.port.term.as_port().map_or(Watcher::Hidden, Watcher::Port);
        let on_exit = OnExit { watcher, call: Box::new(exited) };
        let _guard = swarmrt_machine::pin();
        signal::send_call(
            request.vm,
            request.from,
            Box::new(move |vm, process| match process {
                Some(process) => {
                    process.extra().on_exit.insert(hook, on_exit);
                }
                None => (on_exit.call)(vm),
            }),
        );
        hook
    }

    /// Gives connections that are there to those who wait for them.
    fn accept_waiting(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        while !state.accepters.is_empty() {
            let Some(listener) = &state.socket else { return };
            let accepted = match listener.accept() {
                Ok((socket, _)) => Ok(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.drained = true;
                    return;
                }
                // The connection was gone before it was taken.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => continue,
                Err(error) => Err(Failure::from(error)),
            };
            let Some(waiter) = state.accepters.pop_front() else { return };
            waiter.stop(vm);
            match accepted.and_then(|socket| Inet::accepted(vm, port, state, waiter.caller, socket)) {
                Ok(Some(new)) => {
                    done(vm, port, waiter.caller, waiter.number, |heap| heap.tuple(&[Term::atom(am::OK), new]));
                }
                // Whoever waited is gone; so is the connection.
                Ok(None) => {}
                Err(failure) => failed(vm, port, &waiter, failure.name()),
            }
        }
    }

    /// A port of its own for a connection, owned by the process that waited for it.
    fn accepted(vm: &'static Vm, listener: &Port, state: &State, owner: u64, socket: Socket) -> Result<Option<Term>, Failure> {
        if Ports::of(vm).count() >= vm.config.ports_max {
            return Err(Failure::Named("system_limit"));
        }
        let options = Options { active: Active::Passive, ..state.options.clone() };
        let inner = State { options, bound: true, connected: true, ..State::new(true) };
        let inet = Inet::new(true, inner);
        let port = Ports::of(vm).open(owner, listener.name.clone(), PortOptions::binary(), None, inet.clone());
        let adopted = inet.adopt(vm, &port, &mut inet.state.lock(), state.domain, socket);
        if let Err(failure) = adopted {
            port.close(vm, Term::atom(am::NORMAL));
            return Err(failure);
        }
        let term = port.term;
        let link: signal::Call = Box::new(move |vm, process| match process {
            Some(process) => {
                process.relations.link(term);
            }
            None => {
                if let Some(port) = Ports::of(vm).get(term) {
                    port.close(vm, Term::atom(am::NORMAL));
                }
            }
        });
        if !signal::send_call(vm, owner, link) {
            port.close(vm, Term::atom(am::NORMAL));
            return Ok(None);
        }
        Ok(Some(term))
    }

    // Timers.

    fn start_timer(
        &self,
        vm: &'static Vm,
        port: &Arc<Port>,
        timeout_ms: i32,
        number: u16,
        over: fn(&Inet, &'static Vm, &Arc<Port>, u16),
    ) -> Option<TimerKey> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).ok()?);
        let (me, port) = (self.me.clone(), Arc::downgrade(port));
        let at_ns = vm.clock.since_start_ns() + timeout.as_nanos() as u64;
        let action = Box::new(move |vm| {
            if let Some((inet, port)) = me.upgrade().zip(port.upgrade()) {
                over(&inet, vm, &port, number);
            }
        });
        Some(vm.timers.start(at_ns, action))
    }

    fn connecting_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        if let Some(waiter) = state.connecting.take_if(|waiter| waiter.number == number) {
            failed(vm, port, &waiter, "timeout");
            // The attempt is given up with the socket.
            self.release(vm, &mut state);
        }
    }

    fn accepting_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        // What came at the last moment counts.
        self.accept_waiting(vm, port, &mut state);
        if let Some(waiter) = take_waiter(&mut state.accepters, number) {
            waiter.stop(vm);
            failed(vm, port, &waiter, "timeout");
        }
        self.arm(vm, port, &mut state);
    }

    fn receiving_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        take_waiter(&mut state.receivers, number).inspect(|waiter| failed(vm, port, waiter, "timeout"));
        self.arm(vm, port, &mut state);
    }

    fn sending_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        let Some(at) = state.senders.iter().position(|sender| sender.number == number) else { return };
        let sender = state.senders.remove(at).expect("it was just found");
        reply(vm, port, &sender, |heap| error(heap, "timeout"));
        if state.options.send_timeout_close {
            let after = self.lost(vm, port, &mut state, None);
            drop(state);
            finish(vm, port, after);
        }
    }

    // Sending.

    fn send(&self, request: &Request<'_>, parts: &mut [IoPart]) -> After {
        let (vm, port) = (request.vm, request.port);
        let mut state = self.state.lock();
        let all: usize = parts.iter().map(|part| part.bytes().len()).sum();
        // It stands in a list of small binaries, in front.
        let reference = parts.first().filter(|_| vm.release() >= Release::R27).map_or(Vec::new(), |first| {
            let mut reader = Reader(first.bytes());
            let length = reader.short().unwrap_or(0);
            reader.take(length.into()).unwrap_or_default().to_vec()
        });
        let start = if vm.release() >= Release::R27 { (2 + reference.len()).min(all) } else { 0 };
        let number = state.number();
        let mut sender = Sender { caller: request.from, reference, number, timer: None };
        if !self.stream {
            let result = match parts {
                [part] => Inet::send_datagram(&mut state, &part.bytes()[start..]),
                parts => Inet::send_datagram(&mut state, &parts.iter().map(IoPart::bytes).collect::<Vec<_>>().concat()[start..]),
            };
            reply(vm, port, &sender, |heap| result.map_or_else(|failure| error(heap, failure.name()), |()| Term::atom(am::OK)));
            return After::Nothing;
        }
        if !state.connected || state.shuts_down {
            let is_open = state.socket.is_some() && !state.closed_by_peer && !state.shuts_down;
            let name = state.owed.unwrap_or(if is_open { "enotconn" } else { "closed" });
            reply(vm, port, &sender, |heap| error(heap, name));
            return After::Nothing;
        }
        let head = framing::head(state.options.packet, all - start);
        let packed = head.len() + all - start;
        state.sent.note(packed);
        port.note_output(vm, packed);
        let busy = state.is_busy();
        state.queued += packed;
        if !head.is_empty() {
            state.output.push_back(Piece::Own(head, 0));
        }
        for (at, part) in parts.iter_mut().enumerate() {
            let piece = match std::mem::replace(part, IoPart::Bytes(Vec::new())) {
                IoPart::Bytes(bytes) => Piece::Own(bytes, if at == 0 { start } else { 0 }),
                IoPart::Kept(bytes) => Piece::Kept(bytes),
            };
            if !piece.bytes().is_empty() {
                state.output.push_back(piece);
            }
        }
        let outcome = if state.sending.is_some() { Ok(()) } else { Inet::flush(&mut state) };
        if let Err(problem) = outcome {
            let name = state.lost_name(problem);
            reply(vm, port, &sender, |heap| error(heap, name));
            return self.lost(vm, port, &mut state, Some(problem));
        }
        // A sender that finds the queue full waits until there is room.
        if busy && state.is_busy() {
            let timeout = state.options.send_timeout.and_then(|timeout| i32::try_from(timeout).ok()).unwrap_or(-1);
            sender.timer = self.start_timer(vm, port, timeout, number, Inet::sending_took_too_long);
            state.senders.push_back(sender);
        } else {
            reply(vm, port, &sender, |_| Term::atom(am::OK));
        }
        self.after_flush(vm, port, &mut state);
        self.arm(vm, port, &mut state);
        After::Nothing
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// The number of the system's error.
    fn flush(state: &mut State) -> Result<(), i32> {
        while !state.output.is_empty() {
            let Some(socket) = &state.socket else { return Err(libc::EPIPE) };
            let mut start = state.output_at;
            let slices: SmallVec<[IoSlice<'_>; PIECES_MAX]> = state
                .output
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(&piece.bytes()[std::mem::take(&mut start)..]))
                .collect();
            let written = (&mut &*socket).write_vectored(&slices);
            drop(slices);
            match written {
                Ok(count) => state.wrote(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.full = true;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        Ok(())
    }

    /// Tells those who waited for room, or for the end, in the queue.
    fn after_flush(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        if state.queued <= state.options.low_watermark {
            for sender in std::mem::take(&mut state.senders) {
                cancel(vm, sender.timer);
                reply(vm, port, &sender, |_| Term::atom(am::OK));
            }
        }
        if state.queued == 0 {
            for subscriber in std::mem::take(&mut state.subscribers) {
                tell(vm, port, subscriber, |heap| heap.tuple(&[Term::atom(atom!("empty_out_q")), port.term]));
            }
            if state.shuts_down
                && let Some(socket) = &state.socket
            {
                let _ = socket.shutdown(std::net::Shutdown::Write);
            }
        }
    }

    /// Address, length of ancillary data, these, and the datagram.
    fn send_datagram(state: &mut State, body: &[u8]) -> Result<(), Failure> {
        let undefined = body.first() == Some(&family::UNDEFINED);
        let (address, rest) = if undefined || body.first() == Some(&0) {
            (None, body.get(1..).ok_or(Failure::INVALID)?)
        } else {
            let (address, rest) = address::read(state.domain, body).ok_or(Failure::INVALID)?;
            // Port 0 stands for the peer of a connected socket.
            let none = state.connected && address.as_socket().is_some_and(|address| address.port() == 0);
            (if none { None } else { Some(address) }, rest)
        };
        let mut reader = Reader(rest);
        let length = usize::try_from(reader.int().ok_or(Failure::INVALID)?).map_err(|_| Failure::INVALID)?;
        let options = reader.take(length).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::Named("closed"))?;
        let count = match address {
            _ if !options.is_empty() => ancillary::send(socket, reader.0, address.as_ref(), options)?,
            Some(address) => socket.send_to(reader.0, &address)?,
            None => socket.send(reader.0)?,
        };
        state.sent.note(count);
        Ok(())
    }

    // Receiving.

    fn receive(&self, request: &Request<'_>, state: &mut State, data: &[u8]) -> (Reply, After) {
        let mut reader = Reader(data);
        let (Some(timeout), Some(length)) = (reader.int(), reader.int()) else { return (Err(Failure::INVALID), After::Nothing) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if state.is_active() {
            return (Err(Failure::INVALID), After::Nothing);
        }
        if length > RECEIVE_BYTES_MAX {
            return (Err(Failure::System(libc::ENOMEM)), After::Nothing);
        }
        if self.stream && !state.connected {
            let failure = state.owed.take().map_or(Failure::System(libc::ENOTCONN), Failure::Named);
            return (Err(failure), After::Nothing);
        }
        if !self.stream && !state.bound && !state.connected {
            return (Err(Failure::INVALID), After::Nothing);
        }
        let number = state.number();
        let timer = self.start_timer(request.vm, request.port, timeout, number, Inet::receiving_took_too_long);
        state.receivers.push_back(Waiter { caller: request.from, number, length, timer, hook: None });
        let after = self.take_in(request.vm, request.port, state);
        (Ok(number.to_be_bytes().to_vec()), after)
    }

    /// Reads and delivers for as long as somebody wants it and there is something.
    fn take_in(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) -> After {
        if !self.stream {
            self.take_datagrams(vm, port, state);
            return After::Nothing;
        }
        let mut after = self.deliver(vm, port, state);
        let mut reads = 0;
        let goes_on = |state: &State, reads: usize| reads == 0 || reads < READS_MAX && !state.drained;
        while after == After::Nothing && (state.is_active() || !state.receivers.is_empty()) && state.connected && goes_on(state, reads) {
            match Inet::read(state) {
                Ok(0) => after = self.lost(vm, port, state, None),
                Ok(count) => {
                    port.note_input(vm, count);
                    after = self.deliver(vm, port, state);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => state.drained = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => after = self.lost(vm, port, state, Some(error.raw_os_error().unwrap_or(libc::EIO))),
            }
            reads += 1;
        }
        after
    }

    /// Appends what the socket has to the input.
    fn read(state: &mut State) -> io::Result<usize> {
        if state.input_at > 0 {
            state.input.drain(..state.input_at);
            state.input_at = 0;
        }
        let wanted = state.receivers.front().map_or(0, |waiter| waiter.length.saturating_sub(state.input.len()));
        let room = state.options.buffer.max(READ_BYTES_MIN).max(wanted);
        let before = state.input.len();
        state.input.resize(before + room, 0);
        let Some(socket) = &state.socket else { return Ok(0) };
        let result = (&mut &*socket).read(&mut state.input[before..]);
        let count = result.as_ref().map_or(0, |&count| count);
        state.input.truncate(before + count);
        state.drained = result.is_ok() && count < room && !state.is_special;
        result
    }

    /// Makes messages and results of the input.
    fn deliver(&self, vm: &'static Vm, port: &Port, state: &mut State) -> After {
        loop {
            if state.says_passive {
                state.says_passive = false;
                let tag = if self.stream { atom!("tcp_passive") } else { atom!("udp_passive") };
                tell(vm, port, port.owner(), |heap| heap.tuple(&[Term::atom(tag), port.term]));
            }
            let active = state.is_active();
            if !active && state.receivers.is_empty() {
                return After::Nothing;
            }
            let length = if active { 0 } else { state.receivers.front().map_or(0, |waiter| waiter.length) };
            let cut = framing::cut(&state.options, state.http_headers, &state.input[state.input_at..], length);
            let (packet, used) = match cut {
                framing::Cut::Packet(packet, used) => (packet, used),
                framing::Cut::More => return After::Nothing,
                framing::Cut::Invalid => return self.lost(vm, port, state, Some(libc::EMSGSIZE)),
            };
            state.received.note(used);
            let bytes = state.input_at..state.input_at + used;
            if active {
                state.count_message();
                let (state, tag) = (&*state, self.tag());
                tell(vm, port, port.owner(), |heap| {
                    let data = packet.term(port.term, &state.options, &state.input[bytes.clone()], heap);
                    packet.message(tag, port.term, data, heap)
                });
            } else if let Some(waiter) = state.receivers.pop_front() {
                cancel(vm, waiter.timer);
                let state = &*state;
                done(vm, port, waiter.caller, waiter.number, |heap| {
                    let data = packet.term(port.term, &state.options, &state.input[bytes.clone()], heap);
                    heap.tuple(&[Term::atom(am::OK), data])
                });
            }
            state.http_headers = packet.headers_follow(&state.input[bytes.clone()]);
            state.input_at = bytes.end;
        }
    }

    fn take_datagrams(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) {
        let mut packets = 0;
        let mut buffer = Vec::new();
        while (state.is_active() || !state.receivers.is_empty()) && packets < READS_MAX.max(state.options.read_packets) {
            let Some(socket) = &state.socket else { return };
            buffer.resize(state.options.buffer.clamp(1, DATAGRAM_BYTES_MAX).max(DATAGRAM_BYTES_MAX), 0u8);
            let received = if state.ancillary == 0 {
                // SAFETY: bytes that are initialised may be given out as bytes that need not be.
                let room = unsafe { &mut *(&raw mut buffer[..] as *mut [std::mem::MaybeUninit<u8>]) };
                socket.recv_from(room).map(|(count, from)| (count, from, None))
            } else {
                ancillary::receive(socket, &mut buffer).map(|(count, from, data)| (count, from, Some(data)))
            };
            let (count, from, ancillary) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.drained = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.datagram_failed(vm, port, state, posix::name(error.raw_os_error().unwrap_or(libc::EIO)));
                    break;
                }
            };
            packets += 1;
            port.note_input(vm, count);
            state.received.note(count);
            // Longer datagrams are cut off, as the buffer's size says.
            let data = &buffer[..count.min(state.options.buffer.max(1))];
            self.datagram(vm, port, state, &from, ancillary.as_ref(), data);
            if state.says_passive {
                state.says_passive = false;
                tell(vm, port, port.owner(), |heap| heap.tuple(&[Term::atom(atom!("udp_passive")), port.term]));
            }
        }
    }

    fn datagram(&self, vm: &'static Vm, port: &Port, state: &mut State, from: &SockAddr, ancillary: Option<&ancillary::Data>, data: &[u8]) {
        if state.is_active() {
            state.count_message();
            let options = &state.options;
            tell(vm, port, port.owner(), |heap| {
                let (ip, number) = address::terms(from, heap);
                let data = framing::data(options, data, heap);
                match ancillary {
                    Some(ancillary) => {
                        let ancillary = ancillary::to_term(ancillary, heap);
                        heap.tuple(&[self.tag(), port.term, ip, number, ancillary, data])
                    }
                    None => heap.tuple(&[self.tag(), port.term, ip, number, data]),
                }
            });
        } else if let Some(waiter) = state.receivers.pop_front() {
            cancel(vm, waiter.timer);
            let options = &state.options;
            done(vm, port, waiter.caller, waiter.number, |heap| {
                let mut head = Vec::new();
                address::write(from, &mut head);
                let data = framing::data(options, data, heap);
                let mut answer = heap.byte_list(&head, data);
                if let Some(ancillary) = ancillary {
                    let ancillary = ancillary::to_term(ancillary, heap);
                    answer = heap.tuple(&[answer, ancillary]);
                }
                heap.tuple(&[Term::atom(am::OK), answer])
            });
        }
    }

    fn datagram_failed(&self, vm: &'static Vm, port: &Port, state: &mut State, name: &'static str) {
        if let Some(waiter) = state.receivers.pop_front() {
            cancel(vm, waiter.timer);
            failed(vm, port, &waiter, name);
        } else if state.is_active() {
            tell(vm, port, port.owner(), |heap| heap.tuple(&[Term::atom(atom!("udp_error")), port.term, Term::atom(Atom::new(name))]));
        }
    }

    /// The connection is over: by the peer, or by an error. Tells everybody who waits.
    fn lost(&self, vm: &'static Vm, port: &Port, state: &mut State, problem: Option<i32>) -> After {
        let name = problem.map_or("closed", |problem| state.lost_name(problem));
        let active = state.is_active();
        state.connected = false;
        state.closed_by_peer = true;
        state.owed = (!active && state.receivers.is_empty()).then_some(name);
        state.input.clear();
        state.input_at = 0;
        for waiter in std::mem::take(&mut state.receivers) {
            cancel(vm, waiter.timer);
            failed(vm, port, &waiter, name);
        }
        for sender in std::mem::take(&mut state.senders) {
            cancel(vm, sender.timer);
            reply(vm, port, &sender, |heap| error(heap, "closed"));
        }
        state.output.clear();
        (state.output_at, state.queued) = (0, 0);
        for subscriber in std::mem::take(&mut state.subscribers) {
            tell(vm, port, subscriber, |heap| heap.tuple(&[Term::atom(atom!("empty_out_q")), port.term]));
        }
        if active {
            self.tell_closed(vm, port, name);
        }
        if state.options.exit_on_close {
            self.release(vm, state);
            return if active { After::ClosePort } else { After::Nothing };
        }
        // Only reading is over: what is written may still arrive.
        state.connected = problem.is_none();
        After::Nothing
    }

    fn tell_closed(&self, vm: &'static Vm, port: &Port, name: &str) {
        if name != "closed" {
            tell(vm, port, port.owner(), |heap| heap.tuple(&[Term::atom(atom!("tcp_error")), port.term, Term::atom(Atom::new(name))]));
        }
        tell(vm, port, port.owner(), |heap| heap.tuple(&[Term::atom(atom!("tcp_closed")), port.term]));
    }

    /// Closes the socket.
    fn release(&self, vm: &'static Vm, state: &mut State) {
        (state.armed, state.drained, state.full, state.is_special) = (Ready::NOTHING, false, false, false);
        let Some(socket) = state.socket.take() else { return };
        if let Ok(poller) = Poller::of(vm) {
            poller.remove(socket.as_fd());
        }
        if std::mem::take(&mut state.is_lent) {
            let _ = socket.into_raw_fd();
        }
    }

    // What else can be asked.

    fn statistics(state: &State, data: &[u8]) -> Reply {
        let mut answer = Vec::new();
        for &item in data {
            let (received, sent) = (&state.received, &state.sent);
            answer.push(item);
            match item {
                1 => answer.extend(received.packets.to_be_bytes()),
                2 => answer.extend(received.largest.to_be_bytes()),
                3 => answer.extend((received.average as u32).to_be_bytes()),
                4 => answer.extend((received.deviation as u32).to_be_bytes()),
                5 => answer.extend(sent.packets.to_be_bytes()),
                6 => answer.extend(sent.largest.to_be_bytes()),
                7 => answer.extend((sent.average as u32).to_be_bytes()),
                8 => answer.extend((state.queued.min(u32::MAX as usize) as u32).to_be_bytes()),
                9 => answer.extend(received.bytes.to_be_bytes()),
                10 => answer.extend(sent.bytes.to_be_bytes()),
                _ => return Err(Failure::INVALID),
            }
        }
        Ok(answer)
    }

    fn status(state: &State) -> Reply {
        let bits = [
            (state.socket.is_some(), status::OPEN),
            (state.connected, status::ACTIVE),
            (state.listening, status::LISTEN),
            (state.connecting.is_some(), status::CONNECTING),
            (!state.accepters.is_empty(), status::ACCEPTING),
            (state.is_busy(), status::BUSY),
        ];
        let bits: u32 = bits.into_iter().filter(|(is, _)| *is).fold(0, |all, (_, bit)| all | bit);
        Ok(bits.to_be_bytes().to_vec())
    }

    /// An address that the socket says it has, whatever it has; none takes that back.
    fn pretended(domain: Domain, data: &[u8]) -> Result<Option<SockAddr>, Failure> {
        if data.is_empty() {
            return Ok(None);
        }
        address::read(domain, data).map(|(address, _)| Some(address)).ok_or(Failure::INVALID)
    }

    fn interface(socket: &Socket, operation: u64, data: &[u8]) -> Reply {
        match operation {
            operation::INTERFACE_NAMES => Ok(interfaces::names(socket)?),
            operation::GET_INTERFACE => interfaces::get(socket, data).ok_or(Failure::INVALID),
            _ => interfaces::set(socket, data).map(|()| Vec::new()).ok_or(Failure::INVALID),
        }
    }

    fn addressed(address: io::Result<SockAddr>) -> Reply {
        let mut answer = Vec::new();
        address::write(&address?, &mut answer);
        Ok(answer)
    }

    fn subscribe(state: &mut State, from: u64, data: &[u8]) -> Reply {
        const EMPTY_OUT_QUEUE: u8 = 1;
        let mut answer = Vec::new();
        for &item in data {
            if item != EMPTY_OUT_QUEUE {
                return Err(Failure::INVALID);
            }
            if state.queued > 0 {
                state.subscribers.push(from);
            }
            answer.push(item);
            answer.extend((state.queued.min(u32::MAX as usize) as u32).to_be_bytes());
        }
        Ok(answer)
    }

    fn shut_down(state: &mut State, data: &[u8]) -> Reply {
        use std::net::Shutdown;
        let how = match data {
            [0] => Shutdown::Read,
            [1] => Shutdown::Write,
            [2] => Shutdown::Both,
            _ => return Err(Failure::INVALID),
        };
        if !state.connected {
            return Err(Failure::System(libc::ENOTCONN));
        }
        let socket = state.socket.as_ref().ok_or(Failure::System(libc::ENOTCONN))?;
        if how != Shutdown::Read && state.queued > 0 {
            // When all is out.
            state.shuts_down = true;
            if how == Shutdown::Both {
                socket.shutdown(Shutdown::Read)?;
            }
            return Ok(Vec::new());
        }
        socket.shutdown(how)?;
        state.shuts_down |= how != Shutdown::Read;
        Ok(Vec::new())
    }

    fn answer(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> (Reply, After) {
        let (vm, port) = (request.vm, request.port);
        let mut state = self.state.lock();
        let state = &mut *state;
        let open = |state: &State| state.socket.as_ref().map(|socket| (socket.local_addr(), socket.peer_addr())).ok_or(Failure::INVALID);
        let reply = match operation {
            operation::OPEN => self.open(vm, port, state, data),
            operation::FD_OPEN => self.fd_open(vm, port, state, data),
            operation::BIND => Inet::bind(state, data),
            operation::CONNECT => self.connect(request, state, data),
            operation::LISTEN if self.stream => Inet::listen(state, data),
            operation::ACCEPT if self.stream => self.accept(request, state, data),
            operation::SET_NAME => Inet::pretended(state.domain, data).map(|name| state.pretended_name = name.map(Box::new)).map(|()| Vec::new()),
            operation::SET_PEER => Inet::pretended(state.domain, data).map(|peer| state.pretended_peer = peer.map(Box::new)).map(|()| Vec::new()),
            operation::NAME => match &state.pretended_name {
                Some(name) => Inet::addressed(Ok(SockAddr::clone(name))),
                None => open(state).and_then(|(local, _)| Inet::addressed(local)),
            },
            operation::PEER => match &state.pretended_peer {
                Some(peer) if state.connected => Inet::addressed(Ok(SockAddr::clone(peer))),
                _ => open(state).map_err(|_| Failure::System(libc::ENOTCONN)).and_then(|(_, peer)| Inet::addressed(peer)),
            },
            operation::NAMES | operation::PEERS if data.len() != size_of::<u32>() => Err(Failure::INVALID),
            operation::NAMES => open(state).map_err(|_| Failure::UNKNOWN_REQUEST).and_then(|(local, _)| Inet::addressed(local)),
            operation::PEERS => open(state).map_err(|_| Failure::UNKNOWN_REQUEST).and_then(|(_, peer)| Inet::addressed(peer)),
            operation::INTERFACE_NAMES | operation::GET_INTERFACE | operation::SET_INTERFACE => match &state.socket {
                Some(socket) => Inet::interface(socket, operation, data),
                None => Err(Failure::UNKNOWN_REQUEST),
            },
            operation::SET_OPTIONS => {
                let result = Inet::set_options(state, data).map(|()| Vec::new()).map_err(Failure::from);
                if state.channel.is_some() {
                    self.arm(vm, port, state);
                    let reads = state.is_active() && channel::takes(state.options.packet);
                    return (result, if reads { After::ReadChannel } else { After::Nothing });
                }
                let mut after = if state.is_active() { self.take_in(vm, port, state) } else { self.deliver(vm, port, state) };
                if after == After::Nothing
                    && state.is_active()
                    && let Some(name) = state.owed.take()
                {
                    // Whoever listens from now on is told what was missed.
                    self.tell_closed(vm, port, name);
                    after = if state.options.exit_on_close { After::ClosePort } else { after };
                }
                self.arm(vm, port, state);
                return (result, after);
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
                Ok([u32::from(address::family_of(state.domain)).to_be_bytes(), kind.to_be_bytes()].concat())
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

    /// Asks the poller for what the socket waits for, unless it tells of that anyway: of what comes from now on where it was asked
    /// before. What has been told of and was left is asked for again.
    fn arm(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        let Some(socket) = &state.socket else { return };
        let receives = (state.is_active() || !state.receivers.is_empty()) && !state.feeding;
        let readable = !state.accepters.is_empty() || receives && !state.closed_by_peer && (state.connected || !self.stream);
        let writable = state.connecting.is_some() || state.queued > 0 || state.sending.is_some();
        let was_left = readable && !state.drained || writable && !state.full;
        let wanted = Ready { readable: readable || state.armed.readable, writable: writable || state.armed.writable, ..state.armed };
        if (was_left || wanted != state.armed)
            && let Ok(poller) = Poller::of(vm)
            && poller.want(socket.as_fd(), port.term, wanted).is_ok()
        {
            state.armed = wanted;
            (state.drained, state.full) = (true, true);
        }
    }
}

impl State {
    /// Notes what the poller tells.
    fn note(&mut self, ready: Ready) {
        self.drained &= !ready.readable;
        self.full &= !ready.writable;
        self.is_special |= ready.is_special;
    }

    /// Whether a connection is still neither there nor refused. That it was refused stays to be found out.
    fn still_connects(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut state = PollFd::new(socket, PollFlags::OUT);
        rustix::event::poll(std::slice::from_mut(&mut state), Some(&Timespec::default())) == Ok(0)
    }

    /// What an error of a connection is called: that the peer reset it is only told where that is asked for. A write to a
    /// connection that was reset before fails with `EPIPE`, as one after `shutdown` does.
    fn lost_name(&self, problem: i32) -> &'static str {
        let was_reset = problem == libc::ECONNRESET || problem == libc::EPIPE && !self.shuts_down;
        match problem {
            _ if was_reset && self.options.show_econnreset => "econnreset",
            libc::ECONNRESET | libc::EPIPE | libc::ENOTCONN => "closed",
            _ => posix::name(problem),
        }
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
        let operation = operation.checked_sub(MAGIC).filter(|&operation| operation < OPERATIONS_MAX).unwrap_or(OPERATIONS_MAX);
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
                    failed(vm, port, &waiter, posix::name(error.raw_os_error().unwrap_or(libc::EIO)));
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
        let waiting = state.connecting.take().into_iter();
        for waiter in waiting.chain(std::mem::take(&mut state.receivers)).chain(std::mem::take(&mut state.accepters)) {
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

/// A datagram socket has no peer any more.
fn forget_peer(socket: &Socket) {
    // SAFETY: zeros are an address of no family.
    let none: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address is there during the call.
    unsafe { libc::connect(socket.as_raw_fd(), &raw const none, size_of::<libc::sockaddr>() as libc::socklen_t) };
}

fn finish(vm: &'static Vm, port: &Port, after: After) {
    if after == After::ClosePort {
        port.retire(vm);
    }
}

fn take_waiter(waiters: &mut VecDeque<Waiter>, number: u16) -> Option<Waiter> {
    let at = waiters.iter().position(|waiter| waiter.number == number)?;
    waiters.remove(at)
}

fn cancel(vm: &'static Vm, timer: Option<TimerKey>) {
    if let Some(timer) = timer {
        vm.timers.cancel(timer);
    }
}

/// `{error, Name}`
fn error(heap: &mut FragmentHeap, name: &str) -> Term {
    heap.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(name))])
}

/// `{inet_async, Port, Number, Result}`
fn done(vm: &'static Vm, port: &Port, caller: u64, number: u16, result: impl FnOnce(&mut FragmentHeap) -> Term) {
    tell(vm, port, caller, |heap| {
        let result = result(heap);
        heap.tuple(&[Term::atom(atom!("inet_async")), port.term, Term::small(number.into()), result])
    });
}

fn failed(vm: &'static Vm, port: &Port, waiter: &Waiter, name: &str) {
    done(vm, port, waiter.caller, waiter.number, |heap| error(heap, name));
}

/// `{inet_reply, Port, Status}`, since OTP 27 with the sender's reference.
fn reply(vm: &'static Vm, port: &Port, sender: &Sender, status: impl FnOnce(&mut FragmentHeap) -> Term) {
    tell(vm, port, sender.caller, |heap| {
        let status = status(heap);
        let mut elements = vec![Term::atom(atom!("inet_reply")), port.term, status];
        let resolver = vm.code.term_resolver();
        if let Ok((reference, _)) = etf::decode(&sender.reference, heap, &resolver, DecodeOptions::default()) {
            elements.push(reference);
        }
        heap.tuple(&elements)
    });
}
