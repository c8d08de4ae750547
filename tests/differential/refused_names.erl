%% Why a process or port does not get a name, in the error and in words.
-module(refused_names).
-export([main/0]).

main() ->
    Named = spawn(fun idle/0),
    Other = spawn(fun idle/0),
    {Gone, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    Port = open_port({spawn, "cat"}, []),
    Closed = open_port({spawn, "cat"}, []),
    port_close(Closed),
    true = register(named, Named),
    true = register(a_port, Port),
    [refused(What, Name, Object) || {What, Name, Object} <-
        [{undefined, undefined, Other}, {no_atom, "name", Other}, {no_object, name, nobody}, {taken, named, Other},
         {by_init, init, self()}, {has_name, other, Named}, {has_it, named, Named}, {gone, name, Gone},
         {port_has_name, name, Port}, {closed, name, Closed}, {port_taken, named, open_port({spawn, "cat"}, [])}]],
    true = register(own, self()),
    refused(self_has_name, other, self()).

refused(What, Name, Object) ->
    try register(Name, Object) of
        true -> io:format("~p: registered~n", [What])
    catch
        error:Reason:Trace ->
            [{_, _, _, Info} | _] = Trace,
            io:format("~p: ~p ~p ~p~n", [What, Reason, lists:sort(maps:to_list(proplists:get_value(error_info, Info))),
                                         lists:sort(maps:to_list(erl_erts_errors:format_error(Reason, Trace)))])
    end.

idle() -> receive stop -> ok end.
