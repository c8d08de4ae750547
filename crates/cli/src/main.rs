//! The `swarmrt` program.

mod allocator;
mod arguments;
mod doctor;
mod emulator;
mod epmd;
mod erl;
mod exec;
mod failure;
mod info;
mod limits;
mod new;
mod root;
mod run;
mod settings;
mod test;

use arguments::{Cli, Command};
use clap::CommandFactory;
use failure::{EXIT_INTERNAL_ERROR, Failure, tell};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// A fault of ours ends the run at once and says so, rather than leaving a machine without a
/// scheduler.
fn end_on_internal_errors() {
    std::panic::set_hook(Box::new(|fault| {
        tell(&format!("internal error, please report it: {fault}"));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            tell(&std::backtrace::Backtrace::force_capture().to_string());
        }
        std::process::exit(EXIT_INTERNAL_ERROR);
    }));
}

/// An argument as text: the bytes of one that is not UTF-8 count as the characters of Latin-1.
fn text(argument: OsString) -> String {
    argument
        .into_string()
        .unwrap_or_else(|argument| argument.as_bytes().iter().copied().map(char::from).collect())
}

fn texts(arguments: Vec<OsString>) -> Vec<String> {
    arguments.into_iter().map(text).collect()
}

/// Does what the command line asks for; the exit code.
fn perform(command: Command) -> Result<i32, Failure> {
    match command {
        Command::Run { file, rest } => run::run(&file, rest.arguments),
        Command::Shell(rest) | Command::Erl(rest) => erl::erl("erl", &texts(rest.arguments)),
        Command::Erlc(rest) => run::erlc(rest.arguments),
        Command::Escript(rest) => run::escript(rest.arguments),
        Command::Exec { command, rest } => exec::exec(&command, &rest.arguments),
        Command::New { name } => new::new(&name),
        Command::Test { folder, arguments } => test::test(&folder, &arguments),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Info { json } => info::info(json),
        Command::Disasm { native, file, function } => disasm(&file, function.as_deref(), native),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "swarmrt", &mut script);
            erl::show(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        Command::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), &folder)
                .map_err(|error| Failure::of_file(&folder, &error))?;
            Ok(0)
        }
    }
}

fn disasm(file: &Path, function: Option<&str>, native: bool) -> Result<i32, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::of_file(file, &error))?;
    let text = swarmrt::disassemble(&bytes, function, native).map_err(|why| {
        Failure::new(format!("{}: {why}", file.display())).next(match function {
            Some(_) => "without a function, all of the module's are listed",
            None => "`swarmrt erlc` makes .beam files",
        })
    })?;
    erl::show(&text);
    Ok(0)
}

fn main() -> ExitCode {
    allocator::configure();
    end_on_internal_errors();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // What it is called by says nothing: scripts of releases give it their own name.
    let as_emulator = std::env::current_exe().is_ok_and(|program| root::is_emulator(&program));
    let result = if as_emulator {
        erl::emulator(&texts(arguments))
    } else {
        arguments::read(&arguments).and_then(|cli| {
            settings::apply(&cli.options);
            perform(cli.command)
        })
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        Err(failure) => {
            failure.print();
            ExitCode::from(u8::try_from(failure.code).unwrap_or(1))
        }
    }
}
