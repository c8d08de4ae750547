%% processes: an ETS table used by many.
-module(ets_many).
-export([main/0]).
main() ->
    T = ets:new(t, [set, public, {write_concurrency, true}, {read_concurrency, true}]),
    Ps = [spawn_monitor(fun() -> work(P, 20000, T) end) || P <- lists:seq(1, 8)],
    [receive {'DOWN', R, process, _, normal} -> ok end || {_, R} <- Ps], ok.
work(_, 0, _) -> ok;
work(P, N, T) -> ets:insert(T, {{P, N rem 1000}, N}), ets:lookup(T, {P, N rem 500}), work(P, N - 1, T).
