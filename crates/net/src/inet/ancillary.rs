//! Ancillary data of datagrams: type of service, traffic class and time to live, beside what is
//! sent and received.

use super::Failure;
use super::options::{Reader, code, system_option};
use libc::{c_int, iovec, msghdr};
use socket2::{SockAddr, Socket};
use std::io;
use std::os::fd::AsRawFd;
use swarmrt_term::{Alloc, Atom, Term};

/// What may be received, by the option that has it delivered: a bit, and the level, type and name
/// of the data.
const KINDS: [(u8, u8, c_int, c_int, &str); 3] = [
    (code::RECVTOS, 1, libc::IPPROTO_IP, libc::IP_TOS, "tos"),
    (code::RECVTTL, 2, libc::IPPROTO_IP, libc::IP_TTL, "ttl"),
    (code::RECVTCLASS, 4, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, "tclass"),
];

/// The bit of an option that has data delivered; 0 of any other.
pub fn bit(option: u8) -> u8 {
    KINDS.iter().find(|kind| kind.0 == option).map_or(0, |kind| kind.1)
}

/// Names and values.
pub type Data = Vec<(&'static str, c_int)>;

/// A list of pairs, as `{tos, 16}`.
pub fn to_term<A: Alloc + ?Sized>(data: &Data, to: &mut A) -> Term {
    let pairs: Vec<Term> = data
        .iter()
        .map(|&(name, value)| to.tuple(&[Term::atom(Atom::new(name)), Term::small(value.into())]))
        .collect();
    to.list(&pairs)
}

/// Words for control messages: enough for all kinds.
const CONTROL_WORDS: usize = 32;

fn header(slice: &mut iovec, control: &mut [u64]) -> msghdr {
    // SAFETY: zeros are a header of nothing.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() * 8;
    header
}

/// Receives a datagram into `room`: its length, where it is from, and its ancillary data.
pub fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<(usize, SockAddr, Data)> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut slice = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let mut header = header(&mut slice, &mut control);
    let receive = |address: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        header.msg_name = address.cast();
        // SAFETY: it says how much room there is for the address, and takes how much was used.
        header.msg_namelen = unsafe { *length };
        // SAFETY: what the header names is there during the call.
        let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: `length` is where socket2 wants the address's length.
        unsafe { *length = header.msg_namelen };
        Ok(count)
    };
    // SAFETY: the call has filled as much of the address as it says.
    let (count, from) = unsafe { SockAddr::try_init(receive) }?;
    // SAFETY: the system has filled the header.
    Ok((count, from, unsafe { data_of(&header) }))
}

/// What a header's control messages say.
///
/// # Safety
/// The system has filled the header, whose control messages are still there.
unsafe fn data_of(header: &msghdr) -> Data {
    let mut data = Data::new();
    // SAFETY: the caller's; data follow their heads.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(head) = next.as_ref() {
            let kind =
                KINDS.iter().find(|kind| (kind.2, kind.3) == (head.cmsg_level, head.cmsg_type));
            if let Some((.., name)) = kind {
                let place = libc::CMSG_DATA(next);
                let is_byte = head.cmsg_len < libc::CMSG_LEN(size_of::<c_int>() as u32) as usize;
                data.push((
                    *name,
                    if is_byte { (*place).into() } else { place.cast::<c_int>().read_unaligned() },
                ));
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    data
}

/// What came with the last packets of a stream: options and values, as `getopts` answers them.
/// `None` where the system has none.
pub fn of_stream(socket: &Socket, is_v6: bool) -> Option<Vec<u8>> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut length = (CONTROL_WORDS * 8) as libc::socklen_t;
    let (level, name) = if is_v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_2292PKTOPTIONS)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTOPTIONS)
    };
    // SAFETY: there is so much room.
    if unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            control.as_mut_ptr().cast(),
            &raw mut length,
        )
    } != 0
    {
        return None;
    }
    // SAFETY: zeros are a header of nothing; the system has written the control messages.
    let data = unsafe {
        let mut header: msghdr = std::mem::zeroed();
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = length as usize;
        data_of(&header)
    };
    let code = |name: &str| match name {
        "tos" => code::TOS,
        "ttl" => code::TTL,
        _ => code::TCLASS,
    };
    Some(
        data.iter()
            .flat_map(|&(name, value)| std::iter::once(code(name)).chain(value.to_be_bytes()))
            .collect(),
    )
}

/// Sends a datagram with options that hold for it only.
pub fn send(
    socket: &Socket,
    data: &[u8],
    address: Option<&SockAddr>,
    options: &[u8],
) -> Result<usize, Failure> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut used = 0;
    let mut reader = Reader(options);
    while let Some(option) = reader.byte() {
        let value = reader.int().ok_or(Failure::INVALID)?;
        let (level, kind) = system_option(option)
            .filter(|_| matches!(option, code::TOS | code::TTL | code::TCLASS))
            .ok_or(Failure::INVALID)?;
        let size = size_of::<c_int>() as u32;
        // SAFETY: no memory is touched.
        let (space, length) =
            unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
        if used + space > CONTROL_WORDS * 8 {
            return Err(Failure::INVALID);
        }
        // SAFETY: there is so much room, at a multiple of a word.
        unsafe {
            let head = control.as_mut_ptr().cast::<u8>().add(used).cast::<libc::cmsghdr>();
            (*head).cmsg_level = level;
            (*head).cmsg_type = kind;
            (*head).cmsg_len = length;
            libc::CMSG_DATA(head).cast::<c_int>().write_unaligned(value);
        }
        used += space;
    }
    let mut slice = iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let mut header = header(&mut slice, &mut control[..used / 8]);
    if let Some(address) = address {
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = address.len();
    }
    // SAFETY: what the header names is there during the call, which does not write to it.
    let count = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error().into())
}
