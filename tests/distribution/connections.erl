%% Connections as they come and go: nodes that end, are killed, restarted, cut off; who is told of it, and how. The other nodes
%% are started by the command in the environment variable PEER, which has %NAME% and %FLAGS% in it.
-module(connections).
-export([main/1, waits/0, echo/0]).

main(_) ->
    [step(Name, Fun) || {Name, Fun} <- steps()],
    ok.

step(Name, Fun) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({result, Fun()}) end),
    receive
        {'DOWN', Ref, process, Pid, {result, Result}} -> io:format("~p: ~p~n", [Name, Result]);
        {'DOWN', Ref, process, Pid, Other} -> io:format("~p failed: ~p~n", [Name, Other])
    after 60000 -> io:format("~p hangs: ~p~n", [Name, process_info(Pid, current_stacktrace)]), exit(Pid, kill)
    end,
    [erlang:disconnect_node(Node) || Node <- nodes(connected)],
    wait_for(fun() -> nodes(connected) =:= [] end, 100),
    %% Who follows nodes is told a little later.
    timer:sleep(100).

steps() ->
    [{halts, fun halts/0}, {disconnects, fun disconnects/0}, {follows, fun follows/0}, {monitor_node, fun monitor_node/0},
     {nobody, fun nobody/0}, {controlled, fun controlled/0}, {restarts, fun restarts/0}, {killed, fun killed/0}, {hidden, fun hidden/0}, {controllers, fun controllers/0},
     {wrong_cookie, fun wrong_cookie/0}, {auto_connects, fun auto_connects/0}, {pending_spawns, fun pending_spawns/0},
     {mesh, fun mesh/0}, {stops, fun stops/0}, {creations, fun creations/0}].

waits() -> receive after infinity -> ok end.
echo() -> receive {From, Message} -> From ! {self(), Message}, echo() end.

host() -> tl(string:find(atom_to_list(node()), "@")).
name(Short) -> list_to_atom(Short ++ "@" ++ host()).
fresh(Base) -> Base ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])).

%% Starts a node; it ends with this program's port.
start(Short) -> start(Short, "").
start(Short, Flags) ->
    Template = os:getenv("PEER"),
    Command = lists:flatten(string:replace(string:replace(Template, "%NAME%", Short), "%FLAGS%", Flags)),
    Port = open_port({spawn, Command}, [exit_status, stderr_to_stdout]),
    receive {Port, {data, "up" ++ _}} -> ok; {Port, Other} -> exit({peer, Other}) after 30000 -> exit(no_peer) end,
    {name(Short), Port}.

%% What test suites ask erts_debug for.
controlled() ->
    {Node, _} = Peer = start(fresh("controlled")),
    catch erts_debug:set_internal_state(available_internal_state, true),
    Before = erts_debug:get_internal_state({dist_ctrl, Node}),
    pong = net_adm:ping(Node),
    Port = erts_debug:get_internal_state({dist_ctrl, Node}),
    IsOpen = erlang:port_info(Port, connected) =/= undefined,
    stop(Peer),
    wait_for(fun() -> nodes(connected) =:= [] end, 100),
    {Before, IsOpen, erts_debug:get_internal_state({dist_ctrl, Node})}.

stop({_, Port}) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    os:cmd("kill -9 " ++ integer_to_list(Pid)),
    receive {Port, {exit_status, _}} -> ok after 5000 -> not_ended end.

load(Node) ->
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    {module, _} = rpc:call(Node, code, load_binary, [?MODULE, File, Code]).

next() -> next(5000).
next(Time) -> receive Message -> shown(Message) after Time -> nothing end.

shown(Term) when is_pid(Term) -> pid;
shown(Term) when is_reference(Term) -> reference;
shown(Term) when is_port(Term) -> port;
shown(Term) when is_atom(Term) ->
    case lists:member($@, atom_to_list(Term)) of true when Term =:= node() -> here; true -> there; false -> Term end;
shown(Term) when is_tuple(Term) -> list_to_tuple([shown(Part) || Part <- tuple_to_list(Term)]);
shown(Term) when is_map(Term) -> maps:map(fun(connection_id, Id) when is_integer(Id) -> id; (_, Value) -> shown(Value) end, Term);
shown([{connection_id, Id} | Tail]) when is_integer(Id) -> [{connection_id, id} | shown(Tail)];
shown([Head | Tail]) -> [shown(Head) | shown(Tail)];
shown(Term) -> Term.

