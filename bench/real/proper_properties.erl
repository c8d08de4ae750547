%% PropEr tests properties of sorting, of maps, of the external format and of a queue that is a state machine.
-module(proper_properties).
-export([prepare/1, main/1]).
-export([prop_sort/0, prop_maps/0, prop_external/0, prop_queue/0]).
-export([initial_state/0, command/1, precondition/2, postcondition/3, next_state/3]).
-export([start/0, in/1, out/0, size/0]).

prepare(_) ->
    case code:which(proper) of
        non_existing -> {missing, "PropEr is not there (erlang-proper)"};
        _ -> ok
    end.

main(_) ->
    Properties = [{prop_sort(), 6000}, {prop_maps(), 6000}, {prop_external(), 6000}, {prop_queue(), 2000}],
    lists:foreach(fun({Property, Tests}) -> true = proper:quickcheck(Property, [quiet, {numtests, Tests}, {max_size, 50}]) end, Properties).

list() -> proper_types:list(proper_types:integer()).

prop_sort() ->
    proper:forall(list(), fun(List) ->
        Sorted = lists:sort(List),
        ordered(Sorted) andalso length(Sorted) =:= length(List) andalso List -- Sorted =:= []
    end).

ordered([A | [B | _] = Rest]) -> A =< B andalso ordered(Rest);
ordered(_) -> true.

prop_maps() ->
    Pairs = proper_types:list(proper_types:tuple([proper_types:integer(), proper_types:binary()])),
    proper:forall(Pairs, fun(List) ->
        Map = maps:from_list(List),
        Tree = gb_trees:from_orddict(orddict:from_list(List)),
        maps:to_list(Map) =:= [] orelse lists:sort(maps:to_list(Map)) =:= gb_trees:to_list(Tree)
    end).

prop_external() ->
    proper:forall(proper_types:any(), fun(Term) -> binary_to_term(term_to_binary(Term)) =:= Term end).

prop_queue() ->
    proper:forall(proper_statem:commands(?MODULE), fun(Commands) ->
        {_, _, Result} = proper_statem:run_commands(?MODULE, Commands),
        Result =:= ok
    end).

%% The queue under test, and its model: a list.
start() -> put(?MODULE, queue:new()).
in(X) -> put(?MODULE, queue:in(X, get(?MODULE))), ok.
out() ->
    {Item, Rest} = queue:out(get(?MODULE)),
    put(?MODULE, Rest),
    Item.
size() -> queue:len(get(?MODULE)).

initial_state() -> none.

command(none) -> {call, ?MODULE, start, []};
command(_) ->
    proper_types:oneof([
        {call, ?MODULE, in, [proper_types:integer()]},
        {call, ?MODULE, out, []},
        {call, ?MODULE, size, []}
    ]).

precondition(none, {call, _, Function, _}) -> Function =:= start;
precondition(_, {call, _, Function, _}) -> Function =/= start.

postcondition([], {call, _, out, []}, Item) -> Item =:= empty;
postcondition([X | _], {call, _, out, []}, Item) -> Item =:= {value, X};
postcondition(Model, {call, _, size, []}, Size) -> Size =:= length(Model);
postcondition(_, _, _) -> true.

next_state(_, _, {call, _, start, []}) -> [];
next_state(Model, _, {call, _, in, [X]}) -> Model ++ [X];
next_state([_ | Model], _, {call, _, out, []}) -> Model;
next_state(Model, _, _) -> Model.
