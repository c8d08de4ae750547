%% Instructions that compilers of later releases emit and OTP 25's does not: bs_match and update_record.
%%
%% main() makes modules made_1, made_2, ... of functions that are assembled at random (always the same ones), each around
%% one such instruction; calls them with bitstrings that match, and with others; and compares what comes out, also the
%% position and the registers after a failure, with what the commands mean when they are carried out one by one. Prints how
%% much was done; what comes out otherwise is printed before, and ends it.
-module(later_instructions).
-export([main/0]).

-define(MODULES, 8).
-define(FUNCTIONS, 40).
%% Enough for a function to be seen and compiled on the way.
-define(REPEATS, 12).
-define(UPDATES, 60).

main() ->
    rand:seed(exsss, {26, 27, 182}),
    know_opcodes([{update_record, 5, 181}, {bs_match, 3, 182}]),
    Counts = [matches(Number) || Number <- lists:seq(1, ?MODULES)],
    {Matched, Failed} = lists:foldl(fun({M, F}, {Ms, Fs}) -> {M + Ms, F + Fs} end, {0, 0}, Counts),
    loops(),
    updates(),
    io:format("~b matched, ~b failed~n", [Matched, Failed]).

check(_, Same, Same) -> ok;
check(What, Got, Expected) ->
    io:format("different: ~p~ngot ~p~nexpected ~p~n", [What, Got, Expected]),
    halt(1).

%% ---- The assembler ----

%% OTP 25's assembler asks beam_opcodes for the numbers of instructions: now it knows these, too.
know_opcodes(Later) ->
    Known = [{Name, Arity, Number} || Number <- lists:seq(1, 180), {Name, Arity} <- [catch beam_opcodes:opname(Number)]],
    All = Known ++ [Opcode || {Name, Arity, _} = Opcode <- Later, not lists:any(fun({N, A, _}) -> {N, A} =:= {Name, Arity} end, Known)],
    Clause = fun(Arguments, Value) -> {clause, 1, [erl_parse:abstract(A) || A <- Arguments], [], [erl_parse:abstract(Value)]} end,
    Forms = [
        {attribute, 1, module, beam_opcodes},
        {attribute, 1, export, [{format_number, 0}, {opcode, 2}, {opname, 1}]},
        {function, 1, format_number, 0, [Clause([], beam_opcodes:format_number())]},
        {function, 1, opcode, 2, [Clause([Name, Arity], Number) || {Name, Arity, Number} <- All]},
        {function, 1, opname, 1, [Clause([Number], {Name, Arity}) || {Name, Arity, Number} <- All]}
    ],
    {ok, beam_opcodes, Beam} = compile:forms(Forms),
    ok = code:unstick_dir(filename:join(code:lib_dir(compiler), "ebin")),
    code:purge(beam_opcodes),
    {module, beam_opcodes} = code:load_binary(beam_opcodes, "beam_opcodes", Beam).

%% Loads a module of [{Name, Arity, Body}]. The body is a fun of the number of its first own label, of which it may use
%% ten; the entry is the one before.
load(Module, Functions) ->
    Numbered = lists:zip(lists:seq(1, length(Functions)), Functions),
    Code = [
        {function, Name, Arity, N * 12 + 1, [{label, N * 12}, {func_info, {atom, Module}, {atom, Name}, Arity}, {label, N * 12 + 1} | Body(N * 12 + 2)]}
     || {N, {Name, Arity, Body}} <- Numbered
    ],
    Exports = [{Name, Arity} || {Name, Arity, _} <- Functions],
    {ok, Beam} = beam_asm:module({Module, Exports, [], Code, (length(Functions) + 2) * 12}, [], [], []),
    {module, Module} = code:load_binary(Module, atom_to_list(Module), iolist_to_binary(Beam)).

name(Prefix, Number) -> list_to_atom(Prefix ++ integer_to_list(Number)).

%% ---- bs_match ----

