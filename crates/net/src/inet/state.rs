//! The state of a socket.

use super::input::READ_BYTES_MIN;
use super::queue::Queue;
use super::replies::cancel;
use super::sendfile;
use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::{Domain, SockAddr, Socket};
use std::ops::Range;
use swarmrt_io::port::driver::Ready;
use swarmrt_io::posix;
use swarmrt_machine::schedule::timer::TimerKey;
use swarmrt_machine::signal::remote::{Bytes, SharedChannel};
use swarmrt_machine::vm::packet::PacketKind;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::binary::KeptBytes;
use swarmrt_term::{Release, release};

/// Bytes of the largest driver buffer.
pub(super) const BUFFER_MAX: usize = 64 << 20;

/// Bytes that may be asked for at a time.
pub(super) const RECEIVE_BYTES_MAX: usize = 0x400_0000;

/// When data become messages without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Active {
    Passive,
    Always,
    Once,
    /// So many times more.
    Times(i16),
}

/// The driver's own options, with OTP's defaults.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) active: Active,
    pub(super) packet: PacketKind,
    pub(super) binary: bool,
    pub(super) deliver_term: bool,
    pub(super) header: usize,
    pub(super) buffer: usize,
    /// The program has set `buffer` on this socket.
    pub(super) has_given_buffer: bool,
    pub(super) packet_size: usize,
    pub(super) delimiter: u8,
    pub(super) exit_on_close: bool,
    pub(super) high_watermark: usize,
    pub(super) low_watermark: usize,
    pub(super) msgq_high: u32,
    pub(super) msgq_low: u32,
    /// Milliseconds.
    pub(super) send_timeout: Option<u32>,
    pub(super) send_timeout_close: bool,
    pub(super) delay_send: bool,
    pub(super) read_packets: usize,
    pub(super) show_econnreset: bool,
    pub(super) read_ahead: bool,
    pub(super) non_block_send: bool,
}

