//! Options of sockets, by OTP's names and the system's numbers.

use super::address::{self, domain_term, kind_term, v4, v4_term};
use super::messages::{control_messages, tos_from, tos_term};
use super::state::{Done, Fail, State, check, find};
use super::{answer, integer, ok};
use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOL_SOCKET, c_int};
use swarmrt_heap::copy_term;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Term, am, atom, map};

/// `error:{invalid, What}`.
pub fn invalid(p: &mut Process, what: Atom) -> BifExit {
    BifExit::Error(p.tuple(&[Term::atom(atom!("invalid")), Term::atom(what)]))
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Flag,
    Number,
    Text,
    Linger,
    Domain,
    Kind,
    Protocol,
    Tos,
    MtuDiscovery,
    /// An IPv4 address.
    Address,
    /// A group and an interface, to join or leave: set only.
    Group,
    Group6,
    /// A group, an interface and a source: set only.
    Source,
    /// Control messages: not set.
    Control,
    /// Named, but of a form that is not read or written here.
    Other,
}

/// An option that OTP names.
pub struct Known {
    pub level: c_int,
    pub name: &'static str,
    /// None where the system or OTP has no such option.
    pub number: Option<c_int>,
    pub form: Form,
    /// The first release that has it, and the first that names it.
    pub since: Release,
    pub listed_since: Release,
}

use Form::{
    Address, Control, Domain, Flag, Group, Group6, Kind, Linger, MtuDiscovery, Number, Other,
    Protocol, Source, Text, Tos,
};

const IPPROTO_SCTP: c_int = 132;

const fn has(level: c_int, name: &'static str, number: c_int, form: Form) -> Known {
    Known {
        level,
        name,
        number: Some(number),
        form,
        since: Release::R25,
        listed_since: Release::R25,
    }
}
const fn lacks(level: c_int, name: &'static str) -> Known {
    Known {
        level,
        name,
        number: None,
        form: Other,
        since: Release::R25,
        listed_since: Release::R25,
    }
}
const fn later(level: c_int, name: &'static str, number: c_int, form: Form) -> Known {
    Known {
        level,
        name,
        number: Some(number),
        form,
        since: Release::R26,
        listed_since: Release::R25,
    }
}

/// Levels, and what OTP calls them.
pub const LEVELS: [(c_int, &str); 6] = [
    (SOL_SOCKET, "socket"),
    (IPPROTO_IP, "ip"),
    (IPPROTO_IPV6, "ipv6"),
    (IPPROTO_TCP, "tcp"),
    (IPPROTO_UDP, "udp"),
    (IPPROTO_SCTP, "sctp"),
];

