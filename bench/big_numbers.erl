%% sequential: factorials, and Fibonacci numbers of 20,000 digits.
-module(big_numbers).
-export([main/0]).
main() ->
    F = factorial(3000, 1),
    9131 = length(integer_to_list(F)),
    1 = quotients(3000, F),
    %% The first Fibonacci number with 20,000 digits.
    N = 95694,
    A = fib(N, 0, 1),
    B = fast(N),
    A = B,
    Digits = integer_to_binary(A),
    20000 = byte_size(Digits) + missing(Digits),
    A = binary_to_integer(Digits),
    ok.
%% Digits that lack up to 20,000: none or one.
missing(Digits) -> max(0, min(1, 20000 - byte_size(Digits))).
factorial(0, P) -> P;
factorial(N, P) -> factorial(N - 1, P * N).
quotients(0, F) -> F;
quotients(N, F) -> 0 = F rem N, quotients(N - 1, F div N).
fib(0, A, _) -> A;
fib(N, A, B) -> fib(N - 1, B, A + B).
%% By doubling: F(2k) = F(k) (2 F(k+1) - F(k)), F(2k+1) = F(k)^2 + F(k+1)^2.
fast(N) -> {A, _} = pair(N), A.
pair(0) -> {0, 1};
pair(N) ->
    {A, B} = pair(N div 2),
    C = A * (2 * B - A),
    D = A * A + B * B,
    case N rem 2 of 0 -> {C, D}; 1 -> {D, C + D} end.
