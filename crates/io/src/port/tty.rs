//! The terminal as the port `tty_sl`, through which OTP's shell edits its line.
//!
//! The port keeps the line being edited: the process at the other end says what to put, insert and
//! delete in it and where to move, and the port works out what the terminal has to be told, given
//! its width. Of the terminal it wants the cursor movements that all have had for decades.

use super::descriptors::{Stopper, Writer, wait_readable};
use super::driver::{Answer, Driver, Request, Written};
use super::options::Options;
use super::{Port, Ports};
use crate::break_menu::{self, CONTROL_C, Choice, Console};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use swarmrt_machine::Vm;
use swarmrt_term::{Term, am};
use unicode_width::UnicodeWidthChar;

/// The first byte of a command: the numbers `OP_…` of OTP's `ttsl_drv.c`.
mod operation {
    /// Characters to put where the cursor is.
    pub const PUT: u8 = 0;
    /// 16 bits with a sign: characters to move the cursor by.
    pub const MOVE: u8 = 1;
    /// Characters to insert where the cursor is.
    pub const INSERT: u8 = 2;
    /// 16 bits with a sign: characters to delete behind the cursor, or before it where negative.
    pub const DELETE: u8 = 3;
    /// Rings the bell.
    pub const BEEP: u8 = 4;
    /// As `PUT`, and `{Port, ok}` comes back once the terminal keeps up.
    pub const PUT_AND_TELL: u8 = 5;
}

/// Operations of `port_control/3`, behind the magic number that keeps them from other drivers'.
mod control {
    /// Added to each operation.
    pub const MAGIC: u64 = 0x018b_0900;
    /// Answers width and height, in cells.
    pub const WINDOW_SIZE: u64 = MAGIC + 100;
    /// Answers 1 where characters are written as UTF-8, else 0.
    pub const UNICODE_STATE: u64 = MAGIC + 101;
    /// Sets that by a byte, and answers what it was.
    pub const SET_UNICODE_STATE: u64 = MAGIC + 102;
}

const INPUT_FD: i32 = 0;
const OUTPUT_FD: i32 = 1;
const WIDTH_DEFAULT: u16 = 80;
const HEIGHT_DEFAULT: u16 = 24;
/// Cells of the longest line; a longer one is broken.
const LINE_CELLS_MAX: usize = 1 << 16;
/// Bytes on their way to the terminal above which a writer has to wait.
const QUEUED_BYTES_MAX: usize = 1024;
const TAB_COLUMNS: usize = 8;

const ESCAPE: char = '\u{1b}';

/// One place of the line: a character, or part of how one is shown that cannot be printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Char(char),
    /// The start of a control sequence, such as one that sets a colour.
    Escape,
    /// One of the ASCII characters that a tab, a control character or an unprintable one is shown
    /// as.
    Part {
        byte: u8,
        first: bool,
    },
}

impl Cell {
    fn continues(self) -> bool {
        matches!(self, Cell::Part { first: false, .. })
    }
    fn columns(self) -> usize {
        match self {
            Cell::Char(c) => c.width().unwrap_or(0),
            Cell::Escape => 0,
            Cell::Part { .. } => 1,
        }
    }
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Cell::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Cell::Escape => out.push(ESCAPE as u8),
            Cell::Part { byte, .. } => out.push(byte),
        }
    }
}

/// The line being edited, and what the terminal is to be told of it.
struct Line {
    cells: Vec<Cell>,
    at: usize,
    width: usize,
    utf8: bool,
    out: Vec<u8>,
}

impl Line {
    fn put(&mut self, text: &[u8]) {
        let start = self.enter(text);
        self.show(start, self.at, false);
    }

    fn insert(&mut self, text: &[u8]) {
        let tail = self.cells.split_off(self.at);
        let start = self.enter(text);
        self.cells.extend(tail);
        self.show(start, self.cells.len(), false);
        self.move_cursor(self.cells.len(), self.at);
    }

