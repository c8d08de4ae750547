%% A connection that is busy because the other node reads nothing: who waits, what is reported, and what becomes of the
%% signals once it reads again.
-module(busy).
-export([main/1, sink/0]).

main(Peer) ->
    {module, _} = load_on(Peer),
    System = rpc:call(Peer, os, getpid, []),
    Receiver = spawn(Peer, ?MODULE, sink, []),
    Linked = spawn(Peer, ?MODULE, sink, []),
    Killed = [spawn(Peer, ?MODULE, sink, []) || _ <- [1, 2]],
    Monitors = [monitor(process, Pid) || Pid <- Killed],
    Port = controller(Peer),
    Exiting = exiting(spawn(Peer, ?MODULE, sink, [])),
    signal(System, "STOP"),
    erlang:system_monitor(self(), [busy_dist_port]),
    Filler = spawn(fun() -> fill(Peer) end),
    io:format("report: ~p~n", [next_report(Filler, Port)]),
    wait_for_refusal(Peer, 10),
    Waiting = [{Name, start(Fun)} || {Name, Fun} <- waiters(Peer, Receiver, Linked, Killed)],
    [io:format("~p: ~p~n", [Name, look(Pid)]) || {Name, {Pid, _}} <- Waiting],
    %% A process that ends waits as well, when it has told everybody here.
    {Exiter, ExitRef} = Exiting,
    Exiter ! go,
    {text, Reason} = ended(ExitRef),
    io:format("ended: ~p~n", [Reason]),
    io:format("report: ~p~n", [next_report(Exiter, Port)]),
    io:format("out_exited: ~p~n", [receive {trace, Exiter, out_exited, 0} -> yes after 0 -> no end]),
    io:format("there: ~p~n", [{is_process_alive(Exiter), process_info(Exiter), lists:member(Exiter, processes())}]),
    asynchronous(Receiver),
    raw(Port),
    %% Nothing is left of a process only when what it has sent is out.
    erlang:trace(Filler, true, [exiting]),
    exit(Filler, kill),
    io:format("filler: ~p~n", [receive {trace, Filler, out_exited, 0} -> out_exited after 500 -> there end]),
    signal(System, "CONT"),
    [io:format("~p ended: ~p~n", [Name, ended(Ref)]) || {Name, {_, Ref}} <- Waiting],
    [io:format("killed: ~p~n", [ended(Ref)]) || Ref <- Monitors],
    io:format("out_exited: ~p~n", [receive {trace, Exiter, out_exited, 0} -> yes after 20000 -> no end]),
    io:format("filler: ~p~n", [receive {trace, Filler, out_exited, 0} -> out_exited after 20000 -> there end]),
    io:format("received: ~p~n", [received(Receiver)]),
    io:format("connected: ~p~n", [lists:member(Peer, nodes())]).

load_on(Peer) ->
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    rpc:call(Peer, code, load_binary, [?MODULE, File, Code]).

controller(Peer) ->
    catch erts_debug:set_internal_state(available_internal_state, true),
    erts_debug:get_internal_state({dist_ctrl, Peer}).

signal(System, Name) ->
    [] = os:cmd("kill -" ++ Name ++ " " ++ System).

%% What it gets in order, but what only fills the connection.
sink() -> sink([]).
sink(Got) ->
    receive
        {From, what} -> From ! {self(), lists:reverse(Got)}, sink(Got);
        {text, Text} -> sink([Text | Got])
    end.

received(Receiver) ->
    Receiver ! {self(), what},
    receive {Receiver, Got} -> lists:sort(Got) after 20000 -> nothing end.

fill(Peer) ->
    {nobody, Peer} ! <<0:(8 bsl 20)>>,
    fill(Peer).

next_report(Pid, Port) ->
    receive {monitor, Pid, busy_dist_port, Port} -> busy after 20000 -> none end.

%% Until the connection has refused so often in a row.
wait_for_refusal(_, 0) -> ok;
wait_for_refusal(Peer, Left) ->
    case erlang:send({nobody, Peer}, <<0:(8 bsl 20)>>, [nosuspend]) of
        ok -> wait_for_refusal(Peer, 10);
        nosuspend -> timer:sleep(50), wait_for_refusal(Peer, Left - 1)
    end.

waiters(Peer, Receiver, Linked, [First, Second]) ->
    [{'!', fun() -> Receiver ! {text, first} end},
     {send, fun() -> erlang:send(Receiver, {text, second}) end},
     {options, fun() -> erlang:send(Receiver, {text, third}, [noconnect]) end},
     {named, fun() -> {nobody, Peer} ! {text, fourth} end},
     {link, fun() -> link(Linked) =:= true andalso unlinked(Linked) end},
     {exit, fun() -> exit(First, stopped) end},
     {applied, fun() -> apply(erlang, exit, [Second, stopped]) end},
     {monitor, fun() -> is_reference(monitor(process, Receiver)) end},
     {spawn, fun() -> is_reference(spawn_request(Peer, erlang, self, [], [])) end}].

unlinked(Pid) ->
    {links, [Pid]} = process_info(self(), links),
    unlink(Pid).

start(Fun) -> spawn_monitor(fun() -> exit({result, Fun()}) end).

ended(Ref) ->
    receive {'DOWN', Ref, process, _, Reason} -> Reason after 20000 -> hangs end.

%% What a process is seen doing, once it is suspended.
look(Pid) -> look(Pid, 400).
look(Pid, Left) ->
    case process_info(Pid, [status, current_function]) of
        [{status, suspended}, Function] -> Function;
        Other when Left =:= 0; Other =:= undefined -> Other;
        _ -> timer:sleep(50), look(Pid, Left - 1)
    end.

%% A process with a link to the other node, which ends when it is told to.
exiting(Linked) ->
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        link(Linked),
        Self ! linked,
        receive go -> exit({text, ended}) end
    end),
    receive linked -> ok end,
    erlang:trace(Pid, true, [exiting]),
    {Pid, Ref}.

%% Processes may choose not to wait (OTP 26).
asynchronous(Receiver) ->
    {_, Ref} = start(fun() ->
        Old = catch process_flag(async_dist, true),
        case Old of false -> Receiver ! {text, asynchronous}; _ -> ok end,
        ok
    end),
    io:format("asynchronous: ~p~n", [ended(Ref)]).

%% What is written on the port itself (a packet without bytes, as to show that a node is there) waits as well.
raw(Port) ->
    Writers = [spawn(fun() -> prim_inet:send(Port, <<>>) end) || _ <- [1, 2, 3]],
    Last = lists:last(Writers),
    io:format("raw: ~p~n", [element(1, look(Last))]),
    [exit(Pid, kill) || Pid <- Writers].
