%% Messages of another node that are no terms: they count as messages until their receiver comes to them, which closes the
%% connection that they came over. This node writes them on the connection's port.
-module(unreadable).
-export([main/1, victim/1, suspender/2]).

main(Peer) ->
    {module, _} = load_on(Peer),
    net_kernel:monitor_nodes(true),
    [begin io:format("~p: ~p~n", [Name, Case(Peer)]), reconnect(Peer) end || {Name, Case} <-
        [{received, fun received/1}, {asked, fun asked/1}, {sized, fun sized/1}, {later, fun later/1}, {never, fun never/1}]].

load_on(Peer) ->
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    rpc:call(Peer, code, load_binary, [?MODULE, File, Code]).

%% The receiver looks at its messages.
received(Peer) ->
    {Victim, Suspender} = suspended_victim(Peer),
    Victim ! one,
    write(Peer, Victim, 3),
    Victim ! two,
    write(Peer, Victim, 2),
    Counted = info(Peer, Victim, message_queue_len),
    rpc:cast(Peer, erlang, exit, [Suspender, kill]),
    {Counted, down(Peer), reconnect(Peer), messages(Victim)}.

%% Another process asks for them.
asked(Peer) ->
    {Victim, Suspender} = suspended_victim(Peer),
    write(Peer, Victim, 2),
    Victim ! one,
    write(Peer, Victim, 2),
    Counted = info(Peer, Victim, message_queue_len),
    Up = is_up(Peer),
    %% The answer may come before the connection is closed.
    rpc:cast(Peer, erlang, process_info, [Victim, [message_queue_len, messages]]),
    Down = down(Peer),
    reconnect(Peer),
    Left = info(Peer, Victim, [message_queue_len, messages]),
    rpc:cast(Peer, erlang, exit, [Suspender, kill]),
    {Counted, Up, Down, Left, messages(Victim)}.

%% Another process asks for the size of its heap, of which messages are a part.
sized(Peer) ->
    {Victim, Suspender} = suspended_victim(Peer),
    Victim ! one,
    %% A tag that there is none of: seen when the size is computed.
    write(Peer, Victim, 1, [$?, 66]),
    Counted = info(Peer, Victim, message_queue_len),
    rpc:cast(Peer, erlang, process_info, [Victim, total_heap_size]),
    Down = down(Peer),
    rpc:cast(Peer, erlang, exit, [Suspender, kill]),
    reconnect(Peer),
    {Counted, Down, messages(Victim)}.

%% The connection is another one by then.
later(Peer) ->
    {Victim, Suspender} = suspended_victim(Peer),
    write(Peer, Victim, 1),
    Counted = info(Peer, Victim, message_queue_len),
    true = erlang:disconnect_node(Peer),
    Down = down(Peer),
    reconnect(Peer),
    Again = info(Peer, Victim, message_queue_len),
    rpc:call(Peer, erlang, exit, [Suspender, kill]),
    Messages = messages(Victim),
    {Counted, Down, Again, Messages, is_up(Peer)}.

%% The receiver ends before it comes to them, and a process that is gone misses nothing.
never(Peer) ->
    {Victim, _} = suspended_victim(Peer),
    write(Peer, Victim, 1),
    Counted = info(Peer, Victim, message_queue_len),
    Ref = monitor(process, Victim),
    exit(Victim, kill),
    receive {'DOWN', Ref, process, _, killed} -> ok end,
    write(Peer, Victim, 1),
    {Counted, info(Peer, Victim, message_queue_len), is_up(Peer)}.

suspended_victim(Peer) ->
    Victim = spawn(Peer, ?MODULE, victim, [[]]),
    Suspender = spawn(Peer, ?MODULE, suspender, [Victim, self()]),
    receive {Suspender, suspended} -> {Victim, Suspender} end.

victim(Got) ->
    receive
        {From, messages} -> From ! {self(), lists:reverse(Got)};
        Message -> victim([Message | Got])
    end.

suspender(Victim, Starter) ->
    erlang:suspend_process(Victim),
    Starter ! {self(), suspended},
    receive after infinity -> ok end.

messages(Victim) ->
    Victim ! {self(), messages},
    receive {Victim, Messages} -> Messages after 10000 -> nothing end.

info(Peer, Pid, What) -> rpc:call(Peer, erlang, process_info, [Pid, What]).
is_up(Peer) -> rpc:call(Peer, erlang, node, []) =:= Peer andalso receive {nodedown, Peer} -> false after 0 -> true end.
down(Peer) -> receive {nodedown, Peer} -> down after 10000 -> up end.

reconnect(Peer) ->
    pong = net_adm:ping(Peer),
    receive {nodeup, Peer} -> ok after 0 -> ok end.

%% Control messages of plain sends, each with a payload that names an atom of a cache which has none there.
write(Peer, To, Count) -> write(Peer, To, Count, [$R, 137]).
write(Peer, To, Count, Payload) ->
    catch erts_debug:set_internal_state(available_internal_state, true),
    Port = erts_debug:get_internal_state({dist_ctrl, Peer}),
    Control = {2, '', To},
    <<131, Bytes/binary>> = term_to_binary(Control),
    [ok = prim_inet:send(Port, [131, $D, 0, Bytes, Payload]) || _ <- lists:seq(1, Count)],
    %% What is written before it has arrived when the answer is there.
    rpc:call(Peer, erlang, node, []).
