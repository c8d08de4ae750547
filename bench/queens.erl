%% sequential: ways to place eight to nine queens.
-module(queens).
-export([main/0]).
main() -> 352 = length(queens(9)), 724 = length(queens(10)), ok.
queens(N) -> place(N, N).
place(0, _) -> [[]];
place(K, N) -> [[Q | Qs] || Qs <- place(K - 1, N), Q <- lists:seq(1, N), safe(Q, Qs, 1)].
safe(_, [], _) -> true;
safe(Q, [Q1 | Qs], D) -> Q =/= Q1 andalso Q =/= Q1 + D andalso Q =/= Q1 - D andalso safe(Q, Qs, D + 1).
