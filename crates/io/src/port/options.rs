//! `open_port`'s names and settings.

use crate::filename::name_bytes;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use swarmrt_term::{Atom, Term, Tuple, am, atom};

/// What a port is connected to.
pub enum Source {
    /// Descriptors for input and output.
    Descriptors { input: i32, output: i32 },
    /// A command line for the shell.
    Command(String),
    /// A driver by its name.
    Driver(String),
    /// A program, run without a shell.
    Executable(OsString),
    /// A file, read or written from its beginning.
    File(OsString),
}

/// How bytes are cut into messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Stream,
    /// A header of 1, 2 or 4 bytes gives the length.
    Packet(usize),
    /// Lines of at most this many bytes.
    Line(usize),
}

/// The limit of `line` without a number, as in OTP.
const LINE_BYTES_DEFAULT: usize = 512;

/// Options of `open_port/2`.
pub struct Options {
    pub framing: Framing,
    pub binary: bool,
    pub eof: bool,
    pub exit_status: bool,
    pub use_stdio: bool,
    pub stderr_to_stdout: bool,
    pub input: bool,
    pub output: bool,
    pub parallelism: bool,
    /// How a program is started, where anything is said of it.
    pub program: Option<Box<ProgramOptions>>,
}

/// Options of `open_port/2` for programs that are started.
#[derive(Default)]
pub struct ProgramOptions {
    pub arguments: Vec<OsString>,
    /// Arguments were given, if only an empty list.
    pub has_arguments: bool,
    pub argument0: Option<OsString>,
    pub folder: Option<OsString>,
    /// Names and values; no value removes the variable.
    pub environment: Vec<(OsString, Option<OsString>)>,
}

fn os_string(term: Term) -> Option<OsString> {
    let bytes = name_bytes(term)?;
    (!bytes.contains(&0)).then(|| OsString::from_vec(bytes))
}

/// Characters or a binary, but no atom, not even within.
fn text(term: Term) -> Option<OsString> {
    let has_atoms = |list: Vec<Term>| list.iter().any(|element| element.is_atom());
    let is_text = !term.is_atom() && !term.list_to_vec().is_some_and(has_atoms);
    is_text.then(|| os_string(term))?
}

/// The name of an environment variable.
fn variable_name(term: Term) -> Option<OsString> {
    text(term).filter(|name| !name.as_encoded_bytes().contains(&b'='))
}

/// Whether these are limits of a queue: `disabled`, or the low and the high one.
fn are_limits(term: Term) -> bool {
    let is_pair =
        |pair: Tuple| pair.arity() == 2 && pair.elements().iter().all(|limit| limit.is_integer());
    term == Term::atom(atom!("disabled")) || term.as_tuple().is_some_and(is_pair)
}

fn command_line(term: Term) -> Option<String> {
    String::from_utf8(os_string(term)?.into_vec()).ok().filter(|line| !line.is_empty())
}

/// The port's name, when it is one that we know.
pub fn parse_name(name: Term) -> Option<Source> {
    if name.is_atom() || name.is_cons() {
        return Some(Source::File(os_string(name)?));
    }
    let tuple = name.as_tuple()?;
    match (tuple.get(0).as_atom()?.name(), tuple.arity()) {
        ("fd", 3) => {
            let number =
                |index: usize| tuple.get(index).as_small().and_then(|fd| i32::try_from(fd).ok());
            Some(Source::Descriptors { input: number(1)?, output: number(2)? })
        }
        ("spawn", 2) => Some(Source::Command(command_line(tuple.get(1))?)),
        ("spawn_driver", 2) => Some(Source::Driver(command_line(tuple.get(1))?)),
        ("spawn_executable", 2) => {
            Some(Source::Executable(os_string(tuple.get(1)).filter(|path| !path.is_empty())?))
        }
        _ => None,
    }
}

impl Default for Options {
    /// The options of a port when none are given.
    fn default() -> Options {
        Options {
            framing: Framing::Stream,
            binary: false,
            eof: false,
            exit_status: false,
            use_stdio: true,
            stderr_to_stdout: false,
            input: false,
            output: false,
            parallelism: false,
            program: None,
        }
    }
}

impl Options {
    /// The defaults, but the port sends binaries.
    pub fn binary() -> Options {
        Options { binary: true, ..Options::default() }
    }
    fn program(&mut self) -> &mut ProgramOptions {
        self.program.get_or_insert_default()
    }
    /// The settings; `None` when one is unknown.
    pub fn parse(list: Term) -> Option<Options> {
        let mut options = Options::default();
        let (mut packet, mut line) = (None, None);
        for item in list.list_to_vec()? {
            if let Some(name) = item.as_atom() {
                match name.name() {
                    "stream" => packet = None,
                    "line" => line = Some(LINE_BYTES_DEFAULT),
                    "binary" => options.binary = true,
                    "eof" => options.eof = true,
                    "exit_status" => options.exit_status = true,
                    "use_stdio" => options.use_stdio = true,
                    "nouse_stdio" => options.use_stdio = false,
                    "stderr_to_stdout" => options.stderr_to_stdout = true,
                    "in" => options.input = true,
                    "out" => options.output = true,
                    "hide" | "overlapped_io" => {}
                    _ => return None,
                }
                continue;
            }
            let pair = item.as_tuple().filter(|pair| pair.arity() == 2)?;
            let value = pair.get(1);
            match pair.get(0).as_atom().map(Atom::name)? {
                "packet" => {
                    packet =
                        Some(value.as_small().filter(|size| matches!(size, 1 | 2 | 4))? as usize);
                }
                "line" => line = Some(value.as_small().filter(|&size| size > 0)? as usize),
                "args" => {
                    let program = options.program();
                    program.arguments =
                        value.list_to_vec()?.into_iter().map(os_string).collect::<Option<_>>()?;
                    program.has_arguments = true;
                }
                "arg0" => options.program().argument0 = Some(os_string(value)?),
                "cd" => {
                    options.program().folder =
                        Some(os_string(value)?).filter(|folder| !folder.is_empty());
                }
                "env" => {
                    for entry in value.list_to_vec()? {
                        let entry = entry.as_tuple().filter(|entry| entry.arity() == 2)?;
                        let set = if entry.get(1) == Term::atom(am::FALSE) {
                            None
                        } else {
                            Some(text(entry.get(1))?)
                        };
                        options.program().environment.push((variable_name(entry.get(0))?, set));
                    }
                }
                "parallelism" => options.parallelism = value.as_bool()?,
                "busy_limits_port" | "busy_limits_msgq" if are_limits(value) => {}
                _ => return None,
            }
        }
        options.framing = match (packet, line) {
            (None, None) => Framing::Stream,
            (Some(size), None) => Framing::Packet(size),
            (None, Some(bytes)) => Framing::Line(bytes),
            // OTP has no lines within packets.
            (Some(_), Some(_)) => return None,
        };
        if !options.input && !options.output {
            (options.input, options.output) = (true, true);
        }
        Some(options)
    }

    /// Bytes as they go out: behind a header where packets are asked for.
    pub fn pack(&self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Framing::Packet(size) = self.framing else { return Some(bytes) };
        if size < 4 && bytes.len() >> (8 * size) != 0 {
            return None;
        }
        let length = u32::try_from(bytes.len()).ok()?.to_be_bytes();
        let mut packet = length[4 - size..].to_vec();
        packet.extend_from_slice(&bytes);
        Some(packet)
    }
}
