%% Streams that are taken in pieces: how long these are, and that nothing is lost when the way of taking changes.
-module(taken_in_pieces).
-export([main/0]).
main() ->
    [io:format("~p ~p~n", [Options, passive(Options)]) || Options <- [[], [{buffer, 4000}], [{buffer, 100}], [{packet, line}], [{packet, 2}]]],
    io:format("~p~n", [changing()]),
    io:format("~p~n", [active()]),
    ok.

pair(Options) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}} | Options]),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listener),
    gen_tcp:close(Listener),
    {Client, Server}.

%% What a process gets that takes pieces of a stream of which all is there, and which the peer has ended.
passive(Options) ->
    {Client, Server} = pair(Options),
    Line = <<0, 98, (binary:copy(<<"x">>, 97))/binary, "\n">>,
    ok = gen_tcp:send(Client, binary:copy(Line, 200)),
    ok = gen_tcp:close(Client),
    timer:sleep(50),
    Sizes = sizes(Server, []),
    gen_tcp:close(Server),
    {lists:sum(Sizes), lists:sublist(Sizes, 12), length(Sizes)}.

sizes(Socket, Sizes) ->
    case gen_tcp:recv(Socket, 0, 1000) of
        {ok, Data} -> sizes(Socket, [byte_size(Data) | Sizes]);
        {error, closed} -> lists:reverse(Sizes)
    end.

%% The same stream taken in different ways one after the other.
changing() ->
    {Client, Server} = pair([]),
    Bytes = << <<N:32>> || N <- lists:seq(1, 20000) >>,
    ok = gen_tcp:send(Client, Bytes),
    timer:sleep(50),
    {ok, A} = gen_tcp:recv(Server, 0),
    {ok, B} = gen_tcp:recv(Server, 0),
    {ok, C} = gen_tcp:recv(Server, 7),
    ok = inet:setopts(Server, [{active, once}]),
    D = receive {tcp, Server, Some} -> Some end,
    {ok, E} = gen_tcp:recv(Server, 3000),
    ok = gen_tcp:unrecv(Server, <<"again">>),
    {ok, <<"again">>} = gen_tcp:recv(Server, 5),
    ok = inet:setopts(Server, [{active, 2}]),
    F = [receive {tcp, Server, More} -> More end || _ <- [1, 2]],
    receive {tcp_passive, Server} -> ok end,
    {ok, G} = gen_tcp:recv(Server, 20000),
    Taken = iolist_to_binary([A, B, C, D, E, F, G]),
    true = Taken =:= binary:part(Bytes, 0, byte_size(Taken)),
    Left = byte_size(Bytes) - byte_size(Taken),
    ok = gen_tcp:close(Client),
    {ok, Rest} = gen_tcp:recv(Server, Left),
    true = <<Taken/binary, Rest/binary>> =:= Bytes,
    {byte_size(C), byte_size(E), byte_size(G), gen_tcp:recv(Server, 0)}.

%% A buffer that is smaller than what comes, with an active socket.
active() ->
    {Client, Server} = pair([{buffer, 100}]),
    ok = gen_tcp:send(Client, binary:copy(<<"x">>, 1050)),
    ok = gen_tcp:close(Client),
    timer:sleep(50),
    ok = inet:setopts(Server, [{active, true}]),
    all(Server).

all(Server) ->
    receive
        {tcp, Server, Data} -> [byte_size(Data) | all(Server)];
        {tcp_closed, Server} -> [closed]
    after 1000 -> [nothing]
    end.
