%% Parts of binaries are taken from whole bytes only.
-module(odd_parts).
-export([main/0]).

main() ->
    [io:format("~p ~p~n", [Bits, [result(Take, Bits) || Take <- takes()]]) || Bits <- [<<>>, <<1:1>>, <<1, 2, 3>>, <<1, 2, 3:4>>]],
    io:format("~p~n", [[in_guard(Bits) || Bits <- [<<1, 2>>, <<1, 2, 3:4>>, none]]]).

takes() ->
    [fun(Bits) -> binary_part(Bits, 0, 0) end, fun(Bits) -> binary_part(Bits, {0, 2}) end,
     fun(Bits) -> binary:part(Bits, 0, 0) end, fun(Bits) -> binary:part(Bits, {2, -2}) end].

result(Take, Bits) ->
    try Take(Bits) catch error:Why -> Why end.

in_guard(Bits) when binary_part(Bits, 0, 2) =:= <<1, 2>> -> true;
in_guard(_) -> false.
