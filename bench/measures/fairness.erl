%% How late a process that asks for the time every millisecond is, beside 1,000 that are busy.
-module(fairness).
-export([main/0]).
main() ->
    Busy = [spawn(fun busy/0) || _ <- lists:seq(1, 1000)],
    Late = sample(1000, []),
    [exit(P, kill) || P <- Busy],
    S = lists:sort(Late),
    io:format("median ~b us, 99th percentile ~b us, max ~b us~n", [lists:nth(500, S), lists:nth(990, S), lists:last(S)]).
busy() -> busy(0).
busy(N) -> busy(N + 1).
sample(0, A) -> A;
sample(N, A) ->
    T0 = erlang:monotonic_time(microsecond),
    receive after 1 -> ok end,
    T1 = erlang:monotonic_time(microsecond),
    sample(N - 1, [T1 - T0 - 1000 | A]).
