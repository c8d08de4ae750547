//! The programs of `tests/differential/`, compiled once and run on the real `erl` and on SwarmRT: their
//! output is the same, but for what differs between any two runs (pids, references).

mod common;

use std::path::PathBuf;
use std::process::Command;

/// Pids, references, ports and times become the same everywhere.
fn normalised(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find(['<', '#']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let body = from.trim_start_matches("#Ref").trim_start_matches("#Port");
            let inside = body.strip_prefix('<').and_then(|body| body.split_once('>'));
            match inside {
                Some((numbers, after)) if numbers.contains('.') && numbers.chars().all(|c| c.is_ascii_digit() || c == '.') => {
                    out.push_str("<id>");
                    rest = after;
                }
                _ => {
                    out.push_str(&from[..1]);
                    rest = &from[1..];
                }
            }
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// The programs for the release under test: those of all releases, and those of folders `since_N` and `until_N`. What a folder
/// `until_N` shows is other in later releases, and not yet so here.
fn programs() -> Vec<PathBuf> {
    let release: u32 = common::release().map_or(25, |release| release.parse().expect("a number"));
    let top = common::root().join("tests/differential");
    let mut folders = vec![top.clone()];
    folders.extend((26..=release).map(|since| top.join(format!("since_{since}"))));
    folders.extend((release..29).map(|until| top.join(format!("until_{until}"))));
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut programs: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "erl"))
        .collect();
    programs.sort();
    programs
}

#[test]
fn programs_print_the_same_as_on_erl() {
    if common::oracle("erl").arg("-version").output().is_err() {
        panic!("erl is not installed: run script/setup");
    }
    let beams = std::env::temp_dir().join(format!("swarmrt-differential-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let mut failures = Vec::new();
    let mut count = 0;
    for path in programs() {
        // With a collection at every safepoint, a million elements take minutes, and a program
        // that watches collections sees more of them than on `erl`.
        let not_under_stress = ["large_inputs", "figures", "collections_seen"];
        let skip = path.file_stem().is_some_and(|name| not_under_stress.iter().any(|n| name == *n));
        if skip && std::env::var_os("SWARMRT_TEST_STRESS").is_some() {
            continue;
        }
        // OTP 27's own emulator crashes on calls and funs of 256 arguments and more.
        let crashes = path.file_stem().is_some_and(|name| name == "applying");
        if crashes && common::release().as_deref() == Some("27") {
            continue;
        }
        count += 1;
        let module = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let compiled = common::run(common::oracle("erlc").arg("-o").arg(&beams).arg(&path));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        let run = |command: &mut Command| {
            let output = common::run(command.args(["-noshell", "-pa"]).arg(&beams).arg("-eval").arg(format!("{module}:main(), halt().")));
            normalised(&format!("{}{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr), output.status))
        };
        let expected = run(&mut common::oracle("erl"));
        let actual = run(common::swarmrt_command().arg("erl"));
        if actual != expected {
            let differences: Vec<String> = diff(&expected, &actual);
            failures.push(format!("{module}:\n{}", differences.join("\n")));
        }
    }
    let _ = std::fs::remove_dir_all(&beams);
    assert!(count > 0);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The first lines that differ.
fn diff(expected: &str, actual: &str) -> Vec<String> {
    let (mut expected_lines, mut actual_lines) = (expected.lines(), actual.lines());
    let mut shown = Vec::new();
    loop {
        match (expected_lines.next(), actual_lines.next()) {
            (None, None) => return shown,
            (a, b) if a == b => {}
            (a, b) => shown.push(format!("  erl:     {}\n  swarmrt: {}", a.unwrap_or("(end)"), b.unwrap_or("(end)"))),
        }
        if shown.len() >= 10 {
            return shown;
        }
    }
}
