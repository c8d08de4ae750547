%% What the programs of this folder share: OTP's sources and folders for what they make.
-module(real).
-export([sources/1, ebin/1, folder/2, main/2, prepare/2]).

%% The source files of an application, in the order of their names.
sources(Application) ->
    Files = filelib:wildcard(filename:join([code:lib_dir(Application), "src", "*.erl"])),
    lists:sort(Files).

ebin(Application) -> filename:join(code:lib_dir(Application), "ebin").

%% An empty folder below another one.
folder(Parent, Name) ->
    Folder = filename:join(Parent, Name),
    _ = file:del_dir_r(Folder),
    ok = file:make_dir(Folder),
    Folder.

%% Runs a program and ends: with 0 if it returned ok, else with what it returned on the terminal.
main(Program, Folder) ->
    ok = logger:set_primary_config(level, warning),
    finish(fun Program:main/1, Folder).

%% Makes what a program reads, if it reads anything. With 2 if that can not be had here.
prepare(Program, Folder) ->
    {module, Program} = code:ensure_loaded(Program),
    case erlang:function_exported(Program, prepare, 1) of
        true -> finish(fun Program:prepare/1, Folder);
        false -> finish(fun(_) -> ok end, Folder)
    end.

finish(Step, Folder) ->
    try Step(Folder) of
        ok -> halt(0);
        {missing, Why} ->
            io:format("~ts~n", [Why]),
            halt(2);
        Other ->
            io:format("~tp~n", [Other]),
            halt(1)
    catch
        Class:Reason:Trace ->
            io:format("~tp~n", [{Class, Reason, Trace}]),
            halt(1)
    end.
