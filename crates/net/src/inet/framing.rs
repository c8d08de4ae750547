//! Packets of a stream: how they are cut from the input, which terms they become, and what goes in
//! front of output.

use super::Options;
use swarmrt_machine::vm::packet::{self, Frame, Limits, PacketKind};
use swarmrt_term::{Alloc, Term, atom};

/// Lines longer than this come in pieces, where the buffer is no larger.
const LINE_BYTES_MIN: usize = 1460;

/// A packet at the front of the input.
pub enum Cut {
    /// What it is, and how many bytes of input it takes.
    Packet(Packet, usize),
    /// Not all is there; how many bytes the packet has, when that can be told.
    More(Option<usize>),
    Invalid,
}

/// What a packet is, apart from its bytes.
#[derive(Clone, Copy)]
pub struct Packet {
    kind: PacketKind,
    /// Bytes of a head that are not data.
    head: usize,
    /// Bytes of padding that are not data.
    tail: usize,
}

/// What goes in front of a packet of `length` bytes. As in OTP, a length that is too large for its
/// field is cut off.
pub fn head(kind: PacketKind, length: usize) -> Vec<u8> {
    let PacketKind::Length(size) = kind else { return Vec::new() };
    (length as u64).to_be_bytes()[8 - size..].to_vec()
}

/// Cuts a packet from the front of the input; `length` bytes of it where so many are asked for and
/// the stream is raw, and what is there otherwise, up to the size of the buffer.
pub fn cut(options: &Options, headers: bool, input: &[u8], length: usize) -> Cut {
    let kind = match options.packet {
        PacketKind::Http { headers: false, binary } => PacketKind::Http { headers, binary },
        kind => kind,
    };
    if kind == PacketKind::Raw {
        let length = match length {
            0 => input.len().min(options.buffer).max(1),
            length => length,
        };
        return if input.len() < length {
            Cut::More(Some(length))
        } else {
            Cut::Packet(Packet { kind, head: 0, tail: 0 }, length)
        };
    }
    let limits = Limits {
        packet: options.packet_size,
        line: options.buffer.max(LINE_BYTES_MIN),
        delimiter: options.delimiter,
    };
    let used = match packet::frame(kind, input, &limits) {
        Frame::Whole(used) => used,
        Frame::More(total) => return Cut::More(total),
        Frame::Invalid => return Cut::Invalid,
    };
    let head = if let PacketKind::Length(size) = kind { size } else { 0 };
    let tail = if kind == PacketKind::Fcgi { usize::from(input[6]) } else { 0 };
    Cut::Packet(Packet { kind, head, tail }, used)
}

impl Packet {
    /// The term that the bytes of the packet become.
    pub fn term<A: Alloc + ?Sized>(
        self,
        port: Term,
        options: &Options,
        bytes: &[u8],
        heap: &mut A,
    ) -> Term {
        match self.kind {
            PacketKind::SslTls => {
                packet::ssl_record(heap, port, bytes, |heap, body| heap.binary(&bytes[body]))
            }
            PacketKind::Http { headers, binary } => packet::http(heap, bytes, headers, binary),
            _ => data(options, &bytes[self.head..bytes.len() - self.tail], heap),
        }
    }

    /// The message that comes without being asked for: `{tcp, Port, Data}`, `{http, Port, Line}`.
    pub fn message<A: Alloc + ?Sized>(
        self,
        tag: Term,
        port: Term,
        data: Term,
        heap: &mut A,
    ) -> Term {
        // A record is a message as it is.
        if self.kind == PacketKind::SslTls {
            return data;
        }
        let tag = if matches!(self.kind, PacketKind::Http { .. }) {
            Term::atom(atom!("http"))
        } else {
            tag
        };
        heap.tuple(&[tag, port, data])
    }

    /// Whether lines of HTTP that follow this one are headers.
    pub fn headers_follow(self, bytes: &[u8]) -> bool {
        match self.kind {
            PacketKind::Http { headers: true, .. } => !matches!(bytes, b"\r\n" | b"\n"),
            PacketKind::Http { headers: false, .. } => !matches!(bytes, b"\r\n" | b"\n"),
            _ => false,
        }
    }
}

/// Bytes as the options want them: a binary, a list, or some of a list in front of a binary.
pub fn data<A: Alloc + ?Sized>(options: &Options, bytes: &[u8], heap: &mut A) -> Term {
    if !options.binary {
        return heap.byte_list(bytes, Term::NIL);
    }
    let (head, rest) = bytes.split_at(options.header.min(bytes.len()));
    let rest = if rest.is_empty() && !head.is_empty() { Term::NIL } else { heap.binary(rest) };
    heap.byte_list(head, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(packet: PacketKind) -> Options {
        Options { packet, binary: true, ..Options::new(true) }
    }

    #[test]
    fn packets_are_cut_as_the_options_say() {
        let used =
            |options: &Options, input: &[u8], length| match cut(options, false, input, length) {
                Cut::Packet(packet, used) => Some((packet.head, used)),
                Cut::More(_) | Cut::Invalid => None,
            };
        let raw = options(PacketKind::Raw);
        assert_eq!(used(&raw, b"abcdef", 0), Some((0, 6)));
        assert_eq!(used(&raw, b"abcdef", 4), Some((0, 4)));
        assert_eq!(used(&raw, b"abc", 4), None);
        let counted = options(PacketKind::Length(2));
        assert_eq!(used(&counted, b"\0\x03abcd", 0), Some((2, 5)));
        assert_eq!(used(&counted, b"\0\x03ab", 0), None);
        let lines = options(PacketKind::Line);
        assert_eq!(used(&lines, b"one\ntwo\n", 0), Some((0, 4)));
        assert_eq!(used(&lines, b"one", 0), None);
    }

    #[test]
    fn heads_hold_the_length() {
        assert_eq!(head(PacketKind::Length(2), 258), [1, 2]);
        assert_eq!(head(PacketKind::Length(1), 300), [44]);
        assert!(head(PacketKind::Raw, 9).is_empty());
    }
}
