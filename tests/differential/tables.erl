%% ETS: how tables are tuned, continuations of tables that are renamed, sizes of what is stored.
-module(tables).
-export([main/0]).

main() ->
    [tuned(Kind, Protection, Write, Counters) || Kind <- [set, ordered_set, bag], Protection <- [private, protected, public],
        Write <- [true, false, auto, {debug_hash_fixed_number_of_locks, 1}, {debug_hash_fixed_number_of_locks, 2049}, 7],
        Counters <- [none, true, false]],
    io:format("~p~n", [renamed()]),
    io:format("~p~n", [[{Name, size(Part, Part) =:= size(Part, binary:copy(Part))} || {Name, Part} <- parts()]]),
    io:format("~p~n", [missing_keys(#{1 => a, 2 => b, 3.0 => c})]).

tuned(Kind, Protection, Write, Counters) ->
    Options = [Kind, Protection, {write_concurrency, Write} | [{decentralized_counters, Counters} || Counters =/= none]],
    Made = try ets:new(table, Options) of
        Table -> [ets:info(Table, Item) || Item <- [write_concurrency, decentralized_counters, read_concurrency]]
    catch
        error:Reason -> Reason
    end,
    io:format("~w ~w~n", [Options, Made]).

%% A continuation goes on with the table, not with what has its name by then.
renamed() ->
    Fresh = fun() -> ets:new(names, [named_table]), ets:insert(names, [{N, x} || N <- lists:seq(1, 9)]) end,
    Fresh(),
    Spec = [{{'$1', x}, [], ['$1']}],
    {Some, Continuation} = ets:select(names, Spec, 4),
    ets:rename(names, others),
    Fresh(),
    {Rest, _} = ets:select(Continuation),
    ets:delete(others),
    {lists:usort(Some ++ Rest) =:= lists:sort(Some ++ Rest), catch_reason(fun() -> ets:select(Continuation) end)}.

catch_reason(Fun) -> try Fun() catch _:Reason -> Reason end.

parts() ->
    Long = list_to_binary(lists:seq(1, 60)),
    <<_:3/binary, Whole:29/binary, _/binary>> = Long,
    <<_:5, Bits:77/bits, _/bits>> = Long,
    [{whole, Whole}, {bits, <<Bits:72/bits>>}].

%% The words of a table with the part, or with the copy of it.
size(_, Stored) ->
    Table = ets:new(table, []),
    ets:insert(Table, {key, Stored}),
    ets:info(Table, memory).

%% Of several keys that are missing the error names the first one, in the order of maps.
missing_keys(Map) ->
    [catch_reason(fun() -> Map#{42.0 := v, 42 := v} end),
     catch_reason(fun() -> Map#{z := v, 7 := v, b := v} end),
     catch_reason(fun() -> Map#{1 := v, "text" := v, {tuple} := v} end)].
