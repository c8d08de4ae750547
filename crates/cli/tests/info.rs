//! `swarmrt info`: what there is, and how a start goes.

mod common;

use std::process::Command;

fn info(arguments: &[&str]) -> String {
    let output = common::run(Command::new(common::swarmrt()).args(arguments));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn start(engine: &str) -> String {
    let text = info(&[&format!("--engine={engine}"), "info"]);
    text.lines()
        .find(|line| line.starts_with("a start:"))
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[test]
fn a_start_is_tried_with_the_engine_that_is_asked_for() {
    assert!(start("interp").ends_with(" ms; no native engine"));
    let told = start("tiered:1");
    assert!(told.contains(" functions compiled, ") && !told.contains("; 0 functions"), "{told}");
    assert!(start("none").contains("fails: unknown engine none"));
}

/// Programs read the same as people do.
#[test]
fn it_is_printed_as_json() {
    let told: serde_json::Value = serde_json::from_str(&info(&["info", "--json"])).expect("JSON");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["otp"]["root"], "/usr/lib/erlang");
    assert!(told["start"]["milliseconds"].as_u64().is_some_and(|took| took > 0), "{told}");
    let (all, missing) = (&told["builtins"]["of_otp"], &told["builtins"]["missing"]);
    let all = all.as_u64().expect("a number");
    let missing = missing.as_array().expect("a list").len() as u64;
    assert!(info(&["info"]).contains(&format!("{} of OTP's {all} exist", all - missing)), "{told}");
    let failing: serde_json::Value =
        serde_json::from_str(&info(&["info", "--json", "--engine=none"])).expect("JSON");
    assert_eq!(failing["start"]["milliseconds"], serde_json::Value::Null);
    assert!(
        failing["start"]["error"].as_str().is_some_and(|why| why.contains("unknown engine none")),
        "{failing}"
    );
}
