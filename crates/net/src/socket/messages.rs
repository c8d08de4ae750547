//! Messages as `recvmsg` and `sendmsg` have them: an address, slices of data, control messages.

use super::address::{Address, v4_term, v6_term};
use super::state::Fail;
use libc::{c_int, iovec};
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use swarmrt_io::posix;
use swarmrt_machine::Process;
use swarmrt_term::{Alloc, Atom, Release, Term, atom, map};

/// The slices of a vector of binaries.
pub fn slices(vector: Term) -> Option<Vec<Cow<'static, [u8]>>> {
    let items = vector.list_to_vec()?;
    items
        .into_iter()
        .map(|item| item.as_bits().filter(|bits| bits.is_binary()).map(|bits| bits.to_bytes()))
        .collect()
}

/// Where a datagram comes from.
pub fn source_term(address: &Address, p: &mut Process) -> Term {
    address.to_term(p)
}

/// What is sent along with data.
#[derive(Default)]
pub struct Message {
    address: Option<Address>,
    /// Words, as heads of control messages begin at multiples of a word.
    control: Vec<u64>,
    control_length: usize,
}

impl Message {
    /// Reads a map of `socket:sendmsg/2`: its `addr` and `ctrl`. The data is not looked at.
    ///
    /// # Errors
    /// [`Fail::BADARG`] when it is no map, [`Fail::Invalid`] for a wrong item.
    pub fn from_term(release: Release, term: Term) -> Result<Message, Fail> {
        if !term.is_map() {
            return Err(Fail::BADARG);
        }
        let mut message = Message::default();
        if let Some(address) = map::get(term, Term::atom(atom!("addr"))) {
            message.address =
                Some(Address::from_term(address).ok_or(Fail::Invalid(atom!("addr")))?);
        }
        if let Some(control) = map::get(term, Term::atom(atom!("ctrl"))) {
            let items = control.list_to_vec().ok_or(Fail::Invalid(atom!("ctrl")))?;
            for item in items {
                message.add_control(release, item).ok_or(Fail::Invalid(atom!("ctrl")))?;
            }
        }
        Ok(message)
    }

    fn add_control(&mut self, release: Release, term: Term) -> Option<()> {
        let item = |name: Atom| map::get(term, Term::atom(name));
        if !term.is_map() {
            return None;
        }
        let level = item(atom!("level"))?;
        let level = if level == Term::atom(atom!("socket")) {
            libc::SOL_SOCKET
        } else {
            c_int::try_from(level.as_small()?).ok()?
        };
        let kind = item(atom!("type"))?;
        let kind = match kind.as_atom() {
            Some(name) => {
                KINDS.iter().find(|known| known.level == level && known.name == name.name())?.number
            }
            None => c_int::try_from(kind.as_small()?).ok()?,
        };
        let data = match item(atom!("data")) {
            Some(data) => match data.as_bits() {
                Some(bits) => Some(bits).filter(|bits| bits.is_binary())?.to_bytes().into_owned(),
                // A number, or a truth value as one.
                None => {
                    let number = data.as_bool().map(i64::from).or_else(|| data.as_small())?;
                    c_int::try_from(number).ok()?.to_ne_bytes().to_vec()
                }
            },
            None => {
                let value =
                    KINDS.iter().find(|known| known.level == level && known.number == kind)?.value;
                value.from_term(release, item(atom!("value"))?)?
            }
        };
        // SAFETY: no memory is touched.
        let (space, length) = unsafe {
            (
                libc::CMSG_SPACE(data.len() as u32) as usize,
                libc::CMSG_LEN(data.len() as u32) as usize,
            )
        };
        let at = self.control_length / 8;
        self.control.resize(at + space.div_ceil(8), 0);
        let head = libc::cmsghdr { cmsg_len: length, cmsg_level: level, cmsg_type: kind };
        // SAFETY: the vector has so much room, and its words are aligned for a head.
        unsafe {
            let place = self.control.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
            place.write(head);
            libc::CMSG_DATA(place).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        self.control_length += space;
        Some(())
    }

    /// Sends slices; how many bytes were taken.
    pub fn send(
        &mut self,
        fd: c_int,
        slices: &[Cow<'_, [u8]>],
        flags: c_int,
    ) -> Result<usize, Fail> {
        let mut vector: Vec<iovec> = slices
            .iter()
            .map(|slice| iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() })
            .collect();
        // SAFETY: zeros are a header of nothing.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        if let Some(address) = &mut self.address {
            header.msg_name = address.as_mut_ptr().cast();
            header.msg_namelen = address.length;
        }
        header.msg_iov = vector.as_mut_ptr();
        header.msg_iovlen = vector.len();
        if self.control_length > 0 {
            header.msg_control = self.control.as_mut_ptr().cast();
            header.msg_controllen = self.control_length;
        }
        // SAFETY: what the header names is there during the call.
        let result = unsafe { libc::sendmsg(fd, &raw const header, flags) };
        usize::try_from(result).map_err(|_| Fail::last())
    }
}

