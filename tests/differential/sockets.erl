%% Sockets of this machine: TCP in all ways of delivery and with all kinds of packets, UDP, local sockets, and what goes wrong.
-module(sockets).
-export([main/0]).

-define(LOCALHOST, {127, 0, 0, 1}).

main() ->
    %% The report of a bad value comes at any time.
    logger:set_primary_config(level, none),
    [begin
         io:format("~p:~n", [Test]),
         io:format("  ~p~n", [catch_it(fun() -> test(Test) end)])
     end
     || Test <- [passive, active, once, times, switching, lengths, line, http, http_bin, lists, headers, limits, options,
                 timeouts, half_close, reset, refused, ownership, many_acceptors, large, busy, statistics, unrecv,
                 udp, udp_active, local, ipv6, names, bad_arguments]].

catch_it(F) ->
    try F() of Result -> Result catch Class:Reason -> {Class, Reason} end.

%% Two ends of a connection.
pair(Options) -> pair(Options, Options).
pair(ServerOptions, ClientOptions) ->
    {ok, Listener} = gen_tcp:listen(0, [{ip, ?LOCALHOST} | ServerOptions]),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect(?LOCALHOST, Port, ClientOptions),
    {ok, Server} = gen_tcp:accept(Listener),
    gen_tcp:close(Listener),
    {Client, Server}.

%% Messages until none has come for a while, without the sockets in them.
messages() ->
    receive
        Message when is_tuple(Message) -> [setelement(2, Message, socket) | messages()];
        Message -> [Message | messages()]
    after 100 -> []
    end.

test(passive) ->
    {C, S} = pair([binary, {active, false}]),
    ok = gen_tcp:send(C, ["hello", <<" world">>]),
    R1 = gen_tcp:recv(S, 5),
    R2 = gen_tcp:recv(S, 6, 1000),
    gen_tcp:close(C),
    [R1, R2, gen_tcp:recv(S, 0), gen_tcp:recv(S, 0), gen_tcp:send(S, "x"), gen_tcp:close(S), gen_tcp:close(S)];
test(active) ->
    {C, S} = pair([binary, {active, true}]),
    ok = gen_tcp:send(C, "one"),
    M1 = messages(),
    gen_tcp:close(C),
    [M1, messages(), erlang:port_info(S)];
test(once) ->
    {C, S} = pair([binary, {active, once}, {packet, 1}]),
    [ok = gen_tcp:send(C, [N]) || N <- "abc"],
    M1 = messages(),
    inet:setopts(S, [{active, once}]),
    M2 = messages(),
    [M1, M2, inet:getopts(S, [active]), gen_tcp:recv(S, 0)];
test(times) ->
    {C, S} = pair([binary, {active, false}, {packet, 1}]),
    ok = inet:setopts(S, [{active, 2}]),
    [ok = gen_tcp:send(C, [N]) || N <- "abcde"],
    M1 = messages(),
    ok = inet:setopts(S, [{active, 1}]),
    ok = inet:setopts(S, [{active, 3}]),
    M2 = messages(),
    [M1, M2, inet:getopts(S, [active]), inet:setopts(S, [{active, -5}]), messages(), inet:setopts(S, [{active, 32768}])];
test(switching) ->
    {C, S} = pair([binary, {active, false}]),
    ok = gen_tcp:send(C, <<3, "one", 0, 3, "two", "rest">>),
    ok = inet:setopts(S, [{packet, 1}]),
    R1 = gen_tcp:recv(S, 0),
    ok = inet:setopts(S, [{packet, 2}]),
    R2 = gen_tcp:recv(S, 0),
    ok = inet:setopts(S, [{packet, raw}]),
    [R1, R2, gen_tcp:recv(S, 0)];
test(lengths) ->
    [begin
         {C, S} = pair([binary, {active, false}, {packet, Packet}]),
         [ok = gen_tcp:send(C, binary:copy(<<"x">>, N)) || N <- [0, 1, 200]],
         R = [gen_tcp:recv(S, 0, 1000) || _ <- [0, 1, 200]],
         gen_tcp:close(C),
         gen_tcp:close(S),
         {Packet, [{Tag, byte_size(Data)} || {Tag, Data} <- R]}
     end
     || Packet <- [1, 2, 4]];