/// All options that OTP names.
pub static OPTIONS: &[Known] = &[
    has(SOL_SOCKET, "acceptconn", libc::SO_ACCEPTCONN, Flag),
    lacks(SOL_SOCKET, "acceptfilter"),
    has(SOL_SOCKET, "bindtodevice", libc::SO_BINDTODEVICE, Text),
    has(SOL_SOCKET, "broadcast", libc::SO_BROADCAST, Flag),
    lacks(SOL_SOCKET, "busy_poll"),
    has(SOL_SOCKET, "debug", libc::SO_DEBUG, Number),
    has(SOL_SOCKET, "domain", libc::SO_DOMAIN, Domain),
    has(SOL_SOCKET, "dontroute", libc::SO_DONTROUTE, Flag),
    lacks(SOL_SOCKET, "error"),
    has(SOL_SOCKET, "keepalive", libc::SO_KEEPALIVE, Flag),
    has(SOL_SOCKET, "linger", libc::SO_LINGER, Linger),
    lacks(SOL_SOCKET, "mark"),
    has(SOL_SOCKET, "oobinline", libc::SO_OOBINLINE, Flag),
    has(SOL_SOCKET, "passcred", libc::SO_PASSCRED, Flag),
    has(SOL_SOCKET, "peek_off", libc::SO_PEEK_OFF, Number),
    lacks(SOL_SOCKET, "peercred"),
    has(SOL_SOCKET, "priority", libc::SO_PRIORITY, Number),
    has(SOL_SOCKET, "protocol", libc::SO_PROTOCOL, Protocol),
    has(SOL_SOCKET, "rcvbuf", libc::SO_RCVBUF, Number),
    lacks(SOL_SOCKET, "rcvbufforce"),
    has(SOL_SOCKET, "rcvlowat", libc::SO_RCVLOWAT, Number),
    lacks(SOL_SOCKET, "rcvtimeo"),
    has(SOL_SOCKET, "reuseaddr", libc::SO_REUSEADDR, Flag),
    has(SOL_SOCKET, "reuseport", libc::SO_REUSEPORT, Flag),
    lacks(SOL_SOCKET, "rxq_ovfl"),
    lacks(SOL_SOCKET, "setfib"),
    has(SOL_SOCKET, "sndbuf", libc::SO_SNDBUF, Number),
    lacks(SOL_SOCKET, "sndbufforce"),
    has(SOL_SOCKET, "sndlowat", libc::SO_SNDLOWAT, Number),
    lacks(SOL_SOCKET, "sndtimeo"),
    has(SOL_SOCKET, "timestamp", libc::SO_TIMESTAMP, Flag),
    Known {
        listed_since: Release::R26,
        ..later(SOL_SOCKET, "timestampns", libc::SO_TIMESTAMPNS, Flag)
    },
    has(SOL_SOCKET, "type", libc::SO_TYPE, Kind),
    has(IPPROTO_IP, "add_membership", libc::IP_ADD_MEMBERSHIP, Group),
    has(IPPROTO_IP, "add_source_membership", libc::IP_ADD_SOURCE_MEMBERSHIP, Source),
    has(IPPROTO_IP, "block_source", libc::IP_BLOCK_SOURCE, Source),
    lacks(IPPROTO_IP, "dontfrag"),
    has(IPPROTO_IP, "drop_membership", libc::IP_DROP_MEMBERSHIP, Group),
    has(IPPROTO_IP, "drop_source_membership", libc::IP_DROP_SOURCE_MEMBERSHIP, Source),
    has(IPPROTO_IP, "freebind", libc::IP_FREEBIND, Flag),
    has(IPPROTO_IP, "hdrincl", libc::IP_HDRINCL, Flag),
    has(IPPROTO_IP, "minttl", libc::IP_MINTTL, Number),
    has(IPPROTO_IP, "msfilter", 41, Other),
    has(IPPROTO_IP, "mtu", libc::IP_MTU, Number),
    has(IPPROTO_IP, "mtu_discover", libc::IP_MTU_DISCOVER, MtuDiscovery),
    has(IPPROTO_IP, "multicast_all", 49, Flag),
    has(IPPROTO_IP, "multicast_if", libc::IP_MULTICAST_IF, Address),
    has(IPPROTO_IP, "multicast_loop", libc::IP_MULTICAST_LOOP, Flag),
    has(IPPROTO_IP, "multicast_ttl", libc::IP_MULTICAST_TTL, Number),
    has(IPPROTO_IP, "nodefrag", libc::IP_NODEFRAG, Flag),
    lacks(IPPROTO_IP, "options"),
    has(IPPROTO_IP, "pktinfo", libc::IP_PKTINFO, Flag),
    has(IPPROTO_IP, "pktoptions", libc::IP_PKTOPTIONS, Control),
    lacks(IPPROTO_IP, "recvdstaddr"),
    has(IPPROTO_IP, "recverr", libc::IP_RECVERR, Flag),
    lacks(IPPROTO_IP, "recvif"),
    has(IPPROTO_IP, "recvopts", libc::IP_RECVOPTS, Flag),
    has(IPPROTO_IP, "recvorigdstaddr", libc::IP_RECVORIGDSTADDR, Flag),
    has(IPPROTO_IP, "recvtos", libc::IP_RECVTOS, Flag),
    has(IPPROTO_IP, "recvttl", libc::IP_RECVTTL, Flag),
    has(IPPROTO_IP, "retopts", libc::IP_RETOPTS, Flag),
    has(IPPROTO_IP, "router_alert", libc::IP_ROUTER_ALERT, Number),
    lacks(IPPROTO_IP, "sendsrcaddr"),
    has(IPPROTO_IP, "tos", libc::IP_TOS, Tos),
    has(IPPROTO_IP, "transparent", libc::IP_TRANSPARENT, Flag),
    has(IPPROTO_IP, "ttl", libc::IP_TTL, Number),
    has(IPPROTO_IP, "unblock_source", libc::IP_UNBLOCK_SOURCE, Source),
    has(IPPROTO_IPV6, "add_membership", libc::IPV6_ADD_MEMBERSHIP, Group6),
    has(IPPROTO_IPV6, "addrform", libc::IPV6_ADDRFORM, Other),
    lacks(IPPROTO_IPV6, "auth_level"),
    has(IPPROTO_IPV6, "authhdr", libc::IPV6_AUTHHDR, Flag),
    lacks(IPPROTO_IPV6, "checksum"),
    has(IPPROTO_IPV6, "drop_membership", libc::IPV6_DROP_MEMBERSHIP, Group6),
    has(IPPROTO_IPV6, "dstopts", libc::IPV6_DSTOPTS, Flag),
    lacks(IPPROTO_IPV6, "esp_network_level"),
    lacks(IPPROTO_IPV6, "esp_trans_level"),
    lacks(IPPROTO_IPV6, "faith"),
    has(IPPROTO_IPV6, "flowinfo", libc::IPV6_FLOWINFO, Flag),
    has(IPPROTO_IPV6, "hoplimit", libc::IPV6_HOPLIMIT, Flag),
    has(IPPROTO_IPV6, "hopopts", libc::IPV6_HOPOPTS, Flag),
    lacks(IPPROTO_IPV6, "ipcomp_level"),
    lacks(IPPROTO_IPV6, "join_group"),
    lacks(IPPROTO_IPV6, "leave_group"),
    has(IPPROTO_IPV6, "mtu", libc::IPV6_MTU, Number),
    has(IPPROTO_IPV6, "mtu_discover", libc::IPV6_MTU_DISCOVER, MtuDiscovery),
    has(IPPROTO_IPV6, "multicast_hops", libc::IPV6_MULTICAST_HOPS, Number),
    has(IPPROTO_IPV6, "multicast_if", libc::IPV6_MULTICAST_IF, Number),
    has(IPPROTO_IPV6, "multicast_loop", libc::IPV6_MULTICAST_LOOP, Flag),
    lacks(IPPROTO_IPV6, "pktoptions"),
    lacks(IPPROTO_IPV6, "portrange"),
    has(IPPROTO_IPV6, "recverr", libc::IPV6_RECVERR, Flag),
    has(IPPROTO_IPV6, "recvhoplimit", libc::IPV6_RECVHOPLIMIT, Flag),
    has(IPPROTO_IPV6, "recvpktinfo", libc::IPV6_RECVPKTINFO, Flag),
    has(IPPROTO_IPV6, "recvtclass", libc::IPV6_RECVTCLASS, Flag),
    has(IPPROTO_IPV6, "router_alert", libc::IPV6_ROUTER_ALERT, Number),
    has(IPPROTO_IPV6, "rthdr", libc::IPV6_RTHDR, Flag),
    has(IPPROTO_IPV6, "tclass", libc::IPV6_TCLASS, Number),
    has(IPPROTO_IPV6, "unicast_hops", libc::IPV6_UNICAST_HOPS, Number),
    lacks(IPPROTO_IPV6, "use_min_mtu"),
    has(IPPROTO_IPV6, "v6only", libc::IPV6_V6ONLY, Flag),
    has(IPPROTO_TCP, "congestion", libc::TCP_CONGESTION, Text),
    has(IPPROTO_TCP, "cork", libc::TCP_CORK, Flag),
    lacks(IPPROTO_TCP, "info"),
    later(IPPROTO_TCP, "keepcnt", libc::TCP_KEEPCNT, Number),
    later(IPPROTO_TCP, "keepidle", libc::TCP_KEEPIDLE, Number),
    later(IPPROTO_TCP, "keepintvl", libc::TCP_KEEPINTVL, Number),
    has(IPPROTO_TCP, "maxseg", libc::TCP_MAXSEG, Number),
    lacks(IPPROTO_TCP, "md5sig"),
    has(IPPROTO_TCP, "nodelay", libc::TCP_NODELAY, Flag),
    lacks(IPPROTO_TCP, "noopt"),
    lacks(IPPROTO_TCP, "nopush"),
    lacks(IPPROTO_TCP, "syncnt"),
    later(IPPROTO_TCP, "user_timeout", libc::TCP_USER_TIMEOUT, Number),
    has(IPPROTO_UDP, "cork", 1, Flag),
    has(IPPROTO_SCTP, "associnfo", 1, Other),
    has(IPPROTO_SCTP, "autoclose", 4, Number),
    has(IPPROTO_SCTP, "disable_fragments", 8, Flag),
    has(IPPROTO_SCTP, "events", 11, Other),
    has(IPPROTO_SCTP, "initmsg", 2, Other),
    has(IPPROTO_SCTP, "maxseg", 13, Number),
    has(IPPROTO_SCTP, "nodelay", 3, Flag),
    has(IPPROTO_SCTP, "rtoinfo", 0, Other),
];

