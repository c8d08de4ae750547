//! Many versions of a module loaded while its functions, or those that call them, run hot on all
//! schedulers: `tests/reload/`.

mod common;

use std::process::Command;
use std::time::Duration;

/// What the process may grow by over nine hundred versions, each of a few functions that are
/// compiled anew.
const GROWTH_KB_MAX: i64 = 32 * 1024;

/// That `reload_hot` loads.
const VERSIONS: u32 = 1000;

/// What a program of `tests/reload/` prints that loads versions of a module.
fn output_under(engine: &str, program: &str, module: &str) -> String {
    let beams = std::env::temp_dir().join(format!(
        "swarmrt-{program}-{}-{}",
        engine.replace(':', "-"),
        std::process::id()
    ));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let sources = [module, program, "reloading"]
        .map(|name| common::root().join(format!("tests/reload/{name}.erl")));
    let compiled = common::run(Command::new("erlc").arg("-o").arg(&beams).args(sources));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let file = beams.join(format!("{module}.beam"));
    let mut command = Command::new(common::swarmrt());
    command
        .env("SWARMRT_ENGINE", engine)
        .args(["--jit-stats", "erl", "-noshell", "-pa"])
        .arg(&beams);
    command
        .arg("-eval")
        .arg(format!("{program}:main([{:?}]), halt().", file.display().to_string()));
    let output = common::run_within(&mut command, Duration::from_mins(4));
    let _ = std::fs::remove_dir_all(&beams);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

fn reload_under(engine: &str) {
    let text = output_under(engine, "reload_hot", "hot");
    let growth: i64 =
        text.lines().next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(growth < GROWTH_KB_MAX, "grew by {growth} KB");
    // How many become hot enough for the optimising compiler depends on the machine's speed; the
    // baseline compiler makes the others. Where a version lies at the addresses of an earlier one,
    // what was seen of that does not count.
    let words: Vec<&str> = text.split(' ').collect();
    let before = |what: [&str; 2]| {
        words
            .windows(3)
            .find(|words| words[1..] == what)
            .and_then(|words| words[0].parse::<u32>().ok())
            .unwrap_or_else(|| panic!("{text}"))
    };
    let (optimised, baseline) = (before(["functions", "compiled,"]), before(["by", "the"]));
    assert!(optimised > 0 && optimised + baseline > VERSIONS / 3, "{text}");
}

#[test]
fn hot_functions_are_reloaded_a_thousand_times() {
    reload_under("tiered");
}

#[test]
fn functions_compiled_at_once_are_reloaded_a_thousand_times() {
    reload_under("tiered:1");
}

#[test]
fn callers_that_have_functions_of_another_module_inside_come_to_its_new_versions() {
    for engine in ["baseline", "tiered", "tiered:1"] {
        let text = output_under(engine, "reload_helper", "helper");
        assert!(text.starts_with("300\n"), "{engine}: {text}");
    }
}
