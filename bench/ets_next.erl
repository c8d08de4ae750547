%% sequential: ets:lookup/2 and ets:next/2 in turn through an ordered table.
-module(ets_next).
-export([main/0]).
-define(KEYS, 40000).
main() ->
    Table = ets:new(table, [ordered_set]),
    [ets:insert(Table, {(N * 7919) rem ?KEYS, N}) || N <- lists:seq(1, ?KEYS)],
    repeat(10, Table).
repeat(0, Table) -> ets:delete(Table), ok;
repeat(N, Table) -> ?KEYS = walk(ets:first(Table), Table, 0), repeat(N - 1, Table).
walk('$end_of_table', _, Count) -> Count;
walk(Key, Table, Count) ->
    [{Key, _}] = ets:lookup(Table, Key),
    walk(ets:next(Table, Key), Table, Count + 1).
