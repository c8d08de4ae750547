//! `prim_tty`: the terminal of OTP 26 and later, whose Erlang code edits the line itself. The
//! machine sets the terminal's mode, reads, writes, and knows what it can do.
//!
//! Whoever wants to read asks with `tty_select` and gets `{select, Tty, Ref, ready_input}` once
//! when there is something; `read_nif` takes it and asks again.

use crate::break_menu::{self, CONTROL_C, Console};
use crate::terminfo::{self, Terminfo, capabilities};
use parking_lot::Mutex;
use std::io::Error;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use swarmrt_heap::copy::copy_whole;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom, map};
use unicode_width::UnicodeWidthChar;

const STDIN: RawFd = 0;
const STDOUT: RawFd = 1;
const STDERR: RawFd = 2;
/// Bytes that are read at once.
const READ_BYTES_MAX: u64 = 1024;

/// A terminal, or what stands in its place where there is none.
struct Tty {
    output: RawFd,
    modes: Mutex<Modes>,
}

#[derive(Clone, Copy)]
struct Modes {
    /// How the terminal was set before; `None` where there is none.
    before: Option<libc::termios>,
    ours: Option<libc::termios>,
}

/// How the terminal was set when the machine came to it, to be set again when the machine ends.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();
/// The terminal is set our way at the moment.
static IS_RAW: AtomicBool = AtomicBool::new(false);
/// The process that set the terminal's mode: when it ends, the mode does.
static OWNER: AtomicU64 = AtomicU64::new(u64::MAX);

fn ttys(p: &Process) -> &'static Resources<Tty> {
    p.vm.extension::<Resources<Tty>>()
}

fn tty_of(p: &Process, tty: Term) -> Result<Arc<Tty>, BifExit> {
    ttys(p).get(tty).ok_or(BifExit::BADARG)
}

fn device(name: Term) -> Option<RawFd> {
    match name.as_atom()?.name() {
        "stdin" => Some(STDIN),
        "stdout" => Some(STDOUT),
        "stderr" => Some(STDERR),
        _ => None,
    }
}

fn error(p: &mut Process, reason: Term) -> Term {
    p.tuple(&[Term::atom(am::ERROR), reason])
}

fn errno(problem: &Error) -> Term {
    Term::atom(Atom::new(crate::posix::name(problem.raw_os_error().unwrap_or(libc::EIO))))
}

/// `{error, {Function, Errno}}`.
fn failed(p: &mut Process, function: &str, problem: &Error) -> Term {
    let reason = p.tuple(&[Term::atom(Atom::new(function)), errno(problem)]);
    error(p, reason)
}

fn ok_with(p: &mut Process, value: Term) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::OK), value]))
}

/// How a terminal is set.
///
/// # Errors
/// The system's, as where the descriptor is no terminal.
fn mode_of(fd: RawFd) -> Result<libc::termios, Error> {
    // SAFETY: the structure is plain numbers, which the call fills.
    unsafe {
        let mut mode: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(fd, &raw mut mode) == 0 { Ok(mode) } else { Err(Error::last_os_error()) }
    }
}

