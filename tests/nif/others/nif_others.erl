%% Calls the library nif_others.so, which lies in the current folder.
-module(nif_others).
-export([main/0]).
-compile({no_auto_import, [monitor/2]}).
-export([kinds/1, turned/1, names/0, maps/1, copies/1, newer/1, queue/1, identities/2, open_pipe/1, monitor/2, close_pipe/1, threads/0,
         system/1]).
-on_load(init/0).

init() -> erlang:load_nif("./nif_others", 0).

main() ->
    Port = open_port({spawn, "cat"}, [{line, 80}]),
    Terms = [a, <<"b">>, [], fun lists:map/2, [x], #{}, 1, 1.5, self(), Port, make_ref(), {}, <<1:3>>],
    show("kinds", [kinds(Term) || Term <- Terms]),
    show("turned", [turned(Term) || Term <- [{1, b}, [1, b], atom, {}, []]]),
    show("not turned", catch_of(fun() -> turned([a | b]) end)),
    show("names", catch_of(fun() -> names() end)),
    show("maps", [maps(Key) || Key <- [<<"k">>, {1}, a]]),
    {Copy, Ref, Unique} = copies({<<"bytes">>, [1.5, #{a => self()}], 1 bsl 100}),
    show("copies", [Copy =:= {<<"bytes">>, [1.5, #{a => self()}], 1 bsl 100}, is_reference(Ref), Unique > 0]),
    show("newer", newer("text")),
    show("queue", queue([<<"ab">>, binary:copy(<<"c">>, 100)])),
    register(nif_others_process, self()),
    show("identities", identities(self(), Port)),
    show("port", receive {Port, Data} -> Data after 5000 -> nothing end),
    port_close(Port),
    {Pipe, Size, Selected} = open_pipe({readable, [1]}),
    show("select", [Size, Selected, receive {readable, _} = Message -> Message after 5000 -> nothing end]),
    Other = spawn(fun() -> receive stop -> ok end end),
    show("monitor", monitor(Pipe, Other)),
    show("stop", close_pipe(Pipe)),
    show("threads", threads()),
    os:putenv("NIF_OTHERS", "value"),
    show("system", system({term, [1, "s"], <<"b">>})).

show(Name, Value) -> io:format("~s: ~tp~n", [Name, Value]).

catch_of(Fun) ->
    try
        Fun()
    catch
        Class:Reason -> {Class, Reason}
    end.

kinds(_) -> erlang:nif_error(not_loaded).
turned(_) -> erlang:nif_error(not_loaded).
names() -> erlang:nif_error(not_loaded).
maps(_) -> erlang:nif_error(not_loaded).
copies(_) -> erlang:nif_error(not_loaded).
newer(_) -> erlang:nif_error(not_loaded).
queue(_) -> erlang:nif_error(not_loaded).
identities(_, _) -> erlang:nif_error(not_loaded).
open_pipe(_) -> erlang:nif_error(not_loaded).
monitor(_, _) -> erlang:nif_error(not_loaded).
close_pipe(_) -> erlang:nif_error(not_loaded).
threads() -> erlang:nif_error(not_loaded).
system(_) -> erlang:nif_error(not_loaded).
