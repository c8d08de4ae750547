%% Built-ins that machine code does itself for the usual arguments: the usual and the others, called in the middle and last.
-module(built_ins).
-export([main/0]).

main() ->
    [all(X, N) || N <- lists:seq(1, 60), X <- terms()],
    [io:format("~0p ~0p~n", [X, all(X, 3)]) || X <- terms()],
    io:format("~p~n", [grown(2000, {a, 0, []}, 0)]),
    io:format("~p~n", [lists:sum([length(lists:duplicate(N, N)) || N <- lists:seq(0, 300)])]).

%% The order of large maps is that of OTP 25 under all releases.
large_map() ->
    Size = case erlang:system_info(otp_release) of "25" -> 60; _ -> 30 end,
    maps:from_list([{N, N} || N <- lists:seq(1, Size)]).

terms() ->
    [0, -1, 5, 1 bsl 59, 1 bsl 70, 2.5, a, [], [a], [a, b | c], lists:seq(1, 40), {}, {a}, {a, b}, {a, b, c}, list_to_tuple(lists:seq(1, 40)),
        #{}, #{a => 1}, large_map(), <<1, 2>>, fun erlang:abs/1, "text"].

all(X, N) ->
    [attempt(F) || F <- [
        fun() -> second(X, N) end, fun() -> {setelement(1, X, N), N} end, fun() -> third(X) end, fun() -> [record(X) | N] end,
        fun() -> {erlang:max(X, N), erlang:min(X, N)} end, fun() -> largest(N, X) end, fun() -> smallest(X, N) end,
        fun() -> {length(X), N} end, fun() -> map_size(X) + N end, fun() -> guards(X) end, fun() -> compared(X, N) end
    ]].

attempt(F) ->
    try F()
    catch error:Reason:Trace -> [{M, Name, _, _} | _] = Trace, {Reason, M, Name}
    end.

second(X, N) -> setelement(2, X, [N]).
third(X) -> Y = setelement(3, X, third), {element(1, Y), Y}.

record({a, B, C}) -> setelement(2, setelement(3, {a, B, C}, B), {C});
record({A, _} = Pair) -> Copy = setelement(1, Pair, [A]), {Pair, Copy, Copy =:= Pair};
record(_) -> none.

largest(A, B) -> erlang:max(A, B).
smallest(A, B) -> erlang:min(A, B).

guards(X) when length(X) > 2 -> long;
guards(X) when length(X) =< 2 -> short;
guards(X) when map_size(X) > 30 -> large;
guards(X) when map_size(X) =< 30 -> small;
guards(_) -> neither.

compared(X, N) ->
    {X < N, X > N, X =< N, X >= N, X == N, X /= N, X =:= N, X =/= N, X =:= a, X == a, a =/= X, X =:= [], X < 2.5, X == 5, X =:= 5}.

grown(0, State, Sum) -> {State, Sum};
grown(N, {a, Count, Items} = State, Sum) ->
    Next = setelement(2, State, Count + N),
    grown(N - 1, setelement(3, Next, case N rem 7 of 0 -> []; _ -> [N | Items] end), Sum + element(2, State)).