    fn move_by(&mut self, characters: i16) {
        let to = self.step(characters);
        self.move_cursor(self.at, to);
        self.at = to;
    }

    /// Deletes characters behind the cursor, or before it where the number is negative.
    fn delete(&mut self, characters: i16) {
        let other = self.step(characters);
        let (from, to) = (self.at.min(other), self.at.max(other));
        if from == to {
            return;
        }
        let columns = self.column(to) - self.column(from);
        self.move_cursor(self.at, from);
        self.cells.drain(from..to);
        self.at = from;
        self.show(from, self.cells.len(), false);
        self.out.extend(std::iter::repeat_n(b' ', columns));
        let end = self.cells.len() + columns;
        if self.column(end).is_multiple_of(self.width) {
            self.wrap(b' ');
        }
        self.move_cursor(end, from);
    }

    /// Where a number of characters from the cursor is.
    fn step(&self, characters: i16) -> usize {
        let mut at = self.at;
        for _ in 0..characters.max(0) {
            at = (at + 1).min(self.cells.len());
            while self.cells.get(at).is_some_and(|cell| cell.continues()) {
                at += 1;
            }
        }
        for _ in characters.min(0)..0 {
            at = at.saturating_sub(1);
            while at > 0 && self.cells[at].continues() {
                at -= 1;
            }
        }
        at
    }

    fn enter_cell(&mut self, cell: Cell) {
        match self.cells.get_mut(self.at) {
            Some(old) => *old = cell,
            None => self.cells.push(cell),
        }
        self.at += 1;
    }

    fn enter_parts(&mut self, shown: &str) {
        for (index, byte) in shown.bytes().enumerate() {
            self.enter_cell(Cell::Part { byte, first: index == 0 });
        }
    }

    /// Writes UTF-8 text over the line from the cursor on; where in the last line it began. Bytes
    /// that are no UTF-8 count as characters.
    fn enter(&mut self, text: &[u8]) -> usize {
        let mut start = self.at;
        let characters = text.utf8_chunks().flat_map(|chunk| {
            chunk.valid().chars().chain(chunk.invalid().iter().map(|&byte| char::from(byte)))
        });
        for c in characters {
            match c {
                '\n' | '\r' => {
                    self.show(start, self.at, true);
                    self.out.extend_from_slice(if c == '\n' { b"\r\n" } else { b"\r" });
                    self.cells.drain(..self.at);
                    (self.at, start) = (0, 0);
                }
                '\t' => {
                    let columns = TAB_COLUMNS - self.at % TAB_COLUMNS;
                    self.enter_parts(&" ".repeat(columns));
                }
                ESCAPE => self.enter_cell(Cell::Escape),
                '\u{7f}' => self.enter_parts("^?"),
                '\0'..'\u{20}' => self.enter_parts(&format!("^{}", char::from(c as u8 | 0x40))),
                _ if c.is_ascii() || self.utf8 => self.enter_cell(Cell::Char(c)),
                _ if (c as u32) < 0o1000 => self.enter_parts(&format!("\\{:03o}", c as u32)),
                _ => self.enter_parts(&format!("\\x{{{:X}}}", c as u32)),
            }
        }
        start
    }

    /// Has a part of the line shown from where the cursor is.
    fn show(&mut self, from: usize, to: usize, line_ends: bool) {
        for &cell in &self.cells[from..to] {
            cell.write(&mut self.out);
        }
        // A terminal goes to the next line only when something is written there.
        if from < to && !line_ends && to > 0 && self.column(to).is_multiple_of(self.width) {
            match self.cells.get(to) {
                Some(Cell::Char(c)) if c.is_ascii() => self.wrap(*c as u8),
                Some(Cell::Part { byte, .. }) => self.wrap(*byte),
                _ => self.wrap(b' '),
            }
        }
    }

