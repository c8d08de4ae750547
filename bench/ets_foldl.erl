%% sequential: ets:foldl/3 over a set and an ordered set.
-module(ets_foldl).
-export([main/0]).
-define(KEYS, 40000).
main() -> [fold(Type) || Type <- [set, ordered_set]], ok.
fold(Type) ->
    Table = ets:new(table, [Type]),
    [ets:insert(Table, {{key, N}, N, "text"}) || N <- lists:seq(1, ?KEYS)],
    Sum = ?KEYS * (?KEYS + 1) div 2,
    [Sum = ets:foldl(fun({_, N, _}, Total) -> N + Total end, 0, Table) || _ <- lists:seq(1, 10)],
    ets:delete(Table).