/// The system's number of an option; `None` where the release does not have it.
pub fn number_on(known: &Known, release: Release) -> Option<c_int> {
    known.number.filter(|_| release >= known.since)
}

/// Options of the level `otp`, by the numbers `ESOCK_OPT_OTP_…` of OTP's `prim_socket.erl`.
mod otp {
    /// Whether calls are logged. It is kept, and without effect.
    pub const DEBUG: i64 = 1001;
    /// Whether a counter that wraps around is reported. It is kept, and without effect.
    pub const IOW: i64 = 1002;
    /// The process whose end closes the socket.
    pub const CONTROLLING_PROCESS: i64 = 1003;
    /// Bytes of the receive buffer, with or without a count of reads.
    pub const RCVBUF: i64 = 1004;
    /// Bytes for control messages that are received.
    pub const RCVCTRLBUF: i64 = 1006;
    /// Bytes for control messages that are sent.
    pub const SNDCTRLBUF: i64 = 1007;
    /// The number of the descriptor; read only.
    pub const FD: i64 = 1008;
    /// Any term that the module `socket` keeps with the socket; only the owner may set it.
    pub const META: i64 = 1009;
    /// Whether `socket_registry` lists the socket.
    pub const USE_REGISTRY: i64 = 1010;
    /// Whether a receive without waiting asks for a message, too, when there is more.
    pub const SELECT_READ: i64 = 1011;
    /// The domain; read only.
    pub const DOMAIN: i64 = 1999;
}