matches(Number) ->
    Module = name("made_", Number),
    Plans = [{name("f", N), plan(N)} || N <- lists:seq(1, ?FUNCTIONS)],
    load(Module, [{Name, 2, body(Plan)} || {Name, Plan} <- Plans]),
    Calls = [{Module, Name, Plan, input(Plan)} || {Name, Plan} <- Plans, _ <- lists:seq(1, 40)],
    Outcomes = [call(Call) || Call <- Calls],
    {length([x || match <- Outcomes]), length([x || fail <- Outcomes])}.

call({Module, Name, {Where, Commands}, {Bits, Start}}) ->
    {Tag, Position, Registers} = expected(Commands, Bits, Start, maps:from_list([{N, old} || N <- registers(Commands)])),
    Expected = {Tag, Position - Start, [used(Tag, N, maps:get(N, Registers), Commands) || N <- registers(Commands)]},
    [
        begin
            [Got, First, Last | Values] = tuple_to_list(Module:Name(Bits, Start)),
            check({Module, Name, Where, Commands, Bits, Start}, {Got, Last - First, Values}, Expected)
        end
     || _ <- lists:seq(1, ?REPEATS)
    ],
    Tag.

%% Integers that have matched are computed with, so that a wrong idea of their bounds or signs shows.
used(match, N, Value, Commands) ->
    case is_integer_register(N, Commands) of
        true -> {Name, Number} = operation(N), erlang:Name(Value, Number);
        false -> Value
    end;
used(fail, _, Value, _) -> Value.

operation(N) -> case N rem 2 of 0 -> {'+', 1}; 1 -> {'div', 4} end.

is_integer_register(N, Commands) -> [x || {integer, _, _, _, R} <- Commands, R =:= N] =/= [].

registers(Commands) -> lists:usort([N || {integer, _, _, _, N} <- Commands] ++ [N || {binary, _, _, N} <- Commands] ++ [N || {get_tail, N} <- Commands]).

