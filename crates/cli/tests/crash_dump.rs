//! Crash dumps: what `erlang:halt("...")` and the break menu write is read by OTP's own viewer.

mod common;

use std::process::Command;

/// Prints what OTP's viewer finds in the dump that is its argument.
const VIEWER: &str = r#"
    [File] = init:get_plain_arguments(),
    {ok, _} = crashdump_viewer:start_link(),
    ok = crashdump_viewer:read_file(File),
    {ok, General, _} = crashdump_viewer:general_info(),
    io:format("slogan ~s~n", [element(3, General)]),
    {ok, Processes, _} = crashdump_viewer:processes(),
    [Holder] = [pid_to_list(element(2, P)) || P <- Processes, element(3, P) =:= "holder"],
    {ok, Details, _} = crashdump_viewer:proc_details(Holder),
    Shown = io_lib:format("~p", [Details]),
    [io:format("~s ~p~n", [What, string:find(Shown, What) =/= nomatch]) ||
        What <- ["a_message", "a_dictionary_key", "kept_on_the_stack", "\"Waiting\""]],
    {ok, Tables, _} = crashdump_viewer:ets_tables(all),
    io:format("table ~p~n", [[] =/= [T || T <- Tables, lists:member("a_table", tuple_to_list(T))]]),
    {ok, Modules, _} = crashdump_viewer:loaded_modules(),
    io:format("modules ~p~n", [length(Modules) > 50]),
    halt().
"#;

const PROGRAM: &str = r#"
    ets:new(a_table, [named_table]),
    Holder = spawn(fun() ->
        put(a_dictionary_key, 1),
        lists:foreach(fun(_) -> receive never -> ok end end, [1, kept_on_the_stack])
    end),
    register(holder, Holder),
    Holder ! {a_message, <<0:1000>>},
    timer:sleep(100),
    halt("it was meant").
"#;

#[test]
fn the_viewer_of_otp_reads_them() {
    let folder = std::env::temp_dir().join(format!("swarmrt-crash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let dump = folder.join("erl_crash.dump");
    let output = Command::new(common::swarmrt())
        .args(["erl", "-noshell", "-eval", PROGRAM])
        .current_dir(&folder)
        .env_remove("ERL_CRASH_DUMP")
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told, "it was meant\n\nCrash dump is being written to: erl_crash.dump...done\n");
    let viewer = Command::new("erl")
        .args(["-noshell", "-eval", VIEWER, "-extra"])
        .arg(&dump)
        .output()
        .expect("erl is installed");
    let shown = String::from_utf8_lossy(&viewer.stdout);
    let expected = "slogan it was meant\na_message true\na_dictionary_key true\nkept_on_the_stack true\n\
                    \"Waiting\" true\ntable true\nmodules true\n";
    assert_eq!(shown, expected, "{}", String::from_utf8_lossy(&viewer.stderr));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn there_is_none_where_none_is_wanted() {
    for (name, value) in [("ERL_CRASH_DUMP_SECONDS", "0"), ("ERL_CRASH_DUMP_BYTES", "0")] {
        let output = Command::new(common::swarmrt())
            .args(["erl", "-noshell", "-eval", "halt(\"quiet\")."])
            .env("ERL_CRASH_DUMP", "/dev/full/none")
            .env(name, value)
            .output()
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "quiet\n");
        assert_eq!(output.status.code(), Some(1));
    }
    let output = Command::new(common::swarmrt())
        .args(["erl", "-noshell", "-eval", "halt(\"nowhere\")."])
        .env("ERL_CRASH_DUMP", "/dev/null/none")
        .output()
        .expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Not a directory"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn they_are_whole_where_a_scheduler_does_not_come_back() {
    let folder = std::env::temp_dir().join(format!("swarmrt-crash-lost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    const PROGRAM: &str = r"
        logger:set_primary_config(level, none),
        register(holder, spawn(fun() -> receive never -> ok end end)),
        erts_debug:set_internal_state(available_internal_state, true),
        erts_debug:set_internal_state(broken_halt, lost).
    ";
    let output = Command::new(common::swarmrt())
        .args(["erl", "-noshell", "+S", "1", "-eval", PROGRAM])
        .current_dir(&folder)
        .env_remove("ERL_CRASH_DUMP")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let dump = std::fs::read_to_string(folder.join("erl_crash.dump")).expect("it was written");
    for part in ["\nSlogan: lost\n", "\n=proc:", "\n=mod:erlang\n", "\n=end\n"] {
        assert!(dump.contains(part), "no {part:?}");
    }
    let _ = std::fs::remove_dir_all(folder);
}