fn set_mode(fd: RawFd, mode: &libc::termios) -> Result<(), Error> {
    // SAFETY: the structure came from `tcgetattr`.
    if unsafe { libc::tcsetattr(fd, libc::TCSANOW, mode) } == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// The mode in which each key arrives at once and nothing is shown by itself.
fn raw(before: libc::termios) -> libc::termios {
    let mut mode = before;
    mode.c_iflag &= !(libc::ISTRIP | libc::ICRNL);
    mode.c_oflag &= !libc::OPOST;
    mode.c_lflag &= !(libc::ICANON | libc::ECHO);
    mode.c_cc[libc::VMIN] = 1;
    mode.c_cc[libc::VTIME] = 0;
    // Control-C is ours to answer.
    mode.c_cc[libc::VINTR] = libc::_POSIX_VDISABLE;
    mode
}

extern "C" fn restore_at_exit() {
    restore();
}

/// Sets the terminal as it was.
fn restore() {
    if IS_RAW.swap(false, Ordering::SeqCst)
        && let Some(before) = BEFORE.get()
    {
        let _ = set_mode(STDIN, before);
    }
}

/// Notes that the terminal is set our way, so that it is set back when the machine ends.
fn note_raw(before: libc::termios, is_raw: bool) {
    if BEFORE.set(before).is_ok() {
        // SAFETY: the function only sets the terminal.
        unsafe { libc::atexit(restore_at_exit) };
    }
    IS_RAW.store(is_raw, Ordering::SeqCst);
}

/// Sets the terminal back when the process that uses it ends.
pub fn forget_owner(p: &mut Process) {
    if OWNER.load(Ordering::Relaxed) == p.id() {
        OWNER.store(u64::MAX, Ordering::Relaxed);
        restore();
    }
}

#[bif("prim_tty:isatty/1", since = 26)]
fn isatty(_p: &mut Process, name: Term) -> BifResult {
    let fd = device(name).ok_or(BifExit::BADARG)?;
    // SAFETY: `isatty` only asks.
    if unsafe { libc::isatty(fd) } == 1 {
        return Ok(Term::bool(true));
    }
    let is_open = Error::last_os_error().raw_os_error() != Some(libc::EBADF);
    Ok(if is_open { Term::bool(false) } else { Term::atom(atom!("ebadf")) })
}

#[bif("prim_tty:tty_create/0", since = 26, until = 27)]
fn tty_create_0(p: &mut Process) -> BifResult {
    create(p, STDOUT)
}

#[bif("prim_tty:tty_create/1", since = 28)]
fn tty_create(p: &mut Process, name: Term) -> BifResult {
    let fd = device(name).filter(|&fd| fd != STDIN).ok_or(BifExit::BADARG)?;
    create(p, fd)
}

fn create(p: &mut Process, output: RawFd) -> BifResult {
    let before = mode_of(output).ok();
    let tty = Tty { output, modes: Mutex::new(Modes { before, ours: before }) };
    let reference = ttys(p).add(p, Arc::new(tty));
    ok_with(p, reference)
}

/// OTP 26 and 27: works out the mode, which `tty_set/1` sets.
#[bif("prim_tty:tty_init/3", since = 26, until = 27)]
fn tty_init_3(p: &mut Process, tty: Term, name: Term, options: Term) -> BifResult {
    let tty = tty_of(p, tty)?;
    let fd = device(name).filter(|_| options.is_map()).ok_or(BifExit::BADARG)?;
    let mut before = match mode_of(fd) {
        Ok(mode) => mode,
        Err(problem) => return Ok(failed(p, "tcgetattr", &problem)),
    };
    if IS_RAW.load(Ordering::SeqCst)
        && let Some(&first) = BEFORE.get()
    {
        before = first;
    }
    let option = |name: Atom| map::get(options, Term::atom(name)).and_then(|value| value.as_bool());
    let mut mode = before;
    mode.c_iflag &= !libc::ISTRIP;
    if option(atom!("canon")) == Some(false) {
        let echo = mode.c_lflag & libc::ECHO;
        mode = raw(mode);
        mode.c_lflag |= echo;
    }
    match option(atom!("echo")) {
        Some(true) => mode.c_lflag |= libc::ECHO,
        Some(false) => mode.c_lflag &= !libc::ECHO,
        None => {}
    }
    let signals = libc::BRKINT | libc::IGNPAR | libc::ICRNL | libc::IXON | libc::IXANY;
    match option(atom!("sig")) {
        Some(true) => {
            mode.c_iflag |= signals;
            mode.c_lflag |= libc::ISIG | libc::IEXTEN;
        }
        Some(false) => {
            mode.c_iflag &= !signals;
            mode.c_lflag &= !(libc::ISIG | libc::IEXTEN);
        }
        None => {}
    }
    *tty.modes.lock() = Modes { before: Some(before), ours: Some(mode) };
    Ok(Term::atom(am::OK))
}

#[bif("prim_tty:tty_set/1", since = 26, until = 27)]
fn tty_set(p: &mut Process, tty: Term) -> BifResult {
    let modes = *tty_of(p, tty)?.modes.lock();
    if let (Some(before), Some(ours)) = (modes.before, modes.ours) {
        if let Err(problem) = set_mode(STDIN, &ours) {
            return Ok(failed(p, "tcsetattr", &problem));
        }
        note_raw(before, true);
    }
    OWNER.store(p.id(), Ordering::Relaxed);
    Ok(Term::atom(am::OK))
}

/// OTP 28 and later: `input` says how keys arrive, `raw` or by line.
#[bif("prim_tty:tty_init/2", since = 28)]
fn tty_init(p: &mut Process, tty: Term, options: Term) -> BifResult {
    let options = Some(options).filter(|options| options.is_map()).ok_or(BifExit::BADARG)?;
    let tty = tty_of(p, tty)?;
    let input = map::get(options, Term::atom(atom!("input"))).ok_or(BifExit::BADARG)?;
    let is_raw = input == Term::atom(atom!("raw"));
    let mut modes = tty.modes.lock();
    let Some(before) = modes.before else {
        let not_supported = Term::atom(atom!("enotsup"));
        return Ok(if is_raw { error(p, not_supported) } else { Term::atom(am::OK) });
    };
    if is_raw || IS_RAW.load(Ordering::SeqCst) {
        let mode = if is_raw { raw(before) } else { before };
        if let Err(problem) = set_mode(tty.output, &mode) {
            return Ok(failed(p, "tcsetattr", &problem));
        }
        note_raw(before, is_raw);
        modes.ours = Some(mode);
    }
    OWNER.store(p.id(), Ordering::Relaxed);
    Ok(Term::atom(am::OK))
}

#[bif("prim_tty:setlocale/1", since = 26)]
fn setlocale(_p: &mut Process, _tty: Term) -> BifResult {
    Ok(Term::bool(crate::filename::locale_is_utf8()))
}

#[bif("prim_tty:tty_encoding/1", since = 26)]
fn tty_encoding(_p: &mut Process, _tty: Term) -> BifResult {
    Ok(Term::atom(atom!("utf8")))
}

#[bif("prim_tty:tty_is_open/2", since = 28)]
fn tty_is_open(p: &mut Process, tty: Term, name: Term) -> BifResult {
    tty_of(p, tty)?;
    let fd = device(name).ok_or(BifExit::BADARG)?;
    let mut poll = libc::pollfd { fd, events: libc::POLLHUP, revents: 0 };
    // SAFETY: one structure is given, and nothing is waited for.
    match unsafe { libc::poll(&raw mut poll, 1, 0) } {
        count if count < 0 => Ok(failed(p, "tty_is_open", &Error::last_os_error())),
        0 => Ok(Term::bool(true)),
        _ if poll.revents & libc::POLLHUP != 0 => Ok(Term::bool(false)),
        _ => Err(BifExit::BADARG),
    }
}

#[bif("prim_tty:tty_window_size/1", since = 26)]
fn tty_window_size(p: &mut Process, tty: Term) -> BifResult {
    let output = tty_of(p, tty)?.output;
    let size = [STDIN, output].into_iter().find_map(|fd| {
        // SAFETY: the structure is plain numbers, which the call fills.
        unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            (libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) == 0).then_some(size)
        }
    });
    let known = size.filter(|size| size.ws_col > 0 || size.ws_row > 0);
    let Some(size) = known else { return Ok(error(p, Term::atom(atom!("enotsup")))) };
    let number = |cells: u16| Term::small(if cells == 0 { -1 } else { i64::from(cells) });
    let pair = p.tuple(&[number(size.ws_col), number(size.ws_row)]);
    ok_with(p, pair)
}

