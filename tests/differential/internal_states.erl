%% What test suites ask erts_debug for, and literals that leave.
-module(internal_states).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Before = erts_debug:set_internal_state(available_internal_state, true),
    io:format("~p~n", [[Before, erts_debug:get_internal_state(available_internal_state)]]),
    io:format("~p~n", [deferred_collection()]),
    io:format("~p~n", [dirty()]),
    io:format("~p~n", [[erts_debug:get_internal_state({binary_info, B}) || B <- [<<1>>, binary:copy(<<1>>, 100)]]]),
    io:format("~p~n", [erased_literal()]),
    Tuple = erts_debug:set_internal_state(inconsistent_heap, start),
    io:format("~p~n", [erts_debug:set_internal_state(inconsistent_heap, Tuple)]),
    io:format("~p~n", [[counted_reference(), status(), erts_debug:set_internal_state(block, 20)]]),
    {{node_references, Nodes}, {dist_references, _}} = erts_debug:get_internal_state(node_and_dist_references),
    io:format("~p~n", [lists:keymember({node(), erlang:system_info(creation)}, 1, Nodes)]),
    Items = erts_debug:get_internal_state(process_info_args),
    io:format("~p~n", [code_permission()]),
    io:format("~p~n", [[erts_debug:lc_graph(), rescheduling()]]),
    io:format("~p~n", [[erts_debug:get_internal_state({dist_ctrl, Node}) || Node <- [nobody@nowhere, node()]]]),
    io:format("~p~n", [numbered_atoms()]),
    io:format("~p~n", [loop_limits()]),
    io:format("~p~n", [timers_in_timers()]),
    io:format("~p~n", [markers_begin_anew()]),
    io:format("~p~n", [unique_integers_at_limits()]),
    io:format("~p~n", [unique_integers_of_parts()]),
    io:format("~p~n", [[erts_debug:disassemble(Place) || Place <- [{lists, append, 2}, {lists, none, 2}, 0, foo]]]),
    register(internal_states, self()),
    io:format("~p~n", [[Item || Item <- Items, element(1, process_info(self(), Item)) =/= Item]]).

counted_reference() ->
    {R, A} = erts_debug:set_internal_state(make, magic_ref),
    {A, 1, true} = erts_debug:get_internal_state({magic_ref, R}),
    Same = binary_to_term(term_to_binary(R)),
    {A, 2, true} = erts_debug:get_internal_state({magic_ref, R}),
    Same =:= R.

%% What was set before is told.
loop_limits() ->
    Set = fun(Limit, Value) -> try erts_debug:set_internal_state(Limit, Value) catch error:Reason -> Reason end end,
    [[Set(Limit, Value) || Value <- [10, 20, default, 0, 30, default, -1, foo]]
        || Limit <- [binary_loop_limit, unicode_loop_limit, re_loop_limit]].

%% A timer that starts a timer that starts a third, the last two due at once.
timers_in_timers() ->
    Set = fun(Value) -> try erts_debug:set_internal_state(multizero_timeout_in_timeout, Value) catch error:Reason -> Reason end end,
    [[Set(Value), receive multizero_timeout_in_timeout_done = Done -> Done after 5000 -> late end] || Value <- [0, 5, -1]] ++ [Set(foo), Set(1 bsl 70)].

%% Receives that skip what came before a reference, while the numbers that belong to this begin anew.
markers_begin_anew() ->
    self() ! before,
    Set = fun(Value) -> try erts_debug:set_internal_state(process_uniq_counter, Value) catch error:Reason -> Reason end end,
    [[begin [answered() || _ <- lists:seq(1, 20)], Set(Value) end || Value <- [1 bsl 62 - 10, -10, 65530, foo, 1 bsl 64]],
     receive before -> before after 0 -> lost end].

answered() ->
    Ref = monitor(process, self(), [{alias, demonitor}]),
    self() ! Ref,
    receive Ref -> demonitor(Ref, [flush]) end.

