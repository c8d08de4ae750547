%% A process in a built-in on a dirty scheduler is suspended when that returns, and shown as running until then.
-module(dirty_suspensions).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    io:format("~p~n", [[asynchronous(), synchronous(), queued()]]).

asynchronous() ->
    {P, M} = waiting(1000),
    true = erlang:suspend_process(P, [{asynchronous, told}]),
    Early = shown(P),
    Told = receive {told, State} -> State after 5000 -> late end,
    {status, Late} = process_info(P, status),
    true = erlang:resume_process(P),
    {Early, Told, Late, ended(P, M)}.

synchronous() ->
    {P, M} = waiting(500),
    true = erlang:suspend_process(P),
    {status, Status} = process_info(P, status),
    true = erlang:resume_process(P),
    {Status, ended(P, M)}.

%% One that no dirty scheduler has taken up yet is runnable.
queued() ->
    Others = [waiting(10000, 0) || _ <- lists:seq(1, erlang:system_info(dirty_io_schedulers))],
    timer:sleep(200),
    {P, M} = waiting(100),
    [_, Status] = shown(P),
    [exit(Other, kill) || {Other, _} <- Others],
    exit(P, kill),
    {Status, ended(P, M)}.

waiting(Ms) -> waiting(Ms, 200).

waiting(Ms, PauseMs) ->
    Started = spawn_monitor(fun() -> erts_debug:dirty_io(wait, Ms), exit(done) end),
    timer:sleep(PauseMs),
    Started.

shown(P) -> process_info(P, [current_function, status]).

ended(P, M) -> receive {'DOWN', M, process, P, Reason} -> Reason after 5000 -> lives end.
