%% Much different code runs hot in turn, in several processes at a time: more than the limit of machine code holds.
-module(pressure).
-export([main/0]).

-define(ROUNDS, 3).

main() ->
    Works = [fun sorting/0, fun maps/0, fun text/0, fun terms/0, fun sets/0, fun compiling/0],
    Self = self(),
    [spawn_link(fun() -> Self ! {Number, [erlang:phash2(Work()) || _ <- lists:seq(1, ?ROUNDS)]} end)
        || {Number, Work} <- lists:enumerate(Works)],
    [receive {Number, Hashes} -> io:format("~w ~w~n", [Number, Hashes]) end || {Number, _} <- lists:enumerate(Works)].

numbers(Count) ->
    [N * 7919 rem 10007 || N <- lists:seq(1, Count)].

sorting() ->
    Numbers = numbers(20000),
    {lists:sort(Numbers), lists:usort(Numbers), lists:keysort(2, [{N, N rem 17} || N <- Numbers]),
        lists:sort(fun(A, B) -> A >= B end, Numbers)}.

maps() ->
    Map = lists:foldl(fun(N, Map) -> maps:update_with(N rem 501, fun(Old) -> Old + N end, 0, Map) end, #{}, numbers(20000)),
    {maps:to_list(maps:map(fun(_, V) -> V * 2 end, Map)), maps:fold(fun(K, V, Sum) -> K + V + Sum end, 0, Map)}.

text() ->
    Words = [integer_to_list(N, 36) || N <- numbers(3000)],
    {string:join(Words, ","), [string:uppercase(Word) || Word <- Words], unicode:characters_to_binary(lists:join($;, Words)),
        io_lib:format("~p ~ts ~.3f~n", [lists:sublist(Words, 300), Words, 1 / length(Words)])}.

terms() ->
    Term = {[{N, <<N:16>>, #{N => [N / 3]}} || N <- numbers(500)]},
    {ok, Tokens, _} = erl_scan:string(lists:flatten(io_lib:format("~w.", [Term]))),
    {ok, Term} = erl_parse:parse_term(Tokens),
    {Term, binary_to_term(term_to_binary(Term, [compressed]))}.

sets() ->
    [A, B] = [gb_sets:from_list(numbers(Count)) || Count <- [4000, 6000]],
    {gb_sets:to_list(gb_sets:intersection(A, B)), queue:to_list(lists:foldl(fun queue:in/2, queue:new(), numbers(3000))),
        dict:size(dict:from_list([{N, N} || N <- numbers(3000)])), ordsets:union(numbers(50), numbers(70))}.

compiling() ->
    Forms = [
        {attribute, 1, module, made},
        {attribute, 1, export, [{f, 2}]}
        | [{function, 1, Name, 2, [{clause, 1, [{var, 1, 'A'}, {var, 1, 'B'}], [], [{op, 1, Op, {var, 1, 'A'}, {var, 1, 'B'}}]}]}
            || {Name, Op} <- [{f, '+'}, {g, '*'}, {h, '++'}]]
    ],
    {ok, made, Code, _} = compile:forms(Forms, [return, deterministic, export_all]),
    {ok, {made, [{exports, Exports}]}} = beam_lib:chunks(Code, [exports]),
    Exports.