all(Count) -> lists:sort([next() || _ <- lists:seq(1, Count)]).

halts() ->
    process_flag(trap_exit, true),
    {Node, _} = start(fresh("pw")),
    pong = net_adm:ping(Node),
    load(Node),
    Pid = spawn_link(Node, ?MODULE, waits, []),
    monitor(process, Pid),
    rpc:call(Node, erlang, register, [pw_waits, Pid]),
    monitor(process, {pw_waits, Node}),
    true = erlang:monitor_node(Node, true),
    true = erlang:monitor_node(Node, true),
    rpc:cast(Node, erlang, halt, [0, [{flush, false}]]),
    {all(7),
     lists:member(Node, nodes()), next(100)}.

disconnects() ->
    process_flag(trap_exit, true),
    Peer = {Node, _} = start(fresh("pd")),
    pong = net_adm:ping(Node),
    load(Node),
    Pid = spawn_link(Node, ?MODULE, waits, []),
    monitor(process, Pid),
    true = erlang:disconnect_node(Node),
    A = all(2),
    B = erlang:disconnect_node(Node),
    C = lists:member(Node, nodes()),
    pong = net_adm:ping(Node),
    %% The link went with the connection, and the process with the link.
    D = rpc:call(Node, erlang, is_process_alive, [Pid]),
    stop(Peer),
    {A, B, C, D}.

