//! The driver of programs: pipes to and from a child, which the poller waits for, and its end.
//!
//! Nothing blocks. What is written goes out at once as far as the pipe takes it; while more than
//! [`QUEUED_BYTES_MAX`] wait, the port is busy, and writers wait. A port that is closed still
//! writes what waits, and its child is waited for, so that none is left over.

use super::driver::{Driver, Ready, Request, Written};
use super::input::{READ_BYTES, READS_MAX};
use super::options::{Options, Source};
use super::poller::{Poller, Watcher};
use super::{Port, Ports, error_name, input, start};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, OnceLock, Weak};
use swarmrt_machine::Vm;
use swarmrt_term::{Term, atom};

/// The queue is full, and the port busy until it is empty.
const QUEUED_BYTES_MAX: usize = 8 << 10;

/// Programs whose ports are closed, and that are still written to or waited for.
#[derive(Default)]
struct Lingering(Mutex<Vec<Arc<Program>>>);

struct Program {
    vm: &'static Vm,
    this: Weak<Program>,
    port: OnceLock<Weak<Port>>,
    state: Mutex<State>,
}

struct State {
    input: Option<Watched<File>>,
    output: Option<Watched<File>>,
    /// Which becomes readable when the child ends.
    end: Option<Watched<OwnedFd>>,
    child: Option<Child>,
    status: Option<ExitStatus>,
    /// What was read and is no whole message yet.
    pending: Vec<u8>,
    /// What is to be written, from `written` on.
    queue: Vec<u8>,
    written: usize,
    is_busy: bool,
    /// The owner has been told of the end of the input.
    has_ended: bool,
    /// The port is closed: nobody is to be told anything.
    is_closed: bool,
}

/// A descriptor that the poller knows by a key.
struct Watched<T: AsFd> {
    fd: T,
    key: u64,
    vm: &'static Vm,
}

impl<T: AsFd> Watched<T> {
    fn new(vm: &'static Vm, fd: T, watcher: &Weak<Program>) -> io::Result<Watched<T>> {
        let watcher: Weak<dyn Watcher> = watcher.clone();
        let key = Poller::of(vm)?.watch(fd.as_fd(), watcher)?;
        Ok(Watched { fd, key, vm })
    }
    fn want(&self, interest: Ready) -> io::Result<()> {
        Poller::of(self.vm)?.want_watched(self.fd.as_fd(), self.key, interest)
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        if let Ok(poller) = Poller::of(self.vm) {
            poller.forget(self.fd.as_fd(), self.key);
        }
    }
}

const READABLE: Ready = Ready { readable: true, ..Ready::NOTHING };
const WRITABLE: Ready = Ready { writable: true, ..Ready::NOTHING };

/// What is to be done to the port when its driver is not locked any more.
enum After {
    Nothing,
    /// There is room in the queue again.
    WakeWriters,
    /// The input is over; how the program ended, where that is to be told.
    Ended(Option<ExitStatus>, Vec<u8>),
    /// Writing failed.
    Close(Term),
}

impl State {
    fn queued(&self) -> usize {
        self.queue.len() - self.written
    }

    /// Writes what the pipe takes.
    fn flush(&mut self, vm: &'static Vm) -> After {
        let Some(output) = &mut self.output else { return After::Nothing };
        while self.written < self.queue.len() {
            match output.fd.write(&self.queue[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return output.want(WRITABLE).map_or_else(
                        |error| After::Close(error_name(&error)),
                        |()| After::Nothing,
                    );
                }
                Err(error) => {
                    self.drop_output(vm);
                    return After::Close(error_name(&error));
                }
            }
        }
        self.empty_queue(vm);
        if self.is_closed {
            self.output = None;
        }
        if std::mem::take(&mut self.is_busy) { After::WakeWriters } else { After::Nothing }
    }

    /// Nothing is left to be written, or nothing of it will be.
    fn empty_queue(&mut self, vm: &'static Vm) {
        if !self.queue.is_empty() {
            Ports::of(vm).note_writing(false);
        }
        (self.queue, self.written) = (Vec::new(), 0);
    }

    fn drop_output(&mut self, vm: &'static Vm) {
        self.output = None;
        self.is_busy = false;
        self.empty_queue(vm);
    }

    /// Reads what there is and makes messages of it.
    fn take_in(&mut self, vm: &'static Vm, port: &Port) {
        for _ in 0..READS_MAX {
            let Some(input) = &self.input else { return };
            match input::read_more(&input.fd, &mut self.pending) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.input = None;
                    return;
                }
                Ok(count) => {
                    let used = input::deliver(vm, port, &self.pending);
                    self.pending.drain(..used);
                    if count < READ_BYTES {
                        // The end, too, is reported.
                        break;
                    }
                }
            }
        }
        if self.input.as_ref().is_some_and(|input| input.want(READABLE).is_err()) {
            self.input = None;
        }
    }

    /// Sees whether the child has ended.
    fn reap(&mut self) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => self.status = Some(status),
                // Somebody else has waited for it.
                Err(_) => {}
            }
            self.child = None;
            self.end = None;
        }
    }

    /// Whether the owner is to be told of the end, and of which.
    fn end(&mut self, options: &Options) -> After {
        let is_over = self.input.is_none() && (!options.exit_status || self.child.is_none());
        // A port that only writes notices the end of its program when it writes, and is not told
        // the status, as in OTP.
        if self.has_ended || self.is_closed || !is_over || !options.input {
            return After::Nothing;
        }
        self.has_ended = true;
        After::Ended(self.status.filter(|_| options.exit_status), std::mem::take(&mut self.pending))
    }

    /// Whether there is nothing more to do behind a closed port.
    fn is_done(&self) -> bool {
        self.is_closed && self.child.is_none() && self.queue.is_empty()
    }
}

