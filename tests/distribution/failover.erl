%% A distributed application (`dist_ac`): it runs on the other node, and here once that is gone.
-module(failover).
-behaviour(application).
-export([main/1, start/2, stop/1, load/0]).

main(Peer) ->
    register(failover_main, self()),
    {?MODULE, Code, File} = code:get_object_code(?MODULE),
    {module, _} = rpc:call(Peer, code, load_binary, [?MODULE, File, Code]),
    ok = load(),
    ok = rpc:call(Peer, ?MODULE, load, []),
    Self = self(),
    %% The start here does not return while it runs there.
    [spawn(fun() -> Self ! {Node, rpc:call(Node, application, start, [failover])} end) || Node <- [node(), Peer]],
    receive {Peer, Result} -> io:format("~p~n", [Result]) after 30000 -> io:format("hangs: ~p~n", [start]) end,
    Runs = fun(Node) -> lists:keymember(failover, 1, rpc:call(Node, application, which_applications, [])) end,
    io:format("~p~n", [{Runs(node()), Runs(Peer)}]),
    receive
        {started, First, Type1} -> io:format("there ~p: ~p~n", [First =:= Peer, Type1])
    after 10000 -> io:format("the start hangs: ~p~n", [x])
    end,
    rpc:cast(Peer, erlang, halt, []),
    receive
        {started, Second, Type2} -> io:format("here ~p: ~p~n", [Second =:= node(), Type2])
    after 30000 -> io:format("the failover hangs: ~p~n", [x])
    end,
    %% The application has said so before its start is over.
    until(fun() -> Runs(node()) end, 300),
    io:format("~p~n", [application:stop(failover)]).

until(Holds, N) ->
    case Holds() of
        true -> ok;
        false when N > 0 -> timer:sleep(100), until(Holds, N - 1)
    end.

load() ->
    application:load({application, failover, [{mod, {?MODULE, []}}, {applications, [kernel, stdlib]}]}).

start(Type, _) ->
    [{failover_main, Node} ! {started, node(), case Type of {Kind, _} -> Kind; _ -> Type end} || Node <- [node() | nodes()]],
    {ok, spawn_link(fun() -> receive after infinity -> ok end end)}.
stop(_) -> ok.
