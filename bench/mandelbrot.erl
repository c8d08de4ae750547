%% sequential: floats.
-module(mandelbrot).
-export([main/0]).
main() -> N = 400, lists:sum([row(Y, N) || Y <- lists:seq(0, N - 1)]).
row(Y, N) -> lists:sum([iterate(2.0 * X / N - 1.5, 2.0 * Y / N - 1.0, 0.0, 0.0, 50) || X <- lists:seq(0, N - 1)]).
iterate(_, _, _, _, 0) -> 1;
iterate(Cr, Ci, Zr, Zi, N) ->
    Zr2 = Zr * Zr, Zi2 = Zi * Zi,
    if Zr2 + Zi2 > 4.0 -> 0;
       true -> iterate(Cr, Ci, Zr2 - Zi2 + Cr, 2.0 * Zr * Zi + Ci, N - 1)
    end.
