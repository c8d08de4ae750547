%% A chain of type tests sees terms of every kind, in every order, until all tests are compiled.
-module(type_tests).
-export([main/0]).

main() ->
    Terms = [{}, a, [], [x], #{}, <<1:1>>, <<1>>, 1, 1.5, 1.0e300, fun kind/1, fun() -> ok end, self(),
             open_port({spawn_executable, "/bin/cat"}, []), make_ref(), 1 bsl 80],
    Tests = [fun kind/1, fun backwards/1, fun identifiers/1],
    [io:format("~p~n", [lists:usort([{Index, Test(Term)} || _ <- lists:seq(1, 1000), {Index, Term} <- rotated(Terms, Turn)])])
     || Test <- Tests, Turn <- [0, 5, 11]],
    ok.

rotated(Terms, Turn) ->
    {Front, Back} = lists:split(Turn, lists:enumerate(Terms)),
    Back ++ Front.

kind(X) when is_tuple(X) -> tuple;
kind(X) when is_atom(X) -> atom;
kind(X) when is_list(X) -> list;
kind(X) when is_map(X) -> map;
kind(X) when is_bitstring(X) -> bits;
kind(X) when is_integer(X) -> integer;
kind(X) when is_float(X) -> float;
kind(X) when is_function(X) -> function;
kind(X) when is_pid(X) -> pid;
kind(X) when is_port(X) -> port;
kind(X) when is_reference(X) -> reference.

backwards(X) when is_reference(X) -> reference;
backwards(X) when is_port(X) -> port;
backwards(X) when is_pid(X) -> pid;
backwards(X) when is_function(X) -> function;
backwards(X) when is_float(X) -> float;
backwards(X) when is_integer(X) -> integer;
backwards(X) when is_bitstring(X) -> bits;
backwards(X) when is_map(X) -> map;
backwards(X) when is_list(X) -> list;
backwards(X) when is_atom(X) -> atom;
backwards(X) when is_tuple(X) -> tuple.

identifiers(X) when is_number(X); is_atom(X); is_list(X) -> plain;
identifiers(X) when not (is_tuple(X) orelse is_map(X) orelse is_binary(X) orelse is_function(X)) ->
    {is_reference(X), is_pid(X), is_port(X), is_bitstring(X), size_of(X)};
identifiers(_) -> boxed.

size_of(X) when tuple_size(X) > 0 -> tuple;
size_of(X) when map_size(X) > 0 -> map;
size_of(X) when bit_size(X) > 0 -> bits;
size_of(_) -> none.