fn is_otp(level: Term) -> bool {
    level == Term::atom(atom!("otp"))
}

fn level_of(level: Term) -> Result<c_int, Fail> {
    if level == Term::atom(atom!("socket")) { Ok(SOL_SOCKET) } else { integer(level) }
}

fn known(level: c_int, number: c_int) -> Option<&'static Known> {
    OPTIONS.iter().find(|known| known.level == level && known.number == Some(number))
}

// ---- Setting ----

#[bif("prim_socket:nif_setopt/5")]
fn setopt(
    p: &mut Process,
    socket: Term,
    level: Term,
    option: Term,
    value: Term,
    native: Term,
) -> BifResult {
    let done = set(p, socket, level, option, value, native);
    answer(p, done)
}

fn set(
    p: &mut Process,
    socket: Term,
    level: Term,
    option: Term,
    value: Term,
    native: Term,
) -> Done {
    let found = find(p, socket)?;
    if is_otp(level) {
        return set_own(p, socket, integer(option)?, value);
    }
    let (level, number): (c_int, c_int) = (level_of(level)?, integer(option)?);
    let bad = Fail::Invalid(atom!("value"));
    let bytes = if native == Term::small(0) {
        let known = known(level, number).ok_or(Fail::Invalid(atom!("socket_option")))?;
        written(p.vm.release(), known.form, value).ok_or(bad)?
    } else {
        raw_value(value).ok_or(bad)?
    };
    let state = found.open()?;
    // SAFETY: the value is there during the call.
    check(unsafe {
        libc::setsockopt(
            state.raw(),
            level,
            number,
            bytes.as_ptr().cast(),
            bytes.len() as libc::socklen_t,
        )
    })?;
    Ok(Term::atom(am::OK))
}

