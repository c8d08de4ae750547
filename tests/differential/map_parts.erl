%% What large maps are made of, as erts_debug:map_info/1 tells.
-module(map_parts).
-export([main/0]).

main() ->
    [io:format("~p: ~w~n", [Count, erts_debug:map_info(maps:from_list([{Key, Key} || Key <- lists:seq(1, Count)]))])
     || Count <- [33, 100, 1000, 20000]],
    [io:format("~p~n", [try erts_debug:map_info(Map) catch error:Reason -> Reason end]) || Map <- [#{a => 1}, #{}, no_map]].
