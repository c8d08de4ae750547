%% When a sender waits for room in a socket's queue, and when it is told that there is none.
-module(tcp_watermarks).
-export([main/0]).

-define(MB, 1048576).

main() ->
    limits(),
    waiting(),
    sizes().

%% A connection that nobody reads from: the system takes a part of the first megabyte.
connection(Options) ->
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {recbuf, 65536}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {sndbuf, 65536}, {high_watermark, 3 * ?MB div 2} | Options]),
    {ok, A} = gen_tcp:accept(L),
    gen_tcp:close(L),
    ok = gen_tcp:send(C, binary:copy(<<1>>, ?MB)),
    {C, A}.

limits() ->
    {C, A} = connection([{send_timeout, 200}]),
    io:format("below the watermark: ~p~n", [gen_tcp:send(C, binary:copy(<<2>>, 1000))]),
    io:format("over it: ~p~n", [gen_tcp:send(C, binary:copy(<<3>>, ?MB))]),
    io:format("when it was over: ~p~n", [[gen_tcp:send(C, binary:copy(<<4>>, 1000)) || _ <- lists:seq(1, 5)]]),
    %% What could not be sent in time is sent all the same.
    io:format("received: ~p~n", [{ok, 2 * ?MB + 6000} =:= length_of(gen_tcp:recv(A, 2 * ?MB + 6000))]),
    io:format("afterwards: ~p~n", [gen_tcp:send(C, "x")]),
    gen_tcp:close(C),
    gen_tcp:close(A).

waiting() ->
    {C, A} = connection([]),
    Self = self(),
    io:format("nobody waits: ~p~n", [prim_inet:send(C, "x", [nosuspend])]),
    Sender = spawn_link(fun() -> Self ! {self(), gen_tcp:send(C, binary:copy(<<5>>, ?MB))} end),
    until(fun() -> {ok, [{send_pend, Pending}]} = inet:getstat(C, [send_pend]), Pending > 3 * ?MB div 2 end),
    io:format("somebody waits: ~p~n", [prim_inet:send(C, "x", [nosuspend])]),
    io:format("told: ~p~n", [receive {Sender, Early} -> Early after 100 -> nothing end]),
    io:format("received: ~p~n", [{ok, 2 * ?MB + 1} =:= length_of(gen_tcp:recv(A, 2 * ?MB + 1))]),
    io:format("told: ~p~n", [receive {Sender, Late} -> Late end]),
    gen_tcp:close(C),
    gen_tcp:close(A).

%% The driver's buffer grows with the system's, but for one whose size was asked for.
sizes() ->
    {ok, Given} = gen_tcp:listen(0, [{buffer, 12345}, {recbuf, 54321}]),
    {ok, Other} = gen_tcp:listen(0, [{recbuf, 54321}]),
    {ok, Port} = inet:port(Given),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
    {ok, A} = gen_tcp:accept(Given),
    io:format("~p ~p ~p~n", [inet:getopts(S, [buffer]) || S <- [Given, Other, A]]),
    ok = inet:setopts(A, [{recbuf, 54321}]),
    io:format("a connection's own: ~p~n", [inet:getopts(A, [buffer])]),
    [gen_tcp:close(S) || S <- [Given, Other, A, C]].

length_of({ok, Data}) -> {ok, byte_size(Data)};
length_of(Error) -> Error.

until(Fun) ->
    case Fun() of
        true -> ok;
        false -> timer:sleep(10), until(Fun)
    end.
