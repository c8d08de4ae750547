%% TLS and compression over sockets by process-one's libraries, and pictures by its program.
-module(streams).
-export([main/0]).

main() ->
    zlib_stream(),
    tls(),
    pictures().

pair() ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listen),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listen),
    {Client, Server}.

zlib_stream() ->
    {ok, _} = application:ensure_all_started(ezlib),
    {Client, Server} = pair(),
    {ok, From} = ezlib:enable_zlib(gen_tcp, Client),
    {ok, To} = ezlib:enable_zlib(gen_tcp, Server),
    Text = binary:copy(<<"compress me ">>, 1000),
    ok = ezlib:send(From, Text),
    io:format("~p~n", [receive_all(fun() -> ezlib:recv(To, 0, 5000) end, byte_size(Text)) =:= Text]),
    ezlib:close(From),
    ezlib:close(To).

receive_all(_, 0) -> <<>>;
receive_all(Receive, Left) ->
    {ok, Bytes} = Receive(),
    <<Bytes/binary, (receive_all(Receive, Left - byte_size(Bytes)))/binary>>.

tls() ->
    {ok, _} = application:ensure_all_started(fast_tls),
    File = "/tmp/certificate-" ++ os:getpid() ++ ".pem",
    os:cmd("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -days 2 -keyout " ++ File ++ " -out " ++ File ++ ".c; cat " ++ File ++ ".c >> " ++ File),
    {Client, Server} = pair(),
    Self = self(),
    Peer = spawn_link(fun() ->
        receive go -> ok end,
        {ok, Tls} = fast_tls:tcp_to_tls(Server, [{certfile, list_to_binary(File)}]),
        {ok, Request} = wait_for(fun() -> fast_tls:recv(Tls, 0, 5000) end),
        ok = fast_tls:send(Tls, <<"answer to ", Request/binary>>),
        Self ! done,
        receive stop -> fast_tls:close(Tls) end
    end),
    ok = gen_tcp:controlling_process(Server, Peer),
    Peer ! go,
    {ok, Tls} = fast_tls:tcp_to_tls(Client, [connect]),
    ok = fast_tls:send(Tls, <<"question">>),
    {ok, Answer} = wait_for(fun() -> fast_tls:recv(Tls, 0, 5000) end),
    io:format("~p ~p~n", [Answer, element(1, fast_tls:get_peer_certificate(Tls))]),
    io:format("~p~n", [p1_sha:to_hexlist(p1_sha:sha256(<<"abc">>))]),
    fast_tls:close(Tls),
    Peer ! stop,
    os:cmd("rm -f " ++ File ++ "*").

wait_for(Receive) ->
    case Receive() of
        {ok, <<>>} -> wait_for(Receive);
        Other -> Other
    end.

pictures() ->
    ok = eimp:start(),
    io:format("~p~n", [lists:sort(eimp:supported_formats())]),
    io:format("~p~n", [eimp:get_type(<<"GIF89a....">>)]),
    io:format("~p~n", [eimp:identify(<<"no picture">>)]).
