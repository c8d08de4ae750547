%% sequential: lists:sort and a quicksort of our own.
-module(sort).
-export([main/0]).
main() ->
    L = random(100000, 42, []),
    Sorted = lists:sort(L),
    Sorted = qsort(L),
    Sorted = lists:reverse(lists:sort(fun(A, B) -> A > B end, L)),
    ok.
random(0, _, Acc) -> Acc;
random(N, S, Acc) -> S1 = (S * 1103515245 + 12345) band 16#7fffffff, random(N - 1, S1, [S1 | Acc]).
qsort([]) -> [];
qsort([P | T]) -> qsort([X || X <- T, X < P]) ++ [P | qsort([X || X <- T, X >= P])].
