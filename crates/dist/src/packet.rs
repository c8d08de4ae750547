//! Packets: a control message, for some a payload behind it, and in front of them a head with the
//! atoms. What is large goes in fragments, so that others come in between.
//!
//! See "Distribution Header" in the ERTS User's Guide.

use crate::atoms::{self, Listed, Received};
use crate::flags;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use swarmrt_machine::signal::remote::{Bytes, Packet};
use swarmrt_term::binary::{GrowingBytes, KeptBytes};
use swarmrt_term::etf::{
    self, DecodeOptions, EncodeOptions, NodeContext, NodeMessage, Resolver, VERSION,
};
use swarmrt_term::{Atom, FragmentHeap, Term};

/// Bytes of control message and payload in a fragment.
pub const FRAGMENT_BYTES: usize = 64 << 10;
/// Terms with version bytes follow, and no head.
const PASS_THROUGH: u8 = 112;
const HEAD: u8 = 68;
const FIRST_FRAGMENT: u8 = 69;
const NEXT_FRAGMENT: u8 = 70;

/// A message whose head is still to be written: it depends on what the connection has sent before.
pub struct Encoded {
    listed: Listed,
    body: Vec<u8>,
    /// Where the payload begins in the body.
    payload_at: usize,
    /// Large binaries that are sent from where they are, each with its place in the body.
    left_out: Vec<(usize, KeptBytes)>,
    size: usize,
}

/// A message that is being encoded.
struct Making {
    listed: Listed,
    left_out: Vec<(usize, KeptBytes)>,
    leaves_out: bool,
}

impl NodeMessage for Making {
    fn index_of(&mut self, atom: Atom) -> Option<u8> {
        self.listed.index_of(atom)
    }
    fn leave_out(&mut self, binary: Term, at: usize) -> bool {
        let kept = if self.leaves_out { KeptBytes::of(binary) } else { None };
        let is_left_out = kept.is_some();
        self.left_out.extend(kept.map(|kept| (at, kept)));
        is_left_out
    }
}

impl Encoded {
    /// The message for a peer with these capabilities; `None` where it cannot be written: it has a
    /// binary of 4 GB or more, or there is not enough memory.
    pub fn of(control: Term, payload: Option<Term>, peer: u64) -> Option<Encoded> {
        let has_head = peer & (flags::HEAD_ATOM_CACHE | flags::FRAGMENTS) != 0;
        let listed = Listed::new(peer & flags::HEAD_ATOM_CACHE != 0);
        let mut making = Making { listed, left_out: Vec::new(), leaves_out: false };
        let options = EncodeOptions { minor_version: 2, ..EncodeOptions::default() };
        let mut body = Vec::with_capacity(128);
        let write = |term: Term, making: &mut Making, body: &mut Vec<u8>| {
            if !has_head {
                body.push(VERSION);
            }
            etf::encode_for_node(term, &options, making, body)
        };
        if !write(control, &mut making, &mut body) {
            return None;
        }
        let payload_at = body.len();
        if let Some(payload) = payload {
            making.leaves_out = peer & flags::FRAGMENTS != 0;
            if !write(payload, &mut making, &mut body) {
                return None;
            }
        }
        let Making { listed, left_out, .. } = making;
        let size = body.len() + left_out.iter().map(|(_, kept)| kept.as_ref().len()).sum::<usize>();
        Some(Encoded { listed, body, payload_at, left_out, size })
    }

    /// Bytes of control message and payload, without the head.
    pub fn bytes(&self) -> usize {
        self.size
    }

    /// Whether the message goes in fragments to a peer with these capabilities.
    pub fn is_large(&self, peer: u64) -> bool {
        let is_long = self.size > FRAGMENT_BYTES && self.payload_at < self.body.len();
        peer & flags::FRAGMENTS != 0 && (is_long || !self.left_out.is_empty())
    }

