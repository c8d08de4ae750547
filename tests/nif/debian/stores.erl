%% Libraries that keep state behind resources: a tree of topics, counters, and bitcask's files and table of keys.
-module(stores).
-export([main/0]).

main() ->
    topics(),
    counters(),
    bitcask().

topics() ->
    Tree = mqtree:new(),
    Topics = [<<"a/b/c">>, <<"a/+/c">>, <<"#">>, <<"x/y">>],
    [mqtree:insert(Tree, Topic) || Topic <- Topics],
    mqtree:insert(Tree, <<"x/y">>),
    io:format("~p~n", [lists:sort(mqtree:match(Tree, <<"a/b/c">>))]),
    io:format("~p ~p ~p~n", [mqtree:refc(Tree, <<"x/y">>), mqtree:size(Tree), lists:sort(mqtree:to_list(Tree))]),
    io:format("~p ~p~n", [mqtree:delete(Tree, <<"x/y">>), mqtree:refc(Tree, <<"x/y">>)]),
    ok = mqtree:register(topics, Tree),
    io:format("~p ~p~n", [mqtree:registered(), mqtree:whereis(topics) =:= Tree]),
    ok = mqtree:unregister(topics),
    ok = mqtree:clear(Tree),
    io:format("~p ~p~n", [mqtree:is_empty(Tree), catch mqtree:size(not_a_tree)]),
    %% Many that nobody holds.
    Sizes = [begin T = mqtree:new(), mqtree:insert(T, integer_to_binary(N)), mqtree:size(T) end || N <- lists:seq(1, 20000)],
    io:format("~p~n", [lists:sum(Sizes)]).

counters() ->
    {ok, _} = application:ensure_all_started(cache_tab),
    ok = ets_cache:new(c, [{max_size, 100}]),
    [ets_cache:insert(c, N, N * N) || N <- lists:seq(1, 50)],
    io:format("~p ~p~n", [ets_cache:lookup(c, 7), ets_cache:lookup(c, 70)]),
    io:format("~p~n", [ets_cache:lookup(c, 80, fun() -> {ok, found} end)]),
    ets_cache:delete(c).

bitcask() ->
    Folder = filename:join("/tmp", "bitcask-" ++ os:getpid()),
    {ok, _} = application:ensure_all_started(bitcask),
    Store = bitcask:open(Folder, [read_write, {max_file_size, 20000}]),
    [ok = bitcask:put(Store, <<"key", N:32>>, binary:copy(<<N:8>>, N rem 200)) || N <- lists:seq(1, 1000)],
    [ok = bitcask:delete(Store, <<"key", N:32>>) || N <- lists:seq(1, 1000, 3)],
    io:format("~p ~p ~p~n", [bitcask:get(Store, <<"key", 5:32>>), bitcask:get(Store, <<"key", 4:32>>), bitcask:get(Store, <<"none">>)]),
    io:format("~p~n", [length(bitcask:list_keys(Store))]),
    io:format("~p~n", [bitcask:fold(Store, fun(_Key, Value, Sum) -> Sum + byte_size(Value) end, 0)]),
    ok = bitcask:close(Store),
    io:format("~p~n", [bitcask:merge(Folder)]),
    Again = bitcask:open(Folder, []),
    io:format("~p ~p~n", [length(bitcask:list_keys(Again)), bitcask:get(Again, <<"key", 999:32>>) =/= not_found]),
    ok = bitcask:close(Again),
    os:cmd("rm -rf " ++ Folder).
