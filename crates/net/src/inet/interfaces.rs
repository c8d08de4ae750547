//! What the system knows of the network: its interfaces, the names of services, the name of this machine.

use parking_lot::Mutex;
use std::ffi::{CStr, CString};
use std::io;

/// Items of an interface, by OTP's numbers.
mod item {
    pub const ADDRESS: u8 = 1;
    pub const BROADCAST: u8 = 2;
    pub const DESTINATION: u8 = 3;
    pub const NETMASK: u8 = 5;
    pub const FLAGS: u8 = 6;
    pub const HARDWARE: u8 = 7;
}

/// The system's flags of an interface, and OTP's.
const FLAGS: [(i32, u32); 6] = [
    (libc::IFF_UP, 1),
    (libc::IFF_BROADCAST, 2),
    (libc::IFF_LOOPBACK, 4),
    (libc::IFF_POINTOPOINT, 8),
    (libc::IFF_RUNNING, 0x10),
    (libc::IFF_MULTICAST, 0x20),
];

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

/// Length and name of a service, length and name of a protocol; the answer is the port.
pub fn service_by_name(data: &[u8]) -> Option<Vec<u8>> {
    let (name, rest) = counted(data)?;
    let (protocol, _) = counted(rest)?;
    let _guard = SERVICES.lock();
    // SAFETY: both are strings, and what is returned is read under the lock.
    let port = unsafe { libc::getservbyname(name.as_ptr(), protocol.as_ptr()).as_ref()?.s_port };
    Some((port as u16).to_ne_bytes().to_vec())
}

/// A port, length and name of a protocol; the answer is the name of the service.
pub fn service_by_port(data: &[u8]) -> Option<Vec<u8>> {
    let (port, rest) = data.split_first_chunk::<2>()?;
    let (protocol, _) = counted(rest)?;
    let _guard = SERVICES.lock();
    // SAFETY: as above.
    let name = unsafe {
        let entry = libc::getservbyport(i32::from(u16::from_ne_bytes(*port)), protocol.as_ptr()).as_ref()?;
        CStr::from_ptr(entry.s_name)
    };
    Some(name.to_bytes().to_vec())
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
        let bits = FLAGS.iter().filter(|(flag, _)| flags & flag != 0).fold(0, |bits, (_, bit)| bits | bit);
        answer.push(item::FLAGS);
        answer.extend(u32::to_be_bytes(bits));
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
