%% Nobody counts who refers to a fun's entry.
-module(fun_counts).
-export([main/0, id/1]).

main() ->
    Free = id(3),
    Funs = [fun id/1, fun() -> ok end, fun() -> Free end],
    io:format("~p~n", [[erlang:fun_info(Fun, refc) || Fun <- [fun erlang:abs/1, binary_to_term(term_to_binary(lists:last(Funs))) | Funs]]]).

id(Term) -> Term.
