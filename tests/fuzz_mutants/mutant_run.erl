%% Loads a module that fuzz_mutants made and calls its functions, one after the other, each in a process of its own that is
%% killed when it takes too long. Prints terms, one a line: {call, N} before a call, {is, N, Outcome} after it where two
%% calls in a row come out the same, {unkillable, N}, {memory, N, Bytes}, {refused}, and {done} at the end.
-module(mutant_run).
-export([main/1, arguments/2]).

-define(CALL_MS, 60).
-define(KILL_MS, 3000).
-define(CALL_WORDS, 1000000).
-define(MEMORY_MAX, 1000000000).
-define(CALLS, 5).

main([File, Module, First]) ->
    logger:set_primary_config(level, none),
    {ok, Binary} = file:read_file(File ++ ".calls"),
    {ok, Beam} = file:read_file(File ++ ".beam"),
    Name = list_to_atom(Module),
    %% A byte may have changed in the module's name.
    case catch erlang:load_module(Name, Beam) of
        {module, Name} ->
            Others = processes(),
            Functions = binary_to_term(Binary),
            Calls = [{F, A, N} || {F, A} <- Functions, N <- lists:seq(1, ?CALLS)],
            run(Name, lists:nthtail(list_to_integer(First), Calls), list_to_integer(First), Others);
        _ ->
            tell({refused})
    end,
    tell({done}),
    erlang:halt(0).

tell(Term) -> io:format("~w.~n", [Term]).

run(_, [], _, _) -> ok;
run(Module, [{Function, Arity, Number} | Rest], At, Others) ->
    tell({call, At}),
    Arguments = arguments(Arity, erlang:phash2({Function, Arity}) + Number),
    case call(Module, Function, Arguments, At) of
        {ended, Outcome} ->
            case call(Module, Function, Arguments, At) of
                {ended, Outcome} -> tell({is, At, Outcome});
                _ -> ok
            end;
        _ -> ok
    end,
    [exit(Pid, kill) || Pid <- processes() -- [self() | Others]],
    Memory = erlang:memory(total),
    Memory > ?MEMORY_MAX andalso tell({memory, At, Memory}),
    run(Module, Rest, At + 1, Others).

call(Module, Function, Arguments, At) ->
    Options = [monitor, {max_heap_size, #{size => ?CALL_WORDS, kill => true, error_logger => false}}],
    {Pid, Monitor} = spawn_opt(fun() -> exit({outcome, outcome(Module, Function, Arguments)}) end, Options),
    %% For those who look for one.
    Pid ! {message, [1, 2, 3], <<"text">>},
    Pid ! other,
    receive
        {'DOWN', Monitor, _, _, {outcome, Outcome}} -> {ended, Outcome};
        {'DOWN', Monitor, _, _, _} -> other
    after ?CALL_MS ->
        exit(Pid, kill),
        receive
            {'DOWN', Monitor, _, _, _} -> other
        after ?KILL_MS ->
            tell({unkillable, At}),
            other
        end
    end.

%% Small, and without what differs from run to run.
outcome(Module, Function, Arguments) ->
    try apply(Module, Function, Arguments) of
        Value -> {value, erlang:phash2(plain(Value))}
    catch
        Class:Reason -> {Class, erlang:phash2(plain(Reason))}
    end.

%% Takes its time where terms share much: it can be killed.
plain([H | T]) -> [plain(H) | plain(T)];
plain(T) when is_tuple(T) -> list_to_tuple(plain(tuple_to_list(T)));
plain(M) when is_map(M) -> {map, plain(lists:sort(maps:to_list(M)))};
plain(X) when is_function(X); is_pid(X); is_port(X); is_reference(X) -> opaque;
plain(X) -> X.

%% So many terms, chosen by a number.
arguments(Arity, Seed) -> [term(Position, Seed) || Position <- lists:seq(1, Arity)].

term(Position, Seed) ->
    Pool = pool(),
    element(1 + erlang:phash2({Position, Seed}, tuple_size(Pool)), Pool).

pool() ->
    {0, 1, 2, 3, 5, 10, 255, -1, 1 bsl 59, 1 bsl 64, -(1 bsl 70), 1.5, 0.0, 1.0e300,
     a, ok, true, false, undefined, nomatch, error, utf8, infinity,
     [], [a], [1, 2, 3], [1, 2, 3], "text", "text", [[1], [2, 3]], [{a, 1}, {b, 2}], [{1, 2}], [<<"a">>, "b"], [a | b], lists:seq(1, 40),
     {}, {a}, {a, 1}, {1, 2, 3}, {a, {b, c}, []}, {ok, [1]}, {nil, a},
     <<>>, <<1, 2, 3>>, <<"text, of some length">>, <<"{\"a\": [1, 2.5, null]}">>, <<1:3>>, <<0:800>>, <<"äöü"/utf8>>,
     #{}, #{a => 1}, #{a => 1, b => [2]}, maps:from_list([{N, N} || N <- lists:seq(1, 40)]),
     fun(X) -> X end, fun(X, _) -> X end, fun() -> a end, fun(X, Y) -> X =< Y end, fun erlang:abs/1,
     fun(_, _, Acc) -> Acc end, self(), make_ref()}.
