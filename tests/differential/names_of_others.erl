%% Names that one process gives another: each has one name, and each name is of one.
-module(names_of_others).
-export([main/0]).

main() ->
    P = spawn_link(fun() -> receive stop -> ok end end),
    Q = spawn_link(fun() -> receive stop -> ok end end),
    io:format("~p~n", [[t(fun() -> register(N, R) end) || {N, R} <- [{a, P}, {b, P}, {a, Q}, {b, Q}, {a, P}, {c, self()}, {d, self()}]]]),
    io:format("~p~n", [[whereis(N) =:= R || {N, R} <- [{a, P}, {b, Q}, {c, self()}, {d, undefined}]]]),
    io:format("~p~n", [[t(fun() -> unregister(a) end), t(fun() -> register(e, P) end), whereis(a), whereis(e) =:= P]]),
    io:format("~p~n", [[process_info(R, registered_name) || R <- [P, Q, self()]]]),
    io:format("~p~n", [t(fun() -> register(code_server_2, whereis(code_server)) end)]),
    Q ! stop,
    timer:sleep(50),
    io:format("~p~n", [[whereis(b), t(fun() -> register(b, P) end), t(fun() -> unregister(c) end), t(fun() -> register(b, self()) end)]]).

t(F) -> try F() catch C:E -> {C, E} end.
