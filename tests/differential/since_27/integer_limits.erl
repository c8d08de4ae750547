%% The largest integer, which OTP 27 made smaller, and floats nearest to large integers.
-module(integer_limits).
-export([main/0]).

main() ->
    Max = erlang:system_info(max_integer),
    say([result(fun() -> Max + 1 end), result(fun() -> Max * 2 end), result(fun() -> Max bsl 1 end), result(fun() -> -Max - 1 end)]),
    say(bisect(fun(N) -> is_integer(result(fun() -> id(1) bsl N end)) end, 1, 1 bsl 27)),
    say([result(fun() -> list_to_integer(lists:duplicate(1262592, $9)) > 0 end), result(fun() -> list_to_integer(lists:duplicate(1262593, $9)) end)]),
    say([result(fun() -> binary_to_integer(binary:copy(<<"9">>, 1262593)) end)]),
    say([result(fun() -> binary_to_term(<<131, 111, B:32, 0, 1:(8 * B)/little>>) > 0 end) || B <- [100, 524287, 524288, 4194304]]),
    say([float(I) || I <- [428654966685883400000, 38409289721754710000, (1 bsl 70) + (1 bsl 17), (1 bsl 200) + 12345678901234567890123456789]]).

result(Fun) -> try Fun() catch error:Reason -> Reason end.

id(X) -> X.

%% The last number for which Fun holds.
bisect(_, Low, High) when High - Low =< 1 -> Low;
bisect(Fun, Low, High) ->
    Middle = (Low + High) div 2,
    case Fun(Middle) of
        true -> bisect(Fun, Middle, High);
        false -> bisect(Fun, Low, Middle)
    end.

say(Term) -> io:format("~0p~n", [Term]).
