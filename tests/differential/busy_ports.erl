%% A port whose program does not read: those who write are suspended, reported, and go on when the port is closed.
-module(busy_ports).
-export([main/0]).

main() ->
    erlang:system_monitor(self(), [busy_port]),
    [io:format("~p: ~p~n", [Name, written(Fun)]) || {Name, Fun} <-
        [{command, fun(_, Port, Data) -> erlang:port_command(Port, Data) end},
         {message, fun(Owner, Port, Data) -> Port ! {Owner, {command, Data}}, true end}]],
    Port = open_port({spawn, "sleep 30"}, []),
    fill(Port),
    io:format("nosuspend: ~p~n", [erlang:port_command(Port, "x", [nosuspend])]),
    port_close(Port).

%% A process that owns the port writes until it is suspended.
written(Write) ->
    Self = self(),
    {Writer, Ref} = spawn_monitor(fun() ->
        Port = open_port({spawn, "sleep 30"}, []),
        Self ! {port, Port},
        write(fun(Data) -> Write(self(), Port, Data) end)
    end),
    Port = receive {port, Opened} -> Opened end,
    Report = receive {monitor, Writer, busy_port, Port} -> reported after 10000 -> nothing end,
    Status = process_info(Writer, status),
    unlink_and_close(Port),
    {Report, Status, receive {'DOWN', Ref, process, _, Reason} -> kind(Reason) after 10000 -> hangs end}.

write(Write) -> true = Write(binary:copy(<<"x">>, 10000)), write(Write).

unlink_and_close(Port) -> exit(Port, kill).

%% One that calls gets an error, one that sends is ended by the link.
kind({Reason, _}) -> Reason;
kind(Reason) -> Reason.

fill(Port) ->
    case erlang:port_command(Port, binary:copy(<<"x">>, 10000), [nosuspend]) of true -> fill(Port); false -> ok end.
