//! A socket: its descriptor, who waits for it, what it counts.
//!
//! Nothing here blocks. What cannot be done at once is answered with `select`, and the caller gets
//! a message when it may try again. One process at a time may wait to read, to write, to accept or
//! to connect; others stand in line behind it.

use super::address::Address;
use libc::c_int;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use swarmrt_heap::copy_term;
use swarmrt_io::port::driver::Ready;
use swarmrt_io::port::poller::{Poller, Watcher};
use swarmrt_machine::process::{OnExit, Watcher as Shown};
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, Process, Vm, pin, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// Why an operation is not done.
pub enum Fail {
    /// `{error, Name}` of an error number.
    System(c_int),
    /// `{error, Reason}`.
    Reason(Atom),
    /// `{error, {invalid, What}}`.
    Misuse(Atom),
    /// `{invalid, What}`, which `prim_socket` explains.
    Invalid(Atom),
    BifExit(BifExit),
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Fail {
        Fail::System(error.raw_os_error().unwrap_or(libc::EIO))
    }
}
impl From<BifExit> for Fail {
    fn from(raise: BifExit) -> Fail {
        Fail::BifExit(raise)
    }
}
impl Fail {
    /// `{error, closed}`.
    pub fn closed() -> Fail {
        Fail::Reason(atom!("closed"))
    }
    /// The error number of the system call that has just failed.
    pub fn last() -> Fail {
        io::Error::last_os_error().into()
    }
    /// The error `badarg`.
    pub const BADARG: Fail = Fail::BifExit(BifExit::BADARG);
}

/// What an operation of `socket` returns.
pub type Done = Result<Term, Fail>;

/// The operations that a process may wait for, each with a line of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Read,
    Write,
    Accept,
    Connect,
}

/// A process that waits, and the message that tells it: `{'$socket', {'$socket', Socket}, select,
/// Reference}`.
struct Waiting {
    pid: u64,
    /// What takes it out of the line when the process ends: a key of
    /// [`swarmrt_machine::process::Extra::on_exit`].
    hook: u64,
    reference: u64,
    /// Whether the message is still to be sent.
    is_armed: bool,
    message: Term,
    _heap: FragmentHeap,
}

#[derive(Default)]
struct Line {
    current: Option<Waiting>,
    behind: VecDeque<Waiting>,
}

impl Line {
    fn is_armed(&self) -> bool {
        self.current.as_ref().is_some_and(|waiting| waiting.is_armed)
    }
    fn take_all(&mut self) -> Vec<Waiting> {
        self.current.take().into_iter().chain(self.behind.drain(..)).collect()
    }
}

/// How far a socket is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Open,
    /// Nobody may use it any more; its descriptor is to be closed.
    Closing,
    Closed,
}

/// Bits of what `socket:info/1` shows of a socket's state, in OTP's order; reading and writing have
/// a word each.
pub mod seen {
    /// It has an address.
    pub const BOUND: u32 = 1;
    /// It listens.
    pub const LISTENING: u32 = 2;
    /// A process waits for a connection.
    pub const ACCEPTING: u32 = 4;
    /// It is being connected.
    pub const CONNECTING: u32 = 8;
    /// It is connected.
    pub const CONNECTED: u32 = 16;
    /// A process has been told to wait for a `select` message.
    pub const SELECTED: u32 = 32;
    /// It is being closed.
    pub const CLOSING: u32 = 64;
    /// It is closed.
    pub const CLOSED: u32 = 128;
}

/// Counters of one direction, as `socket:info/1` shows them.
#[derive(Default, Clone, Copy)]
pub struct Traffic {
    pub bytes: u64,
    pub fails: u64,
    pub packets: u64,
    pub packet_max: u64,
    pub tries: u64,
    pub waits: u64,
}

impl Traffic {
    /// Counts a packet of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.packets += 1;
        self.packet_max = self.packet_max.max(bytes as u64);
    }
}

