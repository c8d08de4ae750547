%% Servers under test. start(Kind) prints the port and serves for ever.
-module(servers).
-export([start/1]).

start([Kind]) -> start(Kind);
start(httpd) ->
    {ok, _} = application:ensure_all_started(inets),
    Root = filename:join("/tmp", "swarmrt-bench-httpd-" ++ os:getpid()),
    ok = filelib:ensure_dir(filename:join(Root, "hello")),
    ok = file:write_file(filename:join(Root, "hello"), "hello, world\n"),
    {ok, Server} = inets:start(httpd, [{port, 0}, {server_name, "bench"}, {server_root, Root}, {document_root, Root},
                                       {bind_address, {127, 0, 0, 1}}, {socket_type, {ip_comm, [{nodelay, true}]}},
                                       {max_clients, 1000},
                                       {keep_alive_timeout, 60}, {max_keep_alive_request, 100000000}]),
    [{port, Port}] = httpd:info(Server, [port]),
    serve(Port);
start(Kind) when Kind =:= socket; Kind =:= take_socket; Kind =:= give_socket ->
    {ok, Listener} = socket:open(inet, stream, tcp),
    ok = socket:setopt(Listener, socket, reuseaddr, true),
    ok = socket:bind(Listener, #{family => inet, addr => {127, 0, 0, 1}, port => 0}),
    ok = socket:listen(Listener, 1024),
    {ok, #{port := Port}} = socket:sockname(Listener),
    spawn(fun() -> accept_socket(Listener, Kind) end),
    serve(Port);
start(tls) ->
    {ok, _} = application:ensure_all_started(ssl),
    Key = [{digest, sha256}, {key, {namedCurve, secp256r1}}],
    Chain = #{root => Key, intermediates => [], peer => Key},
    #{server_config := Certificates} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    Options = [{versions, ['tlsv1.3']} | lists:keydelete(verify, 1, Certificates)],
    {ok, Listener} = ssl:listen(0, options(http) ++ Options),
    {ok, {_, Port}} = ssl:sockname(Listener),
    [spawn(fun() -> accept_tls(Listener) end) || _ <- lists:seq(1, 4)],
    serve(Port);
start(Kind) ->
    {ok, Listener} = gen_tcp:listen(0, options(Kind)),
    {ok, Port} = inet:port(Listener),
    [spawn(fun() -> accept(Listener, Kind) end) || _ <- lists:seq(1, 4)],
    serve(Port).

serve(Port) ->
    io:format("~b~n", [Port]),
    receive after infinity -> ok end.

options(http) -> options(other) ++ [{packet, http_bin}];
options(_) -> [binary, {ip, {127, 0, 0, 1}}, {active, false}, {backlog, 1024}, {nodelay, true}].

accept(Listener, close) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    gen_tcp:close(Socket),
    accept(Listener, close);
accept(Listener, Kind) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> connection(Kind, Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Kind).

connection(passive, Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            ok = gen_tcp:send(Socket, Data),
            connection(passive, Socket);
        {error, _} -> gen_tcp:close(Socket)
    end;
connection(active, Socket) ->
    ok = inet:setopts(Socket, [{active, true}]),
    active(Socket);
connection(once, Socket) ->
    ok = inet:setopts(Socket, [{active, once}]),
    receive
        {tcp, Socket, Data} ->
            ok = gen_tcp:send(Socket, Data),
            connection(once, Socket);
        {tcp_closed, Socket} -> ok
    end;
connection(http, Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, http_eoh} ->
            ok = gen_tcp:send(Socket, hello()),
            connection(http, Socket);
        {ok, _} -> connection(http, Socket);
        {error, _} -> gen_tcp:close(Socket)
    end;
connection(take_passive, Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> connection(take_passive, Socket);
        {error, _} -> gen_tcp:close(Socket)
    end;
connection(take_active, Socket) ->
    %% As many as in a window: without a limit, messages would pile up.
    ok = inet:setopts(Socket, [{active, 100}]),
    take(Socket);
connection(give, Socket) ->
    Data = binary:copy(<<"0123456789abcdef">>, 4096),
    give(Socket, Data).

hello() ->
    <<"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nhello, world\n">>.

accept_tls(Listener) ->
    {ok, Accepted} = ssl:transport_accept(Listener),
    Pid = spawn(fun() ->
        receive go -> ok end,
        {ok, Socket} = ssl:handshake(Accepted),
        tls(Socket)
    end),
    ok = ssl:controlling_process(Accepted, Pid),
    Pid ! go,
    accept_tls(Listener).

tls(Socket) ->
    case ssl:recv(Socket, 0) of
        {ok, http_eoh} ->
            ok = ssl:send(Socket, hello()),
            tls(Socket);
        {ok, _} -> tls(Socket);
        {error, _} -> ssl:close(Socket)
    end.

active(Socket) ->
    receive
        {tcp, Socket, Data} ->
            ok = gen_tcp:send(Socket, Data),
            active(Socket);
        {tcp_closed, Socket} -> ok
    end.

take(Socket) ->
    receive
        {tcp, Socket, _} -> take(Socket);
        {tcp_passive, Socket} -> connection(take_active, Socket);
        {tcp_closed, Socket} -> ok
    end.

give(Socket, Data) ->
    case gen_tcp:send(Socket, Data) of
        ok -> give(Socket, Data);
        {error, _} -> ok
    end.

accept_socket(Listener, Kind) ->
    {ok, Socket} = socket:accept(Listener),
    Pid = spawn(fun() -> receive go -> serve_socket(Kind, Socket) end end),
    ok = socket:setopt(Socket, otp, controlling_process, Pid),
    Pid ! go,
    accept_socket(Listener, Kind).

serve_socket(give_socket, Socket) ->
    give_socket(Socket, binary:copy(<<"0123456789abcdef">>, 4096));
serve_socket(Kind, Socket) ->
    case socket:recv(Socket, 0) of
        {ok, Data} ->
            [ok = socket:send(Socket, Data) || Kind =:= socket],
            serve_socket(Kind, Socket);
        {error, _} -> socket:close(Socket)
    end.

give_socket(Socket, Data) ->
    case socket:send(Socket, Data) of
        ok -> give_socket(Socket, Data);
        {error, _} -> socket:close(Socket)
    end.
