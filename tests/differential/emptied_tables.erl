%% Tables for concurrent writers that are emptied and filled again.
-module(emptied_tables).
-export([main/0]).

main() ->
    [io:format("~p ~p: ~p~n", [Type, Emptied, filled_again(Type, Emptied)])
        || Type <- [set, bag, duplicate_bag, ordered_set], Emptied <- [delete_all_objects, init_table]].

%% How many objects there are then, and how many keys find none.
filled_again(Type, Emptied) ->
    Table = ets:new(table, [Type, public, {write_concurrency, true}]),
    [ets:insert(Table, {N, old}) || N <- lists:seq(1, 4000)],
    empty(Table, Emptied),
    [ets:insert(Table, [{N, a}, {N, b}]) || N <- lists:seq(1, 4000)],
    Size = ets:info(Table, size),
    Missing = [N || N <- lists:seq(1, 4000), ets:lookup(Table, N) =:= []],
    [ets:delete_object(Table, {N, b}) || N <- lists:seq(1, 4000)],
    {Size, length(Missing), ets:info(Table, size), length(ets:tab2list(Table))}.

empty(Table, delete_all_objects) -> ets:delete_all_objects(Table);
empty(Table, init_table) -> ets:init_table(Table, fun(read) -> end_of_input; (close) -> ok end).
