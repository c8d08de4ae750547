//! What `socket` tells of itself: what it supports, and what a socket is doing.

use super::ioctl::{FLAGS as IOCTL_FLAGS, REQUESTS};
use super::options::{LEVELS, OPTIONS, number_on};
use super::state::{Counters, Phase, Side, Socket, Traffic, find, seen, sockets};
use libc::c_int;
use parking_lot::Mutex;
use std::ffi::{CStr, c_char};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom, map};

fn named(name: &str) -> Term {
    Term::atom(Atom::new(name))
}

/// Flags of messages, by name; 0 where the system has none.
const MESSAGE_FLAGS: [(&str, c_int); 11] = [
    ("cmsg_cloexec", libc::MSG_CMSG_CLOEXEC),
    ("confirm", libc::MSG_CONFIRM),
    ("ctrunc", libc::MSG_CTRUNC),
    ("dontroute", libc::MSG_DONTROUTE),
    ("eor", libc::MSG_EOR),
    ("errqueue", libc::MSG_ERRQUEUE),
    ("more", libc::MSG_MORE),
    ("nosignal", libc::MSG_NOSIGNAL),
    ("oob", libc::MSG_OOB),
    ("peek", libc::MSG_PEEK),
    ("trunc", libc::MSG_TRUNC),
];

#[bif("prim_socket:nif_supports/0")]
fn supports(p: &mut Process) -> BifResult {
    let names = ["sctp", "ipv6", "local", "netns", "sendfile"];
    let pairs: Vec<Term> =
        names.iter().map(|name| p.tuple(&[named(name), Term::bool(*name != "sctp")])).collect();
    Ok(p.list(&pairs))
}

#[bif("prim_socket:nif_supports/1")]
fn supports_what(p: &mut Process, what: Term) -> BifResult {
    match what.as_atom().map(Atom::name) {
        Some("protocols") => protocols(p),
        Some("options") => options(p),
        Some("msg_flags") => {
            numbers(p, MESSAGE_FLAGS.iter().map(|&(name, number)| (name, i64::from(number))))
        }
        Some("ioctl_requests") => {
            let is_new = |name: &str| matches!(name, "nread" | "atmark");
            let release = p.vm.release();
            let requests =
                REQUESTS.iter().filter(|(name, _)| release >= Release::R26 || !is_new(name));
            numbers(p, requests.map(|&(name, number)| (name, number as i64)))
        }
        Some("ioctl_flags") => {
            numbers(p, IOCTL_FLAGS.iter().map(|&(name, number)| (name, i64::from(number))))
        }
        _ => Ok(Term::NIL),
    }
}

fn numbers<'a>(p: &mut Process, pairs: impl Iterator<Item = (&'a str, i64)>) -> BifResult {
    let pairs: Vec<Term> =
        pairs.map(|(name, number)| p.tuple(&[named(name), Term::small(number)])).collect();
    Ok(p.list(&pairs))
}

/// Protocols that are known without a file of the system's; those of the file count where both have
/// one.
const PROTOCOLS_BY_DEFAULT: [(&str, c_int); 7] = [
    ("ip", libc::IPPROTO_IP),
    ("ipv6", libc::IPPROTO_IPV6),
    ("tcp", libc::IPPROTO_TCP),
    ("udp", libc::IPPROTO_UDP),
    ("sctp", libc::IPPROTO_SCTP),
    ("igmp", libc::IPPROTO_IGMP),
    ("mptcp", libc::IPPROTO_MPTCP),
];

/// `{[Name, …], Number}`, the first last: of several with one number, the last of this list counts.
fn protocols(p: &mut Process) -> BifResult {
    let mut pairs = Vec::new();
    for (names, number) in system_protocols() {
        let names: Vec<Term> = names.iter().map(|name| named(name)).collect();
        let names = p.list(&names);
        pairs.push(p.tuple(&[names, Term::small(number)]));
    }
    let knows_mptcp = p.vm.release() >= Release::R29;
    for (name, number) in
        PROTOCOLS_BY_DEFAULT.iter().filter(|(name, _)| *name != "mptcp" || knows_mptcp)
    {
        let names = p.list(&[named(name)]);
        pairs.push(p.tuple(&[names, Term::small((*number).into())]));
    }
    pairs.reverse();
    Ok(p.list(&pairs))
}

