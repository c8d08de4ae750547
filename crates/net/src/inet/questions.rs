//! What can be asked about a socket.

use super::replies::{Failure, Reply};
use super::state::State;
use super::status;
use super::{Inet, address, interfaces, operation};
use socket2::{Domain, SockAddr, Socket};
use std::io;

impl Inet {
    pub(super) fn statistics(state: &State, data: &[u8]) -> Reply {
        let mut answer = Vec::new();
        for &item in data {
            let (received, sent) = (&state.received, &state.sent);
            answer.push(item);
            match item {
                1 => answer.extend(received.packets.to_be_bytes()),
                2 => answer.extend(received.largest.to_be_bytes()),
                3 => answer.extend((received.average as u32).to_be_bytes()),
                4 => answer.extend((received.deviation as u32).to_be_bytes()),
                5 => answer.extend(sent.packets.to_be_bytes()),
                6 => answer.extend(sent.largest.to_be_bytes()),
                7 => answer.extend((sent.average as u32).to_be_bytes()),
                8 => answer.extend((state.queued.min(u32::MAX as usize) as u32).to_be_bytes()),
                9 => answer.extend(received.bytes.to_be_bytes()),
                10 => answer.extend(sent.bytes.to_be_bytes()),
                _ => return Err(Failure::INVALID),
            }
        }
        Ok(answer)
    }
    pub(super) fn status(state: &State) -> Reply {
        let bits = [
            (state.socket.is_some(), status::OPEN),
            (state.connected, status::ACTIVE),
            (state.listening, status::LISTEN),
            (state.connecting.is_some(), status::CONNECTING),
            (!state.accepters.is_empty(), status::ACCEPTING),
            (state.is_busy(), status::BUSY),
        ];
        let bits: u32 = bits.into_iter().filter(|(is, _)| *is).fold(0, |all, (_, bit)| all | bit);
        Ok(bits.to_be_bytes().to_vec())
    }
    /// An address that the socket says it has, whatever it has; none takes that back.
    pub(super) fn pretended(domain: Domain, data: &[u8]) -> Result<Option<SockAddr>, Failure> {
        if data.is_empty() {
            return Ok(None);
        }
        address::read(domain, data).map(|(address, _)| Some(address)).ok_or(Failure::INVALID)
    }
    pub(super) fn interface(socket: &Socket, operation: u64, data: &[u8]) -> Reply {
        match operation {
            operation::INTERFACE_NAMES => Ok(interfaces::names(socket)?),
            operation::GET_INTERFACE => interfaces::get(socket, data).ok_or(Failure::INVALID),
            _ => interfaces::set(socket, data).map(|()| Vec::new()).ok_or(Failure::INVALID),
        }
    }
    pub(super) fn addressed(address: io::Result<SockAddr>) -> Reply {
        let mut answer = Vec::new();
        address::write(&address?, &mut answer);
        Ok(answer)
    }
    pub(super) fn subscribe(state: &mut State, from: u64, data: &[u8]) -> Reply {
        const EMPTY_OUT_QUEUE: u8 = 1;
        let mut answer = Vec::new();
        for &item in data {
            if item != EMPTY_OUT_QUEUE {
                return Err(Failure::INVALID);
            }
            if state.queued > 0 {
                state.subscribers.push_back(from);
            }
            answer.push(item);
            answer.extend((state.queued.min(u32::MAX as usize) as u32).to_be_bytes());
        }
        Ok(answer)
    }
}
