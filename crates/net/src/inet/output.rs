//! Sending.

use super::address::family;
use super::options::Reader;
use super::replies::{After, Failure, cancel, error, finish, reply};
use super::state::{Piece, Sender, State};
use super::{Inet, address, ancillary, framing};
use smallvec::SmallVec;
use std::io::Write;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::{Request, tell};
use swarmrt_machine::Vm;
use swarmrt_term::Alloc;
use swarmrt_term::binary::IoPart;
use swarmrt_term::{Release, Term, am, atom};

/// Pieces that are written at a time.
pub(super) const PIECES_MAX: usize = 32;

impl Inet {
    pub(super) fn sending_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        let Some(at) = state.senders.iter().position(|sender| sender.number == number) else {
            return;
        };
        let sender = state.senders.remove(at).expect("it was just found");
        reply(vm, port, &sender, |heap| error(heap, "timeout"));
        if state.options.send_timeout_close {
            let after = self.lost(vm, port, &mut state, None);
            drop(state);
            finish(vm, port, after);
        }
    }
    pub(super) fn send(&self, request: &Request<'_>, parts: &mut [IoPart]) -> After {
        let (vm, port) = (request.vm, request.port);
        let mut state = self.state.lock();
        let all: usize = parts.iter().map(|part| part.bytes().len()).sum();
        // It stands in a list of small binaries, in front.
        let reference =
            parts.first().filter(|_| vm.release() >= Release::R27).map_or(Vec::new(), |first| {
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
                parts => Inet::send_datagram(
                    &mut state,
                    &parts.iter().map(IoPart::bytes).collect::<Vec<_>>().concat()[start..],
                ),
            };
            reply(vm, port, &sender, |heap| {
                result.map_or_else(|failure| error(heap, failure.name()), |()| Term::atom(am::OK))
            });
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
        let goes_behind = state.queued > 0 || state.sending.is_some();
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
        // Behind others it waits until the poller tells of room: the system takes the rest of a
        // segment now and then while its buffer is full, which would let too many senders go on.
        let waits_for_news = state.sending.is_some() || goes_behind && state.full;
        let outcome = if waits_for_news { Ok(()) } else { Inet::flush(&mut state) };
        if let Err(problem) = outcome {
            let name = state.lost_name(problem);
            reply(vm, port, &sender, |heap| error(heap, name));
            return self.lost(vm, port, &mut state, Some(problem));
        }
        // As in OTP, a sender waits when what it adds to a queue makes that one full. What a socket
        // with an empty queue does not take at once is queued whatever its size.
        if goes_behind && state.is_over_full() {
            let timeout = state
                .options
                .send_timeout
                .and_then(|timeout| i32::try_from(timeout).ok())
                .unwrap_or(-1);
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
    pub(super) fn flush(state: &mut State) -> Result<(), i32> {
        while !state.output.is_empty() {
            let Some(socket) = &state.socket else { return Err(libc::EPIPE) };
            let mut start = state.output_at;
            let slices: SmallVec<[IoSlice<'_>; PIECES_MAX]> = state
                .output
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(&piece.bytes()[std::mem::take(&mut start)..]))
                .collect();
            // A single piece takes the shorter call, which reads no list of pieces.
            let written = match slices.as_slice() {
                [piece] => (&mut &*socket).write(piece),
                pieces => (&mut &*socket).write_vectored(pieces),
            };
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
    pub(super) fn after_flush(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        if state.queued <= state.options.low_watermark && !state.senders.is_empty() {
            for sender in std::mem::take(&mut state.senders) {
                cancel(vm, sender.timer);
                reply(vm, port, &sender, |_| Term::atom(am::OK));
            }
            port.wake_writers(vm);
        }
        if state.queued == 0 {
            for subscriber in std::mem::take(&mut state.subscribers) {
                tell(vm, port, subscriber, |heap| {
                    heap.tuple(&[Term::atom(atom!("empty_out_q")), port.term])
                });
            }
            if state.shuts_down
                && let Some(socket) = &state.socket
            {
                let _ = socket.shutdown(std::net::Shutdown::Write);
            }
        }
    }
    /// Address, length of ancillary data, these, and the datagram.
    pub(super) fn send_datagram(state: &mut State, body: &[u8]) -> Result<(), Failure> {
        let undefined = body.first() == Some(&family::UNDEFINED);
        let (address, rest) = if undefined || body.first() == Some(&0) {
            (None, body.get(1..).ok_or(Failure::INVALID)?)
        } else {
            let (address, rest) = address::read(state.domain, body).ok_or(Failure::INVALID)?;
            // Port 0 stands for the peer of a connected socket.
            let none =
                state.connected && address.as_socket().is_some_and(|address| address.port() == 0);
            (if none { None } else { Some(address) }, rest)
        };
        let mut reader = Reader(rest);
        let length =
            usize::try_from(reader.int().ok_or(Failure::INVALID)?).map_err(|_| Failure::INVALID)?;
        let options = reader.take(length).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::Named("closed"))?;
        let count = match address {
            _ if !options.is_empty() => {
                ancillary::send(socket, reader.0, address.as_ref(), options)?
            }
            Some(address) => socket.send_to(reader.0, &address)?,
            None => socket.send(reader.0)?,
        };
        state.sent.note(count);
        Ok(())
    }
}