impl Options {
    pub(super) fn new(stream: bool) -> Options {
        Options {
            active: Active::Passive,
            packet: PacketKind::Raw,
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
            has_given_buffer: false,
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
pub(super) struct Waiter {
    pub(super) caller: u64,
    /// The number in `{inet_async, Port, Number, _}`.
    pub(super) number: u16,
    /// Bytes that are asked for; 0 is as many as there are, or a packet.
    pub(super) length: usize,
    pub(super) timer: Option<TimerKey>,
    /// What takes it out of the line when the process ends: a key of
    /// [`swarmrt_machine::process::Extra::on_exit`].
    pub(super) hook: Option<u64>,
}

impl Waiter {
    /// It waits no more: neither its timer nor its end matters.
    pub(super) fn stop(&self, vm: &'static Vm) {
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
pub(super) struct Sender {
    pub(super) caller: u64,
    /// The reference that the answer carries since OTP 27, in the external format.
    pub(super) reference: Vec<u8>,
    /// Tells this sender's timer from others'.
    pub(super) number: u16,
    pub(super) timer: Option<TimerKey>,
}

/// Counts and sizes of packets in one direction.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) packets: u32,
    pub(super) bytes: u64,
    pub(super) largest: u32,
    pub(super) average: f64,
    pub(super) deviation: f64,
}

impl Traffic {
    pub(super) fn note(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes += bytes as u64;
        self.largest = self.largest.max(bytes.min(u32::MAX as usize) as u32);
        let off = bytes as f64 - self.average;
        self.average += off / f64::from(self.packets.max(1));
        self.deviation += (off.abs() - self.deviation) / f64::from(self.packets.max(1));
    }
}

/// Bytes that wait to be written.
pub(super) enum Piece {
    /// From that one on.
    Own(Vec<u8>, usize),
    /// A binary of the process that sends.
    Kept(KeptBytes),
    /// A part of a large message to another node.
    Shared(Bytes, Range<usize>),
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Piece::Own(bytes, start) => &bytes[*start..],
            Piece::Kept(bytes) => bytes.as_ref(),
            Piece::Shared(bytes, range) => &(**bytes).as_ref()[range.clone()],
        }
    }
}

/// What hardly any socket has been given.
#[derive(Default)]
pub(super) struct Uncommon {
    /// What `setsockname` and `setpeername` have the socket answer.
    pub(super) pretended_name: Option<SockAddr>,
    pub(super) pretended_peer: Option<SockAddr>,
    /// The path of the namespace in which the socket is to be made.
    pub(super) netns: Option<Box<[u8]>>,
}

pub(super) struct State {
    pub(super) stream: bool,
    pub(super) socket: Option<Socket>,
    /// The descriptor was given to [`Inet::fd_open`]: whoever gave it closes it.
    pub(super) is_lent: bool,
    pub(super) domain: Domain,
    pub(super) options: Options,
    pub(super) bound: bool,
    pub(super) listening: bool,
    pub(super) connected: bool,
    /// The peer will send nothing more.
    pub(super) closed_by_peer: bool,
    /// Why the connection ended, where nobody has been told yet: the next to ask is.
    pub(super) owed: Option<&'static str>,
    pub(super) connecting: Option<Box<Waiter>>,
    pub(super) receivers: Queue<Waiter>,
    pub(super) accepters: Queue<Waiter>,
    /// What has been read and not been delivered, from `input_at` on.
    pub(super) input: Vec<u8>,
    pub(super) input_at: usize,
    /// Headers of HTTP follow, in the packet types that begin with a request.
    pub(super) http_headers: bool,
    /// Input that was no whole packet before may be one now.
    pub(super) retry_input: bool,
    /// `{tcp_passive, Port}` is owed.
    pub(super) says_passive: bool,
    pub(super) output: Queue<Piece>,
    /// Bytes of the first piece that are out.
    pub(super) output_at: usize,
    pub(super) queued: usize,
    pub(super) senders: Queue<Sender>,
    /// A file that is sent behind what is in the queue. What is written meanwhile waits.
    pub(super) sending: Option<Box<sendfile::Sending>>,
    /// Which ancillary data are wanted: bits of `ancillary`.
    pub(super) ancillary: u8,
    /// Made when it is first written to.
    pub(super) uncommon: Option<Box<Uncommon>>,
    /// Who wants to know when the queue is empty.
    pub(super) subscribers: Queue<u64>,
    /// Sending ends when the queue is empty.
    pub(super) shuts_down: bool,
    pub(super) next_number: u16,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    /// What the poller was asked for, if the socket is registered there; it tells of each change
    /// once.
    pub(super) armed: Option<Ready>,
    /// All has been read that the poller has told of.
    pub(super) drained: bool,
    /// The last read got as much as there was room for.
    pub(super) flows: bool,
    /// The socket took no more when it was last written to, and the poller has not told of room
    /// since.
    pub(super) full: bool,
    /// The poller has told of the end of the connection, an error or urgent data: a read that gives
    /// less than there is room for may not have been the last.
    pub(super) is_special: bool,
    /// The connection to another node that the socket feeds.
    pub(super) channel: Option<SharedChannel>,
    /// A thread hands packets to the channel.
    pub(super) feeding: bool,
}

impl State {
    /// To write to what hardly any socket has.
    pub(super) fn uncommon(&mut self) -> &mut Uncommon {
        self.uncommon.get_or_insert_default()
    }
    /// What `setsockname` has the socket answer.
    pub(super) fn pretended_name(&self) -> Option<&SockAddr> {
        self.uncommon.as_ref()?.pretended_name.as_ref()
    }
    /// What `setpeername` has the socket answer.
    pub(super) fn pretended_peer(&self) -> Option<&SockAddr> {
        self.uncommon.as_ref()?.pretended_peer.as_ref()
    }
    /// The path of the namespace in which the socket is to be made.
    pub(super) fn netns(&self) -> Option<&[u8]> {
        self.uncommon.as_ref()?.netns.as_deref()
    }

    pub(super) fn new(stream: bool) -> State {
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
            receivers: Queue::default(),
            accepters: Queue::default(),
            input: Vec::new(),
            input_at: 0,
            http_headers: false,
            retry_input: false,
            says_passive: false,
            output: Queue::default(),
            output_at: 0,
            queued: 0,
            senders: Queue::default(),
            sending: None,
            ancillary: 0,
            uncommon: None,
            subscribers: Queue::default(),
            shuts_down: false,
            next_number: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
            armed: None,
            drained: false,
            flows: false,
            full: false,
            is_special: false,
            channel: None,
            feeding: false,
        }
    }

    pub(super) fn number(&mut self) -> u16 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    pub(super) fn is_active(&self) -> bool {
        self.options.active != Active::Passive
    }

    /// `None` where the count leaves its range.
    pub(super) fn set_active(&mut self, mode: i32, change: i16) -> Option<()> {
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
    pub(super) fn count_message(&mut self) {
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

    /// Whether a sender waits for room in the queue.
    pub(super) fn is_busy(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Whether who has added to a queue that was not empty has to wait for room in it.
    pub(super) fn is_over_full(&self) -> bool {
        self.is_busy() || self.queued >= self.options.high_watermark.max(1)
    }

    /// So many bytes of the queue are out.
    pub(super) fn wrote(&mut self, count: usize) {
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

impl State {
    /// Notes what the poller tells.
    pub(super) fn note(&mut self, ready: Ready) {
        self.drained &= !ready.readable;
        self.full &= !ready.writable;
        self.is_special |= ready.is_special;
    }

    /// Whether a connection is still neither there nor refused. That it was refused stays to be
    /// found out.
    pub(super) fn still_connects(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut state = PollFd::new(socket, PollFlags::OUT);
        rustix::event::poll(std::slice::from_mut(&mut state), Some(&Timespec::default())) == Ok(0)
    }

    /// What an error of a connection is called: that the peer reset it is only told where that is
    /// asked for. A write to a connection that was reset before fails with `EPIPE`, as one after
    /// `shutdown` does.
    pub(super) fn lost_name(&self, problem: i32) -> &'static str {
        let was_reset = problem == libc::ECONNRESET || problem == libc::EPIPE && !self.shuts_down;
        match problem {
            _ if was_reset && self.options.show_econnreset => "econnreset",
            libc::ECONNRESET | libc::EPIPE | libc::ENOTCONN => "closed",
            _ => posix::name(problem),
        }
    }
}

// A connection is one allocation of 512 bytes, with the counts of its `Arc`.
const _: () = assert!(size_of::<super::Inet>() + 2 * size_of::<usize>() <= 512);
