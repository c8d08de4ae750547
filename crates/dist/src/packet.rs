//! Packets: a control message, for some a payload behind it, and in front of them a head with the atoms. What is large goes
//! in fragments, so that others come in between.
//!
//! See "Distribution Header" in the ERTS User's Guide.

use crate::atoms::{self, Listed, Received};
use crate::flags;
use std::collections::HashMap;
use swarmrt_term::etf::{self, DecodeOptions, EncodeOptions, Resolver, VERSION};
use swarmrt_term::{Atom, FragmentHeap, Term};

/// Bytes in front of a packet for its length.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of control message and payload in a fragment.
const FRAGMENT_BYTES: usize = 64 << 10;
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
}

impl Encoded {
    /// The message for a peer with these capabilities.
    pub fn of(control: Term, payload: Option<Term>, peer: u64) -> Encoded {
        let has_head = peer & (flags::HEAD_ATOM_CACHE | flags::FRAGMENTS) != 0;
        let mut listed = Listed::new(peer & flags::HEAD_ATOM_CACHE != 0);
        let options = EncodeOptions { minor_version: 2, ..EncodeOptions::default() };
        let mut body = Vec::with_capacity(128);
        let mut payload_at = 0;
        for (index, term) in [Some(control), payload].into_iter().flatten().enumerate() {
            if index == 1 {
                payload_at = body.len();
            }
            if !has_head {
                body.push(VERSION);
            }
            etf::encode_for_node(term, &options, &mut listed, &mut body);
        }
        if payload.is_none() {
            payload_at = body.len();
        }
        Encoded { listed, body, payload_at }
    }

    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The packets that the message goes in, each with room for its length in front. `sequence` tells it from others that go
    /// in fragments.
    pub fn packets(self, sent: &mut atoms::Sent, peer: u64, sequence: u64) -> Vec<Vec<u8>> {
        let Encoded { listed, body, payload_at } = self;
        if peer & (flags::HEAD_ATOM_CACHE | flags::FRAGMENTS) == 0 {
            return vec![finished([&[0, 0, 0, 0, PASS_THROUGH], &body[..]].concat())];
        }
        let is_whole = body.len() <= FRAGMENT_BYTES || payload_at == body.len();
        if is_whole || peer & flags::FRAGMENTS == 0 {
            let mut packet = Vec::with_capacity(body.len() + 64);
            packet.extend([0, 0, 0, 0, VERSION, HEAD]);
            listed.write(sent, &mut packet);
            packet.extend_from_slice(&body);
            return vec![finished(packet)];
        }
        // The first fragment has the whole control message.
        let first_end = payload_at.max(FRAGMENT_BYTES);
        let (first, rest) = body.split_at(first_end.min(body.len()));
        let count = 1 + rest.len().div_ceil(FRAGMENT_BYTES);
        let head = |kind: u8, left: usize| {
            let mut packet = vec![0, 0, 0, 0, VERSION, kind];
            packet.extend(sequence.to_be_bytes());
            packet.extend((left as u64).to_be_bytes());
            packet
        };
        let mut packet = head(FIRST_FRAGMENT, count);
        listed.write(sent, &mut packet);
        packet.extend_from_slice(first);
        let mut packets = vec![finished(packet)];
        for (index, part) in rest.chunks(FRAGMENT_BYTES).enumerate() {
            let mut packet = head(NEXT_FRAGMENT, count - 1 - index);
            packet.extend_from_slice(part);
            packets.push(finished(packet));
        }
        packets
    }
}

