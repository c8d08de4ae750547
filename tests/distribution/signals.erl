%% Signals between two nodes: what each leads to, printed. Runs on one node; the other is given by its name, and has this module.
-module(signals).
-export([main/1, makes_fun/0, echo/0, waits/0, dies/1, says/2, orphan/1, forward/1]).

main(Peer) ->
    pong = net_adm:ping(Peer),
    {module, _} = load_on(Peer),
    [step(Name, Fun, Peer) || {Name, Fun} <- steps()],
    ok.

load_on(Peer) ->
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    rpc:call(Peer, code, load_binary, [?MODULE, File, Code]).

step(Name, Fun, Peer) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({result, Fun(Peer)}) end),
    receive
        {'DOWN', Ref, process, Pid, {result, Result}} -> io:format("~p: ~p~n", [Name, Result]);
        {'DOWN', Ref, process, Pid, Other} -> io:format("~p failed: ~p~n", [Name, Other])
    after 20000 -> io:format("~p hangs: ~p~n", [Name, process_info(Pid, [current_stacktrace, messages])])
    end.

steps() ->
    [{send, fun send/1}, {terms, fun terms/1}, {makers, fun makers/1}, {large, fun large/1}, {order, fun order/1},
     {names, fun names/1}, {aliases, fun aliases/1}, {links, fun links/1}, {unlinks, fun unlinks/1},
     {exits, fun exits/1}, {monitors, fun monitors/1}, {named_monitors, fun named_monitors/1},
     {demonitors, fun demonitors/1}, {leaders, fun leaders/1}, {spawns, fun spawns/1},
     {spawn_requests, fun spawn_requests/1}, {pending_aliases, fun pending_aliases/1}, {replies_first, fun replies_first/1}, {orphans, fun orphans/1},
     {rpcs, fun rpcs/1}, {infos, fun infos/1},
     {options, fun options/1}, {gen_calls, fun gen_calls/1}, {trace_tokens, fun trace_tokens/1},
     {node_lists, fun node_lists/1}, {many, fun many/1}].

echo() ->
    receive
        {From, Message} -> From ! {self(), Message}, echo();
        {reply, Alias, Message} -> Alias ! Message, echo();
        stop -> ok
    end.
waits() -> receive after infinity -> ok end.
dies(Reason) -> exit(Reason).
says(To, What) -> To ! What.
forward(To) -> receive Message -> To ! {forwarded, Message}, forward(To) end.

shown(Term) when is_pid(Term) -> {pid, node(Term)};
shown(Term) when is_port(Term) -> {port, node(Term)};
shown(Term) when is_reference(Term) -> {reference, node(Term)};
shown(Term) when is_tuple(Term) -> list_to_tuple(shown(tuple_to_list(Term)));
shown([Head | Tail]) -> [shown(Head) | shown(Tail)];
shown(Term) -> Term.

%% The names of the two nodes differ from run to run.
named(Term) -> named(Term, node()).
named(Term, Node) when Term =:= Node -> here;
named(Term, _) when is_atom(Term) ->
    case lists:member($@, atom_to_list(Term)) of true -> there; false -> Term end;
named(Term, Node) when is_tuple(Term) -> list_to_tuple([named(Part, Node) || Part <- tuple_to_list(Term)]);
named([Head | Tail], Node) -> [named(Head, Node) | named(Tail, Node)];
named(Term, _) -> Term.

seen(Term) -> named(shown(Term)).

next() -> receive Message -> seen(Message) after 3000 -> nothing end.

ask(Pid, Term) ->
    Pid ! {self(), Term},
    receive {Pid, Answer} -> Answer after 10000 -> nothing end.

