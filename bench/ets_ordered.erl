%% sequential: ranges, neighbours and deletions in an ordered ETS table.
-module(ets_ordered).
-export([main/0]).
-define(KEYS, 40000).
main() -> lists:foreach(fun(_) -> round() end, lists:seq(1, 8)).
round() ->
    Table = ets:new(table, [ordered_set]),
    fill(?KEYS, Table),
    ?KEYS = ets:info(Table, size),
    Sum = ?KEYS * (?KEYS - 1) div 2,
    Sum = forwards(ets:first(Table), Table, 0),
    Sum = backwards(ets:last(Table), Table, 0),
    20000 = ranges(200, Table, 0),
    100 = length(ets:select(Table, [{{'$1', '$2'}, [{'>=', '$1', 100}, {'<', '$1', 200}], ['$2']}])),
    20000 = ets:select_delete(Table, [{{'$1', '_'}, [{'=:=', {'rem', '$1', 2}, 0}], [true]}]),
    20000 = ets:foldl(fun({K, _}, N) when K rem 2 =:= 1 -> N + 1 end, 0, Table),
    Table = take(ets:first(Table), Table),
    0 = ets:info(Table, size),
    ok.
fill(0, _) -> ok;
fill(N, Table) -> true = ets:insert(Table, {(N * 7919) rem ?KEYS, N}), fill(N - 1, Table).
forwards('$end_of_table', _, Sum) -> Sum;
forwards(K, Table, Sum) -> forwards(ets:next(Table, K), Table, Sum + K).
backwards('$end_of_table', _, Sum) -> Sum;
backwards(K, Table, Sum) -> backwards(ets:prev(Table, K), Table, Sum + K).
ranges(0, _, Count) -> Count;
ranges(N, Table, Count) -> ranges(N - 1, Table, Count + range(ets:next(Table, N * 150), N * 150 + 100, Table, 0)).
range(K, Last, Table, Count) when is_integer(K), K =< Last -> [{K, _}] = ets:lookup(Table, K), range(ets:next(Table, K), Last, Table, Count + 1);
range(_, _, _, Count) -> Count.
take('$end_of_table', Table) -> Table;
take(K, Table) -> [{K, _}] = ets:take(Table, K), take(ets:next(Table, K), Table).
