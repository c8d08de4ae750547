%% concurrent: messages to a process that hibernates after each.
-module(hibernate).
-export([main/0, loop/2]).
main() ->
    Server = spawn_link(fun() -> loop(lists:seq(1, 200), 0) end),
    calls(60000, Server).
calls(0, Server) -> unlink(Server), exit(Server, kill), ok;
calls(N, Server) ->
    Server ! {call, self()},
    receive {reply, _} -> calls(N - 1, Server) end.
loop(State, N) ->
    receive
        {call, From} -> From ! {reply, N}, erlang:hibernate(?MODULE, loop, [State, N + 1])
    end.
