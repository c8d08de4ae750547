%% sequential: Base64 written with the bit syntax, against the library's.
-module(base64_own).
-export([main/0]).
main() ->
    Bytes = binary:copy(list_to_binary(lists:seq(0, 255)), 10000),
    Text = encode(Bytes, <<>>),
    Bytes = decode(Text, <<>>),
    Text = base64:encode(Bytes),
    Bytes = base64:decode(Text),
    Longer = <<Bytes/binary, 77>>,
    Longer = decode(encode(Longer, <<>>), <<>>),
    ok.
encode(<<A:6, B:6, C:6, D:6, Rest/binary>>, Text) -> encode(Rest, <<Text/binary, (digit(A)), (digit(B)), (digit(C)), (digit(D))>>);
encode(<<A:6, B:6, C:4>>, Text) -> <<Text/binary, (digit(A)), (digit(B)), (digit(C bsl 2)), $=>>;
encode(<<A:6, B:2>>, Text) -> <<Text/binary, (digit(A)), (digit(B bsl 4)), $=, $=>>;
encode(<<>>, Text) -> Text.
decode(<<A, B, $=, $=>>, Bytes) -> <<Bytes/binary, (value(A)):6, ((value(B) bsr 4)):2>>;
decode(<<A, B, C, $=>>, Bytes) -> <<Bytes/binary, (value(A)):6, (value(B)):6, (value(C) bsr 2):4>>;
decode(<<A, B, C, D, Rest/binary>>, Bytes) -> decode(Rest, <<Bytes/binary, (value(A)):6, (value(B)):6, (value(C)):6, (value(D)):6>>);
decode(<<>>, Bytes) -> Bytes.
digit(V) when V < 26 -> V + $A;
digit(V) when V < 52 -> V - 26 + $a;
digit(V) when V < 62 -> V - 52 + $0;
digit(62) -> $+;
digit(63) -> $/.
value(C) when C >= $A, C =< $Z -> C - $A;
value(C) when C >= $a, C =< $z -> C - $a + 26;
value(C) when C >= $0, C =< $9 -> C - $0 + 52;
value($+) -> 62;
value($/) -> 63.
