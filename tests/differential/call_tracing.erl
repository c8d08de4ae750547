%% Tracing of calls: by whom, of what, with which match specifications, and what it says of them.
-module(call_tracing).
-export([main/0, f/1, g/1, h/2, loop/2, fail/1, tail/1, deep/1, long/1, bits/1, put_it/1, a/1, b/1, c/1]).

main() ->
    logger:set_primary_config(level, none),
    [begin io:format("~p~n", [Part]), part(Part), off() end
     || Part <- [local, global, returns, exceptions, messages, counts, built_ins, long_built_ins, tail_calls, places,
                 silence, meta, inlined, loops, loaded, deleted, binaries, patterns, infos]].

%% The events of a process that runs `Fun` with these flags.
show(Fun) -> show([call], Fun).
show(Flags, Fun) -> io:format("  ~p~n", [events(Flags, Fun)]).
events(Flags, Fun) ->
    Tracer = spawn_link(fun() -> collect([]) end),
    {Pid, Ref} = spawn_monitor(fun() -> receive go -> Fun() end end),
    1 = erlang:trace(Pid, true, [{tracer, Tracer} | Flags]),
    Pid ! go,
    receive {'DOWN', Ref, process, Pid, _} -> ok end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    Tracer ! {get, self()},
    receive {events, Events} -> Events end.

collect(Events) ->
    receive
        {get, From} -> From ! {events, [without_pid(Event) || Event <- lists:reverse(Events)]};
        Event -> collect([Event | Events])
    end.
without_pid(Event) -> erlang:delete_element(2, Event).

on(F, A) -> on(F, A, true, [local]).
on(F, A, Pattern, Flags) -> erlang:trace_pattern({?MODULE, F, A}, Pattern, Flags).
off() ->
    erlang:trace_pattern({?MODULE, '_', '_'}, false, [local, meta, call_count, call_time]),
    [erlang:trace_pattern({M, '_', '_'}, false, Flags) || M <- [?MODULE, erlang, lists, maps], Flags <- [[], [local]]],
    ok.

part(local) ->
    io:format("~p~n", [on(f, 1)]),
    show(fun() -> f(3), ?MODULE:f(1), apply(?MODULE, f, [a]) end),
    io:format("~p~n", [on(f, 1, false, [local])]),
    show(fun() -> f(3) end);
part(global) ->
    io:format("~p~n", [on(f, 1, true, [global])]),
    show(fun() -> f(3), ?MODULE:f(1), apply(?MODULE, f, [a]), F = fun ?MODULE:f/1, F(0) end),
    % One way excludes the other.
    on(f, 1),
    io:format("~p~n", [erlang:trace_info({?MODULE, f, 1}, traced)]),
    on(f, 1, true, []),
    io:format("~p~n", [erlang:trace_info({?MODULE, f, 1}, traced)]),
    on(f, 1, false, [local]),
    show(fun() -> ?MODULE:f(0) end);
part(returns) ->
    [on(F, A, [{'_', [], [{return_trace}]}], [local]) || {F, A} <- [{f, 1}, {h, 2}, {g, 1}, {tail, 1}, {deep, 1}]],
    show(fun() -> f(2), h(a, b) end),
    show([call, arity], fun() -> f(1) end);
part(exceptions) ->
    [on(F, 1, [{'_', [], [{exception_trace}]}], [local]) || F <- [fail, deep]],
    show(fun() -> catch fail(1) end),
    show(fun() -> fail(1) end),
    show(fun() -> deep(throw(ball)) end),
    show(fun() -> catch deep(throw(ball)) end),
    % What traced calls leave on the stack is not seen.
    {_, [{_, Stack}]} = {x, events([call], fun() -> ok end) ++ [{x, stack()}]},
    io:format("~p~n", [[{F, A} || {?MODULE, F, A, _} <- Stack]]);
part(messages) ->
    on(f, 1, [{['$1'], [{'>', '$1', 1}, {is_integer, '$1'}], [{message, {{seen, '$1', {caller}}}}]},
              {[1], [], [{message, true}]},
              {[0], [], [{message, false}]}], [local]),
    show(fun() -> [f(3)] end),
    on(f, 1, [{[1], [], []}], [local]),
    show(fun() -> f(3) end),
    erlang:system_flag(trace_control_word, 5),
    on(f, 1, [{['$1'], [{'==', {get_tcw}, '$1'}], [{message, {set_tcw, {'-', '$1', 2}}}]}], [local]),
    show(fun() -> f(6) end),
    io:format("~p~n", [erlang:system_info(trace_control_word)]);
