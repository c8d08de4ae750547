%% A float segment of no bits matches as 0.0.
-module(empty_floats).
-export([main/0]).

main() ->
    [io:format("~p~n", [Result])
     || Binary <- [<<1>>, <<>>, <<1:4>>, <<1, 2, 3>>], Size <- [0, 1, 8, 24],
        Result <- [{Binary, Size, named(Binary, Size), unit(Binary, Size), little(Binary, Size),
                    unnamed(Binary, Size), rest(Binary, Size), generated(Binary, Size), comprehension(Binary, Size),
                    twice(Binary, Size), evaluated(Binary, Size)}]],
    io:format("~p~n", [{literal(<<1>>), unnamed_literal(<<>>)}]),
    [hot(<<N>>, 0) || N <- lists:seq(0, 255), _ <- lists:seq(1, 20)],
    io:format("~p~n", [hot(<<1>>, 0)]),
    io:format("~p~n", [[try <<1.5:S/float>> catch error:Reason -> Reason end || S <- [0, 1, 8, 16]]]).

named(B, S) -> case B of <<A:S/float, R/bits>> -> {A, R}; _ -> no end.
unit(B, S) -> case B of <<A:S/float-unit:8, R/bits>> -> {A, R}; _ -> no end.
little(B, S) -> case B of <<A:S/float-little, R/bits>> -> {A, R}; _ -> no end.
unnamed(B, S) -> case B of <<_:S/float, R/bits>> -> R; _ -> no end.
rest(B, S) -> case B of <<X, A:S/float>> -> {X, A}; _ -> no end.
generated(B, S) -> [{X, Y} || <<X:S/float, Y>> <= B].
comprehension(B, S) -> << <<Y>> || <<_:S/float, Y>> <= B >>.
twice(B, S) -> case B of <<A:S/float, C:S/float, _/bits>> when A =:= C -> A; _ -> no end.
hot(B, S) -> case B of <<A:S/float, X>> -> {A, X}; _ -> no end.
literal(B) -> case B of <<A:0/float, R/bits>> -> {A, R}; _ -> no end.
unnamed_literal(B) -> case B of <<_:0/float, R/bits>> -> R; _ -> no end.

evaluated(B, S) ->
    {ok, Tokens, _} = erl_scan:string("case B of <<A:S/float,R/bits>> -> {A,R}; _ -> no end."),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Expressions, #{'B' => B, 'S' => S}),
    Value.
