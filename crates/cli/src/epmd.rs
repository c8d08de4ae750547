//! `epmd`, OTP's program that finds nodes: started as `erl` does, before a node that has a name
//! from the start.

use crate::failure::tell;
use std::process::{Command, Stdio};

/// What comes in front of the program's own arguments.
fn own(boot_args: &[String]) -> &[String] {
    let end = boot_args.iter().position(|argument| argument == "-extra").unwrap_or(boot_args.len());
    &boot_args[..end]
}

/// The command to start, if the arguments ask for a node with a name and none against it.
fn command(boot_args: &[String]) -> Option<&str> {
    let own = own(boot_args);
    let given = |name: &str| own.iter().position(|argument| argument == name);
    let value = |name: &str| given(name).and_then(|at| own.get(at + 1)).map(String::as_str);
    let is_named = given("-sname").is_some() || given("-name").is_some();
    let is_refused = given("-no_epmd").is_some() || value("-start_epmd") == Some("false");
    (is_named && !is_refused).then(|| value("-epmd").unwrap_or("epmd"))
}

/// Starts `epmd` where it is needed, and says to OTP's code on which port it is where that is not
/// the usual one.
pub fn prepare(boot_args: &mut Vec<String>) {
    if let Ok(port) = std::env::var("ERL_EPMD_PORT") {
        let at = own(boot_args).len();
        boot_args.splice(at..at, ["-epmd_port".to_owned(), port]);
    }
    let Some(program) = command(boot_args) else { return };
    // It goes on by itself, or ends because there is one already.
    let null = Stdio::null;
    let started = Command::new(program).arg("-daemon").stdin(null()).stdout(null()).status();
    if let Err(error) = started {
        tell(&format!("cannot start {program}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_the_start_needs_epmd() {
        let command_of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            command(&words).map(str::to_owned)
        };
        assert_eq!(command_of("-sname a").as_deref(), Some("epmd"));
        assert_eq!(command_of("-name a@b -epmd /bin/epmd").as_deref(), Some("/bin/epmd"));
        for line in
            ["-noshell", "-sname a -start_epmd false", "-sname a -no_epmd", "-extra -sname a"]
        {
            assert_eq!(command_of(line), None, "{line}");
        }
    }
}
