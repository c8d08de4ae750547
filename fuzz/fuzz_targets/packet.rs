//! Bytes as packets of a stream, as `erlang:decode_packet/3` and sockets cut them. The first bytes
//! say which kind and limits.
//!
//! Where a packet ends does not depend on what follows it, nor on how its bytes arrive: a part of
//! it is never a packet or invalid when the whole is one. What it becomes is a term that can be
//! written, read and shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swarmrt_fuzz::arena::{Arena, decode_options};
use swarmrt_machine::vm::packet::{self, Frame, Kind, Limits};
use swarmrt_term::etf::{EncodeOptions, decode, encode};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, FragmentHeap, Term, equal_exact, print};

const HTTP: [Kind; 4] = [
    Kind::Http { headers: false, binary: false },
    Kind::Http { headers: false, binary: true },
    Kind::Http { headers: true, binary: false },
    Kind::Http { headers: true, binary: true },
];
const OTHERS: [Kind; 11] = [
    Kind::Raw,
    Kind::Length(1),
    Kind::Length(2),
    Kind::Length(4),
    Kind::Asn1,
    Kind::SunRm,
    Kind::Cdr,
    Kind::Fcgi,
    Kind::Line,
    Kind::Tpkt,
    Kind::SslTls,
];

fuzz_target!(|input: &[u8]| {
    let Some(([which, packet, line], bytes)) = input.split_first_chunk::<3>() else { return };
    let which = usize::from(*which);
    release::set_current(if which & 0x80 == 0 { Release::R25 } else { Release::NEWEST });
    let kinds = [&OTHERS[..], &HTTP].concat();
    let kind = kinds[(which & 0x7f) % kinds.len()];
    let limits = Limits { packet: usize::from(*packet), line: usize::from(*line), delimiter: b'\n' };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Frame::Whole(used) = packet::frame(kind, rest, &limits) else {
            announced(kind, rest, &limits);
            return;
        };
        assert!(used > 0 && used <= rest.len(), "a packet of {used} bytes in {}", rest.len());
        arrives_in_parts(kind, &rest[..used], &limits);
        becomes_a_term(kind, &rest[..used]);
        at += used;
    }
});

/// What is missing is told in the same way once it is there.
fn announced(kind: Kind, bytes: &[u8], limits: &Limits) {
    let Frame::More(Some(total)) = packet::frame(kind, bytes, limits) else { return };
    assert!(total > bytes.len(), "{total} bytes are there");
    if total <= 1 << 16 {
        let mut whole = bytes.to_vec();
        whole.resize(total, 0);
        assert!(matches!(packet::frame(kind, &whole, limits), Frame::Whole(used) if used == total));
    }
}

fn arrives_in_parts(kind: Kind, packet: &[u8], limits: &Limits) {
    if kind == Kind::Raw {
        return;
    }
    for length in 0..packet.len() {
        match packet::frame(kind, &packet[..length], limits) {
            Frame::More(total) => assert!(total.is_none_or(|total| total == packet.len())),
            // The end of the headers, before it is known whether a line goes on.
            Frame::Whole(_) if matches!(kind, Kind::Http { .. }) && matches!(&packet[..length], b"\n" | b"\r\n") => {}
            // As in OTP, limits do not matter for an empty line.
            Frame::Invalid if matches!(kind, Kind::Http { .. }) && matches!(packet, b"\n" | b"\r\n") => {}
            Frame::Whole(used) => panic!("{used} of {} bytes are a packet", packet.len()),
            Frame::Invalid => panic!("{length} of {} bytes are invalid", packet.len()),
        }
    }
}

fn becomes_a_term(kind: Kind, packet: &[u8]) {
    let mut heap = FragmentHeap::new();
    let term = match kind {
        Kind::Http { headers, binary } => packet::http(&mut heap, packet, headers, binary),
        Kind::SslTls => packet::ssl_record(&mut heap, Term::NIL, packet, |heap, part| heap.binary(&packet[part])),
        _ => return,
    };
    let arena = Arena::default();
    let written = encode(term, &EncodeOptions::default());
    let mut copy = FragmentHeap::new();
    let (again, _) = decode(&written, &mut copy, &arena, decode_options()).expect("what was written is read");
    assert!(equal_exact(term, again));
    assert!(!print::print(term).is_empty());
}
