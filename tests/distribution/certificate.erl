%% Makes a certificate and the options for distribution over TLS, in a folder.
-module(certificate).
-export([make/1]).

make([Folder]) ->
    try
        #{server_config := Server} = public_key:pkix_test_data(#{
            server_chain => #{root => [], intermediates => [], peer => []},
            client_chain => #{root => [], intermediates => [], peer => []}
        }),
        {Type, Key} = proplists:get_value(key, Server),
        File = filename:join(atom_to_list(Folder), "node.pem"),
        Entries = [{'Certificate', proplists:get_value(cert, Server), not_encrypted}, {Type, Key, not_encrypted}],
        ok = file:write_file(File, public_key:pem_encode(Entries)),
        Options = [{server, [{certfile, File}, {keyfile, File}, {verify, verify_none}]}, {client, [{verify, verify_none}]}],
        ok = file:write_file(filename:join(atom_to_list(Folder), "ssl.conf"), io_lib:format("~p.~n", [Options])),
        halt(0)
    catch
        Class:Reason -> io:format("~p~n", [{Class, Reason}]), halt(1)
    end.
