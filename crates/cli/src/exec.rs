//! `swarmrt exec`: a command whose `erl`, `erlc` and `escript` are this program.

use crate::failure::{EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND, Failure};
use crate::{root, settings};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use swarmrt::Otp;
use swarmrt::machine::code::cache::CodeCache;

/// The programs of OTP that a command finds on its PATH.
const PROGRAMS: [&str; 3] = ["erl", "erlc", "escript"];

/// Becomes a command with `erl`, `erlc` and `escript` on its PATH being this program, and with a
/// root of OTP whose emulator it is as well: releases that the command makes or starts run on it.
pub fn exec(command: &OsStr, arguments: &[OsString]) -> Result<i32, Failure> {
    let error = prepared(command)?.args(arguments).exec();
    Err(cannot_start(command, &error))
}

/// Such a command, ready to be started.
pub fn prepared(command: &OsStr) -> Result<Command, Failure> {
    let here = std::env::current_exe()
        .map_err(|error| format!("this program cannot be found: {error}"))?;
    let shims = shims(&here)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(shims).chain(std::env::split_paths(&path)));
    let mut process = Command::new(command);
    process.env("PATH", path.map_err(|error| format!("PATH: {error}"))?);
    // Where such a root cannot be made, releases run on OTP's emulator.
    if let Ok(otp) = Otp::find(None)
        && let Some(caches) = settings::user_caches().map(|folder| folder.join("swarmrt.roots"))
        && let Ok(root) = root::with_emulator(&otp, &here, &caches)
    {
        process.env(settings::OTP_ROOT, root);
    }
    Ok(process)
}

/// Where a program is that is looked for on the PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

pub fn cannot_start(command: &OsStr, error: &io::Error) -> Failure {
    let name = command.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let next = match name.as_ref() {
                "elixir" | "mix" | "iex" => {
                    "install Elixir (on Debian and Ubuntu: apt-get install elixir)".to_owned()
                }
                "rebar3" => {
                    "install rebar3 (on Debian and Ubuntu: apt-get install rebar3)".to_owned()
                }
                _ => "it is looked for on the PATH".to_owned(),
            };
            Failure::new(format!("{name}: no such command")).next(next).code(EXIT_NOT_FOUND)
        }
        _ => Failure::new(format!("{name}: {error}")).code(EXIT_CANNOT_EXECUTE),
    }
}

/// A folder with a script for each program of OTP, below the user's caches, or below the folder for
/// temporary files where those cannot be written.
fn shims(program: &Path) -> Result<PathBuf, Failure> {
    let digest = CodeCache::digest(program.as_os_str().as_encoded_bytes());
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(caches) = settings::user_caches()
        && let folder = caches.join("swarmrt.shims").join(name)
        && fill(&folder, program).is_ok()
    {
        return Ok(folder);
    }
    // Others can write there: a folder of this process alone.
    let folder = std::env::temp_dir().join(format!("swarmrt-exec-{}", std::process::id()));
    let failed = |error| {
        let next = "set HOME or XDG_CACHE_HOME to a folder that can be written, or make room there";
        Failure::new(format!("{}: {error}", folder.display())).next(next)
    };
    fill(&folder, program).map_err(failed)?;
    Ok(folder)
}

/// Writes the scripts that are not there yet. Two processes may do so at the same time: each writes
/// files of its own first.
fn fill(folder: &Path, program: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let quoted = program.to_string_lossy().replace('\'', "'\\''");
    for name in PROGRAMS {
        let text = format!("#!/bin/sh\nexec '{quoted}' {name} \"$@\"\n");
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        let fresh = folder.join(format!("{name}.{}", std::process::id()));
        root::write_script(&fresh, &text)?;
        std::fs::rename(&fresh, &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_written_once_and_mended() {
        let folder = std::env::temp_dir().join(format!("swarmrt-shims-{}", std::process::id()));
        fill(&folder, Path::new("/a b/it's")).expect("written");
        let erl = folder.join("erl");
        let text = std::fs::read_to_string(&erl).expect("there");
        assert_eq!(text, "#!/bin/sh\nexec '/a b/it'\\''s' erl \"$@\"\n");
        let before = std::fs::metadata(&erl).and_then(|about| about.modified()).expect("there");
        fill(&folder, Path::new("/a b/it's")).expect("left alone");
        assert_eq!(
            std::fs::metadata(&erl).and_then(|about| about.modified()).expect("there"),
            before
        );
        std::fs::write(&erl, "").expect("written");
        fill(&folder, Path::new("/a b/it's")).expect("mended");
        assert_eq!(std::fs::read_to_string(&erl).expect("there"), text);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
