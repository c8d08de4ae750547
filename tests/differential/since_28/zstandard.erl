%% zstd: whole pieces, streams, parameters, dictionaries, headers of frames, and what is wrong with each.
-module(zstandard).
-export([main/0]).

t(F) -> try F() of X -> X catch C:E:_ -> {C, E} end.

main() ->
    Text = iolist_to_binary([["line ", integer_to_list(I), " of a text; "] || I <- lists:seq(1, 50)]),
    Long = binary:copy(Text, 500),
    whole(Text, Long),
    streams(Text, Long),
    parameters(),
    dictionaries(Text),
    errors(Text).

whole(Text, Long) ->
    [begin
         C = iolist_to_binary(zstd:compress(D, O)),
         io:format("~p ~p ~p~n", [byte_size(C), erlang:md5(C), iolist_to_binary(zstd:decompress(C)) =:= iolist_to_binary(D)])
     end || D <- [<<>>, "", [<<"ab">>, "c"], Text, Long, binary:copy(<<0>>, 300000)],
            O <- [#{}, #{compressionLevel => 19}, #{compressionLevel => -5}, #{checksumFlag => true}]],
    io:format("~p~n", [zstd:compress(<<"my data to be compressed">>)]),
    Two = [zstd:compress("one"), zstd:compress("two")],
    io:format("~p~n", [iolist_to_binary(zstd:decompress(Two))]).

streams(Text, Long) ->
    {ok, C} = zstd:context(compress),
    {continue, A} = zstd:stream(C, Text),
    {continue, B} = zstd:stream(C, <<Text/binary, "tail">>),
    {done, E} = zstd:finish(C, "end"),
    Packed = iolist_to_binary([A, B, E]),
    io:format("~p ~p~n", [byte_size(Packed), erlang:md5(Packed)]),
    {ok, D} = zstd:context(decompress),
    <<First:20/binary, Rest/binary>> = Packed,
    {continue, X} = zstd:stream(D, First),
    {done, Y} = zstd:finish(D, Rest),
    io:format("~p~n", [iolist_to_binary([X, Y]) =:= iolist_to_binary([Text, Text, "tail", "end"])]),
    io:format("~p~n", [[zstd:reset(C), zstd:reset(D)]]),
    L = iolist_to_binary(zstd:compress(Long, C)),
    io:format("~p~n", [iolist_to_binary(zstd:decompress(L, D)) =:= Long]),
    io:format("~p ~p~n", [zstd:close(C), zstd:close(D)]),
    io:format("~p ~p~n", [t(fun() -> zstd:close(C) end), t(fun() -> zstd:stream(D, "x") end)]).

parameters() ->
    {ok, C} = zstd:context(compress),
    {ok, D} = zstd:context(decompress),
    Keys = [compressionLevel, windowLog, hashLog, chainLog, searchLog, minMatch, targetLength, strategy, targetCBlockSize,
        enableLongDistanceMatching, ldmHashLog, ldmMinMatch, ldmBucketSizeLog, ldmHashRateLog, contentSizeFlag, checksumFlag,
        dictIDFlag, other, 1],
    [io:format("~p: ~p~n", [K, [t(fun() -> zstd:get_parameter(C, K) end) |
        [{V, t(fun() -> zstd:set_parameter(C, K, V) end), t(fun() -> zstd:get_parameter(C, K) end)}
         || V <- [1, 12, 1000000, true, fast, btultra2, 1 bsl 70]]]]) || K <- Keys],
    [io:format("~p: ~p~n", [K, [{V, t(fun() -> zstd:set_parameter(D, K, V) end), t(fun() -> zstd:get_parameter(D, K) end)}
         || V <- [1, 12, 1000000, true]]]) || K <- [windowLogMax, windowLog]],
    io:format("~p~n", [[t(fun() -> zstd:set_parameter(C, pledgedSrcSize, S) end) || S <- [-1, 3, a, 1 bsl 63, 1 bsl 64]]]).

dictionaries(Text) ->
    {ok, CD} = zstd:dict(compress, Text),
    {ok, CD7} = zstd:dict(compress, Text, #{compressionLevel => 7}),
    {ok, DD} = zstd:dict(decompress, Text),
    [begin
         C = iolist_to_binary(zstd:compress(["line 7 of", Text], #{dictionary => Dict})),
         io:format("~p ~p ~p~n", [byte_size(C), erlang:md5(C),
             [t(fun() -> iolist_to_binary(zstd:decompress(C, #{dictionary => D})) =:= iolist_to_binary(["line 7 of", Text]) end)
              || D <- [DD, Text, CD]]])
     end || Dict <- [CD, CD7, Text, [Text]]],
    io:format("~p~n", [[t(fun() -> zstd:get_dict_id(D) end) || D <- [CD, DD, Text, <<>>, zstd:compress("x"), a]]]),
    io:format("~p~n", [[t(fun() -> zstd:dict(compress, D) end) || D <- [a, <<1:3>>]]]).

errors(Text) ->
    C = iolist_to_binary(zstd:compress(Text)),
    io:format("~p~n", [[t(fun() -> {ok, H} = zstd:get_frame_header(F), lists:sort(maps:to_list(H)) end) || F <- [C, <<"no frame at all">>, a, zstd:compress("")]]]),
    <<Half:40/binary, _/binary>> = C,
    [io:format("~p~n", [t(fun() -> iolist_to_binary(zstd:decompress(B)) end)]) || B <- [<<"garbage">>, <<C/binary, "garbage">>, Half, a]],
    {ok, Ctx} = zstd:context(compress),
    Self = self(),
    spawn(fun() -> Self ! t(fun() -> zstd:stream(Ctx, "x") end) end),
    io:format("~p~n", [receive M -> M end]),
    io:format("~p~n", [[t(fun() -> zstd:compress(X, #{}) end) || X <- [a, [1 | 2], <<1:3>>]]]).