test(line) ->
    {C, S} = pair([binary, {active, false}, {packet, line}]),
    ok = gen_tcp:send(C, "first\nsecond\r\nlast"),
    R1 = [gen_tcp:recv(S, 0) || _ <- "12"],
    R2 = gen_tcp:recv(S, 0, 50),
    ok = gen_tcp:send(C, "\n"),
    R3 = gen_tcp:recv(S, 0),
    ok = inet:setopts(S, [{line_delimiter, $;}]),
    ok = gen_tcp:send(C, "a;b;"),
    [R1, R2, R3, gen_tcp:recv(S, 0), gen_tcp:recv(S, 0)];
test(http) ->
    {C, S} = pair([binary, {active, false}], [binary, {active, false}]),
    ok = inet:setopts(S, [{packet, http}]),
    ok = gen_tcp:send(C, "GET /index.html?a=b HTTP/1.1\r\nHost: x.y\r\nX-Own: 1\r\n folded\r\n\r\nbody"),
    Lines = [gen_tcp:recv(S, 0, 1000) || _ <- lists:seq(1, 4)],
    ok = inet:setopts(S, [{packet, raw}]),
    Body = gen_tcp:recv(S, 0, 1000),
    ok = inet:setopts(C, [{packet, http}, {active, true}]),
    ok = gen_tcp:send(S, "HTTP/1.0 404 Not Found\r\nServer: us\r\n\r\n"),
    [Lines, Body, messages()];
test(http_bin) ->
    {C, S} = pair([binary, {active, false}]),
    ok = inet:setopts(S, [{packet, http_bin}]),
    ok = gen_tcp:send(C, "POST http://a:8080/b HTTP/1.1\r\nContent-Length: 2\r\n\r\nnonsense\r\n"),
    [gen_tcp:recv(S, 0, 1000) || _ <- lists:seq(1, 4)];
test(lists) ->
    {C, S} = pair([list, {active, false}]),
    ok = gen_tcp:send(C, <<"abc">>),
    R = gen_tcp:recv(S, 0),
    ok = inet:setopts(S, [{active, once}]),
    ok = gen_tcp:send(C, <<"def">>),
    [R, messages()];
test(headers) ->
    {C, S} = pair([binary, {active, false}, {header, 2}]),
    ok = gen_tcp:send(C, "abcdef"),
    R1 = gen_tcp:recv(S, 6),
    ok = gen_tcp:send(C, "x"),
    [R1, gen_tcp:recv(S, 0)];
test(limits) ->
    {C, S} = pair([binary, {active, false}, {packet, 4}, {packet_size, 10}]),
    ok = inet:setopts(C, [{packet_size, 0}]),
    ok = gen_tcp:send(C, "within"),
    R = gen_tcp:recv(S, 0),
    ok = gen_tcp:send(C, "not within the limit"),
    [R, gen_tcp:recv(S, 0), gen_tcp:recv(S, 0)];
test(options) ->
    {C, S} = pair([binary, {active, false}, {nodelay, true}, {keepalive, true}, {linger, {true, 3}}, {send_timeout, 5000},
                   {high_watermark, 20000}, {low_watermark, 5000}, {exit_on_close, false}]),
    Names = [active, nodelay, keepalive, linger, send_timeout, send_timeout_close, high_watermark, low_watermark, exit_on_close,
             packet, packet_size, mode, header, delay_send, reuseaddr, show_econnreset],
    [inet:getopts(C, Names), inet:getopts(S, Names), inet:setopts(S, [{no_such_option, 1}]), inet:getopts(S, [nope]),
     inet:getopts(C, [{raw, 6, 1, 4}]), inet:setopts(C, [{raw, 6, 1, <<0:32>>}]), inet:getopts(C, [nodelay])];
test(timeouts) ->
    {ok, L} = gen_tcp:listen(0, [{ip, ?LOCALHOST}]),
    R1 = gen_tcp:accept(L, 0),
    R2 = gen_tcp:accept(L, 20),
    {C, _S} = pair([binary, {active, false}]),
    [R1, R2, gen_tcp:recv(C, 0, 0), gen_tcp:recv(C, 0, 20), gen_tcp:recv(C, 100, 20)];
test(half_close) ->
    {C, S} = pair([binary, {active, false}, {exit_on_close, false}]),
    ok = gen_tcp:send(C, "last words"),
    R1 = gen_tcp:shutdown(C, write),
    R2 = gen_tcp:recv(S, 0),
    R3 = gen_tcp:recv(S, 0),
    R4 = gen_tcp:send(S, "answer"),
    [R1, R2, R3, R4, gen_tcp:recv(C, 0), gen_tcp:send(C, "more"), gen_tcp:shutdown(S, read_write)];
