%% Processes that raise an exception, or end, before a collection looks at their `max_heap_size`: what they have made
%% meanwhile counts.
-module(heap_limits).
-export([main/0]).

main() ->
    Limited = [{max_heap_size, #{size => 233, kill => true, error_logger => false}}, monitor],
    [begin
         {Pid, Ref} = spawn_opt(Fun, Limited),
         receive {'DOWN', Ref, process, Pid, Reason} -> io:format("~p: ~p~n", [Name, Reason]) end
     end || {Name, Fun} <- [
        {integer_of_known_size, fun() -> integer(id(233 * 8)) end},
        {integer_caught, fun() -> catch integer(id(233 * 8)) end},
        {appended, fun appended/0},
        {tuple, fun() -> A = erlang:make_tuple(209, a), exit({A, id(1), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}) end},
        {small, fun() -> exit({small, id(1)}) end},
        {small_caught, fun() -> exit((catch throw({small, id(1)}))) end}]],
    {Pid, Ref} = spawn_opt(fun() -> exit(byte_size(term_to_binary(integer_of(id(233 * 8))))) end,
                           [{max_heap_size, #{size => 233_000, kill => true, error_logger => false}}, monitor]),
    receive {'DOWN', Ref, process, Pid, Reason} -> io:format("~p~n", [Reason]) end.

integer(Size) ->
    exit(integer_of(Size)).

integer_of(Size) ->
    Bin = id(<<255:Size/little-unit:8>>),
    <<N:Size/big-unit:8>> = Bin,
    N.

appended() ->
    A = erlang:make_tuple(233 - 3 * 8, a),
    Bin = id(<<>>),
    true = is_binary(Bin),
    B = <<Bin/binary, "abc">>,
    C = <<B/binary, "abc">>,
    D = <<C/binary, "abc">>,
    E = <<D/binary, "abc">>,
    exit({A, B, C, D, E}).

id(I) -> I.
