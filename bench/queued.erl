%% processes: allocating with a million messages waiting.
-module(queued).
-export([main/0]).
main() ->
    fill(1000000),
    work(20000).
fill(0) -> ok;
fill(N) -> self() ! {queued, N}, fill(N - 1).
work(0) -> ok;
work(N) ->
    S = self(), R = make_ref(),
    spawn(fun() -> S ! {R, lists:seq(1, 20)} end),
    receive {R, L} -> 20 = length(L), work(N - 1) end.
