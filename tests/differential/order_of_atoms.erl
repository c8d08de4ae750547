%% Atoms are ordered by their names, also where the first eight bytes are the same, and among other terms.
-module(order_of_atoms).
-export([main/0]).

main() ->
    Terms = ['', a, aa, ab, b, abcdefg, abcdefgh, abcdefghi, abcdefghj, abcdefgi, 'A', zzzzzzzzzzzz, zzzzzzzzzzz, 'ä', 'ö',
             'äöüäöüäöü', 'äöüäöüäöa', '日本語', '日本', 1, 1.5, -1, 1 bsl 70, [], [a], {a}, {}, #{}, <<>>, "b", self()],
    Rows = [[signs(A, B) || B <- Terms] || A <- Terms],
    %% Again and again, for all engines.
    true = lists:all(fun(_) -> [[signs(A, B) || B <- Terms] || A <- Terms] =:= Rows end, lists:seq(1, 300)),
    [io:format("~s~n", [lists:append(Row)]) || Row <- Rows],
    io:format("~tp~n", [lists:sort(Terms -- [self()])]),
    io:format("~p~n", [orddict:to_list(many(2000, orddict:new()))]).

signs(A, B) -> [sign(less(A, B)), sign(at_most(A, B)), sign(more(A, B)), sign(at_least(A, B)), guarded(A, B), downwards(A, B), decided(A, B)].

less(A, B) -> A < B.
at_most(A, B) -> A =< B.
more(A, B) -> A > B.
at_least(A, B) -> A >= B.

sign(true) -> $+;
sign(false) -> $-.

guarded(A, B) when A < B -> $<;
guarded(A, B) when A > B -> $>;
guarded(_, _) -> $=.

%% Comparisons of the same two after each other, of which the first may decide the others.
downwards(A, B) when A >= B ->
    if
        A == B -> $=;
        B >= A -> no_order;
        B < A -> $>
    end;
downwards(_, _) -> $<.
decided(A, B) when A < B ->
    if
        A > B; A == B; A >= B -> no_order;
        A /= B, A < B -> $<
    end;
decided(A, B) when A == B -> $=;
decided(A, B) when A > B -> $>.

many(0, Dict) -> Dict;
many(N, Dict) -> many(N - 1, orddict:update_counter(lists:nth(N rem 7 + 1, [alpha, beta, 'betaBetaBeta', betaBetaBeto, 'Alpha', omega, '']), N, Dict)).
