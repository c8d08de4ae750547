%% Two nodes of one `global_group`, as the `kernel` parameter `global_groups` of both says.
-module(groups).
-export([main/1]).

main(Peer) ->
    wait(fun() -> {Peer, lists:sort(global_group:own_nodes())} end, {Peer, lists:sort([node(), Peer])}),
    io:format("~p~n", [global_group:global_groups()]),
    yes = global:register_name(in_the_group, self()),
    wait(fun() -> rpc:call(Peer, global_group, whereis_name, [in_the_group]) end, self()),
    rpc:call(Peer, global_group, send, [{group, one}, in_the_group, a_message]),
    receive a_message -> io:format("received~n") after 10000 -> io:format("a message hangs: ~p~n", [x]) end,
    io:format("~p~n", [[rpc:call(Peer, global_group, registered_names, [Where]) || Where <- [{group, one}, {node, node()}]]]),
    Info = global_group:info(),
    io:format("~p~n", [[proplists:get_value(Key, Info) || Key <- [state, own_group_name, other_groups]]]).

wait(Ask, Expected) -> wait(Ask, Expected, 300).
wait(Ask, Expected, 0) -> io:format("~p hangs: ~p~n", [Expected, Ask()]);
wait(Ask, Expected, Tries) ->
    case Ask() of Expected -> ok; _ -> timer:sleep(50), wait(Ask, Expected, Tries - 1) end.
