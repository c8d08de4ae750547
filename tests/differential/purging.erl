%% Code that goes: what processes, messages, tables and timers hold of its literals stays.
-module(purging).
-export([main/0]).

main() ->
    %% Reports come when they come.
    logger:set_primary_config(level, none),
    literals_live_on(),
    funs_of_purged_code(),
    hard_and_soft(),
    persistent(),
    many_versions(),
    callers_live_on(),
    callers_of_purged_funs(),
    refused_chunks(),
    loaded_while_on_load_waits(),
    binaries_are_given_back().

%% Processes that only call a module survive when it is loaded and purged all the time.
callers_live_on() ->
    Text = ["one(X) -> X + 1.", "ten(X) -> lists:sum([one(X) || _ <- lists:seq(1, 10)])."],
    ok = load(called, Text),
    Rounds = counters:new(4, []),
    Callers = [spawn(fun Call() -> called:one(1), called:ten(2), counters:add(Rounds, I, 1), Call() end) || I <- [1, 2, 3, 4]],
    lists:foreach(fun(_) -> ok = load(called, Text), leave_old_code(Rounds), code:purge(called) end, lists:seq(1, 20)),
    io:format("callers ~p~n", [[is_process_alive(Caller) || Caller <- Callers]]),
    [exit(Caller, kill) || Caller <- Callers].

%% Returns when each caller has begun a round since: who is still in the old code would be killed.
leave_old_code(Rounds) ->
    [leave_old_code(Rounds, I, counters:get(Rounds, I) + 2) || I <- [1, 2, 3, 4]].

leave_old_code(Rounds, I, Wanted) ->
    wait_for(fun() -> counters:get(Rounds, I) >= Wanted end, true, 500).

load(Module, Text) ->
    Forms = [element(2, erl_parse:parse_form(element(2, erl_scan:string(lists:flatten(Line))))) || Line <- Text],
    {ok, Module, Binary} = compile:forms([{attribute, 1, module, Module}, {attribute, 1, compile, [export_all, nowarn_export_all]} | Forms]),
    {module, Module} = code:load_binary(Module, "none", Binary),
    ok.

drop(Module) ->
    code:delete(Module),
    code:purge(Module).

%% Every way of holding a literal of a module that is purged and whose memory is used again.
literals_live_on() ->
    ok = load(gone, ["big() -> {[1, 2.5, \"text\", <<\"a binary that is longer than sixty-four bytes, so that it is shared, not copied\">>], #{a => [b, c], 7 => {x}}, 123456789012345678901234567890}.",
                     "table() -> [{one, 1}, {two, [2]}, {three, {3}}].",
                     "list() -> [a, b, [c, {d}], \"e\"]."]),
    Expected = eval("{[1, 2.5, \"text\", <<\"a binary that is longer than sixty-four bytes, so that it is shared, not copied\">>], #{a => [b, c], 7 => {x}}, 123456789012345678901234567890}."),
    Self = self(),
    Held = gone:big(),
    put(held, gone:table()),
    Tail = tl(gone:list()),
    %% In the mailbox of a process that looks only later.
    Late = spawn_link(fun() -> receive go -> ok end, receive {data, Data} -> Self ! {late, Data} end end),
    Late ! {data, {gone:big(), gone:list()}},
    %% In a dictionary, a fun's environment and on the stack of another.
    Waiting = spawn_link(fun() -> hold(gone:big(), Self) end),
    receive holding -> ok end,
    ets:new(kept, [named_table, public]),
    ets:insert(kept, {key, gone:big()}),
    Ref = erlang:send_after(300, self(), {timer, gone:big()}),
    self() ! {own, gone:table()},
    drop(gone),
    churn(),
    io:format("held ~p~n", [Held =:= Expected]),
    io:format("dictionary ~p tail ~p~n", [get(held), Tail]),
    Late ! go,
    receive {late, {Big, List}} -> io:format("late ~p ~p~n", [Big =:= Expected, List]) end,
    Waiting ! tell,
    receive {held, Data} -> io:format("stack ~p~n", [Data =:= Expected]) end,
    receive {own, Table} -> io:format("own ~p~n", [Table]) end,
    [{key, Stored}] = ets:lookup(kept, key),
    io:format("table ~p~n", [Stored =:= Expected]),
    receive {timer, Timed} -> io:format("timer ~p ~p~n", [Timed =:= Expected, erlang:read_timer(Ref)]) end.

