%% Something of all that machine code holds addresses of, run until it is hot: literals, exports, funs, handlers, big
%% integers, atoms, built-ins, calls within the module. VERSION says which of two it is.
-module(worker).
-export([run/1, twice/2, folds/1]).

run(N) ->
    Results = [step(I) || I <- lists:seq(1, N)],
    {?VERSION, erlang:phash2(Results), lists:sublist(Results, N - 2, 3)}.

step(I) ->
    Fun = fun(X) -> X + I end,
    {element(I rem 3 + 1, {an_atom_of_the_worker, "a literal", #{key => [1, 2.5, <<"binary">>]}}),
        twice(Fun, I), caught(I rem 4), math:sqrt(I * 1.0), 16#ffffffffffffffffffff + I, words(<<I:16, "text">>), kind({I rem 5, self()})}.

twice(Fun, X) -> Fun(Fun(X)).

%% With functions of other modules inside.
folds(N) ->
    Folded = [folded(lists:seq(1, I rem 20)) || I <- lists:seq(1, N)],
    Long = folded(lists:seq(1, 200000)),
    io:format("~w ~w ~w~n", [erlang:phash2(Folded), erlang:phash2(Long), lists:nth(15, Folded)]).

folded(L) ->
    {lists:foldl(fun(X, {Sum, Last}) -> {Sum + X + Last, X} end, {0, 0}, L), lists:map(fun(X) -> {X, hd(L)} end, L),
        helper:fold(fun(X, A) -> A + X end, 0, L), helper:fold(fun(X, A) -> [X * 1.5 | A] end, [], L)}.

caught(N) ->
    try fails(N) of
        Value -> {fine, Value}
    catch
        error:Reason:Stack -> {Reason, [{M, F} || {M, F, _, _} <- lists:sublist(Stack, 2)]};
        throw:Thrown -> {thrown, Thrown}
    end.

fails(0) -> error(an_error_of_the_worker);
fails(1) -> throw(a_throw_of_the_worker);
fails(2) -> hd([]);
fails(N) -> ?MODULE:twice(fun erlang:abs/1, -N).

words(<<Number:16, Rest/binary>>) -> {Number, binary_to_list(Rest)}.

kind({0, _}) -> zero;
kind({1, Pid}) when is_pid(Pid) -> one;
kind({N, _}) -> [N | many].
