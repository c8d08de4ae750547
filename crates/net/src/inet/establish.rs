//! Opening, binding, connecting, listening, accepting.

use super::closing::forget_peer;
use super::options::Reader;
use super::replies::{Failure, Reply, cancel, done, failed, take_waiter};
use super::state::{Active, Options, State, Waiter};
use super::{Inet, address};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
use std::sync::Arc;
use std::time::Duration;
use swarmrt_io::port::driver::{Ready, Request};
use swarmrt_io::port::poller::Poller;
use swarmrt_io::port::{Options as PortOptions, Port, Ports};
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::schedule::timer::TimerKey;
use swarmrt_machine::{Vm, signal};
use swarmrt_term::Alloc;
use swarmrt_term::{Term, am};

impl Inet {
    pub(super) fn open(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        data: &[u8],
    ) -> Reply {
        let [of, kind, ..] = *data else { return Err(Failure::INVALID) };
        if state.socket.is_some() {
            return Err(Failure::INVALID);
        }
        let domain = address::domain(of).ok_or(Failure::INVALID)?;
        let kind = match kind {
            1 => Type::STREAM,
            2 => Type::DGRAM,
            _ => return Err(Failure::INVALID),
        };
        const MPTCP: u8 = 4;
        let protocol = (data.get(2) == Some(&MPTCP)).then_some(Protocol::MPTCP);
        let make = || Socket::new(domain, kind, protocol);
        let socket = match state.netns() {
            Some(path) => crate::netns::inside(path, make)?,
            None => make()?,
        };
        self.adopt(vm, port, state, domain, socket)
    }
    pub(super) fn adopt(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        domain: Domain,
        mut socket: Socket,
    ) -> Reply {
        if let Err(problem) = Inet::register(vm, port, &mut socket, &mut state.is_lent) {
            if std::mem::take(&mut state.is_lent) {
                let _ = socket.into_raw_fd();
            }
            return Err(problem.into());
        }
        state.armed = Some(Ready::NOTHING);
        state.domain = domain;
        state.socket = Some(socket);
        Ok(Vec::new())
    }
    pub(super) fn register(
        vm: &'static Vm,
        port: &Port,
        socket: &mut Socket,
        is_lent: &mut bool,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let poller = Poller::of(vm)?;
        let mut added = poller.add(socket.as_fd(), port.term, Ready::NOTHING);
        if added.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST)) {
            // It was given to another port as well: each has one of its own.
            let copy = socket.try_clone()?;
            let given = std::mem::replace(socket, copy);
            if std::mem::take(is_lent) {
                let _ = given.into_raw_fd();
            }
            added = poller.add(socket.as_fd(), port.term, Ready::NOTHING);
        }
        added
    }
    pub(super) fn fd_open(
        &self,
        vm: &'static Vm,
        port: &Port,
        state: &mut State,
        data: &[u8],
    ) -> Reply {
        let mut reader = Reader(data);
        let (Some(of), Some(_), Some(fd)) = (reader.byte(), reader.byte(), reader.int()) else {
            return Err(Failure::INVALID);
        };
        let is_bound = reader.int().is_none_or(|bound| bound != 0);
        let domain = address::domain(of).ok_or(Failure::INVALID)?;
        if state.socket.is_some() || fd < 0 {
            return Err(Failure::INVALID);
        }
        // SAFETY: asks for the state of a number that may be no descriptor.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(Failure::System(libc::EBADF));
        }
        // SAFETY: the descriptor is open; it is borrowed for this look only.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        if is_bound && SockRef::from(&borrowed).local_addr()?.domain() != domain {
            return Err(Failure::INVALID);
        }
        // SAFETY: the descriptor is open; `release` does not close it.
        let socket = unsafe { Socket::from_raw_fd(fd) };
        state.is_lent = true;
        state.connected = socket.peer_addr().is_ok();
        state.bound = true;
        self.adopt(vm, port, state, domain, socket)
    }
    pub(super) fn bind(state: &mut State, data: &[u8]) -> Reply {
        let (address, _) = address::read(state.domain, data).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::INVALID)?;
        socket.bind(&address)?;
        state.bound = true;
        let port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        Ok(port.to_be_bytes().to_vec())
    }
    pub(super) fn connect(&self, request: &Request<'_>, state: &mut State, data: &[u8]) -> Reply {
        let mut reader = Reader(data);
        let timeout = reader.int().ok_or(Failure::INVALID)?;
        let (address, _) = address::read(state.domain, reader.0).ok_or(Failure::INVALID)?;
        let socket = state.socket.as_ref().ok_or(Failure::INVALID)?;
        if state.connecting.is_some() || state.listening || state.connected && self.stream {
            return Err(Failure::System(if state.connected {
                libc::EISCONN
            } else {
                libc::EINVAL
            }));
        }
        if !self.stream && state.connected {
            // Linux keeps the local address of the peer before, which may not reach the next one.
            forget_peer(socket);
        }
        let result = socket.connect(&address);
        let number = state.number();
        match result {
            Ok(()) => {
                state.connected = true;
                state.bound = true;
                done(request.vm, request.port, request.from, number, |_| Term::atom(am::OK));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                let timer = self.start_timer(
                    request.vm,
                    request.port,
                    timeout,
                    number,
                    Inet::connecting_took_too_long,
                );
                let waiter = Waiter { caller: request.from, number, length: 0, timer, hook: None };
                state.connecting = Some(Box::new(waiter));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(number.to_be_bytes().to_vec())
    }
    pub(super) fn listen(state: &mut State, data: &[u8]) -> Reply {
        let backlog = Reader(data).short().ok_or(Failure::INVALID)?;
        state.socket.as_ref().ok_or(Failure::INVALID)?.listen(i32::from(backlog))?;
        state.listening = true;
        Ok(Vec::new())
    }
    pub(super) fn accept(&self, request: &Request<'_>, state: &mut State, data: &[u8]) -> Reply {
        let timeout = Reader(data).int().ok_or(Failure::INVALID)?;
        if !state.listening {
            return Err(Failure::INVALID);
        }
        let number = state.number();
        let timer = self.start_timer(
            request.vm,
            request.port,
            timeout,
            number,
            Inet::accepting_took_too_long,
        );
        state.accepters.push_back(Waiter {
            caller: request.from,
            number,
            length: 0,
            timer,
            hook: None,
        });
        self.accept_waiting(request.vm, request.port, state);
        if let Some(waiter) = state.accepters.iter_mut().find(|waiter| waiter.number == number) {
            waiter.hook = Some(self.watch(request));
        }
        Ok(number.to_be_bytes().to_vec())
    }
    /// Has the calling process take itself out of the line of those who accept when it ends; the
    /// key of that.
    pub(super) fn watch(&self, request: &Request<'_>) -> u64 {
        let hook = request.vm.next_ref().id;
        let (me, port) = (self.me.clone(), Arc::downgrade(request.port));
        let exited = move |vm| {
            let Some((inet, port)) = me.upgrade().zip(port.upgrade()) else { return };
            let mut state = inet.state.lock();
            if let Some(at) = state.accepters.iter().position(|waiter| waiter.hook == Some(hook)) {
                let waiter = state.accepters.remove(at).expect("it was just found");
                cancel(vm, waiter.timer);
                inet.arm(vm, &port, &mut state);
            }
        };
        let watcher = request.port.term.as_port().map_or(Watcher::Hidden, Watcher::Port);
        let on_exit = OnExit { watcher, call: Box::new(exited) };
        let _guard = swarmrt_machine::pin();
        signal::send_call(
            request.vm,
            request.from,
            Box::new(move |vm, process| match process {
                Some(process) => {
                    process.extra().on_exit.insert(hook, on_exit);
                }
                None => (on_exit.call)(vm),
            }),
        );
        hook
    }
    /// Gives connections that are there to those who wait for them.
    pub(super) fn accept_waiting(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        while !state.accepters.is_empty() {
            let Some(listener) = &state.socket else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let accepted = match rustix::net::accept_with(listener, flags) {
                Ok(socket) => Ok(Socket::from(socket)),
                Err(Errno::AGAIN) => {
                    state.drained = true;
                    return;
                }
                // The connection was gone before it was taken.
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => Err(Failure::from(io::Error::from(error))),
            };
            let Some(waiter) = state.accepters.pop_front() else { return };
            waiter.stop(vm);
            match accepted.and_then(|socket| Inet::accepted(vm, port, state, waiter.caller, socket))
            {
                Ok(Some(new)) => {
                    done(vm, port, waiter.caller, waiter.number, |heap| {
                        heap.tuple(&[Term::atom(am::OK), new])
                    });
                }
                // The waiting process has ended, and the connection with it.
                Ok(None) => {}
                Err(failure) => failed(vm, port, &waiter, failure.name()),
            }
        }
    }
    /// A port of its own for a connection, owned by the process that waited for it.
    pub(super) fn accepted(
        vm: &'static Vm,
        listener: &Port,
        state: &State,
        owner: u64,
        socket: Socket,
    ) -> Result<Option<Term>, Failure> {
        if Ports::of(vm).count() >= vm.config.ports_max {
            return Err(Failure::Named("system_limit"));
        }
        let options =
            Options { active: Active::Passive, has_given_buffer: false, ..state.options.clone() };
        // The poller gets to know the socket when somebody first waits for it.
        let inner = State {
            options,
            domain: state.domain,
            socket: Some(socket),
            bound: true,
            connected: true,
            ..State::new(true)
        };
        let inet = Inet::new(true, inner);
        let port = Ports::of(vm).open(
            vm,
            owner,
            listener.name.clone().into(),
            PortOptions::binary(),
            None,
            inet.clone(),
        );
        let term = port.term;
        let link: signal::Call = Box::new(move |vm, process| match process {
            Some(process) => {
                process.relations.link(term);
            }
            None => {
                if let Some(port) = Ports::of(vm).get(term) {
                    port.close(vm, Term::atom(am::NORMAL));
                }
            }
        });
        if !signal::send_call(vm, owner, link) {
            port.close(vm, Term::atom(am::NORMAL));
            return Ok(None);
        }
        Ok(Some(term))
    }
    pub(super) fn start_timer(
        &self,
        vm: &'static Vm,
        port: &Arc<Port>,
        timeout_ms: i32,
        number: u16,
        over: fn(&Inet, &'static Vm, &Arc<Port>, u16),
    ) -> Option<TimerKey> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).ok()?);
        let (me, port) = (self.me.clone(), Arc::downgrade(port));
        let at_ns = vm.clock.since_start_ns() + timeout.as_nanos() as u64;
        let action = Box::new(move |vm| {
            if let Some((inet, port)) = me.upgrade().zip(port.upgrade()) {
                over(&inet, vm, &port, number);
            }
        });
        Some(vm.timers.start(at_ns, action))
    }
    pub(super) fn connecting_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        if let Some(waiter) = state.connecting.take_if(|waiter| waiter.number == number) {
            failed(vm, port, &waiter, "timeout");
            // The attempt is given up with the socket.
            self.release(vm, &mut state);
        }
    }
    pub(super) fn accepting_took_too_long(&self, vm: &'static Vm, port: &Arc<Port>, number: u16) {
        let mut state = self.state.lock();
        // What came at the last moment counts.
        self.accept_waiting(vm, port, &mut state);
        if let Some(waiter) = take_waiter(&mut state.accepters, number) {
            waiter.stop(vm);
            failed(vm, port, &waiter, "timeout");
        }
        self.arm(vm, port, &mut state);
    }
    /// Asks the poller for what the socket waits for, unless it tells of that anyway: of what comes
    /// from now on where it was asked before. What has been told of and was left is asked for
    /// again.
    pub(super) fn arm(&self, vm: &'static Vm, port: &Port, state: &mut State) {
        let Some(socket) = &state.socket else { return };
        let receives = (state.is_active() || !state.receivers.is_empty()) && !state.feeding;
        let readable = !state.accepters.is_empty()
            || receives && !state.closed_by_peer && (state.connected || !self.stream);
        let writable = state.connecting.is_some() || state.queued > 0 || state.sending.is_some();
        let was_left = readable && !state.drained || writable && !state.full;
        let armed = state.armed.unwrap_or(Ready::NOTHING);
        let wanted = Ready {
            readable: readable || armed.readable,
            writable: writable || armed.writable,
            ..armed
        };
        if !was_left && wanted == armed {
            return;
        }
        let Ok(poller) = Poller::of(vm) else { return };
        let asked = match state.armed {
            Some(_) => poller.want(socket.as_fd(), port.term, wanted),
            None => poller.add(socket.as_fd(), port.term, wanted),
        };
        if asked.is_ok() {
            state.armed = Some(wanted);
            (state.drained, state.full) = (true, true);
        }
    }
}