/// All counters of a socket.
#[derive(Default, Clone, Copy)]
pub struct Counters {
    pub read: Traffic,
    pub written: Traffic,
    pub accept_success: u64,
    pub accept_fails: u64,
    pub accept_tries: u64,
    pub accept_waits: u64,
    pub sendfile: Option<Traffic>,
}

/// What changes of a socket.
pub struct State {
    fd: Option<OwnedFd>,
    /// The descriptor was given to `socket:open/2` without being copied: whoever gave it closes it.
    pub is_lent: bool,
    pub phase: Phase,
    /// The controlling process, and the key by which it is told of the socket's end.
    pub owner: Option<(u64, u64)>,
    lines: [Line; 4],
    /// The poller's key, once somebody has waited.
    key: Option<u64>,
    pub read_seen: u32,
    pub write_seen: u32,
    pub counters: Counters,
    pub read_buffer: usize,
    /// How often a buffer may be filled before a read of any length is done, and how often it was.
    pub read_count: (u32, u32),
    pub read_control: usize,
    pub write_control: usize,
    pub debug: bool,
    pub iow: bool,
    pub use_registry: bool,
    pub select_read: bool,
    pub meta: Option<(FragmentHeap, Term)>,
    /// What `sendfile` sends.
    pub file: Option<OwnedFd>,
}

// SAFETY: the terms lie in the heaps beside them.
unsafe impl Send for State {}

/// A socket, which references of the program stand for.
pub struct Socket {
    pub domain: c_int,
    pub kind: c_int,
    pub protocol: c_int,
    vm: &'static Vm,
    state: Mutex<State>,
}

/// All sockets of the machine, by their references.
pub fn sockets(p: &Process) -> &'static Resources<Socket> {
    p.vm.extension::<Resources<Socket>>()
}

/// Whether a sweep of closed sockets is due.
#[derive(Default)]
struct SweepDue(AtomicBool);

const SWEEP_AFTER: Duration = Duration::from_secs(1);

/// A socket was closed: those to which nothing refers any more are forgotten in a moment.
fn sweep_soon(vm: &'static Vm) {
    let due = &vm.extension::<SweepDue>().0;
    if due.swap(true, Ordering::AcqRel) {
        return;
    }
    let at_ns = vm.clock.since_start_ns() + SWEEP_AFTER.as_nanos() as u64;
    vm.timers.start(
        at_ns,
        Box::new(|vm| {
            vm.extension::<SweepDue>().0.store(false, Ordering::Release);
            vm.extension::<Resources<Socket>>().sweep();
        }),
    );
}

/// The socket that a reference stands for.
///
/// # Errors
/// `badarg` when there is none.
pub fn find(p: &Process, reference: Term) -> Result<Arc<Socket>, BifExit> {
    sockets(p).get(reference).ok_or(BifExit::BADARG)
}

/// `{'$socket', Reference}`.
fn named(to: &mut impl Alloc, reference: Term) -> Term {
    to.tuple(&[Term::atom(atom!("$socket")), reference])
}

fn reference_id(reference: Term) -> Option<u64> {
    reference.as_local_ref().map(|reference| reference.id())
}

/// A time limit of 0: the caller does not wait.
pub fn is_zero(reference: Term) -> bool {
    reference == Term::atom(atom!("zero"))
}

/// Whether an operation may be tried at once.
pub enum Entry {
    Go,
    /// Somebody else waits, and the caller stands in line now.
    InLine,
    /// Somebody else waits, and the caller does not.
    Busy,
}

