//! Addresses: the maps of `socket`, and what the system has.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
    sockaddr_un, socklen_t,
};
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use swarmrt_term::{Alloc, Atom, Term, am, atom, map};

/// An address of any family.
#[derive(Clone, Copy)]
pub struct Address {
    storage: sockaddr_storage,
    pub length: socklen_t,
}

impl Address {
    /// Room for what the system answers.
    pub fn room() -> Address {
        // SAFETY: zeros are a storage of no family.
        let storage = unsafe { std::mem::zeroed() };
        Address { storage, length: size_of::<sockaddr_storage>() as socklen_t }
    }
    /// A copy of an address of the system. `None` when it is null or of another family than IPv4,
    /// IPv6 and packets.
    ///
    /// # Safety
    /// `address` is null or as long as its family says.
    pub unsafe fn copied(address: *const sockaddr) -> Option<Address> {
        // SAFETY: the caller's.
        let family = i32::from(unsafe { address.as_ref()? }.sa_family);
        let length = match family {
            AF_INET => size_of::<sockaddr_in>(),
            AF_INET6 => size_of::<sockaddr_in6>(),
            libc::AF_PACKET => size_of::<libc::sockaddr_ll>(),
            _ => return None,
        };
        let mut copy = Address::room();
        // SAFETY: a storage has room for any address.
        unsafe { copy.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(address.cast(), length) };
        copy.length = length as socklen_t;
        Some(copy)
    }
    /// An address that the system has written among other bytes; `None` as in
    /// [`copied`](Self::copied).
    pub fn from_bytes(bytes: &[u8]) -> Option<Address> {
        let mut room = Address::room();
        let bytes = bytes.get(..size_of::<sockaddr_storage>()).unwrap_or(bytes);
        // SAFETY: a storage has room for so many bytes, and the rest of it are zeros: any address
        // is in it as a whole.
        unsafe {
            room.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Address::copied(room.as_ptr())
        }
    }
    /// For calls that read an address of [`length`](Self::length) bytes.
    pub fn as_ptr(&self) -> *const sockaddr {
        (&raw const self.storage).cast()
    }
    /// For calls that write an address; the room is that of a `sockaddr_storage`.
    pub fn as_mut_ptr(&mut self) -> *mut sockaddr {
        (&raw mut self.storage).cast()
    }
    /// `AF_…`; `AF_UNSPEC` for an address without bytes.
    pub fn family(&self) -> i32 {
        if self.length == 0 { AF_UNSPEC } else { self.storage.ss_family.into() }
    }
    fn put<T>(&mut self, value: T, length: usize) {
        debug_assert!(size_of::<T>() <= size_of::<sockaddr_storage>());
        // SAFETY: a storage has room for any address, and is aligned for it.
        unsafe { self.as_mut_ptr().cast::<T>().write(value) };
        self.length = length as socklen_t;
    }
    /// The bytes behind the family.
    fn bytes(&self) -> &[u8] {
        let behind = (self.length as usize).clamp(2, size_of::<sockaddr_storage>()) - 2;
        // SAFETY: the storage is so long.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast::<u8>().add(2), behind) }
    }
    fn put_bytes(&mut self, family: u16, bytes: &[u8]) -> Option<()> {
        if bytes.len() > size_of::<sockaddr_storage>() - 2 {
            return None;
        }
        self.storage.ss_family = family;
        // SAFETY: they fit.
        unsafe {
            self.as_mut_ptr()
                .cast::<u8>()
                .add(2)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        };
        self.length = (2 + bytes.len()) as socklen_t;
        Some(())
    }

