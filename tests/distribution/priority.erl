%% Priority messages between two nodes (OTP 28): links, monitors, spawn requests and aliases with `priority`, printed.
%% Runs on one node; the other is given by its name, and has this module.
-module(priority).
-export([main/1, serve/0, waits/0]).

main(Peer) ->
    pong = net_adm:ping(Peer),
    {module, _} = load_on(Peer),
    [step(Name, Fun, Peer) || {Name, Fun} <- steps()],
    ok.

load_on(Peer) ->
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    rpc:call(Peer, code, load_binary, [?MODULE, File, Code]).

step(Name, Fun, Peer) ->
    Run = fun() -> process_flag(trap_exit, true), exit({result, Fun(Peer)}) end,
    {Pid, Ref} = spawn_monitor(Run),
    receive
        {'DOWN', Ref, process, Pid, {result, Result}} -> io:format("~p: ~p~n", [Name, Result]);
        {'DOWN', Ref, process, Pid, Other} -> io:format("~p failed: ~p~n", [Name, Other])
    after 20000 ->
        io:format("~p hangs: ~p~n", [Name, process_info(Pid, [current_stacktrace, messages])])
    end.

steps() ->
    [{sends, fun sends/1}, {exits, fun exits/1}, {reply_aliases, fun reply_aliases/1},
     {plain_receivers, fun plain_receivers/1}, {links, fun links/1}, {unlinked, fun unlinked/1},
     {monitors, fun monitors/1}, {spawns, fun spawns/1}, {requests, fun requests/1},
     {tokens, fun tokens/1}, {lost, fun lost/1}, {connects, fun connects/1},
     {exits_of_nobody, fun exits_of_nobody/1}].

%% Sends what it is told to.
serve() ->
    receive
        {send, To, Message, Options} -> erlang:send(To, Message, Options);
        {exit, To, Reason, Options} -> exit(To, Reason, Options);
        {die, Reason} -> exit(Reason)
    end,
    serve().
waits() -> receive after infinity -> ok end.

shown(Term) when is_pid(Term) -> pid;
shown(Term) when is_reference(Term) -> reference;
shown(Term) when is_tuple(Term) -> list_to_tuple(shown(tuple_to_list(Term)));
shown([Head | Tail]) -> [shown(Head) | shown(Tail)];
shown(Term) -> Term.

%% The messages, once there are so many.
messages(Count) -> messages(Count, 500).
messages(Count, Tries) ->
    case process_info(self(), messages) of
        {messages, All} when length(All) >= Count; Tries =:= 0 ->
            [receive Any -> shown(Any) end || _ <- All];
        _ -> timer:sleep(10), messages(Count, Tries - 1)
    end.

takes() -> element(2, process_info(self(), priority_messages)).