eval(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

hold(Data, To) ->
    To ! holding,
    Result = receive tell -> Data end,
    To ! {held, Result}.

%% Uses the memory again.
churn() ->
    [begin ok = load(churned, [lists:flatten(["data() -> ", io_lib:format("~p", [[{N, X} || X <- lists:seq(1, 20)]]), "."])]), churned:data(), drop(churned) end
     || N <- lists:seq(1, 30)],
    ok.

funs_of_purged_code() ->
    ok = load(funny, ["f(X) -> fun(Y) -> {X, Y, [literal, 'in', fun_code]} end."]),
    F = funny:f(1),
    ets:insert(kept, {f, F}),
    io:format("~p~n", [F(2)]),
    Holder = spawn(fun() -> G = funny:f(3), receive stop -> G end end),
    Monitor = monitor(process, Holder),
    timer:sleep(50),
    %% We hold F ourselves: so the fun goes to a table only.
    Caller = spawn(fun() -> receive {call, To} -> [{f, H}] = ets:lookup(kept, f), To ! {result, catch H(4)} end end),
    erase(),
    code:delete(funny),
    io:format("soft ~p~n", [code:soft_purge(funny)]),
    exit(Holder, kill),
    receive {'DOWN', Monitor, process, _, Why} -> io:format("holder ~p~n", [Why]) end,
    Caller ! {call, self()},
    receive {result, R} -> io:format("~p~n", [R]) end,
    %% From another process, since we may still hold it.
    {_, M2} = spawn_monitor(fun() -> [{f, H}] = ets:lookup(kept, f), exit({got, is_function(H, 1)}) end),
    receive {'DOWN', M2, process, _, Got} -> io:format("~p~n", [Got]) end.

hard_and_soft() ->
    ok = load(runner, ["loop() -> receive stop -> old; {upgrade, From} -> From ! upgraded, runner:loop() end."]),
    P = spawn(fun() -> runner:loop(), exit(stopped) end),
    Q = spawn(fun() -> runner:loop(), exit(stopped) end),
    M = monitor(process, P),
    MQ = monitor(process, Q),
    timer:sleep(20),
    ok = load(runner, ["loop() -> receive stop -> new; {upgrade, From} -> From ! upgraded, runner:loop() end."]),
    io:format("soft with users ~p~n", [code:soft_purge(runner)]),
    Q ! {upgrade, self()},
    receive upgraded -> ok end,
    io:format("check ~p ~p~n", [erlang:check_process_code(P, runner), erlang:check_process_code(Q, runner)]),
    io:format("hard ~p~n", [code:purge(runner)]),
    receive {'DOWN', M, process, _, Why} -> io:format("~p~n", [Why]) end,
    Q ! stop,
    receive {'DOWN', MQ, process, _, WhyQ} -> io:format("~p~n", [WhyQ]) end.

persistent() ->
    persistent_term:put(purging_key, {first, [1, 2, 3], #{}}),
    V1 = persistent_term:get(purging_key),
    P = spawn_link(fun() -> V = persistent_term:get(purging_key), receive {tell, To} -> To ! {value, V} end end),
    timer:sleep(20),
    persistent_term:put(purging_key, {second, lists:seq(1, 50)}),
    [begin persistent_term:put({many, N}, {N, lists:seq(1, 30)}), persistent_term:erase({many, N}) end || N <- lists:seq(1, 50)],
    P ! {tell, self()},
    receive {value, V} -> io:format("~p ~p~n", [V, V1]) end,
    io:format("~p~n", [persistent_term:get(purging_key)]),
    true = persistent_term:erase(purging_key),
    io:format("~p~n", [catch persistent_term:get(purging_key)]).

many_versions() ->
    Counters = [begin
                    ok = load(versioned, [lists:flatten(io_lib:format("get() -> {version, ~p, [~p, \"~p\"]}.", [N, N * 1.5, N]))]),
                    code:purge(versioned),
                    versioned:get()
                end || N <- lists:seq(1, 40)],
    io:format("~p~n", [[element(2, C) || C <- Counters]]),
    io:format("~p~n", [lists:last(Counters)]).

%% Who calls a fun of code that is being purged is suspended until it is known what becomes of it.
callers_of_purged_funs() ->
    [calls_while_purged(Kind) || Kind <- [abort, gone]].

calls_while_purged(Kind) ->
    Text = ["f(X) -> fun(Y) -> {X, Y} end.", "stay(From) -> From ! here, receive go -> ok end."],
    ok = load(undecided, Text),
    ets:insert(kept, {f, undecided:f(1)}),
    %% A soft purge fails.
    Users = [spawn(undecided, stay, [self()]) || Kind =:= abort],
    [receive here -> ok end || _ <- Users],
    code:delete(undecided),
    prepared = purge_step(undecided, Kind =/= abort),
    {Caller, Monitor} = spawn_monitor(fun() -> [{f, F}] = ets:lookup(kept, f), exit({called, try F(2) catch error:Reason -> Reason end}) end),
    suspended = wait_for(fun() -> element(2, process_info(Caller, status)) end, suspended, 100),
    io:format("~p ~p~n", [Kind, process_info(Caller, current_function)]),
    io:format("purged ~p~n", [purge_end()]),
    receive {'DOWN', Monitor, process, _, Why} -> io:format("~p~n", [Why]) end,
    [exit(User, kill) || User <- Users],
    drop(undecided),
    drop(undecided).

%% The purger's own way of stopping between its steps.
purge_step(Module, Hard) ->
    Ref = make_ref(),
    put(purge, Ref),
    erts_code_purger ! {test_purge, Module, self(), Hard, Ref},
    receive {started, Ref} -> ok end,
    prepared.

purge_end() ->
    Ref = get(purge),
    erts_code_purger ! {continue, Ref},
    receive {continued, Ref} -> ok end,
    erts_code_purger ! {complete, Ref},
    receive {test_purge, Result, Ref} -> Result end.

wait_for(_, Wanted, 0) -> {never, Wanted};
wait_for(Ask, Wanted, N) ->
    case Ask() of
        Wanted -> Wanted;
        _ -> timer:sleep(10), wait_for(Ask, Wanted, N - 1)
    end.

%% Attributes and compile information are external terms, or the file is refused.
refused_chunks() ->
    {ok, chunky, Binary} = compile:forms([{attribute, 1, module, chunky}]),
    {ok, chunky, Chunks} = beam_lib:all_chunks(Binary),
    [begin
         {ok, Changed} = beam_lib:build_module(lists:keystore(Name, 1, Chunks, {Name, Bytes})),
         io:format("~s ~p: ~p~n", [Name, Bytes, code:load_binary(chunky, "none", Changed)]),
         code:purge(chunky)
     end || Name <- ["Attr", "CInf"], Bytes <- [<<"no term">>, <<131, 106>>, <<>>]],
    drop(chunky).

%% A version whose on_load function is still to run, and another one that is loaded meanwhile.
loaded_while_on_load_waits() ->
    {module, waiting} = put_in_place(1, []),
    {User, Monitor} = spawn_monitor(waiting, stay, []),
    io:format("~p~n", [[put_in_place(N, [{attribute, 1, on_load, {init, 0}}]) || N <- [2, 3]]]),
    io:format("~p~n", [{waiting:version(), finished(true), waiting:version(), finished(true), finished(false)}]),
    io:format("~p~n", [code:purge(waiting)]),
    receive {'DOWN', Monitor, process, User, Why} -> io:format("~p~n", [Why]) end,
    {error, on_load} = put_in_place(4, [{attribute, 1, on_load, {init, 0}}]),
    io:format("~p~n", [{erts_code_purger:finish_after_on_load(waiting, false), finished(true), waiting:version()}]),
    drop(waiting).

put_in_place(N, Attributes) ->
    Text = ["version() -> " ++ integer_to_list(N) ++ ".", "stay() -> receive go -> waiting:version() end.", "init() -> ok."],
    Forms = [element(2, erl_parse:parse_form(element(2, erl_scan:string(Line)))) || Line <- Text],
    Exports = {attribute, 1, export, [{version, 0}, {stay, 0}, {init, 0}]},
    {ok, waiting, Binary} = compile:forms([{attribute, 1, module, waiting}, Exports | Attributes] ++ Forms),
    erlang:load_module(waiting, Binary).

finished(Keep) ->
    try erlang:finish_after_on_load(waiting, Keep) catch error:Reason -> Reason end.

%% What a built-in took with it when it went on elsewhere is not kept by the process.
binaries_are_given_back() ->
    [begin use(Use), io:format("given back ~p~n", [wait_for(fun() -> garbage_collect(), erlang:memory(binary) < Before + 1000000 end, true, 100)]) end
     || Before <- [erlang:memory(binary)],
        Use <- [fun erlang:md5/1, fun erlang:crc32/1, fun erlang:phash2/1, fun(Bytes) -> maps:merge(#{a => Bytes}, #{b => Bytes}) end]].

use(Use) ->
    _ = Use(binary:copy(<<"0123456789">>, 500000)),
    ok.
