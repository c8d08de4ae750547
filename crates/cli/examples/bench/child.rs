//! A child process: what it printed and used. Medians and means of what several used.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// How a command ended, what it printed, and what it used.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub wall_s: f64,
    /// Of it and of the children that it waited for.
    pub user_s: f64,
    /// The most memory that it ever had resident.
    pub peak_mb: f64,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Ended, String> {
    const KIB_PER_MB: f64 = 1024.0;
    let started = Instant::now();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("{command:?}: {error}"))?;
    let mut out = Vec::new();
    let mut pipe = child.stdout.take().expect("piped");
    pipe.read_to_end(&mut out).map_err(|error| error.to_string())?;
    let mut status = 0;
    // SAFETY: both are written by the call; zeroes are a valid `rusage`. Nobody else waits for this
    // child.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) < 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
        usage
    };
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        out: String::from_utf8_lossy(&out).into_owned(),
        wall_s: started.elapsed().as_secs_f64(),
        user_s: usage.ru_utime.tv_sec as f64 + usage.ru_utime.tv_usec as f64 / 1e6,
        peak_mb: usage.ru_maxrss as f64 / KIB_PER_MB,
    })
}

/// Runs that fill the code cache.
pub const RUNS_BEFORE: usize = 3;

/// A program of OTP: the machine's own, or that of the root of a release that `script/otp`
/// installs.
pub fn of_otp(root: &Path, release: Option<&str>, program: &str) -> Command {
    let Some(release) = release else { return Command::new(program) };
    let mut command = Command::new(root.join("script/otp"));
    command.args([release, program]);
    command
}

/// Has SwarmRT run with the libraries of that release.
pub fn with_libraries(command: &mut Command, root: &Path, release: Option<&str>) {
    if let Some(release) = release {
        command
            .env("SWARMRT_OTP_ROOT", root.join("target/otp").join(release).join("usr/lib/erlang"));
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn geometric_mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = ratios.map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}
