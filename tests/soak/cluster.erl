%% A cluster of six nodes, of SwarmRT and of erl, that send each other messages, link and monitor, register names with `global`,
%% join groups of `pg` and do transactions of `mnesia`, while nodes are killed, stopped and started again and, where each
%% has a network namespace of its own, cut off.
%%
%% `main/1` is the coordinator. It speaks to the nodes through their standard input and output (`peer`), so that it reaches
%% those that are cut off. The other functions run on the nodes. What may not happen is told as it happens, and fails the run:
%% a message that is lost between two processes without a loss of the connection; an exit signal or 'DOWN' message that does
%% not come; a node that does not answer, or is not connected again; names and groups that differ at the end; a record lost
%% whose transaction was committed by a node that was not cut off.
-module(cluster).
-export([main/1, setup/2, status/0, rejoin/1, names/0, counts/0, sink/0, waits/0]).

-define(ANSWER_MS, 60000).
-define(CALM_MS, 4000).
-define(PROBE_MS, 60000).

%% ---- The coordinator ----

%% Seconds, whether there are namespaces, and for each node its name, host and command line.
main([Seconds, Cuts, Beams | Lines]) ->
    Specs = [list_to_tuple(string:split(Line, "|", all)) || Line <- Lines],
    put(violations, 0),
    put(cuts, Cuts =:= "true"),
    Nodes = maps:from_list([{Name, started(Spec, Beams)} || {Name, _, _, _} = Spec <- Specs]),
    form(Nodes),
    End = erlang:monotonic_time(second) + list_to_integer(Seconds),
    Last = rounds(Nodes, End, Cuts =:= "true", Beams, #{}),
    finish(Last),
    case get(violations) of
        0 -> io:format("passed~n"), 0;
        Count -> io:format("FAILED: ~p violations~n", [Count]), 1
    end.

%% A node: how it was started, its peer process, its name, its run, and whether it was cut off in that.
started({Name, Host, Environment, Line} = Spec, Beams) ->
    [Program | Arguments] = string:lexemes(Line, " "),
    Options = #{name => Name, host => Host, longnames => true, connection => standard_io, wait_boot => 60000,
                exec => {os:find_executable(Program), Arguments}, shutdown => halt,
                env => [{Key, Value} || Pair <- string:lexemes(Environment, " "), [Key, Value] <- [string:split(Pair, "=")]],
                args => ["-setcookie", "cluster_soak", "-pa", Beams, "-kernel", "net_ticktime", "8", "-kernel",
                         "prevent_overlapping_partitions", "false", "-kernel", "logger_level", "critical"]},
    {ok, Peer, Node} = peer:start(Options),
    Run = erlang:unique_integer([positive]),
    #{spec => Spec, peer => Peer, node => Node, run => Run}.

