//! Requests about the interfaces of the machine, and about what waits in a socket.

use super::address::Address;
use super::state::{Done, Fail, check, find};
use super::{answer, integer, ok};
use libc::{c_int, c_ulong, ifreq};
use swarmrt_machine::{BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Term, am, atom, map};

/// Requests, by OTP's names.
pub const REQUESTS: [(&str, c_ulong); 20] = [
    ("gifconf", libc::SIOCGIFCONF),
    ("gifname", libc::SIOCGIFNAME),
    ("gifindex", libc::SIOCGIFINDEX),
    ("gifaddr", libc::SIOCGIFADDR),
    ("gifdstaddr", libc::SIOCGIFDSTADDR),
    ("gifbrdaddr", libc::SIOCGIFBRDADDR),
    ("gifnetmask", libc::SIOCGIFNETMASK),
    ("gifhwaddr", libc::SIOCGIFHWADDR),
    ("gifmtu", libc::SIOCGIFMTU),
    ("gifflags", libc::SIOCGIFFLAGS),
    ("giftxqlen", libc::SIOCGIFTXQLEN),
    ("gifmap", libc::SIOCGIFMAP),
    ("sifflags", libc::SIOCSIFFLAGS),
    ("sifaddr", libc::SIOCSIFADDR),
    ("sifdstaddr", libc::SIOCSIFDSTADDR),
    ("sifbrdaddr", libc::SIOCSIFBRDADDR),
    ("sifmtu", libc::SIOCSIFMTU),
    ("siftxqlen", libc::SIOCSIFTXQLEN),
    ("nread", libc::FIONREAD),
    ("atmark", 0x8905),
];

/// Flags of interfaces; 0 where the system has none.
pub const FLAGS: [(&str, c_int); 32] = [
    ("up", libc::IFF_UP),
    ("broadcast", libc::IFF_BROADCAST),
    ("debug", libc::IFF_DEBUG),
    ("loopback", libc::IFF_LOOPBACK),
    ("pointopoint", libc::IFF_POINTOPOINT),
    ("notrailers", libc::IFF_NOTRAILERS),
    ("running", libc::IFF_RUNNING),
    ("noarp", libc::IFF_NOARP),
    ("promisc", libc::IFF_PROMISC),
    ("allmulti", libc::IFF_ALLMULTI),
    ("master", libc::IFF_MASTER),
    ("slave", libc::IFF_SLAVE),
    ("multicast", libc::IFF_MULTICAST),
    ("portsel", libc::IFF_PORTSEL),
    ("automedia", libc::IFF_AUTOMEDIA),
    ("dynamic", libc::IFF_DYNAMIC),
    ("lower_up", 0x10000),
    ("dormant", 0x20000),
    ("echo", 0x40000),
    ("cantconfig", 0),
    ("dying", 0),
    ("knowsepoch", 0),
    ("link0", 0),
    ("link1", 0),
    ("link2", 0),
    ("monitor", 0),
    ("nogroup", 0),
    ("oactive", 0),
    ("ppromisc", 0),
    ("renaming", 0),
    ("simplex", 0),
    ("staticarp", 0),
];

/// Flags as a list of names.
pub fn flag_names(p: &mut Process, bits: c_int) -> Term {
    let names: Vec<Term> = FLAGS
        .iter()
        .filter(|(_, flag)| *flag != 0 && bits & flag != 0)
        .map(|(name, _)| Term::atom(Atom::new(name)))
        .collect();
    p.list(&names)
}

/// A request about an interface, by its name.
fn about(name: &[u8]) -> Result<ifreq, Fail> {
    // SAFETY: zeros are a request about none.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= libc::IFNAMSIZ {
        return Err(Fail::BADARG);
    }
    for (place, &byte) in request.ifr_name.iter_mut().zip(name) {
        *place = byte as libc::c_char;
    }
    Ok(request)
}

fn text(term: Term) -> Result<Vec<u8>, Fail> {
    if let Some(bits) = term.as_bits().filter(|bits| bits.is_binary()) {
        return Ok(bits.to_bytes().into_owned());
    }
    let items = term.list_to_vec().ok_or(Fail::BADARG)?;
    items.into_iter().map(integer).collect()
}

fn call(fd: c_int, request: c_ulong, data: *mut ifreq) -> Result<c_int, Fail> {
    // SAFETY: the data are what the request wants, and are there during the call.
    check(unsafe { libc::ioctl(fd, request, data) })
}

#[bif("prim_socket:nif_ioctl/2")]
fn plain(p: &mut Process, socket: Term, request: Term) -> BifResult {
    let done = plain_request(p, socket, request);
    answer(p, done)
}

fn plain_request(p: &mut Process, socket: Term, request: Term) -> Done {
    let found = find(p, socket)?;
    let fd = found.open()?.raw();
    match integer::<c_ulong>(request)? {
        libc::SIOCGIFCONF => interfaces(p, fd),
        request @ (libc::FIONREAD | 0x8905) => {
            let mut value: c_int = 0;
            // SAFETY: there is room for the number.
            check(unsafe { libc::ioctl(fd, request, &raw mut value) })?;
            let value = if request == libc::FIONREAD {
                Term::small(value.into())
            } else {
                Term::bool(value != 0)
            };
            ok(p, value)
        }
        _ => Err(Fail::Reason(atom!("enotsup"))),
    }
}

const INTERFACES_MAX: usize = 256;

