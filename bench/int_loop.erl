%% sequential: a loop over small integers.
-module(int_loop).
-export([main/0]).
main() -> loop(20000000, 0).
loop(0, Acc) -> Acc;
loop(N, Acc) -> loop(N - 1, (Acc + N * 3) band 16#ffffff).
