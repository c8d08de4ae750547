//! What waits to be written on a connection, and who waits for that.
//!
//! Messages wait in the order in which they were sent. When there is more than the limit (`+zdbbl`), the connection is busy:
//! senders are suspended until half of it is written.

use crate::atoms;
use crate::packet::Encoded;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes from which on a connection is busy, where nothing else is said.
pub const BUSY_BYTES_DEFAULT: usize = 1 << 20;
static BUSY_BYTES: AtomicUsize = AtomicUsize::new(BUSY_BYTES_DEFAULT);

/// Sets the limit, in bytes.
pub fn set_busy_bytes(bytes: usize) {
    BUSY_BYTES.store(bytes, Ordering::Relaxed);
}
pub fn busy_bytes() -> usize {
    BUSY_BYTES.load(Ordering::Relaxed)
}

#[derive(Default)]
pub struct Output {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    is_busy: bool,
    suspended: Vec<u64>,
    next_sequence: u64,
}

impl Output {
    pub fn push(&mut self, message: Encoded, sent: &mut atoms::Sent, peer: u64) {
        self.next_sequence += 1;
        for packet in message.packets(sent, peer, self.next_sequence) {
            self.bytes += packet.len();
            self.packets.push_back(packet);
        }
        self.is_busy |= self.bytes >= busy_bytes();
    }
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }
    /// Enters a process that is suspended until there is less to write.
    pub fn suspend(&mut self, pid: u64) {
        self.suspended.push(pid);
    }
    /// Those who are to go on, when enough has been written.
    pub fn take_resumed(&mut self) -> Vec<u64> {
        if !self.is_busy || self.bytes >= busy_bytes() / 2 {
            return Vec::new();
        }
        self.is_busy = false;
        std::mem::take(&mut self.suspended)
    }
    pub fn into_suspended(self) -> Vec<u64> {
        self.suspended
    }
}
