%% file:sendfile/2,5 to sockets of gen_tcp, with data in front and behind; descriptors given to a second port.
-module(sendfile).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Path = "/tmp/sendfile-" ++ os:getpid(),
    Data = binary:copy(<<"0123456789abcdef">>, 200000),
    ok = file:write_file(Path, Data),
    {C, S} = pair([binary, {packet, raw}, {active, false}]),
    Self = self(),
    Reader = spawn_link(fun() ->
        receive go -> ok end,
        {ok, All} = gen_tcp:recv(S, byte_size(Data) + 4),
        {ok, Parts} = gen_tcp:recv(S, 22),
        Self ! {read, All =:= <<"head", Data/binary>>, Parts, gen_tcp:recv(S, 0)}
    end),
    ok = gen_tcp:controlling_process(S, Reader),
    Reader ! go,
    ok = gen_tcp:send(C, "head"),
    Whole = file:sendfile(Path, C),
    {ok, F} = file:open(Path, [read, raw, binary]),
    Parts = [file:sendfile(F, C, 5, 10, []), file:sendfile(F, C, byte_size(Data) - 3, 0, []), file:sendfile(F, C, byte_size(Data), 10, []),
             gen_tcp:send(C, "123456789"), file:sendfile(F, C, -1, 10, [])],
    ok = gen_tcp:shutdown(C, write),
    io:format("~p ~p~n", [Whole, Parts]),
    receive {read, Same, Rest, Ended} -> io:format("~p ~p ~p~n", [Same, Rest, Ended]) end,
    %% A peer that goes away.
    {C2, S2} = pair([binary, {active, false}]),
    ok = gen_tcp:close(S2),
    receive after 50 -> ok end,
    file:sendfile(F, C2, 0, 100000, []),
    receive after 50 -> ok end,
    io:format("~p~n", [file:sendfile(F, C2, 0, 100000, [])]),
    ok = file:delete(Path),
    %% Two ports with one descriptor.
    {C3, S3} = pair([binary, {active, false}]),
    {ok, Fd} = prim_inet:getfd(S3),
    {ok, Second} = gen_tcp:fdopen(Fd, [binary, {active, false}]),
    ok = gen_tcp:send(C3, "to the second"),
    {ok, Got} = gen_tcp:recv(Second, 13, 2000),
    ok = gen_tcp:send(Second, "back"),
    io:format("~p ~p~n", [Got, gen_tcp:recv(C3, 4, 2000)]),
    ok = gen_tcp:close(C3),
    io:format("~p ~p~n", [gen_tcp:recv(S3, 1, 2000), gen_tcp:close(Second)]).

pair(Options) ->
    {ok, L} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Options]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    {ok, S} = gen_tcp:accept(L),
    ok = gen_tcp:close(L),
    {C, S}.
