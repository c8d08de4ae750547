%% phash2 and external_size of each kind of term and of terms within others: bitstrings of each length around the blocks
%% that are read at once, integers around each limit, the tails of lists, and terms nested deeper than calls go.
-module(hashes_and_sizes).
-export([main/0]).

main() ->
    Bytes = list_to_binary(lists:seq(0, 255)),
    shown("binaries", [binary:part(Bytes, At, Len) || At <- [0, 1, 7], Len <- lists:seq(0, 40)]),
    shown("bits", [begin <<_:Skip, Part:Len/bits, _/bits>> = Bytes, Part end
                   || Skip <- [0, 3, 8], Len <- [0, 1, 7, 8, 9, 31, 63, 64, 65, 95, 96, 97, 103, 191, 192, 193]]),
    shown("copied", [binary:copy(binary:part(Bytes, 0, Len), 9) || Len <- [0, 7, 8, 64, 100]]),
    shown("integers", [Sign * ((1 bsl Bits) + More) || Bits <- [0, 7, 8, 26, 27, 28, 31, 32, 59, 60, 63, 64, 100],
                       More <- [-1, 0, 1], Sign <- [1, -1]]),
    shown("floats", [0.0, -1.0, 1.5, 1.0e300, -1.0e-300, 123456.789]),
    shown("atoms", ['', a, 'é', list_to_atom(lists:duplicate(255, $x)), true, []]),
    shown("lists", [L ++ Tail || L <- [[1], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5], [256], [-1, 2], [a, 1], [{}, 5], lists:seq(250, 260)],
                    Tail <- [[], 6, a, {7}, <<8>>, 9.5]]),
    shown("strings", [lists:duplicate(Len, $s) || Len <- [65534, 65535, 65536]]),
    shown("tuples", [list_to_tuple(L) || L <- [[], [1], [a, b], [1.5, <<"x">>], [{}, [], #{}], lists:seq(1, 300)]]),
    shown("maps", [maps:from_list([{key(I), [I]} || I <- lists:seq(1, Size)]) || Size <- [0, 1, 2, 5, 32, 33, 200]]),
    shown("external funs", [fun lists:map/2, fun erlang:phash2/1]),
    shown("deep", [deep(Wrap, Levels, <<"inside">>)
                   || Wrap <- [fun(In) -> [In] end, fun(In) -> {In, 1} end, fun(In) -> #{In => a, b => In} end,
                               fun(In) -> [1, In | 2] end],
                      Levels <- [1, 10, 12]]),
    shown("deeper", [deep(Wrap, Levels, <<"inside">>)
                     || Wrap <- [fun(In) -> [In] end, fun(In) -> {In, 1} end, fun(In) -> #{k => In} end],
                        Levels <- [63, 64, 65, 66, 130]]),
    Many = [{I, integer_to_binary(I), [I, I * 1.5, "text"], #{key => {value, I}}} || I <- lists:seq(1, 20000)],
    shown("many", [Many, list_to_tuple(Many)]).

key(I) when I rem 3 =:= 0 -> integer_to_binary(I);
key(I) when I rem 3 =:= 1 -> I * 1.5;
key(I) -> I.

deep(_, 0, Term) -> Term;
deep(Wrap, Levels, Term) -> deep(Wrap, Levels - 1, Wrap(Term)).

shown(What, Terms) ->
    io:format("~ts ~w~n  ~w~n  ~w ~w ~w~n",
              [What, [erlang:phash2(T) || T <- Terms], [erlang:phash2(T, 1000) || T <- Terms],
               erlang:phash2(Terms), erlang:phash2(list_to_tuple(Terms)), erlang:phash2({Terms, #{Terms => Terms}})]),
    [io:format("  ~w~n", [[erlang:external_size(T, [{minor_version, Version}]) || T <- [Terms | Terms]]]) || Version <- [0, 1]],
    io:format("  ~w~n", [[erlang:external_size(T) || T <- Terms]]).