/// How the data of a control message or an option are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    Integer,
    /// An integer of one byte that some systems answer with four.
    Tos,
    Time,
    Descriptors,
    Credentials,
    PacketInfo,
    PacketInfo6,
    Address,
    /// Why a message did not arrive: `sock_extended_err`, and the address that says so.
    Error,
    /// Only the bytes.
    Raw,
}

struct ControlKind {
    level: c_int,
    number: c_int,
    name: &'static str,
    value: Value,
}

const fn kind(level: c_int, number: c_int, name: &'static str, value: Value) -> ControlKind {
    ControlKind { level, number, name, value }
}

const KINDS: [ControlKind; 13] = [
    kind(libc::SOL_SOCKET, libc::SCM_TIMESTAMP, "timestamp", Value::Time),
    kind(libc::SOL_SOCKET, libc::SCM_RIGHTS, "rights", Value::Descriptors),
    kind(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, "credentials", Value::Credentials),
    kind(libc::IPPROTO_IP, libc::IP_TOS, "tos", Value::Tos),
    kind(libc::IPPROTO_IP, libc::IP_TTL, "ttl", Value::Integer),
    kind(libc::IPPROTO_IP, libc::IP_PKTINFO, "pktinfo", Value::PacketInfo),
    kind(libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, "origdstaddr", Value::Address),
    kind(libc::IPPROTO_IP, libc::IP_RECVERR, "recverr", Value::Error),
    kind(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, "pktinfo", Value::PacketInfo6),
    kind(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, "hoplimit", Value::Integer),
    kind(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, "tclass", Value::Integer),
    kind(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, "recverr", Value::Error),
    kind(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, "timestampns", Value::Raw),
];

/// Types of service that have names.
const SERVICES: [(&str, i64); 4] =
    [("lowdelay", 0x10), ("throughput", 0x08), ("reliability", 0x04), ("mincost", 0x02)];

/// Code points of differentiated services (RFC 2474 and later) that have names.
const CODE_POINTS: [(&str, i64); 24] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("voice_admit", 44),
    ("nqb", 45),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

/// A type of service: a name or number; since OTP 29 all readings of it.
pub fn tos_term(p: &mut Process, value: i64) -> Term {
    let named = |names: &[(&str, i64)], value: i64| match names
        .iter()
        .find(|&&(_, number)| number == value)
    {
        Some((name, _)) => Term::atom(Atom::new(name)),
        None => Term::small(value),
    };
    if p.vm.release() >= Release::R29 {
        let service = value >> 1 & 0xf;
        let shown = if service == 0 {
            Term::atom(atom!("default"))
        } else {
            named(&SERVICES.map(|(name, bits)| (name, bits >> 1)), service)
        };
        let precedence =
            if value >> 5 == 0 { Term::atom(atom!("routine")) } else { Term::small(value >> 5) };
        let pair =
            [(Term::atom(atom!("tos")), shown), (Term::atom(atom!("precedence")), precedence)];
        let tos = map::from_pairs(p, &pair);
        let code_point = named(&CODE_POINTS, value >> 2);
        let native = Term::small(value);
        let all = [
            (Term::atom(atom!("native")), native),
            (Term::atom(atom!("tos")), tos),
            (Term::atom(atom!("dscp")), code_point),
        ];
        return map::from_pairs(p, &all);
    }
    match SERVICES.iter().find(|&&(_, number)| number == value) {
        Some((name, _)) => Term::atom(Atom::new(name)),
        None => Term::small(value),
    }
}

/// The number of a type of service, given by name or number. Code points of differentiated services
/// have names from OTP 29 on.
pub fn tos_from(release: Release, term: Term) -> Option<i64> {
    match term.as_atom() {
        Some(name) => {
            let code_points = CODE_POINTS
                .iter()
                .filter(|_| release >= Release::R29)
                .map(|&(name, number)| (name, number << 2));
            SERVICES
                .into_iter()
                .chain(code_points)
                .find(|(known, _)| *known == name.name())
                .map(|(_, number)| number)
        }
        None => term.as_small(),
    }
}

