//! `erlang:decode_packet/3`: cutting packets from a stream of bytes, and reading the lines of HTTP.

use crate::args::{list_of, pair_of};
use swarmrt_machine::vm::packet::{Frame, Limits, PacketKind, frame, http, ssl_record};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom};

fn kind_of(term: Term) -> Option<PacketKind> {
    if let Some(size) = term.as_small() {
        return match size {
            0 => Some(PacketKind::Raw),
            1 | 2 | 4 => Some(PacketKind::Length(size as usize)),
            _ => None,
        };
    }
    Some(match term.as_atom()?.name() {
        "raw" => PacketKind::Raw,
        "asn1" => PacketKind::Asn1,
        "sunrm" => PacketKind::SunRm,
        "cdr" => PacketKind::Cdr,
        "fcgi" => PacketKind::Fcgi,
        "line" => PacketKind::Line,
        "tpkt" => PacketKind::Tpkt,
        "http" => PacketKind::Http { headers: false, binary: false },
        "httph" => PacketKind::Http { headers: true, binary: false },
        "http_bin" => PacketKind::Http { headers: false, binary: true },
        "httph_bin" => PacketKind::Http { headers: true, binary: true },
        "ssl_tls" => PacketKind::SslTls,
        _ => return None,
    })
}

#[bif("erlang:decode_packet/3")]
fn decode_packet(p: &mut Process, kind: Term, binary: Term, options: Term) -> BifResult {
    let kind = kind_of(kind).ok_or_else(|| BifExit::Caused(atom!("badopt")))?;
    // Bits behind the last whole byte go along with what is left.
    let bits = binary.as_bits().ok_or(BifExit::BADARG)?;
    let bytes = bits.slice(0, bits.bit_size & !7).to_bytes();
    let mut limits = Limits { packet: 0, line: 0, delimiter: b'\n' };
    for option in list_of(options)? {
        let (key, value) = pair_of(option).ok_or(BifExit::BADARG)?;
        let value = value
            .as_small()
            .filter(|value| (0..=i64::from(u32::MAX)).contains(value))
            .ok_or(BifExit::BADARG)? as usize;
        match key.as_atom().map(swarmrt_term::Atom::name) {
            Some("packet_size") => limits.packet = value,
            Some("line_length") => limits.line = value,
            Some("line_delimiter") if kind == PacketKind::Line && value <= 255 => {
                limits.delimiter = value as u8;
            }
            _ => return Err(BifExit::BADARG),
        }
    }
    let length = match frame(kind, &bytes, &limits) {
        Frame::Whole(length) => length,
        Frame::More(length) => {
            let length =
                length.map_or(Term::atom(am::UNDEFINED), |length| Term::small(length as i64));
            return Ok(p.tuple(&[Term::atom(am::MORE), length]));
        }
        Frame::Invalid => return Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(am::INVALID)])),
    };
    let packet = match kind {
        PacketKind::Length(head) => p.part(binary, head * 8, (length - head) * 8),
        PacketKind::Http { headers, binary: as_binary } => {
            http(p, &bytes[..length], headers, as_binary)
        }
        PacketKind::SslTls => ssl_record(p, Term::NIL, &bytes[..length], |p, body| {
            p.part(binary, body.start * 8, body.len() * 8)
        }),
        // The padding is dropped.
        PacketKind::Fcgi => p.part(binary, 0, (length - usize::from(bytes[6])) * 8),
        _ => p.part(binary, 0, length * 8),
    };
    let rest = p.part(binary, length * 8, bits.bit_size - length * 8);
    Ok(p.tuple(&[Term::atom(am::OK), packet, rest]))
}