impl Socket {
    /// A new socket of the calling process; the reference that stands for it.
    pub fn add(
        p: &mut Process,
        fd: OwnedFd,
        domain: c_int,
        kind: c_int,
        protocol: c_int,
        use_registry: bool,
    ) -> (Term, Arc<Socket>) {
        let state = State {
            fd: Some(fd),
            is_lent: false,
            phase: Phase::Open,
            owner: None,
            lines: Default::default(),
            key: None,
            read_seen: 0,
            write_seen: 0,
            counters: Counters::default(),
            read_buffer: 8192,
            read_count: (0, 0),
            read_control: 1024,
            write_control: 1024,
            debug: false,
            iow: false,
            use_registry,
            select_read: false,
            meta: None,
            file: None,
        };
        let socket =
            Arc::new(Socket { domain, kind, protocol, vm: p.vm, state: Mutex::new(state) });
        let reference = sockets(p).add(p, socket.clone());
        socket.own(p, reference);
        if use_registry {
            socket.tell_registry(p, reference, atom!("add"));
        }
        (reference, socket)
    }

    /// The registry process keeps a list of sockets.
    pub fn tell_registry(&self, p: &mut Process, reference: Term, what: Atom) {
        let Some(pid) = p.vm.names.whereis(atom!("socket_registry")).and_then(Term::as_pid) else {
            return;
        };
        let socket = named(p, reference);
        let message = p.tuple(&[Term::atom(atom!("$socket")), Term::atom(what), socket]);
        let _guard = pin();
        signal::send_message(p.vm, Term::pid(p.id()), pid, message);
    }

