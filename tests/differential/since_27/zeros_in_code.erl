%% Both zeros under patterns and comparisons in code that becomes hot.
-module(zeros_in_code).
-export([main/0]).
zeros([], S) -> S;
zeros([X | T], {X, N}) -> zeros(T, {-X, N + 1});
zeros([X | T], {Y, N}) when X == Y -> zeros(T, {Y, N + 100});
zeros([X | T], {_, N}) -> zeros(T, {X * 0, N}).
z2(X, {X, N}) -> {same,N};
z2(_, _) -> no.
main() -> [io:format("~p~n",[lists:usort([zeros(L,{0.0,0}) || _ <- lists:seq(1,2000)])]) || L <- [[-0.0],[0.0],[0.0,0.0],[0.0,-0.0,0.0]]],
 io:format("~p~n",[[lists:usort([z2(X,{Y,1}) || _ <- lists:seq(1,2000)]) || X <- [0.0,-0.0], Y <- [0.0,-0.0]]]).
