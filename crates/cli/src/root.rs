//! An OTP root whose emulator is this program, for everything that starts OTP by other ways than
//! `erl` on the PATH: releases, and the tools that copy OTP's `erts` folder into them.
//!
//! All of it is the installed OTP, linked to or copied, but for `erts-VERSION/bin/beam.smp`, which
//! is this program, and `erl`, which looks for its root where it lies. OTP's own `erlexec` starts
//! `beam.smp`, see [`emulator_arguments`].

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use swarmrt::Otp;
use swarmrt::machine::code::cache::CodeCache;

/// The name that OTP's `erlexec` starts the emulator by.
const EMULATOR: &str = "beam.smp";

const DAY: Duration = Duration::from_hours(24);
/// A root that is used is marked as used this often.
const NOTED_EVERY: Duration = DAY;
/// Roots that were not used for so long are removed when another one is made.
const UNUSED_FOR: Duration = Duration::from_hours(14 * 24);

/// `erl` of a root that may be moved.
const ERL: &str = r#"#!/bin/sh
BINDIR=$(CDPATH= cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd)
ROOTDIR=${BINDIR%/*/*}
EMU=beam
PROGNAME=erl
export BINDIR ROOTDIR EMU PROGNAME
exec "$BINDIR/erlexec" "$@"
"#;

/// Whether this program was started as OTP's emulator.
pub fn is_emulator(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == EMULATOR)
}

/// `erl`'s arguments from those that OTP's `erlexec` gives the emulator: its flags, which begin
/// with `-` here instead of `+`, then `--`, and the rest as `init` gets it. The root and the folder
/// of the programs are in that.
pub fn emulator_arguments(arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let (flags, boot) = arguments.split_at(end);
    let flags = flags
        .iter()
        .map(|flag| flag.strip_prefix('-').map_or_else(|| flag.clone(), |rest| format!("+{rest}")));
    (flags.collect(), boot.get(1..).unwrap_or_default().to_vec())
}

/// What follows a flag in `init`'s arguments.
pub fn argument_of<'a>(boot: &'a [String], flag: &str) -> Option<&'a str> {
    let at = boot.iter().position(|argument| argument == flag)?;
    boot.get(at + 1).map(String::as_str)
}

/// Makes the root below `caches` where it is not there yet.
///
/// # Errors
/// When something cannot be read, linked or copied.
pub fn with_emulator(otp: &Otp, program: &Path, caches: &Path) -> io::Result<PathBuf> {
    let erts = format!("erts-{}", otp.erts_version);
    let programs = otp.root.join(&erts).join("bin");
    let about = fs::metadata(program)?;
    // Another build, or another OTP in its place, is another root.
    let mark = format!(
        "{} {} {} {}",
        otp.root.display(),
        about.len(),
        about.mtime_nsec(),
        fs::metadata(&programs)?.mtime()
    );
    let digest = CodeCache::digest(mark.as_bytes());
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let root = caches.join(name);
    if root.is_dir() {
        note_use(&root);
        return Ok(root);
    }
    remove_unused(caches);
    let fresh = root.with_extension(format!("new-{}", std::process::id()));
    let made = fill(otp, program, &programs, &fresh, &erts);
    // Somebody else may have been quicker.
    if made.is_ok() && (fs::rename(&fresh, &root).is_ok() || root.is_dir()) {
        let _ = fs::remove_dir_all(&fresh);
        return Ok(root);
    }
    let _ = fs::remove_dir_all(&fresh);
    made.map(|()| root)
}

/// Notes that a root is in use, once a day.
fn note_use(root: &Path) {
    if unused_for(root).is_none_or(|time| time >= NOTED_EVERY) {
        // A root that cannot be changed is not removed by this user either.
        let _ = File::open(root).and_then(|folder| folder.set_modified(SystemTime::now()));
    }
}

/// Removes the roots that were not used of late, and whose emulator does not run: each is as large
/// as the program that it was made for, which may have been replaced since. What cannot be removed
/// stays.
fn remove_unused(caches: &Path) {
    let Ok(roots) = fs::read_dir(caches) else { return };
    let running = running_programs();
    for root in roots.flatten().map(|entry| entry.path()) {
        let unused = unused_for(&root).is_some_and(|time| time > UNUSED_FOR);
        if unused && !emulators(&root).any(|emulator| running.contains(&emulator)) {
            let _ = fs::remove_dir_all(&root);
        }
    }
}

/// How long ago a root was marked as used; `None` where that cannot be told, or lies ahead.
fn unused_for(root: &Path) -> Option<Duration> {
    let noted = fs::metadata(root).and_then(|about| about.modified()).ok()?;
    SystemTime::now().duration_since(noted).ok()
}

/// Device and file number of the emulators in a root.
fn emulators(root: &Path) -> impl Iterator<Item = (u64, u64)> {
    let folders = fs::read_dir(root).into_iter().flatten().flatten();
    let programs = folders.map(|folder| folder.path().join("bin").join(EMULATOR));
    programs.filter_map(|program| identity(&program))
}

/// Device and file number of the programs that run on this machine, as far as they can be seen.
fn running_programs() -> HashSet<(u64, u64)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| identity(&process.path().join("exe"))).collect()
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|about| (about.dev(), about.ino()))
}

fn fill(otp: &Otp, program: &Path, programs: &Path, to: &Path, erts: &str) -> io::Result<()> {
    let bin = to.join(erts).join("bin");
    fs::create_dir_all(&bin)?;
    for entry in fs::read_dir(&otp.root)? {
        let entry = entry?;
        if entry.file_name() != erts && entry.file_name() != "bin" {
            symlink(entry.path(), to.join(entry.file_name()))?;
        }
    }
    for entry in fs::read_dir(otp.root.join(erts))? {
        let entry = entry?;
        if entry.file_name() != "bin" {
            symlink(entry.path(), to.join(erts).join(entry.file_name()))?;
        }
    }
    for entry in fs::read_dir(programs)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("beam.") || name == "erl" {
            continue;
        }
        fs::copy(entry.path(), bin.join(name))?;
    }
    let emulator = bin.join(EMULATOR);
    if fs::hard_link(program, &emulator).is_err() {
        fs::copy(program, &emulator)?;
    }
    write_script(&bin.join("erl"), ERL)?;
    // A release has no folder of libraries with these in; tools copy the folder of the programs
    // alone.
    let preloaded = bin.join(Otp::PRELOADED);
    fs::create_dir_all(&preloaded)?;
    for entry in fs::read_dir(&otp.preloaded)? {
        let entry = entry?;
        fs::copy(entry.path(), preloaded.join(entry.file_name()))?;
    }
    let links = to.join("bin");
    fs::create_dir_all(&links)?;
    for entry in fs::read_dir(otp.root.join("bin"))? {
        let entry = entry?;
        let ours = bin.join(entry.file_name());
        let target = if ours.exists() {
            Path::new("..").join(erts).join("bin").join(entry.file_name())
        } else {
            entry.path()
        };
        symlink(target, links.join(entry.file_name()))?;
    }
    Ok(())
}

/// Writes a program for the shell.
///
/// # Errors
/// When it cannot be written.
pub fn write_script(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_nobody_uses_are_removed() {
        let caches = std::env::temp_dir().join(format!("swarmrt-roots-{}", std::process::id()));
        let make = |name: &str, program: &Path, days: u32| {
            let bin = caches.join(name).join("erts-1").join("bin");
            fs::create_dir_all(&bin).expect("made");
            symlink(program, bin.join(EMULATOR)).expect("linked");
            let then = SystemTime::now() - days * DAY;
            File::open(caches.join(name)).and_then(|root| root.set_modified(then)).expect("set");
        };
        let this = std::env::current_exe().expect("it runs");
        make("new", Path::new("/bin/none"), 1);
        make("old", Path::new("/bin/none"), 20);
        make("running", &this, 20);
        make("used", Path::new("/bin/none"), 20);
        note_use(&caches.join("used"));
        remove_unused(&caches);
        let left = ["new", "old", "running", "used"].map(|name| caches.join(name).is_dir());
        let _ = fs::remove_dir_all(&caches);
        assert_eq!(left, [true, false, true, true]);
    }

    #[test]
    fn the_emulators_arguments_are_those_of_erl() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (flags, boot) = emulator_arguments(&words(
            "-P 5000 -Bd -- -root /r -bindir /r/b -progname erl -- -home /h -- -noshell",
        ));
        assert_eq!(flags, words("+P 5000 +Bd"));
        assert_eq!(
            (argument_of(&boot, "-root"), argument_of(&boot, "-bindir")),
            (Some("/r"), Some("/r/b"))
        );
        assert_eq!(boot[6..], words("-- -home /h -- -noshell"));
        assert!(is_emulator(Path::new("/x/beam.smp")) && !is_emulator(Path::new("/x/swarmrt")));
    }
}
