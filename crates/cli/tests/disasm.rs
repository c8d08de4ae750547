//! `swarmrt disasm`: the specialised instructions of a file, and the machine code that they become.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const SOURCE: &str = "-module(sample).
-export([loop/2, twice/1]).
loop(0, A) -> A;
loop(N, A) -> loop(N - 1, A + N).
twice(F) -> F(), F(), ok.
";

/// Tests run beside one another, each in a folder of its own.
static NUMBER: AtomicU32 = AtomicU32::new(0);

fn disassembled(arguments: &[&str]) -> String {
    let folder = std::env::temp_dir().join(format!(
        "swarmrt-disasm-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    std::fs::write(folder.join("sample.erl"), SOURCE).expect("a file can be written there");
    let compiled =
        common::run(Command::new("erlc").arg("-o").arg(&folder).arg(folder.join("sample.erl")));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let output = common::run(
        Command::new(common::swarmrt()).arg("disasm").args(arguments).current_dir(&folder),
    );
    let _ = std::fs::remove_dir_all(&folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn specialised_instructions_are_shown() {
    let text = disassembled(&["sample.beam"]);
    assert!(
        text.contains("loop/2:\n") && text.contains("twice/1:\n") && text.contains("IsEqImmX"),
        "{text}"
    );
}

#[test]
fn machine_code_is_shown_below_the_instruction_that_it_does() {
    let text = disassembled(&["--native", "sample.beam", "loop/2"]);
    assert!(text.starts_with("loop/2:\n  entry ") && !text.contains("twice/1"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for instruction in ["IsEqImmX", "Add ", "CallOnly"] {
        let at = lines
            .iter()
            .position(|line| line.contains(instruction))
            .unwrap_or_else(|| panic!("{instruction} is missing:\n{text}"));
        assert!(
            lines[at + 1].starts_with("         "),
            "{instruction} has no machine code:\n{text}"
        );
    }
    assert!(!text.contains("sequence_point") && !text.contains("debug"), "{text}");
}

#[test]
fn every_piece_of_a_function_is_shown() {
    let text = disassembled(&["--native", "sample.beam", "twice/1"]);
    assert_eq!(
        (text.matches("  entry ").count(), text.matches("  return point ").count()),
        (1, 2),
        "{text}"
    );
}
