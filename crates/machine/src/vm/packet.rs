//! Packets in a stream of bytes: where they end, and what the lines of HTTP say. Shared by
//! `erlang:decode_packet/3` and sockets.

use std::ops::Range;
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Term, am, atom};

/// How packets are told apart in a stream: the types of `erlang:decode_packet/3`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    Raw,
    /// A length of so many bytes in front, which is not part of the packet.
    Length(usize),
    Asn1,
    SunRm,
    Cdr,
    Fcgi,
    Line,
    Tpkt,
    Http {
        headers: bool,
        binary: bool,
    },
    SslTls,
}

/// The options `packet_size`, `line_length` and `line_delimiter` of `erlang:decode_packet/3`.
pub struct Limits {
    /// Bytes of the longest packet; 0 is any.
    pub packet: usize,
    /// Longer lines are cut; 0 is any.
    pub line: usize,
    pub delimiter: u8,
}

/// Where the first packet of the bytes ends.
pub enum Frame {
    Whole(usize),
    /// Not all is there; how many bytes the packet has, when that can be told.
    More(Option<usize>),
    Invalid,
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

/// A packet of a head and as many bytes as it says.
fn headed(head: usize, body: usize, bytes: &[u8], limits: &Limits) -> Frame {
    let total = head + body;
    if total > i32::MAX as usize || limits.packet != 0 && body > limits.packet {
        return Frame::Invalid;
    }
    if total <= bytes.len() { Frame::Whole(total) } else { Frame::More(Some(total)) }
}

/// Where the first packet of `bytes` ends.
pub fn frame(kind: PacketKind, bytes: &[u8], limits: &Limits) -> Frame {
    let needs = |count: usize| bytes.len() < count;
    match kind {
        PacketKind::Raw if bytes.is_empty() => Frame::More(None),
        PacketKind::Raw => Frame::Whole(bytes.len()),
        PacketKind::Length(size) if needs(size) => Frame::More(None),
        PacketKind::Length(size) => headed(size, big_endian(&bytes[..size]), bytes, limits),
        PacketKind::SunRm if needs(4) => Frame::More(None),
        PacketKind::SunRm => headed(4, big_endian(&bytes[..4]) & 0x7fff_ffff, bytes, limits),
        PacketKind::Cdr if needs(12) => Frame::More(None),
        PacketKind::Cdr if &bytes[..4] != b"GIOP" => Frame::Invalid,
        PacketKind::Cdr => {
            let size: [u8; 4] = bytes[8..12].try_into().expect("four bytes");
            let little = bytes[6] & 1 == 1;
            headed(
                12,
                if little { u32::from_le_bytes(size) } else { u32::from_be_bytes(size) } as usize,
                bytes,
                limits,
            )
        }
        PacketKind::Fcgi if needs(8) => Frame::More(None),
        PacketKind::Fcgi if bytes[0] != 1 => Frame::Invalid,
        PacketKind::Fcgi => {
            headed(8, big_endian(&bytes[4..6]) + usize::from(bytes[6]), bytes, limits)
        }
        PacketKind::Tpkt if needs(4) => Frame::More(None),
        PacketKind::Tpkt => match big_endian(&bytes[2..4]).checked_sub(4) {
            Some(body) if bytes[0] == 3 => headed(4, body, bytes, limits),
            _ => Frame::Invalid,
        },
        PacketKind::SslTls if needs(5) => Frame::More(None),
        PacketKind::SslTls if is_old_hello(bytes) => {
            match (big_endian(&bytes[..2]) & 0x7fff).checked_sub(3) {
                Some(body) => headed(5, body, bytes, limits),
                None => Frame::Invalid,
            }
        }
        PacketKind::SslTls => headed(5, big_endian(&bytes[3..5]), bytes, limits),
        PacketKind::Line => line_frame(bytes, limits),
        PacketKind::Asn1 => asn1_frame(bytes, limits),
        PacketKind::Http { headers, .. } => http_frame(bytes, headers, limits),
    }
}

/// Whether a record begins a client hello of SSL version 2. `bytes` has at least three bytes.
pub fn is_old_hello(bytes: &[u8]) -> bool {
    bytes[0] & 0x80 != 0 && bytes[2] == 1
}

fn line_frame(bytes: &[u8], limits: &Limits) -> Frame {
    let end = bytes.iter().position(|&byte| byte == limits.delimiter).map(|at| at + 1);
    let length = end.unwrap_or(bytes.len());
    if limits.packet != 0 && length > limits.packet {
        return Frame::Invalid;
    }
    let too_long = limits.line != 0
        && if end.is_some() { length > limits.line } else { length >= limits.line };
    match end {
        _ if too_long => Frame::Whole(limits.line),
        Some(end) => Frame::Whole(end),
        None => Frame::More(None),
    }
}

fn asn1_frame(bytes: &[u8], limits: &Limits) -> Frame {
    if bytes.len() < 2 {
        return Frame::More(None);
    }
    let mut at = 1;
    if bytes[0] & 0x1f == 0x1f {
        // A tag of several bytes: all but the last have the high bit set.
        while at < bytes.len() && bytes[at] & 0x80 != 0 {
            at += 1;
        }
        if bytes.len() - at < 2 {
            return Frame::More(None);
        }
        at += 1;
    }
    let length = usize::from(bytes[at] & 0x7f);
    if bytes[at] & 0x80 == 0 {
        return headed(at + 1, length, bytes, limits);
    }
    at += 1;
    if bytes.len() - at < length {
        return Frame::More(None);
    }
    if length > 4 {
        Frame::Invalid
    } else {
        headed(at + length, big_endian(&bytes[at..at + length]), bytes, limits)
    }
}

/// A line; of headers with those that continue it.
fn http_frame(bytes: &[u8], headers: bool, limits: &Limits) -> Frame {
    if matches!(bytes, b"\n" | b"\r\n") {
        return Frame::Whole(bytes.len());
    }
    let limit = if limits.packet == 0 { limits.line } else { limits.packet };
    let within = |length: usize| {
        if limit != 0 && length > limit { Frame::Invalid } else { Frame::Whole(length) }
    };
    let mut from = 0;
    loop {
        let Some(end) =
            bytes[from..].iter().position(|&byte| byte == b'\n').map(|at| from + at + 1)
        else {
            return if limit != 0 && bytes.len() >= limit {
                Frame::Invalid
            } else {
                Frame::More(None)
            };
        };
        if !headers {
            return within(end);
        }
        match bytes.get(end) {
            None if limit != 0 && end > limit => return Frame::Invalid,
            None => return Frame::More(None),
            Some(b' ' | b'\t') if end > 2 => from = end,
            Some(_) => return within(end),
        }
    }
}

/// A record of TLS: `{ssl_tls, Port, ContentType, {Major, Minor}, Data}`. `part` makes a binary of
/// a part of the record.
pub fn ssl_record<A: Alloc + ?Sized>(
    heap: &mut A,
    port: Term,
    record: &[u8],
    part: impl FnOnce(&mut A, Range<usize>) -> Term,
) -> Term {
    const HANDSHAKE: i64 = 22;
    let byte = |at: usize| Term::small(i64::from(record[at]));
    let (content_type, version, data) = if is_old_hello(record) {
        // What stands before the version goes along as the message's own head: its type and length.
        let mut data = vec![1];
        data.extend(&((record.len() - 3) as u32).to_be_bytes()[1..]);
        data.extend(&record[3..]);
        (Term::small(HANDSHAKE), [byte(3), byte(4)], heap.binary(&data))
    } else {
        (byte(0), [byte(1), byte(2)], part(heap, 5..record.len()))
    };
    let version = heap.tuple(&version);
    heap.tuple(&[Term::atom(atom!("ssl_tls")), port, content_type, version, data])
}

/// What a line of HTTP says: `{http_request, …}`, `{http_response, …}`, `{http_header, …}`,
/// `http_eoh` or `{http_error, Line}`.
pub fn http<A: Alloc + ?Sized>(heap: &mut A, line: &[u8], headers: bool, as_binary: bool) -> Term {
    let mut http = Http { p: heap, as_binary };
    match if headers { http.header(line) } else { http.start_line(line) } {
        Some(parsed) => parsed,
        None => {
            let text = http.text(line);
            http.p.tuple(&[Term::atom(atom!("http_error")), text])
        }
    }
}

const METHODS: [&str; 7] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE"];

/// Header fields that are atoms, in the order of their numbers from 1.
const FIELDS: [&str; 52] = [
    "Cache-Control",
    "Connection",
    "Date",
    "Pragma",
    "Transfer-Encoding",
    "Upgrade",
    "Via",
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "From",
    "Host",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Max-Forwards",
    "Proxy-Authorization",
    "Range",
    "Referer",
    "User-Agent",
    "Age",
    "Location",
    "Proxy-Authenticate",
    "Public",
    "Retry-After",
    "Server",
    "Vary",
    "Warning",
    "Www-Authenticate",
    "Allow",
    "Content-Base",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Md5",
    "Content-Range",
    "Content-Type",
    "Etag",
    "Expires",
    "Last-Modified",
    "Accept-Ranges",
    "Set-Cookie",
    "Set-Cookie2",
    "X-Forwarded-For",
    "Cookie",
    "Keep-Alive",
    "Proxy-Connection",
];

/// Longer field names are left as they are.
const FIELD_NAME_MAX: usize = 50;

/// Characters that end a token (RFC 2616, `tspecials`), control characters but DEL, and what is not
/// ASCII.
fn is_special(byte: u8) -> bool {
    byte <= b' ' || byte > 127 || b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip(bytes: &[u8], which: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|&byte| !which(byte)).unwrap_or(bytes.len()))
}

