%% The stack traces that `erlang:raise/3` takes, and what becomes of their entries.
-module(raised_traces).
-export([main/0]).

main() ->
    [show(Trace) || Trace <- traces()],
    [io:format("~p~n", [raised(Class, Trace)])
     || {Class, Trace} <- [{foo, []}, {1, []}, {error, x}, {throw, [{a, b, 1}]}, {exit, [{a, b, 1}]}]],
    io:format("~p~n", [catch erlang:raise(error, x, [{a, b, 1}])]),
    io:format("~p~n", [ended(fun() -> erlang:raise(exit, x, [{a, b, 1}, {shell, f, 1}]) end)]),
    io:format("~p~n", [again()]).

traces() ->
    Fun = fun lists:map/2,
    [[], [{a, b, 1}], [{a, b, []}], [{a, b, 1, []}], [{a, b, 1, [{file, "x"}, {line, 3}]}],
     [{Fun, []}], [{Fun, 1}], [{Fun, 1, []}], [{Fun, [1], []}], [{Fun, [1], [{line, 1}]}],
     [{a, b, c}], [{a, b, 1 bsl 70}], [{a, b, -1}], [{a, b, -(1 bsl 70)}], [{a, b, 1.0}], [{a, b, {}}], [{a, b, Fun}],
     [{a, 1, 1}], [{1, a, 1}], [{"a", b, 1}], [{a, "b", 1}], [{a, b, 1, x}], [{a, b, 1, [x]}], [{a, b, 1, [x | y]}],
     [{a, b, [x | y]}], [{a, b, [x | y], []}], [{a, b}], [{a}], [x], x, [{a, b, 1} | x], [{a, b, 1}, x],
     [{a, b, 1}, {c, d, 2}, {Fun, []}], [{Fun, x}], [{Fun, x, []}], [{Fun, 1, x}], [{{a, b}, []}], [{x, [], []}],
     [{a, b, 1, [], []}], lists:duplicate(20, {a, b, 1}), [{a, b, <<>>}], [{a, b, #{}}], [{a, b, c, []}],
     [{a, b, 1, [{error_info, #{}}]}], [{a, b, 1, {}}], [{shell, f, 1}]].

show(Trace) -> io:format("~p: ~p~n", [Trace, raised(error, Trace)]).

raised(Class, Trace) ->
    try erlang:raise(Class, reason, Trace) of
        Value -> {value, Value}
    catch Caught:Reason:Stack -> {Caught, Reason, Stack}
    end.

ended(Fun) ->
    {Pid, Monitor} = spawn_monitor(Fun),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end.

again() ->
    try
        try erlang:raise(error, x, [{a, b, 1}])
        catch Class:Reason:Stack -> erlang:raise(Class, Reason, Stack)
        end
    catch _:_:Last -> Last
    end.
