%% Source text of valid modules made at random, for comparing engines.
%%
%% module(Name, Seed, Count) is the text of a module of Count functions, and for each function its name and some lists of
%% arguments. The same seed gives the same module. Every function ends: functions are made in levels, call only
%% those of lower levels, and loop a bounded number of times.
%%
%% Nothing depends on the order of large maps, which for keys that are atoms is every machine's own.
%%
%% Expressions are made by type, so that most of them succeed; now and then one of another type stands in, so that
%% the ways through errors are taken too.
-module(fuzz_source).
-export([module/3]).

-define(LEVELS, 3).
-define(ARGUMENT_LISTS, 12).

module(Name, Seed, Count) ->
    rand:seed(exsss, {Seed, Count, 7}),
    put(variables, 0),
    {Texts, Functions} = functions(Count, Count, [], []),
    Exports = lists:join(", ", [io_lib:format("~s/~b", [F, length(Types)]) || {F, Types, _} <- Functions]),
    Text = [
        "-module(", Name, ").\n-export([", Exports, "]).\n-record(r, {a = 1, b, c = []}).\n-record(s, {a, b = 2.5}).\n\n",
        lists:join("\n", Texts)
    ],
    {lists:flatten(Text), [{list_to_atom(F), [[value(T) || T <- Types] || _ <- lists:seq(1, ?ARGUMENT_LISTS)]} || {F, Types, _} <- Functions]}.

functions(0, _, Texts, Functions) -> {lists:reverse(Texts), lists:reverse(Functions)};
functions(N, Count, Texts, Functions) ->
    Number = Count - N + 1,
    Level = (Number - 1) * ?LEVELS div Count,
    Name = "f" ++ integer_to_list(Number),
    put(callees, [{F, Types} || {F, Types, L} <- Functions, L < Level]),
    put(calls, 3),
    {Types, Text} = function(Name),
    functions(N - 1, Count, [Text | Texts], [{Name, Types, Level} | Functions]).

%% Functions.

function(Name) ->
    case rand:uniform(14) of
        13 -> tuple_loop(Name);
        14 -> tuple_fold(Name);
        1 -> int_loop(Name);
        2 -> float_loop(Name);
        3 -> list_loop(Name);
        4 -> fold_loop(Name);
        5 -> binary_loop(Name);
        6 -> building_loop(Name);
        _ -> plain(Name)
    end.

plain(Name) ->
    Types = [type() || _ <- lists:seq(1, rand:uniform(4))],
    Result = type(),
    Heads = [clause(Name, Types, Result) || _ <- lists:seq(1, rand:uniform(3) - 1)],
    Last = general_clause(Name, Types, Result),
    {Types, [lists:join(";\n", Heads ++ [Last]), ".\n"]}.

clause(Name, Types, Result) ->
    {Patterns, Env} = lists:mapfoldl(fun head/2, [], Types),
    [Name, "(", lists:join(", ", Patterns), ")", when_(Env), " ->\n    ", body(Result, Env)].

%% Patterns of all the arguments together would seldom match.
head(T, Env) ->
    case rand:uniform(2) of
        1 -> pattern(T, Env);
        2 -> V = variable(), {V, [{V, T} | Env]}
    end.

general_clause(Name, Types, Result) ->
    Env = [{variable(), T} || T <- Types],
    [Name, "(", lists:join(", ", [V || {V, _} <- Env]), ") ->\n    ", body(Result, Env)].

body(T, Env) -> statements(rand:uniform(4) - 1, T, Env).

statements(0, T, Env) -> e(T, 3, Env);
statements(N, T, Env) ->
    {Text, Env1} = statement(Env),
    [Text, ",\n    ", statements(N - 1, T, Env1)].

statement(Env) ->
    T = type(),
    case rand:uniform(8) of
        1 -> {P, Env1} = pattern(T, Env), {[P, " = ", e(T, 2, Env)], Env1};
        2 -> {["put(", atom(), ", ", e(T, 2, Env), ")"], Env};
        _ -> V = variable(), {[V, " = ", e(T, 3, Env)], [{V, T} | Env]}
    end.

%% Loops: the first parameter bounds them, whatever a caller hands over.

int_loop(Name) ->
    Env = [{"N", int}, {"Acc", int}, {"P", Type = type()}],
    Step = pick([
        fun() -> ["(", e(int, 3, Env), ") rem 1208925819614629174706189"] end,
        fun() -> ["(", e(int, 3, Env), ") band 16#ffffffffffffffff"] end,
        fun() -> ["(", e(int, 3, Env), ") band 255"] end
    ]),
    {[count, int, Type], [
        Name, "(0, Acc, P) -> ", e(int, 2, tl(Env)), ";\n",
        Name, "(N, Acc, P) when N > 0, N < 40 -> ", Name, "(N - 1, ", Step(), ", P).\n"
    ]}.

float_loop(Name) ->
    Env = [{"N", int}, {"X", flt}, {"Y", flt}],
    {[count, flt, flt], [
        Name, "(N, X, Y) when N > 0, N < 40 -> ", Name, "(N - 1, ", e(flt, 3, Env), ", ", e(flt, 3, Env), ");\n",
        Name, "(_, X, Y) -> {X, Y}.\n"
    ]}.

