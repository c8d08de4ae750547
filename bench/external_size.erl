%% sequential: the sizes of large terms in the external format, by external_size/1.
-module(external_size).
-export([main/0]).
main() ->
    Term = [{I, integer_to_binary(I), [I, I * 1.5, "text"], #{key => {value, I}}} || I <- lists:seq(1, 1000)],
    repeat(300, Term, byte_size(term_to_binary(Term))).
repeat(0, _, _) -> ok;
repeat(N, Term, Size) -> true = erlang:external_size(Term) >= Size, repeat(N - 1, Term, Size).
