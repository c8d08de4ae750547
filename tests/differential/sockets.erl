%% The module socket: streams, datagrams, local sockets, what waits, what is given up, options, files.
-module(sockets).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    [io:format("~s: ~0tp~n", [Name, without_references(result(Case))]) || {Name, Case} <- cases()],
    ok.

without_references(Reference) when is_reference(Reference) -> reference;
without_references([Head | Tail]) -> [without_references(Head) | without_references(Tail)];
without_references({'EXIT', {Reason, [{M, F, A, _} | _]}}) -> {Reason, M, F, without_references(A)};
without_references(Tuple) when is_tuple(Tuple) -> list_to_tuple(without_references(tuple_to_list(Tuple)));
without_references(Map) when is_map(Map) -> {map, without_references(lists:sort(maps:to_list(Map)))};
without_references(Other) -> Other.

result(Case) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Self ! {self(), try Case() catch Class:Reason -> {Class, Reason} end}
    end),
    receive
        {Pid, Result} -> demonitor(Monitor, [flush]), Result;
        {'DOWN', Monitor, _, _, Reason} -> {died, Reason}
    after 10000 ->
        exit(Pid, kill),
        timeout
    end.

cases() ->
    [{"stream", fun stream/0}, {"parts", fun parts/0}, {"limits", fun limits/0}, {"nowait", fun nowait/0},
     {"cancelled", fun cancelled/0}, {"aborted", fun aborted/0}, {"in line", fun in_line/0},
     {"acceptors", fun acceptors/0}, {"accepting", fun accepting/0}, {"refused", fun refused/0}, {"reset", fun reset/0},
     {"datagrams", fun datagrams/0}, {"messages", fun messages/0}, {"control", fun control/0}, {"errors of messages", fun errors_of_messages/0},
     {"vectors", fun vectors/0}, {"local", fun local/0}, {"local datagrams", fun local_datagrams/0},
     {"inet6", fun inet6/0}, {"options", fun options/0}, {"own options", fun own_options/0},
     {"native options", fun native_options/0}, {"owner", fun owner/0}, {"given away", fun given_away/0},
     {"waiting process ends", fun waiting_ends/0}, {"sendfile", fun sendfile/0}, {"flags", fun flags/0},
     {"counters", fun counters/0}, {"registry", fun registry/0}, {"monitors", fun monitors/0},
     {"bad", fun bad/0}, {"closed", fun closed/0}, {"shut down", fun shut_down/0}, {"descriptor", fun descriptor/0},
     {"much", fun much/0}, {"net", fun net_/0}, {"gen_tcp", fun gen_tcp_on_socket/0},
     {"gen_tcp active", fun gen_tcp_active/0}, {"gen_udp", fun gen_udp_on_socket/0}].

