//! The programs of `tests/differential/`, compiled once and run on the real `erl` and on SwarmRT:
//! their output is the same, but for what differs between any two runs (pids, references).

mod common;

use std::path::{Path, PathBuf};
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
                Some((numbers, after))
                    if numbers.contains('.')
                        && numbers.chars().all(|c| c.is_ascii_digit() || c == '.') =>
                {
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

/// The programs for the release under test: those of all releases, and those of folders `since_N`
/// and `until_N`. What a folder `until_N` shows is other in later releases, and not yet so here.
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

/// Programs that `erl` or a machine under test cannot run as they are, and why.
fn is_left_out(name: &str) -> bool {
    // With a collection at every safepoint, a million elements take minutes, a program that
    // watches collections sees more of them than on `erl`, and one that relies on the length of a
    // turn, in which they count, is interrupted.
    let not_under_stress = [
        "allocators",
        "collections_seen",
        "figures",
        "large_inputs",
        "long_collection",
        "system_task_turns",
    ];
    // OTP 27's own emulator crashes on calls and funs of 256 arguments and more.
    let crashes = name == "applying" && common::release().as_deref() == Some("27");
    crashes || std::env::var_os("SWARMRT_TEST_STRESS").is_some() && not_under_stress.contains(&name)
}

/// What runs while nothing else does, because it shows how processors are shared out or how long
/// something takes.
const ALONE: [&str; 10] = [
    "collections_seen",
    "figures",
    "heap_limit_messages",
    "lent_priority",
    "multi_scheduling",
    "process_floods",
    "signal_order",
    "system_monitors",
    "system_task_turns",
    "timers",
];

/// What waits for seconds, and starts first, so that nobody waits for it at the end.
const LONG: [&str; 2] = ["program_ports", "other_nodes"];

/// How many runs of `erl` a program's output is compared with before it counts as different.
const RUNS_OF_ERL: usize = 3;

fn is_one_of(path: &Path, names: &[&str]) -> bool {
    path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| names.contains(&name))
}

/// A program, compiled, and what `erl` prints for it. Both are kept below `target` from test to
/// test, since each engine is compared with the same: for one source, of one version of OTP.
struct Case {
    module: String,
    folder: PathBuf,
    /// Flags of the emulator, from lines like `%% flags: +D` of the source: it runs once with those
    /// of each line.
    flags: Vec<Vec<String>>,
}

fn erl() -> Command {
    common::oracle("erl")
}

fn swarmrt() -> Command {
    let mut command = common::swarmrt_command();
    command.arg("erl");
    command
}

impl Case {
    fn of(path: &Path) -> Case {
        let module = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let source = std::fs::read_to_string(path).expect("the program can be read");
        let lines = source.lines().filter_map(|line| line.strip_prefix("%% flags: "));
        let mut flags: Vec<Vec<String>> =
            lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        if flags.is_empty() {
            flags.push(Vec::new());
        }
        Case { folder: common::kept_oracle(&module, &[path]), module, flags }
    }

    /// What a machine prints for the program.
    fn run(&self, machine: impl Fn() -> Command, beams: &Path) -> String {
        let start = format!("{}:main(), halt().", self.module);
        let run = |flags: &Vec<String>| {
            let output = common::run(
                machine().args(flags).args(["-noshell", "-pa"]).arg(beams).arg("-eval").arg(&start),
            );
            normalised(&format!(
                "{}{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
                output.status
            ))
        };
        self.flags.iter().map(run).collect()
    }

    /// The lines that differ, if any do. What `erl` printed is kept when SwarmRT has printed the
    /// same.
    fn compare(&self, source: &Path) -> Option<String> {
        let expected = self.folder.join("expected.txt");
        if let Ok(expected) = std::fs::read_to_string(&expected) {
            let actual = self.run(swarmrt, &self.folder);
            if actual == expected {
                return None;
            }
            // Chance may have had a part in what is kept.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        let fresh = self.folder.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&fresh).expect("a folder can be made below target");
        let compiled = common::run(common::oracle("erlc").arg("-o").arg(&fresh).arg(source));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        let actual = self.run(swarmrt, &fresh);
        let mut told = self.run(erl, &fresh);
        // Chance has a part in what `erl` prints too: what it prints in any of its runs is right.
        for _ in 1..RUNS_OF_ERL {
            if actual == told {
                break;
            }
            told = self.run(erl, &fresh);
        }
        let differences = (actual != told)
            .then(|| format!("{}:\n{}", self.module, diff(&told, &actual).join("\n")));
        let is_kept = differences.is_none()
            && std::fs::write(fresh.join("expected.txt"), told).is_ok()
            && std::fs::rename(&fresh, &self.folder).is_ok();
        if !is_kept {
            let _ = std::fs::remove_dir_all(&fresh);
        }
        differences
    }
}

#[test]
fn programs_print_the_same_as_on_erl() {
    assert!(
        common::oracle("erl").arg("-version").output().is_ok(),
        "erl is not installed: run script/setup"
    );
    let mut programs = programs();
    programs
        .retain(|path| !path.file_stem().is_some_and(|name| is_left_out(&name.to_string_lossy())));
    assert!(!programs.is_empty());
    programs.sort_by_key(|path| !is_one_of(path, &LONG));
    let (alone, others): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|path| is_one_of(path, &ALONE));
    let compared = |path: &PathBuf| Case::of(path).compare(path);
    let mut outcomes = common::side_by_side(&others, common::machines_at_once(), compared);
    outcomes.extend(alone.iter().map(compared));
    let failures: Vec<String> = outcomes.into_iter().flatten().collect();
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
            (a, b) => shown.push(format!(
                "  erl:     {}\n  swarmrt: {}",
                a.unwrap_or("(end)"),
                b.unwrap_or("(end)")
            )),
        }
        if shown.len() >= 10 {
            return shown;
        }
    }
}