/// A value as the system has it: an integer, a boolean, or the bytes.
fn raw_value(value: Term) -> Option<Vec<u8>> {
    if let Some(flag) = value.as_bool() {
        return Some(i32::from(flag).to_ne_bytes().to_vec());
    }
    if let Some(number) = value.as_small() {
        return Some(i32::try_from(number).ok()?.to_ne_bytes().to_vec());
    }
    value.as_bits().filter(|bits| bits.is_binary()).map(|bits| bits.to_bytes().into_owned())
}

const MTU_DISCOVERY: [(&str, i32); 4] = [("want", 1), ("dont", 0), ("do", 2), ("probe", 3)];

/// The bytes of a value.
fn written(release: Release, form: Form, value: Term) -> Option<Vec<u8>> {
    let int = |number: i64| Some(i32::try_from(number).ok()?.to_ne_bytes().to_vec());
    let item = |name: Atom| map::get(value, Term::atom(name)).filter(|_| value.is_map());
    match form {
        Flag => int(value.as_bool()?.into()),
        Number => int(value.as_small()?),
        Tos => int(tos_from(release, value)?),
        Text => {
            let text = value.list_to_vec()?;
            text.into_iter().map(|code| u8::try_from(code.as_small()?).ok()).collect()
        }
        Linger => {
            value.is_map().then_some(())?;
            let on = i32::from(item(atom!("onoff"))?.as_bool()?);
            let seconds = i32::try_from(item(atom!("linger"))?.as_small()?).ok()?;
            Some([on.to_ne_bytes(), seconds.to_ne_bytes()].concat())
        }
        MtuDiscovery => match value.as_atom() {
            Some(name) => {
                int(MTU_DISCOVERY.iter().find(|(known, _)| *known == name.name())?.1.into())
            }
            None => int(value.as_small()?),
        },
        Address => Some(v4(value)?.octets().to_vec()),
        Group => {
            value.is_map().then_some(())?;
            Some(
                [v4(item(atom!("multiaddr"))?)?.octets(), v4(item(atom!("interface"))?)?.octets()]
                    .concat(),
            )
        }
        Group6 => {
            value.is_map().then_some(())?;
            let mut bytes = address::v6(item(atom!("multiaddr"))?)?.octets().to_vec();
            bytes.extend(i32::try_from(item(atom!("interface"))?.as_small()?).ok()?.to_ne_bytes());
            Some(bytes)
        }
        Source => {
            value.is_map().then_some(())?;
            let parts =
                [item(atom!("multiaddr"))?, item(atom!("interface"))?, item(atom!("sourceaddr"))?];
            parts
                .into_iter()
                .map(v4)
                .collect::<Option<Vec<_>>>()
                .map(|parts| parts.iter().flat_map(std::net::Ipv4Addr::octets).collect())
        }
        Domain | Kind | Protocol | Control | Other => None,
    }
}

fn set_own(p: &mut Process, socket: Term, option: i64, value: Term) -> Done {
    let found = find(p, socket)?;
    let ok = Ok(Term::atom(am::OK));
    let bad = || Fail::Invalid(atom!("value"));
    let mut state = found.open()?;
    match option {
        otp::DEBUG => state.debug = value.as_bool().ok_or_else(bad)?,
        otp::IOW => state.iow = value.as_bool().ok_or_else(bad)?,
        otp::SELECT_READ => state.select_read = value.as_bool().ok_or_else(bad)?,
        otp::RCVBUF => set_read_buffer(&mut state, value).ok_or_else(bad)?,
        otp::RCVCTRLBUF => state.read_control = size_or(value, 1024).ok_or_else(bad)?,
        otp::SNDCTRLBUF => state.write_control = size_or(value, 1024).ok_or_else(bad)?,
        otp::META => {
            if state.owner.is_none_or(|(pid, _)| pid != p.id()) {
                return Err(Fail::Misuse(atom!("not_owner")));
            }
            let mut heap = FragmentHeap::new();
            let value = copy_term(value, &mut heap);
            state.meta = Some((heap, value));
        }
        otp::USE_REGISTRY => {
            let is_known =
                std::mem::replace(&mut state.use_registry, value.as_bool().ok_or_else(bad)?);
            if state.use_registry && !is_known {
                drop(state);
                found.tell_registry(p, socket, atom!("add"));
            }
        }
        otp::CONTROLLING_PROCESS => {
            let to = value.as_pid().ok_or_else(bad)?;
            if state.owner.is_none_or(|(pid, _)| pid != p.id()) {
                return Err(Fail::Misuse(atom!("not_owner")));
            }
            drop(state);
            if to != p.id() {
                let _guard = swarmrt_machine::pin();
                if p.vm.processes.get(to).is_none() {
                    return Err(Fail::Misuse(atom!("not_alive")));
                }
                found.give(p, socket, to);
            }
        }
        _ => return Err(Fail::Invalid(atom!("socket_option"))),
    }
    ok
}

