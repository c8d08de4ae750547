%% Tuples that loops hand themselves from round to round, or that small functions return: machine code need not have them on the heap.
%% What is in them, what becomes of them where the loop is left, collections and turns that end inside, and numbers that are
%% floats now and integers then.
-module(tuples_in_loops).
-export([main/0]).

main() ->
    register(?MODULE, self()),
    [attempt(Call, Argument) || {_, Call} <- calls(), Argument <- arguments(), _ <- lists:seq(1, 50)],
    [io:format("~w ~w~n", [Name, attempt(Call, Argument)]) || {Name, Call} <- calls(), Argument <- arguments()],
    long(),
    deep().

arguments() ->
    [[], [1], [1, 2, 3], [1.5, 2.5, -0.0], [1, 2.5, 3], [2.5, 1, 0.0, 0], [1 bsl 59, 1 bsl 60, 1 bsl 61], [1.0e200, 1.0e-200, 1.0e150], [1.0e300, 1.0e300],
     [a, b], [1.5, a], [{1, 2}, {3, 4}], [1 | 2], atom, lists:seq(1, 50), [X * 0.5 || X <- lists:seq(1, 50)],
     [X * 1.0e80 || X <- lists:seq(1, 20)], lists:duplicate(30, {x, 1.5})].

calls() ->
    [{sum, fun(L) -> sum(L, {0, 0}) end}, {float_sum, fun(L) -> sum(L, {0.0, 0}) end}, {mean, fun mean/1}, {extremes, fun extremes/1}, {swapped, fun(L) -> swapped(L, {a, 1}, {b, 2.5}) end},
     {nested, fun(L) -> nested(L, {start, {0, 1.0}}) end}, {record, fun(L) -> record(L, {state, 0, 0.0, [], none}) end}, {kept, fun(L) -> kept(L, {0, nil}, []) end},
     {growing, fun(L) -> growing(L, {}) end}, {types, fun(L) -> types(L, {0, 0}) end}, {large, fun(L) -> large(L, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) end},
     {larger, fun(L) -> larger(L, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}) end}, {folded, fun folded/1}, {folded_floats, fun folded_floats/1},
     {mapfolded, fun(L) -> lists:mapfoldl(fun(X, {A, B}) -> {X, {B, A}} end, {1, 2.5}, L) end}, {divided, fun divided/1}, {compared, fun(L) -> compared(L, {0, 0}, {0, 0}) end},
     {elements, fun(L) -> elements(L, {1, 2.0, 3}) end}, {sent, fun(L) -> sent(L, {0, ?MODULE}) end}, {caught, fun(L) -> caught(L, {0, 0.0}) end},
     {in_frame, fun(L) -> in_frame(L, {0.5, 1, 2.5}) end}, {root, fun(L) -> root(L, {0.0, 0.0, 1}) end}, {back, fun back/1}, {two, fun(L) -> two(L, {0, 0.0}, {1.0, 1}) end},
     {same, fun(L) -> same(L, {0.0, 0.0, 0.0}) end}, {guarded, fun(L) -> guarded(L, {idle, 0, 1.0}) end}, {binary, fun(L) -> binary(L, {0, 0.0}) end}, {zeros, fun(L) -> zeros(L, {0.0, 0}) end}].

attempt(Call, Argument) ->
    try {ok, Call(Argument)}
    catch Class:Reason:Trace -> {Class, Reason, [{F, A, proplists:get_value(line, Where)} || {?MODULE, F, A, Where} <- Trace]}
    end.

sum([], S) -> S;
sum([X | T], {Sum, N}) -> sum(T, {Sum + X, N + 1}).

mean(L) ->
    case sum(L, {0, 0}) of
        {_, 0} -> none;
        {S, N} -> S / N
    end.

extremes([X | T]) -> extremes(T, {X, X});
extremes([]) -> none.
extremes([], {Min, Max}) -> [Min | Max];
extremes([X | T], {Min, Max}) when X < Min -> extremes(T, {X, Max});
extremes([X | T], {Min, Max}) when X > Max -> extremes(T, {Min, X});
extremes([_ | T], M) -> extremes(T, M).

swapped([], A, B) -> {A, B};
swapped([X | T], {A, N}, {B, M}) -> swapped(T, {B, M + X}, {A, N}).

nested([], S) -> S;
nested([X | T], {Last, {N, F}}) -> nested(T, {{Last, X}, {N + 1, F * 1.5 + N}}).

record([], S) -> S;
record([X | T], {state, N, Sum, Seen, _}) when is_float(X) -> record(T, {state, N + 1, Sum + X, Seen, X});
record([X | T], {state, N, Sum, Seen, Last}) -> record(T, {state, N, Sum, [{X, Last} | Seen], Last}).

%% The tuple goes to the heap in every round, and on.
kept([], S, Kept) -> {S, Kept};
kept([X | T], {N, _} = S, Kept) -> kept(T, {N + 1, X}, [S, {X, N} | Kept]).

growing([], S) -> S;
growing([X | T], {}) -> growing(T, {X});
growing([X | T], {A}) -> growing(T, {A, X});
growing([X | T], {A, B}) -> growing(T, {A, B, X * 2});
growing([X | T], {_, B, C}) -> growing(T, {B, C, X}).

types([], S) -> S;
types([X | T], {A, 0}) -> types(T, {X, [A]});
types([X | T], {A, [_]}) -> types(T, {{A}, X});
types([_ | T], {{A}, B}) -> types(T, {A, {B}});
types([X | T], {A, {B}}) -> types(T, {B * 1.5, {A + X}});
types(_, S) -> S.

