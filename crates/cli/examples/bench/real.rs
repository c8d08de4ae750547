//! `bench --real`: each program of `bench/real/` under `erl`, and under SwarmRT with an empty code
//! cache (cold) and with the one that runs before have filled (warm), in turn.
//!
//! `--real [--otp N] [--runs N] [--long] [PROGRAM…]`
//!
//! A process a run, from start to end: wall time, user CPU and peak memory. Prints a table in
//! Markdown.

use crate::child::{self, Ended, RUNS_BEFORE};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `real:prepare/2` ends with when something is missing here.
const MISSING: i32 = 2;
/// OTP, SwarmRT cold, SwarmRT warm.
const MACHINES: [Machine; 3] = [Machine::Otp, Machine::Cold, Machine::Warm];

#[derive(Clone, Copy, PartialEq)]
enum Machine {
    Otp,
    Cold,
    Warm,
}

#[derive(Clone, Copy)]
struct Figures {
    user_s: f64,
    wall_s: f64,
    peak_mb: f64,
}

impl Figures {
    fn medians(runs: &[Ended]) -> Figures {
        let of = |figure: fn(&Ended) -> f64| child::median(runs.iter().map(figure).collect());
        Figures {
            user_s: of(|run| run.user_s),
            wall_s: of(|run| run.wall_s),
            peak_mb: of(|run| run.peak_mb),
        }
    }
}

struct Row {
    name: String,
    /// In the order of [`MACHINES`].
    machines: [Figures; 3],
}

struct Real {
    swarmrt: PathBuf,
    root: PathBuf,
    folder: PathBuf,
    otp: Option<String>,
    runs: usize,
    long: bool,
}

impl Real {
    fn cache(&self, program: &str, machine: Machine) -> PathBuf {
        let kind = if machine == Machine::Warm { "warm" } else { "cold" };
        self.folder.join("cache").join(program).join(kind)
    }

    /// `real:FUNCTION(PROGRAM, FOLDER)` on a machine.
    fn command(&self, machine: Machine, function: &str, program: &str) -> Command {
        let mut command = if machine == Machine::Otp {
            child::of_otp(&self.root, self.otp.as_deref(), "erl")
        } else {
            let mut command = Command::new(&self.swarmrt);
            command.arg("erl").env("SWARMRT_CODE_CACHE", self.cache(program, machine));
            child::with_libraries(&mut command, &self.root, self.otp.as_deref());
            command
        };
        let data = self.folder.join("data").join(program);
        let call = format!("real:{function}({program}, {:?}).", data.to_string_lossy());
        command.args(["-noshell", "-pa"]).arg(self.folder.join("beams")).args(["-eval", &call]);
        command
    }

    fn measured(&self, machine: Machine, program: &str) -> Result<Ended, String> {
        if machine == Machine::Cold {
            let _ = std::fs::remove_dir_all(self.cache(program, machine));
        }
        let ended = child::run(&mut self.command(machine, "main", program))?;
        if ended.status.success() {
            Ok(ended)
        } else {
            Err(format!("{program}: {}: {}", ended.status, ended.out))
        }
    }

    /// Nothing when the program cannot run here.
    fn row(&self, program: &str) -> Result<Option<Row>, String> {
        let data = self.folder.join("data").join(program);
        std::fs::create_dir_all(data).map_err(|error| error.to_string())?;
        let prepared = child::run(&mut self.command(Machine::Otp, "prepare", program))?;
        if prepared.status.code() == Some(MISSING) {
            eprintln!("{program} is left out: {}", prepared.out.trim());
            return Ok(None);
        }
        if !prepared.status.success() {
            return Err(format!("{program}: {}: {}", prepared.status, prepared.out));
        }
        for _ in 0..RUNS_BEFORE {
            self.measured(Machine::Warm, program)?;
        }
        let mut ended: [Vec<Ended>; 3] = Default::default();
        for _ in 0..self.runs {
            for (machine, ended) in MACHINES.iter().zip(&mut ended) {
                ended.push(self.measured(*machine, program)?);
            }
        }
        let machines = ended.map(|runs| Figures::medians(&runs));
        Ok(Some(Row { name: program.to_owned(), machines }))
    }