fn size_or(value: Term, default: usize) -> Option<usize> {
    if value == Term::atom(atom!("default")) {
        return Some(default);
    }
    usize::try_from(value.as_small()?).ok().filter(|&size| size > 0)
}

/// A size, or how often a buffer of a size may be filled.
fn set_read_buffer(state: &mut State, value: Term) -> Option<()> {
    if let Some(pair) = value.as_tuple().filter(|pair| pair.arity() == 2) {
        let count = u32::try_from(pair.get(0).as_small()?).ok().filter(|&count| count > 0)?;
        state.read_buffer = size_or(pair.get(1), 8192)?;
        state.read_count = (count, 0);
        return Some(());
    }
    state.read_buffer = size_or(value, 8192)?;
    state.read_count = (0, 0);
    Some(())
}

// ---- Getting ----

#[bif("prim_socket:nif_getopt/3")]
fn getopt(p: &mut Process, socket: Term, level: Term, option: Term) -> BifResult {
    let done = get(p, socket, level, option);
    answer(p, done)
}

fn get(p: &mut Process, socket: Term, level: Term, option: Term) -> Done {
    if is_otp(level) {
        return get_own(p, socket, integer(option)?);
    }
    let found = find(p, socket)?;
    let (level, number): (c_int, c_int) = (level_of(level)?, integer(option)?);
    let unknown = || Fail::Invalid(atom!("socket_option"));
    let known = known(level, number).ok_or_else(unknown)?;
    if matches!(known.form, Group | Group6 | Source | Other) {
        return Err(unknown());
    }
    let room = match known.form {
        Text if known.level == SOL_SOCKET => libc::IFNAMSIZ,
        Text => 16,
        Linger => 16,
        Control => 1024,
        _ => 4,
    };
    let bytes = ask(found.open()?.raw(), level, number, room)?;
    let value = shown(p, known, &bytes).ok_or(Fail::System(libc::EINVAL))?;
    ok(p, value)
}

