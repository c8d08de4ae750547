%% What ports of gen_tcp, gen_udp and inet answer besides data: how connections end, options that depend on each other,
%% names and interfaces.
-module(inet_drivers).
-export([main/0]).

main() ->
    [io:format("~s: ~0tp~n", [Name, result(Case)]) || {Name, Case} <- cases()],
    ok.

result(Case) ->
    try without_ports(Case())
    catch
        Class:Reason -> {Class, without_ports(Reason)}
    end.

without_ports(Port) when is_port(Port) -> port;
without_ports([Head | Tail]) -> [without_ports(Head) | without_ports(Tail)];
without_ports(Tuple) when is_tuple(Tuple) -> list_to_tuple(without_ports(tuple_to_list(Tuple)));
without_ports(Other) -> Other.

cases() ->
    [{"reset while sending, then active", fun() -> reset_while_sending(true, active) end},
     {"reset while sending, then received", fun() -> reset_while_sending(true, passive) end},
     {"reset while sending, then sent", fun() -> reset_while_sending(true, send) end},
     {"reset while sending, not shown, active", fun() -> reset_while_sending(false, active) end},
     {"reset while sending, not shown, received", fun() -> reset_while_sending(false, passive) end},
     {"reset while sending, not shown, sent", fun() -> reset_while_sending(false, send) end},
     {"told nothing after close", fun told_nothing_after_close/0},
     {"descriptor of another family", fun descriptors/0},
     {"priority and type of service", fun priorities/0},
     {"options of accepted connections", fun accepted_options/0},
     {"large raw options", fun raw_options/0},
     {"options of each driver", fun options_of_drivers/0},
     {"hosts in brackets", fun hosts_in_brackets/0},
     {"network namespace", fun namespaces/0},
     {"all names", fun all_names/0},
     {"names of one family", fun names_of_families/0},
     {"names that are set", fun set_names/0},
     {"interfaces", fun interfaces/0},
     {"interface that is not there", fun no_interface/0}].

%% A host without an IPv6 address has none, and an IPv4 address in an IPv6 one is none.
names_of_families() ->
    [{Name, Family, inet:getaddr(Name, Family), inet:getaddrs(Name, Family)}
     || Name <- ["localhost", "127.0.0.1", "::1", "::ffff:1.2.3.4", "::1.2.3.4", "no.such.host.invalid"], Family <- [inet, inet6]].

pair(Client, Server) ->
    {ok, L} = gen_tcp:listen(0, [{active, false} | Server]),
    {ok, Number} = inet:port(L),
    {ok, A} = gen_tcp:connect({127, 0, 0, 1}, Number, [{active, false} | Client]),
    {ok, B} = gen_tcp:accept(L),
    ok = gen_tcp:close(L),
    {A, B}.

%% The peer resets a connection that has output left, and nobody is waiting.
reset_while_sending(IsShown, Then) ->
    {A, B} = pair([{sndbuf, 4096}, {show_econnreset, IsShown}], [{recbuf, 4096}]),
    ok = gen_tcp:send(A, binary:copy(<<".">>, 1 bsl 20)),
    {queue_size, Size} = erlang:port_info(A, queue_size),
    ok = inet:setopts(B, [{linger, {true, 0}}]),
    ok = gen_tcp:close(B),
    timer:sleep(50),
    Told = case Then of
        active -> ok = inet:setopts(A, [{active, once}]), [next(), next()];
        passive -> [gen_tcp:recv(A, 0), gen_tcp:recv(A, 0)];
        send -> [gen_tcp:send(A, "x"), gen_tcp:recv(A, 0)]
    end,
    gen_tcp:close(A),
    {Size > 0, Told}.

next() -> receive Message -> Message after 1000 -> nothing end.

%% A peer that ends at the same time: what its end leads to comes before close/1 returns, or never.
told_nothing_after_close() ->
    {ok, L} = gen_tcp:listen(0, []),
    {ok, Number} = inet:port(L),
    Late = [Message || _ <- lists:seq(1, 200), Message <- closed_on_both_sides(L, Number)],
    gen_tcp:close(L),
    Late.

closed_on_both_sides(L, Number) ->
    {ok, A} = gen_tcp:connect({127, 0, 0, 1}, Number, [binary, {packet, 4}]),
    {ok, B} = gen_tcp:accept(L),
    ok = gen_tcp:send(B, <<-3:32>>),
    receive {tcp_error, A, emsgsize} -> ok end,
    gen_tcp:close(B),
    gen_tcp:close(A),
    receive Message -> [Message] after 2 -> [] end.

descriptors() ->
    {ok, S} = gen_udp:open(0),
    {ok, Fd} = inet:getfd(S),
    Other = gen_udp:open(0, [inet6, {fd, Fd}]),
    gen_udp:close(S),
    Other.

priorities() ->
    {ok, S} = gen_udp:open(0),
    Set = fun(Options) -> {inet:setopts(S, Options), inet:getopts(S, [priority, tos])} end,
    Results = [Set(Options) || Options <- [[{priority, 3}], [{tos, 96}], [{reuseaddr, true}], [{priority, 5}], [{tos, 0}], [{sndbuf, 9000}],
        [{tos, 32}, {priority, 2}], [{priority, 1}, {tos, 64}]]],
    gen_udp:close(S),
    Results.

