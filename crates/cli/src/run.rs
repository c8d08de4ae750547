//! `swarmrt run`, `erlc` and `escript`: programs by their file.

use crate::erl::erl;
use crate::failure::Failure;
use crate::{exec, text};
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Erlang that `swarmrt run` evaluates: compiles or loads the file, calls `main`, reports what it
/// raises.
const RUNNER: &str = r#"
[File | Args] = init:get_plain_arguments(),
Report = fun(Class, Reason, Stack) ->
    Format = fun(Term, I) -> io_lib:format("~.*tP", [I, Term, 50]) end,
    Skip = fun(M, _, _) -> M =:= erl_eval orelse M =:= init end,
    Text = erl_error:format_exception(1, Class, Reason, Stack, Skip, Format, unicode),
    io:put_chars(standard_error, [Text, $\n])
end,
Fail = fun(Text, Next) ->
    io:put_chars(standard_error, ["swarmrt: ", Text, "\n  next: ", Next, $\n]),
    erlang:halt(1)
end,
NotBeam = "compile the module again: swarmrt erlc FILE.erl",
Load = fun
    (Module, Binary) ->
        case code:load_binary(Module, File, Binary) of
            {module, Module} -> Module;
            {error, Why} -> Fail(io_lib:format("~ts: cannot be loaded: ~tp", [File, Why]), NotBeam)
        end
end,
Module = case filename:extension(File) of
    ".beam" ->
        case file:read_file(File) of
            {ok, Beam} ->
                case beam_lib:info(Beam) of
                    Info when is_list(Info) -> Load(proplists:get_value(module, Info), Beam);
                    {error, beam_lib, Bad} ->
                        %% It names what it was given: the file rather than what is in it.
                        Text = lists:flatten(beam_lib:format_error(setelement(2, Bad, File))),
                        Prefix = lists:flatten(io_lib:format("~tp: ", [File])),
                        Why = case string:prefix(Text, Prefix) of nomatch -> Text; Rest -> Rest end,
                        Fail([File, ": ", string:trim(Why)], NotBeam)
                end;
            {error, Posix} ->
                Fail([File, ": ", file:format_error(Posix)], "check who may read it")
        end;
    Extension ->
        Options = [from_asm || Extension =:= ".S"] ++ [binary, report],
        case compile:file(filename:rootname(File, Extension), Options) of
            {ok, Name, Code} -> Load(Name, Code);
            {ok, Name, Code, _} -> Load(Name, Code);
            _ -> erlang:halt(1)
        end
end,
Takes = fun(Arity) -> erlang:function_exported(Module, main, Arity) end,
Takes(1) orelse Takes(0) orelse
    Fail([File, ": it exports neither main/1 nor main/0"], "-export([main/1]). main(Args) -> ok."),
try
    case Takes(1) of
        true -> Module:main(Args);
        false -> Module:main()
    end
of
    _ -> erlang:halt(0)
catch
    Class:Reason:Stack ->
        Report(Class, Reason, Stack),
        erlang:halt(1)
end.
"#;

/// The kinds of files that can be run, by their first line or their name.
enum ProgramKind {
    /// It begins with `#!`.
    Script,
    /// `.erl`, `.beam` or `.S`: the module is loaded and its `main` called.
    Module,
    /// `.ex` or `.exs`.
    Elixir,
}

impl ProgramKind {
    fn of(file: &Path) -> Result<ProgramKind, Failure> {
        let name = file.display();
        let cannot = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Failure::new(format!("{name}: no such file"))
                .next("check the path and the spelling"),
            _ => Failure::of_file(file, &error),
        };
        if std::fs::metadata(file).map_err(cannot)?.is_dir() {
            let next =
                format!("swarmrt test {name} runs a project's tests; swarmrt run needs a file");
            return Err(Failure::new(format!("{name}: it is a folder")).next(next));
        }
        let mut start = Vec::new();
        std::fs::File::open(file)
            .and_then(|file| file.take(2).read_to_end(&mut start))
            .map_err(cannot)?;
        if start == b"#!" {
            return Ok(ProgramKind::Script);
        }
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("erl" | "beam" | "S") => Ok(ProgramKind::Module),
            Some("ex" | "exs") => Ok(ProgramKind::Elixir),
            _ => {
                let next = "an .erl, .beam, .S, .ex or .exs file, or an escript, which begins with #!, can be run";
                Err(Failure::new(format!("{name}: not a program that SwarmRT knows")).next(next))
            }
        }
    }
}

/// Runs a program with its arguments; the exit code.
pub fn run(file: &Path, arguments: Vec<OsString>) -> Result<i32, Failure> {
    let words = || std::iter::once(file.as_os_str().to_owned()).chain(arguments.iter().cloned());
    match ProgramKind::of(file)? {
        ProgramKind::Script => escript(words()),
        ProgramKind::Elixir => exec::exec("elixir".as_ref(), &words().collect::<Vec<_>>()),
        ProgramKind::Module => {
            let mut all = ["+B", "-noshell", "-boot", "no_dot_erlang", "-eval", RUNNER, "-extra"]
                .map(str::to_owned)
                .to_vec();
            all.extend(words().map(text));
            erl("erl", &all)
        }
    }
}

pub fn escript(arguments: impl IntoIterator<Item = OsString>) -> Result<i32, Failure> {
    let start = ["+B", "-boot", "no_dot_erlang", "-noshell", "-run", "escript", "start", "-extra"];
    let mut all = start.map(str::to_owned).to_vec();
    all.extend(arguments.into_iter().map(text));
    erl("escript", &all)
}

/// OTP's compiler driver takes `erlc`'s own options; paths for the runtime are ours to hand on.
pub fn erlc(arguments: Vec<OsString>) -> Result<i32, Failure> {
    let mut emulator: Vec<String> = Vec::new();
    let mut options = Vec::new();
    let mut rest = arguments.into_iter().map(text);
    while let Some(argument) = rest.next() {
        if argument == "-pa" || argument == "-pz" {
            emulator.push(argument);
            emulator.extend(rest.next());
        } else {
            options.push(argument);
        }
    }
    let start = [
        "-noinput",
        "-mode",
        "minimal",
        "-boot",
        "start_clean",
        "-s",
        "erl_compile",
        "compile_cmdline",
        "-extra",
    ];
    emulator.extend(start.map(str::to_owned));
    emulator.append(&mut options);
    erl("erl", &emulator)
}
