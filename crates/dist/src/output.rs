//! What waits to be written on a connection, and who waits for that.
//!
//! Messages go in the order in which they were sent, but for large ones: once all small messages in
//! front of one are out, its fragments take turns with all others, and what its sender sends
//! meanwhile waits behind it. When more than the limit (`+zdbbl`) waits, the connection is busy:
//! senders are suspended until half of the limit is written. The sender of a large message waits
//! until that is out.

use crate::atoms;
use crate::packet::{Encoded, Fragments};
use std::collections::VecDeque;
use swarmrt_machine::Process;
use swarmrt_machine::process::Waiter;
use swarmrt_machine::signal::remote::Packet;
use swarmrt_term::Term;

/// Large messages whose fragments take turns: the peer keeps what has come of each.
const STREAMS_MAX: usize = 64;
/// Bytes of those, beyond which no further one begins.
const STREAM_BYTES_MAX: usize = 1 << 30;
/// Small messages between two fragments.
const SMALL_IN_A_ROW: usize = 16;

/// What a process has sent since its large message, which is under way.
struct Stream {
    sender: Term,
    fragments: Fragments,
    /// How many small messages of the connection go first: those that waited when it came, for some
    /// are its sender's.
    first_small: u64,
    behind: VecDeque<Encoded>,
    /// Bytes of all that.
    bytes: usize,
    /// The sender, where it waits until all that is out: once for each time that it was suspended.
    suspended: Vec<Waiter>,
}

/// The queue of one connection.
pub struct Output {
    /// Bytes from which on the connection is busy.
    busy_bytes: usize,
    small: VecDeque<Encoded>,
    /// Bytes of those.
    small_bytes: usize,
    /// Small messages that are out.
    small_out: u64,
    /// Those whose fragments take turns.
    streams: VecDeque<Stream>,
    /// Those that have not begun.
    next_streams: VecDeque<Stream>,
    /// Bytes of all streams.
    stream_bytes: usize,
    /// Small messages since the last fragment.
    in_a_row: usize,
    is_busy: bool,
    /// Bytes that are out since the connection is busy.
    out_since_busy: usize,
    suspended: Vec<Waiter>,
    /// Those who may go on.
    resumed: Vec<Waiter>,
    next_sequence: u64,
}

impl Output {
    /// An empty queue, whose connection is busy from so many bytes on.
    pub fn new(busy_bytes: usize) -> Output {
        Output {
            busy_bytes,
            small: VecDeque::new(),
            small_bytes: 0,
            small_out: 0,
            streams: VecDeque::new(),
            next_streams: VecDeque::new(),
            stream_bytes: 0,
            in_a_row: 0,
            is_busy: false,
            out_since_busy: 0,
            suspended: Vec::new(),
            resumed: Vec::new(),
            next_sequence: 0,
        }
    }

    /// Puts a message of a process behind what it has sent before.
    pub fn push(&mut self, sender: Term, message: Encoded, peer: u64) {
        let bytes = message.bytes();
        match self.stream_of(sender) {
            Some(stream) => {
                stream.bytes += bytes;
                stream.behind.push_back(message);
                self.stream_bytes += bytes;
            }
            None if message.is_large(peer) => {
                self.open(sender, message, VecDeque::new(), Vec::new());
            }
            None => {
                self.small_bytes += bytes;
                self.small.push_back(message);
            }
        }
        if !self.is_busy && self.bytes() >= self.busy_bytes {
            self.is_busy = true;
            self.out_since_busy = 0;
        }
    }

    fn open(
        &mut self,
        sender: Term,
        large: Encoded,
        behind: VecDeque<Encoded>,
        suspended: Vec<Waiter>,
    ) {
        self.next_sequence += 1;
        let bytes = large.bytes() + behind.iter().map(Encoded::bytes).sum::<usize>();
        let fragments = large.fragments(self.next_sequence);
        let first_small = self.small_out + self.small.len() as u64;
        let stream = Stream { sender, fragments, first_small, behind, bytes, suspended };
        self.next_streams.push_back(stream);
        self.stream_bytes += bytes;
        self.begin_streams();
    }

    fn stream_of(&mut self, sender: Term) -> Option<&mut Stream> {
        let all = self.streams.iter_mut().chain(&mut self.next_streams);
        all.into_iter().find(|stream| stream.sender == sender)
    }

    /// Has as many streams take turns as may do so.
    fn begin_streams(&mut self) {
        while self.streams.len() < STREAMS_MAX
            && self.streams.iter().map(|stream| stream.bytes).sum::<usize>() < STREAM_BYTES_MAX
            && let Some(stream) = self.next_streams.pop_front()
        {
            self.streams.push_back(stream);
        }
    }

