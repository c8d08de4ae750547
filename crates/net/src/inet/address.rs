//! Addresses, as `prim_inet` writes them: a family, then port and address, or the path of a local
//! socket.

use socket2::{Domain, SockAddr};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use swarmrt_term::{Alloc, Term, atom};

/// Families, by the numbers `INET_AF_…` of OTP's `inet_int.hrl`.
pub mod family {
    /// No family.
    pub const UNSPECIFIED: u8 = 0;
    /// IPv4.
    pub const INET: u8 = 1;
    /// IPv6.
    pub const INET6: u8 = 2;
    /// The address that stands for all, in the socket's family.
    pub const ANY: u8 = 3;
    /// The address of this machine, in the socket's family.
    pub const LOOPBACK: u8 = 4;
    /// A path of the file system.
    pub const LOCAL: u8 = 5;
    /// A family that OTP has no name for.
    pub const UNDEFINED: u8 = 6;
}

/// The socket's domain for a family.
pub fn domain(of: u8) -> Option<Domain> {
    match of {
        family::INET => Some(Domain::IPV4),
        family::INET6 => Some(Domain::IPV6),
        family::LOCAL => Some(Domain::UNIX),
        _ => None,
    }
}

/// The number of a domain, from [`family`].
pub fn family_of(domain: Domain) -> u8 {
    match domain {
        Domain::IPV4 => family::INET,
        Domain::IPV6 => family::INET6,
        Domain::UNIX => family::LOCAL,
        _ => family::UNDEFINED,
    }
}

/// Takes an address off the front of `bytes`, for a socket of a domain; what follows it.
pub fn read(domain: Domain, bytes: &[u8]) -> Option<(SockAddr, &[u8])> {
    let (&of, rest) = bytes.split_first()?;
    if of == family::LOCAL {
        let (&length, rest) = rest.split_first()?;
        let (path, rest) = rest.split_at_checked(usize::from(length))?;
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        return Some((SockAddr::unix(path).ok()?, rest));
    }
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let address = |ip: IpAddr| SockAddr::from(SocketAddr::new(ip, port));
    let v6 = domain == Domain::IPV6;
    Some(match of {
        family::INET => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (address(IpAddr::from(*ip)), rest)
        }
        family::INET6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (scope, rest) = rest.split_first_chunk::<4>()?;
            let ip = Ipv6Addr::from(*ip);
            let (flow, scope) = (u32::from_be_bytes(*flow), u32::from_be_bytes(*scope));
            (SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)).into(), rest)
        }
        family::ANY if v6 => (address(Ipv6Addr::UNSPECIFIED.into()), rest),
        family::ANY => (address(Ipv4Addr::UNSPECIFIED.into()), rest),
        family::LOOPBACK if v6 => (address(Ipv6Addr::LOCALHOST.into()), rest),
        family::LOOPBACK => (address(Ipv4Addr::LOCALHOST.into()), rest),
        _ => return None,
    })
}

/// Appends an address in the form that `prim_inet` reads.
pub fn write(address: &SockAddr, to: &mut Vec<u8>) {
    match address.as_socket() {
        Some(SocketAddr::V4(v4)) => write_v4(v4, to),
        Some(SocketAddr::V6(v6)) => {
            to.push(family::INET6);
            to.extend(v6.port().to_be_bytes());
            to.extend(v6.ip().octets());
        }
        None if address.is_unix() => {
            let path = local_path(address);
            to.push(family::LOCAL);
            to.push(path.len().min(255) as u8);
            to.extend(path.iter().take(255));
        }
        // A sender without an address.
        None => to.push(family::UNSPECIFIED),
    }
}

fn write_v4(address: SocketAddrV4, to: &mut Vec<u8>) {
    to.push(family::INET);
    to.extend(address.port().to_be_bytes());
    to.extend(address.ip().octets());
}

/// The path of a local socket, or its abstract name with the zero in front.
fn local_path(address: &SockAddr) -> Vec<u8> {
    if let Some(path) = address.as_pathname() {
        return path.as_os_str().as_bytes().to_vec();
    }
    address.as_abstract_namespace().map_or_else(Vec::new, |name| [&[0], name].concat())
}

/// Address and port as terms: `{{A,B,C,D}, Port}` and the like, or `{{local, Path}, 0}`.
pub fn terms<A: Alloc + ?Sized>(address: &SockAddr, heap: &mut A) -> (Term, Term) {
    match address.as_socket() {
        Some(socket) => {
            let parts: Vec<Term> = match socket.ip() {
                IpAddr::V4(ip) => {
                    ip.octets().into_iter().map(|part| Term::small(part.into())).collect()
                }
                IpAddr::V6(ip) => {
                    ip.segments().into_iter().map(|part| Term::small(part.into())).collect()
                }
            };
            (heap.tuple(&parts), Term::small(socket.port().into()))
        }
        None if !address.is_unix() => {
            let none = heap.binary(&[]);
            (heap.tuple(&[Term::atom(atom!("unspec")), none]), Term::small(0))
        }
        None => {
            let path = heap.binary(&local_path(address));
            (heap.tuple(&[Term::atom(atom!("local")), path]), Term::small(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for bytes in [
            &[family::INET, 0x1f, 0x90, 127, 0, 0, 1][..],
            &[family::LOCAL, 4, b'/', b't', b'm', b'p'],
        ] {
            let (address, rest) = read(Domain::IPV4, bytes).expect("an address");
            assert!(rest.is_empty());
            let mut again = Vec::new();
            write(&address, &mut again);
            assert_eq!(again, bytes);
        }
        let (any, rest) = read(Domain::IPV6, &[family::ANY, 0, 80, 9]).expect("an address");
        assert_eq!(any.as_socket(), Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 80)));
        assert_eq!(rest, [9]);
    }

    #[test]
    fn what_is_cut_off_is_no_address() {
        for bytes in [
            &[][..],
            &[family::INET],
            &[family::INET, 0, 1, 127, 0, 0],
            &[family::LOCAL, 9, b'x'],
            &[77, 0, 0],
        ] {
            assert!(read(Domain::IPV4, bytes).is_none(), "{bytes:?}");
        }
    }
}