/// The bytes of an option.
fn ask(fd: c_int, level: c_int, number: c_int, room: usize) -> Result<Vec<u8>, Fail> {
    let mut bytes = vec![0u8; room];
    let mut length = room as libc::socklen_t;
    // SAFETY: there is so much room.
    check(unsafe {
        libc::getsockopt(fd, level, number, bytes.as_mut_ptr().cast(), &raw mut length)
    })?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

fn shown(p: &mut Process, known: &Known, bytes: &[u8]) -> Option<Term> {
    let int = || match bytes {
        [byte] => Some(i32::from(*byte)),
        _ => Some(i32::from_ne_bytes(*bytes.first_chunk::<4>()?)),
    };
    Some(match known.form {
        // Some answer with nothing when they are off.
        Flag => Term::bool(!bytes.is_empty() && int()? != 0),
        Control => {
            let items = control_messages(p, bytes);
            p.list(&items)
        }
        Number => Term::small(int()?.into()),
        Tos => tos_term(p, int()?.into()),
        Text if known.level == SOL_SOCKET => p.byte_list(bytes, Term::NIL),
        // OTP leaves the last byte of its room out, and zero bytes in.
        Text => p.byte_list(&bytes[..bytes.len().saturating_sub(1)], Term::NIL),
        Linger => {
            let seconds = i32::from_ne_bytes(*bytes.get(4..)?.first_chunk::<4>()?);
            let on = Term::bool(int()? != 0);
            map::from_pairs(
                p,
                &[
                    (Term::atom(atom!("onoff")), on),
                    (Term::atom(atom!("linger")), Term::small(seconds.into())),
                ],
            )
        }
        Domain => domain_term(int()?),
        Kind => kind_term(int()?),
        Protocol => match int()? {
            libc::IPPROTO_IP => Term::atom(atom!("default")),
            number => Term::small(number.into()),
        },
        MtuDiscovery => {
            let value = int()?;
            let named = MTU_DISCOVERY.iter().find(|&&(_, number)| number == value);
            named.map_or(Term::small(value.into()), |(name, _)| Term::atom(Atom::new(name)))
        }
        Address => v4_term(std::net::Ipv4Addr::from(*bytes.first_chunk::<4>()?), p),
        Group | Group6 | Source | Other => return None,
    })
}

fn get_own(p: &mut Process, socket: Term, option: i64) -> Done {
    let found = find(p, socket)?;
    let state = found.open()?;
    let value = match option {
        otp::DEBUG => Term::bool(state.debug),
        otp::IOW => Term::bool(state.iow),
        otp::SELECT_READ if p.vm.release() >= Release::R26 => Term::bool(state.select_read),
        otp::CONTROLLING_PROCESS => {
            state.owner.map_or(Term::atom(am::UNDEFINED), |(pid, _)| Term::pid(pid))
        }
        otp::RCVBUF if state.read_count.0 > 0 => p.tuple(&[
            Term::small(state.read_count.0.into()),
            Term::small(state.read_buffer as i64),
        ]),
        otp::RCVBUF => Term::small(state.read_buffer as i64),
        otp::RCVCTRLBUF => Term::small(state.read_control as i64),
        otp::SNDCTRLBUF => Term::small(state.write_control as i64),
        otp::FD => Term::small(state.raw().into()),
        otp::META => match &state.meta {
            Some((_, meta)) => copy_term(*meta, &mut p.heap),
            None => Term::atom(am::UNDEFINED),
        },
        otp::USE_REGISTRY => Term::bool(state.use_registry),
        otp::DOMAIN => domain_term(found.domain),
        _ => return Err(Fail::Invalid(atom!("socket_option"))),
    };
    drop(state);
    ok(p, value)
}

/// An option by its number, in a form that the caller names; OTP 25 to 28.
#[bif("prim_socket:nif_getopt/4")]
fn getopt_native(
    p: &mut Process,
    socket: Term,
    level: Term,
    option: Term,
    form: Term,
) -> BifResult {
    let done = get_native(p, socket, level, option, form);
    answer(p, done)
}

/// An option by its number, in a form that the caller names, or with a value for the question; from
/// OTP 29 on.
#[bif("prim_socket:nif_getopt/5")]
fn getopt_with(
    p: &mut Process,
    socket: Term,
    level: Term,
    option: Term,
    kind: Term,
    value: Term,
) -> BifResult {
    let done = if kind == Term::atom(atom!("native")) {
        get_native(p, socket, level, option, value)
    } else {
        Err(Fail::Invalid(atom!("socket_option")))
    };
    answer(p, done)
}

fn get_native(p: &mut Process, socket: Term, level: Term, option: Term, form: Term) -> Done {
    let found = find(p, socket)?;
    let (level, number): (c_int, c_int) = (level_of(level)?, integer(option)?);
    let bad = || Fail::Invalid(atom!("value"));
    let fd = found.open()?.raw();
    let value = match form.as_atom().map(Atom::name) {
        Some(name @ ("integer" | "boolean")) => {
            let bytes = ask(fd, level, number, 4)?;
            let value =
                i32::from_ne_bytes(*bytes.first_chunk::<4>().ok_or(Fail::System(libc::EINVAL))?);
            if name == "boolean" { Term::bool(value != 0) } else { Term::small(value.into()) }
        }
        Some(_) => return Err(bad()),
        None => {
            let mut bytes = match form.as_small() {
                Some(size) => vec![0; usize::try_from(size).map_err(|_| bad())?],
                None => form
                    .as_bits()
                    .filter(|bits| bits.is_binary())
                    .ok_or_else(bad)?
                    .to_bytes()
                    .into_owned(),
            };
            let mut length = bytes.len() as libc::socklen_t;
            // SAFETY: there is so much room.
            check(unsafe {
                libc::getsockopt(fd, level, number, bytes.as_mut_ptr().cast(), &raw mut length)
            })?;
            p.binary(&bytes[..length as usize])
        }
    };
    ok(p, value)
}
