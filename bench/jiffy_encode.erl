%% native libraries: jiffy writes a document of 1 MB.
%% needs: jiffy
-module(jiffy_encode).
-export([main/0]).
main() -> encode(20, document()).
encode(0, _) -> ok;
encode(N, Document) -> jiffy:encode(Document), encode(N - 1, Document).
document() ->
    {[{<<"items">>, [{[{<<"id">>, I}, {<<"name">>, <<"some name">>}, {<<"list">>, [1, 2.5, true, null]},
                       {<<"text">>, <<"a longer text with \"quotes\" in it">>}]} || I <- lists:seq(1, 9000)]}]}.
