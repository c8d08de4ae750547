%% An environment that is more than a program takes, and iodata that is more than there is memory for.
-module(too_much).
-export([main/0]).

main() ->
    io:format("~p~n", [[status(Bytes) || Bytes <- [10, 200000]]]),
    Half = binary:copy(<<0>>, 1 bsl 20),
    Size = fun S(0) -> Half; S(N) -> L = S(N - 1), [L, L] end,
    io:format("~p~n", [[iolist_size(Size(N)) || N <- [0, 1, 20]]]).

status(Bytes) ->
    Port = open_port({spawn, "true"}, [exit_status, {env, [{"LONG", lists:duplicate(Bytes, $a)}]}]),
    receive {Port, {exit_status, Status}} -> Status after 5000 -> none end.
