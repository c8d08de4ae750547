//! What the system knows of the network: its interfaces, the names of services, the name of this
//! machine.

use super::options::Reader;
use libc::ifreq;
use parking_lot::Mutex;
use socket2::Socket;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsRawFd;

/// Items of an interface, by the numbers `INET_IFOPT_…` of OTP's `inet_int.hrl`.
mod item {
    /// The address of the interface.
    pub const ADDRESS: u8 = 1;
    /// Its broadcast address.
    pub const BROADCAST: u8 = 2;
    /// The address of the peer, on a point-to-point link.
    pub const DESTINATION: u8 = 3;
    /// The maximum transmission unit, in bytes.
    pub const MTU: u8 = 4;
    /// The mask of the network.
    pub const NETMASK: u8 = 5;
    /// Flags, translated by [`FLAGS`](super::FLAGS).
    pub const FLAGS: u8 = 6;
    /// The hardware address.
    pub const HARDWARE: u8 = 7;
}

/// The system's flags of an interface, and OTP's. An interface that is up counts as running.
const FLAGS: [(i32, u32); 6] = [
    (libc::IFF_UP, 1),
    (libc::IFF_BROADCAST, 2),
    (libc::IFF_LOOPBACK, 4),
    (libc::IFF_POINTOPOINT, 8),
    (libc::IFF_UP, 0x10),
    (libc::IFF_MULTICAST, 0x20),
];

fn flag_bits(flags: i32) -> u32 {
    FLAGS.iter().filter(|(flag, _)| flags & flag != 0).fold(0, |bits, (_, bit)| bits | bit)
}

/// Flags that can be set: the system's, OTP's bit that sets it, OTP's bit that clears it.
const CHANGES: [(i32, u32, u32); 3] =
    [(libc::IFF_UP, 1, 0x100), (libc::IFF_BROADCAST, 2, 0x200), (libc::IFF_POINTOPOINT, 8, 0x800)];

/// Interfaces that are listed at most.
const INTERFACES_MAX: usize = 256;
/// Bytes of a hardware address.
const HARDWARE_BYTES: usize = 6;

/// The name of this machine, as `gethostname(2)` has it.
///
/// # Errors
/// When the system refuses.
pub fn host_name() -> io::Result<Vec<u8>> {
    let mut name = [0u8; 256];
    // SAFETY: at most so many bytes are written.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(name.into_iter().take_while(|&byte| byte != 0).collect())
}

/// The system answers in memory of its own.
static SERVICES: Mutex<()> = Mutex::new(());

/// The port of a service, of a protocol or of any.
pub fn service_port(name: &CStr, protocol: Option<&CStr>) -> Option<u16> {
    let protocol = protocol.map_or(std::ptr::null(), CStr::as_ptr);
    let _guard = SERVICES.lock();
    // SAFETY: the name is a string, the protocol one or null, and what is returned is read under
    // the lock.
    let port = unsafe { libc::getservbyname(name.as_ptr(), protocol).as_ref()?.s_port };
    Some(u16::from_be(port as u16))
}

/// The name of the service at a port, of a protocol or of any.
pub fn service_name(port: u16, protocol: Option<&CStr>) -> Option<Vec<u8>> {
    let protocol = protocol.map_or(std::ptr::null(), CStr::as_ptr);
    let _guard = SERVICES.lock();
    // SAFETY: the protocol is a string or null, and what is returned is read under the lock.
    let name = unsafe {
        let entry = libc::getservbyport(i32::from(port.to_be()), protocol).as_ref()?;
        CStr::from_ptr(entry.s_name)
    };
    Some(name.to_bytes().to_vec())
}

/// Length and name of a service, length and name of a protocol; the answer is the port.
pub fn service_by_name(data: &[u8]) -> Option<Vec<u8>> {
    let (name, rest) = counted(data)?;
    let (protocol, _) = counted(rest)?;
    Some(service_port(&name, Some(&protocol))?.to_be_bytes().to_vec())
}

/// A port, length and name of a protocol; the answer is the name of the service.
pub fn service_by_port(data: &[u8]) -> Option<Vec<u8>> {
    let (port, rest) = data.split_first_chunk::<2>()?;
    let (protocol, _) = counted(rest)?;
    service_name(u16::from_be_bytes(*port), Some(&protocol))
}

