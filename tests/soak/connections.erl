%% Many connections at once that open, echo, half-close and are reset: nothing of them may be left at the end.
%%
%% Runs a short warm-up and then the same load for the time that is asked for. Each connection checks what it gets.
%% Between the two, and at the end, everything has ended: descriptors, ports, processes, sockets and threads must be the
%% same then, and the memory that the machine counts must not have grown.
%%
%% main([Seconds]), main([Seconds, ConnectionsMax]). Both ends of a connection are descriptors of this process: there are
%% as many connections as its limit allows.
-module(connections).
-export([main/1]).

-define(CONNECTIONS_MAX, 10000).
%% Descriptors that are used for something else.
-define(DESCRIPTORS_KEPT, 100).
-define(WARM_UP_MS, 4000).
%% How long a connection is kept, at most; longer where there are many, so that no more come at a time than the queues of the
%% listening sockets hold: what the system drops there, it repeats after seconds.
-define(HOLD_MS, 1500).
-define(CONNECTIONS_PER_SECOND, 1000).
%% Answers that take longer do not come.
-define(STUCK_MS, 60000).
-define(SETTLE_MS, 20000).
%% Bytes that may come and go without a connection: messages of the logger, tables of names.
-define(MEMORY_SLACK, 256 * 1024).
-define(ACCEPTERS, 16).

main([Seconds]) -> main([Seconds, integer_to_list(?CONNECTIONS_MAX)]);
main([Seconds, Max]) ->
    logger:set_primary_config(level, none),
    Count = min(list_to_integer(Max), (descriptor_limit() - ?DESCRIPTORS_KEPT) div 2),
    Count > 0 orelse fail("the limit of descriptors is too low", []),
    persistent_term:put({?MODULE, hold_ms}, max(?HOLD_MS, Count * 2000 div ?CONNECTIONS_PER_SECOND)),
    _ = load(Count, ?WARM_UP_MS),
    settle(undefined),
    Before = census(),
    Done = load(Count, list_to_integer(Seconds) * 1000),
    settle(Before),
    After = census(),
    [io:format("~p: ~p~n", [Kind, N]) || {Kind, N} <- Done],
    [io:format("~p: ~p before, ~p after~n", [What, Old, New]) || {{What, Old}, {What, New}} <- lists:zip(Before, After)],
    case grown(Before, After) of
        [] -> io:format("nothing is left of ~p connections, ~p at a time~n", [lists:sum([N || {_, N} <- Done]), Count]);
        Grown -> fail("left: ~p", [Grown])
    end.

fail(Format, Arguments) ->
    io:format("FAILED: " ++ Format ++ "~n", Arguments),
    halt(1).

descriptor_limit() ->
    {ok, Limits} = file:read_file("/proc/self/limits"),
    {match, [Limit]} = re:run(Limits, "Max open files +([0-9]+|unlimited)", [{capture, all_but_first, list}]),
    case Limit of
        "unlimited" -> 1 bsl 30;
        _ -> list_to_integer(Limit)
    end.

%% --- What there is ----------------------------------------------------------------------------

census() ->
    [{descriptors, length(entries("/proc/self/fd"))}, {threads, length(entries("/proc/self/task"))},
     {ports, length(erlang:ports())}, {processes, length(processes())}, {sockets, socket:number_of()}, {tables, length(ets:all())}
     | [{Kind, erlang:memory(Kind)} || Kind <- [processes, binary, ets, total]]].

entries(Folder) ->
    {ok, Entries} = file:list_dir(Folder),
    Entries.

%% What there is more of than before; of memory, more than the slack.
grown(Before, After) ->
    [{What, Old, New} || {{What, Old}, {What, New}} <- lists:zip(Before, After), New - Old > slack(What)].

slack(What) when What =:= processes; What =:= binary; What =:= ets; What =:= total -> ?MEMORY_SLACK;
slack(_) -> 0.

%% What has ended is gone after a moment: waits until it is as before, or the same for a second.
settle(Before) -> settle(Before, [], erlang:monotonic_time(millisecond) + ?SETTLE_MS).