// ---- Waiting ----

/// Somebody to be told when a descriptor is ready.
struct Waiting {
    pid: u64,
    message: (FragmentHeap, Term),
}

// SAFETY: the message is built in its own fragment, which moves along; nobody else refers to it.
unsafe impl Send for Waiting {}

/// A thread that waits for one descriptor at a time, on behalf of those who ask.
struct Watcher(OnceLock<Mutex<Sender<Waiting>>>);

impl Watcher {
    const fn new() -> Watcher {
        Watcher(OnceLock::new())
    }

    /// Has the process get `{select, Tty, Ref, ready_input}` when the descriptor is ready.
    fn ask(&'static self, p: &Process, fd: RawFd, tty: Term, reference: Term) {
        let mut heap = FragmentHeap::new();
        let (tty, reference) = (copy_whole(tty, &mut heap), copy_whole(reference, &mut heap));
        let (select, ready) = (Term::atom(atom!("select")), Term::atom(atom!("ready_input")));
        let message = heap.tuple(&[select, tty, reference, ready]);
        let waiting = Waiting { pid: p.id(), message: (heap, message) };
        let vm = p.vm;
        let sender = self.0.get_or_init(|| {
            let (sender, receiver) = channel::<Waiting>();
            let run = move || {
                while let Ok(waiting) = receiver.recv() {
                    wait_for(fd);
                    waiting.tell(vm);
                }
            };
            // Without the thread nothing can be typed, which the next attempt may mend.
            let _ = vm.start_thread("tty", run);
            Mutex::new(sender)
        });
        let _ = sender.lock().send(waiting);
    }
}

