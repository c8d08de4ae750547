%% sequential: MD5 over 32-bit words, checked with known digests.
-module(md5_own).
-export([main/0]).
-define(MASK, 16#ffffffff).
main() ->
    <<16#d41d8cd98f00b204e9800998ecf8427e:128>> = md5(<<>>),
    <<16#9e107d9d372bb6826bd81d3542a419d6:128>> = md5(<<"The quick brown fox jumps over the lazy dog">>),
    Large = binary:copy(<<"0123456789abcdef">>, 400000),
    Digest = erlang:md5(Large),
    Digest = md5(Large),
    ok.
md5(Message) ->
    Bits = bit_size(Message),
    Zeros = (448 - (Bits + 8)) band 511,
    Sines = [trunc(abs(math:sin(I)) * 4294967296) || I <- lists:seq(1, 64)],
    {A, B, C, D} = blocks(<<Message/binary, 128, 0:Zeros, Bits:64/little>>, 16#67452301, 16#efcdab89, 16#98badcfe, 16#10325476, Sines),
    <<A:32/little, B:32/little, C:32/little, D:32/little>>.
blocks(<<>>, A, B, C, D, _) -> {A, B, C, D};
blocks(<<Block:64/binary, Rest/binary>>, A, B, C, D, Sines) ->
    Words = list_to_tuple([Word || <<Word:32/little>> <= Block]),
    {A1, B1, C1, D1} = steps(0, A, B, C, D, Words, Sines),
    blocks(Rest, (A + A1) band ?MASK, (B + B1) band ?MASK, (C + C1) band ?MASK, (D + D1) band ?MASK, Sines).
steps(64, A, B, C, D, _, []) -> {A, B, C, D};
steps(I, A, B, C, D, Words, [Sine | Sines]) ->
    {F, At} =
        if
            I < 16 -> {(B band C) bor ((B bxor ?MASK) band D), I};
            I < 32 -> {(D band B) bor ((D bxor ?MASK) band C), (5 * I + 1) band 15};
            I < 48 -> {B bxor C bxor D, (3 * I + 5) band 15};
            true -> {C bxor (B bor (D bxor ?MASK)), (7 * I) band 15}
        end,
    Sum = (A + F + Sine + element(At + 1, Words)) band ?MASK,
    steps(I + 1, D, (B + rotated(Sum, amount(I bsr 4, I band 3))) band ?MASK, B, C, Words, Sines).
rotated(Word, N) -> ((Word bsl N) bor (Word bsr (32 - N))) band ?MASK.
amount(0, I) -> element(I + 1, {7, 12, 17, 22});
amount(1, I) -> element(I + 1, {5, 9, 14, 20});
amount(2, I) -> element(I + 1, {4, 11, 16, 23});
amount(3, I) -> element(I + 1, {6, 10, 15, 21}).
