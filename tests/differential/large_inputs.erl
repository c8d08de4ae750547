%% Built-ins on large inputs, which do not do all their work in one turn: the same results and errors as on small ones.
-module(large_inputs).
-export([main/0]).

-define(N, 60000).

main() ->
    List = lists:seq(1, ?N),
    Pairs = [{X, -X} || X <- List],
    Bytes = [X rem 256 || X <- List],
    Binary = list_to_binary(Bytes),
    Text = [X rem 5000 + 32 || X <- List],
    Map = maps:from_list(Pairs),
    Big = binary:copy(Binary, 10),
    Results = [
        list_to_binary([Bytes, Binary | Bytes]), iolist_to_binary([Bytes, [Bytes | <<"end">>]]), iolist_size([Bytes, Big]),
        list_to_bitstring([Bytes, <<1:3>> | Bytes]), iolist_to_binary(erlang:iolist_to_iovec([Bytes, Binary, Bytes])),
        binary_to_list(Binary), binary_to_list(Binary, 2, ?N - 1), bitstring_to_list(<<Binary/binary, 5:3>>),
        unicode:characters_to_binary(Text), unicode:characters_to_list(unicode:characters_to_binary(Text)),
        unicode:characters_to_binary([Text | Binary]), unicode:characters_to_list(Binary, latin1),
        erlang:md5(Big), erlang:md5([Bytes, Bytes]), erlang:md5_final(erlang:md5_update(erlang:md5_init(), Big)),
        erlang:crc32(Big), erlang:crc32(17, [Bytes]), erlang:adler32(Big), erlang:adler32(17, [Bytes]),
        erlang:phash2(List), erlang:phash2(Map, 1000), erlang:phash(Pairs, 1000),
        binary_to_term(term_to_binary(Pairs)), byte_size(term_to_binary(List)), erlang:external_size(Pairs),
        iolist_to_binary(term_to_iovec(Map)) =:= term_to_binary(Map), binary_to_term(term_to_binary(Pairs, [compressed])),
        List -- lists:seq(1, ?N, 2), (List ++ List) -- List, List ++ Bytes, lists:reverse(List, Bytes), length(List ++ List),
        lists:member(0, List), lists:keyfind(?N, 1, Pairs), lists:sort(maps:keys(Map)), lists:sort(maps:values(Map)),
        map_size(maps:from_keys(List, x)), map_size(maps:merge(Map, #{0 => 0})), maps:merge(maps:from_keys(List, y), Map) =:= Map,
        tuple_size(list_to_tuple(List)), tuple_to_list(list_to_tuple(List)), tuple_size(erlang:make_tuple(1000000, x)),
        binary:match(Big, <<"no such thing">>), length(binary:matches(Big, <<7, 8>>)), binary:match(Big, [<<255, 0>>, <<254, 255, 0, 1, 3>>]),
        length(binary:split(Big, <<0>>, [global])), binary:split(Big, <<77, 79>>), byte_size(binary:copy(Big, 3)),
        list_to_integer(integer_to_list(3 bsl 30000)) =:= 3 bsl 30000, binary_to_integer(integer_to_binary(7 bsl 30000, 7), 7) =:= 7 bsl 30000,
        re:run(Bytes, <<"\\x{09}\\x{0a}">>), ets_all(Pairs)],
    [io:format("~p~n", [erlang:phash2(Result)]) || Result <- Results],
    Bad = [
        fun() -> iolist_to_binary([Bytes, Bytes | atom]) end, fun() -> list_to_binary([Bytes | [256]]) end,
        fun() -> iolist_size([Bytes, <<1:1>>]) end, fun() -> erlang:md5([Bytes, x]) end, fun() -> erlang:crc32([Bytes, x]) end,
        fun() -> unicode:characters_to_binary([Text, x]) end, fun() -> unicode:characters_to_list([Text | x]) end,
        fun() -> List -- [a | b] end, fun() -> (List ++ x) -- [1] end, fun() -> (List ++ x) ++ [1] end,
        fun() -> lists:reverse(List ++ x, []) end, fun() -> lists:member(0, List ++ x) end, fun() -> lists:keyfind(0, 1, Pairs ++ x) end,
        fun() -> maps:from_list(Pairs ++ [x]) end, fun() -> maps:from_keys(List ++ x, y) end, fun() -> length(List ++ x) end,
        fun() -> list_to_tuple(List ++ x) end, fun() -> list_to_integer([$1 || _ <- lists:seq(1, 6000)] ++ "x") end,
        fun() -> binary_to_term(binary:part(term_to_binary(Pairs), 0, 500000)) end],
    [io:format("~p~n", [try F() of Value -> Value catch Class:Why -> {Class, Why} end]) || F <- Bad],
    unicode().

%% Data that is wrong in the middle comes back in part.
unicode() ->
    Text = binary:copy(<<"text ">>, 100000),
    {error, Good, Rest} = unicode:characters_to_binary([Text, <<255>>, Text]),
    {incomplete, Good2, Rest2} = unicode:characters_to_list([Text, <<195>>]),
    io:format("~p~n", [[byte_size(Good), erlang:phash2(Rest), length(Good2), Rest2]]).

ets_all(Pairs) ->
    Table = ets:new(table, []),
    true = ets:insert(Table, Pairs),
    Found = [lists:sort(ets:tab2list(Table)), ets:select_count(Table, [{{'$1', '_'}, [{'>', '$1', 1000}], [true]}]),
             ets:select_delete(Table, [{{'$1', '_'}, [{'>', '$1', 1000}], [true]}]), ets:info(Table, size)],
    true = ets:delete_all_objects(Table),
    [ets:info(Table, size) | Found].
