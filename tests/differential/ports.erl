%% Ports to programs: their settings, what comes back, how they end, and what is refused.
-module(ports).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    [io:format("~p ~p: ~p~n", [Name, Options, run(Name, Options)]) || {Name, Options} <- opened()],
    [io:format("~p ~p: ~p~n", [Name, Options, refused(Name, Options)]) || {Name, Options} <- refusals()],
    [io:format("packets of ~p: ~p~n", [Size, packets(Size)]) || Size <- [1, 2, 4]],
    io:format("~p~n", [commands()]),
    io:format("~p~n", [ends()]),
    [io:format("descriptors of ~p: ~p~n", [Options, descriptors(Options)]) || Options <- directions()],
    io:format("~p~n", [monitored_by_name()]),
    io:format("~p~n", [os:cmd("echo to both; echo error >&2; exit 3")]),
    io:format("~p~n", [os:cmd("echo abcdef", #{max_size => 3})]).

directions() ->
    [[out, nouse_stdio], [in, nouse_stdio], [in, out, nouse_stdio], [out, use_stdio], [in, use_stdio], [in, out, use_stdio]].

%% Which descriptors a program has besides the first three: none that the machine has.
descriptors(Options) ->
    File = filename:join("/tmp", "swarmrt-ports-" ++ os:getpid()),
    Script = "for f in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && printf $f; done > " ++ File ++ ".new; mv " ++ File ++ ".new " ++ File,
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script]} | Options]),
    Found = written(File),
    catch port_close(Port),
    receive {'EXIT', Port, _} -> ok end,
    ok = file:delete(File),
    Found.

written(File) ->
    case file:read_file(File) of
        {ok, Found} -> Found;
        {error, enoent} -> timer:sleep(10), written(File)
    end.

monitored_by_name() ->
    Port = open_port({spawn, "cat"}, []),
    true = register(the_port, Port),
    Ref = monitor(port, the_port),
    Monitors = process_info(self(), monitors),
    true = port_close(Port),
    receive {'DOWN', Ref, port, Object, Reason} -> {Monitors, Object, Reason} end.

opened() ->
    Shell = {spawn_executable, "/bin/sh"},
    [{{spawn, "echo hi"}, [exit_status]}, {{spawn, "echo hi"}, [eof, binary]}, {{spawn, "echo hi"}, [in, exit_status]},
     {{spawn, "printf 'a\\nbcdefgh\\n'"}, [{line, 5}, exit_status]},
     {{spawn, "no_such_program"}, [exit_status, stderr_to_stdout]},
     {Shell, [{args, ["-c", "echo $0 $1 $X; pwd; exit 3", "n", "b c"]}, {env, [{"X", "yy"}, {"HOME", false}]}, {cd, "/tmp"}, exit_status]},
     {Shell, [{arg0, "zero"}, {args, ["-c", "echo $0"]}, exit_status, stderr_to_stdout]},
     {Shell, [{args, ["-c", "echo error >&2"]}, exit_status, stderr_to_stdout]},
     {Shell, [{args, ["-c", "kill -9 $$"]}, exit_status]},
     %% It is the program that fails where its folder is missing.
     {{spawn, "echo hi"}, [{cd, "/no/such/folder"}, exit_status]}, {Shell, [{cd, "/etc/passwd"}, exit_status]}, {Shell, [{args, ["-c", "echo hi"]}, {cd, ""}, eof]},
     {{spawn, "echo a"}, [hide, {parallelism, true}, {busy_limits_port, {10, 20}}, {busy_limits_msgq, disabled}, exit_status]}].

run(Name, Options) ->
    collect(open_port(Name, Options), []).

collect(Port, Sofar) ->
    receive
        {Port, {exit_status, Status}} -> {joined(lists:reverse(Sofar)), Status};
        {Port, eof} -> {joined(lists:reverse(Sofar)), eof};
        {Port, Message} -> collect(Port, [Message | Sofar])
    after 5000 -> {lists:reverse(Sofar), timeout}
    end.

%% What a program writes may come in more than one piece.
joined([{data, A}, {data, B} | Rest]) when is_list(A), is_list(B) -> joined([{data, A ++ B} | Rest]);
joined([One | Rest]) -> [One | joined(Rest)];
joined([]) -> [].

refusals() ->
    [{{spawn, ""}, []}, {{spawn, "cat"}, [no_such_option]}, {{spawn, "cat"}, [{packet, 3}]}, {{spawn, "cat"}, [{line, 0}]},
     {{spawn, "cat"}, [{packet, 2}, {line, 3}]}, {{spawn, "cat"}, [{line, 3}, {packet, 2}]}, {{spawn, "cat"}, [{args, ["x"]}]},
     {{spawn, "cat"}, [{env, [x]}]}, {{spawn, "cat"}, [{cd, 7}]}, {{spawn, "cat"}, [{parallelism, maybe_so}]}, {{spawn_executable, "/no/such/program"}, []},
     {{spawn_executable, "/etc/passwd"}, []}, {{no_such_kind, 1}, []}, {{spawn_driver, "no_such_driver"}, []}].

refused(Name, Options) -> try open_port(Name, Options) of Port -> port_close(Port), opened catch error:Reason -> Reason end.

packets(Size) ->
    Port = open_port({spawn, "cat"}, [{packet, Size}, binary]),
    true = port_command(Port, [<<"he">>, "llo"]),
    First = receive {Port, {data, Data}} -> Data end,
    Port ! {self(), {command, "again"}},
    Second = receive {Port, {data, More}} -> More end,
    Port ! {self(), close},
    {First, Second, receive {Port, closed} -> closed end, erlang:port_info(Port)}.

commands() ->
    Port = open_port({spawn, "cat"}, [stream]),
    Items = [erlang:port_info(Port, Item) || Item <- [name, connected, registered_name, monitors, parallelism, locking], Item =/= connected],
    Refused = [try port_command(Port, Data, Flags) catch error:Reason -> Reason end || {Data, Flags} <- [{"x", [no_such_flag]}, {"x", flags}, {"x", [force]}]],
    true = port_command(Port, "x", [nosuspend]),
    Data = receive {Port, {data, X}} -> X end,
    Port ! no_command,
    {Items, Refused, Data, receive {'EXIT', Port, Reason} -> Reason after 500 -> none end}.

ends() ->
    Port = open_port({spawn, "cat"}, []),
    register(a_port, Port),
    Monitor = monitor(port, Port),
    true = port_close(Port),
    Down = receive {'DOWN', Monitor, port, Port, Reason} -> Reason end,
    {Down, whereis(a_port), catch_reason(fun() -> port_close(Port) end), catch_reason(fun() -> port_command(Port, "x") end)}.

catch_reason(Fun) -> try Fun() catch _:Reason -> Reason end.
