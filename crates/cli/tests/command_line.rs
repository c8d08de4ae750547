//! The command line as users meet it: forms, help, errors, exit codes.

mod common;

use std::path::PathBuf;
use std::process::Command;

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// What the program says to arguments, in a folder.
fn said_in(folder: &PathBuf, arguments: &[&str]) -> Said {
    let output = common::run(common::swarmrt_command().args(arguments).current_dir(folder));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?}: {}", output.status));
    Said { code, out: text(&output.stdout), err: text(&output.stderr) }
}

fn said(arguments: &[&str]) -> Said {
    said_in(&std::env::temp_dir(), arguments)
}

/// A folder with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("swarmrt-line-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    for (file, text) in files {
        std::fs::write(folder.join(file), text).expect("written");
    }
    folder
}

const PROGRAM: &str =
    "-module(program).\n-export([main/1]).\nmain(Args) -> io:format(\"~p~n\", [Args]).\n";

#[test]
fn every_kind_of_program_runs_by_its_file_alone() {
    let script = "#!/usr/bin/env escript\nmain(Args) -> io:format(\"~p~n\", [Args]).\n";
    let files =
        [("program.erl", PROGRAM), ("script", script), ("elixir.exs", "IO.inspect(System.argv())")];
    let folder = folder("kinds", &files);
    for flags in [&[][..], &["-S"]] {
        let mut erlc = Command::new("erlc");
        assert!(
            common::run(erlc.args(flags).arg("program.erl").current_dir(&folder)).status.success()
        );
    }
    for file in ["program.erl", "program.beam", "program.S", "script"] {
        for start in [&[][..], &["run"]] {
            let arguments = [start, &[file, "a", "--help", "-V", "--"]].concat();
            let told = said_in(&folder, &arguments);
            assert_eq!(
                (told.code, told.out.as_str()),
                (0, "[\"a\",\"--help\",\"-V\",\"--\"]\n"),
                "{file}: {}",
                told.err
            );
        }
    }
    let told = said_in(&folder, &["elixir.exs", "a", "--help"]);
    assert_eq!((told.code, told.out.as_str()), (0, "[\"a\", \"--help\"]\n"), "{}", told.err);
    let _ = std::fs::remove_dir_all(&folder);
}

