%% Seeds for the fuzzer: calls, clauses, exceptions, messages.
-module(control).
-export([sum/2, classify/1, guarded/2, safe/1, nested/1, loop/2, call/3, adder/2, apply_it/3, select/1, comprehension/2]).

sum([H | T], Acc) when is_integer(H) -> sum(T, Acc + H);
sum([], Acc) -> Acc.

classify(X) when is_atom(X) -> atom;
classify({A, B}) when A < B -> {less, A, B};
classify({tag, _, C}) -> C;
classify(X) when is_float(X), X > 1.5 -> X * 2;
classify([_ | _] = L) -> length(L);
classify(#{key := V, {other, 1} := W}) -> V + W;
classify(X) when is_function(X, 2) -> X(1, 2);
classify(_) -> 12345678901234567890123.

guarded(A, B) when A =:= B orelse element(2, A) >= tuple_size(B), not is_pid(A) -> A;
guarded(A, B) when A == B; abs(A) rem 3 =/= 1 -> {A, B, A div 2 + B}.

safe(F) ->
    try F() of
        {ok, V} -> V;
        Other when Other > 3 -> Other
    catch
        throw:T -> {thrown, T};
        error:{badmatch, V}:S -> {V, S};
        C:R:S -> erlang:raise(C, R, S)
    after
        put(done, true)
    end.

nested(F) ->
    A = (catch F(1)),
    B = (catch F(2)),
    {A, B, F}.

loop(State, Timeout) ->
    receive
        {get, From, Ref} -> From ! {Ref, State}, loop(State, Timeout);
        {set, New} -> loop(New, Timeout);
        stop -> ok
    after Timeout -> timeout
    end.

call(Pid, Request, Time) ->
    Ref = erlang:monitor(process, Pid),
    Pid ! {Request, self(), Ref},
    receive
        {Ref, Reply} -> erlang:demonitor(Ref, [flush]), Reply;
        {'DOWN', Ref, process, Pid, Reason} -> exit(Reason)
    after Time -> exit(timeout)
    end.

adder(A, B) -> fun(C) when C > A -> A + B + C; (D) -> {A, B, D} end.

apply_it(M, F, A) -> X = M:F(A), F2 = fun M:F/1, {X, F2(A), apply(M, F, [A, X])}.

select(1) -> one; select(2) -> two; select(3) -> three; select(4) -> 4.0; select(5) -> [];
select(a) -> b; select(b) -> c; select({}) -> d; select({1, 2}) -> "string"; select(1 bsl 70) -> big; select(_) -> other.

comprehension(L, M) -> [{X, Y} || X <- L, is_map_key(X, M), Y <- [X, 1, 2], X =/= Y].