%% A connection gets what the listening socket has when it is accepted, also what was set through another descriptor.
accepted_options() ->
    {ok, L} = gen_tcp:listen(0, [{active, false}, {nodelay, true}]),
    {ok, Number} = inet:port(L),
    Accepted = fun() ->
        {ok, A} = gen_tcp:connect({127, 0, 0, 1}, Number, []),
        {ok, B} = gen_tcp:accept(L),
        Options = inet:getopts(B, [active, nodelay, keepalive, linger, priority, tos, delay_send]),
        [gen_tcp:close(S) || S <- [A, B]],
        Options
    end,
    Set = fun(Options) -> ok = inet:setopts(L, Options), [Accepted(), Accepted()] end,
    Before = [Accepted(), Accepted()],
    Changed = [Set(Options) || Options <- [[{nodelay, false}], [{keepalive, true}, {linger, {true, 3}}], [{tos, 96}, {delay_send, true}],
        [{raw, 1, 9, <<0:32/native>>}]]],
    {ok, Fd} = inet:getfd(L),
    {ok, Other} = socket:open(Fd, #{dup => true}),
    Shared = [begin ok = socket:setopt(Other, socket, keepalive, Value), Accepted() end || Value <- [true, false]],
    ok = socket:close(Other),
    gen_tcp:close(L),
    {Before, Changed, Shared}.

%% The level of sockets and its option linger, in Linux's numbers.
raw_options() ->
    {ok, S} = gen_udp:open(0),
    Results = [inet:getopts(S, [{raw, 1, 13, Size}]) || Size <- [8, 1024, 65522, 65523, 65536]],
    gen_udp:close(S),
    Results.

namespaces() ->
    {ok, S} = gen_udp:open(0),
    Results = [{inet:setopts(S, [{netns, Path}]), inet:getopts(S, [netns])} || Path <- ["", "/proc/self/ns/net"]],
    gen_udp:close(S),
    Results.

all_names() ->
    {A, B} = pair([], []),
    {ok, U} = gen_udp:open(0, [{ip, loopback}]),
    Number = fun(S) -> element(2, inet:port(S)) end,
    {ok, AName} = inet:sockname(A),
    {ok, BName} = inet:sockname(B),
    Results = {inet:socknames(A) =:= {ok, [AName]}, inet:peernames(A) =:= {ok, [BName]},
        inet:socknames(U) =:= {ok, [{{127, 0, 0, 1}, Number(U)}]}, inet:peernames(U)},
    [gen_tcp:close(S) || S <- [A, B]],
    gen_udp:close(U),
    Results.

set_names() ->
    {A, B} = pair([], []),
    {ok, Before} = inet:sockname(A),
    Results = [inet:setsockname(A, {{1, 2, 3, 4}, 5}), inet:setpeername(A, {{6, 7, 8, 9}, 10}), inet:sockname(A), inet:peername(A),
        inet:setsockname(A, undefined), inet:setpeername(A, undefined), inet:sockname(A) =:= {ok, Before},
        inet:peername(A) =:= inet:sockname(B), inet:setsockname(A, {{1, 2, 3}, 5})],
    [gen_tcp:close(S) || S <- [A, B]],
    Results.

%% The loopback interface is the same on all machines; what is told of others in two ways has to agree.
interfaces() ->
    {ok, Names} = inet:getiflist(),
    Items = [addr, broadaddr, dstaddr, mtu, netmask, flags, hwaddr],
    {ok, Addresses} = inet:getif(),
    {ok, All} = inet:getifaddrs(),
    {[inet:ifget("lo", [Item]) || Item <- Items], inet:ifget("lo", Items), inet:ifget("lo", [nothing]),
     lists:keymember({127, 0, 0, 1}, 1, Addresses), lists:sort([Address || {Address, _, _} <- Addresses])
         =:= lists:sort([Address || Name <- Names, {ok, [{addr, Address}]} <- [inet:ifget(Name, [addr])]]),
     [Name || Name <- Names, {ok, Told} <- [inet:ifget(Name, [flags, addr, netmask, hwaddr])],
         [] =/= Told -- proplists:get_value(Name, All, [])]}.

no_interface() ->
    {[inet:ifget(Name, [addr, mtu, flags, hwaddr]) || Name <- ["nothing", lists:duplicate(128, $x)]],
     [inet:ifset("nothing", [Item]) || Item <- [{addr, {10, 1, 2, 3}}, {mtu, 1400}, {flags, [up]}, {hwaddr, [1, 2, 3, 4, 5, 6]}, {addr, 1}]]}.

%% Options of the other driver are left out.
options_of_drivers() ->
    {ok, U} = gen_udp:open(0),
    {ok, T} = gen_tcp:listen(0, []),
    Names = [active, buffer, mode, deliver, packet, packet_size, header, delay_send, exit_on_close, high_watermark, low_watermark,
             high_msgq_watermark, low_msgq_watermark, send_timeout, send_timeout_close, nodelay, read_packets, show_econnreset, debug],
    Shown = [{Name, inet:getopts(U, [Name]), inet:getopts(T, [Name])} || Name <- Names],
    Set = [inet:setopts(Socket, [{multicast_if, {127, 0, 0, 1}}]) || Socket <- [U, T]],
    gen_udp:close(U),
    gen_tcp:close(T),
    {Shown, Set}.

hosts_in_brackets() ->
    [begin
        {ok, {http_request, _, Uri, _}, _} = erlang:decode_packet(http_bin, iolist_to_binary(["GET http://", Host, " HTTP/1.1\r\n"]), []),
        Uri
    end || Host <- ["[::1]/a", "[::1]:80/a", "[::1]x:80/a", "[::1", "[::1/]:80", "[]:8080", "a[::1]:80/x", "[::1]:80:90/", "]:80"]].
