//! Input that no machine can do anything with: an Erlang error, the end of one process, or a clear
//! message; never a fault of the machine.

mod common;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("swarmrt-bad-input-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

fn swarmrt(arguments: &[&str]) -> Output {
    common::run(Command::new(common::swarmrt()).args(arguments))
}

/// What Erlang code prints; nothing may be said on the side.
fn printed(flags: &[&str], code: &str) -> String {
    let mut arguments = vec!["erl", "-noshell"];
    arguments.extend(flags);
    let code = format!("{code}, halt().");
    arguments.extend(["-eval", &code]);
    let output = swarmrt(&arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{}\n{out}{err}", output.status);
    out.trim_end().to_owned()
}

/// Each of these raises what stands before it.
#[test]
fn requests_for_too_much_memory_are_refused() {
    let refused = [
        ("system_limit", "binary:copy(<<0>>, 1 bsl 50)"),
        ("system_limit", "N = 1 bsl 45, <<0:N>>"),
        ("system_limit", "N = 1 bsl 70, <<0:N>>"),
        ("system_limit", "N = 1 bsl 57, <<0:N/unit:256>>"),
        ("system_limit", "1 bsl (1 bsl 40)"),
        ("system_limit", "1 bsl (1 bsl 70)"),
        ("system_limit", "X = 1 bsl (1 bsl 24), Y = X * X, Z = Y * Y, Z * Z"),
        ("badarg", "erlang:make_tuple(1 bsl 40, x)"),
        ("badarg", "erlang:make_tuple(1 bsl 24, x)"),
        (
            "system_limit",
            "B = binary:copy(<<0>>, 1 bsl 20), L = lists:duplicate(1 bsl 10, B), iolist_to_binary(lists:duplicate(1 bsl 15, L))",
        ),
        (
            "system_limit",
            "B = binary:copy(<<0>>, 1 bsl 20), L = lists:duplicate(1 bsl 10, B), list_to_binary(lists:duplicate(1 bsl 15, L))",
        ),
        (
            "system_limit",
            "B = binary:copy(<<0>>, 1 bsl 20), L = lists:duplicate(1 bsl 10, B), list_to_bitstring(lists:duplicate(1 bsl 15, L))",
        ),
        (
            "system_limit",
            "B = binary:copy(<<0>>, 1 bsl 20), L = lists:duplicate(1 bsl 10, B), unicode:characters_to_binary(lists:duplicate(1 bsl 15, L))",
        ),
        ("system_limit", "atomics:new(1 bsl 50, [])"),
        ("system_limit", "counters:new(1 bsl 50, [])"),
        ("badarg", "binary_to_term(<<131, 109, 255, 255, 255, 255, 1, 2>>)"),
        ("badarg", "binary_to_term(<<131, 108, 255, 255, 255, 255, 1, 2>>)"),
        ("badarg", "binary_to_term(<<131, 105, 255, 255, 255, 255, 1, 2>>)"),
        ("badarg", "binary_to_term(<<131, 80, 255, 255, 255, 255, 1, 2>>)"),
        ("badarg", "binary_to_term(<<131, 111, 255, 255, 255, 255, 1, 2>>)"),
        ("badarg", "binary_to_term(<<131, 116, 255, 255, 255, 255, 1, 2>>)"),
        ("system_limit", "list_to_atom(lists:duplicate(256, $a))"),
        ("badarg", "erlang:send_after(1 bsl 70, self(), x)"),
        ("badarg", "process_flag(max_heap_size, 1)"),
    ];
    let cases: Vec<String> =
        refused.iter().map(|(_, code)| format!("fun() -> {code} end")).collect();
    let code = format!(
        "[io:format(\"~p~n\", [try F(), none catch error:Why -> Why end]) || F <- [{}]]",
        cases.join(", ")
    );
    let out = printed(&[], &code);
    let expected: Vec<&str> = refused.iter().map(|&(why, _)| why).collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_full_atom_table_raises() {
    let code = r#"
        io:format("~p~n", [["modules are loaded", x]]),
        Fill = fun Fill(N) ->
            try list_to_atom("atom " ++ integer_to_list(N)) of _ -> Fill(N + 1)
            catch error:system_limit -> full
            end
        end,
        full = Fill(0),
        Raises = fun(F) -> try F() catch error:Why -> Why end end,
        Name = list_to_binary("one more"),
        io:format("~p~n", [[
            Raises(fun() -> list_to_atom("one more") end),
            Raises(fun() -> binary_to_atom(Name, utf8) end),
            Raises(fun() -> binary_to_term(iolist_to_binary([131, 119, 8, Name])) end),
            list_to_existing_atom("atom 1"),
            erlang:system_info(atom_limit),
            erlang:system_info(atom_count) >= 20000]])
    "#;
    assert_eq!(
        printed(&["+t", "20000"], code),
        "[\"modules are loaded\",x]\n[system_limit,system_limit,system_limit,'atom 1',20000,true]"
    );
}

#[test]
fn a_heap_beyond_its_limit_ends_the_process() {
    let code = r#"
        logger:set_primary_config(level, none),
        Ends = fun(F) -> {_, Ref} = spawn_monitor(F), receive {'DOWN', Ref, process, _, Why} -> Why end end,
        Limited = fun(F) -> fun() -> process_flag(max_heap_size, 1000000), F() end end,
        io:format("~p~n", [[
            Ends(Limited(fun() -> lists:seq(1, 1 bsl 50) end)),
            Ends(Limited(fun() -> lists:duplicate(1 bsl 50, x) end)),
            Ends(Limited(fun() -> (fun Grow(L) -> Grow([L | L]) end)([]) end)),
            Ends(fun() -> spawn_opt(fun() -> lists:seq(1, 10000000) end, [link, {max_heap_size, 100000}]), receive never -> ok end end)]])
    "#;
    assert_eq!(printed(&[], code), "[killed,killed,killed,killed]");
}

/// A process that wants more memory than there is ends, and the others live on.
#[test]
fn a_heap_for_which_there_is_no_memory_ends_the_process() {
    let code = r#"
        {_, Ref} = spawn_monitor(fun() -> lists:seq(1, 1 bsl 50) end),
        receive {'DOWN', Ref, process, _, Why} -> io:format("~p~n", [Why]) end,
        timer:sleep(300), ok = logger_std_h:filesync(default), halt().
    "#;
    let output = common::run(
        Command::new(common::swarmrt())
            .args(["erl", "-noshell", "-eval", code])
            .env("SWARMRT_MEMORY_MAX", "300000000"),
    );
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    assert!(out.contains("out of memory") && out.contains("killed"), "{out}{err}");
}

fn complains(arguments: &[&str], about: &str) {
    let output = swarmrt(arguments);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("{arguments:?} was ended by a signal: {text}"));
    assert!(matches!(code, 1 | 2 | 127), "{arguments:?}: {code}: {text}");
    assert!(text.contains(about), "{arguments:?} does not speak of {about}: {text}");
    assert!(
        !text.contains("internal error") && !text.contains("panicked"),
        "{arguments:?}: {text}"
    );
}

#[test]
fn missing_files_and_wrong_flags_are_named() {
    complains(&["run", "no_such_file.erl"], "no_such_file.erl");
    complains(&["run"], "needs a file");
    complains(&["disasm", "no_such_file.beam"], "no_such_file.beam");
    complains(&["escript", "no_such_file.escript"], "no_such_file.escript");
    complains(&["no_such_command"], "no_such_command");
    complains(&[], "no command");
    complains(&["erl", "+no_such_flag"], "+no_such_flag");
    complains(&["erl", "+S", "many"], "+S");
    complains(&["erl", "+t"], "+t");
    complains(&["erl", "+P", "5"], "+P");
    complains(&["run", "/"], "a folder");
    complains(&["erl", "-args_file", "no_such_file.args"], "no_such_file.args");
}

#[test]
fn corrupt_code_is_refused() {
    let folder = folder("code");
    let source = folder.join("whole.erl");
    std::fs::write(
        &source,
        "-module(whole).\n-export([main/0]).\nmain() -> io:put_chars(\"whole\\n\").\n",
    )
    .expect("written");
    let compiled = swarmrt(&["erlc", "-o", &folder.to_string_lossy(), &source.to_string_lossy()]);
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let beam = folder.join("whole.beam");
    let whole = std::fs::read(&beam).expect("compiled");
    let broken = folder.join("broken.beam");
    let name = broken.to_string_lossy().into_owned();
    let half = &whole[..whole.len() / 2];
    for bytes in [&b""[..], b"FOR1", b"not a beam file at all", half] {
        std::fs::write(&broken, bytes).expect("written");
        complains(&["run", &name], "broken.beam");
        complains(&["disasm", &name], "broken.beam");
    }
    // Whatever byte is damaged, the file is refused or does something; the machine stays whole.
    for at in (0..whole.len()).step_by(whole.len() / 12) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x5a;
        std::fs::write(&broken, &damaged).expect("written");
        let output = swarmrt(&["run", &name]);
        let code = output.status.code();
        assert!(
            matches!(code, Some(0..=2)),
            "byte {at}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn an_unusable_otp_is_named() {
    let folder = folder("otp");
    let root = folder.to_string_lossy().into_owned();
    complains(&["erl", "--otp-root", "no_such_folder"], "no_such_folder");
    complains(&["--otp-root", &root, "info"], "releases");
    let ebin = folder.join("lib/erts-13.0/ebin");
    std::fs::create_dir_all(&ebin).expect("made");
    std::fs::write(ebin.join("erlang.beam"), "no module").expect("written");
    for release in ["24", "30"] {
        let named = folder.join("releases").join(release);
        std::fs::create_dir_all(&named).expect("made");
        let found = format!("is release {release}; SwarmRT runs releases 25 to 29");
        complains(&["--otp-root", &root, "erl"], &found);
        std::fs::remove_dir(named).expect("removed");
    }
    std::fs::create_dir_all(folder.join("releases/25")).expect("made");
    complains(&["--otp-root", &root, "erl"], "OTP 25 in");
    complains(&["--otp-root", &root, "erl"], "it has no lib/kernel-*/ebin");
    for library in ["lib/kernel-8.5/ebin", "lib/stdlib-4.2/ebin"] {
        std::fs::create_dir_all(folder.join(library)).expect("made");
    }
    complains(&["--otp-root", &root, "erl"], "preloaded module");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn somebody_who_stops_reading_is_no_fault() {
    for arguments in [&["info"][..], &["--help"], &["no_such_command"]] {
        let mut child = Command::new(common::swarmrt())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop((child.stdout.take(), child.stderr.take()));
        let code = child.wait().expect("it ends").code();
        assert!(matches!(code, Some(0 | 2)), "{arguments:?}: {code:?}");
    }
}

#[test]
fn the_end_of_a_system_process_ends_the_machine() {
    let output =
        swarmrt(&["erl", "-noshell", "-eval", "exit(whereis(init), kill), timer:sleep(5000)."]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("System process <0.0.0> terminated: killed"), "{said}");
}