    /// The message as one packet.
    pub fn whole(self, sent: &mut atoms::Sent, peer: u64) -> Packet {
        let mut head = Vec::with_capacity(
            64 + if self.body.len() <= COPIED_MAX { self.body.len() } else { 0 },
        );
        head.extend([0; Packet::LENGTH]);
        if peer & (flags::HEAD_ATOM_CACHE | flags::FRAGMENTS) == 0 {
            head.push(PASS_THROUGH);
        } else {
            head.extend([VERSION, HEAD]);
            self.listed.write(sent, &mut head);
        }
        if self.body.len() <= COPIED_MAX {
            head.extend_from_slice(&self.body);
            return finished(Packet { head, part: None });
        }
        let length = self.body.len();
        let body: Bytes = Arc::new(self.body);
        finished(Packet { head, part: Some((body, 0..length)) })
    }

    /// The message as fragments; `sequence` tells it from others that go so.
    pub fn fragments(self, sequence: u64) -> Fragments {
        let end = self.body.len();
        let body: Bytes = Arc::new(self.body);
        let mut parts = VecDeque::new();
        let mut at = 0;
        // The first fragment has the whole control message.
        let mut first = Some(self.payload_at.max(FRAGMENT_BYTES));
        let mut cut = |bytes: &Bytes, from: usize, to: usize| {
            let mut from = from;
            while from < to || first.is_some() {
                let part_end = to.min(from + first.take().unwrap_or(FRAGMENT_BYTES));
                parts.push_back((bytes.clone(), from..part_end));
                from = part_end;
            }
        };
        for (place, kept) in self.left_out {
            cut(&body, at, place);
            at = place;
            let length = kept.as_ref().len();
            let kept: Bytes = Arc::new(kept);
            cut(&kept, 0, length);
        }
        cut(&body, at, end);
        Fragments { listed: Some(self.listed), parts, sequence }
    }
}

/// Bytes up to which a message is copied behind its head.
const COPIED_MAX: usize = 4096;

/// What is left of a large message.
pub struct Fragments {
    /// Gone with the first fragment.
    listed: Option<Listed>,
    parts: VecDeque<(Bytes, Range<usize>)>,
    sequence: u64,
}

impl Fragments {
    /// The next fragment; `None` when there are no more.
    pub fn next(&mut self, sent: &mut atoms::Sent) -> Option<Packet> {
        let left = self.parts.len() as u64;
        let part = self.parts.pop_front()?;
        let mut head = vec![0; Packet::LENGTH];
        head.extend([VERSION, if self.listed.is_some() { FIRST_FRAGMENT } else { NEXT_FRAGMENT }]);
        head.extend(self.sequence.to_be_bytes());
        head.extend(left.to_be_bytes());
        if let Some(listed) = self.listed.take() {
            listed.write(sent, &mut head);
        }
        Some(finished(Packet { head, part: Some(part) }))
    }
    /// Whether the last fragment has been taken.
    pub fn is_over(&self) -> bool {
        self.parts.is_empty()
    }
}

/// A packet with its length in place.
fn finished(mut packet: Packet) -> Packet {
    let length = (packet.bytes() - Packet::LENGTH) as u32;
    packet.head[..Packet::LENGTH].copy_from_slice(&length.to_be_bytes());
    packet
}

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    Head,
    /// A term in it, or there are bytes left over.
    Term,
    /// A fragment that nothing was said of, out of order, or twice the same.
    Fragment,
    /// More unfinished messages, or bytes in them, than a peer may have.
    TooMuch,
}

/// Bytes in the unfinished messages of a connection: there may be one with a binary of 4 GB.
const UNFINISHED_BYTES_MAX: usize = 5 << 30;
/// Unfinished messages of a connection: as many as processes that send.
const UNFINISHED_MAX: usize = 1 << 20;

struct Unfinished {
    atoms: Vec<Atom>,
    body: GrowingBytes,
    /// The number of the fragment that comes next.
    next: u64,
}

/// What a connection has received so far.
#[derive(Default)]
pub struct Incoming {
    /// The capabilities of both sides: they say which packets there may be.
    peer: u64,
    cache: Received,
    unfinished: HashMap<u64, Unfinished>,
    unfinished_bytes: usize,
}

/// A control message with its payload.
pub struct Message {
    /// Where the terms are.
    pub _heap: FragmentHeap,
    pub control: Term,
    /// `None` where there is none, or what is there is no term: that matters to messages with a
    /// payload only.
    pub payload: Option<Term>,
}