impl Value {
    #[allow(clippy::wrong_self_convention, reason = "it says how a term is read")]
    fn from_term(self, release: Release, term: Term) -> Option<Vec<u8>> {
        let integer = |term: Term| i32::try_from(term.as_small()?).ok();
        match self {
            Value::Integer => Some(integer(term)?.to_ne_bytes().to_vec()),
            Value::Tos => {
                Some(i32::try_from(tos_from(release, term)?).ok()?.to_ne_bytes().to_vec())
            }
            Value::Time => {
                let item = |name| map::get(term, Term::atom(name))?.as_small();
                term.is_map().then_some(())?;
                Some(
                    [item(atom!("sec"))?.to_ne_bytes(), item(atom!("usec"))?.to_ne_bytes()]
                        .concat(),
                )
            }
            _ => None,
        }
    }

    fn to_term(self, p: &mut Process, data: &[u8]) -> Option<Term> {
        let word = |at: usize| Some(i32::from_ne_bytes(*data.get(at..)?.first_chunk::<4>()?));
        let long = |at: usize| Some(i64::from_ne_bytes(*data.get(at..)?.first_chunk::<8>()?));
        Some(match self {
            Value::Integer => Term::small(word(0)?.into()),
            Value::Tos => {
                let value = match data {
                    [byte] => i64::from(*byte),
                    _ => word(0)?.into(),
                };
                tos_term(p, value)
            }
            Value::Time => {
                let (sec, usec) = (p.int(long(0)?), p.int(long(8)?));
                map::from_pairs(
                    p,
                    &[(Term::atom(atom!("sec")), sec), (Term::atom(atom!("usec")), usec)],
                )
            }
            Value::PacketInfo => {
                let address =
                    |at: usize| Some(Ipv4Addr::from(*data.get(at..)?.first_chunk::<4>()?));
                let (spec, addr) = (v4_term(address(4)?, p), v4_term(address(8)?, p));
                let pairs = [
                    (Term::atom(atom!("ifindex")), Term::small(word(0)?.into())),
                    (Term::atom(atom!("spec_dst")), spec),
                    (Term::atom(atom!("addr")), addr),
                ];
                map::from_pairs(p, &pairs)
            }
            Value::PacketInfo6 => {
                let addr = v6_term(Ipv6Addr::from(*data.first_chunk::<16>()?), p);
                map::from_pairs(
                    p,
                    &[
                        (Term::atom(atom!("addr")), addr),
                        (Term::atom(atom!("ifindex")), Term::small(word(16)?.into())),
                    ],
                )
            }
            Value::Address => Address::from_bytes(data)?.to_term(p),
            Value::Error => return error_term(p, data),
            Value::Descriptors | Value::Credentials | Value::Raw => return None,
        })
    }
}

/// Where errors come from (`SO_EE_ORIGIN_…`), by number.
const ORIGINS: [&str; 7] = ["none", "local", "icmp", "icmp6", "txstatus", "zerocopy", "txtime"];
/// Why a destination is unreachable: codes of ICMP and of `ICMPv6`.
const UNREACHABLE: [(u8, &str); 6] = [
    (0, "net_unreach"),
    (1, "host_unreach"),
    (3, "port_unreach"),
    (4, "frag_needed"),
    (6, "net_unknown"),
    (7, "host_unknown"),
];
const UNREACHABLE_6: [(u8, &str); 7] = [
    (0, "noroute"),
    (1, "adm_prohibited"),
    (2, "not_neighbour"),
    (3, "addr_unreach"),
    (4, "port_unreach"),
    (5, "policy_fail"),
    (6, "reject_route"),
];

