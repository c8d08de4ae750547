%% sequential: floats to text, the shortest and with given digits.
-module(float_text).
-export([main/0]).
main() ->
    Floats = [math:sin(I) * math:pow(10, I rem 30 - 10) || I <- lists:seq(1, 1000)],
    repeat(60, Floats).
repeat(0, _) -> ok;
repeat(N, Floats) ->
    [_ = {float_to_list(F), float_to_binary(F, [short]), float_to_binary(F, [{decimals, 4}]), float_to_list(F, [{scientific, 8}]), io_lib:format("~w", [F])} || F <- Floats],
    repeat(N - 1, Floats).