    /// The programs by name, each with whether it is one that takes minutes.
    fn programs(&self) -> Vec<(String, bool)> {
        let folder = self.root.join("bench/real");
        let entries = std::fs::read_dir(folder).expect("bench/real exists");
        let mut programs: Vec<(String, bool)> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "erl"))
            .map(|path| {
                let text = std::fs::read_to_string(&path).expect("readable");
                let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
                (name, text.starts_with("%% long:"))
            })
            .filter(|(name, _)| name != "real")
            .collect();
        programs.sort();
        programs
    }

    fn compile(&self) {
        let beams = self.folder.join("beams");
        std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
        let mut compiler = child::of_otp(&self.root, self.otp.as_deref(), "erlc");
        compiler.arg("-o").arg(&beams);
        for name in self.programs().iter().map(|(name, _)| name.as_str()).chain(["real"]) {
            compiler.arg(self.root.join("bench/real").join(name).with_extension("erl"));
        }
        let compiled = compiler.status().expect("erlc runs");
        assert!(compiled.success(), "the programs of bench/real do not compile");
    }
}

const HEAD: &str = "\
| program | user s: erl | cold | warm | erl ÷ cold | erl ÷ warm | wall s: erl | cold | warm \
| erl ÷ cold | erl ÷ warm | MB: erl | cold | warm | warm ÷ erl |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn print_row(row: &Row) {
    let [erl, cold, warm] = row.machines;
    print!("| {} |", row.name);
    print!(" {:.2} | {:.2} | {:.2} |", erl.user_s, cold.user_s, warm.user_s);
    print!(" {:.2} | {:.2} |", erl.user_s / cold.user_s, erl.user_s / warm.user_s);
    print!(" {:.2} | {:.2} | {:.2} |", erl.wall_s, cold.wall_s, warm.wall_s);
    print!(" {:.2} | {:.2} |", erl.wall_s / cold.wall_s, erl.wall_s / warm.wall_s);
    print!(" {:.0} | {:.0} | {:.0} |", erl.peak_mb, cold.peak_mb, warm.peak_mb);
    println!(" {:.2} |", warm.peak_mb / erl.peak_mb);
}

fn print_means(rows: &[Row]) {
    let mean = |figure: fn(&[Figures; 3]) -> f64| {
        child::geometric_mean(rows.iter().map(|row| figure(&row.machines)))
    };
    println!(
        "\nGeometric means: user CPU, erl ÷ cold {:.2}, erl ÷ warm {:.2}; \
         wall time, erl ÷ cold {:.2}, erl ÷ warm {:.2}; peak memory, warm ÷ erl {:.2}.",
        mean(|[erl, cold, _]| erl.user_s / cold.user_s),
        mean(|[erl, _, warm]| erl.user_s / warm.user_s),
        mean(|[erl, cold, _]| erl.wall_s / cold.wall_s),
        mean(|[erl, _, warm]| erl.wall_s / warm.wall_s),
        mean(|[erl, _, warm]| warm.peak_mb / erl.peak_mb),
    );
}

/// Measures and prints; whether all programs ran.
pub fn measure(swarmrt: &Path, root: &Path, arguments: &mut dyn Iterator<Item = String>) -> bool {
    let mut real = Real {
        swarmrt: swarmrt.to_owned(),
        root: root.to_owned(),
        folder: std::env::temp_dir().join(format!("swarmrt-bench-{}", std::process::id())),
        otp: None,
        runs: 5,
        long: false,
    };
    let mut only = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next();
        match argument.as_str() {
            "--otp" => real.otp = Some(value().expect("--otp needs a release")),
            "--runs" => {
                let runs = value().and_then(|runs| runs.parse().ok()).filter(|&runs| runs > 0);
                real.runs = runs.expect("--runs needs a number");
            }
            "--long" => real.long = true,
            _ => only.push(argument),
        }
    }
    real.compile();
    let mut rows = Vec::new();
    let mut all_ran = true;
    println!("{HEAD}");
    for (name, long) in real.programs() {
        let wanted = if only.is_empty() { real.long || !long } else { only.contains(&name) };
        if !wanted {
            continue;
        }
        match real.row(&name) {
            Ok(Some(row)) => {
                print_row(&row);
                rows.push(row);
            }
            Ok(None) => {}
            Err(error) => {
                eprintln!("{error}");
                all_ran = false;
            }
        }
    }
    if !rows.is_empty() {
        print_means(&rows);
    }
    let _ = std::fs::remove_dir_all(&real.folder);
    all_ran
}
