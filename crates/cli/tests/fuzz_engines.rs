//! A few hundred functions made at random by `tests/fuzz_engines/`, with the same result on `erl`
//! and in every engine. `script/fuzz-engines` goes on for as long as one likes.

mod common;

use std::process::Command;
use std::time::Duration;

#[test]
fn engines_agree_on_functions_made_at_random() {
    let beams = std::env::temp_dir().join(format!("swarmrt-fuzz-engines-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let sources = ["fuzz_source", "fuzz_run", "fuzz_engines"]
        .map(|name| common::root().join(format!("tests/fuzz_engines/{name}.erl")));
    let compiled = common::run(Command::new("erlc").arg("-o").arg(&beams).args(sources));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let mut command = Command::new("erl");
    command.args(["-noinput", "-pa"]).arg(&beams).args([
        "-eval",
        "fuzz_engines:main(init:get_plain_arguments())",
        "-extra",
        "--machine",
    ]);
    command.arg(common::swarmrt()).args([
        "--engines",
        "interp,baseline,tiered:1,jit:fuzz_",
        "--seed",
        "1",
        "--functions",
        "240",
    ]);
    // Making a finding smaller takes longer than finding it.
    let output = common::run_within(&mut command, Duration::from_mins(5));
    let _ = std::fs::remove_dir_all(&beams);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("come out the same"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