part(counts) ->
    on(loop, 2, true, [call_count]),
    Count = fun() -> io:format("~p~n", [erlang:trace_info({?MODULE, loop, 2}, call_count)]) end,
    loop(1000, 0), loop(100000, 0), Count(),
    on(loop, 2, pause, [call_count]), loop(1000, 0), Count(),
    on(loop, 2, restart, [call_count]), loop(1000, 0), Count(),
    on(loop, 2, true, [call_count]), Count(),
    on(loop, 2, false, [call_count]), Count(),
    [on(F, A, true, [call_time]) || {F, A} <- [{f, 1}, {loop, 2}]],
    events([call], fun() -> f(3), loop(300000, 0) end),
    [io:format("~p~n", [[{Calls, S * 1000000 + Us > 100} || {_, Calls, S, Us} <- Times]])
     || Fa <- [{f, 1}, {loop, 2}], {call_time, Times} <- [erlang:trace_info(erlang:insert_element(1, Fa, ?MODULE), call_time)]];
part(built_ins) ->
    erlang:trace_pattern({erlang, atom_to_list, 1}, [{'_', [], [{return_trace}]}], []),
    erlang:trace_pattern({lists, reverse, 2}, [{'_', [], [{exception_trace}]}], [local]),
    show(fun() -> g(foo), catch g(1), lists:reverse([1, 2], [3]), apply(lists, reverse, [[], x]) end),
    [erlang:trace_pattern({erlang, F, A}, true, [local]) || {F, A} <- [{date, 0}, {put, 2}, {erase, 1}]],
    show(fun() -> {_, _, _} = apply(erlang, date, []), {_, _, _} = date(), put(a, b), erase(a) end);
part(long_built_ins) ->
    erlang:trace_pattern({lists, reverse, 2}, [{'_', [], [{message, false}, {exception_trace}]}], [local]),
    on(long, 1, [{'_', [], [{message, false}, {exception_trace}]}], [local]),
    Long = lists:seq(1, 200000),
    io:format("~p~n", [[setelement(tuple_size(Event), Event, [])
                        || Event <- events([call], fun() -> long(Long), catch long(Long ++ x) end)]]);
part(tail_calls) ->
    Who = [{'_', [], [{message, {caller}}]}],
    [on(F, 1, Who, [local]) || F <- [put_it, tail, deep]],
    erlang:trace_pattern({erlang, put, 2}, Who, [local]),
    erlang:trace_pattern({erlang, integer_to_list, 1}, Who, [local]),
    show([call, return_to], fun() -> [put_it(x), tail(y)] end);
part(places) ->
    on(deep, 1, [{'_', [], [{message, {caller_line}}, {return_trace}]}], [local]),
    [io:format("~p~n", [{M, F, A, filename:basename(File)}])
     || {call, _, {M, F, A, {File, Line}}} <- [erlang:delete_element(1, E) || E <- events([call], fun() -> [tail(1)] end), tuple_size(E) =:= 4, element(2, E) =:= call],
        is_integer(Line)];
part(silence) ->
    on(a, 1),
    on(b, 1, [{[2], [], [{silent, false}]}, {[3], [], [{silent, true}]}, {'_', [], []}], [local]),
    show([call, silent], fun() -> a(1), a(2), a(3), a(4) end),
    on(a, 1, [{'_', [], [{enable_trace, send}]}], [local]),
    on(b, 1, [{'_', [], [{disable_trace, send}]}], [local]),
    on(c, 1, [{'_', [], [{trace, [call], []}]}], [local]),
    Me = self(),
    show(fun() -> Me ! one, a(1), Me ! two, a(1), c(1), a(2), Me ! three end),
    [receive X -> ok end || X <- [one, two, three]];
