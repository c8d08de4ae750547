%% native libraries: jiffy reads a document of 1 MB.
%% needs: jiffy
-module(jiffy_decode).
-export([main/0]).
main() -> decode(20, iolist_to_binary(jiffy:encode(document()))).
decode(0, _) -> ok;
decode(N, Text) -> {_} = jiffy:decode(Text), decode(N - 1, Text).
document() ->
    {[{<<"items">>, [{[{<<"id">>, I}, {<<"name">>, <<"some name">>}, {<<"list">>, [1, 2.5, true, null]},
                       {<<"text">>, <<"a longer text with \"quotes\" in it">>}]} || I <- lists:seq(1, 9000)]}]}.
