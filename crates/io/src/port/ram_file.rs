//! Files in memory: what `file:open(Data, [ram])` talks to, by the messages of OTP's `ram_file`
//! module.
//!
//! A request is an operation's number and its arguments, big-endian. The answer begins with what it
//! is: done, an error's name, bytes behind their count, or a number.

use super::Port;
use super::driver::{Driver, Request, Written};
use parking_lot::Mutex;
use swarmrt_machine::Vm;
use swarmrt_term::refusal::handled;
use swarmrt_term::{Alloc, Term, am};

/// Whether a command line of `open_port` means such a file.
pub fn is_meant(command: &str) -> bool {
    command == "ram_file_drv"
}

const MODE_READ: u32 = 1;
const MODE_WRITE: u32 = 2;

#[derive(Default)]
struct RamFile {
    mode: u32,
    bytes: Vec<u8>,
    at: usize,
}

enum Answer {
    Done,
    Number(usize),
    Bytes(Vec<u8>),
}

/// An error as POSIX names it.
type Refusal = &'static str;

/// Takes big-endian numbers off a request.
struct Arguments<'a>(&'a [u8]);

impl Arguments<'_> {
    fn number(&mut self) -> Result<i32, Refusal> {
        let (first, rest) = self.0.split_first_chunk().ok_or("einval")?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*first))
    }
    fn offset(&mut self) -> Result<usize, Refusal> {
        usize::try_from(self.number()?).map_err(|_| "einval")
    }
}

impl RamFile {
    fn request(&mut self, request: &[u8]) -> Option<Result<Answer, Refusal>> {
        let (&operation, arguments) = request.split_first()?;
        let mut arguments = Arguments(arguments);
        Some(match operation {
            1 => self.open(&mut arguments),
            2 => arguments.offset().and_then(|count| {
                let bytes = self.read(self.at, count)?;
                self.at += bytes.len();
                Ok(Answer::Bytes(bytes))
            }),
            3 => self.seek(&mut arguments),
            4 => self.write(self.at, arguments.0).map(|count| {
                self.at += count;
                Answer::Number(count)
            }),
            14 => self.truncate(),
            17 => arguments
                .offset()
                .and_then(|at| self.read(at, arguments.offset()?))
                .map(Answer::Bytes),
            18 => arguments.offset().and_then(|at| self.write(at, arguments.0)).map(Answer::Number),
            30 => Ok(Answer::Bytes(self.bytes.clone())),
            37 => Ok(Answer::Number(self.bytes.len())),
            // Writing to disk, advice, room: nothing is to be done for memory.
            9 | 19 | 38 | 39 if self.mode == 0 => Err("ebadf"),
            9 | 19 | 38 | 39 => Ok(Answer::Done),
            _ => return None,
        })
    }

    fn open(&mut self, arguments: &mut Arguments<'_>) -> Result<Answer, Refusal> {
        self.mode = arguments.number()?.cast_unsigned();
        self.bytes = arguments.0.to_vec();
        self.at = 0;
        Ok(Answer::Number(0))
    }

    fn read(&self, at: usize, count: usize) -> Result<Vec<u8>, Refusal> {
        if self.mode & MODE_READ == 0 {
            return Err("ebadf");
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        Ok(rest[..count.min(rest.len())].to_vec())
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<usize, Refusal> {
        if self.mode & MODE_WRITE == 0 {
            return Err("ebadf");
        }
        let end = at + bytes.len();
        if end > self.bytes.len() {
            handled(|| self.bytes.try_reserve(end - self.bytes.len())).map_err(|_| "enomem")?;
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn seek(&mut self, arguments: &mut Arguments<'_>) -> Result<Answer, Refusal> {
        let (offset, origin) = (i64::from(arguments.number()?), arguments.number()?);
        let from = match origin {
            0 => 0,
            1 => self.at,
            2 => self.bytes.len(),
            _ => return Err("einval"),
        };
        self.at = usize::try_from(from as i64 + offset).map_err(|_| "einval")?;
        Ok(Answer::Number(self.at))
    }

    fn truncate(&mut self) -> Result<Answer, Refusal> {
        if self.mode & MODE_WRITE == 0 {
            return Err("eacces");
        }
        self.bytes.resize(self.at, 0);
        Ok(Answer::Done)
    }
}

/// Does what is asked for, and answers the port's owner.
fn request(vm: &'static Vm, port: &Port, file: &Mutex<RamFile>, request: &[u8]) {
    let Some(result) = file.lock().request(request) else { return };
    port.tell_owner(vm, |heap| {
        let (kind, number, bytes) = match &result {
            Ok(Answer::Done) => (0, None, &[][..]),
            Ok(Answer::Number(number)) => (3, Some(*number), &[][..]),
            Ok(Answer::Bytes(bytes)) => (2, Some(bytes.len()), &bytes[..]),
            Err(name) => (1, None, name.as_bytes()),
        };
        let is_data = kind == 2 && port.options.binary;
        let tail = if is_data { heap.binary(bytes) } else { heap.byte_list(bytes, Term::NIL) };
        let tail = match number {
            Some(number) => heap.byte_list(&(number as u32).to_be_bytes(), tail),
            None => tail,
        };
        let answer = heap.cons(Term::small(kind), tail);
        heap.tuple(&[Term::atom(am::DATA), answer])
    });
}

/// The driver of files in memory.
#[derive(Default)]
pub struct RamFileDriver(Mutex<RamFile>);

impl Driver for RamFileDriver {
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written {
        request.port.note_output(request.vm, bytes.len());
        self::request(request.vm, request.port, &self.0, &bytes);
        Written::Done
    }
    fn close(&self, _vm: &'static Vm, _port: &Port) {}
}
