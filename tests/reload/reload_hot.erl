%% Loads a thousand versions of a module while its functions run hot on all schedulers.
%%
%% Every call that begins after a version was loaded has to come to it, or to a later one; a process that stays in an
%% old version keeps it from being purged, and goes on in it; memory does not grow with the versions. Prints by how
%% many kilobytes it has grown.
-module(reload_hot).
-export([main/1]).

-define(VERSIONS, 1000).
%% The first byte pair of hot's number stays, so that all numbers have the same length.
-define(BASE, 16#12340000).
-define(TURNS, 40).
%% Calls of all workers together for each version.
-define(CALLS, 60).
-define(LATEST, 1).
-define(COUNT, 2).

main([File]) ->
    {ok, Beam} = file:read_file(File),
    Shared = atomics:new(2, []),
    load(0, Beam, Shared),
    Workers = [spawn_monitor(fun() -> worker(Shared, 0) end) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    Pids = [Pid || {Pid, _} <- Workers],
    versions(1, 100, Beam, Shared, Pids),
    Before = resident_kb(),
    versions(101, ?VERSIONS, Beam, Shared, Pids),
    After = resident_kb(),
    [exit(Pid, stop) || Pid <- Pids],
    %% Whoever saw an old version or anything else amiss has ended for that reason.
    [receive {'DOWN', Monitor, process, _, Reason} -> stop = Reason end || {_, Monitor} <- Workers],
    io:format("~b~n", [After - Before]).

worker(Shared, Last) ->
    Least = max(Last, atomics:get(Shared, ?LATEST)),
    Version = hot:work(?TURNS),
    true = Version >= Least,
    atomics:add(Shared, ?COUNT, 1),
    worker(Shared, Version).

versions(N, Last, _, _, _) when N > Last -> ok;
versions(N, Last, Beam, Shared, Pids) ->
    Waiting = case N rem 50 of 0 -> spawn_monitor(hot, wait, []); _ -> none end,
    purge(),
    load(N, Beam, Shared),
    leave(Waiting, ?BASE + N - 1, N rem 100, Pids),
    Count = atomics:get(Shared, ?COUNT),
    reloading:wait_for(fun() -> atomics:get(Shared, ?COUNT) >= Count + ?CALLS end),
    versions(N + 1, Last, Beam, Shared, Pids).

load(N, Beam, Shared) -> reloading:load(hot, ?BASE + N, Beam, Shared, ?LATEST).

%% The old version goes when nobody is in it any more.
purge() -> reloading:wait_for(fun() -> code:soft_purge(hot) end).

%% A process that waits in the version before keeps that version. It leaves it or is killed, once it is alone there.
leave(none, _, _, _) -> ok;
leave({Pid, Monitor}, Version, Way, Workers) ->
    reloading:wait_for(fun() -> not lists:any(fun(Worker) -> erlang:check_process_code(Worker, hot) end, Workers) end),
    Pid ! {version, self()},
    receive {Pid, Said} -> Version = Said end,
    false = code:soft_purge(hot),
    Expected = case Way of 0 -> code:purge(hot), killed; _ -> Pid ! stop, normal end,
    receive {'DOWN', Monitor, process, Pid, Reason} -> Expected = Reason end.

resident_kb() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    {ok, File} = file:open("/proc/self/status", [read]),
    Kb = resident_kb(File),
    ok = file:close(File),
    Kb.

resident_kb(File) ->
    case file:read_line(File) of
        {ok, "VmRSS:" ++ Rest} -> {Kb, " kB\n"} = string:to_integer(string:trim(Rest, leading)), Kb;
        {ok, _} -> resident_kb(File)
    end.
