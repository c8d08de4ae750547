//! Code that no compiler writes is refused, or runs without harm in every engine:
//! `tests/unsafe_code/`.

mod common;

use std::process::Command;
use std::time::Duration;

#[test]
fn code_that_no_compiler_writes_does_no_harm() {
    let beams = std::env::temp_dir().join(format!("swarmrt-unsafe-code-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let source = common::root().join("tests/unsafe_code/unsafe_code.erl");
    let compiled = common::run(Command::new("erlc").arg("-o").arg(&beams).arg(source));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    for engine in ["interp", "baseline", "tiered:1", "tiered", "jit"] {
        let mut command = Command::new(common::swarmrt());
        command.env("SWARMRT_ENGINE", engine).args(["erl", "-noinput", "-pa"]).arg(&beams);
        command.args(["-eval", "unsafe_code:main(), halt()."]);
        let output = common::run_within(&mut command, Duration::from_mins(2));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{engine}: {printed}");
        let mut lines = printed.lines();
        assert!(
            lines.next().is_some_and(|line| line.ends_with(" cases")) && lines.next().is_none(),
            "{engine}: {printed}"
        );
    }
    let _ = std::fs::remove_dir_all(&beams);
}
