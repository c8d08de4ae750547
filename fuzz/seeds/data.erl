%% Seeds for the fuzzer: binaries, maps, records, floats.
-module(data).
-export([header/1, fields/2, text/1, build/3, append/2, tail/1, update/2, maps/3, floats/2, bits/1, bools/2, bin_comp/1, string/1]).

-record(r, {a, b = 2, c, d, e}).

header(<<1:8, Len:16/big, Body:Len/binary, Rest/binary>>) -> {Body, Rest};
header(<<2:4, X:12/little-signed, F:64/float, _/bitstring>>) -> {X, F};
header(<<3, _:3, Y:5, T/bitstring>>) -> {Y, T};
header(_) -> none.

fields(B, N) ->
    case B of
        <<A:N, B1/binary-unit:4>> -> {A, B1};
        <<_:N/binary, C/utf8, "abc", D/binary>> -> {C, D};
        <<A:8, A:8>> -> A
    end.

text(<<C/utf8, T/binary>>) -> [C | text(T)];
text(<<C/utf16-little, T/binary>>) -> [C | text(T)];
text(<<C/utf32, T/binary>>) -> [C | text(T)];
text(<<>>) -> [].

build(A, B, C) -> <<A:16, B/binary, "text", C/float, A:B/little, C/utf8, A/utf16, B/bitstring>>.
append(Acc, X) -> append(<<Acc/binary, X:24, 0:7>>, X + 1).
tail(<<"ab", T/binary>>) -> T;
tail(<<_, T/binary>>) -> tail(T).
bits(<<A:1, B:2, C:3, D:10, E/bits>>) -> {A, B, C, D, E}.

update(R, V) -> R2 = R#r{a = V, d = [V]}, R3 = R2#r{b = R2#r.c}, {R3, #r{e = V}}.

maps(M, K, V) ->
    M1 = M#{K => V, fixed => 1},
    M2 = M1#{fixed := K, K := 2},
    #{K := A, fixed := B} = M2,
    {A, B, maps:get(K, M), is_map(M), map_size(M2)}.

floats(A, B) when is_float(A), is_float(B) ->
    C = A * B + A / B - 1.0, D = -C * 2.0, {C, D, float(trunc(D))}.

bools(A, B) when is_boolean(A) -> (A and B) or not B xor (A =< B).
bin_comp(B) -> << <<(X + 1):8>> || <<X>> <= B, X band 1 =:= 0 >>.
string(S) -> [S, "a string literal", {1, 2.5, <<"bin">>, #{a => [b]}}, -1, 1 bsl 40, fun lists:map/2].
