%% The processes of the system, and what only they may ask for.
-module(system_processes).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    System = [P || P <- processes(), erts_internal:is_system_process(P), initial(P) =/= {erts_trace_cleaner, start, 0}],
    io:format("~p~n", [[process_info(P, [initial_call, priority, message_queue_data, trap_exit]) || P <- System]]),
    Handlers = [P || P <- System, initial(P) =:= {erts_dirty_process_signal_handler, start, 0}],
    io:format("~p~n", [dirty_online()]),
    io:format("~p~n", [[asked(self()), asked(foo), blocked(), [handled(P) || P <- Handlers]]]).

%% With one dirty scheduler for computing online, one process after the other is on it.
dirty_online() ->
    All = erlang:system_info(dirty_cpu_schedulers_online),
    Set = fun(N) -> try erlang:system_flag(dirty_cpu_schedulers_online, N) catch error:Reason -> Reason end end,
    Before = Set(1) =:= All,
    wait_until(fun() -> erlang:system_info(dirty_cpu_schedulers_online) =:= 1 end),
    Ps = [spawn_monitor(fun() -> erts_debug:dirty_cpu(wait, 20) end) || _ <- lists:seq(1, 5)],
    Ended = [receive {'DOWN', M, process, P, Why} -> Why end || {P, M} <- Ps],
    Refused = [Set(N) || N <- [0, erlang:system_info(dirty_cpu_schedulers) + 1, foo]],
    Again = Set(All),
    wait_until(fun() -> erlang:system_info(dirty_cpu_schedulers_online) =:= All end),
    [Before, Ended, Refused, Again].

initial(P) -> element(2, process_info(P, initial_call)).

asked(Pid) -> try erts_internal:dirty_process_handle_signals(Pid) catch error:Reason -> Reason end.

%% Signals of a process are held up, and come in order.
blocked() ->
    P = spawn(fun() -> receive {go, From} -> From ! {self(), went} end end),
    Sent = erts_debug:set_internal_state(proc_sig_block, {P, 10}),
    P ! {go, self()},
    receive {P, went} -> ok end,
    Refused = [try erts_debug:set_internal_state(proc_sig_block, Bad) catch error:Reason -> Reason end || Bad <- [foo, {foo, 1}]],
    [Sent, Refused].

%% A handler looks at the signals of a process that is busy on a dirty scheduler, of one that is not, and of none.
handled(Handler) ->
    Busy = spawn(fun() -> erts_debug:dirty_cpu(wait, 100) end),
    [Handler ! What || What <- [Busy, self(), garbage, {1, 2, 3, 4}]],
    exit(Busy, kill),
    M = monitor(process, Busy),
    receive {'DOWN', M, process, Busy, _} -> ok end,
    Handler ! Busy,
    wait_until(fun() -> process_info(Handler, message_queue_len) =:= {message_queue_len, 0} end),
    is_process_alive(Handler).

wait_until(Done) ->
    case Done() of
        true -> ok;
        false -> receive after 10 -> wait_until(Done) end
    end.
