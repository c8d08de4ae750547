%% A default that cannot be an object is refused before all else, whether the key exists or not.
-module(update_defaults).
-export([main/0]).

main() ->
    [begin
        T = ets:new(t, [Type, {keypos, 2}]),
        ets:insert(T, {0, key}),
        [io:format("~p~n", [{Type, Function, Key, Change, Default, tried(Function, [T, Key, Change, Default])}])
            || {Function, Changes} <- [{update_counter, [1, {1, 1}, {7, 1}, {1, x}, not_a_change, {2, 1}, []]},
                   {update_element, [{1, x}, {7, x}, not_a_change, {2, 1}, []]}],
               Key <- [key, other], Change <- Changes, Default <- [{0, x}, {0}, {}, none, [], {0, x, 1}]],
        io:format("~p~n", [lists:sort(ets:tab2list(T))])
    end || Type <- [set, ordered_set, bag]].

tried(Function, Arguments) ->
    try apply(ets, Function, Arguments)
    catch error:Reason:Stack ->
        [{_, _, _, Info} | _] = Stack,
        {Reason, maps:get(cause, proplists:get_value(error_info, Info, #{}), none)}
    end.