    /// The next packet to write; `None` when nothing waits. `sent` is the connection's atom cache,
    /// and `peer` the capabilities of both sides.
    pub fn pop(&mut self, sent: &mut atoms::Sent, peer: u64) -> Option<Packet> {
        let has_turn = self.in_a_row >= SMALL_IN_A_ROW || self.small.is_empty();
        let may_go = |stream: &Stream| self.small_out >= stream.first_small;
        if has_turn
            && let Some(at) = self.streams.iter().position(may_go)
            && let Some(mut stream) = self.streams.remove(at)
        {
            self.in_a_row = 0;
            let packet = stream.fragments.next(sent)?;
            let bytes = packet.part.as_ref().map_or(0, |(_, range)| range.len());
            stream.bytes -= bytes;
            self.stream_bytes -= bytes;
            self.out_since_busy += bytes;
            if stream.fragments.is_over() {
                self.finish(stream, peer);
                self.begin_streams();
            } else {
                self.streams.push_back(stream);
            }
            return Some(packet);
        }
        let message = self.small.pop_front()?;
        self.in_a_row += 1;
        self.small_out += 1;
        self.small_bytes -= message.bytes();
        self.out_since_busy += message.bytes();
        Some(message.whole(sent, peer))
    }

    /// A large message is out: what its sender has sent since is like any other, up to the next
    /// large one.
    fn finish(&mut self, mut stream: Stream, peer: u64) {
        self.stream_bytes -= stream.bytes;
        while let Some(message) = stream.behind.pop_front() {
            if message.is_large(peer) {
                return self.open(stream.sender, message, stream.behind, stream.suspended);
            }
            self.small_bytes += message.bytes();
            self.small.push_back(message);
        }
        self.resumed.extend(stream.suspended);
    }

