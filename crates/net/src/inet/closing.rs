//! The ends of connections.

use super::Inet;
use super::replies::{After, Failure, Reply, cancel, error, failed, reply};
use super::state::State;
use socket2::Socket;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::tell;
use swarmrt_io::port::poller::Poller;
use swarmrt_machine::Vm;
use swarmrt_term::Alloc;
use swarmrt_term::{Atom, Term, atom};

impl Inet {
    /// The connection is over: by the peer, or by an error. Tells everybody who waits.
    pub(super) fn lost(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        problem: Option<i32>,
    ) -> After {
        let name = problem.map_or("closed", |problem| state.lost_name(problem));
        let active = state.is_active();
        state.connected = false;
        state.closed_by_peer = true;
        state.owed = (!active && state.receivers.is_empty()).then_some(name);
        state.input.clear();
        state.input_at = 0;
        for waiter in std::mem::take(&mut state.receivers) {
            cancel(vm, waiter.timer);
            failed(vm, port, &waiter, name);
        }
        for sender in std::mem::take(&mut state.senders) {
            cancel(vm, sender.timer);
            reply(vm, port, &sender, |heap| error(heap, "closed"));
        }
        port.wake_writers(vm);
        state.output.clear();
        (state.output_at, state.queued) = (0, 0);
        for subscriber in std::mem::take(&mut state.subscribers) {
            tell(vm, port, subscriber, |heap| {
                heap.tuple(&[Term::atom(atom!("empty_out_q")), port.term])
            });
        }
        if active {
            self.tell_closed(vm, port, name);
        }
        if state.options.exit_on_close {
            self.release(vm, state);
            return if active { After::ClosePort } else { After::Nothing };
        }
        // Only reading is over: what is written may still arrive.
        state.connected = problem.is_none();
        After::Nothing
    }
    pub(super) fn tell_closed(&self, vm: &'static Vm, port: &Port, name: &str) {
        if name != "closed" {
            tell(vm, port, port.owner(), |heap| {
                heap.tuple(&[
                    Term::atom(atom!("tcp_error")),
                    port.term,
                    Term::atom(Atom::new(name)),
                ])
            });
        }
        tell(vm, port, port.owner(), |heap| {
            heap.tuple(&[Term::atom(atom!("tcp_closed")), port.term])
        });
    }
    /// Closes the socket.
    pub(super) fn release(&self, vm: &'static Vm, state: &mut State) {
        (state.drained, state.full, state.is_special) = (false, false, false);
        let armed = state.armed.take();
        let Some(socket) = state.socket.take() else { return };
        if armed.is_some()
            && let Ok(poller) = Poller::of(vm)
        {
            poller.remove(socket.as_fd());
        }
        if std::mem::take(&mut state.is_lent) {
            let _ = socket.into_raw_fd();
        }
    }
    pub(super) fn shut_down(state: &mut State, data: &[u8]) -> Reply {
        use std::net::Shutdown;
        let how = match data {
            [0] => Shutdown::Read,
            [1] => Shutdown::Write,
            [2] => Shutdown::Both,
            _ => return Err(Failure::INVALID),
        };
        if !state.connected {
            return Err(Failure::System(libc::ENOTCONN));
        }
        let socket = state.socket.as_ref().ok_or(Failure::System(libc::ENOTCONN))?;
        if how != Shutdown::Read && state.queued > 0 {
            // When all is out.
            state.shuts_down = true;
            if how == Shutdown::Both {
                socket.shutdown(Shutdown::Read)?;
            }
            return Ok(Vec::new());
        }
        socket.shutdown(how)?;
        state.shuts_down |= how != Shutdown::Read;
        Ok(Vec::new())
    }
}

/// A datagram socket has no peer any more.
pub(super) fn forget_peer(socket: &Socket) {
    // SAFETY: zeros are an address of no family.
    let none: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address is there during the call.
    unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const none,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
}
