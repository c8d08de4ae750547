%% Sizes of segments that no bitstring has: matching with them fails, up to any number.
-module(segment_sizes).
-export([main/0]).

f1(<<A:8,_:16#FFFFFFFFFFFFFF>>) -> A; f1(_) -> no.
f2(<<A:8,_:16#FFFFFFFFFFFFFFFFFFFFFFFF>>) -> A; f2(_) -> no.
f3(<<A:8,_:16#FFFFFFFFFFFFFFFFFF,_/binary>>) -> A; f3(_) -> no.
f4(<<A:8,_:16#FFFFFFFFFFFF,_/binary>>) -> A; f4(_) -> no.
f5(<<A:16#FFFFFFFFFFFF/binary,_/binary>>) -> A; f5(_) -> no.
f6(<<A:16#FFFFFFFFFFFF,_/binary>>) -> A; f6(_) -> no.
f7(<<A:16#FFFFFFFFFFFF/binary-unit:256>>) -> A; f7(_) -> no.
f8(<<A:16#FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF/binary-unit:256>>) -> A; f8(_) -> no.
f9(<<1:16#FFFFFFFFFFFFFFFF>>) -> a; f9(_) -> no.
f10(<<_:16#FFFFFFFFFFFFFFFF/binary-unit:256,X>>) -> X; f10(_) -> no.
f12(<<_:268435457>>) -> yes; f12(_) -> no.
f13(<<_:33554433/binary, _:40>>) -> yes; f13(_) -> no.
f14(<<X:268435464,_:8>>) -> X band 255; f14(_) -> no.
f15(<<_:16#FFFFFFFF/binary>>) -> yes; f15(_) -> no.
f16(<<_:600000000/binary>>) -> yes; f16(_) -> no.

call(F, B) -> try F(B) catch A:E -> {A,E} end.

main() ->
    B = <<1,2,3,4>>,
    Fs = [fun f1/1, fun f2/1, fun f3/1, fun f4/1, fun f5/1, fun f6/1, fun f7/1, fun f8/1, fun f9/1,
          fun f10/1, fun f12/1, fun f13/1, fun f14/1, fun f15/1, fun f16/1],
    R1 = [call(F, B) || F <- Fs],
    Big = <<0:268435456, 1:1>>,
    Big2 = <<0:(33554433*8), 1:40>>,
    Big3 = <<7:268435464, 9:8>>,
    R2 = [call(fun f12/1, Big), call(fun f13/1, Big2), call(fun f14/1, Big3)],
    io:format("~p~n~p~n", [R1, R2]).