/// `struct protoent`.
#[repr(C)]
struct ProtocolEntry {
    name: *const c_char,
    aliases: *const *const c_char,
    number: c_int,
}

unsafe extern "C" {
    fn setprotoent(stays_open: c_int);
    fn getprotoent() -> *const ProtocolEntry;
    fn endprotoent();
}

/// The system answers in memory of its own.
static PROTOCOLS: Mutex<()> = Mutex::new(());

fn system_protocols() -> Vec<(Vec<String>, i64)> {
    let _guard = PROTOCOLS.lock();
    let mut found = Vec::new();
    // SAFETY: what is returned is read under the lock, before the next is asked for. Names are
    // strings, and a null address ends the aliases.
    unsafe {
        let text = |name: *const c_char| CStr::from_ptr(name).to_string_lossy().into_owned();
        setprotoent(1);
        while let Some(entry) = getprotoent().as_ref() {
            let mut names = vec![text(entry.name)];
            let mut alias = entry.aliases;
            while !(*alias).is_null() {
                // OTP has the last alias first.
                names.insert(1, text(*alias));
                alias = alias.add(1);
            }
            found.push((names, entry.number.into()));
        }
        endprotoent();
    }
    found
}

/// The options of each level: `{Level, [Name | {Name, Number}]}`, since OTP 29 `{Level, Number,
/// …}`.
fn options(p: &mut Process) -> BifResult {
    let release = p.vm.release();
    let mut levels = Vec::new();
    for (level, name) in LEVELS {
        let of_level =
            OPTIONS.iter().filter(|known| known.level == level && release >= known.listed_since);
        let mut items = Vec::new();
        for known in of_level {
            let option = named(known.name);
            items.push(match number_on(known, release) {
                Some(number) => p.tuple(&[option, Term::small(number.into())]),
                None => option,
            });
        }
        let items = p.list(&items);
        let number = Term::small(level.into());
        let is_socket = level == libc::SOL_SOCKET;
        levels.push(match () {
            () if release >= Release::R29 => p.tuple(&[named(name), number, items]),
            () if is_socket => p.tuple(&[named(name), items]),
            () => p.tuple(&[number, items]),
        });
    }
    Ok(p.list(&levels))
}

/// The machine's settings for sockets.
#[derive(Default)]
struct Settings(Mutex<Switches>);

#[derive(Default)]
struct Switches {
    debug: bool,
    socket_debug: bool,
    no_registry: bool,
}

#[bif("prim_socket:nif_command/1")]
fn command(p: &mut Process, command: Term) -> BifResult {
    if !command.is_map() {
        return Err(BifExit::BADARG);
    }
    let item = |name: Atom| map::get(command, Term::atom(name));
    let name = item(atom!("command")).and_then(Term::as_atom).ok_or(BifExit::BADARG)?;
    let on = item(atom!("data")).and_then(Term::as_bool).ok_or(BifExit::BADARG)?;
    let mut switches = p.vm.extension::<Settings>().0.lock();
    match name.name() {
        "debug" => switches.debug = on,
        "socket_debug" => switches.socket_debug = on,
        "use_registry" => switches.no_registry = !on,
        _ => return Err(BifExit::BADARG),
    }
    Ok(Term::atom(am::OK))
}

/// Whether new sockets are known to the registry.
pub fn use_registry(p: &Process) -> bool {
    !p.vm.extension::<Settings>().0.lock().no_registry
}