impl Program {
    fn port(&self) -> Option<Arc<Port>> {
        self.port.get()?.upgrade()
    }

    fn finish(vm: &'static Vm, port: &Arc<Port>, after: After) {
        match after {
            After::Nothing => {}
            After::WakeWriters => port.wake_writers(vm),
            After::Ended(status, pending) => input::ended(vm, port, status, &pending),
            After::Close(reason) => port.close(vm, reason),
        }
    }
}

impl Watcher for Program {
    fn ready(&self, vm: &'static Vm, _: Ready) {
        let port = self.port();
        let _turn = port.as_ref().and_then(|port| vm.port_turn(port.term, None));
        let mut state = self.state.lock();
        let mut afters = [After::Nothing, After::Nothing];
        if state.queued() > 0 {
            afters[0] = state.flush(vm);
        }
        if let Some(port) = &port {
            state.take_in(vm, port);
        }
        state.reap();
        if let Some(port) = &port {
            afters[1] = state.end(&port.options);
        }
        let is_done = state.is_done();
        drop(state);
        if let Some(port) = &port {
            afters.into_iter().for_each(|after| Program::finish(vm, port, after));
        }
        if is_done {
            let mut lingering = vm.extension::<Lingering>().0.lock();
            // The caller keeps it until it returns.
            lingering.retain(|other| !std::ptr::eq(&raw const **other, self));
        }
    }
}

impl Driver for Program {
    /// Bytes are packed as the options say; when they are too long for the packet header, the port
    /// ends.
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        let (vm, port) = (request.vm, request.port);
        let mut state = self.state.lock();
        if state.output.is_none() {
            return Written::Done;
        }
        let Some(bytes) = port.options.pack(bytes) else {
            drop(state);
            port.close(vm, Term::atom(atom!("einval")));
            return Written::Done;
        };
        port.note_output(vm, bytes.len());
        if bytes.is_empty() {
            return Written::Done;
        }
        let mut after = After::Nothing;
        if state.queue.is_empty() {
            Ports::of(vm).note_writing(true);
            state.queue = bytes;
            after = state.flush(vm);
        } else {
            state.queue.extend_from_slice(&bytes);
        }
        state.is_busy |= state.queued() >= QUEUED_BYTES_MAX;
        drop(state);
        Program::finish(vm, port, after);
        Written::Done
    }

    fn is_busy(&self) -> bool {
        self.state.lock().is_busy
    }

    fn suspends_writers(&self) -> bool {
        true
    }

    fn queued_bytes(&self) -> usize {
        self.state.lock().queued()
    }

    fn drop_queue(&self) {
        self.state.lock().drop_output(self.vm);
    }

    fn close(&self, vm: &'static Vm, _: &Port) {
        let mut state = self.state.lock();
        state.input = None;
        state.is_closed = true;
        if state.queue.is_empty() {
            state.output = None;
        }
        if !state.is_done()
            && let Some(this) = self.this.upgrade()
        {
            vm.extension::<Lingering>().0.lock().push(this);
        }
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}

/// Starts a program behind a port for the process `owner`.
///
/// # Errors
/// What the operating system says of the program.
pub fn open(
    vm: &'static Vm,
    owner: u64,
    source: &Source,
    name: String,
    options: Options,
) -> io::Result<Arc<Port>> {
    let started = start::start(source, &options)?;
    let os_pid = started.child.id();
    for pipe in started.input.iter().chain(&started.output) {
        set_nonblocking(pipe.as_fd())?;
    }
    let end = rustix::process::Pid::from_raw(os_pid.cast_signed()).and_then(|pid| {
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
    });
    let watched = |file: Option<File>, this: &Weak<Program>| {
        file.map(|file| Watched::new(vm, file, this)).transpose()
    };
    let mut problem = None;
    let program = Arc::new_cyclic(|this| {
        let mut state = State {
            input: None,
            output: None,
            end: None,
            child: Some(started.child),
            status: None,
            pending: Vec::new(),
            queue: Vec::new(),
            written: 0,
            is_busy: false,
            has_ended: false,
            is_closed: false,
        };
        let watch = || {
            state.input = watched(started.input, this)?;
            state.output = watched(started.output, this)?;
            state.end = end.map(|end| Watched::new(vm, end, this)).transpose()?;
            Ok(())
        };
        problem = watch().err();
        Program { vm, this: this.clone(), port: OnceLock::new(), state: Mutex::new(state) }
    });
    if let Some(problem) = problem {
        return Err(problem);
    }
    let port = Ports::of(vm).open(vm, owner, name, options, Some(os_pid), program.clone());
    let _ = program.port.set(Arc::downgrade(&port));
    let has_end = program.state.lock().end.is_some();
    if !has_end {
        // A system without descriptors for processes: a thread waits.
        let program = program.clone();
        vm.start_thread("port wait", move || wait_for(vm, &program, os_pid))?;
    }
    let state = program.state.lock();
    if let Some(input) = &state.input {
        input.want(READABLE)?;
    }
    if let Some(end) = &state.end {
        end.want(READABLE)?;
    }
    drop(state);
    Ok(port)
}

/// Waits for the end of a child, and leaves it to be reaped.
fn wait_for(vm: &'static Vm, program: &Program, os_pid: u32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = Pid::from_raw(os_pid.cast_signed()) else { return };
    while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        .is_err_and(|error| error == rustix::io::Errno::INTR)
    {}
    Watcher::ready(program, vm, Ready::NOTHING);
}