part(meta) ->
    Me = self(),
    Tracer = spawn_link(fun() -> collect([]) end),
    io:format("~p~n", [on(b, 1, [{[1], [], [{return_trace}]}, {[2], [], [{message, two}]}], [{meta, Tracer}])]),
    {meta, Tracer} = erlang:trace_info({?MODULE, b, 1}, meta),
    io:format("~p~n", [erlang:trace_info({?MODULE, b, 1}, meta_match_spec)]),
    {Pid, Ref} = spawn_monitor(fun() -> b(1), b(2), b(3) end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    Tracer ! {get, Me},
    receive {events, Events} -> io:format("~p~n", [[{element(2, E), element(3, E), tuple_size(E)} || E <- Events]]) end,
    unlink(Tracer),
    exit(Tracer, kill),
    wait_until(fun() -> not is_process_alive(Tracer) end),
    b(1),
    io:format("~p~n", [erlang:trace_info({?MODULE, b, 1}, meta)]),
    on(b, 1, false, [meta]),
    io:format("~p~n", [erlang:trace_info({?MODULE, b, 1}, meta)]);
part(inlined) ->
    % Hot code has small functions, and those of `lists`, in its own.
    Sum = fun(L) -> lists:foldl(fun(X, A) -> deep(X), X + A end, 0, L) end,
    [Sum(lists:seq(1, 1000)) || _ <- lists:seq(1, 300)],
    on(deep, 1),
    io:format("~p~n", [length(events([call], fun() -> Sum(lists:seq(1, 50)) end))]),
    on(deep, 1, false, [local]),
    erlang:trace_pattern({lists, foldl, 3}, true, []),
    io:format("~p~n", [length(events([call], fun() -> Sum([1]), Sum([2]) end))]),
    erlang:trace_pattern({lists, foldl, 3}, false, []),
    io:format("~p~n", [length(events([call], fun() -> Sum([1]), Sum([2]) end))]);
part(loops) ->
    % Who runs in a loop of its own meets a breakpoint that is set meanwhile.
    Runner = spawn_link(fun() -> spin(0) end),
    erlang:trace(Runner, true, [call]),
    timer:sleep(20),
    erlang:trace_pattern({?MODULE, spin, 1}, true, [local]),
    receive {trace, Runner, call, {?MODULE, spin, [N]}} when is_integer(N) -> io:format("met~n") end,
    erlang:trace_pattern({?MODULE, spin, 1}, false, [local]),
    erlang:trace(Runner, false, [call]),
    unlink(Runner),
    exit(Runner, kill),
    flush();
part(loaded) ->
    Load = fun(Value) -> load(call_tracing_other, Value) end,
    Load(1),
    erlang:trace_pattern({call_tracing_other, value, 0}, true, [local]),
    show(fun() -> call_tracing_other:value() end),
    % A new version has none of the breakpoints of the old one, but what is asked for all.
    Load(2),
    show(fun() -> call_tracing_other:value() end),
    io:format("~p~n", [erlang:trace_pattern(on_load, [{'_', [], [{return_trace}]}], [local])]),
    [io:format("~p~n", [erlang:trace_info(on_load, Item)]) || Item <- [traced, match_spec, meta, meta_match_spec, call_count]],
    Load(3),
    show(fun() -> call_tracing_other:value() end),
    erlang:trace_pattern(on_load, false, [local]),
    io:format("~p~n", [erlang:trace_info(on_load, traced)]),
    Load(4),
    show(fun() -> call_tracing_other:value() end);
part(deleted) ->
    load(call_tracing_other, 5),
    erlang:trace_pattern({call_tracing_other, value, 0}, true, []),
    code:purge(call_tracing_other),
    erlang:delete_module(call_tracing_other),
    io:format("~p~n", [erlang:trace_info({call_tracing_other, value, 0}, traced)]),
    io:format("~p~n", [catch_error(fun() -> call_tracing_other:value() end)]),
    io:format("~p~n", [erlang:trace_pattern({call_tracing_other, '_', '_'}, true, [])]),
    erlang:purge_module(call_tracing_other);
part(binaries) ->
    on(bits, 1),
    show(fun() -> bits(<<1, 2, 3>>) end);
part(patterns) ->
    Me = self(),
    erlang:trace_pattern(send, [{['_', {x, '$1'}], [], [{message, '$1'}]}], []),
    io:format("~p~n", [erlang:trace_info(send, match_spec)]),
    show_only([send], send, fun() -> Me ! {x, 1}, Me ! {y, 1}, Me ! {x, 2} end),
    erlang:trace_pattern(send, false, []),
    show_only([send], send, fun() -> Me ! {x, 1} end),
    erlang:trace_pattern(send, true, []),
    erlang:trace_pattern('receive', [{['_', '_', go], [], []}, {['_', undefined, '_'], [], [{message, from_nobody}]}], []),
    show_only(['receive'], 'receive', fun() -> self() ! own, erlang:send_after(1, self(), timer), receive timer -> ok end end),
    erlang:trace_pattern('receive', true, []),
    flush(),
    [io:format("~p~n", [catch_error(fun() -> erlang:trace_pattern(M, P, O) end)]) || {M, P, O} <- [
        {{?MODULE, '_', 1}, true, []}, {{?MODULE, a}, true, []}, {{?MODULE, a, x}, true, []}, {{?MODULE, a, 1}, [{foo}], []},
        {{?MODULE, a, 1}, true, [foo]}, {{?MODULE, a, 1}, true, [local, global]}, {{?MODULE, a, 1}, [{'_', [], []}], [call_count]},
        {{nomod, '_', '_'}, true, []}, {{?MODULE, nofun, 9}, true, [local]}, {{?MODULE, a, 300}, true, [local]},
        {send, true, [local]}, {foo, true, []}, {{?MODULE, a, 1}, true, foo}]];
part(infos) ->
    on(a, 1, [{'_', [], [{return_trace}]}], [local]),
    [io:format("~p ~p~n", [Item, catch_error(fun() -> erlang:trace_info({?MODULE, a, 1}, Item) end)])
     || Item <- [traced, match_spec, meta, meta_match_spec, call_count, call_time]],
    [io:format("~p~n", [catch_error(fun() -> erlang:trace_info(What, Item) end)])
     || {What, Item} <- [{{nomod, a, 1}, traced}, {{erlang, self, 0}, traced}, {{lists, reverse, 2}, traced}, {{?MODULE, events, 2}, traced},
                         {foo, flags}, {self(), foo}, {on_load, traced}, {send, match_spec}, {send, traced}]],
    Pid = spawn_link(fun() -> receive stop -> ok end end),
    erlang:trace(Pid, true, [call, return_to, arity, silent, scheduler_id, running_procs, timestamp]),
    io:format("~p~n", [erlang:trace_info(Pid, flags)]),
    erlang:trace(Pid, false, [call, running_procs]),
    io:format("~p ~p~n", [erlang:trace_info(Pid, flags), erlang:trace_info(Pid, tracer) =:= {tracer, self()}]),
    erlang:trace(Pid, false, [all]),
    io:format("~p ~p~n", [erlang:trace_info(Pid, flags), erlang:trace_info(Pid, tracer)]),
    Pid ! stop.

show_only(Flags, Kind, Fun) ->
    io:format("  ~p~n", [[case Event of
                              {trace, send, Message, _} -> {send, Message};
                              {trace, send, Message, _, Extra} -> {send, Message, Extra};
                              _ -> Event
                          end || Event <- events(Flags, Fun), element(2, Event) =:= Kind]]).
catch_error(Fun) -> try Fun() catch error:Reason -> {error, Reason} end.
flush() -> receive _ -> flush() after 0 -> ok end.
wait_until(Fun) -> case Fun() of true -> ok; false -> timer:sleep(1), wait_until(Fun) end.
load(Module, Value) ->
    Forms = [{attribute, 1, module, Module}, {attribute, 1, export, [{value, 0}]},
             {function, 1, value, 0, [{clause, 1, [], [], [{integer, 1, Value}]}]}],
    {ok, Module, Code} = compile:forms(Forms, []),
    code:purge(Module),
    {module, Module} = code:load_binary(Module, "", Code).

f(N) when is_integer(N), N > 0 -> [f(N - 1)];
f(X) -> X.
g(X) -> L = atom_to_list(X), length(L).
h(A, B) -> {g(A), tail(B)}.
tail(X) -> deep(X).
deep(X) -> [X].
fail(X) -> A = deep(X), error({A, oops}).
loop(0, A) -> A;
loop(N, A) -> loop(N - 1, A + N).
spin(N) -> spin(N + 1).
long(L) -> R = lists:reverse(L, []), length(R).
bits(<<A, Rest/binary>>) -> [A | bits(Rest)];
bits(<<>>) -> [].
put_it(X) -> put(X, integer_to_list(1)).
a(X) -> [b(X)].
b(X) -> {b, X}.
c(X) -> b(X).
stack() -> try fail(1) catch error:_:Stack -> Stack end.