impl Incoming {
    /// Nothing received yet, on a connection whose sides both have the capabilities `peer`.
    pub fn new(peer: u64) -> Incoming {
        Incoming { peer, ..Incoming::default() }
    }

    /// Takes a packet; the message that it completes, if it does.
    ///
    /// # Errors
    /// See [`Problem`]. The connection is of no use then.
    pub fn take(
        &mut self,
        packet: &[u8],
        resolver: &dyn Resolver,
    ) -> Result<Option<Message>, Problem> {
        if self.peer & (flags::HEAD_ATOM_CACHE | flags::FRAGMENTS) == 0 {
            // The first byte is `PASS_THROUGH`; OTP does not look at it.
            return match packet {
                [_, VERSION, HEAD | FIRST_FRAGMENT | NEXT_FRAGMENT, ..] => Err(Problem::Head),
                [_, rest @ ..] if matches!(rest, [VERSION, _, ..]) => {
                    decode(rest, NodeContext::default(), true, resolver).map(Some)
                }
                _ => Err(Problem::Head),
            };
        }
        match packet {
            [VERSION, HEAD, rest @ ..] => {
                let (atoms, body) = self.cache.read(rest).ok_or(Problem::Head)?;
                decode(body, NodeContext { atoms: &atoms, buffer: None }, false, resolver).map(Some)
            }
            [VERSION, kind @ (FIRST_FRAGMENT | NEXT_FRAGMENT), rest @ ..]
                if self.peer & flags::FRAGMENTS != 0 =>
            {
                let (sequence, rest) = rest.split_first_chunk().ok_or(Problem::Head)?;
                let (number, rest) = rest.split_first_chunk().ok_or(Problem::Head)?;
                let (sequence, number) =
                    (u64::from_be_bytes(*sequence), u64::from_be_bytes(*number));
                let is_first = *kind == FIRST_FRAGMENT;
                self.fragment(is_first, sequence, number, rest, resolver)
            }
            _ => Err(Problem::Head),
        }
    }

    fn fragment(
        &mut self,
        is_first: bool,
        sequence: u64,
        number: u64,
        bytes: &[u8],
        resolver: &dyn Resolver,
    ) -> Result<Option<Message>, Problem> {
        if number == 0 {
            return Err(Problem::Fragment);
        }
        // Those that follow are as large as this one, but for the first and the last.
        let left = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let announced = left.saturating_mul(bytes.len());
        if is_first {
            let (atoms, bytes) = self.cache.read(bytes).ok_or(Problem::Head)?;
            if number == 1 {
                let context = NodeContext { atoms: &atoms, buffer: None };
                return decode(bytes, context, false, resolver).map(Some);
            }
            // The whole control message is in the first fragment.
            let context = NodeContext { atoms: &atoms, buffer: None };
            decode_one(bytes, &context, false, &mut FragmentHeap::new(), resolver)?;
            self.hold(bytes.len())?;
            let mut body = GrowingBytes::default();
            if !body.extend(bytes, announced) {
                return Err(Problem::TooMuch);
            }
            let unfinished = Unfinished { atoms, body, next: number - 1 };
            let before = self.unfinished.insert(sequence, unfinished);
            return if before.is_some() { Err(Problem::Fragment) } else { Ok(None) };
        }
        self.hold(bytes.len())?;
        let unfinished = self.unfinished.get_mut(&sequence).ok_or(Problem::Fragment)?;
        if unfinished.next != number {
            return Err(Problem::Fragment);
        }
        if !unfinished.body.extend(bytes, announced) {
            return Err(Problem::TooMuch);
        }
        unfinished.next -= 1;
        if number > 1 {
            return Ok(None);
        }
        let Some(whole) = self.unfinished.remove(&sequence) else { return Err(Problem::Fragment) };
        let bytes = whole.body.bytes();
        self.unfinished_bytes -= bytes.len();
        let context = NodeContext {
            atoms: &whole.atoms,
            buffer: whole.body.shared().map(|shared| (shared, 0)),
        };
        decode(bytes, context, false, resolver).map(Some)
    }

