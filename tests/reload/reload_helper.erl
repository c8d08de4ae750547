%% Loads versions of a module whose functions call funs, while those who have them inside run hot on all schedulers.
%%
%% Every call that begins after a version was loaded has to come to it, or to a later one, however long its caller has been
%% machine code; turns end inside, and old versions are purged while others wait in them.
-module(reload_helper).
-export([main/1]).

-define(VERSIONS, 300).
%% The first byte pair of the number stays, so that all numbers have the same length.
-define(BASE, 16#12340000).
%% Calls of all workers together for each version.
-define(CALLS, 200).
-define(LATEST, 1).
-define(COUNT, 2).

main([File]) ->
    {ok, Beam} = file:read_file(File),
    Shared = atomics:new(2, []),
    load(0, Beam, Shared),
    Lists = [lists:seq(1, Length) || Length <- [0, 1, 10, 300, 5000]],
    Workers = [spawn_monitor(fun() -> worker(Shared, Lists, N, 0) end) || N <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    versions(1, Beam, Shared),
    [exit(Pid, stop) || {Pid, _} <- Workers],
    %% Whoever came to an old version, or to anything else amiss, has ended for that reason.
    [receive {'DOWN', Monitor, process, _, Reason} -> stop = Reason end || {_, Monitor} <- Workers],
    io:format("~b~n", [helper:version() - ?BASE]).

worker(Shared, Lists, K, Last) ->
    worker(Shared, Lists, K, lists:foldl(fun(L, Least) -> call(Shared, L, K, Least) end, Last, Lists)).

call(Shared, L, K, Last) ->
    Least = max(Last, atomics:get(Shared, ?LATEST)),
    [Version | Sum] = helper:fold(fun(X, A) -> A + X * K end, 0, L),
    {true, true} = {Version >= Least, Sum =:= K * lists:sum(L)},
    atomics:add(Shared, ?COUNT, 1),
    Version.

versions(N, _, _) when N > ?VERSIONS -> ok;
versions(N, Beam, Shared) ->
    reloading:wait_for(fun() -> code:soft_purge(helper) end),
    load(N, Beam, Shared),
    Count = atomics:get(Shared, ?COUNT),
    reloading:wait_for(fun() -> atomics:get(Shared, ?COUNT) >= Count + ?CALLS end),
    versions(N + 1, Beam, Shared).

load(N, Beam, Shared) -> reloading:load(helper, ?BASE + N, Beam, Shared, ?LATEST).
