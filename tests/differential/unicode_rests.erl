%% What `unicode` makes of characters cut into pieces anywhere, good ones and bad ones, and what it says is the rest.
-module(unicode_rests).
-export([main/0]).

main() ->
    rand:seed(exsss, {1, 2, 3}),
    Known = [[<<"ab">>, <<"c", 246, "d">>], [<<241, 137>>, <<"a">>], [<<241, 137>>, <<"a">>, <<"b">>]],
    [io:format("~w ~w ~w: ~w~n", [Function, Data, Encoding, try_it(Function, Data, Encoding)])
     || Data <- Known ++ [data(3) || _ <- lists:seq(1, 700)],
        Function <- [list, binary, utf16, latin1],
        Encoding <- [unicode, latin1, {utf16, big}, {utf32, little}]].

try_it(Function, Data, Encoding) ->
    try convert(Function, Data, Encoding) catch Class:Reason -> {Class, Reason} end.

convert(list, Data, Encoding) -> unicode:characters_to_list(Data, Encoding);
convert(binary, Data, Encoding) -> unicode:characters_to_binary(Data, Encoding);
convert(To, Data, Encoding) -> unicode:characters_to_binary(Data, Encoding, To).

data(0) -> leaf();
data(Depth) ->
    case rand:uniform(5) of
        1 -> leaf();
        2 -> [data(Depth - 1) | tail(Depth - 1)];
        _ -> [data(Depth - 1) || _ <- lists:seq(1, rand:uniform(3))]
    end.

tail(Depth) ->
    case rand:uniform(4) of
        1 -> binary();
        2 -> [];
        3 -> [data(Depth) | binary()];
        _ -> [data(Depth)]
    end.

leaf() ->
    case rand:uniform(6) of
        1 -> one_of([97, 98, 200, 246, 300, 16#10ffff, 16#d800, 16#110000, -1]);
        2 -> [];
        _ -> binary()
    end.

binary() ->
    case rand:uniform(8) of
        1 -> <<1:3>>;
        2 -> Bytes = bytes(), <<_:3, Part/bits>> = <<5:3, Bytes/bits>>, Part;
        _ -> bytes()
    end.

bytes() ->
    one_of([<<>>, <<"a">>, <<"ab">>, <<241, 137>>, <<241, 137, 170>>, <<195>>, <<182>>, <<195, 182>>, <<"x", 226, 130>>,
            <<172, "y">>, <<246>>, <<0, 97>>, <<216, 0, 220, 0>>, <<97, 0, 0, 0>>, <<192>>, <<224, 128>>, <<237, 160>>]).

one_of(List) -> lists:nth(rand:uniform(length(List)), List).
