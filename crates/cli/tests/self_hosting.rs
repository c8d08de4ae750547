//! OTP's compiler running on SwarmRT gives the same bytes as on `erl`, for OTP's own modules.
//!
//! The forty-eight largest modules of stdlib, kernel and compiler; all of them when
//! `SWARMRT_TEST_FULL` is set.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

const MODULES: usize = 48;

fn sources() -> Vec<PathBuf> {
    let libraries = std::fs::read_dir(common::otp_root().join("lib"))
        .expect("OTP is installed: run script/setup");
    let mut files = Vec::new();
    for library in libraries.flatten() {
        let name = library.file_name().to_string_lossy().into_owned();
        if !["stdlib-", "kernel-", "compiler-"].iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(library.path().join("src")) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "erl") {
                let size = path.metadata().expect("readable").len();
                files.push((size, path));
            }
        }
    }
    files.sort();
    files.reverse();
    // The very largest are tables, which say little for the time that they take.
    let full = std::env::var_os("SWARMRT_TEST_FULL").is_some();
    let chosen = files.into_iter().map(|(_, path)| path);
    if full { chosen.collect() } else { chosen.skip(12).take(MODULES).collect() }
}

#[test]
fn otp_compiles_to_the_same_bytes() {
    let files = sources();
    assert!(files.len() >= 40, "the sources of OTP are missing: run script/setup");
    let beams = std::env::temp_dir().join(format!("swarmrt-self-{}", std::process::id()));
    std::fs::create_dir_all(&beams).expect("a temporary folder can be made");
    let program = common::root().join("tests/self_hosting/self_hosting.erl");
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(&beams).arg(&program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    // The oracle runs inside the release's root.
    let root = common::release().map(|release| common::release_root(&release));
    let inside = |file: &PathBuf| {
        let within = root.as_ref().and_then(|root| file.strip_prefix(root).ok());
        within.map_or_else(|| file.clone(), |within| Path::new("/").join(within))
    };
    let files_inside: Vec<PathBuf> = files.iter().map(inside).collect();
    let run = |mut command: Command, files: &[PathBuf]| {
        command
            .args(["-noshell", "-pa"])
            .arg(&beams)
            .args(["-eval", "self_hosting:main(init:get_plain_arguments()), halt().", "-extra"])
            .args(files);
        let output = common::run_within(&mut command, std::time::Duration::from_mins(30));
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let mut ours = common::swarmrt_command();
    ours.arg("erl");
    // What `erl` says of the same modules is kept when SwarmRT has said the same.
    let kept = common::kept_oracle(
        &format!("self_hosting-{}", files.len()),
        &[&program, &common::root().join("crates/cli/tests/self_hosting.rs")],
    );
    let actual = run(ours, &files);
    let expected = std::fs::read_to_string(&kept)
        .ok()
        .filter(|kept| *kept == actual)
        .unwrap_or_else(|| run(common::oracle("erl"), &files_inside));
    let _ = std::fs::remove_dir_all(&beams);
    if expected == actual
        && let Some(folder) = kept.parent()
        && std::fs::create_dir_all(folder).is_ok()
    {
        let _ = std::fs::write(&kept, &expected);
    }
    assert_eq!(expected.lines().count(), files.len(), "{expected}");
    let different: Vec<_> = expected.lines().zip(actual.lines()).filter(|(a, b)| a != b).collect();
    assert!(
        different.is_empty() && expected.lines().count() == actual.lines().count(),
        "{different:#?}\n{actual}"
    );
}
