%% Sets and bags list their objects in the order of OTP's hash, also where they are made for concurrent writers.
-module(table_order).
-export([main/0]).

main() ->
    Keys = lists:seq(1, 40) ++ [list_to_binary(integer_to_list(N)) || N <- lists:seq(1, 40)] ++
        [hello, world, 2.5, "list", <<"hello">>, <<"world">>, <<1:3>>, 1 bsl 100, self],
    Options = [[], [{write_concurrency, true}], [{write_concurrency, true}, {read_concurrency, true}]],
    [begin
         Table = ets:new(table, [Type, public | More]),
         [ets:insert(Table, {Key, 1}) || Key <- Keys],
         [ets:insert(Table, {Key, 2}) || Type =/= set, Key <- lists:seq(2, 40, 4)],
         io:format("~p ~w~n", [{Type, More}, all(Table)]),
         [ets:delete(Table, Key) || Key <- lists:seq(1, 40, 2)],
         ets:insert(Table, {new, 1}),
         io:format("~w~n", [all(Table)]),
         ets:delete_all_objects(Table),
         [ets:insert(Table, {Key, 0}) || Key <- lists:reverse(Keys)],
         io:format("~w~n", [all(Table)]),
         ets:delete(Table)
     end || Type <- [set, bag, duplicate_bag], More <- Options].

%% In all the ways in which a table is listed.
all(Table) ->
    [ets:tab2list(Table),
     ets:foldl(fun({Key, _}, Seen) -> [Key | Seen] end, [], Table),
     ets:select(Table, [{{'$1', '_'}, [], ['$1']}]),
     keys(Table, ets:first(Table)),
     [Slot || Slot <- lists:seq(0, 255), ets:slot(Table, Slot) =/= []]].

keys(_, '$end_of_table') -> [];
keys(Table, Key) -> [Key | keys(Table, ets:next(Table, Key))].
