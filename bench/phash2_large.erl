%% sequential: phash2/1 of large terms: lists, tuples, maps, strings and binaries.
-module(phash2_large).
-export([main/0]).
main() ->
    Rows = [{I, integer_to_binary(I), [I, I * 1.5, "text"], #{key => {value, I}}} || I <- lists:seq(1, 500)],
    Numbers = lists:seq(1, 5000),
    Text = lists:duplicate(5000, $x),
    Binary = binary:copy(<<"0123456789">>, 1000),
    repeat(100, [Rows, Numbers, Text, Binary]).
repeat(0, _) -> ok;
repeat(N, Terms) -> [true = is_integer(erlang:phash2(Term)) || Term <- Terms], repeat(N - 1, Terms).
