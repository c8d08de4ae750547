%% Integers have no limit.
-module(big_numbers).
-export([main/0]).

main() ->
    io:format("50! = ~b~n", [factorial(50)]),
    io:format("2^200 = ~b~n", [1 bsl 200]),
    io:format("fib(300) = ~b~n", [fib(300, 0, 1)]),
    Mersenne = (1 bsl 127) - 1,
    io:format("2^127-1 = ~.16b, divided by 10^9+7: ~b rest ~b~n", [Mersenne, Mersenne div 1000000007, Mersenne rem 1000000007]),
    io:format("~w~n", [[-7 div 2, -7 rem 2, -(1 bsl 70) bsr 3, (1 bsl 65) band -(1 bsl 64), bnot (1 bsl 66)]]).

factorial(0) -> 1;
factorial(N) -> N * factorial(N - 1).

fib(0, A, _) -> A;
fib(N, A, B) -> fib(N - 1, B, A + B).
