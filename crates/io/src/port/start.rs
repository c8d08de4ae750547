//! Programs are started for ports.

use super::options::{Options, ProgramOptions, Source};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A program, and the ends of the pipes to it that are ours.
pub struct Program {
    pub child: Child,
    pub input: Option<File>,
    pub output: Option<File>,
}

/// Has the child start in a folder. As in OTP, it is the child that fails where there is no such
/// folder: it says so, and its status is the number of the error.
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

/// Starts the program. As in OTP, it is the child that fails where arguments and environment are
/// too large: its status is the number of the error.
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

/// The command for a source, which as in OTP may be one that cannot but fail.
fn command_of(source: &Source, program: &ProgramOptions) -> std::io::Result<Command> {
    Ok(match source {
        Source::Command(line) => {
            let mut command = Command::new("/bin/sh");
            command.arg0("sh");
            command.arg("-c").arg(format!("exec {line}"));
            command
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
            command.args(&program.arguments);
            if let Some(name) = &program.argument0 {
                command.arg0(name);
            }
            command
        }
        Source::Driver(_) | Source::File(_) | Source::Descriptors { .. } => {
            return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
        }
    })
}

/// Starts a program.
///
/// # Errors
/// What the operating system says of the program.
pub fn start(source: &Source, options: &Options) -> std::io::Result<Program> {
    let nothing = ProgramOptions::default();
    let program = options.program.as_deref().unwrap_or(&nothing);
    let mut command = command_of(source, program)?;
    if let Some(folder) = &program.folder {
        enter_folder(&mut command, folder)?;
    }
    for (name, value) in &program.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // A child has signals as a program expects them, and a group of its own is not made: as OTP.
    if options.use_stdio {
        start_with_stdio(command, options)
    } else {
        start_without_stdio(command, options)
    }
}

/// The program reads from descriptor 0 and writes to 1, and to 2 as asked.
fn start_with_stdio(mut command: Command, options: &Options) -> std::io::Result<Program> {
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
    // Without anything to be done between `fork` and `exec` the machine's memory is not copied,
    // which takes a millisecond.
    let mut child = spawn(&mut command)?;
    // The ends of the pipe that are the child's go with it.
    drop(command);
    let input =
        both.map(OwnedFd::from).or_else(|| child.stdout.take().map(OwnedFd::from)).map(File::from);
    // SAFETY: the descriptors are handed over.
    let output = child.stdin.take().map(|into| unsafe { File::from_raw_fd(into.into_raw_fd()) });
    Ok(Program { child, input, output })
}

/// The program reads from descriptor 3 and writes to 4, instead of 0 and 1.
fn start_without_stdio(mut command: Command, options: &Options) -> std::io::Result<Program> {
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
    let moves: Vec<(i32, i32)> =
        ends.iter().map(|(end, number)| (end.as_raw_fd(), *number)).collect();
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
    Ok(Program { child, input, output })
}
