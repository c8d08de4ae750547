%% A large function that calls another, and comes back, only for numbers that a step divides.
-module(returns).
-export([run/2]).

run(N, Step) -> run(N, Step, 0).

run(0, _, Sum) -> Sum;
run(N, Step, Sum) when N rem Step =/= 0 -> run(N - 1, Step, Sum + 1);
run(N, Step, Sum0) ->
    Sum1 = Sum0 + digits(N + 1),
    Sum2 = Sum1 + digits(N + 2),
    Sum3 = Sum2 + digits(N + 3),
    Sum4 = Sum3 + digits(N + 4),
    Sum5 = Sum4 + digits(N + 5),
    Sum6 = Sum5 + digits(N + 6),
    Sum7 = Sum6 + digits(N + 7),
    Sum8 = Sum7 + digits(N + 8),
    Sum9 = Sum8 + digits(N + 9),
    Sum10 = Sum9 + digits(N + 10),
    Sum11 = Sum10 + digits(N + 11),
    Sum12 = Sum11 + digits(N + 12),
    Sum13 = Sum12 + digits(N + 13),
    Sum14 = Sum13 + digits(N + 14),
    Sum15 = Sum14 + digits(N + 15),
    Sum16 = Sum15 + digits(N + 16),
    Sum17 = Sum16 + digits(N + 17),
    Sum18 = Sum17 + digits(N + 18),
    Sum19 = Sum18 + digits(N + 19),
    Sum20 = Sum19 + digits(N + 20),
    Sum21 = Sum20 + digits(N + 21),
    Sum22 = Sum21 + digits(N + 22),
    Sum23 = Sum22 + digits(N + 23),
    Sum24 = Sum23 + digits(N + 24),
    run(N - 1, Step, Sum24 rem 1000).

digits(N) when N < 10 -> N;
digits(N) -> N rem 10 + digits(N div 10).
