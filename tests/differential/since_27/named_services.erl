%% Ports of services by name, and back: as `inet` has them, whatever services the system knows.
-module(named_services).
-export([main/0]).

main() ->
    Known = [{Name, Protocol} || Name <- ["http", "domain", "snmp", "nosuchservice"], Protocol <- [tcp, udp]],
    io:format("~p~n", [[is_alike(Name, Protocol) || {Name, Protocol} <- Known]]),
    Long = [lists:duplicate(255, $x), lists:duplicate(256, $x), list_to_atom(lists:duplicate(128, $x))],
    io:format("~p~n", [[net:getservbyname(Name, tcp) || Name <- ["", [0], [300], [a] | Long]]]),
    io:format("~p~n", [[net:getservbyname("http", Protocol) || Protocol <- [nosuchprotocol, '', list_to_atom(lists:duplicate(255, $p))]]]),
    io:format("~p~n", [[net:getservbyport(Port, nosuchprotocol) || Port <- [80, -1, 1 bsl 32, 1 bsl 70]]]).

is_alike(Name, Protocol) ->
    Port = net:getservbyname(Name, Protocol),
    Port =:= inet:getservbyname(Name, Protocol) andalso comes_back(Name, Protocol, Port).

comes_back(Name, Protocol, {ok, Port}) ->
    %% Only the lowest bits of the number count.
    {ok, Name} =:= net:getservbyport(Port, Protocol) andalso {ok, Name} =:= net:getservbyport(65536 + Port, Protocol) andalso
        element(1, net:getservbyname(Name)) =:= ok;
comes_back(Name, Protocol, Unknown) ->
    Unknown =:= net:getservbyname(list_to_atom(Name), Protocol).
