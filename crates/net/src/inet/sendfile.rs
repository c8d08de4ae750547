//! `sendfile`: a part of a file that the system sends, behind what is in the queue.

use super::options::Reader;
use super::{After, Failure, Inet, Reply, State};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::tell;
use swarmrt_machine::Vm;
use swarmrt_term::{Alloc, Atom, Term, am, atom};

/// Bytes that are sent before others get their turn.
const TURN_BYTES: u64 = 4 << 20;

/// A part of a file that is being sent.
pub struct Sending {
    file: OwnedFd,
    at: i64,
    left: u64,
    sent: u64,
    /// What was in the queue is out: nothing may come between now.
    pub(super) has_begun: bool,
    to: u64,
}

impl Inet {
    /// The descriptor of a file as `prim_file` gives it, an offset and a length. The outcome is a
    /// message.
    pub(super) fn send_file(state: &mut State, from: u64, data: &[u8]) -> Reply {
        let Some((fd, rest)) = data.split_first_chunk::<4>() else { return Err(Failure::INVALID) };
        let mut reader = Reader(rest);
        let (Some(at), Some(left)) = (reader.take(8), reader.take(8)) else {
            return Err(Failure::INVALID);
        };
        let number =
            |bytes: &[u8]| bytes.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        if !state.connected {
            return Err(Failure::System(libc::ENOTCONN));
        }
        if state.sending.is_some() {
            return Err(Failure::System(libc::EALREADY));
        }
        let fd = i32::from_ne_bytes(*fd);
        // SAFETY: asks for the state of a number that may be no descriptor.
        if fd < 0 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(Failure::System(libc::EBADF));
        }
        // SAFETY: the caller holds the file open during this call.
        let file = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        let at = i64::try_from(number(at)).map_err(|_| Failure::INVALID)?;
        let left = number(left);
        let sending = Sending { file, at, left, sent: 0, has_begun: false, to: from };
        state.sending = Some(Box::new(sending));
        Ok(Vec::new())
    }

    /// Sends more of the file once the queue is empty.
    pub(super) fn go_on_sending(&self, vm: &'static Vm, port: &Port, state: &mut State) -> After {
        let (Some(sending), Some(socket)) = (&mut state.sending, &state.socket) else {
            return After::Nothing;
        };
        if state.queued > 0 && !sending.has_begun {
            return After::Nothing;
        }
        sending.has_begun = true;
        let turn_end = sending.sent + TURN_BYTES;
        while sending.left > 0 && sending.sent < turn_end {
            let room = sending.left.min(TURN_BYTES) as usize;
            // SAFETY: both are open.
            let result = unsafe {
                libc::sendfile(
                    socket.as_raw_fd(),
                    sending.file.as_raw_fd(),
                    &raw mut sending.at,
                    room,
                )
            };
            match u64::try_from(result) {
                Ok(0) => sending.left = 0,
                Ok(bytes) => {
                    sending.left -= bytes;
                    sending.sent += bytes;
                }
                Err(_) => match std::io::Error::last_os_error().raw_os_error() {
                    Some(libc::EAGAIN) => {
                        state.full = true;
                        return After::Nothing;
                    }
                    Some(libc::EINTR) => {}
                    problem => {
                        let problem = problem.unwrap_or(libc::EIO);
                        let name = state.lost_name(problem);
                        end_sending(vm, port, state, Err(Atom::new(name)));
                        return self.lost(vm, port, state, Some(problem));
                    }
                },
            }
        }
        if sending.left == 0 {
            let sent = sending.sent;
            state.sent.note(sent as usize);
            end_sending(vm, port, state, Ok(sent));
        }
        After::Nothing
    }
}

/// Tells the caller: `{sendfile, Port, {ok, Low, High}}`, two halves of the count, or the error.
pub(super) fn end_sending(
    vm: &'static Vm,
    port: &Port,
    state: &mut State,
    outcome: Result<u64, Atom>,
) {
    let Some(sending) = state.sending.take() else { return };
    tell(vm, port, sending.to, |heap| {
        let result = match outcome {
            Ok(sent) => heap.tuple(&[
                Term::atom(am::OK),
                Term::small((sent & 0xffff_ffff) as i64),
                Term::small((sent >> 32) as i64),
            ]),
            Err(reason) => heap.tuple(&[Term::atom(am::ERROR), Term::atom(reason)]),
        };
        heap.tuple(&[Term::atom(atom!("sendfile")), port.term, result])
    });
}