test(reset) ->
    [begin
         {C, S} = pair([binary, {active, Active}, {show_econnreset, Show}]),
         ok = inet:setopts(C, [{active, false}, {linger, {true, 0}}]),
         gen_tcp:close(C),
         Messages = messages(),
         {Active, Show, Messages, gen_tcp:recv(S, 0, 100)}
     end
     || Active <- [false, true], Show <- [false, true]];
test(refused) ->
    {ok, L} = gen_tcp:listen(0, [{ip, ?LOCALHOST}]),
    {ok, Port} = inet:port(L),
    R = gen_tcp:listen(Port, [{ip, ?LOCALHOST}]),
    gen_tcp:close(L),
    [R, gen_tcp:connect(?LOCALHOST, Port, []), gen_tcp:connect(?LOCALHOST, Port, [], 1000), gen_tcp:accept(L),
     gen_tcp:listen(0, [{ip, {1, 2, 3, 4}}])];
test(ownership) ->
    {C, S} = pair([binary, {active, false}]),
    Self = self(),
    Child = spawn(fun() ->
        receive go -> ok end,
        inet:setopts(S, [{active, once}]),
        Self ! {child, messages()},
        Self ! {child, gen_tcp:controlling_process(S, Self)},
        receive stop -> ok end
    end),
    R1 = gen_tcp:controlling_process(S, Child),
    R2 = gen_tcp:controlling_process(S, Child),
    ok = gen_tcp:send(C, "for the child"),
    Child ! go,
    R3 = receive {child, M} -> M end,
    R4 = receive {child, O} -> O end,
    Owned = erlang:port_info(S, connected) =:= {connected, self()},
    %% A port ends with its owner.
    Other = spawn(fun() -> receive stop -> ok end end),
    ok = gen_tcp:controlling_process(S, Other),
    Other ! stop,
    Child ! stop,
    [R1, R2, R3, R4, Owned, gen_tcp:recv(C, 0, 1000)];
test(many_acceptors) ->
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {ip, ?LOCALHOST}, {backlog, 64}]),
    {ok, Port} = inet:port(L),
    Self = self(),
    [spawn_link(fun() -> {ok, S} = gen_tcp:accept(L), {ok, D} = gen_tcp:recv(S, 0), ok = gen_tcp:send(S, [D, D]), Self ! done, receive stop -> ok end end)
     || _ <- lists:seq(1, 20)],
    Clients = [begin {ok, C} = gen_tcp:connect(?LOCALHOST, Port, [binary, {active, false}]), ok = gen_tcp:send(C, [N]), {N, C} end
               || N <- lists:seq(1, 20)],
    [{ok, <<N, N>>} = gen_tcp:recv(C, 2, 5000) || {N, C} <- Clients],
    [receive done -> ok end || _ <- Clients],
    length(Clients);
test(large) ->
    {C, S} = pair([binary, {active, false}, {packet, 4}]),
    Data = binary:copy(<<"0123456789abcdef">>, 200000),
    spawn_link(fun() -> ok = gen_tcp:send(C, Data), receive stop -> ok end end),
    {ok, Got} = gen_tcp:recv(S, 0, 20000),
    Got =:= Data;
test(busy) ->
    {C, S} = pair([binary, {active, false}, {sndbuf, 4096}, {recbuf, 4096}, {high_watermark, 8192}, {send_timeout, 100}]),
    Data = binary:copy(<<"x">>, 100000),
    Results = [gen_tcp:send(C, Data) || _ <- lists:seq(1, 60)],
    Timeouts = length([timeout || {error, timeout} <- Results]) > 0,
    {queue_size, Queued} = erlang:port_info(C, queue_size),
    {ok, Some} = gen_tcp:recv(S, 100000, 5000),
    %% What is still queued goes with the socket: the machine would wait for it when it halts.
    ok = inet:setopts(C, [{linger, {true, 0}}]),
    gen_tcp:close(C),
    [Timeouts, Queued > 0, Some =:= Data];
test(statistics) ->
    {C, S} = pair([binary, {active, false}]),
    [ok = gen_tcp:send(C, binary:copy(<<"x">>, N)) || N <- [10, 20, 30]],
    {ok, _} = gen_tcp:recv(S, 60),
    {ok, Sent} = inet:getstat(C, [send_cnt, send_oct, send_max, send_avg, send_pend]),
    {ok, Received} = inet:getstat(S, [recv_oct]),
    [Sent, Received];
