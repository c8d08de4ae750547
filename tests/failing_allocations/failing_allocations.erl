%% Work that asks for memory in many ways. Each piece has a process of its own, which may fail for
%% want of memory; the others then go on, and the program comes to its end.
-module(failing_allocations).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Pieces = [{N, piece(N)} || N <- lists:seq(1, pieces())],
    Wrong = [N || {N, Result} <- Pieces, Result =:= wrong],
    io:format("wrong: ~p~n", [Wrong]),
    halt(length(Wrong)).

pieces() -> 19.

piece(N) ->
    {P, M} = spawn_monitor(fun() -> exit({result, work(N)}) end),
    receive
        {'DOWN', M, process, P, {result, true}} -> right;
        {'DOWN', M, process, P, {result, _}} -> wrong;
        {'DOWN', M, process, P, _} -> failed
    after 20_000 -> wrong
    end.

work(1) ->
    %% Heaps that grow, and lists.
    L = lists:seq(1, 50_000),
    lists:sum(lists:reverse(L)) =:= 1250025000 andalso length(lists:sort([{X rem 7, X} || X <- L])) =:= 50_000;
work(2) ->
    %% Shared binaries, appended, cut and searched.
    B = lists:foldl(fun(X, Acc) -> <<Acc/binary, X:32>> end, <<>>, lists:seq(1, 2000)),
    [Part, _] = binary:split(B, <<0, 0, 1, 0>>),
    byte_size(B) =:= 8000 andalso byte_size(binary:copy(Part, 100)) > 0;
