%% sequential: doubly recursive Fibonacci numbers.
-module(fib).
-export([main/0]).
main() -> 832040 = fib(30), 2178309 = fib(32), ok.
fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).
