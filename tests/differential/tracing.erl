%% Tracing of processes: who gets told what, with which flags.
-module(tracing).
-export([main/0, answer/1]).

main() ->
    % Later releases also log what they refuse to trace.
    logger:set_primary_config(level, none),
    {Gone, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Gone, normal} -> persistent_term:put(?MODULE, Gone) end,
    messages(),
    processes_and_names(),
    children(),
    collections(),
    timestamps(),
    scheduling(),
    tracing_is_no_turn(),
    heads(),
    refused(),
    infos().

answer(Asker) -> receive {ask, What} -> Asker ! {self(), What} end.

%% What the tracer has been told of a process that has ended, with names instead of pids.
told(Pid, Names) ->
    Ref = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Ref} -> ok end,
    named(events(), [{self(), tracer} | Names]).

events() ->
    receive
        Event when element(1, Event) =:= trace; element(1, Event) =:= trace_ts -> [Event | events()]
    after 0 -> []
    end.

named(Pid, Names) when is_pid(Pid) -> proplists:get_value(Pid, Names, other);
named(Fun, _) when is_function(Fun) -> 'fun';
named([First | Rest], Names) -> [named(First, Names) | named(Rest, Names)];
named(Tuple, Names) when is_tuple(Tuple) -> list_to_tuple(named(tuple_to_list(Tuple), Names));
named(Other, _) -> Other.

%% Runs a fun in a traced process; everything that the tracer was told.
traced(Flags, Work) ->
    {Pid, Ref} = spawn_monitor(fun() -> receive go -> ok end, Work() end),
    1 = erlang:trace(Pid, true, Flags),
    Pid ! go,
    receive {'DOWN', Ref, process, Pid, _} -> ok end,
    told(Pid, [{Pid, traced}]).

messages() ->
    Tracer = self(),
    io:format("~p~n", [traced([send, 'receive'], fun() ->
        self() ! one,
        Tracer ! {result, two},
        no_such_pid() ! three,
        receive one -> ok end
    end)]),
    receive {result, two} -> ok end.

%% A pid whose process is gone.
no_such_pid() -> persistent_term:get(?MODULE).

processes_and_names() ->
    io:format("~p~n", [traced([procs], fun() ->
        register(a_name, self()),
        unregister(a_name),
        Other = spawn(fun() -> receive stop -> ok end end),
        link(Other),
        unlink(Other),
        exit({because, "of this"})
    end)]).

children() ->
    Self = self(),
    Work = fun() -> Child = spawn(?MODULE, answer, [Self]), Child ! {ask, me} end,
    Events = traced([send, procs, set_on_spawn], Work),
    receive {_, me} -> ok end,
    timer:sleep(50),
    Later = named(events(), [{Self, tracer}]),
    io:format("~p~n", [[E || E <- Events ++ Later, element(2, E) =:= traced]]),
    io:format("~p~n", [[E || E <- Events ++ Later, element(2, E) =:= other]]),
    Once = traced([procs, set_on_first_spawn], fun() -> spawn(fun() -> ok end), spawn(fun() -> ok end), timer:sleep(50) end),
    io:format("~p~n", [[E || E <- Once, element(2, E) =:= other]]).

collections() ->
    Events = traced([garbage_collection], fun() -> erlang:garbage_collect() end),
    %% How many there are, minor ones too, is the machine's affair.
    Major = [{element(3, E), lists:sort([Key || {Key, _} <- element(4, E)])} || E <- Events, is_major(element(3, E))],
    [io:format("~p: ~p~n", [Kind, Keys]) || {Kind, Keys} <- lists:usort(Major)].

is_major(Kind) -> Kind =:= gc_major_start orelse Kind =:= gc_major_end.

timestamps() ->
    Send = fun() -> no_such_pid() ! message end,
    [io:format("~p: ~p~n", [Flag, [shape(element(size(E), E)) || E <- traced([send, Flag], Send)]])
     || Flag <- [timestamp, monotonic_timestamp, strict_monotonic_timestamp]].

