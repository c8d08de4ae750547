//! Instructions that OTP 25's compiler does not emit, in functions made at random, do in every
//! engine what they mean: `tests/later_instructions/`.

mod common;

use std::process::Command;
use std::time::Duration;

#[test]
fn later_instructions_do_in_every_engine_what_they_mean() {
    let beams =
        std::env::temp_dir().join(format!("swarmrt-later-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let source = common::root().join("tests/later_instructions/later_instructions.erl");
    let compiled = common::run(Command::new("erlc").arg("-o").arg(&beams).arg(source));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let mut told = Vec::new();
    // How many functions are compiled meanwhile depends on how busy the computer is, unless all are
    // when they are loaded.
    for (engine, compiled_min) in
        [("interp", 0), ("baseline", 0), ("tiered:1", 1), ("jit:made_", 380)]
    {
        let mut command = Command::new(common::swarmrt());
        command
            .env("SWARMRT_ENGINE", engine)
            .args(["--jit-stats", "erl", "-noshell", "-pa"])
            .arg(&beams);
        command.args(["-eval", "later_instructions:main(), halt()."]);
        let output = common::run_within(&mut command, Duration::from_mins(2));
        let (printed, stats) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{engine}: {printed}{stats}");
        let words: Vec<&str> = stats.split(' ').collect();
        let compiled = words
            .windows(3)
            .find(|words| words[1..] == ["functions", "compiled,"])
            .and_then(|words| words[0].parse::<u32>().ok());
        assert!(compiled.unwrap_or(0) >= compiled_min, "{engine}: {stats}");
        told.push(printed);
    }
    let _ = std::fs::remove_dir_all(&beams);
    // How much matched and how much did not is no engine's choice, and there is enough of both.
    assert!(told.iter().all(|printed| *printed == told[0]), "{told:?}");
    let counts: Vec<u32> = told[0].split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(counts[..], [(1000..), (1000..)]), "{told:?}");
}
