//! Data: sending and receiving.

use super::address::Address;
use super::calls::nothing_yet;
use super::messages::{self, Message};
use super::state::{Done, Entry, Fail, Side, Socket, State, find, is_zero};
use super::{answer, integer, ok};
use libc::{c_int, iovec};
use parking_lot::MutexGuard;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use swarmrt_machine::{BifResult, Process, bif};
use swarmrt_term::{Alloc, SharedBytes, Term, am, atom};

/// As many slices go into one call of the system.
pub const SLICES_MAX: usize = 1024;
/// Up to so many bytes are read into a place that all sockets share, and copied.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The result of a call that answers with a count.
fn count(result: isize) -> Result<usize, Fail> {
    usize::try_from(result).map_err(|_| Fail::last())
}

fn select() -> Term {
    Term::atom(atom!("select"))
}

// ---- Receiving ----

/// The state, for a process that may read at once; otherwise what it gets.
fn enter_read<'a>(
    p: &mut Process,
    found: &'a Arc<Socket>,
    socket: Term,
    reference: Term,
) -> Result<Result<MutexGuard<'a, State>, Term>, Fail> {
    let mut state = found.open()?;
    Ok(match found.enter(p, &mut state, Side::Read, socket, reference)? {
        Entry::Go => {
            state.counters.read.tries += 1;
            Ok(state)
        }
        Entry::InLine => Err(select()),
        Entry::Busy => Err(nothing_yet(p)),
    })
}

/// A read has failed.
fn read_failed(
    p: &mut Process,
    found: &Arc<Socket>,
    state: &mut State,
    socket: Term,
    reference: Term,
    fail: Fail,
) -> Done {
    state.read_count.1 = 0;
    match fail {
        Fail::System(libc::EAGAIN) if is_zero(reference) => {
            state.leave(p, Side::Read);
            Ok(nothing_yet(p))
        }
        Fail::System(libc::EAGAIN) => {
            found.wait(p, state, Side::Read, socket, reference)?;
            Ok(select())
        }
        Fail::System(number) => {
            state.counters.read.fails += 1;
            state.fail(p, Side::Read, swarmrt_term::Atom::new(swarmrt_io::posix::name(number)));
            Err(fail)
        }
        fail => Err(fail),
    }
}

/// The other end of a stream has closed it.
fn ended(p: &mut Process, state: &mut State) -> Done {
    state.counters.read.fails += 1;
    state.fail(p, Side::Read, atom!("closed"));
    Err(Fail::closed())
}

/// What a read has brought, with its bytes; otherwise what the caller gets.
fn what_was_read(
    p: &mut Process,
    found: &Arc<Socket>,
    state: &mut State,
    socket: Term,
    reference: Term,
    read: Result<(Term, usize), Fail>,
) -> Result<Result<(Term, usize), Term>, Fail> {
    match read {
        Ok((_, 0)) if found.kind == libc::SOCK_STREAM => ended(p, state).map(Err),
        Ok(read) => Ok(Ok(read)),
        Err(fail) => read_failed(p, found, state, socket, reference, fail).map(Err),
    }
}

/// Reads into a new binary of at most `room` bytes; `read` gets the place and answers how many it
/// has filled.
fn read_binary(
    p: &mut Process,
    room: usize,
    read: impl FnOnce(*mut u8, usize) -> Result<usize, Fail>,
) -> Result<(Term, usize), Fail> {
    if room <= SCRATCH_BYTES {
        return SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH_BYTES, 0);
            let length = read(scratch.as_mut_ptr(), room)?;
            // A datagram may be longer than the place for it.
            Ok((p.binary(&scratch[..length.min(room)]), length))
        });
    }
    let shared = SharedBytes::try_with_capacity(room, room).ok_or(Fail::System(libc::ENOMEM))?;
    let length = read(shared.data(), room)?;
    let used = length.min(room);
    if used < room / 2 {
        // SAFETY: so many bytes were read into it.
        let bytes = unsafe { std::slice::from_raw_parts(shared.data(), used) };
        return Ok((p.binary(bytes), length));
    }
    Ok((p.shared_bin(shared, 0, used * 8), length))
}

/// What was read: `{Tag, Binary}`. With the option `select_read` the caller waits for more at once.
fn read_done(
    p: &mut Process,
    found: &Arc<Socket>,
    state: &mut State,
    socket: Term,
    reference: Term,
    value: Term,
) -> Done {
    state.read_count.1 = 0;
    if state.select_read && !is_zero(reference) {
        found.wait(p, state, Side::Read, socket, reference)?;
        return Ok(p.tuple(&[Term::atom(atom!("select_read")), value]));
    }
    state.leave(p, Side::Read);
    ok(p, value)
}

