//! The threads behind a port: one reads, one writes, and a child is waited for.

use super::driver::{Driver, Request, Written};
use super::options::{Framing, Options, Source};
use super::{Port, Ports};
use parking_lot::Mutex;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use swarmrt_machine::Vm;
use swarmrt_term::{Alloc, Term, am, atom};

/// Hands bytes to the writing thread.
pub struct Writer(Mutex<Option<Sender<Vec<u8>>>>);

impl Writer {
    pub fn new(sender: Sender<Vec<u8>>) -> Writer {
        Writer(Mutex::new(Some(sender)))
    }
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
    pub fn new(fd: OwnedFd) -> Stopper {
        Stopper(Some(fd))
    }
    pub fn stop(&self) {
        if let Some(fd) = &self.0 {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the descriptor is open, and eight bytes are given.
            unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), 8) };
        }
    }
}

/// The driver of programs and descriptors.
struct Program {
    writer: Option<Writer>,
    /// A file, which is written at once: it never has a writer wait.
    file: Option<Mutex<File>>,
    stopper: Stopper,
}

impl Driver for Program {
    /// Bytes are packed as the options say; when they are too long for the packet header, the port ends.
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

struct Connection {
    input: Option<File>,
    output: Option<File>,
    child: Option<Child>,
}

pub fn duplicate(fd: i32) -> std::io::Result<File> {
    // SAFETY: `dup` of any number is safe; the result is ours.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
    if copy < 0 { Err(std::io::Error::last_os_error()) } else { Ok(unsafe { File::from_raw_fd(copy) }) }
}

/// Has the child start in a folder. As in OTP, it is the child that fails where there is no such folder: it says so,
/// and its status is the number of the error.
fn enter_folder(command: &mut Command, folder: &OsStr) -> std::io::Result<()> {
    let path = CString::new(folder.as_bytes())?;
    let complaint = [b"spawn: Could not cd to ", folder.as_bytes(), b"\r\n"].concat();
    // SAFETY: `chdir`, `write` and `_exit` are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::chdir(path.as_ptr()) < 0 {
                let problem = std::io::Error::last_os_error().raw_os_error();
                libc::write(2, complaint.as_ptr().cast(), complaint.len());
                libc::_exit(problem.unwrap_or(libc::ENOENT));
            }
            Ok(())
        });
    }
    Ok(())
}

/// Starts the program. As in OTP, it is the child that fails where arguments and environment are too large: its status is
/// the number of the error.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    match command.spawn() {
        Err(problem) if problem.raw_os_error() == Some(libc::E2BIG) => {
            // SAFETY: `_exit` is async-signal-safe.
            unsafe { command.pre_exec(|| libc::_exit(libc::E2BIG)) };
            command.spawn()
        }
        started => started,
    }
}

