%% A map that is merged into a literal with the same keys has the literal's from then on, in place of its own.
-module(merged_maps).
-export([main/0]).

main() ->
    Literal = #{"hi" => hello, int => 3, <<"key">> => value},
    Made = maps:put(int, 4, maps:remove(int, Literal)),
    Keys = fun(Map) -> erts_internal:map_to_tuple_keys(Map) end,
    Before = erts_debug:same(Keys(Made), Keys(Literal)),
    Merged = maps:merge(Literal, Made),
    garbage_collect(),
    io:format("~p~n", [[Before, erts_debug:same(Merged, Made), erts_debug:same(Keys(Made), Keys(Literal)), Made]]),
    io:format("~p~n", [[erts_debug:same(maps:merge(Made, Literal), Literal), maps:merge(#{"hi" => 1, <<"key">> => 2}, Made)]]).
