%% The stack traces of what was called by name or as a fun, in tail position and elsewhere: which functions are still
%% listed, and with which arguments.
-module(stack_traces).
-export([main/0, no_clause/1, one/3, deep/2]).

main() ->
    Raising = [{error, [a]}, {error, [a, [x, y]]}, {error, [a, none]}, {error, [a, none, [{error_info, #{cause => b}}]]}, {exit, [a]}, {throw, [a]},
               {nif_error, [a]}, {nif_error, [a, [x]]}, {nif_error, [undefined]}, {raise, [error, a, [{m, f, 1, []}]]}],
    Failing = [{atom_to_list, [1]}, {binary_to_term, [1]}, {exit, [x, y]}, {no_such_function, [1]}, {hibernate, [1, 2, 3]}],
    [shown({Name, Arguments}, fun() -> Call(erlang, Name, Arguments) end)
        || {Name, Arguments} <- Raising ++ Failing, Call <- [fun applied/3, fun applied_later/3, fun applied_within/3, fun by_name/3]],
    [shown({'fun', Fun}, fun() -> Call(Fun, Argument) end)
        || {Fun, Argument} <- [{fun erlang:error/1, a}, {fun erlang:exit/1, a}, {fun erlang:nif_error/1, a}, {fun erlang:atom_to_list/1, 1},
                               {fun no_such_module:f/1, a}, {fun ?MODULE:no_clause/1, b}, {fun erlang:apply/2, b}, {not_a_fun, a}],
           Call <- [fun called/2, fun called_later/2, fun called_within/2, fun applied/2]],
    [shown({application, Module, Function, Arguments}, fun() -> Call(Module, Function, Arguments) end)
        || {Module, Function, Arguments} <- [{1, f, []}, {m, 1, []}, {m, f, a}, {m, f, [a | b]}, {?MODULE, no_clause, [b]}, {no_such_module, f, [1]},
                                             {erlang, apply, [erlang, error, [a]]}, {erlang, apply, [erlang, error, a]},
                                             {erlang, apply, [erlang, apply, [erlang, apply, [erlang, error, [a]]]]},
                                             {erlang, apply, [fun erlang:error/1, [a]]}, {erlang, apply, [not_a_fun, [a]]}],
           Call <- [fun applied/3, fun applied_later/3, fun applied_within/3]],
    [shown({three, Function, A, B, C}, fun() -> Call(Function, A, B, C) end)
        || {Function, A, B, C} <- [{apply, erlang, error, [a]}, {apply, erlang, error, [a | b]}, {apply, 1, 2, [3]}, {error, a, [x], []}],
           Call <- [fun three/4, fun three_within/4]],
    shown(numbers, fun() -> named(7, error, a) end),
    [shown({options, Options}, fun() -> erlang:error(a, [x], Options) end)
        || Options <- [b, [b], [{error_info, #{a => 1}}, {error_info, #{b => 1}}], [{error_info, #{a => 1}} | b], [{error_info, #{a => 1}}, {b, c}],
                       [{error_info, b}], []]],
    [shown(Name, Fun) || {Name, Fun} <- [{error, fun() -> raises_error(a) end}, {exit, fun() -> raises_exit(a) end}, {nif_error, fun() -> raises_nif_error(a) end},
                                         {map, fun() -> lists:map(fun erlang:nif_error/1, [a]) end}]],
    shown(caught_and_again, fun() -> try applied(erlang, error, [a]) catch error:a -> named(erlang, exit, b) end end),
    logger:set_primary_config(level, none),
    [spawned(Name, spawn_monitor(erlang, Name, Arguments)) || {Name, Arguments} <- Raising ++ [{apply, [erlang, error, [a]]}]],
    spawned(one, spawn_monitor(?MODULE, one, [erlang, error, a])),
    %% A fun that is called last leaves no frame.
    io:format("~p~n", [deep(fun deep/2, 100000) < 1000]).

shown(What, Fun) ->
    try Fun() of
        Value -> io:format("~p: ~p~n", [What, Value])
    catch
        Class:Reason:Trace -> io:format("~p: ~p ~p~n~p~n", [What, Class, Reason, lists:takewhile(fun(Entry) -> element(2, Entry) =/= shown end, Trace)])
    end.

spawned(What, {Pid, Ref}) ->
    receive {'DOWN', Ref, process, Pid, Reason} -> io:format("~p: ~p~n", [What, Reason]) end.

applied(Module, Function, Arguments) -> apply(Module, Function, Arguments).
applied_later(Module, Function, Arguments) ->
    Same = id(Arguments),
    apply(Module, Function, Same).
applied_within(Module, Function, Arguments) -> [apply(Module, Function, Arguments)].

by_name(Module, Function, [A]) -> one(Module, Function, A);
by_name(Module, Function, [A, B]) -> Module:Function(A, id(B));
by_name(Module, Function, [A, B, C]) -> [Module:Function(A, B, C)].

one(Module, Function, Argument) -> Module:Function(Argument).

named(Module, Function, Argument) ->
    Same = id(Argument),
    Module:Function(Same).

three(Function, A, B, C) -> erlang:Function(A, B, C).
three_within(Function, A, B, C) -> [erlang:Function(A, B, C)].

called(Fun, Argument) -> Fun(Argument).
called_later(Fun, Argument) ->
    Same = id(Argument),
    Fun(Same).
called_within(Fun, Argument) -> [Fun(Argument)].
applied(Fun, Argument) -> apply(Fun, [Argument]).

raises_error(Reason) -> erlang:error(Reason).
raises_exit(Reason) -> exit(id(Reason)).
raises_nif_error(Reason) -> erlang:nif_error(id(Reason)).

no_clause(a) -> a.
id(X) -> X.

deep(_, 0) -> element(2, process_info(self(), stack_size));
deep(Fun, Times) -> Fun(Fun, Times - 1).
