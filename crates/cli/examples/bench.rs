//! The benchmark: every program of `bench/` under SwarmRT and under `erl`, in turn, several times, in
//! one go; prints the ratio of the medians.
//!
//! `bench [--runs N] [--json] [PROGRAM…]`

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

struct Row {
    name: String,
    kind: String,
    ours_ms: f64,
    theirs_ms: f64,
}

/// Evaluates `main/0` and prints the microseconds that it took, or those that it says it measured.
fn expression(module: &str) -> String {
    format!(
        "T0 = erlang:monotonic_time(microsecond), R = {module}:main(), T1 = erlang:monotonic_time(microsecond), io:format(\"~b~n\", [case R of {{measured, T}} -> T; _ -> T1 - T0 end]), halt()."
    )
}

fn milliseconds(mut command: Command, module: &str, beams: &Path) -> Result<f64, String> {
    command.args(["-noshell", "-pa"]).arg(beams).arg("-eval").arg(expression(module)).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    last.parse::<f64>().map(|us| us / 1000.0).map_err(|_| format!("{module}: {} {text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn wall_milliseconds(mut command: Command) -> Result<f64, String> {
    let started = Instant::now();
    let status = command.args(["-noshell", "-eval", "halt()."]).stdin(Stdio::null()).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(started.elapsed().as_secs_f64() * 1000.0) } else { Err(status.to_string()) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut runs = 5;
    let mut json = false;
    let mut only = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => runs = arguments.next().and_then(|value| value.parse().ok()).expect("--runs needs a number"),
            "--json" => json = true,
            _ => only.push(argument),
        }
    }
    let swarmrt = std::env::var_os("SWARMRT").map_or_else(|| root.join("target/release/swarmrt"), PathBuf::from);
    let beams = std::env::temp_dir().join(format!("swarmrt-bench-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let mut rows = Vec::new();
    let mut programs: Vec<PathBuf> = std::fs::read_dir(root.join("bench")).expect("bench/ exists").flatten().map(|entry| entry.path()).collect();
    programs.sort();
    let ours = || {
        let mut command = Command::new(&swarmrt);
        command.arg("erl");
        command
    };
    for program in programs.iter().filter(|program| program.extension().is_some_and(|extension| extension == "erl")) {
        let name = program.file_stem().expect("has a name").to_string_lossy().into_owned();
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let text = std::fs::read_to_string(program).expect("readable");
        let kind = text.trim_start_matches('%').trim().split(':').next().unwrap_or_default().to_owned();
        let compiled = Command::new("erlc").arg("-o").arg(&beams).arg(program).status().expect("erlc runs");
        assert!(compiled.success(), "{name} does not compile");
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..runs {
            match (milliseconds(ours(), &name, &beams), milliseconds(Command::new("erl"), &name, &beams)) {
                (Ok(a), Ok(b)) => {
                    times.0.push(a);
                    times.1.push(b);
                }
                (Err(error), _) | (_, Err(error)) => {
                    eprintln!("{error}");
                    break;
                }
            }
        }
        if !times.0.is_empty() {
            rows.push(Row { name, kind, ours_ms: median(times.0), theirs_ms: median(times.1) });
        }
    }
    if only.is_empty() || only.iter().any(|name| name == "startup") {
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..runs.max(5) {
            if let (Ok(a), Ok(b)) = (wall_milliseconds(ours()), wall_milliseconds(Command::new("erl"))) {
                times.0.push(a);
                times.1.push(b);
            }
        }
        if !times.0.is_empty() {
            rows.push(Row { name: "startup".to_owned(), kind: "start to halt".to_owned(), ours_ms: median(times.0), theirs_ms: median(times.1) });
        }
    }
    let _ = std::fs::remove_dir_all(&beams);
    if json {
        let items: Vec<String> = rows
            .iter()
            .map(|row| format!("{{\"name\":\"{}\",\"kind\":\"{}\",\"swarmrt_ms\":{:.2},\"erl_ms\":{:.2}}}", row.name, row.kind, row.ours_ms, row.theirs_ms))
            .collect();
        println!("[{}]", items.join(",\n "));
        return;
    }
    println!("{:<16} {:>12} {:>12} {:>14}", "program", "swarmrt ms", "erl ms", "swarmrt / erl");
    for row in &rows {
        println!("{:<16} {:>12.1} {:>12.1} {:>14.2}", row.name, row.ours_ms, row.theirs_ms, row.ours_ms / row.theirs_ms);
    }
    let sequential: Vec<f64> = rows.iter().filter(|row| row.kind == "sequential").map(|row| (row.ours_ms / row.theirs_ms).ln()).collect();
    if !sequential.is_empty() {
        let mean = (sequential.iter().sum::<f64>() / sequential.len() as f64).exp();
        println!("geometric mean of the sequential programs: {mean:.2}");
    }
}
