//! Options of sockets, as `prim_inet` writes them: a number, then a value that is most often 32
//! bits, big-endian.

use super::{Active, Inet, State};
use std::os::fd::AsRawFd;
use swarmrt_machine::vm::packet::PacketKind;

/// Options by the numbers `INET_OPT_…`, `INET_LOPT_…`, `TCP_OPT_…` and `UDP_OPT_…` of OTP's
/// `inet_int.hrl`. Values are 32 bits but where it is said. "Own" options are the driver's, not the
/// system's; `inet:setopts/2` describes both.
pub mod code {
    /// `SO_REUSEADDR`.
    pub const REUSEADDR: u8 = 0;
    /// `SO_KEEPALIVE`.
    pub const KEEPALIVE: u8 = 1;
    /// `SO_DONTROUTE`.
    pub const DONTROUTE: u8 = 2;
    /// `SO_LINGER`: two numbers, on or off and the seconds.
    pub const LINGER: u8 = 3;
    /// `SO_BROADCAST`.
    pub const BROADCAST: u8 = 4;
    /// `SO_OOBINLINE`.
    pub const OOBINLINE: u8 = 5;
    /// `SO_SNDBUF`, in bytes.
    pub const SNDBUF: u8 = 6;
    /// `SO_RCVBUF`, in bytes.
    pub const RCVBUF: u8 = 7;
    /// `SO_PRIORITY`.
    pub const PRIORITY: u8 = 8;
    /// `IP_TOS`.
    pub const TOS: u8 = 9;
    /// `TCP_NODELAY`.
    pub const NODELAY: u8 = 10;
    /// `IP_MULTICAST_IF`, or `IPV6_MULTICAST_IF`.
    pub const MULTICAST_IF: u8 = 11;
    /// `IP_MULTICAST_TTL`.
    pub const MULTICAST_TTL: u8 = 12;
    /// `IP_MULTICAST_LOOP`.
    pub const MULTICAST_LOOP: u8 = 13;
    /// `IP_ADD_MEMBERSHIP`: a group and an interface.
    pub const ADD_MEMBERSHIP: u8 = 14;
    /// `IP_DROP_MEMBERSHIP`: a group and an interface.
    pub const DROP_MEMBERSHIP: u8 = 15;
    /// `IPV6_V6ONLY`.
    pub const V6ONLY: u8 = 16;
    /// `SO_REUSEPORT`.
    pub const REUSEPORT: u8 = 17;
    /// `SO_REUSEPORT_LB`; on Linux the same as `SO_REUSEPORT`.
    pub const REUSEPORT_LB: u8 = 18;
    /// `SO_EXCLUSIVEADDRUSE`, which only Windows has.
    pub const EXCLUSIVEADDRUSE: u8 = 19;
    /// Own: bytes of the receive buffer.
    pub const BUFFER: u8 = 20;
    /// Own: bytes at the start of a packet that are delivered as a list.
    pub const HEADER: u8 = 21;
    /// Own: `{active, Mode}`; a count of 16 bits follows where the mode is a number.
    pub const ACTIVE: u8 = 22;
    /// Own: how a stream is cut into packets.
    pub const PACKET: u8 = 23;
    /// Own: whether data is delivered as lists or as binaries.
    pub const MODE: u8 = 24;
    /// Own: whether data is delivered as a term or as of a port.
    pub const DELIVER: u8 = 25;
    /// Own: whether the port ends when the peer closes.
    pub const EXIT_ON_CLOSE: u8 = 26;
    /// Own: bytes in the output queue from which on senders are suspended.
    pub const HIGH_WATERMARK: u8 = 27;
    /// Own: bytes in the output queue below which senders are resumed.
    pub const LOW_WATERMARK: u8 = 28;
    /// Own: milliseconds that a sender waits at most.
    pub const SEND_TIMEOUT: u8 = 30;
    /// Own: whether data is queued first, and sent by the poller.
    pub const DELAY_SEND: u8 = 31;
    /// Own: bytes of the longest packet that is accepted; 0 for no limit.
    pub const PACKET_SIZE: u8 = 32;
    /// Own: datagrams that are read in a row.
    pub const READ_PACKETS: u8 = 33;
    /// An option of the system by level, number and bytes.
    pub const RAW: u8 = 34;
    /// Own: whether the socket is closed when a sender's time is over.
    pub const SEND_TIMEOUT_CLOSE: u8 = 35;
    /// Own: bytes in the port's message queue from which on it is busy.
    pub const MSGQ_HIGH_WATERMARK: u8 = 36;
    /// Own: bytes in the port's message queue below which it is no longer busy.
    pub const MSGQ_LOW_WATERMARK: u8 = 37;
    /// Own: the path of the network namespace to open the socket in.
    pub const NETNS: u8 = 38;
    /// Own: whether a reset by the peer is an error, instead of the end of the stream.
    pub const SHOW_ECONNRESET: u8 = 39;
    /// Own: the byte that ends a line.
    pub const LINE_DELIMITER: u8 = 40;
    /// `IPV6_TCLASS`.
    pub const TCLASS: u8 = 41;
    /// `SO_BINDTODEVICE`: a name.
    pub const BIND_TO_DEVICE: u8 = 42;
    /// `IP_RECVTOS`.
    pub const RECVTOS: u8 = 43;
    /// `IPV6_RECVTCLASS`.
    pub const RECVTCLASS: u8 = 44;
    /// `IP_PKTOPTIONS`, or `IPV6_PKTOPTIONS`: ancillary data of a stream.
    pub const PKTOPTIONS: u8 = 45;
    /// `IP_TTL`.
    pub const TTL: u8 = 46;
    /// `IP_RECVTTL`.
    pub const RECVTTL: u8 = 47;
    /// `TCP_NOPUSH`, or `TCP_CORK` on Linux.
    pub const NOPUSH: u8 = 48;
    /// Own: whether more than the packet asked for may be read from the system.
    pub const READ_AHEAD: u8 = 49;
    /// Own: whether a send that would suspend fails instead.
    pub const NON_BLOCK_SEND: u8 = 50;
    /// `TCP_KEEPCNT`.
    pub const KEEPCNT: u8 = 51;
    /// `TCP_KEEPIDLE`, in seconds.
    pub const KEEPIDLE: u8 = 52;
    /// `TCP_KEEPINTVL`, in seconds.
    pub const KEEPINTVL: u8 = 53;
    /// `TCP_USER_TIMEOUT`, in milliseconds.
    pub const USER_TIMEOUT: u8 = 54;
    /// `SO_DEBUG`.
    pub const DEBUG: u8 = 99;
}

