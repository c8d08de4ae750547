%% Funs and the functions of `lists` that call them, which their callers have inside when they are machine code: results, what is
%% raised and where, turns that end and collections inside, and new versions of who calls the funs.
-module(funs_inside).
-export([main/0, many/1, forever/0]).

main() ->
    [warm(N) || N <- lists:seq(1, 2000)],
    [show(Call, Argument) || Call <- calls(), Argument <- arguments()],
    long(),
    several(),
    endless(),
    [exchanged(Rounds) || Rounds <- [1, 2, 3]].

warm(N) ->
    [attempt(Call, Argument) || Call <- calls(), Argument <- [[N, N + 1, 3], [a | N], []]].

calls() ->
    [fun sum/1, fun added/1, fun pairs/1, fun each/1, fun right/1, fun kept/1, fun every/1, fun one/1, fun with_sums/1, fun flat/1, fun mapped/1,
     fun by_helper/1, fun floats/1, fun captured/1, fun divided/1, fun matched/1, fun thrown/1, fun exited/1, fun caught/1, fun in_frame/1,
     fun not_a_fun/1, fun wrong_arity/1, fun in_turn/1, fun outside/1, fun in_map/1, fun folded_map/1].

arguments() ->
    [[], [1], [1, 2, 3], [1, 2, x], [3, 2, 1, 0], [1.5, 2], [1 bsl 60, 1 bsl 60, 1 bsl 60], [1, 2 | 3], [1, 2 | tail], atom, {1, 2}, 17, [{a, 1}, {b, 2}], [[1], [2, 3], []]].

show(Call, Argument) ->
    io:format("~0p~n", [attempt(Call, Argument)]).

attempt(Call, Argument) ->
    try {ok, Call(Argument)}
    catch Class:Reason:Trace -> {Class, Reason, [place(Entry) || {M, _, _, _} = Entry <- Trace, M =/= erlang, not is_called_by(Entry)]}
    end.

%% The lines of `lists` are those of the installation on both sides.
place({M, F, A, Where}) -> {M, F, A, proplists:get_value(line, Where)}.
is_called_by({?MODULE, F, _, _}) -> lists:member(F, [main, warm, show, attempt, '-warm/1-lc$^0/1-0-', '-main/0-lc$^0/1-0-', '-main/0-lc$^1/1-1-', '-main/0-lc$^2/1-2-']);
is_called_by({M, _, _, _}) -> lists:member(M, [erl_eval, init, shell]).

