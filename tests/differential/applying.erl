%% `apply/2,3` that fail: with what is no fun or no list, and with more arguments than functions have; external funs from
%% bytes, of any arity.
-module(applying).
-export([main/0]).

main() ->
    [io:format("~p: ~p~n", [Count, many(Count)]) || Count <- [254, 255, 256, 300, 1022, 1023, 1024, 2000]],
    [io:format("~p: ~p~n", [Name, result(Fun)]) || {Name, Fun} <- failing()],
    io:format("~p~n", [count(fun count/2, [100000])]),
    [io:format("~p: ~p~n", [Arity, decoded(Arity)])
     || Arity <- [0, 1, 255, 256, 300, 1000, 65536, 1 bsl 31, (1 bsl 32) + 3, 1 bsl 60, -1, 1.0, a]],
    [io:format("~p: ~p~n", [Mfa, result(fun() -> binary_to_term(external(Mfa), [safe]) end)])
     || Mfa <- [{lists, map, 2}, {lists, map, 20}, {nomodule, bar, 3}, {lists, bar, 3}, {erlang, element, 2}, {xref, start, 1},
                {?MODULE, main, 0}, {?MODULE, count, 2}]],
    binary_to_term(external({nomodule, bar, 3})),
    io:format("~p~n", [result(fun() -> binary_to_term(external({nomodule, bar, 3}), [safe]) end)]).

many(Count) ->
    Args = lists:seq(1, Count),
    {result(fun() -> apply(lists, foo, Args) end),
     result(fun() -> apply(fun(_) -> ok end, Args) end),
     result(fun() -> Result = apply(fun(_) -> ok end, Args), {Result} end),
     result(fun() -> apply(binary_to_term(external({lists, foo, Count})), Args) end)}.

failing() ->
    Apply = id(apply),
    [{no_fun, fun() -> apply(id(not_a_fun), id([1])) end},
     {no_fun_in_body, fun() -> R = apply(id(not_a_fun), id([1])), {R} end},
     {no_list, fun() -> apply(fun() -> 1 end, id(x)) end},
     {no_list_in_body, fun() -> R = apply(fun() -> 1 end, id(x)), {R} end},
     {improper, fun() -> apply(fun() -> 1 end, id([1 | x])) end},
     {arity, fun() -> apply(fun() -> 1 end, id([1, 2])) end},
     {arity_in_body, fun() -> R = apply(fun() -> 1 end, id([1, 2])), {R} end},
     {mfa_no_list, fun() -> apply(a, b, id(x)) end},
     {mfa_no_module, fun() -> apply(id(1), b, id([])) end},
     {of_apply_2, fun() -> apply(erlang, apply, id([0, 0])) end},
     {of_apply_2_with_fun, fun() -> apply(erlang, apply, id([fun() -> 1 end, x])) end},
     {of_apply_3, fun() -> apply(erlang, apply, id([0, 0, 0])) end},
     {computed_3, fun() -> erlang:Apply(foo, bar, id([1])) end}].

%% Loops by applying itself: the stack does not grow.
count(Fun, [N]) when N > 0 -> apply(Fun, [Fun, [N - 1]]);
count(_, [0]) -> done.

id(X) -> X.

external({Module, Function, Arity}) ->
    list_to_binary([131, 113, encoded(Module), encoded(Function), encoded(Arity)]).

encoded(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

decoded(Arity) ->
    result(fun() ->
                   Fun = binary_to_term(external({lists, foo, Arity})),
                   {Fun, Fun =:= binary_to_term(term_to_binary(Fun)), is_function(Fun)}
           end).

result(Fun) ->
    try Fun()
    catch Class:Reason:Stack -> {Class, short(Reason), [short(Entry) || Entry <- lists:sublist(Stack, 2)]}
    end.

%% Long lists of arguments by their length, without the files of places.
short({Module, Function, Args, Info}) when is_list(Args), length(Args) > 20 ->
    short({Module, Function, {length, length(Args)}, Info});
short({Module, Function, [Fun, Args], Info}) when is_list(Args), length(Args) > 20 ->
    short({Module, Function, [Fun, {length, length(Args)}], Info});
short({Module, Function, [M, F, Args], Info}) when is_list(Args), length(Args) > 20 ->
    short({Module, Function, [M, F, {length, length(Args)}], Info});
short({Module, Function, Args, Info}) -> {Module, Function, Args, lists:keydelete(file, 1, Info)};
short({badarity, {Fun, Args}}) when length(Args) > 20 -> {badarity, Fun, length(Args)};
short(Reason) -> Reason.