    /// Messages of which something has come.
    #[cfg(test)]
    pub fn unfinished_count(&self) -> usize {
        self.unfinished.len()
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.unfinished_bytes += bytes;
        let is_much = self.unfinished_bytes > UNFINISHED_BYTES_MAX;
        if is_much || self.unfinished.len() >= UNFINISHED_MAX {
            Err(Problem::TooMuch)
        } else {
            Ok(())
        }
    }
}

fn decode(
    bytes: &[u8],
    context: NodeContext<'_>,
    has_versions: bool,
    resolver: &dyn Resolver,
) -> Result<Message, Problem> {
    let mut heap = FragmentHeap::new();
    let (control, rest) = decode_one(bytes, &context, has_versions, &mut heap, resolver)?;
    let payload = if rest.is_empty() {
        None
    } else {
        let start = bytes.len() - rest.len();
        let buffer = context.buffer.map(|(shared, _)| (shared, start));
        let context = NodeContext { buffer, ..context };
        // As in OTP, what is behind the payload does not matter.
        let decoded = decode_one(rest, &context, has_versions, &mut heap, resolver);
        decoded.ok().map(|(payload, _)| payload)
    };
    Ok(Message { _heap: heap, control, payload })
}

/// A term at the front of `bytes`, and the bytes behind it.
fn decode_one<'b>(
    bytes: &'b [u8],
    context: &NodeContext<'_>,
    has_version: bool,
    heap: &mut FragmentHeap,
    resolver: &dyn Resolver,
) -> Result<(Term, &'b [u8]), Problem> {
    let bytes = match bytes {
        [VERSION, rest @ ..] if has_version => rest,
        _ if has_version => return Err(Problem::Term),
        _ => bytes,
    };
    let options = DecodeOptions::default();
    let (term, used) = etf::decode_from_node(bytes, context, heap, resolver, options)
        .map_err(|_| Problem::Term)?;
    Ok((term, &bytes[used..]))
}

