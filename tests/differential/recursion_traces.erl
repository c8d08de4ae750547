%% Stack traces of functions that call themselves: the same place several times in a row is listed once.
-module(recursion_traces).
-export([main/0]).

main() ->
    show(fun() -> count(10) end),
    show(fun() -> [even(X) || X <- [2, 4, 6, 7]] end),
    show(fun() -> ping(6) end),
    show(fun() -> lists:map(fun(X) -> lists:map(fun(Y) -> X + Y end, [1, 2, a]) end, [1, 2]) end),
    io:format("~p~n", [deep(5)]).

show(F) ->
    try F() of
        R -> io:format("~p~n", [R])
    catch
        C:R:S -> io:format("~p ~p~n~p~n", [C, R, [{M, F1, if is_list(A) -> length(A); true -> A end} || {M, F1, A, _} <- S, M =/= erl_eval, M =/= init]])
    end.

count(0) -> error(done);
count(N) -> 1 + count(N - 1).

even(X) when X rem 2 =:= 0 -> X.

ping(0) -> error(done);
ping(N) -> 1 + pong(N - 1).
pong(0) -> error(done);
pong(N) -> 2 + ping(N - 1).

deep(0) ->
    {current_stacktrace, S} = process_info(self(), current_stacktrace),
    [length([F || {?MODULE, F, _, _} <- S])];
deep(N) -> [N | deep(N - 1)].