%% Both ends of a connection.
pair() -> pair(inet, #{family => inet, addr => loopback, port => 0}).

pair(Domain, Address) ->
    {ok, L} = socket:open(Domain, stream),
    ok = socket:bind(L, Address),
    ok = socket:listen(L),
    {ok, Name} = socket:sockname(L),
    {ok, A} = socket:open(Domain, stream),
    ok = socket:connect(A, Name),
    {ok, B} = socket:accept(L),
    ok = socket:close(L),
    {A, B}.

stream() ->
    {A, B} = pair(),
    ok = socket:send(A, <<"hello">>),
    {ok, Hello} = socket:recv(B),
    ok = socket:send(B, [<<"wor">>, "ld"]),
    {ok, World} = socket:recv(A, 5),
    {ok, #{family := inet, addr := From}} = socket:peername(A),
    ok = socket:close(A),
    {Hello, World, From, socket:recv(B), socket:close(B)}.

parts() ->
    {A, B} = pair(),
    spawn_link(fun() -> [begin socket:send(A, <<I:32>>), receive after 5 -> ok end end || I <- lists:seq(1, 5)] end),
    {ok, All} = socket:recv(B, 20),
    All.

limits() ->
    {A, B} = pair(),
    Zero = socket:recv(B, 0, 0),
    Short = socket:recv(B, 0, 10),
    ok = socket:send(A, <<"abc">>),
    Part = socket:recv(B, 10, 20),
    ok = socket:send(A, <<"abc">>),
    receive after 20 -> ok end,
    {Zero, Short, Part, socket:recv(B, 0, 0)}.

nowait() ->
    {A, B} = pair(),
    {select, {select_info, recv, Ref} = Info} = socket:recv(B, 0, [], nowait),
    ok = socket:send(A, <<"abc">>),
    Told = receive {'$socket', B, select, Ref} -> told after 1000 -> not_told end,
    {ok, Data} = again(fun() -> socket:recv(B, 0, [], nowait) end),
    Part = part(A, B, erlang:system_info(otp_release)),
    {Told, Data, Part, socket:cancel(B, Info)}.

%% What is there of more that is wanted. OTP 27 keeps it back.
part(_, _, "27") -> <<"de">>;
part(A, B, _) ->
    Handle = make_ref(),
    ok = socket:send(A, <<"de">>),
    {ok, _} = socket:recv(B, 2, [peek]),
    {select, {{select_info, recv, Handle}, Part}} = again(fun() -> socket:recv(B, 5, [], Handle) end),
    Part.

%% A socket may seem ready before its data are there.
again(Call) ->
    case Call() of
        {select, {select_info, _, Ref}} -> receive {'$socket', _, select, Ref} -> again(Call) end;
        Other -> Other
    end.

cancelled() ->
    {A, B} = pair(),
    {select, Info} = socket:recv(B, 0, [], nowait),
    ok = socket:cancel(B, Info),
    Again = socket:cancel(B, Info),
    {select, {_, _, Ref} = Other} = socket:recv(B, 0, [], nowait),
    ok = socket:send(A, <<"x">>),
    receive after 50 -> ok end,
    Sent = socket:cancel(B, Other),
    {element(1, Again), Sent, receive {'$socket', _, select, Ref} -> left after 0 -> flushed end, socket:recv(B)}.

aborted() ->
    {_A, B} = pair(),
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {result, socket:recv(B)} end),
    receive after 20 -> ok end,
    ok = socket:close(B),
    receive {result, Result} -> {Result, is_pid(Pid)} end.

in_line() ->
    {A, B} = pair(),
    Self = self(),
    [begin
        spawn_link(fun() -> Self ! {N, socket:recv(B, 1)} end),
        receive after 20 -> ok end
    end || N <- lists:seq(1, 4)],
    ok = socket:send(A, <<"wxyz">>),
    [receive {N, Result} -> Result end || N <- lists:seq(1, 4)].

acceptors() ->
    {ok, L} = socket:open(inet, stream, tcp),
    ok = socket:bind(L, #{family => inet, addr => {127, 0, 0, 1}, port => 0}),
    ok = socket:listen(L, 10),
    {ok, Name} = socket:sockname(L),
    Self = self(),
    [begin
        spawn_link(fun() -> {ok, S} = socket:accept(L), {ok, D} = socket:recv(S), Self ! {N, D} end),
        receive after 20 -> ok end
    end || N <- lists:seq(1, 3)],
    #{num_acceptors := Waiting} = socket:info(L),
    [begin {ok, C} = socket:open(inet, stream), ok = socket:connect(C, Name), ok = socket:send(C, <<N>>) end || N <- lists:seq(1, 3)],
    {Waiting, [receive {N, D} -> D end || N <- lists:seq(1, 3)], socket:accept(L, 10), socket:accept(L, 0)}.

refused() ->
    {ok, S} = socket:open(inet, stream),
    ok = socket:bind(S, #{family => inet, addr => loopback, port => 0}),
    {ok, Name} = socket:sockname(S),
    {ok, C} = socket:open(inet, stream),
    {socket:connect(C, Name), socket:connect(C, Name, 100), socket:accept(S), socket:send(C, <<"x">>), socket:recv(C)}.

reset() ->
    {A, B} = pair(),
    ok = socket:setopt(A, {socket, linger}, #{onoff => true, linger => 0}),
    ok = socket:close(A),
    receive after 20 -> ok end,
    {socket:recv(B), socket:send(B, <<"x">>)}.

datagrams() ->
    {ok, A} = socket:open(inet, dgram, udp),
    {ok, B} = socket:open(inet, dgram),
    [ok = socket:bind(S, #{family => inet, addr => loopback}) || S <- [A, B]],
    {ok, NameA} = socket:sockname(A),
    {ok, NameB} = socket:sockname(B),
    ok = socket:sendto(A, <<"one">>, NameB),
    {ok, {NameA, One}} = socket:recvfrom(B),
    ok = socket:sendto(A, <<"">>, NameB),
    {ok, {NameA, Empty}} = socket:recvfrom(B),
    ok = socket:sendto(A, <<"too long">>, NameB),
    {ok, {NameA, Cut}} = socket:recvfrom(B, 3),
    ok = socket:connect(A, NameB),
    ok = socket:send(A, <<"two">>),
    {ok, Two} = socket:recv(B),
    {One, Empty, Cut, Two, socket:recvfrom(B, 0, 10), socket:recvfrom(B, 0, 0), socket:send(A, binary:copy(<<0>>, 70000))}.

messages() ->
    {ok, A} = socket:open(inet, dgram),
    {ok, B} = socket:open(inet, dgram),
    [ok = socket:bind(S, #{family => inet, addr => loopback}) || S <- [A, B]],
    {ok, NameA} = socket:sockname(A),
    {ok, NameB} = socket:sockname(B),
    ok = socket:sendmsg(A, #{addr => NameB, iov => [<<"ab">>, <<"cd">>]}),
    {ok, #{addr := NameA} = Message} = socket:recvmsg(B),
    ok = socket:sendmsg(A, #{addr => NameB, iov => [<<"longer">>]}),
    {ok, #{flags := Flags, iov := Cut}} = socket:recvmsg(B, 3, 0),
    {C, D} = pair(),
    ok = socket:sendmsg(C, #{iov => [<<"x">>, <<"y">>]}),
    {ok, Stream} = socket:recvmsg(D),
    {maps:remove(addr, Message), Flags, Cut, Stream, socket:recvmsg(D, 0, 0, [], 10)}.

%% A datagram that nobody takes comes back, with what the system says of it; a control message may be a number.
errors_of_messages() ->
    [begin
        {ok, S} = socket:open(Domain, dgram, udp),
        ok = socket:bind(S, #{family => Domain, addr => loopback}),
        ok = socket:setopt(S, {Level, recverr}, true),
        ok = socket:sendto(S, <<"ping">>, #{family => Domain, addr => loopback, port => 9}),
        Refused = socket:recvmsg(S, 5000),
        {ok, #{ctrl := Control, flags := Flags, iov := Vector}} = socket:recvmsg(S, [errqueue], 5000),
        {ok, Name} = socket:sockname(S),
        Sent = socket:sendmsg(S, #{addr => Name, iov => [<<"x">>], ctrl => [#{level => Level, type => Type, data => 1}]}),
        {Refused, Flags, Vector, [maps:without([data], Item) || Item <- Control], Sent, socket:recv(S, 0, 5000)}
    end || {Domain, Level, Type} <- [{inet, ip, tos}, {inet6, ipv6, tclass}]].

control() ->
    {ok, A} = socket:open(inet, dgram),
    {ok, B} = socket:open(inet, dgram),
    [ok = socket:bind(S, #{family => inet, addr => loopback}) || S <- [A, B]],
    {ok, NameB} = socket:sockname(B),
    [ok = socket:setopt(B, {ip, O}, true) || O <- [recvtos, recvttl, pktinfo]],
    ok = socket:setopt(B, {socket, timestamp}, true),
    ok = socket:sendmsg(A, #{addr => NameB, iov => [<<"x">>], ctrl => [#{level => ip, type => tos, value => reliability}]}),
    {ok, #{ctrl := Control}} = socket:recvmsg(B),
    ok = socket:sendmsg(A, #{addr => NameB, iov => [<<"x">>], ctrl => [#{level => ip, type => ttl, data => <<17:32/native>>}]}),
    {ok, #{ctrl := Again}} = socket:recvmsg(B),
    Shown = fun(Items) -> lists:sort([{Level, Type, if Type =:= timestamp -> lists:sort(maps:keys(Value)); true -> Value end}
                                      || #{level := Level, type := Type, value := Value} <- Items]) end,
    {Shown(Control), Shown(Again), catch socket:sendmsg(A, #{addr => NameB, iov => [<<"x">>], ctrl => [#{level => ip, type => nonsense, data => <<>>}]})}.

vectors() ->
    {A, B} = pair(),
    Vector = [<<I:16>> || I <- lists:seq(1, 3000)],
    spawn_link(fun() -> ok = socket:sendmsg(A, #{iov => Vector}) end),
    {ok, All} = socket:recv(B, 6000),
    All =:= iolist_to_binary(Vector).

local() ->
    Path = "/tmp/sockets-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])),
    {A, B} = pair(local, #{family => local, path => Path}),
    ok = socket:send(A, <<"local">>),
    {ok, Data} = socket:recv(B),
    {ok, #{path := Name}} = socket:sockname(B),
    ok = file:delete(Path),
    {Data, Name =:= list_to_binary(Path), socket:peername(B), socket:sockname(A)}.

local_datagrams() ->
    {ok, A} = socket:open(local, dgram),
    {ok, B} = socket:open(local, dgram),
    Name = #{family => local, path => <<0, "sockets", (list_to_binary(os:getpid()))/binary>>},
    ok = socket:bind(B, Name),
    ok = socket:sendto(A, <<"abstract">>, Name),
    {ok, {From, Data}} = socket:recvfrom(B),
    {ok, Name} = socket:sockname(B),
    {From, Data}.

inet6() ->
    {A, B} = pair(inet6, #{family => inet6, addr => loopback, port => 0}),
    ok = socket:send(A, <<"six">>),
    {ok, #{port := _} = Name} = socket:peername(B),
    {socket:recv(B), Name#{port := 0}, socket:getopt(A, {ipv6, v6only}), socket:setopt(A, {ipv6, v6only}, true)}.

options() ->
    {ok, S} = socket:open(inet, stream),
    Set = [{{socket, reuseaddr}, true}, {{socket, keepalive}, true}, {{socket, linger}, #{onoff => true, linger => 3}},
           {{socket, rcvbuf}, 65536}, {{socket, rcvbuf}, x}, {{socket, acceptconn}, true}, {{socket, oobinline}, 1},
           {{tcp, nodelay}, true}, {{tcp, cork}, true}, {{ip, tos}, lowdelay}, {{ip, tos}, 8}, {{ip, ttl}, 77}, {{ip, ttl}, 1000},
           {{ip, mtu_discover}, dont}, {{socket, bindtodevice}, "lo"}, {{socket, nonsense}, 1}, {{tcp, info}, 1}],
    Results = [{Option, Value, socket:setopt(S, Option, Value), socket:getopt(S, Option)} || {Option, Value} <- Set],
    {ok, U} = socket:open(inet, dgram),
    Group = #{multiaddr => {239, 1, 2, 3}, interface => {127, 0, 0, 1}},
    Groups = [socket:setopt(U, {ip, add_membership}, Group), socket:setopt(U, {ip, drop_membership}, Group),
              socket:setopt(U, {ip, drop_membership}, Group), socket:setopt(U, {ip, multicast_if}, {127, 0, 0, 1}),
              socket:getopt(U, {ip, multicast_if})],
    {Results, Groups, [socket:getopt(U, {socket, O}) || O <- [type, domain, protocol, broadcast]]}.

own_options() ->
    {ok, S} = socket:open(inet, stream),
    Set = [{debug, false}, {rcvbuf, 1000}, {rcvbuf, {3, 500}}, {rcvbuf, default}, {rcvctrlbuf, 100}, {sndctrlbuf, 100},
           {meta, {any, [term]}}, {rcvbuf, 0}, {rcvbuf, x}, {fd, 7}, {iow, true}],
    {[{O, V, catch socket:setopt(S, {otp, O}, V), socket:getopt(S, {otp, O})} || {O, V} <- Set, O =/= fd],
     socket:getopt(S, {otp, domain}), catch socket:getopt(S, {otp, nonsense})}.

native_options() ->
    {ok, S} = socket:open(inet, stream),
    {socket:setopt_native(S, {socket, 9}, <<1:32/native>>), socket:getopt_native(S, {socket, 9}, boolean),
     socket:getopt_native(S, {1, 9}, integer), socket:getopt_native(S, {socket, keepalive}, 4),
     socket:getopt_native(S, {socket, keepalive}, <<0, 0, 0, 0>>), socket:setopt_native(S, {6, 1}, true),
     socket:getopt(S, {tcp, nodelay}), socket:getopt_native(S, {socket, 9}, nonsense)}.

owner() ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> {A, B} = pair(), Self ! {pair, A, B}, receive stop -> ok end end),
    receive {pair, A, B} -> ok end,
    NotMine = socket:setopt(A, {otp, controlling_process}, self()),
    {select, {_, _, Ref}} = socket:recv(A, 0, [], nowait),
    Pid ! stop,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    Abort = receive {'$socket', _, abort, {Ref, Why}} -> Why after 1000 -> nothing end,
    {NotMine, Abort, socket:send(A, <<"x">>), socket:recv(B)}.

given_away() ->
    {A, B} = pair(),
    Self = self(),
    Other = spawn_link(fun() -> receive go -> Self ! {got, socket:getopt(A, {otp, controlling_process}) =:= {ok, self()}} end, receive stop -> ok end end),
    ok = socket:setopt(A, {otp, controlling_process}, Other),
    Other ! go,
    Got = receive {got, G} -> G end,
    Other ! stop,
    {Got, socket:recv(B), element(2, socket:recv(A))}.

waiting_ends() ->
    {A, B} = pair(),
    Pids = [begin P = spawn(fun() -> socket:recv(B) end), receive after 10 -> ok end, P end || _ <- [1, 2, 3]],
    Self = self(),
    spawn_link(fun() -> Self ! {last, socket:recv(B)} end),
    receive after 10 -> ok end,
    [exit(P, kill) || P <- Pids],
    receive after 20 -> ok end,
    ok = socket:send(A, <<"for the last">>),
    receive {last, Result} -> Result end.

sendfile() ->
    Path = "/tmp/sendfile-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])),
    Data = binary:copy(<<"0123456789">>, 200000),
    ok = file:write_file(Path, Data),
    {A, B} = pair(),
    Self = self(),
    spawn_link(fun() -> {ok, F} = file:open(Path, [read, raw, binary]), Self ! {sent, socket:sendfile(A, F), socket:sendfile(A, F, 5, 10), socket:sendfile(A, F, 1999990, 0)} end),
    {ok, All} = socket:recv(B, 2000000),
    {ok, Part} = socket:recv(B, 20),
    ok = file:delete(Path),
    receive {sent, R1, R2, R3} -> {All =:= Data, Part, R1, R2, R3} end.

flags() ->
    {A, B} = pair(),
    ok = socket:send(A, <<"abc">>, [more]),
    ok = socket:send(A, <<"d">>),
    {ok, Peeked} = socket:recv(B, 4, [peek]),
    {ok, Peeked} = socket:recv(B, 4),
    {Peeked, catch socket:recv(B, 0, [nonsense]), catch socket:send(A, <<"x">>, [nonsense])}.

counters() ->
    {A, B} = pair(),
    ok = socket:send(A, <<"abc">>),
    ok = socket:send(A, <<"de">>),
    receive after 20 -> ok end,
    {ok, _} = socket:recv(B, 5),
    #{counters := CA, wstates := _} = socket:info(A),
    #{counters := CB} = socket:info(B),
    Wanted = [write_byte, write_pkg, write_pkg_max, write_fails, read_byte, read_pkg, read_pkg_max, read_tries, read_fails],
    {maps:with(Wanted, CA), maps:with(Wanted, CB)}.

registry() ->
    {A, B} = pair(),
    Mine = length([S || S <- socket:which_sockets(), S =:= A orelse S =:= B]),
    {ok, C} = socket:open(inet, dgram, udp, #{use_registry => false}),
    Unknown = lists:member(C, socket:which_sockets()),
    [socket:close(S) || S <- [A, B, C]],
    receive after 20 -> ok end,
    {Mine, Unknown, length([S || S <- socket:which_sockets(), S =:= A orelse S =:= B]), is_integer(socket:number_of())}.

monitors() ->
    {A, B} = pair(),
    M1 = socket:monitor(A),
    M2 = socket:monitor(B),
    Cancelled = socket:cancel_monitor(M2),
    ok = socket:close(A),
    ok = socket:close(B),
    {receive {'DOWN', M1, socket, A, Why} -> Why after 1000 -> nothing end, Cancelled,
     receive {'DOWN', M2, _, _, _} -> told after 20 -> not_told end,
     receive {'DOWN', _, socket, _, _} -> again after 0 -> once end}.

bad() ->
    {ok, S} = socket:open(inet, stream),
    [catch socket:open(nonsense, stream), catch socket:open(inet, nonsense), catch socket:open(inet, stream, nonsense),
     socket:bind(S, #{family => inet, addr => {1, 2, 3}}), socket:bind(S, #{family => inet6, addr => any}),
     socket:bind(S, #{family => inet, nonsense => 1}), socket:bind(S, #{family => local, path => lists:duplicate(200, $x)}),
     socket:connect(S, #{family => inet, addr => x, port => 1}), catch socket:connect(S), socket:peername(S),
     catch prim_socket:nif_close(make_ref()), catch socket:recv(S, -1), socket:listen(S, 5), catch socket:shutdown(S, nonsense),
     catch socket:cancel(S, {select_info, recv, make_ref()}), catch socket:send(S, x)].

closed() ->
    {ok, S} = socket:open(inet, stream),
    ok = socket:close(S),
    [socket:close(S), socket:bind(S, any), socket:listen(S), socket:accept(S), socket:recv(S), socket:send(S, <<"x">>),
     socket:sockname(S), socket:peername(S), socket:getopt(S, {socket, type}), socket:setopt(S, {socket, reuseaddr}, true),
     socket:shutdown(S, read), socket:getopt(S, {otp, domain}), socket:cancel(S, {select_info, recv, make_ref()})].

shut_down() ->
    {A, B} = pair(),
    ok = socket:shutdown(A, write),
    Ended = socket:recv(B),
    ok = socket:send(B, <<"still">>),
    {Ended, socket:recv(A), socket:send(A, <<"x">>), socket:shutdown(A, read), socket:shutdown(B, read_write)}.

descriptor() ->
    {A, B} = pair(),
    {ok, Fd} = socket:getopt(A, {otp, fd}),
    {ok, Copy} = socket:open(Fd),
    ok = socket:close(A),
    ok = socket:send(Copy, <<"copy">>),
    #{domain := D, type := T, protocol := P} = socket:info(Copy),
    {socket:recv(B), D, T, P, socket:open(9999)}.

%% More than fits in the buffers of the system.
much() ->
    {A, B} = pair(),
    Data = rand:bytes(5000000),
    Self = self(),
    spawn_link(fun() -> Self ! {sent, socket:send(A, Data)}, receive stop -> ok end end),
    Reader = fun Reader(Got, Left) when Left =< 0 -> iolist_to_binary(lists:reverse(Got));
                 Reader(Got, Left) -> {ok, Bytes} = socket:recv(B), Reader([Bytes | Got], Left - byte_size(Bytes))
             end,
    Same = Reader([], 5000000) =:= Data,
    {select, {_, Rest}} = fill(A, Data, nowait),
    {Same, receive {sent, Sent} -> Sent end, byte_size(Rest) < byte_size(Data),
     begin
         spawn_link(fun() -> Reader([], 100000000) end),
         %% On a busy machine the time may be over when all is sent.
         case socket:send(A, Data, 1) of ok -> sent_or_not; {error, _} -> sent_or_not end
     end}.

fill(S, Data, How) ->
    case socket:send(S, Data, How) of
        ok -> fill(S, Data, How);
        Other -> Other
    end.

net_() ->
    {ok, Host} = net:gethostname(),
    {ok, Interfaces} = net:getifaddrs(),
    {ok, Info} = net:getaddrinfo("127.0.0.1"),
    {ok, Names} = net:if_names(),
    {Index, Name} = hd(Names),
    {Host, lists:sort(Interfaces), lists:sort(Info), Names, net:if_index2name(Index), net:if_name2index(Name), net:if_name2index("nonsense"),
     net:getnameinfo(#{family => inet, port => 80, addr => {127, 0, 0, 1}}, [numerichost, numericserv]),
     net:getaddrinfo("no.such.host.invalid"), net:getifaddrs(inet)}.

gen_tcp_on_socket() ->
    {ok, L} = gen_tcp:listen(0, [{inet_backend, socket}, binary, {packet, 2}, {active, false}, {ip, loopback}]),
    {ok, Port} = inet:port(L),
    Self = self(),
    spawn_link(fun() -> {ok, S} = gen_tcp:accept(L), {ok, D} = gen_tcp:recv(S, 0), ok = gen_tcp:send(S, [D, D]), Self ! {closed, gen_tcp:recv(S, 0)} end),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, socket}, binary, {packet, 2}, {active, false}]),
    ok = gen_tcp:send(C, "abc"),
    {ok, Twice} = gen_tcp:recv(C, 0),
    {ok, {{127, 0, 0, 1}, Port}} = inet:peername(C),
    Options = inet:getopts(C, [active, packet, mode, nodelay]),
    Late = gen_tcp:recv(C, 0, 10),
    ok = gen_tcp:close(C),
    {Twice, Options, Late, receive {closed, Why} -> Why end, gen_tcp:connect({127, 0, 0, 1}, 1, [{inet_backend, socket}], 1000)}.

gen_tcp_active() ->
    {ok, L} = gen_tcp:listen(0, [{inet_backend, socket}, binary, {packet, line}, {active, true}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, socket}, list, {active, once}]),
    {ok, S} = gen_tcp:accept(L),
    ok = gen_tcp:send(C, "one\ntwo\nthr"),
    Lines = [receive {tcp, S, Line} -> Line end || _ <- [1, 2]],
    ok = gen_tcp:send(S, <<"answer">>),
    Answer = receive {tcp, C, Data} -> Data end,
    ok = gen_tcp:send(S, <<"more">>),
    Quiet = receive {tcp, C, _} -> noise after 20 -> quiet end,
    ok = inet:setopts(C, [{active, once}]),
    More = receive {tcp, C, Next} -> Next after 1000 -> nothing end,
    ok = gen_tcp:close(C),
    {Lines, Answer, Quiet, More, receive {tcp, S, Rest} -> Rest after 1000 -> nothing end,
     receive {tcp_closed, S} -> closed after 1000 -> nothing end}.

gen_udp_on_socket() ->
    {ok, A} = gen_udp:open(0, [{inet_backend, socket}, binary, {active, true}, {ip, {127, 0, 0, 1}}]),
    {ok, B} = gen_udp:open(0, [{inet_backend, socket}, list, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, PortA} = inet:port(A),
    {ok, PortB} = inet:port(B),
    ok = gen_udp:send(B, {127, 0, 0, 1}, PortA, "to a"),
    ToA = receive {udp, A, {127, 0, 0, 1}, PortB, Data} -> Data after 1000 -> nothing end,
    ok = gen_udp:send(A, {127, 0, 0, 1}, PortB, <<"to b">>),
    {ok, {{127, 0, 0, 1}, PortA, ToB}} = gen_udp:recv(B, 0, 1000),
    {ToA, ToB, gen_udp:recv(B, 0, 10)}.

%% It accepts as long as somebody waits for a connection.
accepting() ->
    {ok, L} = socket:open(inet, stream, tcp),
    ok = socket:bind(L, #{family => inet, addr => {127, 0, 0, 1}, port => 0}),
    ok = socket:listen(L),
    {ok, #{port := Port}} = socket:sockname(L),
    Self = self(),
    States = fun() -> maps:get(rstates, socket:info(L)) end,
    spawn_link(fun() -> Self ! {accepted, socket:accept(L)}, receive stop -> ok end end),
    Waits = fun Wait() -> case lists:member(accepting, States()) of true -> States(); false -> receive after 1 -> Wait() end end end,
    Before = Waits(),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
    receive {accepted, {ok, _}} -> ok end,
    After = States(),
    ok = gen_tcp:close(C),
    {Before, After}.