impl Waiting {
    fn tell(self, vm: &'static Vm) {
        let _guard = swarmrt_machine::pin();
        signal::send_message(vm, Term::NONE, self.pid, self.message.1);
    }
}

/// Waits until there is something to read, or nothing will ever be.
fn wait_for(fd: RawFd) {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is given.
    while unsafe { libc::poll(&raw mut poll, 1, -1) } < 0 {
        if Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return;
        }
    }
}

static INPUT: Watcher = Watcher::new();
static SIGNALS: Watcher = Watcher::new();

#[bif("prim_tty:tty_select/2", since = 28)]
fn tty_select(p: &mut Process, tty: Term, reference: Term) -> BifResult {
    tty_of(p, tty)?;
    INPUT.ask(p, STDIN, tty, reference);
    Ok(Term::atom(am::OK))
}

/// OTP 26 and 27: also tells of signals of the terminal.
#[bif("prim_tty:tty_select/3", since = 26, until = 27)]
fn tty_select_3(p: &mut Process, tty: Term, signals: Term, reference: Term) -> BifResult {
    tty_of(p, tty)?;
    INPUT.ask(p, STDIN, tty, reference);
    if let Some(pipe) = signal_pipe() {
        SIGNALS.ask(p, pipe, tty, signals);
    }
    Ok(Term::atom(am::OK))
}

/// Where the handler writes a byte for each signal.
static SIGNAL_WRITER: AtomicI32 = AtomicI32::new(-1);
const WINDOW_CHANGED: u8 = b'w';
const CONTINUED: u8 = b'c';

extern "C" fn note_signal(number: i32) {
    let byte = if number == libc::SIGWINCH { WINDOW_CHANGED } else { CONTINUED };
    // SAFETY: `write` is async-signal-safe, the byte is on the stack, and `errno` is put back.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(SIGNAL_WRITER.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

/// The reading end of the pipe of signals; `None` where there is no pipe to be had.
fn signal_pipe() -> Option<RawFd> {
    static PIPE: OnceLock<Option<RawFd>> = OnceLock::new();
    *PIPE.get_or_init(|| {
        use std::os::fd::IntoRawFd;
        let (reader, writer) = std::io::pipe().ok()?;
        let (reader, writer) = (reader.into_raw_fd(), writer.into_raw_fd());
        SIGNAL_WRITER.store(writer, Ordering::SeqCst);
        // SAFETY: the descriptors are open; the handler does nothing but write.
        unsafe {
            libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK);
            libc::fcntl(reader, libc::F_SETFL, libc::O_NONBLOCK);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note_signal as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_RESTART;
            for number in [libc::SIGWINCH, libc::SIGCONT] {
                libc::sigaction(number, &raw const action, std::ptr::null_mut());
            }
        }
        Some(reader)
    })
}

#[bif("prim_tty:tty_read_signal/2", since = 26, until = 27)]
fn tty_read_signal(p: &mut Process, tty: Term, signals: Term) -> BifResult {
    tty_of(p, tty)?;
    let pipe = signal_pipe().ok_or(BifExit::BADARG)?;
    let mut byte = [0u8];
    // SAFETY: one byte is given, and the pipe does not block.
    let count = unsafe { libc::read(pipe, byte.as_mut_ptr().cast(), 1) };
    if count < 0 {
        return Ok(failed(p, "read", &Error::last_os_error()));
    }
    SIGNALS.ask(p, pipe, tty, signals);
    let name = if byte[0] == WINDOW_CHANGED { atom!("winch") } else { atom!("cont") };
    ok_with(p, Term::atom(name))
}

