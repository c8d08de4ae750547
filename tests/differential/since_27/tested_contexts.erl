%% The compiler asks of match contexts whether they are bitstrings.
-module(tested_contexts).
-export([main/0, first/1, rest/1]).

main() ->
    io:format("~p~n", [[try first(Term) catch error:Reason -> Reason end || Term <- terms()]]),
    io:format("~p~n", [[try rest(Term) catch error:Reason -> Reason end || Term <- terms()]]),
    %% Often enough to be translated.
    io:format("~p~n", [lists:usort([first(<<>>) || _ <- lists:seq(1, 20000)])]).

terms() -> [<<>>, <<42>>, <<1, 2>>, <<1:3>>, binary:copy(<<7>>, 100), a, [], {}, 1, 1.5].

first(<<_:8>>) ->
    one;
first(Bits) ->
    %% Nothing matches a size like this one: all that is left of the generator is the question.
    try
        << <<1>> || <<_:ok>> <= Bits >>
    after
        ok
    end.

rest(<<_:16, Rest/bits>>) when is_bitstring(Rest) ->
    bit_size(Rest);
rest(<<Rest/bits>>) ->
    {first(Rest), bit_size(Rest)};
rest(_) ->
    none.
