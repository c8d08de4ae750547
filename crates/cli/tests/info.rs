//! `swarmrt info`: what there is, and how a start goes.

mod common;

use std::process::Command;

fn start(engine: &str) -> String {
    let output = common::run(Command::new(common::swarmrt()).arg(format!("--engine={engine}")).arg("info"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().find(|line| line.starts_with("a start:")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_start_is_tried_with_the_engine_that_is_asked_for() {
    assert!(start("interp").ends_with(" ms; no native engine"));
    let told = start("tiered:1");
    assert!(told.contains(" functions compiled, ") && !told.contains("; 0 functions"), "{told}");
    assert!(start("none").contains("fails: unknown engine none"));
}
