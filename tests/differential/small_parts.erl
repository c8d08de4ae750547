%% A small part of a large binary does not keep that in memory: it is a copy, however it was taken.
-module(small_parts).
-export([main/0]).

main() ->
    Large = binary:copy(<<"abcdefghij ">>, 100),
    Size = byte_size(Large),
    <<_:3, Bits:509/bitstring, _/bitstring>> = Large,
    <<Ten:10/binary, Most:64/binary, More:65/binary, Rest/binary>> = Large,
    <<_:(Size - 5)/binary, Tail/binary>> = Large,
    {First, Second} = split_binary(Large, Size - 20),
    io:format("~p~n", [[binary:referenced_byte_size(Part) < Size ||
        Part <- [Ten, Most, More, Rest, Tail, First, Second, binary_part(Large, 7, 64), binary:part(Large, 7, 65),
                 hd(binary:split(Large, <<" ">>)), hd(string:split(Large, " ")), hd([P || <<P:7/binary>> <= Large])]]]),
    io:format("~p~n", [[Bits, Ten, Tail, Second, binary_part(Large, 7, 64)]]),
    io:format("~p~n", [[taken(Large, N) || N <- [0, 1, 5, 63, 64, 65]]]),
    io:format("~p~n", [unaligned(Large)]),
    % What is appended to goes on in its own buffer.
    Appended = lists:foldl(fun(N, Bin) -> <<Bin/binary, N>> end, <<>>, lists:seq(1, 200)),
    <<Half:50/binary, _/binary>> = Appended,
    io:format("~p ~p~n", [byte_size(<<Half/binary, Appended/binary>>), <<Half/binary, 7>> =:= <<(binary:copy(Half))/binary, 7>>]),
    io:format("~p~n", [kept()]).

taken(Binary, Size) ->
    <<_:2/binary, Part:Size/binary, Rest/bits>> = Binary,
    {erlang:phash2(Part), erlang:phash2(Rest), Part =:= binary:copy(Part)}.

unaligned(Binary) ->
    [begin
        <<_:Skip, Part:Bits/bitstring, _/bitstring>> = Binary,
        {bit_size(Part), erlang:phash2(Part)}
    end || Skip <- [1, 3, 7, 12], Bits <- [1, 7, 8, 9, 63, 64, 65, 500, 511, 512, 513]].

%% Keys of many large binaries.
kept() ->
    Keys = [begin
        <<Key:16/binary, _/binary>> = crypto_like(N),
        Key
    end || N <- lists:seq(1, 100)],
    erlang:garbage_collect(),
    {binary, Held} = process_info(self(), binary),
    {length(Keys), lists:sum([Bytes || {_, Bytes, _} <- Held]) < 1000000}.

crypto_like(N) -> binary:copy(<<N:32>>, 25000).
