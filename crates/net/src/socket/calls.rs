//! From opening a socket to closing it.

use super::address::{self, Address};
use super::state::{Done, Entry, Fail, Side, Socket, check, end_address, find, is_zero, seen};
use super::{answer, integer, ok};
use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Release, Term, am, atom, map};

/// An option of `open`.
fn option(options: Term, name: swarmrt_term::Atom) -> Option<Term> {
    map::get(options, Term::atom(name))
}

/// Whether the registry is to know a new socket.
fn is_registered(p: &Process, options: Term) -> bool {
    option(options, atom!("use_registry"))
        .and_then(Term::as_bool)
        .unwrap_or_else(|| super::info::use_registry(p))
}

/// # Safety
/// `raw` is a descriptor that nobody else owns.
unsafe fn owned(raw: c_int) -> Result<OwnedFd, Fail> {
    // SAFETY: the caller's; the call answers with a descriptor or less than 0.
    Ok(unsafe { OwnedFd::from_raw_fd(check(raw)?) })
}

#[bif("prim_socket:nif_open/4")]
fn open(p: &mut Process, domain: Term, kind: Term, protocol: Term, options: Term) -> BifResult {
    let done = open_new(p, domain, kind, protocol, options);
    answer(p, done)
}

fn open_new(p: &mut Process, domain: Term, kind: Term, protocol: Term, options: Term) -> Done {
    let domain = address::domain(domain).ok_or(Fail::Invalid(atom!("domain")))?;
    let kind = address::kind(kind).ok_or(Fail::Invalid(atom!("type")))?;
    let protocol: c_int = integer(protocol)?;
    let flags = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a new descriptor, which nobody else knows.
    let make = || unsafe { owned(libc::socket(domain, flags, protocol)) };
    let fd = match option(options, atom!("netns")) {
        Some(path) => in_namespace(path, make)?,
        None => make()?,
    };
    let protocol = actual(fd.as_raw_fd(), libc::SO_PROTOCOL).unwrap_or(protocol);
    let is_registered = is_registered(p, options);
    let (reference, socket) = Socket::add(p, fd, domain, kind, protocol, is_registered);
    socket.lock().debug = option(options, atom!("debug")).and_then(Term::as_bool).unwrap_or(false);
    ok(p, reference)
}

/// Does something with the thread in a network namespace, by its path.
pub fn in_namespace<T>(path: Term, make: impl FnOnce() -> Result<T, Fail>) -> Result<T, Fail> {
    let bits = path.as_bits().filter(|bits| bits.is_binary()).ok_or(Fail::BADARG)?;
    crate::netns::inside(&bits.to_bytes(), || Ok(make()))?
}

/// An option of the socket level that is a number.
fn actual(fd: c_int, option: c_int) -> Option<c_int> {
    let (mut value, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: there is room for the number.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length)
    };
    (result == 0).then_some(value)
}

#[bif("prim_socket:nif_open/2")]
fn open_descriptor(p: &mut Process, descriptor: Term, options: Term) -> BifResult {
    let done = open_existing(p, descriptor, options);
    answer(p, done)
}

fn open_existing(p: &mut Process, descriptor: Term, options: Term) -> Done {
    let given: c_int = integer(descriptor)?;
    let is_copied = option(options, atom!("dup")).and_then(Term::as_bool).unwrap_or(true);
    let domain = match option(options, atom!("domain")) {
        Some(domain) => address::domain(domain).ok_or(Fail::Invalid(atom!("domain")))?,
        None => actual(given, libc::SO_DOMAIN).ok_or(Fail::Invalid(atom!("domain")))?,
    };
    let kind = match option(options, atom!("type")) {
        Some(kind) => address::kind(kind).ok_or(Fail::Invalid(atom!("type")))?,
        None => actual(given, libc::SO_TYPE).ok_or(Fail::Invalid(atom!("type")))?,
    };
    let protocol = match option(options, atom!("protocol")) {
        Some(protocol) => integer(protocol)?,
        None => actual(given, libc::SO_PROTOCOL).ok_or_else(Fail::last)?,
    };
    // SAFETY: a copy is new; otherwise the descriptor is lent, and not closed (`State::is_lent`).
    let fd = unsafe {
        if is_copied { owned(libc::fcntl(given, libc::F_DUPFD_CLOEXEC, 0))? } else { owned(given)? }
    };
    if let Err(problem) = never_block(fd.as_raw_fd()) {
        if !is_copied {
            let _ = fd.into_raw_fd();
        }
        return Err(problem);
    }
    let is_registered = is_registered(p, options);
    let (reference, socket) = Socket::add(p, fd, domain, kind, protocol, is_registered);
    let mut state = socket.lock();
    state.is_lent = !is_copied;
    if end_address(state.raw(), libc::getpeername).is_ok() {
        state.write_seen |= seen::CONNECTED;
    }
    drop(state);
    ok(p, reference)
}

