%% When ports run, as told to who traces them with running_ports, and processes that have them run (running_procs).
-module(running_ports).
-export([main/0]).

main() ->
    Tracer = spawn_link(fun() -> collect([]) end),
    Cat = open_port({spawn, "cat"}, [binary]),
    io:format("~p~n", [erlang:trace(Cat, true, [running_ports, ports, send, 'receive', {tracer, Tracer}])]),
    io:format("~p~n", [lists:sort(element(2, erlang:trace_info(Cat, flags)))]),
    port_command(Cat, "one"),
    receive {Cat, {data, <<"one">>}} -> ok end,
    Cat ! {self(), {command, "two"}},
    receive {Cat, {data, <<"two">>}} -> ok end,
    [catch Fun() || Fun <- [fun() -> port_control(Cat, 1, <<"x">>) end, fun() -> erlang:port_call(Cat, 1, x) end]],
    erlang:port_info(Cat),
    erlang:port_info(Cat, name),
    port_close(Cat),
    show(Tracer, Cat),
    %% A process is out while it has a port run.
    Ram = open_port({spawn_driver, "ram_file_drv"}, [binary]),
    Pid = spawn_link(fun() ->
        receive go -> ok end,
        Ram ! {self(), {command, "no"}},
        port_control(Ram, 9, <<>>)
    end),
    erlang:trace(Pid, true, [running_procs, {tracer, Tracer}]),
    erlang:trace(Ram, true, [running_ports, {tracer, Tracer}]),
    process_flag(trap_exit, true),
    Pid ! go,
    receive {'EXIT', Pid, _} -> ok end,
    Delivered = erlang:trace_delivered(all),
    receive {trace_delivered, all, Delivered} -> ok end,
    Tracer ! {events, self()},
    Events = receive {events, Told} -> Told end,
    io:format("~p~n", [around(Ram, Pid, Events)]),
    erlang:trace(Ram, false, [all]),
    port_close(Ram),
    %% What the flag asks for where processes are meant, too.
    io:format("~p~n", [[erlang:trace(Whom, true, [running_ports, running_procs]) > 0 || Whom <- [existing, all]]]),
    erlang:trace(all, false, [all]).

%% The turns of a port, each with what is told of the process before and after it.
around(Port, Pid, [{trace, Pid, Before, _}, {trace, Port, in, What}, {trace, Port, out, What}, {trace, Pid, After, _} | Rest]) ->
    [{Before, What, After} | around(Port, Pid, Rest)];
around(Port, Pid, [_ | Rest]) -> around(Port, Pid, Rest);
around(_, _, []) -> [].

show(Tracer, Port) ->
    Delivered = erlang:trace_delivered(all),
    receive {trace_delivered, all, Delivered} -> ok end,
    Tracer ! {events, self()},
    receive {events, Events} -> ok end,
    io:format("~p~n", [hd(named(Port, self(), Events))]),
    io:format("~p~n", [[Event || Event <- named(Port, self(), Events), tuple_size(Event) =:= 2, not lists:member(element(1, Event), [in, out])]]),
    io:format("~p~n", [alternate([Way || {trace, _, Way, _} <- Events, Way =:= in orelse Way =:= out])]).

alternate([in, out | Rest]) -> alternate(Rest);
alternate(Rest) -> Rest.

named(Port, Self, Events) ->
    [case Event of
        {trace, Port, Way, {Self, What}} -> {Way, What};
        {trace, Port, Way, What} -> {Way, What};
        {trace, Port, send, {Port, Sent}, Self} -> {send, Sent}
    end || Event <- Events].

collect(Events) ->
    receive
        {events, From} -> From ! {events, lists:reverse(Events)}, collect([]);
        Event -> collect([Event | Events])
    end.