%% What the commands mean, one by one: {match or fail, position, registers}.
expected([], _, Position, Registers) -> {match, Position, Registers};
expected([Command | Rest], Bits, Position, Registers) ->
    Left = bit_size(Bits) - Position,
    case Command of
        {ensure_at_least, Size, Unit} when Left >= Size, (Left - Size) rem Unit =:= 0 -> expected(Rest, Bits, Position, Registers);
        {ensure_exactly, Left} -> expected(Rest, Bits, Position, Registers);
        {skip, Size} when Left >= Size -> expected(Rest, Bits, Position + Size, Registers);
        {integer, Flags, Size, Unit, N} when Left >= Size * Unit ->
            expected(Rest, Bits, Position + Size * Unit, Registers#{N := integer(Flags, bits_at(Bits, Position, Size * Unit))});
        {binary, Size, Unit, N} when Left >= Size * Unit ->
            expected(Rest, Bits, Position + Size * Unit, Registers#{N := bits_at(Bits, Position, Size * Unit)});
        {get_tail, N} -> expected(Rest, Bits, Position, Registers#{N := bits_at(Bits, Position, Left)});
        {'=:=', Size, Value} when Left >= Size ->
            case bits_at(Bits, Position, Size) of
                <<Value:Size>> -> expected(Rest, Bits, Position + Size, Registers);
                _ -> {fail, Position + Size, Registers}
            end;
        _ -> {fail, Position, Registers}
    end.

bits_at(Bits, Position, Size) ->
    <<_:Position, Part:Size/bits, _/bits>> = Bits,
    Part.

integer(Flags, Bits) ->
    Size = bit_size(Bits),
    case lists:sort(Flags) of
        [] -> <<X:Size>> = Bits, X;
        [signed] -> <<X:Size/signed>> = Bits, X;
        [little] -> <<X:Size/little>> = Bits, X;
        [little, signed] -> <<X:Size/signed-little>> = Bits, X
    end.

%% A function of a bitstring and where to begin in it: {match or fail, position before, after, registers ...}.
body({Where, Commands}) ->
    Numbers = registers(Commands),
    Count = length(Numbers),
    Index = maps:from_list(lists:zip(Numbers, lists:seq(0, Count - 1))),
    {Register, Live} = case Where of x -> {fun(N) -> {x, 3 + maps:get(N, Index)} end, 3 + Count}; y -> {fun(N) -> {y, maps:get(N, Index)} end, 3} end,
    Values = [Register(N) || N <- Numbers],
    Used = [{N, Register(N)} || N <- Numbers, is_integer_register(N, Commands)],
    fun(Label) ->
        [None, Fail, End] = [Label, Label + 1, Label + 2],
        [{test, bs_start_match3, {f, None}, 2, [{x, 0}], {x, 2}}, {test, bs_skip_bits2, {f, None}, [{x, 2}, {x, 1}, 1, {field_flags, []}]}] ++
        [{allocate, Count, 3} || Where =:= y] ++
        [{move, {atom, old}, Value} || Value <- Values] ++
        [{bs_get_position, {x, 2}, {x, 0}, Live},
         {bs_match, {f, Fail}, {x, 2}, {list, lists:flatmap(fun(Command) -> operands(Command, Register, Live) end, Commands)}}] ++
        [{gc_bif, Name, {f, 0}, Live, [Value, {integer, Number}], Value} || {N, Value} <- Used, {Name, Number} <- [operation(N)]] ++
        [{move, {atom, match}, {x, 1}}, {jump, {f, End}},
         {label, Fail}, {move, {atom, fail}, {x, 1}},
         {label, End}, {bs_get_position, {x, 2}, {x, 2}, Live},
         {test_heap, Count + 4, Live}, {put_tuple2, {x, 0}, {list, [{x, 1}, {x, 0}, {x, 2} | Values]}}] ++
        [{deallocate, Count} || Where =:= y] ++
        [return, {label, None}, {move, {atom, none}, {x, 0}}, return]
    end.

operands({integer, Flags, Size, Unit, N}, Register, Live) -> [{atom, integer}, Live, flags(Flags), Size, Unit, Register(N)];
operands({binary, Size, Unit, N}, Register, Live) -> [{atom, binary}, Live, nil, Size, Unit, Register(N)];
operands({get_tail, N}, Register, Live) -> [{atom, get_tail}, Live, 1, Register(N)];
%% Compilers write the value as a number without a tag of its own; the loader takes integers, too.
operands({'=:=', Size, Value}, _, _) -> [{atom, '=:='}, nil, Size, case Size rem 2 of 0 -> Value; 1 -> {integer, Value} end];
operands(Command, _, _) -> [Name | Numbers] = tuple_to_list(Command), [{atom, Name} | Numbers].

flags([]) -> nil;
flags(Flags) -> {literal, Flags}.

%% Commands at random, for results in X or Y registers.
plan(Number) ->
    Fields = [field(N) || N <- lists:seq(0, rand:uniform(7) - 1)],
    Whole = case Number rem 3 of 0 -> Fields; _ -> filled_up(Fields) end,
    Total = lists:sum([width(Field) || Field <- Whole]),
    Ensured = case rand:uniform(10) of
        1 -> Whole;
        2 -> [pick([{ensure_at_least, Total div 2, 1}, {ensure_exactly, Total div 2}, {ensure_exactly, max(Total - 9, 0)}]) | Whole];
        3 ->
            {Before, Behind} = lists:split(length(Whole) div 2, Whole),
            Rest = lists:sum([width(Field) || Field <- Behind]),
            Before ++ [pick([{ensure_exactly, Rest}, {ensure_at_least, Rest, 8}, {ensure_at_least, Rest, 3}]) | Behind];
        N when N < 6 -> [{ensure_exactly, Total} | Whole];
        _ -> [{ensure_at_least, Total, pick([1, 1, 8, 8, 16, 3])} | Whole]
    end,
    Plan = case registers(Ensured) of
        [] -> Ensured ++ [{get_tail, 0}];
        _ -> Ensured
    end,
    {pick([x, x, y]), Plan}.

%% With a skip behind that ends on a whole byte.
filled_up(Fields) ->
    case lists:sum([width(Field) || Field <- Fields]) rem 8 of
        0 -> Fields;
        Rest -> Fields ++ [{skip, 8 - Rest}]
    end.

field(N) ->
    case rand:uniform(12) of
        1 -> {skip, pick([1, 3, 8, 13, 16, 64, 77])};
        2 -> {binary, pick([0, 1, 5, 8, 24, 70]), pick([1, 8]), N};
        3 -> Size = pick([1, 4, 7, 8, 15, 16, 24, 31, 32, 33, 40, 56, 57, 60, 61, 62, 63, 64]), {'=:=', Size, pick([bits(Size), ones(Size)])};
        4 -> {get_tail, N};
        5 -> {integer, pick_flags(), pick([0, 65, 72, 100, 128, 131]), 1, N};
        6 -> {integer, pick_flags(), rand:uniform(8), 8, N};
        7 -> {integer, pick_flags(), pick([57, 58, 60, 61, 61, 61, 62, 62, 63, 64]), 1, N};
        _ -> {integer, pick_flags(), rand:uniform(pick([8, 16, 64])), 1, N}
    end.

pick_flags() -> pick([[], [], [signed], [little], [signed, little]]).

width({integer, _, Size, Unit, _}) -> Size * Unit;
width({binary, Size, Unit, _}) -> Size * Unit;
width({skip, Size}) -> Size;
width({'=:=', Size, _}) -> Size;
width(_) -> 0.

%% A bitstring and a place in it where the fields begin: as they are wanted, mostly; with little or much around, or cut off.
input({_, Commands}) ->
    Start = pick([0, 0, 0, 8, 16, rand:uniform(40)]),
    Fields = << <<(wanted(Command))/bits>> || Command <- Commands >>,
    Behind = pick([0, 0, 8, 16, 24, rand:uniform(80), 1000]),
    Whole = <<(bits(Start)):Start, Fields/bits, (bits(Behind)):Behind>>,
    Changed = case rand:uniform(8) of
        1 -> Size = max(Start, Start + bit_size(Fields) - pick([rand:uniform(20), 9, bit_size(Fields) - bit_size(Fields) div 2])), <<Cut:Size/bits, _/bits>> = Whole, Cut;
        2 when Whole =/= <<>> -> At = rand:uniform(bit_size(Whole)) - 1, <<A:At/bits, Bit:1, B/bits>> = Whole, <<A/bits, (1 - Bit):1, B/bits>>;
        _ -> Whole
    end,
    %% On its own, or a part of another.
    case rand:uniform(3) of
        1 -> Before = rand:uniform(24), <<_:Before, Part/bits>> = <<(bits(Before)):Before, Changed/bits>>, {Part, Start};
        _ -> {Changed, Start}
    end.

wanted({'=:=', Size, Value}) -> <<Value:Size>>;
wanted(Command) -> Size = width(Command), <<(pick([bits(Size), bits(Size), ones(Size), 0])):Size>>.

bits(0) -> 0;
bits(Size) -> rand:uniform(1 bsl Size) - 1.

ones(Size) -> (1 bsl Size) - 1.

pick(Choices) -> lists:nth(rand:uniform(length(Choices)), Choices).

%% ---- Loops that take a bitstring apart ----

loops() ->
    Ints = fun(Size, Flags) -> [{integer, Flags, Size, 1, 0}] end,
    Loops = [
        {bytes, 8, Ints(8, []), fun(B) -> lists:sum([X || <<X>> <= B]) end},
        {nibbles, 4, Ints(4, []), fun(B) -> lists:sum([X || <<X:4>> <= B]) end},
        {thirteens, 13, Ints(13, [signed]), fun(B) -> lists:sum([X || <<X:13/signed>> <= B]) end},
        {words, 64, Ints(64, [little]), fun(B) -> lists:sum([X || <<X:64/little>> <= B]) end},
        {pairs, 32, [{'=:=', 3, 5}, {integer, [], 13, 1, 0}, {skip, 16}], fun(B) -> lists:sum([X || <<5:3, X:13, _:16>> <= B]) end}
    ],
    load(made_loops, [{own, 1, fun own/1} | [{Name, 2, loop(Size, Commands)} || {Name, Size, Commands, _} <- Loops]]),
    Binary = << <<5:3, (bits(29)):29>> || _ <- lists:seq(1, 500) >>,
    Short = <<1, 2, 3>>,
    [check({loop, Name}, made_loops:Name(B, 0), Sum(B)) || {Name, _, _, Sum} <- Loops, B <- [Binary, Short, <<>>], _ <- lists:seq(1, 50)],
    [check(own, made_loops:own(<<1, 2, 3:5>>), <<2, 3:5>>) || _ <- lists:seq(1, 2000)],
    check(own, made_loops:own(<<2, 2, 3:5>>), none).

%% The sum of the fields of a bitstring, in X1.
loop(Size, Commands) ->
    fun(Label) ->
        [{test, bs_start_match3, {f, Label}, 2, [{x, 0}], {x, 0}},
         {bs_match, {f, Label}, {x, 0},
          {list, [{atom, ensure_at_least}, Size, 1 | lists:flatmap(fun(Command) -> operands(Command, fun(_) -> {x, 2} end, 2) end, Commands)]}},
         {gc_bif, '+', {f, 0}, 3, [{x, 1}, {x, 2}], {x, 1}},
         {call_only, 2, {f, Label - 1}},
         {label, Label}, {move, {x, 1}, {x, 0}}, return]
    end.

%% The tail takes the place of the context.
own(Label) ->
    [{test, bs_start_match3, {f, Label}, 1, [{x, 0}], {x, 0}},
     {bs_match, {f, Label}, {x, 0}, {list, [{atom, ensure_at_least}, 8, 1, {atom, '=:='}, nil, 8, {integer, 1}, {atom, get_tail}, 1, 1, {x, 0}]}},
     return,
     {label, Label}, {move, {atom, none}, {x, 0}}, return].

%% ---- update_record ----

%% Replaces elements of its first argument by the second and by constants.
updates() ->
    Updates = [{name("u", N), update()} || N <- lists:seq(1, ?UPDATES)],
    load(made_updates, [{Name, 2, fun(_) -> [{test_heap, Size + 1, 2}, {update_record, {atom, Hint}, Size, {x, 0}, {x, 0}, {list, List}}, return] end}
                        || {Name, {Hint, Size, List}} <- Updates]),
    [updated(Name, Update, Tuple, New) || {Name, {_, Size, _} = Update} <- Updates, Tuple <- tuples(Size), New <- [a, <<"new">>], _ <- lists:seq(1, 20)].

update() ->
    Size = pick([1, 2, 3, 5, 8, 63, 64, 65, 70]),
    Positions = lists:usort([rand:uniform(Size) || _ <- lists:seq(1, rand:uniform(4))]),
    {pick([copy, reuse]), Size, lists:append([[Position, pick([{x, 1}, {atom, a}, {integer, 7}])] || Position <- Positions])}.

tuples(Size) -> [erlang:make_tuple(Size, a), list_to_tuple(lists:seq(1, Size)), list_to_tuple(lists:duplicate(Size, 7)), erlang:make_tuple(Size + 1, a), a].

updated(Name, {Hint, Size, List}, Tuple, New) when tuple_size(Tuple) =:= Size ->
    Expected = replaced(List, Tuple, New),
    Got = made_updates:Name(Tuple, New),
    check({update, Name, Hint, List, Tuple, New}, Got, Expected),
    check({same, Name, Hint, List, Tuple, New}, erts_debug:same(Got, Tuple), Hint =:= reuse andalso Got =:= Tuple);
updated(Name, _, Tuple, New) ->
    check({bad, Name}, try made_updates:Name(Tuple, New) catch error:Reason -> Reason end, {badrecord, Tuple}).

replaced([], Tuple, _) -> Tuple;
replaced([Position, Source | Rest], Tuple, New) ->
    Value = case Source of {x, 1} -> New; {_, Constant} -> Constant end,
    replaced(Rest, setelement(Position, Tuple, Value), New).
