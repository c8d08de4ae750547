%% sequential: matrix multiplication, each row a list.
-module(matrix_lists).
-export([main/0]).
-define(SIZE, 280).
main() ->
    A = [[I + J || J <- lists:seq(1, ?SIZE)] || I <- lists:seq(1, ?SIZE)],
    B = [[if I =:= J -> I; true -> 0 end || J <- lists:seq(1, ?SIZE)] || I <- lists:seq(1, ?SIZE)],
    C = multiply(A, B),
    D = multiply(C, transposed(A)),
    (37 + 91) * 91 = lists:nth(91, lists:nth(37, C)),
    Expected = lists:sum([(37 + J) * J * (91 + J) || J <- lists:seq(1, ?SIZE)]),
    Expected = lists:nth(91, lists:nth(37, D)),
    ok.
multiply(A, B) -> Columns = transposed(B), [[dot(Row, Column, 0) || Column <- Columns] || Row <- A].
transposed([[] | _]) -> [];
transposed(Rows) -> [[hd(Row) || Row <- Rows] | transposed([tl(Row) || Row <- Rows])].
dot([], [], Sum) -> Sum;
dot([A | As], [B | Bs], Sum) -> dot(As, Bs, Sum + A * B).
