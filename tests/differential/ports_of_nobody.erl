%% Ports of this node that nobody has opened: numbers up to the largest, and earlier incarnations of the node.
-module(ports_of_nobody).
-export([main/0]).

main() ->
    Here = erlang:system_info(creation),
    Given = [1 bsl 20 + 3, (1 bsl 28) - 1, 1 bsl 28, (1 bsl 32) + 5, (1 bsl 58) - 1, 1 bsl 58, (1 bsl 60) - 1, 1 bsl 60, (1 bsl 64) - 1],
    Ports = [P || Number <- Given, P <- [port(Number, Here)], is_port(P)],
    io:format("~p~n", [[number(P) || P <- Ports]]),
    io:format("~p~n", [[number(port(Number, Here + 1)) || Number <- Given]]),
    io:format("~p~n", [[t(fun() -> list_to_port("#Port<0." ++ integer_to_list(N) ++ ">") end) =:= port(N, Here) || N <- Given]]),
    io:format("~p~n", [lists:usort([{binary_to_term(term_to_binary(P)) =:= P, list_to_port(port_to_list(P)) =:= P, node(P), hd([P]) < Q} || P <- Ports, Q <- [self()]])]),
    io:format("~p~n", [[number(P) || P <- lists:sort(lists:reverse(Ports) ++ [port(N, Here + 1) || N <- Given])]]),
    io:format("~p~n", [[erlang:phash2(P) || P <- Ports]]),
    io:format("~w~n", [[term_to_binary(P) || P <- Ports]]),
    io:format("~p~n", [[erlang:external_size(P) || P <- Ports]]),
    io:format("~p~n", [map_size(maps:from_list([{P, P} || P <- Ports]))]),
    [io:format("~p~n", [[t(fun() -> F(Port) end) || F <- [fun erlang:port_info/1, fun(P) -> erlang:port_info(P, name) end, fun(P) -> P ! hello end,
        fun link/1, fun unlink/1, fun erlang:port_close/1, fun(P) -> port_command(P, "x") end, fun(P) -> port_control(P, 1, "x") end,
        fun(P) -> port_connect(P, self()) end, fun(P) -> exit(P, kill) end, fun(P) -> register(nobody, P) end,
        fun(P) -> erlang:send_after(0, P, hello) end,
        fun(P) -> is_tuple(P ! {self(), close}) end, fun erlang:is_port/1,
        fun(P) -> erlang:send(P, {self(), {command, "x"}}, [noconnect]) end]]]) || Port <- [hd(Ports), lists:last(Ports)]],
    process_flag(trap_exit, true),
    [begin
        Ref = monitor(port, Port),
        receive {'DOWN', Ref, port, Down, Why} -> io:format("~p ~p~n", [Down =:= Port, Why]) end,
        true = link(Port),
        receive {'EXIT', From, Reason} -> io:format("~p ~p~n", [From =:= Port, Reason]) end
    end || Port <- [hd(Ports), lists:last(Ports)]].

port(Number, Creation) ->
    t(fun() -> binary_to_term(<<131, $x, 119, 13, "nonode@nohost", Number:64, Creation:32>>) end).

%% As it is printed: the test takes what looks like a port out of what is printed.
number(Port) -> list_to_integer(lists:nth(2, string:lexemes(lists:flatten(io_lib:format("~p", [Port])), ".>"))).

t(F) -> try F() catch C:E -> {C, E} end.
