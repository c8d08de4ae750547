%% No process has another turn after halt/0, however long what ports have to write takes.
-module(after_halt).
-export([main/0]).

main() ->
    Port = open_port({spawn, "sleep 1; cat >/dev/null"}, []),
    true = port_command(Port, binary:copy(<<7>>, 1 bsl 20)),
    Pid = spawn(fun() -> receive go -> erlang:display(late) end end),
    erlang:send_after(200, Pid, go),
    io:format("halting~n"),
    halt().