    /// Whether only so many small messages wait, with so many bytes.
    pub fn is_small_batch(&self, messages: usize, bytes: usize) -> bool {
        self.streams.is_empty() && self.small.len() < messages && self.small_bytes < bytes
    }
    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.streams.is_empty()
    }
    /// Bytes that wait to be written, without the heads of packets.
    pub fn bytes(&self) -> usize {
        self.small_bytes + self.stream_bytes
    }
    /// Whether so much waits that this sender is to wait.
    pub fn is_busy(&self, sender: Term) -> bool {
        let is_own = |stream: &Stream| stream.sender == sender && stream.bytes >= self.busy_bytes;
        self.is_busy || self.streams.iter().chain(&self.next_streams).any(is_own)
    }
    /// Enters a process that is suspended: until its large message is out, or until there is less
    /// to write.
    pub fn suspend(&mut self, waiter: Waiter) {
        match self.stream_of(Term::pid(waiter.pid)) {
            Some(stream) => stream.suspended.push(waiter),
            None => self.suspended.push(waiter),
        }
    }
    /// Has a process wait, if there is a large message of its own that is not out.
    pub fn wait_for_own(&mut self, p: &mut Process) {
        if let Some(stream) = self.stream_of(p.pid()) {
            stream.suspended.extend(p.wait_for_connection());
        }
    }
    /// Those who are to go on.
    pub fn take_resumed(&mut self) -> Vec<Waiter> {
        let half = self.busy_bytes / 2;
        if self.is_busy && (self.bytes() < half || self.out_since_busy >= half) {
            self.is_busy = false;
            self.resumed.append(&mut self.suspended);
        }
        std::mem::take(&mut self.resumed)
    }
    /// Empties the queue of a connection that is over. All processes that waited for it.
    pub fn clear(&mut self) -> Vec<Waiter> {
        let emptied = std::mem::replace(self, Output::new(self.busy_bytes));
        let streams = emptied.streams.into_iter().chain(emptied.next_streams);
        let own = streams.flat_map(|stream| stream.suspended);
        emptied.suspended.into_iter().chain(emptied.resumed).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::packet::{Incoming, joined};
    use swarmrt_term::etf::Interning;
    use swarmrt_term::{Alloc, FragmentHeap};

    const BUSY_BYTES: usize = 1 << 20;
    const PEER: u64 = flags::HEAD_ATOM_CACHE | flags::FRAGMENTS;

    fn message(number: i64, bytes: usize) -> Encoded {
        let mut heap = FragmentHeap::new();
        let control = heap.tuple(&[Term::small(number)]);
        let payload = heap.binary(&vec![1; bytes]);
        Encoded::of(control, Some(payload), PEER).expect("small")
    }

    fn waiter(pid: u64) -> Waiter {
        Waiter { pid, is_ending: false }
    }

    /// The numbers of messages as they come out whole.
    fn drained(output: &mut Output) -> Vec<i64> {
        let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::new(PEER));
        let mut order = Vec::new();
        while let Some(packet) = output.pop(&mut sent, PEER) {
            let bytes = joined(&packet);
            if let Some(message) =
                incoming.take(&bytes[Packet::LENGTH..], &Interning).expect("a packet")
            {
                let number = message.control.as_tuple().expect("a tuple").get(0);
                order.push(number.as_small().expect("a number"));
            }
        }
        order
    }

    #[test]
    fn small_messages_of_others_pass_large_ones_and_those_of_the_sender_do_not() {
        let (one, other) = (Term::pid(1), Term::pid(2));
        let mut output = Output::new(BUSY_BYTES);
        output.push(one, message(1, 1_000_000), PEER);
        output.push(one, message(2, 10), PEER);
        output.push(other, message(3, 10), PEER);
        output.push(one, message(4, 200_000), PEER);
        output.push(one, message(5, 10), PEER);
        output.push(other, message(6, 10), PEER);
        assert_eq!(drained(&mut output), [3, 6, 1, 2, 4, 5]);
        assert!(output.is_empty() && output.bytes() == 0);
    }

    #[test]
    fn a_large_message_does_not_pass_small_ones_in_front_of_it() {
        let mut output = Output::new(BUSY_BYTES);
        for number in 0..400 {
            output.push(Term::pid(1), message(number, 10), PEER);
        }
        output.push(Term::pid(1), message(400, 200_000), PEER);
        output.push(Term::pid(1), message(401, 10), PEER);
        assert_eq!(drained(&mut output), (0..402).collect::<Vec<i64>>());
    }

    #[test]
    fn no_more_large_messages_than_the_limit_are_under_way() {
        let (mut output, mut sent) = (Output::new(BUSY_BYTES), atoms::Sent::default());
        let senders = 3 * STREAMS_MAX;
        for pid in 0..senders {
            output.push(Term::pid(pid as u64), message(pid as i64, 200_000), PEER);
        }
        let mut incoming = Incoming::new(PEER);
        let mut order = Vec::new();
        while let Some(packet) = output.pop(&mut sent, PEER) {
            let bytes = joined(&packet);
            let message = incoming.take(&bytes[Packet::LENGTH..], &Interning).expect("a packet");
            assert!(incoming.unfinished_count() <= STREAMS_MAX);
            order.extend(message.map(|message| message.control));
        }
        assert_eq!(order.len(), senders);
        assert!(output.is_empty() && output.bytes() == 0);
    }

    #[test]
    fn a_connection_is_busy_until_half_of_it_is_out() {
        let mut output = Output::new(BUSY_BYTES);
        let mut sent = atoms::Sent::default();
        for number in 0..45 {
            output.push(Term::pid(1), message(number, 40_000), PEER);
        }
        assert!(output.is_busy(Term::pid(7)));
        output.suspend(waiter(7));
        let mut left = 45;
        while output.take_resumed().is_empty() {
            assert!(output.is_busy(Term::pid(7)));
            output.pop(&mut sent, PEER);
            left -= 1;
        }
        assert!(!output.is_busy(Term::pid(7)) && (31..33).contains(&left), "{left}");
        output.push(Term::pid(1), message(45, 10), PEER);
        assert!(output.is_busy(Term::pid(7)), "more than the limit waits still");
    }

    #[test]
    fn the_sender_of_a_large_message_waits_until_it_is_out_and_others_for_half_of_the_limit() {
        let mut output = Output::new(BUSY_BYTES);
        let mut sent = atoms::Sent::default();
        output.push(Term::pid(1), message(1, 4_000_000), PEER);
        output.push(Term::pid(1), message(2, 10), PEER);
        assert!(output.is_busy(Term::pid(1)) && output.is_busy(Term::pid(2)));
        output.suspend(waiter(1));
        output.suspend(waiter(1));
        output.suspend(waiter(2));
        let mut resumed = Vec::new();
        while resumed.is_empty() {
            assert!(output.pop(&mut sent, PEER).is_some());
            resumed = output.take_resumed();
        }
        assert_eq!(resumed, [waiter(2)]);
        assert!(output.bytes() > 3_000_000 && !output.is_busy(Term::pid(2)));
        resumed.clear();
        while resumed.is_empty() {
            assert!(output.pop(&mut sent, PEER).is_some());
            resumed = output.take_resumed();
        }
        assert_eq!(resumed, [waiter(1), waiter(1)]);
        assert_eq!(output.bytes(), output.small_bytes);
        assert!(output.streams.is_empty() && output.small.len() == 1);
    }
}
