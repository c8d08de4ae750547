%% Sessions of tracing: each has breakpoints, settings of processes and a tracer of its own.
-module(trace_sessions_of_calls).
-export([main/0, f/1, g/1, words/1]).

main() ->
    [First, Second] = [spawn_link(fun() -> collect([]) end) || _ <- [1, 2]],
    [S1, S2] = [trace:session_create(Name, Tracer, []) || {Name, Tracer} <- [{one, First}, {two, Second}]],
    io:format("~p~n", [[trace:function(S1, {?MODULE, f, 1}, true, [local]),
                        trace:function(S2, {?MODULE, '_', '_'}, [{'_', [], [{return_trace}]}], [local])]]),
    Pid = spawn_link(fun runner/0),
    io:format("~p~n", [[trace:process(S, Pid, true, [call]) || S <- [S1, S2]]]),
    run(Pid, fun() -> f(1), g(2) end),
    show(Pid, [First, Second]),
    io:format("~p~n", [trace:info(S1, {?MODULE, f, 1}, match_spec)]),
    io:format("~p~n", [trace:info(S2, {?MODULE, f, 1}, match_spec)]),
    io:format("~p~n", [erlang:trace_info({?MODULE, f, 1}, traced)]),
    io:format("~p~n", [{trace:info(S1, Pid, flags), erlang:trace_info(Pid, flags)}]),
    true = trace:session_destroy(S2),
    run(Pid, fun() -> f(1), g(2) end),
    show(Pid, [First, Second]),
    trace:function(S1, {?MODULE, words, 1}, true, [call_count, call_memory]),
    run(Pid, fun() -> words(1000) end),
    {call_memory, [{Pid, 1, Words}]} = trace:info(S1, {?MODULE, words, 1}, call_memory),
    io:format("~p ~p~n", [Words >= 2000 andalso Words < 20000, trace:info(S1, {?MODULE, words, 1}, call_count)]),
    trace:recv(S1, [{['_', '_', {seen, '_'}], [], []}], []),
    trace:process(S1, Pid, true, ['receive']),
    Pid ! {seen, 1},
    Pid ! {other, 1},
    run(Pid, fun() -> ok end),
    show(Pid, [First, Second]),
    true = trace:session_destroy(S1),
    io:format("~p~n", [trace:session_destroy(S1)]).

runner() ->
    receive
        {run, From, Fun} -> Fun(), From ! done, runner();
        _ -> runner()
    end.
run(Pid, Fun) -> Pid ! {run, self(), Fun}, receive done -> ok end.

show(Pid, Tracers) ->
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    [begin Tracer ! {get, self()}, receive {events, Events} -> io:format("  ~p~n", [Events]) end end || Tracer <- Tracers].

collect(Events) ->
    receive
        {get, From} ->
            % The fun that is run differs from place to place.
            From ! {events, [erlang:delete_element(2, E) || E <- lists:reverse(Events), is_named(E)]},
            collect([]);
        Event -> collect([Event | Events])
    end.
is_named({trace, _, 'receive', {seen, _}}) -> true;
is_named({trace, _, _, {_, F, _}}) -> lists:member(F, [f, g]);
is_named({trace, _, _, {_, F, _}, _}) -> lists:member(F, [f, g]);
is_named(_) -> false.

f(X) -> [g(X)].
g(X) -> {g, X}.
words(N) -> length(lists:seq(1, N)).
