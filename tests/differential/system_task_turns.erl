%% System tasks of a process are done by their priority, which the process has for its next turn, and processes that are
%% bound to a scheduler have their turns by priority like others.
-module(system_task_turns).
-export([main/0]).

main() ->
    process_flag(priority, high),
    process_flag(scheduler, 1),
    Target = spawn_opt(fun idle/0, [link, {scheduler, 1}]),
    io:format("~p~n", [order(Target, [{low, 2}, {normal, 11}, {low, 3}, {normal, 16}])]),
    io:format("~p~n", [order(Target, [{low, 1}, {normal, 3}, {max, 2}, {high, 2}, {inherit, 2}, {normal, 20}])]),
    io:format("~p~n", [deleted()]),
    io:format("~p~n", [[refused(Target, Priority) || Priority <- [lower, 1, "low"]]]),
    process_flag(scheduler, 0),
    process_flag(priority, max),
    io:format("~p~n", [passed_over()]).

%% Requests so many of each priority, and tells in which order they are answered.
order(Target, Requests) ->
    [request(Target, Priority, {Priority, N}) || {Priority, Count} <- Requests, N <- lists:seq(1, Count)],
    [receive {system_task_test, Id, true} -> Id end || {_, Count} <- Requests, _ <- lists:seq(1, Count)].

request(Target, Priority, Id) -> erts_internal:request_system_task(Target, Priority, {system_task_test, Id}).

%% Whether a new process has begun when the module that it runs is deleted, although its parent has a higher priority.
deleted() ->
    Forms = [{attribute, 1, module, deleted}, {attribute, 1, export, [{wait, 0}]},
             {function, 1, wait, 0, [{clause, 1, [], [], [{'receive', 1, [{clause, 1, [{atom, 1, go}], [], [{atom, 1, ok}]}]}]}]}],
    {ok, deleted, Binary} = compile:forms(Forms),
    {module, deleted} = erlang:load_module(deleted, Binary),
    Pid = spawn_opt(deleted, wait, [], [{scheduler, 1}]),
    Result = [erlang:delete_module(deleted), erlang:check_process_code(Pid, deleted)],
    exit(Pid, kill),
    Result.

refused(Target, Priority) -> try request(Target, Priority, id) catch error:Reason -> Reason end.

%% While all schedulers are busy with the highest priority, nothing of lower priority is done.
passed_over() ->
    Parent = self(),
    Loops = [spawn_opt(fun() -> Parent ! {self(), runs}, loop() end, [link, {priority, max}, {scheduler, N}])
        || N <- lists:seq(1, erlang:system_info(schedulers_online))],
    [receive {Loop, runs} -> ok end || Loop <- Loops],
    Target = spawn_opt(fun loop/0, [link, {priority, low}]),
    [request(Target, Priority, Priority) || Priority <- [low, normal, high]],
    Early = receive {system_task_test, Done, _} -> Done after 300 -> none end,
    request(Target, max, max),
    receive {system_task_test, max, true} -> ok end,
    [begin unlink(Loop), exit(Loop, kill) end || Loop <- Loops],
    [receive {system_task_test, Priority, true} -> ok end || Priority <- [low, normal, high]],
    unlink(Target),
    exit(Target, kill),
    Early.

loop() -> loop().

idle() -> receive after infinity -> ok end.
