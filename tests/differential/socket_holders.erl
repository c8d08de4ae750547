%% Who holds a socket: processes that accept and end, descriptors that are lent, the limit of ports.
-module(socket_holders).
-export([main/0]).

main() ->
    accepters(),
    [lent_to_inet(Options) || Options <- [[], [{inet_backend, socket}]]],
    [lent_to_socket(Copied) || Copied <- [false, true]],
    protocols(),
    port_limit().

%% The driver monitors those who wait to accept, and forgets those who are gone.
accepters() ->
    {ok, L} = gen_tcp:listen(0, []),
    {ok, Port} = inet:port(L),
    First = spawn(fun() -> gen_tcp:accept(L) end),
    Second = spawn(fun() -> {ok, S} = gen_tcp:accept(L), receive stop -> gen_tcp:close(S) end end),
    wait_for(2, L),
    show("both wait", L, [First, Second]),
    exit(First, kill),
    wait_for(1, L),
    show("one was killed", L, [Second]),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
    wait_for(0, L),
    show("the other has a connection", L, [Second]),
    gen_tcp:close(C),
    io:format("~p~n", [gen_tcp:accept(L, 10)]),
    show("time is up", L, []),
    Second ! stop,
    gen_tcp:close(L).

show(What, L, Pids) ->
    #{states := States} = inet:info(L),
    {monitors, Monitors} = erlang:port_info(L, monitors),
    By = [process_info(Pid, monitored_by) =:= {monitored_by, [L]} || Pid <- Pids],
    io:format("~s: ~p, ~p monitors, ~p~n", [What, States, length(Monitors), By]).

wait_for(Count, L) ->
    case erlang:port_info(L, monitors) of
        {monitors, Monitors} when length(Monitors) =:= Count -> ok;
        _ -> timer:sleep(5), wait_for(Count, L)
    end.

%% A descriptor that is given away stays open when the second socket is closed.
lent_to_inet(Options) ->
    {ok, L} = gen_tcp:listen(0, [{active, false}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [{active, false}]),
    {ok, A} = gen_tcp:accept(L),
    {ok, Fd} = prim_inet:getfd(C),
    {ok, S} = gen_tcp:fdopen(Fd, Options ++ [{active, false}]),
    ok = gen_tcp:send(S, "there"),
    {ok, "there"} = gen_tcp:recv(A, 5, 5000),
    ok = gen_tcp:send(A, "back"),
    {ok, "back"} = gen_tcp:recv(S, 4, 5000),
    gen_tcp:close(S),
    io:format("~p: open ~p, ~p", [Options, is_open(Fd), gen_tcp:send(C, "more")]),
    io:format(", ~p~n", [gen_tcp:recv(A, 4, 5000)]),
    [gen_tcp:close(Socket) || Socket <- [C, A, L]].

lent_to_socket(Copied) ->
    {ok, First} = socket:open(inet, dgram, udp),
    {ok, Fd} = socket:getopt(First, otp, fd),
    {ok, Second} = socket:open(Fd, #{dup => Copied}),
    {ok, Own} = socket:getopt(Second, otp, fd),
    ok = socket:close(Second),
    io:format("copied ~p: another ~p, open ~p ~p", [Copied, Own =/= Fd, is_open(Fd), is_open(Own)]),
    {_, Monitor} = spawn_monitor(fun() -> {ok, _} = socket:open(Fd, #{dup => Copied}) end),
    receive {'DOWN', Monitor, process, _, normal} -> ok end,
    io:format(", after its process ~p", [is_open(Fd)]),
    ok = socket:close(First),
    io:format(", at the end ~p~n", [is_open(Fd)]).

is_open(Fd) ->
    {Result, _} = file:read_link("/proc/self/fd/" ++ integer_to_list(Fd)),
    Result =:= ok.

protocols() ->
    [begin
        {ok, Socket} = socket:open(Domain, Type, default),
        io:format("~p ~p: ~p~n", [Domain, Type, socket:getopt(Socket, socket, protocol)]),
        socket:close(Socket)
    end || {Domain, Type} <- [{local, stream}, {local, seqpacket}, {inet, stream}, {inet6, dgram}]].

%% A connection that comes when there are as many ports as may be is refused.
port_limit() ->
    {ok, L} = gen_tcp:listen(0, [{active, false}]),
    {ok, Port} = inet:port(L),
    Ports = ports_until_limit([]),
    {ok, C} = socket:open(inet, stream, tcp),
    ok = socket:connect(C, #{family => inet, addr => loopback, port => Port}),
    io:format("~p ~p~n", [gen_tcp:accept(L, 5000), socket:recv(C, 0, 5000)]),
    [port_close(P) || P <- Ports],
    socket:close(C),
    gen_tcp:close(L).

ports_until_limit(Ports) ->
    try open_port({spawn_driver, "ram_file_drv"}, []) of
        Port -> ports_until_limit([Port | Ports])
    catch
        error:system_limit -> Ports
    end.