    fn wrap(&mut self, with: u8) {
        self.out.extend_from_slice(&[with, 0x08]);
    }

    /// The column of a place, counted on over the ends of the terminal's lines.
    fn column(&self, place: usize) -> usize {
        let within = place.min(self.cells.len());
        let mut column = place - within;
        let mut at = 0;
        while at < within {
            if self.cells[at] == Cell::Escape {
                at += self.sequence_cells(at);
            } else {
                column += self.cells[at].columns();
                at += 1;
            }
        }
        column
    }

    /// Cells of the control sequence that begins here.
    fn sequence_cells(&self, at: usize) -> usize {
        let rest = &self.cells[at + 1..];
        if rest.first() != Some(&Cell::Char('[')) {
            return 1 + rest.len().min(1);
        }
        let parameters =
            rest[1..].iter().take_while(|cell| matches!(cell, Cell::Char(';' | '0'..='9'))).count();
        (2 + parameters + 1).min(rest.len() + 1)
    }

    fn move_cursor(&mut self, from: usize, to: usize) {
        let (from, to) = (self.column(from), self.column(to));
        let mut tell = |times: usize, sequence: &[u8]| {
            (0..times).for_each(|_| self.out.extend_from_slice(sequence));
        };
        let (from_row, to_row) = (from / self.width, to / self.width);
        tell(to_row.saturating_sub(from_row), b"\n");
        tell(from_row.saturating_sub(to_row), b"\x1b[A");
        let (from, to) = (from % self.width, to % self.width);
        tell(to.saturating_sub(from), b"\x1b[C");
        tell(from.saturating_sub(to), b"\x08");
    }
}

/// The terminal behind a port.
pub struct Terminal {
    line: Mutex<Line>,
    writer: Writer,
    queued_bytes: AtomicUsize,
    /// The owner waits to be told that the terminal keeps up.
    owes_answer: AtomicBool,
    /// Whether what is typed is UTF-8.
    utf8_input: AtomicBool,
    stopper: Stopper,
}

impl Terminal {
    /// What the owner has written to the port.
    fn request(&self, vm: &'static Vm, port: &Port, request: &[u8]) {
        let Some((&operation, rest)) = request.split_first() else { return };
        let mut line = self.line.lock();
        line.width = usize::from(window_size().0);
        if line.at > LINE_CELLS_MAX {
            line.put(b"\n");
        }
        let number = rest.first_chunk::<2>().map_or(0, |bytes| i16::from_be_bytes(*bytes));
        match operation {
            operation::PUT | operation::PUT_AND_TELL => line.put(rest),
            operation::MOVE => line.move_by(number),
            operation::INSERT => line.insert(rest),
            operation::DELETE => line.delete(number),
            operation::BEEP => line.out.push(7),
            _ => {}
        }
        let out = std::mem::take(&mut line.out);
        self.write(vm, out);
        drop(line);
        if operation == operation::PUT_AND_TELL {
            self.owes_answer.store(true, Ordering::SeqCst);
            self.answer_if_owed(vm, port);
        }
    }

    fn write(&self, vm: &'static Vm, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        self.queued_bytes.fetch_add(length, Ordering::SeqCst);
        Ports::of(vm).note_writing(true);
        if !self.writer.send(bytes) {
            self.queued_bytes.fetch_sub(length, Ordering::SeqCst);
            Ports::of(vm).note_writing(false);
        }
    }

    fn answer_if_owed(&self, vm: &'static Vm, port: &Port) {
        if self.queued_bytes.load(Ordering::SeqCst) <= QUEUED_BYTES_MAX
            && self.owes_answer.swap(false, Ordering::SeqCst)
        {
            port.tell_owner(vm, |_| Term::atom(am::OK));
        }
    }