large([], S) -> S;
large([X | T], {A, B, C, D, E, F, G, H, I, J, K, L}) -> large(T, {B, C, D, E, F, G, H, I, J, K, L, A + X}).
larger([], S) -> S;
larger([X | T], {A, B, C, D, E, F, G, H, I, J, K, L, M}) -> larger(T, {B, C, D, E, F, G, H, I, J, K, L, M, A + X}).

folded(L) -> lists:foldl(fun(X, {N, Xs}) -> {N + 1, [X | Xs]} end, {0, []}, L).
folded_floats(L) -> lists:foldl(fun(X, {S, P, N}) -> {S + X * 0.5, P * 0.75 + 1, N + 1} end, {0.0, 1.0, 0}, L).

%% A small function that returns a tuple.
divided(L) -> [begin {Q, R} = parts(X), Q * 10 + R end || X <- L].
parts(X) when is_integer(X) -> {X div 3, X rem 3};
parts(X) -> {X / 2, 1}.

compared([], A, B) -> A =:= B;
compared([X | T], A, {N, M} = B) when A == B -> compared(T, {N, M + X}, {N, M + X});
compared([X | T], {N, M} = A, B) when A < B -> compared(T, {N + X, M}, B);
compared([_ | T], A, B) -> compared(T, B, A).

elements([], S) -> S;
elements([X | T], S) when element(1, S) > 3 -> elements(T, {X, element(3, S), tuple_size(S)});
elements([X | T], {A, B, C}) -> elements(T, setelement(2, {A + 1, X, C}, B)).

sent([], {N, _}) -> N;
sent([X | T], {N, Name}) ->
    Name ! {N, X},
    receive {N, Y} -> sent(T, {N + Y, Name}) end.

caught([], S) -> S;
caught([X | T], {N, F}) ->
    G = try F + X catch error:badarith -> {F, X} end,
    case G of
        {H, _} -> caught(T, {N + 1, H * 2.0});
        _ -> caught(T, {N, G})
    end.

%% Values that wait in a frame, among them the tuple itself.
in_frame([], S) -> S;
in_frame([X | T], {A, B, C} = S) ->
    D = A * 0.5 + C,
    Y = outside(X),
    in_frame(T, {D, B + size_of(S), C - Y}).
outside(X) when is_integer(X) -> length(integer_to_list(X)) + 0.5;
outside(_) -> 1.
size_of(S) -> tuple_size(S) + length(tuple_to_list(S)).

root([], S) -> S;
root([X | T], {A, B, N}) ->
    D = A - B, E = D * D + X * X,
    F = math:sqrt(E) + math:sqrt(N),
    root(T, {F / (1 + F), B * 0.25, N + 1}).

%% Calls that return.
back([]) -> {0, 0.0};
back([X | T]) ->
    {N, F} = back(T),
    {N + 1, F * 0.5 + X}.

two([], A, B) -> [A, B];
two([X | T], {A, B}, {C, D}) when X > 2 -> two(T, {A + D, C}, {B * 0.5, X});
two([X | T], {A, B}, C) -> two(T, C, {A * 0.5, B + X}).

same([], S) -> S;
same([X | T], {X, Y, Z}) -> same(T, {Y, Z, X});
same([X | T], {_, X, Z}) -> same(T, {Z, Z, X});
same([X | T], {Y, Z, _}) -> same(T, {Z, X * 1.0, Y}).

guarded([], S) -> S;
guarded([X | T], {idle, N, F}) when is_float(X), F > X -> guarded(T, {busy, N, F - X});
guarded([X | T], {idle, N, F}) -> guarded(T, {idle, N + 1, F + X});
guarded([X | T], {busy, N, F}) when N >= X; F =:= X -> guarded(T, {idle, N, F});
guarded([_ | T], {busy, N, F}) -> guarded(T, {busy, N + 1, F * 2}).

binary([], {A, B}) -> <<A:16, B/float>>;
binary([X | T], {A, B}) ->
    <<C:8, _/binary>> = <<A:8, X/float>>,
    binary(T, {A + C + 1, B + X}).

%% Equal, but not the same.
zeros([], S) -> S;
zeros([X | T], {X, N}) -> zeros(T, {-X, N + 1});
zeros([X | T], {Y, N}) when X == Y -> zeros(T, {Y, N + 100});
zeros([X | T], {_, N}) -> zeros(T, {X * 0, N}).

%% Turns end, and heaps are full, at other places each time.
long() ->
    Long = [X rem 7 || X <- lists:seq(1, 6000)],
    Floats = [X * 1.0 || X <- Long],
    [begin
         Self = self(),
         Work = fun() ->
             _ = lists:seq(1, N * 13),
             Self ! {N, attempt(fun(_) -> erlang:phash2([sum(Long, {0, 0}), sum(Floats, {0.0, 0}), record(Floats, {state, 0, 0.0, [], none}), swapped(Long, {a, 1}, {b, 2.5}),
                                        folded_floats(Long), root(Floats, {0.0, 0.0, 1}), in_frame(Floats, {0.5, 1, 2.5}), large(Long, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}),
                                        two(Floats, {0, 0.0}, {1.0, 1}), kept(Long, {0, nil}, [])]) end, [])}
         end,
         spawn(Work)
     end || N <- lists:seq(1, 8)],
    [receive {N, Hash} -> io:format("~w ~w~n", [N, Hash]) end || N <- lists:seq(1, 8)].

deep() ->
    io:format("~w~n", [[erlang:phash2(back([X * 0.25 || X <- lists:seq(1, N)])) || N <- [10, 100, 1000, 30000]]]).
