%% The text libraries of process-one: XML, YAML, stringprep.
-module(texts).
-export([main/0]).

main() ->
    xml(),
    yaml(),
    stringprep().

xml() ->
    Document = <<"<a x='1' y='&lt;2&gt;'>text &amp; more<b/><c xmlns='urn:c'><![CDATA[raw <>]]></c>\x{e9}</a>"/utf8>>,
    Element = fxml_stream:parse_element(Document),
    io:format("~p~n~p~n", [Element, fxml:element_to_binary(Element)]),
    [io:format("~p~n", [fxml_stream:parse_element(Text)]) || Text <- [<<"<a>">>, <<"<a></b>">>, <<"">>, <<"<a x=1/>">>]],
    Stream0 = fxml_stream:new(self(), infinity),
    Pieces = [<<"<stream to='x'>">>, <<"<m">>, <<">hel">>, <<"lo</m><n/>">>, <<"</stream>">>],
    Stream = lists:foldl(fun(Piece, Stream) -> fxml_stream:parse(Stream, Piece) end, Stream0, Pieces),
    io:format("~p~n", [messages()]),
    Stream1 = fxml_stream:reset(Stream),
    fxml_stream:close(Stream1),
    Large = iolist_to_binary([<<"<r>">>, [[<<"<i n='">>, integer_to_binary(N), <<"'>item</i>">>] || N <- lists:seq(1, 5000)], <<"</r>">>]),
    io:format("~p~n", [erlang:phash2(fxml_stream:parse_element(Large))]).

messages() ->
    receive Message -> [Message | messages()] after 0 -> [] end.

yaml() ->
    {ok, _} = application:ensure_all_started(fast_yaml),
    Document = <<"a: 1\nb: [x, \"y\", 2.5]\nc:\n  - d: ~\n    e: true\n  - \"f: g\"\n">>,
    io:format("~p~n", [fast_yaml:decode(Document)]),
    io:format("~p~n", [fast_yaml:decode(Document, [plain_as_atom, sane_scalars, maps])]),
    {error, Reason} = fast_yaml:decode(<<"a: [1, 2\nb: }">>),
    io:format("~p ~s~n", [Reason, fast_yaml:format_error(Reason)]),
    io:format("~s~n", [fast_yaml:encode([[{a, 1}, {b, [x, y]}]])]).

stringprep() ->
    {ok, _} = application:ensure_all_started(stringprep),
    Texts = [<<"HELLO">>, <<"Stra\x{df}e"/utf8>>, <<"\x{391}\x{392}"/utf8>>, <<"a b">>, <<"user@host">>, <<>>, binary:copy(<<"Xy">>, 500)],
    [io:format("~p~n", [[stringprep:F(Text) || F <- [tolower, nameprep, nodeprep, resourceprep]]]) || Text <- Texts].
