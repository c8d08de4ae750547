//! `swarmrt new`, `swarmrt test` and `swarmrt doctor`.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A folder for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("swarmrt-projects-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn command(&self) -> Command {
        let mut command = common::swarmrt_command();
        command.current_dir(&self.0).env("HOME", &self.0);
        command
    }

    /// The exit code and all that is printed.
    fn says(&self, arguments: &[&str]) -> (i32, String) {
        said(common::run_within(self.command().args(arguments), Duration::from_mins(2)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(output: Output) -> (i32, String) {
    let code = output.status.code().expect("no signal has ended it");
    (
        code,
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    )
}

const PASSES: &str =
    "-module(pass_tests).\n-include_lib(\"eunit/include/eunit.hrl\").\none_test() -> ok.\n";
const FAILS: &str = "-module(fail_tests).\n-include_lib(\"eunit/include/eunit.hrl\").\n\
                     two_test() -> io:format(\"before\"), ?assertEqual(1, length([])).\n";
const SUITE: &str = "-module(x_SUITE).\n-export([all/0, good/1, bad/1]).\nall() -> [good, bad].\n\
                     good(_) -> ok.\nbad(_) -> error(oops).\n";

#[test]
fn a_new_project_passes_its_tests() {
    let folder = Folder::new("new");
    let (code, text) = folder.says(&["new", "my_counter"]);
    assert!(code == 0 && text.contains("swarmrt test my_counter"), "{text}");
    assert!(folder.0.join("my_counter/src/my_counter_sup.erl").is_file());
    let (code, text) = folder.says(&["test", "my_counter"]);
    assert!(
        code == 0 && text.contains("4 tests, 0 failures") && text.contains("passed  rebar3 eunit"),
        "{text}"
    );
    // A test that fails is named at the end.
    folder.write("my_counter/test/fail_tests.erl", FAILS);
    let (code, text) = folder.says(&["test", "my_counter"]);
    let end = text.rfind("failed  rebar3 eunit").unwrap_or_else(|| panic!("{text}"));
    assert!(code == 1 && text[end..].contains("fail_tests:two_test"), "{text}");
}

/// Without rebar3 the same project is tested by eunit alone.
#[test]
fn a_new_project_needs_no_rebar3() {
    let folder = Folder::new("without");
    assert_eq!(folder.says(&["new", "alone"]).0, 0);
    let path = folder.0.join("bin");
    std::fs::create_dir(&path).expect("made");
    for program in ["sh", "bash"] {
        std::os::unix::fs::symlink(Path::new("/bin").join(program), path.join(program))
            .expect("linked");
    }
    let (code, text) =
        said(common::run(folder.command().args(["test", "alone"]).env("PATH", &path)));
    assert!(code == 0 && text.contains("rebar3 is not installed"), "{text}");
    assert!(text.contains("4 passed, 0 failed"), "{text}");
}

#[test]
fn names_that_are_taken_or_wrong_are_refused() {
    let folder = Folder::new("names");
    folder.write("there/file", "x");
    for (name, why) in [
        ("there", "already"),
        ("Big", "small letter"),
        ("a/b", "letters"),
        ("kernel", "OTP has"),
        ("receive", "word"),
    ] {
        let (code, text) = folder.says(&["new", name]);
        assert!(code == 2 && text.contains(why) && text.contains("next:"), "{name}: {text}");
    }
    assert_eq!(std::fs::read_dir(folder.0.join("there")).expect("still there").count(), 1);
}

#[test]
fn suites_of_common_test_are_run_and_failures_come_first() {
    let folder = Folder::new("suites");
    let app = "{application, x, [{vsn, \"1\"}, {applications, [kernel, stdlib]}]}.";
    for (file, text) in [
        ("rebar.config", ""),
        ("src/x.app.src", app),
        ("test/pass_tests.erl", PASSES),
        ("test/x_SUITE.erl", SUITE),
    ] {
        folder.write(file, text);
    }
    let (code, text) = folder.says(&["test"]);
    let (failed, passed) = (text.rfind("failed  rebar3 ct"), text.rfind("passed  rebar3 eunit"));
    assert!(code == 1 && failed.is_some() && failed < passed, "{text}");
    assert!(text[failed.unwrap_or(0)..].contains("x_SUITE ==> bad: FAILED"), "{text}");
    let (code, text) = folder.says(&["test", ".", "--", "eunit", "--module=pass_tests"]);
    assert!(code == 0 && text.contains("rebar3 eunit --module=pass_tests"), "{text}");
}

#[test]
fn a_project_of_mix_is_tested() {
    let folder = Folder::new("mix");
    assert_eq!(folder.says(&["exec", "mix", "new", "sample"]).0, 0);
    let (code, text) = folder.says(&["test", "sample"]);
    assert!(
        code == 0
            && text.contains("1 doctest, 1 test, 0 failures")
            && text.contains("passed  mix test"),
        "{text}"
    );
    folder.write(
        "sample/test/bad_test.exs",
        "defmodule BadTest do\n  use ExUnit.Case\n  test \"sums\", do: assert 1 + 1 == 3\nend\n",
    );
    let (code, text) = folder.says(&["test", "sample", "--", "--seed", "0"]);
    let end = text.rfind("failed  mix test --seed 0").unwrap_or_else(|| panic!("{text}"));
    assert!(code == 1 && text[end..].contains("test sums (BadTest)"), "{text}");
}

#[test]
fn a_folder_without_a_tool_is_tested_by_eunit() {
    let folder = Folder::new("plain");
    let helper =
        "-module(helper).\n-export([parse_transform/2]).\nparse_transform(Forms, _) -> Forms.\n";
    // It needs a module that comes later in the alphabet.
    let early = "-module(early).\n-compile({parse_transform, helper}).\n-include_lib(\"eunit/include/eunit.hrl\").\nx_test() -> ok.\n";
    for (file, text) in [
        ("src/helper.erl", helper),
        ("src/early.erl", early),
        ("test/pass_tests.erl", PASSES),
        ("x_SUITE.erl", SUITE),
    ] {
        folder.write(file, text);
    }
    let (code, text) = folder.says(&["test"]);
    assert!(
        code == 0 && text.contains("2 passed, 0 failed") && text.contains("left out: x_SUITE.erl"),
        "{text}"
    );
    folder.write("fail_tests.erl", FAILS);
    folder.write("cancel_tests.erl", "-module(cancel_tests).\n-export([test/0, c_test_/0]).\ntest() -> ok.\n\
                  c_test_() -> {setup, fun() -> error(no_setup) end, fun(_) -> [fun() -> ok end] end}.\n");
    let (code, text) = folder.says(&["test", "."]);
    assert!(code == 1 && text.contains("2 passed, 1 failed, 1 skipped or cancelled"), "{text}");
    for part in ["fail_tests:two_test/0", "{expected,1}", "before", "no_setup"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    folder.write("wrong.erl", "-module(wrong).\nf( -> ok.\n");
    let (code, text) = folder.says(&["test"]);
    assert!(code == 1 && text.contains("wrong.erl:2"), "{text}");
}

#[test]
fn a_folder_without_tests_says_so() {
    let folder = Folder::new("none");
    let (code, text) = folder.says(&["test"]);
    assert!(code == 2 && text.contains("no eunit tests") && text.contains("next:"), "{text}");
    let (code, text) = folder.says(&["test", "missing"]);
    assert!(code == 2 && text.contains("missing: no such folder"), "{text}");
}

/// What a check of `swarmrt doctor --json` has found.
fn finding(command: &mut Command, check: &str) -> (i32, serde_json::Value) {
    let output = common::run(command);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = all
        .into_iter()
        .find(|finding| finding["check"] == check)
        .unwrap_or_else(|| panic!("no check {check}"));
    (output.status.code().expect("no signal has ended it"), found)
}

#[test]
fn a_doctor_finds_what_is_wrong_and_names_the_remedy() {
    let folder = Folder::new("doctor");
    let (code, text) = folder.says(&["doctor"]);
    assert!(code == 0 && text.starts_with("ok ") && text.contains("schedulers"), "{text}");
    let json = || {
        let mut command = folder.command();
        command.args(["doctor", "--json"]);
        command
    };
    assert_eq!(finding(&mut json(), "start").1["verdict"], "ok");
    let (code, found) = finding(json().arg("--otp-root").arg(&folder.0), "OTP");
    assert!(code == 1 && found["verdict"] == "failed" && found["remedy"].is_string(), "{found}");
    let (code, found) = finding(json().args(["--code-cache", "/proc/self/x"]), "code cache");
    assert!(
        code == 0
            && found["verdict"] == "warning"
            && found["remedy"].as_str().is_some_and(|text| text.contains("--code-cache")),
        "{found}"
    );
    assert_eq!(
        finding(json().args(["--engine", "interp"]), "native engine").1["found"],
        "switched off (interp)"
    );
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "ulimit -f 0; ulimit -n 100; exec \"$0\" doctor --json"])
        .arg(common::swarmrt())
        .env("HOME", &folder.0);
    for check in ["native engine", "file size", "open files"] {
        let (code, found) = finding(&mut limited, check);
        assert!(
            code == 0
                && found["verdict"] == "warning"
                && found["remedy"].as_str().is_some_and(|text| text.contains("ulimit")),
            "{found}"
        );
    }
}
