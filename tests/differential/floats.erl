%% Rows of float operations of which one in the middle is too large, or divided by what is: which of them raises, and where.
%% Words of floats at the borders of what words hold.
-module(floats).
-export([main/0]).

main() ->
    [io:format("~w~n", [lists:usort([outcome(F, A, B) || _ <- lists:seq(1, 400)])]) ||
        F <- [fun sums/2, fun products/2, fun quotients/2, fun negated/2, fun twice/2, fun stored/2],
        A <- [1.5, 1.0e154, -1.3e154, 1.0e200, 1.7e308, 0.0, -0.0, 1.0e-200], B <- [2.0, 1.0e160, -1.0e308, 0.0, 1.0e-300]],
    io:format("~w~n", [[border(Sign * math:pow(2, N) * Factor) || N <- [-1022, -300, -257, -256, -255, -254, -1, 0, 1, 255, 256, 257, 300, 1023],
        Sign <- [1, -1], Factor <- [1.0, 1.0000000000000002, 1.5]]]),
    io:format("~w~n", [[border(F) || F <- [0.0, -0.0, 5.0e-324, 1.7976931348623157e308, 1.727233711018889e-77, 1.7272337110188893e-77, 1.72723371101889e-77]]]).

outcome(F, A, B) ->
    try F(A, B)
    catch error:Reason:Stack -> {Reason, [{Function, proplists:get_value(line, Where)} || {floats, Function, _, Where} <- Stack]}
    end.

sums(A, B) when is_float(A), is_float(B) ->
    C = A * A,
    D = C * B,
    E = D + C,
    F = E - D,
    F + A.

products(A, B) when is_float(A), is_float(B) ->
    C = A * B,
    D = C * 0.0,
    E = D * A,
    E + B.

quotients(A, B) when is_float(A), is_float(B) ->
    C = B * B,
    D = A / C,
    E = 1.0 / D,
    F = C / E,
    F + 1.0.

negated(A, B) when is_float(A), is_float(B) ->
    C = -(A * A),
    D = -C,
    E = D - B,
    1.0 / (E * B).

twice(A, B) when is_float(A), is_float(B) ->
    C = A * A,
    D = 1.0 / C,
    E = C * D,
    {D, E + B}.

stored(A, B) when is_float(A), is_float(B) ->
    C = A * A,
    D = C + B,
    {C, D, [C - D, D * B]}.

%% In and out of words, by way of lists, tuples and binaries.
border(F) ->
    [G] = lists:map(fun(X) -> X * 1.0 end, [F]),
    <<H/float>> = <<G/float>>,
    {G, H == F, H =:= F, G + 0.0, -G, abs(G), G * 0.5, erlang:phash2(G), float_to_list(G)}.
