%% Everything at once, for a long time: nothing may be lost, reordered or left behind.
%%
%% Runs rounds of a mixed load. Each kind of load checks what it gets while it runs. After every round all
%% of it has ended and everything was collected; the memory that the machine and the operating system
%% count then must not grow from the end of the warm-up to the last round.
%%
%% main([Seconds | Kinds]): only those kinds, to find out which one leaks.
-module(soak).
-export([main/1, compile_versions/1]).

-define(ROUNDS, 10).
-define(WARM_UP_ROUNDS, 3).
%% The last round may be larger by this part of what it was after the warm-up.
-define(GROWTH_MAX, 0.10).
%% Work that has not ended so long after its time is stuck.
-define(STUCK_MS, 30000).
-define(RELOADED, soak_reloaded).
%% For the processes and tables of a round to be gone.
-define(SETTLE_MS, 10000).

kinds() -> [messages, exits, spawns, timers, tables, binaries, code, persistent, servers].

main(["" ++ Seconds | Chosen]) ->
    Known = kinds(),
    Kinds = case Chosen of
        [] -> Known;
        _ -> [Kind || Kind <- Known, lists:member(atom_to_list(Kind), Chosen)]
    end,
    RoundMs = max(1000, list_to_integer(Seconds) * 1000 div ?ROUNDS),
    Versions = [begin {ok, Code} = file:read_file(version_file(filename:dirname(code:which(?MODULE)), V)), {V, Code} end || V <- [1, 2]],
    %% What the program itself uses, it uses now for the first time.
    true = code:ensure_loaded(gen_server) =:= {module, gen_server},
    header(),
    Before = census(),
    Readings = [round(N, RoundMs, Kinds, Versions, Before) || N <- lists:seq(1, ?ROUNDS)],
    judge(lists:nth(?WARM_UP_ROUNDS, Readings), lists:last(Readings)).

%% --- Rounds -----------------------------------------------------------------------------------

round(Number, RoundMs, Kinds, Versions, Before) ->
    Deadline = now_ms() + RoundMs,
    Workers = [spawn_monitor(fun() -> exit({done, Kind, work(Kind, Deadline, Versions)}) end) || Kind <- Kinds],
    Counts = [await(Kind, Worker, Deadline + ?STUCK_MS) || {Kind, Worker} <- lists:zip(Kinds, Workers)],
    settle(Before, now_ms() + ?SETTLE_MS),
    [garbage_collect(Pid) || Pid <- processes()],
    timer:sleep(1000),
    [garbage_collect(Pid) || Pid <- processes()],
    Reading = [{rss, rss()} | erlang:memory()] ++ [{atoms, erlang:system_info(atom_count)}],
    report(Number, Reading, Counts),
    Reading.

await(Kind, {Pid, Ref}, Limit) ->
    receive
        {'DOWN', Ref, process, Pid, {done, Kind, Count}} -> {Kind, Count};
        {'DOWN', Ref, process, Pid, Reason} -> fail("~p failed: ~p", [Kind, Reason])
    after max(0, Limit - now_ms()) ->
        Items = [current_stacktrace, status, message_queue_len, messages],
        [io:format("~p: ~0P~n", [Other, process_info(Other, Items), 60]) || Other <- processes(), stands_in_us(Other)],
        fail("~p (~p) is stuck", [Kind, Pid])
    end.

stands_in_us(Pid) ->
    case process_info(Pid, current_stacktrace) of
        {current_stacktrace, Trace} -> lists:any(fun(Call) -> lists:member(element(1, Call), [?MODULE, ?RELOADED, code_server, erts_code_purger]) end, Trace);
        undefined -> false
    end.

work(messages, Deadline, _) -> messages(Deadline);
work(exits, Deadline, _) -> process_flag(trap_exit, true), exits(Deadline, 0);
work(spawns, Deadline, _) -> spawns(Deadline, 0);
work(timers, Deadline, _) -> timers(Deadline, 0);
work(tables, Deadline, _) -> tables(Deadline, 0);
work(binaries, Deadline, _) -> binaries(Deadline, 0);
work(code, Deadline, Versions) -> code(Deadline, Versions);
work(persistent, Deadline, _) -> persistent(Deadline, 0);
work(servers, Deadline, _) -> servers(Deadline, 0).

%% What has to be the same after every round.
census() ->
    {length(processes()), lists:sort(ets:all()), length(erlang:ports()), maps:get(count, persistent_term:info()), lists:sort(registered())}.

