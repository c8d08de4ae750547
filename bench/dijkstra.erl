%% sequential: shortest paths in a graph of maps, the frontier an ordered set.
-module(dijkstra).
-export([main/0]).
-define(SIDE, 150).
%% A square grid where going right costs 2 and down costs 3, and any other step 7.
main() ->
    Nodes = [{X, Y} || X <- lists:seq(1, ?SIDE), Y <- lists:seq(1, ?SIDE)],
    Graph = maps:from_list([{Node, edges(Node)} || Node <- Nodes]),
    Distances = search(gb_sets:singleton({0, {1, 1}}), #{{1, 1} => 0}, Graph),
    Last = (?SIDE - 1) * 5,
    #{{?SIDE, ?SIDE} := Last} = Distances,
    true = lists:all(fun({X, Y} = Node) -> maps:get(Node, Distances) =:= (X - 1) * 2 + (Y - 1) * 3 end, Nodes),
    ok.
edges({X, Y}) ->
    All = [{2, {X + 1, Y}}, {3, {X, Y + 1}}, {7, {X - 1, Y}}, {7, {X, Y - 1}}, {7, {X + 1, Y + 1}}],
    [Edge || {_, {U, V}} = Edge <- All, U >= 1, V >= 1, U =< ?SIDE, V =< ?SIDE].
search(Frontier, Distances, Graph) ->
    case gb_sets:is_empty(Frontier) of
        true -> Distances;
        false ->
            {{Distance, Node}, Frontier1} = gb_sets:take_smallest(Frontier),
            case Distances of
                #{Node := Less} when Less < Distance -> search(Frontier1, Distances, Graph);
                _ ->
                    {Frontier2, Distances2} = relax(map_get(Node, Graph), Distance, Frontier1, Distances),
                    search(Frontier2, Distances2, Graph)
            end
    end.
relax([], _, Frontier, Distances) -> {Frontier, Distances};
relax([{Cost, Node} | Edges], Distance, Frontier, Distances) ->
    New = Distance + Cost,
    case Distances of
        #{Node := Old} when Old =< New -> relax(Edges, Distance, Frontier, Distances);
        _ -> relax(Edges, Distance, gb_sets:add({New, Node}, Frontier), Distances#{Node => New})
    end.
