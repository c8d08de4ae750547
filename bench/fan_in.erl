%% processes: a thousand send to one.
-module(fan_in).
-export([main/0]).
main() ->
    S = self(),
    [spawn(fun() -> [S ! {N, M} || M <- lists:seq(1, 200)] end) || N <- lists:seq(1, 1000)],
    collect(200000).
collect(0) -> ok;
collect(N) -> receive {_, _} -> collect(N - 1) end.
