%% A module's file taken apart and put together again, without a look at what the instructions mean: chunks, and the
%% Code chunk as {Opcode, [Operand]}, where an operand is {Tag, Number} or {Tag, [Operand]}.
-module(mutant_code).
-export([open/1, close/1, close/2, functions/1, instruction/2, instructions_count/1, export_all/1, rename/2]).

-record(beam, {chunks, header, code}).

%% An error for files that cannot be taken apart.
open(File) ->
    <<"FOR1", _:32, "BEAM", Rest/binary>> = unzipped(File),
    Chunks = chunks(Rest),
    {_, Code} = lists:keyfind(<<"Code">>, 1, Chunks),
    <<Size:32, Header:Size/binary, Instructions/binary>> = Code,
    #beam{chunks = Chunks, header = Header, code = instructions(Instructions)}.

close(Beam) -> close(Beam, #{}).

%% Edits are instructions by the index of the one in whose place they are.
close(#beam{chunks = Chunks, header = Header, code = Original}, Edits) ->
    Code = lists:append([maps:get(Index, Edits, [Op]) || {Index, Op} <- lists:zip(lists:seq(0, length(Original) - 1), Original)]),
    <<Before:4/binary, _:32, Labels:32, Functions:32, After/binary>> = Header,
    %% As many labels as there are, whatever the mutation did to them.
    Highest = lists:max([0 | [Label || {1, [{u, Label}]} <- Code, Label < 1 bsl 20]]),
    Head = <<Before/binary, 191:32, (max(Labels, Highest + 1)):32, Functions:32, After/binary>>,
    Body = iolist_to_binary([<<(byte_size(Head)):32>>, Head, [instruction(Op) || Op <- Code]]),
    New = lists:keystore(<<"Code">>, 1, Chunks, {<<"Code">>, Body}),
    Form = iolist_to_binary(["BEAM" | [[Id, <<(byte_size(Data)):32>>, Data, padding(byte_size(Data))] || {Id, Data} <- New]]),
    <<"FOR1", (byte_size(Form)):32, Form/binary>>.

instruction(#beam{code = Code}, Index) -> lists:nth(Index + 1, Code).
instructions_count(#beam{code = Code}) -> length(Code).

unzipped(<<31, 139, _/binary>> = File) -> zlib:gunzip(File);
unzipped(File) -> File.

chunks(<<Id:4/binary, Size:32, Data:Size/binary, Rest/binary>>) ->
    Padding = byte_size(padding(Size)),
    case Rest of
        <<_:Padding/binary, More/binary>> -> [{Id, Data} | chunks(More)];
        _ -> [{Id, Data}]
    end;
chunks(_) ->
    [].

padding(Size) -> binary:copy(<<0>>, (4 - Size rem 4) rem 4).

%% ---- Instructions ----

instructions(<<>>) -> [];
instructions(<<Opcode, Rest/binary>>) ->
    {Operands, More} = operands(arity(Opcode), Rest),
    [{Opcode, Operands} | instructions(More)].

operands(0, Rest) -> {[], Rest};
operands(Count, Rest) ->
    {Operand, More} = operand(Rest),
    {Operands, Last} = operands(Count - 1, More),
    {[Operand | Operands], Last}.

operand(<<2#10111:5, Tag:3, Rest/binary>>) when Tag =:= 7 -> extended(2#1011, Rest);
operand(<<Kind:4, 0:1, 7:3, Rest/binary>>) -> extended(Kind, Rest);
operand(<<_:5, Tag:3, _/binary>> = Code) ->
    {Number, Rest} = number(Tag, Code),
    {{tag(Tag), Number}, Rest}.

extended(1, Rest) ->
    {{u, Count}, More} = operand(Rest),
    {Elements, Last} = operands(Count, More),
    {{list, Elements}, Last};
extended(3, Rest) ->
    {{u, Count}, More} = operand(Rest),
    {Elements, Last} = operands(2 * Count, More),
    {{alloc, Elements}, Last};
extended(5, Rest) ->
    {Both, Last} = operands(2, Rest),
    {{typed, Both}, Last};
extended(2, Rest) ->
    {{u, Number}, More} = operand(Rest),
    {{fr, Number}, More};
extended(4, Rest) ->
    {{u, Number}, More} = operand(Rest),
    {{literal, Number}, More}.

number(_, <<Value:4, 0:1, _:3, Rest/binary>>) -> {Value, Rest};
number(_, <<High:3, 2#01:2, _:3, Low, Rest/binary>>) -> {High bsl 8 bor Low, Rest};
number(Tag, <<2#11111:5, _:3, Rest/binary>>) ->
    {{u, Size}, More} = operand(Rest),
    bytes(Tag, Size + 9, More);
number(Tag, <<Size:3, 2#11:2, _:3, Rest/binary>>) -> bytes(Tag, Size + 2, Rest).

bytes(Tag, Size, Code) ->
    <<Bytes:Size/binary, Rest/binary>> = Code,
    Value =
        case Tag of
            1 -> <<Signed:Size/signed-unit:8>> = Bytes, Signed;
            _ -> binary:decode_unsigned(Bytes)
        end,
    {Value, Rest}.

tag(0) -> u;
tag(1) -> i;
tag(2) -> a;
tag(3) -> x;
tag(4) -> y;
tag(5) -> f;
tag(6) -> h.

instruction({Opcode, Operands}) -> [Opcode | [encode(Operand) || Operand <- Operands]].

encode({list, Elements}) -> [16#17, number_of(0, length(Elements)) | [encode(Element) || Element <- Elements]];
encode({alloc, Elements}) -> [16#37, number_of(0, length(Elements) div 2) | [encode(Element) || Element <- Elements]];
encode({typed, Both}) -> [16#57 | [encode(Part) || Part <- Both]];
encode({fr, Number}) -> [16#27, number_of(0, Number)];
encode({literal, Number}) -> [16#47, number_of(0, Number)];
encode({Tag, Number}) -> number_of(index(Tag, [u, i, a, x, y, f, h]), Number).

index(Tag, [Tag | _]) -> 0;
index(Tag, [_ | T]) -> 1 + index(Tag, T).

number_of(Tag, Value) when Value >= 0, Value < 16 -> <<Value:4, 0:1, Tag:3>>;
number_of(Tag, Value) when Value >= 0, Value < 16#800 -> <<(Value bsr 8):3, 2#01:2, Tag:3, (Value band 255)>>;
number_of(Tag, Value) ->
    Bytes = signed(Value, 2),
    case byte_size(Bytes) of
        Size when Size =< 8 -> <<(Size - 2):3, 2#11:2, Tag:3, Bytes/binary>>;
        Size -> [<<2#11111:5, Tag:3>>, number_of(0, Size - 9), Bytes]
    end.

signed(Value, Size) ->
    case <<Value:Size/signed-unit:8>> of
        <<Value:Size/signed-unit:8>> = Bytes -> Bytes;
        _ -> signed(Value, Size + 1)
    end.

arity(Opcode) ->
    case persistent_term:get({?MODULE, Opcode}, none) of
        none ->
            %% The arities of all releases up to 29, as those of the one that runs this may be fewer.
            Later = #{178 => 3, 179 => 0, 180 => 1, 181 => 5, 182 => 3, 183 => 2, 184 => 4, 185 => 6, 186 => 2, 187 => 4, 188 => 3, 189 => 6, 190 => 3, 191 => 5},
            Arity =
                case Later of
                    #{Opcode := Known} -> Known;
                    _ -> {_, Known} = beam_opcodes:opname(Opcode), Known
                end,
            persistent_term:put({?MODULE, Opcode}, Arity),
            Arity;
        Arity ->
            Arity
    end.

%% ---- Tables ----

%% Each function's name, arity and entry, and the indexes of its first instruction and of the last.
functions(#beam{chunks = Chunks, code = Code}) ->
    {_, Atoms} = lists:keyfind(<<"AtU8">>, 1, Chunks),
    functions(Code, 0, list_to_tuple(atoms(Atoms))).

functions([{2, [_, {a, Name}, {u, Arity}]}, {1, [{u, Label}]} | Rest], At, Atoms) ->
    Length = length(lists:takewhile(fun({Opcode, _}) -> Opcode =/= 2 andalso Opcode =/= 3 end, Rest)),
    [{Name, element(Name, Atoms), Arity, Label, At + 2, At + 1 + Length} | functions(lists:nthtail(Length, Rest), At + 2 + Length, Atoms)];
functions([_ | Rest], At, Atoms) -> functions(Rest, At + 1, Atoms);
functions([], _, _) -> [].

atoms(<<Count:32/signed, Rest/binary>>) when Count < 0 -> long_atoms(Rest);
atoms(<<_:32, Rest/binary>>) -> [binary_to_atom(Name) || <<Size, Name:Size/binary>> <= Rest].

long_atoms(<<>>) -> [];
long_atoms(Atoms) ->
    {{u, Size}, Rest} = operand(Atoms),
    <<Name:Size/binary, More/binary>> = Rest,
    [binary_to_atom(Name) | long_atoms(More)].

%% All functions are exported, but those without a name of their own; and there is no function that runs at loading.
export_all(#beam{chunks = Chunks, code = Code} = Beam) ->
    Functions = functions(Beam),
    Table = [<<(length(Functions)):32>> | [<<Name:32, Arity:32, Label:32>> || {Name, _, Arity, Label, _, _} <- Functions]],
    Kept = [Chunk || {Id, _} = Chunk <- Chunks, not lists:member(Id, [<<"ExpT">>, <<"Dbgi">>, <<"Docs">>, <<"Abst">>])],
    Beam#beam{chunks = Kept ++ [{<<"ExpT">>, iolist_to_binary(Table)}], code = [Op || {Opcode, _} = Op <- Code, Opcode =/= 149]}.

%% The first atom is the module's name. From OTP 28 on, the count of atoms is negative and their lengths are operands.
rename(#beam{chunks = Chunks} = Beam, Name) ->
    {Id, Atoms} = lists:keyfind(<<"AtU8">>, 1, Chunks),
    New =
        case Atoms of
            <<Count:32/signed, Rest/binary>> when Count < 0 ->
                {{u, Size}, <<_, _/binary>> = More} = operand(Rest),
                <<_:Size/binary, Others/binary>> = More,
                iolist_to_binary([<<Count:32>>, number_of(0, byte_size(Name)), Name, Others]);
            <<Count:32, Size, _:Size/binary, Others/binary>> ->
                <<Count:32, (byte_size(Name)), Name/binary, Others/binary>>
        end,
    Beam#beam{chunks = lists:keystore(Id, 1, Chunks, {Id, New})}.
