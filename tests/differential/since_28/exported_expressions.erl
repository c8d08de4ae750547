%% re:import/1: which part of an exported expression counts, and which it refuses.
-module(exported_expressions).
-export([main/0]).

main() ->
    [imported(Options) || Options <- [[], [caseless], [unicode], [anchored, {newline, crlf}]]],
    {ok, Pattern} = re:compile("(?<x>é)+", [unicode]),
    {ok, Exported} = re:compile("(?<x>é)+", [unicode, export]),
    io:format("~p~n", [{re:inspect(Pattern, namelist), re:inspect(re:import(Exported), namelist)}]),
    [io:format("~p~n", [{Run, re:run("aéé", Run(Exported), [{capture, all, index}])}])
        || Run <- [fun re:import/1, fun(E) -> re:import(binary_to_term(term_to_binary(E))) end]].

imported(Options) ->
    {ok, Exported} = re:compile(<<"exported">>, [export | Options]),
    {re_exported_pattern, Header, <<"exported">>, _, Encoded} = Exported,
    <<Title:8/binary, Sum:32, Version, Unicode>> = Header,
    <<Magic:32, Major:16, Minor:16/little, Byte, Rest/binary>> = Encoded,
    io:format("~p~n", [{Title, Sum =:= erlang:crc32(Encoded), Version, Unicode}]),
    With = fun(H, Text, Opts, E) -> {re_exported_pattern, H, Text, Opts, E} end,
    Summed = fun(E, V) -> <<Title/binary, (erlang:crc32(E)):32, V, Unicode>> end,
    Later = <<Magic:32, Major:16, (Minor + 1):16/little, Byte, Rest/binary>>,
    Turned = <<Magic:32/little, Major:16, Minor:16/little, Byte, Rest/binary>>,
    Broken = <<Magic:32, Major:16, Minor:16/little, (Byte + 1), Rest/binary>>,
    [io:format("~p ~p~n", [What, tried(Term)]) || {What, Term} <- [
        {same, Exported},
        {other_text, With(Header, <<"fallback">>, Options, Encoded)},
        {no_text, With(Header, none, none, Encoded)},
        {longer_header, With(<<Header/binary, 1, 2, 3>>, <<"fallback">>, Options, Encoded)},
        {shorter_header, With(binary:part(Header, 0, 13), <<"fallback">>, Options, Encoded)},
        {other_title, With(<<"re-PCRE3", Sum:32, Version, Unicode>>, <<"fallback">>, Options, Encoded)},
        {later_library, With(Summed(Later, Version), <<"fallback">>, Options, Later)},
        {later_library_no_text, With(Summed(Later, Version), none, Options, Later)},
        {later_library_bad_text, With(Summed(Later, Version), <<"(fallback">>, Options, Later)},
        {other_byte_order, With(Summed(Turned, Version), <<"fallback">>, Options, Turned)},
        {later_encoding, With(Summed(Encoded, Version + 1), <<"fallback">>, Options, Encoded)},
        {later_encoding_of_no_binary, With(Summed(Encoded, Version + 1), <<"fallback">>, Options, none)},
        {no_binary, With(Header, <<"fallback">>, Options, none)},
        {broken, With(Header, <<"exported">>, Options, Broken)},
        {no_tuple, exported}]].

tried(Exported) ->
    try re:import(Exported) of
        Pattern -> [Text || Text <- ["exported", "EXPORTED", "fallback"], re:run(Text, Pattern, [{capture, none}]) =:= match]
    catch error:Reason -> Reason
    end.
