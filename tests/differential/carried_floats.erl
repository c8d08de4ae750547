-module(carried_floats).
%% Floats that words do not hold, made in one round of a loop and put into a tuple in a later one.
-export([main/0]).
main() ->
    Sums = [run(N, 1.0e60 + N * 1.0e60) || N <- lists:seq(1, 3000)],
    io:format("~p ~p~n", [length(Sums), erlang:phash2(Sums)]).
run(N, A) ->
    %% A heap that is full at a different place each time.
    Pad = lists:seq(1, N rem 400),
    {R, S} = deep(N rem 7, A, Pad),
    {N, R, S, length(Pad)}.
deep(0, A, Pad) ->
    T = many(2, A, A, A, A, A, A, A, A),
    {T, length(Pad)};
deep(K, A, Pad) ->
    {T, L} = deep(K - 1, A, Pad),
    {T, L + K}.
many(0, A, B, C, D, E, F, G, H) -> {A, B, C, D, E, F, G, H};
many(N, A, B, C, D, E, F, G, H) ->
    many(N - 1, A * 1.5e60, B * 1.25e60, C * 1.75e60, D * 1.0e61, E * 2.0e60, F * 3.0e70, G * 4.5e60, H * 1.0e61).