test(unrecv) ->
    {C, S} = pair([binary, {active, false}]),
    ok = gen_tcp:send(C, "def"),
    {ok, D} = gen_tcp:recv(S, 3),
    ok = gen_tcp:unrecv(S, <<"abc", D/binary>>),
    gen_tcp:recv(S, 6, 1000);
test(udp) ->
    {ok, A} = gen_udp:open(0, [binary, {active, false}, {ip, ?LOCALHOST}]),
    {ok, B} = gen_udp:open(0, [list, {active, false}, {ip, ?LOCALHOST}]),
    {ok, PortA} = inet:port(A),
    {ok, PortB} = inet:port(B),
    ok = gen_udp:send(A, ?LOCALHOST, PortB, ["to", <<" b">>]),
    {ok, {IpA, FromA, R1}} = gen_udp:recv(B, 0, 1000),
    ok = gen_udp:send(B, {?LOCALHOST, PortA}, "to a"),
    {ok, {_, FromB, R2}} = gen_udp:recv(A, 0, 1000),
    R3 = gen_udp:recv(A, 0, 20),
    ok = gen_udp:connect(A, ?LOCALHOST, PortB),
    ok = gen_udp:send(A, "connected"),
    {ok, {_, _, R4}} = gen_udp:recv(B, 0, 1000),
    [IpA, FromA =:= PortA, R1, FromB =:= PortB, R2, R3, R4, gen_udp:close(A), gen_udp:close(B)];
test(udp_active) ->
    {ok, A} = gen_udp:open(0, [binary, {active, false}, {ip, ?LOCALHOST}]),
    {ok, B} = gen_udp:open(0, [binary, {active, 2}, {ip, ?LOCALHOST}]),
    {ok, PortB} = inet:port(B),
    [ok = gen_udp:send(A, ?LOCALHOST, PortB, [N]) || N <- "abc"],
    Messages = [setelement(4, M, port) || M <- messages(), tuple_size(M) =:= 5],
    [Messages, inet:getopts(B, [active])];
test(local) ->
    File = "/tmp/swarmrt-sockets-" ++ os:getpid(),
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {ifaddr, {local, File}}]),
    {ok, C} = gen_tcp:connect({local, File}, 0, [binary, {active, false}]),
    {ok, S} = gen_tcp:accept(L),
    ok = gen_tcp:send(C, "local"),
    R = gen_tcp:recv(S, 0, 1000),
    {ok, {local, Name}} = inet:sockname(L),
    file:delete(File),
    [R, binary_to_list(Name) =:= File, inet:peername(S)];
test(ipv6) ->
    case gen_tcp:listen(0, [inet6, binary, {active, false}, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, L} ->
            {ok, {Ip, Port}} = inet:sockname(L),
            {ok, C} = gen_tcp:connect({0, 0, 0, 0, 0, 0, 0, 1}, Port, [inet6, binary, {active, false}]),
            {ok, S} = gen_tcp:accept(L),
            ok = gen_tcp:send(S, "six"),
            {ok, {Peer, _}} = inet:peername(C),
            [Ip, Peer, gen_tcp:recv(C, 0, 1000)];
        Error -> Error
    end;
test(names) ->
    {ok, Host} = inet:gethostname(),
    [inet:gethostbyname("127.0.0.1"), inet:getaddr("no.such.host.invalid", inet), is_list(Host), [lists:member(up, Flags) || {"lo", [{flags, Flags} | _]} <- element(2, inet:getifaddrs())]];
test(bad_arguments) ->
    {C, S} = pair([binary, {active, false}]),
    [catch_it(F) || F <- [
        fun() -> gen_tcp:recv(C, -1) end,
        fun() -> gen_tcp:send(C, [a]) end,
        fun() -> gen_tcp:send(C, [256]) end,
        fun() -> inet:setopts(C, [{active, maybe_}]) end,
        fun() -> gen_tcp:recv(S, 16#5000000) end,
        fun() -> inet:setopts(S, [{packet, 3}]) end,
        fun() -> erlang:port_control(S, 16#03f1a300 + 99, "") end,
        fun() -> erlang:port_control(S, 16#03f1a300 + 42, "x") end,
        fun() -> catch erlang:port_control(S, 5, "") end]].