/// The line without what ends it.
fn trimmed(line: &[u8]) -> &[u8] {
    if let [rest @ .., b'\r', _] = line { rest } else { line.strip_suffix(b"\n").unwrap_or(line) }
}

/// Builds the terms of parsed lines.
struct Http<'a, A: Alloc + ?Sized> {
    p: &'a mut A,
    as_binary: bool,
}

impl<A: Alloc + ?Sized> Http<'_, A> {
    fn text(&mut self, bytes: &[u8]) -> Term {
        if self.as_binary { self.p.binary(bytes) } else { self.p.byte_list(bytes, Term::NIL) }
    }

    /// `1.1` after `HTTP/`, and what follows.
    fn version<'b>(&mut self, bytes: &'b [u8]) -> Option<(Term, &'b [u8])> {
        let number = |digits: &[u8]| {
            digits
                .iter()
                .fold(0i64, |value, &digit| (value * 10 + i64::from(digit - b'0')) & 0x7fff_ffff)
        };
        let (major, rest) = skip(bytes, |byte| byte.is_ascii_digit());
        let (minor, rest) = skip(rest.strip_prefix(b".")?, |byte| byte.is_ascii_digit());
        if major.is_empty() || minor.is_empty() {
            return None;
        }
        Some((self.p.tuple(&[Term::small(number(major)), Term::small(number(minor))]), rest))
    }

    fn start_line(&mut self, line: &[u8]) -> Option<Term> {
        let line = trimmed(line);
        if let Some(rest) = line.strip_prefix(b"HTTP/") {
            let (version, rest) = self.version(rest)?;
            let (blanks, rest) = skip(rest, is_blank);
            if blanks.is_empty() {
                return None;
            }
            let (status, rest) = skip(rest, |byte| byte.is_ascii_digit());
            let (blanks, phrase) = skip(rest, is_blank);
            if blanks.is_empty() && !phrase.is_empty() {
                return None;
            }
            let status = status
                .iter()
                .fold(0i64, |value, &digit| (value * 10 + i64::from(digit - b'0')) & 0x7fff_ffff);
            let phrase = self.text(phrase);
            return Some(self.p.tuple(&[
                Term::atom(atom!("http_response")),
                version,
                Term::small(status),
                phrase,
            ]));
        }
        let (method, rest) = skip(line, |byte| !is_special(byte));
        if method.is_empty() || !rest.first().is_some_and(|&byte| is_blank(byte)) {
            return None;
        }
        let (_, rest) = skip(rest, is_blank);
        let (uri, rest) = skip(rest, |byte| !is_blank(byte));
        if uri.is_empty() {
            return None;
        }
        let (_, rest) = skip(rest, is_blank);
        let version = if rest.is_empty() {
            self.p.tuple(&[Term::small(0), Term::small(9)])
        } else if rest.len() < 8 {
            return None;
        } else {
            self.version(rest.strip_prefix(b"HTTP/")?)?.0
        };
        let method = match METHODS.iter().find(|name| name.as_bytes() == method) {
            Some(name) => Term::atom(swarmrt_term::Atom::new(name)),
            None => self.text(method),
        };
        let uri = self.uri(uri);
        Some(self.p.tuple(&[Term::atom(atom!("http_request")), method, uri, version]))
    }

    fn uri(&mut self, uri: &[u8]) -> Term {
        if uri == b"*" {
            return Term::atom(am::TIMES);
        }
        if uri.len() <= 1 || uri[0] == b'/' {
            let path = self.text(uri);
            return self.p.tuple(&[Term::atom(atom!("abs_path")), path]);
        }
        let absolute = |scheme: &str| {
            uri.len() >= scheme.len() && uri[..scheme.len()].eq_ignore_ascii_case(scheme.as_bytes())
        };
        if absolute("http://") {
            return self.absolute_uri(atom!("http"), &uri[7..]);
        }
        if absolute("https://") {
            return self.absolute_uri(atom!("https"), &uri[8..]);
        }
        match uri.iter().position(|&byte| byte == b':') {
            None => self.text(uri),
            Some(at) => {
                let (scheme, rest) = (self.text(&uri[..at]), self.text(&uri[at + 1..]));
                self.p.tuple(&[Term::atom(atom!("scheme")), scheme, rest])
            }
        }
    }

    fn absolute_uri(&mut self, scheme: swarmrt_term::Atom, rest: &[u8]) -> Term {
        let (host, path) =
            rest.split_at(rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len()));
        let path = if path.is_empty() { self.text(b"/") } else { self.text(path) };
        // An address in brackets ends with the bracket (since OTP 26); what follows it is a port or
        // nothing.
        let bracket = host
            .iter()
            .position(|&byte| byte == b']')
            .filter(|_| host[0] == b'[' && release::current() >= Release::R26);
        let (host, colon) = match bracket.map(|at| at + 1) {
            Some(end) if host.get(end) == Some(&b':') => (host, Some(end)),
            Some(end) => (&host[..end], None),
            None => (host, host.iter().position(|&byte| byte == b':')),
        };
        let (host, port) = match colon {
            Some(at) => {
                let digits = &host[at + 1..];
                let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let number = digits.iter().fold(0i64, |value, &digit| {
                    (value * 10 + i64::from(digit.wrapping_sub(b'0'))) & 0x7fff_ffff
                });
                (
                    &host[..at],
                    if valid && number != 0 {
                        Term::small(number)
                    } else {
                        Term::atom(am::UNDEFINED)
                    },
                )
            }
            None => (host, Term::atom(am::UNDEFINED)),
        };
        let host = self.text(host);
        self.p.tuple(&[Term::atom(atom!("absoluteURI")), Term::atom(scheme), host, port, path])
    }

    fn header(&mut self, line: &[u8]) -> Option<Term> {
        let line = trimmed(line);
        if line.is_empty() {
            return Some(Term::atom(atom!("http_eoh")));
        }
        let (name, rest) = skip(line, |byte| !is_special(byte));
        let rest = rest.strip_prefix(b":")?;
        let (_, value) = skip(rest, is_blank);
        let (number, field) = if name.len() <= FIELD_NAME_MAX {
            let capitalised = capitalised(name);
            match FIELDS.iter().position(|field| field.as_bytes() == capitalised) {
                Some(at) => (at as i64 + 1, Term::atom(swarmrt_term::Atom::new(FIELDS[at]))),
                None => (0, self.text(&capitalised)),
            }
        } else {
            (0, self.text(name))
        };
        let (original, value) = (self.text(name), self.text(value));
        Some(self.p.tuple(&[
            Term::atom(atom!("http_header")),
            Term::small(number),
            field,
            original,
            value,
        ]))
    }
}

/// A field name with each of its words beginning with a capital.
fn capitalised(name: &[u8]) -> Vec<u8> {
    let mut word_begins = true;
    name.iter()
        .map(|&byte| {
            let begins = word_begins;
            word_begins = !begins && byte == b'-';
            if begins { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
        })
        .collect()
}
