//! Native libraries as Debian ships them (`tests/nif/debian/`), and those that are compiled for the test (`tests/nif/`): the programs
//! that use them print the same on the real `erl` and on SwarmRT.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Erlang programs of a folder.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut programs: Vec<PathBuf> =
        entries.map(|entry| entry.expect("readable").path()).filter(|path| path.extension().is_some_and(|extension| extension == "erl")).collect();
    programs.sort();
    programs
}

fn output(command: &mut Command) -> String {
    let output = common::run(command);
    format!("{}{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr), output.status)
}

/// Compiles a program into `folder`, runs it there with both, and compares.
fn same_on_both(program: &Path, folder: &Path, failures: &mut Vec<String>) {
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(folder).arg(program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let module = program.file_stem().expect("has a name").to_string_lossy().into_owned();
    let arguments = ["-noshell".to_owned(), "-pa".to_owned(), folder.display().to_string(), "-eval".to_owned(), format!("{module}:main(), halt().")];
    let expected = output(common::oracle("erl").args(&arguments).current_dir(folder));
    let actual = output(common::swarmrt_command().arg("erl").args(&arguments).current_dir(folder));
    if actual != expected {
        failures.push(format!("{module}:\n--- erl\n{expected}\n--- swarmrt\n{actual}"));
    }
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("swarmrt-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

#[test]
fn libraries_of_debian_do_what_they_do_on_erl() {
    // Debian has these for its own release.
    if common::release().is_some() {
        return;
    }
    let folder = temporary("nif-debian");
    let mut failures = Vec::new();
    for program in programs(&common::root().join("tests/nif/debian")) {
        same_on_both(&program, &folder, &mut failures);
    }
    let _ = std::fs::remove_dir_all(&folder);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