fn counted(data: &[u8]) -> Option<(CString, &[u8])> {
    let (&length, rest) = data.split_first()?;
    let (text, rest) = rest.split_at_checked(length.into())?;
    Some((CString::new(text).ok()?, rest))
}

/// For each address of each interface: its name and a zero, items, and a zero.
pub fn addresses() -> io::Result<Vec<u8>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is given back below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = Vec::new();
    let mut next = list;
    // SAFETY: the entries live until the list is given back.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: names are strings.
        answer.extend(unsafe { CStr::from_ptr(entry.ifa_name) }.to_bytes_with_nul());
        let flags = entry.ifa_flags.cast_signed();
        answer.push(item::FLAGS);
        answer.extend(flag_bits(flags).to_be_bytes());
        address(item::ADDRESS, entry.ifa_addr, &mut answer);
        address(item::NETMASK, entry.ifa_netmask, &mut answer);
        if flags & libc::IFF_BROADCAST != 0 {
            address(item::BROADCAST, entry.ifa_ifu, &mut answer);
        } else if flags & libc::IFF_POINTOPOINT != 0 {
            address(item::DESTINATION, entry.ifa_ifu, &mut answer);
        }
        answer.push(0);
    }
    // SAFETY: it came from `getifaddrs`, and no entry is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(answer)
}

fn address(item: u8, address: *const libc::sockaddr, to: &mut Vec<u8>) {
    // SAFETY: the system's addresses are as long as their families say.
    unsafe {
        let Some(any) = address.as_ref() else { return };
        match i32::from(any.sa_family) {
            libc::AF_INET => {
                to.extend([item, super::family::INET]);
                to.extend((*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr.to_ne_bytes());
            }
            libc::AF_INET6 => {
                to.extend([item, super::family::INET6]);
                to.extend((*address.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr);
            }
            libc::AF_PACKET if item == item::ADDRESS => {
                let hardware = &*address.cast::<libc::sockaddr_ll>();
                let length = hardware.sll_halen.min(8);
                to.push(item::HARDWARE);
                to.extend(u16::from(length).to_be_bytes());
                to.extend(&hardware.sll_addr[..length.into()]);
            }
            _ => {}
        }
    }
}

/// The names of the interfaces that have addresses, each with a zero behind it.
pub fn names(socket: &Socket) -> io::Result<Vec<u8>> {
    // SAFETY: zeros are requests about no interface.
    let mut requests: Vec<ifreq> = vec![unsafe { std::mem::zeroed() }; INTERFACES_MAX];
    let mut list = libc::ifconf {
        ifc_len: size_of_val(&requests[..]) as i32,
        ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_req: requests.as_mut_ptr() },
    };
    // SAFETY: there is as much room as the list says.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFCONF, &raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = list.ifc_len as usize / size_of::<ifreq>();
    let name = |request: &ifreq| {
        request.ifr_name.map(|byte| byte as u8).into_iter().take_while(|&byte| byte != 0).chain([0])
    };
    Ok(requests[..count].iter().flat_map(name).collect())
}

/// A request about the interface whose name stands, counted, in front of `data`, and what follows
/// the name. Names that are too long are cut off.
fn about(data: &[u8]) -> Option<(ifreq, &[u8])> {
    let (&length, rest) = data.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    // SAFETY: zeros are a request about no interface.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (place, &byte) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name) {
        *place = byte as libc::c_char;
    }
    Some((request, rest))
}

fn ask(socket: &Socket, kind: libc::Ioctl, request: &mut ifreq) -> bool {
    // SAFETY: the request is as large as all of these kinds want.
    unsafe { libc::ioctl(socket.as_raw_fd(), kind, &raw mut *request) == 0 }
}

