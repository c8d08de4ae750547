%% Ancillary data of datagrams and streams, records of TLS as packets, network namespaces, datagram sockets that change peers.
-module(inet_ancillary).
-export([main/0]).

-define(LOCAL, {127, 0, 0, 1}).

main() ->
    logger:set_primary_config(level, none),
    datagrams(),
    streams(),
    records(),
    namespaces(),
    peers().

datagrams() ->
    {ok, A} = gen_udp:open(0, [binary, {active, false}, {ip, ?LOCAL}]),
    {ok, B} = gen_udp:open(0, [binary, {active, false}, {ip, ?LOCAL}, {recvtos, true}, {recvttl, true}]),
    {ok, Port} = inet:port(B),
    ok = gen_udp:send(A, ?LOCAL, Port, [{tos, 8}, {ttl, 33}], <<"abc">>),
    {ok, {_, _, Data, <<"abc">>}} = gen_udp:recv(B, 0, 1000),
    ok = inet:setopts(B, [{active, once}]),
    ok = gen_udp:send(A, ?LOCAL, Port, <<"abc">>),
    Active = receive {udp, B, _, _, More, <<"abc">>} -> More after 1000 -> nothing end,
    ok = inet:setopts(B, [{recvtos, false}, {recvttl, false}]),
    ok = gen_udp:send(A, ?LOCAL, Port, <<"abc">>),
    {ok, {?LOCAL, _, Plain}} = gen_udp:recv(B, 0, 1000),
    io:format("~p ~p ~p ~p~n", [Data, Active, Plain, inet:getopts(B, [recvtos, recvttl, recvtclass])]),
    io:format("~p~n", [[gen_udp:send(A, ?LOCAL, Port, [{ttl, 0}], <<"abc">>), gen_udp:send(A, ?LOCAL, Port, [], <<"abc">>)]]).

streams() ->
    {ok, L} = gen_tcp:listen(0, [{recvtos, true}, {recvttl, true}, {tos, 16}, {ip, ?LOCAL}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect(?LOCAL, Port, [{recvtos, true}, {recvttl, true}]),
    {ok, _} = gen_tcp:accept(L),
    io:format("~p ~p~n", [inet:getopts(C, [pktoptions]), inet:getopts(L, [pktoptions])]).

records() ->
    {ok, L} = gen_tcp:listen(0, [binary, {packet, ssl_tls}, {active, true}, {ip, ?LOCAL}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect(?LOCAL, Port, [binary]),
    {ok, S} = gen_tcp:accept(L),
    Two = <<22, 3, 1, 0, 5, "hello", 23, 3, 3, 0, 2, "ab">>,
    ok = gen_tcp:send(C, Two),
    Active = [receive {ssl_tls, S, Type, Version, Data} -> {Type, Version, Data} after 1000 -> nothing end || _ <- [1, 2]],
    ok = inet:setopts(S, [{active, false}]),
    ok = gen_tcp:send(C, Two),
    Passive = [begin {ok, Record} = gen_tcp:recv(S, 0, 1000), setelement(2, Record, port) end || _ <- [1, 2]],
    ok = inet:setopts(S, [{active, true}, {mode, list}]),
    ok = gen_tcp:send(C, [<<20, 3, 1, 0, 1, 1>>, <<128, 5, 1, 3, 1, "ab">>]),
    Lists = [receive {ssl_tls, S, Type, Version, Data} -> {Type, Version, Data} after 1000 -> nothing end || _ <- [1, 2]],
    io:format("~p~n~p~n~p~n", [Active, Passive, Lists]).

namespaces() ->
    Own = "/proc/self/ns/net",
    {ok, L} = gen_tcp:listen(0, [{netns, Own}]),
    {ok, U} = gen_udp:open(0, []),
    io:format("~p ~p ~p~n", [inet:getopts(L, [netns]), inet:getopts(U, [netns]), gen_tcp:listen(0, [{netns, "/nonsense"}])]).

peers() ->
    {ok, A} = gen_udp:open(0, [{active, false}, {ip, ?LOCAL}]),
    {ok, B} = gen_udp:open(0, [{active, false}, {ip, ?LOCAL}]),
    {ok, C} = gen_udp:open(0, [{active, false}, {ip, ?LOCAL}]),
    {ok, PortB} = inet:port(B),
    {ok, PortC} = inet:port(C),
    ok = gen_udp:connect(A, ?LOCAL, PortB),
    ok = gen_udp:send(A, "to b"),
    ok = gen_udp:connect(A, ?LOCAL, PortC),
    ok = gen_udp:send(A, "to c"),
    {ok, {_, _, ToB}} = gen_udp:recv(B, 0, 1000),
    {ok, {_, _, ToC}} = gen_udp:recv(C, 0, 1000),
    ok = inet:setopts(A, [{recbuf, 1 bsl 20}]),
    io:format("~p ~p ~p~n", [ToB, ToC, inet:getopts(A, [buffer])]).
