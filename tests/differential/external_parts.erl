%% term_to_iovec/1,2: large binaries are parts of their own.
-module(external_parts).
-export([main/0]).

main() ->
    [shown(bytes(Size)) || Size <- [0, 1, 63, 64, 65, 100, 1000]],
    [shown(<<(bytes(Size))/binary, 5:3>>) || Size <- [10, 63, 64, 65, 200]],
    {Small, Rest} = split_binary(bytes(1000), 64),
    shown({Small, Rest, bytes(70), [bytes(71) | bytes(3)], #{key => bytes(72)}}),
    shown(lists:duplicate(3, bytes(100))),
    [shown([bytes(300), hello, bytes(65)], Options) || Options <- [[{minor_version, 1}], [deterministic], [{compressed, 0}]]].

bytes(Size) -> binary:copy(<<7>>, Size).

shown(Term) -> shown(Term, []).

shown(Term, Options) ->
    Parts = term_to_iovec(Term, Options),
    true = iolist_to_binary(Parts) =:= term_to_binary(Term, Options),
    true = Options =/= [] orelse Parts =:= term_to_iovec(Term),
    io:format("~w~n", [[byte_size(Part) || Part <- Parts]]).
