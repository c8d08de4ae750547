%% A binary protocol, built and taken apart with the bit syntax.
-module(protocol). -compile(nowarn_deprecated_catch).
-export([main/0]).

main() ->
    Packets = [{ping, 1}, {data, 2, <<"hello">>}, {data, 3, <<"world">>}, {reading, 4, -12.5, [on, off, on]}],
    Bytes = << <<(encode(Packet))/binary>> || Packet <- Packets >>,
    io:format("~b bytes: ~p~n", [byte_size(Bytes), Bytes]),
    Packets = decode(Bytes),
    io:format("~p~n", [decode(Bytes)]),
    io:format("cut short: ~p~n", [catch decode(binary:part(Bytes, 0, byte_size(Bytes) - 1))]).

encode({ping, Id}) -> frame(1, <<Id:16>>);
encode({data, Id, Data}) -> frame(2, <<Id:16, (byte_size(Data)):32/little, Data/binary>>);
encode({reading, Id, Value, Flags}) ->
    Bits = << <<(bit(Flag)):1>> || Flag <- Flags >>,
    Padding = (8 - bit_size(Bits) rem 8) rem 8,
    frame(3, <<Id:16, Value/float, (bit_size(Bits)):8, Bits/bitstring, 0:Padding>>).

frame(Kind, Body) -> <<Kind:4, (byte_size(Body)):12, Body/binary>>.

bit(on) -> 1;
bit(off) -> 0.

decode(<<>>) -> [];
decode(<<Kind:4, Size:12, Body:Size/binary, Rest/binary>>) -> [decode(Kind, Body) | decode(Rest)];
decode(Rest) -> throw({incomplete, byte_size(Rest)}).

decode(1, <<Id:16>>) -> {ping, Id};
decode(2, <<Id:16, Size:32/little, Data:Size/binary>>) -> {data, Id, Data};
decode(3, <<Id:16, Value/float, Count:8, Bits:Count/bitstring, _/bitstring>>) ->
    {reading, Id, Value, [case Bit of 1 -> on; 0 -> off end || <<Bit:1>> <= Bits]}.