fn connect(source: &Source, options: &Options) -> std::io::Result<Connection> {
    let mut command = match source {
        Source::Descriptors { input, output } => {
            return Ok(Connection {
                input: if options.input { Some(duplicate(*input)?) } else { None },
                output: if options.output { Some(duplicate(*output)?) } else { None },
                child: None,
            });
        }
        Source::Command(line) => {
            let mut command = Command::new("/bin/sh");
            command.arg0("sh");
            command.arg("-c").arg(format!("exec {line}"));
            command
        }
        Source::Driver(_) => return Err(std::io::Error::from_raw_os_error(libc::EINVAL)),
        Source::File(path) => {
            let mut how = File::options();
            match (options.input, options.output) {
                (true, false) => how.read(true),
                (false, _) => how.write(true).create(true).truncate(true),
                (true, true) => how.read(true).write(true).create(true).truncate(false),
            };
            let file = how.open(path)?;
            let output = if options.output { Some(file.try_clone()?) } else { None };
            return Ok(Connection { input: options.input.then_some(file), output, child: None });
        }
        Source::Executable(path) if std::path::Path::new(path).is_dir() => {
            let mut command = Command::new("/bin/sh");
            // SAFETY: `_exit` is async-signal-safe. As in OTP, it is the child that fails.
            unsafe { command.pre_exec(|| libc::_exit(libc::EACCES)) };
            command
        }
        Source::Executable(path) => {
            if !std::path::Path::new(path).exists() {
                return Err(std::io::Error::from_raw_os_error(libc::ENOENT));
            }
            let mut command = Command::new(path);
            command.args(&options.arguments);
            if let Some(name) = &options.argument0 {
                command.arg0(name);
            }
            command
        }
    };
    if let Some(folder) = &options.folder {
        enter_folder(&mut command, folder)?;
    }
    for (name, value) in &options.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // A child has signals as a program expects them, and a group of its own is not made: as OTP.
    if options.use_stdio {
        command.stdin(if options.output { Stdio::piped() } else { Stdio::null() });
        let mut both = None;
        if !options.stderr_to_stdout {
            command.stdout(if options.input { Stdio::piped() } else { Stdio::inherit() });
        } else if options.input {
            let (read, write) = std::io::pipe()?;
            command.stdout(write.try_clone()?).stderr(write);
            both = Some(read);
        } else {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        // Without anything to be done between `fork` and `exec` the machine's memory is not copied, which takes a millisecond.
        let mut child = spawn(&mut command)?;
        // The ends of the pipe that are the child's go with it.
        drop(command);
        let input = both.map(OwnedFd::from).or_else(|| child.stdout.take().map(OwnedFd::from)).map(File::from);
        // SAFETY: the descriptors are handed over.
        let output = child.stdin.take().map(|into| unsafe { File::from_raw_fd(into.into_raw_fd()) });
        return Ok(Connection { input, output, child: Some(child) });
    }
    // The child reads from descriptor 3 and writes to 4, instead of 0 and 1.
    let (mut input, mut output, mut ends) = (None, None, Vec::new());
    if options.output || !options.input {
        let (read, write) = std::io::pipe()?;
        output = Some(File::from(OwnedFd::from(write)));
        ends.push((OwnedFd::from(read), 3));
    }
    if options.input {
        let (read, write) = std::io::pipe()?;
        input = Some(File::from(OwnedFd::from(read)));
        ends.push((OwnedFd::from(write), 4));
    }
    let moves: Vec<(i32, i32)> = ends.iter().map(|(end, number)| (end.as_raw_fd(), *number)).collect();
    // SAFETY: `dup2` and `fcntl` are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let mut copies = [0; 2];
            for (copy, &(end, _)) in copies.iter_mut().zip(&moves) {
                *copy = libc::fcntl(end, libc::F_DUPFD_CLOEXEC, 10);
            }
            for (&copy, &(_, number)) in copies.iter().zip(&moves) {
                if copy < 0 || libc::dup2(copy, number) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let child = spawn(&mut command)?;
    Ok(Connection { input, output, child: Some(child) })
}

fn error_name(problem: &std::io::Error) -> Term {
    Term::atom(swarmrt_term::Atom::new(crate::posix::name(problem.raw_os_error().unwrap_or(libc::EIO))))
}

/// Opens a port for the process `owner`.
///
/// # Errors
/// What the operating system says of the program or the descriptors.
pub fn open(vm: &'static Vm, owner: u64, source: &Source, name: String, options: Options) -> std::io::Result<Arc<Port>> {
    let mut connection = connect(source, &options)?;
    let is_file = |file: &File| matches!(source, Source::File(_)) && file.metadata().is_ok_and(|data| data.is_file());
    let file = connection.output.take_if(|file| is_file(file)).map(Mutex::new);
    let (sender, receiver) = channel::<Vec<u8>>();
    let has_output = connection.output.is_some();
    // SAFETY: `eventfd` gives a new descriptor, ours.
    let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    let wake = if wake < 0 { None } else { Some(unsafe { OwnedFd::from_raw_fd(wake) }) };
    let wake_for_reader = wake.as_ref().map(OwnedFd::try_clone).transpose()?;
    let ports = Ports::of(vm);
    let driver = Program { writer: has_output.then(|| Writer::new(sender)), file, stopper: Stopper(wake) };
    let port = ports.open(owner, name, options, connection.child.as_ref().map(Child::id), Arc::new(driver));
    let id = port.term.as_port().unwrap_or_default();
    if let Some(mut output) = connection.output {
        let port = port.clone();
        std::thread::Builder::new().name(format!("port {id} out")).spawn(move || {
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
    let reading = port.clone();
    let child = connection.child;
    if let Some(input) = connection.input {
        std::thread::Builder::new().name(format!("port {id} in")).spawn(move || read_all(vm, &reading, input, wake_for_reader, child))?;
    } else if let Some(mut child) = child {
        std::thread::Builder::new().name(format!("port {id} wait")).spawn(move || {
            let status = child.wait();
            // A port that only writes notices the end of its program when it writes, unless it is to tell the status.
            if reading.options.exit_status {
                input_ended(vm, &reading, status.ok(), &[]);
            }
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

fn read_all(vm: &'static Vm, port: &Arc<Port>, mut input: File, wake: Option<OwnedFd>, child: Option<Child>) {
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if !wait_readable(&input, wake.as_ref()) {
            // Closed by the machine: the child is still to be waited for, so that it leaves no zombie.
            drop(input);
            if let Some(mut child) = child {
                let _ = child.wait();
            }
            return;
        }
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                pending.extend_from_slice(&buffer[..count]);
                let used = deliver(vm, port, &pending);
                pending.drain(..used);
            }
            Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => {}
            // A terminal or child that has gone away reads as an error.
            Err(_) => break,
        }
    }
    drop(input);
    let wait = |child: Option<Child>| child.and_then(|mut child| child.wait().ok());
    if port.options.exit_status {
        input_ended(vm, port, wait(child), &pending);
    } else {
        input_ended(vm, port, None, &pending);
        // So that it leaves no zombie.
        wait(child);
    }
}

/// Nothing more comes in. What is left of a line, and the end, come behind the status and together with it, as OTP has it and
/// Elixir's `System.cmd` expects it.
fn input_ended(vm: &'static Vm, port: &Arc<Port>, status: Option<std::process::ExitStatus>, pending: &[u8]) {
    use std::os::unix::process::ExitStatusExt;
    // A carriage return may be one more than a line has room for.
    let (rest, limit) = if let Framing::Line(limit) = port.options.framing { (pending, limit) } else { (&[][..], 1) };
    port.note_input(vm, rest.len());
    port.tell_owner_together(vm, |heap| {
        let mut messages = Vec::new();
        if let Some(status) = status {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            messages.push(heap.tuple(&[Term::atom(atom!("exit_status")), Term::small(i64::from(code))]));
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
fn deliver(vm: &'static Vm, port: &Port, bytes: &[u8]) -> usize {
    match port.options.framing {
        Framing::Stream => {
            port.data_arrived(vm, bytes, None);
            bytes.len()
        }
        Framing::Packet(size) => {
            let mut used = 0;
            while bytes.len() - used >= size {
                let header = &bytes[used..used + size];
                let length = header.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
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
                    // One more than fits says that the line goes on, unless it may be part of the end.
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