/// What a type and a code of an error are called, if anything.
fn error_names(origin: u8, kind: u8, code: u8) -> (Option<&'static str>, Option<&'static str>) {
    let named = |codes: &[(u8, &'static str)]| {
        codes.iter().find(|&&(number, _)| number == code).map(|&(_, name)| name)
    };
    match (origin, kind) {
        (libc::SO_EE_ORIGIN_ICMP, 3) => (Some("dest_unreach"), named(&UNREACHABLE)),
        (libc::SO_EE_ORIGIN_ICMP, 11) | (libc::SO_EE_ORIGIN_ICMP6, 3) => {
            (Some("time_exceeded"), None)
        }
        (libc::SO_EE_ORIGIN_ICMP6, 1) => (Some("dest_unreach"), named(&UNREACHABLE_6)),
        (libc::SO_EE_ORIGIN_ICMP6, 2) => (Some("pkt_toobig"), None),
        _ => (None, None),
    }
}

fn error_term(p: &mut Process, data: &[u8]) -> Option<Term> {
    const LENGTH: usize = size_of::<libc::sock_extended_err>();
    let (head, offender) = data.split_at_checked(LENGTH)?;
    // SAFETY: as many bytes are there, and any bytes are one.
    let error: libc::sock_extended_err =
        unsafe { head.as_ptr().cast::<libc::sock_extended_err>().read_unaligned() };
    let term = |name: Option<&str>, number: u8| {
        name.map_or(Term::small(number.into()), |name| Term::atom(Atom::new(name)))
    };
    let (kind, code) = error_names(error.ee_origin, error.ee_type, error.ee_code);
    let name = c_int::try_from(error.ee_errno).map_or("unknown", posix::name);
    let mut pairs = vec![
        (Term::atom(atom!("error")), Term::atom(Atom::new(name))),
        (
            Term::atom(atom!("origin")),
            term(ORIGINS.get(usize::from(error.ee_origin)).copied(), error.ee_origin),
        ),
        (Term::atom(atom!("type")), term(kind, error.ee_type)),
        (Term::atom(atom!("code")), term(code, error.ee_code)),
        (Term::atom(atom!("info")), Term::small(error.ee_info.into())),
        (Term::atom(atom!("data")), Term::small(error.ee_data.into())),
    ];
    if let Some(offender) = Address::from_bytes(offender) {
        let offender = offender.to_term(p);
        pairs.push((Term::atom(atom!("offender")), offender));
    }
    Some(map::from_pairs(p, &pairs))
}

/// Flags of a message, and their names.
pub const FLAGS: [(&str, c_int); 5] = [
    ("eor", libc::MSG_EOR),
    ("trunc", libc::MSG_TRUNC),
    ("ctrunc", libc::MSG_CTRUNC),
    ("oob", libc::MSG_OOB),
    ("errqueue", libc::MSG_ERRQUEUE),
];

/// A message that was received, as a map.
///
/// # Safety
/// The system has filled the header, whose control messages are still there.
pub unsafe fn received(
    p: &mut Process,
    address: &Address,
    header: &libc::msghdr,
    data: Term,
) -> Term {
    // SAFETY: the caller's.
    let control = unsafe { control_of(p, header) };
    let control = p.list(&control);
    let flags: Vec<Term> = FLAGS
        .iter()
        .filter(|(_, flag)| header.msg_flags & flag != 0)
        .map(|(name, _)| Term::atom(Atom::new(name)))
        .collect();
    let (flags, vector) = (p.list(&flags), p.list(&[data]));
    let mut pairs = vec![
        (Term::atom(atom!("flags")), flags),
        (Term::atom(atom!("ctrl")), control),
        (Term::atom(atom!("iov")), vector),
    ];
    if address.length > 0 {
        let address = address.to_term(p);
        pairs.push((Term::atom(atom!("addr")), address));
    }
    map::from_pairs(p, &pairs)
}

/// The control messages in bytes that the system has written.
pub fn control_messages(p: &mut Process, bytes: &[u8]) -> Vec<Term> {
    // Words, as heads begin at multiples of a word.
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    // SAFETY: there is room for the bytes; zeros are a header of nothing. What it names stays
    // during the call.
    unsafe {
        words.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_control = words.as_mut_ptr().cast();
        header.msg_controllen = bytes.len();
        control_of(p, &header)
    }
}

/// Control messages as maps.
///
/// # Safety
/// As for [`received`].
unsafe fn control_of(p: &mut Process, header: &libc::msghdr) -> Vec<Term> {
    let mut found = Vec::new();
    // SAFETY: the caller's.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: a head that is not null lies within the control data.
    while let Some(head) = unsafe { next.as_ref() } {
        // SAFETY: the head's data follow it.
        let data = unsafe {
            let place = libc::CMSG_DATA(next);
            let length = head.cmsg_len.saturating_sub(place as usize - next as usize);
            std::slice::from_raw_parts(place, length)
        };
        found.push(control_term(p, head, data));
        // SAFETY: `next` is a head of this header's control data.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    found
}

fn control_term(p: &mut Process, head: &libc::cmsghdr, data: &[u8]) -> Term {
    let known =
        KINDS.iter().find(|known| known.level == head.cmsg_level && known.number == head.cmsg_type);
    let level = if head.cmsg_level == libc::SOL_SOCKET {
        Term::atom(atom!("socket"))
    } else {
        Term::small(head.cmsg_level.into())
    };
    let kind =
        known.map_or(Term::small(head.cmsg_type.into()), |known| Term::atom(Atom::new(known.name)));
    let bytes = p.binary(data);
    let mut pairs = vec![
        (Term::atom(atom!("level")), level),
        (Term::atom(atom!("type")), kind),
        (Term::atom(atom!("data")), bytes),
    ];
    if let Some(value) = known.and_then(|known| known.value.to_term(p, data)) {
        pairs.push((Term::atom(atom!("value")), value));
    }
    map::from_pairs(p, &pairs)
}
