%% What is sent behind an exit signal that ends a process finds no process.
-module(behind_an_exit).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    io:format("~p~n", [lists:usort([monitored(kill) || _ <- lists:seq(1, 300)])]),
    io:format("~p~n", [lists:usort([monitored(shutdown) || _ <- lists:seq(1, 300)])]),
    io:format("~p~n", [lists:usort([linked() || _ <- lists:seq(1, 300)])]),
    io:format("~p~n", [lists:usort([before() || _ <- lists:seq(1, 300)])]),
    io:format("~p~n", [lists:usort([asked() || _ <- lists:seq(1, 300)])]).

sleeper() -> spawn(fun() -> receive after infinity -> ok end end).

monitored(Reason) ->
    P = sleeper(),
    exit(P, Reason),
    M = monitor(process, P),
    receive {'DOWN', M, process, P, Why} -> Why end.

linked() ->
    P = sleeper(),
    exit(P, kill),
    link(P),
    receive {'EXIT', P, Why} -> Why end.

before() ->
    P = sleeper(),
    M = monitor(process, P),
    exit(P, kill),
    receive {'DOWN', M, process, P, Why} -> Why end.

asked() ->
    P = sleeper(),
    exit(P, kill),
    async = garbage_collect(P, [{async, r}]),
    Collected = receive {garbage_collect, r, Answer} -> Answer end,
    {is_process_alive(P), process_info(P), Collected}.
