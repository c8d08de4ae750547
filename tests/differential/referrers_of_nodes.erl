%% Who refers to other nodes, and which nodes are known because of that.
-module(referrers_of_nodes).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    erts_debug:set_internal_state(node_tab_delayed_delete, 0),
    io:format("~p~n", [[Show() || Show <- [fun heap/0, fun tables/0, fun timers/0, fun specification/0, fun persistent/0]]]),
    io:format("~p~n", [many()]).

%% A pid, a port and a reference of a node, made from their bytes.
pid(Node) -> binary_to_term(<<131, 88, (term_to_binary_of(Node))/binary, 4711:32, 2:32, 7:32>>).
port(Node) -> binary_to_term(<<131, 89, (term_to_binary_of(Node))/binary, 4711:32, 7:32>>).
ref(Node) -> binary_to_term(<<131, 90, 3:16, (term_to_binary_of(Node))/binary, 7:32, 11:32, 47:32, 47:32>>).

term_to_binary_of(Node) ->
    <<131, Bytes/binary>> = term_to_binary(Node),
    Bytes.

%% The references to a node: of which kind and how often, by whom; and that their number is their sum.
references(Node) ->
    {{node_references, Nodes}, {dist_references, Connections}} = erts_debug:get_internal_state(node_and_dist_references),
    case lists:keyfind({Node, 7}, 1, Nodes) of
        false -> {none, lists:keymember(Node, 1, Connections), lists:member(Node, nodes(known))};
        {_, Count, Referrers} ->
            Count = lists:sum([N || {_, Ways} <- Referrers, {_, N} <- Ways]),
            {Node, 1, [{{node, {Node, 7}}, [{node, 1}]}]} = lists:keyfind(Node, 1, Connections),
            {true, Referrers}
    end.

%% How often a kind of referrer refers to a node in each way.
count(Node, Kind) ->
    case references(Node) of
        {true, Referrers} -> lists:sort(lists:append([Ways || {{K, _}, Ways} <- Referrers, K =:= Kind]));
        None -> None
    end.

%% Until nobody refers to a node any more.
gone(Node) ->
    garbage_collect(),
    case references(Node) of
        {none, false, false} -> gone;
        _ -> receive after 10 -> gone(Node) end
    end.

heap() ->
    Node = 'heap@nowhere',
    Self = self(),
    P = spawn(fun() ->
        Terms = {pid(Node), port(Node), [ref(Node), ref(Node)]},
        garbage_collect(),
        Self ! {self(), lists:member(Node, nodes(known))},
        receive stop -> Terms end
    end),
    Known = receive {P, K} -> K end,
    Counted = count(Node, process),
    Processes = [Pid =:= P || {{process, Pid}, _} <- element(2, references(Node))],
    P ! stop,
    {Known, Counted, Processes, gone(Node)}.

tables() ->
    Node = 'tables@nowhere',
    Insert = fun(Type) ->
        T = ets:new(referring, [named_table | Type]),
        ets:insert(T, [{a, pid(Node)}, {b, {port(Node), self()}}, {c, #{ref(Node) => lists:duplicate(3, ref(Node))}}, {d, make_ref()}]),
        All = count(Node, ets),
        {true, Referrers} = references(Node),
        Named = [Id || {{ets, Id}, _} <- Referrers],
        ets:delete(T, c),
        Fewer = count(Node, ets),
        ets:delete_all_objects(T),
        garbage_collect(),
        None = gone(Node),
        ets:insert(T, {a, pid(Node)}),
        garbage_collect(),
        One = count(Node, ets),
        ets:delete(T),
        {All, Named, Fewer, None, One, gone(Node)}
    end,
    [Insert(Type) || Type <- [[set], [ordered_set], [bag]]].

timers() ->
    Node = 'timers@nowhere',
    P = spawn(fun() -> receive stop -> ok end end),
    Ref = erlang:start_timer(100000, P, {pid(Node), port(Node)}),
    Started = count(Node, process),
    false = is_integer(erlang:read_timer(make_ref())),
    true = is_integer(erlang:cancel_timer(Ref)),
    Cancelled = gone(Node),
    Named = erlang:send_after(100000, no_such_name, [ref(Node)]),
    garbage_collect(),
    {true, Referrers} = references(Node),
    true = is_integer(erlang:cancel_timer(Named)),
    _ = erlang:send_after(100000, P, ref(Node)),
    garbage_collect(),
    exit(P, kill),
    {[N || {timer, N} <- Started], Cancelled, [Who || {Who, _} <- Referrers], gone(Node)}.

%% Kept by a continuation, and gone with it.
specification() ->
    Node = 'specification@nowhere',
    T = ets:new(t, []),
    ets:insert(T, [{K, V} || K <- [1, 2, 3], V <- [x]]),
    Counted = held(T, Node),
    ets:delete(T),
    {Counted, gone(Node)}.

held(T, Node) ->
    {[_], Continuation} = ets:select(T, [{{'$1', x}, [{'=/=', '$1', pid(Node)}], [{{'$1', ref(Node), [port(Node)]}}]}], 1),
    garbage_collect(),
    {true, Referrers} = references(Node),
    Counted = [Ways || {{match_spec, _}, Ways} <- Referrers],
    {[_], _} = ets:select(Continuation),
    Counted.

persistent() ->
    Node = 'persistent@nowhere',
    persistent_term:put(referring, {pid(Node), pid(Node)}),
    garbage_collect(),
    {true, Referrers} = references(Node),
    Known = lists:member(Node, nodes(known)),
    persistent_term:erase(referring),
    {Referrers, Known}.

%% Nodes are known as long as somebody has a pid of theirs.
many() ->
    Names = [list_to_atom("many" ++ integer_to_list(N) ++ "@nowhere") || N <- lists:seq(1, 500)],
    Self = self(),
    Known = fun() -> length([Node || Node <- nodes(known), lists:prefix("many", atom_to_list(Node))]) end,
    {P, M} = spawn_monitor(fun() ->
        Pids = [pid(Node) || Node <- Names],
        Self ! {self(), Known()},
        receive stop -> Pids end
    end),
    First = receive {P, N} -> N end,
    Second = Known(),
    P ! stop,
    receive {'DOWN', M, process, P, _} -> ok end,
    Gone = [gone(Node) || Node <- Names],
    {lists:usort(Gone), First, Second, Known()}.