fn interfaces(p: &mut Process, fd: c_int) -> Done {
    // SAFETY: zeros are requests about none.
    let mut requests: Vec<ifreq> = vec![unsafe { std::mem::zeroed() }; INTERFACES_MAX];
    let mut list = libc::ifconf {
        ifc_len: (size_of::<ifreq>() * INTERFACES_MAX) as c_int,
        ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_req: requests.as_mut_ptr() },
    };
    // SAFETY: there is as much room as the list says.
    check(unsafe { libc::ioctl(fd, libc::SIOCGIFCONF, &raw mut list) })?;
    let count = list.ifc_len as usize / size_of::<ifreq>();
    let mut items = Vec::new();
    for request in &requests[..count] {
        // SAFETY: the answer to this request has addresses.
        let address = unsafe { Address::copied(&raw const request.ifr_ifru.ifru_addr) };
        let name: Vec<u8> =
            request.ifr_name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
        let name = p.byte_list(&name, Term::NIL);
        let address = address.map_or(Term::atom(am::UNDEFINED), |address| address.to_term(p));
        items.push(map::from_pairs(
            p,
            &[(Term::atom(atom!("name")), name), (Term::atom(atom!("addr")), address)],
        ));
    }
    let items = p.list(&items);
    ok(p, items)
}

#[bif("prim_socket:nif_ioctl/3")]
fn about_one(p: &mut Process, socket: Term, request: Term, argument: Term) -> BifResult {
    let done = ask(p, socket, request, argument);
    answer(p, done)
}

fn ask(p: &mut Process, socket: Term, request: Term, argument: Term) -> Done {
    let found = find(p, socket)?;
    let fd = found.open()?.raw();
    let number: c_ulong = integer(request)?;
    if number == libc::SIOCGIFNAME {
        let mut request = about(b"")?;
        request.ifr_ifru.ifru_ifindex = integer(argument)?;
        call(fd, number, &raw mut request)?;
        let name: Vec<u8> =
            request.ifr_name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
        let name = p.byte_list(&name, Term::NIL);
        return ok(p, name);
    }
    let mut request = about(&text(argument)?)?;
    call(fd, number, &raw mut request)?;
    let answered = request.ifr_ifru;
    // SAFETY: each reads what its request has filled.
    let value = unsafe {
        match number {
            libc::SIOCGIFINDEX => Term::small(answered.ifru_ifindex.into()),
            libc::SIOCGIFMTU => Term::small(answered.ifru_mtu.into()),
            libc::SIOCGIFTXQLEN => Term::small(answered.ifru_metric.into()),
            libc::SIOCGIFFLAGS => flag_names(p, answered.ifru_flags.into()),
            libc::SIOCGIFADDR
            | libc::SIOCGIFDSTADDR
            | libc::SIOCGIFBRDADDR
            | libc::SIOCGIFNETMASK => {
                let address = Address::copied(&raw const answered.ifru_addr)
                    .ok_or(Fail::System(libc::EAFNOSUPPORT))?;
                address.to_term(p)
            }
            libc::SIOCGIFHWADDR => {
                let bytes = answered.ifru_hwaddr.sa_data.map(|byte| byte as u8);
                let address = p.binary(&bytes);
                let family = Term::small(answered.ifru_hwaddr.sa_family.into());
                map::from_pairs(
                    p,
                    &[(Term::atom(atom!("family")), family), (Term::atom(atom!("addr")), address)],
                )
            }
            libc::SIOCGIFMAP => {
                let place = answered.ifru_map;
                let (start, end) = (p.uint(place.mem_start), p.uint(place.mem_end));
                let pairs = [
                    (Term::atom(atom!("mem_start")), start),
                    (Term::atom(atom!("mem_end")), end),
                    (Term::atom(atom!("base_addr")), Term::small(place.base_addr.into())),
                    (Term::atom(atom!("irq")), Term::small(place.irq.into())),
                    (Term::atom(atom!("dma")), Term::small(place.dma.into())),
                    (Term::atom(atom!("port")), Term::small(place.port.into())),
                ];
                map::from_pairs(p, &pairs)
            }
            _ => return Err(Fail::Reason(atom!("enotsup"))),
        }
    };
    ok(p, value)
}

#[bif("prim_socket:nif_ioctl/4")]
fn change_one(p: &mut Process, socket: Term, request: Term, name: Term, value: Term) -> BifResult {
    let done = change(p, socket, request, name, value);
    answer(p, done)
}

fn change(p: &mut Process, socket: Term, request: Term, name: Term, value: Term) -> Done {
    let found = find(p, socket)?;
    let fd = found.open()?.raw();
    let number: c_ulong = integer(request)?;
    let mut request = about(&text(name)?)?;
    match number {
        libc::SIOCSIFFLAGS => {
            if !value.is_map() {
                return Err(Fail::BADARG);
            }
            call(fd, libc::SIOCGIFFLAGS, &raw mut request)?;
            // SAFETY: the request before has filled them.
            let mut flags = unsafe { request.ifr_ifru.ifru_flags };
            for (flag, on) in map::iter(value) {
                let flag: libc::c_short = integer(flag)?;
                let on = on.as_bool().ok_or(Fail::BADARG)?;
                flags = if on { flags | flag } else { flags & !flag };
            }
            request.ifr_ifru.ifru_flags = flags;
        }
        libc::SIOCSIFADDR | libc::SIOCSIFDSTADDR | libc::SIOCSIFBRDADDR => {
            let address = Address::from_term(value).ok_or(Fail::BADARG)?;
            // SAFETY: the head of any address is as long as this.
            request.ifr_ifru.ifru_addr = unsafe { *address.as_ptr() };
        }
        libc::SIOCSIFMTU => request.ifr_ifru.ifru_mtu = integer(value)?,
        libc::SIOCSIFTXQLEN => request.ifr_ifru.ifru_metric = integer(value)?,
        _ => return Err(Fail::Reason(atom!("enotsup"))),
    }
    call(fd, number, &raw mut request)?;
    Ok(Term::atom(am::OK))
}
