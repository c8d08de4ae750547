//! Receiving, and delivering to whoever is the owner or asked.

use super::options::Reader;
use super::replies::{After, Failure, Reply, cancel, done, failed, take_waiter};
use super::state::{RECEIVE_BYTES_MAX, State, Waiter};
use super::{Inet, address, ancillary, framing};
use socket2::SockAddr;
use std::cell::Cell;
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::{Request, tell};
use swarmrt_io::port::input::READS_MAX;
use swarmrt_io::posix;
use swarmrt_machine::Vm;
use swarmrt_term::Alloc;
use swarmrt_term::{Atom, Term, am, atom};

/// Bytes of the largest datagram.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// Bytes that are read at a time, at least.
pub(super) const READ_BYTES_MIN: usize = 1460;

/// Bytes that are read at a time from a stream that had enough the last time: whoever takes a long
/// stream in small pieces asks the system once for many of them.
const READ_BYTES_AHEAD: usize = 1 << 15;

/// Bytes of the largest buffer that a thread keeps for the next connection that it reads from.
const SPARE_BYTES_MAX: usize = 1 << 16;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn keep_spare(mut buffer: Vec<u8>) {
    if buffer.capacity() <= SPARE_BYTES_MAX {
        buffer.clear();
        SPARE.set(buffer);
    }
}

