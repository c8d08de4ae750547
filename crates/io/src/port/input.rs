//! What comes in becomes messages of the port's owner.

use super::Port;
use super::options::Framing;
use std::cell::RefCell;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use swarmrt_machine::Vm;
use swarmrt_term::{Alloc, Term, am, atom};

/// Bytes that are read at a time.
pub const READ_BYTES: usize = 64 << 10;
/// Reads in a row before other ports get their turn.
pub const READS_MAX: usize = 16;

thread_local! {
    /// Where what is read goes first: it is not cleared each time.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Appends what `source` has, [`READ_BYTES`] at most; how many bytes.
///
/// # Errors
/// What the system says.
pub fn read_more(mut source: impl Read, input: &mut Vec<u8>) -> io::Result<usize> {
    BUFFER.with_borrow_mut(|buffer| {
        let count = source.read(buffer)?;
        input.extend_from_slice(&buffer[..count]);
        Ok(count)
    })
}

/// Nothing more comes in. What is left of a line, and the end, come behind the status and together
/// with it, as OTP has it and Elixir's `System.cmd` expects it.
pub fn ended(vm: &'static Vm, port: &Arc<Port>, status: Option<ExitStatus>, pending: &[u8]) {
    // A carriage return may be one more than a line has room for.
    let (rest, limit) = if let Framing::Line(limit) = port.options.framing {
        (pending, limit)
    } else {
        (&[][..], 1)
    };
    port.note_input(vm, rest.len());
    port.tell_owner_together(vm, |heap| {
        let mut messages = Vec::new();
        if let Some(status) = status {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            messages.push(
                heap.tuple(&[Term::atom(atom!("exit_status")), Term::small(i64::from(code))]),
            );
        }
        for part in rest.chunks(limit) {
            messages.push(port.data_message(heap, part, Some(false)));
        }
        if port.options.eof {
            messages.push(Term::atom(am::EOF));
        }
        messages
    });
    if !port.options.eof {
        port.close(vm, Term::atom(am::NORMAL));
    }
}

/// Cuts what has arrived into messages; how many bytes were used.
pub fn deliver(vm: &'static Vm, port: &Port, bytes: &[u8]) -> usize {
    match port.options.framing {
        Framing::Stream => {
            port.data_arrived(vm, bytes, None);
            bytes.len()
        }
        Framing::Packet(size) => {
            let mut used = 0;
            while bytes.len() - used >= size {
                let header = &bytes[used..used + size];
                let length =
                    header.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
                let Some(packet) = bytes.get(used + size..used + size + length) else { break };
                port.data_arrived(vm, packet, None);
                used += size + length;
            }
            used
        }
        Framing::Line(limit) => {
            let mut used = 0;
            while used < bytes.len() {
                let rest = &bytes[used..];
                // A carriage return before the end of a line is part of that end.
                let line = |end: usize| rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                match rest.iter().position(|&byte| byte == b'\n') {
                    Some(end) if line(end).len() <= limit => {
                        port.data_arrived(vm, line(end), Some(true));
                        used += end + 1;
                    }
                    // One more than fits says that the line goes on, unless it may be part of the
                    // end.
                    _ if rest.len() > limit + usize::from(rest.get(limit) == Some(&b'\r')) => {
                        port.data_arrived(vm, &rest[..limit], Some(false));
                        used += limit;
                    }
                    _ => break,
                }
            }
            used
        }
    }
}
