//! `swarmrt doctor`: whether everything is there that SwarmRT needs, and what to do where it is
//! not.

use crate::erl::{show, trial};
use crate::failure::Failure;
use crate::limits::limit;
use crate::{exec, settings};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::io::IsTerminal;
use swarmrt::machine::code::cache::CodeCache;
use swarmrt::term::Release;
use swarmrt::{Otp, Processors};

/// Nothing can run.
const EXIT_CANNOT_RUN: i32 = 1;

/// How serious a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Something is slower, smaller or less comfortable than it could be.
    Warning,
    /// Programs do not run.
    Failed,
}

/// What one check has found.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }
    fn warning(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            verdict: Verdict::Warning,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
    fn failed(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            check,
            verdict: Verdict::Failed,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

pub fn doctor(json: bool) -> Result<i32, Failure> {
    let found = Otp::find(None);
    let mut findings = vec![otp(&found)];
    if let Ok(otp) = found {
        findings.extend(start(otp));
    }
    findings.extend([code_cache(), processors(), files(), file_size(), terminal()]);
    findings.extend(TOOLS.iter().map(tool));
    if json {
        let text =
            serde_json::to_string_pretty(&findings).map_err(|error| format!("doctor: {error}"))?;
        show(&(text + "\n"));
    } else {
        findings.iter().for_each(print);
    }
    let can_run = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
    Ok(if can_run { 0 } else { EXIT_CANNOT_RUN })
}

fn print(finding: &Finding) {
    let (word, colour) = match finding.verdict {
        Verdict::Ok => ("ok     ", AnsiColor::Green),
        Verdict::Warning => ("warning", AnsiColor::Yellow),
        Verdict::Failed => ("failed ", AnsiColor::Red),
    };
    let is_terminal = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|told| told.is_empty());
    let style = if is_terminal { colour.on_default().bold() } else { Style::new() };
    let mut lines = finding.found.lines();
    let mut text = format!(
        "{style}{word}{style:#}  {:<13} {}\n",
        finding.check,
        lines.next().unwrap_or_default()
    );
    for line in lines.chain(finding.remedy.iter().flat_map(|remedy| remedy.lines())) {
        text += &format!("                       {line}\n");
    }
    show(&text);
}

fn otp(found: &Result<Otp, swarmrt::OtpError>) -> Finding {
    match found {
        Ok(otp) => {
            let version = otp.version.clone().unwrap_or_else(|| otp.release.to_string());
            Finding::ok(
                "OTP",
                format!("{version} in {} (erts {})", otp.root.display(), otp.erts_version),
            )
        }
        Err(error) => {
            let (oldest, newest) = (Release::OLDEST, Release::NEWEST);
            let remedy = format!(
                "install OTP {oldest} to {newest} (apt-get install erlang-base), or name its folder with --otp-root or SWARMRT_OTP_ROOT"
            );
            Finding::failed("OTP", error.to_string(), remedy)
        }
    }
}

/// Whether a machine boots, and whether it has its native engine.
fn start(otp: Otp) -> Vec<Finding> {
    let trial = match trial(otp) {
        Ok(trial) => trial,
        Err(why) => {
            let remedy = "another --otp-root or --engine may do; swarmrt erl -noshell shows what OTP itself says";
            return vec![Finding::failed("start", why, remedy)];
        }
    };
    let engine = std::env::var(settings::ENGINE).ok();
    let native = match (trial.native, engine.as_deref()) {
        (Some(counts), _) => Finding::ok("native engine", counts.to_string()),
        (None, Some("interp")) => Finding::ok("native engine", "switched off (interp)"),
        (None, _) => Finding::warning(
            "native engine",
            "no machine code can be made: programs run in the interpreter, two to three times slower",
            "let the container map executable memory, and lift `ulimit -f`; swarmrt --engine=tiered erl tells the reason",
        ),
    };
    vec![Finding::ok("start", format!("{} ms", trial.milliseconds)), native]
}

fn code_cache() -> Finding {
    const CHECK: &str = "code cache";
    let Some(folder) = settings::code_cache() else {
        let remedy = "set HOME or XDG_CACHE_HOME, or name a folder with --code-cache; without it every run compiles anew";
        return Finding::warning(CHECK, "none", remedy);
    };
    match CodeCache::check(&folder) {
        Ok(()) => Finding::ok(CHECK, folder.display().to_string()),
        Err(why) => {
            let remedy = "name a folder that is yours alone and can be written: --code-cache=DIR or SWARMRT_CODE_CACHE";
            Finding::warning(CHECK, format!("{} cannot be used: {why}", folder.display()), remedy)
        }
    }
}

fn processors() -> Finding {
    let found = Processors::of_system();
    let count = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
    let mut text =
        format!("{} configured, {} usable", count(found.configured), count(found.available));
    if let Some(quota) = found.quota {
        text += &format!(", quota of the container {quota}");
    }
    text += &format!("; {} schedulers, {} online", found.schedulers(), found.schedulers_online());
    Finding::ok("processors", text)
}

/// Descriptors that a server with many connections soon uses.
const FILES_WANTED: u64 = 1024;
/// The most that a file of the machine's own needs: a stretch of machine code.
const FILE_BYTES_WANTED: u64 = 256 * 1024;

fn files() -> Finding {
    const CHECK: &str = "open files";
    match limit(libc::RLIMIT_NOFILE) {
        Some(most) if most < FILES_WANTED => {
            let remedy = "raise it with `ulimit -n 65536` or in /etc/security/limits.conf; each socket and port takes one";
            Finding::warning(CHECK, format!("{most} at most"), remedy)
        }
        Some(most) => Finding::ok(CHECK, format!("{most} at most")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

fn file_size() -> Finding {
    const CHECK: &str = "file size";
    match limit(libc::RLIMIT_FSIZE) {
        Some(most) if most < FILE_BYTES_WANTED => Finding::warning(
            CHECK,
            format!("{most} bytes at most: no room for machine code"),
            "lift it with `ulimit -f unlimited`",
        ),
        Some(most) => Finding::ok(CHECK, format!("{most} bytes at most")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

fn terminal() -> Finding {
    const CHECK: &str = "terminal";
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Finding::ok(CHECK, "input or output is none: the shell reads and writes lines");
    }
    match variable("TERM") {
        None => {
            return Finding::warning(
                CHECK,
                "TERM is not set",
                "set it, such as TERM=xterm-256color; the shell cannot edit lines",
            );
        }
        Some(kind) if kind == "dumb" => {
            return Finding::warning(
                CHECK,
                "TERM is dumb",
                "set it, such as TERM=xterm-256color; the shell cannot edit lines",
            );
        }
        Some(_) => {}
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    let is_utf8 = ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().ends_with(name));
    if is_utf8 {
        Finding::ok(CHECK, format!("{}, {locale}", variable("TERM").unwrap_or_default()))
    } else {
        Finding::warning(
            CHECK,
            format!("the locale {locale:?} is not UTF-8"),
            "set LANG=C.UTF-8; other letters are shown as escapes",
        )
    }
}

/// A program that is not needed, and what it is good for.
struct Tool {
    name: &'static str,
    remedy: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: "rebar3",
        remedy: "for projects of Erlang: apt-get install rebar3, or rebar3.org",
    },
    Tool { name: "elixir", remedy: "for programs and projects of Elixir: apt-get install elixir" },
];

fn tool(tool: &Tool) -> Finding {
    match exec::on_path(tool.name) {
        Some(path) => Finding::ok(tool.name, path.display().to_string()),
        None => Finding::warning(tool.name, "not found", tool.remedy),
    }
}