    /// The state, in whatever phase.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
    /// The state of a socket that is open.
    ///
    /// # Errors
    /// `{error, closed}` when it is not.
    pub fn open(&self) -> Result<MutexGuard<'_, State>, Fail> {
        let state = self.state.lock();
        if state.phase == Phase::Open { Ok(state) } else { Err(Fail::closed()) }
    }

    /// Makes the calling process the controlling one.
    fn own(self: &Arc<Self>, p: &mut Process, reference: Term) {
        let id = p.vm.next_ref().id;
        let on_exit = self.at_end_of_owner(p, reference);
        let pid = p.id();
        p.extra().on_exit.insert(id, on_exit);
        self.lock().owner = Some((pid, id));
    }

    /// Closes the socket when its owner ends.
    fn at_end_of_owner(self: &Arc<Self>, p: &Process, reference: Term) -> OnExit {
        let socket = Arc::downgrade(self);
        let mut heap = FragmentHeap::new();
        let term = named(&mut heap, reference);
        let term = copy_term(term, &mut heap);
        let registry = p.vm.names.whereis(atom!("socket_registry")).and_then(Term::as_pid);
        let kept = Kept { heap, term };
        let call = move |vm: &'static Vm| {
            let kept = kept;
            let Some(socket) = socket.upgrade() else { return };
            if !socket.end(vm) {
                return;
            }
            if let Some(registry) = registry.filter(|_| socket.lock().use_registry) {
                let mut heap = kept.heap;
                let message = heap.tuple(&[
                    Term::atom(atom!("$socket")),
                    Term::atom(atom!("del")),
                    kept.term,
                ]);
                let _guard = pin();
                signal::send_message(vm, Term::NONE, registry, message);
            }
        };
        OnExit { watcher: Shown::Hidden, call: Box::new(call) }
    }

    /// Makes another process the owner. When that is gone, the socket is closed.
    pub fn give(self: &Arc<Self>, p: &mut Process, reference: Term, to: u64) {
        let id = p.vm.next_ref().id;
        let on_exit = self.at_end_of_owner(p, reference);
        let before = self.lock().owner.replace((to, id));
        if let Some((pid, hook)) = before {
            unhook(p, pid, hook);
        }
        let _guard = pin();
        signal::send_call(
            p.vm,
            to,
            Box::new(move |vm, process| match process {
                Some(process) => {
                    process.extra().on_exit.insert(id, on_exit);
                }
                None => (on_exit.call)(vm),
            }),
        );
    }

    /// Closes the socket, and tells the waiting processes. `false` when it was closing already.
    fn end(&self, vm: &'static Vm) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return false;
        }
        let waiting = state.begin_close(vm);
        state.finish_close();
        state.owner = None;
        drop(state);
        sweep_soon(vm);
        abort(vm, waiting, atom!("closed"));
        true
    }

    /// A process that waits has ended.
    fn forget_waiting(self: &Arc<Self>, vm: &'static Vm, side: Side, hook: u64) {
        let mut state = self.lock();
        let line = &mut state.lines[side as usize];
        line.behind.retain(|waiting| waiting.hook != hook);
        if line.current.as_ref().is_some_and(|waiting| waiting.hook == hook) {
            line.current = None;
            let _ = state.next_in_line(vm, side);
        }
    }

    /// Takes a place on a side: at once, or in line behind the process that waits there.
    pub fn enter(
        self: &Arc<Self>,
        p: &mut Process,
        state: &mut State,
        side: Side,
        socket: Term,
        reference: Term,
    ) -> Result<Entry, Fail> {
        let line = &state.lines[side as usize];
        let Some(current) = &line.current else { return Ok(Entry::Go) };
        if current.pid == p.id() {
            return Ok(Entry::Go);
        }
        if is_zero(reference) {
            return Ok(Entry::Busy);
        }
        if line.behind.iter().any(|waiting| waiting.pid == p.id()) {
            return Err(Fail::Reason(atom!("exalready")));
        }
        let waiting = self.waiting(p, side, socket, reference)?;
        state.lines[side as usize].behind.push_back(waiting);
        Ok(Entry::InLine)
    }

    fn waiting(
        self: &Arc<Self>,
        p: &mut Process,
        side: Side,
        socket: Term,
        reference: Term,
    ) -> Result<Waiting, Fail> {
        let id = reference_id(reference).ok_or(Fail::BADARG)?;
        let mut heap = FragmentHeap::new();
        let socket = copy_term(socket, &mut heap);
        let socket = named(&mut heap, socket);
        let reference = copy_term(reference, &mut heap);
        let message = heap.tuple(&[
            Term::atom(atom!("$socket")),
            socket,
            Term::atom(atom!("select")),
            reference,
        ]);
        let hook = p.vm.next_ref().id;
        let weak = Arc::downgrade(self);
        let call = move |vm: &'static Vm| {
            if let Some(socket) = weak.upgrade() {
                socket.forget_waiting(vm, side, hook);
            }
        };
        p.extra().on_exit.insert(hook, OnExit { watcher: Shown::Hidden, call: Box::new(call) });
        Ok(Waiting { pid: p.id(), hook, reference: id, is_armed: true, message, _heap: heap })
    }

    /// The caller waits on a side, in front of all others, and is told when it may try again.
    pub fn wait(
        self: &Arc<Self>,
        p: &mut Process,
        state: &mut State,
        side: Side,
        socket: Term,
        reference: Term,
    ) -> Result<(), Fail> {
        let waiting = self.waiting(p, side, socket, reference)?;
        if let Some(before) = state.lines[side as usize].current.replace(waiting) {
            unhook(p, before.pid, before.hook);
        }
        match side {
            Side::Read | Side::Accept => state.read_seen |= seen::SELECTED,
            Side::Write | Side::Connect => state.write_seen |= seen::SELECTED,
        }
        self.register(p.vm, state)?;
        state.arm(p.vm)?;
        Ok(())
    }

    fn register(self: &Arc<Self>, vm: &'static Vm, state: &mut State) -> io::Result<()> {
        if state.key.is_none() {
            let weak: Weak<dyn Watcher> = Arc::<Socket>::downgrade(self);
            let poller = Poller::of(vm)?;
            let Some(fd) = &state.fd else { return Ok(()) };
            // `finish_close` takes it from the poller first.
            state.key = Some(poller.watch(fd.as_fd(), weak)?);
        }
        Ok(())
    }
}