/// Reads numbers off the front of a request. Each method is `None`, and takes nothing, when too few
/// bytes are left.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
    /// `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
    /// 32 bits, big-endian, with a sign.
    pub fn int(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }
    /// 16 bits, big-endian.
    pub fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    /// `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }
}

/// The level and name of the option that says on which interface multicasts leave.
fn multicast_interface(is_v6: bool) -> (i32, i32) {
    if is_v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF)
    } else {
        (libc::IPPROTO_IP, libc::IP_MULTICAST_IF)
    }
}

/// The levels and names of options that the system holds as an `int`.
pub fn system_option(option: u8) -> Option<(i32, i32)> {
    use libc as c;
    Some(match option {
        code::REUSEADDR => (c::SOL_SOCKET, c::SO_REUSEADDR),
        code::REUSEPORT | code::REUSEPORT_LB => (c::SOL_SOCKET, c::SO_REUSEPORT),
        code::DEBUG => (c::SOL_SOCKET, c::SO_DEBUG),
        code::KEEPALIVE => (c::SOL_SOCKET, c::SO_KEEPALIVE),
        code::DONTROUTE => (c::SOL_SOCKET, c::SO_DONTROUTE),
        code::BROADCAST => (c::SOL_SOCKET, c::SO_BROADCAST),
        code::OOBINLINE => (c::SOL_SOCKET, c::SO_OOBINLINE),
        code::SNDBUF => (c::SOL_SOCKET, c::SO_SNDBUF),
        code::RCVBUF => (c::SOL_SOCKET, c::SO_RCVBUF),
        code::PRIORITY => (c::SOL_SOCKET, c::SO_PRIORITY),
        code::TOS => (c::IPPROTO_IP, c::IP_TOS),
        code::TTL => (c::IPPROTO_IP, c::IP_TTL),
        code::RECVTOS => (c::IPPROTO_IP, c::IP_RECVTOS),
        code::RECVTTL => (c::IPPROTO_IP, c::IP_RECVTTL),
        code::RECVTCLASS => (c::IPPROTO_IPV6, c::IPV6_RECVTCLASS),
        code::TCLASS => (c::IPPROTO_IPV6, c::IPV6_TCLASS),
        code::NODELAY => (c::IPPROTO_TCP, c::TCP_NODELAY),
        code::NOPUSH => (c::IPPROTO_TCP, c::TCP_CORK),
        code::KEEPCNT => (c::IPPROTO_TCP, c::TCP_KEEPCNT),
        code::KEEPIDLE => (c::IPPROTO_TCP, c::TCP_KEEPIDLE),
        code::KEEPINTVL => (c::IPPROTO_TCP, c::TCP_KEEPINTVL),
        code::USER_TIMEOUT => (c::IPPROTO_TCP, c::TCP_USER_TIMEOUT),
        code::MULTICAST_TTL => (c::IPPROTO_IP, c::IP_MULTICAST_TTL),
        code::MULTICAST_LOOP => (c::IPPROTO_IP, c::IP_MULTICAST_LOOP),
        code::V6ONLY => (c::IPPROTO_IPV6, c::IPV6_V6ONLY),
        _ => return None,
    })
}