    /// Reads a map of `socket`, complete with its defaults. `None` when it is not one.
    pub fn from_term(term: Term) -> Option<Address> {
        let item = |name: Atom| map::get(term, Term::atom(name));
        if !term.is_map() {
            return None;
        }
        let family = item(atom!("family"))?;
        let port = || u16::try_from(item(atom!("port"))?.as_small()?).ok();
        let mut address = Address::room();
        let Some(name) = family.as_atom() else {
            let bits = item(atom!("addr"))?.as_bits().filter(|bits| bits.is_binary())?;
            address.put_bytes(u16::try_from(family.as_small()?).ok()?, &bits.to_bytes())?;
            return Some(address);
        };
        match name.name() {
            "inet" => {
                let ip = v4(item(atom!("addr"))?)?;
                let value = sockaddr_in {
                    sin_family: AF_INET as u16,
                    sin_port: port()?.to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                address.put(value, size_of::<sockaddr_in>());
            }
            "inet6" => {
                let number = |name| u32::try_from(item(name)?.as_small()?).ok();
                let value = sockaddr_in6 {
                    sin6_family: AF_INET6 as u16,
                    sin6_port: port()?.to_be(),
                    sin6_flowinfo: number(atom!("flowinfo"))?,
                    sin6_addr: libc::in6_addr { s6_addr: v6(item(atom!("addr"))?)?.octets() },
                    sin6_scope_id: number(atom!("scope_id"))?,
                };
                address.put(value, size_of::<sockaddr_in6>());
            }
            "local" => {
                let bits = item(atom!("path"))?.as_bits().filter(|bits| bits.is_binary())?;
                let path = bits.to_bytes();
                let room = size_of::<sockaddr_un>() - offset_of!(sockaddr_un, sun_path);
                if path.len() >= room {
                    return None;
                }
                let mut path = path.into_owned();
                // A name that begins with a zero byte is no path, and needs none at its end.
                if path.first().is_some_and(|&first| first != 0) {
                    path.push(0);
                }
                address.put_bytes(AF_UNIX as u16, &path)?;
            }
            "unspec" => {
                let bits = item(atom!("addr"))?.as_bits().filter(|bits| bits.is_binary())?;
                address.put_bytes(AF_UNSPEC as u16, &bits.to_bytes())?;
            }
            _ => return None,
        }
        Some(address)
    }

    /// The map of `socket` for the address. One of an unknown family has its number, and its bytes
    /// as `addr`.
    #[allow(clippy::wrong_self_convention, reason = "an address is large, though it may be copied")]
    pub fn to_term<A: Alloc + ?Sized>(&self, to: &mut A) -> Term {
        let key = |name: Atom| Term::atom(name);
        match self.family() {
            AF_INET => {
                // SAFETY: the family says so.
                let value = unsafe { *self.as_ptr().cast::<sockaddr_in>() };
                let addr = v4_term(Ipv4Addr::from(value.sin_addr.s_addr.to_ne_bytes()), to);
                let port = Term::small(u16::from_be(value.sin_port).into());
                map::from_pairs(
                    to,
                    &[
                        (key(atom!("family")), key(atom!("inet"))),
                        (key(atom!("port")), port),
                        (key(atom!("addr")), addr),
                    ],
                )
            }
            AF_INET6 => {
                // SAFETY: the family says that it is an address of IPv6.
                let value = unsafe { *self.as_ptr().cast::<sockaddr_in6>() };
                let addr = v6_term(Ipv6Addr::from(value.sin6_addr.s6_addr), to);
                let pairs = [
                    (key(atom!("family")), key(atom!("inet6"))),
                    (key(atom!("port")), Term::small(u16::from_be(value.sin6_port).into())),
                    (key(atom!("addr")), addr),
                    (key(atom!("flowinfo")), Term::small(value.sin6_flowinfo.into())),
                    (key(atom!("scope_id")), Term::small(value.sin6_scope_id.into())),
                ];
                map::from_pairs(to, &pairs)
            }
            AF_UNIX => {
                let bytes = self.bytes();
                let is_path = bytes.first().is_some_and(|&first| first != 0);
                let length = if is_path {
                    bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len())
                } else {
                    bytes.len()
                };
                let path = to.binary(&bytes[..length]);
                map::from_pairs(
                    to,
                    &[(key(atom!("family")), key(atom!("local"))), (key(atom!("path")), path)],
                )
            }
            libc::AF_PACKET => {
                // SAFETY: the family says that it is an address of a link.
                let value = unsafe { *self.as_ptr().cast::<libc::sockaddr_ll>() };
                let addr = to.binary(&value.sll_addr[..usize::from(value.sll_halen).min(8)]);
                let named = |names: &[(&str, u16)], number: u16| match names
                    .iter()
                    .find(|&&(_, known)| known == number)
                {
                    Some((name, _)) => Term::atom(Atom::new(name)),
                    None => Term::small(number.into()),
                };
                let pairs = [
                    (key(atom!("family")), key(atom!("packet"))),
                    (key(atom!("protocol")), Term::small(u16::from_be(value.sll_protocol).into())),
                    (key(atom!("ifindex")), Term::small(value.sll_ifindex.into())),
                    (key(atom!("hatype")), named(&HARDWARE, value.sll_hatype)),
                    (key(atom!("pkttype")), named(&PACKETS, value.sll_pkttype.into())),
                    (key(atom!("addr")), addr),
                ];
                map::from_pairs(to, &pairs)
            }
            family => {
                let addr = to.binary(self.bytes());
                let family = if family == AF_UNSPEC {
                    key(atom!("unspec"))
                } else {
                    Term::small(family.into())
                };
                map::from_pairs(to, &[(key(atom!("family")), family), (key(atom!("addr")), addr)])
            }
        }
    }
}