/// Items of one interface: its name, then the numbers of what is asked for. What it has not is left
/// out.
pub fn get(socket: &Socket, data: &[u8]) -> Option<Vec<u8>> {
    let (mut request, wanted) = about(data)?;
    let mut answer = Vec::new();
    for &item in wanted {
        let kind = match item {
            item::ADDRESS => libc::SIOCGIFADDR,
            item::BROADCAST => libc::SIOCGIFBRDADDR,
            item::DESTINATION => libc::SIOCGIFDSTADDR,
            item::NETMASK => libc::SIOCGIFNETMASK,
            item::MTU => libc::SIOCGIFMTU,
            item::FLAGS => libc::SIOCGIFFLAGS,
            item::HARDWARE => libc::SIOCGIFHWADDR,
            _ => return None,
        };
        let known = ask(socket, kind, &mut request);
        // SAFETY: the answer to a request of this kind is in this field; without an answer only
        // flags are told.
        unsafe {
            let found = &request.ifr_ifru;
            match item {
                item::FLAGS => {
                    answer.push(item);
                    answer.extend(
                        flag_bits(if known { found.ifru_flags.into() } else { 0 }).to_be_bytes(),
                    );
                }
                _ if !known => {}
                item::MTU => {
                    answer.push(item);
                    answer.extend(found.ifru_mtu.to_be_bytes());
                }
                item::HARDWARE => {
                    answer.push(item);
                    answer.extend((HARDWARE_BYTES as u16).to_be_bytes());
                    answer.extend(
                        found.ifru_hwaddr.sa_data[..HARDWARE_BYTES].iter().map(|&byte| byte as u8),
                    );
                }
                _ => address(item, &raw const found.ifru_addr, &mut answer),
            }
        }
    }
    Some(answer)
}

/// Changes an interface: its name, then numbers of items with their values. As in OTP, what the
/// system refuses is not told.
pub fn set(socket: &Socket, data: &[u8]) -> Option<()> {
    let (mut request, rest) = about(data)?;
    let mut reader = Reader(rest);
    while let Some(item) = reader.byte() {
        let kind = match item {
            item::ADDRESS => libc::SIOCSIFADDR,
            item::BROADCAST => libc::SIOCSIFBRDADDR,
            item::DESTINATION => libc::SIOCSIFDSTADDR,
            item::NETMASK => libc::SIOCSIFNETMASK,
            item::MTU => libc::SIOCSIFMTU,
            item::FLAGS => libc::SIOCSIFFLAGS,
            item::HARDWARE => libc::SIOCSIFHWADDR,
            _ => return None,
        };
        match item {
            item::MTU => request.ifr_ifru.ifru_mtu = reader.int()?,
            item::HARDWARE => {
                let length = reader.short()?;
                let bytes = reader.take(length.into())?;
                // SAFETY: any bytes are such an address.
                let hardware = unsafe { &mut request.ifr_ifru.ifru_hwaddr };
                hardware.sa_data = Default::default();
                for (place, &byte) in hardware.sa_data.iter_mut().zip(bytes) {
                    *place = byte as libc::c_char;
                }
            }
            item::FLAGS => {
                let change = reader.int()?.cast_unsigned();
                // SAFETY: the answer to this request is in this field.
                let before = if ask(socket, libc::SIOCGIFFLAGS, &mut request) {
                    unsafe { request.ifr_ifru.ifru_flags }
                } else {
                    0
                };
                let after =
                    CHANGES.iter().fold(i32::from(before), |flags, &(flag, sets, clears)| {
                        let flags = if change & sets != 0 { flags | flag } else { flags };
                        if change & clears != 0 { flags & !flag } else { flags }
                    });
                if after == i32::from(before) {
                    continue;
                }
                request.ifr_ifru.ifru_flags = after as i16;
            }
            _ => request.ifr_ifru.ifru_addr = set_address(&mut reader)?,
        }
        ask(socket, kind, &mut request);
    }
    Some(())
}

/// A family and an address. Those of IPv6 have no room in a request.
fn set_address(reader: &mut Reader<'_>) -> Option<libc::sockaddr> {
    if reader.byte()? != super::family::INET {
        return None;
    }
    let ip: [u8; 4] = reader.array()?;
    // SAFETY: zeros are an address; both kinds have the same size.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from_ne_bytes(ip);
    // SAFETY: both kinds of address have the same size.
    Some(unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) })
}
