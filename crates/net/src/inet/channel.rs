//! A socket that feeds a connection to another node: packets with a length of four bytes go to the
//! channel as they are, and what the channel has to say is written when the socket takes it.
//!
//! Packets are handed over without the socket's lock: what they lead to may be written on the same
//! socket. One thread at a time does so.

use super::{After, Inet, Piece, State, framing};
use std::io::ErrorKind;
use std::sync::Arc;
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::Ready;
use swarmrt_io::port::input::{READ_BYTES, READS_MAX, read_more};
use swarmrt_machine::Vm;
use swarmrt_machine::signal::remote::SharedChannel;
use swarmrt_machine::vm::packet::PacketKind;
use swarmrt_term::{Term, am};

/// Bytes that wait in the socket's queue at most, before the channel is asked for more.
const QUEUED_BYTES_MAX: usize = 256 << 10;

/// Bytes that the system keeps and cannot send yet, about: a small message waits behind them.
const UNSENT_BYTES: u32 = 128 << 10;

/// What reading has led to.
enum Input {
    Packets(Vec<u8>),
    Nothing,
    Lost(Option<i32>),
}

impl State {
    /// Appends what the socket has to the input.
    fn read_more(&mut self) -> std::io::Result<usize> {
        let Some(socket) = &self.socket else { return Ok(0) };
        read_more(socket, &mut self.input)
    }

    /// Takes what has been read and holds a whole packet at least, or reads more.
    fn take_packets(&mut self, reads: &mut usize) -> Input {
        loop {
            let whole = framing::cut(&self.options, false, &self.input[self.input_at..], 0);
            match whole {
                framing::Cut::Packet(..) => {
                    let start = std::mem::take(&mut self.input_at);
                    let mut input = std::mem::take(&mut self.input);
                    if start > 0 {
                        input.drain(..start);
                    }
                    return Input::Packets(input);
                }
                framing::Cut::Invalid => return Input::Lost(Some(libc::EMSGSIZE)),
                framing::Cut::More(_) if *reads >= READS_MAX || *reads > 0 && self.drained => {
                    return Input::Nothing;
                }
                framing::Cut::More(_) => {}
            }
            *reads += 1;
            match self.read_more() {
                Ok(0) => return Input::Lost(None),
                Ok(count) => self.drained = count < READ_BYTES && !self.is_special,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.drained = true;
                    return Input::Nothing;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Input::Lost(Some(error.raw_os_error().unwrap_or(libc::EIO))),
            }
        }
    }
}

impl Inet {
    pub(super) fn attach_channel(&self, channel: SharedChannel) -> bool {
        let mut state = self.state.lock();
        let can = self.stream && state.connected && state.channel.is_none();
        if can {
            super::options::set_unsent_bytes(&state, UNSENT_BYTES);
            state.channel = Some(channel);
        }
        can
    }

    /// Writes what the channel has, as far as the socket takes it.
    pub(super) fn write_channel(&self, vm: &'static Vm, port: &Arc<Port>) {
        let mut state = self.state.lock();
        let after = self.pump(vm, port, &mut state);
        self.arm(vm, port, &mut state);
        drop(state);
        super::finish(vm, port, after);
    }

    fn pump(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) -> After {
        let Some(channel) = state.channel.clone() else { return After::Nothing };
        loop {
            let mut is_empty = false;
            while state.queued < QUEUED_BYTES_MAX {
                let Some(packet) = channel.output(vm) else {
                    is_empty = true;
                    break;
                };
                let bytes = packet.bytes();
                state.sent.note(bytes);
                port.note_output(vm, bytes);
                state.queued += bytes;
                state.output.push_back(Piece::Own(packet.head, 0));
                if let Some((body, range)) = packet.part {
                    state.output.push_back(Piece::Shared(body, range));
                }
            }
            if let Err(problem) = Inet::flush(state) {
                return self.lost(vm, port, state, Some(problem));
            }
            if is_empty || state.queued > 0 {
                self.after_flush(vm, port, state);
                return After::Nothing;
            }
        }
    }

    pub(super) fn ready_channel(&self, vm: &'static Vm, port: &Arc<Port>, ready: Ready) {
        let mut after = After::Nothing;
        {
            let mut state = self.state.lock();
            state.note(ready);
            if ready.writable {
                after = self.pump(vm, port, &mut state);
            }
            if !ready.readable {
                self.arm(vm, port, &mut state);
            }
        }
        if after == After::Nothing && ready.readable {
            after = self.read_channel(vm, port);
        }
        super::finish(vm, port, after);
    }

    /// Hands packets to the channel for as long as there are some.
    pub(super) fn read_channel(&self, vm: &'static Vm, port: &Arc<Port>) -> After {
        let mut reads = 0;
        let mut state = self.state.lock();
        if state.feeding {
            // The connection that takes the packets asks for more.
            return After::Nothing;
        }
        if !state.is_active() {
            self.arm(vm, port, &mut state);
            return After::Nothing;
        }
        state.feeding = true;
        let after = loop {
            let Some(channel) = state.channel.clone().filter(|_| state.connected) else {
                break After::Nothing;
            };
            let mut input = match state.take_packets(&mut reads) {
                Input::Packets(input) => input,
                Input::Nothing => break After::Nothing,
                Input::Lost(problem) => break self.lost(vm, port, &mut state, problem),
            };
            drop(state);
            let (used, packets, valid) = hand_over(vm, &channel, &input);
            input.drain(..used);
            state = self.state.lock();
            state.input = input;
            packets.into_iter().for_each(|bytes| state.received.note(bytes));
            port.note_input(vm, used);
            if !valid {
                drop(state);
                port.close(vm, Term::atom(am::KILLED));
                state = self.state.lock();
                break After::Nothing;
            }
        };
        state.feeding = false;
        self.arm(vm, port, &mut state);
        after
    }
}

/// Hands the whole packets at the front of the input to the channel: how many bytes they took, the
/// size of each, and whether the connection may go on.
fn hand_over(vm: &'static Vm, channel: &SharedChannel, input: &[u8]) -> (usize, Vec<usize>, bool) {
    let (mut used, mut packets) = (0, Vec::new());
    while let Some((head, rest)) = input[used..].split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        let Some(packet) = rest.get(..length) else { break };
        used += head.len() + length;
        packets.push(head.len() + length);
        if !channel.input(vm, packet) {
            return (used, packets, false);
        }
    }
    (used, packets, true)
}

/// Whether packets of this kind can feed a channel.
pub(super) fn takes(kind: PacketKind) -> bool {
    kind == PacketKind::Length(4)
}