    fn controlled(&self, operation: u64, data: &[u8]) -> Option<Vec<u8>> {
        match operation {
            control::WINDOW_SIZE => {
                let (width, height) = window_size();
                Some([u32::from(width).to_ne_bytes(), u32::from(height).to_ne_bytes()].concat())
            }
            control::UNICODE_STATE => Some(vec![u8::from(self.line.lock().utf8)]),
            control::SET_UNICODE_STATE => {
                let Some(&on) = data.first() else { return Some(Vec::new()) };
                self.utf8_input.store(on != 0, Ordering::Relaxed);
                let before = std::mem::replace(&mut self.line.lock().utf8, on != 0);
                Some(vec![u8::from(before)])
            }
            _ => None,
        }
    }
}

impl Driver for Terminal {
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        request.port.note_output(request.vm, bytes.len());
        self.request(request.vm, request.port, &bytes);
        Written::Done
    }
    fn control(&self, _request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Answer> {
        self.controlled(operation, data).map(Answer::Bytes)
    }
    fn close(&self, _vm: &'static Vm, _port: &Port) {
        self.writer.finish();
        restore_mode();
        self.stopper.stop();
    }
}

/// Columns and rows.
fn window_size() -> (u16, u16) {
    // SAFETY: the structure is plain numbers, which the call fills.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        if libc::ioctl(OUTPUT_FD, libc::TIOCGWINSZ, &raw mut size) == 0 {
            size
        } else {
            std::mem::zeroed()
        }
    };
    let or = |number: u16, default: u16| if number == 0 { default } else { number };
    (or(size.ws_col, WIDTH_DEFAULT), or(size.ws_row, HEIGHT_DEFAULT))
}

/// How the terminal was set before, and how we set it.
struct Modes {
    before: libc::termios,
    ours: libc::termios,
}

static MODES: OnceLock<Modes> = OnceLock::new();
/// The terminal is set our way at the moment.
static IN_OUR_MODE: AtomicBool = AtomicBool::new(false);

/// Sets the terminal to hand over each key at once and to show nothing by itself, until the program
/// ends.
fn set_mode() -> std::io::Result<()> {
    // SAFETY: the structure is plain numbers, which the call fills.
    let before = unsafe {
        let mut before: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(INPUT_FD, &raw mut before) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        before
    };
    let mut ours = before;
    ours.c_iflag &= !(libc::ISTRIP | libc::ICRNL);
    ours.c_oflag &= !libc::OPOST;
    ours.c_lflag &= !(libc::ICANON | libc::ECHO);
    ours.c_cc[libc::VMIN] = 1;
    ours.c_cc[libc::VTIME] = 0;
    // Control-C is ours to answer.
    ours.c_cc[libc::VINTR] = libc::_POSIX_VDISABLE;
    let first = MODES.set(Modes { before, ours }).is_ok();
    apply_our_mode()?;
    IN_OUR_MODE.store(true, Ordering::SeqCst);
    if first {
        // SAFETY: both functions may be called at any time; they only set the terminal.
        unsafe {
            libc::atexit(restore_at_exit);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = set_again as extern "C" fn(i32) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGCONT, &raw const action, std::ptr::null_mut());
        }
    }
    Ok(())
}

fn apply_our_mode() -> std::io::Result<()> {
    let Some(modes) = MODES.get() else { return Ok(()) };
    // SAFETY: the structure came from `tcgetattr`.
    if unsafe { libc::tcsetattr(INPUT_FD, libc::TCSANOW, &raw const modes.ours) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn restore_mode() {
    if let Some(modes) = MODES.get()
        && IN_OUR_MODE.swap(false, Ordering::SeqCst)
    {
        // SAFETY: the structure came from `tcgetattr`.
        unsafe { libc::tcsetattr(INPUT_FD, libc::TCSADRAIN, &raw const modes.before) };
    }
}

extern "C" fn restore_at_exit() {
    restore_mode();
}

/// The program goes on after it was stopped: the shell has set the terminal its own way meanwhile.
extern "C" fn set_again(_signal: i32) {
    if IN_OUR_MODE.load(Ordering::SeqCst) {
        let _ = apply_our_mode();
    }
}

fn unsuitable() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::EINVAL)
}