/// `init` gets the same arguments as under OTP.
#[test]
fn arguments_of_erl_are_not_touched() {
    let code = "io:format(\"~p~n\", [{init:get_arguments() -- [A || {root, _} = A <- init:get_arguments()], \
                init:get_plain_arguments()}]), halt().";
    let all = [
        "-noshell",
        "-a",
        "--help",
        "--version",
        "-h",
        "b",
        "--",
        "--engine=x",
        "-eval",
        code,
        "-extra",
        "-V",
        "--",
        "--help",
    ];
    let ours = said(&[&["erl"][..], &all].concat());
    let theirs = common::run(common::oracle("erl").args(all));
    let bindir = |text: &str| {
        text.lines().filter(|line| !line.contains("bindir")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(bindir(&ours.out), bindir(&String::from_utf8_lossy(&theirs.stdout)), "{}", ours.err);
}

#[test]
fn exit_codes_are_those_of_the_table() {
    let raises = "-module(raises).\n-export([main/0]).\nmain() -> error(oops).\n";
    let halts = "-module(halts).\n-export([main/0]).\nmain() -> halt(42).\n";
    let none = "-module(none).\n-export([start/0]).\nstart() -> ok.\n";
    let wrong = "-module(wrong).\nmain() -> .\n";
    let files = [
        ("raises.erl", raises),
        ("halts.erl", halts),
        ("none.erl", none),
        ("wrong.erl", wrong),
        ("x.txt", "x"),
        ("bad.beam", "garbage"),
    ];
    let folder = folder("codes", &files);
    let expected: [(i32, &[&str], &str); 17] = [
        (42, &["halts.erl"], ""),
        (1, &["raises.erl"], "oops"),
        (1, &["none.erl"], "none.erl: it exports neither main/1 nor main/0\n  next: -export"),
        (1, &["bad.beam"], "bad.beam: Not a BEAM file"),
        (1, &["bad.beam"], "\n  next: compile the module again"),
        (1, &["wrong.erl"], ""),
        (2, &["missing.erl"], "missing.erl: no such file"),
        (2, &["x.txt"], "x.txt: not a program that SwarmRT knows"),
        (2, &["."], "swarmrt test ."),
        (2, &["--engine"], "--engine"),
        (2, &["inof"], "did you mean swarmrt info?"),
        (2, &["--engine=none", "halts.erl"], "unknown engine none"),
        (2, &["disasm", "missing.beam"], "missing.beam: no such file or folder\n  next:"),
        (2, &["disasm", "x.txt"], "\n  next: `swarmrt erlc` makes .beam files"),
        (2, &["man", "missing"], "missing: no such file or folder\n  next:"),
        (126, &["exec", "./x.txt"], "x.txt"),
        (127, &["exec", "no_such_command"], "no_such_command: no such command"),
    ];
    for (code, arguments, about) in expected {
        let told = said_in(&folder, arguments);
        assert_eq!(told.code, code, "{arguments:?}: {}{}", told.out, told.err);
        assert!(told.err.contains(about), "{arguments:?}: {}", told.err);
        assert!(!told.err.contains('\x1b'), "colours are for terminals: {}", told.err);
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn flags_for_heaps_count_for_every_process() {
    let shown = "io:format(\"~p ~p\", [process_info(self(), min_heap_size), process_info(self(), max_heap_size)]), halt().";
    let flags = ["+hms", "1000", "+hmax", "100000", "+hmaxk", "false", "-noshell", "-eval", shown];
    let said = said(&[&["erl"][..], &flags].concat());
    let expected = common::run(common::oracle("erl").args(flags));
    assert_eq!(said.out, String::from_utf8_lossy(&expected.stdout));
    assert!(said.out.contains("1598") && said.out.contains("100000"), "{}", said.out);
}

#[test]
fn the_limit_of_busy_connections_is_as_its_flag_says() {
    let shown = "io:format(\"~p\", [erlang:system_info(dist_buf_busy_limit)]), halt().";
    for flags in [&[][..], &["+zdbbl", "1"], &["+zdbbl", "2097151"]] {
        let arguments = [flags, &["-noshell", "-eval", shown]].concat();
        let told = said(&[&["erl"][..], &arguments].concat());
        let expected = common::run(common::oracle("erl").args(&arguments));
        assert_eq!(told.out, String::from_utf8_lossy(&expected.stdout), "{flags:?}: {}", told.err);
    }
}

#[test]
fn sending_to_busy_connections_is_as_its_flag_says() {
    if common::release().is_none() {
        // OTP 25 has no such flag.
        return;
    }
    let shown = "{_, Ref} = spawn_monitor(fun() -> exit(process_info(self(), async_dist)) end), \
        Of = receive {'DOWN', Ref, _, _, Why} -> Why end, \
        io:format(\"~p ~p\", [erlang:system_info(async_dist), Of]), halt().";
    for flags in [&[][..], &["+pad", "true"], &["+pad", "true", "+pad", "false"]] {
        let arguments = [flags, &["-noshell", "-eval", shown]].concat();
        let told = said(&[&["erl"][..], &arguments].concat());
        let expected = common::run(common::oracle("erl").args(&arguments));
        assert_eq!(told.out, String::from_utf8_lossy(&expected.stdout), "{flags:?}: {}", told.err);
    }
}

#[test]
fn clocks_are_as_their_flags_say() {
    let shown = "M = erlang:monitor(time_offset, clock_service), \
        Ask = fun() -> [erlang:system_info(What) || What <- [time_correction, time_offset, time_warp_mode, tolerant_timeofday]] end, \
        Before = Ask(), Was = erlang:system_flag(time_offset, finalize), \
        Told = receive {'CHANGE', M, time_offset, clock_service, Offset} -> Offset =:= erlang:time_offset() after 200 -> no end, \
        Near = abs(erlang:system_time() - os:system_time()) < 1000000000, \
        io:format(\"~p~n\", [[Before, Was, Ask(), Told, erlang:system_flag(time_offset, finalize), Near]]), halt().";
    let flags = [
        "",
        "+c",
        "+ctrue",
        "+c false",
        "+C no_time_warp",
        "+C single_time_warp",
        "+c false +C single_time_warp",
        "+c false +C multi_time_warp",
    ];
    for flags in flags {
        let arguments: Vec<&str> =
            flags.split_whitespace().chain(["-noshell", "-eval", shown]).collect();
        let told = said(&[&["erl"][..], &arguments].concat());
        let expected = common::run(common::oracle("erl").args(&arguments));
        assert_eq!(told.out, String::from_utf8_lossy(&expected.stdout), "{flags}: {}", told.err);
    }
    assert!(said(&["erl", "+C", "some_time_warp"]).err.contains("time warp mode"));
}

#[test]
fn help_is_there_for_every_command_and_shows_examples() {
    let all = said(&["--help"]);
    assert!(all.code == 0 && all.out.contains("Examples:"), "{}", all.out);
    let listed = all
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        let told = said(&["help", name]);
        assert!(
            told.code == 0 && told.out.contains(&format!("Usage: swarmrt {name}")),
            "{name}: {}{}",
            told.out,
            told.err
        );
    }
    assert_eq!(said(&["--version"]).out, format!("swarmrt {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(said(&["run", "--help"]).out, said(&["help", "run"]).out);
}

#[test]
fn completion_scripts_are_accepted_by_the_shell() {
    let script = said(&["completions", "bash"]).out;
    let checked = common::run(Command::new("bash").args(["-n", "-c", &script]));
    assert!(
        checked.status.success() && script.contains("disasm"),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    for shell in ["zsh", "fish"] {
        assert!(said(&["completions", shell]).out.contains("code-cache"));
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let folder = folder("man", &[]);
    let told = said(&["man", &folder.to_string_lossy()]);
    assert_eq!(told.code, 0, "{}", told.err);
    for (page, about) in
        [("swarmrt.1", "swarmrt"), ("swarmrt-run.1", "main/1"), ("swarmrt-info.1", "json")]
    {
        let text = std::fs::read_to_string(folder.join(page)).expect("written");
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}");
        assert!(text.contains(about), "{page}: {text}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}