call(#{peer := Peer, node := Node}, Function, Arguments) ->
    try peer:call(Peer, ?MODULE, Function, Arguments, ?ANSWER_MS)
    catch Class:Reason -> violation("~p does not answer ~p: ~p ~p", [Node, Function, Class, Reason]), failed
    end.

violation(Format, Arguments) ->
    put(violations, get(violations) + 1),
    io:format("~s VIOLATION: " ++ Format ++ "~n", [now_text() | Arguments]).

now_text() ->
    {_, {Hour, Minute, Second}} = calendar:local_time(),
    io_lib:format("~2..0b:~2..0b:~2..0b", [Hour, Minute, Second]).

say(Format, Arguments) -> io:format("~s " ++ Format ++ "~n", [now_text() | Arguments]).

form(Nodes) ->
    All = all(Nodes),
    [call(Node, setup, [All, Run]) || #{run := Run} = Node <- maps:values(Nodes)],
    meshed(Nodes, 60).

all(Nodes) -> lists:sort([Node || #{node := Node} <- maps:values(Nodes)]).

%% Waits until every node is connected to every other.
meshed(Nodes, Tries) ->
    All = all(Nodes),
    Missing = [{Node, Lacks} || #{node := Node} = At <- maps:values(Nodes),
        Lacks <- [case call(At, status, []) of
            #{nodes := Connected} -> (All -- [Node]) -- Connected;
            _ -> [no_answer]
        end], Lacks =/= []],
    case Missing of
        [] -> ok;
        _ when Tries =:= 0 -> violation("not connected: ~p", [Missing]);
        _ -> timer:sleep(1000), meshed(Nodes, Tries - 1)
    end.

rounds(Nodes, End, Cuts, Beams, Expected) ->
    gather(Nodes),
    case erlang:monotonic_time(second) >= End of
        true -> {Nodes, Expected};
        false ->
            timer:sleep(?CALM_MS),
            Name = lists:nth(rand:uniform(map_size(Nodes)), lists:sort(maps:keys(Nodes))),
            Actions = [kill, kill, stop] ++ [cut || Cuts, _ <- [1, 2, 3]],
            Action = lists:nth(rand:uniform(length(Actions)), Actions),
            Known = expected(Nodes, Expected),
            say("~p ~s", [Action, Name]),
            New = act(Action, Name, Nodes, Beams),
            meshed(New, 60),
            rounds(New, End, Cuts, Beams, Known)
    end.

%% How many records each run has committed so far, of those that were never cut off.
expected(Nodes, Expected) ->
    lists:foldl(fun(#{node := Node} = At, Known) ->
        case call(At, status, []) of
            #{committed := {Run, Count}} -> Known#{{Node, Run} => Count};
            _ -> Known
        end
    end, Expected, maps:values(Nodes)).

gather(Nodes) ->
    [[violation("on ~p: ~p", [Node, What]) || What <- Said]
     || #{node := Node} = At <- maps:values(Nodes), #{said := Said} <- [call(At, status, [])]].

act(kill, Name, Nodes, Beams) ->
    #{peer := Peer} = At = maps:get(Name, Nodes),
    Pid = peer:call(Peer, os, getpid, []),
    unlink(Peer),
    os:cmd("kill -9 " ++ Pid),
    again(Name, At, Nodes, Beams);
act(stop, Name, Nodes, Beams) ->
    #{peer := Peer} = At = maps:get(Name, Nodes),
    unlink(Peer),
    peer:cast(Peer, init, stop, []),
    again(Name, At, Nodes, Beams);
act(cut, Name, Nodes, _) ->
    At = maps:get(Name, Nodes),
    Seconds = 2 + rand:uniform(28),
    os:cmd("ip link set swc_" ++ Name ++ " down"),
    timer:sleep(Seconds * 1000),
    os:cmd("ip link set swc_" ++ Name ++ " up"),
    say("~s was cut off for ~p s", [Name, Seconds]),
    Run = erlang:unique_integer([positive]),
    reconnected(Nodes, 60),
    call(At, rejoin, [Run]),
    Nodes#{Name := At#{run := Run}}.

%% Connects all nodes: those that were cut off do so by themselves only when they send something.
reconnected(Nodes, Tries) -> meshed(Nodes, Tries).

again(Name, #{spec := Spec, peer := Peer}, Nodes, Beams) ->
    Ref = monitor(process, Peer),
    receive {'DOWN', Ref, process, Peer, _} -> ok after 60000 -> violation("~s does not end", [Name]) end,
    timer:sleep(rand:uniform(3000)),
    New = started(Spec, Beams),
    All = Nodes#{Name := New},
    call(New, setup, [all(All), maps:get(run, New)]),
    All.

%% What every node has to agree on once nothing happens any more.
finish({Nodes, Before}) ->
    say("nothing happens any more", []),
    Expected = expected(Nodes, Before),
    timer:sleep(?PROBE_MS),
    gather(Nodes),
    agree(names, Nodes, 30),
    Counts = [{Node, call(At, counts, [])} || #{node := Node} = At <- maps:values(Nodes)],
    [check_counts(Node, Has, Expected) || {Node, Has} <- Counts, is_map(Has)],
    Totals = lists:foldl(fun(At, Sum) ->
        case call(At, status, []) of
            #{done := Done} -> maps:fold(fun(Key, Value, Acc) -> maps:update_with(Key, fun(Old) -> Old + Value end, Value, Acc) end, Sum, Done);
            _ -> Sum
        end
    end, #{}, maps:values(Nodes)),
    say("of the last runs of the nodes: ~p; records: ~p", [Totals, lists:sum(maps:values(Expected))]),
    [catch peer:stop(Peer) || #{peer := Peer} <- maps:values(Nodes)].

agree(What, Nodes, Tries) ->
    Answers = [{Node, call(At, What, [])} || #{node := Node} = At <- maps:values(Nodes)],
    HasAll = fun({_, {Names, {Scope, Members}}}) ->
        Expected = [Node || {Node, {_, {Other, _}}} <- Answers, Other =:= Scope],
        length(Names) =:= map_size(Nodes) andalso Members =:= lists:sort(Expected);
       (_) -> false
    end,
    case [Answer || Answer <- Answers, not HasAll(Answer)] of
        [] -> ok;
        Different when Tries =:= 0 ->
            %% After a node was cut off `global` lacks names between nodes of erl as well, as overlapping partitions are not prevented.
            OnlyNames = lists:all(fun({_, {Names, Rest}}) -> is_list(Names) andalso HasAll({x, {all(Nodes), Rest}});
               (_) -> false
            end, Different),
            case get(cuts) andalso OnlyNames of
                true -> say("global lacks names, as it may: ~p", [Different]);
                false -> violation("names and groups differ: ~p", [Different])
            end;
        _ -> timer:sleep(1000), agree(What, Nodes, Tries - 1)
    end.

check_counts(Node, Has, Expected) ->
    maps:foreach(fun(Run, Count) ->
        case maps:get(Run, Has, 0) of
            There when There >= Count -> ok;
            There -> violation("on ~p: ~p of ~p records of ~p", [Node, There, Count, Run])
        end
    end, Expected).

%% ---- On the nodes ----

setup(All, Run) ->
    Self = self(),
    Keeper = spawn(fun() ->
        ets:new(?MODULE, [named_table, public]),
        ets:insert(?MODULE, {all, All}),
        Self ! {self(), ready},
        waits()
    end),
    receive {Keeper, ready} -> ok end,
    [net_kernel:connect_node(Node) || Node <- All],
    register(cluster_sink, spawn(fun sink/0)),
    {ok, _} = pg:start(scope()),
    Member = spawn(fun() -> register_often(All) end),
    ok = pg:join(scope(), members, Member),
    [spawn(fun() -> stream(Node) end) || Node <- All, Node =/= node()],
    [spawn(fun() -> relations(Node) end) || Node <- All, Node =/= node()],
    spawn(fun() -> connects(All) end),
    rejoin(Run).

%% `pg` of OTP 25 ends on what that of OTP 29 sends it: each release has a scope of its own.
scope() -> list_to_atom("cluster_" ++ erlang:system_info(otp_release)).

tell(What) -> ets:insert(?MODULE, {{said, erlang:unique_integer()}, What}).
count(What) -> ets:update_counter(?MODULE, {done, What}, 1, {{done, What}, 0}).

status() ->
    Said = [{Key, What} || {{said, _} = Key, What} <- ets:tab2list(?MODULE)],
    [ets:delete(?MODULE, Key) || {Key, _} <- Said],
    #{nodes => nodes(), said => [What || {_, What} <- Said],
      done => maps:from_list([{What, Count} || {{done, What}, Count} <- ets:tab2list(?MODULE)]),
      committed => case ets:lookup(?MODULE, committed) of [{_, Run, Count}] -> {Run, Count}; [] -> none end}.

waits() -> receive after infinity -> ok end.

connects(All) ->
    [net_adm:ping(Node) || Node <- All -- [node() | nodes()]],
    timer:sleep(1000),
    connects(All).

register_often(All) ->
    case global:whereis_name(node()) of
        Pid when Pid =:= self() -> ok;
        _ -> global:re_register_name(node(), self())
    end,
    count(names),
    receive after 500 -> ok end,
    register_often(All).

names() ->
    Pids = [{Name, global:whereis_name(Name)} || {_, [All]} <- [{x, [[Node || {all, Nodes} <- ets:lookup(?MODULE, all), Node <- Nodes]]}], Name <- All],
    Names = [{Name, node(Pid)} || {Name, Pid} <- Pids, is_pid(Pid), node(Pid) =:= Name],
    {lists:sort(Names), {scope(), lists:sort([node(Pid) || Pid <- pg:get_members(scope(), members)])}}.

%% Numbered messages to the sink of another node, a new stream after every loss of the connection.
stream(Node) ->
    Ref = monitor(process, {cluster_sink, Node}),
    stream(Node, Ref, make_ref(), 1).

stream(Node, Ref, Stream, Number) ->
    receive
        {'DOWN', Ref, process, _, _} -> timer:sleep(500), stream(Node)
    after 0 ->
        Payload = case Number rem 500 of 0 -> binary:copy(<<Number:32>>, 50000); _ -> Number end,
        {cluster_sink, Node} ! {stream, self(), Stream, Number, Payload},
        count(sent),
        case Number rem 20 of 0 -> timer:sleep(20); _ -> ok end,
        stream(Node, Ref, Stream, Number + 1)
    end.

sink() -> sink(#{}).
sink(Streams) ->
    receive
        {stream, Pid, Stream, Number, _} ->
            count(received),
            case Streams of
                #{Stream := {Ref, Last}} when Number =:= Last + 1 -> sink(Streams#{Stream := {Ref, Number}});
                #{Stream := {Ref, Last}} ->
                    %% Allowed where the connection was lost, of which the monitor tells.
                    receive {'DOWN', Ref, process, Pid, _} -> ok
                    after 20000 -> tell({lost, node(Pid), Last, Number})
                    end,
                    sink(Streams#{Stream := {monitor(process, Pid), Number}});
                _ -> sink(Streams#{Stream => {monitor(process, Pid), Number}})
            end;
        {'DOWN', Ref, process, _, _} -> sink(maps:filter(fun(_, {Known, _}) -> Known =/= Ref end, Streams))
    end.

%% Processes on another node, linked and monitored, that end, or whose node is lost.
relations(Node) ->
    process_flag(trap_exit, true),
    try spawn_opt(Node, ?MODULE, waits, [], [link, monitor]) of
        {Pid, Ref} ->
            case rand:uniform(3) of
                1 -> exit(Pid, kill);
                2 -> exit(Pid, because);
                3 -> spawn(fun() -> exit(Pid, other) end)
            end,
            receive {'EXIT', Pid, _} -> count(exits) after ?PROBE_MS -> tell({no_exit, Pid}) end,
            receive {'DOWN', Ref, process, Pid, _} -> count(downs) after ?PROBE_MS -> tell({no_down, Pid}) end
    catch _:_ -> timer:sleep(500)
    end,
    timer:sleep(10),
    relations(Node).

%% Starts mnesia, or starts it again, and the process that writes.
rejoin(Run) ->
    case whereis(cluster_writer) of
        undefined -> ok;
        Old ->
            Ref = monitor(process, Old),
            exit(Old, kill),
            receive {'DOWN', Ref, process, Old, _} -> ok end
    end,
    stopped = mnesia:stop(),
    ok = mnesia:start(),
    joined(60),
    Pid = spawn(fun() -> writer(Run, 0) end),
    register(cluster_writer, Pid),
    ok.

joined(Tries) ->
    [{all, All}] = ets:lookup(?MODULE, all),
    Others = [Node || Node <- nodes(), lists:member(Node, All), rpc:call(Node, mnesia, system_info, [is_running], 10000) =:= yes],
    {ok, Found} = mnesia:change_config(extra_db_nodes, Others),
    Result = case Found of
        [] when node() =:= hd(All) -> mnesia:create_table(records, [{ram_copies, [node()]}]);
        [] -> {aborted, nobody};
        _ -> mnesia:add_table_copy(records, node(), ram_copies)
    end,
    Waited = case Result of
        {atomic, ok} -> mnesia:wait_for_tables([records], 30000);
        {aborted, {already_exists, records, _}} -> mnesia:wait_for_tables([records], 30000);
        Other -> Other
    end,
    case Waited of
        ok -> ok;
        Wrong when Tries =:= 0 -> tell({mnesia, Wrong});
        _ -> timer:sleep(1000), joined(Tries - 1)
    end.

writer(Run, Number) ->
    ets:insert(?MODULE, {committed, Run, Number}),
    Write = fun() -> mnesia:write({records, {node(), Run, Number + 1}, x}) end,
    case mnesia:sync_transaction(Write) of
        {atomic, ok} -> count(transactions), timer:sleep(20), writer(Run, Number + 1);
        {aborted, _} -> timer:sleep(200), writer(Run, Number)
    end.

%% How many records there are of each run.
counts() ->
    Keys = mnesia:dirty_all_keys(records),
    lists:foldl(fun({Node, Run, _}, Counts) -> maps:update_with({Node, Run}, fun(Old) -> Old + 1 end, 1, Counts) end, #{}, Keys).