// ---- Reading and writing ----

#[bif("prim_tty:read_nif/2", dirty_io, since = 26, until = 27)]
fn read_2(p: &mut Process, tty: Term, reference: Term) -> BifResult {
    read(p, tty, reference, READ_BYTES_MAX)
}

#[bif("prim_tty:read_nif/3", dirty_io, since = 28)]
fn read_3(p: &mut Process, tty: Term, reference: Term, count: Term) -> BifResult {
    let count =
        count.as_small().and_then(|count| u64::try_from(count).ok()).ok_or(BifExit::BADARG)?;
    read(p, tty, reference, count.min(READ_BYTES_MAX))
}

/// Reads what there is; waits where there is nothing yet.
fn read_some(buffer: &mut [u8]) -> Result<usize, Error> {
    // SAFETY: the buffer has so many bytes.
    let count = unsafe { libc::read(STDIN, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| Error::last_os_error())
}

fn read(p: &mut Process, tty: Term, reference: Term, count: u64) -> BifResult {
    tty_of(p, tty)?;
    let bytes = if let Some(state) = p.bif_state.take() {
        let behind = *state.downcast::<BehindMenu>().expect("a built-in finds its own state");
        if p.take_reply(behind.number).is_none() {
            p.bif_state = Some(Box::new(behind));
            return Err(BifExit::Wait);
        }
        behind.typed
    } else {
        let mut buffer = [0u8; READ_BYTES_MAX as usize];
        let mut bytes = match read_some(&mut buffer[..count as usize]) {
            Ok(0) => return Ok(error(p, Term::atom(atom!("closed")))),
            Ok(count) => buffer[..count].to_vec(),
            Err(problem) => match problem.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Vec::new(),
                _ => return Ok(failed(p, "read", &problem)),
            },
        };
        let control_c = bytes.iter().position(|&byte| byte == CONTROL_C);
        if let Some(at) = control_c.filter(|_| IS_RAW.load(Ordering::SeqCst)) {
            bytes.remove(at);
            return Err(ask_what_now(p, bytes));
        }
        bytes
    };
    INPUT.ask(p, STDIN, tty, reference);
    let data = p.binary(&bytes);
    ok_with(p, data)
}

/// What was typed beside control-C, while the break menu is there: the reply with this number says
/// that it is gone.
struct BehindMenu {
    number: u64,
    typed: Vec<u8>,
}

/// The break menu, on a thread of its own: processes tell of themselves for it, on schedulers.
fn ask_what_now(p: &mut Process, typed: Vec<u8>) -> BifExit {
    let (vm, pid, number) = (p.vm, p.id(), p.expect_reply());
    let menu = move || {
        break_menu::run(vm, &mut Keys);
        let _guard = swarmrt_machine::pin();
        signal::send_reply(vm, pid, number, Term::NIL);
    };
    if vm.start_thread("break menu", menu).is_err() {
        vm.halt(1);
    }
    p.bif_state = Some(Box::new(BehindMenu { number, typed }));
    BifExit::Wait
}

/// The terminal in raw mode, where lines end with a carriage return, too.
struct Keys;

impl Console for Keys {
    fn key(&mut self) -> Option<u8> {
        let mut key = [0];
        loop {
            match read_some(&mut key) {
                Ok(1) => return Some(key[0]),
                Ok(_) => return None,
                Err(problem) => match problem.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => wait_for(STDIN),
                    _ => return None,
                },
            }
        }
    }
    fn show(&mut self, text: &str) -> Result<(), Error> {
        write_all(STDOUT, text.replace('\n', "\r\n").as_bytes())
    }
}

fn write_all(fd: RawFd, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        // SAFETY: the slice has so many bytes.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) => {
                let problem = Error::last_os_error();
                match problem.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => {
                        let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
                        // SAFETY: one structure is given.
                        unsafe { libc::poll(&raw mut poll, 1, -1) };
                    }
                    _ => return Err(problem),
                }
            }
        }
    }
    Ok(())
}

