//! `prim_net`: names and addresses of hosts, and the interfaces of the machine, as `net` asks for
//! them.

use super::address::{Address, domain_term, kind_term};
use super::ioctl::flag_names;
use super::state::{Done, Fail};
use super::{answer, integer, ok};
use libc::c_int;
use std::ffi::{CStr, CString};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Release, Term, am, atom, map};

fn key(name: Atom) -> Term {
    Term::atom(name)
}

#[bif("prim_net:nif_info/0")]
fn info(p: &mut Process) -> BifResult {
    Ok(map::from_pairs(p, &[(key(atom!("debug")), Term::bool(false))]))
}

#[bif("prim_net:nif_command/1")]
fn command(_p: &mut Process, command: Term) -> BifResult {
    if command.is_map() { Ok(Term::atom(am::OK)) } else { Err(BifExit::BADARG) }
}

#[bif("prim_net:nif_gethostname/0")]
fn gethostname(p: &mut Process) -> BifResult {
    let done = match crate::inet::interfaces::host_name() {
        Ok(name) => {
            let name = p.byte_list(&name, Term::NIL);
            ok(p, name)
        }
        Err(error) => Err(error.into()),
    };
    answer(p, done)
}

/// Codes of the resolver, and OTP's names for them.
const PROBLEMS: [(c_int, &str); 9] = [
    (libc::EAI_AGAIN, "eagain"),
    (libc::EAI_BADFLAGS, "ebadflags"),
    (libc::EAI_FAIL, "efail"),
    (libc::EAI_FAMILY, "efamily"),
    (libc::EAI_MEMORY, "emem"),
    (libc::EAI_NODATA, "enodata"),
    (libc::EAI_NONAME, "enoname"),
    (libc::EAI_SERVICE, "eservice"),
    (libc::EAI_SOCKTYPE, "esocktype"),
];

/// What a call of the resolver has answered, if it was no error.
fn resolved(code: c_int) -> Result<(), Fail> {
    match code {
        0 => Ok(()),
        libc::EAI_SYSTEM => Err(Fail::last()),
        code => {
            let name = PROBLEMS
                .iter()
                .find(|&&(known, _)| known == code)
                .map_or("eunknown", |&(_, name)| name);
            Err(Fail::Reason(Atom::new(name)))
        }
    }
}

/// Text of characters that are bytes; `undefined` is none.
fn optional_text(term: Term) -> Result<Option<CString>, Fail> {
    if term == Term::atom(am::UNDEFINED) {
        return Ok(None);
    }
    let items = term.list_to_vec().ok_or(Fail::BADARG)?;
    let bytes = items.into_iter().map(integer).collect::<Result<Vec<u8>, Fail>>()?;
    CString::new(bytes).map(Some).map_err(|_| Fail::BADARG)
}

const NAME_FLAGS: [(&str, c_int); 5] = [
    ("namereqd", libc::NI_NAMEREQD),
    ("dgram", libc::NI_DGRAM),
    ("nofqdn", libc::NI_NOFQDN),
    ("numerichost", libc::NI_NUMERICHOST),
    ("numericserv", libc::NI_NUMERICSERV),
];

#[bif("prim_net:nif_getnameinfo/2", dirty_io)]
fn getnameinfo(p: &mut Process, address: Term, flags: Term) -> BifResult {
    let done = names_of(p, address, flags);
    answer(p, done)
}

fn names_of(p: &mut Process, address: Term, flags: Term) -> Done {
    let address = Address::from_term(address).ok_or(Fail::Reason(atom!("einval")))?;
    let mut bits = 0;
    if flags != Term::atom(am::UNDEFINED) {
        for flag in flags.list_to_vec().ok_or(Fail::BADARG)? {
            let name = flag.as_atom().ok_or(Fail::BADARG)?;
            bits |=
                NAME_FLAGS.iter().find(|(known, _)| *known == name.name()).ok_or(Fail::BADARG)?.1;
        }
    }
    let (mut host, mut service) = ([0 as libc::c_char; 1025], [0 as libc::c_char; 256]);
    // SAFETY: there is as much room as is said.
    resolved(unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.length,
            host.as_mut_ptr(),
            host.len() as libc::socklen_t,
            service.as_mut_ptr(),
            service.len() as libc::socklen_t,
            bits,
        )
    })?;
    let text = |p: &mut Process, room: &[libc::c_char]| {
        let bytes: Vec<u8> =
            room.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
        p.byte_list(&bytes, Term::NIL)
    };
    let (host, service) = (text(p, &host), text(p, &service));
    let names = map::from_pairs(p, &[(key(atom!("host")), host), (key(atom!("service")), service)]);
    ok(p, names)
}

