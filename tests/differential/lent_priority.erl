%% A process of the highest priority is answered by processes of normal priority, however busy those of high priority are.
-module(lent_priority).
-export([main/0]).

main() ->
    process_flag(priority, max),
    Waiting = [spawn_link(fun() -> receive after infinity -> ok end end) || _ <- lists:seq(1, 20)],
    Busy = [spawn_opt(fun() -> loop(0) end, [link, {priority, high}]) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    receive after 100 -> ok end,
    [ask(Pid) || _ <- lists:seq(1, 5), Pid <- Waiting],
    [ended(Pid) || Pid <- Waiting ++ Busy],
    io:format("answered~n").

ask(Pid) ->
    Leader = group_leader(),
    Other = whereis(init),
    true = group_leader(Other, Pid),
    {group_leader, Other} = process_info(Pid, group_leader),
    true = group_leader(Leader, Pid),
    {group_leader, Leader} = process_info(Pid, group_leader),
    true = is_process_alive(Pid).

ended(Pid) ->
    Monitor = monitor(process, Pid),
    unlink(Pid),
    exit(Pid, bang),
    badarg = try group_leader(whereis(init), Pid) catch error:Reason -> Reason end,
    receive {'DOWN', Monitor, process, Pid, bang} -> ok end.

loop(N) -> loop(N + 1).