/// Bytes of a raw option's value: with status, option, level, name and length in front, the answer
/// has 64 KiB, as in OTP.
const RAW_BYTES_MAX: usize = (64 << 10) - (1 + 1 + 4 + 4 + 4);

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn set_bytes(state: &State, level: i32, name: i32, value: &[u8]) -> Result<(), i32> {
    let fd = state.socket.as_ref().ok_or(libc::EINVAL)?.as_raw_fd();
    // SAFETY: the descriptor is open and the value has that many bytes.
    let result = unsafe {
        libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Has the system take little more than it can send at once: what comes last waits behind that.
/// Without effect where there is no such option.
pub(super) fn set_unsent_bytes(state: &State, bytes: u32) {
    let _ = set_bytes(state, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &bytes.to_ne_bytes());
}

fn get_bytes(state: &State, level: i32, name: i32, value: &mut [u8]) -> Option<usize> {
    let fd = state.socket.as_ref()?.as_raw_fd();
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the descriptor is open, and at most `length` bytes are written.
    let result =
        unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    (result == 0).then_some(length as usize)
}

/// A packet type by OTP's number.
fn packet_kind(number: i32) -> Option<PacketKind> {
    Some(match number {
        0 => PacketKind::Raw,
        1 => PacketKind::Length(1),
        2 => PacketKind::Length(2),
        3 => PacketKind::Length(4),
        4 => PacketKind::Asn1,
        5 => PacketKind::SunRm,
        6 => PacketKind::Cdr,
        7 => PacketKind::Fcgi,
        8 => PacketKind::Line,
        9 => PacketKind::Tpkt,
        10 => PacketKind::Http { headers: false, binary: false },
        11 => PacketKind::Http { headers: true, binary: false },
        12 => PacketKind::SslTls,
        13 => PacketKind::Http { headers: false, binary: true },
        14 => PacketKind::Http { headers: true, binary: true },
        _ => return None,
    })
}

fn packet_number(kind: PacketKind) -> i32 {
    (0..=14).find(|&number| packet_kind(number) == Some(kind)).unwrap_or(0)
}

impl Inet {
    /// Sets options in their order. Those of the driver may be set before there is a socket.
    pub(super) fn set_options(state: &mut State, request: &[u8]) -> Result<(), i32> {
        let mut reader = Reader(request);
        while let Some(option) = reader.byte() {
            Inet::set_option(state, option, &mut reader)?;
        }
        Ok(())
    }

    fn set_option(state: &mut State, option: u8, reader: &mut Reader<'_>) -> Result<(), i32> {
        let invalid = libc::EINVAL;
        match option {
            code::LINGER => {
                let (on, seconds) = (reader.int().ok_or(invalid)?, reader.int().ok_or(invalid)?);
                let linger = [on.to_ne_bytes(), seconds.to_ne_bytes()].concat();
                set_bytes(state, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
            }
            code::ACTIVE => {
                let mode = reader.int().ok_or(invalid)?;
                let change =
                    if mode == 3 { reader.short().ok_or(invalid)?.cast_signed() } else { 0 };
                state.set_active(mode, change).ok_or(invalid)
            }
            code::RAW => {
                let (level, name, length) = (reader.int(), reader.int(), reader.int());
                let length = usize::try_from(length.ok_or(invalid)?).map_err(|_| invalid)?;
                let value = reader.take(length).ok_or(invalid)?;
                set_bytes(state, level.ok_or(invalid)?, name.ok_or(invalid)?, value)
            }
            code::NETNS | code::BIND_TO_DEVICE => {
                let length = usize::try_from(reader.int().ok_or(invalid)?).map_err(|_| invalid)?;
                let name = reader.take(length).ok_or(invalid)?;
                if option == code::NETNS {
                    // It says where the socket is to be made; one that is there stays where it is.
                    state.uncommon().netns = Some(name.into());
                    Ok(())
                } else {
                    set_bytes(state, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name)
                }
            }
            // A stream has none; that is no error.
            code::MULTICAST_IF if state.stream => {
                reader.array::<4>().ok_or(invalid)?;
                Ok(())
            }
            code::MULTICAST_IF => {
                let value: [u8; 4] = reader.array().ok_or(invalid)?;
                let is_v6 = state.domain == socket2::Domain::IPV6;
                let (level, name) = multicast_interface(is_v6);
                let value = if is_v6 { i32::from_be_bytes(value).to_ne_bytes() } else { value };
                set_bytes(state, level, name, &value)
            }
            code::ADD_MEMBERSHIP | code::DROP_MEMBERSHIP => {
                Inet::set_membership(state, option == code::ADD_MEMBERSHIP, reader)
            }
            _ => Inet::set_number(state, option, reader.int().ok_or(invalid)?),
        }
    }

    /// Sets an option whose value is a number.
    fn set_number(state: &mut State, option: u8, value: i32) -> Result<(), i32> {
        let invalid = libc::EINVAL;
        let size = || usize::try_from(value).map_err(|_| invalid);
        let is_stream = state.stream;
        let options = &mut state.options;
        match option {
            code::BUFFER => {
                options.buffer = size()?.clamp(1, super::state::BUFFER_MAX);
                options.has_given_buffer = true;
            }
            code::HEADER => options.header = size()?,
            code::PACKET => {
                options.packet = packet_kind(value).ok_or(invalid)?;
                state.retry_input = true;
            }
            code::MODE => options.binary = value == 1,
            code::DELIVER => options.deliver_term = value == 1,
            code::EXIT_ON_CLOSE => options.exit_on_close = value != 0,
            code::HIGH_WATERMARK => options.high_watermark = size()?,
            code::LOW_WATERMARK => options.low_watermark = size()?,
            code::SEND_TIMEOUT => options.send_timeout = u32::try_from(value).ok(),
            code::SEND_TIMEOUT_CLOSE => options.send_timeout_close = value != 0,
            code::DELAY_SEND => options.delay_send = value != 0,
            code::PACKET_SIZE => options.packet_size = size()?,
            code::READ_PACKETS => options.read_packets = size()?.max(1),
            code::SHOW_ECONNRESET => options.show_econnreset = value != 0,
            code::LINE_DELIMITER => options.delimiter = value as u8,
            code::MSGQ_HIGH_WATERMARK => options.msgq_high = size()? as u32,
            code::MSGQ_LOW_WATERMARK => options.msgq_low = size()? as u32,
            code::READ_AHEAD => options.read_ahead = value != 0,
            code::NON_BLOCK_SEND => options.non_block_send = value != 0,
            code::EXCLUSIVEADDRUSE => {}
            // As in OTP: the receive buffer of the driver keeps up with that of the system, where
            // its size was not asked for.
            code::RCVBUF if !options.has_given_buffer && size()? > options.buffer => {
                options.buffer = size()?.min(if is_stream {
                    super::state::BUFFER_MAX
                } else {
                    super::input::DATAGRAM_BYTES_MAX
                });
                return Inet::set_system(state, option, value);
            }
            _ => {
                Inet::set_system(state, option, value)?;
                let bit = super::ancillary::bit(option);
                state.ancillary =
                    if value != 0 { state.ancillary | bit } else { state.ancillary & !bit };
            }
        }
        Ok(())
    }

    fn set_system(state: &State, option: u8, value: i32) -> Result<(), i32> {
        let Some((level, name)) = system_option(option) else { return Err(libc::EINVAL) };
        // Linux derives the priority from the type of service. In OTP options are independent of
        // each other, so the priority is restored; the system may refuse one that it has derived.
        let priority = if option == code::TOS { Inet::priority(state) } else { None };
        let result = set_bytes(state, level, name, &value.to_ne_bytes());
        if let (Some(priority), Ok(())) = (priority, result) {
            let _ = set_bytes(state, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority);
        }
        match result {
            // OTP sets these where the system has them, and lets the rest pass.
            Err(_) if matches!(option, code::NODELAY | code::PRIORITY | code::NOPUSH) => Ok(()),
            result => result,
        }
    }

    fn priority(state: &State) -> Option<[u8; 4]> {
        let mut priority = [0; 4];
        get_bytes(state, libc::SOL_SOCKET, libc::SO_PRIORITY, &mut priority)?;
        Some(priority)
    }

    /// Family, index of the interface, address of the group, and for IPv4 the interface's address.
    fn set_membership(state: &State, add: bool, reader: &mut Reader<'_>) -> Result<(), i32> {
        let invalid = libc::EINVAL;
        let (of, index) = (reader.int().ok_or(invalid)?, reader.int().ok_or(invalid)?);
        if of == i32::from(super::address::family::INET6) {
            let group: [u8; 16] = reader.array().ok_or(invalid)?;
            let request = [&group[..], &index.to_ne_bytes()].concat();
            let name = if add { libc::IPV6_ADD_MEMBERSHIP } else { libc::IPV6_DROP_MEMBERSHIP };
            return set_bytes(state, libc::IPPROTO_IPV6, name, &request);
        }
        let (group, interface): ([u8; 4], [u8; 4]) =
            (reader.array().ok_or(invalid)?, reader.array().ok_or(invalid)?);
        let request = [&group[..], &interface, &index.to_ne_bytes()].concat();
        let name = if add { libc::IP_ADD_MEMBERSHIP } else { libc::IP_DROP_MEMBERSHIP };
        set_bytes(state, libc::IPPROTO_IP, name, &request)
    }

    /// The values of options, each behind its number; those that cannot be told are left out.
    pub(super) fn get_options(state: &State, request: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader(request);
        let mut answer = Vec::new();
        while let Some(option) = reader.byte() {
            Inet::get_option(state, option, &mut reader, &mut answer)?;
        }
        Some(answer)
    }

    fn get_option(
        state: &State,
        option: u8,
        reader: &mut Reader<'_>,
        answer: &mut Vec<u8>,
    ) -> Option<()> {
        match option {
            code::ACTIVE => {
                let (mode, count) = match state.options.active {
                    Active::Passive => (0, None),
                    Active::Always => (1, None),
                    Active::Once => (2, None),
                    Active::Times(count) => (3, Some(count)),
                };
                answer.push(option);
                answer.extend(i32::to_be_bytes(mode));
                answer.extend(count.map(i16::to_be_bytes).into_iter().flatten());
            }
            code::LINGER => {
                let mut linger = [0; 8];
                if get_bytes(state, libc::SOL_SOCKET, libc::SO_LINGER, &mut linger).is_some() {
                    let (on, seconds) = linger.split_at(4);
                    let int = |bytes: &[u8]| bytes.try_into().map_or(0, i32::from_ne_bytes);
                    answer.push(option);
                    answer.extend(int(on).to_be_bytes());
                    answer.extend(int(seconds).to_be_bytes());
                }
            }
            code::RAW => return Inet::get_raw(state, reader, answer),
            code::BIND_TO_DEVICE => {
                let mut name = [0; libc::IFNAMSIZ];
                if let Some(length) =
                    get_bytes(state, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name)
                {
                    let name: Vec<u8> =
                        name[..length].iter().copied().take_while(|&byte| byte != 0).collect();
                    answer.push(option);
                    answer.extend((name.len() as u32).to_be_bytes());
                    answer.extend(name);
                }
            }
            code::PKTOPTIONS => {
                let is_v6 = state.domain == socket2::Domain::IPV6;
                if let Some(data) = state
                    .socket
                    .as_ref()
                    .and_then(|socket| super::ancillary::of_stream(socket, is_v6))
                {
                    answer.push(option);
                    answer.extend((data.len() as u32).to_be_bytes());
                    answer.extend(data);
                }
            }
            code::NETNS => {
                if let Some(path) = state.netns() {
                    answer.push(option);
                    answer.extend((path.len() as u32).to_be_bytes());
                    answer.extend_from_slice(path);
                }
            }
            code::MULTICAST_IF => {
                // An address, or the number of an interface; then which of them it is.
                let mut value = [0; 4];
                let is_v6 = state.domain == socket2::Domain::IPV6;
                let (level, name) = multicast_interface(is_v6);
                if get_bytes(state, level, name, &mut value).is_some() {
                    let value = if is_v6 { i32::from_ne_bytes(value).to_be_bytes() } else { value };
                    answer.push(option);
                    answer.extend(value);
                    answer.extend(u32::from(super::address::family_of(state.domain)).to_be_bytes());
                }
            }
            _ => {
                if let Some(value) = Inet::get_number(state, option)? {
                    answer.push(option);
                    answer.extend(value.to_be_bytes());
                }
            }
        }
        Some(())
    }

    /// The value of an option that is a number: `None` for what is no option that can be read,
    /// `Some(None)` for one that is left out of the answer.
    fn get_number(state: &State, option: u8) -> Option<Option<i32>> {
        let options = &state.options;
        let size = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
        Some(Some(match option {
            // What only the other driver knows is left out.
            code::DELAY_SEND
            | code::HIGH_WATERMARK
            | code::LOW_WATERMARK
            | code::SEND_TIMEOUT
            | code::SEND_TIMEOUT_CLOSE
            | code::SHOW_ECONNRESET
            | code::READ_AHEAD
                if !state.stream =>
            {
                return Some(None);
            }
            code::READ_PACKETS if state.stream => return Some(None),
            code::BUFFER => size(options.buffer),
            code::HEADER => size(options.header),
            code::PACKET => packet_number(options.packet),
            code::MODE => i32::from(options.binary),
            code::DELIVER => i32::from(options.deliver_term),
            code::EXIT_ON_CLOSE => i32::from(options.exit_on_close),
            code::HIGH_WATERMARK => size(options.high_watermark),
            code::LOW_WATERMARK => size(options.low_watermark),
            code::SEND_TIMEOUT => options.send_timeout.map_or(-1, u32::cast_signed),
            code::SEND_TIMEOUT_CLOSE => i32::from(options.send_timeout_close),
            code::DELAY_SEND => i32::from(options.delay_send),
            code::PACKET_SIZE => size(options.packet_size),
            code::READ_PACKETS => size(options.read_packets),
            code::SHOW_ECONNRESET => i32::from(options.show_econnreset),
            code::MSGQ_HIGH_WATERMARK => size(options.msgq_high as usize),
            code::MSGQ_LOW_WATERMARK => size(options.msgq_low as usize),
            code::READ_AHEAD => i32::from(options.read_ahead),
            code::NON_BLOCK_SEND => i32::from(options.non_block_send),
            // OTP does not tell it.
            code::LINE_DELIMITER => return None,
            // No socket has it.
            code::EXCLUSIVEADDRUSE => 0,
            _ => {
                let (level, name) = system_option(option)?;
                let mut value = [0; 4];
                if get_bytes(state, level, name, &mut value).is_none() {
                    return Some(None);
                }
                i32::from_ne_bytes(value)
            }
        }))
    }

    /// An option by the system's own numbers: its level, its name, and how many bytes its value may
    /// have or what they are first.
    fn get_raw(state: &State, reader: &mut Reader<'_>, answer: &mut Vec<u8>) -> Option<()> {
        let (level, name) = (reader.int()?, reader.int()?);
        let given = reader.byte()? != 0;
        let length =
            usize::try_from(reader.int()?).ok().filter(|&length| length <= RAW_BYTES_MAX)?;
        let mut value = if given { reader.take(length)?.to_vec() } else { vec![0; length] };
        if let Some(length) = get_bytes(state, level, name, &mut value) {
            answer.push(code::RAW);
            answer.extend(level.to_be_bytes());
            answer.extend(name.to_be_bytes());
            answer.extend((length as u32).to_be_bytes());
            answer.extend(&value[..length]);
        }
        Some(())
    }
}
