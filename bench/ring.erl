%% processes: a ring of 10,000.
-module(ring).
-export([main/0]).
main() ->
    S = self(),
    F = lists:foldl(fun(_, N) -> spawn(fun() -> member(N) end) end, S, lists:seq(1, 10000)),
    laps(F, 30), F ! stop, receive stop -> ok end.
laps(_, 0) -> ok;
laps(F, N) -> F ! token, receive token -> laps(F, N - 1) end.
member(N) -> receive token -> N ! token, member(N); stop -> N ! stop end.
