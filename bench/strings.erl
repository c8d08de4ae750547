%% sequential: iolists, strings, and a binary that grows.
-module(strings).
-export([main/0]).
main() ->
    IoList = [["line ", integer_to_list(N), $\n] || N <- lists:seq(1, 200000)],
    Size = byte_size(iolist_to_binary(IoList)),
    Size = byte_size(grow(1, 200000, <<>>)),
    Words = string:lexemes(lists:flatten(lists:duplicate(2000, "some words here ")), " "),
    6000 = length(Words),
    ok.
grow(N, Max, Acc) when N > Max -> Acc;
grow(N, Max, Acc) -> grow(N + 1, Max, <<Acc/binary, "line ", (integer_to_binary(N))/binary, $\n>>).
