%% sequential: taking a binary apart.
-module(binary_parse).
-export([main/0]).
main() ->
    Bin = binary:copy(<<1:8, 5:16, "hello", 2:8, 3.5/float, 3:8, 77:32/little>>, 20000),
    [60000 = parse(Bin, 0) || _ <- lists:seq(1, 20)], [bytes(Bin, 0) || _ <- lists:seq(1, 10)], ok.
parse(<<1:8, L:16, _:L/binary, R/binary>>, N) -> parse(R, N + 1);
parse(<<2:8, _/float, R/binary>>, N) -> parse(R, N + 1);
parse(<<3:8, _:32/little, R/binary>>, N) -> parse(R, N + 1);
parse(<<>>, N) -> N.
bytes(<<B, R/binary>>, S) -> bytes(R, S + B);
bytes(<<>>, S) -> S.