%% What goes round is in a tuple.
tuple_loop(Name) ->
    {Types, Env} = tuple_elements(),
    Elements = [V || {V, _} <- Env],
    Loop = Name ++ "_loop",
    Inside = [{"N", int} | Env],
    {[count | Types], [
        Name, "(N", [[", ", V] || V <- Elements], ") -> ", Loop, "(N, ", tuple_text(Elements), ").\n",
        [[Loop, "(N, ", tuple_text(Elements), ")", when_(Inside), " -> ", Loop, "(", pick(["N - 1", "N - 2"]), ", ", tuple_text(next_elements(Types, Inside)), ");\n"]
            || _ <- lists:seq(1, rand:uniform(2) - 1)],
        Loop, "(N, ", tuple_text(Elements), ") when N > 0, N < 40 -> ", Loop, "(N - 1, ", tuple_text(next_elements(Types, Inside)), ");\n",
        Loop, "(_, ", pick([["S) -> S"], [tuple_text(Elements), ") -> ", e(any, 2, Env)]]), ".\n"
    ]}.

tuple_fold(Name) ->
    {Types, Env} = tuple_elements(),
    Elements = [V || {V, _} <- Env],
    Inside = [{"H", any} | Env],
    {[list | Types], [
        Name, "(L", [[", ", V, "0"] || V <- Elements], ") -> lists:foldl(fun(H, ", tuple_text(Elements), ") -> ",
        tuple_text(next_elements(Types, Inside)), " end, ", tuple_text([V ++ "0" || V <- Elements]), ", L).\n"
    ]}.

tuple_elements() ->
    Count = pick([1, 2, 2, 3, 3, 4, 7, 12, 13]),
    Types = [pick([flt, flt, int, int, any, atom]) || _ <- lists:seq(1, Count)],
    {Types, [{"E" ++ integer_to_list(I), T} || {I, T} <- lists:zip(lists:seq(1, Count), Types)]}.

next_elements(Types, Env) -> [next_element(T, Env) || T <- Types].

%% Now and then they change places.
next_element(T, Env) ->
    Same = [V || {V, T1} <- Env, T1 =:= T],
    case rand:uniform(3) of
        1 when Same =/= [] -> pick(Same);
        _ when T =:= int -> ["(", e(int, 2, Env), ") rem 1208925819614629174706189"];
        _ -> e(T, 2, Env)
    end.

tuple_text(Elements) -> ["{", lists:join(", ", Elements), "}"].

list_loop(Name) ->
    Env = [{"H", any}, {"P", Type = type()}],
    {P, Env1} = pattern(any, Env),
    {[list, Type], [
        Name, "([", P, " = H | T], P)", when_(Env1), " -> [", e(any, 3, Env1), " | ", Name, "(T, P)];\n",
        Name, "([H | T], P) -> [", e(int, 2, Env), " | ", Name, "(T, P)];\n",
        Name, "([], P) -> [P];\n",
        Name, "(X, P) -> {X, P}.\n"
    ]}.

fold_loop(Name) ->
    Env = [{"H", any}, {"A", int}, {"B", any}],
    {[list, int, any], [
        Name, "([H | T], A, B)", when_(Env), " -> ", Name, "(T, (", e(int, 3, Env), ") rem 16#7fffffffffffffff, H);\n",
        Name, "([H | T], A, B) -> ", Name, "(T, (A + ", e(int, 2, Env), ") band 16#fffffffffffffff, B);\n",
        Name, "(T, A, B) -> {T, A, B}.\n"
    ]}.

binary_loop(Name) ->
    {Segment, Env1} = segment_pattern([]),
    {Segment2, Env2} = segment_pattern([]),
    Env = [{"Acc", int} | Env1],
    {[bin, int], [
        Name, "(<<", Segment, ", R/bits>>, Acc)", when_(Env), " -> ", Name, "(R, (", e(int, 3, Env), ") rem 1000000007);\n",
        Name, "(<<", Segment2, ", R/bits>>, Acc) -> [", e(any, 2, Env2), " | ", Name, "(R, Acc)];\n",
        Name, "(<<_, R/bits>>, Acc) -> ", Name, "(R, Acc);\n",
        Name, "(R, Acc) -> {R, Acc}.\n"
    ]}.

building_loop(Name) ->
    Env = [{"N", int}, {"P", int}],
    {[count, bin, int], [
        Name, "(N, Acc, P) when N > 0, N < 40 -> ", Name, "(N - 1, <<Acc/bits, ", segment(Env), ", ", segment(Env), ">>, P);\n",
        Name, "(_, Acc, P) -> {Acc, P}.\n"
    ]}.

%% Expressions.

e(T, D, Env) ->
    case rand:uniform(100) of
        N when N =< 4 -> e1(type(), D, Env);
        _ -> e1(T, D, Env)
    end.

e1(T, D, Env) when D =< 0 -> leaf(T, Env);
e1(T, D, Env) ->
    case rand:uniform(10) of
        N when N =< 2 -> leaf(T, Env);
        N when N =< 5 -> control(T, D, Env);
        _ -> expression(T, D - 1, Env)
    end.

leaf(T, Env) ->
    Same = [V || {V, VT} <- Env, VT =:= T orelse T =:= any orelse T =:= num andalso (VT =:= int orelse VT =:= flt)],
    case {Same, [V || {V, any} <- Env], rand:uniform(10)} of
        {[_ | _], _, N} when N > 2 -> pick(Same);
        {_, [_ | _] = Any, 1} -> pick(Any);
        _ -> literal(T)
    end.

