%% Comprehensions over several lists at a time that make binaries: the compiler's code goes on with the
%% binary that it appended to. And guards on whose way out the compiler relies.
-module(zipped).
-export([main/0]).

main() ->
    [io:format("~p~n", [bytes(lists:seq(1, N), lists:seq(2, N + 1))]) || N <- [0, 1, 3, 20]],
    [io:format("~p~n", [erlang:md5(bytes(lists:seq(1, N), lists:seq(1, N)))]) || N <- [255, 256, 257, 1000, 100000]],
    io:format("~p~n", [bits([1, 0, 1, 1, 0], [3, 2, 1, 0, 3])]),
    io:format("~p~n", [words([1 bsl 40, -1, 0], [2, 3, 4])]),
    io:format("~p~n", [mixed([<<"ab">>, <<>>, <<"c">>], [1, 2, 3])]),
    io:format("~p~n", [binaries(<<1, 2, 3>>, <<4, 5, 6>>)]),
    io:format("~p~n", [filtered([1, 2, 3, 4], [5, 6, 7, 8])]),
    io:format("~p~n", [collected(lists:seq(1, 2000), lists:seq(1, 2000))]),
    io:format("~p~n", [catch bytes([1, 2], [1])]),
    io:format("~p~n", [catch bytes([1, a], [1, 2])]),
    io:format("~p~n", [[large(T) || T <- [a, {a}, {b, 1}, list_to_tuple([a | lists:seq(1, 99999)])]]]),
    io:format("~p~n", [[kind(T) || T <- [[], [a], a]]]).

bytes(A, B) -> << <<(X + Y)>> || X <- A && Y <- B >>.
bits(A, B) -> << <<X:1, Y:2>> || X <- A && Y <- B >>.
words(A, B) -> << <<X:64, Y:16/little>> || X <- A && Y <- B >>.
mixed(A, B) -> << <<X/binary, Y>> || X <- A && Y <- B >>.
binaries(A, B) -> << <<X, Y>> || <<X>> <= A && <<Y>> <= B >>.
filtered(A, B) -> << <<X, Y>> || X <- A && Y <- B, (X + Y) rem 4 =:= 2 >>.

%% With collections, and with other binaries made meanwhile.
collected(A, B) ->
    All = << <<(piece(X, Y))/binary>> || X <- A && Y <- B >>,
    {byte_size(All), erlang:md5(All)}.
piece(X, Y) ->
    [garbage_collect() || X rem 500 =:= 0],
    self() ! binary:copy(<<X>>, 100),
    receive Copy -> <<(binary:first(Copy)), Y:24>> end.

large(T) when is_record(T, a, 100000) -> yes;
large(T) when is_record(T, a, 70000) -> no;
large(_) -> other.

kind([]) -> ok;
kind(L) ->
    case is_list(L) of
        true -> {list, is_list(L), length(L)};
        Other -> {Other, catch binary_to_integer(<<>>)}
    end.
