%% Tracing of ports: what they are sent and send, their links, names and ends.
-module(port_tracing).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Tracer = spawn_link(fun() -> collect([]) end),
    io:format("~p~n", [[erlang:trace(new_ports, true, [Flag, {tracer, Tracer}]) || Flag <- [send, 'receive', ports]]]),
    io:format("~p~n", [erlang:trace_info(new_ports, flags)]),
    Port = open_port({spawn_driver, "ram_file_drv"}, [binary]),
    io:format("~p~n", [erlang:trace_info(Port, flags)]),
    io:format("~p~n", [erlang:trace_info(Port, tracer) =:= {tracer, Tracer}]),
    register(a_port, Port),
    unregister(a_port),
    link(Port), unlink(Port), link(Port),
    port_close(Port),
    show(Tracer, Port),
    io:format("~p~n", [erlang:trace_info(Port, flags)]),
    erlang:trace(new_ports, false, [all]),
    io:format("~p~n", [erlang:trace_info(new_ports, flags)]),
    Cat = open_port({spawn, "cat"}, [binary, stream]),
    1 = erlang:trace(Cat, true, [send, 'receive', {tracer, Tracer}]),
    Cat ! {self(), {command, "one"}},
    receive {Cat, {data, <<"one">>}} -> ok end,
    port_command(Cat, [<<"t">>, "wo"]),
    receive {Cat, {data, <<"two">>}} -> ok end,
    port_close(Cat),
    show(Tracer, Cat),
    io:format("~p~n", [catch_error(fun() -> erlang:trace(Cat, true, [send]) end)]),
    % Another than the tracer cannot trace it as well.
    Other = open_port({spawn_driver, "ram_file_drv"}, [binary]),
    1 = erlang:trace(Other, true, [send, {tracer, Tracer}]),
    io:format("~p~n", [catch_error(fun() -> erlang:trace(Other, true, [send]) end)]),
    1 = erlang:trace(Other, false, [all]),
    io:format("~p~n", [erlang:trace_info(Other, flags)]),
    [N1, N2] = [erlang:trace(W, true, [ports]) || W <- [existing_ports, ports]],
    io:format("~p~n", [N1 =:= N2 andalso N1 > 0]),
    0 = erlang:trace(existing_ports, true, [procs]),
    io:format("~p~n", [erlang:trace_info(Other, flags)]),
    erlang:trace(ports, false, [all]),
    % A port as tracer is given the external format.
    To = open_port({spawn, "cat"}, [binary, {packet, 2}]),
    Traced = spawn(fun() -> receive go -> self() ! hello end, receive never -> ok end end),
    1 = erlang:trace(Traced, true, [send, {tracer, To}]),
    io:format("~p~n", [erlang:trace_info(Traced, tracer) =:= {tracer, To}]),
    Traced ! go,
    receive {To, {data, Bytes}} -> io:format("~p~n", [binary_to_term(Bytes) =:= {trace, Traced, send, hello, Traced}]) end,
    port_close(To),
    io:format("~p~n", [erlang:trace_info(Traced, tracer)]).

show(Tracer, Port) ->
    Tracer ! {get, self()},
    Me = self(),
    receive {events, Events} -> [io:format("  ~p~n", [nice(Event, Port, Me)]) || Event <- Events] end.
nice(Port, Port, _) -> port;
nice(Me, _, Me) -> me;
nice(T, Port, Me) when is_tuple(T) -> list_to_tuple([nice(E, Port, Me) || E <- tuple_to_list(T)]);
nice(Other, _, _) when is_pid(Other); is_port(Other) -> other;
nice(T, _, _) -> T.
collect(Events) ->
    receive {get, From} -> From ! {events, lists:reverse(Events)}, collect([]);
            Event -> collect([Event | Events]) end.
catch_error(Fun) -> try Fun() catch error:Reason -> {error, Reason} end.