fn never_block(fd: c_int) -> Result<(), Fail> {
    // SAFETY: flags of a number that may be no descriptor.
    unsafe {
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

#[bif("prim_socket:nif_bind/2")]
fn bind(p: &mut Process, socket: Term, address: Term) -> BifResult {
    let found = find(p, socket)?;
    let bound = || -> Done {
        let address = Address::from_term(address).ok_or(Fail::Invalid(atom!("sockaddr")))?;
        let mut state = found.open()?;
        // SAFETY: the address is there during the call.
        check(unsafe { libc::bind(state.raw(), address.as_ptr(), address.length) })?;
        state.read_seen |= seen::BOUND;
        Ok(Term::atom(am::OK))
    };
    answer(p, bound())
}

#[bif("prim_socket:nif_connect/3")]
fn connect(p: &mut Process, socket: Term, reference: Term, address: Term) -> BifResult {
    let done = begin_connect(p, socket, reference, address);
    answer(p, done)
}

fn begin_connect(p: &mut Process, socket: Term, reference: Term, address: Term) -> Done {
    let found = find(p, socket)?;
    let bad = if p.vm.release() < Release::R29 {
        Fail::Invalid(atom!("sockaddr"))
    } else {
        Fail::System(libc::EINVAL)
    };
    let address = Address::from_term(address).ok_or(bad)?;
    let mut state = found.open()?;
    if state.waiting_on(Side::Write) > 0 {
        return Err(Fail::Misuse(atom!("state")));
    }
    match state.is_current(Side::Connect, p.id()) {
        Some(false) => return Err(Fail::Reason(atom!("already"))),
        Some(true) => return end_connect(p, &mut state),
        None => {}
    }
    // SAFETY: the address is there during the call.
    match check(unsafe { libc::connect(state.raw(), address.as_ptr(), address.length) }) {
        Ok(_) => {
            state.write_seen |= seen::CONNECTED;
            Ok(Term::atom(am::OK))
        }
        Err(Fail::System(libc::EINPROGRESS)) => {
            found.wait(p, &mut state, Side::Connect, socket, reference)?;
            state.write_seen |= seen::CONNECTING;
            Ok(Term::atom(atom!("select")))
        }
        Err(fail) => Err(fail),
    }
}

#[bif("prim_socket:nif_connect/1")]
fn connected(p: &mut Process, socket: Term) -> BifResult {
    let found = find(p, socket)?;
    let done = match found.open() {
        Ok(mut state) if state.is_current(Side::Connect, p.id()) == Some(true) => {
            end_connect(p, &mut state)
        }
        Ok(_) => return Err(super::options::invalid(p, atom!("state"))),
        Err(fail) => Err(fail),
    };
    answer(p, done)
}

/// A connection was made or not.
fn end_connect(p: &mut Process, state: &mut super::state::State) -> Done {
    state.leave(p, Side::Connect);
    state.write_seen &= !seen::CONNECTING;
    match actual(state.raw(), libc::SO_ERROR) {
        Some(0) => {
            state.write_seen |= seen::CONNECTED;
            Ok(Term::atom(am::OK))
        }
        Some(number) => Err(Fail::System(number)),
        None => Err(Fail::last()),
    }
}

#[bif("prim_socket:nif_listen/2")]
fn listen(p: &mut Process, socket: Term, backlog: Term) -> BifResult {
    let found = find(p, socket)?;
    let done = || -> Done {
        let backlog = integer(backlog)?;
        let mut state = found.open()?;
        // SAFETY: the descriptor is open.
        check(unsafe { libc::listen(state.raw(), backlog) })?;
        state.read_seen |= seen::LISTENING;
        Ok(Term::atom(am::OK))
    };
    answer(p, done())
}

#[bif("prim_socket:nif_accept/2")]
fn accept(p: &mut Process, socket: Term, reference: Term) -> BifResult {
    let done = accept_one(p, socket, reference);
    answer(p, done)
}

fn accept_one(p: &mut Process, socket: Term, reference: Term) -> Done {
    let found = find(p, socket)?;
    let mut state = found.open()?;
    match found.enter(p, &mut state, Side::Accept, socket, reference)? {
        Entry::Go => {}
        Entry::InLine => return Ok(Term::atom(atom!("select"))),
        Entry::Busy => return Err(Fail::Reason(atom!("timeout"))),
    }
    state.counters.accept_tries += 1;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the address is not asked for; a new descriptor, which nobody else knows.
    let accepted = unsafe {
        owned(libc::accept4(state.raw(), std::ptr::null_mut(), std::ptr::null_mut(), flags))
    };
    let fd = match accepted {
        Ok(fd) => fd,
        Err(Fail::System(libc::EAGAIN)) if is_zero(reference) => {
            return Err(Fail::Reason(atom!("timeout")));
        }
        Err(Fail::System(libc::EAGAIN)) => {
            found.wait(p, &mut state, Side::Accept, socket, reference)?;
            return Ok(Term::atom(atom!("select")));
        }
        Err(fail) => {
            state.counters.accept_fails += 1;
            state.leave(p, Side::Accept);
            return Err(fail);
        }
    };
    state.counters.accept_success += 1;
    state.leave(p, Side::Accept);
    // OTP 25 notes it of the listening socket.
    let is_noted_here = p.vm.release() < Release::R26;
    if is_noted_here {
        state.write_seen |= seen::CONNECTED;
    }
    let (debug, registered) = (state.debug, state.use_registry);
    let buffers = (state.read_buffer, state.read_count.0, state.read_control, state.write_control);
    drop(state);
    let (reference, new) = Socket::add(p, fd, found.domain, found.kind, found.protocol, registered);
    let mut state = new.lock();
    state.debug = debug;
    (state.read_buffer, state.read_count.0, state.read_control, state.write_control) = buffers;
    if !is_noted_here {
        state.write_seen |= seen::CONNECTED;
    }
    drop(state);
    ok(p, reference)
}

#[bif("prim_socket:nif_shutdown/2")]
fn shutdown(p: &mut Process, socket: Term, how: Term) -> BifResult {
    let found = find(p, socket)?;
    let direction = match how.as_atom().map(swarmrt_term::Atom::name) {
        Some("read") => libc::SHUT_RD,
        Some("write") => libc::SHUT_WR,
        Some("read_write") => libc::SHUT_RDWR,
        _ => {
            let what = p.tuple(&[Term::atom(atom!("how")), how]);
            return Err(BifExit::Error(p.tuple(&[Term::atom(atom!("invalid")), what])));
        }
    };
    let done = || -> Done {
        let state = found.open()?;
        // SAFETY: the descriptor is open.
        check(unsafe { libc::shutdown(state.raw(), direction) })?;
        Ok(Term::atom(am::OK))
    };
    answer(p, done())
}

/// Nobody uses it from now on; `finalize_close` closes the descriptor.
#[bif("prim_socket:nif_close/1")]
fn close(p: &mut Process, socket: Term) -> BifResult {
    let found = find(p, socket)?;
    let done = match found.open() {
        Ok(mut state) => {
            state.close(p);
            let registered = state.use_registry;
            drop(state);
            if registered {
                found.tell_registry(p, socket, atom!("del"));
            }
            Ok(Term::atom(am::OK))
        }
        Err(fail) => Err(fail),
    };
    answer(p, done)
}

/// May take as long as the option `linger` says.
#[bif("prim_socket:nif_finalize_close/1", dirty_io)]
fn finalize_close(p: &mut Process, socket: Term) -> BifResult {
    use super::state::Phase;
    let found = find(p, socket)?;
    let mut state = found.lock();
    let done = match state.phase {
        Phase::Closed => Err(Fail::closed()),
        Phase::Open => Err(Fail::BADARG),
        Phase::Closing => {
            let fd = state.take_fd();
            drop(state);
            close_at_leisure(fd)
        }
    };
    answer(p, done)
}

fn close_at_leisure(fd: Option<OwnedFd>) -> Done {
    let Some(fd) = fd else { return Ok(Term::atom(am::OK)) };
    let raw = fd.into_raw_fd();
    // SAFETY: the descriptor is ours, and not used any more. It blocks as the option `linger` wants
    // it.
    unsafe {
        let flags = libc::fcntl(raw, libc::F_GETFL);
        if flags >= 0 {
            libc::fcntl(raw, libc::F_SETFL, flags & !libc::O_NONBLOCK);
        }
        check(libc::close(raw))?;
    }
    Ok(Term::atom(am::OK))
}

#[bif("prim_socket:nif_sockname/1")]
fn sockname(p: &mut Process, socket: Term) -> BifResult {
    name_of(p, socket, libc::getsockname)
}
#[bif("prim_socket:nif_peername/1")]
fn peername(p: &mut Process, socket: Term) -> BifResult {
    name_of(p, socket, libc::getpeername)
}

type AskName = unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> c_int;

fn name_of(p: &mut Process, socket: Term, ask: AskName) -> BifResult {
    let found = find(p, socket)?;
    let address = found.open().and_then(|state| end_address(state.raw(), ask));
    let done = match address {
        Ok(address) => {
            let address = address.to_term(p);
            ok(p, address)
        }
        Err(fail) => Err(fail),
    };
    answer(p, done)
}

#[bif("prim_socket:nif_cancel/3")]
fn cancel(p: &mut Process, socket: Term, operation: Term, reference: Term) -> BifResult {
    let found = find(p, socket)?;
    let side = match operation.as_atom().map(swarmrt_term::Atom::name) {
        Some("connect") => Side::Connect,
        Some("accept") => Side::Accept,
        Some("send" | "sendv" | "sendto" | "sendmsg" | "sendmmsg" | "sendfile") => Side::Write,
        Some("recv" | "recvfrom" | "recvmsg" | "recvmmsg") => Side::Read,
        _ => return Err(BifExit::BADARG),
    };
    let done = match found.open() {
        Ok(mut state) => {
            if side == Side::Connect {
                state.write_seen &= !seen::CONNECTING;
            }
            if side == Side::Write {
                state.file = None;
            }
            state.cancel(p, side, reference)
        }
        Err(fail) => Err(fail),
    };
    answer(p, done)
}

/// What a read with a time limit of 0 answers when there is nothing.
pub fn nothing_yet(p: &swarmrt_machine::Process) -> Term {
    Term::atom(if p.vm.release() < Release::R26 { am::OK } else { atom!("timeout") })
}
