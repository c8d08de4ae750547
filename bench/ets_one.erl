%% sequential: an ETS table used by one process.
-module(ets_one).
-export([main/0]).
main() ->
    T = ets:new(t, [set]), O = ets:new(o, [ordered_set]),
    fill(100000, T), look(100000, T), fill(30000, O), look(30000, O).
fill(0, _) -> ok; fill(N, T) -> ets:insert(T, {N, value, N * 2}), fill(N - 1, T).
look(0, _) -> ok; look(N, T) -> [{N, value, _}] = ets:lookup(T, N), look(N - 1, T).