/// The name of this port, as the first word of a command line.
pub fn is_meant(command: &str) -> bool {
    command.split(' ').next() == Some("tty_sl")
}

/// Opens the terminal for the process `owner`.
///
/// # Errors
/// When input or output is no terminal, or one whose cursor cannot be moved, or it is open already.
pub fn open(
    vm: &'static Vm,
    owner: u64,
    name: String,
    options: Options,
) -> std::io::Result<Arc<Port>> {
    // SAFETY: `isatty` only asks.
    let terminal = unsafe { libc::isatty(INPUT_FD) == 1 && libc::isatty(OUTPUT_FD) == 1 };
    let can_move = std::env::var("TERM").is_ok_and(|kind| !kind.is_empty() && kind != "dumb");
    if !terminal || !can_move || IN_OUR_MODE.load(Ordering::SeqCst) {
        return Err(unsuitable());
    }
    let (input, output) =
        (super::descriptors::duplicate(INPUT_FD)?, super::descriptors::duplicate(OUTPUT_FD)?);
    // SAFETY: `eventfd` gives a new descriptor, ours.
    let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if wake < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `eventfd` gives a new descriptor, ours.
    let wake = unsafe { OwnedFd::from_raw_fd(wake) };
    let wake_for_reader = wake.try_clone()?;
    set_mode()?;
    let utf8 = crate::filename::locale_is_utf8();
    let (sender, receiver) = channel();
    let line =
        Line { cells: Vec::new(), at: 0, width: usize::from(WIDTH_DEFAULT), utf8, out: Vec::new() };
    let terminal = Arc::new(Terminal {
        line: Mutex::new(line),
        writer: Writer::new(sender),
        queued_bytes: AtomicUsize::new(0),
        owes_answer: AtomicBool::new(false),
        utf8_input: AtomicBool::new(utf8),
        stopper: Stopper::new(wake),
    });
    let port = Ports::of(vm).open(vm, owner, name, options, None, terminal.clone());
    let (writing, into) = (port.clone(), terminal.clone());
    vm.start_thread("terminal out", move || write_all(vm, &writing, &into, output, &receiver))?;
    let reading = port.clone();
    vm.start_thread("terminal in", move || {
        read_all(vm, &reading, &terminal, input, &wake_for_reader);
    })?;
    Ok(port)
}

fn write_all(
    vm: &'static Vm,
    port: &Arc<Port>,
    terminal: &Terminal,
    mut output: File,
    chunks: &Receiver<Vec<u8>>,
) {
    while let Ok(bytes) = chunks.recv() {
        let result = output.write_all(&bytes);
        Ports::of(vm).note_writing(false);
        terminal.queued_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
        terminal.answer_if_owed(vm, port);
        if let Err(problem) = result {
            let reason = crate::posix::name(problem.raw_os_error().unwrap_or(libc::EIO));
            port.close(vm, Term::atom(swarmrt_term::Atom::new(reason)));
            while chunks.recv().is_ok() {
                Ports::of(vm).note_writing(false);
            }
        }
    }
}

fn read_all(
    vm: &'static Vm,
    port: &Arc<Port>,
    terminal: &Terminal,
    mut input: File,
    wake: &OwnedFd,
) {
    let mut buffer = [0; 1024];
    let mut incomplete: Vec<u8> = Vec::new();
    while wait_readable(&input, Some(wake)) {
        let bytes = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => &buffer[..count],
            Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for part in bytes.split_inclusive(|&byte| byte == CONTROL_C) {
            let (typed, broken_off) =
                part.strip_suffix(&[CONTROL_C]).map_or((part, false), |typed| (typed, true));
            typed_in(vm, port, terminal, &mut incomplete, typed);
            if broken_off {
                let mut keys = Keys { vm, terminal, input: &mut input, wake };
                if break_menu::run(vm, &mut keys) == Choice::Abort {
                    return;
                }
            }
        }
    }
    port.close(vm, Term::atom(am::NORMAL));
}

