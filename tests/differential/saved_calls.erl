%% The process flag `save_calls`: the last calls of other modules, of the process itself and of another.
-module(saved_calls).
-export([main/0, remote/1, last/1, applied/2]).

main() ->
    io:format("~p~n", [[catch_reason(fun() -> process_flag(save_calls, Bad) end) || Bad <- [-1, 10_001, a]]]),
    Test = self(),
    run(fun own/0),
    run(fun messages/0),
    Other = spawn_link(fun() -> loop(Test) end),
    io:format("~p~n", [process_info(Other, last_calls)]),
    io:format("~p~n", [[process_flag(Other, save_calls, Count) || Count <- [3, 5, 5]]]),
    [begin Other ! {go, N}, receive {done, N} -> ok end end || N <- [1, 2]],
    io:format("~p~n", [process_info(Other, last_calls)]),
    io:format("~p~n", [[process_flag(Other, save_calls, 0), process_info(Other, last_calls)]]),
    io:format("~p~n", [catch_reason(fun() -> process_flag(Other, save_calls, 10_001) end)]).

run(Fun) ->
    {_, Ref} = spawn_monitor(Fun),
    receive {'DOWN', Ref, process, _, Reason} -> io:format("~p~n", [Reason]) end.

own() ->
    Before = process_flag(save_calls, 6),
    erlang:yield(),
    ?MODULE:remote(1),
    local(2),
    apply(id(?MODULE), id(applied), id([1, 2])),
    F = fun ?MODULE:last/1,
    (id(F))(3),
    _ = erlang:crc32(id(<<"abc">>)),
    Info = process_info(self(), last_calls),
    exit({Before, Info, process_flag(save_calls, 100), process_info(self(), last_calls), process_flag(save_calls, 0), process_info(self(), last_calls)}).

messages() ->
    process_flag(save_calls, 7),
    self() ! hello,
    receive hello -> ok end,
    receive nothing -> ok after 1 -> ok end,
    ?MODULE:remote(4),
    exit(catch deeper()).

deeper() ->
    ?MODULE:remote(5),
    throw(process_info(self(), last_calls)).

loop(Test) ->
    receive {go, N} -> ?MODULE:remote(N), Test ! {done, N} end,
    loop(Test).

local(N) -> N + 1.
remote(N) -> ?MODULE:last(N + 1).
last(N) -> N.
applied(A, B) -> {A, B}.
id(X) -> X.
catch_reason(F) -> try F() catch C:R -> {C, R} end.