literal(int) -> integer_text(integer());
literal(flt) -> float_text(float_());
literal(num) -> literal(pick([int, flt]));
literal(atom) -> atom();
literal(bool) -> pick(["true", "false"]);
literal(map) -> pick(["#{}", "#{a => 1, b => 2}", "#{1 => one, a => x}", io_lib:format("~w", [value(map)])]);
%% A fun is no literal.
literal(any) -> case type() of any -> pick(["[]", "{}", "a", "1", "#{}"]); T -> literal(T) end;
literal(T) -> io_lib:format("~w", [value(T)]).

integer_text(I) when I < 0 -> ["(", integer_to_list(I), ")"];
integer_text(I) -> integer_to_list(I).
float_text(F) when F < 0 -> ["(", io_lib:format("~w", [F]), ")"];
float_text(F) -> io_lib:format("~w", [F]).

expression(int, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(26) of
        N when N =< 5 -> ["(", E(int), pick([" + ", " - ", " * "]), E(int), ")"];
        N when N =< 7 -> ["(", E(int), pick([" + ", " - "]), integer_to_list(rand:uniform(20)), ")"];
        8 -> ["(", E(int), pick([" div ", " rem "]), E(int), ")"];
        9 -> ["(", E(int), pick([" div ", " rem "]), pick(["2", "8", "10", "(-3)", "255", "1000000007", "(1 bsl 59)"]), ")"];
        N when N =< 11 -> ["(", E(int), pick([" band ", " bor ", " bxor "]), E(int), ")"];
        12 -> ["(bnot ", E(int), ")"];
        13 -> ["(", E(int), pick([" bsl ", " bsr "]), "(", E(int), " band ", pick(["7", "31", "63", "127"]), "))"];
        14 -> ["(", E(int), pick([" bsl ", " bsr "]), pick(["1", "3", "8", "30", "58", "64", "(-2)"]), ")"];
        15 -> ["(- ", E(int), ")"];
        16 -> ["abs(", E(int), ")"];
        17 -> ["length(", E(list), ")"];
        18 -> [pick(["tuple_size(", "size("]), E(tup), ")"];
        19 -> ["map_size(", E(map), ")"];
        20 -> [pick(["byte_size(", "bit_size("]), E(bin), ")"];
        21 -> [pick(["trunc(", "round(", "floor(", "ceil("]), E(num), ")"];
        22 -> [pick(["max(", "min("]), E(int), ", ", E(int), ")"];
        23 -> ["element(", E(small), ", ", E(tup), ")"];
        24 -> ["hd(", E(list), ")"];
        25 -> ["map_get(", E(key), ", ", E(map), ")"];
        26 -> ["binary_to_integer(integer_to_binary(", E(int), "))"]
    end;
expression(small, D, Env) ->
    case rand:uniform(3) of
        1 -> ["(", e(int, D, Env), " band 3)"];
        2 -> ["(1 + ", e(int, D, Env), " rem 2)"];
        3 -> literal(small)
    end;
expression(flt, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(10) of
        N when N =< 4 -> ["(", E(flt), pick([" + ", " - ", " * ", " / "]), E(flt), ")"];
        5 -> ["(", E(num), pick([" + ", " - ", " * ", " / "]), E(flt), ")"];
        6 -> ["(", E(int), " / ", E(num), ")"];
        7 -> ["float(", E(num), ")"];
        8 -> ["(- ", E(flt), ")"];
        9 -> ["abs(", E(flt), ")"];
        10 -> ["math:", pick(["sqrt", "floor", "ceil"]), "(", E(num), ")"]
    end;
expression(num, D, Env) ->
    case rand:uniform(3) of
        1 -> expression(int, D, Env);
        2 -> expression(flt, D, Env);
        3 -> ["(", e(num, D, Env), pick([" + ", " - ", " * "]), e(num, D, Env), ")"]
    end;
expression(atom, D, Env) ->
    case rand:uniform(3) of
        1 -> ["element(1, ", record(D, Env), ")"];
        2 -> ["list_to_existing_atom(atom_to_list(", e(atom, D, Env), "))"];
        3 -> ["case ", e(bool, D, Env), " of true -> ", atom(), "; _ -> ", atom(), " end"]
    end;
expression(bool, D, Env) ->
    case rand:uniform(10) of
        N when N =< 2 -> T = type(), ["(", e(T, D, Env), comparison(), e(T, D, Env), ")"];
        3 -> ["(", e(any, D, Env), comparison(), e(any, D, Env), ")"];
        4 -> ["(not ", e(bool, D, Env), ")"];
        5 -> ["(", e(bool, D, Env), pick([" andalso ", " orelse ", " and ", " or ", " xor "]), e(bool, D, Env), ")"];
        6 -> [type_test(), "(", e(any, D, Env), ")"];
        7 -> ["is_map_key(", e(key, D, Env), ", ", e(map, D, Env), ")"];
        8 -> ["lists:member(", e(any, D, Env), ", ", e(list, D, Env), ")"];
        9 -> ["is_record(", e(any, D, Env), ", r)"];
        10 -> ["lists:", pick(["any", "all"]), "(", fun_text([any], bool, pick([1, D]), Env), ", ", e(list, D, Env), ")"]
    end;
expression(list, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(17) of
        N when N =< 3 -> ["[", E(any), " | ", E(list), "]"];
        4 -> ["[", E(any), ", ", E(int), ", ", E(any), "]"];
        5 -> ["tl(", E(list), ")"];
        6 -> ["(", E(list), pick([" ++ ", " -- "]), E(list), ")"];
        7 -> ["lists:reverse(", E(list), ")"];
        8 -> ["tuple_to_list(", E(tup), ")"];
        9 -> ["integer_to_list(", E(int), ")"];
        10 -> ["lists:sort(", pick(["maps:keys(", "maps:values(", "maps:to_list("]), E(map), "))"];
        11 -> ["bitstring_to_list(", E(bin), ")"];
        12 -> V = variable(), ["[", e(any, D, [{V, any} | Env]), " || ", V, " <- ", E(list), filter([{V, any} | Env]), "]"];
        13 -> {P, Env1} = pattern(any, Env), ["[", e(any, D, Env1), " || ", P, " <- ", E(list), filter(Env1), "]"];
        14 -> {S, Env1} = segment_pattern([]), ["[", e(any, D, Env1 ++ Env), " || <<", S, ">> <= ", E(bin), "]"];
        15 -> ["lists:", pick(["map", "filtermap"]), "(", fun_text([any], any, pick([1, D]), Env), ", ", E(list), ")"];
        16 -> ["lists:", pick(["filter", "takewhile", "dropwhile"]), "(", fun_text([any], bool, pick([1, D]), Env), ", ", E(list), ")"];
        17 ->
            {X, A} = {variable(), variable()},
            Fun = ["fun(", X, ", ", A, ") -> {", e(any, pick([1, D]), [{X, any}, {A, int} | Env]), ", ", bounded(pick([1, D]), [{A, int} | Env]), "} end"],
            ["element(1, lists:", pick(["mapfoldl", "mapfoldr"]), "(", Fun, ", ", E(int), ", ", E(list), "))"]
    end;
expression(tup, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(9) of
        1 -> ["{", E(any), "}"];
        N when N =< 3 -> ["{", E(any), ", ", E(any), "}"];
        4 -> ["{", E(atom), ", ", E(int), ", ", E(any), "}"];
        5 -> ["setelement(", E(small), ", ", E(tup), ", ", E(any), ")"];
        6 -> ["list_to_tuple(", E(list), ")"];
        7 -> record(D, Env);
        8 -> ["(", E(any), ")#r{", pick(["a", "b"]), " = ", E(any), ", c = ", E(any), "}"];
        9 -> ["erlang:append_element(", E(tup), ", ", E(any), ")"]
    end;
expression(map, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(11) of
        1 -> ["#{", atom(), " => ", E(any), "}"];
        2 -> ["#{", E(key), " => ", E(any), ", ", E(key), " => ", E(any), "}"];
        3 -> ["#{a => ", E(any), ", b => ", E(int), ", ", literal(int), " => ", E(any), ", \"s\" => ", E(any), "}"];
        4 -> ["(", E(map), ")#{", atom(), " => ", E(any), "}"];
        5 -> ["(", E(map), ")#{", E(key), " => ", E(any), ", ", atom(), " => ", E(any), "}"];
        6 -> ["(", E(map), ")#{", pick(["a", "b", "c"]), " := ", E(any), "}"];
        7 -> ["(", E(map), ")#{", E(key), " := ", E(any), "}"];
        8 -> ["maps:remove(", E(key), ", ", E(map), ")"];
        9 -> ["maps:merge(", E(map), ", ", E(map), ")"];
        10 -> ["maps:put(", E(key), ", ", E(any), ", ", E(map), ")"];
        11 -> ["maps:map(", fun_text([any, any], any, D, Env), ", maps:with([a, b, c, 1], ", E(map), "))"]
    end;
expression(bin, D, Env) ->
    E = fun(T) -> e(T, D, Env) end,
    case rand:uniform(11) of
        N when N =< 3 -> ["<<", lists:join(", ", [segment(Env, D) || _ <- lists:seq(1, rand:uniform(4))]), ">>"];
        4 -> ["<<(", E(bin), ")", pick(["/binary", "/bits"]), ", ", segment(Env, D), ">>"];
        5 -> ["<<", segment(Env, D), ", (", E(bin), ")", pick(["/binary", "/bits"]), ">>"];
        6 -> ["integer_to_binary(", E(int), ")"];
        7 -> ["atom_to_binary(", E(atom), ")"];
        8 -> ["binary_part(", E(bin), ", ", E(small), ", ", E(small), ")"];
        9 -> ["iolist_to_binary([", E(bin), ", ", E(list), "])"];
        10 -> {S, Env1} = segment_pattern([]), ["<< <<", segment(Env1 ++ Env, 1), ">> || <<", S, ">> <= ", E(bin), ">>"];
        11 -> V = variable(), ["<< <<", segment([{V, any} | Env], 1), ">> || ", V, " <- ", E(list), ">>"]
    end;
expression(count, _, _) -> literal(count);
expression(key, D, Env) -> e(pick([atom, int, any]), D, Env);
expression(any, D, Env) -> e(type(), D, Env).

record(D, Env) ->
    case rand:uniform(2) of
        1 -> ["#r{b = ", e(any, D, Env), "}"];
        2 -> ["#s{a = ", e(any, D, Env), ", b = ", e(any, D, Env), "}"]
    end.

comparison() -> pick([" < ", " > ", " =< ", " >= ", " == ", " /= ", " =:= ", " =/= "]).
type_test() ->
    pick(["is_integer", "is_float", "is_number", "is_atom", "is_boolean", "is_list", "is_tuple", "is_map", "is_binary", "is_bitstring", "is_function", "is_pid"]).
filter(Env) -> case rand:uniform(2) of 1 -> [", ", test(2, Env)]; 2 -> "" end.

%% What can stand for an expression of any type.

control(T, D0, Env) ->
    D = D0 - 1,
    case rand:uniform(19) of
        N when N =< 4 -> case_of(T, D, Env);
        5 -> select(T, D, Env);
        6 -> ["if ", lists:join("; ", [[guard(2, Env), " -> ", e(T, D, Env)] || _ <- lists:seq(1, rand:uniform(2))]), "; true -> ", e(T, D, Env), " end"];
        7 -> ["begin ", statements(1, T, Env), " end"];
        8 -> V = variable(), Type = type(), ["begin ", V, " = ", fun_text([Type], T, D, Env), ", ", V, "(", e(Type, D, Env), ") end"];
        9 -> Type = type(), ["(", fun_text([Type, any], T, D, Env), ")(", e(Type, D, Env), ", ", e(any, D, Env), ")"];
        10 -> try_catch(T, D, Env);
        11 -> try_after(T, D, Env);
        12 -> caught(T, D, Env);
        13 -> receive_now(T, D, Env);
        N when N =< 15 -> ["lists:", pick(["foldl", "foldr"]), "(", folding_fun(T, pick([1, D]), Env), ", ", e(T, D, Env), ", ", e(list, D, Env), ")"];
        16 -> Type = type(), ["begin lists:foreach(", fun_text([any], Type, pick([1, D]), Env), ", ", e(list, D, Env), "), ", e(T, D, Env), " end"];
        _ -> call(T, D, Env)
    end.

case_of(T, D, Env) ->
    Of = type(),
    Clauses = [begin {P, Env1} = pattern(Of, Env), [P, when_(Env1), " -> ", e(T, D, Env1)] end || _ <- lists:seq(1, rand:uniform(3))],
    V = variable(),
    Last = case rand:uniform(4) of 1 -> []; _ -> [[V, " -> ", e(T, D, [{V, any} | Env])]] end,
    ["case ", e(Of, D, Env), " of ", lists:join("; ", Clauses ++ Last), " end"].

%% Many literals: tables and searches.
select(T, D, Env) ->
    {On, Values} = pick([
        {int, [integer_to_list(I) || I <- lists:seq(0, 6)]},
        {int, ["0", "7", "-1", "1152921504606846976", "2305843009213693952", "255"]},
        {atom, ["a", "b", "c", "true", "false", "undefined", "ok"]},
        {any, ["0", "a", "1.5", "[]", "{}", "<<>>", "{1}"]},
        {tup, ["{_}", "{_, _}", "{_, _, _}", "{_, _, _, _}"]}
    ]),
    Clauses = [[P, " -> ", e(T, D - 1, Env)] || P <- Values, rand:uniform(4) > 1],
    ["case ", e(On, D, Env), " of ", lists:join("; ", Clauses ++ [["_ -> ", e(T, D - 1, Env)]]), " end"].

fun_text(Types, T, D, Env) ->
    case [F || {F, FTypes} <- get(callees), length(FTypes) =:= length(Types)] of
        [_ | _] = Fs ->
            case rand:uniform(6) of
                1 -> ["fun ", pick(Fs), "/", integer_to_list(length(Types))];
                _ -> fun_clauses(Types, T, D, Env)
            end;
        [] -> fun_clauses(Types, T, D, Env)
    end.

fun_clauses(Types, T, D, Env) ->
    {Patterns, Env1} = patterns(Types, Env),
    First = case rand:uniform(2) of 1 -> [["(", lists:join(", ", Patterns), ")", when_(Env1), " -> ", e(T, D, Env1)]]; 2 -> [] end,
    New = [{variable(), Type} || Type <- Types],
    Last = ["(", lists:join(", ", [V || {V, _} <- New]), ") -> ", e(T, D, New ++ Env)],
    ["fun", lists:join("; ", First ++ [Last]), " end"].

%% What it makes of the last result may not grow with each element.
folding_fun(T, D, Env) when T =:= small; T =:= flt; T =:= atom; T =:= bool -> fun_text([any, T], T, D, Env);
folding_fun(int, D, Env) ->
    {X, A} = {variable(), variable()},
    ["fun(", X, ", ", A, ") -> ", bounded(D, [{X, any}, {A, int} | Env]), " end"];
folding_fun(T, D, Env) ->
    X = variable(),
    ["fun(", X, ", _) -> ", e(T, D, [{X, any} | Env]), " end"].

bounded(D, Env) -> ["(", e(int, D, Env), ") rem 1208925819614629174706189"].

try_catch(T, D, Env) ->
    {P, Env1} = pattern(any, Env),
    Of = case rand:uniform(2) of 1 -> [" of ", P, when_(Env1), " -> ", e(T, D, Env1)]; 2 -> "" end,
    V = variable(),
    C = variable(),
    Catch = pick([
        fun() -> [V, " -> ", e(T, D, [{V, any} | Env])] end,
        fun() -> ["error:", V, " -> ", e(T, D, [{V, any} | Env])] end,
        fun() -> ["throw:", V, when_([{V, any} | Env]), " -> ", e(T, D, [{V, any} | Env]), "; error:badarith -> ", e(T, D, Env)] end,
        fun() -> [C, ":", V, " -> ", e(T, D, [{V, any}, {C, atom} | Env])] end,
        fun() -> ["error:{badmatch, ", V, "} -> ", e(T, D, [{V, any} | Env]), "; ", C, ":_ -> ", e(T, D, [{C, atom} | Env])] end
    ]),
    ["try ", raising(T, D, Env), Of, " catch ", Catch(), " end"].

raising(T, D, Env) ->
    case rand:uniform(3) of
        1 -> [pick(["throw(", "error(", "exit("]), e(any, D, Env), ")"];
        2 -> ["case ", e(bool, D, Env), " of true -> ", pick(["throw(", "error(", "exit("]), e(any, D, Env), "); _ -> ", e(T, D, Env), " end"];
        3 -> body(T, Env)
    end.

try_after(T, D, Env) -> ["try ", raising(T, D, Env), " after put(", atom(), ", ", e(any, D, Env), ") end"].

caught(T, D, Env) ->
    V = variable(),
    W = variable(),
    ["case catch begin ", raising(T, D, Env), " end of {'EXIT', {", V, ", _}} -> ", e(T, D, [{V, any} | Env]), "; ", W, " -> ", e(T, D, [{W, any} | Env]), " end"].

receive_now(T, D, Env) ->
    {P, Env1} = pattern(any, Env),
    [
        "begin self() ! ", e(any, D, Env), ", ", pick(["", "self() ! last, "]),
        "receive ", P, when_(Env1), " -> ", e(T, D, Env1), " after 0 -> ", e(T, D, Env), " end end"
    ].

%% A call of a function of a lower level; each function makes few, so that the whole ends soon.
call(T, D, Env) ->
    case {get(callees), get(calls)} of
        {[_ | _] = Callees, Left} when Left > 0 ->
            put(calls, Left - 1),
            {F, Types} = pick(Callees),
            [F, "(", lists:join(", ", [e(Type, D, Env) || Type <- Types]), ")"];
        _ -> expression(T, D, Env)
    end.

%% Guards.

when_(Env) -> case rand:uniform(3) of 1 -> [" when ", guard(2, Env)]; _ -> "" end.

guard(D, Env) ->
    Test = fun() -> test(D, Env) end,
    case rand:uniform(6) of
        1 -> [Test(), ", ", Test()];
        2 -> [Test(), "; ", Test()];
        _ -> Test()
    end.

test(D, Env) ->
    case rand:uniform(9) of
        N when N =< 3 -> ["(", g(int, D, Env), comparison(), g(int, D, Env), ")"];
        4 -> ["(", g(any, D, Env), comparison(), g(any, D, Env), ")"];
        5 -> [type_test(), "(", g(any, D, Env), ")"];
        6 -> ["is_map_key(", g(any, D, Env), ", ", g(map, D, Env), ")"];
        7 -> ["(", test(D - 1, Env), pick([" andalso ", " orelse ", " and ", " or ", " xor "]), test(D - 1, Env), ")"];
        8 -> ["(not ", test(D - 1, Env), ")"];
        9 -> ["(", g(flt, D, Env), comparison(), g(num, D, Env), ")"]
    end.

g(T, D, Env) when D =< 0 -> leaf(T, Env);
g(int, D, Env) ->
    case rand:uniform(12) of
        N when N =< 4 -> leaf(int, Env);
        5 -> ["(", g(int, D - 1, Env), pick([" + ", " - ", " * ", " div ", " rem ", " band ", " bor ", " bxor "]), g(int, D - 1, Env), ")"];
        6 -> ["length(", leaf(list, Env), ")"];
        7 -> ["tuple_size(", leaf(tup, Env), ")"];
        8 -> ["map_size(", leaf(map, Env), ")"];
        9 -> [pick(["byte_size(", "bit_size("]), leaf(bin, Env), ")"];
        10 -> ["element(", leaf(small, Env), ", ", leaf(tup, Env), ")"];
        11 -> ["abs(", g(int, D - 1, Env), ")"];
        12 -> [pick(["trunc(", "round("]), g(flt, D - 1, Env), ")"]
    end;
g(flt, D, Env) ->
    case rand:uniform(3) of
        1 -> leaf(flt, Env);
        2 -> ["(", g(num, D - 1, Env), pick([" + ", " - ", " * ", " / "]), g(flt, D - 1, Env), ")"];
        3 -> ["float(", g(num, D - 1, Env), ")"]
    end;
g(any, D, Env) ->
    case rand:uniform(4) of
        1 -> ["hd(", leaf(list, Env), ")"];
        2 -> ["map_get(", leaf(key, Env), ", ", leaf(map, Env), ")"];
        3 -> g(pick([int, flt]), D, Env);
        4 -> leaf(any, Env)
    end;
g(T, _, Env) -> leaf(T, Env).

%% Patterns.

patterns(Types, Env) -> lists:mapfoldl(fun(T, Env1) -> pattern(T, Env1) end, Env, Types).

pattern(any, Env) -> pattern(type(), Env);
pattern(T, Env) ->
    case rand:uniform(6) of
        1 -> V = variable(), {V, [{V, T} | Env]};
        2 -> V = variable(), {P, Env1} = pattern1(T, Env), {[P, " = ", V], [{V, T} | Env1]};
        _ -> pattern1(T, Env)
    end.

pattern1(list, Env) ->
    case rand:uniform(5) of
        1 -> {"[]", Env};
        2 -> {P, Env1} = pattern(any, Env), V = variable(), {["[", P, " | ", V, "]"], [{V, list} | Env1]};
        3 -> {[P, Q], Env1} = patterns([any, any], Env), {["[", P, ", ", Q, "]"], Env1};
        4 -> V = variable(), {["[_, ", V, " | _]"], [{V, any} | Env]};
        5 -> V = variable(), {["\"ab\" ++ ", V], [{V, any} | Env]}
    end;
pattern1(tup, Env) ->
    case rand:uniform(6) of
        1 -> {P, Env1} = pattern(any, Env), {["{", P, "}"], Env1};
        2 -> {[P, Q], Env1} = patterns([any, any], Env), {["{", P, ", ", Q, "}"], Env1};
        3 -> {[P, Q], Env1} = patterns([int, any], Env), {["{", atom(), ", ", P, ", ", Q, "}"], Env1};
        4 -> V = variable(), {["{", V, ", ", V, "}"], [{V, any} | Env]};
        5 -> {P, Env1} = pattern(any, Env), {["#r{b = ", P, "}"], Env1};
        6 -> {P, Env1} = pattern(any, Env), {["#s{a = ", P, ", b = 2.5}"], Env1}
    end;
pattern1(map, Env) ->
    case rand:uniform(5) of
        1 -> {"#{}", Env};
        2 -> {P, Env1} = pattern(any, Env), {["#{", atom(), " := ", P, "}"], Env1};
        3 -> {[P, Q], Env1} = patterns([any, int], Env), {["#{a := ", P, ", b := ", Q, "}"], Env1};
        4 -> {P, Env1} = pattern(any, Env), {["#{", literal(key), " := ", P, "}"], Env1};
        5 ->
            V = variable(),
            case Env of
                [] -> {["#{1 := ", V, "}"], [{V, any}]};
                %% Only what is bound before the whole pattern may be a key: in heads nothing is.
                _ -> {["#{a := ", V, ", \"s\" := _}"], [{V, any} | Env]}
            end
    end;
pattern1(bin, Env) ->
    {Segments, Env1} = lists:mapfoldl(fun(_, New) -> segment_pattern(New) end, [], lists:seq(1, rand:uniform(3))),
    V = variable(),
    {Rest, Env2} = case rand:uniform(4) of
        1 -> {"", Env1};
        2 -> {[", ", V, "/binary"], [{V, bin} | Env1]};
        _ -> {[", ", V, "/bits"], [{V, bin} | Env1]}
    end,
    {["<<", lists:join(", ", Segments), Rest, ">>"], Env2 ++ Env};
pattern1(int, Env) -> {literal(int), Env};
pattern1(atom, Env) -> {atom(), Env};
pattern1(bool, Env) -> {literal(bool), Env};
pattern1(flt, Env) -> {literal(flt), Env};
pattern1(_, Env) -> V = variable(), {V, [{V, any} | Env]}.

%% One segment; sizes may be integers matched before in the same binary.
segment_pattern(Env) ->
    V = variable(),
    case rand:uniform(16) of
        N when N =< 3 -> {[V, ":", size_text(Env)], [{V, int} | Env]};
        N when N =< 5 -> {V, [{V, int} | Env]};
        N when N =< 7 -> {[V, ":", size_text(Env), "/", pick(["signed", "little", "signed-little", "integer", "big-unsigned"])], [{V, int} | Env]};
        8 -> {[V, ":", pick(["16", "32", "64"]), pick(["/float", "/little-float"])], [{V, flt} | Env]};
        9 -> {[V, ":", size_text(Env), pick(["/binary", "/bits"])], [{V, bin} | Env]};
        10 -> {[V, pick(["/utf8", "/utf16", "/utf32", "/little-utf16"])], [{V, int} | Env]};
        11 -> {[V, ":", pick(["1", "2", "3"]), "/binary-unit:", pick(["1", "3", "7", "16"])], [{V, bin} | Env]};
        12 -> {[V, ":", pick(["1", "2", "5"]), "/unit:", pick(["4", "9", "13"])], [{V, int} | Env]};
        13 -> {["_:", size_text(Env)], Env};
        14 -> {[integer_to_list(rand:uniform(4) - 1), ":", pick(["1", "2", "8", "16", "3"])], Env};
        15 -> {["\"", pick(["a", "ab", "h"]), "\""], Env};
        16 -> {["_/utf8"], Env}
    end.

size_text(Env) ->
    case [V || {V, int} <- Env] of
        [_ | _] = Vs -> case rand:uniform(3) of 1 -> pick(Vs); _ -> size_literal() end;
        [] -> size_literal()
    end.
size_literal() -> pick(["1", "2", "3", "4", "7", "8", "8", "12", "13", "16", "16", "24", "31", "32", "32", "48", "59", "60", "61", "62", "63", "64", "65", "80", "128", "0"]).

segment(Env) -> segment(Env, 1).
segment(Env, D) ->
    Value = fun(T) -> ["(", e(T, D - 1, Env), ")"] end,
    case rand:uniform(13) of
        N when N =< 2 -> [Value(int), ":", size_literal()];
        3 -> Value(int);
        4 -> [Value(int), ":", size_literal(), "/", pick(["signed", "little", "signed-little", "integer", "big-unsigned"])];
        5 -> [Value(int), ":(", e(int, D - 1, Env), " band ", pick(["15", "63", "127"]), ")", pick(["", "/little"])];
        6 -> [Value(num), ":", pick(["16", "32", "64"]), pick(["/float", "/little-float"])];
        7 -> [Value(bin), pick(["/binary", "/bits"])];
        8 -> [Value(bin), ":(", e(int, D - 1, Env), " band 7)", pick(["/binary", "/bits"])];
        9 -> [Value(int), pick(["/utf8", "/utf16", "/utf32", "/little-utf32"])];
        10 -> [Value(int), ":", pick(["1", "2", "5"]), "/unit:", pick(["4", "9", "13"])];
        11 -> [Value(bin), ":", pick(["1", "2"]), "/binary-unit:", pick(["1", "3", "16"])];
        12 -> ["\"", pick(["a", "xyz", "text of some length"]), "\""];
        13 -> [integer_to_list(rand:uniform(300)), ":", pick(["1", "8", "16", "5"])]
    end.

%% Values and names.

type() -> pick([int, int, int, flt, num, atom, bool, list, list, tup, tup, map, map, bin, bin, bin, any, any]).

value(any) ->
    case type() of any -> pick([[], {}, a, 1, #{}, fun erlang:abs/1]); T -> value(T) end;
value(int) -> integer();
value(flt) -> float_();
value(num) -> value(pick([int, flt]));
value(count) -> pick([0, 1, 2, 3, 5, 9, 17, 33]);
value(small) -> pick([0, 1, 2, 3, 4, -1]);
value(atom) -> list_to_atom(atom());
value(bool) -> pick([true, false]);
value(key) -> pick([a, b, c, 1, 2, "s", {1}, 1.0, <<"k">>]);
value(list) ->
    pick([
        [], [1, 2, 3], [a | b], "abc", "ab", [{a, 1}, {b, 2}, {c, 3}], [1.5, 2, 1 bsl 70], [[], [[]], {}], lists:seq(1, 20), [255, 256], [true, false],
        [<<"bin">>, #{a => 1}], [integer() || _ <- lists:seq(1, 5)], [{r, 1, 2, 3}, {s, 1, 2.5}], [$h, <<"ello">>, [32]]
    ]);
value(tup) ->
    pick([{}, {1}, {a, 1}, {1, 1}, {a, 2, b}, {ok, 7, []}, {r, 1, 2, 3}, {r, a, [x], 2.0}, {s, 1, 2.5}, {s, 5, 6}, {1, 2, 3, 4}, {integer(), float_()}, {"ab", <<1, 2>>}]);
value(map) ->
    pick([
        #{}, #{a => 1}, #{a => 1, b => 2}, #{a => x, b => 7, c => []}, #{1 => one, 1.0 => float, "s" => string}, #{"s" => 1, a => 2.0, b => -1},
        maps:from_list([{I, I * I} || I <- lists:seq(1, 40)] ++ [{a, 1}, {b, 2}]), #{{1} => [1], <<"k">> => v}, maps:from_list([{I, []} || I <- lists:seq(1, 32)])
    ]);
value(bin) ->
    pick([
        <<>>, <<1>>, <<0, 0, 0, 1>>, <<1, 2, 3, 4, 5, 6, 7, 8, 9>>, <<"hello world">>, <<"ab">>, <<1:1>>, <<5:13>>, <<255, 255, 255, 255, 255, 255, 255, 255>>,
        <<"åäö€"/utf8>>, <<1.5:64/float, 2.5:32/float>>, <<0:800>>, list_to_binary(lists:seq(1, 100)), <<1:1, "unaligned bytes">>, <<128, 64, 32, 16, 7:3>>,
        binary:part(list_to_binary(lists:seq(0, 90)), 3, 80), <<16#7ff0:16, 0:48, 1>>, <<"text">>
    ]).

integer() ->
    case rand:uniform(5) of
        1 -> rand:uniform(1000) - 500;
        2 -> (1 bsl pick([7, 8, 15, 16, 27, 28, 31, 32, 57, 58, 59, 60, 61, 62, 63, 64, 100])) - pick([-1, 0, 1]);
        3 ->
            %% OTP's least small integer, made from a float, equals nothing there.
            Power = pick([7, 8, 31, 32, 58, 59, 60, 61, 62, 63, 64, 65]),
            -(1 bsl Power) + pick([-1, 1 | [0 || Power =/= 59]]);
        _ -> pick([0, 1, 2, 3, 4, 7, 8, 10, 255, 256, -1, -2, $a, $h, 16#1f600, 16#d800, 16#ffff])
    end.
float_() ->
    case rand:uniform(3) of
        1 -> rand:uniform() * 1000 - 500;
        _ -> pick([0.0, 1.0, -1.0, 0.5, 1.5, -2.25, 1.0e300, 1.0e-300, 5.0e-324, 1.7976931348623157e308, 9007199254740992.0, 1.0e22, 2.0, 100.0, 1152921504606846976.0, 3.0e18])
    end.
atom() -> pick(["a", "b", "c", "ok", "error", "true", "false", "undefined", "r", "s"]).

variable() ->
    N = get(variables) + 1,
    put(variables, N),
    "V" ++ integer_to_list(N).

pick(List) -> lists:nth(rand:uniform(length(List)), List).
