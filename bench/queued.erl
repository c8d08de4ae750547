%% processes: allocating with a million messages waiting. Only the work is measured, not the filling.
-module(queued).
-export([main/0]).
main() ->
    fill(1000000),
    T0 = erlang:monotonic_time(microsecond),
    work(20000),
    {measured, erlang:monotonic_time(microsecond) - T0}.
fill(0) -> ok;
fill(N) -> self() ! {queued, N}, fill(N - 1).
work(0) -> ok;
work(N) ->
    S = self(), R = make_ref(),
    spawn(fun() -> S ! {R, lists:seq(1, 20)} end),
    receive {R, L} -> 20 = length(L), work(N - 1) end.
