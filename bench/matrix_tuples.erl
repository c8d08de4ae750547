%% sequential: matrix multiplication, each row a tuple.
-module(matrix_tuples).
-export([main/0]).
-define(SIZE, 280).
%% Row I of A holds I + J, row I of B is the identity times I: their product is known.
main() ->
    A = matrix(fun(I, J) -> I + J end),
    B = matrix(fun(I, I) -> I; (_, _) -> 0 end),
    C = multiply(A, B),
    D = multiply(C, transposed(A)),
    (37 + 91) * 91 = element(91, element(37, C)),
    Expected = lists:sum([(37 + J) * J * (91 + J) || J <- lists:seq(1, ?SIZE)]),
    Expected = element(91, element(37, D)),
    ok.
matrix(F) -> list_to_tuple([list_to_tuple([F(I, J) || J <- lists:seq(1, ?SIZE)]) || I <- lists:seq(1, ?SIZE)]).
transposed(M) -> matrix(fun(I, J) -> element(I, element(J, M)) end).
multiply(A, B) -> rows(?SIZE, A, B, []).
rows(0, _, _, Rows) -> list_to_tuple(Rows);
rows(I, A, B, Rows) -> rows(I - 1, A, B, [cells(?SIZE, element(I, A), B, []) | Rows]).
cells(0, _, _, Cells) -> list_to_tuple(Cells);
cells(J, Row, B, Cells) -> cells(J - 1, Row, B, [dot(?SIZE, Row, B, J, 0) | Cells]).
dot(0, _, _, _, Sum) -> Sum;
dot(K, Row, B, J, Sum) -> dot(K - 1, Row, B, J, Sum + element(K, Row) * element(J, element(K, B))).