#[bif("prim_tty:write_nif/2", dirty_io, since = 26)]
fn write(p: &mut Process, tty: Term, vector: Term) -> BifResult {
    let output = tty_of(p, tty)?.output;
    let bytes = crate::port::iodata(vector).ok_or(BifExit::BADARG)?;
    match write_all(output, &bytes) {
        Ok(()) => Ok(Term::atom(am::OK)),
        Err(problem) => Ok(error(p, errno(&problem))),
    }
}

// ---- Characters ----

fn not_printable(p: &mut Process) -> Term {
    error(p, Term::atom(atom!("not_printable")))
}

#[bif("prim_tty:isprint/1", since = 26)]
fn isprint(_p: &mut Process, character: Term) -> BifResult {
    let character = character.as_small().ok_or(BifExit::BADARG)?;
    Ok(Term::bool((0x20..0x7f).contains(&character)))
}

/// Columns that a character takes.
fn columns(character: i64) -> Option<usize> {
    char::from_u32(u32::try_from(character).ok()?)?.width()
}

#[bif("prim_tty:wcwidth/1", since = 26)]
fn wcwidth(p: &mut Process, character: Term) -> BifResult {
    let character = character.as_small().ok_or(BifExit::BADARG)?;
    match columns(character) {
        Some(columns) => Ok(Term::small(columns as i64)),
        None => Ok(not_printable(p)),
    }
}

/// Characters come as numbers of the size of C's `wchar_t`.
#[bif("prim_tty:wcswidth/1", since = 26)]
fn wcswidth(p: &mut Process, text: Term) -> BifResult {
    let bytes = crate::port::iodata(text).ok_or(BifExit::BADARG)?;
    let characters = bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_ne_bytes(bytes));
    let widths: Option<Vec<usize>> = characters.map(|code| columns(i64::from(code))).collect();
    match widths {
        Some(widths) => ok_with(p, Term::small(widths.iter().sum::<usize>() as i64)),
        None => Ok(not_printable(p)),
    }
}

#[bif("prim_tty:sizeof_wchar/0", since = 26)]
fn sizeof_wchar(_p: &mut Process) -> BifResult {
    Ok(Term::small(size_of::<libc::wchar_t>() as i64))
}

// ---- What the terminal can do ----

static TERMINFO: Mutex<Option<Terminfo>> = Mutex::new(None);

/// The bytes of an argument, up to the zero that ends C's strings.
fn text(argument: Term) -> Result<Vec<u8>, BifExit> {
    let mut bytes = crate::port::iodata(argument).ok_or(BifExit::BADARG)?;
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    Ok(bytes)
}

fn load(p: &mut Process, name: &str, function: &str) -> BifResult {
    match Terminfo::load(name) {
        Some(terminfo) => {
            *TERMINFO.lock() = Some(terminfo);
            Ok(Term::atom(am::OK))
        }
        None => Ok(failed(p, function, &Error::from_raw_os_error(libc::ENOENT))),
    }
}

#[bif("prim_tty:tgetent_nif/1", since = 26, until = 27)]
fn tgetent(p: &mut Process, name: Term) -> BifResult {
    let name = text(name)?;
    load(p, &String::from_utf8_lossy(&name), "tgetent")
}

#[bif("prim_tty:setupterm_nif/0", since = 28)]
fn setupterm(p: &mut Process) -> BifResult {
    let name = std::env::var("TERM").unwrap_or_default();
    load(p, &name, "setupterm")
}

#[bif("prim_tty:tgetnum_nif/1", since = 26, until = 27)]
#[bif("prim_tty:tigetnum_nif/1", since = 28)]
fn number(_p: &mut Process, code: Term) -> BifResult {
    let index = terminfo::by_code(&capabilities().numbers, &text(code)?);
    let terminfo = TERMINFO.lock();
    let found = terminfo.as_ref().zip(index).map_or(-1, |(terminfo, index)| terminfo.number(index));
    Ok(Term::small(i64::from(found)))
}

