%% sequential: permutations and flips of lists.
-module(fannkuch).
-export([main/0]).
main() -> 22 = lists:max([flips(P, 0) || P <- perms(lists:seq(1, 8))]), ok.
perms([]) -> [[]];
perms(L) -> [[H | T] || H <- L, T <- perms(L -- [H])].
flips([1 | _], N) -> N;
flips([H | _] = L, N) -> flips(flip(H, L, []), N + 1).
flip(0, Rest, Acc) -> rev(Acc, Rest);
flip(N, [H | T], Acc) -> flip(N - 1, T, [H | Acc]).
rev(Acc, Rest) -> app(Acc, Rest).
app([], L) -> L;
app([H | T], L) -> [H | app(T, L)].
