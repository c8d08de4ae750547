%% Binaries of several segments of all kinds: floats, characters, parts of binaries, integers in both byte orders, with sizes
%% that the compiler knows and others, aligned and not.
-module(built_binaries).
-export([main/0]).

main() ->
    Numbers = [0, 1, -1, 255, 65536, 1 bsl 62, -(1 bsl 70), 0.0, -0.0, 1.5, -3.14159, 1.0e300, 5.0e-324, 1.0e-310],
    [io:format("~p: ~p~n", [Number, [result(F, Number) || F <- numbers()]]) || Number <- [foo, 1 bsl 1100 | Numbers]],
    Characters = [0, 127, 128, 300, 16#7ff, 16#800, 16#d800, 16#ffff, 16#10000, 16#10ffff, 16#110000, -1, 1 bsl 70, foo],
    [io:format("~p: ~p~n", [Char, [result(F, Char) || F <- characters()]]) || Char <- Characters],
    <<_:3, Shifted:40/bitstring, _/bitstring>> = <<"abcdefgh">>,
    <<_:16, Part/binary>> = binary:copy(<<"0123456789">>, 20),
    Binaries = [<<>>, <<"x">>, <<"hello">>, Part, Shifted, <<"abc", 5:3>>, <<1:1>>, 17, foo],
    [io:format("~p: ~p~n", [Binary, [result(F, Binary) || F <- binaries()]]) || Binary <- Binaries],
    Sizes = [0, 1, 2, 3, 4, 7, 8, 9, 16, 64, -1, foo, 1 bsl 70],
    [io:format("~p: ~p~n", [Size, [result(F, Size) || F <- sizes()]]) || Size <- Sizes].

result(F, Value) ->
    try F(Value) catch Class:Reason -> {Class, Reason} end.

numbers() ->
    [
        fun(X) -> <<(id(1)):8, X:64/float>> end,
        fun(X) -> <<X:64/float, (id(2)):16/little>> end,
        fun(X) -> <<X:64/float-little, (id(3)):3>> end,
        fun(X) -> <<(id(1)):4, X:64/float>> end,
        fun(X) -> <<(id(1)):8, X:32/float>> end,
        fun(X) -> <<X:32/float-little, "text">> end,
        fun(X) -> <<X:16/float, 7>> end,
        fun(X) -> <<X:(id(64))/float, X:(id(32))/float-little>> end,
        fun(X) -> <<"behind", X:64/float>> end,
        fun(X) -> Before = id(<<"behind">>), <<Before/binary, X:64/float>> end,
        fun(X) -> Before = id(<<"behind">>), <<Before/binary, X:32/float-little, X:64/float>> end,
        fun(X) -> Y = X + 1.5, <<Y:64/float, X:64/float>> end,
        fun(X) -> << <<(X * 2.0):64/float>> || _ <- id([1, 2]) >> end,
        fun(X) -> <<X:32, X:24/little, X:16>> end,
        fun(X) -> <<X:(id(24)), X:(id(24))/little, X:(id(40))/little>> end,
        fun(X) -> <<X:(id(5)), X:(id(72)), X:(id(3))/little>> end
    ].

characters() ->
    [
        fun(X) -> <<X/utf8>> end,
        fun(X) -> <<X/utf8, X/utf8, "x">> end,
        fun(X) -> <<X/utf16, X/utf16-little>> end,
        fun(X) -> <<X/utf32, X/utf32-little>> end,
        fun(X) -> <<(id(1)):4, X/utf8>> end,
        fun(X) -> Before = id(<<"behind">>), <<Before/binary, X/utf8, X/utf16-little>> end
    ].

binaries() ->
    [
        fun(X) -> <<(id(1)):16, X/binary, 0>> end,
        fun(X) -> <<(id(1)):16, X/bitstring, 0>> end,
        fun(X) -> <<(id(1)):16, X:3/binary, 0>> end,
        fun(X) -> <<(id(1)):16, X:(id(2))/binary, X:(id(1))/binary>> end,
        fun(X) -> <<(id(1)):16, X:(id(9))/bitstring, X:(id(8))/bitstring>> end,
        fun(X) -> <<(id(1)):16, X:(id(2))/binary-unit:12>> end,
        fun(X) -> <<(id(1)):16, X/binary-unit:16>> end,
        fun(X) -> <<X/binary, $,, X/binary>> end,
        fun(X) -> <<X:1/binary, X/binary, 1>> end,
        fun(X) -> One = <<X/binary, $,>>, {<<One/binary, X/binary>>, <<One/binary, "other">>} end
    ].

sizes() ->
    [
        fun(X) -> <<(id(1)):8, (id(-2)):X>> end,
        fun(X) -> <<(id(1)):8, (id(-2)):X/little>> end,
        fun(X) -> <<(id(1)):8, (id(-2)):X/unit:8>> end,
        fun(X) -> <<(id(1)):8, (id(-2)):X/float>> end,
        fun(X) -> <<(id(1)):8, (id(-2)):X/float-unit:8>> end,
        fun(X) -> <<(id(1)):8, (id(<<"abcdefgh">>)):X/binary>> end,
        fun(X) -> <<(id(1)):8, (id(<<"abcdefgh">>)):X/bitstring, (id(2)):4>> end
    ].

id(X) -> X.
