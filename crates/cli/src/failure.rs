//! Why the program cannot do what it was asked to: the reason, what to do next, and the exit code.

use anstyle::{AnsiColor, Style};
use std::io::{Error, ErrorKind, Write};
use std::path::Path;

/// The program cannot start: a wrong command line, a missing file, no usable OTP.
pub const EXIT_USAGE: i32 = 2;
/// The code of `exec` when the command is there but cannot be started, as of shells and `env`.
pub const EXIT_CANNOT_EXECUTE: i32 = 126;
/// The code of `exec` when there is no such command.
pub const EXIT_NOT_FOUND: i32 = 127;
/// A fault of the machine itself (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_INTERNAL_ERROR: i32 = 70;

/// A reason to end.
#[derive(Debug)]
pub struct Failure {
    /// Names the file or word, and what is wrong with it.
    reason: String,
    /// What the user can do about it.
    next: Option<String>,
    pub code: i32,
    /// Text of `clap`: an error with its own advice, or the help that was asked for.
    clap: Option<clap::Error>,
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), next: None, code: EXIT_USAGE, clap: None }
    }

    /// The system refused something with a file or folder.
    pub fn of_file(path: &Path, error: &Error) -> Failure {
        let (reason, next) = match error.kind() {
            ErrorKind::NotFound => {
                ("no such file or folder".to_owned(), "check the path and the spelling")
            }
            ErrorKind::PermissionDenied => {
                (error.to_string(), "check who may read and write the file and its folder")
            }
            _ => (error.to_string(), "check the file, its folder and the space on the device"),
        };
        Failure::new(format!("{}: {reason}", path.display())).next(next)
    }

    pub fn next(self, next: impl Into<String>) -> Failure {
        Failure { next: Some(next.into()), ..self }
    }

    pub fn code(self, code: i32) -> Failure {
        Failure { code, ..self }
    }

    pub fn of_clap(error: clap::Error) -> Failure {
        Failure {
            code: error.exit_code(),
            reason: error.to_string(),
            next: None,
            clap: Some(error),
        }
    }

    /// Prints it: help to standard output, everything else to standard error, with colours on a
    /// terminal.
    pub fn print(&self) {
        match &self.clap {
            // Nobody may be there to read it.
            Some(error) => drop(error.print()),
            None => {
                tell_in(AnsiColor::Red, &self.reason);
                if let Some(next) = &self.next {
                    let bold = Style::new().bold();
                    let _ = writeln!(anstream::stderr(), "  {bold}next:{bold:#} {next}");
                }
            }
        }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::new(reason)
    }
}

impl From<swarmrt::OtpError> for Failure {
    fn from(error: swarmrt::OtpError) -> Failure {
        Failure::new(error.to_string()).next("swarmrt doctor checks what is installed")
    }
}

/// A message on standard error, which somebody may have closed.
pub fn tell(message: &str) {
    let _ = writeln!(std::io::stderr(), "swarmrt: {message}");
}

fn tell_in(colour: AnsiColor, message: &str) {
    let style = colour.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}swarmrt:{style:#} {message}");
}
