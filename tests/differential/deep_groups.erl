%% How deep the groups of a regular expression may nest, and that expressions that deep match.
-module(deep_groups).
-export([main/0]).

main() ->
    [io:format("~p ~p~n", [Depth, compiled(Open, Depth)]) || Open <- ["(", "(a|"], Depth <- [1, 250, 251, 798, 799, 819, 1179, 1180, 2500]],
    Text = lists:duplicate(50, $x),
    {ok, Deep} = re:compile(nested("(", 700, "x+")),
    %% Often enough that an expression is worth machine code.
    Found = [re:run(Text, Deep, [{capture, [0, 1, 700]}]) || _ <- lists:seq(1, 50)],
    io:format("~p~n", [lists:usort(Found)]).

compiled(Open, Depth) ->
    case re:compile(nested(Open, Depth, "")) of
        {ok, Pattern} -> element(2, Pattern);
        {error, Why} -> Why
    end.

nested(Open, Depth, Inside) ->
    [lists:duplicate(Depth, Open), Inside, lists:duplicate(Depth, $))].