work(3) ->
    %% Maps, small and large.
    M = maps:from_list([{X, [X]} || X <- lists:seq(1, 2000)]),
    N = maps:map(fun(_, [V]) -> V + 1 end, maps:merge(M, #{a => [1]})),
    maps:size(N) =:= 2001 andalso maps:get(a, N) =:= 2;
work(4) ->
    %% Tables of all kinds.
    lists:all(fun(Type) ->
                      T = ets:new(t, [Type, public]),
                      [true = ets:insert(T, {X, <<X:800>>, {X}}) || X <- lists:seq(1, 300)],
                      [] = ets:lookup(T, none),
                      Found = ets:select(T, [{{'$1', '_', '_'}, [{'>', '$1', 290}], ['$1']}]),
                      ets:delete(T),
                      length(Found) =:= 10
              end, [set, ordered_set, bag, duplicate_bag]);
work(5) ->
    %% Processes, messages, links, monitors, names.
    Self = self(),
    Echo = fun Echo() -> receive {From, Term} -> From ! {self(), Term}, Echo(); stop -> ok end end,
    Ps = [spawn_link(Echo) || _ <- lists:seq(1, 50)],
    register(failing_echo, hd(Ps)),
    [P ! {Self, {lists:seq(1, 100), <<0:10000>>}} || P <- Ps],
    Answers = [receive {P, {_, B}} -> byte_size(B) end || P <- Ps],
    [P ! stop || P <- Ps],
    lists:usort(Answers) =:= [1250];
work(6) ->
    %% The external format, compressed too.
    T = {[1.5, a, "b", <<"c">>], #{k => v}, 1 bsl 200, fun() -> ok end, self(), make_ref()},
    binary_to_term(term_to_binary(lists:duplicate(100, T), [compressed])) =:= lists:duplicate(100, T);
work(7) ->
    %% Large integers.
    F = lists:foldl(fun(X, Y) -> X * Y end, 1, lists:seq(1, 500)),
    list_to_integer(integer_to_list(F)) =:= F andalso F div (F - 1) =:= 1;
work(8) ->
    %% Regular expressions.
    {ok, R} = re:compile("(a+)(b|c)*d", [caseless]),
    {match, [_, _, _]} = re:run("xxAAbcbcD", R),
    re:replace(lists:duplicate(1000, "ad"), "a", "b", [global, {return, binary}]) =:= binary:copy(<<"bd">>, 1000);
work(9) ->
    %% Code that is made and loaded.
    Forms = [{attribute, 1, module, failing_made}, {attribute, 2, export, [{f, 1}]},
             {function, 3, f, 1, [{clause, 3, [{var, 3, 'X'}], [], [{op, 3, '+', {var, 3, 'X'}, {integer, 3, 1}}]}]}],
    {ok, failing_made, Beam} = compile:forms(Forms),
    {module, _} = code:load_binary(failing_made, "made", Beam),
    R = failing_made:f(1),
    code:delete(failing_made),
    code:purge(failing_made),
    R =:= 2;
work(10) ->
    %% Files.
    Name = "failing_allocations.txt",
    ok = file:write_file(Name, lists:duplicate(1000, "a line\n")),
    {ok, F} = file:open(Name, [read, raw, binary, read_ahead]),
    {ok, Line} = file:read_line(F),
    ok = file:close(F),
    {ok, Names} = file:list_dir("."),
    ok = file:delete(Name),
    Line =:= <<"a line\n">> andalso lists:member(Name, Names);
work(11) ->
    %% Programs outside.
    os:cmd("echo hello") =:= "hello\n";
work(12) ->
    %% Sockets.
    {ok, L} = gen_tcp:listen(0, [{active, false}, binary, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect({127, 0, 0, 1}, Port, [{active, true}, binary]),
    {ok, S} = gen_tcp:accept(L),
    ok = gen_tcp:send(S, lists:duplicate(100, <<"data">>)),
    ok = gen_tcp:close(S),
    gather(C, 0) =:= 400;
work(13) ->
    %% Timers.
    Ts = [erlang:start_timer(X, self(), X) || X <- lists:seq(1, 30)],
    [erlang:cancel_timer(T) || T <- lists:nthtail(15, Ts)],
    length([receive {timeout, T, X} -> X end || {T, X} <- lists:zip(lists:sublist(Ts, 10), lists:seq(1, 10))]) =:= 10;
work(14) ->
    %% Text.
    S = string:uppercase(lists:duplicate(500, $ä)),
    B = unicode:characters_to_binary(S),
    io_lib:format("~ts ~p ~w", [S, {B}, 1.5]) =/= [] andalso byte_size(B) =:= 1000;
work(15) ->
    %% Persistent terms, atoms, the dictionary.
    persistent_term:put({?MODULE, key}, lists:seq(1, 100)),
    put(key, [list_to_atom("failing_" ++ integer_to_list(X)) || X <- lists:seq(1, 200)]),
    R = length(persistent_term:get({?MODULE, key})) + length(get(key)),
    persistent_term:erase({?MODULE, key}),
    R =:= 300;
work(16) ->
    %% zlib and checksums.
    D = zlib:compress(binary:copy(<<"abc">>, 10000)),
    erlang:md5(zlib:uncompress(D)) =:= erlang:md5(binary:copy(<<"abc">>, 10000));
work(17) ->
    %% Exceptions with their stacks.
    lists:all(fun(X) -> try lists:nth(X, []) catch error:_:Stack -> Stack =/= [] end end, lists:seq(1, 100));
work(18) ->
    %% Tracing and system information.
    P = spawn(fun F() -> receive stop -> ok; X -> self() ! X, F() end end),
    erlang:trace(P, true, [send, 'receive', procs]),
    [P ! stop || _ <- [1, 2]],
    M = receive {trace, P, exit, R} -> R end,
    M =:= normal andalso length(erlang:processes()) > 10 andalso erlang:memory(total) > 0;
work(19) ->
    %% A garbage collection of much that lives, counters, files in memory.
    C = counters:new(100, []),
    L = [{X, integer_to_binary(X)} || X <- lists:seq(1, 20_000)],
    garbage_collect(),
    ok = counters:add(C, 1, length(L)),
    {ok, F} = file:open(<<0:100000>>, [ram, read, write, binary]),
    {ok, _} = file:pread(F, 0, 100),
    ok = file:close(F),
    counters:get(C, 1) =:= 20_000.

gather(Socket, Bytes) ->
    receive
        {tcp, Socket, Data} -> gather(Socket, Bytes + byte_size(Data));
        {tcp_closed, Socket} -> Bytes
    end.