settle(Before, Limit) ->
    case census() of
        Before -> ok;
        Now ->
            case now_ms() > Limit of
                true -> fail("left over after a round:~n  ~p~nbefore it there were~n  ~p", [Now, Before]);
                false -> timer:sleep(50), settle(Before, Limit)
            end
    end.

rss() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

header() ->
    io:format("KiB after each round:~n~7s~10s~10s~10s~10s~10s~10s~10s~9s  work done~n", ["round", "rss", "total", "processes", "binary", "ets", "code", "system", "atoms"]).

report(Number, Reading, Counts) ->
    Value = fun(Key) -> proplists:get_value(Key, Reading) div 1024 end,
    io:format("~7b~10b~10b~10b~10b~10b~10b~10b~9b  ~0p~n",
        [Number | [Value(Key) || Key <- [rss, total, processes, binary, ets, code, system]]] ++ [proplists:get_value(atoms, Reading), Counts]).

judge(First, Last) ->
    Grown = [{Key, Was, Is} || Key <- [total, rss], Was <- [proplists:get_value(Key, First)], Is <- [proplists:get_value(Key, Last)],
        Is > Was * (1 + ?GROWTH_MAX)],
    [io:format("~p grew from ~b to ~b KiB: ~.1f %~n", [Key, Was div 1024, Is div 1024, (Is / Was - 1) * 100]) || {Key, Was, Is} <- Grown],
    Atoms = proplists:get_value(atoms, Last) - proplists:get_value(atoms, First),
    [io:format("~b atoms were made~n", [Atoms]) || Atoms > 0],
    case Grown =:= [] andalso Atoms =< 0 of
        true -> io:format("ok: nothing lost, nothing left behind~n");
        false -> fail("memory grew", [])
    end.

fail(Format, Arguments) ->
    io:format("soak: " ++ Format ++ "~n", Arguments),
    erlang:halt(1).

now_ms() -> erlang:monotonic_time(millisecond).
over(Deadline) -> now_ms() >= Deadline.

%% --- Messages: none lost, none out of order, all whole ------------------------------------------

-define(SENDERS, 8).
-define(BURST, 40).

messages(Deadline) ->
    Parent = self(),
    Senders = [spawn_link(fun() -> sender(Parent, 0, Deadline) end) || _ <- lists:seq(1, ?SENDERS)],
    receiver(maps:from_list([{Sender, 0} || Sender <- Senders]), 0).

sender(To, Next, Deadline) ->
    End = Next + ?BURST,
    [To ! {number, self(), N, payload(N)} || N <- lists:seq(Next, End - 1)],
    To ! {urgent, self(), End},
    receive {ack, End} -> ok end,
    case over(Deadline) of
        true -> To ! {finished, self(), End};
        false -> sender(To, End, Deadline)
    end.

