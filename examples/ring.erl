%% A ring of processes that hands a token round.
-module(ring).
-export([main/1]).

main([Size, Rounds]) -> main(list_to_integer(Size), list_to_integer(Rounds));
main(_) -> main(1000, 10).

main(Size, Rounds) ->
    Self = self(),
    First = lists:foldl(fun(_, Next) -> spawn(fun() -> member(Next) end) end, Self, lists:seq(1, Size)),
    First ! {token, 0},
    Hops = collect(First, Rounds),
    io:format("~b processes, ~b rounds, ~b hops~n", [Size, Rounds, Hops]).

member(Next) ->
    receive
        {token, Hops} -> Next ! {token, Hops + 1}, member(Next)
    end.

collect(_, 1) -> receive {token, Hops} -> Hops end;
collect(First, Rounds) ->
    receive {token, Hops} -> First ! {token, Hops} end,
    collect(First, Rounds - 1).