follows() ->
    ok = net_kernel:monitor_nodes(true),
    ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
    ok = net_kernel:monitor_nodes(true, #{connection_id => true, node_type => all, nodedown_reason => true}),
    ok = net_kernel:monitor_nodes(true, [connection_id]),
    Peer = {Node, _} = start(fresh("pf")),
    pong = net_adm:ping(Node),
    Up = all(4),
    erlang:disconnect_node(Node),
    Down = all(4),
    ok = net_kernel:monitor_nodes(false),
    pong = net_adm:ping(Node),
    Up2 = all(3),
    stop(Peer),
    Down2 = all(3),
    Bad = net_kernel:monitor_nodes(true, [no_such_option]) =/= ok,
    {Up, Down, Up2, Down2, next(100), Bad}.

monitor_node() ->
    Peer = {Node, _} = start(fresh("pm")),
    true = erlang:monitor_node(Node, true),
    [] = [M || M <- [next(300)], M =/= nothing],
    Connected = lists:member(Node, nodes()),
    true = erlang:monitor_node(Node, true),
    true = erlang:monitor_node(Node, false),
    stop(Peer),
    A = next(),
    B = next(100),
    true = erlang:monitor_node(Node, true),
    C = next(10000),
    D = try erlang:monitor_node(Node, maybe_so) catch error:badarg -> badarg end,
    {Connected, A, B, C, D}.

nobody() ->
    process_flag(trap_exit, true),
    Node = name("pnobody"),
    {x, Node} ! lost,
    monitor(process, {x, Node}),
    A = next(10000),
    B = try spawn(Node, fun() -> ok end) of Pid -> is_pid(Pid) catch C:R -> {C, R} end,
    spawn_link(Node, fun() -> ok end),
    {A, B, next(10000), net_adm:ping(Node), erlang:disconnect_node(Node), rpc:call(Node, erlang, node, [])}.

restarts() ->
    Short = fresh("pr"),
    Peer = {Node, _} = start(Short),
    pong = net_adm:ping(Node),
    load(Node),
    Pid = spawn(Node, ?MODULE, echo, []),
    stop(Peer),
    Peer2 = {Node, _} = start(Short),
    pong = net_adm:ping(Node),
    load(Node),
    Pid2 = spawn(Node, ?MODULE, echo, []),
    %% The first is one of an earlier run.
    Pid ! {self(), old},
    monitor(process, Pid),
    A = next(),
    Pid2 ! {self(), new},
    B = next(),
    Same = Pid =:= Pid2,
    Old = rpc:call(Node, erlang, is_pid, [Pid]),
    Sent = rpc:call(Node, erlang, send, [Pid, x]),
    stop(Peer2),
    {A, B, Same, Old, shown(Sent)}.

killed() ->
    process_flag(trap_exit, true),
    Peer = {Node, _} = start(fresh("pk")),
    pong = net_adm:ping(Node),
    load(Node),
    Pids = [spawn_link(Node, ?MODULE, waits, []) || _ <- lists:seq(1, 500)],
    [monitor(process, P) || P <- Pids],
    Request = erpc:send_request(Node, timer, sleep, [infinity]),
    Server = spawn_monitor(fun() -> exit({called, catch gen_server:call({rex, Node}, {block, erlang, apply, [fun timer:sleep/1, [infinity]]}, infinity)}) end),
    timer:sleep(100),
    stop(Peer),
    All = [receive {'EXIT', P, noconnection} -> receive {'DOWN', _, process, P, noconnection} -> ok after 5000 -> lost end after 5000 -> lost end || P <- Pids],
    A = try erpc:receive_response(Request, 5000) catch error:{erpc, Why} -> Why end,
    {Pid, Ref} = Server,
    B = receive {'DOWN', Ref, process, Pid, Reason} -> shown(Reason) after 5000 -> hangs end,
    {lists:usort(All), A, element(1, B)}.

hidden() ->
    ok = net_kernel:monitor_nodes(true),
    ok = net_kernel:monitor_nodes(true, [{node_type, hidden}]),
    Peer = {Node, _} = start(fresh("ph"), "-hidden"),
    pong = net_adm:ping(Node),
    Result = {lists:member(Node, nodes()), lists:member(Node, nodes(hidden)), lists:member(Node, nodes(connected)), next(), next(100)},
    stop(Peer),
    {Result, next(), next(100)}.

controllers() ->
    {Node, _} = Hidden = start(fresh("ct"), "-hidden"),
    Before = erlang:system_info(dist_ctrl),
    pong = net_adm:ping(Node),
    [{Node, Controller}] = Now = erlang:system_info(dist_ctrl),
    Whose = erlang:port_info(Controller, links) =/= undefined,
    stop(Hidden),
    wait_for(fun() -> erlang:system_info(dist_ctrl) =:= [] end, 100),
    {Before, shown(Now), Whose, erlang:system_info(dist_ctrl)}.

wrong_cookie() ->
    Peer = {Node, _} = start(fresh("pc"), "-setcookie another"),
    A = net_adm:ping(Node),
    erlang:set_cookie(Node, another),
    B = net_adm:ping(Node),
    stop(Peer),
    {A, B}.

auto_connects() ->
    Peer = {Node, _} = start(fresh("pa")),
    Self = self(),
    pong = net_adm:ping(Node),
    load(Node),
    Pid = spawn(Node, ?MODULE, echo, []),
    erlang:disconnect_node(Node),
    [Pid ! {Self, N} || N <- lists:seq(1, 1000)],
    Got = [receive {Pid, N} -> N after 5000 -> exit({lost, N}) end || N <- lists:seq(1, 1000)],
    erlang:disconnect_node(Node),
    A = erlang:send(Pid, {self(), x}, [noconnect]),
    erlang:disconnect_node(Node),
    Ref = monitor(process, Pid),
    exit(Pid, done),
    B = receive {'DOWN', Ref, process, Pid, Why} -> Why after 5000 -> nothing end,
    stop(Peer),
    {length(Got), A, B}.

pending_spawns() ->
    process_flag(trap_exit, true),
    Peer = {Node, _} = start(fresh("ps")),
    Pid = spawn_link(Node, erlang, apply, [fun erlang:exit/1, [early]]),
    A = next(),
    Self = self(),
    %% The parent ends before the answer comes: the child is told.
    Parent = spawn(fun() -> Id = spawn_request(Node, erlang, apply, [fun timer:sleep/1, [infinity]], [link]), Self ! {id, Id}, exit(gone) end),
    receive {id, _} -> ok end,
    timer:sleep(500),
    Left = rpc:call(Node, erlang, apply, [fun erlang:length/1, [rpc:call(Node, erlang, processes, [])]]),
    Parent2 = spawn(fun() -> Id = spawn_request(Node, timer, sleep, [infinity], [link]), receive {spawn_reply, Id, ok, _} -> ok end, exit(gone) end),
    timer:sleep(500),
    Left2 = rpc:call(Node, erlang, apply, [fun erlang:length/1, [rpc:call(Node, erlang, processes, [])]]),
    stop(Peer),
    {A, is_pid(Pid), is_pid(Parent), is_pid(Parent2), Left =:= Left2}.

mesh() ->
    Peers = [start(fresh("px")) || _ <- [1, 2, 3]],
    Nodes = [Node || {Node, _} <- Peers],
    [pong = net_adm:ping(Node) || Node <- Nodes],
    wait_for(fun() -> lists:all(fun(Node) -> length(rpc:call(Node, erlang, nodes, [])) =:= 3 end, Nodes) end, 100),
    yes = global:register_name(the_name, self()),
    Found = [rpc:call(Node, global, whereis_name, [the_name]) =:= self() || Node <- Nodes],
    rpc:call(hd(Nodes), global, send, [the_name, by_global]),
    A = next(),
    Scopes = [rpc:call(Node, erlang, apply, [fun() -> spawn(fun() -> {ok, _} = pg:start(scope), ?MODULE:waits() end) end, []]) || Node <- [node() | Nodes], load_ok(Node)],
    timer:sleep(300),
    ok = pg:join(scope, group, self()),
    timer:sleep(300),
    Members = [rpc:call(Node, pg, get_members, [scope, group]) =:= [self()] || Node <- Nodes],
    stop(hd(Peers)),
    wait_for(fun() -> length(nodes()) =:= 2 end, 100),
    Known = fun() -> length(rpc:call(lists:last(Nodes), erlang, nodes, [])) end,
    wait_for(fun() -> Known() =:= 2 end, 100),
    Left = Known(),
    [stop(Peer) || Peer <- tl(Peers)],
    {Found, A, length(Scopes), Members, Left}.

load_ok(Node) when Node =:= node() -> true;
load_ok(Node) -> load(Node), true.

wait_for(_, 0) -> exit(not_in_time);
wait_for(Fun, Count) -> Fun() orelse begin timer:sleep(50), wait_for(Fun, Count - 1) end.

%% A node without a name gets one, and gives it up.
stops() ->
    Program = "erlang:display({node(), is_alive()}),"
        "net_kernel:monitor_nodes(true),"
        "{ok, _} = net_kernel:start([" ++ fresh("pz") ++ ", shortnames]),"
        "receive {nodeup, N} -> erlang:display({nodeup, N =:= node()}) after 5000 -> erlang:display(no_nodeup) end,"
        "erlang:display({node() =/= nonode@nohost, is_alive()}),"
        "erlang:set_cookie(" ++ atom_to_list(erlang:get_cookie()) ++ "),"
        "erlang:display(net_adm:ping('" ++ atom_to_list(node()) ++ "')),"
        "ok = net_kernel:stop(),"
        "receive {nodedown, _} -> erlang:display(nodedown) after 5000 -> erlang:display(no_nodedown) end,"
        "receive {nodedown, _} -> erlang:display(nodedown) after 5000 -> erlang:display(no_nodedown) end,"
        "erlang:display({node(), is_alive(), nodes()}), halt().",
    os:cmd(os:getenv("NAMELESS") ++ " -noshell -eval \"" ++ Program ++ "\"").

%% A node does not become one that there are identifiers of already (OTP 27 and later).
creations() ->
    Program = "Name = list_to_atom(\"" ++ fresh("pc") ++ "\"),"
        "Start = fun() -> {ok, _} = net_kernel:start([Name, shortnames]), {node(), erlang:system_info(creation)} end,"
        "{Node, First} = Start(),"
        "ok = net_kernel:stop(),"
        "{ok, Name1} = {ok, atom_to_binary(Node)},"
        "Pids = [binary_to_term(<<131, 88, 119, (byte_size(Name1)), Name1/binary, 77:32, 0:32, (First + Next):32>>)"
        "        || Next <- lists:seq(1, 20)],"
        "{Node, Second} = Start(),"
        "IsNew = Second < First orelse Second > First + 20,"
        "erlang:display({length(Pids), IsNew orelse erlang:system_info(otp_release) < [$2, $7]}),"
        "ok = net_kernel:stop(),"
        "halt().",
    os:cmd(os:getenv("NAMELESS") ++ " -noshell -eval '" ++ Program ++ "'").
