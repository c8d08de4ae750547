%% hibernate/0: what others see of a process that waits in it, by a call in the middle and by a last one.
-module(hibernating_in_place).
-export([main/0]).

main() ->
    [shown(spawn(Fun)) || Fun <- [
        fun() -> erlang:hibernate(), exit(woken) end,
        fun() -> erlang:hibernate() end,
        fun() -> apply(erlang, hibernate, []) end,
        fun() -> List = lists:seq(1, 1000), [erlang:hibernate() || _ <- [1, 2, 3]], exit({sum, lists:sum(List)}) end,
        fun() -> List = lists:seq(1, 1000), erlang:hibernate(), exit({sum, lists:sum(List)}) end,
        fun() -> exit({deep, deep(1000)}) end,
        fun() -> receive after infinity -> ok end end]].

deep(0) -> lists:seq(1, 1000), erlang:hibernate(), 0.0;
deep(N) -> Half = N * 0.5, Half + deep(N - 1).

shown(P) ->
    timer:sleep(300),
    {status, Status} = process_info(P, status),
    [{status, Again}, {total_heap_size, Size}] = process_info(P, [status, total_heap_size]),
    {current_function, Function} = process_info(P, current_function),
    M = monitor(process, P),
    P ! wake,
    receive {'DOWN', M, _, _, Reason} -> ok after 300 -> Reason = alive end,
    io:format("~p~n", [{Status, Again, Function, Size < 300, Reason}]).