/// Kinds of hardware and of packets that have names.
const HARDWARE: [(&str, u16); 18] = [
    ("netrom", libc::ARPHRD_NETROM),
    ("ether", libc::ARPHRD_ETHER),
    ("eether", libc::ARPHRD_EETHER),
    ("ax25", libc::ARPHRD_AX25),
    ("pronet", libc::ARPHRD_PRONET),
    ("chaos", libc::ARPHRD_CHAOS),
    ("ieee802", libc::ARPHRD_IEEE802),
    ("arcnet", libc::ARPHRD_ARCNET),
    ("dlci", libc::ARPHRD_DLCI),
    ("atm", libc::ARPHRD_ATM),
    ("metricom", libc::ARPHRD_METRICOM),
    ("ieee1394", libc::ARPHRD_IEEE1394),
    ("eui64", libc::ARPHRD_EUI64),
    ("infiniband", libc::ARPHRD_INFINIBAND),
    ("tunnel", libc::ARPHRD_TUNNEL),
    ("tunnel6", libc::ARPHRD_TUNNEL6),
    ("loopback", libc::ARPHRD_LOOPBACK),
    ("localtlk", libc::ARPHRD_LOCALTLK),
];
const PACKETS: [(&str, u16); 5] =
    [("host", 0), ("broadcast", 1), ("multicast", 2), ("otherhost", 3), ("outgoing", 4)];

/// An IPv4 address: a tuple, or a name for one.
pub fn v4(term: Term) -> Option<Ipv4Addr> {
    if let Some(name) = term.as_atom() {
        return match name.name() {
            "any" => Some(Ipv4Addr::UNSPECIFIED),
            "loopback" => Some(Ipv4Addr::LOCALHOST),
            "broadcast" => Some(Ipv4Addr::BROADCAST),
            _ => None,
        };
    }
    let tuple = term.as_tuple().filter(|tuple| tuple.arity() == 4)?;
    let mut octets = [0; 4];
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::try_from(tuple.get(at).as_small()?).ok()?;
    }
    Some(octets.into())
}

/// An IPv6 address: a tuple, or a name for one.
pub fn v6(term: Term) -> Option<Ipv6Addr> {
    if let Some(name) = term.as_atom() {
        return match name.name() {
            "any" => Some(Ipv6Addr::UNSPECIFIED),
            "loopback" => Some(Ipv6Addr::LOCALHOST),
            _ => None,
        };
    }
    let tuple = term.as_tuple().filter(|tuple| tuple.arity() == 8)?;
    let mut parts = [0; 8];
    for (at, part) in parts.iter_mut().enumerate() {
        *part = u16::try_from(tuple.get(at).as_small()?).ok()?;
    }
    Some(parts.into())
}

/// A tuple of four bytes.
pub fn v4_term<A: Alloc + ?Sized>(ip: Ipv4Addr, to: &mut A) -> Term {
    to.tuple(&ip.octets().map(|octet| Term::small(octet.into())))
}

/// A tuple of eight numbers of 16 bits.
pub fn v6_term<A: Alloc + ?Sized>(ip: Ipv6Addr, to: &mut A) -> Term {
    to.tuple(&ip.segments().map(|part| Term::small(part.into())))
}

/// A domain by its name or the system's number.
pub fn domain(term: Term) -> Option<i32> {
    match term.as_atom() {
        None => i32::try_from(term.as_small()?).ok(),
        Some(name) => match name.name() {
            "inet" => Some(AF_INET),
            "inet6" => Some(AF_INET6),
            "local" => Some(AF_UNIX),
            "unspec" => Some(AF_UNSPEC),
            _ => None,
        },
    }
}

/// The name of a domain (`AF_…`); the number of one without a name.
pub fn domain_term(domain: i32) -> Term {
    match domain {
        AF_INET => Term::atom(atom!("inet")),
        AF_INET6 => Term::atom(atom!("inet6")),
        AF_UNIX => Term::atom(atom!("local")),
        AF_UNSPEC => Term::atom(atom!("unspec")),
        other => Term::small(other.into()),
    }
}

const TYPES: [(&str, i32); 5] = [
    ("stream", libc::SOCK_STREAM),
    ("dgram", libc::SOCK_DGRAM),
    ("raw", libc::SOCK_RAW),
    ("rdm", libc::SOCK_RDM),
    ("seqpacket", libc::SOCK_SEQPACKET),
];

/// A type by its name or the system's number.
pub fn kind(term: Term) -> Option<i32> {
    match term.as_atom() {
        None => i32::try_from(term.as_small()?).ok(),
        Some(name) => {
            TYPES.iter().find(|(known, _)| *known == name.name()).map(|&(_, number)| number)
        }
    }
}

/// The name of a type (`SOCK_…`); `undefined` for 0, the number of one without a name.
pub fn kind_term(kind: i32) -> Term {
    match TYPES.iter().find(|&&(_, number)| number == kind) {
        Some((name, _)) => Term::atom(Atom::new(name)),
        None if kind == 0 => Term::atom(am::UNDEFINED),
        None => Term::small(kind.into()),
    }
}
