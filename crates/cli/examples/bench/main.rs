//! The benchmark: every program of `bench/` under SwarmRT and under `erl`, in turn, several times,
//! in one go; prints the medians, and the ratios of time and of peak memory.
//!
//! `bench [--otp N] [--runs N] [--engine interp|tiered|again]… [--json] [PROGRAM…]`
//!
//! With several engines each has its columns. `tiered` is what users get when they run a program
//! for the first time, `again` what they get later: the same engine with machine code that three
//! runs before, which are not measured, have left in the code cache. All others go without the
//! cache. Without any engine it is these two.
//!
//! `bench --real …` measures the programs of `bench/real/` instead: see [`real`].
//!
//! `--otp 29` measures on that release, as `script/otp 29` installs it: its `erl` in its root, and
//! SwarmRT with its libraries.
//!
//! A program that needs a module with a native library says so: `%% needs: crypto`. Where one of
//! the machines cannot load it, the program is left out, and a line says why.

mod child;
mod real;

use child::{RUNS_BEFORE, geometric_mean, median, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one machine needed for one program.
#[derive(Clone, Copy)]
struct Figures {
    ms: f64,
    peak_mb: f64,
}

struct Row {
    name: String,
    kind: String,
    /// One for each engine.
    ours: Vec<Figures>,
    theirs: Figures,
}

/// Something to measure on each machine: given the command that starts it.
type Measure<'a> = dyn Fn(Command) -> Result<Figures, String> + 'a;

/// Evaluates `main/0` and prints the microseconds that it took, or those that it says it measured.
fn expression(module: &str) -> String {
    format!(
        "T0 = erlang:monotonic_time(microsecond), R = {module}:main(), T1 = erlang:monotonic_time(microsecond), io:format(\"~b~n\", [case R of {{measured, T}} -> T; _ -> T1 - T0 end]), halt()."
    )
}

fn program_figures(mut command: Command, module: &str, beams: &Path) -> Result<Figures, String> {
    let ended =
        run(command.args(["-noshell", "-pa"]).arg(beams).arg("-eval").arg(expression(module)))?;
    let last = ended.out.lines().last().unwrap_or_default();
    let us: f64 = last
        .parse()
        .map_err(|_| format!("{module}: {command:?}: {} {}", ended.status, ended.out))?;
    Ok(Figures { ms: us / 1000.0, peak_mb: ended.peak_mb })
}

fn startup_figures(mut command: Command) -> Result<Figures, String> {
    let ended = run(command.args(["-noshell", "-eval", "halt()."]))?;
    if ended.status.success() {
        Ok(Figures { ms: ended.wall_s * 1000.0, peak_mb: ended.peak_mb })
    } else {
        Err(format!("{command:?}: {} {}", ended.status, ended.out))
    }
}

fn medians(runs: &[Figures]) -> Figures {
    Figures {
        ms: median(runs.iter().map(|run| run.ms).collect()),
        peak_mb: median(runs.iter().map(|run| run.peak_mb).collect()),
    }
}

/// The engine that has a code cache.
const AGAIN: &str = "again";
/// How often the entry of a release's root is measured.
const ENTRY_RUNS: usize = 7;

struct Bench {
    swarmrt: PathBuf,
    /// For what programs leave behind.
    folder: PathBuf,
    engines: Vec<String>,
    runs: usize,
    /// The repository.
    root: PathBuf,
    /// The release that `script/otp` installs, or none for the machine's own.
    otp: Option<String>,
}

impl Bench {
    /// A program of OTP: the machine's own, or that of the release's root.
    fn theirs(&self, program: &str) -> Command {
        child::of_otp(&self.root, self.otp.as_deref(), program)
    }

    /// What it takes to enter the release's root, in milliseconds; nothing without one.
    fn entry_ms(&self) -> Result<f64, String> {
        if self.otp.is_none() {
            return Ok(0.0);
        }
        let mut times = Vec::new();
        for _ in 0..ENTRY_RUNS {
            times.push(run(&mut self.theirs("true"))?.wall_s * 1000.0);
        }
        Ok(median(times))
    }

    fn ours(&self, engine: &str, program: &str) -> Command {
        let mut command = Command::new(&self.swarmrt);
        if engine == AGAIN {
            command
                .env("SWARMRT_ENGINE", "tiered")
                .env("SWARMRT_CODE_CACHE", self.folder.join("cache").join(program));
        } else {
            command.env("SWARMRT_ENGINE", engine).env("SWARMRT_CODE_CACHE", "off");
        }
        child::with_libraries(&mut command, &self.root, self.otp.as_deref());
        command.arg("erl");
        command
    }

    /// Every machine in turn, `runs` times. The machines alternate, so that a busy moment meets
    /// them all.
    fn row(
        &self,
        name: &str,
        kind: &str,
        runs: usize,
        measure: &Measure<'_>,
    ) -> Result<Row, String> {
        let mut ours = vec![Vec::new(); self.engines.len()];
        let mut theirs = Vec::new();
        if self.engines.iter().any(|engine| engine == AGAIN) {
            for _ in 0..RUNS_BEFORE {
                measure(self.ours(AGAIN, name))?;
            }
        }
        for _ in 0..runs {
            for (engine, figures) in self.engines.iter().zip(&mut ours) {
                figures.push(measure(self.ours(engine, name))?);
            }
            theirs.push(measure(self.theirs("erl"))?);
        }
        Ok(Row {
            name: name.to_owned(),
            kind: kind.to_owned(),
            ours: ours.iter().map(|runs| medians(runs)).collect(),
            theirs: medians(&theirs),
        })
    }

    fn print_json(&self, rows: &[Row]) {
        let items: Vec<String> = rows
            .iter()
            .map(|row| {
                let engines: Vec<String> = self
                    .engines
                    .iter()
                    .zip(&row.ours)
                    .map(|(engine, figures)| format!("\"{engine}\":{{\"ms\":{:.2},\"peak_mb\":{:.1}}}", figures.ms, figures.peak_mb))
                    .collect();
                format!(
                    "{{\"name\":\"{}\",\"kind\":\"{}\",\"engines\":{{{}}},\"erl_ms\":{:.2},\"erl_peak_mb\":{:.1}}}",
                    row.name,
                    row.kind,
                    engines.join(","),
                    row.theirs.ms,
                    row.theirs.peak_mb
                )
            })
            .collect();
        println!("[{}]", items.join(",\n "));
    }

    fn print_table(&self, rows: &[Row]) {
        print!("{:<16} {:<12} {:>9}", "program", "kind", "erl ms");
        for engine in &self.engines {
            print!(" {:>13} {:>6}", format!("{engine} ms"), "/ erl");
        }
        print!(" {:>9}", "erl MB");
        for engine in &self.engines {
            print!(" {:>13} {:>6}", format!("{engine} MB"), "/ erl");
        }
        println!();
        for row in rows {
            print!("{:<16} {:<12} {:>9.1}", row.name, row.kind, row.theirs.ms);
            for figures in &row.ours {
                print!(" {:>13.1} {:>6.2}", figures.ms, figures.ms / row.theirs.ms);
            }
            print!(" {:>9.1}", row.theirs.peak_mb);
            for figures in &row.ours {
                print!(" {:>13.1} {:>6.2}", figures.peak_mb, figures.peak_mb / row.theirs.peak_mb);
            }
            println!();
        }
        let sequential: Vec<&Row> = rows.iter().filter(|row| row.kind == "sequential").collect();
        for (at, engine) in self.engines.iter().enumerate() {
            if !sequential.is_empty() {
                let time =
                    geometric_mean(sequential.iter().map(|row| row.ours[at].ms / row.theirs.ms));
                println!("{engine}: geometric mean of the sequential programs: {time:.2}");
            }
            if !rows.is_empty() {
                let time = geometric_mean(rows.iter().map(|row| row.ours[at].ms / row.theirs.ms));
                let memory = geometric_mean(
                    rows.iter().map(|row| row.ours[at].peak_mb / row.theirs.peak_mb),
                );
                println!("{engine}: geometric mean of all: {time:.2}, of peak memory: {memory:.2}");
            }
        }
    }
}

/// Compiles the native library of a program, for every OTP.
fn compile_library(source: &Path, library: &Path) {
    let mut compiler = std::process::Command::new("cc");
    compiler
        .args(["-O2", "-shared", "-fPIC", "-I/usr/lib/erlang/usr/include", "-o"])
        .arg(library)
        .arg(source);
    assert!(compiler.status().expect("cc runs").success(), "{} does not compile", source.display());
}

/// The Erlang programs of a folder, by their names.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("bench/ exists").flatten();
    let mut programs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|program| program.extension().is_some_and(|extension| extension == "erl"))
        .collect();
    programs.sort();
    programs
}

