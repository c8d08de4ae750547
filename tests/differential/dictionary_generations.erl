%% A large dictionary across collections: pairs that are new, changed and taken out, with garbage in between.
-module(dictionary_generations).
-export([main/0]).

main() ->
    Steps = lists:seq(1, 60_000),
    lists:foldl(fun step/2, 7, Steps),
    Sum = lists:sum([erlang:phash2(Pair) || Pair <- get()]),
    io:format("~p pairs, ~p~n", [length(get()), Sum]),
    true = lists:all(fun({Key, Value}) -> get(Key) =:= Value end, get()),
    erlang:garbage_collect(),
    Sum = lists:sum([erlang:phash2(Pair) || Pair <- get()]),
    ok.

step(N, Random) ->
    Key = {key, Random rem 5_000},
    case Random rem 7 of
        0 -> erase(Key);
        _ -> put(Key, [N, integer_to_list(N), {Random, N * 1.0e90}])
    end,
    _ = lists:seq(1, Random rem 50),
    (Random * 1_103_515_245 + 12_345) band 16#7fffffff.
