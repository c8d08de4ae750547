//! Ports on files and on descriptors that the machine was given. Other programs may share
//! them, so they stay as they are and block: one thread reads, one writes.

use super::driver::{Driver, Request, Written};
use super::options::{Options, Source};
use super::{Port, Ports, error_name, input};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use swarmrt_machine::Vm;
use swarmrt_term::{Term, atom};

/// Hands bytes to the writing thread.
pub struct Writer(Mutex<Option<Sender<Vec<u8>>>>);

impl Writer {
    /// Bytes go to the thread at the other end of the channel.
    pub fn new(sender: Sender<Vec<u8>>) -> Writer {
        Writer(Mutex::new(Some(sender)))
    }
    /// `false` when they are not written: after [`finish`](Self::finish), or when the thread has
    /// ended.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        self.0.lock().as_ref().is_some_and(|sender| sender.send(bytes).is_ok())
    }
    /// No more will come; what is under way is still written.
    pub fn finish(&self) {
        self.0.lock().take();
    }
}

/// Wakes the reading thread out of its wait.
pub struct Stopper(Option<OwnedFd>);

impl Stopper {
    /// `fd` is an `eventfd(2)` that the reading thread waits for, too.
    pub fn new(fd: OwnedFd) -> Stopper {
        Stopper(Some(fd))
    }
    /// Ends the wait, for good.
    pub fn stop(&self) {
        if let Some(fd) = &self.0 {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the descriptor is open, and eight bytes are given.
            unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), 8) };
        }
    }
}

/// The driver of files and descriptors.
struct Descriptors {
    writer: Option<Writer>,
    /// A file, which is written at once: it never has a writer wait.
    file: Option<Mutex<File>>,
    stopper: Stopper,
}

impl Driver for Descriptors {
    /// Bytes are packed as the options say; when they are too long for the packet header, the port
    /// ends.
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        if self.writer.is_none() && self.file.is_none() {
            return Written::Done;
        }
        let Some(bytes) = request.port.options.pack(bytes) else {
            request.port.close(request.vm, Term::atom(atom!("einval")));
            return Written::Done;
        };
        request.port.note_output(request.vm, bytes.len());
        if let Some(file) = &self.file {
            let result = file.lock().write_all(&bytes);
            if let Err(problem) = result {
                request.port.close(request.vm, error_name(&problem));
            }
            return Written::Done;
        }
        let Some(writer) = &self.writer else { return Written::Done };
        Ports::of(request.vm).note_writing(true);
        if !writer.send(bytes) {
            Ports::of(request.vm).note_writing(false);
        }
        Written::Done
    }
    fn close(&self, _vm: &'static Vm, _port: &Port) {
        if let Some(writer) = &self.writer {
            writer.finish();
        }
        self.stopper.stop();
    }
}

/// A copy of a descriptor, numbered from 10 on and closed in programs that are started.
///
/// # Errors
/// When `fd` is no open descriptor, or there are too many.
pub fn duplicate(fd: i32) -> std::io::Result<File> {
    // SAFETY: `dup` of any number is safe; the result is ours.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
    if copy < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(unsafe { File::from_raw_fd(copy) })
    }
}

/// What is read, and what is written.
fn connect(source: &Source, options: &Options) -> std::io::Result<(Option<File>, Option<File>)> {
    match source {
        Source::Descriptors { input, output } => Ok((
            if options.input { Some(duplicate(*input)?) } else { None },
            if options.output { Some(duplicate(*output)?) } else { None },
        )),
        Source::File(path) => {
            let mut how = File::options();
            match (options.input, options.output) {
                (true, false) => how.read(true),
                (false, _) => how.write(true).create(true).truncate(true),
                (true, true) => how.read(true).write(true).create(true).truncate(false),
            };
            let file = how.open(path)?;
            let output = if options.output { Some(file.try_clone()?) } else { None };
            Ok((options.input.then_some(file), output))
        }
        Source::Command(_) | Source::Driver(_) | Source::Executable(_) => {
            Err(std::io::Error::from_raw_os_error(libc::EINVAL))
        }
    }
}

/// Opens a port on a file or on descriptors for the process `owner`.
///
/// # Errors
/// What the operating system says of them.
pub fn open(
    vm: &'static Vm,
    owner: u64,
    source: &Source,
    name: String,
    options: Options,
) -> std::io::Result<Arc<Port>> {
    let (input, mut output) = connect(source, &options)?;
    let is_file = |file: &File| {
        matches!(source, Source::File(_)) && file.metadata().is_ok_and(|data| data.is_file())
    };
    let file = output.take_if(|file| is_file(file)).map(Mutex::new);
    let (sender, receiver) = channel::<Vec<u8>>();
    // SAFETY: `eventfd` gives a new descriptor, ours.
    let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    let wake = if wake < 0 { None } else { Some(unsafe { OwnedFd::from_raw_fd(wake) }) };
    let wake_for_reader = wake.as_ref().map(OwnedFd::try_clone).transpose()?;
    let ports = Ports::of(vm);
    let driver = Descriptors {
        writer: output.is_some().then(|| Writer::new(sender)),
        file,
        stopper: Stopper(wake),
    };
    let port = ports.open(vm, owner, name, options, None, Arc::new(driver));
    let id = port.term.as_port().unwrap_or_default();
    if let Some(mut output) = output {
        let port = port.clone();
        vm.start_thread(format!("port {id} out"), move || {
            while let Ok(bytes) = receiver.recv() {
                let result = output.write_all(&bytes);
                ports.note_writing(false);
                if let Err(problem) = result {
                    // What is still queued will not be written either.
                    port.close(vm, error_name(&problem));
                    while receiver.recv().is_ok() {
                        ports.note_writing(false);
                    }
                }
            }
        })?;
    }
    if let Some(input) = input {
        let port = port.clone();
        vm.start_thread(format!("port {id} in"), move || {
            read_all(vm, &port, input, wake_for_reader.as_ref());
        })?;
    }
    Ok(port)
}

/// Whether there is something to read; `false` when the port was closed meanwhile.
pub fn wait_readable(input: &File, wake: Option<&OwnedFd>) -> bool {
    let mut fds = [
        libc::pollfd { fd: input.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: wake.map_or(-1, AsRawFd::as_raw_fd), events: libc::POLLIN, revents: 0 },
    ];
    loop {
        // SAFETY: two structures are given.
        let count = unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
        if count >= 0 {
            return fds[1].revents == 0;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return false;
        }
    }
}

fn read_all(vm: &'static Vm, port: &Arc<Port>, mut file: File, wake: Option<&OwnedFd>) {
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while wait_readable(&file, wake) {
        match file.read(&mut buffer) {
            Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => {}
            // A terminal that has gone away reads as an error.
            Ok(0) | Err(_) => return input::ended(vm, port, None, &pending),
            Ok(count) => {
                pending.extend_from_slice(&buffer[..count]);
                let used = input::deliver(vm, port, &pending);
                pending.drain(..used);
            }
        }
    }
}