send(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    Answer = ask(Pid, hello),
    Pid ! {self(), {self(), Pid, make_ref()}},
    {Answer, next(), node(Pid) =:= Peer, is_pid(Pid), Pid =:= Pid}.

terms(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    Own = [self(), make_ref(), hd(erlang:ports()), Pid, fun lists:map/2, fun(X) -> X + 1 end],
    Terms = Own ++ [1, -1, 255, 256, 1 bsl 59, 1 bsl 60, -(1 bsl 64), 1 bsl 3000, 1.5, -0.0, 1.0e300, a, 'ÿ', 'λ字',
             list_to_atom(lists:duplicate(255, 16#5b57)), [], [a], [1, 2, 3], "text", [1 | 2], lists:seq(1, 70000),
             {}, {a, b}, erlang:make_tuple(300, x), #{}, #{a => 1, 2 => b}, maps:from_list([{X, X} || X <- lists:seq(1, 100)]),
             <<>>, <<1, 2, 3>>, <<5:3>>, binary:copy(<<7>>, 1000), <<1:9999>>],
    [Same || Term <- Terms, Same <- [ask(Pid, Term) =:= Term], not Same].

%% Before OTP 27 a fun names the process that made it, wherever that is.
makers(Peer) ->
    There = rpc:call(Peer, ?MODULE, makes_fun, []),
    Echo = spawn(Peer, ?MODULE, echo, []),
    Here = fun() -> Peer end,
    [{node(Maker) =:= Peer, Maker =:= self()} || Fun <- [There, ask(Echo, There), binary_to_term(term_to_binary(There)), Here, ask(Echo, Here)],
        {pid, Maker} <- [erlang:fun_info(Fun, pid)]].

makes_fun() ->
    Self = self(),
    Fun = fun() -> Self end,
    {pid, Maker} = erlang:fun_info(Fun, pid),
    true = Maker =:= Self orelse Maker =:= whereis(init),
    Fun.

large(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    [begin Binary = binary:copy(<<"0123456789abcdef">>, Size), ask(Pid, Binary) =:= Binary end || Size <- [4095, 4096, 4097, 100000, 1000000]].

order(Peer) ->
    Self = self(),
    Pid = spawn(Peer, ?MODULE, forward, [Self]),
    Count = 20000,
    [Pid ! {N, case N rem 1000 of 0 -> binary:copy(<<N:32>>, 50000); _ -> small end} || N <- lists:seq(1, Count)],
    [receive {forwarded, {N, _}} -> ok after 10000 -> exit({lost, N}) end || N <- lists:seq(1, Count)],
    in_order.

names(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    true = rpc:call(Peer, erlang, register, [an_echo, Pid]),
    {an_echo, Peer} ! {self(), by_name},
    First = next(),
    {nobody_has_this, Peer} ! lost,
    erlang:send({an_echo, Peer}, {self(), by_send}),
    Second = next(),
    register(an_asker, self()),
    Pid2 = spawn(Peer, ?MODULE, says, [{an_asker, node()}, back]),
    Third = next(),
    exit(Pid, kill),
    {First, Second, Third, node(Pid2) =:= Peer}.

aliases(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    Alias = alias(),
    Pid ! {reply, Alias, one},
    First = next(),
    Pid ! {reply, Alias, two},
    Second = next(),
    true = unalias(Alias),
    Pid ! {reply, Alias, three},
    Third = ask(Pid, sync),
    Once = alias([reply]),
    Pid ! {reply, Once, four},
    Pid ! {reply, Once, five},
    Fourth = next(),
    ask(Pid, sync),
    Monitor = erlang:monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {reply, Monitor, {Monitor, six}},
    Fifth = next(),
    Pid ! stop,
    {First, Second, Third, Fourth, Fifth, receive X -> X after 200 -> nothing end}.

links(Peer) ->
    process_flag(trap_exit, true),
    Pid = spawn_link(Peer, ?MODULE, dies, [{reason, [1, 2]}]),
    First = next(),
    Pid2 = spawn(Peer, ?MODULE, waits, []),
    link(Pid2),
    true = lists:member(Pid2, element(2, process_info(self(), links))),
    exit(Pid2, shutdown),
    Second = next(),
    Dead = Pid,
    link(Dead),
    Third = next(),
    Self = self(),
    Pid3 = spawn(Peer, fun() -> link(Self), Self ! linked, exit(bye) end),
    Fourth = [next(), next()],
    Pid4 = spawn(fun() -> process_flag(trap_exit, true), Self ! {me, self()}, receive {'EXIT', From, Why} -> Self ! {got, From, Why} end end),
    receive {me, Pid4} -> ok end,
    spawn(Peer, fun() -> link(Pid4), exit(killer) end),
    {First, Second, Third, Fourth, next(), element(2, process_info(self(), links)) =:= [], is_pid(Pid3)}.

unlinks(Peer) ->
    process_flag(trap_exit, true),
    Pid = spawn_link(Peer, ?MODULE, echo, []),
    true = unlink(Pid),
    Links = process_info(self(), links),
    ask(Pid, sync),
    exit(Pid, kill),
    First = receive X -> X after 300 -> nothing end,
    Pid2 = spawn_link(Peer, ?MODULE, echo, []),
    [begin unlink(Pid2), link(Pid2) end || _ <- lists:seq(1, 100)],
    ask(Pid2, sync),
    exit(Pid2, boom),
    {Links, First, next()}.

exits(Peer) ->
    Self = self(),
    Pid = spawn(Peer, fun() -> process_flag(trap_exit, true), Self ! ready, receive {'EXIT', From, Why} -> Self ! {exit, From, Why} end end),
    ready = next(),
    exit(Pid, {why, Self}),
    First = next(),
    Pid2 = spawn(Peer, ?MODULE, waits, []),
    Ref = monitor(process, Pid2),
    exit(Pid2, normal),
    exit(Pid2, kill),
    {'DOWN', Ref, process, Pid2, killed} = receive M -> M end,
    process_flag(trap_exit, true),
    spawn(Peer, fun() -> exit(Self, over_there) end),
    {First, next()}.

monitors(Peer) ->
    Pid = spawn(Peer, ?MODULE, waits, []),
    monitor(process, Pid),
    Info = seen(process_info(self(), monitors)),
    Watched = rpc:call(Peer, erlang, process_info, [Pid, monitored_by]) =:= {monitored_by, [self()]},
    exit(Pid, {a, reason}),
    First = next(),
    monitor(process, Pid),
    Second = next(),
    erlang:monitor(process, Pid, [{tag, {my, tag}}]),
    Third = next(),
    {Pid4, _} = erlang:spawn_monitor(Peer, ?MODULE, dies, [normal]),
    {Info, Watched, First, Second, Third, next(), node(Pid4) =:= Peer}.

named_monitors(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    true = rpc:call(Peer, erlang, register, [watched_name, Pid]),
    monitor(process, {watched_name, Peer}),
    Info = seen(process_info(self(), monitors)),
    Pid ! stop,
    First = next(),
    monitor(process, {watched_name, Peer}),
    {Info, First, next()}.

demonitors(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    Ref = monitor(process, Pid),
    true = demonitor(Ref),
    ask(Pid, sync),
    None = rpc:call(Peer, erlang, process_info, [Pid, monitored_by]),
    true = rpc:call(Peer, erlang, register, [watched_again, Pid]),
    Ref2 = monitor(process, {watched_again, Peer}),
    true = demonitor(Ref2, [flush]),
    ask(Pid, sync),
    Nobody = rpc:call(Peer, erlang, process_info, [Pid, monitored_by]),
    Ref3 = monitor(process, Pid),
    exit(Pid, kill),
    timer:sleep(200),
    Info = demonitor(Ref3, [flush, info]),
    {None, Nobody, Info, next_now()}.

next_now() -> receive X -> X after 0 -> nothing end.

leaders(Peer) ->
    Self = self(),
    Pid = spawn(Peer, fun() -> receive go -> Self ! {leader, group_leader()} end end),
    Before = rpc:call(Peer, erlang, process_info, [Pid, group_leader]) =:= {group_leader, group_leader()},
    group_leader(Self, Pid),
    Pid ! go,
    {Before, receive {leader, L} -> L =:= Self after 3000 -> nothing end}.

spawns(Peer) ->
    Self = self(),
    process_flag(trap_exit, true),
    P1 = spawn(Peer, fun() -> Self ! {1, node()} end),
    A = next(),
    P2 = spawn_link(Peer, fun() -> Self ! {2, node()} end),
    B = [next(), next()],
    {P3, R3} = spawn_opt(Peer, fun() -> exit(three) end, [monitor, {priority, high}, {min_heap_size, 1000}]),
    C = next(),
    P4 = spawn_opt(Peer, ?MODULE, dies, [four], [link]),
    D = next(),
    Bad = try spawn_opt(Peer, ?MODULE, dies, [x], [no_such_option]) catch Class:Reason -> {Class, Reason} end,
    Undef = begin group_leader(spawn(?MODULE, waits, []), self()), spawn_monitor_of(Peer, no_such_module, f, []) end,
    {[node(P) =:= Peer || P <- [P1, P2, P3, P4]], is_reference(R3), A, B, C, D, seen(Bad), Undef}.

spawn_monitor_of(Peer, M, F, A) ->
    {Pid, Ref} = spawn_monitor(Peer, M, F, A),
    receive {'DOWN', Ref, process, Pid, {Why, [First | _]}} -> {Why, setelement(4, First, [])} after 3000 -> nothing end.

spawn_requests(Peer) ->
    Id = spawn_request(Peer, ?MODULE, waits, [], [{reply_tag, {tag, 1}}]),
    First = receive {{tag, 1}, Id, ok, Pid} -> {ok, node(Pid) =:= Peer} after 3000 -> nothing end,
    Id2 = spawn_request(Peer, ?MODULE, dies, [bye], [monitor, {reply, success_only}]),
    Second = [receive {spawn_reply, Id2, ok, _} -> replied after 3000 -> nothing end,
              receive {'DOWN', Id2, process, _, Why} -> Why after 3000 -> nothing end],
    Id3 = spawn_request(Peer, ?MODULE, waits, [], [bad_option]),
    Third = receive {spawn_reply, Id3, error, Error} -> Error after 3000 -> nothing end,
    Id4 = spawn_request(Peer, ?MODULE, waits, [], [{reply, no}, link]),
    Fourth = receive {spawn_reply, Id4, _, _} -> unexpected after 200 -> nothing end,
    Id5 = spawn_request('nobody@nowhere', ?MODULE, waits, []),
    Fifth = receive {spawn_reply, Id5, error, E5} -> E5 after 10000 -> nothing end,
    Id6 = spawn_request(Peer, ?MODULE, waits, [], [{monitor, [{tag, mine}]}]),
    Sixth = receive {spawn_reply, Id6, ok, P6} -> exit(P6, six), next() after 3000 -> nothing end,
    {First, Second, Third, Fourth, Fifth, Sixth}.

%% A request's reference is an alias once there is a process, and not where the request fails.
pending_aliases(Peer) ->
    Answer = fun(Id) -> receive {spawn_reply, Id, _, What} -> seen(What) after 10000 -> nothing end end,
    Next = fun() -> receive Message -> Message after 50 -> nothing end end,
    Failing = [begin
        Id = spawn_request(Node, ?MODULE, waits, [], [{monitor, [{alias, Mode}]}, bad_option]),
        Id ! early,
        What = Answer(Id),
        Id ! late,
        {What, unalias(Id), Next()}
    end || Node <- [node(), Peer], Mode <- [explicit_unalias, demonitor, reply_demonitor]],
    There = spawn_request(Peer, ?MODULE, waits, [], [{monitor, [{alias, explicit_unalias}]}]),
    AnswerThere = Answer(There),
    There ! through,
    Through = next(),
    Taken = spawn_request(Peer, ?MODULE, waits, [], [{monitor, [{alias, explicit_unalias}]}]),
    Unaliased = [unalias(Taken), unalias(Taken)],
    AnswerTaken = Answer(Taken),
    Taken ! through,
    {Failing, AnswerThere, Through, Unaliased, AnswerTaken, Next()}.

%% A process whose parent ends before it is linked to it hears of the parent's reason, and of no other.
orphans(Peer) ->
    Self = self(),
    [spawn(fun() ->
        %% What takes a while to end.
        Table = ets:new(table, []),
        ets:insert(Table, [{I, I} || I <- lists:seq(1, 1000)]),
        spawn_request(Peer, ?MODULE, orphan, [Self], [link]),
        receive after N rem 5 -> ok end,
        exit(parents)
    end) || N <- lists:seq(1, 1000)],
    Gather = fun Gather(Reasons) -> receive {orphan, Reason} -> Gather([Reason | Reasons]) after 500 -> Reasons end end,
    [Reason || Reason <- lists:usort(Gather([])), Reason =/= parents].

orphan(To) ->
    process_flag(trap_exit, true),
    receive {'EXIT', _, Reason} -> To ! {orphan, Reason} end.

%% The answer to a request comes before everything that the new process sends.
replies_first(Peer) ->
    Self = self(),
    Orders = [begin
        Id = spawn_request(Peer, ?MODULE, says, [Self, {child, N}]),
        First = receive M -> M after 3000 -> nothing end,
        Second = receive M2 -> M2 after 3000 -> nothing end,
        {element(1, First), element(2, First) =:= Id, Second =:= {child, N}}
    end || N <- lists:seq(1, 300)],
    lists:usort(Orders).

rpcs(Peer) ->
    Call = rpc:call(Peer, lists, sum, [[1, 2, 3]]),
    Bad = rpc:call(Peer, erlang, error, [oops]),
    Erpc = try erpc:call(Peer, fun() -> throw(ball) end) catch throw:ball -> caught end,
    Erpc2 = try erpc:call(Peer, erlang, error, [oops]) catch error:{exception, R, _} -> R end,
    Multi = erpc:multicall([node(), Peer], erlang, node, []),
    {Results, []} = rpc:multicall([node(), Peer], erlang, node, []),
    Yielded = rpc:yield(rpc:async_call(Peer, erlang, node, [])),
    Cast = begin Self = self(), rpc:cast(Peer, ?MODULE, says, [Self, cast]), next() end,
    named({Call, element(2, element(2, Bad)) =/= [], Erpc, Erpc2, Multi, Results, Yielded, Cast}).

infos(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    Bad = try process_info(Pid) catch error:badarg -> badarg end,
    Alive = try is_process_alive(Pid) catch error:badarg -> badarg end,
    Parent = rpc:call(Peer, erlang, process_info, [Pid, initial_call]),
    Text = lists:nth(1, string:split(pid_to_list(Pid), ".")) =/= "<0",
    Binary = binary_to_term(term_to_binary(Pid)) =:= Pid,
    Order = lists:sort([Pid, self(), a, 1]) =:= [1, a | lists:sort([self(), Pid])],
    {Bad, Alive, Parent, Text, Binary, Order, erlang:phash2(Pid) =:= erlang:phash2(binary_to_term(term_to_binary(Pid)))}.

options(Peer) ->
    Pid = spawn(Peer, ?MODULE, echo, []),
    A = erlang:send(Pid, {self(), a}, [nosuspend]),
    B = erlang:send(Pid, {self(), b}, [noconnect]),
    C = erlang:send({some_name, 'not@connected'}, x, [noconnect]),
    nothing =/= next() andalso next(),
    D = try Pid ! ok catch _:_ -> failed end,
    E = try erlang:send(foo, x) catch error:badarg -> badarg end,
    F = try {foo, bar, 1} ! x catch error:badarg -> badarg end,
    {A, B, C, D, E, F}.

gen_calls(Peer) ->
    Node = supervisor:count_children({kernel_safe_sup, Peer}) =/= [],
    Gone = try gen_server:call({no_such_server, Peer}, x) catch exit:{Why, _} -> Why end,
    NoNode = try gen_server:call({x, 'no@node'}, x) catch exit:{Why2, _} -> Why2 end,
    {Node, Gone, NoNode, gen_server:multi_call([node(), Peer], no_such_server, x) =:= {[], [node(), Peer]}}.

trace_tokens(Peer) ->
    Pid = spawn(Peer, fun() -> receive {From, q} -> From ! {token, seq_trace:get_token(label)} end end),
    seq_trace:set_token(label, 17),
    Pid ! {self(), q},
    Result = receive {token, Token} -> Token after 3000 -> nothing end,
    seq_trace:set_token([]),
    Self = self(),
    spawn(Peer, fun() -> Self ! {alias, alias()}, receive q -> Self ! {token, seq_trace:get_token(label)} end end),
    Alias = receive {alias, Given} -> Given end,
    seq_trace:set_token(label, 18),
    Alias ! q,
    Through = receive {token, Other} -> Other after 3000 -> nothing end,
    seq_trace:set_token([]),
    {Result, Through}.

node_lists(Peer) ->
    Info = lists:sort(named(nodes(connected, #{node_type => true}))),
    {lists:member(Peer, nodes()), Info, named(nodes(this)), lists:member(node(), nodes(known)),
     is_alive(), erlang:monitor_node(Peer, true), erlang:monitor_node(Peer, false)}.

many(Peer) ->
    Self = self(),
    Pids = [spawn_link(Peer, fun() -> Self ! {N, node()} end) || N <- lists:seq(1, 2000)],
    [receive {N, Peer} -> ok after 10000 -> exit({lost, N}) end || N <- lists:seq(1, 2000)],
    length(lists:usort(Pids)).
