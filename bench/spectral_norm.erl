%% sequential: floats and integers mixed.
-module(spectral_norm).
-export([main/0]).
main() -> N = 300, power(10, N, lists:duplicate(N, 1.0)).
power(0, _, U) -> U;
power(K, N, U) -> power(K - 1, N, at_av(N, U)).
at_av(N, U) -> mul(N, fun(I, J) -> a(J, I) end, mul(N, fun a/2, U)).
mul(N, F, U) -> [row(F, I, 0, U, 0.0) || I <- lists:seq(0, N - 1)].
row(_, _, _, [], Acc) -> Acc;
row(F, I, J, [X | T], Acc) -> row(F, I, J + 1, T, Acc + F(I, J) * X).
a(I, J) -> 1.0 / ((I + J) * (I + J + 1) div 2 + I + 1).
