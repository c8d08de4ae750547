%% Processes that hold all others back.
-module(multi_scheduling).
-export([main/0]).

main() ->
    Steps = [block, block_normal, unblock, unblock, unblock_normal, block_normal, foo, unblock_normal],
    [io:format("~p: ~p ~p~n", [Step, attempt(Step), state()]) || Step <- Steps],
    io:format("~p~n", [alone()]),
    {P, M} = spawn_monitor(fun() -> exit(erlang:system_flag(multi_scheduling, block)) end),
    receive {'DOWN', M, process, P, Result} -> io:format("~p~n", [Result]) end,
    io:format("~p~n", [state()]),
    io:format("~p~n", [online()]).

attempt(Step) -> try erlang:system_flag(multi_scheduling, Step) catch Class:Reason -> {Class, Reason} end.

state() ->
    Mine = fun(Item) -> [me || P <- erlang:system_info(Item), P =:= self()] end,
    {erlang:system_info(multi_scheduling), Mine(multi_scheduling_blockers), Mine(normal_multi_scheduling_blockers)}.

%% What others count while one that never gives up its scheduler has blocked them.
alone() ->
    Counter = counters:new(1, []),
    Busy = [spawn_link(fun() -> count(Counter) end) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    timer:sleep(20),
    %% The others may run on the one scheduler whenever the blocker's turn is over, but for those of a lower priority.
    normal = process_flag(priority, high),
    Moved = [begin
                 blocked = erlang:system_flag(multi_scheduling, block),
                 Before = counters:get(Counter, 1),
                 lists:seq(1, 10),
                 After = counters:get(Counter, 1),
                 enabled = erlang:system_flag(multi_scheduling, unblock),
                 After - Before
             end || _ <- lists:seq(1, 20)],
    high = process_flag(priority, normal),
    timer:sleep(20),
    Last = counters:get(Counter, 1),
    timer:sleep(20),
    Goes = counters:get(Counter, 1) > Last,
    [begin unlink(B), exit(B, kill) end || B <- Busy],
    {lists:usort(Moved), Goes}.

count(Counter) -> counters:add(Counter, 1, 1), count(Counter).

%% The number that is to be online can be set meanwhile.
online() ->
    All = erlang:system_info(schedulers),
    blocked = erlang:system_flag(multi_scheduling, block),
    Same = erlang:system_info(schedulers_online) =:= All,
    enabled = erlang:system_flag(multi_scheduling, unblock),
    Same.
