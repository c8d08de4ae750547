//! rebar3 under SwarmRT: `swarmrt exec rebar3 …`.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs rebar3 in a folder; its output.
fn rebar3(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(common::swarmrt());
    command.args(["exec", "rebar3"]).args(arguments).current_dir(folder).env("HOME", folder);
    let output = common::run_within(&mut command, Duration::from_mins(2));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{arguments:?}: {}\n{text}", output.status);
    text
}

const CONFIG: &str = r#"
{erl_opts, [debug_info]}.
{cover_enabled, true}.
{escript_main_app, sample}.
{relx, [{release, {sample, "0.1.0"}, [sample]}, {dev_mode, false}, {include_erts, true}, {extended_start_script, false}]}.
"#;

const PROGRAM: &str = r#"
-module(sample).
-export([main/1, factorial/1]).
main(Args) -> io:format("~p ~p~n", [Args, factorial(5)]).
factorial(0) -> 1;
factorial(N) -> N * factorial(N - 1).
"#;

const UNIT_TESTS: &str = r#"
-module(sample_tests).
-include_lib("eunit/include/eunit.hrl").
factorial_test_() -> [?_assertEqual(120, sample:factorial(5)), ?_assertError(badarith, sample:factorial(x))].
"#;

const SUITE: &str = r#"
-module(sample_SUITE).
-include_lib("common_test/include/ct.hrl").
-export([all/0, init_per_suite/1, end_per_suite/1, factorial/1]).
all() -> [factorial].
init_per_suite(Config) -> [{expected, 6} | Config].
end_per_suite(_) -> ok.
factorial(Config) -> true = ?config(expected, Config) =:= sample:factorial(3).
"#;

#[test]
fn a_project_is_made_tested_and_released() {
    assert!(
        Command::new("rebar3").arg("version").output().is_ok(),
        "rebar3 is not installed: run script/setup"
    );
    let folder = std::env::temp_dir().join(format!("swarmrt-rebar3-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    rebar3(&folder, &["new", "lib", "sample"]);
    let project = folder.join("sample");
    let files = [
        ("rebar.config", CONFIG),
        ("src/sample.erl", PROGRAM),
        ("test/sample_tests.erl", UNIT_TESTS),
        ("test/sample_SUITE.erl", SUITE),
    ];
    std::fs::create_dir_all(project.join("test")).expect("made");
    for (name, text) in files {
        std::fs::write(project.join(name), text).expect("written");
    }
    assert!(rebar3(&project, &["eunit"]).contains("2 tests, 0 failures"));
    assert!(rebar3(&project, &["ct"]).contains("All 1 tests passed."));
    assert!(rebar3(&project, &["cover"]).contains("cover summary written"));
    rebar3(&project, &["escriptize"]);
    let mut script = Command::new(common::swarmrt());
    let output =
        common::run(script.args(["exec", "_build/default/bin/sample", "a"]).current_dir(&project));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[\"a\"] 120\n");
    rebar3(&project, &["release"]);
    // The release brings SwarmRT along, and starts.
    let release = project.join("_build/default/rel/sample");
    let erl = std::fs::read_dir(&release)
        .expect("made")
        .flatten()
        .map(|entry| entry.path().join("bin/erl"))
        .find(|path| path.is_file());
    let mut start = Command::new(erl.expect("the release has programs"));
    start
        .arg("-boot")
        .arg(release.join("releases/0.1.0/start"))
        .args(["-boot_var", "ERTS_LIB_DIR"])
        .arg(release.join("lib"));
    let output = common::run(start.args([
        "-noshell",
        "-eval",
        "io:format(\"~ts~p\", [erlang:system_info(system_version), sample:factorial(4)]), halt().",
    ]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("SwarmRT ") && text.ends_with("24"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _ = std::fs::remove_dir_all(&folder);
}
