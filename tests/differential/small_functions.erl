%% Small functions that their callers have inside when they are machine code: their results, and what they raise, where.
-module(small_functions).
-export([main/0, numbers/1]).

main() ->
    [warm(N) || N <- lists:seq(1, 3000)],
    [io:format("~0p~n", [outcome(Argument)]) || Argument <- [0, 1, 2, 7, -3, 1.5, 1 bsl 70, a, {x, 1}, {y, 2.5}, [1 | 2], <<7, 8, 9>>, #{k => 3}]],
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), lists:sum([numbers(N) || N <- lists:seq(1, 20000)])} end) || _ <- [1, 2, 3]],
    [receive {Pid, Sum} -> io:format("~w~n", [Sum]) end || Pid <- Pids].

warm(N) ->
    numbers(N),
    outcome(N),
    outcome({x, N}),
    outcome(N / 2).

outcome(Argument) ->
    [attempt(fun() -> Call(Argument) end) || Call <- [fun first/1, fun guarded/1, fun chosen/1, fun floats/1, fun parts/1, fun large/1, fun last/1]].

attempt(Fun) ->
    try {ok, Fun()}
    catch Class:Reason:Trace -> {Class, Reason, [{F, A, proplists:get_value(line, Where)} || {?MODULE, F, A, Where} <- Trace, F =/= warm, F =/= main]}
    end.

%% The failure is in the function that is inside, with its caller behind it.
first(X) -> {element_of(X), 1}.
element_of(X) -> element(2, X).

guarded(X) -> [sign(X) | sign(-X)].
sign(X) when X > 0 -> up;
sign(X) when X < 0 -> down.

chosen(X) -> {name(X), name(X)}.
name(0) -> zero;
name(1) -> one;
name(2) -> two.

floats(X) -> half(X) + half(half(X)) + 1.
half(X) -> X * 0.5.

parts(X) -> {third(X), third(X)}.
third(<<_, _, C, _/binary>>) -> C;
third(#{k := V}) -> V;
third(_) -> none.

%% What does not fit a word.
large(X) -> shifted(X) - shifted(X - 1).
shifted(X) -> X bsl 61.

%% Calls that are the last, of one that calls on.
last(X) -> passed_on(X, [X]).
passed_on(X, Rest) -> listed(X + 1, Rest).
listed(X, Rest) when X > 2 -> [X | Rest];
listed(X, _) -> exit({small, X}).

numbers(N) -> mixed(N band 255, 3) + mixed(N bsr 2, N) * weight(N rem 5).
mixed(A, B) -> (A bxor B) + (A band B).
weight(0) -> 1;
weight(1) -> 2;
weight(N) -> N.
