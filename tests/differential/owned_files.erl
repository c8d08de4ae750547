%% Files go with the process that opened them, and with the last reference to them.
-module(owned_files).
-export([main/0]).

main() ->
    Before = descriptors(),
    %% What a process leaves open is closed when it ends, and nobody else can use it.
    Handles = [handle_of_one_that_ended() || _ <- lists:seq(1, 200)],
    io:format("~p~n", [lists:usort([outcome(fun() -> file:read(Handle, 1) end) || Handle <- Handles])]),
    io:format("~p~n", [settles_at(Before)]),
    %% One that is closed stays so.
    {ok, File} = file:open(?FILE, [read, raw, binary]),
    io:format("~p ~p ~p~n", [file:read(File, 2), file:close(File), outcome(fun() -> file:read(File, 1) end)]),
    %% Many that are closed at once, and a process with many of its own.
    [begin {ok, F} = file:open(?FILE, [read, raw]), ok = file:close(F) end || _ <- lists:seq(1, 500)],
    {Pid, Ref} = spawn_monitor(fun() -> [{ok, _} = file:open(?FILE, [read, raw]) || _ <- lists:seq(1, 100)], receive stop -> ok end end),
    Pid ! stop,
    receive {'DOWN', Ref, process, Pid, Why} -> io:format("~p~n", [Why]) end,
    io:format("~p~n", [settles_at(Before)]).

handle_of_one_that_ended() ->
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() -> {ok, File} = file:open(?FILE, [read, raw, binary]), Self ! {file, File} end),
    receive {file, File} -> ok end,
    receive {'DOWN', Ref, process, Pid, normal} -> File end.

outcome(Fun) -> try Fun() catch Class:Reason -> {Class, Reason} end.

descriptors() -> {ok, Names} = file:list_dir("/proc/self/fd"), length(Names).

%% The end of a process is told before its files are closed. A few may have been opened for other purposes meanwhile.
settles_at(Count) -> settles_at(Count, 100).
settles_at(Count, Tries) ->
    case descriptors() of
        Now when Now =< Count + 10 -> settled;
        Now when Tries =:= 0 -> {left_open, Now - Count};
        _ -> timer:sleep(20), settles_at(Count, Tries - 1)
    end.