sum(L) -> lists:foldl(fun(X, A) -> X + A end, 0, L).
added(L) -> K = length([L]), {K, lists:map(fun(X) -> X + K end, L)}.
pairs(L) -> lists:map(fun(X) -> {X, [L]} end, L).
each(L) -> R = lists:foreach(fun(X) -> X * 2 end, L), {R, L}.
right(L) -> lists:foldr(fun(X, A) -> [X | A] end, [end_of_list], L).
kept(L) -> [lists:filter(fun(X) -> X < 3 end, L) | lists:filter(fun(X) -> X end, [true || _ <- L])].
every(L) -> lists:all(fun(X) -> X > 0 end, L).
one(L) -> lists:any(fun(X) -> X =:= 2 end, L).
with_sums(L) -> lists:mapfoldl(fun(X, A) -> {A, A + X} end, 0, L).
flat(L) -> lists:flatmap(fun(X) -> [X, X] end, L).
mapped(L) -> lists:filtermap(fun(X) -> X > 1 andalso {true, {X}} end, L).
floats(L) -> lists:foldl(fun(X, A) -> A * 0.5 + X end, 1.0, L).
divided(L) -> lists:map(fun(X) -> 12 div (X - 1) end, L).
matched(L) -> lists:foldl(fun({K, V}, A) -> [{V, K} | A] end, [], L).
thrown(L) -> lists:foreach(fun(X) -> X =:= 2 andalso throw({found, X}) end, L).
exited(L) -> {lists:foldl(fun(X, A) when X > 2 -> exit({A, X}); (X, A) -> X + A end, 0, L)}.
caught(L) -> lists:map(fun(X) -> case catch X + 1 of {'EXIT', {Why, _}} -> Why; Y -> Y end end, L).
in_map(L) -> lists:foldl(fun(X, A) -> A#{X => L} end, #{}, L).
folded_map(L) -> maps:fold(fun(K, V, A) -> [K, V | A] end, [], maps:from_list([{X, [X]} || X <- L])).

%% Many free variables, of all kinds.
captured(L) ->
    {A, B, C, D, E} = {length(L), L, 1.5, {tuple, L}, <<"binary">>},
    F = lists:foldl(fun(X, Sum) -> Sum + X + A + C + element(1, {A, B, D, E}) end, 0, L),
    {F, lists:map(fun(X) -> [X, A, B, C, D, E] end, L)}.

%% The fun calls functions of its own module, small ones and others.
in_frame(L) ->
    lists:foldl(fun(X, A) -> Y = double(X), Z = double(Y + 1), [Y, Z, tag(A) | A] end, [], L).
double(X) -> X * 2.
tag([H | _]) -> H;
tag(_) -> none.

outside(L) -> lists:map(fun(X) -> {lists:reverse([X, 1]), steps(X)} end, L).
steps(X) when X > 0, X < 100 -> 1 + steps(X - 1);
steps(_) -> 0.

%% A function of this module that calls funs, and one fun passed to several.
by_helper(L) -> F = fun(X) -> {X} end, [apply_twice(F, L), lists:map(F, [L]), F(L)].
apply_twice(F, X) -> {F(X), F({X})}.

in_turn(L) ->
    Sum = lists:foldl(fun(X, A) -> X + A end, 0, L),
    Pairs = lists:map(fun(X) -> {X, Sum} end, L),
    lists:foldl(fun({X, _}, A) -> [X | A] end, Pairs, Pairs).

not_a_fun(L) -> lists:map(L, fun(X) -> X end).
wrong_arity(L) -> {lists:foldl(fun(X) -> X end, 0, L)}.

%% Turns end in the middle, and what the process has is collected.
long() ->
    L = lists:seq(1, 3000),
    Results = [{sum(L), length(added_to(L, N)), erlang:phash2(pairs(lists:sublist(L, N))), erlang:phash2(lists:mapfoldl(fun(X, A) -> {{X, A}, A + N} end, 0, L)),
                erlang:phash2(lists:filter(fun(X) -> X rem N =:= 0 end, L)), lists:all(fun(X) -> X < 2500 + N end, L)} || N <- [1, 7, 300]],
    io:format("~p~n", [Results]).
added_to(L, K) -> lists:map(fun(X) -> X + K end, L).

%% Several at a time, some of which are killed in the middle.
several() ->
    Pids = [spawn_monitor(?MODULE, many, [N]) || N <- lists:seq(1, 6)],
    [exit(Pid, kill) || {Pid, _} <- lists:nthtail(3, Pids)],
    io:format("~p~n", [[receive {'DOWN', Ref, process, Pid, Reason} -> Reason end || {Pid, Ref} <- Pids]]).

many(N) when N > 3 -> sum(lists:seq(1, 1000)), many(N);
many(N) -> exit({done, lists:foldl(fun(X, A) -> sum(lists:seq(1, X)) + A end, N, lists:seq(1, 300))}).

%% A loop of two functions that never returns: its turns end all the same.
endless() ->
    load("each_of(F, L) -> F(1), again(F, L). again(F, stop) -> F(0); again(F, L) -> F(2), each_of(F, L)."),
    [passed(N, stop) || N <- lists:seq(1, 3000)],
    {Pid, Ref} = spawn_monitor(?MODULE, forever, []),
    io:format("~p~n", [receive {'DOWN', Ref, process, Pid, Reason} -> Reason after 100 -> exit(Pid, kill), receive {'DOWN', Ref, process, Pid, Reason} -> Reason end end]).

forever() -> passed(1, go_on).
passed(N, What) -> funs_inside_other:each_of(fun(X) -> X + N end, What).

%% The module that calls the fun is replaced by another that does so in another order.
exchanged(Round) ->
    load("each_of(F, [H | T]) -> [F(H) | each_of(F, T)]; each_of(_, []) -> []."),
    First = [others(N) || N <- lists:seq(1, 3000)],
    load("each_of(F, L) -> rest(F, L, []). rest(F, [H | T], Done) -> rest(F, T, [F(H) | Done]); rest(_, [], Done) -> Done."),
    Then = [others(N) || N <- lists:seq(1, 3000)],
    io:format("~p ~p ~p~n", [Round, {erlang:phash2(First), hd(First)}, {erlang:phash2(Then), hd(Then)}]).

others(N) -> funs_inside_other:each_of(fun(X) -> X + N end, [1, 2, 3]).

load(Text) ->
    Forms = [begin {ok, Tokens, _} = erl_scan:string(Form ++ "."), {ok, Parsed} = erl_parse:parse_form(Tokens), Parsed end
             || Form <- ["-module(funs_inside_other)", "-export([each_of/2])" | [F || F <- string:split(string:trim(Text, trailing, "."), ". ", all)]]],
    {ok, Module, Code} = compile:forms(Forms),
    code:purge(Module),
    {module, Module} = code:load_binary(Module, "funs_inside_other.erl", Code),
    code:purge(Module).
