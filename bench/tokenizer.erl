%% sequential: a tokenizer of program text in a binary.
-module(tokenizer).
-export([main/0]).
-define(PIECES, 60000).
main() ->
    Text = binary:copy(<<"while (count_1 <= 4096) { name = \"some text\"; x9 += 3.25 * (y - 17) } // done\n">>, ?PIECES),
    Counts = tokens(Text, 1, #{}),
    #{name := Names, integer := Integers, float := Floats, string := Strings, symbol := Symbols, keyword := Keywords, lines := Lines} = Counts,
    {Names, Integers, Floats, Strings, Symbols, Keywords, Lines} =
        {4 * ?PIECES, 2 * ?PIECES, ?PIECES, ?PIECES, 12 * ?PIECES, ?PIECES, ?PIECES + 1},
    ok.
tokens(Text, Line, Counts) ->
    case token(Text) of
        {newline, Rest} -> tokens(Rest, Line + 1, Counts);
        {eof, <<>>} -> Counts#{lines => Line};
        {{Kind, _}, Rest} -> tokens(Rest, Line, maps:update_with(Kind, fun(N) -> N + 1 end, 1, Counts))
    end.
token(<<>>) -> {eof, <<>>};
token(<<$\n, Rest/binary>>) -> {newline, Rest};
token(<<C, Rest/binary>>) when C =:= $\s; C =:= $\t -> token(Rest);
token(<<"//", Rest/binary>>) -> comment(Rest);
token(<<$", Rest/binary>>) -> string(Rest, 0, Rest);
token(<<"<=", Rest/binary>>) -> {{symbol, '<='}, Rest};
token(<<"+=", Rest/binary>>) -> {{symbol, '+='}, Rest};
token(<<C, Rest/binary>> = Text) when C >= $0, C =< $9 -> number(Rest, 1, Text);
token(<<C, Rest/binary>> = Text) when C >= $a, C =< $z; C >= $A, C =< $Z; C =:= $_ -> name(Rest, 1, Text);
token(<<C, Rest/binary>>) -> {{symbol, C}, Rest}.
comment(<<$\n, _/binary>> = Text) -> token(Text);
comment(<<_, Rest/binary>>) -> comment(Rest);
comment(<<>>) -> {eof, <<>>}.
string(<<$", Rest/binary>>, Size, Text) -> <<String:Size/binary, _/binary>> = Text, {{string, String}, Rest};
string(<<_, Rest/binary>>, Size, Text) -> string(Rest, Size + 1, Text).
name(<<C, Rest/binary>>, Size, Text) when C >= $a, C =< $z; C >= $A, C =< $Z; C >= $0, C =< $9; C =:= $_ -> name(Rest, Size + 1, Text);
name(Rest, Size, Text) ->
    case Text of
        <<"while", _/binary>> when Size =:= 5 -> {{keyword, while}, Rest};
        <<Name:Size/binary, _/binary>> -> {{name, Name}, Rest}
    end.
number(<<C, Rest/binary>>, Size, Text) when C >= $0, C =< $9 -> number(Rest, Size + 1, Text);
number(<<$., C, Rest/binary>>, Size, Text) when C >= $0, C =< $9 -> fraction(Rest, Size + 2, Text);
number(Rest, Size, Text) -> <<Digits:Size/binary, _/binary>> = Text, {{integer, binary_to_integer(Digits)}, Rest}.
fraction(<<C, Rest/binary>>, Size, Text) when C >= $0, C =< $9 -> fraction(Rest, Size + 1, Text);
fraction(Rest, Size, Text) -> <<Digits:Size/binary, _/binary>> = Text, {{float, binary_to_float(Digits)}, Rest}.
