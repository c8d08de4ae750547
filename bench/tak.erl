%% sequential: Takeuchi's function.
-module(tak).
-export([main/0]).
main() -> 7 = tak(18, 12, 6), 9 = tak(24, 16, 8), ok.
tak(X, Y, Z) when Y >= X -> Z;
tak(X, Y, Z) -> tak(tak(X - 1, Y, Z), tak(Y - 1, Z, X), tak(Z - 1, X, Y)).
