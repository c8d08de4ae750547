%% A packet that would not fit into a buffer behind the one before it.
-module(tcp_large_packet).
-export([main/0]).

main() ->
    {ok, L} = gen_tcp:listen(0, [{packet, 4}, {active, true}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary]),
    {ok, A} = gen_tcp:accept(L),
    ok = gen_tcp:send(C, <<4:32, 1, 2, 3, 4, 16#7FFF_FFFB:32, 0:(8 * 65536)>>),
    [io:format("~p~n", [told(A)]) || _ <- lists:seq(1, 3)],
    gen_tcp:close(C),
    gen_tcp:close(L).

told(Socket) ->
    receive
        {tcp, Socket, Data} -> Data;
        {tcp_error, Socket, Reason} -> Reason;
        {tcp_closed, Socket} -> closed
    end.
