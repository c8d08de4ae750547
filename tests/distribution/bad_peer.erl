%% A peer that speaks the handshake of a node, and then sends what is not as the protocol has it: each time the other node closes
%% the connection, and goes on.
-module(bad_peer).
-export([main/1]).

main(Peer) ->
    [io:format("~p: ~p~n", [Name, try_it(Peer, Packets)]) || {Name, Packets} <- cases(Peer)],
    io:format("~p~n", [rpc:call(Peer, lists, sum, [[1, 2, 3]])]).

%% 'closed' when the connection ends, 'open' when it is still there.
try_it(Peer, Packets) ->
    Name = "evil" ++ integer_to_list(erlang:unique_integer([positive])) ++ "@" ++ host(Peer),
    Socket = connect(Peer, Name),
    %% Something valid goes first.
    send(Socket, [<<131, 68, 0>>, term({6, pid(Name), '', nobody_has_this_name}), term(hello)]),
    [send(Socket, Packet) || Packet <- Packets],
    Result = closed(Socket),
    gen_tcp:close(Socket),
    Result.

closed(Socket) ->
    case gen_tcp:recv(Socket, 0, 1500) of
        {ok, _} -> closed(Socket);
        {error, timeout} -> open;
        {error, _} -> closed
    end.

send(Socket, {raw, Bytes}) -> ok = gen_tcp:send(Socket, Bytes);
send(Socket, Packet) ->
    Bytes = iolist_to_binary(Packet),
    gen_tcp:send(Socket, [<<(byte_size(Bytes)):32>>, Bytes]).

host(Node) -> tl(string:find(atom_to_list(Node), "@")).
short(Node) -> hd(string:split(atom_to_list(Node), "@")).

%% Without the version byte.
term(Term) -> binary:part(term_to_binary(Term), 1, byte_size(term_to_binary(Term)) - 1).
pid(Node) -> binary_to_term(<<131, 88, 119, (length(Node)), (list_to_binary(Node))/binary, 5:32, 0:32, 17:32>>).

connect(Peer, Name) ->
    {port, Port, _} = erl_epmd:port_please(short(Peer), host(Peer)),
    {ok, Socket} = gen_tcp:connect(host(Peer), Port, [binary, {active, false}, {packet, 2}]),
    Flags = element(2, erts_internal:get_dflags()),
    ok = gen_tcp:send(Socket, [$N, <<Flags:64, 17:32, (length(Name)):16>>, Name]),
    {ok, <<"sok", _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    {ok, <<$N, _:64, Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    Digest = erlang:md5([atom_to_list(erlang:get_cookie()), integer_to_list(Challenge)]),
    ok = gen_tcp:send(Socket, [$r, <<99:32>>, Digest]),
    {ok, <<$a, _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Socket.

control(Term) -> [[<<131, 68, 0>>, term(Term)]].
control(Term, Payload) -> [[<<131, 68, 0>>, term(Term), term(Payload)]].

cases(Peer) ->
    Ours = self(),
    Theirs = rpc:call(Peer, erlang, whereis, [kernel_sup]),
    Ref = make_ref(),
    [{nothing_wrong, control({6, Ours, '', nobody}, hello)},
     {no_head, [<<1, 2, 3>>]},
     {version_only, [<<131>>]},
     {unknown_head, [<<131, 99, 0>>]},
     {list_cut_off, [<<131, 68, 5, 1>>]},
     {place_of_nothing, [<<131, 68, 1, 0, 200>>]},
     {no_utf8, [<<131, 68, 1, 8, 1, 1, 255, 97, 1>>]},
     {index_beyond, [<<131, 68, 0, 104, 2, 97, 22, 82, 7>>]},
     {no_control, [<<131, 68, 0>>]},
     {no_tuple, [<<131, 68, 0, 97, 1>>]},
     {empty_tuple, control({})},
     {unknown_operation, control({99, Ours, Theirs})},
     {negative_operation, control({-1})},
     {no_operation, control({ok, 1, 2})},
     {too_few, control({22})},
     {too_many, control({22, Ours, Theirs, [], 1, 2}, hello)},
     {send_to_no_pid, control({22, Ours, nobody}, hello)},
     {name_is_none, control({6, Ours, '', "name"}, hello)},
     {alias_is_none, control({33, Ours, Theirs}, hello)},
     {link_of_another, control({1, Ours, Theirs})},
     {unlink_zero, control({35, 0, Ours, Theirs})},
     {exit_of_another, control({24, Ours, Theirs}, reason)},
     {exit2_of_another, control({26, Ours, Theirs}, kill)},
     {monitor_of_another, control({19, Ours, Theirs, Ref})},
     {monitor_without_reference, control({19, Ours, Theirs, 17})},
     {down_without_reference, control({28, Ours, Theirs, x}, reason)},
     {leader_is_none, control({7, x, Theirs})},
     {spawn_without_function, control({29, Ref, Ours, Ours, {a, b}, []}, [])},
     {spawn_reply_to_none, control({31, Ref, x, 0, Ours})},
     {large_tuple, [<<131, 68, 0, 105, 16#ffffffff:32>>]},
     {large_list, [<<131, 68, 0, 108, 16#ffffffff:32, 97, 1>>]},
     {large_binary, [[<<131, 68, 0>>, term({6, Ours, '', application_controller}), <<109, 16#ffffffff:32, 1, 2, 3>>]]},
     {large_map, [<<131, 68, 0, 116, 16#ffffffff:32>>]},
     {next_without_first, [<<131, 70, 1:64, 1:64, 1, 2, 3>>]},
     {fragment_twice, [[<<131, 69, 1:64, 3:64, 0>>, term({6, Ours, '', nobody})], [<<131, 69, 1:64, 3:64, 0>>, term({6, Ours, '', nobody})]]},
     {fragment_left_out, [[<<131, 69, 1:64, 3:64, 0>>, term({6, Ours, '', nobody})], <<131, 70, 1:64, 1:64, 97, 1>>]},
     {unfinished, [[<<131, 69, 1:64, 3:64, 0>>, term({6, Ours, '', nobody})]]},
     {length_of_4_gb, [{raw, <<16#ffffffff:32, 131, 68, 0>>}]}].
