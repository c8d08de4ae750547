%% Runs what fuzz_engines made, on any machine: calls every function with every list of arguments, many times, so
%% that it becomes hot, and tells what came out otherwise than the first machine said.
%%
%% main([File]) reads {Repeats, [{Module, Beam, [{Function, [{Arguments, Outcome}]}]}]} and prints terms, one a line:
%% {fuzz, module, Module} before it runs it, {fuzz, different, Module, Function, Encoded}, and {fuzz, done}; and
%% {fuzz, refused, Module} of one that is not loaded: OTP's compiler now and then reads a register that was not written.
-module(fuzz_run).
-export([main/1, outcome/3, outcome/1]).

main([File]) ->
    {ok, Binary} = file:read_file(File),
    {Repeats, Modules} = binary_to_term(Binary),
    lists:foreach(fun(Module) -> module(Module, Repeats) end, Modules),
    io:format("{fuzz, done}.~n"),
    halt().

module({Module, Beam, Functions}, Repeats) ->
    io:format("~w.~n", [{fuzz, module, Module}]),
    case code:load_binary(Module, "fuzz", Beam) of
        {module, Module} ->
            [function(Module, Function, Arguments, Expected, 1, Repeats) || {Function, Calls} <- Functions, {Arguments, Expected} <- Calls];
        {error, badfile} ->
            io:format("~w.~n", [{fuzz, refused, Module}])
    end.

function(_, _, _, _, Turn, Repeats) when Turn > Repeats -> ok;
function(Module, Function, Arguments, Expected, Turn, Repeats) ->
    case outcome(Module, Function, Arguments) of
        %% Floats of different signs of zero are equal: the first and the last turn look at the bits.
        Expected when Turn > 1, Turn < Repeats -> function(Module, Function, Arguments, Expected, Turn + 1, Repeats);
        Got ->
            case term_to_binary(Got) =:= term_to_binary(Expected) of
                true -> function(Module, Function, Arguments, Expected, Turn + 1, Repeats);
                false -> io:format("~w.~n", [{fuzz, different, Module, Function, term_to_binary({Arguments, Got})}])
            end
    end.

%% The value, or class and reason; with the dictionary that the call leaves. Funs become their arity, since their
%% other properties are the machine's, and maps lists, since their order is.
outcome(Module, Function, Arguments) -> outcome(fun() -> apply(Module, Function, Arguments) end).

outcome(Call) ->
    erase(),
    flush(),
    Outcome =
        try Call() of
            Value -> {value, comparable(Value)}
        catch
            Class:Reason -> {Class, comparable(Reason)}
        end,
    case erase() of
        [] -> Outcome;
        Dictionary -> {Outcome, comparable(lists:sort(Dictionary))}
    end.

comparable(F) when is_function(F) -> {'fun', erlang:fun_info(F, arity)};
comparable([H | T]) -> [comparable(H) | comparable(T)];
comparable(T) when is_tuple(T) -> list_to_tuple(comparable(tuple_to_list(T)));
comparable(M) when is_map(M) -> {map, comparable(lists:sort(fun before/2, maps:to_list(M)))};
comparable(P) when is_pid(P) -> pid;
comparable(X) -> X.

%% Keys that are equal, but not the same, are in no order.
before({K1, _}, {K2, _}) -> K1 < K2 orelse K1 == K2 andalso term_to_binary(K1) =< term_to_binary(K2).

flush() -> receive _ -> flush() after 0 -> ok end.