shape(N) when is_integer(N) -> integer;
shape(T) -> list_to_tuple([shape(E) || E <- tuple_to_list(T)]).

%% A process is taken up as often as it is put aside, but for its end.
scheduling() ->
    Events = traced([running], fun() -> receive after 5 -> ok end, erlang:yield(), count_down(100_000) end),
    Kinds = [element(3, E) || E <- Events],
    io:format("~p~n", [length([in || in <- Kinds]) =:= length([out || out <- Kinds]) + 1]),
    io:format("~p~n", [element(3, lists:last(Events))]),
    Ended = traced([exiting], fun() -> ok end),
    io:format("~p~n", [lists:last(Ended)]).

%% More than one turn's work, on a heap that does not grow.
count_down(0) -> ok;
count_down(N) -> count_down(N - 1).

%% A waiting process has a turn for what others ask of it, but not for being traced.
tracing_is_no_turn() ->
    [begin
         Pid = spawn(fun() -> receive go -> receive never -> ok end end end),
         timer:sleep(20),
         erlang:trace(Pid, true, [running]),
         Ask(Pid),
         timer:sleep(20),
         Ref = erlang:trace_delivered(Pid),
         receive {trace_delivered, Pid, Ref} -> ok end,
         io:format("turns of one that waits: ~p~n", [[element(3, Event) || Event <- events(), element(2, Event) =:= Pid]]),
         exit(Pid, kill)
     end || Ask <- [fun(_) -> ok end, fun(Pid) -> demonitor(monitor(process, Pid)) end, fun(Pid) -> Pid ! go end]].

%% Arguments of calls are matched by lists and by tuples.
heads() ->
    [io:format("~p ~p: ~p~n", [Arguments, Head, erlang:match_spec_test(Arguments, [{Head, [], [{message, '$$'}]}], trace)])
     || Arguments <- [[], [a], [a, b], [{a}]],
        Head <- [{}, {'$1'}, {'$1', '$2'}, {a, '_'}, {{'$1'}}, ['$1'], '$1', '_', a, #{}]].

refused() ->
    Traced = spawn(fun() -> receive stop -> ok end end),
    1 = erlang:trace(Traced, true, [send]),
    Self = self(),
    {_, Ref} = spawn_monitor(fun() -> exit(catch erlang:trace(Traced, true, [send, {tracer, self()}])) end),
    receive {'DOWN', Ref, process, _, {'EXIT', {Why, _}}} -> io:format("~p~n", [Why]) end,
    [io:format("~p~n", [try erlang:trace(Whom, How, Flags) catch error:Reason -> Reason end]) || {Whom, How, Flags} <-
        [{Self, true, [send]}, {Self, false, [send]}, {nobody, true, []}, {Self, maybe_so, []}, {Self, true, [no_such_flag]},
         {Self, true, not_a_list}, {no_such_pid(), true, [send]}, {Traced, true, [{tracer, no_such_pid()}]}, {Traced, false, [all]}]],
    Traced ! stop.

infos() ->
    Pid = spawn(fun() -> receive stop -> ok end end),
    1 = erlang:trace(Pid, true, [send, procs, timestamp]),
    {flags, Flags} = erlang:trace_info(Pid, flags),
    io:format("~p ~p~n", [lists:sort(Flags), erlang:trace_info(Pid, tracer) =:= {tracer, self()}]),
    1 = erlang:trace(Pid, false, [send]),
    {flags, Fewer} = erlang:trace_info(Pid, flags),
    io:format("~p~n", [lists:sort(Fewer)]),
    1 = erlang:trace(Pid, false, [all]),
    io:format("~p ~p~n", [erlang:trace_info(Pid, flags), erlang:trace_info(Pid, tracer)]),
    [io:format("~p~n", [try erlang:trace_info(Whom, Item) catch error:Reason -> Reason end]) || {Whom, Item} <-
        [{no_such_pid(), flags}, {Pid, no_such_item}, {{lists, map, 2}, traced}, {{lists, no_such_function, 2}, traced}, {new, flags}, {new, tracer}]],
    Pid ! stop.
