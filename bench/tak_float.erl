%% sequential: Takeuchi's function over floats.
-module(tak_float).
-export([main/0]).
main() -> 7.0 = tak(18.0, 12.0, 6.0), lists:foreach(fun(_) -> 9.0 = tak(24.0, 16.0, 8.0) end, lists:seq(1, 20)).
tak(X, Y, Z) when Y >= X -> Z;
tak(X, Y, Z) -> tak(tak(X - 1.0, Y, Z), tak(Y - 1.0, Z, X), tak(Z - 1.0, X, Y)).
