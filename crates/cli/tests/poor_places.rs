//! Starts where something is missing: room for files, a home.

mod common;

use std::path::PathBuf;
use std::process::Command;

const CODE: &str = "io:format(\"~p~n\", [lists:sum(lists:seq(1, 100000))]), halt().";

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("swarmrt-poor-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

/// What Erlang code prints; nothing may be said on the side.
fn printed(command: &mut Command, code: &str) -> String {
    let output = common::run(command.args(["erl", "-noshell", "-eval", code]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// SwarmRT with a bound on the size of files, in blocks of 1,024 bytes.
fn with_file_limit(blocks: u32) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(common::swarmrt());
    command
}

/// With no room for any file, with room for the cache's small files alone, and with room for
/// machine code.
#[test]
fn a_limit_on_the_size_of_files_does_not_stop_a_start() {
    for blocks in [0, 64, 4096] {
        let cache = folder(&format!("limit-{blocks}"));
        for _ in 0..2 {
            let mut command = with_file_limit(blocks);
            assert_eq!(
                printed(command.env("SWARMRT_CODE_CACHE", &cache), CODE),
                "5000050000\n",
                "{blocks}"
            );
        }
        let _ = std::fs::remove_dir_all(&cache);
    }
}

/// As much as suffices for OTP. It was not enough now and then.
#[test]
fn a_limit_on_addresses_does_not_stop_a_start() {
    const KILOBYTES: u32 = 2_000_000;
    for _ in 0..10 {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("ulimit -v {KILOBYTES}; exec \"$0\" \"$@\"")])
            .arg(common::swarmrt());
        assert_eq!(printed(&mut command, CODE), "5000050000\n");
    }
}

/// Programs are told, and those that they start are not affected.
#[test]
fn a_file_beyond_the_limit_is_an_error_of_the_write() {
    let folder = folder("write");
    let file = folder.join("file");
    let code = format!(
        "Told = file:write_file(\"{}\", binary:copy(<<0>>, 80000)), Ignored = os:cmd(\"grep SigIgn /proc/self/status\"), \
         io:format(\"~p ~s\", [Told, Ignored]), halt().",
        file.display()
    );
    let said = printed(&mut with_file_limit(1), &code);
    let (told, ignored) = said.split_once(' ').expect("two words");
    assert_eq!(told, "{error,efbig}");
    let mask = u64::from_str_radix(ignored.trim().trim_start_matches("SigIgn:").trim(), 16)
        .expect("a number");
    assert_eq!(mask >> (libc::SIGXFSZ - 1) & 1, 0, "{ignored}");
    let _ = std::fs::remove_dir_all(&folder);
}

/// Nothing can be made below `/proc`, not even by root.
#[test]
fn a_home_that_is_missing_or_cannot_be_written_does_not_stop_a_start() {
    for home in [
        None,
        Some(""),
        Some("/no/such/home"),
        Some("/proc/self"),
        Some("relative"),
        Some("/dev/null"),
    ] {
        let mut command = common::swarmrt_command();
        command.env_remove("XDG_CACHE_HOME").env_remove("HOME");
        if let Some(home) = home {
            command.env("HOME", home);
        }
        assert_eq!(printed(&mut command, CODE), "5000050000\n", "{home:?}");
        let mut exec = common::swarmrt_command();
        exec.env_remove("XDG_CACHE_HOME").env("HOME", home.unwrap_or_default());
        assert_eq!(printed(exec.arg("exec"), CODE), "5000050000\n", "{home:?}");
    }
}

#[test]
fn an_engine_that_was_asked_for_has_to_be_there() {
    let output =
        common::run(with_file_limit(0).args(["--engine=tiered", "erl", "-noshell", "-eval", CODE]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("no machine code can be made"),
        "{said}"
    );
}
