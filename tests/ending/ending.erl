%% Work on terms that would take for ever, or for very long: the process can be killed within a second, and what it used
%% still works. OTP cannot end most of it, so this runs on SwarmRT only (crates/cli/tests/ending.rs).
-module(ending).
-export([main/1]).

main(_) ->
    %% Where the compiler does not see it and do the work itself.
    persistent_term:put(bits, 20_000_000),
    Tables = [ets:new(table, [public, Type]) || Type <- [ordered_set, set]],
    lists:foreach(fun({Name, Work}) -> end_it(Name, Work) end, works(Tables)),
    [true = ets:insert(Table, {N, N}) || Table <- Tables, N <- lists:seq(1, 1000)],
    [N = ets:lookup_element(Table, N, 2) || Table <- Tables, N <- lists:seq(1, 1000)],
    io:format("all ended~n").

end_it(Name, Work) ->
    {Pid, Monitor} = spawn_monitor(fun() -> forever(Work) end),
    timer:sleep(60),
    Started = erlang:monotonic_time(millisecond),
    exit(Pid, kill),
    Reason = receive {'DOWN', Monitor, _, _, Why} -> Why after 10_000 -> not_ended end,
    Took = erlang:monotonic_time(millisecond) - Started,
    case Reason of
        killed when Took < 1000 -> ok;
        _ -> io:format("~p: ~p after ~p ms~n", [Name, Reason, Took])
    end.

forever(Work) ->
    Work(),
    forever(Work).

%% A pair of pairs of pairs: small in memory, and 2^Levels leaves when it is walked.
pairs(Levels) -> lists:foldl(fun(_, Term) -> {Term, Term} end, 1, lists:seq(1, Levels)).
lists(Levels) -> lists:foldl(fun(_, Term) -> [Term, Term] end, <<"a">>, lists:seq(1, Levels)).
maps(Levels) -> lists:foldl(fun(_, Term) -> #{1 => Term, 2 => Term} end, 1, lists:seq(1, Levels)).

works([Ordered, Hashed]) ->
    {A, B, {L, M}} = {pairs(64), pairs(64), {lists(64), lists(64)}},
    {MapA, MapB} = {maps(64), maps(64)},
    Bits = persistent_term:get(bits),
    [{equal, fun() -> A == B end},
     {equal_exact, fun() -> A =:= B end},
     {equal_lists, fun() -> L =:= M end},
     {equal_maps, fun() -> MapA =:= MapB end},
     {less, fun() -> A < B end},
     {less_maps, fun() -> MapA < MapB end},
     {guard, fun() -> case {A, B} of {X, Y} when X =:= Y -> same; _ -> other end end},
     {max, fun() -> max(A, B) end},
     {phash2, fun() -> erlang:phash2(A) end},
     {phash, fun() -> apply(erlang, phash, [A, 100]) end},
     {flat_size, fun() -> erts_debug:flat_size(A) end},
     {external_size, fun() -> erlang:external_size(A) end},
     {iolist_size, fun() -> iolist_size(L) end},
     {iolist_to_binary, fun() -> iolist_to_binary(L) end},
     {crc32, fun() -> erlang:crc32(L) end},
     {md5, fun() -> erlang:md5(L) end},
     {characters, fun() -> unicode:characters_to_binary(L) end},
     {member, fun() -> lists:member(A, [B]) end},
     {keyfind, fun() -> lists:keyfind(A, 1, [{B}]) end},
     {subtract, fun() -> [A] -- [B] end},
     {map_key, fun() -> maps:from_list([{{A, N}, N} || N <- lists:seq(1, 40)]) end},
     {dictionary, fun() -> [put({A, N}, N) || N <- lists:seq(1, 40)] end},
     {insert_ordered, fun() -> ets:insert(Ordered, {pairs(22)}) end},
     {insert_hashed, fun() -> ets:insert(Hashed, {pairs(22)}) end},
     {lookup_ordered, fun() -> ets:insert(Ordered, {pairs(8)}), ets:lookup(Ordered, A), ets:next(Ordered, A) end},
     {lookup_hashed, fun() -> ets:lookup(Hashed, A) end},
     {match, fun() -> ets:match(Hashed, {pairs(64)}) end},
     {compile, fun() -> ets:match_spec_compile([{{A, '$1'}, [], ['$_']}]) end},
     {persistent_term, fun() -> persistent_term:get(A, none) end},
     {send, fun() -> self() ! A end},
     {port, fun() -> port_command(open_port({spawn, "cat"}, []), L) end},
     {binary_copy, fun() -> binary:copy(<<"abc">>, 100_000_000) end},
     {multiply, fun() -> X = (1 bsl (Bits div 2)) - 1, X * X end},
     {divide, fun() -> ((1 bsl Bits) - 1) div ((1 bsl (Bits div 2)) - 12_345) end},
     {to_text, fun() -> integer_to_list((1 bsl Bits) - 1) end},
     {from_text, fun() -> list_to_integer(lists:duplicate(6_000_000, $7)) end}].