/// Hands over what was typed, as UTF-8; a character that is not complete waits for the rest of it.
fn typed_in(
    vm: &'static Vm,
    port: &Port,
    terminal: &Terminal,
    incomplete: &mut Vec<u8>,
    typed: &[u8],
) {
    if typed.is_empty() {
        return;
    }
    incomplete.extend_from_slice(typed);
    let whole = if terminal.utf8_input.load(Ordering::Relaxed) {
        match std::str::from_utf8(incomplete) {
            Ok(_) => Some(incomplete.len()),
            Err(problem) if problem.error_len().is_none() => Some(problem.valid_up_to()),
            Err(_) => {
                // So it is no UTF-8 after all.
                terminal.utf8_input.store(false, Ordering::Relaxed);
                terminal.line.lock().utf8 = false;
                None
            }
        }
    } else {
        None
    };
    let bytes: Vec<u8> = match whole {
        Some(count) => incomplete.drain(..count).collect(),
        None => incomplete.drain(..).map(char::from).collect::<String>().into_bytes(),
    };
    if !bytes.is_empty() {
        port.data_arrived(vm, &bytes, None);
    }
}

/// The terminal while the break menu is there: keys come at once, and nothing else reads them.
struct Keys<'a> {
    vm: &'static Vm,
    terminal: &'a Terminal,
    input: &'a mut File,
    wake: &'a OwnedFd,
}

impl Console for Keys<'_> {
    fn key(&mut self) -> Option<u8> {
        let mut key = [0];
        let there = wait_readable(self.input, Some(self.wake))
            && matches!(self.input.read(&mut key), Ok(1));
        there.then_some(key[0])
    }
    fn show(&mut self, text: &str) -> std::io::Result<()> {
        self.terminal.write(self.vm, text.replace('\n', "\r\n").into_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(width: usize) -> Line {
        Line { cells: Vec::new(), at: 0, width, utf8: true, out: Vec::new() }
    }
    fn told(line: &mut Line) -> String {
        String::from_utf8(std::mem::take(&mut line.out)).unwrap()
    }

    #[test]
    fn characters_are_put_inserted_and_deleted() {
        let mut line = line(80);
        line.put(b"1> ac");
        line.move_by(-1);
        line.insert(b"b");
        assert_eq!(told(&mut line), "1> ac\u{8}bc\u{8}");
        line.delete(-1);
        assert_eq!(told(&mut line), "\u{8}c \u{8}\u{8}");
        line.put(b"\n");
        assert_eq!((line.at, told(&mut line).as_str()), (0, "\r\n"));
    }

    #[test]
    fn a_full_line_goes_on_below() {
        let mut line = line(4);
        line.put(b"abcd");
        assert_eq!(told(&mut line), "abcd \u{8}");
        line.put(b"e");
        line.move_by(-2);
        assert_eq!(told(&mut line), "e\u{1b}[A\u{1b}[C\u{1b}[C");
        line.move_by(1);
        assert_eq!(told(&mut line), "\n\u{8}\u{8}\u{8}");
    }

    #[test]
    fn what_cannot_be_printed_is_shown() {
        let mut line = line(80);
        line.put("\u{1}\u{1b}[32mä\u{1b}[0m".as_bytes());
        assert_eq!(told(&mut line), "^A\u{1b}[32mä\u{1b}[0m");
        assert_eq!(line.column(line.at), 3);
        line.utf8 = false;
        line.put("ä\u{400}".as_bytes());
        assert_eq!(told(&mut line), "\\344\\x{400}");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut line = line(80);
        line.put("日本".as_bytes());
        line.move_by(-1);
        assert_eq!(told(&mut line), "日本\u{8}\u{8}");
    }
}
