%% What the machine says about itself: the same items of the same shape, and figures that move when work is done.
-module(figures).
-export([main/0, wait/1]).

main() ->
    %% A debug build of the machine says so.
    true = is_boolean(erlang:system_info(debug_compiled)),
    [io:format("~p: ~p~n", [Item, shape(system_info(Item))]) || Item <- system_items()],
    [io:format("~p: ~p~n", [Item, shape(erlang:statistics(Item))]) || Item <- statistics_items()],
    [io:format("~p: ~p~n", [Item, shape(erlang:memory(Item))]) || Item <- memory_items()],
    io:format("~p~n", [[Key || {Key, Size} <- erlang:memory(), Size > 0]]),
    cpu_quota(),
    one_process(),
    process_flags(),
    system_flags(),
    figures_move(),
    shared_binaries(),
    waiting_forever().

%% The binaries of a process stand in one order, collected or not.
shared_binaries() ->
    {Pid, Ref} = spawn_monitor(fun() ->
        Binaries = [list_to_binary(lists:seq(0, Last)) || Last <- [64, 99, 255, 70]],
        Sizes = fun() -> {binary, List} = process_info(self(), binary), [{Size, References} || {_, Size, References} <- List] end,
        Before = Sizes(),
        exit({Before, [begin garbage_collect(), Sizes() =:= Before end || _ <- [1, 2, 3]], length(Binaries)})
    end),
    receive {'DOWN', Ref, process, Pid, Told} -> io:format("~p~n", [Told]) end.

%% Being asked does not wake a process that waits for nothing.
waiting_forever() ->
    {Pid, Ref} = spawn_monitor(fun() -> timer:sleep(infinity) end),
    [begin timer:sleep(1), process_info(Pid, status) end || _ <- lists:seq(1, 20)],
    receive {'DOWN', Ref, process, Pid, Why} -> io:format("~p~n", [Why]) after 20 -> io:format("still waiting~n") end,
    exit(Pid, kill).

system_items() ->
    [atom_count, atom_limit, compat_rel, creation, delayed_node_table_gc, dirty_cpu_schedulers,
     dirty_cpu_schedulers_online, dirty_io_schedulers, dist, dist_buf_busy_limit, dist_ctrl, driver_version, dynamic_trace,
     dynamic_trace_probes, end_time, ets_count, ets_limit, fullsweep_after, garbage_collection, heap_sizes, heap_type,
     loaded, logical_processors, logical_processors_available, logical_processors_online, machine, max_heap_size,
     message_queue_data, min_bin_vheap_size, min_heap_size, modified_timing_level, multi_scheduling,
     multi_scheduling_blockers, nif_version, normal_multi_scheduling_blockers, os_monotonic_time_source,
     os_system_time_source, otp_release, outstanding_system_requests_limit, port_count, port_limit, port_parallelism,
     process_count, process_limit, scheduler_bind_type, scheduler_bindings, scheduler_id, schedulers, schedulers_online,
     smp_support, start_time, system_architecture, system_logger, system_version, threads, thread_pool_size,
     time_correction, time_offset, time_warp_mode, tolerant_timeofday, trace_control_word, update_cpu_info, version,
     wordsize, {wordsize, internal}, {wordsize, external}, {cpu_topology, defined}, no_such_item].

system_info(Item) -> try erlang:system_info(Item) catch error:Why -> {error, Why} end.

%% Whether it is known depends on what the container shows, and on the release.
cpu_quota() ->
    case erlang:system_info(cpu_quota) of
        unknown -> io:format("a quota in order~n");
        N when N >= 1 -> true = N =< erlang:system_info(logical_processors_online), io:format("a quota in order~n")
    end.

statistics_items() ->
    [active_tasks, active_tasks_all, context_switches, exact_reductions, garbage_collection, io, reductions, run_queue,
     run_queue_lengths, run_queue_lengths_all, runtime, scheduler_wall_time, total_active_tasks, total_active_tasks_all,
     total_run_queue_lengths, total_run_queue_lengths_all, wall_clock].

memory_items() -> [total, processes, processes_used, system, atom, atom_used, binary, code, ets].

%% Numbers lose their value, texts their length; lists of equal shapes keep one.
shape(N) when is_integer(N) -> integer;
shape(P) when is_pid(P) -> pid;
shape(B) when is_binary(B) -> binary;
shape(T) when is_tuple(T) -> list_to_tuple([shape(E) || E <- tuple_to_list(T)]);
shape(M) when is_map(M) -> maps:map(fun(_, V) -> shape(V) end, M);
shape([_ | _] = L) -> [each | lists:usort([shape(E) || E <- L])];
shape(Other) -> Other.

wait(Something) -> receive never -> Something end.

