%% Maps made of lists and of two maps, and lists without some elements, compared by hashes of what many random ones give.
-module(small_maps).
-export([main/0]).

main() ->
    rand:seed(exsss, {1, 2, 3}),
    Results = [results() || _ <- lists:seq(1, 100)],
    [io:format("~p ~p~n", [Column, erlang:phash2([element(Column, Result) || Result <- Results])])
     || Column <- lists:seq(1, tuple_size(hd(Results)))],
    io:format("~w~n", [[maps:from_list([{0.0, 1}, {-0.0, 2}]), maps:from_list([{[], 1}, {-0.0, 1}, {a, 1}, {0.0, 2}]),
                        maps:merge(#{-0.0 => 1, a => 1}, #{0.0 => 2, [] => 1}), [0.0, -0.0, 1] -- [-0.0], [1, 1.0, 2] -- [1.0]]]),
    [io:format("~p~n", [try maps:from_list(List) catch Class:Reason -> {Class, Reason} end])
     || List <- [[a], [{a}], [{a, 1} | b], x, [], [{a, 1}, {a, 2}], [{a, 1, 2}]]].

results() ->
    Pairs = [{key(), rand:uniform(5)} || _ <- lists:seq(1, rand:uniform(40) - 1)],
    Others = [{rand:uniform(60), Number} || Number <- lists:seq(1, rand:uniform(50) - 1)],
    {Keys, OtherKeys} = {[Key || {Key, _} <- Pairs], [Key || {Key, _} <- Others]},
    {Map, Other} = {maps:from_list(Pairs), maps:from_list(Others)},
    {sorted(Map), sorted(Other), sorted(maps:merge(Map, Other)), sorted(maps:merge(Other, Map)),
     sorted(maps:merge(Other, maps:from_list([{Key, y} || Key <- lists:sublist(OtherKeys, 5)]))),
     sorted(maps:from_keys(Keys, value)), map_size(Map), erts_debug:flat_size(Map),
     Keys -- lists:sublist(lists:reverse(Keys), 5), OtherKeys -- [1, 2, 3, 3, 60, a], Keys -- Keys, Keys -- OtherKeys}.

sorted(Map) -> lists:sort(maps:to_list(Map)).

key() -> lists:nth(rand:uniform(10), [a, b, 1, 2, 7.5, "x", {t, 1}, {t, 3}, <<"b">>, []]).