impl Bench {
    /// Takes in the options: whether the output is to be JSON, and what is to be measured.
    fn read(&mut self, mut arguments: impl Iterator<Item = String>) -> (bool, Vec<String>) {
        let (mut json, mut only) = (false, Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--runs" => {
                    self.runs = arguments
                        .next()
                        .and_then(|value| value.parse().ok())
                        .filter(|&runs| runs > 0)
                        .expect("--runs needs a number");
                }
                "--otp" => self.otp = Some(arguments.next().expect("--otp needs a release")),
                "--engine" => self.engines.push(arguments.next().expect("--engine needs a name")),
                "--json" => json = true,
                _ => only.push(argument),
            }
        }
        if self.engines.is_empty() {
            self.engines.extend(["tiered", AGAIN].map(str::to_owned));
        }
        (json, only)
    }

    /// Why one of the machines cannot load a module; `None` when all can.
    fn cannot_load(&self, module: &str) -> Option<String> {
        let ours = ("SwarmRT", self.ours(&self.engines[0], "needs"));
        let load = format!(
            "case code:ensure_loaded({module}) of {{error, Why}} -> io:format(\"~n~0p~n\", [Why]), halt(1); _ -> halt(0) end."
        );
        for (machine, mut command) in [ours, ("erl", self.theirs("erl"))] {
            let why = match run(command.args(["-noshell", "-eval", &load])) {
                Ok(ended) if ended.status.success() => continue,
                Ok(ended) => load_failure(&ended.out),
                Err(error) => error,
            };
            return Some(format!("{machine} cannot load {module}: {why}"));
        }
        None
    }

    /// Compiles a program, and its library if it has one.
    fn compile(&self, program: &Path, beams: &Path) {
        let compiled =
            self.theirs("erlc").arg("-o").arg(beams).arg(program).status().expect("erlc runs");
        assert!(compiled.success(), "{} does not compile", program.display());
        let library = program.with_extension("c");
        if library.exists() {
            let name = program.file_stem().expect("has a name");
            compile_library(&library, &beams.join(name).with_extension("so"));
        }
    }
}

