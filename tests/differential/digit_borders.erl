%% Sums, differences and products around the ends of small integers and of one, two and three digits of 64 bits.
-module(digit_borders).
-export([main/0]).

main() ->
    Borders = [1 bsl Bits || Bits <- [0, 58, 60, 61, 62, 63, 64, 65, 126, 127, 128, 191, 192]],
    Numbers = [0 | lists:append([[B - 1, B, B + 1, -B + 1, -B, -B - 1] || B <- Borders])],
    Results = [{A + B, A - B, A * B} || A <- Numbers, B <- Numbers],
    [io:format("~p~n", [result(A)]) || A <- Numbers],
    io:format("~p~n~p~n", [length(Results), erlang:phash2(Results, 1 bsl 32)]),
    io:format("~p~n", [[R || {A, _, B} = R <- Results, abs(A) < 100, abs(B) < 1000]]),
    io:format("~p~n", [[{A, B} || A <- Numbers, B <- Numbers, (A + B) - B =/= A orelse (A - B) + B =/= A]]),
    Texts = ["", "-", "+", "12x", "-000", "+7", "zz", "999999999999", "9999999999999", "-1152921504606846977", "1" ++ lists:duplicate(60, $0), [300], [a], "1" ++ b],
    io:format("~p~n", [[catch_reason(fun() -> list_to_integer(Text) end) || Text <- Texts]]),
    io:format("~p~n", [[catch_reason(fun() -> list_to_integer(Text, 36) end) || Text <- Texts]]).

result(A) -> {A, A + A, A - 1 + A, -A - A, A * A}.

catch_reason(F) -> try F() catch Class:Reason -> {Class, Reason} end.