settle(Before, Last, Deadline) ->
    [garbage_collect(Pid) || Pid <- processes()],
    timer:sleep(500),
    Now = census(),
    IsOver = erlang:monotonic_time(millisecond) > Deadline,
    if
        IsOver -> ok;
        Before =:= undefined, Now =:= Last -> ok;
        Before =/= undefined -> case grown(Before, Now) of [] -> ok; _ -> settle(Before, Now, Deadline) end;
        true -> settle(Before, Now, Deadline)
    end.

%% --- Load -------------------------------------------------------------------------------------

kinds() ->
    [{Client, Server, End} || Client <- [inet, inet_socket, socket], Server <- [inet, inet_socket], End <- [echo, half_close, reset, refused]].

load(Count, Ms) ->
    Deadline = erlang:monotonic_time(millisecond) + Ms,
    Servers = [{Server, server(Server)} || Server <- [inet, inet_socket]],
    Ports = [{Server, Port} || {Server, {_, _, Port}} <- Servers],
    Kinds = list_to_tuple(kinds()),
    Clients = [spawn_monitor(fun() -> hold(), exit({done, client(N, Kinds, Ports, Deadline, #{})}) end) || N <- lists:seq(1, Count)],
    {Looker, Looks} = spawn_monitor(fun() -> look_at_ports(Deadline) end),
    Done = lists:foldl(fun({Pid, Monitor}, All) ->
        receive
            {'DOWN', Monitor, process, Pid, {done, Counts}} -> maps:merge_with(fun(_, A, B) -> A + B end, All, Counts);
            {'DOWN', Monitor, process, Pid, Reason} -> fail("~p", [Reason])
        after Ms + ?STUCK_MS ->
            fail("stuck: ~p", [process_info(Pid, current_stacktrace)])
        end
    end, #{}, Clients),
    receive {'DOWN', Looks, process, Looker, normal} -> ok after ?STUCK_MS -> fail("port_info is stuck", []) end,
    [stop(Server) || {_, Server} <- Servers],
    lists:sort(maps:to_list(Done)).

%% Questions about ports while they are used.
look_at_ports(Deadline) ->
    [[erlang:port_info(Port, Item) || Item <- [monitors, queue_size, input]] || Port <- erlang:ports()],
    timer:sleep(20),
    case erlang:monotonic_time(millisecond) >= Deadline of true -> ok; false -> look_at_ports(Deadline) end.

client(N, Kinds, Ports, Deadline, Counts) ->
    case erlang:monotonic_time(millisecond) >= Deadline of
        true -> Counts;
        false ->
            Kind = {Client, Server, End} = element(rand:uniform(tuple_size(Kinds)), Kinds),
            %% Many addresses: the numbers of ports that are just closed stay taken for a minute.
            Own = {127, 1 + N rem 200, rand:uniform(254), rand:uniform(254)},
            connection(End, Client, Own, {127, 0, 0, 1}, proplists:get_value(Server, Ports)),
            client(N, Kinds, Ports, Deadline, maps:update_with(Kind, fun(K) -> K + 1 end, 1, Counts))
    end.

%% Nobody listens there.
connection(refused, Client, Own, _, Port) ->
    {error, econnrefused} = connect(Client, Own, {127, 0, 0, 2}, Port);
connection(End, Client, Own, Address, Port) ->
    {ok, S} = connect(Client, Own, Address, Port),
    Data = binary:copy(<<(rand:uniform(255))>>, rand:uniform(4000)),
    ok = send(S, [letter(End), <<(byte_size(Data)):16>>]),
    ok = send(S, Data),
    {ok, Data} = recv(S, byte_size(Data)),
    hold(),
    case End of
        echo ->
            ok = send(S, [$e, <<(byte_size(Data)):16>>, Data]),
            {ok, Data} = recv(S, byte_size(Data));
        half_close ->
            ok = shutdown(S),
            %% The other end says how much it got, then closes.
            {ok, <<Count:32>>} = recv(S, 4),
            Count = byte_size(Data),
            {error, closed} = recv(S, 1);
        reset ->
            %% In turns by either end; some of what is sent does not arrive.
            _ = send(S, [$x, <<1000:16>>, binary:copy(<<0>>, 1000)]),
            case rand:uniform(2) of
                1 -> linger(S);
                2 -> {error, _} = recv(S, 5000)
            end
    end,
    close(S).

hold() -> timer:sleep(rand:uniform(persistent_term:get({?MODULE, hold_ms}))).

letter(echo) -> $e;
letter(half_close) -> $h;
letter(reset) -> $e.

%% --- Clients on three interfaces ------------------------------------------------------------------

connect(inet, Own, Address, Port) -> gen(gen_tcp:connect(Address, Port, [{ip, Own} | options()]));
connect(inet_socket, Own, Address, Port) -> gen(gen_tcp:connect(Address, Port, [{inet_backend, socket}, {ip, Own} | options()]));
connect(socket, Own, Address, Port) ->
    {ok, S} = socket:open(inet, stream, tcp),
    ok = socket:bind(S, #{family => inet, addr => Own, port => 0}),
    case socket:connect(S, #{family => inet, addr => Address, port => Port}) of
        ok -> {ok, {socket, S}};
        Failed -> socket:close(S), Failed
    end.

options() -> [binary, {active, false}, {nodelay, true}].

gen({ok, S}) -> {ok, {gen, S}};
gen(Failed) -> Failed.

send({gen, S}, Data) -> gen_tcp:send(S, Data);
send({socket, S}, Data) -> socket:send(S, Data).
recv({gen, S}, Length) -> gen_tcp:recv(S, Length, ?STUCK_MS);
recv({socket, S}, Length) ->
    case socket:recv(S, Length, ?STUCK_MS) of
        {error, {Reason, _}} -> {error, Reason};
        Result -> Result
    end.
shutdown({gen, S}) -> gen_tcp:shutdown(S, write);
shutdown({socket, S}) -> socket:shutdown(S, write).
linger({gen, S}) -> inet:setopts(S, [{linger, {true, 0}}]);
linger({socket, S}) -> socket:setopt(S, {socket, linger}, #{onoff => true, linger => 0}).
close({gen, S}) -> gen_tcp:close(S);
close({socket, S}) -> socket:close(S).

%% --- Servers --------------------------------------------------------------------------------------

server(Kind) ->
    Backend = case Kind of inet -> []; inet_socket -> [{inet_backend, socket}] end,
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        {ok, L} = gen_tcp:listen(0, Backend ++ options() ++ [{ip, {127, 0, 0, 1}}, {backlog, 4096}, {exit_on_close, false}]),
        {ok, Port} = inet:port(L),
        Self ! {self(), Port},
        Accepters = [spawn_monitor(fun() -> accept(L) end) || _ <- lists:seq(1, ?ACCEPTERS)],
        receive stop -> gen_tcp:close(L) end,
        [receive {'DOWN', Ref, process, _, Reason} -> normal = Reason end || {_, Ref} <- Accepters]
    end),
    receive {Pid, Port} -> {Pid, Monitor, Port} end.

stop({Pid, Monitor, _}) ->
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason =:= normal orelse fail("server: ~p", [Reason]) end.

accept(L) ->
    case gen_tcp:accept(L) of
        {ok, S} ->
            Pid = spawn(fun() -> receive go -> serve(S, 0) end end),
            ok = gen_tcp:controlling_process(S, Pid),
            Pid ! go,
            accept(L);
        {error, closed} -> ok
    end.

%% Half of the reads are passive, half are active.
serve(S, Count) ->
    case gen_tcp:recv(S, 3) of
        {ok, <<Letter, Length:16>>} when Letter =:= $e; Letter =:= $h ->
            {ok, Data} = read(S, Length, rand:uniform(2)),
            ok = gen_tcp:send(S, Data),
            serve(S, Count + Length);
        {ok, <<$x, _:16>>} ->
            inet:setopts(S, [{linger, {true, 0}}]),
            gen_tcp:close(S);
        {error, closed} ->
            _ = gen_tcp:send(S, <<Count:32>>),
            gen_tcp:close(S);
        {error, _} ->
            gen_tcp:close(S)
    end.

read(S, Length, 1) -> gen_tcp:recv(S, Length);
read(S, Length, 2) -> active(S, Length, []).

active(_, 0, Data) -> {ok, lists:reverse(Data)};
active(S, Length, Data) ->
    ok = inet:setopts(S, [{active, once}]),
    receive
        {tcp, S, Part} -> active(S, Length - byte_size(Part), [Part | Data])
    after ?STUCK_MS -> exit(stuck)
    end.