#[bif("prim_net:nif_getaddrinfo/3", dirty_io)]
fn getaddrinfo(p: &mut Process, host: Term, service: Term, _hints: Term) -> BifResult {
    let done = addresses_of(p, host, service);
    answer(p, done)
}

fn addresses_of(p: &mut Process, host: Term, service: Term) -> Done {
    let (host, service) = (optional_text(host)?, optional_text(service)?);
    let text =
        |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    let mut list = std::ptr::null_mut();
    // SAFETY: both are strings or null; the list is given back below.
    resolved(unsafe {
        libc::getaddrinfo(text(&host), text(&service), std::ptr::null(), &raw mut list)
    })?;
    let type_key = if p.vm.release() < Release::R26 { atom!("type") } else { atom!("socktype") };
    let mut items = Vec::new();
    let mut next = list;
    // SAFETY: the entries live until the list is given back.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ai_next;
        // SAFETY: addresses are as long as their families say.
        let Some(address) = (unsafe { Address::copied(entry.ai_addr) }) else { continue };
        let address = address.to_term(p);
        let pairs = [
            (key(atom!("family")), domain_term(entry.ai_family)),
            (key(type_key), kind_term(entry.ai_socktype)),
            (key(atom!("protocol")), Term::small(entry.ai_protocol.into())),
            (key(atom!("addr")), address),
        ];
        items.push(map::from_pairs(p, &pairs));
    }
    // SAFETY: it came from `getaddrinfo`, and no entry is used any more.
    unsafe { libc::freeaddrinfo(list) };
    let items = p.list(&items);
    ok(p, items)
}

/// Bytes of the name of a service or protocol at most.
const SERVICE_NAME_BYTES_MAX: usize = 255;

/// The name of a service or protocol: anything else is no name that could be known.
fn service_text(term: Term) -> Result<CString, Fail> {
    optional_text(term)
        .ok()
        .flatten()
        .filter(|text| text.count_bytes() <= SERVICE_NAME_BYTES_MAX)
        .ok_or(Fail::System(libc::EINVAL))
}

/// The name of a protocol; `None` for the text `any`.
fn service_protocol(term: Term) -> Result<Option<CString>, Fail> {
    service_text(term).map(|text| (text.as_bytes() != b"any").then_some(text))
}

#[bif("prim_net:nif_getservbyname/2", since = 27, dirty_io)]
fn getservbyname(p: &mut Process, name: Term, protocol: Term) -> BifResult {
    let done = port_of_service(p, name, protocol);
    answer(p, done)
}

fn port_of_service(p: &mut Process, name: Term, protocol: Term) -> Done {
    let (name, protocol) = (service_text(name)?, service_protocol(protocol)?);
    let port = crate::inet::interfaces::service_port(&name, protocol.as_deref())
        .ok_or(Fail::System(libc::EINVAL))?;
    ok(p, Term::small(port.into()))
}

#[bif("prim_net:nif_getservbyport/2", since = 27, dirty_io)]
fn getservbyport(p: &mut Process, port: Term, protocol: Term) -> BifResult {
    let done = service_at_port(p, port, protocol);
    answer(p, done)
}

/// Only the lowest 16 bits of the number count.
fn service_at_port(p: &mut Process, port: Term, protocol: Term) -> Done {
    let unknown = Fail::System(libc::EINVAL);
    let Ok(port) = integer::<u32>(port) else { return Err(unknown) };
    let protocol = service_protocol(protocol)?;
    let Some(name) = crate::inet::interfaces::service_name(port as u16, protocol.as_deref()) else {
        return Err(unknown);
    };
    let name = p.byte_list(&name, Term::NIL);
    ok(p, name)
}