struct Kept {
    heap: FragmentHeap,
    term: Term,
}
// SAFETY: the term lies in the heap beside it.
unsafe impl Send for Kept {}

/// The process need not be told of its own end any more.
fn unhook(p: &mut Process, pid: u64, hook: u64) {
    if pid == p.id() {
        p.extra().on_exit.remove(&hook);
        return;
    }
    unhook_other(p.vm, pid, hook);
}

fn unhook_other(vm: &'static Vm, pid: u64, hook: u64) {
    let _guard = pin();
    signal::send_call(
        vm,
        pid,
        Box::new(move |_, process| {
            if let Some(process) = process {
                process.extra().on_exit.remove(&hook);
            }
        }),
    );
}

/// Tells those who wait that it comes to nothing: `{'$socket', Socket, abort, {Reference,
/// Reason}}`.
fn abort(vm: &'static Vm, waiting: Vec<Waiting>, reason: Atom) {
    let _guard = pin();
    for waiting in waiting {
        let message = waiting.message.as_tuple().expect("a select message");
        let mut heap = FragmentHeap::new();
        let pair = heap.tuple(&[message.get(3), Term::atom(reason)]);
        let message =
            heap.tuple(&[message.get(0), message.get(1), Term::atom(atom!("abort")), pair]);
        signal::send_message(vm, Term::NONE, waiting.pid, message);
        unhook_other(vm, waiting.pid, waiting.hook);
    }
}

impl State {
    /// The descriptor; -1 when it is closed.
    pub fn raw(&self) -> c_int {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
    /// How many processes wait on a side.
    pub fn waiting_on(&self, side: Side) -> usize {
        let line = &self.lines[side as usize];
        usize::from(line.current.is_some()) + line.behind.len()
    }
    /// Whether the process is the one that waits in front.
    pub fn is_current(&self, side: Side, pid: u64) -> Option<bool> {
        self.lines[side as usize].current.as_ref().map(|current| current.pid == pid)
    }

    /// Has the poller wait for what is wanted.
    fn arm(&self, vm: &'static Vm) -> io::Result<()> {
        let (Some(key), Some(fd)) = (self.key, &self.fd) else { return Ok(()) };
        let readable = self.lines[Side::Read as usize].is_armed()
            || self.lines[Side::Accept as usize].is_armed();
        let writable = self.lines[Side::Write as usize].is_armed()
            || self.lines[Side::Connect as usize].is_armed();
        Poller::of(vm)?.want_watched(
            fd.as_fd(),
            key,
            Ready { readable, writable, ..Ready::NOTHING },
        )
    }

    /// The next in line is in front, and is told when it may try.
    fn next_in_line(&mut self, vm: &'static Vm, side: Side) -> io::Result<()> {
        let line = &mut self.lines[side as usize];
        line.current = line.behind.pop_front();
        if line.current.is_some() { self.arm(vm) } else { Ok(()) }
    }

    /// The caller is done with a side.
    pub fn leave(&mut self, p: &mut Process, side: Side) {
        let line = &mut self.lines[side as usize];
        if let Some(current) = line.current.take() {
            unhook(p, current.pid, current.hook);
        }
        // The next one learns of an error of the poller's by trying.
        let _ = self.next_in_line(p.vm, side);
    }

    /// A side has failed for good: the caller is done, and all who wait behind it are told.
    pub fn fail(&mut self, p: &mut Process, side: Side, reason: Atom) {
        let line = &mut self.lines[side as usize];
        if let Some(current) = line.current.take() {
            unhook(p, current.pid, current.hook);
        }
        let behind = line.behind.drain(..).collect();
        abort(p.vm, behind, reason);
    }

    /// The process waits no more: `ok`, or what else OTP answers.
    pub fn cancel(&mut self, p: &mut Process, side: Side, reference: Term) -> Done {
        let not_found = Ok(Term::atom(atom!("not_found")));
        let Some(id) = reference_id(reference) else { return Err(Fail::BADARG) };
        let line = &mut self.lines[side as usize];
        if let Some(at) =
            line.behind.iter().position(|waiting| waiting.reference == id && waiting.pid == p.id())
        {
            if let Some(waiting) = line.behind.remove(at) {
                unhook(p, waiting.pid, waiting.hook);
            }
            return Ok(Term::atom(am::OK));
        }
        let Some(current) =
            line.current.take_if(|waiting| waiting.reference == id && waiting.pid == p.id())
        else {
            return not_found;
        };
        unhook(p, current.pid, current.hook);
        self.next_in_line(p.vm, side)?;
        Ok(Term::atom(if current.is_armed { am::OK } else { atom!("select_sent") }))
    }

    /// Nobody uses it any more; those who waited.
    fn begin_close(&mut self, vm: &'static Vm) -> Vec<Waiting> {
        self.phase = Phase::Closing;
        self.read_seen |= seen::CLOSING;
        self.write_seen |= seen::CLOSING;
        if let (Some(key), Some(fd)) = (self.key.take(), &self.fd)
            && let Ok(poller) = Poller::of(vm)
        {
            poller.forget(fd.as_fd(), key);
        }
        self.lines.iter_mut().flat_map(Line::take_all).collect()
    }

    /// As `begin_close`, by a process, which is not told if it waited itself.
    pub fn close(&mut self, p: &mut Process) {
        let (own, others): (Vec<_>, Vec<_>) =
            self.begin_close(p.vm).into_iter().partition(|waiting| waiting.pid == p.id());
        for waiting in own {
            unhook(p, waiting.pid, waiting.hook);
        }
        if let Some((pid, hook)) = self.owner.take() {
            unhook(p, pid, hook);
        }
        sweep_soon(p.vm);
        abort(p.vm, others, atom!("closed"));
    }

    /// Closes the descriptor.
    pub fn finish_close(&mut self) {
        drop(self.take_fd());
    }

    /// Ends its use; the descriptor, where it is to be closed.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.phase = Phase::Closed;
        self.read_seen |= seen::CLOSED;
        self.write_seen |= seen::CLOSED;
        self.file = None;
        let fd = self.fd.take()?;
        if self.is_lent {
            let _ = fd.into_raw_fd();
            return None;
        }
        Some(fd)
    }
}

