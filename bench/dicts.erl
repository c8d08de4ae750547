%% sequential: the library's dict, orddict, gb_trees and queue.
-module(dicts).
-export([main/0]).
main() ->
    Sum = 40000 * 40001 div 2,
    Sum = dict_sum(40000),
    Sum = tree_sum(40000),
    3160 = orddict_sum(79, 150),
    Sum = queue_sum(40000),
    ok.
dict_sum(N) ->
    D = lists:foldl(fun(K, D) -> dict:store({key, K}, K, D) end, dict:new(), lists:seq(1, N)),
    E = lists:foldl(fun(K, D1) -> dict:update({key, K}, fun(V) -> V * 2 end, D1) end, D, lists:seq(1, N)),
    N = dict:size(E),
    dict:fold(fun(_, V, Sum) -> Sum + V end, 0, E) div 2.
tree_sum(N) ->
    T = lists:foldl(fun(K, T) -> gb_trees:insert((K * 7919) rem 100003, K, T) end, gb_trees:empty(), lists:seq(1, N)),
    lists:foldl(fun(K, Sum) -> Sum + gb_trees:get((K * 7919) rem 100003, T) end, 0, lists:seq(1, N)).
orddict_sum(N, 1) -> lists:sum([V || {_, V} <- ordered(N)]);
orddict_sum(N, Times) -> N = length(ordered(N)), orddict_sum(N, Times - 1).
ordered(N) -> lists:foldl(fun(K, D) -> orddict:update_counter((K * 31) rem 83, K, D) end, orddict:new(), lists:seq(1, N)).
queue_sum(N) ->
    Q = lists:foldl(fun queue:in/2, queue:new(), lists:seq(1, N)),
    {Q1, 0} = turns(20 * N, Q, 0),
    drain(queue:out_r(Q1), 0).
turns(0, Q, Less) -> {Q, Less};
turns(N, Q, Less) -> {{value, V}, Q1} = queue:out(Q), turns(N - 1, queue:in(V, Q1), Less).
drain({empty, _}, Sum) -> Sum;
drain({{value, V}, Q}, Sum) -> drain(queue:out(Q), Sum + V).
