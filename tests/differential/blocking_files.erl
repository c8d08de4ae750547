%% Opening a pipe by name waits for who opens its other end: more processes wait so than there are schedulers, and everybody
%% else goes on.
-module(blocking_files).
-export([main/0]).

-define(PIPES, 6).

main() ->
    Folder = filename:join(filename:basedir(user_cache, "blocking_files"), os:getpid()),
    ok = filelib:ensure_path(Folder),
    Names = [filename:join(Folder, "pipe" ++ integer_to_list(N)) || N <- lists:seq(1, ?PIPES)],
    [[] = os:cmd("mkfifo '" ++ Name ++ "'") || Name <- Names],
    Self = self(),
    [spawn_link(fun() -> Self ! {Name, read(Name)} end) || Name <- Names],
    io:format("~p~n", [receive {_, Early} -> Early after 100 -> nothing_yet end]),
    %% There is a scheduler for messages, timers and files while they wait.
    io:format("~p~n", [rounds(1000, spawn_link(fun echo/0))]),
    io:format("~p~n", [length([ok || _ <- lists:seq(1, 300), {error, enoent} <- [file:read_file(filename:join(Folder, "none"))]])]),
    [ok = write(Name, integer_to_binary(N)) || {N, Name} <- lists:enumerate(Names)],
    io:format("~p~n", [[receive {Name, What} -> What end || Name <- Names]]),
    %% The same where processes wait for every scheduler all the time.
    Busy = [spawn_link(fun spin/0) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    [spawn_link(fun() -> Self ! {Name, read(Name)} end) || Name <- Names],
    io:format("~p~n", [receive {_, TooEarly} -> TooEarly after 100 -> nothing_yet end]),
    io:format("~p~n", [rounds(50, spawn_link(fun echo/0))]),
    [ok = write(Name, integer_to_binary(N)) || {N, Name} <- lists:enumerate(Names)],
    io:format("~p~n", [[receive {Name, What} -> What end || Name <- Names]]),
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Busy],
    %% Readers and writers, each with something to do for others in between.
    Workers = [spawn_monitor(fun() -> exit(work(Folder, N, 100)) end) || N <- lists:seq(1, 8)],
    io:format("~p~n", [[receive {'DOWN', Ref, process, Pid, Why} -> Why end || {Pid, Ref} <- Workers]]),
    ok = file:del_dir_r(Folder).

spin() -> spin().

read(Name) ->
    {ok, File} = file:open(Name, [read, raw, binary]),
    {ok, Bytes} = file:read(File, 10),
    ok = file:close(File),
    Bytes.

write(Name, Bytes) ->
    {ok, File} = file:open(Name, [write, raw]),
    ok = file:write(File, Bytes),
    file:close(File).

echo() -> receive {From, What} -> From ! {self(), What}, echo() end.

rounds(0, Pid) ->
    unlink(Pid),
    exit(Pid, kill),
    done;
rounds(N, Pid) ->
    Pid ! {self(), N},
    receive {Pid, N} -> ok end,
    receive after N rem 2 -> ok end,
    rounds(N - 1, Pid).

work(_, N, 0) -> {done, N};
work(Folder, N, Rounds) ->
    Name = filename:join(Folder, "file" ++ integer_to_list(N)),
    Bytes = binary:copy(<<N>>, Rounds * 100),
    ok = file:write_file(Name, Bytes),
    Self = self(),
    Reader = spawn_link(fun() -> Self ! {self(), file:read_file(Name)} end),
    receive {Reader, {ok, Bytes}} -> ok end,
    ok = file:delete(Name),
    work(Folder, N, Rounds - 1).