impl Inet {
    pub(super) fn receiving_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        take_waiter(&mut state.receivers, number)
            .inspect(|waiter| failed(vm, port, waiter, "timeout"));
        self.arm(vm, port, &mut state);
    }
    pub(super) fn receive(
        &self,
        request: &Request<'_>,
        state: &mut State,
        data: &[u8],
    ) -> (Reply, After) {
        let mut reader = Reader(data);
        let (Some(timeout), Some(length)) = (reader.int(), reader.int()) else {
            return (Err(Failure::INVALID), After::Nothing);
        };
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
        let timer = self.start_timer(
            request.vm,
            request.port,
            timeout,
            number,
            Inet::receiving_took_too_long,
        );
        state.receivers.push_back(Waiter {
            caller: request.from,
            number,
            length,
            timer,
            hook: None,
        });
        let after = self.take_in(request.vm, request.port, state);
        (Ok(number.to_be_bytes().to_vec()), after)
    }
    /// Reads and delivers for as long as somebody wants it and there is something.
    pub(super) fn take_in(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) -> After {
        if !self.stream {
            self.take_datagrams(vm, port, state);
            return After::Nothing;
        }
        let mut after = self.deliver(vm, port, state);
        let mut reads = 0;
        let goes_on =
            |state: &State, reads: usize| reads == 0 || reads < READS_MAX && !state.drained;
        while after == After::Nothing
            && (state.is_active() || !state.receivers.is_empty())
            && state.connected
            && goes_on(state, reads)
        {
            match Inet::read(state) {
                Ok(0) => after = self.lost(vm, port, state, None),
                Ok(count) => {
                    port.note_input(vm, count);
                    after = self.deliver(vm, port, state);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => state.drained = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    after =
                        self.lost(vm, port, state, Some(error.raw_os_error().unwrap_or(libc::EIO)));
                }
            }
            reads += 1;
        }
        // A connection that waits holds no memory for what may come.
        if state.drained && state.input_at == state.input.len() {
            keep_spare(std::mem::take(&mut state.input));
            state.input_at = 0;
        }
        after
    }
    /// Appends what the socket has to the input.
    pub(super) fn read(state: &mut State) -> io::Result<usize> {
        if state.input_at > 0 {
            state.input.drain(..state.input_at);
            state.input_at = 0;
        }
        let wanted = state
            .receivers
            .front()
            .map_or(0, |waiter| waiter.length.saturating_sub(state.input.len()));
        let goes_ahead = state.flows && !state.is_active();
        let at_least = if goes_ahead { READ_BYTES_AHEAD } else { READ_BYTES_MIN };
        // Whole buffers, so that no piece is short while more is there.
        let buffer = state.options.buffer.max(1);
        let room = wanted.max(at_least.div_ceil(buffer) * buffer);
        let before = state.input.len();
        if state.input.capacity() == 0 {
            state.input = SPARE.take();
        }
        state.input.reserve(room);
        let Some(socket) = &state.socket else { return Ok(0) };
        let result = socket.recv(&mut state.input.spare_capacity_mut()[..room]);
        let count = result.as_ref().map_or(0, |&count| count);
        // SAFETY: the system has written so many bytes behind those that were there.
        unsafe { state.input.set_len(before + count) };
        state.drained = result.is_ok() && count < room && !state.is_special;
        state.flows = count == room;
        result
    }
    /// Makes messages and results of the input.
    pub(super) fn deliver(&self, vm: &'static Vm, port: &Port, state: &mut State) -> After {
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
            let length =
                if active { 0 } else { state.receivers.front().map_or(0, |waiter| waiter.length) };
            let cut = framing::cut(
                &state.options,
                state.http_headers,
                &state.input[state.input_at..],
                length,
            );
            let (packet, used) = match cut {
                framing::Cut::Packet(packet, used) => (packet, used),
                // OTP keeps a packet behind those that it has delivered from the same buffer, whose
                // size is an `int`.
                framing::Cut::More(Some(total)) if state.input_at + total > i32::MAX as usize => {
                    return self.lost(vm, port, state, Some(libc::EMSGSIZE));
                }
                framing::Cut::More(_) => return After::Nothing,
                framing::Cut::Invalid => return self.lost(vm, port, state, Some(libc::EMSGSIZE)),
            };
            state.received.note(used);
            let bytes = state.input_at..state.input_at + used;
            if active {
                state.count_message();
                let (state, tag) = (&*state, self.tag());
                tell(vm, port, port.owner(), |heap| {
                    let data =
                        packet.term(port.term, &state.options, &state.input[bytes.clone()], heap);
                    packet.message(tag, port.term, data, heap)
                });
            } else if let Some(waiter) = state.receivers.pop_front() {
                cancel(vm, waiter.timer);
                let state = &*state;
                done(vm, port, waiter.caller, waiter.number, |heap| {
                    let data =
                        packet.term(port.term, &state.options, &state.input[bytes.clone()], heap);
                    heap.tuple(&[Term::atom(am::OK), data])
                });
            }
            state.http_headers = packet.headers_follow(&state.input[bytes.clone()]);
            state.input_at = bytes.end;
        }
    }
    pub(super) fn take_datagrams(&self, vm: &'static Vm, port: &Arc<Port>, state: &mut State) {
        let mut packets = 0;
        let mut buffer = Vec::new();
        while (state.is_active() || !state.receivers.is_empty())
            && packets < READS_MAX.max(state.options.read_packets)
        {
            let Some(socket) = &state.socket else { return };
            buffer.resize(
                state.options.buffer.clamp(1, DATAGRAM_BYTES_MAX).max(DATAGRAM_BYTES_MAX),
                0u8,
            );
            let received = if state.ancillary == 0 {
                // SAFETY: bytes that are initialised may be given out as bytes that need not be.
                let room =
                    unsafe { &mut *(&raw mut buffer[..] as *mut [std::mem::MaybeUninit<u8>]) };
                socket.recv_from(room).map(|(count, from)| (count, from, None))
            } else {
                ancillary::receive(socket, &mut buffer)
                    .map(|(count, from, data)| (count, from, Some(data)))
            };
            let (count, from, ancillary) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.drained = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.datagram_failed(
                        vm,
                        port,
                        state,
                        posix::name(error.raw_os_error().unwrap_or(libc::EIO)),
                    );
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
                tell(vm, port, port.owner(), |heap| {
                    heap.tuple(&[Term::atom(atom!("udp_passive")), port.term])
                });
            }
        }
    }
    pub(super) fn datagram(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        from: &SockAddr,
        ancillary: Option<&ancillary::Data>,
        data: &[u8],
    ) {
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
    pub(super) fn datagram_failed(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        name: &'static str,
    ) {
        if let Some(waiter) = state.receivers.pop_front() {
            cancel(vm, waiter.timer);
            failed(vm, port, &waiter, name);
        } else if state.is_active() {
            tell(vm, port, port.owner(), |heap| {
                heap.tuple(&[
                    Term::atom(atom!("udp_error")),
                    port.term,
                    Term::atom(Atom::new(name)),
                ])
            });
        }
    }
}
