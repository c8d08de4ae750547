%% Options about the use of one address by several sockets, as `inet` sets and tells them.
-module(address_options).
-export([main/0]).

main() ->
    [io:format("~p ~p ~p: ~p~n", [Kind, Option, Value, told(Kind, Option, Value)])
     || Kind <- [listening, connected, datagrams], Option <- [exclusiveaddruse, reuseaddr, reuseport, reuseport_lb], Value <- [false, true]].

told(Kind, Option, Value) ->
    {Socket, Others} = opened(Kind, [{Option, Value}]),
    First = inet:getopts(Socket, [Option, exclusiveaddruse]),
    Set = inet:setopts(Socket, [{Option, true}]),
    Then = inet:getopts(Socket, [exclusiveaddruse, Option]),
    [gen_tcp:close(Other) || Other <- Others],
    inet:close(Socket),
    {First, Set, Then}.

opened(listening, Options) ->
    {ok, Socket} = gen_tcp:listen(0, Options),
    {Socket, []};
opened(connected, Options) ->
    {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listening),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    {Socket, [Listening]};
opened(datagrams, Options) ->
    {ok, Socket} = gen_udp:open(0, Options),
    {Socket, []}.