/// A packet with its length in place.
fn finished(mut packet: Vec<u8>) -> Vec<u8> {
    let length = (packet.len() - LENGTH_BYTES) as u32;
    packet[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
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

/// Bytes in the unfinished messages of a connection.
const UNFINISHED_BYTES_MAX: usize = 2 << 30;
/// Unfinished messages of a connection: as many as processes that send.
const UNFINISHED_MAX: usize = 1 << 20;

struct Unfinished {
    atoms: Vec<Atom>,
    body: Vec<u8>,
    /// The number of the fragment that comes next.
    next: u64,
}

/// What a connection has received so far.
#[derive(Default)]
pub struct Incoming {
    cache: Received,
    unfinished: HashMap<u64, Unfinished>,
    unfinished_bytes: usize,
}

/// A control message with its payload.
pub struct Message {
    /// Where the terms are.
    pub _heap: FragmentHeap,
    pub control: Term,
    pub payload: Option<Term>,
}

impl Incoming {
    /// Takes a packet; the message that it completes, if it does.
    ///
    /// # Errors
    /// See [`Problem`]. The connection is of no use then.
    pub fn take(&mut self, packet: &[u8], resolver: &dyn Resolver) -> Result<Option<Message>, Problem> {
        match packet {
            [PASS_THROUGH, rest @ ..] => decode(rest, &[], true, resolver).map(Some),
            [VERSION, HEAD, rest @ ..] => {
                let (atoms, body) = self.cache.read(rest).ok_or(Problem::Head)?;
                decode(body, &atoms, false, resolver).map(Some)
            }
            [VERSION, kind @ (FIRST_FRAGMENT | NEXT_FRAGMENT), rest @ ..] => {
                let (sequence, rest) = rest.split_first_chunk().ok_or(Problem::Head)?;
                let (number, rest) = rest.split_first_chunk().ok_or(Problem::Head)?;
                let (sequence, number) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*number));
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
        if is_first {
            let (atoms, bytes) = self.cache.read(bytes).ok_or(Problem::Head)?;
            if number == 1 {
                return decode(bytes, &atoms, false, resolver).map(Some);
            }
            self.hold(bytes.len())?;
            let unfinished = Unfinished { atoms, body: bytes.to_vec(), next: number - 1 };
            let before = self.unfinished.insert(sequence, unfinished);
            return if before.is_some() { Err(Problem::Fragment) } else { Ok(None) };
        }
        self.hold(bytes.len())?;
        let unfinished = self.unfinished.get_mut(&sequence).ok_or(Problem::Fragment)?;
        if unfinished.next != number {
            return Err(Problem::Fragment);
        }
        unfinished.body.extend_from_slice(bytes);
        unfinished.next -= 1;
        if number > 1 {
            return Ok(None);
        }
        let Some(whole) = self.unfinished.remove(&sequence) else { return Err(Problem::Fragment) };
        self.unfinished_bytes -= whole.body.len();
        decode(&whole.body, &whole.atoms, false, resolver).map(Some)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.unfinished_bytes += bytes;
        let is_much = self.unfinished_bytes > UNFINISHED_BYTES_MAX;
        if is_much || self.unfinished.len() >= UNFINISHED_MAX { Err(Problem::TooMuch) } else { Ok(()) }
    }
}

fn decode(
    bytes: &[u8],
    atoms: &[Atom],
    has_versions: bool,
    resolver: &dyn Resolver,
) -> Result<Message, Problem> {
    let mut heap = FragmentHeap::new();
    let (control, rest) = decode_one(bytes, atoms, has_versions, &mut heap, resolver)?;
    let (payload, rest) = match rest {
        [] => (None, rest),
        _ => {
            let (payload, rest) = decode_one(rest, atoms, has_versions, &mut heap, resolver)?;
            (Some(payload), rest)
        }
    };
    if rest.is_empty() { Ok(Message { _heap: heap, control, payload }) } else { Err(Problem::Term) }
}

/// A term at the front of `bytes`, and the bytes behind it.
fn decode_one<'b>(
    bytes: &'b [u8],
    atoms: &[Atom],
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
    let (term, used) = etf::decode_from_node(bytes, atoms, heap, resolver, options).map_err(|_| Problem::Term)?;
    Ok((term, &bytes[used..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::etf::Interning;
    use swarmrt_term::{Alloc, am, equal_exact};

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
            let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::default());
            for (sequence, bytes) in [0, 10, FRAGMENT_BYTES, 3 * FRAGMENT_BYTES + 1].into_iter().enumerate() {
                let mut heap = FragmentHeap::new();
                let (control, payload) = message(&mut heap, bytes);
                let encoded = Encoded::of(control, Some(payload), peer);
                let packets = encoded.packets(&mut sent, peer, sequence as u64);
                assert_eq!(packets.len() > 1, peer & flags::FRAGMENTS != 0 && bytes >= FRAGMENT_BYTES);
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
    fn fragments_of_several_messages_come_in_between() {
        let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::default());
        let mut heap = FragmentHeap::new();
        let (control, payload) = message(&mut heap, 5 * FRAGMENT_BYTES);
        let mut packets = Vec::new();
        for sequence in 0..3 {
            packets.push(Encoded::of(control, Some(payload), ALL).packets(&mut sent, ALL, sequence));
        }
        let mut whole = 0;
        for index in 0..packets[0].len() {
            for packet in &packets {
                let taken = incoming.take(&packet[index][LENGTH_BYTES..], &Interning).expect("a packet");
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
        let packets = Encoded::of(control, Some(payload), ALL).packets(&mut sent, ALL, 9);
        for order in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 1]] {
            let mut incoming = Incoming::default();
            let (last, before) = order.split_last().expect("one at least");
            for &index in before {
                assert!(incoming.take(&packets[index][LENGTH_BYTES..], &Interning).is_ok());
            }
            let refused = incoming.take(&packets[*last][LENGTH_BYTES..], &Interning);
            assert_eq!(refused.err(), Some(Problem::Fragment), "{order:?}");
        }
    }

    /// Packets with bytes changed, left out or put in: each is taken or refused, and nothing else happens.
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
            let (mut sent, mut incoming) = (atoms::Sent::default(), Incoming::default());
            let (control, payload) = message(&mut heap, if round % 10 == 0 { 2 * FRAGMENT_BYTES } else { 40 });
            for packet in Encoded::of(control, Some(payload), ALL).packets(&mut sent, ALL, 1) {
                let mut bytes = packet[LENGTH_BYTES..].to_vec();
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
