%% processes/0 gives way to others, and still lists the processes of one moment.
-module(processes_in_turns).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    Costs = erts_debug:get_internal_state(processes_bif_info),
    io:format("~p~n", [{element(1, Costs), tuple_size(Costs), [is_integer(Cost) || Cost <- tl(tuple_to_list(Costs))]}]),
    Reductions = element(2, Costs) + 10,
    io:format("~p~n", [suspended(Reductions)]),
    io:format("~p~n", [killed(Reductions)]).

%% A process that is suspended within processes/0, while another ends and a third begins.
suspended(Reductions) ->
    Ends = spawn(fun idle/0),
    Lister = lister(Reductions),
    Shown = process_info(Lister, [status, current_function]),
    Monitor = monitor(process, Ends),
    exit(Ends, kill),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    Begins = spawn(fun idle/0),
    erlang:garbage_collect(Lister),
    erlang:resume_process(Lister),
    List = receive {Lister, Pids} -> Pids end,
    exit(Begins, kill),
    {Shown, [lists:member(Pid, List) || Pid <- [self(), Lister, Ends, Begins]], length(List) =:= length(lists:usort(List))}.

%% One that is killed there.
killed(Reductions) ->
    Lister = lister(Reductions),
    Monitor = monitor(process, Lister),
    exit(Lister, kill),
    receive {'DOWN', Monitor, _, _, Reason} -> Reason end.

%% A process within processes/0. No other runs until it gives way.
lister(Reductions) ->
    Parent = self(),
    erlang:system_flag(multi_scheduling, block_normal),
    Lister = spawn(fun() ->
        Parent ! {self(), begins},
        erts_debug:set_internal_state(reds_left, Reductions),
        List = processes(),
        Parent ! {self(), List},
        idle()
    end),
    receive {Lister, begins} -> ok end,
    erlang:suspend_process(Lister),
    erlang:system_flag(multi_scheduling, unblock_normal),
    Lister.

idle() -> receive after infinity -> ok end.