%% Monotonic integers over every limit of theirs: of small ones, of 64 bits, and of themselves.
unique_integers_at_limits() ->
    Min = erts_debug:get_internal_state(min_unique_monotonic_integer),
    State = erts_debug:get_internal_state(unique_monotonic_integer_state),
    Set = fun(Next) -> erts_debug:set_internal_state(unique_monotonic_integer_state, Next - Min - 1) end,
    Made = [[Set(Next) | [erlang:unique_integer([monotonic]) || _ <- lists:seq(1, 4)]]
        || Next <- [-2, 1 bsl 59 - 2, 1 bsl 61 - 2, 1 bsl 63 - 2, Min - 2]],
    Set(1 bsl 63),
    Positive = erlang:unique_integer([monotonic, positive]),
    Restored = erts_debug:set_internal_state(unique_monotonic_integer_state, State),
    Refused = [try erts_debug:set_internal_state(unique_monotonic_integer_state, Bad) catch error:Reason -> Reason end || Bad <- [foo, 1 bsl 64]],
    [Min, Made, Positive - (1 bsl 63) + Min, Restored, Refused].

%% Unique integers as each thread would make them, and that those which are made have one of the threads.
unique_integers_of_parts() ->
    Make = fun(Thread, Count) -> try erts_debug:get_internal_state({make_unique_integer, Thread, Count}) catch error:Reason -> Reason end end,
    Threads = lists:sum([erlang:system_info(Kind) || Kind <- [schedulers, dirty_cpu_schedulers, dirty_io_schedulers]]),
    Bits = length(integer_to_list(Threads, 2)),
    Last = 1 bsl 64 - 1,
    Min = Make(0, 0),
    Parts = [Make(Thread, Count) - Min =:= Count bsl Bits bor Thread || Thread <- [0, 1, Threads], Count <- [0, 1, 1 bsl 62, Last]],
    Numbers = [(erlang:unique_integer() - Min) band (1 bsl Bits - 1) || _ <- lists:seq(1, 100)],
    [Min, Parts, lists:all(fun(N) -> N =< Threads end, Numbers), [Make(Thread, Count) || {Thread, Count} <- [{0, -1}, {0, Last + 1}, {foo, 0}]]].

%% Atoms by their numbers; those that are missing are made.
numbered_atoms() ->
    Number = erlang:system_info(atom_count) + 20000,
    Atoms = [erts_debug:get_internal_state({atom, N}) || N <- [0, 1, 2, Number]],
    Refused = try erts_debug:get_internal_state({atom, -1}) catch error:Reason -> Reason end,
    Last = lists:last(Atoms),
    [lists:all(fun is_atom/1, Atoms), length(lists:usort(Atoms)), list_to_existing_atom(atom_to_list(Last)) =:= Last,
     erts_debug:get_internal_state({atom, Number}) =:= Last, Refused].

%% What a process shows that is in a built-in on a dirty scheduler, and where a call fails that has gone on elsewhere.
rescheduling() ->
    P = spawn(fun() -> erts_debug:dirty_io(wait, 10000), ok end),
    timer:sleep(200),
    Shown = process_info(P, [current_function, current_location]),
    Init = whereis(init),
    true = group_leader(Init, P),
    {group_leader, Init} = process_info(P, group_leader),
    exit(P, kill),
    Failing = [{dirty_cpu, [reschedule, 1001]}, {dirty_io, [reschedule, 7]}, {dirty, [normal, reschedule, 9]}],
    [Shown | [failure(F, Args) || {F, Args} <- Failing]].

failure(F, Args) ->
    try
        apply(erts_debug, F, Args)
    catch
        error:Reason:Trace -> [{_, F1, Args1, _} | _] = Trace, {Reason, F1, Args1}
    end.

