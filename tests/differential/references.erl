%% References that leave the machine as bytes or text and come back still name what they named.
-module(references).
-export([main/0]).

main() ->
    [begin
         aliases(Way),
         arrays(Way),
         compiled(Way),
         resources(Way)
     end || Way <- ways()],
    lifetimes(),
    hashes().

%% Each way out and back, for any term that holds the reference.
ways() ->
    [{external, fun(Term) -> binary_to_term(term_to_binary(Term)) end},
     {used, fun(Term) -> element(1, binary_to_term(term_to_binary(Term), [used])) end},
     {compressed, fun(Term) -> binary_to_term(term_to_binary(Term, [compressed])) end},
     {iovec, fun(Term) -> binary_to_term(iolist_to_binary(term_to_iovec(Term))) end},
     {map, fun(Term) -> #{Term := [Back]} = binary_to_term(term_to_binary(#{Term => [Term]})), Back end},
     {large_map,
      fun(Term) ->
              Map = maps:from_list([{Term, Term} | [{N, N} || N <- lists:seq(1, 100)]]),
              maps:get(Term, binary_to_term(term_to_binary(Map)))
      end},
     {closure, fun(Term) -> Fun = fun() -> Term end, (binary_to_term(term_to_binary(Fun)))() end},
     {text, fun from_text/1}].

from_text({Tag, Reference}) -> {Tag, from_text(Reference)};
from_text(Reference) when is_reference(Reference) -> list_to_ref(ref_to_list(Reference));
from_text(Term) -> Term.

aliases({Name, Way}) ->
    Alias = alias(),
    io:format("~p: same ~p~n", [Name, Way(Alias) =:= Alias]),
    Way(Alias) ! {hello, 1},
    io:format("~p: alias ~p~n", [Name, next()]),
    io:format("~p: unalias ~p ~p~n", [Name, unalias(Way(Alias)), unalias(Alias)]),
    Way(Alias) ! {hello, 2},
    io:format("~p: afterwards ~p~n", [Name, next()]),
    Other = spawn(fun() -> receive stop -> ok end end),
    Monitor = monitor(process, Other, [{alias, reply_demonitor}]),
    spawn(fun() -> Way(Monitor) ! reply end),
    io:format("~p: monitor's alias ~p ~p~n", [Name, next(), demonitor(Way(Monitor), [info])]),
    Other ! stop,
    Timer = erlang:start_timer(100000, self(), x),
    io:format("~p: timer ~p~n", [Name, is_integer(erlang:cancel_timer(Way(Timer)))]).

arrays({Name, Way}) ->
    Counters = counters:new(2, []),
    counters:add(Way(Counters), 1, 5),
    io:format("~p: counters ~p ~p~n", [Name, counters:get(Counters, 1), counters:get(Way(Counters), 1)]),
    Atomics = atomics:new(2, [{signed, false}]),
    atomics:put(Way(Atomics), 2, 7),
    io:format("~p: atomics ~p~n", [Name, atomics:get(Atomics, 2)]).

compiled({Name, Way}) ->
    Spec = ets:match_spec_compile([{{'$1', '_'}, [], ['$1']}]),
    io:format("~p: specification ~p ~p~n",
              [Name, ets:is_compiled_ms(Way(Spec)), ets:match_spec_run([{a, b}], Way(Spec))]),
    Pattern = binary:compile_pattern(<<"bc">>),
    Several = binary:compile_pattern([<<"bc">>, <<"d">>]),
    io:format("~p: patterns ~p ~p~n",
              [Name, binary:match(<<"abcd">>, Way(Pattern)), binary:matches(<<"abcd">>, Way(Several))]),
    {ok, Expression} = re:compile("b+"),
    io:format("~p: expression ~p~n", [Name, re:run("abbc", Way(Expression))]),
    Table = ets:new(table, []),
    ets:insert(Way(Table), {key, value}),
    io:format("~p: table ~p ~p~n", [Name, ets:lookup(Table, key), ets:info(Way(Table), size)]),
    ets:delete(Table).

resources({text, _Way}) -> ok;
resources({Name, Way}) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Way(Z)),
    Checksum = zlib:deflateSetDictionary(Way(Z), binary:copy(<<255>>, 16)),
    Deflated = iolist_to_binary(zlib:deflate(Way(Z), <<"some text, some text">>, finish)),
    I = zlib:open(),
    ok = zlib:inflateInit(Way(I)),
    {need_dictionary, Needed, []} = zlib:safeInflate(Way(I), Deflated),
    ok = zlib:inflateSetDictionary(Way(I), binary:copy(<<255>>, 16)),
    io:format("~p: zlib ~p~n", [Name, {Checksum, Needed, zlib:inflate(Way(I), [])}]),
    ok = zlib:close(I),
    ok = zlib:close(Z),
    File = "references-" ++ os:getpid(),
    {ok, Raw} = file:open(File, [raw, write, read, binary]),
    ok = file:write(Way(Raw), <<"written">>),
    io:format("~p: file ~p~n", [Name, file:pread(Way(Raw), 0, 100)]),
    ok = file:close(Way(Raw)),
    io:format("~p: closed ~p~n", [Name, file:write(Raw, <<"more">>)]),
    ok = file:delete(File).

next() -> receive Message -> Message after 200 -> none end.

%% When the last reference is gone, so is what it named.
lifetimes() ->
    Self = self(),
    spawn(fun() ->
                  Counters = counters:new(1, []),
                  Self ! {text, term_to_binary(Counters)}
          end),
    Binary = receive {text, Bytes} -> Bytes end,
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    timer:sleep(50),
    Counters = binary_to_term(Binary),
    io:format("~p~n", [try counters:get(Counters, 1) catch error:Reason -> Reason end]),
    io:format("~p~n", [binary_to_term(term_to_binary(Counters)) =:= Counters]),
    Owner = spawn(fun() -> Self ! {alias, alias()} end),
    Monitor = monitor(process, Owner),
    receive {'DOWN', Monitor, process, Owner, _} -> ok end,
    Alias = receive {alias, A} -> A end,
    io:format("~p~n", [binary_to_term(term_to_binary(Alias)) ! late]).

%% References hash differently, so that work can be spread by them.
hashes() ->
    Hashes = lists:usort([erlang:phash2(make_ref(), 1000) || _ <- lists:seq(1, 500)]),
    io:format("~p~n", [length(Hashes) > 100]).