#[bif("prim_tty:tgetflag_nif/1", since = 26, until = 27)]
#[bif("prim_tty:tigetflag_nif/1", since = 28)]
fn flag(_p: &mut Process, code: Term) -> BifResult {
    let index = terminfo::by_code(&capabilities().flags, &text(code)?);
    let terminfo = TERMINFO.lock();
    let is_set = terminfo.as_ref().zip(index).is_some_and(|(terminfo, index)| terminfo.flag(index));
    Ok(Term::bool(is_set))
}

#[bif("prim_tty:tgetstr_nif/1", since = 26, until = 27)]
fn tgetstr(p: &mut Process, code: Term) -> BifResult {
    let index = terminfo::by_code(&capabilities().strings, &text(code)?);
    string(p, index)
}

#[bif("prim_tty:tigetstr_nif/1", since = 28)]
fn tigetstr(p: &mut Process, name: Term) -> BifResult {
    let index = terminfo::by_name(&capabilities().strings, &text(name)?).ok_or(BifExit::BADARG)?;
    string(p, Some(index))
}

fn string(p: &mut Process, index: Option<usize>) -> BifResult {
    let terminfo = TERMINFO.lock();
    let found = terminfo.as_ref().zip(index).and_then(|(terminfo, index)| terminfo.string(index));
    match found {
        Some(string) => {
            let string = p.binary(string);
            ok_with(p, string)
        }
        None => Ok(Term::bool(false)),
    }
}

/// A string with parameters, ready for the terminal.
fn put(p: &mut Process, string: Term, parameters: &[i64]) -> BifResult {
    let string = text(string)?;
    let whole = if parameters.is_empty() { string } else { terminfo::expand(&string, parameters) };
    let bytes = p.binary(&terminfo::without_delays(&whole));
    ok_with(p, bytes)
}

#[bif("prim_tty:tputs_nif/2", since = 28)]
fn tputs(p: &mut Process, string: Term, parameters: Term) -> BifResult {
    let parameters = parameters.list_to_vec().ok_or(BifExit::BADARG)?;
    let parameters: Option<Vec<i64>> = parameters.iter().map(|number| number.as_small()).collect();
    let parameters = parameters.filter(|list| list.len() <= 9).ok_or(BifExit::BADARG)?;
    put(p, string, &parameters)
}

/// The column comes before the row, which is the first parameter.
fn goto(p: &mut Process, string: Term, column: Term, row: Term) -> BifResult {
    let (column, row) = column.as_small().zip(row.as_small()).ok_or(BifExit::BADARG)?;
    put(p, string, &[row, column])
}

#[bif("prim_tty:tgoto_nif/1", since = 26, until = 27)]
fn tgoto_1(p: &mut Process, string: Term) -> BifResult {
    goto(p, string, Term::small(0), Term::small(0))
}
#[bif("prim_tty:tgoto_nif/2", since = 26, until = 27)]
fn tgoto_2(p: &mut Process, string: Term, column: Term) -> BifResult {
    goto(p, string, column, Term::small(0))
}
#[bif("prim_tty:tgoto_nif/3", since = 26, until = 27)]
fn tgoto_3(p: &mut Process, string: Term, column: Term, row: Term) -> BifResult {
    goto(p, string, column, row)
}

/// The names of all capabilities.
#[bif("prim_tty:tinfo_nif/0", since = 28)]
fn tinfo(p: &mut Process) -> BifResult {
    let all = capabilities();
    let lists =
        [(atom!("bool"), &all.flags), (atom!("num"), &all.numbers), (atom!("str"), &all.strings)];
    let keys = [atom!("name"), atom!("code"), atom!("full_name")];
    let mut pairs = Vec::with_capacity(lists.len());
    for (kind, list) in lists {
        let mut described = Term::NIL;
        for names in list {
            let mut entry = Vec::with_capacity(keys.len());
            for (key, name) in keys.into_iter().zip(names) {
                entry.push((Term::atom(key), p.string(name)));
            }
            let entry = map::from_pairs(p, &entry);
            described = p.cons(entry, described);
        }
        pairs.push((Term::atom(kind), described));
    }
    Ok(map::from_pairs(p, &pairs))
}
