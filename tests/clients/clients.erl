%% Programs that everybody has, against the servers of OTP, and the other way: openssl, curl, OpenSSH.
%%
%% main([Folder]): keys and files go there. Prints a line for each; the same on erl.
-module(clients).
-export([main/1]).

main([Folder]) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(inets),
    {ok, _} = application:ensure_all_started(ssh),
    logger:set_primary_config(level, none),
    certificate(Folder),
    [io:format("openssl ~s: ~p~n", [Version, s_client(Folder, Version)]) || Version <- ["tls1_2", "tls1_3"]],
    [io:format("s_server ~s: ~p~n", [Version, s_server(Folder, Version)]) || Version <- ["tls1_2", "tls1_3"]],
    http(Folder),
    ssh(Folder).

run(Format, Arguments) -> string:trim(os:cmd(lists:flatten(io_lib:format(Format, Arguments)))).

%% An authority, and what it says of this machine.
certificate(Folder) ->
    ok = file:write_file(filename:join(Folder, "names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n"),
    run("cd ~s && exec 2>&1 && openssl req -x509 -newkey rsa:2048 -nodes -keyout ca_key.pem -out ca.pem -days 2 -subj /CN=authority"
        " && openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost"
        " && openssl x509 -req -in request.pem -CA ca.pem -CAkey ca_key.pem -CAcreateserial -days 2 -extfile names -out cert.pem", [Folder]).

files(Folder) -> [{certfile, filename:join(Folder, "cert.pem")}, {keyfile, filename:join(Folder, "key.pem")}].

%% --- TLS ------------------------------------------------------------------------------------------

s_client(Folder, Version) ->
    {ok, L} = ssl:listen(0, files(Folder) ++ [{active, false}, binary, {packet, line}, {ip, {127, 0, 0, 1}}]),
    {ok, {_, Port}} = ssl:sockname(L),
    spawn_link(fun() ->
        {ok, Transport} = ssl:transport_accept(L),
        {ok, S} = ssl:handshake(Transport, 10000),
        {ok, [{protocol, Protocol}]} = ssl:connection_information(S, [protocol]),
        {ok, Line} = ssl:recv(S, 0, 10000),
        ok = ssl:send(S, [string:uppercase(string:trim(Line)), " over ", atom_to_list(Protocol), "\n"]),
        ssl:close(S)
    end),
    %% Input that stays open: s_client ends with its input.
    Said = run("(echo hello; sleep 2) | openssl s_client -quiet -verify_return_error -CAfile ~s/ca.pem -~s -connect 127.0.0.1:~p 2>/dev/null",
               [Folder, Version, Port]),
    ssl:close(L),
    Said.

s_server(Folder, Version) ->
    Port = free_port(),
    %% It echoes lines backwards.
    Command = io_lib:format("openssl s_server -rev -quiet -~s -accept 127.0.0.1:~p -cert ~s/cert.pem -key ~s/key.pem", [Version, Port, Folder, Folder]),
    Server = open_port({spawn, lists:flatten(Command)}, [stderr_to_stdout]),
    {os_pid, Pid} = erlang:port_info(Server, os_pid),
    Options = [{verify, verify_peer}, {cacertfile, filename:join(Folder, "ca.pem")}, {active, false}, {packet, line},
               {server_name_indication, "localhost"}],
    {ok, S} = connect(Port, Options, 50),
    {ok, [{protocol, Protocol}]} = ssl:connection_information(S, [protocol]),
    ok = ssl:send(S, "hello\n"),
    {ok, Line} = ssl:recv(S, 0, 10000),
    ssl:close(S),
    os:cmd("kill " ++ integer_to_list(Pid)),
    {Protocol, Line}.

free_port() ->
    {ok, L} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    {ok, Port} = inet:port(L),
    gen_tcp:close(L),
    Port.

connect(Port, Options, Tries) ->
    case ssl:connect({127, 0, 0, 1}, Port, Options, 10000) of
        {error, econnrefused} when Tries > 0 -> timer:sleep(100), connect(Port, Options, Tries - 1);
        Result -> Result
    end.

%% --- HTTP -----------------------------------------------------------------------------------------

http(Folder) ->
    Text = binary:copy(<<"0123456789abcdef">>, 20000),
    ok = file:write_file(filename:join(Folder, "page.txt"), Text),
    [begin
        {ok, Pid} = inets:start(httpd, [{port, 0}, {bind_address, {127, 0, 0, 1}}, {server_name, "localhost"}, {server_root, Folder},
                                        {document_root, Folder}, {modules, [mod_range, mod_get, mod_head]}, {socket_type, Type}]),
        [{port, Port}] = httpd:info(Pid, [port]),
        Ask = fun(Path, More) ->
            run("curl -s --max-time 20 --cacert ~s/ca.pem ~s -o ~s/got -w '%{http_code} %{http_version} %{size_download}' ~s://localhost:~p~s",
                [Folder, More, Folder, Scheme, Port, Path])
        end,
        io:format("curl ~s: ~p ~p ~p~n", [Scheme, Ask("/page.txt", "--http1.1"), Ask("/missing", "--http1.0"), Ask("/page.txt", "-r 5-9 --http1.1")]),
        {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {lists:flatten(io_lib:format("~s://localhost:~p/page.txt", [Scheme, Port])), []},
            [{ssl, [{verify, verify_peer}, {cacertfile, filename:join(Folder, "ca.pem")}]}], [{body_format, binary}]),
        true = Body =:= Text,
        inets:stop(httpd, Pid)
    end || {Scheme, Type} <- [{"http", ip_comm}, {"https", {ssl, files(Folder)}}]].

%% --- SSH ------------------------------------------------------------------------------------------

ssh(Folder) ->
    Own = filename:join(Folder, "ssh"),
    ok = file:make_dir(Own),
    run("cd ~s && ssh-keygen -q -t rsa -b 2048 -N '' -f ssh_host_rsa_key && ssh-keygen -q -t ed25519 -N '' -f id && cp id.pub authorized_keys", [Own]),
    Shell = fun(Command) -> io:format("asked: ~s~n", [Command]) end,
    {ok, Daemon} = ssh:daemon({127, 0, 0, 1}, 0, [{system_dir, Own}, {user_dir, Own}, {exec, {direct, fun(Command) -> {ok, "did " ++ Command} end}},
        {shell, Shell}, {subsystems, [ssh_sftpd:subsystem_spec([{cwd, Folder}, {root, Folder}])]}]),
    {ok, Info} = ssh:daemon_info(Daemon),
    Port = proplists:get_value(port, Info),
    Options = io_lib:format("-i ~s/id -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -F /dev/null", [Own]),
    io:format("ssh: ~p~n", [run("ssh ~s -p ~p somebody@127.0.0.1 work 2>&1", [Options, Port])]),
    ok = file:write_file(filename:join(Own, "batch"), "get page.txt " ++ Own ++ "/got\nput " ++ Own ++ "/batch sent\nrename sent moved\nls -1 moved\n"),
    io:format("sftp: ~p~n", [run("sftp -q ~s -P ~p -b ~s/batch somebody@127.0.0.1 2>&1 | grep -v '^sftp>'", [Options, Port, Own])]),
    {ok, Sent} = file:read_file(filename:join(Folder, "page.txt")),
    io:format("got: ~p~n", [file:read_file(filename:join(Own, "got")) =:= {ok, Sent}]),
    ssh:stop_daemon(Daemon).
