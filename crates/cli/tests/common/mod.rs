//! What the tests of the program share: where things are, and running a command with a time limit.

#![allow(dead_code, reason = "each test uses some of it")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the project's root exists")
}

/// Where Cargo builds, and what tests keep from run to run.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The program: what `SWARMRT` names; else the release build where there is one, since that is what
/// users run; else the build under test.
pub fn swarmrt() -> PathBuf {
    if let Some(named) = std::env::var_os("SWARMRT") {
        return PathBuf::from(named);
    }
    let release = target().join("release/swarmrt");
    if release.is_file() { release } else { PathBuf::from(env!("CARGO_BIN_EXE_swarmrt")) }
}

/// The OTP release that the programs run on: `SWARMRT_TEST_OTP` names one that `script/otp`
/// installs; without it, it is the installed OTP.
pub fn release() -> Option<String> {
    std::env::var("SWARMRT_TEST_OTP").ok().filter(|release| !release.is_empty())
}

/// Where `script/otp` keeps the release under test.
pub fn release_root(release: &str) -> PathBuf {
    root().join("target/otp").join(release)
}

/// The folder of OTP under test, with its `lib`.
pub fn otp_root() -> PathBuf {
    match release() {
        Some(release) => release_root(&release).join("usr/lib/erlang"),
        None => PathBuf::from("/usr/lib/erlang"),
    }
}

/// A program of the real OTP under test, such as `erl`.
pub fn oracle(program: &str) -> Command {
    match release() {
        Some(release) => {
            let mut command = Command::new(root().join("script/otp"));
            command.args([release.as_str(), program]);
            command
        }
        None => Command::new(program),
    }
}

/// Where something that the real OTP under test says is kept from test to test, below
/// `target/oracle`: another place for other files, or another version of OTP.
pub fn kept_oracle(name: &str, files: &[&Path]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).expect("readable").hash(&mut hasher);
    }
    for version in ["releases/RELEASES", "releases/start_erl.data"] {
        std::fs::read(otp_root().join(version)).unwrap_or_default().hash(&mut hasher);
    }
    let release = release().unwrap_or_else(|| "25".to_owned());
    target().join("oracle").join(release).join(format!("{name}-{:016x}", hasher.finish()))
}

/// SwarmRT with the libraries of the OTP under test.
pub fn swarmrt_command() -> Command {
    let mut command = Command::new(swarmrt());
    if release().is_some() {
        command.env("SWARMRT_OTP_ROOT", otp_root());
    }
    command
}

/// How many machines run at once. Most of a small program's time is spent on waiting.
pub fn machines_at_once() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// What `job` returns for each item, in the order of the items; `at_once` of them run at a time,
/// and those in front start first.
/// # Panics
/// When a job does.
pub fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    job: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = job(item);
                    results.lock().expect("no job has panicked").push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no job has panicked");
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn drain(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("the pipe can be read");
        bytes
    })
}

/// Runs a command to its end.
/// # Panics
/// When it takes longer than a minute, or three with a collection at every safepoint.
pub fn run(command: &mut Command) -> Output {
    let minutes = if std::env::var_os("SWARMRT_TEST_STRESS").is_some() { 3 } else { 1 };
    run_within(command, Duration::from_secs(60 * minutes))
}

/// Runs a command to its end within a time limit.
/// # Panics
/// When it takes longer.
pub fn run_within(command: &mut Command, limit: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let out = drain(child.stdout.take().expect("piped"));
    let err = drain(child.stderr.take().expect("piped"));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if started.elapsed() > limit {
            child.kill().expect("the child can be killed");
            panic!("{command:?} takes longer than {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: out.join().expect("read"), stderr: err.join().expect("read") }
}
