%% What runtime_tools brings: dyntrace's native functions, and the linked-in drivers that write traces.
-module(trace_libraries).
-export([main/0]).

main() ->
    {module, dyntrace} = code:ensure_loaded(dyntrace),
    io:format("~p~n", [[dyntrace:available(), dyntrace:user_trace_s1("text"), dyntrace:put_tag(<<"tag">>), dyntrace:get_tag(), dyntrace:p(1, "a")]]),
    Port = (dbg:trace_port(file, "trace_libraries.log"))(),
    {name, Name} = erlang:port_info(Port, name),
    io:format("~s~n", [hd(string:lexemes(Name, " "))]),
    %% What the machine would write of a traced process.
    [true = port_command(Port, term_to_binary({trace, self(), event, Number})) || Number <- [1, 2, 3]],
    io:format("~p~n", [port_close(Port)]),
    Self = self(),
    Reader = dbg:trace_client(file, "trace_libraries.log", {fun(Event, Events) -> keep(Self, Event, Events) end, []}),
    Done = monitor(process, Reader),
    receive {events, Events} -> io:format("~p~n", [[Number || {trace, By, event, Number} <- Events, By =:= Self]]) end,
    receive {'DOWN', Done, process, _, _} -> ok end,
    ok = file:delete("trace_libraries.log").

keep(To, end_of_trace, Events) -> To ! {events, lists:reverse(Events)}, [];
keep(_, Event, Events) -> [Event | Events].