#[bif("prim_net:nif_getifaddrs/1", dirty_cpu)]
fn getifaddrs(p: &mut Process, options: Term) -> BifResult {
    let namespace = options.is_map().then(|| map::get(options, key(atom!("netns")))).flatten();
    let done = match namespace {
        Some(path) => super::calls::in_namespace(path, || interfaces(p)),
        None => interfaces(p),
    };
    answer(p, done)
}

/// The flags that fit in the 16 bits of the system's first interface.
const FLAGS_SHOWN: c_int = 0xffff;

fn interfaces(p: &mut Process) -> Done {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is given back below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(Fail::last());
    }
    let shows_packets = p.vm.release() >= Release::R26;
    let mut items = Vec::new();
    let mut next = list;
    // SAFETY: the entries live until the list is given back.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: addresses are as long as their families say.
        let [address, mask, other] = unsafe {
            [entry.ifa_addr, entry.ifa_netmask, entry.ifa_ifu]
                .map(|address| Address::copied(address))
        };
        let Some(address) =
            address.filter(|address| shows_packets || address.family() != libc::AF_PACKET)
        else {
            continue;
        };
        // SAFETY: names are strings.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_bytes().to_vec();
        let flags = entry.ifa_flags.cast_signed();
        let name = p.byte_list(&name, Term::NIL);
        let mut pairs = vec![
            (key(atom!("name")), name),
            (key(atom!("flags")), flag_names(p, flags & FLAGS_SHOWN)),
            (key(atom!("addr")), address.to_term(p)),
        ];
        if let Some(mask) = mask {
            pairs.push((key(atom!("netmask")), mask.to_term(p)));
        }
        let other_key = match () {
            () if flags & libc::IFF_BROADCAST != 0 => Some(atom!("broadaddr")),
            () if flags & libc::IFF_POINTOPOINT != 0 => Some(atom!("dstaddr")),
            () => None,
        };
        if let (Some(name), Some(other)) = (other_key, other) {
            pairs.push((key(name), other.to_term(p)));
        }
        items.push(map::from_pairs(p, &pairs));
    }
    // SAFETY: it came from `getifaddrs`, and no entry is used any more.
    unsafe { libc::freeifaddrs(list) };
    let items = p.list(&items);
    ok(p, items)
}

#[bif("prim_net:nif_if_name2index/1")]
fn if_name2index(p: &mut Process, name: Term) -> BifResult {
    let done = match optional_text(name) {
        // SAFETY: a string.
        Ok(Some(name)) => match unsafe { libc::if_nametoindex(name.as_ptr()) } {
            0 => Err(Fail::last()),
            index => ok(p, Term::small(index.into())),
        },
        Ok(None) => Err(Fail::BADARG),
        Err(fail) => Err(fail),
    };
    answer(p, done)
}

#[bif("prim_net:nif_if_index2name/1")]
fn if_index2name(p: &mut Process, index: Term) -> BifResult {
    let done = name_of(p, index);
    answer(p, done)
}

fn name_of(p: &mut Process, index: Term) -> Done {
    let mut room = [0 as libc::c_char; libc::IFNAMSIZ];
    // SAFETY: there is room for any name.
    let name = unsafe { libc::if_indextoname(integer(index)?, room.as_mut_ptr()) };
    if name.is_null() {
        return Err(Fail::last());
    }
    let name: Vec<u8> = room.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    let name = p.byte_list(&name, Term::NIL);
    ok(p, name)
}

#[bif("prim_net:nif_if_names/0")]
fn if_names(p: &mut Process) -> BifResult {
    // SAFETY: the list is given back below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return answer(p, Err(Fail::last()));
    }
    let mut items = Vec::new();
    let mut next = list;
    // SAFETY: an entry without an index ends the list, whose names are strings.
    while let Some(entry) = unsafe { next.as_ref() }.filter(|entry| entry.if_index != 0) {
        // SAFETY: the name of an entry is a string.
        let name = unsafe { CStr::from_ptr(entry.if_name) }.to_bytes();
        let name = p.byte_list(name, Term::NIL);
        items.push(p.tuple(&[Term::small(entry.if_index.into()), name]));
        // SAFETY: another entry follows one that has an index.
        next = unsafe { next.add(1) };
    }
    // SAFETY: it came from `if_nameindex`, and no entry is used any more.
    unsafe { libc::if_freenameindex(list) };
    let items = p.list(&items);
    let done = ok(p, items);
    answer(p, done)
}
