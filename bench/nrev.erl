%% sequential: naive reverse.
-module(nrev).
-export([main/0]).
main() -> L = lists:seq(1, 1000), repeat(200, L).
repeat(0, _) -> ok;
repeat(N, L) -> nrev(L), repeat(N - 1, L).
nrev([]) -> [];
nrev([H | T]) -> app(nrev(T), [H]).
app([], L) -> L;
app([H | T], L) -> [H | app(T, L)].
