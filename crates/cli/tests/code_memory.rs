//! Machine code is limited: what has not run for long is evicted, and programs do not notice:
//! `tests/code_memory/`.

mod common;

use std::process::Command;
use std::time::Duration;

#[test]
fn more_is_compiled_than_there_is_room_for() {
    let beams = std::env::temp_dir().join(format!("swarmrt-code-memory-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let compiled = common::run(
        Command::new("erlc")
            .arg("-o")
            .arg(&beams)
            .arg(common::root().join("tests/code_memory/pressure.erl")),
    );
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let run = |command: &mut Command| {
        let output = common::run_within(
            command
                .args(["-noshell", "-pa"])
                .arg(&beams)
                .args(["-eval", "pressure:main(), halt()."]),
            Duration::from_mins(2),
        );
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (expected, _) = run(&mut Command::new("erl"));
    for limit in ["1", "20K"] {
        let mut command = Command::new(common::swarmrt());
        command
            .args(["--engine=tiered:1", "--jit-stats"])
            .arg(format!("--jit-code-max={limit}"))
            .arg("erl");
        let (printed, told) = run(&mut command);
        assert_eq!(printed, expected, "with {limit}");
        let number = |before: &str| {
            let at = told.find(before).unwrap_or_else(|| panic!("{told}"));
            told[..at]
                .rsplit(' ')
                .next()
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("{told}"))
        };
        // How many depends on how busy the computer is.
        assert!(number(" of them evicted") > 0, "with {limit}: {told}");
        assert!(number(" bytes mapped") <= 1 << 20, "with {limit}: {told}");
    }
    let _ = std::fs::remove_dir_all(&beams);
}