#[bif("prim_socket:nif_recv/4")]
fn recv(p: &mut Process, socket: Term, length: Term, flags: Term, reference: Term) -> BifResult {
    let done = receive(p, socket, length, flags, reference);
    answer(p, done)
}

fn receive(p: &mut Process, socket: Term, length: Term, flags: Term, reference: Term) -> Done {
    let found = find(p, socket)?;
    let (length, flags): (usize, c_int) = (integer(length)?, integer(flags)?);
    let mut state = match enter_read(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let room = if length == 0 { state.read_buffer } else { length };
    let fd = state.raw();
    // SAFETY: there is room for so many bytes.
    let read = read_binary(p, room, |place, room| {
        count(unsafe { libc::recv(fd, place.cast(), room, flags) })
    });
    let (binary, bytes) = match what_was_read(p, &found, &mut state, socket, reference, read)? {
        Ok(read) => read,
        Err(answer) => return Ok(answer),
    };
    let is_stream = found.kind == libc::SOCK_STREAM;
    if bytes >= room && length == 0 && is_stream {
        state.read_count.1 += 1;
        if state.read_count.1 < state.read_count.0 {
            state.counters.read.bytes += bytes as u64;
            return Ok(p.tuple(&[Term::atom(atom!("more")), binary]));
        }
    }
    if bytes < room && length > 0 && is_stream {
        // Part of what is wanted.
        state.read_count.1 = 0;
        state.counters.read.bytes += bytes as u64;
        if is_zero(reference) {
            state.leave(p, Side::Read);
            return Ok(p.tuple(&[Term::atom(atom!("timeout")), binary]));
        }
        found.wait(p, &mut state, Side::Read, socket, reference)?;
        return Ok(p.tuple(&[select(), binary]));
    }
    state.counters.read.add(bytes);
    read_done(p, &found, &mut state, socket, reference, binary)
}

#[bif("prim_socket:nif_recvfrom/4")]
fn recvfrom(
    p: &mut Process,
    socket: Term,
    length: Term,
    flags: Term,
    reference: Term,
) -> BifResult {
    let done = receive_from(p, socket, length, flags, reference);
    answer(p, done)
}

fn receive_from(p: &mut Process, socket: Term, length: Term, flags: Term, reference: Term) -> Done {
    let found = find(p, socket)?;
    let (length, flags): (usize, c_int) = (integer(length)?, integer(flags)?);
    let mut state = match enter_read(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let room = if length == 0 { state.read_buffer } else { length };
    let fd = state.raw();
    let mut address = Address::room();
    let mut address_length = address.length;
    let read = read_binary(p, room, |place, room| {
        // SAFETY: there is room for so many bytes, and for any address.
        count(unsafe {
            libc::recvfrom(
                fd,
                place.cast(),
                room,
                flags,
                address.as_mut_ptr(),
                &raw mut address_length,
            )
        })
    });
    let (binary, bytes) = match what_was_read(p, &found, &mut state, socket, reference, read)? {
        Ok(read) => read,
        Err(answer) => return Ok(answer),
    };
    state.counters.read.add(bytes);
    address.length = address_length;
    let source = messages::source_term(&address, p);
    let pair = p.tuple(&[source, binary]);
    read_done(p, &found, &mut state, socket, reference, pair)
}

#[bif("prim_socket:nif_recvmsg/5")]
fn recvmsg(
    p: &mut Process,
    socket: Term,
    length: Term,
    control: Term,
    flags: Term,
    reference: Term,
) -> BifResult {
    let done = receive_message(p, socket, length, control, flags, reference);
    answer(p, done)
}

fn receive_message(
    p: &mut Process,
    socket: Term,
    length: Term,
    control: Term,
    flags: Term,
    reference: Term,
) -> Done {
    let found = find(p, socket)?;
    let (length, control, flags): (usize, usize, c_int) =
        (integer(length)?, integer(control)?, integer(flags)?);
    let mut state = match enter_read(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let read = read_message(p, &state, length, control, flags);
    let (message, bytes) = match what_was_read(p, &found, &mut state, socket, reference, read)? {
        Ok(read) => read,
        Err(answer) => return Ok(answer),
    };
    state.counters.read.add(bytes);
    read_done(p, &found, &mut state, socket, reference, message)
}

/// A message as a map, and how long it is.
fn read_message(
    p: &mut Process,
    state: &State,
    length: usize,
    control: usize,
    flags: c_int,
) -> Result<(Term, usize), Fail> {
    let room = if length == 0 { state.read_buffer } else { length };
    // Words, as heads of control messages begin at multiples of a word.
    let mut control =
        vec![0u64; (if control == 0 { state.read_control } else { control }).div_ceil(8)];
    let mut address = Address::room();
    // SAFETY: zeros are a header of nothing.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = address.as_mut_ptr().cast();
    header.msg_namelen = address.length;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() * 8;
    let fd = state.raw();
    let (binary, bytes) = read_binary(p, room, |place, room| {
        let mut slice = iovec { iov_base: place.cast(), iov_len: room };
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        // SAFETY: what the header names is there during the call.
        count(unsafe { libc::recvmsg(fd, &raw mut header, flags) })
    })?;
    address.length = header.msg_namelen;
    // SAFETY: the system has filled the header.
    Ok((unsafe { messages::received(p, &address, &header, binary) }, bytes))
}

/// Several messages at once; OTP 29.
#[bif("prim_socket:nif_recvmmsg/6")]
fn recvmmsg(
    p: &mut Process,
    socket: Term,
    number: Term,
    length: Term,
    control: Term,
    flags: Term,
    reference: Term,
) -> BifResult {
    let done = receive_messages(p, socket, number, (length, control), flags, reference);
    answer(p, done)
}

fn receive_messages(
    p: &mut Process,
    socket: Term,
    number: Term,
    (length, control): (Term, Term),
    flags: Term,
    reference: Term,
) -> Done {
    let found = find(p, socket)?;
    let (number, length, control, flags): (usize, usize, usize, c_int) =
        (integer(number)?, integer(length)?, integer(control)?, integer(flags)?);
    let mut state = match enter_read(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let mut read = Vec::new();
    while read.len() < number.min(SLICES_MAX) {
        // Each is taken by a call of its own: the places for all of them would be large, and mostly
        // empty.
        match read_message(p, &state, length, control, flags | libc::MSG_DONTWAIT) {
            Ok((message, bytes)) => {
                state.counters.read.add(bytes);
                read.push(message);
            }
            Err(_) if !read.is_empty() => break,
            Err(fail) => return read_failed(p, &found, &mut state, socket, reference, fail),
        }
    }
    let read = p.list(&read);
    read_done(p, &found, &mut state, socket, reference, read)
}

// ---- Sending ----

/// The state, for a process that may write at once; otherwise what it gets.
fn enter_write<'a>(
    p: &mut Process,
    found: &'a Arc<Socket>,
    socket: Term,
    reference: Term,
) -> Result<Result<MutexGuard<'a, State>, Term>, Fail> {
    let mut state = found.open()?;
    if state.waiting_on(Side::Connect) > 0 {
        return Err(Fail::Misuse(atom!("state")));
    }
    Ok(match found.enter(p, &mut state, Side::Write, socket, reference)? {
        Entry::Go => {
            state.counters.written.tries += 1;
            Ok(state)
        }
        Entry::InLine => Err(select()),
        Entry::Busy => Err(Term::atom(atom!("timeout"))),
    })
}

/// What has become of sending `total` bytes; `is_all` says that no more are to follow in this call.
fn sent(
    p: &mut Process,
    found: &Arc<Socket>,
    state: &mut State,
    (socket, reference): (Term, Term),
    result: Result<usize, Fail>,
    total: usize,
) -> Done {
    match result {
        Ok(bytes) if bytes >= total => {
            state.counters.written.add(bytes);
            state.leave(p, Side::Write);
            Ok(Term::atom(am::OK))
        }
        Ok(bytes) => {
            state.counters.written.bytes += bytes as u64;
            let bytes = Term::small(bytes as i64);
            if found.kind != libc::SOCK_STREAM {
                state.leave(p, Side::Write);
                return ok(p, bytes);
            }
            state.counters.written.waits += 1;
            found.wait(p, state, Side::Write, socket, reference)?;
            Ok(p.tuple(&[select(), bytes]))
        }
        Err(Fail::System(libc::EAGAIN)) => {
            state.counters.written.waits += 1;
            found.wait(p, state, Side::Write, socket, reference)?;
            Ok(select())
        }
        Err(fail) => {
            state.counters.written.fails += 1;
            if let Fail::System(number) = fail {
                state.fail(
                    p,
                    Side::Write,
                    swarmrt_term::Atom::new(swarmrt_io::posix::name(number)),
                );
            }
            Err(fail)
        }
    }
}

#[bif("prim_socket:nif_send/4")]
fn send(p: &mut Process, socket: Term, data: Term, flags: Term, reference: Term) -> BifResult {
    let done = send_to(p, socket, data, None, flags, reference);
    answer(p, done)
}

#[bif("prim_socket:nif_sendto/5")]
fn sendto(
    p: &mut Process,
    socket: Term,
    data: Term,
    address: Term,
    flags: Term,
    reference: Term,
) -> BifResult {
    let done = match Address::from_term(address) {
        Some(address) => send_to(p, socket, data, Some(address), flags, reference),
        None => Err(Fail::Invalid(atom!("sockaddr"))),
    };
    answer(p, done)
}

fn send_to(
    p: &mut Process,
    socket: Term,
    data: Term,
    address: Option<Address>,
    flags: Term,
    reference: Term,
) -> Done {
    let found = find(p, socket)?;
    let bits = data.as_bits().filter(|bits| bits.is_binary()).ok_or(Fail::BADARG)?;
    let bytes = bits.to_bytes();
    let flags: c_int = integer::<c_int>(flags)? | libc::MSG_NOSIGNAL;
    let mut state = match enter_write(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let (to, length) = address
        .as_ref()
        .map_or((std::ptr::null(), 0), |address| (address.as_ptr(), address.length));
    // SAFETY: the bytes and the address are there during the call.
    let result = count(unsafe {
        libc::sendto(state.raw(), bytes.as_ptr().cast(), bytes.len(), flags, to, length)
    });
    sent(p, &found, &mut state, (socket, reference), result, bytes.len())
}

#[bif("prim_socket:nif_sendmsg/5")]
fn sendmsg(
    p: &mut Process,
    socket: Term,
    message: Term,
    flags: Term,
    reference: Term,
    vector: Term,
) -> BifResult {
    let done = send_message(p, socket, message, flags, reference, vector);
    answer(p, done)
}

fn send_message(
    p: &mut Process,
    socket: Term,
    message: Term,
    flags: Term,
    reference: Term,
    vector: Term,
) -> Done {
    let found = find(p, socket)?;
    let flags: c_int = integer::<c_int>(flags)? | libc::MSG_NOSIGNAL;
    let slices = messages::slices(vector).ok_or(Fail::Invalid(atom!("iov")))?;
    let mut message = Message::from_term(p.vm.release(), message)?;
    send_slices(p, (socket, reference), &found, &slices, &mut message, flags)
}

#[bif("prim_socket:nif_sendv/3")]
fn sendv(p: &mut Process, socket: Term, vector: Term, reference: Term) -> BifResult {
    let found = find(p, socket)?;
    let done = match messages::slices(vector) {
        Some(slices) => send_slices(
            p,
            (socket, reference),
            &found,
            &slices,
            &mut Message::default(),
            libc::MSG_NOSIGNAL,
        ),
        None => Err(Fail::Invalid(atom!("iov"))),
    };
    answer(p, done)
}

fn send_slices(
    p: &mut Process,
    names: (Term, Term),
    found: &Arc<Socket>,
    slices: &[std::borrow::Cow<'_, [u8]>],
    message: &mut Message,
    flags: c_int,
) -> Done {
    // A stream takes the rest by a later call; a message cannot be cut.
    let is_stream = found.kind == libc::SOCK_STREAM;
    if slices.len() > SLICES_MAX && !is_stream {
        return Err(Fail::Invalid(atom!("iov")));
    }
    let now = &slices[..slices.len().min(SLICES_MAX)];
    let total: usize = now.iter().map(|slice| slice.len()).sum();
    let mut state = match enter_write(p, found, names.0, names.1)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let result = message.send(state.raw(), now, flags);
    if let Ok(bytes) = result
        && bytes >= total
        && now.len() < slices.len()
    {
        // The caller goes on at once.
        state.counters.written.bytes += bytes as u64;
        return Ok(p.tuple(&[Term::atom(atom!("iov")), Term::small(bytes as i64)]));
    }
    sent(p, found, &mut state, names, result, total)
}

/// Several messages at once; OTP 29. The answer has the length that was sent of each.
#[bif("prim_socket:nif_sendmmsg/4")]
fn sendmmsg(
    p: &mut Process,
    socket: Term,
    messages: Term,
    flags: Term,
    reference: Term,
) -> BifResult {
    let done = send_messages(p, socket, messages, flags, reference);
    answer(p, done)
}

fn send_messages(
    p: &mut Process,
    socket: Term,
    messages: Term,
    flags: Term,
    reference: Term,
) -> Done {
    let found = find(p, socket)?;
    let flags: c_int = integer::<c_int>(flags)? | libc::MSG_NOSIGNAL;
    let all = messages.list_to_vec().ok_or(Fail::BADARG)?;
    let mut prepared = Vec::with_capacity(all.len());
    for &item in all.iter().take(SLICES_MAX) {
        let vector = swarmrt_term::map::get(item, Term::atom(atom!("iov")))
            .filter(|_| item.is_map())
            .ok_or(Fail::BADARG)?;
        let slices = messages::slices(vector).ok_or(Fail::BADARG)?;
        prepared.push((Message::from_term(p.vm.release(), item)?, slices));
    }
    if prepared.is_empty() {
        return Ok(Term::atom(am::OK));
    }
    let mut state = match enter_write(p, &found, socket, reference)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    let mut lengths = Vec::new();
    let mut is_whole = true;
    for (message, slices) in &mut prepared {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        match message.send(state.raw(), slices, flags | libc::MSG_DONTWAIT) {
            Ok(bytes) => {
                state.counters.written.add(bytes);
                is_whole &= bytes == total;
                lengths.push(Term::small(bytes as i64));
            }
            Err(_) if !lengths.is_empty() => break,
            Err(fail) => return sent(p, &found, &mut state, (socket, reference), Err(fail), 1),
        }
    }
    state.leave(p, Side::Write);
    if is_whole && lengths.len() == all.len() {
        return Ok(Term::atom(am::OK));
    }
    let lengths = p.list(&lengths);
    ok(p, lengths)
}

// ---- Files ----

/// Bytes that one call of the system sends at most.
const FILE_BYTES_MAX: usize = 0x7fff_f000;

#[bif("prim_socket:nif_sendfile/5", dirty_io)]
fn sendfile_begin(
    p: &mut Process,
    socket: Term,
    reference: Term,
    offset: Term,
    length: Term,
    file: Term,
) -> BifResult {
    let found = find(p, socket)?;
    let Some(file) = swarmrt_io::file::descriptor_of(p, file) else {
        return Err(swarmrt_machine::BifExit::BADARG);
    };
    let done = send_file(p, &found, (socket, reference), offset, length, Some(file));
    answer(p, done)
}

#[bif("prim_socket:nif_sendfile/4", dirty_io)]
fn sendfile_go_on(
    p: &mut Process,
    socket: Term,
    reference: Term,
    offset: Term,
    length: Term,
) -> BifResult {
    let found = find(p, socket)?;
    let done = send_file(p, &found, (socket, reference), offset, length, None);
    answer(p, done)
}

/// The file of a `sendfile` that was given up.
#[bif("prim_socket:nif_sendfile/1", dirty_io)]
fn sendfile_deferred_close(p: &mut Process, socket: Term) -> BifResult {
    find(p, socket)?.lock().file = None;
    Ok(Term::atom(am::OK))
}

fn send_file(
    p: &mut Process,
    found: &Arc<Socket>,
    names: (Term, Term),
    offset: Term,
    length: Term,
    file: Option<std::os::fd::OwnedFd>,
) -> Done {
    let (offset, length): (i64, usize) = (integer(offset)?, integer(length)?);
    let mut state = match enter_write(p, found, names.0, names.1)? {
        Ok(state) => state,
        Err(answer) => return Ok(answer),
    };
    if file.is_some() {
        state.file = file;
    }
    let Some(from) = state.file.as_ref().map(AsRawFd::as_raw_fd) else {
        return Err(Fail::Misuse(atom!("state")));
    };
    state.counters.sendfile.get_or_insert_default().tries += 1;
    let (mut at, mut total) = (offset, 0);
    loop {
        let room = if length == 0 { FILE_BYTES_MAX } else { (length - total).min(FILE_BYTES_MAX) };
        let step = if room == 0 {
            Ok(0)
        } else {
            // SAFETY: both are open.
            count(unsafe { libc::sendfile(state.raw(), from, &raw mut at, room) })
        };
        let traffic = state.counters.sendfile.get_or_insert_default();
        match step {
            Ok(0) => {
                traffic.add(total);
                state.file = None;
                state.leave(p, Side::Write);
                return ok(p, Term::small(total as i64));
            }
            Ok(bytes) => {
                total += bytes;
                traffic.bytes += bytes as u64;
            }
            Err(Fail::System(libc::EINTR)) => {}
            Err(Fail::System(libc::EAGAIN)) => {
                traffic.waits += 1;
                found.wait(p, &mut state, Side::Write, names.0, names.1)?;
                return Ok(p.tuple(&[select(), Term::small(total as i64)]));
            }
            Err(fail) => {
                traffic.fails += 1;
                state.file = None;
                if let Fail::System(number) = fail {
                    state.fail(
                        p,
                        Side::Write,
                        swarmrt_term::Atom::new(swarmrt_io::posix::name(number)),
                    );
                }
                return Err(fail);
            }
        }
    }
}