one_process() ->
    Pid = spawn(fun() -> process_flag(trap_exit, true), put(key, value), catch wait({one, 2}) end),
    Watcher = monitor(process, Pid),
    Pid ! hello,
    wait_for(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    [io:format("~p~n", [process_info(Pid, Item)]) || Item <-
        [catchlevel, current_function, dictionary, error_handler, initial_call, last_calls, links, message_queue_data,
         message_queue_len, messages, min_bin_vheap_size, min_heap_size, monitors, priority, registered_name,
         sequential_trace_token, status, suspending, trace, trap_exit, garbage_collection]],
    [io:format("~p~n", [shape(process_info(Pid, Item))]) || Item <-
        [backtrace, binary, current_location, current_stacktrace, garbage_collection_info, group_leader, heap_size, memory,
         monitored_by, parent, reductions, stack_size, total_heap_size]],
    {backtrace, Text} = process_info(Pid, backtrace),
    Places = re:run(Text, <<"\\((\\S+|<.*>)[ )]|y\\(0\\)">>, [global, {capture, first, list}]),
    io:format("~p~n", [Places]),
    erlang:suspend_process(Pid),
    io:format("~p ~p~n", [process_info(Pid, status), shape(process_info(self(), suspending))]),
    erlang:resume_process(Pid),
    io:format("~p~n", [[Key || {Key, _} <- process_info(Pid)]]),
    io:format("~p~n", [catch process_info(Pid, no_such_item)]),
    demonitor(Watcher, [flush]),
    exit(Pid, kill).

wait_for(Done) ->
    case Done() of
        true -> ok;
        false -> timer:sleep(5), wait_for(Done)
    end.

process_flags() ->
    [io:format("~p ~p: ~p~n", [Flag, Value, flag(fun() -> process_flag(Flag, Value) end)]) || {Flag, Value} <-
        [{fullsweep_after, 10}, {fullsweep_after, -1}, {fullsweep_after, 65535}, {min_heap_size, 1000}, {min_heap_size, 233},
         {min_bin_vheap_size, 50000}, {min_bin_vheap_size, 46422}, {max_heap_size, #{size => 0, kill => false}},
         {max_heap_size, 5}, {max_heap_size, #{kill => true}}, {max_heap_size, 0}, {message_queue_data, off_heap},
         {message_queue_data, on_heap}, {message_queue_data, other}, {save_calls, 0}, {scheduler, 1}, {scheduler, 0},
         {scheduler, 99999}, {no_such_flag, 1}]].

system_flags() ->
    [io:format("~p ~p: ~p~n", [Flag, Value, flag(fun() -> erlang:system_flag(Flag, Value) end)]) || {Flag, Value} <-
        [{backtrace_depth, 20}, {backtrace_depth, 8}, {fullsweep_after, 100}, {fullsweep_after, 65535}, {min_heap_size, 500},
         {min_heap_size, 233}, {min_bin_vheap_size, 50000}, {min_bin_vheap_size, 46422}, {max_heap_size, 5},
         {max_heap_size, #{size => 100000, kill => false}}, {max_heap_size, 0}, {schedulers_online, 1},
         {schedulers_online, erlang:system_info(schedulers)}, {schedulers_online, 0}, {trace_control_word, 5},
         {trace_control_word, 0}, {trace_control_word, -1}, {scheduler_wall_time, true}, {scheduler_wall_time, false},
         {multi_scheduling, unblock}, {no_such_flag, 1}]].

flag(Set) -> try Set() catch Class:Why -> {Class, Why} end.

%% Each figure before and after some work.
figures_move() ->
    Grows = fun(What, Figure, Work) ->
        Before = Figure(),
        Work(),
        io:format("~p grows: ~p~n", [What, Figure() > Before])
    end,
    Statistics = fun(Item) -> fun() -> element(1, erlang:statistics(Item)) end end,
    Grows(garbage_collection, Statistics(garbage_collection), fun() -> lists:seq(1, 10000), garbage_collect() end),
    Grows(reclaimed, fun() -> element(2, erlang:statistics(garbage_collection)) end, fun() -> [lists:seq(1, N) || N <- lists:seq(1, 1000)], garbage_collect() end),
    Grows(context_switches, Statistics(context_switches), fun() -> timer:sleep(2) end),
    Grows(reductions, Statistics(exact_reductions), fun() -> lists:foldl(fun(N, Sum) -> N + Sum end, 0, lists:seq(1, 100000)) end),
    Grows(output, fun() -> element(2, element(2, erlang:statistics(io))) end, fun() -> os:cmd("cat >/dev/null") end),
    Grows(input, fun() -> element(2, element(1, erlang:statistics(io))) end, fun() -> os:cmd("echo 0123456789") end),
    Grows(wall_clock, Statistics(wall_clock), fun() -> timer:sleep(3) end),
    Grows(atoms, fun() -> erlang:system_info(atom_count) end, fun() -> list_to_atom("an atom that nobody has made before") end),
    Grows(tables, fun() -> erlang:system_info(ets_count) end, fun() -> ets:new(table, []) end),
    Grows(binaries, fun() -> erlang:memory(binary) end, fun() -> put(binary, binary:copy(<<"x">>, 10000000)) end),
    Grows(processes, fun() -> erlang:memory(processes) end, fun() -> put(list, lists:seq(1, 1000000)) end),
    Grows(ports, fun() -> erlang:system_info(port_count) end, fun() -> open_port({spawn, "cat"}, []) end),
    erlang:system_flag(scheduler_wall_time, true),
    lists:foldl(fun(N, Sum) -> N + Sum end, 0, lists:seq(1, 1000000)),
    timer:sleep(2),
    Times = erlang:statistics(scheduler_wall_time),
    io:format("busy: ~p~n", [lists:any(fun({_, Active, Total}) -> Active > 0 andalso Active =< Total end, Times)]).
