//! The `swarmrt` program.

mod allocator;
mod emulator;
mod flags;
mod root;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// The exit code when the machine itself is at fault (`EX_SOFTWARE` of sysexits.h).
const EXIT_INTERNAL_ERROR: i32 = 70;

/// A fault of ours ends the run at once and says so, rather than leaving a machine without a scheduler.
fn end_on_internal_errors() {
    std::panic::set_hook(Box::new(|fault| {
        tell(&format!("internal error, please report it: {fault}"));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            tell(&std::backtrace::Backtrace::force_capture().to_string());
        }
        std::process::exit(EXIT_INTERNAL_ERROR);
    }));
}

/// A message on standard error, which somebody may have closed.
fn tell(message: &str) {
    let _ = writeln!(std::io::stderr(), "swarmrt: {message}");
}

/// An argument as text: the bytes of one that is not UTF-8 count as the characters of Latin-1.
fn text(argument: OsString) -> String {
    argument.into_string().unwrap_or_else(|argument| argument.as_bytes().iter().copied().map(char::from).collect())
}

fn main() -> ExitCode {
    allocator::configure();
    end_on_internal_errors();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(text).collect();
    // What it is called by says nothing: scripts of releases give it their own name.
    let as_emulator = std::env::current_exe().is_ok_and(|program| root::is_emulator(&program));
    let result = if as_emulator { flags::emulator(&arguments) } else { flags::run(&arguments) };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        Err(message) => {
            tell(&message);
            ExitCode::from(2)
        }
    }
}