impl Watcher for Socket {
    fn ready(&self, vm: &'static Vm, ready: Ready) {
        let mut state = self.lock();
        let sides: &[Side] = match (ready.readable, ready.writable) {
            (true, true) => &[Side::Read, Side::Accept, Side::Write, Side::Connect],
            (true, false) => &[Side::Read, Side::Accept],
            (false, true) => &[Side::Write, Side::Connect],
            (false, false) => &[],
        };
        let _guard = pin();
        for &side in sides {
            if let Some(waiting) =
                state.lines[side as usize].current.as_mut().filter(|waiting| waiting.is_armed)
            {
                waiting.is_armed = false;
                signal::send_message(vm, Term::NONE, waiting.pid, waiting.message);
            }
        }
        if state.lines.iter().any(Line::is_armed) {
            // It may be closed by now.
            let _ = state.arm(vm);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // No process waits: a waiting one holds the socket by its message.
        let state = self.state.get_mut();
        state.begin_close(self.vm);
        state.finish_close();
    }
}

/// What a call of the system has answered, if it was no error.
pub fn check(result: c_int) -> Result<c_int, Fail> {
    if result < 0 { Err(Fail::last()) } else { Ok(result) }
}

/// The address of this or of the other end.
pub fn end_address(
    fd: c_int,
    ask: unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> c_int,
) -> Result<Address, Fail> {
    let mut address = Address::room();
    let mut length = address.length;
    // SAFETY: there is room for any address.
    check(unsafe { ask(fd, address.as_mut_ptr(), &raw mut length) })?;
    address.length = length;
    Ok(address)
}