/// All bytes of a packet.
#[cfg(test)]
pub fn joined(packet: &Packet) -> Vec<u8> {
    let part = packet.part.as_ref().map(|(bytes, range)| &(**bytes).as_ref()[range.clone()]);
    [&packet.head[..], part.unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::binary::SharedBytes;
    use swarmrt_term::etf::Interning;
    use swarmrt_term::{Alloc, am, equal_exact};

    /// All packets of a message.
    fn packets(encoded: Encoded, sent: &mut atoms::Sent, peer: u64, sequence: u64) -> Vec<Vec<u8>> {
        if !encoded.is_large(peer) {
            return vec![joined(&encoded.whole(sent, peer))];
        }
        let mut fragments = encoded.fragments(sequence);
        let mut packets = Vec::new();
        while let Some(packet) = fragments.next(sent) {
            packets.push(joined(&packet));
        }
        packets
    }

    const ALL: u64 = flags::HEAD_ATOM_CACHE | flags::FRAGMENTS;

    fn message(heap: &mut FragmentHeap, bytes: usize) -> (Term, Term) {
        let text = vec![7; bytes];
        let control = [Term::small(6), Term::atom(am::OK), Term::NIL];
        let control = heap.tuple(&control);
        let binary = heap.binary(&text);
        let payload = heap.tuple(&[Term::atom(am::ERROR), binary, Term::atom(am::OK)]);
        (control, payload)
    }

    #[test]
    fn messages_come_back_whatever_their_size_and_form() {
        for peer in [0, flags::FRAGMENTS, flags::HEAD_ATOM_CACHE, ALL] {
            let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::new(peer));
            for (sequence, bytes) in
                [0, 10, FRAGMENT_BYTES, 3 * FRAGMENT_BYTES + 1].into_iter().enumerate()
            {
                let mut heap = FragmentHeap::new();
                let (control, payload) = message(&mut heap, bytes);
                let encoded = Encoded::of(control, Some(payload), peer).expect("small");
                let packets = packets(encoded, &mut sent, peer, sequence as u64);
                assert_eq!(
                    packets.len() > 1,
                    peer & flags::FRAGMENTS != 0 && bytes >= FRAGMENT_BYTES,
                    "{peer:x} {bytes}"
                );
                let mut taken = None;
                for packet in packets {
                    assert!(taken.is_none());
                    let (length, packet) = packet.split_first_chunk().expect("a length");
                    assert_eq!(u32::from_be_bytes(*length) as usize, packet.len());
                    taken = incoming.take(packet, &Interning).expect("a packet");
                }
                let taken = taken.expect("a message");
                assert!(equal_exact(taken.control, control));
                assert!(equal_exact(taken.payload.expect("a payload"), payload));
                assert_eq!(incoming.unfinished_bytes, 0);
            }
        }
    }

    #[test]
    fn a_binary_has_as_many_bytes_as_the_format_has_a_number_for() {
        const LIMIT: usize = u32::MAX as usize;
        let mut heap = FragmentHeap::new();
        let control = heap.tuple(&[Term::small(6)]);
        for (bytes, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            // Nobody touches the bytes, so that they take only addresses.
            let shared = SharedBytes::try_with_capacity(LIMIT + 1, LIMIT + 1).expect("addresses");
            let binary = heap.shared_bin(shared, 0, bytes * 8);
            let payload = heap.list(&[Term::atom(am::OK), binary]);
            assert_eq!(Encoded::of(control, Some(payload), ALL).is_some(), fits);
        }
    }

    #[test]
    fn fragments_of_several_messages_come_in_between() {
        let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::new(ALL));
        let mut heap = FragmentHeap::new();
        let (control, payload) = message(&mut heap, 5 * FRAGMENT_BYTES);
        let mut all = Vec::new();
        for sequence in 0..3 {
            let encoded = Encoded::of(control, Some(payload), ALL).expect("small");
            all.push(packets(encoded, &mut sent, ALL, sequence));
        }
        let mut whole = 0;
        for index in 0..all[0].len() {
            for packet in &all {
                let taken =
                    incoming.take(&packet[index][Packet::LENGTH..], &Interning).expect("a packet");
                whole += usize::from(taken.is_some());
            }
        }
        assert_eq!(whole, 3);
    }

    #[test]
    fn fragments_out_of_order_are_refused() {
        let mut sent = atoms::Sent::default();
        let mut heap = FragmentHeap::new();
        let (control, payload) = message(&mut heap, 3 * FRAGMENT_BYTES);
        let encoded = Encoded::of(control, Some(payload), ALL).expect("small");
        let packets = packets(encoded, &mut sent, ALL, 9);
        for order in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 1]] {
            let mut incoming = Incoming::new(ALL);
            let (last, before) = order.split_last().expect("one at least");
            for &index in before {
                assert!(incoming.take(&packets[index][Packet::LENGTH..], &Interning).is_ok());
            }
            let refused = incoming.take(&packets[*last][Packet::LENGTH..], &Interning);
            assert_eq!(refused.err(), Some(Problem::Fragment), "{order:?}");
        }
    }

    /// Packets with bytes changed, left out or put in: each is taken or refused, and nothing else
    /// happens.
    #[test]
    fn changed_packets_do_no_harm() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut heap = FragmentHeap::new();
        let mut refused = 0;
        for round in 0..3000 {
            let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::new(ALL));
            let (control, payload) =
                message(&mut heap, if round % 10 == 0 { 2 * FRAGMENT_BYTES } else { 40 });
            let encoded = Encoded::of(control, Some(payload), ALL).expect("small");
            for packet in packets(encoded, &mut sent, ALL, 1) {
                let mut bytes = packet[Packet::LENGTH..].to_vec();
                for _ in 0..=random(3) {
                    let at = random(bytes.len().min(90));
                    match random(4) {
                        0 => bytes[at] = random(256) as u8,
                        1 => bytes[at] ^= 1 << random(8),
                        2 => bytes.truncate(at + 1),
                        _ => bytes.insert(at, random(256) as u8),
                    }
                }
                refused += usize::from(incoming.take(&bytes, &Interning).is_err());
            }
        }
        assert!(refused > 1000, "most changes are seen: {refused}");
    }
}
