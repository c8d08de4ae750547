//! `swarmrt test`: the tests of a project, by the tool that it is built with, or by eunit alone.

use crate::erl::show;
use crate::exec;
use crate::failure::Failure;
use crate::run;
use anstyle::{AnsiColor, Style};
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A test failed, or what is to be tested does not compile.
const EXIT_FAILED: i32 = 1;

/// The program that tests a folder without a build tool.
const RUNNER: &str = include_str!("../templates/swarmrt_test.erl");

pub fn test(folder: &Path, arguments: &[OsString]) -> Result<i32, Failure> {
    let name = folder.display();
    if !folder.is_dir() {
        return Err(Failure::new(format!("{name}: no such folder"))
            .next("swarmrt test FOLDER tests the project in it"));
    }
    if folder.join("mix.exs").is_file() {
        let mut words = vec![OsString::from("test")];
        // It would not, as its output goes through this program.
        words.extend(has_colours().then(|| "--color".into()));
        words.extend(arguments.iter().cloned());
        return steps(folder, "mix", vec![words]);
    }
    if ["rebar.config", "rebar.config.script"].iter().any(|name| folder.join(name).is_file()) {
        if exec::on_path("rebar3").is_some() {
            return steps(folder, "rebar3", rebar3_steps(folder, arguments));
        }
        crate::failure::tell(
            "rebar3 is not installed: the modules are tested without it, and without dependencies",
        );
    }
    if !arguments.is_empty() {
        let next = "there is no mix.exs and no rebar.config, or rebar3 is not installed";
        return Err(Failure::new(format!("{name}: no tool takes these arguments")).next(next));
    }
    plain(folder)
}

fn has_colours() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|told| told.is_empty())
}

/// What is asked for, or else eunit, and `common_test` where there are suites.
fn rebar3_steps(folder: &Path, arguments: &[OsString]) -> Vec<Vec<OsString>> {
    if !arguments.is_empty() {
        return vec![arguments.to_vec()];
    }
    let mut steps = vec![vec!["eunit".into()]];
    if has_suites(folder) {
        steps.push(vec!["ct".into()]);
    }
    steps
}

/// Whether the project, or one of its applications, has a suite of `common_test`.
fn has_suites(folder: &Path) -> bool {
    let entries = |folder: PathBuf| {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let applications = ["apps", "lib"].into_iter().flat_map(|name| entries(folder.join(name)));
    std::iter::once(folder.to_owned()).chain(applications).any(|application| {
        entries(application.join("test")).any(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("_SUITE.erl"))
        })
    })
}

/// A step that has been run.
struct Ran {
    name: String,
    passed: bool,
    took: Duration,
    /// The tests that failed, as the tool names them.
    failures: Vec<String>,
}

/// Runs a tool once for each list of arguments; a later step runs even if an earlier one failed.
fn steps(folder: &Path, tool: &str, steps: Vec<Vec<OsString>>) -> Result<i32, Failure> {
    let mut all = Vec::new();
    for arguments in steps {
        all.push(step(folder, tool, &arguments)?);
    }
    // Those that failed come first.
    all.sort_by_key(|step| step.passed);
    let mut text = String::from("\n");
    for step in &all {
        let (word, colour) =
            if step.passed { ("passed", AnsiColor::Green) } else { ("failed", AnsiColor::Red) };
        let style = if has_colours() { colour.on_default().bold() } else { Style::new() };
        text +=
            &format!("{style}{word}{style:#}  {} ({:.1} s)\n", step.name, step.took.as_secs_f64());
        for failure in &step.failures {
            text += &format!("        {failure}\n");
        }
    }
    show(&text);
    Ok(if all.iter().all(|step| step.passed) { 0 } else { EXIT_FAILED })
}

fn step(folder: &Path, tool: &str, arguments: &[OsString]) -> Result<Ran, Failure> {
    let started = Instant::now();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let mut command = exec::prepared(OsStr::new(tool))?;
    command.args(arguments).current_dir(folder).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| exec::cannot_start(OsStr::new(tool), &error))?;
    let output = child.stdout.take().map(copied).unwrap_or_default();
    let status = child.wait().map_err(|error| format!("{tool}: {error}"))?;
    let failures = if status.success() { Vec::new() } else { failures(&output) };
    Ok(Ran {
        name: format!("{tool} {}", words.join(" ")),
        passed: status.success(),
        took: started.elapsed(),
        failures,
    })
}

/// Bytes of a tool's output that are kept to find failures in; more than that is shown only.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Shows what a tool prints as it comes, and returns it.
fn copied(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    let mut out = std::io::stdout();
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                let _ = out.write_all(&piece[..count]).and_then(|()| out.flush());
                if kept.len() < KEPT_BYTES_MAX {
                    kept.extend_from_slice(&piece[..count]);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The lines that name a test that failed: `  1) name` (eunit under rebar3, `ExUnit`), `%%% suite
/// ==> case: FAILED` (`common_test`).
fn failures(output: &str) -> Vec<String> {
    let plain = anstream::adapter::strip_str(output).to_string();
    let is_numbered = |line: &str| {
        let line = line.trim_start();
        line.split_once(") ")
            .is_some_and(|(number, rest)| !rest.is_empty() && number.parse::<u32>().is_ok())
    };
    let names_failure = |line: &&str| {
        is_numbered(line) || line.contains("==>") && line.trim_end().ends_with(": FAILED")
    };
    plain
        .lines()
        .filter(names_failure)
        .map(|line| line.trim().trim_start_matches("%%% ").to_owned())
        .collect()
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles the modules in a folder and runs their eunit tests in this process.
fn plain(folder: &Path) -> Result<i32, Failure> {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("swarmrt-test-{}", std::process::id())));
    let failed = |error: std::io::Error| Failure::of_file(&scratch.0, &error);
    std::fs::create_dir(&scratch.0).map_err(failed)?;
    let program = scratch.0.join("swarmrt_test.erl");
    std::fs::write(&program, RUNNER).map_err(failed)?;
    let folder = folder.canonicalize().map_err(|error| Failure::of_file(folder, &error))?;
    let colour = if has_colours() { "colour" } else { "plain" };
    run::run(&program, vec![folder.into(), scratch.0.join("out").into(), colour.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_found_in_the_output_of_tools() {
        let eunit = "===> Performing EUnit tests...\n.F\nFailures:\n\n  1) a_tests:two_test/0\n     Failure/Error: x\n";
        let ct =
            "%%% a_SUITE ==> one: OK\n%%% a_SUITE ==> two: FAILED\n%%% a_SUITE ==> \nReason: x\n";
        let exunit = "  \x1b[31m1) test greets (ATest)\x1b[0m\n     test/a_test.exs:5\n(1) no\n2 tests, 1 failure\n";
        assert_eq!(failures(eunit), ["1) a_tests:two_test/0"]);
        assert_eq!(failures(ct), ["a_SUITE ==> two: FAILED"]);
        assert_eq!(failures(exunit), ["1) test greets (ATest)"]);
    }
}
