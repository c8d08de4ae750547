%% Many processes count in one ETS table.
-module(ets_counter).
-export([main/0]).

main() ->
    Table = ets:new(counters, [public, set, {write_concurrency, true}]),
    Workers = [spawn_monitor(fun() -> count(Table, Name, 1000) end) || Name <- [apples, pears, plums], _ <- lists:seq(1, 10)],
    [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Workers],
    io:format("~p~n", [lists:sort(ets:tab2list(Table))]).

count(_, _, 0) -> ok;
count(Table, Name, N) ->
    ets:update_counter(Table, Name, 1, {Name, 0}),
    count(Table, Name, N - 1).
