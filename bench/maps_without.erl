%% sequential: maps:without/2 and maps:to_list/1 on small and large maps.
-module(maps_without).
-export([main/0]).
main() ->
    Small = maps:from_list([{I, I} || I <- lists:seq(1, 20)]),
    Large = maps:from_list([{{key, I}, I} || I <- lists:seq(1, 1000)]),
    without(60000, [3, 7, 30], Small),
    without(3000, [{key, I} || I <- lists:seq(1, 1000, 50)], Large),
    to_list(100000, Small),
    to_list(2000, Large).
without(0, _, _) -> ok;
without(N, Keys, Map) -> _ = maps:without(Keys, Map), without(N - 1, Keys, Map).
to_list(0, _) -> ok;
to_list(N, Map) -> [_ | _] = maps:to_list(Map), to_list(N - 1, Map).
