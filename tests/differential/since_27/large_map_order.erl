%% The hash of maps and tables, and so the order in which large maps list their pairs.
-module(large_map_order).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    Terms = terms(),
    [io:format("~tw: ~w~n", [Term, erts_debug:get_internal_state({internal_hash, Term})]) || Term <- Terms],
    io:format("~w~n", [erts_debug:get_internal_state(hashmap_collision_bonanza)]),
    erts_debug:set_internal_state(available_internal_state, false),
    Numbers = maps:from_list([{N, N * N} || N <- lists:seq(-50, 50)]),
    Mixed = maps:from_list([{Term, at} || Term <- Terms]),
    Binaries = #{<<N:24>> => N || N <- lists:seq(1, 300)},
    [begin
         io:format("~w~n~w~n~w~n", [Map, [Key || Key := _ <- Map], maps:to_list(maps:iterator(Map))]),
         io:format("~w~n~w~n~w~n", [maps:to_list(Map), maps:keys(Map), maps:values(Map)]),
         io:format("~w~n", [erts_debug:map_info(Map)])
     end || Map <- [Numbers, Mixed, Binaries, maps:remove(7, Numbers), maps:merge(Numbers, Binaries)]],
    io:format("~p~n", [erlang:phash2([Numbers, Binaries])]),
    Table = ets:new(table, []),
    ets:insert(Table, [{Term} || Term <- [a, b, c, d, e, f, g | Terms]]),
    io:format("~w~n", [ets:tab2list(Table)]).

terms() ->
    Bits = [<<0:Size, 1:1>> || Size <- lists:seq(0, 140, 3)],
    Bytes = [binary:part(<<"The quick brown fox jumps over the lazy dog">>, 0, Size) || Size <- lists:seq(0, 40)],
    Shifted = [begin <<_:3, Rest/bits>> = <<5:3, Binary/binary>>, Rest end || Binary <- [<<"Fox">>, <<"jumping over">>]],
    Numbers = [0, 1, -1, 255, 256, 1 bsl 58, -(1 bsl 59), 1 bsl 59, 1 bsl 60, -(1 bsl 61), 1 bsl 64, -(1 bsl 64), 1 bsl 200, 0.0, -0.0, 1.5, -2.25, 1.0e300],
    Lists = [[], [1], "abc", "abcd", "abcdefghi", [1 | 2], [1.5, 2], [1000, 2000 | 3000], ["ab", [], "cdefg", 1.5 | 7.5], [[[[]]]], "ab" ++ [300, 1.5] ++ "cde"],
    Tuples = [{}, {1}, {{}, 1, {}}, {1, {}, 1}, {"a", <<"b">>, 1.5, {2, 3}}, {{{{{}}}}}],
    Maps = [#{}, #{1 => 2}, #{1 => {}, {2} => 3, "x" => <<"y">>}, #{#{} => #{1 => #{}}}, #{N => {N} || N <- lists:seq(1, 40)}],
    Bits ++ Bytes ++ Shifted ++ Numbers ++ Lists ++ Tuples ++ Maps.
