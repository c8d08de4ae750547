%% Literal keys looked for at one place in maps of changing shapes: other keys, other sizes, large maps, no maps.
-module(map_shapes).
-export([main/0]).

main() ->
    Shapes = [#{a => 1}, #{a => 1, b => 2}, #{0 => z, a => 1, b => 2}, #{b => 2}, #{}, no_map, {a, 1},
              #{a => x, b => y, c => z, d => w, 1.0 => v, "a" => u},
              maps:from_list([{N, N} || N <- lists:seq(1, 31)] ++ [{a, last}]),
              maps:from_list([{N, N} || N <- lists:seq(1, 100)] ++ [{a, large}, {b, large}]),
              maps:from_list([{N, N} || N <- lists:seq(1, 100)]),
              #{-1 => a, 0 => b, 1 => c}, #{1 => a, -1 => c}],
    Rounds = lists:append(lists:duplicate(300, lists:zip(lists:seq(1, length(Shapes)), Shapes))),
    [io:format("~p~n", [lists:usort([{Number, F(Shape)} || {Number, Shape} <- Rounds])])
     || F <- [fun one/1, fun two/1, fun numbers/1, fun fails/1, fun into_itself/1]].

one(#{a := A}) -> {found, A};
one(#{b := B}) -> {second, B};
one(Other) when is_map(Other) -> {map, map_size(Other)};
one(_) -> no_map.

two(Map) ->
    case Map of
        #{a := A, b := B} -> [A, B];
        #{b := B} -> B;
        _ -> none
    end.

numbers(#{-1 := Minus, 1 := Plus}) -> {Minus, Plus};
numbers(#{0 := Zero}) -> Zero;
numbers(_) -> none.

fails(Map) ->
    try
        #{b := B, a := A} = Map,
        {A, B}
    catch
        error:{badmatch, Map} -> badmatch
    end.

%% The value takes the place of the map.
into_itself(Map) -> into_itself(Map, 3).

into_itself(Map, 0) -> Map;
into_itself(#{a := Map}, N) -> into_itself(#{a => Map, N => N}, N - 1);
into_itself(Other, _) when is_map(Other) -> {map, map_size(Other)};
into_itself(Other, _) -> Other.