sends(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    Alias = alias([priority]),
    self() ! ordinary,
    Pid ! {send, Alias, first, [priority]},
    Pid ! {send, Alias, second, [priority]},
    Pid ! {send, Alias, third, []},
    Before = takes(),
    Got = messages(4),
    unalias(Alias),
    {Before, Got, takes()}.

exits(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    Alias = alias([priority]),
    Plain = alias(),
    self() ! ordinary,
    Pid ! {exit, Alias, first, []},
    Pid ! {exit, Alias, second, [priority]},
    Pid ! {exit, Plain, third, [priority]},
    Pid ! {exit, self(), fourth, [priority]},
    messages(5).

reply_aliases(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    Alias = alias([reply, priority]),
    self() ! ordinary,
    Pid ! {exit, Alias, first, [priority]},
    Pid ! {send, Alias, second, [priority]},
    Pid ! {send, Alias, lost, [priority]},
    Pid ! {send, self(), last, []},
    {messages(4), takes()}.

plain_receivers(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    register(plain_receiver, self()),
    self() ! ordinary,
    Pid ! {send, self(), by_pid, [priority]},
    Pid ! {send, {plain_receiver, node()}, by_name, [priority]},
    Pid ! {send, {nobody_has_this, node()}, lost, [priority]},
    Pid ! {send, alias(), by_alias, [priority]},
    messages(4).

links(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    self() ! ordinary,
    link(Pid, [priority]),
    Before = takes(),
    exit(Pid, kill),
    {Before, messages(2), takes()}.

unlinked(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    link(Pid, [priority]),
    One = takes(),
    unlink(Pid),
    Two = takes(),
    link(Pid),
    Three = takes(),
    link(Pid, [priority]),
    Four = takes(),
    link(Pid),
    self() ! ordinary,
    exit(Pid, kill),
    {One, Two, Three, Four, takes(), messages(2)}.

monitors(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    self() ! ordinary,
    monitor(process, Pid, [priority]),
    Before = takes(),
    exit(Pid, kill),
    Got = messages(2),
    Ref = monitor(process, {nobody_has_this, Peer}, [priority]),
    self() ! ordinary,
    receive {'DOWN', Ref, process, _, Reason} -> {Before, Got, Reason, messages(1), takes()} end.

spawns(Peer) ->
    Linked = spawn_opt(Peer, ?MODULE, waits, [], [{link, [priority]}]),
    Before = takes(),
    self() ! ordinary,
    exit(Linked, kill),
    One = messages(2),
    {Monitored, _} = spawn_opt(Peer, ?MODULE, waits, [], [{monitor, [priority]}]),
    self() ! ordinary,
    exit(Monitored, kill),
    Two = messages(2),
    Ordinary = spawn_opt(Peer, ?MODULE, waits, [], [{link, []}]),
    self() ! ordinary,
    exit(Ordinary, kill),
    {Before, One, Two, messages(2), takes()}.

requests(Peer) ->
    Id = spawn_request(Peer, ?MODULE, waits, [], [{link, [priority]}, {monitor, [priority]}]),
    Before = takes(),
    Pid = receive {spawn_reply, Id, ok, New} -> New end,
    self() ! ordinary,
    exit(Pid, kill),
    Got = messages(3),
    Bad = spawn_request(Peer, ?MODULE, waits, [], [{link, [wrong]}]),
    receive {spawn_reply, Bad, Kind, Why} -> {Before, lists:sort(Got), lists:last(Got), Kind, Why, takes()} end.

tokens(Peer) ->
    Self = self(),
    Pid = spawn(Peer, fun() ->
        Self ! {alias, alias([priority])},
        receive last -> ok end,
        [receive Any -> Self ! {Any, seq_trace:get_token(label)} end || _ <- [1, 2, 3]]
    end),
    Alias = receive {alias, It} -> It end,
    seq_trace:set_token(label, 17),
    erlang:send(Alias, first, []),
    seq_trace:set_token(label, 18),
    erlang:send(Alias, second, [priority]),
    seq_trace:set_token(label, 19),
    erlang:send(Pid, third, [priority]),
    seq_trace:set_token([]),
    Pid ! last,
    Local = alias([priority]),
    seq_trace:set_token(label, 20),
    erlang:send(Local, here, [priority]),
    seq_trace:set_token([]),
    receive here -> ok end,
    Here = seq_trace:get_token(label),
    seq_trace:set_token([]),
    {Here, messages(3)}.

lost(Peer) ->
    Pid = spawn(Peer, ?MODULE, serve, []),
    Other = spawn(Peer, ?MODULE, serve, []),
    Third = spawn(Peer, ?MODULE, serve, []),
    monitor(process, Third),
    link(Pid, [priority]),
    monitor(process, Other, [priority]),
    self() ! ordinary,
    erlang:disconnect_node(Peer),
    Got = messages(4),
    {lists:sort(lists:sublist(Got, 2)), lists:nthtail(2, Got), takes()}.

%% What is sent while the connection is being set up.
connects(Peer) ->
    Self = self(),
    Pid = spawn(Peer, fun() ->
        process_flag(trap_exit, true),
        register(a_name, self()),
        self() ! ordinary,
        Self ! {alias, alias([priority])},
        receive last -> Self ! messages(6) end
    end),
    Alias = receive {alias, It} -> It end,
    Cut = fun() -> erlang:disconnect_node(Peer), wait_gone(Peer) end,
    Cut(),
    erlang:send(Alias, first, [priority]),
    pong = net_adm:ping(Peer),
    Cut(),
    exit(Alias, second, [priority]),
    pong = net_adm:ping(Peer),
    Cut(),
    erlang:send(Pid, third, [priority]),
    pong = net_adm:ping(Peer),
    Cut(),
    erlang:send({a_name, Peer}, fourth, [priority]),
    pong = net_adm:ping(Peer),
    Cut(),
    exit(Pid, fifth, [priority]),
    Pid ! last,
    messages(1).

wait_gone(Peer) ->
    case lists:member(Peer, nodes()) of
        true -> timer:sleep(10), wait_gone(Peer);
        false -> ok
    end.

exits_of_nobody(Peer) ->
    Self = self(),
    Pid = spawn(Peer, fun() -> Self ! {alias, alias()}, waits() end),
    Alias = receive {alias, It} -> It end,
    monitor(process, Pid),
    Results = [exit(Alias, normal, []), exit(make_ref(), kill, [priority])],
    exit(Alias, kill, []),
    {Results, messages(1)}.