receiver(Expected, Count) when map_size(Expected) =:= 0 -> Count;
receiver(Expected, Count) ->
    receive
        {number, From, N, Payload} ->
            N = maps:get(From, Expected),
            true = Payload =:= payload(N),
            %% Now and then one from the middle of the queue.
            case N rem 7 of
                0 -> receive {urgent, Hasty, M} -> self() ! {urgent, Hasty, M} after 0 -> ok end;
                _ -> ok
            end,
            receiver(Expected#{From := N + 1}, Count + 1);
        {urgent, From, End} ->
            From ! {ack, await_number(From, maps:get(From, Expected), End)},
            receiver(Expected#{From := End}, Count);
        {finished, From, End} ->
            End = maps:get(From, Expected),
            receiver(maps:remove(From, Expected), Count)
    end.

%% An urgent one may have been seen before the numbers that it closes.
await_number(_, End, End) -> End;
await_number(From, N, End) ->
    receive {number, From, N, Payload} -> true = Payload =:= payload(N) end,
    await_number(From, N + 1, End).

payload(N) ->
    case N rem 8 of
        0 -> N;
        1 -> lists:seq(1, N rem 50);
        2 -> #{n => N, {key, N rem 40} => [N]};
        3 -> list_to_binary(lists:duplicate(N rem 200, N band 255));
        4 -> N * 1.5e10;
        5 -> (N + 1) bsl 100;
        6 -> {a, {b, N, "text"}, maps:from_list([{I, I} || I <- lists:seq(1, 40)])};
        7 -> <<(N):3, (N * N):30>>
    end.

%% --- Exits: links and monitors tell the right reason ----------------------------------------------

exits(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false -> exit_once(Count rem 6, Count), exits(Deadline, Count + 1)
    end.

exit_once(0, N) ->
    expect_end(fun() -> exit({reason, N, <<"binary">>}) end, {reason, N, <<"binary">>});
exit_once(1, _) ->
    expect_end(fun() -> ok end, normal);
exit_once(2, _) ->
    {Pid, Ref} = spawn_opt(fun() -> receive never -> ok end end, [link, monitor]),
    exit(Pid, kill),
    killed = await_end(Pid, Ref);
exit_once(3, N) ->
    %% A chain of linked processes goes down as one.
    Parent = self(),
    {First, Ref} = spawn_opt(fun() -> chain(5, Parent) end, [link, monitor]),
    Others = [receive {member, First, Pid} -> Pid end || _ <- lists:seq(1, 5)],
    Monitors = [{Pid, monitor(process, Pid)} || Pid <- Others],
    exit(lists:last(Others), {down, N}),
    {down, N} = await_end(First, Ref),
    [receive {'DOWN', M, process, Pid, Reason} -> true = Reason =:= {down, N} orelse Reason =:= noproc end || {Pid, M} <- Monitors];
exit_once(4, _) ->
    {Pid, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    Late = monitor(process, Pid),
    receive {'DOWN', Late, process, Pid, noproc} -> ok end,
    try link(Pid) of
        true -> receive {'EXIT', Pid, noproc} -> ok end
    catch
        error:noproc -> ok
    end;
exit_once(5, _) ->
    %% What was taken back is not heard of.
    {Pid, Ref} = spawn_opt(fun() -> receive go -> exit(silent) end end, [link, monitor]),
    unlink(Pid),
    demonitor(Ref, [flush]),
    Other = monitor(process, Pid),
    Pid ! go,
    receive {'DOWN', Other, process, Pid, silent} -> ok end,
    receive {'EXIT', Pid, _} -> error(unlinked); {'DOWN', Ref, _, _, _} -> error(demonitored) after 0 -> ok end.

chain(0, _) -> receive never -> ok end;
chain(N, Parent) ->
    First = case get(first) of undefined -> self(); Known -> Known end,
    Pid = spawn_link(fun() -> put(first, First), chain(N - 1, Parent) end),
    Parent ! {member, First, Pid},
    receive never -> ok end.

expect_end(Fun, Reason) ->
    {Pid, Ref} = spawn_opt(Fun, [link, monitor]),
    Reason = await_end(Pid, Ref).

await_end(Pid, Ref) ->
    receive {'EXIT', Pid, Reason} -> receive {'DOWN', Ref, process, Pid, Reason} -> Reason end end.

%% --- Many processes -------------------------------------------------------------------------------

spawns(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false ->
            Parent = self(),
            Pids = [spawn(fun() -> Parent ! {self(), fibonacci(N rem 12)} end) || N <- lists:seq(1, 500)],
            [receive {Pid, F} -> F = fibonacci(N rem 12) end || {Pid, N} <- lists:zip(Pids, lists:seq(1, 500))],
            spawns(Deadline, Count + 500)
    end.

fibonacci(N) when N < 2 -> N;
fibonacci(N) -> fibonacci(N - 1) + fibonacci(N - 2).

%% --- Timers: never early, none twice, none after it was cancelled ------------------------------------

timers(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false ->
            Wanted = [{erlang:start_timer(Ms, self(), {due, now_ms() + Ms}), Ms} || Ms <- [0, 1, 3, 10, 20, 35]],
            Cancelled = [erlang:send_after(5000 + N, self(), {cancelled, N}) || N <- lists:seq(1, 50)],
            [true = is_integer(erlang:cancel_timer(Ref)) || Ref <- Cancelled],
            [receive {timeout, Ref, {due, Due}} -> true = now_ms() >= Due end || {Ref, _} <- Wanted],
            [false = erlang:cancel_timer(Ref) || {Ref, _} <- Wanted],
            receive Unexpected -> error({unexpected, Unexpected}) after 2 -> ok end,
            %% The timer of a process that is gone.
            {Pid, Mref} = spawn_monitor(fun() -> erlang:send_after(50, self(), late), receive after 1 -> ok end end),
            receive {'DOWN', Mref, process, Pid, normal} -> ok end,
            timers(Deadline, Count + 56)
    end.

%% --- ETS ----------------------------------------------------------------------------------------

tables(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false ->
            Type = lists:nth(Count rem 4 + 1, [set, ordered_set, bag, duplicate_bag]),
            {Pid, Ref} = spawn_monitor(fun() -> exit({size, fill(Type, 300)}) end),
            receive {'DOWN', Ref, process, Pid, {size, 200}} -> ok end,
            tables(Deadline, Count + 1)
    end.

%% Some tables are deleted, some go with their owner.
fill(Type, N) ->
    Kept = ets:new(kept, [Type, public]),
    Deleted = ets:new(deleted, [Type, {keypos, 2}, compressed]),
    [begin
        true = ets:insert(Kept, {I, {value, I, "text", 1.0 * I}, list_to_binary(lists:duplicate(100, I band 255)), (I + 1) bsl 70}),
        true = ets:insert(Deleted, {value, I, lists:seq(1, I rem 20)})
    end || I <- lists:seq(1, N)],
    [true = ets:delete(Kept, I) || I <- lists:seq(1, N), I rem 3 =:= 0],
    [{7, {value, 7, "text", 7.0}, _, _}] = ets:lookup(Kept, 7),
    [{value, 9, [1, 2, 3, 4, 5, 6, 7, 8, 9]}] = ets:lookup(Deleted, 9),
    Selected = ets:select(Kept, [{{'$1', '_', '_', '_'}, [{'<', '$1', 100}], ['$1']}]),
    66 = length(Selected),
    [{_, _, Held, _}] = ets:lookup(Kept, 1),
    Size = ets:info(Kept, size),
    ets:delete(Deleted),
    100 = byte_size(Held),
    Size.

%% --- Large binaries that go from hand to hand --------------------------------------------------------

binaries(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false ->
            Size = 50000 + (Count * 7919) rem 400000,
            Binary = binary:copy(<<(Count band 255):8, 1, 2, 3>>, Size div 4),
            Sum = erlang:crc32(Binary),
            Parent = self(),
            Last = lists:foldl(fun(_, Next) -> spawn_link(fun() -> pass_on(Next) end) end, Parent, lists:seq(1, 4)),
            Last ! {binary, Binary, []},
            receive
                {binary, Passed, Parts} ->
                    Sum = erlang:crc32(Passed),
                    4 = length(Parts),
                    [true = Part =:= binary:part(Binary, 100, 1000) || Part <- Parts],
                    appended(<<>>, 200)
            end,
            binaries(Deadline, Count + 1)
    end.

pass_on(Next) ->
    receive {binary, Binary, Parts} ->
        <<_:100/binary, Part:1000/binary, _/binary>> = Binary,
        Next ! {binary, Binary, [Part | Parts]}
    end.

appended(Acc, 0) -> 200 * 64 = byte_size(Acc);
appended(Acc, N) -> appended(<<Acc/binary, 0:512>>, N - 1).

%% --- Code: two versions of a module in turn, while it is called -------------------------------------

%% Before the program runs: where every safepoint collects, compiling would take longer than all the rest.
compile_versions(Folder) -> [ok = file:write_file(version_file(Folder, V), compile_version(V)) || V <- [1, 2]].

version_file(Folder, Version) -> filename:join(Folder, "soak_reloaded_" ++ integer_to_list(Version)).

compile_version(Version) ->
    Source = io_lib:format(
        "-module(~s).~n-export([version/0, table/0, call/1, linger/0, a_fun/0]).~n"
        "version() -> ~b.~n"
        "table() -> ~0p.~n"
        "call(N) -> {~b, N, ?MODULE:version()}.~n"
        "linger() -> receive stop -> ~b end.~n"
        "a_fun() -> fun(X) -> {~b, X} end.~n", [?RELOADED, Version, table(Version), Version, Version, Version]),
    {ok, Tokens, _} = erl_scan:string(lists:flatten(string:replace(Source, "?MODULE", atom_to_list(?RELOADED), all))),
    {ok, ?RELOADED, Code} = compile:forms(forms(Tokens, [])),
    Code.

forms([], []) -> [];
forms([{dot, _} = Dot | Tokens], Form) ->
    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
    [Parsed | forms(Tokens, [])];
forms([Token | Tokens], Form) -> forms(Tokens, [Token | Form]).

%% Large enough that versions that are left behind would be seen.
table(Version) -> [{Version, N, lists:seq(N, N + 20), <<N:800>>, N * 1.0e300} || N <- lists:seq(1, 200)].

code(Deadline, [{_, First} | _] = Versions) ->
    {module, ?RELOADED} = code:load_binary(?RELOADED, "soak_reloaded.beam", First),
    Callers = [spawn_monitor(fun() -> exit({called, calls(Deadline, 0)}) end) || _ <- lists:seq(1, 3)],
    Count = reload(Deadline, Versions, 0),
    [receive {'DOWN', Ref, process, Pid, {called, N}} when N > 0 -> ok end || {Pid, Ref} <- Callers],
    true = code:delete(?RELOADED),
    code:purge(?RELOADED),
    Count.

%% Who stands in the middle of a call when its version is purged is killed, and another goes on.
calls(Deadline, Count) ->
    {Pid, Ref} = spawn_monitor(fun() -> caller(Deadline, 0) end),
    receive
        {'DOWN', Ref, process, Pid, {called, N}} -> Count + N;
        {'DOWN', Ref, process, Pid, killed} -> calls(Deadline, Count + 1)
    end.

caller(Deadline, Count) ->
    {Version, Count, Current} = ?RELOADED:call(Count),
    true = lists:member(Version, [1, 2]) andalso lists:member(Current, [1, 2]),
    case Count rem 64 of
        0 -> erlang:yield();
        _ -> ok
    end,
    case over(Deadline) of
        true -> exit({called, Count + 1});
        false -> caller(Deadline, Count + 1)
    end.

reload(Deadline, [{Old, _} = Last, {New, Code} = Next], Count) ->
    Old = ?RELOADED:version(),
    Table = ?RELOADED:table(),
    %% One that stands in the code that leaves, one that holds a fun of it, one that holds a literal of it.
    {Stuck, StuckRef} = spawn_monitor(fun() -> ?RELOADED:linger() end),
    {FunHolder, FunHolderRef} = spawn_monitor(fun() -> hold_fun(?RELOADED:a_fun()) end),
    {Holder, HolderRef} = spawn_monitor(fun() -> hold(?RELOADED:table()) end),
    [wait_until_waiting(Pid) || Pid <- [Stuck, FunHolder, Holder]],
    {module, ?RELOADED} = code:load_binary(?RELOADED, "soak_reloaded.beam", Code),
    New = ?RELOADED:version(),
    true = code:purge(?RELOADED),
    receive {'DOWN', StuckRef, process, Stuck, killed} -> ok end,
    FunHolder ! call,
    receive {'DOWN', FunHolderRef, process, FunHolder, gone} -> ok end,
    Holder ! {is_it, self(), Old},
    receive {'DOWN', HolderRef, process, Holder, still_whole} -> ok end,
    true = Table =:= table(Old),
    case over(Deadline) of
        true -> Count + 1;
        false -> reload(Deadline, [Next, Last], Count + 1)
    end.

hold(Table) -> receive {is_it, _, Version} -> true = Table =:= table(Version), exit(still_whole) end.
hold_fun(Fun) -> receive call -> try Fun(1) of {_, 1} -> exit(still_there) catch error:{badfun, Fun} -> exit(gone) end end.

wait_until_waiting(Pid) ->
    case process_info(Pid, status) of
        {status, waiting} -> ok;
        _ -> erlang:yield(), wait_until_waiting(Pid)
    end.

%% --- Persistent terms ---------------------------------------------------------------------------------

persistent(Deadline, Count) ->
    Key = {soak, Count rem 5},
    Term = {Count, lists:seq(1, 500), binary:copy(<<Count:16>>, 100), #{count => Count}},
    persistent_term:put(Key, Term),
    Parent = self(),
    {Pid, Ref} = spawn_monitor(fun() -> Held = persistent_term:get(Key), Parent ! held, receive compare -> exit({same, Held =:= Term}) end end),
    receive held -> ok end,
    case Count rem 3 of
        0 -> true = persistent_term:erase(Key);
        _ -> persistent_term:put(Key, {other, Count})
    end,
    Pid ! compare,
    receive {'DOWN', Ref, process, Pid, {same, true}} -> ok end,
    case over(Deadline) of
        true -> [persistent_term:erase({soak, N}) || N <- lists:seq(0, 4)], Count + 1;
        false -> timer:sleep(1), persistent(Deadline, Count + 1)
    end.

%% --- Servers: calls, and the processes that OTP starts -----------------------------------------------

servers(Deadline, Count) ->
    case over(Deadline) of
        true -> Count;
        false ->
            {ok, Agent} = gen_event:start(),
            Pids = [proc_lib:spawn_link(fun() -> echo() end) || _ <- lists:seq(1, 10)],
            Replies = [call(Pid, N) || N <- lists:seq(1, 20), Pid <- Pids],
            200 = length(Replies),
            [Pid ! stop || Pid <- Pids],
            [] = gen_event:which_handlers(Agent),
            ok = gen_event:stop(Agent),
            servers(Deadline, Count + 200)
    end.

echo() ->
    receive
        {call, From, Ref, Request} -> From ! {Ref, {echo, Request}}, echo();
        stop -> ok
    end.

call(Pid, Request) ->
    Ref = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {call, Ref, Ref, Request},
    receive
        {Ref, {echo, Request}} -> Request;
        {'DOWN', Ref, process, Pid, Reason} -> exit(Reason)
    end.
