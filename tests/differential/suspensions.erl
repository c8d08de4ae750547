%% erlang:suspend_process/2 that waits or does not: who is told what, and how often a process is suspended.
-module(suspensions).
-export([main/0]).

main() ->
    Gone = spawn(fun() -> ok end),
    timer:sleep(50),
    show([fun() -> erlang:suspend_process(Gone) end,
          fun() -> {erlang:suspend_process(Gone, [asynchronous]), told()} end,
          fun() -> {erlang:suspend_process(Gone, [{asynchronous, tag}]), told()} end,
          fun() -> erlang:resume_process(Gone) end]),
    Pid = spawn(fun Loop() -> receive _ -> Loop() end end),
    Counts = fun() ->
        {suspending, Suspending} = process_info(self(), suspending),
        {process_info(Pid, status) =:= {status, suspended}, [Count || {Other, Count, _} <- Suspending, Other =:= Pid]}
    end,
    Suspend = fun(Options) -> fun() -> {erlang:suspend_process(Pid, Options), told(), Counts()} end end,
    Resume = fun() -> {erlang:resume_process(Pid), Counts()} end,
    show([Suspend([asynchronous]), Suspend([{asynchronous, {a, "tag"}}]), Suspend([unless_suspending, {asynchronous, x}]),
          Suspend([unless_suspending]), Resume, Resume, Resume,
          Suspend([unless_suspending, {asynchronous, x}]), Suspend([unless_suspending, asynchronous]), Suspend([])]),
    exit(Pid, kill),
    timer:sleep(50),
    show([Resume]),
    show([fun() -> erlang:suspend_process(self(), Options) end || Options <- [[asynchronous], [{asynchronous, 1}], [other], [{asynchronous, 1, 2}]]]).

show(Funs) ->
    [io:format("~0p~n", [try Fun() catch Class:Reason -> {Class, Reason} end]) || Fun <- Funs].

told() ->
    receive Message -> Message after 200 -> nothing end.