/// What the first lines of a program say.
struct Head {
    /// What it measures.
    kind: String,
    /// A module with a native library.
    needs: Option<String>,
}

impl Head {
    fn read(program: &Path) -> Head {
        let text = std::fs::read_to_string(program).expect("readable");
        let mut comments = text.lines().map_while(|line| line.strip_prefix("%% "));
        let kind = comments.next().and_then(|line| line.split(':').next());
        Head {
            kind: kind.unwrap_or_default().to_owned(),
            needs: comments.find_map(|line| line.strip_prefix("needs: ")).map(str::to_owned),
        }
    }
}

/// Why a module could not be loaded, of what was printed: what the dynamic linker has said, or the
/// last line.
fn load_failure(printed: &str) -> String {
    const LINKER: &str = "Failed to load NIF library: ";
    let line = printed.lines().find_map(|line| Some(line.split_once(LINKER)?.1));
    let why = line.or(printed.lines().last()).unwrap_or_default();
    match why.split('"').next().unwrap_or_default() {
        "nofile" => "its release has no such module".to_owned(),
        why => why.trim_matches('\'').to_owned(),
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository exists");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let swarmrt =
        std::env::var_os("SWARMRT").map_or_else(|| target.join("release/swarmrt"), PathBuf::from);
    let folder = std::env::temp_dir().join(format!("swarmrt-bench-{}", std::process::id()));
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "--real").is_some() {
        std::process::exit(i32::from(!real::measure(&swarmrt, &root, &mut arguments)));
    }
    let mut bench = Bench { swarmrt, folder, engines: Vec::new(), runs: 5, root, otp: None };
    let (json, only) = bench.read(arguments);
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let beams = bench.folder.join("beams");
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let mut rows = Vec::new();
    let mut failed = false;
    let mut keep = |row: Result<Row, String>| match row {
        Ok(row) => rows.push(row),
        Err(error) => {
            eprintln!("{error}");
            failed = true;
        }
    };
    for program in programs(&bench.root.join("bench")) {
        let name = program.file_stem().expect("has a name").to_string_lossy().into_owned();
        if !wanted(&name) {
            continue;
        }
        let Head { kind, needs } = Head::read(&program);
        if let Some(why) = needs.and_then(|module| bench.cannot_load(&module)) {
            eprintln!("{name} is left out: {why}");
            continue;
        }
        bench.compile(&program, &beams);
        keep(
            bench.row(&name, &kind, bench.runs, &|command| program_figures(command, &name, &beams)),
        );
    }
    if wanted("startup") {
        let row = bench.entry_ms().and_then(|entry| {
            let mut row =
                bench.row("startup", "start to halt", bench.runs.max(5), &startup_figures)?;
            row.theirs.ms -= entry;
            Ok(row)
        });
        keep(row);
    }
    let _ = std::fs::remove_dir_all(&bench.folder);
    if json {
        bench.print_json(&rows);
    } else {
        bench.print_table(&rows);
    }
    std::process::exit(i32::from(failed));
}