#[bif("prim_socket:nif_info/0")]
fn info(p: &mut Process) -> BifResult {
    let open = |wanted: &dyn Fn(&Socket) -> bool| {
        Term::small(
            sockets(p).count(|socket| socket.lock().phase == Phase::Open && wanted(socket)) as i64
        )
    };
    let domain = |number| open(&move |socket| socket.domain == number);
    let kind = |number| open(&move |socket| socket.kind == number);
    let protocol = |number| open(&move |socket| socket.protocol == number);
    let counters = [
        (named("num_cnt_bits"), Term::small(64)),
        (named("num_sockets"), open(&|_| true)),
        (named("num_dinet"), domain(libc::AF_INET)),
        (named("num_dinet6"), domain(libc::AF_INET6)),
        (named("num_dlocal"), domain(libc::AF_UNIX)),
        (named("num_tstreams"), kind(libc::SOCK_STREAM)),
        (named("num_tdgrams"), kind(libc::SOCK_DGRAM)),
        (named("num_tseqpkgs"), kind(libc::SOCK_SEQPACKET)),
        (named("num_pip"), protocol(libc::IPPROTO_IP)),
        (named("num_psctp"), protocol(132)),
        (named("num_ptcp"), protocol(libc::IPPROTO_TCP)),
        (named("num_pudp"), protocol(libc::IPPROTO_UDP)),
    ];
    let counters = map::from_pairs(p, &counters);
    let (debug, socket_debug, registry) = {
        let switches = p.vm.extension::<Settings>().0.lock();
        (switches.debug, switches.socket_debug, !switches.no_registry)
    };
    let mut pairs = vec![
        (named("counters"), counters),
        (named("debug"), Term::bool(debug)),
        (named("socket_debug"), Term::bool(socket_debug)),
        (named("use_registry"), Term::bool(registry)),
        (named("iow"), Term::bool(false)),
        (named("iov_max"), Term::small(super::transfer::SLICES_MAX as i64)),
    ];
    if p.vm.release() >= Release::R26 {
        let backend = map::from_pairs(p, &[(named("name"), named("unix_essio"))]);
        pairs.push((named("io_backend"), backend));
        pairs.push((named("eei"), Term::bool(true)));
    }
    Ok(map::from_pairs(p, &pairs))
}

fn counters_term(p: &mut Process, counters: &Counters) -> Term {
    let mut pairs = Vec::new();
    let mut add = |p: &mut Process, name: &str, value: u64| {
        let value = p.uint(value);
        pairs.push((named(name), value));
    };
    let mut sides: Vec<(&str, Traffic)> =
        vec![("read", counters.read), ("write", counters.written)];
    sides.extend(counters.sendfile.map(|traffic| ("sendfile", traffic)));
    for (side, traffic) in sides {
        let items = [
            ("byte", traffic.bytes),
            ("fails", traffic.fails),
            ("pkg", traffic.packets),
            ("pkg_max", traffic.packet_max),
            ("tries", traffic.tries),
            ("waits", traffic.waits),
        ];
        for (item, value) in items {
            add(p, &format!("{side}_{item}"), value);
        }
    }
    add(p, "acc_success", counters.accept_success);
    add(p, "acc_fails", counters.accept_fails);
    add(p, "acc_tries", counters.accept_tries);
    add(p, "acc_waits", counters.accept_waits);
    map::from_pairs(p, &pairs)
}

const STATES: [(u32, &str); 8] = [
    (seen::BOUND, "bound"),
    (seen::LISTENING, "listening"),
    (seen::ACCEPTING, "accepting"),
    (seen::CONNECTING, "connecting"),
    (seen::CONNECTED, "connected"),
    (seen::SELECTED, "selected"),
    (seen::CLOSING, "closing"),
    (seen::CLOSED, "closed"),
];

fn states(p: &mut Process, bits: u32) -> Term {
    let names: Vec<Term> =
        STATES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| named(name)).collect();
    p.list(&names)
}

#[bif("prim_socket:nif_info/1")]
fn info_of(p: &mut Process, socket: Term) -> BifResult {
    let found = find(p, socket)?;
    let state = found.lock();
    let (counters, read_seen, write_seen) = (state.counters, state.read_seen, state.write_seen);
    let waiting = |side| Term::small(state.waiting_on(side) as i64);
    let (readers, writers, acceptors) =
        (waiting(Side::Read), waiting(Side::Write), waiting(Side::Accept));
    let accepting = if state.waiting_on(Side::Accept) > 0 { seen::ACCEPTING } else { 0 };
    let owner = state.owner.map_or(Term::atom(am::UNDEFINED), |(pid, _)| Term::pid(pid));
    drop(state);
    let pairs = [
        (named("counters"), counters_term(p, &counters)),
        (named("ctype"), named("normal")),
        (named("domain"), super::address::domain_term(found.domain)),
        (named("type"), super::address::kind_term(found.kind)),
        (named("protocol"), Term::small(found.protocol.into())),
        (named("num_acceptors"), acceptors),
        (named("num_readers"), readers),
        (named("num_writers"), writers),
        (named("owner"), owner),
        (named("rstates"), states(p, read_seen | accepting)),
        (named("wstates"), states(p, write_seen)),
    ];
    Ok(map::from_pairs(p, &pairs))
}
