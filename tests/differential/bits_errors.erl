%% Which segment a failing bit construction names: sizes are looked at before values.
-module(bits_errors).
-export([main/0]).

f(F) ->
    try F() of
        V -> V
    catch
        C:R:St ->
            [{M, _, _, I} | _] = St,
            case lists:keyfind(error_info, 1, I) of
                {_, E} -> {C, R, maps:get(cause, E, none)};
                _ -> {C, R, M}
            end
    end.

id(X) -> X.

main() ->
    io:format("~p~n", [lists:usort([sized(N rem 5, 9, <<"abc">>) || N <- lists:seq(1, 30000)])]),
    a1(id(b), id(a)),
    Vs = [1, -1, a, 1 bsl 70, 1.5, <<"ab">>, <<1:3>>, []],
    [[io:format("~0p ~p: ~0p~n", [{X, Y}, I, V])
      || {I, V}
             <- lists:enumerate([f(fun () -> <<X:9, Y:Y>> end),
                                 f(fun () -> <<X:Y, Y:X>> end),
                                 f(fun () -> <<X:Y/binary, Y/binary>> end),
                                 f(fun () -> <<X/binary, Y:Y>> end),
                                 f(fun () -> <<X/float, Y:Y/float>> end),
                                 f(fun () -> <<X/utf8, Y:Y>> end),
                                 f(fun () -> <<X:8, Y/bits>> end),
                                 f(fun () -> <<X/bits, Y:8>> end),
                                 f(fun () -> <<X:Y/bits, 1:Y>> end),
                                 f(fun () -> <<X:Y/unit:8, Y:X/unit:64>> end),
                                 f(fun () -> <<1:X, 2:Y, X:8>> end),
                                 f(fun () -> << <<(id(X)):Y>>  || _ <- [1, 2] >> end),
                                 f(fun () -> <<X/utf16, Y/utf32>> end),
                                 f(fun () -> <<X:8, Y:8, X:X>> end),
                                 f(fun () -> <<X/binary, Y/utf32>> end),
                                 f(fun () -> <<X/utf32, Y:Y>> end),
                                 f(fun () -> <<X/binary, Y/utf8>> end),
                                 f(fun () -> <<X/utf16, Y/utf8>> end),
                                 f(fun () -> <<X/binary, Y/utf16, X:Y>> end)])]
     || X <- Vs, Y <- Vs].

a1(X, Y) -> io:format("~0p~n", [f(fun () -> <<X:9, Y:Y>> end)]).
%% Often enough for machine code, with sizes that are given and some that are not.
sized(X, Size, Binary) -> <<X:8, X:Size, Binary/binary, X:Size/little, Binary:2/binary, X/utf8, X:4>>.