%% Who changes code waits, suspended, while another process has the permission.
code_permission() ->
    What = case erlang:system_info(otp_release) of "25" -> code_write_permission; _ -> code_mod_permission end,
    {ok, permitted, Code} = compile:forms([{attribute, 1, module, permitted}]),
    Main = self(),
    true = erts_debug:set_internal_state(What, true),
    Steps = [
        fun() -> erlang:load_module(permitted, Code) end,
        fun() -> erlang:delete_module(permitted) end,
        fun() -> erlang:purge_module(permitted) end
    ],
    P = spawn_link(fun() -> Main ! {done, [Step() || Step <- Steps]} end),
    Killed = spawn(fun() -> erlang:delete_module(permitted) end),
    wait_until_suspended(P),
    wait_until_suspended(Killed),
    exit(Killed, kill),
    Early = receive {done, _} -> early after 50 -> waits end,
    true = erts_debug:set_internal_state(What, false),
    receive {done, Results} -> [Early, Results, erts_debug:set_internal_state(What, false)] end.

wait_until_suspended(P) ->
    case process_info(P, status) of
        {status, suspended} -> ok;
        _ -> timer:sleep(5), wait_until_suspended(P)
    end.

status() ->
    {P, M} = spawn_monitor(fun() -> receive stop -> ok end end),
    timer:sleep(20),
    Waits = erts_debug:get_internal_state({process_status, P}),
    P ! stop,
    receive {'DOWN', M, _, _, _} -> ok end,
    timer:sleep(100),
    {Waits, erts_debug:get_internal_state({process_status, P})}.

deferred_collection() ->
    Main = self(),
    P = spawn_link(fun() ->
                           true = erts_debug:set_internal_state(gc_state, false),
                           Main ! ready,
                           receive go -> ok end,
                           false = erts_debug:set_internal_state(gc_state, true),
                           receive stop -> ok end
                   end),
    receive ready -> ok end,
    async = garbage_collect(P, [{async, r}]),
    First = receive {garbage_collect, r, _} -> early after 100 -> not_yet end,
    P ! go,
    Second = receive {garbage_collect, r, Done} -> Done end,
    P ! stop,
    {First, Second}.

dirty() ->
    Result = fun(F) -> try F() catch Class:Reason:Stack -> {Class, Reason, element(3, hd(Stack))} end end,
    [Result(F) || F <- [
        fun() -> erts_debug:dirty_cpu(scheduler, type) end,
        fun() -> erts_debug:dirty_io(scheduler, type) end,
        fun() -> [erts_debug:dirty(K, scheduler, type) || K <- [normal, dirty_cpu, dirty_io]] end,
        fun() -> erts_debug:dirty_io(wait, 1) end,
        fun() -> {erts_debug:dirty_io(send, self()), receive {ok, Self} when Self =:= self() -> told end} end,
        fun() ->
            Self = self(),
            {Pid, Monitor} = spawn_monitor(fun() -> erts_debug:dirty_cpu(alive_waitexiting, Self) end),
            receive {alive, Pid} -> exit(Pid, kill) end,
            receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end
        end,
        fun() -> erts_debug:dirty_cpu(reschedule, 100) end,

        fun() -> lists:usort(erts_debug:dirty_cpu(copy, {a, [b]})) end,
        fun() -> erts_debug:dirty_cpu(error, badarith) end,
        fun() -> erts_debug:dirty_io(error, system_limit) end,
        fun() -> erts_debug:dirty(foo, error, badarg) end,
        fun() -> erts_debug:dirty_io(foo, 1) end]].

%% A term that a waiting process holds is its own once the literal has left.
erased_literal() ->
    persistent_term:put(?MODULE, [a, b, make_ref()]),
    P = spawn_link(fun() -> answer(persistent_term:get(?MODULE)) end),
    P ! {ask, self()},
    receive {size, 0} -> ok end,
    persistent_term:erase(?MODULE),
    erased_literal(P, 500).

erased_literal(P, Tries) ->
    P ! {ask, self()},
    receive
        {size, 0} when Tries > 0 -> receive after 10 -> erased_literal(P, Tries - 1) end;
        {size, Size} -> Size > 0
    end.

answer(Term) -> receive {ask, From} -> From ! {size, erts_debug:size_shared(Term)}, answer(Term) end.
